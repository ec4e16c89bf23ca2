"""Snap Conversions API v3 for app events: expected values are those of Snap's pages, or arithmetic."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from tests.contract.destination_exam import deliveries

from lendsignal.destination.snap import SPEC, Settings, classify, encode, problem_with_name, request
from lendsignal.destination.spec import Item, Response
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
from lendsignal.sandbox.snap import HOST, judge

ASSET = "0b61a2f4-5c7d-4e19-9f3a-8d2e6b7c1405"
SETTINGS = Settings(snap_app_id=ASSET, token=Secret(env="SNAP_TOKEN"))
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
    model="SM-A145F",
    locale="en_PH",
    timezone="Asia/Manila",
    screen_width=1080,
    screen_height=2408,
    screen_density=2.6,
    cpu_cores=8,
    storage_gb=128,
    free_storage_gb=64,
    app_version="5.2.0",
    app_build="5.2.0.1187",
    gaid="38400000-8CF0-11BD-B23E-10B96E40000D",
)
CONTACT, _ = contact_of(" Person@Example.com ", "+63 917-123-4567")
VALID = b'{"status":"VALID","reason":"Events have been processed successfully."}'


def delivery(device: Device = PHONE, app: App = ANDROID, **changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="CUSTOM_EVENT_1",
        occurred_at=datetime(2026, 11, 20, 3, 15, 7, 900_000, tzinfo=UTC),
        user_id="ph-4711",
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


def told(http: int = 200, /, **fields: Any) -> Response:
    return Response(status=http, body=msgspec.json.encode(fields))


def test_one_event_has_the_documented_body() -> None:
    # 2026-11-20T03:15:07Z is 20,777 days and 11,707 s after 1970: 20777 × 86400 + 11707 = 1795144507.
    assert request([event_of(delivery())], SETTINGS).json == {
        "data": [
            {
                "event_name": "CUSTOM_EVENT_1",
                "event_time": 1795144507,
                "event_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "action_source": "MOBILE_APP",
                "event_source_url": "https://play.google.com/store/apps/details?id=com.example.loan",
                "app_data": {
                    "app_id": "com.example.loan",
                    "advertiser_tracking_enabled": 1,
                    "application_tracking_enabled": 1,
                    "extinfo": [
                        *("a2", "com.example.loan", "5.2.0", "5.2.0.1187", "14", "SM-A145F", "en_PH", "", ""),
                        *("1080", "2408", "2.6", "8", "128", "64", "Asia/Manila"),
                    ],
                },
                "user_data": {
                    "madid": "38400000-8cf0-11bd-b23e-10b96e40000d",
                    "em": ["542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"],
                    # sha256("639171234567"): Snap's numbers have no plus
                    "ph": ["7b0f3460b105dfa9af1dc747e68f8ca571b88b5aaf88ceee486bd1e90adeb3ee"],
                    # sha256("ph-4711"), by sha256sum
                    "external_id": ["be3408cbc0af5db76098d724f43921610627da3126cbe91e237be44fb2f819a3"],
                },
                "custom_data": {
                    "order_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                    "value": 125.5,
                    "currency": "PHP",
                },
            }
        ]
    }


def test_a_phone_number_is_hashed_as_in_snaps_published_vector() -> None:
    """+44 844 412 4653, developers.snap.com "parameters", read 2026-11-22."""
    contact, _ = contact_of(None, "+44 844 412 4653")

    user = event_of(delivery(contact=contact))["user_data"]

    assert user["ph"] == ["dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"]


def test_an_iphone_is_known_by_its_store_and_its_own_ids() -> None:
    device = Device(
        os_version="17.4.1",
        att_status=3,
        idfa="9C2D0B1E-61F4-4A7B-8E35-2D90C4A6F713",
        idfv="E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
        sc_click_id="8f2d91c4",
    )

    event = event_of(delivery(device, IOS))

    assert event["event_source_url"] == "https://apps.apple.com/app/id123456789"
    assert event["app_data"]["app_id"] == "123456789"
    assert event["app_data"]["extinfo"][:5] == ["i2", "com.example.prestamos", "", "", "17.4.1"]
    assert event["user_data"]["madid"] == "9c2d0b1e-61f4-4a7b-8e35-2d90c4a6f713"
    assert event["user_data"]["idfv"] == "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"
    assert event["user_data"]["sc_click_id"] == "8f2d91c4"


def test_a_phone_that_refuses_tracking_says_so() -> None:
    device = msgspec.structs.replace(PHONE, limit_ad_tracking=True)

    assert event_of(delivery(device))["app_data"]["advertiser_tracking_enabled"] == 0


@pytest.mark.parametrize("gaid", [None, "", ZERO_ID, "not-an-id"])
def test_somebody_must_be_named_by_id_contact_or_address_with_agent(gaid: str | None) -> None:
    nobody = Device(gaid=gaid, ip="203.0.113.7")

    assert encode(delivery(nobody, contact=None), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)
    both = msgspec.structs.replace(nobody, user_agent="Mozilla/5.0")
    assert event_of(delivery(both, contact=None))["user_data"]["client_ip_address"] == "203.0.113.7"
    assert "em" in event_of(delivery(nobody))["user_data"]


def test_consent_decides_whether_and_how_an_event_is_told() -> None:
    counted = event_of(delivery(consent=Consent(ad_user_data=True, ad_personalization=False)))

    assert encode(delivery(consent=Consent(ad_user_data=False)), SETTINGS) == Skip(SkipReason.NO_CONSENT)
    assert counted["data_processing_options"] == ["LDU"]
    assert counted["app_data"]["application_tracking_enabled"] == 0
    assert "data_processing_options" not in event_of(delivery())


def test_a_loss_is_not_told_but_a_purchase_needs_a_value_and_is_worth_nothing() -> None:
    for value in (None, Money(Decimal(-5), "USD")):
        assert set(event_of(delivery(value=value))["custom_data"]) == {"order_id"}
        purchase = event_of(delivery(name="PURCHASE", value=value))["custom_data"]
        assert (purchase["value"], purchase["currency"]) == (0.0, "PHP")


def test_the_settings_choose_site_validator_and_test_code() -> None:
    chosen = msgspec.structs.replace(SETTINGS, site="https://acme.example/", validate=True)
    trial = msgspec.structs.replace(chosen, test_event_code="snap-1")
    item = event_of(delivery(), chosen)

    assert item["event_source_url"] == "https://acme.example/"
    assert request([item], SETTINGS).url == f"https://tr.snapchat.com/v3/{ASSET}/events"
    assert request([item], chosen).url == f"https://tr.snapchat.com/v3/{ASSET}/events/validate"
    assert request([item], trial).json["test_event_code"] == "snap-1"


def test_a_batch_is_two_thousand_events_ten_times_a_second_for_37_days() -> None:
    assert (SPEC.batch, SPEC.per_second, SPEC.max_age) == (2000, 10, timedelta(days=37))


def test_a_yes_is_read_in_the_body() -> None:
    assert classify(Response(status=200, body=VALID), 3) == [Accepted()] * 3
    assert classify(told(status="VALID", event_logs=[]), 1) == [Accepted(False, "validated_not_recorded")]
    assert classify(told(reason="?"), 1) == [Retry("unreadable_answer")]


@pytest.mark.parametrize("http", [200, 400, 422])
def test_invalid_rejects_the_named_row_and_halves_the_others_whatever_the_status(http: int) -> None:
    named = told(http, status="INVALID", event=1, errors={"codes": ["X"], "error_msgs": ["…"]})
    blank = told(http, status="INVALID", reason="…")

    assert classify(named, 3) == [Split("invalid_event"), Rejected("invalid_event"), Split("invalid_event")]
    assert classify(blank, 3) == [Split("invalid_event")] * 3
    assert classify(blank, 1) == [Rejected("invalid_event")]


def test_the_validator_names_every_bad_row() -> None:
    logs = [{"event": row, "status": word} for row, word in enumerate(("INVALID", "VALID", "INVALID"))]

    outcomes = classify(told(status="INVALID", event_logs=logs), 3)

    assert [type(outcome) for outcome in outcomes] == [Rejected, Split, Rejected]


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (told(401, status="INVALID"), Paused("http_401")),
        (told(403, status="INVALID"), Paused("http_403")),
        (told(429, status="INVALID"), Retry("throttled", counts=False)),
        (told(503, status="INVALID"), Retry("http_503")),
        (Response(status=200, body=b"<html>"), Retry("unreadable_answer")),
        (Response(status=400, body=b"<html>"), Retry("unreadable_answer")),
        (Response(status=404, body=b"<html>"), Paused("no_such_endpoint")),
        (told(404, status="INVALID"), Paused("no_such_endpoint")),
        (told(413), Rejected("http_413")),
    ],
)
def test_other_answers_go_by_their_status(response: Response, outcome: Outcome) -> None:
    assert classify(response, 1) == [outcome]


@pytest.mark.parametrize(
    ("name", "rule"),
    [("", "empty"), ("purchase", "PURCHASE"), ("ev_fl", "CUSTOM_EVENT_1"), ("CUSTOM_EVENT_6", "none of")],
)
def test_a_name_that_snap_does_not_list_is_refused(name: str, rule: str) -> None:
    assert rule in (problem_with_name(name) or "")


@pytest.mark.parametrize("name", ["PURCHASE", "SIGN_UP", "CUSTOM_EVENT_5"])
def test_a_listed_name_is_fine(name: str) -> None:
    assert problem_with_name(name) is None


@given(deliveries())
@settings(max_examples=150, deadline=None, database=None)
def test_whatever_is_encoded_the_strict_stand_in_takes(drawn: Delivery) -> None:
    made = msgspec.structs.replace(drawn, name="PURCHASE")
    item = encode(made, SETTINGS)
    if isinstance(item, Skip):
        return
    asked = Asked(
        host=HOST,
        method="POST",
        path=f"/v3/{ASSET}/events",
        query="access_token=tok",
        headers={"content-type": "application/json"},
        body=msgspec.json.encode(request([item], SETTINGS).json),
    )

    answer = judge(asked, SandboxSettings(snap={ASSET: "tok"}), item["event_time"] * 10**6)

    assert json.loads(answer.body)["status"] == "VALID", answer.body
    assert [taken.conversion_id for taken in answer.taken] == [made.id]
