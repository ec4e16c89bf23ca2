"""Which installation, and which phone, a snapshot shows: one number for each, over all users.

Resolve compares two snapshots at a time (`same_installation`: one app, an install id in common, none
contradicting). Reports need a name that stays the same for every touch, so the rule is carried on: ids that
some touch showed together belong to one installation, and an installation holds one id of each kind. A
touch that lacks an id thus counts for the installation that another touch showed it with, whoever's it
was and whenever it came. Where ids contradict each other they are two installations, as they are to resolve.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, IdKind

if TYPE_CHECKING:
    import numpy as np

NAMED_BY = (
    IdKind.FIREBASE_APP_INSTANCE_ID,
    *(kind for kind in INSTALL_SCOPED if kind is not IdKind.FIREBASE_APP_INSTANCE_ID),
)
"""An installation is called by the first of these ids that it showed."""

KINDS = (*INSTALL_SCOPED, *DEVICE_SCOPED)


def together(members: "np.ndarray", ids: "np.ndarray", n: int) -> "np.ndarray":
    """For each of `n` things a number that is equal for those that ids tie together, directly or not.

    `members[i]` has the id `ids[i]`, any whole number. Who has no id stands alone.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, places = np.unique(ids, return_inverse=True)
    size = n + len(names)
    ties = coo_array((np.ones(len(members), dtype=np.int8), (members, places + n)), shape=(size, size))
    _, groups = connected_components(ties, directed=False)
    found: np.ndarray = groups[:n]
    return found


def in_order(groups: "np.ndarray") -> "np.ndarray":
    """The same groups, numbered from 0 in the order in which their first member stands."""
    import numpy as np

    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[place]


def torn(groups: "np.ndarray", members: "np.ndarray", kinds: "np.ndarray", ids: "np.ndarray") -> "np.ndarray":
    """The groups in which two ids of one kind stand: they are several installations."""
    import numpy as np

    pairs = np.unique(np.column_stack((groups[members], kinds, ids)), axis=0)
    repeated = (pairs[1:, 0] == pairs[:-1, 0]) & (pairs[1:, 1] == pairs[:-1, 1])
    return np.unique(pairs[1:, 0][repeated])


def parted(looks: Sequence[dict[int, int]]) -> list[int]:
    """Which installation each snapshot is, where ids contradict each other: a number from 0 for each.

    A snapshot is its install ids by kind. In the order in which they were seen each goes to the installation
    that shares an id with it and contradicts it in none, and makes one of several that it ties together;
    otherwise it is a new one.
    """
    found: list[dict[int, int]] = []
    parent: list[int] = []
    by_id: dict[tuple[int, int], list[int]] = {}
    numbers = []

    def top(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for look in looks:
        near = {top(number) for kind, value in look.items() for number in by_id.get((kind, value), ())}
        one: int | None = None
        for other in sorted(near):
            if one is None:
                one = other if _agree(found[other], look) else None
            elif _agree(found[other], {**look, **found[one]}):
                parent[other] = one
                found[one] = {**found[other], **found[one]}
        if one is None:
            one = len(found)
            found.append({})
            parent.append(one)
        for kind, value in look.items():
            if kind not in found[one]:
                found[one][kind] = value
                by_id.setdefault((kind, value), []).append(one)
        numbers.append(one)
    return [top(number) for number in numbers]


def _agree(one: dict[int, int], other: dict[int, int]) -> bool:
    return all(other.get(kind, value) == value for kind, value in one.items())
