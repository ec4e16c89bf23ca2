"""Everything odd in what is imported: said with file, row and name, and never with what a cell holds."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from itertools import pairwise
from typing import Literal

import msgspec
from msgspec import Struct

from lendsignal.model import ONCE_PER_KEY, Event, key_of

Kind = Literal[
    "unreadable_file",
    "repeated_file",
    "unreadable_row",
    "unreadable_cell",
    "refused_event",
    "future_time",
    "duplicate_key",
    "conflicting_key",
    "overlapping_loan",
    "missing_loan_number",
    "not_from_first_loan",
    "repeated_loan_number",
    "out_of_order",
    "date_only",
    "doubtful_time",
    "missing_lookup",
    "repeated_lookup_key",
    "row_without_event",
    "reported",
]

MEANING: dict[Kind, str] = {
    "unreadable_file": "a file that is damaged, cut off or empty: an import refuses it whole",
    "repeated_file": "files with the content of another one: read once",
    "unreadable_row": "rows that are no row of their file: kept in quarantine",
    "unreadable_cell": "cells that are not what the map says: events that need them are kept in quarantine",
    "refused_event": "events that the door would refuse: kept in quarantine",
    "future_time": "events that lie in the future: kept in quarantine",
    "duplicate_key": "events that came before with the same key and content: taken once",
    "conflicting_key": "events that came before with the same key and other content: the first counts",
    "overlapping_loan": "loans applied for before the loan before them was closed",
    "missing_loan_number": "loan numbers missing between a user's loans",
    "not_from_first_loan": "users whose loan numbers do not start at 1",
    "repeated_loan_number": "loans with the number of another loan of the user",
    "out_of_order": "loans whose steps are not in the order of a loan's life",
    "date_only": "events of which only the day is known",
    "doubtful_time": "local times that clocks showed twice or skipped",
    "missing_lookup": "rows that a lookup file has no row for",
    "repeated_lookup_key": "rows of a lookup file whose key came before: the first counts",
    "row_without_event": "rows that no event rule applies to",
    "reported": "rows that a report rule of the map names",
}
"""What each kind says of the import."""

REFUSED: frozenset[Kind] = frozenset(("unreadable_row", "unreadable_cell", "refused_event", "future_time"))
"""The kinds that keep an event out of the log: these go to quarantine."""


class Oddity(Struct, frozen=True, kw_only=True):
    """One odd thing.

    `about` names the loan or user, `field` the column or event field. `rule` says what is wrong; for kind
    "reported" it is the report rule's name. Rows are counted from 1 after the header, `line` in the file.
    """

    kind: Kind
    rule: str
    file: str = ""
    row: int = 0
    line: int | None = None
    field: str = ""
    event: str = ""
    about: str = ""

    def __str__(self) -> str:
        where = f"{self.file} row {self.row}" if self.row else self.file
        if self.line is not None:
            where += f" (line {self.line})"
        parts = (where, self.event, self.about, f"{self.field} {self.rule}".strip())
        return ": ".join(part for part in parts if part)


class Place(Struct, frozen=True, array_like=True):
    """Where an event comes from: the number of its file, its row, and the rule that made it."""

    file: int
    row: int
    rule: int


STEPS = ("applied", "credit_granted", "disbursed", "repaid")
"""What happens to a loan, in its order."""

_encode = msgspec.msgpack.Encoder().encode


class _Loan:
    """What a user's events say of one loan."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.number: int | None = None
        self.first: dict[str, datetime] = {}
        self.opened: datetime | None = None
        self.closed: datetime | None = None
        self.by_day = False


def odd_of_user(found: Sequence[tuple[Place, Event]], files: Sequence[str]) -> Iterator[Oddity]:
    """What is odd about one user's events, given in the order of time.

    Needs of each: type and its key, `occurred_at`; for loans also `loan_id` and, where there is one,
    `loan_number`; a loan is closed by a repayment with `closes_loan` or nothing outstanding. An overlap is
    named after the later loan; the same moment is no overlap.
    """
    yield from _repeats(found, files)
    loans = _loans(event for _, event in found)
    user = found[0][1].user_id
    registered = min((event.occurred_at for _, event in found if event.type == "registered"), default=None)
    closed: datetime | None = None
    open_ = ""
    for loan in sorted(loans, key=lambda loan: (loan.opened is None, loan.opened)):
        if loan.opened is not None and closed is not None and loan.opened < closed:
            days = (closed - loan.opened).total_seconds() / 86_400
            rule = f"applied for {days:.2f} days before loan {open_} was closed"
            yield Oddity(kind="overlapping_loan", rule=rule, about=loan.name)
        if loan.closed is not None and (closed is None or loan.closed > closed):
            closed, open_ = loan.closed, loan.name
        yield from _disorder(loan, registered)
    yield from _numbers(loans, user)


def _repeats(found: Sequence[tuple[Place, Event]], files: Sequence[str]) -> Iterator[Oddity]:
    """Keys that came before, by the rule that `decide` goes by later."""
    seen: dict[tuple[str, str, int], bytes] = {}
    for place, event in found:
        key = key_of(event) if event.type in ONCE_PER_KEY else None
        if key is None:
            continue
        content = _content(event)
        before = seen.setdefault((event.type, key, event.revision), content)
        if before is not content:
            same = before == content
            yield Oddity(
                kind="duplicate_key" if same else "conflicting_key",
                rule="came before, the same" if same else "came before with other content",
                file=files[place.file],
                row=place.row,
                event=event.type,
                about=key,
            )


def _content(event: Event) -> bytes:
    bare = msgspec.structs.replace(event, event_id="", received_at=event.occurred_at, source="", flags=())
    return blake2b(_encode(bare), digest_size=8).digest()


def _loans(events: Iterator[Event]) -> list[_Loan]:
    loans: dict[str, _Loan] = {}
    for event in events:
        if event.loan_id is None or event.type not in STEPS:
            continue
        loan = loans.setdefault(event.loan_id, _Loan(event.loan_id))
        loan.number = event.loan_number or loan.number
        loan.first.setdefault(event.type, event.occurred_at)
        if event.time_precision == "day":
            loan.by_day = True
        if event.type != "repaid":
            loan.opened = loan.opened or event.occurred_at
        elif event.closes_loan or event.outstanding == 0:
            loan.closed = event.occurred_at
    return list(loans.values())


def _disorder(loan: _Loan, registered: datetime | None) -> Iterator[Oddity]:
    """Steps that come before the step they follow. A step known by its day only accuses nobody."""
    before, at = ("registered", registered) if registered is not None else ("", None)
    for step in STEPS:
        moment = loan.first.get(step)
        if moment is None:
            continue
        if at is not None and moment < at and not loan.by_day:
            yield Oddity(kind="out_of_order", rule=f"{step} comes before {before}", about=loan.name)
        before, at = step, moment


def _numbers(loans: Sequence[_Loan], user: str) -> Iterator[Oddity]:
    numbered = sorted((loan.number, loan.name) for loan in loans if loan.number is not None)
    if not numbered:
        return
    if numbered[0][0] != 1:
        rule = f"starts at loan number {numbered[0][0]}"
        yield Oddity(kind="not_from_first_loan", rule=rule, about=user)
    for (number, _), (after, name) in pairwise(numbered):
        if after == number:
            yield Oddity(kind="repeated_loan_number", rule=f"is number {number} like another", about=name)
        elif after > number + 1:
            missing = (
                f"number {number + 1}" if after == number + 2 else f"numbers {number + 1} to {after - 1}"
            )
            yield Oddity(kind="missing_loan_number", rule=f"{missing} missing before it", about=name)
