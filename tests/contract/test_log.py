"""The exam that every log engine passes: what the door, the decider and the sender rely on.

`test_slots_of_a_topic` takes it over a Kafka topic beside a PostgreSQL.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import msgspec
import pytest
from tests.acme import again, consent_of, event, loan, login, source, told, us
from tests.clustered import emptied
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.errors import LogError
from lendsignal.log import Decided, OneLog, Quarantined, open_log
from lendsignal.log.postgres import Database, WholeLog, prepare
from lendsignal.plan import Timer, UserState, Verdict, Withdrawn, version_of


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    # Its own housekeeping writes too, and what writes holds reading back for a moment.
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture(scope="module")
def tables(server: PostgreSql) -> Iterator[Database]:
    with closing(Database(server.plain_url, "exam")) as one:
        prepare(one, 1)
        yield one


def on_sqlite(request: pytest.FixtureRequest) -> Callable[[], OneLog]:
    folder: Path = request.getfixturevalue("tmp_path")
    return lambda: open_log(folder / "log.sqlite")


def on_postgresql(request: pytest.FixtureRequest) -> Callable[[], OneLog]:
    tables: Database = request.getfixturevalue("tables")
    url = request.getfixturevalue("server").plain_url
    emptied(tables)
    return lambda: WholeLog(Database(url, tables.schema))


ENGINES = {"sqlite": on_sqlite, "postgresql": on_postgresql}


@pytest.fixture(params=sorted(ENGINES))
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[[], OneLog]]:
    """Opens the engine's log over one folder or schema, as often as it is called."""
    logs: list[OneLog] = []
    open_one = ENGINES[request.param](request)

    def open_again() -> OneLog:
        logs.append(open_one())
        return logs[-1]

    yield open_again
    for log in logs:
        log.close()


@pytest.fixture
def log(opened: Callable[[], OneLog]) -> OneLog:
    return opened()


UNWRITABLE = event("kyc_passed", 0, properties={"n": 2**70})
"""An event that no engine can encode."""


def decided(position: int, *, after: int = 0, **changes: Any) -> Decided:
    """A batch of decisions that changes nothing but the cursor, and what else is given."""
    nothing: dict[str, Any] = {"states": {}, "records": [], "verdicts": [], "timers": [], "tally": {}}
    return Decided(after=after, position=position, **{**nothing, **changes})


# appending and reading


def test_an_empty_log_has_nothing(log: OneLog) -> None:
    assert (log.end(), log.position(), log.last_record()) == (0, 0, 0)
    assert (log.read(0, 10), log.records(0, 10), log.due(2**62)) == ([], [], [])
    assert (log.policy(), log.next_timer(), log.state("acme:u1")) == (None, None, None)


def test_events_are_numbered_in_the_order_they_are_appended(log: OneLog) -> None:
    assert log.append([loan(0, "L1"), loan(1, "L2")]) == 1
    assert log.append([loan(2, "L3")]) == 3

    assert [(fact.seq, fact.event.loan_id) for fact in log.read(0, 10)] == [(1, "L1"), (2, "L2"), (3, "L3")]
    assert [fact.seq for fact in log.read(1, 1)] == [2]
    assert log.end() == 3


def test_an_event_is_read_as_it_was_written(log: OneLog) -> None:
    whole = [
        login(0, "a", flags=("clock_ahead",), person_id="p9"),
        loan(1, amount=Decimal("1234567890.10"), properties={"a": 1, "b": "ü", "c": None, "d": 2.5}),
        consent_of(2, True),
    ]

    log.append(whole)

    assert [fact.event for fact in log.read(0, 10)] == whole


def test_what_was_appended_is_there_for_whoever_opens_the_log_next(opened: Callable[[], OneLog]) -> None:
    opened().append([loan(0)])

    assert [fact.event for fact in opened().read(0, 10)] == [loan(0)]


def test_an_append_is_whole_or_not_at_all(log: OneLog) -> None:
    log.append([loan(0)])

    with pytest.raises(OverflowError):
        log.append([loan(1, "L2"), UNWRITABLE])

    assert log.end() == 1
    assert log.append([loan(2, "L3")]) == 2


def test_an_import_moves_on_in_the_same_transaction_as_its_rows(log: OneLog) -> None:
    assert log.imported("hash") == (0, False)
    log.append([loan(0)], imported=("hash", "loans.csv", 1, False))
    with pytest.raises(OverflowError):
        log.append([UNWRITABLE], imported=("hash", "loans.csv", 2, False))
    assert log.imported("hash") == (1, False)

    log.append([], imported=("hash", "loans.csv", 2, True))

    assert log.imported("hash") == (2, True)


def test_several_writers_append_without_a_hole_and_each_in_its_own_order(
    opened: Callable[[], OneLog],
) -> None:
    logs = [opened(), opened(), opened()]
    start = Barrier(len(logs))

    def append(mine: OneLog, name: str) -> None:
        start.wait()
        for n in range(20):
            mine.append([loan(n, f"{name}-{n}"), loan(n, f"{name}-{n}b")])

    threads = [Thread(target=append, args=(one, f"w{n}")) for n, one in enumerate(logs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    facts = logs[0].read(0, 1_000)
    assert [fact.seq for fact in facts] == list(range(1, 121))
    for writer in ("w0", "w1", "w2"):
        mine = [fact.event.loan_id for fact in facts if str(fact.event.loan_id).startswith(writer)]
        assert mine == [f"{writer}-{n}{half}" for n in range(20) for half in ("", "b")]


def test_a_scan_finds_the_events_that_hold_a_text(log: OneLog) -> None:
    log.append([loan(0, "L1"), loan(1, "L2")])

    assert [fact.event.loan_id for fact in log.scan()] == ["L1", "L2"]
    assert [fact.event.loan_id for fact in log.scan(b"disbursed-L2")] == ["L2"]


def test_events_are_found_by_their_id_with_what_was_decided_of_them(log: OneLog) -> None:
    log.append([loan(0), again(loan(0), received_at=loan(5).received_at), loan(9, "L2")])
    log.commit(decided(2, verdicts=[(2, Verdict.DUPLICATE)]))
    log.append([loan(0)])

    found = [(fact.seq, verdict) for fact, verdict in log.find("disbursed-L1")]
    assert found == [(1, Verdict.TAKEN), (2, Verdict.DUPLICATE), (4, None)]
    assert log.find("nobody") == []


# deciding


def whole_state() -> tuple[UserState, list[Any], list[Timer]]:
    """A state with something in every part of it, and the records and timers on the way to it."""
    after = told(
        event("registered", -9, test=False),
        login(0, "a"),
        login(1, "b", app="acme-ios"),
        loan(2, "L1"),
        consent_of(3, True),
        event("repaid", 4, payment_id="P1", loan_id="L1", outstanding=Decimal(0)),
        event("overdue", 5, loan_id="L1", dpd=61),
    )
    waiting = told(loan(0, "L9"))
    state = msgspec.structs.replace(after.state, pen=waiting.state.pen, forgotten_us=us(-1))
    return state, list(after.records.items()), waiting.timers


def test_a_batch_of_decisions_is_kept_as_it_was_given(opened: Callable[[], OneLog]) -> None:
    state, records, timers = whole_state()
    log = opened()

    log.commit(
        decided(
            7,
            states={"acme:u1": state},
            records=records,
            timers=[("acme:u1", timer) for timer in timers],
            tally={("event", "disbursed"): 2},
            phones=[(-7, 1), (-7, 2), (8, 1)],
        )
    )

    fresh = opened()
    assert fresh.phones([-7, 8, 9], 10) == {-7: (1, 2), 8: (1,)}
    assert fresh.position() == 7
    assert fresh.state("acme:u1") == state
    assert fresh.state("acme:u2") is None
    assert fresh.records(0, 1_000) == records
    assert fresh.records(records[0][0], 1) == records[1:2]
    assert fresh.last_record() == records[-1][0]
    assert fresh.record(records[2][0]) == records[2][1]
    assert fresh.record(1) is None
    assert fresh.due(2**62) == [(timer.due_us, timer.conversion, "acme:u1") for timer in sorted_by(timers)]
    assert fresh.tally() == {("event", "disbursed"): 2}


def sorted_by(timers: list[Timer]) -> list[Timer]:
    return sorted(timers, key=lambda timer: (timer.due_us, timer.conversion))


def test_the_users_of_a_phone_are_told_up_to_a_number_each_once(log: OneLog) -> None:
    log.commit(decided(1, phones=[(7, user) for user in range(-3, 3)]))
    log.commit(decided(2, after=1, phones=[(7, 2), (7, 4), (8, 4)]))

    assert log.phones([7, 8], 10) == {7: (-3, -2, -1, 0, 1, 2, 4), 8: (4,)}
    assert {key: len(users) for key, users in log.phones([7, 8], 3).items()} == {7: 3, 8: 1}
    assert log.phones([], 3) == log.phones([9], 3) == {}


def test_the_stream_of_records_goes_on_behind_any_record_in_portions_of_any_size(log: OneLog) -> None:
    _, records, _ = whole_state()
    log.commit(decided(7, records=records))

    for place, (number, _) in enumerate(records):
        for limit in (1, 2, 3, 100):
            assert log.records(number, limit) == records[place + 1 : place + 1 + limit]


def test_states_of_many_people_are_read_at_once(log: OneLog) -> None:
    states = {f"acme:u{n}": UserState(f"acme:u{n}", forgotten_us=n) for n in range(1_000)}
    log.commit(decided(1, states=states))

    assert log.states([*states, "acme:nobody"]) == states


def test_after_a_commit_that_failed_all_is_kept_that_the_next_one_speaks_of(
    opened: Callable[[], OneLog],
) -> None:
    """Installations, contacts and people that the failed commit met first are still unknown to the file."""
    state, records, _ = whole_state()
    log = opened()
    with pytest.raises(OverflowError):
        log.commit(decided(7, states={"acme:u1": state}, tally={("event", "x"): 2**70}))

    log.commit(decided(7, states={"acme:u1": state}, records=records))

    assert opened().state("acme:u1") == state
    assert opened().records(0, 1_000) == records


def test_a_batch_of_decisions_is_kept_whole_or_not_at_all(log: OneLog) -> None:
    state, records, timers = whole_state()
    log.commit(decided(3))

    with pytest.raises(OverflowError):
        log.commit(
            decided(
                7,
                after=3,
                states={"acme:u1": state},
                records=[*records, (2**62, Withdrawn(2**70, "broken", None, 0))],
                timers=[("acme:u1", timer) for timer in timers],
                verdicts=[(4, Verdict.CONFLICT)],
                tally={("event", "disbursed"): 2},
                phones=[(7, 1)],
            )
        )

    assert (log.position(), log.state("acme:u1"), log.records(0, 10)) == (3, None, [])
    assert log.phones([7], 10) == {}
    assert (log.due(2**62), log.tally()) == ([], {})


@pytest.mark.parametrize(("after", "position"), [(0, 7), (4, 7), (2, 5)])
def test_who_does_not_go_on_where_the_cursor_stands_is_refused(
    log: OneLog, after: int, position: int
) -> None:
    """Another process has decided these events already, or others that this one has not seen."""
    log.commit(decided(5))

    with pytest.raises(LogError, match="another process decides"):
        log.commit(decided(position, after=after))

    assert log.position() == 5


def test_of_records_only_planned_ones_are_given_as_planned(log: OneLog) -> None:
    _, records, _ = whole_state()
    mark = (2**40, Withdrawn(records[0][0], "loan_cancelled", None, us(9)))
    log.commit(decided(1, records=[*records, mark]))

    assert log.planned([records[0][0], mark[0], 12345]) == dict(records[:1])


def test_counts_add_up_over_batches(log: OneLog) -> None:
    log.commit(decided(1, tally={("event", "repaid"): 2, ("verdict", "taken"): 1}))
    log.commit(decided(2, after=1, tally={("event", "repaid"): 3}))

    assert log.tally() == {("event", "repaid"): 5, ("verdict", "taken"): 1}


def test_a_timer_is_due_at_its_moment_and_fires_once(log: OneLog) -> None:
    timers = [
        ("acme:u1", Timer(us(5), "c5")),
        ("acme:u2", Timer(us(3), "c3")),
        ("acme:u1", Timer(us(9), "c9")),
    ]
    log.commit(decided(1, timers=timers))
    assert log.next_timer() == us(3)
    assert log.due(us(3) - 1) == []

    due = log.due(us(5))
    assert due == [(us(3), "c3", "acme:u2"), (us(5), "c5", "acme:u1")]
    log.fire(due, [event("lendsignal.pen_expired", 3), event("lendsignal.pen_expired", 5)])

    assert log.due(us(5)) == []
    assert log.next_timer() == us(9)
    fired = log.read(log.end() - 2, 9)
    assert [fact.event.occurred_at for fact in fired] == [event("x", n).occurred_at for n in (3, 5)]


def test_a_timer_that_cannot_become_an_event_stays(log: OneLog) -> None:
    log.append([loan(0)])
    log.commit(decided(1, timers=[("acme:u1", Timer(us(5), "c5"))]))

    with pytest.raises(OverflowError):
        log.fire(log.due(us(5)), [UNWRITABLE])

    assert [timer[1] for timer in log.due(us(5))] == ["c5"]
    assert log.end() == 1


def test_the_policy_in_force_is_that_of_the_last_decided_batch(log: OneLog) -> None:
    one, two = source(), source(default_dpd=61)
    for each in (one, two):
        log.keep_policy(version_of(each), each)

    log.commit(decided(1, policy=version_of(one)))
    log.commit(decided(2, after=1))

    assert log.policy() == version_of(one)
    assert log.policy_source(version_of(two)) == two
    assert log.policy_source("unknown") is None


# quarantine


def test_refusals_are_kept_youngest_first_and_counted(log: OneLog) -> None:
    refused = [
        Quarantined(received_us=us(n), source="crm", field=field, rule="is needed", body=b"{}")
        for n, field in enumerate(("brand", "app", "brand"))
    ]

    log.refuse(refused[:2])
    log.refuse(refused[2:])

    assert [(one.received_us, one.field) for one in log.quarantined(2)] == [(us(2), "brand"), (us(1), "app")]
    assert log.refusals() == {("brand", "is needed"): 2, ("app", "is needed"): 1}


def test_events_of_one_user_stay_events_of_one_user(log: OneLog) -> None:
    """Keys that are alike in their beginning, their length or their letters are kept apart."""
    keys = ["acme:u1", "acme:u10", "acme:1u", "acm:eu1", "acme:U1", "acme:u1 "]
    log.commit(decided(1, states={key: UserState(key, forgotten_us=n) for n, key in enumerate(keys)}))

    found = [log.state(key) for key in keys]
    assert [(one.key, one.forgotten_us) for one in found if one] == [(key, n) for n, key in enumerate(keys)]
