"""A data folder filled by the real log, the real decisions and the real store of deliveries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acme import source, us

from lendsignal.decide import Decider
from lendsignal.log import (
    Changes,
    DataFolder,
    Dead,
    Open,
    Receipt,
    Stage,
    open_deliveries,
    open_feeds,
    open_log,
)
from lendsignal.model import Event
from lendsignal.model.attribution import Ad, Attribution, Recorded
from lendsignal.plan import Entry, Planned, PolicySource, delivery_id
from lendsignal.report import Tables, load

SECOND = 1_000_000


class Still:
    """A clock that stands at a minute after `T0`."""

    replay = True

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes

    def now_us(self) -> int:
        return us(self.minutes)


class Kept:
    """A lender's data folder. `tell` appends and decides events in the order given."""

    def __init__(self, path: Path, policy: PolicySource | None = None, now: float = 0) -> None:
        self.folder = DataFolder(path)
        self.clock = Still(now)
        self.log = open_log(self.folder.log)
        self.decider = Decider(self.log, policy or source(), self.clock, lambda: None)
        while self.decider.turn():
            pass

    def tell(self, *events: Event) -> "Kept":
        if events:
            self.log.append(events)
        while self.decider.turn():
            pass
        return self

    def attribute(self, *installations: tuple[str, str, str, str]) -> "Kept":
        """(app, id, media source, campaign) of installations."""
        return self.feed(
            *(
                Attribution(
                    feed="mmp",
                    mmp="appsflyer",
                    app=app,
                    id=name,
                    told_us=us(0),
                    ad=Ad(media_source=media_source, channel=media_source.lower(), campaign=campaign),
                )
                for app, name, media_source, campaign in installations
            )
        )

    def feed(self, *facts: Attribution | Recorded) -> "Kept":
        """What MMPs said."""
        feeds = open_feeds(self.folder.feeds)
        feeds.take(facts)
        feeds.close()
        return self

    def planned(self) -> list[tuple[int, int, Planned, Entry]]:
        """Every delivery that the decisions plan: its id, its record, and what it is."""
        return [
            (delivery_id(number, place), number, record, entry)
            for number, record in self.log.records(0, 10_000)
            if isinstance(record, Planned)
            for place, entry in enumerate(record.entries)
        ]

    def send(self, fate: Callable[[int, Planned, Entry], "Fate | None"]) -> "Kept":
        """Makes of every delivery what `fate` says, as the sender writes it; `None` leaves it waiting."""
        changes = Changes()
        for name, number, record, entry in self.planned():
            conversion = record.conversion.name
            changes.add(entry.destination, conversion, "planned")
            if entry.skip is not None:
                changes.add(entry.destination, conversion, "skipped", entry.skip.value)
            elif (end := fate(name, record, entry)) is None:
                due_us = record.at_us + entry.settle_us
                changes.keep(Open(entry.destination, name, Stage.WAITING, due_us))
            else:
                end.write(changes, name, entry.destination, conversion)
            changes.position = number
        with_deliveries = open_deliveries(self.folder.deliveries)
        with_deliveries.commit(changes)
        with_deliveries.close()
        return self

    def tables(self) -> Tables:
        return load(self.folder)


class Fate:
    """How a delivery ended: `answered` is the minute of the answer, `tries` how often it was sent."""

    def __init__(
        self, what: str, reason: str, answered: float = 0, *, tries: int = 1, status: int = 200, **answer: Any
    ) -> None:
        self.what, self.reason, self.answered_us = what, reason, us(0) + round(answered * 60 * SECOND)
        self.tries, self.status = tries, status
        self.answer: bytes = answer.get("answer", b"")
        self.request: bytes = answer.get("request", b"")

    def write(self, changes: Changes, name: int, destination: str, conversion: str) -> None:
        for attempt in range(1, self.tries):
            changes.receipts.append(
                Receipt(name, destination, "retry", "http_503", attempt, us(0), us(0) + SECOND, 503, b"busy")
            )
        if self.what == "held":
            changes.keep(Open(destination, name, Stage.HELD, 0, 1, 1, reason="unknown"))
            return
        sent_us = self.answered_us - SECOND if self.tries else 0
        changes.receipts.append(
            Receipt(
                name,
                destination,
                self.what,
                self.reason,
                self.tries,
                sent_us,
                self.answered_us,
                self.status,
                self.answer,
            )
        )
        if self.what == "dead":
            changes.dead.append(
                Dead(name, destination, conversion, self.answered_us, self.reason, self.request, self.answer)
            )
        changes.add(destination, conversion, self.what, self.reason)
