"""`audience`: what it prints for people and for programs, and what it refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.report.world import filled, world

from lendsignal.cli import main

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

[app.acme-ios]
brand = "acme"
platform = "ios"
bundle = "id123456789"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[service]
replay_clock = "clock"

[audience.good]
kind = "good_repayers"
to = ["meta-ng"]
campaigns = ["campaign 1"]

[audience.arrears]
kind = "in_arrears"
to = ["meta-ng"]

[audience.own]
sql = 'select "user" from customer where loans >= 2'

[audience_account.meta-ng]
kind = "meta"
ad_account = "1234567890"
token = { env = "META_ADS_TOKEN" }
"""


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "lendsignal.toml").write_text(CONFIG)
    kept = filled(folder / "data", world(users=250, days=60))
    kept.log.close()
    return folder


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_ADS_TOKEN", "t" * 40)


def asked(lender: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["audience", *words, "--config", str(lender / "lendsignal.toml")])


def changed(lender: Path, tmp_path: Path, old: str, new: str) -> Path:
    assert old in CONFIG
    (tmp_path / "lendsignal.toml").write_text(CONFIG.replace(old, new))
    return tmp_path


def test_the_lists_are_told_with_their_neutral_names_and_where_they_do_not_go(lender: Path) -> None:
    found = json.loads(asked(lender, "list", "--json").stdout)
    by_name = {one["list"]: one for one in found["lists"]}

    assert by_name["good"]["to"] == ["meta-ng"]
    assert by_name["good"]["code"].startswith("ls-")
    assert "good" not in by_name["good"]["code"]
    assert by_name["arrears"]["to"] == []
    assert "fair lending" in by_name["arrears"]["not_sent"]["meta-ng"]
    assert "good_repayers" in found["ready"]


def test_a_sensitive_list_goes_out_once_somebody_answers_for_it(lender: Path) -> None:
    refused = asked(lender, "confirm", "arrears", "--reason", "because")
    assert refused.exit_code == 2

    said = asked(lender, "confirm", "arrears", "--reason", "counsel agreed on 3 March: none while in arrears")
    assert said.exit_code == 0
    found = json.loads(asked(lender, "list", "--json").stdout)
    assert {one["list"]: one["to"] for one in found["lists"]}["arrears"] == ["meta-ng"]

    asked(lender, "confirm", "arrears", "--reason", "counsel changed its mind", "--withdraw")
    found = json.loads(asked(lender, "list", "--json").stdout)
    assert {one["list"]: one["to"] for one in found["lists"]}["arrears"] == []


def test_a_preview_shows_size_floor_overlap_and_what_hangs_on_the_rule(lender: Path) -> None:
    found = json.loads(asked(lender, "preview", "good", "--json").stdout)
    tables = found["tables"]

    assert found["members"] > 0
    sizes = {row["rule"]: row["members"] for row in tables["sensitivity"]["rows"]}
    assert sizes["at_least = 2"] <= found["members"] <= sizes["late_days = 10"]
    assert {row["list"] for row in tables["overlap"]["rows"]} == {"arrears", "own"}
    assert sum(row["members"] for row in tables["countries"]["rows"]) == found["members"]
    assert all(row["user"].startswith("acme:") for row in tables["sample"]["rows"])
    assert any("meta wants 100" in note for note in found["notes"])


def test_lists_are_built_and_their_standing_is_told(lender: Path) -> None:
    built = json.loads(asked(lender, "build", "--json").stdout)
    sizes = {one["list"]: one["members"] for one in built}
    again = asked(lender, "build", "good")
    standing = json.loads(asked(lender, "status", "--json").stdout)["tables"]

    assert set(sizes) == {"good", "arrears", "own"}
    assert again.stdout.startswith(f"good: {sizes['good']:,} members, 0 joined, 0 left")
    (row,) = [one for one in standing["accounts"]["rows"] if one["list"] == "good"]
    assert (row["intended"], row["confirmed"], row["to_add"]) == (sizes["good"], 0, sizes["good"])
    assert {one["list"]: one["members"] for one in standing["lists"]["rows"]} == sizes


def test_what_look_alikes_brought_is_told_by_campaign(lender: Path) -> None:
    found = asked(lender, "earned", "--json")

    assert found.exit_code == 0
    assert json.loads(found.stdout)["tables"]["brought"]["rows"] == [], "no attribution was told"


def test_what_a_list_brought_is_told_by_its_holdout(lender: Path, tmp_path: Path) -> None:
    draw = '[holdout.kept]\nshare = 0.3\nfrom = 2026-03-01T00:00:00Z\naudiences = ["good"]\n'
    place = f'replay_clock = "clock"\ndata = "{lender / "data"}"'
    config = CONFIG.replace('replay_clock = "clock"', place)
    (tmp_path / "lendsignal.toml").write_text(f"{config}\n{draw}")

    found = asked(tmp_path, "earned", "--horizon", "14d", "--json")

    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)["tables"]["effects"]["rows"]
    (kept,) = [row for row in rows if row["list"] == "good" and row["outcome"] in ("reloan", None)]
    assert kept["holdout"] == "kept"
    assert kept["says"]
    assert {row["list"] for row in rows if row["says"].startswith("no holdout")} == {"arrears", "own"}


def test_an_unknown_list_is_named_with_those_that_there_are(lender: Path) -> None:
    found = asked(lender, "preview", "gold")

    assert found.exit_code == 2
    assert "good, arrears, own" in found.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "good_repayers"', 'kind = "good_repayers"\ncode = "bad_debt"', "audience.good.code"),
        ('kind = "good_repayers"', 'kind = "good_repayers"\nrule = "true"', "kind and rule"),
        ('to = ["meta-ng"]\ncampaigns', 'to = ["meta-gn"]\ncampaigns', "Did you mean 'meta-ng'?"),
        ("'select \"user\" from customer where loans >= 2'", "'drop table customer'", "no select"),
        ('kind = "in_arrears"', 'rule = "event.amount > 3"', "a list has users and no event"),
    ],
)
def test_mistakes_in_lists_are_named(lender: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    found = asked(changed(lender, tmp_path, old, new), "list")

    assert found.exit_code == 2
    assert said in found.stderr


def test_where_the_special_category_holds_a_seed_is_hidden_and_why(lender: Path, tmp_path: Path) -> None:
    folder = changed(lender, tmp_path, 'kind = "good_repayers"', 'kind = "good_repayers"\ncountries = ["US"]')
    (good, *_) = json.loads(asked(folder, "list", "--json").stdout)["lists"]
    other = asked(folder, "look-alike", "good", "--account", "meta-ng", "--country", "US")

    assert good["to"] == []
    assert "no look-alikes" in good["not_sent"]["meta-ng"]
    assert other.exit_code == 1
    assert "special category" in other.stderr
