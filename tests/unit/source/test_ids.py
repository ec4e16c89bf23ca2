"""Which ids name nobody. The good ones are of the shapes that the vendors' pages show."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.acme import APPS, source

from lendsignal.errors import InputError
from lendsignal.model import Device
from lendsignal.source import read_event, reader_of
from lendsignal.source.ids import ZERO_RULE, Warned, odd_ids

READER = reader_of(APPS, source().resolve.clock_ahead)
NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
ZERO = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("appsflyer_id", "1234567890123-1234567"),
        ("appsflyer_id", "1763712345678-4312502203727572307"),
        ("adjust_adid", "18546f6171f67e29d1cb983322ad1329"),
        ("firebase_app_instance_id", "4f2c1a9be07d4c6f8a315d2e9b7c6012"),
        ("gaid", "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11"),
        ("idfa", "7C1F2F0E-3B52-4D0A-9A63-0F5A3C9D2B11"),
        ("idfv", "0A1B2C3D-3B52-4D0A-9A63-0F5A3C9D2B11"),
        ("oaid", "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11"),
        ("oaid", "a" * 64),
        ("android_id", "9774d56d682e549c"),
        ("android_id", "774d56d682e549c"),
        ("singular_sdid", "40009df0-d618-4d81-9da1-cbb3337b8dec"),
        ("kochava_device_id", "KA-7f3d"),
        ("branch_identity", "1234567890"),
        ("branch_identity", "7"),
        ("meta_anon_id", "XZ7C1F2F0E-3B52-4D0A-9A63-0F5A3C9D2B11"),
        ("gaid", ""),
        ("gaid", None),
    ],
)
def test_an_id_as_its_vendor_writes_it_is_good(kind: str, value: str | None) -> None:
    assert odd_ids({kind: value}, None) == {}


@pytest.mark.parametrize(
    ("kind", "value", "word"),
    [
        ("appsflyer_id", "1763712345678-123456", "13 digits"),
        ("appsflyer_id", "176371234567-1234567", "13 digits"),
        ("appsflyer_id", "1763712345678-12345678901234567890", "13 digits"),
        ("appsflyer_id", "1763712345678-1234567\n", "13 digits"),
        ("adjust_adid", "18546f6171f67e29d1cb983322ad132", "32 hex"),
        ("firebase_app_instance_id", "4f2c1a9be07d4c6f8a315d2e9b7c601z", "32 hex"),
        ("gaid", "7c1f2f0e3b524d0a9a630f5a3c9d2b11", "UUID"),
        ("idfa", "{7C1F2F0E-3B52-4D0A-9A63-0F5A3C9D2B11}", "UUID"),
        ("idfv", "iPhone", "UUID"),
        ("android_id", "9774d56d682e549c9", "hex digits"),
        ("singular_sdid", "two words", "blanks"),
        ("gaid", "null", "placeholder"),
        ("appsflyer_id", "Undefined", "placeholder"),
        ("firebase_app_instance_id", "0" * 32, "placeholder"),
        ("adjust_adid", "N/A", "placeholder"),
        ("kochava_device_id", "0", "placeholder"),
    ],
)
def test_an_id_that_names_nobody_is_told_with_its_rule_and_without_its_value(
    kind: str, value: str, word: str
) -> None:
    found = odd_ids({kind: value, "os": "android"}, None)

    assert list(found) == [kind]
    assert word in found[kind]
    assert value not in found[kind]


def test_an_id_of_the_other_platform_is_bad_where_the_app_is_known() -> None:
    uuid = "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11"

    assert list(odd_ids({"gaid": uuid, "idfv": uuid}, "ios")) == ["gaid"]
    assert list(odd_ids({"gaid": uuid, "idfv": uuid}, "android")) == ["idfv"]
    assert odd_ids({"gaid": uuid, "idfv": uuid}, None) == {}


def test_zeros_are_the_phones_own_answer_and_no_mistake() -> None:
    assert odd_ids({"gaid": ZERO}, "android") == {"gaid": ZERO_RULE}
    assert read_event(login(gaid=ZERO), NOW, READER).flags == ()


def login(**device: Any) -> dict[str, Any]:
    return {
        "type": "logged_in",
        "brand": "acme",
        "user_id": "u1",
        "app": "acme-ng",
        "occurred_at": "2026-03-10T08:00:00Z",
        "device": device,
    }


def test_a_bad_id_costs_the_id_and_not_the_event() -> None:
    good = "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11"
    told: list[Warned] = []
    event = read_event(
        login(gaid=good, appsflyer_id="af-1", oaid=ZERO, os="android"), NOW, READER, warnings=told
    )

    assert event.device == Device(gaid=good, oaid=ZERO, os="android")
    assert event.flags == ("unusable_appsflyer_id",)
    assert [one.field for one in told] == ["device.appsflyer_id", "device.oaid"]
    assert told[1].rule == ZERO_RULE
    assert "af-1" not in str(told)


def test_an_event_that_came_in_twice_is_judged_twice_alike() -> None:
    sent = login(gaid="nobody")
    first = read_event({**sent}, NOW, READER)

    assert read_event({**sent}, NOW, READER) == first


def test_a_device_of_the_wrong_form_is_still_refused() -> None:
    for device in ({"gaid": 17}, {"gaids": "x"}):
        with pytest.raises(InputError):
            read_event(login(**device), NOW, READER)
