"""Sources and quarantine: who sends, what the door refused and why; mend it and send it through again."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lendsignal.console.page import Act, Asked, Group, Page
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError, NotYet
from lendsignal.log import Quarantined, Wanted
from lendsignal.model.member import May
from lendsignal.source.mending import Mender, Patch, patched, shown_of, through_again
from lendsignal.source.reading import reader_of

MOST = 5_000
"""Events sent through again at one time."""

SHOWN = 20


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What was refused, by source, field and rule; examples of the kind that is asked for."""
    wanted = _wanted(asked.query)
    kinds: list[Any] = []
    some: list[tuple[Quarantined, Mapping[str, Any]]] = []
    with suppress(NotYet), room.refusing(read_only=True) as log:
        kinds = log.quarantine.kinds()
        if wanted.field:
            found = log.quarantine.find(wanted, SHOWN)
            some = [(one, shown_of(one.kept) if one.kept else {}) for one in found]
    chosen = {name: asked.get(name) for name in ("source", "field", "rule")}
    return {"kinds": kinds, "some": some, "chosen": chosen, "sources": room.config.sources}


def send_through(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Changes what a kind has in common, and has the running service take it by the door's own rules."""
    wanted = _wanted(fields)
    if not wanted.field:
        raise InputError("field", "say which kind is meant")
    patch = _patch(fields)
    wishes: dict[int, bytes] = {}
    still_wrong = without = 0
    ahead = room.config.policy.resolve.clock_ahead
    reader = reader_of(room.config.apps, ahead, sets_received_at=room.clock.replay)
    with room.refusing() as log:
        for one in log.quarantine.find(wanted, MOST):
            if one.id is None or one.kept is None:
                without += 1
                continue
            kept = patched(one.kept, patch)
            try:
                through_again(kept, one.received_us, one.source, reader)
            except InputError:
                still_wrong += 1
                continue
            wishes[one.id] = kept
        if wishes:
            log.quarantine.ask(wishes, asked.member.login, room.now_us())
            if room.config.store is not None:  # nobody else looks at once: see `role.work.chores_of`
                Mender(log, reader, room.clock, room.config.door.quarantine_days).finish()
    if not wishes:
        raise InputError("field", "none would pass like this: nothing was changed")
    said = asked.words("%(n)s are being sent through again.", n=len(wishes))
    left = asked.words("%(n)s would be refused again and were left as they are.", n=still_wrong + without)
    return f"{said} {left}" if still_wrong + without else said


def drop(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Says that a kind is not wanted: it is not asked about again."""
    wanted = _wanted(fields)
    if not wanted.field:
        raise InputError("field", "say which kind is meant")
    with room.refusing() as log:
        dropped = log.quarantine.drop(
            [one.id for one in log.quarantine.find(wanted, MOST) if one.id is not None],
            asked.member.login,
            room.now_us(),
        )
    return asked.words("%(n)s were dropped.", n=dropped)


def _wanted(fields: Mapping[str, str]) -> Wanted:
    return Wanted(
        source=fields.get("source") or None,
        field=fields.get("field") or None,
        rule=fields.get("rule") or None,
    )


def _patch(fields: Mapping[str, str]) -> Patch:
    name, value, old = fields.get("set", ""), fields.get("to", ""), fields.get("rename", "")
    new = fields.get("into", "")
    return Patch(
        set={name: value} if name else {},
        rename={old: new} if old and new else {},
        unset=tuple(filter(None, (fields.get("unset", ""),))),
    )


PAGE = Page(
    path="/quarantine",
    title=_("Sources and quarantine"),
    template="pages/quarantine.html",
    look=look,
    group=Group.SENDING,
    place=20,
    may=May.OPERATE,
    acts={
        "send_through": Act(do=send_through, may=May.OPERATE),
        "drop": Act(do=drop, may=May.OPERATE),
    },
)
