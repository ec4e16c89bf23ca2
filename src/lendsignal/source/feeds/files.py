"""Files of attribution and of cost into the store of feeds: reading one again changes nothing."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from lendsignal.errors import InputError
from lendsignal.log.feeds import fact_key
from lendsignal.model.attribution import Attribution, Spend
from lendsignal.source.feeds.facts import fact_of
from lendsignal.source.feeds.feed import Fact, Feed
from lendsignal.source.feeds.spend import Names, SpendFeed, cost_of, is_sum
from lendsignal.source.feeds.table import read_table

NAMED = 20
"""Refused rows that are named one by one."""


class FeedStore(Protocol):
    """Where facts and costs are kept: the feeds of a data folder, or of a cluster's store."""

    def take_many(self, facts: Iterable[Fact]) -> None: ...

    def replace_days(self, costs: Sequence[Spend]) -> None: ...

    def close(self) -> None: ...


class Refused(Struct, frozen=True):
    """A row that cannot be taken: its number in the file, the field and the rule, never the value."""

    row: int
    field: str
    rule: str


class Brought(Struct, frozen=True, kw_only=True):
    """What a file came to. `taken` is by what it was: an installation's coming, a recorded event, a cost.

    `passed_over` are rows that no report needs, such as clicks; `first_refused` the first few of those that
    cannot be taken.
    """

    rows: int
    taken: Mapping[str, int]
    passed_over: int
    refused: Mapping[str, int]
    first_refused: Sequence[Refused]


class _Tally:
    """Counts rows on their way."""

    def __init__(self) -> None:
        self.rows = self.passed_over = 0
        self.taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.first: list[Refused] = []

    def refuse(self, row: int, error: InputError) -> None:
        self.refused[f"{error.field}: {error.rule}"] += 1
        if len(self.first) < NAMED:
            self.first.append(Refused(row, error.field, error.rule))

    def brought(self) -> Brought:
        return Brought(
            rows=self.rows,
            taken=dict(sorted(self.taken.items())),
            passed_over=self.passed_over,
            refused=dict(sorted(self.refused.items())),
            first_refused=self.first,
        )


def import_attribution(
    feeds: FeedStore | None,
    path: Path,
    feed: Feed,
    now_us: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> Brought:
    """Takes a file of attribution or raw data; `progress` is told how many rows were read. Without `feeds`
    everything is read and counted, and nothing kept.

    Rows that cannot be taken are counted and the rest is taken. Raises `InputError` where it is no table,
    `LogError` where the disk does not take it: what was read until then is durable, and may come again.
    """
    tally = _Tally()
    facts = _facts(path, feed, now_us, tally, progress)
    if feeds is None:
        deque(facts, maxlen=0)
    else:
        feeds.take_many(facts)
    return tally.brought()


def read_attribution(path: Path, feed: Feed, now_us: int) -> Iterator[Fact]:
    """Every fact of a file. Raises `InputError` with the row for the first that cannot be read."""
    for number, found in read_table(path):
        try:
            fact = fact_of(feed, found, now_us)
        except InputError as error:
            raise InputError(f"row {number}: {error.field}", error.rule) from None
        if fact is not None:
            yield fact


def _facts(
    path: Path, feed: Feed, now_us: int, tally: _Tally, progress: Callable[[int], None]
) -> Iterator[Fact]:
    seen: dict[bytes, int] = {}
    for number, found in read_table(path):
        tally.rows += 1
        if tally.rows % 10_000 == 0:
            progress(tally.rows)
        try:
            fact = fact_of(feed, found, now_us)
        except InputError as error:
            tally.refuse(number, error)
            continue
        if fact is None:
            tally.passed_over += 1
        elif isinstance(fact, Attribution):
            tally.taken[fact.kind.value] += 1
            yield fact
        else:
            # A platform that recorded our event twice has it twice in one file, alike to the last cell.
            key = fact_key(fact)
            seen[key] = copies = seen.get(key, 0) + 1
            tally.taken["recorded"] += 1
            yield msgspec.structs.replace(fact, copies=copies)
    progress(tally.rows)


def import_spend(feeds: FeedStore | None, path: Path, feed: SpendFeed, names: Sequence[Path] = ()) -> Brought:
    """Takes a table of cost: the days it tells of are replaced, for the accounts it tells of.

    `names` are tables of what ids are called (a connector's history tables). A table with rows that cannot
    be taken is not taken at all: half a day's cost would look like a whole one's. Raises `InputError` where
    it is no table.
    """
    known = Names()
    for table in names:
        for _, found in read_table(table):
            known.add(found)
    tally = _Tally()
    costs: list[Spend] = []
    for number, found in read_table(path):
        tally.rows += 1
        if is_sum(found):
            tally.passed_over += 1
            continue
        try:
            cost = cost_of(feed, known, found)
        except InputError as error:
            tally.refuse(number, error)
            continue
        costs.append(cost)
        tally.taken["spend"] += 1
    if tally.refused:
        tally.taken.clear()
    elif feeds is not None:
        feeds.replace_days(costs)
    return tally.brought()


def told(found: Brought) -> str:
    """What a file came to, for people."""
    lines = [f"{n:>10,}  {kind}" for kind, n in found.taken.items()]
    if found.passed_over:
        lines.append(f"{found.passed_over:>10,}  passed over: clicks, sessions, sums and the like")
    lines += [f"{n:>10,}  refused: {why}" for why, n in found.refused.items()]
    named: list[Any] = [str(one.row) for one in found.first_refused]
    if named:
        lines.append(f"{'':>12}rows {', '.join(named)}{'' if len(named) < NAMED else ', …'}")
    return "\n".join(lines) or "nothing in it"
