"""How a table is written. Every cell has a value of its own, so that a swap shows."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from lendsignal.report import Column, Report, Table

TABLE = Table(
    title="Sums",
    columns=(
        Column("source"),
        Column("loans"),
        Column("share", "share"),
        Column("amount", "money"),
        Column("delay", "s"),
        Column("done"),
    ),
    rows=(
        ('a "b", c', 1234, 0.125, Decimal("1234567.80"), 2.5, True),
        ("d", 5, None, Decimal("3"), None, False),
    ),
    note="One line.",
)


class Sums(Report, frozen=True, kw_only=True):
    balanced: bool
    sums: Table


REPORT = Sums(
    title="Two sums", as_of=datetime(2026, 3, 10, 9, tzinfo=UTC), balanced=True, sums=TABLE, notes=("Half.",)
)


def test_text_lines_up_with_units_and_separators() -> None:
    assert TABLE.to_text().splitlines() == [
        "Sums",
        "  source    loans   share        amount  delay (s)  done",
        '  a "b", c  1,234  12.50%  1,234,567.80       2.50   yes',
        "  d             5       –             3          –    no",
        "  One line.",
    ]


def test_csv_keeps_numbers_plain_and_money_exact() -> None:
    assert TABLE.to_csv().splitlines() == [
        "source,loans,share,amount,delay,done",
        '"a ""b"", c",1234,0.125,1234567.8,2.5,True',
        "d,5,,3,,False",
    ]


def test_json_names_units_and_writes_money_as_text() -> None:
    told = msgspec.json.decode(REPORT.to_json())

    assert told["as_of"] == "2026-03-10T09:00:00+00:00"
    assert told["balanced"] is True
    assert told["notes"] == ["Half."]
    assert told["tables"]["sums"]["columns"][3] == {"name": "amount", "unit": "money"}
    assert told["tables"]["sums"]["rows"][0] == {
        "source": 'a "b", c',
        "loans": 1234,
        "share": 0.125,
        "amount": "1234567.8",
        "delay": 2.5,
        "done": True,
    }


def test_a_report_says_of_when_it_is() -> None:
    assert REPORT.to_text().startswith("Two sums, as of 2026-03-10 09:00:00 UTC\n=====")


def test_an_empty_table_says_so() -> None:
    empty = Table(title="None yet", columns=TABLE.columns, rows=())

    assert empty.to_text() == "None yet\n  nothing yet"
    assert empty.to_csv() == "source,loans,share,amount,delay,done\n"
