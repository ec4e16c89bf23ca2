"""Where users came from, as the MMPs say, and what they say they recorded."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from lendsignal.report.funnel import exact
from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.slices import CAME_KEYS, EVERYTHING, Slice, came_facts, within
from lendsignal.report.tables import Tables

Level: TypeAlias = Literal["channel", "media_source", "campaign", "ad_set", "ad"]
"""How far down the rows of `sources` go."""

LEVELS: Mapping[Level, str] = {
    "channel": "channel",
    "media_source": "channel media_source",
    "campaign": "channel media_source campaign campaign_id",
    "ad_set": "channel media_source campaign campaign_id ad_set ad_set_id",
    "ad": "channel media_source campaign campaign_id ad_set ad_set_id ad ad_id",
}

KINDS = ("install", "reinstall", "re_engagement", "re_attribution")
COUNTED = "installs reinstalls re_engagements re_attributions"
COUNTS = ", ".join(f"count(*) filter (kind = '{kind}')" for kind in KINDS)

MEANING = {
    "appsflyer": "AppsFlyer: a re-attribution is a reinstall after a retargeting ad, a re-engagement a return"
    " to the installed app through one.",
    "adjust": "Adjust: a re-attribution is any return through another measured source after the time set"
    " there; there are no re-engagements.",
}
"""What an MMP's own words mean, by its usual name."""


class AttributionReport(Report, frozen=True, kw_only=True):
    """`sources` and `days` count who came, `recorded` what the MMPs say they recorded of our events."""

    sources: Table
    days: Table
    recorded: Table


def attribution(tables: Tables, one: Slice = EVERYTHING, *, level: Level = "campaign") -> AttributionReport:
    """What the feeds tell. Of several sayings about one coming the latest counts.

    `level` is how far down the rows of `sources` go; `by` and `every` of the slice slice these rows further.
    `tables` must have been loaded with what the MMPs recorded; that is of the slice's days and not of its
    keys. Raises `InputError` where the slice names what no MMP tells.
    """
    came_facts(tables, one.only(CAME_KEYS, "attribution"), kinds=KINDS, testers=True)
    mmps = [mmp for (mmp,) in tables.rows("select distinct mmp from attribution order by 1")]
    notes = [MEANING[mmp] for mmp in mmps if mmp in MEANING]
    if len(mmps) > 1:
        notes.append("Several MMPs tell of the same users: their rows are not to be added up.")
    return AttributionReport(
        title=", ".join(filter(None, ("Attribution", one.words))),
        as_of=tables.as_of,
        sources=_sources(tables, one, LEVELS[level]),
        days=_days(tables),
        recorded=_recorded(tables, one),
        notes=tuple(notes),
    )


def _sources(tables: Tables, one: Slice, names: str) -> Table:
    parts = ", ".join(names.split())
    first = "part[1], " if one.every is not None else ""
    found = tables.rows(
        f"select part, mmp, {parts}, {COUNTS}, count(*) filter (installation is not null), count(*)"
        f" from came_fact group by part, mmp, {parts} order by {first}mmp, count(*) desc, {parts}, part"
    )
    rows: list[tuple[Cell, ...]] = [(*row[0], *row[1:-2], row[-2], row[-2] / row[-1]) for row in found]
    shown = " ".join(name if name not in names.split() else f"by_{name}" for name in one.names)
    return table(
        "Who came, by where from",
        columns(f"{shown} mmp {names} {COUNTED} logged_in logged_in_share", logged_in_share=SHARE),
        rows,
        "logged_in: of all four, those whose installation some login showed.",
    )


def _days(tables: Tables) -> Table:
    return table(
        "Who came, by day",
        columns(f"mmp day channel {COUNTED}"),
        tables.rows(
            f"select mmp, coalesce(nullif(day, ''), '(no day)') as day, channel, {COUNTS} from came_fact"
            " group by all order by mmp, day, channel"
        ),
        "Days are those of the app's own time zone.",
    )


def _recorded(tables: Tables, one: Slice) -> Table:
    found = tables.rows(
        "select mmp, name, coalesce(nullif(currency, ''), '(none)') as currency, count(*),"
        " count(*) filter (conversion <> ''), sum(copies - 1)::bigint, count(*) filter (not is_primary),"
        " count(*) filter (channel <> 'organic'), sum(amount), min(day), max(day)"
        f" from recorded where {within(tables, one, 'at_us', 'app')}"
        " group by all order by mmp, name, currency"
    )
    return table(
        "What the MMPs say they recorded",
        columns(
            "mmp event currency events ours again not_primary from_ads amount first_day last_day",
            amount=MONEY,
        ),
        [(*row[:-3], exact(row[-3]), *row[-2:]) for row in found],
        "ours: with the conversion id that we sent; again: further rows of one file, alike to the last cell."
        "\nnot_primary: counted by the MMP under an older attribution alone; from_ads: not organic.",
    )
