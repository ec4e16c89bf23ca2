"""A desk's follower: brings what a cluster's store has decided and sent into a folder of its own.

Each turn reads one snapshot of the store. Decided events come in the order of (transaction, row), those of
each slot up to its cursor, with their verdicts and records; once a turn has come to every cursor, states,
counts and rules are taken as they stand in that same snapshot, and then the deliveries (`picturing`).

Nothing waits for a desk: it writes nothing into the store, and takes no lock that anybody wants. What it has
not read when its day is dropped is lost to it, and it says so.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.errors import DataError, LogError
from lendsignal.log.copied_deliveries import CopiedDeliveries
from lendsignal.log.copied_log import Arrived, CopiedLog, Place, Portion, Refused
from lendsignal.log.erasing import NOBODY, SALT, KeptOut, KeptOutRows, admitted
from lendsignal.log.numbers import number_of_event
from lendsignal.log.packing import encode
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.erasing import GENERATION
from lendsignal.log.postgres.picturing import BEGINS_ANEW, Picturing, changed_since
from lendsignal.log.postgres.rows import read_event, whole_records_of, whole_state_of
from lendsignal.log.postgres.schema import TODAY
from lendsignal.log.slots import sequence_of, slot_of
from lendsignal.model import EventType
from lendsignal.plan import (
    ERASED_WORD,
    Placed,
    Record,
    UserState,
    Withdrawn,
    person_state_key,
    record_id,
)

EVENTS_AT_ONCE = 5_000
"""Events of one turn, about."""

FEWEST = 64
"""Of one slot in a turn, where it has so many."""

PEOPLE_AT_ONCE = 2_000
"""States of one turn beside those of its own events."""

IDLE = "30s"
"""How long the file may take between two looks into a snapshot: it holds nobody up but the vacuum."""

RESTS = 10
"""A look at counts, refused events or deliveries is taken again after so many times what it took."""

OF_RULES = frozenset(
    kind.value for kind in (EventType.POLICY_CHANGED, EventType.TIERS_CUT, EventType.VALUE_PROMOTED)
)

_BEHIND = """
select mine.slot, next.xid::text, next.id, next.day, next.name, next.body
from unnest(%b::smallint[], %b::text[], %b::bigint[], %b::date[], %b::text[], %b::bigint[], %b::bigint[])
    as mine(slot, xid, id, day, to_xid, to_id, deep)
cross join lateral (
    select event.xid, event.id, event.day, event.name, event.body from event
    where event.slot = mine.slot and (event.xid, event.id) > (mine.xid::xid8, mine.id)
        and (event.xid, event.id) <= (mine.to_xid::xid8, mine.to_id)
        -- As `slots` reads: the day is that of a transaction's beginning.
        and event.day >= mine.day - 1
    order by event.xid, event.id limit mine.deep
) next
"""
"""What comes next of each slot up to its cursor."""

_LEFT = """
select mine.slot, (
    select count(*) from event where event.slot = mine.slot and event.xid <> '0'
        and (event.xid, event.id) > (mine.xid::xid8, mine.id)
        and (event.xid, event.id) <= (cursor.xid, cursor.id)
) from unnest(%b::smallint[], %b::text[], %b::bigint[]) as mine(slot, xid, id) join cursor using (slot)
"""
"""How many events of each slot the store still has between a place and the cursor."""

_OLDEST = """
select min(right(inhrelid::regclass::text, 8)) from pg_inherits where inhparent = 'event'::regclass
"""


class Turned(Struct, frozen=True, kw_only=True):
    """What a turn came to: events and receipts that it brought, how many decided events are still behind,
    and whether all of the store was here at its end. `has_more`: the next turn is worth no pause."""

    events: int = 0
    receipts: int = 0
    behind: int = 0
    is_whole: bool = False
    has_more: bool = False


class _Whose(Struct, frozen=True, gc=False):
    """Of an event who it is of, and when."""

    type: str
    brand: str
    user_id: str
    event_id: str
    person_id: str | None = None


class _Row(Struct, frozen=True, gc=False):
    """One event as it stands in the store."""

    slot: int
    xid: int
    id: int
    day: date
    name: int
    body: bytes


class _Cursor(Struct, frozen=True):
    """How far a slot is decided in the store."""

    xid: int
    id: int
    day: date
    place: int
    policy: str | None
    cuts: str | None
    value: str | None


_whose = msgspec.msgpack.Decoder(_Whose).decode


class Follower:
    """Follows a store into a folder. Used by one thread; what it raises has lost nothing."""

    def __init__(
        self,
        database: Database,
        slots: int,
        log: CopiedLog,
        deliveries: CopiedDeliveries,
        *,
        events_at_once: int = EVENTS_AT_ONCE,
        rests: float = RESTS,
        steady: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._slots = slots
        self._log = log
        self._picturing = Picturing(deliveries, log, rests, steady)
        self._deliveries = deliveries
        self._at_once = events_at_once
        self._rests = rests
        self._steady = steady
        self._places = log.places()
        self._oldest: str | None = None
        self._rules = log.known_rules()
        self._look_at = float("-inf")
        self._tally: Mapping[tuple[str, str], int] | None = None
        self._out = NOBODY
        self._out_of: int | None = None

    def turn(self) -> Turned:
        """Brings what is new, some thousands of events at most.

        Raises `LogError` where the store is away, `DataError` where it does not have any more what comes
        next here: a person must begin the copy anew.
        """
        self._strike()
        try:
            with self._database.transaction() as session:
                session.rows("set transaction isolation level repeatable read, read only")
                session.rows(f"set local idle_in_transaction_session_timeout = '{IDLE}'")
                return self._turned(session)
        except BaseException:
            self._places = self._log.places()  # as the file has it
            raise

    def _turned(self, session: Session) -> Turned:
        cursors = _cursors(session)
        if not self._places:
            self._places = self._begun(session)
        rows, reached = self._next(session, cursors)
        is_whole = len(reached) == len(cursors)
        known = self._kept_out(session)
        events, stale = self._arrived(session, rows, known)
        places = self._moved(cursors, rows, reached, events)
        portion = Portion(events=[one for _, one in events], places=places, stale=stale)
        has_more = not is_whole
        if is_whole:
            portion, has_more = self._with_people(session, portion, cursors, known)
        taken = self._log.take_over(portion)
        self._places |= places
        self._rules.update((kind, version) for kind, version, _ in portion.rules)
        behind = sum(max(0, one.place - self._places[slot].place) for slot, one in cursors.items())
        receipts = 0
        if is_whole:
            read = self._read_by_senders(session)
            receipts, more = self._picturing.turn(session, read)
            has_more |= more
        return Turned(
            events=taken,
            receipts=receipts,
            behind=behind,
            is_whole=is_whole and not has_more,
            has_more=has_more,
        )

    # events

    def _begun(self, session: Session) -> dict[int, Place]:
        """Where each slot of a new copy begins: with the oldest event that the store still has."""
        with session.unhurried():
            found = session.rows(
                "select cursor.slot, cursor.place - (select count(*) from event where"
                " event.slot = cursor.slot and event.xid <> '0'"
                " and (event.xid, event.id) <= (cursor.xid, cursor.id)) from cursor"
            )
        return {slot: Place(place=place) for slot, place in found}

    def _next(self, session: Session, cursors: Mapping[int, _Cursor]) -> tuple[list[_Row], set[int]]:
        """What comes next, in order, and the slots that come to their cursors with it.

        Raises `DataError` where the store has let go of some of it.
        """
        behind = {slot: one for slot, one in cursors.items() if (one.xid, one.id) != self._at(slot)}
        self._refuse_older(cursors)
        if not behind:
            return [], set(cursors)
        deep = self._deep(behind)
        mine = [(slot, self._places[slot], one, deep[slot]) for slot, one in sorted(behind.items())]
        found = session.rows(
            _BEHIND,
            [slot for slot, _, _, _ in mine],
            [str(place.xid) for _, place, _, _ in mine],
            [place.id for _, place, _, _ in mine],
            [date.fromisoformat(place.day) for _, place, _, _ in mine],
            [str(one.xid) for _, _, one, _ in mine],
            [one.id for _, _, one, _ in mine],
            [most for _, _, _, most in mine],
        )
        rows = sorted(
            (_Row(slot, int(xid), *rest) for slot, xid, *rest in found), key=lambda one: (one.xid, one.id)
        )
        self._refuse_gaps(session, behind)
        # Of a slot that has more, nothing is known behind its last row: nobody goes further than that.
        last = {one.slot: (one.xid, one.id) for one in rows}
        counted = Counter(one.slot for one in rows)
        ends = [
            last[slot] for slot in counted if counted[slot] >= deep[slot] and last[slot] < _end(cursors[slot])
        ]
        if not ends:
            return rows, set(cursors)
        frontier = min(ends)
        taken = [one for one in rows if (one.xid, one.id) <= frontier]
        left = {one.slot for one in rows if (one.xid, one.id) > frontier}
        left |= {slot for slot in counted if counted[slot] >= deep[slot] and last[slot] < _end(cursors[slot])}
        return taken, set(cursors) - left

    def _at(self, slot: int) -> tuple[int, int]:
        place = self._places[slot]
        return place.xid, place.id

    def _deep(self, behind: Mapping[int, _Cursor]) -> dict[int, int]:
        """How many events are read of each slot: all, where that is not too much, or its share."""
        backlog = {slot: max(1, one.place - self._places[slot].place) for slot, one in behind.items()}
        whole = sum(backlog.values())
        is_moved = any(self._places[slot].xid == 0 for slot in behind)  # how many of those nobody counts
        if whole <= self._at_once and not is_moved:
            return {slot: n + 1 for slot, n in backlog.items()}
        if is_moved:
            return dict.fromkeys(behind, max(FEWEST, self._at_once // len(behind)))
        return {slot: max(FEWEST, self._at_once * n // whole) for slot, n in backlog.items()}

    def _refuse_older(self, cursors: Mapping[int, _Cursor]) -> None:
        """Raises `DataError` where the store is not as far as its copy: it was put back from a backup."""
        if set(cursors) != set(self._places) or any(
            one.place < self._places[slot].place for slot, one in cursors.items()
        ):
            raise DataError(
                "the store is behind its copy: it was put back to an earlier moment, and what is copied here"
                " never was, as far as it knows; stop this desk, empty its data folder (service.data), and"
                " start it: it begins anew"
            )

    def _refuse_gaps(self, session: Session, behind: Mapping[int, _Cursor]) -> None:
        """Raises `DataError` where days were dropped whose events are not here. It is counted when the oldest
        day is another than at the last count: the locks of this snapshot keep it what it is."""
        (oldest,) = session.rows(_OLDEST)[0]
        if oldest == self._oldest:
            return
        slots = sorted(behind)
        with session.unhurried():
            left = dict(
                session.rows(
                    _LEFT,
                    slots,
                    [str(self._places[slot].xid) for slot in slots],
                    [self._places[slot].id for slot in slots],
                )
            )
        gone = sum(behind[slot].place - self._places[slot].place - left[slot] for slot in slots)
        if gone:
            raise DataError(
                f"{gone} decided events went out of the store before they were copied here: {BEGINS_ANEW}"
            )
        self._oldest = oldest

    def _arrived(
        self, session: Session, rows: Sequence[_Row], known: KeptOut
    ) -> tuple[list[tuple[_Row, Arrived]], set[str]]:
        """The events with what was decided of them, and the people whose states they change."""
        if not rows:
            return [], set()
        numbered = self._numbered(rows)
        spans: dict[int, list[int]] = {}
        ids: dict[int, list[int]] = {}
        for one, sequence in zip(rows, numbered, strict=True):
            spans.setdefault(one.slot, []).append(sequence)
            ids.setdefault(one.slot, []).append(one.id)
        since = min(one.day for one in rows)
        records = dict(_between(session, "record", "seq", "body", spans, since))
        verdicts = {
            (slot, id_): word
            for slot, id_, word in _between3(session, "verdict", "id", "verdict", ids, since)
        }
        found: list[tuple[_Row, Arrived]] = []
        stale: set[str] = set()
        linked: list[str] = []
        for one, sequence in zip(rows, numbered, strict=True):
            whose = _whose(one.body)
            name, body = one.name, one.body
            packed = records.get(sequence)
            followed: Sequence[Record] = () if packed is None else whole_records_of(packed)
            if known and (husk := _husk(body, known)) is not None:
                name, body = husk
                followed = _emptied(sequence, followed)
            elif whose.brand != OURS:
                key = f"{whose.brand}:{whose.user_id}"
                stale.add(key)
                if whose.person_id is not None:
                    stale.add(person_state_key(whose.person_id))
                    linked.append(key)
            arrived = Arrived(
                sequence,
                name,
                body,
                verdicts.get((one.slot, one.id)),
                followed,
                whose.event_id if whose.type in OF_RULES else None,
            )
            found.append((one, arrived))
        # Who is said to be another person than before leaves something of his in what that one's users share.
        before = self._log.states(linked).values() if linked else ()
        stale.update(person_state_key(one.person) for one in before if one.person is not None)
        return found, stale

    def _numbered(self, rows: Sequence[_Row]) -> list[int]:
        """The number of each of these events: what was moved here has it from its folder."""
        places = {slot: place.place for slot, place in self._places.items()}
        found: list[int] = []
        for one in rows:
            if one.xid == 0:
                found.append(sequence_of(one.id, one.slot, self._slots))
                continue
            places[one.slot] += 1
            found.append(sequence_of(places[one.slot], one.slot, self._slots))
        return found

    def _moved(
        self,
        cursors: Mapping[int, _Cursor],
        rows: Sequence[_Row],
        reached: set[int],
        events: Sequence[tuple[_Row, Arrived]],
    ) -> dict[int, Place]:
        """The places of the slots behind these events."""
        moved: dict[int, Place] = {}
        for row, one in events:
            before = moved.get(row.slot, self._places[row.slot])
            moved[row.slot] = Place(
                row.xid,
                row.id,
                row.day.isoformat(),
                before.place + (row.xid != 0),
                one.sequence if one.records else before.record,
            )
        for slot in reached:
            cursor = cursors[slot]
            before = moved.get(slot, self._places[slot])
            if before.place != cursor.place:
                raise DataError(
                    f"slot {slot} of the store says that {cursor.place} events are decided, and has"
                    f" {before.place}: empty this desk's data folder (service.data) and start it anew"
                )
            place = replace(before, xid=cursor.xid, id=cursor.id, day=cursor.day.isoformat())
            if place != self._places[slot]:
                moved[slot] = place
        return moved

    # people, counts, rules

    def _with_people(
        self, session: Session, portion: Portion, cursors: Mapping[int, _Cursor], known: KeptOut
    ) -> tuple[Portion, bool]:
        """The portion with everything else as it stands at the cursors, and whether there is more of it."""
        waited = self._log.stale(PEOPLE_AT_ONCE)
        brought = {*portion.stale, *waited}
        states = self._states(session, brought)
        shared = {person_state_key(one.person) for one in states.values() if one.person is not None} - brought
        states |= self._states(session, shared)
        first, note = self._everybody(session)
        states |= first
        out = set() if not known else {key for key in states if _is_out(key, known)}
        versions = _in_force(session, cursors.values())
        portion = replace(
            portion,
            stale=(),
            states={key: state for key, state in states.items() if key not in out},
            brought=brought,
            rules=self._new_rules(session),
            versions=versions if versions != self._versions() else None,
            notes={} if note is None else {EVERYBODY: note},
        )
        more = len(waited) == PEOPLE_AT_ONCE or (note is not None and note != DONE)
        begun = self._steady()
        if portion.events or portion.places or begun >= self._look_at:
            portion = self._looked(session, portion)
            self._look_at = self._steady() + self._rests * (self._steady() - begun)
        return portion, more

    def _versions(self) -> dict[str, str]:
        log = self._log
        found = {"policy": log.policy(), "cuts": log.cuts(), "value": log.value()}
        return {kind: version for kind, version in found.items() if version is not None}

    def _states(self, session: Session, keys: Iterable[str]) -> dict[str, UserState]:
        wanted = sorted(keys)
        if not wanted:
            return {}
        found = session.rows(
            "select body from unnest(%b::smallint[], %b::bytea[]) as wanted(slot, key)"
            " join state using (slot, key)",
            [slot_of(key, self._slots) for key in wanted],
            [key.encode() for key in wanted],
        )
        return {state.key: state for state in (whole_state_of(body) for (body,) in found)}

    def _everybody(self, session: Session) -> tuple[dict[str, UserState], bytes | None]:
        """Of a copy that began when the store had people already: the next of them, and how far that is;
        `None`: it is done."""
        note = self._log.note(EVERYBODY)
        if note == DONE:
            return {}, None
        slot, key = (-1, b"") if note is None else msgspec.msgpack.decode(note, type=tuple[int, bytes])
        found = session.rows(
            "select slot, key, body from state where (slot, key) > (%s::smallint, %b::bytea)"
            " order by slot, key limit %s",
            slot,
            key,
            PEOPLE_AT_ONCE,
        )
        states = {state.key: state for state in (whole_state_of(body) for _, _, body in found)}
        done = len(found) < PEOPLE_AT_ONCE
        return states, DONE if done else encode((found[-1][0], found[-1][1]))

    def _new_rules(self, session: Session) -> list[tuple[str, str, bytes]]:
        there = set(session.rows("select kind, version from rule"))
        fresh = sorted(there - self._rules)
        if not fresh:
            return []
        return session.rows(
            "select kind, version, body from unnest(%b::text[], %b::text[]) as fresh(kind, version)"
            " join rule using (kind, version)",
            [kind for kind, _ in fresh],
            [version for _, version in fresh],
        )

    def _looked(self, session: Session, portion: Portion) -> Portion:
        """The portion with counts, and with what doors refused, where those are others than before."""
        found = session.rows("select what, name, sum(n)::bigint from tally group by 1, 2")
        tally = {(what, name): n for what, name, n in found if n}
        if tally != self._tally:
            self._tally = tally
            portion = replace(portion, tally=tally)
        before = self._log.note(REFUSED)
        since, now = changed_since(session, None if before is None else before.decode())
        rows = session.rows(
            "select id, received_us, source, field, rule, body, kept, state, event_id, who, at_us"
            f" from quarantine where {since} order by id"
        )
        (there,) = session.rows("select count(*) from quarantine")[0]
        if not rows and there == self._log.refused():
            return portion
        return replace(
            portion,
            refused=[_refused(one) for one in rows],
            left={id_ for (id_,) in session.rows("select id from quarantine")},
            notes={**portion.notes, REFUSED: now.encode()},
        )

    # who was erased

    def _kept_out(self, session: Session) -> KeptOut:
        """Who is kept out of the store; read anew where there was another erasure."""
        generation = _generation(session)
        if generation != self._out_of:
            told = _told(session)
            self._out = NOBODY if told is None else _known_by(told)
            self._out_of = generation
        return self._out

    def _strike(self) -> None:
        """Takes out whom the store keeps out by now, before anything newer comes in."""
        with self._database.transaction() as session:
            found = _generation(session)
            generation, before = str(found or 0).encode(), self._log.note(GENERATION)
            if generation == before or (before is None and found is None):
                return
            # Whoever is added behind this look has another number, and is taken out at the next turn.
            told = _told(session)
        if told is not None:
            records = self._log.strike_out(told)
            self._deliveries.without_answers(records)
            self._log.end_striking(told)
        self._log.take_over(Portion(notes={GENERATION: generation}))

    # senders

    def _read_by_senders(self, session: Session) -> int:
        """The last record of the copy that senders have read, with all before it; 0: none."""
        last = self._log.last_record()
        behind: list[int] = []
        for slot, position in session.rows("select slot, position from sending"):
            sequence = position // record_id(1, 0)
            if sequence < self._places[slot].record:
                behind.append(max(0, self._log.numbers.sequence(sequence)))
        return last if not behind else record_id(min(behind), 255)


EVERYBODY = "everybody"
REFUSED = "refused"
"""Notes of the copy: whose states were brought, and when the refused were looked at."""

DONE = b"done"
"""Of everybody's states: all were brought."""

OURS = "lendsignal"
"""The brand of events that are nobody's."""


def store_word(database: Database) -> str:
    """The random word of a store, whose tables are of this version."""
    found = database.row("select word from shape")
    if found is None:
        raise LogError("the store has no tables of ours any more")
    return str(found[0])


def _cursors(session: Session) -> dict[int, _Cursor]:
    found = session.rows("select slot, xid::text, id, day, place, policy, cuts, value from cursor order by 1")
    return {slot: _Cursor(int(xid), *rest) for slot, xid, *rest in found}


def _end(cursor: _Cursor) -> tuple[int, int]:
    return cursor.xid, cursor.id


def _in_force(session: Session, cursors: Iterable[_Cursor]) -> dict[str, str]:
    """The rules in force in most slots: one that has had nothing to decide says none, or older ones."""
    found: dict[str, str] = {}
    wanted = session.row("select version from wanted where kind = 'policy'")
    if wanted is not None:  # the first policy is every slot's without a word
        found["policy"] = wanted[0]
    said = list(cursors)
    for kind in ("policy", "cuts", "value"):
        versions = Counter(version for one in said if (version := getattr(one, kind)) is not None)
        if versions:
            found[kind] = max(versions.items(), key=lambda one: (one[1], one[0]))[0]
    return found


def _between(
    session: Session, table: str, key: str, value: str, spans: Mapping[int, Sequence[int]], since: date
) -> list[tuple[int, bytes]]:
    return [(number, body) for _, number, body in _between3(session, table, key, value, spans, since)]


def _between3(
    session: Session, table: str, key: str, value: str, spans: Mapping[int, Sequence[int]], since: date
) -> list[tuple[int, int, Any]]:
    """Rows of a table by slot from the first to the last of these numbers: at least those of the numbers."""
    return session.rows(
        f"select mine.slot, found.{key}, found.{value}"
        " from unnest(%b::smallint[], %b::bigint[], %b::bigint[]) as mine(slot, low, high)"
        f" cross join lateral (select {key}, {value} from {table} where {table}.slot = mine.slot"
        f" and {key} between mine.low and mine.high and day between %s and {TODAY} + 1) found",
        list(spans),
        [min(numbers) for numbers in spans.values()],
        [max(numbers) for numbers in spans.values()],
        since,
    )


def _husk(body: bytes, known: KeptOut) -> tuple[int, bytes] | None:
    """What stands in place of an event of who is kept out; `None`: it stays as it is."""
    event = read_event(body)
    (husk,) = admitted([event], known)
    return None if husk is event else (number_of_event(husk.event_id), encode(husk))


def _emptied(sequence: int, records: Sequence[Record]) -> list[Record]:
    """As many records, each of which takes itself back: so numbers stay what they were."""
    if not any(isinstance(one, Placed) for one in records):
        return list(records)
    return [Withdrawn(record_id(sequence, place), ERASED_WORD, None, 0) for place in range(len(records))]


def _is_out(key: str, known: KeptOut) -> bool:
    """Whether a user is kept out for good, so that no state is his any more."""
    brand, _, user_id = key.partition(":")
    name = known.name(brand, user_id)
    return name in known.since and known.since[name] is None


def _generation(session: Session) -> int | None:
    """How many erasures there were; `None`: never any."""
    found = session.row("select n from changed where what = %s", GENERATION)
    return None if found is None else int(found[0])


def _known_by(told: KeptOutRows) -> KeptOut:
    """Who these are, to ask by."""
    return KeptOut(told.salt, {who: allowed_us for who, _, _, allowed_us in told.rows})


def _told(session: Session) -> KeptOutRows | None:
    """Who is kept out of the store; `None`: nobody ever was."""
    salt = session.row("select body from note where name = %s", SALT)
    found = session.rows("select who, receipt, at_us, allowed_us from kept_out order by who")
    return None if salt is None or not found else KeptOutRows(bytes(salt[0]), tuple(found))


def _refused(one: Sequence[Any]) -> Refused:
    id_, received_us, source, field, rule, body, kept, state, event_id, who, at_us = one
    return Refused(
        id_,
        received_us,
        source.decode(),
        field.decode(),
        rule.decode(),
        body,
        kept,
        state,
        None if event_id is None else event_id.decode(),
        who,
        at_us,
    )
