"""Is all well? Alarms, the three numbers that matter beside what was expected of them, what changed since
yesterday, where deliveries stand.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import date
from math import sqrt
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from lendsignal.console.page import Asked, Group, Page, Panel
from lendsignal.console.plot import Line, Plot
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import NotYet
from lendsignal.log import open_alerts, open_log
from lendsignal.model.member import May

if TYPE_CHECKING:  # the reports' library is loaded when the first panel asks for it
    from lendsignal.report import Tables

DAYS = 14
DAY_US = 86_400_000_000
QUARTER_US = 900_000_000
QUARTERS = 96
EPOCH = date(1970, 1, 1).toordinal()
SHOWN = 6
"""Changes of one kind that are named."""

COUNTED = """
select type, at_us // $quarter as slot, count(*) as n from counted
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

ENDED = """
select destination, what, reason, count(*) filter (answered_us >= $now - $day) as lately,
    count(*) filter (answered_us < $now - $day) as before
from delivery where what in ('dead', 'skipped') and reason <> '' and answered_us >= $now - 8 * $day
group by all having lately > 0 order by lately desc, destination, reason
"""
"""Why deliveries were not accepted in the last 24 hours, and how often so in the week before."""

FATES = ("accepted", "waiting", "held", "skipped", "cancelled", "dead")

NUMBERS = {"registered": _("registrations"), "credit_granted": _("grants"), "disbursed": _("disbursements")}

FEWEST = 5
MARGIN = 1.5
"""A reason for not sending is news where it is so many times as frequent as on a day of the week before, and
more than chance makes it: three standard deviations of a count with that mean."""


class Judged(Struct, frozen=True, kw_only=True):
    """A day's count beside what the weeks before let expect; `None`: fewer than 14 days are known."""

    day: int
    n: int
    expected: float | None = None
    low: int | None = None
    high: int | None = None

    @property
    def word(self) -> str:
        """How it stands, in a word."""
        if self.low is None or self.high is None:
            return _("young")
        return _("low") if self.n < self.low else _("high") if self.n > self.high else _("as expected")


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Alarms and what is paused are known without reckoning; the rest comes as panels."""
    paused = [one.destination for one in room.standing() if one.stopped]
    return {"alarms": _alarms(room), "paused": paused, "of": asked.get("of", *reversed(NUMBERS))}


def numbers(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Registrations, grants and disbursements: the last full day against what was expected, and the trend."""
    with room.tables() as tables:
        now_us = _now_us(tables, asked)
        today = now_us // DAY_US
        counts = _counts(tables, today)
        since = (today - DAYS) * DAY_US
        slow = dict(tables.rows(POSTING, {"day": DAY_US, "since": since}))
        as_of = tables.as_of
    days = range(today - DAYS, today)
    judged = {kind: [_judged(counts[kind], day) for day in days] for kind in NUMBERS}
    found = [
        {
            "kind": kind,
            "word": word,
            "today": sum(counts[kind].get(today, ())),
            "so_far": _so_far(counts[kind], now_us),
            "yesterday": judged[kind][-1],
            "before": judged[kind][-2].n,
            "trend": [one.n for one in judged[kind]],
        }
        for kind, word in NUMBERS.items()
    ]
    of = asked.get("of", *reversed(NUMBERS))
    times = [day * 86_400 for day in days]
    delay = Plot(
        title=asked.words("Posting delay by day, slowest tenth"),
        axis=asked.words("time from event to accepted"),
        unit="s",
        times=[*times, today * 86_400],
        series=[Line(asked.words("p90"), [slow.get(day) for day in (*days, today)])],
    )
    return {
        "numbers": found,
        "of": of,
        "volume": _volume(asked, of, times, judged[of]),
        "delay": delay,
        "as_of": as_of,
        "empty": not any(counts.values()),
    }


def changes(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What is otherwise than it was a day ago: rules in force, volumes, reasons, pauses, acts of people."""
    with room.tables() as tables:
        now_us = _now_us(tables, asked)
        since_us = now_us - DAY_US
        today = now_us // DAY_US
        counts = _counts(tables, today)
        ended = tables.rows(ENDED, {"day": DAY_US, "now": now_us})
    unusual = [
        (word, one)
        for kind, word in NUMBERS.items()
        if (one := _judged(counts[kind], today - 1)).word in ("low", "high")
    ]
    news = [
        {"destination": destination, "what": what, "reason": reason, "n": lately, "before": before / 7}
        for destination, what, reason, lately, before in ended
        if _is_news(lately, before / 7)
    ]
    acts = []
    if asked.member.may(May.GOVERN):
        with room.people() as people:
            acts = [one for one in people.done(count=50) if one.at_us >= since_us and one.about]
    stopped = [
        (one.destination, stop)
        for one in room.standing()
        for stop in one.stopped
        if stop.since_us >= since_us
    ]
    return {
        "rules": _rules(room, since_us),
        "unusual": unusual,
        "news": news[:SHOWN],
        "raised": [one for one in _alarms(room) if one.since_us >= since_us],
        "stopped": stopped,
        "acts": acts[:SHOWN],
    }


def deliveries(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Where each destination's deliveries stand: every planned one is somewhere."""
    names = ("destination", *FATES, "planned")
    with room.tables() as tables:
        rows = [dict(zip(names, each, strict=True)) for each in tables.rows(STANDS)]
    balanced = all(row["planned"] == sum(row[fate] for fate in FATES) for row in rows)
    return {"rows": rows, "fates": FATES, "balanced": balanced}


Days = Mapping[int, Sequence[int]]
"""Day since 1970 (UTC) → its counts by the quarter of an hour."""


def _counts(tables: "Tables", today: int) -> Mapping[str, Days]:
    from lendsignal.report.band import MOST_DAYS

    since = (today - DAYS - MOST_DAYS) * DAY_US
    found: dict[str, dict[int, list[int]]] = {kind: {} for kind in NUMBERS}
    for kind, slot, n in tables.rows(COUNTED, {"quarter": QUARTER_US, "since": since}):
        day, quarter = divmod(int(slot), QUARTERS)
        found[kind].setdefault(day, [0] * QUARTERS)[quarter] += int(n)
    return found


def _judged(days: Days, day: int) -> Judged:
    """A day beside what the days before it let expect, by the band of alarms."""
    from lendsignal.report.band import band, edges
    from lendsignal.report.health import BAND_CHANCE

    n, at = sum(days.get(day, ())), date.fromordinal(EPOCH + day)
    found = band({date.fromordinal(EPOCH + each): one for each, one in days.items()}, at)
    if found is None:
        return Judged(day=day, n=n)
    expected = found.level * found.weekdays[at.weekday()]
    low, high = edges(expected, found.by_day, BAND_CHANCE)
    return Judged(day=day, n=n, expected=expected, low=low, high=high)


def _so_far(days: Days, now_us: int) -> float | None:
    """What is expected of today up to now, in whole quarters of an hour."""
    from lendsignal.report.band import band

    today, quarter = now_us // DAY_US, now_us % DAY_US // QUARTER_US
    at = date.fromordinal(EPOCH + today)
    found = band({date.fromordinal(EPOCH + each): one for each, one in days.items()}, at)
    return None if found is None else sum(found.expected(at, each) for each in range(quarter))


def _is_news(lately: int, a_day: float) -> bool:
    return lately >= max(FEWEST, MARGIN * a_day) and lately > a_day + 3 * sqrt(a_day)


def _volume(asked: Asked, kind: str, times: Sequence[int], judged: Sequence[Judged]) -> Plot:
    """A number by day within its band: 998 of 1,000 ordinary days lie in it."""
    return Plot(
        title=asked.words("By day, beside what was expected"),
        axis=asked.words(NUMBERS[kind]),
        times=times,
        series=[
            Line(asked.words(NUMBERS[kind]), [one.n for one in judged]),
            Line(asked.words("expected"), [one.expected for one in judged], dashed=True),
            Line(asked.words("highest usual"), [one.high for one in judged], edge=True),
            Line(asked.words("lowest usual"), [one.low for one in judged], edge=True),
        ],
        bands=[(2, 3)] if any(one.low is not None for one in judged) else [],
    )


def _rules(room: Room, since_us: int) -> list[tuple[str, int]]:
    """Cuts and value models that came into force since then, with the moment."""
    if not room.folder.log.exists():
        return []
    try:
        with closing(open_log(room.folder.log, read_only=True)) as log:
            found = [(_("New cuts of the tiers are in force."), one.made_us) for one in log.cut_tables()]
            found += [(_("Another value model is in force."), one.made_us) for one in log.promotions()]
    except NotYet:
        return []
    return [one for one in found if one[1] >= since_us]


def _now_us(tables: "Tables", asked: Asked) -> int:
    return asked.now_us if tables.as_of is None else round(tables.as_of.timestamp() * 1e6)


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
        "numbers": Panel(template="pages/overview_numbers.html", look=numbers, fresh=True, kept=True),
        "changes": Panel(template="pages/overview_changes.html", look=changes, fresh=True),
        "deliveries": Panel(
            template="pages/overview_deliveries.html", look=deliveries, fresh=True, kept=True
        ),
    },
)
