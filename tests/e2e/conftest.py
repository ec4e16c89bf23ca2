"""Chromium over a real console. Without Chromium these tests skip, and say what to install."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.e2e.house import Lender
from tests.e2e.looking import Looker

REASON = "no Chromium on this machine: apt-get install chromium"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all of them."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip(REASON)
    # A build machine is a container without a sandbox of its own for browsers.
    flags = ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots are kept."""
    folder = Path(os.environ.get("E2E_SHOTS", "build/e2e"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def lender(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Lender]:
    """The made-up lender with four weeks behind it; one destination is paused and has dead deliveries."""
    one = Lender(tmp_path_factory.mktemp("lender") / "demo")
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def looker(chromium: Browser, shots: Path) -> Iterator[Looker]:
    """Opens windows, and fails where a page complained in one of them."""
    one = Looker(chromium, shots)
    yield one
    one.close()
    assert not one.complaints
