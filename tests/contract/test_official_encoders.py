"""The vendors' own encoders as oracles: what our destinations write, Google's and Meta's libraries read.

Google's is a development dependency. Meta's comes under a licence of its own (for use with Meta's services
only), so it is none: where somebody has installed it, it is asked too.
"""

import importlib
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract import destination_exam as exam

from lendsignal.destination import google_data_manager, meta, registry
from lendsignal.model import Contact, Delivery, Skip
from lendsignal.model.contact import contact_of


@pytest.fixture(scope="module")
def datamanager() -> ModuleType:
    """Google's client library for the Data Manager API, whose messages are the API's own."""
    why = "NOT RUN: pip install google-ads-datamanager, or make setup"
    found: ModuleType = pytest.importorskip("google.ads.datamanager_v1", reason=why)
    return found


def made(delivery: Delivery) -> Any:
    module = registry()["google_data_manager"]
    chosen = msgspec.structs.replace(exam.example_settings(module), login_account_id="1112223333")
    item = google_data_manager.encode(delivery, chosen)
    return None if isinstance(item, Skip) else google_data_manager.request([item], chosen).json


def test_googles_own_messages_take_every_request_and_give_it_back_unchanged(datamanager: ModuleType) -> None:
    """An unknown field, a value of another type or a word that is none would stop the reading."""
    message = datamanager.IngestEventsRequest
    read = 0

    @given(
        exam.deliveries(),
        st.sampled_from((None, "EXAMPLE_GCLID")),
        st.sampled_from((None, "EXAMPLE_GBRAID")),
        st.none() | st.just(Contact(email_google="b2" * 32, phone_e164="d4" * 32)),
    )
    @settings(max_examples=150, deadline=None, database=None)
    def holds(delivery: Delivery, gclid: str | None, gbraid: str | None, contact: Contact | None) -> None:
        nonlocal read
        device = msgspec.structs.replace(delivery.device, gclid=gclid, gbraid=gbraid)
        ours = made(msgspec.structs.replace(delivery, name="ev_fl", device=device, contact=contact))
        if ours is None:
            return
        parsed = message.from_json(msgspec.json.encode(ours).decode(), ignore_unknown_fields=False)
        back = msgspec.json.decode(
            message.to_json(parsed, always_print_fields_with_no_presence=False, use_integers_for_enums=False)
        )
        read += 1
        assert as_compared(back) == as_compared(ours)

    holds()
    assert read > 20


def test_googles_own_messages_notice_what_is_not_in_them(datamanager: ModuleType) -> None:
    ours = made(exam.delivery_for(registry()["google_data_manager"]))
    ours["events"][0]["userData"]["userIdentifiers"][0]["addressInfo"] = {}

    with pytest.raises(Exception, match="addressInfo"):
        datamanager.IngestEventsRequest.from_json(msgspec.json.encode(ours).decode())


def as_compared(request: dict[str, Any]) -> dict[str, Any]:
    """The request with its moments as moments: a library may write them with more or fewer noughts.

    A value of nothing is a default, which the library leaves out.
    """
    events = [
        {
            **{key: value for key, value in event.items() if (key, value) != ("conversionValue", 0.0)},
            "eventTimestamp": datetime.fromisoformat(event["eventTimestamp"]).astimezone(UTC),
        }
        for event in request["events"]
    ]
    return {**request, "events": events}


# Meta


@pytest.fixture(scope="module")
def serverside() -> ModuleType:
    """Meta's library for server events, where it is installed."""
    why = "NOT RUN: Meta's library is no dependency (its licence); pip install facebook-business runs it"
    pytest.importorskip("facebook_business", reason=why)
    return importlib.import_module("facebook_business.adobjects.serverside.normalize")


PEOPLE = (" Person@Example.com ", "A.B+x@Gmail.com", "UPPER@EXAMPLE.ORG")
PHONES = ("+63 917-123-4567", "00639171234567", "+44 (844) 412 4653", "+234 803 555 0199")


@pytest.mark.parametrize("email", PEOPLE)
def test_an_email_is_hashed_as_metas_own_library_hashes_it(serverside: ModuleType, email: str) -> None:
    contact, _ = contact_of(email, None)

    assert contact is not None
    assert contact.email == serverside.Normalize.normalize_field("em", email)


@pytest.mark.parametrize("phone", PHONES)
def test_a_phone_number_is_hashed_as_metas_own_library_hashes_it(serverside: ModuleType, phone: str) -> None:
    contact, _ = contact_of(None, phone)

    assert contact is not None
    assert contact.phone_digits == serverside.Normalize.normalize_field("ph", phone)


def test_an_event_has_the_shape_that_metas_own_library_gives_it(serverside: ModuleType) -> None:
    """Built by the library from the same facts; it writes currencies in lower case."""

    def part(name: str) -> Any:
        return importlib.import_module(f"facebook_business.adobjects.serverside.{name}")

    module = registry()["meta"]
    ours = meta.encode(exam.delivery_for(module, name="Purchase"), exam.example_settings(module))
    assert not isinstance(ours, Skip)
    user, app, custom = ours["user_data"], ours["app_data"], ours["custom_data"]
    theirs = (
        part("event")
        .Event(
            event_name=ours["event_name"],
            event_time=ours["event_time"],
            event_id=ours["event_id"],
            action_source=part("action_source").ActionSource.APP,
            user_data=part("user_data").UserData(
                emails=user["em"],
                phones=user["ph"],
                external_ids=user["external_id"],
                client_ip_address=user["client_ip_address"],
                client_user_agent=user["client_user_agent"],
                madid=user["madid"],
                anon_id=user["anon_id"],
            ),
            app_data=part("app_data").AppData(
                advertiser_tracking_enabled=bool(app["advertiser_tracking_enabled"]),
                application_tracking_enabled=bool(app["application_tracking_enabled"]),
                extinfo=part("extended_device_info").ExtendedDeviceInfo(*app["extinfo"]),
            ),
            custom_data=part("custom_data").CustomData(
                value=custom["value"], currency=custom["currency"], order_id=custom["order_id"]
            ),
        )
        .normalize()
    )

    assert theirs.keys() == ours.keys()
    assert {key: theirs[key] for key in ("event_name", "event_time", "event_id")} == {
        key: ours[key] for key in ("event_name", "event_time", "event_id")
    }
    assert theirs["user_data"] == user
    assert theirs["custom_data"] == {**custom, "currency": custom["currency"].lower()}
    assert [str(each) for each in theirs["app_data"]["extinfo"]] == app["extinfo"]
