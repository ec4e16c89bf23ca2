"""The deliveries of a store as a desk sees them: receipts one after the other, all else as pictures.

**Receipts** are read in the order of (transaction, row), and only those of transactions older than every open
one: whatever appears later stands behind them. Those of days that the store let go of before they were read
are a hole, and nothing is taken any more.

**Pictures** are cheap, for a row tells which transaction wrote it: of `open` and its like only those come
that were written since the picture before. What went is known by its receipt; where the numbers of rows
differ all the same, the table comes whole.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from lendsignal.errors import DataError
from lendsignal.log.copied_deliveries import ENDED, LOG, Change, CopiedDeliveries, Picture
from lendsignal.log.copied_log import CopiedLog
from lendsignal.log.deliveries import Dead, Open, Pause, Stage, Stop, unpacked
from lendsignal.log.postgres.connection import Session
from lendsignal.log.postgres.forgetting import GONE, gone_up_to

PACKS_AT_ONCE = 2_000
"""Packs of receipts of one turn at most."""

BEGINS_ANEW = (
    "this desk stood still for longer than [log] keep_for. Stop it, empty its data folder (service.data), and"
    " start it: it begins anew with what the store still has; an archive that is kept elsewhere stays as it"
    " is. See docs/explanation/cluster.md"
)
"""What to do about a hole."""

AGED = 1 << 30
"""Transactions between two pictures after which rows do not tell their own age any more."""

_OPEN = (
    "destination, id, stage, due_us, attempts, unknown, bound, batch, first_us, lane, stamp_us, again,"
    " strikes, reason, withdrawn"
)

_RECEIPTS = """
select xid::text as written_by, id, body, xid < pg_snapshot_xmin(pg_current_snapshot()) from receipt
where (xid, id) > (%s::text::xid8, %s)
order by receipt.xid, id limit %s  -- as numbers: a bare xid would be the text that is given
"""


class Picturing:
    """Follows the deliveries of a store into a folder's file. Numbers are those of the copied log."""

    def __init__(
        self, deliveries: CopiedDeliveries, log: CopiedLog, rests: float, steady: Callable[[], float]
    ) -> None:
        """The next picture is taken after `rests` times what the last one took."""
        self._deliveries = deliveries
        self._log = log
        self._numbers = log.numbers
        self._rests = rests
        self._steady = steady
        self._next_at = float("-inf")
        self._closed: set[tuple[str, int]] = set()

    def turn(self, session: Session, read: int) -> tuple[int, bool]:
        """Brings what is new: how many receipts, and whether there are more. `read`: see `Picture`."""
        receipts, more = self._follow(session)
        begun = self._steady()
        if not more and begun >= self._next_at:
            self._draw(session, read)
            self._next_at = self._steady() + self._rests * (self._steady() - begun)
        return receipts, more

    def _follow(self, session: Session) -> tuple[int, bool]:
        before = self._deliveries.place("receipt")
        xid, _, number = (before or "0/0").partition("/")
        begins = self._refuse_gap(session, None if before is None else (int(xid), int(number)))
        found = session.rows(_RECEIPTS, xid, int(number), PACKS_AT_ONCE)
        packs = [[self._numbers.receipt(one) for one in unpacked(body)] for _, _, body, _ in found]
        # What a transaction wrote that others still may come before is followed later, and closes now.
        self._closed.update((one.destination, one.id) for pack in packs for one in pack if one.what in ENDED)
        ready = sum(is_ready for _, _, _, is_ready in found)
        places = (
            begins if not ready else {**begins, "receipt": f"{found[ready - 1][0]}/{found[ready - 1][1]}"}
        )
        if not places:
            return 0, False
        n = self._deliveries.take_receipts(packs[:ready], {**places, LOG: str(self._log.end())})
        return n, ready == PACKS_AT_ONCE

    def _refuse_gap(self, session: Session, place: tuple[int, int] | None) -> Mapping[str, str]:
        """Raises `DataError` where receipts went out of the store before they came here. Of a copy that has
        none yet: where it begins, to be noted with what comes first."""
        gone = gone_up_to(session)
        known = self._deliveries.place(GONE)
        if place is None and known is None:
            return {"receipt": "0/0", GONE: f"{gone[0]}/{gone[1]}"}
        xid, _, number = (known or "0/0").partition("/")
        if (place or (0, 0)) < gone and (int(xid), int(number)) < gone:
            raise DataError(f"receipts went out of the store before they were copied here: {BEGINS_ANEW}")
        return {}

    def _draw(self, session: Session, read: int) -> None:
        since, now = changed_since(session, self._deliveries.place("picture"))
        dead = self._dead(session, since)
        picture = Picture(
            open=self._open(session, since),
            closed=sorted(self._closed),
            told=self._told(session, since),
            dead=dead,
            buried=self._buried(session, dead),
            volume=self._volume(session, since),
            tally=_tally(session),
            paused=_paused(session),
            agreed={
                name: (first_run, quiet_us)
                for name, first_run, quiet_us in session.rows(
                    "select destination, first_run, quiet_until_us from agreed"
                )
            },
            renamed=dict(session.rows("select old, new from renamed")),
            read=read,
        )
        self._deliveries.take_picture(picture, {"picture": now, LOG: str(self._log.end())})
        self._closed.clear()

    def _open(self, session: Session, since: str) -> Change:
        fresh = self._opened(session.rows(f"select {_OPEN} from open where {since}"))
        if since == EVERY:
            return Change(rows=fresh, whole=True)
        (there,) = session.rows("select count(*) from open")[0]
        if there != self._expected(fresh):
            return Change(rows=self._opened(session.rows(f"select {_OPEN} from open")), whole=True)
        return Change(rows=fresh)

    def _expected(self, fresh: Sequence[Open]) -> int:
        """How many are open once those are closed that are, and these opened."""
        opened = {(one.destination, one.id) for one in fresh}
        store = self._deliveries
        return (
            store.counted("open")
            - store.there("open", self._closed - opened)
            + len(opened)
            - store.there("open", opened)
        )

    def _opened(self, found: Sequence[Sequence[Any]]) -> list[Open]:
        return [self._numbers.open(Open(name, id_, Stage(stage), *rest)) for name, id_, stage, *rest in found]

    def _told(self, session: Session, since: str) -> Change:
        query = "select destination, id, at_us from told"
        fresh = self._with_numbers(session.rows(f"{query} where {since}"))
        return self._or_whole(session, "told", query, fresh, since)

    def _volume(self, session: Session, since: str) -> Change:
        query = "select destination, hour, n from volume"
        return self._or_whole(session, "volume", query, session.rows(f"{query} where {since}"), since)

    def _or_whole(
        self, session: Session, table: str, query: str, fresh: Sequence[tuple[Any, ...]], since: str
    ) -> Change:
        """These rows, or all where rows went."""
        if since != EVERY:
            (there,) = session.rows(f"select count(*) from {table}")[0]
            known = self._deliveries.there(table, {row[:2] for row in fresh})
            if there == self._deliveries.counted(table) + len(fresh) - known:
                return Change(rows=fresh)
            fresh = session.rows(query)
            fresh = self._with_numbers(fresh) if table == "told" else fresh
        return Change(rows=fresh, whole=True)

    def _with_numbers(self, found: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [(name, self._numbers.delivery(id_), at_us) for name, id_, at_us in found]

    def _dead(self, session: Session, since: str) -> Change:
        found = session.rows(
            "select id, destination, conversion, at_us, reason, request, answer from dead"
            f" where {since} order by at_us"
        )
        return Change(rows=[Dead(self._numbers.delivery(id_), *rest) for id_, *rest in found])

    def _buried(self, session: Session, dead: Change) -> Collection[int] | None:
        """The numbers of all that are dead; `None`: nobody went."""
        (there,) = session.rows("select count(*) from dead")[0]
        known = self._deliveries.there("dead", {(one.destination, one.id) for one in dead.rows})
        if there == self._deliveries.counted("dead") + len(dead.rows) - known:
            return None
        return {self._numbers.delivery(id_) for (id_,) in session.rows("select id from dead")}


EVERY = "true"


def changed_since(session: Session, before: str | None) -> tuple[str, str]:
    """A condition for rows that were written since an earlier snapshot, and what this one is called then.

    The condition may hold for others too. `before` is what that one was called; `None`: there was none.
    """
    (now,) = session.rows("select pg_snapshot_xmin(pg_current_snapshot())::text")[0]
    if before is None or not 0 <= int(now) - int(before) < AGED:
        return EVERY, now
    return f"age(xmin) <= age('{int(before)}'::xid8::xid)", now


def _tally(session: Session) -> Mapping[tuple[str, str, str, str], int]:
    found = session.rows(
        "select destination, conversion, what, reason, sum(n)::bigint from delivery_tally"
        " group by 1, 2, 3, 4 having sum(n) <> 0 order by 1, 2, 3, 4"
    )
    return {(name, conversion, what, reason): n for name, conversion, what, reason, n in found}


def _paused(session: Session) -> Mapping[str, Pause]:
    found = session.rows("select destination, since_us, kind, reason from paused order by 1")
    return {name: Pause(since, Stop(kind), reason) for name, since, kind, reason in found}
