"""Events as they arrive, the youngest first."""

from collections.abc import Mapping
from contextlib import closing
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from lendsignal.console.page import Asked, Group, Page, Panel
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.log import Fact, open_log
from lendsignal.model import EventType

SHOWN = 60
LOOKED_THROUGH = 5_000
"""Events looked back at for those that a filter means."""

AT_ONCE = 500

HIDDEN = frozenset({EventType.DECISION_DUE, EventType.PEN_EXPIRED})
"""Events that we make ourselves when time has passed."""


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The filters; the events are a part that renews itself."""
    return {"apps": sorted(room.config.apps), "types": sorted(set(EventType) - HIDDEN)}


def events(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The youngest events that the filter means."""
    wanted = {name: asked.get(name) for name in ("type", "app", "source")}
    found: list[Fact] = []
    seen = 0
    if room.folder.log.exists():
        with closing(open_log(room.folder.log, read_only=True)) as log:
            end = log.end()
            while end > 0 and len(found) < SHOWN and seen < LOOKED_THROUGH:
                facts = log.read(max(end - AT_ONCE, 0), min(AT_ONCE, end))
                seen += len(facts)
                found += [fact for fact in reversed(facts) if _is_meant(fact, wanted)]
                end -= AT_ONCE
    return {"events": found[:SHOWN], "seen": seen, "zones": _zones(room), "filtered": any(wanted.values())}


def _is_meant(fact: Fact, wanted: Mapping[str, str]) -> bool:
    event = fact.event
    told = {"type": event.type, "app": event.app or "", "source": event.source or ""}
    return event.type not in HIDDEN and all(not word or told[name] == word for name, word in wanted.items())


def _zones(room: Room) -> Mapping[str | None, tzinfo]:
    return {name: ZoneInfo(app.timezone) for name, app in room.config.apps.items()}


PAGE = Page(
    path="/live",
    title=_("Live"),
    template="pages/live.html",
    look=look,
    group=Group.TODAY,
    place=10,
    panels={"events": Panel(template="pages/live_events.html", look=events, fresh=True)},
)
