"""Lists as the configuration means them; made in the room of lists, where the console finds them too."""

from lendsignal.audience.planning import (
    LEFT_SINCE,
    Left,
    Plan,
    builder,
    definitions,
    is_confirmed,
    left_behind,
    note_left,
    plan_of,
)

__all__ = [
    "LEFT_SINCE",
    "Left",
    "Plan",
    "builder",
    "definitions",
    "is_confirmed",
    "left_behind",
    "note_left",
    "plan_of",
]
