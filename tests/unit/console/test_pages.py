"""The pages, called as an ASGI application over a small data folder."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import pages
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_log
from lendsignal.model import Device, Event

NOW = datetime.now(UTC) - timedelta(hours=1)

CONFIG = """
[portfolio]
name = "acme-<b>"

[brand.acme]

[app.acme-android]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
""".replace("acme-<b>", "acme")

Get = Callable[[str], tuple[int, dict[str, str], str]]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    return configuration.load(path)


@pytest.fixture
def get(config: Config) -> Get:
    app = pages(config)

    def ask(target: str) -> tuple[int, dict[str, str], str]:
        path, _, query = target.partition("?")
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [],
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        asyncio.run(app(scope, receive, send))
        start = sent[0]
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, b"".join(part.get("body", b"") for part in sent[1:]).decode()

    return ask


@pytest.fixture
def loans(config: Config) -> None:
    folder = DataFolder(config.data)
    log = open_log(folder.log)
    decider = Decider(log, config.policy, SystemClock(), lambda: None)
    device = Device(os="android", appsflyer_id="1763712345678-1", firebase_app_instance_id="a" * 32)
    log.append(
        [
            event("registered", 0, device=device, app="acme-android"),
            event("applied", 1, application_id="A1"),
            event("disbursed", 2, loan_id="L1", amount=Decimal(15000), fee=Decimal(2250), currency="NGN"),
        ]
    )
    while decider.turn():
        continue
    log.close()


def event(kind: str, minute: int, **facts: Any) -> Event:
    at = NOW + timedelta(minutes=minute)
    return Event(
        type=kind,
        brand="acme",
        user_id="u<1>",
        event_id=f"e{minute}",
        occurred_at=at,
        received_at=at,
        **facts,
    )


def test_an_empty_folder_shows_a_page_that_says_there_is_nothing_yet(get: Get) -> None:
    status, _, body = get("/")

    assert status == 200
    assert "no events yet" in body
    assert "no deliveries yet" in body


@pytest.mark.usefixtures("loans")
def test_the_overview_shows_the_three_reports(get: Get) -> None:
    status, _, body = get("/")

    assert status == 200
    for heading in ("Funnel", "Moved by the last login", "Disbursements by media source", "Deliveries"):
        assert f"{heading}</h2>" in body
    assert "15,000.00" in body or "15,000" in body


@pytest.mark.usefixtures("loans")
def test_the_board_alone_is_the_inside_of_the_overview(get: Get) -> None:
    _, _, whole = get("/")
    status, _, inside = get("/board")

    assert status == 200
    assert "<html" not in inside
    assert inside.strip() in whole


@pytest.mark.usefixtures("loans")
def test_an_event_is_explained_and_a_stranger_is_not_found(get: Get) -> None:
    status, _, body = get("/explain?q=e2")

    assert status == 200
    assert "disbursed" in body
    assert get("/explain?q=nobody")[0] == 404
    assert get("/explain")[0] == 200


@pytest.mark.usefixtures("loans")
def test_what_people_typed_is_never_taken_for_markup(get: Get) -> None:
    _, _, body = get("/explain?q=%3Cscript%3Ealert(1)%3C/script%3E")

    assert "<script>alert" not in body
    assert "&lt;script&gt;alert" in body
    assert "u<1>" not in get("/explain?q=e2")[2]


def test_pages_allow_nothing_from_elsewhere(get: Get) -> None:
    _, headers, body = get("/")

    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert 'src="http' not in body
    assert 'href="http' not in body


def test_a_damaged_folder_is_said_and_not_hidden(config: Config, get: Get) -> None:
    DataFolder(config.data).log.write_bytes(b"this is no database" * 100)

    status, _, body = get("/")

    assert status == 503
    assert "cannot be read" in body
