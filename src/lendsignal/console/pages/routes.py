"""Which conversion goes where, under which name and with which value: the configuration as a matrix."""

from collections.abc import Mapping
from typing import Any

from lendsignal.console.page import Asked, Group, Page
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.plan import RouteSettings, known_conversions


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Rows are conversions, columns destinations; a cell is the name there, its value and its mode."""
    policy = room.config.policy
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for route in policy.routes:
        for conversion, name in route.send.items():
            cells.setdefault((conversion, route.to), []).append(_cell(route, conversion, name))
    routed = {conversion for conversion, _ in cells}
    known = list(dict.fromkeys([*known_conversions(policy.derive), *sorted(routed)]))
    return {
        "conversions": known,
        "destinations": sorted(room.config.outlets),
        "cells": cells,
        "routed": routed,
        "file": room.config.path.name,
    }


def _cell(route: RouteSettings, conversion: str, name: str) -> Mapping[str, Any]:
    value, starts, ends = (
        table.get(conversion) for table in (route.value, route.live_from, route.live_until)
    )
    return {
        "name": name,
        "value": None if value is None else _value(value),
        "shadow": route.mode == "shadow" and starts is None,
        "starts": starts,
        "ends": ends,
    }


def _value(rule: Any) -> str:
    """A value rule in a few words: a basis, or a number, and what is done to it."""
    if isinstance(rule, str | int | float):
        return str(rule)
    return f"{rule.of}{f' → {rule.currency}' if rule.currency else ''}"


PAGE = Page(
    path="/routes",
    title=_("Routes"),
    template="pages/routes.html",
    look=look,
    group=Group.SENDING,
    place=10,
)
