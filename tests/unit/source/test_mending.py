"""What is kept of a refused event, how a person mends it, and that it goes through the door's own rules."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.acme import APPS, source, us

from lendsignal.errors import InputError
from lendsignal.log import Log, Quarantined, Wanted, open_log
from lendsignal.model import contact_of
from lendsignal.source import (
    Mender,
    Patch,
    kept_of,
    patched,
    quarantine_standing,
    read_event,
    reader_of,
    shown_of,
    through_again,
)
from lendsignal.source.mending import nearest_field

READER = reader_of(APPS, source().resolve.clock_ahead)
RECEIVED = datetime(2026, 3, 10, 9, tzinfo=UTC)
RECEIVED_US = int(RECEIVED.timestamp()) * 1_000_000
GRANT: dict[str, Any] = {
    "type": "credit_granted",
    "brand": "acme",
    "user_id": "u1",
    "event_id": "e-1",
    "occurred_at": "2026-03-10T08:00:00Z",
    "grant_id": "G-1",
    "score": 712.5,
    "limit": 20000,
    "currency": "NGN",
    "properties": {"branch": "Ikeja"},
}


def kept(**changes: Any) -> bytes:
    """What is kept of a grant with some fields changed; `None` leaves one out."""
    whole = {name: value for name, value in {**GRANT, **changes}.items() if value is not None}
    found = kept_of(json.dumps(whole).encode())
    assert found is not None
    return found


def again(found: bytes) -> Any:
    return through_again(found, RECEIVED_US, "crm", READER)


# keeping


def test_what_is_kept_is_the_event_as_the_door_would_have_taken_it() -> None:
    whole = {**GRANT, "phone": "+2348031234567", "email": "made-up@acme.example"}
    taken = read_event(dict(whole), RECEIVED, READER, source="crm")

    found = again(kept(**whole))

    assert found == msgspec.structs.replace(taken, flags=("mended",))
    assert found.score == 712.5


def test_contacts_are_hashed_and_strangers_blotted_out_before_anything_is_written() -> None:
    found = kept(
        email="made-up@acme.example",
        phone="+2348031234567",
        full_name="Ngozi Made-Up",
        msisdn="08031234567",
        memo={"to": "Ngozi"},
        product="call +2348031234567",
        properties={"note": "mail made-up@acme.example"},
    )

    for text in (b"made-up@", b"2348031234567", b"8031234567", b"Ngozi"):
        assert text not in found
    contact, _ = contact_of("made-up@acme.example", "+2348031234567")
    assert contact is not None
    assert str(contact.email).encode() in found


def test_what_stands_inside_a_field_and_is_not_ours_is_blotted_out_too() -> None:
    found = kept(
        device={"gaid": "38400000-8cf0-11bd-b23e-10b96e40000d", "msisdn": "08012345678"},
        consent={"ad_user_dat": True, "owner": "Ada Obi"},
        contact={"number": "2348012345678"},
        flags=["2348012345678"],
    )

    assert b"8012345678" not in found
    assert b"Ada" not in found
    shown = shown_of(found)
    assert shown["device"] == {"gaid": "38400000-8cf0-11bd-b23e-10b96e40000d", "msisdn": "[masked]"}
    assert shown["consent"] == {"ad_user_dat": True, "owner": "[masked]"}


def test_a_contact_that_cannot_be_used_is_flagged_when_the_event_is_taken() -> None:
    assert again(kept(phone="0803123")).flags == ("mended", "unusable_phone")
    assert again(kept(phone=8031234567)).flags == ("mended", "unusable_phone")


def test_the_value_of_a_misspelled_field_is_kept_under_a_name_that_is_nearly_ours() -> None:
    assert [nearest_field(name) for name in ("grantId", "occured_at", "loanID", "limits")] == [
        "grant_id",
        "occurred_at",
        "loan_id",
        "limit",
    ]
    assert [nearest_field(name) for name in ("full_name", "mobile", "user_phone", "e_mail", "address")] == [
        None
    ] * 5

    found = again(patched(kept(grant_id=None, grantId="G-77"), Patch(rename={"grantId": "grant_id"})))
    assert found.grant_id == "G-77"


def test_what_is_no_whole_event_is_not_kept() -> None:
    for raw in (
        b"[1]",
        b"{",
        b"\xff",
        b'{"a":1,"a":2}',
        b'{"x":"' + b"y" * 40_000 + b'"}',
        b'{"amount":%d}' % 10**30,
    ):
        assert kept_of(raw) is None


def test_a_person_sees_what_would_be_sent_without_contact_and_score() -> None:
    shown = shown_of(kept(email="made-up@acme.example"))

    assert shown["grant_id"] == "G-1"
    assert (shown["score"], shown["contact"]) == ("[masked]", "[hashed]")


@given(
    st.dictionaries(
        st.sampled_from(["type", "amount", "device", "loanId", "phone", "x y", "properties", "occurred_at"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=9,
        ),
    )
)
def test_whatever_was_refused_can_be_looked_at_for_keeping(found: dict[str, Any]) -> None:
    raw = json.dumps(found).encode()
    for one in (raw, raw[:-1], b'{"device":' + b"[" * 900 + b"]" * 900 + b"}"):
        assert kept_of(one) is None or shown_of(kept_of(one) or b"") is not None


# mending


def test_fields_are_renamed_then_taken_out_then_set() -> None:
    wrong = kept(brand="acmee", grantId="G-9", nonsense=1)
    with pytest.raises(InputError):
        again(wrong)

    patch = Patch(
        rename={"grantId": "grant_id"},
        unset=("nonsense",),
        set={"brand": "acme", "properties.branch": "Yaba"},
    )
    found = again(patched(wrong, patch))

    assert (found.brand, found.grant_id) == ("acme", "G-9")
    assert found.properties == {"branch": "Yaba"}
    assert found.flags == ("mended",)


def test_a_field_inside_the_device_can_be_set_and_taken_out() -> None:
    wrong = kept(device={"att_status": 9, "os": "android"})
    found = again(patched(wrong, Patch(unset=("device.att_status",), set={"device.os_version": "14"})))

    assert (found.device.att_status, found.device.os, found.device.os_version) == (None, "android", "14")


def test_a_new_contact_is_hashed_and_a_bad_one_told() -> None:
    found = again(patched(kept(), Patch(set={"phone": "+2348031234567"})))

    assert found.contact == contact_of(None, "+2348031234567")[0]
    with pytest.raises(InputError) as caught:
        patched(kept(), Patch(set={"phone": "0803123"}))
    assert "0803123" not in str(caught.value)


def test_a_patch_to_a_field_that_is_none_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        patched(kept(), Patch(set={"grantId": "G"}))

    assert (caught.value.field, caught.value.nearest) == ("grantId", "grant_id")
    with pytest.raises(InputError):
        patched(kept(x=1), Patch(rename={"x": "loanid_"}))


def test_a_mended_event_keeps_its_id_and_the_moment_it_first_came_in() -> None:
    found = again(patched(kept(), Patch(set={"currency": "KES"})))

    assert (found.event_id, found.received_at, found.source) == ("e-1", RECEIVED, "crm")


# carrying it out


class Clock:
    replay = False

    def now_us(self) -> int:
        return us(0) + 86_400_000_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    one = open_log(tmp_path / "log.sqlite")
    yield one
    one.close()


def refuse(log: Log, found: bytes | None, received_us: int = RECEIVED_US) -> int:
    log.refuse(
        [
            Quarantined(
                received_us=received_us,
                source="crm",
                field="brand",
                rule="is not one",
                body=b"{}",
                kept=found,
            )
        ]
    )
    (one,) = log.quarantine.find(Wanted(), 1)
    assert one.id is not None
    return one.id


def mender(log: Log, now: list[float], days: int = 30) -> Mender:
    return Mender(log, READER, Clock(), days, steady=lambda: now[0])


def test_what_was_asked_for_is_taken_in_the_next_turn_and_what_is_still_wrong_waits_again(log: Log) -> None:
    good, bad, empty = refuse(log, kept()), refuse(log, kept(brand="nobody")), refuse(log, None)
    told: list[tuple[int, int]] = []
    now = [100.0]
    one = Mender(log, READER, Clock(), 30, steady=lambda: now[0], told=lambda *n: told.append(n))
    assert one.turn() == 0
    log.quarantine.ask({good: kept(), bad: kept(brand="nobody")}, "ada", us(1))

    assert one.turn() == 0, "not so soon again"
    now[0] += 0.2
    assert one.turn() == 1
    assert told == [(1, 1)]
    (fact,) = log.read(0, 10)
    assert (fact.event.event_id, fact.event.flags) == ("e-1", ("mended",))
    left = {found.id: (found.state, found.field) for found in log.quarantine.find(Wanted(), 10)}
    assert left == {bad: ("open", "brand"), empty: ("open", "brand")}


def test_one_that_cannot_be_read_any_more_stops_no_other_and_no_decision(log: Log) -> None:
    good, torn = refuse(log, kept()), refuse(log, kept())
    now = [100.0]
    one = mender(log, now)
    log.quarantine.ask({torn: b"\xc1 is no beginning", good: kept()}, "ada", us(1))

    assert one.turn() == 1
    left = log.quarantine.one(torn)
    assert left is not None
    assert (left.state, left.field, left.rule) == ("open", "event", "cannot be read any more")


def test_old_refusals_are_forgotten_after_the_days_that_are_set(log: Log) -> None:
    day = 86_400_000_000
    now_us = Clock().now_us()
    refuse(log, kept(), received_us=now_us - 8 * day)
    refuse(log, kept(), received_us=now_us - 6 * day)

    mender(log, [0.0], days=7).turn()

    assert [found.received_us for found in log.quarantine.find(Wanted(), 10)] == [now_us - 6 * day]


# how it stands


def test_a_share_of_a_day_or_a_number_makes_the_quarantine_alarming(log: Log) -> None:
    now_us = RECEIVED_US + 3_600_000_000
    log.append([again(kept(event_id=f"e{n}", grant_id=f"G{n}")) for n in range(90)])
    for _ in range(9):
        refuse(log, None)

    nine = quarantine_standing(log, now_us, 0.01)
    assert (nine.open, nine.lately, nine.events_lately, nine.is_alarming) == (9, 9, 90, False)
    assert quarantine_standing(log, now_us, 9).is_alarming
    assert not quarantine_standing(log, now_us, 10).is_alarming

    refuse(log, None)
    assert quarantine_standing(log, now_us, 0.1).is_alarming, "10 of 100"
    assert not quarantine_standing(log, now_us, 0.11).is_alarming
    later = quarantine_standing(log, now_us + 2 * 86_400_000_000, 1)
    assert (later.open, later.lately, later.events_lately, later.is_alarming) == (10, 0, 0, False)
