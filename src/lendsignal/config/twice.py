"""Tables that are read twice: keys of ours beside those of the kind that the table names."""

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Struct

from lendsignal.config.notes import Notes
from lendsignal.settings import read

Kind = TypeVar("Kind")
Ours = TypeVar("Ours", bound=Struct)


def read_twice(
    table: Mapping[str, Any], kinds: Mapping[str, Kind], ours: type[Ours], path: str, notes: Notes
) -> tuple[Kind, Ours | None, Any] | None:
    """The module of the table's kind, our keys, and those of the kind: `None` for what holds mistakes.

    `None` alone where the table's kind is none of the known ones.
    """
    module: Any = kinds.get(str(table.get("kind")))
    also = set(module.Settings.__struct_fields__) if module else set(table)
    common, problems = read(ours, table, path=path, origin=notes.origin, also=also)
    notes.problems.extend(problems)
    if module is None:
        if common is not None:
            notes.one_of(f"{path}.kind", getattr(common, "kind", ""), kinds)
        return None
    known = set(ours.__struct_fields__)
    own, problems = read(module.Settings, table, path=path, origin=notes.origin, also=known)
    notes.problems.extend(problems)
    return module, common, own
