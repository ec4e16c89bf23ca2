"""The strong model: small boosted regression trees, one sum of them for each span of days.

Squared error on the results themselves, 15 leaves, stopped where users kept apart are met no better. Made by
LightGBM (G. Ke and others, NeurIPS 2017) and taken out of it node by node: who values users needs
`value.worth` and not the library.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.errors import LendsignalError
from lendsignal.value.low import LOW
from lendsignal.value.users import Floats, Part, Truths, Users
from lendsignal.value.worth import CAMPAIGN, LEAVES, Tree, Trees

ROUNDS, PATIENCE = 400, 25
"""Trees of a span at most, and after how many that help nobody it ends."""

KEPT_APART = 0.2
"""The part of the users by whom is told when to stop, and by whom values are calibrated."""

RARE = 50
"""Users of a word below which it is no word of its own."""

LEAST_TO_CALIBRATE, SLOPES = 1_000, (0.5, 1.25)
"""Users kept apart below which no slope is fitted, and how far one may go."""

NOT_LEARNED = frozenset((CAMPAIGN,))
"""What trees do not go by: a platform would be fed its own choices. The look-up draws it to the rest, and
`campaigns` adds what is left of it to the trees."""

FINEST = 63
"""Intervals of a number that trees tell apart."""

PARAMETERS: Mapping[str, Any] = {
    "num_leaves": LEAVES,
    "learning_rate": 0.06,
    "min_data_in_leaf": 300,
    "max_bin": FINEST,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,
    "seed": 7,
    "verbosity": -1,
}


class Columns(Struct, frozen=True):
    """The facts as trees have them: a matrix, the numbers first; words as places in their common kinds."""

    matrix: Floats
    numbers: tuple[str, ...]
    words: tuple[tuple[str, tuple[str, ...]], ...]


def columns_of(users: Users, like: Trees | Columns | None = None) -> Columns:
    """The users' facts in columns; `like` says which, by default all that vary."""
    if like is None:
        numbers = tuple(
            name
            for name, one in users.numbers.items()
            if name not in NOT_LEARNED and len(np.unique(one.values[~np.isnan(one.values)])) > 1
        )
        asked = (name for name in users.words if name not in NOT_LEARNED)
        words = tuple((name, kinds) for name in asked if len(kinds := _common(users, name)) > 1)
    else:
        numbers, words = like.numbers, like.words
    matrix = np.full((len(users), len(numbers) + len(words)), np.nan)
    for place, name in enumerate(numbers):
        if name in users.numbers:
            matrix[:, place] = users.numbers[name].values
    for place, (name, kinds) in enumerate(words, len(numbers)):
        if name in users.words:
            mine = users.words[name]
            code = {kind: float(n) for n, kind in enumerate(kinds)}
            # What is not known is at place -1: the last one.
            codes = np.array([*(code.get(kind, np.nan) for kind in mine.kinds), np.nan])
            matrix[:, place] = codes[mine.places]
    return Columns(matrix, numbers, words)


def _common(users: Users, name: str) -> tuple[str, ...]:
    word = users.words[name]
    count = np.bincount(word.places[word.places >= 0], minlength=len(word.kinds))
    return tuple(kind for kind, n in zip(word.kinds, count, strict=True) if n >= RARE)


class Boosted(Struct, frozen=True):
    """Trees, and what is added to their sum; `said` is that of each part's users, part by part."""

    trees: Trees
    shift: float
    said: Sequence[Floats]


def boosted(columns: Columns, parts: Sequence[Part], apart: Truths) -> Boosted:
    """The trees whose sum is what the parts add up to, calibrated part by part.

    `apart` are the users who only say when to stop and how far what is said is to be stretched: the slope of
    what they brought on what was said of them. The sum over all users of a part is then what they brought.
    Parts may have different users. Raises `LibraryMissing` where LightGBM cannot be loaded.
    """
    trees: list[Tree] = []
    told: list[Floats] = []
    shift = 0.0
    for part in parts:
        rows = np.flatnonzero(part.users)
        grown_ = grown(columns, rows, part.value, apart[rows], "regression")
        said = predicted_of(
            Trees(numbers=columns.numbers, words=columns.words, trees=tuple(grown_)), columns.matrix[rows]
        )
        slope = _slope(said[apart[rows]], part.value[apart[rows]])
        trees += [replace(tree, leaves=tuple(slope * leaf for leaf in tree.leaves)) for tree in grown_]
        told.append(slope * said + float(part.value.mean() - slope * said.mean()))
        shift += float(part.value.mean() - slope * said.mean())
    return Boosted(Trees(numbers=columns.numbers, words=columns.words, trees=tuple(trees)), shift, told)


def _slope(said: Floats, came: Floats) -> float:
    """cov(V, V̂) / var(V̂) of users whom nothing was learned from, within reason; 1 where they are few."""
    spread = float(np.var(said)) if len(said) else 0.0
    if len(said) < LEAST_TO_CALIBRATE or spread == 0:
        return 1.0
    return float(np.clip(np.cov(said, came, bias=True)[0, 1] / spread, *SLOPES))


def grown(
    columns: Columns,
    rows: Any,
    target: Floats,
    apart: Truths,
    objective: Literal["regression", "binary", "quantile"],
) -> list[Tree]:
    """The trees of one target over these rows of the matrix; their sum is the value (binary: the logit;
    quantile: what `LOW` of such users bring less than)."""
    lightgbm = library()
    names = [f"f{n}" for n in range(columns.matrix.shape[1])]
    settings = {**PARAMETERS, "objective": objective, "alpha": LOW}
    # A leaf is a twentieth of the users at least: small histories get small trees.
    settings["min_data_in_leaf"] = min(PARAMETERS["min_data_in_leaf"], max(20, len(rows) // 20))
    categorical = list(range(len(columns.numbers), len(names)))

    def data(which: Truths, reference: Any = None) -> Any:
        return lightgbm.Dataset(
            columns.matrix[rows[which]],
            target[which],
            feature_name=names,
            categorical_feature=categorical,
            reference=reference,
            params=settings,
        )

    learned = data(~apart)
    watched = data(apart, learned)
    quiet = [lightgbm.early_stopping(PATIENCE, verbose=False)]
    booster = lightgbm.train(settings, learned, ROUNDS, valid_sets=[watched], callbacks=quiet)
    return trees_of(booster)


def trees_of(booster: Any) -> list[Tree]:
    """The trees of a LightGBM booster up to the best round, node by node."""
    dumped = booster.dump_model(num_iteration=booster.best_iteration or -1)
    return [_tree(one["tree_structure"]) for one in dumped["tree_info"]]


def _tree(root: Mapping[str, Any]) -> Tree:
    feature: list[int] = []
    threshold: list[float] = []
    places: list[tuple[int, ...]] = []
    unknown_left: list[bool] = []
    sides: list[list[int]] = []
    leaves: list[float] = []

    def put(node: Mapping[str, Any]) -> int:
        if "leaf_value" in node:
            leaves.append(float(node["leaf_value"]))
            return -len(leaves)
        number = len(feature)
        feature.append(node["split_feature"])
        is_word = node["decision_type"] == "=="
        said = str(node["threshold"])
        threshold.append(0.0 if is_word else float(node["threshold"]))
        places.append(tuple(map(int, said.split("||"))) if is_word else ())
        unknown_left.append(_goes_left(node, is_word=is_word))
        sides.append([0, 0])
        sides[number][0] = put(node["left_child"])
        sides[number][1] = put(node["right_child"])
        return number

    put(root)
    return Tree(
        tuple(feature),
        tuple(threshold),
        tuple(places),
        tuple(unknown_left),
        tuple(left for left, _ in sides),
        tuple(right for _, right in sides),
        tuple(leaves),
    )


def _goes_left(node: Mapping[str, Any], *, is_word: bool) -> bool:
    """Where LightGBM sends what is unknown: as it learned, or as a 0 where it saw nothing unknown."""
    if is_word:
        return False
    if node["missing_type"] == "None":
        return bool(node["threshold"] >= 0.0)
    return bool(node["default_left"])


def predicted(trees: Trees, users: Users) -> Floats:
    """The sum of the trees for every user: as `Walk.total`, for many at once."""
    return predicted_of(trees, columns_of(users, trees).matrix)


def predicted_of(trees: Trees, matrix: Floats) -> Floats:
    """The same of a matrix whose columns are the trees' features."""
    total = np.zeros(len(matrix))
    for tree in trees.trees:
        total += _leaves(tree, trees, matrix)
    return total


def _leaves(tree: Tree, trees: Trees, matrix: Floats) -> Floats:
    """The leaf of every row, walked node by node with the rows that come there."""
    found = np.empty(len(matrix))
    waiting: list[tuple[int, Any]] = [(0 if tree.feature else -1, np.arange(len(matrix)))]
    while waiting:
        node, rows = waiting.pop()
        if node < 0:
            found[rows] = tree.leaves[-1 - node]
            continue
        values = matrix[rows, tree.feature[node]]
        if tree.feature[node] < len(trees.numbers):
            goes = values <= tree.threshold[node]
        else:
            goes = np.isin(values, tree.places[node])
        if tree.unknown_left[node]:
            goes |= np.isnan(values)
        waiting += [(tree.left[node], rows[goes]), (tree.right[node], rows[~goes])]
    return found


def kept_apart(users: Users, chance: np.random.Generator) -> Truths:
    """The users who only say when to stop: drawn once for all parts."""
    return chance.random(len(users)) < KEPT_APART


class LibraryMissing(LendsignalError):
    """LightGBM, or a library of the system that it needs, is not there."""


def library() -> Any:
    """LightGBM, loaded when it is first needed.

    It needs the system's libgomp.so.1, which no Python package brings.
    """
    try:
        import lightgbm
    except OSError as error:
        if "libgomp" in str(error):
            raise LibraryMissing(
                "LightGBM needs the system library libgomp.so.1:"
                " install the package libgomp1 (Debian, Ubuntu: apt-get install libgomp1)"
            ) from error
        raise LibraryMissing(f"LightGBM cannot be loaded: {error}") from error
    return lightgbm
