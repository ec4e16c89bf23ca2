"""Alarms that are open, who is told of them, and a silence for those that somebody is at work on."""

from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

from lendsignal.clock import MICROSECOND
from lendsignal.console.page import Act, Asked, Group, Page
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError
from lendsignal.log import Silence, open_alerts
from lendsignal.model.member import May

SPANS = {
    "1h": timedelta(hours=1),
    "8h": timedelta(hours=8),
    "3d": timedelta(days=3),
    "0": timedelta(0),
}


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Open alarms, silences, and the targets."""
    raised: list[Any] = []
    silences: Mapping[str, Silence] = {}
    if room.folder.alerts.exists():
        with closing(open_alerts(room.folder.alerts, read_only=True)) as alerts:
            raised, silences = alerts.raised(), alerts.silences(asked.now_us)
    targets = [(name, one.kind) for name, one in sorted(room.config.alerts.items())]
    return {
        "raised": raised,
        "silences": silences,
        "targets": targets,
        "spans": [s for s in SPANS if s != "0"],
    }


def silence(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Nobody is told of an alarm for a while; it stays open."""
    key, span = fields.get("key", ""), SPANS.get(fields.get("span", ""))
    if span is None:
        raise InputError("span", f"one of {', '.join(SPANS)}")
    until = room.now_us() + span // MICROSECOND
    with closing(open_alerts(room.folder.alerts)) as alerts:
        if key not in {one.key for one in alerts.raised()}:
            raise InputError("key", "this alarm is not open any more")
        alerts.silence(Silence(key=key, until_us=until, who=asked.member.login))
    if not span:
        return asked.words("%(key)s is told again.", key=key)
    return asked.words("Nobody is told of %(key)s until %(until)s.", key=key, until=asked.words.moment(until))


PAGE = Page(
    path="/alerts",
    title=_("Alerts"),
    template="pages/alerts.html",
    look=look,
    group=Group.TODAY,
    place=30,
    acts={"silence": Act(do=silence, may=May.OPERATE)},
)
