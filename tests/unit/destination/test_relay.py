"""The client relay: what the app gets of a conversion, and where it waits."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.acme import ANDROID, phone

from lendsignal.destination import relay
from lendsignal.destination.relay import address_of
from lendsignal.destination.spec import SHELF, Response
from lendsignal.model import Delivery, Device, Money, Pending, Secret, Skip, SkipReason

SETTINGS = relay.Settings(secret=Secret(env="RELAY"))


def delivery(**changes: Any) -> Delivery:
    known: dict[str, Any] = {
        "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "name": "ev_fl",
        "occurred_at": datetime(2026, 11, 22, 9, 14, 7, 512_900, tzinfo=UTC),
        "user_id": "u-88231",
        "app": ANDROID,
        "device": phone("ada", ip="203.0.113.7", model="SM-A145F"),
        "value": Money(Decimal("41.250"), "USD"),
    }
    return Delivery(**{**known, **changes})


def encoded(settings: relay.Settings = SETTINGS, **changes: Any) -> Any:
    item = relay.encode(delivery(**changes), settings)
    assert not isinstance(item, Skip)
    return item


def test_the_app_gets_name_value_currency_time_and_id() -> None:
    assert encoded()["event"] == {
        "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "name": "ev_fl",
        "occurred_at": "2026-11-22T09:14:07.512Z",
        "value": "41.25",
        "currency": "USD",
    }


def test_nothing_that_names_the_user_or_the_phone_is_inside() -> None:
    text = msgspec.json.encode(encoded()).decode()

    for private in ("u-88231", "af-ada", "fb-ada", "gaid-ada", "203.0.113.7", "SM-A145F"):
        assert private not in text


def test_a_loss_is_not_told_and_the_event_still_is() -> None:
    event = encoded(value=Money(Decimal(-3), "USD"))["event"]

    assert "value" not in event
    assert "currency" not in event
    assert event["name"] == "ev_fl"


def test_it_waits_where_its_user_on_its_installation_asks() -> None:
    address = address_of("acme", "u-88231", "appsflyer_id", "af-ada")

    assert encoded()["address"] == address
    assert encoded(user_id="u-2")["address"] != address
    assert encoded(device=phone("bola"))["address"] != address


def test_the_installation_is_named_by_the_id_that_the_settings_say() -> None:
    by_firebase = relay.Settings(secret=Secret(env="RELAY"), installation="firebase_app_instance_id")

    expected = address_of("acme", "u-88231", "firebase_app_instance_id", "fb-ada")
    assert encoded(by_firebase)["address"] == expected


def test_a_login_that_did_not_show_that_id_is_skipped() -> None:
    found = relay.encode(delivery(device=Device(adjust_adid="18546f61")), SETTINGS)

    assert found == Skip(SkipReason.NO_DEVICE_ID)


def test_the_parts_of_an_address_cannot_run_into_each_other() -> None:
    assert address_of("acme", "u1", "idfv", "x") != address_of("acme", "u1i", "dfv", "x")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "start with a letter"),
        ("1st", "start with a letter"),
        ("a b", "letters, digits"),
        ("e" * 41, "at most 40"),
        ("firebase_loan", "Firebase keeps"),
        ("credit_granted", "'credit'"),
        ("LoanDefaulted", "'default'"),
    ],
)
def test_a_name_that_an_app_should_not_log_is_refused(name: str, says: str) -> None:
    assert says in (relay.problem_with_name(name) or "")


@pytest.mark.parametrize("name", ["ev_fl", "af_purchase", "e" * 40])
def test_neutral_names_are_taken(name: str) -> None:
    assert relay.problem_with_name(name) is None


@pytest.mark.parametrize("span", [timedelta(0), timedelta(days=91)])
def test_a_token_is_good_for_a_minute_at_least_and_ninety_days_at_most(span: timedelta) -> None:
    with pytest.raises(ValueError, match="good_for must be from 1m to 90d"):
        relay.Settings(secret=Secret(env="RELAY"), good_for=span)


def test_a_request_stays_in_the_house() -> None:
    assert relay.request([encoded()], SETTINGS).url == SHELF


def test_what_is_on_the_shelf_waits_for_its_apps_word() -> None:
    assert relay.classify(Response(status=200), 2) == [Pending("relay")] * 2
