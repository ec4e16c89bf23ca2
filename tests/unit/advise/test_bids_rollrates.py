"""Roll rates beside books that can be counted by hand, and beside worlds whose truth is known."""

import numpy as np
import pytest

from lendsignal.advise.bids.posterior import Ints
from lendsignal.advise.bids.rollrates import BUCKET_NAMES, Book, Rolls, by_roll_rates, rolls_of
from lendsignal.report.development import NEVER

TERM = 14


def book(*fates: tuple[int, int | None, int | None, int], today: int = 0) -> Book:
    """Loans of 14 days: how many, days past due when paid and when lost, days since they were due."""
    paid_on, bad_on, due = [], [], []
    for count, paid, bad, age in fates:
        due += [-age] * count
        paid_on += [NEVER if paid is None else paid - age] * count
        bad_on += [NEVER if bad is None else bad - age] * count
    days = np.array(due, dtype=np.int64)
    return Book(
        kind=np.zeros(len(days), dtype=np.int64),
        disbursed=days - TERM,
        bad_on=np.array(bad_on, dtype=np.int64),
        today=today,
        due=days[:, None],
        paid_on=np.array(paid_on, dtype=np.int64)[:, None],
    )


OLD = ((600, 0, None, 60), (200, 2, None, 60), (60, 6, None, 60), (40, 20, None, 60), (100, None, 40, 60))
"""A thousand loans, all long due: 600 paid when due, 200 on day 2, 60 on day 6, 40 on day 20, 100 lost."""


def learnt(found: Rolls | None) -> Rolls:
    assert found is not None
    return found


def test_the_rates_of_a_book_of_one_kind_are_those_that_are_counted() -> None:
    found = learnt(rolls_of(book(*OLD)))

    # 400 of 1000 are late; of these 200, 140 and again 140 roll on; of 140 100; of 100 all.
    assert found.rolls[0, 0] == pytest.approx([0.4, 0.5, 0.7, 1.0, 100 / 140, 1.0], abs=0.002)
    assert found.expected == pytest.approx([0.1], abs=0.001)


def test_the_longer_a_loan_is_late_the_likelier_it_is_lost() -> None:
    whole = book(*OLD, (1, None, None, -3), (1, None, None, 1), (1, None, None, 5), (1, None, None, 25))
    said = by_roll_rates(whole, learnt(rolls_of(whole)))
    # What is known, times what was expected, plus what the state adds to it: bad = known · p + q − p.
    chance = (said.bad + said.expected - said.known * said.expected)[-4:]

    # Not due: 100 of 1000. One day late: of 400. Five days late: of 200. 25 days late: all.
    assert chance == pytest.approx([0.1, 0.25, 0.5, 1.0], abs=0.01)


def test_a_paid_loan_is_known_not_to_be_lost_and_a_lost_one_to_be() -> None:
    whole = book(*OLD)
    said = by_roll_rates(whole, learnt(rolls_of(whole)))

    assert said.known == pytest.approx(np.ones(1_000), abs=0.001)
    assert said.bad[:900] == pytest.approx(np.zeros(900), abs=0.001)
    assert said.bad[900:] == pytest.approx(np.ones(100), abs=0.001)


def test_young_loans_that_were_paid_early_do_not_make_the_others_look_good() -> None:
    # Not due for another four days; half of them paid long before.
    early = ((500, -10, None, -4), (500, None, None, -4))
    with_young = learnt(rolls_of(book(*OLD, (50, -10, None, 60), (50, None, 40, 60), *early)))
    without = learnt(rolls_of(book(*OLD, (50, -10, None, 60), (50, None, 40, 60))))

    assert with_young.expected[0] < without.expected[0]
    # Nobody who is open is thought better of than what was seen of those who were open then.
    assert with_young.rolls[0, 0, 1:] == pytest.approx(without.rolls[0, 0, 1:])


def test_what_is_said_of_all_loans_adds_up_to_what_becomes_of_them() -> None:
    rng = np.random.default_rng(5)
    n = 40_000
    lost = rng.random(n) < 0.15
    age = rng.integers(-TERM, 60, n)
    paid_at = np.where(rng.random(n) < 0.4, rng.geometric(0.25, n), -rng.integers(0, 4, n))
    told_at = rng.integers(2, 30, n)
    whole = Book(
        kind=np.zeros(n, dtype=np.int64),
        disbursed=-age - TERM,
        bad_on=np.where(lost & (told_at <= age), told_at - age, NEVER),
        today=0,
        due=-age[:, None],
        paid_on=np.where(~lost & (paid_at <= age), paid_at - age, NEVER)[:, None],
    )
    rolls = learnt(rolls_of(whole))
    said = by_roll_rates(whole, rolls)
    young = age < 20
    # Four standard errors of 15 % of so many loans.
    near = 4 * (0.15 * 0.85 / n) ** 0.5

    assert rolls.expected[0] == pytest.approx(0.15, abs=near)
    assert said.bad[young].sum() / said.known[young].sum() == pytest.approx(0.15, abs=5 * near)
    assert said.bad.sum() / said.known.sum() == pytest.approx(0.15, abs=2 * near)


def two_instalments() -> Book:
    """400 loans in two parts: 40 never pay the first, and 36 of the others not the second."""
    due = np.tile(np.array([-90, -60], dtype=np.int64), (400, 1))
    paid_on: Ints = due.copy()
    paid_on[:40] = NEVER
    paid_on[40:76, 1] = NEVER
    bad_on = np.full(400, NEVER)
    bad_on[:40], bad_on[40:76] = -60, -30
    return Book(
        kind=np.zeros(400, dtype=np.int64),
        disbursed=np.full(400, -120),
        bad_on=bad_on,
        today=0,
        due=due,
        paid_on=paid_on,
    )


def test_who_has_paid_the_first_part_is_judged_by_the_second() -> None:
    found = learnt(rolls_of(two_instalments()))

    # 76 of 400 before the first part is due, 36 of 360 before the second.
    assert found.lost[0, :, 0] == pytest.approx([76 / 400, 36 / 360], abs=0.005)


def test_young_borrowers_who_paid_all_at_once_do_not_speak_for_the_second_part() -> None:
    old = two_instalments()
    # A hundred of five days ago, who paid both parts on the first; the others have not come to it yet.
    due = np.tile(np.array([25, 55], dtype=np.int64), (100, 1))
    both = Book(
        kind=np.zeros(500, dtype=np.int64),
        disbursed=np.concatenate([old.disbursed, np.full(100, -5)]),
        bad_on=np.concatenate([old.bad_on, np.full(100, NEVER)]),
        today=0,
        due=np.concatenate([old.due, due]),
        paid_on=np.concatenate([old.paid_on, np.full((100, 2), -4)]),
    )

    # Counted among those of the second part, they would make it 36 of 460.
    assert learnt(rolls_of(both)).lost[0, 1, 0] == pytest.approx(36 / 360, abs=0.01)


def test_a_kind_with_few_loans_rolls_nearly_like_all() -> None:
    whole, few = book(*OLD), book((9, None, 40, 60), (1, 0, None, 60))
    both = Book(
        kind=np.array([0] * 1_000 + [1] * 10),
        disbursed=np.concatenate([whole.disbursed, few.disbursed]),
        bad_on=np.concatenate([whole.bad_on, few.bad_on]),
        today=0,
        due=np.concatenate([whole.due, few.due]),
        paid_on=np.concatenate([whole.paid_on, few.paid_on]),
    )
    large, small = learnt(rolls_of(both)).expected

    assert large == pytest.approx(0.1, abs=0.01)
    assert large < small < 0.9


def test_a_loan_in_more_parts_is_not_thought_lost_more_often_for_that() -> None:
    whole = book(*OLD)
    # Forty of a kind in four parts of which nothing is due yet.
    due = np.tile(np.array([20, 50, 80, 110], dtype=np.int64), (40, 1))
    both = Book(
        kind=np.array([0] * 1_000 + [1] * 40),
        disbursed=np.concatenate([whole.disbursed, np.full(40, -10)]),
        bad_on=np.concatenate([whole.bad_on, np.full(40, NEVER)]),
        today=0,
        due=np.concatenate([np.hstack([whole.due, np.full((1_000, 3), NEVER)]), due]),
        paid_on=np.concatenate(
            [np.hstack([whole.paid_on, np.full((1_000, 3), NEVER)]), np.full((40, 4), NEVER)]
        ),
    )
    one, four = learnt(rolls_of(both)).expected

    assert one == pytest.approx(0.1, abs=0.01)
    assert four == pytest.approx(one, abs=0.02)


@pytest.mark.parametrize(
    "fates",
    [
        pytest.param(((500, 0, None, 60), (29, None, 40, 60)), id="29 lost loans"),
        pytest.param(((500, None, None, 60), (40, None, 40, 60)), id="no payment is told of"),
        pytest.param(((500, None, None, -5),), id="nothing is due"),
    ],
)
def test_nothing_is_learnt_of_too_little(fates: tuple[tuple[int, int | None, int | None, int], ...]) -> None:
    assert rolls_of(book(*fates)) is None


def test_every_bucket_has_a_name() -> None:
    assert learnt(rolls_of(book(*OLD))).rolls.shape[2] == len(BUCKET_NAMES)
