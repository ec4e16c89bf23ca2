"""Days as an app counts them: SQL that turns a moment into the local day of an app's time zone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from lendsignal.report.tables import Tables

LOOK_BACK = timedelta(days=730)
"""So far before the youngest event days are reckoned: of older ones the engine is asked, which is slower."""

DAY_SECONDS = 86_400
DAY_US = DAY_SECONDS * 1_000_000


def local_time(tables: Tables, moment_us: str, app: str) -> str:
    """SQL of the wall clock at a moment (microseconds since 1970, UTC) in an app's zone, by default UTC.

    `moment_us` and `app` are SQL: a column, or a number.
    """
    known = "".join(
        f" when {quoted(name)} then {quoted(zone.key)}" for name, zone in sorted(tables.zones.items())
    )
    zone = f"case {app}{known} else 'UTC' end" if known else "'UTC'"
    return f"(make_timestamptz({moment_us}) at time zone {zone})"


def local_day(tables: Tables, moment_us: str, app: str) -> str:
    """SQL of the local day, as a date: an hour that daylight saving repeats or leaves out changes no day.

    Moments of the last two years are reckoned by the zone's own offset then, which is a quarter of the work.
    """
    asked = f"{local_time(tables, moment_us, app)}::date"
    if tables.as_of is None:
        return asked
    last = int(tables.as_of.timestamp()) // DAY_SECONDS * DAY_SECONDS + 2 * DAY_SECONDS
    first = last - int(LOOK_BACK.total_seconds())
    known = "".join(
        f" when {quoted(name)} then {_offset(moment_us, offsets(zone, first, last))}"
        for name, zone in sorted(tables.zones.items())
    )
    offset = f"case {app}{known} else 0 end" if known else "0"
    return (
        f"(case when {moment_us} between {first * 1_000_000} and {last * 1_000_000 - 1}"
        f" then date '1970-01-01' + (({moment_us} + {offset}) // {DAY_US})::integer else {asked} end)"
    )


def _offset(moment_us: str, spans: Sequence[tuple[int, int]]) -> str:
    *changing, (_, last) = spans
    if not changing:
        return f"{last * 1_000_000}"
    told = "".join(
        f" when {moment_us} < {until * 1_000_000} then {offset * 1_000_000}" for until, offset in changing
    )
    return f"case{told} else {last * 1_000_000} end"


@lru_cache(maxsize=256)
def offsets(zone: ZoneInfo, first: int, last: int) -> tuple[tuple[int, int], ...]:
    """What a zone adds to UTC from one moment to another: each span's end and offset, all in seconds.

    No zone changes twice within a day.
    """
    spans: list[tuple[int, int]] = []
    offset = _offset_at(zone, first)
    for day in range(first, last, DAY_SECONDS):
        after = _offset_at(zone, day + DAY_SECONDS)
        if after != offset:
            low, high = day, day + DAY_SECONDS
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset_at(zone, middle) == offset else (low, middle)
            spans.append((high, offset))
            offset = after
    return (*spans, (last, offset))


def _offset_at(zone: ZoneInfo, seconds: int) -> int:
    offset = datetime.fromtimestamp(seconds, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def quoted(text: str) -> str:
    """The text as a word of SQL."""
    return "'" + text.replace("'", "''") + "'"
