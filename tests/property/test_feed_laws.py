"""Laws of feeds: order and repetition change nothing, and nothing that anybody sends breaks a reader."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.acme import APPS

from lendsignal.errors import InputError
from lendsignal.log import open_feeds
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded
from lendsignal.model.rates import Rate, Rates
from lendsignal.source.feeds import Feed, FeedSettings, SpendFeed, SpendSettings, fact_of
from lendsignal.source.feeds.spend import Names, cost_of

ADS = [Ad(channel=name, media_source=f"{name}_int", campaign=f"{name} 1") for name in ("meta", "tiktok")]

sayings = st.builds(
    Attribution,
    feed=st.just("mmp"),
    mmp=st.just("adjust"),
    app=st.just("acme-ng"),
    id=st.sampled_from(["a", "b"]),
    kind=st.sampled_from(AttributionKind),
    at_us=st.sampled_from([0, 1_000_000, 1_400_000, 2_000_000]),
    told_us=st.integers(1, 6),
    dated=st.just(True),
    ad=st.sampled_from(ADS),
)
recordings = st.builds(
    Recorded,
    feed=st.just("mmp"),
    mmp=st.just("adjust"),
    app=st.just("acme-ng"),
    id=st.sampled_from(["a", "b"]),
    name=st.sampled_from(["ev_ln", "ev_r"]),
    at_us=st.just(1_000_000),
    detail=st.sampled_from(["c1", "c2"]),
    copies=st.integers(1, 3),
)


def standing(facts: Sequence[Attribution | Recorded]) -> tuple[list[Any], list[Any]]:
    """What holds once all of these were told, in this order."""
    with tempfile.TemporaryDirectory() as folder:
        feeds = open_feeds(Path(folder) / "feeds.sqlite")
        try:
            for fact in facts:
                feeds.take([fact])
            kept = [
                (one.id, one.kind, one.at_us // 1_000_000, one.told_us, one.ad)
                for one in feeds.attributions()
            ]
            seen = [(one.id, one.name, one.copies) for one in feeds.recorded()]
            return sorted(kept, key=str), sorted(seen)
        finally:
            feeds.close()


@given(st.data(), st.lists(st.one_of(sayings, recordings), max_size=8))
def test_order_and_repetition_of_what_is_told_change_nothing(
    data: st.DataObject, facts: list[Attribution | Recorded]
) -> None:
    again = data.draw(st.permutations(facts + facts[: len(facts) // 2]))

    assert standing(again) == standing(facts)


texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["1763626530", "2026-11-20 08:15:30", "1/21/2021 23:30", "NaN", "1e99999", "{adid}", "-0", "9" * 17]
    ),
)
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.lists(texts, max_size=2))
NAMES = (
    "app_id appsflyer_id event_name event_time install_time event_value event_revenue event_revenue_currency"
    " media_source campaign af_c_id is_retargeting retargeting_conversion_type original_url adid"
    " activity_kind created_at installed_at reattributed_at network_name tracker_name event"
    " revenue_float currency click_referer id app kind time amount told_at environment"
).split()
BASE = {
    "app_id": "com.acme.loans",
    "app": "acme-ng",
    "appsflyer_id": "af-1",
    "adid": "a1",
    "activity_kind": "event",
    "event": "f0ob4r",
    "event_name": "ev_ln",
    "event_time": "1763626530",
    "created_at": "1763626530",
    "time": "1763626530",
}


@given(
    st.sampled_from(["appsflyer", "adjust", "generic"]),
    st.dictionaries(st.sampled_from(NAMES), values, max_size=12),
    st.booleans(),
)
@example("appsflyer", {"event_value": "[" * 5_000}, True)
@example("appsflyer", {"event_value": '{"af_revenue": {"a": 1}}'}, True)
@example("appsflyer", {"event_name": "install", "original_url": "https://[broken?gclid=1"}, True)
@example("adjust", {"revenue_float": "9" * 40}, True)
def test_nothing_that_is_sent_breaks_a_reader(kind: str, message: dict[str, Any], whole: bool) -> None:
    feed = Feed("mmp", FeedSettings(kind=kind), APPS)  # type: ignore[arg-type]
    with suppress(InputError):
        fact_of(feed, {**(BASE if whole else {}), **message}, 1)


@given(
    st.sampled_from(["google_ads", "meta", "tiktok", "snap", "apple", "generic"]),
    st.dictionaries(
        st.sampled_from("date day spend cost_micros cost currency campaign_id id clicks".split()), texts
    ),
)
def test_no_row_of_cost_breaks_its_reader(kind: str, row: dict[str, str]) -> None:
    feed = SpendFeed("ads", SpendSettings(kind=kind, currency="NGN"))  # type: ignore[arg-type]
    with suppress(InputError):
        cost_of(feed, Names(), row)


days = st.integers(0, 30).map(lambda n: date(2026, 11, 1) + timedelta(days=n))


@given(st.dictionaries(days, st.integers(1, 9), max_size=6), days, st.integers(0, 12))
def test_a_rate_is_the_latest_that_is_not_too_old(known: dict[date, int], day: date, good_for: int) -> None:
    rates = [Rate(day=one, base="USD", quote="NGN", rate=Decimal(rate)) for one, rate in known.items()]
    slow = [one for one in sorted(known) if one <= day and (day - one).days <= good_for]

    found = Rates(rates, timedelta(days=good_for)).at(day, "USD", "NGN")

    assert found == (known[slow[-1]] if slow else None)
