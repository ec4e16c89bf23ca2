"""Typed settings out of a parsed TOML table, with every mistake named at once.

Each room owns a `Settings` Struct; `read` turns a table into one, or says all that is wrong with it.
The same types give a JSON Schema (`schema`) and the rows of the reference page (`describe`).
Nothing here opens a file, looks at the environment or asks for the time.

Keys are written as in TOML, with list items counted from 0: `route[2].to`, `brand."a b".name`.
"""

from lendsignal.settings.lines import toml_positions, with_lines
from lendsignal.settings.notation import DURATION, duration, duration_text, key_path, toml_text
from lendsignal.settings.reading import read
from lendsignal.settings.reference import Field, describe, schema
from lendsignal.settings.templates import Template, Unfolded, unfolded
from lendsignal.settings.words import words

__all__ = [
    "DURATION",
    "Field",
    "Template",
    "Unfolded",
    "describe",
    "duration",
    "duration_text",
    "key_path",
    "read",
    "schema",
    "toml_positions",
    "toml_text",
    "unfolded",
    "with_lines",
    "words",
]
