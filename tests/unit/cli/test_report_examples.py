"""Every report: its example runs, it has a picture and a page, and a wrong word is answered in words."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.cli.test_loan_reports import CONFIG
from tests.unit.report.kept import Kept
from tests.unit.report.test_report_earnings import came, cost, paid
from tests.unit.report.world import filled, world

from lendsignal.cli import main
from lendsignal.cli.understand import report as group

NAMES = sorted(group.commands)
SLICED = [name for name in NAMES if name != "health"]
"""All but one that is of now and of the service as a whole."""

DATED = [name for name in SLICED if name != "proxy"]
"""Those that tell what was known at a moment; what a model is fitted to is read from the log as it is."""

BOOKS = "LoanNo,paid_out_at,amount,currency\nX1,2026-03-10T12:00:00Z,5,NGN\n"


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    (folder / "lendsignal.toml").write_text(CONFIG)
    (folder / "loans.csv").write_text(BOOKS)
    one = world(users=80, days=40)
    kept: Kept = filled(folder / "data", one)
    kept.feed(
        *(
            came(name, number, app="acme-android")
            for number, name in enumerate(one.installs.appsflyer_id[:60])
        )
    )
    paid(kept, cost(one.parameters.period.start, "5000"))
    kept.log.close()
    return folder


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), env={"COLUMNS": "200"})


def example(name: str) -> list[str]:
    found = re.search(r"Example: lendsignal (.*)", group.commands[name].help or "")
    assert found is not None, name
    return shlex.split(found[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_every_report_runs(lender: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(lender)
    found = run(*example(name))

    # Books that have only a loan that nobody told us of are beyond their limits, and say so.
    assert found.exit_code == (1 if name == "reconcile" else 0), found.output
    assert found.stdout or ".html" in found.stderr or ".svg" in found.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_report_has_a_picture_and_a_page(
    lender: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(lender)
    chart, page = tmp_path / "out.svg", tmp_path / "out.html"
    run("report", name, "--chart", str(chart), "--html", str(page))

    assert chart.read_text().startswith("<svg")
    assert "<figure>" in page.read_text()


@pytest.mark.parametrize("name", SLICED)
def test_every_report_is_sliced_by_the_same_words(
    lender: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(lender)
    words = "--by channel --where country=NG --from 2026-03-02 --to 2026-04-30 --every week"
    at = "--as-of 2026-04-01T00:00:00Z" if name in DATED else ""
    found = run("report", name, *words.split(), *f"--binding first_install {at} --json".split())
    wrong = run("report", name, "--by", "chanel")

    assert found.exit_code == 0, found.output
    assert name not in DATED or '"as_of":"2026-04-01T00:00:00+00:00"' in found.stdout
    assert wrong.exit_code == 2
    assert "Did you mean 'channel'?" in wrong.stderr


def test_a_value_that_nothing_has_is_answered_with_those_there_are(
    lender: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lender)
    found = run("report", "funnel", "--where", "app=acme-andriod")

    assert found.exit_code == 2
    assert "Did you mean 'acme-android'?" in found.stderr


def test_the_list_of_reports_names_them_all() -> None:
    told = run("report", "--help").stdout

    assert [name for name in NAMES if f"\n  {name}" not in told] == []


def test_cost_is_told_in_the_currency_asked_for_and_what_has_no_rate_is_said(
    lender: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lender)

    assert "have no rate to USD: left out" in run("report", "funnel", "--currency", "usd").stdout


def test_the_books_may_be_a_database(lender: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sqlite3

    monkeypatch.chdir(lender)
    db = sqlite3.connect(tmp_path / "books.db")
    db.execute("create table loan (loan_id, paid_out_at, amount, currency)")
    db.execute("insert into loan values ('X1', '2026-03-10T12:00:00Z', '5', 'NGN')")
    db.commit()
    db.close()
    url = f"sqlite:///{tmp_path / 'books.db'}"
    found = run("report", "reconcile", "--ledger-url", url, "--ledger-query", "select * from loan", "--csv")
    alone = run("report", "reconcile", "--ledger-url", url)

    assert "not_told,X1" in found.stdout
    assert alone.exit_code == 2
    assert "--ledger-query" in alone.stderr
