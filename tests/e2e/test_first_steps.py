"""From an empty install to the first accepted delivery, with a browser and a back end."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.e2e.house import DESTINATION, SOURCE, Beginning
from tests.e2e.looking import Looker, opened
from tests.e2e.signing import signed_in_as_first_admin
from tests.running import Stand, borrowing, call


@pytest.fixture
def beginning(tmp_path: Path, chromium: Browser) -> Iterator[Beginning]:
    stand = Stand(tmp_path / "sandbox")
    one = Beginning(tmp_path / "service", stand.address)
    try:
        one.start()
        yield one
    finally:
        one.close()
        stand.close()


def test_a_new_lender_comes_from_an_empty_install_to_the_first_accepted_delivery(
    beginning: Beginning, looker: Looker
) -> None:
    page = looker.window(f"http://{beginning.pages}")
    signed_in_as_first_admin(page, beginning.link())
    next_is(page, "A source that may send")
    looker.shot(page, "first-steps-1-nothing")

    beginning.again(SOURCE)
    next_is(page, "The first event")

    registered, disbursed = borrowing(1)
    sent(beginning, {**registered, "event_id": "r-no-phone", "user_id": "u0", "device": {}})
    next_is(page, "The first login with a device")

    sent(beginning, registered)
    next_is(page, "A destination and a route")

    beginning.again(SOURCE, DESTINATION)
    next_is(page, "The first accepted delivery")

    sent(beginning, disbursed)
    opened(page, "/first-steps")
    expect(page.get_by_text("All done: 1 deliveries were accepted so far.")).to_be_visible()
    expect(page.get_by_text("next", exact=True)).to_have_count(0)
    looker.shot(page, "first-steps-2-done")


def next_is(page: Page, title: str) -> None:
    """First steps says that this is what to do next."""
    opened(page, "/first-steps")
    step = page.get_by_role("listitem").filter(has=page.get_by_text("next", exact=True))
    expect(step.locator("strong")).to_have_text(title)


def sent(beginning: Beginning, event: dict[str, Any]) -> None:
    """The back end sends an event, and it is decided."""
    status, _, answer = call(beginning.address, "POST", "/v1/events", json.dumps(event).encode())
    assert status == 202, answer
    beginning.idle()
