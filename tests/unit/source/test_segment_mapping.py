"""Segment's calls as events: names, people, phones, times, and what is left out."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.acme import APPS, T0

from lendsignal.errors import InputError
from lendsignal.model import Event
from lendsignal.source import SegmentSettings, read_event, reader_of
from lendsignal.source.segment import EVENTS, Letter, Mapped, PassedOver, mapped, snake

GAID = "38400000-8cf0-11bd-b23e-10b96e40000d"
AF = "1700000000000-1234567"
ADJUST = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
FIREBASE = "f9e8d7c6b5a493827160f5e4d3c2b1a0"
OAID = "1fe9a970-efbb-29e0-0bdd-f5dbbf751ab5"

READER = reader_of(APPS, timedelta(hours=1))
BY_DEFAULT = SegmentSettings()

COMMON: dict[str, Any] = {
    "anonymousId": "507f191e810c19729de860ea",
    "context": {
        "app": {
            "name": "InitechGlobal",
            "version": "545",
            "build": "3.0.1.545",
            "namespace": "com.production.segment",
        },
        "device": {
            "id": "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB",
            "advertisingId": "7A3CBEA0-BDF5-11E4-8DFC-AA07A5B093DB",
            "adTrackingEnabled": True,
            "manufacturer": "Apple",
            "model": "iPhone7,2",
            "name": "maguro",
            "type": "ios",
            "token": "ff15bc0c20c4aa6cd50854ff165fd265c838e5405bfeb9571066395b8c9da449",
        },
        "ip": "8.8.8.8",
        "library": {"name": "analytics.js", "version": "2.11.1"},
        "locale": "en-US",
        "network": {"bluetooth": False, "carrier": "T-Mobile US", "cellular": True, "wifi": False},
        "os": {"name": "iPhone OS", "version": "8.1.3"},
        "screen": {"width": 320, "height": 568, "density": 2},
        "timezone": "Europe/Amsterdam",
        "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)",
    },
    "integrations": {"All": True, "Mixpanel": False, "Salesforce": False},
    "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
    "userId": "97980cfea0067",
}
"""The example of segment.com/docs/connections/spec/common (read 2026-11-22), its times left out."""


def taken(
    call: str, settings: SegmentSettings = BY_DEFAULT, *, letter: Letter | None = None, **message: Any
) -> Event:
    """The event that a call becomes."""
    known = {"userId": "u1", "messageId": "m1", "timestamp": "2026-03-10T08:59:00Z", **message}
    found = mapped(known, letter or Letter(call=call), T0, READER, settings)
    assert isinstance(found, Mapped), found
    return read_event({**found.fields}, T0, READER, source="crm", history=found.history, flags=found.flags)


def flags(call: str, settings: SegmentSettings = BY_DEFAULT, **message: Any) -> tuple[str, ...]:
    found = mapped({"userId": "u1", **message}, Letter(call=call), T0, READER, settings)
    assert isinstance(found, Mapped), found
    return found.flags


def passed_over(call: str, settings: SegmentSettings, **message: Any) -> str:
    found = mapped(message, Letter(call=call), T0, READER, settings)
    assert isinstance(found, PassedOver), found
    return found.why


def refused(call: str, settings: SegmentSettings = BY_DEFAULT, **message: Any) -> tuple[str, str]:
    with pytest.raises(InputError) as found:
        taken(call, settings, **message)
    return found.value.field, found.value.rule


# names


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("Loan Disbursed", "loan_disbursed"),
        ("loanDisbursed", "loan_disbursed"),
        ("loan-disbursed ", "loan_disbursed"),
        ("LOAN_DISBURSED", "loan_disbursed"),
        ("HTTPLoan2Paid", "http_loan2_paid"),
    ],
)
def test_a_name_is_the_same_however_it_is_spelt(written: str, word: str) -> None:
    assert snake(written) == word


@pytest.mark.parametrize("name", ["Loan Disbursed", "loan_disbursed", "disbursed", "Loan Funded"])
def test_a_disbursement_is_known_by_its_usual_names(name: str) -> None:
    event = taken(
        "track",
        event=name,
        properties={"loanId": "L7", "amount": 25000.5, "currency": "ngn", "termDays": "30", "fee": 1500},
    )

    assert (event.type, event.purpose, event.loan_id) == ("disbursed", "optimisation", "L7")
    assert (str(event.amount), event.currency, event.term_days) == ("25000.5", "NGN", 30)
    assert str(event.fee) == "1500"
    assert event.properties == {}


def test_every_name_that_we_know_is_written_as_names_are_looked_up() -> None:
    assert [name for name in EVENTS if snake(name) != name] == []


def test_a_lender_names_his_own_events_and_properties() -> None:
    settings = SegmentSettings(
        events={"Cash Out": "disbursed", "loan_disbursed": "skip"}, fields={"Contract": "loan_id"}
    )
    event = taken("track", settings, event="Cash Out", properties={"Contract": 42, "loan_number": "2"})

    assert (event.type, event.loan_id, event.loan_number) == ("disbursed", "42", 2)
    assert passed_over("track", settings, userId="u1", event="Loan Disbursed") == "not_wanted"


def test_an_unknown_name_is_kept_for_analytics_refused_or_passed_over() -> None:
    said: dict[str, Any] = {"event": "Viewed Offer", "properties": {"step": 3, "Plan Name": "gold"}}
    event = taken("track", **said)

    assert (event.type, event.purpose) == ("viewed_offer", "analytics")
    assert event.properties == {"step": 3, "plan_name": "gold"}
    assert refused("track", SegmentSettings(unmapped="refuse"), **said)[0] == "event"
    assert passed_over("track", SegmentSettings(unmapped="skip"), userId="u1", **said) == "not_wanted"


def test_a_source_may_be_for_analytics_as_a_whole() -> None:
    settings = SegmentSettings(purpose="analytics")

    assert (
        taken("track", settings, event="Loan Disbursed", properties={"loan_id": "L1"}).purpose == "analytics"
    )
    assert taken("identify", settings).purpose == "analytics"


def test_a_single_call_may_be_marked_for_analytics_but_never_the_other_way_round() -> None:
    one = taken("track", event="applied", properties={"application_id": "A", "purpose": "analytics"})
    other = taken("track", event="Viewed Offer", properties={"purpose": "optimisation"})

    assert (one.purpose, other.purpose) == ("analytics", "analytics")


def test_a_grant_without_a_key_of_its_own_takes_the_applications() -> None:
    event = taken("track", event="Loan Approved", properties={"applicationId": "A7", "score": 700})

    assert (event.type, event.grant_id, event.application_id, event.score) == (
        "credit_granted",
        "A7",
        "A7",
        700.0,
    )


def test_a_call_without_its_key_is_refused_with_the_field() -> None:
    assert refused("track", event="Loan Disbursed", properties={"amount": 5, "currency": "NGN"}) == (
        "loan_id",
        "is needed for disbursed",
    )
    assert refused("track", event="") == ("event", "is needed and must be text")
    assert refused("track") == ("event", "is needed and must be text")


# people


def test_without_any_id_a_call_is_refused() -> None:
    assert refused("track", event="x", userId=None)[0] == "userId"


def test_an_anonymous_call_is_passed_over_or_kept_for_analytics_but_never_as_a_loan() -> None:
    keeping = SegmentSettings(anonymous="keep")
    said: dict[str, Any] = {"event": "Viewed Offer", "userId": None, "anonymousId": "anon-7"}

    assert passed_over("track", BY_DEFAULT, **said) == "anonymous"
    event = taken("track", keeping, **said)
    assert (event.user_id, event.purpose) == ("anonymous:anon-7", "analytics")
    assert taken("screen", keeping, userId="", anonymousId="anon-7").purpose == "analytics"
    for settings in (BY_DEFAULT, keeping):
        field, rule = refused(
            "track",
            settings,
            userId=None,
            anonymousId="a",
            event="applied",
            properties={"application_id": "A"},
        )
        assert (field, rule[:22]) == ("userId", "is needed for applied:")


def test_a_number_for_a_user_id_is_text() -> None:
    assert taken("identify", userId=42).user_id == "42"
    assert refused("identify", userId=["u1"]) == ("userId", "must be text")


def test_an_identify_call_is_what_the_lender_says_it_is() -> None:
    assert taken("identify").type == "logged_in"
    assert taken("identify", SegmentSettings(identify="registered")).type == "registered"
    kept = taken("identify", SegmentSettings(identify="analytics"))
    assert (kept.type, kept.purpose) == ("identified", "analytics")
    assert passed_over("identify", SegmentSettings(identify="skip"), userId="u1") == "not_wanted"


def test_of_a_persons_traits_only_the_hashed_contact_is_kept() -> None:
    traits = {
        "email": "ada@acme.example",
        "phone": "+2348012345678",
        "name": "Ada",
        "score": 3,
        "city": "Lagos",
    }
    for message in ({"traits": traits}, {"context": {"traits": traits}}):
        event = taken("identify", **message)

        assert event.contact is not None
        assert event.contact.email is not None
        assert event.contact.phone_e164 is not None
        assert (event.properties, event.score) == ({}, None)
        for value in ("ada@", "8012345678", "Ada", "Lagos"):
            assert value not in repr(event)


def test_views_are_app_openings_or_analytics() -> None:
    assert taken("screen", name="Home").type == "app_opened"
    kept = taken("page", SegmentSettings(views="analytics"), name="Home", properties={"path": "/"})
    assert (kept.type, kept.purpose) == ("page_viewed", "analytics")
    assert kept.properties == {"page_name": "Home", "path": "/"}


def test_group_and_alias_are_logged_for_analytics() -> None:
    group = taken("group", groupId="G1", traits={"name": "Initech"})
    alias = taken("alias", previousId="anon-7")

    assert (group.type, group.purpose, group.properties) == ("group_joined", "analytics", {"group_id": "G1"})
    assert (alias.type, alias.purpose) == ("person_linked", "analytics")
    assert (alias.user_id, alias.properties) == ("u1", {"previous_id": "anon-7"})


def test_nothing_personal_stays_among_the_properties() -> None:
    said = {
        "First Name": "Ada",
        "bvn": "22123456789",
        "note": "write to ada@acme.example",
        "contactNumber": "0801 234 5678",
        "order_id": "20260310001",
        "list": [1],
        "plan": "gold",
    }
    event = taken("track", event="Viewed Offer", properties=said)

    assert event.properties == {"order_id": "20260310001", "plan": "gold"}
    assert flags("track", event="Viewed Offer", properties=said) == ("properties_left_out",)


# phones


def test_the_documented_context_becomes_a_snapshot() -> None:
    event = taken("identify", SegmentSettings(app="acme-ios"), **COMMON)

    assert (event.brand, event.app, event.user_id) == ("acme", "acme-ios", "97980cfea0067")
    assert event.event_id == "022bb90c-bbac-11e4-8dfc-aa07a5b093db"
    device = event.device
    assert device is not None
    assert (device.os, device.os_version, device.model) == ("ios", "8.1.3", "iPhone7,2")
    assert device.idfa == "7A3CBEA0-BDF5-11E4-8DFC-AA07A5B093DB"
    assert device.idfv == "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB"
    assert (device.gaid, device.android_id, device.limit_ad_tracking) == (None, None, False)
    assert (device.app_version, device.app_build) == ("545", "3.0.1.545")
    assert (device.ip, device.locale, device.timezone) == ("8.8.8.8", "en-US", "Europe/Amsterdam")
    assert (device.carrier, device.screen_width, device.screen_height) == ("T-Mobile US", 320, 568)
    assert device.screen_density == 2
    assert device.user_agent == "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"


def android(**device: Any) -> dict[str, Any]:
    return {
        "os": {"name": "Android", "version": "13"},
        "app": {"namespace": "com.acme.loans"},
        "device": device,
    }


def test_an_android_phone_has_a_gaid_and_its_app_is_known_by_the_bundle() -> None:
    event = taken("screen", context=android(advertisingId=GAID, id="9774d56d682e549c"))

    assert event.app == "acme-ng"
    assert event.device is not None
    assert (event.device.gaid, event.device.android_id) == (GAID, "9774d56d682e549c")
    assert (event.device.idfa, event.device.idfv) == (None, None)


def test_an_id_that_an_sdk_made_up_is_no_android_id() -> None:
    event = taken("screen", context=android(id="0f7c1f4e-55d0-4bd1-8a3e-8d8f6a0f1f11", model="Infinix X657"))

    assert event.device is not None
    assert (event.device.android_id, event.device.model) == (None, "Infinix X657")


def test_ids_of_the_mmps_are_found_where_each_sdk_puts_them() -> None:
    integrations = {
        "All": True,
        "AppsFlyer": {"appsFlyerId": AF},
        "Adjust": {"adid": ADJUST},
        "Firebase (cloud)": {"appInstanceId": FIREBASE},
        "Kochava": {"device_id": "kd-a1b2c3d4"},
    }
    context = {
        **android(),
        "externalIds": [
            {"id": "br-a1b2c3d5", "type": "branchExternalId", "collection": "users", "encoding": "none"},
            {"id": "sd-a1b2c3d6", "type": "singular_sdid"},
            {"id": "x", "type": "ga_client_id"},
            "nonsense",
        ],
    }
    event = taken("identify", context=context, integrations=integrations, traits={"oaid": OAID, "gaid": GAID})

    found = event.device
    assert found is not None
    assert (found.appsflyer_id, found.adjust_adid) == (AF, ADJUST)
    assert (found.firebase_app_instance_id, found.kochava_device_id) == (FIREBASE, "kd-a1b2c3d4")
    assert (found.branch_identity, found.singular_sdid) == ("br-a1b2c3d5", "sd-a1b2c3d6")
    assert (found.oaid, found.gaid) == (OAID, GAID)


def test_a_value_of_another_form_costs_the_field_not_the_event() -> None:
    device = {"advertisingId": 7, "model": "x" * 300, "adTrackingEnabled": "yes", "attTrackingStatus": 9}
    event = taken("screen", context={**android(**device), "screen": {"width": -1, "height": "tall"}})

    assert event.device is not None
    assert event.device.os_version == "13"
    assert (event.device.gaid, event.device.model, event.device.limit_ad_tracking) == (None, None, None)
    assert (event.device.att_status, event.device.screen_width, event.device.screen_height) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("said", "number"),
    [({"trackingStatus": "authorized"}, 3), ({"trackingStatus": "denied"}, 2), ({"attTrackingStatus": 1}, 1)],
)
def test_the_answer_to_tracking_is_known_by_word_and_by_number(said: Mapping[str, Any], number: int) -> None:
    event = taken("screen", SegmentSettings(app="acme-ios"), context={"os": {"name": "iOS"}, "device": said})

    assert event.device is not None
    assert event.device.att_status == number


def test_a_servers_own_sdk_shows_no_phone() -> None:
    context = {"library": {"name": "analytics-python", "version": "2.4.0"}, "ip": "10.0.0.1", "locale": "en"}

    assert taken("identify", context=context).device is None


def test_a_phone_of_an_unknown_app_is_left_out_where_the_brand_has_several() -> None:
    context = {"os": {"name": "Android"}, "app": {"namespace": "com.other"}, "device": {"advertisingId": "g"}}

    assert taken("screen", context=context).device is None
    assert flags("screen", context=context) == ("device_without_app",)


def test_only_touches_carry_the_phone() -> None:
    event = taken(
        "track", event="applied", properties={"application_id": "A"}, context=android(advertisingId=GAID)
    )

    assert (event.device, event.app) == (None, "acme-ng")


# times


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-10T{text}+00:00").astimezone(UTC)


def test_a_wrong_clock_is_corrected_as_segment_does_it() -> None:
    # Received 09:00:00; sent at 11:30:00 by a clock that is 2 h 30 min fast; it happened 20 s before.
    letter = Letter(call=None, sent_at="2026-03-10T11:30:00Z")
    event = taken("", letter=letter, type="track", event="Viewed Offer", timestamp="2026-03-10T11:29:40Z")

    assert event.occurred_at == at("08:59:40")


def test_what_the_way_takes_is_no_wrong_clock() -> None:
    event = taken("identify", sentAt="2026-03-10T08:59:52Z", timestamp="2026-03-10T08:59:50Z")

    assert event.occurred_at == at("08:59:50")


def test_a_calls_own_sent_at_counts_before_the_batchs() -> None:
    letter = Letter(call=None, sent_at="2026-03-10T11:30:00Z")
    event = taken(
        "",
        letter=letter,
        type="identify",
        timestamp=None,
        originalTimestamp="2026-03-10T07:59:00Z",
        sentAt="2026-03-10T08:00:00Z",
    )

    assert event.occurred_at == at("08:59:00")


def test_a_time_that_segment_has_corrected_stays() -> None:
    event = taken(
        "identify",
        timestamp="2026-03-10T08:10:00Z",
        originalTimestamp="2026-03-10T05:10:00Z",
        sentAt="2026-03-10T05:11:00Z",
        receivedAt="2026-03-10T08:11:00Z",
    )

    assert event.occurred_at == at("08:10:00")


def test_imported_history_keeps_its_times_and_is_marked() -> None:
    letter = Letter(historical=True, sent_at="2026-03-01T00:00:00Z")
    event = taken("", letter=letter, type="identify", timestamp="2025-01-01T00:00:00Z")

    assert event.history
    assert event.occurred_at == datetime(2025, 1, 1, tzinfo=UTC)


def test_without_a_time_it_happened_when_it_came() -> None:
    assert taken("identify", timestamp=None).occurred_at == T0
    assert flags("identify") == ()


def test_a_time_that_is_none_is_refused_by_its_own_name() -> None:
    assert refused("identify", timestamp="yesterday")[0] == "timestamp"
    assert refused("identify", sentAt="soon")[0] == "sentAt"
    assert refused("identify", timestamp=None, originalTimestamp="2026-03-10 08:00")[0] == "originalTimestamp"
