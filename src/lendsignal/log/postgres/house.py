"""A data folder as rows of a cluster's tables: each table in a fixed order, every number told anew.

Only reads. The service over the folder stands still meanwhile, so that a second look finds the same rows.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import apsw

from lendsignal.log.deliveries import DELIVERIES_PER_RECORD, Open, Stage, pack_receipts, unpacked
from lendsignal.log.deliveries import SCHEMA as DELIVERIES
from lendsignal.log.erasing import SALT
from lendsignal.log.folder import DataFolder
from lendsignal.log.keys import SCHEMA as KEYS
from lendsignal.log.log import SCHEMA as LOG
from lendsignal.log.log import Log, open_log
from lendsignal.log.packing import (
    KeptPlanned,
    KeptState,
    parts_of_records,
    parts_of_state,
    read_records,
    read_state,
    records_of,
    state_of,
)
from lendsignal.log.parts import Parts
from lendsignal.log.postgres.renumbering import UNKNOWN, Renumbering
from lendsignal.log.postgres.rows import pack_whole_records, pack_whole_state, read_event
from lendsignal.log.relay import SCHEMA as SHELF
from lendsignal.log.slots import slot_of
from lendsignal.log.sqlite import connect, rows
from lendsignal.model import person_key, to_us
from lendsignal.plan import event_of

Row: TypeAlias = tuple[Any, ...]

DAY_US = 86_400_000_000
"""Microseconds of a day."""

NO_DAY = -1
"""In place of a day since 1970: the event is not in the log any more."""


class House:
    """The log and the deliveries of one folder, read as a cluster of so many slots keeps them.

    `keep` is for how many days events and records are taken along, counted back from the youngest event's;
    older records come along where a state or a delivery still speaks of them. `today` is the day of the
    cluster's that the youngest event's becomes: days are kept and dropped by its clock.
    """

    def __init__(self, folder: DataFolder, slots: int, keep: int, today: date) -> None:
        self._stack = ExitStack()
        self._slots = slots
        self._keep = keep
        self._today = today
        try:
            self._db = connect(folder.log, LOG, read_only=True)
            self._stack.callback(self._db.close)
            self.log: Log = open_log(folder.log, read_only=True)
            self._stack.callback(self.log.close)
            self._deliveries = self._file(folder.deliveries, DELIVERIES)
            self._keys = self._file(folder.keys, KEYS)
            self._shelf = self._file(folder.relay, SHELF)
            self._parts = Parts(self._db)
            self.last = self.log.end()
            slot_of_event, self._day_of_event = self._looked_through()
        except BaseException:
            self._stack.close()
            raise
        self._youngest = max(self._day_of_event, default=NO_DAY)
        self.numbers = Renumbering(slot_of_event, slots)
        self._names: dict[int, str] = dict(self._of_deliveries("select id, name from destination"))
        self._needed = self._needed_records()

    def _file(self, path: Path, schema: str) -> apsw.Connection | None:
        """A file that not every folder has. It is written too: one that was never read is brought up."""
        if not path.exists():
            return None
        one = connect(path, schema)
        self._stack.callback(one.close)
        return one

    def set_today(self, today: date) -> None:
        """The day of the cluster's that a move began on: one that goes on counts from the same."""
        self._today = today

    def close(self) -> None:
        """Lets the files go."""
        self._stack.close()

    def _looked_through(self) -> tuple[Sequence[int], Sequence[int]]:
        """Each event's slot and the day, since 1970, on which it came in, by its number."""
        slots, days = array("h", [UNKNOWN]) * (self.last + 1), array("i", [NO_DAY]) * (self.last + 1)
        for seq, body in self._db.execute("select seq, body from event"):
            event = read_event(body)
            slots[seq] = slot_of(person_key(event), self._slots)
            days[seq] = to_us(event.received_at) // DAY_US
        for seq, body in self._db.execute(
            "select seq, body from record where not exists (select 1 from event where event.seq = record.seq)"
        ):
            for origin in read_records(body).origins[:1]:
                slots[seq] = slot_of(f"{origin.brand}:{origin.user_id}", self._slots)
        return slots, days

    # what is in it

    def days(self) -> list[date]:
        """The days of the cluster on which its rows lie."""
        found = {self._day(seq) for seq in range(1, self.last + 1) if self._is_kept(seq)}
        return sorted(found | {self._today})

    def versions(self) -> dict[str, str | None]:
        """The rules in force behind the last event."""
        return {"policy": self.log.policy(), "cuts": self.log.cuts(), "value": self.log.value()}

    def places(self) -> list[tuple[int, int]]:
        """How far each slot's records are read: (slot, record)."""
        found = self._of_deliveries("select position from cursor where name = 'records'")
        position = found[0][0] if found else 0
        return [(slot, self.numbers.place(position, slot)) for slot in range(self._slots)]

    def mark(self) -> str:
        """Another after every change that what is taken along hangs on; a digest finds the rest."""
        position, sender = self.log.position(), self.log.sender()
        erasures = self.log.erasing.generation()
        ours = self._of_deliveries("select name, position from cursor order by name")
        packs = self._of_deliveries("select coalesce(max(id), 0) from receipt")
        said = "" if self._shelf is None else rows(self._shelf, SAID)
        return f"{sender}/{self.last}/{position}/{erasures}/{packs}/{ours}/{said}/{self._slots}/{self._keep}"

    def counted(self, table: str) -> int:
        """How many rows the folder has of a table, those that stay behind included."""
        query = f"select count(*) from {NAMES.get(table, table)}"
        match table:
            case "offer":
                db = self._shelf
            case _ if table in OF_DELIVERIES:
                db = self._deliveries
            case _:
                db = self._keys if table in OF_KEYS else self._db
        return 0 if db is None else int(rows(db, query)[0][0])

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of a table of the cluster, always in one order, as `moving.TABLES` tells their columns."""
        give: Callable[[], Iterator[Row]] = getattr(self, f"_{table}")
        return give()

    # of the log

    def _event(self) -> Iterator[Row]:
        for seq, name, body in self._db.execute("select seq, name, body from event order by seq"):
            if self._is_kept(seq):
                yield self.numbers.slot(seq), seq, name, bytes(body), self._day(seq)

    def _verdict(self) -> Iterator[Row]:
        for seq, word in self._db.execute("select seq, verdict from verdict order by seq"):
            if self._is_kept(seq):
                yield self.numbers.slot(seq), seq, word, self._day(seq)

    def _record(self) -> Iterator[Row]:
        for seq, body in self._db.execute("select seq, body from record order by seq"):
            if not self._is_kept(seq) and seq not in self._needed:
                continue
            kept = read_records(body)
            self._parts.load(parts_of_records(kept))
            records = self.numbers.records(records_of(kept, self._parts.at))
            self._parts.trim()
            number = self.numbers.sequence(seq)
            day = self._day(seq) if self._is_kept(seq) else self._today
            yield self.numbers.slot(seq), number, pack_whole_records(records), day

    def _state(self) -> Iterator[Row]:
        for kept in self._kept_states():
            self._parts.load(parts_of_state(kept))
            state = self.numbers.state(state_of(kept, self._parts.at))
            self._parts.trim()
            yield slot_of(state.key, self._slots), state.key.encode(), 1, pack_whole_state(state)

    def _kept_states(self) -> Iterator[KeptState]:
        for (body,) in self._db.execute("select body from state order by id"):
            yield read_state(body)

    def _timer(self) -> Iterator[Row]:
        query = "select due_us, conversion, person from timer order by due_us, conversion"
        for due_us, conversion, person in self._db.execute(query):
            yield slot_of(person, self._slots), due_us, conversion, person.encode()

    def _phone(self) -> Iterator[Row]:
        for key, user in self._db.execute("select key, user from phone order by key, user"):
            yield key % self._slots, key, user

    def _tally(self) -> Iterator[Row]:
        for what, name, n in self._db.execute("select what, name, n from tally order by what, name"):
            yield 0, what, name, n

    def _rule(self) -> Iterator[Row]:
        for name, body in self._db.execute("select name, body from note order by name"):
            kind, _, version = name.partition(" ")
            if version and kind in ("policy", "cuts", "value"):
                yield kind, version, bytes(body)

    def _imported(self) -> Iterator[Row]:
        for file, name, n, done in self._db.execute("select file, name, rows, done from imported order by 1"):
            yield file, name, n, bool(done)

    def _quarantine(self) -> Iterator[Row]:
        query = (
            "select received_us, source, field, rule, body, kept, coalesce(state, 'open') from quarantine"
            " left join mending using (id) order by id"
        )
        for received_us, source, field, rule, body, kept, state in self._db.execute(query):
            words = [text.encode() for text in (source, field, rule)]
            yield received_us, *words, bytes(body), None if kept is None else bytes(kept), state

    def _note(self) -> Iterator[Row]:
        for name, body in self._db.execute("select name, body from note where name = ?", (SALT,)):
            yield name, bytes(body)

    def _kept_out(self) -> Iterator[Row]:
        query = "select who, receipt, at_us, allowed_us from kept_out order by who"
        for who, receipt, at_us, allowed_us in self._db.execute(query):
            yield bytes(who), receipt, at_us, allowed_us

    # of the keys

    def _of_keys(self, query: str) -> Iterator[Row]:
        return iter(()) if self._keys is None else iter(self._keys.execute(query))

    def _api_key(self) -> Iterator[Row]:
        return self._of_keys("select sha256, source, made_us, expires_us, scopes from api_key order by 1")

    def _key_end(self) -> Iterator[Row]:
        return self._of_keys("select sha256, at_us from key_end order by 1")

    def _key_use(self) -> Iterator[Row]:
        return self._of_keys("select sha256, last_us, requests from key_use order by 1")

    # of the deliveries

    def _of_deliveries(self, query: str) -> list[Row]:
        return [] if self._deliveries is None else rows(self._deliveries, query)

    def _each(self, query: str) -> Iterator[Row]:
        return iter(()) if self._deliveries is None else iter(self._deliveries.execute(query))

    def _slot(self, delivery: int) -> int:
        return self.numbers.slot(event_of(delivery // DELIVERIES_PER_RECORD)[0])

    def _open(self) -> Iterator[Row]:
        query = (
            "select destination, id, stage, due_us, attempts, unknown, bound, batch, first_us, lane,"
            " stamp_us, again, strikes, reason, withdrawn from open order by destination, id"
        )
        for name, id_, stage, *rest in self._each(query):
            one = self.numbers.open(Open(self._names[name], id_, Stage(stage), *rest))
            told = [getattr(one, field) for field in Open.__struct_fields__]
            told[2], told[11] = int(one.stage), bool(one.again)
            told[13], told[14] = plain(one.reason), plain(one.withdrawn)
            yield self._slot(id_), *told

    def _lane(self) -> Iterator[Row]:
        query = "select destination, lane, last_us, delivery from lane order by destination, lane"
        for name, lane, last_us, delivery in self._each(query):
            yield self._names[name], lane, last_us, self.numbers.delivery(delivery)

    def _receipt(self) -> Iterator[Row]:
        for (body,) in self._each("select body from receipt order by id"):
            before = unpacked(body)
            receipts = [self.numbers.receipt(one) for one in before]
            ids = [one.id for one in receipts]
            yield self._slot(before[0].id), min(ids), max(ids), pack_receipts(receipts)

    def _dead(self) -> Iterator[Row]:
        query = "select id, destination, conversion, at_us, reason, request, answer from dead order by id"
        for id_, name, conversion, at_us, reason, request, answer in self._each(query):
            told = self._names[name], conversion, at_us, plain(reason), bytes(request), bytes(answer)
            yield self._slot(id_), self.numbers.delivery(id_), *told

    def _offer(self) -> Iterator[Row]:
        """Offers whose delivery is open: what a kill left behind of others is not taken along."""
        if self._shelf is None:
            return
        open_ = {(self._names[name], id_) for name, id_ in self._each("select destination, id from open")}
        found = self._shelf.execute("select * from offer order by destination, delivery")
        for name, id_, address, conversion, item, *moments, withheld in found:
            if (name, id_) in open_:
                at = self._slot(id_), name, self.numbers.delivery(id_)
                yield *at, address, conversion, bytes(item), *moments, bool(withheld)

    def _paused(self) -> Iterator[Row]:
        return self._each("select destination, since_us, kind, reason from paused order by destination")

    def _volume(self) -> Iterator[Row]:
        for name, hour, n in self._each("select destination, hour, n from volume order by 1, 2"):
            yield self._names[name], hour, n

    def _agreed(self) -> Iterator[Row]:
        query = "select destination, first_run, quiet_until_us from agreed order by 1"
        for name, first_run, quiet_until_us in self._each(query):
            yield self._names[name], bool(first_run), quiet_until_us

    def _told(self) -> Iterator[Row]:
        for name, id_, at_us in self._each("select destination, id, at_us from told order by 1, 2"):
            yield self._slot(id_), self._names[name], self.numbers.delivery(id_), at_us

    def _renamed(self) -> Iterator[Row]:
        return self._each("select old, new from renamed order by old")

    def _delivery_tally(self) -> Iterator[Row]:
        query = "select destination, conversion, what, reason, n from tally order by 1, 2, 3, 4"
        for name, conversion, what, reason, n in self._each(query):
            yield 0, self._names[name], conversion, what, plain(reason), n

    # what is kept

    def _is_kept(self, seq: int) -> bool:
        """Whether an event came in within the days that are taken along."""
        day = self._day_of_event[seq] if seq < len(self._day_of_event) else NO_DAY
        return day != NO_DAY and self._youngest - day < self._keep

    def _day(self, seq: int) -> date:
        """The cluster's day of an event that is kept."""
        age = self._youngest - self._day_of_event[seq]
        return date.fromordinal(self._today.toordinal() - age)

    def _needed_records(self) -> set[int]:
        """Events of older days whose records somebody still speaks of."""
        if all(self._is_kept(seq) for seq in range(1, self.last + 1)):
            return set()
        deliveries: list[int] = []
        records: list[int] = []
        for kept in self._kept_states():
            records += [one.record for one in kept.opened]
            for one in kept.correctable:
                records.append(one.record)
                deliveries += chain.from_iterable((*told.deliveries, told.last) for told in one.told)
        deliveries += [id_ for (id_,) in self._of_deliveries("select id from open")]
        deliveries += [id_ for table in ("dead", "told") for (id_,) in self._each(f"select id from {table}")]
        records += [bound for (bound,) in self._of_deliveries("select bound from open where bound > 0")]
        records += [delivery // DELIVERIES_PER_RECORD for delivery in deliveries]
        needed = {event_of(record)[0] for record in records}
        position = self._of_deliveries("select position from cursor where name = 'records'")
        unread = event_of(position[0][0])[0] if position else 0
        needed.update(seq for (seq,) in self._db.execute("select seq from record where seq >= ?", (unread,)))
        return self._with_those_they_name({seq for seq in needed if not self._is_kept(seq)})

    def _with_those_they_name(self, needed: set[int]) -> set[int]:
        """These events, and those of older days whose records theirs move, take back or correct."""
        looked_at: set[int] = set()
        while fresh := needed - looked_at:
            looked_at |= fresh
            for seq in fresh:
                for (body,) in rows(self._db, "select body from record where seq = ?", (seq,)):
                    named = (
                        one.record for one in read_records(body).records if not isinstance(one, KeptPlanned)
                    )
                    needed.update(one for one, _ in map(event_of, named) if not self._is_kept(one))
        return needed


SAID = "select count(*), max(placed_us), max(fetched_us), max(acknowledged_us), sum(withheld) from offer"
"""Another with every change of the shelf: apps write there too."""

OF_DELIVERIES = frozenset("open lane receipt dead paused volume agreed told renamed delivery_tally".split())

OF_KEYS = frozenset("api_key key_end key_use".split())

NAMES = {"delivery_tally": "tally", "rule": "note"}
"""What the folder calls a table, where that is another name."""


def plain(words: str) -> str:
    """A reason may quote a platform, and no text of PostgreSQL holds a NUL."""
    return words.replace("\0", "\ufffd")
