"""The desk of a cluster's node: brings the store into the node's own data folder, for all that reads one.

Once its copy was whole it also asks for the lease of what one desk does for all; the jobs of its node go by
what it says of that in the folder. A desk that began anew leads nobody by half a copy.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import timedelta
from threading import Event
from time import monotonic

from lendsignal.clock import MICROSECOND, SystemClock, clock_at
from lendsignal.config import Config
from lendsignal.errors import DataError, LogError
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, Pulse, open_log
from lendsignal.log.copied import CopyStanding, Lead, desk_name, tell_lead, tell_standing
from lendsignal.log.copied_deliveries import open_copied_deliveries
from lendsignal.log.copied_log import open_copied_log
from lendsignal.log.postgres import Database, database_of
from lendsignal.log.postgres.following import Follower, Turned, store_word
from lendsignal.log.postgres.forgetting import tell_copied
from lendsignal.log.postgres.singles import DESK, LEASE, Single
from lendsignal.metrics import FolderMeters, Meters, RoleMetrics, Ticking
from lendsignal.role.cluster import PAUSE_SECONDS, node_name, slots_when_there, store_of
from lendsignal.role.keeping import KeepMeters, LogKeeper

logger = logging.getLogger(__name__)

EVERY_SECONDS = 0.5
"""How soon a desk looks again where it has brought everything."""

KEEP_SECONDS = 0.1
"""How soon its log is looked at for what may go, between two turns."""

BEAT_SECONDS = 5.0
"""How often the lease of what one desk does for all is renewed; it lasts several times as long."""

TELL_SECONDS = 60.0
"""How often a desk says in the store that its copy is whole."""

SURE = LEASE - timedelta(seconds=BEAT_SECONDS)
"""How long after it was asked for a lease counts here: nobody's clock runs so much faster."""


def desk(config: Config) -> None:
    """Follows until told to stop, and then lets others lead.

    Raises `LogError` where the folder is not a copy's, `DataError` where the copy must begin anew.
    """
    store, folder = store_of(config), DataFolder(config.data)
    with ExitStack() as opened:
        opened.enter_context(folder.lock("desk"))
        stopping = stop_on_signal()
        pulse = opened.enter_context(closing(Pulse(folder.pulse("desk"))))
        pulse.beat()
        database = opened.enter_context(closing(database_of(store)))
        slots = slots_when_there(database, stopping)
        if slots is None:
            return
        log = opened.enter_context(closing(open_copied_log(folder.log, store_word(database))))
        sent = opened.enter_context(closing(open_copied_deliveries(folder.deliveries, log)))
        looked_at = opened.enter_context(closing(open_log(folder.log, read_only=True)))
        clock = clock_at(config.replay_clock)
        meters, kept = DeskMeters(), KeepMeters(looked_at, clock)
        metrics = RoleMetrics("desk", folder.path, [meters, kept, FolderMeters(folder.path)])
        opened.enter_context(Ticking(metrics))
        single = Single(database, DESK, node_name("desk"))
        leading = opened.enter_context(Leading(single, folder))
        keeper = LogKeeper(config, folder, log, clock, kept)
        telling = Telling(database, desk_name(folder))

        def between(turned: Turned) -> None:
            pulse.beat()
            meters.turned(turned)
            leading.turned(turned)
            telling.turned(turned)
            if turned.has_more:
                return
            log.prune()
            until = monotonic() + EVERY_SECONDS
            while not stopping.is_set() and monotonic() < until:
                if not keeper.turn():
                    stopping.wait(KEEP_SECONDS)
                pulse.beat()

        follow(Follower(database, slots, log, sent), folder, stopping, between)


def follow(
    follower: Follower,
    folder: DataFolder,
    stopping: Event,
    between: Callable[[Turned], None] = lambda turned: None,
) -> None:
    """Turns until told to stop, and says in the folder how the copy stands; `between` two turns something
    else has its time. Where the store is away it comes again and again. Raises `DataError` as `turn`."""
    clock, standing = SystemClock(), CopyStanding(whole_us=0, behind=0)
    while not stopping.is_set():
        begun_us = clock.now_us()
        try:
            turned = follower.turn()
        except LogError as error:
            logger.warning("%s; nothing is lost, it is tried again", error)
            _tell(folder, standing, str(error))
            stopping.wait(PAUSE_SECONDS)
            continue
        except DataError as error:
            _tell(folder, standing, str(error))
            raise
        whole_us = begun_us if turned.is_whole else standing.whole_us
        standing = CopyStanding(whole_us=whole_us, behind=turned.behind)
        tell_standing(folder, standing)
        between(turned)


def _tell(folder: DataFolder, standing: CopyStanding, wrong: str) -> None:
    tell_standing(folder, CopyStanding(whole_us=standing.whole_us, behind=standing.behind, wrong=wrong))


class Leading:
    """The lease of what one desk does for all, asked for once the copy was whole, while the block runs."""

    def __init__(self, single: Single, folder: DataFolder, steady: Callable[[], float] = monotonic) -> None:
        self._single = single
        self._folder = folder
        self._steady = steady
        self._clock = SystemClock()
        self._was_whole = False
        self._leads = False
        self._beat_at = float("-inf")

    def __enter__(self) -> "Leading":
        tell_lead(self._folder, None)
        return self

    def turned(self, turned: Turned) -> None:
        """Asks for the lease, or keeps it, where it is time to."""
        self._was_whole |= turned.is_whole
        if not self._was_whole or self._steady() - self._beat_at < BEAT_SECONDS:
            return
        self._beat_at = self._steady()
        until_us = self._clock.now_us() + SURE // MICROSECOND
        try:
            leads = self._single.take()
        except LogError as error:
            logger.warning("%s; the lease of the desk is asked for again", error)
            return
        if leads != self._leads:
            logger.info("this desk %s for all", "works" if leads else "does not work")
        self._leads = leads
        epoch = self._single.epoch
        lead = None
        if epoch is not None:
            lead = Lead(holder=self._single.holder, epoch=epoch, until_us=until_us)
        tell_lead(self._folder, lead)

    def __exit__(self, *error: object) -> None:
        tell_lead(self._folder, None)
        if self._leads:
            try:
                self._single.let_go()
            except LogError as away:
                logger.warning("%s; the lease of the desk ends by itself", away)


class Telling:
    """Says in the store how far this desk's copy is: so somebody hears of it before what it has not copied
    goes."""

    def __init__(self, database: Database, name: str, steady: Callable[[], float] = monotonic) -> None:
        self._database = database
        self._name = name
        self._steady = steady
        self._tell_at = float("-inf")

    def turned(self, turned: Turned) -> None:
        """Says it where the copy is whole, now and then."""
        if turned.is_whole and self._steady() >= self._tell_at:
            self._tell_at = self._steady() + TELL_SECONDS
            try:
                tell_copied(self._database, self._name)
            except LogError as error:
                logger.warning("%s; how far the copy is, is told again", error)


class DeskMeters(Meters):
    """How far behind its store a copy is, and what was brought."""

    def __init__(self, steady: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._steady = steady
        self._whole_at = steady()
        self._behind = self.gauge(
            "lendsignal_desk_behind_events", "Events that are decided in the store and not in this copy."
        )
        self._behind_seconds = self.gauge(
            "lendsignal_desk_behind_seconds", "How long ago this copy was all of the store."
        )
        self._events = self.counter(
            "lendsignal_desk_events_total", "Decided events that were brought into this copy."
        )
        self._receipts = self.counter(
            "lendsignal_desk_receipts_total", "Receipts of senders that were brought into this copy."
        )

    def turned(self, turned: Turned) -> None:
        """A turn ended."""
        if turned.is_whole:
            self._whole_at = self._steady()
        self._behind.set(float(turned.behind))
        self._events.add(n=turned.events)
        self._receipts.add(n=turned.receipts)

    def sample(self) -> None:
        self._behind_seconds.set(max(0.0, self._steady() - self._whole_at))
