"""Local days are those of the app's own time zone, whenever its clocks were set."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from tests.acme import event
from tests.unit.report.kept import Kept
from tests.unit.report.world import APPS, policy

from lendsignal.plan import PolicySource
from lendsignal.report.days import local_day, offsets

ZONES = (
    "Africa/Lagos",
    "Africa/Casablanca",
    "America/Mexico_City",
    "America/Santiago",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Berlin",
)
"""With and without daylight saving, by half an hour, backwards in Ramadan, and with odd quarters."""


def zoned(zone: str) -> PolicySource:
    """Both apps live in that zone."""
    made = policy()
    apps = {name: msgspec.structs.replace(app, timezone=zone) for name, app in APPS.items()}
    return msgspec.structs.replace(made, derive=msgspec.structs.replace(made.derive, apps=apps))


def seconds(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


@pytest.mark.parametrize("zone", ZONES)
def test_the_day_of_a_moment_is_the_one_that_its_zone_tells(tmp_path: Path, zone: str) -> None:
    kept = Kept(tmp_path / "data", zoned(zone)).tell(event("applied", 0, application_id="A1"))
    known = ZoneInfo(zone)
    around = [until + by for until, _ in offsets(known, seconds(2024), seconds(2026, 3)) for by in (-1, 0, 1)]
    # Every few hours of four years, of which the first are older than what is reckoned.
    moments = [*around, *range(seconds(2022), seconds(2026, 4), 17_001)]
    with kept.tables() as tables:
        day = local_day(tables, "at_us", "'acme-ios'")
        found = tables.rows(
            f"select at_us, {day} from (select unnest($moments) as at_us)",
            {"moments": [moment * 1_000_000 for moment in moments]},
        )

    assert len(found) == len(moments)
    for at_us, reckoned in found:
        own = datetime.fromtimestamp(at_us // 1_000_000, UTC).astimezone(known).date()
        assert (at_us, reckoned) == (at_us, own)


def test_a_day_nobody_knows_is_none_and_an_app_nobody_knows_lives_by_utc(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data", zoned("Asia/Kathmandu")).tell(event("applied", 0, application_id="A1"))
    late = seconds(2026, 3, 9) * 1_000_000 - 1
    with kept.tables() as tables:
        ((nothing, elsewhere, there),) = tables.rows(
            f"select {local_day(tables, 'null::bigint', 'null')}, {local_day(tables, str(late), repr('?'))},"
            f" {local_day(tables, str(late), repr('acme-ios'))}"
        )

    assert nothing is None
    assert (str(elsewhere), str(there)) == ("2026-03-08", "2026-03-09")


def test_berlins_clocks_are_set_twice_a_year_at_one_oclock_utc() -> None:
    # https://www.ptb.de: the last Sundays of March and October, 01:00 UTC (29 March and 25 October 2026).
    spring, autumn = seconds(2026, 3, 29) + 3_600, seconds(2026, 10, 25) + 3_600

    assert offsets(ZoneInfo("Europe/Berlin"), seconds(2026), seconds(2027)) == (
        (spring, 3_600),
        (autumn, 7_200),
        (seconds(2027), 3_600),
    )
