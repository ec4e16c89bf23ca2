"""What log and deliveries keep between two positions, as rows of the archive's tables.

The archive is written from these rows, and reports read from them what it does not hold yet: a figure is the
same whichever of the two it came from.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256

from lendsignal.archive.layout import (
    ATTRIBUTIONS,
    CONVERSIONS,
    DELIVERIES,
    EVENTS,
    INSTALMENTS,
    RECORDED,
    SPEND,
    TOUCHES,
    WITHDRAWALS,
    Row,
)
from lendsignal.archive.rows import (
    conversion_row,
    delivery_rows,
    event_row,
    instalment_rows,
    outcome_row,
    touch_row,
    withdrawal_row,
)
from lendsignal.log import Deliveries, Log
from lendsignal.plan import Corrected, Record, Withdrawn, event_of, record_id

RECORDS_AT_ONCE = 5_000

OF_LOG = (EVENTS, TOUCHES, INSTALMENTS, CONVERSIONS, DELIVERIES, WITHDRAWALS)
"""The tables whose rows come out of the log."""

FEED_OF: Mapping[str, str] = {
    ATTRIBUTIONS.name: "attribution",
    RECORDED.name: "recorded",
    SPEND.name: "spend",
}
"""What the feeds' file calls the rows of each table that is theirs."""

Rows = dict[str, list[Row]]
"""Rows by the name of their table."""


def erased_key(brand: str, user_id: str) -> bytes:
    """By what the book remembers that a user was erased: it tells nobody who."""
    return sha256(f"{brand}\x1f{user_id}".encode()).digest()


class Erased:
    """Says whether what a user did at a position of the log was erased. `upto` has positions by key."""

    def __init__(self, upto: Mapping[bytes, int]) -> None:
        self._upto = upto

    def __call__(self, brand: str, user_id: str, position: int) -> bool:
        return bool(self._upto) and position <= self._upto.get(erased_key(brand, user_id), 0)


NOBODY = Erased({})
"""Nobody was erased."""


def rows_of_log(log: Log, after: int, upto: int, gone: Erased = NOBODY) -> tuple[Rows, int]:
    """The rows of the decided events behind `after` and up to `upto`, and how many events were read."""
    version = log.policy()
    source = None if version is None else log.policy_source(version)
    apps = {} if source is None else source.derive.default_app
    rows: Rows = {table.name: [] for table in OF_LOG}
    read = 0
    for fact, verdict in log.decided(after, upto):
        read += 1
        if gone(fact.event.brand, fact.event.user_id, fact.seq):
            continue
        rows[EVENTS.name].append(event_row(fact, verdict))
        rows[INSTALMENTS.name].extend(instalment_rows(fact))
        touch = touch_row(fact, verdict, apps.get)
        if touch is not None:
            rows[TOUCHES.name].append(touch)
    for number, record in _records(log, after, upto):
        if isinstance(record, Withdrawn):
            rows[WITHDRAWALS.name].append(withdrawal_row(number, record))
            continue
        origin = record.conversion.origin
        if not gone(origin.brand, origin.user_id, event_of(number)[0]):
            if not isinstance(record, Corrected):
                rows[CONVERSIONS.name].append(conversion_row(number, record))
            rows[DELIVERIES.name].extend(delivery_rows(number, record))
    return rows, read


def rows_of_outcomes(deliveries: Deliveries, after: int, upto: int) -> Iterator[tuple[int, list[Row]]]:
    """The rows of each of the sender's commits behind `after` and up to `upto`."""
    for pack, receipts in deliveries.all_receipts(after):
        if pack > upto:
            return
        yield pack, [outcome_row(pack, place, one) for place, one in enumerate(receipts)]


def undecided(log: Log, after: int, upto: int) -> list[Row]:
    """The rows of `events` for what came in and is not decided yet."""
    return [event_row(fact, "undecided") for fact in log.read(after, upto - after)] if upto > after else []


def _records(log: Log, after: int, upto: int) -> Iterator[tuple[int, Record]]:
    """What was decided of the events in that range, in order."""
    place = record_id(after + 1, 0) - 1
    while found := log.records(place, RECORDS_AT_ONCE):
        for number, record in found:
            if event_of(number)[0] > upto:
                return
            yield number, record
        place = found[-1][0]
