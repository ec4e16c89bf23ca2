"""What `check`, `doctor` and `status` say before it happens: tokens that end, and rules that loans break."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.running import CONFIG, ENVIRONMENT
from tests.unit.deliver.test_tokens import PERSON, SERVICE_ACCOUNT

from lendsignal import run as running
from lendsignal.cli import giving, main
from lendsignal.clock import to_us
from lendsignal.log import DataFolder, open_deliveries, open_log

NOW_US = to_us(datetime(2026, 11, 22, 12, tzinfo=UTC))
"""The clock stands at noon; two weeks on it is noon of 6 December."""


class Still:
    """A clock that stands."""

    replay = False

    def now_us(self) -> int:
        return NOW_US


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a configuration and an empty data folder."""
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(giving, "clock_at", lambda path: Still())
    folder = DataFolder(tmp_path / "data")
    with closing(open_log(folder.log)), closing(open_deliveries(folder.deliveries)):
        yield tmp_path


def written(here: Path, *, app: str = "", outlet: str = "", deliver: str = "") -> None:
    """The configuration, with further keys of its app, its destinations and its sending."""
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet=outlet, deliver=deliver)
    zone = 'timezone = "Africa/Lagos"\n'
    assert zone in text
    (here / "lendsignal.toml").write_text(text.replace(zone, zone + app))


def call(*words: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == code, found.output
    return found


def as_json(*words: str, code: int = 0) -> Any:
    return json.loads(call(*words, "--json", code=code).stdout)


def doctors(check: str) -> list[tuple[str, str]]:
    """The doctor's findings of one check: level and words."""
    found = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)["findings"]
    return [(one["level"], one["found"]) for one in found if one["check"] == check]


# tokens


@pytest.mark.parametrize(
    ("expires", "state", "said"),
    [
        ("2026-12-06", "soon", "the token of warehouse ends on 2026-12-06, in 13 days"),
        ("2026-11-22", "ended", "the token of warehouse ended on 2026-11-22"),
    ],
)
def test_a_token_that_ends_is_warned_of_by_check_status_and_doctor(
    here: Path, expires: str, state: str, said: str
) -> None:
    written(here, outlet=f"token_expires = {expires}")

    warning = f"warning: {said}: renew it, then set destination.warehouse.token_expires"
    assert warning in call("check").stdout.splitlines()
    assert said in call("status").stdout
    assert ("act", said) in doctors("tokens")
    assert {one["destination"]: one["state"] for one in as_json("check")["tokens"]} == {
        "appsflyer-ng": state,
        "warehouse": state,
    }


def test_a_service_that_starts_says_which_tokens_end(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "run", lambda *words: None)
    written(here, outlet="token_expires = 2026-11-25")

    assert "the token of warehouse ends on 2026-11-25, in 2 days" in call("run").stderr


def test_a_token_that_is_good_for_long_is_told_and_not_warned_of(here: Path) -> None:
    written(here, outlet="token_expires = 2026-12-07")

    assert "token" not in call("status").stdout
    assert "the token of" not in call("check").stdout
    assert ("ok", "the token of warehouse ends on 2026-12-07, in 14 days") in doctors("tokens")
    destinations = as_json("status")["destinations"]
    assert {one["destination"]: one["token_expires"] for one in destinations} == {
        "appsflyer-ng": "2026-12-07",
        "warehouse": "2026-12-07",
    }


def test_how_long_before_is_yours_to_say(here: Path) -> None:
    written(here, outlet="token_expires = 2027-01-31", deliver='token_warning = "90d"')

    assert "warning: the token of warehouse ends on 2027-01-31, in 69 days" in call("check").stdout


def test_where_no_end_is_said_the_doctor_says_so_and_nobody_warns(here: Path) -> None:
    assert doctors("tokens") == [("ok", "no end of a token is said for appsflyer-ng")]
    assert as_json("check")["tokens"] == []
    assert {one["token_expires"] for one in as_json("status")["destinations"]} == {None}


@pytest.mark.parametrize("kind", ["authorized_user", "service_account"])
def test_a_refresh_token_is_named_for_it_may_end_in_a_week(
    kind: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = PERSON if kind == "authorized_user" else SERVICE_ACCOUNT
    monkeypatch.setenv("GOOGLE", credentials)
    with (here / "lendsignal.toml").open("a") as file:
        file.write(
            '[destination.google]\nkind = "google_data_manager"\napp = "acme-ng"\n'
            'account_id = "4445556666"\nconversion_actions = { ev_fl = "987654321" }\n'
            'credentials = { env = "GOOGLE" }\n'
        )
    named = "google sends with a refresh token, which ends after seven days"

    assert (named in call("check").stdout) == (kind == "authorized_user")
    assert any(words.startswith(named) for _, words in doctors("tokens")) == (kind == "authorized_user")


def test_a_day_that_is_none_is_a_mistake(here: Path) -> None:
    written(here, outlet='token_expires = "in spring"')

    assert "destination.warehouse.token_expires" in call("check", code=2).stderr


# policies


def test_what_is_not_said_is_not_judged_and_the_setting_is_named(here: Path) -> None:
    lines = call("check").stdout.splitlines()

    assert "policy   acme-ng: not judged for Google Play: say shortest_term_days of the app" in lines
    assert not [line for line in lines if line.startswith("warning")]


def test_a_term_that_breaks_a_rule_is_warned_of_with_its_page_and_date(here: Path) -> None:
    written(here, app="shortest_term_days = 60\napr_percent = 30\n")
    lines = [line for line in call("check").stdout.splitlines() if line.startswith("warning")]

    assert lines == [
        "warning: Google Play: no apps for personal loans that must be repaid in full within 60 days; lines "
        "of credit count since May 2025; the shortest term is 60 days in acme-ng "
        "(https://support.google.com/googleplay/android-developer/answer/9876821, read 2026-11-22)"
    ]
    assert [level for level, _ in doctors("policy")] == ["look"]


def test_apps_that_are_alike_share_a_line_and_many_of_them_are_counted(here: Path) -> None:
    written(here, app="shortest_term_days = 60\n")
    text = (here / "lendsignal.toml").read_text()
    app = text.partition("[app.acme-ng]")[2].partition("\n[")[0]
    for number in range(4):
        text += f"[app.acme-{number}]{app}\n[destination.w{number}]\n"
        text += f'kind = "webhook"\napp = "acme-{number}"\nurl = "https://hooks.acme.example/{number}"\n'
        text += 'secret = { env = "ACME_HOOK" }\n'
    (here / "lendsignal.toml").write_text(text)
    lines = call("check").stdout.splitlines()

    assert sum("Google Play: no apps for personal loans" in line for line in lines) == 1
    assert any(
        "the shortest term is 60 days in acme-ng, acme-0, acme-1 and 2 more (" in line for line in lines
    )


def test_a_partner_that_forwards_brings_the_rules_of_where_it_forwards_to(here: Path) -> None:
    written(here, app="shortest_term_days = 75\n")
    text = (here / "lendsignal.toml").read_text()
    alone = {one["rule"] for one in as_json("check")["policy"] if one["verdict"] == "breaks"}
    (here / "lendsignal.toml").write_text(
        text.replace('kind  = "appsflyer"', 'kind  = "appsflyer"\nforwards = ["meta", "tiktok"]')
    )
    found = {one["rule"] for one in as_json("check")["policy"] if one["verdict"] == "breaks"}

    assert alone == set()
    assert found == {"meta_short_loans", "tiktok_short_loans"}


def test_a_long_loan_leaves_only_duties(here: Path) -> None:
    written(here, app="shortest_term_days = 91\napr_percent = 30\n")

    assert {one["verdict"] for one in as_json("check")["policy"]} == {"duty"}
    assert doctors("policy") == []


def test_a_name_that_tells_a_standing_is_warned_of_with_the_rules_page(here: Path) -> None:
    text = (here / "lendsignal.toml").read_text()
    (here / "lendsignal.toml").write_text(
        text.replace('send = { disbursement = "ev_ln" }', 'send = { disbursement = "loan_default" }')
    )
    (warning,) = as_json("check")["warnings"]

    assert "'loan_default' says 'default'" in warning
    assert "custom-audiences, read 2026-11-22" in warning
