"""Whether the service does what it is for: volume against its band, silence, delay, and whatever stopped.

`volume` judges one count; `alarms` turns everything that is known into alarms, most urgent first. A count
alarms only where it is both rarer than `CHANCE` and worth a person's time: less than half, or more than three
times what is expected. Where so little is expected that nothing at all would not be rare, it is thin: that
is said, and never an alarm. Only whole quarters of an hour are judged.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from lendsignal.clock import from_us
from lendsignal.model.alarm import AlarmKind
from lendsignal.report.band import QUARTERS, Band, at_least, at_most, band, edges, none_at_all
from lendsignal.report.layout import SECONDS, Cell, Report, Table, columns, table

SLOT_US = 900_000_000
"""Counts are kept by the quarter of an hour: no time zone's hour begins within one."""

DAY_US = 86_400_000_000
WEEK_US = 7 * DAY_US
"""How far back silence is followed."""

HOUR_SLOTS = 4
DAY_SLOTS = 96

CHANCE = 1e-6
"""How rare a count must be to alarm: a series has 96 quarters of an hour a day, and there are dozens."""

LITTLE, MUCH = 0.5, 3.0
"""Shares of what is expected between which nobody is woken, however sure the arithmetic is. The upper one is
that of the brake on volume: a backlog on a Monday morning doubles an hour and is no trouble."""

HIGH_FROM = 30
"""A count below this is never too high."""

BAND_CHANCE = 1e-3
"""How rare counts outside of a shown band are, on each side."""

FEWEST_DELAYS = 30
FEWEST_DEAD = 10
DEAD_SHARE = 0.05
"""Of the deliveries of one destination that ended within a day, the share of dead ones that is alarming."""

DISK_FULL_BELOW = 1_000_000_000
DISK_LOW_BELOW = 5_000_000_000

SILENT_FEED_US = DAY_US
"""A feed that was told nothing for so long has stopped: a lender with ads has installs every day."""

DELAY_BOUNDS = (60, 300, 900, 1_800, 3_600, 7_200, 10_800, 14_400, 21_600, 43_200, 86_400, 259_200)
"""Upper ends of the bins in which delays are counted, in seconds; the last bin has none."""

Severity = Literal["critical", "warning"]
What = Literal["event", "accepted"]
Verdict = Literal["as expected", "young", "thin", "silent", "low", "high"]


class Series(Struct, frozen=True, kw_only=True):
    """One count: events of a type (`name`) of an app (`scope`), or accepted deliveries of a conversion
    (`name`) at a destination (`scope`).

    `slots`: quarter of an hour since 1970 → count, for as long as it is known. `steady_from_us`: from when
    on nobody missed a look, so that what came then came when it was counted. `pause`: how long it may be
    quiet by its own schedule.
    """

    what: What
    name: str
    scope: str
    timezone: str
    slots: Mapping[int, int]
    steady_from_us: int = 0
    pause: timedelta = timedelta(0)

    @property
    def words(self) -> str:
        """That for people."""
        return (
            f"{self.name} events of {self.scope}" if self.what == "event" else f"{self.name} at {self.scope}"
        )


class Volume(Struct, frozen=True, kw_only=True):
    """How one series stands. Expected counts are `None` while too few days are known.

    `spread` is the dispersion of an hour's counts; `quiet_us` is how long nothing came, to the quarter of an
    hour, and a week at most.
    """

    series: Series
    verdict: Verdict
    hour: int
    day: int
    quiet_us: int
    expected_hour: float | None = None
    expected_day: float | None = None
    spread: float | None = None
    days: int = 0

    def band(self) -> tuple[int, int] | None:
        """Between which counts 998 of 1,000 ordinary hours lie."""
        if self.expected_hour is None or self.spread is None:
            return None
        return edges(self.expected_hour, self.spread, BAND_CHANCE)


class DelayOf(Struct, frozen=True, kw_only=True):
    """How long a stage took within the last day: `bins` are counts by `DELAY_BOUNDS`."""

    stage: Literal["arrival", "queue"]
    name: str
    bins: Sequence[int]

    @property
    def n(self) -> int:
        return sum(self.bins)

    def p90_seconds(self) -> float:
        """The ninetieth percentile, by a straight line within its bin; of the open last bin its beginning."""
        rank, before = 0.9 * self.n, 0.0
        for place, n in enumerate(self.bins):
            if before + n >= rank and n:
                low = DELAY_BOUNDS[place - 1] if place else 0
                if place == len(DELAY_BOUNDS):
                    return float(low)
                return low + (DELAY_BOUNDS[place] - low) * (rank - before) / n
            before += n
        return 0.0


class Ended(Struct, frozen=True, kw_only=True):
    """What became of a destination's deliveries within the last day."""

    destination: str
    accepted: int
    dead: int


class Halted(Struct, frozen=True, kw_only=True):
    """A destination (`*`: all of them) that sends nothing; `by` is platform, brake or person."""

    destination: str
    by: str
    reason: str
    since_us: int


class Ending(Struct, frozen=True, kw_only=True):
    """A destination's token that ends soon, or has ended; `said` is a sentence."""

    destination: str
    said: str
    has_ended: bool


class Fetched(Struct, frozen=True, kw_only=True):
    """Something that tells us by itself, and has not since then; `trouble` is why, where that is known."""

    name: str
    since_us: int
    trouble: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """Everything that health is judged by, at the moment `now_us` (microseconds since 1970)."""

    now_us: int
    volumes: Sequence[Volume] = ()
    delays: Sequence[DelayOf] = ()
    ended: Sequence[Ended] = ()
    halted: Sequence[Halted] = ()
    endings: Sequence[Ending] = ()
    quarantined: int = 0
    quarantine_alarming: bool = False
    pulls: Sequence[Fetched] = ()
    feeds: Sequence[Fetched] = ()
    sender: str | None = None
    disk_free: int | None = None
    reconciled: tuple[str, int] | None = None
    """What the last reconciliation that was to alarm found beyond its limits, and when."""


class Alarm(Struct, frozen=True, kw_only=True):
    """Something that a person should know: `key` is the same for as long as it is the same trouble.

    `said` is one sentence, `do` what to look at or type. Neither holds anything of a person or a secret.
    """

    key: str
    kind: AlarmKind
    severity: Severity
    said: str
    do: str


class Health(Report, frozen=True, kw_only=True):
    """`healthy`: no alarm. `volumes` shows every series beside its band, `delays` the slow stages by name."""

    healthy: bool
    alarms: Table
    volumes: Table
    delays: Table


def by_day(slots: Mapping[int, int], timezone: str) -> dict[date, list[int]]:
    """Counts by local day and quarter of the clock's hours: an hour that is repeated counts twice over."""
    found: dict[date, list[int]] = {}
    for slot, n in slots.items():
        day, quarter = _local(slot, timezone)
        found.setdefault(day, [0] * QUARTERS)[quarter] += n
    return found


def learnt(series: Series, now_us: int) -> Band | None:
    """What the days before today, as the series' time zone has it, let expect.

    Of a series that fell silent, the days before it did: it is not forgotten that there was something.
    """
    days = by_day(series.slots, series.timezone)
    days.pop(min(days, default=date.min), None)  # counting began, or is remembered, from its middle on
    today = from_us(now_us).astimezone(ZoneInfo(series.timezone)).date()
    return band(days, min(today, max((day for day, counts in days.items() if any(counts)), default=today)))


def volume(series: Series, known: Band | None, now_us: int) -> Volume:
    """How a series stands at a moment beside what is expected of it."""
    slot = now_us // SLOT_US
    slots = series.slots
    hour = sum(slots.get(slot - n, 0) for n in range(1, HOUR_SLOTS + 1))
    day = sum(slots.get(slot - n, 0) for n in range(1, DAY_SLOTS + 1))
    last = max((one for one, n in slots.items() if n), default=None)
    quiet_us = WEEK_US if last is None else max(0, min(now_us - (last + 1) * SLOT_US, WEEK_US))
    if known is None:
        return Volume(series=series, verdict="young", hour=hour, day=day, quiet_us=quiet_us)

    def expected(first: int, behind: int) -> float:
        return sum(known.expected(*_local(one, series.timezone)) for one in range(first, behind))

    expected_hour, expected_day = expected(slot - HOUR_SLOTS, slot), expected(slot - DAY_SLOTS, slot)
    missed = expected(slot - quiet_us // SLOT_US, slot)
    spans = [
        (hour, expected_hour, known.by_hour, HOUR_SLOTS),
        (day, expected_day, known.by_day, DAY_SLOTS),
    ]
    pause = series.pause // timedelta(microseconds=SLOT_US)
    spans = [one for one in spans if one[3] > 2 * pause]
    verdict: Verdict = "as expected"
    if quiet_us > series.pause // timedelta(microseconds=1) and none_at_all(missed, known.by_hour) < CHANCE:
        verdict = "silent"
    elif any(
        seen < LITTLE * mean and at_most(seen, mean, spread) < CHANCE for seen, mean, spread, _ in spans
    ):
        verdict = "low"
    elif any(
        seen >= HIGH_FROM
        and seen > MUCH * mean
        and at_least(seen, mean, spread) < CHANCE
        and (slot - length) * SLOT_US >= series.steady_from_us
        for seen, mean, spread, length in spans
    ):
        verdict = "high"
    elif none_at_all(expected_day, known.by_day) >= CHANCE:
        verdict = "thin"
    return Volume(
        series=series,
        verdict=verdict,
        hour=hour,
        day=day,
        quiet_us=quiet_us,
        expected_hour=expected_hour,
        expected_day=expected_day,
        spread=known.by_hour,
        days=known.days,
    )


def alarms(facts: Facts, delay_limit: timedelta = timedelta(hours=3)) -> list[Alarm]:
    """Everything that a person should know, critical ones first, else in the order of their keys.

    What follows from another alarm is not said beside it: one app whose events all fell silent is one alarm,
    and neither it nor a paused destination makes further ones of what is then not delivered.
    """
    found = [*_volume_alarms(facts), *_delay_alarms(facts, delay_limit), *_stops(facts), *_rest(facts)]
    return sorted(found, key=lambda one: (one.severity != "critical", one.key))


def health(facts: Facts, delay_limit: timedelta = timedelta(hours=3)) -> Health:
    """The alarms of this moment, and what they were judged by."""
    raised = alarms(facts, delay_limit)
    return Health(
        title="Health",
        as_of=from_us(facts.now_us),
        healthy=not raised,
        alarms=table(
            "Alarms",
            columns("severity kind said do"),
            [(one.severity, one.kind, one.said, one.do) for one in raised],
        ),
        volumes=table(
            "Volume beside what is expected",
            columns(
                "what scope name hour expected_hour low high day expected_day quiet days verdict",
                quiet=SECONDS,
            ),
            [_row(one) for one in facts.volumes],
            "hour: the last full hour, day: the last 24 hours, to the quarter of an hour."
            "\nexpected: by time and weekday of the app's time zone, from up to eight weeks; low to high: of"
            "\na thousand ordinary hours one lies below it, and one above. quiet: since the last one."
            "\nyoung: fewer than 14 days are known. thin: so few that even none in a day would not be rare.",
        ),
        delays=table(
            "Delay of the last 24 hours",
            columns("stage name n p90 remark", p90=SECONDS),
            [
                (one.stage, one.name, one.n, one.p90_seconds(), "thin" if one.n < FEWEST_DELAYS else "")
                for one in facts.delays
            ],
            "arrival: from the event to us, by app. queue: from when it could be sent to the first try, by"
            "\ndestination. p90 is found within bins, from a minute to three days.",
        ),
    )


def bin_of(seconds: float) -> int:
    """The place of a delay among `DELAY_BOUNDS`."""
    return next((place for place, bound in enumerate(DELAY_BOUNDS) if seconds <= bound), len(DELAY_BOUNDS))


@lru_cache(maxsize=20_000)  # several series of one zone are looked at over the same quarters
def _local(slot: int, timezone: str) -> tuple[date, int]:
    at = datetime.fromtimestamp(slot * SLOT_US / 1_000_000, UTC).astimezone(ZoneInfo(timezone))
    return at.date(), at.hour * 4 + at.minute // 15


def _row(one: Volume) -> tuple[Cell, ...]:
    low, high = one.band() or (None, None)
    return (
        one.series.what,
        one.series.scope,
        one.series.name,
        one.hour,
        one.expected_hour,
        low,
        high,
        one.day,
        one.expected_day,
        one.quiet_us / 1e6,
        one.days,
        one.verdict,
    )


def _volume_alarms(facts: Facts) -> list[Alarm]:
    stopped = {one.destination for one in facts.halted}
    found: list[Alarm] = []
    groups: dict[tuple[str, str], list[Volume]] = {}
    for one in facts.volumes:
        groups.setdefault((one.series.what, one.series.scope), []).append(one)
    dry = {scope for (what, scope), ones in groups.items() if what == "event" and _all_silent(ones)}
    whole_dry = bool(dry) and dry == {scope for what, scope in groups if what == "event"}
    for (what, scope), ones in groups.items():
        if what == "accepted" and (whole_dry or not stopped.isdisjoint((scope, "*"))):
            continue
        if len(ones) > 1 and _all_silent(ones):
            found.append(_silent_whole(what, scope, ones))
            continue
        found += [alarm for one in ones if (alarm := _of_volume(one)) is not None]
    return found


def _all_silent(ones: Sequence[Volume]) -> bool:
    """Whether one of them is missed, and nothing of any other came since it fell silent."""
    missed = [one.quiet_us for one in ones if one.verdict == "silent"]
    return bool(missed) and all(one.quiet_us >= min(missed) for one in ones)


def _silent_whole(what: str, scope: str, ones: Sequence[Volume]) -> Alarm:
    quiet = min(one.quiet_us for one in ones if one.verdict == "silent")
    if what == "event":
        said = f"no event of {scope} has come in for {span(quiet)}"
        do = "see whether the back end still sends: lendsignal status; lendsignal quarantine list"
    else:
        said = f"{scope} has taken nothing for {span(quiet)}"
        do = "lendsignal status; lendsignal report delivery"
    return Alarm(key=f"silent {what} {scope}", kind="silent", severity="critical", said=said, do=do)


def _of_volume(one: Volume) -> Alarm | None:
    series, key = one.series, f"{one.series.what} {one.series.scope} {one.series.name}"
    do = "lendsignal quarantine list" if series.what == "event" else "lendsignal report delivery"
    match one.verdict:
        case "silent":
            said = f"none of {series.words} for {span(one.quiet_us)}; {_usual(one)}"
            return Alarm(key=f"silent {key}", kind="silent", severity="critical", said=said, do=do)
        case "low":
            said = f"few of {series.words}: {_counts(one)}"
            return Alarm(key=f"volume_low {key}", kind="volume_low", severity="warning", said=said, do=do)
        case "high":
            said = f"many of {series.words}: {_counts(one)}"
            return Alarm(key=f"volume_high {key}", kind="volume_high", severity="warning", said=said, do=do)
        case "as expected" | "young" | "thin":
            return None


def _usual(one: Volume) -> str:
    return f"some {one.expected_hour or 0:,.0f} an hour are usual now"


def _counts(one: Volume) -> str:
    return (
        f"{one.hour:,} in the last hour where some {one.expected_hour or 0:,.0f} are usual, "
        f"{one.day:,} in 24 hours where some {one.expected_day or 0:,.0f} are"
    )


def _delay_alarms(facts: Facts, limit: timedelta) -> list[Alarm]:
    found = []
    for one in facts.delays:
        if one.n < FEWEST_DELAYS or one.p90_seconds() <= limit.total_seconds():
            continue
        took = span(int(one.p90_seconds() * 1_000_000))
        if one.stage == "arrival":
            said = f"a tenth of the events of {one.name} reached us {took} or more after they happened"
            do = "see what holds the back end's sending up: lendsignal report delay"
        else:
            said = f"a tenth of what {one.name} took had waited here for {took} or more"
            do = "lendsignal status; lendsignal report delay"
        key = f"delay {one.stage} {one.name}"
        found.append(Alarm(key=key, kind="delay", severity="warning", said=f"{one.stage}: {said}", do=do))
    return found


def _stops(facts: Facts) -> list[Alarm]:
    found = []
    for halt in facts.halted:
        name = "everything" if halt.destination == "*" else halt.destination
        words = "--all" if halt.destination == "*" else halt.destination
        # Whoever stopped it himself knows; it is said all the same, for it is easily forgotten.
        severity: Severity = "warning" if halt.by == "person" else "critical"
        found.append(
            Alarm(
                key=f"paused {halt.destination}",
                kind="paused",
                severity=severity,
                said=f"{name} is paused by {halt.by}: {halt.reason}",
                do=f"lendsignal status; then: lendsignal resume {words}",
            )
        )
    for one in facts.ended:
        whole = one.accepted + one.dead
        if one.dead >= FEWEST_DEAD and one.dead >= DEAD_SHARE * whole:
            said = f"{one.dead:,} of {whole:,} deliveries to {one.destination} died within a day"
            do = f"lendsignal dead list --destination {one.destination}"
            found.append(
                Alarm(key=f"dead {one.destination}", kind="dead", severity="warning", said=said, do=do)
            )
    return found


def _rest(facts: Facts) -> list[Alarm]:
    found = [
        Alarm(
            key=f"token_ends {one.destination}",
            kind="token_ends",
            severity="critical" if one.has_ended else "warning",
            said=one.said,
            do="renew it: docs/how-to/watch-tokens.md",
        )
        for one in facts.endings
    ]
    if facts.sender is not None:
        found.append(
            Alarm(key="sender", kind="sender", severity="critical", said=facts.sender, do="lendsignal doctor")
        )
    if facts.quarantine_alarming:
        said = f"{facts.quarantined:,} events of the last day wait in quarantine"
        found.append(
            Alarm(
                key="quarantine",
                kind="quarantine",
                severity="warning",
                said=said,
                do="lendsignal quarantine list",
            )
        )
    silent: Sequence[tuple[AlarmKind, str, Sequence[Fetched]]] = (
        ("pull_silent", "pull", facts.pulls),
        ("feed_silent", "feed", facts.feeds),
    )
    for kind, noun, ones in silent:
        for one in ones:
            quiet = span(facts.now_us - one.since_us)
            why = f": {one.trouble}" if one.trouble else ""
            found.append(
                Alarm(
                    key=f"{kind} {one.name}",
                    kind=kind,
                    severity="warning",
                    said=f"the {noun} {one.name} has brought nothing for {quiet}{why}",
                    do="lendsignal doctor",
                )
            )
    if facts.reconciled is not None:
        differs, at_us = facts.reconciled
        at = f"{from_us(at_us):%Y-%m-%d %H:%M} UTC"
        found.append(
            Alarm(
                key="reconcile",
                kind="reconcile",
                severity="warning",
                said=f"the ledgers differ beyond their limits: {differs} (reconciled {at})",
                do="lendsignal report reconcile: docs/how-to/reconcile-ledgers.md",
            )
        )
    free = facts.disk_free
    if free is not None and free < DISK_LOW_BELOW:
        found.append(
            Alarm(
                key="disk",
                kind="disk",
                severity="critical" if free < DISK_FULL_BELOW else "warning",
                said=f"{free / 1e9:,.1f} GB are free where the data folder is",
                do="make room: with a full disk the door answers 503 and nothing is sent",
            )
        )
    return found


def span(us: int) -> str:
    """A span of time for people, in its two largest units at most."""
    minutes = max(0, us) // 60_000_000
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days} d" + (f" {hours} h" if hours else "")
