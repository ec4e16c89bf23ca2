"""The doctor's look at who copies what came of deliveries, before the store lets go of it."""

from collections.abc import Iterator
from contextlib import closing

from lendsignal.cli import giving
from lendsignal.cli.findings import Finding, act, look, ok, span
from lendsignal.config import Config
from lendsignal.log.postgres import database_of
from lendsignal.log.postgres.forgetting import copies
from lendsignal.log.postgres.schema import first_day
from lendsignal.role.cluster import store_of
from lendsignal.role.work import days_kept

DAY_SECONDS = 86_400.0
DAYS_TO_ACT = 3
"""So long before a copy has a hole somebody should have done something about it."""


def copied(config: Config) -> Iterator[Finding]:
    """Whether desks have what the store lets go of by its age, or will have it in time."""
    keep = days_kept(config, giving.clock_of(config))
    with closing(database_of(store_of(config))) as database:
        behind, first = copies(database, keep), first_day(database, "receipt")
    since = "" if first is None else f" since {first:%Y-%m-%d}"
    if not behind:
        said = f"no desk copies the store: what came of deliveries is kept for {keep} days and nowhere else"
        yield look("copies", said, "lendsignal run --role desk,web, where it is to be kept")
        return
    late = {name: seconds for name, seconds in behind.items() if seconds > DAY_SECONDS}
    for name, seconds in late.items():
        said = f"the copy of {name} was whole {span(seconds)} ago, and what is {keep} days old goes"
        tell = act if seconds > (keep - DAYS_TO_ACT) * DAY_SECONDS else look
        yield tell(
            "copies",
            said,
            "start that desk, or see why it does not go on; one that is gone for good"
            " is not spoken of any more after those days",
        )
    if not late:
        yield ok("copies", f"{len(behind)} desks have what came of deliveries{since}")
