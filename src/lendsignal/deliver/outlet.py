"""A destination as it is configured: the platform's file, our settings for it, and its own."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from msgspec import Struct

from lendsignal.deliver.settings import DestinationSettings, Unknown, period
from lendsignal.destination.spec import Destination, Hold, Request, Response, Retries, Spec
from lendsignal.model import App, Delivery, Outcome


class Outlet(Struct, frozen=True, kw_only=True, dict=True):
    """What the sender needs to know of one destination; where the lender is silent, the platform's facts."""

    name: str
    module: Destination
    common: DestinationSettings
    own: Any
    app: App
    hosts: tuple[str, ...]

    @cached_property
    def spec(self) -> Spec:
        """The platform's facts."""
        return self.module.SPEC

    @property
    def shelved(self) -> bool:
        """Whether its deliveries wait on the shelf until the app fetches them."""
        return self.spec.transport == "shelf"

    @property
    def is_topic(self) -> bool:
        """Whether its requests are messages for Kafka."""
        return self.spec.transport == "topic"

    @property
    def account(self) -> tuple[str, str]:
        """What is paced together: the platform's account, whichever destinations it has here."""
        return self.common.kind, self.common.account or self.name

    @property
    def late(self) -> str:
        """`send` or `skip`: ours if set, else the platform's rule."""
        return self.common.late or self.spec.late

    @property
    def out_of_order(self) -> str:
        """`send`, `restamp` or `skip`: ours if set, else the platform's rule."""
        return self.common.out_of_order or self.spec.out_of_order

    @property
    def allows_private(self) -> bool:
        """Whether its requests may reach loopback and private addresses; only webhooks are kept from them."""
        return bool(getattr(self.own, "allow_private", True))

    @property
    def on_unknown(self) -> Retries | Hold | Unknown:
        """What follows a request that left and was never answered."""
        return self.common.on_unknown or self.spec.on_unknown

    @property
    def held_for(self) -> timedelta | None:
        """How long a held delivery waits for a person; `None`: for ever."""
        match self.on_unknown:
            case Unknown(hold=span):
                return span
            case Hold() | Retries():
                return None

    @cached_property
    def linger(self) -> timedelta:
        """How long a delivery may wait for company; nothing where each has a request of its own."""
        if self.spec.batch == 1:
            return timedelta(0)
        return self.spec.linger if self.common.linger is None else self.common.linger

    @cached_property
    def period(self) -> timedelta | None:
        """How far apart its sendings are; `None`: at once."""
        return period(self.common.schedule)

    @cached_property
    def lane(self) -> Callable[[Delivery, Any], str | None] | None:
        """What names a delivery's lane, where the platform needs order."""
        found: Callable[[Delivery, Any], str | None] | None = getattr(self.module, "lane", None)
        return found

    @cached_property
    def ask(self) -> Callable[[str, Any], Request] | None:
        """What asks for a verdict that comes later."""
        found: Callable[[str, Any], Request] | None = getattr(self.module, "ask", None)
        return found

    @cached_property
    def verdict(self) -> Callable[[Response, int], Sequence[Outcome]] | None:
        """What reads the answer to that."""
        found: Callable[[Response, int], Sequence[Outcome]] | None = getattr(self.module, "verdict", None)
        return found

    @cached_property
    def age_us(self) -> int | None:
        """The greatest age a conversion is sent at, in microseconds, where that is all there is to ask."""
        ages = [] if self.common.max_age is None else [self.common.max_age]
        if self.late == "skip":
            if self.spec.window_closes is not None:
                return None
            ages.append(self.spec.max_age)
        return min(ages) // timedelta(microseconds=1) if ages else None

    def corrects_until_us(self, occurred_us: int) -> int:
        """Until when a conversion of that moment can be corrected, both in microseconds since 1970."""
        corrections = self.spec.corrections
        within = timedelta(0) if corrections is None else corrections.within
        return occurred_us + within // timedelta(microseconds=1)

    @cached_property
    def grows_old(self) -> bool:
        """Whether a conversion can be too old to be sent."""
        return self.common.max_age is not None or self.late == "skip"

    def too_old_from(self, occurred_at: datetime) -> datetime | None:
        """From when on a conversion of that moment is not sent any more; `None`: never.

        Our own `max_age` always counts; the platform's window counts where `late` is skip.
        """
        own = self.common.max_age
        ends = [] if own is None else [occurred_at + own]
        if self.late == "skip":
            ends.append(self.spec.closes_at(occurred_at))
        return min(ends, default=None)
