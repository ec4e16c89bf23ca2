"""Which ids the active users are known by, what they consented to, and which destinations reach them."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tests.acme import DAY, consent_of, event, loan, login, phone
from tests.unit.report.kept import Kept

from lendsignal.log import Log, open_log
from lendsignal.model import ZERO_ID, Contact, Device, Event, IdKind, SkipReason, id_of, is_touch
from lendsignal.report import Known, Reach, coverage
from lendsignal.report.rates import wilson
from lendsignal.simulate import Parameters, events, make
from lendsignal.simulate.parameters import Arrivals, Period, Phones


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    one = open_log(tmp_path / "log.sqlite")
    yield one
    one.close()


def test_an_empty_log_has_no_users(log: Log) -> None:
    found = coverage(log)

    assert (found.users, found.as_of, found.ids.rows, found.versions.rows) == (0, None, (), ())


def test_each_user_counts_once_by_the_latest_login_within_the_days(log: Log) -> None:
    old, new = Device(gaid="g1", app_version="1"), Device(appsflyer_id="a1", gaid=ZERO_ID, app_version="2")
    log.append(
        [
            login(0, Device(gaid="g9", app_version="1"), user_id="long-gone"),
            login(40 * DAY, old, user_id="u1"),
            login(50 * DAY, new, user_id="u1"),
            login(45 * DAY, Device(gaid="g2", app_version="2"), user_id="u2"),
            login(46 * DAY, Device(os="ios"), user_id="u3", app="acme-ios", flags=("unusable_idfv",)),
            login(51 * DAY, Device(gaid="g3"), user_id="u1", actor="agent"),
            loan(52 * DAY),
        ]
    )

    found = coverage(log, days=30)

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


def test_fewer_days_leave_out_who_was_away(log: Log) -> None:
    log.append([login(0, Device(gaid="g1"), user_id="u1"), login(10 * DAY, Device(gaid="g2"), user_id="u2")])

    assert (coverage(log, days=5).users, coverage(log, days=11).users) == (1, 2)


def test_versions_and_systems_have_the_share_of_each_id(log: Log) -> None:
    log.append(
        [
            login(0, Device(gaid="g1", os="android", os_version="14.0.1", app_version="2.1"), user_id="u1"),
            login(1, Device(gaid=ZERO_ID, os="android", os_version="14.2", app_version="2.2"), user_id="u2"),
            login(2, Device(gaid="g3", os="android", os_version="9", app_version="2.2"), user_id="u3"),
            login(3, Device(idfv="v4", app_version="2.2"), user_id="u4", app="acme-ios"),
        ]
    )

    found = coverage(log)

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
    found = coverage(
        town(tmp_path).log,
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
        coverage(kept.log, destinations=reach, unasked={"acme-ng": answer}) for answer in (True, False)
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
    coverage(kept.log, destinations={"ads": Reach("meta", "acme-ng", tried)})

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

    found = coverage(kept.log)

    assert found.users == len(last) > 100
    for row in found.ids.records():
        app, name = row["app"], row["id"]
        assert (row["users"], row["with_id"]) == (users[str(app)], have[str(app), str(name)])
    assert len(found.ids.rows) == len({*have})


def test_the_days_are_counted_from_the_youngest_arrival_whatever_was_appended_last(log: Log) -> None:
    log.append([login(50 * DAY, "now", user_id="u1"), login(0, "past", user_id="u2"), loan(1)])

    found = coverage(log)

    assert (found.users, found.as_of) == (1, login(50 * DAY, "now").received_at)
