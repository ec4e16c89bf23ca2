"""What there is to watch of lists: how large they are, how far behind, whom platforms refuse, what waits.

Read from the ledger of lists, which belongs to the job that tells them: it lives for seconds at a time, and
whoever asks for metrics asks one that stays.
"""

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from lendsignal.clock import Clock
from lendsignal.errors import LendsignalError
from lendsignal.log import Audiences, SyncRow, open_audiences
from lendsignal.log.audiences import AFTER_ALL
from lendsignal.metrics import Meters, Words

EVERY_US = 15_000_000
"""How often the ledger is read at most."""


class ListMeters(Meters):
    """Lists by their names in the configuration, and accounts by theirs; a few hundred words at most."""

    def __init__(self, ledger: Path, clock: Clock) -> None:
        super().__init__()
        self._ledger = ledger
        self._clock = clock
        self._read_us: int | None = None
        self._names = Words(200)
        self._reasons = Words(50)
        where = ("list", "account")
        self.intended = self.gauge(
            "lendsignal_list_intended_members", "Members that the latest build of a list has.", "list"
        )
        self.built = self.gauge(
            "lendsignal_list_built_age_seconds",
            "Time since a list was last looked at and found to have other members, or built whole.",
            "list",
        )
        self.confirmed = self.gauge(
            "lendsignal_list_confirmed_members", "Members that the platform said yes to.", *where
        )
        self.behind = self.gauge(
            "lendsignal_list_behind_seconds",
            "Age of the oldest build that the platform has not confirmed; 0: it is in step.",
            *where,
        )
        self.synced = self.gauge(
            "lendsignal_list_synced_age_seconds", "Time since a list was last brought in step.", *where
        )
        self.refused = self.gauge(
            "lendsignal_list_refused_members",
            "Members that the platform did not take, or did not let go, by reason.",
            *where,
            "reason",
        )
        self.paused = self.gauge(
            "lendsignal_list_paused", "1: the list waits for a person; 0: it does not.", *where
        )

    def sample(self) -> None:
        now_us = self._clock.now_us()
        if self._read_us is not None and 0 <= now_us - self._read_us < EVERY_US:
            return
        self._read_us = now_us
        if not self._ledger.exists():
            return
        try:
            with closing(open_audiences(self._ledger, read_only=True)) as book:
                self._stand(book, now_us)
        except LendsignalError:
            return  # a ledger that cannot be read is told by those who write it

    def _stand(self, book: Audiences, now_us: int) -> None:
        builds = {name: build for name in book.built() if (build := book.build(name)) is not None}
        syncs = book.syncs()
        self.intended.stand({(self._word(name),): float(one.members) for name, one in builds.items()})
        self.built.stand({(self._word(name),): (now_us - one.at_us) / 1e6 for name, one in builds.items()})
        self.confirmed.stand({self._where(one): float(one.confirmed) for one in syncs})
        self.paused.stand({self._where(one): float(one.state == "paused") for one in syncs})
        self.synced.stand(
            {self._where(one): (now_us - one.synced_us) / 1e6 for one in syncs if one.synced_us is not None}
        )
        self.behind.stand({self._where(one): behind_seconds(book, one, now_us) for one in syncs})
        self.refused.stand(_summed(self._refusals(book, syncs)))

    def _refusals(
        self, book: Audiences, syncs: Iterable[SyncRow]
    ) -> Iterable[tuple[tuple[str, str, str], int]]:
        for one in syncs:
            for reason, members in book.refusals(one.audience, one.account).items():
                yield (*self._where(one), self._reasons.bounded(reason)), members

    def _where(self, one: SyncRow) -> tuple[str, str]:
        return self._word(one.audience), self._word(one.account)

    def _word(self, name: str) -> str:
        return self._names.bounded(name)


def behind_seconds(book: Audiences, one: SyncRow, now_us: int) -> float:
    """For how long a platform has lacked what a build found, in seconds; 0: it has the latest."""
    builds = book.builds(one.audience, 20)
    if not builds:
        return 0.0
    done = (one.adds_after, one.removes_after) == (AFTER_ALL, AFTER_ALL)
    if one.target == builds[0].file and done and not book.ways(one.audience, one.account):
        return 0.0
    lacking = [build.at_us for build in builds if one.synced_us is None or build.at_us > one.synced_us]
    return max(0, now_us - min(lacking, default=builds[0].at_us)) / 1e6


def _summed(found: Iterable[tuple[tuple[str, str, str], int]]) -> Mapping[tuple[str, ...], float]:
    """Words beyond the bound stand for several."""
    sums: dict[tuple[str, ...], float] = {}
    for labels, members in found:
        sums[labels] = sums.get(labels, 0.0) + members
    return sums
