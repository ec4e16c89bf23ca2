"""The slots that one sender has, and the proof in each of its commits that it has them still.

A slot's epoch rises with every owner. A sender that froze and wakes finds other epochs than it was leased
with, and keeps nothing.
"""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from lendsignal.errors import Overtaken
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.leases import Leases, Terms

_MINE = """
select count(*) from (
    select 1 from sending join unnest(%b::smallint[], %b::bigint[]) as mine(slot, epoch)
        on sending.slot = mine.slot and sending.epoch = mine.epoch
    order by sending.slot for no key update of sending
) found
"""


class Change(Struct, frozen=True):
    """What a beat brought: slots that were taken from us, that came to us, and that others are to have."""

    lost: Sequence[int] = ()
    gained: Sequence[int] = ()
    extra: Sequence[int] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.gained or self.extra)


class Sending:
    """The slots of one sender. `name` is its own for this one run. Moments are steady seconds.

    Used by one thread. What raises `LogError` has changed nothing that we know.
    """

    def __init__(self, database: Database, name: str, slots: int, terms: Terms | None = None) -> None:
        self._terms = terms or Terms()
        self._leases = Leases(database, name, "send", self._terms)
        self._slots = slots
        self._held: dict[int, int] = {}
        self._beaten_at = self._judges_at = float("-inf")
        self._share = slots
        self.senders = 1
        """How many senders live, by our last beat."""

    @property
    def held(self) -> Mapping[int, int]:
        """The slots that are ours, as far as we know, each with its epoch."""
        return self._held

    def is_sure(self, now: float) -> bool:
        """Whether nobody else can have our slots at this moment."""
        return now - self._beaten_at < self._terms.lease_seconds

    def tend(self, now: float) -> Change:
        """Beats where it is time to, and takes free slots up to a fair share.

        Who was out of touch for as long as a lease judges nobody's silence until another one is over: when a
        database comes back, its senders come back one after the other, and each shall find its slots.
        """
        if not self._leases.is_time(now):
            return Change()
        if not self.is_sure(now):
            self._judges_at = now + self._terms.lease_seconds
        self._leases.beat(now)
        self._beaten_at = now
        share = self._share = self._leases.fair_share(self._slots)
        self.senders = max(1, -(-self._slots // share))
        known = {lease.slot: lease.epoch for lease in self._leases.held()}
        extra = sorted(known)[share:]
        taken = self._leases.take(share - len(known), from_silent=now >= self._judges_at)
        known.update({lease.slot: lease.epoch for lease in taken})
        before, self._held = self._held, known
        return Change(
            lost=[slot for slot, epoch in before.items() if known.get(slot) != epoch],
            gained=[slot for slot, epoch in known.items() if before.get(slot) != epoch],
            extra=extra,
        )

    def share(self) -> None:
        """Lets others have what is over our share; nothing of it is under way here any more."""
        extra = sorted(self._held)[self._share :]
        self._leases.let_go(extra)
        for slot in extra:
            del self._held[slot]

    def guard(self, session: Session, slots: Collection[int]) -> None:
        """Within a transaction, holds these slots until its end. Raises `Overtaken` where one is not ours."""
        mine = sorted(slots)
        found = session.row(_MINE, mine, [self._held.get(slot, -1) for slot in mine])
        if found != (len(mine),):
            raise Overtaken("another sender has slots of ours by now")

    def doubt(self) -> None:
        """What we know may be wrong: it is asked for at once."""
        self._leases.hurry()

    def end(self) -> None:
        """Lets go of every slot at once: others need not wait for this sender's silence."""
        self._leases.end()
        self._held = {}
