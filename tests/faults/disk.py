"""Stores in memory that are slow, refuse, and at which the process may die."""

from pathlib import Path

import apsw
from tests.faults.judge import Judge
from tests.faults.setting import Faults
from tests.faults.world import World

from lendsignal.errors import LogError
from lendsignal.log import Changes, Deliveries, Log, Orders
from lendsignal.log import deliveries as deliveries_file
from lendsignal.log import log as log_file
from lendsignal.log import orders as orders_file
from lendsignal.log.sqlite import connect

MEMORY = Path(":memory:")


def log_in_memory() -> Log:
    """An empty log."""
    return Log(connect(MEMORY, log_file.SCHEMA))


def orders_in_memory() -> Orders:
    """An empty file of orders."""
    return Orders(connect(MEMORY, orders_file.SCHEMA))


class FaultyDeliveries(Deliveries):
    """The deliveries on a disk that the seed makes slow or full; what is committed is shown to the judge.

    It outlives the sender, as a file does: what was not committed when the process died is gone.
    """

    def __init__(self, world: World, judge: Judge, faults: Faults) -> None:
        super().__init__(connect(MEMORY, deliveries_file.SCHEMA))
        self.is_full = False
        self._world = world
        self._judge = judge
        self._faults = faults
        self._chance = world.chance("disk")

    def commit(self, changes: Changes) -> None:
        """As the real one, which it calls."""
        world = self._world
        if not world.calm and self._chance.random() < self._faults.slow_disk:
            world.pass_time(self._chance.expovariate(1.0))
        try:
            super().commit(changes)
        except LogError:
            world.say("the disk is full")
            raise
        self._judge.sees_commit(changes)
        world.may_die("after a commit")

    def reopened(self) -> None:
        """Another process has it now, which knows nothing but what is on disk."""
        self._numbers.clear()
        self._names.clear()

    def _write(self, changes: Changes) -> None:
        super()._write(changes)
        self._world.may_die("in a commit")
        if self.is_full and not self._world.calm:
            raise apsw.FullError("database or disk is full")
