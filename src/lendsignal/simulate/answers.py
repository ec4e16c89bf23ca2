"""The hidden truth: for every loan event the installation it belongs to.

`last_login` is the rule the product promises, applied with full knowledge: the installation of the user's
latest touch at or before the event. A touch counts at the time its phone says, but never later than it was
received; an agent's touch, and one that shows no installation, does not count; two touches in the same
millisecond are settled by the larger event id. An event known by its day binds at the end of that local day,
but not after it was received.
"""

from dataclasses import dataclass

import numpy as np

from lendsignal.model import EventType
from lendsignal.simulate.arrivals import CODE, TOUCH_KINDS, Events, Fault
from lendsignal.simulate.chance import Flags, Ints
from lendsignal.simulate.installs import Epochs
from lendsignal.simulate.localtime import LocalTime
from lendsignal.simulate.parameters import Parameters
from lendsignal.simulate.touches import Touches


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """One row a loan event (copies and conflicting repeats have none), in the order of arrival.

    `event` is the row of the event; `binds_at` the moment that counts (milliseconds UTC).
    `last_login`, `first_install` and `last_login_as_arrived` are installations, -1 where there is none;
    the last of them knows only touches received by `binds_at` + settle.
    `touch_at` and `touch_received_at` are the two times of the touch behind `last_login`, -1 without one.
    `in_hand` is the installation the user truly held, seen or not.
    """

    event: Ints
    binds_at: Ints
    last_login: Ints
    first_install: Ints
    last_login_as_arrived: Ints
    touch_at: Ints
    touch_received_at: Ints
    in_hand: Ints


def answers_of(
    parameters: Parameters, events: Events, touches: Touches, epochs: Epochs, local: LocalTime
) -> Answers:
    """The answers to all loan events of a world."""
    repeats = events.has(Fault.DUPLICATE | Fault.CONFLICT)
    is_touch = np.isin(events.kind, TOUCH_KINDS)
    asked = np.flatnonzero(~is_touch & (events.kind != CODE[EventType.CONSENT_CHANGED]) & ~repeats)
    seen = np.flatnonzero(is_touch & ~repeats & ~events.has(Fault.AGENT | Fault.NO_INSTALL_ID))

    visible = np.minimum(events.occurred_at[seen], events.received_at[seen])
    order = np.lexsort((events.id_low[seen], events.id_high[seen], visible, events.user[seen]))
    seen, visible = seen[order], visible[order]
    user, received_at = events.user[seen], events.received_at[seen]
    install = touches.install[events.about[seen]]

    who, binds_at = events.user[asked], events.occurred_at[asked]
    by_day = events.has(Fault.DAY_PRECISION)[asked]
    day_end = local.midnight(local.day(binds_at) + 1) - 1
    binds_at = np.where(by_day, np.minimum(day_end, events.received_at[asked]), binds_at)
    settle = round(parameters.answers.settle_seconds * 1_000)

    moments = np.concatenate([visible, binds_at])
    origin = int(moments.min()) if len(moments) else 0
    span = int(moments.max()) - origin + 1 if len(moments) else 1
    place = (
        np.searchsorted(user * span + (visible - origin), who * span + (binds_at - origin), side="right") - 1
    )
    begin = np.searchsorted(user, who)
    found = place >= begin
    last = np.where(found, place, 0)

    known = place.copy()
    while True:  # step back over touches that had not arrived; each step is one touch, so this ends soon
        waiting = np.flatnonzero(known >= begin)
        waiting = waiting[received_at[known[waiting]] > binds_at[waiting] + settle]
        if not len(waiting):
            break
        known[waiting] -= 1
    in_time = known >= begin

    def of(rows: Ints, column: Ints, there: Flags) -> Ints:
        if not len(column):
            return np.full(len(rows), -1)
        return np.where(there, column[np.where(there, rows, 0)], -1)

    return Answers(
        event=asked,
        binds_at=binds_at,
        last_login=of(last, install, found),
        first_install=of(begin, install, found),
        last_login_as_arrived=of(known, install, in_time),
        touch_at=of(last, visible, found),
        touch_received_at=of(last, received_at, found),
        in_hand=epochs.at(who, events.at[asked]),
    )
