"""Platforms we can send to. The folder is the registry: every file but `spec.py` is a destination"""

from collections.abc import Mapping
from functools import cache

from lendsignal.destination.spec import Destination
from lendsignal.later import Kinds, in_folder


@cache
def registry() -> Mapping[str, Destination]:
    """Every destination by its kind in the configuration, which is its file's name; loaded when asked for."""
    return Kinds[Destination](__name__, in_folder(__path__, beside="spec"))
