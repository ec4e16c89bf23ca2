"""Value where history is shorter than the horizon: loan after loan, each as likely as loans like it were.

Every loan ends in one of three ways: it is lost, it is repaid and the user leaves, it is repaid and the user
borrows again. What falls due within the horizon H adds up:

    V = Σ_k A_k · [(1 − h_D) φ a_k − h_D · LGD · a_k − cost_k] · 1{due_k ≤ H}
    A_1 = P(first loan),   A_(k+1) = A_k (1 − h_D) h_R,   a_(k+1) = γ a_k,   due_(k+1) = due_k + gap + term

h_D(x, k) = P(loss) and h_R(x, k) = P(borrows again) are boosted trees on loans whose end is known, with k as
one more fact (5th and later loans alike). φ is the fee by term, LGD the part of a lost loan's principal that
is gone, γ the growth of amounts, each of the loans seen. Borrowing again is looked for within `SOON` and
raised by the part that comes later, which the gaps of older loans tell.
"""

from typing import Any

import numpy as np
from msgspec import Struct

from lendsignal.errors import LendsignalError
from lendsignal.value.boosting import Columns, columns_of, grown, predicted_of
from lendsignal.value.users import Floats, Loans, Part, Truths, Users
from lendsignal.value.worth import Trees

SOON = 14.0
"""Days after a loan's end within which borrowing again is looked for."""

ALIKE_FROM = 4
"""Loans from this number on (the first is 0) count as alike."""

LEAST_LOANS = 500
"""Loans with a known end below which nothing is fitted."""

AT_MOST = 40
"""Loans of one user that are added up: with a term of a week that is most of a year."""


class TooFewLoans(LendsignalError):
    """Loans of which too few have a known end."""


class Chain(Struct, frozen=True):
    """What loans like these do: see the module. Hazards are user by user and number (0 … 4 and later)."""

    begins: Floats
    lost: Floats
    again: Floats
    fee: Floats
    term: Floats
    amount: Floats
    loss: float
    growth: float
    gap: float
    cost: float


def expected(users: Users, horizon_days: float, apart: Truths) -> Part:
    """What every user is expected to bring by the horizon. Raises `TooFewLoans`."""
    total = added_up(chain_of(users, apart), horizon_days)
    return Part(np.ones(len(users), dtype=np.bool_), total, horizon_days)


def chain_of(users: Users, apart: Truths) -> Chain:
    """The hazards of these users' loans, and what loans bring and cost on average."""
    loans = users.loans
    ended = ~np.isnan(loans.lost)
    if int(ended.sum()) < LEAST_LOANS:
        raise TooFewLoans(f"{int(ended.sum()):,} loans with a known end; {LEAST_LOANS:,} are needed")
    columns = columns_of(users)
    lost = (np.nan_to_num(loans.lost) > 0).astype(np.float64)
    later = _later(loans, users.followed)
    paid_back = np.flatnonzero(np.isfinite(loans.ended) & later.watched)
    again = later.soon[paid_back].astype(np.float64)
    begun, began = _begun(users)
    terms, first = _terms(users), loans.number == 0
    fee_rate = _by_term(loans, loans.fee / np.maximum(loans.amount, 1e-9))
    gone = ended & (lost > 0)
    usual = float(np.median(loans.amount))
    amount = np.full(len(users), float(loans.amount[first].mean()) if first.any() else usual)
    amount[loans.user[first]] = loans.amount[first]
    settled = np.nan_to_num(loans.result[ended])
    # What is neither the fee nor the loss is cost.
    cost = (loans.fee * (lost == 0) - np.nan_to_num(loans.lost))[ended] - settled
    return Chain(
        begins=_hazard(columns, begun, began, apart),
        lost=_hazard_by_number(columns, loans, np.flatnonzero(ended), lost[ended], apart),
        again=np.clip(_hazard_by_number(columns, loans, paid_back, again, apart) * later.raised, 0, 0.999),
        fee=fee_rate(terms),
        term=terms,
        amount=amount,
        loss=float(np.sum(loans.lost[gone]) / np.sum(loans.amount[gone])) if gone.any() else 0.0,
        growth=later.growth,
        gap=later.gap,
        cost=float(cost.mean()),
    )


def added_up(chain: Chain, horizon_days: float) -> Floats:
    """V of every user: the sum over loans that fall due within the horizon."""
    total = np.zeros(len(chain.begins))
    alive, amount, due = chain.begins.copy(), chain.amount.copy(), chain.term.copy()
    for number in range(AT_MOST):
        kind = min(number, ALIKE_FROM)
        inside = due <= horizon_days
        if not inside.any():
            break
        lost = chain.lost[:, kind]
        result = (1 - lost) * chain.fee * amount - lost * chain.loss * amount - chain.cost
        total += np.where(inside, alive * result, 0.0)
        alive = alive * (1 - lost) * chain.again[:, kind]
        amount = amount * chain.growth
        due = due + chain.gap + chain.term
    return total


class _Later(Struct, frozen=True):
    """What became of borrowers: who was watched for long enough and who came back soon, and averages."""

    watched: Truths
    soon: Truths
    raised: float
    growth: float
    gap: float


def _later(loans: Loans, followed: Floats) -> _Later:
    """`raised` is by how much borrowing again is more frequent than it is soon: S(SOON) over what remains of
    the gaps, each as long as it can be seen (product limit of E. Kaplan and P. Meier, JASA 53, 1958)."""
    follows = np.zeros(len(loans.user), dtype=np.bool_)
    follows[:-1] = (loans.user[1:] == loans.user[:-1]) & (loans.number[1:] == loans.number[:-1] + 1)
    following = np.flatnonzero(follows)
    gap = np.full(len(loans.user), np.inf)
    gap[following] = np.maximum(loans.opened[following + 1] - loans.ended[following], 0.0)
    back = np.isfinite(loans.ended)
    left = np.maximum(followed[loans.user] - np.where(back, loans.ended, 0.0), 0.0)
    watched = back & (left >= SOON)
    soon = gap <= SOON
    seen = back & np.isfinite(gap)
    growth = loans.amount[following + 1] / np.maximum(loans.amount[following], 1e-9)
    return _Later(
        watched=watched,
        soon=soon,
        raised=_raised(gap[back], left[back]),
        growth=float(np.median(growth)) if len(growth) else 1.0,
        gap=float(gap[seen].mean()) if seen.any() else SOON,
    )


def _raised(gap: Floats, left: Floats) -> float:
    """P(ever within what can be seen) / P(within `SOON`)."""
    time = np.minimum(gap, left)
    event = gap <= left
    order = np.argsort(time, kind="stable")
    at_risk = np.arange(len(order), 0, -1)
    survives = np.cumprod(1 - event[order] / at_risk)
    trusted = at_risk >= 50
    if not trusted.any():
        return 1.0
    soon = int(np.searchsorted(time[order], SOON, side="right"))
    last = int(np.flatnonzero(trusted)[-1])
    if soon == 0 or survives[min(soon, last) - 1] >= 1:
        return 1.0
    return float((1 - survives[last]) / (1 - survives[min(soon, last) - 1]))


def _begun(users: Users) -> tuple[Any, Floats]:
    """The users who could have had a first loan by now, and whether they had."""
    had = np.zeros(len(users))
    first = users.loans.number == 0
    had[users.loans.user[first]] = users.loans.opened[first] <= SOON
    rows = np.flatnonzero(users.followed >= SOON)
    return rows, had[rows]


def _terms(users: Users) -> Floats:
    """The term of each user's first loan, else what the grant says, else the usual one."""
    loans = users.loans
    usual = float(np.median(loans.term))
    terms = np.full(len(users), usual)
    told = users.numbers.get("term_days")
    if told is not None:
        terms = np.where(np.isnan(told.values), usual, told.values)
    first = loans.number == 0
    terms[loans.user[first]] = loans.term[first]
    found: Floats = np.maximum(terms, 1.0)
    return found


def _by_term(loans: Loans, values: Floats) -> Any:
    """The mean of loans of a term, as a function of terms."""
    terms, place = np.unique(loans.term, return_inverse=True)
    means = np.bincount(place, weights=values) / np.bincount(place)
    return lambda wanted: means[np.clip(np.searchsorted(terms, wanted), 0, len(terms) - 1)]


def _hazard(columns: Columns, rows: Any, happened: Floats, apart: Truths) -> Floats:
    """P of something that happens to a user once, for every user."""
    if not len(rows) or np.ptp(happened) == 0:
        return np.full(len(columns.matrix), float(happened.mean()) if len(rows) else 1.0)
    trees = grown(columns, rows, happened, apart[rows], "binary")
    model = Trees(numbers=columns.numbers, words=columns.words, trees=tuple(trees))
    return _sigma(predicted_of(model, columns.matrix))


def _hazard_by_number(columns: Columns, loans: Loans, which: Any, happened: Floats, apart: Truths) -> Floats:
    """P of something that happens to a loan, for every user and number of loan."""
    kinds = ALIKE_FROM + 1
    if not len(which) or np.ptp(happened) == 0:
        return np.full((len(columns.matrix), kinds), float(happened.mean()) if len(which) else 0.0)
    who = loans.user[which]
    number = np.minimum(loans.number[which], ALIKE_FROM).astype(np.float64)
    with_number = _beside(columns, columns.matrix[who], number)
    trees = grown(with_number, np.arange(len(which)), happened, apart[who], "binary")
    model = Trees(numbers=with_number.numbers, words=with_number.words, trees=tuple(trees))
    found = np.empty((len(columns.matrix), kinds))
    for kind in range(kinds):
        asked = _beside(columns, columns.matrix, np.full(len(columns.matrix), kind))
        found[:, kind] = _sigma(predicted_of(model, asked.matrix))
    return found


def _beside(columns: Columns, matrix: Floats, number: Any) -> Columns:
    """The columns with the number of the loan in front."""
    return Columns(np.column_stack([number, matrix]), ("number", *columns.numbers), columns.words)


def _sigma(logit: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(logit, -35, 35)))
    return found
