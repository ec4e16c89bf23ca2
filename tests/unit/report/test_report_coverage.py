"""Which ids the active users are known by, what they consented to, and which destinations reach them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from tests.acme import APPS, DAY, T0, consent_of, event, loan, login, moment, phone, source
from tests.unit.report.kept import Kept
from tests.unit.report.test_report_archived import archive

from lendsignal.model import ZERO_ID, Contact, Device, Event, IdKind, SkipReason, id_of, is_touch
from lendsignal.report import Coverage, Known, Reach, coverage, load
from lendsignal.report.rates import wilson
from lendsignal.report.slices import EVERYTHING, Slice
from lendsignal.simulate import Parameters, events, make
from lendsignal.simulate.parameters import Arrivals, Period, Phones


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    one = Kept(tmp_path)
    yield one
    one.log.close()


def covered(kept: Kept, one: Slice = EVERYTHING, **options: Any) -> Coverage:
    with kept.tables() as tables:
        return coverage(tables, one, log=kept.log, **options)


def test_an_empty_log_has_no_users(kept: Kept) -> None:
    found = covered(kept)

    assert (found.users, found.as_of, found.ids.rows, found.versions.rows) == (0, None, (), ())


def test_each_user_counts_once_by_the_latest_login_within_the_days(kept: Kept) -> None:
    old, new = Device(gaid="g1", app_version="1"), Device(appsflyer_id="a1", gaid=ZERO_ID, app_version="2")
    kept.tell(
        *[
            login(0, Device(gaid="g9", app_version="1"), user_id="long-gone"),
            login(40 * DAY, old, user_id="u1"),
            login(50 * DAY, new, user_id="u1"),
            login(45 * DAY, Device(gaid="g2", app_version="2"), user_id="u2"),
            login(46 * DAY, Device(os="ios"), user_id="u3", app="acme-ios", flags=("unusable_idfv",)),
            login(51 * DAY, Device(gaid="g3"), user_id="u1", actor="agent"),
            loan(52 * DAY),
        ]
    )

    found = covered(kept, days=30)

    assert found.users == 3
    rows = {(row["app"], row["id"]): row for row in found.ids.records()}
    assert set(rows) == {("acme-ng", "appsflyer_id"), ("acme-ng", "gaid"), ("acme-ios", "idfv")}
    gaid, idfv = rows["acme-ng", "gaid"], rows["acme-ios", "idfv"]
    assert [gaid[name] for name in ("users", "with_id", "share", "zeros", "unusable")] == [2, 1, 0.5, 1, 0]
    assert [idfv[name] for name in ("users", "with_id", "share", "zeros", "unusable")] == [1, 0, 0.0, 0, 1]
    versions = {(row["app"], row["version"]): row for row in found.versions.records()}
    assert versions["acme-ng", "2"]["users"] == 2
    assert versions["acme-ng", "2"]["appsflyer_id"] == 0.5
    assert versions["acme-ios", "not told"]["idfv"] == 0.0
    assert ("acme-ng", "1") not in versions


def test_fewer_days_leave_out_who_was_away(kept: Kept) -> None:
    kept.tell(*[login(0, Device(gaid="g1"), user_id="u1"), login(10 * DAY, Device(gaid="g2"), user_id="u2")])

    assert (covered(kept, days=5).users, covered(kept, days=11).users) == (1, 2)


def test_versions_and_systems_have_the_share_of_each_id(kept: Kept) -> None:
    kept.tell(
        *[
            login(0, Device(gaid="g1", os="android", os_version="14.0.1", app_version="2.1"), user_id="u1"),
            login(1, Device(gaid=ZERO_ID, os="android", os_version="14.2", app_version="2.2"), user_id="u2"),
            login(2, Device(gaid="g3", os="android", os_version="9", app_version="2.2"), user_id="u3"),
            login(3, Device(idfv="v4", app_version="2.2"), user_id="u4", app="acme-ios"),
        ]
    )

    found = covered(kept)

    assert [
        tuple(row[name] for name in ("app", "os", "os_version", "users", "gaid"))
        for row in found.systems.records()
    ] == [
        ("acme-ios", "not told", "not told", 1, 0.0),
        ("acme-ng", "android", "14", 2, 0.5),
        ("acme-ng", "android", "9", 1, 1.0),
    ]
    assert {(row["app"], row["version"]): row["gaid"] for row in found.versions.records()} == {
        ("acme-ng", "2.1"): 1.0,
        ("acme-ng", "2.2"): 0.5,
        ("acme-ios", "2.2"): 0.0,
    }


def town(path: Path) -> Kept:
    """`a` allows, `b` forbids, `c` was never asked and has no id that `id_only` wants, `d` is known by e-mail
    alone, `e` is a test user, `f` moved to the iPhone app, `g` has not been here for long."""
    contacts = (
        event("contacted", 6, user_id=name, event_id=f"c-{name}", contact=Contact(email=name * 64))
        for name in "ad"
    )
    return Kept(path).tell(
        login(-40 * DAY, "g", user_id="g"),
        login(0, "a", user_id="a"),
        consent_of(1, True, user_id="a"),
        login(0, "b", user_id="b"),
        consent_of(1, False, user_id="b"),
        login(0, Device(firebase_app_instance_id="fb-c"), user_id="c"),
        login(0, Device(firebase_app_instance_id="fb-d"), user_id="d"),
        *contacts,
        login(0, "e", user_id="e", test=True),
        login(0, "f", user_id="f"),
        login(5, Device(appsflyer_id="af-f2"), user_id="f", app="acme-ios"),
    )


def by_id_or_contact(who: Known) -> SkipReason | None:
    known = who.binding.snapshot.device.gaid or who.contact
    return None if known else SkipReason.NO_DEVICE_ID


def test_a_destination_reaches_whom_it_could_be_told_of(tmp_path: Path) -> None:
    found = covered(
        town(tmp_path),
        destinations={
            "ads": Reach("tiktok", "acme-ng", by_id_or_contact),
            "ios": Reach("snap", "acme-ios", by_id_or_contact),
        },
    )

    rows = {row["destination"]: row for row in found.reaches.records()}
    ads = rows["ads"]
    assert found.users == 5
    assert (ads["users"], ads["could"], ads["no_device_id"], ads["no_consent"], ads["by_contact_alone"]) == (
        4,
        2,
        1,
        1,
        1,
    )
    assert (ads["low"], ads["high"]) == wilson(2, 4)
    assert (rows["ios"]["users"], rows["ios"]["could"], rows["ios"]["no_device_id"]) == (1, 0, 1)


def test_who_was_never_asked_counts_as_the_apps_country_says(tmp_path: Path) -> None:
    kept, reach = town(tmp_path), {"ads": Reach("tiktok", "acme-ng", by_id_or_contact)}

    lenient, strict = (
        covered(kept, destinations=reach, unasked={"acme-ng": answer}) for answer in (True, False)
    )

    names = ("users", "allowed", "forbidden", "not_asked", "may_go")
    assert [tuple(row[name] for name in names) for row in lenient.consents.records()] == [
        (1, 0, 0, 1, 1),
        (4, 1, 1, 2, 3),
    ]
    assert strict.consents.records()[1]["may_go"] == 1
    assert strict.reaches.records()[0]["no_consent"] == 3


def test_a_user_is_told_of_by_the_phone_of_the_last_login_completed_as_in_binding(tmp_path: Path) -> None:
    seen: list[Known] = []

    def tried(who: Known) -> SkipReason | None:
        seen.append(who)
        return None

    kept = Kept(tmp_path).tell(login(0, phone("a")), login(9, Device(appsflyer_id="af-a")), loan(10))
    covered(kept, destinations={"ads": Reach("meta", "acme-ng", tried)})

    assert [(one.user_id, one.binding.snapshot.device.firebase_app_instance_id) for one in seen] == [
        ("u1", "fb-a")
    ]


def test_the_shares_of_a_made_up_lender_are_those_of_a_slow_count(tmp_path: Path) -> None:
    """Slow and obvious: each user's last login in the last 30 days of all that came in."""
    world = make(
        Parameters(
            period=Period(users=300, days=60),
            phones=Phones(ios=0.3, new_phone=0.2, reinstall=0.3, other_platform=0.1),
            arrivals=Arrivals(duplicated=0.02),
        ),
        7,
    )
    told = [msgspec.convert(fields, Event) for fields in events(world)]
    told = [msgspec.structs.replace(one, occurred_at=min(one.occurred_at, one.received_at)) for one in told]
    kept = Kept(tmp_path).tell(*told)
    since = told[-1].received_at - timedelta(days=30)
    testers = {one.user_id for one in told if one.test}
    last: dict[str, Event] = {}
    for one in sorted(told, key=lambda each: (each.occurred_at, each.event_id)):
        if is_touch(one) and one.occurred_at >= since and one.user_id not in testers:
            last[one.user_id] = one
    users = Counter(one.app for one in last.values())
    have = Counter(
        (one.app, kind.value)
        for one in last.values()
        for kind in IdKind
        if one.device is not None and id_of(one.device, kind)
    )

    found = covered(kept)

    assert found.users == len(last) > 100
    for row in found.ids.records():
        app, name = row["app"], row["id"]
        assert (row["users"], row["with_id"]) == (users[str(app)], have[str(app), str(name)])
    assert len(found.ids.rows) == len({*have})


def test_the_days_are_counted_from_the_youngest_arrival_whatever_was_appended_last(kept: Kept) -> None:
    kept.tell(*[login(50 * DAY, "now", user_id="u1"), login(0, "past", user_id="u2"), loan(1)])

    found = covered(kept)

    assert (found.users, found.as_of) == (1, login(50 * DAY, "now").received_at)


# in slices


def came(kept: Kept, *origins: tuple[str, str]) -> Kept:
    """Installations by their AppsFlyer id, each with the media source that brought it."""
    return kept.attribute(*(("acme-ng", name, source, f"{source}_one") for name, source in origins))


def test_a_user_counts_where_the_phone_of_the_latest_login_came_from(kept: Kept) -> None:
    kept.tell(
        login(0, "a", user_id="u1"),
        login(1, "b", user_id="u2"),
        login(2, Device(appsflyer_id="af-c"), user_id="u1"),
    )
    came(kept, ("af-a", "Meta"), ("af-b", "Meta"), ("af-c", "Kwai"))

    by_channel = Slice(by=("channel",))
    last = {(row["channel"], row["id"]): row for row in covered(kept, by_channel).ids.records()}
    first = covered(kept, Slice(by=("channel",), binding="first_install"))

    assert {key: (row["users"], row["with_id"]) for key, row in last.items()} == {
        ("kwai", "appsflyer_id"): (1, 1),
        ("meta", "appsflyer_id"): (1, 1),
        ("meta", "firebase_app_instance_id"): (1, 1),
        ("meta", "gaid"): (1, 1),
    }
    # By the first installation both came from Meta; the phone that u1 shows now has no gaid.
    assert {(row["id"], row["with_id"]) for row in first.ids.records() if row["channel"] == "meta"} == {
        ("appsflyer_id", 2),
        ("firebase_app_instance_id", 1),
        ("gaid", 1),
    }


def test_a_user_counts_in_each_week_by_its_own_last_login(kept: Kept) -> None:
    kept.tell(
        login(0, Device(gaid="g1"), user_id="u1"),  # a Tuesday
        login(2 * DAY, Device(idfv="v1"), user_id="u1"),
        login(7 * DAY, Device(gaid="g1"), user_id="u1"),
        login(8 * DAY, Device(gaid="g2"), user_id="u2"),
    )

    found = covered(kept, Slice(every="week"))

    assert found.users == 2
    assert [
        tuple(row[name] for name in ("week", "id", "users", "with_id")) for row in found.ids.records()
    ] == [
        ("2026-03-09", "idfv", 1, 1),
        ("2026-03-16", "gaid", 2, 2),
    ]


def test_days_of_a_slice_stand_for_the_last_thirty(kept: Kept) -> None:
    kept.tell(login(0, "a", user_id="u1"), login(90 * DAY, "b", user_id="u2"))

    assert covered(kept).users == 1
    assert covered(kept, Slice(until=date(2026, 3, 31))).users == 1
    assert covered(kept, Slice(since=date(2026, 3, 1))).users == 2


def test_the_day_of_a_login_is_that_of_the_app_also_when_the_clock_is_put_forward(tmp_path: Path) -> None:
    # In New York 8 March 2026 has 23 hours: 04:30 UTC of the ninth is half past midnight there.
    zoned = {name: msgspec.structs.replace(app, timezone="America/New_York") for name, app in APPS.items()}
    made = source()
    made = msgspec.structs.replace(made, derive=msgspec.structs.replace(made.derive, apps=zoned))
    kept = Kept(tmp_path, made)
    half_past = (datetime(2026, 3, 9, 4, 30, tzinfo=UTC) - T0) / timedelta(minutes=1)
    kept.tell(login(half_past, "a", user_id="u1"), login(half_past - 31, "b", user_id="u2"))

    rows = covered(kept, Slice(every="day")).versions.records()
    kept.log.close()

    assert [(row["day"], row["users"]) for row in rows] == [("2026-03-08", 1), ("2026-03-09", 1)]


def test_a_login_stands_under_its_users_latest_loan_and_all_their_conversions(kept: Kept) -> None:
    kept.tell(
        login(0, "a", user_id="u1"),
        login(0, "b", user_id="u2"),
        login(0, "c", user_id="u3"),
        loan(1, "L1", user_id="u1", loan_number=1, product="week"),
        loan(2, "L2", user_id="u1", loan_number=2, product="month"),
        loan(3, "L3", user_id="u2", loan_number=1, product="week"),
    )

    def users(one: Slice) -> dict[Any, int]:
        rows = covered(kept, one).versions.records()
        return {row[one.by[0]]: int(str(row["users"])) for row in rows}

    assert users(Slice(by=("loans",))) == {"first": 1, "repeat": 1, "(no loan)": 1}
    assert users(Slice(by=("product",))) == {"week": 1, "month": 1, "(no product)": 1}
    assert users(Slice(by=("app",), where=(("conversion", "first_loan"),))) == {"acme-ng": 2}
    assert users(Slice(by=("conversion",)))["repeat_loan"] == 1


def test_what_a_table_has_apart_already_stands_there_once(kept: Kept) -> None:
    kept.tell(login(0, Device(gaid="g1", os="android"), user_id="u1"))
    found = covered(kept, Slice(by=("os", "app")))

    assert [column.name for column in found.ids.columns][:3] == ["os", "app", "id"]
    assert [column.name for column in found.systems.columns][:4] == ["os", "app", "os_version", "users"]


def test_whom_a_destination_reaches_is_told_by_part_version_and_system(tmp_path: Path) -> None:
    reach = {"ads": Reach("tiktok", "acme-ng", by_id_or_contact)}
    kept = Kept(tmp_path).tell(
        login(0, Device(gaid="g1", app_version="1", os="android", os_version="14.1"), user_id="u1"),
        login(0, Device(appsflyer_id="a2", app_version="2", os="android", os_version="14.2"), user_id="u2"),
        login(0, Device(gaid="g3", app_version="2", os="android", os_version="9"), user_id="u3"),
    )
    found = covered(kept, Slice(by=("country",)), destinations=reach)
    kept.log.close()

    told = [tuple(row[name] for name in ("country", "users", "could")) for row in found.reaches.records()]
    by_version = [
        tuple(row[name] for name in ("country", "destination", "version", "users", "could"))
        for row in found.reaches_by_version.records()
    ]
    by_system = [
        tuple(row[name] for name in ("os", "os_version", "users", "could"))
        for row in found.reaches_by_system.records()
    ]
    assert told == [("NG", 3, 2)]
    assert by_version == [("NG", "ads", "1", 1, 1), ("NG", "ads", "2", 2, 1)]
    assert by_system == [("android", "14", 2, 1), ("android", "9", 1, 1)]


def test_of_many_users_some_are_drawn_and_the_ids_are_of_all(kept: Kept) -> None:
    kept.tell(*(login(n, f"p{n}", user_id=f"u{n}") for n in range(40)))

    found = covered(kept, most=10)

    assert found.users == 40
    assert {row["users"] for row in found.ids.records()} == {40}
    assert [row["users"] for row in found.consents.records()] == [10]
    assert "10 users drawn from all 40" in found.notes[-1]


def test_a_moment_past_knows_the_ids_of_that_moment(kept: Kept) -> None:
    kept.tell(login(0, Device(gaid="g1"), user_id="u1"), login(60, Device(idfv="v1"), user_id="u2"))

    with load(kept.folder, as_of=moment(30)) as tables:
        found = coverage(tables)

    assert [(row["id"], row["users"]) for row in found.ids.records()] == [("gaid", 1)]
    assert "there is no log" in found.notes[0]


def test_when_the_log_has_forgotten_its_events_the_ids_are_those_of_the_archive(kept: Kept) -> None:
    """Thirty days are longer than a log is kept."""
    kept.tell(*(login(n, f"p{n}", user_id=f"u{n}") for n in range(5)))
    before = covered(kept)
    archive(kept.folder)
    with closing(apsw.Connection(str(kept.folder.log))) as log:
        log.execute("delete from event")
        log.execute("delete from verdict")

    after = covered(kept)

    assert after.ids == before.ids
    assert after.consents == before.consents
