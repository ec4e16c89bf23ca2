"""Each destination: how it stands, what fails and why; pause, resume, test; the dead and their replay."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lendsignal.clock import MICROSECOND, from_us
from lendsignal.console.page import Act, Asked, Group, Page, Panel
from lendsignal.console.remedies import remedies, remedy
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.deliver import Choice, Chooser, Chosen, Outlet, token_ends
from lendsignal.deliver.giving import Came, told
from lendsignal.deliver.steering import Looked
from lendsignal.deliver.trial import made_up, tried
from lendsignal.errors import InputError, NotYet
from lendsignal.log import EVERY, Dead, Halt, LetGo
from lendsignal.model.member import May

SPANS = {"24h": timedelta(hours=24), "3d": timedelta(days=3), "14d": timedelta(days=14)}
SHOWN = 30
LONGEST_REASON = 80

RATE = """
select destination, what, reason, count(*) as n, approx_quantile((answered_us - at_us) / 1e6, 0.5) as typical,
    approx_quantile((answered_us - at_us) / 1e6, 0.9) as slow
from delivery where answered_us >= $since group by all
"""


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Every destination, or the one that is asked for."""
    found = room.standing()
    warning = room.config.deliver.token_warning
    ends = {
        one.destination: one
        for one in token_ends(room.config.outlets, warning, from_us(asked.now_us))
        if one.state != "fine"
    }
    name = asked.get("name")
    chosen = next((one for one in found if one.destination == name), None)
    return {
        "found": found,
        "ends": ends,
        "chosen": chosen,
        "outlets": room.config.outlets,
        "every": EVERY,
        "remedy": remedy,
    }


def rates(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What became of the last day's deliveries by destination, and how long they took."""
    name = asked.get("name")
    with room.tables() as tables:
        as_of = asked.now_us if tables.as_of is None else round(tables.as_of.timestamp() * 1e6)
        rows = tables.rows(RATE, {"since": as_of - SPANS["24h"] // MICROSECOND})
    names = sorted({row[0] for row in rows if not name or row[0] == name})
    found = []
    for each in names:
        fates: Counter[str] = Counter()
        reasons: Counter[tuple[str, str]] = Counter()
        typical = slow = None
        for destination, what, reason, n, half, most in rows:
            if destination != each:
                continue
            fates[what] += n
            if what == "accepted":
                typical, slow = half, most
            elif reason:
                reasons[what, reason] += n
        found.append(
            {
                "name": each,
                "fates": fates,
                "reasons": reasons.most_common(8),
                "typical": typical,
                "slow": slow,
            }
        )
    todo = remedies(reason for one in found for reason, _ in one["reasons"])
    return {"found": found, "todo": todo}


def dead(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The dead and held of one destination, counted by reason, and what sending them again would mean."""
    name, span = asked.get("name"), asked.get("span", *SPANS)
    try:
        with room.steering().looked() as stores:
            chosen = _chosen(room, stores, name, span, ("dead", "held"))
            shown = _some_dead(stores, name)
    except NotYet:
        return {
            "name": name,
            "span": span,
            "spans": list(SPANS),
            "counts": [],
            "remedy": remedy,
            "again": 0,
            "left_out": {},
            "shown": [],
        }
    return {
        "name": name,
        "span": span,
        "spans": list(SPANS),
        "counts": chosen.counts(),
        "remedy": remedy,
        "again": sum(one.n for one in chosen.counts() if one.state == "dead"),
        "left_out": chosen.left_out(),
        "shown": shown,
    }


def pause(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Stops sending; nothing is lost."""
    reason = fields.get("reason", "").strip() or "by_hand"
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise InputError("reason", f"one line of at most {LONGEST_REASON} characters")
    names = _named(room, fields)
    came = room.steering().give([Halt(names, reason)], room.clock, asked.member.login)
    return _told(asked, came, "paused: %(names)s", names=_spelled(names, asked))


def resume(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Sends again, whoever had stopped it."""
    names = _named(room, fields)
    came = room.steering().give([LetGo(names)], room.clock, asked.member.login)
    return _told(asked, came, "let go: %(names)s", names=_spelled(names, asked))


def replay(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Sends the dead of a destination and a span again, under the same ids, within their windows."""
    name, span = fields.get("name", ""), fields.get("span", "24h")
    state = fields.get("state", "dead")
    if state not in ("dead", "held") or span not in SPANS:
        raise InputError("state", "dead or held, of 24h, 3d or 14d")
    _named(room, {"name": name})
    with room.steering().looked() as stores:
        conversion, reason = fields.get("conversion", ""), fields.get("reason", "")
        chosen = _chosen(room, stores, name, span, (state,), conversion, reason)
    if not len(chosen):
        raise InputError("name", "none is as the filter says")
    came = room.steering().give(chosen.again(), room.clock, asked.member.login)
    return _told(asked, came, "%(n)s deliveries of %(name)s wait again", n=came.done, name=name)


def test(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Sends one marked test event beside the queue."""
    outlet = _outlet(room, fields)
    routes = [route for route in room.config.policy.routes if route.to == outlet.name]
    if not routes:
        raise InputError("name", "no route sends anything there: add one first")
    conversion, name = next(iter(routes[0].send.items()))
    delivery = made_up(outlet, name, room.now_us(), {}, valued=conversion in routes[0].value)
    sandbox = room.config.deliver.sandbox
    found = tried(outlet, delivery, "test", room.clock, code=fields.get("code") or None, sandbox=sandbox)
    said = asked.words("Test event for %(name)s: %(outcome)s", name=outlet.name, outcome=found.outcome)
    return " ".join(filter(None, (said, found.reason, found.look, *found.problems)))


def _named(room: Room, fields: Mapping[str, str]) -> tuple[str, ...]:
    name = fields.get("name", "")
    if name != EVERY and name not in room.config.outlets:
        raise InputError("name", f"there is no destination {name!r}")
    return (name,)


def _outlet(room: Room, fields: Mapping[str, str]) -> Outlet:
    return room.config.outlets[_named(room, {"name": fields.get("name", "")})[0]]


def _chosen(
    room: Room,
    stores: Looked,
    name: str,
    span: str,
    states: tuple[str, ...],
    conversion: str = "",
    reason: str = "",
) -> Chosen:
    """Those of a destination and a span in these states; of one conversion or for one reason where given."""
    now = room.now_us()
    choice = Choice(
        states=frozenset(states),
        destinations=frozenset({name}) if name else frozenset(),
        conversions=frozenset({conversion} if conversion else ()),
        reasons=frozenset({reason} if reason else ()),
        since_us=now - SPANS[span] // MICROSECOND,
    )
    return Chooser(stores.log, stores.deliveries, room.config.outlets, now).to_send_again(choice)


def _some_dead(stores: Looked, name: str) -> list[Dead]:
    """The youngest dead ones of a destination."""
    found: list[Dead] = []
    after = 0
    while some := stores.deliveries.all_dead(after):
        after = some[-1].id
        found = [*found, *(one for one in some if not name or one.destination == name)][-SHOWN:]
    return found[::-1]


def _told(asked: Asked, came: Came, said: str, **named: object) -> str:
    if came.open or came.passed_over:
        return told(came, asked.words(said, **named))
    return asked.words(said, **named)


def _spelled(names: tuple[str, ...], asked: Asked) -> str:
    return asked.words("everything") if names == (EVERY,) else ", ".join(names)


PAGE = Page(
    path="/destinations",
    title=_("Destinations"),
    template="pages/destinations.html",
    look=look,
    group=Group.SENDING,
    place=1,
    panels={
        "rates": Panel(template="pages/destinations_rates.html", look=rates, kept=True),
        "dead": Panel(template="pages/destinations_dead.html", look=dead),
    },
    acts={
        "pause": Act(do=pause, may=May.OPERATE),
        "resume": Act(do=resume, may=May.OPERATE),
        "replay": Act(do=replay, may=May.OPERATE),
        "test": Act(do=test, may=May.OPERATE),
    },
)
