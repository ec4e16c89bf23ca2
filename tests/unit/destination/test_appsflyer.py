"""AppsFlyer api3: expected values are those of its reference, of its "S2S mobile" article, or arithmetic."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.apps import ANDROID, IOS

from lendsignal.destination.appsflyer import (
    SPEC,
    Settings,
    classify,
    close_of_day,
    encode,
    problem_with_name,
    request,
)
from lendsignal.destination.spec import Response
from lendsignal.model import (
    ZERO_ID,
    Accepted,
    App,
    Consent,
    Contact,
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

SETTINGS = Settings(token=Secret(env="APPSFLYER_S2S_KEY"))
PHONE = Device(
    os_version="14",
    app_version="3.8.1",
    ip="198.51.100.23",
    limit_ad_tracking=False,
    appsflyer_id="1763712345678-4312502203727572307",
    gaid="7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
)
IPHONE = Device(
    os_version="17.4.1",
    att_status=3,
    appsflyer_id="1763712345678-1234567",
    idfa="9c2d0b1e-61f4-4a7b-8e35-2d90c4a6f713",
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
        consent=Consent(gdpr_applies=False, ad_user_data=True, ad_personalization=True),
    )
    return msgspec.structs.replace(made, **changes)


def body_of(made: Delivery, settings: Settings = SETTINGS) -> dict[str, Any]:
    item = encode(made, settings)
    assert not isinstance(item, Skip)
    return dict(request([item], settings).json)


def test_a_typical_event_has_the_documented_body() -> None:
    assert body_of(delivery()) == {
        "appsflyer_id": "1763712345678-4312502203727572307",
        "advertising_id": "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
        "customer_user_id": "u-88231",
        "eventName": "ev_fl",
        "eventValue": '{"af_revenue":"41.25","af_currency":"USD",'
        '"af_order_id":"0f1e2d3c4b5a69788796a5b4c3d2e1f0"}',
        "eventCurrency": "USD",
        "eventTime": "2026-11-22 09:14:07.512",
        "ip": "198.51.100.23",
        "os": "14",
        "app_version_name": "3.8.1",
        "bundleIdentifier": "com.example.loans",
        "aie": True,
        "consent_data": {
            "manual": {
                "gdpr_applies": False,
                "ad_user_data_enabled": True,
                "ad_personalization_enabled": True,
            }
        },
    }


def test_event_value_is_a_string_that_holds_json_and_the_conversion_id() -> None:
    plain_event = body_of(delivery(value=None))

    assert plain_event["eventValue"] == '{"af_order_id":"0f1e2d3c4b5a69788796a5b4c3d2e1f0"}'
    assert "eventCurrency" not in plain_event


def test_revenue_has_digits_and_a_dot_only_at_most_five_decimals_and_may_be_negative() -> None:
    amounts = ["1234567.1", "1E+3", "0.123456", "-41.25", "100.00"]

    told = [body_of(delivery(value=Money(Decimal(text), "NGN")))["eventValue"] for text in amounts]

    assert [msgspec.json.decode(text)["af_revenue"] for text in told] == [
        "1234567.1",
        "1000",
        "0.12346",
        "-41.25",
        "100",
    ]


def test_the_event_time_is_utc_whatever_the_offset_with_three_decimals() -> None:
    lagos = datetime(2026, 11, 22, 0, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))

    assert body_of(delivery(occurred_at=lagos))["eventTime"] == "2026-11-21 23:30:00.999"


def test_the_app_stands_in_the_address_with_reserved_characters_escaped() -> None:
    settings = Settings(token=Secret(env="K"), app_id="a/b c")
    item = encode(delivery(), SETTINGS)
    other = encode(delivery(), settings)
    assert not isinstance(item, Skip)
    assert not isinstance(other, Skip)

    assert request([item], SETTINGS).url == "https://api3.appsflyer.com/inappevent/com.example.loans"
    assert request([other], settings).url == "https://api3.appsflyer.com/inappevent/a%2Fb%20c"


@pytest.mark.parametrize("bundle", ["id123456789", "123456789"])
def test_an_app_store_number_always_has_its_id_because_ok_would_hide_the_loss(bundle: str) -> None:
    item = encode(delivery(IPHONE, msgspec.structs.replace(IOS, bundle=bundle)), SETTINGS)
    assert not isinstance(item, Skip)

    assert request([item], SETTINGS).url == "https://api3.appsflyer.com/inappevent/id123456789"


def test_ios_ids_are_upper_case_and_att_is_told() -> None:
    body = body_of(delivery(IPHONE, IOS))

    assert body["idfa"] == "9C2D0B1E-61F4-4A7B-8E35-2D90C4A6F713"
    assert body["idfv"] == "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"
    assert body["att"] == 3
    assert body["bundleIdentifier"] == "com.example.prestamos"
    assert "aie" not in body


def test_limit_ad_tracking_is_told_on_android_and_on_ios_before_att() -> None:
    limited = msgspec.structs.replace(PHONE, limit_ad_tracking=True)
    old = msgspec.structs.replace(IPHONE, os_version="14.4", att_status=None, limit_ad_tracking=True)
    new = msgspec.structs.replace(IPHONE, limit_ad_tracking=True)

    assert body_of(delivery(limited))["aie"] is False
    assert body_of(delivery(old, IOS))["aie"] is False
    assert "aie" not in body_of(delivery(new, IOS))


def test_ids_of_the_other_platform_stay_out() -> None:
    mixed = msgspec.structs.replace(PHONE, idfa=IPHONE.idfa, idfv=IPHONE.idfv, att_status=3)

    assert not {"idfa", "idfv", "att"} & set(body_of(delivery(mixed)))


def test_a_bad_ios_id_or_att_status_costs_the_field_not_the_event() -> None:
    device = msgspec.structs.replace(IPHONE, idfa="not-an-id", idfv=ZERO_ID, att_status=9)

    assert not {"idfa", "idfv", "att"} & set(body_of(delivery(device, IOS)))


@pytest.mark.parametrize("ip", ["2a00:1450:4001:81b::200e", "10.1.2.3", "not an address"])
def test_only_a_public_ipv4_address_is_sent(ip: str) -> None:
    assert "ip" not in body_of(delivery(msgspec.structs.replace(PHONE, ip=ip)))


def test_consent_is_made_of_booleans_and_what_was_not_asked_is_left_out() -> None:
    partly = body_of(delivery(consent=Consent(ad_user_data=True)))

    assert partly["consent_data"] == {"manual": {"ad_user_data_enabled": True}}
    assert "sharing_filter" not in partly
    assert "consent_data" not in body_of(delivery(consent=Consent()))
    assert "consent_data" not in body_of(delivery(consent=None))


def test_a_user_who_refuses_is_not_passed_on_to_any_network() -> None:
    assert body_of(delivery(consent=Consent(ad_user_data=False)))["sharing_filter"] == "all"


def test_hashed_contacts_go_in_their_own_three_fields() -> None:
    contact = Contact(email="a1" * 32, email_google="b2" * 32, phone_digits="c3" * 32, phone_e164="d4" * 32)

    body = body_of(delivery(contact=contact))

    assert body["email_hashed"] == "a1" * 32
    assert body["phone_number_hashed"] == "c3" * 32
    assert body["phone_number_e164_hashed"] == "d4" * 32


@pytest.mark.parametrize("appsflyer_id", [None, "", ZERO_ID])
def test_without_an_appsflyer_id_there_is_nothing_to_send(appsflyer_id: str | None) -> None:
    device = msgspec.structs.replace(PHONE, appsflyer_id=appsflyer_id)

    assert encode(delivery(device), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


def test_a_body_over_one_kilobyte_sheds_the_user_agent_first() -> None:
    device = msgspec.structs.replace(PHONE, user_agent="x" * 600)

    body = body_of(delivery(device))

    assert "ua" not in body
    assert body["customer_user_id"] == "u-88231"


def test_a_body_of_exactly_1024_bytes_loses_nothing() -> None:
    bare = len(msgspec.json.encode(body_of(delivery())))
    room = 1024 - bare - len(',"ua":""')

    fits = body_of(delivery(msgspec.structs.replace(PHONE, user_agent="x" * room)))
    over = body_of(delivery(msgspec.structs.replace(PHONE, user_agent="x" * (room + 1))))

    assert len(msgspec.json.encode(fits)) == 1024
    assert "ua" not in over


def test_however_long_the_facts_the_name_money_consent_and_conversion_id_stay() -> None:
    device = msgspec.structs.replace(PHONE, app_version="v" * 500, os_version="o" * 500, user_agent="u" * 500)
    contact = Contact(email="a1" * 32, phone_digits="c3" * 32, phone_e164="d4" * 32)
    name = "授" * 100

    body = body_of(delivery(device, user_id="w" * 500, contact=contact, name=name))

    assert len(msgspec.json.encode(body)) <= 1024
    assert body["eventName"] == name
    assert "0f1e2d3c4b5a69788796a5b4c3d2e1f0" in body["eventValue"]
    assert body["eventCurrency"] == "USD"
    assert body["consent_data"]
    assert body["aie"] is True
    assert body["advertising_id"] == PHONE.gaid


@pytest.mark.parametrize(
    ("occurred", "arrives", "keeps_its_time"),
    [
        # Monday 21:00 arriving Tuesday 01:00 keeps its time; arriving Wednesday 09:00 it does not.
        ("2026-11-23T21:00:00Z", "2026-11-24T01:00:00Z", True),
        ("2026-11-23T21:00:00Z", "2026-11-25T09:00:00Z", False),
        ("2026-11-23T00:00:00Z", "2026-11-24T01:59:59Z", True),
        ("2026-11-23T23:59:59Z", "2026-11-24T02:00:00Z", False),
    ],
)
def test_the_day_closes_at_two_in_the_morning_utc(occurred: str, arrives: str, keeps_its_time: bool) -> None:
    closes = close_of_day(datetime.fromisoformat(occurred))

    assert (datetime.fromisoformat(arrives) < closes) == keeps_its_time


def test_the_day_is_that_of_utc_not_of_the_offset_given() -> None:
    manila = datetime(2026, 11, 23, 6, 0, tzinfo=timezone(timedelta(hours=8)))  # Sunday 22:00 in UTC

    assert close_of_day(manila) == datetime(2026, 11, 23, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"OK", Accepted(confirmed=False)),
        (200, b"ok", Accepted(confirmed=False)),
        (200, b'"OK"', Accepted(confirmed=False)),
        (200, b"<html>", Accepted(confirmed=False, reason="unexpected_answer")),
        (400, b"Failed to Authenticate", Paused("bad_token")),
        (400, b"app_id", Paused("token_of_another_app")),
        (400, b"appsflyer_id is a mandatory field", Rejected("appsflyer_id_missing")),
        (400, b"Payload is missing or failed to parse", Rejected("unreadable_payload")),
        (400, b"Bad request", Rejected("invalid_field")),
        (400, b"something new", Rejected("http_400")),
        (401, b"Unauthorized", Paused("wrong_kind_of_token")),
        (403, b"Forbidden", Paused("not_in_the_plan")),
        (429, b"", Retry("throttled", counts=False)),
        (500, b"Internal Server Error", Retry("http_500")),
        (503, b"", Retry("http_503")),
    ],
)
def test_each_documented_answer_has_its_outcome(status: int, body: bytes, outcome: Outcome) -> None:
    assert classify(Response(status=status, body=body), 1) == [outcome]


def test_a_500_is_tried_three_times_for_it_also_means_json_that_cannot_be_read() -> None:
    assert SPEC.tries_on == {"http_500": 3}


def test_the_token_travels_in_a_header_of_appsflyers_own() -> None:
    assert SPEC.auth.__class__.__name__ == "HeaderAuth"
    assert msgspec.structs.asdict(SPEC.auth) == {"name": "authentication", "field": "token"}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("ev_fl", True),
        ("af_purchase", True),
        ("授信", True),
        ("x" * 100, True),
        ("x" * 101, False),
        ("af_my_event", False),
        (" ", False),
    ],
)
def test_names_are_short_and_leave_the_af_prefix_to_appsflyer(name: str, allowed: bool) -> None:
    assert (problem_with_name(name) is None) == allowed


def test_settings_refuse_a_key_they_do_not_know() -> None:
    with pytest.raises(msgspec.ValidationError, match="dev_key"):
        msgspec.convert({"token": {"env": "K"}, "dev_key": "x"}, Settings)


def test_an_account_with_a_dev_key_alone_is_reached_at_api2_with_the_flag_of_its_samples() -> None:
    legacy = Settings(token=Secret(env="APPSFLYER_DEV_KEY"), endpoint="api2")
    with_agent = delivery(msgspec.structs.replace(PHONE, user_agent="Mozilla/5.0"))
    item = encode(with_agent, legacy)
    assert not isinstance(item, Skip)

    body = body_of(with_agent, legacy)

    assert request([item], legacy).url == "https://api2.appsflyer.com/inappevent/com.example.loans"
    assert body["af_events_api"] == "true"
    assert "ua" not in body
    # Everything else is as at api3.
    assert {**body, "ua": "Mozilla/5.0"} == {**body_of(with_agent), "af_events_api": "true"}
