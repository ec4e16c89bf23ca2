"""The receipt of an erasure: what was done where, what is still under way, and nothing about whom."""

from contextlib import closing
from datetime import datetime

from msgspec import Struct

from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.errors import InputError, NotYet
from lendsignal.log import DataFolder
from lendsignal.log.erasures import Erasures, Job, open_erasures

MEANING = {
    "kept_out": "kept out: nothing of them comes in any more",
    "found": "installations found, for the platforms to be asked",
    "log": "events made husks in the log, at once and for good",
    "deliveries": "records emptied, with kept requests and answers",
    "feeds": "rows of attribution and recorded events",
    "archive": "rows of the archive's Parquet files",
    "audiences": "users let go of by the lists",
    "spool": "events of the Python client's spool",
    "files": "write-ahead logs cut off",
}

STEPS = tuple(MEANING)
"""The steps of an erasure, in order."""

LATER = (
    "Copies made before, such as backups, still hold them until `lendsignal restore` erases them again."
    " What a platform was told before stays there until the platform says otherwise. Free pages of the"
    " databases may hold copies of rows until they are written over, or `lendsignal erase --scrub` writes the"
    " files anew."
)


class Place(Struct, frozen=True, kw_only=True):
    """One step: `n` rows went by it."""

    step: str
    state: str
    n: int
    note: str
    at: datetime | None


class Platform(Struct, frozen=True, kw_only=True):
    """What one destination was asked: how many installations, by state, and why some could not be."""

    destination: str
    platform: str
    state: str
    n: int
    note: str


class Receipt(Struct, frozen=True, kw_only=True):
    """`subjects`: SHA-256 of salt + brand + 0x1f + user id, hexadecimal; of a person without brand."""

    receipt: str
    asked: datetime
    by: str
    ended: datetime | None
    salt: str
    subjects: tuple[str, ...]
    places: tuple[Place, ...]
    platforms: tuple[Platform, ...]
    later: str = LATER

    def told(self) -> str:
        """For people."""
        ended = "goes on" if self.ended is None else f"ended {self.ended:%Y-%m-%d %H:%M:%S} UTC"
        lines = [
            f"erasure {self.receipt}: asked {self.asked:%Y-%m-%d %H:%M:%S} UTC by {self.by}, {ended}",
            f"about    {len(self.subjects)} hashed: {', '.join(one[:16] for one in self.subjects)}",
        ]
        for one in self.places:
            note = f" ({one.note})" if one.note else ""
            lines.append(f"{one.state:<10} {one.n:>8,}  {MEANING[one.step]}{note}")
        for asked in self.platforms:
            note = f": {asked.note}" if asked.note else ""
            lines.append(f"{asked.state:<13} {asked.n:>5,}  {asked.destination} ({asked.platform}){note}")
        lines.append(self.later)
        return "\n".join(lines)


def receipt_of(config: Config, receipt: str) -> Receipt:
    """The receipt of an erasure. Raises `InputError` where there is none of that number."""
    try:
        book = open_erasures(DataFolder(config.data).erasures, read_only=True)
    except NotYet:
        raise InputError("receipt", "there is none of that number") from None
    with closing(book):
        job = book.job(receipt)
        if job is None:
            raise InputError("receipt", "there is none of that number")
        return _receipt(book, job)


def receipts(config: Config, limit: int = 100) -> list[Receipt]:
    """The youngest receipts first."""
    try:
        book = open_erasures(DataFolder(config.data).erasures, read_only=True)
    except NotYet:
        return []
    with closing(book):
        return [_receipt(book, job) for job in book.jobs(limit)]


def _receipt(book: Erasures, job: Job) -> Receipt:
    steps = book.steps(job.receipt)
    counts: dict[tuple[str, str, str, str], int] = {}
    for one in book.askings(job.receipt):
        key = (one.destination, one.platform, one.state, one.note)
        counts[key] = counts.get(key, 0) + 1
    return Receipt(
        receipt=job.receipt,
        asked=from_us(job.asked_us),
        by=job.by,
        ended=None if job.ended_us is None else from_us(job.ended_us),
        salt=job.salt.hex(),
        subjects=job.subjects,
        places=tuple(
            Place(
                step=name,
                state=steps[name].state if name in steps else "open",
                n=steps[name].n if name in steps else 0,
                note=steps[name].note if name in steps else "",
                at=from_us(steps[name].at_us) if name in steps else None,
            )
            for name in STEPS
        ),
        platforms=tuple(
            Platform(destination=destination, platform=platform, state=state, n=n, note=note)
            for (destination, platform, state, note), n in sorted(counts.items())
        ),
    )
