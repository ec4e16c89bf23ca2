"""Exchange rates out of a table: date, from, to, rate."""

from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

from lendsignal.errors import InputError
from lendsignal.model.rates import Rate, Rates
from lendsignal.source.feeds.cells import currency_or_none, day_of, decimal, row_of
from lendsignal.source.feeds.settings import FxSettings, RateSettings
from lendsignal.source.feeds.table import read_table

_UTC = ZoneInfo(str(UTC))


def read_rates(path: Path) -> list[Rate]:
    """The rates of a CSV file. Raises `InputError` with the row."""
    found = []
    for number, cells in read_table(path):
        row = row_of(cells, {"day": "date", "base": "from", "quote": "to"})
        try:
            missing = next((name for name in ("date", "from", "to", "rate") if name not in row), None)
            if missing is not None:
                raise InputError(missing, "is needed")
            found.append(
                rate_of(
                    Rate(
                        day=day_of(row["date"], _UTC, _UTC, "date"),
                        base=currency_or_none(row["from"], "from"),
                        quote=currency_or_none(row["to"], "to"),
                        rate=decimal(row["rate"], "rate"),
                    )
                )
            )
        except InputError as error:
            raise InputError(f"row {number}: {error.field}", error.rule) from None
    return found


def rate_of(rate: Rate) -> Rate:
    """The rate, where it is one. Raises `InputError`."""
    if rate.rate <= 0:
        raise InputError("rate", "must be above 0")
    if rate.base == rate.quote:
        raise InputError("to", "is the same currency as from")
    return rate


def rates_of(settings: FxSettings, folder: Path) -> Rates:
    """The table of rates that the settings name and hold. Raises `InputError`, `OSError`."""
    found = [] if settings.file is None else read_rates(folder / settings.file)
    found += [_rate(one, place) for place, one in enumerate(settings.rate)]
    return Rates(found, settings.good_for)


def _rate(one: RateSettings, place: int) -> Rate:
    try:
        return rate_of(Rate(day=one.day, base=one.base, quote=one.quote, rate=one.rate))
    except InputError as error:
        raise InputError(f"rate[{place}].{error.field}", error.rule) from None
