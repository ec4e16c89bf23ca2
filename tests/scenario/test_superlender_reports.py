"""What our reports say of a real lender's loans, beside the facts that are published with the data.

Needs the data: a folder `shared` beside the repository, or where LENDSIGNAL_SHARED says.
"""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.unit.report.kept import Kept
from tests.unit.report.world import APPS, ZONE, policy

from lendsignal.report import Tables, delay, read_ledger, reconcile
from lendsignal.report.vintages import vintages
from lendsignal.source.files import inputs_of_files, judged, read_map
from lendsignal.source.files.oddity import Oddity
from lendsignal.source.reading import reader_of

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LENDSIGNAL_SHARED", ROOT.parent / "shared")) / "data" / "superlender"
FILES = [DATA / name for name in ("trainprevloans.csv.gz", "trainperf.csv.gz", "scores.csv.gz")]
LAGOS = ZoneInfo(ZONE)
MAP = ROOT / "examples" / "superlender" / "map.toml"

pytestmark = pytest.mark.skipif(
    not all(path.exists() for path in FILES),
    reason="the SuperLender data is not here: set LENDSIGNAL_SHARED to the folder that has data/",
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    reader = reader_of({"acme-android": APPS["acme-android"]}, timedelta(hours=3))
    found = judged(inputs_of_files(FILES, read_map(MAP)), reader, datetime(2026, 11, 22, tzinfo=UTC))
    kept = Kept(tmp_path_factory.mktemp("superlender"), policy())
    kept.tell(*(item[1] for item in found if not isinstance(item, Oddity)))
    with kept.tables() as loaded:
        yield loaded


def total(rows: list[dict[str, Any]], column: str, **where: str) -> Any:
    return sum(one[column] for one in rows if all(one[name] == value for name, value in where.items()))


def test_lateness_and_principal_are_the_published_ones(tables: Tables) -> None:
    report = vintages(tables, period="month", by="app")
    late = report.delinquency.records()

    # CONVERSION.md 1.7: loans, principal and fees, and loans paid more than 7, 15 and 30 days late.
    assert total(report.vintages.records(), "loans") == 22_551
    assert total(report.vintages.records(), "amount") == Decimal(377_832_000)
    assert total(report.vintages.records(), "owed") == Decimal(377_832_000) + Decimal("70919774.6")
    assert total(late, "reached", measure="7dpd") == 1_142
    assert total(late, "reached", measure="15dpd") == 522
    assert total(late, "reached", measure="30dpd") == 123


def test_approvals_take_as_long_as_published(tables: Tables) -> None:
    rows = {
        str(one["stage"]): one for one in delay(tables).decision.records() if one["conversion"] == "credit"
    }

    # CONVERSION.md 1.3: median 8 s, p90 67 s, p99 1,001 s, at most 42 h; over all loans.
    assert float(str(rows["whole"]["p50"])) == pytest.approx(8, abs=1)
    assert float(str(rows["whole"]["p90"])) == pytest.approx(67, abs=3)
    assert float(str(rows["whole"]["p99"])) == pytest.approx(1_001, rel=0.05)
    assert float(str(rows["whole"]["conversions"])) == 22_551


def test_the_books_are_those_of_the_files(tables: Tables) -> None:
    lines = ["loan_id,paid_out_at,amount,currency\n"] + [
        f"{name},{day},{amount},NGN\n"
        for name, day, amount in tables.rows(
            "select loan_id, ((make_timestamptz(at_us) at time zone 'Africa/Lagos')::date)::varchar, amount"
            " from counted where type = 'disbursed' and loan_id <> (select max(loan_id) from counted)"
        )
    ]
    found = reconcile(
        tables,
        read_ledger(lines, zone=LAGOS),
        zone=LAGOS,
        until=date(2026, 12, 31),
    )

    assert [one["what"] for one in found.ledger_differences.records()] == ["not_in_ledger"]
