"""One JSON object → one event, or the field and the rule that refuse it; and what of it may be kept."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from tests.acme import ANDROID, APPS, IOS

from lendsignal.errors import InputError
from lendsignal.model import Consent, Device, Event, Instalment
from lendsignal.source import derived_id, masked, read_array, read_event, read_json, reader_of

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
READER = reader_of(APPS, timedelta(hours=48))
ONE_APP = reader_of({"acme-ng": ANDROID}, timedelta(hours=48))

LOAN: dict[str, Any] = {
    "type": "disbursed",
    "brand": "acme",
    "user_id": "u1",
    "loan_id": "L1",
    "event_id": "e1",
    "occurred_at": "2026-03-10T08:59:00Z",
}
LOGIN: dict[str, Any] = {
    "type": "logged_in",
    "brand": "acme",
    "user_id": "u1",
    "app": "acme-ng",
    "occurred_at": "2026-03-10T08:59:00Z",
    "device": {"gaid": "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11"},
}


def read(found: dict[str, Any], **options: Any) -> Event:
    """The event, by the way every event takes: bytes, object, event."""
    raw = json.dumps(found).encode()
    return read_event(read_json(raw), NOW, options.pop("reader", READER), **options)


def refusal(found: dict[str, Any], **options: Any) -> tuple[str, str, str | None]:
    """Field, rule and nearest name that the event is refused with."""
    with pytest.raises(InputError) as caught:
        read(found, **options)
    return caught.value.field, caught.value.rule, caught.value.nearest


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in LOAN.items() if name != field}


# what an event becomes


def test_an_event_is_read_field_by_field() -> None:
    found = read(
        {
            **LOAN,
            "app": "acme-ios",
            "person_id": "p2",
            "actor": "system",
            "purpose": "analytics",
            "time_precision": "day",
            "revision": 3,
            "test": True,
            "loan_number": 4,
            "product": "payday",
            "amount": "1250.50",
            "currency": "NGN",
            "fee": 80,
            "principal": 12.5,
            "term_days": 30,
            "schedule": [{"due_date": "2026-04-09", "amount": "1330.50"}],
            "due_date": "2026-04-10",
            "outstanding": 7,
            "closes_loan": False,
            "properties": {"shop": "Ikeja", "rank": 5, "vip": None},
        },
        source="crm",
    )

    assert found == Event(
        type="disbursed",
        brand="acme",
        user_id="u1",
        event_id="e1",
        occurred_at=datetime(2026, 3, 10, 8, 59, tzinfo=UTC),
        received_at=NOW,
        source="crm",
        app="acme-ios",
        person_id="p2",
        actor="system",
        purpose="analytics",
        time_precision="day",
        revision=3,
        test=True,
        loan_id="L1",
        loan_number=4,
        product="payday",
        amount=Decimal("1250.50"),
        currency="NGN",
        fee=Decimal(80),
        principal=Decimal("12.5"),
        term_days=30,
        schedule=(Instalment(due_date=date(2026, 4, 9), amount=Decimal("1330.50")),),
        due_date=date(2026, 4, 10),
        outstanding=Decimal(7),
        closes_loan=False,
        properties={"shop": "Ikeja", "rank": 5, "vip": None},
    )


def test_a_time_is_rfc_3339_with_an_offset_or_epoch_milliseconds() -> None:
    """1773133140000 ms is 2026-03-10 08:59:00 UTC (`date -d @1773133140 -u`)."""
    same = ["2026-03-10T08:59:00Z", "2026-03-10T09:59:00+01:00", "2026-03-10T00:59:00-08:00", 1773133140000]

    assert {read({**LOAN, "occurred_at": one}).occurred_at for one in same} == {
        datetime(2026, 3, 10, 8, 59, tzinfo=UTC)
    }


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("2026-03-10T08:59:00", "has no offset: write Z or +07:00 behind it"),
        ("2026-03-10", "must be RFC 3339 text with an offset, or whole epoch milliseconds"),
        ("yesterday", "must be RFC 3339 text with an offset, or whole epoch milliseconds"),
        (1773133140.5, "must be RFC 3339 text with an offset, or whole epoch milliseconds"),
        (True, "must be RFC 3339 text with an offset, or whole epoch milliseconds"),
        (None, "must be RFC 3339 text with an offset, or whole epoch milliseconds"),
        (10**17, "must be RFC 3339 text with an offset, or whole epoch milliseconds"),
        (1773133140, "lies before 2005; epoch times must be in milliseconds"),
        (0, "lies before 2005; epoch times must be in milliseconds"),
        ("1970-01-01T00:00:00Z", "lies before 2005; epoch times must be in milliseconds"),
        ("9999-12-31T23:59:59-14:00", "is no time we can keep"),
    ],
)
def test_another_time_is_refused(value: object, rule: str) -> None:
    assert refusal({**LOAN, "occurred_at": value}) == ("occurred_at", rule, None)


def test_2099_is_refused_for_a_phone_and_a_back_end_alike() -> None:
    for one in (LOAN, LOGIN):
        field, rule, _ = refusal({**one, "occurred_at": "2099-01-01T00:00:00Z"})

        assert (field, rule.endswith("days after its arrival")) == ("occurred_at", True)


# clocks


def test_a_back_ends_clock_may_run_five_minutes_ahead_and_is_pulled_back_to_the_arrival() -> None:
    assert read({**LOAN, "occurred_at": "2026-03-10T09:05:00Z"}).occurred_at == NOW
    assert refusal({**LOAN, "occurred_at": "2026-03-10T09:05:01Z"})[:2] == (
        "occurred_at",
        "lies 5 minutes after its arrival",
    )


def test_a_phones_clock_three_hours_ahead_never_puts_a_login_after_its_arrival() -> None:
    found = read({**LOGIN, "occurred_at": "2026-03-10T12:00:00Z"})

    assert (found.occurred_at, found.flags) == (NOW, ("clock_ahead",))


def test_a_phones_clock_may_not_run_ahead_without_end() -> None:
    assert read({**LOGIN, "occurred_at": "2026-03-12T09:00:00Z"}).occurred_at == NOW
    assert refusal({**LOGIN, "occurred_at": "2026-03-12T09:00:01Z"})[1] == "lies 48 hours after its arrival"


@pytest.mark.parametrize("sent_at", ["2026-03-10T12:00:00Z", "2026-03-10T06:00:00Z"])
def test_a_login_is_moved_by_what_the_phones_clock_is_off(sent_at: str) -> None:
    """Sent at once by the phone's clock, so the login was as long before the sending as it says: a minute."""
    seen = datetime.fromisoformat(sent_at) - timedelta(minutes=1)

    found = read({**LOGIN, "occurred_at": seen.isoformat(), "sent_at": sent_at})

    assert (found.occurred_at, found.flags) == (NOW - timedelta(minutes=1), ("clock_corrected",))


def test_a_few_seconds_on_the_way_are_no_wrong_clock() -> None:
    found = read({**LOGIN, "sent_at": "2026-03-10T08:59:50Z"})

    assert (found.occurred_at, found.flags) == (datetime(2026, 3, 10, 8, 59, tzinfo=UTC), ())


def test_a_back_ends_time_is_not_moved() -> None:
    found = read({**LOAN, "sent_at": "2026-03-10T05:00:00Z"})

    assert found.occurred_at == datetime(2026, 3, 10, 8, 59, tzinfo=UTC)


def test_a_sending_time_beyond_all_times_is_refused() -> None:
    sent = {"occurred_at": "9999-12-31T00:00:00Z", "sent_at": "2005-01-01T00:00:00Z"}

    assert refusal({**LOGIN, **sent})[0] == "sent_at"


def test_a_day_may_lie_ahead_of_its_arrival_but_not_by_a_day() -> None:
    day = {**LOAN, "time_precision": "day"}

    assert read({**day, "occurred_at": "2026-03-10T23:59:59Z"}).occurred_at > NOW
    assert refusal({**day, "occurred_at": "2026-03-11T09:00:00Z"})[0] == "occurred_at"


def test_only_an_import_or_a_replay_may_say_when_an_event_arrived() -> None:
    told = {**LOAN, "received_at": "2026-03-10T08:59:30Z"}

    assert refusal(told) == ("received_at", "is set by us when the event arrives", None)
    replay = reader_of(APPS, timedelta(hours=48), sets_received_at=True)
    assert read(told, reader=replay).received_at == datetime(2026, 3, 10, 8, 59, 30, tzinfo=UTC)


# what is needed


@pytest.mark.parametrize("field", ["type", "brand", "user_id", "occurred_at", "loan_id"])
def test_a_loan_cannot_do_without(field: str) -> None:
    found, rule, _ = refusal(without(field))

    assert found == field
    assert rule.startswith("is needed")


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("applied", "application_id"),
        ("credit_granted", "grant_id"),
        ("credit_denied", "application_id"),
        ("repaid", "payment_id"),
        ("repayment_reversed", "payment_id"),
        ("overdue", "loan_id"),
        ("consent_changed", "consent"),
    ],
)
def test_each_type_needs_the_key_of_its_kind(kind: str, key: str) -> None:
    assert refusal({**without("loan_id"), "type": kind})[:2] == (key, f"is needed for {kind}")


def test_an_amount_needs_its_currency() -> None:
    assert refusal({**LOAN, "amount": 5})[0] == "currency"


@pytest.mark.parametrize("field", ["amount", "fee", "principal", "limit", "outstanding"])
@pytest.mark.parametrize("value", [-1, "-0.01", "NaN", "Infinity", 10**15, "1e-400", "abc", [1], True])
def test_an_amount_is_a_number_from_zero_to_a_thousand_million_million(field: str, value: object) -> None:
    found, rule, _ = refusal({**LOAN, "currency": "NGN", field: value})

    assert found == field
    assert str(value) not in rule


@pytest.mark.parametrize("value", [0, 0.1, 12.5, "1250.50", 999_999_999_999_999])
def test_an_amount_is_kept_exactly_as_it_was_written(value: Any) -> None:
    assert read({**LOAN, "currency": "NGN", "amount": value}).amount == Decimal(str(value))


# whose it is


def test_an_unknown_app_is_refused_with_the_nearest_name() -> None:
    assert refusal({**LOAN, "app": "acme-mg"}) == ("app", "is not one of yours", "acme-ng")


def test_an_unknown_brand_is_refused_with_the_nearest_name() -> None:
    assert refusal({**LOAN, "brand": "acne"}) == ("brand", "is not one of yours", "acme")


def test_an_app_of_another_brand_is_refused() -> None:
    apps = {**APPS, "other": msgspec.structs.replace(IOS, name="other", brand="zeta")}
    reader = reader_of(apps, timedelta(hours=48))

    assert refusal({**LOAN, "app": "other"}, reader=reader)[:2] == ("app", "belongs to another brand")


def test_a_login_must_say_which_of_the_brands_apps_it_was() -> None:
    nameless = {name: value for name, value in LOGIN.items() if name != "app"}

    assert refusal(nameless)[0] == "app"
    assert read(nameless, reader=ONE_APP).app == "acme-ng"


def test_a_login_by_an_agent_is_taken_as_it_is() -> None:
    assert read({**LOGIN, "actor": "agent"}).actor == "agent"


@pytest.mark.parametrize("kind", ["lendsignal.policy_changed", "lendsignal.pen_expired", "lendsignal.x"])
def test_our_own_types_are_not_for_senders(kind: str) -> None:
    assert refusal({**LOAN, "type": kind})[0] == "type"


@pytest.mark.parametrize("field", ["source", "flags", "contact"])
def test_what_we_set_ourselves_is_not_for_senders(field: str) -> None:
    assert refusal({**LOAN, field: []})[:2] == (field, "is set by us")


# wrong names and types


@pytest.mark.parametrize(
    ("extra", "field", "nearest"),
    [
        ({"loan_nr": 1}, "loan_nr", "loan_number"),
        ({"currancy": "NGN"}, "currancy", "currency"),
        ({"phone_number": "08012345678"}, "phone_number", None),
        ({"device": {"gaids": "g"}}, "device.gaids", "gaid"),
        ({"zzz": 1}, "zzz", None),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(
    extra: dict[str, Any], field: str, nearest: str | None
) -> None:
    found, rule, near = refusal({**LOAN, **extra})

    assert (found, rule) == (field, "is no field of ours; put your own under properties")
    assert nearest is None or near == nearest


@pytest.mark.parametrize(
    ("extra", "field", "rule"),
    [
        ({"loan_id": 7}, "loan_id", "expected text or null, got a whole number"),
        ({"user_id": 7}, "user_id", "expected text, got a whole number"),
        ({"user_id": ""}, "user_id", "expected text of length >= 1"),
        ({"user_id": "x" * 1_000_000}, "user_id", "expected text of length <= 128"),
        ({"test": "yes"}, "test", "expected true or false, got text"),
        ({"actor": "robot"}, "actor", "is not one of the allowed words"),
        ({"loan_number": 1.5}, "loan_number", "expected a whole number or null, got a number"),
        ({"loan_number": 0}, "loan_number", "expected a whole number >= 1"),
        ({"schedule": {}}, "schedule", "expected a list, got an object"),
        (
            {"schedule": [{"due_date": "soon", "amount": 1}]},
            "schedule[0].due_date",
            "invalid RFC3339 encoded date",
        ),
        ({"fee": "much"}, "fee", "must be a number"),
        ({"properties": {"a": {}}}, "properties[...]", None),
        ({"properties": {"k" * 129: 1}}, "properties", "expected text of length <= 128"),
        ({"device": {"att_status": 4}}, "device.att_status", "expected a whole number <= 3"),
        (
            {"consent": {"ad_user_data": "no"}},
            "consent.ad_user_data",
            "expected true or false or null, got text",
        ),
        ({"type": "Bad Type"}, "type", None),
        ({"type": ["disbursed"]}, "type", "is needed and must be text"),
        ({"brand": 5}, "brand", "is needed and must be text"),
        ({"email": 5}, "email", "must be text of at most 320 characters"),
        ({"phone": "1" * 321}, "phone", "must be text of at most 320 characters"),
    ],
)
def test_a_wrong_value_is_refused_with_field_and_rule(
    extra: dict[str, Any], field: str, rule: str | None
) -> None:
    found, why, _ = refusal({**LOAN, **extra})

    assert found == field
    assert rule is None or why == rule


@pytest.mark.parametrize(
    "extra",
    [
        {"properties": {"n": 2**63}},
        {"properties": {"n": -(2**63) - 1}},
        {"revision": 2**63},
        {"device": {"screen_width": 2**70}},
        {"device": {"storage_gb": -1}},
    ],
)
def test_a_number_that_the_log_cannot_keep_is_refused_at_the_door(extra: dict[str, Any]) -> None:
    """One such event would make the commit of everybody else's fail."""
    refusal({**LOAN, **extra})


def test_whatever_is_taken_can_be_kept() -> None:
    edges = {"n": 2**63 - 1, "m": -(2**63), "x": 1e308, "s": "\x00\U0001f600", "b": False}

    found = read({**LOAN, "properties": edges, "revision": 2**63 - 1})

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Event) == found


# JSON


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"", "must be JSON"),
        (b"{", "must be JSON"),
        (b"{'type': 'disbursed'}", "must be JSON"),
        (b'{"a": NaN}', "must be JSON"),
        (b'{"a": 1e999}', "must be JSON"),
        (b'{"a": "\\ud800"}', "must be JSON"),
        (b'{"a": 1} {"b": 2}', "must be JSON"),
        (b'{"a":' + b"1" * 5000 + b"}", "must be JSON"),
        (b'{"a": "\xff"}', "must be UTF-8 text"),
        (b'{"\xff": 1}', "must be UTF-8 text"),
        (b"[1]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "must not be nested that deeply"),
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes, rule: str) -> None:
    with pytest.raises(InputError) as caught:
        read_json(raw)

    assert caught.value.field == "body"
    assert caught.value.rule.startswith(rule)


@pytest.mark.parametrize("depth", range(900, 1010, 7))
@pytest.mark.parametrize("space", [b"", b" "])
def test_any_depth_is_either_read_or_refused(depth: int, space: bytes) -> None:
    raw = b'{"a":' + space + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    try:
        rule = "" if read_json(raw) else "nothing was read"
    except InputError as error:
        rule = error.rule

    assert rule in ("", "must not be nested that deeply")


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"a":1,"a":2}', "a"),
        (b'{"a" : 1, "a" : 2}', "a"),
        (b'{"a":{"b":1,"b":1}}', "b"),
        (b'{"list":[{"b":1},{"b":1,"c":2,"b":3}]}', "b"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"x":"\\":","a":1,"a":2}', "a"),
        (b'{"+2348012345678":1,"+2348012345678":2}', "(a name)"),
    ],
)
def test_a_key_that_stands_twice_is_refused(raw: bytes, key: str) -> None:
    with pytest.raises(InputError) as caught:
        read_json(raw)

    assert (caught.value.field, caught.value.rule) == (key, "stands twice in one object")


@pytest.mark.parametrize(
    "raw", [b'{"a":"b\\":"}', b'{"a" :1, "b": [ ] }', b'{"a":{"b":1},"c":{"b":1}}', b"{}"]
)
def test_a_key_that_stands_once_in_each_object_is_fine(raw: bytes) -> None:
    assert read_json(raw) == json.loads(raw)


ONE_BY_ONE = [
    b'[{"a":1},{"a":2,"a":2}]',
    b'[{"a":1,"b":2},{"a" : 1, "a":2}]',
    b'[{"a":{"b":1}},{"a":{"b":1,"b":2}}]',
    b'[{"a":[{"b":1},{"b":1,"b":2}]}]',
    b'[{"a":1,"\\u0061":2},{"a":1}]',
    b'[{"a":"\\":"}]',
    b'[{"a":1},7]',
    b'[{"a":1},null]',
    b'[{"a":1}',
    b'[{"a":"\xff"}]',
    b'{"a":1}',
]
"""A key that stands twice, what may hide one, and what is no array of objects."""


@pytest.mark.parametrize("raw", ONE_BY_ONE)
def test_an_array_that_needs_a_closer_look_is_not_read_in_one_go(raw: bytes) -> None:
    assert read_array(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'[{"a":1,"b":"x"},{"a":2}]',
        b' [ {"a": 1},\n {"a": "x:y"} ] ',
        b'[{"a":{"b":[1,{"c":2}]},"d":{}},{"b":[]},{}]',
    ],
)
def test_an_array_read_in_one_go_is_what_it_is_one_by_one(raw: bytes) -> None:
    one_by_one = [read_json(bytes(item)) for item in msgspec.json.decode(raw, type=list[msgspec.Raw])]

    assert read_array(raw) == one_by_one


@pytest.mark.parametrize("depth", range(900, 1010, 7))
def test_an_array_of_any_depth_is_either_read_or_left_to_a_closer_look(depth: int) -> None:
    raw = b'[{"a":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}]"

    found = read_array(raw)

    assert found is None or len(found) == 1


# ids


def test_an_id_that_nobody_gave_follows_from_type_brand_key_and_time() -> None:
    """Twelve hex digits of the epoch milliseconds, then BLAKE2b of the parts behind unit separators."""
    parts = ("disbursed", "acme", "L1", "1773133140000", "")
    digest = blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()

    assert read(without("event_id")).event_id == f"{1773133140000:012x}-{digest}"


def test_derived_ids_rise_with_time_and_differ_by_every_part() -> None:
    base = ("repaid", "acme", "P1", NOW, "1")
    others = [
        ("registered", "acme", "P1", NOW, "1"),
        ("repaid", "zeta", "P1", NOW, "1"),
        ("repaid", "acme", "P2", NOW, "1"),
        ("repaid", "acme", "P1", NOW, "2"),
    ]

    assert len({derived_id(*one) for one in (base, *others)}) == 5
    assert derived_id("a", "a", "a", NOW) < derived_id("a", "a", "a", NOW + timedelta(milliseconds=1))


def test_a_login_sent_again_keeps_its_derived_id_though_its_time_is_corrected_otherwise() -> None:
    first = {**LOGIN, "occurred_at": "2026-03-10T11:59:00Z"}
    one = read({**first, "sent_at": "2026-03-10T12:00:00Z"})
    other = read({**first, "sent_at": "2026-03-10T12:30:00Z"})

    assert one.event_id == other.event_id
    assert one.occurred_at != other.occurred_at


# contacts


def test_contacts_are_hashed_and_the_raw_ones_are_gone() -> None:
    """SHA-256 of `someone@acme.example` and of `2348012345678`, by `printf … | sha256sum`."""
    found = read({**LOAN, "email": " SomeOne@Acme.example ", "phone": "+234 801 234 5678"})

    assert found.contact is not None
    assert found.contact.email == "10735c787d20cf66f16ebd34223ffe57cab747d308e0436ee9c670566df2b636"
    assert found.contact.phone_digits == "61d593aff531c413752d4a580c9c6b64977c7c861270528d9ef765715959e9c3"
    raw = msgspec.json.encode(found).lower()
    assert b"someone" not in raw
    assert b"8012345678" not in raw


def test_a_contact_that_cannot_be_used_costs_the_contact_and_not_the_event() -> None:
    found = read({**LOAN, "email": "nobody", "phone": "0801 234 5678"})

    assert found.contact is None
    assert found.flags == ("unusable_email", "unusable_phone")


def test_an_import_marks_its_events_as_history() -> None:
    assert read(LOAN, history=True).history
    assert not read(LOAN).history


def test_consent_and_device_are_read() -> None:
    found = read({**without("loan_id"), "type": "consent_changed", "consent": {"ad_user_data": False}})

    assert found.consent == Consent(ad_user_data=False)
    assert read(LOGIN).device == Device(gaid="7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11")


# quarantine


PERSONAL = ["someone@acme.example", "+2348012345678", "08012345678", "733.25", "Ngozi"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":"applied","email":"someone@acme.example","phone":"+2348012345678","score":733.25}',
        b'{"phone_number":"08012345678","full_name":"Ngozi","credit_score":733.25}',
        b'{"user":{"mobile":"08012345678","mail":"someone@acme.example","n":["Ngozi"]}}',
        b'{"phone":"080\\"12345678\\"08012345678","email":"a\\u0040b","score":"733.25"}',
        b'{"properties":{"tel":"08012345678","note":"Ngozi, someone@acme.example"},"device":{"x":"Ngozi"}}',
        b'{"product":"call +234 801 234 5678 or someone@acme.example"}',
        b"{'phone': '08012345678', 'score': 733.25, 'mail': 'someone@acme.example'}",
        b'{"phone":"08012345678","score":733.25',
        b"phone=08012345678&email=someone@acme.example&score=733.25",
        b'{"\xff":"someone@acme.example","phone":"08012345678","score":733.25}',
        b"[" * 3000 + b'"08012345678"',
        b'{"+2348012345678":1,"someone@acme.example":2}',
    ],
)
def test_no_contact_and_no_score_is_kept_of_what_was_refused(raw: bytes) -> None:
    kept = masked(raw).decode()

    assert [value for value in PERSONAL if value in kept] == []
    assert "8012345678" not in kept


@pytest.mark.parametrize("before", range(4060, 4100, 3))
def test_a_contact_is_not_kept_by_being_cut_in_the_middle(before: int) -> None:
    raw = b'{"x":"' + b"." * before + b'","email":"someone@acme.example","phone":"+2348012345678"}'
    for one in (raw, raw[:-1], raw[: before + 30]):
        kept = masked(one)

        assert len(kept) <= 4096
        assert b"someone" not in kept
        assert b"234" not in kept


def test_what_is_kept_still_tells_what_was_meant() -> None:
    raw = json.dumps({**LOAN, "amount": -5, "phone": "08012345678", "properties": {"a": 1}}).encode()

    assert json.loads(masked(raw)) == {
        **LOAN,
        "amount": -5,
        "phone": "[masked]",
        "properties": {"a": "[masked]"},
    }


def test_a_refusal_never_repeats_a_value() -> None:
    values = ["someone@acme.example", "+2348012345678", "Ngozi Okafor", "733.25"]
    for field in (*LOAN, "amount", "actor", "currency", "device", "consent", "score", "schedule", "revision"):
        for value in values:
            with pytest.raises(InputError) as caught:
                read({**LOAN, "loan_number": "x", field: value})
            assert value not in str(caught.value)
            with pytest.raises(InputError) as caught:
                read({**LOAN, value: 1})
            assert value not in str(caught.value)
