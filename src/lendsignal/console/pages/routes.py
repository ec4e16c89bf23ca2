"""Which conversion goes where, under which name and with which value; a change is seen before it counts.

A change is drafted in a form or as a whole text, checked as `lendsignal check` does, compared over the last
days as `lendsignal plan` does, and only then taken over, where the file can be replaced.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from lendsignal import config as configuration
from lendsignal.console.drafts import DAYS, Draft, counted
from lendsignal.console.page import Act, Asked, File, Group, Page, Panel, Went
from lendsignal.console.room import Room
from lendsignal.console.route_text import RouteWish, routes_in, with_new_route, with_route
from lendsignal.console.words import marked as _
from lendsignal.errors import ConfigError, InputError, LendsignalError
from lendsignal.model.member import May
from lendsignal.plan import RouteSettings, known_conversions, version_of

BASES = ("predicted", "principal", "fee", "margin", "own")
MODES = ("live", "shadow")
AS_IT_IS = "…"
"""In place of a value with conditions of its own: a form leaves it as the text has it."""

FORGOTTEN = "this draft was forgotten: begin anew"


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The matrix, and for whoever may change it the draft that the address names, with its mistakes."""
    matrix = _matrix(room)
    if not asked.member.may(May.OPERATE):
        return {**matrix, "drafts": False, "differs": False}
    draft = room.drafts.of(asked.get("draft"))
    try:
        text = draft.text if draft is not None else room.drafts.text()
        return {
            **matrix,
            "drafts": True,
            "differs": room.drafts.differs(),
            "draft": draft,
            "gone": draft is None and bool(asked.get("draft")),
            "judged": None if draft is None else room.drafts.judged(draft),
            "lines": [] if draft is None else room.drafts.lines(draft),
            "text": text,
            "written": _written(text),
            "bases": BASES,
            "modes": MODES,
            "takes_over": room.drafts.can_be_taken_over(),
            "governs": asked.member.may(May.GOVERN),
            "waits": _waits_for_its_act(room),
        }
    except LendsignalError as error:
        return {**matrix, "drafts": False, "differs": False, "unreadable": asked.words.error(error)}


def difference(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What the draft would have sent otherwise in the last days."""
    draft = room.drafts.of(asked.get("draft")) if asked.member.may(May.OPERATE) else None
    judged = None if draft is None else room.drafts.judged(draft)
    if draft is None or judged is None or judged.config is None:
        return {"plan": None, "gone": draft is None}
    found = room.drafts.plan(draft, judged.config, room.folder)
    return {"plan": found, "counted": counted(found), "days": DAYS}


def draft_text(room: Room, asked: Asked, fields: Mapping[str, str]) -> Went:
    """Drafts a whole text."""
    return _drafted(room, asked, fields.get("text", ""), fields)


def draft_route(room: Room, asked: Asked, fields: Mapping[str, str]) -> Went:
    """Drafts one route as its form says it, in the file's text or in that of another draft."""
    earlier = room.drafts.of(fields.get("draft", ""))
    text = room.drafts.text() if earlier is None else earlier.text
    routes = routes_in(text)
    number = fields.get("route", "")
    if number == "new":
        changed = with_new_route(text, fields.get("to", ""), _wish(fields, {}))
    elif number.isascii() and number.isdigit() and int(number) < len(routes):
        changed = with_route(text, int(number), _wish(fields, routes[int(number)]))
    else:
        raise InputError("route", "there is no such route any more")
    return _drafted(room, asked, changed, fields)


def take_over(room: Room, asked: Asked, fields: Mapping[str, str]) -> Went:
    """Replaces the configuration file by the draft."""
    draft = _draft(room, fields.get("draft", ""))
    kept = room.drafts.take_over(draft, asked.now_us)
    said = _(
        "%(file)s is replaced; as it was it is kept as %(kept)s. The service goes on by the old one until it"
        " is reloaded or started again."
    )
    if room.config.store is not None:
        said = _(
            "%(file)s is replaced on this node; as it was it is kept as %(kept)s. Bring it to every other"
            " node and reload them; then put its policy in force."
        )
    return Went(asked.words(said, file=room.drafts.path.name, kept=kept.name), "/routes")


def put_in_force(room: Room, asked: Asked, fields: Mapping[str, str]) -> Went:
    """Puts the policy of the file, as it is now, in force on the whole cluster: `lendsignal store policy`."""
    if room.config.store is None:
        raise InputError("policy", "a data folder takes it up as the service is reloaded")
    # With the store's client, which no other install has.
    from lendsignal.decide.policies import put_policy
    from lendsignal.log.postgres import database_of

    source = configuration.parsed(room.drafts.text(), room.drafts.path).policy
    with closing(database_of(room.config.store)) as database:
        put = put_policy(room.config.store, database, source, room.now_us())
    said = _("Policy %(policy)s is in force on all nodes, from here on.")
    if not put.changed:
        said = _("Policy %(policy)s is in force already.")
    return Went(asked.words(said, policy=put.policy), "/routes")


def _waits_for_its_act(room: Room) -> bool:
    """Whether the file's policy is another than the one in force on the cluster; never on a data folder."""
    if room.config.store is None:
        return False
    from lendsignal.log.postgres import RuleRows, database_of  # with the store's client

    try:
        source = configuration.parsed(room.drafts.text(), room.drafts.path).policy
    except ConfigError:
        return False
    with closing(database_of(room.config.store)) as database:
        return RuleRows(database).wanted("policy") != version_of(source)


def toml_file(room: Room, asked: Asked) -> tuple[str, str, bytes]:
    """The draft's text, to be put in place by hand."""
    if not asked.member.may(May.OPERATE):
        raise InputError("draft", "your role does not allow this")
    draft = _draft(room, asked.get("draft"))
    return room.drafts.path.name, "application/toml", draft.text.encode()


def _matrix(room: Room) -> Mapping[str, Any]:
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


def _written(text: str) -> list[Mapping[str, Any]]:
    """The routes as they are written, for their forms; none of a text that is no TOML."""
    try:
        routes = routes_in(text)
    except InputError:
        return []
    found: list[Mapping[str, Any]] = []
    for number, one in enumerate(routes):
        send, value = one.get("send"), one.get("value", {})
        if not isinstance(send, dict) or not isinstance(value, dict):
            continue
        to = one.get("to", "")
        found.append(
            {
                "number": number,
                "to": ", ".join(map(str, to)) if isinstance(to, list) else str(to),
                "send": {
                    str(conversion): (str(name), _said(value.get(conversion)))
                    for conversion, name in send.items()
                },
                "mode": one.get("mode", "live"),
            }
        )
    return found


def _said(value: Any) -> str:
    if value is None:
        return ""
    return AS_IT_IS if isinstance(value, dict) else str(value)


def _wish(fields: Mapping[str, str], before: Mapping[str, Any]) -> RouteWish:
    """A route as a form says it. A conversion without a name is taken out."""
    old = before.get("value", {})
    send: dict[str, str] = {}
    value: dict[str, Any] = {}
    for field, given in fields.items():
        kind, _, conversion = field.partition(".")
        if kind != "send" or not given.strip():
            continue
        worth = fields.get(f"value.{conversion}", "").strip()
        conversion = conversion or fields.get("conversion", "").strip()
        if not conversion:
            raise InputError("conversion", "say which conversion is meant")
        send[conversion] = given.strip()
        if worth == AS_IT_IS and conversion in old:
            value[conversion] = old[conversion]
        elif worth:
            value[conversion] = _number_or_word(worth)
    mode = fields.get("mode", "live")
    if mode not in MODES:
        raise InputError("mode", f"one of {', '.join(MODES)}")
    if not send:
        raise InputError("send", "a route sends something: take the whole route out in the text")
    return RouteWish(send=send, value=value, mode=mode)


def _number_or_word(worth: str) -> float | int | str:
    try:
        number = float(worth)
    except ValueError:
        return worth
    return int(number) if number.is_integer() else number


def _drafted(room: Room, asked: Asked, text: str, fields: Mapping[str, str]) -> Went:
    if not text.strip():
        raise InputError("text", "there is nothing in it")
    earlier = room.drafts.of(fields.get("draft", ""))
    base = None if earlier is None else earlier.base
    draft = room.drafts.keep(text, asked.member.login, asked.now_us, base)
    mistakes = len(room.drafts.judged(draft).problems)
    said = (
        asked.words("Drafted; it has %(n)s mistakes. Nothing has changed yet.", n=mistakes)
        if mistakes
        else asked.words("Drafted, and without a mistake. Nothing has changed yet.")
    )
    return Went(said, f"/routes?draft={draft.id}")


def _draft(room: Room, id_: str) -> Draft:
    found = room.drafts.of(id_)
    if found is None:
        raise InputError("draft", FORGOTTEN)
    return found


PAGE = Page(
    path="/routes",
    title=_("Routes"),
    template="pages/routes.html",
    look=look,
    group=Group.SENDING,
    place=10,
    panels={"difference": Panel(template="pages/routes_difference.html", look=difference)},
    acts={
        "draft_text": Act(do=draft_text, may=May.OPERATE, audited=False),
        "draft_route": Act(do=draft_route, may=May.OPERATE, audited=False),
        "take_over": Act(do=take_over, may=May.GOVERN),
        "put_in_force": Act(do=put_in_force, may=May.GOVERN),
    },
    files={"toml": File(make=toml_file)},
)
