"""Who is no customer: named, found out by a rule, or marked by the event. Shown, never valued or tiered."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.acme import event, loan, login, phone, source, told

from lendsignal.derive import Cut, Tiers
from lendsignal.model import Event, SkipReason
from lendsignal.plan import People, Policy, compile_policy

TIERS = Tiers(cuts=(Cut(share=20, cut=700),))
EMULATOR = "has(snapshot.emulator) && snapshot.emulator"


def rules(**people: Any) -> Policy:
    wanted = source(tiers=TIERS, value={"disbursement": "principal"})
    return compile_policy(msgspec.structs.replace(wanted, people=People(**people)))


GRANT = event("credit_granted", -1, grant_id="G1", score=800.0, loan_number=1)


@pytest.mark.parametrize(
    ("people", "touch"),
    [
        ({"test": frozenset({"acme:u1"})}, login(-5, "a")),
        ({"test_rule": EMULATOR}, login(-5, phone("a", emulator=True))),
        ({"test_rule": "event.user_id in ['u1', 'u2']"}, login(-5, "a")),
        (
            {"test_rule": "event.type == 'logged_in' && event.properties.staff"},
            login(-5, "a", properties={"staff": True}),
        ),
        ({}, login(-5, "a", test=True)),
    ],
)
def test_a_test_user_is_shown_and_neither_sent_nor_valued_nor_tiered(
    people: dict[str, Any], touch: Event
) -> None:
    after = told(touch, GRANT, loan(0, loan_number=1), policy=rules(**people))

    assert after.state.test
    assert after.names() == ["credit", "first_credit", "disbursement", "first_loan"]
    entries = [entry for one in after.planned() for entry in one.entries]
    assert {(entry.skip, entry.value) for entry in entries} == {(SkipReason.TEST_USER, None)}


@pytest.mark.parametrize(
    "people",
    [
        {"test": frozenset({"acme:u2", "other:u1"})},
        {"test_rule": EMULATOR},
        {"test_rule": "event.type == 'applied' && true"},
        {},
    ],
)
def test_a_customer_is_no_test_user(people: dict[str, Any]) -> None:
    after = told(login(-5, "a"), GRANT, loan(0, loan_number=1), policy=rules(**people))

    assert not after.state.test
    assert "credit_top20" in after.names()


def test_who_was_a_test_user_once_stays_one() -> None:
    after = told(
        login(-5, phone("a", emulator=True)), login(-4, "b"), loan(0), policy=rules(test_rule=EMULATOR)
    )

    assert {entry.skip for one in after.planned() for entry in one.entries} == {SkipReason.TEST_USER}


def test_the_event_that_shows_a_test_user_is_itself_taken_out() -> None:
    rule = "event.type == 'disbursed' && event.amount == 1.0"

    after = told(login(-5, "a"), loan(0, amount=Decimal(1)), policy=rules(test_rule=rule))

    assert {entry.skip for one in after.planned() for entry in one.entries} == {SkipReason.TEST_USER}
