"""The device of the last login: ties, other apps, missing ids, reinstalls, and what a user's memory keeps."""

from datetime import timedelta

import pytest
from tests.acme import phone, us

from lendsignal.model import Device
from lendsignal.resolve import (
    Binding,
    Snapshot,
    Touches,
    device_at,
    existed_at,
    first_install,
    same_installation,
    shows_installation,
    with_touch,
)
from lendsignal.resolve.touches import CHANGES_REMEMBERED, REMEMBERED

Seen = tuple[float, Device | str] | tuple[float, Device | str, str] | tuple[float, Device | str, str, str]


def touches(*seen: Seen) -> Touches:
    """Touches from (minute, device, app, event id) in the order given."""
    found = Touches()
    for number, (minutes, device, *rest) in enumerate(seen):
        app = rest[0] if rest else "acme-ng"
        event_id = rest[1] if len(rest) > 1 else f"e{number}"
        shown = phone(device) if isinstance(device, str) else device
        found = with_touch(found, us(minutes), event_id, us(minutes), Snapshot(app, shown))
    return found


def bound(found: Binding | None) -> str | None:
    return None if found is None else found.snapshot.device.appsflyer_id


def test_a_loan_after_a_phone_change_belongs_to_the_new_phone() -> None:
    known = touches((0, "old"), (60, "new"))

    assert bound(device_at(known, us(59))) == "af-old"
    assert bound(device_at(known, us(60))) == "af-new"
    assert bound(device_at(known, us(60) - 1)) == "af-old"


def test_before_the_first_login_there_is_no_device() -> None:
    assert device_at(touches((10, "a")), us(9)) is None
    assert device_at(Touches(), us(9)) is None


def test_the_latest_login_counts_over_all_apps_of_the_brand() -> None:
    known = touches((0, "droid", "acme-ng"), (60, Device(appsflyer_id="af-apple", idfa="idfa-1"), "acme-ios"))

    found = device_at(known, us(61))

    assert found is not None
    assert (found.snapshot.app, found.snapshot.device.appsflyer_id) == ("acme-ios", "af-apple")


@pytest.mark.parametrize("order", [("e1", "e2"), ("e2", "e1")])
def test_two_logins_in_one_instant_are_settled_by_the_larger_event_id(order: tuple[str, str]) -> None:
    phones = {"e1": "small", "e2": "large"}
    known = touches(*((5, phones[name], "acme-ng", name) for name in order))

    assert bound(device_at(known, us(5))) == "af-large"


def test_a_login_without_any_id_does_not_rebind() -> None:
    known = touches((0, "a"), (10, Device(model="Pixel 9", ip="197.210.1.1")))

    assert bound(device_at(known, us(20))) == "af-a"


def test_an_all_zero_id_is_no_id() -> None:
    zero = Device(gaid="00000000-0000-0000-0000-000000000000", appsflyer_id="")
    known = touches((0, "a"), (10, zero))

    assert not shows_installation(zero)
    assert bound(device_at(known, us(20))) == "af-a"


def test_a_login_with_the_phones_id_alone_keeps_the_installation_known_on_that_phone() -> None:
    known = touches((0, "a"), (10, Device(gaid="gaid-a")))

    assert bound(device_at(known, us(20))) == "af-a"


def test_a_login_with_another_phones_id_alone_binds_to_that_phone_without_the_old_installation() -> None:
    known = touches((0, "a"), (10, Device(gaid="gaid-b")))

    found = device_at(known, us(20))

    assert found is not None
    assert found.snapshot.device == Device(gaid="gaid-b")


def test_the_same_phone_in_another_app_is_not_the_same_installation() -> None:
    known = touches((0, "a", "acme-ng"), (10, Device(gaid="gaid-a"), "acme-lite"))

    found = device_at(known, us(20))

    assert found is not None
    assert found.snapshot == Snapshot("acme-lite", Device(gaid="gaid-a"))


def test_a_login_that_lacks_an_install_id_is_completed_from_the_same_installation() -> None:
    whole = phone("a", adjust_adid="adid-a")
    known = touches((0, whole), (10, Device(appsflyer_id="af-a", os_version="15")))

    found = device_at(known, us(20))

    assert found is not None
    assert found.snapshot.device == Device(
        appsflyer_id="af-a", os_version="15", firebase_app_instance_id="fb-a", adjust_adid="adid-a"
    )


def test_a_login_is_not_completed_from_what_came_later() -> None:
    known = touches((0, Device(appsflyer_id="af-a")), (10, phone("a")))

    found = device_at(known, us(5))

    assert found is not None
    assert found.snapshot.device == Device(appsflyer_id="af-a")


def test_ids_of_two_installations_are_never_mixed() -> None:
    reinstalled = Device(appsflyer_id="af-2", gaid="gaid-a")
    known = touches((0, phone("a")), (10, reinstalled))

    found = device_at(known, us(20))

    assert found is not None
    assert found.snapshot.device == reinstalled


def test_ids_of_two_installations_are_not_mixed_through_a_third_either() -> None:
    one = Device(appsflyer_id="af-a", adjust_adid="adid-x", branch_identity="br-1")
    two = Device(appsflyer_id="af-a", adjust_adid="adid-y")
    known = touches((0, one), (10, two), (20, Device(appsflyer_id="af-a")))

    found = device_at(known, us(30))

    assert found is not None
    assert found.snapshot.device == Device(appsflyer_id="af-a", adjust_adid="adid-y")


def test_two_snapshots_are_one_installation_when_they_share_an_id_and_contradict_each_other_in_none() -> None:
    here = Snapshot("acme-ng", Device(appsflyer_id="1", adjust_adid="x"))

    assert same_installation(here, Snapshot("acme-ng", Device(adjust_adid="x", gaid="g")))
    assert not same_installation(here, Snapshot("acme-ng", Device(appsflyer_id="2", adjust_adid="x")))
    assert not same_installation(here, Snapshot("acme-ng", Device(branch_identity="b")))
    assert not same_installation(here, Snapshot("acme-ios", Device(appsflyer_id="1", adjust_adid="x")))


def test_the_first_install_stays_the_first_whatever_came_later() -> None:
    known = touches((0, Device(model="no ids")), (5, "first"), (10, "second"), (20, "third"))

    assert bound(first_install(known)) == "af-first"
    assert bound(first_install(known, us(15))) == "af-first"
    assert first_install(known, us(4)) is None


def test_the_first_install_is_completed_by_what_is_known_of_it_later() -> None:
    known = touches((0, Device(appsflyer_id="af-a")), (10, phone("a")))

    found = first_install(known)

    assert found is not None
    assert found.snapshot.device.firebase_app_instance_id == "fb-a"


def test_an_installation_existed_when_it_was_seen_or_made_by_then() -> None:
    seen = Binding(Snapshot("acme-ng", phone("a")), us(60))

    assert existed_at(seen, us(60), None)
    assert not existed_at(seen, us(59), None)
    assert existed_at(seen, us(59), us(59))
    assert not existed_at(seen, us(59), us(60))


def test_a_touch_told_twice_is_remembered_once() -> None:
    once = touches((0, "a"), (10, "b"))

    assert with_touch(once, us(0), "e0", us(99), Snapshot("acme-ng", phone("a"))) is once
    assert with_touch(once, us(10), "e1", us(99), Snapshot("acme-ng", phone("b"))) is once


def test_a_user_who_logs_in_all_day_is_remembered_in_bounded_space() -> None:
    known = touches((0, "first"), *((minute, f"p{minute % 3}") for minute in range(1, 1_000)))

    assert len(known.marks) == REMEMBERED + CHANGES_REMEMBERED
    assert bound(first_install(known)) == "af-first"
    assert bound(device_at(known, us(999))) == "af-p0"


def test_logins_that_only_repeat_the_phone_are_let_go_first() -> None:
    known = touches((0, "first"), *((minute, "second") for minute in range(1, 500)))

    assert len(known.marks) == REMEMBERED + 2
    assert bound(device_at(known, us(0.5))) == "af-first"
    assert bound(device_at(known, us(1))) == "af-second"
    assert bound(device_at(known, us(250))) == "af-second"


def test_the_moment_of_a_binding_is_the_login_it_rests_on() -> None:
    found = device_at(touches((0, "a"), (10, "a"), (15, Device(model="blank"))), us(20))

    assert found is not None
    assert found.at_us == us(10)
    assert timedelta(microseconds=us(20) - found.at_us) == timedelta(minutes=10)
