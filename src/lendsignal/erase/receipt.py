"""The receipt of an erasure: what was done where, what is still under way, and nothing about whom."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime

from msgspec import Struct

from lendsignal.clock import SystemClock, from_us
from lendsignal.config import Config
from lendsignal.errors import InputError, NotYet
from lendsignal.log import DataFolder
from lendsignal.log.erasures import Asking, Erasures, Job, Stepped, open_erasures

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

OF_A_CLUSTER = {
    "log": "events made husks, with states and timers",
    "feeds": "rows of what MMPs told",
    "topic": "events in the topic that is the log",
}
"""Where a step means something else on a cluster, or is only there."""

STEPS = tuple(MEANING)
"""The steps of an erasure, in order."""

LATER = (
    "Copies made before, such as backups, still hold them until `lendsignal restore` erases them again."
    " What a platform was told before stays there until the platform says otherwise. Free pages of the"
    " databases may hold copies of rows until they are written over, or `lendsignal erase --scrub` writes the"
    " files anew."
)


LATER_OF_A_CLUSTER = (
    "Copies made before, such as backups of PostgreSQL or of a desk, still hold them. What a platform was"
    " told before stays there until the platform says otherwise. Rows that went stand in the server's pages"
    " until it vacuums, and in its write-ahead log until that goes. A desk that was away for longer than"
    " 30 days is not waited for: it takes them out when it is back."
)


class Place(Struct, frozen=True, kw_only=True):
    """One step: `n` rows went by it. `at_desk`: whose files of a cluster's desks; empty: the common ones."""

    step: str
    state: str
    n: int
    note: str
    at: datetime | None
    at_desk: str = ""


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
    on_a_cluster: bool = False

    @property
    def meaning(self) -> dict[str, str]:
        """What the steps mean, in words."""
        return MEANING | OF_A_CLUSTER if self.on_a_cluster else MEANING

    def told(self) -> str:
        """For people."""
        ended = "goes on" if self.ended is None else f"ended {self.ended:%Y-%m-%d %H:%M:%S} UTC"
        lines = [
            f"erasure {self.receipt}: asked {self.asked:%Y-%m-%d %H:%M:%S} UTC by {self.by}, {ended}",
            f"about    {len(self.subjects)} hashed: {', '.join(one[:16] for one in self.subjects)}",
        ]
        for one in self.places:
            note = f" ({one.note})" if one.note else ""
            where = f" at {one.at_desk}" if one.at_desk else ""
            lines.append(f"{one.state:<10} {one.n:>8,}  {self.meaning[one.step]}{where}{note}")
        for asked in self.platforms:
            note = f": {asked.note}" if asked.note else ""
            lines.append(f"{asked.state:<13} {asked.n:>5,}  {asked.destination} ({asked.platform}){note}")
        lines.append(self.later)
        return "\n".join(lines)


def receipt_of(config: Config, receipt: str) -> Receipt:
    """The receipt of an erasure. Raises `InputError` where there is none of that number."""
    if config.store is not None:
        found = _of_the_store(config, receipt)
        if not found:
            raise InputError("receipt", "there is none of that number")
        return found[0]
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
    if config.store is not None:
        return _of_the_store(config, None, limit)
    try:
        book = open_erasures(DataFolder(config.data).erasures, read_only=True)
    except NotYet:
        return []
    with closing(book):
        return [_receipt(book, job) for job in book.jobs(limit)]


def _receipt(book: Erasures, job: Job) -> Receipt:
    steps = book.steps(job.receipt)
    return Receipt(
        receipt=job.receipt,
        asked=from_us(job.asked_us),
        by=job.by,
        ended=None if job.ended_us is None else from_us(job.ended_us),
        salt=job.salt.hex(),
        subjects=job.subjects,
        places=_places(STEPS, steps),
        platforms=_platforms(book.askings(job.receipt)),
    )


def _places(names: Sequence[str], steps: Mapping[str, Stepped], at_desk: str = "") -> tuple[Place, ...]:
    return tuple(
        Place(
            step=name,
            state=steps[name].state if name in steps else "open",
            n=steps[name].n if name in steps else 0,
            note=steps[name].note if name in steps else "",
            at=from_us(steps[name].at_us) if name in steps else None,
            at_desk=at_desk,
        )
        for name in names
    )


def _platforms(askings: Sequence[Asking]) -> tuple[Platform, ...]:
    counts: dict[tuple[str, str, str, str], int] = {}
    for one in askings:
        key = (one.destination, one.platform, one.state, one.note)
        counts[key] = counts.get(key, 0) + 1
    return tuple(
        Platform(destination=destination, platform=platform, state=state, n=n, note=note)
        for (destination, platform, state, note), n in sorted(counts.items())
    )


def _of_the_store(config: Config, receipt: str | None, limit: int = 100) -> list[Receipt]:
    """Receipts of a cluster: what was done in the store, and at each of its desks."""
    from lendsignal.erase.in_store import DESK_STEPS, STORE_STEPS, shared  # with the store's client

    has_topic = config.store is not None and config.store.kafka is not None
    names = [name for name in STORE_STEPS if name != "topic" or has_topic]
    found = []
    with shared(config, SystemClock()) as at:
        waited_for = at.book.desks()
        for one in at.book.everywhere(receipt, limit):
            job = one.job
            desks = {*one.steps, *(waited_for if job.ended_us is None else ())} - {""}
            places = _places(names, one.steps.get("", {}))
            for desk in sorted(desks):
                places += _places(DESK_STEPS, one.steps.get(desk, {}), desk)
            found.append(
                Receipt(
                    receipt=job.receipt,
                    asked=from_us(job.asked_us),
                    by=job.by,
                    ended=None if job.ended_us is None else from_us(job.ended_us),
                    salt=job.salt.hex(),
                    subjects=job.subjects,
                    places=places,
                    platforms=_platforms(one.askings),
                    later=LATER_OF_A_CLUSTER,
                    on_a_cluster=True,
                )
            )
    return found
