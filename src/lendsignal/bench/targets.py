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


class Wanted(Struct, frozen=True):
    """What a figure is to be, under the key where it stands among the figures of its run."""

    what: str
    key: str
    unit: str
    reach: float
    go_for: float
    less_is_better: bool = False

    def beside(self, found: float | None) -> Target:
        """What was found beside it; `None`: not measured in this run."""
        return Target(
            what=self.what,
            key=self.key,
            unit=self.unit,
            found=found,
            reach=self.reach,
            go_for=self.go_for,
            less_is_better=self.less_is_better,
            reached=self._meets(found, self.reach),
            went=self._meets(found, self.go_for),
        )

    def _meets(self, found: float | None, limit: float) -> bool | None:
        if found is None:
            return None
        return found <= limit if self.less_is_better else found >= limit


WANTED = (
    Wanted("end to end, two requests an event, batches in", "end_to_end_per_s", "events/s", 8_000, 14_000),
    Wanted("the same, one event a request in", "end_to_end_single_per_s", "events/s", 5_000, 9_000),
    Wanted("accepted durably and decided, sending off", "decided_per_s", "events/s", 25_000, 40_000),
    Wanted("accepted to sent at 2,000/s, half of them", "accept_to_sent_ms.p50", "ms", 4, 2, True),
    Wanted("accepted to sent at 2,000/s, all but 1 %", "accept_to_sent_ms.p99", "ms", 25, 10, True),
    Wanted("processor time an event, every role", "cpu_us_per_event", "µs", 160, 90, True),
    Wanted("deliveries/s against Celery + Redis + requests", "ratios.deliveries_to_celery", "×", 15, 25),
    Wanted("encode and classify, dearest destination", "encode_and_classify_us", "µs", 15, 8, True),
    Wanted("on disk an event, deliveries included", "bytes_per_event", "bytes", 900, 600, True),
    Wanted("resident memory, every role, idle", "idle_rss_mib", "MiB", 120, 80, True),
)

BACKLOG = (
    Wanted("resident memory, every role, deliveries waiting", "waiting_rss_mib", "MiB", 400, 200, True),
    Wanted("the same at its highest, while they are sent", "peak_rss_mib", "MiB", 400, 200, True),
)
"""Of a backlog of five million."""


def judged(figures: Struct, wanted: Sequence[Wanted] = WANTED) -> list[Target]:
    """Every target beside what was found."""
    return [one.beside(_found(figures, one.key)) for one in wanted]


def _found(figures: Struct, key: str) -> float | None:
    """The figure under a key such as `accept_to_sent_ms.p99`; of several destinations the dearest one."""
    name, _, inner = key.partition(".")
    value: Any = getattr(figures, name)
    if inner:
        return value.get(inner)  # type: ignore[no-any-return]
    return max(value.values()) if isinstance(value, dict) else float(value)
