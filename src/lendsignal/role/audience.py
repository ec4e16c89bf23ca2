"""Builds the lists, brings the platforms' in step, and ends: the supervisor starts it again soon after."""

import logging
import os
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from lendsignal.clock import Clock, clock_at
from lendsignal.config import Config
from lendsignal.deliver.audiences import Synced, sync
from lendsignal.errors import FolderInUse, LendsignalError, NotYet
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, open_audiences
from lendsignal.role.ledger import refuse_another_ledger

if TYPE_CHECKING:  # the reports' library is for who asks the ledger
    from lendsignal.audience.membership import Membership, Planned

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
    except LendsignalError as error:
        if config.store is None:
            raise
        logger.warning("%s", error)


def built(config: Config, clock: Clock) -> None:
    """Builds what is due: all lists now and then, and in between those that follow a loan's state."""
    from lendsignal.role.lists import builder

    if not config.lists:
        return
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
    config: Config,
    clock: Clock,
    stopping: threading.Event,
    only: Sequence[str] = (),
    *,
    anew: bool = False,
    take_over: bool = False,
) -> list[Synced]:
    """Tells the platforms what changed, by default in every list; what came of each.

    A list that was last told as a whole longer than `audiences.anew` ago is so told again, or at once where
    `anew` is asked. What the configuration no longer sends is emptied once its time has come. On a cluster
    platforms are told from one desk alone: raises `LendsignalError` as `ledger.refuse_another_ledger`.
    """
    from lendsignal.audience.membership import Membership

    folder = DataFolder(config.data)
    wanted = [one for one in _wanted(config, folder, clock) if not only or one.audience in only]
    found: list[Synced] = []
    if not wanted:
        return found
    refuse_another_ledger(config, take_over=take_over)
    with closing(Membership(folder, wanted, clock)) as membership:
        _ask_anew(config, membership, clock, at_once=anew)
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


def _wanted(config: Config, folder: DataFolder, clock: Clock) -> "list[Planned]":
    """The lists that go anywhere, and those that are to be emptied by now."""
    from lendsignal.role.lists import left_behind, note_left, plan_of

    now_us = clock.now_us()
    with closing(open_audiences(folder.audiences)) as book:
        plan = plan_of(config, book)
        left = left_behind(config, book, plan, now_us)
        for one in note_left(book, plan, left, now_us):
            logger.warning(
                "list %s stands in %s with %d members and is sent no more (%s): lendsignal audience retire",
                one.audience,
                one.account,
                one.members,
                one.why,
            )
    return [*plan.lists, *(one.planned() for one in left if one.is_due(now_us))]


def _ask_anew(config: Config, membership: "Membership", clock: Clock, *, at_once: bool) -> None:
    """Lets lists be told as a whole whose time has come; one that is new counts from now."""
    now_us, every_us = clock.now_us(), config.audiences.anew.total_seconds() * 1e6
    for one in membership.syncs():
        account = config.audience_accounts.get(one.account)
        if one.retired or account is None or not hasattr(account.module, "replace"):
            continue
        last = membership.noted(one, ANEW)
        if last is None:
            membership.note(one, ANEW, str(now_us).encode())
        if one.remote is not None and (at_once or (last is not None and now_us - int(last) >= every_us)):
            membership.note(one, ANEW, str(now_us).encode())
            membership.ask_replace(one)


ANEW = "anew_us"
"""The note when a list was last told as a whole, in microseconds since 1970."""
