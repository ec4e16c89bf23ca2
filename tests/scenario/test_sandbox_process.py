"""The sandbox as a process of its own: answers, memory over a restart, and the ambiguous end."""

import base64
import hashlib
import hmac
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lendsignal.clock import ReplayClock, to_us

EXAMPLES = json.loads((Path(__file__).parents[1] / "unit" / "sandbox" / "vendor_examples.json").read_text())
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
GA4_APP = "1:1234567890:android:0a1b2c3d4e5f6a7b"
SETTINGS = {
    "appsflyer": {"com.acme.loans": "key-a"},
    "ga4": {GA4_APP: "sec-1"},
    "meta": {"4401": {"token": "tok-1"}},
    "webhooks": {"hooks.example.com": EXAMPLES["webhook"]["secret"]},
}
APPSFLYER = "/api3.appsflyer.com/inappevent/com.acme.loans"
AS_JSON = {"content-type": "application/json"}


class Client:
    """Speaks to one running sandbox, each call over a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        text = body if isinstance(body, str | None) else json.dumps(body)
        try:
            connection.request(method, path, text, {**AS_JSON, **headers})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def look(self, path: str) -> Any:
        return json.loads(self("GET", path)[1])

    def appsflyer(self, **headers: str) -> tuple[int, bytes]:
        return self("POST", APPSFLYER, EXAMPLES["appsflyer"]["android"], authentication="key-a", **headers)


@contextmanager
def sandbox(folder: Path) -> Iterator[Client]:
    """The process over a folder, at 10:00 of the replay clock, ended by SIGTERM."""
    (folder / "settings.json").write_text(json.dumps(SETTINGS))
    ReplayClock(folder / "clock").set_us(to_us(NOW))
    words = ["--settings", "settings.json", "--port", "0", "--folder", "kept", "--clock", "clock"]
    command = [sys.executable, "-m", "lendsignal.sandbox", *words]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        try:
            assert line.startswith("sandbox listening on http://127.0.0.1:"), process.stderr.read()
            yield Client(int(line.rpartition(":")[2]))
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=20)
        assert (code, process.stderr.read()) == (0, "")


def test_the_vendors_examples_are_answered_and_remembered_over_a_restart(tmp_path: Path) -> None:
    hook = EXAMPLES["webhook"]
    stamp = str(int(NOW.timestamp()))
    key = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    made = hmac.new(key, f"{hook['id']}.{stamp}.{hook['body']}".encode(), hashlib.sha256).digest()
    signed = {
        "webhook-id": hook["id"],
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(made).decode()}",
    }
    collect = f"/www.google-analytics.com/mp/collect?firebase_app_id={GA4_APP}&api_secret=sec-1"
    events = "/graph.facebook.com/v26.0/4401/events?access_token=tok-1"

    with sandbox(tmp_path) as call:
        assert call.appsflyer() == (200, b"OK")
        assert call("POST", collect, EXAMPLES["ga4"]["typical"]) == (204, b"")
        debug = collect.replace("/mp/", "/debug/mp/")
        assert call("POST", debug, EXAMPLES["ga4"]["typical"]) == (200, b'{"validationMessages":[]}')
        rows = {"data": [EXAMPLES["meta"]["android"], EXAMPLES["meta"]["ios"]]}
        status, body = call("POST", events, rows)
        assert (status, json.loads(body)["events_received"]) == (200, 2)
        assert call("POST", "/hooks.example.com/in", hook["body"], **signed)[0] == 200

        assert call("POST", events, {"data": [{}]})[0] == 400
        assert call("POST", APPSFLYER, EXAMPLES["appsflyer"]["minimal"]) == (400, b"Failed to Authenticate")
        before = call.look("/_sandbox/summary")["accounts"]

    with sandbox(tmp_path) as call:
        assert call.look("/_sandbox/summary")["accounts"] == before
        assert call.look("/_sandbox/ids") == {
            "c0ffee01": 1,
            "c0ffee03": 1,
            "c0ffee04": 1,
            "c0ffee05": 1,
            "c0ffee06": 1,
            hook["id"]: 1,
        }
        refused = call.look("/_sandbox/refused")["items"]
        assert [row["platform"] for row in refused] == ["meta", "appsflyer"]
        assert call.look("/_sandbox/received?platform=ga4")["items"][0]["received_us"] == to_us(NOW)
        call.appsflyer()
        assert call.look("/_sandbox/ids?platform=appsflyer") == {"c0ffee01": 2}


def test_a_connection_closed_after_the_fact_leaves_the_event_with_the_platform(tmp_path: Path) -> None:
    with sandbox(tmp_path) as call:
        call(
            "POST", "/_sandbox/faults", [{"kind": "close_after_accept", "times": 1}, {"kind": "close_before"}]
        )
        for _ in range(2):
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                call.appsflyer()
        assert call.look("/_sandbox/ids") == {"c0ffee01": 1}

        call("POST", "/_sandbox/faults", [{"kind": "truncate"}])
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            call.appsflyer()
        assert call.look("/_sandbox/ids") == {"c0ffee01": 2}


def test_a_hanging_request_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    with sandbox(tmp_path) as call:
        call("POST", "/_sandbox/faults", [{"kind": "hang"}])
        hanging = http.client.HTTPConnection("127.0.0.1", call.port, timeout=20)
        hanging.request("POST", APPSFLYER, "{}", AS_JSON)
        while call.look("/_sandbox/faults")[0]["fired"] == 0:
            pass
        assert call.look("/_sandbox/summary")["accounts"] == []

    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        hanging.getresponse()
    hanging.close()


def test_settings_that_cannot_be_read_end_the_process_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lendsignal.sandbox", "--settings", "none.toml", "--port", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert "none.toml" in done.stderr
