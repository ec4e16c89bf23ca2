"""What MMPs and ad accounts tell a cluster: its doors and imports keep it, and each desk follows it in order.

A fact that is told again as it was changes nothing. Costs are kept by account and day: the last telling of
a day stands. A desk brings what is new into the feeds of its own folder, whence reports and archive read.
"""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.log.erasing import SALT
from lendsignal.log.feeds import AT_ONCE, Feeds, name_in
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.erasing import DOORS
from lendsignal.model.attribution import Attribution, Recorded, Spend

SCHEMA = """
create table if not exists feed_told (       -- what MMPs and ad accounts told, for each desk to follow
    key bytea primary key,              -- hash of all that it says; of costs, of feed, account and day
    xid xid8 not null default pg_current_xact_id(),
    id bigint not null generated always as identity,
    kind text not null,                 -- attribution, recorded, spend
    at_us bigint not null,              -- when it reached us
    app bytea not null,                 -- these three in UTF-8: by them an erasure finds it
    installation bytea not null,
    who bytea not null,
    body bytea not null                 -- msgpack of a fact, or of the costs of an account's day
);
create index if not exists feed_told_in_order on feed_told (xid, id);
create index if not exists feed_told_by_installation on feed_told (installation);
create table if not exists feed_out (   -- installations and users that were erased: nothing of them comes in
    who bytea primary key               -- salted hash, as in kept_out
);
"""

Fact: TypeAlias = Attribution | Recorded


class Place(Struct, frozen=True):
    """How far somebody has followed: the transaction and the row."""

    xid: int = 0
    id: int = 0


_encode = msgspec.msgpack.Encoder(order="sorted").encode
_attribution = msgspec.msgpack.Decoder(Attribution).decode
_recorded = msgspec.msgpack.Decoder(Recorded).decode
_costs = msgspec.msgpack.Decoder(list[Spend]).decode

_PUT = (
    "insert into feed_told (key, kind, at_us, app, installation, who, body)"
    " select key, kind, at_us, app, installation, who, body"
    " from unnest(%b::bytea[], %b::text[], %b::bigint[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[])"
    " with ordinality as one(key, kind, at_us, app, installation, who, body, place) order by place"
)
_AS_BEFORE = " on conflict (key) do nothing"
_ANEW = (
    " on conflict (key) do update set xid = excluded.xid, id = default, at_us = excluded.at_us,"
    " body = excluded.body"
)


class ToldRows:
    """The feeds of a cluster, as `log.Feeds` keeps those of a data folder; `now_us` says when it is."""

    def __init__(self, database: Database, now_us: Callable[[], int]) -> None:
        self._database = database
        self._now_us = now_us

    def take(self, facts: Iterable[Fact]) -> None:
        """Makes facts durable, all or none. Raises `LogError` where the store does not take them.

        What is told of who was erased is passed over: no erasure is under way that does not see it.
        """
        found = {_hash(_encode(_said(one))): one for one in facts}
        if not found:
            return
        now_us = self._now_us()
        with self._database.transaction() as session:
            out = _out(session, found.values())
            known = {key: one for key, one in found.items() if not out.holds(one)}
            session.rows(
                _PUT + _AS_BEFORE,
                list(known),
                [_kind_of(one) for one in known.values()],
                [now_us] * len(known),
                [one.app.encode() for one in known.values()],
                [one.id.encode() for one in known.values()],
                [one.user_id.encode() for one in known.values()],
                [_encode(one) for one in known.values()],
            )

    def take_many(self, facts: Iterable[Fact]) -> None:
        """Makes any number of facts durable, a few thousand at a time."""
        batch: list[Fact] = []
        for fact in facts:
            batch.append(fact)
            if len(batch) == AT_ONCE:
                self.take(batch)
                batch.clear()
        self.take(batch)

    def replace_days(self, costs: Sequence[Spend]) -> None:
        """Makes costs durable, all or none: what was told before of an account's day stands no more."""
        days: dict[tuple[str, str, str], list[Spend]] = {}
        for one in costs:
            days.setdefault((one.feed, one.account, one.day.isoformat()), []).append(one)
        if not days:
            return
        keys = sorted(days)  # in one order, so that nobody who tells the same days waits for ever
        nobody = [b""] * len(keys)
        self._database.rows(
            _PUT + _ANEW,
            [_hash(_encode(key)) for key in keys],
            ["spend"] * len(keys),
            [self._now_us()] * len(keys),
            nobody,
            nobody,
            nobody,
            [_encode(days[key]) for key in keys],
        )

    def erase(self, installations: Collection[tuple[str, str]], users: Collection[tuple[str, str]]) -> int:
        """Deletes what was told of installations (app, the MMP's id) and of users (app, user id), and takes
        nothing of them any more; how many rows went."""
        with self._database.transaction() as session:
            session.rows(f"select pg_advisory_xact_lock({DOORS})")
            salt = _salt(session)
            names = [name_in(salt, "installation", *one) for one in installations]
            names += [name_in(salt, "user", *one) for one in users]
            session.rows("insert into feed_out select unnest(%b::bytea[]) on conflict do nothing", names)
            return _deleted(session, "installation", installations) + _deleted(session, "who", users)

    def allow_again(self, users: Collection[tuple[str, str]]) -> None:
        """What is told of these users (app, user id) counts again; their old installations stay outside."""
        with self._database.transaction() as session:
            salt = _salt(session)
            names = [name_in(salt, "user", *one) for one in users]
            session.rows("delete from feed_out where who = any(%b::bytea[])", names)

    def out(self) -> tuple[bytes, frozenset[bytes]]:
        """The salt, and every installation and user that is kept out, by `feeds.name_in`."""
        with self._database.transaction() as session:
            found = session.rows("select who from feed_out")
            return (_salt(session) if found else b""), frozenset(bytes(who) for (who,) in found)

    def behind(self, place: Place, limit: int = AT_ONCE) -> tuple[Place, list[Fact | list[Spend]]]:
        """What was told behind a place, in order, and the place behind that. Nothing can come in before it:
        of transactions that still go on, and of those behind them, nothing is read."""
        found = self._database.rows(
            "select xid::text as of_it, id, kind, body from feed_told where (xid, id) > (%s::text::xid8, %s)"
            # As numbers: a bare xid would be the text that is given.
            " and xid < pg_snapshot_xmin(pg_current_snapshot()) order by feed_told.xid, id limit %s",
            str(place.xid),
            place.id,
            limit,
        )
        if not found:
            return place, []
        return Place(int(found[-1][0]), found[-1][1]), [_read(kind, body) for _, _, kind, body in found]

    def close(self) -> None:
        """Lets its connection go."""
        self._database.close()


def follow(told: ToldRows, feeds: Feeds) -> int:
    """Brings what is new into the feeds of a folder; how many rows. Broken off, it is done again unharmed."""
    n = 0
    while True:
        before = Place(feeds.place("told_xid"), feeds.place("told_id"))
        after, found = told.behind(before)
        if not found:
            return n
        facts: list[Fact] = []
        for one in found:
            if isinstance(one, list):
                feeds.replace_days(one)
            else:
                facts.append(one)
        feeds.take(facts)
        feeds.move({"told_xid": after.xid, "told_id": after.id})
        n += len(found)


class _Out(Struct, frozen=True):
    """Who of some facts is kept out."""

    salt: bytes
    names: frozenset[bytes]

    def holds(self, fact: Fact) -> bool:
        """Whether a fact is of an installation or of a user that was erased."""
        return bool(self.names) and not self.names.isdisjoint(_names(self.salt, fact))


def _out(session: Session, facts: Iterable[Fact]) -> _Out:
    """Who of these is kept out now; nobody is added before the transaction ends."""
    session.rows("select erasures_seen()")
    if session.row("select 1 from feed_out limit 1") is None:
        return _Out(b"", frozenset())
    salt = _salt(session)
    asked = [name for one in facts for name in _names(salt, one)]
    found = session.rows("select who from feed_out where who = any(%b::bytea[])", asked)
    return _Out(salt, frozenset(who for (who,) in found))


def _salt(session: Session) -> bytes:
    """The salt of everybody who is kept out; drawn where nobody was yet."""
    session.rows("insert into note values (%s, %b) on conflict do nothing", SALT, os.urandom(32))
    found = session.row("select body from note where name = %s", SALT)
    assert found is not None, "it was put there"
    return bytes(found[0])


def _names(salt: bytes, fact: Fact) -> list[bytes]:
    """What a fact's installation is known by when it is kept out, and its user, where it names one."""
    names = [name_in(salt, "installation", fact.app, fact.id)]
    return [*names, name_in(salt, "user", fact.app, fact.user_id)] if fact.user_id else names


def _said(fact: Fact) -> Fact:
    """What a fact says, without when we read it: a file may be read again."""
    if isinstance(fact, Attribution) and not fact.dated:
        return replace(fact, told_us=0)
    return fact


def _kind_of(fact: Fact) -> str:
    return "attribution" if isinstance(fact, Attribution) else "recorded"


def _read(kind: str, body: bytes) -> Fact | list[Spend]:
    match kind:
        case "attribution":
            return _attribution(body)
        case "recorded":
            return _recorded(body)
        case _:
            return _costs(body)


def _deleted(session: Session, column: str, pairs: Collection[tuple[str, str]]) -> int:
    if not pairs:
        return 0
    return session.changed(
        f"delete from feed_told using unnest(%b::bytea[], %b::bytea[]) as gone(app, name)"
        f" where feed_told.app = gone.app and feed_told.{column} = gone.name",
        [app.encode() for app, _ in pairs],
        [name.encode() for _, name in pairs],
    )


def _hash(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
