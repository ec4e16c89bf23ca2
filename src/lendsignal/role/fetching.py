"""What we fetch ourselves, on a cluster: read at the leading desk, appended straight to the store.

Marks are in the store, so that the desk that leads next goes on where this one stopped.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial

from lendsignal.clock import Clock, clock_at
from lendsignal.config import Config
from lendsignal.errors import LogError, Overtaken
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, Marks, PullState
from lendsignal.log.copied import Lead
from lendsignal.log.postgres import database_of
from lendsignal.log.postgres.erasing import KeptOutWatch
from lendsignal.log.postgres.pulls import PullRows
from lendsignal.log.postgres.singles import DESK, Single, led
from lendsignal.metrics import RoleMetrics, Ticking
from lendsignal.role.cluster import LateDoor, node_name, store_of
from lendsignal.role.leading import lead_when_ours, wait_while
from lendsignal.source import Kit, Puller, PullMeters, Reader, pull_all, reader_of
from lendsignal.source.pull import Batch, Hand, Handed
from lendsignal.source.pulled import IntoTheStore

KEEP_SECONDS = 5.0
"""How often a right is renewed that lasts several times as long."""


def fetch(config: Config) -> None:
    """Reads while this node's desk is the one, until told to stop; a desk that is not waits."""
    folder, clock = DataFolder(config.data), clock_at(config.replay_clock)
    with ExitStack() as opened:
        opened.enter_context(folder.lock("pull"))
        stopping = stop_on_signal()
        meters = PullMeters()
        opened.enter_context(Ticking(RoleMetrics("pull", folder.path, [meters])))
        while (ours := lead_when_ours(config, stopping)) is not None:
            _read_while_ours(config, ours, clock, meters, stopping)


def _read_while_ours(
    config: Config, ours: Lead, clock: Clock, meters: PullMeters, stopping: threading.Event
) -> None:
    store = store_of(config)
    with ExitStack() as opened:
        database = opened.enter_context(closing(database_of(store)))
        door = opened.enter_context(closing(LateDoor(config)))
        kept_out = opened.enter_context(KeptOutWatch(database_of(store)))
        reader = reader_of(
            config.apps,
            config.policy.resolve.clock_ahead,
            sets_received_at=clock.replay,
            kept_out=kept_out,
        )
        marks = PullRows(database, led(database, ours))
        ended = threading.Event()
        pullers = pullers_of(config, marks, IntoTheStore(door, reader, clock), clock, meters, ended)
        reading = threading.Thread(target=pull_all, args=(pullers, ended), name="pulls")
        reading.start()
        try:
            wait_while(config, ours, stopping)
        finally:
            ended.set()
            reading.join()


def pullers_of(
    config: Config, marks: Marks, hand: Hand, clock: Clock, meters: PullMeters, ended: threading.Event
) -> list[Puller]:
    """One for each pull that is not switched off. Raises `Overtaken` where another desk is the one by now."""
    return [
        Puller(
            name,
            plan.common,
            partial(plan.open, Kit(name=name, folder=config.path.parent, pulls=marks, clock=clock)),
            hand,
            marks,
            clock,
            meters=meters,
            stopping=ended,
        )
        for name, plan in config.pulls.items()
        if plan.common.enabled
    ]


@contextmanager
def reading_alone(config: Config) -> Iterator[tuple[Marks, Hand]]:
    """Marks and a hand for who reads a pull to its end by himself, from any node.

    Raises `LogError` where a desk reads: marks move under the right that it has.
    """
    store, clock = store_of(config), clock_at(config.replay_clock)
    with ExitStack() as opened:
        database = opened.enter_context(closing(database_of(store)))
        door = opened.enter_context(closing(LateDoor(config)))
        kept_out = opened.enter_context(KeptOutWatch(database_of(store)))
        kept_out.look()
        reader = reader_of(config.apps, config.policy.resolve.clock_ahead, kept_out=kept_out)
        single, into = Single(database, DESK, node_name("pull")), IntoTheStore(door, reader, clock)
        if not single.take():
            raise LogError("a desk of this cluster reads the pulls: leave it to that one, or stop it first")
        opened.callback(single.let_go)

        def hand(pull: str, batch: Batch) -> Handed:
            if not single.take():
                raise Overtaken("a desk reads the pulls by now")
            return into(pull, batch)

        yield PullRows(database, single), hand


@contextmanager
def importing_alone(config: Config) -> Iterator[tuple[LateDoor, Reader]]:
    """The door and the reader of events for who imports files, from any node; one imports at a time.

    What was imported is known to the store. Raises `LogError` where another import goes on.
    """
    store = store_of(config)
    with ExitStack() as opened:
        database = opened.enter_context(closing(database_of(store)))
        kept_out = opened.enter_context(KeptOutWatch(database_of(store)))
        kept_out.look()
        single = Single(database, "import", node_name("import"))
        if not single.take():
            raise LogError("another import goes on, or broke off less than a minute ago: try again then")
        opened.callback(single.let_go)
        opened.enter_context(Kept(single))
        ahead = config.policy.resolve.clock_ahead
        reader = reader_of(config.apps, ahead, sets_received_at=True, kept_out=kept_out)
        yield opened.enter_context(closing(LateDoor(config))), reader


class Kept:
    """Keeps a right in a thread of its own while the block runs."""

    def __init__(self, single: Single) -> None:
        self._single = single
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keeps {single.name}", daemon=True)

    def __enter__(self) -> "Kept":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(KEEP_SECONDS):
            with suppress(LogError):  # it is taken again with the next look
                self._single.take()


class OnlyLooking(PullRows):
    """Marks that are looked at and stay as they are."""

    def began(self, name: str, now_us: int) -> int:
        """When that pull was first started: now, if it never was."""
        return next((one.began_us for one in super().standing() if one.name == name), now_us)

    def commit(self, *said: object, **more: object) -> None:
        """Keeps nothing."""

    def met_again(self, *said: object) -> None:
        """Keeps nothing."""

    def forget(self, *said: object) -> None:
        """Keeps nothing."""

    def stand(self, state: PullState) -> None:
        """Keeps nothing."""


@contextmanager
def marks_to_look_at(config: Config) -> Iterator[Marks]:
    """The marks as they stand: looking changes nothing."""
    with closing(database_of(store_of(config))) as database:
        yield OnlyLooking(database)
