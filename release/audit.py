"""`python -m release.audit`: known holes in what is installed, and a bill of materials in CycloneDX's form.

Ends with 1 where a hole is known, or a tool fails. Where the database of holes cannot be asked from here, it
says so in capitals and ends with 0, or with 1 under `--strict`: silence would look like health.
"""

import argparse
import json
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "build" / "audit"
"""The tools have an environment of their own: nothing of them is audited, or comes into the product."""


class Found(Struct, frozen=True, kw_only=True):
    """What the database of holes said."""

    asked: int
    """Libraries that it knew."""
    unknown: tuple[str, ...]
    holes: tuple[str, ...]


def tools() -> Path:
    """The folder with the tools, made at the first call."""
    if not (TOOLS / "done").exists():
        wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["audit"]
        venv.create(TOOLS, with_pip=True, clear=True)
        words = [str(TOOLS / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted]
        subprocess.run([*words, "--disable-pip-version-check"], check=True)
        (TOOLS / "done").touch()
    return TOOLS / "bin"


def found_in(answer: Mapping[str, Any]) -> Found:
    """The JSON of pip-audit, read."""
    several: Sequence[Mapping[str, Any]] = answer["dependencies"]
    return Found(
        asked=sum("skip_reason" not in one for one in several),
        unknown=tuple(one["name"] for one in several if "skip_reason" in one),
        holes=tuple(
            f"{one['name']} {one['version']}: {hole['id']},"
            f" mended in {', '.join(hole['fix_versions']) or 'no version'}"
            for one in several
            for hole in one.get("vulns", ())
        ),
    )


def sentences(found: Found) -> list[str]:
    """What there is to say of it."""
    said = [f"BROKEN: {hole}" for hole in found.holes]
    if not found.asked:
        said.append("NOT AUDITED: the database of known holes cannot be asked from this machine")
    elif found.unknown:
        said.append(f"NOT AUDITED: {', '.join(found.unknown)}")
    return said


def audited(programs: Path) -> Found:
    """Every library of `requirements.txt`, asked after. Raises `CalledProcessError` where the tool fails."""
    words = [str(programs / "pip-audit"), "--requirement", str(ROOT / "requirements.txt"), "--require-hashes"]
    words += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout.startswith("{"):
        return Found(asked=0, unknown=(), holes=())
    return found_in(json.loads(done.stdout))


def bill(programs: Path, into: Path) -> int:
    """Writes the bill of materials of `requirements.txt`; how many libraries are in it."""
    words = [str(programs / "cyclonedx-py"), "requirements", "--pyproject", str(ROOT / "pyproject.toml")]
    words += ["--output-reproducible", "--output-format", "JSON", "--output-file", str(into)]
    subprocess.run([*words, str(ROOT / "requirements.txt")], check=True, capture_output=True)
    return len(json.loads(into.read_text())["components"])


def main() -> int:
    """0 where no hole is known."""
    words = argparse.ArgumentParser(prog="python -m release.audit", description=__doc__)
    words.add_argument("--strict", action="store_true", help="what could not be asked after is broken too")
    strict = words.parse_args().strict
    programs = tools()
    (ROOT / "dist").mkdir(exist_ok=True)
    into = ROOT / "dist" / "lendsignal.cdx.json"
    print(f"{bill(programs, into)} libraries in {into.relative_to(ROOT)}")
    found = audited(programs)
    print(f"{found.asked} libraries asked after, {len(found.holes)} known holes")
    for sentence in sentences(found):
        print(sentence)
    return 1 if found.holes or (strict and (found.unknown or not found.asked)) else 0


if __name__ == "__main__":
    sys.exit(main())
