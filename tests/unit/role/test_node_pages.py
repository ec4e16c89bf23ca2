"""The pages of a cluster's node: who may look, what a node has, and what it says of what is not there."""

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from tests.acme import APPS, loan
from tests.browsing import Browser

from lendsignal.clock import SystemClock
from lendsignal.config import Config, MetricsSettings, WebSettings
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, Fact, Pulse
from lendsignal.plan import Verdict
from lendsignal.role import THIS_NODE, own_roles
from lendsignal.role.cluster import ClusterStatus
from lendsignal.role.nodepages import Pages, silent_roles, told
from lendsignal.source import Keyring, SourceSettings, access_of

READER, SENDER, LIMITED = "ls_one-that-reads", "ls_one-that-sends", "ls_one-of-another-brand"


class Settings:
    """Of a configuration what the pages look at."""

    portfolio = "acme"

    def __init__(self, data: Path, *, is_open: bool) -> None:
        self.data = data
        self.apps = APPS
        self.metrics = MetricsSettings()
        self.web = WebSettings(open=is_open)


def standing(**changes: Any) -> ClusterStatus:
    found: dict[str, Any] = {
        "idle": False,
        "events": 107,
        "decided": 100,
        "read_by_sender": True,
        "waiting": {"meta-<ng>": {"waiting": 3}},
        "due": [],
        "paused": {},
        "now_us": 5,
        "slots": 8,
        "nodes": {"work": 2, "send": 1},
        "unheld": {"work": 0, "send": 0},
    }
    return ClusterStatus(**{**found, **changes})


class Made(Pages):
    """Pages over a cluster that stands as the test says."""

    found: ClusterStatus | None = None

    def _standing(self) -> ClusterStatus:
        if self.found is None:
            raise LogError("the database does not answer")
        return self.found


class OneEvent:
    """A log in which one event of the brand `acme` stands."""

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        return [(Fact(1, one), Verdict.TAKEN) for one in (loan(5),) if one.event_id == event_id]


def pages(folder: Path, *, is_open: bool = False, found: ClusterStatus | None = None) -> Browser:
    keys = {}
    for key, scope in ((READER, "read"), (SENDER, "events")):
        digest = sha256(key.encode()).hexdigest()
        keys[digest] = access_of("backend", SourceSettings(), digest, scopes=(scope,))
    digest = sha256(LIMITED.encode()).hexdigest()
    keys[digest] = access_of("agency", SourceSettings(brands=("acme2",)), digest, scopes=("read",))
    ring = Keyring(keys, SystemClock(), lambda: 0.0)
    config = cast(Config, Settings(folder, is_open=is_open))
    one = Made(config, cast(Any, None), cast(Any, OneEvent()), ring, SystemClock())
    one.found = found
    app = Starlette(routes=one.routes(), exception_handlers={404: one.not_here, 405: one.not_here})
    return Browser(app)


def signed(key: str) -> str:
    """A key as a browser sends it: as the name, without a password."""
    return f"Basic {b64encode(f'{key}:'.encode()).decode()}"


def test_who_has_a_key_that_may_read_sees_how_the_cluster_stands(tmp_path: Path) -> None:
    browser = pages(tmp_path, found=standing())
    by_name = browser.get("/", authorization=signed(READER))
    by_token = browser.get("/", authorization=f"Bearer {READER}")

    assert (by_name.status, by_token.status) == (200, 200)
    assert "1 send, 2 work" in by_name.text


def test_who_has_none_is_asked_and_one_that_may_not_read_is_turned_away(tmp_path: Path) -> None:
    browser = pages(tmp_path, found=standing())
    nobody, sender = browser.get("/"), browser.get("/", authorization=signed(SENDER))
    event = browser.get("/v1/events/e1")

    assert nobody.status == 401
    assert nobody.headers["www-authenticate"].startswith("Basic ")
    assert sender.status == 403
    assert event.status == 401


def test_a_key_of_another_brand_finds_an_event_as_little_as_one_that_never_came(tmp_path: Path) -> None:
    browser = pages(tmp_path)
    ours = browser.get("/v1/events/disbursed-L1", authorization=f"Bearer {READER}")
    theirs = browser.get("/v1/events/disbursed-L1", authorization=f"Bearer {LIMITED}")
    nowhere = browser.get("/v1/events/disbursed-L9", authorization=f"Bearer {READER}")

    assert json.loads(ours.text)["events"][0]["verdict"] == "taken"
    assert theirs.status == nowhere.status == 404
    assert theirs.text == nowhere.text


def test_open_pages_ask_nobody(tmp_path: Path) -> None:
    assert pages(tmp_path, is_open=True, found=standing()).get("/").status == 200


def test_names_and_reasons_are_text_on_the_page() -> None:
    page = "".join(told(standing(paused={"meta-<ng>": "<script>"})))

    assert "meta-&lt;ng&gt;" in page
    assert "PAUSED: &lt;script&gt;" in page
    assert "<script>" not in page


def test_the_page_says_what_nobody_does() -> None:
    assert "nobody decides 5 of 8" in "".join(told(standing(unheld={"work": 5, "send": 0})))
    assert "nobody" not in "".join(told(standing()))


def test_a_store_that_is_away_is_said_and_no_error_of_ours(tmp_path: Path) -> None:
    browser = pages(tmp_path, is_open=True)
    page, status = browser.get("/"), browser.get("/v1/status")

    assert (page.status, status.status) == (503, 503)
    assert "does not answer" in page.text


@pytest.mark.parametrize("path", ["/funnel", "/quarantine", "/static/style.css"])
def test_a_page_that_a_cluster_does_not_have_says_so_and_leads_back(tmp_path: Path, path: str) -> None:
    answer = pages(tmp_path, is_open=True, found=standing()).get(path)

    assert answer.status == 501
    assert "not there on a cluster yet" in answer.text
    assert 'href="/"' in answer.text


def test_a_call_that_a_cluster_does_not_have_is_a_problem_in_words(tmp_path: Path) -> None:
    browser = pages(tmp_path, is_open=True, found=standing())
    answer, written = browser.get("/v1/reports/funnel"), browser.post("/v1/status", {})

    assert (answer.status, json.loads(answer.text)["title"]) == (501, "not on a cluster yet")
    assert answer.headers["content-type"] == "application/problem+json"
    assert written.status == 405


def test_a_node_is_to_have_the_roles_that_its_supervisor_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THIS_NODE, "web,work,nonsense")
    assert own_roles() == ("work", "web")

    monkeypatch.delenv(THIS_NODE)
    assert own_roles() == ("web",)


def test_a_role_that_is_gone_or_does_not_turn_is_named(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    pulse = Pulse(folder.pulse("work"))
    with folder.lock("work"), folder.lock("web"):
        still = list(silent_roles(folder, ("work", "web", "send")))
        pulse.beat()
        turning = list(silent_roles(folder, ("work", "web", "send")))
    pulse.close()

    assert still == ["work does not turn", "send does not run"]
    assert turning == ["send does not run"]
