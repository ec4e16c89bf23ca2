"""Who has which slots: a node's lease is its heartbeat, and a slot's epoch tells its owners apart.

Deciding and sending are leased apart: a slot may be decided here and sent there.

All moments are the database's: no node's clock counts.
"""

from msgspec import Struct

from lendsignal.log.postgres.connection import Database


class Terms(Struct, frozen=True, kw_only=True):
    """How long a node is believed alive after its last beat, and how often it beats, in seconds."""

    lease_seconds: float = 2.0
    beat_seconds: float = 0.5


class Lease(Struct, frozen=True):
    """A slot that is ours, from `place` on; the versions are those in force there, where it is decided."""

    slot: int
    epoch: int
    place: int
    policy: str | None = None
    cuts: str | None = None
    value: str | None = None


_TABLES = {
    "work": ("cursor", "cursor.slot, cursor.epoch, cursor.place, cursor.policy, cursor.cuts, cursor.value"),
    "send": ("sending", "sending.slot, sending.epoch, sending.position"),
}
"""Where the owners of a kind of node stand, and what a lease of theirs is made of."""


class Leases:
    """The slots of one node, of those that `work` or `send`.

    `name` is its own for this one run: a node that starts again is another.
    A slot's owner who froze is not asked: whoever takes the slot raises its epoch, and what the former one
    still commits under the old epoch is refused.
    """

    def __init__(self, database: Database, name: str, kind: str = "work", terms: Terms | None = None) -> None:
        self.name = name
        self._database = database
        self._kind = kind
        self._table, self._lease = _TABLES[kind]
        self._terms = terms or Terms()
        self._beat_at = float("-inf")

    def is_time(self, now: float) -> bool:
        """Whether to beat again, by a steady clock's seconds."""
        return now - self._beat_at >= self._terms.beat_seconds

    def hurry(self) -> None:
        """It is time to beat."""
        self._beat_at = float("-inf")

    def beat(self, now: float) -> None:
        """Says that this node lives."""
        self._database.rows(
            "insert into node values (%s, %s, clock_timestamp() + make_interval(secs => %s))"
            " on conflict (name) do update set until = excluded.until",
            self.name,
            self._kind,
            self._terms.lease_seconds,
        )
        self._beat_at = now

    def fair_share(self, slots: int) -> int:
        """How many slots a node has where all that live have as many."""
        found = self._database.row(
            "select count(*) from node where kind = %s and until > clock_timestamp()", self._kind
        )
        live = 1 if found is None else max(1, found[0])
        return -(-slots // live)

    def held(self) -> list[Lease]:
        """The slots that are ours by the database's word."""
        found = self._database.rows(
            f"select {self._lease} from {self._table} where owner = %s order by slot", self.name
        )
        return [Lease(*one) for one in found]

    def take(self, most: int, *, from_silent: bool = True) -> list[Lease]:
        """Takes up to so many slots that nobody has, or (`from_silent`) whose owner is silent."""
        if most <= 0:
            return []
        table = self._table
        found = self._database.rows(
            "with free as ("
            f" select {table}.slot from {table} left join node"
            f" on node.name = {table}.owner and node.until > clock_timestamp()"
            f" where {'node.name' if from_silent else f'{table}.owner'} is null"
            f" order by {table}.slot limit %s for update of {table} skip locked"
            f") update {table} set owner = %s, epoch = epoch + 1 from free where {table}.slot = free.slot"
            f" returning {self._lease}",
            most,
            self.name,
        )
        return sorted((Lease(*one) for one in found), key=lambda lease: lease.slot)

    def let_go(self, slots: list[int]) -> None:
        """Lets others take these slots."""
        if slots:
            self._database.rows(
                f"update {self._table} set owner = null where owner = %s and slot = any(%b::smallint[])",
                self.name,
                slots,
            )

    def end(self) -> None:
        """Lets go of everything: this node ends."""
        with self._database.transaction() as session:
            session.rows(f"update {self._table} set owner = null where owner = %s", self.name)
            session.rows("delete from node where name = %s or until < now() - interval '1 day'", self.name)
