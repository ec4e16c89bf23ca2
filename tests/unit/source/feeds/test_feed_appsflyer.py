"""AppsFlyer's messages and raw data: field names and meanings are those of its own pages."""

import json
from decimal import Decimal
from typing import Any

import pytest
from tests.unit.source.feeds.feeding import ARRIVED, PUSHED, came, feed, recorded, said, utc

from lendsignal.errors import InputError
from lendsignal.model.attribution import Ad, AttributionKind

IN_APP: dict[str, Any] = {
    **PUSHED,
    "event_name": "ev_ln",
    "event_time": "2026-11-21 10:00:00.000",
    "event_value": json.dumps({"af_revenue": "41.25", "af_currency": "USD", "af_order_id": "c0ffee"}),
    "event_source": "S2S",
}


def test_an_install_tells_the_whole_way_down_to_the_ad() -> None:
    found = came(feed(), PUSHED)

    assert found.ad == Ad(
        channel="tiktok",
        media_source="bytedanceglobal_int",
        campaign="NG spring",
        campaign_id="1712345678901234",
        ad_set="lookalike 2",
        ad_set_id="1712345678905678",
        ad="video 7",
        ad_id="1712345678907777",
    )
    assert (found.app, found.id, found.kind) == (
        "acme-ng",
        "1763712345678-4312502203727572307",
        AttributionKind.INSTALL,
    )
    assert found.at_us == utc(2026, 11, 20, 8, 15, 30, 250_000)
    assert (found.touch, found.touch_us) == ("click", utc(2026, 11, 20, 8, 3, 11))
    assert found.told_us == ARRIVED
    assert found.user_id == "u-88231"
    assert found.click_ids == {"ttclid": "E.C.P.abc"}


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"event_name": "install"}, "install"),
        ({"event_name": "reinstall", "conversion_type": "reinstall"}, "reinstall"),
        (
            {
                "event_name": "re-engagement",
                "is_retargeting": True,
                "retargeting_conversion_type": "re-engagement",
            },
            "re_engagement",
        ),
        (
            # A re-attribution has the conversion type of a reinstall: the retargeting column tells.
            {
                "event_name": "re-attribution",
                "conversion_type": "reinstall",
                "is_retargeting": True,
                "retargeting_conversion_type": "re-attribution",
            },
            "re_attribution",
        ),
        ({"event_name": "Re-Engagement", "is_retargeting": "TRUE", "conversion_type": None}, "re_engagement"),
    ],
)
def test_what_came_is_told_by_name_and_by_the_retargeting_columns(changed: Any, kind: str) -> None:
    assert came(feed(), PUSHED, **changed).kind == kind


def test_an_in_app_event_is_what_appsflyer_recorded_and_carries_our_conversion_id() -> None:
    found = recorded(feed(), IN_APP)

    assert (found.name, found.conversion, found.sent_by) == ("ev_ln", "c0ffee", "S2S")
    assert found.at_us == utc(2026, 11, 21, 10)
    assert (found.amount, found.currency) == (Decimal("41.25"), "USD")
    assert found.ad.campaign == "NG spring"
    assert found.primary


def test_an_in_app_event_in_a_re_engagement_is_attributed_to_it() -> None:
    found = recorded(feed(), IN_APP, is_retargeting=True, retargeting_conversion_type="re-engagement")

    assert found.kind is AttributionKind.RE_ENGAGEMENT


def test_the_revenue_column_goes_before_the_events_own_parameters() -> None:
    found = recorded(feed(), IN_APP, event_revenue="60000", event_revenue_currency="ngn")

    assert (found.amount, found.currency) == (Decimal(60000), "NGN")


@pytest.mark.parametrize("value", ["", " ", "{whatever you want in a JSON}", "[1]", None])
def test_an_event_value_that_is_no_object_tells_nothing(value: str | None) -> None:
    found = recorded(feed(), IN_APP, event_value=value)

    assert (found.conversion, found.amount, found.currency) == ("", None, "")


def test_two_spellings_of_one_value_are_one_event_where_our_id_is_in_it() -> None:
    spaced = json.dumps(json.loads(IN_APP["event_value"]), indent=1)

    assert recorded(feed(), IN_APP, event_value=spaced).detail == recorded(feed(), IN_APP).detail
    assert recorded(feed(), IN_APP, event_value="{}").detail != recorded(feed(), IN_APP).detail


@pytest.mark.parametrize(
    "changed",
    [
        {"media_source": "organic"},
        {"media_source": "Organic"},
        {"media_source": None, "campaign_type": "organic"},
        {"media_source": None, "campaign": None, "af_c_id": None, "attributed_touch_type": None},
    ],
)
def test_organic_is_told_by_the_media_source_or_by_everything_being_silent(changed: Any) -> None:
    assert came(feed(), PUSHED, **changed).ad.organic


def test_a_source_that_is_hidden_is_not_taken_for_organic() -> None:
    assert came(feed(), PUSHED, media_source="restricted").ad.channel == "restricted"


@pytest.mark.parametrize(
    ("app_id", "app"),
    [
        ("com.acme.loans", "acme-ng"),
        ("id123456789", "acme-ios"),
        ("123456789", "acme-ios"),
        ("com.acme.ios", "acme-ios"),
    ],
)
def test_an_app_is_known_by_its_bundle_and_by_its_store_number(app_id: str, app: str) -> None:
    assert came(feed(), PUSHED, app_id=app_id).app == app


def test_an_app_of_somebody_else_is_refused() -> None:
    with pytest.raises(InputError, match="app_id: is none of your apps"):
        said(feed(), PUSHED, app_id="com.other.app")


def test_an_app_can_be_named_in_the_settings() -> None:
    assert came(feed(apps={"com.acme.old": "acme-ng"}), PUSHED, app_id="com.acme.old").app == "acme-ng"


@pytest.mark.parametrize("field", ["appsflyer_id", "app_id"])
def test_what_is_needed_is_named(field: str) -> None:
    with pytest.raises(InputError, match=field):
        said(feed(), PUSHED, **{field: None})


def test_an_in_app_event_needs_its_time() -> None:
    with pytest.raises(InputError, match="event_time: is no time"):
        said(feed(), IN_APP, event_time="###########")
    with pytest.raises(InputError, match="event_time: is needed"):
        said(feed(), IN_APP, event_time=None)


def test_a_refusal_never_repeats_the_value() -> None:
    with pytest.raises(InputError) as refused:
        said(feed(), IN_APP, event_time="call me on 0803 123 4567")

    assert "0803" not in str(refused.value)


def test_an_id_that_a_spreadsheet_rounded_is_no_id() -> None:
    found = came(feed(), PUSHED, af_c_id="1.00E+11", af_adset_id="6.73E+09").ad

    assert (found.campaign_id, found.ad_set_id, found.ad_id) == ("", "", "1712345678907777")


def test_a_channel_can_be_named_by_the_lender() -> None:
    assert came(feed(channels={"Acme DSP": "programmatic"}), PUSHED, media_source="acme dsp").ad.channel == (
        "programmatic"
    )
