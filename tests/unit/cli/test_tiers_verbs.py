"""`lendsignal tiers`: how the cuts do, their history, and new ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.acme import again, event, login

from lendsignal.cli import main
from lendsignal.clock import ReplayClock
from lendsignal.config import load
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_log

CONFIG = """\
[portfolio]
name = "acme-group"

[service]
replay_clock = "clock"

[brand.acme]

[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[source.backend]
key_sha256 = "{digest}"

[tiers]
{tiers}
"""
OWN = 'basis = ["score"]\nshares = [20, 50]\nat_least = 100\nscope = ["country"]\nrecut = "by_hand"'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a lender of 200 granted users, a day ago."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    configure(tmp_path, OWN)
    config = load(tmp_path / "lendsignal.toml")
    ReplayClock(tmp_path / "clock").set_us(1_773_219_600_000_000)  # 2026-03-11 09:00 UTC, a day after T0
    log = open_log(DataFolder(config.data).log)
    for number, score in enumerate(np.random.default_rng(1).normal(600, 60, 200).tolist()):
        granted = event("credit_granted", 0, grant_id="G", score=score, loan_number=1, event_id=f"g{number}")
        touch = login(-1, "a", event_id=f"l{number}")
        log.append([again(one, user_id=f"u{number}") for one in (touch, granted)])
    decide_all(tmp_path)
    log.close()
    return tmp_path


def configure(folder: Path, tiers: str) -> None:
    (folder / "lendsignal.toml").write_text(CONFIG.format(digest="0" * 64, tiers=tiers))


def decide_all(folder: Path) -> None:
    config = load(folder / "lendsignal.toml")
    log = open_log(DataFolder(config.data).log)
    decider = Decider(log, config.policy, ReplayClock(folder / "clock"), lambda: None)
    while decider.turn():
        pass
    log.close()


def told(*words: str) -> Result:
    result = CliRunner().invoke(main, ["tiers", *words])
    assert result.exit_code == 0, result.output
    return result


def as_json(*words: str) -> Any:
    return json.loads(told(*words, "--json").stdout)


def test_a_dry_run_shows_the_first_cuts_and_makes_none(here: Path) -> None:
    found = as_json("recut", "--dry-run")

    assert [change["reason"] for change in found["changes"]] == ["first", "first"]
    assert as_json("history")["tables"] == []
    assert "would be version" in told("recut", "--dry-run").stdout
    assert "no cuts yet" in told("show").stdout
    assert "no cuts were ever made" in told("history").stdout


def test_new_cuts_are_in_force_once_they_are_decided(here: Path) -> None:
    text = told("recut").stdout
    assert "portfolio (best by score): first, 200 grants" in text
    assert "waits to be decided" in told("show").stdout
    assert "nothing is due" in told("recut").stdout

    decide_all(here)

    shown = as_json("show")
    assert shown["in_force"] == shown["table"]["version"]
    watched = {(one["scope"]["country"], one["n"]): one["realised"] for one in shown["watched"]}
    assert watched[None, 200]["20"] == pytest.approx(0.2)
    assert "in force" in told("history").stdout
    assert "NG" in told("show").stdout


def test_all_scopes_are_cut_anew_where_that_is_asked_for(here: Path) -> None:
    told("recut")

    assert as_json("recut")["changes"] == []
    assert [change["reason"] for change in as_json("recut", "--all")["changes"]] == ["asked", "asked"]
    assert len(as_json("history")["tables"]) == 2


def test_a_given_table_is_shown_and_never_cut(here: Path) -> None:
    (here / "cuts.csv").write_text("share,cut,country\n20,720,NG\n")
    configure(here, 'cut_table = "cuts.csv"')

    assert "NG: best by score 20 % from 720" in told("show").stdout
    assert as_json("show")["table"][0]["cut"] == 720
    refused = CliRunner().invoke(main, ["tiers", "recut"])
    assert refused.exit_code == 1
    assert "no own cuts" in refused.output
