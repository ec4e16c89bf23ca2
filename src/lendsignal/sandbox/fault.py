"""Scripted failures: what goes wrong on purpose, where, and how often."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

Kind = Literal[
    "accept",
    "status",
    "throttle",
    "error_in_200",
    "hang",
    "close_before",
    "close_after_accept",
    "truncate",
    "slow",
    "garbage",
    "lie",
]

KINDS: tuple[str, ...] = get_args(Kind)
"""After `accept`, `slow`, `truncate`, `close_after_accept` the platform has it; after the rest, nothing."""


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One rule of the script.

    `host`: which stand-in, `*` for all. `times`: how often it fires, without end by default.
    `every`: only each n-th request of the host. `probability`: by chance, from `seed`, so that a run can
    be repeated. `status`, `body`, `headers`: the answer of `status` and `garbage` (503, 200 by default);
    `body` and `headers` also that of `throttle` and `error_in_200`.
    `down_ms`, `up_ms`: the rule holds for so long and rests for so long, in turns, from the first request it
    looks at; so a platform flaps.
    `delay_ms`: how long `slow` waits before it answers, and `hang` before it drops the connection
    (`hang` without it waits until the sender gives up).
    """

    kind: Kind
    host: str = "*"
    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    body: str | None = None
    headers: dict[str, str] = {}
    times: Annotated[int, Meta(ge=1)] | None = None
    every: Annotated[int, Meta(ge=1)] = 1
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    delay_ms: Annotated[int, Meta(ge=0)] | None = None
    down_ms: Annotated[int, Meta(ge=1)] | None = None
    up_ms: Annotated[int, Meta(ge=0)] = 1000

    def rests(self, since_ms: float) -> bool:
        """Whether it lets everything pass so long after it began."""
        return self.down_ms is not None and since_ms % (self.down_ms + self.up_ms) >= self.down_ms


class Faults:
    """A script in play: for each request the first rule that fires decides, `accept` included.

    `steady` counts real seconds, by which rules rest.
    """

    def __init__(self, script: Iterable[Fault] = (), steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self.play(script)

    def play(self, script: Iterable[Fault]) -> None:
        """Start another script from its beginning."""
        self.script = tuple(script)
        self._seen = [0] * len(self.script)
        self._fired = [0] * len(self.script)
        self._chance = [Random(rule.seed) for rule in self.script]
        self._began: dict[int, float] = {}
        self.by_header: Counter[str] = Counter()

    def next(self, host: str) -> Fault | None:
        """The rule for the next request to `host`, or `None` for none."""
        for at, rule in enumerate(self.script):
            if rule.host not in ("*", host) or (rule.times is not None and self._fired[at] >= rule.times):
                continue
            self._seen[at] += 1
            if rule.down_ms is not None:
                now = self._steady()
                if rule.rests((now - self._began.setdefault(at, now)) * 1000):
                    continue
            if self._seen[at] % rule.every:
                continue
            if rule.probability < 1 and self._chance[at].random() >= rule.probability:
                continue
            self._fired[at] += 1
            return rule
        return None

    def counts(self) -> list[dict[str, Any]]:
        """Each rule with how many requests it looked at and how often it fired."""
        return [
            {"rule": rule, "seen": seen, "fired": fired}
            for rule, seen, fired in zip(self.script, self._seen, self._fired, strict=True)
        ]


WORDS: dict[str, Fault] = {
    "latency": Fault(kind="slow"),
    "5xx": Fault(kind="status"),
    "drop-before": Fault(kind="close_before"),
    "drop-after-accept": Fault(kind="close_after_accept"),
    "truncated-body": Fault(kind="truncate"),
}


def from_header(text: str) -> Fault | None:
    """What an `X-Mock-Fault` header asks for this one request; `None` where it is no known word.

    A kind, a status (`429`), or one of latency, 5xx, drop-before, drop-after-accept, truncated-body;
    `=250` behind a word gives `delay_ms`.
    """
    word, _, number = text.strip().partition("=")
    if number and not number.isdecimal():
        return None
    if word.isdecimal():
        return Fault(kind="status", status=int(word)) if 200 <= int(word) <= 599 else None
    rule = WORDS.get(word)
    kind: Any = rule.kind if rule else word
    if kind not in KINDS:
        return None
    return Fault(kind=kind, delay_ms=int(number) if number else None)
