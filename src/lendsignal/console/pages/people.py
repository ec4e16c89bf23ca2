"""Who may use the console, and what was done by whom."""

from collections.abc import Mapping
from typing import Any

from lendsignal.console.page import Act, Asked, Group, Page
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError
from lendsignal.model.member import ALLOWED, May, MemberRole


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Members, what each role may do, and the audit."""
    before = asked.number("before", 0, most=2**62)
    with room.people() as people:
        return {
            "members": people.members(),
            "roles": list(MemberRole),
            "allowed": ALLOWED,
            "done": people.done(before=before or None, count=100),
            "chain": people.verified(),
            "by_provider": room.config.web.oidc is not None,
        }


def invite(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """A link by which somebody joins, or gets a new password; it is shown once."""
    login = fields.get("login") or None
    with room.people() as people:
        code = people.invite(
            _role(fields),
            room.now_us(),
            by=asked.member.login,
            login=login,
            **_limits(room, fields),
        )
    said = _("Hand this over within a day; it is good once, and shown only here: %(link)s")
    return asked.words(said, link=f"/welcome?code={code}")


def expect(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Somebody who comes in by the company's own sign-in."""
    login = fields.get("login", "").strip().lower()
    with room.people() as people:
        people.expect(login, _role(fields), room.now_us(), by=asked.member.login, **_limits(room, fields))
    return asked.words("%(login)s may come in by the provider.", login=login)


def change(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Another role, other campaigns, out, or in again."""
    login = fields.get("login", "")
    seen = _limits(room, fields) if "campaigns" in fields else {}
    with room.people() as people:
        people.change(
            login,
            room.now_us(),
            by=asked.member.login,
            role=_role(fields) if "role" in fields else None,
            campaigns=seen.get("campaigns"),
            channels=seen.get("channels"),
            apps=seen.get("apps"),
            disabled={"out": True, "in": False}.get(fields.get("state", "")),
        )
    return asked.words("Changed: %(login)s.", login=login)


def _role(fields: Mapping[str, str]) -> MemberRole:
    try:
        return MemberRole(fields.get("role", MemberRole.VIEWER))
    except ValueError:
        raise InputError("role", "viewer, buyer, operator or admin") from None


def _limits(room: Room, fields: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """All that a member sees, as the form says it; empty: everything."""
    found = {name: _lines(fields.get(name, "")) for name in ("campaigns", "channels", "apps")}
    for app in found["apps"]:
        if app not in room.config.apps:
            raise InputError("app", f"there is no {app!r}; there is {', '.join(sorted(room.config.apps))}")
    return found


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


PAGE = Page(
    path="/people",
    title=_("People and audit"),
    template="pages/people.html",
    look=look,
    group=Group.HOUSE,
    place=10,
    may=May.GOVERN,
    acts={
        "invite": Act(do=invite, may=May.GOVERN, audited=False),
        "expect": Act(do=expect, may=May.GOVERN, audited=False),
        "change": Act(do=change, may=May.GOVERN, audited=False),
    },
)
