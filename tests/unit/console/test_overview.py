"""Overview: volumes beside what was expected of them, and what is otherwise than it was a day ago."""

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.browsing import Browser

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.console.pages.overview import Judged
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_log
from lendsignal.log.people import open_people
from lendsignal.model import Event
from lendsignal.model.member import MemberRole
from lendsignal.role.reports import MAKERS

CONFIG = """
[portfolio]
name = "acme"

[brand.acme]

[app.acme-android]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""

PASSWORD = "correct horse battery"
USUAL, DAYS = 40, 25
TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def registrations(last_day: int) -> Iterator[Event]:
    """So many a day for weeks, at the same hours, then yesterday's own number, and one of today."""
    for back in range(DAYS, -1, -1):
        n = 1 if back == 0 else last_day if back == 1 else USUAL + back % 3
        for number in range(n):
            at = TODAY - timedelta(days=back) + timedelta(minutes=number if back else 0)
            yield Event(
                type="registered",
                brand="acme",
                user_id=f"u{back}-{number}",
                event_id=f"e{back}-{number}",
                app="acme-android",
                occurred_at=at,
                received_at=at,
            )


def lender(tmp_path: Path, last_day: int) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    config = configuration.load(path)
    with closing(open_log(DataFolder(config.data).log)) as log:
        decider = Decider(log, config.policy, SystemClock(), lambda: None)
        log.append(list(registrations(last_day)))
        while decider.turn():
            pass
    return config


def parts(config: Config) -> tuple[str, str]:
    """The numbers and the changes of an overview, without tags."""
    app = console(config, None, MAKERS)
    visitor = Browser(app)
    shown = [
        " ".join(re.sub(r"<[^>]+>", " ", visitor.get(path).text).split())
        for path in ("/panel/numbers?of=registered", "/panel/changes")
    ]
    app.state.room.close()
    return shown[0], shown[1]


def test_a_day_as_usual_is_as_expected_and_nothing_is_said_to_have_changed(tmp_path: Path) -> None:
    numbers, changes = parts(lender(tmp_path, USUAL))

    assert f"{USUAL} registrations , yesterday as expected" in numbers
    assert "registrations yesterday, where" not in changes


@pytest.mark.parametrize(("last_day", "word"), [(2, "low"), (USUAL * 5, "high")])
def test_a_day_outside_the_band_is_said_with_what_is_usual(tmp_path: Path, last_day: int, word: str) -> None:
    numbers, changes = parts(lender(tmp_path, last_day))

    assert f"{last_day} registrations , yesterday {word}" in numbers
    usual = re.search(rf"{word} {last_day} registrations yesterday, where (\d+) to (\d+) are usual", changes)
    assert usual is not None
    assert int(usual[1]) < USUAL < int(usual[2])


def test_a_count_is_judged_by_the_ends_of_its_band() -> None:
    def word(n: int) -> str:
        return Judged(day=0, n=n, expected=40.0, low=20, high=60).word

    assert [word(n) for n in (19, 20, 60, 61)] == ["low", "as expected", "as expected", "high"]
    assert Judged(day=0, n=3).word == "young"


def test_what_people_did_within_a_day_is_told_to_who_governs_alone(tmp_path: Path) -> None:
    config = lender(tmp_path, USUAL)
    now = SystemClock().now_us()
    with closing(open_people(DataFolder(config.data).people)) as people:
        app = console(config, people, MAKERS)
        shown = {}
        for role in (MemberRole.ADMIN, MemberRole.VIEWER):
            people.welcome(people.invite(role, now, by="a test"), role, PASSWORD, now)
            browser = Browser(app)
            browser.post("/sign-in", {"login": role, "password": PASSWORD})
            people.note(now, "ada", "pause", "Destinations", "paused: meta")
            shown[role] = browser.get("/panel/changes").text
        app.state.room.close()

    assert "ada" in shown[MemberRole.ADMIN]
    assert "ada" not in shown[MemberRole.VIEWER]
