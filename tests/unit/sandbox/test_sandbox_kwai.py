"""The Kwai stand-in. Oracle: the fields of public implementations, as the spec has them."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.kwai import EVENTS, HOST, POSTBACK, broken, judge

NOW_US = 1_795_341_600_000_000
SETTINGS = SandboxSettings(kwai={"270": "tok-1"})
EXAMPLE: dict[str, Any] = {
    "access_token": "tok-1",
    "clickid": "CLICK_MACRO_VALUE",
    "event_name": "EVENT_PURCHASE",
    "pixelId": "270",
    "is_attributed": 1,
    "mmpcode": "PL",
    "pixelSdkVersion": "9.9.9",
    "properties": '{"content_id":"ev_disb1"}',
    "value": "125.5",
    "currency": "PHP",
    "testFlag": False,
    "trackFlag": False,
}
QUERY = {
    "clickid": "c-1",
    "is_attributed": "1",
    "event_name": "EVENT_PURCHASE",
    "revenue": "9",
    "currency": "BRL",
}


def send(body: Any, path: str = EVENTS) -> Answer:
    asked = Asked(
        host=HOST,
        method="POST",
        path=path,
        headers={"content-type": "application/json"},
        body=json.dumps(body).encode(),
    )
    return judge(asked, SETTINGS, NOW_US)


def postback(query: dict[str, str]) -> Answer:
    return judge(Asked(host=HOST, method="GET", path=POSTBACK, query=urlencode(query)), SETTINGS, NOW_US)


def test_the_example_is_taken_and_counted_as_it_arrives() -> None:
    answer = send(EXAMPLE)
    (taken,) = answer.taken

    assert json.loads(answer.body) == {"result": 1}
    assert (taken.account, taken.name, taken.conversion_id) == ("270", "EVENT_PURCHASE", "ev_disb1")
    assert (taken.value, taken.currency) == ("125.5", "PHP")
    assert (taken.occurred_us, taken.stamped_us) == (None, NOW_US)
    assert taken.warnings == ()


def test_the_token_is_never_remembered() -> None:
    kept = send(EXAMPLE).taken[0].item, send({**EXAMPLE, "clickid": ""}).refused[0].item

    assert "tok-1" not in repr(kept)


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": "tok-2"},
        {"pixelId": "271"},
        {"clickid": ""},
        {"event_name": "purchase"},
        {"is_attributed": "1"},
        {"mmpcode": "AF"},
        {"properties": {"content_id": "x"}},
        {"properties": "[]"},
        {"value": 125.5},
        {"value": "-1"},
        {"currency": "php"},
        {"testFlag": 0},
    ],
)
def test_each_rule_refuses_with_a_negative_result_and_words(changes: dict[str, Any]) -> None:
    answer = send({**EXAMPLE, **changes})

    assert answer.status == 200
    assert json.loads(answer.body)["result"] == -1
    assert json.loads(answer.body)["error_msg"]
    assert answer.taken == ()


@pytest.mark.parametrize("key", ["access_token", "clickid", "event_name", "pixelId", "is_attributed"])
def test_what_is_required_is_required(key: str) -> None:
    assert not send({name: value for name, value in EXAMPLE.items() if name != key}).taken


def test_a_postback_is_taken_without_an_id() -> None:
    (taken,) = postback(QUERY).taken

    assert (taken.account, taken.conversion_id, taken.value, taken.currency) == ("postback", None, "9", "BRL")
    assert not postback({**QUERY, "is_attributed": "0"}).taken
    assert not postback({**QUERY, "clickid": ""}).taken


def test_another_address_is_not_found() -> None:
    assert send(EXAMPLE, path="/log/other").status == 404
    assert json.loads(broken(500).body)["result"] < 0


def test_a_trial_and_an_unknown_key_are_noted() -> None:
    (taken,) = send({**EXAMPLE, "trackFlag": True, "colour": "red"}).taken

    assert len(taken.warnings) == 2
