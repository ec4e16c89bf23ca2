"""The Data Manager stand-in. Oracle: Google's reference and protos of v1; `BODY` parses against them."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, GoogleAccount, Memory, SandboxSettings
from lendsignal.sandbox.allowance import Allowance
from lendsignal.sandbox.google_data_manager import HOST, judge, paced

NOW = to_us(datetime(2026, 11, 22, 10, tzinfo=UTC))
DAY = 86_400_000_000
ACCOUNT = GoogleAccount(
    token="tok-1", actions=frozenset({"987654321", "123450000"}), login_customer_id="1112223333"
)
SETTINGS = SandboxSettings(google_ads={"4445556666": ACCOUNT})
BODY: dict[str, Any] = {
    "destinations": [
        {
            "reference": "disb",
            "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "1112223333"},
            "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "4445556666"},
            "productDestinationId": "987654321",
        }
    ],
    "encoding": "HEX",
    "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
    "events": [
        {
            "destinationReferences": ["disb"],
            "transactionId": "t1-L20261120000042-ev_disb1",
            "eventTimestamp": "2026-11-20T03:15:07Z",
            "eventSource": "APP",
            "adIdentifiers": {"gclid": "EXAMPLE_GCLID"},
            "userData": {
                "userIdentifiers": [
                    {"emailAddress": "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"},
                    {"phoneNumber": "5f399b427fda5c2e9aa29471760b402cfd73b783b9c70ef7e587e35344c6556a"},
                ]
            },
            "currency": "PHP",
            "conversionValue": 125.5,
        }
    ],
}


def send(
    body: Any,
    *,
    memory: Memory | None = None,
    settings: SandboxSettings = SETTINGS,
    token: str = "tok-1",
) -> Answer:
    asked = Asked(
        host=HOST,
        method="POST",
        path="/v1/events:ingest",
        headers={"content-type": "application/json", "authorization": f"Bearer {token}"},
        body=json.dumps(body).encode(),
    )
    known = memory or Memory()
    answer = judge(known.has, asked, settings, NOW)
    known.keep(answer)
    if memory is None:
        known.close()
    return answer


def status(handle: str, now_us: int = NOW, settings: SandboxSettings = SETTINGS) -> Answer:
    asked = Asked(
        host=HOST,
        method="GET",
        path="/v1/requestStatus:retrieve",
        query=f"requestId={quote(handle, safe='')}",
        headers={"authorization": "Bearer tok-1"},
    )
    return judge(lambda *_: False, asked, settings, now_us)


def verdict(answer: Answer, **asked: Any) -> tuple[str, dict[str, str]]:
    """Google's word for a request, and how many fell for which reason."""
    found = json.loads(status(json.loads(answer.body)["requestId"], **asked).body)
    (one,) = found["requestStatusPerDestination"]
    counts = one.get("errorInfo", {}).get("errorCounts", [])
    return one["requestStatus"], {
        each["reason"].removeprefix("PROCESSING_ERROR_REASON_"): each["recordCount"] for each in counts
    }


def changed(**fields: Any) -> dict[str, Any]:
    """The example with some of its event's fields changed, or left out where they are `None`."""
    body = deepcopy(BODY)
    event = {**body["events"][0], **fields}
    body["events"] = [{name: value for name, value in event.items() if value is not None}]
    return body


def reasons(answer: Answer) -> list[tuple[str, str]]:
    violations = json.loads(answer.body)["error"]["details"][1]["fieldViolations"]
    return [(each["field"], each["reason"]) for each in violations]


def test_the_vendors_example_is_taken_and_its_verdict_is_a_success() -> None:
    answer = send(BODY)
    (taken,) = answer.taken

    assert answer.status == 200
    assert (taken.account, taken.conversion_id) == ("4445556666/987654321", "t1-L20261120000042-ev_disb1")
    assert (taken.name, taken.value, taken.currency) == ("987654321", "125.5", "PHP")
    assert taken.occurred_us == to_us(datetime(2026, 11, 20, 3, 15, 7, tzinfo=UTC))
    assert verdict(answer) == ("SUCCESS", {})


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"eventTimestamp": None}, "event_timestamp", "REQUIRED_FIELD_MISSING"),
        ({"eventTimestamp": "2026-11-20 03:15:07"}, "event_timestamp", "EVENT_TIME_INVALID"),
        ({"eventTimestamp": 1795144507}, "event_timestamp", "EVENT_TIME_INVALID"),
        ({"eventSource": None}, "event_source", "REQUIRED_FIELD_MISSING"),
        ({"eventSource": "app"}, "event_source", "INVALID_ENUM_VALUE"),
        ({"transactionId": ""}, "transaction_id", "INVALID_FORMAT"),
        ({"currency": "PESO"}, "currency", "INVALID_CURRENCY_CODE"),
        ({"conversionValue": "125.5"}, "conversion_value", "INVALID_NUMBER_FORMAT"),
        ({"destinationReferences": ["other"]}, "destination_references", "INVALID_DESTINATION"),
        ({"consent": {"adUserData": "GRANTED"}}, "consent", "INVALID_ENUM_VALUE"),
        ({"adIdentifiers": {"gclid": ""}}, "ad_identifiers.gclid", "INVALID_FORMAT"),
        ({"eventName": 1, "event_id": "x"}, "event_id", "INVALID_ARGUMENT"),
        (
            {"userData": {"userIdentifiers": [{"emailAddress": "me@example.com"}]}},
            "user_data.user_identifiers[0]",
            "INVALID_HEX_ENCODING",
        ),
        (
            {"userData": {"userIdentifiers": [{"emailAddress": "a" * 64}] * 11}},
            "user_data",
            "TOO_MANY_USER_IDENTIFIERS",
        ),
        ({"userData": {"addressInfo": {}}}, "user_data", "INVALID_ARGUMENT"),
    ],
)
def test_one_bad_event_refuses_its_whole_request_and_is_named(
    fields: dict[str, Any], field: str, reason: str
) -> None:
    body = changed(**fields)
    body["events"].insert(0, {**BODY["events"][0], "transactionId": "good"})
    answer = send(body)

    assert (answer.status, answer.taken) == (400, ())
    assert reasons(answer) == [(f"events[1].{field}", reason)]
    assert (answer.refused[0].rows, answer.refused[0].index) == (2, 1)


def test_an_event_that_names_nobody_is_refused() -> None:
    assert reasons(send(changed(adIdentifiers=None, userData=None))) == [
        ("events[0]", "NO_IDENTIFIERS_PROVIDED")
    ]


def destination(**fields: Any) -> dict[str, Any]:
    return {**BODY["destinations"][0], **fields}


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"destinations": []}, "REQUIRED_FIELD_MISSING"),
        ({"destinations": [destination()] * 2}, "DUPLICATE_DESTINATION_REFERENCE"),
        (
            {"destinations": [destination(reference=str(n)) for n in range(11)]},
            "TOO_MANY_DESTINATIONS",
        ),
        ({"destinations": [destination(productDestinationId="55")]}, "INVALID_CONVERSION_ACTION_ID"),
        ({"destinations": [destination(productDestinationId=None)]}, "REQUIRED_FIELD_MISSING"),
        (
            {"destinations": [destination(operatingAccount={"accountId": "4445556666"})]},
            "INVALID_DESTINATION",
        ),
        ({"events": []}, "REQUIRED_FIELD_MISSING"),
        ({"events": BODY["events"] * 2001}, "TOO_MANY_EVENTS"),
        ({"encoding": "PLAIN"}, "INVALID_ENUM_VALUE"),
        ({"extra": 1}, "INVALID_ARGUMENT"),
    ],
)
def test_each_rule_of_the_request_has_googles_reason(part: dict[str, Any], reason: str) -> None:
    answer = send({**BODY, **part})

    assert (answer.status, answer.taken) == (400, ())
    assert reasons(answer)[0][1] == reason


def test_hashes_need_the_encoding_that_the_request_names() -> None:
    without = {key: value for key, value in BODY.items() if key != "encoding"}

    assert ("encoding", "REQUIRED_FIELD_MISSING") in reasons(send(without))
    assert send({**BODY, "encoding": "BASE64"}).status == 400


def test_token_and_login_account_are_checked() -> None:
    assert send(BODY, token="x").status == 401
    assert send({**BODY, "destinations": [destination(loginAccount=None)]}).status == 400
    other = destination(loginAccount={"accountType": "GOOGLE_ADS", "accountId": "9998887777"})
    assert send({**BODY, "destinations": [other]}).status == 403


def test_a_repeated_transaction_counts_once_and_the_verdict_says_so() -> None:
    memory = Memory()
    first, second = send(BODY, memory=memory), send(BODY, memory=memory)
    both = {**BODY, "events": [*BODY["events"], {**BODY["events"][0], "transactionId": "new"}]}
    third = send(both, memory=memory)

    assert verdict(first) == ("SUCCESS", {})
    assert verdict(second) == ("FAILED", {"DUPLICATE_TRANSACTION_ID": "1"})
    assert verdict(third) == ("PARTIAL_SUCCESS", {"DUPLICATE_TRANSACTION_ID": "1"})
    assert memory.ids("google_data_manager") == {"t1-L20261120000042-ev_disb1": 1, "new": 1}
    memory.close()


def test_what_google_finds_out_later_is_in_the_verdict_alone() -> None:
    clicks = SandboxSettings(google_ads={"4445556666": ACCOUNT}, google_clicks=frozenset({"KNOWN"}))

    assert verdict(send(BODY, settings=clicks)) == ("FAILED", {"CLICK_NOT_FOUND": "1"})
    old = send(changed(eventTimestamp="2026-08-20T10:00:00Z"))
    assert (old.status, old.taken, verdict(old)[1]) == (200, (), {"EVENT_TOO_OLD": "1"})
    denied = send(changed(consent={"adUserData": "CONSENT_DENIED"}))
    assert verdict(denied) == ("FAILED", {"DENIED_CONSENT": "1"})


def test_a_request_is_processed_for_as_long_as_the_settings_say() -> None:
    slow = SandboxSettings(google_ads={"4445556666": ACCOUNT}, google_verdict_seconds=900)
    answer = send(BODY, settings=slow)

    assert verdict(answer, settings=slow, now_us=NOW + 899_000_000)[0] == "PROCESSING"
    assert verdict(answer, settings=slow, now_us=NOW + 900_000_000)[0] == "SUCCESS"


def test_a_verdict_is_kept_for_fifty_days_and_an_unknown_request_has_none() -> None:
    handle = json.loads(send(BODY).body)["requestId"]

    assert status(handle, NOW + 50 * DAY).status == 200
    assert reasons(status(handle, NOW + 50 * DAY + 1)) == [("request_id", "REQUEST_TOO_OLD")]
    assert reasons(status("nonsense")) == [("request_id", "INVALID_REQUEST_ID")]


def test_a_project_has_its_requests_of_a_minute_and_then_gets_429_until_they_are_over() -> None:
    limited = SandboxSettings(google_ads={"4445556666": ACCOUNT}, google_per_minute=3)
    allowance, memory = Allowance(), Memory()

    def asks(now_us: int, number: int) -> Answer:
        asked = Asked(
            host=HOST,
            method="POST",
            path="/v1/events:ingest",
            headers={"content-type": "application/json", "authorization": "Bearer tok-1"},
            body=json.dumps(changed(transactionId=f"t{number}")).encode(),
        )
        return paced(allowance, memory.has, asked, limited, now_us)

    taken = [asks(NOW + second * 1_000_000, second) for second in range(3)]
    over = asks(NOW + 59_999_999, 3)
    later = asks(NOW + 60_000_000, 4)
    memory.close()

    assert [len(answer.taken) for answer in (*taken, over, later)] == [1, 1, 1, 0, 1]
    assert (over.status, json.loads(over.body)["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


def test_each_destination_takes_the_events_that_name_it() -> None:
    two = [destination(), destination(reference="reg", productDestinationId="123450000")]
    events = [
        BODY["events"][0],
        {**BODY["events"][0], "transactionId": "r", "destinationReferences": ["reg"]},
    ]
    answer = send({**BODY, "destinations": two, "events": events})

    assert [(taken.name, taken.conversion_id) for taken in answer.taken] == [
        ("987654321", "t1-L20261120000042-ev_disb1"),
        ("123450000", "r"),
    ]


def test_a_dry_run_keeps_nothing_and_gives_no_request_id() -> None:
    answer = send({**BODY, "validateOnly": True})

    assert (answer.status, answer.body, answer.taken) == (200, b"{}", ())
