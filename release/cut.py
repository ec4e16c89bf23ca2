"""`python -m release.cut 0.2.0`: checks, numbers, builds, commits and tags a release; pushes nothing.

With `--key` the wheel and the tag are signed by that SSH key.
"""

import argparse
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from release.sign import NotSignedError, signed
from release.wheel import main as same_wheel_twice

ROOT = Path(__file__).parents[1]
NUMBERED = {"pyproject.toml": 'version = "{}"', "src/lendsignal/__init__.py": '__version__ = "{}"'}
"""Where the version stands."""


class NotReadyError(Exception):
    """What must be done before this can be released."""


def parts(version: str) -> tuple[int, ...]:
    """`0.2.0` as numbers. Raises `NotReadyError` for anything that is not three of them."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise NotReadyError(f"a version is three numbers such as 0.2.0, not {version!r}")
    return tuple(int(part) for part in version.split("."))


def dated(changelog: str, version: str, day: date) -> str:
    """The changelog with the day of the release in its newest heading.

    Raises `NotReadyError` where that heading is not `## VERSION (unreleased)`, or nothing stands below it.
    """
    heading, _, rest = changelog.partition("\n## ")[2].partition("\n")
    if heading != f"{version} (unreleased)":
        raise NotReadyError(f"CHANGELOG.md begins with {heading!r}: it must be '{version} (unreleased)'")
    if not rest.partition("\n## ")[0].strip():
        raise NotReadyError(f"CHANGELOG.md says nothing of {version}")
    return changelog.replace(f"\n## {heading}\n", f"\n## {version} ({day.isoformat()})\n", 1)


def numbered(text: str, form: str, version: str) -> str:
    """The text with this version in the one place of that form.

    Raises `NotReadyError` where there is no such place, or more than one, or a higher version stands there.
    """
    pattern = "^" + re.escape(form).replace(r"\{\}", r"(\d+\.\d+\.\d+)") + "$"
    found = re.findall(pattern, text, re.MULTILINE)
    if len(found) != 1:
        raise NotReadyError(f"{form!r} stands {len(found)} times")
    if parts(found[0]) > parts(version):
        raise NotReadyError(f"{version} is lower than {found[0]}")
    return re.sub(pattern, form.format(version), text, flags=re.MULTILINE)


def git(*words: str) -> str:
    """What git says."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def ready(version: str) -> None:
    """Raises `NotReadyError` where the checkout cannot be released from."""
    parts(version)
    if git("status", "--porcelain"):
        raise NotReadyError("there are changes that are not committed")
    if git("branch", "--show-current") != "main":
        raise NotReadyError("a release is cut on main")
    if git("tag", "--list", f"v{version}"):
        raise NotReadyError(f"v{version} has been released")


def cut(version: str, day: date, key: Path | None = None) -> None:
    """The whole of it; whatever is missing is found before anything is written.

    Signed by `key`, an SSH key, where one is given.
    """
    ready(version)
    written = {ROOT / "CHANGELOG.md": dated((ROOT / "CHANGELOG.md").read_text(), version, day)}
    for name, form in NUMBERED.items():
        written[ROOT / name] = numbered((ROOT / name).read_text(), form, version)
    subprocess.run(["make", "test"], cwd=ROOT, check=True)
    for path, text in written.items():
        path.write_text(text)
    if same_wheel_twice():
        raise NotReadyError("the wheel is not the same twice: what was written is not committed")
    if key is not None:
        for wheel in (ROOT / "dist").glob(f"lendsignal-{version}-*.whl"):
            print(signed(wheel, key))
    git("add", *(str(path) for path in written))
    git("commit", "--quiet", "--allow-empty", "--message", f"release: {version}")
    by = () if key is None else ("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}")
    git(*by, "tag", "--sign" if by else "--annotate", f"v{version}", "--message", f"lendsignal {version}")


def main() -> int:
    """0 where the release is tagged; 1 with what is missing."""
    words = argparse.ArgumentParser(prog="python -m release.cut", description=__doc__)
    words.add_argument("version", help="three numbers, such as 0.2.0")
    words.add_argument("--key", type=Path, help="an SSH key: signs the wheel and the tag")
    given = words.parse_args()
    version = given.version
    try:
        cut(version, datetime.now(UTC).date(), given.key)
    except (NotReadyError, NotSignedError) as error:
        print(f"not released: {error}")
        return 1
    except subprocess.CalledProcessError as error:
        print(f"not released: {' '.join(error.cmd)} ended with {error.returncode}")
        return 1
    print(f"v{version} is tagged and its wheel is in dist; push both when you have looked at them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
