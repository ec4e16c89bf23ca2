"""The Branch stand-in. Oracle: Branch's events pages and the keys of its SDK."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.branch import judge

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
KEY = "key_live_made_up"
SETTINGS = SandboxSettings(branch={"acme-ng": KEY})
PURCHASE: dict[str, Any] = {
    "name": "PURCHASE",
    "branch_key": KEY,
    "customer_event_alias": "ev_fl",
    "user_data": {
        "os": "Android",
        "os_version": "14",
        "environment": "FULL_APP",
        "aaid": "abcdabcd-0123-0123-00f0-000000000000",
        "android_id": "a12300000000",
        "limit_ad_tracking": False,
        "developer_identity": "u-41902",
        "ip": "198.51.100.23",
        "advertising_ids": {"oaid": "3f9d1c6a"},
    },
    "event_data": {"transaction_id": "c0ffee01", "currency": "USD", "revenue": 41.25},
    "custom_data": {"tier": "top30"},
}
CUSTOM = {
    "name": "ev_ap",
    "branch_key": KEY,
    "user_data": PURCHASE["user_data"],
    "custom_data": {"conversion_id": "c0ffee02"},
}


def send(item: Any, *, kind: str = "standard", method: str = "POST") -> Answer:
    asked = Asked(
        host="api2.branch.io",
        method=method,
        path=f"/v2/event/{kind}",
        headers={"content-type": "application/json"},
        body=item if isinstance(item, bytes) else msgspec.json.encode(item),
    )
    return judge(asked, SETTINGS, to_us(NOW))


def with_part(part: str, **changes: Any) -> dict[str, Any]:
    """The purchase with fields of one of its objects replaced."""
    event = deepcopy(PURCHASE)
    event[part] = {**event[part], **changes}
    return event


def test_a_purchase_is_taken_at_its_arrival_and_the_key_is_not_kept() -> None:
    answer = send(PURCHASE)

    (taken,) = answer.taken
    assert (answer.status, answer.body) == (200, b'{"branch_view_enabled":false}')
    assert (taken.platform, taken.account, taken.name) == ("branch", "acme-ng", "ev_fl")
    assert (taken.conversion_id, taken.user_id) == ("c0ffee01", "u-41902")
    assert (taken.value, taken.currency) == ("41.25", "USD")
    assert (taken.occurred_us, taken.stamped_us) == (None, to_us(NOW))
    assert taken.ids == {
        "gaid": "abcdabcd-0123-0123-00f0-000000000000",
        "android_id": "a12300000000",
        "oaid": "3f9d1c6a",
    }
    assert taken.warnings == ()
    assert KEY not in repr(answer)


def test_a_custom_event_is_known_by_its_custom_data() -> None:
    (taken,) = send(CUSTOM, kind="custom").taken

    assert (taken.name, taken.conversion_id, taken.value) == ("ev_ap", "c0ffee02", None)


def test_a_time_in_the_body_is_not_honoured() -> None:
    (taken,) = send({**PURCHASE, "timestamp": 1_795_338_847_512}).taken

    assert taken.stamped_us == to_us(NOW)
    assert taken.warnings == ("unknown key 'timestamp'",)


@pytest.mark.parametrize("key", [None, "", "key_test_x", 7])
def test_a_wrong_key_is_refused(key: object) -> None:
    answer = send({**PURCHASE, "branch_key": key})

    assert (answer.status, answer.taken) == (401, ())


@pytest.mark.parametrize(
    "broken",
    [
        b"[",
        {**PURCHASE, "name": "ev_fl"},
        {**PURCHASE, "name": ""},
        {name: value for name, value in PURCHASE.items() if name != "user_data"},
        {**PURCHASE, "custom_data": {"tier": 30}},
        {**PURCHASE, "content_items": ["x"]},
        with_part("user_data", os="android"),
        with_part("user_data", aaid="x"),
        with_part("user_data", aaid="00000000-0000-0000-0000-000000000000"),
        with_part("user_data", limit_ad_tracking="false"),
        with_part("user_data", ip="x"),
        with_part("user_data", dma_eea=True),
        with_part("event_data", currency="usd"),
        with_part("event_data", revenue="41.25"),
        with_part("event_data", revenue=-1),
        with_part("event_data", transaction_id=7),
        {**PURCHASE, "user_data": {"os": "Android", "ip": "198.51.100.23"}},
    ],
)
def test_a_broken_event_is_refused(broken: Any) -> None:
    answer = send(broken)

    assert (answer.status, answer.taken, len(answer.refused)) == (400, (), 1)


def test_money_that_reaches_no_ad_partner_is_taken_with_a_warning() -> None:
    custom = send({**CUSTOM, "event_data": {"revenue": 1, "currency": "USD"}}, kind="custom")
    lifecycle = send({**PURCHASE, "name": "LOGIN"})

    assert custom.taken[0].warnings == ("event_data of a custom event reaches no ad partner",)
    assert lifecycle.taken[0].warnings == (
        "revenue of a standard event that is not commerce reaches no ad partner",
    )


@pytest.mark.parametrize(("kind", "method"), [("other", "POST"), ("standard", "GET")])
def test_another_address_is_not_there(kind: str, method: str) -> None:
    assert send(PURCHASE, kind=kind, method=method).status == 404
