"""What MMPs told and how far pulls have read, in the store that the nodes of a cluster share."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from secrets import token_hex

import pytest
from tests.running import until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.errors import LogError, Overtaken
from lendsignal.log import Feeds, Marks, PullState, open_feeds, open_pulls
from lendsignal.log.postgres import Database, prepare
from lendsignal.log.postgres.pulls import PullRows
from lendsignal.log.postgres.singles import Single
from lendsignal.log.postgres.told import ToldRows, follow
from lendsignal.log.told_spool import ToldSpool
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded, Spend

NOW_US = 1_800_000_000_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture
def store(server: PostgreSql) -> Iterator[Database]:
    with closing(Database(server.plain_url, f"told_{token_hex(4)}")) as one:
        prepare(one, 4)
        yield one
        one.rows(f"drop schema {one.schema} cascade")


@pytest.fixture
def told(store: Database) -> ToldRows:
    return ToldRows(store, lambda: NOW_US)


@pytest.fixture
def feeds(tmp_path: Path) -> Iterator[Feeds]:
    with closing(open_feeds(tmp_path / "feeds.sqlite")) as one:
        yield one


def coming(id_: str = "af-1", user: str = "u1", at: int = 60, campaign: str = "lagos") -> Attribution:
    return Attribution(
        feed="af",
        mmp="appsflyer",
        app="acme-ng",
        id=id_,
        kind=AttributionKind.INSTALL,
        at_us=NOW_US + at * 1_000_000,
        told_us=NOW_US + (at + 5) * 1_000_000,
        ad=Ad(channel="meta", media_source="Facebook Ads", campaign=campaign),
        user_id=user,
    )


def recorded(name: str = "ev_ln", id_: str = "af-1") -> Recorded:
    at_us = NOW_US + 90_000_000
    return Recorded(
        feed="af", mmp="appsflyer", app="acme-ng", id=id_, name=name, at_us=at_us, amount=Decimal("12.50")
    )


def cost(amount: str, day: int = 1, campaign: str = "lagos") -> Spend:
    return Spend(
        feed="meta-ads",
        account="act-7",
        day=date(2026, 3, day),
        ad=Ad(channel="meta", campaign=campaign),
        amount=Decimal(amount),
        currency="USD",
    )


def test_what_doors_were_told_stands_in_the_feeds_of_every_desk(told: ToldRows, tmp_path: Path) -> None:
    told.take([coming(), recorded()])
    told.take([coming("af-2", "u2")])
    told.replace_days([cost("10"), cost("5", campaign="abuja"), cost("7", day=2)])

    for name in ("first", "second"):
        with closing(open_feeds(tmp_path / name)) as feeds:
            assert follow(told, feeds) == 5  # two comings, one event, two days of an account
            assert list(feeds.attributions()) == [coming(), coming("af-2", "u2")]
            assert list(feeds.recorded()) == [recorded()]
            assert [one.amount for one in feeds.spend()] == [Decimal("10"), Decimal("5"), Decimal("7")]


def test_a_fact_that_is_told_again_is_followed_once(told: ToldRows, feeds: Feeds) -> None:
    told.take([coming(), coming()])
    follow(told, feeds)
    told.take([coming()])

    assert follow(told, feeds) == 0


def test_what_a_door_kept_while_the_store_was_away_is_there_once_though_its_draining_broke_off(
    told: ToldRows, store: Database, tmp_path: Path
) -> None:
    """The store takes what waited, and the door dies before it can let go of it; twice."""

    class Dies:
        """Takes what it is told and does not live to say so."""

        def __init__(self) -> None:
            self.took = threading.Event()

        def take(self, facts: Iterable[Attribution | Recorded]) -> None:
            told.take(facts)
            self.took.set()
            raise LogError("killed")

        def close(self) -> None:
            pass

    for _ in range(2):
        with closing(
            ToldSpool(dies := Dies(), dies, tmp_path / "told.sqlite", lambda: 1, limit=9_999)
        ) as one:
            one.take([coming("af-1"), coming("af-2")])
            one.start()
            assert dies.took.wait(60)
    rest = ToldSpool(told, told, tmp_path / "told.sqlite", lambda: 1, limit=9_999)
    rest.start()
    until(lambda: rest.standing().rows == 0, "what waited is drained")

    found = store.rows("select installation from feed_told order by xid, id")
    assert [name for (name,) in found] == [b"af-1", b"af-2"]
    rest.close()


def test_of_an_accounts_day_the_last_telling_stands(told: ToldRows, feeds: Feeds) -> None:
    told.replace_days([cost("10"), cost("7", day=2)])
    told.replace_days([cost("11")])
    follow(told, feeds)
    told.replace_days([cost("10")])
    follow(told, feeds)

    assert [(one.day.day, one.amount) for one in feeds.spend()] == [(1, Decimal("10")), (2, Decimal("7"))]


def test_nothing_is_followed_past_a_transaction_that_still_goes_on(
    told: ToldRows, feeds: Feeds, store: Database, server: PostgreSql
) -> None:
    with closing(Database(server.plain_url, store.schema)) as late:
        with late.transaction() as session:
            session.row("select pg_current_xact_id()")
            told.take([coming()])  # a younger transaction that is through before the older one
            ToldRows(late, lambda: NOW_US).take([coming("af-2", "u2")])

            assert follow(told, feeds) == 0
        assert follow(told, feeds) == 2


def test_of_who_was_erased_nothing_is_kept_and_nothing_comes_in_again(told: ToldRows, feeds: Feeds) -> None:
    told.take([coming(), recorded(), coming("af-2", "u2"), coming("af-3", "u1", at=70)])

    assert told.erase([("acme-ng", "af-1")], [("acme-ng", "u1")]) == 3
    told.take([coming(at=300), recorded("ev_r"), coming("af-9", "u1", at=400), coming("af-2", "u2", at=500)])
    follow(told, feeds)
    assert {one.id for one in feeds.attributions()} == {"af-2"}
    assert list(feeds.recorded()) == []

    told.allow_again([("acme-ng", "u1")])
    told.take([coming("af-10", "u1", at=600), recorded("ev_r")])
    follow(told, feeds)
    assert {one.id for one in feeds.attributions()} == {"af-2", "af-10"}
    assert list(feeds.recorded()) == []


# pulls: the same exam for a folder and for the store


@pytest.fixture(params=["folder", "store"])
def marks(request: pytest.FixtureRequest, store: Database, tmp_path: Path) -> Iterator[Marks]:
    if request.param == "store":
        yield PullRows(store)
    else:
        with closing(open_pulls(tmp_path / "pulls.sqlite")) as one:
            yield one


def test_a_pull_goes_on_where_it_stopped_with_what_it_remembers(marks: Marks) -> None:
    assert marks.began("loans", 1_000) == marks.began("loans", 2_000) == 1_000
    assert marks.mark("loans") is None
    marks.commit("loans", b"\0m1", 3_000, remembered={b"k1": b"c1", b"k2": b"c2"}, notes={"a\0b": b"n1"})
    marks.commit("loans", None, 4_000, remembered={b"k2": b"c3"}, notes={"a\0b": b"n2"})
    marks.commit("cards", b"m9", 5_000, remembered={b"k1": b"c9"}, notes={})

    assert marks.mark("loans") == b"\0m1"
    assert marks.contents("loans", [b"k1", b"k2", b"k3"]) == {b"k1": b"c1", b"k2": b"c3"}
    assert (marks.note("loans", "a\0b"), marks.note("loans", "other")) == (b"n2", None)


def test_a_pull_forgets_what_has_not_come_for_long(marks: Marks) -> None:
    marks.commit("loans", b"m", 3_000, remembered={b"k1": b"c1", b"k2": b"c2"}, notes={})
    marks.met_again("loans", [b"k2"], 9_000)
    marks.forget("loans", 8_000)

    assert marks.contents("loans", [b"k1", b"k2"]) == {b"k2": b"c2"}


def test_how_a_pull_stands_is_kept_whole(marks: Marks) -> None:
    state = PullState(
        name="loans",
        began_us=1,
        state="trouble",
        reason="unreachable",
        detail="no answer\0 from the bank",
        since_us=2,
        read_us=3,
        rows=4,
        events=5,
        refused=6,
        behind_us=7,
    )
    marks.began("loans", 1)
    marks.stand(state)

    assert marks.standing() == [state]


def test_a_desk_that_froze_while_another_took_its_place_moves_no_mark(store: Database) -> None:
    first, second = Single(store, "desk", "first"), Single(store, "desk", "second")
    assert first.take()
    slow, other = PullRows(store, first), PullRows(store, second)
    slow.commit("loans", b"m1", 1, remembered={}, notes={})
    first.let_go()
    assert second.take()
    other.commit("loans", b"m2", 2, remembered={}, notes={})

    with pytest.raises(Overtaken):
        slow.commit("loans", b"m1", 3, remembered={}, notes={})
    assert other.mark("loans") == b"m2"
