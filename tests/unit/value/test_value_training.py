"""Models of made-up borrowers whose true worth is known, and what may not be learned from."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.simulate.worlds.value import World, world
from lendsignal.value import boosting
from lendsignal.value.bayes import Prior
from lendsignal.value.boosting import LibraryMissing
from lendsignal.value.gates import NotJudged, forward_factors, tried
from lendsignal.value.judging import Met, judged, normalised_gini
from lendsignal.value.recursion import Chain, added_up
from lendsignal.value.training import Candidates, Learning, TooFewUsers, learned, values_of
from lendsignal.value.users import DAY_US, Leak, Number, Users
from lendsignal.value.worth import score_of

LEARNING = Learning(horizon_days=90.0)


@cache
def made() -> World:
    return world(21, 25_000, 60_000)


@cache
def models() -> Candidates:
    return learned(made().users, LEARNING, np.random.default_rng(5))


def test_trees_rank_users_better_than_the_lenders_score_and_add_up() -> None:
    found = judged(values_of(models().of("trees"), made().others), made().value)

    assert models().of("trees").learned == "buckets"
    assert found.gini > normalised_gini(made().score, made().value) + 0.02
    # 25,000 users know their mean to 4 %, and the others theirs to 2.5 %.
    assert abs(found.bias) < 0.1
    assert found.top20 > 1.7


def test_the_look_up_ranks_users_as_well_as_the_lenders_score() -> None:
    found = judged(values_of(models().lookup, made().others), made().value)

    assert found.gini > normalised_gini(made().score, made().value) - 0.01
    assert abs(found.bias) < 0.1


def test_a_decision_says_of_one_user_what_training_says_of_all() -> None:
    for model in (models().lookup, models().of("trees")):
        score, others = score_of(model), made().others
        said = values_of(model, others)[:200]

        assert [score(others.facts(place)) for place in range(200)] == pytest.approx(said.tolist(), rel=1e-12)


def test_young_users_make_it_better_and_their_silence_is_not_taken_for_a_loss() -> None:
    """Only the users who are followed for 90 days, against all of them with what is known of each."""
    everybody = models().lookup
    whole = made().users.value(90.0)
    silence = np.nan_to_num(whole)

    assert abs(values_of(everybody, made().others).mean() / made().value.mean() - 1) < 0.1
    assert silence.mean() < 0.6 * made().value.mean()


def test_the_same_rows_and_the_same_seed_make_the_same_model() -> None:
    small = world(22, 3_000, 10)

    one, other = (learned(small.users, LEARNING, np.random.default_rng(5)) for _ in range(2))

    assert one == other


def test_where_history_is_short_a_value_is_told_loan_after_loan() -> None:
    short = world(23, 15_000, 30_000, history_days=60.0)

    found = learned(short.users, LEARNING, np.random.default_rng(5))

    assert found.of("trees").learned == "loans"
    judgement = judged(values_of(found.of("trees"), short.others), short.value)
    assert judgement.gini > normalised_gini(short.score, short.value)
    # What is known of these users by now is a fifth of what they will bring.
    assert -0.30 < judgement.bias < 0.10


def test_a_chain_of_loans_adds_up_as_a_pencil_does() -> None:
    one = np.ones((1, 5))
    chain = Chain(
        begins=np.array([0.5]),
        lost=0.1 * one,
        again=0.6 * one,
        fee=np.array([0.2]),
        term=np.array([14.0]),
        amount=np.array([100.0]),
        loss=0.8,
        growth=1.5,
        gap=6.0,
        cost=1.0,
    )

    # Due on days 14, 34 and 54. A loan of 100 leaves 0.9·20 − 0.1·80 − 1 = 9, of 150 14, of 225 21.5.
    expected = 0.5 * (9 + 0.54 * 14 + 0.54**2 * 21.5)
    assert added_up(chain, 54.0).tolist() == pytest.approx([expected])
    assert added_up(chain, 53.9).tolist() == pytest.approx([0.5 * (9 + 0.54 * 14)])
    assert added_up(chain, 13.0).tolist() == [0.0]


def test_without_loans_finance_must_say_what_it_expects() -> None:
    few = world(24, 120, 10, history_days=20.0).users

    with pytest.raises(TooFewUsers, match="500 are needed, or a prior value"):
        learned(few, LEARNING, np.random.default_rng(5))
    found = learned(few, replace(LEARNING, prior=Prior(17.0)), np.random.default_rng(5))
    assert found.of("trees").learned == "prior"
    assert values_of(found.lookup, few).tolist() == [17.0] * 120


def test_rising_steps_keep_the_order_of_users() -> None:
    stepped = learned(made().users, replace(LEARNING, isotonic=True), np.random.default_rng(5)).of("trees")
    said, plain = values_of(stepped, made().others), values_of(models().of("trees"), made().others)

    order = np.argsort(plain)
    assert stepped.knots
    assert (np.diff(said[order]) >= -1e-9).all()
    assert judged(said, made().value).gini > judged(plain, made().value).gini - 0.01


# what may not be learned from


def with_fact(users: Users, name: str, values: Any, known_us: Any) -> Users:
    return replace(users, numbers={**users.numbers, name: Number(values, known_us)})


def test_a_fact_from_later_than_the_user_was_valued_is_refused() -> None:
    users = made().users
    repaid = np.zeros(len(users))

    with pytest.raises(Leak, match=r"repaid_amount: became known after the user was valued, 25,000 times"):
        with_fact(users, "repaid_amount", repaid, users.at_us + DAY_US)


def test_a_planted_fact_that_knows_how_it_ended_is_found_at_the_gate() -> None:
    """It says of itself that it was known at the grant, and still is too good to be true."""
    users, value = made().users, made().whole.value(90.0)
    chance = np.random.default_rng(8)
    planted = with_fact(users, "collections_queue", value + chance.normal(0, 10, len(users)), users.at_us)

    honest = tried(users, LEARNING, 0.0, np.random.default_rng(5))
    leaking = tried(planted, LEARNING, 0.0, np.random.default_rng(5))

    gates = {gate.name: gate for trial in leaking for gate in trial.gates if not gate.holds}
    assert "no_leak" in gates
    assert "collections_queue" in gates["no_leak"].meaning
    assert all(gate.holds for trial in honest for gate in trial.gates if gate.name == "no_leak")


def test_trees_do_not_go_by_the_campaign_and_know_a_word_they_never_saw_as_unknown() -> None:
    users = made().users
    campaign = made().users.campaign
    assert campaign is not None
    told = replace(users, words={**users.words, "campaign": campaign})

    columns = boosting.columns_of(told)

    assert [name for name, _ in columns.words] == ["channel"]  # there is one country only
    score = score_of(models().of("trees"))
    facts = dict(made().others.facts(0))
    nowhere = {name: said for name, said in facts.items() if name != "channel"}
    assert score({**facts, "channel": "a new one"}) == score(nowhere)


def test_users_as_of_a_moment_know_nothing_of_what_came_later() -> None:
    users, as_of_us = made().whole, made().as_of_us - 100 * DAY_US

    then = users.as_of(as_of_us, 0.0)

    assert then.at_us.max() <= as_of_us
    ends = then.at_us[then.loans.user] + np.where(np.isfinite(then.loans.ended), then.loans.ended, 0) * DAY_US
    assert ends.max() <= as_of_us
    opened = then.at_us[then.loans.user] + then.loans.opened * DAY_US
    assert opened.max() <= as_of_us
    due = then.at_us[then.loans.user] + then.loans.due * DAY_US
    assert np.isnan(then.loans.result[due > as_of_us]).all()
    # What was known stays what it was.
    known = ~np.isnan(then.value(30.0))
    everything = users.chosen(users.at_us <= as_of_us).value(30.0)
    assert known.any()
    assert then.value(30.0)[known].tolist() == everything[known].tolist()


def test_what_comes_later_changes_nothing_of_what_was_learned_before() -> None:
    small = world(25, 6_000, 10)
    as_of_us = small.as_of_us - 60 * DAY_US

    before = learned(small.whole.as_of(as_of_us, 0.0), LEARNING, np.random.default_rng(5))
    after = learned(small.users.as_of(as_of_us, 0.0), LEARNING, np.random.default_rng(5))

    assert before == after


# the gates


def test_a_sound_model_passes_every_gate_on_users_of_later_weeks() -> None:
    longer = world(27, 60_000, 10, history_days=240.0)

    trees, lookup = tried(longer.users, LEARNING, 0.0, np.random.default_rng(5))

    assert (trees.kind, lookup.kind) == ("trees", "lookup")
    assert trees.passed, [gate for gate in trees.gates if not gate.holds]
    assert trees.judgement.gini > lookup.judgement.gini
    assert trees.learned == "buckets"
    assert trees.learned_us < longer.as_of_us - 90 * DAY_US


def test_a_model_of_other_times_does_not_pass() -> None:
    """Losses that double in the judged weeks are a bias, and nothing is promoted."""
    users = made().users
    settled = np.nan_to_num(users.loans.result)
    loans = users.loans
    late = users.at_us[loans.user] > made().as_of_us - 110 * DAY_US
    worse = np.where(late & (settled < 0), 2.2 * loans.result, loans.result)

    trials = tried(
        replace(users, loans=replace(loans, result=worse)), LEARNING, 0.0, np.random.default_rng(5)
    )

    assert not any(one.passed for one in trials)


def test_a_lender_whose_users_are_all_young_cannot_try_a_model_yet() -> None:
    with pytest.raises(NotJudged, match="nobody is followed for 90 days"):
        tried(world(26, 3_000, 10, history_days=60.0).users, LEARNING, 0.0, np.random.default_rng(5))


def test_a_week_of_few_users_is_corrected_less_and_none_beyond_its_bounds() -> None:
    chance = np.random.default_rng(9)
    came = chance.normal(10, 10, 30_000)
    said = np.full(30_000, 10.0)
    weeks = [Met("north", 0, 200, 2_000.0, 3_000.0), Met("south", 0, 20_000, 200_000.0, 300_000.0)]
    level = [Met(f"c{n}", 0, 5_000, 50_000.0, 50_000.0) for n in range(6)]

    north, south, *_ = forward_factors(said, came, [*weeks, *level])

    assert 1.0 < north <= south == 1.25


def test_where_a_library_of_the_system_is_missing_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(LibraryMissing, match="apt-get install libgomp1"):
        boosting.library()
