"""Strategies that a form makes up, to be compared in a made-up market before anybody pays for one.

An address holds them (`event1=first_credit&binding1=first_install&event2=…`), and each is written as the file
that `lendsignal simulate --strategy` reads: the page and the command line then play the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args
from urllib.parse import urlencode

from msgspec import Struct

from lendsignal.advise.strategies import Binding, Event, Value
from lendsignal.console.page import Asked
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError

EVENTS: tuple[str, ...] = get_args(Event)
VALUES: tuple[str, ...] = get_args(Value)
BINDINGS: tuple[str, ...] = get_args(Binding)
MOST = 4
"""Strategies that are compared at once."""

WORLDS = ("8", "4", "12")
"""How many worlds a page plays, the first unless another is asked for: few, so that it answers in seconds."""


class Drafted(Struct, frozen=True, kw_only=True):
    """One strategy as the form has it.

    `hours`: sent every so many, 0 at once. `manual` is the part of the applications that a person reviews, in
    per cent, and `minutes` how long a review takes; `None`: as in the market.
    """

    event: str
    value: str = "none"
    binding: str = "last_login"
    hours: float = 0.0
    manual: float | None = None
    minutes: float | None = None

    @property
    def name(self) -> str:
        """The event, and in what the strategy differs from the plain one."""
        parts = [
            self.event,
            self.value if self.value != "none" else "",
            self.binding if self.binding != "last_login" else "",
            f"every {self.hours:g} h" if self.hours else "",
            f"{self.manual:g} % reviewed" if self.manual is not None else "",
            f"reviews of {self.minutes:g} min" if self.minutes is not None else "",
        ]
        return ", ".join(filter(None, parts))

    def to_toml(self) -> str:
        """The file that the command line reads."""
        lines = [f'name = "{self.name}"', f'event = "{self.event}"']
        lines += [f'value = "{self.value}"'] if self.value != "none" else []
        lines += [f'binding = "{self.binding}"', f"batch_hours = {self.hours:g}"]
        of_reviews = {
            "manual": None if self.manual is None else self.manual / 100,
            "review_minutes": self.minutes,
        }
        if any(value is not None for value in of_reviews.values()):
            lines += ["", "[market.journey]"]
            lines += [f"{key} = {value:g}" for key, value in of_reviews.items() if value is not None]
        return "\n".join(lines) + "\n"


GRANT = Drafted(event="first_credit")

READY: tuple[tuple[str, tuple[Drafted, ...]], ...] = (
    (_("The grant, or the application"), (GRANT, Drafted(event="application"))),
    (
        _("Every grant, or the best of them"),
        (GRANT, Drafted(event="credit_top50"), Drafted(event="credit_top20")),
    ),
    (
        _("The grant, or its predicted value too"),
        (GRANT, Drafted(event="first_credit", value="predicted")),
    ),
    (
        _("Bound to the last login, or to the first install"),
        (GRANT, Drafted(event="first_credit", binding="first_install")),
    ),
    (
        _("Reviews as they are, fewer, or quicker"),
        (GRANT, Drafted(event="first_credit", manual=10), Drafted(event="first_credit", minutes=15)),
    ),
    (_("Sent at once, or once a day"), (GRANT, Drafted(event="first_credit", hours=24))),
)
"""Comparisons to begin with, by what they ask."""


def address_of(strategies: Sequence[Drafted]) -> str:
    """The query that asks for these strategies."""
    pairs: list[tuple[str, str]] = []
    for place, one in enumerate(strategies, 1):
        pairs += [(f"{key}{place}", value) for key, value in _written(one).items() if value]
    return urlencode(pairs)


def is_asked(asked: Asked) -> bool:
    """Whether an address names any strategy."""
    return any(asked.get(f"event{place}") for place in range(1, MOST + 1))


def slots(asked: Asked) -> list[Mapping[str, str]]:
    """What the form is filled with: the address as it is, and the first comparison where it names none."""
    if not is_asked(asked):
        first = [_written(one) for one in READY[0][1]]
        return [*first, *[_EMPTY] * (MOST - len(first))]
    return [{key: asked.get(f"{key}{place}") for key in _EMPTY} for place in range(1, MOST + 1)]


def drafted(asked: Asked) -> list[Drafted]:
    """The strategies that an address names. Raises `InputError` that names the field."""
    found: list[Drafted] = []
    for place in range(1, MOST + 1):
        if not asked.get(f"event{place}"):
            continue
        one = Drafted(
            event=_one_of(asked, f"event{place}", EVENTS),
            value=_one_of(asked, f"value{place}", VALUES),
            binding=_one_of(asked, f"binding{place}", BINDINGS),
            hours=_number(asked, f"hours{place}", 0, 168) or 0.0,
            manual=_number(asked, f"manual{place}", 0, 100),
            minutes=_number(asked, f"minutes{place}", 1, 10_000),
        )
        if one in found:
            raise InputError(f"event{place}", _("this strategy is there already: change something of it"))
        found.append(one)
    if len(found) < 2:
        raise InputError("event2", _("choose at least two strategies"))
    return found


def played(asked: Asked) -> tuple[int, int]:
    """How many worlds an address asks for, and the seed of the first."""
    return int(asked.get("worlds", *WORLDS)), asked.number("seed", 1, most=1_000_000)


def pasted(strategies: Sequence[Drafted], worlds: int, seed: int) -> Mapping[str, Any]:
    """The strategies' files by name, and the command that plays them."""
    files = {f"{letter}.toml": one.to_toml() for letter, one in zip("abcd", strategies, strict=False)}
    command = f"lendsignal simulate --strategy {' '.join(files)} --worlds {worlds} --seed {seed}"
    return {"files": files, "command": command}


_EMPTY: Mapping[str, str] = dict.fromkeys(("event", "value", "binding", "hours", "manual", "minutes"), "")


def _written(one: Drafted) -> Mapping[str, str]:
    return {
        "event": one.event,
        "value": one.value,
        "binding": one.binding,
        "hours": f"{one.hours:g}",
        "manual": "" if one.manual is None else f"{one.manual:g}",
        "minutes": "" if one.minutes is None else f"{one.minutes:g}",
    }


def _one_of(asked: Asked, name: str, choices: tuple[str, ...]) -> str:
    found = asked.get(name) or choices[0]
    if found not in choices:
        raise InputError(name, f"one of {', '.join(choices)}")
    return found


def _number(asked: Asked, name: str, least: int, most: int) -> float | None:
    text = asked.get(name)
    if not text:
        return None
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not least <= found <= most:  # what is no number is within no bounds
        raise InputError(name, f"a number from {least} to {most}")
    return round(found, 2)
