"""What is meant by a verb's words: who types it, names, moments, which folder and which clock."""

import difflib
import os
import pwd
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from lendsignal.clock import Clock, clock_at, to_us
from lendsignal.config import Config
from lendsignal.deliver import Standing
from lendsignal.deliver.choose import Sent
from lendsignal.deliver.giving import Came
from lendsignal.deliver.steering import FolderSteering, Steering, steering_of_store
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, Order
from lendsignal.plan import known_conversions
from lendsignal.settings import duration


def steering(config: Config) -> Steering:
    """The way to whoever sends. Raises `LogError` where there is no data folder, and no store."""
    if config.store is not None:
        return steering_of_store(config.store)
    return FolderSteering(folder_of(config))


def give(config: Config, orders: Sequence[Order]) -> Came:
    """Gives orders in the name of whoever typed the verb."""
    return steering(config).give(orders, clock_of(config), who())


def who() -> str:
    """The system's name of whoever typed it."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run under a number that has no name
        return f"uid {number}"


def folder_of(config: Config) -> DataFolder:
    """The data folder, which is not made here. Raises `LogError` where there is none."""
    if not config.data.is_dir():
        raise LogError(f"there is no data folder at {config.data}: `lendsignal run` makes it")
    return DataFolder(config.data)


def standing(config: Config) -> list[Standing]:
    """How each destination stands; only those that are configured where no sender has run yet."""
    return steering(config).standing(config.outlets)


def known(kind: str, given: Iterable[str], names: Iterable[str]) -> frozenset[str]:
    """The names that were given; a wrong word, with the nearest, where there is no such name."""
    there = sorted(set(names))
    for one in given:
        if one not in there:
            nearest = difflib.get_close_matches(one, there, 1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise click.UsageError(f"there is no {kind} {one!r}; known: {', '.join(there) or 'none'}.{hint}")
    return frozenset(given)


def conversions_of(config: Config, store: Sent) -> list[str]:
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
