"""`report installations` and `report coverage` over a data folder, with real destinations."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.acme import DAY, consent_of, event, login
from tests.unit.report.kept import Kept

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.model import Device, contact_of

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

[consent.default]
NG = false

[destination.appsflyer-ng]
kind  = "appsflyer"
app   = "acme-ng"
token = {{ env = "ACME_TOKEN" }}

[destination.tiktok-ng]
kind          = "tiktok"
app           = "acme-ng"
share_contact = true
app_id        = "7000000000000000001"
token         = {{ env = "ACME_TOKEN" }}

[[route]]
to   = "appsflyer-ng"
send = {{ first_loan = "ev_fl" }}

[[route]]
to   = "tiktok-ng"
send = {{ first_loan = "LoanDisbursal" }}
"""
GAID = "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b1{}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three users who allow ads: `a` by both ids, `b` by e-mail, `c` by AppsFlyer's id after a return;
    and `d`, who was never asked."""
    monkeypatch.setenv("ACME_TOKEN", "token-of-acme-1234567890")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lendsignal.toml").write_text(CONFIG.format(digest="0" * 64))
    config = configuration.load(tmp_path / "lendsignal.toml")
    contact, _ = contact_of("ada@acme.example", None)
    Kept(config.data, config.policy).tell(
        login(0, Device(appsflyer_id="1-1", gaid=GAID.format(1), os="android"), user_id="a"),
        login(1, Device(os="android", firebase_app_instance_id="f" * 32), user_id="b"),
        event("contacted", 2, user_id="b", contact=contact),
        login(3, Device(appsflyer_id="3-3", os="android"), user_id="c"),
        login(9 * DAY, Device(appsflyer_id="3-4", os="android"), user_id="c"),
        login(4, Device(appsflyer_id="4-4", gaid=GAID.format(4), os="android"), user_id="d"),
        *(consent_of(5, True, user_id=name, event_id=f"yes-{name}") for name in "abc"),
    )
    return tmp_path


def printed(*words: str) -> str:
    found = CliRunner().invoke(main, ["report", *words])
    assert found.exit_code == 0, found.output
    return found.stdout


def rows(report: str, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(printed(report, "--json"))["tables"][table]["rows"]
    return found


@pytest.mark.usefixtures("here")
def test_coverage_says_whom_each_real_destination_could_be_told_of() -> None:
    found = {row["destination"]: row for row in rows("coverage", "reaches")}

    names = ("users", "could", "no_device_id", "no_consent", "other", "by_contact_alone")
    assert [found["appsflyer-ng"][name] for name in names] == [4, 2, 1, 1, 0, 0]
    assert [found["tiktok-ng"][name] for name in names] == [4, 2, 1, 1, 0, 1]


@pytest.mark.usefixtures("here")
def test_installations_counts_the_user_who_came_back() -> None:
    found = {row["came"]: row["users"] for row in rows("installations", "users")}

    assert (found["one installation"], found["phone not known"]) == (3, 1)
    assert [row["first"] for row in rows("installations", "weeks")] == [4, 0]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("installations", ["users", "weeks", "ids", "reach"]),
        (
            "coverage",
            "ids versions systems consents reaches reaches_by_version reaches_by_system".split(),
        ),
    ],
)
def test_each_is_text_json_and_csv(name: str, tables: list[str]) -> None:
    data = json.loads(printed(name, "--json"))
    parts = printed(name, "--csv").split("# ")[1:]

    assert list(data["tables"]) == tables
    assert [part.split("\n", 1)[0] for part in parts] == tables
    for part, table in zip(parts, tables, strict=True):
        (head, *body) = csv.reader(io.StringIO(part.split("\n", 1)[1].strip()))
        assert head == [column["name"] for column in data["tables"][table]["columns"]]
        assert len(body) == len(data["tables"][table]["rows"])
    for table in data["tables"].values():
        assert table["title"] in printed(name)
