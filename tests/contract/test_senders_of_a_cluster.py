"""Several senders over one PostgreSQL: whose slots are whose, what a zombie may not do, what all share."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest
from tests.acme import event, login
from tests.clustered import Cluster
from tests.desk import TOKEN, acme, borrower, verdicts
from tests.laned import a_loan, ids_in, laned, later, minutes_of, sent, user_with_loans
from tests.scripted import Platform, platform, says, waits_for
from tests.servers.postgresql import PostgreSql, postgresql
from tests.several import PATIENCE, Several, users_in

from lendsignal.deliver import Outlet, Unknown
from lendsignal.deliver.slots import SlotSender
from lendsignal.errors import LaneMoved, LogError, Overtaken
from lendsignal.log import EVERY, Again, Cancel, Changes, Halt, LetGo, Open, Pause, Stage, Stop
from lendsignal.log.postgres.deliveries import RecordRows, SlotDeliveries
from lendsignal.log.postgres.orders import OrderRows
from lendsignal.log.postgres.sending import Sending
from lendsignal.log.postgres.together import GOOD_SECONDS, Together
from lendsignal.model import Event

ACCEPTS = verdicts("accepted")
USERS = users_in(4, 3)
ALL = list(chain.from_iterable(USERS.values()))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


@pytest.fixture
def played() -> Iterator[Platform]:
    with platform(ACCEPTS) as one:
        yield one


Makes = Callable[..., Several]


@pytest.fixture
def several(server: PostgreSql, played: Platform) -> Iterator[Makes]:
    made: list[Several] = []

    def make(*outlets: Outlet, **settings: Any) -> Several:
        made.append(Several(server.plain_url, played.url, *outlets, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def loans(*users: str) -> list[Event]:
    return [one for user in users for one in borrower(user)]


def times_sent(played: Platform) -> Counter[str]:
    return Counter(chain.from_iterable(map(ids_in, played.came)))


def two(all_: Several) -> tuple[SlotSender, SlotSender]:
    """Two senders with two slots each."""
    one, other = all_.sender("one"), all_.sender("other")
    all_.share_out(one, other)
    return one, other


# whose slots are whose


def test_every_delivery_is_sent_once_by_whoever_has_its_slot(several: Makes, played: Platform) -> None:
    all_ = several(acme())
    senders = two(all_)
    all_.tell(*loans(*ALL)).until(lambda: all_.tally().get("accepted") == len(ALL), *senders)

    assert set(times_sent(played).values()) == {1}
    assert sorted(chain.from_iterable(map(all_.held, senders))) == [0, 1, 2, 3]


def test_a_sender_that_joins_gets_its_share_when_what_is_on_its_way_has_ended(
    several: Makes, played: Platform
) -> None:
    answers = threading.Event()
    played.play(waits_for(answers, ACCEPTS))
    all_ = several(acme())
    one = all_.sender("one")
    all_.tell(*loans(*ALL)).until(lambda: len(all_.held(one)) == 4 and len(played.came) >= 1, one)
    other = all_.sender("other")
    for _ in range(20):
        one.turn(0.0)
        other.turn(0.0)

    assert [len(all_.held(one)), len(all_.held(other))] == [4, 0]
    answers.set()
    all_.share_out(one, other)
    all_.until(lambda: all_.tally().get("accepted") == len(ALL), one, other)
    assert set(times_sent(played).values()) == {1}


def test_a_sender_that_ends_leaves_its_slots_at_once_and_nothing_unknown(
    several: Makes, played: Platform
) -> None:
    all_ = several(acme())
    one, other = two(all_)
    all_.tell(*loans(*ALL))
    one.turn(0.0)
    one.end()
    all_.until(lambda: all_.tally().get("accepted") == len(ALL), other)

    assert len(all_.held(other)) == 4
    assert set(times_sent(played).values()) == {1}


# fencing


def test_what_a_sender_commits_after_somebody_else_took_its_slots_is_refused(server: PostgreSql) -> None:
    with closing(Cluster(server.plain_url, slots=2)) as cluster:
        mine = Sending(cluster.connect(), "one", 2)
        mine.tend(0.0)
        store = SlotDeliveries(cluster.connect(), 2, mine.held, mine.guard)
        changes = Changes()
        changes.keep(Open("acme-ng", 7 * 2 * 256 * 64, Stage.WAITING, 5))
        store.commit(changes)
        cluster.silence("one")
        other = Sending(cluster.connect(), "other", 2)
        for now in (0.0, 1.0, 2.0, 3.0):
            other.tend(now)
        again = Changes()
        again.paused = {"acme-ng": Pause(1, Stop.PLATFORM, "bad_token")}
        for refused in (changes, again):
            with pytest.raises(Overtaken):
                store.commit(refused)
        with pytest.raises(Overtaken):
            store.shift(1)
        with pytest.raises(Overtaken):
            store.rename("acme-ng", "new-ng")

        assert store.one("acme-ng", 7 * 2 * 256 * 64) == Open("acme-ng", 7 * 2 * 256 * 64, Stage.WAITING, 5)
        assert store.paused() == {}
        assert other.held == {0: 2, 1: 2}


def test_who_was_out_of_touch_judges_nobodys_silence_until_a_lease_is_over(server: PostgreSql) -> None:
    """A database that was away comes back to one sender first: the others have their slots still."""
    with closing(Cluster(server.plain_url, slots=2)) as cluster:
        one, other = Sending(cluster.connect(), "one", 2), Sending(cluster.connect(), "other", 2)
        one.tend(0.0)
        other.tend(0.0)
        cluster.silence("one")
        other.tend(60.0)
        assert other.held == {}
        other.tend(61.0)
        assert other.held == {}
        other.tend(62.0)

    assert other.held == {0: 2, 1: 2}


@pytest.mark.parametrize(("rule", "comes"), [(Unknown(hold=timedelta(days=1)), 1), (Unknown(retry=5), 2)])
def test_what_a_frozen_sender_had_claimed_is_unknown_to_its_heir_and_it_writes_nothing_when_it_wakes(
    several: Makes, played: Platform, rule: Unknown, comes: int
) -> None:
    answers = threading.Event()
    played.play(waits_for(answers, ACCEPTS))
    all_ = several(acme(facts={"batch": 1}, on_unknown=rule))
    one, heir = all_.sender("one"), all_.sender("heir")
    all_.until(lambda: len(all_.held(one)) == 4 and one.sender is not None, one)
    all_.tell(*loans(ALL[0])).until(lambda: len(played.came) == 1, one)
    all_.falls_silent(one, heir)
    answers.set()
    done = "held" if comes == 1 else "accepted"
    all_.until(lambda: done in {receipt.what for receipt in all_.receipts()}, heir)
    before = all_.receipts()
    for _ in range(10):
        one.turn(0.02)

    assert all_.receipts() == before
    assert list(times_sent(played).values()) == [comes]
    assert one.sender is None or not one.sender.in_flight


def test_a_verdict_that_comes_later_is_asked_for_by_whoever_has_the_slot_then(
    several: Makes, played: Platform
) -> None:
    played.play(verdicts("pending:job-17"), ACCEPTS)
    all_ = several(later())
    one, heir = all_.sender("one"), all_.sender("heir")
    all_.until(lambda: len(all_.held(one)) == 4 and one.sender is not None, one)
    all_.tell(*loans(ALL[0])).until(lambda: [open_.stage for open_ in all_.open()] == [Stage.PENDING], one)
    all_.falls_silent(one, heir)
    all_.until(lambda: all_.tally().get("accepted") == 1, heir)

    sent, asked = played.came
    assert (len(ids_in(sent)), json.loads(asked.body)) == (1, {"handle": "job-17"})
    assert all_.open() == []


def test_a_slot_that_is_lost_costs_the_others_nothing_of_what_was_on_its_way(
    several: Makes, played: Platform
) -> None:
    """An erasure takes a slot from its sender for a moment: what it has in memory may be the user's."""
    answers = threading.Event()
    played.play(waits_for(answers, ACCEPTS))
    all_ = several(acme(facts={"batch": 1}, on_unknown=Unknown(hold=timedelta(days=1))))
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    users = [USERS[slot][0] for slot in range(4)]
    all_.tell(*loans(*users)).until(lambda: len(played.came) == 4, one)
    all_.cluster.database.rows("update sending set epoch = epoch + 1 where slot = 0")
    one.turn(0.0)
    answers.set()
    all_.until(lambda: all_.tally().get("accepted") == 3 and "held" in _whats(all_), one)
    all_.tell(*loans(USERS[0][1])).until(lambda: all_.tally().get("accepted") == 4, one)

    assert [each.what for each in all_.receipts()].count("held") == 1
    assert set(times_sent(played).values()) == {1}
    assert len(all_.held(one)) == 4


def _whats(all_: Several) -> set[str]:
    return {receipt.what for receipt in all_.receipts()}


def test_a_request_of_a_sender_that_may_have_lost_its_slots_does_not_leave(
    several: Makes, played: Platform
) -> None:
    all_ = several(acme())
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    all_.tell(*loans(ALL[0]))
    sender = one.sender
    assert sender is not None
    all_.clocks["one"].ahead(11)  # it stands still for longer than its lease, and is just about to send
    all_.until(lambda: {receipt.reason for receipt in all_.receipts()} == {"not_ours"}, sender)

    assert played.came == []


@pytest.mark.parametrize(("of", "question"), [(SlotDeliveries, "last_of"), (Together, "begins")])
def test_what_the_store_does_not_tell_for_a_moment_costs_no_delivery_and_makes_none_unknown(
    several: Makes, played: Platform, monkeypatch: pytest.MonkeyPatch, of: type, question: str
) -> None:
    all_ = several(
        laned(first_run=100, on_unknown=Unknown(hold=timedelta(days=1))), laned("acme-two", first_run=100)
    )
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    asks, asked = getattr(of, question), []

    def away(self: object, *words: object) -> object:
        asked.append(words)
        if 3 <= len(asked) <= 6:
            raise LogError("the database is away")
        return asks(self, *words)

    monkeypatch.setattr(of, question, away)
    all_.tell(*loans(*ALL)).until(lambda: all_.tally().get("accepted") == 2 * len(ALL), _Patient(one))

    assert len(asked) > 6
    assert all_.tally()["planned"] == 2 * len(ALL)
    assert sum(times_sent(played).values()) == 2 * len(ALL)
    assert "held" not in _whats(all_)


def test_records_that_cannot_be_read_to_their_end_are_planned_once(
    several: Makes, played: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_ = several(acme())
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    finds, asked = RecordRows.record, []

    def away(self: RecordRows, number: int) -> object:
        asked.append(number)
        if len(asked) == 2:
            raise LogError("the database is away")
        return finds(self, number)

    monkeypatch.setattr(RecordRows, "record", away)
    taken_back = [
        event("loan_cancelled", 1, loan_id=f"L-{user}", user_id=user, event_id=f"back-{user}")
        for user in ALL[:4]
    ]
    all_.tell(*loans(*ALL), *taken_back).until(
        lambda: all_.tally().get("accepted", 0) + all_.tally().get("cancelled", 0) == len(ALL), _Patient(one)
    )

    assert len(asked) >= 6
    assert all_.tally()["planned"] == len(ALL)
    assert all_.tally()["cancelled"] == 4
    assert set(times_sent(played).values()) == {1}


class _Patient:
    """Comes again where the database is away, as `send_slots` does."""

    def __init__(self, one: SlotSender) -> None:
        self._one = one

    def turn(self, longest_wait: float = 0.1) -> bool:
        with suppress(LogError):
            return self._one.turn(longest_wait)
        return True


# lanes


def test_a_lane_keeps_its_order_when_its_slot_changes_hands_in_the_middle(
    several: Makes, played: Platform
) -> None:
    answers = threading.Event()
    played.play(ACCEPTS, waits_for(answers, ACCEPTS), ACCEPTS)
    all_ = several(laned(on_unknown=Unknown(retry=5), lane_wait=timedelta(days=1)))
    one = all_.sender("one")
    all_.until(lambda: one.sender is not None, one)
    all_.tell(*user_with_loans(ALL[0], 1, 2, 3, 4)).until(lambda: len(played.came) == 2, one)
    heir = all_.sender("heir")
    all_.falls_silent(one, heir)
    all_.tell(*user_with_loans(ALL[0], 5)[1:])
    for _ in range(5):
        heir.turn(0.0)
    answers.set()
    all_.until(lambda: all_.tally().get("accepted") == 5, heir)

    assert minutes_of(played, ALL[0]) == [1, 2, 2, 3, 4, 5]


def one_phone(*minutes: float) -> list[Event]:
    """Two users of different slots on one phone, each with a loan at some of these minutes, in turn."""
    users = [USERS[0][0], USERS[3][0]]
    found = [login(-60, "shared", user_id=user, event_id=f"in-{user}") for user in users]
    for n, minute in enumerate(minutes):
        found.append(a_loan(users[n % 2], minute))
    return found


def test_two_users_of_one_phone_take_turns_though_their_slots_are_two_senders(
    several: Makes, played: Platform
) -> None:
    answers = threading.Event()
    played.play(waits_for(answers, ACCEPTS), ACCEPTS)
    all_ = several(laned(facts={"rises": timedelta(seconds=1)}, out_of_order="restamp"))
    one, other = two(all_)
    all_.tell(*one_phone(5)).until(lambda: len(played.came) == 1, one, other)
    all_.tell(*one_phone(5, 2)[3:]).until(lambda: all_.tally()["planned"] == 2, one, other)
    for _ in range(20):
        one.turn(0.0)
        other.turn(0.0)

    assert len(played.came) == 1
    answers.set()
    all_.until(lambda: _looks_again(all_, "accepted", 2), one, other)
    all_.tell(*one_phone(5, 2, 1)[4:])  # the first again, who last saw the lane at its own loan
    all_.until(lambda: _looks_again(all_, "accepted", 3), one, other)
    assert [round(minute * 60) for _, minute in sent(played)] == [300, 301, 302]
    assert set(times_sent(played).values()) == {1}


def _looks_again(all_: Several, what: str, n: int) -> bool:
    """Moves the clocks on by a moment each time: who waits for another looks again."""
    for clock in all_.clocks.values():
        clock.ahead(1 / 600)
    return all_.tally().get(what) == n


def test_of_two_who_move_a_lane_on_at_once_one_is_refused_and_keeps_nothing(server: PostgreSql) -> None:
    with closing(Cluster(server.plain_url, slots=2)) as cluster:
        stores = [SlotDeliveries(cluster.connect(), 2, [slot]) for slot in range(2)]
        ids = [(7 * 2 + slot) * 256 * 64 for slot in range(2)]
        kept = []
        for delivery in ids:
            changes = Changes()
            changes.keep(Open("acme-ng", delivery, Stage.CLAIMED, 5, lane=77))
            changes.lanes["acme-ng", 77], changes.lanes_before["acme-ng", 77] = (9, delivery), 0
            kept.append(changes)
        stores[0].commit(kept[0])
        with pytest.raises(LaneMoved):
            stores[1].commit(kept[1])
        assert stores[1].one("acme-ng", ids[1]) is None
        kept[1].lanes_before["acme-ng", 77] = ids[0]
        stores[1].commit(kept[1])

        assert stores[0].last_of("acme-ng", 77) == (9, ids[1])


# orders, pauses, brakes


def test_an_order_is_carried_out_once_over_all_senders_and_its_counts_add_up(
    several: Makes, played: Platform
) -> None:
    all_ = several(acme())
    one, other = two(all_)
    halted = all_.give(Halt(("acme-ng",)))
    all_.until(lambda: all_.store.obeyed(halted) is not None, one, other)
    all_.until(all_.everybody_stopped, one, other)
    all_.tell(*loans(*ALL)).until(lambda: len(all_.open()) == len(ALL), one, other)
    chosen = [each.id for each in all_.open()]
    cancelled = all_.give(Cancel("acme-ng", (*chosen[:8], 1 << 40)))
    all_.until(lambda: all_.store.order() >= 1 and _order_of(all_, one) >= 2, one)

    assert all_.store.obeyed(cancelled) is None  # the other's slots are not done
    all_.until(lambda: all_.store.obeyed(cancelled) is not None, one, other)
    assert all_.store.obeyed(halted) == (1, 0)
    assert all_.store.obeyed(cancelled) == (8, 1)
    assert (all_.tally()["cancelled"], played.came) == (8, [])
    resumed = all_.give(LetGo(("acme-ng",)))
    all_.until(lambda: all_.tally().get("accepted") == len(ALL) - 8, one, other)
    assert all_.store.obeyed(resumed) == (1, 0)


def _order_of(all_: Several, one: SlotSender) -> int:
    found = all_.cluster.database.row("select min(orders) from sending where owner = %s", one.name)
    assert found is not None
    return int(found[0])


def test_an_order_that_a_slots_former_sender_carried_out_is_not_carried_out_again(
    several: Makes, played: Platform
) -> None:
    played.play(verdicts("rejected:no_such_user"))
    all_ = several(acme(facts={"batch": 1}))
    one, other = two(all_)
    all_.tell(*loans(*ALL)).until(lambda: all_.tally().get("dead") == len(ALL), one, other)
    played.play(ACCEPTS)
    dead = tuple((each.id, 0) for each in all_.store.all_dead())
    number = all_.give(Again("acme-ng", "disbursement", "dead", "no_such_user", dead, all_.store.last_pack()))
    all_.until(lambda: _order_of(all_, one) == number, one)
    one.end()
    all_.until(lambda: all_.store.obeyed(number) is not None, other)
    all_.until(lambda: all_.tally().get("accepted") == len(ALL), other)

    assert all_.store.obeyed(number) == (len(ALL), 0)
    assert set(times_sent(played).values()) == {2}
    assert all_.store.all_dead() == []


def test_orders_given_at_the_same_time_are_followed_without_passing_one_over(server: PostgreSql) -> None:
    with closing(Cluster(server.plain_url, slots=1)) as cluster:
        givers = [OrderRows(cluster.connect()) for _ in range(4)]
        threads = [
            threading.Thread(target=lambda one=one: [one.give([Halt((EVERY,))], "x", 5) for _ in range(10)])
            for one in givers
        ]
        for thread in threads:
            thread.start()
        followed: list[int] = []
        reader = OrderRows(cluster.connect())
        end = time.monotonic() + PATIENCE
        while len(followed) < 40 and time.monotonic() < end:
            followed += [number for number, _ in reader.after(followed[-1] if followed else 0, 3)]
        for thread in threads:
            thread.join()

    assert followed == list(range(1, 41))


def test_a_pause_by_one_senders_platform_stops_the_others_and_its_end_lets_them_go(
    several: Makes, played: Platform
) -> None:
    played.play(verdicts("paused:bad_token"))
    all_ = several(acme(), probe_after=timedelta(hours=1))
    one, other = two(all_)
    mine = [user for slot in all_.held(one) for user in USERS[slot]]
    theirs = [user for slot in all_.held(other) for user in USERS[slot]]
    all_.tell(*loans(mine[0])).until(lambda: "acme-ng" in all_.store.paused(), one)
    all_.until(lambda: _stop_of(other) is Stop.PLATFORM, other)
    came = len(played.came)
    all_.tell(*loans(*theirs[:2]))
    for _ in range(5):
        other.turn(0.0)

    assert len(played.came) == came
    played.play(ACCEPTS)
    for clock in all_.clocks.values():
        clock.ahead(61)
    all_.until(lambda: all_.tally().get("accepted") == 3, one, other)
    all_.until(lambda: _stop_of(one) is None and _stop_of(other) is None, one, other)
    assert all_.store.paused() == {}


def _stop_of(one: SlotSender) -> Stop | None:
    assert one.sender is not None
    stopped = one.sender.book.lines["acme-ng"].stopped
    return None if stopped is None else stopped.kind


def test_a_platforms_word_to_one_sender_ends_no_brake_of_another(server: PostgreSql) -> None:
    with closing(Cluster(server.plain_url, slots=1)) as cluster:
        store = SlotDeliveries(cluster.connect(), 1, [0])
        for pause, probed in (
            (Pause(1, Stop.PLATFORM, "bad_token"), False),
            (Pause(2, Stop.BRAKE, "mass_reject"), False),
            (Pause(3, Stop.PLATFORM, "bad_token"), False),
            (None, True),
        ):
            changes = Changes()
            changes.paused = {"acme-ng": pause}
            changes.probed = {"acme-ng"} if probed else set()
            store.commit(changes)

        assert store.paused() == {"acme-ng": Pause(2, Stop.BRAKE, "mass_reject")}


def test_a_first_run_counts_over_all_senders_and_a_person_lets_all_go_on(
    several: Makes, played: Platform
) -> None:
    all_ = several(acme(facts={"batch": 1}, first_run=5))
    one, other = two(all_)
    all_.tell(*loans(*ALL)).until(lambda: Stop.BRAKE in (_stop_of(one), _stop_of(other)), one, other)
    all_.until(lambda: _stop_of(one) is _stop_of(other) is Stop.BRAKE, one, other)
    all_.until(lambda: all_.tally().get("accepted") == 5, one, other)

    assert sum(times_sent(played).values()) == 5
    all_.give(LetGo((EVERY,)))
    all_.until(lambda: all_.tally().get("accepted") == len(ALL), one, other)
    assert set(times_sent(played).values()) == {1}


# pace


def test_a_slow_down_told_to_one_sender_holds_all(several: Makes, played: Platform) -> None:
    played.play(says(429, Retry_After="3600"), ACCEPTS)
    all_ = several(acme(facts={"batch": 1}, concurrency=1))
    one, other = two(all_)
    mine, theirs = (USERS[all_.held(each)[0]] for each in (one, other))
    all_.tell(*loans(mine[0])).until(lambda: "retry" in {each.what for each in all_.receipts()}, one)
    all_.tell(*loans(*theirs))
    for _ in range(30):
        other.turn(0.005)

    assert len(played.came) == 1
    (waits,) = all_.cluster.database.row("select extract(epoch from waits_until - now()) from account") or ()
    assert 3500 < waits <= 3600


def test_what_is_drawn_in_a_second_is_the_rate_and_the_burst_at_most(server: PostgreSql) -> None:
    """Two senders draw as often as they may; the database's clock is the only one that counts."""
    with closing(Cluster(server.plain_url, slots=1)) as cluster:
        purses = [Together(cluster.connect(), 1, [0]).purse(("acme", "x")) for _ in range(2)]
        drawn: list[tuple[float, int]] = []
        while len(drawn) < 120:
            for purse in purses:
                grant = purse.draw(40.0, 20.0, 1_000)
                (at,) = cluster.database.row("select extract(epoch from at)::float8 from account") or ()
                drawn.append((at, grant.requests))
        began, ended = drawn[0][0], drawn[-1][0]
        given = sum(n for _, n in drawn)

    # What the bucket holds at first is its burst less what may lie about unused.
    assert given <= (20 - 40 * GOOD_SECONDS) + 40 * (ended - began) + 1


def test_a_slow_down_halves_the_rate_once_however_many_say_it_and_comes_back_in_time(
    server: PostgreSql,
) -> None:
    with closing(Cluster(server.plain_url, slots=1)) as cluster:
        purse = Together(cluster.connect(), 1, [0]).purse(("acme", "x"))
        waits = [purse.slow_down(given) for given in (timedelta(hours=1), None, timedelta(hours=2))]
        assert [round(seconds / 3600) for seconds in waits] == [1, 1, 2]
        grant = purse.draw(100.0, 100.0, 10)
        assert (grant.requests, grant.slowed) == (0, 1)
        assert 50 <= grant.rate < 100  # half, and a sixtieth of the full rate more each second
        cluster.database.rows(
            "update account set waits_until = now() - interval '30 seconds', at = at - interval '30 seconds'"
        )
        purse.draw(100.0, 100.0, 1)
        assert purse.draw(100.0, 100.0, 1).rate >= 99
        purse.taken()
        purse.limit(0.25)
        grant = purse.draw(100.0, 100.0, 1)

    assert (grant.slowed, grant.ceiling, grant.rate) == (0, 0.25, 25)


def test_what_was_not_drawn_gathers_up_to_the_burst_and_slow_downs_in_a_row_wait_twice_as_long(
    server: PostgreSql,
) -> None:
    with closing(Cluster(server.plain_url, slots=1)) as cluster:
        purse = Together(cluster.connect(), 1, [0]).purse(("acme", "x"))
        cluster.database.rows("update account set tokens = 0, at = now() - interval '1 hour'")
        purse.draw(100.0, 100.0, 1)
        (gathered,) = cluster.database.row("select tokens from account") or ()
        assert gathered == 100 - 100 * GOOD_SECONDS - 1
        waits = []
        for _ in range(3):
            waits.append(purse.slow_down(None))
            cluster.database.rows("update account set waits_until = now()")

    assert waits == [1, 2, 4]
