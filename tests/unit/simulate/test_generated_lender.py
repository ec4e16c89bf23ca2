"""What a made-up lender's events and files look like."""

import csv
import gzip
import json
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.model import KEY_FIELD, ZERO_ID, Event, is_touch
from lendsignal.simulate import Parameters, World, events, generate, make, stream, write
from lendsignal.simulate.arrivals import Fault
from lendsignal.simulate.chance import NEVER
from lendsignal.simulate.parameters import Applications, Arrivals, Period, Phones, Repayments, Scoring

SMALL = Parameters(
    period=Period(users=500, days=120),
    phones=Phones(ios=0.3, new_phone=0.1, reinstall=0.2, other_platform=0.05, shared=0.05, ring_users=0.03),
    arrivals=Arrivals(duplicated=0.02, conflicting=0.02, clock_ahead=0.02),
    repayments=Repayments(bounced=0.05, extended=0.1, in_two_parts=0.2, default_after_days=30),
)


@pytest.fixture(scope="module")
def world() -> World:
    return make(SMALL, 5)


@pytest.fixture(scope="module")
def told(world: World) -> list[dict[str, Any]]:
    return list(events(world))


def of_type(told: list[dict[str, Any]], *types: str) -> list[dict[str, Any]]:
    """Events of some types, each once: no copies, no conflicting repeats."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for event in told:
        if event["type"] in types:
            key = KEY_FIELD.get(event["type"])
            seen.setdefault((event["type"], event[key] if key else event["event_id"]), event)
    return list(seen.values())


def test_every_line_is_an_event_that_the_model_takes(told: list[dict[str, Any]]) -> None:
    for fields in told:
        event = msgspec.json.decode(msgspec.json.encode(fields), type=Event)
        key = KEY_FIELD.get(event.type)

        assert key is None or getattr(event, key)
        assert event.occurred_at.tzinfo is not None
        assert (event.device is not None) == (event.type in ("registered", "logged_in", "app_opened"))
        assert is_touch(event) == (event.device is not None and event.actor == "user")


def test_every_type_of_event_happens(told: list[dict[str, Any]]) -> None:
    happened = Counter(event["type"] for event in told)

    assert set(KEY_FIELD) | {"registered", "logged_in", "app_opened", "consent_changed"} >= set(happened)
    assert set(KEY_FIELD) - set(happened) <= {
        "disbursement_reversed",
        "loan_cancelled",
        "recovered",
    }  # the rare


def test_times_are_rfc_3339_with_milliseconds_and_z(told: list[dict[str, Any]]) -> None:
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

    assert all(
        form.fullmatch(event["occurred_at"]) and form.fullmatch(event["received_at"]) for event in told
    )


def test_ids_have_the_form_their_platform_gives_them(told: list[dict[str, Any]]) -> None:
    uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    shapes = {
        "android": {"appsflyer_id": r"\d{13}-\d{19}", "gaid": f"{uuid}|{ZERO_ID}"},
        "ios": {
            "appsflyer_id": r"\d{13}-\d{7}",
            "idfa": f"{uuid.replace('a-f', 'A-F').replace('ab', 'AB')}|{ZERO_ID}",
            "idfv": uuid.replace("a-f", "A-F").replace("ab", "AB"),
        },
    }
    systems: Counter[str] = Counter()
    for event in told:
        device = event.get("device")
        if device is None:
            continue
        systems[device["os"]] += 1
        assert event["app"] == f"acme-{device['os']}"
        for name, shape in shapes[device["os"]].items():
            assert name not in device or re.fullmatch(shape, device[name]), name
        if "firebase_app_instance_id" in device:
            assert re.fullmatch("[0-9a-f]{32}", device["firebase_app_instance_id"])
        assert ("att_status" in device) == (device["os"] == "ios")

    assert min(systems["android"], systems["ios"]) > 100


def test_an_iphone_shows_its_idfa_only_where_tracking_is_authorised(told: list[dict[str, Any]]) -> None:
    iphones = [event["device"] for event in told if event.get("device", {}).get("os") == "ios"]

    assert {device["att_status"] for device in iphones} == {0, 2, 3}
    assert all((device["idfa"] != ZERO_ID) == (device["att_status"] == 3) for device in iphones)


def test_event_ids_are_unique_and_sort_by_time(world: World, told: list[dict[str, Any]]) -> None:
    copies = world.events.has(Fault.DUPLICATE).tolist()
    first = [event["event_id"] for event, copy in zip(told, copies, strict=True) if not copy]
    own = ~world.events.has(Fault.DUPLICATE | Fault.CONFLICT)
    moments = world.events.at[own][np.lexsort((world.events.id_low[own], world.events.id_high[own]))]

    assert len(set(first)) == len(first)
    assert (np.diff(moments) >= 0).all()


def test_a_copy_repeats_its_event_word_for_word_and_later(world: World, told: list[dict[str, Any]]) -> None:
    copies = np.flatnonzero(world.events.has(Fault.DUPLICATE)).tolist()
    originals = {e["event_id"]: e for i, e in enumerate(told) if i not in set(copies)}

    assert copies
    for place in copies:
        copy, original = told[place], originals[told[place]["event_id"]]
        assert {**copy, "received_at": original["received_at"]} == original
        assert copy["received_at"] > original["received_at"]


def test_a_conflicting_repeat_has_the_key_of_another_event_and_another_amount(
    world: World, told: list[dict[str, Any]]
) -> None:
    conflicts = np.flatnonzero(world.events.has(Fault.CONFLICT)).tolist()
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for i, event in enumerate(told):
        if i not in conflicts and event["type"] in ("disbursed", "repaid"):
            first.setdefault((event["type"], event[KEY_FIELD[event["type"]]]), event)

    assert conflicts
    for place in conflicts:
        other = told[place]
        event = first[other["type"], other[KEY_FIELD[other["type"]]]]
        assert other["amount"] != event["amount"]
        assert other["event_id"] != event["event_id"]
        assert other["received_at"] > event["received_at"]


def test_every_schedule_adds_up_to_amount_and_fee(told: list[dict[str, Any]], world: World) -> None:
    conflicts = set(np.flatnonzero(world.events.has(Fault.CONFLICT)).tolist())
    for place, event in enumerate(told):
        if event["type"] != "disbursed" or place in conflicts:
            continue
        parts = event["schedule"]

        assert sum(part["amount"] for part in parts) == event["amount"] + event["fee"]
        assert len(parts) == max(1, event["term_days"] // 30)
        assert [part["due_date"] for part in parts] == sorted(part["due_date"] for part in parts)
        assert 5_000 <= event["amount"] <= 60_000
        assert 0.09 <= event["fee"] / event["amount"] <= 0.31
        assert event["term_days"] in (14, 30, 60, 90)


def test_a_closed_loan_was_paid_back_in_full_and_owes_nothing(told: list[dict[str, Any]]) -> None:
    loans = {event["loan_id"]: event for event in of_type(told, "disbursed")}
    bounced = {event["payment_id"] for event in of_type(told, "repayment_reversed")}
    paid: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in of_type(told, "repaid"):
        if event["payment_id"] not in bounced:
            paid[event["loan_id"]].append(event)

    closed = [loan for loan, payments in paid.items() if any(p["closes_loan"] for p in payments)]

    assert len(closed) > 100
    assert bounced
    for loan in closed:
        assert sum(p["principal"] for p in paid[loan]) == loans[loan]["amount"]
        assert sum(p["fee"] for p in paid[loan]) == loans[loan]["fee"]
        assert [p["outstanding"] for p in paid[loan] if p["closes_loan"]] == [0]
    for loan, payments in paid.items():
        for payment in payments:
            assert payment["amount"] == payment["principal"] + payment["fee"]
            assert 0 <= payment["outstanding"] < loans[loan]["amount"] + loans[loan]["fee"]


def test_a_defaulted_loan_was_overdue_first_and_keeps_what_is_outstanding(told: list[dict[str, Any]]) -> None:
    overdue: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in {event["event_id"]: event for event in told if event["type"] == "overdue"}.values():
        overdue[event["loan_id"]].append(event)
    defaulted = of_type(told, "defaulted")

    assert defaulted
    for event in defaulted:
        last = [
            e for e in overdue[event["loan_id"]] if e["due_date"] == overdue[event["loan_id"]][-1]["due_date"]
        ]
        assert {e["dpd"] for e in last} == {1, 3, 7, 15}  # 30 is the default itself
        assert event["dpd"] == 30
        assert {e["outstanding"] for e in last} == {event["outstanding"]}


def test_payments_known_by_the_day_are_stamped_with_local_midnight_and_come_next_morning(
    told: list[dict[str, Any]],
) -> None:
    by_day = [event for event in told if event.get("time_precision") == "day"]

    assert by_day
    for event in by_day:
        occurred, received = (datetime.fromisoformat(event[name]) for name in ("occurred_at", "received_at"))
        assert occurred.time() == datetime(2026, 1, 1, 23, tzinfo=UTC).time()  # Lagos is an hour ahead
        assert received - occurred > timedelta(days=1)


def test_people_review_and_call_in_office_hours_only(told: list[dict[str, Any]]) -> None:
    starts = [
        datetime.fromisoformat(event["occurred_at"]) + timedelta(hours=1)  # Lagos
        for event in told
        if event["type"] == "phone_check_started"
    ]

    assert starts
    assert all(8 <= moment.hour < 20 and moment.weekday() < 5 for moment in starts)


def test_two_users_of_one_phone_show_the_same_installation(told: list[dict[str, Any]]) -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for event in told:
        if event["type"] == "registered":
            users[event["device"]["firebase_app_instance_id"]].add(event["user_id"])

    sizes = sorted(len(each) for each in users.values())
    assert sizes[-1] >= 5  # a ring
    assert 2 in sizes


def test_a_stream_is_the_part_that_arrives_in_its_window(told: list[dict[str, Any]]) -> None:
    world = make(SMALL, 5)
    start, end = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 3, 12, tzinfo=UTC)
    inside = [e for e in told if start <= datetime.fromisoformat(e["received_at"]) < end]

    assert list(stream(world, start, end)) == inside
    assert len(inside) > 10


def test_a_second_score_model_moves_scores_and_leaves_decisions_alone() -> None:
    once = make(replace(SMALL, period=Period(users=200, days=60)), 3)
    switched = make(
        replace(SMALL, period=Period(users=200, days=60), scoring=Scoring(second_version_from_day=30)), 3
    )
    before, after = once.book.applications, switched.book.applications

    moved = after.score - before.score
    assert before.granted.tolist() == after.granted.tolist()
    assert set(moved.round(6).tolist()) == {0.0, 40.0}
    assert (moved > 0).tolist() == after.second_score.tolist()
    assert {e["score_version"] for e in events(switched) if "score" in e} == {"s1", "s2"}


def test_loans_overlap_only_where_the_parameters_say_so() -> None:
    def overlaps(share: float) -> int:
        loans = make(replace(SMALL, applications=Applications(overlap=share)), 8).book
        asked = loans.applications
        order = np.lexsort((asked.at, asked.user))
        begun = asked.at[order]
        ended = np.full(len(order), -1)
        ended[loans.loans.application] = np.where(loans.loans.ended_at == NEVER, -1, loans.loans.ended_at)
        same = asked.user[order][1:] == asked.user[order][:-1]
        return int((same & (begun[1:] < ended[order][:-1])).sum())

    assert overlaps(0.0) == 0
    assert overlaps(0.5) > 10


def test_a_world_of_one_user_and_one_day_can_be_made(tmp_path: Path) -> None:
    summary = generate(tmp_path, Parameters(period=Period(users=1, days=1)), 1)

    assert summary.users == 1
    assert summary.by_type["registered"] == 1


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []

    generate(
        tmp_path,
        Parameters(period=Period(users=50, days=20)),
        1,
        lambda doing, done: heard.append((doing, done)),
    )

    shares = [done for _, done in heard]
    assert all(a <= b for a, b in pairwise(shares))
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(doing for doing, _ in heard)


def test_files_agree_with_the_events_and_with_each_other(
    tmp_path: Path, world: World, told: list[dict[str, Any]]
) -> None:
    summary = write(world, tmp_path)

    with gzip.open(tmp_path / "events.jsonl.gz", "rt") as file:
        assert [json.loads(line) for line in file] == told
    installs = list(csv.DictReader((tmp_path / "attribution.csv").read_text().splitlines()))
    by_firebase = {row["firebase_app_instance_id"]: row for row in installs}
    assert [row["install_time"] for row in installs] == sorted(row["install_time"] for row in installs)
    assert len(by_firebase) == len({row["appsflyer_id"] for row in installs}) == len(installs)
    for event in told:
        device = event.get("device", {})
        if "appsflyer_id" in device and event.get("actor") != "agent":
            row = by_firebase[device["firebase_app_instance_id"]]
            assert (row["appsflyer_id"], row["app"]) == (device["appsflyer_id"], event["app"])
            assert row["install_time"] == device["installed_at"]
    spend = list(csv.DictReader((tmp_path / "spend.csv").read_text().splitlines()))
    paid = [row for row in installs if row["media_source"] != "organic"]
    assert sum(int(row["installs"]) for row in spend) == len(paid)
    assert {row["currency"] for row in spend} == {"NGN"}
    with gzip.open(tmp_path / "truth" / "users.csv.gz", "rt") as file:
        users = list(csv.DictReader(file))
    with gzip.open(tmp_path / "truth" / "loans.csv.gz", "rt") as file:
        loans = list(csv.DictReader(file))
    assert len(users) == summary.users == 500
    assert len(loans) == summary.loans == sum(int(row["loans"]) for row in users)
    assert sum(int(row["margin"]) for row in users) == sum(int(row["margin"]) for row in loans)
    assert {row["loan_id"] for row in loans} == {event["loan_id"] for event in of_type(told, "disbursed")}
    assert summary.events == len(told)
    assert summary.by_type == Counter(event["type"] for event in told)
    stored = json.loads((tmp_path / "truth" / "summary.json").read_text())
    assert stored == json.loads(msgspec.json.encode(summary))
    with gzip.open(tmp_path / "truth" / "faults.csv.gz", "rt") as file:
        faulty = Counter(name for row in csv.DictReader(file) for name in row["faults"].split())
    assert faulty == Counter({name: count for name, count in summary.faults.items() if count})
