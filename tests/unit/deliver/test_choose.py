"""Which deliveries a filter means: counted from real receipts, and carried out by the real sender."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.acme import APPS, DAY, event, us
from tests.desk import TOKEN, Desk, acme, borrower, borrowers, verdicts
from tests.scripted import Act, Platform, closes, platform

from lendsignal.deliver import Choice, Chooser, Chosen, Outlet, Unknown, choose
from lendsignal.deliver.sender import Sender
from lendsignal.log import Again, Order, Orders, Stop, open_orders


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


@contextmanager
def desk_of(
    path: Path, *script: Act, outlets: tuple[Outlet, ...] = (), **settings: Any
) -> Iterator[tuple[Desk, Platform]]:
    """A desk and its platform."""
    with (
        platform(*script) as played,
        Desk(path, *(outlets or (acme(),)), sandbox=played.url, **settings) as desk,
    ):
        yield desk, played


def chooser(desk: Desk) -> Chooser:
    return Chooser(desk.log, desk.store, desk.outlets, desk.clock.now_us())


def again(desk: Desk, *states: str, **filters: Any) -> Chosen:
    """What a replay would send."""
    return chooser(desk).to_send_again(Choice(states=frozenset(states or ("dead",)), **filters))


def to_cancel(desk: Desk, *states: str, **filters: Any) -> Chosen:
    """What a cancel would withdraw."""
    return chooser(desk).to_cancel(Choice(states=frozenset(states), **filters))


def lines(chosen: Chosen) -> list[tuple[str, str, str, int]]:
    return [(one.state, one.conversion, one.reason, one.n) for one in chosen.counts()]


def obey(desk: Desk, *given: Order) -> tuple[int, int]:
    """Gives orders to a sender of its own; deliveries reached and passed over."""
    with closing(open_orders(desk.folder.orders)) as orders:
        numbers = orders.give(given, "ops", us(0))
        restarted_with(desk, orders).quiet()
    found = [desk.store.obeyed(number) for number in numbers]
    return sum(one[0] for one in found if one), sum(one[1] for one in found if one)


def restarted_with(desk: Desk, orders: Orders) -> Desk:
    desk.sender.drain()
    desk.sender.close()
    desk.sender = Sender(
        desk.log,
        desk.store,
        desk.outlets,
        APPS,
        desk.settings,
        desk.clock,
        orders=orders,
        steady=lambda: time.monotonic() + desk.clock.now_us() / 1e6,
    )
    return desk


# what ended


def test_the_dead_are_counted_by_conversion_and_reason_and_nothing_else_is(tmp_path: Path) -> None:
    script = verdicts("accepted", "rejected:bad_field", "rejected:bad_field", "rejected:no_such_user")
    with desk_of(tmp_path, script) as (desk, _):
        desk.tell(*borrowers(4)).quiet()

        assert lines(again(desk)) == [
            ("dead", "disbursement", "bad_field", 2),
            ("dead", "disbursement", "no_such_user", 1),
        ]
        assert lines(again(desk, "accepted", reasons=frozenset({"confirmed"}))) == [
            ("accepted", "disbursement", "confirmed", 1)
        ]
        assert lines(again(desk, conversions=frozenset({"registration"}))) == []
        assert lines(again(desk, destinations=frozenset({"another"}))) == []


def test_every_end_is_counted_as_the_books_have_it(tmp_path: Path) -> None:
    # One word for a whole batch, whichever of them comes first.
    script = [verdicts(word) for word in ("accepted", "rejected:a", "unconfirmed", "rejected:b")]
    outlets = (acme(), acme("acme-two"))
    send = ("disbursement", "registration")
    with desk_of(tmp_path, *script, outlets=outlets, send=send) as (desk, _):
        for n in range(5):
            desk.tell(*borrower(f"u{n}"), event("registered", 0, user_id=f"u{n}", event_id=f"r{n}"))
        desk.quiet()
        counted = {
            (one.destination, one.conversion, one.state, one.reason): one.n
            for one in again(desk, "accepted", "dead").counts()
        }

        assert counted == {
            key: n for key, n in desk.store.tally().items() if key[2] in ("accepted", "dead") and n
        }
        assert sum(counted.values()) == 20


def test_an_end_counts_from_the_first_moment_and_before_the_last(tmp_path: Path) -> None:
    with desk_of(tmp_path, verdicts("rejected:bad_field")) as (desk, _):
        desk.tell(*borrower("early")).quiet()
        desk.clock.ahead(10)
        desk.tell(*borrower("late", minutes=10)).quiet()

        assert len(again(desk)) == 2
        assert len(again(desk, since_us=us(10))) == 1
        assert len(again(desk, since_us=us(10) + 1)) == 0
        assert len(again(desk, until_us=us(10))) == 1
        assert len(again(desk, since_us=us(0), until_us=us(10) + 1)) == 2


def test_what_is_too_old_by_now_is_left_out_and_counted(tmp_path: Path) -> None:
    with desk_of(tmp_path, verdicts("rejected:bad_field")) as (desk, _):
        desk.tell(*borrower("old")).quiet()
        desk.clock.ahead(DAY)
        desk.tell(*borrower("young", minutes=DAY)).quiet()
        desk.clock.ahead(DAY)  # the window is two days: for the older one it closes at this very moment
        chosen = again(desk)

        assert len(chosen) == 1
        assert chosen.left_out() == {"too_old": 1}
        (line,) = chosen.counts()
        assert (line.n, line.left_out) == (1, {"too_old": 1})


def test_the_held_are_chosen_while_they_are_held(tmp_path: Path) -> None:
    outlets = (acme(on_unknown=Unknown(retry=0)),)
    with desk_of(tmp_path, closes, verdicts("accepted"), outlets=outlets) as (desk, _):
        desk.tell(*borrower()).quiet()
        chosen = again(desk, "held", reasons=frozenset({"unknown"}))

        assert lines(chosen) == [("held", "disbursement", "unknown", 1)]
        assert obey(desk, *chosen.again()) == (1, 0)
        assert desk.tally()["accepted"] == 1
        assert len(again(desk, "held")) == 0


def test_a_destination_that_was_taken_out_is_counted_and_not_chosen(tmp_path: Path) -> None:
    with desk_of(tmp_path, verdicts("rejected:bad_field")) as (desk, _):
        desk.tell(*borrower()).quiet()
        desk.restart(acme("acme-two"))
        chosen = again(desk)

        assert (len(chosen), chosen.left_out()) == (0, {"not_configured": 1})


def test_a_destination_is_meant_by_the_name_it_has_today(tmp_path: Path) -> None:
    with desk_of(tmp_path, verdicts("rejected:bad_field")) as (desk, _):
        desk.tell(*borrower()).quiet()
        desk.restart(acme("acme-new", formerly=("acme-ng",)))

        assert [one.destination for one in again(desk).counts()] == ["acme-new"]
        assert len(again(desk, destinations=frozenset({"acme-new"}))) == 1


# what waits


def test_what_waits_is_chosen_by_when_it_was_planned(tmp_path: Path) -> None:
    with desk_of(tmp_path, verdicts("accepted")) as (desk, _):
        desk.tell(*borrower("early"))
        desk.clock.ahead(10)
        desk.tell(*borrower("late", minutes=10))
        desk.sender.book.stop("acme-ng", Stop.PERSON, "by_hand")
        desk.quiet()

        assert lines(to_cancel(desk, "waiting", "held")) == [("waiting", "disbursement", "", 2)]
        assert len(to_cancel(desk, "waiting", since_us=us(10))) == 1
        assert len(to_cancel(desk, "held")) == 0


def test_what_waits_for_a_later_hour_can_be_cancelled_too(tmp_path: Path) -> None:
    outlets = (acme(schedule="every 2h"),)
    with desk_of(tmp_path, verdicts("accepted"), outlets=outlets) as (desk, played):
        desk.tell(*borrowers(3)).quiet()
        chosen = to_cancel(desk, "waiting", conversions=frozenset({"disbursement"}))

        assert len(chosen) == 3
        assert obey(desk, *chosen.cancel()) == (3, 0)
        assert desk.tally()["cancelled by_hand"] == 3
        assert desk.open() == []
        assert played.came == []
        assert desk.balanced()


def test_a_held_one_can_be_given_up(tmp_path: Path) -> None:
    outlets = (acme(on_unknown=Unknown(retry=0)),)
    with desk_of(tmp_path, closes, outlets=outlets) as (desk, _):
        desk.tell(*borrower()).quiet()

        assert obey(desk, *to_cancel(desk, "held").cancel()) == (1, 0)
        assert desk.tally()["cancelled by_hand"] == 1
        assert desk.open() == []


# orders


def test_what_is_sent_again_has_its_id_and_is_dead_no_more(tmp_path: Path) -> None:
    with desk_of(tmp_path, verdicts("rejected:bad_field"), verdicts("accepted")) as (desk, played):
        desk.tell(*borrower()).quiet()
        orders = again(desk).again()

        assert obey(desk, *orders) == (1, 0)
        assert played.came[0].body == played.came[1].body
        assert ("dead" in desk.tally(), desk.tally()["accepted"]) == (False, 1)
        assert len(again(desk)) == 0
        assert desk.balanced()
        # The same orders once more come too late: something else became of it meanwhile.
        assert obey(desk, *orders) == (0, 1)


def test_orders_are_cut_in_the_order_of_planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "ORDER_SIZE", 4)
    send = ("disbursement", "registration")
    with desk_of(tmp_path, verdicts("rejected:bad_field"), send=send) as (desk, _):
        for n in range(5):
            desk.tell(*borrower(f"u{n}"), event("registered", 0, user_id=f"u{n}", event_id=f"r{n}"))
        desk.quiet()
        chosen = again(desk)
        orders = chosen.again()
        windows = [orders[n : n + 2] for n in range(0, len(orders), 2)]
        numbers = [sorted(one for order in window for one, _ in order.deliveries) for window in windows]

        assert [len(window) for window in numbers] == [4, 4, 2]
        assert [one for window in numbers for one in window] == sorted(receipt_ids(desk))
        assert {(order.conversion, order.what, order.reason) for order in orders} == {
            ("disbursement", "dead", "bad_field"),
            ("registration", "dead", "bad_field"),
        }
        assert {order.pack for order in orders} == {desk.store.last_pack()}
        assert obey(desk, *orders) == (10, 0)


def receipt_ids(desk: Desk) -> list[int]:
    return [receipt.id for receipt in desk.all_receipts()]


def test_an_order_carries_the_binding_that_counted(tmp_path: Path) -> None:
    chosen = Chosen(7)
    chosen.add(choose.Group("acme-ng", "dead", "disbursement", "x"), 640, 12)
    chosen.add(choose.Group("acme-ng", "dead", "disbursement", "x"), 704, 0)

    assert chosen.again() == [Again("acme-ng", "disbursement", "dead", "x", ((640, 12), (704, 0)), 7)]


def test_the_dead_are_released_by_their_numbers(tmp_path: Path) -> None:
    script = verdicts("rejected:bad_field", "accepted")
    with desk_of(tmp_path, script) as (desk, _):
        desk.tell(*borrowers(2)).quiet()
        dead, accepted = (
            next(one.id for one in desk.all_receipts() if one.what == what) for what in ("dead", "accepted")
        )
        chosen, others = chooser(desk).dead([dead, accepted, 999])

        assert lines(chosen) == [("dead", "disbursement", "bad_field", 1)]
        assert sorted(others) == sorted([accepted, 999])


def test_a_long_choice_says_how_far_it_is(tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    with desk_of(tmp_path, verdicts("rejected:bad_field")) as (desk, _):
        desk.tell(*borrowers(3)).quiet()
        chooser(desk).to_send_again(Choice(states=frozenset({"dead"})), lambda *now: said.append(now))
        last = desk.store.last_pack()

    assert said[-1] == (last, last)
