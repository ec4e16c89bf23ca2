"""Strategies compared on the page of advice: the figures of the command line, every state of the panel."""

import re
import tomllib
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from tests.browsing import Browser

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.console import console
from lendsignal.console.strategies import BINDINGS, EVENTS, READY, VALUES, Drafted, address_of
from lendsignal.log.people import open_people
from lendsignal.model.member import MemberRole
from lendsignal.role import market as playing
from lendsignal.role.market import compared_in_market
from lendsignal.simulate.market import DEFAULT, Strategy, strategy_of

CONFIG = """
[portfolio]
name = "acme"
[brand.acme]
[app.acme-android]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""

PASSWORD = "correct horse battery"

STRATEGIES = (
    Drafted(event="first_credit"),
    Drafted(
        event="credit_top50", value="predicted", binding="first_install", hours=24, manual=10, minutes=15
    ),
)
ADDRESS = f"{address_of(STRATEGIES)}&worlds=4&seed=7"
PANEL = f"/advice/panel/market?{ADDRESS}"
CSV = f"/advice/file/table?{ADDRESS}&of=market&table="


@pytest.fixture(scope="module", autouse=True)
def two_weeks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The default market, for both who play in it, with ads of two weeks in place of six."""
    market = tmp_path_factory.mktemp("default") / "market.toml"
    market.write_text(DEFAULT.read_text().replace("days = 42", "days = 14"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lendsignal.simulate.market.parameters.DEFAULT", market)
        playing._compared.cache_clear()
        yield
    playing._compared.cache_clear()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> configuration.Config:
    folder = tmp_path_factory.mktemp("market")
    (folder / "lendsignal.toml").write_text(CONFIG)
    return configuration.load(folder / "lendsignal.toml")


@pytest.fixture
def visitor(config: configuration.Config) -> Iterator[Browser]:
    app = console(config, market=compared_in_market)
    yield Browser(app)
    app.state.room.close()


def plain(text: str) -> str:
    """A page without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def pasted(text: str) -> list[str]:
    """What the panel offers to paste: the files, then the command."""
    return [unescape(each) for each in re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)]


def test_the_page_and_the_command_line_tell_the_same_figures_of_what_the_page_says_to_paste(
    visitor: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = visitor.get(PANEL)
    *files, command = pasted(shown.text)
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("a.toml", "b.toml"), files, strict=True):
        Path(name).write_text(text)

    answer = CliRunner().invoke(main, [*command.split()[1:], "--json"])
    told: dict[str, Any] = msgspec.json.decode(answer.stdout)

    assert (shown.status, answer.exit_code) == (200, 0), answer.output
    assert command == "lendsignal simulate --strategy a.toml b.toml --worlds 4 --seed 7"
    for name, table in told["tables"].items():
        head, *lines = visitor.get(CSV + name).text.lstrip("\ufeff").splitlines()
        assert head.split(",") == [column["name"] for column in table["columns"]]
        assert len(lines) == len(table["rows"]) >= 1
    report = compared_in_market([one.to_toml() for one in STRATEGIES], 4, 7)
    assert msgspec.json.decode(report.to_json()) == told
    best = report.tables()["strategies"].records()[0]["profit_per_spend"]
    assert f"{best:.1%}" in plain(shown.text)


def test_what_is_compared_is_shown_with_its_seed_its_intervals_and_what_it_rests_on(visitor: Browser) -> None:
    shown = visitor.get(PANEL)

    assert "2 strategies in 4 made-up worlds Seed 7" in plain(shown.text)
    assert "The market is made up." in plain(shown.text)
    assert "docs/how-to/compare-strategies.md" in shown.text
    assert shown.text.count("<svg") == 2  # for a wide page and for a phone
    assert STRATEGIES[1].name in plain(shown.text)


def test_a_second_look_plays_nothing_again_also_in_another_language(
    visitor: Browser, config: configuration.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = visitor.get(PANEL)
    monkeypatch.setattr("lendsignal.simulate.market.play", None)  # asked again it would fail

    app = console(config, market=compared_in_market)
    chinese = Browser(app, language="zh-CN").get(PANEL)
    app.state.room.close()

    assert visitor.get(PANEL).text == first.text
    assert visitor.get(CSV + "strategies").status == 200
    assert chinese.status == 200
    assert "每单位花费的利润" in chinese.text
    beside = re.sub(r"<(pre|code|svg)\b.*?</\1>", "", chinese.text, flags=re.DOTALL)
    assert not re.search(r"profit|strateg|made-up|worlds|better", plain(beside))


def test_before_anything_is_asked_the_form_holds_a_comparison_and_nothing_is_played(
    visitor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playing, "_compared", None)
    page, panel = visitor.get("/advice"), visitor.get("/advice/panel/market")

    assert panel.status == 200
    assert "Nothing is compared yet." in panel.text
    assert [title for title, _ in READY if title not in plain(page.text)] == []
    assert re.search(r'name="event2">.*?value="application" selected', page.text)


def test_the_form_shows_what_the_address_says(visitor: Browser) -> None:
    page = visitor.get(f"/advice?{ADDRESS}").text

    assert re.search(r'name="event2">.*?value="credit_top50" selected', page)
    assert re.search(r'name="binding2">.*?value="first_install" selected', page)
    assert 'name="manual2" value="10"' in page
    assert 'name="seed" value="7"' in page
    assert "<option selected>4</option>" in page
    assert 'hx-get="/advice/panel/market?event1=first_credit' in page


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("event1=first_credit", "event2: choose at least two strategies"),
        ("event1=first_credit&event2=first_credit", "event2: this strategy is there already"),
        ("event1=first_credit&event2=first_lone", "event2: one of registration, application"),
        ("event1=first_credit&event2=none&hours2=soon", "hours2: a number from 0 to 168"),
        ("event1=first_credit&event2=none&manual2=nan", "manual2: a number from 0 to 100"),
        ("event1=first_credit&event2=none&minutes1=-3", "minutes1: a number from 1 to 10000"),
        ("event1=first_credit&event2=none&value1=%22%0Ax", "value1: one of none, predicted, fees"),
    ],
)
def test_what_cannot_be_played_is_said_with_the_field_and_the_page_still_opens(
    visitor: Browser, query: str, said: str
) -> None:
    panel = visitor.get(f"/advice/panel/market?{query}")

    assert panel.status == 503
    assert said in plain(panel.text)
    assert visitor.get(f"/advice?{query}").status == 200


def test_a_console_without_a_market_says_where_there_is_one(config: configuration.Config) -> None:
    app = console(config)
    shown = Browser(app).get(PANEL)
    app.state.room.close()

    assert shown.status == 503
    assert "use the command line" in plain(shown.text)


def test_whoever_may_see_advice_may_compare_and_a_member_of_one_app_may_not(
    config: configuration.Config, tmp_path: Path
) -> None:
    seen = {}
    people = open_people(tmp_path / "people.sqlite")
    app = console(config, people, market=compared_in_market)
    now = app.state.room.now_us()
    for login, apps in (("vera", ()), ("ola", ("acme-android",))):
        code = people.invite(MemberRole.VIEWER, now, by="a test", apps=apps)
        people.welcome(code, login, PASSWORD, now)
        visitor = Browser(app)
        visitor.post("/sign-in", {"login": login, "password": PASSWORD})
        seen[login] = visitor.get(PANEL).status
    people.close()
    app.state.room.close()

    assert seen == {"vera": 200, "ola": 403}


def test_every_ready_comparison_is_of_strategies_that_the_market_knows() -> None:
    known = Strategy.__annotations__

    for event in EVENTS:
        assert strategy_of(Drafted(event=event).to_toml()).event == event
    assert {"value", "binding", "batch_hours"} <= set(known)
    for value in VALUES:
        for binding in BINDINGS:
            one = strategy_of(Drafted(event="application", value=value, binding=binding).to_toml())
            assert (one.value, one.binding) == (value, binding)
    for _, strategies in READY:
        texts = [one.to_toml() for one in strategies]
        assert len({strategy_of(text).name for text in texts}) == len(texts) >= 2


def test_a_draft_is_written_as_the_file_that_the_command_line_reads() -> None:
    assert tomllib.loads(STRATEGIES[1].to_toml()) == {
        "name": "credit_top50, predicted, first_install, every 24 h, 10 % reviewed, reviews of 15 min",
        "event": "credit_top50",
        "value": "predicted",
        "binding": "first_install",
        "batch_hours": 24,
        "market": {"journey": {"manual": 0.1, "review_minutes": 15}},
    }
