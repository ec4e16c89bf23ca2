"""The pages are made when one of them is asked for, and once."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.browsing import Browser

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.metrics import RoleMetrics
from lendsignal.role.serving import metrics_route
from lendsignal.role.web import Pages

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


class Making:
    """Makes an application that says which path it was asked for, and counts how often it was made."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.times = 0
        self._before = before

    def __call__(self) -> ASGIApp:
        self._before()
        self.times += 1

        async def made(scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse(f"page {scope['path']}")(scope, receive, send)

        return made


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    return configuration.load(path)


def pages_over(config: Config, make: Callable[[], ASGIApp]) -> Pages:
    config.data.mkdir(exist_ok=True)
    return Pages(config, metrics_route(RoleMetrics("web", config.data, []), config), make)


def test_who_asks_for_metrics_alone_gets_them_before_any_page_is_made(config: Config) -> None:
    making = Making()

    shown = Browser(pages_over(config, making)).get("/metrics")

    assert (shown.status, making.times) == (200, 0)
    assert shown.headers["x-content-type-options"] == "nosniff"


def test_the_first_page_makes_them_all_and_the_next_ones_find_them(config: Config) -> None:
    making = Making()
    browser = Browser(pages_over(config, making))

    assert [browser.get(path).text for path in ("/", "/users")] == ["page /", "page /users"]
    assert making.times == 1


def test_many_who_ask_at_once_have_the_pages_made_once(config: Config) -> None:
    may_go_on = threading.Event()
    making = Making(lambda: may_go_on.wait(60))
    pages = pages_over(config, making)
    answered: list[int] = []

    async def asked(path: str) -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])

        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        await pages(scope, lambda: asyncio.sleep(0, {"type": "http.request"}), send)

    async def all_at_once() -> None:
        asking = [asyncio.create_task(asked(path)) for path in ("/", "/users", "/advice")]
        await asyncio.sleep(0)
        may_go_on.set()
        await asyncio.gather(*asking)

    asyncio.run(all_at_once())

    assert (answered, making.times) == ([200, 200, 200], 1)


def test_pages_that_cannot_be_made_are_tried_again_by_who_asks_next(config: Config) -> None:
    troubles = [OSError("the disk is away")]

    def trouble() -> None:
        if troubles:
            raise troubles.pop()

    making = Making(trouble)
    browser = Browser(pages_over(config, making))

    with pytest.raises(OSError, match="the disk is away"):
        browser.get("/")
    assert browser.get("/").text == "page /"
