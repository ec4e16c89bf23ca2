"""How long it takes until a platform knows: the lender's decision, and the posting, apart and by cause.

Decision delay runs from `applied` to the event that answers it; posting delay from an event to the answer
with which the platform accepted it. Neither says anything about the other.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from lendsignal.clock import MICROSECOND, from_us
from lendsignal.report.days import local_day
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

DECIDED = """
create or replace temp table decided as
with granted as (
    select user_key, grant_id, any_value(application_id) as application_id from counted
    where type = 'credit_granted' and application_id is not null and not superseded group by all
), asked as (
    select user_key, application_id, at_us from counted
    where type = 'applied' and not test and not superseded and not by_day
), answered as (
    select c.seq, c.user_key, c.event_id, c.type, c.at_us, c.app,
        coalesce(c.application_id, g.application_id) as application_id
    from counted c left join granted g on g.user_key = c.user_key and g.grant_id = c.grant_id
    where c.type in ('credit_granted', 'disbursed') and not c.test and not c.superseded and not c.by_day
), named as (
    select a.*, k.at_us as applied_us from answered a
    join asked k on k.user_key = a.user_key and k.application_id = a.application_id
), latest as (  -- the event names no application: the user's latest one by then
    select a.* exclude (application_id), k.application_id, k.at_us as applied_us
    from (select * from answered where application_id is null) a
    asof join asked k on k.user_key = a.user_key and a.at_us >= k.at_us
)
select * from (select * from named union all by name select * from latest)
where applied_us <= at_us
-- what a credit line pays out later was not asked for again
qualify row_number() over (partition by user_key, application_id, type order by at_us, seq) = 1
"""

SPANS = """
create or replace temp table decision as
with between as (  -- most applications are decided without anybody looking at them
    select d.seq, c.seq as place, c.at_us, c.type
    from decided d join counted c on c.user_key = d.user_key and c.application_id = d.application_id
        and c.at_us between d.applied_us and d.at_us
    where c.type in ('review_started', 'review_ended', 'phone_check_started', 'phone_check_ended')
        and not c.superseded
), point as (
    select seq, -1 as place, applied_us as at_us, 'applied' as type from decided semi join between using (seq)
    union all
    select * from between
    union all
    select seq, 9223372036854775807, at_us, 'answered' from decided semi join between using (seq)
), told as (
    select *, case type when 'review_started' then true when 'review_ended' then false end as reviewing,
        case type when 'phone_check_started' then true when 'phone_check_ended' then false end as calling
    from point
), stretch as (  -- an end without a beginning: it has gone on since the application
    select seq, lead(at_us) over sweep - at_us as us,
        coalesce(last_value(reviewing ignore nulls) over before,
            not first_value(reviewing ignore nulls) over every, false) as reviewing,
        coalesce(last_value(calling ignore nulls) over before,
            not first_value(calling ignore nulls) over every, false) as calling,
        -- of an application that a person looks at, the time until somebody does
        count(coalesce(reviewing, calling)) over before = 0
            and count(coalesce(reviewing, calling)) over every > 0 as waiting
    from told
    window sweep as (partition by seq order by at_us, place),
        before as (partition by seq order by at_us, place rows unbounded preceding),
        every as (partition by seq order by at_us, place
            rows between unbounded preceding and unbounded following)
), added as (
    select seq, coalesce(sum(us) filter (calling), 0) as phone_check,
        coalesce(sum(us) filter (reviewing and not calling), 0) as review,
        coalesce(sum(us) filter (waiting and not reviewing and not calling), 0) as waiting,
        coalesce(sum(us) filter (not waiting and not reviewing and not calling), 0) as other
    from stretch group by seq
)
select v.record, v.name as conversion, coalesce(nullif(v.app, ''), d.app) as app, d.applied_us, d.at_us,
    v.installation, coalesce(a.waiting, 0) as waiting, coalesce(a.review, 0) as review,
    coalesce(a.phone_check, 0) as phone_check, coalesce(a.other, d.at_us - d.applied_us) as other,
    d.at_us - d.applied_us as whole, f.part
from decided d left join added a using (seq)
join conversion v on v.user_key = d.user_key and v.event_id = d.event_id and not v.test
join sent_fact f on f.record = v.record
"""

POSTED = """
create or replace temp table posted as
select d.destination, d.conversion, d.record, v.app, d.at_us, d.answered_us,
    d.received_us - d.at_us as arrival,
    greatest(d.planned_us - d.received_us, 0) as pen,
    least(d.planned_us + d.settle_us, coalesce(d.sent_us, d.answered_us)) - d.planned_us as settle,
    coalesce(d.sent_us, d.answered_us) - d.planned_us - settle as queue,
    d.answered_us - coalesce(d.sent_us, d.answered_us) as platform,
    arrival + pen + settle + queue + platform as whole, f.part
from delivery d join conversion v on v.record = d.record join sent_fact f on f.record = d.record
where d.what = 'accepted'
"""

COMING = """
with coming as (
    select installation, at_us, channel from attribution where installation is not null and at_us > 0
)
select d.part, c.channel, d.conversion, n.days, count(*),
    count(*) filter (d.at_us - c.at_us <= n.days * 86400000000),
    count(*) filter (greatest(d.applied_us, c.at_us) - c.at_us <= n.days * 86400000000)
from (select * from decision where installation is not null) d
asof join coming c on c.installation = d.installation and d.at_us >= c.at_us
cross join (select unnest($days) as days) n
group by all order by all
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
    sent_facts(tables, one.beside("the report", "conversion"))
    for query in (DECIDED, SPANS, POSTED):
        tables.db.execute(query)
    names = " ".join(one.names)
    return Delay(
        title=", ".join(filter(None, ("Delay", one.words))),
        as_of=tables.as_of,
        decision=_decision(tables, names),
        posting=_posting(tables, names),
        days=_days(tables, windows or {}, names),
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
        f"select part, conversion, count(*), {parts} from decision group by all order by part, conversion"
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


def _days(tables: Tables, windows: Mapping[str, Window], names: str) -> Table:
    inside = _inside(tables, windows)
    late = {
        (tuple(part), destination, conversion): n
        for part, destination, conversion, n in tables.rows(
            "select f.part, d.destination, d.conversion, count(*) from delivery d"
            " join sent_fact f on f.record = d.record"
            " where what in ('dead', 'skipped') and reason in (select unnest($late)) group by all",
            {"late": LATE},
        )
    }
    event_day, answer_day = local_day(tables, "p.at_us", "p.app"), local_day(tables, "p.answered_us", "p.app")
    rows: list[tuple[Cell, ...]] = []
    for part, destination, conversion, n, same, asked, same_as_asked in tables.rows(
        f"select p.part, p.destination, p.conversion, count(*), count(*) filter ({event_day} = {answer_day}),"
        f" count(d.record), count(*) filter ({local_day(tables, 'd.applied_us', 'p.app')} = {answer_day})"
        " from posted p left join (select distinct on (record) * from decision) d on d.record = p.record"
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


def _inside(tables: Tables, windows: Mapping[str, Window]) -> dict[tuple[tuple[str, ...], str, str], int]:
    """How many accepted deliveries came before their platform's window closed."""
    found: dict[tuple[tuple[str, ...], str, str], int] = {}
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
    later = f"{local_day(tables, 'applied_us', 'app')} < {local_day(tables, 'at_us', 'app')}"
    rows: list[tuple[Cell, ...]] = []
    for part, conversion, n, late, quantiles, by_people, whole in tables.rows(
        f"with one as (select *, {later} as later from decision)"
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
    for part, channel, conversion, days, n, inside, asked in tables.rows(COMING, {"days": CLICK_WINDOWS}):
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
        "select count(*) - (select count(distinct seq) from decided) from counted"
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
