"""Chooses deliveries for a person: which ones a filter means, counted before anything is ordered.

Only reads. What was chosen becomes orders of a bounded size, in the order in which it was planned.
"""

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice, repeat
from typing import Protocol, TypeVar, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import from_us
from lendsignal.deliver.outlet import Outlet
from lendsignal.log import Again, Cancel, Dead, Open, Receipt, Stage
from lendsignal.plan import Placed, Record, UserState, event_of, record_of

ORDER_SIZE = 5_000
"""Deliveries in one order: the sender carries it out between two looks at the network."""

ROWS_AT_ONCE = 5_000
AHEAD = 500
"""Deliveries whose records are read together."""

ENDED = ("accepted", "dead", "held")
"""States that can be sent through again."""


Key = TypeVar("Key", bound=Hashable)
Progress = Callable[[int, int], None]
"""Is told how much is done, of how much."""


class Announced(Protocol):
    """What is announced to go from a log."""

    def cut(self) -> int:
        """Events up to that number go, or went."""


class Remembering(Protocol):
    """What is known of a person."""

    def state(self, key: str) -> UserState | None: ...


class Past(Remembering, Protocol):
    """What was planned, in a data folder or a store, and what is known of the users."""

    @property
    def cutting(self) -> Announced: ...

    def record(self, number: int) -> Record | None: ...


@runtime_checkable
class ReadsAhead(Protocol):
    """A log whose every answer takes a while, and which gives many records in one."""

    def read_ahead(self, records: Sequence[int]) -> None:
        """These records are asked for next."""


class Sent(Protocol):
    """What became of deliveries, in a data folder or a store."""

    def renamed(self) -> dict[str, str]: ...

    def last_pack(self) -> int: ...

    def all_receipts(self, after: int = 0) -> Iterator[tuple[int, Sequence[Receipt]]]: ...

    def receipts(self, delivery: int) -> list[Receipt]: ...

    def dead(self, delivery: int) -> Dead | None: ...

    def all_dead(self, after: int = 0, limit: int = 1000) -> list[Dead]: ...

    def destinations(self) -> list[str]: ...

    def waiting(self) -> dict[str, dict[str, int]]: ...

    def tally(self) -> Mapping[tuple[str, str, str, str], int]: ...

    def open(self, destination: str, after: int, limit: int, stage: Stage = Stage.WAITING) -> list[Open]: ...


class LeftOut(StrEnum):
    """Why a delivery that the filter means is not ordered all the same."""

    TOO_OLD = "too_old"
    """Its destination's window, or `max_age`, has closed meanwhile."""
    NOT_CONFIGURED = "not_configured"
    """Its destination is not in the configuration: nobody could send it."""
    NOT_IN_LOG = "not_in_log"
    """The log does not hold what it was planned by any more."""
    NO_CONSENT = "no_consent"
    """Its user has forbidden meanwhile that data goes to ad platforms."""


class Choice(Struct, frozen=True, kw_only=True):
    """Which deliveries a person means; an empty set means any.

    `states` are `accepted`, `dead`, `held` and `waiting`. Times are microseconds since 1970, from
    `since_us` on and before `until_us`: when a delivery ended or was held; when a waiting one was planned.
    """

    states: frozenset[str]
    destinations: frozenset[str] = frozenset()
    conversions: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    since_us: int = 0
    until_us: int = 1 << 62

    def means(self, destination: str, conversion: str, reason: str, at_us: int) -> bool:
        """Whether a delivery is one of these, its state aside."""
        return (
            self.since_us <= at_us < self.until_us
            and (not self.destinations or destination in self.destinations)
            and (not self.conversions or conversion in self.conversions)
            and (not self.reasons or reason in self.reasons)
        )


class Group(Struct, frozen=True, order=True):
    """Deliveries that are alike: these are counted together."""

    destination: str
    state: str
    conversion: str
    reason: str


class Ended(Struct, frozen=True, gc=False):
    """What the last receipt of a delivery says, as little of it as is needed."""

    destination: str
    what: str
    reason: str
    bound: int


class Count(Struct, frozen=True, kw_only=True):
    """A line of the count: `n` are ordered, `left_out` says how many of the rest are not, and why."""

    destination: str
    state: str
    conversion: str
    reason: str
    n: int
    left_out: dict[str, int]


class Chosen:
    """What a filter means, as it stood when packs of receipts up to `pack` were read."""

    def __init__(self, pack: int) -> None:
        self.pack = pack
        self._members: dict[Group, tuple[array[int], array[int]]] = {}
        self._left_out: Counter[tuple[Group, LeftOut]] = Counter()

    def __len__(self) -> int:
        return sum(len(ids) for ids, _ in self._members.values())

    def add(self, group: Group, delivery: int, bound: int) -> None:
        """One more; those of one group come in the order of their ids."""
        ids, bounds = self._members.setdefault(group, (array("q"), array("q")))
        ids.append(delivery)
        bounds.append(bound)

    def leave_out(self, group: Group, why: LeftOut) -> None:
        """One that is only counted."""
        self._left_out[group, why] += 1

    def left_out(self) -> dict[str, int]:
        """How many are not ordered, by why."""
        found: Counter[str] = Counter()
        for (_, why), n in self._left_out.items():
            found[why.value] += n
        return dict(sorted(found.items()))

    def counts(self) -> list[Count]:
        """What there is, by destination, state, conversion and reason."""
        groups = sorted({*self._members, *(group for group, _ in self._left_out)})
        return [
            Count(
                destination=group.destination,
                state=group.state,
                conversion=group.conversion,
                reason=group.reason,
                n=len(self._members[group][0]) if group in self._members else 0,
                left_out={
                    why.value: self._left_out[group, why] for why in LeftOut if self._left_out[group, why]
                },
            )
            for group in groups
        ]

    def states(self, destination: str) -> set[str]:
        """The states of what is ordered for one destination."""
        return {group.state for group in self._members if group.destination == destination}

    def destinations(self) -> list[str]:
        """The destinations of what is ordered."""
        return sorted({group.destination for group in self._members})

    def again(self) -> list[Again]:
        """The orders that send them through again."""
        return [
            Again(group.destination, group.conversion, group.state, group.reason, pairs, self.pack)
            for window in self._windows()
            for group, pairs in _alike(window, lambda group: group)
        ]

    def cancel(self) -> list[Cancel]:
        """The orders that withdraw them."""
        return [
            Cancel(destination, tuple(number for number, _ in pairs))
            for window in self._windows()
            for destination, pairs in _alike(window, lambda group: group.destination)
        ]

    def _windows(self) -> Iterator[list[tuple[int, int, Group]]]:
        """All of them in the order of their ids, cut to the size of an order.

        Cut before they are grouped, so that conversions which share a lane stay near their order.
        """
        groups = sorted(self._members)
        merged = heapq.merge(
            *(zip(*self._members[group], repeat(place), strict=False) for place, group in enumerate(groups))
        )
        while window := [
            (number, bound, groups[place]) for number, bound, place in islice(merged, ORDER_SIZE)
        ]:
            yield window


def _alike(
    window: Iterable[tuple[int, int, Group]], key: Callable[[Group], Key]
) -> Iterator[tuple[Key, tuple[tuple[int, int], ...]]]:
    """The (id, bound) pairs of a window by a key, in the order in which its keys first occur."""
    found: dict[Key, list[tuple[int, int]]] = {}
    for number, bound, group in window:
        found.setdefault(key(group), []).append((number, bound))
    return ((one, tuple(pairs)) for one, pairs in found.items())


class Chooser:
    """Reads the log and the deliveries for what a filter means. `now_us` is when windows are judged."""

    def __init__(self, log: Past, store: Sent, outlets: Mapping[str, Outlet], now_us: int) -> None:
        self._log = log
        self._store = store
        self._outlets = outlets
        self._now_us = now_us
        self._renamed = store.renamed()
        self._cut = log.cutting.cut()
        self._last: tuple[int, Placed | None] = (0, None)

    def to_send_again(self, choice: Choice, progress: Progress = lambda done, total: None) -> Chosen:
        """Finished and held deliveries, without those that could not be sent any more."""
        chosen = Chosen(self._store.last_pack())
        ended = self._ended(choice, chosen.pack, progress)
        for done, number in enumerate(self._expected(sorted(ended)), 1):
            self._take(chosen, choice, number, ended[number])
            if done % 1_000 == 0:
                progress(done, len(ended))
        return chosen

    def to_cancel(self, choice: Choice, progress: Progress = lambda done, total: None) -> Chosen:
        """Waiting and held deliveries: those that a cancel reaches."""
        chosen = Chosen(self._store.last_pack())
        if "held" in choice.states:
            held = replace(choice, states=frozenset({"held"}))
            ended = self._ended(held, chosen.pack, progress)
            for number in self._expected(sorted(ended)):
                group = self._group(number, ended[number])
                if group is not None and _means(choice.conversions, group.conversion):
                    chosen.add(group, number, ended[number].bound)
        if "waiting" in choice.states:
            self._waiting(choice, chosen, progress)
        return chosen

    def dead(self, numbers: Iterable[int]) -> tuple[Chosen, list[int]]:
        """The dead deliveries of those ids, and the ids of which none is dead."""
        chosen, others = Chosen(self._store.last_pack()), []
        every = Choice(states=frozenset({"dead"}))
        for number in sorted(set(numbers)):
            dead = self._store.dead(number)
            receipts = self._store.receipts(number) if dead is not None else []
            if receipts:
                self._take(chosen, every, number, self._end(receipts[-1]))
            else:
                others.append(number)
        return chosen, others

    def _take(self, chosen: Chosen, choice: Choice, number: int, last: Ended) -> None:
        group = self._group(number, last)
        if group is None:
            nameless = Group(last.destination, last.what, "", last.reason)
            chosen.leave_out(nameless, LeftOut.NOT_IN_LOG)
            return
        if not _means(choice.conversions, group.conversion):
            return
        outlet = self._outlets.get(group.destination)
        if outlet is None:
            chosen.leave_out(group, LeftOut.NOT_CONFIGURED)
        elif self._is_too_old(outlet, number):
            chosen.leave_out(group, LeftOut.TOO_OLD)
        elif self._is_forbidden(number):
            chosen.leave_out(group, LeftOut.NO_CONSENT)
        else:
            chosen.add(group, number, last.bound)

    def _ended(self, choice: Choice, pack: int, progress: Progress) -> dict[int, Ended]:
        """The last receipt of each delivery that ended, or was held, as the filter says."""
        any_conversion = replace(choice, conversions=frozenset())  # a receipt does not tell it
        found: dict[int, Ended] = {}
        for number, receipts in self._store.all_receipts():
            if number > pack:
                break
            for one in receipts:
                name, word = self._name(one.destination), _word(one)
                if one.what in choice.states and any_conversion.means(name, "", word, one.answered_us):
                    found[one.id] = Ended(name, one.what, word, one.bound)
                elif one.id in found:
                    del found[one.id]
            progress(number, pack)
        return found

    def _waiting(self, choice: Choice, chosen: Chosen, progress: Progress) -> None:
        total = sum(stages.get("waiting", 0) for stages in self._store.waiting().values())
        done = 0
        for name in choice.destinations or frozenset(self._store.destinations()):
            # Merged by id: a group's members come in order, whatever each one waits for.
            stages = (self._open(name, stage) for stage in (Stage.WAITING, Stage.PARKED))
            waiting = heapq.merge(*stages)
            while some := dict(islice(waiting, AHEAD)):
                for number in self._expected(list(some)):
                    done += 1
                    record, reason = self._record(number), some[number]
                    if record is not None and choice.means(
                        name, record.conversion.name, reason, record.at_us
                    ):
                        chosen.add(Group(name, "waiting", record.conversion.name, reason), number, 0)
                    if done % 1_000 == 0:
                        progress(done, max(total, done))

    def _open(self, name: str, stage: Stage) -> Iterator[tuple[int, str]]:
        after = 0
        while found := self._store.open(name, after, ROWS_AT_ONCE, stage):
            yield from ((one.id, one.reason.partition(" ")[0]) for one in found)
            after = found[-1].id

    def _expected(self, numbers: Sequence[int]) -> Iterator[int]:
        """The deliveries one after the other; where that is quicker, their records are read together."""
        if not isinstance(self._log, ReadsAhead):
            yield from numbers
            return
        for start in range(0, len(numbers), AHEAD):
            some = numbers[start : start + AHEAD]
            self._log.read_ahead([record_of(number)[0] for number in some])
            yield from some

    def _end(self, last: Receipt) -> Ended:
        return Ended(self._name(last.destination), last.what, _word(last), last.bound)

    def _group(self, number: int, last: Ended) -> Group | None:
        record = self._record(number)
        if record is None:
            return None
        return Group(last.destination, last.what, record.conversion.name, last.reason)

    def _is_too_old(self, outlet: Outlet, number: int) -> bool:
        record = self._record(number)
        ends = None if record is None else outlet.too_old_from(record.conversion.occurred_at)
        return ends is not None and ends <= from_us(self._now_us)

    def _is_forbidden(self, number: int) -> bool:
        record = self._record(number)
        return record is not None and is_forbidden(self._log, record)

    def _record(self, delivery: int) -> Placed | None:
        """What planned a delivery; those of one conversion follow each other, so the last is kept."""
        number, _ = record_of(delivery)
        if self._last[0] != number:
            # What is announced to go is as good as gone: nothing is chosen that goes a moment later.
            record = self._log.record(number) if event_of(number)[0] > self._cut else None
            self._last = (number, record if isinstance(record, Placed) else None)
        return self._last[1]

    def _name(self, destination: str) -> str:
        """The name that a destination of an earlier day has today."""
        seen = {destination}
        while (later := self._renamed.get(destination)) is not None and later not in seen:
            destination = later
            seen.add(later)
        return destination


def is_forbidden(log: Remembering, record: Placed) -> bool:
    """Whether the user has said no since this was planned. Who was never asked was judged then."""
    origin = record.conversion.origin
    state = log.state(f"{origin.brand}:{origin.user_id}")
    return state is not None and state.consent is not None and state.consent.ad_user_data is False


def _means(wanted: frozenset[str], found: str) -> bool:
    return not wanted or found in wanted


def _word(receipt: Receipt) -> str:
    """The reason as it is counted: without a handle, or what a request that was held ended in."""
    return receipt.reason.partition(" ")[0].rstrip(":")
