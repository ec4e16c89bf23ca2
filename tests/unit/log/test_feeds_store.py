"""The store of feeds: facts once, corrections beside what they correct, whole or not at all."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lendsignal.errors import NotYet
from lendsignal.log import Feeds, open_feeds
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded, Spend

META = Ad(channel="meta", media_source="Facebook Ads", campaign="spring", campaign_id="2384")
TIKTOK = Ad(channel="tiktok", media_source="bytedanceglobal_int", campaign="video", campaign_id="171")

INSTALL = Attribution(
    feed="mmp",
    mmp="appsflyer",
    app="acme-ng",
    id="af-1",
    at_us=1_000_000_250_000,
    told_us=2_000_000_000_000,
    ad=META,
    touch="click",
    touch_us=999_000_000_000,
    user_id="u-1",
    click_ids={"fbclid": "F1"},
)
EVENT = Recorded(
    feed="mmp",
    mmp="appsflyer",
    app="acme-ng",
    id="af-1",
    name="ev_ln",
    at_us=1_500_000_000_000,
    conversion="c0ffee",
    amount=Decimal("41.25"),
    currency="USD",
    sent_by="S2S",
    ad=META,
    user_id="u-1",
    detail="c0ffee",
)

KEPT = replace(EVENT, detail="")
"""What tells an event apart is part of its key, and not kept beside it."""


@pytest.fixture
def feeds(tmp_path: Path) -> Iterator[Feeds]:
    found = open_feeds(tmp_path / "feeds.sqlite")
    yield found
    found.close()


def later(one: Attribution, **changed: Any) -> Attribution:
    return replace(one, told_us=one.told_us + 1_000_000, **changed)


def test_what_goes_in_comes_out(feeds: Feeds) -> None:
    feeds.take([INSTALL, EVENT])

    assert list(feeds.attributions()) == [INSTALL]
    assert list(feeds.recorded()) == [KEPT]


def test_a_fact_taken_again_changes_nothing(feeds: Feeds) -> None:
    feeds.take([INSTALL, EVENT])
    feeds.take([later(INSTALL), EVENT, EVENT])

    assert list(feeds.attributions()) == [INSTALL]
    assert list(feeds.recorded()) == [KEPT]


def test_a_file_to_the_second_tells_of_the_same_install_as_a_message_to_the_millisecond(feeds: Feeds) -> None:
    feeds.take([INSTALL])
    feeds.take([later(INSTALL, at_us=1_000_000_000_000)])

    assert feeds.counts().attributions == 1


def test_what_is_told_differently_later_holds_and_the_history_stays(feeds: Feeds) -> None:
    feeds.take([later(INSTALL, ad=TIKTOK), INSTALL])

    assert [one.ad for one in feeds.attributions()] == [TIKTOK]
    assert [ad for _, ad in feeds.history("acme-ng", "af-1")] == [META, TIKTOK]


def test_an_old_file_read_again_does_not_win_back_what_was_corrected(feeds: Feeds) -> None:
    feeds.take([INSTALL, later(INSTALL, ad=TIKTOK)])
    feeds.take([later(later(INSTALL))])

    assert [one.ad for one in feeds.attributions()] == [TIKTOK]


def test_an_mmp_that_dates_its_word_may_go_back_to_what_it_said(feeds: Feeds) -> None:
    dated = replace(INSTALL, dated=True)
    feeds.take([dated, later(dated, ad=TIKTOK), later(later(dated))])

    assert [one.ad for one in feeds.attributions()] == [META]


def test_a_re_engagement_stands_beside_the_install(feeds: Feeds) -> None:
    back = replace(INSTALL, kind=AttributionKind.RE_ENGAGEMENT, at_us=1_700_000_000_000, ad=TIKTOK)
    feeds.take([back, INSTALL])

    assert [one.kind for one in feeds.attributions()] == ["install", "re_engagement"]


def test_an_event_counted_under_two_attributions_keeps_the_primary_one(feeds: Feeds) -> None:
    second = replace(EVENT, primary=False, ad=TIKTOK)
    feeds.take([second, EVENT, second])

    (found,) = feeds.recorded()
    assert (found.primary, found.ad) == (True, META)


def test_events_of_one_second_are_told_apart_by_their_detail(feeds: Feeds) -> None:
    feeds.take([EVENT, replace(EVENT, conversion="decaf", detail="decaf")])

    assert {one.conversion for one in feeds.recorded()} == {"c0ffee", "decaf"}


def test_facts_are_taken_all_or_none(feeds: Feeds) -> None:
    broken = replace(INSTALL, id="af-2", at_us=2**80)
    with pytest.raises(OverflowError):
        feeds.take([INSTALL, replace(EVENT, ad=TIKTOK), broken])
    feeds.take([replace(EVENT, ad=TIKTOK)])

    assert list(feeds.attributions()) == []
    assert [one.ad for one in feeds.recorded()] == [TIKTOK]


def test_any_number_of_facts_is_taken(feeds: Feeds) -> None:
    feeds.take_many(replace(INSTALL, id=f"af-{n}") for n in range(12_001))

    assert feeds.counts().attributions == 12_001


def test_costs_of_one_day_and_ad_are_added_up(feeds: Feeds) -> None:
    hour = Spend(
        feed="ads",
        account="a1",
        day=date(2026, 11, 20),
        ad=META,
        amount=Decimal("0.1"),
        currency="USD",
        country="NG",
        impressions=3,
        clicks=2,
    )
    feeds.replace_days([hour, replace(hour, amount=Decimal("0.2"))])

    assert list(feeds.spend()) == [replace(hour, amount=Decimal("0.3"), impressions=6, clicks=4)]


def test_two_who_write_see_each_others_ads(tmp_path: Path) -> None:
    one, other = open_feeds(tmp_path / "feeds.sqlite"), open_feeds(tmp_path / "feeds.sqlite")
    one.take([INSTALL])
    other.take([replace(INSTALL, id="af-2"), EVENT])

    assert [found.ad for found in one.attributions()] == [META, META]
    one.close()
    other.close()


def test_a_store_that_is_only_read_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotYet):
        open_feeds(tmp_path / "feeds.sqlite", read_only=True)
