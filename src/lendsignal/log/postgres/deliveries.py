"""Deliveries of a cluster: those of the slots that one sender has, and what all senders share.

What belongs to a person (open deliveries, receipts, the dead) goes by slot, and a sender sees its own slots
alone. Counts, pauses, brakes and what a lane sent last are everybody's: see `together`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from time import monotonic

from lendsignal.errors import LaneMoved
from lendsignal.log.deliveries import (
    Changes,
    Dead,
    Open,
    Pause,
    Receipt,
    Stage,
    Stop,
    pack_receipts,
    unpacked,
)
from lendsignal.log.postgres.arrays import bigints, booleans, ints, smallints, texts
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.receipts import SCHEMA as RECEIPTS
from lendsignal.log.postgres.rows import unpacked_records, whole_state_of
from lendsignal.log.slots import place_in_slot, slot_of
from lendsignal.log.stream import Place, Recorded
from lendsignal.plan import Record, UserState, delivery_id, event_of, record_id

SCHEMA = """
create table if not exists sending (    -- how far a slot's records are read, and by whom
    slot smallint primary key,
    owner text,
    position bigint not null default 0,
    epoch bigint not null default 0,    -- rises with every owner: who comes with an older one is refused
    orders bigint not null default 0    -- the last of people's orders that was carried out over this slot
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create table if not exists open (
    slot smallint not null,
    destination text not null,
    id bigint not null,                 -- as in a data folder: record * 64 + entry
    stage smallint not null,
    due_us bigint not null,
    attempts integer not null,
    unknown integer not null,
    bound bigint not null,
    batch integer not null,
    first_us bigint not null,
    lane bigint not null,
    stamp_us bigint not null,
    again boolean not null,
    strikes integer not null,
    reason text not null,
    withdrawn text not null,
    primary key (slot, destination, id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
create index if not exists open_waiting on open (destination, id) where stage = 0;
create index if not exists open_unsettled on open (destination, stage, due_us, id) where stage > 0;
create index if not exists open_moved on open (slot) where bound > 0;
create index if not exists open_in_lane on open (destination, lane) where lane > 0;
create table if not exists lane (
    destination text not null,
    lane bigint not null,
    last_us bigint not null,
    delivery bigint not null,
    primary key (destination, lane)
) with (fillfactor = 70);
create table if not exists dead (
    slot smallint not null,
    id bigint not null,
    destination text not null,
    conversion text not null,
    at_us bigint not null,
    reason text not null,
    request bytea not null,
    answer bytea not null,
    primary key (slot, id)
);
create index if not exists dead_in_order on dead (id);
create table if not exists paused (
    destination text primary key,
    since_us bigint not null,
    kind text not null,
    reason text not null
);
create table if not exists volume (
    destination text not null,
    hour bigint not null,
    n bigint not null,
    primary key (destination, hour)
) with (fillfactor = 70);
create table if not exists agreed (
    destination text primary key,
    first_run boolean not null,
    quiet_until_us bigint not null
);
create table if not exists orders (     -- what people ordered
    id bigint primary key,              -- without a hole, and committed in this order
    at_us bigint not null,
    who text not null,
    body bytea not null                 -- log.orders: msgpack of Order
);
create table if not exists obeyed (     -- what came of each, over the slots that were done
    id bigint primary key,
    done integer not null,
    passed_over integer not null
);
create table if not exists begun (      -- the first deliveries of a destination that has a first run
    destination text not null,
    id bigint not null,
    primary key (destination, id)
);
create table if not exists account (    -- the pace of an account on a platform, by the database's clock
    platform text not null,
    name text not null,
    at timestamptz not null default clock_timestamp(),
    tokens double precision,            -- requests that may leave; null: as many as may at once
    share double precision not null default 1,      -- of the full rate, as slow-downs left it
    ceiling double precision not null default 1,    -- of the full rate, as the platform's allowance has it
    waits_until timestamptz not null default 'epoch',
    slowed integer not null default 0,              -- slow-downs in a row
    primary key (platform, name)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create table if not exists told (
    slot smallint not null,
    destination text not null,
    id bigint not null,
    at_us bigint not null,
    primary key (slot, destination, id)
);
create index if not exists told_at on told (at_us);
create table if not exists renamed (old text primary key, new text not null);
create table if not exists place (name text primary key, position bigint not null);
create table if not exists delivery_tally (
    slot smallint not null,             -- one of those that were committed together
    destination text not null,
    conversion text not null,
    what text not null,
    reason text not null,
    n bigint not null,
    primary key (slot, destination, conversion, what, reason)
) with (fillfactor = 70);
"""

SCHEMA += RECEIPTS

_OPEN = (
    "destination, id, stage, due_us, attempts, unknown, bound, batch, first_us, lane, stamp_us, again,"
    " strikes, reason, withdrawn"
)

_KEPT = (
    f"insert into open (slot, {_OPEN}) select * from unnest({', '.join('%b' for _ in range(16))})"
    " on conflict (slot, destination, id) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in _OPEN.split(", ")[2:])
)

_ENDED = "('accepted', 'dead', 'skipped', 'cancelled')"

_BEHIND = """
select mine.slot, next.seq, next.body from unnest(%b::smallint[], %b::bigint[]) as mine(slot, seq)
cross join lateral (
    select record.seq, record.body, row_number() over (order by record.seq) as turn from record
    where record.slot = mine.slot and record.seq > mine.seq order by record.seq limit %s
) next
order by next.turn, mine.slot limit %s
"""

TRUSTED_SECONDS = 1.0
"""How long a look at the cursors stands for a look at every slot's records."""

PACKS_AT_ONCE = 500
"""Packs of receipts that are read together."""

UPGRADE = (
    "alter table if exists sending add column if not exists epoch bigint not null default 0",
    "alter table if exists sending add column if not exists orders bigint not null default 0",
)
"""For tables that were made when a single sender sent."""

UPGRADE_OF_RECEIPTS = (
    # Those that are there stand before all others, in the order of their ids: nobody writes meanwhile.
    "alter table if exists receipt add column if not exists xid xid8 not null default '0'",
    "alter table if exists receipt alter column xid set default pg_current_xact_id()",
)
"""For tables whose receipts nobody followed."""

_DELIVERIES_PER_EVENT = delivery_id(record_id(1, 0), 0)
"""A delivery's number is its event's times this, and a rest; an event's is its place's times the slots, and
the slot."""

Guard = Callable[[Session, Collection[int]], None]
"""Within a transaction, raises `Overtaken` where one of these slots is not the sender's any more."""


class SlotDeliveries:
    """The deliveries of some slots. One sender writes them; whatever it writes is guarded.

    A guard is asked for the slots that a transaction writes to, and for the first of ours beside them, which
    stands for what belongs to no slot. A stream that had nothing is looked at again after `idle_seconds`:
    each look costs the server something a slot.
    """

    def __init__(
        self,
        database: Database,
        slots: int,
        mine: Collection[int],
        guard: Guard = lambda session, slots: None,
        *,
        idle_seconds: float = 0.0,
    ) -> None:
        self._database = database
        self._slots = slots
        self._mine = sorted(mine)
        self._guard = guard
        self._idle_seconds = idle_seconds

    # keeping

    def commit(self, changes: Changes) -> None:
        """Makes the changes durable, all or none. Raises `LogError` where the database does not take them,
        `Overtaken` where another sender has these slots by now."""
        with self._database.transaction() as session:
            self._guard(session, self._written(changes))
            self._write_open(session, changes)
            self._write_counts(session, changes)
            self._write_rare(session, changes)
            if changes.position is not None:
                self._write_position(session, changes.position)

    def _written(self, changes: Changes) -> set[int]:
        """The slots that changes write to."""
        if changes.order is not None or changes.forget_us or changes.bury_us:
            return set(self._mine)
        found = {self._slot(delivery) for delivery in (*changes.kept, *changes.finished, *changes.revived)}
        found.update(self._slot(one.id) for one in changes.receipts)
        found.update(self._slot(one.id) for one in changes.dead)
        found.update(self._slot(delivery) for _, delivery in changes.told)
        if isinstance(changes.position, Mapping):
            found.update(changes.position)
        return found | {self._mine[0]}

    def _write_open(self, session: Session, changes: Changes) -> None:
        if changes.finished:
            session.rows(
                "delete from open using unnest(%b::smallint[], %b::text[], %b::bigint[])"
                " as one(slot, destination, id) where open.slot = one.slot"
                " and open.destination = one.destination and open.id = one.id",
                smallints([self._slot(delivery) for delivery in changes.finished]),
                texts(list(changes.finished.values())),
                bigints(changes.finished),
            )
        if changes.kept:
            kept = list(changes.kept.values())
            session.rows(
                _KEPT,
                smallints([self._slot(one.id) for one in kept]),
                texts([one.destination for one in kept]),
                bigints([one.id for one in kept]),
                smallints([one.stage for one in kept]),
                bigints([one.due_us for one in kept]),
                ints([one.attempts for one in kept]),
                ints([one.unknown for one in kept]),
                bigints([one.bound for one in kept]),
                ints([one.batch for one in kept]),
                bigints([one.first_us for one in kept]),
                bigints([one.lane for one in kept]),
                bigints([one.stamp_us for one in kept]),
                booleans([one.again for one in kept]),
                ints([one.strikes for one in kept]),
                texts([_text(one.reason) for one in kept]),
                texts([one.withdrawn for one in kept]),
            )
        if changes.receipts:
            ids = [receipt.id for receipt in changes.receipts]
            session.rows(
                "insert into receipt (slot, low, high, body) values (%s, %s, %s, %b)",
                self._slot(ids[0]),
                min(ids),
                max(ids),
                pack_receipts(changes.receipts),
            )
        if changes.lanes:
            moved = session.rows(
                "insert into lane select * from unnest(%b::text[], %b::bigint[], %b::bigint[], %b::bigint[])"
                " as one(destination, lane, last_us, delivery) order by 1, 2"
                " on conflict (destination, lane) do update set"
                " last_us = excluded.last_us, delivery = excluded.delivery"
                " where lane.delivery = excluded.delivery or lane.delivery = any(%b::bigint[]) or %s"
                " returning 1",
                texts([name for name, _ in changes.lanes]),
                bigints([lane for _, lane in changes.lanes]),
                bigints([last_us for last_us, _ in changes.lanes.values()]),
                bigints([delivery for _, delivery in changes.lanes.values()]),
                bigints(changes.lanes_before.values()),
                not changes.lanes_before,  # nobody looked at a lane before
            )
            if len(moved) < len(changes.lanes):
                raise LaneMoved("another sender sent in a lane of ours meanwhile")
        if changes.told:
            session.rows(
                "insert into told"
                " select * from unnest(%b::smallint[], %b::text[], %b::bigint[], %b::bigint[])"
                " on conflict (slot, destination, id) do update set at_us = excluded.at_us",
                smallints([self._slot(delivery) for _, delivery in changes.told]),
                texts([name for name, _ in changes.told]),
                bigints([delivery for _, delivery in changes.told]),
                bigints(changes.told.values()),
            )
        if changes.forget_us:
            session.rows(
                "delete from told where at_us < %s and slot = any(%b::smallint[])",
                changes.forget_us,
                self._mine,
            )
        if changes.bury_us:
            session.rows(
                "delete from dead where at_us < %s and slot = any(%b::smallint[])",
                changes.bury_us,
                self._mine,
            )

    def _write_counts(self, session: Session, changes: Changes) -> None:
        """Sorted: senders that count the same never wait for each other in a circle."""
        if changes.tally:
            tally = sorted(changes.tally.items())
            words = [texts([_text(key[place]) for key, _ in tally]) for place in range(4)]
            session.rows(
                "insert into delivery_tally select %s::smallint, * from"
                " unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[])"
                " on conflict (slot, destination, conversion, what, reason) do update set"
                " n = delivery_tally.n + excluded.n",
                self._mine[0],  # ours alone
                *words,
                bigints([n for _, n in tally]),
            )
        if changes.volume:
            volume = sorted(changes.volume.items())
            session.rows(
                "insert into volume select * from unnest(%b::text[], %b::bigint[], %b::bigint[])"
                " on conflict (destination, hour) do update set n = volume.n + excluded.n",
                texts([name for (name, _), _ in volume]),
                bigints([hour for (_, hour), _ in volume]),
                bigints([n for _, n in volume]),
            )

    def _write_rare(self, session: Session, changes: Changes) -> None:
        for one in changes.dead:
            session.rows(
                "insert into dead values (%s, %s, %s, %s, %s, %s, %b, %b)"
                " on conflict (slot, id) do update set at_us = excluded.at_us, reason = excluded.reason,"
                " request = excluded.request, answer = excluded.answer",
                self._slot(one.id),
                one.id,
                one.destination,
                one.conversion,
                one.at_us,
                _text(one.reason),
                one.request,
                one.answer,
            )
        for delivery in changes.revived:
            session.rows("delete from dead where slot = %s and id = %s", self._slot(delivery), delivery)
        for name, pause in sorted(changes.paused.items()):
            self._write_pause(session, name, pause, probed=name in changes.probed)
        for name, (first_run, quiet_until_us) in sorted(changes.agreed.items()):
            session.rows(
                "insert into agreed values (%s, %s, %s) on conflict (destination) do update set"
                " first_run = excluded.first_run, quiet_until_us = excluded.quiet_until_us",
                name,
                first_run,
                quiet_until_us,
            )
        if changes.obeyed is not None:
            session.rows(
                "insert into obeyed values (%s, %s, %s) on conflict (id) do update set"
                " done = obeyed.done + excluded.done,"
                " passed_over = obeyed.passed_over + excluded.passed_over",
                *changes.obeyed,
            )
        if changes.order is not None:
            session.rows(
                "update sending set orders = %s where slot = any(%b::smallint[]) and orders < %s",
                changes.order,
                self._mine,
                changes.order,
            )

    def _write_pause(self, session: Session, name: str, pause: Pause | None, *, probed: bool) -> None:
        """What a brake or a person stopped is let go by an order alone: neither what a platform says to
        another sender, nor that one's probe, undoes it."""
        if pause is None:
            only = f" and kind = '{Stop.PLATFORM.value}'" if probed else ""
            session.rows(f"delete from paused where destination = %s{only}", name)
            return
        session.rows(
            "insert into paused values (%s, %s, %s, %s) on conflict (destination) do update set"
            " since_us = excluded.since_us, kind = excluded.kind, reason = excluded.reason"
            f" where paused.kind = '{Stop.PLATFORM.value}' or excluded.kind <> '{Stop.PLATFORM.value}'",
            name,
            pause.since_us,
            pause.kind.value,
            pause.reason,
        )

    def _write_position(self, session: Session, position: Place) -> None:
        places = {self._mine[0]: position} if isinstance(position, int) else position
        session.rows(
            "update sending set position = one.position from unnest(%b::smallint[], %b::bigint[])"
            " as one(slot, position) where sending.slot = one.slot",
            list(places),
            list(places.values()),
        )

    def disown(self, slots: Collection[int]) -> None:
        """These are not ours any more; what is left of ours can be written as before."""
        self._mine = [slot for slot in self._mine if slot not in slots]

    def is_anything_ours(self) -> bool:
        """Whether there is a slot left to write to."""
        return bool(self._mine)

    # where the sender is

    def stream(self, log: Recorded) -> "SlotStream":
        """The records of our slots behind those that were read."""
        return SlotStream(self._database, self.positions(), self._idle_seconds)

    def positions(self) -> dict[int, int]:
        """The last record of each slot whose deliveries are here."""
        found = self._database.rows(
            "select slot, position from sending where slot = any(%b::smallint[])", self._mine
        )
        return dict(found)

    def position(self) -> int:
        """The largest of them: of a single slot the last record whose deliveries are here."""
        return max(self.positions().values(), default=0)

    def order(self) -> int:
        """The last of people's orders that was carried out over all of our slots."""
        found = self._database.row(
            "select coalesce(min(orders), 0) from sending where slot = any(%b::smallint[])", self._mine
        )
        return 0 if found is None else int(found[0])

    def obeyed(self, order: int) -> tuple[int, int] | None:
        """What came of an order, over all slots: deliveries reached and passed over; `None` while it waits
        for any of them."""
        found = self._database.row(
            "select done, passed_over from obeyed where id = %s and id <= (select min(orders) from sending)",
            order,
        )
        return None if found is None else (found[0], found[1])

    # destinations

    def destinations(self) -> list[str]:
        """Every destination that ever had a delivery."""
        found = self._database.rows(
            "select destination from delivery_tally union select destination from open order by 1"
        )
        return [name for (name,) in found]

    def rename(self, old: str, new: str) -> None:
        """Gives everything kept for one destination to another name, which may have deliveries already.

        Of deliveries only those of our slots: another sender has its own in memory, and still by the old
        name where its configuration is older.
        """
        with self._database.transaction() as session:
            self._guard(session, self._mine)
            ours = f" and slot in ({', '.join(map(str, self._mine))})"
            session.rows(
                "insert into volume select %s, hour, n from volume where destination = %s"
                " on conflict (destination, hour) do update set n = volume.n + excluded.n",
                new,
                old,
            )
            session.rows("delete from volume where destination = %s", old)
            for table, key in (
                ("open", "slot, id"),
                ("lane", "lane"),
                ("dead", None),
                ("agreed", ""),
                ("begun", "id"),
                ("told", "slot, id"),
                ("paused", ""),
            ):
                where = ours if table in ("open", "dead", "told") else ""
                if key is not None:
                    same = "".join(f" and other.{one} = {table}.{one}" for one in key.split(", ") if one)
                    session.rows(
                        f"delete from {table} where destination = %s{where} and exists"
                        f" (select 1 from {table} other where other.destination = %s{same})",
                        new,
                        old,
                    )
                session.rows(f"update {table} set destination = %s where destination = %s{where}", new, old)
            session.rows(
                "insert into delivery_tally select slot, %s, conversion, what, reason, n"
                " from delivery_tally where destination = %s"
                " on conflict (slot, destination, conversion, what, reason) do update set"
                " n = delivery_tally.n + excluded.n",
                new,
                old,
            )
            session.rows("delete from delivery_tally where destination = %s", old)
            session.rows("update renamed set new = %s where new = %s", new, old)
            session.rows("delete from renamed where old = %s", new)
            session.rows(
                "insert into renamed values (%s, %s) on conflict (old) do update set new = excluded.new",
                old,
                new,
            )

    def renamed(self) -> dict[str, str]:
        """What destinations of earlier records are called now."""
        return dict(self._database.rows("select old, new from renamed"))

    # what is open

    def open(self, destination: str, after: int, limit: int, stage: Stage = Stage.WAITING) -> list[Open]:
        """Open deliveries of one destination behind an id, in the order of their ids."""
        return self._found(
            destination, f"id > %s and stage = {int(stage)} order by id limit %s", after, limit
        )

    def due_of(
        self, destination: str, stage: Stage, behind: tuple[int, int], until_us: int, limit: int
    ) -> list[Open]:
        """Unsettled deliveries of a stage by when they are due, behind (due, id) and due by `until_us`."""
        return self._found(
            destination,
            f"stage = {int(stage)} and stage > 0 and due_us <= %s and (due_us, id) > (%s, %s)"
            " order by due_us, id limit %s",
            until_us,
            *behind,
            limit,
        )

    def first_due(self, destination: str, stage: Stage) -> int | None:
        """When the first of that stage (never `WAITING`) is due."""
        found = self.due_of(destination, stage, (0, 0), (1 << 63) - 1, 1)
        return found[0].due_us if found else None

    def one(self, destination: str, delivery: int) -> Open | None:
        """An open delivery, or `None` where it is finished or was never planned."""
        found = self._found(destination, "id = %s", delivery)
        return found[0] if found else None

    def tried_in_lanes(self, destination: str) -> list[Open]:
        """Waiting deliveries that were tried and have a lane: of each its head first, then whom it passed."""
        return self._found(destination, "lane > 0 and stage = 0 and first_us > 0 order by first_us desc")

    def moved(self) -> list[int]:
        """Open deliveries, of every destination, whose binding is a late touch's."""
        found = self._database.rows(
            "select id from open where bound > 0 and slot = any(%b::smallint[])", self._mine
        )
        return [number for (number,) in found]

    def tried(self, destination: str) -> int:
        """Open deliveries that were tried, by whichever sender."""
        return self._count("destination = %s and first_us > 0", destination)

    def shift(self, by_us: int) -> None:
        """Moves the time of every open delivery: the clock was set, and the waits are to stay as long."""
        with self._database.transaction() as session:
            self._guard(session, self._mine)
            session.rows(
                "update open set due_us = due_us + %s where slot = any(%b::smallint[])", by_us, self._mine
            )

    def pending(self, destination: str, now_us: int) -> list[Open]:
        """The deliveries of one request whose verdict is to be asked for by now, in the request's order."""
        first = self.due_of(destination, Stage.PENDING, (0, 0), now_us, 1)
        if not first:
            return []
        return self._found(
            destination, "stage = 4 and stage > 0 and reason = %s order by id", first[0].reason
        )

    def in_stage(self, destination: str, stage: Stage) -> int:
        """How many deliveries of a destination stand there; not for those that wait for their turn."""
        return self._count(f"destination = %s and stage = {int(stage)} and stage > 0", destination)

    def first_waiting(self, destination: str) -> Open | None:
        """Of a destination's deliveries that wait, for their turn or for later, the one planned first."""
        found = self._found(destination, "stage in (0, 3) order by id limit 1")
        return found[0] if found else None

    def due(self, now_us: int) -> set[str]:
        """The destinations that have a waiting delivery which is due by now."""
        found = self._database.rows(
            "select distinct destination from open where stage in (0, 3) and due_us <= %s", now_us
        )
        return {name for (name,) in found}

    def _found(self, destination: str, where: str, *values: int | str) -> list[Open]:
        found = self._database.rows(
            f"select {_OPEN} from open where slot = any(%b::smallint[]) and destination = %s and {where}",
            self._mine,
            destination,
            *values,
        )
        return [Open(name, id_, Stage(stage), *rest) for name, id_, stage, *rest in found]

    def _count(self, where: str, *values: str) -> int:
        found = self._database.row(f"select count(*) from open where {where}", *values)
        return 0 if found is None else int(found[0])

    # what all share

    def last_of(self, destination: str, lane: int) -> tuple[int, int] | None:
        """The last that was sent in a lane: the moment it was sent as, and its id."""
        found = self._database.row(
            "select last_us, delivery from lane where destination = %s and lane = %s", destination, lane
        )
        return None if found is None else (found[0], found[1])

    def is_told(self, destination: str, delivery: int) -> bool:
        """Whether a platform has, by all we know, what this delivery told, and lets us correct it."""
        found = self._database.row(
            "select 1 from told where slot = %s and destination = %s and id = %s",
            self._slot(delivery),
            destination,
            delivery,
        )
        return found is not None

    def volume(self, destination: str, since_hour: int) -> dict[int, int]:
        """Deliveries planned in each hour (since 1970) from that one on."""
        found = self._database.rows(
            "select hour, n from volume where destination = %s and hour >= %s", destination, since_hour
        )
        return dict(found)

    def agreed(self, destination: str) -> tuple[bool, int]:
        """What a person said to the brakes: first deliveries looked at; until when volume holds nothing."""
        found = self._database.row(
            "select first_run, quiet_until_us from agreed where destination = %s", destination
        )
        return (False, 0) if found is None else (found[0], found[1])

    def waiting(self) -> dict[str, dict[str, int]]:
        """Open deliveries by destination and stage, in lower case, of all senders; those that wait for their
        turn or for later together as `waiting`."""
        with self._database.transaction() as session:
            session.rows("set transaction isolation level repeatable read")
            ended = session.rows(
                "select destination, sum(case what when 'planned' then n else -n end)::bigint"
                f" from delivery_tally where what = 'planned' or what in {_ENDED} group by 1"
            )
            staged = session.rows(
                "select destination, stage, count(*) from open where stage > 0 and stage <> 3 group by 1, 2"
            )
        counted: dict[str, dict[str, int]] = {name: {"waiting": n} for name, n in ended}
        for name, stage, n in staged:
            stages = counted.setdefault(name, {"waiting": 0})
            stages[Stage(stage).name.lower()] = n
            stages["waiting"] -= n
        return {
            name: {stage: n for stage, n in stages.items() if n}
            for name, stages in counted.items()
            if any(stages.values())
        }

    def paused(self) -> dict[str, Pause]:
        """Paused destinations; `*` stands for all."""
        found = self._database.rows("select destination, since_us, kind, reason from paused")
        return {name: Pause(since, Stop(kind), reason) for name, since, kind, reason in found}

    def tally(self) -> Mapping[tuple[str, str, str, str], int]:
        """Counts by (destination, conversion, what, reason), of all senders."""
        found = self._database.rows(
            "select destination, conversion, what, reason, sum(n)::bigint from delivery_tally"
            " group by 1, 2, 3, 4 having sum(n) <> 0"
        )
        return {(name, conversion, what, reason): n for name, conversion, what, reason, n in found}

    # what came of them

    def receipts(self, delivery: int) -> list[Receipt]:
        """What came of every try of one delivery, oldest first."""
        found = self._database.rows(
            "select body from receipt where low <= %s and high >= %s order by id", delivery, delivery
        )
        return [one for (body,) in found for one in unpacked(body) if one.id == delivery]

    def all_receipts(self, after: int = 0) -> Iterator[tuple[int, Sequence[Receipt]]]:
        """Every pack of receipts behind a pack's number. One that another sender is just writing may come
        later under a smaller number: for one who looks, and not for one who follows."""
        while found := self._database.rows(
            "select id, body from receipt where id > %s order by id limit %s", after, PACKS_AT_ONCE
        ):
            yield from ((number, unpacked(body)) for number, body in found)
            after = found[-1][0]

    def last_pack(self) -> int:
        """The number of the last pack of receipts; no sender writes one under a smaller number any more."""
        with self._database.transaction() as session:
            session.rows("lock table receipt in share mode")  # waits for what is being written
            found = session.row("select coalesce(max(id), 0) from receipt")
        return 0 if found is None else int(found[0])

    def dead(self, delivery: int) -> Dead | None:
        """A dead delivery with its request and answer."""
        return next(iter(self._dead("slot = %s and id = %s", self._slot(delivery), delivery)), None)

    def all_dead(self, after: int = 0, limit: int = 1000) -> list[Dead]:
        """Dead deliveries behind an id, in order."""
        return self._dead("id > %s order by id limit %s", after, limit)

    def _dead(self, where: str, *values: int) -> list[Dead]:
        found = self._database.rows(
            f"select id, destination, conversion, at_us, reason, request, answer from dead where {where}",
            *values,
        )
        return [Dead(*one) for one in found]

    def close(self) -> None:
        self._database.close()

    def _slot(self, delivery: int) -> int:
        return slot_of_delivery(delivery, self._slots)


def slot_of_delivery(delivery: int, slots: int) -> int:
    """The slot of a delivery, which its number tells."""
    return delivery // _DELIVERIES_PER_EVENT % slots


class SlotStream:
    """The records of some slots: of each in their order, and the first of each before the second of any."""

    def __init__(self, database: Database, positions: Mapping[int, int], idle_seconds: float = 0.0) -> None:
        self.place: Place = {}
        self._database = database
        self._idle_seconds = idle_seconds
        self._empty_at = self._looked_at = float("-inf")
        self._quiet_since: int | None = None
        # A data folder's sender may have been moved here in the middle of an event: its records come again,
        # and those that were read are left out.
        self._behind = dict(positions)
        self._read = {slot: event_of(position)[0] - 1 for slot, position in positions.items()}

    def next(self, limit: int) -> list[tuple[int, Record]]:
        """What comes next: all records of so many events at most."""
        if monotonic() - self._empty_at < self._idle_seconds:
            return []
        decided = self._decided()
        if decided == self._quiet_since and monotonic() - self._looked_at < TRUSTED_SECONDS:
            self._empty_at = monotonic()
            return []
        place: dict[int, int] = {}
        records: list[tuple[int, Record]] = []
        while not records:
            found = self._database.rows(
                _BEHIND, list(self._read), list(self._read.values()), max(4, limit // len(self._read)), limit
            )
            for slot, seq, body in found:
                self._read[slot] = seq
                followed = [one for one in unpacked_records([(seq, body)]) if one[0] > self._behind[slot]]
                if followed:
                    records += followed
                    place[slot] = followed[-1][0]
            if not found:
                break
        self._quiet_since = None
        if not records:
            self._empty_at = self._looked_at = monotonic()
            self._quiet_since = decided
        self.place = place
        return records

    def _decided(self) -> int:
        """How many events of our slots are decided: records come only with commits that move that."""
        found = self._database.row(
            "select sum(place)::bigint from cursor where slot = any(%b::smallint[])", list(self._read)
        )
        return 0 if found is None or found[0] is None else int(found[0])


class RecordRows:
    """What a sender asks of the log beside its stream, of any slot: records by their numbers, and people."""

    def __init__(self, database: Database, slots: int) -> None:
        self._database = database
        self._slots = slots

    def records(self, after: int, limit: int) -> list[tuple[int, Record]]:
        """The records behind a number that are of the same slot as the next."""
        seq = event_of(after + 1)[0]
        found = self._database.rows(
            "select seq, body from record where slot = %s and seq >= %s order by seq limit %s",
            place_in_slot(seq, self._slots)[1],
            seq,
            limit,
        )
        return [one for one in unpacked_records(found) if one[0] > after][:limit]

    def record(self, number: int) -> Record | None:
        """One record."""
        found = self.records(number - 1, 1)
        return found[0][1] if found and found[0][0] == number else None

    def state(self, key: str) -> UserState | None:
        """What is remembered of one person; `None` for somebody new."""
        found = self._database.row(
            "select body from state where slot = %s and key = %s", slot_of(key, self._slots), key.encode()
        )
        return None if found is None else whole_state_of(found[0])

    def close(self) -> None:
        self._database.close()


def _text(words: str) -> str:
    """A reason may quote a platform, and no text of PostgreSQL holds a NUL."""
    return words.replace("\0", "\ufffd")
