"""The pages of a cluster's node: who may look, what a node has, and what it says of what is not there."""

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from socket import gethostname
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from tests.acme import APPS, loan
from tests.browsing import Browser

from lendsignal.clock import SystemClock
from lendsignal.config import Config, MetricsSettings, WebSettings
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, Fact, Pulse
from lendsignal.log.postgres.desks import Desk
from lendsignal.plan import Verdict
from lendsignal.role import THIS_NODE, own_roles
from lendsignal.role.cluster import ClusterStatus
from lendsignal.role.deskcalls import reached_at
from lendsignal.role.nodepages import Pages, silent_roles
from lendsignal.role.nodeshown import CHINESE, ENGLISH, how_it_stands, spoken_to
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
    desks: Sequence[Desk] = ()

    def _standing(self) -> ClusterStatus:
        if self.found is None:
            raise LogError("the database does not answer")
        return self.found

    def _desks(self) -> list[Desk]:
        return list(self.desks)


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
    page = "".join(how_it_stands(ENGLISH, standing(paused={"meta-<ng>": "<script>"})))

    assert "meta-&lt;ng&gt;" in page
    assert "PAUSED: &lt;script&gt;" in page
    assert "<script>" not in page


def test_a_browser_that_asks_for_chinese_gets_the_whole_page_in_it(tmp_path: Path) -> None:
    browser = pages(tmp_path, is_open=True, found=standing(unheld={"work": 5, "send": 2}, idle=True))
    chinese = [browser.get(path, accept_language="zh-CN,zh;q=0.9").text for path in ("/", "/funnel")]
    english = [browser.get(path, accept_language="de,en;q=0.9,zh;q=0.8").text for path in ("/", "/funnel")]

    assert all("<html lang=zh-Hans>" in text for text in chinese)
    assert "8 个分片中有 5 个无人判定" in chinese[0]
    said = [text.format(n=5, slots=8, lender="acme", reason="") for text in CHINESE if len(text) > 8]
    assert [text for text in said if any(f">{text}<" in page for page in chinese)] == []
    assert any(f">{text}<" in english[0] for text in said)
    assert spoken_to("").tag == "en"


def test_the_page_says_what_nobody_does() -> None:
    assert "nobody decides 5 of 8" in "".join(how_it_stands(ENGLISH, standing(unheld={"work": 5, "send": 0})))
    assert "nobody" not in "".join(how_it_stands(ENGLISH, standing()))


def test_a_store_that_is_away_is_said_and_no_error_of_ours(tmp_path: Path) -> None:
    browser = pages(tmp_path, is_open=True)
    page, status = browser.get("/"), browser.get("/v1/status")

    assert (page.status, status.status) == (503, 503)
    assert "does not answer" in page.text


@pytest.mark.parametrize("path", ["/funnel", "/quarantine", "/static/style.css"])
def test_a_page_that_a_cluster_does_not_have_says_so_and_leads_back(tmp_path: Path, path: str) -> None:
    answer = pages(tmp_path, is_open=True, found=standing()).get(path)

    assert answer.status == 501
    assert "not on this node" in answer.text
    assert "lendsignal run --role desk,web" in answer.text
    assert 'href="/"' in answer.text


def test_a_page_that_is_at_a_desk_leads_there(tmp_path: Path) -> None:
    browser = pages(tmp_path, is_open=True, found=standing())
    browser.app.exception_handlers[404].__self__.desks = [Desk("desk-1", "https://loans.acme.example")]
    page, front = browser.get("/funnel?by=campaign"), browser.get("/")
    call = json.loads(browser.get("/v1/reports/funnel").text)

    assert 'href="https://loans.acme.example/funnel?by=campaign"' in page.text
    assert 'href="https://loans.acme.example/"' in front.text
    assert "https://loans.acme.example" in call["detail"]


@pytest.mark.parametrize(
    ("listens", "reached"),
    [
        ("http://127.0.0.1:8322", "http://127.0.0.1:8322"),
        ("http://loans.acme.example:8322", "http://loans.acme.example:8322"),
        ("http://0.0.0.0:8322", f"http://{gethostname()}:8322"),
        ("http://[::]:8322", f"http://{gethostname()}:8322"),
    ],
)
def test_a_desk_that_listens_everywhere_is_known_by_its_machines_name(listens: str, reached: str) -> None:
    assert reached_at(listens) == reached


def test_a_call_that_a_cluster_does_not_have_is_a_problem_in_words(tmp_path: Path) -> None:
    browser = pages(tmp_path, is_open=True, found=standing())
    answer, written = browser.get("/v1/reports/funnel"), browser.post("/v1/status", {})

    assert (answer.status, json.loads(answer.text)["title"]) == (501, "not on this node")
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
