"""TikTok Events API 2.0 for app events: expected values are those of TikTok's pages, or arithmetic."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from tests.contract.destination_exam import deliveries

from lendsignal.destination.spec import Item, Response
from lendsignal.destination.tiktok import (
    SPEC,
    Settings,
    att_status,
    classify,
    encode,
    problem_with_name,
    request,
)
from lendsignal.model import (
    ZERO_ID,
    Accepted,
    App,
    Consent,
    Delivery,
    Device,
    Money,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Secret,
    Skip,
    SkipReason,
    Split,
    contact_of,
)
from lendsignal.sandbox import Asked, SandboxSettings
from lendsignal.sandbox.tiktok import HOST, TRACK, judge

SETTINGS = Settings(app_id="7300000000000000001", token=Secret(env="TIKTOK_TOKEN"))
ANDROID = App(
    name="acme-ph",
    brand="acme",
    platform="android",
    bundle="com.example.loan",
    country="PH",
    currency="PHP",
    timezone="Asia/Manila",
)
IOS = msgspec.structs.replace(
    ANDROID, platform="ios", bundle="id123456789", bundle_id="com.example.prestamos"
)
PHONE = Device(
    os_version="14",
    locale="en_PH",
    app_version="5.2.0",
    ip="203.0.113.7",
    gaid="38400000-8CF0-11BD-B23E-10B96E40000D",
)
IPHONE = Device(
    os_version="17.4.1",
    att_status=3,
    idfa="9C2D0B1E-61F4-4A7B-8E35-2D90C4A6F713",
    idfv="E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
)
CONTACT, _ = contact_of(" Person@Example.com ", "+63 917-123-4567")


def delivery(device: Device = PHONE, app: App = ANDROID, **changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="LoanDisbursal",
        occurred_at=datetime(2026, 11, 20, 3, 15, 7, 900_000, tzinfo=UTC),
        user_id=" PH-4711",
        app=app,
        device=device,
        value=Money(Decimal("125.50"), "PHP"),
        contact=CONTACT,
    )
    return msgspec.structs.replace(made, **changes)


def event_of(made: Delivery, chosen: Settings = SETTINGS) -> Item:
    item = encode(made, chosen)
    assert not isinstance(item, Skip)
    return item


def answer(code: int, message: str = "…", *, status: int = 200, **headers: str) -> Response:
    body = {"code": code, "message": message, "request_id": "2026112210", "data": {}}
    return Response(status=status, body=msgspec.json.encode(body), headers=headers)


def test_one_event_has_the_documented_body() -> None:
    # 2026-11-20T03:15:07Z is 20,777 days and 11,707 s after 1970: 20777 × 86400 + 11707 = 1795144507.
    assert request([event_of(delivery())], SETTINGS).json == {
        "event_source": "app",
        "event_source_id": "7300000000000000001",
        "data": [
            {
                "event": "LoanDisbursal",
                "event_time": 1795144507,
                "event_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "user": {
                    # sha256("38400000-8cf0-11bd-b23e-10b96e40000d")
                    "gaid": "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d",
                    "email": "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345",
                    # sha256("+639171234567"): E.164 keeps its plus on TikTok
                    "phone": "5f399b427fda5c2e9aa29471760b402cfd73b783b9c70ef7e587e35344c6556a",
                    # sha256("ph-4711"), by sha256sum: trimmed and in lower case
                    "external_id": "be3408cbc0af5db76098d724f43921610627da3126cbe91e237be44fb2f819a3",
                    "att_status": "NOT_APPLICABLE",
                    "ip": "203.0.113.7",
                    "locale": "en-PH",
                },
                "properties": {
                    "order_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                    "content_type": "product",
                    "contents": [],
                    "value": 125.5,
                    "currency": "PHP",
                },
                "app": {"app_id": "com.example.loan", "app_version": "5.2.0"},
                "limited_data_use": False,
            }
        ],
    }


def test_the_address_ends_with_the_slash_without_which_tiktok_answers_404() -> None:
    made = request([event_of(delivery())], SETTINGS)

    assert made.url == "https://business-api.tiktok.com/open_api/v1.3/event/track/"
    assert made.headers == {}


def test_a_device_id_leaves_as_it_is_where_hashing_is_switched_off() -> None:
    raw = msgspec.structs.replace(SETTINGS, hash_device_ids=False)

    assert event_of(delivery(), raw)["user"]["gaid"] == "38400000-8cf0-11bd-b23e-10b96e40000d"


def test_an_iphone_has_its_own_ids_and_the_number_of_its_store() -> None:
    event = event_of(delivery(IPHONE, IOS))

    assert event["user"]["idfv"] == "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"
    # sha256("9c2d0b1e-61f4-4a7b-8e35-2d90c4a6f713"), by sha256sum
    assert event["user"]["idfa"] == "4ce6066900703552f680767b3ec5ec201b49958dc25fa1a349561436bc497dd6"
    assert event["app"] == {"app_id": "123456789"}
    assert "gaid" not in event["user"]


@pytest.mark.parametrize(
    ("app", "device", "word"),
    [
        (ANDROID, Device(att_status=3), "NOT_APPLICABLE"),
        (IOS, Device(os_version="13.7"), "NOT_APPLICABLE"),
        (IOS, Device(os_version="17.4", att_status=0), "NOT_DETERMINED"),
        (IOS, Device(os_version="17.4", att_status=1), "RESTRICTED"),
        (IOS, Device(os_version="17.4", att_status=2), "DENIED"),
        (IOS, Device(os_version="17.4", att_status=3), "AUTHORIZED"),
        (IOS, Device(os_version="17.4"), None),
    ],
)
def test_the_att_answer_is_told_in_tiktoks_words(app: App, device: Device, word: str | None) -> None:
    assert att_status(app, device) == word


def test_a_phone_that_refuses_tracking_keeps_its_advertising_id() -> None:
    android = event_of(delivery(msgspec.structs.replace(PHONE, limit_ad_tracking=True)))
    iphone = event_of(delivery(msgspec.structs.replace(IPHONE, att_status=2), IOS))

    assert "gaid" not in android["user"]
    assert android["limited_data_use"] is True
    assert "idfa" not in iphone["user"]
    assert (iphone["user"]["att_status"], iphone["limited_data_use"]) == ("DENIED", False)


def test_consent_decides_whether_and_how_an_event_is_told() -> None:
    counted = event_of(delivery(consent=Consent(ad_user_data=True, ad_personalization=False)))

    assert encode(delivery(consent=Consent(ad_user_data=False)), SETTINGS) == Skip(SkipReason.NO_CONSENT)
    assert counted["limited_data_use"] is True


@pytest.mark.parametrize("gaid", [None, "", ZERO_ID, "not-an-id"])
def test_without_any_id_contact_or_click_an_event_is_skipped(gaid: str | None) -> None:
    nobody = msgspec.structs.replace(PHONE, gaid=gaid)

    assert encode(delivery(nobody, contact=None), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)
    assert "email" in event_of(delivery(nobody))["user"]
    click = msgspec.structs.replace(nobody, ttclid="E.C.P.1")
    assert event_of(delivery(click, contact=None))["user"]["ttclid"] == "E.C.P.1"


def test_a_bad_field_costs_the_field_and_not_the_event() -> None:
    device = msgspec.structs.replace(PHONE, ip="192.168.1.4", locale="??", user_agent=" ", app_version=" ")

    event = event_of(delivery(device))

    assert not {"ip", "locale", "user_agent"} & set(event["user"])
    assert event["app"] == {"app_id": "com.example.loan"}


def test_a_loss_is_not_told_and_an_event_without_value_has_no_currency() -> None:
    for value in (None, Money(Decimal(-5), "PHP")):
        properties = event_of(delivery(value=value))["properties"]
        assert set(properties) == {"order_id", "content_type", "contents"}


def test_a_test_code_goes_with_the_request_and_not_with_the_event() -> None:
    trial = msgspec.structs.replace(SETTINGS, test_event_code="TEST63401")

    assert request([event_of(delivery())], trial).json["test_event_code"] == "TEST63401"
    assert "test_event_code" not in request([event_of(delivery())], SETTINGS).json


def test_a_batch_is_a_thousand_events_and_repeats_are_dropped_for_two_days() -> None:
    assert (SPEC.batch, SPEC.per_second, SPEC.dedupe) == (1000, 1000, timedelta(hours=48))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, Accepted()),
        (40050, Accepted(reason="already_known")),
        *((code, Rejected("invalid_parameter")) for code in (20001, 40000, 40002, 40006, 40011)),
        *((code, Paused("permission_missing")) for code in (40001, 40118, 40119, 40125)),
        *(
            (code, Paused("bad_token"))
            for code in (40101, 40102, 40104, 40105, 40106, 40110, 40113, 40115, 40116)
        ),
        *((code, Paused("app_not_found")) for code in (40007, 40008, 40010, 40051, 41001)),
        (41000, Paused("blocked_for_policy")),
        (40132, Paused("token_suspected")),
        *((code, Retry("throttled", counts=False)) for code in (40016, 40100, 40133)),
        *((code, Retry("platform_conflict")) for code in (40202, 40700)),
        *((code, Retry("platform_error")) for code in (50000, 50002, 51305)),
        (60001, Retry("maintenance", after=timedelta(minutes=15))),
        (49999, Retry("unknown_error")),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_the_code_in_the_body_decides_whatever_the_status(status: int, code: int, outcome: Outcome) -> None:
    assert classify(answer(code, status=status), 1) == [outcome]


@pytest.mark.parametrize("code", [20001, 40002])
def test_a_named_row_is_rejected_and_the_others_go_again_in_halves(code: int) -> None:
    told = answer(code, "Batch.2.properties.currency: unknown; Batch.0.event_time: too old")

    assert classify(told, 4) == [
        Rejected("invalid_parameter"),
        Split("invalid_parameter"),
        Rejected("invalid_parameter"),
        Split("invalid_parameter"),
    ]


def test_a_batch_refused_without_naming_a_row_is_halved() -> None:
    assert classify(answer(40002, "Missing required field(s)"), 3) == [Split("invalid_parameter")] * 3
    assert classify(answer(49999), 2) == [Split("unknown_error")] * 2
    assert SPEC.tries_on == {"unknown_error": 3, "platform_conflict": 5}


@pytest.mark.parametrize(
    ("message", "after"),
    [
        ("Advertiser's QPS (12) reaches QPS limit 10 for current path", timedelta(seconds=1)),
        ("QPM limit reached", timedelta(minutes=5)),
        ("QPD limit reached", timedelta(hours=9, minutes=30)),
        ("Requests made too frequently.", None),
    ],
)
def test_each_allowance_has_its_own_recovery_time(message: str, after: timedelta | None) -> None:
    told = answer(40100, message, date="Sun, 22 Nov 2026 14:30:00 GMT")

    assert classify(told, 1) == [Retry("throttled", after=after, counts=False)]


def test_a_days_allowance_without_a_date_is_asked_for_again_in_an_hour() -> None:
    for told in (answer(40100, "QPD limit"), answer(40100, "QPD limit", date="garbage")):
        assert classify(told, 1) == [Retry("throttled", after=timedelta(hours=1), counts=False)]


def test_an_answer_without_a_code_never_reached_the_api() -> None:
    page = b"<html><body>404 page not found</body></html>"

    assert classify(Response(status=404, body=page), 2) == [Paused("no_such_endpoint")] * 2
    assert classify(Response(status=200, body=page), 1) == [Retry("unreadable_answer")]
    assert classify(Response(status=502, body=page), 1) == [Retry("http_502", after=timedelta(minutes=5))]
    assert classify(Response(status=429), 1) == [Retry("throttled", counts=False)]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "empty"),
        ("CompletePayment", "web event; for apps TikTok calls it Purchase"),
        ("loan_disbursal", "LoanDisbursal"),
        ("Launchapp", "LaunchAPP"),
    ],
)
def test_a_name_that_would_be_counted_as_something_else_is_refused(name: str, rule: str) -> None:
    assert rule in (problem_with_name(name) or "")


@pytest.mark.parametrize("name", ["LoanApplication", "LoanApproval", "LoanDisbursal", "Purchase", "ev_c3"])
def test_standard_names_and_neutral_codes_are_fine(name: str) -> None:
    assert problem_with_name(name) is None


@given(deliveries())
@settings(max_examples=150, deadline=None, database=None)
def test_whatever_is_encoded_the_strict_stand_in_takes(made: Delivery) -> None:
    item = encode(made, SETTINGS)
    if isinstance(item, Skip):
        return
    asked = Asked(
        host=HOST,
        method="POST",
        path=TRACK,
        headers={"content-type": "application/json", "access-token": "tok"},
        body=msgspec.json.encode(request([item], SETTINGS).json),
    )

    told = judge(asked, SandboxSettings(tiktok={"7300000000000000001": "tok"}), item["event_time"] * 10**6)

    assert json.loads(told.body)["message"] == "OK"
    assert [taken.conversion_id for taken in told.taken] == [made.id]
