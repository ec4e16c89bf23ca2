"""What share of a campaign's loans will be lost: the blend, its doubt, and worlds whose truth is known."""

import numpy as np
import pytest

from lendsignal.advise.bids.evidence import WEEKS, Said, by_development, gathered
from lendsignal.advise.bids.posterior import Evidence, Floats, posterior
from lendsignal.report.development import NEVER


def seen(exposure: list[float], bad: list[float], score: list[float] | None = None) -> Evidence:
    """Campaigns of which all is known, alike in ten weeks, where one loan in ten is lost in general."""
    return Evidence(
        seen=np.outer(exposure, np.full(10, 0.1)),
        bad=np.outer(bad, np.full(10, 0.1)),
        expected=np.full(len(exposure), 0.1),
        score=None if score is None else np.array(score),
    )


OTHERS = [(1_000.0, float(lost)) for lost in (60, 70, 80, 90, 100, 110, 120, 130, 140)]


def rates(*campaigns: tuple[float, float]) -> Floats:
    """The mean of each campaign beside nine large ones that lose 6 to 14 %."""
    loans, lost = zip(*OTHERS, *campaigns, strict=True)
    return posterior(seen(list(loans), list(lost)), np.random.default_rng(1)).mean[len(OTHERS) :]


def test_many_loans_speak_for_themselves_and_few_for_their_like() -> None:
    many, few = rates((5_000, 1_000), (20, 4))

    # Both lost one in five.
    assert many == pytest.approx(0.2, abs=0.01)
    assert 0.1 < few < 0.17


def test_a_campaign_without_loans_has_what_campaigns_like_it_have() -> None:
    (none,) = rates((0, 0))

    assert none == pytest.approx(0.1, abs=0.01)


def test_where_no_campaign_has_loans_all_have_what_is_expected_in_general() -> None:
    found = posterior(seen([0, 0, 0], [0, 0, 0]), np.random.default_rng(1))

    assert found.mean == pytest.approx(np.full(3, 0.1), abs=0.01)


def test_fewer_loans_leave_a_wider_interval() -> None:
    loans = [1_000.0] * 8 + [2_000, 200, 20]
    found = posterior(seen(loans, [n / 10 for n in loans]), np.random.default_rng(1), 4_000)
    low, high = found.interval(0.9)
    width = (high - low)[-3:]

    assert width[0] < width[1] < width[2]
    assert all(low < found.mean)
    assert all(found.mean < high)


def test_the_draws_lie_about_the_mean() -> None:
    found = posterior(seen([400, 30, 900], [50, 1, 70]), np.random.default_rng(1), 20_000)

    assert found.draws.mean(axis=1) == pytest.approx(found.mean, abs=0.004)


def test_where_better_scores_lose_less_a_young_campaign_is_judged_by_its_scores() -> None:
    score = [-2.0, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]
    lost = [200.0, 180, 150, 120, 100, 80, 65, 55, 45]
    both = posterior(
        seen([1_000.0] * 9 + [0, 0], [*lost, 0, 0], [*score, -1.5, 1.5]), np.random.default_rng(1)
    )
    blind = posterior(seen([1_000.0] * 9 + [0, 0], [*lost, 0, 0]), np.random.default_rng(1))

    assert both.mean[-2:] == pytest.approx([0.18, 0.055], abs=0.015)
    assert blind.mean[-2] == blind.mean[-1]


def test_the_order_of_campaigns_changes_nothing_but_the_order() -> None:
    loans, lost = [400.0, 30, 900, 120], [50.0, 1, 70, 20]
    ways = [0, 1, 2, 3], [2, 0, 3, 1]
    first, second = (
        posterior(seen([loans[n] for n in way], [lost[n] for n in way]), np.random.default_rng(1)).mean
        for way in ways
    )

    assert second == pytest.approx(first[list(ways[1])])


def test_the_same_seed_gives_the_same_draws() -> None:
    one, two = (posterior(seen([50, 60], [5, 9]), np.random.default_rng(7)).draws for _ in range(2))

    assert (one == two).all()


def test_evidence_stands_by_the_week_of_the_disbursement() -> None:
    said = Said(known=np.array([0.5, 1, 1, 1]), bad=np.array([0.5, 0, 1, 0]), expected=np.full(4, 0.1))
    found = gathered(np.array([0, 0, 0, 1]), 2, np.array([0, 6, 14, 10_000]), said)

    assert found.seen[:, [0, 1, 2]].tolist() == [[1.5, 0, 1], [0, 0, 0]]
    assert found.bad[:, [0, 1, 2]].tolist() == [[0.5, 0, 1], [0, 0, 0]]
    # Whatever is older than a year stands with what is a year old.
    assert found.seen.shape == (2, WEEKS)
    assert found.seen[1, WEEKS - 1] == 1


def drifting(drift: float, seed: int) -> Evidence:
    """Two hundred campaigns with a hundred known loans in each of ten weeks; their odds wander by `drift`."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(drift * rng.standard_normal((200, 10)), axis=1)
    rate = 1 / (1 + np.exp(2.2 + 0.3 * rng.standard_normal((200, 1)) + walk))
    loans = np.full((200, 10), 100.0)
    return Evidence(seen=loans, bad=rng.binomial(100, rate).astype(np.float64), expected=np.full(200, 0.1))


def test_where_campaigns_wander_their_old_weeks_count_less_and_their_intervals_are_wider() -> None:
    print("seeds 11 and 12")
    calm = posterior(drifting(0.0, 11), np.random.default_rng(1))
    restless = posterior(drifting(0.2, 12), np.random.default_rng(1))

    # Of a thousand loans nearly all count where nothing changes, and less than half where much does.
    assert calm.exposure.mean() > 800
    assert restless.exposure.mean() < 450
    assert restless.draws.std(axis=1).mean() > 1.4 * calm.draws.std(axis=1).mean()


def test_where_much_changes_the_youngest_week_speaks_loudest() -> None:
    restless = drifting(0.2, 12)
    rising, falling = [16.0, 14, 12, 10, 8, 6], [6.0, 8, 10, 12, 14, 16]
    mine = np.array([[*rising, 5, 5, 5, 5], [*falling, 17, 17, 17, 17]])
    found = posterior(
        Evidence(
            seen=np.concatenate([restless.seen, np.full((2, 10), 100.0)]),
            bad=np.concatenate([restless.bad, mine]),
            expected=np.full(202, 0.1),
        ),
        np.random.default_rng(1),
    )

    # Both lost about eleven in a hundred over all ten weeks.
    assert found.mean[-2] > 0.115
    assert found.mean[-1] < 0.105


def test_where_weeks_share_a_fate_one_good_week_does_not_outweigh_seven_poor_ones() -> None:
    print("seed 5")
    rng = np.random.default_rng(5)
    own = rng.beta(6, 54, (150, 1))
    weekly = rng.beta(20 * own, 20 * (1 - own), (150, 8))
    good_at_last = [10.0, 40, 40, 40, 40, 40, 40, 40]
    found = posterior(
        Evidence(
            seen=np.full((151, 8), 200.0),
            bad=np.concatenate([rng.binomial(200, weekly).astype(np.float64), [good_at_last]]),
            expected=np.full(151, 0.1),
        ),
        np.random.default_rng(1),
    )

    # One lost in twenty this week, one in five before. By loans alone the last 200 would speak for all.
    assert 0.09 < found.mean[-1] < 0.18
    # A week of 200 loans is worth no more than about twenty of which each had a fate of its own.
    assert found.exposure.mean() < 8 * 20


def test_a_young_loan_that_is_lost_says_less_than_an_old_one_by_what_fisher_says() -> None:
    # A hundred loans lost on day 1 or day 10 past due, half each; of 400 loans all is known but of the last.
    bad_at = np.array([1] * 50 + [10] * 50 + [NEVER] * 300 + [1])
    seen_until = np.array([30] * 400 + [1])
    found = by_development(np.zeros(401, dtype=np.int64), bad_at, seen_until)

    assert found is not None
    said, curves = found
    (part,), p = curves[0].at(np.array([1])), said.expected[-1]
    assert part == pytest.approx(0.5, abs=0.01)
    # What a coin of chance f·p says of p, f² / (f·p·(1 − f·p)), over what a known end says, 1 / (p·(1 − p)).
    assert said.known[-1] == pytest.approx(part**2 / (part * p * (1 - part * p)) * p * (1 - p))
    assert said.bad[-1] == pytest.approx(said.known[-1] / part)
    assert said.bad[0] == pytest.approx(1)


def test_a_score_is_told_in_standard_deviations_and_a_campaign_without_any_has_the_mean() -> None:
    said = Said(known=np.ones(5), bad=np.zeros(5), expected=np.full(5, 0.1))
    score = np.array([600.0, 620, 640, 660, np.nan])
    found = gathered(np.array([0, 0, 1, 1, 2]), 3, np.zeros(5, dtype=np.int64), said, score)

    # Mean 630, standard deviation √500 = 22.36; the campaigns' means are 610 and 650.
    assert found.score == pytest.approx([-20 / 500**0.5, 20 / 500**0.5, 0.0])


def test_a_kind_with_too_few_lost_loans_develops_like_all() -> None:
    kind = np.array([0] * 200 + [1] * 20)
    bad_at = np.array([5] * 40 + [NEVER] * 160 + [5] + [NEVER] * 19)
    seen_until = np.array([30] * 220)
    found = by_development(kind, bad_at, seen_until)

    assert found is not None
    said, curves = found
    assert set(curves) == {None, 0}
    # 41 of all 220 are lost, and 40 of the first kind's 200; all of it is known.
    assert said.expected[[0, -1]] == pytest.approx([40 / 200, 41 / 220])
    assert said.known == pytest.approx(np.ones(220))


def test_without_30_lost_loans_nothing_is_developed() -> None:
    kind = np.zeros(100, dtype=np.int64)

    assert by_development(kind, np.array([5] * 29 + [NEVER] * 71), np.full(100, 30)) is None
