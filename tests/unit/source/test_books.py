"""The lender's ledger out of a database: SQLite here, and the same queries elsewhere."""

import sqlite3
from datetime import date
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lendsignal.clock import from_us
from lendsignal.errors import InputError, PullError
from lendsignal.source.books import books

LAGOS = ZoneInfo("Africa/Lagos")


@pytest.fixture
def url(tmp_path: Path) -> str:
    db = sqlite3.connect(tmp_path / "loans.db")
    db.execute("create table loan (no text, paid text, sum numeric, cur text)")
    rows = [
        ("L1", "2026-03-10 09:30:00", "25000.50", "NGN"),
        ("L2", "2026-03-10T23:30:00+00:00", "700", "NGN"),
        ("L3", "2026-03-12", "1", "NGN"),
    ]
    db.executemany("insert into loan values (?, ?, ?, ?)", rows)
    db.commit()
    db.close()
    return f"sqlite:///{tmp_path / 'loans.db'}"


QUERY = "select no as loan_id, paid as paid_out_at, sum as amount, cur as currency from loan order by no;"


def test_a_row_of_the_query_is_a_loan_of_the_ledger(url: str) -> None:
    one, two, three = books(url, QUERY, zone=LAGOS)

    # 09:30 in Lagos is 08:30 UTC; 23:30 UTC is the next day there.
    assert (one.loan_id, one.day, one.amount, one.currency) == (
        "L1",
        date(2026, 3, 10),
        Decimal("25000.5"),
        "NGN",
    )
    assert one.at_us is not None
    assert f"{from_us(one.at_us):%H:%M}" == "08:30"
    assert (two.day, three.day, three.at_us) == (date(2026, 3, 11), date(2026, 3, 12), None)


def test_columns_are_named_as_for_a_file(url: str) -> None:
    columns = {"loan_id": "no", "paid_out_at": "paid", "amount": "sum"}

    assert len(books(url, "select * from loan", columns=columns, currency="NGN", zone=LAGOS)) == 3


def test_a_column_that_is_missing_is_named(url: str) -> None:
    with pytest.raises(InputError, match="loan_id: has no column 'loan_id'"):
        books(url, "select * from loan")


def test_nothing_is_written(url: str) -> None:
    with pytest.raises(PullError):
        books(url, "delete from loan returning no as loan_id")

    assert len(books(url, QUERY, zone=LAGOS)) == 3


def test_a_query_that_is_none_is_told_without_its_words(url: str) -> None:
    with pytest.raises(PullError) as refused:
        books(url, "select secret_column from loan")

    assert "secret_column" not in str(refused.value)


def test_a_password_in_the_url_is_refused_and_not_told() -> None:
    with pytest.raises(InputError) as refused:
        books("postgresql://reader:hunter2@books.internal/loans", QUERY)

    assert "hunter2" not in str(refused.value)
