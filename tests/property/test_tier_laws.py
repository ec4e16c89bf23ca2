"""Laws of tiers: cuts apply from their place whatever the batches; tiers are nested; replays cut alike."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.acme import ANDROID, again, event, login, source, us

from lendsignal.decide import Decider
from lendsignal.decide.cutting import put_in_force
from lendsignal.derive import Cut, CutSet, CutTable, Ladders, Tiers, TierSettings
from lendsignal.derive.recut import Grants, Sample, Scope, inside, recut, rungs_of, rungs_over
from lendsignal.log import Log, open_log
from lendsignal.model import Event
from lendsignal.plan import Planned

SHARES = (20, 30, 50, 70)
SOURCE = source(tiers=Tiers(rolling=("score",), shares=SHARES))
LEVELS = st.sampled_from([500.0, 600.0, 650.0, 700.0, 800.0])

cut_lists = st.lists(LEVELS, min_size=4, max_size=4)
steps = st.lists(
    st.one_of(LEVELS.map(lambda score: ("grant", score)), cut_lists.map(lambda cuts: ("cut", cuts))),
    max_size=12,
)


class Clock:
    """Time stands still."""

    replay = False

    def now_us(self) -> int:
        return us(0)


def table(number: int, cuts: Sequence[float]) -> CutTable:
    made = tuple(Cut(share=share, cut=cut) for share, cut in zip(SHARES, cuts, strict=True))
    return CutTable(
        version=f"c{number}",
        made_us=us(number),
        sets=(CutSet(cuts=made, reason="asked", made_us=us(number), n=1),),
    )


def grant(number: int, score: float) -> list[Event]:
    granted = event("credit_granted", 0, grant_id="G", event_id=f"g{number}", score=score, loan_number=1)
    return [again(one, user_id=f"u{number}") for one in (login(-1, "a", event_id=f"l{number}"), granted)]


def tiers(log: Log) -> dict[int, tuple[list[int], set[str | None]]]:
    """By the number of the grant: its tiers and the versions of the cuts that decided them."""
    found: dict[int, tuple[list[int], set[str | None]]] = {}
    for _, record in log.records(0, 10_000):
        if isinstance(record, Planned) and record.conversion.name.startswith("credit_top"):
            shares, versions = found.setdefault(int(record.conversion.event_id[1:]), ([], set()))
            shares.append(int(record.conversion.name.removeprefix("credit_top")))
            versions.add(record.conversion.tier_version)
    return found


@settings(max_examples=25, deadline=None)
@given(steps, st.sets(st.integers(0, 12)))
def test_each_grant_is_cut_by_the_last_table_before_its_place(
    story: list[tuple[str, object]], decided_after: set[int]
) -> None:
    """Decided in batches that end anywhere, restarted at each end; against a walk by hand."""
    wanted: dict[int, list[int]] = {}
    by: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        log = open_log(Path(folder) / "log.sqlite")
        in_force: list[float] | None = None
        version = ""
        Decider(log, SOURCE, Clock(), lambda: None)
        for number, (kind, what) in enumerate(story):
            if kind == "cut":
                assert isinstance(what, list)
                in_force, version = what, f"c{number}"
                put_in_force(log, table(number, what))
            else:
                assert isinstance(what, float)
                log.append(grant(number, what))
                inside_ = [share for share, cut in zip(SHARES, in_force or (), strict=False) if what >= cut]
                if inside_:
                    wanted[number] = [share for share in reversed(SHARES) if share >= inside_[0]]
                    by[number] = version
            if number in decided_after:
                decider = Decider(log, SOURCE, Clock(), lambda: None)
                while decider.turn():
                    pass
        decider = Decider(log, SOURCE, Clock(), lambda: None)
        while decider.turn():
            pass
        found = tiers(log)
        log.close()

    assert {number: shares for number, (shares, _) in found.items()} == wanted
    assert {number: versions for number, (_, versions) in found.items()} == {
        number: {one} for number, one in by.items()
    }


scores = st.lists(st.integers(0, 12).map(float), min_size=1, max_size=60)


@given(scores, st.lists(st.integers(1, 99), min_size=1, max_size=6, unique=True), st.booleans())
def test_tiers_are_nested_and_exact_whatever_the_scores(
    given_: list[float], shares: list[int], whole: bool
) -> None:
    sample = Sample(np.array(given_), np.linspace(0, 1, len(given_), endpoint=False))
    rungs = rungs_over(sample, None, shares, own_weight=1.0, whole_ties=whole)
    ladder = Ladders(Tiers(cuts=tuple(Cut(share=one.share, cut=one.edge, ties=one.ties) for one in rungs)))

    for score in set(given_):
        names = ladder.tiers_of(event("credit_granted", 0, score=score), ANDROID, "acme")
        got = [int(name.removeprefix("credit_top")) for name in names]
        assert got == sorted(shares, reverse=True)[: len(got)]
    for rung in rungs:
        above = sum(score > rung.edge for score in given_)
        at = sum(score == rung.edge for score in given_)
        assert above <= len(given_) * rung.share / 100 + 1e-9 <= above + at + 1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1_000), st.integers(60, 900), st.booleans())
def test_what_lies_behind_the_moment_is_never_looked_at(seed: int, n: int, asked: bool) -> None:
    """Grants of tomorrow change no cut of today."""
    rng = np.random.default_rng(seed)
    at_us = np.sort(rng.integers(us(-40 * 1440), us(0), n))
    later = np.sort(rng.integers(us(0), us(1440), n))
    rules = TierSettings(basis=("score",), scope=("country",), at_least=50)

    def columns(moments: np.ndarray, measures: np.ndarray) -> Grants:
        return Grants(
            at_us=moments,
            measure=measures,
            seed=np.linspace(0, 1, len(moments), endpoint=False),
            scope=np.zeros(len(moments), dtype=np.int64),
            scopes=(Scope(country="NG"),),
        )

    measures = rng.normal(size=n)
    today = columns(at_us, measures)
    tomorrow = columns(np.concatenate([at_us, later]), np.concatenate([measures, rng.normal(9, 1, n)]))

    found = [
        recut({"score": one}, SOURCE.derive.tiers, rules, None, us(0), asked=asked)
        for one in (today, tomorrow)
    ]

    assert found[0].changes == found[1].changes
    for made in found[0].table.sets if found[0].table else ():
        for rung in rungs_of(made, SOURCE.derive.tiers):
            window = Sample(measures[at_us >= us(-28 * 1440)], np.zeros(0))
            assert (
                made.parent_n
                or abs(float(np.mean(window.measure > rung.edge)) - rung.share / 100) < 2 / made.n
            )
            assert inside(Sample(np.array([rung.edge + 1]), np.zeros(1)), rung) == 1.0
