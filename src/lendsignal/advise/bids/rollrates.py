"""Roll rates: what a loan's state today says of its end, learnt from how instalments were paid before.

A loan stands at its earliest unpaid instalment. Let S(x) be the part of such instalments that are still
unpaid at the end of the day x days past due (negative: before), over all that were watched that long, young
ones included (Kaplan and Meier, JASA 53 (1958) 457–481). From one bucket of days past due to the next rolls
S(its last day) / S(the last day before it), and who rolls out of the last bucket is lost. With f(x) the part
of the lost that are known to be by then, a loan not known to be, whose instalment k of n is unpaid at x, is
lost with the chance

    B(k, x) = R + (1 − R) · B(k + 1),   R = S(end) · (1 − f(x)) / (S(x) − S(end) · f(x)),

where B(k) = B(k, long before) and B(n + 1) = 0.

Each bucket's roll rate is that of its kind of loan and instalment, drawn by as much as chance explains of the
differences towards that of all, adjusted so that a loan in more parts is not lost more often for that. Within
a bucket days go as they do for all.
"""

from itertools import pairwise

import numpy as np
from msgspec import Struct

from lendsignal.advise.bids.evidence import Said
from lendsignal.advise.bids.posterior import Floats, Ints
from lendsignal.report.development import NEVER, STRENGTHS, curve_of, strength_weights

LAST_DAYS = (0, 3, 7, 15, 30)
"""The last day past due of each bucket but the last, which ends where nearly all lost loans are known."""

BUCKET_NAMES = ("0", "1-3", "4-7", "8-15", "16-30", "31+")

LEAST = 30
"""Lost loans, or loans at risk, below which nothing is learnt."""

AGES = (*range(0, 64, 3), *range(64, 401, 14))
"""Days since disbursement at which it is asked how much a loan's state tells."""

ENOUGH = 100_000
"""Loans of which that is asked: more tell nothing new."""

MOST_INSTALMENTS = 12
"""Later instalments are left out: who pays a dozen pays the rest."""


class Book(Struct, frozen=True, kw_only=True):
    """Loans and their instalments, as of one day. Days are whole numbers since 1970, of the loan's own app.

    A loan: `kind` (what rolls alike, from 0 on), `disbursed`, `bad_on` (`NEVER`: it is not lost). An
    instalment, a column of each (loans × most instalments): `due`, and `paid_on`, when all up to it was paid
    (`NEVER`: it is not yet); a loan with fewer has `NEVER` in both for those it lacks.
    """

    kind: Ints
    disbursed: Ints
    bad_on: Ints
    today: int
    due: Ints
    paid_on: Ints

    @property
    def instalments(self) -> Ints:
        """How many each loan has."""
        return np.asarray((self.due < NEVER).sum(axis=1))


class Rolls(Struct, frozen=True):
    """What was learnt, by kind of loan and instalment.

    `rolls[kind, k, j]` is the share that rolls out of bucket j, and `seen` how many loans that is known from.
    `lost[kind, k, d]`: the chance that a loan is lost whose instalment k is unpaid `first + d` days past due.
    `tells[kind, a]`: how much of a loan's end its state tells at age `AGES[a]`, from 0 to 1.
    """

    rolls: Floats
    seen: Floats
    lost: Floats
    first: int
    tells: Floats

    @property
    def expected(self) -> Floats:
        """The share of each kind's loans that is lost."""
        return self.lost[:, 0, 0]


def rolls_of(book: Book) -> Rolls | None:
    """The roll rates of a book of loans; `None` where fewer than 30 are lost, or were watched long enough.

    Neither are there any where nobody is told to have paid: a lender may send losses alone.
    """
    book = _at_most(book)
    if not (book.paid_on < NEVER).any():
        return None
    watched = _watched(book)
    if watched is None:
        return None
    everyone, buckets = watched.shares()
    instalments = _most(book)
    rolls, seen = watched.rolls(everyone, buckets, instalments)
    lost = _chain(watched.unpaid(everyone, rolls, buckets), watched.known, instalments)
    found = Rolls(rolls, seen, lost, watched.first, np.ones((len(lost), len(AGES))))
    return Rolls(rolls, seen, lost, watched.first, _tells(book, found))


def by_roll_rates(book: Book, rolls: Rolls) -> Said:
    """What each loan says today.

    With p the share of its kind that is lost and q the chance by its state, the state tells the part e of the
    loan's end and adds q − p to what was expected: e·p + q − p lost loans out of e. (The score of a mixture's
    likelihood at p is (q − p) / p(1 − p), and its mean square, e / p(1 − p), the information: one step of
    Fisher's scoring.)
    """
    book = _at_most(book)
    expected = rolls.expected[book.kind]
    chance = _chances(book, rolls, np.full(len(book.kind), book.today))
    age = book.today - book.disbursed
    known = np.zeros(len(age))
    for kind, tells in enumerate(rolls.tells):
        mine = book.kind == kind
        known[mine] = np.interp(age[mine], AGES, tells)
    return Said(known, known * expected + chance - expected, expected)


class _Watched(Struct, frozen=True):
    """Instalments by cell (kind and number) and day past due: how many were at risk of being paid, and were.

    Arrays are kinds × instalments × days; the days begin with `first` and end where nearly all lost are
    known. `known`: of all lost ones the part that is known by each day.
    """

    first: int
    at_risk: Floats
    paid: Floats
    known: Floats

    def shares(self) -> tuple[Floats, list[slice]]:
        """S(x) of all cells together, and the days of each bucket."""
        at_risk, paid = self.at_risk.sum(axis=(0, 1)), self.paid.sum(axis=(0, 1))
        ends = [day - self.first + 1 for day in LAST_DAYS if day - self.first + 1 < len(at_risk)]
        edges = [0, *ends, len(at_risk)]
        empty = [slice(len(at_risk), len(at_risk))] * (len(LAST_DAYS) + 2 - len(edges))
        days = [slice(low, high) for low, high in pairwise(edges)]
        # One early payer must not say that all pay early: days with few at risk change nothing.
        stays = np.where(at_risk >= LEAST, 1 - paid / np.maximum(at_risk, 1), 1.0)
        return np.asarray(np.cumprod(np.maximum(stays, 1e-3)), dtype=np.float64), days + empty

    def rolls(self, everyone: Floats, buckets: list[slice], instalments: Ints) -> tuple[Floats, Floats]:
        """Each cell's roll rate of every bucket, and the number of loans that it is known from."""
        stays = 1 - self.paid / np.maximum(self.at_risk, 1)
        power = _in_parts(float(everyone[-1]), instalments, self.at_risk[:, :, 0].sum(axis=1))
        rates, seen = [], []
        for days in buckets:
            own = stays[:, :, days].prod(axis=2)
            cured = self.paid[:, :, days].sum(axis=2)
            last = self.at_risk[:, :, days.stop - 1] if days.stop > days.start else np.zeros_like(own)
            worth = np.where(cured > 0, cured / np.maximum(1 - own, 1e-9), last)
            rates.append(_blended(own * worth, worth, _over(everyone, days) ** power[:, None]))
            seen.append(worth)
        return np.stack(rates, axis=2), np.stack(seen, axis=2)

    def unpaid(self, everyone: Floats, rolls: Floats, buckets: list[slice]) -> Floats:
        """S(x) of each cell: its own roll rates, spread over a bucket's days as for all."""
        found = np.ones_like(self.at_risk)
        start = np.ones(rolls.shape[:2])
        for place, days in enumerate(buckets):
            if days.start == days.stop:
                continue
            before = everyone[days.start - 1] if days.start else 1.0
            pooled = _over(everyone, days)
            # To what power the days of all are to be raised, so that the bucket ends at the cell's own rate.
            power = np.log(rolls[:, :, place]) / np.log(pooled) if pooled < 1 else np.zeros_like(start)
            within = everyone[days] / before
            found[:, :, days] = start[:, :, None] * within[None, None, :] ** power[:, :, None]
            start = found[:, :, days.stop - 1]
        return found


def _over(everyone: Floats, days: slice) -> float:
    """The share of all that rolls over those days."""
    if days.start == days.stop:
        return 1.0
    before = everyone[days.start - 1] if days.start else 1.0
    return float(np.clip(everyone[days.stop - 1] / max(before, 1e-9), 1e-4, 1.0))


def _watched(book: Book) -> _Watched | None:
    bad_on = book.bad_on[:, None]
    there = book.due < NEVER
    paid_on = np.where(book.paid_on > bad_on, NEVER, book.paid_on)  # what comes after is a recovery
    before = np.concatenate([book.disbursed[:, None], paid_on[:, :-1]], axis=1)
    begun = there & (before <= book.today)
    due = np.where(there, book.due, 0)
    is_lost = begun & (paid_on == NEVER) & (bad_on < NEVER)
    ages = (bad_on - due)[is_lost]
    if len(ages) < LEAST:
        return None
    curve = curve_of(
        np.where(is_lost, bad_on - due, NEVER)[begun],
        np.where(is_lost, np.maximum(bad_on, book.today) - due, book.today - due)[begun],
    )
    if curve is None:
        return None
    last = max(int(np.quantile(ages, 0.99)), 1)
    first = int((book.disbursed[:, None] - due)[there].min())
    days = last - first + 1

    # Of later instalments only those whose borrowers have all had the time to come to them: who is there
    # already pays early.
    settled = np.concatenate([book.disbursed[:, None] - last, due[:, :-1]], axis=1) + last <= book.today
    begun &= settled
    cell = (book.kind[:, None] * book.due.shape[1] + np.arange(book.due.shape[1]))[begun]
    ends = np.clip(np.minimum(paid_on, book.today)[begun] - due[begun], first - 1, last) - first + 1
    is_paid = (paid_on[begun] <= book.today) & (paid_on[begun] - due[begun] <= last)
    shape = (int(book.kind.max()) + 1, book.due.shape[1], days + 1)

    def counted(mine: Ints, at: Ints) -> Floats:
        """How many of each cell on each day."""
        size = int(np.prod(shape))
        return np.bincount(mine * shape[2] + at, minlength=size).reshape(shape).astype(np.float64)

    ended = counted(cell, ends)
    at_risk = ended[:, :, ::-1].cumsum(axis=2)[:, :, ::-1][:, :, 1:]
    paid = counted(cell[is_paid], ends[is_paid])[:, :, 1:]
    known = np.minimum(curve.at(np.arange(first, last + 1)), 0.99)  # somebody is always late to be told of
    return _Watched(first, at_risk, paid, known) if at_risk[:, :, -1].sum() >= LEAST else None


def _in_parts(lost: float, instalments: Ints, loans: Floats) -> Floats:
    """To what power the roll rates of all are to be raised for each kind, before its own loans speak.

    A loan in more parts is not lost more often for that: with R the share of all instalments that are lost,
    of loans in n̄ parts on average, a part of n is lost with R_n = 1 − (1 − R)^(n̄/n).
    """
    lost = float(np.clip(lost, 1e-4, 1 - 1e-4))
    mean = float((instalments * loans).sum() / max(loans.sum(), 1e-9))
    return np.asarray(np.log(1 - (1 - lost) ** (mean / np.maximum(instalments, 1))) / np.log(lost))


def _blended(hits: Floats, seen: Floats, prior: Floats) -> Floats:
    """Each cell's share, drawn towards its prior by as much as chance explains of the differences."""
    means = np.broadcast_to(prior, seen.shape).ravel()
    if (means >= 1).all() or not seen.any():
        return means.reshape(seen.shape).copy()
    worth = np.maximum(seen.ravel(), 1e-9)
    well = np.minimum(hits.ravel(), worth)
    means = np.clip(means, 1e-4, 1 - 1e-4)
    weights = strength_weights(well, worth, np.tile(means, (len(STRENGTHS), 1)))
    s = STRENGTHS[:, None]
    return np.asarray((weights @ ((well + s * means) / (worth + s))).reshape(seen.shape))


def _most(book: Book) -> Ints:
    """How many instalments each kind has."""
    found = np.zeros(int(book.kind.max()) + 1, dtype=np.int64)
    np.maximum.at(found, book.kind, book.instalments)
    return found


def _chain(unpaid: Floats, known: Floats, instalments: Ints) -> Floats:
    """B(k, x) of the module's docstring, from the last instalment back."""
    found = np.zeros_like(unpaid)
    follows = np.zeros(len(unpaid))
    for k in reversed(range(unpaid.shape[1])):
        end = unpaid[:, k, -1:]
        rolls_out = end * (1 - known) / np.maximum(unpaid[:, k] - end * known, 1e-12)
        has = k < instalments
        found[:, k] = np.where(has[:, None], rolls_out + (1 - rolls_out) * follows[:, None], 0.0)
        whole = unpaid[:, k, -1]
        follows = np.where(has, whole + (1 - whole) * follows, follows)
    return found


def _chances(book: Book, rolls: Rolls, on: Ints) -> Floats:
    """The chance of each loan to be lost, by its state at the end of a day of its own."""
    unpaid = (book.paid_on > on[:, None]) & (book.due < NEVER)
    k = np.argmax(unpaid, axis=1)
    here = np.arange(len(k))
    is_open = unpaid[here, k]
    days = np.where(is_open, on - np.where(is_open, book.due[here, k], 0), 0)
    place = np.clip(days - rolls.first, 0, rolls.lost.shape[2] - 1)
    chance = np.where(is_open, rolls.lost[book.kind, k, place], 0.0)
    return np.where(book.bad_on <= on, 1.0, chance)


def _tells(book: Book, rolls: Rolls) -> Floats:
    """How much a state tells at each age: the part of a loan's variance that is known by then."""
    book = _every(book, max(len(book.kind) // ENOUGH, 1))
    kinds = len(rolls.lost)
    before = rolls.expected[book.kind]
    found = np.full((kinds, len(AGES)), np.nan)
    for place, age in enumerate(AGES):
        old = book.today - book.disbursed >= age
        count = np.bincount(book.kind[old], minlength=kinds)
        if not (count >= LEAST).any():
            break
        chance = _chances(book, rolls, book.disbursed + age)
        told = (chance - before) ** 2 / np.maximum(before * (1 - before), 1e-9)
        mean = np.bincount(book.kind[old], weights=told[old], minlength=kinds) / np.maximum(count, 1)
        found[:, place] = np.where(count >= LEAST, mean, np.nan)
    return _rising(found)


def _rising(tells: Floats) -> Floats:
    """Each kind's curve as one that never falls, from 0 to 1; ages that nobody has reached say no more."""
    from scipy.optimize import isotonic_regression  # here: it takes its time to load

    found = np.zeros_like(tells)
    for row, curve in enumerate(tells):
        known = ~np.isnan(curve)
        if known.any():
            rising = isotonic_regression(curve[known]).x
            found[row] = np.interp(np.arange(len(curve)), np.flatnonzero(known), rising)
    return np.clip(found, 0, 1)


def _every(book: Book, one: int) -> Book:
    """Every so many-th loan of the book."""
    return Book(
        kind=book.kind[::one],
        disbursed=book.disbursed[::one],
        bad_on=book.bad_on[::one],
        today=book.today,
        due=book.due[::one],
        paid_on=book.paid_on[::one],
    )


def _at_most(book: Book) -> Book:
    """The book with no more instalments a loan than are told apart: who has paid so many is through."""
    if book.due.shape[1] <= MOST_INSTALMENTS:
        return book
    return Book(
        kind=book.kind,
        disbursed=book.disbursed,
        bad_on=book.bad_on,
        today=book.today,
        due=book.due[:, :MOST_INSTALMENTS],
        paid_on=book.paid_on[:, :MOST_INSTALMENTS],
    )
