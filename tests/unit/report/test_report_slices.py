"""One way to slice: words, days of the app's own clock, and parts that add up to the whole."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tests.acme import APPS, T0, event, loan, login, phone, source
from tests.unit.report.kept import Kept
from tests.unit.report.world import filled, world

from lendsignal.errors import InputError
from lendsignal.model import App, Device, Event
from lendsignal.report import Tables, bindings, delay, delivery, funnel
from lendsignal.report.slices import KEYS, Slice, facts, slice_of, values_of
from lendsignal.report.vintages import vintages


def minutes(at: datetime) -> float:
    """Minutes after T0, as the words of `acme` have it."""
    return (at.astimezone(UTC) - T0).total_seconds() / 60


def parts(kept: Kept, one: Slice, **options: Any) -> Counter[tuple[str, ...]]:
    """How many events stand in each part."""
    with kept.tables() as tables:
        facts(tables, one, **options)
        return Counter(tuple(part) for (part,) in tables.rows("select part from fact"))


# words


def test_words_become_a_slice() -> None:
    one = slice_of(
        by=["channel,app", "os"],
        where=["country=NG", "channel=meta", "channel=kwai"],
        since="2026-03-01",
        until="2026-03-31",
        every="week",
        binding="first_install",
    )

    assert one.names == ("week", "channel", "app", "os")
    assert one.where == (("country", "NG"), ("channel", "meta"), ("channel", "kwai"))
    assert (one.since, one.until) == (date(2026, 3, 1), date(2026, 3, 31))
    assert one.words == (
        "by channel and app and os and week, country NG, channel meta, channel kwai,"
        " 2026-03-01 to 2026-03-31, first install"
    )


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        ({"by": ["campain"]}, "by", "'campaign'"),
        ({"where": ["chanel=meta"]}, "where", "'channel'"),
        ({"where": ["channel"]}, "where", "channel=meta"),
        ({"every": "weak"}, "every", "'week'"),
        ({"binding": "last-login"}, "binding", "'last_login'"),
        ({"since": "1 March"}, "from", "2026-03-10"),
        ({"since": "2026-03-02", "until": "2026-03-01"}, "from", "lies after"),
        ({"by": ["app", "app"]}, "by", "twice"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest_right_one(
    words: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        slice_of(**words)

    assert refused.value.field == field


def test_a_value_that_nothing_has_is_named_with_the_nearest_that_something_has(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(0, "a"), loan(1)).attribute(("acme-ng", "af-a", "kwai_int", "kw_1"))

    with pytest.raises(InputError, match=r"nothing has media_source 'kwai'.*Did you mean 'kwai_int'"):
        parts(kept, slice_of(where=["media_source=kwai"]))


# days


def apps_in(zone: str) -> dict[str, App]:
    return {
        **APPS,
        "acme-ng": msgspec.structs.replace(APPS["acme-ng"], timezone=zone),
    }


def kept_in(path: Path, zone: str, *events: Event) -> Kept:
    made = source()
    policy = msgspec.structs.replace(made, derive=msgspec.structs.replace(made.derive, apps=apps_in(zone)))
    return Kept(path, policy).tell(*events)


DISBURSED = "c.type = 'disbursed'"


def test_a_day_that_is_an_hour_short_is_a_day_and_so_is_one_that_is_longer(tmp_path: Path) -> None:
    zone = ZoneInfo("Europe/Berlin")  # 29 March 2026 has 23 hours, 25 October 25
    moments = [
        datetime(2026, 3, 28, 23, 59, tzinfo=zone),
        datetime(2026, 3, 29, 0, 0, tzinfo=zone),
        datetime(2026, 3, 29, 23, 59, tzinfo=zone),
        datetime(2026, 3, 30, 0, 0, tzinfo=zone),
        datetime(2026, 10, 25, 0, 0, tzinfo=zone),
        datetime(2026, 10, 25, 2, 30, tzinfo=zone),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zone),
        datetime(2026, 10, 25, 23, 59, tzinfo=zone),
    ]
    told = [loan(minutes(at), f"L{n}") for n, at in enumerate(moments)]
    kept = kept_in(tmp_path, zone.key, *told)

    days = parts(kept, Slice(every="day"), only=DISBURSED)
    march = parts(kept, Slice(since=date(2026, 3, 29), until=date(2026, 3, 29)), only=DISBURSED)

    assert days == {
        ("2026-03-28",): 1,
        ("2026-03-29",): 2,
        ("2026-03-30",): 1,
        ("2026-10-25",): 4,
    }
    assert march == {(): 2}


@pytest.mark.parametrize(
    ("zone", "last", "first"),
    [  # 18:30 UTC is midnight in India, 18:15 in Nepal
        ("Asia/Kolkata", "18:29", "18:30"),
        ("Asia/Kathmandu", "18:14", "18:15"),
    ],
)
def test_a_day_begins_at_the_half_hour_where_the_zone_has_one(
    tmp_path: Path, zone: str, last: str, first: str
) -> None:
    told = [loan(minutes(datetime.fromisoformat(f"2026-04-01T{at}:00+00:00")), at) for at in (last, first)]

    assert parts(kept_in(tmp_path, zone, *told), Slice(every="day"), only=DISBURSED) == {
        ("2026-04-01",): 1,
        ("2026-04-02",): 1,
    }


def test_weeks_begin_on_monday_and_months_on_the_first(tmp_path: Path) -> None:
    zone = ZoneInfo("Africa/Lagos")
    told = [
        loan(minutes(datetime(2026, month, day, 0, 0, tzinfo=zone)), f"L{month}-{day}")
        for month, day in ((3, 29), (3, 30), (4, 1))  # Sunday, Monday, Wednesday
    ]
    kept = kept_in(tmp_path, zone.key, *told)

    assert parts(kept, Slice(every="week"), only=DISBURSED) == {("2026-03-23",): 1, ("2026-03-30",): 2}
    assert parts(kept, Slice(every="month"), only=DISBURSED) == {("2026-03-01",): 2, ("2026-04-01",): 1}


# keys


def test_every_key_says_what_it_knows_and_what_it_does_not(tmp_path: Path) -> None:
    iphone = Device(appsflyer_id="af-i", idfv="v", os="iOS")
    kept = (
        Kept(tmp_path)
        .tell(
            event("registered", 0, app="acme-ng", device=phone("a", os="android")),
            event("applied", 1, application_id="A1", product="flex"),
            loan(2, "L1", product="flex", loan_number=1),
            event("repaid", 3, payment_id="P1", loan_id="L1"),
            login(4, iphone, app="acme-ios"),
            loan(5, "L2", loan_number=2),
            loan(6, "L3", user_id="u9"),
        )
        .attribute(("acme-ng", "af-a", "kwai_int", "kw_1"))
    )
    found = {key: parts(kept, Slice(by=(key,)), only="c.type in ('disbursed', 'repaid')") for key in KEYS}

    assert found == {
        "channel": {("kwai_int",): 2, ("(not attributed)",): 1, ("(no touch)",): 1},
        "media_source": {("kwai_int",): 2, ("(not attributed)",): 1, ("(no touch)",): 1},
        "campaign": {("kwai_int / kw_1",): 2, ("(not attributed)",): 1, ("(no touch)",): 1},
        "ad_set": {
            ("kwai_int / kw_1 / (no ad set)",): 2,
            ("(not attributed)",): 1,
            ("(no touch)",): 1,
        },
        "brand": {("acme",): 4},
        "app": {("acme-ng",): 3, ("acme-ios",): 1},
        "country": {("NG",): 3, ("PH",): 1},
        "os": {("android",): 2, ("ios",): 1, ("(no touch)",): 1},
        "product": {("flex",): 2, ("(no product)",): 2},  # a repayment is of its loan's product
        "loans": {("first",): 2, ("repeat",): 1, ("unknown",): 1},
        "loan_number": {("1",): 2, ("2",): 1, ("(not told)",): 1},
        "conversion": {  # an event stands under each that it made; the last loan waits for a login
            ("disbursement",): 2,
            ("first_loan",): 1,
            ("repeat_loan",): 1,
            ("repayment",): 1,
            ("(no conversion)",): 1,
        },
    }


def test_an_event_counts_once_where_a_conversion_is_only_asked_for(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(0, "a"), loan(1, loan_number=1), loan(2, "L2", loan_number=2))
    both = (("conversion", "disbursement"), ("conversion", "first_loan"))

    assert parts(kept, Slice(where=both), only=DISBURSED) == {(): 2}
    assert parts(kept, Slice(where=both[1:]), only=DISBURSED) == {(): 1}


# every report


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    kept = filled(tmp_path_factory.mktemp("slices"), world(users=250, days=45))
    with kept.tables() as tables:
        yield tables


WHOLE: dict[str, tuple[Any, str]] = {
    "funnel": (lambda tables, one: funnel(tables, one).money, "events"),
    "bindings": (lambda tables, one: bindings(tables, one).moved, "events"),
    "delivery": (lambda tables, one: delivery(tables, one).destinations, "planned"),
    "delay": (lambda tables, one: delay(tables, None, one).proxy, "conversions"),
    "vintages": (lambda tables, one: vintages(tables, one).vintages, "loans"),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize(
    "one",
    [
        Slice(by=("os",)),
        Slice(by=("app",), every="week"),
        Slice(every="day"),
        Slice(by=("product", "country"), every="month"),
    ],
    ids=lambda one: "-".join(one.names),
)
def test_parts_of_a_report_add_up_to_the_whole(made_up: Tables, name: str, one: Slice) -> None:
    make, column = WHOLE[name]
    if name == "vintages":
        one = msgspec.structs.replace(one, every="week")
    whole = sum(row[column] for row in make(made_up, Slice()).records())

    assert sum(row[column] for row in make(made_up, one).records()) == whole > 0


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_asked_for_by_itself_is_what_its_row_says(made_up: Tables, name: str) -> None:
    make, column = WHOLE[name]
    apps = [app for app in values_of(made_up, "app") if app.startswith("acme")]
    alone = {
        app: sum(row[column] for row in make(made_up, Slice(where=(("app", app),))).records()) for app in apps
    }
    rows: list[dict[str, Any]]
    if name == "vintages":
        rows = [
            one
            for one in vintages(made_up, Slice(by=("app",))).campaigns.records()
            if one["measure"] == "7dpd"
        ]
    else:
        rows = make(made_up, Slice(by=("app",))).records()
    sliced: Counter[str] = Counter()
    for row in rows:
        sliced[str(row["app"])] += row[column]

    assert {app: n for app, n in sliced.items() if app in apps} == {app: n for app, n in alone.items() if n}
