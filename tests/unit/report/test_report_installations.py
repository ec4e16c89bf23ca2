"""Which snapshots are one installation, and which installations are one phone."""

from lendsignal.model import Device
from lendsignal.report.installations import Installations, ids_of


def numbered(*snapshots: tuple[str, Device]) -> tuple[list[int | None], Installations]:
    gathered = Installations()
    found = [gathered.find(app, ids_of(device)) for app, device in snapshots]
    return [None if one is None else gathered.root(one) for one in found], gathered


def test_a_snapshot_that_lacks_an_id_is_the_installation_that_shares_another() -> None:
    (whole, part), gathered = numbered(
        ("ng", Device(appsflyer_id="a1", firebase_app_instance_id="f1")), ("ng", Device(appsflyer_id="a1"))
    )

    assert whole == part
    assert [one.name for one in gathered.all()] == ["f1"]


def test_two_halves_are_one_installation_once_a_touch_shows_both_ids() -> None:
    (left, right, both), gathered = numbered(
        ("ng", Device(appsflyer_id="a1")),
        ("ng", Device(firebase_app_instance_id="f1")),
        ("ng", Device(appsflyer_id="a1", firebase_app_instance_id="f1")),
    )

    assert left == right == both
    assert len(gathered.all()) == 1


def test_ids_that_contradict_each_other_are_two_installations() -> None:
    (one, other), _ = numbered(
        ("ng", Device(appsflyer_id="a1", firebase_app_instance_id="f1")),
        ("ng", Device(appsflyer_id="a1", firebase_app_instance_id="f2")),
    )

    assert one != other


def test_the_same_id_in_another_app_is_another_installation() -> None:
    (one, other), _ = numbered(("ng", Device(appsflyer_id="a1")), ("ios", Device(appsflyer_id="a1")))

    assert one != other


def test_an_all_zero_id_names_nobody() -> None:
    (none, phone), _ = numbered(
        ("ng", Device(gaid="00000000-0000-0000-0000-000000000000")), ("ng", Device(gaid="g1"))
    )

    assert none is None
    assert phone is not None


def test_a_reinstall_is_on_the_same_phone_and_a_new_phone_is_not() -> None:
    (first, again, other), gathered = numbered(
        ("ng", Device(appsflyer_id="a1", gaid="g1")),
        ("ng", Device(appsflyer_id="a2", gaid="g1")),
        ("ng", Device(appsflyer_id="a3", gaid="g3")),
    )
    phones = gathered.phones()

    assert first is not None
    assert again is not None
    assert other is not None
    assert phones[first] == phones[again] != phones[other]


def test_a_phone_whose_advertising_id_was_reset_is_known_by_the_installation_on_it() -> None:
    (_, _, later), gathered = numbered(
        ("ng", Device(appsflyer_id="a1", gaid="g1")),
        ("ng", Device(appsflyer_id="a1", gaid="g2")),
        ("ng", Device(appsflyer_id="a2", gaid="g2")),
    )
    phones = gathered.phones()

    assert later is not None
    assert set(phones.values()) == {phones[later]}


def test_a_phone_without_device_ids_is_not_known() -> None:
    (one,), gathered = numbered(("ng", Device(appsflyer_id="a1")))

    assert one is not None
    assert one not in gathered.phones()


def test_an_installation_is_found_by_any_of_its_ids() -> None:
    (one,), gathered = numbered(("ng", Device(appsflyer_id="a1", firebase_app_instance_id="f1")))

    assert gathered.of("ng", "a1") == gathered.of("ng", "f1") == one
    assert gathered.of("ios", "a1") is None
