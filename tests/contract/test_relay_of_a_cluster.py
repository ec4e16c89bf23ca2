"""The client relay of a cluster: several senders place what apps fetch at any door, and hear their word."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, consent_of, event
from tests.copying import Copy, copy_of, read
from tests.desk import borrower
from tests.servers.postgresql import PostgreSql, postgresql
from tests.several import Several, users_in
from tests.unit.deliver import test_sender_relay as exam

from lendsignal.destination.relay import address_of
from lendsignal.log import Changes, Halt, LetGo, Open, Pause, Receipt, Stage, Stop
from lendsignal.log.postgres import schema
from lendsignal.log.postgres.erasing import SlotErasing
from lendsignal.log.postgres.relay import DoorShelf

USERS = [user for some in users_in(4, 2).values() for user in some]
"""Two in every slot."""

secret = exam.secret


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one, pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "DAYS_AHEAD", 0)
        yield one


class Relayed(Several):
    """A cluster with a relay; apps are played by the test, each at a door of its own."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "http://127.0.0.1:1", exam.relay())

    def fetch(self, user: str, now_us: int | None = None) -> list[str]:
        """The ids that the app on that user's phone is given."""
        door = DoorShelf(self.cluster.connect())
        moment = next(iter(self.clocks.values())).now_us() if now_us is None else now_us
        found = door.fetch("relay-ng", address(user), moment, 100)
        return [json.loads(one)["id"] for one in found]

    def acknowledge(self, user: str, *ids: str) -> int:
        """The app on that user's phone says that it has logged these."""
        now_us = next(iter(self.clocks.values())).now_us()
        return DoorShelf(self.cluster.connect()).acknowledge("relay-ng", address(user), ids, now_us)

    def waits(self) -> list[Open]:
        """What waits for its app."""
        return self.store.open("relay-ng", 0, 100, Stage.PENDING)

    def lend(self, *users: str) -> None:
        self.tell(*(one for user in users for one in borrower(user)))

    def balances(self) -> bool:
        ended = sum(self.tally().get(what, 0) for what in ("accepted", "dead", "skipped", "cancelled"))
        return self.tally()["planned"] == ended + len(self.open("relay-ng"))


def address(user: str) -> str:
    return address_of("acme", user, "appsflyer_id", f"af-{user}")


@pytest.fixture
def all_(server: PostgreSql) -> Iterator[Relayed]:
    with closing(Relayed(server.plain_url)) as one:
        yield one


def test_what_any_sender_places_is_fetched_at_any_door_and_its_sender_hears_the_word(all_: Relayed) -> None:
    senders = all_.sender("one"), all_.sender("other")
    all_.share_out(*senders)
    all_.lend(*USERS)
    all_.until(lambda: len(all_.waits()) == len(USERS), *senders)
    given = {user: all_.fetch(user) for user in USERS}
    assert [all_.acknowledge(user, *found) for user, found in given.items()] == [1] * len(USERS)
    all_.until(lambda: all_.tally().get("accepted") == len(USERS), *senders)
    all_.until(lambda: not all_.cluster.database.rows("select 1 from offer"), *senders)

    assert all_.tally() == {
        "planned": len(USERS),
        "accepted": len(USERS),
        "accepted acknowledged": len(USERS),
    }
    assert len({one for found in given.values() for one in found}) == len(USERS)
    assert Counter(one.what for one in all_.receipts()) == {"pending": len(USERS), "accepted": len(USERS)}


def test_what_a_frozen_sender_placed_is_its_heirs_to_end(all_: Relayed) -> None:
    one, heir = all_.sender("one"), all_.sender("heir")
    all_.until(lambda: len(all_.held(one)) == 4 and one.sender is not None, one)
    all_.lend(USERS[0])
    all_.until(all_.waits, one)
    all_.falls_silent(one, heir)
    (found,) = all_.fetch(USERS[0])
    all_.acknowledge(USERS[0], found)
    all_.until(lambda: all_.tally().get("accepted"), heir)
    before = all_.receipts()
    for _ in range(10):
        one.turn(0.02)

    assert all_.receipts() == before
    assert all_.fetch(USERS[0]) == []
    assert all_.tally()["accepted"] == 1


PLACED = "update open set stage = 1, reason = ''"


@pytest.mark.parametrize(
    "left",
    [
        pytest.param((PLACED,), id="placed and not known"),
        pytest.param((PLACED, "delete from offer"), id="claimed and not placed"),
        pytest.param(("delete from offer",), id="taken back and not known"),
    ],
)
def test_whenever_a_sender_is_killed_its_heir_gives_the_app_what_is_its_own_once(
    all_: Relayed, left: tuple[str, ...]
) -> None:
    one, heir = all_.sender("one"), all_.sender("heir")
    all_.until(lambda: len(all_.held(one)) == 4 and one.sender is not None, one)
    all_.lend(USERS[0])
    all_.until(all_.waits, one)
    for statement in left:
        all_.cluster.database.rows(statement)
    all_.falls_silent(one, heir)
    all_.until(lambda: all_.fetch(USERS[0]), heir)
    (found,) = all_.fetch(USERS[0])
    all_.acknowledge(USERS[0], found)
    all_.until(lambda: all_.tally().get("accepted"), heir)

    assert {receipt.what for receipt in all_.receipts()} == {"pending", "accepted"}
    assert all_.balances()


def test_a_paused_relay_gives_nothing_out_at_any_door_from_the_moment_that_it_is(all_: Relayed) -> None:
    senders = all_.sender("one"), all_.sender("other")
    all_.share_out(*senders)
    all_.lend(*USERS[:1])
    all_.until(all_.waits, *senders)
    halted = all_.give(Halt(("relay-ng",), "by_hand"))
    all_.until(lambda: all_.store.obeyed(halted), *senders)
    assert all_.fetch(USERS[0]) == []

    let_go = all_.give(LetGo(("relay-ng",)))
    all_.until(lambda: all_.store.obeyed(let_go), *senders)
    assert len(all_.fetch(USERS[0])) == 1


def test_when_everything_is_paused_no_door_gives_anything_out(all_: Relayed) -> None:
    one = all_.sender("one")
    all_.lend(USERS[0])
    all_.until(all_.waits, one)
    changes = Changes()
    changes.paused["*"] = Pause(1, Stop.PERSON, "by_hand")
    all_.store.commit(changes)

    assert all_.fetch(USERS[0]) == []


def test_who_was_erased_leaves_the_shelf_and_is_given_nothing(all_: Relayed) -> None:
    senders = all_.sender("one"), all_.sender("other")
    all_.share_out(*senders)
    gone, stays = USERS[0], USERS[1]
    all_.lend(gone, stays)
    all_.until(lambda: len(all_.waits()) == 2, *senders)
    erasing = SlotErasing(all_.cluster.connect(), all_.cluster.slots)
    erasing.keep_out("acme", gone, "r1", 1)
    struck = erasing.strike("acme", gone)

    assert (struck.deliveries, struck.offers) == (1, 1)
    assert all_.fetch(gone) == []
    (found,) = all_.fetch(stays)
    all_.acknowledge(stays, found)
    all_.until(lambda: all_.tally().get("accepted") == 1, *senders)
    assert all_.tally()["skipped suppressed"] == 1
    assert all_.balances()


def test_what_a_kill_left_on_the_shelf_goes_when_its_window_is_long_over(all_: Relayed) -> None:
    one = all_.sender("one")
    all_.lend(USERS[0])
    all_.until(all_.waits, one)
    all_.cluster.database.rows("update offer set delivery = delivery + 1")  # whose delivery nobody knows
    all_.clocks["one"].ahead(8 * DAY)

    all_.until(lambda: not all_.cluster.database.rows("select 1 from offer"), one)


# a desk


def fates(tell: Callable[..., Any], until: Callable[..., Any], app: Any, waits: Callable[[], Any]) -> None:
    """Four users' conversions: one is logged, one fetched only, one left, one taken back."""
    tell(*(one for n in range(4) for one in borrower(f"u{n}")))
    until(lambda: len(waits()) == 4)
    (logged,) = app.fetch("u0")
    app.fetch("u1")
    app.acknowledge("u0", logged)
    tell(
        consent_of(1, False, user_id="u1"),
        event("disbursement_reversed", 1, loan_id="L-u3", event_id="back", user_id="u3"),
    )
    until(lambda: len(waits()) == 2)


def counted(tally: Any) -> dict[tuple[str, str, str], int]:
    return {(name, what, reason): n for (name, _, what, reason), n in tally.items() if n}


def words(receipts: list[Receipt]) -> Counter[tuple[Any, ...]]:
    return Counter((one.what, one.reason, one.attempt, one.status, one.answer) for one in receipts)


@pytest.fixture
def copy(all_: Relayed, tmp_path: Path) -> Iterator[Copy]:
    with closing(copy_of(tmp_path / "desk", all_.cluster)) as one:
        yield one


def test_a_desk_says_of_deliveries_that_apps_fetch_what_a_folder_says(
    all_: Relayed, copy: Copy, tmp_path: Path
) -> None:
    senders = all_.sender("one", 0), all_.sender("other", 0)
    all_.share_out(*senders)
    fates(all_.tell, lambda true: all_.until(true, *senders), all_, all_.waits)
    with exam.RelayDesk(tmp_path / "folder", exam.relay()) as folder:

        class App:
            """The apps of the folder."""

            def fetch(self, user: str) -> list[str]:
                return folder.fetch(user, user)

            def acknowledge(self, user: str, *ids: str) -> int:
                return folder.acknowledge(user, *ids, user=user)

        fates(folder.tell, folder.until, App(), folder.waits)
        for end in ("waits", "over"):
            if end == "over":
                folder.clock.ahead(8 * DAY)
                for one in all_.clocks.values():
                    one.ahead(8 * DAY)
                folder.until(lambda: not folder.waits())
                all_.until(lambda: not all_.waits(), *senders)
            copy.follow()
            log, deliveries = read(copy.folder)
            with closing(log), closing(deliveries):
                assert counted(deliveries.tally()) == counted(folder.store.tally())
                assert deliveries.waiting() == folder.store.waiting()
                receipts = [one for _, pack in deliveries.all_receipts() for one in pack]
                assert words(receipts) == words(folder.all_receipts())
                assert sorted(one.reason for one in deliveries.all_dead(-(1 << 62), 9)) == sorted(
                    one.reason for one in folder.store.all_dead()
                )
        assert counted(folder.store.tally())["relay-ng", "dead", "not_fetched"] == 1
