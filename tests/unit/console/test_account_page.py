"""A member's own page: what the role allows, and a language that is remembered wherever he signs in."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.browsing import Browser
from tests.unit.console.test_keys_page import CONFIG

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.console import console
from lendsignal.log import DataFolder
from lendsignal.log.people import People, open_people
from lendsignal.model.member import MemberRole

PASSWORD = "correct horse battery"


class House:
    """A console with one viewer."""

    def __init__(self, path: Path, people: People) -> None:
        self.people = people
        self.app = console(configuration.load(path), people)
        now = SystemClock().now_us()
        people.welcome(people.invite(MemberRole.VIEWER, now, by="a test"), "vera", PASSWORD, now)

    def signed_in(self) -> Browser:
        """A browser of its own, which asks for English."""
        browser = Browser(self.app)
        assert browser.post("/sign-in", {"login": "vera", "password": PASSWORD}).status == 303
        return browser


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    with closing(open_people(DataFolder(configuration.load(path).data).people)) as people:
        found = House(path, people)
        yield found
        found.app.state.room.close()


def test_a_language_kept_in_the_account_counts_in_every_browser(house: House) -> None:
    first, second = house.signed_in(), house.signed_in()
    first.post("/account/act/remember", {"form": first.get("/account").form, "language": "zh"})

    assert '<html lang="zh-Hans"' in second.get("/").text
    assert '<html lang="zh-Hans"' in house.signed_in().get("/account").text


def test_the_switch_of_the_menu_is_remembered_too(house: House) -> None:
    first, second = house.signed_in(), house.signed_in()
    first.post("/taste", {"form": first.get("/").form, "language": "zh"})

    assert '<html lang="zh-Hans"' in second.get("/").text


def test_a_form_of_another_site_changes_nobody_s_language(house: House) -> None:
    browser = house.signed_in()
    browser.post("/taste", {"language": "zh"})
    browser.post("/taste", {"form": browser.get("/").form, "language": "zh"}, sec_fetch_site="cross-site")

    assert '<html lang="en"' in house.signed_in().get("/").text


def test_a_language_is_forgotten_again_and_that_of_the_browser_counts(house: House) -> None:
    browser = house.signed_in()
    for language in ("zh", ""):
        browser.post("/account/act/remember", {"form": browser.get("/account").form, "language": language})

    assert '<html lang="en"' in house.signed_in().get("/").text


def test_a_language_that_nobody_speaks_here_is_refused(house: House) -> None:
    browser = house.signed_in()
    browser.post("/account/act/remember", {"form": browser.get("/account").form, "language": "tlh"})

    assert "one of en, zh" in browser.get("/account").text


def test_the_page_says_what_the_role_allows(house: House) -> None:
    shown = house.signed_in().get("/account").text

    assert "to see reports and lives" in shown
    assert "to keep deliveries going" not in shown
