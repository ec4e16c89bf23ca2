"""A data folder into which pulls read, one turn at a time: real marks, real log, real decisions."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.acme import APPS, T0, source

from lendsignal.clock import Clock, SystemClock
from lendsignal.decide import Decider
from lendsignal.log import Quarantined, open_log, open_pulls
from lendsignal.model import Event
from lendsignal.plan import Verdict
from lendsignal.settings import read
from lendsignal.source import IntoTheLog, Kit, Puller, PullSettings, feed_kinds, reader_of
from lendsignal.source.pull import Batch, Hand, Handed

EARLY = T0.replace(year=2020)
"""Nothing of a test lies before it: by default nothing is history."""


class Gone(BaseException):
    """Stands in for kill -9: nothing of ours catches it, and nothing is tidied up after it."""


class House:
    """A data folder and the pulls over it. `open` and `close` stand for a restart."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.folder = folder
        self.clock = clock or SystemClock()
        folder.mkdir(parents=True, exist_ok=True)
        self.open()

    def open(self) -> None:
        self.log = open_log(self.folder / "log.sqlite")
        self.pulls = open_pulls(self.folder / "pulls.sqlite")

    def close(self) -> None:
        self.pulls.close()
        self.log.close()

    def hand(self) -> Hand:
        """Straight into the log, as where no service runs."""
        reader = reader_of(APPS, source().resolve.clock_ahead)
        return IntoTheLog(self.log, reader, self.clock)

    def dies_after_durable(self) -> Hand:
        """A hand that is killed when the events are durable and nobody knows it yet."""
        straight = self.hand()

        def hand(name: str, batch: Batch) -> Handed:
            straight(name, batch)
            raise Gone

        return hand

    def puller(
        self, kind: str, table: Mapping[str, Any], *, name: str = "loans", hand: Hand | None = None
    ) -> Puller:
        """A pull as that table configures it."""
        common_names = set(PullSettings.__struct_fields__) - {"kind"}
        common, wrong = read(
            PullSettings,
            {"send_since": EARLY, "every": "1s", "kind": kind}
            | {key: value for key, value in table.items() if key in common_names},
            path="",
            origin="",
        )
        module = feed_kinds()[kind]
        own_table = {key: value for key, value in table.items() if key not in common_names}
        own, also_wrong = read(module.Settings, own_table, path="", origin="")
        problems = [*wrong, *also_wrong, *(module.problems(own) if own is not None else ())]
        assert not problems, [str(one) for one in problems]
        assert common is not None
        kit = Kit(name=name, folder=self.folder, pulls=self.pulls, clock=self.clock)
        return Puller(
            name, common, partial(module.feed, own, kit), hand or self.hand(), self.pulls, self.clock
        )

    def read_all(self, kind: str, table: Mapping[str, Any], **more: Any) -> None:
        """Reads until nothing waits."""
        puller = self.puller(kind, table, **more)
        drained(puller)
        puller.close()

    def events(self) -> list[Event]:
        """Everything in the log, in the order it came."""
        return [fact.event for fact in self.log.scan() if not fact.event.type.startswith("lend")]

    def ids(self) -> list[str]:
        """The ids of everything in the log: an id twice is one event that came twice."""
        return [one.event_id for one in self.events()]

    def verdicts(self) -> dict[str, int]:
        """What was decided of everything in the log, counted."""
        decider = Decider(self.log, source(), self.clock, lambda: None)
        while decider.turn() or decider.position < self.log.end():
            continue
        return {name: n for (what, name), n in self.log.tally().items() if what == "verdict"}

    def taken(self) -> int:
        """How many events counted."""
        return self.verdicts().get(Verdict.TAKEN, 0)

    def quarantine(self) -> list[Quarantined]:
        """What was refused, oldest first."""
        return list(reversed(self.log.quarantined(1_000)))


def drained(puller: Puller) -> None:
    """Turns until nothing waits."""
    while puller.turn():
        continue
