"""Another sender's record against ours: what matches what, what differs, what that means."""

from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.acme import event, loan, login, moment, phone, source, us
from tests.unit.report.kept import Fate, Kept

from lendsignal.log import open_deliveries
from lendsignal.model import Skip, SkipReason
from lendsignal.plan import PolicySource, RouteSettings
from lendsignal.report.compare import Comparison, Difference, Ledger, Sent, compare, ours_of

NAMES = {"ev_ln": ("disbursement",), "ev_p": ("repayment",), "disbursement": ("disbursement",)}


def policy(**fields: Any) -> PolicySource:
    route = {"to": "appsflyer-ng", "send": {"disbursement": "ev_ln", "repayment": "ev_p"}, "mode": "shadow"}
    value = {"disbursement": "principal"}
    return replace(source(), routes=(RouteSettings(**{**route, "value": value, **fields}),))


SWITCHED = policy(live_from={"disbursement": moment(60)})
"""Disbursements are ours from the 60th minute on."""


def kept(path: Path, rules: PolicySource | None = None) -> Kept:
    """Ten loans of ten users in minutes 10, 20, … 100, each on a phone of his own."""
    made = Kept(path, rules or policy())
    for number in range(1, 11):
        user = f"u{number}"
        made.tell(
            login(number, f"p{number}", user_id=user, event_id=f"in-{user}"),
            loan(number * 10, f"L{number}", user_id=user),
        )
    return made


def ledger_of(made: Kept, render: Any = None) -> Ledger:
    made.send(lambda name, record, entry: Fate("accepted", "confirmed"))
    with closing(open_deliveries(made.folder.deliveries, read_only=True)) as store:
        return ours_of(made.log, store, "appsflyer-ng", render)


def row(number: int, minutes: float | None = None, **fields: Any) -> Sent:
    """What the other sender has of the loan of that number, as we would have sent it."""
    known = {
        "at_us": us(number * 10 if minutes is None else minutes),
        "event": "ev_ln",
        "loan_id": f"L{number}",
        "install": f"af-p{number}",
        "amount": Decimal("25000"),
        "currency": "NGN",
        "row": number,
    }
    return Sent(**{**known, **fields})


ALL = [row(number) for number in range(1, 11)]
WHOLE: dict[str, Any] = {"since_us": us(0), "until_us": us(120)}


def compared(
    path: Path, theirs: Sequence[Sent], rules: PolicySource | None = None, **said: Any
) -> Comparison:
    return compare("appsflyer-ng", ledger_of(kept(path, rules)), theirs, NAMES, **{**WHOLE, **said})


def counts(found: Comparison, conversion: str = "disbursement") -> dict[str, Any]:
    """What is not 0 of a conversion, its share aside."""
    (record,) = [one for one in found.conversions.records() if one["conversion"] == conversion]
    return {name: n for name, n in record.items() if n and name not in ("conversion", "same_share")}


def examples(found: Comparison) -> list[tuple[Any, ...]]:
    return [
        (one["difference"], one["event_id"], one["loan_id"], one["row"]) for one in found.examples.records()
    ]


def test_two_senders_that_do_the_same_agree(tmp_path: Path) -> None:
    found = compared(tmp_path, ALL)

    assert found.agreed
    assert counts(found) == {"ours": 10, "theirs": 10, "same": 10}
    assert found.examples.rows == ()


def test_what_only_one_of_them_has_is_missing_at_the_other(tmp_path: Path) -> None:
    found = compared(tmp_path, [*ALL[1:], row(99, 55), row(98, 56, loan_id="")])

    assert not found.agreed
    assert counts(found) == {"ours": 10, "theirs": 11, "same": 9, "missing_there": 1, "missing_here": 2}
    assert examples(found) == [
        ("missing_here", None, "L99", 99),
        ("missing_here", None, None, 98),
        ("missing_there", "disbursed-L1", "L1", None),
    ]
    assert {one["reason"]: one["events"] for one in found.reasons.records()} == {
        "no_event_of_the_loan": 1,
        "no_such_event": 1,
    }


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"install": "af-another"}, "other_device"),
        ({"amount": Decimal("1500")}, "other_value"),
        ({"currency": "PHP"}, "other_value"),
        ({"at_us": us(50) - 61_000_000}, "earlier"),
        ({"at_us": us(50) + 61_000_000}, "later"),
    ],
)
def test_one_event_told_differently_is_named_by_what_differs(
    tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    found = compared(tmp_path, [*ALL[:4], row(5, **changes), *ALL[5:]])

    assert counts(found) == {"ours": 10, "theirs": 10, "same": 9, difference: 1}
    assert examples(found) == [(difference, "disbursed-L5", "L5", 5)]
    assert compared(
        tmp_path / "again",
        [row(5, **changes)],
        since_us=us(50),
        until_us=us(51),
        accepted=[Difference(difference)],
    ).agreed


def test_what_is_not_told_is_no_difference(tmp_path: Path) -> None:
    quiet = [row(n, install="", amount=None, currency="") for n in range(1, 11)]

    assert compared(tmp_path, quiet).agreed


def test_a_device_id_may_stand_for_the_installation_in_whatever_case(tmp_path: Path) -> None:
    assert compared(tmp_path, [*ALL[:9], row(10, install="GAID-P10")]).agreed


def test_the_first_installation_is_told_apart_from_any_other_device(tmp_path: Path) -> None:
    made = Kept(tmp_path, policy()).tell(login(0, "old"), login(5, "new"), loan(10))

    found = compare("appsflyer-ng", ledger_of(made), [row(1, install="af-old")], NAMES, **WHOLE)

    assert counts(found) == {"ours": 1, "theirs": 1, "other_device": 1, "first_install": 1}


def test_an_event_is_known_by_its_id_its_loan_its_installation_or_its_user_in_this_order(
    tmp_path: Path,
) -> None:
    ledger = ledger_of(kept(tmp_path))
    second = next(one.id for one in ledger.ours if one.loan_id == "L2")
    theirs = [
        row(2, conversion_id=second, loan_id="", install="", event="whatever"),
        row(3, 77, install=""),
        row(4, 40.5, loan_id=""),
        row(5, loan_id="", install="af-lost", user_id="u5"),
        row(6, 61.5, loan_id=""),
    ]

    found = compare("appsflyer-ng", ledger, theirs, NAMES, since_us=us(15), until_us=us(65))

    assert counts(found) == {
        "ours": 5,
        "theirs": 5,
        "same": 2,
        "later": 1,
        "other_device": 1,
        "missing_here": 1,
        "missing_there": 1,
    }
    assert examples(found) == [
        ("later", "disbursed-L3", "L3", 3),
        ("missing_here", None, None, 6),
        ("missing_there", "disbursed-L6", "L6", None),
        ("other_device", "disbursed-L5", "L5", 5),
    ]


def test_repayments_of_one_loan_are_told_apart_by_their_moments(tmp_path: Path) -> None:
    paid = [event("repaid", at, loan_id="L1", payment_id=f"P{at}", amount=Decimal(at)) for at in (20, 30)]
    made = Kept(tmp_path, policy()).tell(login(0, "a"), loan(10), *paid)
    theirs = [Sent(at_us=us(at), event="ev_p", loan_id="L1") for at in (30, 20)]

    found = compare("appsflyer-ng", ledger_of(made), theirs, NAMES, **WHOLE)

    assert counts(found, "repayment") == {"ours": 2, "theirs": 2, "same": 2}


def test_a_row_too_many_is_a_double_of_theirs(tmp_path: Path) -> None:
    found = compared(tmp_path, [*ALL, row(7, row=77)])

    assert counts(found) == {"ours": 10, "theirs": 10, "same": 10, "twice_there": 1}
    assert examples(found) == [("twice_there", "disbursed-L7", "L7", 77)]


def test_what_is_not_to_be_sent_here_says_why(tmp_path: Path) -> None:
    made = Kept(tmp_path, policy()).tell(
        login(0, "t", user_id="tester", event_id="in-tester"),
        loan(10, "L1", test=True, user_id="tester"),
        login(1, "a"),
        loan(20, "L2"),
    )

    def render(*_: Any) -> Skip:
        return Skip(SkipReason.NO_DEVICE_ID)

    found = compare("appsflyer-ng", ledger_of(made, render), [row(1), row(2)], NAMES, **WHOLE)

    assert counts(found) == {"theirs": 2, "missing_here": 2}
    assert {one["reason"] for one in found.reasons.records()} == {"test_user", "no_device_id"}


def test_a_login_that_came_after_the_delivery_would_have_left_moves_nothing(tmp_path: Path) -> None:
    """The settle time is two seconds, a fiftieth of a minute is 1.2 s."""
    in_time, too_late = (
        Kept(tmp_path / str(late), policy()).tell(
            login(0, "old"), loan(10), login(9, phone("new"), arrives=10 + late)
        )
        for late in (0.02, 1)
    )

    assert {"af-new"} <= ledger_of(in_time).ours[0].installs
    assert {"af-old"} <= ledger_of(too_late).ours[0].installs


# after the switch


def test_a_hand_over_at_the_minute_leaves_no_gap_and_no_double(tmp_path: Path) -> None:
    found = compared(tmp_path, ALL[:5], SWITCHED)

    assert found.agreed
    assert counts(found) == {"ours": 10, "theirs": 5, "same": 5, "ours_alone": 5}


def test_an_old_sender_that_goes_on_too_long_sends_doubles(tmp_path: Path) -> None:
    found = compared(tmp_path, ALL[:7], SWITCHED)

    assert not found.agreed
    assert counts(found) == {"ours": 10, "theirs": 7, "same": 5, "ours_alone": 3, "sent_by_both": 2}


def test_an_old_sender_that_stops_too_early_leaves_a_gap(tmp_path: Path) -> None:
    found = compared(tmp_path, ALL[:3], SWITCHED)

    assert counts(found) == {"ours": 10, "theirs": 3, "same": 3, "ours_alone": 5, "missing_there": 2}


def test_what_was_ours_to_send_and_died_was_sent_by_nobody(tmp_path: Path) -> None:
    made = kept(tmp_path, SWITCHED)
    made.send(
        lambda name, record, entry: Fate(
            *(("dead", "http_400") if record.conversion.loan_id == "L8" else ("accepted", "confirmed"))
        )
    )
    with closing(open_deliveries(made.folder.deliveries, read_only=True)) as store:
        ledger = ours_of(made.log, store, "appsflyer-ng", None)

    found = compare("appsflyer-ng", ledger, ALL[:5], NAMES, **WHOLE)

    assert counts(found) == {"ours": 10, "theirs": 5, "same": 5, "ours_alone": 4, "sent_by_nobody": 1}
    assert [tuple(one.values()) for one in found.reasons.records()] == [("disbursement", "http_400", 1)]


def test_in_the_platforms_own_record_what_we_sent_is_known_by_its_id(tmp_path: Path) -> None:
    ledger = ledger_of(kept(tmp_path, SWITCHED))
    ids = {one.loan_id: one.id for one in ledger.ours}
    ours = [row(n, loan_id="", conversion_id=ids[f"L{n}"]) for n in range(6, 11)]
    theirs = [row(n, loan_id="") for n in range(1, 6)]

    clean = compare("appsflyer-ng", ledger, [*theirs, *ours], NAMES, ours_among_theirs=True, **WHOLE)
    doubled = compare(
        "appsflyer-ng", ledger, [*theirs, row(9, loan_id=""), *ours], NAMES, ours_among_theirs=True, **WHOLE
    )

    assert clean.agreed
    assert counts(clean) == {"ours": 10, "theirs": 10, "same": 5, "ours_alone": 5}
    assert counts(doubled) == {"ours": 10, "theirs": 11, "same": 5, "ours_alone": 5, "sent_by_both": 1}


# what is judged


def test_only_where_both_records_tell_of_something_is_judged_unless_it_is_said(tmp_path: Path) -> None:
    found = compared(tmp_path, ALL[2:8], since_us=None, until_us=None)

    assert found.agreed
    assert counts(found) == {"ours": 6, "theirs": 6, "same": 6}
    assert "2026-03-10 09:30:00 until 2026-03-10 10:20:00" in found.notes[0]


def test_names_that_no_route_has_and_rows_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    found = compared(tmp_path, [*ALL, row(1, event="app_launch")], unreadable=3)

    assert not found.agreed
    assert "1 rows have a name" in found.notes[1]
    assert "3 rows cannot be read" in found.notes[2]


def test_where_there_is_nothing_nobody_agrees(tmp_path: Path) -> None:
    found = compare("appsflyer-ng", ledger_of(Kept(tmp_path, policy())), [], NAMES)

    assert not found.agreed
    assert found.notes[-1] == "There is nothing to compare."
