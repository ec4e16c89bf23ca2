"""A desk's copy of a store for tests: follows when it is told to, and says what the folder then holds."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tests.clustered import lives

from lendsignal.log import DataFolder, Deliveries, Log, Open, Stage, open_deliveries, open_log
from lendsignal.log.copied_deliveries import open_copied_deliveries
from lendsignal.log.copied_log import open_copied_log
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.following import Follower, Turned, store_word

Counts = dict[tuple[str, str], int]


class Copy:
    """The copy in a folder; `follower` reads the store over a connection of its own."""

    def __init__(self, folder: Path, url: str, schema: str, slots: int, **settings: Any) -> None:
        self.folder = DataFolder(folder)
        self.database = Database(url, schema)
        with ExitStack() as opened:
            opened.callback(self.database.close)
            self.log = opened.enter_context(
                closing(open_copied_log(self.folder.log, store_word(self.database)))
            )
            self.deliveries = opened.enter_context(
                closing(open_copied_deliveries(self.folder.deliveries, self.log))
            )
            self.follower = Follower(self.database, slots, self.log, self.deliveries, rests=0, **settings)
            self._opened = opened.pop_all()

    def follow(self) -> Turned:
        """Until all that the store has is here; what the last turn said."""
        while not (found := self.follower.turn()).is_whole:
            pass
        return found

    def close(self) -> None:
        self._opened.close()


def copy_of(folder: Path, cluster: Any, **settings: Any) -> Copy:
    """A copy of a `tests.clustered.Cluster`."""
    return Copy(folder, cluster.url, cluster.schema, cluster.slots, **settings)


def told(log: Log) -> tuple[dict[str, list[Any]], Counts]:
    """Everybody's life and the counts, as a folder has them."""
    return lives(log.records(0, 1_000_000)), dict(log.tally())


def verdicts(log: Log) -> dict[str, list[str]]:
    """The verdicts of everybody's events in their order; not of those by which rules come into force."""
    found: dict[str, list[str]] = {}
    for fact, word in log.decided(0, log.end()):
        if fact.event.brand != "lendsignal":
            found.setdefault(fact.event.user_id, []).append(f"{fact.event.event_id} {word}")
    return found


def read(folder: DataFolder) -> tuple[Log, Deliveries]:
    """The folder's files as everybody but the desk opens them."""
    return open_log(folder.log, read_only=True), open_deliveries(folder.deliveries, read_only=True)


def opened(deliveries: Deliveries, log: Log) -> list[tuple[str, str, str, str]]:
    """What is open: destination, conversion, stage and reason, in an order of its own."""
    found: list[tuple[str, str, str, str]] = []
    for name in deliveries.destinations():
        for stage in Stage:
            for one in deliveries.open(name, 0, 100_000, stage):
                found.append((name, conversion_of(log, one), one.stage.name, one.reason))
    return sorted(found)


def conversion_of(log: Log, one: Open) -> str:
    """The id of the conversion that a delivery is of."""
    return conversions(log, [one.id])[0]


def conversions(log: Log, deliveries: Sequence[int]) -> list[str]:
    """The ids of the conversions that deliveries are of."""
    found = []
    for delivery in deliveries:
        record = log.record(delivery // 64)
        assert record is not None, delivery
        found.append(record.conversion.id if hasattr(record, "conversion") else "")
    return found


def numbers(folder: DataFolder) -> list[int]:
    """The numbers of all events of a log."""
    with closing(open_log(folder.log, read_only=True)) as log:
        return [fact.seq for fact in log.scan()]
