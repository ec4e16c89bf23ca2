"""`python -m release.wheel`: builds the wheel twice, far apart, and ends with 1 where a byte differs.

Whoever has the sources can so tell whether a wheel was made of them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "src")
"""All that a wheel is made of."""


def built(sources: Path, into: Path, **environment: str) -> Path:
    """The wheel of these sources. Raises `CalledProcessError` where it cannot be built."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(
        words, cwd=sources, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL
    )
    return next(into.glob("*.whl"))


def copied(into: Path, *, umask: int) -> Path:
    """The sources in another folder, with times and rights of their own."""
    into.mkdir(parents=True)
    before = os.umask(umask)
    try:
        for name in PARTS:
            if (ROOT / name).is_dir():
                leave = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, into / name, copy_function=shutil.copyfile, ignore=leave)
            else:
                shutil.copyfile(ROOT / name, into / name)
    finally:
        os.umask(before)
    return into


def twice(folder: Path) -> tuple[Path, Path]:
    """Two wheels of the same sources: of other places, days, rights and hash seeds."""
    first, second = copied(folder / "one", umask=0o022), copied(folder / "a" / "far" / "place", umask=0o077)
    for path in second.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return (
        built(first, folder / "first", PYTHONHASHSEED="1", TZ="UTC"),
        built(second, folder / "second", PYTHONHASHSEED="2", TZ="Asia/Tokyo"),
    )


def main() -> int:
    """0 where both are the same to the byte; the wheel is then in `dist`."""
    with tempfile.TemporaryDirectory(prefix="lendsignal-wheel-") as folder:
        wheels = twice(Path(folder))
        sums = [sha256(wheel.read_bytes()).hexdigest() for wheel in wheels]
        for wheel, found in zip(wheels, sums, strict=True):
            print(f"{found}  {wheel.name}")
        if len(set(sums)) > 1:
            print("BROKEN: the same sources make two wheels")
            return 1
        (ROOT / "dist").mkdir(exist_ok=True)
        shutil.copyfile(wheels[0], ROOT / "dist" / wheels[0].name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
