"""Holdouts: what retargeting brought that would not have come anyway, and what a holdout could see.

The same functions answer `lendsignal advise holdout read` and `plan`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lendsignal.clock import from_us
from lendsignal.console.page import Asked, File, Group, Page, Panel
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError, LendsignalError
from lendsignal.plan import Holdout

if TYPE_CHECKING:  # the reports' library is loaded when the first page shows one
    from lendsignal.advise.holdout.reading import HoldoutPlan, HoldoutReading

ELIGIBLE = ("borrowers", "registered")
HORIZON_DAYS = 28
REACH = 0.4
"""Of the treated, reached by ads, where nobody says."""

LIFT = 0.1


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Every holdout of the configuration, and what a reading is asked with."""
    return {
        "holdouts": room.config.policy.holdouts,
        "eligibles": ELIGIBLE,
        "today": f"{from_us(asked.now_us):%Y-%m-%dT00:00:00Z}",
        "kept": {
            "begin": asked.get("begin"),
            "horizon": asked.number("horizon", HORIZON_DAYS, least=1, most=365),
            "eligible": asked.get("eligible", *ELIGIBLE),
            "reach": asked.get("reach"),
            "spend": asked.get("spend"),
            "lift": asked.get("lift"),
        },
    }


def reading(room: Room, asked: Asked, one: Holdout) -> "HoldoutReading | None":
    """What `advise holdout read` says; `None` where nobody says when it began."""
    from lendsignal.advise.holdout.reading import Asked as Wished
    from lendsignal.advise.holdout.reading import reading_of
    from lendsignal.report.holdout_ledger import began, entered_by

    begin = _day(asked) or began(one)
    if begin is None:
        return None
    horizon = timedelta(days=asked.number("horizon", HORIZON_DAYS, least=1, most=365))
    wished = Wished(
        name=one.name,
        share=one.share,
        horizon=horizon,
        reach=_number(asked, "reach", most=1.0),
        spend=_number(asked, "spend", most=1e15),
    )
    eligible = asked.get("eligible", *ELIGIBLE)
    with room.tables() as tables:
        rows = entered_by(tables, one, begin, horizon=horizon, eligible=eligible)  # type: ignore[arg-type]
    return reading_of(rows, one, wished)


def readings(room: Room, asked: Asked) -> Mapping[str, Any]:
    """A reading of each holdout; where one cannot be read, why."""
    return {"found": [(one, reading(room, asked, one)) for one in room.config.policy.holdouts]}


def plan(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The smallest effects that designs on the lender's own users would see, or why that is not known yet."""
    try:
        return {"plan": planned(room, asked), "why": ""}
    except InputError:
        raise
    except LendsignalError as error:
        return {"plan": None, "why": str(error)}


def planned(room: Room, asked: Asked) -> "HoldoutPlan":
    """What `advise holdout plan --lift` says of the ledger's own borrowers."""
    from lendsignal.advise.holdout import sights
    from lendsignal.advise.holdout.reading import POOLED, SHARES, own_design, plan_of, promise
    from lendsignal.report.holdout_ledger import entered

    horizon = timedelta(days=asked.number("horizon", HORIZON_DAYS, least=1, most=365))
    reach = _number(asked, "reach", most=1.0) or REACH
    lift = _number(asked, "lift", most=100.0) or LIFT
    with room.tables() as tables:
        if tables.as_of is None:
            raise LendsignalError(asked.words("No events yet."))
        rows = entered(tables, tables.as_of - 2 * horizon, horizon=horizon)
    design = own_design(rows, reach)
    wished = lift * design.mean
    found = sights(design, SHARES, POOLED, asked=wished)
    return plan_of(design, found, promise(design, wished, found))


def table(room: Room, asked: Asked) -> tuple[str, str, bytes]:
    """One table of a reading as CSV."""
    name, wanted = asked.get("of"), asked.get("table")
    one = next((each for each in room.config.policy.holdouts if each.name == name), None)
    if one is None:
        raise InputError("of", "there is no such holdout")
    found = reading(room, asked, one)
    texts = {} if found is None else found.to_csv()
    if wanted not in texts:
        raise InputError("table", f"one of {', '.join(texts)}")
    return f"holdout-{one.name}-{wanted}.csv", "text/csv", texts[wanted].encode("utf-8-sig")


def _day(asked: Asked) -> datetime | None:
    given = asked.get("begin")
    if not given:
        return None
    try:
        return datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputError("begin", "a day like 2026-03-01") from None


def _number(asked: Asked, name: str, *, most: float) -> float | None:
    given = asked.get(name)
    if not given:
        return None
    try:
        found = float(given)
    except ValueError:
        found = -1.0
    if not 0 < found <= most:
        raise InputError(name, f"a number above 0, at most {most:g}")
    return found


PAGE = Page(
    path="/holdouts",
    title=_("Holdouts"),
    template="pages/holdouts.html",
    look=look,
    group=Group.DECIDING,
    place=30,
    panels={
        "readings": Panel(template="pages/holdouts_readings.html", look=readings, kept=True),
        "plan": Panel(template="pages/holdouts_plan.html", look=plan, kept=True),
    },
    files={"table": File(make=table)},
)
