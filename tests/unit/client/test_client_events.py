"""What the calls of the Python client make of their arguments."""

import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from inspect import getmembers, isfunction
from typing import Any

import pytest
from tests.acme import APPS, source

from lendsignal.client.events import Calls, Common, made, new_id
from lendsignal.clock import SystemClock, to_us
from lendsignal.errors import InputError
from lendsignal.model import KEY_FIELD, Consent, Device, EventType, Instalment
from lendsignal.source import read_event, reader_of

AT = datetime(2026, 11, 22, 9, 14, 7, 250_000, timezone(timedelta(hours=1)))
NAIVE = AT.replace(tzinfo=None)
READER = reader_of(APPS, source().resolve.clock_ahead)


class Told(Calls[dict[str, Any]]):
    """Gives what would be sent."""

    def _take(
        self, kind: str, user_id: str, occurred_at: datetime, more: Common, **fields: Any
    ) -> dict[str, Any]:
        body = made(kind, user_id, occurred_at, {"brand": "acme", **more}, fields, durable=True).body
        found: dict[str, Any] = json.loads(body)
        found.pop("event_id")
        return found


CALLS = Told()


def test_a_call_is_the_event_that_the_door_knows() -> None:
    found = CALLS.disbursed(
        user_id="u-1",
        occurred_at=AT,
        loan_id="L-1",
        amount=Decimal("15000.50"),
        fee=Decimal(2250),
        currency="NGN",
        loan_number=1,
        term_days=30,
        schedule=[Instalment(due_date=date(2026, 12, 22), amount=Decimal(17250))],
        consent=Consent(ad_user_data=True),
        properties={"branch": "Ikeja"},
    )

    assert found == {
        "type": "disbursed",
        "brand": "acme",
        "user_id": "u-1",
        "occurred_at": "2026-11-22T09:14:07.250000+01:00",
        "loan_id": "L-1",
        "amount": "15000.50",
        "fee": "2250",
        "currency": "NGN",
        "loan_number": 1,
        "term_days": 30,
        "schedule": [{"due_date": "2026-12-22", "amount": "17250"}],
        "consent": {"ad_user_data": True},
        "properties": {"branch": "Ikeja"},
    }


NEEDED: dict[str, dict[str, Any]] = {
    "application_id": {"application_id": "A-1"},
    "grant_id": {"grant_id": "G-1"},
    "loan_id": {"loan_id": "L-1"},
    "payment_id": {"payment_id": "P-1"},
}
SPECIAL: dict[str, dict[str, Any]] = {
    "credit_granted": {"grant_id": "G-1", "score": 688.5, "limit": 20000, "currency": "NGN"},
    "disbursed": {"loan_id": "L-1", "amount": 15000, "currency": "NGN"},
    "overdue": {"loan_id": "L-1", "dpd": 3},
    "repaid": {"payment_id": "P-1", "amount": 5000, "currency": "NGN"},
    "recovered": {"payment_id": "P-1", "amount": 100, "currency": "NGN"},
    "consent_changed": {"ad_user_data": False},
    "registered": {"app": "acme-ng", "device": Device(os="android")},
    "logged_in": {"app": "acme-ng", "device": {"os": "android"}},
    "app_opened": {},
}


@pytest.mark.parametrize("kind", [one.value for one in EventType if not one.startswith("lendsignal.")])
def test_every_type_has_a_method_whose_event_the_door_takes(kind: str) -> None:
    given = SPECIAL[kind] if kind in SPECIAL else NEEDED[KEY_FIELD[kind]]
    found = getattr(CALLS, kind)(user_id="u-1", occurred_at=AT, **given)

    event = read_event(found, AT.astimezone(UTC), READER)
    assert (event.type, event.user_id) == (kind, "u-1")


def test_there_is_no_method_for_a_type_that_is_none() -> None:
    methods = {name for name, _ in getmembers(Calls, isfunction) if not name.startswith("_")}

    assert methods - {"event"} == {one.value for one in EventType if not one.startswith("lendsignal.")}


def test_an_event_of_ones_own_has_its_name_and_fields() -> None:
    found = CALLS.event("kyc_passed", user_id="u-1", occurred_at=AT, properties={"level": 2})

    assert (found["type"], found["properties"]) == ("kyc_passed", {"level": 2})


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("occurred_at", {"occurred_at": NAIVE}),
        ("occurred_at", {"occurred_at": "2026-11-22T09:00:00Z"}),
        ("sent_at", {"sent_at": NAIVE}),
        ("amount", {"amount": 15000.5}),
        ("amount", {"amount": "15000"}),
        ("amount", {"amount": True}),
        ("user_id", {"user_id": ""}),
        ("user_id", {"user_id": 17}),
        ("brand", {"brand": ""}),
        ("event", {"properties": {"what": object()}}),
    ],
)
def test_what_could_never_be_taken_is_refused_at_the_call_without_its_value(
    field: str, given: dict[str, Any]
) -> None:
    whole = {"user_id": "u-77", "occurred_at": AT, "loan_id": "L-1", "amount": 1, "currency": "NGN", **given}

    with pytest.raises(InputError) as caught:
        CALLS.disbursed(**whole)

    assert caught.value.field == field
    assert "15000" not in str(caught.value)
    assert "u-77" not in str(caught.value)


def test_ids_are_of_version_7_and_sort_by_the_time_they_were_made() -> None:
    before = SystemClock().now_us() // 1_000
    ids = []
    for _ in range(200):
        ids.append(new_id())
    after = SystemClock().now_us() // 1_000

    assert len(set(ids)) == 200
    for one in map(uuid.UUID, ids):
        assert (one.version, one.variant) == (7, uuid.RFC_4122)
        assert before <= one.int >> 80 <= after
    assert to_us(AT) // 1_000 < int(ids[0].replace("-", "")[:12], 16)
    # The fraction of the millisecond comes next: 12 bits, so ids a microsecond apart are in order.
    assert [one[:18] for one in ids] == sorted(one[:18] for one in ids)


def test_an_id_of_ones_own_is_kept() -> None:
    event = made("logged_in", "u-1", AT, {"brand": "acme", "event_id": "mine"}, {}, durable=True)

    assert event.event_id == "mine"
    assert json.loads(event.body)["event_id"] == "mine"
