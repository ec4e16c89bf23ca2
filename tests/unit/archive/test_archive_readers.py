"""Other engines read the folder without us, and find what is there."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars
import pytest
from tests.acme import DAY, event, login, us
from tests.unit.report.kept import Kept

from lendsignal.archive.keeper import brought_up
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.model.attribution import Ad, Attribution


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two loans on two days, in files as the archive's job leaves them."""
    kept = Kept(tmp_path / "data").tell(
        login(0, "old"),
        event("disbursed", 1, loan_id="L1", amount=Decimal("15000.125"), currency="NGN", product="payday"),
    )
    brought_up(kept.folder, ArchiveSettings(), us(0))
    kept.tell(event("disbursed", 1 + DAY, loan_id="L2", amount=Decimal(200), currency="NGN"))
    kept.feed(
        Attribution(
            feed="mmp",
            mmp="appsflyer",
            app="acme-ng",
            id="old",
            at_us=us(-5),
            told_us=us(0),
            ad=Ad(channel="meta"),
        )
    )
    brought_up(kept.folder, ArchiveSettings(), us(0))
    return kept.folder.path / "archive"


def test_polars_reads_types_money_and_days(root: Path) -> None:
    loans = (
        polars.scan_parquet(root / "events" / "**" / "*.parquet", hive_partitioning=True)
        .filter(polars.col("type") == "disbursed")
        .sort("seq")
        .select("loan_id", "amount", "occurred_at", "day", "product", "user_key", "loan_key")
        .collect()
    )

    assert loans["loan_id"].to_list() == ["L1", "L2"]
    assert loans["amount"].to_list() == [Decimal("15000.12500000"), Decimal("200.00000000")]
    assert loans["occurred_at"][0] == datetime(2026, 3, 10, 9, 1, tzinfo=UTC)
    assert loans["day"].to_list() == [date(2026, 3, 10), date(2026, 3, 11)]
    assert loans["product"].to_list() == ["payday", None]
    assert loans["user_key"].n_unique() == 1
    assert loans["loan_key"].n_unique() == 2


def test_polars_and_duckdb_agree_on_who_came_from_where(root: Path) -> None:
    query = f"select app, mmp_id, channel, epoch_us(came_at) from '{root}/attributions/*/*.parquet'"
    ours = duckdb.execute(query).fetchall()
    theirs = polars.scan_parquet(root / "attributions" / "**" / "*.parquet").select(
        "app", "mmp_id", "channel", polars.col("came_at").dt.timestamp("us")
    )

    assert ours == theirs.collect().rows() == [("acme-ng", "old", "meta", us(-5))]


def test_duckdb_binds_loans_to_logins_by_the_numbers_that_are_made_for_it(root: Path) -> None:
    found = duckdb.execute(
        f"select e.loan_id, t.gaid is not null from '{root}/events/*/*.parquet' e"
        f" asof left join '{root}/touches/*/*.parquet' t"
        " on t.user_key = e.user_key and e.occurred_at >= t.occurred_at"
        " where e.type = 'disbursed' order by 1"
    ).fetchall()

    assert found == [("L1", True), ("L2", True)]


def test_the_folder_says_which_layout_it_has_and_which_files_count(root: Path) -> None:
    layout = polars.read_json((root / "_layout.json").read_bytes())
    counted = duckdb.execute(f"select unnest(events) from read_json('{root}/_files.json')").fetchall()

    assert layout["version"].to_list() == [2]
    assert sorted(name for (name,) in counted) == sorted(
        path.relative_to(root).as_posix() for path in (root / "events").rglob("*.parquet")
    )
