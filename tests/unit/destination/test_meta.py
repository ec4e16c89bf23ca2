"""Meta Conversions API for app events: expected values are those of Meta's pages, or arithmetic."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from lendsignal.destination.meta import (
    SPEC,
    Settings,
    classify,
    encode,
    extinfo,
    may_track,
    problem_with_name,
    request,
    used_percent,
)
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

SETTINGS = Settings(dataset_id="1234567890123456", token=Secret(env="META_TOKEN"))
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
    ip="203.0.113.7",
    gaid="38400000-8CF0-11BD-B23E-10B96E40000D",
)
CONTACT, _ = contact_of(" Person@Example.com ", "+63 917-123-4567")


def delivery(device: Device = PHONE, app: App = ANDROID, **changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="Purchase",
        occurred_at=datetime(2026, 11, 20, 3, 15, 7, 900_000, tzinfo=UTC),
        user_id="ph-4711",
        app=app,
        device=device,
        value=Money(Decimal("125.50"), "PHP"),
        contact=CONTACT,
    )
    return msgspec.structs.replace(made, **changes)


def event_of(made: Delivery) -> Item:
    item = encode(made, SETTINGS)
    assert not isinstance(item, Skip)
    return item


def error(code: int, subcode: int | None = None, *, transient: bool = False) -> bytes:
    fields = {"message": "…", "code": code, "error_subcode": subcode, "is_transient": transient}
    return msgspec.json.encode({"error": fields})


def test_one_event_has_the_documented_body() -> None:
    # 2026-11-20T03:15:07Z is 20,777 days and 11,707 s after 1970: 20777 × 86400 + 11707 = 1795144507.
    assert request([event_of(delivery())], SETTINGS).json == {
        "data": [
            {
                "event_name": "Purchase",
                "event_time": 1795144507,
                "event_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "action_source": "app",
                "user_data": {
                    "em": ["542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"],
                    "ph": ["7b0f3460b105dfa9af1dc747e68f8ca571b88b5aaf88ceee486bd1e90adeb3ee"],
                    # sha256("ph-4711"), by sha256sum
                    "external_id": ["be3408cbc0af5db76098d724f43921610627da3126cbe91e237be44fb2f819a3"],
                    "madid": "38400000-8cf0-11bd-b23e-10b96e40000d",
                    "client_ip_address": "203.0.113.7",
                },
                "app_data": {
                    "advertiser_tracking_enabled": 1,
                    "application_tracking_enabled": 1,
                    "extinfo": [
                        *("a2", "com.example.loan", "5.2.0", "5.2.0.1187", "14", "SM-A145F", "en_PH", "", ""),
                        *("1080", "2408", "2.6", "8", "128", "64", "Asia/Manila"),
                    ],
                },
                "custom_data": {
                    "currency": "PHP",
                    "value": 125.5,
                    "order_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                },
            }
        ]
    }


def test_the_event_time_is_in_seconds_with_ten_digits() -> None:
    assert len(str(event_of(delivery())["event_time"])) == 10


def test_extinfo_has_sixteen_positions_and_the_two_required_ones_are_never_empty() -> None:
    bare = extinfo(IOS, Device())

    assert bare == ["i2", "com.example.prestamos", "", "", "0"] + [""] * 11
    assert len(extinfo(ANDROID, PHONE)) == 16


def test_the_advertising_id_is_that_of_the_apps_platform_in_lower_case() -> None:
    both = Device(gaid=PHONE.gaid, idfa="9C2D0B1E-61F4-4A7B-8E35-2D90C4A6F713")

    assert event_of(delivery(both))["user_data"]["madid"] == "38400000-8cf0-11bd-b23e-10b96e40000d"
    assert event_of(delivery(both, IOS))["user_data"]["madid"] == "9c2d0b1e-61f4-4a7b-8e35-2d90c4a6f713"


def test_the_sdks_anonymous_id_stands_in_for_an_advertising_id() -> None:
    user = event_of(delivery(Device(gaid=ZERO_ID, meta_anon_id="XZ1E6D0A")))["user_data"]

    assert user["anon_id"] == "XZ1E6D0A"
    assert "madid" not in user


@pytest.mark.parametrize("gaid", [None, "", ZERO_ID, "not-an-id"])
def test_without_either_id_an_app_event_is_skipped_whatever_else_is_known(gaid: str | None) -> None:
    device = msgspec.structs.replace(PHONE, gaid=gaid)

    assert encode(delivery(device), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


def test_a_user_who_refuses_is_skipped_and_one_without_personalisation_is_only_attributed() -> None:
    counted = event_of(delivery(consent=Consent(ad_user_data=True, ad_personalization=False)))

    assert encode(delivery(consent=Consent(ad_user_data=False)), SETTINGS) == Skip(SkipReason.NO_CONSENT)
    assert counted["opt_out"] is True
    assert counted["app_data"]["application_tracking_enabled"] == 0
    assert "opt_out" not in event_of(delivery(consent=Consent(ad_user_data=True)))


@pytest.mark.parametrize(
    ("app", "device", "allowed"),
    [
        (ANDROID, Device(), True),
        (ANDROID, Device(limit_ad_tracking=False), True),
        (ANDROID, Device(limit_ad_tracking=True), False),
        (IOS, Device(os_version="17.4.1", att_status=3), True),
        (IOS, Device(os_version="17.4.1", att_status=2), False),
        (IOS, Device(os_version="17.4.1", att_status=0, limit_ad_tracking=False), False),
        (IOS, Device(os_version="17.4.1", limit_ad_tracking=False), False),
        (IOS, Device(os_version="14.4", limit_ad_tracking=False), True),
        (IOS, Device(os_version="14.4", limit_ad_tracking=True), False),
        (IOS, Device(os_version="14.4"), False),
    ],
)
def test_ios_needs_a_yes_and_android_only_the_absence_of_a_no(
    app: App, device: Device, allowed: bool
) -> None:
    assert may_track(app, device) is allowed


def test_a_loss_is_not_told_and_an_event_without_value_has_no_currency() -> None:
    for value in (None, Money(Decimal(-5), "PHP")):
        assert set(event_of(delivery(name="ev_fl", value=value))["custom_data"]) == {"order_id"}


def test_a_private_address_locates_nobody_and_is_left_out() -> None:
    device = msgspec.structs.replace(PHONE, ip="192.168.1.4", user_agent="Mozilla/5.0")

    user = event_of(delivery(device))["user_data"]

    assert "client_ip_address" not in user
    assert user["client_user_agent"] == "Mozilla/5.0"


def test_the_address_holds_version_and_dataset_and_no_token() -> None:
    newer = msgspec.structs.replace(SETTINGS, version="v27.0", test_event_code="TEST123")

    items = [event_of(delivery())]

    assert request(items, SETTINGS).url == "https://graph.facebook.com/v26.0/1234567890123456/events"
    assert "test_event_code" not in request(items, SETTINGS).json
    assert request(items, newer).url == "https://graph.facebook.com/v27.0/1234567890123456/events"
    assert request(items, newer).json["test_event_code"] == "TEST123"


def test_a_batch_is_a_thousand_events_within_a_megabyte_and_seven_days() -> None:
    assert (SPEC.batch, SPEC.max_bytes, SPEC.max_age) == (1000, 1_000_000, timedelta(days=7))


@pytest.mark.parametrize(
    ("code", "subcode", "alone"),
    [
        (100, 2804003, Rejected("too_old")),
        (100, 2804009, Rejected("value_missing")),
        (100, 2804019, Rejected("invalid_parameter")),
        (100, None, Rejected("invalid_parameter")),
        (100, 33, Paused("dataset_not_found")),
        (190, 463, Paused("bad_token")),
        (190, None, Paused("bad_token")),
        (3, None, Paused("permission_missing")),
        (10, None, Paused("permission_missing")),
        (200, None, Paused("permission_missing")),
        (299, None, Paused("permission_missing")),
        (1, None, Retry("platform_error")),
        (2, None, Retry("platform_error")),
        (5000, None, Retry("platform_error")),
        (21009, None, Retry("dataset_not_ready")),
        (368, None, Paused("blocked_for_policy")),
        (4, None, Retry("throttled", counts=False)),
        (17, None, Retry("throttled", counts=False)),
        (32, None, Retry("throttled", counts=False)),
        (341, None, Retry("throttled", counts=False)),
        (613, None, Retry("throttled", counts=False)),
        (80003, None, Retry("throttled", counts=False)),
        (613, 1996, Retry("throttled", after=timedelta(hours=1), counts=False)),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 500, 200])
def test_the_code_in_the_body_decides_whatever_the_status(
    status: int, code: int, subcode: int | None, alone: Outcome
) -> None:
    assert classify(Response(status=status, body=error(code, subcode)), 1) == [alone]


def test_a_refused_batch_is_halved_because_one_bad_event_refuses_it_whole() -> None:
    def outcomes(body: bytes) -> list[Outcome]:
        return list(classify(Response(status=400, body=body), 3))

    assert outcomes(error(100, 2804003)) == [Split("too_old")] * 3
    assert outcomes(error(987654)) == [Split("unknown_error")] * 3
    assert outcomes(error(190)) == [Paused("bad_token")] * 3


def test_an_unknown_error_is_tried_again_when_it_is_transient_and_three_times_otherwise() -> None:
    passing = Response(status=400, body=error(987654, transient=True))

    assert classify(passing, 2) == [Retry("platform_error")] * 2
    assert classify(Response(status=500, body=error(987654)), 2) == [Retry("platform_error")] * 2
    assert classify(Response(status=400, body=error(987654)), 1) == [Retry("unknown_error")]
    assert SPEC.tries_on == {"unknown_error": 3}


def test_an_answer_that_is_not_metas_own_is_an_edges_trouble() -> None:
    html = b"<html>Sorry, something went wrong</html>"

    assert classify(Response(status=200, body=html), 2) == [Retry("unreadable_answer")] * 2
    assert classify(Response(status=404, body=html), 2) == [Retry("unreadable_answer")] * 2
    assert classify(Response(status=413, body=html), 2) == [Split("too_large")] * 2
    assert classify(Response(status=413, body=html), 1) == [Rejected("too_large")]


@pytest.mark.parametrize(
    ("received", "count", "outcome"),
    [
        (3, 3, Accepted()),
        (1, 1, Accepted()),
        (0, 3, Retry("not_received")),
        (2, 3, Split("partly_received")),
        (0, 1, Retry("not_received")),
    ],
)
def test_accepted_means_that_as_many_were_received_as_were_sent(
    received: int, count: int, outcome: Outcome
) -> None:
    body = msgspec.json.encode({"events_received": received, "messages": [], "fbtrace_id": "Ab1"})

    assert classify(Response(status=200, body=body), count) == [outcome] * count


def test_messages_beside_a_yes_are_brought_to_notice() -> None:
    body = b'{"events_received":1,"messages":["a parameter was ignored"],"fbtrace_id":"Ab1"}'

    assert classify(Response(status=200, body=body), 1) == [Accepted(reason="with_messages")]


def test_throttling_waits_as_long_as_the_usage_header_says() -> None:
    usage = b'{"4711":[{"type":"ads","call_count":100,"estimated_time_to_regain_access":7}]}'.decode()
    answer = Response(status=400, body=error(80003), headers={"x-business-use-case-usage": usage})

    assert classify(answer, 1) == [Retry("throttled", after=timedelta(minutes=7), counts=False)]


def test_usage_headers_say_how_much_is_used_not_how_much_is_left() -> None:
    app = {"x-app-usage": '{"call_count":28,"total_cputime":25,"total_time":81}'}
    business = {"x-business-use-case-usage": '{"4711":[{"type":"ads","call_count":95}]}'}
    account = {"x-ad-account-usage": '{"acc_id_util_pct":9.67}'}

    assert used_percent(Response(status=200, headers=app)) == 81
    assert used_percent(Response(status=200, headers={**app, **business})) == 95
    assert used_percent(Response(status=200, headers=account)) == 9.67
    assert used_percent(Response(status=200)) is None
    assert used_percent(Response(status=200, headers={"x-app-usage": "garbage"})) is None


@pytest.mark.parametrize("name", ["credit_top30", "HighIncome", "bad_user", "loan_default", "risk_a", ""])
def test_a_name_that_tells_financial_status_is_refused(name: str) -> None:
    assert problem_with_name(name)


@pytest.mark.parametrize("name", ["ev_c3", "Purchase", "loan_disbursed", "CompleteRegistration"])
def test_a_neutral_name_is_fine(name: str) -> None:
    assert problem_with_name(name) is None


def test_a_wrong_app_secret_pauses_and_costs_no_event() -> None:
    """It comes as code 100 like a bad row (Meta's SDK, issue 528), so its words must tell it apart."""
    error = {
        "message": "Invalid appsecret_proof provided in the API argument",
        "type": "GraphMethodException",
        "code": 100,
    }
    response = Response(status=400, body=msgspec.json.encode({"error": error}))

    assert classify(response, 3) == [Paused("bad_app_secret")] * 3
