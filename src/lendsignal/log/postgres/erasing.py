"""Takes users out of a cluster's store, and keeps them out at every door.

A user's events become husks, so that the order of everybody else's stays; what follows from them goes.
Workers and senders may have something of theirs in memory: the epochs of the user's slot rise, so that
whoever has it begins anew with what is left. Each step is done again without harm: an erasure that broke off
is asked for once more.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import date

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.derive import users_of, without_user
from lendsignal.errors import LogError
from lendsignal.log.deliveries import DELIVERIES_PER_RECORD, Stage
from lendsignal.log.erasing import NOBODY, SALT, KeptOut, husk_of, says
from lendsignal.log.numbers import number_of_event, number_of_user
from lendsignal.log.packing import encode
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.rows import (
    pack_whole_records,
    pack_whole_state,
    read_event,
    whole_records_of,
    whole_snapshots_of,
    whole_state_of,
)
from lendsignal.log.slots import slot_of
from lendsignal.model import Device, SkipReason
from lendsignal.plan import (
    ERASED_WORD,
    Placed,
    Record,
    Withdrawn,
    person_state_key,
    record_id,
)

GENERATION = "erasures"
"""The row of `changed` that moves with every erasure."""

DOORS = 7_021_154_260_119
"""An advisory lock of our own: doors share it while they append, and whoever keeps somebody out has it alone.
So behind that moment no append is under way that does not know."""

LOOK_SECONDS = 0.5
"""How often a door looks who is kept out: what came in between is made husks as it is appended."""

FUNCTION = f"""
create or replace function erasures_seen() returns bigint language plpgsql volatile as
'begin perform pg_advisory_xact_lock_shared({DOORS});
 return (select coalesce(max(n), 0) from changed where what = ''{GENERATION}''); end'
"""
"""How many erasures there were, once none of them is just under way: each statement within looks anew."""


class Struck(Struct, frozen=True, kw_only=True):
    """What went of a user: rows by kind."""

    events: int = 0
    states: int = 0
    timers: int = 0
    refused: int = 0
    records: int = 0
    deliveries: int = 0
    requests: int = 0
    offers: int = 0


class Out:
    """Who is kept out, as appends see it: read anew whenever there was another erasure."""

    def __init__(self) -> None:
        self._generation = 0
        self._known = NOBODY

    def known(self, session: Session) -> KeptOut:
        """Within an append's transaction, whoever is kept out now. Nobody is added before it ends."""
        found = session.row("select erasures_seen()")
        assert found is not None, "a function gives one row"
        if found[0] != self._generation:
            self._known, self._generation = kept_out_now(session), int(found[0])
        return self._known


class KeptOutWatch:
    """Who is kept out, looked up in a thread of its own: a door's loop never waits for the store."""

    def __init__(self, database: Database, every_seconds: float = LOOK_SECONDS) -> None:
        self._database = database
        self._every = every_seconds
        self._generation = -1
        self._known = NOBODY
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kept out", daemon=True)

    def __call__(self) -> KeptOut:
        return self._known

    def __enter__(self) -> "KeptOutWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._database.close()

    def look(self) -> None:
        """Looks now. Raises `LogError` where the store does not answer."""
        found = self._database.row("select n from changed where what = %s", GENERATION)
        generation = 0 if found is None else int(found[0])
        if generation != self._generation:
            with self._database.transaction() as session:
                self._known, self._generation = kept_out_now(session), generation

    def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(LogError):  # whoever appends is told; what was known stays
                self.look()
            self._stopping.wait(self._every)


class SlotErasing:
    """The erasing side of a cluster's store."""

    def __init__(self, database: Database, slots: int) -> None:
        self._database = database
        self._slots = slots

    def keep_out(self, brand: str, user_id: str, receipt: str, at_us: int) -> None:
        """From now on nothing of that user comes in: no append is under way any more that does not know."""
        with self._database.transaction() as session:
            session.rows(f"select pg_advisory_xact_lock({DOORS})")
            session.rows("insert into note values (%s, %b) on conflict do nothing", SALT, os.urandom(32))
            session.rows(
                "insert into kept_out values (%b, %s, %s, null) on conflict (who) do update set"
                " receipt = excluded.receipt, at_us = excluded.at_us, allowed_us = null",
                kept_out_now(session).name(brand, user_id),
                receipt,
                at_us,
            )
            _moved(session)

    def allow_again(self, brand: str, user_id: str, from_us: int) -> bool:
        """What the user does from that moment on comes in again; whether it had been kept out."""
        with self._database.transaction() as session:
            session.rows(f"select pg_advisory_xact_lock({DOORS})")
            changed = session.changed(
                "update kept_out set allowed_us = %s where who = %b and allowed_us is null",
                from_us,
                kept_out_now(session).name(brand, user_id),
            )
            _moved(session)
        return changed > 0

    def counted(self, brand: str, user_id: str) -> Struck:
        """What `strike` would reach now; changes nothing."""
        slot, key = self._place(brand, user_id)
        return Struck(
            events=sum(len(self._events(day, slot, brand, user_id)) for day in self._days("event")),
            states=len(self._database.rows("select 1 from state where slot = %s and key = %b", slot, key)),
            timers=len(self._database.rows("select 1 from timer where slot = %s and person = %b", slot, key)),
            refused=len(self._refused(brand, user_id)),
            records=sum(len(self._records(day, slot, brand, user_id)) for day in self._days("record")),
        )

    def strike(self, brand: str, user_id: str) -> Struck:
        """Takes a user out who is kept out already. What is on its way at this moment may arrive."""
        slot, _ = self._place(brand, user_id)
        events = sum(self._husked(day, slot, brand, user_id) for day in self._days("event"))
        with self._database.transaction() as session:
            # Whoever decided by what stood there before cannot keep it any more.
            session.rows("update cursor set epoch = epoch + 1 where slot = %s", slot)
            states, timers = self._forgotten(session, brand, user_id)
        # Behind that nothing more follows from them.
        records = deliveries = requests = offers = 0
        for day in self._days("record"):
            with self._database.transaction() as session:
                found = self._records(day, slot, brand, user_id)
                if found:
                    session.rows("update sending set epoch = epoch + 1 where slot = %s", slot)
                for seq, body in found:
                    gone, asked, offered = self._let_go(session, slot, seq, body)
                    deliveries, requests, offers = deliveries + gone, requests + asked, offers + offered
                    session.rows(
                        "update record set body = %b where slot = %s and seq = %s and day = %s",
                        pack_whole_records(_emptied(seq, body)),
                        slot,
                        seq,
                        day,
                    )
                records += len(found)
        refused = self._refused(brand, user_id)
        self._database.rows("delete from quarantine where id = any(%b::bigint[])", refused)
        return Struck(
            events=events,
            states=states,
            timers=timers,
            refused=len(refused),
            records=records,
            deliveries=deliveries,
            requests=requests,
            offers=offers,
        )

    def note(self, receipt: str, at_us: int, by: str, ended_us: int | None, struck: Struck) -> None:
        """Keeps what went by an erasure; nothing about whom."""
        self._database.rows(
            "insert into erasure values (%s, %s, %s, %s, %s) on conflict (receipt) do update set"
            " ended_us = excluded.ended_us, found = excluded.found",
            receipt,
            at_us,
            by,
            ended_us,
            msgspec.json.encode(struck).decode(),
        )

    def noted(self) -> list[tuple[str, int, str, int | None, Struck]]:
        """Every erasure, the youngest first: receipt, when and by whom it was asked, when it ended, what
        went."""
        found = self._database.rows(
            "select receipt, asked_us, asked_by, ended_us, found from erasure order by asked_us desc, receipt"
        )
        return [(*one, msgspec.json.decode(text, type=Struck)) for *one, text in found]

    # looking

    def users_of(self, person: str) -> set[tuple[str, str]]:
        """Every (brand, user id) that was ever said to be that person, as far as the store knows: by what its
        users share, and by events that are not decided yet."""
        key = person_state_key(person)
        slot = slot_of(key, self._slots)
        state = self._database.row("select body from state where slot = %s and key = %b", slot, key.encode())
        users = [] if state is None else list(users_of(whole_state_of(state[0]).ledger))
        found = {(brand, user) for brand, _, user in (one.partition(":") for one in users)}
        waiting = self._database.rows(
            "select body from cursor join event using (slot)"
            " where (event.xid, event.id) > (cursor.xid, cursor.id) and event.day >= cursor.day - 1"
            " and position(%b::bytea in body) > 0",
            person.encode(),
        )
        events = [read_event(body) for (body,) in waiting]
        return found | {(one.brand, one.user_id) for one in events if one.person_id == person}

    def devices_of(self, brand: str, user_id: str) -> list[tuple[str, Device]]:
        """The installations, each with its app, that the user's state and events show."""
        slot, key = self._place(brand, user_id)
        found: dict[tuple[str, Device], None] = {}
        for day in self._days("event"):
            for _, _, body in self._events(day, slot, brand, user_id):
                event = read_event(body)
                if event.device is not None:
                    found[event.app or "", event.device] = None
        state = self._database.row("select body from state where slot = %s and key = %b", slot, key)
        for snapshot in () if state is None else whole_snapshots_of(state[0]):
            found[snapshot.app, snapshot.device] = None
        return list(found)

    # one step each

    def _place(self, brand: str, user_id: str) -> tuple[int, bytes]:
        key = f"{brand}:{user_id}"
        return slot_of(key, self._slots), key.encode()

    def _days(self, table: str) -> list[date]:
        """The days that a table has: a look takes one of them, so that no statement lasts long."""
        found = self._database.rows(
            "select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass order by 1",
            table,
        )
        return [date.fromisoformat(name.rpartition("_")[2]) for (name,) in found]

    def _events(self, day: date, slot: int, brand: str, user_id: str) -> list[tuple[str, int, bytes]]:
        """The user's events of a day: (transaction, row, body)."""
        found = self._database.rows(
            "select xid::text, id, body from event"
            " where day = %s and slot = %s and position(%b::bytea in body) > 0",
            day,
            slot,
            user_id.encode(),
        )
        return [one for one in found if _is_of(read_event(one[2]), brand, user_id)]

    def _husked(self, day: date, slot: int, brand: str, user_id: str) -> int:
        found = self._events(day, slot, brand, user_id)
        with self._database.transaction() as session:
            known = kept_out_now(session)
            for xid, id_, body in found:
                husk = husk_of(read_event(body), known)
                session.rows(
                    "update event set name = %s, body = %b"
                    " where slot = %s and xid = %s::text::xid8 and id = %s and day = %s",
                    number_of_event(husk.event_id),
                    encode(husk),
                    slot,
                    xid,
                    id_,
                    day,
                )
        return len(found)

    def _forgotten(self, session: Session, brand: str, user_id: str) -> tuple[int, int]:
        """Deletes state and timers, and takes the user out of what a person's users share."""
        slot, key = self._place(brand, user_id)
        found = session.row("delete from state where slot = %s and key = %b returning body", slot, key)
        timers = session.changed("delete from timer where slot = %s and person = %b", slot, key)
        session.rows("delete from phone where who = %s", number_of_user(key.decode()))
        if found is not None:
            state = whole_state_of(found[0])
            if state.pen:
                session.rows(
                    "insert into tally values (%s, 'pen', '', %s)"
                    " on conflict (slot, what, name) do update set n = tally.n + excluded.n",
                    slot,
                    -len(state.pen),
                )
            if state.person is not None:
                self._leave(session, person_state_key(state.person), key.decode())
        return int(found is not None), timers

    def _leave(self, session: Session, shared: str, user: str) -> None:
        """Takes a user out of what a person's users share; with the last of them it goes."""
        place = (slot_of(shared, self._slots), shared.encode())
        found = session.row("select body from state where slot = %s and key = %b for update", *place)
        if found is None:
            return
        state = whole_state_of(found[0])
        ledger = without_user(state.ledger, user)
        if users_of(ledger):
            session.rows(
                "update state set body = %b, version = version + 1 where slot = %s and key = %b",
                pack_whole_state(replace(state, ledger=ledger)),
                *place,
            )
        else:
            session.rows("delete from state where slot = %s and key = %b", *place)

    def _records(self, day: date, slot: int, brand: str, user_id: str) -> list[tuple[int, Sequence[Record]]]:
        """What follows from the user's events, of a day's records."""
        found = self._database.rows(
            "select seq, body from record where day = %s and slot = %s and position(%b::bytea in body) > 0",
            day,
            slot,
            user_id.encode(),
        )
        unpacked = [(seq, whole_records_of(body)) for seq, body in found]
        return [
            (seq, records)
            for seq, records in unpacked
            if any(isinstance(one, Placed) and _is_of(one.conversion, brand, user_id) for one in records)
        ]

    def _let_go(
        self, session: Session, slot: int, seq: int, records: Sequence[Record]
    ) -> tuple[int, int, int]:
        """Ends the open deliveries of one event's records, empties kept requests, and takes offers off the
        shelf: how many of each."""
        first = record_id(seq, 0) * DELIVERIES_PER_RECORD
        last = record_id(seq + 1, 0) * DELIVERIES_PER_RECORD - 1
        gone = session.rows(
            "delete from open where slot = %s and id between %s and %s returning destination, id, stage",
            slot,
            first,
            last,
        )
        for destination, delivery, stage in gone:
            record = records[delivery // DELIVERIES_PER_RECORD - record_id(seq, 0)]
            # What is on its way may arrive, and nobody hears of it any more.
            what, why = (
                ("dead", "unknown") if stage == Stage.CLAIMED else ("skipped", SkipReason.SUPPRESSED.value)
            )
            session.rows(
                "insert into delivery_tally values (%s, %s, %s, %s, %s, 1)"
                " on conflict (slot, destination, conversion, what, reason)"
                " do update set n = delivery_tally.n + 1",
                slot,
                destination,
                record.conversion.name if isinstance(record, Placed) else "",
                what,
                why,
            )
        session.rows("delete from told where slot = %s and id between %s and %s", slot, first, last)
        asked = session.changed(
            "update dead set request = '', answer = '' where slot = %s and id between %s and %s",
            slot,
            first,
            last,
        )
        offers = session.changed(
            "delete from offer where slot = %s and delivery between %s and %s", slot, first, last
        )
        return len(gone), asked, offers

    def _refused(self, brand: str, user_id: str) -> list[int]:
        """Refused events that say this user, as far as they tell."""
        found = self._database.rows(
            "select id, body, kept from quarantine where position(%b::bytea in body) > 0"
            " or position(%b::bytea in kept) > 0",
            user_id.encode(),
            user_id.encode(),
        )
        return [id_ for id_, body, kept in found if says(body, kept, brand, user_id)]


def _is_of(one: object, brand: str, user_id: str) -> bool:
    return (getattr(one, "brand", None), getattr(one, "user_id", None)) == (brand, user_id)


def _emptied(seq: int, records: Sequence[Record]) -> list[Record]:
    """As many records, each of which takes itself back: so numbers stay what they were."""
    return [Withdrawn(record_id(seq, place), ERASED_WORD, None, 0) for place in range(len(records))]


def kept_out_now(session: Session) -> KeptOut:
    """Who is kept out, as a transaction sees it."""
    salt = session.row("select body from note where name = %s", SALT)
    found = session.rows("select who, allowed_us from kept_out")
    return NOBODY if salt is None else KeptOut(salt[0], dict(found))


def _moved(session: Session) -> None:
    session.rows(
        "insert into changed values (%s, 1) on conflict (what) do update set n = changed.n + 1", GENERATION
    )
