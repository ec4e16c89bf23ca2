"""Five questions of a buyer and an operator: each answered within three clicks of Overview, and the answer
is what the same report says to a program."""

import json
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.e2e.house import PAUSED, Lender, rows
from tests.e2e.looking import Looker, opened, whole

from lendsignal.console.words import words_of

MOST_CLICKS = 3
WORDS = words_of("en")


class Walk:
    """A visitor who begins at Overview; `clicks` counts presses and choices."""

    def __init__(self, page: Page) -> None:
        self.page = opened(page, "/")
        self.clicks = 0

    def click(self, what: Locator) -> None:
        """Presses a link or a button."""
        self.clicks += 1
        what.click()
        whole(self.page)

    def choose(self, what: Locator, option: str) -> None:
        """Takes one of a list."""
        self.clicks += 1
        what.select_option(option)
        whole(self.page)

    def link(self, name: str) -> Locator:
        """A link in the navigation at the side."""
        return self.page.locator(".side").get_by_role("link", name=name, exact=True)


@pytest.fixture
def walk(lender: Lender, looker: Looker) -> Iterator[Walk]:
    one = Walk(looker.window(lender.pages))
    yield one
    assert 0 < one.clicks <= MOST_CLICKS


def test_which_campaign_earns_most_after_losses(walk: Walk, lender: Lender, looker: Looker) -> None:
    told = rows(lender.report("funnel", "--by", "campaign", "--cohort", "install"), "worth")
    best = max(told, key=lambda row: Decimal(row["margin"]))

    walk.click(walk.link("Campaigns"))

    panel = walk.page.locator("#panel-best")
    margin = Decimal(best["margin"])
    expect(panel).to_contain_text(f"{best['campaign']}: {WORDS.money(margin, best['currency'])} left after")
    first = panel.locator("tbody tr").first
    expect(first).to_contain_text(best["campaign"])
    expect(first).to_contain_text(WORDS.number(margin))
    looker.shot(walk.page, "walk-1-campaigns")


def test_why_the_delay_rose_yesterday(walk: Walk, lender: Lender, looker: Looker) -> None:
    yesterday = datetime.fromisoformat(lender.report("delay")["as_of"]).date() - timedelta(days=1)
    then = decision_means(lender, yesterday, yesterday)
    before = decision_means(lender, yesterday - timedelta(days=7), yesterday - timedelta(days=1))
    more = then["whole"] - before["whole"]
    stages = (then.keys() | before.keys()) - {"whole"}
    by_stage = {stage: then.get(stage, 0.0) - before.get(stage, 0.0) for stage in stages}
    cause = max(by_stage, key=lambda stage: by_stage[stage] * (1 if more >= 0 else -1))

    walk.click(walk.page.get_by_role("link", name="Why? The delay by its causes"))

    card = walk.page.locator(".card", has=walk.page.get_by_role("heading", name="From application to grant"))
    expect(card).to_contain_text(f"{WORDS.span(then['whole'])} · {WORDS.span(before['whole'])} on average")
    verdict = f"{'rose' if more >= 0 else 'fell'} by {WORDS.span(abs(more))}"
    if abs(more) < 0.05 * before["whole"]:
        expect(card).to_contain_text("Nothing has changed much")
    else:
        expect(card).to_contain_text(f"{verdict}, and most of that is: {cause.replace('_', ' ')}")
    looker.shot(walk.page, "walk-2-delay")


def decision_means(lender: Lender, since: date, until: date) -> dict[str, float]:
    """Mean seconds of each stage from application to grant, of these days."""
    told = lender.report("delay", "--from", str(since), "--to", str(until))
    return {
        row["stage"]: row["mean"]
        for row in rows(told, "decision")
        if row["conversion"] == "credit" and row["mean"] is not None
    }


def test_which_device_an_event_went_to_and_why(walk: Walk, lender: Lender, looker: Looker) -> None:
    walk.click(walk.link("Live"))
    walk.choose(walk.page.get_by_label("Type"), "disbursed")
    walk.click(walk.page.get_by_role("link", name="where it went").first)

    event = walk.page.get_by_role("heading", level=1).inner_text()
    told = json.loads(lender.asked("explain", event, "--json"))
    life = told["lives"][0]  # a back end may have told it twice: what counts came first
    assert life["arrival"]["type"] == "disbursed"
    chosen = [one for one in life["conversions"][0]["candidates"] if one["chosen"]]
    shown = walk.page.locator("main")
    expect(shown).to_contain_text(life["conversions"][0]["bound"]["installation"])
    for one in chosen:
        expect(shown).to_contain_text(one["why"])
    for conversion in life["conversions"]:
        for delivery in conversion["deliveries"]:
            expect(shown).to_contain_text(delivery["destination"])
    looker.shot(walk.page, "walk-3-life")


def test_what_would_change_if_tiers_were_cut_at_25_per_cent(
    walk: Walk, lender: Lender, looker: Looker
) -> None:
    told = lender.report("tiers", "--what-if", "25")
    (wished,) = (row for row in rows(told, "shares") if row["basis"] == "what if")

    walk.click(walk.link("Tiers"))
    walk.page.get_by_label("what if").fill("25")
    walk.click(walk.page.get_by_role("button", name="Show"))

    row = walk.page.locator("#t-shares tbody tr").filter(has_text="what if")
    cells = row.get_by_role("cell")
    expect(cells.nth(1)).to_have_text("25")
    expect(cells.nth(4)).to_have_text(WORDS.number(wished["in_tier"]))
    expect(cells.nth(5)).to_have_text(WORDS.share(wished["realised"]))
    looker.shot(walk.page, "walk-4-tiers")


def test_an_operator_clears_a_paused_destination_and_replays_its_dead(
    walk: Walk, lender: Lender, looker: Looker
) -> None:
    before = fates(lender)
    assert before["dead"] > 0

    walk.click(walk.page.locator(".said").get_by_role("link", name=PAUSED))
    looker.shot(walk.page, "walk-5-destination-paused")
    walk.click(walk.page.get_by_role("button", name="Resume"))
    expect(walk.page.locator("p[role=status]")).to_contain_text(f"let go: {PAUSED}")
    walk.page.once("dialog", lambda question: question.accept())
    walk.click(walk.page.get_by_role("button", name=re.compile("again")).last)

    expect(walk.page.locator("p[role=status]")).to_contain_text(
        f"{before['dead']} deliveries of {PAUSED} wait"
    )
    lender.settle()
    after = fates(lender)
    assert (after["dead"], after["planned"]) == (0, before["planned"])
    assert after["accepted"] >= before["accepted"] + before["dead"]
    card = opened(walk.page, f"/destinations?name={PAUSED}").locator(".card").first
    expect(card).to_contain_text("sends")
    expect(card).to_contain_text("0 dead")
    looker.shot(walk.page, "walk-5-destination-cleared")


def fates(lender: Lender) -> dict[str, int]:
    """What became of the paused destination's deliveries, as the report tells it."""
    found: dict[str, Any] = dict.fromkeys(("planned", "accepted", "dead"), 0)
    for row in rows(lender.report("delivery"), "destinations"):
        if row["destination"] == PAUSED:
            for fate in found:
                found[fate] += row[fate]
    return found
