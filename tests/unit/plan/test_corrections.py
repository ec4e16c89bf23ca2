"""What a reversal or a higher revision makes wrong of what was told, where a platform lets us say so."""

from decimal import Decimal
from typing import Any

import pytest
from tests.acme import (
    DAY,
    HOUR,
    SEND,
    Told,
    consent_of,
    event,
    expired,
    loan,
    login,
    source,
    target,
    told,
    us,
)

from lendsignal.model import Money
from lendsignal.plan import (
    Corrected,
    Planned,
    Policy,
    ValueSettings,
    Verdict,
    Withdrawn,
    compile_policy,
    delivery_id,
)
from lendsignal.plan.correct import CORRECTABLE_FOR_US
from lendsignal.plan.state import CORRECTABLE

TARGETS = {
    one.name: one
    for one in (
        target("google_ads-ng", "acme-ng", corrects="everything"),
        target("google_data_manager-ng", "acme-ng", corrects="value"),
        target("appsflyer-ng", "acme-ng"),
        target("google_ads-ios", "acme-ios", corrects="everything"),
    )
}


def rules(send: dict[str, str] | None = None, **value: Any) -> Policy:
    return compile_policy(
        source(
            targets=TARGETS, send=send or {"disbursement": "ev_ln"}, value=value or {"disbursement": "fee"}
        )
    )


POLICY = rules()


def corrected(after: Told) -> list[Corrected]:
    return [record for record in after.records.values() if isinstance(record, Corrected)]


def number_of(after: Told, name: str) -> int:
    """The record that planned the conversion of that name."""
    (number,) = [
        n for n, one in after.records.items() if isinstance(one, Planned) and one.conversion.name == name
    ]
    return number


def revised(minutes: float, revision: int = 1, name: str = "L1", **fields: Any) -> Any:
    """The loan as it is told again: it happened when it did, and comes in later."""
    return loan(0, name, arrives=minutes, revision=revision, event_id=f"{name}-{revision}", **fields)


def reversal(minutes: float, kind: str = "disbursement_reversed", name: str = "L1", **fields: Any) -> Any:
    return event(kind, minutes, loan_id=name, **fields)


@pytest.mark.parametrize("kind", ["disbursement_reversed", "loan_cancelled"])
def test_a_reversed_loan_is_taken_back_where_that_can_be_and_is_worth_nothing_where_only_its_value_can(
    kind: str,
) -> None:
    after = told(login(-5, "a"), loan(0), reversal(30, kind), policy=POLICY)

    planned = number_of(after, "disbursement")
    back, zero = corrected(after)
    assert [one.record for one in (back, zero)] == [planned, planned]
    assert back.conversion.id == after.planned("disbursement")[0].conversion.id
    assert (back.conversion.name, zero.conversion.name) == (
        "disbursement_retraction",
        "disbursement_restatement",
    )
    assert [(one.destination, one.name, one.value) for one in back.entries] == [
        ("google_ads-ng", "ev_ln", None)
    ]
    assert [(one.destination, one.value) for one in zero.entries] == [
        ("google_data_manager-ng", Money(Decimal(0), "NGN"))
    ]
    # Entries stand in the order of the routes: Google Ads first, the Data Manager second.
    assert (back.corrects, zero.corrects) == (
        ((delivery_id(planned, 0),),),
        ((delivery_id(planned, 1),),),
    )
    assert (back.reason, back.corrected_us) == (kind, us(30))


def test_what_was_told_without_a_value_cannot_become_nothing() -> None:
    after = told(login(-5, "a"), loan(0, fee=None), reversal(30), policy=POLICY)

    (back,) = corrected(after)
    assert [one.destination for one in back.entries] == ["google_ads-ng"]


def test_a_loan_is_taken_back_once_however_it_is_undone() -> None:
    after = told(
        login(-5, "a"), loan(0), reversal(30), reversal(31, "loan_cancelled"), revised(40, fee=Decimal(9)),
        policy=POLICY,
    )  # fmt: skip

    assert len(corrected(after)) == 2


def test_only_the_payment_that_is_reversed_is_taken_back() -> None:
    paid: dict[str, Any] = {"currency": "NGN", "amount": Decimal(700), "loan_id": "L1"}
    policy = rules({"repayment": "ev_rp"}, repayment="principal")
    after = told(
        login(-5, "a"),
        loan(0),
        event("repaid", 10, payment_id="P1", **paid),
        event("repaid", 20, payment_id="P2", **paid),
        event("repayment_reversed", 30, payment_id="P2", loan_id="L1"),
        policy=policy,
    )

    first, second = after.planned("repayment")
    assert {one.conversion.id for one in corrected(after)} == {second.conversion.id}
    assert first.conversion.id != second.conversion.id


def test_another_loan_stays() -> None:
    after = told(login(-5, "a"), loan(0), loan(1, "L2"), reversal(30, name="L2"), policy=POLICY)

    ((_, second), found) = after.planned("disbursement"), corrected(after)
    assert {one.conversion.id for one in found} == {second.conversion.id}


def test_a_higher_revision_with_another_value_restates_it_at_all_who_let_us() -> None:
    after = told(login(-5, "a"), loan(0), revised(30, fee=Decimal("900")), policy=POLICY)

    (found,) = corrected(after)
    assert found.conversion.name == "disbursement_restatement"
    assert [(one.destination, one.value) for one in found.entries] == [
        ("google_ads-ng", Money(Decimal(900), "NGN")),
        ("google_data_manager-ng", Money(Decimal(900), "NGN")),
    ]
    assert (found.reason, found.corrected_us) == ("disbursed", us(30))
    assert len(after.planned("disbursement")) == 1


def test_a_revision_that_leaves_the_value_as_it_is_corrects_nothing() -> None:
    after = told(login(-5, "a"), loan(0), revised(30, term_days=14), revised(31, 2, fee=None), policy=POLICY)

    assert corrected(after) == []


def test_what_turns_out_to_be_no_gain_is_restated_as_nothing() -> None:
    policy = rules(disbursement=ValueSettings(of="margin", loss_rate=0.05))

    # 1500 − 0.05 × 25000 = 250, and 1500 − 0.05 × 40000 = −500.
    after = told(login(-5, "a"), loan(0), revised(30, amount=Decimal("40000")), policy=policy)

    (first,) = after.planned("disbursement")
    assert first.entries[0].value == Money(Decimal(250), "NGN")
    assert [one.value for one in corrected(after)[0].entries] == [Money(Decimal(0), "NGN")] * 2


def test_what_fires_once_is_restated_too() -> None:
    policy = rules({"first_loan": "ev_fl"}, first_loan="principal")
    after = told(
        login(-5, "a"), loan(0, loan_number=1), revised(30, loan_number=1, amount=Decimal("20000")),
        policy=policy,
    )  # fmt: skip

    assert [one.value for one in corrected(after)[0].entries] == [Money(Decimal(20000), "NGN")] * 2


def test_a_second_revision_corrects_the_first_one_and_waits_for_it() -> None:
    after = told(
        login(-5, "a"),
        loan(0),
        revised(30, fee=Decimal(900)),
        revised(30, 2, fee=Decimal(800)),
        policy=POLICY,
    )

    first, second = corrected(after)
    (numbers,) = [[n for n, one in after.records.items() if isinstance(one, Corrected)]]
    planned = number_of(after, "disbursement")
    assert second.corrects == (
        (delivery_id(planned, 0), delivery_id(numbers[0], 0)),
        (delivery_id(planned, 1), delivery_id(numbers[0], 1)),
    )
    # Both came in within one second: Google takes no two restatements of the same second.
    assert second.corrected_us - first.corrected_us == 1_000_000


def test_a_revision_back_to_the_first_value_is_a_correction_of_the_correction() -> None:
    after = told(
        login(-5, "a"),
        loan(0),
        revised(30, fee=Decimal(900)),
        revised(40, 2, fee=Decimal(1500)),
        policy=POLICY,
    )

    assert [one.entries[0].value for one in corrected(after)] == [
        Money(Decimal(900), "NGN"),
        Money(Decimal(1500), "NGN"),
    ]


def test_a_correction_in_the_moment_of_its_conversion_is_said_to_come_a_second_later() -> None:
    after = told(login(-5, "a"), loan(0), reversal(0), policy=POLICY)

    assert {one.corrected_us for one in corrected(after)} == {us(0) + 1_000_000}


def test_the_deliveries_on_both_phones_are_asked_for_after_a_late_touch_moved_the_loan() -> None:
    after = told(
        login(-60, "a"), loan(0), login(-5, "b", app="acme-ios", arrives=10), reversal(30), policy=POLICY
    )

    planned = number_of(after, "disbursement")
    (rebound,) = [n for n, one in after.records.items() if one in after.rebound()]
    back = next(one for one in corrected(after) if one.conversion.name == "disbursement_retraction")
    assert dict(zip([one.destination for one in back.entries], back.corrects, strict=True)) == {
        "google_ads-ng": (delivery_id(planned, 0),),
        "google_ads-ios": (delivery_id(rebound, 0),),
    }


def test_a_loan_that_was_released_and_undone_later_is_taken_back_and_one_undone_in_the_pen_is_not() -> None:
    released = told(loan(0), login(20, "a"), reversal(30), policy=POLICY)
    in_the_pen = told(loan(0), reversal(5), login(20, "a"), policy=POLICY)

    assert corrected(released)[0].conversion.name == "disbursement_retraction"
    assert corrected(in_the_pen) == []
    assert in_the_pen.state.correctable == ()


def test_what_was_skipped_or_goes_only_where_nothing_can_be_changed_is_not_remembered() -> None:
    forbidden = told(login(-5, "a"), consent_of(-1, False), loan(0), policy=POLICY)
    unrouted = told(
        login(-5, "a"),
        loan(0),
        policy=compile_policy(source(targets={"appsflyer-ng": TARGETS["appsflyer-ng"]}, send=SEND)),
    )
    unheard = told(loan(0), policy=POLICY)
    over = expired(unheard.timers)

    assert forbidden.state.correctable == ()
    assert unrouted.state.correctable == ()
    assert unheard.tell(*over).state.correctable == ()


def test_an_ended_consent_takes_nothing_back() -> None:
    after = told(login(-5, "a"), loan(0), consent_of(10, False), policy=POLICY)

    assert [type(one) for one in after.records.values()][-1] is Withdrawn
    assert corrected(after) == []


def test_imported_history_and_test_users_correct_nothing() -> None:
    history = told(login(-5, "a"), loan(0), reversal(30, history=True), policy=POLICY)
    tester = told(login(-5, "a"), loan(0), revised(30, fee=Decimal(9), test=True), policy=POLICY)

    assert corrected(history) == corrected(tester) == []


def test_a_loan_is_remembered_longer_than_google_takes_corrections_and_no_longer_than_needed() -> None:
    weeks = told(login(-5, "a"), loan(0), reversal(53 * DAY), policy=POLICY)
    later = told(login(-5, "a"), loan(0), loan(57 * DAY, "L2"), policy=POLICY)

    assert len(corrected(weeks)) == 2
    assert CORRECTABLE_FOR_US > 54 * DAY * 60 * 1_000_000
    assert [one.conversion.loan_id for one in later.state.correctable] == ["L2"]


def test_a_user_with_many_loans_keeps_the_latest() -> None:
    loans = [loan(n, f"L{n}") for n in range(CORRECTABLE + 2)]

    after = told(login(-5, "a"), *loans, policy=POLICY)

    assert [one.conversion.loan_id for one in after.state.correctable] == [
        f"L{n}" for n in range(2, CORRECTABLE + 2)
    ]


def test_a_repeated_reversal_is_a_duplicate_and_corrects_nothing_more() -> None:
    after = told(login(-5, "a"), loan(0), reversal(30), reversal(30), policy=POLICY)

    assert after.verdicts[-1] is Verdict.DUPLICATE
    assert len(corrected(after)) == 2


def test_the_name_stays_the_one_that_was_told_though_the_route_says_another_by_now() -> None:
    after = told(login(-5, "a"), loan(0), policy=POLICY)
    after.policy = rules({"disbursement": "ev_other"})

    after.tell(revised(HOUR, fee=Decimal(900)), reversal(2 * HOUR))

    assert {entry.name for one in corrected(after) for entry in one.entries} == {"ev_ln"}
