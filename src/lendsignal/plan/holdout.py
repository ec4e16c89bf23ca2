"""Users who are kept out on purpose, so that what a measure brings can be told from what comes anyway.

A user's place in a draw is `blake2b(salt, user)` as a number from 0 to 1; whoever stands below the share is
held out. Nothing is stored: the same salt draws the same users in every replay, on every machine and in
every report; another salt draws others, independently; and a larger share keeps all whom a smaller one held.
(Hashing in place of a list of random numbers: R. Kohavi, D. Tang, Y. Xu, "Trustworthy Online Controlled
Experiments", 2020, chapter 14.)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Annotated

from msgspec import Meta, Struct, field

from lendsignal.model import to_us
from lendsignal.plan.live import ALWAYS, Live

TWO_TO_53 = 1 << 53
"""So many different places: every one of them is a number of its own, without rounding."""


class HoldoutSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Users that are held out: a part of all of them, drawn by a salted hash of `brand:user_id`."""

    share: Annotated[float, Meta(gt=0, lt=1, description="part of the users, 0.05 = one in twenty")]
    salt: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="another word draws other users; by default the holdout's name"),
    ] = None
    conversions: Annotated[
        tuple[str, ...], Meta(description="which of their conversions are not sent; all by default")
    ] = ()
    destinations: Annotated[
        tuple[str, ...],
        Meta(
            description='where they are not sent, by names and patterns such as "meta-*"; nowhere by default'
        ),
    ] = ()
    audiences: Annotated[
        tuple[str, ...],
        Meta(description="lists that they are left out of; with audiences alone every conversion is sent"),
    ] = ()
    from_: Annotated[
        datetime | None, Meta(description="what happened before is sent; by the event's own time")
    ] = field(default=None, name="from")
    to: Annotated[datetime | None, Meta(description="what happens from then on is sent again")] = None


class Holdout(Struct, frozen=True, kw_only=True):
    """A holdout as decisions know it. Empty `conversions` or `destinations`: all of them.

    `sends`: every conversion is sent all the same, and only lists leave these users out.
    """

    name: str
    salt: str
    share: float
    conversions: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    live: Live = ALWAYS
    sends: bool = False

    def concerns(self, conversion: str, destination: str) -> bool:
        """Whether it keeps deliveries of that conversion from that destination."""
        return (
            not self.sends
            and (not self.conversions or conversion in self.conversions)
            and (not self.destinations or any(fnmatchcase(destination, one) for one in self.destinations))
        )


def place_of(salt: str, person: str) -> float:
    """Where a user (`brand:user_id`) stands in the draw of a salt: evenly from 0 to 1, 1 excluded."""
    # The length of the salt stands before it, so that no two pairs make the same bytes.
    drawn = blake2b(f"{len(salt)}\x1f{salt}\x1f{person}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn, "big") >> 11) / TWO_TO_53


def is_held_out(salt: str, share: float, person: str) -> bool:
    """Whether that share of a salt's draw has the user (`brand:user_id`) in it."""
    return place_of(salt, person) < share


def held_by(holdouts: Sequence[Holdout], person: str, at_us: int) -> frozenset[str]:
    """The names of the holdouts that hold the user for what happened at that moment."""
    return frozenset(
        [one.name for one in holdouts if one.live.holds(at_us) and is_held_out(one.salt, one.share, person)]
    )


def holdout_of(name: str, settings: HoldoutSettings) -> Holdout:
    """A holdout as decisions know it."""
    return Holdout(
        name=name,
        salt=settings.salt or name,
        share=settings.share,
        conversions=settings.conversions,
        destinations=settings.destinations,
        live=Live(
            ALWAYS.from_us if settings.from_ is None else to_us(settings.from_),
            ALWAYS.until_us if settings.to is None else to_us(settings.to),
        ),
        sends=bool(settings.audiences) and not settings.conversions and not settings.destinations,
    )


def wrong_holdouts(
    settings: Mapping[str, HoldoutSettings], conversions: Sequence[str], destinations: Iterable[str]
) -> Iterator[tuple[str, str, str, str | None]]:
    """What contradicts or means nothing: (key under `holdout.`, what was found, what is allowed, nearest)."""
    names = list(destinations)
    drawn: dict[str, str] = {}
    for name, one in settings.items():
        for conversion in one.conversions:
            if conversion not in conversions:
                near = next(iter(get_close_matches(conversion, conversions, n=1)), None)
                yield f"{name}.conversions", repr(conversion), f"of {', '.join(conversions)}", near
        for pattern in one.destinations:
            if not any(fnmatchcase(destination, pattern) for destination in names):
                near = next(iter(get_close_matches(pattern, names, n=1)), None)
                allowed = f"a [destination.NAME] or a pattern of some: {', '.join(names) or 'none is there'}"
                yield f"{name}.destinations", repr(pattern), allowed, near
        if one.from_ is not None and one.to is not None and one.from_ >= one.to:
            yield f"{name}.to", "a moment that is not after from", "a moment after from", None
        other = drawn.setdefault(one.salt or name, name)
        if other != name:
            found = f"the salt of [holdout.{other}], which draws the same users"
            yield f"{name}.salt", found, "a word of its own, so that no one's effect hides the other's", None
