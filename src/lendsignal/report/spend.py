"""What campaigns cost: by campaign and by day, in one currency, with the installs they brought."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

from msgspec.structs import replace

from lendsignal.model import ZERO_DECIMAL
from lendsignal.model.attribution import AttributionKind
from lendsignal.model.rates import Rates
from lendsignal.report.campaigns import Campaign, Campaigns, campaigns
from lendsignal.report.layout import MONEY, Cell, Report, Table, columns, table
from lendsignal.report.slices import AD_KEYS, EVERYTHING, Slice, came_facts, spent_facts
from lendsignal.report.tables import Tables


class SpendReport(Report, frozen=True, kw_only=True):
    """`campaigns` and `days` have the cost; `parts` the same by what the report is sliced by.

    `without_rate` has what no rate could convert, and is in none of them.
    """

    campaigns: Table
    days: Table
    parts: Table
    without_rate: Table


def spend(
    tables: Tables,
    rates: Rates | None = None,
    currency: str | None = None,
    one: Slice = EVERYTHING,
) -> SpendReport:
    """Cost in `currency`, each day by its own rate; in the currencies it was told in where that is `None`.

    What a rate is missing for is left out and shown: nothing is guessed. Days of the slice are those of the
    ad account. Raises `InputError` where the slice names what cost is not told by.
    """
    one.only(AD_KEYS, "cost")
    spent_facts(tables, one)
    came_facts(tables, replace(one, by=(), every=None), kinds=tuple(AttributionKind), testers=True)
    known = campaigns(tables)
    by_part: dict[tuple[tuple[str, ...], str], Decimal] = defaultdict(Decimal)
    sums: dict[tuple[Campaign, str, str], Decimal] = defaultdict(Decimal)
    missing: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    seen: dict[Campaign, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for part, channel, id_, name, day, told, amount, impressions, clicks in tables.rows(
        "select part, channel, campaign_id, campaign, day, currency, sum(amount), sum(impressions)::bigint,"
        " sum(clicks)::bigint from spent_fact group by all order by all"
    ):
        campaign = known.of(channel, id_, name)
        worth = _converted(amount, day, told, currency, rates)
        if worth is None:
            missing[day, told] += amount
            continue
        sums[campaign, day, currency or told] += worth
        by_part[tuple(part), currency or told] += worth
        before = seen[campaign]
        seen[campaign] = (before[0] + impressions, before[1] + clicks)
    came = _came(tables, known, {(campaign.channel, day) for campaign, day, _ in sums})
    return SpendReport(
        title=", ".join(filter(None, ("Spend" if currency is None else f"Spend in {currency}", one.words))),
        as_of=tables.as_of,
        campaigns=_campaigns(sums, seen, came),
        days=_days(sums),
        parts=_parts(by_part, one),
        without_rate=_without_rate(missing, currency),
    )


def _converted(
    amount: Decimal, day: str, told: str, currency: str | None, rates: Rates | None
) -> Decimal | None:
    if currency is None or told == currency:
        return amount
    return None if rates is None else rates.converted(amount, date.fromisoformat(day), told, currency)


def _came(tables: Tables, known: Campaigns, paid: set[tuple[str, str]]) -> dict[Campaign, tuple[int, int]]:
    """Installs and returns of each campaign, on the days between the channel's first and last day of cost."""
    days: dict[str, tuple[str, str]] = {}
    for channel, day in paid:
        first, last = days.get(channel, (day, day))
        days[channel] = (min(first, day), max(last, day))
    found: dict[Campaign, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for channel, id_, name, day, installs, returns in tables.rows(
        "select channel, campaign_id, campaign, day, count(*) filter (kind = 'install'),"
        " count(*) filter (kind <> 'install') from came_fact group by all"
    ):
        if channel in days and days[channel][0] <= day <= days[channel][1]:
            campaign = known.of(channel, id_, name)
            before = found[campaign]
            found[campaign] = (before[0] + installs, before[1] + returns)
    return found


def _campaigns(
    sums: dict[tuple[Campaign, str, str], Decimal],
    seen: dict[Campaign, tuple[int, int]],
    came: dict[Campaign, tuple[int, int]],
) -> Table:
    whole: dict[tuple[Campaign, str], Decimal] = defaultdict(Decimal)
    days: dict[tuple[Campaign, str], int] = defaultdict(int)
    for (campaign, _, currency), amount in sums.items():
        whole[campaign, currency] += amount
        days[campaign, currency] += 1
    rows: list[tuple[Cell, ...]] = []
    for (campaign, currency), amount in whole.items():
        impressions, clicks = seen[campaign]
        installs, returns = came.get(campaign, (0, 0))
        rows.append(
            (
                campaign.channel,
                campaign.label,
                campaign.id,
                currency,
                days[campaign, currency],
                rounded(amount, currency),
                impressions,
                clicks,
                installs,
                returns,
                rounded(amount / installs, currency) if installs else None,
            )
        )
    return table(
        "Cost by campaign",
        columns(
            "channel campaign campaign_id currency days spend impressions clicks installs returns"
            " spend_per_install",
            spend=MONEY,
            spend_per_install=MONEY,
        ),
        sorted(rows, key=lambda row: (str(row[0]), str(row[1]), str(row[2]), str(row[3]))),
        "installs and returns (reinstalls, re-engagements, re-attributions): by the MMPs, on the days between"
        "\nthe channel's first and last day of cost. Several MMPs on the same users count each of them.",
    )


def _days(sums: dict[tuple[Campaign, str, str], Decimal]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (day, campaign.channel, campaign.label, campaign.id, currency, rounded(amount, currency))
        for (campaign, day, currency), amount in sums.items()
    ]
    return table(
        "Cost by day and campaign",
        columns("day channel campaign campaign_id currency spend", spend=MONEY),
        sorted(rows, key=lambda row: tuple(map(str, row))),
        "Days are those of the ad account's own time zone.",
    )


def _parts(sums: dict[tuple[tuple[str, ...], str], Decimal], one: Slice) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (*part, currency, rounded(amount, currency)) for (part, currency), amount in sorted(sums.items())
    ]
    return table(
        f"Cost {one.words}" if one.names else "Cost in all",
        columns(f"{' '.join(one.names)} currency spend", spend=MONEY),
        rows,
        "What each row is told apart by is what the cost itself tells.",
    )


def _without_rate(missing: dict[tuple[str, str], Decimal], currency: str | None) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (day, told, currency or "", rounded(amount, told)) for (day, told), amount in sorted(missing.items())
    ]
    return table(
        "Left out: no rate says what it is worth",
        columns("day from to spend", spend=MONEY),
        rows,
        "Add the rates to [fx]: see docs/how-to/bring-in-spend.md." if rows else "",
    )


def rounded(amount: Decimal, currency: str) -> Decimal:
    """The amount in the currency's smallest coin, half to even, as sums of money are rounded."""
    return amount.quantize(Decimal(1) if currency in ZERO_DECIMAL else Decimal("0.01"))
