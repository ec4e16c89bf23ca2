"""What a made-up market is like, and what a lender does in it: two small files, both checked.

`market.toml` beside this file holds the defaults, each number with where it comes from. A number of the file
may be a range, of which each world draws its own: what is concluded then holds over the range or not at all.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zlib import crc32

import numpy as np
from msgspec import Meta, Struct, field

from lendsignal.advise.strategies import Binding, Event, Value
from lendsignal.errors import ConfigError, Problem
from lendsignal.settings import key_path, read, toml_positions, with_lines
from lendsignal.simulate.parameters import Count, NotNegative, Positive, Section, Share

DEFAULT = Path(__file__).with_name("market.toml")

Correlation = Annotated[float, Meta(gt=-1, lt=1)]
Hours = Annotated[float, Meta(ge=0, le=24)]

TIERS: Mapping[str, int] = {f"credit_top{share}": share for share in (70, 50, 30, 20)}


class People(Section, frozen=True, kw_only=True):
    """Who is on offer."""

    features: Count
    explained: Share
    intent_quality: Correlation
    need_quality: Correlation
    returning: Share
    borrowed_before: Share
    anyway: Share


class Ads(Section, frozen=True, kw_only=True):
    """How installs are bought."""

    days: Count
    offered: Positive
    price_spread: NotNegative
    elasticity: float
    explored: Share
    explored_learning: Share
    learning_minimum: NotNegative
    learner: Literal["ridge", "trees", "bandit"]


class Channel(Section, frozen=True, kw_only=True):
    """One platform: money a day, and days within which it counts."""

    budget: NotNegative
    window_days: Positive


class Journey(Section, frozen=True, kw_only=True):
    """From the install to the money, and how long each step takes."""

    soon: Share
    soon_minutes: Positive
    soon_spread: NotNegative
    later_days: Positive
    later_spread: NotNegative
    automatic_seconds: Positive
    automatic_spread: NotNegative
    manual: Share
    desk_opens: Hours
    desk_closes: Hours
    review_minutes: Positive
    review_spread: NotNegative
    payout_minutes: Positive
    payout_spread: NotNegative
    payout_next_day: Share
    register: float
    apply: float
    proxy_noise: NotNegative


class Lender(Section, frozen=True, kw_only=True):
    """What loans earn and lose."""

    loan: Positive
    fee: NotNegative
    cost: NotNegative
    recovered: Share
    cutoff: float
    default: float
    default_quality: float
    later_default: float
    repeats: NotNegative
    due_days: Positive
    due_days_long: Positive
    due_short: Share


class Phones(Section, frozen=True, kw_only=True):
    """What phones do."""

    changed_a_month: Share


class Market(Section, frozen=True, kw_only=True):
    """One market, every number known."""

    people: People
    ads: Ads
    channel: dict[str, Channel]
    journey: Journey
    lender: Lender
    phones: Phones


class Strategy(Section, frozen=True, kw_only=True):
    """What a lender tells the platforms.

    `batch_hours`: sent every so many hours, 0 at once. `market` holds keys of the market that go with the
    strategy, such as `journey.manual`.
    """

    name: Annotated[str, Meta(min_length=1)]
    event: Event
    value: Value = "none"
    bins: Annotated[int, Meta(ge=2, le=50)] = 8
    binding: Binding = "last_login"
    batch_hours: Annotated[float, Meta(ge=0, le=168)] = 0.0
    market: dict[str, Any] = field(default_factory=dict)


class Markets(Struct, frozen=True, kw_only=True):
    """A market some of whose numbers are ranges. `table` is the file's, with the middle of each range."""

    table: Mapping[str, Any]
    ranges: Mapping[tuple[str, ...], tuple[float, float]]

    def drawn(self, seed: int) -> Market:
        """The market of that seed: each range's number depends on its name and the seed alone."""
        table = _copied(self.table)
        for path, (low, high) in self.ranges.items():
            part = np.random.default_rng([seed, crc32(".".join(path).encode())]).random()
            _put(table, path, low + (high - low) * float(part))
        market, problems = read(Market, table, path="", origin="")
        assert market is not None, problems
        return market


def load_market(path: Path | None = None, changes: Mapping[str, Any] | None = None) -> Markets:
    """The default market with what a file says instead, and with `changes` on top (tables within tables).

    Raises `ConfigError` with every mistake.
    """
    table = tomllib.loads(DEFAULT.read_text())
    text, origin = "", ""
    if path is not None:
        text, origin = _text(path), str(path)
        table = _merged(table, _parsed(text, origin))
    table = _merged(table, changes or {})
    ranges = dict(_ranges(table))
    for where, (low, high) in ranges.items():
        _put(table, where, (low + high) / 2)
    market, problems = read(Market, table, path="", origin=origin)
    found = list(problems)
    if market is not None and not market.channel:
        found.append(Problem("channel", "no platform", "at least one [channel.NAME]", origin))
    if market is not None and market.journey.desk_opens >= market.journey.desk_closes:
        allowed = "an hour before journey.desk_closes"
        found.append(Problem("journey.desk_opens", str(market.journey.desk_opens), allowed, origin))
    for where, (low, high) in ranges.items():
        if low > high:
            found.append(Problem(key_path(*where), f"[{low:g}, {high:g}]", "the lower end first", origin))
    if found:
        raise ConfigError(with_lines(found, toml_positions(text)))
    return Markets(table=table, ranges=ranges)


def load_strategy(path: Path) -> Strategy:
    """A strategy's file; its name is by default the file's. Raises `ConfigError` with every mistake."""
    return strategy_of(_text(path), name=path.stem, origin=str(path))


def strategy_of(text: str, *, name: str = "", origin: str = "") -> Strategy:
    """A strategy from the text of its file; `name` stands where the text says none. Raises `ConfigError`."""
    table = {"name": name, **_parsed(text, origin)}
    strategy, problems = read(Strategy, table, path="", origin=origin)
    if strategy is None:
        raise ConfigError(with_lines(problems, toml_positions(text)))
    load_market(changes=strategy.market)
    return strategy


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "unreadable"
        raise ConfigError([Problem(str(path), reason, "a readable TOML file")]) from None


def _parsed(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(origin, f"not TOML: {error}", "a TOML file")]) from None


def _merged(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the changes, table by table."""
    found = dict(table)
    for key, value in changes.items():
        inner = found.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        found[key] = _merged(inner or {}, value) if both else value
    return found


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in table.items()}


def _put(table: dict[str, Any], path: tuple[str, ...], value: float) -> None:
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value


def _ranges(
    table: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], tuple[float, float]]]:
    for key, value in table.items():
        match value:
            case dict():
                yield from _ranges(value, (*above, key))
            case [int() | float() as low, int() | float() as high]:
                yield (*above, key), (float(low), float(high))
            case _:
                pass
