"""The GA4 stand-in. Oracle: the Measurement Protocol pages named in vendor_examples.json."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.ga4 import judge

EXAMPLES = json.loads(Path(__file__).with_name("vendor_examples.json").read_text())["ga4"]
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
APP = "1:1234567890:android:0a1b2c3d4e5f6a7b"
SETTINGS = SandboxSettings(ga4={APP: "sec-1"})
QUERY = f"firebase_app_id={APP}&api_secret=sec-1"


def send(
    body: Any,
    *,
    query: str = QUERY,
    path: str = "/mp/collect",
    settings: SandboxSettings = SETTINGS,
    method: str = "POST",
) -> Answer:
    asked = Asked(
        host="www.google-analytics.com",
        method=method,
        path=path,
        query=query,
        headers={"content-type": "application/json"},
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )
    return judge(asked, settings, to_us(NOW))


def messages(body: Any, query: str = QUERY) -> list[tuple[str, str]]:
    answer = send(body, path="/debug/mp/collect", query=query)
    assert (answer.status, answer.taken, answer.refused) == (200, (), ())
    found = json.loads(answer.body)["validationMessages"]
    return [(each["fieldPath"], each["validationCode"]) for each in found]


def event(**fields: Any) -> dict[str, Any]:
    return {"app_instance_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "events": [{"name": "ev_x", **fields}]}


def test_the_vendors_examples_are_taken_with_an_empty_204() -> None:
    minimal, typical = send(EXAMPLES["minimal"]), send(EXAMPLES["typical"])

    assert (minimal.status, minimal.body, len(minimal.taken)) == (204, b"", 1)
    assert (typical.status, typical.body, len(typical.taken)) == (204, b"", 2)
    assert all(not taken.warnings for taken in (*minimal.taken, *typical.taken))
    assert messages(EXAMPLES["minimal"]) == messages(EXAMPLES["typical"]) == []


def test_what_was_taken_is_read_from_the_vendors_fields() -> None:
    first, second = send(EXAMPLES["typical"]).taken

    assert (first.account, first.name, first.conversion_id) == (APP, "ev_fl", "c0ffee03")
    assert (first.value, first.currency, first.user_id) == ("27.5", "KES", "u-41903")
    assert first.ids == {"firebase_app_instance_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}
    assert first.occurred_us == first.stamped_us == 1795340400250000
    assert (second.conversion_id, second.value) == ("c0ffee04", None)
    assert second.occurred_us == 1795340000000000


def test_a_wrong_secret_is_answered_204_and_nothing_is_kept() -> None:
    for query in (QUERY + "x", QUERY.replace("1:123", "1:124"), "", f"firebase_app_id={APP}"):
        answer = send(EXAMPLES["typical"], query=query)
        assert (answer.status, answer.body, answer.taken) == (204, b"", ())
        assert answer.refused[0].rows == 2


def test_the_validation_server_looks_at_the_query_and_not_at_the_secret() -> None:
    assert messages(EXAMPLES["minimal"], QUERY + "x") == []
    assert messages(EXAMPLES["minimal"], f"firebase_app_id={APP}") == [("api_secret", "VALUE_REQUIRED")]
    assert messages(EXAMPLES["minimal"], "api_secret=s&firebase_app_id=acme") == [
        ("firebase_app_id", "VALUE_INVALID")
    ]


def test_the_messages_are_the_vendors() -> None:
    body = {"app_instance_id": "abc", "events": [{"name": "9lives"}]}
    answer = send(body, path="/debug/mp/collect", query=f"firebase_app_id={APP}")
    texts = [each["description"] for each in json.loads(answer.body)["validationMessages"]]

    assert texts == [
        "Unable to find non-empty parameter [api_secret] value in request.",
        "Measurement app_instance_id is expected to be a 32 digit hexadecimal number but was [3] digits.",
        "Event at index: [0] has invalid name [9lives]. Names must start with an alphabetic character.",
    ]


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({"events": [{"name": "ev_x"}]}, "app_instance_id", "VALUE_REQUIRED"),
        ({**event(), "events": []}, "events", "VALUE_REQUIRED"),
        ({**event(), "events": [{"name": "ev_x"}] * 26}, "events", "EXCEEDED_MAX_ENTITIES"),
        ({**event(), "consent": {"ad_user_data": True}}, "consent", "VALUE_INVALID"),
        ({**event(), "user_properties": {"ga_x": {"value": 1}}}, "user_properties", "NAME_RESERVED"),
        ({**event(), "user_properties": {"plan": {"value": "v" * 37}}}, "user_properties", "VALUE_INVALID"),
        ({**event(), "validation_behavior": "STRICT"}, "validation_behavior", "VALUE_INVALID"),
        (event(name="first_open"), "events", "NAME_RESERVED"),
        (event(name="firebase_x"), "events", "NAME_RESERVED"),
        (event(name="n" * 41), "events", "NAME_INVALID"),
        (event(name="ev-x"), "events", "NAME_INVALID"),
        (event(params={f"p{n}": n for n in range(26)}), "events[0].params", "EXCEEDED_MAX_ENTITIES"),
        (event(params={"_p": 1}), "events[0].params", "NAME_RESERVED"),
        (event(params={"k" * 41: 1}), "events[0].params", "NAME_INVALID"),
        (event(params={"p": "v" * 101}), "events[0].params.p", "VALUE_OUT_OF_BOUNDS"),
        (event(params={"p": None}), "events[0].params.p", "VALUE_INVALID"),
        (event(params={"value": 1.5}), "events[0].params.currency", "VALUE_REQUIRED"),
        (event(params={"currency": "KES"}), "events[0].params.value", "VALUE_REQUIRED"),
        (event(params={"value": 1, "currency": "XYZ"}), "events[0].params.currency", "VALUE_INVALID"),
        (event(params={"value": "1", "currency": "KES"}), "events[0].params.value", "VALUE_INVALID"),
        (event(timestamp_micros=1795340400250), "events[0].timestamp_micros", "VALUE_INVALID"),
        (
            event(name="refund", params={"value": 1, "currency": "KES"}),
            "events[0].params.transaction_id",
            "VALUE_REQUIRED",
        ),
    ],
)
def test_each_rule_has_the_vendors_code_and_costs_the_event(body: Any, path: str, code: str) -> None:
    assert messages(body) == [(path, code)]
    assert send(body).status == 204
    assert send(body).taken == ()


def test_app_streams_may_send_names_that_web_streams_may_not() -> None:
    for name in ("ad_impression", "in_app_purchase", "screen_view"):
        assert messages(event(name=name)) == []


def test_one_bad_event_does_not_cost_the_others() -> None:
    body = {**event(), "events": [{"name": "ev_x"}, {"name": "first_open"}, {"name": "ev_y"}]}
    answer = send(body)

    assert [taken.name for taken in answer.taken] == ["ev_x", "ev_y"]
    assert [(each.index, each.reason) for each in answer.refused] == [(1, "events: NAME_RESERVED")]


def test_an_event_older_than_72_hours_is_moved_up_or_refused_when_asked_to_enforce() -> None:
    old = to_us(NOW - timedelta(hours=72, seconds=1))
    edge = to_us(NOW - timedelta(hours=72))
    body = event(timestamp_micros=old)

    assert send(body).taken[0].stamped_us == edge
    assert send(event(timestamp_micros=edge)).taken[0].stamped_us == edge
    for key in ("validation_behavior", "validationBehavior"):
        assert send({**body, key: "ENFORCE_RECOMMENDATIONS"}).taken == ()


def test_an_unknown_instance_is_answered_204_and_not_recorded_when_the_instances_are_given() -> None:
    settings = SandboxSettings(ga4={APP: "sec-1"}, ga4_instances=frozenset({"0" * 32}))

    assert send(EXAMPLES["minimal"], settings=settings).taken[0].recorded is False
    body = {**EXAMPLES["minimal"], "app_instance_id": "0" * 32}
    assert send(body, settings=settings).taken[0].recorded is True


def test_encoded_colons_in_the_app_id_are_taken_with_a_warning() -> None:
    taken = send(EXAMPLES["minimal"], query=QUERY.replace(":", "%3A")).taken[0]

    assert taken.warnings == ("firebase_app_id with encoded colons",)


def test_transport_mistakes_have_a_status() -> None:
    assert send(EXAMPLES["minimal"], path="/mp/collect/debug").status == 404
    assert send(EXAMPLES["minimal"], method="GET").status == 405
    assert send(b" " * 130_000).status == 413
    assert send(b"{").status == 204
    assert send(b"{").taken == ()
