"""GA4 Measurement Protocol for app streams: expected values are from Google's reference, or arithmetic."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from lendsignal.destination.ga4 import (
    SPEC,
    Settings,
    classify,
    encode,
    problem_with_name,
    problems_found,
    request,
    validation_request,
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
)

SETTINGS = Settings(
    api_secret=Secret(env="GA4_SECRET"), firebase_app_id="1:1234567890:android:0a1b2c3d4e5f6a7b"
)
APP = App(
    name="acme-ng",
    brand="acme",
    platform="android",
    bundle="com.acme.loans",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)
INSTANCE = "4f2c1a9be07d4c6f8a315d2e9b7c6012"


def delivery(instance: str | None = INSTANCE, **changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="ev_fl",
        occurred_at=datetime(2026, 11, 22, 9, 14, 7, 512_000, tzinfo=UTC),
        user_id="u-88231",
        app=APP,
        device=Device(firebase_app_instance_id=instance),
        value=Money(Decimal("41.25"), "USD"),
        consent=Consent(ad_user_data=True, ad_personalization=True),
    )
    return msgspec.structs.replace(made, **changes)


def item_of(made: Delivery) -> Item:
    item = encode(made, SETTINGS)
    assert not isinstance(item, Skip)
    return item


def test_one_event_has_the_documented_body() -> None:
    # 2026-11-22T09:14:07Z is 20,779 days and 33,247 s after 1970: 20779 × 86400 + 33247 = 1795338847.
    assert request([item_of(delivery())], SETTINGS).json == {
        "app_instance_id": "4f2c1a9be07d4c6f8a315d2e9b7c6012",
        "user_id": "u-88231",
        "consent": {"ad_user_data": "GRANTED", "ad_personalization": "GRANTED"},
        "events": [
            {
                "name": "ev_fl",
                "timestamp_micros": 1795338847512000,
                "params": {
                    "value": 41.25,
                    "currency": "USD",
                    "transaction_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                    "conversion_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                },
            }
        ],
    }


def test_value_and_currency_stand_together_or_not_at_all() -> None:
    without = item_of(delivery(value=None))["event"]["params"]
    loss = item_of(delivery(value=Money(Decimal(-5), "USD")))["event"]["params"]

    assert not {"value", "currency"} & set(without)
    assert not {"value", "currency"} & set(loss)


def test_consent_is_granted_or_denied_and_what_was_not_asked_is_left_out() -> None:
    refused = item_of(delivery(consent=Consent(ad_user_data=False, gdpr_applies=True)))

    assert refused["consent"] == {"ad_user_data": "DENIED"}
    assert "consent" not in item_of(delivery(consent=Consent()))
    assert "consent" not in request([item_of(delivery(consent=None))], SETTINGS).json


def test_two_users_of_one_phone_never_share_a_request() -> None:
    one, other = item_of(delivery()), item_of(delivery(user_id="u-70004"))

    assert SPEC.batch_by == "envelope"
    assert one["app_instance_id"] == other["app_instance_id"]
    assert one["envelope"] != other["envelope"]


def test_a_change_of_consent_starts_a_new_request() -> None:
    granted, refused = item_of(delivery()), item_of(delivery(consent=Consent(ad_user_data=False)))

    assert granted["envelope"] != refused["envelope"]


def test_the_events_of_one_installation_share_a_request() -> None:
    items = [item_of(delivery(id=f"{number:032x}")) for number in range(SPEC.batch)]

    body = request(items, SETTINGS).json

    assert SPEC.batch == 25
    assert len({item["envelope"] for item in items}) == 1
    assert [event["params"]["transaction_id"] for event in body["events"]] == [f"{n:032x}" for n in range(25)]
    assert "envelope" not in body


def test_the_colons_of_the_app_id_are_not_escaped_and_the_secret_is_not_there_yet() -> None:
    assert request([item_of(delivery())], SETTINGS).url == (
        "https://www.google-analytics.com/mp/collect?firebase_app_id=1:1234567890:android:0a1b2c3d4e5f6a7b"
    )


def test_europe_and_the_validator_have_addresses_of_their_own() -> None:
    europe = msgspec.structs.replace(SETTINGS, region="eu")
    debug = msgspec.structs.replace(SETTINGS, debug=True)
    items = [item_of(delivery())]

    assert request(items, europe).url.startswith("https://region1.google-analytics.com/mp/collect?")
    assert request(items, debug).url.startswith("https://www.google-analytics.com/debug/mp/collect?")


def test_the_validator_is_asked_at_its_strictest_and_for_the_same_body() -> None:
    items = [item_of(delivery())]
    made = validation_request(items, SETTINGS)

    assert made.url.startswith("https://www.google-analytics.com/debug/mp/collect?firebase_app_id=1:12345")
    assert made.json == {
        **request(items, SETTINGS).json,
        "validation_behavior": "ENFORCE_RECOMMENDATIONS",
    }


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, {"validationMessages": []}, ()),
        (
            200,
            {
                "validationMessages": [
                    {
                        "fieldPath": "events",
                        "description": "Event at index: [0] has invalid name [9x].",
                        "validationCode": "NAME_INVALID",
                    }
                ]
            },
            ("events NAME_INVALID Event at index: [0] has invalid name [9x].",),
        ),
        (200, {"validationMessages": [{"validationCode": "INTERNAL_ERROR"}]}, None),
        (200, {}, None),
        (200, [], None),
        (503, {"validationMessages": []}, None),
    ],
)
def test_the_validators_messages_are_told_a_line_each_and_its_own_trouble_is_no_verdict(
    status: int, body: Any, found: tuple[str, ...] | None
) -> None:
    assert problems_found(Response(status=status, body=msgspec.json.encode(body))) == found


@pytest.mark.parametrize("instance", [None, "", ZERO_ID, INSTANCE[:-1], INSTANCE + "0", "z" * 32])
def test_an_app_instance_id_that_google_would_drop_in_silence_is_none(instance: str | None) -> None:
    assert encode(delivery(instance), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


def test_events_older_than_72_hours_would_be_moved_so_they_are_skipped() -> None:
    assert SPEC.max_age == timedelta(hours=72)
    assert SPEC.late == "skip"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("ev_fl", True),
        ("in_app_purchase", True),
        ("screen_view", True),
        ("x" * 40, True),
        ("x" * 41, False),
        ("first_open", False),
        ("session_start", False),
        ("error", False),
        ("firebase_x", False),
        ("ga_x", False),
        ("google_x", False),
        ("_x", False),
        ("1ev", False),
        ("ev-fl", False),
        ("ev fl", False),
        ("授信", False),
        ("", False),
    ],
)
def test_a_name_google_would_drop_in_silence_is_refused_in_the_configuration(
    name: str, allowed: bool
) -> None:
    assert (problem_with_name(name) is None) == allowed


@pytest.mark.parametrize(
    ("status", "body", "count", "outcome"),
    [
        (204, b"", 2, Accepted(confirmed=False)),
        (200, b'{"validationMessages":[]}', 2, Accepted(confirmed=False, reason="validated_not_recorded")),
        (200, b'{"validationMessages":[{"validationCode":"NAME_INVALID"}]}', 1, Rejected("invalid_event")),
        (200, b'{"validationMessages":[{"validationCode":"NAME_INVALID"}]}', 2, Split("invalid_event")),
        (200, b'{"validationMessages":[{"validationCode":"INTERNAL_ERROR"}]}', 2, Retry("validator_error")),
        (200, b"<html>", 1, Accepted(confirmed=False, reason="unexpected_answer")),
        (400, b"", 1, Rejected("http_400")),
        (413, b"", 2, Split("http_413")),
        (413, b"", 1, Rejected("http_413")),
        (403, b"", 2, Paused("http_403")),
        (429, b"", 2, Retry("throttled", counts=False)),
        (502, b"", 2, Retry("http_502")),
    ],
)
def test_each_answer_has_its_outcome(status: int, body: bytes, count: int, outcome: Outcome) -> None:
    assert classify(Response(status=status, body=body), count) == [outcome] * count


@pytest.mark.parametrize("app_id", ["1234567890", "1:12:android", "x:1:android:a", "1:1:android:a%3A"])
def test_an_app_id_that_is_not_one_of_firebases_is_refused(app_id: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"api_secret": {"env": "S"}, "firebase_app_id": app_id}, Settings)
