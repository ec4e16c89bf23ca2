"""Google's App Conversion API: expected values are from its request and response specifications."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from lendsignal.destination.google_app import (
    SPEC,
    Settings,
    classify,
    encode,
    problem_with_name,
    request,
    user_agent,
)
from lendsignal.destination.spec import Hold, Item, QueryAuth, Response
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

SETTINGS = Settings(dev_token=Secret(env="GOOGLE_DEV_TOKEN"), link_id="0123456789ABCDEF")
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
PHONE = Device(
    gaid="38400000-8cf0-11bd-b23e-10b96e40000d",
    os_version="14",
    app_version="5.2.0",
    ip="203.0.113.7",
    locale="en-PH",
    model="SM-A145F",
    user_agent="Dalvik/2.1.0 (Linux; U; Android 14; SM-A145F Build/UP1A.231005.007)",
    limit_ad_tracking=False,
)
IPHONE = Device(
    idfa="9C2D0B1E-61F4-4A7B-8E35-2D90C4A6F713",
    os_version="17.4.1",
    app_version="3.1.4",
    ip="2a00:1450:4001:81b::200e",
    locale="es_MX",
    model="iPhone14,5",
    att_status=3,
)


def delivery(**changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="ev_disb1",
        occurred_at=datetime(2026, 11, 20, 3, 15, 7, 123_456, tzinfo=UTC),
        user_id="u-88231",
        app=ANDROID,
        device=PHONE,
        value=Money(Decimal("125.5"), "PHP"),
    )
    return msgspec.structs.replace(made, **changes)


def item_of(made: Delivery) -> Item:
    item = encode(made, SETTINGS)
    assert not isinstance(item, Skip)
    return item


def query_of(made: Delivery) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request([item_of(made)], SETTINGS).url).query, strict_parsing=True))


def answered(body: Any, status: int = 200) -> Outcome:
    (outcome,) = classify(Response(status=status, body=msgspec.json.encode(body)), 1)
    return outcome


def test_one_event_is_the_documented_address() -> None:
    # 2026-11-20T03:15:07Z is 20,777 days and 11,707 s after 1970: 20777 × 86400 + 11707 = 1795144507.
    assert query_of(delivery()) == {
        "link_id": "0123456789ABCDEF",
        "app_event_type": "custom",
        "app_event_name": "ev_disb1",
        "rdid": "38400000-8cf0-11bd-b23e-10b96e40000d",
        "id_type": "advertisingid",
        "lat": "0",
        "app_version": "5.2.0",
        "os_version": "14",
        "sdk_version": "5.2.0",
        "timestamp": "1795144507.123456",
        "value": "125.5",
        "currency_code": "PHP",
    }


def test_the_six_decimals_of_a_time_keep_their_noughts() -> None:
    early = datetime(2026, 11, 20, 3, 15, 7, 40, tzinfo=UTC)

    assert query_of(delivery(occurred_at=early))["timestamp"] == "1795144507.000040"


def test_the_headers_describe_the_phone_as_google_wants_it() -> None:
    made = request([item_of(delivery())], SETTINGS)

    assert made.headers == {
        "User-Agent": "lendsignal/1.0 (Android 14; en_PH; SM-A145F; Build/UP1A.231005.007; Proxy)",
        "X-Forwarded-For": "203.0.113.7",
    }
    assert user_agent(IOS, IPHONE) == "lendsignal/1.0 (iOS 17.4.1; es_MX; iPhone14,5; Build/unknown; Proxy)"


def test_what_no_header_may_hold_is_left_out_of_it() -> None:
    device = Device(model="Redmi; (Note)\r\nX: 手机 12", os_version="14")

    assert user_agent(ANDROID, device) == (
        "lendsignal/1.0 (Android 14; unknown; Redmi NoteX  12; Build/unknown; Proxy)"
    )


def test_the_body_carries_our_id_and_the_developer_token_joins_the_address_later() -> None:
    made = request([item_of(delivery())], SETTINGS)

    assert made.json == {"app_event_data": {"transaction_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}}
    assert "dev_token" not in made.url
    assert SPEC.auth == QueryAuth("dev_token", "dev_token")


def test_an_iphone_goes_by_its_idfa() -> None:
    query = query_of(delivery(app=IOS, device=IPHONE))

    assert (query["rdid"], query["id_type"], query["lat"]) == (
        "9C2D0B1E-61F4-4A7B-8E35-2D90C4A6F713",
        "idfa",
        "0",
    )


@pytest.mark.parametrize(
    ("app", "device", "lat"),
    [
        (ANDROID, {"limit_ad_tracking": True}, "1"),
        (ANDROID, {"limit_ad_tracking": None}, "0"),
        (IOS, {"att_status": 2}, "1"),
        (IOS, {"att_status": 0}, "1"),
        (IOS, {"att_status": None}, "1"),
        (IOS, {"att_status": None, "os_version": "13.7", "limit_ad_tracking": False}, "0"),
    ],
)
def test_lat_says_what_the_phone_allows(app: App, device: dict[str, Any], lat: str) -> None:
    phone = msgspec.structs.replace(PHONE if app is ANDROID else IPHONE, **device)

    assert query_of(delivery(app=app, device=phone))["lat"] == lat


def test_googles_own_event_types_go_without_a_name() -> None:
    query = query_of(delivery(name="ecommerce_purchase"))

    assert query["app_event_type"] == "ecommerce_purchase"
    assert "app_event_name" not in query


@pytest.mark.parametrize(
    "changes",
    [{"gaid": None}, {"gaid": ZERO_ID}, {"gaid": "38400000"}, {"ip": None}, {"ip": "10.0.0.1"}],
)
def test_without_advertising_id_or_public_address_there_is_nothing_google_takes(
    changes: dict[str, Any],
) -> None:
    phone = msgspec.structs.replace(PHONE, **changes)

    assert encode(delivery(device=phone), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


def test_a_version_the_login_did_not_show_is_nought() -> None:
    query = query_of(delivery(device=Device(gaid=PHONE.gaid, ip="203.0.113.7")))

    assert [query[name] for name in ("app_version", "os_version", "sdk_version")] == ["0"] * 3


def test_a_loss_is_not_told_and_the_event_is() -> None:
    assert not {"value", "currency_code"} & set(query_of(delivery(value=Money(Decimal(-5), "PHP"))))


def test_consent_is_told_as_nought_or_one_and_a_no_to_ads_is_skipped() -> None:
    said = Consent(ad_user_data=True, ad_personalization=False, gdpr_applies=True)
    query = query_of(delivery(consent=said))

    assert (query["eea"], query["ad_user_data"], query["ad_personalization"]) == ("1", "1", "0")
    assert encode(delivery(consent=Consent(ad_user_data=False)), SETTINGS) == Skip(SkipReason.NO_CONSENT)
    assert "eea" not in query_of(delivery(consent=Consent()))


def test_text_in_the_address_is_escaped() -> None:
    assert "&x=" not in request([item_of(delivery(name="a&x=1"))], SETTINGS).url
    assert query_of(delivery(name="a&x=1"))["app_event_name"] == "a&x=1"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("ev_disb1", True), ("ecommerce_purchase", True), ("first_open", False), ("session_start", False),
     ("custom", False), ("", False)],
)  # fmt: skip
def test_a_name_that_tells_of_an_install_is_refused(name: str, allowed: bool) -> None:
    assert (problem_with_name(name) is None) == allowed


def test_nothing_is_sent_twice_without_a_person() -> None:
    assert SPEC.on_unknown == Hold()
    assert SPEC.dedupe is None


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"ad_events": [], "errors": [], "attributed": False}, Accepted()),
        ({"ad_events": [{"ad_event_id": "Q2owS0"}], "errors": [], "attributed": True},
         Accepted(reason="attributed")),
        ({"errors": ["odd_value"], "attributed": True}, Accepted(reason="with_messages")),
        ({"errors": ["dev_token_invalid"], "attributed": False}, Paused("bad_token")),
        ({"errors": ["link_id_invalid"], "attributed": False}, Paused("link_not_found")),
        ({"errors": [{"code": "link_id_invalid"}]}, Paused("link_not_found")),
        ({"errors": ["timestamp_invalid"]}, Retry("clock_ahead", after=timedelta(minutes=1))),
        ({"errors": ["rdid_invalid"]}, Rejected("invalid_parameter")),
        ({}, Accepted(confirmed=False, reason="unexpected_answer")),
        ("<html>", Accepted(confirmed=False, reason="unexpected_answer")),
    ],
)  # fmt: skip
def test_a_200_is_read_by_its_errors(body: Any, outcome: Outcome) -> None:
    assert answered(body) == outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Paused("http_400")),
        (403, Paused("http_403")),
        (404, Paused("http_404")),
        (408, Retry("http_408")),
        (429, Retry("throttled", counts=False)),
        (503, Retry("http_503")),
    ],
)
def test_a_refusal_by_status_says_that_token_or_link_are_unknown(status: int, outcome: Outcome) -> None:
    assert answered({}, status) == outcome


def test_a_time_ahead_of_googles_clock_is_tried_once_more() -> None:
    assert SPEC.tries_on == {"clock_ahead": 2}
