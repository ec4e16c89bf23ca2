"""What the doors of a cluster refused: looked at, mended by a person on any node, taken after all."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any, Protocol

from msgspec import Struct

from lendsignal.log.postgres.connection import Database, database_of
from lendsignal.log.quarantine import ASKED, DROPPED, OPEN, STATES, TAKEN, Kind, Mended, Quarantined, Wanted
from lendsignal.log.store import StoreSettings
from lendsignal.model import Event

AT_ONCE = 1_000
"""Rows of one statement, so that nobody waits long for them."""

_FOUND = (
    "select id, received_us, source, field, rule, body, kept, state, event_id, who, at_us from quarantine"
)


class Appending(Protocol):
    """A door over the same connection."""

    def append(self, events: Sequence[Event]) -> int: ...


class RefusedRows:
    """The refused of a cluster, as `log.Quarantine` keeps those of a data folder.

    What is taken is appended through what `door` gives. Over PostgreSQL that is one transaction with its row;
    over a topic it may happen twice where a node dies in between, and the second is decided as a duplicate.
    """

    def __init__(self, database: Database, door: Callable[[], Appending]) -> None:
        self._database = database
        self._door = door

    # looking

    def find(self, wanted: Wanted, limit: int) -> list[Quarantined]:
        """The youngest that are meant, first."""
        where, values = _where(wanted)
        found = self._database.rows(f"{_FOUND} where {where} order by id desc limit %s", *values, limit)
        return [_quarantined(*one) for one in found]

    def one(self, id_: int) -> Quarantined | None:
        """The one of that number, whatever its state; `None` where there is none."""
        return next(iter(self.find(Wanted(ids=(id_,), states=STATES), 1)), None)

    def count(self, wanted: Wanted) -> int:
        """How many are meant."""
        where, values = _where(wanted)
        found = self._database.row(f"select count(*) from quarantine where {where}", *values)
        return 0 if found is None else int(found[0])

    def kinds(self, wanted: Wanted | None = None) -> list[Kind]:
        """How many are meant, by source, field and rule; the most first."""
        where, values = _where(wanted or Wanted())
        found = self._database.rows(
            "select source, field, rule, count(*), max(received_us) from quarantine"
            f" where {where} group by 1, 2, 3 order by 4 desc, 1, 2, 3",
            *values,
        )
        return [
            Kind(source=source.decode(), field=field.decode(), rule=rule.decode(), n=n, last_us=last_us)
            for source, field, rule, n, last_us in found
        ]

    # what a person wishes

    def ask(self, wishes: Mapping[int, bytes], who: str, at_us: int) -> int:
        """Has these sent through again, each as it is given here; how many of them were open still."""
        changed, ids = 0, list(wishes)
        for start in range(0, len(ids), AT_ONCE):
            these = ids[start : start + AT_ONCE]
            changed += len(
                self._database.rows(
                    f"update quarantine set state = '{ASKED}', kept = one.kept, who = %s, at_us = %s"
                    " from unnest(%b::bigint[], %b::bytea[]) as one(id, kept)"
                    f" where quarantine.id = one.id and state = '{OPEN}' returning 1",
                    who,
                    at_us,
                    these,
                    [wishes[id_] for id_ in these],
                )
            )
        return changed

    def drop(self, ids: Iterable[int], who: str, at_us: int) -> int:
        """Nobody wants these: what could be sent is forgotten now. How many of them were open still."""
        changed, these = 0, list(ids)
        for start in range(0, len(these), AT_ONCE):
            changed += len(
                self._database.rows(
                    f"update quarantine set state = '{DROPPED}', kept = null, who = %s, at_us = %s"
                    f" where id = any(%b::bigint[]) and state = '{OPEN}' returning 1",
                    who,
                    at_us,
                    these[start : start + AT_ONCE],
                )
            )
        return changed

    # carrying it out

    def asked(self, limit: int) -> list[Quarantined]:
        """The oldest that are to be sent through again."""
        found = self._database.rows(f"{_FOUND} where state = '{ASKED}' order by id limit %s", limit)
        return [_quarantined(*one) for one in found]

    def settle(self, mended: Sequence[Mended]) -> int:
        """Takes what passed now, and lets the rest wait for a person again; 0, for numbers come later.

        Of several who carry out the same wish one does it: the others find it done.
        """
        with self._database.transaction() as session:
            found = session.rows(
                f"select id from quarantine where id = any(%b::bigint[]) and state = '{ASKED}'"
                " order by id for update",
                [one.id for one in mended],
            )
            ours = {id_ for (id_,) in found}
            events = {one.id: one.event for one in mended if one.event is not None and one.id in ours}
            if events:
                self._door().append(list(events.values()))
                session.rows(
                    f"update quarantine set state = '{TAKEN}', kept = null, event_id = one.event_id"
                    " from unnest(%b::bigint[], %b::bytea[]) as one(id, event_id)"
                    " where quarantine.id = one.id",
                    list(events),
                    [event.event_id.encode() for event in events.values()],
                )
            again = [one for one in mended if one.event is None and one.id in ours]
            if again:
                session.rows(
                    f"update quarantine set state = '{OPEN}', field = one.field, rule = one.rule"
                    " from unnest(%b::bigint[], %b::bytea[], %b::bytea[]) as one(id, field, rule)"
                    " where quarantine.id = one.id",
                    [one.id for one in again],
                    [one.field.encode() for one in again],
                    [one.rule.encode() for one in again],
                )
        return 0

    def expire(self, before_us: int) -> int:
        """Forgets what came in before that moment, except what is about to be sent; how many."""
        gone = 0
        while True:
            found = self._database.rows(
                "delete from quarantine where id in (select id from quarantine"
                f" where received_us < %s and state <> '{ASKED}' order by id limit %s) returning 1",
                before_us,
                AT_ONCE,
            )
            gone += len(found)
            if len(found) < AT_ONCE:
                return gone


class StoredRefusals(Struct, frozen=True):
    """A store, as who looks at what its doors refused sees it."""

    quarantine: RefusedRows


@contextmanager
def stored_refusals(store: StoreSettings) -> Iterator[StoredRefusals]:
    """Those of a configuration's store, while the block runs. Raises `LogError` where it does not answer."""
    from lendsignal.log.cluster import door_of

    with closing(database_of(store)) as database:
        # A door to a topic asks the brokers first: who only looks needs none.
        yield StoredRefusals(RefusedRows(database, lru_cache(lambda: door_of(store, database))))


def _where(wanted: Wanted) -> tuple[str, list[Any]]:
    """What is wanted as a condition. Its words come in as values."""
    parts: list[str] = ["state = any(%b::text[])"]
    values: list[Any] = [list(wanted.states)]
    if wanted.ids:
        parts.append("id = any(%b::bigint[])")
        values.append(list(wanted.ids))
    for condition, text in (
        ("source = %b::bytea", wanted.source),
        ("field = %b::bytea", wanted.field),
        ("position(%b::bytea in rule) > 0", wanted.rule),
    ):
        if text is not None:
            parts.append(condition)
            values.append(text.encode())
    for condition, moment in (("received_us >= %s", wanted.since_us), ("received_us < %s", wanted.until_us)):
        if moment is not None:
            parts.append(condition)
            values.append(moment)
    return " and ".join(parts), values


def _quarantined(
    id_: int,
    received_us: int,
    source: bytes,
    field: bytes,
    rule: bytes,
    body: bytes,
    kept: bytes | None,
    state: str,
    event_id: bytes | None,
    who: str | None,
    at_us: int | None,
) -> Quarantined:
    return Quarantined(
        id=id_,
        received_us=received_us,
        source=source.decode(),
        field=field.decode(),
        rule=rule.decode(),
        body=body,
        kept=kept,
        state=state,
        event_id=None if event_id is None else event_id.decode(),
        who=who,
        at_us=at_us,
    )
