"""What each user of a holdout did in the ledger."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from math import log1p
from pathlib import Path

import pytest
from tests.acme import DAY, event, loan, login, moment
from tests.unit.report.kept import Kept

from lendsignal.model import Event
from lendsignal.report import Tables
from lendsignal.report.holdout_ledger import entered
from lendsignal.report.holdout_rows import Entered

WEEK = timedelta(days=7)


def of(user: str, *events: Event) -> list[Event]:
    from msgspec.structs import replace

    return [replace(one, user_id=user, event_id=f"{user} {one.event_id}") for one in events]


LIFE = [
    # Borrowed twice before day 10, once late; again on day 12 and 20.
    *of("a", event("registered", 0), loan(1 * DAY, "a1"), event("overdue", 3 * DAY, loan_id="a1", dpd=5)),
    *of("a", loan(8 * DAY, "a2"), loan(12 * DAY, "a3", fee=Decimal(900)), loan(20 * DAY, "a4")),
    # Borrowed once, and lost it within the week.
    *of("b", event("registered", 5), loan(2 * DAY, "b1")),
    *of("b", event("defaulted", 14 * DAY, loan_id="b1", outstanding=Decimal(7_000))),
    # Borrows for the first time on day 11, and again on day 17.
    *of("c", event("registered", 6), loan(11 * DAY, "c1"), loan(17 * DAY, "c2", fee=Decimal(800))),
    # Never borrows; nor does the test user count.
    *of("d", event("registered", 7)),
    *of("t", loan(3 * DAY, "t1", test=True), loan(11 * DAY, "t2", test=True)),
    # Taken back: no loan at all.
    *of("e", loan(4 * DAY, "e1"), event("disbursement_reversed", 5 * DAY, loan_id="e1")),
    *of("z", login(40 * DAY, "z")),
]


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    kept = Kept(tmp_path, now=40 * DAY)
    kept.tell(*sorted(LIFE, key=lambda one: one.received_at))
    with kept.tables() as found:
        yield found


def rows(tables: Tables, **asked: object) -> Entered:
    return entered(tables, moment(10 * DAY), horizon=WEEK, **asked)  # type: ignore[arg-type]


def test_who_borrowed_before_enters_at_the_beginning_and_who_borrows_later_then(tables: Tables) -> None:
    found = rows(tables)

    assert found.users == ("acme:a", "acme:b", "acme:c")
    begin = round(moment(10 * DAY).timestamp() * 1e6)
    week, day = 7 * 86_400_000_000, 86_400_000_000
    assert (found.known_us - begin).tolist() == [week, week, week + day]


def test_what_happens_within_the_horizon_counts_and_nothing_else(tables: Tables) -> None:
    outcomes = rows(tables).outcomes

    assert outcomes["reloan"].tolist() == [1, 0, 1]
    assert outcomes["loans"].tolist() == [1, 0, 1]
    assert outcomes["loss"].tolist() == [0, 7_000, 0]
    assert outcomes["margin"].tolist() == [900, -7_000, 800]


def test_facts_are_those_from_before_entering(tables: Tables) -> None:
    before, since, known, late = rows(tables).facts[0]

    assert before == pytest.approx(log1p(2))
    assert since == pytest.approx(log1p(2))
    assert known == pytest.approx(log1p(10))
    assert late == 0.5


def test_who_became_eligible_after_the_end_is_not_in_it(tables: Tables) -> None:
    assert rows(tables, end=moment(11 * DAY)).users == ("acme:a", "acme:b")


def test_everybody_who_registered_may_be_asked_about(tables: Tables) -> None:
    found = rows(tables, eligible="registered")

    assert found.users == ("acme:a", "acme:b", "acme:c", "acme:d")
    # c had registered before: both its loans are after entering, the second at the last moment.
    assert found.outcomes["loans"].tolist() == [1, 0, 2, 0]


def test_a_user_is_mature_once_the_horizon_is_over(tables: Tables) -> None:
    young = entered(tables, moment(10 * DAY), horizon=timedelta(days=29) + timedelta(hours=12))

    assert young.is_mature.tolist() == [True, True, False]


def test_money_is_in_the_currency_of_most_loans(tables: Tables) -> None:
    assert rows(tables).currency == "NGN"
