"""Whether groups of users are told of alike: what was said of each, what came, and who is told of at all.

A model that looks at no protected fact may still treat a protected group otherwise, by facts that stand for
it. Two questions are asked of every group: does what is said of it come true (calibration within groups), and
how many of it are told of with a value (the selection rate; a ratio below four fifths of the highest is what
the United States' Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D, call evidence of
adverse impact). The two can seldom both be equal where groups truly differ (J. Kleinberg, S. Mullainathan and
M. Raghavan, arXiv 1609.05807): the table shows both and leaves the verdict to a person.
"""

import numpy as np
from msgspec import Struct

from lendsignal.value.judging import normalised_gini
from lendsignal.value.users import Floats, Number, Truths, Users, Word

LEAST = 100
"""Users of a group below which it stands with the others."""

FOUR_FIFTHS = 0.8

OTHERS, UNKNOWN = "(others)", "(not told)"


class Group(Struct, frozen=True, kw_only=True):
    """One group of users. Money is in the users' currency.

    `said` and `came` are mean values; `se` is the standard error of what came. `told` is the part of the
    group that is told of with a value (V̂ above 0), `ratio` that part over the highest of any group. `gini`:
    how well the group's own users are ranked; NaN where what they brought does not add up to more than 0.
    """

    name: str
    users: int
    said: float
    came: float
    se: float
    told: float
    ratio: float
    gini: float

    @property
    def off(self) -> float:
        """How far what was said lies from what came, in standard errors."""
        return (self.said - self.came) / self.se if self.se > 0 else float("nan")

    @property
    def remark(self) -> str:
        """What a person should look at; empty where there is nothing."""
        found = []
        if self.ratio < FOUR_FIFTHS:
            found.append("told of less than four fifths as often")
        if abs(self.off) > 3:
            found.append("worth more than is said" if self.off < 0 else "worth less than is said")
        return ", ".join(found)


def groups_of(users: Users, fact: str) -> Word | None:
    """The users by a fact of theirs; a number is cut into quarters of the users. `None`: nobody has it."""
    word = users.words.get(fact)
    if word is not None:
        return word
    number = users.numbers.get(fact)
    return None if number is None else _quarters(number)


def _quarters(number: Number) -> Word:
    known = ~np.isnan(number.values)
    edges = np.unique(np.quantile(number.values[known], (0.25, 0.5, 0.75))) if known.any() else np.zeros(0)
    ends = [f"{edge:g}" for edge in edges.tolist()]
    kinds = tuple(f"{low} to {high}" for low, high in zip(("", *ends), (*ends, ""), strict=True))
    places = np.where(known, np.searchsorted(edges, number.values, side="left"), -1)
    return Word(places, tuple(kind.strip() for kind in kinds), number.known_us)


def parity(said: Floats, came: Floats, group: Word) -> tuple[Group, ...]:
    """Every group of users, the largest first; `came` is NaN where it is not known yet, and then left out.

    Groups of fewer than `LEAST` stand together; where that leaves fewer than two, there is nothing to hold
    against each other, and nothing is told.
    """
    known = ~np.isnan(came)
    names = np.array([*group.kinds, UNKNOWN], dtype=object)[group.places]
    count = {name: int((names[known] == name).sum()) for name in set(names.tolist())}
    names = np.array([name if count[name] >= LEAST else OTHERS for name in names.tolist()], dtype=object)
    parts = [(name, known & (names == name)) for name in sorted(set(names[known].tolist()))]
    parts = [(name, mine) for name, mine in parts if int(mine.sum()) >= LEAST]
    if len(parts) < 2:
        return ()
    highest = max(float((said[mine] > 0).mean()) for _, mine in parts)
    found = [_group(name, said, came, mine, highest) for name, mine in parts]
    return tuple(sorted(found, key=lambda one: (-one.users, one.name)))


def _group(name: str, said: Floats, came: Floats, mine: Truths, highest: float) -> Group:
    told = float((said[mine] > 0).mean())
    return Group(
        name=name,
        users=int(mine.sum()),
        said=float(said[mine].mean()),
        came=float(came[mine].mean()),
        se=float(came[mine].std() / np.sqrt(mine.sum())),
        told=told,
        ratio=told / highest if highest > 0 else 1.0,
        gini=normalised_gini(said[mine], came[mine]),
    )
