"""What the door refused, in the log's own file: looked at, mended by a person, taken after all, or forgotten.

A person's wish is durable before he is told so, and is carried out by whoever decides over the folder, in
one transaction with the event that it makes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import apsw
from msgspec import Struct

from lendsignal.log.sqlite import Guard, row, rows, transaction
from lendsignal.model import Event

SCHEMA = """
create table if not exists quarantine (
    id integer primary key,
    received_us integer not null,
    source text not null,
    field text not null,
    rule text not null,
    body blob not null                  -- what was sent, contacts masked
);
create table if not exists mending (    -- what a person may still do about it, and what he did
    id integer primary key,             -- of the quarantine
    kept blob,                          -- what can be sent through again, contacts hashed
    state text not null,                -- open, asked, taken, dropped
    event_id text,                      -- of what was taken
    who text,
    at_us integer
);
create index if not exists mending_asked on mending (id) where state = 'asked';
"""

OPEN, ASKED, TAKEN, DROPPED = "open", "asked", "taken", "dropped"
STATES = (OPEN, ASKED, TAKEN, DROPPED)
"""Waits for a person · is about to be sent through again · is in the log · is not wanted."""

AT_ONCE = 1_000
"""Rows of one statement, so that nobody waits long for the file."""

_FOUND = (
    "select id, received_us, source, field, rule, body, kept, coalesce(state, 'open'), event_id, who, at_us"
    " from quarantine left join mending using (id)"
)


class Quarantined(Struct, frozen=True, kw_only=True):
    """What was refused at the door: field and rule say why; `body` is for people, contacts masked.

    `kept` is what can be sent through again; `None` where nothing can. `who` and `at_us` tell who last did
    something about it, and when; `event_id` is that of the event it became.
    """

    received_us: int
    source: str
    field: str
    rule: str
    body: bytes
    id: int | None = None
    kept: bytes | None = None
    state: str = OPEN
    event_id: str | None = None
    who: str | None = None
    at_us: int | None = None


class Wanted(Struct, frozen=True, kw_only=True):
    """Which of them are meant: what is `None` or empty chooses nothing out.

    `rule` is a part of the rule's words. Times are microseconds since 1970.
    """

    ids: tuple[int, ...] = ()
    source: str | None = None
    field: str | None = None
    rule: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    states: tuple[str, ...] = (OPEN,)


class Kind(Struct, frozen=True, kw_only=True):
    """How many were refused alike and wait for a person."""

    source: str
    field: str
    rule: str
    n: int
    last_us: int


class Mended(Struct, frozen=True):
    """What came of one that was asked for: the event it is now, or the field and rule that refuse it."""

    id: int
    event: Event | None
    field: str = ""
    rule: str = ""


class Quarantine:
    """The refused, beside the log. `append` makes events durable, within a transaction that is open."""

    def __init__(self, db: apsw.Connection, lock: Guard, append: Callable[[Sequence[Event]], int]) -> None:
        self._db = db
        self._lock = lock
        self._append = append

    def add(self, refused: Sequence[Quarantined]) -> None:
        """Keeps what was refused, durably."""
        with self._lock, transaction(self._db):
            last = row(self._db, "select max(id) from quarantine")
            first = 1 + (0 if last is None or last[0] is None else int(last[0]))
            self._db.executemany(
                "insert into quarantine values (?, ?, ?, ?, ?, ?)",
                [
                    (id_, one.received_us, one.source, one.field, one.rule, one.body)
                    for id_, one in enumerate(refused, first)
                ],
            )
            self._db.executemany(
                "insert or replace into mending (id, kept, state) values (?, ?, 'open')",
                [(id_, one.kept) for id_, one in enumerate(refused, first)],
            )

    # looking

    def find(self, wanted: Wanted, limit: int) -> list[Quarantined]:
        """The youngest that are meant, first."""
        where, values = _where(wanted)
        with self._lock:
            found = rows(self._db, f"{_FOUND} {where} order by id desc limit ?", (*values, limit))
        return [_quarantined(one) for one in found]

    def one(self, id_: int) -> Quarantined | None:
        """The one of that number, whatever its state; `None` where there is none."""
        return next(iter(self.find(Wanted(ids=(id_,), states=STATES), 1)), None)

    def count(self, wanted: Wanted) -> int:
        """How many are meant."""
        where, values = _where(wanted)
        with self._lock:
            found = row(
                self._db, f"select count(*) from quarantine left join mending using (id) {where}", values
            )
        return 0 if found is None else int(found[0])

    def kinds(self, wanted: Wanted | None = None) -> list[Kind]:
        """How many are meant, by source, field and rule; the most first."""
        where, values = _where(wanted or Wanted())
        query = (
            "select source, field, rule, count(*), max(received_us) from quarantine"
            f" left join mending using (id) {where} group by 1, 2, 3 order by 4 desc, 1, 2, 3"
        )
        with self._lock:
            found = rows(self._db, query, values)
        return [
            Kind(source=source, field=field, rule=rule, n=n, last_us=last_us)
            for source, field, rule, n, last_us in found
        ]

    # what a person wishes

    def ask(self, wishes: Mapping[int, bytes], who: str, at_us: int) -> int:
        """Has these sent through again, each as it is given here; how many of them were open still."""
        return self._change(
            "update mending set state = 'asked', kept = ?, who = ?, at_us = ?"
            " where id = ? and state = 'open'",
            [(kept, who, at_us, id_) for id_, kept in wishes.items()],
        )

    def drop(self, ids: Iterable[int], who: str, at_us: int) -> int:
        """Nobody wants these: what could be sent is forgotten now. How many of them were open still."""
        these = list(ids)
        self._change(
            "insert or ignore into mending (id, state) select id, 'open' from quarantine where id = ?",
            [(id_,) for id_ in these],
        )
        return self._change(
            "update mending set state = 'dropped', kept = null, who = ?, at_us = ?"
            " where id = ? and state = 'open'",
            [(who, at_us, id_) for id_ in these],
        )

    def _change(self, statement: str, values: Sequence[tuple[Any, ...]]) -> int:
        changed = 0
        for start in range(0, len(values), AT_ONCE):
            with self._lock, transaction(self._db):
                before = self._db.total_changes()
                self._db.executemany(statement, values[start : start + AT_ONCE])
                changed += self._db.total_changes() - before
        return changed

    # carrying it out

    def asked(self, limit: int) -> list[Quarantined]:
        """The oldest that are to be sent through again."""
        with self._lock:
            found = rows(self._db, f"{_FOUND} where state = 'asked' order by id limit ?", (limit,))
        return [_quarantined(one) for one in found]

    def settle(self, mended: Sequence[Mended]) -> int:
        """Takes what passed now, and lets the rest wait for a person again; the number of the first event.

        All in one transaction: an event is in the log exactly when its refusal is done with. 0: none passed.
        """
        taken = [one for one in mended if one.event is not None]
        with self._lock, transaction(self._db):
            first = self._append([one.event for one in taken if one.event is not None]) if taken else 0
            self._db.executemany(
                "update mending set state = 'taken', kept = null, event_id = ? where id = ?",
                [(one.event.event_id, one.id) for one in taken if one.event is not None],
            )
            again = [one for one in mended if one.event is None]
            self._db.executemany(
                "update mending set state = 'open' where id = ?", [(one.id,) for one in again]
            )
            self._db.executemany(
                "update quarantine set field = ?, rule = ? where id = ?",
                [(one.field, one.rule, one.id) for one in again],
            )
        return first

    def expire(self, before_us: int) -> int:
        """Forgets what came in before that moment, except what is about to be sent; how many."""
        gone = 0
        while True:
            with self._lock, transaction(self._db):
                found = rows(
                    self._db,
                    "select id, received_us, coalesce(state, 'open')"
                    " from quarantine left join mending using (id) order by id limit ?",
                    (AT_ONCE,),
                )
                old = [(id_,) for id_, at, state in found if at < before_us and state != ASKED]
                self._db.executemany("delete from quarantine where id = ?", old)
                self._db.executemany("delete from mending where id = ?", old)
            gone += len(old)
            if len(old) < AT_ONCE:
                return gone


def _where(wanted: Wanted) -> tuple[str, tuple[Any, ...]]:
    """What is wanted as a condition. Its words come in as values."""
    parts: list[tuple[str, tuple[Any, ...]]] = [
        (f"coalesce(state, 'open') in ({_places(wanted.states)})", wanted.states)
    ]
    if wanted.ids:
        parts.append((f"id in ({_places(wanted.ids)})", wanted.ids))
    for condition, value in (
        ("source = ?", wanted.source),
        ("field = ?", wanted.field),
        ("instr(rule, ?)", wanted.rule),
        ("received_us >= ?", wanted.since_us),
        ("received_us < ?", wanted.until_us),
    ):
        if value is not None:
            parts.append((condition, (value,)))
    return (
        "where " + " and ".join(condition for condition, _ in parts),
        tuple(value for _, values in parts for value in values),
    )


def _places(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _quarantined(found: tuple[Any, ...]) -> Quarantined:
    id_, received_us, source, field, rule, body, kept, state, event_id, who, at_us = found
    return Quarantined(
        id=id_,
        received_us=received_us,
        source=source,
        field=field,
        rule=rule,
        body=body,
        kept=kept,
        state=state,
        event_id=event_id,
        who=who,
        at_us=at_us,
    )
