"""Windows of a browser, and what is true of every page that is shown in one."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect

PHONE, DESK = 390, 1440
HEIGHTS = {PHONE: 844, DESK: 900}
SECONDS = 30_000
"""Milliseconds that a part of a page may take on a busy machine."""

expect.set_options(timeout=SECONDS)


class Looker:
    """Windows over one console; `complaints` are what browsers wrote into their consoles."""

    def __init__(self, browser: Browser, shots: Path) -> None:
        self._browser = browser
        self._shots = shots
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def window(
        self, base: str, *, width: int = DESK, language: str = "en", for_axe: bool = False, dark: bool = False
    ) -> Page:
        """A fresh window: no cookies, no history. `for_axe` lets axe bring its script in."""
        context = self._browser.new_context(
            base_url=base,
            viewport={"width": width, "height": HEIGHTS[width]},
            locale={"en": "en-GB", "zh": "zh-CN"}[language],
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            bypass_csp=for_axe,
        )
        context.set_default_timeout(SECONDS)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("response", self._answered)
        return page

    def shot(self, page: Page, name: str) -> None:
        """Keeps a picture of the whole page."""
        page.screenshot(path=self._shots / f"{name}.png", full_page=True)

    def expected(self, pattern: str) -> None:
        """Forgets the complaints that a test meant to hear; there must be some."""
        meant = [said for said in self.complaints if re.search(pattern, said)]
        assert meant, f"nothing complained of {pattern}: {self.complaints}"
        self.complaints = [said for said in self.complaints if said not in meant]

    def close(self) -> None:
        """Closes every window."""
        for context in self._contexts:
            context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.location.get('url')}: {message.text}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self.complaints.append(f"{response.url}: {response.status}")


def opened(page: Page, path: str) -> Page:
    """The page at a path, with every part that comes after it."""
    page.goto(path, wait_until="load")
    return whole(page)


def whole(page: Page) -> Page:
    """The page once every part of it is there."""
    expect(page.locator(".loading")).to_have_count(0)
    return page


def overflow(page: Page) -> int:
    """Pixels by which what is shown is wider than the window."""
    session = page.context.new_cdp_session(page)
    size = session.send("Page.getLayoutMetrics")
    session.detach()
    wider: float = size["cssContentSize"]["width"] - size["cssLayoutViewport"]["clientWidth"]
    return round(wider)


def barriers(page: Page) -> Sequence[str]:
    """What axe calls serious or critical: the rule, and where it is broken."""
    found: list[Any] = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
