"""Those who came, app by app, with what came of each, as arrays: gathered in `choice_rows`, judged in
`advise.choosing`.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from msgspec import Struct

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Objective: TypeAlias = Literal["acquisition", "re-engagement"]


class EventRows(Struct, frozen=True, kw_only=True):
    """One event of each coming; `inf` hours where there was none. `sent`: 1, a value, or 0."""

    name: str
    hours: Floats
    told_hours: Floats
    asked_hours: Floats
    sent: Floats


class Comings(Struct, frozen=True, kw_only=True):
    """Comings of one app, in the order of time. `age_days` is by the moment of the tables.

    `facts` has a column of words for each of `choice_rows.FACTS`. `margin`: what came back less what was paid
    out, of loans that ended within the horizon; `nan` where the horizon is not over. `ad_set` is empty where
    nobody tells it.
    """

    app: str
    currency: str
    age_days: Floats
    margin: Floats
    channel: tuple[str, ...]
    campaign: tuple[str, ...]
    ad_set: tuple[str, ...]
    facts: Mapping[str, tuple[str, ...]]
    events: tuple[EventRows, ...]


class Grants(Struct, frozen=True, kw_only=True):
    """Counts that say whether grants are still a goal: `first` of `grants` were a user's first."""

    grants: int
    first: int
    loans: int
