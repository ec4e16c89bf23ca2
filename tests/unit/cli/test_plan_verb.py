"""`lendsignal plan`: what it ends with, and what it says of campaigns and days."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.acme import DAY, loan, login, us

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.clock import SystemClock
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_feeds, open_log
from lendsignal.model.attribution import Ad, Attribution

CONFIG = """\
[portfolio]
name = "acme-group"
[brand.acme]
[app.acme-ng]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
[destination.appsflyer-ng]
kind = "appsflyer"
app = "acme-ng"
token = { env = "ACME_TOKEN" }
[[route]]
to = "appsflyer-ng"
send = { disbursement = "ev_d" }
"""


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two loans on a phone of a campaign, a third one on a later phone that nobody knows."""
    monkeypatch.setenv("ACME_TOKEN", "sesame")
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    folder = DataFolder(tmp_path / "data")
    log = open_log(folder.log)
    decider = Decider(log, configuration.load(path).policy, SystemClock(), lambda: None)
    log.append([login(-5, "a"), loan(0, "L1"), loan(60, "L2"), login(2 * DAY, "b"), loan(2 * DAY + 5, "L3")])
    while decider.turn():
        pass
    log.close()
    feeds = open_feeds(folder.feeds)
    ad = Ad(channel="meta", media_source="Facebook Ads", campaign="autumn")
    feeds.take([Attribution(feed="af", mmp="appsflyer", app="acme-ng", id="af-a", at_us=us(-60), ad=ad)])
    feeds.close()
    return path


def planned(path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["plan", "--config", str(path), *words])


def changes(found: Result) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = json.loads(found.stdout)["changes"]
    return lines


def test_where_nothing_changes_it_says_so_and_ends_with_0(lender: Path) -> None:
    found = planned(lender)

    assert found.exit_code == 0, found.output
    assert "nothing changes" in found.output
    assert "3 before, 3 after, 3 the same" in found.output


def test_what_changes_is_told_by_campaign_and_local_day_and_ends_with_3(lender: Path) -> None:
    changed = lender.with_name("changed.toml")
    changed.write_text(CONFIG.replace('"ev_d"', '"ev_x"'))
    found = planned(changed, "--json")

    assert found.exit_code == 3
    told = {(one["campaign"], one["day"]): (one["change"], one["deliveries"]) for one in changes(found)}
    assert told == {
        ("autumn", "2026-03-10"): ("renamed", 2),
        ("(not attributed)", "2026-03-12"): ("renamed", 1),
    }


def test_another_file_may_stand_for_the_rules_before(lender: Path) -> None:
    other = lender.with_name("other.toml")
    other.write_text(CONFIG.replace("disbursement", "first_loan"))
    found = planned(lender, "--against", str(other), "--json")

    # Whether a first loan was the first is unknown for borrowers whose history began before us: none is lost.
    assert {(one["conversion"], one["change"]) for one in changes(found)} == {("disbursement", "gained")}


def test_the_first_installation_would_have_had_the_later_loan(lender: Path) -> None:
    found = planned(lender, "--binding", "first_install", "--json")

    assert [(one["campaign"], one["change"], one["deliveries"]) for one in changes(found)] == [
        ("autumn", "moved", 1)
    ]


def test_days_that_are_not_looked_at_are_left_out(lender: Path) -> None:
    changed = lender.with_name("changed.toml")
    changed.write_text(CONFIG.replace('"ev_d"', '"ev_x"'))

    assert [one["day"] for one in changes(planned(changed, "--days", "1", "--json"))] == ["2026-03-12"]


def test_where_nothing_was_decided_yet_it_says_what_to_do(tmp_path: Path, lender: Path) -> None:
    empty = tmp_path / "empty"
    open_log(DataFolder(empty).log).close()
    found = planned(lender, "--set", f"service.data={empty}")

    assert found.exit_code == 1
    assert "--against" in found.output
