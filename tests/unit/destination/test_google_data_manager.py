"""The Data Manager API: expected values are from Google's reference and protos, or arithmetic."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from lendsignal.destination.google_data_manager import (
    SPEC,
    Settings,
    ask,
    classify,
    encode,
    problems_found,
    request,
    unmapped,
    validation_request,
    verdict,
)
from lendsignal.destination.spec import GoogleAuth, Item, Response
from lendsignal.model import (
    Accepted,
    App,
    Consent,
    Delivery,
    Device,
    Money,
    Outcome,
    Paused,
    Pending,
    Rejected,
    Retry,
    Secret,
    Skip,
    SkipReason,
    Split,
    contact_of,
)

SETTINGS = Settings(
    account_id="4445556666",
    login_account_id="1112223333",
    credentials=Secret(file="google.json"),
    conversion_actions={"ev_disb1": "987654321", "ev_r": "123450000"},
)
ANDROID = App(
    name="acme-ph",
    brand="acme",
    platform="android",
    bundle="com.acme.loans",
    country="PH",
    currency="PHP",
    timezone="Asia/Manila",
)
IOS = msgspec.structs.replace(ANDROID, name="acme-ios", platform="ios", bundle="id123456789")
CONTACT, _ = contact_of("person@example.com", "+639171234567")


def delivery(**changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="ev_disb1",
        occurred_at=datetime(2026, 11, 20, 3, 15, 7, 250_000, tzinfo=UTC),
        user_id="u-88231",
        app=ANDROID,
        device=Device(gclid="EXAMPLE_GCLID", ip="203.0.113.7"),
        value=Money(Decimal("125.5"), "PHP"),
        contact=CONTACT,
        consent=Consent(ad_user_data=True, ad_personalization=True),
    )
    return msgspec.structs.replace(made, **changes)


def item_of(made: Delivery) -> Item:
    item = encode(made, SETTINGS)
    assert not isinstance(item, Skip)
    return item


def answered(body: Any, status: int = 200, count: int = 1) -> list[Outcome]:
    return list(classify(Response(status=status, body=msgspec.json.encode(body)), count))


def refused(*violations: tuple[str, str], reason: str = "INVALID_ARGUMENT", code: int = 400) -> Any:
    """Google's error: a reason of its own, and fields with theirs."""
    fields = [{"field": field, "description": "d", "reason": why} for field, why in violations]
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "metadata": {"requestId": "r"},
        },
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields},
    ]
    return {"error": {"code": code, "message": "m", "details": details}}


def status(word: str, **counts: int) -> Any:
    found = [
        {"recordCount": str(number), "reason": f"PROCESSING_ERROR_REASON_{reason}"}
        for reason, number in counts.items()
    ]
    return {"requestStatusPerDestination": [{"requestStatus": word, "errorInfo": {"errorCounts": found}}]}


def judged(body: Any, count: int, code: int = 200) -> list[Outcome]:
    return list(verdict(Response(status=code, body=msgspec.json.encode(body)), count))


def test_one_event_has_the_documented_body() -> None:
    made = request([item_of(delivery())], SETTINGS)

    assert made.url == "https://datamanager.googleapis.com/v1/events:ingest"
    assert made.json == {
        "destinations": [
            {
                "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "1112223333"},
                "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "4445556666"},
                "productDestinationId": "987654321",
            }
        ],
        "encoding": "HEX",
        "events": [
            {
                "transactionId": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "eventTimestamp": "2026-11-20T03:15:07.250Z",
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
                "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
            }
        ],
    }


def test_the_token_is_for_the_data_manager_and_no_developer_token_is_needed() -> None:
    assert SPEC.auth == GoogleAuth(
        field="credentials", scope="https://www.googleapis.com/auth/datamanager", headers={}
    )


def test_an_account_of_its_own_names_no_manager() -> None:
    alone = msgspec.structs.replace(SETTINGS, login_account_id=None)

    assert "loginAccount" not in request([item_of(delivery())], alone).json["destinations"][0]


def test_a_request_holds_one_conversion_action() -> None:
    assert SPEC.batch_by == "action"
    assert (item_of(delivery())["action"], item_of(delivery(name="ev_r"))["action"]) == (
        "987654321",
        "123450000",
    )
    assert unmapped("ev_other", SETTINGS) is not None
    assert item_of(delivery(name="ev_other"))["action"] == "0"


def test_no_address_of_the_phone_is_sent() -> None:
    assert b"203.0.113.7" not in msgspec.json.encode(item_of(delivery()))


def test_an_iphone_that_does_not_allow_tracking_tells_only_the_click_of_a_crowd() -> None:
    device = Device(gclid="EXAMPLE_GCLID", gbraid="EXAMPLE_GBRAID", os_version="17.4.1", att_status=2)
    event = item_of(delivery(app=IOS, device=device))["event"]

    assert event["adIdentifiers"] == {"gbraid": "EXAMPLE_GBRAID"}
    assert "userData" not in event


def test_without_click_or_contact_and_without_consent_nothing_is_sent() -> None:
    assert encode(delivery(device=Device(), contact=None), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)
    assert encode(delivery(consent=Consent(ad_user_data=False)), SETTINGS) == Skip(SkipReason.NO_CONSENT)


def test_a_loss_is_not_told_and_the_event_is() -> None:
    event = item_of(delivery(value=Money(Decimal(-1), "PHP")))["event"]

    assert not {"conversionValue", "currency"} & set(event)


def test_pacing_stays_below_a_hundred_thousand_requests_a_day_and_three_hundred_a_minute() -> None:
    assert SPEC.per_second * 86_400 <= 100_000
    assert SPEC.per_second * 60 + (SPEC.burst or 0) <= 300


# answers


def test_a_yes_is_pending_by_googles_request_id() -> None:
    assert answered({"requestId": "r-1", "fieldWarnings": []}, count=2) == [Pending("r-1")] * 2
    assert answered({}) == [Accepted(confirmed=False, reason="unexpected_answer")]


def test_the_bad_events_that_google_names_fall_and_the_others_go_again() -> None:
    body = refused(("events[1].currency", "INVALID_CURRENCY_CODE"), ("events.events[3].x", "ODD"))

    assert answered(body, 400, count=4) == [
        Split("refused_with_others"),
        Rejected("invalid_currency"),
        Split("refused_with_others"),
        Rejected("invalid_field"),
    ]


def test_one_event_alone_is_never_halved() -> None:
    assert answered(refused(("events[0]", "NO_IDENTIFIERS_PROVIDED")), 400) == [Rejected("no_identifiers")]
    assert answered(refused(), 400) == [Rejected("http_400")]
    assert answered(refused(("events", "TOO_MANY_EVENTS")), 400, 2) == [Split("too_many_rows")] * 2


def test_a_refusal_that_names_no_event_is_halved() -> None:
    assert answered(refused(), 400, count=3) == [Split("http_400")] * 3


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("INVALID_DESTINATION", "invalid_destination"),
        ("INVALID_CONVERSION_ACTION_ID", "no_such_conversion_action"),
        ("INVALID_CONVERSION_ACTION_TYPE", "wrong_conversion_action_type"),
        ("EVENT_SOURCE_AND_DESTINATION_MISMATCH", "wrong_event_source"),
        ("MISMATCHED_ACCOUNT_TYPE", "invalid_destination"),
        ("TERMS_AND_CONDITIONS_NOT_SIGNED", "terms_not_signed"),
        ("DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS", "enhanced_conversions_off"),
        ("NOT_ALLOWLISTED", "not_allowlisted"),
    ],
)
def test_what_is_set_up_wrongly_waits_for_a_person(reason: str, word: str) -> None:
    assert answered(refused(reason=reason), 400, count=2) == [Paused(word)] * 2
    assert answered(refused(("destinations[0]", reason)), 400, count=2) == [Paused(word)] * 2


@pytest.mark.parametrize(
    ("code", "body", "outcome"),
    [
        (401, {"error": {"code": 401}}, Paused("http_401")),
        (403, {"error": {"code": 403}}, Paused("http_403")),
        (409, {"error": {"code": 409, "status": "ABORTED"}}, Retry("platform_error")),
        (503, {"error": {"code": 503}}, Retry("http_503")),
        (504, {"error": {"code": 504}}, Retry("http_504")),
        (400, refused(reason="CONVERSION_ACTION_TOO_RECENTLY_CREATED"),
         Retry("too_recent", after=timedelta(hours=6))),
        (429, {"error": {"details": [{"retryDelay": "30s"}]}},
         Retry("throttled", after=timedelta(seconds=30), counts=False)),
        (429, {"error": {"details": [{"metadata": {"quota_limit": "IngestRequestsPerDayPerProject"}}]}},
         Retry("daily_quota", after=timedelta(hours=1), counts=False)),
    ],
)  # fmt: skip
def test_each_answer_has_its_outcome(code: int, body: Any, outcome: Outcome) -> None:
    assert answered(body, code, count=2) == [outcome] * 2


def test_a_dry_run_keeps_nothing_and_lists_what_is_wrong() -> None:
    def asked(body: Any, code: int) -> tuple[str, ...] | None:
        return problems_found(Response(status=code, body=msgspec.json.encode(body)))

    assert validation_request([item_of(delivery())], SETTINGS).json["validateOnly"] is True
    assert asked({}, 200) == ()
    assert asked(refused(("events[0].currency", "INVALID_CURRENCY_CODE")), 400) == (
        "INVALID_ARGUMENT",
        "events[0].currency: INVALID_CURRENCY_CODE",
    )
    assert problems_found(Response(status=502, body=b"<html>")) is None


# the verdict


def test_the_verdict_is_asked_for_by_the_handle() -> None:
    made = ask("r/1 2", SETTINGS)

    assert (made.method, made.json) == ("GET", None)
    assert made.url == "https://datamanager.googleapis.com/v1/requestStatus:retrieve?requestId=r%2F1%202"


def test_all_or_nothing_is_exact() -> None:
    assert judged(status("SUCCESS"), 3) == [Accepted()] * 3
    assert judged(status("FAILED", CLICK_NOT_FOUND=3), 3) == [Rejected("click_not_found")] * 3


def test_a_request_that_is_still_looked_at_is_asked_for_again() -> None:
    bodies: list[Any] = [status("PROCESSING"), status("REQUEST_STATUS_UNKNOWN"), {}, [], "<html>"]
    for body in bodies:
        assert judged(body, 2) == [Pending("")] * 2
    assert judged({"error": {"code": 503}}, 2, code=503) == [Pending("")] * 2
    assert judged(refused(reason="REQUEST_TOO_OLD"), 1, code=400) == [
        Accepted(confirmed=False, reason="no_verdict")
    ]


def test_which_events_of_a_partly_taken_request_fell_is_not_known() -> None:
    some = Accepted(confirmed=False, reason="some_refused")

    assert judged(status("PARTIAL_SUCCESS", CLICK_NOT_FOUND=1), 3) == [some] * 3
    assert judged(status("PARTIAL_SUCCESS"), 3) == [some] * 3
    assert judged(status("FAILED", CLICK_NOT_FOUND=1, DUPLICATE_TRANSACTION_ID=2), 3) == [some] * 3


def test_what_google_had_already_is_accepted() -> None:
    known = Accepted(reason="already_known")

    assert judged(status("FAILED", DUPLICATE_TRANSACTION_ID=3), 3) == [known] * 3
    assert judged(status("PARTIAL_SUCCESS", DUPLICATE_GCLID=1), 3) == [known] * 3


def test_of_several_reasons_of_a_failed_request_the_most_frequent_is_told() -> None:
    body = status("FAILED", INVALID_GCLID=1, EVENT_TOO_OLD=2)

    assert judged(body, 3) == [Rejected("expired_event")] * 3


def test_what_may_be_taken_later_sends_all_of_the_request_again() -> None:
    later = Retry("too_recent", after=timedelta(hours=6))

    assert judged(status("PARTIAL_SUCCESS", TOO_RECENT_CLICK=1, CLICK_NOT_FOUND=1), 3) == [later] * 3
    assert judged(status("PARTIAL_SUCCESS", INTERNAL_ERROR=1), 2) == [Retry("platform_error")] * 2
    assert judged(status("FAILED"), 2) == [Retry("request_failed")] * 2


def test_terms_that_are_not_signed_wait_for_a_person_even_in_a_verdict() -> None:
    body = status("FAILED", DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED=2)

    assert judged(body, 2) == [Paused("terms_not_signed")] * 2


def test_the_last_question_of_googles_schedule_lies_inside_the_time_for_verdicts() -> None:
    # 15 minutes, then 1, 6 and 24 hours.
    assert SPEC.verdict_after == timedelta(minutes=15)
    assert SPEC.verdict_within > timedelta(hours=24)
