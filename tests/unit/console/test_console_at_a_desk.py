"""The console over a copy of a store: what it says of the copy, and what is left where the store is away."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.browsing import Browser
from tests.lender_file import ACME
from tests.running import free_port

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.console.copying import CopyNote, copy_note
from lendsignal.log import DataFolder, Stop, open_deliveries, open_log
from lendsignal.log.copied import CopyStanding, tell_standing
from lendsignal.log.deliveries import Changes, Pause
from lendsignal.role.reports import MAKERS

NOW_US = 1_763_900_000_000_000
PASSWORD = "made-up-password-of-the-store"

CONFIG = (
    ACME
    + """
[store]
url = { env = "ACME_STORE" }

[destination.warehouse]
kind   = "webhook"
app    = "acme-ng"
url    = "https://hooks.acme.example/in"
secret = { env = "ACME_HOOK" }

[[route]]
to   = "warehouse"
send = { disbursement = "ev_ln" }
"""
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Of a desk whose store is away."""
    monkeypatch.setenv("ACME_STORE", f"postgresql://lender:{PASSWORD}@127.0.0.1:{free_port()}/signals")
    monkeypatch.setenv("ACME_HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    return configuration.load(path)


@pytest.fixture
def visitor(config: Config) -> Iterator[Browser]:
    """Somebody at its pages; in the copy the one destination is paused."""
    folder, changes = DataFolder(config.data), Changes()
    changes.paused["warehouse"] = Pause(NOW_US, Stop.PERSON, "new token")
    with closing(open_log(folder.log)), closing(open_deliveries(folder.deliveries)) as sent:
        sent.commit(changes)
    app = console(config, None, MAKERS)
    yield Browser(app)
    app.state.room.close()


def test_while_the_store_is_away_pages_tell_what_the_copy_says(visitor: Browser) -> None:
    front, destinations = visitor.get("/"), visitor.get("/destinations?name=warehouse")

    assert (front.status, destinations.status) == (200, 200)
    assert "warehouse" in front.text
    assert "new token" in destinations.text


@pytest.mark.parametrize("path", ["/quarantine", "/keys", "/destinations/panel/dead?name=warehouse"])
def test_what_is_the_stores_own_says_that_it_is_away_and_no_secret(visitor: Browser, path: str) -> None:
    found = visitor.get(path)

    assert found.status == 503
    assert "This cannot be shown." in found.text
    assert PASSWORD not in found.text


@pytest.mark.parametrize(
    ("page", "act", "fields"),
    [
        ("/destinations", "pause", {"name": "warehouse"}),
        ("/destinations", "replay", {"name": "warehouse", "span": "24h"}),
        ("/quarantine", "drop", {"source": "backend", "field": "currency"}),
        ("/keys", "make", {"source": "backend", "expires": "never"}),
        ("/routes", "put_in_force", {}),
    ],
)
def test_what_cannot_reach_the_store_is_said_and_leaves_the_copy_alone(
    visitor: Browser, config: Config, page: str, act: str, fields: dict[str, str]
) -> None:
    folder = DataFolder(config.data)
    before = (folder.log.read_bytes(), folder.deliveries.read_bytes(), folder.orders.exists())
    secret = visitor.get("/account").form
    answer = visitor.post(f"{page}/act/{act}", {"form": secret, **fields})
    said = visitor.get("/account").text

    assert answer.status == 303
    assert '<p class="said bad" role="status">' in said
    assert PASSWORD not in said
    assert (folder.log.read_bytes(), folder.deliveries.read_bytes(), folder.orders.exists()) == before


def test_every_page_says_that_a_copy_is_being_made(visitor: Browser) -> None:
    assert "The copy of the store is being made" in visitor.get("/live").text


def test_a_young_copy_is_not_spoken_of(visitor: Browser, config: Config) -> None:
    tell_standing(DataFolder(config.data), CopyStanding(whole_us=SystemClock().now_us(), behind=0))

    assert "copy of the store" not in visitor.get("/live").text


def test_an_old_copy_says_of_when_it_is_and_one_that_stands_still_why(tmp_path: Path) -> None:
    folder, minute = DataFolder(tmp_path), 60_000_000
    tell_standing(folder, CopyStanding(whole_us=NOW_US - minute, behind=7))
    old = copy_note(folder, NOW_US)
    tell_standing(folder, CopyStanding(whole_us=NOW_US, behind=0, wrong="days are gone"))
    still = copy_note(folder, NOW_US)

    assert old == CopyNote(whole_us=NOW_US - minute, behind=7)
    assert still == CopyNote(whole_us=NOW_US, wrong="days are gone")
