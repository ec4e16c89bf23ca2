"""A lender's own database, PostgreSQL and MariaDB: whatever its transactions do, one event for a row."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.pulling import Gone, House, drained
from tests.running import drawn_seed
from tests.servers.mariadb import PASSWORD, MariaDb, mariadb
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.errors import PullError
from lendsignal.model import Event
from lendsignal.source.sql import outbox_sql

Server = PostgreSql | MariaDb

COMMON = {"password": {"env": "LOANS_PASSWORD"}}

LOANS = {
    "query": "select loan_id, customer, amount_cents, state, paid_at, updated_at, version from loans",
    "cursor": "updated_at",
    "key": "loan_id",
    "revision": "version",
    "overlap": "10m",
    "constant": {"brand": "acme", "currency": "NGN"},
    "column": {
        "updated_at": {"kind": "time", "timezone": "UTC"},
        "paid_at": {"kind": "time", "timezone": "Africa/Lagos"},
    },
    "computed": {"amount": {"op": "divide", "of": ["amount_cents", 100], "places": 2}},
    "event": [
        {
            "type": "applied",
            "columns": {"user_id": "customer", "application_id": "loan_id", "occurred_at": "updated_at"},
            "when": [{"column": "state", "equals": "applied"}],
        },
        {
            "type": "disbursed",
            "columns": {
                "user_id": "customer",
                "loan_id": "loan_id",
                "occurred_at": "paid_at",
                "amount": "amount",
            },
            "when": [{"column": "paid_at", "present": True}],
        },
    ],
}

TABLE = """
create table loans (
    loan_id varchar(20) primary key, customer varchar(20) not null, amount_cents bigint not null,
    state varchar(20) not null, paid_at {naive} null, updated_at {instant} not null,
    version int not null default 1
)
"""

T0 = datetime(2026, 5, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSql]:
    with postgresql() as one:
        yield one


@pytest.fixture(scope="module")
def maria() -> Iterator[MariaDb]:
    with mariadb() as one:
        yield one


@pytest.fixture(params=["postgres", "maria"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    """One of the two, with empty tables."""
    monkeypatch.setenv("LOANS_PASSWORD", PASSWORD)
    found: Server = request.getfixturevalue(request.param)
    is_postgres = found.kind == "postgresql"
    names = {"naive": "timestamp", "instant": "timestamptz"} if is_postgres else {}
    names = names or {"naive": "datetime", "instant": "timestamp(6)"}
    found.execute(
        "drop table if exists loans",
        TABLE.format(**names),
        "drop table if exists outbox",
        *_statements(outbox_sql(found.kind, "outbox")),
    )
    return found


def _statements(sql: str) -> list[str]:
    lines = [line.partition("--")[0] for line in sql.splitlines()]
    return [one for one in "\n".join(lines).split(";") if one.strip()]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path / "data")
    yield found
    found.close()


def loans(server: Server, **more: Any) -> dict[str, Any]:
    table = {"url": server.url, **COMMON, **LOANS, **more}
    return {name: value for name, value in table.items() if value is not None}


def box(server: Server, **more: Any) -> dict[str, Any]:
    return {"url": server.url, **COMMON, "outbox": "outbox", **more}


def loan_row(n: int, minutes: float, *, paid: bool = True, cents: int = 2_500_050) -> str:
    """The statement that inserts a loan, paid out at that moment as clocks in Lagos show it."""
    at = T0 + timedelta(minutes=minutes)
    paid_at = f"'{at + timedelta(hours=1):%Y-%m-%d %H:%M:%S}'" if paid else "null"
    return (
        "insert into loans (loan_id, customer, amount_cents, state, paid_at, updated_at) values"
        f" ('L{n}', 'c{n}', {cents + n}, '{'paid' if paid else 'applied'}', {paid_at}, {instant(minutes)})"
    )


def instant(minutes: float) -> str:
    """A moment whatever the session's zone is: the lender's sessions are in Manila."""
    at = T0 + timedelta(minutes=minutes)
    return f"'{at + timedelta(hours=8):%Y-%m-%d %H:%M:%S.%f}'"


def boxed(event_id: int, **more: Any) -> str:
    event = {
        "type": "disbursed",
        "brand": "acme",
        "user_id": f"c{event_id}",
        "loan_id": f"L{event_id}",
        "amount": 1000 + event_id,
        "currency": "NGN",
        "occurred_at": (T0 + timedelta(minutes=event_id)).isoformat(),
        **more,
    }
    return f"insert into outbox (event) values ('{json.dumps(event)}')"


def loan_ids(events: list[Event]) -> list[str | None]:
    return [one.loan_id for one in events if one.type == "disbursed"]


# a query with a cursor


def test_each_row_is_one_event_however_often_it_is_read(server: Server, house: House) -> None:
    server.execute(*(loan_row(n, n) for n in range(25)))
    for _ in range(4):
        house.read_all("sql", loans(server, batch=7))

    assert sorted(map(str, loan_ids(house.events()))) == sorted(f"L{n}" for n in range(25))
    assert house.taken() == 25


def test_times_amounts_and_names_are_those_of_the_row(server: Server, house: House) -> None:
    server.execute(loan_row(3, 3))
    house.read_all("sql", loans(server))
    (event,) = house.events()

    # paid_at is Lagos time (UTC+1) without a zone; 2,500,053 kobo are 25,000.53 naira.
    assert event.occurred_at == T0 + timedelta(minutes=3)
    assert str(event.amount) == "25000.53"
    assert (event.user_id, event.source, event.currency) == ("c3", "loans", "NGN")


def test_a_time_with_a_zone_is_the_same_moment_wherever_the_server_stands(
    server: Server, house: House
) -> None:
    server.execute(loan_row(3, 3, paid=False))
    house.read_all("sql", loans(server))
    (event,) = house.events()

    assert (event.type, event.occurred_at) == ("applied", T0 + timedelta(minutes=3))


def test_a_date_is_known_by_its_day_in_the_zone_that_it_was_written_in(server: Server, house: House) -> None:
    server.execute(loan_row(3, 3))
    query = "select loan_id, customer, cast(paid_at as date) as paid_on, updated_at from loans"
    event = {
        "type": "disbursed",
        "columns": {"user_id": "customer", "loan_id": "loan_id", "occurred_at": "paid_on"},
    }
    column = {"paid_on": {"kind": "date", "timezone": "Africa/Lagos"}}
    house.read_all(
        "sql", loans(server, query=query, event=[event], column=column, computed={}, revision=None)
    )
    (found,) = house.events()

    # Noon in Lagos is 11:00 UTC.
    assert (found.time_precision, found.occurred_at) == ("day", datetime(2026, 5, 2, 11, tzinfo=UTC))


def test_a_number_that_no_event_can_carry_costs_its_row_only(server: Server, house: House) -> None:
    server.execute(loan_row(1, 1), loan_row(2, 2))
    query = (
        "select loan_id, customer, updated_at,"
        f" case when loan_id = 'L1' then {10**30} else 1 end as odd from loans"
    )
    event = {
        "type": "disbursed",
        "columns": {
            "user_id": "customer",
            "loan_id": "loan_id",
            "occurred_at": "updated_at",
            "properties.odd": "odd",
        },
    }
    house.read_all("sql", loans(server, query=query, event=[event], computed={}, revision=None))

    assert loan_ids(house.events()) == ["L2"]
    assert [json.loads(one.body)["where"] for one in house.quarantine()] == ["row loan_id=L1"]


def test_a_transaction_that_commits_late_is_found_behind_the_cursor(server: Server, house: House) -> None:
    late = server.connect()
    late.cursor().execute(loan_row(1, 1))
    server.execute(loan_row(2, 5))
    house.read_all("sql", loans(server))
    before = loan_ids(house.events())
    late.commit()
    late.close()
    house.read_all("sql", loans(server))

    assert before == ["L2"]
    assert loan_ids(house.events()) == ["L2", "L1"]


def test_a_row_that_appears_behind_the_overlap_is_what_the_overlap_is_for(
    server: Server, house: House
) -> None:
    late = server.connect()
    late.cursor().execute(loan_row(1, 1))
    server.execute(loan_row(2, 12))
    house.read_all("sql", loans(server))
    late.commit()
    late.close()
    house.read_all("sql", loans(server))

    assert loan_ids(house.events()) == ["L2"]  # eleven minutes late; ten are granted


def test_a_changed_row_makes_its_new_events_and_not_the_old_ones_again(server: Server, house: House) -> None:
    server.execute(loan_row(1, 1, paid=False))
    house.read_all("sql", loans(server))
    server.execute(
        f"update loans set paid_at = '2026-05-02 10:02:00', updated_at = {instant(2)} where loan_id = 'L1'"
    )
    house.read_all("sql", loans(server))

    assert [one.type for one in house.events()] == ["applied", "applied", "disbursed"]


def test_a_corrected_row_supersedes_by_its_revision(server: Server, house: House) -> None:
    server.execute(loan_row(1, 1))
    house.read_all("sql", loans(server))
    server.execute(
        f"update loans set amount_cents = 99, version = 2, updated_at = {instant(2)} where loan_id = 'L1'"
    )
    house.read_all("sql", loans(server))

    assert [(str(one.amount), one.revision) for one in house.events()] == [("25000.51", 1), ("0.99", 2)]
    assert house.verdicts() == {"taken": 2}


def test_a_row_of_the_far_future_hides_no_row_of_today(server: Server, house: House) -> None:
    far = 60 * 24 * 365 * 3  # 2029
    server.execute(loan_row(1, 1), loan_row(9, far))
    house.read_all("sql", loans(server))
    server.execute(loan_row(2, 2))
    house.read_all("sql", loans(server))

    assert loan_ids(house.events()) == ["L1", "L2"]


def test_many_rows_of_one_moment_are_read_page_by_page(server: Server, house: House) -> None:
    server.execute(*(loan_row(n, 0) for n in range(23)))
    house.read_all("sql", loans(server, batch=5))

    assert len(set(house.ids())) == len(house.ids()) == 23


def test_a_restart_goes_on_behind_the_mark(server: Server, house: House) -> None:
    server.execute(*(loan_row(n, n) for n in range(10)))
    puller = house.puller("sql", loans(server, batch=4))
    puller.turn()
    house.close()
    house.open()
    house.read_all("sql", loans(server, batch=4))

    assert loan_ids(house.events()) == [f"L{n}" for n in range(10)]


def test_killed_between_durable_and_mark_the_same_rows_make_the_same_events(
    server: Server, house: House
) -> None:
    server.execute(*(loan_row(n, n) for n in range(6)))
    dying = house.puller("sql", loans(server), hand=house.dies_after_durable())
    with pytest.raises(Gone):
        dying.turn()
    house.close()
    house.open()
    house.read_all("sql", loans(server))

    assert len(house.ids()) == 12
    assert len(set(house.ids())) == 6
    assert house.verdicts() == {"taken": 6, "duplicate": 6}


def test_a_server_that_goes_away_and_comes_back_is_read_on(server: Server, house: House) -> None:
    server.execute(*(loan_row(n, n) for n in range(6)))
    puller = house.puller("sql", loans(server, batch=3))
    puller.turn()
    server.kill()
    with pytest.raises(PullError, match="unreachable"):
        puller.turn()
    puller.close()
    server.start()
    drained(puller)
    puller.close()

    assert loan_ids(house.events()) == [f"L{n}" for n in range(6)]


def test_a_wrong_query_is_told_without_what_stands_in_the_database(server: Server, house: House) -> None:
    puller = house.puller("sql", loans(server, query="select nothing from nowhere where x = 'secret'"))
    with pytest.raises(PullError) as raised:
        puller.turn()
    puller.close()

    assert raised.value.reason == "bad_query"
    assert "secret" not in str(raised.value)


def test_colons_and_percent_signs_of_the_query_are_its_own(server: Server, house: House) -> None:
    server.execute(loan_row(1, 1), loan_row(2, 2))
    query = f"{LOANS['query']} where loan_id like '%1' and customer <> ' :nobody' and state <> '%(x)s';"
    house.read_all("sql", loans(server, query=query))

    assert loan_ids(house.events()) == ["L1"]


def test_a_wrong_password_is_told_and_not_shown(
    maria: MariaDb, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOANS_PASSWORD", "hunter2-wrong")
    puller = house.puller("sql", box(maria))
    with pytest.raises(PullError) as raised:
        puller.turn()

    assert raised.value.reason == "unauthorised"
    assert "hunter2" not in str(raised.value)


def test_what_only_reads_cannot_write(server: Server, house: House) -> None:
    puller = house.puller("sql", loans(server, query="delete from loans returning loan_id, updated_at"))
    with pytest.raises(PullError):
        puller.turn()
    puller.close()


# an outbox


def test_the_printed_outbox_takes_events_and_they_arrive_once(server: Server, house: House) -> None:
    server.execute(*(boxed(n) for n in range(12)))
    for _ in range(3):
        house.read_all("sql", box(server, batch=5))

    assert loan_ids(house.events()) == [f"L{n}" for n in range(12)]
    assert house.taken() == 12


def test_an_outbox_row_of_a_long_transaction_is_read_when_it_commits(server: Server, house: House) -> None:
    late = server.connect()
    late.cursor().execute(boxed(1))
    server.execute(boxed(2), boxed(3))
    house.read_all("sql", box(server))
    late.commit()
    late.close()
    server.execute(boxed(4))
    house.read_all("sql", box(server))
    house.read_all("sql", box(server))

    assert sorted(map(str, loan_ids(house.events()))) == ["L1", "L2", "L3", "L4"]
    assert len(house.ids()) == 4


def test_a_transaction_of_any_table_that_stays_open_shows_as_being_behind(
    postgres: PostgreSql, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOANS_PASSWORD", PASSWORD)
    table = outbox_sql("postgresql", "outbox")
    postgres.execute("drop table if exists outbox, elsewhere", table, "create table elsewhere (n int)")
    open_ = postgres.connect()
    open_.execute("insert into elsewhere values (1)")
    postgres.execute(boxed(1), "update outbox set created_at = now() - interval '1 hour'")
    puller = house.puller("sql", box(postgres))
    puller.turn()
    held_up, early = puller.state.behind_us, house.ids()
    open_.rollback()
    open_.close()
    puller.turn()
    puller.close()

    assert early == []
    assert held_up is not None
    assert 3_600 <= held_up / 1e6 < 3_700
    assert puller.state.behind_us == 0
    assert loan_ids(house.events()) == ["L1"]


def test_a_rolled_back_insert_leaves_a_gap_that_stops_nobody(server: Server, house: House) -> None:
    undone = server.connect()
    undone.cursor().execute(boxed(1))
    undone.rollback()
    undone.close()
    server.execute(boxed(2))
    house.read_all("sql", box(server))

    assert loan_ids(house.events()) == ["L2"]


def test_a_database_that_counts_its_transactions_anew_is_told_and_not_waited_for(
    postgres: PostgreSql, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOANS_PASSWORD", PASSWORD)
    postgres.execute("drop table if exists outbox", outbox_sql("postgresql", "outbox"), boxed(1))
    house.pulls.commit("loans", b"[1000000000,5]", 1, remembered={}, notes={})
    puller = house.puller("sql", box(postgres))
    with pytest.raises(PullError, match="rewound"):
        puller.turn()
    puller.close()


def test_rows_are_deleted_when_they_are_durable_and_not_before(server: Server, house: House) -> None:
    server.execute(boxed(1), boxed(2))
    dying = house.puller("sql", box(server, delete=True), hand=house.dies_after_durable())
    with pytest.raises(Gone):
        dying.turn()
    left = count(server)
    house.close()
    house.open()
    house.read_all("sql", box(server, delete=True))

    assert left == 2
    assert count(server) == 0
    assert len(set(house.ids())) == 2
    assert house.verdicts() == {"taken": 2, "duplicate": 2}


def test_a_late_commit_into_an_outbox_that_is_emptied_is_found(server: Server, house: House) -> None:
    late = server.connect()
    late.cursor().execute(boxed(1))
    server.execute(boxed(2))
    house.read_all("sql", box(server, delete=True))
    late.commit()
    late.close()
    house.read_all("sql", box(server, delete=True))

    assert loan_ids(house.events()) == ["L2", "L1"]
    assert count(server) == 0


def test_a_row_that_is_no_event_goes_to_quarantine_and_the_next_is_read(server: Server, house: House) -> None:
    server.execute(boxed(1), boxed(2, brand="acne"), "insert into outbox (event) values ('[1]')", boxed(4))
    house.read_all("sql", box(server))

    assert loan_ids(house.events()) == ["L1", "L4"]
    assert [(one.source, one.field) for one in house.quarantine()] == [
        ("loans", "event"),
        ("loans", "brand"),
    ]
    assert all(json.loads(one.body)["where"].startswith("outbox ") for one in house.quarantine())


# many writers at once


def write_at_once(server: Server, statement: Callable[[int], str], chance: random.Random) -> set[str]:
    """Six writers whose transactions are open for a while and sometimes rolled back; the loans committed."""
    committed: list[set[str]] = [set() for _ in range(6)]
    seeds = [chance.randrange(2**31) for _ in committed]

    def write(writer: int) -> None:
        draw, breath = random.Random(seeds[writer]), threading.Event()
        one = server.connect()
        for turn in range(12):
            numbers = [writer * 1_000 + turn * 10 + n for n in range(draw.randrange(1, 5))]
            for number in numbers:
                one.cursor().execute(statement(number))
                breath.wait(draw.uniform(0, 0.01))
            if draw.random() < 0.2:
                one.rollback()
            else:
                one.commit()
                committed[writer] |= {f"L{number}" for number in numbers}
        one.close()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    return set.union(*committed)


@pytest.mark.parametrize("way", ["query", "outbox kept", "outbox emptied"])
def test_whatever_many_writers_commit_meanwhile_arrives_once(server: Server, house: House, way: str) -> None:
    chance = random.Random(drawn_seed())
    is_query = way == "query"
    statement = (lambda n: loan_row(n, chance.uniform(0, 5))) if is_query else boxed
    table = loans(server, batch=9) if is_query else box(server, batch=9, delete=way == "outbox emptied")
    stop = threading.Event()
    puller = house.puller("sql", table)

    def read() -> None:
        while not stop.is_set():
            puller.turn()

    reader = threading.Thread(target=read)
    reader.start()
    wanted = write_at_once(server, statement, chance)
    stop.set()
    reader.join()
    drained(puller)
    drained(puller)
    puller.close()

    assert set(loan_ids(house.events())) == wanted
    assert len(house.ids()) == len(wanted)


def count(server: Server) -> int:
    one = server.connect()
    cursor = one.cursor()
    cursor.execute("select count(*) from outbox")
    (n,) = cursor.fetchone()
    one.close()
    return int(n)
