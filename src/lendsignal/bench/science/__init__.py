"""What the decision methods reach on made-up worlds, where the truth is known; and two published figures.

Each part is a module of its own with `measure(quick) -> dict`, as small as can be told where `quick`.
docs/explanation says of each method what its figures mean.
"""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any

from lendsignal.report.chart import Chart

PARTS: Mapping[str, str] = {
    "tiers": "tiers",
    "value": "value",
    "event_choice": "choice",
    "bids": "bids",
    "holdout": "holdout",
}
"""The key of each part, and its module here."""


def measure_science(quick: bool, tell: Callable[[str], None], only: Collection[str] = ()) -> dict[str, Any]:
    """The figures of every part under its key, or only of some; the same seeds give the same figures."""
    found: dict[str, Any] = {}
    for key in PARTS:
        if only and key not in only:
            continue
        tell(key)
        found[key] = _module(key).measure(quick)
    return found


def charts_of_science(found: Mapping[str, Any]) -> dict[str, tuple[Chart, ...]]:
    """The pictures of each part that has some, from what it measured."""
    modules = {key: _module(key) for key in found}
    return {key: module.charts(found[key]) for key, module in modules.items() if hasattr(module, "charts")}


def _module(key: str) -> Any:
    """The part's module, loaded late: each has libraries of its own."""
    return import_module(f"{__name__}.{PARTS[key]}")
