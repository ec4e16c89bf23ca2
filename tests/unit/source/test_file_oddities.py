"""What is odd about one user's loans, on made-up lives."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from lendsignal.model import Event
from lendsignal.source.files.oddity import MEANING, REFUSED, Oddity, Place, odd_of_user

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def event(kind: str, hours: float, **more: Any) -> Event:
    at = T0 + timedelta(hours=hours)
    return Event(
        type=kind,
        brand="acme",
        user_id="u1",
        event_id=f"{kind}-{hours}",
        occurred_at=at,
        received_at=at,
        **more,
    )


def loan(name: str, number: int | None, opened: float, closed: float | None) -> list[Event]:
    """A loan applied for and closed so many hours after T0."""
    found = [
        event("applied", opened, application_id=name, loan_id=name, loan_number=number),
        event("disbursed", opened + 1, loan_id=name, loan_number=number),
    ]
    if closed is not None:
        found.append(event("repaid", closed, payment_id=f"{name}-p", loan_id=name, closes_loan=True))
    return found


def odd(*events: Event) -> list[Oddity]:
    ordered = sorted(events, key=lambda one: one.occurred_at)
    return list(odd_of_user([(Place(0, n, 0), one) for n, one in enumerate(ordered, 1)], ["a.csv"]))


def said(found: list[Oddity]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.about, one.rule) for one in found]


def test_one_loan_after_the_other_is_nothing_odd() -> None:
    assert (
        odd(event("registered", -1), *loan("A", 1, 0, 24), *loan("B", 2, 24, 48), *loan("C", 3, 50, None))
        == []
    )


def test_a_loan_applied_for_before_the_last_one_was_closed_overlaps_and_is_named() -> None:
    found = odd(*loan("A", 1, 0, 48), *loan("B", 2, 24, 30), *loan("C", 3, 36, 72))

    assert said(found) == [
        ("overlapping_loan", "B", "applied for 1.00 days before loan A was closed"),
        ("overlapping_loan", "C", "applied for 0.50 days before loan A was closed"),
    ]


def test_a_loan_still_open_overlaps_nobody_for_its_end_is_not_known() -> None:
    assert odd(*loan("A", 1, 0, None), *loan("B", 2, 24, 48)) == []


def test_holes_in_the_loan_numbers_are_named_after_the_loan_behind_them() -> None:
    found = odd(*loan("A", 2, 0, 1.5), *loan("B", 3, 2, 4), *loan("C", 5, 5, 8), *loan("D", 9, 9, 12))

    assert said(found) == [
        ("not_from_first_loan", "u1", "starts at loan number 2"),
        ("missing_loan_number", "C", "number 4 missing before it"),
        ("missing_loan_number", "D", "numbers 6 to 8 missing before it"),
    ]


def test_a_loan_number_given_twice_is_named() -> None:
    found = odd(*loan("A", 1, 0, 1.5), *loan("B", 1, 2, 4))

    assert said(found) == [("repeated_loan_number", "B", "is number 1 like another")]


def test_loans_without_numbers_are_not_numbered_by_us() -> None:
    assert odd(*loan("A", None, 0, 1.5), *loan("B", None, 2, 4)) == []


def test_steps_against_the_order_of_a_loans_life_are_named() -> None:
    found = odd(event("registered", 5), *loan("A", 1, 6, 6.5))

    # Disbursed at 7, repaid at 6.5; registered at 5 is in order.
    assert said(found) == [("out_of_order", "A", "repaid comes before disbursed")]
    assert said(odd(event("registered", 5), *loan("A", 1, 1, 3))) == [
        ("out_of_order", "A", "applied comes before registered")
    ]


def test_a_step_known_by_its_day_accuses_nobody() -> None:
    by_day = event("repaid", 0.5, payment_id="p", loan_id="A", time_precision="day")

    assert odd(*loan("A", 1, 0, 24), by_day) == []


def test_a_key_that_comes_again_is_a_duplicate_or_a_conflict() -> None:
    once = event("repaid", 1, payment_id="p1", loan_id="A", amount=Decimal(5), currency="PHP")
    same = event("repaid", 1, payment_id="p1", loan_id="A", amount=Decimal(5), currency="PHP")
    other = event("repaid", 2, payment_id="p1", loan_id="A", amount=Decimal(6), currency="PHP")

    found = odd(once, same, other)

    assert [(one.kind, one.about, one.file, one.row) for one in found] == [
        ("duplicate_key", "p1", "a.csv", 2),
        ("conflicting_key", "p1", "a.csv", 3),
    ]


def test_a_higher_revision_of_a_key_is_no_repeat() -> None:
    first = event("disbursed", 1, loan_id="A")
    corrected = event("disbursed", 1, loan_id="A", revision=1, amount=Decimal(5), currency="PHP")

    assert odd(first, corrected) == []


def test_every_kind_has_a_meaning_and_refusals_are_kinds() -> None:
    assert set(MEANING) >= REFUSED
    assert "quarantine" in " ".join(MEANING[kind] for kind in REFUSED)


def test_an_oddity_prints_its_place_and_its_rule() -> None:
    oddity = Oddity(kind="unreadable_cell", rule="must be a date", file="a.csv", row=3, line=4, field="due")

    assert str(oddity) == "a.csv row 3 (line 4): due must be a date"
