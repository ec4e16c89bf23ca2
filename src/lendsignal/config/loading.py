"""From a file, a text or words of the command line to a configuration, or to every mistake in it."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lendsignal.config.composing import composed
from lendsignal.config.notes import Notes
from lendsignal.config.usable import Config
from lendsignal.errors import ConfigError, Problem
from lendsignal.settings import toml_positions, unfolded, with_lines


def load(path: Path, *, overrides: Mapping[str, Any] | None = None, text: str | None = None) -> Config:
    """The configuration in a file; `overrides` are keys such as `door.port` set from the command line.

    `text` is read in place of what stands in the file: other files that it names are seen from there all the
    same. Raises `ConfigError` with every mistake.
    """
    try:
        text = path.read_text() if text is None else text
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise ConfigError([Problem(str(path), reason or "unreadable", "a TOML file")]) from None
    return parsed(text, path, overrides=overrides)


def parsed(text: str, path: Path, *, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration that a text would be as the file at `path`, which is not read.

    Raises `ConfigError` with every mistake.
    """
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ConfigError([Problem(str(path), "lists nested too deep", "a TOML file")]) from None
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise ConfigError([Problem(str(path), f"not TOML: {error}", "a TOML file")]) from None
    notes = Notes(origin=path.name, folder=path.parent)
    for key, value in (overrides or {}).items():
        _override(table, key, value, notes.problems)
    whole = unfolded(table, path.name)
    notes.problems.extend(whole.problems)
    config = composed(whole.table, path, notes)
    if notes.problems or config is None:
        raise ConfigError(with_lines(whole.as_written(notes.problems), toml_positions(text)))
    return msgspec.structs.replace(config, warnings=tuple(whole.told(config.warnings)), templates=whole.made)


def _override(table: dict[str, Any], key: str, value: object, found: list[Problem]) -> None:
    """Sets one dotted key in the file's table."""
    *tables, name = key.split(".")
    for step in tables:
        below = table.setdefault(step, {})
        if not isinstance(below, dict):
            found.append(Problem(key, f"{step}, which is no table", "a key of a table", "--set"))
            return
        table = below
    table[name] = value


def overrides(words: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` words, such as `door.port=9000`, as `load` takes them. Raises `ConfigError`."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or "." not in key:
            raise ConfigError([Problem("--set", repr(word), "KEY=VALUE, such as door.port=9000")])
        number = int(value) if value.lstrip("-").isdigit() else value
        found[key] = {"true": True, "false": False}.get(value.lower(), number)
    return found
