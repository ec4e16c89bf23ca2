"""On a cluster pages read a copy of the store: what is to be said where that is not as it should be."""

from msgspec import Struct

from lendsignal.log import DataFolder
from lendsignal.log.copied import copy_standing

OLD_US = 30_000_000
"""A copy that was whole longer ago is said to be behind."""


class CopyNote(Struct, frozen=True, kw_only=True):
    """What a visitor is told of the copy. `whole_us`: when it was whole last, in microseconds since 1970; 0:
    it never was. `wrong` says in words what keeps it from going on."""

    whole_us: int
    behind: int = 0
    wrong: str = ""


def copy_note(folder: DataFolder, now_us: int) -> CopyNote | None:
    """`None`: the copy is as young as it should be. `now_us` is by the machine's own clock."""
    found = copy_standing(folder)
    if found is None:
        return CopyNote(whole_us=0)
    if not found.wrong and found.whole_us and now_us - found.whole_us <= OLD_US:
        return None
    return CopyNote(whole_us=found.whole_us, behind=found.behind, wrong=found.wrong)
