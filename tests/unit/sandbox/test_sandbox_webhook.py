"""The webhook stand-in. Oracle: the vector published for Standard Webhooks signatures."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.webhook import judge

VECTOR = json.loads(Path(__file__).with_name("vendor_examples.json").read_text())["webhook"]
HOST = "hooks.example.com"
SETTINGS = SandboxSettings(webhooks={HOST: VECTOR["secret"]})
NOW_US = VECTOR["timestamp"] * 1_000_000
HEADERS = {
    "content-type": "application/json",
    "webhook-id": VECTOR["id"],
    "webhook-timestamp": str(VECTOR["timestamp"]),
    "webhook-signature": VECTOR["signature"],
}


def send(headers: dict[str, str], body: str = VECTOR["body"], now_us: int = NOW_US) -> Answer:
    asked = Asked(host=HOST, method="POST", path="/in", headers=headers, body=body.encode())
    return judge(asked, SETTINGS, now_us)


def signed(body: Any) -> Answer:
    """The body under a signature made by the rule: HMAC-SHA256 of `id.timestamp.body`, in base64."""
    text = json.dumps(body)
    key = base64.b64decode(VECTOR["secret"].removeprefix("whsec_"))
    content = f"{VECTOR['id']}.{VECTOR['timestamp']}.{text}".encode()
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return send({**HEADERS, "webhook-signature": f"v1,{signature}"}, text)


def test_the_published_vector_is_taken() -> None:
    answer = send(HEADERS)

    assert answer.status == 200
    assert answer.taken[0].conversion_id == VECTOR["id"]


def test_one_of_several_signatures_is_enough() -> None:
    assert send({**HEADERS, "webhook-signature": f"v1a,AAAA v1,AAAA {VECTOR['signature']}"}).status == 200


@pytest.mark.parametrize(("seconds", "status"), [(-301, 401), (-300, 200), (300, 200), (301, 401)])
def test_the_timestamp_may_be_five_minutes_away_from_the_clock(seconds: int, status: int) -> None:
    assert send(HEADERS, now_us=NOW_US + seconds * 1_000_000).status == status


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed_and_signed(name: str) -> None:
    missing = {key: value for key, value in HEADERS.items() if key != name}

    assert send(missing).status == 401
    assert send({**HEADERS, name: HEADERS[name][:-2] + "9x"}).status == 401


def test_another_body_under_the_same_signature_is_refused() -> None:
    answer = send(HEADERS, '{"test": 2432232315}')

    assert (answer.status, answer.taken) == (401, ())


def test_a_signed_body_that_is_no_object_is_refused_as_a_bad_request() -> None:
    bodies: list[Any] = [[], {}, "text", None]
    for body in bodies:
        assert signed(body).status == 400


def test_what_was_taken_is_found_at_the_top_or_in_data() -> None:
    data = {
        "id": VECTOR["id"],
        "occurred_at": "2021-02-25T15:00:00+01:00",
        "value": {"amount": "12.50", "currency": "GHS"},
        "device": {"gaid": "g-1"},
        "user_id": "u-5",
    }
    taken = signed({"type": "ev_ln", "timestamp": "2021-02-25T15:02:10Z", "data": data}).taken[0]

    assert (taken.name, taken.value, taken.currency) == ("ev_ln", "12.50", "GHS")
    assert (taken.ids, taken.user_id, taken.warnings) == ({"gaid": "g-1"}, "u-5", ())
    assert taken.occurred_us == 1614261600 * 1_000_000  # 14:00 UTC


def test_an_id_in_the_body_that_differs_is_warned_of() -> None:
    taken = signed({"type": "t", "timestamp": "2021-02-25T15:02:10Z", "data": {"id": "other"}}).taken[0]

    assert taken.warnings == ("the body's id differs from webhook-id",)
