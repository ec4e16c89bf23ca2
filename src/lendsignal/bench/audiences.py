"""How long the lists of a large lender take: built from everything, from what is new, and told in chunks.

The lender is made up set by set (see `bench.reports`): users who register, apply, are granted, borrow, log in
and pay back, most of them with hashed contacts. Each figure is of a process of its own, so that its highest
memory is told; the platform is one that says yes at once, so that only our own part is measured.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from lendsignal.audience.definitions import Definition, definition_of
from lendsignal.audience.settings import AudienceSettings
from lendsignal.bench.machine import rss_mib
from lendsignal.bench.reports import START_US, made
from lendsignal.bench.targets import Target, Wanted
from lendsignal.log import DataFolder, open_audiences

USERS, QUICK_USERS = 5_000_000, 100_000
EVENTS_A_USER = 6
LISTS = 20
CHUNK = 10_000
DAY_US = 86_400_000_000
NOW_US = START_US + 92 * DAY_US

REACH_SECONDS, GO_FOR_SECONDS = 60.0, 30.0
REACH_MIB, GO_FOR_MIB = 4096.0, 3072.0

CONTACTS = """
select u as seq, (hash(u) >> 1)::bigint as user_key, {start} as at_us,
    unhex(sha256('e' || u)) as email, unhex(sha256('g' || u)) as email_google,
    unhex(sha256('d' || u)) as phone_digits, unhex(sha256('p' || u)) as phone_e164, true as told,
    if(u % 50 = 0, false, null) as allows, u % 50 = 0 as asked,
    'bench:u-' || lpad(u::varchar, 8, '0') as "user"
from range({users}) r(u) where u % 5 < 3 or u % 50 = 0 order by user_key
"""


class AudienceFigure(Struct, frozen=True, kw_only=True):
    """One piece of work: how long, the processor time of all its threads, how much memory at most, and how
    many members it was about."""

    what: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    members: int


class AudienceFigures(Struct, frozen=True, kw_only=True):
    """Of so many users and lists: each piece of work."""

    users: int
    lists: int
    figures: list[AudienceFigure]
    targets: list[Target]


def time_audiences(users: int = USERS, tell: Callable[[str], None] = lambda doing: None) -> AudienceFigures:
    """Makes a lender of so many users, builds its lists whole and anew, and tells one platform of the
    largest."""
    with tempfile.TemporaryDirectory(prefix="lendsignal-bench-") as scratch:
        folder = Path(scratch)
        tell(f"making {users:,} users")
        made(folder, users * EVENTS_A_USER, each=EVENTS_A_USER, only=("events", "touches"))
        _contacts(DataFolder(folder), users)
        found = []
        for what in ("build", "fresh", "tell", "again"):
            tell(what)
            done = subprocess.run(
                [sys.executable, "-m", "lendsignal.bench.audiences", str(folder), what],
                check=True,
                stdout=subprocess.PIPE,
            )
            found.append(msgspec.json.decode(done.stdout, type=AudienceFigure))
        whole = users >= USERS
        return AudienceFigures(
            users=users,
            lists=LISTS,
            figures=found,
            targets=[*_targets(found[0], whole), *_targets(found[2], whole)[1:]],
        )


def lists() -> dict[str, Definition]:
    """Twenty lists such as a lender has."""
    settings: dict[str, AudienceSettings] = {}
    kinds = (
        "good_repayers repeat_eligible applied_not_disbursed granted_not_drawn lapsed_good"
        " existing_customers open_loan in_arrears written_off"
    ).split()
    for kind in kinds:
        settings[kind] = msgspec.convert({"kind": kind}, AudienceSettings)
    for days in (30, 60, 90):
        settings[f"good-{days}"] = AudienceSettings(kind="good_repayers", within=timedelta(days=days))
        settings[f"idle-{days}"] = AudienceSettings(kind="lapsed_good", cooling=timedelta(days=days))
        settings[f"asked-{days}"] = AudienceSettings(
            kind="applied_not_disbursed", within=timedelta(days=days)
        )
    settings["best"] = AudienceSettings(kind="good_repayers", top=50_000)
    settings["ruled"] = AudienceSettings(rule="user.closed_loans >= 1 && user.late_loans == 0")
    return {name: definition_of(name, one) for name, one in settings.items()}


def _targets(one: AudienceFigure, whole: bool) -> list[Target]:
    time = Wanted(f"{one.what}: time", f"{one.what}.seconds", "s", REACH_SECONDS, GO_FOR_SECONDS, True)
    memory = Wanted(f"{one.what}: memory", f"{one.what}.peak_mib", "MiB", REACH_MIB, GO_FOR_MIB, True)
    return [time.beside(one.seconds if whole else None), memory.beside(one.peak_mib if whole else None)]


def _contacts(folder: DataFolder, users: int) -> None:
    from lendsignal.audience.files import Files

    files, book = Files(folder), open_audiences(folder.audiences)
    name = "told/000000000000001-000000000000001.parquet"
    rows = files.write(files.db, CONTACTS.format(start=START_US, users=users), name, dense=True)
    book.keep_told(name, rows, 1)
    book.close()
    files.close()


# one piece of work, in this process


class _Clock:
    replay = True

    def __init__(self, days: int) -> None:
        self._us = NOW_US + days * DAY_US

    def now_us(self) -> int:
        return self._us


def _built(folder: DataFolder, days: int) -> int:
    from lendsignal.audience.build import Builder, Rules
    from lendsignal.audience.customers import Asked

    builder = Builder(folder, Rules(lists=lists(), asked=Asked()), _Clock(days))
    members = sum(one.members for one in builder.whole())
    builder.close()
    return members


def _told(folder: DataFolder, days: int) -> int:
    from lendsignal.audience.membership import Membership, Planned
    from lendsignal.model.audience import Action

    actions: tuple[Action, ...] = ("add", "remove")
    plan = [Planned(audience="existing_customers", account="bench", code="ls-bench", use="exclusion")]
    membership = Membership(folder, plan, _Clock(days))
    (one,) = membership.syncs()
    moved = 0
    for action in actions:
        while (chunk := membership.next(one, action, CHUNK)) is not None:
            moved += len(chunk.members)
            membership.confirm(one, chunk.number)
    counts = membership.counts(one)
    if (counts.adds, counts.removes) != (0, 0) or counts.intended != counts.confirmed:
        raise AssertionError(f"not in step: {counts}")
    membership.close()
    return moved


WORK: dict[str, Callable[[DataFolder], int]] = {
    "build": lambda folder: _built(folder, 0),
    "fresh": lambda folder: _built(folder, 1),
    "tell": lambda folder: _told(folder, 1),
    "again": lambda folder: _told(folder, 1),
}
"""All lists from nothing, all lists a day later, one list told whole, and told again with nothing new."""


def _main() -> None:
    folder, what = DataFolder(Path(sys.argv[1])), sys.argv[2]
    started, busy = time.perf_counter(), time.process_time()
    members = WORK[what](folder)
    took, busy = time.perf_counter() - started, time.process_time() - busy
    # Its own: `getrusage` counts what the process that started it once held as well.
    peak_mib = rss_mib(os.getpid(), peak=True)
    figure = AudienceFigure(what=what, seconds=took, cpu_seconds=busy, peak_mib=peak_mib, members=members)
    sys.stdout.buffer.write(msgspec.json.encode(figure))


if __name__ == "__main__":
    _main()
