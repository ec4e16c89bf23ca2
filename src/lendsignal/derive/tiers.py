"""Quality tiers by a table of cuts: a user in the best 20 % is also in the best 30, 50 and 70 %."""

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from math import isfinite

import msgspec
from msgspec import Struct

from lendsignal.errors import InputError
from lendsignal.model import Event


class Cut(Struct, frozen=True, kw_only=True):
    """A score from which a grant belongs to the best `share` percent, in a scope.

    `None` in a scope's field means any. `valid_from` is aware, UTC; `None` means always.
    """

    share: int
    cut: float
    country: str | None = None
    product: str | None = None
    score_version: str | None = None
    valid_from: datetime | None = None


class Tiers(Struct, frozen=True, kw_only=True):
    """The cut table in force. `version` names it and is kept with every tier that it decided."""

    cuts: tuple[Cut, ...] = ()
    version: str = ""
    higher_is_better: bool = True
    per_grant: bool = False


def tiers_of(event: Event, country: str | None, tiers: Tiers) -> Sequence[int]:
    """The shares the grant falls into, widest first so that a crash leaves the broad ones.

    The most closely scoped, then the youngest cut valid at the grant decides for each share. Tiers are
    nested whatever the table says: who is in the best 20 % is in every wider share that has a cut. Without
    a score there is no tier.
    """
    if event.score is None or not tiers.cuts:
        return ()
    sign = 1 if tiers.higher_is_better else -1
    fitting = [cut for cut in tiers.cuts if _fits(cut, event, country)]
    fitting.sort(
        key=lambda cut: (cut.share, _closeness(cut), cut.valid_from.timestamp() if cut.valid_from else 0.0)
    )
    deciding = [list(cuts)[-1] for _, cuts in groupby(fitting, key=lambda cut: cut.share)]
    inside = [cut.share for cut in deciding if sign * event.score >= sign * cut.cut]
    return sorted((cut.share for cut in deciding if inside and cut.share >= inside[0]), reverse=True)


def _fits(cut: Cut, event: Event, country: str | None) -> bool:
    return (
        cut.country in (None, country)
        and cut.product in (None, event.product)
        and cut.score_version in (None, event.score_version)
        and (cut.valid_from is None or cut.valid_from <= event.occurred_at)
    )


def _closeness(cut: Cut) -> int:
    return sum(part is not None for part in (cut.country, cut.product, cut.score_version))


def cuts_of(text: str) -> tuple[Cut, ...]:
    """The cut table in a CSV text with the columns share, cut and optionally country, product,
    score_version and valid_from (RFC 3339 with an offset). Raises `InputError` with line and column.
    """
    cuts: list[Cut] = []
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        columns = set(reader.fieldnames or ())
    except csv.Error as error:
        raise InputError("line 1", f"is not CSV: {error}") from None
    if columns - set(Cut.__struct_fields__) or {"share", "cut"} - columns:
        raise InputError(
            "line 1", f"columns are {', '.join(Cut.__struct_fields__)}; share and cut are needed"
        )
    for row in _rows(reader):
        if None in row:
            # A comma for the decimal point would be read as another column, and the cut cut off.
            raise InputError(f"line {reader.line_num}", "has more columns than the first line")
        cells = {name: cell.strip() for name, cell in row.items() if name and cell and cell.strip()}
        try:
            cut = msgspec.convert(cells, Cut, strict=False)
        except msgspec.ValidationError as error:
            raise InputError(f"line {reader.line_num}", str(error).replace("`", "")) from None
        if not isfinite(cut.cut):
            raise InputError(f"line {reader.line_num}", "cut must be a number")
        if not 1 <= cut.share <= 99:
            raise InputError(f"line {reader.line_num}", "share must be from 1 to 99")
        if cut.valid_from is not None and cut.valid_from.tzinfo is None:
            raise InputError(f"line {reader.line_num}", "valid_from needs an offset: write Z behind it")
        cuts.append(cut)
    return tuple(cuts)


def _rows(reader: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"line {reader.line_num + 1}", f"is not CSV: {error}") from None
