"""What people do on the pages, each form from end to end in a browser over a service that runs."""

import json
import re
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.e2e.house import DESTINATION, SOURCE, Beginning
from tests.e2e.looking import PHONE, Looker, barriers, opened, overflow, whole
from tests.e2e.signing import signed_in_as_first_admin
from tests.running import KEY, Stand, borrowing, call, until

from lendsignal.advise.bids.advice import Proposal
from lendsignal.log import DataFolder
from lendsignal.log.proposals import open_proposals


class Office(Beginning):
    """A service with a source and a destination, and an admin who has signed in."""

    def __init__(self, folder: Path, stand: Stand) -> None:
        super().__init__(folder, stand.address)
        self.stand = stand
        self.write(SOURCE, DESTINATION)

    def admin(self, looker: Looker) -> Page:
        """The admin's window."""
        page = looker.window(f"http://{self.pages}")
        signed_in_as_first_admin(page, self.link())
        return page

    def takes(self, *events: dict[str, Any], key: str = KEY) -> list[int]:
        """What the door answers to each event, once all of them are decided."""
        found = []
        for event in events:
            body, who = json.dumps(event).encode(), f"Bearer {key}"
            status, _, _ = call(self.address, "POST", "/v1/events", body, Authorization=who)
            found.append(status)
        self.idle()
        return found


@pytest.fixture
def office(tmp_path: Path, chromium: Browser) -> Iterator[Office]:
    stand = Stand(tmp_path / "sandbox")
    one = Office(tmp_path / "service", stand)
    try:
        one.start()
        yield one
    finally:
        one.close()
        stand.close()


def said(page: Page) -> Locator:
    """What came of the last form."""
    return page.locator("main > p[role=status]")


def test_refused_events_are_mended_together_and_go_through_the_door_again(
    office: Office, looker: Looker
) -> None:
    page = office.admin(looker)
    registered, disbursed = borrowing(1)
    assert office.takes(registered, {**disbursed, "brand": "acmee"}) == [202, 422]

    opened(page, "/quarantine")
    page.get_by_role("link", name="Look and mend").click()
    expect(page.get_by_label("Set this field …")).to_have_value("brand")
    page.get_by_label("… to").fill("acme")
    page.once("dialog", lambda question: question.accept())
    page.get_by_role("button", name="Send through again").click()
    expect(said(page)).to_contain_text("1 are being sent through again")
    office.idle()

    opened(page, "/live")
    expect(page.locator("#panel-events tbody tr").filter(has_text="disbursed")).to_have_count(1)
    opened(page, "/quarantine")
    expect(page.get_by_text("Nothing was refused.")).to_be_visible()


def test_dead_deliveries_are_counted_first_and_then_sent_again_under_the_same_ids(
    office: Office, looker: Looker
) -> None:
    page = office.admin(looker)
    office.stand.faults({"kind": "status", "status": 422, "host": "hooks.acme.example"})
    office.takes(*borrowing(1), *borrowing(2))
    office.stand.faults()

    opened(page, "/destinations?name=warehouse")
    counted = page.locator("#panel-dead tbody tr")
    expect(counted.filter(has_text="disbursement").get_by_role("cell").nth(3)).to_have_text("2")
    page.once("dialog", lambda question: question.dismiss())
    page.get_by_role("button", name=re.compile("Send all 4 dead again")).click()
    expect(said(page)).to_have_count(0)  # asked, and thought better of it
    page.once("dialog", lambda question: question.accept())
    page.get_by_role("button", name=re.compile("Send all 4 dead again")).click()
    expect(said(page)).to_contain_text("4 deliveries of warehouse wait again")
    office.idle()

    opened(page, "/destinations?name=warehouse")
    expect(page.get_by_text("None is dead or held in this span.")).to_be_visible()
    assert sorted(office.stand.ids("warehouse").values()) == [1, 1, 1, 1]


def test_a_key_is_shown_once_counts_at_once_and_ends_at_once(office: Office, looker: Looker) -> None:
    page = office.admin(looker)
    opened(page, "/keys")
    page.get_by_role("button", name="Make a key").click()
    found = re.search(r"only now: (\S+)", said(page).inner_text())
    assert found is not None
    key = found[1]
    registered, disbursed = borrowing(1)

    # Doors look for new keys twice a second.
    until(lambda: office.takes(registered, key=key) == [202], "the key counts")
    opened(page, "/keys")
    expect(page.locator("main")).not_to_contain_text(key)
    page.once("dialog", lambda question: question.accept())
    page.get_by_role("button", name="End now").last.click()
    expect(said(page)).to_contain_text("has ended")
    until(lambda: office.takes(disbursed, key=key) == [401], "the key counts no more")


def test_a_proposal_is_accepted_with_a_note_and_another_declined(office: Office, looker: Looker) -> None:
    page = office.admin(looker)
    with closing(open_proposals(DataFolder(office.folder / "data").proposals)) as store:
        store.propose(1, [(("google", "11", name), step(name)) for name in ("search", "video")])

    opened(page, "/advice")
    for name, button, note in (("search", "Accept", "well done"), ("video", "Decline", "not yet")):
        card = page.get_by_role("article").filter(has_text=f"google · {name}")
        act = card.locator("form", has=page.get_by_role("button", name=button, exact=True))
        act.get_by_label("Note").fill(note)
        act.get_by_role("button").click()
        expect(said(page)).to_contain_text(f"{button.removesuffix('e')}ed: {name}")
        whole(page)

    page.get_by_text("Decided before").click()
    rows = page.locator("#panel-proposals tbody tr")
    expect(rows.filter(has_text="search")).to_contain_text("accepted")
    expect(rows.filter(has_text="search")).to_contain_text("well done")
    expect(rows.filter(has_text="video")).to_contain_text("declined")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("Google Ads Editor")).click()
    assert "search" in Path(download.value.path()).read_text()


def step(campaign: str) -> Proposal:
    """A proposal to spend less."""
    return Proposal(
        channel="google",
        campaign_id="11",
        campaign=campaign,
        currency="NGN",
        budget=100.0,
        proposed=80.0,
        multiplier=0.8,
        wanted=0.7,
        pause=False,
        guard="step",
        sure=0.93,
        roi=(0.9, 0.7, 1.1),
        lost=(0.2, 0.1, 0.3),
        exposure=1_000.0,
        bad=200.0,
        target_cpa=None,
        target_roas=None,
        profit_28_days_if_left=-10.0,
        profit_28_days_if_moved=-5.0,
        method="shrunken",
        binding="last_login",
        today="2026-03-10",
        cohorts=(),
    )


def test_a_route_is_changed_in_a_form_compared_and_taken_over(office: Office, looker: Looker) -> None:
    page = office.admin(looker)
    office.takes(*borrowing(1), *borrowing(2))
    file = office.folder / "lendsignal.toml"
    before = file.read_text()

    opened(page, "/routes")
    form = page.locator("details.card", has=page.get_by_text("warehouse", exact=True)).first
    form.locator("summary").click()
    form.get_by_label("Name there disbursement").fill("ev_paid")
    form.get_by_role("button", name="See what it would change").click()
    whole(page)
    row = page.locator("#panel-difference tbody tr").filter(has_text="disbursement").first
    expect(row.get_by_role("cell").nth(5)).to_have_text("2")  # by another name
    looker.shot(page, "route-change-1440")
    assert file.read_text() == before

    page.once("dialog", lambda question: question.accept())
    page.get_by_role("button", name="Take it over").click()
    expect(said(page)).to_contain_text("is replaced")
    (kept,) = office.folder.glob("lendsignal.toml.*.bak")
    assert kept.read_text() == before
    (route,) = tomllib.loads(file.read_text())["route"]
    assert route["send"] == {"registration": "ev_r", "disbursement": "ev_paid"}


def test_a_draft_with_its_mistakes_is_readable_on_a_phone(office: Office, looker: Looker) -> None:
    admin = office.admin(looker)
    page = looker.window(f"http://{office.pages}", width=PHONE, language="zh", for_axe=True, dark=True)
    page.context.add_cookies(
        [{"name": each["name"], "value": each["value"], "url": admin.url} for each in admin.context.cookies()]
    )

    opened(page, "/routes")
    page.locator("details.card").last.locator("summary").click()
    text = page.locator("#whole").input_value()
    page.locator("#whole").fill(
        text.replace('to   = "warehouse"', 'to = "warehose"') + "\n[health]\nevry = 1\n"
    )
    page.locator("details.card").last.get_by_role("button").click()
    card = page.locator(".card", has=page.locator("#draft"))
    expect(card).to_contain_text("health.evry")
    expect(card).to_contain_text("warehouse")
    looker.shot(page, "route-mistakes-390-zh")

    assert (overflow(page), barriers(page)) == (0, [])
