"""Files of attribution: raw data in the dresses that exports have, taken once however often they are read."""

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.source.feeds.feeding import ARRIVED, SHARED, feed, utc, written

from lendsignal.errors import InputError
from lendsignal.log import Feeds, open_feeds
from lendsignal.model.attribution import Recorded
from lendsignal.source.feeds import Brought, import_attribution
from lendsignal.source.feeds.table import read_table

SAMPLE = SHARED / "data/appsflyer_rawdata_sample"
needs_sample = pytest.mark.skipif(
    not SAMPLE.exists(), reason=f"no sample of raw data in {'/'.join(SAMPLE.parts[-3:])}: nothing to read"
)

INSTALLS = """\
Attributed Touch Type,Attributed Touch Time,Install Time,Event Time,Event Name,Event Value,Media Source,\
Campaign,Campaign ID,Adset,Adset ID,Ad,Ad ID,AppsFlyer ID,App ID,Customer User ID,Is Retargeting,Original URL
click,2026-11-20 08:00:00,2026-11-20 08:15:30,2026-11-20 08:15:30,install,,Facebook Ads,NG spring,2384,look,\
2385,video,2386,af-1,com.acme.loans,u-1,FALSE,https://app.example/x?fbclid=F1
,,2026-11-20 09:00:00,2026-11-20 09:00:00,install,,organic,,,,,,,af-2,com.acme.loans,,false,
click,11/20/2026 10:00,11/20/2026 10:15,11/20/2026 10:15,re-engagement,,googleadwords_int,NG back,171,,,,,\
af-1,com.acme.loans,u-1,TRUE,
"""


@contextmanager
def store(folder: Path) -> Iterator[Feeds]:
    feeds = open_feeds(folder / "feeds.sqlite")
    try:
        yield feeds
    finally:
        feeds.close()


def brought(folder: Path, path: Path, now_us: int = ARRIVED, **settings: Any) -> Brought:
    with store(folder) as feeds:
        return import_attribution(feeds, path, feed(**settings), now_us)


def test_a_file_with_the_consoles_headings_is_read_by_them(tmp_path: Path) -> None:
    found = brought(tmp_path, written(tmp_path / "installs.csv", INSTALLS))

    assert found.taken == {"install": 2, "re_engagement": 1}
    with store(tmp_path) as feeds:
        kept = [(one.id, one.kind.value, one.ad.channel, one.at_us) for one in feeds.attributions()]
    assert kept == [
        ("af-1", "install", "meta", utc(2026, 11, 20, 8, 15, 30)),
        ("af-1", "re_engagement", "google", utc(2026, 11, 20, 10, 15)),
        ("af-2", "install", "organic", utc(2026, 11, 20, 9)),
    ]


@pytest.mark.parametrize(
    ("name", "dressed"),
    [
        ("bom.csv", lambda text: ("\ufeff" + text).encode()),
        ("excel.csv", lambda text: text.replace(",", "\t").encode("utf-16")),
        ("german.csv", lambda text: text.replace(",", ";").encode()),
        ("packed.csv.gz", lambda text: gzip.compress(text.encode())),
        ("windows.csv", lambda text: text.replace("\n", "\r\n").encode()),
        ("snake.csv", lambda text: text.replace("Media Source", "media_source").encode()),
    ],
)
def test_the_dress_of_a_file_changes_nothing(tmp_path: Path, name: str, dressed: Any) -> None:
    (tmp_path / name).write_bytes(dressed(INSTALLS))

    assert brought(tmp_path, tmp_path / name).taken == {"install": 2, "re_engagement": 1}


def test_renamed_and_reordered_headings_are_explained_by_the_settings(tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(INSTALLS)))
    names = {"Media Source": "Quelle der Medien", "AppsFlyer ID": "设备"}
    text = io.StringIO()
    csv.writer(text).writerows(
        [
            [names.get(cell, cell) for cell in reversed(row)] if n == 0 else row[::-1]
            for n, row in enumerate(rows)
        ]
    )
    columns = {renamed: ours for ours, renamed in names.items()}
    found = brought(tmp_path, written(tmp_path / "other.csv", text.getvalue()), columns=columns)

    assert found.taken == {"install": 2, "re_engagement": 1}


def test_a_file_read_twice_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "installs.csv", INSTALLS)
    brought(tmp_path, path)
    with store(tmp_path) as feeds:
        first = list(feeds.attributions())
    brought(tmp_path, path, ARRIVED + 86_400_000_000)

    with store(tmp_path) as feeds:
        assert list(feeds.attributions()) == first
        assert feeds.counts().attributions == 3


def test_times_without_a_zone_are_in_the_feeds_own(tmp_path: Path) -> None:
    brought(tmp_path, written(tmp_path / "installs.csv", INSTALLS), timezone="Africa/Lagos")

    with store(tmp_path) as feeds:
        assert next(feeds.attributions()).at_us == utc(2026, 11, 20, 7, 15, 30)


def test_a_row_that_cannot_be_taken_is_counted_and_the_others_are_taken(tmp_path: Path) -> None:
    broken = INSTALLS.replace("2026-11-20 09:00:00,2026", "########,2026").replace(
        "11/20/2026 10:15,re", "x,re"
    )
    found = brought(tmp_path, written(tmp_path / "installs.csv", broken))

    assert found.rows == 3
    assert found.taken == {"install": 1, "re_engagement": 1}
    assert [(one.row, one.field) for one in found.first_refused] == [(2, "install_time")]


def test_what_a_platform_recorded_twice_is_seen_once_with_its_copies(tmp_path: Path) -> None:
    head = (
        "event_name,event_time,event_value,event_revenue,event_revenue_currency,appsflyer_id,app_id,"
        "is_primary_attribution"
    )
    value = '"{""af_order_id"":""c0ffee""}"'
    rows = [
        f"ev_ln,2026-11-20 10:00:00,{value},5.5,USD,af-1,com.acme.loans,TRUE",
        f"ev_ln,2026-11-20 10:00:00,{value},5.5,USD,af-1,com.acme.loans,TRUE",
        f"ev_ln,2026-11-20 10:00:00,{value},5.5,USD,af-1,com.acme.loans,FALSE",
        'ev_ln,2026-11-20 10:00:00,"{""af_order_id"":""decaf""}",5.5,USD,af-1,com.acme.loans,TRUE',
    ]
    path = written(tmp_path / "events.csv", "\n".join([head, *rows]))

    for _ in range(2):
        brought(tmp_path, path)
        with store(tmp_path) as feeds:
            kept = {one.conversion: (one.copies, one.primary) for one in feeds.recorded()}
        # The third row is the same event, counted under an older attribution: no copy.
        assert kept == {"c0ffee": (2, True), "decaf": (1, True)}


def test_a_dry_run_reads_everything_and_keeps_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "installs.csv", INSTALLS)

    assert import_attribution(None, path, feed(), ARRIVED).taken == {"install": 2, "re_engagement": 1}
    assert not (tmp_path / "feeds.sqlite").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", b""), ("b.csv", b"one\ntwo\n"), ("c.csv.gz", b"no gzip"), ("d.csv", b"a,b\n\xff\xfe\xfa,1")],
)
def test_what_is_no_table_is_refused_whole(tmp_path: Path, name: str, text: bytes) -> None:
    (tmp_path / name).write_bytes(text)

    with pytest.raises(InputError, match="file"):
        list(read_table(tmp_path / name))


# the published sample


def column(path: Path, name: str) -> Sequence[str]:
    """One column of a file, the slow way."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return [row[name] for row in csv.DictReader(lines)]


@needs_sample
def test_the_samples_installs_have_the_sources_that_its_column_has(tmp_path: Path) -> None:
    path = SAMPLE / "installs_masked.csv"
    found = brought(tmp_path, path, app="acme-ios", apps=sample_apps(path))

    with store(tmp_path) as feeds:
        kept = [one.ad.media_source for one in feeds.attributions()]
    assert found.taken == {"install": len(column(path, "media_source"))}
    assert sorted(kept) == sorted(column(path, "media_source"))


@needs_sample
def test_the_samples_events_lost_their_times_in_a_spreadsheet_and_are_refused_one_by_one(
    tmp_path: Path,
) -> None:
    path = SAMPLE / "in_app_events_masked.csv"
    found = brought(tmp_path, path, apps=sample_apps(path))

    assert found.refused == {
        "event_time: is no time: write 2026-11-22 08:00:00, or seconds since 1970": len(
            column(path, "event_time")
        )
    }


@needs_sample
def test_the_samples_events_are_read_where_their_times_are_whole(tmp_path: Path) -> None:
    path = SAMPLE / "in_app_events_masked.csv"
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows: list[Mapping[str, str]] = list(csv.DictReader(lines))
    mended = tmp_path / "mended.csv"
    with mended.open("w", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "event_time": f"2021-02-11 17:{n:02}:00"} for n, row in enumerate(rows))
    brought(tmp_path, mended, apps=sample_apps(path))

    with store(tmp_path) as feeds:
        kept: list[Recorded] = sorted(feeds.recorded(), key=lambda one: one.at_us)
    assert [one.name for one in kept] == list(column(path, "event_name"))
    assert [one.ad.media_source for one in kept] == list(column(path, "media_source"))
    assert [one.primary for one in kept] == [
        word != "FALSE" for word in column(path, "is_primary_attribution")
    ]
    assert all(one.ad.campaign_id == "" for one in kept if one.ad.media_source == "googleadwords_int")


def sample_apps(path: Path) -> dict[str, str]:
    return dict.fromkeys(column(path, "app_id"), "acme-ng")
