"""What a settings type allows and what a value is, in words for messages and for the reference page."""

from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from functools import cache
from typing import Any

from msgspec import Struct, inspect

from lendsignal.model.secret import Secret
from lendsignal.settings.notation import quoted, toml_text

REFERENCE = '{ env = "NAME" } or { file = "PATH" }'
"""How a secret is given: by where it is, never by what it is."""

LONGEST_SHOWN = 40
"""Characters of a text that a message repeats; anything longer may be a secret in the wrong place."""

NOUNS: dict[type[inspect.Type], str] = {
    inspect.StructType: "a table",
    inspect.AnyType: "anything",
    inspect.NoneType: "nothing",
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.DecimalType: "a number",
    inspect.StrType: "text",
    inspect.CustomType: "text",
    inspect.TimeDeltaType: 'a duration such as "2s", "90m", "3d"',
    inspect.DateTimeType: "a date and time with its offset, such as 2026-03-01T00:00:00Z",
    inspect.DateType: "a date such as 2026-03-01",
    inspect.TimeType: "a time of day such as 02:30:00",
}

RULES = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "multiple_of": "a multiple of {}",
    "min_length": "of length {} or more",
    "max_length": "of length {} or less",
    "pattern": "matching {}",
}


@cache
def shape(kind: type[Struct]) -> inspect.Type:
    """What msgspec knows of a Struct; the walk over types starts here."""
    return inspect.type_info(kind)


def words(wanted: inspect.Type) -> str:
    """What a type allows: `a whole number, at least 1`; `one of: send, skip`.

    That an optional key may be absent is not said. `TypeError` for a type that settings cannot have.
    """
    match wanted:
        case inspect.StructType() if wanted.cls is Secret:
            return REFERENCE
        case inspect.Metadata(type=inner):
            return words(inner)
        case inspect.UnionType(types=types):
            kinds = [kind for kind in types if not isinstance(kind, inspect.NoneType)]
            listed_last = sorted(kinds, key=lambda kind: bool(choices(kind)))
            return ", or ".join(dict.fromkeys(map(words, listed_last)))
        case inspect.EnumType() | inspect.LiteralType():
            first, *others = choices(wanted)
            listed = ", ".join(one if isinstance(one, str) else toml_text(one) for one in [first, *others])
            return f"one of: {listed}" if others else toml_text(first)
        case inspect.DictType(value_type=inner):
            noun = f"a table (each value: {words(inner)})"
        case inspect.TupleType(item_types=kinds):
            noun = f"a list of {len(kinds)} ({'; '.join(map(words, kinds))})"
        case inspect.CollectionType(item_type=inner):
            noun = f"a list (each item: {words(inner)})"
        case _ if type(wanted) in NOUNS:
            noun = NOUNS[type(wanted)]
        case _:
            raise TypeError(f"settings cannot have the type {type(wanted).__name__}")
    limits = {rule: getattr(wanted, rule, None) for rule in RULES}
    return ", ".join(
        [noun, *(RULES[rule].format(limit) for rule, limit in limits.items() if limit is not None)]
    )


def seen(found: object, *, hidden: bool) -> str:
    """What stands there, short, on one line, and without anything that may be secret or personal.

    `hidden`: show no text or number at all.
    """
    match found:
        case None:
            return "nothing"
        case Mapping():
            return "a table" if found else "an empty table"
        case list() | tuple():
            return f"a list of length {len(found)}"
        case str() if hidden:
            return "a plain text value (not shown)"
        case str() if len(found) > LONGEST_SHOWN or "@" in found:
            return f"a text of {len(found)} characters (not shown)"
        case str():
            return f"the text {quoted(found)}"
        case _ if hidden:
            return "a plain value (not shown)"
        case bool():
            return toml_text(found)
        case int():
            return f"the whole number {found}" if found.bit_length() < 64 else "a whole number beyond 64 bits"
        case float() | Decimal():
            return f"the number {found}"
        case date() | time():
            return f"the date or time {found.isoformat()}"
        case _:
            return f"a {type(found).__name__}"


def choices(wanted: inspect.Type) -> list[Any]:
    """The values that a literal or an enumeration lists, also within a union; none for other types."""
    match wanted:
        case inspect.LiteralType(values=values):
            return [value for value in values if value is not None]
        case inspect.EnumType(cls=cls):
            return [member.value for member in cls]
        case inspect.UnionType() | inspect.Metadata():
            return [choice for kind in within(wanted) for choice in choices(kind)]
        case _:
            return []


def holds_secret(wanted: inspect.Type) -> bool:
    """Whether a secret may stand anywhere in a value of that type."""
    known: dict[int, inspect.Type] = {}
    unknown = [wanted]
    while unknown:
        kind = unknown.pop()
        if isinstance(kind, inspect.StructType) and kind.cls is Secret:
            return True
        if id(kind) not in known:
            known[id(kind)] = kind
            unknown += within(kind)
    return False


def within(wanted: Any) -> list[inspect.Type]:
    """The types that a type is directly made of."""
    several = [*getattr(wanted, "types", ()), *getattr(wanted, "item_types", ())]
    one = [getattr(wanted, name) for name in ("type", "item_type", "value_type") if hasattr(wanted, name)]
    return several + one + [field.type for field in getattr(wanted, "fields", ())]
