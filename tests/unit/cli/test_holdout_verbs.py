"""`advise holdout`: what it prints, for people and for programs, and mistakes in words."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.report.kept import Kept
from tests.unit.report.world import filled, world

from lendsignal.cli import main
from lendsignal.plan import is_held_out

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

[holdout.lapsed]
share = 0.5
salt = "spring"
audiences = ["lapsed"]
from = 2026-03-20T00:00:00Z
to = 2026-04-28T00:00:00Z

[holdout.endless]
share = 0.05
"""

EVERYBODY = ("--eligible", "registered")


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up lender's configuration, with its data beside."""
    folder = tmp_path_factory.mktemp("held")
    (folder / "lendsignal.toml").write_text(CONFIG)
    kept: Kept = filled(folder / "data", world(users=700, days=75))
    kept.log.close()
    return folder


def asked(*words: str, lender: Path | None = None) -> Result:
    configured = [] if lender is None else ["--config", str(lender / "lendsignal.toml")]
    return CliRunner().invoke(main, ["advise", "holdout", *words, *configured])


def test_a_plan_refuses_to_promise_what_it_would_not_see() -> None:
    words = "plan --rate 0.10 --eligible 10000 --share 0.1 --weeks 0 --lift 0.5".split()
    found = asked(*words)

    assert found.exit_code == 0
    assert "70.04%" in found.stdout
    assert "Not promised by 1 of 1 designs" in found.stdout


def test_a_plan_promises_what_it_sees() -> None:
    words = "plan --rate 0.10 --eligible 10000 --share 0.1 --weeks 0 --lift 0.8 --json".split()
    found = json.loads(asked(*words).stdout)

    assert found["promise"].startswith("Promised")
    assert [row["promised"] for row in found["tables"]["sights"]["rows"]] == [True]


def test_a_plan_goes_by_the_ledger_where_nothing_else_is_said(lender: Path) -> None:
    found = json.loads(asked("plan", "--json", "--weeks", "0", lender=lender).stdout)

    assert found["tables"]["sights"]["rows"][0]["users"] > 100
    assert 0 < found["tables"]["sights"]["rows"][-1]["smallest"] < 1


def test_a_plan_wants_both_numbers_or_none() -> None:
    assert asked("plan", "--rate", "0.1").exit_code == 2


def test_a_reading_says_its_verdict_and_writes_a_page_and_a_picture(lender: Path, tmp_path: Path) -> None:
    words = ("read", "lapsed", "--reach", "0.4", "--spend", "1000", "--horizon", "14d", *EVERYBODY)
    found = asked(*words, lender=lender)
    written = asked(
        *words, "--html", str(tmp_path / "a.html"), "--chart", str(tmp_path / "a.svg"), lender=lender
    )

    assert found.exit_code == 0, found.output
    assert "No effect is told from chance" in found.stdout or "It brings" in found.stdout
    assert "What it brought, by intention to treat" in found.stdout
    assert written.exit_code == 0, written.output
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert "The arms" in (tmp_path / "a.html").read_text()


def test_a_reading_for_programs_has_the_arms_and_the_verdict(lender: Path) -> None:
    found = json.loads(
        asked("read", "lapsed", "--json", "--horizon", "14d", *EVERYBODY, lender=lender).stdout
    )

    assert found["sound"] is True
    assert sum(row["users"] for row in found["tables"]["arms"]["rows"]) > 200
    assert found["verdict"]


def test_the_users_of_both_arms_are_all_of_them_and_drawn_by_the_salt(lender: Path) -> None:
    held, treated = (
        asked("users", "lapsed", "--arm", arm, lender=lender).stdout.split()
        for arm in ("held-out", "treated")
    )

    assert held
    assert treated
    assert all(is_held_out("spring", 0.5, user) for user in held)
    assert not any(is_held_out("spring", 0.5, user) for user in treated)


def test_a_holdout_without_a_beginning_asks_for_one(lender: Path) -> None:
    found = asked("read", "endless", lender=lender)

    assert found.exit_code == 2
    assert "--from" in found.stderr
    assert asked("read", "endless", "--from", "2026-03-20", lender=lender).exit_code == 0


def test_an_unknown_holdout_is_answered_with_those_there_are(lender: Path) -> None:
    found = asked("read", "laspsed", lender=lender)

    assert found.exit_code == 2
    assert "lapsed, endless" in found.stderr


@pytest.mark.parametrize("given", ["10", "5/0", "9/5", "a/b"])
def test_a_match_is_written_as_found_by_uploaded(lender: Path, given: str) -> None:
    assert asked("read", "lapsed", "--matched-treated", given, lender=lender).exit_code == 2
