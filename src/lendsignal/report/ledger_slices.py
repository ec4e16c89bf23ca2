"""How the three ledgers are told apart by one slice, so that a loan stands under the same in each of them.

A loan that we were told of stands where its disbursement does, a conversion where it was bound to. What only
the platform knows stands under what the platform tells of it, and what only the books know under what the
lender has but one of: its only app, its only country.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.report.days import quoted
from lendsignal.report.slices import (
    NOT_ATTRIBUTED,
    NOT_TOLD,
    Every,
    Slice,
    facts,
    prepared,
    sent_facts,
)
from lendsignal.report.tables import Tables

Part: TypeAlias = tuple[str, ...]
"""The cells of the columns that a slice adds."""

NAMED_CAMPAIGN = """
left join (select channel, media_source, campaign, campaign_id, any_value(campaign_label) as campaign_label,
    any_value(source_label) as source_label from named group by all) n
on n.channel = r.channel and n.media_source = r.media_source and n.campaign = r.campaign
    and n.campaign_id = r.campaign_id
"""

RECORDED: Mapping[str, str] = {
    "channel": f"coalesce(nullif(r.channel, ''), '{NOT_ATTRIBUTED}')",
    "media_source": f"coalesce(n.source_label, '{NOT_ATTRIBUTED}')",
    "campaign": f"coalesce(n.campaign_label, '{NOT_ATTRIBUTED}')",
    "brand": f"coalesce(a.brand, '{NOT_TOLD}')",
    "app": f"coalesce(nullif(r.app, ''), '{NOT_TOLD}')",
    "country": f"coalesce(nullif(a.country, ''), '{NOT_TOLD}')",
    "os": f"coalesce(nullif(a.platform, ''), '{NOT_TOLD}')",
}
"""SQL of what a platform's own record `r`, of its app `a`, is told apart by; the rest it does not tell."""

APPS: Mapping[str, str] = {"brand": "brand", "app": "app", "country": "country", "os": "platform"}
"""What the lender may have but one of, and the column of its apps that says so."""


class Apart(Struct, frozen=True, kw_only=True):
    """SQL of the part of each ledger's rows, null where a row is not in the slice, and what is joined for it.

    `untold` is the part of a loan that only the books know; `None` where it is in no slice like this.
    """

    names: tuple[str, ...]
    every: Every | None
    told: str = "[]::varchar[]"
    told_join: str = ""
    sent: str = "[]::varchar[]"
    sent_join: str = ""
    recorded: str = "[]::varchar[]"
    recorded_join: str = ""
    untold: Part | None = ()

    def on(self, part: Iterable[str | None], day: str) -> Part:
        """The part of what lies on a day, such as "2026-03-10": before the rest the span that it is in."""
        told = tuple(NOT_TOLD if cell is None else cell for cell in part)
        return told if self.every is None else (span_of(day, self.every), *told)


def apart(tables: Tables, one: Slice, brand: str | None = None) -> Apart:
    """Lays the slice over the ledgers; its days are left to who compares them. `brand` is the books' own.

    Raises `InputError` where the slice names what there is not.
    """
    one = replace(one.beside("the report", "conversion"), since=None, until=None)
    whole = Apart(names=one.names, every=one.every)
    if not one.keys:
        return whole
    one = replace(one, every=None)
    prepared(tables, one)
    facts(tables, one, into="told_fact", only="c.type = 'disbursed'")
    sent_facts(tables, one)
    cells = ", ".join(RECORDED.get(key, quoted(NOT_TOLD)) for key in one.by)
    held = " and ".join(
        f"{RECORDED.get(key, quoted(NOT_TOLD))} in ({', '.join(map(quoted, values))})"
        for key, values in _wanted(one).items()
    )
    return replace(
        whole,
        told="arg_min(f.part, c.seq)",
        told_join="left join (select seq as place, part from told_fact) f on f.place = c.seq",
        sent="p.part",
        sent_join="left join sent_fact p on p.record = d.record",
        recorded=f"case when {held or 'true'} then [{cells}]::varchar[] end",
        recorded_join=NAMED_CAMPAIGN,
        untold=_untold(tables, one, brand),
    )


def span_of(day: str, every: Every) -> str:
    """The first day of the week or month that a day lies in; a week begins on Monday."""
    if not day:
        return NOT_TOLD
    found = date.fromisoformat(day)
    match every:
        case "day":
            return day
        case "week":
            return (found - timedelta(days=found.weekday())).isoformat()
        case "month":
            return found.replace(day=1).isoformat()


def _untold(tables: Tables, one: Slice, brand: str | None) -> Part | None:
    known: dict[str, str] = {}
    for key, column in APPS.items():
        found = tables.rows(
            f"select distinct {column} from app where $brand is null or brand = $brand", {"brand": brand}
        )
        known[key] = found[0][0] if len(found) == 1 else NOT_TOLD
    if any(known.get(key, NOT_TOLD) not in values for key, values in _wanted(one).items()):
        return None
    return tuple(known.get(key, NOT_TOLD) for key in one.by)


def _wanted(one: Slice) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in one.where:
        found.setdefault(key, []).append(value)
    return found
