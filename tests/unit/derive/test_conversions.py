"""Loan events → conversions, one rule a test."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from tests.acme import APPS, event, loan, us

from lendsignal.derive import (
    BUILT_IN,
    Cut,
    DerivePolicy,
    Ledger,
    Tiers,
    binds_at,
    derive,
    rules_of,
)
from lendsignal.model import Conversion, Event, Instalment, Money, Origin, conversion_id

TIERS = Tiers(cuts=(Cut(share=20, cut=720), Cut(share=50, cut=610)), version="v7")
POLICY = DerivePolicy(
    portfolio="acme-group", apps=APPS, default_app={"acme": "acme-ng"}, tiers=TIERS, default_dpd=30
)


def conversions(*events: Event, policy: DerivePolicy = POLICY) -> list[Conversion]:
    """All conversions of these events, in order."""
    ledger = Ledger()
    found: list[Conversion] = []
    for one in events:
        ledger, some = derive(ledger, one, rules_of(policy))
        found += some
    return found


def names(*events: Event, policy: DerivePolicy = POLICY) -> list[str]:
    return [one.name for one in conversions(*events, policy=policy)]


REGISTERED = event("registered", -100)


def applied(name: str, **fields: Any) -> Event:
    return event("applied", 0, application_id=name, **fields)


def granted(name: str, **fields: Any) -> Event:
    return event("credit_granted", 0, grant_id=name, **fields)


def repaid(payment: str, minutes: float = 0, **fields: Any) -> Event:
    return event("repaid", minutes, payment_id=payment, loan_id="L1", **fields)


def overdue(dpd: int | None, minutes: float = 0) -> Event:
    return event("overdue", minutes, loan_id="L1", dpd=dpd)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (event("registered", 0), ["registration"]),
        (applied("A1", loan_number=1), ["application", "first_application"]),
        (granted("G1", loan_number=1), ["credit", "first_credit"]),
        (loan(0, loan_number=1), ["disbursement", "first_loan"]),
        (loan(0, loan_number=2), ["disbursement", "repeat_loan"]),
        (repaid("P1", outstanding=Decimal(5)), ["repayment"]),
        (repaid("P1", outstanding=Decimal(0)), ["repayment", "loan_closed"]),
        (repaid("P1", closes_loan=True, outstanding=Decimal(5)), ["repayment", "loan_closed"]),
        (repaid("P1", closes_loan=False, outstanding=Decimal(0)), ["repayment"]),
        (event("defaulted", 0, loan_id="L1"), ["default"]),
        (overdue(30), ["default"]),
        (overdue(29), []),
        (event("extended", 0, loan_id="L1"), []),
        (event("credit_denied", 0, application_id="A1"), []),
        (event("recovered", 0, payment_id="P9", loan_id="L1"), []),
        (event("logged_in", 0), []),
        (event("kyc_passed", 0), []),
    ],
)
def test_each_event_makes_the_conversions_of_its_kind(one: Event, expected: list[str]) -> None:
    assert names(one) == expected


def test_a_user_whose_history_we_hold_whole_has_a_certain_first_loan() -> None:
    found = conversions(REGISTERED, loan(0, "L1"), loan(1, "L2"))

    assert [(one.name, one.certain) for one in found[1:]] == [
        ("disbursement", True),
        ("first_loan", True),
        ("disbursement", True),
        ("repeat_loan", True),
    ]


def test_without_number_and_whole_history_a_first_loan_is_uncertain() -> None:
    (_, first) = conversions(loan(0, "L1"))

    assert (first.name, first.certain) == ("first_loan", False)


def test_a_registration_after_the_first_loan_does_not_make_the_history_whole() -> None:
    found = conversions(loan(0, "L0", purpose="analytics"), REGISTERED, granted("G1"))

    assert [(one.name, one.certain) for one in found if one.name == "first_credit"] == [
        ("first_credit", False)
    ]


def test_the_loan_number_decides_over_our_own_count() -> None:
    assert names(REGISTERED, loan(0, "L1", loan_number=4)) == ["registration", "disbursement", "repeat_loan"]


def test_the_first_loan_is_found_though_the_second_came_in_before_it() -> None:
    found = names(loan(5, "L2", loan_number=2), loan(0, "L1", loan_number=1))

    assert found == ["disbursement", "repeat_loan", "disbursement", "first_loan"]


def test_the_first_grant_gets_its_tiers_though_the_second_came_in_before_it() -> None:
    found = names(granted("G2", loan_number=2, score=900), granted("G1", loan_number=1, score=700))

    assert found == ["credit", "credit", "first_credit", "credit_top50"]


def test_after_a_numbered_repeat_loan_one_without_a_number_is_no_first() -> None:
    assert names(REGISTERED, loan(0, "L2", loan_number=2), loan(5, "L3"))[3:] == [
        "disbursement",
        "repeat_loan",
    ]


def test_after_a_numbered_later_grant_one_without_a_number_is_no_first() -> None:
    assert names(REGISTERED, granted("G2", loan_number=2), granted("G3"))[1:] == ["credit", "credit"]


def test_a_user_has_one_first_loan_even_if_two_are_said_to_be_number_one() -> None:
    found = names(loan(0, "L1", loan_number=1), loan(5, "L2", loan_number=1))

    assert found.count("first_loan") == 1
    assert "repeat_loan" not in found


def test_tiers_fire_once_a_user_at_the_first_grant_with_the_version_of_the_table() -> None:
    found = conversions(REGISTERED, granted("G1", score=700), granted("G2", score=900))

    tiers = [one for one in found if one.name.startswith("credit_top")]
    assert [(one.name, one.tier_version) for one in tiers] == [("credit_top50", "v7")]


def test_tiers_may_fire_for_each_grant() -> None:
    tiers = msgspec.structs.replace(TIERS, per_grant=True)
    policy = msgspec.structs.replace(POLICY, tiers=tiers)

    found = conversions(granted("G1", score=700), granted("G2", score=900), policy=policy)

    tiered = [one for one in found if one.name.startswith("credit_top")]
    assert [one.name for one in tiered] == ["credit_top50", "credit_top50", "credit_top20"]
    assert all(one.certain for one in tiered)
    assert len({one.id for one in tiered}) == 3


def test_a_tier_of_an_uncertain_first_grant_is_uncertain_too() -> None:
    found = conversions(granted("G1", score=900))

    assert [(one.name, one.certain) for one in found] == [
        ("credit", True),
        ("first_credit", False),
        ("credit_top50", False),
        ("credit_top20", False),
    ]


def test_a_loan_is_in_default_once_by_whatever_comes_first() -> None:
    defaulted = event("defaulted", 9, loan_id="L1")

    assert names(overdue(29), overdue(30, 1), overdue(31, 2), defaulted) == ["default"]
    assert names(defaulted, overdue(90, 10)) == ["default"]


def due(day: date) -> dict[str, Any]:
    return {"schedule": (Instalment(due_date=day, amount=Decimal("26500")),)}


def test_a_loan_repaid_on_its_due_date_is_on_time_by_the_apps_own_calendar() -> None:
    """Lagos is an hour ahead of UTC: 23:30 UTC on the 10th is the 11th there."""
    before = loan(0, **due(date(2026, 3, 10)))

    assert "repaid_on_time" in names(before, repaid("P1", 13.9 * 60, outstanding=Decimal(0)))
    assert "repaid_on_time" not in names(before, repaid("P1", 14.5 * 60, outstanding=Decimal(0)))


def test_a_loan_that_was_late_once_is_not_repaid_on_time() -> None:
    before = loan(0, **due(date(2026, 4, 9)))

    assert "repaid_on_time" not in names(before, overdue(1), repaid("P1", 5, outstanding=Decimal(0)))


def test_the_due_date_itself_is_not_late() -> None:
    before = loan(0, **due(date(2026, 4, 9)))

    assert "repaid_on_time" in names(before, overdue(0), repaid("P1", 5, outstanding=Decimal(0)))


def test_an_extension_is_no_repayment_and_moves_no_due_date() -> None:
    before = loan(0, **due(date(2026, 3, 10)))
    extended = event("extended", 5, loan_id="L1", due_date=date(2026, 4, 10))

    found = names(before, extended, repaid("P1", 3 * 24 * 60, outstanding=Decimal(0)))

    assert found[2:] == ["repayment", "loan_closed"]


def test_the_payment_tells_the_due_date_where_the_loan_did_not() -> None:
    payment = repaid("P1", outstanding=Decimal(0), due_date=date(2026, 3, 10))

    assert names(payment) == ["repayment", "loan_closed", "repaid_on_time"]


def test_a_loan_closes_once() -> None:
    last = [repaid(name, 5, outstanding=Decimal(0)) for name in ("P1", "P2")]

    assert names(*last) == ["repayment", "loan_closed", "repayment"]


def test_a_loan_whose_reversal_came_first_makes_no_conversion_and_uses_no_first_up() -> None:
    undone = event("disbursement_reversed", 5, loan_id="L1")

    assert names(REGISTERED, undone, loan(0, "L1"), loan(9, "L2")) == [
        "registration",
        "disbursement",
        "first_loan",
    ]


def test_a_loan_after_a_reversed_one_is_no_repeat_loan() -> None:
    undone = event("loan_cancelled", 5, loan_id="L1")

    found = names(REGISTERED, loan(0, "L1"), undone, loan(9, "L2"), loan(12, "L3"))

    assert found == [
        "registration",
        "disbursement",
        "first_loan",
        "disbursement",
        "disbursement",
        "repeat_loan",
    ]


def test_a_payment_whose_reversal_came_first_closes_nothing() -> None:
    undone = event("repayment_reversed", 5, payment_id="P1")

    assert names(undone, repaid("P1", outstanding=Decimal(0))) == []


def test_analytics_events_change_the_ledger_and_make_no_conversion() -> None:
    found = names(REGISTERED, loan(0, "L1", purpose="analytics"), loan(5, "L2"))

    assert found == ["registration", "disbursement", "repeat_loan"]


@pytest.mark.parametrize("first", [1, None])
def test_a_fact_told_for_analytics_still_makes_its_conversions_when_told_for_optimisation(
    first: int | None,
) -> None:
    facts = (
        event("applied", 1, application_id="A1"),
        granted("G1"),
        loan(2, "L1", loan_number=first),
        repaid("P1", outstanding=Decimal(0)),
    )
    for_analytics = [msgspec.structs.replace(one, purpose="analytics") for one in facts]
    both = [one for pair in zip(for_analytics, facts, strict=True) for one in pair]

    assert names(REGISTERED, *for_analytics, *facts) == names(REGISTERED, *both) == names(REGISTERED, *facts)


def test_what_analytics_told_of_first_is_nobody_elses_first() -> None:
    told = [
        event("applied", 1, application_id="A1", purpose="analytics"),
        granted("G1", purpose="analytics"),
        loan(2, "L1", purpose="analytics"),
    ]
    later = [event("applied", 3, application_id="A2"), granted("G2"), loan(4, "L2")]

    assert names(REGISTERED, *told, *later) == [
        "registration",
        "application",
        "credit",
        "disbursement",
        "repeat_loan",
    ]


def test_a_conversion_carries_what_it_is_about() -> None:
    one = loan(
        0,
        "L7",
        loan_number=1,
        app="acme-ios",
        arrives=3,
        test=True,
        history=True,
        event_id="e-7",
        person_id="p",
    )

    (money, first) = conversions(one)

    origin = Origin(
        brand="acme",
        user_id="u1",
        event_id="e-7",
        event_type="disbursed",
        occurred_us=us(0),
        received_us=us(3),
        binds_us=us(0),
        app="acme-ios",
        loan_id="L7",
        loan_number=1,
        amount=Money(Decimal("25000"), "NGN"),
        fee=Money(Decimal("1500"), "NGN"),
        test=True,
    )
    name = conversion_id("acme-group", "acme:u1", "L7", "disbursement")
    assert money == Conversion(name, "disbursement", origin, history=True)
    assert first.origin is money.origin
    assert first.id == conversion_id("acme-group", "acme:u1", "u1", "first_loan")


def test_an_amount_without_a_currency_stays_missing() -> None:
    (credit, _) = conversions(granted("G1", loan_number=1, limit=Decimal(90)))

    assert credit.amount is None


def test_conversion_ids_are_the_same_on_every_server_and_differ_by_each_part() -> None:
    parts = ("acme-group", "acme:u1", "L1", "first_loan")

    ids = {conversion_id(*(*parts[:n], "other", *parts[n + 1 :])) for n in range(4)}

    # BLAKE2b of 16 bytes over the parts, each behind a unit separator.
    assert conversion_id(*parts) == blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
    assert len(ids | {conversion_id(*parts)}) == 5


def day_event(hour_utc: int, arrives: datetime, **fields: Any) -> Event:
    """An event known by its day only."""
    base = loan(0, loan_number=1, time_precision="day", **fields)
    day = datetime(2026, 3, 10, hour_utc, tzinfo=UTC)
    return msgspec.structs.replace(base, occurred_at=day, received_at=arrives)


def test_what_is_known_by_the_day_binds_at_the_end_of_the_local_day_and_is_sent_as_local_noon() -> None:
    """Manila is eight hours ahead: its 10 March ends at 16:00 UTC and has its noon at 04:00 UTC."""
    one = day_event(1, datetime(2026, 3, 12, tzinfo=UTC), app="acme-ios")

    (money, _) = conversions(one)

    assert money.binds_at == datetime(2026, 3, 10, 16, tzinfo=UTC) - timedelta(microseconds=1)
    assert money.occurred_at == datetime(2026, 3, 10, 4, tzinfo=UTC)
    assert money.day_precision


def test_without_an_app_the_day_is_that_of_the_brands_first_app() -> None:
    """Lagos: the 11th begins at 23:00 UTC."""
    one = day_event(23, datetime(2026, 3, 14, tzinfo=UTC))

    (money, _) = conversions(one)

    assert money.occurred_at == datetime(2026, 3, 11, 11, tzinfo=UTC)


@pytest.mark.parametrize("hour", [0, 9, 12, 20])
def test_what_is_known_by_the_day_never_binds_or_happens_after_its_arrival(hour: int) -> None:
    arrives = datetime(2026, 3, 10, 8, 30, tzinfo=UTC)

    (money, _) = conversions(day_event(hour, arrives))

    assert binds_at(day_event(hour, arrives), POLICY) == arrives
    assert money.occurred_at == min(arrives, datetime(2026, 3, 10, 11, tzinfo=UTC))


def test_the_day_ends_where_clocks_change_at_midnight_too() -> None:
    """Beirut's clocks go from 00:00 to 01:00 on 29 March 2026: the 28th ends at 22:00 UTC."""
    beirut = msgspec.structs.replace(APPS["acme-ng"], timezone="Asia/Beirut")
    policy = msgspec.structs.replace(POLICY, apps={"acme-ng": beirut})
    one = loan(0, time_precision="day")
    one = msgspec.structs.replace(
        one,
        occurred_at=datetime(2026, 3, 28, 12, tzinfo=UTC),
        received_at=datetime(2026, 4, 2, tzinfo=UTC),
    )

    assert binds_at(one, policy) == datetime(2026, 3, 28, 22, tzinfo=UTC) - timedelta(microseconds=1)


def test_every_built_in_conversion_is_made_by_some_event() -> None:
    found = names(
        REGISTERED,
        applied("A1"),
        granted("G1"),
        loan(0, "L1", **due(date(2027, 1, 1))),
        loan(1, "L2"),
        repaid("P1", 5, outstanding=Decimal(0)),
        event("defaulted", 9, loan_id="L2"),
    )

    assert sorted(set(found)) == sorted(BUILT_IN)
