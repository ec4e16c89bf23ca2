"""Is all well? Alarms, the three numbers that matter and their trend, where deliveries stand."""

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from lendsignal.console.page import Asked, Group, Page, Panel
from lendsignal.console.plot import Line, Plot
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.deliver.giving import standing
from lendsignal.log import open_alerts

if TYPE_CHECKING:
    from lendsignal.report import Tables

DAYS = 14
DAY_US = 86_400_000_000

DAILY = """
select (at_us // $day)::bigint as day, type, count(*) as n from counted
where type in ('registered', 'credit_granted', 'disbursed') and not test and not reversed and not superseded
    and at_us >= $since group by all
"""

POSTING = """
select (answered_us // $day)::bigint as day,
    approx_quantile((answered_us - at_us) / 1e6, 0.9) as slow from delivery
where what = 'accepted' and answered_us >= $since group by all
"""

STANDS = """
select destination, count(*) filter (what = 'accepted') as accepted,
    count(*) filter (what in ('waiting', 'claimed', 'pending', 'planned')) as waiting,
    count(*) filter (what = 'held') as held, count(*) filter (what = 'skipped') as skipped,
    count(*) filter (what = 'cancelled') as cancelled, count(*) filter (what = 'dead') as dead,
    count(*) as planned
from delivery group by all order by destination
"""

FATES = ("accepted", "waiting", "held", "skipped", "cancelled", "dead")

NUMBERS = {"registered": _("registrations"), "credit_granted": _("grants"), "disbursed": _("disbursements")}


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Alarms and what is paused are known without reckoning; the rest comes as panels."""
    paused = [one.destination for one in standing(room.folder, room.config.outlets) if one.stopped]
    return {"alarms": _alarms(room), "paused": paused}


def numbers(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Registrations, grants and disbursements: the last full day against the one before, and the trend."""
    with room.tables() as tables:
        today = _today(tables, asked)
        days = range(today - DAYS, today + 1)
        counted = {
            (int(day), kind): int(n)
            for day, kind, n in tables.rows(DAILY, {"day": DAY_US, "since": days[0] * DAY_US})
        }
        slow = dict(tables.rows(POSTING, {"day": DAY_US, "since": days[0] * DAY_US}))
        as_of = tables.as_of
    found = [
        {
            "word": word,
            "today": counted.get((today, kind), 0),
            "yesterday": counted.get((today - 1, kind), 0),
            "before": counted.get((today - 2, kind), 0),
        }
        for kind, word in NUMBERS.items()
    ]
    times = [day * 86_400 for day in days]
    trend = Plot(
        title=asked.words("Events by day"),
        axis=asked.words("events"),
        times=times,
        series=[
            Line(asked.words(word), [counted.get((day, kind), 0) for day in days])
            for kind, word in NUMBERS.items()
        ],
    )
    delay = Plot(
        title=asked.words("Posting delay by day, slowest tenth"),
        axis=asked.words("time from event to accepted"),
        unit="s",
        times=times,
        series=[Line(asked.words("p90"), [slow.get(day) for day in days])],
    )
    return {"numbers": found, "trend": trend, "delay": delay, "as_of": as_of, "empty": not counted}


def deliveries(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Where each destination's deliveries stand: every planned one is somewhere."""
    names = ("destination", *FATES, "planned")
    with room.tables() as tables:
        rows = [dict(zip(names, each, strict=True)) for each in tables.rows(STANDS)]
    balanced = all(row["planned"] == sum(row[fate] for fate in FATES) for row in rows)
    return {"rows": rows, "fates": FATES, "balanced": balanced}


def _today(tables: "Tables", asked: Asked) -> int:
    return (asked.now_us if tables.as_of is None else round(tables.as_of.timestamp() * 1e6)) // DAY_US


def _alarms(room: Room) -> list[Any]:
    if not room.folder.alerts.exists():
        return []
    with closing(open_alerts(room.folder.alerts, read_only=True)) as alerts:
        return alerts.raised()


PAGE = Page(
    path="/",
    title=_("Overview"),
    template="pages/overview.html",
    look=look,
    group=Group.TODAY,
    place=1,
    panels={
        "numbers": Panel(template="pages/overview_numbers.html", look=numbers, fresh=True),
        "deliveries": Panel(template="pages/overview_deliveries.html", look=deliveries, fresh=True),
    },
)
