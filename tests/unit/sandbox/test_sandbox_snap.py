"""The Snap stand-in. Oracle: Snap's Conversions API pages and its own OpenAPI file, as the spec has them."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.snap import HOST, broken, judge

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
NOW_SECONDS = int(NOW.timestamp())
SETTINGS = SandboxSettings(snap={"app-1": "tok-1", "app-2": "tok-2"})
EXAMPLE: dict[str, Any] = {
    "event_name": "CUSTOM_EVENT_1",
    "event_time": 1795144507,
    "event_id": "L20261120000042",
    "action_source": "MOBILE_APP",
    "event_source_url": "https://loan.example.com/",
    "app_data": {
        "app_id": "com.example.loan",
        "advertiser_tracking_enabled": 1,
        "extinfo": [
            *("a2", "com.example.loan", "5.2.0", "5.2.0.1187", "14", "SM-A145F", "en_PH", "PHT", ""),
            *("1080", "2408", "2.6", "8", "128", "64", "Asia/Manila"),
        ],
    },
    "user_data": {
        "madid": "38400000-8cf0-11bd-b23e-10b96e40000d",
        "ph": ["7b0f3460b105dfa9af1dc747e68f8ca571b88b5aaf88ceee486bd1e90adeb3ee"],
    },
    "custom_data": {"currency": "PHP", "value": 125.5},
}


def send(
    rows: Any,
    *,
    query: str = "access_token=tok-1",
    path: str = "/v3/app-1/events",
    method: str = "POST",
    **top: Any,
) -> Answer:
    asked = Asked(
        host=HOST,
        method=method,
        path=path,
        query=query,
        headers={"content-type": "application/json"},
        body=json.dumps({"data": rows, **top}).encode(),
    )
    return judge(asked, SETTINGS, to_us(NOW))


def changed(**changes: Any) -> dict[str, Any]:
    row = {**deepcopy(EXAMPLE), **changes}
    return {key: value for key, value in row.items() if value is not None}


def inside(key: str, **changes: Any) -> dict[str, Any]:
    held = {**deepcopy(EXAMPLE[key]), **changes}
    return changed(**{key: {name: value for name, value in held.items() if value is not None}})


def test_the_example_is_taken_and_read() -> None:
    answer = send([EXAMPLE])
    (taken,) = answer.taken

    assert json.loads(answer.body)["status"] == "VALID"
    assert (taken.account, taken.name, taken.conversion_id) == ("app-1", "CUSTOM_EVENT_1", "L20261120000042")
    assert (taken.value, taken.currency, taken.occurred_us) == ("125.5", "PHP", 1795144507 * 1_000_000)
    assert taken.ids == {"gaid": "38400000-8cf0-11bd-b23e-10b96e40000d"}
    assert taken.warnings == ()


def test_tokens_assets_and_paths_are_checked() -> None:
    assert send([EXAMPLE], query="").status == 401
    assert send([EXAMPLE], query="access_token=tok-9").status == 401
    assert send([EXAMPLE], query="access_token=tok-2").status == 403
    assert send([EXAMPLE], path="/v2/conversion").status == 404
    assert send([EXAMPLE], method="GET").status == 404
    assert send([]).status == send([EXAMPLE] * 2001).status == 400
    assert send([{"x": "y" * 2_000_000}]).status == 413


@pytest.mark.parametrize(
    "row",
    [
        changed(event_name=None),
        changed(event_name="ev_fl"),
        changed(event_name="purchase"),
        changed(event_time=NOW_SECONDS * 1000),
        changed(event_time=NOW_SECONDS - 37 * 86_400 - 1),
        changed(event_time=NOW_SECONDS + 301),
        changed(action_source="APP"),
        changed(event_source_url=None),
        changed(user_data=None),
        changed(user_data={"idfv": "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"}),
        changed(user_data={"client_ip_address": "203.0.113.7"}),
        changed(user_data={"madid": "00000000-0000-0000-0000-000000000000"}),
        inside("user_data", ph=["+639171234567"]),
        inside("user_data", madid="not-an-id"),
        changed(app_data=None),
        inside("app_data", app_id=None),
        inside("app_data", advertiser_tracking_enabled=True),
        inside("app_data", extinfo=["a2"] * 15),
        inside("app_data", extinfo=["android"] * 16),
        inside("app_data", extinfo=["a2", *[""] * 15]),
        changed(event_name="PURCHASE", custom_data={"order_id": "1"}),
        inside("custom_data", currency=None),
        inside("custom_data", currency="php"),
        inside("custom_data", value="much"),
        changed(data_processing_options=["ldu"]),
        "row",
    ],
)
def test_each_rule_answers_invalid_in_a_200_and_names_the_row(row: Any) -> None:
    answer = send([EXAMPLE, row])
    body = json.loads(answer.body)

    assert (answer.status, body["status"], body["event"]) == (200, "INVALID", 1)
    assert body["errors"]["error_msgs"]
    assert answer.taken == ()
    assert [(each.index, each.rows) for each in answer.refused] == [(1, 2)]


def test_the_validator_judges_every_row_and_keeps_nothing() -> None:
    answer = send([EXAMPLE, changed(event_name="x")], path="/v3/app-1/events/validate")
    body = json.loads(answer.body)

    assert [log["status"] for log in body["event_logs"]] == ["VALID", "INVALID"]
    assert (body["status"], answer.taken, answer.refused) == ("INVALID", (), ())


def test_thirty_seven_days_and_a_value_in_text_are_taken() -> None:
    assert send([changed(event_time=NOW_SECONDS - 37 * 86_400)]).taken
    assert send([inside("custom_data", value="125.5")]).taken[0].value == "125.5"


def test_what_a_careful_sender_would_not_send_is_noted() -> None:
    row = inside("user_data", madid="38400000-8CF0-11BD-B23E-10B96E40000D", shoe="44")

    (taken,) = send([{**row, "colour": "red"}], test_event_code="t").taken

    assert len(taken.warnings) == 4


def test_a_429_comes_without_any_word_on_how_long() -> None:
    assert "retry-after" not in dict(broken(429).headers)
    assert (broken(503).status, broken(503).taken) == (503, ())
