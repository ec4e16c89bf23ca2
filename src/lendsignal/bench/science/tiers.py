"""How well own cuts keep the tiers' shares, and how seldom they change: the nine cells of `bench tiers`."""

from typing import Any

import msgspec

from lendsignal.bench.cutting import cut_tiers


def measure(quick: bool) -> dict[str, Any]:
    """The cells with their targets; two worlds a cell where `quick`, else twenty."""
    figures = cut_tiers(2 if quick else 20, lambda doing: None)
    return {"cells": msgspec.to_builtins(figures.cells), "targets": msgspec.to_builtins(figures.targets)}
