"""One event, decided: `decide(state, sequence, event, policy) → Decision`.

Pure: resolve, derive and plan for one user's state. The loop that reads the log and keeps what comes of
it is in `lendsignal.decide`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b

import msgspec
from msgspec import Struct

from lendsignal.derive import derive
from lendsignal.model import (
    ONCE_PER_KEY,
    Consent,
    Conversion,
    Event,
    Money,
    SkipReason,
    is_touch,
    key_of,
)
from lendsignal.plan.policy import Policy, Step
from lendsignal.plan.records import Entry, Planned, Rebound, Record, Withdrawn, record_id
from lendsignal.plan.state import OPEN, PENNED, RECENT, Opened, Penned, Recent, Seen, UserState
from lendsignal.resolve import Binding, Snapshot, Touches, device_at, existed_at, first_install, with_touch

OPEN_FOR_US = 14 * 86_400_000_000
"""How long a planned conversion can still be moved or taken back: longer than any destination sends it."""

SAME_MOMENT_US = 300_000_000
"""Repeats may differ so much in time: the door pulls a time that lies ahead of our clock back to the
arrival, and a repeat arrives later. It is the tolerance that the door grants a back end's clock."""

CLOCK_FLAGS = frozenset(("clock_ahead", "clock_corrected"))
"""What the door notes on a time that is the phone's: each arrival gives it another one."""

PER_EVENT = frozenset({"registration", "application", "credit", "disbursement", "repeat_loan", "repayment"})
"""Conversions that a revision of their event never fires again, tiers beside them; the others fire once
by themselves."""

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)
_encode = msgspec.msgpack.Encoder().encode


class Verdict(StrEnum):
    """What `decide` says of an event that came in well-formed."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    OUTDATED = "outdated"
    FAILED = "failed"


class Timer(Struct, frozen=True):
    """A moment at which an event about this user must enter the log."""

    due_us: int
    conversion: str


class Decision(Struct, frozen=True):
    """What follows from one event. Without records and timers the event changed the state at most."""

    state: UserState
    verdict: Verdict
    records: tuple[tuple[int, Record], ...] = ()
    timers: tuple[Timer, ...] = ()


def decide(
    state: UserState,
    sequence: int,
    event: Event,
    policy: Policy,
    opened: Mapping[int, Planned] | None = None,
) -> Decision:
    """The state after one event and the records that follow from it, the same in every replay.

    `opened` holds the planned records that `reopened` named for this event; they are only needed for a
    touch that came late. A duplicate or a conflicting repeat changes nothing.
    """
    weighed = _weighed(state, event)
    if weighed.verdict is not Verdict.TAKEN:
        return Decision(state, weighed.verdict)
    state = weighed.state
    now = _us(event.received_at)
    state = _noted(state, event)
    marked = state.test or event.test
    found: list[Record] = []
    timers: list[Timer] = []
    if is_touch(event):
        state, moved = _touched(state, event, policy, opened or {}, now)
        found += moved
    state, withdrawn = _withdrawn(state, event, now)
    found += withdrawn
    state, undone = _undone(state, event)
    for conversion in undone:
        # Planned and taken back in one breath, so that it is accounted for.
        planned = _planned(state, conversion, None, policy, now, unbound=None)
        found += [planned, Withdrawn(record_id(sequence, len(found)), event.type, None, now)]
    if event.type == "lendsignal.pen_expired":
        state, expired = _expired(state, event, policy, now)
        found += expired
    ledger, conversions = derive(state.ledger, event, policy.derive)
    if ledger is not state.ledger:
        state = msgspec.structs.replace(state, ledger=ledger)
    bound: dict[datetime, Binding | None] = {}
    for conversion in conversions:
        is_tier = conversion.name.startswith("credit_top")
        if weighed.revises and (is_tier or conversion.name in PER_EVENT):
            continue
        if is_tier and marked:
            continue
        if not weighed.remembers:
            conversion = msgspec.structs.replace(conversion, history=True)
        if conversion.binds_at not in bound:
            bound[conversion.binds_at] = device_at(state.touches, _us(conversion.binds_at))
        binding = bound[conversion.binds_at]
        waits = not conversion.history and (event.brand, conversion.name) in policy.routed
        if binding is None and waits and len(state.pen) < PENNED:
            expires = max(_us(conversion.occurred_at), now) + policy.resolve.pen_for // _MICROSECOND
            state = msgspec.structs.replace(state, pen=(*state.pen, Penned(conversion, expires)))
            timers.append(Timer(expires, conversion.id))
        else:
            found.append(_planned(state, conversion, binding, policy, now))
    records = tuple((record_id(sequence, number), record) for number, record in enumerate(found))
    return Decision(_opened(state, records, policy, now), Verdict.TAKEN, records, tuple(timers))


def reopened(state: UserState, event: Event) -> Sequence[int]:
    """The records whose device this event could change: `decide` wants them back, and only these."""
    if not is_touch(event):
        return ()
    at = _us(event.occurred_at)
    return [one.record for one in state.opened if at <= one.binds_us]


def not_routed(records: Sequence[tuple[int, Record]]) -> int:
    """How many of the conversions no route takes (history apart)."""
    return sum(
        isinstance(record, Planned) and not record.entries and not record.conversion.history
        for _, record in records
    )


class _Weighed(Struct, frozen=True):
    """`revises`: a higher revision of a known fact; `remembers`: our memory of repeats reaches back to it."""

    state: UserState
    verdict: Verdict
    revises: bool = False
    remembers: bool = True


def _weighed(state: UserState, event: Event) -> _Weighed:
    """Whether the event is new: by its business key where it has one, else by its id."""
    content, occurred = _content(event), _us(event.occurred_at)
    key = key_of(event) if event.type in ONCE_PER_KEY else None
    if key is not None:
        name = _hash64(f"{event.type}\x1f{key}".encode())
        seen = state.seen.get(name)
        if seen is not None and event.revision == seen.revision:
            return _Weighed(state, _repeated(event, content, seen))
        if seen is not None and event.revision < seen.revision:
            return _Weighed(state, Verdict.OUTDATED)
        remembered = {**state.seen, name: Seen(event.revision, content, occurred)}
        after = msgspec.structs.replace(state, seen=remembered)
        return _Weighed(after, Verdict.TAKEN, revises=seen is not None)
    for recent in reversed(state.recent):
        if recent.event_id == event.event_id:
            return _Weighed(state, _repeated(event, content, recent))
    grown = (*state.recent, Recent(event.event_id, content, occurred))
    forgotten = state.forgotten_us
    if len(grown) > RECENT:
        forgotten = max(forgotten, grown[0].occurred_us)
        grown = grown[1:]
    after = msgspec.structs.replace(state, recent=grown, forgotten_us=forgotten)
    return _Weighed(after, Verdict.TAKEN, remembers=occurred > state.forgotten_us)


def _repeated(event: Event, content: int, earlier: Seen | Recent) -> Verdict:
    """Said twice, or said differently the second time."""
    apart = abs(_us(event.occurred_at) - earlier.occurred_us)
    same_moment = apart <= SAME_MOMENT_US or not CLOCK_FLAGS.isdisjoint(event.flags)
    return Verdict.DUPLICATE if content == earlier.content and same_moment else Verdict.CONFLICT


def _noted(state: UserState, event: Event) -> UserState:
    """Consent as it was changed last, by the time it occurred; contact and test mark as they come in."""
    at = _us(event.occurred_at)
    changes = event.type == "consent_changed" and event.consent is not None and at >= state.consent_us
    if not changes and event.contact is None and event.test <= state.test:
        return state
    return msgspec.structs.replace(
        state,
        consent=event.consent if changes else state.consent,
        consent_us=at if changes else state.consent_us,
        contact=event.contact or state.contact,
        test=state.test or event.test,
    )


def _touched(
    state: UserState, event: Event, policy: Policy, opened: Mapping[int, Planned], now: int
) -> tuple[UserState, list[Record]]:
    """A touch: remembered, it may move open conversions and release waiting ones."""
    assert event.device is not None
    app = event.app or policy.derive.default_app.get(event.brand, "")
    at = _us(event.occurred_at)
    touches = with_touch(state.touches, at, event.event_id, now, Snapshot(app, event.device))
    if touches is state.touches:
        return state, []
    earlier, state = state.touches, msgspec.structs.replace(state, touches=touches)
    found: list[Record] = list(_moved(state, earlier, policy, opened, now))
    if state.pen:
        state, released = _released(state, event, policy, now)
        found += released
    return state, found


def _moved(
    state: UserState, earlier: Touches, policy: Policy, opened: Mapping[int, Planned], now: int
) -> Iterator[Record]:
    """Open conversions that belong to another device now than by the `earlier` touches."""
    for one in state.opened:
        planned = opened.get(one.record)
        binding = device_at(state.touches, one.binds_us) if planned else None
        if planned is None or binding is None:
            continue
        # What the pen released was bound to a touch after its moment: by then there was none.
        before = device_at(earlier, one.binds_us) or planned.binding
        if before is not None and before.snapshot == binding.snapshot:
            continue
        yield Rebound(
            record=one.record,
            conversion=planned.conversion,
            binding=binding,
            other_install=_other_install(state.touches, one.binds_us, binding),
            entries=_entries(state, planned.conversion, binding.snapshot.app, policy),
            contact=state.contact,
            consent=state.consent,
            at_us=now,
        )


def _released(state: UserState, event: Event, policy: Policy, now: int) -> tuple[UserState, list[Record]]:
    """Waiting conversions that this touch may answer for.

    Its installation must have existed when the loan event happened, or have been seen within
    `pen_after` of it: a reinstall made days later says nothing of the phone at the time.
    """
    found: list[Record] = []
    kept: list[Penned] = []
    limit = policy.resolve.pen_after // _MICROSECOND
    for penned in state.pen:
        at = _us(penned.conversion.binds_at)
        binding = device_at(state.touches, at) or device_at(state.touches, _us(event.occurred_at))
        near = binding is not None and (binding.at_us - at <= limit or _existed(binding, at))
        if binding is not None and near and now <= penned.expires_us:
            found.append(_planned(state, penned.conversion, binding, policy, now))
        else:
            kept.append(penned)
    return (msgspec.structs.replace(state, pen=tuple(kept)) if found else state), found


def _existed(binding: Binding, at: int) -> bool:
    installed = binding.snapshot.device.installed_at
    return existed_at(binding, at, None if installed is None else _us(installed))


def _expired(state: UserState, event: Event, policy: Policy, now: int) -> tuple[UserState, list[Record]]:
    """Waiting conversions whose time is over: planned as skipped, so that every one is accounted for."""
    over = [penned for penned in state.pen if penned.expires_us <= _us(event.occurred_at)]
    if not over:
        return state, []
    kept = tuple(penned for penned in state.pen if penned not in over)
    state = msgspec.structs.replace(state, pen=kept)
    return state, [_planned(state, penned.conversion, None, policy, now) for penned in over]


def _withdrawn(state: UserState, event: Event, now: int) -> tuple[UserState, list[Record]]:
    """What a reversal or an ended consent takes back from the queue."""
    match event.type:
        case "disbursement_reversed" | "loan_cancelled":
            about = [one for one in state.opened if one.loan_id == event.loan_id]
            skip = None
        case "repayment_reversed":
            about = [one for one in state.opened if one.payment_id == event.payment_id]
            skip = None
        case "consent_changed" if state.consent is event.consent and not _allows(event.consent, None):
            about, skip = list(state.opened), SkipReason.NO_CONSENT
        case _:
            return state, []
    kept = tuple(one for one in state.opened if one not in about)
    found: list[Record] = [Withdrawn(one.record, event.type, skip, now) for one in about]
    return (msgspec.structs.replace(state, opened=kept) if about else state), found


def _undone(state: UserState, event: Event) -> tuple[UserState, list[Conversion]]:
    """Waiting conversions that a reversal takes back before they have a device."""
    match event.type:
        case "disbursement_reversed" | "loan_cancelled":
            about = [one for one in state.pen if one.conversion.loan_id == event.loan_id]
        case "repayment_reversed":
            about = [one for one in state.pen if one.conversion.payment_id == event.payment_id]
        case _:
            return state, []
    kept = tuple(one for one in state.pen if one not in about)
    state = msgspec.structs.replace(state, pen=kept) if about else state
    return state, [one.conversion for one in about]


def _planned(
    state: UserState,
    conversion: Conversion,
    binding: Binding | None,
    policy: Policy,
    now: int,
    *,
    unbound: SkipReason | None = SkipReason.NO_LOGIN,
) -> Planned:
    """The conversion with its deliveries; `unbound` says why they are skipped where there is no device."""
    at = _us(conversion.binds_at)
    app = (
        binding.snapshot.app
        if binding
        else conversion.app or policy.derive.default_app.get(conversion.brand, "")
    )
    entries = () if conversion.history else _entries(state, conversion, app, policy)
    if binding is None and unbound is not None:
        entries = tuple(msgspec.structs.replace(entry, skip=unbound) for entry in entries)
    return Planned(
        conversion=conversion,
        binding=binding,
        other_install=_other_install(state.touches, at, binding),
        entries=entries,
        contact=state.contact,
        consent=state.consent,
        at_us=now,
    )


def _other_install(touches: Touches, at_us: int, binding: Binding | None) -> Binding | None:
    """The first installation's binding, where it is another than the one that counts."""
    if len(touches.marks) == 1 and binding is not None:
        return None
    first = first_install(touches, at_us)
    return None if first == binding else first


def _entries(state: UserState, conversion: Conversion, app: str, policy: Policy) -> tuple[Entry, ...]:
    """One entry for each route of the app that takes this conversion."""
    steps = policy.steps.get((app, conversion.name), ())
    if not steps:
        return ()
    facts = policy.apps.get(app)
    asked = policy.consent_default.get(facts.country, True) if facts else True
    consents = _allows(state.consent, asked)
    return tuple(
        _entry(step, state, conversion, consents, facts.currency if facts else None) for step in steps
    )


def _entry(
    step: Step, state: UserState, conversion: Conversion, consents: bool, currency: str | None
) -> Entry:
    skip: SkipReason | None = None
    if (conversion.test or state.test) and not step.send_test:
        skip = SkipReason.TEST_USER
    elif not conversion.certain:
        skip = SkipReason.FIRST_UNKNOWN
    elif not consents:
        skip = SkipReason.NO_CONSENT
    value = None if state.test or conversion.test else _value(step, conversion, currency)
    return Entry(
        destination=step.destination,
        kind=step.kind,
        name=step.name,
        value=value,
        settle_us=step.settle_us,
        skip=skip,
        unvalued=step.rule is not None and value is None,
    )


def _value(step: Step, conversion: Conversion, currency: str | None) -> Money | None:
    """What the route says the conversion is worth; `None` where there is nothing to say or no gain."""
    match step.rule:
        case None | "predicted":
            return None
        case "principal":
            money = conversion.amount
        case "fee":
            money = conversion.fee
        case float() | int() as fixed:
            return Money(_decimal(fixed), currency) if currency else None
    return money if money is not None and money.amount > 0 else None


def _allows(consent: Consent | None, default: bool | None) -> bool:
    """Whether the user's data may go to ad platforms; the default answers where nobody asked."""
    if consent is None or consent.ad_user_data is None:
        return default is not False
    return consent.ad_user_data


def _may_change(planned: Planned, policy: Policy) -> bool:
    """Whether another device could change anything: something is to be sent, or could be in another app."""
    conversion = planned.conversion
    if planned.binding is None or conversion.history:
        return False
    if planned.entries:
        return any(entry.skip is None for entry in planned.entries)
    return (conversion.brand, conversion.name) in policy.routed


def _opened(state: UserState, records: Sequence[tuple[int, Record]], policy: Policy, now: int) -> UserState:
    fresh = [
        Opened(
            number,
            _us(record.conversion.binds_at),
            record.conversion.loan_id,
            record.conversion.payment_id,
            now,
        )
        for number, record in records
        if isinstance(record, Planned) and _may_change(record, policy)
    ]
    if not fresh and not state.opened:
        return state
    kept = [one for one in state.opened if now - one.received_us <= OPEN_FOR_US]
    if not fresh and len(kept) == len(state.opened):
        return state
    return msgspec.structs.replace(state, opened=tuple((kept + fresh)[-OPEN:]))


_ENVELOPE = {
    "event_id": "",
    "occurred_at": _EPOCH,
    "received_at": _EPOCH,
    "source": "",
    "flags": (),
    "history": False,
    "revision": 0,
}


def _content(event: Event) -> int:
    """A hash of the business content: the envelope (id, times, source) is not part of it."""
    return _hash64(_encode(msgspec.structs.replace(event, **_ENVELOPE)))


def _hash64(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big", signed=True)


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _decimal(fixed: float) -> Decimal:
    return Decimal(repr(fixed))
