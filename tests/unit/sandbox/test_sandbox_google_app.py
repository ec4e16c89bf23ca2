"""The stand-in for Google's App Conversion API. Oracle: its request and response specifications."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.google_app import HOST, judge

NOW = to_us(datetime(2026, 11, 22, 10, tzinfo=UTC))
SETTINGS = SandboxSettings(google_app={"0123456789ABCDEF": "dev-1", "FEDCBA9876543210": "dev-2"})
QUERY = {
    "dev_token": "dev-1",
    "link_id": "0123456789ABCDEF",
    "app_event_type": "custom",
    "app_event_name": "ev_disb1",
    "rdid": "38400000-8cf0-11bd-b23e-10b96e40000d",
    "id_type": "advertisingid",
    "lat": "0",
    "app_version": "5.2.0",
    "os_version": "14",
    "sdk_version": "5.2.1",
    "timestamp": "1795144507.25",
    "value": "125.5",
    "currency_code": "PHP",
}
HEADERS = {
    "user-agent": "MyProduct/1.0.0 (Android 6.0; en_US; Nexus 5; Build/MMB29S; Proxy)",
    "x-forwarded-for": "203.0.113.7",
    "content-type": "application/json",
}


def send(
    changes: Mapping[str, str | None] = {},
    *,
    headers: Mapping[str, str | None] = {},
    body: bytes = b"",
    path: str = "/pagead/conversion/app/1.0",
) -> Answer:
    query = {name: value for name, value in {**QUERY, **changes}.items() if value is not None}
    given = {name: value for name, value in {**HEADERS, **headers}.items() if value is not None}
    asked = Asked(host=HOST, method="POST", path=path, query=urlencode(query), headers=given, body=body)
    return judge(asked, SETTINGS, NOW)


def said(answer: Answer) -> list[str]:
    found: list[str] = json.loads(answer.body)["errors"]
    return found


def test_the_documented_address_is_taken() -> None:
    answer = send(body=b'{"app_event_data":{"transaction_id":"c0ffee01"}}')
    (taken,) = answer.taken

    assert (answer.status, said(answer)) == (200, [])
    assert (taken.account, taken.name, taken.conversion_id) == ("0123456789ABCDEF", "ev_disb1", "c0ffee01")
    assert (taken.value, taken.currency) == ("125.5", "PHP")
    assert taken.occurred_us == 1795144507_250_000
    assert taken.ids == {"gaid": "38400000-8cf0-11bd-b23e-10b96e40000d"}
    assert "dev-1" not in repr(taken)


def test_an_empty_body_is_taken_and_has_no_id_of_ours() -> None:
    assert send().taken[0].conversion_id is None


def test_whether_an_ad_brought_the_user_follows_from_the_device() -> None:
    answers = {json.loads(send({"rdid": f"38400000-8cf0-11bd-b23e-10b96e4000{n:02x}"}).body)["attributed"]
               for n in range(16)}  # fmt: skip

    assert answers == {True, False}
    assert send().body == send().body


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"dev_token": None}, "dev_token_invalid"),
        ({"dev_token": "x"}, "dev_token_invalid"),
        ({"link_id": "FEDCBA9876543210"}, "link_id_invalid"),
        ({"link_id": "x"}, "link_id_invalid"),
        ({"app_event_type": "purchase", "app_event_name": None}, "app_event_type_invalid"),
        ({"app_event_name": None}, "app_event_name_invalid"),
        ({"app_event_type": "view_item"}, "app_event_name_invalid"),
        ({"rdid": "not-an-id"}, "rdid_invalid"),
        ({"rdid": "00000000-0000-0000-0000-000000000000"}, "rdid_invalid"),
        ({"id_type": "gaid"}, "id_type_invalid"),
        ({"lat": "true"}, "lat_invalid"),
        ({"app_version": None}, "app_version_invalid"),
        ({"os_version": ""}, "os_version_invalid"),
        ({"sdk_version": None}, "sdk_version_invalid"),
        ({"timestamp": "1795144507250"}, "timestamp_invalid"),
        ({"timestamp": "2026-11-20"}, "timestamp_invalid"),
        ({"timestamp": "1795341601.0"}, "timestamp_invalid"),
        ({"value": "-1"}, "value_invalid"),
        ({"currency_code": "php"}, "currency_code_invalid"),
        ({"currency_code": None}, "currency_code_invalid"),
        ({"ad_user_data": "yes"}, "ad_user_data_invalid"),
    ],
)
def test_each_rule_has_its_word_in_the_errors_of_a_200(changes: dict[str, str | None], word: str) -> None:
    answer = send(changes)

    assert (answer.status, answer.taken, said(answer)) == (200, (), [word])
    assert answer.refused[0].reason == word
    assert "dev-1" not in repr(answer.refused)


@pytest.mark.parametrize(
    ("header", "value", "word"),
    [
        ("user-agent", None, "user_agent_invalid"),
        ("user-agent", "curl/8.0", "user_agent_invalid"),
        ("x-forwarded-for", None, "x_forwarded_for_invalid"),
        ("x-forwarded-for", "somewhere", "x_forwarded_for_invalid"),
    ],
)
def test_the_headers_of_the_phone_are_checked(header: str, value: str | None, word: str) -> None:
    assert said(send(headers={header: value})) == [word]


def test_a_body_that_is_no_json_object_is_refused() -> None:
    assert said(send(body=b"[]")) == ["app_event_data_invalid"]


def test_another_path_is_not_found_and_unknown_parameters_are_noted() -> None:
    assert send(path="/pagead/conversion/app/2.0").status == 404
    assert send({"event_id": "x"}).taken[0].warnings == ("unknown parameter 'event_id'",)
