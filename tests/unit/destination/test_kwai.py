"""Kwai, experimental: expected values are those of public implementations, or arithmetic."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from lendsignal.destination.kwai import SPEC, Settings, classify, encode, problem_with_name, request
from lendsignal.destination.spec import Hold, Item, Response
from lendsignal.model import (
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

SETTINGS = Settings(pixel_id="270123456789012", token=Secret(env="KWAI_TOKEN"))
POSTBACK = msgspec.structs.replace(SETTINGS, way="postback")
APP = App(
    name="acme-br",
    brand="acme",
    platform="android",
    bundle="com.acme.br",
    country="BR",
    currency="BRL",
    timezone="America/Sao_Paulo",
)


def delivery(**changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="EVENT_PURCHASE",
        occurred_at=datetime(2026, 11, 20, 3, 15, 7, tzinfo=UTC),
        user_id="br-1",
        app=APP,
        device=Device(kwai_click_id="Lw2HvYVkoj1MyzQwwNX4dg", gaid="38400000-8CF0-11BD-B23E-10B96E40000D"),
        value=Money(Decimal("125.50"), "BRL"),
    )
    return msgspec.structs.replace(made, **changes)


def item_of(made: Delivery, chosen: Settings = SETTINGS) -> Item:
    item = encode(made, chosen)
    assert not isinstance(item, Skip)
    return item


def test_one_event_has_the_known_body_and_its_properties_are_a_string() -> None:
    made = request([item_of(delivery())], SETTINGS)

    properties = json.loads(made.json["properties"])
    assert made.url == "https://www.adsnebula.com/log/common/api"
    assert {**made.json, "properties": "…"} == {
        "clickid": "Lw2HvYVkoj1MyzQwwNX4dg",
        "event_name": "EVENT_PURCHASE",
        "pixelId": "270123456789012",
        "is_attributed": 1,
        "mmpcode": "PL",
        "pixelSdkVersion": "9.9.9",
        "properties": "…",
        "value": "125.5",
        "currency": "BRL",
        "testFlag": False,
        "trackFlag": False,
    }
    assert properties == {
        "content_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "content_type": "product",
        "value": "125.5",
        "currency": "BRL",
    }


def test_a_trial_is_marked() -> None:
    trial = msgspec.structs.replace(SETTINGS, testing=True)

    assert item_of(delivery(), trial)["trackFlag"] is True


def test_the_postback_is_a_get_with_everything_in_its_query() -> None:
    made = request([item_of(delivery(), POSTBACK)], POSTBACK)

    assert made.method == "GET"
    assert made.json is None
    assert made.url == (
        "https://www.adsnebula.com/log/ad?clickid=Lw2HvYVkoj1MyzQwwNX4dg&is_attributed=1"
        "&event_name=EVENT_PURCHASE&revenue=125.5&currency=BRL"
    )


def test_dollars_have_a_field_of_their_own_in_the_postback() -> None:
    dollars = item_of(delivery(value=Money(Decimal(9), "USD")), POSTBACK)

    assert (dollars["revenue_usd"], dollars["revenue"], dollars["currency"]) == ("9", "9", "USD")


@pytest.mark.parametrize("way", [SETTINGS, POSTBACK])
def test_without_a_click_id_nobody_can_be_told(way: Settings) -> None:
    for click in (None, ""):
        device = Device(kwai_click_id=click, gaid="38400000-8CF0-11BD-B23E-10B96E40000D")
        assert encode(delivery(device=device), way) == Skip(SkipReason.NO_DEVICE_ID)


@pytest.mark.parametrize("consent", [Consent(ad_user_data=False), Consent(ad_personalization=False)])
def test_a_user_who_refuses_either_is_skipped(consent: Consent) -> None:
    assert encode(delivery(consent=consent), SETTINGS) == Skip(SkipReason.NO_CONSENT)


@pytest.mark.parametrize("way", [SETTINGS, POSTBACK])
def test_a_loss_is_not_told_and_the_event_is(way: Settings) -> None:
    for value in (None, Money(Decimal(-5), "BRL")):
        assert not {"value", "revenue", "revenue_usd", "currency"} & set(item_of(delivery(value=value), way))


def test_a_repeat_cannot_be_told_from_a_second_conversion_so_the_unknown_is_held() -> None:
    assert Hold() == SPEC.on_unknown
    assert (SPEC.dedupe, SPEC.batch) == (None, 1)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"result":1}', Accepted()),
        (200, b'{"result":0}', Accepted(confirmed=False, reason="unexpected_answer")),
        (200, b'{"result":-1,"error_msg":"clickid is invalid"}', Rejected("invalid_event")),
        (200, b'{"result":-1,"error_msg":"access_token is invalid"}', Paused("bad_token")),
        (200, b"<html>", Retry("unreadable_answer")),
        (200, b"{}", Retry("unreadable_answer")),
        (503, b'{"result":1}', Retry("http_503")),
        (403, b"", Paused("http_403")),
        (429, b"", Retry("throttled", counts=False)),
    ],
)
def test_each_answer_has_its_outcome(status: int, body: bytes, outcome: Outcome) -> None:
    assert classify(Response(status=status, body=body), 1) == [outcome]


def test_names_are_kwais_own() -> None:
    assert problem_with_name("EVENT_1ST_PURCHASE") is None
    assert all(problem_with_name(name) for name in ("", "ev_fl", "event_purchase", "PURCHASE"))
