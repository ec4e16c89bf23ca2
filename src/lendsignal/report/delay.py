"""How long it takes until a platform knows: the lender's decision, and the posting, apart and by cause.

Decision delay runs from `applied` to the event that answers it; posting delay from an event to the answer
with which the platform accepted it. Neither says anything about the other.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias

from lendsignal.clock import MICROSECOND, from_us
from lendsignal.report.days import DAY_US, local_day, quoted
from lendsignal.report.layout import SECONDS, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import EVERYTHING, Slice, sent_facts
from lendsignal.report.tables import Tables

DECISION_STAGES = ("waiting", "review", "phone_check", "other", "whole")
POSTING_STAGES = ("arrival", "pen", "settle", "queue", "platform", "whole")

CLICK_WINDOWS = (1, 7, 30)
"""Days from an install or a return within which ad accounts can be set to count what follows."""

LATE = ("window_closed", "too_old")
"""Reasons of deliveries that were not taken because their window had closed."""

OF_DECISION = (
    "c.decided, c.name as conversion, coalesce(nullif(c.app, ''), c.event_app) as of_app, c.applied_us,"
    " c.decided_us as at_us, c.installation, c.waiting, c.review, c.phone_check, c.other,"
    " c.decided_us - c.applied_us as whole"
)
"""What of a decision is counted: each is told under every conversion that its event made."""

OF_POSTING = (
    "c.destination, c.conversion, c.app as of_app, c.at_us, c.answered_us, c.applied_us, c.arrival, c.pen,"
    " c.settle, c.queue, c.platform, c.arrival + c.pen + c.settle + c.queue + c.platform as whole"
)
"""What of an accepted delivery is counted."""

COMING = """
with coming as (
    select installation, at_us, channel from attribution where installation is not null and at_us > 0
), again as (
    select installation from coming group by installation having count(*) > 1
), decided as (
    select * from decision_fact where installation is not null
), near as (  -- most installations came once: only those that came again are sorted
    select d.*, c.at_us as came_us, c.channel
    from (select * from decided anti join again using (installation)) d
    join coming c on c.installation = d.installation and d.at_us >= c.at_us
    union all
    select d.*, c.at_us as came_us, c.channel
    from (select * from decided semi join again using (installation)) d
    asof join coming c on c.installation = d.installation and d.at_us >= c.at_us
)
select part, channel, conversion, count(*), {counts} from near group by all order by all
"""


class Window(Protocol):
    """What says until when a platform takes an event: `destination.Spec` does."""

    def closes_at(self, occurred_at: datetime) -> datetime: ...

    @property
    def window_closes(self) -> Any: ...

    @property
    def max_age(self) -> timedelta: ...


class Delay(Report, frozen=True, kw_only=True):
    """`decision` and `posting` by cause; `days` says what came on the same day and inside the platform's
    window; `proxy` what an event at the application would have gained; `windows` the same by channel."""

    decision: Table
    posting: Table
    days: Table
    proxy: Table
    windows: Table


def delay(tables: Tables, windows: Mapping[str, Window] | None = None, one: Slice = EVERYTHING) -> Delay:
    """Both delays, over everything that the log still holds, or of a slice of its conversions.

    `windows` has each destination's own, by name; without it nothing is said of windows. Days are those of
    the app that the conversion is bound to. Events known by their day alone have no hour: they are left out
    of the decision delay and counted in the notes. Raises `InputError` where the slice names what there is
    not.
    """
    one.beside("the report", "conversion")
    told = "c.record is not null and not c.test"
    sent_facts(tables, one, into="decision_fact", of="decision", only=told, app=False, beside=OF_DECISION)
    accepted = "c.what = 'accepted'"
    sent_facts(tables, one, into="posted", of="posting", only=accepted, app=False, beside=OF_POSTING)
    names = " ".join(one.names)
    return Delay(
        title=", ".join(filter(None, ("Delay", one.words))),
        as_of=tables.as_of,
        decision=_decision(tables, names),
        posting=_posting(tables, names),
        days=_days(tables, windows or {}, names, _late(tables, one)),
        proxy=_proxy(tables, names),
        windows=_windows(tables, names),
        notes=_notes(tables),
    )


def _decision(tables: Tables, names: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    parts = ", ".join(
        f"sum({stage}), count(*) filter ({gone}),"
        f" quantile_cont({stage} / 1e6, [0.5, 0.9, 0.99]) filter ({gone})"
        for stage in DECISION_STAGES
        for gone in ["true" if stage == "whole" else f"{stage} > 0"]
    )
    for part, conversion, n, *found in tables.rows(
        f"select part, conversion, count(*), {parts} from decision_fact"
        " group by all order by part, conversion"
    ):
        whole = found[-3]
        for place, stage in enumerate(DECISION_STAGES):
            total, through, quantiles = found[3 * place : 3 * place + 3]
            share = float(total / whole) if whole else None
            mean = float(total) / n / 1e6
            rows.append(
                (
                    *part,
                    conversion,
                    stage,
                    through,
                    through / n,
                    *_three(quantiles),
                    mean,
                    share,
                    _thin(through),
                )
            )
    return table(
        "Decision delay: from the application to the event",
        columns(
            f"{names} conversion stage conversions share_of_conversions p50 p90 p99 mean"
            " share_of_delay remark",
            share_of_conversions=SHARE,
            mean=SECONDS,
            share_of_delay=SHARE,
            p50=SECONDS,
            p90=SECONDS,
            p99=SECONDS,
        ),
        rows,
        "p50, p90, p99: of those that spent time in the stage. mean: over all; the parts add up to the whole."
        "\nwaiting: until a person first looks at it. While a phone check runs, the time is its own,"
        "\nalso inside a review. other: the rest."
        f"\nthin: fewer than {THIN}.",
    )


def _posting(tables: Tables, names: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    parts = ", ".join(
        f"quantile_cont({stage} / 1e6, [0.5, 0.9, 0.99]), sum({stage})" for stage in POSTING_STAGES
    )
    for part, destination, conversion, n, *found in tables.rows(
        f"select part, destination, conversion, count(*), {parts} from posted"
        " group by all order by part, destination, conversion"
    ):
        whole = found[-1]
        for place, stage in enumerate(POSTING_STAGES):
            quantiles, total = found[2 * place : 2 * place + 2]
            share = float(total / whole) if whole else None
            mean = float(total) / n / 1e6
            rows.append((*part, destination, conversion, stage, n, *quantiles, mean, share, _thin(n)))
    return table(
        "Posting delay: from the event to the platform's yes",
        columns(
            f"{names} destination conversion stage accepted p50 p90 p99 mean share_of_delay remark",
            mean=SECONDS,
            share_of_delay=SHARE,
            p50=SECONDS,
            p90=SECONDS,
            p99=SECONDS,
        ),
        rows,
        "arrival: until the event reached us. pen: until a login showed a device. settle: the wait for the"
        "\nphone's own login. queue: until the first try. platform: from the first try to the yes, further"
        "\ntries included. Means add up to the whole; quantiles do not.",
    )


_Key: TypeAlias = tuple[tuple[str, ...], str, str]
"""A part of the slice, a destination and a conversion."""


def _late(tables: Tables, one: Slice) -> dict[_Key, int]:
    """Deliveries that were not taken because their window had closed."""
    held = f"c.what in ('dead', 'skipped') and c.reason in ({', '.join(map(quoted, LATE))})"
    late = "c.destination, c.conversion"
    sent_facts(tables, one, into="late_fact", of="posting", only=held, app=False, beside=late)
    return {
        (tuple(part), destination, conversion): n
        for part, destination, conversion, n in tables.rows(
            "select part, destination, conversion, count(*) from late_fact group by all"
        )
    }


def _days(tables: Tables, windows: Mapping[str, Window], names: str, late: Mapping[_Key, int]) -> Table:
    inside = _inside(tables, windows)
    event_day, answer_day, applied_day = (
        local_day(tables, f"p.{moment}", "p.of_app") for moment in ("at_us", "answered_us", "applied_us")
    )
    rows: list[tuple[Cell, ...]] = []
    for part, destination, conversion, n, same, asked, same_as_asked in tables.rows(
        f"select p.part, p.destination, p.conversion, count(*), count(*) filter ({event_day} = {answer_day}),"
        f" count(p.applied_us), count(*) filter ({applied_day} = {answer_day}) from posted p"
        " group by all order by 1, 2, 3"
    ):
        key = tuple(part), destination, conversion
        rate, whole = Rate(same, n), Rate(same_as_asked, asked)
        window = Rate(inside.get(key, 0), n + late.get(key, 0)) if destination in windows else None
        rows.append(
            (
                *part,
                destination,
                conversion,
                n,
                same,
                rate.value,
                rate.low,
                rate.high,
                asked,
                whole.value,
                None if window is None else window.hits,
                None if window is None else window.n - window.hits,
                None if window is None else window.value,
                rate.remark,
            )
        )
    return table(
        "Same day, and inside the platform's window",
        columns(
            f"{names} destination conversion accepted same_day same_day_share low high with_application"
            " day_of_application_share in_window too_late in_window_share remark",
            same_day_share=SHARE,
            low=SHARE,
            high=SHARE,
            day_of_application_share=SHARE,
            in_window_share=SHARE,
        ),
        rows,
        "same_day: accepted on the event's own day in the app's time zone; day_of_application_share: on the"
        "\nday of the application. too_late: accepted after the platform's window, or not taken because it"
        "\nhad closed.",
    )


def _inside(tables: Tables, windows: Mapping[str, Window]) -> dict[_Key, int]:
    """How many accepted deliveries came before their platform's window closed."""
    found: dict[_Key, int] = {}
    for destination, window in windows.items():
        if window.window_closes is None:
            for part, conversion, n in tables.rows(
                "select part, conversion, count(*) from posted where destination = $to"
                " and answered_us - at_us < $span group by all",
                {"to": destination, "span": window.max_age // MICROSECOND},
            ):
                found[tuple(part), destination, conversion] = n
            continue
        for part, conversion, at_us, answered_us in tables.rows(
            "select part, conversion, at_us, answered_us from posted where destination = $to",
            {"to": destination},
        ):
            if from_us(answered_us) < window.closes_at(from_us(at_us)):
                key = tuple(part), destination, conversion
                found[key] = found.get(key, 0) + 1
    return found


def _proxy(tables: Tables, names: str) -> Table:
    later = f"{local_day(tables, 'applied_us', 'of_app')} < {local_day(tables, 'at_us', 'of_app')}"
    rows: list[tuple[Cell, ...]] = []
    for part, conversion, n, late, quantiles, by_people, whole in tables.rows(
        f"with one as (select *, {later} as later from decision_fact)"
        " select part, conversion, count(*), count(*) filter (later),"
        " quantile_cont(whole / 1e6, [0.5, 0.9]) filter (later),"
        " sum(waiting + review + phone_check) filter (later), sum(whole) filter (later)"
        " from one group by all order by part, conversion"
    ):
        rate = Rate(late, n)
        rows.append(
            (
                *part,
                conversion,
                n,
                late,
                rate.value,
                rate.low,
                rate.high,
                *(quantiles or (None, None)),
                float(by_people / whole) if whole else None,
                rate.remark,
            )
        )
    return table(
        "What an early proxy would gain",
        columns(
            f"{names} conversion conversions later later_share low high earlier_p50 earlier_p90"
            " by_people remark",
            later_share=SHARE,
            low=SHARE,
            high=SHARE,
            earlier_p50=SECONDS,
            earlier_p90=SECONDS,
            by_people=SHARE,
        ),
        rows,
        "later: decided on a later day than the application's, in the app's time zone; a conversion sent at"
        "\nthe application would be on the day, and earlier by this. by_people: the part of that time that"
        "\nwas review or phone check, or the wait for them.",
    )


def _windows(tables: Tables, names: str) -> Table:
    """By the channel of the coming before the event; where the slice is by channel too, that has its own."""
    names = names.replace("channel", "by_channel")
    rows: list[tuple[Cell, ...]] = []
    counts = ", ".join(
        f"count(*) filter (at_us - came_us <= {days * DAY_US}),"
        f" count(*) filter (greatest(applied_us, came_us) - came_us <= {days * DAY_US})"
        for days in CLICK_WINDOWS
    )
    for part, channel, conversion, days, n, inside, asked in (
        (part, channel, conversion, days, n, inside, asked)
        for part, channel, conversion, n, *found in tables.rows(COMING.format(counts=counts))
        for days, inside, asked in zip(CLICK_WINDOWS, found[::2], found[1::2], strict=True)
    ):
        rate = Rate(inside, n)
        rows.append(
            (
                *part,
                channel or "(not attributed)",
                conversion,
                days,
                n,
                inside,
                rate.value,
                rate.low,
                rate.high,
                asked / n,
                (asked - inside) / n,
                rate.remark,
            )
        )
    return table(
        "Inside the days after the ad",
        columns(
            f"{names} channel conversion days conversions inside inside_share low high at_application_share"
            " gained_share remark",
            inside_share=SHARE,
            low=SHARE,
            high=SHARE,
            at_application_share=SHARE,
            gained_share=SHARE,
        ),
        rows,
        "days: from the install or return to the event. Which of them counts is set in the ad account."
        "\ngained_share: further conversions inside, had they been sent at the application.",
    )


def _notes(tables: Tables) -> tuple[str, ...]:
    by_day = tables.number(
        "select count(*) from counted where type in ('applied', 'credit_granted', 'disbursed')"
        " and by_day and not test and not superseded"
    )
    unasked = tables.number(
        "select count(*) - (select count(distinct decided) from decision) from counted"
        " where type in ('credit_granted', 'disbursed') and not by_day and not test and not superseded"
    )
    told = (
        (by_day, "applications, grants and disbursements are known by their day alone: no decision delay"),
        (unasked, "grants and disbursements answer no application that we know of: no decision delay"),
        (tables.unread_records, "conversions are decided and not yet read by the sender"),
    )
    return tuple(f"{n:,} {words}." for n, words in told if n)


def _three(quantiles: list[float] | None) -> tuple[float | None, ...]:
    return (None, None, None) if quantiles is None else tuple(quantiles)


def _thin(n: int) -> str:
    return "empty" if not n else "thin" if n < THIN else ""
