"""What a conversion is worth at a destination, by every rule a route may have."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.acme import loan, login, source, told

from lendsignal.derive import DerivePolicy, Ledger, derive, rules_of
from lendsignal.model import Conversion, Money, Valued, plain
from lendsignal.model.rates import Rate, Rates
from lendsignal.plan import ValueSettings, compile_policy, value_of

RATES = Rates(
    [
        Rate(day=date(2026, 3, 1), base="USD", quote="NGN", rate=Decimal("1500")),
        Rate(day=date(2026, 3, 8), base="USD", quote="NGN", rate=Decimal("1600")),
        Rate(day=date(2026, 3, 8), base="USD", quote="JPY", rate=Decimal("150")),
        Rate(day=date(2026, 3, 11), base="USD", quote="NGN", rate=Decimal("1700")),
    ]
)
RULES = rules_of(DerivePolicy(portfolio="acme-group"))


def disbursement(**fields: Any) -> Conversion:
    """A loan of 25 000 NGN with a fee of 1 500, on 10 March 2026; the model says 900 of the user."""
    known: dict[str, Any] = {"properties": {"predicted_value": 900}, **fields}
    _, found = derive(Ledger(), loan(0, **known), RULES)
    return found[0]


def worth(rule: Mapping[str, Any], **fields: Any) -> str | None:
    """The value by a table of a rule in an app of NGN."""
    found = value_of(ValueSettings(**rule), disbursement(**fields), "NGN", RATES)
    return None if found is None else f"{plain(found.amount)} {found.currency}"


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"of": 12.5}, "12.5 NGN"),
        ({"of": "principal"}, "25000 NGN"),
        ({"of": "fee"}, "1500 NGN"),
        ({"of": "predicted"}, "900 NGN"),
        ({"of": "own"}, None),
        # 1500 − 0.04 × 25000 − 100
        ({"of": "margin", "loss_rate": 0.04, "cost": 100}, "400 NGN"),
        ({"of": "margin"}, "1500 NGN"),
        ({"of": "fee", "haircut": 0.2}, "1200 NGN"),
        ({"of": "fee", "cap": 1000}, "1000 NGN"),
        ({"of": "fee", "floor": 2000}, "2000 NGN"),
        ({"of": "fee", "bins": (500, 1000, 2000)}, "1000 NGN"),
        ({"of": "fee", "bins": (2000,)}, None),
        # 1500 NGN at 1600 for a dollar: the rate of the 8th, not yet that of the 11th
        ({"of": "fee", "currency": "USD"}, "0.94 USD"),
        ({"of": "fee", "currency": "NGN"}, "1500 NGN"),
        ({"of": "fee", "currency": "EUR"}, None),
        ({"of": "fee", "currency": "EUR", "otherwise": 3}, "3 EUR"),
        # 10 % off, then the rate, then at most half a dollar
        ({"of": "fee", "haircut": 0.1, "currency": "USD", "cap": 0.5}, "0.5 USD"),
        ({"of": 12.5, "currency": "USD"}, "12.5 USD"),
    ],
)
def test_a_table_of_a_rule_is_worked_out_in_its_stated_order(
    rule: Mapping[str, Any], value: str | None
) -> None:
    assert worth(rule) == value


def test_currencies_without_a_minor_unit_are_whole_and_those_with_thousandths_keep_them() -> None:
    assert worth({"of": "fee"}, currency="JPY", fee=Decimal("149.5")) == "150 JPY"
    assert worth({"of": "fee"}, currency="JPY", fee=Decimal("0.4")) is None
    assert worth({"of": "fee"}, currency="KWD", fee=Decimal("1.2345")) == "1.235 KWD"
    assert worth({"of": "fee"}, currency="USD", fee=Decimal("1.235")) == "1.24 USD"
    assert value_of("fee", disbursement(currency="JPY", fee=Decimal("149.5")), None, RATES) == Money(
        Decimal(150), "JPY"
    )
    assert worth({"of": "fee", "currency": "JPY"}, currency="USD", fee=Decimal("1.11")) == "167 JPY"


@pytest.mark.parametrize(("negative", "value"), [("plain", None), ("zero", "0 NGN"), ("send", "-1000 NGN")])
def test_a_loss_is_told_as_the_rule_says(negative: str, value: str | None) -> None:
    """1500 − 0.1 × 25000; a floor lifts a small gain and never a loss, and a haircut is not taken off it."""
    rule = {
        "of": "margin",
        "loss_rate": 0.1,
        "haircut": 0.5,
        "floor": 50,
        "bins": (10,),
        "negative": negative,
    }

    assert worth(rule) == value


def test_without_a_prediction_the_stated_mean_is_sent_or_nothing() -> None:
    assert worth({"of": "predicted"}, properties={}) is None
    assert worth({"of": "predicted", "otherwise": 700}, properties={}) == "700 NGN"
    assert worth({"of": "predicted", "otherwise": 700}) == "900 NGN"
    assert worth({"of": "predicted", "otherwise": 700}, properties={"predicted_value": -5}) is None


def test_the_cautious_side_is_the_models_alone_and_once_in_a_users_life() -> None:
    """The lender's own prediction has no low side, and a repeat loan was told of before."""
    said = Valued("p1", "f", "KES", 55.0, 2, 41.5, 0.9, 12.25)
    told = replace(disbursement(), origin=replace(disbursement().origin, valued=said))

    assert value_of("predicted_low", told, "NGN", RATES) == Money(Decimal("12.25"), "KES")
    assert value_of(ValueSettings(of="predicted_low", haircut=0.2), told, "NGN", RATES) == Money(
        Decimal("9.8"), "KES"
    )
    assert value_of("predicted_low", replace(told, name="repeat_loan"), "NGN", RATES) is None
    assert value_of("predicted_low", disbursement(), "NGN", RATES) is None
    for low in (0.0, None):
        none = replace(told, origin=replace(told.origin, valued=replace(said, low=low)))
        assert value_of("predicted_low", none, "NGN", RATES) is None


def test_a_margin_needs_what_it_is_made_of() -> None:
    assert worth({"of": "margin", "loss_rate": 0.1}, amount=None) is None
    assert worth({"of": "margin"}, fee=None) is None
    assert worth({"of": "margin", "cost": 100}, amount=None) == "1400 NGN"


@pytest.mark.parametrize("given", [None, "900", True, float("nan"), float("inf")])
def test_what_is_no_number_is_no_prediction(given: Any) -> None:
    assert worth({"of": "predicted"}, properties={"predicted_value": given}) is None


def test_a_value_that_is_missing_is_planned_as_unvalued() -> None:
    rules = compile_policy(
        source(send={"disbursement": "ev_ln"}, value={"disbursement": ValueSettings(of="predicted")})
    )
    with_, without = (loan(0, "L1", properties={"predicted_value": 900}), loan(1, "L2"))

    after = told(login(-5, "a"), with_, without, policy=rules)

    entries = [entry for one in after.planned("disbursement") for entry in one.entries]
    assert [(entry.value, entry.unvalued) for entry in entries] == [
        (Money(Decimal(900), "NGN"), False),
        (None, True),
    ]


def test_the_rates_of_the_policy_are_those_of_its_time() -> None:
    """The same loan by the policy of another day: what was decided keeps the rates that it was decided by."""
    wanted = source(
        send={"disbursement": "ev_ln"}, value={"disbursement": ValueSettings(of="fee", currency="USD")}
    )

    def value(rate: int) -> Money | None:
        one = Rate(day=date(2026, 3, 9), base="USD", quote="NGN", rate=Decimal(rate))
        rules = compile_policy(msgspec.structs.replace(wanted, rates=(one,)))
        (planned,) = told(login(-5, "a"), loan(0), policy=rules).planned("disbursement")
        return planned.entries[0].value

    assert value(1_500) == Money(Decimal("1"), "USD")
    assert value(750) == Money(Decimal("2"), "USD")
