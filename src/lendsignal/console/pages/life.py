"""One event's life and one user's timeline: what happened, and why this device."""

from collections.abc import Mapping
from typing import Any

from lendsignal.console.page import Asked, Group, Page
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.deliver import rendered


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The explanation of what was asked; scores, contacts and secrets are never part of one."""
    from lendsignal.report import explain

    what = asked.get("q")
    if not what:
        return {"what": "", "found": None}
    renders = {name: rendered(outlet, room.config.apps) for name, outlet in room.config.outlets.items()}
    return {"what": what, "found": explain(room.folder, what, renders)}


PAGE = Page(
    path="/life",
    title=_("Event and user"),
    template="pages/life.html",
    look=look,
    group=Group.TODAY,
    place=20,
)
