"""Local days and office hours over whole columns, against the standard library's calendar."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from lendsignal.simulate.localtime import DAY, HOUR, MINUTE, LocalTime, day_of


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


def test_local_midnights_and_days_agree_with_the_calendar_over_a_clock_change() -> None:
    madrid = LocalTime("Europe/Madrid", ms("2026-03-20T00:00Z"), ms("2026-04-10T00:00Z"))
    days = np.arange(day_of(date(2026, 3, 25)), day_of(date(2026, 4, 2)))
    zone = ZoneInfo("Europe/Madrid")

    midnights = madrid.midnight(days)

    dates = [date.fromordinal(date(2026, 3, 25).toordinal() + i) for i in range(8)]
    by_hand = [datetime(d.year, d.month, d.day, tzinfo=zone).astimezone(UTC) for d in dates]
    assert midnights.tolist() == [int(moment.timestamp() * 1_000) for moment in by_hand]
    assert np.diff(midnights).tolist() == [DAY] * 4 + [DAY - HOUR] + [DAY] * 2  # 29 March has 23 hours
    assert madrid.day(midnights).tolist() == days.tolist()
    assert madrid.day(midnights - 1).tolist() == (days - 1).tolist()


def test_an_application_outside_office_hours_waits_for_the_next_opening() -> None:
    lagos = LocalTime("Africa/Lagos", ms("2026-09-01T00:00Z"), ms("2026-10-01T00:00Z"))
    # Local times: Friday 10:15, Friday 20:00, Saturday 11:00, Sunday 23:30, Monday 05:00.
    asked = [
        "2026-09-04T10:15+01:00",
        "2026-09-04T20:00+01:00",
        "2026-09-05T11:00+01:00",
        "2026-09-06T23:30+01:00",
        "2026-09-07T05:00+01:00",
    ]
    column = np.array([ms(text) for text in asked])
    monday, saturday = ms("2026-09-07T08:00+01:00"), ms("2026-09-05T08:00+01:00")
    within_saturday = column[2]

    resting = lagos.next_open(column, 8, 20, weekends=False)
    always = lagos.next_open(column, 8, 20, weekends=True)

    assert resting.tolist() == [column[0], monday, monday, monday, monday]
    assert always.tolist() == [column[0], saturday, within_saturday, monday, monday]


def test_most_of_what_would_happen_in_the_night_happens_in_the_morning() -> None:
    lagos = LocalTime("Africa/Lagos", ms("2026-09-01T00:00Z"), ms("2026-10-01T00:00Z"))
    night = np.full(1_000, ms("2026-09-04T02:00+01:00"))
    noon = np.full(10, ms("2026-09-04T12:00+01:00"))

    moved = lagos.awake(night, np.random.default_rng(3))

    assert 0.75 < (moved > night).mean() < 0.85
    assert moved.min() == night[0]
    assert (moved[moved > night] - night[0]).min() >= 6 * HOUR
    assert moved.max() - night[0] < 9 * HOUR + MINUTE
    assert lagos.awake(noon, np.random.default_rng(3)).tolist() == noon.tolist()
