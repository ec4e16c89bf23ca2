"""What became of deliveries: the waterfall, the reasons, and how long it took."""

from typing import Any

from lendsignal.clock import from_us
from lendsignal.report.layout import SECONDS, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN
from lendsignal.report.slices import EVERYTHING, Slice, sent_facts
from lendsignal.report.tables import Tables
from lendsignal.report.undone import sent_before_reversal

UNCONFIRMED = ("unconfirmed", "unexpected_answer", "validated_not_recorded", "pending")
"""Reasons of accepted deliveries whose platform proved receipt only; with others it said that it has it."""

COUNTS = """
create or replace temp table delivery_count as
select []::varchar[] as part, destination, conversion, what, reason, n from sent
union all
select [], w.destination, coalesce(d.conversion, '(not in the log)'), w.stage, w.reason, count(*)
from waits w left join delivery d on d.id = w.id and d.destination = w.destination group by all
"""

COUNTS_IN_SLICE = """
create or replace temp table delivery_count as
with told as (select d.*, s.part from delivery d join delivery_in_slice s using (id))
select part, destination, conversion, 'planned' as what, '' as reason, count(*) as n from told group by all
union all
select part, destination, conversion, if(what = 'planned', 'waiting', what), reason, count(*) from told
group by all
"""

IN_SLICE = """
create or replace temp table delivery_in_slice as
select e.id, f.part from entry e join sent_fact f on f.record = coalesce(e.rebinds, e.record)
"""

WATERFALL = """
select part, destination, {conversion}
    coalesce(sum(n) filter (what = 'planned'), 0)::bigint,
    coalesce(sum(n) filter (what = 'accepted'), 0)::bigint,
    coalesce(sum(n) filter (what = 'accepted' and reason not in (select unnest($unconfirmed))), 0)::bigint,
    coalesce(sum(n) filter (what = 'dead'), 0)::bigint,
    coalesce(sum(n) filter (what = 'waiting'), 0)::bigint,
    coalesce(sum(n) filter (what = 'held'), 0)::bigint,
    coalesce(sum(n) filter (what = 'skipped'), 0)::bigint,
    coalesce(sum(n) filter (what = 'cancelled'), 0)::bigint
from delivery_count group by all order by all
"""

DELAY = """
select part, destination, conversion, count(*),
    quantile_cont((answered_us - at_us) / 1e6, [0.5, 0.9, 0.99]),
    quantile_cont((answered_us - received_us) / 1e6, [0.5, 0.9, 0.99])
from {told} where what = 'accepted' and at_us is not null group by all order by all
"""

TOLD = "(select d.*, s.part from delivery d join delivery_in_slice s using (id))"
"""SQL of the deliveries in the slice whose conversion the log still holds, each with its part."""

ALL_TOLD = "(select *, []::varchar[] as part from delivery where at_us is not null)"
"""The same without a slice: where a conversion came from need not be found out."""

FATES = "planned accepted confirmed unconfirmed dead waiting held skipped cancelled balanced"


class DeliveryReport(Report, frozen=True, kw_only=True):
    """`balanced` says that for every destination and conversion everything planned is accounted for."""

    balanced: bool
    destinations: Table
    conversions: Table
    reasons: Table
    delays: Table
    undone: Table
    paused: Table


def delivery(tables: Tables, one: Slice = EVERYTHING) -> DeliveryReport:
    """What became of every delivery, and how long the accepted ones took.

    Planned, accepted, dead, skipped and cancelled are the sender's own counts; waiting and held are the rows
    that are open, counted one by one, so that the balance is a proof and no tautology. In a slice all of them
    are rows counted one by one, of conversions that the log still holds, by when they occurred. Raises
    `InputError` where the slice names what there is not.
    """
    is_whole = not one.names and not one.where and not one.limits and one.since is None and one.until is None
    if not is_whole:
        sent_facts(tables, one.beside("the report", "conversion"))
        tables.db.execute(IN_SLICE)
    tables.db.execute(COUNTS if is_whole else COUNTS_IN_SLICE)
    told = ALL_TOLD if is_whole else TOLD
    per_conversion = _waterfall(tables, "conversion,")
    retries = {
        (tuple(part), destination, conversion): (retries, again)
        for part, destination, conversion, retries, again in tables.rows(
            "select part, destination, conversion, sum(retries)::bigint, count(*) filter (retries > 0)"
            f" from {told} group by all"
        )
    }
    conversions: list[tuple[Cell, ...]] = [
        (
            *part,
            destination,
            conversion,
            *_fate(counts),
            *retries.get((tuple(part), destination, conversion), (0, 0)),
        )
        for part, destination, conversion, *counts in per_conversion
    ]
    destinations: list[tuple[Cell, ...]] = [
        (*part, destination, *_fate(counts), counts[1] / counts[0] if counts[0] else None)
        for part, destination, *counts in _waterfall(tables, "")
    ]
    notes = []
    names = " ".join(one.names)
    if not is_whole:
        notes.append("A slice counts what the log still holds: the sender's own counts are of all there was.")
    if tables.unread_records:
        notes.append(f"{tables.unread_records:,} conversions are decided and not yet read by the sender.")
    if tables.not_routed:
        notes.append(f"{tables.not_routed:,} conversions are taken by no route.")
    return DeliveryReport(
        title=", ".join(filter(None, ("Deliveries", one.words))),
        as_of=tables.as_of,
        balanced=all(_is_balanced(counts) for _, _, _, *counts in per_conversion),
        destinations=table(
            "By destination",
            columns(f"{names} destination {FATES} accepted_share", accepted_share=SHARE),
            destinations,
            "balanced: planned = accepted + dead + waiting + held + skipped + cancelled."
            "\nunconfirmed: the platform's yes proves receipt only.",
        ),
        conversions=table(
            "By destination and conversion",
            columns(f"{names} destination conversion {FATES} retries retried"),
            conversions,
            "retries: tries that ended in another try; retried: deliveries that had one.",
        ),
        reasons=_reasons(tables, names),
        delays=_delays(tables, names, told),
        undone=sent_before_reversal(tables),
        paused=table(
            "Paused destinations",
            columns("destination since reason"),
            [
                (destination, f"{from_us(since_us):%Y-%m-%d %H:%M:%S}", reason)
                for destination, since_us, reason in tables.rows("select * from paused order by destination")
            ],
            "A paused destination waits for a person and loses nothing. since is UTC.",
        ),
        notes=tuple(notes),
    )


def _waterfall(tables: Tables, conversion: str) -> list[tuple[Any, ...]]:
    return tables.rows(WATERFALL.format(conversion=conversion), {"unconfirmed": UNCONFIRMED})


def _fate(counts: list[int]) -> tuple[Cell, ...]:
    planned, accepted, confirmed, *rest = counts
    return planned, accepted, confirmed, accepted - confirmed, *rest, _is_balanced(counts)


def _is_balanced(counts: list[int]) -> bool:
    planned, accepted, _, dead, waiting, held, skipped, cancelled = counts
    return planned == accepted + dead + waiting + held + skipped + cancelled


def _reasons(tables: Tables, names: str) -> Table:
    found = tables.rows(
        "select part, destination, conversion, what, reason, sum(n)::bigint from delivery_count"
        " where what <> 'planned' and n > 0 group by all"
        " order by part, destination, conversion, what, 6 desc, reason"
    )
    return table(
        "Reasons",
        columns(f"{names} destination conversion what reason deliveries"),
        [(*part, *rest) for part, *rest in found],
        "Of waiting and held ones the reason of the last try, empty before the first."
        "\nunvalued and late_touch are told beside: they are also counted as what became of them.",
    )


def _delays(tables: Tables, names: str, told: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for part, destination, conversion, n, posting, queue in tables.rows(DELAY.format(told=told)):
        rows.append((*part, destination, conversion, n, *posting, *queue, "thin" if n < THIN else ""))
    quantiles = {
        f"{part}_{quantile}": SECONDS for part in ("posting", "queue") for quantile in ("p50", "p90", "p99")
    }
    return table(
        "Delay of accepted deliveries",
        columns(f"{names} destination conversion accepted {' '.join(quantiles)} remark", **quantiles),
        rows,
        "posting: from the event to the platform's answer. queue: the part after the event reached us,"
        f"\nsettling included. Of what the log still holds. thin: fewer than {THIN}.",
    )
