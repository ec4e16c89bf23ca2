"""A change of routes in the console: drafted, told its mistakes, rehearsed, taken over or handed out."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.acme import DAY, loan, login
from tests.browsing import Browser, Shown

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.console.drafts import MOST_DRAFTS, Drafts
from lendsignal.console.room import Room
from lendsignal.decide import Decider
from lendsignal.errors import InputError, LendsignalError
from lendsignal.log import DataFolder, open_log
from lendsignal.log.people import open_people
from lendsignal.model.member import MemberRole
from lendsignal.role.reports import MAKERS

PASSWORD = "correct horse battery"

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
send = { disbursement = "ev_d" }  # the only one
"""

RENAMED = CONFIG.replace('"ev_d"', '"ev_x"')


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lender of three loans."""
    monkeypatch.setenv("ACME_TOKEN", "sesame")
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    with closing(open_log(DataFolder(tmp_path / "data").log)) as log:
        decider = Decider(log, configuration.load(path).policy, SystemClock(), lambda: None)
        log.append(
            [login(-5, "a"), loan(0, "L1"), loan(60, "L2"), login(2 * DAY, "b"), loan(2 * DAY + 5, "L3")]
        )
        while decider.turn():
            pass
    return path


@pytest.fixture
def config(path: Path) -> Config:
    return configuration.load(path)


@pytest.fixture
def room(config: Config) -> Iterator[Room]:
    found = Room(config, MAKERS)
    yield found
    found.close()


@pytest.fixture
def visitor(config: Config) -> Iterator[Browser]:
    app = console(config, None, MAKERS)
    yield Browser(app)
    app.state.room.close()


def did(visitor: Browser, act: str, **fields: str) -> tuple[str, Shown]:
    """Where an act leads, and what stands there."""
    answer = visitor.post(f"/routes/act/{act}", {"form": visitor.get("/routes").form, **fields})
    assert answer.status == 303
    return answer.headers["location"], visitor.get(answer.headers["location"])


def id_in(address: str) -> str:
    found = re.fullmatch(r"/routes\?draft=(\w+)", address)
    assert found is not None, address
    return found[1]


def plain(shown: Shown) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", shown.text).split())


def test_a_name_changed_in_the_form_is_compared_over_the_last_days_as_plan_does(
    path: Path, visitor: Browser
) -> None:
    address, drafted = did(visitor, "draft_route", **{"route": "0", "send.disbursement": "ev_x"})
    difference = plain(visitor.get(address.replace("/routes?", "/routes/panel/difference?")))
    told = CliRunner().invoke(main, ["plan", "--config", str(changed(path))])

    assert "Nothing has changed yet" in plain(drafted)
    assert "+send = { disbursement = &#34;ev_x&#34; }  # the only one" in drafted.text
    assert "3 before, 3 after, 0 the same" in told.output
    assert "3 before, 3 after, 0 of them the same" in difference
    row = re.search(r"disbursement appsflyer-ng (.*?) Volume", difference)
    assert row is not None
    assert row[1].split() == ["·", "·", "·", "3", "·"]  # too, no more, moved, renamed, revalued
    assert path.read_text() == CONFIG


def changed(path: Path) -> Path:
    found = path.with_name("changed.toml")
    found.write_text(RENAMED)
    return found


def test_every_mistake_of_a_text_is_told_at_once_and_nothing_can_be_taken_over(
    path: Path, visitor: Browser
) -> None:
    wrong = CONFIG.replace("Lagos", "Logos").replace('to = "appsflyer-ng"', 'to = "apsflyer-ng"')
    address, drafted = did(visitor, "draft_text", text=wrong + "\n[door]\nprot = 1\n")
    told = plain(drafted)
    _, refused = did(visitor, "take_over", draft=id_in(address))

    for key in ("app.acme-ng.timezone", "door.prot", "route[0].to"):
        assert key in told
    assert "Did you mean appsflyer-ng?" in told
    assert "Take it over" not in told
    assert "it has mistakes" in plain(refused)
    assert path.read_text() == CONFIG


def test_a_draft_that_is_taken_over_replaces_the_file_keeps_the_old_one_and_is_written_down(
    path: Path, config: Config, visitor: Browser
) -> None:
    path.chmod(0o640)
    address, _ = did(visitor, "draft_text", text=RENAMED)
    to, told = did(visitor, "take_over", draft=id_in(address))

    (kept,) = path.parent.glob("lendsignal.toml.*.bak")
    assert (path.read_text(), kept.read_text(), to) == (RENAMED, CONFIG, "/routes")
    assert path.stat().st_mode & 0o777 == 0o640
    assert kept.name in plain(told)
    assert "was changed since the service was started" in plain(told)
    assert sorted(each.name for each in path.parent.iterdir()) == ["data", path.name, kept.name]
    with closing(open_people(DataFolder(config.data).people)) as people:
        (done,) = people.done()
    assert (done.login, done.what, done.about) == ("demo", "take over", "Routes")


def test_a_file_that_somebody_changed_meanwhile_is_not_overwritten(path: Path, visitor: Browser) -> None:
    address, _ = did(visitor, "draft_text", text=RENAMED)
    path.write_text(CONFIG + "# by hand\n")
    _, told = did(visitor, "take_over", draft=id_in(address))

    assert "the file was changed since" in plain(told)
    assert path.read_text() == CONFIG + "# by hand\n"


def test_a_file_that_cannot_be_replaced_is_handed_out_to_be_put_in_place(
    path: Path, visitor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Drafts, "can_be_taken_over", lambda self: False)
    address, shown = did(visitor, "draft_text", text=RENAMED)
    text = visitor.get(f"/routes/file/toml?draft={id_in(address)}")

    assert "Take it over" not in shown.text
    assert "cannot be replaced from here" in plain(shown)
    assert text.text == RENAMED
    assert "attachment" in text.headers["content-disposition"]


def test_a_disk_that_refuses_leaves_the_file_whole(
    room: Room, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = room.drafts.keep(RENAMED, "ada", 1)

    def refuses(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuses)
    with pytest.raises(LendsignalError, match="No space left"):
        room.drafts.take_over(draft, 1)

    assert path.read_text() == CONFIG
    assert sorted(each.name for each in path.parent.iterdir()) == ["data", path.name]


def test_one_change_after_another_goes_into_the_same_draft(path: Path, visitor: Browser) -> None:
    address, _ = did(visitor, "draft_route", **{"route": "0", "send.disbursement": "ev_x"})
    further = {"route": "new", "draft": id_in(address), "to": "appsflyer-ng"}
    more = {"conversion": "first_loan", "send.": "ev_fl", "value.": "predicted", "mode": "shadow"}
    address, shown = did(visitor, "draft_route", **further, **more)

    text = visitor.get(f"/routes/file/toml?draft={id_in(address)}").text
    assert 'send = { disbursement = "ev_x" }' in text
    assert 'send  = { first_loan = "ev_fl" }\nvalue = { first_loan = "predicted" }\nmode  = "shadow"' in text
    assert "no mistakes" in plain(shown)


def test_a_form_that_says_nothing_to_send_is_refused(visitor: Browser) -> None:
    _, told = did(visitor, "draft_route", **{"route": "0", "send.disbursement": ""})

    assert "a route sends something" in plain(told)


def test_an_operator_drafts_an_admin_takes_over_and_a_viewer_sees_no_text(config: Config) -> None:
    with closing(open_people(DataFolder(config.data).people)) as people:
        now = SystemClock().now_us()
        app = console(config, people, MAKERS)
        browsers = {}
        for role in (MemberRole.VIEWER, MemberRole.OPERATOR, MemberRole.ADMIN):
            people.welcome(people.invite(role, now, by="a test"), role, PASSWORD, now)
            browsers[role] = Browser(app)
            assert browsers[role].post("/sign-in", {"login": role, "password": PASSWORD}).status == 303
        viewer, operator, admin = browsers.values()

        address, drafted = did(operator, "draft_text", text=RENAMED)
        draft = id_in(address)
        form = {"form": viewer.get("/routes").form}
        mine = {"form": operator.get("/routes").form}
        assert "Take it over" not in drafted.text
        assert "An admin can take it over" in drafted.text
        assert operator.post("/routes/act/take_over", {**mine, "draft": draft}).status == 403
        assert "the only one" not in viewer.get(address).text
        assert viewer.get(f"/routes/file/toml?draft={draft}").status == 503
        assert "forgotten" in viewer.get(f"/routes/panel/difference?draft={draft}").text
        assert viewer.post("/routes/act/draft_text", {**form, "text": RENAMED}).status == 403
        assert did(admin, "take_over", draft=draft)[0] == "/routes"
        assert config.path.read_text() == RENAMED
        app.state.room.close()


def test_only_the_latest_drafts_are_remembered(room: Room) -> None:
    drafts = [room.drafts.keep(f"{CONFIG}# {n}\n", "ada", n) for n in range(MOST_DRAFTS + 1)]

    assert room.drafts.of(drafts[0].id) is None
    assert room.drafts.of(drafts[1].id) == drafts[1]


def test_a_draft_nobody_knows_any_more_is_said_so(visitor: Browser) -> None:
    assert "This draft was forgotten" in visitor.get("/routes?draft=0").text
    assert "forgotten" in plain(did(visitor, "take_over", draft="0")[1])


def test_a_log_that_is_too_long_to_stand_beside_a_service_is_left_to_the_terminal(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lendsignal.console.drafts.MOST_EVENTS", 3)
    draft = room.drafts.keep(RENAMED, "ada", 1)

    with pytest.raises(LendsignalError, match="rehearse it with lendsignal plan"):
        room.drafts.plan(draft, room.config, room.folder)


def test_a_draft_with_mistakes_is_not_taken_over(room: Room) -> None:
    with pytest.raises(InputError, match="mistakes"):
        room.drafts.take_over(room.drafts.keep("[portfolio]", "ada", 1), 1)
