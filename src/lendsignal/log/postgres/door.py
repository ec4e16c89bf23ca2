"""Taking events in, on any number of nodes: what is durable here is decided by whoever has its slot."""

from collections.abc import Sequence
from itertools import starmap

from lendsignal.log.erasing import admitted
from lendsignal.log.log import Fact
from lendsignal.log.numbers import number_of_event
from lendsignal.log.packing import encode
from lendsignal.log.postgres.arrays import bigints, bodies, smallints
from lendsignal.log.postgres.connection import Database, Session, numbers
from lendsignal.log.postgres.erasing import Out
from lendsignal.log.postgres.rows import read_event
from lendsignal.log.quarantine import Quarantined
from lendsignal.log.slots import sequence_of, slot_of
from lendsignal.model import Event, person_key
from lendsignal.plan import Verdict

_FOUND = """
select event.slot, event.id, event.body, verdict.verdict,
    (event.xid, event.id) <= (cursor.xid, cursor.id) as is_decided,
    cursor.place, event.xid = '0',
    (select count(*) from event other where other.slot = event.slot
        and (other.xid, other.id) > least((event.xid, event.id), (cursor.xid, cursor.id))
        and (other.xid, other.id) <= greatest((event.xid, event.id), (cursor.xid, cursor.id)))
from event join cursor using (slot) left join verdict on verdict.slot = event.slot and verdict.id = event.id
where event.name = %s order by event.xid, event.id
"""


class DoorLog:
    """The log as a door sees it. Events get their numbers when they are decided, so `append` returns 0."""

    def __init__(self, database: Database, slots: int) -> None:
        self._database = database
        self._slots = slots
        self._out = Out()

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        """Makes events durable in this order. Returns only after the commit is on disk.

        `imported` = (file hash, name, rows durable with this, done) moves an import on in the same
        transaction. Of who was erased a husk is kept. An event that is sent after the answer to an earlier
        one stands behind it in its slot; two of one person that are sent at the same time may stand either
        way round.
        """
        ready = Ready(events, self._slots)
        with self._database.transaction() as session:
            known = self._out.known(session)
            if (let_in := admitted(events, known)) is not events:
                ready = Ready(let_in, self._slots)
            ready.insert(session)
            if imported is not None:
                session.rows(
                    "insert into imported values (%s, %s, %s, %s) on conflict (file) do update set"
                    " rows = excluded.rows, done = excluded.done",
                    *imported,
                )
        return 0

    def imported(self, file: str) -> tuple[int, bool]:
        """How many rows of that file are durable already, and whether it was finished."""
        found = self._database.row("select rows, done from imported where file = %s", file)
        return (0, False) if found is None else (found[0], found[1])

    def refuse(self, refused: Sequence[Quarantined]) -> None:
        """Keeps what the door refused, durably."""
        with self._database.transaction() as session:
            session.rows(
                "insert into quarantine (received_us, source, field, rule, body, kept) select"
                " received_us, source, field, rule, body, kept from unnest(%b::bigint[], %b::bytea[],"
                " %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[])"
                " with ordinality as one(received_us, source, field, rule, body, kept, place) order by place",
                numbers([one.received_us for one in refused]),
                [one.source.encode() for one in refused],
                [one.field.encode() for one in refused],
                [one.rule.encode() for one in refused],
                [one.body for one in refused],
                [one.kept for one in refused],
            )

    def quarantined(self, limit: int = 100) -> list[Quarantined]:
        """The youngest refusals first."""
        found = self._database.rows(
            "select id, received_us, source, field, rule, body, kept, state from quarantine"
            " order by id desc limit %s",
            limit,
        )
        return [
            Quarantined(
                id=id_,
                received_us=received_us,
                source=source.decode(),
                field=field.decode(),
                rule=rule.decode(),
                body=body,
                kept=kept,
                state=state,
            )
            for id_, received_us, source, field, rule, body, kept, state in found
        ]

    def refusals(self) -> dict[tuple[str, str], int]:
        """How many events were refused, by field and rule."""
        found = self._database.rows("select field, rule, count(*) from quarantine group by 1, 2")
        return {(field.decode(), rule.decode()): n for field, rule, n in found}

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        """The events of that id, oldest first, each with its verdict; `None` where it is not decided yet.

        The number of one that is not decided is the one that it gets if nothing else comes before it.
        """
        found = starmap(self._found, self._database.rows(_FOUND, number_of_event(event_id)))
        return [(fact, verdict) for fact, verdict in found if fact.event.event_id == event_id]

    def _found(
        self,
        slot: int,
        id_: int,
        body: bytes,
        word: str | None,
        is_decided: bool,
        place: int,
        was_moved: bool,
        apart: int,
    ) -> tuple[Fact, Verdict | None]:
        # What came out of a data folder keeps the place that it had there: see `moving`.
        its_place = id_ if was_moved else place - apart if is_decided else place + apart
        number = sequence_of(its_place, slot, self._slots)
        verdict = Verdict(word) if word else Verdict.TAKEN
        return Fact(number, read_event(body)), verdict if is_decided else None


class Ready:
    """Events made ready to be inserted: what takes long is done before the transaction."""

    def __init__(self, events: Sequence[Event], slots: int) -> None:
        self._is_empty = not events
        self._slots = smallints([slot_of(person_key(event), slots) for event in events])
        self._names = bigints([number_of_event(event.event_id) for event in events])
        self._bodies = bodies([encode(event) for event in events])

    def insert(self, session: Session) -> None:
        """Appends them in their order."""
        if not self._is_empty:
            session.rows(
                "insert into event (slot, name, body) select slot, name, body"
                " from unnest(%b::smallint[], %b::bigint[], %b::bytea[])"
                " with ordinality as one(slot, name, body, place) order by place",
                self._slots,
                self._names,
                self._bodies,
            )
