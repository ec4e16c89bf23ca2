"""Reinstalls and other phones: against arithmetic, and against the truth of a made-up lender."""

from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.acme import APPS, DAY, login, source
from tests.unit.report.kept import Kept

from lendsignal.model import ZERO_ID, Device, Event, is_touch
from lendsignal.plan import PolicySource
from lendsignal.report import InstallationsReport, installations, load
from lendsignal.report.arrivals import Arrival, arrivals_of
from lendsignal.report.rates import wilson
from lendsignal.report.slices import CAME_KEYS, Slice
from lendsignal.simulate import Parameters, World, events, make
from lendsignal.simulate.parameters import Arrivals, Period, Phones


def reported(kept: Kept) -> InstallationsReport:
    with load(kept.folder) as tables:
        return installations(tables)


def android(name: str, phone: str, **fields: Any) -> Device:
    return Device(appsflyer_id=f"af-{name}", firebase_app_instance_id=f"fb-{name}", gaid=phone, **fields)


def iphone(name: str, phone: str) -> Device:
    return Device(appsflyer_id=f"af-{name}", firebase_app_instance_id=f"fb-{name}", idfv=phone)


def lender(path: Path) -> Kept:
    """`a` stays, `b` reinstalls on the same phone, `c` changes to an iPhone, `d` to another phone with
    tracking off, `e` to one with it on; `f` is a test user; an agent logs in for `a`."""
    return (
        Kept(path)
        .tell(
            login(0, android("a1", "pa"), user_id="a"),
            login(9, android("zz", "px"), user_id="a", actor="agent"),
            login(10, android("a1", "pa"), user_id="a"),
            login(1, android("b1", "pb", adjust_adid="adid-b"), user_id="b"),
            login(7 * DAY, android("b2", "pb", adjust_adid="adid-b"), user_id="b"),
            login(7 * DAY + 5, android("b1", "pb"), user_id="b", event_id="back"),
            login(2, android("c1", "pc"), user_id="c"),
            login(8 * DAY, iphone("c2", "vc"), user_id="c", app="acme-ios"),
            login(3, android("d1", "pd"), user_id="d"),
            login(8 * DAY + 1, android("d2", ZERO_ID), user_id="d"),
            login(4, android("e1", "pe"), user_id="e"),
            login(8 * DAY + 2, android("e2", "pf"), user_id="e"),
            login(5, android("f1", "pg"), user_id="f", test=True),
            login(9 * DAY, android("f2", "pg"), user_id="f"),
        )
        .attribute(
            ("acme-ng", "af-a1", "organic", ""),
            ("acme-ng", "af-b1", "Facebook Ads", "fb_1"),
            ("acme-ng", "af-b2", "Facebook Ads", "fb_back"),
            ("acme-ios", "af-c2", "kwai_int", "kw_1"),
        )
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> InstallationsReport:
    return reported(lender(tmp_path_factory.mktemp("lender")))


def test_an_empty_log_has_no_arrivals(tmp_path: Path) -> None:
    found = reported(Kept(tmp_path))

    assert found.weeks.rows == found.ids.rows == found.reach.rows == ()
    assert [row["users"] for row in found.users.records()] == [0] * 7


def test_users_are_told_apart_by_how_they_came_back(report: InstallationsReport) -> None:
    found = {one["came"]: (one["users"], one["share"], one["arrivals"]) for one in report.users.records()}

    assert found == {
        "one installation": (1, 0.2, 1),
        "reinstall": (1, 0.2, 1),
        "other phone": (1, 0.2, 1),
        "other phone, other platform": (1, 0.2, 1),
        "other phone, other app": (0, 0.0, 0),
        "other app on the same phone": (0, 0.0, 0),
        "phone not known": (1, 0.2, 1),
    }


def test_shares_come_with_wilsons_interval_and_thin_ones_say_so(report: InstallationsReport) -> None:
    one = report.users.records()[0]

    assert (one["low"], one["high"]) == wilson(1, 5)
    assert one["remark"] == "thin"


def test_arrivals_are_counted_in_the_week_and_channel_of_the_new_installation(
    report: InstallationsReport,
) -> None:
    """T0 is a Tuesday: the week is that of 9 March 2026, and seven days later that of the 16th."""
    names = ("arrivals", "first", "reinstalls", "phone_changes", "other_platform", "not_known")
    found = {
        (one["week"], one["channel"]): tuple(one[name] for name in names) for one in report.weeks.records()
    }

    assert found == {
        ("2026-03-09", "organic"): (1, 1, 0, 0, 0, 0),
        ("2026-03-09", "facebook ads"): (1, 1, 0, 0, 0, 0),
        ("2026-03-09", "(not attributed)"): (3, 3, 0, 0, 0, 0),
        ("2026-03-16", "facebook ads"): (1, 0, 1, 0, 0, 0),
        ("2026-03-16", "kwai_int"): (1, 0, 0, 1, 1, 0),
        ("2026-03-16", "(not attributed)"): (2, 0, 0, 1, 0, 1),
    }


def test_by_whatever_arrivals_are_told_apart_they_are_the_same_nine(tmp_path: Path) -> None:
    kept = lender(tmp_path)
    with load(kept.folder) as tables:
        told = {
            key: [
                int(str(one["arrivals"])) for one in installations(tables, Slice(by=(key,))).weeks.records()
            ]
            for key in CAME_KEYS
        }

    assert {key: sum(found) for key, found in told.items()} == dict.fromkeys(CAME_KEYS, 9)
    assert told["brand"] == [9]


def test_a_week_begins_on_the_monday_of_the_apps_own_time_zone(tmp_path: Path) -> None:
    """23:30 UTC on Sunday 15 March is Monday in Lagos: T0 is 10 March, 09:00."""
    kept = Kept(tmp_path).tell(login(5 * DAY + 870, android("a", "p")))

    assert [one["week"] for one in reported(kept).weeks.records()] == ["2026-03-16"]


def test_an_id_of_the_installation_ends_with_it_and_one_of_the_phone_stays(
    report: InstallationsReport,
) -> None:
    """Only `b` reinstalled: the ids of AppsFlyer and Firebase were new, Adjust's and the phone's the same."""
    found = {(one["id"], one["change"]): (one["returns"], one["kept"]) for one in report.ids.records()}

    assert found == {
        ("appsflyer_id", "reinstall"): (1, 0),
        ("firebase_app_instance_id", "reinstall"): (1, 0),
        ("adjust_adid", "reinstall"): (1, 1),
        ("gaid", "reinstall"): (1, 1),
        ("appsflyer_id", "other phone"): (2, 0),
        ("firebase_app_instance_id", "other phone"): (2, 0),
        ("gaid", "other phone"): (1, 0),
    }


def test_the_reach_of_the_first_installations_ids_is_said_per_id_and_who_needs_it(
    report: InstallationsReport,
) -> None:
    found = {one["id"]: (one["users"], one["stale"], one["needed_by"]) for one in report.reach.records()}

    # `b` is back on the first installation at the end; `c`, `d` and `e` are not.
    assert found["appsflyer_id"] == (5, 3, "AppsFlyer")
    assert found["firebase_app_instance_id"] == (5, 3, "Firebase / GA4")
    assert found["gaid"] == (3, 1, "")


def test_who_stays_on_an_installation_is_reached_by_every_id_that_it_shows(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(0, android("a", "pa"), user_id="stays"),
        login(1, android("a", "pa"), user_id="shares the phone"),
        login(2, Device(appsflyer_id="af-b", firebase_app_instance_id="fb-b"), user_id="is not tracked"),
        login(3, android("c1", "pc"), user_id="comes back"),
        login(4, android("c2", "pc"), user_id="comes back"),
    )
    found = {one["id"]: (one["users"], one["stale"]) for one in reported(kept).reach.records()}

    assert found == {"appsflyer_id": (4, 1), "firebase_app_instance_id": (4, 1), "gaid": (3, 0)}


TOWN = Parameters(
    period=Period(users=400, days=60),
    phones=Phones(ios=0.3, new_phone=0.2, reinstall=0.3, other_platform=0.2, shared=0.05, ring_users=0.03),
    arrivals=Arrivals(duplicated=0.02, clock_ahead=0.02),
)


def test_a_made_up_lenders_returns_are_those_of_its_true_phones(tmp_path: Path) -> None:
    """Slow and obvious: each user's logins in order, with the phone that the lender's truth knows."""
    world = make(TOWN, 11)
    told = [one for fields in events(world) if (one := as_event(fields)) and is_touch(one)]
    kept = Kept(tmp_path, of_the_town()).tell(*told)

    expected = true_returns(world, told)

    with load(kept.folder) as tables:
        found = arrivals_of(tables)
    assert Counter((one.user, one.kind) for one in found) == expected
    assert {kind for _, kind in expected} >= {
        "first",
        "reinstall",
        "other phone",
        "other phone, other platform",
    }


def as_event(fields: dict[str, Any]) -> Event | None:
    """The event as the door takes it: a phone's clock never puts a login after its arrival."""
    one = msgspec.convert(fields, Event)
    return msgspec.structs.replace(one, occurred_at=min(one.occurred_at, one.received_at))


def of_the_town() -> PolicySource:
    plain = source()
    apps = {
        f"acme-{platform}": msgspec.structs.replace(
            APPS["acme-ng"], name=f"acme-{platform}", platform=platform
        )
        for platform in ("android", "ios")
    }
    derive = msgspec.structs.replace(plain.derive, apps=apps, default_app={"acme": "acme-android"})
    return msgspec.structs.replace(plain, derive=derive, routes=(), targets={})


def true_returns(world: World, told: list[Event]) -> Counter[tuple[str, str]]:
    installs = {name: row for row, name in enumerate(world.installs.firebase_id)}
    shown: dict[int, set[str]] = defaultdict(set)
    for one in told:
        device = one.device
        if device and device.firebase_app_instance_id:
            ids = {device.gaid, device.idfa, device.idfv} - {None, "", ZERO_ID}
            shown[installs[device.firebase_app_instance_id]] |= {str(name) for name in ids}
    found: Counter[tuple[str, str]] = Counter()
    before: dict[str, int] = {}
    been: dict[str, set[int]] = defaultdict(set)
    order: list[tuple[datetime, str, Event]] = sorted(
        (one.occurred_at, one.event_id, one) for one in unique(told)
    )
    for _, _, one in order:
        if one.device is None or not one.device.firebase_app_instance_id:
            continue
        user, now = f"acme:{one.user_id}", installs[one.device.firebase_app_instance_id]
        if now not in been[user]:
            found[user, "first" if user not in before else change(world, before[user], now, shown)] += 1
        before[user] = now
        been[user].add(now)
    return found


def unique(told: list[Event]) -> list[Event]:
    return list({one.event_id: one for one in reversed(told)}.values())


def change(world: World, old: int, new: int, shown: dict[int, set[str]]) -> str:
    if world.installs.ios[old] != world.installs.ios[new]:
        return "other phone, other platform"
    if not shown[old] or not shown[new]:
        return "phone not known"
    return "reinstall" if world.installs.phone[old] == world.installs.phone[new] else "other phone"


def test_an_arrival_names_the_installation_that_was_left(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(0, android("a", "p")), login(9, android("b", "p")))
    with load(kept.folder) as tables:
        first, second = arrivals_of(tables)

    assert isinstance(first, Arrival)
    assert (first.before, second.before) == (None, first.installation)
