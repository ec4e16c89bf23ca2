"""What one node does for all of a cluster: a row says who, by the database's clock, under a rising epoch."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from lendsignal.errors import Overtaken
from lendsignal.log.copied import Lead
from lendsignal.log.postgres.connection import Database, Session

DESK = "desk"
"""What one desk does for all."""

LEASE = timedelta(seconds=30)
"""How long nobody else does what a silent node had."""


class Single:
    """The right to do one thing, as one node has it or not. `holder` is the node's own for this one run.

    Another node may take it while this one is busy; so what must not be done twice is written in
    `transaction`, and the rest is harmless when it is done twice.
    """

    def __init__(self, database: Database, name: str, holder: str, lease: timedelta = LEASE) -> None:
        self.name = name
        self.database = database
        self.holder = holder
        self._lease = lease
        self._epoch: int | None = None

    def take(self) -> bool:
        """Takes it where nobody has it, or whoever had it is silent; keeps it where it is ours."""
        found = self.database.row(
            "insert into single as had (name, holder, epoch, until)"
            " values (%s, %s, 1, clock_timestamp() + %s)"
            " on conflict (name) do update set holder = excluded.holder, until = excluded.until,"
            " epoch = had.epoch + (had.holder <> excluded.holder)::integer"
            " where had.holder = excluded.holder or had.until < clock_timestamp() returning epoch",
            self.name,
            self.holder,
            self._lease,
        )
        self._epoch = None if found is None else int(found[0])
        return found is not None

    @property
    def epoch(self) -> int | None:
        """Under which it is ours, as far as we know; `None`: it is not."""
        return self._epoch

    def is_due(self, every: timedelta) -> bool:
        """Whether it was last done so long ago, by whichever node, or never."""
        found = self.database.row(
            "select done is null or clock_timestamp() - done >= %s from single where name = %s",
            every,
            self.name,
        )
        return found is not None and bool(found[0])

    def done(self) -> None:
        """It was done now."""
        self.database.rows("update single set done = clock_timestamp() where name = %s", self.name)

    def let_go(self) -> None:
        """Lets another node have it at once."""
        self.database.rows(
            "update single set until = clock_timestamp() - interval '1 second'"
            " where name = %s and holder = %s",
            self.name,
            self.holder,
        )
        self._epoch = None

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction that only the node with the right can commit; raises `Overtaken` for any other."""
        with self.database.transaction() as session:
            held = session.row(
                "select 1 from single where name = %s and holder = %s and epoch = %s for update",
                self.name,
                self.holder,
                self._epoch,
            )
            if held is None:
                raise Overtaken(f"another node does {self.name} by now")
            yield session


def led(database: Database, lead: Lead, name: str = DESK) -> Single:
    """The right that another process of this node has, to write under it: it is neither kept nor let go."""
    one = Single(database, name, lead.holder)
    one._epoch = lead.epoch
    return one
