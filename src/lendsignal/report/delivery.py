"""What became of deliveries: the waterfall, the reasons, and how long it took."""

from typing import Any

from lendsignal.clock import from_us
from lendsignal.report.layout import SECONDS, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN
from lendsignal.report.tables import Tables

UNCONFIRMED = ("unconfirmed", "unexpected_answer", "validated_not_recorded", "pending")
"""Reasons of accepted deliveries whose platform proved receipt only; with others it said that it has it."""

COUNTS = """
create or replace temp table delivery_count as
select destination, conversion, what, reason, n from sent
union all
select w.destination, coalesce(d.conversion, '(not in the log)'), w.stage, w.reason, count(*)
from waits w left join delivery d on d.id = w.id and d.destination = w.destination group by all
"""

WATERFALL = """
select destination, {conversion}
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
select destination, conversion, count(*),
    quantile_cont((answered_us - at_us) / 1e6, [0.5, 0.9, 0.99]),
    quantile_cont((answered_us - received_us) / 1e6, [0.5, 0.9, 0.99])
from delivery where what = 'accepted' and at_us is not null group by all order by all
"""

FATES = "planned accepted confirmed unconfirmed dead waiting held skipped cancelled balanced"


class DeliveryReport(Report, frozen=True, kw_only=True):
    """`balanced` says that for every destination and conversion everything planned is accounted for."""

    balanced: bool
    destinations: Table
    conversions: Table
    reasons: Table
    delays: Table
    paused: Table


def delivery(tables: Tables) -> DeliveryReport:
    """What became of every delivery, and how long the accepted ones took.

    Planned, accepted, dead, skipped and cancelled are the sender's own counts; waiting and held are the rows
    that are open, counted one by one, so that the balance is a proof and no tautology.
    """
    tables.db.execute(COUNTS)
    per_conversion = _waterfall(tables, "conversion,")
    retries = {
        (destination, conversion): (retries, again)
        for destination, conversion, retries, again in tables.rows(
            "select destination, conversion, sum(retries)::bigint, count(*) filter (retries > 0)"
            " from delivery group by all"
        )
    }
    conversions: list[tuple[Cell, ...]] = [
        (destination, conversion, *_fate(counts), *retries.get((destination, conversion), (0, 0)))
        for destination, conversion, *counts in per_conversion
    ]
    destinations: list[tuple[Cell, ...]] = [
        (destination, *_fate(counts), counts[1] / counts[0] if counts[0] else None)
        for destination, *counts in _waterfall(tables, "")
    ]
    notes = []
    if tables.unread_records:
        notes.append(f"{tables.unread_records:,} conversions are decided and not yet read by the sender.")
    if tables.not_routed:
        notes.append(f"{tables.not_routed:,} conversions are taken by no route.")
    return DeliveryReport(
        title="Deliveries",
        as_of=tables.as_of,
        balanced=all(_is_balanced(counts) for _, _, *counts in per_conversion),
        destinations=table(
            "By destination",
            columns(f"destination {FATES} accepted_share", accepted_share=SHARE),
            destinations,
            "balanced: planned = accepted + dead + waiting + held + skipped + cancelled."
            "\nunconfirmed: the platform's yes proves receipt only.",
        ),
        conversions=table(
            "By destination and conversion",
            columns(f"destination conversion {FATES} retries retried"),
            conversions,
            "retries: tries that ended in another try; retried: deliveries that had one.",
        ),
        reasons=_reasons(tables),
        delays=_delays(tables),
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


def _reasons(tables: Tables) -> Table:
    return table(
        "Reasons",
        columns("destination conversion what reason deliveries"),
        tables.rows(
            "select destination, conversion, what, reason, sum(n)::bigint from delivery_count"
            " where what <> 'planned' and n > 0 group by all"
            " order by destination, conversion, what, 5 desc, reason"
        ),
        "Of waiting and held ones the reason of the last try, empty before the first."
        "\nunvalued and late_touch are told beside: they are also counted as what became of them.",
    )


def _delays(tables: Tables) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for destination, conversion, n, posting, queue in tables.rows(DELAY):
        rows.append((destination, conversion, n, *posting, *queue, "thin" if n < THIN else ""))
    quantiles = {
        f"{part}_{quantile}": SECONDS for part in ("posting", "queue") for quantile in ("p50", "p90", "p99")
    }
    return table(
        "Delay of accepted deliveries",
        columns(f"destination conversion accepted {' '.join(quantiles)} remark", **quantiles),
        rows,
        "posting: from the event to the platform's answer. queue: the part after the event reached us,"
        f"\nsettling included. Of what the log still holds. thin: fewer than {THIN}.",
    )
