"""What alarms and what does not. A made-up series brings so many in every quarter of an hour."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from lendsignal.clock import to_us
from lendsignal.report.band import at_most
from lendsignal.report.health import (
    CHANCE,
    DELAY_BOUNDS,
    SLOT_US,
    DelayOf,
    Ended,
    Ending,
    Facts,
    Fetched,
    Halted,
    Series,
    Verdict,
    Volume,
    What,
    alarms,
    bin_of,
    by_day,
    health,
    learnt,
    span,
    volume,
)

NOON = to_us(datetime(2026, 5, 13, 12, tzinfo=UTC))
SLOT = NOON // SLOT_US
DAY = 96


def series(
    each: int = 25,
    *,
    days: int = 35,
    until: int = SLOT,
    what: What = "event",
    name: str = "disbursed",
    scope: str = "acme-ng",
    steady_from_us: int = 0,
    pause: timedelta = timedelta(0),
    zone: str = "UTC",
    also: dict[int, int] | None = None,
) -> Series:
    """So many in each quarter of an hour, up to one of them; `also` are others."""
    slots = dict.fromkeys(range(SLOT - days * DAY, until), each)
    return Series(
        what=what,
        name=name,
        scope=scope,
        timezone=zone,
        slots={**slots, **(also or {})},
        steady_from_us=steady_from_us,
        pause=pause,
    )


def judged(one: Series, now_us: int = NOON) -> Volume:
    return volume(one, learnt(one, now_us), now_us)


def verdict(one: Series, now_us: int = NOON) -> Verdict:
    return judged(one, now_us).verdict


def raised(*volumes: Volume, **facts: object) -> list[str]:
    return [one.key for one in alarms(Facts(now_us=NOON, volumes=volumes, **facts))]  # type: ignore[arg-type]


def test_what_comes_as_ever_is_as_expected() -> None:
    found = judged(series())

    assert found.verdict == "as expected"
    assert found.hour == 100
    assert found.expected_hour == pytest.approx(100)
    assert found.day == 2_400
    assert found.expected_day == pytest.approx(2_400)
    assert found.quiet_us == 0
    low, high = found.band() or (0, 0)
    assert low < 100 < high


def test_silence_is_found_as_soon_as_it_is_no_chance_any_more() -> None:
    quiet = [verdict(series(until=SLOT - n)) for n in range(4)]

    # With a dispersion of 0.01 and 25 a quarter: (1 + 0.25 n)^−100, which is 2·10⁻¹⁰ for one quarter.
    assert quiet == ["as expected", "silent", "silent", "silent"]
    assert CHANCE > 1.25**-100


def test_silence_where_few_come_is_found_later_and_not_at_once() -> None:
    assert verdict(series(1, until=SLOT - 12)) == "as expected"
    assert verdict(series(1, until=SLOT - 20)) == "silent"


def test_silence_at_a_time_when_nothing_ever_comes_is_no_trouble() -> None:
    by_day_only = {SLOT - n: 0 for n in range(35 * DAY) if not 32 <= (SLOT - n) % DAY < 72}
    at_five = NOON - 7 * 3_600_000_000

    assert verdict(series(also=by_day_only, until=SLOT - 29), at_five) == "as expected"


def test_a_series_that_fell_silent_days_ago_is_still_missed() -> None:
    assert verdict(series(until=SLOT - 6 * DAY)) == "silent"
    assert verdict(series(until=SLOT - 12 * DAY)) == "silent"


def test_less_than_half_is_too_little_and_more_than_half_is_not() -> None:
    little = {SLOT - n: 1_200 for n in range(1, 5)}
    some = {SLOT - n: 1_300 for n in range(1, 5)}

    assert at_most(5_200, 10_000, 0.01) < CHANCE, "rare it is"
    assert verdict(series(2_500, also=little)) == "low"
    assert verdict(series(2_500, also=some)) == "as expected"


def test_a_day_of_half_is_too_little_though_no_hour_is_certain() -> None:
    half = {SLOT - n: int(n % 4 == 0) for n in range(1, DAY)}

    assert verdict(series(1, also=half)) == "low"


def test_more_than_three_times_is_too_much_and_less_is_not() -> None:
    assert verdict(series(also={SLOT - n: 80 for n in range(1, 5)})) == "high"
    assert verdict(series(also={SLOT - n: 70 for n in range(1, 5)})) == "as expected"


def test_what_was_counted_late_is_not_too_much() -> None:
    caught_up = {SLOT - 1: 1_000}

    assert verdict(series(also=caught_up)) == "high"
    assert verdict(series(also=caught_up, steady_from_us=NOON - 1)) == "as expected"


def test_a_young_series_and_a_thin_one_are_said_and_never_alarming() -> None:
    young = judged(series(days=10, until=SLOT - 40))
    seldom = dict.fromkeys(range(SLOT - 35 * DAY, SLOT - DAY, DAY // 3), 1)
    thin = judged(series(0, also=seldom))

    assert (young.verdict, thin.verdict) == ("young", "thin")
    assert raised(young, thin) == []


def test_a_destination_that_gathers_for_two_hours_may_be_quiet_so_long() -> None:
    gathered = {SLOT - n: 200 if (SLOT - n) % 8 == 0 else 0 for n in range(1, 35 * DAY)}
    late = {**gathered, SLOT - 8: 0, SLOT: 0}
    two_hours = timedelta(hours=2)

    assert verdict(series(also=late, what="accepted")) == "silent"
    assert verdict(series(also=late, what="accepted", pause=two_hours)) == "silent"
    assert verdict(series(also=gathered, what="accepted", pause=two_hours)) == "as expected"


def test_days_and_quarters_are_those_of_the_clock_on_the_wall() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    summer = to_us(datetime(2026, 3, 29, 8, tzinfo=berlin)) // SLOT_US
    winter = to_us(datetime(2026, 3, 28, 8, tzinfo=berlin)) // SLOT_US
    kathmandu = to_us(datetime(2026, 3, 28, 8, 45, tzinfo=ZoneInfo("Asia/Kathmandu"))) // SLOT_US

    found = by_day({summer: 2, winter: 3}, "Europe/Berlin")
    assert summer - winter == 23 * 4
    assert [counts.index(max(counts)) for counts in found.values()] == [32, 32]
    assert next(iter(by_day({kathmandu: 1}, "Asia/Kathmandu").values()))[35] == 1


def test_an_app_that_fell_silent_is_one_alarm_and_nothing_that_follows_from_it() -> None:
    quiet = [judged(series(until=SLOT - 4, name=name)) for name in ("applied", "disbursed")]
    after = judged(series(until=SLOT - 3, what="accepted", name="first_loan", scope="appsflyer-ng"))

    assert raised(*quiet, after) == ["silent event acme-ng"]
    assert raised(quiet[0], judged(series()), after) == [
        "silent accepted appsflyer-ng first_loan",
        "silent event acme-ng applied",
    ]


def test_a_destination_that_fell_silent_is_one_alarm() -> None:
    quiet = [
        judged(series(until=SLOT - 4, what="accepted", name=name, scope="meta"))
        for name in ("credit", "first_loan")
    ]

    assert raised(*quiet, judged(series())) == ["silent accepted meta"]


@pytest.mark.parametrize("name", ["meta", "*"])
def test_a_paused_destination_makes_no_further_alarm(name: str) -> None:
    quiet = judged(series(until=SLOT - 4, what="accepted", name="credit", scope="meta"))
    halted = [Halted(destination=name, by="platform", reason="http_401", since_us=NOON)]

    assert raised(quiet, judged(series()), halted=halted) == [f"paused {name}"]


def bins(*seconds: float) -> Sequence[int]:
    found = [0] * (len(DELAY_BOUNDS) + 1)
    for one in seconds:
        found[bin_of(one)] += 1
    return found


def test_a_tenth_that_took_longer_than_three_hours_names_the_stage() -> None:
    slow = DelayOf(stage="arrival", name="acme-ng", bins=bins(*[30] * 80, *[14_400] * 20))
    tolerable = DelayOf(stage="queue", name="meta", bins=bins(*[30] * 91, *[14_400] * 9))
    thin = DelayOf(stage="queue", name="snap", bins=bins(*[80_000] * 29))

    # Half of the twenty lie below the 90th: half way from three to four hours.
    assert slow.p90_seconds() == 12_600
    found = alarms(Facts(now_us=NOON, delays=[slow, tolerable, thin]))
    assert [one.key for one in found] == ["delay arrival acme-ng"]
    assert found[0].said.startswith("arrival: ")
    assert "3 h 30 min" in found[0].said


def test_deaths_alarm_by_number_and_by_share() -> None:
    def ended(accepted: int, dead: int) -> list[str]:
        return raised(ended=[Ended(destination="meta", accepted=accepted, dead=dead)])

    assert ended(190, 10) == ["dead meta"]
    assert ended(191, 10) == []
    assert ended(0, 9) == []


def test_whatever_stopped_or_is_about_to_is_said_with_what_to_do() -> None:
    facts = Facts(
        now_us=NOON,
        halted=[Halted(destination="snap", by="person", reason="by_hand", since_us=NOON)],
        endings=[Ending(destination="meta", said="the token of meta ended on 2026-05-01", has_ended=True)],
        quarantined=120,
        quarantine_alarming=True,
        pulls=[Fetched(name="bank", since_us=NOON - 7_200_000_000, trouble="unreachable")],
        feeds=[Fetched(name="adjust", since_us=NOON - 2 * 86_400_000_000)],
        sender="the sender does not run",
        disk_free=2_000_000_000,
    )
    found = {one.key: one for one in alarms(facts)}

    assert set(found) == {
        "sender",
        "token_ends meta",
        "disk",
        "feed_silent adjust",
        "paused snap",
        "pull_silent bank",
        "quarantine",
    }
    assert [one.severity for one in alarms(facts)] == ["critical"] * 2 + ["warning"] * 5
    assert found["pull_silent bank"].said == "the pull bank has brought nothing for 2 h: unreachable"
    assert all(one.do for one in found.values())
    assert raised(disk_free=999_999_999, quarantined=3) == ["disk"]


def test_a_reconciliation_beyond_its_limits_is_an_alarm() -> None:
    (found,) = alarms(Facts(now_us=NOON, reconciled=("sent missing", NOON - 3_600_000_000)))

    assert (found.key, found.kind, found.severity) == ("reconcile", "reconcile", "warning")
    assert found.said == (
        "the ledgers differ beyond their limits: sent missing (reconciled 2026-05-13 11:00 UTC)"
    )


def test_the_report_shows_every_series_and_says_whether_all_is_well() -> None:
    well = health(Facts(now_us=NOON, volumes=[judged(series())]))
    ill = health(Facts(now_us=NOON, volumes=[judged(series(until=SLOT - 4))]))

    assert (well.healthy, ill.healthy) == (True, False)
    (row,) = ill.volumes.records()
    assert (row["scope"], row["name"], row["verdict"], row["quiet"]) == (
        "acme-ng",
        "disbursed",
        "silent",
        3_600,
    )
    assert "as of 2026-05-13 12:00:00 UTC" in well.to_text()


def test_spans_are_said_in_two_units() -> None:
    minute = 60_000_000

    assert [span(n * minute) for n in (0, 59, 60, 61, 1_440, 1_500)] == [
        "0 min",
        "59 min",
        "1 h",
        "1 h 1 min",
        "1 d",
        "1 d 1 h",
    ]
