"""The Google Ads stand-in. Oracle: Google's protos of v25; the first bodies parse against them."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, GoogleAccount, Memory, SandboxSettings
from lendsignal.sandbox.google_ads import HOST, broken, judge

NOW = to_us(datetime(2026, 11, 22, 10, tzinfo=UTC))
ACCOUNT = GoogleAccount(
    token="tok-1", developer_token="dev-1", actions=frozenset({"987654321"}), login_customer_id="1112223333"
)
SETTINGS = SandboxSettings(google_ads={"4445556666": ACCOUNT})
HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer tok-1",
    "developer-token": "dev-1",
    "login-customer-id": "1112223333",
}
CLICKS = {
    "partialFailure": True,
    "jobId": 20261120,
    "conversions": [
        {
            "conversionAction": "customers/4445556666/conversionActions/987654321",
            "gclid": "EXAMPLE_GCLID",
            "conversionDateTime": "2026-11-20 11:15:07+08:00",
            "conversionValue": 125.5,
            "currencyCode": "PHP",
            "orderId": "t1-L20261120000042-ev_disb1",
            "userIdentifiers": [
                {
                    "hashedEmail": "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345",
                    "userIdentifierSource": "FIRST_PARTY",
                }
            ],
            "consent": {"adUserData": "GRANTED", "adPersonalization": "GRANTED"},
        }
    ],
}
CHANGES = {
    "partialFailure": True,
    "conversionAdjustments": [
        {
            "conversionAction": "customers/4445556666/conversionActions/987654321",
            "adjustmentType": "RESTATEMENT",
            "orderId": "t1-L20261120000042-ev_disb1",
            "adjustmentDateTime": "2026-12-20 09:00:00+08:00",
            "restatementValue": {"adjustedValue": 80.0, "currencyCode": "PHP"},
        }
    ],
}


def send(
    body: Any,
    *,
    memory: Memory | None = None,
    settings: SandboxSettings = SETTINGS,
    headers: dict[str, str] = HEADERS,
    path: str = "/v25/customers/4445556666:uploadClickConversions",
) -> Answer:
    asked = Asked(host=HOST, method="POST", path=path, headers=headers, body=json.dumps(body).encode())
    known = memory or Memory()
    answer = judge(known.has, asked, settings, NOW)
    known.keep(answer)
    if memory is None:
        known.close()
    return answer


def changed(**fields: Any) -> dict[str, Any]:
    """The example with some of its row's fields changed, or left out where they are `None`."""
    body: dict[str, Any] = deepcopy(CLICKS)
    row = {**body["conversions"][0], **fields}
    body["conversions"] = [{name: value for name, value in row.items() if value is not None}]
    return body


def errors(answer: Answer) -> list[tuple[str, str, int | None]]:
    """Family, name and row of every error in an answer."""
    body = json.loads(answer.body)
    failure = body.get("partialFailureError") or body.get("error") or {}
    return [
        (*next(iter(error["errorCode"].items())), location(error))
        for detail in failure.get("details", ())
        for error in detail["errors"]
    ]


def location(error: dict[str, Any]) -> int | None:
    path = error.get("location", {}).get("fieldPathElements", [])
    return path[0]["index"] if path else None


def test_the_vendors_example_is_taken() -> None:
    answer = send(CLICKS)
    (taken,) = answer.taken

    assert answer.status == 200
    assert json.loads(answer.body)["results"] == [{"conversionAction": taken.item["conversionAction"]}]
    assert (taken.platform, taken.account, taken.name) == ("google_ads", "4445556666/987654321", "987654321")
    assert (taken.conversion_id, taken.value, taken.currency) == (
        "t1-L20261120000042-ev_disb1",
        "125.5",
        "PHP",
    )
    assert taken.occurred_us == to_us(datetime(2026, 11, 20, 3, 15, 7, tzinfo=UTC))
    assert taken.ids == {"gclid": "EXAMPLE_GCLID"}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"conversionAction": "customers/4445556666/conversionActions/1"}, "NO_CONVERSION_ACTION_FOUND"),
        ({"conversionAction": "customers/1/conversionActions/987654321"}, "NO_CONVERSION_ACTION_FOUND"),
        ({"gclid": None, "userIdentifiers": None}, "REQUIRED"),
        ({"gclid": None, "gbraid": "b", "wbraid": "w"}, "GBRAID_WBRAID_BOTH_SET"),
        ({"gbraid": "b"}, "VALUE_MUST_BE_UNSET"),
        ({"gclid": " "}, "UNPARSEABLE_GCLID"),
        ({"conversionDateTime": "2026-11-20T11:15:07+08:00"}, "INVALID_STRING_DATE_TIME"),
        ({"conversionDateTime": "2026-11-20 11:15:07"}, "INVALID_STRING_DATE_TIME"),
        ({"conversionDateTime": "2026-13-20 11:15:07+08:00"}, "INVALID_STRING_DATE_TIME"),
        ({"conversionDateTime": "2026-11-22 10:06:00+00:00"}, "LATER_THAN_MAXIMUM_DATE"),
        ({"conversionDateTime": "2026-08-20 10:00:00+00:00"}, "EXPIRED_EVENT"),
        ({"conversionValue": -1}, "TOO_LOW"),
        ({"currencyCode": "XYZ"}, "UNSUPPORTED"),
        ({"orderId": "me@example.com"}, "ORDER_ID_CONTAINS_PII"),
        ({"userIdentifiers": [{"hashedEmail": "me"}]}, "INVALID_USER_IDENTIFIER"),
        ({"userIdentifiers": [{"hashedEmail": "a" * 64}] * 6}, "TOO_MANY"),
    ],
)
def test_each_rule_costs_its_row_and_has_googles_name(fields: dict[str, Any], name: str) -> None:
    body = changed(**fields)
    body["conversions"].append({**CLICKS["conversions"][0], "orderId": "other"})  # type: ignore[index]
    answer = send(body)

    assert answer.status == 200
    assert {(found, row) for _, found, row in errors(answer)} == {(name, 0)}
    assert [taken.conversion_id for taken in answer.taken] == ["other"]
    assert json.loads(answer.body)["results"][0] == {}


def test_an_order_id_is_taken_once_for_each_action_even_over_a_restart_of_the_stand_in() -> None:
    memory = Memory()
    twice = {**CLICKS, "conversions": CLICKS["conversions"] * 2}  # type: ignore[operator]

    assert errors(send(twice, memory=memory)) == [("conversionUploadError", "DUPLICATE_ORDER_ID", 1)]
    assert errors(send(CLICKS, memory=memory)) == [("conversionUploadError", "ORDER_ID_ALREADY_IN_USE", 0)]
    assert memory.ids("google_ads") == {"t1-L20261120000042-ev_disb1": 1}
    memory.close()


def test_a_click_that_google_does_not_know_is_not_found_when_the_clicks_are_given() -> None:
    settings = SandboxSettings(google_ads={"4445556666": ACCOUNT}, google_clicks=frozenset({"KNOWN"}))

    assert errors(send(CLICKS, settings=settings)) == [("conversionUploadError", "CLICK_NOT_FOUND", 0)]
    assert len(send(changed(gclid="KNOWN"), settings=settings).taken) == 1


@pytest.mark.parametrize(
    ("headers", "status", "name"),
    [
        ({"authorization": ""}, 401, "OAUTH_TOKEN_INVALID"),
        ({"authorization": "Bearer x"}, 401, "OAUTH_TOKEN_INVALID"),
        ({"developer-token": ""}, 401, "DEVELOPER_TOKEN_PARAMETER_MISSING"),
        ({"developer-token": "x"}, 401, "DEVELOPER_TOKEN_INVALID"),
        ({"login-customer-id": "111-222-3333"}, 403, "USER_PERMISSION_DENIED"),
    ],
)
def test_each_credential_is_checked(headers: dict[str, str], status: int, name: str) -> None:
    answer = send(CLICKS, headers={**HEADERS, **headers})

    assert (answer.status, [found for _, found, _ in errors(answer)]) == (status, [name])
    assert answer.taken == ()
    assert "tok-1" not in repr(answer)


def test_an_account_off_the_allowlist_may_not_upload_clicks() -> None:
    shut = GoogleAccount(token="tok-1", developer_token="dev-1", actions=frozenset(), allowlisted=False)
    headers = {name: value for name, value in HEADERS.items() if name != "login-customer-id"}
    answer = send(CLICKS, settings=SandboxSettings(google_ads={"4445556666": shut}), headers=headers)

    assert answer.status == 403
    assert errors(answer) == [
        ("notAllowlistedError", "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE", None),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({**CLICKS, "partialFailure": False}, "partialFailure: must be true"),
        ({**CLICKS, "conversions": []}, "conversions: required"),
        ({**CLICKS, "conversions": CLICKS["conversions"] * 2001}, "conversions: at most 2000"),  # type: ignore[operator]
        ({**CLICKS, "jobId": -1}, "jobId: from 0 up to 2^31"),
        ({**CLICKS, "extra": 1}, "extra: unknown field"),
        (changed(conversionValue="125.5"), "conversions[].conversionValue: must be a number"),
        (changed(event_id="x"), "conversions[].event_id: unknown field"),
        ([], "body: must be a JSON object"),
    ],
)
def test_what_googles_reader_does_not_take_costs_the_request(body: Any, reason: str) -> None:
    answer = send(body)

    assert (answer.status, answer.taken) == (400, ())
    assert answer.refused[0].reason == reason


def test_a_dry_run_lists_errors_and_keeps_nothing() -> None:
    dry = {**changed(orderId="me@example.com"), "validateOnly": True}

    assert [name for _, name, _ in errors(send(dry))] == ["ORDER_ID_CONTAINS_PII"]
    assert send({**CLICKS, "validateOnly": True}).taken == ()
    assert json.loads(send({**CLICKS, "validateOnly": True}).body) == {}


def test_a_version_that_is_not_served_and_another_path_are_not_found() -> None:
    assert send(CLICKS, path="/v9/customers/4445556666:uploadClickConversions").status == 404
    assert send(CLICKS, path="/v25/customers/444-555-6666:uploadClickConversions").status == 404


def test_an_adjustment_needs_its_conversion_and_is_filed_apart() -> None:
    memory = Memory()
    path = "/v25/customers/4445556666:uploadConversionAdjustments"

    assert [name for _, name, _ in errors(send(CHANGES, memory=memory, path=path))] == [
        "CONVERSION_NOT_FOUND"
    ]
    send(CLICKS, memory=memory)
    (taken,) = send(CHANGES, memory=memory, path=path).taken
    assert (taken.platform, taken.name, taken.value) == ("google_ads_adjustment", "RESTATEMENT", "80.0")
    assert memory.ids("google_ads") == {"t1-L20261120000042-ev_disb1": 1}
    memory.close()


def test_a_retraction_has_no_value_and_ends_the_conversion() -> None:
    memory = Memory()
    path = "/v25/customers/4445556666:uploadConversionAdjustments"
    back: dict[str, Any] = deepcopy(CHANGES)
    back["conversionAdjustments"][0]["adjustmentType"] = "RETRACTION"
    send(CLICKS, memory=memory)

    assert [name for _, name, _ in errors(send(back, memory=memory, path=path))] == ["VALUE_MUST_BE_UNSET"]
    del back["conversionAdjustments"][0]["restatementValue"]
    assert len(send(back, memory=memory, path=path).taken) == 1
    assert [name for _, name, _ in errors(send(CHANGES, memory=memory, path=path))] == [
        "CONVERSION_ALREADY_RETRACTED"
    ]
    memory.close()


def test_its_own_trouble_comes_in_googles_envelope() -> None:
    assert json.loads(broken(503).body)["error"]["status"] == "UNAVAILABLE"
    assert json.loads(broken(429).body)["error"]["status"] == "RESOURCE_EXHAUSTED"
