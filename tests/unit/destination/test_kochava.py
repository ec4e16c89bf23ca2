"""Kochava: expected values are those of its post-install event page, or arithmetic."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.apps import ANDROID, IOS

from lendsignal.destination.kochava import SPEC, Settings, classify, encode, problem_with_name, request
from lendsignal.destination.spec import Response
from lendsignal.model import (
    ZERO_ID,
    Accepted,
    App,
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
)

SETTINGS = Settings(app_guid=Secret(env="KOCHAVA_APP_GUID"))
PHONE = Device(
    os_version="14",
    model="Pixel7",
    app_version="3.8.1",
    ip="198.51.100.23",
    user_agent="Mozilla/5.0 (Linux; Android 14)",
    kochava_device_id="KA-7f3d",
    gaid="7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
    android_id="b1946ac92492d234",
)
IPHONE = Device(
    os_version="17.4.1",
    model="iPhone14,5",
    att_status=3,
    idfa="07f5a855-1375-4e51-9f15-0efd4e5c84f4",
    idfv="e4a1b7c3-92d8-4f60-a5eb-18c7d3f60929",
)


def delivery(device: Device = PHONE, app: App = ANDROID, **changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="ev_fl",
        occurred_at=datetime(2026, 11, 22, 9, 14, 7, 512_000, tzinfo=UTC),
        user_id="u-88231",
        app=app,
        device=device,
        value=Money(Decimal("41.25"), "USD"),
    )
    return msgspec.structs.replace(made, **changes)


def body_of(made: Delivery) -> dict[str, Any]:
    item = encode(made, SETTINGS)
    assert not isinstance(item, Skip)
    return dict(request([item], SETTINGS).json)


def data_of(made: Delivery) -> dict[str, Any]:
    return dict(body_of(made)["data"])


def test_a_typical_event_has_the_documented_fields_and_no_guid_yet() -> None:
    assert body_of(delivery()) == {
        "action": "event",
        "kochava_device_id": "KA-7f3d",
        "data": {
            "event_name": "ev_fl",
            # Seconds: 20,779 days of 86,400, and 33,247.
            "usertime": 20_779 * 86_400 + 33_247,
            "device_ids": {
                "adid": "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
                "android_id": "b1946ac92492d234",
            },
            "origination_ip": "198.51.100.23",
            "device_ua": "Mozilla%2F5.0%20%28Linux%3B%20Android%2014%29",
            "device_ver": "Pixel7-Android-14",
            "app_version": "3.8.1",
            "currency": "USD",
            "event_data": {
                "order_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "user_id": "u-88231",
                "sum": 41.25,
            },
        },
    }


def test_the_guid_joins_the_body_as_the_app_id_and_the_request_goes_over_tls() -> None:
    assert msgspec.structs.asdict(SPEC.auth) == {"name": "kochava_app_id", "field": "app_guid"}
    assert request([{}], SETTINGS).url == "https://control.kochava.com/track/json"


def test_without_an_id_of_kochavas_own_the_field_is_empty_and_the_phones_ids_carry_the_event() -> None:
    device = msgspec.structs.replace(PHONE, kochava_device_id=None)

    assert body_of(delivery(device))["kochava_device_id"] == ""


@pytest.mark.parametrize(
    "device",
    [
        Device(kochava_device_id="KA-7f3d"),
        Device(gaid=ZERO_ID),
        Device(gaid=PHONE.gaid, limit_ad_tracking=True),
    ],
)
def test_without_an_id_of_the_phone_there_is_nothing_to_send(device: Device) -> None:
    assert encode(delivery(device), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


@pytest.mark.parametrize(
    ("model", "os_version", "said"),
    [
        # The page's own example of the form is HTC_Increadible-Android-2.6.
        ("HTC_Increadible", "2.6", "HTC_Increadible-Android-2.6"),
        ("SM-A145F", "14", "SM_A145F-Android-14"),
        (None, "14", "unknown-Android-14"),
        ("Pixel7", None, ""),
    ],
)
def test_the_device_version_has_three_parts_told_apart_by_hyphens_or_is_empty(
    model: str | None, os_version: str | None, said: str
) -> None:
    device = msgspec.structs.replace(PHONE, model=model, os_version=os_version)

    assert data_of(delivery(device))["device_ver"] == said


@pytest.mark.parametrize(
    ("att_status", "os_version", "limited", "said"),
    [
        (3, "17.4.1", None, {"att": True}),
        (2, "17.4.1", None, {"att": False}),
        (0, "17.4.1", None, {"att": False}),
        (None, "17.4.1", False, None),
        (None, "14.4", False, {"att": True}),
        (None, "14.4", True, {"att": False}),
    ],
)
def test_what_the_iphones_user_answered_is_said_for_unsaid_it_is_a_no(
    att_status: int | None, os_version: str, limited: bool | None, said: dict[str, bool] | None
) -> None:
    device = msgspec.structs.replace(
        IPHONE, att_status=att_status, os_version=os_version, limit_ad_tracking=limited
    )

    assert data_of(delivery(device, IOS)).get("app_tracking_transparency") == said


def test_an_iphone_is_named_by_its_own_two_ids_in_upper_case() -> None:
    assert data_of(delivery(IPHONE, IOS))["device_ids"] == {
        "idfa": "07F5A855-1375-4E51-9F15-0EFD4E5C84F4",
        "idfv": "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
    }


def test_a_loss_is_a_negative_sum_and_without_a_value_there_is_neither_sum_nor_currency() -> None:
    loss = data_of(delivery(value=Money(Decimal("-41.25"), "NGN")))
    plain = data_of(delivery(value=None))

    assert (loss["event_data"]["sum"], loss["currency"]) == (-41.25, "NGN")
    assert "sum" not in plain["event_data"]
    assert "currency" not in plain


def test_a_private_address_locates_nobody() -> None:
    assert "origination_ip" not in data_of(delivery(msgspec.structs.replace(PHONE, ip="192.168.1.7")))


@pytest.mark.parametrize(
    ("name", "allowed"), [("ev_fl", True), ("Purchase", True), (" ", False), ("", False)]
)
def test_any_name_but_a_blank_one_will_do(name: str, allowed: bool) -> None:
    assert (problem_with_name(name) is None) == allowed


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"success":"1"}', Accepted()),
        (200, b'{"success":1}', Accepted()),
        (200, b'{"success":true}', Accepted()),
        (200, b'{"success":"0","error":"x"}', Rejected("refused")),
        (200, b'{"error":"x"}', Rejected("refused")),
        (200, b"{}", Accepted(confirmed=False, reason="unexpected_answer")),
        (200, b"", Accepted(confirmed=False, reason="unexpected_answer")),
        (200, b"<html>", Retry("unreadable_answer")),
        (400, b"", Rejected("http_400")),
        (401, b"", Paused("http_401")),
        (429, b"", Retry("throttled", counts=False)),
        (503, b"", Retry("http_503")),
    ],
)
def test_a_yes_is_a_2xx_with_success_in_it(status: int, body: bytes, outcome: Outcome) -> None:
    assert classify(Response(status=status, body=body), 1) == [outcome]
