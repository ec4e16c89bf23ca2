"""Advice with its evidence: which event to optimise for, bids and budgets, what platforms' rules say.

The same functions answer `lendsignal advise` and `lendsignal check`, so that page and command line are told
the same figures.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from lendsignal.advise.preflight import LABELS, alike, findings
from lendsignal.console.page import Act, Asked, File, Group, Page, Panel
from lendsignal.console.reporting import drawn
from lendsignal.console.room import Room
from lendsignal.console.strategies import (
    BINDINGS,
    EVENTS,
    READY,
    VALUES,
    WORLDS,
    Drafted,
    address_of,
    drafted,
    is_asked,
    pasted,
    played,
    slots,
)
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError, LendsignalError
from lendsignal.log.proposals import Kept, open_proposals
from lendsignal.model.member import May

if TYPE_CHECKING:  # the reports' library is loaded when the first page shows one
    from lendsignal.advise.bids.advice import Advice
    from lendsignal.advise.choosing import EventAdvice
    from lendsignal.report import Report

OBJECTIVES = ("acquisition", "re-engagement")
LEVELS = ("campaign", "ad_set", "channel", "app")
EDITORS = ("google", "meta")
SHOWN = 40
"""Proposals, and rows of advice, that the page shows."""

LONGEST_NOTE = 500
FILE_DAYS = 7
"""How far back a file for an editor looks for accepted steps."""

DAY_US = 86_400_000_000


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The forms, and the pre-flight, which needs no ledger."""
    return {
        "objective": asked.get("objective", *OBJECTIVES),
        "by": asked.get("by", *LEVELS),
        "current": asked.get("current"),
        "binding": asked.get("binding", *BINDINGS),
        "target": asked.get("target"),
        "cost": asked.get("cost"),
        "objectives": OBJECTIVES,
        "levels": LEVELS,
        "bindings": BINDINGS,
        "flight": preflight(room),
        "slots": slots(asked),
        "ready": [(title, address_of(strategies)) for title, strategies in READY],
        "events": EVENTS,
        "values": VALUES,
        "worlds": sorted(WORLDS, key=int),
        "played": played(asked),
    }


def preflight(room: Room) -> Mapping[str, Any]:
    """What the platforms' rules say of the apps' loans, alike ones together."""
    found = findings(room.config.apps.values(), room.config.terms, room.config.reached)
    return {
        "breaks": list(alike(found, "breaks")),
        "unknown": list(alike(found, "unknown")),
        "duty": list(alike(found, "duty")),
        "labels": LABELS,
        "any": bool(found),
        "sends": bool(room.config.reached),
    }


def event_advice(room: Room, asked: Asked) -> "EventAdvice":
    """What `lendsignal advise events` says of the objective and the level that the address names."""
    import numpy as np

    from lendsignal.advise.choosing import SEED, Wished, advice_on
    from lendsignal.report.choice_rows import comings, grants_and_loans

    current = asked.get("current")
    wished = Wished(
        objective=asked.get("objective", *OBJECTIVES),  # type: ignore[arg-type]
        by=asked.get("by", *LEVELS),  # type: ignore[arg-type]
        current={"": current} if current else {},
    )
    with room.tables() as tables:
        found = comings(tables, wished.objective, wished.horizon)
        counts = grants_and_loans(tables)
        as_of = tables.as_of
    known = sorted({event.name for one in found for event in one.events})
    if current and found and current not in known:
        raise InputError("current", f"one of {', '.join(known)}")
    return advice_on(found, counts, wished, np.random.default_rng(SEED), as_of=as_of)


def events(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Each campaign's event with the reasons, then the figures of every event."""
    found = event_advice(room, asked)
    reasons: dict[tuple[object, ...], list[str]] = {}
    for row in found.reasons.records():
        reasons.setdefault((row["app"], row["channel"], row["ad_set"]), []).append(str(row["reason"]))
    rows = [
        (row, reasons.get((row["app"], row["channel"], row["ad_set"]), [])) for row in found.advice.records()
    ]
    return {
        "report": found,
        "rows": rows[:SHOWN],
        "further": max(0, len(rows) - SHOWN),
        "charts": drawn(found, asked.words),
        "tables": [("events", found.events), ("changes", found.changes)],
    }


def bid_advice(room: Room, asked: Asked, fields: Mapping[str, str]) -> "Advice":
    """What `lendsignal advise bids` says, asked with the target, the cost and the binding of `fields`."""
    import numpy as np

    from lendsignal.advise.bids.advice import SEED, advise
    from lendsignal.advise.bids.advice import Asked as Wished
    from lendsignal.advise.bids.steps import Guards
    from lendsignal.report.bid_rows import loan_book

    currency = room.config.one_currency
    if currency is None:
        raise InputError("fx.currency", "the apps have several currencies: say which one money is told in")
    wished = Wished(guards=Guards(target=_number(fields, "target", 1.0)), cost=_number(fields, "cost", 0.0))
    binding = fields.get("binding", "")
    with room.tables() as tables:
        book = loan_book(
            tables,
            currency=currency,
            rates=room.config.rates,
            binding=binding if binding in BINDINGS else BINDINGS[0],
        )
        as_of = tables.as_of
    rng = np.random.default_rng(SEED)
    return advise(book, wished, rng, stepped=_rested(room, asked), as_of=as_of)


def bids(room: Room, asked: Asked) -> Mapping[str, Any]:
    """A step for each campaign as it would be proposed now; nothing is kept."""
    found = bid_advice(room, asked, asked.query)
    return {
        "report": found,
        "charts": drawn(found, asked.words),
        "tables": [(name, table) for name, table in found.tables().items() if table.rows],
        "may": asked.member.may(May.DECIDE),
        "wished": {name: asked.get(name) for name in ("target", "cost", "binding") if asked.get(name)},
    }


def comparison(room: Room, asked: Asked) -> tuple[list[Drafted], "Report"]:
    """The strategies that the address names, and what `lendsignal simulate` says of them."""
    strategies = drafted(asked)
    if room.market is None:
        raise LendsignalError(asked.words("This console plays no markets: use the command line."))
    worlds, seed = played(asked)
    return strategies, room.market([one.to_toml() for one in strategies], worlds, seed)


def market(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Strategies side by side in made-up worlds, once an address names some."""
    if not is_asked(asked):
        return {"report": None}
    strategies, found = comparison(room, asked)
    worlds, seed = played(asked)
    return {
        "report": found,
        "charts": drawn(found, asked.words),
        "tables": list(found.tables().items()),
        "worlds": worlds,
        "seed": seed,
        **pasted(strategies, worlds, seed),
    }


def proposals(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What waits for a decision, with all that it rests on, and what was decided."""
    kept: list[Kept] = []
    if room.folder.proposals.exists():
        with closing(open_proposals(room.folder.proposals, read_only=True)) as store:
            kept = store.all()
    since_us = asked.now_us - FILE_DAYS * DAY_US
    ready = {
        editor: sum(
            one.state == "accepted" and one.channel == editor and (one.decided_us or 0) >= since_us
            for one in kept
        )
        for editor in EDITORS
    }
    return {
        "open": [one for one in kept if one.state == "open"],
        "decided": [one for one in kept if one.state in ("accepted", "declined")][:SHOWN],
        "ready": ready,
        "days": FILE_DAYS,
        "may": asked.member.may(May.DECIDE),
    }


def propose(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Keeps what would be proposed now; proposals that nobody decided are replaced."""
    found = bid_advice(room, asked, fields)
    if not found.proposals:
        return asked.words("No campaign has a step to take now: nothing was proposed.")
    with closing(open_proposals(room.folder.proposals)) as store:
        store.propose(
            asked.now_us, [((one.channel, one.campaign_id, one.campaign), one) for one in found.proposals]
        )
    return asked.words("%(n)s proposals are open.", n=len(found.proposals))


def accept(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """The step goes into the editor's file, and its campaign rests a week."""
    return _decided(room, asked, fields, accepts=True)


def decline(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """The step is not taken."""
    return _decided(room, asked, fields, accepts=False)


def table(room: Room, asked: Asked) -> tuple[str, str, bytes]:
    """One table of either advice, or of the comparison of strategies, as CSV."""
    wanted = asked.get("table")
    found: Report
    match asked.get("of", "events", "bids", "market"):
        case "market":
            found = comparison(room, asked)[1]
        case "bids":
            found = bid_advice(room, asked, asked.query)
        case _:
            found = event_advice(room, asked)
    texts = found.to_csv()
    if wanted not in texts:
        raise InputError("table", f"one of {', '.join(texts)}")
    return f"advice-{wanted}.csv", "text/csv", texts[wanted].encode("utf-8-sig")


def google(room: Room, asked: Asked) -> tuple[str, str, bytes]:
    """Accepted steps as Google Ads Editor takes them."""
    return _editor_file(room, asked, "google")


def meta(room: Room, asked: Asked) -> tuple[str, str, bytes]:
    """Accepted steps as Meta's Ads Manager takes them."""
    return _editor_file(room, asked, "meta")


def _editor_file(room: Room, asked: Asked, editor: str) -> tuple[str, str, bytes]:
    from lendsignal.advise.bids.editors import editor_csv

    mine: list[Mapping[str, Any]] = []
    if room.folder.proposals.exists():
        with closing(open_proposals(room.folder.proposals, read_only=True)) as store:
            since_us = asked.now_us - FILE_DAYS * DAY_US
            mine = [one.body for one in store.accepted_since(since_us) if one.channel == editor]
    text = editor_csv(editor, mine, targets=asked.get("targets") == "yes")  # type: ignore[arg-type]
    return f"{editor}.csv", "text/csv", text.encode()


def _decided(room: Room, asked: Asked, fields: Mapping[str, str], *, accepts: bool) -> str:
    number, note = fields.get("proposal", ""), fields.get("note", "").strip()
    if not (number.isascii() and number.isdigit()):
        raise InputError("proposal", "say which proposal is meant")
    if len(note) > LONGEST_NOTE:
        raise InputError("note", f"at most {LONGEST_NOTE} characters")
    found = None
    if room.folder.proposals.exists():
        with closing(open_proposals(room.folder.proposals)) as store:
            found = store.decide(
                int(number),
                "accepted" if accepts else "declined",
                at_us=asked.now_us,
                who=asked.member.login,
                note=note,
            )
    if found is None:
        raise InputError("proposal", "it is not open any more: somebody decided it, or it was replaced")
    said = _("Accepted: %(campaign)s.") if accepts else _("Declined: %(campaign)s.")
    return asked.words(said, campaign=found.campaign or found.campaign_id)


def _rested(room: Room, asked: Asked) -> Mapping[tuple[str, str, str], int]:
    if not room.folder.proposals.exists():
        return {}
    with closing(open_proposals(room.folder.proposals, read_only=True)) as store:
        return store.rested_days(asked.now_us)


def _number(fields: Mapping[str, str], name: str, otherwise: float) -> float:
    """A number above 0, or what stands for none. Raises `InputError`."""
    given = fields.get(name, "").strip()
    if not given:
        return otherwise
    try:
        found = float(given)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 100 or (name == "target" and found == 0):
        raise InputError(name, "a number above 0, such as 1.2")
    return found


PAGE = Page(
    path="/advice",
    title=_("Advice"),
    template="pages/advice.html",
    look=look,
    group=Group.DECIDING,
    place=10,
    panels={
        "events": Panel(template="pages/advice_events.html", look=events, kept=True),
        "bids": Panel(template="pages/advice_bids.html", look=bids, kept=True),
        "proposals": Panel(template="pages/advice_proposals.html", look=proposals),
        "market": Panel(template="pages/advice_market.html", look=market, kept=True),
    },
    acts={
        "propose": Act(do=propose, may=May.DECIDE),
        "accept": Act(do=accept, may=May.DECIDE),
        "decline": Act(do=decline, may=May.DECIDE),
    },
    files={"table": File(make=table), "google": File(make=google), "meta": File(make=meta)},
)
