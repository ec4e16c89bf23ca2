"""What several senders over one store share. The only sender of a data folder has nobody to share with."""

from datetime import timedelta
from typing import Protocol

from msgspec import Struct


class Grant(Struct, frozen=True):
    """What an account gives one sender: so many requests, to be sent within `good_for` seconds.

    `rate` is how many a second all senders have together at this moment. `waits` is for how many seconds
    nothing is given because the platform asked for it, `again` how soon it makes sense to ask again.
    `slowed` and `ceiling` are how the platform's words stand: how often in a row it asked for less, and the
    share of the full rate that it leaves.
    """

    requests: int
    rate: float
    good_for: float
    again: float
    waits: float
    slowed: int
    ceiling: float


class Purse(Protocol):
    """The pace of one account on a platform, kept for all senders. Raises `LogError` where it is away."""

    def draw(self, most: float, burst: float, wanted: int) -> Grant:
        """Hands out at most so many requests, of `most` a second and `burst` at once."""

    def slow_down(self, after: timedelta | None) -> float:
        """The platform asked for less: for how many seconds nothing is given now."""

    def limit(self, ceiling: float) -> None:
        """The platform leaves this share of the full rate."""

    def taken(self) -> None:
        """A request was taken: the next slow-down starts from a short wait again."""


class Shared(Protocol):
    """What a sender asks of the others, by way of the store."""

    def speaks(self, order: int) -> bool:
        """Whether this sender is the one that carries out what an order says of destinations."""

    def concerns(self, order: int, delivery: int) -> bool:
        """Whether what an order says of a delivery is this sender's to carry out."""

    def begins(self, destination: str, delivery: int, cap: int, before: int) -> bool:
        """Whether a delivery may be among the first `cap` of its destination, over all senders.

        `before`: so many had been tried, as far as the counts tell.
        """

    def is_on_its_way(self, destination: str, delivery: int, since_us: int) -> bool:
        """Whether another sender's delivery, which was first tried since then, is on its way, or is to be
        tried again. Of our own we know better."""

    def purse(self, account: tuple[str, str]) -> Purse:
        """The pace of an account: (platform, name)."""
