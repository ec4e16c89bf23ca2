"""Deliveries that an app fetches: they wait on the shelf, and the app's word, or the window, ends them."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.acme import ANDROID, APPS, DAY, HOUR, IOS, consent_of, event, login, us
from tests.desk import Desk, acme, borrower, real

from lendsignal.deliver import Outlet
from lendsignal.deliver.sender import Sender
from lendsignal.destination.relay import address_of
from lendsignal.errors import LogError
from lendsignal.log import Cancel, Halt, LetGo, Offer, Open, Orders, Shelf, Stage, open_orders, open_shelf
from lendsignal.model import App, Secret

SECRET = "made-up-signing-secret-of-32-chars"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_SECRET", SECRET)


def relay(name: str = "relay-ng", *, app: App = ANDROID, **common: Any) -> Outlet:
    return real(name, "relay", app=app, common=common, secret=Secret(env="RELAY_SECRET"))


class RelayDesk(Desk):
    """A desk whose deliveries wait for apps, which are played by the test."""

    shelf: Shelf | None = None
    orders: Orders | None = None

    def started(self) -> Sender:
        if self.shelf is None:
            self.shelf = open_shelf(self.folder.relay)
            self.orders = open_orders(self.folder.orders)
        steady = getattr(self.clock, "steady", time.monotonic)
        return Sender(
            self.log,
            self.store,
            self.outlets,
            APPS,
            self.settings,
            self.clock,
            orders=self.orders,
            shelf=self.shelf,
            steady=steady,
        )

    def close(self) -> None:
        super().close()
        if self.shelf is not None and self.orders is not None:
            self.shelf.close()
            self.orders.close()

    def fetch(self, phone: str, user: str = "u1", relay: str = "relay-ng") -> list[str]:
        """The ids that the app on that phone is given."""
        assert self.shelf is not None
        address = address_of("acme", user, "appsflyer_id", f"af-{phone}")
        found = self.shelf.fetch(relay, address, self.clock.now_us(), 100)
        return [json.loads(one)["id"] for one in found]

    def acknowledge(self, phone: str, *ids: str, user: str = "u1") -> int:
        """The app on that phone says that it has logged these."""
        assert self.shelf is not None
        address = address_of("acme", user, "appsflyer_id", f"af-{phone}")
        return self.shelf.acknowledge("relay-ng", address, ids, self.clock.now_us())

    def waits(self) -> list[Open]:
        """What waits for its app."""
        with closing(self.stored()) as store:
            return store.open("relay-ng", 0, 100, Stage.PENDING)


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    with RelayDesk(tmp_path, relay()) as one:
        yield one


def test_a_delivery_waits_for_its_app_and_its_word_ends_it(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    assert [one.reason for one in desk.waits()] == ["pending relay"]

    (found,) = desk.fetch("u1")
    assert desk.acknowledge("u1", found) == 1
    desk.until(lambda: desk.tally("relay-ng").get("accepted"))

    assert desk.tally("relay-ng") == {"planned": 1, "accepted": 1, "accepted acknowledged": 1}
    assert desk.open("relay-ng") == []
    assert desk.fetch("u1") == []


def test_a_receipt_says_when_it_was_fetched_and_when_that_was_acknowledged(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    desk.clock.ahead(HOUR)
    (found,) = desk.fetch("u1")
    desk.clock.ahead(5)
    desk.acknowledge("u1", found)
    desk.until(lambda: desk.tally("relay-ng").get("accepted"))

    placed, said = desk.all_receipts()
    assert (placed.what, placed.reason, placed.sent_us) == ("pending", "pending relay", us(0))
    assert (said.sent_us, said.answered_us, said.status) == (us(HOUR), us(HOUR + 5), 200)


def test_other_destinations_go_their_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_TOKEN", raising=False)
    with RelayDesk(tmp_path, relay(), acme()) as desk:
        desk.tell(*borrower("u1")).until(desk.waits).quiet()

        assert "acme-ng" in desk.store.paused()
        assert desk.store.paused().keys() == {"acme-ng"}


def test_what_nobody_fetches_in_its_window_is_dead(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    desk.clock.ahead(7 * DAY - 1)
    desk.quiet()
    assert len(desk.waits()) == 1

    desk.clock.ahead(1)
    assert desk.fetch("u1") == []
    desk.until(lambda: desk.tally("relay-ng").get("dead not_fetched"))

    assert desk.balanced()
    assert desk.store.all_dead()[0].reason == "not_fetched"


def test_what_is_fetched_and_never_acknowledged_is_dead_at_the_end_of_its_window(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    desk.clock.ahead(DAY)
    first = desk.fetch("u1")
    desk.clock.ahead(DAY)
    assert desk.fetch("u1") == first

    desk.clock.ahead(5 * DAY)
    desk.until(lambda: desk.tally("relay-ng").get("dead not_acknowledged"))


def test_the_window_is_the_destinations_own_where_that_is_shorter(tmp_path: Path) -> None:
    with RelayDesk(tmp_path, relay(max_age=timedelta(hours=2))) as desk:
        desk.tell(*borrower("u1")).until(desk.waits)
        desk.clock.ahead(2 * HOUR)

        assert desk.fetch("u1") == []
        desk.until(lambda: desk.tally("relay-ng").get("dead not_fetched"))


# the installation


def test_a_reinstall_does_not_get_the_old_installations_conversions(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1", 0)).until(desk.waits)
    desk.clock.ahead(2 * HOUR)
    desk.tell(login(2 * HOUR, "anew", user_id="u1", event_id="in-anew")).quiet()

    assert desk.fetch("anew") == []
    assert len(desk.fetch("u1")) == 1


def late(desk: RelayDesk, phone: str = "other", **fields: Any) -> None:
    """A login that happened before the loan and comes in after it was placed."""
    desk.tell(login(5, phone, user_id="u1", event_id=f"late-{phone}", arrives=30, **fields)).quiet()


def lent(desk: RelayDesk) -> None:
    desk.clock.ahead(10)
    first, second = borrower("u1", 0), borrower("u1", 10)
    desk.tell(first[0], second[1]).until(desk.waits)


def test_a_late_login_moves_what_was_not_fetched(desk: RelayDesk) -> None:
    lent(desk)
    late(desk)
    desk.until(desk.waits)

    assert desk.fetch("u1") == []
    (found,) = desk.fetch("other")
    desk.acknowledge("other", found)
    desk.until(lambda: desk.tally("relay-ng").get("accepted acknowledged"))
    assert "late_touch" not in desk.tally("relay-ng")


def test_what_was_fetched_stays_with_its_installation(desk: RelayDesk) -> None:
    lent(desk)
    before = desk.fetch("u1")
    late(desk)

    assert desk.fetch("other") == []
    assert desk.fetch("u1") == before
    assert desk.tally("relay-ng")["late_touch"] == 1


def test_a_late_login_in_another_app_moves_it_to_that_apps_relay(tmp_path: Path) -> None:
    with RelayDesk(tmp_path, relay(), relay("relay-ios", app=IOS)) as desk:
        lent(desk)
        late(desk, "iphone", app="acme-ios")
        desk.until(lambda: desk.fetch("iphone", relay="relay-ios"))

        assert desk.fetch("u1") == []
        assert desk.tally("relay-ng")["cancelled rebound"] == 1
        assert desk.balanced()


# taken back


def test_a_reversed_loan_is_taken_back_before_it_is_fetched(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    desk.tell(event("disbursement_reversed", 1, loan_id="L-u1", event_id="back")).quiet()

    assert desk.fetch("u1") == []
    assert desk.tally("relay-ng")["cancelled disbursement_reversed"] == 1
    assert desk.balanced()


def test_a_consent_that_ended_withholds_even_what_was_fetched(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    assert len(desk.fetch("u1")) == 1
    desk.tell(consent_of(1, False, user_id="u1")).quiet()

    assert desk.fetch("u1") == []
    desk.clock.ahead(7 * DAY)
    desk.until(lambda: desk.tally("relay-ng").get("skipped no_consent"))
    assert desk.balanced()


def test_the_apps_word_counts_even_for_what_was_taken_back_meanwhile(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    found = desk.fetch("u1")
    desk.tell(consent_of(1, False, user_id="u1")).quiet()
    desk.acknowledge("u1", *found)

    desk.until(lambda: desk.tally("relay-ng").get("accepted acknowledged"))


def test_a_person_can_cancel_what_was_not_fetched(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    assert desk.orders is not None
    desk.orders.give([Cancel("relay-ng", (desk.waits()[0].id,))], "operator", 0)
    desk.until(lambda: desk.tally("relay-ng").get("cancelled by_hand"))

    assert desk.fetch("u1") == []


def test_a_paused_relay_gives_nothing_out_until_it_is_resumed(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    assert desk.orders is not None
    desk.orders.give([Halt(("relay-ng",))], "operator", 0)
    desk.until(lambda: not desk.fetch("u1"))

    desk.orders.give([LetGo(("relay-ng",))], "operator", 0)
    desk.until(lambda: desk.fetch("u1"))


# kills


def placed_but_not_known(desk: RelayDesk) -> None:
    """As a kill leaves it between the shelf's commit and the sender's: placed, and still claimed."""
    with closing(apsw.Connection(str(desk.folder.deliveries))) as db:
        db.execute("update open set stage = 1, reason = ''")


def known_but_not_placed(desk: RelayDesk) -> None:
    """As a kill leaves it before the shelf's commit: claimed, and not placed."""
    placed_but_not_known(desk)
    with closing(apsw.Connection(str(desk.folder.relay))) as db:
        db.execute("delete from offer")


def taken_back_but_not_known(desk: RelayDesk) -> None:
    """As a kill leaves it between taking an offer back and the sender's commit; or a lost file."""
    with closing(apsw.Connection(str(desk.folder.relay))) as db:
        db.execute("delete from offer")


@pytest.mark.parametrize("kill", [placed_but_not_known, known_but_not_placed, taken_back_but_not_known])
def test_whenever_the_sender_is_killed_the_app_is_given_it_once(
    desk: RelayDesk, kill: Callable[[RelayDesk], None]
) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    kill(desk)
    desk.restart().until(desk.waits)

    (found,) = desk.fetch("u1")
    desk.acknowledge("u1", found)
    desk.until(lambda: desk.tally("relay-ng").get("accepted"))
    assert desk.balanced()
    # The shelf told how far it was: nothing was in doubt.
    assert {one.what for one in desk.all_receipts()} == {"pending", "accepted"}


def test_a_word_that_came_while_the_sender_was_down_is_heard(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    placed_but_not_known(desk)
    desk.acknowledge("u1", *desk.fetch("u1"))
    desk.restart().until(lambda: desk.tally("relay-ng").get("accepted acknowledged"))

    assert desk.tally("relay-ng") == {"planned": 1, "accepted": 1, "accepted acknowledged": 1}


def test_a_word_that_was_counted_and_not_cleared_away_counts_once(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    number = desk.waits()[0].id
    (found,) = desk.fetch("u1")
    desk.acknowledge("u1", found)
    desk.until(lambda: desk.tally("relay-ng").get("accepted"))
    # The kill left the offer, acknowledged as it was.
    assert desk.shelf is not None
    address = address_of("acme", "u1", "appsflyer_id", "af-u1")
    again = Offer(
        destination="relay-ng",
        delivery=number,
        address=address,
        conversion=found,
        item=b"{}",
        expires_us=1 << 60,
    )
    desk.shelf.place([again], 1)
    desk.shelf.fetch("relay-ng", address, 2, 10)
    desk.acknowledge("u1", found)
    desk.restart().until(lambda: desk.shelf is not None and not desk.shelf.acknowledged(1))

    assert desk.tally("relay-ng")["accepted"] == 1


def test_a_relay_that_was_renamed_keeps_what_waits(desk: RelayDesk) -> None:
    desk.tell(*borrower("u1")).until(desk.waits)
    desk.restart(relay("relay-new", formerly=("relay-ng",)))

    assert len(desk.fetch("u1", relay="relay-new")) == 1


def test_a_shelf_that_cannot_be_written_is_tried_again(
    desk: RelayDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Shelf.place

    def full(*arguments: Any) -> None:
        monkeypatch.setattr(Shelf, "place", place)
        raise LogError("the relay's shelf cannot be written: disk full")

    monkeypatch.setattr(Shelf, "place", full)
    desk.tell(*borrower("u1")).quiet()
    (one,) = desk.open("relay-ng")
    assert (one.stage, one.reason, one.unknown) == (Stage.WAITING, "not_placed", 0)

    desk.clock.ahead(1)
    desk.until(desk.waits)
    assert len(desk.fetch("u1")) == 1
