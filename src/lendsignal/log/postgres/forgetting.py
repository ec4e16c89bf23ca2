"""How a store lets go of what nobody needs any more, beside the days that `schema.tend_days` drops.

What came of deliveries goes by the day, when their events have gone. Receipts of the dead stay as long as
those: they are taken out of a day, a few packs at a time, and then what is left of it is dropped whole. No
sender waits for any of it, for nobody writes into those rows any more.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from lendsignal.log.deliveries import Receipt, pack_receipts, unpacked
from lendsignal.log.postgres.arrays import bigints
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.receipts import KEPT, KEPT_DAY
from lendsignal.log.postgres.schema import LOCK, TODAY, days_before, oldest_day
from lendsignal.log.postgres.singles import Single
from lendsignal.plan import delivery_id, record_id

PACKS_AT_ONCE = 200
"""Packs of receipts that are looked at in one transaction: a few milliseconds."""

PACKS_IN_A_TURN = 4_000
"""After so many, some seconds, whoever does this has something else to do, and goes on at the next turn."""

LANES_AT_ONCE = 5_000
"""Lanes that are looked at in one turn."""

WAIT = "200ms"
"""So long a day that goes waits for who reads: senders wait behind it, so it rather comes again."""

LANE_US = 400 * 86_400_000_000
"""A lane in which nothing was sent for so long is forgotten: no platform takes what is that old."""

HOURS = 60 * 24
"""Hours of planned deliveries that are remembered; the brake looks back a week."""

GONE = "receipts gone"
"""The note that says up to where receipts were dropped: whoever follows them and is not there has a hole."""

_LOOKED_AT = """
select written.xid::text, written.id, written.day, case when
    exists (select 1 from dead where dead.id between low and high)
    or exists (select 1 from unnest(%b::bigint[]) as one(id) where one.id between low and high)
    then body end
from {part} written where (written.xid, written.id) > (%s::text::xid8, %s)
order by written.xid, written.id limit %s
"""
"""Packs in order, with a body where something in their span is wanted."""

_WITHOUT_EVENT = f"""
select open.id from open join (
    select sending.slot, (
        select record.seq from record where record.slot = sending.slot order by record.seq limit 1
    ) as seq from sending
) first using (slot) where first.seq is null or open.id < first.seq * {delivery_id(record_id(1, 0), 0)}
"""
"""Open deliveries whose event has gone: a data folder that was moved here may have brought such."""


class Forgot(Struct, frozen=True, kw_only=True):
    """What a turn came to: packs that were looked at, packs of old days that were kept or a part of them, and
    the parts that were dropped."""

    looked_at: int = 0
    kept: int = 0
    dropped: Sequence[str] = ()


class Forgetting:
    """Lets go of what is old, a part at each turn. What it remembers between turns is only how far it is:
    another node may go on at any time, and begins with the oldest day again."""

    def __init__(self, packs_at_once: int = PACKS_AT_ONCE, packs_in_a_turn: int = PACKS_IN_A_TURN) -> None:
        self._at_once = packs_at_once
        self._most = packs_in_a_turn
        self._part: str | None = None
        self._after = ("0", 0)
        self._has_tidied: date | None = None
        self._lane: tuple[str, int] | None = None

    def turn(self, single: Single, keep: int, now_us: int) -> Forgot:
        """Does a part of it under the right that is given; `keep`: the days that receipts stay at least.

        Raises `LogError` where somebody reads for so long that a day cannot go now, `Overtaken` where another
        node does this by now.
        """
        today, days = _old_days(single.database, keep)
        looked_at = kept = 0
        dropped: list[str] = []
        # The kept ones once a day: the dead of whom they tell go now and then.
        sweeps = [KEPT] if self._has_tidied != today else []
        for part in [*days, *sweeps]:
            for seen, stays in self._swept(single, part):
                looked_at, kept = looked_at + seen, kept + (stays if part != KEPT else 0)
                if looked_at >= self._most:
                    return Forgot(looked_at=looked_at, kept=kept, dropped=dropped)
            if part != KEPT:
                _drop(single, part)
                dropped.append(part)
            self._part = None
        if self._has_tidied != today:
            _tidied(single)
            self._has_tidied = today
        self._forget_lanes(single, now_us - LANE_US)
        return Forgot(looked_at=looked_at, kept=kept, dropped=dropped)

    def _swept(self, single: Single, part: str) -> Iterator[tuple[int, int]]:
        """Goes through a part from where it was left: of so many packs at a time how many there were, and how
        many of them stay."""
        if self._part != part:
            self._part, self._after = part, ("0", 0)
        wanted = {number for (number,) in single.database.rows(_WITHOUT_EVENT)}
        while True:
            with single.transaction() as session:
                found = session.rows(
                    _LOOKED_AT.format(part=part), bigints(sorted(wanted)), *self._after, self._at_once
                )
                kept = _kept(session, part, found, wanted)
            if found:
                self._after = found[-1][0], found[-1][1]
                yield len(found), kept
            if len(found) < self._at_once:
                return

    def _forget_lanes(self, single: Single, before_us: int) -> None:
        """Looks at the next lanes, and forgets those in which nothing was sent for long."""
        name, lane = self._lane or ("", -(1 << 63))
        with single.transaction() as session:
            found = session.row(
                "with looked as (select destination, lane from lane where (destination, lane) > (%s, %s)"
                "  order by destination, lane limit %s),"
                " gone as (delete from lane using looked where lane.destination = looked.destination"
                "  and lane.lane = looked.lane and lane.last_us < %s)"
                " select destination, lane from looked order by 1 desc, 2 desc limit 1",
                name,
                lane,
                LANES_AT_ONCE,
                before_us,
            )
        self._lane = None if found is None else (found[0], found[1])


def _old_days(database: Database, keep: int) -> tuple[date, list[str]]:
    """Today, and the parts of days of which nothing but the dead is wanted."""
    with database.transaction() as session:
        oldest = oldest_day(session, keep)
        (today,) = session.rows(f"select {TODAY}")[0]
        return today, days_before(session, "receipt", oldest)


def _kept(session: Session, part: str, found: Sequence[Sequence[Any]], wanted: Collection[int]) -> int:
    """Takes what stays of these packs where it stays, and of the kept ones lets the others go; how many
    stay."""
    packs = {id_: (day, unpacked(body)) for _, id_, day, body in found if body is not None}
    numbers = sorted({one.id for _, pack in packs.values() for one in pack})
    dead = session.rows("select id from dead where id = any(%b::bigint[])", bigints(numbers)) if packs else []
    wanted = {number for (number,) in dead} | set(wanted)
    left = {id_: [one for one in pack if one.id in wanted] for id_, (_, pack) in packs.items()}
    whole = {id_ for id_, pack in left.items() if len(pack) == len(packs[id_][1])}
    going = [(int(xid), id_) for xid, id_, _, _ in found if id_ not in whole]
    if going:  # said before it is done: who follows never passes over a hole
        _say_gone(session, going[-1])
    for id_, pack in left.items():
        if pack and not (part == KEPT and id_ in whole):
            _shrink(session, id_, packs[id_][0], pack)
    if part == KEPT:
        gone = [id_ for _, id_, _, _ in found if not left.get(id_)]
        session.rows(f"delete from {KEPT} where id = any(%b::bigint[])", bigints(gone))
    return sum(map(bool, left.values()))


def _shrink(session: Session, pack: int, day: date, left: Sequence[Receipt]) -> None:
    """Only these are left of a pack, and they are kept. It stays where it is in the order of packs."""
    ids = [one.id for one in left]
    session.rows(
        "update receipt set day = %s::text::date, low = %s, high = %s, body = %b where id = %s and day = %s",
        KEPT_DAY,
        min(ids),
        max(ids),
        pack_receipts(left),
        pack,
        day,
    )


def _drop(single: Single, part: str) -> None:
    """Drops a day of receipts."""
    with single.transaction() as session:
        session.rows(f"set local lock_timeout = '{WAIT}'")
        session.rows(f"select pg_advisory_xact_lock({LOCK})")
        session.rows(f"drop table {part}")


def _say_gone(session: Session, place: tuple[int, int]) -> None:
    xid, number = max(place, gone_up_to(session))
    session.rows(
        "insert into note values (%s, %b) on conflict (name) do update set body = excluded.body",
        GONE,
        f"{xid}/{number}".encode(),
    )


def gone_up_to(session: Session) -> tuple[int, int]:
    """The last receipt, as (transaction, row), that was dropped with its day; (0, 0): none ever was."""
    found = session.row("select body from note where name = %s", GONE)
    xid, _, number = ("0/0" if found is None else found[0].decode()).partition("/")
    return int(xid), int(number)


def _tidied(single: Single) -> None:
    """Small tables whose rows nobody looks at any more."""
    with single.transaction() as session:
        session.rows(
            "delete from volume using (select destination, max(hour) as last from volume group by 1) newest"
            " where newest.destination = volume.destination and volume.hour < newest.last - %s",
            HOURS,
        )
        session.rows("delete from node where until < clock_timestamp() - interval '1 day'")
        session.rows("delete from copied where whole < clock_timestamp() - interval '400 days'")


# who copies


def tell_copied(database: Database, desk: str) -> None:
    """The copy of that desk is whole now."""
    database.rows(
        "insert into copied values (%s, clock_timestamp()) on conflict (desk) do update set"
        " whole = excluded.whole",
        desk,
    )


def copies(database: Database, keep: int) -> dict[str, float]:
    """How many seconds ago each desk's copy was whole. Those that are further behind than days are kept have
    their hole already, and are left out."""
    found = database.rows(
        "select desk, extract(epoch from clock_timestamp() - whole)::float8 from copied"
        " where whole > clock_timestamp() - make_interval(days => %s) order by 1",
        keep,
    )
    return dict(found)
