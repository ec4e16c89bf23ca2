"""Adjust: expected values are those of its developer pages on server-to-server events, or arithmetic."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.apps import ANDROID, IOS

from lendsignal.destination.adjust import (
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
    Skip,
    SkipReason,
)

SETTINGS = Settings(app_id="4w565xzmb54d")
PHONE = Device(
    os_version="14",
    ip="198.51.100.23",
    adjust_adid="18546f6171f67e29d1cb983322ad1329",
    gaid="7C1F2F0E-3B52-4D0A-9A63-0F5A3C9D2B11",
    android_id="B1946AC92492D234",
    oaid="3f9d1c6a-7b2e-4858-b0c4-e1d5a2968730",
)
IPHONE = Device(
    os_version="17.4.1",
    att_status=3,
    adjust_adid="28546f6171f67e29d1cb983322ad1330",
    idfa="d2cadb5f-410f-4963-ac0c-2a78534bdf1e",
    idfv="e4a1b7c3-92d8-4f60-a5eb-18c7d3f60929",
)


def delivery(device: Device = PHONE, app: App = ANDROID, **changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="f0ob4r",
        occurred_at=datetime(2026, 11, 22, 9, 14, 7, 512_000, tzinfo=UTC),
        user_id="u-88231",
        app=app,
        device=device,
        value=Money(Decimal("41.25"), "USD"),
    )
    return msgspec.structs.replace(made, **changes)


def form_of(made: Delivery, settings: Settings = SETTINGS) -> dict[str, str]:
    item = encode(made, settings)
    assert not isinstance(item, Skip)
    return dict(request([item], settings).form or {})


def test_a_typical_event_has_the_documented_parameters_all_of_them_text() -> None:
    assert form_of(delivery()) == {
        "s2s": "1",
        "app_token": "4w565xzmb54d",
        "event_token": "f0ob4r",
        "os_name": "android",
        "adid": "18546f6171f67e29d1cb983322ad1329",
        "gps_adid": "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
        "oaid": "3f9d1c6a-7b2e-4858-b0c4-e1d5a2968730",
        "android_id": "b1946ac92492d234",
        # 2026-11-22 09:14:07 UTC: 20,779 days of 86,400 seconds, and 33,247 seconds.
        "created_at_unix": str(20_779 * 86_400 + 33_247),
        "revenue": "41.25",
        "currency": "USD",
        "environment": "production",
        "ip_address": "198.51.100.23",
        "os_version": "14",
        "callback_params": '{"conversion_id":"0f1e2d3c4b5a69788796a5b4c3d2e1f0","user_id":"u-88231"}',
        "deduplication_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    }


def test_the_form_goes_to_the_event_endpoint() -> None:
    item = encode(delivery(), SETTINGS)
    assert not isinstance(item, Skip)

    made = request([item], SETTINGS)

    assert (made.method, made.url, made.json) == ("POST", "https://s2s.adjust.com/event", None)


def test_the_sandbox_environment_is_a_setting() -> None:
    assert (
        form_of(delivery(), Settings(app_id="4w565xzmb54d", environment="sandbox"))["environment"]
        == "sandbox"
    )


def test_the_time_is_whole_seconds_of_the_same_moment_whatever_the_offset() -> None:
    lagos = datetime(2026, 11, 22, 10, 14, 7, 999_999, tzinfo=timezone(timedelta(hours=1)))

    assert form_of(delivery(occurred_at=lagos))["created_at_unix"] == form_of(delivery())["created_at_unix"]


def test_apples_ids_are_upper_case_as_in_adjusts_examples() -> None:
    form = form_of(delivery(IPHONE, IOS))

    assert form["idfa"] == "D2CADB5F-410F-4963-AC0C-2A78534BDF1E"
    assert form["idfv"] == "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"
    assert form["os_name"] == "ios"


@pytest.mark.parametrize(
    ("os_version", "att_status", "limited", "said"),
    [
        ("17.4.1", 3, False, {"att_status": "3"}),
        ("17.4.1", 0, True, {"att_status": "0"}),
        ("17.4.1", None, True, {}),
        ("14.4", None, True, {"tracking_enabled": "0"}),
        ("14.4", 3, False, {"tracking_enabled": "1"}),
        ("14.4", None, None, {}),
    ],
)
def test_att_status_and_tracking_enabled_never_stand_together(
    os_version: str, att_status: int | None, limited: bool | None, said: dict[str, str]
) -> None:
    device = msgspec.structs.replace(
        IPHONE, os_version=os_version, att_status=att_status, limit_ad_tracking=limited
    )

    form = form_of(delivery(device, IOS))

    assert {name: form[name] for name in ("att_status", "tracking_enabled") if name in form} == said


def test_an_android_user_who_limits_tracking_is_named_by_no_advertising_id() -> None:
    limited = msgspec.structs.replace(PHONE, limit_ad_tracking=True)
    nothing_else = Device(gaid=PHONE.gaid, oaid=PHONE.oaid, limit_ad_tracking=True)

    assert not {"gps_adid", "oaid"} & set(form_of(delivery(limited)))
    assert encode(delivery(nothing_else), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


def test_ids_of_the_other_platform_stay_out() -> None:
    mixed = msgspec.structs.replace(PHONE, idfa=IPHONE.idfa, idfv=IPHONE.idfv, att_status=3)

    assert not {"idfa", "idfv", "att_status"} & set(form_of(delivery(mixed)))
    assert not {"gps_adid", "android_id", "oaid"} & set(form_of(delivery(mixed, IOS)))


def test_a_malformed_id_costs_the_field_and_without_any_id_the_event_is_skipped() -> None:
    bad = msgspec.structs.replace(PHONE, adjust_adid="not-hex", gaid=ZERO_ID)

    assert not {"adid", "gps_adid"} & set(form_of(delivery(bad)))
    assert encode(delivery(Device(adjust_adid="not-hex")), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


@pytest.mark.parametrize(
    ("amount", "revenue"),
    [
        ("0.001", "0.001"),
        ("0.0009", None),
        ("0", None),
        ("-41.25", None),
        ("100000000000", "100000000000"),
        ("100000000000.01", None),
        ("1E+3", "1000"),
    ],
)
def test_revenue_is_between_a_thousandth_and_a_hundred_billion_or_left_out(
    amount: str, revenue: str | None
) -> None:
    form = form_of(delivery(value=Money(Decimal(amount), "NGN")))

    assert form.get("revenue") == revenue
    assert form.get("currency") == (None if revenue is None else "NGN")


@pytest.mark.parametrize("ip", ["2a00:1450:4001:81b::200e", "10.1.2.3", "x"])
def test_only_a_public_ipv4_address_is_sent(ip: str) -> None:
    assert "ip_address" not in form_of(delivery(msgspec.structs.replace(PHONE, ip=ip)))


def test_consent_is_said_in_ones_and_zeros_and_what_was_not_asked_is_left_out() -> None:
    told = form_of(delivery(consent=Consent(gdpr_applies=True, ad_user_data=True, ad_personalization=False)))
    silent = form_of(delivery(consent=Consent()))

    assert (told["eea"], told["ad_user_data"], told["ad_personalization"]) == ("1", "1", "0")
    assert not {"eea", "ad_user_data", "ad_personalization"} & set(silent)


def test_the_lane_is_the_device_and_the_event_token() -> None:
    other_event = delivery(name="abc123")
    other_phone = delivery(msgspec.structs.replace(PHONE, adjust_adid="ab" * 16))
    without_adid = delivery(Device(gaid=PHONE.gaid))

    lanes = [lane(made, SETTINGS) for made in (delivery(), other_event, other_phone, without_adid)]

    assert lanes[0] == "18546f6171f67e29d1cb983322ad1329 f0ob4r"
    assert len(set(lanes)) == 4
    assert lane(delivery(Device()), SETTINGS) is None


def test_a_late_event_is_moved_a_second_behind_the_one_that_overtook_it() -> None:
    assert (SPEC.out_of_order, SPEC.rises) == ("restamp", timedelta(seconds=1))


def test_the_window_is_58_days() -> None:
    assert SPEC.max_age == timedelta(days=58)
    assert SPEC.late == "skip"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("f0ob4r", True), ("ev_fl", False), ("f0ob4", False), ("f0ob4rr", False), ("", False)],
)
def test_a_routes_name_is_an_event_token_and_not_a_word(name: str, allowed: bool) -> None:
    assert (problem_with_name(name) is None) == allowed


def failed(message: str) -> bytes:
    return b'{"error":"Event request failed (' + message.encode() + b')"}'


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"status":"OK"}', Accepted()),
        (200, b'{"status":"OK","skadn":{"conversion_value":7}}', Accepted()),
        (200, b"OK", Accepted()),
        (200, b"{}", Accepted(confirmed=False, reason="unexpected_answer")),
        (200, b"<html>", Retry("unreadable_answer")),
        (200, failed("Invalid revenue"), Rejected("invalid_value")),
        (200, failed("something new"), Rejected("refused")),
        (202, failed("Missing authentication token"), Paused("bad_token")),
        (202, b"Wrong authentication token", Paused("bad_token")),
        (202, b"", Paused("bad_token")),
        (400, failed("Bad event state"), Rejected("bad_event_state")),
        (400, failed("Invalid app token"), Paused("app_not_found")),
        (400, failed("Invalid event token"), Rejected("invalid_event_token")),
        (400, failed("Invalid callback parameters"), Rejected("invalid_field")),
        (400, failed("Invalid revenue"), Rejected("invalid_value")),
        (
            400,
            failed("Ignoring event, earlier unique event tracked"),
            Accepted(reason="unique_event_known"),
        ),
        (
            400,
            b'{"error":"Event request failed (Invalid revenue) (app_token:4w565xzmb54d)"}',
            Rejected("invalid_value"),
        ),
        (400, failed("something new"), Rejected("http_400")),
        (401, failed("Failed to authorize request"), Paused("bad_token")),
        (401, b"Session failed", Paused("permission_missing")),
        (403, failed("App is inactive"), Paused("app_inactive")),
        (403, failed("Tracking disabled"), Paused("tracking_disabled")),
        (403, failed("Event token blocklisted"), Rejected("event_blocklisted")),
        (404, failed("App token not found"), Paused("app_not_found")),
        (404, failed("Device not found"), Retry("device_not_found", after=timedelta(minutes=15))),
        (413, failed("Request size too large"), Rejected("too_large")),
        (451, failed("Device is opted out"), Rejected("opted_out")),
        (429, b"", Retry("throttled", counts=False)),
        (500, failed("Internal error, contact support@adjust.com"), Retry("http_500")),
        (503, b"", Retry("http_503")),
    ],
)
def test_each_documented_answer_has_its_outcome(status: int, body: bytes, outcome: Outcome) -> None:
    assert classify(Response(status=status, body=body), 1) == [outcome]


def test_an_unknown_device_is_tried_for_some_seven_hours() -> None:
    (outcome,) = classify(Response(status=404, body=failed("Device not found")), 1)
    assert isinstance(outcome, Retry)
    assert outcome.after is not None

    # The first try, and one after each wait.
    assert (SPEC.tries_on["device_not_found"] - 1) * outcome.after == timedelta(hours=7, minutes=15)


def test_the_security_token_is_optional_because_adjust_asks_for_it_only_where_it_is_switched_on() -> None:
    assert msgspec.structs.asdict(SPEC.auth) == {"field": "token", "optional": True}
    assert Settings(app_id="4w565xzmb54d").token is None


def test_an_app_token_has_twelve_letters_and_digits() -> None:
    with pytest.raises(msgspec.ValidationError, match="app_id"):
        msgspec.convert({"app_id": "com.example.loans"}, Settings)
