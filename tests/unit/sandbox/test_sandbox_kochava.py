"""The Kochava stand-in. Oracle: the fields of Kochava's post-install event page; answers are our choice."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.kochava import judge

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
GUID = "kogamerdna114e9bb3481258"
SETTINGS = SandboxSettings(kochava={"acme-ng": GUID})
EVENT: dict[str, Any] = {
    "kochava_app_id": GUID,
    "action": "event",
    "kochava_device_id": "KA-7f3d",
    "data": {
        "event_name": "ev_fl",
        "usertime": int(NOW.timestamp()) - 600,
        "device_ids": {"idfa": "07F5A855-1375-4E51-9F15-0EFD4E5C84F4"},
        "origination_ip": "198.51.100.23",
        "device_ua": "Mozilla%2F5.0%20%28iPhone%29",
        "device_ver": "iPhone-iOS-17.4",
        "app_version": "24.0.0.0.8",
        "currency": "USD",
        "event_data": {"order_id": "c0ffee01", "user_id": "u-41902", "sum": -12.5},
        "app_tracking_transparency": {"att": True},
    },
}


def send(
    item: Any, *, path: str = "/track/json", method: str = "POST", content_type: str = "application/json"
) -> Answer:
    asked = Asked(
        host="control.kochava.com",
        method=method,
        path=path,
        headers={"content-type": content_type},
        body=item if isinstance(item, bytes) else msgspec.json.encode(item),
    )
    return judge(asked, SETTINGS, to_us(NOW))


def in_data(**changes: Any) -> dict[str, Any]:
    """The event with fields of its data replaced; `None` leaves one out."""
    event = deepcopy(EVENT)
    event["data"] = {name: value for name, value in {**event["data"], **changes}.items() if value is not None}
    return event


def test_an_event_is_taken_and_the_guid_is_not_kept() -> None:
    answer = send(EVENT)

    (taken,) = answer.taken
    assert (answer.status, answer.body) == (200, b'{"success":"1"}')
    assert (taken.platform, taken.account, taken.name) == ("kochava", "acme-ng", "ev_fl")
    assert (taken.conversion_id, taken.user_id) == ("c0ffee01", "u-41902")
    assert (taken.value, taken.currency) == ("-12.5", "USD")
    assert taken.stamped_us == to_us(NOW - timedelta(minutes=10))
    assert taken.ids == {"idfa": "07F5A855-1375-4E51-9F15-0EFD4E5C84F4", "kochava_device_id": "KA-7f3d"}
    assert taken.warnings == ()
    assert GUID not in repr(answer)


@pytest.mark.parametrize("tracking", [{"att": False}, None])
def test_the_idfa_of_who_did_not_agree_is_dropped(tracking: dict[str, bool] | None) -> None:
    (taken,) = send(in_data(app_tracking_transparency=tracking)).taken

    assert "idfa" not in taken.ids
    assert taken.warnings == ("idfa dropped: no consent to tracking",)


def test_before_ios_14_nobody_is_asked() -> None:
    (taken,) = send(in_data(app_tracking_transparency=None, device_ver="iPhone-iOS-13.7")).taken

    assert "idfa" in taken.ids


@pytest.mark.parametrize("own_id", ["", None])
def test_kochavas_own_id_may_be_empty_or_null_but_not_missing(own_id: str | None) -> None:
    without = {name: value for name, value in EVENT.items() if name != "kochava_device_id"}

    assert send({**EVENT, "kochava_device_id": own_id}).taken
    assert send(without).refused


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        [EVENT],
        {**EVENT, "action": "install"},
        {**EVENT, "kochava_app_id": "another"},
        {**EVENT, "data": []},
        in_data(event_name=""),
        in_data(origination_ip="x"),
        in_data(device_ua="Mozilla/5.0 (iPhone)"),
        in_data(device_ver="iPhone 17.4"),
        in_data(device_ids={}),
        in_data(device_ids={"idfa": "00000000-0000-0000-0000-000000000000"}),
        in_data(usertime=1_795_338_847_512),
        in_data(currency="usd"),
        in_data(event_data={"sum": {"amount": 1}}),
        in_data(app_tracking_transparency={"att": 1}),
    ],
)
def test_a_broken_event_is_refused(broken: Any) -> None:
    answer = send(broken)

    assert (answer.status, answer.taken, len(answer.refused)) == (400, (), 1)
    assert msgspec.json.decode(answer.body)["success"] == "0"


@pytest.mark.parametrize("name", ["event_name", "origination_ip", "device_ua", "device_ver", "device_ids"])
def test_required_fields_are_required(name: str) -> None:
    (refused,) = send(in_data(**{name: None})).refused

    assert refused.reason.startswith(name)


@pytest.mark.parametrize(("path", "method"), [("/track", "POST"), ("/track/json", "GET")])
def test_another_address_is_not_there(path: str, method: str) -> None:
    assert send(EVENT, path=path, method=method).status == 404


def test_an_empty_device_version_and_a_sum_without_a_currency_pass() -> None:
    (taken,) = send(in_data(device_ver="", currency=None)).taken

    assert taken.warnings == ("sum without currency: read as USD",)
