"""Advice, holdouts, lists and campaigns in the console: the figures of the command line, and decisions."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.browsing import Browser
from tests.unit.cli.test_loan_reports import CONFIG
from tests.unit.report.kept import Kept
from tests.unit.report.world import policy, told, world

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.console.room import Room
from lendsignal.log import DataFolder, open_audiences, open_feeds
from lendsignal.log.proposals import open_proposals
from lendsignal.model.attribution import Ad, Attribution, Spend
from lendsignal.report import load
from lendsignal.role.reports import MAKERS

PATIENCE = 120.0

CAMPAIGNS = (("google", "11", "search"), ("meta", "22", "broad"))

ALSO = """
[holdout.lapsed]
share        = 0.3
conversions  = ["repeat_loan"]
destinations = []
from         = 2026-01-20T00:00:00Z

[value]
prior = { NGN = 100.0 }

[audience.good]
kind = "good_repayers"

[audience.arrears]
kind = "in_arrears"
"""

META = """
[destination.meta]
kind       = "meta"
app        = "acme-android"
dataset_id = "1234567890123456"
token      = { env = "META" }

[[route]]
to   = "meta"
send = { first_loan = "ev_fl" }
"""


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up lender, half of whose phones came by either campaign; one costs a thousand times more."""
    folder = tmp_path_factory.mktemp("deciding")
    (folder / "lendsignal.toml").write_text(CONFIG + ALSO)
    Kept(folder / "data", policy()).tell(*told(world(users=1_500, days=130))).log.close()
    with load(DataFolder(folder / "data")) as tables:
        phones = tables.rows("select distinct app, id from installation where id <> '' order by id")
        ((first, last),) = tables.rows("select min(at_us), max(at_us) from counted where type = 'disbursed'")
    ads = [
        Ad(channel=channel, media_source=channel, campaign_id=id_, campaign=name)
        for channel, id_, name in CAMPAIGNS
    ]
    days = range(from_us(first).date().toordinal(), from_us(last).date().toordinal() + 1)
    with closing(open_feeds(DataFolder(folder / "data").feeds)) as feeds:
        feeds.take_many(
            Attribution(feed="mmp", mmp="appsflyer", app=app, id=id_, told_us=1, ad=ads[place % 2])
            for place, (app, id_) in enumerate(phones)
        )
        feeds.replace_days(
            [
                Spend(
                    feed="ads",
                    account="a1",
                    day=date.fromordinal(day),
                    ad=ad,
                    amount=Decimal(amount),
                    currency="NGN",
                )
                for day in days
                for ad, amount in zip(ads, (100, 100_000), strict=True)
            ]
        )
    return folder


@pytest.fixture
def config(lender: Path) -> Config:
    return configuration.load(lender / "lendsignal.toml")


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


def told_by(lender: Path, *words: str) -> dict[str, object]:
    """What the command line answers as JSON."""
    found = CliRunner().invoke(main, [*words, "--json", "--config", str(lender / "lendsignal.toml")])
    assert found.exit_code == 0, found.output
    answer: dict[str, object] = json.loads(found.stdout)
    return answer


def tables_of(answer: dict[str, object]) -> dict[str, list[dict[str, object]]]:
    tables = answer["tables"]
    assert isinstance(tables, dict)
    return {name: table["rows"] for name, table in tables.items()}


def csv_of(visitor: Browser, path: str) -> list[str]:
    shown = visitor.get(path)
    assert shown.status == 200, shown.text
    return shown.text.lstrip("\ufeff").splitlines()


def plain(text: str) -> str:
    """A page without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_the_advice_on_events_is_that_of_the_command_line(lender: Path, visitor: Browser) -> None:
    rows = tables_of(told_by(lender, "advise", "events", "--by", "app"))["events"]
    lines = csv_of(visitor, "/advice/file/table?of=events&table=events&by=app")

    assert len(lines) == len(rows) + 1 > 4
    first = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert float(first["rho"]) == rows[0]["rho"]
    assert first["event"] == rows[0]["event"]
    assert str(rows[0]["app"]) in visitor.get("/advice/panel/events?by=app").text


def test_an_event_that_nobody_has_is_refused_with_those_there_are(visitor: Browser) -> None:
    shown = visitor.get("/advice/panel/events?by=app&current=first_lone")

    assert shown.status == 503
    assert "first_loan" in shown.text


def test_bids_are_those_of_the_command_line_and_looking_at_them_keeps_nothing(
    lender: Path, config: Config, visitor: Browser
) -> None:
    rows = tables_of(told_by(lender, "advise", "bids", "--dry-run", "--target", "1.2"))["bids"]
    lines = csv_of(visitor, "/advice/file/table?of=bids&table=bids&target=1.2")
    shown = visitor.get("/advice/panel/bids?target=1.2")

    assert len(lines) == len(rows) + 1 == 3
    names = lines[0].split(",")
    for line, row in zip(lines[1:], rows, strict=True):
        assert float(line.split(",")[names.index("roi")]) == row["roi"]
    assert "Propose these steps" in shown.text
    assert not DataFolder(config.data).proposals.exists()


def test_a_proposal_is_accepted_with_a_note_and_goes_into_the_editors_file(
    config: Config, visitor: Browser
) -> None:
    form = visitor.get("/advice").form
    visitor.post("/advice/act/propose", {"form": form})
    with closing(open_proposals(DataFolder(config.data).proposals)) as store:
        by_name = {one.campaign: one for one in store.all("open")}
    search = by_name["search"]
    shown = visitor.get("/advice/panel/proposals").text
    visitor.post("/advice/act/accept", {"form": form, "proposal": str(search.id), "note": "well done"})
    again = {"form": form, "proposal": str(search.id)}
    visitor.post("/advice/act/decline", again)
    refused = visitor.get("/advice").text

    assert "Evidence" in shown
    assert "weeks ago" in shown
    assert "not open any more" in refused
    with closing(open_proposals(DataFolder(config.data).proposals)) as store:
        kept = store.of(search.id)
    assert kept is not None
    assert (kept.state, kept.who, kept.note) == ("accepted", "demo", "well done")
    head, line = csv_of(visitor, "/advice/file/google")
    assert head.startswith("Campaign,Campaign ID")
    assert line.startswith("search,11,")
    assert csv_of(visitor, "/advice/file/meta") == [
        "Campaign ID,Campaign Name,Campaign Status,Campaign Daily Budget"
    ]
    DataFolder(config.data).proposals.unlink()


def test_a_target_that_is_no_number_is_refused(visitor: Browser) -> None:
    assert visitor.get("/advice/panel/bids?target=much").status == 503
    assert visitor.get("/advice/panel/bids?target=0").status == 503


def test_a_holdout_is_read_as_on_the_command_line(lender: Path, visitor: Browser) -> None:
    answer = told_by(lender, "advise", "holdout", "read", "lapsed", "--reach", "0.4")
    arms = tables_of(answer)["arms"]
    shown = plain(visitor.get("/holdouts/panel/readings?reach=0.4").text)
    lines = csv_of(visitor, "/holdouts/file/table?of=lapsed&table=arms&reach=0.4")

    assert str(answer["verdict"]).split(" (")[0] in shown
    assert [line.split(",")[1] for line in lines[1:]] == [str(row["users"]) for row in arms]
    assert float(lines[1].split(",")[4]) == arms[0]["p"]


def test_a_plan_says_what_is_not_promised_as_on_the_command_line(lender: Path, visitor: Browser) -> None:
    answer = told_by(lender, "advise", "holdout", "plan", "--lift", "0.2")
    shown = plain(visitor.get("/holdouts/panel/plan?lift=0.2").text)

    assert str(answer["promise"]) in shown


def test_the_campaign_that_earns_most_after_losses_stands_first_with_the_funnels_own_figures(
    lender: Path, visitor: Browser
) -> None:
    answer = told_by(lender, "report", "funnel", "--by", "campaign", "--cohort", "install")
    rows = {str(row["campaign"]): row for row in tables_of(answer)["worth"] if row["margin"] is not None}
    ranked = sorted(rows, key=lambda name: -Decimal(str(rows[name]["margin"])))
    shown = plain(visitor.get("/campaigns/panel/best").text)

    assert f"{ranked[0]}:" in shown
    assert "left after losses and spend" in shown
    places = [shown.rindex(name) for name in ranked]
    assert places == sorted(places)
    for name in ranked:
        margin = float(str(rows[name]["margin"]))
        assert (f"{margin:,.0f}" if abs(margin) >= 1000 else f"{margin:,.2f}") in shown


def test_the_span_before_stands_beside_this_one(lender: Path, visitor: Browser) -> None:
    with load(DataFolder(lender / "data")) as tables:
        assert tables.as_of is not None
        last = tables.as_of.date()
    spans = [
        (date.fromordinal(last.toordinal() - back - 29), date.fromordinal(last.toordinal() - back))
        for back in (0, 30)
    ]
    words = [
        tables_of(
            told_by(
                lender,
                *("report", "funnel", "--by", "campaign", "--cohort", "install"),
                *("--from", str(first), "--to", str(end)),
            )
        )["worth"]
        for first, end in spans
    ]
    shown = plain(
        visitor.get(f"/campaigns/panel/compare?by=campaign&from={spans[0][0]}&to={spans[0][1]}").text
    )

    for rows in words:
        assert rows
        for row in rows:
            spend = float(str(row["spend"]))
            assert (f"{spend:,.0f}" if spend >= 1000 else f"{spend:,.2f}") in shown


def test_a_campaign_leads_to_its_loans_and_these_to_their_lives(lender: Path, visitor: Browser) -> None:
    rows = tables_of(told_by(lender, "report", "funnel", "--by", "campaign", "--cohort", "install"))["steps"]
    name = next(str(row["campaign"]) for row in rows if "search" in str(row["campaign"]))
    (paid_out,) = [
        row for row in rows if (row["campaign"], row["loans"], row["step"]) == (name, "all", "disbursed")
    ]
    shown = visitor.get(f"/campaigns/panel/loans?campaign={name.replace(' ', '%20')}").text
    events = re.findall(r'href="/life\?q=([^"]+)"', shown)

    listed = int(str(paid_out["events"]))
    assert len(events) == min(listed, 100)
    assert listed <= 100 or f"of {listed:,}" in plain(shown)
    assert "disbursed" in visitor.get(f"/life/panel/life?q={events[0]}").text


def test_a_list_of_people_in_arrears_goes_nowhere_until_somebody_answers_for_it(
    config: Config, visitor: Browser
) -> None:
    form = visitor.get("/audiences").form
    before = plain(visitor.get("/audiences/panel/lists").text)
    visitor.post("/audiences/act/confirm", {"form": form, "list": "arrears", "reason": "because"})
    too_short = plain(visitor.get("/audiences").text)
    reason = "counsel agreed: no ads while in arrears"
    visitor.post("/audiences/act/confirm", {"form": form, "list": "arrears", "reason": reason})
    after = plain(visitor.get("/audiences/panel/lists").text)

    assert "nobody answers for it" in before
    assert "say in a sentence why" in too_short
    assert "nobody answers for it" not in after
    assert "demo, " in after
    assert reason in after
    with closing(open_audiences(DataFolder(config.data).audiences, read_only=True)) as book:
        allowed = book.allowed("arrears")
    assert allowed is not None
    assert allowed.reason == reason


def test_a_preview_of_a_list_has_the_size_of_the_command_line(lender: Path, visitor: Browser) -> None:
    members = told_by(lender, "audience", "preview", "good")["members"]

    assert isinstance(members, int)
    assert members > 0
    assert f"{members:,} members" in plain(visitor.get("/audiences/panel/preview?list=good").text)


def test_a_list_is_built_now_and_what_came_of_it_is_told(
    lender: Path, config: Config, visitor: Browser
) -> None:
    form = visitor.get("/audiences").form
    said = visitor.post("/audiences/act/build", {"form": form, "list": "good"})
    chores = visitor.app.state.room.chores
    assert chores.wait(PATIENCE)
    shown = plain(visitor.get("/audiences/panel/work").text)
    members = told_by(lender, "audience", "preview", "good")["members"]

    assert said.status == 303
    assert f"good: {members:,} members" in shown
    assert "done" in shown
    with closing(open_audiences(DataFolder(config.data).audiences, read_only=True)) as book:
        build = book.build("good")
        arrears = book.build("arrears")
    assert build is not None
    assert (build.members, arrears) == (members, None)


def test_platforms_are_told_of_one_list_now_and_a_console_that_cannot_says_so(config: Config) -> None:
    asked: list[tuple[str, ...]] = []

    def in_step(_: Config, names: Sequence[str]) -> str:
        asked.append(tuple(names))
        return "good → meta-ng: done"

    app = console(config, None, MAKERS, in_step)
    teller, mute = Browser(app), Browser(console(config, None, MAKERS))
    for browser in (teller, mute):
        fields = {"form": browser.get("/audiences").form, "list": "good"}
        browser.post("/audiences/act/sync", fields)
    assert app.state.room.chores.wait(PATIENCE)
    shown = plain(teller.get("/audiences/panel/work").text)
    refused = plain(mute.get("/audiences").text)

    assert (asked, "good → meta-ng: done" in shown) == ([("good",)], True)
    assert "tells no platform" in refused


def test_a_list_that_is_not_there_is_neither_built_nor_told_of(visitor: Browser) -> None:
    form = visitor.get("/audiences").form
    for act in ("build", "sync"):
        visitor.post(f"/audiences/act/{act}", {"form": form, "list": "nobody"})

        assert "there is no such list" in plain(visitor.get("/audiences").text)


def test_the_same_advice_for_the_same_data_is_reckoned_once(
    visitor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = visitor.get("/advice/panel/bids?target=1.3")
    monkeypatch.setattr("lendsignal.console.pages.advice.bid_advice", None)  # asked again it would fail

    again = visitor.get("/advice/panel/bids?target=1.3")
    assert (again.text, again.status) == (first.text, 200)
    assert visitor.get("/advice").form in again.text


def test_rules_that_cannot_be_judged_name_the_setting_that_would_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("META", "a token of the test")
    (tmp_path / "lendsignal.toml").write_text(CONFIG + META)
    app = console(configuration.load(tmp_path / "lendsignal.toml"), None, MAKERS)
    shown = plain(Browser(app).get("/advice").text)
    app.state.room.close()

    assert "Say this of the app: shortest_term_days" in shown
    assert "within 90 days" in shown


def test_a_value_model_that_did_not_pass_is_shown_with_the_reason_and_cannot_be_promoted(
    lender: Path, visitor: Browser
) -> None:
    trained = told_by(lender, "value", "train")
    version = str(trained["version"])
    shown = plain(visitor.get("/value/panel/models").text)
    fields = {"form": visitor.get("/value").form, "version": version}
    visitor.post("/value/act/promote", fields)
    refused = plain(visitor.get("/value").text)
    visitor.post("/value/act/promote", {**fields, "version": "0"})
    unknown = plain(visitor.get("/value").text)

    assert trained["passed"] == []
    assert version in shown
    assert "did not pass" in shown
    assert "its trial failed" in shown
    assert "stays out of force" in refused
    assert "no such value model" in unknown
