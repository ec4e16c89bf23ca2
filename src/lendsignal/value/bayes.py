"""The nested look-up: means of ever narrower cells, each drawn to the wider one as far as chance explains it.

Bühlmann and Straub's credibility, level by level (H. Bühlmann and A. Gisler, "A Course in Credibility Theory
and its Applications", 2005, chapter 4 and 6):

    μ_g = μ_parent + Z_g · (ȳ_g − μ_parent),   Z_g = n_g / (n_g + s²/τ²)
    s²  = pooled variance within the cells
    τ²  = max(0, Σ n_g (ȳ_g − μ_parent)² − s² (G − 1)) / Σ n_g
    sd(μ_g) = √(Z_g s² / n_g)
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from lendsignal.value.users import Floats, Ints, Part, Users
from lendsignal.value.worth import SCORE, SEPARATOR, Cell, Lookup

LEVELS = (SCORE, "term_days", "country", "channel", "campaign")
"""From the widest to the narrowest."""

CLIPPED = (0.005, 0.995)
"""Points of the values beyond which they count as these: one whale is no cell."""

OF_A_CAMPAIGN = 0.3
"""How far a campaign may be from the users like its own."""

LEAST = 5
"""Users of a cell below which the wider one speaks."""


class Prior(Struct, frozen=True):
    """What finance expects of a user before there is any history, and for how many users that counts."""

    value: float
    users: float = 500.0


def lookup(
    users: Users, parts: Sequence[Part], levels: Sequence[str] = LEVELS, prior: Prior | None = None
) -> Lookup:
    """The look-up whose cells add up what each part says of them.

    Levels of which the users know nothing are left out. Cells that a part has nobody of are answered for, in
    that part, by the wider cell.
    """
    edges = score_edges(users)
    words = {level: _words(users, level, edges) for level in levels}
    used = [level for level in levels if any(words[level][1])]
    paths: dict[str, list[Cell]] = {}
    for number, part in enumerate(parts):
        share = None if prior is None else Prior(prior.value / len(parts), prior.users)
        for path, cell in _cells(part, [words[level] for level in used], share).items():
            # What an earlier part had nobody of is there all the same, as its wider cell has it.
            known = paths.setdefault(path, [_wider(paths, path, n) for n in range(number)])
            known.append(cell)
        for path, known in paths.items():
            if len(known) == number:
                known.append(_wider(paths, path, number))
    cells = {path: _sum(known) for path, known in paths.items()}
    if used and used[-1] == "campaign":
        cells = {path: _capped(cell, path, cells, len(used)) for path, cell in cells.items()}
    return Lookup(levels=tuple(used), edges=edges, cells=cells)


def _capped(cell: Cell, path: str, cells: Mapping[str, Cell], depth: int) -> Cell:
    """A campaign's cell no farther from the wider one than `OF_A_CAMPAIGN` of it; other cells as they are.

    What is told of a campaign is what its platform learns from: it must not run away with itself.
    """
    if path.count(SEPARATOR) < depth:
        return cell
    wider = cells[path.rpartition(SEPARATOR)[0]].mean
    most = OF_A_CAMPAIGN * abs(wider)
    return Cell(min(max(cell.mean, wider - most), wider + most), cell.sd, cell.n)


def score_edges(users: Users) -> dict[str, tuple[float, ...]]:
    """The scores between tenths, by the score's version: of two versions nobody compares the numbers."""
    found = {}
    for name, column in users.numbers.items():
        if name == SCORE or name.startswith(f"{SCORE} "):
            known = column.values[~np.isnan(column.values)]
            if len(known):
                edges = np.unique(np.quantile(known, np.linspace(0.1, 0.9, 9)))
                found[name] = tuple(edges.tolist())
    return found


def _words(users: Users, level: str, edges: dict[str, tuple[float, ...]]) -> tuple[Ints, list[str]]:
    """What every user says at a level: places in a list of words, of which the first is empty."""
    n = len(users)
    if level == SCORE:
        places, kinds = np.zeros(n, dtype=np.int64), [""]
        for name, between in edges.items():
            values = users.numbers[name].values
            fresh = ~np.isnan(values) & (places == 0)
            places[fresh] = np.searchsorted(between, values[fresh], side="right") + len(kinds)
            kinds += [f"{name}:{tenth}" for tenth in range(len(between) + 1)]
        return places, kinds
    if level in users.words:
        word = users.words[level]
        return word.places + 1, ["", *word.kinds]
    if level in users.numbers:
        values = users.numbers[level].values
        known, place = np.unique(values[~np.isnan(values)], return_inverse=True)
        places = np.zeros(n, dtype=np.int64)
        places[~np.isnan(values)] = place + 1
        return places, ["", *(f"{value:g}" for value in known)]
    return np.zeros(n, dtype=np.int64), [""]


def _cells(part: Part, words: Sequence[tuple[Ints, list[str]]], prior: Prior | None) -> dict[str, Cell]:
    """The cells of one part, the top first."""
    value = _clipped(part.value)
    top = _top(value, prior)
    found = {"": top}
    group, paths, means = np.zeros(len(value), dtype=np.int64), [""], np.array([top.mean])
    for places, kinds in words:
        mine = group * len(kinds) + places[part.users]
        keys, place = np.unique(mine, return_inverse=True)
        parents, kind = np.divmod(keys, len(kinds))
        paths = [paths[parent] + SEPARATOR + kinds[one] for parent, one in zip(parents, kind, strict=True)]
        n = np.bincount(place, minlength=len(keys)).astype(np.float64)
        if not len(n):
            break
        mean = np.bincount(place, weights=value) / n
        within = float(((value - mean[place]) ** 2).sum()) / max(len(value) - len(keys), 1)
        above = means[parents]
        between = max(0.0, float((n * (mean - above) ** 2).sum()) - within * (len(keys) - 1)) / n.sum()
        z = _credibility(n, within, between)
        means = above + z * (mean - above)
        sd = np.sqrt(z * within / n)
        for path, one, spread, count in zip(paths, means.tolist(), sd.tolist(), n, strict=True):
            if count >= LEAST:
                found[path] = Cell(one, spread, int(count))
        group = place
    return found


def _credibility(n: Floats, within: float, between: float) -> Floats:
    """Z = n / (n + s²/τ²); 0 where cells differ by no more than chance."""
    return n / (n + within / between) if between > 0 else np.zeros(len(n))


def _clipped(value: Floats) -> Floats:
    return np.clip(value, *np.quantile(value, CLIPPED)) if len(value) else value


def _top(value: Floats, prior: Prior | None) -> Cell:
    n, total = len(value), float(value.sum())
    spread = float(value.std()) if n else 0.0
    if prior is not None:
        mean = (total + prior.users * prior.value) / (n + prior.users)
        return Cell(mean, spread / (n + prior.users) ** 0.5, n)
    return Cell(total / n, spread / n**0.5, n) if n else Cell(0.0, 0.0, 0)


def _wider(paths: dict[str, list[Cell]], path: str, number: int) -> Cell:
    """What the narrowest wider cell says in that part."""
    while True:
        path = path.rpartition(SEPARATOR)[0]
        known = paths[path]
        if len(known) > number:
            return known[number]


def _sum(cells: Sequence[Cell]) -> Cell:
    return Cell(
        sum(one.mean for one in cells),
        sum(one.sd**2 for one in cells) ** 0.5,
        max(one.n for one in cells),
    )


def looked_up(table: Lookup, users: Users) -> Floats:
    """What the table says of every user: as `Lookup.cell`, for many at once."""
    words = [_known(table, level, users) for level in table.levels]
    if not words:
        return np.full(len(users), table.cells[""].mean)
    # Whoever says the same at every level gets the same answer, so that it is asked for once.
    keys, place = np.unique(np.column_stack([one for one, _ in words]), axis=0, return_inverse=True)
    found = np.empty(len(keys))
    for number, key in enumerate(keys.tolist()):
        path, cell = "", table.cells[""]
        for (_, kinds), one in zip(words, key, strict=True):
            path += SEPARATOR + kinds[one]
            narrower = table.cells.get(path)
            if narrower is None:
                break
            cell = narrower
        found[number] = cell.mean
    return found[place.ravel()]


def _known(table: Lookup, level: str, users: Users) -> tuple[Ints, list[str]]:
    return _words(users, level, {name: edges for name, edges in table.edges.items() if name in users.numbers})
