"""Builds the lists, brings the platforms' in step, and ends: the supervisor starts it again soon after."""

import logging
import os
import threading
from collections.abc import Sequence
from contextlib import closing

from lendsignal.clock import Clock, clock_at
from lendsignal.config import Config
from lendsignal.deliver.audiences import Synced, sync
from lendsignal.errors import FolderInUse, NotYet
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, open_audiences

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""A platform that wants to be asked again sooner is waited for; the others are for the next round."""

MOST_ROUNDS = 20
"""Askings of one round of the job: then new loans have waited long enough for their lists."""


def audience(config: Config) -> None:
    """One round. A process of its own, and a modest one: no delivery waits for it."""
    os.nice(10)
    stopping = stop_on_signal()
    try:
        with DataFolder(config.data).lock("audience"):
            clock = clock_at(config.replay_clock)
            built(config, clock)
            brought_in_step(config, clock, stopping)
    except (FolderInUse, NotYet):
        return  # somebody does it by hand, or nothing has come in yet


def built(config: Config, clock: Clock) -> None:
    """Builds what is due: all lists now and then, and in between those that follow a loan's state."""
    from lendsignal.role.lists import builder

    with closing(builder(config, clock)) as found:
        if found.due_whole(round(config.audiences.whole.total_seconds() * 1e6)):
            made = found.whole()
        else:
            made = found.fresh()
    for one in made:
        logger.info(
            "list %s: %d members, %d joined, %d left", one.audience, one.members, one.joined, one.gone
        )


def brought_in_step(
    config: Config, clock: Clock, stopping: threading.Event, only: Sequence[str] = ()
) -> list[Synced]:
    """Tells the platforms what changed, by default in every list; what came of each."""
    from lendsignal.audience.membership import Membership
    from lendsignal.role.lists import plan_of

    folder = DataFolder(config.data)
    with closing(open_audiences(folder.audiences)) as book:
        plan = plan_of(config, book).lists
    wanted = [one for one in plan if not only or one.audience in only]
    found: list[Synced] = []
    if not wanted:
        return found
    with closing(Membership(folder, wanted, clock)) as membership:
        for _ in range(MOST_ROUNDS):
            found = sync(
                membership,
                config.audience_accounts,
                clock,
                sandbox=config.deliver.sandbox,
                stopping=stopping,
            )
            soon = [one.again_in for one in found if one.again_in is not None]
            if not soon or min(soon) > PATIENCE_SECONDS or stopping.wait(max(0.05, min(soon))):
                break
    for one in found:
        level = logging.WARNING if one.outcome in ("paused", "error") else logging.INFO
        logger.log(level, "list %s in %s: %s %s", one.audience, one.account, one.outcome, one.reason)
    return found
