"""How a verb reaches the sender: who asks, what is meant, an order on disk, and what came of it."""

import difflib
import os
import pwd
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from msgspec import Struct

from lendsignal.clock import Clock, clock_at, to_us
from lendsignal.config import Config
from lendsignal.deliver import Standing, standings
from lendsignal.errors import LogError, NotYet
from lendsignal.log import (
    DataFolder,
    Deliveries,
    Log,
    Order,
    Orders,
    open_deliveries,
    open_log,
    open_orders,
)
from lendsignal.plan import known_conversions
from lendsignal.role.standing import sender_runs
from lendsignal.settings import duration

PATIENCE_SECONDS = 10.0
"""How long a verb waits for the sender; the order stands all the same."""

LOOK_SECONDS = 0.05


class Came(Struct, frozen=True, kw_only=True):
    """What came of orders: deliveries (or destinations) reached and passed over; `open` orders wait still."""

    orders: tuple[int, ...]
    done: int
    passed_over: int
    open: int
    sender_runs: bool

    @property
    def is_stuck(self) -> bool:
        """A sender runs and has not carried out a single one."""
        return self.sender_runs and self.open == len(self.orders) > 0


def give(folder: DataFolder, orders: Sequence[Order], clock: Clock) -> Came:
    """Makes orders durable, wakes the sender, and waits a while for what it says."""
    kept = open_orders(folder.orders)
    try:
        numbers = kept.give(orders, who(), clock.now_us())
    finally:
        kept.close()
    ringer = folder.ringer("send")
    ringer.ring()
    ringer.close()
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = _came(folder, numbers, sender_runs(folder))
        if not found.open or not found.sender_runs or time.monotonic() >= end:
            return found
        time.sleep(LOOK_SECONDS)


def _came(folder: DataFolder, numbers: Sequence[int], runs: bool) -> Came:
    obeyed: list[tuple[int, int]] = []
    try:
        store = open_deliveries(folder.deliveries, read_only=True)
    except NotYet:  # no sender has ever run here
        pass
    else:
        try:
            obeyed = [one for number in numbers if (one := store.obeyed(number)) is not None]
        finally:
            store.close()
    return Came(
        orders=tuple(numbers),
        done=sum(done for done, _ in obeyed),
        passed_over=sum(passed for _, passed in obeyed),
        open=len(numbers) - len(obeyed),
        sender_runs=runs,
    )


def told(came: Came, what: str) -> str:
    """That for people; `what` says it where it is done, such as `{done} deliveries wait again`."""
    if came.open == len(came.orders) and not came.sender_runs:
        return "the order stands; no sender runs now: it is carried out when one starts"
    if came.is_stuck:
        return f"the order stands, and the sender has not carried it out after {PATIENCE_SECONDS:.0f} s"
    said = [what.format(done=f"{came.done:,}")]
    if came.passed_over:
        said.append(f"{came.passed_over:,} passed over: something else became of them meanwhile")
    if came.open:
        said.append(
            f"{came.open} of {len(came.orders)} orders are still to be carried out; the sender goes on"
        )
    return "\n".join(said)


def who() -> str:
    """The system's name of whoever typed it."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run under a number that has no name
        return f"uid {number}"


# what is meant


def folder_of(config: Config) -> DataFolder:
    """The data folder, which is not made here. Raises `LogError` where there is none."""
    if not config.data.is_dir():
        raise LogError(f"there is no data folder at {config.data}: `lendsignal run` makes it")
    return DataFolder(config.data)


class Stores:
    """The log and the deliveries of a folder, read only."""

    def __init__(self, folder: DataFolder) -> None:
        self.log: Log = open_log(folder.log, read_only=True)
        try:
            self.deliveries: Deliveries = open_deliveries(folder.deliveries, read_only=True)
        except LogError:
            self.log.close()
            raise

    def __enter__(self) -> "Stores":
        return self

    def __exit__(self, *error: object) -> None:
        self.deliveries.close()
        self.log.close()


def orders_of(folder: DataFolder) -> Orders | None:
    """The orders, read only; `None` where nobody has given one."""
    try:
        return open_orders(folder.orders, read_only=True)
    except NotYet:
        return None


def standing(config: Config) -> list[Standing]:
    """How each destination stands; only those that are configured where no sender has run yet."""
    folder = folder_of(config)
    try:
        store = open_deliveries(folder.deliveries, read_only=True)
    except NotYet:
        return [Standing(destination=name, configured=True) for name in sorted(config.outlets)]
    orders = orders_of(folder)
    try:
        return standings(store, orders, config.outlets)
    finally:
        store.close()
        if orders is not None:
            orders.close()


def known(kind: str, given: Iterable[str], names: Iterable[str]) -> frozenset[str]:
    """The names that were given; a wrong word, with the nearest, where there is no such name."""
    there = sorted(set(names))
    for one in given:
        if one not in there:
            nearest = difflib.get_close_matches(one, there, 1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise click.UsageError(f"there is no {kind} {one!r}; known: {', '.join(there) or 'none'}.{hint}")
    return frozenset(given)


def conversions_of(config: Config, store: Deliveries) -> list[str]:
    """Conversions that are derived, or were."""
    return [*known_conversions(config.policy.derive), *(conversion for _, conversion, _, _ in store.tally())]


def clock_of(config: Config) -> Clock:
    """The clock that the service goes by."""
    return clock_at(config.replay_clock)


class Moment(click.ParamType[Any]):
    """A time with an offset, or how long ago: microseconds since 1970, a span below zero."""

    name = "TIME"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> int | None:
        if value is None or isinstance(value, int):
            return value
        text = str(value)
        try:
            return -int(duration(text).total_seconds() * 1_000_000)
        except ValueError:
            pass
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r}: write it like 2026-11-22T00:00:00Z, or 24h for so long ago", param, context)
        if found.tzinfo is None:
            self.fail(f"{text!r}: add an offset, such as Z or +01:00", param, context)
        return to_us(found.astimezone(UTC))


def at(moment: int | None, now_us: int, otherwise: int) -> int:
    """The moment that was meant, in microseconds since 1970."""
    if moment is None:
        return otherwise
    return moment if moment > 0 else now_us + moment
