"""Loan events → conversions: the pure heart. `derive(ledger, event, rules) → (ledger, conversions)`."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.derive.custom import Custom, CustomSettings, by_type, custom_of, is_undone
from lendsignal.derive.facts import Facts
from lendsignal.derive.ledger import UNHEARD_OF, Ledger, Loan, fire, once
from lendsignal.derive.likely import LikelyPolicy
from lendsignal.derive.tiers import PREDICTED_VALUE, Ladders, Tiers, is_tier
from lendsignal.derive.worth import VALUED, with_worth
from lendsignal.model import (
    App,
    Conversion,
    Event,
    Money,
    Origin,
    Valued,
    conversion_id,
    key_of,
    person_key,
    to_us,
)
from lendsignal.resolve import Snapshot, Touches, device_at
from lendsignal.value import Valuer


class DerivePolicy(Struct, frozen=True, kw_only=True):
    """The rules in force, as plain data. `apps` maps an app's name to its facts, `default_app` a brand to its
    first app, `custom` the name of a conversion of the lender's own to its rule. `first` tells whether a
    person has one with each brand or one over all; `history` whether every earlier loan is in the log;
    `likely` which applications are told of before they are decided.
    """

    portfolio: str
    apps: Mapping[str, App] = {}
    default_app: Mapping[str, str] = {}
    tiers: Tiers = Tiers()
    default_dpd: int = 60
    custom: Mapping[str, CustomSettings] = {}
    first: Literal["brand", "portfolio"] = "brand"
    history: Literal["in_part", "whole"] = "in_part"
    likely: LikelyPolicy | None = None

    @property
    def across_brands(self) -> bool:
        """Whether a loan with one brand is no first after one with another."""
        return self.first == "portfolio" and len({app.brand for app in self.apps.values()}) > 1


class Rules(Struct, frozen=True):
    """The same made ready. `custom` are the rules that an event of a type may fulfil, `custom_of_any` those
    that an event of any other type may. `valuer` says what new users are worth."""

    policy: DerivePolicy
    ladders: Ladders
    custom: Mapping[str, Sequence[Custom]]
    custom_of_any: Sequence[Custom]
    valuer: Valuer | None = None


def rules_of(policy: DerivePolicy, valuer: Valuer | None = None) -> Rules:
    """The policy made ready, with the value model in force.

    Raises `InputError` where an expression cannot be compiled.
    """
    custom, of_any = by_type(policy.custom)
    return Rules(policy, Ladders(policy.tiers), custom, of_any, valuer)


def derive(
    ledger: Ledger,
    event: Event,
    rules: Rules,
    moments: tuple[int, int] | None = None,
    touches: Touches | None = None,
) -> tuple[Ledger, list[Conversion]]:
    """The conversions this event is, and the ledger after it.

    Expects each business fact once: repeats and conflicts are settled before (see `plan.decide`).
    `moments` are the event's `occurred_at` and `received_at` in microseconds, where they are at hand;
    `touches` the user's, for rules that ask for the device.
    Nothing here fires twice for its key, whatever comes in whatever order, and nothing fires for a loan
    or a payment whose reversal came first. Analytics events (`purpose="analytics"`) change the ledger and
    make no conversion.
    """
    kind = event.type
    custom = rules.custom.get(kind, rules.custom_of_any)
    rule = RULES.get(kind)
    if rule is None and not custom:
        return ledger, []
    found: Found = []
    before = ledger
    valued: Valued | None = None
    if rules.valuer is not None and kind in VALUED and VALUED[kind] not in ledger.fired:
        ledger, event, valued = with_worth(
            ledger, event, rules.valuer, rules.policy.apps, rules.policy.default_app, touches or Touches()
        )
    if rule is not None:
        ledger, found = rule(ledger, event, rules)
    if event.purpose == "analytics":
        return _as_told(before, ledger, event), []
    conversions: list[Conversion] = []
    if found:
        policy = rules.policy
        origin, person, tiers = origin_of(event, policy, moments), person_key(event), policy.tiers
        if valued is not None:
            origin = _told(origin, valued if VALUED[kind] in {name for name, _, _ in found} else None)
        cut = bool(tiers.cuts)
        conversions = [
            Conversion(
                conversion_id(policy.portfolio, person, about, name),
                name,
                origin,
                certain,
                event.history,
                False,
                tiers.version if cut and is_tier(name) else None,
            )
            for name, about, certain in found
        ]
    if custom and not is_undone(ledger, event):
        origin = conversions[0].origin if conversions else origin_of(event, rules.policy, moments)
        ledger, own = _custom(ledger, event, rules, custom, origin, touches or Touches())
        conversions += own
    return ledger, conversions


def _custom(
    ledger: Ledger,
    event: Event,
    rules: Rules,
    custom: Sequence[Custom],
    origin: Origin,
    touches: Touches,
) -> tuple[Ledger, list[Conversion]]:
    """The lender's own conversions. All of them see the ledger as the event itself left it."""

    def snapshot() -> Snapshot | None:
        binding = device_at(touches, origin.binds_us)
        return None if binding is None else binding.snapshot

    ledger, found = custom_of(custom, ledger, event, Facts(event, ledger, snapshot))
    portfolio, person = rules.policy.portfolio, person_key(event)
    return ledger, [
        Conversion(
            conversion_id(portfolio, person, about, name),
            name,
            origin,
            history=event.history,
            value=value,
        )
        for name, about, value in found
    ]


Found = list[tuple[str, str, bool]]
"""Conversion name, what it is about (part of its id), and whether a first is certain."""


def _registered(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    """Seen from registration on, unless loans were known before it."""
    if not ledger.whole and not ledger.loans:
        ledger = replace(ledger, whole=True)
    return ledger, [("registration", event.user_id, True)]


def _applied(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    found: Found = [("application", _text(event.application_id), True)]
    ledger, first = _first(ledger, "first_application", event)
    return ledger, found + first


def _granted(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    grant = _text(event.grant_id)
    found: Found = [("credit", grant, True)]
    ledger, first = _first(ledger, "first_credit", event)
    policy = rules.policy
    if first or policy.tiers.per_grant:
        app = policy.apps.get(event.app or policy.default_app.get(event.brand, ""))
        certain = policy.tiers.per_grant or first[0][2]
        tiers = rules.ladders.tiers_of(event, app, policy.portfolio)
        first = first + [(tier, grant, certain) for tier in tiers]
    return ledger, found + first


def _disbursed(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    loan, number, loans = _text(event.loan_id), event.loan_number, ledger.loans
    due = max(part.due_date for part in event.schedule) if event.schedule else event.due_date
    before = loans.get(loan, UNHEARD_OF)
    # Our own count is only asked where the lender gives no number.
    had_loans = number is None and any(name != loan and not other.reversed for name, other in loans.items())
    known = Loan(number, due, before.late, before.closed, before.reversed)
    ledger = Ledger(ledger.whole, ledger.fired, {**loans, loan: known}, ledger.undecided, ledger.worth)
    if known.reversed:
        return ledger, []
    ledger, first = _first(ledger, "first_loan", event, had_some=had_loans)
    found: Found = [("disbursement", loan, True), *first]
    if had_loans if number is None else number > 1:
        found.append(("repeat_loan", loan, True))
    return ledger, found


def _repaid(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    if f"undone:{event.payment_id}" in ledger.fired:
        return ledger, []
    found: Found = [("repayment", _text(event.payment_id), True)]
    closes = event.closes_loan if event.closes_loan is not None else event.outstanding == 0
    loan_id = event.loan_id
    if not closes or loan_id is None:
        return ledger, found
    loan = ledger.loans.get(loan_id, UNHEARD_OF)
    ledger, fresh = once(ledger, f"closed:{loan_id}")
    ledger = _with_loan(ledger, loan_id, closed=True)
    if not fresh:
        return ledger, found
    found.append(("loan_closed", loan_id, True))
    due = loan.last_due or event.due_date
    if due is not None and not loan.late and _local_day(event, rules.policy) <= due:
        found.append(("repaid_on_time", loan_id, True))
    return ledger, found


def _overdue(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    if event.dpd is None or event.dpd > 0:
        ledger = _with_loan(ledger, event.loan_id, late=True)
    return _once_defaulted(ledger, event) if (event.dpd or 0) >= rules.policy.default_dpd else (ledger, [])


def _defaulted(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    return _once_defaulted(_with_loan(ledger, event.loan_id, late=True), event)


def _once_defaulted(ledger: Ledger, event: Event) -> tuple[Ledger, Found]:
    loan = _text(event.loan_id)
    ledger, fresh = once(ledger, f"default:{loan}")
    return ledger, [("default", loan, True)] if fresh else []


def _loan_undone(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    return _with_loan(ledger, event.loan_id, reversed=True), []


def _repayment_undone(ledger: Ledger, event: Event, rules: Rules) -> tuple[Ledger, Found]:
    return _with_loan(fire(ledger, f"undone:{event.payment_id}"), event.loan_id, closed=False), []


Rule = Callable[[Ledger, Event, Rules], tuple[Ledger, Found]]

RULES: Mapping[str, Rule] = {
    "registered": _registered,
    "applied": _applied,
    "credit_granted": _granted,
    "disbursed": _disbursed,
    "repaid": _repaid,
    "overdue": _overdue,
    "defaulted": _defaulted,
    "disbursement_reversed": _loan_undone,
    "loan_cancelled": _loan_undone,
    "repayment_reversed": _repayment_undone,
}
"""What each type does to the ledger, and the conversions it is; other types do and are nothing."""


def _first(ledger: Ledger, name: str, event: Event, *, had_some: bool = False) -> tuple[Ledger, Found]:
    """The user's first of its kind: by `loan_number` where given, else by a history we hold whole.

    Where neither tells, the conversion is kept as uncertain: reported, and not sent as a first. Number 2
    may come in before number 1: it only tells that what comes without a number is no first.
    """
    later, number = f"later:{name}", event.loan_number
    if number is not None:
        is_first, certain = number == 1, True
    else:
        is_first, certain = not had_some and later not in ledger.fired, ledger.whole
        is_first = is_first and not _told_of_another(ledger, name, event)
    if not is_first:
        return fire(ledger, later), []
    ledger, fresh = once(ledger, name)
    return ledger, [(name, event.user_id, certain)] if fresh else []


def _as_told(before: Ledger, after: Ledger, event: Event) -> Ledger:
    """The ledger after an analytics event: it knows the fact, and no conversion has fired by it.

    So the same fact still makes its conversions when it is told for optimisation, and what comes after
    another's first is none.
    """
    fresh = after.fired - before.fired
    if not fresh:
        return after
    kept = {mark for mark in fresh if mark.startswith("undone:") or _is_later(mark, event)}
    told = {f"told:{mark}:{key_of(event)}" for mark in fresh if mark.startswith("first_")}
    return replace(after, fired=before.fired | kept | told)


def _is_later(mark: str, event: Event) -> bool:
    """Whether the lender's own number says that this was no first."""
    return mark.startswith("later:") and event.loan_number is not None


def _told_of_another(ledger: Ledger, name: str, event: Event) -> bool:
    """Whether an analytics event told of a first that is not this one."""
    if name in ledger.fired:
        return False
    own = f"told:{name}:{key_of(event)}"
    return any(mark.startswith(f"told:{name}:") and mark != own for mark in ledger.fired)


def _with_loan(ledger: Ledger, loan_id: str | None, **changes: bool) -> Ledger:
    if loan_id is None:
        return ledger
    loan = replace(ledger.loans.get(loan_id, UNHEARD_OF), **changes)
    return replace(ledger, loans={**ledger.loans, loan_id: loan})


def origin_of(event: Event, policy: DerivePolicy, moments: tuple[int, int] | None) -> Origin:
    """What the conversions of this event have in common."""
    currency, fee = event.currency, event.fee
    amount = event.amount if event.amount is not None else event.limit
    occurred_us, received_us = moments or (to_us(event.occurred_at), to_us(event.received_at))
    binds_us = occurred_us
    by_day = event.time_precision == "day"
    if by_day:
        occurred_us, binds_us = to_us(_local_noon(event, policy)), to_us(binds_at(event, policy))
    return Origin(
        event.brand,
        event.user_id,
        event.event_id,
        event.type,
        occurred_us,
        received_us,
        binds_us,
        event.app,
        by_day,
        event.loan_id,
        event.payment_id,
        event.loan_number,
        Money(amount, currency) if amount is not None and currency else None,
        Money(fee, currency) if fee is not None and currency else None,
        event.test,
        _predicted(event) if event.properties else None,
    )


def _predicted(event: Event) -> Money | None:
    """What the lender's own model says the user is worth, in the event's currency."""
    found = event.properties.get(PREDICTED_VALUE)
    if not isinstance(found, int | float) or isinstance(found, bool) or not event.currency:
        return None
    return Money(Decimal(repr(found)), event.currency) if isfinite(found) else None


def _told(origin: Origin, valued: Valued | None) -> Origin:
    """The origin with what is told of a first; of a later grant or loan the model has nothing to say."""
    if valued is None:
        return replace(origin, predicted=None)
    return replace(origin, predicted=Money(Decimal(repr(valued.told)), valued.currency), valued=valued)


def binds_at(event: Event, policy: DerivePolicy) -> datetime:
    """The moment whose device counts: the event's own, or the end of its local day, never after arrival."""
    if event.time_precision == "instant":
        return event.occurred_at
    zone = _zone(event, policy)
    local = event.occurred_at.astimezone(zone)
    end = datetime.combine(local.date() + timedelta(days=1), time(), zone) - timedelta(microseconds=1)
    return min(end, event.received_at).astimezone(event.occurred_at.tzinfo)


def _local_day(event: Event, policy: DerivePolicy) -> date:
    return event.occurred_at.astimezone(_zone(event, policy)).date()


def _local_noon(event: Event, policy: DerivePolicy) -> datetime:
    """What is known only by the day is said to have happened at noon of that day, where the app lives.

    An event that is told before that noon is said to have happened when it came: no platform takes a
    moment that is still ahead.
    """
    noon = datetime.combine(_local_day(event, policy), time(12), _zone(event, policy))
    return min(noon, event.received_at).astimezone(event.occurred_at.tzinfo)


def _zone(event: Event, policy: DerivePolicy) -> ZoneInfo:
    app = policy.apps.get(event.app or policy.default_app.get(event.brand, ""))
    return ZoneInfo(app.timezone if app else "UTC")


def _text(value: str | None) -> str:
    return value or ""


BUILT_IN = (
    "registration application first_application credit first_credit disbursement first_loan repeat_loan "
    "repayment loan_closed repaid_on_time default"
).split()
"""The conversions derived without any configuration, in the order of a loan's life."""
