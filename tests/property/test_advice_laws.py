"""Laws of advice: the order of rows and unknown words change nothing, seeds only the draws, and nobody looks
past the moment that is asked about."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.report.kept import Kept
from tests.unit.report.world import policy, told, world

from lendsignal.advise.bids.evidence import Said, gathered
from lendsignal.advise.bids.posterior import Evidence, posterior
from lendsignal.advise.bids.rollrates import Book, by_roll_rates, rolls_of
from lendsignal.advise.choice import Installs, Learned, Rules, Signal, accuracy, choose, learned
from lendsignal.advise.choosing import features_of
from lendsignal.advise.platforms import LEARNING
from lendsignal.clock import from_us
from lendsignal.report import Tables, load
from lendsignal.report.bid_rows import loan_book
from lendsignal.report.choice_rows import comings
from lendsignal.report.comings import Objective
from lendsignal.report.development import NEVER

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=12, deadline=None)


def evidence(rng: np.random.Generator, campaigns: int = 12, weeks: int = 6) -> Evidence:
    seen = rng.gamma(2.0, 10.0, (campaigns, weeks))
    return Evidence(
        seen=seen,
        bad=rng.uniform(0, 0.3, (campaigns, weeks)) * seen,
        expected=rng.uniform(0.08, 0.2, campaigns),
        score=rng.standard_normal(campaigns),
    )


@FEW
@given(SEEDS)
def test_seeds_and_the_order_of_campaigns_move_no_mean_and_every_interval_holds_its_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, way = evidence(rng), rng.permutation(12)
    assert one.score is not None
    other = Evidence(one.seen[way], one.bad[way], one.expected[way], one.score[way])
    first, again, mixed = (
        posterior(each, np.random.default_rng(draw), 400) for each, draw in ((one, 1), (one, 2), (other, 3))
    )

    assert first.mean.tolist() == again.mean.tolist()
    assert mixed.mean == pytest.approx(first.mean[way])
    assert mixed.exposure == pytest.approx(first.exposure[way])
    low, high = first.interval(0.98)
    assert ((low < first.mean) & (first.mean < high)).all()
    assert ((first.exposure >= 0) & (first.bad >= 0) & (first.bad <= first.exposure)).all()


@FEW
@given(SEEDS, st.integers(1, 8))
def test_one_lost_loan_more_never_makes_a_campaign_better_where_all_else_is_known(
    seed: int, more: int
) -> None:
    """Of two campaigns that are alike but for lost loans in one week, the one that lost more is worse."""
    one = evidence(np.random.default_rng(seed))
    seen = np.concatenate([one.seen, np.full((2, 6), 20.0)])
    bad = np.concatenate([one.bad, np.full((2, 6), 3.0)])
    bad[-1, 0] += more
    found = posterior(Evidence(seen, bad, np.full(14, 0.14)), np.random.default_rng(1), 10)

    assert found.mean[-1] > found.mean[-2]


@FEW
@given(SEEDS)
def test_loans_in_any_order_are_the_same_evidence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 200
    campaign, age = rng.integers(0, 5, n), rng.integers(0, 500, n)
    said = Said(rng.random(n), rng.random(n) / 4, rng.uniform(0.1, 0.2, n))
    score = np.where(rng.random(n) < 0.2, np.nan, rng.standard_normal(n))
    way = rng.permutation(n)
    mixed = Said(said.known[way], said.bad[way], said.expected[way])
    first, other = (
        gathered(campaign, 5, age, said, score),
        gathered(campaign[way], 5, age[way], mixed, score[way]),
    )

    for name in Evidence.__struct_fields__:
        assert getattr(other, name) == pytest.approx(getattr(first, name))


def book(rng: np.random.Generator, n: int = 600, kinds: int = 2) -> Book:
    """Loans of 14 days on day 0, 60 days back; those lost are told between 5 and 25 days past due."""
    disbursed = -rng.integers(0, 60, n)
    due = disbursed + 14
    lost = rng.random(n) < 0.2
    bad_on, paid_on = due + rng.integers(5, 26, n), due + rng.integers(-5, 9, n)
    return Book(
        kind=rng.integers(0, kinds, n),
        disbursed=disbursed,
        bad_on=np.where(lost & (bad_on <= 0), bad_on, NEVER),
        today=0,
        due=due[:, None],
        paid_on=np.where(~lost & (paid_on <= 0), paid_on, NEVER)[:, None],
    )


def with_kind(one: Book, kind: Any) -> Book:
    return Book(
        kind=kind,
        disbursed=one.disbursed,
        bad_on=one.bad_on,
        today=one.today,
        due=one.due,
        paid_on=one.paid_on,
    )


@FEW
@given(SEEDS)
def test_a_kind_of_loan_with_a_single_loan_goes_by_all_and_leaves_the_others_as_they_are(seed: int) -> None:
    one = book(np.random.default_rng(seed))
    rolls = rolls_of(one)
    assert rolls is not None
    kind = one.kind.copy()
    kind[0] = 2
    strange = rolls_of(with_kind(one, kind))
    assert strange is not None

    assert strange.expected[2] == pytest.approx(strange.expected[:2].mean(), rel=0.5)
    assert strange.expected[:2] == pytest.approx(rolls.expected, rel=0.1)
    said = by_roll_rates(with_kind(one, kind), strange)
    assert ((said.known >= 0) & (said.known <= 1)).all()


def installs(rng: np.random.Generator, count: int = 1_500) -> Installs:
    x = rng.standard_normal((count, 3))
    applied = rng.random(count) < 1 / (1 + np.exp(-x[:, 1]))
    loan = applied & (x[:, 0] + rng.standard_normal(count) > 1)
    never = np.full(count, np.inf)

    def signal(name: str, happened: Any, hours: float) -> Signal:
        at = np.where(happened, hours, np.inf)
        return Signal(name=name, hours=at, told_hours=at, asked_hours=never, sent=happened.astype(float))

    return Installs(
        age_days=rng.uniform(0, 60, count),
        features=x,
        profit=np.where(loan, 30 * x[:, 0] + 5, 0.0),
        signals=(signal("first_application", applied, 1.0), signal("first_loan", loan, 9.0)),
    )


def score(one: Installs, known: Learned) -> list[float]:
    meta = LEARNING["meta"]
    found = choose(one, np.arange(len(one.age_days)), known, meta, Rules(), np.random.default_rng(1))
    return [each.score for each in found.figures]


@FEW
@given(SEEDS)
def test_neither_the_order_of_installs_nor_a_seed_moves_a_score_of_the_simple_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, way = installs(rng), rng.permutation(1_500)
    mixed = Installs(
        age_days=one.age_days[way],
        features=one.features[way],
        profit=one.profit[way],
        signals=tuple(
            Signal(
                name=each.name,
                hours=each.hours[way],
                told_hours=each.told_hours[way],
                asked_hours=each.asked_hours[way],
                sent=each.sent[way],
            )
            for each in one.signals
        ),
    )
    scores = []
    for each, draw in ((one, 1), (one, 2), (mixed, 3)):
        known = learned(each, 7.0, Rules(), np.random.default_rng(draw))
        assert known is not None
        scores.append(score(each, known))

    assert scores[0] == pytest.approx(scores[1])
    assert scores[0] == pytest.approx(scores[2])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.floats(1, 1e4))
def test_a_platform_never_knows_less_of_more_conversions_nor_more_than_all(
    counts: list[float], half: float
) -> None:
    found = accuracy(np.sort(np.array(counts)), half)

    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()


@FEW
@given(SEEDS)
def test_a_word_that_was_seen_once_is_no_stand_in_of_its_own(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = rng.choice(["a", "b", "c"], 400).tolist()
    strange = [*words[:-1], "never seen before"]

    assert features_of({"campaign": words}).shape == features_of({"campaign": strange}).shape


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Two months of a made-up lender of a hundred users."""
    kept = Kept(tmp_path_factory.mktemp("whole"), policy()).tell(*told(world(users=100, days=60)))
    kept.log.close()
    return kept


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_as_of_a_moment_are_those_of_a_folder_that_ends_there(
    lender: Kept, tmp_path: Path, seed: int
) -> None:
    print("seed", seed)
    story = list(told(world(users=100, days=60)))
    story.sort(key=lambda one: one.received_at)
    at = int(np.random.default_rng(seed).integers(len(story) // 2, len(story)))
    by_then = story[at].received_at
    ended = Kept(tmp_path, policy()).tell(*(one for one in story if one.received_at <= by_then))
    ended.log.close()

    with load(lender.folder, as_of=by_then) as one, load(ended.folder) as other:
        assert one.as_of == other.as_of == from_us(int(by_then.timestamp() * 1_000_000))
        for rows in (bid_rows, choice_rows):
            _alike(rows(one), rows(other))


def bid_rows(tables: Tables) -> dict[str, Any]:
    loans = loan_book(tables, currency="NGN").loans
    assert len(loans) > 20
    return {name: getattr(loans, name) for name in loans.__struct_fields__}


def choice_rows(tables: Tables) -> dict[str, Any]:
    objectives: tuple[Objective, ...] = ("acquisition", "re-engagement")
    found: dict[str, Any] = {}
    for objective in objectives:
        for one in comings(tables, objective, timedelta(days=20)):
            found |= {f"{one.app} age": one.age_days, f"{one.app} margin": one.margin}
            for event in one.events:
                found |= {
                    f"{one.app} {event.name} {field}": getattr(event, field) for field in ("hours", "sent")
                }
    assert found
    return found


def _alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert np.array_equal(values, other[name], equal_nan=values.dtype.kind == "f"), name
