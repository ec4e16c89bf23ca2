"""What is told of all that happened: events in the order of their arrival, with everything that goes wrong.

Times are milliseconds UTC.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntFlag

import numpy as np

from lendsignal.model import EventType
from lendsignal.simulate.chance import NEVER, Flags, Ints, Words, between, chosen, dice, waits
from lendsignal.simulate.loans import Book
from lendsignal.simulate.localtime import HOUR, SECOND, LocalTime
from lendsignal.simulate.parameters import Parameters
from lendsignal.simulate.people import People
from lendsignal.simulate.repayments import Payments
from lendsignal.simulate.touches import APP_OPENED, LOGGED_IN, REGISTERED, Touches

KINDS = tuple(kind for kind in EventType if not kind.startswith("lendsignal."))
"""The types of events; a column of kinds holds places in this tuple."""

CODE = {kind: place for place, kind in enumerate(KINDS)}
TOUCH_KINDS = np.array([CODE[EventType.REGISTERED], CODE[EventType.LOGGED_IN], CODE[EventType.APP_OPENED]])


class Fault(IntFlag):
    """What is wrong with an arrival, or unusual about it; several may be."""

    LATE = 1
    DISORDERED = 2
    DUPLICATE = 4
    CONFLICT = 8
    CLOCK_AHEAD = 16
    NO_APPSFLYER_ID = 32
    NO_INSTALL_ID = 64
    DAY_PRECISION = 128
    AGENT = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Events:
    """One row an arrival, in the order of `received_at`.

    `about` is the row of the table its kind belongs to: touches, applications, loans, payments or users;
    `part` tells apart the several things told of one row. `at` is when it truly happened, `occurred_at`
    what the sender says. `id_high` and `id_low` are the two halves of the event id.
    """

    kind: Ints
    user: Ints
    about: Ints
    part: Ints
    at: Ints
    occurred_at: Ints
    received_at: Ints
    id_high: Words
    id_low: Words
    faults: Ints

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Ints | Flags | slice) -> "Events":
        """Some of the rows."""
        return Events(**{field.name: getattr(self, field.name)[rows] for field in fields(Events)})

    def has(self, fault: Fault) -> Flags:
        """Which rows have that fault."""
        return np.asarray((self.faults & int(fault)) != 0)


def events_of(
    parameters: Parameters,
    seed: int,
    people: People,
    book: Book,
    payments: Payments,
    touches: Touches,
    local: LocalTime,
    end: int,
) -> Events:
    """Everything that happened before `end`, as it arrives; some of it arrives up to a day later."""
    rng = dice(seed, "arrivals")
    parts = [
        (np.full(len(user), code), user, about, part, at)
        for code, user, about, part, at in _happened(people, book, payments, touches)
    ]
    kind, user, about, part, at = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    told = at < end
    kind, user, about, part, at = kind[told], user[told], about[told], part[told], at[told]
    order = np.lexsort((kind, user, at))
    kind, user, about, part, at = kind[order], user[order], about[order], part[order], at[order]
    id_high, id_low = _ids(rng, at)
    occurred_at, received_at, faults = _travel(parameters, rng, local, touches, kind, about, at)
    once = Events(
        kind=kind,
        user=user,
        about=about,
        part=part,
        at=at,
        occurred_at=occurred_at,
        received_at=received_at,
        id_high=id_high,
        id_low=id_low,
        faults=faults,
    )
    copies, conflicts = _copies(parameters, rng, once), _conflicts(parameters, rng, once)
    every = Events(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in (once, copies, conflicts)])
            for field in fields(Events)
        }
    )
    return every.take(np.lexsort((every.id_low, every.id_high, every.received_at)))


def _happened(
    people: People, book: Book, payments: Payments, touches: Touches
) -> Iterator[tuple[int, Ints, Ints, Ints, Ints]]:
    """Kind, users, rows, parts and moments of all that happened."""
    asked, loans, paying = book.applications, book.loans, book.loans.repaying

    def some(kind: EventType, user: Ints, at: Ints, part: int = 0) -> tuple[int, Ints, Ints, Ints, Ints]:
        rows = np.flatnonzero(at < NEVER)
        return CODE[kind], user[rows], rows, np.full(len(rows), part), at[rows]

    for kind, touch in (
        (EventType.REGISTERED, REGISTERED),
        (EventType.LOGGED_IN, LOGGED_IN),
        (EventType.APP_OPENED, APP_OPENED),
    ):
        yield some(kind, touches.user, np.where(touches.kind == touch, touches.at, NEVER))
    everyone = np.arange(len(people))
    consented_at = people.registered_at + 2 * SECOND
    yield some(EventType.CONSENT_CHANGED, everyone, np.where(people.consents, consented_at, NEVER), 1)
    yield some(EventType.CONSENT_CHANGED, everyone, np.where(people.consents, NEVER, consented_at), 0)
    yield some(EventType.CONSENT_CHANGED, everyone, people.withdrawn_at, 0)
    yield some(EventType.APPLIED, asked.user, asked.at)
    yield some(EventType.REVIEW_STARTED, asked.user, asked.review_started_at)
    yield some(EventType.REVIEW_ENDED, asked.user, asked.review_ended_at)
    yield some(EventType.PHONE_CHECK_STARTED, asked.user, asked.call_started_at)
    yield some(EventType.PHONE_CHECK_ENDED, asked.user, asked.call_ended_at)
    yield some(EventType.CREDIT_GRANTED, asked.user, np.where(asked.granted, asked.decided_at, NEVER))
    yield some(EventType.CREDIT_DENIED, asked.user, np.where(asked.granted, NEVER, asked.decided_at))
    yield some(EventType.DISBURSED, loans.user, loans.at)
    yield some(EventType.DISBURSEMENT_REVERSED, loans.user, loans.reversed_at)
    yield some(EventType.LOAN_CANCELLED, loans.user, loans.cancelled_at)
    yield some(EventType.REPAID, loans.user[payments.loan], payments.at)
    yield some(EventType.REPAYMENT_REVERSED, loans.user[payments.loan], payments.bounced_at)
    yield some(EventType.EXTENDED, loans.user, paying.extended_at)
    yield some(EventType.DEFAULTED, loans.user, paying.defaulted_at)
    yield some(EventType.RECOVERED, loans.user, paying.recovered_at)
    _, width, steps = paying.overdue_at.shape
    for i in range(width):
        for j in range(steps):
            yield some(EventType.OVERDUE, loans.user, paying.overdue_at[:, i, j], i * steps + j)


def _ids(rng: np.random.Generator, at: Ints) -> tuple[Words, Words]:
    """Event ids in the layout of UUID version 7: milliseconds first, then 74 random bits."""
    chance = rng.integers(0, 2**64, (2, len(at)), dtype=np.uint64)
    high = (at.astype(np.uint64) << np.uint64(16)) | np.uint64(0x7000) | (chance[0] & np.uint64(0x0FFF))
    low = (chance[1] & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    return high, low


def _travel(
    parameters: Parameters,
    rng: np.random.Generator,
    local: LocalTime,
    touches: Touches,
    kind: Ints,
    about: Ints,
    at: Ints,
) -> tuple[Ints, Ints, Ints]:
    """What the sender says the time was, when it arrives, and what went wrong on the way."""
    settings, count = parameters.arrivals, len(at)
    touch = np.isin(kind, TOUCH_KINDS)
    later_touch = touch & (kind != CODE[EventType.REGISTERED])
    wait = np.minimum(waits(rng, settings.travel, count), 30 * SECOND)
    late = chosen(rng, settings.late, count)
    wait = np.where(late, between(rng, 60, 86_400, count), wait)
    new = np.zeros(count, dtype=np.bool_)
    new[touch] = touches.first[about[touch]]
    late_touch = touch & chosen(rng, np.where(new, settings.late_new_install, settings.late_touch), count)
    wait = np.where(late_touch, np.maximum(wait, between(rng, 60, 3_600, count)), wait)
    held = chosen(rng, settings.disordered, count)
    wait = wait + np.where(held, between(rng, 5, 300, count), 0)
    received_at = at + wait

    ahead = later_touch & chosen(rng, settings.clock_ahead, count)
    occurred_at = np.where(ahead, received_at + rng.integers(HOUR, 12 * HOUR, count), at)
    day_only = (kind == CODE[EventType.REPAID]) & chosen(rng, parameters.repayments.day_precision, count)
    day = local.day(at)
    occurred_at = np.where(day_only, local.midnight(day), occurred_at)
    next_morning = local.midnight(day + 1) + rng.integers(5 * HOUR, 7 * HOUR, count)
    received_at = np.where(day_only, np.maximum(received_at, next_morning), received_at)

    nothing = later_touch & chosen(rng, settings.no_install_id, count)
    lacks = later_touch & ~nothing & chosen(rng, settings.no_appsflyer_id, count)
    agent = np.zeros(count, dtype=np.bool_)
    agent[touch] = touches.agent[about[touch]]
    faults = (
        (late | late_touch) * int(Fault.LATE)
        + held * int(Fault.DISORDERED)
        + ahead * int(Fault.CLOCK_AHEAD)
        + lacks * int(Fault.NO_APPSFLYER_ID)
        + nothing * int(Fault.NO_INSTALL_ID)
        + day_only * int(Fault.DAY_PRECISION)
        + agent * int(Fault.AGENT)
    )
    return occurred_at, received_at, faults


def _copies(parameters: Parameters, rng: np.random.Generator, once: Events) -> Events:
    """The same events once more, up to an hour after they first arrived."""
    rows = np.flatnonzero(chosen(rng, parameters.arrivals.duplicated, len(once)))
    copies = once.take(rows)
    received_at = copies.received_at + between(rng, 1, 3_600, len(rows))
    return _but(copies, received_at=received_at, faults=copies.faults | int(Fault.DUPLICATE))


def _conflicts(parameters: Parameters, rng: np.random.Generator, once: Events) -> Events:
    """Disbursements and payments told again under another id with another amount."""
    money = np.isin(once.kind, [CODE[EventType.DISBURSED], CODE[EventType.REPAID]])
    rows = np.flatnonzero(money & chosen(rng, parameters.arrivals.conflicting, len(once)))
    others = once.take(rows)
    received_at = others.received_at + between(rng, 60, 3_600, len(rows))
    id_high, id_low = _ids(rng, received_at)
    faults = others.faults | int(Fault.CONFLICT)
    return _but(others, received_at=received_at, id_high=id_high, id_low=id_low, faults=faults)


def _but(events: Events, **columns: Ints | Words) -> Events:
    return Events(**{field.name: getattr(events, field.name) for field in fields(Events)} | columns)
