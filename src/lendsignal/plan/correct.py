"""What has to be put right at platforms that let us: a loan that is none, a value that was another.

Pure, and known from what was planned alone. Whether a platform really was told is known where deliveries are
kept: nothing is corrected there that was never accepted.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from msgspec.structs import replace

from lendsignal.derive import origin_of
from lendsignal.model import Conversion, Event, Money, conversion_id, key_of, person_key
from lendsignal.plan.policy import Policy, Target
from lendsignal.plan.records import (
    Corrected,
    Entry,
    Known,
    Planned,
    Rebound,
    Record,
    Withdrawn,
    correction_name,
    delivery_id,
)
from lendsignal.plan.settings import ValueRule, ValueSettings
from lendsignal.plan.state import CORRECTABLE, Correctable, Told, UserState
from lendsignal.plan.value import value_of
from lendsignal.resolve import device_at

CORRECTABLE_FOR_US = 56 * 86_400_000_000
"""How long after it was planned a conversion is remembered: longer than any platform takes corrections."""

SECOND_US = 1_000_000

LOAN_UNDONE = frozenset(("disbursement_reversed", "loan_cancelled"))
UNDOES = LOAN_UNDONE | {"repayment_reversed"}
"""Types after which what was told of a loan, or of a payment, is not so."""


def remembered(
    state: UserState, records: Sequence[tuple[int, Record]], policy: Policy, now: int
) -> UserState:
    """The state with what these records plan for destinations that let us correct it.

    What moved to another device by a late touch may be told by a delivery of its own there.
    """
    over = {record.record for _, record in records if isinstance(record, Withdrawn) and record.skip is None}
    known = {one.record: one for one in state.correctable if now - one.planned_us <= CORRECTABLE_FOR_US}
    for number, record in records:
        if isinstance(record, Planned) and number not in over:
            told = tuple(_told(number, record.entries, policy.corrects))
            if told:
                known[number] = Correctable(number, record.conversion, told, now)
        elif isinstance(record, Rebound) and record.record not in over:
            told = tuple(_told(number, record.entries, policy.corrects))
            before = known.get(record.record) or Correctable(record.record, record.conversion, (), now)
            if told:
                known[record.record] = replace(before, told=_joined(before.told, told))
    found = tuple(known.values())[-CORRECTABLE:]
    return state if found == state.correctable else replace(state, correctable=found)


def taken_back(state: UserState, event: Event, policy: Policy, now: int) -> tuple[UserState, list[Corrected]]:
    """What a reversal makes wrong of what was told.

    Where a platform lets only the value be changed, it becomes nothing; what was told without a value stays.
    """
    about = [one for one in state.correctable if _is_undone(one.conversion, event)]
    if not about:
        return state, []
    kept = tuple(one for one in state.correctable if one not in about)
    found: list[Corrected] = []
    for one in about:
        undoings = list(_undoings(one.told, policy.corrects))
        for undone in (True, False):
            told = [(known, value) for known, value in undoings if (value is None) is undone]
            if told:
                corrected_us = _rising(one, now)
                found.append(_corrected(state, one, told, corrected_us, event.type, now, undone=undone))
    return replace(state, correctable=kept), found


def restated(
    state: UserState,
    event: Event,
    fresh: Sequence[Conversion],
    policy: Policy,
    moments: tuple[int, int],
    number: int,
) -> tuple[UserState, list[Corrected]]:
    """What a higher revision of an event changes of the values that were told, as records from `number` on.

    `fresh` are the conversions that the revision is; what fires only once is worked out again from the
    revision's facts. A value that is not known any more stays as it was told.
    """
    now = moments[1]
    found: list[Corrected] = []
    kept: list[Correctable] = []
    by_id = {one.id: one for one in fresh}
    for one in state.correctable:
        if not _is_about(one.conversion, event, policy.derive.portfolio):
            kept.append(one)
            continue
        conversion = by_id.get(one.conversion.id)
        if conversion is None:
            conversion = replace(one.conversion, origin=origin_of(event, policy.derive, moments))
        before = one.conversion.origin
        if before.valued is not None:
            # What a model said of a new user stands, whatever the loan turns out to be.
            origin = replace(conversion.origin, predicted=before.predicted, valued=before.valued)
            conversion = replace(conversion, origin=origin)
        told = [
            (known, value)
            for known in one.told
            if (value := _value_now(known.entry, conversion, policy)) not in (None, known.entry.value)
        ]
        one = replace(one, conversion=conversion)
        if told:
            corrected_us, place = _rising(one, now), number + len(found)
            found.append(_corrected(state, one, told, corrected_us, event.type, now, undone=False))
            one = replace(one, told=_with_values(one.told, told, place), corrected_us=corrected_us)
        kept.append(one)
    return replace(state, correctable=tuple(kept)), found


def _told(number: int, entries: Sequence[Entry], corrects: Mapping[str, Target]) -> Iterator[Told]:
    for place, entry in enumerate(entries):
        if entry.skip is None and entry.destination in corrects:
            yield Told(entry, (delivery_id(number, place),))


def _undoings(told: Sequence[Told], corrects: Mapping[str, Target]) -> Iterator[tuple[Told, Money | None]]:
    """What each destination is to be told of a conversion that is none: nothing at all, or a value of 0."""
    for one in told:
        target, value = corrects.get(one.entry.destination), one.entry.value
        if target is None:
            continue
        if target.corrects == "everything":
            yield one, None
        elif value is not None and value.amount:
            yield one, Money(Decimal(0), value.currency)


def _joined(before: Sequence[Told], after: Sequence[Told]) -> tuple[Told, ...]:
    """What each destination is told, by whichever delivery."""
    found = {one.entry.destination: one for one in before}
    for one in after:
        known = found.get(one.entry.destination)
        if known is not None:
            one = replace(known, deliveries=known.deliveries + one.deliveries)
        found[one.entry.destination] = one
    return tuple(found.values())


def _with_values(
    told: Sequence[Told], changed: Sequence[tuple[Told, Money | None]], number: int
) -> tuple[Told, ...]:
    """The same, with the values that the corrections of record `number` tell."""
    places = {known.entry.destination: (place, value) for place, (known, value) in enumerate(changed)}
    found: list[Told] = []
    for one in told:
        if one.entry.destination in places:
            place, value = places[one.entry.destination]
            entry, last = replace(one.entry, value=value), delivery_id(number, place)
            one = replace(one, entry=entry, last=last)
        found.append(one)
    return tuple(found)


def _corrected(
    state: UserState,
    one: Correctable,
    told: Sequence[tuple[Told, Money | None]],
    corrected_us: int,
    reason: str,
    now: int,
    *,
    undone: bool,
) -> Corrected:
    conversion = one.conversion
    # The touch that released it from the pen may have come after its moment: then the phone is today's.
    binding = device_at(state.touches, conversion.origin.binds_us) or device_at(state.touches, now)
    return Corrected(
        replace(conversion, name=correction_name(conversion.name, undone=undone)),
        Known(binding, None, state.contact, state.consent, now),
        tuple(
            replace(known.entry, value=value, settle_us=0, skip=None, unvalued=False) for known, value in told
        ),
        record=one.record,
        corrects=tuple(known.deliveries + ((known.last,) if known.last else ()) for known, _ in told),
        corrected_us=corrected_us,
        reason=reason,
    )


def _rising(one: Correctable, now: int) -> int:
    """When a correction was made: platforms want it after the conversion, and after the one before it."""
    return max(now, one.conversion.origin.occurred_us + SECOND_US, one.corrected_us + SECOND_US)


def _is_undone(conversion: Conversion, event: Event) -> bool:
    if event.type in LOAN_UNDONE:
        return conversion.loan_id is not None and conversion.loan_id == event.loan_id
    return conversion.payment_id is not None and conversion.payment_id == event.payment_id


def _is_about(conversion: Conversion, event: Event, portfolio: str) -> bool:
    """Whether a conversion was derived from an earlier revision of this event."""
    origin = conversion.origin
    if origin.event_type != event.type:
        return False
    if origin.payment_id is not None or event.payment_id is not None:
        return origin.payment_id == event.payment_id
    if origin.loan_id is not None or event.loan_id is not None:
        return origin.loan_id == event.loan_id
    about = key_of(event) or ""
    known = conversion_id(portfolio, person_key(event), about, conversion.name)
    return conversion.id == known or origin.event_id == event.event_id


def _value_now(entry: Entry, conversion: Conversion, policy: Policy) -> Money | None:
    """What the route says the conversion is worth by the facts as they are known now; `None`: unknown."""
    app = policy.corrects[entry.destination].app if entry.destination in policy.corrects else ""
    for step in policy.steps.get((app, conversion.name), ()):
        if step.destination == entry.destination and step.rule is not None:
            return value_of(_telling_losses(step.rule), conversion, step.currency, policy.rates)
    return None


def _telling_losses(rule: ValueRule) -> ValueRule:
    """The rule for a value that corrects another: what turned out to be no gain is told as 0."""
    match rule:
        case ValueSettings(negative="plain"):
            return replace(rule, negative="zero")
        case str():
            return ValueSettings(of=rule, negative="zero")
        case _:
            return rule
