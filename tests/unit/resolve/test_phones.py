"""By which keys a phone is known to several users."""

from typing import Any

import pytest
from tests.acme import phone

from lendsignal.model import Device
from lendsignal.resolve import ResolveSettings, Snapshot, contradictions, phone_keys

ZERO = "00000000-0000-0000-0000-000000000000"


def keys(brand: str = "acme", app: str = "acme-ng", **ids: Any) -> set[int]:
    return set(phone_keys(brand, Snapshot(app, Device(**ids))))


def test_every_id_that_names_somebody_gives_a_key_of_64_bits() -> None:
    found = phone_keys("acme", Snapshot("acme-ng", phone("a")))

    assert len(set(found)) == 3
    assert all(-(2**63) <= key < 2**63 for key in found)


def test_two_snapshots_share_a_key_where_they_share_an_id() -> None:
    assert keys(gaid="g1", appsflyer_id="a1") & keys(gaid="g1", appsflyer_id="a2") == keys(gaid="g1")
    assert keys(gaid="g1") & keys(gaid="g2") == set()


def test_the_installation_tells_a_phone_whose_advertising_id_is_switched_off() -> None:
    assert keys(gaid=ZERO, appsflyer_id="a1") == keys(appsflyer_id="a1")
    assert keys(gaid="g1", appsflyer_id="a1") & keys(gaid=ZERO, appsflyer_id="a1")


def test_one_value_under_two_names_is_two_ids() -> None:
    assert keys(gaid="x") & keys(oaid="x") == set()


def test_empty_and_all_zero_ids_are_nobodys_phone() -> None:
    assert keys(gaid=ZERO, idfa="", model="Pixel 9") == set()


def test_a_phone_is_the_same_in_every_app_of_its_brand_and_no_other_brands() -> None:
    assert keys(gaid="g1") == keys(app="acme-lite", gaid="g1")
    assert keys(gaid="g1") & keys(brand="other", gaid="g1") == set()


@pytest.mark.parametrize(
    ("users", "then", "refused"),
    [
        (0, "bind", []),
        (2, "skip", []),
        (0, "skip", ["resolve.shared_device"]),
        (1, "bind", ["resolve.shared_device_users"]),
    ],
)
def test_skipping_without_a_number_and_a_number_that_every_phone_has_are_refused(
    users: int, then: Any, refused: list[str]
) -> None:
    found = contradictions(ResolveSettings(shared_device_users=users, shared_device=then))

    assert [key for key, _, _ in found] == refused
