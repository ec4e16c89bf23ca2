"""The page of erasures: counted first, asked for with a tick, followed to its end, and named nowhere."""

import re
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path

import msgspec
import pytest
from tests.browsing import Browser, Shown
from tests.forgotten import ENVIRONMENT, OTHER, PERSON, USER, Lender
from tests.scripted import platform, says

from lendsignal.clock import SystemClock
from lendsignal.console import console
from lendsignal.console.pages.erasures import STATES
from lendsignal.erase.again import read_from, remembered
from lendsignal.erase.asking import counted, subject_of
from lendsignal.erase.job import carried_on
from lendsignal.erase.receipt import MEANING, STEPS, receipt_of, receipts
from lendsignal.log import DataFolder
from lendsignal.log.people import People, open_people
from lendsignal.model.member import MemberRole

PASSWORD = "correct horse battery"


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lender]:
    """Two users, in the log; no service runs, and platforms refuse what they are asked."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with platform(says(400)) as played:
        made = Lender(tmp_path, played.url)
        made.tell(*made.events(USER, person=PERSON), *made.events(OTHER)).refused(USER)
        yield made


@pytest.fixture
def people(lender: Lender) -> Iterator[People]:
    with closing(open_people(DataFolder(lender.config.data).people)) as found:
        yield found


@pytest.fixture
def app(lender: Lender, people: People) -> Iterator[object]:
    made = console(lender.config, people)
    yield made
    made.state.room.close()


@pytest.fixture
def admin(app: object, people: People) -> Browser:
    return member(app, people, MemberRole.ADMIN)


def member(app: object, people: People, role: MemberRole, language: str = "en") -> Browser:
    now = SystemClock().now_us()
    login = f"{role}-{language}"
    people.welcome(people.invite(role, now, by="a test"), login, PASSWORD, now)
    browser = Browser(app, language=language)
    assert browser.post("/sign-in", {"login": login, "password": PASSWORD}).status == 303
    return browser


def asked_for(admin: Browser, **fields: str) -> str:
    """Asks for an erasure; the receipt's number, to which the page leads."""
    form = admin.get("/erasures").form
    led = admin.post("/erasures/act/erase", {"sure": "yes", **fields, "form": form}).headers["location"]
    found = re.fullmatch(r"/erasures\?receipt=(\w+)", led)
    assert found is not None, led
    return found[1]


def panel(browser: Browser, receipt: str, more: str = "") -> Shown:
    """How far an erasure is, as the page shows it."""
    return browser.get(f"/erasures/panel/receipt?receipt={receipt}{more}")


def test_counting_shows_what_the_log_holds_and_changes_nothing(lender: Lender, admin: Browser) -> None:
    shown = admin.get(f"/erasures?user=acme:{USER}").text

    told = counted(lender.config, subject_of(lender.config, f"acme:{USER}"))
    found = [int(n) for n in re.findall(r"<strong>(\d+)</strong>", shown)]
    assert found == [told.users, told.events, told.installations, told.refused] == [1, 4, 1, 1]
    assert receipts(lender.config) == []


def test_a_user_that_nobody_knows_is_said_to_be_perhaps_misspelt(admin: Browser) -> None:
    assert "is the id spelled as the back end spells it" in admin.get("/erasures?user=acme:u-nobody").text
    assert "is the id spelled as the back end spells it" not in admin.get(f"/erasures?user={USER}").text


def test_what_is_asked_for_here_is_erased_and_the_audit_says_who_asked_and_not_about_whom(
    lender: Lender, people: People, admin: Browser
) -> None:
    about = subject_of(lender.config, f"acme:{USER}")
    assert counted(lender.config, about).events == 4

    receipt = asked_for(admin, user=f"acme:{USER}")
    assert "goes on" in panel(admin, receipt).text
    carried_on(lender.config, lender.clock)

    assert "ended" in panel(admin, receipt).text
    assert counted(lender.config, about).events == 0
    assert receipt_of(lender.config, receipt).by == "admin-en"
    (noted,) = [one for one in people.done() if one.what == "erase"]
    assert (noted.login, noted.about) == ("admin-en", "Erasure")
    assert receipt in noted.note
    assert not any(USER in str(one) for one in people.done())


def test_every_step_and_platform_of_the_receipt_is_shown_with_its_state(
    lender: Lender, admin: Browser
) -> None:
    receipt = asked_for(admin, person=PERSON)
    carried_on(lender.config, lender.clock)

    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", unescape(panel(admin, receipt).text)))
    found = receipt_of(lender.config, receipt)
    for one in found.places:
        assert f"{one.step} {STATES[one.state]} {one.n} {MEANING[one.step]}" in shown
    assert len(found.places) == len(STEPS)
    for asked in found.platforms:
        words = f"{asked.destination} {asked.platform} {STATES[asked.state]} {asked.n} {asked.note}"
        assert words in shown
    assert {asked.destination for asked in found.platforms} >= {"warehouse"}


def test_the_receipt_to_keep_is_the_one_that_programs_are_given(lender: Lender, admin: Browser) -> None:
    receipt = asked_for(admin, user=USER)

    kept = admin.get(f"/erasures/file/receipt?receipt={receipt}")

    assert (
        kept.text
        == msgspec.json.format(msgspec.json.encode(receipt_of(lender.config, receipt))).decode() + "\n"
    )
    assert kept.headers["content-disposition"] == f'attachment; filename="erasure-{receipt}.json"'


def test_a_receipt_tells_whether_it_is_about_somebody_who_is_named(admin: Browser) -> None:
    receipt = asked_for(admin, user=USER)

    assert "Yes: this receipt is about" in panel(admin, receipt, f"&whose=acme:{USER}").text
    assert "No: this receipt is not about" in panel(admin, receipt, f"&whose=acme:{OTHER}").text


def test_who_stays_outside_is_kept_by_hash_as_a_restore_reads_it(
    lender: Lender, admin: Browser, tmp_path: Path
) -> None:
    receipt = asked_for(admin, user=USER)
    carried_on(lender.config, lender.clock, receipt=receipt)

    (tmp_path / "kept.json").write_text(admin.get("/erasures/file/kept-out").text)

    found, told = read_from(tmp_path / "kept.json", lender.config), remembered(lender.config)
    assert told is not None
    assert found.kept_out == told.kept_out
    assert len(found.kept_out.rows) == 1
    assert USER not in (tmp_path / "kept.json").read_text()


def test_an_erasure_needs_its_tick_and_a_name(lender: Lender, admin: Browser) -> None:
    form = admin.get("/erasures").form
    for fields in ({"user": USER}, {"sure": "yes"}, {"sure": "yes", "user": USER, "person": PERSON}):
        admin.post("/erasures/act/erase", {**fields, "form": form})
        assert 'class="said bad"' in admin.get("/erasures").text

    assert receipts(lender.config) == []


def test_whoever_comes_back_is_let_in_again(lender: Lender, admin: Browser) -> None:
    asked_for(admin, user=USER)
    carried_on(lender.config, lender.clock)
    form = admin.get("/erasures").form

    admin.post("/erasures/act/allow", {"user": USER, "form": form})
    assert "1 may come in again" in admin.get("/erasures").text
    admin.post("/erasures/act/allow", {"user": OTHER, "form": form})
    assert "0 may come in again" in admin.get("/erasures").text


@pytest.mark.parametrize("role", [role for role in MemberRole if role is not MemberRole.ADMIN])
def test_nobody_but_an_admin_sees_or_asks_for_an_erasure(
    lender: Lender, app: object, people: People, role: MemberRole
) -> None:
    browser = member(app, people, role)

    form = browser.get("/").form
    assert browser.get("/erasures").status == 403
    assert browser.get("/erasures/panel/receipt?receipt=x").status == 403
    assert browser.get("/erasures/file/kept-out").status == 403
    assert browser.post("/erasures/act/erase", {"user": USER, "sure": "yes", "form": form}).status == 403
    assert receipts(lender.config) == []
    timeline = browser.get(f"/life/panel/life?q=acme:{USER}")
    assert timeline.status == 200
    assert "/erasures" not in browser.get(f"/life?q=acme:{USER}").text + timeline.text


def test_an_admin_comes_from_a_users_timeline_to_their_erasure(admin: Browser) -> None:
    assert f'href="/erasures?user=acme%3A{USER}"' in admin.get(f"/life/panel/life?q=acme:{USER}").text


def test_the_page_and_the_receipt_speak_chinese(lender: Lender, app: object, people: People) -> None:
    admin = member(app, people, MemberRole.ADMIN, "zh-CN")
    receipt = asked_for(admin, user=USER)
    carried_on(lender.config, lender.clock)

    shown = panel(admin, receipt).text
    assert "个人数据删除" in admin.get(f"/erasures?receipt={receipt}").text
    for meaning in MEANING.values():
        assert meaning not in shown
