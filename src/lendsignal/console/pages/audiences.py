"""Lists for look-alikes, retargeting and exclusion: whom each holds, where it goes, why it does not, and who
answers for those that are made of people who did not pay.

The same functions answer `lendsignal audience list`, `status` and `preview`.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lendsignal.console.page import Act, Asked, Group, Page, Panel
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError
from lendsignal.model.member import May

if TYPE_CHECKING:  # the reports' library is loaded when the first page shows a list
    from lendsignal.audience.preview import Preview
    from lendsignal.audience.standing import Brought, Standing
    from lendsignal.config import Config
    from lendsignal.report.holdout_rows import Eligible
    from lendsignal.report.tables import Tables

HORIZON_DAYS = 28
"""How long after entering a holdout an outcome counts."""

SHORTEST_REASON, LONGEST_REASON = 10, 500
"""Characters: less is no reason."""


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The lists of the configuration; how they stand comes after."""
    name = asked.get("list")
    return {"names": list(room.config.lists), "chosen": name if name in room.config.lists else ""}


def lists(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Every list: its use, what it is made of, where it goes, and why it does not."""
    from lendsignal.audience.definitions import READY
    from lendsignal.audience.planning import definitions, is_confirmed, plan_of
    from lendsignal.audience.policy import code_of
    from lendsignal.log import open_audiences

    config = room.config
    ready = {kind: (one.use, one.says) for kind, one in READY.items()}
    if not config.lists:
        return {"found": [], "ready": ready, "may": False, "tells": False}
    with closing(open_audiences(room.folder.audiences)) as book:
        plan = plan_of(config, book)
        found = [
            {
                "name": name,
                "use": one.use,
                "made_of": ready[kind][1] if (kind := config.lists[name].kind) else "",
                "own": config.lists[name].sql or config.lists[name].rule or "",
                "code": config.lists[name].code or code_of(config.portfolio, name),
                "sensitive": one.sensitive,
                "follows": one.follows,
                "confirmed": is_confirmed(one, book),
                "allowed": book.allowed(name),
                "build": book.build(name),
                "to": [each.account for each in plan.lists if each.audience == name],
                "hidden": {account: why for (other, account), why in plan.hidden.items() if other == name},
            }
            for name, one in definitions(config).items()
        ]
    return {
        "found": found,
        "ready": ready,
        "may": asked.member.may(May.DECIDE),
        "tells": room.in_step is not None,
    }


def stand(room: Room) -> "Standing":
    """What `lendsignal audience status` says."""
    from lendsignal.audience.files import Files
    from lendsignal.audience.membership import Membership
    from lendsignal.audience.planning import left_behind, plan_of
    from lendsignal.audience.standing import standing
    from lendsignal.log import open_audiences

    with closing(open_audiences(room.folder.audiences)) as book:
        plan = plan_of(room.config, book)
        with (
            closing(Membership(room.folder, plan.lists, room.clock)) as membership,
            closing(Files(room.folder)) as files,
        ):
            left = left_behind(room.config, book, plan, room.now_us())
            return standing(book, membership, files, plan.hidden, room.now_us(), left)


def brought_of(config: "Config", tables: "Tables", horizon: timedelta, eligible: "Eligible") -> "Brought":
    """What `lendsignal audience earned` says: campaigns on look-alikes, and lists by their holdouts.

    An outcome counts within `horizon` of entering a holdout; `eligible` says who entered.
    """
    from lendsignal.advise.holdout.lists import effects_of_lists
    from lendsignal.advise.holdout.reading import Asked as Wished
    from lendsignal.advise.holdout.reading import HoldoutReading, reading_of
    from lendsignal.audience.standing import Brought, earned
    from lendsignal.report.holdout_ledger import began, entered_by

    found: dict[str, HoldoutReading | None] = {}
    for one in {one.name: one for each in config.list_holdouts.values() for one in each}.values():
        begin = began(one)
        wished = Wished(name=one.name, share=one.share, horizon=horizon)
        found[one.name] = (
            None
            if begin is None or tables.as_of is None
            else reading_of(entered_by(tables, one, begin, horizon=horizon, eligible=eligible), one, wished)
        )
    return Brought(
        title="What lists brought",
        as_of=tables.as_of,
        brought=earned(tables, config.lists),
        effects=effects_of_lists(
            {
                name: [(one.name, found[one.name]) for one in config.list_holdouts.get(name, ())]
                for name in config.lists
            }
        ),
    )


def brought(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What came of the lists, as far as campaigns and holdouts tell."""
    if not room.config.lists:
        return {"report": None, "tables": []}
    horizon = timedelta(days=asked.number("horizon", HORIZON_DAYS, least=1, most=365))
    with room.tables() as tables:
        found = brought_of(room.config, tables, horizon, "borrowers")
    return {"report": found, "tables": list(found.tables().items())}


def status(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Sizes, intended against confirmed by account, drift and overlap."""
    if not room.config.lists:
        return {"report": None, "tables": []}
    found = stand(room)
    return {"report": found, "tables": list(found.tables().items())}


def previewed(room: Room, name: str) -> "Preview":
    """What `lendsignal audience preview` says of a list."""
    from lendsignal.audience.planning import builder, definitions
    from lendsignal.audience.preview import preview

    config = room.config
    if not room.folder.log.exists():
        raise InputError("list", "no events yet: there is nobody to list")
    kinds = {account: config.list_accounts.get(account, "") for account in config.lists[name].to}
    # Building and previewing share files: one after the other.
    with room.folder.lock("audience"), closing(builder(config, room.clock)) as found, room.tables() as tables:
        found.ready(tables)
        return preview(found, tables, name, config.lists[name], definitions(config), kinds)


def look_ahead(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The list that the address names as it would be built now."""
    name = asked.get("list")
    if name not in room.config.lists:
        return {"report": None, "tables": []}
    found = previewed(room, name)
    return {"report": found, "tables": [each for each in found.tables().items() if each[1].rows]}


def build(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Builds one list, or all of them, now; the next round of the service tells the platforms."""
    names = _named(room, fields)

    def work() -> str:
        from lendsignal.audience.planning import builder

        if not room.folder.log.exists():
            raise InputError("list", "no events yet: there is nobody to list")
        with room.folder.lock("audience"), closing(builder(room.config, room.clock)) as found:
            built = found.whole(names or None)
        return "\n".join(
            asked.words(
                "%(name)s: %(n)s members, %(joined)s joined, %(left)s left.",
                name=one.audience,
                n=asked.words.number(one.members),
                joined=asked.words.number(one.joined),
                left=asked.words.number(one.gone),
            )
            for one in built
        )

    room.chores.start(asked.words("Building lists"), asked.member.login, work)
    return asked.words("Building: what comes of it stands below the lists.")


def sync(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Tells the platforms now what changed in one list, or in all of them."""
    names, in_step = _named(room, fields), room.in_step
    if in_step is None:
        raise InputError("list", "this console tells no platform: lendsignal audience sync does")

    def work() -> str:
        with room.folder.lock("audience"):
            return in_step(room.config, names)

    room.chores.start(asked.words("Telling platforms"), asked.member.login, work)
    return asked.words("Telling: what comes of it stands below the lists.")


def work(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What is being built or told, or came of it last."""
    return {"chore": room.chores.last}


def _named(room: Room, fields: Mapping[str, str]) -> tuple[str, ...]:
    """The list that a form means; none: all of them."""
    name = fields.get("list", "")
    if name and name not in room.config.lists:
        raise InputError("list", "there is no such list")
    return (name,) if name else ()


def confirm(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Answers for a list, or no longer: it goes nowhere until somebody does."""
    from lendsignal.audience.definitions import definition_of
    from lendsignal.log import Allowed, open_audiences

    name, reason = fields.get("list", ""), fields.get("reason", "").strip()
    if name not in room.config.lists:
        raise InputError("list", "there is no such list")
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise InputError("reason", "say in a sentence why: it is kept")
    withdraws = fields.get("withdraw") == "yes"
    definition = "" if withdraws else definition_of(name, room.config.lists[name]).checksum()
    allowed = Allowed(
        audience=name, definition=definition, reason=reason, by=asked.member.login, at_us=asked.now_us
    )
    with closing(open_audiences(room.folder.audiences)) as book:
        book.allow(allowed)
    if withdraws:
        return asked.words(
            "%(name)s is sent no more; what was sent stays until it is emptied there.", name=name
        )
    return asked.words("%(name)s is confirmed.", name=name)


PAGE = Page(
    path="/audiences",
    title=_("Audiences"),
    template="pages/audiences.html",
    look=look,
    group=Group.DECIDING,
    place=20,
    panels={
        "lists": Panel(template="pages/audiences_lists.html", look=lists),
        "work": Panel(template="pages/audiences_work.html", look=work, fresh=True),
        "status": Panel(template="pages/audiences_status.html", look=status),
        "brought": Panel(template="pages/audiences_status.html", look=brought, kept=True),
        "preview": Panel(template="pages/audiences_preview.html", look=look_ahead),
    },
    acts={
        "confirm": Act(do=confirm, may=May.DECIDE),
        "build": Act(do=build, may=May.DECIDE),
        "sync": Act(do=sync, may=May.DECIDE),
    },
)
