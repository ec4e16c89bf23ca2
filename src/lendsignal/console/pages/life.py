"""One event's life and one user's timeline: what happened, and why this device."""

from collections.abc import Mapping
from typing import Any

from lendsignal.console.page import Asked, Group, Page, Panel
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.deliver import rendered


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What was asked; its explanation comes after the page."""
    return {"what": asked.get("q")}


def life(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The explanation of what was asked; scores, contacts and secrets are never part of one."""
    from lendsignal.report import explain

    what = asked.get("q")
    if not what:
        return {"found": None}
    renders = {name: rendered(outlet, room.config.apps) for name, outlet in room.config.outlets.items()}
    return {"found": explain(room.folder, what, renders)}


PAGE = Page(
    path="/life",
    title=_("Event and user"),
    template="pages/life.html",
    look=look,
    group=Group.TODAY,
    place=20,
    panels={"life": Panel(template="pages/life_inside.html", look=life)},
)
