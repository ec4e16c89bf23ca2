"""Exchange rates by date: what is not in the table is not guessed."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct


class Rate(Struct, frozen=True, kw_only=True):
    """From `day` on, one unit of `base` is worth `rate` units of `quote`; ISO 4217, upper case."""

    day: date
    base: str
    quote: str
    rate: Decimal


class Rates:
    """A table of rates. A rate holds from its day until the next one of its pair, for `good_for` at most.

    A pair that stands there the other way round is inverted; nothing is crossed over a third currency.
    """

    def __init__(self, rates: Iterable[Rate] = (), good_for: timedelta = timedelta(days=7)) -> None:
        self.good_for = good_for
        known: dict[tuple[str, str], dict[date, Decimal]] = defaultdict(dict)
        for one in rates:
            known[one.base, one.quote][one.day] = one.rate
        self._days = {pair: sorted(found) for pair, found in known.items()}
        self._rates = {pair: [found[day] for day in self._days[pair]] for pair, found in known.items()}

    def listed(self) -> tuple[Rate, ...]:
        """Every rate of the table, by pair and day."""
        return tuple(
            Rate(day=day, base=base, quote=quote, rate=rate)
            for (base, quote), days in sorted(self._days.items())
            for day, rate in zip(days, self._rates[base, quote], strict=True)
        )

    def at(self, day: date, base: str, quote: str) -> Decimal | None:
        """How many units of `quote` one of `base` was worth on that day; `None` where no rate says so."""
        if base == quote:
            return Decimal(1)
        direct, inverse = self._on(day, base, quote), self._on(day, quote, base)
        if direct is None and inverse is None:
            return None
        # The younger of the two; of the same day the one that needs no division.
        if direct is not None and (inverse is None or direct[0] >= inverse[0]):
            return direct[1]
        return None if inverse is None else 1 / inverse[1]

    def converted(self, amount: Decimal, day: date, base: str, quote: str) -> Decimal | None:
        """The amount in units of `quote`, unrounded; `None` where no rate says."""
        rate = self.at(day, base, quote)
        return None if rate is None else amount * rate

    def _on(self, day: date, base: str, quote: str) -> tuple[date, Decimal] | None:
        days = self._days.get((base, quote), [])
        place = bisect_right(days, day) - 1
        if place < 0 or day - days[place] > self.good_for:
            return None
        return days[place], self._rates[base, quote][place]
