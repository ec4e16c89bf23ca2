"""Reports of loans from the command line: files, exit codes, and mistakes in words."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.report.kept import Kept
from tests.unit.report.world import filled, world

from lendsignal.cli import main
from lendsignal.log import open_alerts

CONFIG = """
[portfolio]
name = "acme-group"

[brand.acme]

[app.acme-android]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up lender's configuration, with its data beside."""
    folder = tmp_path_factory.mktemp("lender")
    (folder / "lendsignal.toml").write_text(CONFIG)
    kept: Kept = filled(folder / "data", world(users=120, days=30))
    kept.log.close()
    return folder


def report(lender: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["report", *words, "--config", str(lender / "lendsignal.toml")])


def ledger(lender: Path, path: Path, change: str = "") -> Path:
    """The lender's books, equal to what was told; `change` is one more line."""
    from lendsignal.log import DataFolder
    from lendsignal.report import load

    with load(DataFolder(lender / "data")) as tables:
        rows = tables.rows(
            "select loan_id, strftime(make_timestamptz(at_us) at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ'),"
            " amount::decimal(18, 2) from counted where type = 'disbursed' and not superseded"
            " and not reversed and not test"
        )
    lines = [f"{name},{at},{amount}" for name, at, amount in rows]
    path.write_text("\n".join(["LoanNo,paid_out_at,amount", *lines, change]))
    return path


@pytest.mark.parametrize("name", ["delay", "vintages", "funnel", "bindings", "delivery"])
def test_every_report_writes_a_picture_and_a_page(lender: Path, tmp_path: Path, name: str) -> None:
    chart, page = tmp_path / "out.svg", tmp_path / "out.html"
    found = report(lender, name, "--chart", str(chart), "--html", str(page))

    assert found.exit_code == 0, found.output
    assert chart.read_text().startswith("<svg")
    assert page.read_text().startswith("<!doctype html>")
    assert "out.html" in found.stderr
    assert found.stdout == ""


def test_a_picture_may_be_a_png_and_nothing_else(lender: Path, tmp_path: Path) -> None:
    assert report(lender, "delay", "--chart", str(tmp_path / "out.png")).exit_code == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    refused = report(lender, "delay", "--chart", str(tmp_path / "out.pdf"))

    assert refused.exit_code == 2
    assert ".svg or .png" in refused.stderr


def test_a_file_that_cannot_be_written_is_named(lender: Path, tmp_path: Path) -> None:
    found = report(lender, "delay", "--html", str(tmp_path / "nowhere" / "out.html"))

    assert found.exit_code == 1
    assert "out.html cannot be written" in found.stderr


def test_json_and_csv_have_every_table(lender: Path) -> None:
    told = json.loads(report(lender, "delay", "--json").stdout)
    csv = report(lender, "vintages", "--every", "month", "--csv").stdout

    assert list(told["tables"]) == ["decision", "posting", "days", "proxy", "windows"]
    assert "# delinquency\nvintage,currency,measure" in csv


def test_equal_books_are_well_and_a_loan_nobody_told_of_is_not(lender: Path, tmp_path: Path) -> None:
    words = ("--column", "loan_id=LoanNo", "--currency", "NGN", "--limit", "late=100", "--json")
    equal = report(lender, "reconcile", "--ledger", str(ledger(lender, tmp_path / "a.csv")), *words)
    changed = ledger(lender, tmp_path / "b.csv", "X1,2026-03-10T12:00:00Z,5")
    other = report(lender, "reconcile", "--ledger", str(changed), *words, "--limit", "missing=0")

    assert (equal.exit_code, json.loads(equal.stdout)["is_well"]) == (0, True)
    assert other.exit_code == 1
    assert [one["loan_id"] for one in json.loads(other.stdout)["tables"]["ledger_differences"]["rows"]] == [
        "X1"
    ]
    assert "beyond their limits" in other.stderr


def test_a_reconciliation_that_is_to_alarm_has_the_watcher_say_so_until_it_is_well_again(
    lender: Path, tmp_path: Path
) -> None:
    words = ("--column", "loan_id=LoanNo", "--currency", "NGN", "--limit", "late=100", "--limit", "missing=0")
    books = ledger(lender, tmp_path / "a.csv")
    changed = ledger(lender, tmp_path / "b.csv", "X1,2026-03-10T12:00:00Z,5")
    with closing(open_alerts(lender / "data" / "alerts.sqlite")) as store:
        report(lender, "reconcile", "--ledger", str(changed), *words)
        assert store.noted("reconcile") is None
        report(lender, "reconcile", "--ledger", str(changed), *words, "--alarm")
        found = store.noted("reconcile")
        report(lender, "reconcile", "--ledger", str(books), *words, "--alarm")
        after = store.noted("reconcile")

    assert found is not None
    assert "missing" in found[0]
    assert after is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--column", "loan=LoanNo"), "loan_id, paid_out_at, amount, currency"),
        (("--limit", "missing=few"), "per cent"),
        (("--timezone", "Lagos"), "Africa/Lagos"),
    ],
)
def test_mistakes_in_the_words_are_named(lender: Path, words: tuple[str, ...], said: str) -> None:
    found = report(lender, "reconcile", *words)

    assert found.exit_code == 2
    assert said in found.stderr


def test_a_ledger_in_another_encoding_is_refused_in_words(lender: Path, tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("loan_id,paid_out_at,amount,currency\nÄ,2026-03-10,1,NGN".encode("latin-1"))
    found = report(lender, "reconcile", "--ledger", str(path))

    assert found.exit_code == 1
    assert "UTF-8" in found.stderr
