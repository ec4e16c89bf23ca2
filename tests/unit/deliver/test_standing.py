"""How a destination stands: counts, who stopped it, and what to type next."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lendsignal.deliver import First, Standing, standings
from lendsignal.log import EVERY, Changes, Deliveries, Halt, Open, Orders, Pause, Stage, Stop, open_deliveries
from lendsignal.log import open_orders as opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Deliveries]:
    with closing(open_deliveries(tmp_path / "deliveries.sqlite")) as found:
        yield found


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Orders]:
    with closing(opened(tmp_path / "orders.sqlite")) as found:
        yield found


def paused(store: Deliveries, **stops: Pause) -> None:
    changes = Changes()
    changes.paused = {EVERY if name == "every" else name: pause for name, pause in stops.items()}
    store.commit(changes)


def the(found: list[Standing], name: str) -> Standing:
    return next(one for one in found if one.destination == name)


def test_every_stage_is_counted_and_what_is_dead(store: Deliveries) -> None:
    changes = Changes()
    for number, stage in enumerate(
        [Stage.WAITING, Stage.PARKED, Stage.CLAIMED, Stage.HELD, Stage.PENDING], 1
    ):
        changes.keep(Open("acme", number, stage, 0))
    changes.add("acme", "disbursement", "planned", n=8)
    changes.add("acme", "disbursement", "dead", "bad_field", n=2)
    changes.add("acme", "registration", "dead", "too_old", n=1)
    store.commit(changes)
    (one,) = standings(store, None, ["acme"])

    assert (one.waiting, one.claimed, one.held, one.pending, one.dead) == (2, 1, 1, 1, 3)
    assert one.next_words == [
        "lendsignal replay --state held --destination acme --dry-run",
        "lendsignal dead list --destination acme",
    ]


def test_of_what_waits_the_oldest_says_why(store: Deliveries) -> None:
    changes = Changes()
    changes.keep(Open("acme", 5, Stage.WAITING, 70))
    changes.keep(Open("acme", 3, Stage.PARKED, 90, attempts=4, unknown=1, reason="platform_error"))
    changes.keep(Open("acme", 2, Stage.HELD, 10, attempts=9, reason="timeout"))
    changes.add("acme", "disbursement", "planned", n=3)
    store.commit(changes)
    acme, other = standings(store, None, ["acme", "other"])

    assert acme.first == First(delivery=3, tries=5, reason="platform_error", due_us=90)
    assert other.first is None


def test_a_pause_by_a_person_names_who_ordered_it_last(store: Deliveries, orders: Orders) -> None:
    orders.give([Halt(("acme",), "by_hand")], "ann", 1)
    orders.give([Halt(("acme", "other"), "new token")], "ben", 2)
    orders.give([Halt(("other",), "new token")], "cid", 3)
    orders.give([Halt(("acme",), "not carried out yet")], "dan", 5)
    paused(store, acme=Pause(4, Stop.PERSON, "new token"))
    (stop,) = the(standings(store, orders, ["acme", "other"]), "acme").stopped

    assert (stop.by, stop.who, stop.reason, stop.since_us) == ("person", "ben", "new token", 4)
    assert the(standings(store, orders, ["acme", "other"]), "other").stopped == ()


def test_a_pause_of_everything_stands_at_each(store: Deliveries, orders: Orders) -> None:
    orders.give([Halt((EVERY,))], "ann", 1)
    paused(store, every=Pause(2, Stop.PERSON, "by_hand"), acme=Pause(3, Stop.PLATFORM, "bad_token"))
    found = standings(store, orders, ["acme", "other"])

    assert [(stop.everything, stop.by, stop.who) for stop in the(found, "acme").stopped] == [
        (True, "person", "ann"),
        (False, "platform", None),
    ]
    assert the(found, "other").next_words == ["lendsignal resume --all"]


@pytest.mark.parametrize("reason", ["first_run", "unusual_volume", "mass_reject"])
def test_a_brake_says_how_to_go_on(store: Deliveries, reason: str) -> None:
    paused(store, acme=Pause(1, Stop.BRAKE, reason))
    (words,) = the(standings(store, None, ["acme"]), "acme").next_words

    assert "lendsignal resume acme" in words


def test_what_waits_for_a_destination_that_is_gone_is_shown(store: Deliveries) -> None:
    changes = Changes()
    changes.keep(Open("gone", 64, Stage.WAITING, 0))
    changes.add("gone", "disbursement", "planned")
    store.commit(changes)
    found = standings(store, None, ["acme"])

    assert [(one.destination, one.configured, one.waiting) for one in found] == [
        ("acme", True, 0),
        ("gone", False, 1),
    ]
    assert "lendsignal cancel --destination gone" in the(found, "gone").next_words[0]
