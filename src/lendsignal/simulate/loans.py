"""From the first application to the last loan: rounds of asking, deciding, paying out and paying back.

In each round every user who still wants money makes one application. A user's next round starts when the
last one is over, so that loans of one user never overlap (unless `applications.overlap` says so).
All rounds are computed for all users at once; times are milliseconds UTC.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lendsignal.simulate.chance import NEVER, Flags, Floats, Ints, chosen, dice, logistic, waits
from lendsignal.simulate.localtime import DAY, HOUR, SECOND, LocalTime, day_of
from lendsignal.simulate.parameters import Parameters
from lendsignal.simulate.people import People
from lendsignal.simulate.repayments import Repaying, repaying_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Applications:
    """One row an application, in the order of time. `NEVER` where a step does not happen.

    `needs_grant` is false for a repeat loan paid out under an earlier grant; it has no decision of its own.
    `amount` is what the user asks for.
    """

    user: Ints
    at: Ints
    review_started_at: Ints
    review_ended_at: Ints
    call_started_at: Ints
    call_ended_at: Ints
    decided_at: Ints
    needs_grant: Flags
    granted: Flags
    score: Floats
    second_score: Flags
    limit: Ints
    amount: Ints
    term: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Loans:
    """One row a loan, in the order of disbursement. Amounts are whole units of the currency.

    `grant` is the application that was granted for it, `application` the one that asked for it.
    `ended_at` is when it was closed, written off, reversed or cancelled. `margin` is what the lender earns
    on it in the end: fees received plus recoveries minus principal lost.
    """

    user: Ints
    application: Ints
    grant: Ints
    number: Ints
    at: Ints
    amount: Ints
    fee: Ints
    term: Ints
    default_probability: Floats
    defaults: Flags
    reversed_at: Ints
    cancelled_at: Ints
    ended_at: Ints
    margin: Ints
    repaying: Repaying


@dataclass(frozen=True, kw_only=True, slots=True)
class Book:
    """The lender's whole book, followed to the end of every loan, even past the end of the period."""

    applications: Applications
    loans: Loans


def book_of(parameters: Parameters, seed: int, people: People, local: LocalTime, end: int) -> Book:
    """Every application made before `end`, with what follows from it."""
    rng = dice(seed, "loans")
    asked: list[dict[str, Ints | Floats | Flags]] = []
    paid_out: list[dict[str, Ints | Floats | Flags]] = []
    repaying: list[Repaying] = []

    user = _who_applies(parameters, rng, people)
    at = local.awake(people.registered_at[user] + _first_wait(parameters, rng, len(user)), rng)
    repaid = np.zeros(len(user), dtype=np.int64)  # loans paid back so far
    taken = np.zeros(len(user), dtype=np.int64)  # loans disbursed so far
    grant = np.full(len(user), -1, dtype=np.int64)
    limit = np.zeros(len(user), dtype=np.int64)
    first_row = 0
    while True:
        now = at < end
        user, at, repaid, taken, grant, limit = (x[now] for x in (user, at, repaid, taken, grant, limit))
        if not len(user) and asked:
            break
        application = _decide(parameters, rng, people, local, user, at, repaid, grant)
        row = first_row + np.arange(len(user))
        first_row += len(user)
        needs, granted = application["needs_grant"].astype(bool), application["granted"].astype(bool)
        limit = np.where(granted & needs, application["limit"], limit)
        grant = np.where(granted & needs, row, grant)
        size = _size(parameters, rng, limit.astype(np.int64))
        term = _term(parameters, rng, taken)
        asked.append({**application, "user": user, "at": at, "amount": size, "term": term})

        take_up = logistic(parameters.loans.take_up_logit + parameters.loans.take_up_need * people.need[user])
        takes = granted & chosen(rng, take_up, len(user))
        t = np.flatnonzero(takes)
        decided = np.where(needs, application["decided_at"], at + 2 * SECOND).astype(np.int64)
        loan, paying = _pay_out(
            parameters, rng, people, local, user[t], decided[t], taken[t], repaid[t], size[t], term[t]
        )
        paid_out.append({**loan, "application": row[t], "grant": grant[t]})
        repaying.append(paying)

        next_at = np.full(len(user), NEVER, dtype=np.int64)
        refused, denied = granted & ~takes, ~granted
        again = chosen(rng, np.where(denied, parameters.applications.after_denial, 0.0), len(user))
        wait = waits(rng, parameters.applications.later, len(user))
        cooling = round(parameters.applications.denial_cooling_days * DAY)
        next_at = np.where(again, decided + cooling + wait, next_at)
        again = refused & chosen(rng, parameters.applications.after_refusal, len(user))
        next_at = np.where(again, decided + 10 * HOUR + wait, next_at)
        next_at[t] = _next_application(parameters, rng, people, loan, paying)
        finished = np.zeros(len(user), dtype=np.int64)
        finished[t] = paying.closed_at != NEVER
        went = np.zeros(len(user), dtype=np.int64)
        went[t] = 1
        repaid, taken = repaid + finished, taken + went
        at = np.where(next_at < end, local.awake(np.minimum(next_at, end), rng), next_at)
        if parameters.applications.overlap:  # the early ones do not wait for the morning
            at = np.where(next_at < decided, decided, at)
    return _in_order(asked, paid_out, repaying)


def _who_applies(parameters: Parameters, rng: np.random.Generator, people: People) -> Ints:
    settings = parameters.applications
    share = logistic(settings.apply_logit + settings.apply_need * people.need)
    return np.flatnonzero(chosen(rng, share, len(people))).astype(np.int64)


def _first_wait(parameters: Parameters, rng: np.random.Generator, count: int) -> Ints:
    settings = parameters.applications
    soon = chosen(rng, settings.soon_share, count)
    return 30 * SECOND + np.where(soon, waits(rng, settings.soon, count), waits(rng, settings.later, count))


def _decide(
    parameters: Parameters,
    rng: np.random.Generator,
    people: People,
    local: LocalTime,
    user: Ints,
    at: Ints,
    repaid: Ints,
    grant: Ints,
) -> dict[str, Ints | Floats | Flags]:
    """Score, way of decision, its steps and its end, for one application of each user."""
    settings, scoring, count = parameters.decisions, parameters.scoring, len(user)
    repeat = grant >= 0
    needs = ~repeat | chosen(rng, settings.repeat_needs_grant, count)
    share = np.where(repeat, settings.manual_repeat, settings.manual_first)
    manual = needs & chosen(rng, share, count)
    calls = manual & chosen(rng, settings.phone_check, count)

    def office(moment: Ints) -> Ints:
        return local.next_open(moment, settings.opens_hour, settings.closes_hour, settings.weekends)

    started = office(at) + waits(rng, settings.queue, count)
    ended = started + waits(rng, settings.review, count)
    call = office(ended + waits(rng, settings.phone_wait, count))
    call_ended = call + waits(rng, settings.phone_call, count)
    automatic = at + 2 * SECOND + waits(rng, settings.automatic, count)
    decided = np.where(calls, call_ended, np.where(manual, ended, automatic)) + rng.integers(
        500, 8_000, count
    )

    sd = (
        scoring.quality * people.quality[user]
        + scoring.noise * people.luck[user]
        + scoring.need * people.need[user]
        + scoring.history * np.minimum(repaid, 5)
        + 0.1 * rng.standard_normal(count)  # what changed on the phone since the last time
    )
    switch = scoring.second_version_from_day
    born = local.midnight(np.array([day_of(parameters.period.start) + switch]))[0]
    second = (at >= born) & (switch > 0)
    score = np.round(scoring.centre + scoring.points * sd, 1)
    granted = ~needs | (score >= scoring.cut_off)
    loans = parameters.loans
    limit = loans.first_limit * np.exp(loans.limit_per_score * sd) * loans.growth**repaid
    return {
        "review_started_at": np.where(manual, started, NEVER),
        "review_ended_at": np.where(manual, ended, NEVER),
        "call_started_at": np.where(calls, call, NEVER),
        "call_ended_at": np.where(calls, call_ended, NEVER),
        "decided_at": np.where(needs, decided, NEVER),
        "needs_grant": needs,
        "granted": granted,
        "score": score + second * scoring.second_version_shift,
        "second_score": second,
        "limit": _rounded(parameters, limit),
    }


def _size(parameters: Parameters, rng: np.random.Generator, limit: Ints) -> Ints:
    """What is asked for: most of the limit, often all of it."""
    return _rounded(parameters, limit * np.minimum(1.0, rng.uniform(0.6, 1.4, len(limit))))


def _rounded(parameters: Parameters, amount: Floats | Ints) -> Ints:
    loans = parameters.loans
    steps = np.round(np.clip(amount, loans.smallest, loans.largest) / loans.step)
    return np.asarray(steps * loans.step).astype(np.int64)


def _term(parameters: Parameters, rng: np.random.Generator, taken: Ints) -> Ints:
    """Terms by loan number: first weights at the first loan, later weights from the sixth on."""
    loans = parameters.loans
    first = np.array(loans.first_weights, dtype=np.float64) / sum(loans.first_weights)
    later = np.array(loans.later_weights, dtype=np.float64) / sum(loans.later_weights)
    part = np.minimum(taken, 5)[:, None] / 5
    edges = np.cumsum((1 - part) * first + part * later, axis=1)
    pick = (rng.random(len(taken))[:, None] * edges[:, -1:] >= edges).sum(axis=1)
    terms: Ints = np.array(loans.term_days, dtype=np.int64)
    return np.asarray(terms[np.minimum(pick, len(terms) - 1)])


def _pay_out(
    parameters: Parameters,
    rng: np.random.Generator,
    people: People,
    local: LocalTime,
    user: Ints,
    decided: Ints,
    taken: Ints,
    repaid: Ints,
    amount: Ints,
    term: Ints,
) -> tuple[dict[str, Ints | Floats | Flags], Repaying]:
    """The loans of one round and their repayment."""
    settings, count = parameters.loans, len(user)
    at = decided + SECOND + waits(rng, settings.payout, count)
    shares = np.array(settings.fee_shares)[np.searchsorted(settings.term_days, term)]
    share = np.maximum(shares - settings.fee_step * repaid, np.minimum(shares, settings.smallest_fee))
    fee = np.round(amount * share).astype(np.int64)
    luck = rng.random(count)
    reverses = luck < settings.reversed
    cancels = ~reverses & (luck < settings.reversed + settings.cancelled)
    reversed_at = np.where(reverses, at + rng.integers(10 * 60 * SECOND, 8 * HOUR, count), NEVER)
    cancelled_at = np.where(cancels, at + rng.integers(HOUR, DAY, count), NEVER)
    undone = reverses | cancels
    number = taken + 1
    paying = repaying_of(
        parameters, rng, local, people.quality[user], number, term, amount, fee, at, undone=undone
    )
    ended = np.minimum(
        np.minimum(paying.closed_at, paying.defaulted_at), np.minimum(reversed_at, cancelled_at)
    )
    loan: dict[str, Ints | Floats | Flags] = {
        "user": user,
        "number": number,
        "at": at,
        "amount": amount,
        "fee": fee,
        "term": term,
        "default_probability": paying.default_probability,
        "defaults": paying.defaulted_at != NEVER,
        "reversed_at": reversed_at,
        "cancelled_at": cancelled_at,
        "ended_at": ended,
        "margin": np.where(undone, 0, paying.received - amount),
    }
    return loan, paying


def _next_application(
    parameters: Parameters,
    rng: np.random.Generator,
    people: People,
    loan: dict[str, Ints | Floats | Flags],
    paying: Repaying,
) -> Ints:
    """When each borrower asks again; `NEVER` for those who do not, or who defaulted."""
    settings = parameters.applications
    need = people.need[loan["user"].astype(np.int64)]
    count = len(need)
    again = chosen(rng, logistic(settings.reborrow_logit + settings.reborrow_need * need), count)
    gap = 20 * SECOND + waits(rng, settings.reborrow, count)
    undone = (paying.closed_at == NEVER) & (paying.defaulted_at == NEVER)
    overlaps = chosen(rng, settings.overlap, count) & ~undone
    gap = np.where(overlaps, -rng.integers(SECOND, HOUR, count), gap)
    ended = loan["ended_at"].astype(np.int64)
    again &= paying.defaulted_at == NEVER
    return np.where(again, np.minimum(ended, NEVER // 2) + gap, NEVER)


def _in_order(
    asked: list[dict[str, Ints | Floats | Flags]],
    paid_out: list[dict[str, Ints | Floats | Flags]],
    repaying: list[Repaying],
) -> Book:
    """All rounds as two tables in the order of time, with the references between them renumbered."""
    applications = _joined(asked)
    order = np.lexsort((applications["user"], applications["at"]))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    loans = _joined(paid_out)
    later = np.lexsort((loans["user"], loans["at"]))
    for name in ("application", "grant"):
        loans[name] = place[loans[name]]
    return Book(
        applications=Applications(**{name: column[order] for name, column in applications.items()}),
        loans=Loans(
            **{name: column[later] for name, column in loans.items()},
            repaying=Repaying.joined(repaying).reordered(later),
        ),
    )


def _joined(rounds: list[dict[str, Ints | Floats | Flags]]) -> dict[str, Any]:
    return {name: np.concatenate([columns[name] for columns in rounds]) for name in rounds[0]}
