"""How far users get: installed → registered → applied → granted → disbursed → repaid → lost, and the cost.

First and repeat loans stand apart. Cost, revenue and what remains of it are of `earnings`.
"""

from collections.abc import Sequence
from decimal import Decimal

from lendsignal.report.days import quoted
from lendsignal.report.earnings import (
    AS_TOLD,
    OF_COMING,
    Part,
    Purse,
    coming_kinds,
    count_interval,
    early_value,
    earnings,
    ranked,
    spend_of,
)
from lendsignal.report.layout import MONEY, SECONDS, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.making import MONEY_STEPS, STEP_OF, STEPS
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import (
    CAME_KEYS,
    EVERYTHING,
    Cohort,
    Slice,
    came_facts,
    facts,
    tied,
    tied_facts,
)
from lendsignal.report.spend import rounded
from lendsignal.report.tables import Tables

BEFORE = {
    "installed": None,
    "registered": "installed",
    "applied": "registered",
    "granted": "applied",
    "disbursed": "granted",
    "repaid": "disbursed",
    "lost": "disbursed",
}
"""The steps, and of which step's users each one's rate is."""

LOANS = ("all", "first", "repeat", "unknown")

COSTED = ("installed", "registered", "applied", "granted", "disbursed")
"""The steps whose cost is told."""

COUNTED_STEPS = ", ".join(map(quoted, STEP_OF))

LOST = """
create or replace temp table lost_at as
select seq from counted
where (type = 'defaulted' or (type = 'overdue' and dpd >= $default_dpd))
    and not test and not superseded and not reversed
-- a loan is lost once
qualify row_number() over (partition by coalesce(loan, hash(user_key, event_id)) order by at_us, seq) = 1
"""

NUMBER = {step: number for number, step in enumerate(STEPS)}
"""Steps have numbers, which are quicker to count by than words."""

OF_STEPS = (
    f"(case c.type {' '.join(f'when {quoted(kind)} then {NUMBER[step]}' for kind, step in STEP_OF.items())}"
    " end)::utinyint as step, c.loan, if(c.by_day or c.at_us <= 0, null, c.at_us) as known_us, c.amount,"
    " c.currency, c.fee, hash(part) as place"
)
"""What of each event the steps are made of; `known_us` is when it was, where more than its day is known."""

INSTALLED = """
create or replace temp table installed as
with shown as (
    select own as installation, min(user_key) as user_key, max(user_key) as other from touch
    where own is not null group by own
), owner as (  -- most installations are of one user: only of the others it is looked who was the first
    select installation, user_key from shown where user_key = other
    union all
    select own, arg_min(user_key, (at_us, event_id)) from touch
    where own in (select installation from shown where user_key <> other) group by own
)
select coalesce(o.user_key, (hash('installation', f.app, f.id) >> 1)::bigint) as user_key,
    if(f.kind = 'install', 'first', 'repeat') as loans, {number}::utinyint as step,
    if(f.moment_us > 0, f.moment_us, null) as known_us, hash(f.part) as place, f.part
from came_fact f left join owner o on o.installation = f.installation
"""

NOT_INSTALLED = """
create or replace temp table installed as
select user_key, loans, step, known_us, place, part from step_taken limit 0
"""

OF_JOURNEY = (
    *("loans", "currency", "apart"),
    *(f"{what}_{step}" for step in STEPS[1:] for what in ("n", "us", "loans")),
    *(f"{what}_{step}" for step in MONEY_STEPS for what in ("told", "amount", "fee")),
)
"""What of `journey` the steps are made of: a row is of one user, one kind of loan and one installation."""

MINE = """
select place, loans as kind, user_key, {steps} from (
    select place, loans, user_key, step, known_us from step_taken
    union all select place, loans, user_key, step, known_us from installed
) group by place, loans, user_key
"""

MINE_TIED = """
select place, kind, user_key, {all_steps} from (
    select place, loans as kind, user_key, {steps} from step_taken group by place, loans, user_key
    union all by name
    select place, loans as kind, user_key, true as has_installed, known_us as us_installed from installed
    union all by name
    select place, loans as kind, user_key, {journey_steps} from journey_taken
) group by place, kind, user_key
"""

TAKEN = """
create or replace temp table taken as
with mine as ({mine})
select * from mine union all select place, 'all', user_key, {all_steps} from mine group by place, user_key
"""
"""A row for each user, so that whatever is asked next looks at few rows; `place` is a part's number. Of each
step it has whether the user took it (`has_…`) and the first such event (`us_…`)."""

STEPPED = """
create or replace temp table stepped as
with counted as (
    select place, loans as kind, step, count(*) as n from step_taken group by all
    union all select place, loans, step, count(*) from installed group by all
    {tied}
)
select place, kind, step, sum(n)::bigint as n from counted group by all
union all select place, 'all', step, sum(n)::bigint from counted group by place, step
"""
"""How many events each step has."""

STEPPED_TIED = """
union all select place, loans, unnest([{numbers}]), unnest([{counts}]) from journey_taken
group by place, loans
"""

LOANS_OF_STEPS = """
select any_value(p.part), step, sum(n)::bigint, sum(first)::bigint, sum(again)::bigint, sum(unknown)::bigint
from (
    select place, step, 1 as n, first::integer as first, again::integer as again, unknown::integer as unknown
    from (
        select place, step, loan, bool_or(loans = 'first') as first, bool_or(loans = 'repeat') as again,
            bool_or(loans = 'unknown') as unknown
        from ({loans}) group by place, step, loan
    ) {alone}
) join place_of p using (place) group by place, step
"""

LOANS_TAKEN = "select place, step, loan, loans from step_taken where loan is not null"

LOANS_APART = """
union all
select place, step, loan, loans from (
    select place, loans, unnest(apart, recursive := true) from journey_taken where apart is not null
)
"""
"""The loans whose events of one step stand in several rows of `journey`: they are counted by their names."""

LOANS_ALONE = """
union all
select place, step, n, if(loans = 'first', n, 0), if(loans = 'repeat', n, 0), if(loans = 'unknown', n, 0)
from (
    select place, loans, unnest([{numbers}]) as step, unnest([{counts}]) as n from journey_taken
    group by place, loans
) where n > 0
"""
"""All other loans, which each row has counted."""

MONEY_OF_STEPS = """
select any_value(p.part) as part, loans, step, currency, sum(n)::bigint, sum(amount), sum(fee) from (
    select place, loans, step, coalesce(currency, '(none)') as currency, count(*) as n,
        sum(amount) as amount, sum(fee) as fee
    from step_taken where step in ({steps}) and amount is not null group by all
    {tied}
) join place_of p using (place) group by place, loans, step, currency order by part, loans, step, currency
"""

MONEY_TIED = """
union all
select place, loans, {number}, currency, sum(told_{step}), sum(amount_{step}), sum(fee_{step})
from journey_taken where told_{step} > 0 group by place, loans, currency
"""

PLACES = """
create or replace temp table place_of as
select place, any_value(part) as part from ({facts}) group by place
"""


class Funnel(Report, frozen=True, kw_only=True):
    """`steps` counts users, events and loans, `times` how long each step took; `money` adds up amounts, one
    row for each currency; `costs` is what a step cost; `worth`, `horizons` and `early` are of `earnings`."""

    steps: Table
    times: Table
    money: Table
    costs: Table
    worth: Table
    horizons: Table
    early: Table


def funnel(
    tables: Tables,
    one: Slice = EVERYTHING,
    *,
    cohort: Cohort | None = None,
    purse: Purse = AS_TOLD,
) -> Funnel:
    """The funnel of a slice: by the day of each event, or with a `cohort` by that on which its users came.

    Rates are of users: of those with the step before in the same row's slice and kind of loan, how many have
    this one, with a 95 % Wilson interval. Users marked as test, superseded revisions and reversed loans and
    payments are left out and counted in the notes. Money is told in the currency of `purse`. Raises
    `InputError` where the slice names what there is not.
    """
    one.beside("the funnel", "loans")
    how = tied(tables, one, cohort)
    if how is not None:
        tied_facts(
            tables,
            one,
            how,
            into="journey_taken",
            of="journey",
            cohort=cohort,
            beside=OF_JOURNEY,
            as_table=True,
        )
    only = "false"
    if how is None or how.apart is not None:
        tables.db.execute(LOST, {"default_dpd": tables.default_dpd})
        only = (
            f"c.type in ({COUNTED_STEPS}) and not c.superseded and not c.reversed"
            " and (c.type not in ('defaulted', 'overdue') or c.seq in (select seq from lost_at))"
            f" and {'true' if how is None else how.rest(one)}"
        )
    facts(
        tables,
        one,
        into="step_taken",
        only=only,
        cohort=cohort,
        loans=True,
        app=False,
        first="c.user_key",
        beside=OF_STEPS,
    )
    has_installs = _install(tables, one, cohort)
    is_tied = how is not None
    _take(tables, is_tied)
    brought = earnings(tables, one, purse, cohort)
    of_cohort = "" if cohort is None else f"by cohort of {cohort}"
    words = ", ".join(filter(None, (of_cohort, one.words)))
    return Funnel(
        title=f"Funnel {words}".strip(),
        as_of=tables.as_of,
        steps=_steps(tables, one, has_installs, is_tied),
        times=_times(tables, one),
        money=_money(tables, one, is_tied),
        costs=_costs(tables, one),
        worth=brought.worth,
        horizons=brought.horizons,
        early=early_value(tables, one),
        notes=(*left_out(tables), *brought.notes, *_several(tables, has_installs)),
    )


def _take(tables: Tables, is_tied: bool) -> None:
    """Fills `taken`, and `place_of` with the part that each number stands for."""
    steps = ", ".join(
        f"bool_or(step = {number}) as has_{step}, min(known_us) filter (step = {number}) as us_{step}"
        for step, number in NUMBER.items()
    )
    all_steps = ", ".join(f"bool_or(has_{step}) as has_{step}, min(us_{step}) as us_{step}" for step in STEPS)
    mine, counted = MINE.format(steps=steps), ""
    facts_of = ["step_taken", "installed"]
    if is_tied:
        told = ", ".join(f"n_{step} > 0 as has_{step}, us_{step}" for step in STEPS[1:])
        mine = MINE_TIED.format(steps=steps, all_steps=all_steps, journey_steps=told)
        counted = STEPPED_TIED.format(numbers=_numbers(), counts=_each("n"))
        facts_of.append("journey_taken_part")
    tables.db.execute(TAKEN.format(mine=mine, all_steps=all_steps))
    tables.db.execute(STEPPED.format(tied=counted))
    each = " union all ".join(f"select place, part from {name}" for name in facts_of)
    tables.db.execute(PLACES.format(facts=each))


def _numbers() -> str:
    """The numbers of the steps that `journey` has."""
    return ", ".join(str(NUMBER[step]) for step in STEPS[1:])


def _each(what: str) -> str:
    """SQL of what the rows of `journey` in a group have of each step."""
    return ", ".join(f"sum({what}_{step})::bigint" for step in STEPS[1:])


def _install(tables: Tables, one: Slice, cohort: Cohort | None) -> bool:
    """Lays the installs beside, where an MMP tells of them and the slice does not ask for a loan."""
    told = cohort != "registration" and one.keys.issubset(CAME_KEYS)
    if not told or not tables.number("select count(*) from attribution"):
        tables.db.execute(NOT_INSTALLED)
        return False
    came_facts(tables, one, kinds=coming_kinds(one), beside=OF_COMING)
    tables.db.execute(INSTALLED.format(number=NUMBER["installed"]))
    return True


def _several(tables: Tables, has_installs: bool) -> tuple[str, ...]:
    mmps = tables.number("select count(distinct (app, mmp)) - count(distinct app) from attribution")
    return ("Several MMPs tell of the same installs: each counts.",) if has_installs and mmps else ()


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


def _loans_of(tables: Tables, is_tied: bool) -> dict[tuple[Part, str, str], int]:
    """How many loans took each step."""
    loans, alone = LOANS_TAKEN, ""
    if is_tied:
        loans += LOANS_APART
        alone = LOANS_ALONE.format(numbers=_numbers(), counts=_each("loans"))
    return {
        (tuple(part), kind, STEPS[step]): n
        for part, step, *counts_of in tables.rows(LOANS_OF_STEPS.format(loans=loans, alone=alone))
        for kind, n in zip(LOANS, counts_of, strict=True)
    }


def _steps(tables: Tables, one: Slice, has_installs: bool, is_tied: bool) -> Table:
    loans_of = _loans_of(tables, is_tied)
    events_of = {
        (tuple(part), kind, STEPS[step]): events
        for part, kind, step, events in tables.rows(
            "select p.part, kind, step, n from stepped join place_of p using (place)"
        )
    }
    counts: dict[tuple[Part, str, str], tuple[int, int, int]] = {}
    both: dict[tuple[Part, str, str], int] = {}
    each = ", ".join(
        f"count(*) filter (has_{step}), count(*) filter (has_{step} and {before})"
        for step, base in BEFORE.items()
        for before in ["true" if base is None else f"has_{base}"]
    )
    for part, kind, *found in tables.rows(
        f"select any_value(p.part), kind, {each} from taken join place_of p using (place)"
        " group by place, kind"
    ):
        for step, users, with_base in zip(BEFORE, found[::2], found[1::2], strict=True):
            key = tuple(part), kind, step
            if users:
                counts[key] = users, events_of[key], loans_of.get(key, 0)
                both[key] = with_base
    steps = [step for step in BEFORE if has_installs or step != "installed"]
    rows: list[tuple[Cell, ...]] = []
    for part in _parts(tables, one):
        for kind in LOANS:
            if kind == "unknown" and not any((part, kind, step) in counts for step in steps):
                continue
            for step in steps:
                if step == "registered" and kind not in ("all", "first"):
                    continue
                if step == "installed" and kind == "unknown":
                    continue
                base = BEFORE[step] if BEFORE[step] in steps else None
                users, events, loans = counts.get((part, kind, step), (0, 0, 0))
                of = counts.get((part, kind, base), (0, 0, 0))[0] if base else 0
                rate = Rate(both.get((part, kind, step), 0), of)
                has_rate = base is not None and (base != "registered" or kind in ("all", "first"))
                rows.append(
                    (
                        *part,
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
            f"{' '.join(one.names)} loans step users events distinct_loans of rate low high remark",
            rate=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "rate: share of the users with the step in `of` who have this one too; low, high: its 95 % interval."
        f"\nthin: fewer than {THIN} users in `of`; empty: none."
        "\nA loan still running can still be repaid or lost.",
    )


def _times(tables: Tables, one: Slice) -> Table:
    pairs = [(step, base) for step, base in BEFORE.items() if base is not None]
    each = ", ".join(
        f"count(*) filter ({took} >= 0), quantile_cont({took} / 1e6, [0.5, 0.9]) filter ({took} >= 0)"
        for step, base in pairs
        for took in [f"(us_{step} - us_{base})"]
    )
    found: dict[tuple[Part, str, str], tuple[str, int, list[float]]] = {}
    for part, kind, *told in tables.rows(
        f"select any_value(p.part), kind, {each} from taken join place_of p using (place)"
        " group by place, kind"
    ):
        for (step, base), users, quantiles in zip(pairs, told[::2], told[1::2], strict=True):
            if users:
                found[tuple(part), kind, step] = base, users, quantiles
    rows: list[tuple[Cell, ...]] = []
    for part in _parts(tables, one):
        for kind in LOANS:
            for step in BEFORE:
                if (part, kind, step) in found:
                    base, users, quantiles = found[part, kind, step]
                    remark = "thin" if users < THIN else ""
                    rows.append((*part, kind, step, base, users, *quantiles, remark))
    return table(
        "Time to each step",
        columns(f"{' '.join(one.names)} loans step of users p50 p90 remark", p50=SECONDS, p90=SECONDS),
        rows,
        "From a user's first `of` to the first such step, in the same slice and kind of loan; half took at"
        "\nmost p50, nine in ten at most p90. Of those who took it: who is still on the way is not in it."
        f"\nEvents known by their day alone are left out. thin: fewer than {THIN} users.",
    )


def _money(tables: Tables, one: Slice, is_tied: bool) -> Table:
    tied_money = (MONEY_TIED.format(step=step, number=NUMBER[step]) for step in MONEY_STEPS)
    numbers = ", ".join(str(NUMBER[step]) for step in MONEY_STEPS)
    found = tables.rows(MONEY_OF_STEPS.format(steps=numbers, tied="".join(tied_money) if is_tied else ""))
    rows: Sequence[tuple[Cell, ...]] = [
        (*part, kind, STEPS[step], currency, n, exact(amount), exact(fee))
        for part, kind, step, currency, n, amount, fee in found
    ]
    return table(
        "Money",
        columns(f"{' '.join(one.names)} loans step currency events amount fee", amount=MONEY, fee=MONEY),
        rows,
        "Exact sums in major units of the currency; currencies are never added up.",
    )


def _costs(tables: Tables, one: Slice) -> Table:
    spent = spend_of(tables)
    names = ", ".join(f"'{step}'" for step in COSTED)
    users_of = ", ".join(f"count(*) filter (has_{step})" for step in COSTED)
    users = {
        (tuple(part), kind, step): n
        for part, kind, step, n in tables.rows(
            f"select any_value(p.part), kind, unnest([{names}]), unnest([{users_of}])"
            " from taken join place_of p using (place) where kind in ('all', 'first') group by place, kind"
        )
    }
    rows: list[tuple[Cell, ...]] = []
    for part, currency in ranked(set(spent), one, spent):
        cost = spent[part, currency]
        for kind in ("all", "first"):
            for step in COSTED:
                n = users.get((part, kind, step), 0)
                if step == "installed" and not n:
                    continue
                low, high = count_interval(n)
                rows.append(
                    (
                        *part,
                        currency,
                        kind,
                        step,
                        rounded(cost, currency),
                        n,
                        rounded(cost / n, currency) if n else None,
                        rounded(cost / Decimal(high), currency) if n else None,
                        rounded(cost / Decimal(low), currency) if n else None,
                        "thin" if 0 < n < THIN else "" if n else "empty",
                    )
                )
    return table(
        "Cost of a step",
        columns(
            f"{' '.join(one.names)} currency loans step spend users cost low high remark",
            spend=MONEY,
            cost=MONEY,
            low=MONEY,
            high=MONEY,
        ),
        rows,
        "cost: spend by the users with the step; `first` is the cost of a user who is new to it."
        "\nlow, high: its 95 % interval, as if users came at random."
        "\nUsers are those whose event is bound to the campaign: one who came back by an ad counts there.",
    )


def _parts(tables: Tables, one: Slice) -> list[Part]:
    by_time = "any_value(p.part)[1], " if one.every is not None else ""
    found = tables.rows(
        "select any_value(p.part) as part from stepped join place_of p using (place) where kind = 'all'"
        f" group by place order by {by_time}"
        f" coalesce(sum(n) filter (step = {NUMBER['disbursed']}), 0) desc, sum(n) desc, part"
    )
    return [tuple(part) for (part,) in found] or ([()] if not one.names else [])


def exact(amount: Decimal | None) -> Decimal | None:
    """A sum without the zeros that only the column's scale adds: 12.50 stays 12.50."""
    if amount is None:
        return None
    cents = amount.quantize(Decimal("0.01"))
    return cents if cents == amount else amount.normalize()
