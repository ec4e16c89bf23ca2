"""Advice on bids from the command line: proposals, decisions, and the editors' files."""

import csv
import json
import shutil
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.unit.cli.test_loan_reports import CONFIG
from tests.unit.report.kept import Kept
from tests.unit.report.world import policy, told, world

from lendsignal.cli import main
from lendsignal.clock import from_us
from lendsignal.log import DataFolder, open_feeds
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Spend
from lendsignal.report import load

CAMPAIGNS = (("google", "11", "search"), ("meta", "22", "broad"))


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up lender, half of whose phones came by either campaign; one costs a thousand times more."""
    folder = tmp_path_factory.mktemp("bids")
    (folder / "lendsignal.toml").write_text(CONFIG)
    Kept(folder / "data", policy()).tell(*told(world(users=1_500, days=130))).log.close()
    feeds = open_feeds(DataFolder(folder / "data").feeds)
    with load(DataFolder(folder / "data")) as tables:
        phones = tables.rows("select distinct app, id from installation where id <> '' order by id")
        ((first, last),) = tables.rows("select min(at_us), max(at_us) from counted where type = 'disbursed'")
    ads = [
        Ad(channel=channel, media_source=channel, campaign_id=id_, campaign=name)
        for channel, id_, name in CAMPAIGNS
    ]
    feeds.take_many(
        Attribution(feed="mmp", mmp="appsflyer", app=app, id=id_, told_us=1, ad=ads[place % 2])
        for place, (app, id_) in enumerate(phones)
    )
    first_day, last_day = (from_us(us).date().toordinal() for us in (first, last))
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
            for day in range(first_day, last_day + 1)
            for ad, amount in zip(ads, (100, 100_000), strict=True)
        ]
    )
    feeds.close()
    return folder


def bids(lender: Path, *words: str) -> Result:
    found = CliRunner().invoke(main, ["advise", "bids", *words, "--config", str(lender / "lendsignal.toml")])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def kept(lender: Path, state: str = "open") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bids(lender, "list", "--state", state, "--json").stdout)
    return found


def test_the_cheap_campaign_is_raised_and_the_dear_one_lowered(lender: Path) -> None:
    found = json.loads(bids(lender, "--json", "--dry-run").stdout)
    advice = {one["campaign"]: one["advice"] for one in found["tables"]["bids"]["rows"]}

    assert advice == {"search": "raise", "broad": "pause"}
    assert found["method"] == "roll rates"
    assert kept(lender) == []


def test_a_proposal_waits_for_a_person_and_is_uploaded_once_it_is_accepted(
    lender: Path, tmp_path: Path
) -> None:
    bids(lender)
    proposals = {one["campaign"]: one["id"] for one in kept(lender)}
    bids(lender, "upload", "google", "--out", str(tmp_path / "none.csv"))
    accepted = bids(lender, "accept", str(proposals["search"]), "--note", "well done")
    declined = bids(lender, "decline", str(proposals["broad"]), "--note", "a test market")
    for editor in ("google", "meta"):
        bids(lender, "upload", editor, "--out", str(tmp_path / f"{editor}.csv"))
    none, google, meta = (
        list(csv.DictReader((tmp_path / f"{name}.csv").read_text().splitlines()))
        for name in ("none", "google", "meta")
    )

    assert (accepted.exit_code, declined.exit_code) == (0, 0)
    assert "accepted" in accepted.stdout
    assert "well done" in accepted.stdout
    assert none == meta == []
    (one,) = google
    (body,) = [one["body"] for one in kept(lender, "accepted")]
    assert (one["Campaign"], one["Campaign ID"]) == ("search", "11")
    assert float(one["Campaign daily budget"]) == pytest.approx(body["proposed"], abs=0.01)
    assert bids(lender, "accept", str(proposals["search"])).exit_code == 1


def test_after_an_accepted_step_the_campaign_rests(lender: Path) -> None:
    bids(lender)
    for one in kept(lender):
        bids(lender, "accept", str(one["id"]))
    found = json.loads(bids(lender, "--json", "--dry-run").stdout)

    assert "its last step is too recent" in {one["why"] for one in found["tables"]["bids"]["rows"]}


def test_an_audit_shows_what_a_proposal_rests_on(lender: Path) -> None:
    bids(lender)
    number = max(one["id"] for one in [*kept(lender), *kept(lender, "accepted"), *kept(lender, "replaced")])
    shown = bids(lender, "audit", str(number)).stdout

    assert "exposure" in shown
    assert "weeks ago" in shown
    assert bids(lender, "audit", "999").exit_code == 1


def test_the_advice_is_a_page_a_picture_and_csv(lender: Path, tmp_path: Path) -> None:
    found = bids(
        lender, "--dry-run", "--csv", "--chart", str(tmp_path / "b.svg"), "--html", str(tmp_path / "b.html")
    )

    assert "Return on spend" in (tmp_path / "b.svg").read_text()
    assert "Roll rates" in (tmp_path / "b.html").read_text()
    assert "# bids" in found.stdout


@pytest.fixture(scope="module")
def winning_back(lender: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same lender with a third campaign, as cheap as the first: it brings back every fourth phone, and
    has a third of the spend."""
    folder = tmp_path_factory.mktemp("back") / "copy"
    shutil.copytree(lender, folder)
    with (folder / "lendsignal.toml").open("a") as file:
        file.write('\n[value]\nhorizon = "30d"\ngrace = "5d"\n')
    with load(DataFolder(folder / "data")) as tables:
        phones = tables.rows("select distinct app, id from installation where id <> '' order by id")
        ((first, last),) = tables.rows("select min(at_us), max(at_us) from counted where type = 'disbursed'")
    back = Ad(channel="meta", media_source="meta", campaign_id="33", campaign="come back")
    cheap = Ad(channel="google", media_source="google", campaign_id="11", campaign="search")
    with closing(open_feeds(DataFolder(folder / "data").feeds)) as feeds:
        feeds.take_many(
            Attribution(
                feed="mmp",
                mmp="appsflyer",
                app=app,
                id=id_,
                kind=AttributionKind.RE_ATTRIBUTION,
                at_us=first,
                told_us=2,
                ad=back,
            )
            for app, id_ in phones[::4]
        )
        days = range(from_us(first).date().toordinal(), from_us(last).date().toordinal() + 1)
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
                for ad, amount in ((cheap, 200), (back, 100))
            ]
        )
    return folder


def come_back(folder: Path, *words: str) -> tuple[dict[str, Any], str]:
    """The row of the campaign that brings back, and all notes."""
    found = json.loads(bids(folder, "--dry-run", "--json", *words).stdout)
    (row,) = [one for one in found["tables"]["bids"]["rows"] if one["campaign"] == "come back"]
    return row, " ".join(found["notes"])


def test_retargeting_above_its_share_is_cut_however_much_it_returns(winning_back: Path) -> None:
    row, notes = come_back(winning_back)

    assert row["roi_low"] > 1
    assert row["wanted"] > 1
    assert row["why"] == "the share of retargeting; only a holdout can raise it"
    # A third of the spend is more than a tenth by more than one step.
    assert (row["advice"], row["multiplier"]) == ("lower", pytest.approx(0.8))
    assert "retargeting has 10% of the spend at most" in notes


def test_retargeting_within_its_share_is_not_raised_by_its_own_return(winning_back: Path) -> None:
    row, _ = come_back(winning_back, "--retargeting", "0.34")

    assert (row["advice"], row["multiplier"]) == ("keep", pytest.approx(1))
    assert row["wanted"] > 1
    assert row["why"] == "the share of retargeting; only a holdout can raise it"


def test_what_a_holdout_proved_raises_the_share_of_retargeting_by_a_fifth(winning_back: Path) -> None:
    proven, notes = come_back(winning_back, "--retargeting", "0.3", "--incremental", "1.1")
    unproven, _ = come_back(winning_back, "--retargeting", "0.3", "--incremental", "0.9")

    assert "retargeting has 36% of the spend at most" in notes
    # A third is within 36 in a hundred, and stays; above 30 it is cut to it: 0.3 · 200 / (0.7 · 100).
    assert proven["multiplier"] == pytest.approx(1)
    assert unproven["multiplier"] == pytest.approx(6 / 7)


def test_a_value_model_says_what_later_loans_bring(winning_back: Path) -> None:
    config = str(winning_back / "lendsignal.toml")
    assert "there is no value model yet" in bids(winning_back, "--dry-run", "--later", "predicted").output
    trained = CliRunner().invoke(main, ["value", "train", "--config", config, "--json"])
    assert trained.exit_code == 0, trained.output
    version = json.loads(trained.stdout)["version"]
    plain, _ = come_back(winning_back)
    row, notes = come_back(winning_back, "--later", "predicted")
    (said,) = [part for part in notes.split(". ") if "later loans are taken to bring" in part]

    assert f"by the value model {version}" in notes
    brings = float(said.split("taken to bring ")[1].split(",")[0].replace(",", ""))
    # Only first loans count now, each with what the later ones bring.
    assert row["loans"] < plain["loans"]
    by_hand, _ = come_back(winning_back, "--later", str(max(brings, 0)))
    if brings > 0:
        assert row["profit_per_loan"] == pytest.approx(by_hand["profit_per_loan"], abs=0.02)


def test_later_loans_are_an_amount_or_predicted(lender: Path) -> None:
    assert "write an amount, or predicted" in bids(lender, "--later", "much").output
    assert "not below 0" in bids(lender, "--later", "-5").output
