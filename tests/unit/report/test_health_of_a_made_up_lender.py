"""The whole of health on a made-up lender: sixty quiet days without an alarm, and an outage found in time.

The generator's lender has nights, weekends without review, Monday backlogs and a nightly batch.
"""

from collections import Counter
from datetime import date
from functools import cache

import msgspec
import numpy as np

from lendsignal.report.band import Band
from lendsignal.report.health import SLOT_US, Alarm, Facts, Series, alarms, learnt, volume
from lendsignal.simulate import Parameters, make
from lendsignal.simulate.arrivals import KINDS

DAY = 96
ZONE = "Africa/Lagos"
QUIET_DAYS = 60
BEFORE = 70
"""Days that the lender grows before anybody looks."""


@cache
def lender() -> tuple[int, dict[str, Counter[int]]]:
    """The first quarter of an hour of its story, and its events by type and quarter of arrival."""
    usual = Parameters()
    length = BEFORE + QUIET_DAYS
    period = msgspec.structs.replace(usual.period, start=date(2026, 3, 1), days=length, users=20_000)
    world = make(msgspec.structs.replace(usual, period=period), seed=1)
    slots = world.events.received_at * 1_000 // SLOT_US
    found: dict[str, Counter[int]] = {}
    for kind in np.unique(world.events.kind):
        found[KINDS[kind].value] = Counter(slots[world.events.kind == kind].tolist())
    return world.start * 1_000 // SLOT_US, found


def series(name: str, counts: Counter[int], first: int, behind: int) -> Series:
    slots = {slot: n for slot, n in counts.items() if first <= slot < behind}
    return Series(what="event", name=name, scope="acme-ng", timezone=ZONE, slots=slots)


def bands(counted: dict[str, Counter[int]], slot: int) -> dict[str, Band | None]:
    found = {name: series(name, counts, slot - 57 * DAY, slot) for name, counts in counted.items()}
    return {name: learnt(one, slot * SLOT_US) for name, one in found.items()}


def looked(counted: dict[str, Counter[int]], known: dict[str, Band | None], slot: int) -> list[Alarm]:
    """The alarms of one look, a minute into a quarter of an hour."""
    now_us = slot * SLOT_US + 60_000_000
    volumes = [
        volume(series(name, counts, slot - 8 * DAY, slot), known[name], now_us)
        for name, counts in counted.items()
    ]
    return alarms(Facts(now_us=now_us, volumes=volumes))


def test_sixty_quiet_days_make_no_alarm() -> None:
    start, counted = lender()
    told: list[str] = []
    for day in range(BEFORE, BEFORE + QUIET_DAYS):
        known = bands(counted, start + day * DAY)
        # Every three hours and a quarter, so that every hour of the day is looked at.
        for slot in range(start + day * DAY + day % 13, start + (day + 1) * DAY, 13):
            told += [one.key for one in looked(counted, known, slot)]

    assert told == []


def test_an_outage_at_noon_is_found_within_the_hour_as_one_alarm() -> None:
    start, counted = lender()
    for day in (80, 97, 121):  # a Thursday, a Sunday and a Wednesday
        noon = start + day * DAY + DAY // 2
        cut = {name: Counter({s: n for s, n in c.items() if s < noon}) for name, c in counted.items()}
        known = bands(counted, start + day * DAY)
        found = {later: looked(cut, known, noon + later) for later in range(5)}

        assert found[0] == []
        assert [one.key for one in found[4]] == ["silent event acme-ng"]


def test_one_type_that_stops_is_found_within_the_hour() -> None:
    start, counted = lender()
    noon = start + 94 * DAY + DAY // 2
    cut = {**counted, "logged_in": Counter({s: n for s, n in counted["logged_in"].items() if s < noon})}

    found = looked(cut, bands(counted, start + 94 * DAY), noon + 4)
    assert [one.key for one in found] == ["silent event acme-ng logged_in"]
