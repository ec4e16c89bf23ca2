"""Funnel and money by campaign: which earns most after losses, how far users get, what they cost, which loans
they are, and the same span before beside it.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from lendsignal.console.page import Asked, Group, Panel
from lendsignal.console.reporting import Reporting, page_of, slice_asked
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _

if TYPE_CHECKING:  # the report room brings its database with it
    from lendsignal.report import Table
    from lendsignal.report.slices import Cohort, Slice

RANKED = 8
"""Campaigns of the ranking that are shown."""

LOANS = 100
"""Loans that are listed."""

COMPARED = ("spend", "revenue", "loss", "margin", "roas")

LIST = """
select c.event_id, c.at_us, c.amount, c.currency, c.loan_number,
    exists (select 1 from counted d where d.loan = c.loan and not d.superseded and not d.reversed
        and (d.type = 'defaulted' or (d.type = 'overdue' and d.dpd >= $default_dpd))) as lost,
    (select sum(p.amount) from counted p where p.loan = c.loan and p.type = 'repaid'
        and not p.superseded and not p.reversed) as paid
from counted c join shown_loan f using (seq)
order by c.at_us desc, c.event_id limit $most
"""


def worth(room: Room, asked: Asked, one: "Slice") -> "Table":
    """The table `worth` of the funnel, without the rest of it."""
    from lendsignal.report.earnings import Purse, earnings

    currency = asked.get("currency").upper() or room.config.currency
    with room.tables() as tables:
        return earnings(tables, one, Purse(currency=currency, rates=room.config.rates), _cohort(asked)).worth


def best(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Campaigns by what is left after losses and spend, the best first: the funnel's `worth` so ordered."""
    one = replace(slice_asked(REPORTING, asked), by=("campaign",), every=None)
    rows = [row for row in worth(room, asked, one).records() if row["margin"] is not None]
    by_currency: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (-Decimal(str(row["margin"])), str(row["campaign"]))):
        by_currency.setdefault(str(row["currency"]), []).append(row)
    return {
        "ranked": by_currency,
        "shown": RANKED,
        "widest": max((abs(float(str(row["margin"]))) for row in rows), default=0.0),
    }


def compare(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What each part brought in the span and in the one before, side by side."""
    one = replace(slice_asked(REPORTING, asked), every=None)
    before = _span_before(one)
    if before is None:
        return {"rows": [], "spans": None}
    return {
        "names": one.by,
        "rows": _beside(worth(room, asked, one), worth(room, asked, before), one.by),
        "columns": COMPARED,
        "spans": (one, before),
    }


def loans(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The loans of a campaign or ad set, the youngest first, each with the way to its life."""
    from lendsignal.report.slices import facts

    one = replace(slice_asked(REPORTING, asked), by=(), every=None)
    paid_out = "c.type = 'disbursed' and not c.superseded and not c.reversed"
    with room.tables() as tables:
        facts(tables, one, into="shown_loan", only=paid_out, cohort=_cohort(asked))
        count = tables.number("select count(*) from shown_loan")
        rows = tables.rows(LIST, {"default_dpd": tables.default_dpd, "most": LOANS})
    names = ("event_id", "at_us", "amount", "currency", "loan_number", "lost", "paid")
    return {
        "rows": [dict(zip(names, row, strict=True)) for row in rows],
        "count": count,
        "may_follow": not asked.member.is_limited,
    }


def _cohort(asked: Asked) -> "Cohort | None":
    """Whose days count, as the report's form says it; by default those of installs."""
    match asked.get("cohort"):
        case "registration":
            return "registration"
        case _:
            return "install"


def _beside(now: "Table", then: "Table", by: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """Rows of `worth` of both spans by their part and currency, in the order of the later one."""
    both: dict[tuple[object, ...], dict[str, Any]] = {}
    for span, table in (("now", now), ("then", then)):
        for row in table.records():
            key = (*(row[name] for name in by), row["currency"])
            found = both.setdefault(key, {"part": key[:-1], "currency": row["currency"]})
            found[span] = row
    return list(both.values())


def _span_before(one: "Slice") -> "Slice | None":
    """The same slice over as many days just before; `None` where it has no two ends."""
    if one.since is None or one.until is None:
        return None
    span: timedelta = one.until - one.since + timedelta(days=1)
    since: date = one.since - span
    return replace(one, since=since, until=one.until - span)


REPORTING = Reporting(
    name="funnel",
    path="/campaigns",
    title=_("Campaigns"),
    what=_("How far users get, what each step costs, and what they bring after losses."),
    group=Group.USERS,
    place=1,
    first=("channel",),
    own={"cohort": ("", "install", "registration"), "currency": ()},
    given={"cohort": "install"},
    order=("worth", "steps", "horizons", "costs"),
    open=2,
    by_campaign=True,
    template="pages/campaigns.html",
)

_REPORT = page_of(REPORTING)

PAGE = replace(
    _REPORT,
    panels={
        "best": Panel(template="pages/campaigns_best.html", look=best, kept=True),
        "compare": Panel(template="pages/campaigns_compare.html", look=compare, kept=True),
        "loans": Panel(template="pages/campaigns_loans.html", look=loans, kept=True),
        **_REPORT.panels,
    },
)
