"""`python -m tests.soak`: days of a lender in minutes; the last line printed is the proof as JSON.

Ends with 1 where a promise was broken, and says which.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from tests.soak.course import short, soak, whole
from tests.soak.figures import Run

from lendsignal.errors import LendsignalError


def main() -> int:
    """0 where every promise was kept."""
    words = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    words.add_argument("--hours", type=float, default=2, help="of the machine, in which the days pass")
    words.add_argument("--days", type=float, default=6, help="of the lender")
    words.add_argument("--short", action="store_true", help="a day in some seconds")
    words.add_argument(
        "--rate", type=float, help="events a second; half of the most that is taken by default"
    )
    words.add_argument("--keep", type=Path, help="folder for the figures as soak.json")
    words.add_argument("--publish", type=Path, help="docs/reference, for the page and its pictures")
    words.add_argument("--from", dest="kept", type=Path, help="figures of a run before, to be published")
    given = words.parse_args()
    if given.kept is not None:
        return _published(msgspec.json.decode(given.kept.read_bytes(), type=Run), given.publish)
    course = short() if given.short else whole(given.hours, given.rate, given.days)
    folder = Path(tempfile.mkdtemp(prefix="lendsignal-soak-"))
    began = time.monotonic()

    def tell(doing: str) -> None:
        print(f"{time.monotonic() - began:7.0f} s  {doing}", flush=True)

    try:
        run = soak(folder, course, tell)
    except (AssertionError, LendsignalError):
        print(f"the data folder is kept in {folder}")
        raise
    for sentence in run.broken():
        print(f"BROKEN: {sentence}")
    if run.broken():
        print(f"the data folder is kept in {folder}")
    else:
        shutil.rmtree(folder)
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        (given.keep / "soak.json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    return _published(run, given.publish)


def _published(run: Run, reference: Path | None) -> int:
    """The proof, and the page where one is asked for; a run that broke a promise is on no page."""
    if reference is not None and not run.broken():
        from tests.soak.page import publish  # it brings matplotlib

        for path in publish(run, reference):
            print(path)
    print(json.dumps(run.summary()))
    return 1 if run.broken() else 0


if __name__ == "__main__":
    sys.exit(main())
