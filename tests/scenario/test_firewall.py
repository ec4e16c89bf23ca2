"""What must not leave does not leave, and what must not be kept is not kept.

Events with every field filled in, each with a value of its own, go through a running service to every kind of
destination. Then all that was ever said is searched: requests as they stood on the wire, what the processes
printed, metrics, answers, and every file of the data folder.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests import every_kind
from tests.acme import ANDROID
from tests.contract.destination_exam import SAMPLE_IDS
from tests.forgotten import _contents
from tests.listening_in import Ear, listening_in
from tests.running import KEY, Service, call, until

from lendsignal.log import DataFolder
from lendsignal.role.tracing import Follower
from lendsignal.source import read_event, reader_of

PHONE, EMAIL = "+2348055501773", "marked.person@secret-mail.example"

CONTACT = (PHONE, PHONE.removeprefix("+"), EMAIL, "marked.person", "8055501773")
"""What a person is reached by: it stands nowhere, in no form but hashes."""

STRANGE = ("Marked Fullname", "NIN-77001122334", "marked-salary-777123", "4539-1488-0343-6467")
"""Values of fields that are not ours, in events that were refused for them."""

CREDIT = {
    "score": 0.777123,
    "score_version": "sv-marked-9",
    "limit": "8765432.11",
    "amount": "7654321.25",
    "principal": "6543210.75",
    "outstanding": "5432109.50",
    "product": "product-marked-4",
    "term_days": 217,
}
"""What tells of a person's credit and is on no platform's list of fields."""

KEYS = {
    name: f"{name}-marked" for name in ("application_id", "grant_id", "loan_id", "payment_id", "person_id")
}
PROPERTY = {"employer": "employer-marked-77", "income": 964_208_531}

NEVER_LEAVES = (
    *CONTACT,
    *STRANGE,
    *(str(value) for name, value in CREDIT.items() if name != "term_days"),
    *KEYS.values(),
    *map(str, PROPERTY.values()),
)
"""No request may hold it."""

USER = "user-marked-3301"
NEVER_TOLD = (*NEVER_LEAVES, USER, *SAMPLE_IDS.values(), "203.0.113.177")
"""Neither log lines, metrics nor answers may hold it."""

CONFIG = """
[source.backend]
key = {{ env = "ACME_KEY" }}

[door]
port = {door}

[web]
port = {web}
open = true

[archive]
every = "1s"

[audience.borrowers]
rule = "user.open_loans >= 1"
to   = ["files"]

[audiences]
every = "1s"

[audience_account.files]
kind = "file"
{file}
"""


class Heard(Struct):
    """All that was said, and where the service kept what."""

    ear: Ear
    said: str
    answers: bytes
    data: Path
    exported: bytes
    traced: str


def events() -> list[dict[str, Any]]:
    """One borrower whose every field is filled in."""
    start = datetime.now(UTC) - timedelta(minutes=20)
    ids = {kind.value: value for kind, value in SAMPLE_IDS.items() if kind.value not in ("idfa", "idfv")}
    device = {
        "os": "android", "os_version": "14", "ip": "203.0.113.177", "user_agent": "Mozilla/5.0 (marked)",
        "limit_ad_tracking": False, "kwai_click_id": "Lw2HvYVkoj1MyzQwwNX4dg", **ids,
    }  # fmt: skip

    def event(kind: str, minutes: int, **fields: Any) -> dict[str, Any]:
        at = (start + timedelta(minutes=minutes)).isoformat()
        common = {"type": kind, "brand": "acme", "user_id": USER, "occurred_at": at, "properties": PROPERTY}
        return {**common, "person_id": KEYS["person_id"], **fields}

    money = {"currency": "NGN", "amount": CREDIT["amount"], "fee": "1500"}
    credit = {"score": CREDIT["score"], "score_version": CREDIT["score_version"], "limit": CREDIT["limit"]}
    term = {"term_days": CREDIT["term_days"], "product": CREDIT["product"]}
    loan = {"loan_id": KEYS["loan_id"], **term}
    paid = {
        "payment_id": KEYS["payment_id"], "principal": CREDIT["principal"],
        "outstanding": CREDIT["outstanding"], "currency": "NGN", "amount": "1",
    }  # fmt: skip
    return [
        event("registered", 0, app="acme-ng", device=device, email=EMAIL, phone=PHONE),
        event("applied", 1, application_id=KEYS["application_id"], **term),
        event("credit_granted", 2, grant_id=KEYS["grant_id"], currency="NGN", **credit),
        event("disbursed", 3, **loan, **money),
        event("repaid", 4, loan_id=KEYS["loan_id"], **paid),
    ]


def refused() -> list[dict[str, Any]]:
    """Events that the door must refuse, full of what is none of our business."""
    name, national, salary, card = STRANGE
    bad = events()
    bad[1].update(full_name=name, national_id=national)
    bad[2].update(salary=salary, card=card, score="0.777123")
    bad[3].update(occurred_at="yesterday", email=EMAIL, phone=PHONE)
    bad[4].pop("payment_id")
    return bad[1:]


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    folder = tmp_path_factory.mktemp("firewall")
    with (
        pytest.MonkeyPatch.context() as patch,
        every_kind.sandbox(folder / "sandbox") as played,
        listening_in(played.address) as ear,
    ):
        for name, value in every_kind.ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONFAULTHANDLER", "1")
        one = Service(folder / "service", ear.address)
        text = every_kind.configuration(ear.address)
        file = 'to = "lists"'
        text += CONFIG.format(door=one.port, web=one.web_port, file=file)
        (one.folder / "lendsignal.toml").write_text(text)
        answers: list[bytes] = []
        try:
            one.start("-v")
            answers.append(call(one.address, "POST", "/v1/events", json.dumps(events()).encode())[2])
            answers.append(call(one.address, "POST", "/v1/events", json.dumps(refused()).encode())[2])
            for body in (b'{"phone": "' + PHONE.encode(), EMAIL.encode(), json.dumps(refused()[0]).encode()):
                answers.append(call(one.address, "POST", "/v1/events", body)[2])
            wanted = {
                "api3.appsflyer.com", "s2s.adjust.com", "api2.branch.io", "control.kochava.com",
                "s2s.singular.net", "graph.facebook.com", "hooks.acme.example", "business-api.tiktok.com",
                "tr.snapchat.com", "www.adsnebula.com", "googleads.googleapis.com",
                "datamanager.googleapis.com", "www.googleadservices.com",
            }  # fmt: skip
            until(lambda: wanted <= ear.hosts(), "every platform was told")
            until(lambda: list((one.data / "archive").rglob("*.parquet")), "the archive is written")
            # It dies as by a fault of its own, and writes where every thread of it stood.
            os.kill(until(lambda: one.pid("core"), "core lives"), signal.SIGABRT)
            until(lambda: "Fatal Python error: Aborted" in one.said, "the traceback is written")
            one.ready()
            for path in ("/metrics", "/v1/status"):
                answers.append(call(one.address, "GET", path)[2])
            answers.append(call(one.pages, "GET", "/metrics")[2])
            exported = [_export(one, *words) for words in (("delivery", "--csv"), ("funnel", "--json"))]
            one.stop()
        finally:
            one.close()
        yield Heard(ear, one.said, b"\n".join(answers), one.data, b"\n".join(exported), _traced(one.data))


def _export(one: Service, *words: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "lendsignal", "report", *words, "--config", "lendsignal.toml"],
        cwd=one.folder,
        env={**os.environ, "ACME_KEY": KEY},
        capture_output=True,
        timeout=120,
        check=True,
    )
    return done.stdout + done.stderr


def _traced(data: Path) -> str:
    """Every span of the folder, from its beginning, as JSON."""
    exporter = InMemorySpanExporter()
    follower = Follower(DataFolder(data), exporter)
    (data / "traces.json").write_text(json.dumps({"events": 0, "packs": 0}))
    while follower.turn():
        continue
    return "\n".join(span.to_json() for span in exporter.get_finished_spans())


def found_in(said: bytes, marks: tuple[str, ...]) -> list[str]:
    return [mark for mark in marks if mark.encode() in said]


def test_no_request_to_any_platform_tells_what_is_on_no_list(heard: Heard) -> None:
    said = heard.ear.plainly()

    assert found_in(said, NEVER_LEAVES) == []
    assert found_in(said, (USER,)), "what may leave is there: the search looks at the right thing"


def test_neither_log_lines_nor_metrics_nor_answers_tell_of_a_person(heard: Heard) -> None:
    assert "accepted" in heard.said, "one line for each delivery was asked for"
    assert found_in(heard.said.encode(), NEVER_TOLD) == []
    assert found_in(heard.answers, NEVER_TOLD) == []
    assert b"lendsignal_events" in heard.answers


def test_no_file_holds_a_contact_or_what_was_refused_for_being_strange(heard: Heard) -> None:
    searched = 0
    for path in heard.data.rglob("*"):
        if path.is_file():
            for name, content in _contents(path):
                assert found_in(content, (*CONTACT, *STRANGE)) == [], name
                searched += 1
    assert searched > 20


def test_no_span_of_a_trace_tells_of_a_person(heard: Heard) -> None:
    assert found_in(heard.traced.encode(), NEVER_TOLD) == []
    assert {"accept", "decide", "attempt"} <= {word for word in heard.traced.split('"') if word.isalpha()}


def test_a_traceback_of_a_crash_tells_of_nobody(heard: Heard) -> None:
    assert "Current thread" in heard.said, "the process wrote where it stood"
    assert found_in(heard.said.encode(), NEVER_TOLD) == []


def test_an_error_of_our_own_over_an_event_is_told_without_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **named: Any) -> Any:
        raise RuntimeError("our own mistake")

    monkeypatch.setattr("lendsignal.source.reading.msgspec.convert", broken)
    reader = reader_of({"acme-ng": ANDROID}, timedelta(minutes=5))
    for event in events():
        with pytest.raises(RuntimeError) as raised:
            read_event(event, datetime.now(UTC), reader, source="backend")
        said = "".join(traceback.format_exception(raised.value))
        assert found_in(said.encode(), NEVER_TOLD) == []


def test_what_reports_export_is_of_nobody(heard: Heard) -> None:
    sums = tuple(str(CREDIT[name]) for name in ("amount", "principal", "outstanding"))  # of one borrower here
    assert found_in(heard.exported, tuple(mark for mark in NEVER_TOLD if mark not in sums)) == []
    assert b"disbursement" in heard.exported or b"first_loan" in heard.exported
