"""What stands on a platform and is sent there no more: told at once, emptied when its time has come."""

import json
import logging
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from click.testing import CliRunner, Result
from tests.telling import build, data_folder
from tests.unit.report.kept import Still

from lendsignal.cli import main
from lendsignal.clock import from_us
from lendsignal.config import Config, load
from lendsignal.log import open_audiences
from lendsignal.role.audience import brought_in_step
from lendsignal.role.lists import left_behind, plan_of

DAY = 24 * 60
CONFIG = """
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

[service]
replay_clock = "clock"
"""
LIST = """
[audience.summer]
kind = "repeat_eligible"
to = ["partner"]
"""
ARREARS = """
[audience.arrears]
kind = "in_arrears"
to = ["partner"]
"""
ACCOUNT = """
[audience_account.partner]
kind = "file"
to = "out"
columns = ["mobile_id"]
"""


class Lender:
    """A lender whose lists go into a folder, and whose configuration changes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = Still(0)
        self.configure(LIST, ACCOUNT)
        self.folder = data_folder(self.config.data)
        build(self.folder, "summer", {1: 1.0, 2: 1.0})

    def configure(self, *parts: str) -> None:
        (self.home / "lendsignal.toml").write_text("".join((CONFIG, *parts)))
        (self.home / "clock").write_text(from_us(self.clock.now_us()).isoformat())
        self.config: Config = load(self.home / "lendsignal.toml")

    def at(self, minutes: float) -> None:
        self.clock = Still(minutes)

    def round(self) -> dict[str, str]:
        found = brought_in_step(self.config, self.clock, Event())
        return {one.audience: one.outcome for one in found}

    def members(self) -> list[str]:
        (file,) = (self.home / "out").glob("*.csv")
        return file.read_text().splitlines()[1:]

    def states(self) -> dict[str, str]:
        with closing(open_audiences(self.folder.audiences)) as book:
            left = left_behind(self.config, book, plan_of(self.config, book), self.clock.now_us())
            return {one.audience: one.why for one in left}

    def says(self, *words: str) -> Result:
        (self.home / "clock").write_text(from_us(self.clock.now_us()).isoformat())
        path = str(self.home / "lendsignal.toml")
        return CliRunner().invoke(main, ["audience", *words, "--config", path])


@pytest.fixture
def lender(tmp_path: Path) -> Lender:
    made = Lender(tmp_path)
    assert made.round() == {"summer": "in_step"}
    assert len(made.members()) == 2
    return made


def test_a_list_that_left_the_configuration_is_told_and_emptied_after_its_grace(
    lender: Lender, caplog: pytest.LogCaptureFixture
) -> None:
    lender.configure(ACCOUNT)
    with caplog.at_level(logging.WARNING):
        assert lender.round() == {}
        lender.round()
    said = [one.getMessage() for one in caplog.records]
    assert [one for one in said if "summer" in one and "2 members" in one] == said[:1], "told once"
    assert lender.states() == {"summer": "no longer in the configuration"}

    lender.at(DAY - 1)
    assert lender.round() == {}
    assert len(lender.members()) == 2
    lender.at(DAY)
    assert lender.round() == {"summer": "in_step"}
    assert lender.members() == []
    assert lender.states() == {}
    assert lender.round() == {}, "once is enough"


def test_a_list_that_comes_back_in_time_keeps_its_members(lender: Lender) -> None:
    lender.configure(ACCOUNT)
    lender.round()
    lender.at(DAY / 2)
    lender.configure(LIST, ACCOUNT)
    lender.round()
    lender.at(DAY * 1.2)
    lender.configure(ACCOUNT)
    lender.round()

    assert len(lender.members()) == 2, "the grace begins anew"


def test_retire_empties_at_once_what_is_not_sent_any_more_and_nothing_else(lender: Lender) -> None:
    refused = lender.says("retire", "summer")
    assert refused.exit_code == 2
    assert "it is sent to partner" in refused.stderr

    lender.configure(ACCOUNT)
    unknown = lender.says("retire", "winter")
    assert "there is summer" in unknown.stderr
    found = lender.says("retire", "summer", "--json")
    assert [one["outcome"] for one in json.loads(found.stdout)] == ["in_step"]
    assert lender.members() == []


def test_members_in_an_account_that_is_gone_are_never_passed_over_in_silence(lender: Lender) -> None:
    lender.configure()
    lender.round()
    lender.at(3 * DAY)
    assert lender.round() == {}
    (row,) = json.loads(lender.says("status", "--json").stdout)["tables"]["accounts"]["rows"]
    assert (row["list"], row["confirmed"]) == ("summer", 2)
    assert "its account is in the configuration no more" in row["state"]

    refused = lender.says("retire", "summer")
    assert refused.exit_code == 1
    assert "stay in partner" in refused.stderr


def test_a_list_that_nobody_answers_for_any_more_stays_until_a_person_says(lender: Lender) -> None:
    lender.configure(LIST, ARREARS, ACCOUNT)
    build(lender.folder, "arrears", {3: 1.0})
    reason = "counsel agreed on 3 March: none while in arrears"
    assert lender.says("confirm", "arrears", "--reason", reason).exit_code == 0
    assert lender.round() == {"summer": "in_step", "arrears": "in_step"}
    withdrawn = lender.says("confirm", "arrears", "--reason", "counsel changed its mind", "--withdraw")
    assert "lendsignal audience retire arrears" in withdrawn.stdout

    lender.at(9 * DAY)
    assert lender.round() == {"summer": "in_step"}
    assert "fair lending" in lender.states()["arrears"]
    found = lender.says("retire", "arrears", "--json")
    assert [one["list"] if "list" in one else one["audience"] for one in json.loads(found.stdout)] == [
        "arrears"
    ]
    assert lender.states() == {}
