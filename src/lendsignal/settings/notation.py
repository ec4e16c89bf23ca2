"""How settings are written down: durations, dotted keys, and any value as TOML text."""

import json
import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from enum import Enum
from pathlib import PurePath

from msgspec import Struct
from msgspec.structs import fields

DURATION = "^[0-9]+(us|ms|s|m|h|d)$"
"""What a duration looks like, as a pattern for schemas and editors."""

BARE_KEY = re.compile("[A-Za-z0-9_-]+")

UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
}
"""What a duration may be counted in, the longest first."""


def duration(text: str) -> timedelta:
    """The span written as a whole number and a unit: `500ms`, `2s`, `90m`, `12h`, `3d`.

    `ValueError` for anything else, and for more days than a `timedelta` holds.
    """
    written = re.fullmatch("([0-9]{1,18})(us|ms|s|m|h|d)", text)
    if written is None:
        raise ValueError("a duration is a whole number and one of the units us, ms, s, m, h, d")
    try:
        return int(written[1]) * UNITS[written[2]]
    except OverflowError:
        raise ValueError("a duration of too many days") from None


def duration_text(delta: timedelta) -> str:
    """The span in the longest unit that counts it whole, so that `duration` reads it back exactly.

    `ValueError` below zero: settings have no such spans.
    """
    if delta < timedelta(0):
        raise ValueError("a duration is never below zero")
    if not delta:
        return "0s"
    name, unit = next((name, unit) for name, unit in UNITS.items() if not delta % unit)
    return f"{delta // unit}{name}"


def key_path(start: str, *names: str) -> str:
    """The key `start`, already written, and the names below it; an empty start is the top of the file.

    A name that TOML could not take bare is quoted: `brand."a b"`.
    """
    steps = [name if BARE_KEY.fullmatch(name) else quoted(name) for name in names]
    return ".".join([start, *steps] if start else steps)


def quoted(text: str) -> str:
    """The text in double quotes, on one line, as a TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def toml_text(value: object) -> str:
    """The value as TOML has it after the `=`, on one line.

    `None` is left out of a table, since TOML has no word for it. A Struct is an inline table.
    """
    match value:
        case Enum():
            return toml_text(value.value)
        case bool():
            return str(value).lower()
        case timedelta():
            return quoted(duration_text(value))
        case str() | PurePath():
            return quoted(str(value))
        case date() | time():
            return value.isoformat()
        case Struct():
            config = value.__struct_config__
            tag = {config.tag_field: config.tag} if config.tag_field else {}
            return toml_text(tag | {at.encode_name: getattr(value, at.name) for at in fields(value)})
        case Mapping():
            present = {str(name): item for name, item in value.items() if item is not None}
            pairs = [f"{key_path('', name)} = {toml_text(item)}" for name, item in present.items()]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case list() | tuple() | set() | frozenset():
            return f"[{', '.join(map(toml_text, value))}]"
        case _:
            return str(value)
