"""How far users get: registered → applied → granted → disbursed → repaid → lost, first and repeat apart."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, TypeAlias

from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.tables import Tables

Slice: TypeAlias = Literal["channel", "media_source", "campaign", "app"]
"""What a report may be sliced by: all of them are facts of the installation an event is bound to."""

Rule: TypeAlias = Literal["last_login", "first_install"]
"""Which installation counts: the one the user had last logged in on at the event, or the user's first."""

BEFORE = {
    "registered": None,
    "applied": "registered",
    "granted": "applied",
    "disbursed": "granted",
    "repaid": "disbursed",
    "lost": "disbursed",
}
"""The steps, and of which step's users each one's rate is."""

LOANS = ("all", "first", "repeat", "unknown")

NO_TOUCH = "(no touch)"
NOT_ATTRIBUTED = "(not attributed)"

SLICE_OF: Mapping[Slice, str] = {
    "channel": f"case when {{i}}.number is null then '{NO_TOUCH}'"
    f" else coalesce(nullif({{o}}.channel, ''), '{NOT_ATTRIBUTED}') end",
    "media_source": f"case when {{i}}.number is null then '{NO_TOUCH}'"
    f" else coalesce(nullif({{o}}.media_source, ''), nullif({{o}}.channel, ''), '{NOT_ATTRIBUTED}') end",
    "campaign": f"case when {{i}}.number is null then '{NO_TOUCH}'"
    f" when coalesce({{o}}.media_source, '') = '' then '{NOT_ATTRIBUTED}'"
    " when coalesce({o}.campaign, '') = '' then {o}.media_source"
    " else {o}.media_source || ' / ' || {o}.campaign end",
    "app": f"coalesce(nullif({{i}}.app, ''), nullif(c.app, ''), '{NO_TOUCH}')",
}
"""SQL of what an event is counted under: `{i}` is the installation it is bound to, `{o}` where that came from
by then, `c` the event."""

STEPS = """
create or replace temp table step_taken as
with own as (  -- each user's first disbursed loan, and whether we have seen the user from the start
    select user, bool_or(type = 'registered') as whole,
        min(at_us) filter (type = 'disbursed' and not reversed and not superseded) as loan_us,
        arg_min(loan_id, at_us) filter (type = 'disbursed' and not reversed and not superseded) as loan_id
    from counted group by user
), numbered as (
    select user, loan_id, max(loan_number) as loan_number from counted
    where loan_id is not null group by all
), happened as (
    select c.*, case c.type when 'credit_granted' then 'granted' when 'defaulted' then 'lost'
        when 'overdue' then 'lost' else c.type end as step
    from counted c
    where not test and not superseded and not reversed
        and (type in ('registered', 'applied', 'credit_granted', 'disbursed', 'repaid', 'defaulted')
            or (type = 'overdue' and dpd >= $default_dpd))
    qualify step <> 'lost'
        or row_number() over (
            partition by c.user, step, coalesce(c.loan_id, c.event_id) order by at_us, seq) = 1
)
select c.seq, c.user, c.loan_id, c.step, c.amount, c.currency, c.fee, {part} as part,
    case when c.step = 'registered' then 'first'
        when coalesce(c.loan_number, n.loan_number) = 1 then 'first'
        when coalesce(c.loan_number, n.loan_number) > 1 then 'repeat'
        when not o.whole and not $whole then 'unknown'
        when o.loan_us < c.at_us and o.loan_id is distinct from c.loan_id then 'repeat'
        else 'first' end as loans
from happened c
left join own o on o.user = c.user
left join numbered n on n.user = c.user and n.loan_id = c.loan_id
left join bound b on b.seq = c.seq
left join installation i on i.number = coalesce(b.{rule}, b.held)
asof left join origin o on o.installation = i.number and c.at_us >= o.from_us
"""


class Funnel(Report, frozen=True, kw_only=True):
    """`steps` counts users, events and loans; `money` adds up amounts, one row for each currency."""

    steps: Table
    money: Table


def funnel(tables: Tables, *, by: Slice | None = None, binding: Rule = "last_login") -> Funnel:
    """The funnel over everything that happened, sliced where `by` says, under one rule of binding.

    Rates are of users: of those with the step before in the same row's slice and kind of loan, how many have
    this one, with a 95 % Wilson interval. Users marked as test, superseded revisions and reversed loans and
    payments are left out and counted in the notes.
    """
    part = "''" if by is None else SLICE_OF[by].format(i="i", o="o")
    tables.db.execute(
        STEPS.format(part=part, rule=binding),
        {"default_dpd": tables.default_dpd, "whole": tables.history_is_whole},
    )
    return Funnel(
        title="Funnel" if by is None else f"Funnel by {by.replace('_', ' ')}, {binding.replace('_', ' ')}",
        as_of=tables.as_of,
        steps=_steps(tables, by),
        money=_money(tables, by),
        notes=left_out(tables),
    )


def left_out(tables: Tables) -> tuple[str, ...]:
    """What a report of events counts beside the usual, and what none counts; each only where there is any."""
    not_taken = tables.rows(
        "select verdict, count(*) from event where verdict <> 'taken' and not test group by 1 order by 1"
    )
    analytics = tables.number("select count(*) from counted where analytics and not superseded and not test")
    told = [
        (
            analytics,
            "events told for analytics alone counted beside those told for optimisation;"
            " they make no conversion and are never sent",
        ),
        (tables.number("select count(*) from tester"), "test users left out"),
        *((n, f"events with the verdict {verdict} not counted") for verdict, n in not_taken),
        (
            tables.number("select count(*) from counted where superseded and not analytics and not test"),
            "events superseded by a higher revision not counted",
        ),
        (
            tables.number("select count(*) from counted where reversed and not superseded and not test"),
            "loans and payments that were reversed not counted",
        ),
    ]
    return tuple(f"{n:,} {words}." for n, words in told if n)


def _steps(tables: Tables, by: Slice | None) -> Table:
    every = "(select *, 'all' as kind from step_taken union all select *, loans as kind from step_taken)"
    counts = {
        (part, kind, step): (users, events, loans)
        for part, kind, step, users, events, loans in tables.rows(
            "select part, kind, step, count(distinct user), count(*), count(distinct (user, loan_id))"
            f" filter (loan_id is not null) from {every} group by all"
        )
    }
    before = ", ".join(f"('{step}', '{base}')" for step, base in BEFORE.items() if base is not None)
    both = {
        (part, kind, step): users
        for part, kind, step, users in tables.rows(
            f"with done as (select distinct part, kind, step, user from {every})"
            " select d.part, d.kind, d.step, count(*)"
            f" from done d join (values {before}) v(step, base) on v.step = d.step"
            " join done e on e.part = d.part and e.kind = d.kind and e.user = d.user and e.step = v.base"
            " group by all"
        )
    }
    rows: list[tuple[Cell, ...]] = []
    for part in _parts(tables):
        for kind in LOANS:
            if kind == "unknown" and not any((part, kind, step) in counts for step in BEFORE):
                continue
            for step, base in BEFORE.items():
                if step == "registered" and kind not in ("all", "first"):
                    continue
                users, events, loans = counts.get((part, kind, step), (0, 0, 0))
                of = counts.get((part, kind, base), (0, 0, 0))[0] if base else 0
                rate = Rate(both.get((part, kind, step), 0), of)
                has_rate = base is not None and (base != "registered" or kind in ("all", "first"))
                rows.append(
                    (
                        *(() if by is None else (part,)),
                        kind,
                        step,
                        users,
                        events,
                        loans,
                        base if has_rate else None,
                        rate.value if has_rate else None,
                        rate.low if has_rate else None,
                        rate.high if has_rate else None,
                        rate.remark if has_rate else "",
                    )
                )
    return table(
        "Steps",
        columns(
            f"{by or ''} loans step users events distinct_loans of rate low high remark",
            rate=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "rate: share of the users with the step in `of` who have this one too; low, high: its 95 % interval."
        f"\nthin: fewer than {THIN} users in `of`; empty: none."
        "\nA loan still running can still be repaid or lost.",
    )


def _money(tables: Tables, by: Slice | None) -> Table:
    found = tables.rows(
        "select part, loans, step, coalesce(currency, '(none)'), count(amount), sum(amount), sum(fee)"
        " from step_taken where step in ('disbursed', 'repaid') and amount is not null group by all"
        " order by part, loans, step, 4"
    )
    rows: Sequence[tuple[Cell, ...]] = [
        (*(() if by is None else (part,)), kind, step, currency, n, exact(amount), exact(fee))
        for part, kind, step, currency, n, amount, fee in found
    ]
    return table(
        "Money",
        columns(f"{by or ''} loans step currency events amount fee", amount=MONEY, fee=MONEY),
        rows,
        "Exact sums in major units of the currency; currencies are never added up.",
    )


def _parts(tables: Tables) -> list[str]:
    found = tables.rows(
        "select part from step_taken group by part"
        " order by count(*) filter (step = 'disbursed') desc, count(*) desc, part"
    )
    return [part for (part,) in found] or [""]


def exact(amount: Decimal | None) -> Decimal | None:
    """A sum without the zeros that only the column's scale adds: 12.50 stays 12.50."""
    if amount is None:
        return None
    cents = amount.quantize(Decimal("0.01"))
    return cents if cents == amount else amount.normalize()
