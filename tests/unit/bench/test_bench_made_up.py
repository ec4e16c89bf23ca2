"""What the bench sends is what a back end could send."""

from datetime import UTC, datetime, timedelta

from lendsignal.bench.made_up import life, loans, logins, requests, scattered
from lendsignal.model import App, Event
from lendsignal.source import read_event, read_json, reader_of

APP = App(
    name="bench",
    brand="bench",
    platform="android",
    bundle="com.bench.loans",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)


def read(bodies: list[bytes]) -> list[Event]:
    reader = reader_of({"bench": APP}, timedelta(minutes=5))
    return [read_event(read_json(body), datetime.now(UTC), reader) for body in bodies]


def test_the_door_takes_every_made_up_event() -> None:
    found = read(logins(range(3)) + loans(range(3)))

    assert [event.type for event in found] == ["logged_in"] * 3 + ["disbursed"] * 3
    assert [event.user_id for event in found] == ["bench-0", "bench-1", "bench-2"] * 2
    assert all(event.device is not None and event.device.appsflyer_id for event in found[:3])
    assert [event.loan_id for event in found[3:]] == ["L0", "L1", "L2"]


def test_a_tenth_of_a_growing_lenders_events_are_new_users_and_a_loan_follows_its_users_login() -> None:
    found = read(life(range(5_000), 10))
    seen: set[str] = set()
    orphans = 0
    for event in found:
        if event.type == "logged_in":
            seen.add(event.user_id)
        else:
            orphans += event.user_id not in seen

    assert len(seen) == 500
    assert orphans == 0


def test_loans_are_scattered_over_all_users_evenly() -> None:
    chosen = [scattered(number, 10) for number in range(10_000)]

    assert set(chosen) == set(range(10))
    assert all(900 < chosen.count(user) < 1_100 for user in range(10))


def test_a_batch_is_a_list_and_one_alone_is_not() -> None:
    assert requests([b"{1}", b"{2}", b"{3}"], 2) == [b"[{1},{2}]", b"[{3}]"]
    assert requests([b"{1}", b"{2}"], 1) == [b"{1}", b"{2}"]
