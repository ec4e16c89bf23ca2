"""How far users get. Expected numbers are counted by hand from the events of each test."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.acme import DAY, event, loan, login, phone, source
from tests.unit.report.kept import Kept

from lendsignal.report import Funnel, funnel
from lendsignal.report.slices import Rule, Slice

NGN: dict[str, Any] = {"currency": "NGN"}


def reported(kept: Kept, by: str | None = None, binding: Rule = "last_login") -> Funnel:
    with kept.tables() as tables:
        return funnel(tables, Slice(by=() if by is None else (by,), binding=binding))


def counts(report: Funnel, loans: str, part: str | None = None) -> dict[Any, tuple[Any, Any]]:
    """Users and events by step, for one kind of loan."""
    by = report.steps.columns[0].name
    return {
        one["step"]: (one["users"], one["events"])
        for one in report.steps.records()
        if one["loans"] == loans and (part is None or one[by] == part)
    }


def rates(report: Funnel, loans: str) -> dict[Any, Any]:
    return {one["step"]: one["rate"] for one in report.steps.records() if one["loans"] == loans}


def lender(path: Path) -> Kept:
    """`a` takes two loans and repays both, `b` one and loses it, `c` is granted, `d` only registers."""
    kept = Kept(path)
    for user in "abcd":
        kept.tell(
            event("registered", 0, user_id=user, event_id=f"r{user}", app="acme-ng", device=phone(user))
        )
    for user, minutes, number in (("a", 10, 1), ("a", 3 * DAY, 2), ("b", 20, 1), ("c", 30, 1)):
        name = f"{user}{number}"
        known: dict[str, Any] = {"user_id": user, "loan_number": number, "loan_id": name, **NGN}
        kept.tell(
            event("applied", minutes, application_id=name, event_id=f"ap{name}", **known),
            event("credit_granted", minutes + 1, grant_id=name, event_id=f"cg{name}", **known),
        )
        if user != "c":
            amount = Decimal("1000.10") * number
            kept.tell(event("disbursed", minutes + 2, amount=amount, event_id=f"di{name}", **known))
    for number, part in ((1, 1), (1, 2), (2, 1)):
        name = f"a{number}"
        kept.tell(
            event(
                "repaid",
                DAY * (3 * number - 1) + part,
                payment_id=f"{name}-{part}",
                loan_id=name,
                user_id="a",
                amount=Decimal("550.05"),
                event_id=f"re{name}{part}",
                **NGN,
            )
        )
    return kept.tell(
        event("overdue", 40 * DAY, loan_id="b1", dpd=59, user_id="b"),
        event("overdue", 41 * DAY, loan_id="b1", dpd=60, user_id="b"),
        event("defaulted", 42 * DAY, loan_id="b1", user_id="b"),
    )


def test_users_and_events_are_counted_at_every_step(tmp_path: Path) -> None:
    assert counts(reported(lender(tmp_path)), "all") == {
        "registered": (4, 4),
        "applied": (3, 4),
        "granted": (3, 4),
        "disbursed": (2, 3),
        "repaid": (1, 3),
        "lost": (1, 1),  # overdue by 60 days and then defaulted: one loan, lost once
    }


def test_first_and_repeat_loans_are_counted_apart(tmp_path: Path) -> None:
    report = reported(lender(tmp_path))

    assert counts(report, "first") == {
        "registered": (4, 4),
        "applied": (3, 3),
        "granted": (3, 3),
        "disbursed": (2, 2),
        "repaid": (1, 2),  # repayments know their loan's number by the loan
        "lost": (1, 1),
    }
    assert counts(report, "repeat") == {
        "applied": (1, 1),
        "granted": (1, 1),
        "disbursed": (1, 1),
        "repaid": (1, 1),
        "lost": (0, 0),
    }
    assert counts(report, "unknown") == {}


def test_rates_are_of_the_users_who_had_the_step_before(tmp_path: Path) -> None:
    assert rates(reported(lender(tmp_path)), "all") == {
        "registered": None,
        "applied": 3 / 4,
        "granted": 1,
        "disbursed": 2 / 3,
        "repaid": 1 / 2,
        "lost": 1 / 2,
    }


def test_a_rate_never_exceeds_one_where_the_step_before_was_not_seen(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(event("applied", 0, application_id="A1"), loan(1), loan(2, user_id="u2"))
    report = reported(kept)

    assert rates(report, "all")["disbursed"] is None
    assert next(one["remark"] for one in report.steps.records() if one["step"] == "disbursed") == "empty"


def test_few_cases_are_called_thin_and_none_empty(tmp_path: Path) -> None:
    remarks = {
        (one["loans"], one["step"]): one["remark"] for one in reported(lender(tmp_path)).steps.records()
    }

    assert remarks["all", "applied"] == "thin"
    assert remarks["all", "registered"] == ""


def test_without_a_loan_number_the_order_tells_for_users_seen_from_registration_on(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        event("registered", 0),
        event("applied", 0.5, application_id="A1"),
        loan(1, "L1"),
        event("applied", 2, application_id="A2"),
        loan(3, "L2"),
        event("repaid", 4, payment_id="P1", loan_id="L1", amount=Decimal(1), **NGN),
        loan(5, "X1", user_id="stranger"),
    )
    report = reported(kept)

    assert counts(report, "first")["applied"] == (1, 1)
    assert counts(report, "first")["disbursed"] == (1, 1)
    assert counts(report, "first")["repaid"] == (1, 1)
    assert counts(report, "repeat")["applied"] == (1, 1)
    assert counts(report, "repeat")["disbursed"] == (1, 1)
    assert counts(report, "unknown")["disbursed"] == (1, 1)


def test_the_policy_says_from_when_on_a_loan_is_lost(tmp_path: Path) -> None:
    late = event("overdue", 9, loan_id="L1", dpd=30)
    soon = Kept(tmp_path / "soon", source(default_dpd=30)).tell(late)
    later = Kept(tmp_path / "later", source(default_dpd=31)).tell(late)

    assert counts(reported(soon), "all")["lost"] == (1, 1)
    assert counts(reported(later), "all")["lost"] == (0, 0)


def test_money_is_added_up_exactly_and_by_currency(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        *(loan(n, f"L{n}", loan_number=1, amount=Decimal("0.10"), fee=Decimal("0.01")) for n in range(3)),
        loan(9, "P1", loan_number=1, amount=Decimal("7"), fee=Decimal("0.07"), currency="PHP"),
    )
    found = [tuple(one.values()) for one in reported(kept).money.records()]

    assert found == [
        ("first", "disbursed", "NGN", 3, Decimal("0.30"), Decimal("0.03")),
        ("first", "disbursed", "PHP", 1, Decimal("7.00"), Decimal("0.07")),
    ]


def test_an_event_is_counted_where_its_own_installation_came_from(tmp_path: Path) -> None:
    kept = (
        Kept(tmp_path)
        .tell(login(0, "one"), loan(1, "L1", loan_number=1), login(2, "two"), loan(3, "L2", loan_number=2))
        .attribute(("acme-ng", "af-one", "organic", ""), ("acme-ng", "af-two", "kwai_int", "kw_2"))
    )

    by_last = reported(kept, "media_source")
    by_first = reported(kept, "media_source", "first_install")
    assert counts(by_last, "all", "organic")["disbursed"] == (1, 1)
    assert counts(by_last, "all", "kwai_int")["disbursed"] == (1, 1)
    assert counts(by_first, "all", "organic")["disbursed"] == (1, 2)
    assert counts(by_first, "all", "kwai_int")["disbursed"] == (0, 0)


@pytest.mark.parametrize(
    ("by", "parts"),
    [
        ("media_source", {"kwai_int", "(not attributed)", "(no touch)"}),
        ("campaign", {"kwai_int / kw_2", "(not attributed)", "(no touch)"}),
        ("app", {"acme-ng", "acme-ios"}),
    ],
)
def test_what_is_not_known_of_an_installation_is_said(tmp_path: Path, by: str, parts: set[str]) -> None:
    kept = (
        Kept(tmp_path)
        .tell(
            login(0, "two"),
            loan(1, "L1"),
            login(0, "stranger", user_id="u2", app="acme-ios"),
            loan(1, "L2", user_id="u2"),
            loan(1, "L3", user_id="u3"),
        )
        .attribute(("acme-ng", "af-two", "kwai_int", "kw_2"))
    )

    assert {one[by] for one in reported(kept, by).steps.records()} == parts


def test_what_is_told_for_analytics_counts_once_with_the_rest_and_is_said(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        loan(1, "L1"),
        loan(1, "L1", event_id="seen", purpose="analytics", amount=Decimal(7)),
        loan(2, "L2", purpose="analytics", amount=Decimal(40000)),
        event("quiz_done", 3, purpose="analytics"),
    )
    report = reported(kept)

    assert counts(report, "all")["disbursed"] == (1, 2)
    paid_out: list[Any] = [row["amount"] for row in report.money.records()]
    assert sum(paid_out) == 65000
    assert report.notes == (
        "2 events told for analytics alone counted beside those told for optimisation;"
        " they make no conversion and are never sent.",
    )


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        loan(1, test=True),
        loan(1, "L2", user_id="u2"),
        loan(1, "L2", user_id="u2", event_id="again"),
        loan(1, "L2", user_id="u2", event_id="better", revision=1),
        event("disbursement_reversed", 4, loan_id="L2", user_id="u2"),
    )
    report = reported(kept)

    assert report.notes == (
        "1 test users left out.",
        "1 events with the verdict duplicate not counted.",
        "1 events superseded by a higher revision not counted.",
        "1 loans and payments that were reversed not counted.",
    )
    assert counts(report, "all")["disbursed"] == (0, 0)


def test_in_a_history_that_the_lender_calls_whole_no_loan_is_unknown(tmp_path: Path) -> None:
    """Nobody saw the user register, and the loan has no number."""
    known = source()
    whole = msgspec.structs.replace(known, derive=msgspec.structs.replace(known.derive, history="whole"))
    told = (login(0, "a"), loan(1))

    in_part, in_full = (
        counts(reported(Kept(tmp_path / name, policy).tell(*told)), kind).get("disbursed")
        for name, policy, kind in (("one", known, "unknown"), ("two", whole, "first"))
    )

    assert in_part == in_full == (1, 1)
