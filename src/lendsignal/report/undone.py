"""What platforms were told of loans and payments that were reversed later, and whether it was taken back."""

from lendsignal.report.layout import Table, columns, table
from lendsignal.report.tables import Tables

UNDONE = """
with reversed as (
    select record from raw_conversions c where rebinds is null and exists (
        select 1 from counted k where k.user_key = c.user_key and k.event_id = c.event_id and k.reversed)
), sent as (
    select d.destination, d.conversion, count(*) as n
    from reversed c join entry e on coalesce(e.rebinds, e.record) = c.record join delivery d on d.id = e.id
    where d.what = 'accepted'
    group by all
), back as (
    select destination, conversion, count(*) filter (what = 'accepted') as taken,
        count(*) filter (what not in ('accepted', 'dead', 'skipped', 'cancelled')) as coming
    from delivery where ends_with(conversion, '_retraction') group by all
)
select s.destination, s.conversion, s.n, coalesce(b.taken, 0), coalesce(b.coming, 0),
    greatest(0, s.n - coalesce(b.taken, 0) - coalesce(b.coming, 0))
from sent s left join back b on b.destination = s.destination and b.conversion = s.conversion || '_retraction'
order by all
"""


def sent_before_reversal(tables: Tables) -> Table:
    """By destination and conversion: accepted deliveries of what was reversed, and how many stay as they are.

    Of what the log still holds. A value that was restated as 0 does not take its conversion back.
    """
    return table(
        "Sent before it was reversed",
        columns("destination conversion sent taken_back on_the_way cannot_be_taken_back"),
        tables.rows(UNDONE),
        "Accepted deliveries of loans and payments that were reversed later, of what the log still holds."
        "\nWhere only the value can be corrected it is restated as 0, and the conversion still stays.",
    )
