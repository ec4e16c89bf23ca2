"""`advise events`: what it prints, for people and for programs."""

import json
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result
from tests.unit.report.world import filled, world

from lendsignal.cli import main
from lendsignal.log import DataFolder
from lendsignal.report import load
from lendsignal.value import Moment

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
    folder = tmp_path_factory.mktemp("chosen")
    (folder / "lendsignal.toml").write_text(CONFIG)
    kept = filled(folder / "data", world(users=500, days=75))
    kept.log.close()
    return folder


def asked(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(
        main, ["advise", "events", "--config", str(folder / "lendsignal.toml"), "--by", "app", *words]
    )


def test_the_advice_comes_with_its_evidence_and_says_that_it_is_thin(lender: Path) -> None:
    found = asked(lender, "--horizon", "30d")

    assert found.exit_code == 0, found.output
    assert "first_loan" in found.stdout
    assert "rule of thumb" in found.stdout
    assert "thin" in found.stdout
    assert "grants are a user's first" in found.stdout


def test_programs_get_every_figure(lender: Path) -> None:
    found = json.loads(asked(lender, "--horizon", "30d", "--current", "first_credit", "--json").stdout)

    events = {row["event"]: row for row in found["tables"]["events"]["rows"] if row["app"] == "acme-android"}
    assert set(events) >= {"registration", "first_application", "first_credit", "first_loan"}
    assert 0 < events["first_loan"]["events"] < events["first_credit"]["events"]
    assert sum(row["p_best"] for row in events.values()) == pytest.approx(1)
    assert found["tables"]["advice"]["rows"][0]["now"] == "first_credit"


def test_the_same_data_give_the_same_advice(lender: Path) -> None:
    assert asked(lender, "--json").stdout == asked(lender, "--json").stdout


def test_a_picture_is_written(lender: Path, tmp_path: Path) -> None:
    picture = tmp_path / "events.svg"
    found = asked(lender, "--horizon", "30d", "--chart", str(picture))

    assert found.exit_code == 0, found.output
    assert "What an event would earn" in picture.read_text()


def test_without_any_return_through_an_ad_there_is_nothing_to_advise(lender: Path) -> None:
    found = asked(lender, "--objective", "re-engagement")

    assert found.exit_code == 0
    assert "nothing yet" in found.stdout


def test_a_present_event_that_nobody_knows_is_refused_with_those_that_are_known(lender: Path) -> None:
    found = asked(lender, "--current", "first_lone")

    assert found.exit_code == 2
    assert "'first_lone' is none of first_application, first_credit, first_loan" in found.stderr


def test_a_models_values_stand_for_profit_without_waiting(lender: Path, tmp_path: Path) -> None:
    with load(DataFolder(lender / "data")) as tables:
        borrowers = tables.rows(
            "select distinct brand, user_id from counted where type = 'disbursed' and not test"
        )
    values = tmp_path / "values.csv"
    heads = "brand,user_id,moment,at,currency,predicted_value,realised_value"
    lines = [
        f"{brand},{user},{moment},2026-03-02T00:00:00Z,NGN,{said},{came}"
        for brand, user in borrowers
        for moment, said, came in (("credit_granted", -800, -9), ("disbursed", 900, -7))
    ]
    values.write_text("\n".join([heads, *lines]) + "\n")
    with_values = json.loads(asked(lender, "--json", "--values", str(values)).stdout)
    without = json.loads(asked(lender, "--json").stdout)  # sixty days of seventy-five are waited for

    best = {row["app"]: row["best"] for row in with_values["tables"]["advice"]["rows"]}
    assert best["acme-android"] == "first_loan"
    assert sum("thin" in note for note in with_values["notes"]) <= sum("thin" in n for n in without["notes"])


def test_who_borrowed_is_worth_what_is_said_at_the_first_loan_and_who_did_not_what_came(
    tmp_path: Path,
) -> None:
    from lendsignal.cli.advise_events import _hoped, _worth

    path = tmp_path / "values.csv"
    path.write_text(
        "brand,user_id,moment,at,currency,predicted_value,realised_value\n"
        "a,borrowed,credit_granted,2026-03-02T00:00:00Z,NGN,11,12\n"
        "a,borrowed,disbursed,2026-03-02T00:00:00Z,NGN,13,14\n"
        "a,granted,credit_granted,2026-03-02T00:00:00Z,NGN,15,0\n"
        "a,young,credit_granted,2026-03-02T00:00:00Z,NGN,16,\n"
        "a,young,applied,2026-03-01T00:00:00Z,NGN,5,\n"
        "a,hopes,applied,2026-03-02T00:00:00Z,NGN,7,\n"
    )

    assert _worth(path) == {"a:borrowed": 13, "a:granted": 0, "a:young": 16}
    assert _hoped(path) == {"a:young": 5, "a:hopes": 7}
    # The moments are those that `value score` writes.
    assert get_args(Moment) == ("applied", "credit_granted", "disbursed")


def test_a_file_of_something_else_is_refused(lender: Path, tmp_path: Path) -> None:
    (tmp_path / "values.csv").write_text("user,value\nu1,3\n")
    found = asked(lender, "--values", str(tmp_path / "values.csv"))

    assert found.exit_code == 1
    assert "lendsignal value score" in found.stderr
