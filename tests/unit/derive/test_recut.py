"""Cuts out of grants: the right share inside, frozen until they are really off, the same by every path."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from lendsignal.derive import Cut, CutSet, CutTable, Tiers, TierSettings
from lendsignal.derive.recut import (
    CHI2_99_9,
    DUAL_SCORED,
    Grants,
    Recut,
    Rung,
    Sample,
    Scope,
    inside,
    levels,
    mapped,
    psi,
    psi_limit,
    recut,
    rungs_over,
)

DAY_US = 86_400_000_000
SHARES = (20, 30, 50, 70)
WHOLE = TierSettings(basis=("score",), scope=())
TIERS = Tiers(rolling=("score",), shares=SHARES)
NG = Scope(brand="acme", country="NG", product="payday", score_version="v1")
PH = Scope(brand="acme", country="PH", product="payday", score_version="v1")


def sample(measures: Any, seed: int = 1) -> Sample:
    found = np.asarray(measures, dtype=np.float64)
    return Sample(found, np.random.default_rng(seed).random(len(found)))


def grants(
    days: int, per_day: int, *, moved: Any = 0.0, seed: int = 1, scopes: Sequence[Scope] = (NG,), **more: Any
) -> Grants:
    """Normal scores of mean 600 and deviation 60 over so many days; `moved` shifts them by day."""
    rng = np.random.default_rng(seed)
    n = days * per_day
    at_us = np.arange(n) * (DAY_US // per_day)
    shift = np.broadcast_to(moved, (days,)).repeat(per_day)
    return Grants(
        at_us=at_us,
        measure=rng.normal(600, 60, n) + shift,
        seed=rng.random(n),
        scope=rng.integers(0, len(scopes), n),
        scopes=tuple(scopes),
        **more,
    )


def cut(columns: Grants, day: int, before: CutTable | None = None, **more: Any) -> Recut:
    settings = more.pop("settings", WHOLE)
    return recut({"score": columns}, more.pop("tiers", TIERS), settings, before, day * DAY_US, **more)


def table_of(found: Recut) -> CutTable:
    assert found.table is not None
    return found.table


@pytest.mark.parametrize("n", [7, 100, 1_001])
def test_the_cuts_are_the_scores_that_so_many_reach(n: int) -> None:
    """The slow obvious version: sorted, the best share of n people, the last of them in part."""
    scores = np.random.default_rng(n).normal(size=n)
    ranked = sorted(scores, reverse=True)

    for rung in rungs_over(sample(scores), None, SHARES, own_weight=1.0):
        wanted = n * rung.share / 100
        assert rung.edge == ranked[int(np.ceil(wanted - 1e-9)) - 1]
        assert sum(score > rung.edge for score in scores) + rung.ties == pytest.approx(wanted)


def test_of_a_coarse_score_a_part_belongs_so_that_the_share_is_kept() -> None:
    """40 % have 700, 60 % have 600: the best half are all of the first and a sixth of the second."""
    coarse = sample([700.0] * 40_000 + [600.0] * 60_000)

    (rung,) = rungs_over(coarse, None, [50], own_weight=1.0)

    assert rung.edge == 600.0
    assert rung.ties == pytest.approx(1 / 6)
    # Four standard deviations of a sixth of 60 000 out of 100 000 are 0.37 points.
    assert inside(coarse, rung) == pytest.approx(0.5, abs=0.004)
    (whole,) = rungs_over(coarse, None, [50], own_weight=1.0, whole_ties=True)
    assert inside(coarse, whole) == 1.0


def test_few_grants_are_blended_with_the_wider_scope_in_rank_space() -> None:
    """100 own grants with a weight of 1000 for the parent: F = (100·F_own + 1000·F_parent) / 1100."""
    own, wider = sample(np.linspace(0, 1, 100)), sample(np.linspace(10, 11, 5_000))

    rungs = rungs_over(own, wider, SHARES, own_weight=100 / 1_100)

    for rung in rungs:
        above = (100 * np.mean(own.measure > rung.edge) + 1_000 * np.mean(wider.measure > rung.edge)) / 1_100
        # One grant of the parent weighs 1000/1100/5000.
        assert above == pytest.approx(rung.share / 100, abs=2 / 5_000)


def test_the_first_cuts_wait_for_enough_grants() -> None:
    few = cut(grants(28, 17), 28)
    enough = cut(grants(28, 18), 28)

    assert (few.table, few.waiting) == (None, ((Scope(score_version="v1"), "score", 476),))
    assert [change.reason for change in enough.changes] == ["first"]
    (made,) = table_of(enough).sets
    # The upper 20 % of a normal distribution begin 0.8416 deviations above its mean; n = 504.
    assert made.cuts[0].cut == pytest.approx(600 + 0.8416 * 60, abs=4 * 60 * 1.43 / 504**0.5)
    assert [one.share for one in made.cuts] == list(SHARES)
    assert made.n == 504


def test_cuts_stand_while_nothing_happens_and_are_made_anew_as_planned() -> None:
    columns = grants(130, 100)
    table = table_of(cut(columns, 28))

    again = [day for day in range(29, 130) if cut(columns, day, table).table is not None]

    assert again[0] == 28 + 90
    assert [change.reason for change in cut(columns, 118, table).changes] == ["planned"]


def test_a_drift_is_answered_after_a_week_at_the_soonest_and_by_the_younger_grants() -> None:
    columns = grants(60, 300, moved=np.where(np.arange(60) >= 28, 40.0, 0.0))
    table = table_of(cut(columns, 28))

    days = [day for day in range(29, 60) if cut(columns, day, table).table is not None]
    found = cut(columns, days[0], table)

    assert days[0] == 35
    (change,) = found.changes
    assert (change.reason, change.n) == ("drift", 14 * 300)
    (seen,) = found.watched
    assert seen.off > 0.1
    assert seen.sigmas > 3
    assert change.after[20] > change.before[20]


def test_chance_alone_is_no_drift() -> None:
    """A hundred weeks of 350 grants: the share of the best 20 % swings by two points and more each third."""
    changes = 0
    for seed in range(100):
        columns = grants(35, 50, seed=seed)
        table = table_of(cut(columns, 28))
        changes += cut(columns, 35, table).table is not None

    # Three deviations, four tiers that mostly swing together: one in a hundred.
    assert changes <= 4


def test_who_asks_gets_new_cuts_at_once() -> None:
    columns = grants(30, 100)
    table = table_of(cut(columns, 28))

    assert cut(columns, 29, table).table is None
    found = cut(columns, 29, table, asked=True)

    assert [change.reason for change in found.changes] == ["asked"]
    assert table_of(found).version != table.version


def test_scopes_are_made_from_the_widest_to_the_narrowest_and_a_version_is_never_mixed() -> None:
    other = Scope(brand="acme", country="NG", product="payday", score_version="v2")

    found = levels([NG, PH, other], ["country", "product"])

    assert [(scope.label(), members, parent) for scope, members, parent in found] == [
        ("portfolio, score v1", [0, 1], None),
        ("portfolio, score v2", [2], None),
        ("NG, score v1", [0], [0, 1]),
        ("NG, score v2", [2], [2]),
        ("PH, score v1", [1], [0, 1]),
        ("NG / payday, score v1", [0], [0]),
        ("NG / payday, score v2", [2], [2]),
        ("PH / payday, score v1", [1], [1]),
    ]


def test_a_scope_that_did_not_change_keeps_its_cuts_to_the_letter() -> None:
    settings = TierSettings(basis=("score",), scope=("country",))
    columns = grants(60, 600, scopes=(NG, PH))
    moved = columns.measure + np.where((columns.scope == 1) & (columns.at_us >= 28 * DAY_US), 60.0, 0.0)
    shifted = Grants(
        at_us=columns.at_us, measure=moved, seed=columns.seed, scope=columns.scope, scopes=columns.scopes
    )
    table = table_of(cut(shifted, 28, settings=settings))

    after = table_of(cut(shifted, 36, table, settings=settings))

    def of(one: CutTable, country: str | None) -> CutSet:
        return next(made for made in one.sets if made.cuts[0].country == country)

    assert of(after, "NG") == of(table, "NG")
    assert of(after, "PH") != of(table, "PH")


def test_where_a_low_score_is_good_the_cuts_are_upper_ends() -> None:
    low = Tiers(rolling=("score",), shares=SHARES, higher_is_better=False)
    columns = grants(28, 100)

    high_cuts = table_of(cut(columns, 28)).sets[0].cuts
    low_cuts = table_of(cut(columns, 28, tiers=low)).sets[0].cuts

    assert [one.cut for one in low_cuts] == [-one.cut for one in high_cuts]


def test_a_new_score_model_takes_the_cuts_over_by_rank() -> None:
    """The new model ranks alike but for noise and speaks another language: 0 to 1 and not 400 to 800."""
    old = grants(28, 100)
    noise = np.random.default_rng(5).normal(0, 10, 2_800)
    new = 1 / (1 + np.exp(-(old.measure + noise - 600) / 60))
    columns = Grants(
        at_us=old.at_us,
        measure=old.measure,
        seed=old.seed,
        scope=old.scope,
        scopes=old.scopes,
        next_measure=new,
        next_version="v2",
    )

    found = cut(columns, 28)

    assert [(change.scope.score_version, change.reason) for change in found.changes] == [
        ("v1", "first"),
        ("v2", "mapped"),
    ]
    for one in table_of(found).sets:
        measures = new if one.cuts[0].score_version == "v2" else old.measure
        for each in one.cuts:
            got = inside(Sample(measures, old.seed), Rung(each.share, each.cut, each.ties))
            assert got == pytest.approx(each.share / 100, abs=1 / 2_800)


def test_too_few_grants_that_both_models_scored_carry_nothing_over() -> None:
    old = grants(28, 100)
    later = np.where(np.arange(2_800) < DUAL_SCORED - 1, 0.5, np.nan)
    columns = Grants(
        at_us=old.at_us,
        measure=old.measure,
        seed=old.seed,
        scope=old.scope,
        scopes=old.scopes,
        next_measure=later,
        next_version="v2",
    )

    assert [change.reason for change in cut(columns, 28).changes] == ["first"]


def test_carried_over_cuts_keep_a_share_that_had_drifted() -> None:
    """On the day of the switch no tier is larger or smaller than the day before, right or wrong."""
    then, now = sample(np.linspace(0, 1, 5_000)), sample(np.linspace(7, 9, 5_000) ** 2)
    drifted = Rung(20, 0.7, 1.0)

    (moved,) = mapped([drifted], then, now)

    assert inside(now, moved) == pytest.approx(inside(then, drifted), abs=1e-9)


def test_the_index_of_moved_scores_is_that_of_the_book() -> None:
    """Ten bins of 10 % each against 20 %, eight of 10 % and none, half a grant added to each."""
    made = CutSet(
        cuts=(Cut(share=20, cut=9.0),),
        reason="first",
        made_us=0,
        n=1_000,
        deciles=tuple(float(n) for n in range(1, 10)),
        tenths=(0.1,) * 10,
    )
    now = np.repeat(np.arange(10) + 0.5, [200, *[100] * 8, 0])
    then = (100.5, 100.5, 100.5)
    found = (200.5, 100.5, 0.5)

    by_hand = sum((b - a) / 1_005 * np.log(b / a) for a, b in zip(then, found, strict=True))
    assert psi(made, sample(now)) == pytest.approx(by_hand, rel=1e-9)


def test_the_index_alarms_only_above_what_chance_makes() -> None:
    """Under no change PSI is (1/n + 1/m)·χ²₉: at 20 000 and 200 its 99 % point is 0.109."""
    assert psi_limit(20_000, 200) == pytest.approx((1 / 20_000 + 1 / 200) * CHI2_99_9)
    assert psi_limit(20_000, 2_000) == 0.10
    columns = grants(28, 1_000)
    (made,) = table_of(cut(columns, 28)).sets
    rng = np.random.default_rng(2)

    above = sum(psi(made, sample(rng.normal(600, 60, 200))) > psi_limit(made.n, 200) for _ in range(300))

    assert above <= 12  # 1 % of 300 and four deviations of it


def test_large_atoms_are_told() -> None:
    rounded = grants(28, 100)
    coarse = Grants(
        at_us=rounded.at_us,
        measure=np.round(rounded.measure / 100) * 100,
        seed=rounded.seed,
        scope=rounded.scope,
        scopes=rounded.scopes,
    )

    (change,) = cut(coarse, 28).changes

    # Scores from 550 to 650 become 600: within 0.833 deviations are 59.5 %.
    assert change.largest_atom == pytest.approx(0.595, abs=0.04)


def test_nothing_happens_without_grants() -> None:
    empty = Grants(
        at_us=np.zeros(0, dtype=np.int64),
        measure=np.zeros(0),
        seed=np.zeros(0),
        scope=np.zeros(0, dtype=np.int64),
        scopes=(),
    )

    assert cut(empty, 28) == Recut(table=None, changes=(), watched=(), waiting=())
    assert timedelta(days=28) == WHOLE.window
