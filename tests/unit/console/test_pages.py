"""The console's pages, asked as an ASGI application over a small data folder."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.browsing import Browser

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.console.app import FORM_HERE, every_page
from lendsignal.console.filters import SHOWN
from lendsignal.console.reporting import CELLS, FEWEST, rows_shown
from lendsignal.decide import Decider
from lendsignal.errors import ConfigError
from lendsignal.log import DataFolder, open_log
from lendsignal.log.people import People, open_people
from lendsignal.model import Device, Event
from lendsignal.model.member import MemberRole
from lendsignal.report import Column, Table
from lendsignal.role.reports import MAKERS

NOW = datetime.now(UTC) - timedelta(hours=1)
PASSWORD = "correct horse battery"

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


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    return configuration.load(path)


Come = Callable[..., Browser]


@pytest.fixture
def come(config: Config) -> Iterator[Come]:
    """Has somebody look at the console; without people it is an open one."""
    consoles = []

    def come(people: People | None = None, **also: str) -> Browser:
        consoles.append(console(config, people, MAKERS))
        return Browser(consoles[-1], **also)

    yield come
    for each in consoles:
        each.state.room.close()


@pytest.fixture
def visitor(come: Come) -> Browser:
    """Somebody who looks at an open console."""
    return come()


@pytest.fixture
def people(config: Config) -> Iterator[People]:
    found = open_people(DataFolder(config.data).people)
    yield found
    found.close()


def member(come: Come, people: People, role: MemberRole, **also: Any) -> Browser:
    """Somebody who has signed in."""
    now = SystemClock().now_us()
    people.welcome(people.invite(role, now, by="a test", **also), role, PASSWORD, now)
    browser = come(people)
    assert browser.post("/sign-in", {"login": role, "password": PASSWORD}).status == 303
    return browser


@pytest.fixture
def loans(config: Config) -> None:
    folder = DataFolder(config.data)
    log = open_log(folder.log)
    decider = Decider(log, config.policy, SystemClock(), lambda: None)
    device = Device(os="android", appsflyer_id="1763712345678-1", firebase_app_instance_id="a" * 32)
    log.append(
        [
            event("registered", 0, device=device, app="acme-android"),
            event("applied", 1, application_id="A1"),
            event("disbursed", 2, loan_id="L1", amount=Decimal(15000), fee=Decimal(2250), currency="NGN"),
        ]
    )
    while decider.turn():
        continue
    log.close()


def event(kind: str, minute: int, **facts: Any) -> Event:
    at = NOW + timedelta(minutes=minute)
    return Event(
        type=kind,
        brand="acme",
        user_id="u<1>",
        event_id=f"e{minute}",
        occurred_at=at,
        received_at=at,
        **facts,
    )


@pytest.mark.parametrize("path", [page.path for page in every_page()])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_every_page_and_every_part_of_it_shows_itself_over_an_empty_folder(
    come: Come, path: str, language: str
) -> None:
    visitor = come(language=language)

    shown = visitor.get(path)
    assert shown.status == 200
    page = next(page for page in every_page() if page.path == path)
    for name in page.panels:
        assert visitor.get(f"{path.rstrip('/')}/panel/{name}").status == 200


@pytest.mark.usefixtures("loans")
@pytest.mark.parametrize("path", [page.path for page in every_page()])
def test_every_page_and_every_part_of_it_shows_itself_over_loans(visitor: Browser, path: str) -> None:
    page = next(page for page in every_page() if page.path == path)

    assert visitor.get(path).status == 200
    for name in page.panels:
        assert visitor.get(f"{path.rstrip('/')}/panel/{name}").status == 200


def test_pages_speak_the_language_that_is_asked_for_and_remember_a_choice(come: Come) -> None:
    chinese = come(language="zh-CN,zh;q=0.9")
    english = come(language="fr")

    assert '<html lang="zh-Hans"' in chinese.get("/").text
    assert '<html lang="en"' in english.get("/").text
    english.post("/taste", {"language": "zh"})
    assert '<html lang="zh-Hans"' in english.get("/").text


@pytest.mark.usefixtures("loans")
def test_an_event_is_explained_and_a_stranger_is_not_known(visitor: Browser) -> None:
    assert "disbursed" in visitor.get("/life/panel/life?q=e2").text
    assert "Nobody and nothing here" in visitor.get("/life/panel/life?q=nobody").text


@pytest.mark.usefixtures("loans")
def test_the_page_of_a_life_comes_before_anything_is_looked_up(
    visitor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lendsignal.report.explain", None)  # asked it would fail

    shown = visitor.get("/life?q=e2")
    assert shown.status == 200
    assert 'hx-get="/life/panel/life?q=e2"' in shown.text
    assert visitor.get("/life/panel/life").status == 200


@pytest.mark.usefixtures("loans")
def test_what_people_typed_is_never_taken_for_markup(visitor: Browser) -> None:
    shown = visitor.get("/life?q=%3Cscript%3Ealert(1)%3C/script%3E").text

    part = visitor.get("/life/panel/life?q=%3Cscript%3Ealert(1)%3C/script%3E").text

    assert "<script>alert" not in shown + part
    assert "&lt;script&gt;alert" in shown
    assert "u<1>" not in visitor.get("/life?q=e2").text
    assert "u<1>" not in visitor.get("/life/panel/life?q=e2").text


def test_pages_allow_nothing_from_elsewhere_and_no_style_or_script_of_their_own(visitor: Browser) -> None:
    shown = visitor.get("/")

    policy = shown.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert shown.headers["x-content-type-options"] == "nosniff"
    for forbidden in ('src="http', 'href="http', " style=", "<style", "onclick", "javascript:"):
        assert forbidden not in shown.text


def test_a_damaged_folder_is_said_and_not_hidden(config: Config, visitor: Browser) -> None:
    DataFolder(config.data).log.write_bytes(b"this is no database" * 100)

    shown = visitor.get("/panel/numbers")

    assert shown.status == 503
    assert "log.sqlite" in shown.text


def test_an_open_console_answers_on_this_machine_only(come: Come) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert come(host=host).get("/").status == 200
    assert come(host="rebound.example").get("/").status == 421


def test_a_console_that_is_open_to_other_machines_is_refused_by_check(tmp_path: Path) -> None:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG + '\n[web]\nhost = "0.0.0.0"\nopen = true\n')

    with pytest.raises(ConfigError, match=r"web\.open"):
        configuration.load(path)


def test_who_has_not_signed_in_sees_nothing_and_comes_back_to_where_he_wanted(
    come: Come, people: People
) -> None:
    stranger = come(people)

    for page in every_page():
        assert stranger.get(page.path).status == 303
        for name in page.panels:
            assert stranger.get(f"{page.path.rstrip('/')}/panel/{name}").status == 401
    assert stranger.get("/fresh").status == 401
    assert stranger.get("/life?q=u1").headers["location"] == "/sign-in?to=%2Flife%3Fq%3Du1"


def test_a_first_visitor_makes_himself_admin_with_the_link_from_the_terminal(
    come: Come, people: People
) -> None:
    code = people.invite(MemberRole.ADMIN, SystemClock().now_us(), by="the terminal")
    first = come(people)
    fields = {"login": "ada", "password": PASSWORD, "again": PASSWORD}

    assert "differ" in first.post(f"/welcome?code={code}", {**fields, "again": "else"}).text
    assert first.post(f"/welcome?code={code}", fields).status == 303

    assert "ada" in first.get("/people").text
    assert come(people).get(f"/welcome?code={code}").status == 403


def test_a_wrong_password_is_told_and_opens_nothing(come: Come, people: People) -> None:
    member(come, people, MemberRole.VIEWER)
    stranger = come(people)

    shown = stranger.post("/sign-in", {"login": "viewer", "password": "wrong horse battery"})

    assert (shown.status, "do not fit" in shown.text) == (403, True)
    assert stranger.get("/").status == 303


def test_signing_in_leads_to_a_page_of_ours_and_never_elsewhere(come: Come, people: People) -> None:
    member(come, people, MemberRole.VIEWER)
    fields = {"login": "viewer", "password": PASSWORD}

    for wished in ("https://evil.example/", "//evil.example", "/\\evil.example", "/sign-in"):
        answer = come(people).post(f"/sign-in?to={wished}", fields)
        assert answer.headers["location"] == "/"
    assert come(people).post("/sign-in?to=/live", fields).headers["location"] == "/live"


def test_the_cookie_is_for_the_browser_alone(come: Come, people: People) -> None:
    member(come, people, MemberRole.VIEWER)

    answer = come(people).post("/sign-in", {"login": "viewer", "password": PASSWORD})

    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=lax" in answer.headers["set-cookie"].lower()


def test_a_form_of_another_site_or_session_does_nothing(come: Come, people: People) -> None:
    admin = member(come, people, MemberRole.ADMIN)
    fields = {"role": "viewer", "form": admin.get("/people").form}

    assert admin.post("/people/act/invite", {**fields, "form": "guessed"}).status == 403
    assert admin.post("/people/act/invite", fields, sec_fetch_site="cross-site").status == 403
    assert admin.post("/people/act/invite", {"role": "viewer"}).status == 403
    assert admin.post("/people/act/invite", fields).status == 303


def test_the_forms_of_a_page_carry_the_secret_of_the_session(come: Come, people: People) -> None:
    shown = member(come, people, MemberRole.ADMIN).get("/people")

    carried = set(re.findall(r'name="form" value="([^"]*)"', shown.text))

    assert carried == {shown.form}


@pytest.mark.parametrize("role", list(MemberRole))
def test_each_role_sees_and_does_only_what_it_may(come: Come, people: People, role: MemberRole) -> None:
    browser = member(come, people, role)
    here = next(one for one in people.members() if one.role is role)
    home = browser.get("/")
    form = home.form

    for page in every_page():
        may_see = here.may(page.may)
        assert browser.get(page.path).status == (200 if may_see else 403)
        assert (f'href="{page.path}"' in home.text) == (may_see and page.group is not None)
        for name, act in page.acts.items():
            if not (may_see and here.may(act.may)):
                refused = browser.post(f"{page.path.rstrip('/')}/act/{name}", {"form": form})
                assert refused.status == 403


def test_who_sees_some_campaigns_only_does_not_see_pages_of_all(come: Come, people: People) -> None:
    agency = member(come, people, MemberRole.BUYER, campaigns=("ng_spring",))

    for page in every_page():
        assert agency.get(page.path).status == (200 if page.by_campaign and page.may != "govern" else 403)


def test_who_signs_out_is_out(come: Come, people: People) -> None:
    viewer = member(come, people, MemberRole.VIEWER)

    viewer.post("/sign-out", {"form": viewer.get("/").form})

    assert viewer.get("/").status == 303


def test_what_an_admin_does_to_a_member_is_told_and_written_down(come: Come, people: People) -> None:
    admin = member(come, people, MemberRole.ADMIN)
    member(come, people, MemberRole.VIEWER)
    fields = {"login": "viewer", "role": "buyer", "form": admin.get("/people").form}

    assert admin.post("/people/act/change", fields).status == 303

    assert "Changed: viewer." in admin.get("/people").text
    assert (people.done()[0].login, people.done()[0].what) == ("admin", "changed a member")


@pytest.mark.usefixtures("loans")
def test_a_part_that_was_reckoned_before_is_reckoned_anew_once_something_came_in(
    config: Config, visitor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lendsignal.console.room.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("lendsignal.console.room.FRESH_TIMES", 0)
    before = visitor.get("/campaigns/panel/loans").text
    log = open_log(DataFolder(config.data).log)
    decider = Decider(log, config.policy, SystemClock(), lambda: None)
    log.append([event("disbursed", 3, loan_id="L2", amount=Decimal(700), currency="NGN")])
    while decider.turn():
        continue
    log.close()

    after = visitor.get("/campaigns/panel/loans").text

    assert ("e2" in before, "e3" in before) == (True, False)
    assert ("e2" in after, "e3" in after) == (True, True)


def test_what_is_kept_for_all_carries_each_one_s_own_secret_and_what_his_role_may(
    come: Come, people: People
) -> None:
    admin, viewer = (member(come, people, role) for role in (MemberRole.ADMIN, MemberRole.VIEWER))

    for browser in (admin, viewer):
        shown = browser.get("/destinations/panel/rates")
        assert shown.status == 200
        assert FORM_HERE not in shown.text
    assert admin.get("/").form != viewer.get("/").form


def packed(visitor: Browser, path: str) -> int:
    """The bytes of a script or a style sheet as they go over the wire."""
    answer = visitor.get(path, accept_encoding="gzip")
    assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
    return answer.size


def test_scripts_and_styles_are_packed_and_pages_with_a_secret_in_them_are_not(visitor: Browser) -> None:
    assert packed(visitor, "/static/vendor/htmx-2.0.11.min.js") < 20_000
    assert "content-encoding" not in visitor.get("/", accept_encoding="gzip").headers


@pytest.mark.usefixtures("loans")
def test_no_page_with_all_its_parts_is_heavier_than_300_kb(visitor: Browser) -> None:
    scripts = sum(
        packed(visitor, path)
        for path in (
            "/static/vendor/htmx-2.0.11.min.js",
            "/static/vendor/uplot-1.6.32.min.js",
            "/static/vendor/uplot-1.6.32.min.css",
            "/static/console.js",
            "/static/style.css",
        )
    )

    for page in every_page():
        parts = [f"{page.path.rstrip('/')}/panel/{name}" for name in page.panels]
        assert scripts + sum(visitor.get(path).size for path in (page.path, *parts)) < 300_000, page.path


def test_a_page_shows_so_many_cells_however_many_tables_a_report_has() -> None:
    columns = tuple(Column(f"c{n}") for n in range(20))
    rows = tuple(tuple(range(20)) for _ in range(500))
    tables = [(f"t{n}", Table(title="T", columns=columns, rows=rows)) for n in range(8)]

    shown = rows_shown(tables)

    assert shown["t0"] == CELLS // 20
    assert set(list(shown.values())[1:]) == {FEWEST}
    assert rows_shown([("t", Table(title="T", columns=columns[:2], rows=rows))]) == {"t": SHOWN}
    assert rows_shown([("t", Table(title="T", columns=columns, rows=rows[:3]))]) == {"t": 3}
