"""The whole advice: from a book of loans and spend to a step for each campaign, with all that it rests on."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.advise.bids.evidence import MEMORY_PER_WEEK, Said, by_development, gathered
from lendsignal.advise.bids.posterior import Evidence, Flags, Floats, Ints, Posterior, posterior
from lendsignal.advise.bids.returns import Bought, Terms, profit, returns, target_cpa, target_roas
from lendsignal.advise.bids.rollrates import BUCKET_NAMES, Book, Rolls, by_roll_rates, rolls_of
from lendsignal.advise.bids.steps import SAYS, Guards, Standing, Step, retargeting_share, steps
from lendsignal.report.chart import Bars, Chart, Series
from lendsignal.report.development import NEVER
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.loan_book import LoanBook, Place

Method = Literal["roll rates", "development curve", "none"]

SEED = 20_260_101
"""Of the draws: the same loans give the same advice."""

LOST_OF_A_LOSS = 0.9
"""What is not paid back of a lost loan, where fewer than 30 of them are old enough to tell."""

SETTLED_DAYS = 30
"""After which most that is ever recovered of a lost loan has been."""

LEAST_LOST = 30

COHORT_WEEKS = 12
"""Cohorts that are shown as evidence."""

MOST_BARS = 12
"""Campaigns beyond so many are left to the table."""

DAYS_TO_COME = 28
"""Over which the counterfactual is told."""


class Asked(Struct, frozen=True, kw_only=True):
    """What a buyer decides. `cost`: of money, payments and collection, as a part of what is paid out.

    `later`: profit that later loans of a new borrower are taken to bring, in the currency of the advice, so
    that first loans alone are counted; 0 counts every loan for itself. `later_by` says who took it to be
    that, where it was not the buyer. `margin`: profit that targets leave beyond the money back. `plan`: what
    all campaigns are to spend a day; by default what they did over 28 days. `incremental`: the lower end of
    retargeting's profit per spend by intention to treat, where a holdout told it.
    """

    guards: Guards = Guards()
    cost: float = 0.0
    later: float = 0.0
    later_by: str = ""
    margin: float = 0.0
    plan: float | None = None
    incremental: float | None = None


class Proposal(Struct, frozen=True, kw_only=True):
    """A step for one campaign with its audit: what it rests on, and what is to be expected without it.

    Money is in `currency`; budgets are a day. `lost` is the share of loans lost in the end, with its 90 %
    interval; `exposure` and `bad` what it was told by; `cohorts` the campaign's weeks, the oldest first.
    """

    channel: str
    campaign_id: str
    campaign: str
    currency: str
    budget: float
    proposed: float
    multiplier: float
    wanted: float
    pause: bool
    guard: str
    sure: float
    roi: tuple[float, float, float]
    lost: tuple[float, float, float]
    exposure: float
    bad: float
    target_cpa: float | None
    target_roas: float | None
    profit_28_days_if_left: float
    profit_28_days_if_moved: float
    method: str
    binding: str
    today: str
    cohorts: tuple["Cohort", ...]


class Cohort(Struct, frozen=True, kw_only=True):
    """Loans of one campaign and week: how many were lost so far, and the part of their ends that is known."""

    weeks_ago: int
    loans: int
    lost: int
    known: float


class Advice(Report, frozen=True, kw_only=True):
    """`bids` has a step for each campaign, `cohorts` what it rests on, `rolls` the roll rates used."""

    method: str
    currency: str
    bids: Table
    cohorts: Table
    rolls: Table
    proposals: tuple[Proposal, ...] = ()

    def charts(self) -> tuple[Chart, ...]:
        """Return on spend, and the share of loans lost, of the campaigns that cost most."""
        rows = [one for one in self.bids.records() if one.get("roi") is not None]
        rows = sorted(rows, key=lambda one: -_number(one["budget"]))[:MOST_BARS]
        labels = tuple(f"{one['channel']} · {one['campaign']}" for one in rows)

        def bars(title: str, name: str, axis: str, unit: str = "") -> Chart:
            value, low, high = (
                tuple(_number(one[f"{name}{end}"]) for one in rows) for end in ("", "_low", "_high")
            )
            series = Series(name=axis, values=value, low=low, high=high)
            return Bars(title=title, labels=labels, series=(series,), axis=axis, unit=unit)

        return (
            bars("Return on spend", "roi", "profit of loans over their cost, with 90 % interval"),
            bars("Lost in the end", "lost", "share of loans, with 90 % interval", SHARE),
        )


def advise(
    book: LoanBook,
    asked: Asked,
    rng: np.random.Generator,
    *,
    stepped: Mapping[tuple[str, str, str], int] | None = None,
    as_of: datetime | None = None,
) -> Advice:
    """A step for each campaign that costs money.

    `stepped`: days since the last accepted step of a campaign, by its channel, id and name. Where fewer than
    30 loans are lost nothing is advised, and the notes say so.
    """
    if asked.later != 0:
        book = _first_loans(book)
    said, rolls, method = _said(book)
    if said is None or not book.campaigns:
        return _nothing(book, method, as_of)
    lost = posterior(_evidence(book, said), rng)
    bought = _bought(book)
    terms = _terms(book, asked)
    profits = profit(lost, terms)
    roi = returns(profits, bought, rng)
    guards = _guards(asked)
    standing = _standing(book, stepped or {})
    found = steps(standing, roi, lost.exposure, guards, asked.plan)
    cpa = target_cpa(profits, asked.margin)
    roas = target_roas(_per_loan(book, book.loans.fee), cpa)
    cohorts = _cohorts(book, said)
    proposals = tuple(
        _proposal(
            book,
            method,
            place,
            standing[place],
            step,
            lost,
            float(cpa[place]),
            float(roas[place]),
            cohorts[place],
        )
        for place, step in enumerate(found)
        if step.multiplier != 1 or step.pause
    )
    return Advice(
        title=f"Bids and budgets in {book.currency}, {book.binding.replace('_', ' ')}",
        as_of=as_of,
        method=method,
        currency=book.currency,
        bids=_bids(book, standing, found, lost, profits, bought, cpa, roas),
        cohorts=_cohort_table(book.campaigns, cohorts),
        rolls=_rolls_table(book, rolls),
        proposals=proposals,
        notes=(*book.notes, *_notes(book, method, asked, guards)),
    )


def _said(book: LoanBook) -> tuple[Said | None, Rolls | None, Method]:
    """What each loan says, by the finest method that there are loans enough for."""
    loans = book.loans
    if not len(loans):
        return None, None, "none"
    whole = Book(
        kind=loans.kind,
        disbursed=loans.disbursed,
        bad_on=loans.bad_on,
        today=0,
        due=loans.due,
        paid_on=loans.paid_on,
    )
    rolls = rolls_of(whole)
    if rolls is not None:
        return by_roll_rates(whole, rolls), rolls, "roll rates"
    due = loans.final_due
    developed = by_development(loans.kind, np.where(loans.bad_on < NEVER, loans.bad_on - due, NEVER), -due)
    if developed is None:
        return None, None, "none"
    return developed[0], None, "development curve"


def _first_loans(book: LoanBook) -> LoanBook:
    """The book with repeat loans as those of no campaign: they still teach how loans end."""
    campaign = np.where(book.loans.is_repeat, -1, book.loans.campaign)
    return replace(book, loans=replace(book.loans, campaign=campaign))


def _evidence(book: LoanBook, said: Said) -> Evidence:
    """What the loans of campaigns that cost money say; the others only taught the curves."""
    mine = book.loans.campaign >= 0
    return gathered(
        book.loans.campaign[mine],
        len(book.campaigns),
        -book.loans.disbursed[mine],
        Said(said.known[mine], said.bad[mine], said.expected[mine]),
        book.loans.score[mine],
    )


def _told(book: LoanBook) -> Flags:
    """The loans that were paid out on days whose cost is told: those alone are set against it."""
    campaign, disbursed = book.loans.campaign, book.loans.disbursed
    first, until = _first_day(book), book.spent.until
    place = np.maximum(campaign, 0)
    return np.asarray((campaign >= 0) & (disbursed >= first[place]) & (disbursed <= until[place]))


def _first_day(book: LoanBook) -> Ints:
    """The first day that each campaign cost something."""
    days = np.where(book.spent.amount > 0, book.spent.day, 1)
    return np.asarray(days.min(axis=1))


def _bought(book: LoanBook) -> Bought:
    weight = MEMORY_PER_WEEK ** (-book.spent.day / 7)
    told = _told(book)
    loans = np.bincount(
        book.loans.campaign[told],
        weights=MEMORY_PER_WEEK ** (-book.loans.disbursed[told] / 7),
        minlength=len(book.campaigns),
    )
    return Bought(spend=(book.spent.amount * weight).sum(axis=1), loans=loans.astype(np.float64))


def _per_loan(book: LoanBook, values: Floats) -> Floats:
    """The mean of a loan's value by campaign, weighed by age; the mean of all where a campaign has none."""
    mine = book.loans.campaign >= 0
    campaign = book.loans.campaign[mine]
    weight = MEMORY_PER_WEEK ** (-book.loans.disbursed[mine] / 7)
    sums = np.bincount(campaign, weights=weight * values[mine], minlength=len(book.campaigns))
    count = np.bincount(campaign, weights=weight, minlength=len(book.campaigns))
    return np.where(count > 0, sums / np.where(count > 0, count, 1), values.mean())


def _terms(book: LoanBook, asked: Asked) -> Terms:
    return Terms(
        income=_per_loan(book, book.loans.fee) + asked.later,
        loss=lost_of_a_loss(book) * _per_loan(book, book.loans.owed),
        cost=asked.cost * _per_loan(book, book.loans.amount),
    )


def lost_of_a_loss(book: LoanBook) -> float:
    """What part of a lost loan's principal and fee is not paid back, by those lost a month ago or longer."""
    old = book.loans.bad_on <= -SETTLED_DAYS
    owed = float(book.loans.owed[old].sum())
    if int(old.sum()) < LEAST_LOST or owed <= 0:
        return LOST_OF_A_LOSS
    return float(np.clip(1 - book.loans.paid[old].sum() / owed, 0, 1))


def _guards(asked: Asked) -> Guards:
    return replace(asked.guards, retargeting=retargeting_share(asked.guards, asked.incremental))


def _standing(book: LoanBook, stepped: Mapping[tuple[str, str, str], int]) -> list[Standing]:
    first = _first_day(book)
    running = np.maximum(book.spent.until - first + 1, 1)
    lately = np.where(book.spent.until >= -7, book.spent.over(7), 0.0)
    base = book.spent.over(28) * 28 / np.minimum(running, 28)
    loans = np.bincount(book.loans.campaign[_told(book)], minlength=len(book.campaigns))
    return [
        Standing(
            budget=float(lately[place] * 7 / min(int(running[place]), 7)),
            base=float(base[place]),
            days_running=int(running[place]),
            conversions=int(loans[place]),
            days_since_step=stepped.get((one.channel, one.id, one.name)),
            is_retargeting=one.is_retargeting,
        )
        for place, one in enumerate(book.campaigns)
    ]


def _cohorts(book: LoanBook, said: Said) -> list[tuple[Cohort, ...]]:
    """The last weeks of each campaign, the oldest first; weeks without a loan are left out."""
    week = -book.loans.disbursed // 7
    mine = (book.loans.campaign >= 0) & (week < COHORT_WEEKS)
    place = book.loans.campaign[mine] * COHORT_WEEKS + week[mine]
    shape = (len(book.campaigns), COHORT_WEEKS)

    def summed(values: Floats) -> Floats:
        found = np.bincount(place, weights=values[mine], minlength=shape[0] * shape[1])
        return found.reshape(shape).astype(np.float64)

    loans = summed(np.ones(len(week)))
    lost, known = summed((book.loans.bad_on < NEVER).astype(np.float64)), summed(said.known)
    return [
        tuple(
            Cohort(
                weeks_ago=one,
                loans=int(loans[campaign, one]),
                lost=int(lost[campaign, one]),
                known=round(float(known[campaign, one] / loans[campaign, one]), 3),
            )
            for one in reversed(range(COHORT_WEEKS))
            if loans[campaign, one] > 0
        )
        for campaign in range(len(book.campaigns))
    ]


def _proposal(
    book: LoanBook,
    method: str,
    place: int,
    standing: Standing,
    step: Step,
    lost: Posterior,
    cpa: float,
    roas: float,
    cohorts: tuple[Cohort, ...],
) -> Proposal:
    low, high = lost.interval()
    one = book.campaigns[place]
    left = (step.roi - 1) * standing.budget * DAYS_TO_COME
    return Proposal(
        channel=one.channel,
        campaign_id=one.id,
        campaign=one.name,
        currency=book.currency,
        budget=standing.budget,
        proposed=0.0 if step.pause else standing.budget * step.multiplier,
        multiplier=step.multiplier,
        wanted=step.wanted,
        pause=step.pause,
        guard=step.guard,
        sure=step.sure,
        roi=(step.roi, step.roi_low, step.roi_high),
        lost=(float(lost.mean[place]), float(low[place]), float(high[place])),
        exposure=float(lost.exposure[place]),
        bad=float(lost.bad[place]),
        target_cpa=None if np.isnan(cpa) else cpa,
        target_roas=None if np.isnan(roas) else roas,
        profit_28_days_if_left=left,
        profit_28_days_if_moved=0.0 if step.pause else left * step.multiplier,
        method=method,
        binding=book.binding,
        today=book.today,
        cohorts=cohorts,
    )


def _number(cell: Cell) -> float:
    return float(cell) if isinstance(cell, int | float) else 0.0


def _bids(
    book: LoanBook,
    standing: Sequence[Standing],
    found: Sequence[Step],
    lost: Posterior,
    profits: Floats,
    bought: Bought,
    cpa: Floats,
    roas: Floats,
) -> Table:
    low, high = lost.interval()
    mean_profit = profits.mean(axis=1)
    cost = bought.spend / np.maximum(bought.loans, 1e-9)
    rows: list[tuple[Cell, ...]] = []
    for place, (one, step) in enumerate(zip(book.campaigns, found, strict=True)):
        known = step.guard != "no_spend"
        rows.append(
            (
                one.channel,
                one.label,
                one.id,
                standing[place].conversions,
                float(lost.exposure[place]),
                float(lost.mean[place]),
                float(low[place]),
                float(high[place]),
                float(mean_profit[place]),
                float(cost[place]) if bought.loans[place] > 0 else None,
                step.roi if known else None,
                step.roi_low if known else None,
                step.roi_high if known else None,
                step.sure if known else None,
                standing[place].budget,
                step.wanted if known else None,
                step.multiplier,
                0.0 if step.pause else standing[place].budget * step.multiplier,
                None if np.isnan(cpa[place]) else float(cpa[place]),
                None if np.isnan(roas[place]) else float(roas[place]),
                "pause" if step.pause else _word(step),
                SAYS[step.guard],
            )
        )
    return table(
        "Bids and budgets by campaign",
        columns(
            "channel campaign campaign_id loans exposure lost lost_low lost_high profit_per_loan"
            " cost_per_loan roi roi_low roi_high sure budget wanted multiplier proposed"
            " target_cpa target_roas advice why",
            lost=SHARE,
            lost_low=SHARE,
            lost_high=SHARE,
            sure=SHARE,
        ),
        rows,
        "exposure: loans whose end is known, counted in parts, older ones less. lost: the share of loans that"
        "\nis lost in the end, with its 90 % interval. roi: profit of loans over their cost; 1 is money back."
        "\nsure: that it is on that side of the target. budget and proposed: a day, by the last week's cost."
        "\ntarget_roas: fee by contract over target_cpa, for those who send the fee as value.",
    )


def _word(step: Step) -> str:
    if step.multiplier == 1:
        return "keep"
    return "raise" if step.multiplier > 1 else "lower"


def _cohort_table(places: Sequence[Place], cohorts: Sequence[tuple[Cohort, ...]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (place.channel, place.label, one.weeks_ago, one.loans, one.lost, one.lost / one.loans, one.known)
        for place, mine in zip(places, cohorts, strict=True)
        for one in mine
    ]
    return table(
        "Cohorts that the advice rests on",
        columns(
            "channel campaign weeks_ago loans lost_so_far rate_so_far known", rate_so_far=SHARE, known=SHARE
        ),
        rows,
        "known: how much of these loans' ends is known by now; before that the rate so far says little.",
    )


def _rolls_table(book: LoanBook, rolls: Rolls | None) -> Table:
    rows: list[tuple[Cell, ...]] = []
    if rolls is not None:
        for place, kind in enumerate(book.kinds):
            for k in range(min(kind.instalments, rolls.rolls.shape[1])):
                shares = rolls.rolls[place, k].tolist()
                ends = rolls.lost[place, k].tolist()
                rows.append((kind.label, k + 1, int(rolls.seen[place, k, 0]), *shares, ends[0]))
    names = " ".join(f"from_{name.replace('-', '_').replace('+', '_up')}" for name in BUCKET_NAMES)
    return table(
        "Roll rates",
        columns(f"kind instalment loans {names} lost", **dict.fromkeys([*names.split(), "lost"], SHARE)),
        rows,
        "The share that rolls on from each bucket of days past due into the next, from the last into loss."
        "\nlost: the chance that a loan is lost whose instalment this is, before it is due.",
    )


def _notes(book: LoanBook, method: str, asked: Asked, guards: Guards) -> tuple[str, ...]:
    lost = int((book.loans.bad_on < NEVER).sum())
    return (
        f"By {method}, of {len(book.loans):,} loans of which {lost:,} are lost so far;"
        f" {lost_of_a_loss(book):.0%} of a lost loan is not paid back.",
        f"A step is made where P is {guards.sure:.0%} or more, of {guards.step:.0%} at most, once in"
        f" {guards.every_days} days; retargeting has {guards.retargeting:.0%} of the spend at most.",
        *(
            ("Every loan counts for itself; --later says what a new borrower's later loans bring.",)
            if asked.later == 0
            else (
                f"Only first loans are set against the cost; a new borrower's later loans are taken to bring"
                f" {asked.later:,.2f}{asked.later_by and f', {asked.later_by}'}.",
            )
        ),
    )


def _nothing(book: LoanBook, method: str, as_of: datetime | None) -> Advice:
    why = (
        "No campaign has a cost: bring in spend first."
        if not book.campaigns
        else f"Fewer than {LEAST_LOST} loans are lost, or old enough: nothing can be said yet."
    )
    empty = _cohort_table((), ())
    return Advice(
        title=f"Bids and budgets in {book.currency}, {book.binding.replace('_', ' ')}",
        as_of=as_of,
        method=method,
        currency=book.currency,
        bids=table("Bids and budgets by campaign", columns("channel campaign advice"), ()),
        cohorts=empty,
        rolls=_rolls_table(book, None),
        notes=(*book.notes, why),
    )
