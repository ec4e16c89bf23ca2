"""The TikTok stand-in. Oracle: TikTok's return codes and the fields of public connectors, by the spec."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.tiktok import HOST, TRACK, broken, judge

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
NOW_SECONDS = int(NOW.timestamp())
APP = "7300000000000000001"
SETTINGS = SandboxSettings(tiktok={APP: "tok-1", "7300000000000000002": "tok-2"})
PARTIAL = SandboxSettings(tiktok={APP: "tok-1"}, tiktok_partial=True)
EXAMPLE: dict[str, Any] = {
    "event": "LoanDisbursal",
    "event_time": 1795144507,
    "event_id": "L20261120000042",
    "user": {
        "gaid": "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d",
        "phone": "5f399b427fda5c2e9aa29471760b402cfd73b783b9c70ef7e587e35344c6556a",
        "external_id": "b38552d32290cf985bcc08a954dc9f51e91bc839c1fbec4a2344039952f2e928",
        "att_status": "NOT_APPLICABLE",
        "ip": "203.0.113.7",
    },
    "properties": {"currency": "PHP", "value": 125.5, "content_type": "product", "contents": []},
    "app": {"app_id": "com.example.loan", "app_version": "5.2.0"},
    "limited_data_use": False,
}


def send(
    rows: Any,
    *,
    settings: SandboxSettings = SETTINGS,
    token: str = "tok-1",
    path: str = TRACK,
    method: str = "POST",
    **top: Any,
) -> Answer:
    body = {"event_source": "app", "event_source_id": APP, "data": rows, **top}
    asked = Asked(
        host=HOST,
        method=method,
        path=path,
        headers={"content-type": "application/json", "access-token": token},
        body=json.dumps(body).encode(),
    )
    return judge(asked, settings, to_us(NOW))


def code(answer: Answer) -> int:
    body = json.loads(answer.body)
    assert body.keys() == {"code", "message", "request_id", "data"}
    assert answer.status == 200
    number: int = body["code"]
    return number


def changed(**changes: Any) -> dict[str, Any]:
    row = {**deepcopy(EXAMPLE), **changes}
    return {key: value for key, value in row.items() if value is not None}


def user(**changes: Any) -> dict[str, Any]:
    return changed(user={**EXAMPLE["user"], **changes})


def properties(**changes: Any) -> dict[str, Any]:
    return changed(properties={**EXAMPLE["properties"], **changes})


def test_the_example_is_taken_and_read() -> None:
    answer = send([EXAMPLE])
    (taken,) = answer.taken

    assert code(answer) == 0
    assert (taken.account, taken.name, taken.conversion_id) == (APP, "LoanDisbursal", "L20261120000042")
    assert (taken.value, taken.currency, taken.occurred_us) == ("125.5", "PHP", 1795144507 * 1_000_000)
    assert taken.ids == {"gaid": EXAMPLE["user"]["gaid"]}
    assert taken.warnings == ()


def test_without_its_slash_the_address_is_not_found() -> None:
    answer = send([EXAMPLE], path=TRACK.rstrip("/"))

    assert (answer.status, answer.taken) == (404, ())
    assert b"<html>" in answer.body
    assert send([EXAMPLE], method="GET").status == 405


def test_tokens_and_apps_are_checked_in_a_200() -> None:
    assert code(send([EXAMPLE], token="")) == 40104
    assert code(send([EXAMPLE], token="tok-9")) == 40105
    assert code(send([EXAMPLE], token="tok-2")) == 40001


@pytest.mark.parametrize(
    "row",
    [
        changed(event=None),
        changed(event=""),
        changed(event_time=NOW_SECONDS * 1000),
        changed(event_time=str(NOW_SECONDS)),
        changed(event_time=NOW_SECONDS - 28 * 86_400 - 1),
        changed(event_time=NOW_SECONDS + 301),
        changed(event_id=7),
        changed(user=None),
        changed(user={"ip": "203.0.113.7", "att_status": "DENIED"}),
        changed(limited_data_use="no"),
        user(gaid="00000000-0000-0000-0000-000000000000"),
        user(gaid="not-an-id"),
        user(phone="+639171234567"),
        user(email="person@example.com"),
        user(external_id="A" * 64),
        user(att_status="authorized"),
        user(ip="203.0.113"),
        user(locale="en_PH"),
        properties(value="125.5"),
        properties(currency="php"),
        changed(properties={"value": 1}),
        properties(content_type="loan"),
        properties(contents={}),
        "row",
    ],
)
def test_each_rule_refuses_the_whole_request_and_names_the_row(row: Any) -> None:
    answer = send([EXAMPLE, row])

    assert code(answer) == 40002
    assert json.loads(answer.body)["message"].startswith("Batch.1.")
    assert answer.taken == ()
    assert [(each.index, each.rows) for each in answer.refused] == [(1, 2)]


def test_in_partial_mode_the_good_rows_are_taken_and_every_bad_one_is_named() -> None:
    answer = send([changed(event=""), EXAMPLE, user(ip="x")], settings=PARTIAL)

    assert code(answer) == 20001
    assert [part.split(":")[0] for part in json.loads(answer.body)["message"].split("; ")] == [
        "Batch.0.event",
        "Batch.2.user.ip",
    ]
    assert [taken.conversion_id for taken in answer.taken] == ["L20261120000042"]
    assert [each.index for each in answer.refused] == [0, 2]


def test_the_request_itself_is_checked() -> None:
    assert code(send([EXAMPLE] * 1001)) == 40002
    assert code(send("rows")) == 40002
    assert code(send([EXAMPLE], event_source="web")) == 40002
    assert code(send([EXAMPLE] * 2, test_event_code="T1")) == 40002
    assert code(send([])) == 0


def test_what_a_careful_sender_would_not_send_is_noted() -> None:
    row = changed(event="ev_c3", event_id=None, properties={}, ad={"callback": "x"}, colour="red")

    (taken,) = send([row], test_event_code="T1").taken

    assert taken.conversion_id is None
    assert len(taken.warnings) == 7


def test_a_failure_on_purpose_speaks_in_codes() -> None:
    assert json.loads(broken(429).body)["code"] == 40100
    assert json.loads(broken(401).body)["code"] == 40105
    assert json.loads(broken(503).body)["code"] == 50000
