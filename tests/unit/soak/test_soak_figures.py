"""What a soak's figures say of made-up runs, checked with a pencil."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.soak.course import ROUTES, weather_name
from tests.soak.figures import Hour, Run, Sample, hours_of, slope
from tests.soak.page import MARK, publish
from tests.soak.traffic import CYCLE, Traffic, every_due

from lendsignal.bench.machine import Machine

SECOND_US, HOUR_US = 1_000_000, 3_600_000_000
AT = datetime(2026, 11, 1, tzinfo=UTC)


def sample(day: float, core: float, *, events: int = 0, cpu: float = 0.0) -> Sample:
    """A look at a service whose core holds so much."""
    files = {"log.sqlite": 1.0 + day, "deliveries.sqlite": 2.0 + day}
    return Sample(
        day=day, events=events, pss_mib={"core": core, "send": 40.0}, cpu_s={"core": cpu}, files_mib=files
    )


def run_of(**more: Any) -> Run:
    """A run in which all was well."""
    samples = [sample(day, 30 + day, events=round(1000 * day), cpu=0.1 * day) for day in range(7)]
    whole: dict[str, Any] = {
        "days": 6, "hours_of_the_machine": 2, "faster": 72, "events": 6000, "deliveries": 11_000,
        "events_per_s": 300, "most_events_per_s": 600, "planned": 11_000, "arrived": 10_990, "held": 7,
        "dead": 0, "skipped": 0,
        "lied": 3, "lost": 0, "doubled": 0, "repeated": 5, "unlike": (), "kills": {"core": 4},
        "faults": {"status": 9}, "samples": samples, "memory_days": (3.0, 6.0),
        "hours": [Hour(hour=hour, deliveries=9, p50_ms=2, p99_ms=9 + hour) for hour in (0, 1, 143)],
        "machine": Machine(cores=2, load_before=0.1, fsync_ms=0.2), "load_after": 1.5, "day": "2026-11-23",
    }  # fmt: skip
    return Run(**{**whole, **more})


def test_a_slope_is_what_a_straight_line_rises_by() -> None:
    assert slope([(0, 10), (1, 12), (2, 14)]) == pytest.approx(2)
    assert slope([(0, 10), (1, 10), (2, 10)]) == pytest.approx(0)
    assert slope([(1, 10)]) == 0


def test_memory_is_judged_by_the_days_without_a_kill() -> None:
    run = run_of(
        samples=[sample(0, 90), sample(1, 20), sample(3, 50), sample(4, 53), sample(5, 56), sample(6, 59)]
    )

    assert run.memory_slope_mib_per_day == pytest.approx(3)


def test_processor_time_is_that_of_the_events_between_two_looks() -> None:
    assert run_of().cpu_us(1, 3) == pytest.approx(0.2 / 2000 * 1e6)
    assert run_of(samples=[sample(0, 1)]).cpu_us(0, 6) is None


def test_a_delay_on_a_quick_clock_is_so_many_times_shorter_on_the_machines() -> None:
    start = 1_000 * SECOND_US
    arrived = [(start, start + 2 * SECOND_US), (start + HOUR_US + 5, start + HOUR_US)]

    first, second = hours_of(arrived, 100, (start, HOUR_US), lambda hour: "rain" if hour else "")

    assert first == Hour(hour=0, deliveries=1, p50_ms=20.0, p99_ms=20.0)
    assert second == Hour(hour=1, deliveries=1, p50_ms=0.0, p99_ms=0.0, weather="rain")


def test_the_days_are_compared_by_their_quiet_hours() -> None:
    stormy = Hour(hour=2, deliveries=9, p50_ms=800, p99_ms=2_000, weather="503")
    run = run_of(hours=[Hour(hour=1, deliveries=9, p50_ms=2, p99_ms=9), stormy, *run_of().hours[2:]])

    assert (run.quiet_p99_ms(0), run.last_day, run.quiet_p99_ms(5)) == (9, 5, 152)


def test_what_comes_after_the_last_day_is_no_hour_of_a_seventh() -> None:
    late = [Hour(hour=hour, deliveries=9, p50_ms=0, p99_ms=0) for hour in (144, 145)]
    run = run_of(hours=[*run_of().hours, *late])
    assert (run.last_day, run.quiet(6)) == (5, [])


def test_the_hour_behind_a_storm_is_not_quiet_yet() -> None:
    assert weather_name(2) == "503, appsflyer-ng"
    assert weather_name(24 + 3) == "after 503, appsflyer-ng"
    assert weather_name(4) == ""


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"lost": 2}, "2 deliveries were lost"),
        ({"doubled": 1}, "1 came twice under hold"),
        ({"skipped": 3}, "3 were skipped as too old: the machine was too slow for this rate"),
        ({"dead": 4}, "4 are dead, without a reason in this run"),
        ({"unlike": ["meta-ng"]}, "meta-ng: planned is not what the events make"),
    ],
)
def test_each_promise_that_is_not_kept_is_a_sentence(what: dict[str, Any], sentence: str) -> None:
    assert run_of(**what).broken() == [sentence]
    assert run_of().broken() == []


def test_every_conversion_of_the_traffic_is_due_once_and_its_event_is_told() -> None:
    traffic = Traffic(ROUTES)
    told = [traffic.event(number, AT) for number in range(50 * CYCLE)]

    due = list(every_due(traffic, len(told)))

    assert len({one.id for _, one in due}) == len(due) == 5 * 50
    assert {told[number]["type"] for number, _ in due} == {
        "registered",
        "applied",
        "credit_granted",
        "disbursed",
    }


def test_a_loan_is_told_again_to_the_byte() -> None:
    traffic = Traffic(ROUTES)
    told = [traffic.event(number, AT) for number in range(60 * CYCLE)]

    again = [event for number, event in enumerate(told) if told.index(event) != number]

    assert len(again) == 60 - 19
    assert {event["type"] for event in again} == {"disbursed"}


def test_a_run_is_published_below_the_mark_with_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "soak.md").write_text(f"# Soak\n\nBy hand.\n\n{MARK}\n\nAn earlier run.\n")

    made = publish(run_of(), tmp_path)

    text = (tmp_path / "soak.md").read_text()
    assert text.startswith(f"# Soak\n\nBy hand.\n\n{MARK}\n\n## The run of 2026-11-23\n")
    assert "An earlier run" not in text
    assert "rises by +1.0 MiB in a day" in text
    assert "| lost | 0 |" in text
    assert [path.name for path in made if not path.exists()] == []
    assert msgspec.json.decode((tmp_path / "pictures" / "soak.json").read_bytes(), type=Run).events == 6000
