"""Conversions of the lender's own."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.acme import APPS, DAY, event, loan, login, phone, source, told

from lendsignal.derive import CustomSettings, DerivePolicy, Ledger, custom_rule, derive, rules_of
from lendsignal.errors import InputError
from lendsignal.model import Conversion, Event, Money
from lendsignal.plan import compile_policy, known_conversions


def policy(**custom: Mapping[str, Any]) -> DerivePolicy:
    rules = {name: CustomSettings(**settings) for name, settings in custom.items()}
    return DerivePolicy(portfolio="acme-group", apps=APPS, default_app={"acme": "acme-ng"}, custom=rules)


def conversions(given: DerivePolicy, *events: Event) -> list[Conversion]:
    ledger, found = Ledger(), []
    for one in events:
        ledger, some = derive(ledger, one, rules_of(given))
        found += some
    return [one for one in found if one.name in given.custom]


def repaid(payment: str, loan_id: str, **fields: Any) -> Event:
    return event("repaid", 9, payment_id=payment, loan_id=loan_id, event_id=f"repaid-{payment}", **fields)


LOYAL = policy(loyal={"when": "event.type == 'repaid' && user.loans >= 2", "once_per": "user"})


def test_a_custom_conversion_fires_once_for_what_it_is_once_per() -> None:
    events = [loan(0, "L1"), repaid("P1", "L1"), loan(1, "L2"), repaid("P2", "L2"), repaid("P3", "L2")]

    assert [one.event_id for one in conversions(LOYAL, *events)] == ["repaid-P2"]
    for once_per, wanted in {
        "event": ["repaid-P2", "repaid-P3"],
        "payment": ["repaid-P2", "repaid-P3"],
        "loan": ["repaid-P2"],
        "user": ["repaid-P2"],
        "grant": [],
        "application": [],
    }.items():
        given = policy(loyal={"when": LOYAL.custom["loyal"].when, "once_per": once_per})
        assert [one.event_id for one in conversions(given, *events)] == wanted


def test_two_events_of_one_loan_are_two_where_a_loan_may_have_several() -> None:
    given = policy(late={"when": "event.type == 'overdue'"})
    found = conversions(given, *(event("overdue", minute, loan_id="L1", dpd=3) for minute in (0, 1)))

    assert len({one.id for one in found}) == 2


def test_any_type_of_event_can_be_one_also_one_of_the_lender_s_own() -> None:
    given = policy(checked={"when": "event.type == 'kyc_done' && event.properties.level > 1"})

    found = conversions(
        given,
        event("kyc_done", 0, properties={"level": 1}),
        event("kyc_done", 1, properties={"level": 2}),
        event("other", 1, properties={"level": 2}),
    )

    assert [(one.name, one.event_id) for one in found] == [("checked", "kyc_done@1")]


def test_an_expression_that_names_no_type_is_asked_of_every_event() -> None:
    given = policy(
        gold={"when": "event.product == 'gold'", "once_per": "user"},
        paid={"when": "event.type == 'disbursed'"},
    )

    assert [one.name for one in conversions(given, event("whatever", 0, product="gold"))] == ["gold"]
    assert [one.name for one in conversions(given, loan(0, product="gold"))] == ["gold", "paid"]


def test_all_custom_conversions_of_an_event_see_the_same_user() -> None:
    """`user.loans` counts the event's own loan, whichever rule is asked first."""
    given = policy(a={"when": "user.loans == 1", "once_per": "loan"}, b={"when": "user.loans == 1"})

    assert [one.name for one in conversions(given, loan(0))] == ["a", "b"]


def test_nothing_fires_for_a_loan_or_a_payment_that_was_taken_back_before() -> None:
    given = policy(any={"when": "event.type in ['disbursed', 'repaid']"})
    undone = [
        event("disbursement_reversed", 0, loan_id="L1"),
        event("repayment_reversed", 0, payment_id="P2", loan_id="L2"),
    ]

    found = conversions(given, *undone, loan(0, "L1"), repaid("P2", "L2"), repaid("P3", "L2"))

    assert [one.event_id for one in found] == ["repaid-P3"]


def test_an_analytics_event_is_no_conversion() -> None:
    given = policy(seen={"when": "event.type == 'page_seen'"})

    assert not conversions(given, event("page_seen", 0, purpose="analytics"))


def test_a_custom_conversion_is_worth_what_its_own_rule_says() -> None:
    rule = {"when": "event.type == 'disbursed'", "value": "event.amount * 0.1 + event.fee"}
    given = policy(worth=rule)

    assert [one.value for one in conversions(given, loan(0))] == [Money(Decimal("4000.0"), "NGN")]
    assert [one.value for one in conversions(given, loan(0, fee=None))] == [None]
    assert [one.value for one in conversions(given, loan(0, currency=None))] == [None]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"when": "event.tpye == 'x'"}, "when: line 1, column 7"),
        ({"when": "true", "value": "event.amount *"}, "value: line 1, column 15"),
        ({"when": "event.amount"}, "when: line 1, column 7"),
        ({"when": "true", "value": "event.type"}, "value: line 1, column 7"),
    ],
)
def test_a_mistake_names_the_key_and_the_place(settings: Mapping[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        custom_rule("x", CustomSettings(**settings))

    assert caught.value.field == field


def test_a_custom_conversion_is_planned_like_any_other_and_a_revision_never_fires_it_again() -> None:
    wanted = source(send={"gold": "ev_g"}, value={"gold": "own"})
    settings = CustomSettings(when="event.type == 'disbursed' && event.amount > 1.0", value="event.fee")
    derive_ = DerivePolicy(
        portfolio="acme-group", apps=APPS, default_app={"acme": "acme-ng"}, custom={"gold": settings}
    )
    rules = compile_policy(msgspec.structs.replace(wanted, derive=derive_))
    one = loan(0)

    after = told(login(-5, "a"), one, loan(0, revision=1, event_id="again"), policy=rules)

    (planned,) = after.planned("gold")
    (entry,) = planned.entries
    assert (entry.name, entry.value) == ("ev_g", Money(Decimal("1500.0"), "NGN"))
    assert "gold" in known_conversions(derive_)


def test_the_phone_of_the_last_login_by_the_event_is_asked() -> None:
    wanted = source(send={"pixel": "ev_p"})
    settings = CustomSettings(when="event.type == 'disbursed' && snapshot.model == 'Pixel 9'")
    derive_ = DerivePolicy(
        portfolio="acme-group", apps=APPS, default_app={"acme": "acme-ng"}, custom={"pixel": settings}
    )
    rules = compile_policy(msgspec.structs.replace(wanted, derive=derive_))
    pixel, other = phone("a", model="Pixel 9"), phone("b", model="Nokia")

    after = told(login(-9, pixel), loan(0, "L1"), login(1, other), loan(2, "L2"), policy=rules)

    assert [one.conversion.loan_id for one in after.planned("pixel")] == ["L1"]
    assert told(loan(DAY), policy=rules).planned("pixel") == []
