"""Secrets by reference: the configuration names where a secret is, never what it is."""

import os
from pathlib import Path

from msgspec import Struct


class Secret(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A secret kept in an environment variable (`env`) or a file (`file`). Its value never prints."""

    env: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return f"secret from {'$' + self.env if self.env else self.file}"

    __repr__ = __str__


def reveal(secret: Secret) -> str | None:
    """The secret's value now, without surrounding white space; `None` where it is not set."""
    if secret.env is not None:
        value = os.environ.get(secret.env, "").strip()
        return value or None
    if secret.file is not None:
        path = Path(secret.file).expanduser()
        # `os.path` says no to what can be no name of a file at all, where `path.is_file` raises.
        return (path.read_text().strip() or None) if os.path.isfile(path) else None
    return None
