"""What two rehearsals of the same past would have sent, delivery by delivery, and how they differ."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from lendsignal.clock import from_us
from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, App, id_of
from lendsignal.plan import Corrected, Entry, Planned, Rebound, Record, Withdrawn
from lendsignal.resolve import Binding

Rule = Literal["last_login", "first_install"]
"""Which device counts."""

LEARNING_PER_WEEK: Mapping[str, int] = {"meta": 50, "tiktok": 50}
"""Conversions in seven days that a platform's learning wants of one event: Meta's learning phase, and
TikTok's (ads.tiktok.com/help/article/learning-phase, 2026-11). Per ad set there; here it is a lower bound."""

_WEEK = timedelta(days=7)


class Would(Struct, frozen=True):
    """One delivery that would have been sent: when its event happened, to whom, as what.

    `day` is the app's local day. `value` is in major units of `currency`.
    """

    conversion: str
    destination: str
    kind: str
    day: str
    campaign: str
    install: str
    name: str
    value: Decimal | None
    currency: str | None


class Change(StrEnum):
    """How a delivery differs."""

    GAINED = "gained"
    LOST = "lost"
    MOVED = "moved"
    RENAMED = "renamed"
    REVALUED = "revalued"


class Line(Struct, frozen=True):
    """One line of the difference: deliveries of one kind of change."""

    conversion: str
    destination: str
    campaign: str
    day: str
    change: Change
    deliveries: int
    value_before: Mapping[str, Decimal] = {}
    value_after: Mapping[str, Decimal] = {}


class Volume(Struct, frozen=True):
    """What one destination would have got of one conversion in a week, before and after.

    `learning` is what the platform's learning wants, where that is known.
    """

    conversion: str
    destination: str
    before: float
    after: float
    learning: int | None


class Picture:
    """The deliveries of one rehearsal, by conversion id and destination."""

    def __init__(
        self,
        apps: Mapping[str, App],
        *,
        since_us: int = 0,
        rule: Rule = "last_login",
        campaign_of: Callable[[Binding], str] | None = None,
    ) -> None:
        self.would: dict[tuple[str, str], Would] = {}
        self._apps = apps
        self._since_us = since_us
        self._rule = rule
        self._campaign_of = campaign_of or _nowhere
        self._made: dict[int, tuple[Planned | Rebound, int]] = {}

    def add(self, number: int, record: Record) -> None:
        """One record, in the order of the stream.

        A late touch or a reversal counts where it came before the delivery would have left.
        """
        match record:
            case Planned():
                if record.conversion.origin.occurred_us >= self._since_us:
                    self._put(record)
                    self._made[number] = (record, max((one.settle_us for one in record.entries), default=0))
            case Rebound() | Withdrawn():
                made = self._made.get(record.record)
                if made is None or record.at_us > made[0].at_us + made[1]:
                    return
                for entry in made[0].entries:
                    self.would.pop((made[0].conversion.id, entry.destination), None)
                if isinstance(record, Rebound):
                    self._put(record)
                    self._made[record.record] = (record, made[1])
            case Corrected():
                pass  # it changes what was sent, and not what is

    def closed(self) -> "Picture":
        """This picture, which gets no further records: what it remembered of them is let go."""
        self._made.clear()
        self._campaign_of = _nowhere
        return self

    def _put(self, record: Planned | Rebound) -> None:
        binding = record.binding if self._rule == "last_login" else record.first_install
        if binding is None:
            return
        conversion = record.conversion
        app = self._apps.get(binding.snapshot.app)
        zone = ZoneInfo(app.timezone) if app is not None else ZoneInfo("UTC")
        day = from_us(conversion.origin.occurred_us).astimezone(zone).date().isoformat()
        campaign, install = self._campaign_of(binding), install_of(binding)
        for entry in record.entries:
            if entry.skip is None:
                key = (conversion.id, entry.destination)
                self.would[key] = _would(conversion.name, entry, day, campaign, install)


def _nowhere(binding: Binding) -> str:
    """Where nobody told us of campaigns."""
    return ""


def _would(conversion: str, entry: Entry, day: str, campaign: str, install: str) -> Would:
    value = entry.value
    return Would(
        conversion,
        entry.destination,
        entry.kind,
        day,
        campaign,
        install,
        entry.name,
        None if value is None else value.amount,
        None if value is None else value.currency,
    )


def install_of(binding: Binding) -> str:
    """The installation that a binding shows, in one word: the app and the first id that names it."""
    device = binding.snapshot.device
    found = (id_of(device, kind) for kind in (*INSTALL_SCOPED, *DEVICE_SCOPED))
    return f"{binding.snapshot.app}:{next(filter(None, found), '')}"


def differences(before: Picture, after: Picture) -> list[Line]:
    """Every way in which deliveries differ, by conversion, destination, campaign and day."""
    counts: Counter[tuple[str, str, str, str, Change]] = Counter()
    values: dict[tuple[str, str, str, str, Change], tuple[dict[str, Decimal], dict[str, Decimal]]] = {}
    for was, now in _pairs(before, after):
        one = now or was
        assert one is not None, "a pair has at least one side"
        for change in _changes(was, now):
            key = (one.conversion, one.destination, one.campaign, one.day, change)
            counts[key] += 1
            sums = values.setdefault(key, ({}, {}))
            for side, total in zip((was, now), sums, strict=True):
                if side is not None and side.value is not None and side.currency is not None:
                    total[side.currency] = total.get(side.currency, Decimal(0)) + side.value
    return [Line(*key, n, *values[key]) for key, n in sorted(counts.items())]


def volumes(before: Picture, after: Picture, days: float) -> list[Volume]:
    """What each destination gets of each conversion in a week, on average over so many days."""
    weeks = max(days / 7, 1 / 7)
    was, now = _counted(before.would.values()), _counted(after.would.values())
    return [
        Volume(conversion, destination, was[key] / weeks, now[key] / weeks, LEARNING_PER_WEEK.get(kind))
        for key in sorted(was.keys() | now.keys())
        for conversion, destination, kind in [key]
    ]


def _counted(would: Iterable[Would]) -> Counter[tuple[str, str, str]]:
    return Counter((one.conversion, one.destination, one.kind) for one in would)


def _pairs(before: Picture, after: Picture) -> Iterator[tuple[Would | None, Would | None]]:
    for key, was in before.would.items():
        yield was, after.would.get(key)
    for key, now in after.would.items():
        if key not in before.would:
            yield None, now


def _changes(was: Would | None, now: Would | None) -> Iterator[Change]:
    if was is None:
        yield Change.GAINED
    elif now is None:
        yield Change.LOST
    else:
        if was.install != now.install:
            yield Change.MOVED
        if was.name != now.name:
            yield Change.RENAMED
        if (was.value, was.currency) != (now.value, now.currency):
            yield Change.REVALUED
