"""Conversions of the lender's own: a name, when an event is one, and once per what."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from lendsignal.derive.expression import Expression, compiled
from lendsignal.derive.facts import Facts
from lendsignal.derive.ledger import Ledger, once
from lendsignal.errors import InputError
from lendsignal.model import ONCE_PER_KEY, Event, Money, key_of

OncePer: TypeAlias = Literal["event", "user", "loan", "application", "grant", "payment"]


class CustomSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One conversion of the lender's own, out of any event."""

    when: Annotated[
        str, Meta(min_length=1, description="CEL over event, user and snapshot: which events are one")
    ]
    once_per: Annotated[OncePer, Meta(description="fires once for each of these")] = "event"
    value: Annotated[
        str | None,
        Meta(description='CEL for what it is worth, in the event\'s currency; a route sends it by "own"'),
    ] = None


class Custom(Struct, frozen=True):
    """The same compiled."""

    name: str
    when: Expression
    once_per: OncePer
    value: Expression | None


def custom_rule(name: str, settings: CustomSettings) -> Custom:
    """The rule compiled. Raises `InputError` with the key and the place in it: `when: line 1, column 7`."""
    value = None if settings.value is None else _compiled("value", settings.value)
    return Custom(name, _compiled("when", settings.when), settings.once_per, value)


def _compiled(key: Literal["when", "value"], text: str) -> Expression:
    try:
        return compiled(text, "bool") if key == "when" else compiled(text, "int", "double")
    except InputError as error:
        raise InputError(f"{key}: {error.field}", error.rule) from None


def by_type(custom: Mapping[str, CustomSettings]) -> tuple[Mapping[str, Sequence[Custom]], Sequence[Custom]]:
    """The rules by the type of event that may fulfil them, and those that any other event may.

    An event whose type no rule asks for costs one look-up.
    """
    rules = [custom_rule(name, settings) for name, settings in custom.items()]
    kinds = sorted({kind for rule in rules for kind in rule.when.types or ()})
    of_any = [rule for rule in rules if rule.when.types is None]
    return {
        kind: [rule for rule in rules if rule.when.types is None or kind in rule.when.types] for kind in kinds
    }, of_any


def is_undone(ledger: Ledger, event: Event) -> bool:
    """Whether the event's loan or payment was taken back before the event came."""
    if f"undone:{event.payment_id}" in ledger.fired:
        return True
    loan = ledger.loans.get(event.loan_id or "")
    return loan is not None and loan.reversed


def custom_of(
    rules: Sequence[Custom], ledger: Ledger, event: Event, facts: Facts
) -> tuple[Ledger, list[tuple[str, str, Money | None]]]:
    """The names that the event fulfils, what each is about, and what it is worth by its own rule.

    An event that lacks what a rule is once for does not fulfil it.
    """
    found: list[tuple[str, str, Money | None]] = []
    for rule in rules:
        about = _about(rule.once_per, event)
        if about is None or not rule.when.holds(facts):
            continue
        if rule.once_per != "event":
            ledger, fresh = once(ledger, f"own:{rule.name}:{about}")
            if not fresh:
                continue
        found.append((rule.name, about, _worth(rule, event, facts)))
    return ledger, found


def _about(once_per: OncePer, event: Event) -> str | None:
    match once_per:
        case "event":
            # Of a loan there may be several `overdue`: only where a key happens once does it name the event.
            once_for_its_key = event.type in ONCE_PER_KEY
            return f"{event.type}:{key_of(event) if once_for_its_key else event.event_id}"
        case "user":
            return event.user_id
        case "loan":
            return event.loan_id
        case "application":
            return event.application_id
        case "grant":
            return event.grant_id
        case "payment":
            return event.payment_id


def _worth(rule: Custom, event: Event, facts: Facts) -> Money | None:
    worth = None if rule.value is None else rule.value.value(facts)
    return Money(Decimal(repr(worth)), event.currency) if worth is not None and event.currency else None
