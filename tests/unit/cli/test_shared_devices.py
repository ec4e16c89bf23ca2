"""Shared phones from the configuration to the reports: counted, skipped, shown, and previewed by `plan`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.acme import again, loan, login
from tests.unit.report.kept import Fate, Kept

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.errors import ConfigError
from lendsignal.model import Device, Event

CONFIG = """\
[portfolio]
name = "acme-group"

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

[destination.appsflyer-ng]
kind  = "appsflyer"
app   = "acme-ng"
token = {{ env = "ACME_TOKEN" }}

[[route]]
to   = "appsflyer-ng"
send = {{ repeat_loan = "ev_rl" }}

{resolve}
"""
SKIP = '[resolve]\nshared_device_users = 2\nshared_device = "skip"\n'


def visit(user: str, minutes: float) -> list[Event]:
    """A user logs in on the one phone and gets a loan."""
    device = Device(appsflyer_id="1-1", gaid="7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11", os="android")
    found = [login(minutes, device), loan(minutes + 1, f"L-{user}-{minutes:g}", loan_number=2)]
    return [again(one, user_id=user, event_id=f"{one.event_id}-{user}") for one in found]


def configured(folder: Path, resolve: str) -> configuration.Config:
    path = folder / "lendsignal.toml"
    path.write_text(CONFIG.format(digest="0" * 64, resolve=resolve))
    return configuration.load(path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACME_TOKEN", "token-of-acme-1234567890")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kept(folder: Path, resolve: str) -> Kept:
    """Three loans of two users on one phone: the first of them before the phone is a shared one."""
    config = configured(folder, resolve)
    events = [*visit("a", 0), *visit("b", 10), *visit("a", 20)]
    return Kept(config.data, config.policy).tell(*events).send(lambda *_: Fate("accepted", "confirmed"))


def printed(*words: str, code: int = 0) -> str:
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == code, found.output
    return found.stdout


def rows(report: str, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(printed("report", report, "--json"))["tables"][table]["rows"]
    return found


def test_what_is_skipped_stands_in_the_reports_of_devices_and_deliveries(here: Path) -> None:
    kept(here, SKIP)

    (phone,) = rows("devices", "phones")
    assert (phone["users"], phone["shared"], phone["loans"], phone["skipped"]) == (2, True, 3, 2)
    assert "shared_device" in printed("report", "delivery")


def test_explain_says_that_the_phone_was_shared(here: Path) -> None:
    kept(here, SKIP)

    assert "shared_device" in printed("explain", "disbursed-L-b-10-b")
    assert "shared_device" not in printed("explain", "disbursed-L-a-0-a")


def test_a_preview_shows_what_skipping_would_lose_before_it_is_lost(here: Path) -> None:
    kept(here, "")
    configured(here, SKIP)

    found = json.loads(printed("plan", "--days", "9999", "--json", code=3))

    assert (found["deliveries_before"], found["deliveries_after"]) == (3, 1)
    assert {(one["conversion"], one["change"], one["deliveries"]) for one in found["changes"]} == {
        ("repeat_loan", "lost", 2)
    }


@pytest.mark.parametrize(
    ("resolve", "key"),
    [
        ('[resolve]\nshared_device = "skip"\n', "resolve.shared_device"),
        ("[resolve]\nshared_device_users = 1\n", "resolve.shared_device_users"),
        ('[resolve]\nshared_device_users = 2\nshared_device = "drop"\n', "resolve.shared_device"),
        ("[resolve]\nshared_device_users = -2\n", "resolve.shared_device_users"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(here: Path, resolve: str, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(here, resolve)

    assert [problem.key for problem in refused.value.problems] == [key]
