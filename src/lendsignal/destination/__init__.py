"""Platforms we can send to. The folder is the registry: every file but `spec.py` is a destination."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from lendsignal.destination.spec import Destination


@cache
def registry() -> dict[str, Destination]:
    """Every destination by the kind it goes by in the configuration."""
    names = sorted(info.name for info in iter_modules(__path__) if info.name != "spec" and not info.ispkg)
    modules = (cast(Destination, import_module(f"{__name__}.{name}")) for name in names)
    return {module.SPEC.name: module for module in modules}
