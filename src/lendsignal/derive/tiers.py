"""Quality tiers by cuts: a user in the best 20 % is also in the best 30, 50 and 70 %.

Two bases, one machinery: the lender's own score (`credit_top20`) and a predicted value (`value_top20`).
Where the cuts come from is another matter: a table of the lender's, or `derive.recut`.
"""

import csv
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from math import inf, isfinite
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from lendsignal.errors import InputError
from lendsignal.model import App, Event, conversion_id, person_key

Basis: TypeAlias = Literal["score", "predicted_value"]
"""What users are ranked by."""

TIER_OF: Mapping[Basis, str] = {"score": "credit_top", "predicted_value": "value_top"}
"""How the tiers of a basis are named, before the share."""

PREDICTED_VALUE = "predicted_value"
"""The property of an event in which the lender's own model tells what the user is worth, in the event's
currency."""

SCOPE_FIELDS = ("brand", "app", "country", "product", "score_version")
"""What a cut may be limited to."""

LADDERS_AT_HAND = 4_096
"""Scopes whose cuts are kept ready. What a lender calls its products is not bounded by us."""


class Cut(Struct, frozen=True, kw_only=True):
    """A score from which a grant belongs to the best `share` percent, in a scope.

    `None` in a scope's field means any. `valid_from` is aware, UTC; `None` means always.
    `ties` is how much of those whose score is exactly the cut belong to it: where many have one score, a
    part of them, so that the share is kept.
    """

    share: int
    cut: float
    brand: str | None = None
    app: str | None = None
    country: str | None = None
    product: str | None = None
    score_version: str | None = None
    valid_from: datetime | None = None
    basis: Basis = "score"
    ties: float = 1.0


class Tiers(Struct, frozen=True, kw_only=True):
    """The cuts in force. `version` names them and is kept with every tier that they decided.

    `rolling` are the bases whose cuts are made out of the lender's own grants (see `CutTable`), for the
    `shares` in percent; until the first are made nobody is in a tier of them.
    """

    cuts: tuple[Cut, ...] = ()
    version: str = ""
    higher_is_better: bool = True
    per_grant: bool = False
    rolling: tuple[Basis, ...] = ()
    shares: tuple[int, ...] = ()

    def names(self) -> list[str]:
        """Every tier there may be, widest last: `credit_top20`, `credit_top50`, …"""
        given = {(cut.basis, cut.share) for cut in self.cuts}
        given |= {(basis, share) for basis in self.rolling for share in self.shares}
        return [f"{TIER_OF[basis]}{share}" for basis, share in sorted(given)]


class CutSet(Struct, frozen=True, kw_only=True):
    """The cuts of one scope and how they came about.

    `n`: grants they were made of, `parent_n`: grants of the parent scope that were blended in.
    `made_us`: microseconds since 1970. `deciles`: the nine scores between tenths of those grants and
    `tenths` how much of them fell into each, for comparing with later grants. `largest_atom` is the part
    of the grants that had one and the same score.
    """

    cuts: tuple[Cut, ...]
    reason: Literal["first", "drift", "planned", "mapped", "asked"]
    made_us: int
    n: int
    parent_n: int = 0
    deciles: tuple[float, ...] = ()
    tenths: tuple[float, ...] = ()
    largest_atom: float = 0.0


class CutTable(Struct, frozen=True, kw_only=True):
    """All cuts that apply together from one position of the log on; never changed, only followed by another.

    `version` names the content. `sets` are the scopes, those that did not change included.
    """

    version: str
    made_us: int
    sets: tuple[CutSet, ...]


def with_table(tiers: Tiers, table: CutTable | None) -> Tiers:
    """The tiers with the cuts of a table, where the lender's are made out of its own grants."""
    if not tiers.rolling or table is None:
        return tiers
    cuts = tuple(
        cut
        for one in table.sets
        for cut in one.cuts
        if cut.basis in tiers.rolling and cut.share in tiers.shares
    )
    return msgspec.structs.replace(tiers, cuts=cuts, version=table.version)


def is_tier(name: str) -> bool:
    """Whether a conversion of that name is a tier."""
    return name.startswith(("credit_top", "value_top"))


def measure_of(event: Event, basis: Basis) -> float | None:
    """What the grant is ranked by; `None` where it says nothing of it."""
    if basis == "score":
        return event.score
    found = event.properties.get(PREDICTED_VALUE)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def seed_of(portfolio: str, event: Event) -> float:
    """A number from 0 up to 1 that belongs to the grant for ever: it orders grants of one score."""
    return int(conversion_id(portfolio, person_key(event), event.grant_id or "", "tier")[:13], 16) / 2**52


class Ladder(Struct, frozen=True):
    """The cuts of one scope, widest first: `edges` rise. Nested whatever the table said."""

    shares: tuple[int, ...]
    edges: tuple[float, ...]
    ties: tuple[float, ...]

    def shares_of(self, measure: float, seed: Callable[[], float]) -> Sequence[int]:
        """The shares a grant falls into, widest first; `measure` is larger for a better user."""
        inside = bisect_left(self.edges, measure)
        while inside < len(self.edges) and self.edges[inside] == measure:
            if self.ties[inside] < 1 and seed() >= self.ties[inside]:
                break
            inside += 1
        return self.shares[:inside]


class Ladders:
    """Cuts made ready: a grant's tiers are one look-up of its scope and one of its score."""

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers
        self._bases: tuple[Basis, ...] = tuple(sorted({cut.basis for cut in tiers.cuts}))
        self._turns = sorted({cut.valid_from for cut in tiers.cuts if cut.valid_from is not None})
        self._at_hand: dict[tuple[object, ...], Ladder] = {}

    def tiers_of(self, event: Event, app: App | None, portfolio: str) -> Sequence[str]:
        """The tiers the grant falls into, widest first so that a crash leaves the broad ones.

        The most closely scoped, then the youngest cut valid at the grant decides for each share. Tiers are
        nested whatever the table says: who is in the best 20 % is in every wider share that has a cut.
        Without a score (a predicted value) there is no tier of that basis.
        """
        found: list[str] = []
        for basis in self._bases:
            measure = measure_of(event, basis)
            if measure is None:
                continue
            name, sign = TIER_OF[basis], sign_of(basis, self._tiers)
            ladder = self._ladder(event, app, basis)
            inside = ladder.shares_of(sign * measure, lambda: seed_of(portfolio, event))
            found += [f"{name}{share}" for share in inside]
        return found

    def _ladder(self, event: Event, app: App | None, basis: Basis) -> Ladder:
        turn = bisect_right(self._turns, event.occurred_at) if self._turns else 0
        scope = (
            event.brand,
            None if app is None else app.name,
            None if app is None else app.country,
            event.product,
            event.score_version if basis == "score" else None,
        )
        key = (basis, turn, *scope)
        ladder = self._at_hand.get(key)
        if ladder is None:
            if len(self._at_hand) >= LADDERS_AT_HAND:
                self._at_hand.clear()
            ladder = self._at_hand[key] = self._made(basis, turn, scope)
        return ladder

    def _made(self, basis: Basis, turn: int, scope: tuple[str | None, ...]) -> Ladder:
        """The deciding cuts of a scope, each at most as strict as any narrower share's."""
        by_then = self._turns[:turn]
        fitting = [
            cut
            for cut in self._tiers.cuts
            if cut.basis == basis
            and all(mine in (None, theirs) for mine, theirs in zip(_scope(cut), scope, strict=True))
            and (cut.valid_from is None or cut.valid_from in by_then)
        ]
        fitting.sort(
            key=lambda cut: (
                cut.share,
                sum(part is not None for part in _scope(cut)),
                cut.valid_from.timestamp() if cut.valid_from else -inf,
            )
        )
        deciding = [list(cuts)[-1] for _, cuts in groupby(fitting, key=lambda cut: cut.share)]
        sign = sign_of(basis, self._tiers)
        rungs: list[tuple[int, float, float]] = []
        edge, ties = inf, 1.0
        for cut in deciding:
            mine = (sign * cut.cut, -cut.ties)
            edge, ties = min((edge, -ties), mine)[0], -min((edge, -ties), mine)[1]
            rungs.append((cut.share, edge, ties))
        rungs.reverse()
        return Ladder(
            tuple(share for share, _, _ in rungs),
            tuple(edge for _, edge, _ in rungs),
            tuple(part for _, _, part in rungs),
        )


def sign_of(basis: Basis, tiers: Tiers) -> int:
    """1 where more is better. More predicted value always is; of a score the lender says so."""
    return 1 if basis == "predicted_value" or tiers.higher_is_better else -1


def _scope(cut: Cut) -> tuple[str | None, ...]:
    return (cut.brand, cut.app, cut.country, cut.product, cut.score_version)


def cuts_of(text: str) -> tuple[Cut, ...]:
    """The cut table in a CSV text with the columns share, cut and optionally brand, app, country, product,
    score_version, basis (`score`, which is meant where nothing is said, or `predicted_value`), ties (0 to 1)
    and valid_from (RFC 3339 with an offset). Raises `InputError` with line and column.
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
        if not 0 <= cut.ties <= 1:
            raise InputError(f"line {reader.line_num}", "ties must be from 0 to 1")
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
