"""Branch: expected values are those of its events pages and of the keys of its SDK, or arithmetic."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.apps import ANDROID, IOS

from lendsignal.destination.branch import SPEC, Settings, classify, encode, problem_with_name, request
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

SETTINGS = Settings(branch_key=Secret(env="BRANCH_KEY"))
PHONE = Device(
    os_version="14",
    ip="198.51.100.23",
    limit_ad_tracking=False,
    gaid="7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
    android_id="b1946ac92492d234",
    oaid="3f9d1c6a-7b2e-4858-b0c4-e1d5a2968730",
)
IPHONE = Device(
    os_version="17.4.1",
    att_status=3,
    idfa="d2cadb5f-410f-4963-ac0c-2a78534bdf1e",
    idfv="e4a1b7c3-92d8-4f60-a5eb-18c7d3f60929",
)


def delivery(device: Device = PHONE, app: App = ANDROID, **changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="PURCHASE:ev_fl",
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


def user_of(made: Delivery) -> dict[str, Any]:
    return dict(body_of(made)["user_data"])


def url_of(name: str) -> str:
    item = encode(delivery(name=name), SETTINGS)
    assert not isinstance(item, Skip)
    return request([item], SETTINGS).url


def test_a_standard_event_with_an_alias_has_the_documented_body_and_no_key_yet() -> None:
    assert body_of(delivery()) == {
        "name": "PURCHASE",
        "customer_event_alias": "ev_fl",
        "user_data": {
            "os": "Android",
            "os_version": "14",
            "environment": "FULL_APP",
            "aaid": "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
            "android_id": "b1946ac92492d234",
            "advertising_ids": {"oaid": "3f9d1c6a-7b2e-4858-b0c4-e1d5a2968730"},
            "developer_identity": "u-88231",
            "ip": "198.51.100.23",
            "country": "NG",
            "limit_ad_tracking": False,
        },
        "event_data": {
            "transaction_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            "currency": "USD",
            "revenue": 41.25,
        },
        "custom_data": {"conversion_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"},
    }


def test_the_key_joins_the_body() -> None:
    assert msgspec.structs.asdict(SPEC.auth) == {"name": "branch_key", "field": "branch_key"}


@pytest.mark.parametrize(
    ("name", "kind"), [("PURCHASE", "standard"), ("PURCHASE:ev_fl", "standard"), ("ev_fl", "custom")]
)
def test_standard_and_custom_events_have_their_own_addresses(name: str, kind: str) -> None:
    assert url_of(name) == f"https://api2.branch.io/v2/event/{kind}"


def test_a_custom_event_says_its_value_as_text_for_it_has_no_field_for_money() -> None:
    body = body_of(delivery(name="ev_fl"))

    assert body["name"] == "ev_fl"
    assert body["custom_data"] == {
        "conversion_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "value": "41.25",
        "currency": "USD",
    }
    assert not {"event_data", "customer_event_alias"} & set(body)


def test_no_time_is_said_and_after_six_hours_nothing_is_sent() -> None:
    early = body_of(delivery(occurred_at=datetime(2026, 11, 22, 1, tzinfo=UTC)))

    assert early == body_of(delivery())
    assert (SPEC.max_age, SPEC.late) == (timedelta(hours=6), "skip")


@pytest.mark.parametrize("name", ["PURCHASE", "ev_fl"])
def test_a_loss_is_sent_without_a_value(name: str) -> None:
    body = body_of(delivery(name=name, value=Money(Decimal("-41.25"), "USD")))

    assert not {"revenue", "currency"} & set(body.get("event_data", {}))
    assert body["custom_data"] == {"conversion_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}


def test_the_identity_is_what_the_app_told_branch_or_the_lenders_user_id() -> None:
    told = msgspec.structs.replace(PHONE, branch_identity="b-77")

    assert user_of(delivery(told))["developer_identity"] == "b-77"
    assert user_of(delivery())["developer_identity"] == "u-88231"


@pytest.mark.parametrize(
    ("device", "app", "limited"),
    [
        (msgspec.structs.replace(PHONE, limit_ad_tracking=True), ANDROID, True),
        (msgspec.structs.replace(PHONE, limit_ad_tracking=None), ANDROID, None),
        (IPHONE, IOS, False),
        (msgspec.structs.replace(IPHONE, att_status=2), IOS, True),
        (msgspec.structs.replace(IPHONE, att_status=None), IOS, None),
        (msgspec.structs.replace(IPHONE, os_version="14.4", limit_ad_tracking=True), IOS, True),
    ],
)
def test_what_the_user_allows_is_said(device: Device, app: App, limited: bool | None) -> None:
    assert user_of(delivery(device, app)).get("limit_ad_tracking") == limited


def test_apples_ids_are_upper_case_and_ids_of_the_other_platform_stay_out() -> None:
    user = user_of(delivery(msgspec.structs.replace(IPHONE, gaid=PHONE.gaid), IOS))

    assert user["os"] == "iOS"
    assert user["idfa"] == "D2CADB5F-410F-4963-AC0C-2A78534BDF1E"
    assert user["idfv"] == "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"
    assert "aaid" not in user


@pytest.mark.parametrize("device", [Device(), Device(gaid=ZERO_ID), Device(branch_identity="b-77")])
def test_an_identity_alone_names_no_device_and_is_not_enough(device: Device) -> None:
    assert encode(delivery(device), SETTINGS) == Skip(SkipReason.NO_DEVICE_ID)


@pytest.mark.parametrize(
    ("consent", "said"),
    [
        (Consent(), {}),
        (
            Consent(gdpr_applies=True, ad_user_data=True),
            {"dma_eea": True, "dma_ad_user_data": True, "dma_ad_personalization": False},
        ),
        (
            Consent(gdpr_applies=False, ad_user_data=False),
            {"dma_eea": False, "dma_ad_user_data": False, "disable_ad_network_callouts": True},
        ),
    ],
)
def test_consent_is_in_the_dma_fields_and_a_refusal_reaches_no_network(
    consent: Consent, said: dict[str, bool]
) -> None:
    user = user_of(delivery(consent=consent))

    assert {name: user[name] for name in user if name.startswith(("dma", "disable"))} == said


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("PURCHASE", True),
        ("PURCHASE:ev_fl", True),
        ("ev_fl", True),
        ("purchase", False),
        ("ev_fl:x", False),
        ("PURCHASE:", False),
        (":ev_fl", False),
        ("", False),
    ],
)
def test_a_name_is_a_standard_event_perhaps_with_an_alias_or_a_custom_one(name: str, allowed: bool) -> None:
    assert (problem_with_name(name) is None) == allowed


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"branch_view_enabled":false}', Accepted()),
        (200, b'{"update_conversion_value":3,"coarse_key":"low"}', Accepted()),
        (200, b"{}", Accepted(confirmed=False, reason="unexpected_answer")),
        (200, b"<html>", Retry("unreadable_answer")),
        (400, b'{"error":{"code":400,"message":"Bad Request"}}', Rejected("http_400")),
        (400, b'{"error":{"message":"Invalid or missing Branch key"}}', Paused("bad_token")),
        (401, b"", Paused("http_401")),
        (403, b"", Paused("http_403")),
        (429, b"Rate Limit Reached", Retry("throttled", counts=False)),
        (503, b"", Retry("http_503")),
    ],
)
def test_each_answer_has_its_outcome(status: int, body: bytes, outcome: Outcome) -> None:
    assert classify(Response(status=status, body=body), 1) == [outcome]
