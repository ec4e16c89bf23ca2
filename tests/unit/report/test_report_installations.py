"""Which snapshots are one installation, and which installations are one phone."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.acme import login
from tests.unit.report.kept import Kept

from lendsignal.model import Device
from lendsignal.report.installations import in_order, parted, together, torn


def numbered(
    path: Path, *shown: tuple[str, Device]
) -> tuple[list[int | None], dict[int, tuple[str, int | None]]]:
    """The installation of each login, and each installation's (id, phone); every login is another user's."""
    kept = Kept(path)
    kept.tell(
        *(login(place, device, user_id=f"u{place}", app=app) for place, (app, device) in enumerate(shown))
    )
    with kept.tables() as tables:
        found = dict(tables.rows("select user_id, own from touch join event using (event_id)"))
        all_ = tables.rows("select number, id, device from installation")
    return [found.get(f"u{place}") for place in range(len(shown))], {
        n: (id_, phone) for n, id_, phone in all_
    }


NG, IOS = "acme-ng", "acme-ios"


def test_a_snapshot_that_lacks_an_id_is_the_installation_that_shares_another(tmp_path: Path) -> None:
    (whole, part), found = numbered(
        tmp_path,
        (NG, Device(appsflyer_id="a1", firebase_app_instance_id="f1")),
        (NG, Device(appsflyer_id="a1")),
    )

    assert whole == part
    assert [name for name, _ in found.values()] == ["f1"]


def test_two_halves_are_one_installation_once_a_touch_shows_both_ids(tmp_path: Path) -> None:
    (left, right, both), found = numbered(
        tmp_path,
        (NG, Device(appsflyer_id="a1")),
        (NG, Device(firebase_app_instance_id="f1")),
        (NG, Device(appsflyer_id="a1", firebase_app_instance_id="f1")),
    )

    assert left == right == both
    assert len(found) == 1


def test_ids_that_contradict_each_other_are_two_installations(tmp_path: Path) -> None:
    (one, other), _ = numbered(
        tmp_path,
        (NG, Device(appsflyer_id="a1", firebase_app_instance_id="f1")),
        (NG, Device(appsflyer_id="a1", firebase_app_instance_id="f2")),
    )

    assert one != other


def test_the_same_id_in_another_app_is_another_installation(tmp_path: Path) -> None:
    (one, other), _ = numbered(tmp_path, (NG, Device(appsflyer_id="a1")), (IOS, Device(appsflyer_id="a1")))

    assert one != other


def test_an_all_zero_id_names_nobody(tmp_path: Path) -> None:
    (none, phone), found = numbered(
        tmp_path, (NG, Device(gaid="00000000-0000-0000-0000-000000000000")), (NG, Device(gaid="g1"))
    )

    assert none is None
    assert phone is not None
    assert found[phone][0] == "gaid:g1"


def test_a_reinstall_is_on_the_same_phone_and_a_new_phone_is_not(tmp_path: Path) -> None:
    (first, again, other), found = numbered(
        tmp_path,
        (NG, Device(appsflyer_id="a1", gaid="g1")),
        (NG, Device(appsflyer_id="a2", gaid="g1")),
        (NG, Device(appsflyer_id="a3", gaid="g3")),
    )

    assert first is not None
    assert again is not None
    assert other is not None
    assert found[first][1] == found[again][1] != found[other][1]


def test_a_phone_whose_advertising_id_was_reset_is_known_by_the_installation_on_it(tmp_path: Path) -> None:
    _, found = numbered(
        tmp_path,
        (NG, Device(appsflyer_id="a1", gaid="g1")),
        (NG, Device(appsflyer_id="a1", gaid="g2")),
        (NG, Device(appsflyer_id="a2", gaid="g2")),
    )

    assert len({phone for _, phone in found.values()}) == 1
    assert len(found) == 2


def test_a_phone_without_device_ids_is_not_known(tmp_path: Path) -> None:
    (one,), found = numbered(tmp_path, (NG, Device(appsflyer_id="a1")))

    assert one is not None
    assert found[one][1] is None


PAIRS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9)), max_size=14)


@given(PAIRS)
def test_things_are_together_where_a_chain_of_shared_ids_leads_from_one_to_the_other(
    pairs: list[tuple[int, int]],
) -> None:
    members, ids = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    found = together(members, ids, 8)
    slow = {n: {n} for n in range(8)}
    for _ in range(8):  # a chain is no longer than there are things
        for one, his in pairs:
            for other, theirs in pairs:
                if his == theirs:
                    slow[one] |= slow[other]
                    slow[other] |= slow[one]

    assert all((found[a] == found[b]) == (b in slow[a]) for a in range(8) for b in range(8))


def test_groups_are_numbered_in_the_order_of_their_first_member() -> None:
    assert in_order(np.array([7, 3, 7, 9, 3])).tolist() == [0, 1, 0, 2, 1]


def test_a_group_is_torn_where_two_ids_of_one_kind_stand_in_it() -> None:
    groups = np.array([0, 0, 1, 1])
    members, kinds = np.array([0, 1, 2, 3]), np.array([0, 0, 0, 0])

    assert torn(groups, members, kinds, np.array([5, 6, 7, 7])).tolist() == [0]


def test_of_contradicting_snapshots_each_goes_to_the_installation_it_agrees_with() -> None:
    # Kinds 0 and 1; the third shares an id with both and contradicts the second.
    assert parted([{0: 1, 1: 10}, {0: 1, 1: 20}, {1: 10}, {1: 20}, {0: 2}]) == [0, 1, 0, 1, 2]
