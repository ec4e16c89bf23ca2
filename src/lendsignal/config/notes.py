"""What is noted while a file is looked through: its mistakes, its warnings, and which secrets are there."""

import difflib
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from lendsignal.errors import Problem
from lendsignal.model import Secret, reveal

NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
"""How everything is called that a lender may name."""


class Notes(Struct, frozen=True, kw_only=True):
    """The notes on one file.

    `origin` is the file's name, as mistakes tell it; `folder` is where it lies, and relative paths in it
    count from there. `secrets`: key → whether the secret is set, never what it is.
    """

    origin: str
    folder: Path
    problems: list[Problem] = []
    warnings: list[str] = []
    secrets: dict[str, bool] = {}

    def wrong(self, key: str, found: str, allowed: str, nearest: str | None = None) -> None:
        """Notes a mistake."""
        self.problems.append(Problem(key, found, allowed, self.origin, nearest))

    def one_of(self, key: str, word: str, known: Iterable[str]) -> None:
        """Notes a word that is none of the known ones; looks for the nearest of them."""
        known = list(known)
        self.wrong(key, repr(word), f"one of {', '.join(known)}", nearest(word, known))

    def no_table(self, key: str, word: str, table: str, known: Iterable[str]) -> None:
        """Notes a word that no `[table.NAME]` is called."""
        known = list(known)
        self.wrong(key, repr(word), tables(table, known), nearest(word, known))

    def name(self, path: str, name: str) -> None:
        """Looks at what a table is called."""
        if not re.fullmatch(NAME, name):
            self.wrong(path, f"the name {name!r}", "lower-case letters, digits, - and _")

    def zone(self, key: str, zone: str) -> None:
        """Looks at a time zone."""
        try:
            ZoneInfo(zone)
        except (KeyError, ValueError, OSError):
            self.wrong(key, repr(zone), "an IANA time zone such as Africa/Lagos")

    def secret(self, key: str, secret: Secret) -> None:
        """Looks whether a secret is set."""
        self.secrets[key] = reveal(secret) is not None
        if not self.secrets[key]:
            where = f"the environment variable {secret.env}" if secret.env else f"the file {secret.file}"
            self.wrong(key, f"{where} is not set or empty", "a secret that is there at start")

    def secrets_of(self, path: str, settings: Struct) -> None:
        """Looks whether every secret of a table is set."""
        for field, secret in secret_fields(settings).items():
            self.secret(f"{path}.{field}", secret)

    def placed(self, secret: Secret) -> Secret:
        """The secret, its file seen from the folder."""
        return secret if secret.file is None else Secret(file=str(self.path(secret.file)))

    def all_placed(self, settings: Any) -> Any:
        """The settings, the files of all their secrets seen from the folder."""
        changed = {field: self.placed(secret) for field, secret in secret_fields(settings).items()}
        return msgspec.structs.replace(settings, **changed)

    def path(self, written: str) -> Path:
        """A path as it was written, seen from the folder; `~` is the home folder."""
        return self.folder / Path(written).expanduser()


def secret_fields(settings: Struct) -> dict[str, Secret]:
    """The references to secrets among the fields, by field."""
    given = {field: getattr(settings, field) for field in settings.__struct_fields__}
    return {field: value for field, value in given.items() if isinstance(value, Secret)}


def revealed(secret: Secret | None) -> str | None:
    """What the secret says; `None` also where there is none."""
    return None if secret is None else reveal(secret)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like it; `None` where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return close[0] if close else None


def tables(table: str, known: Iterable[str]) -> str:
    """Which tables of that kind there are, in the words of a mistake."""
    article = "an" if table[0] in "aeiou" else "a"
    return f"{article} [{table}.NAME]: {', '.join(known) or 'none is there'}"


def entries(table: object) -> list[tuple[str, Any]]:
    """The keys of a table as it was written; none where it is no table."""
    return list(table.items()) if isinstance(table, Mapping) else []


def is_there(module: str) -> bool:
    """Whether a library is installed."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
