"""What a pull can read from: one module a kind, each with its settings, its checks and its feed."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from lendsignal.clock import Clock
from lendsignal.errors import Problem
from lendsignal.later import Kinds
from lendsignal.log import Marks
from lendsignal.source.pull import Feed, PullSettings


class Kit(Struct, frozen=True, kw_only=True):
    """What a feed may need of the house: its name, the configuration's folder, what was noted, the time."""

    name: str
    folder: Path
    pulls: Marks
    clock: Clock


class FeedKind(Protocol):
    """A module that can be read from. It loads its libraries in `feed`, not when it is imported."""

    Settings: Callable[..., Any]

    @staticmethod
    def problems(settings: Any) -> Iterator[Problem]:
        """What types cannot tell is wrong; keys as they stand below the pull's table."""

    @staticmethod
    def feed(settings: Any, kit: Kit) -> Feed:
        """The feed, open or about to open. Raises `PullError` where it cannot be."""


class PullPlan(Struct, frozen=True, kw_only=True):
    """One `[pull.NAME]` as it is configured: our keys, and those of its kind."""

    name: str
    common: PullSettings
    own: Any
    kind: Any

    def open(self, kit: Kit) -> Feed:
        """Its feed."""
        found: Feed = self.kind.feed(self.own, kit)
        return found


KINDS = {"sql": "sql", "files": "objects", "kafka": "kafka"}
"""The modules of the kinds, by the word that a configuration has for each."""


def feed_kinds() -> Mapping[str, Any]:
    """Every kind by that word; each is loaded when it is asked for."""
    return Kinds[Any]("lendsignal.source", KINDS)
