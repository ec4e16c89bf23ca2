"""Singular: expected values are those of its EVENT reference and response codes, or arithmetic."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.apps import ANDROID, IOS

from lendsignal.destination.singular import (
    SPEC,
    Settings,
    classify,
    encode,
    lane,
    problem_with_name,
    request,
)
from lendsignal.destination.spec import Response
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
)

V2 = Settings(sdk_key=Secret(env="SINGULAR_SDK_KEY"))
V1 = Settings(sdk_key=Secret(env="SINGULAR_SDK_KEY"), api="v1")
PHONE = Device(
    os_version="14",
    ip="198.51.100.23",
    singular_sdid="40009df0-d618-4d81-9da1-cbb3337b8dec",
    gaid="7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
    oaid="3f9d1c6a-7b2e-4858-b0c4-e1d5a2968730",
    android_id="b1946ac92492d234",
)
IPHONE = Device(
    os_version="17.4.1",
    att_status=3,
    singular_sdid="50009df0-d618-4d81-9da1-cbb3337b8ded",
    idfa="d2cadb5f-410f-4963-ac0c-2a78534bdf1e",
    idfv="e4a1b7c3-92d8-4f60-a5eb-18c7d3f60929",
)


def delivery(device: Device = PHONE, app: App = ANDROID, **changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="ev_fl",
        occurred_at=datetime(2026, 11, 22, 9, 14, 7, 512_999, tzinfo=UTC),
        user_id="u-88231",
        app=app,
        device=device,
        value=Money(Decimal("41.25"), "USD"),
    )
    return msgspec.structs.replace(made, **changes)


def form_of(made: Delivery, settings: Settings = V2) -> dict[str, str]:
    item = encode(made, settings)
    assert not isinstance(item, Skip)
    return dict(request([item], settings).form or {})


def test_a_typical_v2_event_has_the_documented_parameters_and_the_sdid_as_its_only_id() -> None:
    assert form_of(delivery()) == {
        "p": "Android",
        "i": "com.example.loans",
        "n": "ev_fl",
        "sdid": "40009df0-d618-4d81-9da1-cbb3337b8dec",
        "ip": "198.51.100.23",
        "ve": "14",
        "amt": "41.25",
        "cur": "USD",
        "is_revenue_event": "true",
        # 20,779 days of 86,400,000 milliseconds, 33,247 seconds and 512 milliseconds.
        "umilisec": str(20_779 * 86_400_000 + 33_247_512),
        "custom_user_id": "u-88231",
        "e": '{"conversion_id":"0f1e2d3c4b5a69788796a5b4c3d2e1f0"}',
    }


def test_each_version_has_its_address() -> None:
    urls = [request([{}], settings).url for settings in (V1, V2)]

    assert urls == ["https://s2s.singular.net/api/v1/evt", "https://s2s.singular.net/api/v2/evt"]


def test_the_sdk_key_joins_the_body_and_never_the_address() -> None:
    assert type(SPEC.auth).__name__ == "BodyAuth"
    assert msgspec.structs.asdict(SPEC.auth) == {"name": "a", "field": "sdk_key"}


def test_v1_names_an_android_phone_by_its_advertising_id() -> None:
    form = form_of(delivery(), V1)

    assert form["aifa"] == "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11"
    assert form["oaid"] == "3f9d1c6a-7b2e-4858-b0c4-e1d5a2968730"
    assert not {"sdid", "andi"} & set(form)


def test_v1_sends_the_android_id_only_of_a_phone_without_another_id() -> None:
    off_play = Device(android_id="b1946ac92492d234", os_version="14")
    limited = msgspec.structs.replace(PHONE, limit_ad_tracking=True)

    assert form_of(delivery(off_play), V1)["andi"] == "b1946ac92492d234"
    assert not {"aifa", "oaid"} & set(form_of(delivery(limited), V1))


@pytest.mark.parametrize(("att_status", "sent"), [(3, True), (None, True), (2, False), (0, False)])
def test_v1_sends_the_idfv_always_and_the_idfa_if_the_user_allows(att_status: int | None, sent: bool) -> None:
    form = form_of(delivery(msgspec.structs.replace(IPHONE, att_status=att_status), IOS), V1)

    assert form["idfv"] == "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"
    assert ("idfa" in form) == sent
    assert form.get("att_authorization_status") == (None if att_status is None else str(att_status))


def test_the_platform_has_its_letter_case_and_the_app_its_bundle_identifier() -> None:
    form = form_of(delivery(IPHONE, IOS))
    own = form_of(delivery(), Settings(sdk_key=Secret(env="K"), app_id="com.example.other"))

    assert (form["p"], form["i"]) == ("iOS", "com.example.prestamos")
    assert own["i"] == "com.example.other"


@pytest.mark.parametrize(
    ("settings", "device", "app"),
    [
        (V2, Device(gaid=PHONE.gaid), ANDROID),
        (V2, Device(singular_sdid=ZERO_ID), ANDROID),
        (V1, Device(singular_sdid=PHONE.singular_sdid), ANDROID),
        (V1, Device(idfa=IPHONE.idfa, att_status=3), IOS),
        (V1, Device(gaid=ZERO_ID), ANDROID),
    ],
)
def test_without_the_ids_of_its_version_there_is_nothing_to_send(
    settings: Settings, device: Device, app: App
) -> None:
    assert encode(delivery(device, app), settings) == Skip(SkipReason.NO_DEVICE_ID)
    assert lane(delivery(device, app), settings) is None


def test_an_unknown_address_is_replaced_by_the_country_never_by_ours() -> None:
    form = form_of(delivery(msgspec.structs.replace(PHONE, ip="10.0.0.1")))

    assert "ip" not in form
    assert "use_ip" not in form
    assert form["country"] == "NG"


def test_a_loss_is_sent_as_a_negative_amount() -> None:
    assert form_of(delivery(value=Money(Decimal("-1E+2"), "NGN")))["amt"] == "-100"


def test_an_event_without_a_value_is_no_revenue_event() -> None:
    assert not {"amt", "cur", "is_revenue_event"} & set(form_of(delivery(value=None)))


@pytest.mark.parametrize(
    ("allowed", "said"),
    [(False, '{"limit_data_sharing":true}'), (True, '{"limit_data_sharing":false}'), (None, None)],
)
def test_a_user_who_refuses_limits_data_sharing(allowed: bool | None, said: str | None) -> None:
    form = form_of(delivery(consent=Consent(ad_user_data=allowed)))

    assert form.get("data_sharing_options") == said


def test_the_lane_is_the_installation_in_v2_and_the_device_in_v1_whatever_the_event() -> None:
    assert lane(delivery(), V2) == lane(delivery(name="ev_ap"), V2) == PHONE.singular_sdid
    assert lane(delivery(), V1) == PHONE.gaid
    assert (SPEC.out_of_order, SPEC.rises) == ("restamp", timedelta(milliseconds=1))


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("ev_fl", True), ("__iap__", True), ("x" * 32, True), ("x" * 33, False), ("授信", False), (" ", False)],
)
def test_names_have_at_most_32_characters_of_ascii(name: str, allowed: bool) -> None:
    assert (problem_with_name(name) is None) == allowed


def error(reason: str) -> bytes:
    return msgspec.json.encode({"status": "error", "reason": reason})


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"status":"ok"}', Accepted(confirmed=False)),
        (200, error("missing argument: n"), Rejected("missing_field")),
        (200, error("missing argument: aifa"), Rejected("missing_field")),
        (200, error("missing argument: a"), Paused("bad_token")),
        (200, error("invalid api key"), Paused("bad_token")),
        (200, error("invalid platform: X"), Rejected("invalid_field")),
        (200, error("no device ID supplied"), Rejected("device_id_missing")),
        (200, error("platform: PC should have an sdid param"), Rejected("device_id_missing")),
        (200, error("try later"), Retry("platform_error")),
        (200, error(""), Retry("platform_error")),
        (200, b"", Retry("unreadable_answer")),
        (200, b"<html>", Retry("unreadable_answer")),
        (200, b'{"status":"odd"}', Retry("unreadable_answer")),
        (202, b'{"status":"ok"}', Retry("http_202")),
        (400, b"", Retry("http_400")),
        (403, b"", Paused("http_403")),
        (429, b"", Retry("throttled", counts=False)),
        (503, b"", Retry("http_503")),
    ],
)
def test_the_verdict_stands_in_the_body_of_a_200(status: int, body: bytes, outcome: Outcome) -> None:
    assert classify(Response(status=status, body=body), 1) == [outcome]
