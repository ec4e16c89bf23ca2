"""How each destination stands: what is open, what is dead, who stopped it, and what to type next."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from lendsignal.log import EVERY, Given, Halt, Open, Pause, Stop

ORDERS_LOOKED_AT = 200
"""Among so many of the youngest orders the one that paused a destination is looked for."""


class Counting(Protocol):
    """What deliveries tell of their destinations; of a data folder, or of a cluster."""

    def paused(self) -> dict[str, Pause]: ...

    def waiting(self) -> dict[str, dict[str, int]]: ...

    def tally(self) -> Mapping[tuple[str, str, str, str], int]: ...

    def first_waiting(self, destination: str) -> Open | None: ...


class Ordered(Protocol):
    """What was ordered last, the youngest first."""

    def youngest(self, limit: int) -> Iterator[Given]: ...


class Stopped(Struct, frozen=True, kw_only=True):
    """A destination that sends nothing. `by` is platform, brake or person; `who` names the person.

    `since_us` is in microseconds since 1970. `everything`: not this one alone, all are stopped.
    """

    by: str
    reason: str
    since_us: int
    who: str | None = None
    everything: bool = False


class First(Struct, frozen=True, kw_only=True):
    """Of what waits for a destination, the delivery that was planned first: how often it was tried, why the
    last time did not do, and when it is tried next (microseconds since 1970)."""

    delivery: int
    tries: int
    reason: str
    due_us: int


class Standing(Struct, frozen=True, kw_only=True):
    """One destination: counts of deliveries, and why it sends nothing where it does not."""

    destination: str
    configured: bool
    waiting: int = 0
    claimed: int = 0
    held: int = 0
    pending: int = 0
    dead: int = 0
    stopped: tuple[Stopped, ...] = ()
    first: First | None = None

    @property
    def next_words(self) -> list[str]:
        """What an operator may want to type."""
        name = self.destination
        found = [_way_on(name, one) for one in self.stopped]
        if not self.configured and (self.waiting or self.held or self.pending):
            found.append(
                f"lendsignal cancel --destination {name}   # or put it back, or name it in `formerly`"
            )
        if self.held:
            found.append(f"lendsignal replay --state held --destination {name} --dry-run")
        if self.dead:
            found.append(f"lendsignal dead list --destination {name}")
        return found


def standings(store: Counting, orders: Ordered | None, configured: Iterable[str]) -> list[Standing]:
    """Every destination that is configured or has deliveries, in the order of their names."""
    known = set(configured)
    paused, waiting = store.paused(), store.waiting()
    dead: dict[str, int] = {}
    for (name, _, what, _), n in store.tally().items():
        if what == "dead":
            dead[name] = dead.get(name, 0) + n
    names = known | set(waiting) | {name for name, n in dead.items() if n}
    return [
        Standing(
            destination=name,
            configured=name in known,
            dead=dead.get(name, 0),
            stopped=tuple(
                stopped(where, paused[where], orders) for where in (EVERY, name) if where in paused
            ),
            first=_first(store.first_waiting(name)) if waiting.get(name, {}).get("waiting") else None,
            **waiting.get(name, {}),
        )
        for name in sorted(names)
    ]


def _first(waiting: Open | None) -> First | None:
    """`None` where it went in the meantime."""
    if waiting is None:
        return None
    return First(
        delivery=waiting.id,
        tries=waiting.attempts + waiting.unknown,
        reason=waiting.reason,
        due_us=waiting.due_us,
    )


def stopped(name: str, pause: Pause, orders: Ordered | None) -> Stopped:
    """A pause, with who ordered it where a person did."""
    return Stopped(
        by=pause.kind.value,
        reason=pause.reason,
        since_us=pause.since_us,
        who=_who(name, pause, orders) if pause.kind is Stop.PERSON else None,
        everything=name == EVERY,
    )


def _who(name: str, pause: Pause, orders: Ordered | None) -> str | None:
    """Who gave the last order to stop it that stood before it stopped."""
    for given in () if orders is None else orders.youngest(ORDERS_LOOKED_AT):
        order = given.order
        if isinstance(order, Halt) and name in order.destinations and order.reason == pause.reason:
            return given.who
    return None


BRAKES: Mapping[str, str] = {
    "first_run": "lendsignal report delivery   # look at what the first ones came to, then: {resume}",
    "unusual_volume": "{resume}   # if the volume is right; else: lendsignal cancel --destination {name}",
    "mass_reject": "lendsignal dead list --destination {name}   # see why, put it right, then: {resume}",
}


def _way_on(name: str, one: Stopped) -> str:
    resume = "lendsignal resume --all" if one.everything else f"lendsignal resume {name}"
    match one.by:
        case Stop.BRAKE:
            return BRAKES.get(one.reason, "{resume}").format(resume=resume, name=name)
        case Stop.PLATFORM:
            return f"{resume}   # once it is put right; it is tried again by itself, too"
        case _:
            return resume
