"""Bringing in attribution and cost by the command line, and the reports on them."""

import json
from pathlib import Path
from typing import Any

import apsw
import pytest
from click.testing import CliRunner, Result
from tests.running import CONFIG, ENVIRONMENT

from lendsignal.cli import main

TABLES = """
[feed.mmp]
kind   = "appsflyer"
secret = { file = "mmp" }

[spend.meta-ng]
kind     = "meta"
currency = "NGN"

[fx]
currency = "USD"

[[fx.rate]]
date = 2026-11-20
from = "USD"
to   = "NGN"
rate = "1500"
"""
INSTALLS = """\
App ID,AppsFlyer ID,Event Name,Install Time,Media Source,Campaign,Campaign ID
com.acme.loans,af-1,install,2026-11-20 08:00:00,Facebook Ads,spring,2384
com.acme.loans,af-2,install,2026-11-20 08:00:00,organic,,
com.acme.loans,,install,2026-11-20 08:00:00,organic,,
"""
SPEND = "date,campaign_id,spend\n2026-11-20,2384,3000\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    text = CONFIG.format(door=0, web=0, sandbox="http://127.0.0.1:1", deliver="", outlet="")
    (tmp_path / "lendsignal.toml").write_text(text + TABLES)
    (tmp_path / "mmp").write_text("made-up-secret-of-the-mmp")
    (tmp_path / "installs.csv").write_text(INSTALLS)
    (tmp_path / "spend.csv").write_text(SPEND)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def as_json(*words: str) -> Any:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_attribution_is_brought_in_and_reported(here: Path) -> None:
    found = as_json("import", "attribution", "installs.csv", "--feed", "mmp")["installs.csv"]

    assert (found["rows"], found["taken"]) == (3, {"install": 2})
    assert found["refused"] == {"appsflyer_id: is needed": 1}
    assert found["first_refused"] == [{"row": 3, "field": "appsflyer_id", "rule": "is needed"}]
    report = as_json("report", "attribution", "--by", "channel")
    assert {row["channel"]: row["installs"] for row in report["tables"]["sources"]["rows"]} == {
        "meta": 1,
        "organic": 1,
    }
    assert "Facebook Ads" in call("report", "attribution").stdout


def test_a_dry_run_changes_nothing(here: Path) -> None:
    shown = call("import", "attribution", "installs.csv", "--feed", "mmp", "--dry-run")
    call("import", "spend", "spend.csv", "--feed", "meta-ng", "--dry-run")

    assert "2  install" in shown.stdout
    assert "refused: appsflyer_id: is needed" in shown.stdout
    assert not (here / "data").exists()


def test_cost_is_brought_in_and_reported_in_the_currency_of_the_configuration(here: Path) -> None:
    call("import", "attribution", "installs.csv", "--feed", "mmp")
    found = as_json("import", "spend", "spend.csv", "--feed", "meta-ng")

    assert found["spend.csv"]["taken"] == {"spend": 1}
    (row,) = as_json("report", "spend")["tables"]["campaigns"]["rows"]
    assert (row["campaign"], row["currency"], row["spend"], row["installs"]) == ("spring", "USD", "2", 1)
    (row,) = as_json("report", "spend", "--currency", "ngn")["tables"]["campaigns"]["rows"]
    assert (row["currency"], row["spend"]) == ("NGN", "3000")


def test_a_file_of_cost_with_a_bad_row_ends_with_1_and_nothing_is_taken(here: Path) -> None:
    (here / "spend.csv").write_text(SPEND + "2026-11-21,2384,dear\n")
    result = call("import", "spend", "spend.csv", "--feed", "meta-ng")

    assert result.exit_code == 1
    assert "refused: spend: must be a number" in result.stdout
    assert as_json("report", "spend")["tables"]["campaigns"]["rows"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import", "attribution", "installs.csv", "--feed", "nobody"), "no [feed.nobody]; there is: mmp"),
        (("import", "spend", "spend.csv", "--feed", "mmp"), "no [spend.mmp]; there is: meta-ng"),
        (("import", "spend", "spend.csv"), "--feed"),
        (("import",), "nothing to import"),
        (("import", "installs.csv"), "files need --map"),
    ],
)
def test_what_is_missing_is_named(here: Path, words: tuple[str, ...], said: str) -> None:
    result = call(*words)

    assert result.exit_code == 2
    assert said in result.stderr


def test_the_help_of_import_names_what_can_be_brought_in(here: Path) -> None:
    shown = call("import", "--help").stdout

    assert all(verb in shown for verb in ("events", "attribution", "spend"))


def doctors_words(here: Path) -> str:
    """What the doctor says of feeds."""
    findings = json.loads(call("doctor", "--json").stdout)["findings"]
    (found,) = [one["found"] for one in findings if one["check"] == "feeds"]
    return str(found)


def test_the_doctor_notices_a_feed_that_fell_silent(here: Path) -> None:
    (here / "data").mkdir()
    first = doctors_words(here)
    call("import", "attribution", "installs.csv", "--feed", "mmp")
    second = doctors_words(here)
    with apsw.Connection(str(here / "data" / "feeds.sqlite")) as db:
        db.execute("update attribution set told_us = told_us - 2 * 86400 * 1000000")

    assert first == "mmp has told nothing yet"
    assert second == "mmp tells where users come from"
    assert doctors_words(here).startswith("mmp has told nothing for ")
