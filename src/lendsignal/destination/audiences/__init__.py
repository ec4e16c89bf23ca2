"""Platforms that keep lists of people. The folder is the registry: every file but `shape.py` is one."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from lendsignal.destination.audiences.shape import AudiencePlatform


@cache
def audience_platforms() -> dict[str, AudiencePlatform]:
    """Every platform by the kind it goes by in the configuration."""
    names = sorted(info.name for info in iter_modules(__path__) if info.name != "shape")
    modules = (cast(AudiencePlatform, import_module(f"{__name__}.{name}")) for name in names)
    return {module.SPEC.name: module for module in modules}
