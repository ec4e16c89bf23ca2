"""What every answer of the pages carries, how their cookies are set, and who is told what is measured."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from tests.browsing import Browser, Shown

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.errors import ConfigError
from lendsignal.log import DataFolder, open_keys
from lendsignal.log.people import People, open_people
from lendsignal.metrics import RoleMetrics
from lendsignal.model.member import MemberRole
from lendsignal.role.reports import MAKERS, report_routes
from lendsignal.role.serving import metrics_route
from lendsignal.source import Keyring

PASSWORD = "correct horse battery"

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

STRICT = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def configured(path: Path, more: str = "") -> Config:
    file = path / "lendsignal.toml"
    file.write_text(CONFIG + more)
    return configuration.load(file)


class House:
    """The pages as the role `web` serves them, reports and metrics beside them, and an admin."""

    def __init__(self, config: Config) -> None:
        folder = DataFolder(config.data)
        folder.path.mkdir(exist_ok=True)
        self.people: People = open_people(folder.people)
        self.app = console(config, self.people, MAKERS)
        keys = Keyring({}, SystemClock(), time.monotonic, store=open_keys(folder.keys))
        self.keys = keys.__enter__()
        own = [metrics_route(RoleMetrics("web", folder.path, []), config), *report_routes(config, self.keys)]
        self.app.router.routes[:0] = [*own, Route("/broken", _broken)]
        now = SystemClock().now_us()
        code = self.people.invite(MemberRole.ADMIN, now, by="a test")
        self.people.welcome(code, "ada", PASSWORD, now)

    def signed_in(self) -> Browser:
        browser = Browser(self.app)
        browser.post("/sign-in", {"login": "ada", "password": PASSWORD})
        return browser

    def close(self) -> None:
        self.app.state.room.close()
        self.keys.__exit__()
        self.people.close()


async def _broken(request: object) -> Any:
    raise ValueError("our own mistake over a borrower")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(configured(tmp_path))
    yield made
    made.close()


@pytest.fixture
def behind_tls(tmp_path: Path) -> Iterator[House]:
    made = House(configured(tmp_path, '[web]\naddress = "https://loans.acme.example"\n'))
    yield made
    made.close()


def asked(browser: Browser, house: House) -> Iterator[tuple[str, Shown]]:
    """One answer of every route there is, with words in place of its parts."""
    for route in house.app.routes:
        if isinstance(route, Mount):
            yield route.path, browser.get(f"{route.path}/console.css")
            yield route.path, browser.get(f"{route.path}/nothing")
            continue
        assert isinstance(route, Route)
        path = route.path.replace("{name}", "nothing")
        if path in ("/broken", "/fresh"):  # one raises, the other goes on until the browser leaves
            continue
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield path, browser.post(path, {}) if method == "POST" else browser.get(path)


def test_every_answer_of_every_route_carries_the_headers(house: House) -> None:
    seen = 0
    for browser in (Browser(house.app), house.signed_in()):
        for path, answer in asked(browser, house):
            assert {name: answer.headers.get(name) for name in STRICT} == STRICT, (path, answer.status)
            assert "strict-transport-security" not in answer.headers
            seen += 1
        assert {name: browser.get("/nowhere").headers.get(name) for name in STRICT} == STRICT
    assert seen > 150


def test_our_own_mistake_carries_them_too_and_tells_nothing(house: House) -> None:
    answers: list[dict[str, Any]] = []

    async def told(scope: Any, receive: Any, send: Any) -> None:
        async def kept(message: Any) -> None:
            answers.append(dict(message))
            await send(message)

        await house.app(scope, receive, kept)

    with pytest.raises(ValueError, match="our own mistake"):
        Browser(told).get("/broken")
    headers = {name.decode(): value.decode() for name, value in answers[0]["headers"]}

    assert answers[0]["status"] == 500
    assert {name: headers.get(name) for name in STRICT} == STRICT
    assert b"borrower" not in answers[1]["body"]


def test_behind_tls_browsers_come_by_nothing_else(behind_tls: House) -> None:
    for path, answer in asked(Browser(behind_tls.app), behind_tls):
        assert answer.headers["strict-transport-security"] == "max-age=31536000", path
    browser = Browser(behind_tls.app)
    cookies = [
        browser.post("/sign-in", {"login": "ada", "password": PASSWORD}).headers["set-cookie"],
        browser.post("/taste", {"theme": "dark"}).headers["set-cookie"],
        browser.post("/sign-out", {"form": browser.get("/").form}).headers["set-cookie"],
    ]

    for cookie in map(str.lower, cookies):
        assert "secure" in cookie
        assert "httponly" in cookie
        assert "samesite=lax" in cookie


# what is measured


def from_elsewhere(app: Starlette) -> Browser:
    """A visitor at another machine."""

    async def moved(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": ("203.0.113.7", 5)}, receive, send)

    return Browser(moved)


@pytest.mark.parametrize(
    ("words", "here", "there", "proxied", "with_token"),
    [
        ("", 200, 200, 200, 200),
        ('[metrics]\nopen_to = "machine"\n', 200, 403, 403, 403),
        ('[metrics]\nopen_to = "token"\ntoken = { env = "ACME_METRICS" }\n', 200, 401, 401, 200),
    ],
    ids=["all", "machine", "token"],
)
def test_who_is_told_what_is_measured_is_a_setting(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    here: int,
    there: int,
    proxied: int,
    with_token: int,
) -> None:
    monkeypatch.setenv("ACME_METRICS", "a-token-for-prometheus")
    config = configured(tmp_path, words)
    config.data.mkdir()
    app = Starlette(routes=[metrics_route(RoleMetrics("web", config.data, []), config)])
    elsewhere = from_elsewhere(app)

    assert Browser(app).get("/metrics").status == here
    assert elsewhere.get("/metrics").status == there
    assert Browser(app).get("/metrics", x_forwarded_for="203.0.113.7").status == proxied
    good = "Bearer a-token-for-prometheus"
    assert elsewhere.get("/metrics", authorization=good).status == with_token
    assert elsewhere.get("/metrics", authorization="Bearer another").status == there


def test_a_token_stands_with_its_word_and_only_then(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.token"):
        configured(tmp_path, '[metrics]\nopen_to = "token"\n')
    with pytest.raises(ConfigError, match=r"metrics\.token"):
        configured(tmp_path, '[metrics]\ntoken = { env = "ACME_METRICS" }\n')
