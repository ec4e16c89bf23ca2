"""Every page of the console in a browser: narrow and wide, in both languages, for everybody."""

import pytest
from playwright.sync_api import expect
from tests.e2e.house import Lender
from tests.e2e.looking import DESK, PHONE, Looker, barriers, opened, overflow, whole

from lendsignal.console.app import every_page

PATHS = [page.path for page in every_page()]


def name_of(path: str) -> str:
    """What a page's pictures are called."""
    return path.strip("/").replace("/", "-") or "overview"


def test_axe_finds_something_where_something_is_wrong(lender: Lender, looker: Looker) -> None:
    page = looker.window(lender.pages, for_axe=True)
    page.set_content('<html lang="en"><title>t</title><main><h1>t</h1><img src="data:,"></main></html>')

    assert any(found.startswith("image-alt") for found in barriers(page))


@pytest.mark.parametrize(
    ("width", "language", "dark"),
    [
        (DESK, "en", False),
        (PHONE, "zh", True),
        pytest.param(PHONE, "en", False, marks=pytest.mark.long),
        pytest.param(DESK, "zh", True, marks=pytest.mark.long),
    ],
)
def test_every_page_is_whole_readable_and_fits_its_window(
    lender: Lender, looker: Looker, width: int, language: str, dark: bool
) -> None:
    page = looker.window(lender.pages, width=width, language=language, for_axe=True, dark=dark)
    found = []

    for path in PATHS:
        opened(page, path)
        looker.shot(page, f"{name_of(path)}-{width}-{language}")
        if (wider := overflow(page)) > 0:
            found.append(f"{path} is {wider} px wider than the window")
        found += [f"{path}: {barrier}" for barrier in barriers(page)]

    assert not found


def test_every_page_keeps_its_security_policy_and_its_browser_is_content(
    lender: Lender, looker: Looker
) -> None:
    page = looker.window(lender.pages)

    for path in PATHS:
        opened(page, path)

    assert looker.complaints == []


@pytest.mark.long
def test_a_life_is_whole_readable_and_fits_its_window(lender: Lender, looker: Looker) -> None:
    for width, language in ((DESK, "en"), (PHONE, "zh")):
        page = looker.window(lender.pages, width=width, language=language, for_axe=True)
        opened(page, "/live?type=disbursed")
        page.locator("td a[href^='/life']").last.click()
        page.wait_for_url("**/life?**")
        expect(whole(page).locator("ol.timeline").first).to_be_visible()
        looker.shot(page, f"one-life-{width}-{language}")
        assert (overflow(page), barriers(page)) == (0, [])


@pytest.mark.long
def test_a_part_that_cannot_be_shown_says_why_in_its_place(lender: Lender, looker: Looker) -> None:
    page = looker.window(lender.pages)

    opened(page, "/erasures?receipt=nobodys")

    expect(page.locator("#panel-receipt")).to_contain_text("there is none of that number")
    looker.expected("503")


@pytest.mark.long
def test_a_part_that_the_console_never_answers_says_so(lender: Lender, looker: Looker) -> None:
    page = looker.window(lender.pages)
    page.route("**/panel/deliveries*", lambda asked: asked.abort())

    opened(page, "/")

    expect(page.locator("#panel-deliveries")).to_contain_text("The console does not answer")
    looker.expected("ERR_FAILED|htmx:")


@pytest.mark.long
def test_a_users_timeline_leads_to_what_an_erasure_would_reach(lender: Lender, looker: Looker) -> None:
    page = looker.window(lender.pages, width=PHONE, for_axe=True)
    opened(page, "/live")
    page.locator("td a[href^='/life']").last.click()
    page.locator("h2 a[href^='/life']").first.click()

    page.get_by_role("link", name="Erase this user").click()

    expect(page.get_by_role("button", name="Erase for good")).to_be_visible()
    expect(page.locator(".headline")).to_contain_text("events in the log")
    looker.shot(page, "erasure-counted")
    assert (overflow(page), barriers(page)) == (0, [])
