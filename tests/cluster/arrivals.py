"""What came at the endpoints, against what was planned for them: lost, doubled, out of order, too many."""

from collections import Counter, deque
from collections.abc import Container, Iterable, Mapping, Sequence

from msgspec import Struct
from tests.cluster.hooks import HOSTS, LIMIT
from tests.running import Stand

from lendsignal.log import Receipt, Stage
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.plan import Placed, Rebound, Record, Withdrawn, delivery_id

MILLION = 1_000_000

NEVER_LEFT = ("not_ours", "connect_failed")


class Arrived(Struct, frozen=True):
    """One message: its conversion, whose it is, and when it came, in microseconds since 1970."""

    conversion: str
    user: str
    at_us: int


class Sent(Struct, frozen=True, kw_only=True):
    """What became of one destination's deliveries.

    `unknown` left with a sender that was killed or cut off: under `hold` they are `held`, under `retry` they
    were sent again, so that at most as many came twice.
    """

    planned: int
    arrived: int
    lost: int
    doubled: int
    disordered: int
    limit_exceeded: int
    held: int
    unknown: int


def arrivals(stand: Stand, name: str) -> list[Arrived]:
    """Everything that a destination's endpoint took, in the order in which it came."""
    found: list[Arrived] = []
    after: int | None = 0
    while after is not None:
        page = stand.look(f"received?platform=webhook&account={HOSTS[name]}&after={after}&limit=1000")
        found += [Arrived(one["conversion_id"], one["user_id"], one["received_us"]) for one in page["items"]]
        after = page["next"]
    return found


def reckoned(
    name: str, came: Sequence[Arrived], records: Iterable[tuple[int, Record]], store: SlotDeliveries
) -> Sent:
    """Compares. Everything is sent by now that will be, but for what is held."""
    receipts = [one for _, pack in store.all_receipts() for one in pack if one.destination == name]
    planned = _planned(name, records, {one.id for one in receipts})
    accepted = {one.id for one in receipts if one.what == "accepted"}
    withdrawn = {one.id for one in receipts if one.what in ("skipped", "cancelled")}
    held = {one.id for one in store.open(name, 0, MILLION, Stage.HELD)}
    ids = Counter(one.conversion for one in came)
    through = {number: conversion for number, (conversion, _, _) in planned.items() if number in accepted}
    lost = sum(conversion not in ids for conversion in through.values())
    lost += len(planned.keys() - accepted - withdrawn - held)
    return Sent(
        planned=len(planned),
        arrived=len(came),
        lost=lost,
        doubled=sum(n - 1 for n in ids.values()),
        disordered=_disordered(came, planned.values()),
        limit_exceeded=_exceeded(came),
        held=len(held),
        unknown=_unknown(receipts),
    )


def _planned(
    name: str, records: Iterable[tuple[int, Record]], told: Container[int]
) -> dict[int, tuple[str, str, int]]:
    """Every delivery that was to be sent: its conversion, its user, and when it occurred.

    What a late login moves keeps its delivery; where it did not, something is told of the new one.
    """
    found: dict[int, tuple[str, str, int]] = {}
    for number, record in records:
        if isinstance(record, Placed):
            about = record.conversion
            occurred = int(about.occurred_at.timestamp() * MILLION)
            for place, entry in enumerate(record.entries):
                delivery = delivery_id(number, place)
                moved = isinstance(record, Rebound) and delivery not in told
                if entry.destination == name and entry.skip is None and not moved:
                    found[delivery] = (about.id, about.origin.user_id, occurred)
        else:
            assert isinstance(record, Withdrawn), type(record)
    return found


def _unknown(receipts: Iterable[Receipt]) -> int:
    """Tries that left and were not answered, whoever had them."""
    return sum(
        one.what == "held" or (one.what == "retry" and one.reason not in NEVER_LEFT and not one.status)
        for one in receipts
    )


def _disordered(came: Sequence[Arrived], planned: Iterable[tuple[str, str, int]]) -> int:
    """How often a user's message came for the first time behind one that was both planned and occurred later.

    Of two that were planned in one order and occurred in the other either may go first.
    """
    places = {conversion: (place, occurred) for place, (conversion, _, occurred) in enumerate(planned)}
    behind: dict[str, list[tuple[int, int]]] = {}
    seen: set[str] = set()
    n = 0
    for one in came:
        if one.conversion in seen:
            continue
        seen.add(one.conversion)
        mine = places[one.conversion]
        before = behind.setdefault(one.user, [])
        n += any(other[0] > mine[0] and other[1] > mine[1] for other in before)
        before.append(mine)
    return n


def _exceeded(came: Sequence[Arrived]) -> int:
    """How many messages came on top of what the endpoint takes within a second."""
    window: deque[int] = deque()
    n = 0
    for at_us in sorted(one.at_us for one in came):
        while window and window[0] <= at_us - MILLION:
            window.popleft()
        window.append(at_us)
        n += len(window) > LIMIT
    return n


def total(sent: Mapping[str, Sent], what: str) -> int:
    """A count over all destinations."""
    return sum(int(getattr(one, what)) for one in sent.values())
