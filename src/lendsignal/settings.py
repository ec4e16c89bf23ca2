"""Reads a parsed TOML table as typed settings, and names every mistake in it at once.

Each room owns a `Settings` Struct; `read` turns a table into one, or says all that is wrong with it.
The same types give a JSON Schema (`schema`) and the rows of the reference page (`describe`).
Nothing here opens a file, looks at the environment or asks for the time.

Keys are written as in TOML, with list items counted from 0: `route[2].to`, `brand."a b".name`.
"""

import datetime as dt
import json
import math
import re
import tomllib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from pathlib import PurePath
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, inspect

from lendsignal.errors import Problem
from lendsignal.model.secret import Secret

T = TypeVar("T", bound=Struct)

UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
}
"""What a duration may be counted in, the longest first."""

DURATION = r"^[0-9]+(us|ms|s|m|h|d)$"
A_DURATION = 'a duration such as "2s", "90m", "3d"'
A_REFERENCE = '{ env = "NAME" } or { file = "PATH" }'
A_MOMENT = "a date and time with its offset, such as 2026-03-01T00:00:00Z"

LONGEST_SHOWN = 40
"""Characters of a text that a message repeats; anything longer may be a secret in the wrong place."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LAST_STEP = re.compile(r'(?:(?:^|\.)(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*")|\[\d+\])$')
_SECRETIVE = re.compile(r"token|secret|passw|credential|private|signature|key\b", re.IGNORECASE)


def duration(text: str) -> timedelta:
    """The span written as a whole number and a unit: `500ms`, `2s`, `90m`, `12h`, `3d`.

    `ValueError` for anything else, and for more days than a `timedelta` holds.
    """
    if not re.search(DURATION, text) or text.endswith("\n"):
        raise ValueError(f"not {A_DURATION}")
    unit = text.lstrip("0123456789")
    try:
        return int(text.removesuffix(unit)) * UNITS[unit]
    except OverflowError:
        raise ValueError("a duration of too many days") from None


def duration_text(delta: timedelta) -> str:
    """The span in the longest unit that counts it whole; `duration` reads it back. `ValueError` below zero."""
    if delta < timedelta(0):
        raise ValueError("a duration below zero")
    if not delta:
        return "0s"
    name, unit = next((name, unit) for name, unit in UNITS.items() if not delta % unit)
    return f"{delta // unit}{name}"


def key_path(*names: str) -> str:
    """The names joined as TOML writes a dotted key; a name that is not bare is quoted, an empty start is none."""
    start, *rest = names
    steps = [name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in rest]
    return ".".join([start, *steps] if start else steps)


def read(
    kind: type[T], table: object, *, path: str, origin: str, also: Collection[str] = ()
) -> tuple[T | None, list[Problem]]:
    """The table as a `kind`, and every problem found; the value is `None` exactly when there is a problem.

    `path` is the table's own key (empty at the top) and `origin` where it was written; both go into problems.
    `also` names keys of the same table that somebody else reads. No key is ever ignored: one that nobody
    reads is a problem, whether or not the Struct forbids unknown fields. A required key that stands there
    misspelt is one problem, not two. `ValueError` and `TypeError` of a `__post_init__` are problems too.
    """
    reading, shape = _Reading(origin), _shape(kind)
    if isinstance(table, Mapping):
        value = reading.struct(shape, table, path, also)
    else:
        value = reading.refuse(shape, table, path)
    return (None if reading.problems else value), reading.problems


@cache
def _shape(kind: type[Struct]) -> inspect.Type:
    return inspect.type_info(kind)


class _Reading:
    """One walk through a table beside its type. A value that met a problem comes back as `None`."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.problems: list[Problem] = []

    def problem(self, key: str, found: str, allowed: str, nearest: str | None = None) -> None:
        self.problems.append(Problem(key, found, allowed, self.origin, nearest))

    def refuse(self, wanted: inspect.Type, found: object, key: str) -> None:
        hidden = bool(_SECRETIVE.search(key)) or _holds_secret(wanted)
        nearest = _nearest(found, map(str, _choices(wanted))) if isinstance(found, str) else None
        self.problem(key, _seen(found, hidden), words(wanted), nearest)

    def unknown(self, name: str, known: Sequence[str], key: str) -> str | None:
        """Complains of a key that nobody reads; the known key it was probably meant to be."""
        nearest = _nearest(name, known)
        allowed = f"the keys {', '.join(known)}" if known else "no key at all"
        self.problem(key_path(key, name), "an unknown key", allowed, nearest)
        return nearest

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
        try:
            return _scalar(wanted, found)
        except _UNFIT:
            return self.refuse(wanted, found, key)

    def struct(self, wanted: Any, found: Mapping[Any, Any], key: str, also: Collection[str] = ()) -> Any:
        before = len(self.problems)
        table = {str(name): item for name, item in found.items()}
        names = {field.encode_name for field in wanted.fields} | ({wanted.tag_field} - {None})
        known = sorted(names.union(also))
        misspelt = {self.unknown(name, known, key) for name in table if name not in known}
        if wanted.tag_field in table:
            at = key_path(key, wanted.tag_field)
            self.value(inspect.LiteralType((wanted.tag,)), table[wanted.tag_field], at)
        values = {}
        for field in wanted.fields:
            name, at = field.encode_name, key_path(key, field.encode_name)
            if name in table:
                values[field.name] = self.value(field.type, table[name], at)
            elif field.required and name not in misspelt:
                self.problem(at, "nothing (the key is required)", words(field.type))
        if len(self.problems) > before:
            return None
        try:
            return wanted.cls(**values)
        except (ValueError, TypeError) as error:
            return self.problem(key, "values that do not go together", str(error))

    def secret(self, found: object, key: str) -> Secret | None:
        before = len(self.problems)
        if not isinstance(found, Mapping):
            return self.problem(key, f"{_seen(found, True)}; secrets are given by reference", A_REFERENCE)
        for name, text in found.items():
            rule, allowed = _REFERENCES.get(name, ("", ""))
            if not rule:
                self.unknown(str(name), list(_REFERENCES), key)
            elif not isinstance(text, str) or not re.fullmatch(rule, text):
                self.problem(key_path(key, name), _seen(text, hidden=True), allowed)
        if len(self.problems) == before and len(found) != 1:
            self.problem(key, "both env and file" if found else "an empty table", A_REFERENCE)
        return Secret(**found) if len(self.problems) == before else None

    def union(self, wanted: inspect.UnionType, found: object, key: str) -> Any:
        """The member that the value was meant for: by tag, by shape, else the first that takes it."""
        members = [_plain(kind) for kind in wanted.types if not isinstance(kind, inspect.NoneType)]
        if len(members) == 1 and (found is not None or not wanted.includes_none):
            return self.value(members[0], found, key)
        tagged = {kind.tag: kind for kind in members if isinstance(kind, inspect.StructType) and kind.tag_field}
        if tagged and isinstance(found, Mapping):
            tag_field = next(iter(tagged.values())).tag_field or ""
            tag = found.get(tag_field)
            if isinstance(tag, str | int) and tag in tagged:
                return self.struct(tagged[tag], found, key)
            return self.refuse(inspect.LiteralType(tuple(filter(None, tagged))), tag, key_path(key, tag_field))
        for kind in members:
            if isinstance(found, Mapping) and isinstance(kind, inspect.StructType | inspect.DictType):
                return self.value(kind, found, key)
            if isinstance(found, list | tuple) and isinstance(kind, inspect.CollectionType | inspect.TupleType):
                return self.value(kind, found, key)
        for kind in wanted.types:
            with suppress(*_UNFIT):
                return _scalar(_plain(kind), found)
        return self.refuse(wanted, found, key)

    def dict(self, wanted: inspect.DictType, found: Mapping[Any, Any], key: str) -> Any:
        before = len(self.problems)
        if not _fits(len(found), wanted):
            self.refuse(wanted, found, key)
        values = {}
        for name, item in found.items():
            at = key_path(key, str(name))
            values[self.value(wanted.key_type, name, at)] = self.value(wanted.value_type, item, at)
        return values if len(self.problems) == before else None

    def items(self, wanted: Any, found: Sequence[object], key: str) -> Any:
        before = len(self.problems)
        fixed = isinstance(wanted, inspect.TupleType)
        if len(found) != len(wanted.item_types) if fixed else not _fits(len(found), wanted):
            self.refuse(wanted, found, key)
        kinds = wanted.item_types if fixed else [wanted.item_type] * len(found)
        pairs = enumerate(zip(kinds, found, strict=False))
        values = [self.value(kind, item, f"{key}[{n}]") for n, (kind, item) in pairs]
        make = {inspect.ListType: list, inspect.SetType: set, inspect.FrozenSetType: frozenset}.get(type(wanted), tuple)
        return make(values) if len(self.problems) == before else None


_UNFIT = (ValueError, ArithmeticError, msgspec.ValidationError)
"""How `_scalar` says that a value does not fit: a number may also be too large to convert."""

_REFERENCES = {
    "env": (r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable: letters, digits and _"),
    "file": (r"[^\0]*[^\0\s][^\0]*", "the path of a file"),
}


def _scalar(wanted: inspect.Type, found: Any) -> object:
    """What one TOML value stands for under that type; raises one of `_UNFIT` where it stands for nothing."""
    number = isinstance(found, int | float | Decimal) and not isinstance(found, bool)
    match wanted:
        case inspect.AnyType():
            return found
        case inspect.NoneType() if found is None:
            return None
        case inspect.BoolType() if isinstance(found, bool):
            return found
        case inspect.EnumType() | inspect.LiteralType():
            if any(type(choice) is type(found) and choice == found for choice in _choices(wanted)):
                return wanted.cls(found) if isinstance(wanted, inspect.EnumType) else found
        case inspect.IntType() if number and isinstance(found, int) and _within(found, wanted):
            return found
        case inspect.FloatType() if number and math.isfinite(found) and _within(float(found), wanted):
            return float(found)
        case inspect.DecimalType() if number and math.isfinite(found):
            return Decimal(str(found))
        case inspect.DecimalType() if isinstance(found, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", found):
            return Decimal(found)
        case inspect.StrType() if isinstance(found, str) and _fits(len(found), wanted):
            if wanted.pattern is None or re.search(wanted.pattern, found):
                return found
        case inspect.TimeDeltaType() if isinstance(found, str):
            return duration(found)
        case inspect.DateTimeType() if isinstance(found, str | dt.datetime):
            moment = msgspec.convert(found, dt.datetime)
            if moment.utcoffset() is not None:
                return moment.astimezone(UTC)
        case inspect.DateType() if isinstance(found, str | dt.date) and not isinstance(found, dt.datetime):
            return msgspec.convert(found, dt.date)
        case inspect.TimeType() if isinstance(found, str | dt.time):
            return msgspec.convert(found, dt.time)
        case inspect.CustomType(cls=cls) if issubclass(cls, PurePath) and isinstance(found, str) and found:
            return cls(found)
    raise ValueError


def _within(number: float, rule: inspect.IntType | inspect.FloatType) -> bool:
    return (
        (rule.ge is None or number >= rule.ge)
        and (rule.gt is None or number > rule.gt)
        and (rule.le is None or number <= rule.le)
        and (rule.lt is None or number < rule.lt)
        and (rule.multiple_of is None or number % rule.multiple_of == 0)
    )


def _fits(length: int, rule: Any) -> bool:
    """Whether a text, list or table of that length keeps the type's own limits."""
    return (rule.min_length or 0) <= length and (rule.max_length is None or length <= rule.max_length)


def _plain(wanted: inspect.Type) -> inspect.Type:
    """The type without its description."""
    return _plain(wanted.type) if isinstance(wanted, inspect.Metadata) else wanted


def _inner(wanted: Any) -> list[inspect.Type]:
    """The types directly within a type."""
    many = [*getattr(wanted, "types", ()), *getattr(wanted, "item_types", ())]
    one = [getattr(wanted, name) for name in ("type", "item_type", "value_type") if hasattr(wanted, name)]
    return many + one + [field.type for field in getattr(wanted, "fields", ())]


def _holds_secret(wanted: inspect.Type) -> bool:
    """Whether a secret may stand somewhere in a value of the type: then nothing of the value is shown."""
    seen, todo = set(), [wanted]
    while todo:
        kind = todo.pop()
        if isinstance(kind, inspect.StructType) and kind.cls is Secret:
            return True
        if id(kind) not in seen:
            seen.add(id(kind))
            todo += _inner(kind)
    return False


def _choices(wanted: inspect.Type) -> list[Any]:
    """The values listed by a literal or an enumeration, also within a union; none for other types."""
    match wanted:
        case inspect.LiteralType(values=values):
            return [value for value in values if value is not None]
        case inspect.EnumType(cls=cls):
            return [member.value for member in cls]
        case inspect.UnionType() | inspect.Metadata():
            return [choice for kind in _inner(wanted) for choice in _choices(kind)]
    return []


def _nearest(name: str, known: Iterable[str]) -> str | None:
    lower = {word.lower(): word for word in known}
    close = get_close_matches(name.lower(), lower, n=1)
    return lower[close[0]] if close else None


def _seen(found: object, hidden: bool) -> str:
    """What stands there, short, on one line, and without anything that may be secret or personal."""
    match found:
        case Mapping():
            return "a table" if found else "an empty table"
        case list() | tuple():
            return f"a list of length {len(found)}"
        case None:
            return "nothing"
        case str() if hidden:
            return "a plain text value (not shown)"
        case str() if len(found) > LONGEST_SHOWN or "@" in found:
            return f"a text of {len(found)} characters (not shown)"
        case str():
            return f"the text {json.dumps(found, ensure_ascii=False)}"
        case _ if hidden:
            return "a plain value (not shown)"
        case bool():
            return "true" if found else "false"
        case int():
            return f"the whole number {found}" if found.bit_length() <= 64 else "a whole number beyond 64 bits"
        case float() | Decimal():
            return f"the number {found}"
        case dt.date() | dt.time():
            return f"the date or time {found.isoformat()}"
    return f"a {type(found).__name__}"


def words(wanted: inspect.Type) -> str:
    """What the type allows, in words; "absent" is not said of an optional one. `TypeError`: no settings type."""
    match wanted:
        case inspect.Metadata(type=inner):
            return words(inner)
        case inspect.StructType(cls=cls):
            return A_REFERENCE if cls is Secret else "a table"
        case inspect.UnionType(types=types):
            kinds = [kind for kind in types if not isinstance(kind, inspect.NoneType)]
            return ", or ".join(dict.fromkeys(map(words, sorted(kinds, key=lambda kind: bool(_choices(kind))))))
        case inspect.DictType(value_type=inner):
            return _ruled(f"a table in which each value is {words(inner)}", wanted, "entry", "entries")
        case inspect.TupleType(item_types=inner):
            return f"a list of exactly: {'; '.join(map(words, inner))}"
        case inspect.CollectionType(item_type=inner):
            return _ruled(f"a list in which each item is {words(inner)}", wanted, "item", "items")
        case inspect.EnumType() | inspect.LiteralType():
            choices = [_toml(value).strip('"') for value in _choices(wanted)]
            return f"one of: {', '.join(choices)}" if len(choices) > 1 else f'"{choices[0]}"'
        case inspect.StrType(pattern=pattern):
            return _ruled("text", wanted, "character", "characters") + (f" matching {pattern}" if pattern else "")
        case inspect.IntType():
            return _ruled("a whole number", wanted)
        case inspect.FloatType() | inspect.DecimalType():
            return _ruled("a number", wanted)
    return _WORDS[type(wanted)]
