"""What a desk of a cluster keeps an eye on: health, the tiers' cuts, what MMPs told, and who was erased.

A process of its own, so that neither the copy nor the pages wait. Every desk looks; people are told, and cuts
put in force, by the leading one alone.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.decide.cutting import Cutter, put_in_force
from lendsignal.derive import CutTable
from lendsignal.erase.desk import has_something_to_do
from lendsignal.errors import LendsignalError, LogError
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, open_feeds, open_log
from lendsignal.log.copied import copy_standing
from lendsignal.log.postgres import database_of
from lendsignal.log.postgres.told import ToldRows, follow
from lendsignal.metrics import RoleMetrics, Ticking
from lendsignal.role.cluster import slots_when_there, store_of
from lendsignal.role.leading import leads, rules_of
from lendsignal.role.tracing import Tracing
from lendsignal.role.watcher import Watcher

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 2.0
"""How often it is looked what MMPs told, and whether anybody is to be erased here."""


def watch(config: Config) -> None:
    """Looks until told to stop."""
    folder, clock = DataFolder(config.data), clock_at(config.replay_clock)
    with ExitStack() as opened:
        opened.enter_context(folder.lock("watch"))
        stopping = stop_on_signal()
        database = opened.enter_context(closing(database_of(store_of(config))))
        if slots_when_there(database, stopping) is None:
            return
        feeds = opened.enter_context(closing(open_feeds(folder.feeds)))
        opened.enter_context(Ticking(RoleMetrics("watch", folder.path, [])))
        opened.enter_context(
            Cutter(
                lambda: open_log(folder.log, read_only=True),
                config.policy,
                config.tiers,
                clock,
                put=lambda table: _put(config, table),
                is_ours=lambda: leads(config),
            )
        )
        opened.enter_context(Watcher(config, clock))
        opened.enter_context(Tracing(config))
        told = ToldRows(database, clock.now_us)
        turn_until(stopping, lambda: follow(told, feeds), lambda: has_something_to_do(config, database))


def turn_until(stopping: threading.Event, *looks: Callable[[], object]) -> None:
    """Does each of these every `FOLLOW_SECONDS`; what goes wrong is said once, and tried again."""
    said: dict[int, str] = {}
    while not stopping.is_set():
        for number, look in enumerate(looks):
            try:
                look()
                said.pop(number, None)
            except LendsignalError as error:
                if said.get(number) != str(error):
                    logger.warning("%s; it is tried again", error)
                said[number] = str(error)
        stopping.wait(FOLLOW_SECONDS)


def _put(config: Config, table: CutTable) -> None:
    with rules_of(config) as rules:
        put_in_force(rules, table)


UNHELD = """
select (select count(*) from cursor left join node on node.name = cursor.owner
        and node.until > clock_timestamp() where node.name is null),
    (select count(*) from sending left join node on node.name = sending.owner
        and node.until > clock_timestamp() where node.name is null)
"""


def unsent(config: Config) -> str | None:
    """Why nothing is decided or sent, or not seen here, whatever destinations do; `None`: all turns."""
    standing = copy_standing(DataFolder(config.data))
    if standing is not None and standing.wrong:
        return f"the desk's copy stands still: {standing.wrong}"
    try:
        with closing(database_of(store_of(config))) as database:
            found = database.row(UNHELD)
    except LogError as error:
        return str(error)
    undecided, unsent_ = (0, 0) if found is None else found
    words = [
        f"nobody {does} {n} slots"
        for does, n in (("decides what comes into", undecided), ("sends what is planned in", unsent_))
        if n
    ]
    return "; ".join(words) or None
