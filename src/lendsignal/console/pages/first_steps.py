"""A checklist that knows what is missing, from the app to the first accepted delivery."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from msgspec import Struct

from lendsignal.console.page import Asked, Group, Page
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.decide.rehearsal import OURS
from lendsignal.log import open_deliveries, open_log


class Step(Struct, frozen=True):
    """One thing to do. `how` says it in a sentence, `guide` names the page of the documentation."""

    done: bool
    title: str
    how: str
    guide: str


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What is done and what comes next."""
    config = room.config
    events, touched = _log(room)
    accepted = _accepted(room)
    steps = [
        Step(
            bool(config.apps),
            _("An app"),
            _("Write [brand.…] and [app.…] into the configuration."),
            "install",
        ),
        Step(
            bool(config.keys),
            _("A source that may send"),
            _("Make a key: lendsignal keys new SOURCE. Until then only this machine may send."),
            "keys-for-sources",
        ),
        Step(events > 0, _("The first event"), _("Send one with curl: POST /v1/events."), "send-events"),
        Step(
            touched,
            _("The first login with a device"),
            _("Send logged_in with the phone's ids: without it nothing can be bound."),
            "capture-ids-at-login",
        ),
        Step(
            bool(config.outlets),
            _("A destination and a route"),
            _("Write [destination.…] and [[route]]; lendsignal check says what is wrong."),
            "connect-appsflyer",
        ),
        Step(
            accepted > 0,
            _("The first accepted delivery"),
            _("It comes by itself; lendsignal send --to NAME --test tries one."),
            "send-a-test-event",
        ),
    ]
    following = next((step for step in steps if not step.done), None)
    return {"steps": steps, "following": following, "events": events, "accepted": accepted}


def _log(room: Room) -> tuple[int, bool]:
    if not room.folder.log.exists():
        return 0, False
    with closing(open_log(room.folder.log, read_only=True)) as log:
        tally = log.tally()
        events = sum(n for (what, kind), n in tally.items() if what == "event" and not kind.startswith(OURS))
        return events, log.has_installation()


def _accepted(room: Room) -> int:
    if not room.folder.deliveries.exists():
        return 0
    with closing(open_deliveries(room.folder.deliveries, read_only=True)) as store:
        return sum(n for (_, _, what, _), n in store.tally().items() if what == "accepted")


PAGE = Page(
    path="/first-steps",
    title=_("First steps"),
    template="pages/first_steps.html",
    look=look,
    group=Group.TODAY,
    place=90,
)
