"""What destinations ask of a device: what its user allows, and ids in the form a platform reads."""

import pytest

from lendsignal.destination.spec import apple_id, limits_tracking, public_ipv4
from lendsignal.model import ZERO_ID, Device, IdKind


@pytest.mark.parametrize(
    ("att_status", "limited"), [(0, True), (1, True), (2, True), (3, False), (None, None)]
)
def test_from_ios_14_5_on_att_decides_and_only_authorised_is_a_yes(
    att_status: int | None, limited: bool | None
) -> None:
    for switch in (True, False, None):
        device = Device(os_version="14.5", att_status=att_status, limit_ad_tracking=switch)
        assert limits_tracking(device, "ios") is limited


@pytest.mark.parametrize("switch", [True, False, None])
def test_on_android_and_on_older_iphones_the_phones_own_switch_decides(switch: bool | None) -> None:
    old = Device(os_version="14.4", att_status=3, limit_ad_tracking=switch)
    android = Device(os_version="14", att_status=2, limit_ad_tracking=switch)

    assert limits_tracking(old, "ios") is switch
    assert limits_tracking(android, "android") is switch


@pytest.mark.parametrize("text", [None, "", ZERO_ID, "e4a1b7c3", "e4a1b7c3-92d8-4f60-a5eb-18c7d3f6092z"])
def test_apples_ids_are_upper_case_and_what_is_none_counts_as_missing(text: str | None) -> None:
    device = Device(idfa="e4a1b7c3-92d8-4f60-a5eb-18c7d3f60929", idfv=text)

    assert apple_id(device, IdKind.IDFA) == "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"
    assert apple_id(device, IdKind.IDFV) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("198.51.100.23", "198.51.100.23"),
        ("::ffff:198.51.100.23", "198.51.100.23"),
        ("2a00:1450:4001:81b::200e", None),
        ("10.0.0.1", None),
        (None, None),
    ],
)
def test_a_platform_of_ipv4_alone_gets_no_other_address(text: str | None, address: str | None) -> None:
    assert public_ipv4(text) == address
