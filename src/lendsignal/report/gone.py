"""What has gone out of the log for its age, as far as the archive still tells it."""

from datetime import datetime

from lendsignal.clock import from_us
from lendsignal.errors import DataError
from lendsignal.log import DataFolder, Log
from lendsignal.report.sources import Sources
from lendsignal.report.tables import Tables

MOST = 50
"""Events that are told, the youngest first."""

EVENTS = """
select event_id, type, brand, user_id, epoch_us(received_at), verdict from raw_events
where seq < $first and type not like 'lendsignal.%'
  and (event_id = $what or user_id = $what or brand || ':' || user_id = $what)
order by seq desc limit $most
"""

FATES = """
select d.conversion, d.destination, coalesce(
    (select arg_max(o.what, o.pack) from raw_outcomes o where o.delivery = d.delivery), d.skip, 'planned')
from raw_conversions c join raw_deliveries d using (record)
where c.event_id = $event and c.brand = $brand and c.user_id = $user
order by d.delivery
"""


def gone(folder: DataFolder, log: Log, what: str) -> tuple[str, ...]:
    """In words what the archive has of an event or a user (`user_id` or `brand:user_id`) and the log has not.

    Nothing where nothing has gone; where there is no archive, that what went is nowhere. Times are UTC.
    """
    first = log.cutting.first()
    if first <= 1:
        return ()
    since = log.cutting.since()
    begins = f"The log begins on {_moment(since)}: what came in before has gone by `log.keep_for`"
    if not folder.archive.exists():
        return (f"{begins}, and there is no archive that would still have it.",)
    try:
        found = _archived(folder, first, what)
    except DataError as error:
        return (f"{begins}, and the archive could not be looked at: {error}.",)
    if not found:
        return (f"{begins}; the archive has nothing of it either.",)
    return (f"{begins}; the archive has:", *found)


def _archived(folder: DataFolder, first: int, what: str) -> list[str]:
    with Tables(Sources(folder, archived_only=True), threads=1, memory="512MB") as tables:
        events = tables.rows(EVENTS, {"first": first, "what": what, "most": MOST})
        lines = []
        for event_id, kind, brand, user, received_us, verdict in events:
            came = _moment(from_us(received_us))
            lines.append(f"  {event_id}: {kind} of {brand}:{user}, came in {came}: {verdict}")
            asked = {"event": event_id, "brand": brand, "user": user}
            lines += [f"    {name} → {to}: {end}" for name, to, end in tables.rows(FATES, asked)]
    return lines


def _moment(at: datetime | None) -> str:
    return "no day" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
