"""The worker of a cluster's node: decides what comes in its slots, and does what one node does for all."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from math import ceil

from lendsignal.clock import Clock, clock_at
from lendsignal.config import Config
from lendsignal.decide import DecideMeters
from lendsignal.decide.slots import SlotDecider
from lendsignal.decide.slots import work as decide_until
from lendsignal.errors import LogError
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, Pulse
from lendsignal.log.cluster import slots_of_worker, waiting_in_topic
from lendsignal.log.keeping import span_of
from lendsignal.log.postgres import Database, Leases, RuleRows, Terms, database_of, tend_days
from lendsignal.log.postgres.erasures import ErasureRows
from lendsignal.log.postgres.quarantine import forget_refused
from lendsignal.log.postgres.slots import SlotRows
from lendsignal.log.postgres.standing import ClusterCounts
from lendsignal.log.store import StoreSettings
from lendsignal.metrics import RoleMetrics, Ticking
from lendsignal.plan import version_of
from lendsignal.role.chores import Chore, Chores
from lendsignal.role.cluster import PAUSE_SECONDS, node_name, slots_when_there, store_of
from lendsignal.role.forgetting import StoreMeters, forgets
from lendsignal.role.keeping import windows_of

logger = logging.getLogger(__name__)

HOURLY = timedelta(hours=1)
MINUTELY = timedelta(minutes=1)
NOW = timedelta(0)


class Turning(SlotDecider):
    """A worker that shows with each turn that it turns."""

    def __init__(self, log: SlotRows, clock: Clock, meters: DecideMeters, pulse: Pulse) -> None:
        super().__init__(log, clock, meters=meters)
        self._pulse = pulse

    def turn(self) -> bool:
        """One round; see `SlotDecider.turn`."""
        try:
            return super().turn()
        finally:
            self._pulse.beat()


def work(config: Config) -> None:
    """Decides until told to stop, then leaves its slots to others."""
    store, folder = store_of(config), DataFolder(config.data)
    with ExitStack() as opened:
        opened.enter_context(folder.lock("work"))
        stopping = stop_on_signal()
        pulse = opened.enter_context(closing(Pulse(folder.pulse("work"))))
        pulse.beat()
        database = opened.enter_context(closing(database_of(store)))
        slots = slots_when_there(database, stopping)
        if slots is None or not _rules_when_there(database, config, stopping, pulse):
            return
        clock, name = clock_at(config.replay_clock), node_name("work")
        counted = opened.enter_context(closing(database_of(store)))
        counts = ClusterCounts(counted, elsewhere=lambda: waiting_in_topic(store, counted))
        meters = DecideMeters(counts, clock)
        kept = StoreMeters(counted, lambda: days_kept(config, clock))
        opened.enter_context(Ticking(RoleMetrics("work", folder.path, [meters, kept])))
        opened.enter_context(Chores(database_of(store), name, chores_of(config, clock)))
        one = Turning(_log_of(store, database, name, slots), clock, meters, pulse)
        decide_until(one, stopping)


def _log_of(store: StoreSettings, database: Database, name: str, slots: int) -> SlotRows:
    """The slots of this worker."""
    seconds = store.lease / timedelta(seconds=1)
    terms = Terms(lease_seconds=seconds, beat_seconds=seconds / 4)
    return slots_of_worker(store, database, Leases(database, name, terms=terms), slots)


def chores_of(config: Config, clock: Clock) -> Sequence[Chore]:
    """What one worker does for all."""
    return [
        Chore("days", HOURLY, lambda single: tend_days(single.database, days_kept(config, clock))),
        Chore("receipts", MINUTELY, forgets(clock, lambda: days_kept(config, clock))),
        Chore(
            "quarantine",
            HOURLY,
            lambda single: forget_refused(
                single, clock.now_us(), timedelta(days=config.door.quarantine_days)
            ),
        ),
        Chore("mending", MINUTELY, lambda single: mend_what_was_left(single.database, config, clock)),
        Chore("erasures", NOW, lambda single: erase_who_is_asked_for(single.database, config, clock)),
    ]


def erase_who_is_asked_for(database: Database, config: Config, clock: Clock) -> None:
    """Strikes from the store whoever is to be erased; the leading desk asks the platforms."""
    if ErasureRows(database).open():
        from lendsignal.erase.in_store import carried_on  # few workers ever need it

        carried_on(config, clock, asks=False)


def mend_what_was_left(database: Database, config: Config, clock: Clock) -> int:
    """Sends through again what a person asked for on a node that ended before it was done; how many events.

    Who asks does it: here is only what was left. More than one may do it at a time.
    """
    if database.row("select 1 from quarantine where state = 'asked' limit 1") is None:
        return 0
    # Loaded when there is something to do: a worker reads no event from outside otherwise.
    from lendsignal.log.postgres.refused import stored_refusals
    from lendsignal.source import Mender, reader_of

    reader = reader_of(config.apps, config.policy.resolve.clock_ahead, sets_received_at=clock.replay)
    with stored_refusals(store_of(config)) as log:
        return Mender(log, reader, clock, config.door.quarantine_days).finish()


def days_kept(config: Config, clock: Clock) -> int:
    """Whole days that events stay, longer where a destination or the tiers look further back."""
    span, _ = span_of(config.log.keep_for, windows_of(config, clock.now_us()))
    return ceil(span / timedelta(days=1))


def _rules_when_there(database: Database, config: Config, stopping: threading.Event, pulse: Pulse) -> bool:
    """Waits until a policy was put in force; says so where it is not this configuration's. False: told to
    stop before."""
    rules, wanted, said = RuleRows(database), version_of(config.policy), False
    while not stopping.is_set():
        try:
            found = rules.wanted("policy")
        except LogError as error:
            logger.warning("%s; it is tried again", error)
        else:
            if found is not None:
                if found != wanted:
                    logger.warning(
                        "this configuration's policy is %s, and %s is in force: it goes on with that one"
                        " until `lendsignal store policy` puts another in force",
                        wanted,
                        found,
                    )
                return True
            if not said:
                logger.warning("no policy is in force yet: `lendsignal store policy` puts one there")
                said = True
        pulse.beat()
        stopping.wait(PAUSE_SECONDS)
    return False
