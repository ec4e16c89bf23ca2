"""Chaos: every way of failing at once, on every platform in its own mix, the same again for the same seed.

A silent yes (`lie`) is left out, for no sender could ever notice it; so is a 200 that is no answer, where
the platform's documents make any 2xx a yes.
"""

from collections.abc import Iterable, Iterator
from random import Random

import msgspec

from lendsignal.sandbox.fault import Fault, Kind

LATE_MS = 45_000
"""A late answer comes after the thirty seconds that a sender waits by default."""

OUTAGES: tuple[Kind, ...] = ("close_before", "status", "hang")
SERVER_ERRORS = (500, 502, 503, 504)


def chaos(seed: int, hosts: Iterable[str], *, late_ms: int = LATE_MS) -> list[Fault]:
    """The script for these hosts. About one request in four fails, and between a tenth and a half of the
    time a platform is down altogether; `late_ms` should be longer than the sender waits."""
    return [rule for host in sorted(hosts) for rule in _mix(Random(f"{seed} {host}"), host, late_ms)]


def _mix(chance: Random, host: str, late_ms: int) -> Iterator[Fault]:
    """One platform's rules: it goes down and comes back in turns, and fails now and then in between."""

    def now_and_then(kind: Kind, low: float, high: float, **more: object) -> Fault:
        share = round(chance.uniform(low, high), 4)
        rule = Fault(kind=kind, host=host, probability=share, seed=chance.getrandbits(31))
        return msgspec.structs.replace(rule, **more)

    yield Fault(
        kind=chance.choice(OUTAGES),
        host=host,
        down_ms=chance.randint(300, 1_500),
        up_ms=chance.randint(1_500, 3_000),
    )
    yield now_and_then("status", 0.02, 0.10, status=chance.choice(SERVER_ERRORS))
    yield now_and_then("status", 0.001, 0.01, status=401)
    yield now_and_then("throttle", 0.002, 0.01)
    yield now_and_then("throttle", 0.002, 0.01, headers={"Retry-After": "1"})
    yield now_and_then("error_in_200", 0.01, 0.05)
    yield now_and_then("garbage", 0.01, 0.04, status=502)
    yield now_and_then("close_before", 0.01, 0.04)
    yield now_and_then("close_after_accept", 0.01, 0.04)
    yield now_and_then("truncate", 0.01, 0.04)
    yield now_and_then("slow", 0.002, 0.01, delay_ms=late_ms)
    yield now_and_then("hang", 0.001, 0.005)
    yield now_and_then("slow", 0.02, 0.10, delay_ms=chance.randint(20, 200))
