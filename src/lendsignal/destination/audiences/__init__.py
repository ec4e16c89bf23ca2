"""Platforms that keep lists of people. The folder is the registry: every file but `shape.py` is one"""

from collections.abc import Mapping
from functools import cache

from lendsignal.destination.audiences.shape import AudiencePlatform
from lendsignal.later import Kinds, in_folder


@cache
def audience_platforms() -> Mapping[str, AudiencePlatform]:
    """Every platform by its kind in the configuration, which is its file's name; loaded when asked for."""
    return Kinds[AudiencePlatform](__name__, in_folder(__path__, beside="shape"))
