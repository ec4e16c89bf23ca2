"""What the doctor finds: one thing looked at, how it is, and what to do."""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from lendsignal.config import Config


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `level`: ok, look (worth knowing), act (a person must)."""

    check: str
    level: str
    found: str
    do: str | None = None


class Check(Protocol):
    """Looks at one thing."""

    __name__: str

    def __call__(self, config: Config, /) -> Iterator[Finding]: ...


def ok(check: str, found: str) -> Finding:
    return Finding(check=check, level="ok", found=found)


def look(check: str, found: str, do: str | None = None) -> Finding:
    return Finding(check=check, level="look", found=found, do=do)


def act(check: str, found: str, do: str) -> Finding:
    return Finding(check=check, level="act", found=found, do=do)


def span(seconds: float) -> str:
    """A span in its largest whole unit."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
