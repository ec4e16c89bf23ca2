"""Any other MMP, by our own names or by the lender's mapping."""

from decimal import Decimal

import pytest
from tests.unit.source.feeds.feeding import came, feed, recorded, said, utc

from lendsignal.errors import InputError

PLAIN = {
    "appsflyer_id": "af-1",
    "firebase_app_instance_id": "fb-1",
    "app": "acme-ng",
    "install_time": "2026-11-20T09:15:30+01:00",
    "media_source": "kwai_int",
    "campaign": "kw_2",
    "is_retargeting": "0",
}


def test_our_own_names_need_no_mapping() -> None:
    found = came(feed("generic"), PLAIN)

    assert (found.app, found.id, found.at_us) == ("acme-ng", "af-1", utc(2026, 11, 20, 8, 15, 30))
    assert (found.ad.channel, found.ad.media_source, found.ad.campaign) == ("kwai", "kwai_int", "kw_2")
    assert found.kind == "install"
    assert came(feed("generic"), PLAIN, is_retargeting="1").kind == "re_attribution"


def test_a_mapping_explains_columns_and_words() -> None:
    mapped = feed(
        "generic",
        mmp="kochava",
        app="acme-ng",
        columns={
            "Kochava Device ID": "id",
            "Ereignis": "kind",
            "安装时间": "install_time",
            "Network": "media_source",
        },
        kinds={"Neu": "install", "Rückkehr": "re_engagement", "klick": "ignore"},
        timezone="Africa/Lagos",
    )
    row = {
        "Kochava Device ID": "KA1",
        "Ereignis": "rückkehr",
        "安装时间": "2026-11-20 09:15:30",
        "network": "Meta",
    }
    found = came(mapped, row)

    assert (found.mmp, found.id, found.kind, found.ad.channel) == ("kochava", "KA1", "re_engagement", "meta")
    assert found.at_us == utc(2026, 11, 20, 8, 15, 30)  # Lagos is an hour ahead of UTC
    assert said(mapped, row, Ereignis="Klick") is None


def test_an_event_name_makes_a_recorded_event() -> None:
    row = {
        "id": "KA1",
        "app": "acme-ng",
        "event_name": "ev_ln",
        "time": "1763700000123",
        "amount": "5",
        "currency": "usd",
    }
    found = recorded(feed("generic"), row, conversion_id="c0ffee")

    assert (found.name, found.conversion, found.at_us) == ("ev_ln", "c0ffee", 1_763_700_000_123_000)
    assert (found.amount, found.currency) == (Decimal(5), "USD")


def test_an_unexplained_word_is_refused() -> None:
    with pytest.raises(InputError, match="kinds"):
        said(feed("generic"), PLAIN, kind="Neu")


def test_an_id_is_needed() -> None:
    with pytest.raises(InputError, match="id: is needed"):
        said(feed("generic"), PLAIN, appsflyer_id=None, firebase_app_instance_id=None)
