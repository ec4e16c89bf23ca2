"""The line on which each key of a TOML text stands, so that a problem can say where it comes from."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from lendsignal.errors import Problem
from lendsignal.settings.notation import BARE_KEY, key_path

SPACE_OR_TOKEN = re.compile(
    r"""
    [ \t\r]+ | \#[^\n]*
  | (?P<token> "{3}(?:\\.|[^\\])*?"{3,5} | '{3}.*?'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*'
             | [\n\[\]{}=,.] | [^\s\[\]{}=,.\#"']+ )
    """,
    re.VERBOSE | re.DOTALL,
)

LAST_STEP = re.compile(r'((^|\.)([A-Za-z0-9_-]+|"(\\.|[^"\\])*")|\[\d+\])$')
"""The last name or number of a key."""


def with_lines(problems: Iterable[Problem], positions: Mapping[str, int]) -> list[Problem]:
    """The problems with a line in their origin: `lendsignal.toml, line 31`.

    The line is the key's own, else that of the nearest table around it, else left out.
    """
    located = []
    for problem in problems:
        key = problem.key
        while key and key not in positions:
            key = LAST_STEP.sub("", key) if LAST_STEP.search(key) else ""
        line = [f"line {positions[key]}"] if key else []
        located.append(replace(problem, origin=", ".join([*filter(None, [problem.origin]), *line])))
    return located


def toml_positions(text: str) -> dict[str, int]:
    """The line (from 1) on which each key of a TOML text first stands: tables, list items, inline tables.

    The text should be valid TOML; from the first place that is not, the rest is left out.
    """
    walk = Walk(text)
    with suppress(ValueError, IndexError, RecursionError):
        walk.document()
    return walk.positions


class Walk:
    """A walk along the tokens of a TOML text that notes where each key stands.

    The end of the tokens is an `IndexError`, a token out of place a `ValueError`.
    """

    def __init__(self, text: str) -> None:
        self.positions: dict[str, int] = {}
        self.latest: dict[str, int] = {}
        """The number of the latest table in each array of tables."""
        self.tokens: list[tuple[str, int]] = []
        self.at = place = 0
        line = 1
        while found := SPACE_OR_TOKEN.match(text, place):
            if found["token"]:
                self.tokens.append((found["token"], line))
            line, place = line + found[0].count("\n"), found.end()
        self.tokens.append(("\n", line))

    def here(self, *tokens: str) -> bool:
        """Whether one of these tokens is next; it is not taken."""
        return self.tokens[self.at][0] in tokens

    def took(self, *tokens: str) -> bool:
        """Whether one of these tokens was next; then it is taken."""
        taken = self.here(*tokens)
        self.at += taken
        return taken

    def document(self) -> None:
        table = ""
        while True:
            if self.took("["):
                several = self.took("[")
                table = self.key("", opens_one_of_several=several)
                self.at += 1 + several
            elif not self.took("\n"):
                self.pair(table)

    def key(self, table: str, *, opens_one_of_several: bool = False) -> str:
        """A dotted key within the table, noted name by name.

        A name that stands for an array of tables means its latest one, or a new one that opens here.
        """
        while True:
            name, line = self.tokens[self.at]
            self.at += 1
            if name[0] in "\"'":
                name = tomllib.loads(f"name = {name}")["name"]
            elif not BARE_KEY.fullmatch(name):
                raise ValueError
            table = key_path(table, name)
            self.positions.setdefault(table, line)
            last = not self.took(".")
            if last and opens_one_of_several:
                self.latest[table] = self.latest.get(table, -1) + 1
            if table in self.latest:
                table = f"{table}[{self.latest[table]}]"
                self.positions.setdefault(table, line)
            if last:
                return table

    def pair(self, table: str) -> None:
        key = self.key(table)
        if not self.took("="):
            raise ValueError
        self.value(key)

    def value(self, key: str) -> None:
        if self.took("["):
            count = 0
            while not self.took("]"):
                if not self.took(",", "\n"):
                    item, count = f"{key}[{count}]", count + 1
                    self.positions[item] = self.tokens[self.at][1]
                    self.value(item)
        elif self.took("{"):
            while not self.took("}"):
                if not self.took(",", "\n"):
                    self.pair(key)
        else:
            self.at += 1
            while not self.here(",", "\n", "]", "}"):
                self.at += 1
