"""Adjust's callbacks: names are the placeholders' own, times Unix seconds, as its help pages have them."""

from decimal import Decimal
from typing import Any

import pytest
from tests.unit.source.feeds.feeding import ARRIVED, came, feed, recorded, said, utc

from lendsignal.errors import InputError
from lendsignal.model.attribution import Ad, AttributionKind

INSTALLED: dict[str, Any] = {
    "activity_kind": "install",
    "app_id": "com.acme.loans",
    "created_at": "1763626530",  # 2025-11-20 08:15:30 UTC
    "installed_at": "1763626530",
    "adid": "18546f6171f67e29d1cb983322ad1329",
    "gps_adid": "38400000-8cf0-11bd-b23e-10b96e40000d",
    "tracker": "abc123",
    "tracker_name": "Google Ads ACI::NG spring (17123456789)::group 2 (155566677)::video 7",
    "network_name": "Google Ads ACI",
    "campaign_name": "NG spring (17123456789)",
    "adgroup_name": "group 2 (155566677)",
    "creative_name": "video 7",
    "is_organic": "0",
    "click_time": "1763626000",
    "impression_based": "0",
    "gclid": "Cj0KCQ",
    "user_id": "u-88231",
    "environment": "production",
}
EVENT = {
    **INSTALLED,
    "activity_kind": "event",
    "event": "f0ob4r",
    "event_name": "disbursed",
    "created_at": "1763700000",
    "revenue_float": "1250.5",
    "currency": "NGN",
    "conversion_id": "c0ffee",
}


def test_an_install_tells_network_campaign_ad_group_and_creative() -> None:
    found = came(feed("adjust"), INSTALLED)

    assert found.ad == Ad(
        channel="google",
        media_source="Google Ads ACI",
        campaign="NG spring",
        campaign_id="17123456789",
        ad_set="group 2",
        ad_set_id="155566677",
        ad="video 7",
    )
    assert (found.app, found.id) == ("acme-ng", "18546f6171f67e29d1cb983322ad1329")
    assert found.at_us == utc(2025, 11, 20, 8, 15, 30)
    assert (found.touch, found.touch_us) == ("click", utc(2025, 11, 20, 8, 6, 40))
    assert found.click_ids == {"gclid": "Cj0KCQ"}
    assert found.user_id == "u-88231"


def test_the_name_of_the_link_tells_where_its_parts_do_not() -> None:
    parts = dict.fromkeys(("network_name", "campaign_name", "adgroup_name", "creative_name"))

    assert came(feed("adjust"), INSTALLED, **parts).ad == came(feed("adjust"), INSTALLED).ad


def test_metas_own_names_stand_one_level_up() -> None:
    # Meta's API called a campaign a campaign group and an ad set a campaign.
    found = came(
        feed("adjust"),
        INSTALLED,
        network_name="Facebook Installs",
        fb_campaign_group_name="NG spring",
        fb_campaign_group_id="23847391234560",
        fb_campaign_name="lookalike",
        fb_campaign_id="23847391234561",
        fb_adgroup_name="video 7",
        fb_adgroup_id="23847391234562",
    ).ad

    assert (found.channel, found.campaign, found.campaign_id) == ("meta", "NG spring", "23847391234560")
    assert (found.ad_set, found.ad_set_id) == ("lookalike", "23847391234561")
    assert (found.ad, found.ad_id) == ("video 7", "23847391234562")


@pytest.mark.parametrize(
    ("changed", "kind", "at"),
    [
        ({}, "install", "1763626530"),
        ({"activity_kind": "reinstall", "created_at": "1763800000"}, "reinstall", "1763800000"),
        (
            {"activity_kind": "reattribution", "reattributed_at": "1763900000", "created_at": "1763900001"},
            "re_attribution",
            "1763900000",
        ),
        (
            {"activity_kind": "reattribution reinstall", "reattributed_at": "1763900000"},
            "re_attribution",
            "1763900000",
        ),
    ],
)
def test_each_coming_has_its_own_moment(changed: Any, kind: str, at: str) -> None:
    found = came(feed("adjust"), INSTALLED, **changed)

    assert (found.kind, found.at_us) == (kind, int(at) * 1_000_000)
    assert found.dated


def test_a_later_claim_is_about_the_same_install_and_told_later() -> None:
    update = came(
        feed("adjust"),
        INSTALLED,
        activity_kind="attribution_update",
        attribution_updated_at="1763630000",
        network_name="Facebook Installs",
    )
    before = came(feed("adjust"), INSTALLED)

    assert (update.kind, update.at_us) == (AttributionKind.INSTALL, before.at_us)
    assert before.told_us < update.told_us == 1_763_630_000_000_000


def test_organic_is_told_by_name_or_by_flag() -> None:
    silent = {"network_name": None, "tracker_name": None, "campaign_name": None}

    assert came(feed("adjust"), INSTALLED, network_name="Organic").ad.organic
    assert came(feed("adjust"), INSTALLED, **silent, is_organic="1").ad.organic
    assert not came(feed("adjust"), INSTALLED).ad.organic


def test_an_event_is_known_by_its_token_and_by_our_conversion_id() -> None:
    found = recorded(feed("adjust"), EVENT)

    assert (found.name, found.conversion, found.detail) == ("f0ob4r", "c0ffee", "c0ffee")
    assert (found.amount, found.currency) == (Decimal("1250.5"), "NGN")
    assert found.at_us == 1_763_700_000_000_000
    assert found.kind is AttributionKind.INSTALL


def test_an_event_after_a_reattribution_belongs_to_it() -> None:
    assert (
        recorded(feed("adjust"), EVENT, reattributed_at="1763690000").kind is AttributionKind.RE_ATTRIBUTION
    )


@pytest.mark.parametrize(
    "kind", ["click", "impression", "session", "uninstall", "rejected_install", "cost updated"]
)
def test_what_no_report_needs_is_passed_over(kind: str) -> None:
    assert said(feed("adjust"), INSTALLED, activity_kind=kind) is None


def test_the_sandbox_environment_is_passed_over_unless_it_is_wanted() -> None:
    assert said(feed("adjust"), INSTALLED, environment="sandbox") is None
    assert said(feed("adjust", sandbox=True), INSTALLED, environment="sandbox") is not None


def test_a_placeholder_that_was_not_filled_says_nothing() -> None:
    found = came(feed("adjust"), INSTALLED, user_id="{user_id}", gclid="")

    assert (found.user_id, found.click_ids) == ("", {})


def test_values_may_come_as_lists_of_one() -> None:
    listed = {key: [value] for key, value in INSTALLED.items()}

    assert came(feed("adjust"), listed) == came(feed("adjust"), INSTALLED)


def test_an_app_token_is_explained_by_the_settings() -> None:
    tokens = feed("adjust", apps={"abc1def2ghi3": "acme-ios"})

    assert came(tokens, INSTALLED, app_token="ABC1def2ghi3").app == "acme-ios"
    assert came(feed("adjust", app="acme-ng"), INSTALLED, app_id=None, app_token="zzz").app == "acme-ng"


def test_without_any_time_a_coming_is_told_when_it_arrives() -> None:
    found = came(feed("adjust"), INSTALLED, created_at=None, installed_at=None)

    assert (found.at_us, found.told_us, found.dated) == (0, ARRIVED, False)


@pytest.mark.parametrize("field", ["adid", "activity_kind", "app_id"])
def test_what_is_needed_is_named(field: str) -> None:
    with pytest.raises(InputError, match=field):
        said(feed("adjust"), INSTALLED, **{field: None})
