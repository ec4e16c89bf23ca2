"""What another sender sent against what we would have sent, or did: one destination, event by event.

A route that is in shadow plans everything and sends nothing. Held against the record of whoever sends today,
it shows what a cut-over would change; after the cut-over the same comparison shows what was sent by both, and
what by nobody.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from lendsignal.clock import from_us
from lendsignal.log import Deliveries, Log
from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, Money, Skip, SkipReason, id_of
from lendsignal.plan import Corrected, Entry, Planned, Rebound, Withdrawn, delivery_id
from lendsignal.report.explain import Render
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.resolve import Binding

AT_ONCE = 2_000
"""Records read from the log at a time."""

MINUTE_US = 60_000_000

CENT = Decimal("0.01")


class Sent(Struct, frozen=True, kw_only=True):
    """One event that the other sender sent, as far as its record says; empty where it does not.

    `at_us` is the event's own moment in microseconds since 1970, `event` the name it was sent under,
    `install` whatever id of the installation or phone it went to, `row` where it stands.
    """

    at_us: int
    event: str = ""
    conversion_id: str = ""
    loan_id: str = ""
    install: str = ""
    user_id: str = ""
    amount: Decimal | None = None
    currency: str = ""
    row: int = 0


class Difference(StrEnum):
    """How the two senders may differ about one event."""

    MISSING_THERE = "missing_there"
    MISSING_HERE = "missing_here"
    OTHER_DEVICE = "other_device"
    OTHER_VALUE = "other_value"
    EARLIER = "earlier"
    LATER = "later"
    TWICE_THERE = "twice_there"
    SENT_BY_BOTH = "sent_by_both"
    SENT_BY_NOBODY = "sent_by_nobody"
    UNREADABLE = "unreadable"


class Comparison(Report, frozen=True, kw_only=True):
    """`agreed`: nothing differs but what was accepted beforehand. `conversions` counts, `reasons` says why
    something is missing here, `examples` shows the first of each difference."""

    agreed: bool
    destination: str
    compared: int
    conversions: Table
    reasons: Table
    examples: Table


class Ours(Struct):
    """One conversion of ours for the destination. `why` is empty where it goes out, or would.

    `installs` are the ids of the device it belongs to, `first` those of the user's first installation, all in
    small letters.
    """

    id: str
    conversion: str
    event_id: str
    user_id: str
    loan_id: str
    at_us: int
    value: Money | None
    live: bool
    why: str
    installs: frozenset[str]
    first: frozenset[str]


class Ledger(Struct):
    """Everything of ours that a comparison looks at; `loans` are the loans we ever heard of."""

    ours: list[Ours]
    loans: set[str]


def ours_of(log: Log, store: Deliveries | None, destination: str, render: Render | None) -> Ledger:
    """What we planned for a destination, sent or in shadow, by the device that counted when it would leave.

    `render` makes a delivery's request, or says why there is none; without it that is not asked.
    """
    made: dict[int, tuple[Planned | Rebound, int, int]] = {}
    loans: set[str] = set()
    withdrawn: dict[int, str] = {}
    after = 0
    while found := log.records(after, AT_ONCE):
        after = found[-1][0]
        for number, record in found:
            match record:
                case Planned():
                    if record.conversion.loan_id is not None:
                        loans.add(record.conversion.loan_id)
                    place = _place(record.entries, destination)
                    if place is not None and not record.conversion.history:
                        made[number] = (record, place, number)
                case Rebound() | Withdrawn():
                    before = made.get(record.record)
                    # Later than the delivery would have left, it changes nothing that was sent.
                    if before is None or record.at_us > before[0].at_us + _settle(before):
                        continue
                    if isinstance(record, Withdrawn):
                        withdrawn[record.record] = record.reason
                        continue
                    moved = _place(record.entries, destination)
                    if moved is None:
                        withdrawn[record.record] = "rebound"
                    else:
                        made[record.record] = (record, moved, number)
                case Corrected():
                    pass  # another sender's record tells what was sent, and not what is changed about it
    ends = _ends(store)
    return Ledger(
        [_ours(number, one, withdrawn.get(number, ""), ends, render) for number, one in made.items()], loans
    )


def compare(
    destination: str,
    ledger: Ledger,
    theirs: Sequence[Sent],
    names: Mapping[str, Sequence[str]],
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    tolerance_us: int = MINUTE_US,
    accepted: Iterable[Difference] = (),
    unreadable: int = 0,
    ours_among_theirs: bool = False,
    examples: int = 5,
) -> Comparison:
    """Event by event: matched by conversion id, else by loan and conversion, else by installation (or user),
    conversion and minute.

    `names` are the conversions that an event's name stands for. What happened outside `since_us` and
    `until_us` is not judged; by default that is where the two records overlap. `ours_among_theirs`: the
    record is the platform's and holds what we sent as well, known by its conversion id.
    """
    ids = {one.id for one in ledger.ours}
    known = [one for one in theirs if one.conversion_id in ids or one.event in names]
    pairs, extra, alone = _matched(ledger.ours, known, names, tolerance_us, ours_among_theirs)
    since, until = _span(ledger.ours, known, since_us, until_us)
    tally = _Tally(examples)

    def within(at_us: int) -> bool:
        return since <= at_us < until

    for one, row in pairs:
        if within(one.at_us):
            _judge(tally, one, row, tolerance_us, ours_among_theirs)
    for one, row in extra:
        if within(one.at_us):
            tally.differs(one.conversion, Difference.TWICE_THERE, one, row)
    matched = {one.id for one, _ in pairs}
    for one in ledger.ours:
        if one.id not in matched and within(one.at_us):
            _judge_alone(tally, one)
    for row in alone:
        if within(row.at_us):
            conversion = " or ".join(names.get(row.event, ())) or "(by its id)"
            tally.counts[conversion, "theirs"] += 1
            tally.reason(conversion, _unknown(row, ledger.loans))
            tally.differs(conversion, Difference.MISSING_HERE, None, row)
    if unreadable:
        tally.counts["(unreadable)", Difference.UNREADABLE] = unreadable
    return _comparison(tally, destination, since, until, len(theirs) - len(known), set(accepted))


class _Tally:
    """Counts by conversion, reasons, and the first of each difference."""

    def __init__(self, examples: int) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.examples: list[tuple[Cell, ...]] = []
        self._shown: Counter[tuple[str, str]] = Counter()
        self._ours: set[str] = set()
        self._most = examples

    def ours(self, one: Ours) -> None:
        """An event of ours that is sent, or would be: once, however many rows it has there."""
        self.counts[one.conversion, "ours"] += one.id not in self._ours
        self._ours.add(one.id)

    def reason(self, conversion: str, why: str) -> None:
        self.reasons[conversion, why] += 1

    def differs(self, conversion: str, how: Difference, one: Ours | None, row: Sent | None) -> None:
        self.counts[conversion, how] += 1
        self._shown[conversion, how] += 1
        if self._shown[conversion, how] <= self._most:
            at_us = one.at_us if one is not None else row.at_us if row is not None else 0
            self.examples.append(
                (
                    how.value,
                    conversion,
                    f"{from_us(at_us):%Y-%m-%d %H:%M:%S}",
                    one.event_id if one is not None else None,
                    (one.loan_id if one is not None else row.loan_id if row is not None else "") or None,
                    row.row or None if row is not None else None,
                )
            )


def _judge(tally: _Tally, one: Ours, row: Sent, tolerance_us: int, ours_among_theirs: bool) -> None:
    """A pair: what the other sender sent, and what we made of the same event."""
    name = one.conversion
    tally.counts[name, "theirs"] += 1
    if one.why:
        tally.reason(name, one.why)
        tally.differs(name, Difference.MISSING_HERE, one, row)
        return
    tally.ours(one)
    if one.live and ours_among_theirs and row.conversion_id == one.id:
        tally.counts[name, "ours_alone"] += 1
        return
    if one.live:
        tally.differs(name, Difference.SENT_BY_BOTH, one, row)
        return
    found = list(_differences(one, row, tolerance_us))
    for how in found:
        tally.differs(name, how, one, row)
    if Difference.OTHER_DEVICE in found and row.install.lower() in one.first:
        tally.counts[name, "first_install"] += 1
    tally.counts[name, "same"] += not found


def _judge_alone(tally: _Tally, one: Ours) -> None:
    """An event of ours that the other sender does not have."""
    if one.live and one.why:
        tally.ours(one)
        tally.reason(one.conversion, one.why)
        tally.differs(one.conversion, Difference.SENT_BY_NOBODY, one, None)
    elif one.live:
        tally.ours(one)
        tally.counts[one.conversion, "ours_alone"] += 1
    elif not one.why:
        tally.ours(one)
        tally.differs(one.conversion, Difference.MISSING_THERE, one, None)


def _differences(one: Ours, row: Sent, tolerance_us: int) -> Iterator[Difference]:
    """What is not told by one of the two is no difference."""
    if row.install and one.installs and row.install.lower() not in one.installs:
        yield Difference.OTHER_DEVICE
    if row.amount is not None and not _same_value(one.value, row):
        yield Difference.OTHER_VALUE
    if row.at_us < one.at_us - tolerance_us:
        yield Difference.EARLIER
    elif row.at_us > one.at_us + tolerance_us:
        yield Difference.LATER


def _same_value(value: Money | None, row: Sent) -> bool:
    assert row.amount is not None
    if value is None:
        return not row.amount
    return row.currency in ("", value.currency) and abs(row.amount - value.amount) < CENT


def _unknown(row: Sent, loans: set[str]) -> str:
    """Why there may be nothing of ours for a row."""
    if not row.loan_id:
        return "no_such_event"
    return "no_such_conversion_of_the_loan" if row.loan_id in loans else "no_event_of_the_loan"


def _matched(
    ours: Sequence[Ours],
    theirs: Sequence[Sent],
    names: Mapping[str, Sequence[str]],
    tolerance_us: int,
    ours_among_theirs: bool,
) -> tuple[list[tuple[Ours, Sent]], list[tuple[Ours, Sent]], list[Sent]]:
    """Pairs; further rows for what has a row already; and rows that nothing of ours answers to."""
    by_id = {one.id: one for one in ours}
    by_loan: dict[tuple[str, str], list[Ours]] = {}
    by_whom: dict[tuple[str, str], list[Ours]] = {}
    for one in ours:
        if one.loan_id:
            by_loan.setdefault((one.loan_id, one.conversion), []).append(one)
        for whom in {*one.installs, *one.first, f"\x1f{one.user_id}"}:
            by_whom.setdefault((whom, one.conversion), []).append(one)

    def candidates(row: Sent) -> Iterator[list[Ours]]:
        """By the surest sign first."""
        conversions = names.get(row.event, ())
        if row.conversion_id in by_id:
            yield [by_id[row.conversion_id]]
        if row.loan_id:
            yield [one for name in conversions for one in by_loan.get((row.loan_id, name), ())]
        for whom in (row.install.lower(), f"\x1f{row.user_id}" if row.user_id else ""):
            near = (one for name in conversions for one in by_whom.get((whom, name), ()) if whom)
            yield [
                one
                for one in near
                if abs(one.at_us - row.at_us) <= tolerance_us
                and not (row.loan_id and one.loan_id and row.loan_id != one.loan_id)
            ]

    taken: set[str] = set()
    pairs: list[tuple[Ours, Sent]] = []
    extra: list[tuple[Ours, Sent]] = []
    alone: list[Sent] = []
    # Rows that name a conversion of ours first, so that no other takes it away from them.
    for row in sorted(theirs, key=lambda row: row.conversion_id not in by_id):
        again: Ours | None = None
        for found in candidates(row):
            free = [one for one in found if one.id not in taken]
            if free:
                one = min(free, key=lambda one: abs(one.at_us - row.at_us))
                taken.add(one.id)
                pairs.append((one, row))
                break
            again = again or (min(found, key=lambda one: abs(one.at_us - row.at_us)) if found else None)
        else:
            if again is None:
                alone.append(row)
            elif again.live and ours_among_theirs and row.conversion_id != again.id:
                pairs.append((again, row))  # beside what we sent ourselves, somebody else did
            else:
                extra.append((again, row))
    return pairs, extra, alone


def _span(
    ours: Sequence[Ours], theirs: Sequence[Sent], since_us: int | None, until_us: int | None
) -> tuple[int, int]:
    """What is judged: where nothing is said, only where both records tell of something."""
    mine, yours = [one.at_us for one in ours], [row.at_us for row in theirs]
    both = mine and yours
    first = max(min(mine), min(yours)) if both else min([*mine, *yours], default=0)
    last = min(max(mine), max(yours)) if both else max([*mine, *yours], default=0)
    return first if since_us is None else since_us, last + 1 if until_us is None else until_us


COUNTS = (
    "ours theirs same missing_there missing_here other_device first_install other_value earlier later"
    " twice_there sent_by_both sent_by_nobody ours_alone"
).split()


def _comparison(
    tally: _Tally, destination: str, since: int, until: int, others: int, accepted: set[Difference]
) -> Comparison:
    found = {name for name, _ in tally.counts if name != "(unreadable)"}
    rows: list[tuple[Cell, ...]] = []
    for name in sorted(found):
        counts = [tally.counts[name, what] for what in COUNTS]
        seen = sum(tally.counts[name, what] for what in ("ours", Difference.MISSING_HERE))
        rows.append((name, *counts, counts[COUNTS.index("same")] / seen if seen else None))
    wrong = sum(
        n for (_, what), n in tally.counts.items() if what in set(Difference) and what not in accepted
    )
    notes = [
        f"Judged: events from {from_us(since):%Y-%m-%d %H:%M:%S} until {from_us(until):%Y-%m-%d %H:%M:%S}"
        " UTC. --from and --to say otherwise."
    ]
    if others:
        notes.append(f"{others:,} rows have a name that no route to {destination} has: left out.")
    if unreadable := tally.counts["(unreadable)", Difference.UNREADABLE]:
        notes.append(f"{unreadable:,} rows cannot be read: left out, and counted as a difference.")
    if not rows:
        notes.append("There is nothing to compare.")
    return Comparison(
        title=f"{destination} against the other sender",
        as_of=from_us(until) if rows else None,
        agreed=not wrong and bool(rows),
        destination=destination,
        compared=sum(tally.counts[name, "theirs"] for name in found),
        conversions=table(
            "By conversion",
            columns(f"conversion {' '.join(COUNTS)} same_share", same_share=SHARE),
            rows,
            "ours: sent or in shadow; same: theirs alike in device, value and time."
            "\nfirst_install: of the other devices, those that are the user's first installation."
            "\nsent_by_both: sent by us and by them, a double. sent_by_nobody: ours to send, and not sent."
            "\nours_alone: sent by us, as it is to be after a cut-over.",
        ),
        reasons=table(
            "Why something is missing",
            columns("conversion reason events"),
            [(name, why, n) for (name, why), n in sorted(tally.reasons.items())],
            "A reason for which a delivery is skipped, cancelled or dead; or what our log lacks.",
        ),
        examples=table(
            "Examples",
            columns("difference conversion at event_id loan_id row"),
            sorted(tally.examples, key=lambda row: (str(row[0]), str(row[1]))),
            "at: the event's own time, UTC. `lendsignal explain EVENT_ID` tells the rest.",
        ),
        notes=tuple(notes),
    )


def _place(entries: Sequence[Entry], destination: str) -> int | None:
    """The entry that counts: of a destination with two routes for one conversion the one that sends it."""
    places = [place for place, entry in enumerate(entries) if entry.destination == destination]
    return min(places, key=lambda place: entries[place].skip is not None, default=None)


def _settle(made: tuple[Planned | Rebound, int, int]) -> int:
    record, place, _ = made
    return record.entries[place].settle_us


def _ends(store: Deliveries | None) -> dict[int, str]:
    """How deliveries ended that did not go out: their reason."""
    ends: dict[int, str] = {}
    for _, pack in store.all_receipts() if store is not None else ():
        for one in pack:
            if one.what in ("dead", "skipped", "cancelled"):
                ends[one.id] = one.reason
            elif one.what == "accepted":
                ends.pop(one.id, None)
    return ends


def _ours(
    number: int,
    made: tuple[Planned | Rebound, int, int],
    withdrawn: str,
    ends: Mapping[int, str],
    render: Render | None,
) -> Ours:
    record, place, holder = made
    entry, conversion = record.entries[place], record.conversion
    live = entry.skip is None
    why = withdrawn
    if live:
        why = ends.get(delivery_id(number, place)) or ends.get(delivery_id(holder, place)) or ""
    elif entry.skip is not SkipReason.SHADOW:
        assert entry.skip is not None
        why = entry.skip.value
    elif not why and render is not None:
        request = render(delivery_id(holder, place), record, entry, record.binding, 0)
        why = request.reason.value if isinstance(request, Skip) else ""
    return Ours(
        conversion.id,
        conversion.name,
        conversion.event_id,
        conversion.user_id,
        conversion.loan_id or "",
        conversion.origin.occurred_us,
        entry.value,
        live,
        why,
        _ids(record.binding),
        _ids(record.first_install),
    )


def _ids(binding: Binding | None) -> frozenset[str]:
    """Every id by which another sender may have known the device."""
    if binding is None:
        return frozenset()
    device = binding.snapshot.device
    found = (id_of(device, kind) for kind in (*INSTALL_SCOPED, *DEVICE_SCOPED))
    return frozenset(one.lower() for one in found if one)
