"""When a line of a route is live and when it only watches: the minute at which one sender follows another.

It goes by the event's own time, so that whoever sent until that minute and we who send from it on agree on
every event, however late it comes in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from lendsignal.model import from_us, to_us
from lendsignal.plan.settings import RouteSettings


class Live(Struct, frozen=True, array_like=True, order=True):
    """From `from_us` on and before `until_us`, in microseconds since 1970."""

    from_us: int
    until_us: int

    def holds(self, at_us: int) -> bool:
        """Whether what happened then is sent."""
        return self.from_us <= at_us < self.until_us

    def both(self, other: "Live") -> "Live":
        """When both are live; never, where they do not meet."""
        shared = Live(max(self.from_us, other.from_us), min(self.until_us, other.until_us))
        return shared if shared.from_us < shared.until_us else NEVER

    @property
    def told(self) -> str:
        """It in words, UTC."""
        if self == ALWAYS:
            return "always"
        if self.from_us >= self.until_us:
            return "never"
        since = "" if self.from_us == ALWAYS.from_us else f"from {_moment(self.from_us)}"
        until = "" if self.until_us == ALWAYS.until_us else f"until {_moment(self.until_us)}"
        return f"{since} {until}".strip()


ALWAYS = Live(-(1 << 62), 1 << 62)
NEVER = Live(0, 0)


def live_of(route: RouteSettings, conversion: str) -> Live:
    """When a route sends a conversion: at its stated moments, else always or never, as its mode says."""
    since, until = route.live_from.get(conversion), route.live_until.get(conversion)
    if since is None and route.mode == "shadow":
        return NEVER
    return Live(
        ALWAYS.from_us if since is None else to_us(since), ALWAYS.until_us if until is None else to_us(until)
    )


def wrong_moments(routes: Sequence[RouteSettings]) -> Iterator[tuple[str, str, str]]:
    """Moments that say nothing or contradict each other: (key, what was found, what is allowed)."""
    for number, route in enumerate(routes):
        for word, moments in (("live_from", route.live_from), ("live_until", route.live_until)):
            for conversion in moments.keys() - route.send.keys():
                key = f"route[{number}].{word}.{conversion}"
                allowed = f"one that the route sends: {', '.join(route.send)}"
                yield key, "a conversion it does not send", allowed
        for conversion, until in route.live_until.items():
            key, since = f"route[{number}].live_until.{conversion}", route.live_from.get(conversion)
            if since is None and route.mode == "shadow":
                yield key, "an end without a beginning", "live_from as well, or none of the two in a shadow"
            elif since is not None and since >= until:
                yield key, _written(until), f"a moment after live_from, {_written(since)}"


def gaps(lives: Mapping[tuple[str, str, str], Iterable[Live]]) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Where nothing is live that was live before: (whose, in words).

    `lives` are by app, conversion and platform. What only watches, or begins later, leaves no gap: somebody
    else sends it still.
    """
    for whose, found in lives.items():
        spans = sorted(one for one in found if one.from_us < one.until_us)
        reached = spans[0].until_us if spans else ALWAYS.until_us
        for one in spans[1:]:
            if one.from_us > reached:
                yield whose, f"live nowhere from {_moment(reached)} until {_moment(one.from_us)}"
            reached = max(reached, one.until_us)
        if reached < ALWAYS.until_us:
            yield whose, f"live nowhere from {_moment(reached)} on"


def _moment(at_us: int) -> str:
    return _written(from_us(at_us))


def _written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
