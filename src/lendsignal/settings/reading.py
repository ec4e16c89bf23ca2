"""One walk through a table beside its type: the typed value, and every problem on the way."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, TypeVar

from msgspec import Struct, convert, inspect

from lendsignal.errors import Problem
from lendsignal.model.secret import Secret
from lendsignal.settings.notation import duration, key_path
from lendsignal.settings.words import REFERENCE, choices, holds_secret, seen, shape, words

T = TypeVar("T", bound=Struct)

SOUNDS_SECRET = re.compile(r"token|secret|passw|credential|private|signature|key\b", re.IGNORECASE)
"""Keys whose values no message repeats, whatever their type."""

UNFIT = (ValueError, ArithmeticError)
"""How `scalar` says that a value does not fit; a number may also be too large to convert."""

REFERENCES = {
    "env": ("[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable: letters, digits and _"),
    "file": (r".*\S.*", "the path of a file"),
}
"""What a secret's reference consists of: the pattern and the words for each key."""


def read(
    kind: type[T], table: object, *, path: str, origin: str, also: Collection[str] = ()
) -> tuple[T | None, list[Problem]]:
    """The table as a `kind`, and every problem found; the value is `None` exactly when there is a problem.

    `path` is the table's own key (empty at the top), `origin` where it was written; both go into problems.
    `also` names keys of the same table that somebody else reads. No key is ever ignored: one that nobody
    reads is a problem, whether or not the Struct forbids unknown fields. A required key that stands there
    misspelt is one problem, not two. What a `__post_init__` refuses with `ValueError` is a problem too.
    """
    reading = Reading(origin)
    if isinstance(table, Mapping):
        value = reading.struct(shape(kind), table, path, also)
    else:
        value = reading.value(shape(kind), table, path)
    return (None if reading.problems else value), reading.problems


class Reading:
    """The problems of one walk. A value that met a problem comes back as `None`, and the walk goes on."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.problems: list[Problem] = []

    def problem(self, key: str, found: str, allowed: str, nearest: str | None = None) -> None:
        self.problems.append(Problem(key, found, allowed, self.origin, nearest))

    def refuse(self, wanted: inspect.Type, found: object, key: str) -> None:
        hidden = bool(SOUNDS_SECRET.search(key)) or holds_secret(wanted)
        meant = nearest(found, map(str, choices(wanted))) if isinstance(found, str) else None
        self.problem(key, seen(found, hidden=hidden), words(wanted), meant)

    def unknown(self, name: str, known: Sequence[str], key: str) -> str | None:
        """Complains of a key that nobody reads; gives the known key that it was probably meant to be."""
        meant = nearest(name, known)
        allowed = f"the keys {', '.join(known)}" if known else "no keys"
        self.problem(key_path(key, name), "an unknown key", allowed, meant)
        return meant

    def value(self, wanted: inspect.Type, found: object, key: str) -> Any:
        match wanted:
            case inspect.Metadata(type=inner):
                return self.value(inner, found, key)
            case inspect.StructType() if wanted.cls is Secret:
                return self.secret(found, key)
            case inspect.UnionType():
                return self.union(wanted, found, key)
            case inspect.StructType() if isinstance(found, Mapping):
                return self.struct(wanted, found, key)
            case inspect.DictType() if isinstance(found, Mapping):
                return self.dict(wanted, found, key)
            case inspect.CollectionType() | inspect.TupleType() if isinstance(found, list | tuple):
                return self.items(wanted, found, key)
            case _:
                with suppress(*UNFIT):
                    return scalar(wanted, found)
        self.refuse(wanted, found, key)
        return None

    def struct(self, wanted: Any, found: Mapping[Any, Any], key: str, also: Collection[str] = ()) -> Any:
        before = len(self.problems)
        table = {str(name): item for name, item in found.items()}
        fields, tag = {field.encode_name: field for field in wanted.fields}, wanted.tag_field
        known = sorted({*fields, *also, *([tag] if tag else [])})
        misspelt = {self.unknown(name, known, key) for name in table if name not in known}
        if tag in table:
            self.value(inspect.LiteralType((wanted.tag,)), table[tag], key_path(key, tag))
        values = {}
        for name, field in fields.items():
            if name in table:
                values[field.name] = self.value(field.type, table[name], key_path(key, name))
            elif field.required and name not in misspelt:
                self.problem(key_path(key, name), "nothing (the key is required)", words(field.type))
        if len(self.problems) == before:
            try:
                return wanted.cls(**values)
            except ValueError as error:
                self.problem(key, "values that do not go together", str(error))
        return None

    def secret(self, found: object, key: str) -> Secret | None:
        before = len(self.problems)
        if not isinstance(found, Mapping):
            self.problem(key, f"{seen(found, hidden=True)}; secrets are given by reference", REFERENCE)
            return None
        for name, text in found.items():
            if name not in REFERENCES:
                self.unknown(str(name), list(REFERENCES), key)
                continue
            pattern, allowed = REFERENCES[name]
            if not isinstance(text, str) or not re.fullmatch(pattern, text):
                self.problem(key_path(key, name), seen(text, hidden=True), allowed)
        if len(self.problems) == before and len(found) != 1:
            self.problem(key, "both env and file" if found else "an empty table", REFERENCE)
        return Secret(**found) if len(self.problems) == before else None

    def union(self, wanted: inspect.UnionType, found: object, key: str) -> Any:
        """By tag, else by shape, else the first member that takes it."""
        members = [bare(kind) for kind in wanted.types if not isinstance(kind, inspect.NoneType)]
        if found is None and wanted.includes_none:
            return None
        if len(members) == 1:
            return self.value(members[0], found, key)
        if isinstance(found, Mapping):
            tables = [kind for kind in members if isinstance(kind, inspect.StructType | inspect.DictType)]
            tagged = {kind.tag: kind for kind in tables if isinstance(kind, inspect.StructType) and kind.tag}
            if tagged:
                return self.tagged(tagged, found, key)
            if tables:
                return self.value(tables[0], found, key)
        if isinstance(found, list | tuple):
            for kind in members:
                if isinstance(kind, inspect.CollectionType | inspect.TupleType):
                    return self.value(kind, found, key)
        for kind in members:
            with suppress(*UNFIT):
                return scalar(kind, found)
        self.refuse(wanted, found, key)
        return None

    def tagged(self, members: Mapping[Any, inspect.StructType], found: Mapping[Any, Any], key: str) -> Any:
        tag_field = next(iter(members.values())).tag_field or ""
        tag = found.get(tag_field)
        if isinstance(tag, str | int) and tag in members:
            return self.struct(members[tag], found, key)
        self.refuse(inspect.LiteralType(tuple(members)), tag, key_path(key, tag_field))
        return None

    def dict(self, wanted: inspect.DictType, found: Mapping[Any, Any], key: str) -> Any:
        before = len(self.problems)
        if not fits(len(found), wanted):
            self.refuse(wanted, found, key)
        values = {}
        for name, item in found.items():
            at = key_path(key, str(name))
            values[self.value(wanted.key_type, name, at)] = self.value(wanted.value_type, item, at)
        return values if len(self.problems) == before else None

    def items(self, wanted: Any, found: Sequence[object], key: str) -> Any:
        before = len(self.problems)
        fixed = isinstance(wanted, inspect.TupleType)
        if len(found) != len(wanted.item_types) if fixed else not fits(len(found), wanted):
            self.refuse(wanted, found, key)
        kinds = wanted.item_types if fixed else [wanted.item_type] * len(found)
        pairs = enumerate(zip(kinds, found, strict=False))
        values = [self.value(kind, item, f"{key}[{n}]") for n, (kind, item) in pairs]
        if len(self.problems) > before:
            return None
        made = {inspect.ListType: list, inspect.SetType: set, inspect.FrozenSetType: frozenset}
        return made.get(type(wanted), tuple)(values)


def scalar(wanted: inspect.Type, found: Any) -> object:
    """What one value stands for under that type; raises one of `UNFIT` where it stands for nothing."""
    number = isinstance(found, int | float | Decimal) and not isinstance(found, bool)
    match wanted:
        case inspect.AnyType():
            return found
        case inspect.NoneType() if found is None:
            return None
        case inspect.BoolType() if isinstance(found, bool):
            return found
        case inspect.EnumType(cls=cls) if lists(choices(wanted), found):
            return cls(found)
        case inspect.LiteralType() if lists(choices(wanted), found):
            return found
        case inspect.IntType() if number and isinstance(found, int) and bounds(found, wanted):
            return found
        case inspect.FloatType() if number and math.isfinite(found) and bounds(float(found), wanted):
            return float(found)
        case inspect.DecimalType() if number and math.isfinite(found):
            return Decimal(str(found))
        case inspect.DecimalType() if isinstance(found, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", found):
            return Decimal(found)
        case inspect.StrType(pattern=pattern) if isinstance(found, str) and fits(len(found), wanted):
            if pattern is None or re.search(pattern, found):
                return found
        case inspect.TimeDeltaType() if isinstance(found, str):
            return duration(found)
        case inspect.DateTimeType() if isinstance(found, str | datetime):
            moment = convert(found, datetime)
            if moment.utcoffset() is not None:
                return moment.astimezone(UTC)
        case inspect.DateType() if isinstance(found, str | date) and not isinstance(found, datetime):
            return convert(found, date)
        case inspect.TimeType() if isinstance(found, str | time):
            return convert(found, time)
        case inspect.CustomType(cls=cls) if issubclass(cls, PurePath) and isinstance(found, str) and found:
            return cls(found)
        case _:
            pass
    raise ValueError


def lists(values: Iterable[object], found: object) -> bool:
    """Whether the value is one of those, where `true` is not 1 and 1 is not 1.0."""
    return any(type(value) is type(found) and value == found for value in values)


def bounds(number: float, rule: inspect.IntType | inspect.FloatType) -> bool:
    """Whether the number keeps to the type's own limits."""
    return (
        (rule.ge is None or number >= rule.ge)
        and (rule.gt is None or number > rule.gt)
        and (rule.le is None or number <= rule.le)
        and (rule.lt is None or number < rule.lt)
        and (rule.multiple_of is None or number % rule.multiple_of == 0)
    )


def fits(length: int, rule: Any) -> bool:
    """Whether a text, list or table of that length keeps to the type's own limits."""
    return (rule.min_length or 0) <= length and (rule.max_length is None or length <= rule.max_length)


def bare(wanted: inspect.Type) -> inspect.Type:
    """The type without its description."""
    return bare(wanted.type) if isinstance(wanted, inspect.Metadata) else wanted


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known word most like the name, in whatever case; `None` where none is near."""
    lower = {word.lower(): word for word in known}
    close = get_close_matches(name.lower(), lower, n=1)
    return lower[close[0]] if close else None
