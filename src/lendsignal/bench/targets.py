"""What the figures are to reach on two cores that store, service, sink and load share, and if they do."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct


class Target(Struct, frozen=True, kw_only=True):
    """One figure beside what it is to `reach` and what is to be gone `go_for` after that.

    `found` is `None` where it was not measured in this run; `reached` and `went` then are as well.
    """

    what: str
    key: str
    unit: str
    found: float | None
    reach: float
    go_for: float
    less_is_better: bool
    reached: bool | None
    went: bool | None


class _Wanted(Struct, frozen=True):
    what: str
    key: str
    unit: str
    reach: float
    go_for: float
    less_is_better: bool = False


WANTED = (
    _Wanted("end to end, two requests an event, batches in", "end_to_end_per_s", "events/s", 8_000, 14_000),
    _Wanted("the same, one event a request in", "end_to_end_single_per_s", "events/s", 5_000, 9_000),
    _Wanted("accepted durably and decided, sending off", "decided_per_s", "events/s", 25_000, 40_000),
    _Wanted("accepted to sent at 2,000/s, half of them", "accept_to_sent_ms.p50", "ms", 4, 2, True),
    _Wanted("accepted to sent at 2,000/s, all but 1 %", "accept_to_sent_ms.p99", "ms", 25, 10, True),
    _Wanted("processor time an event, every role", "cpu_us_per_event", "µs", 160, 90, True),
    _Wanted("deliveries/s against Celery + Redis + requests", "ratios.deliveries_to_celery", "×", 15, 25),
    _Wanted("encode and classify, dearest destination", "encode_and_classify_us", "µs", 15, 8, True),
    _Wanted("on disk an event, deliveries included", "bytes_per_event", "bytes", 900, 600, True),
    _Wanted("resident memory, every role, idle", "idle_rss_mib", "MiB", 120, 80, True),
)

BACKLOG = (
    _Wanted("resident memory, every role, deliveries waiting", "waiting_rss_mib", "MiB", 400, 200, True),
    _Wanted("the same at its highest, while they are sent", "peak_rss_mib", "MiB", 400, 200, True),
)
"""Of a backlog of five million."""


def judged(figures: Struct, wanted: Sequence[_Wanted] = WANTED) -> list[Target]:
    """Every target beside what was found."""
    return [_judged(one, _found(figures, one.key)) for one in wanted]


def _judged(one: _Wanted, found: float | None) -> Target:
    def meets(limit: float) -> bool | None:
        if found is None:
            return None
        return found <= limit if one.less_is_better else found >= limit

    return Target(
        what=one.what,
        key=one.key,
        unit=one.unit,
        found=found,
        reach=one.reach,
        go_for=one.go_for,
        less_is_better=one.less_is_better,
        reached=meets(one.reach),
        went=meets(one.go_for),
    )


def _found(figures: Struct, key: str) -> float | None:
    """The figure under a key such as `accept_to_sent_ms.p99`; of several destinations the dearest one."""
    name, _, inner = key.partition(".")
    value: Any = getattr(figures, name)
    if inner:
        return value.get(inner)  # type: ignore[no-any-return]
    return max(value.values()) if isinstance(value, dict) else float(value)
