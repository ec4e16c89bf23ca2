"""What a user is worth by a frozen model: tables and flat trees, read with nothing but arithmetic.

A model is learned once (`value.training`) and put into force as a `Promotion`; a decision only reads it, so
that it replays to the same value on every server. `Valuer` is the promotion made ready.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from math import exp, isnan
from operator import getitem
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from lendsignal.model import Valued
from lendsignal.value.likely import Facts

Moment: TypeAlias = Literal["applied", "credit_granted", "disbursed"]
"""The event at which a user is valued: the first application, the first grant, or the first loan."""

APPLICATION: Moment = "applied"
"""The moment at which nobody knows yet whether there will be a grant."""

SCORE = "score"
"""How the names of facts begin that are a lender's score; the name of its version follows."""

CAMPAIGN = "campaign"
"""The fact that says which campaign a user came by."""

SEPARATOR = "\x1f"
"""Between the words of a cell's path."""

LEAVES = 15
"""Of a tree at most: the leaves of one tree are 16 bits of a number, and one bit stays free."""


class Cell(Struct, frozen=True, array_like=True):
    """Users who are alike: what they are worth on average, its posterior standard deviation, how many."""

    mean: float
    sd: float
    n: int


class Lookup(Struct, frozen=True, kw_only=True):
    """Nested cells: the mean of the narrowest one that a user falls into.

    `levels` are the facts from the widest to the narrowest. `edges` are, for each version of the score, the
    scores between its tenths. `cells` has the path from the top, words joined by `SEPARATOR`; the top is "".
    """

    levels: tuple[str, ...]
    edges: Mapping[str, tuple[float, ...]]
    cells: Mapping[str, Cell]

    def cell(self, facts: Facts) -> Cell:
        """The narrowest cell there is for these facts."""
        path, found = "", self.cells[""]
        for level in self.levels:
            path += SEPARATOR + self.word(level, facts)
            narrower = self.cells.get(path)
            if narrower is None:
                break
            found = narrower
        return found

    def word(self, level: str, facts: Facts) -> str:
        """What the facts say at a level; empty where they say nothing."""
        if level == SCORE:
            return self._tenth(facts)
        said = facts.get(level, "")
        return f"{said:g}" if isinstance(said, int | float) else said

    def _tenth(self, facts: Facts) -> str:
        for name, edges in self.edges.items():
            score = facts.get(name)
            if isinstance(score, int | float):
                return f"{name}:{bisect_right(edges, score)}"
        return ""


class Tree(Struct, frozen=True, array_like=True):
    """A regression tree, node by node, the root first; what is not below 0 is a node, else leaf `-1 - it`.

    A node looks at a feature: a number goes left up to `threshold`, a word where its place is in `places`
    (empty for numbers), what is unknown where `unknown_left` says so.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    places: tuple[tuple[int, ...], ...]
    unknown_left: tuple[bool, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    leaves: tuple[float, ...]


class Trees(Struct, frozen=True, kw_only=True):
    """A sum of trees over features: the `numbers` first, then the `words` with the kinds they know."""

    numbers: tuple[str, ...]
    words: tuple[tuple[str, tuple[str, ...]], ...]
    trees: tuple[Tree, ...]


class GrantChance(Struct, frozen=True, kw_only=True):
    """P(grant) of an applicant by what an application tells: the logistic of the sum of `trees`, where there
    are any, and what is added to it for some `campaigns`; else the share of the narrowest cell that was
    granted."""

    lookup: Lookup
    trees: Trees | None = None
    campaigns: Mapping[str, float] = {}


class Band(Struct, frozen=True, array_like=True):
    """Users of whom about as much is said, from `said` on, and what such users brought.

    `low`: what three in ten of them bring less than. `sd`: the standard deviation of what each brings.
    """

    said: float
    low: float
    sd: float


class ScopeModel(Struct, frozen=True, kw_only=True):
    """The model of the users of one currency.

    `kind` says what is read, and `learned` from what: `buckets` of results by when loans fall due, or single
    `loans` where history is short. V = `shift` + what table or trees say, beside trees with what `campaigns`
    adds, and is carried on along the `knots` (said, meant) where there are any. `users` were learned from.
    `bands` say how far apart users are of whom the same is said.

    At the application V is that of who is granted, `grant` says how likely that is, and `otherwise` is what
    the others bring (who is granted late, for one): P·V + (1 − P)·otherwise.
    """

    kind: Literal["lookup", "trees"]
    learned: Literal["buckets", "loans", "prior"]
    lookup: Lookup
    trees: Trees | None = None
    shift: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    users: int = 0
    grant: GrantChance | None = None
    otherwise: float = 0.0
    campaigns: Mapping[str, float] = {}
    bands: tuple[Band, ...] = ()


class ValueModel(Struct, frozen=True, kw_only=True):
    """What users are worth within `horizon_days` of each moment, by moment and currency, in major units.

    `version` names the content. `properties` are the events' own properties that count as facts.
    """

    version: str
    made_us: int
    horizon_days: float
    properties: tuple[str, ...]
    scopes: Mapping[Moment, Mapping[str, ScopeModel]]


class Shipping(Struct, frozen=True, kw_only=True):
    """What is told of a value: few bins, the mean of each, and nothing below the first edge.

    A value v falls into the last bin whose edge is at most v; `means` are sent, in the scope's currency.
    `scale` is what the means were multiplied by so that all that is sent adds up to what is predicted; it
    stands from `frozen_us` on for 28 days at least. `parts` is how much of the users fell into each bin.
    """

    edges: tuple[float, ...]
    means: tuple[float, ...]
    parts: tuple[float, ...]
    scale: float
    frozen_us: int

    def bin(self, value: float) -> int:
        """The bin of a value, from 0 on; -1 where nothing is to be told of it."""
        return bisect_right(self.edges, value) - 1 if value > 0 else -1


class Shipped(Struct, frozen=True, kw_only=True):
    """How one scope is told of. `factor` multiplies what the model says, `campaigns` that of some campaigns
    (forward calibration: what matured of earlier users against what was said of them)."""

    shipping: Shipping
    factor: float = 1.0
    campaigns: Mapping[str, float] = {}


class Promotion(Struct, frozen=True, kw_only=True):
    """A model in force, and how it is told of; never changed, only followed by another.

    `version` names the content, `made_us` is when it was made (microseconds since 1970).
    """

    version: str
    made_us: int
    model: ValueModel
    shipped: Mapping[Moment, Mapping[str, Shipped]]


Score: TypeAlias = Callable[[Facts], float]


class Valuer:
    """A promotion made ready: a value is a few table look-ups. It holds the model once, in its ready form."""

    def __init__(self, promotion: Promotion) -> None:
        self.version = promotion.version
        self.properties = promotion.model.properties
        self._scopes: dict[tuple[str, str], tuple[Score, Bands | None, Shipped]] = {
            (moment, currency): (
                score_of(model),
                Bands(model.bands) if model.bands else None,
                promotion.shipped[moment][currency],
            )
            for moment, scopes in promotion.model.scopes.items()
            for currency, model in scopes.items()
            if currency in promotion.shipped.get(moment, {})
        }

    def knows(self, moment: Moment) -> bool:
        """Whether users of any currency are valued at that moment."""
        return any(known == moment for known, _ in self._scopes)

    def value(self, moment: str, currency: str | None, facts: Facts) -> Valued | None:
        """What the user is worth and what is told of it, in that currency; `None`: the model does not know.

        A value that is not above 0 has bin -1 and nothing to tell. The low side is never told as more than
        the value itself.
        """
        known = None if currency is None else self._scopes.get((moment, currency))
        if known is None or currency is None:
            return None
        score, bands, shipped = known
        campaign = shipped.campaigns.get(str(facts.get(CAMPAIGN, "")), shipped.factor)
        said = score(facts)
        estimate = said * campaign
        place = shipped.shipping.bin(estimate)
        told = shipped.shipping.means[place] if place >= 0 else 0.0
        return Valued(
            self.version,
            hash_of(facts),
            currency,
            estimate,
            place,
            told,
            shipped.shipping.scale,
            bands.told(said, campaign, told) if bands is not None else None,
        )


class Bands:
    """The bands of a model made ready."""

    def __init__(self, bands: Sequence[Band]) -> None:
        self._lows = [band.low for band in bands]
        # Below the first band its users are said of as well.
        self._from = [band.said for band in bands[1:]]

    def told(self, said: float, factor: float, most: float) -> float:
        """The low side of a value times `factor`, from 0 to `most`."""
        low = self._lows[bisect_right(self._from, said)] * factor
        return 0.0 if low <= 0 else most if low > most else low


def score_of(model: ScopeModel) -> Score:
    """The model made ready: facts → value."""
    value = _of_granted(model)
    if model.grant is None:
        return value
    granted, otherwise = chance_of(model.grant), model.otherwise

    def of_applicant(facts: Facts) -> float:
        chance = granted(facts)
        return chance * value(facts) + (1 - chance) * otherwise

    return of_applicant


def chance_of(model: GrantChance) -> Score:
    """P(grant) made ready: facts → a number from 0 to 1."""
    if model.trees is not None:
        total = Walk(model.trees).total
        more: dict[object, float] = dict(model.campaigns.items())

        def of_trees(facts: Facts) -> float:
            chance = 1 / (1 + exp(-max(-35.0, min(35.0, total(facts)))))
            return within_1(chance + more.get(facts.get(CAMPAIGN), 0.0))

        return of_trees
    cell = model.lookup.cell
    return lambda facts: within_1(cell(facts).mean)


def within_1(chance: float) -> float:
    """The nearest that is a probability."""
    return max(0.0, min(1.0, chance))


def _of_granted(model: ScopeModel) -> Score:
    shift, knots = model.shift, model.knots
    if model.kind == "trees" and model.trees is not None:
        total = Walk(model.trees).total
        if not model.campaigns:
            return lambda facts: meant(shift + total(facts), knots)
        more: dict[object, float] = dict(model.campaigns.items())
        return lambda facts: meant(shift + total(facts) + more.get(facts.get(CAMPAIGN), 0.0), knots)
    cell = model.lookup.cell
    return lambda facts: meant(shift + cell(facts).mean, knots)


def meant(said: float, knots: Sequence[tuple[float, float]]) -> float:
    """What is meant by what is said: on the line between the knots around it, flat beyond the last ones."""
    if not knots:
        return said
    place = bisect_left(knots, (said,))
    if place == 0:
        return knots[0][1]
    if place == len(knots):
        return knots[-1][1]
    (x0, y0), (x1, y1) = knots[place - 1], knots[place]
    return y0 + (y1 - y0) * (said - x0) / (x1 - x0)


def hash_of(facts: Facts) -> str:
    """16 hex digits that stand for what was known: alike for alike facts, and nothing can be read from it."""
    return blake2b(msgspec.json.encode(facts, order="sorted"), digest_size=8).hexdigest()


class Walk:
    """Trees made ready: one look-up a feature says which leaves are still possible, in all trees at once.

    Each tree has 16 bits of one whole number, a bit for each leaf from left to right. A node that sends the
    user to the right takes away the leaves on its left; what all nodes of a feature take away depends on
    nothing but the interval (the word) that the user's value lies in, and is worked out beforehand. The leaf
    is the lowest bit that is left (C. Lucchese and others, "QuickScorer", SIGIR 2015, section 3).
    """

    def __init__(self, trees: Trees) -> None:
        number = len(trees.trees)
        self._ones = int.from_bytes(b"\x01\x00" * number, "little")
        self._all = int.from_bytes(b"\xff\x7f" * number, "little")
        self._bytes = 2 * number
        self._leaves = [{1 << n: leaf for n, leaf in enumerate(_in_order(one))} for one in trees.trees]
        cuts = _cuts(trees)
        self._numbers = [
            (name, *_by_interval(cuts.get(place, []), self._all)) for place, name in enumerate(trees.numbers)
        ]
        self._words = [
            (name, *_by_word(cuts.get(place, []), kinds, self._all))
            for place, (name, kinds) in enumerate(trees.words, len(trees.numbers))
        ]

    def total(self, facts: Facts) -> float:
        """The sum of the leaves that these facts lead to."""
        left = self._all
        for name, edges, masks, unknown in self._numbers:
            value = facts.get(name)
            if isinstance(value, int | float) and not isnan(value):
                left &= masks[bisect_left(edges, value)]
            else:
                left &= unknown
        for name, by_word, other in self._words:
            left &= by_word.get(facts.get(name), other)
        lowest = left & ~(left - self._ones)
        return sum(map(getitem, self._leaves, array("H", lowest.to_bytes(self._bytes, "little"))))


class _Cut(Struct, frozen=True):
    """A node as the walk has it: what stays possible where it sends the user to the right."""

    threshold: float
    places: tuple[int, ...]
    unknown_left: bool
    mask: int


def _cuts(trees: Trees) -> dict[int, list[_Cut]]:
    """Every node, by its feature."""
    found: dict[int, list[_Cut]] = {}
    everything = (1 << 16 * len(trees.trees)) - 1
    for number, tree in enumerate(trees.trees):
        for node, feature in enumerate(tree.feature):
            first = len(_below(tree, node, before=True))
            gone = ((1 << len(_below(tree, tree.left[node]))) - 1) << first
            cut = _Cut(
                tree.threshold[node],
                tree.places[node],
                tree.unknown_left[node],
                everything ^ (gone << 16 * number),
            )
            found.setdefault(feature, []).append(cut)
    return found


def _by_interval(cuts: Sequence[_Cut], full: int) -> tuple[list[float], list[int], int]:
    """The thresholds in rising order, what is left in each interval between them, and for the unknown."""
    edges = sorted({cut.threshold for cut in cuts})
    masks = [full]
    for edge in edges:
        mask = masks[-1]
        for cut in cuts:
            if cut.threshold == edge:
                mask &= cut.mask
        masks.append(mask)
    return edges, masks, _where_unknown(cuts, full)


def _by_word(cuts: Sequence[_Cut], kinds: Sequence[str], full: int) -> tuple[dict[object, int], int]:
    """What is left for each word, and for any other."""
    by_word: dict[object, int] = {}
    for place, kind in enumerate(kinds):
        mask = full
        for cut in cuts:
            if place not in cut.places:
                mask &= cut.mask
        by_word[kind] = mask
    return by_word, _where_unknown(cuts, full)


def _where_unknown(cuts: Sequence[_Cut], full: int) -> int:
    for cut in cuts:
        if not cut.unknown_left:
            full &= cut.mask
    return full


def _in_order(tree: Tree) -> list[float]:
    """The leaves from left to right."""
    return [tree.leaves[leaf] for leaf in _below(tree, 0 if tree.feature else -1)]


def _below(tree: Tree, node: int, *, before: bool = False) -> list[int]:
    """The leaves below a node, from left to right; `before`: those that stand to the left of all of them."""
    if before:
        every, mine = _below(tree, 0), _below(tree, node)
        return every[: every.index(mine[0])]
    found: list[int] = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one < 0:
            found.append(-1 - one)
        else:
            waiting += [tree.right[one], tree.left[one]]
    return found
