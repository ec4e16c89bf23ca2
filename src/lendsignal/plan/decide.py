"""One event, decided: `decide(state, sequence, event, policy) → Decision`.

Pure: resolve, derive and plan for one user's state. The loop that reads the log and keeps what comes of
it is in `lendsignal.decide`.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from enum import StrEnum
from hashlib import blake2b
from zlib import crc32

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.derive import (
    OF_LIKELY,
    DerivePolicy,
    Expression,
    Facts,
    Ledger,
    Others,
    Undecided,
    begun,
    decided,
    derive,
    fallen_due,
    is_tier,
    made_certain,
    origin_of,
    others_of,
    with_user,
    within_person,
    without_user,
)
from lendsignal.model import (
    ONCE_PER_KEY,
    Consent,
    Conversion,
    Event,
    EventType,
    SkipReason,
    is_touch,
    key_of,
    to_us,
)
from lendsignal.model.moment import EPOCH, MICROSECOND
from lendsignal.model.rates import Rates
from lendsignal.plan.correct import UNDOES, remembered, restated, taken_back
from lendsignal.plan.holdout import held_by
from lendsignal.plan.phones import NONE, is_shared
from lendsignal.plan.policy import Policy, Step
from lendsignal.plan.records import Entry, Known, Planned, Rebound, Record, Withdrawn, record_id
from lendsignal.plan.state import OPEN, PENNED, RECENT, Opened, Penned, Seen, UserState, person_state_key
from lendsignal.plan.value import value_of
from lendsignal.resolve import Binding, Snapshot, Touches, device_at, existed_at, first_install, with_touch

OPEN_FOR_US = 14 * 86_400_000_000
"""How long a planned conversion can still be moved or taken back: so long the log keeps its record."""

SAME_MOMENT_US = 300_000_000
"""Repeats may differ so much in time: the door pulls a time that lies ahead of our clock back to the
arrival, and a repeat arrives later. It is the tolerance that the door grants a back end's clock."""

CLOCK_FLAGS = frozenset(("clock_ahead", "clock_corrected"))
"""What the door notes on a time that is the phone's: each arrival gives it another one."""

TAKES_BACK = frozenset(("disbursement_reversed", "loan_cancelled", "repayment_reversed", "consent_changed"))
"""Types of which what is planned or waits may have to be taken back."""

NOBODY: frozenset[str] = frozenset()
"""The holdouts of whoever is in none."""

_encode = msgspec.msgpack.Encoder().encode


class Verdict(StrEnum):
    """What `decide` says of an event that came in well-formed."""

    TAKEN = "taken"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    OUTDATED = "outdated"
    FAILED = "failed"


LIKELY = "likely:"
"""How the name of a timer begins that ends an application's wait; others end a time in the pen."""

TAKEN = Verdict.TAKEN
"""Looked up once: a member of an enumeration is found by a call."""


class Timer(Struct, frozen=True, gc=False):
    """A moment at which an event about this user must enter the log."""

    due_us: int
    conversion: str


class Decision(Struct, frozen=True, gc=False):
    """What follows from one event. Without records and timers the event changed the state at most.

    `people` are the states of the user's person that changed with it.
    """

    state: UserState
    verdict: Verdict
    records: tuple[tuple[int, Record], ...] = ()
    timers: tuple[Timer, ...] = ()
    people: tuple[UserState, ...] = ()


def decide(
    state: UserState,
    sequence: int,
    event: Event,
    policy: Policy,
    opened: Mapping[int, Planned] | None = None,
    people: Mapping[str, UserState] | None = None,
    shared: Set[int] = NONE,
) -> Decision:
    """The state after one event and the records that follow from it, the same in every replay.

    `opened` holds the planned records that `reopened` named for this event; they are only needed for a
    touch that came late. `people` holds the states that `people_of` named. `shared` are those of the phones
    that `phones_asked` named which too many users showed by this event. A duplicate or a conflicting repeat
    changes nothing.
    """
    at, now = to_us(event.occurred_at), to_us(event.received_at)
    weighed = _weighed(state, event, at)
    if weighed.verdict is not TAKEN:
        return Decision(state, weighed.verdict)
    before, state = state, _noted(weighed.state, event, at)
    if policy.test and not state.test and state.key in policy.test:
        state = replace(state, test=True)
    found: list[Record] = []
    timers: Sequence[Timer] = ()
    if is_touch(event):
        state, moved = _touched(state, event, policy, opened or {}, shared, at, now)
        found += moved
    elif event.type in TAKES_BACK:
        state, withdrawn = _withdrawn(state, event, now)
        found += withdrawn
        state, undone = _undone(state, event)
        for conversion in undone:
            # Planned and taken back in one breath, so that it is accounted for.
            planned = _unbound(state, conversion, policy, now, skip=None)
            found += [planned, Withdrawn(record_id(sequence, len(found)), event.type, None, now)]
        if state.correctable and event.type in UNDOES and not event.history:
            state, corrected = taken_back(state, event, policy, now)
            found += corrected
    elif event.type == "lendsignal.pen_expired":
        state, expired = _expired(state, at, policy, now)
        found += expired
    ledger, conversions = derive(state.ledger, event, policy.rules, (at, now), state.touches)
    waits: Undecided | None = None
    if event.type in OF_LIKELY and (policy.derive.likely is not None or ledger.undecided):
        ledger, waits, early = _awaited(ledger, event, policy.derive, (at, now))
        conversions = early or conversions
    if ledger is not state.ledger:
        state = replace(state, ledger=ledger)
    if policy.test_rule is not None and not state.test and _is_test(state, event, policy.test_rule, at):
        state = replace(state, test=True)
    changed: tuple[UserState, ...] = ()
    if state.person is not None:
        changed = _united(before, state, people or {})
    if conversions and (state.person is not None or policy.across_brands or policy.history_is_whole):
        conversions = _settled(state, conversions, people or {}, policy)
    if conversions:
        state, fresh, timers = _planned(state, weighed, conversions, event.test, policy, shared, now)
        found += fresh
    if weighed.revises and state.correctable and not (event.history or event.test or state.test):
        number = record_id(sequence, len(found))
        state, corrected = restated(state, event, conversions, policy, (at, now), number)
        found += corrected
    if waits is not None:
        timers = [*timers, Timer(waits.due_us, f"{LIKELY}{waits.conversion.id}")]
    if not found and not state.opened:
        return Decision(state, TAKEN, (), tuple(timers), changed)
    records = tuple(enumerate(found, record_id(sequence, 0)))
    if policy.corrects:
        state = remembered(state, records, policy, now)
    return Decision(_opened(state, records, policy, now), TAKEN, records, tuple(timers), changed)


def _awaited(
    ledger: Ledger, event: Event, policy: DerivePolicy, moments: tuple[int, int]
) -> tuple[Ledger, Undecided | None, list[Conversion]]:
    """What an application, its decision, or the end of its wait changes for `likely_credit`."""
    match event.type:
        case EventType.APPLIED if policy.likely is not None:
            origin = origin_of(event, policy, moments)
            return (*begun(ledger, event, policy.likely, policy.portfolio, origin), [])
        case EventType.CREDIT_GRANTED | EventType.CREDIT_DENIED:
            return decided(ledger, event), None, []
        case EventType.DECISION_DUE:
            ledger, early = fallen_due(ledger, moments[0])
            return ledger, None, early
        case _:
            return ledger, None, []


def reopened(state: UserState, event: Event) -> Sequence[int]:
    """The records whose device this event could change: `decide` wants them back, and only these."""
    if not is_touch(event):
        return ()
    at, now = to_us(event.occurred_at), to_us(event.received_at)
    return [one.record for one in state.opened if at <= one.binds_us and now - one.received_us <= OPEN_FOR_US]


def people_of(state: UserState, event: Event) -> Sequence[str]:
    """The keys of the states that the user shares with others of the person: `decide` wants these."""
    if event.person_id is None and state.person is None:
        return ()
    return [person_state_key(one) for one in (state.person, event.person_id) if one is not None]


def is_not_routed(planned: Planned) -> bool:
    """Whether no route takes the conversion (history apart)."""
    return not planned.entries and not planned.conversion.history


class _Weighed(Struct, frozen=True, gc=False):
    """`revises`: a higher revision of a known fact; `remembers`: our memory of repeats reaches back to it."""

    state: UserState
    verdict: Verdict
    revises: bool = False
    remembers: bool = True


def _weighed(state: UserState, event: Event, at: int) -> _Weighed:
    """Whether the event is new: by its business key where it has one, else by its id."""
    content = _content(event)
    key = key_of(event) if event.type in ONCE_PER_KEY else None
    if key is not None:
        # A fact that was told for analytics may still come to be optimised for: each has its own memory.
        told = "" if event.purpose == "optimisation" else f"\x1f{event.purpose}"
        name = _hash64(f"{event.type}\x1f{key}{told}".encode())
        remembered = {**state.seen, name: Seen(event.revision, content, at)}
        seen = state.seen.get(name)
        if seen is None:
            return _Weighed(replace(state, seen=remembered), TAKEN)
        if event.revision == seen.revision:
            return _Weighed(state, _repeated(event, content, at, seen))
        if event.revision < seen.revision:
            return _Weighed(state, Verdict.OUTDATED)
        return _Weighed(replace(state, seen=remembered), TAKEN, revises=True)
    name = _hash64(event.event_id.encode())
    recent = state.recent.get(name)
    if recent is not None:
        return _Weighed(state, _repeated(event, content, at, recent))
    grown = {**state.recent, name: Seen(event.revision, content, at)}
    forgotten = state.forgotten_us
    if len(grown) > RECENT:
        oldest = next(iter(grown))
        forgotten = max(forgotten, grown.pop(oldest).occurred_us)
    after = replace(state, recent=grown, forgotten_us=forgotten)
    return _Weighed(after, TAKEN, remembers=at > state.forgotten_us)


def _repeated(event: Event, content: int, at: int, earlier: Seen) -> Verdict:
    """Said twice, or said differently the second time."""
    same_moment = abs(at - earlier.occurred_us) <= SAME_MOMENT_US or not CLOCK_FLAGS.isdisjoint(event.flags)
    return Verdict.DUPLICATE if content == earlier.content and same_moment else Verdict.CONFLICT


def _noted(state: UserState, event: Event, at: int) -> UserState:
    """Consent as it was changed last, by the time it occurred; contact and test mark as they come in."""
    changes = event.type == "consent_changed" and event.consent is not None and at >= state.consent_us
    linked = event.person_id is not None and event.person_id != state.person
    if not changes and not linked and event.contact is None and event.test <= state.test:
        return state
    return replace(
        state,
        consent=event.consent if changes else state.consent,
        consent_us=at if changes else state.consent_us,
        contact=event.contact or state.contact,
        test=state.test or event.test,
        person=event.person_id or state.person,
    )


def _united(before: UserState, state: UserState, people: Mapping[str, UserState]) -> tuple[UserState, ...]:
    """The person's state with what this user had first; a user who turned out to be somebody else leaves."""
    changed: list[UserState] = []
    assert state.person is not None
    key = person_state_key(state.person)
    if before.person is not None and before.person != state.person:
        left = people.get(person_state_key(before.person))
        if left is not None:
            changed.append(replace(left, ledger=without_user(left.ledger, state.key)))
    known = people.get(key) or UserState(key)
    ledger = with_user(known.ledger, state.key, state.ledger)
    if ledger is not known.ledger:
        changed.append(replace(known, ledger=ledger))
    return tuple(changed)


def _settled(
    state: UserState, conversions: list[Conversion], people: Mapping[str, UserState], policy: Policy
) -> list[Conversion]:
    """What is first by the user's own history, as it is with all the person's users in scope.

    Over several brands nobody but the lender can say that a user of one was never another's, for an old
    borrower of another brand may not have been heard of yet.
    """
    rules, whole = policy.derive, policy.history_is_whole
    if state.person is not None or (policy.across_brands and not whole):
        others = Others(whole=True)
        if state.person is not None:
            person = people.get(person_state_key(state.person))
            if person is not None:
                others = others_of(person.ledger, state.key, across=policy.across_brands)
        if policy.across_brands:
            others = Others(others.had, whole)
        conversions = within_person(conversions, others, rules.portfolio, per_grant=rules.tiers.per_grant)
    return made_certain(conversions) if whole else conversions


def _touched(
    state: UserState,
    event: Event,
    policy: Policy,
    opened: Mapping[int, Planned],
    shared: Set[int],
    at: int,
    now: int,
) -> tuple[UserState, list[Record]]:
    """A touch: remembered, it may move open conversions and release waiting ones."""
    assert event.device is not None
    app = event.app or policy.derive.default_app.get(event.brand, "")
    touches = with_touch(state.touches, at, event.event_id, now, Snapshot(app, event.device))
    if touches is state.touches:
        return state, []
    earlier, state = state.touches, replace(state, touches=touches)
    found: list[Record] = list(_moved(state, earlier, policy, opened, shared, now))
    over = {one.record for one in found if isinstance(one, Withdrawn)}
    if over:
        state = replace(state, opened=tuple([one for one in state.opened if one.record not in over]))
    if state.pen:
        state, released = _released(state, at, policy, shared, now)
        found += released
    return state, found


def _moved(
    state: UserState,
    earlier: Touches,
    policy: Policy,
    opened: Mapping[int, Planned],
    shared: Set[int],
    now: int,
) -> Iterator[Record]:
    """Open conversions that belong to another device now than by the `earlier` touches.

    One that would move to a shared phone is taken back.
    """
    for one in state.opened:
        planned = opened.get(one.record)
        binding = device_at(state.touches, one.binds_us) if planned else None
        if planned is None or binding is None:
            continue
        # What the pen released was bound to a touch after its moment: by then there was none.
        before = device_at(earlier, one.binds_us) or planned.binding
        if before is not None and before.snapshot == binding.snapshot:
            continue
        if is_shared(planned.conversion.brand, binding, shared):
            yield Withdrawn(one.record, SkipReason.SHARED_DEVICE.value, SkipReason.SHARED_DEVICE, now)
            continue
        known = _known(state, binding, one.binds_us, now)
        entries = _entries(state, planned.conversion, binding.snapshot.app, policy)
        yield Rebound(planned.conversion, known, entries, record=one.record)


def _released(
    state: UserState, touched_us: int, policy: Policy, shared: Set[int], now: int
) -> tuple[UserState, list[Record]]:
    """Waiting conversions that this touch may answer for.

    Its installation must have existed when the loan event happened, or have been seen within
    `pen_after` of it: a reinstall made days later says nothing of the phone at the time.
    """
    found: list[Record] = []
    kept: list[Penned] = []
    limit = policy.resolve.pen_after // MICROSECOND
    for penned in state.pen:
        at = penned.conversion.origin.binds_us
        binding = device_at(state.touches, at) or device_at(state.touches, touched_us)
        near = binding is not None and (binding.at_us - at <= limit or _existed(binding, at))
        if binding is not None and near and now <= penned.expires_us:
            known = _known(state, binding, at, now)
            on_shared = is_shared(penned.conversion.brand, binding, shared)
            entries = _entries(state, penned.conversion, binding.snapshot.app, policy, on_shared=on_shared)
            found.append(Planned(penned.conversion, known, entries))
        else:
            kept.append(penned)
    return (replace(state, pen=tuple(kept)) if found else state), found


def _existed(binding: Binding, at: int) -> bool:
    installed = binding.snapshot.device.installed_at
    return existed_at(binding, at, None if installed is None else to_us(installed))


def _expired(state: UserState, at: int, policy: Policy, now: int) -> tuple[UserState, list[Record]]:
    """Waiting conversions whose time is over: planned as skipped, so that every one is accounted for."""
    over = [penned for penned in state.pen if penned.expires_us <= at]
    if not over:
        return state, []
    kept = tuple(penned for penned in state.pen if penned not in over)
    state = replace(state, pen=kept)
    return state, [_unbound(state, penned.conversion, policy, now) for penned in over]


def _withdrawn(state: UserState, event: Event, now: int) -> tuple[UserState, list[Record]]:
    """What a reversal or an ended consent takes back from the queue."""
    opened = [one for one in state.opened if now - one.received_us <= OPEN_FOR_US]
    match event.type:
        case "disbursement_reversed" | "loan_cancelled":
            about = [one for one in opened if one.loan_id == event.loan_id]
            skip = None
        case "repayment_reversed":
            about = [one for one in opened if one.payment_id == event.payment_id]
            skip = None
        case "consent_changed" if state.consent is event.consent and not _allows(event.consent, None):
            about, skip = opened, SkipReason.NO_CONSENT
        case _:
            return state, []
    kept = tuple(one for one in state.opened if one not in about)
    found: list[Record] = [Withdrawn(one.record, event.type, skip, now) for one in about]
    return (replace(state, opened=kept) if about else state), found


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
    state = replace(state, pen=kept) if about else state
    return state, [one.conversion for one in about]


def _planned(
    state: UserState,
    weighed: _Weighed,
    conversions: Sequence[Conversion],
    test: bool,
    policy: Policy,
    shared: Set[int],
    now: int,
) -> tuple[UserState, list[Planned], list[Timer]]:
    """An event's conversions on the device that counts; without one those that a route takes wait for it."""
    found: list[Planned] = []
    timers: list[Timer] = []
    origin = conversions[0].origin
    binding = device_at(state.touches, origin.binds_us)
    known = _known(state, binding, origin.binds_us, now)
    on_shared = binding is not None and is_shared(origin.brand, binding, shared)
    for conversion in conversions:
        name = conversion.name
        if weighed.revises or test or state.test:
            tier = is_tier(name)
            if weighed.revises and (tier or name in policy.per_event):
                continue
            if tier and (state.test or test):
                continue
        if not weighed.remembers:
            conversion = replace(conversion, history=True)
        if binding is not None:
            app = binding.snapshot.app
            entries = (
                () if conversion.history else _entries(state, conversion, app, policy, on_shared=on_shared)
            )
            found.append(Planned(conversion, known, entries))
        elif _waits(state, conversion, policy):
            expires = max(origin.occurred_us, now) + policy.resolve.pen_for // MICROSECOND
            state = replace(state, pen=(*state.pen, Penned(conversion, expires)))
            timers.append(Timer(expires, conversion.id))
        else:
            found.append(_unbound(state, conversion, policy, now))
    return state, found, timers


def _waits(state: UserState, conversion: Conversion, policy: Policy) -> bool:
    """Whether a conversion without a device has a place in the pen."""
    routed = (conversion.origin.brand, conversion.name) in policy.routed
    return routed and not conversion.history and len(state.pen) < PENNED


def _unbound(
    state: UserState,
    conversion: Conversion,
    policy: Policy,
    now: int,
    skip: SkipReason | None = SkipReason.NO_LOGIN,
) -> Planned:
    """A conversion without a device: what its brand's app would have sent is skipped for that reason."""
    app = conversion.app or policy.derive.default_app.get(conversion.brand, "")
    entries = () if conversion.history else _entries(state, conversion, app, policy)
    if skip is not None:
        entries = tuple([replace(entry, skip=skip) for entry in entries])
    return Planned(conversion, _known(state, None, conversion.origin.binds_us, now), entries)


def _known(state: UserState, binding: Binding | None, binds_us: int, now: int) -> Known:
    other = _other_install(state.touches, binds_us, binding)
    return Known(binding, other, state.contact, state.consent, now)


def _other_install(touches: Touches, at_us: int, binding: Binding | None) -> Binding | None:
    """The first installation's binding, where it is another than the one that counts."""
    if len(touches.marks) == 1 and binding is not None:
        return None
    first = first_install(touches, at_us)
    return None if first == binding else first


def _entries(
    state: UserState, conversion: Conversion, app: str, policy: Policy, *, on_shared: bool = False
) -> tuple[Entry, ...]:
    """One entry for each route of the app that takes this conversion; `on_shared`: of a shared phone."""
    steps = policy.steps.get((app, conversion.name))
    if steps is None:
        return ()
    held = NOBODY
    if policy.holdouts:
        held = held_by(policy.holdouts, state.key, conversion.origin.occurred_us)
    return tuple([_entry(step, state, conversion, policy.rates, on_shared, held) for step in steps])


def _entry(
    step: Step,
    state: UserState,
    conversion: Conversion,
    rates: Rates,
    on_shared: bool,
    held: frozenset[str],
) -> Entry:
    origin = conversion.origin
    test = state.test or origin.test
    skip: SkipReason | None = None
    if test and not step.send_test:
        skip = SkipReason.TEST_USER
    elif not conversion.certain:
        skip = SkipReason.FIRST_UNKNOWN
    elif not _allows(state.consent, step.unasked):
        skip = SkipReason.NO_CONSENT
    elif on_shared:
        skip = SkipReason.SHARED_DEVICE
    elif held and not held.isdisjoint(step.held):
        skip = SkipReason.HOLDOUT
    elif not step.live.from_us <= origin.occurred_us < step.live.until_us:
        skip = SkipReason.SHADOW
    if step.rule is None:
        return Entry(step.destination, step.kind, step.name, None, step.settle_us, skip)
    value = None if test else value_of(step.rule, conversion, step.currency, rates)
    return Entry(step.destination, step.kind, step.name, value, step.settle_us, skip, value is None)


def _is_test(state: UserState, event: Event, rule: Expression, at: int) -> bool:
    """Whether the lender's rule says that this is no customer. Once said of somebody, it stays."""
    if rule.types is not None and event.type not in rule.types:
        return False

    def snapshot() -> Snapshot | None:
        binding = device_at(state.touches, at)
        return None if binding is None else binding.snapshot

    return rule.holds(Facts(event, state.ledger, snapshot))


def _allows(consent: Consent | None, default: bool | None) -> bool:
    """Whether the user's data may go to ad platforms; the default answers where nobody asked."""
    if consent is None or consent.ad_user_data is None:
        return default is not False
    return consent.ad_user_data


def _may_change(planned: Planned, policy: Policy) -> bool:
    """Whether another device could change anything: something is to be sent, or could be in another app."""
    conversion = planned.conversion
    if planned.known.binding is None or conversion.history:
        return False
    for entry in planned.entries:
        # What is only watched moves as well, so that it can be compared with what somebody else sends.
        if entry.skip is None or entry.skip is SkipReason.SHADOW:
            return True
    return not planned.entries and (conversion.origin.brand, conversion.name) in policy.routed


def _opened(state: UserState, records: Sequence[tuple[int, Record]], policy: Policy, now: int) -> UserState:
    fresh: list[Opened] = []
    for number, record in records:
        if isinstance(record, Planned) and _may_change(record, policy):
            origin = record.conversion.origin
            fresh.append(Opened(number, origin.binds_us, origin.loan_id, origin.payment_id, now))
    kept = [one for one in state.opened if now - one.received_us <= OPEN_FOR_US]
    if not fresh and len(kept) == len(state.opened):
        return state
    return replace(state, opened=tuple((kept + fresh)[-OPEN:]))


_ENVELOPE = {
    "event_id": "",
    "occurred_at": EPOCH,
    "received_at": EPOCH,
    "source": "",
    "flags": (),
    "history": False,
    "revision": 0,
}


def _content(event: Event) -> int:
    """A checksum of the business content: the envelope (id, times, source) is not part of it.

    It only tells a repeat from a conflict of one fact, and a checksum shows every change of up to four
    bytes in a row; what names a fact is hashed with more care.
    """
    return crc32(_encode(replace(event, **_ENVELOPE)))


def _hash64(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big", signed=True)
