"""The charts that each report is shown by: the first is its picture, all of them stand on its page."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from lendsignal.report.attribution import AttributionReport
from lendsignal.report.bindings import Bindings
from lendsignal.report.chart import Bars, Chart, Lines, Series
from lendsignal.report.coverage import Coverage
from lendsignal.report.delay import DECISION_STAGES, POSTING_STAGES, Delay
from lendsignal.report.delivery import DeliveryReport
from lendsignal.report.funnel import BEFORE, Funnel
from lendsignal.report.health import Health
from lendsignal.report.layout import MONEY, SECONDS, SHARE, Cell, Report, Table
from lendsignal.report.reconcile import Reconciliation
from lendsignal.report.slices import EVERY
from lendsignal.report.spend import SpendReport
from lendsignal.report.tiers import TiersReport
from lendsignal.report.vintages import Vintages

MOST = 12
"""Bars beyond so many are left to the table."""

MOST_LINES = 6
"""There are no more colours than that."""

FATES = ("accepted", "waiting", "held", "skipped", "cancelled", "dead")
COMINGS = ("installs", "reinstalls", "re_engagements", "re_attributions")

Rows = Sequence[Mapping[str, Cell]]


def charts_of(report: Report) -> tuple[Chart, ...]:
    """The charts of a report, the best one first; of one without its own, the first table's shares."""
    match report:
        case Funnel():
            return _funnel(report)
        case Bindings():
            return (
                _grouped(report.sources, "media_source", ("first_install", "last_login"), "disbursements"),
            )
        case DeliveryReport():
            return (_stacked(report.destinations, ("destination",), FATES, "deliveries"),)
        case Delay():
            return _delay(report)
        case Reconciliation():
            return _reconciliation(report)
        case Vintages():
            return _vintages(report)
        case AttributionReport():
            told = {column.name for column in report.sources.columns}
            deepest = next(
                name for name in ("ad", "ad_set", "campaign", "media_source", "channel") if name in told
            )
            return (_stacked(report.sources, ("channel", deepest), COMINGS, "users who came"),)
        case SpendReport():
            return _spend(report)
        case TiersReport():
            return _tiers(report)
        case Coverage():
            found = [report.ids, *([report.reaches] if report.reaches.rows else [])]
            return tuple(_shares(_largest_first(each, "users")) for each in found)
        case Health():
            return _health(report)
        case _:
            own = getattr(report, "charts", None)  # of reports that are made above this room
            if own is not None:
                return tuple(own())
            return tuple(_shares(found) for found in report.tables().values() if _share_of(found))[:1]


def _funnel(report: Funnel) -> tuple[Chart, ...]:
    rows = [one for one in report.steps.records() if one["loans"] == "all"]
    names = _before(report.steps, "loans")
    parts = list(dict.fromkeys(_label(one, names) for one in rows))[:4]
    users = {(_label(one, names), one["step"]): _number(one["users"]) for one in rows}
    steps = tuple(step for step in BEFORE if any((part, step) in users for part in parts))
    how_far = Bars(
        title=f"{report.title}: how far users got",
        labels=steps,
        series=tuple(
            Series(name=part or "users", values=tuple(users.get((part, step)) for step in steps))
            for part in parts
        ),
        axis="users",
    )
    granted = [one for one in rows if one["step"] == "disbursed"][:MOST]
    paid_out = Bars(
        title="Of those granted, how many were paid out",
        labels=tuple(_label(one, names) for one in granted),
        series=(_with_interval(granted, "rate"),),
        axis="share of users, with 95 % interval",
        unit=SHARE,
    )
    return (how_far, *((paid_out,) if names else ()), *_cost_of_a_loan(report), *_return(report))


def _cost_of_a_loan(report: Funnel) -> tuple[Chart, ...]:
    """What a user with a first loan cost, of parts with enough of them: thin ones are in the table."""
    names = _before(report.costs, "currency")
    rows = [
        one
        for one in report.costs.records()
        if (one["loans"], one["step"], one["remark"]) == ("first", "disbursed", "")
    ]
    if not names or len(rows) < 2:
        return ()
    rows = sorted(rows, key=lambda one: -(_number(one["spend"]) or 0.0))[:MOST]
    currency = ", ".join(sorted({str(one["currency"]) for one in rows}))
    return (
        Bars(
            title="Cost of a user with a first loan",
            labels=tuple(_label(one, names) for one in rows),
            series=(_with_interval(rows, "cost"),),
            axis=f"{currency}, with 95 % interval",
            unit=MONEY,
        ),
    )


def _return(report: Funnel) -> tuple[Chart, ...]:
    """Return on spend by the cohort's age, one line for each of the parts that cost most."""
    names = _before(report.horizons, "currency")
    rows = [one for one in report.horizons.records() if one["roas"] is not None]
    lines: dict[str, dict[float, float | None]] = defaultdict(dict)
    for one in rows:
        age = float(str(one["horizon"]).removeprefix("D"))
        lines[_label(one, (*names, "currency"))][age] = _number(one["roas"])
    shown = list(lines)[:MOST_LINES]
    ages = tuple(sorted({age for name in shown for age in lines[name]}))
    if not ages:
        return ()
    return (
        Lines(
            title="Fees repaid on each unit of spend, by age of the cohort (its mature part)",
            at=ages,
            series=tuple(
                Series(name=name, values=tuple(lines[name].get(age) for age in ages)) for name in shown
            ),
            across="days since the day of the install or registration",
            axis="revenue as a share of spend",
            unit=SHARE,
        ),
    )


def _before(table: Table, name: str) -> tuple[str, ...]:
    """The columns that a slice adds: those that stand before the first one of the report itself."""
    names = [column.name for column in table.columns]
    return tuple(names[: names.index(name)])


def _delay(report: Delay) -> tuple[Chart, ...]:
    return (
        _stages(
            report.decision,
            ("conversion",),
            DECISION_STAGES[:-1],
            "Decision delay: where the time goes between the application and the event",
        ),
        _stages(
            report.posting,
            ("destination", "conversion"),
            POSTING_STAGES[:-1],
            "Posting delay: where the time goes between the event and the platform's yes",
        ),
        _shares(report.days, "Accepted on the event's own day"),
    )


def _stages(table: Table, keys: Sequence[str], stages: Sequence[str], title: str) -> Chart:
    means: dict[str, dict[str, float]] = defaultdict(dict)
    for one in table.records():
        means[_label(one, keys)][str(one["stage"])] = _number(one["mean"]) or 0.0
    stages = [stage for stage in stages if any(one.get(stage) for one in means.values())]
    longest = sorted(means, key=lambda name: -means[name].get("whole", 0.0))[:MOST]
    return Bars(
        title=title,
        labels=tuple(longest),
        series=tuple(
            Series(name=stage.replace("_", " "), values=tuple(means[name].get(stage) for name in longest))
            for stage in stages
        ),
        axis="mean time",
        unit=SECONDS,
        stacked=True,
    )


def _reconciliation(report: Reconciliation) -> tuple[Chart, ...]:
    names = _before(report.checks, "step")
    found = [
        _stacked(
            report.platform,
            (*names, "destination", "conversion"),
            ("matched", "missing"),
            "conversions that were accepted",
            "What was accepted: matched in the platform's raw data, or missing there",
        ),
        _shares(
            _largest_first(report.checks, "differences") if names else report.checks,
            "Differences, as a share of what was compared",
        ),
    ]
    loans = _of_both_sides(report.ledger, names)
    if loans:
        found.insert(
            0,
            Bars(
                title=f"Loans by {' and '.join(names).replace('_', ' ') or 'day'}: the lender's ledger beside"
                " what we were told",
                labels=tuple(loans),
                series=tuple(
                    Series(name=words, values=tuple(one[place] for one in loans.values()))
                    for place, words in enumerate(("in the ledger", "told"))
                ),
                axis="loans",
            ),
        )
    return tuple(found)


def _of_both_sides(ledger: Table, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Loans in the ledger and told: of the last days, or in a slice of its largest parts."""
    found: dict[str, tuple[float, float]] = {}
    for one in ledger.records():
        label = _label(one, (*names, "currency")) if names else f"{one['day']} {one['currency']}"
        booked, told = found.get(label, (0.0, 0.0))
        found[label] = (
            booked + (_number(one["loans_in_ledger"]) or 0.0),
            told + (_number(one["loans_told"]) or 0.0),
        )
    if not names or names[0] in EVERY:
        return dict(list(found.items())[-MOST:])
    return dict(sorted(found.items(), key=lambda one: -max(one[1]))[:MOST])


def _largest_first(table: Table, name: str) -> Table:
    """The same rows, those with the most first: of a slice's many rows a picture shows a dozen."""
    place = [column.name for column in table.columns].index(name)
    return replace(table, rows=tuple(sorted(table.rows, key=lambda row: -(_number(row[place]) or 0.0))))


def _vintages(report: Vintages) -> tuple[Chart, ...]:
    rows = report.repayment.records()
    latest = list(dict.fromkeys((one["vintage"], one["currency"]) for one in rows))[-6:]
    shown = [one for one in rows if (one["vintage"], one["currency"]) in latest]
    ages = tuple(sorted({_number(one["age"]) or 0.0 for one in shown}))
    shares = {(one["vintage"], one["currency"], one["age"]): _number(one["repaid_share"]) for one in rows}
    lost = [one for one in report.delinquency.records() if one["measure"] == "default"][-MOST:]
    campaigns = [one for one in report.campaigns.records() if one["measure"] == "default"]
    campaigns = sorted(campaigns, key=lambda one: -(_number(one["loans"]) or 0))[:MOST]
    return (
        Lines(
            title="Repaid so far, by vintage",
            at=(0.0, *ages),
            series=tuple(
                Series(
                    name=f"{vintage} {currency}",
                    values=(0.0, *(shares.get((vintage, currency, age)) for age in ages)),
                )
                for vintage, currency in latest
            ),
            across="days since the disbursement",
            axis="share of principal and fee",
            unit=SHARE,
        ),
        _outlook(lost, ("vintage",), "Lost loans by vintage: so far, and developed to maturity"),
        _outlook(
            campaigns,
            _before(report.campaigns, "currency"),
            "Lost loans to expect, by where users came from",
        ),
    )


def _outlook(rows: Rows, names: Sequence[str], title: str) -> Chart:
    return Bars(
        title=title,
        labels=tuple(f"{_label(one, names)} ({one['loans']} loans)".strip() for one in rows),
        series=(
            Series(name="so far", values=tuple(_number(one["rate_by_count"]) for one in rows)),
            Series(
                name="developed, with 95 % interval",
                values=tuple(_number(one["developed"]) for one in rows),
                low=tuple(_number(one["developed_low"]) for one in rows),
                high=tuple(_number(one["developed_high"]) for one in rows),
            ),
        ),
        axis="share of loans",
        unit=SHARE,
    )


def _health(report: Health) -> tuple[Chart, ...]:
    """The day's counts beside what is expected of them: first what is not as expected, last what is thin."""
    places = {"as expected": 1, "thin": 2}
    rows = sorted(
        (one for one in report.volumes.records() if one["expected_day"] is not None),
        key=lambda one: (places.get(str(one["verdict"]), 0), -(_number(one["expected_day"]) or 0.0)),
    )
    hours = [one for one in rows if one["expected_hour"] is not None][:MOST]
    days = rows[:MOST]
    labels = [_counted(one) for one in days]
    delays = [one for one in report.delays.records() if one["n"]][:MOST]
    return (
        Bars(
            title="Events and accepted deliveries of the last 24 hours, beside what is expected",
            labels=tuple(labels),
            series=(
                Series(name="expected", values=tuple(_number(one["expected_day"]) for one in days)),
                Series(name="came", values=tuple(_number(one["day"]) for one in days)),
            ),
            axis="events, or accepted deliveries, in 24 hours",
        ),
        Bars(
            title="The last full hour, beside the band of a thousand ordinary hours",
            labels=tuple(_counted(one) for one in hours),
            series=(
                Series(
                    name="expected, with its band",
                    values=tuple(_number(one["expected_hour"]) for one in hours),
                    low=tuple(_number(one["low"]) for one in hours),
                    high=tuple(_number(one["high"]) for one in hours),
                ),
                Series(name="came", values=tuple(_number(one["hour"]) for one in hours)),
            ),
            axis="events, or accepted deliveries, in the hour",
        ),
        Bars(
            title="Nine in ten took no longer than this, in the last 24 hours",
            labels=tuple(_label(one, ("stage", "name")) for one in delays),
            series=(Series(name="p90", values=tuple(_number(one["p90"]) for one in delays)),),
            axis="90th percentile",
            unit=SECONDS,
        ),
    )


def _counted(row: Mapping[str, Cell]) -> str:
    said = "" if row["verdict"] == "as expected" else f" ({row['verdict']})"
    return f"{_label(row, ('scope', 'name'))}{said}"


def reliability_of(table: Table, axis: str) -> Chart:
    """What was said in each tenth beside what came of it."""
    rows = table.records()
    return Bars(
        title="Said beside what came, in tenths of what was judged",
        labels=tuple(f"tenth {one['tenth']}" for one in rows),
        series=(
            Series(name="said", values=tuple(_number(one["said"]) for one in rows)),
            _with_interval(rows, "came"),
        ),
        axis=axis,
        unit=SHARE,
    )


def _spend(report: SpendReport) -> tuple[Chart, ...]:
    found = []
    for currency in sorted({str(one["currency"]) for one in report.campaigns.records()}):
        rows = [one for one in report.campaigns.records() if one["currency"] == currency]
        rows = sorted(rows, key=lambda one: -(_number(one["spend"]) or 0.0))[:MOST]
        found.append(
            Bars(
                title=f"Spend by campaign, {currency}",
                labels=tuple(_label(one, ("channel", "campaign")) for one in rows),
                series=(Series(name="spend", values=tuple(_number(one["spend"]) for one in rows)),),
                axis=f"spend, {currency}",
                unit=MONEY,
            )
        )
    return tuple(found)


def _tiers(report: TiersReport) -> tuple[Chart, ...]:
    rows = report.shares.records()[:MOST]
    names = (*_before(report.shares, "basis"), "basis")
    loans = report.quality.records()[:MOST]
    return (
        Bars(
            title="Grants in each tier: realised beside the share it is for",
            labels=tuple(f"{_label(one, names)} · best {one['tier']} %" for one in rows),
            series=(
                Series(name="target", values=tuple(_number(one["target"]) for one in rows)),
                _with_interval(rows, "realised"),
            ),
            axis="share of grants, with 95 % interval",
            unit=SHARE,
        ),
        Bars(
            title="Loans lost in each tier",
            labels=tuple(
                f"{_label(one, _before(report.quality, 'basis'))} {_tier(one)}".strip() for one in loans
            ),
            series=(_with_interval(loans, "bad_rate"),),
            axis="share of loans, with 95 % interval",
            unit=SHARE,
        ),
    )


def _tier(row: Mapping[str, Cell]) -> str:
    return "all grants" if row["basis"] == "all" else f"best {row['tier']} % by {row['basis']}"


def _grouped(table: Table, label: str, names: Sequence[str], axis: str) -> Chart:
    rows = table.records()[:MOST]
    return Bars(
        title=table.title,
        labels=tuple(str(one[label]) for one in rows),
        series=tuple(
            Series(name=name.replace("_", " "), values=tuple(_number(one[name]) for one in rows))
            for name in names
        ),
        axis=axis,
    )


def _stacked(table: Table, keys: Sequence[str], names: Sequence[str], axis: str, title: str = "") -> Chart:
    rows = sorted(table.records(), key=lambda one: -sum(_number(one[name]) or 0.0 for name in names))[:MOST]
    shown = [name for name in names if any(one[name] for one in rows)]
    return Bars(
        title=title or table.title,
        labels=tuple(_label(one, keys) for one in rows),
        series=tuple(
            Series(name=name.replace("_", "-"), values=tuple(_number(one[name]) for one in rows))
            for name in shown
        ),
        axis=axis,
        stacked=True,
    )


def _share_of(table: Table) -> str | None:
    """The table's first share."""
    return next((column.name for column in table.columns if column.unit == SHARE), None)


def _shares(table: Table, title: str = "") -> Chart:
    """A bar for each row's first share, with its interval where the table has one."""
    return shares_of(table, _share_of(table) or "", title)


def shares_of(table: Table, name: str, title: str = "") -> Chart:
    """A bar for each row's share of that name, with the row's interval where it has one."""
    rows = [one for one in table.records() if one[name] is not None][:MOST]
    texts = [
        column.name
        for place, column in enumerate(table.columns)
        if column.name != "remark" and any(isinstance(row[place], str) for row in table.rows)
    ]
    return Bars(
        title=title or table.title,
        labels=tuple(_label(one, texts[:3]) for one in rows),
        series=(_with_interval(rows, name),),
        axis=f"{name.replace('_', ' ')}{', with 95 % interval' if rows and 'low' in rows[0] else ''}",
        unit=SHARE,
    )


def _with_interval(rows: Rows, name: str) -> Series:
    has_interval = bool(rows) and "low" in rows[0]
    return Series(
        name=name.replace("_", " "),
        values=tuple(_number(one[name]) for one in rows),
        low=tuple(_number(one["low"]) for one in rows) if has_interval else (),
        high=tuple(_number(one["high"]) for one in rows) if has_interval else (),
    )


def _label(row: Mapping[str, Cell], keys: Sequence[str]) -> str:
    return " · ".join(dict.fromkeys(str(row[key]) for key in keys if row[key] not in (None, "")))


def _number(cell: Cell) -> float | None:
    return None if cell is None or isinstance(cell, str) else float(cell)
