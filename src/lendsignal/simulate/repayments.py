"""How loans are paid back: on time, early, late, in parts, after an extension, or not at all.

Every column has one row a loan; columns of instalments have a second axis (the schedule's order), those of
payments a third (an optional first part, then the rest). Moments are milliseconds UTC, days are local days
since 1970, amounts whole units of the currency; `NEVER` marks what does not happen.
"""

from dataclasses import dataclass, fields

import numpy as np

from lendsignal.simulate.chance import NEVER, Flags, Floats, Ints, chosen, logistic, logit
from lendsignal.simulate.localtime import DAY, HOUR, MINUTE, LocalTime, daytime
from lendsignal.simulate.parameters import Parameters


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaying:
    """What becomes of each loan after it was paid out.

    `planned_day` is the schedule given at disbursement, `due_day` the one in force after an extension.
    `bounced_at` reverses the closing payment, which is made again at `again_at`.
    `received` is all the money that comes back, extension fees and recoveries included.
    """

    instalments: Ints
    planned_day: Ints
    due_day: Ints
    instalment: Ints
    paid_at: Ints
    paid: Ints
    paid_fee: Ints
    outstanding: Ints
    bounced_at: Ints
    again_at: Ints
    extended_at: Ints
    extension_fee: Ints
    overdue_at: Ints
    overdue_outstanding: Ints
    defaulted_at: Ints
    defaulted_outstanding: Ints
    recovered_at: Ints
    recovered: Ints
    closed_at: Ints
    received: Ints
    default_probability: Floats

    @staticmethod
    def joined(rounds: "list[Repaying]") -> "Repaying":
        """The loans of all rounds, one after the other."""
        names = [field.name for field in fields(Repaying)]
        return Repaying(**{name: np.concatenate([getattr(r, name) for r in rounds]) for name in names})

    def reordered(self, order: Ints) -> "Repaying":
        """The same loans in another order."""
        return Repaying(**{field.name: getattr(self, field.name)[order] for field in fields(Repaying)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Payments:
    """One row a payment, in the order of time; `closes` says that nothing is owed after it."""

    loan: Ints
    at: Ints
    amount: Ints
    fee: Ints
    outstanding: Ints
    due_day: Ints
    closes: Flags
    bounced_at: Ints


def repaying_of(
    parameters: Parameters,
    rng: np.random.Generator,
    local: LocalTime,
    quality: Floats,
    number: Ints,
    term: Ints,
    amount: Ints,
    fee: Ints,
    at: Ints,
    *,
    undone: Flags,
) -> Repaying:
    """The fate of loans disbursed `at`; those that are `undone` (reversed, cancelled) are never paid back."""
    settings, m = parameters.repayments, len(at)
    width = max(1, max(parameters.loans.term_days) // 30)
    step = np.arange(width)
    n = np.maximum(1, term // 30)
    in_use = step < n[:, None]

    probability = logistic(
        settings.default_logit
        + settings.default_quality * quality
        + settings.default_loan * np.minimum(number, 4)
        + settings.default_long * (term >= 30)
    )
    bad = chosen(rng, probability, m) & ~undone
    first_unpaid = np.where(bad, np.floor(rng.random(m) * n), n).astype(np.int64)
    first_unpaid = np.where(undone, 0, first_unpaid)

    # The schedule, and its one extension.
    gap = np.where(n == 1, term, 30).astype(np.int64)
    planned: Ints = local.day(at)[:, None] + gap[:, None] * (step + 1)
    extends = chosen(rng, settings.extended, m) & (n == 1) & ~undone
    extended_at = np.maximum(local.moment((planned[:, 0] - 1) * DAY + daytime(rng, m)), at + HOUR)
    due = planned + settings.extension_days * extends[:, None]
    fees = _parts(fee, n, width)
    instalment = _parts(amount, n, width) + fees

    # When each instalment is paid, if it is.
    paid_at = _pay_days(parameters, rng, local, quality, at, due)
    at_once = chosen(rng, settings.all_at_once, m) & ~bad
    for i in range(1, width):
        soon = paid_at[:, i - 1] + rng.integers(20_000, 5 * MINUTE, m)
        paid_at[:, i] = np.where(at_once, soon, np.maximum(paid_at[:, i], soon))
    pays = in_use & (step < first_unpaid[:, None])

    # One payment or two for each.
    before = np.column_stack([at + HOUR // 2, paid_at[:, :-1]]) if width > 1 else (at + HOUR // 2)[:, None]
    in_two = (rng.random((m, width)) < settings.in_two_parts) & pays
    part = np.where(in_two, np.round(instalment * rng.uniform(0.3, 0.7, (m, width))), 0).astype(np.int64)
    earlier = paid_at - np.floor(rng.uniform(0.05, 0.5, (m, width)) * np.maximum(paid_at - before, 0)).astype(
        np.int64
    )
    piece = np.stack([part, np.where(pays, instalment - part, 0)], axis=2)
    piece_at = np.stack([np.where(in_two, earlier, NEVER), np.where(pays, paid_at, NEVER)], axis=2)
    part_fee = np.minimum(part, fees)
    piece_fee = np.stack([part_fee, np.where(pays, fees - part_fee, 0)], axis=2)
    total = amount + fee
    outstanding = total[:, None, None] - np.cumsum(piece.reshape(m, 2 * width), axis=1).reshape(m, width, 2)

    # The closing payment may bounce and is then made again.
    closing = paid_at[np.arange(m), n - 1]
    good = ~bad & ~undone
    bounces = chosen(rng, settings.bounced, m) & good
    bounced_at = np.where(bounces, closing + rng.integers(2 * HOUR, 20 * HOUR, m), NEVER)
    again_at = np.where(bounces, bounced_at + rng.integers(HOUR, 48 * HOUR, m), NEVER)
    closed_at = np.where(good, np.where(bounces, again_at, closing), NEVER)

    # What is told while it is not paid.
    dpd = np.array(settings.overdue_days, dtype=np.int64)
    told = local.midnight((due[:, :, None] + dpd).reshape(-1)).reshape(m, width, len(dpd))
    told = told + 2 * HOUR + rng.integers(0, 20 * MINUTE, (m, 1, 1))
    unpaid = np.where(pays, paid_at, NEVER)[:, :, None] > told
    concerned = in_use & (step <= first_unpaid[:, None]) & ~undone[:, None]
    overdue = unpaid & concerned[:, :, None] & (dpd < settings.default_after_days)
    owed_before = (total[:, None] - np.cumsum(np.where(pays, instalment, 0), axis=1)) + np.where(
        pays, instalment, 0
    )
    part_in = np.where(piece_at[:, :, :1] < told, part[:, :, None], 0)

    # What happens when it is not paid at all.
    unpaid_due = due[np.arange(m), np.minimum(first_unpaid, n - 1)]
    written_off = local.midnight(unpaid_due + settings.default_after_days) + 2 * HOUR + 30 * MINUTE
    lost = owed_before[np.arange(m), np.minimum(first_unpaid, n - 1)]
    recovers = bad & chosen(rng, settings.recovered, m)
    wait = 1 + np.floor(rng.exponential(settings.recovery_days, m)).astype(np.int64)
    back = local.moment((local.day(written_off) + wait) * DAY + daytime(rng, m))
    recovered = np.where(recovers, np.maximum(1, np.round(lost * rng.uniform(0.2, 1.0, m))), 0).astype(
        np.int64
    )

    extension_fee = np.where(extends, np.maximum(1, np.round(amount * settings.extension_fee)), 0).astype(
        np.int64
    )
    return Repaying(
        instalments=n,
        planned_day=planned,
        due_day=due,
        instalment=np.where(in_use, instalment, 0),
        paid_at=piece_at,
        paid=piece,
        paid_fee=piece_fee,
        outstanding=outstanding,
        bounced_at=bounced_at,
        again_at=again_at,
        extended_at=np.where(extends & (closed_at > extended_at), extended_at, NEVER),
        extension_fee=extension_fee,
        overdue_at=np.where(overdue, told, NEVER),
        overdue_outstanding=owed_before[:, :, None] - part_in,
        defaulted_at=np.where(bad, written_off, NEVER),
        defaulted_outstanding=lost,
        recovered_at=np.where(recovers, back, NEVER),
        recovered=recovered,
        closed_at=closed_at,
        received=piece.sum(axis=(1, 2)) + recovered + extension_fee,
        default_probability=probability,
    )


def payments_of(repaying: Repaying) -> Payments:
    """Every payment of every loan, bounced ones and their repetition included, in the order of time."""
    loan, i, piece = np.nonzero(repaying.paid_at != NEVER)
    closing = (i == repaying.instalments[loan] - 1) & (piece == 1)
    again = np.flatnonzero(repaying.again_at != NEVER)
    final = repaying.instalments[again] - 1
    at = np.concatenate([repaying.paid_at[loan, i, piece], repaying.again_at[again]])
    whole = np.concatenate([loan, again])
    order = np.lexsort((whole, at))
    return Payments(
        loan=whole[order],
        at=at[order],
        amount=np.concatenate([repaying.paid[loan, i, piece], repaying.paid[again, final, 1]])[order],
        fee=np.concatenate([repaying.paid_fee[loan, i, piece], repaying.paid_fee[again, final, 1]])[order],
        outstanding=np.concatenate(
            [repaying.outstanding[loan, i, piece], repaying.outstanding[again, final, 1]]
        )[order],
        due_day=np.concatenate([repaying.due_day[loan, i], repaying.due_day[again, final]])[order],
        closes=np.concatenate([closing, np.ones(len(again), dtype=np.bool_)])[order],
        bounced_at=np.concatenate(
            [np.where(closing, repaying.bounced_at[loan], NEVER), np.full(len(again), NEVER)]
        )[order],
    )


def _parts(whole: Ints, n: Ints, width: int) -> Ints:
    """`whole` cut into `n` equal parts, the last one taking what does not divide; zeros beyond."""
    step = np.arange(width)
    equal = (whole // n)[:, None]
    rest = whole - (whole // n) * (n - 1)
    final = step == n[:, None] - 1
    return np.asarray(np.where(step < n[:, None] - 1, equal, np.where(final, rest[:, None], 0)))


def _pay_days(
    parameters: Parameters, rng: np.random.Generator, local: LocalTime, quality: Floats, at: Ints, due: Ints
) -> Ints:
    """When each instalment would be paid: early, on its day, or late; never in the hour after `at`."""
    settings, (m, width) = parameters.repayments, due.shape
    worst = max(1, settings.default_after_days - 7)
    late_share = logistic(logit(settings.late) + settings.late_quality * quality)[:, None]
    late = rng.random((m, width)) < late_share
    late_by = np.minimum(1 + np.floor(rng.exponential(settings.late_days - 0.5, (m, width))), worst)
    same = rng.random((m, width)) < settings.same_day
    early_by = 1 + np.floor(rng.exponential(settings.early_days, (m, width)))
    day = due + np.where(late, late_by, np.where(same, 0, -early_by)).astype(np.int64)
    paid = local.moment((day * DAY).reshape(-1) + daytime(rng, m * width)).reshape(m, width)
    return np.asarray(np.maximum(paid, (at + HOUR + rng.integers(0, DAY, m))[:, None]))
