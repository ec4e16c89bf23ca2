"""Every page of the console in a browser: narrow and wide, in both languages, for everybody."""

import pytest
from tests.e2e.house import Lender
from tests.e2e.looking import DESK, PHONE, Looker, barriers, opened, overflow

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
        looker.shot(page, f"one-life-{width}-{language}")
        assert (overflow(page), barriers(page)) == (0, [])
