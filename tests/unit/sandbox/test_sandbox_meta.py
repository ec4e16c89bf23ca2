"""The Meta stand-in. Oracle: the Conversions API pages named in vendor_examples.json and their codes."""

import hashlib
import hmac
import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, MetaDataset, SandboxSettings
from lendsignal.sandbox.meta import broken, judge

EXAMPLES = json.loads(Path(__file__).with_name("vendor_examples.json").read_text())["meta"]
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
NOW_SECONDS = int(NOW.timestamp())
SETTINGS = SandboxSettings(
    meta={"4401": MetaDataset(token="tok-1"), "4402": MetaDataset(token="tok-2", app_secret="hush")}
)
JSON_TYPE = "application/json"


def send(
    rows: Any,
    *,
    query: str = "access_token=tok-1",
    path: str = "/v26.0/4401/events",
    body: bytes | None = None,
    content_type: str = JSON_TYPE,
    method: str = "POST",
) -> Answer:
    asked = Asked(
        host="graph.facebook.com",
        method=method,
        path=path,
        query=query,
        headers={"content-type": content_type},
        body=json.dumps({"data": rows}).encode() if body is None else body,
    )
    return judge(asked, SETTINGS, to_us(NOW))


def code(answer: Answer) -> tuple[int, int | None]:
    error = json.loads(answer.body)["error"]
    assert {"message", "type", "code", "is_transient", "error_user_msg", "fbtrace_id"} <= error.keys()
    assert answer.status == 400
    assert answer.taken == ()
    return error["code"], error.get("error_subcode")


def android(**changes: Any) -> dict[str, Any]:
    """The example with some of its fields replaced; `None` drops one."""
    row = {**deepcopy(EXAMPLES["android"]), **changes}
    return {key: value for key, value in row.items() if value is not None}


def test_the_vendors_examples_are_taken_with_a_count() -> None:
    answer = send([EXAMPLES["android"], EXAMPLES["ios"]])
    body = json.loads(answer.body)

    assert answer.status == 200
    assert (body["events_received"], body["messages"]) == (2, [])
    assert body["fbtrace_id"]
    assert [taken.warnings for taken in answer.taken] == [(), ()]


def test_what_was_taken_is_read_from_the_vendors_fields() -> None:
    first, second = send([EXAMPLES["android"], EXAMPLES["ios"]]).taken

    assert (first.account, first.name, first.conversion_id) == ("4401", "Purchase", "c0ffee05")
    assert (first.value, first.currency) == ("1900.25", "KES")
    assert first.occurred_us == 1795330000 * 1_000_000
    assert first.ids == {"gaid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}
    assert second.ids == {"idfv": "1B4E28BA-2FA1-41D2-883F-0016D3CCA427", "meta_anon_id": "XZ1122"}
    assert (second.value, second.user_id) == (None, None)


def test_one_bad_row_refuses_the_whole_request() -> None:
    answer = send([EXAMPLES["ios"], android(event_time=NOW_SECONDS - 7 * 86_400 - 1), EXAMPLES["ios"]])

    assert code(answer) == (100, 2804003)
    assert [(each.index, each.rows) for each in answer.refused] == [(1, 3)]


def test_a_week_is_the_limit_and_two_months_in_a_shop() -> None:
    week, months = NOW_SECONDS - 7 * 86_400, NOW_SECONDS - 62 * 86_400

    assert send([android(event_time=week)]).status == 200
    assert send([android(event_time=months, action_source="physical_store")]).status == 200
    assert code(send([android(event_time=months - 1, action_source="physical_store")])) == (100, 2804003)


@pytest.mark.parametrize(
    ("row", "subcode"),
    [
        (android(custom_data=None), 2804009),
        (android(custom_data={"currency": "KES"}), 2804009),
        (android(custom_data={"currency": "KES", "value": "9"}), 2804009),
        (android(custom_data={"value": 9}), 2804001),
        (android(custom_data={"value": 9, "currency": "KSH"}), 2804001),
        (android(event_name=None), 2804001),
        (android(event_time=NOW_SECONDS * 1000), 2804001),
        (android(event_time=str(NOW_SECONDS)), 2804001),
        (android(event_time=NOW_SECONDS + 301), 2804001),
        (android(action_source="App"), 2804001),
        (android(action_source=None), 2804001),
        (android(app_data=None), 2804001),
        (android(app_data={"advertiser_tracking_enabled": True, "extinfo": ["a2"] * 16}), 2804001),
        (android(app_data={"advertiser_tracking_enabled": 1, "extinfo": ["a2"] * 15}), 2804001),
        (android(app_data={"advertiser_tracking_enabled": 1, "extinfo": ["a1"] * 16}), 2804001),
        (android(app_data={"advertiser_tracking_enabled": 1, "extinfo": ["a2"] + [""] * 15}), 2804001),
        (android(user_data={}), 2804001),
        (android(user_data={"em": "person@example.com"}), 2804001),
        (android(user_data={"em": "A" * 64}), 2804001),
        (android(user_data={"madid": "a" * 64}), 2804001),
        (android(user_data={"anon_id": "a" * 64}), 2804001),
        (android(user_data={"madid": "00000000-0000-0000-0000-000000000000"}), 2804001),
        (android(user_data={"client_user_agent": "x", "country": "a" * 64}), 2804001),
        (android(user_data={"shoe_size": "44"}), 2804001),
        (android(data_processing_options=["ldu"]), 2804001),
    ],
)
def test_each_rule_refuses_with_the_published_or_the_stated_subcode(
    row: dict[str, Any], subcode: int
) -> None:
    assert code(send([row])) == (100, subcode)


def test_tokens_datasets_and_proofs_are_checked() -> None:
    proof = hmac.new(b"hush", b"tok-2", hashlib.sha256).hexdigest()
    rows = [EXAMPLES["android"]]
    second = "/v26.0/4402/events"

    assert code(send(rows, query="")) == (190, None)
    assert code(send(rows, query="access_token=tok-9")) == (190, None)
    assert code(send(rows, path="/v26.0/4409/events")) == (100, 33)
    assert code(send(rows, query="access_token=tok-2")) == (100, 33)
    assert code(send(rows, path=second, query="access_token=tok-2")) == (100, None)
    wrong = send(rows, path=second, query=f"access_token=tok-2&appsecret_proof={proof[::-1]}")
    assert json.loads(wrong.body)["error"]["message"].startswith("Invalid appsecret_proof")
    assert send(rows, path=second, query=f"access_token=tok-2&appsecret_proof={proof}").status == 200


def test_the_token_may_stand_in_the_body_and_the_body_may_be_a_form() -> None:
    rows = [EXAMPLES["android"]]
    as_json = json.dumps({"data": rows, "access_token": "tok-1"}).encode()
    form = urlencode({"data": json.dumps(rows), "access_token": "tok-1"}).encode()

    assert send(None, query="", body=as_json).status == 200
    assert send(None, query="", body=form, content_type="application/x-www-form-urlencoded").status == 200
    assert code(send(None, body=form)) == (100, None)


def test_a_request_holds_1_to_1000_rows_and_a_megabyte() -> None:
    assert send([EXAMPLES["ios"]] * 1000).status == 200
    assert code(send([EXAMPLES["ios"]] * 1001)) == (100, None)
    assert code(send([])) == (100, None)
    assert code(send({})) == (100, None)
    assert code(send(None, body=b"{" + b" " * 1_000_000 + b"}")) == (100, None)


def test_an_unknown_path_or_version_is_refused() -> None:
    rows = [EXAMPLES["android"]]

    assert code(send(rows, path="/4401/events")) == (2500, None)
    assert code(send(rows, method="GET")) == (2500, None)
    assert code(send(rows, path="/v27.0/4401/events")) == (2635, None)


def test_what_meta_lets_pass_is_taken_with_a_warning() -> None:
    body = json.dumps({"data": [android(event_id=None, colour="red")], "test_event_code": "TEST1"}).encode()

    assert send(None, body=body).taken[0].warnings == (
        "no event_id: nothing to drop a repeat by",
        "test_event_code in the request",
        "unknown key 'colour'",
    )


def test_no_token_and_no_value_of_a_person_is_in_an_answer_or_a_reason() -> None:
    answer = send([android(user_data={"em": "person@example.com"})])

    assert b"person@" not in answer.body
    assert b"tok-1" not in answer.body
    assert "person@" not in answer.refused[0].reason


def test_throttling_on_purpose_looks_like_metas() -> None:
    answer = broken(429)

    assert json.loads(answer.body)["error"]["code"] == 4
    assert json.loads(dict(answer.headers)["x-app-usage"])["call_count"] == 100
