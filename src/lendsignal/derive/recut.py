"""Cuts out of the lender's own grants: made, watched, and made anew only when they are really off.

Users at their first grant are ranked within a scope (portfolio, then country, product, …). Cuts are frozen:
a table of them applies until another follows. A scope is cut again when its shares are off by more than the
tolerance *and* by more than chance explains, never sooner than `not_before` after the last time (hysteresis),
else after `planned_every`. Only who makes or shows cuts imports this: it needs numpy.

Measures here are larger for better users, whatever the score's sense is. Moments are microseconds since 1970.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lendsignal.derive.settings import TierSettings
from lendsignal.derive.tiers import Basis, Cut, CutSet, CutTable, Tiers, sign_of

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Reason: TypeAlias = Literal["first", "drift", "planned", "mapped", "asked"]

WATCHED = timedelta(days=7)
"""The grants that tell whether cuts are off: over fewer days the weekend would be taken for a drift."""

FIRST_SIGHT = 50
"""Grants from which a scope gets cuts of its own, mostly its parent's. With fewer, the parent's apply."""

DUAL_SCORED = 2_000
"""Grants scored by both models that are needed to carry cuts over to the new one by rank."""

LARGE_ATOM = 0.05
"""One score that so many share is worth a word: a cut may run through it."""

CHI2_99_9 = 21.666
"""The 99 % point of χ² with 9 degrees of freedom (NIST/SEMATECH e-Handbook, table 1.3.6.7.4)."""

FOLK_PSI = 0.10
"""The usual limit, which says nothing of how much chance alone makes; the noise floor is beside it."""


class Scope(Struct, frozen=True, kw_only=True, order=True):
    """Whose grants are ranked among each other; `None` means all."""

    brand: str | None = None
    app: str | None = None
    country: str | None = None
    product: str | None = None
    score_version: str | None = None

    def label(self) -> str:
        """In words, for tables: `NG / payday, score v2`."""
        parts = [one for one in (self.brand, self.app, self.country, self.product) if one is not None]
        version = "" if self.score_version is None else f", score {self.score_version}"
        return (" / ".join(parts) or "portfolio") + version


class Grants(Struct, frozen=True, kw_only=True):
    """Users at the grant that may put them into a tier, in columns, oldest first.

    `scope` points into `scopes`, whose fields are all filled in. `seed` is from 0 up to 1 and orders those of
    one measure. `next_measure` is what a coming score model says of the same grant, NaN where it was not
    asked; `next_version` its name.
    """

    at_us: Ints
    measure: Floats
    seed: Floats
    scope: Ints
    scopes: tuple[Scope, ...]
    next_measure: Floats | None = None
    next_version: str | None = None

    def of(self, members: Sequence[int], since_us: int, until_us: int) -> "Sample":
        """The grants of these scopes from `since_us` up to before `until_us`."""
        first, last = np.searchsorted(self.at_us, [since_us, until_us])
        window = slice(int(first), int(last))
        inside = np.isin(self.scope[window], members)
        later = None if self.next_measure is None else self.next_measure[window][inside]
        return Sample(self.measure[window][inside], self.seed[window][inside], later)


class Sample(Struct, frozen=True):
    """The measures and seeds of some grants."""

    measure: Floats
    seed: Floats
    later: Floats | None = None

    @property
    def n(self) -> int:
        return len(self.measure)


class Rung(Struct, frozen=True):
    """One cut in measures: who is above `edge` is in the best `share` percent, and `ties` of those at it."""

    share: int
    edge: float
    ties: float


class Watched(Struct, frozen=True, kw_only=True):
    """How a scope's cuts do, by the grants of the last `WATCHED`.

    `realised` is the part of them in each tier, by share in percent. `off` is how far the worst is from its
    share, as a part of it: 0.1 where 22 % are in the best 20 %; `sigmas` the same in standard deviations of
    chance. `psi` is `None` without grants; above `psi_limit` the
    scores have moved, which is told and not acted upon.
    """

    scope: Scope
    basis: Basis
    n: int
    realised: Mapping[int, float]
    off: float
    sigmas: float
    psi: float | None
    psi_limit: float | None


class Change(Struct, frozen=True, kw_only=True):
    """A scope whose cuts are new, and why."""

    scope: Scope
    basis: Basis
    reason: Reason
    n: int
    parent_n: int
    before: Mapping[int, float]
    after: Mapping[int, float]
    largest_atom: float


class Recut(Struct, frozen=True, kw_only=True):
    """What comes of looking at the grants: the table that should follow, if any; and how cuts do today.

    `waiting` tells of scopes that have too few grants for cuts: (scope, basis, how many there are).
    """

    table: CutTable | None
    changes: tuple[Change, ...]
    watched: tuple[Watched, ...]
    waiting: tuple[tuple[Scope, Basis, int], ...]


def recut(
    grants: Mapping[Basis, Grants],
    tiers: Tiers,
    settings: TierSettings,
    before: CutTable | None,
    now_us: int,
    *,
    asked: bool = False,
) -> Recut:
    """The table that should follow `before` at `now_us`; `asked` cuts every scope anew, whatever it does."""
    kept = {(one.cuts[0].basis, scope_of(one.cuts[0])): one for one in (before.sets if before else ())}
    changes: list[Change] = []
    watched: list[Watched] = []
    waiting: list[tuple[Scope, Basis, int]] = []
    for basis, columns in grants.items():
        for scope, members, parent in levels(columns.scopes, settings.scope):
            old = kept.get((basis, scope))
            look = _Look(columns, members, parent, settings, now_us)
            rungs = rungs_of(old, tiers) if old is not None else ()
            reason: Reason | None = "asked" if asked else None
            if old is not None:
                seen = watch(scope, basis, old, rungs, look.last(WATCHED))
                watched.append(seen)
                reason = reason or due(old, seen, settings, now_us)
            else:
                reason = reason or "first"
            if reason is None:
                continue
            own, wider = look.fit(reason)
            if own.n < (settings.at_least if parent is None else FIRST_SIGHT):
                waiting.append((scope, basis, own.n))
                continue
            fresh = _cut_set(scope, basis, own, wider, tiers, settings, reason, now_us)
            kept[basis, scope] = fresh
            changes.append(_change(scope, basis, fresh, rungs, tiers))
        changes += _mapped(columns, basis, kept, tiers, settings, now_us)
    table = _table(kept.values(), now_us) if changes else None
    return Recut(table=table, changes=tuple(changes), watched=tuple(watched), waiting=tuple(waiting))


def levels(scopes: Sequence[Scope], fields: Sequence[str]) -> list[tuple[Scope, list[int], list[int] | None]]:
    """Every scope, widest first, with the places of its members and those of its parent's members.

    Scores of two versions are never ranked among each other, so that the version is part of every scope.
    """
    found: list[tuple[Scope, list[int], list[int] | None]] = []
    wider: dict[Scope, list[int]] = {}
    for depth in range(len(fields) + 1):
        members: dict[Scope, list[int]] = {}
        for place, one in enumerate(scopes):
            members.setdefault(_limited(one, fields[:depth]), []).append(place)
        for scope, places in sorted(members.items(), key=lambda pair: pair[0].label()):
            parent = wider.get(_limited(scope, fields[: depth - 1])) if depth else None
            found.append((scope, places, parent))
        wider = members
    return found


def rungs_over(
    own: Sample, wider: Sample | None, shares: Sequence[int], *, own_weight: float, whole_ties: bool = False
) -> list[Rung]:
    """The cuts that put the best shares of a blend of two samples into their tiers, narrowest first.

    `own_weight` is the weight of the own sample in the blend: F = w·F_own + (1−w)·F_wider.
    """
    measures, weights = own.measure, np.full(own.n, 1.0 / max(own.n, 1))
    if wider is not None and wider.n and own_weight < 1:
        measures = np.concatenate([own.measure, wider.measure])
        weights = np.concatenate([weights * own_weight, np.full(wider.n, (1.0 - own_weight) / wider.n)])
    order = np.argsort(-measures, kind="stable")
    ranked, reached = measures[order], np.cumsum(weights[order])
    found = []
    for share in sorted(shares):
        edge, ties = _edge(ranked, reached, share / 100)
        found.append(Rung(share, edge, 1.0 if whole_ties else ties))
    return found


def _edge(ranked: Floats, reached: Floats, part: float) -> tuple[float, float]:
    """The measure at which this part of the grants is reached from above, and how much of those at it belong.

    `ranked` falls; `reached` is the part of the grants up to each.
    """
    # The sum of the weights is 1 but for rounding.
    place = min(int(np.searchsorted(reached, part - 1e-12)), len(ranked) - 1)
    edge = float(ranked[place])
    first, beyond = (
        np.searchsorted(-ranked, -edge, side="left"),
        np.searchsorted(-ranked, -edge, side="right"),
    )
    above = float(reached[first - 1]) if first else 0.0
    return edge, min(1.0, max(0.0, (part - above) / (float(reached[beyond - 1]) - above)))


def inside(sample: Sample, rung: Rung) -> float:
    """The part of the grants that a cut takes in."""
    if not sample.n:
        return 0.0
    at_edge = (sample.measure == rung.edge) & (sample.seed < rung.ties)
    return float(np.mean((sample.measure > rung.edge) | at_edge))


def watch(scope: Scope, basis: Basis, made: CutSet, rungs: Sequence[Rung], sample: Sample) -> Watched:
    """How cuts do by these grants."""
    realised = {rung.share: inside(sample, rung) for rung in rungs}
    off = sigmas = 0.0
    for share, part in realised.items():
        wanted = share / 100
        error = abs(part / wanted - 1) if sample.n else 0.0
        if error > off:
            # Both are samples: the grants that are watched, and those that the cuts were made of.
            chance = float(np.sqrt((1 - wanted) / wanted * (1 / sample.n + 1 / made.n)))
            off, sigmas = error, error / chance
    return Watched(
        scope=scope,
        basis=basis,
        n=sample.n,
        realised=realised,
        off=off,
        sigmas=sigmas,
        psi=psi(made, sample) if sample.n and made.deciles else None,
        psi_limit=psi_limit(made.n, sample.n) if sample.n else None,
    )


def due(made: CutSet, seen: Watched, settings: TierSettings, now_us: int) -> Reason | None:
    """Why a scope should be cut again; `None` where it should not."""
    age = now_us - made.made_us
    if age < _us(settings.not_before):
        return None
    if seen.off > settings.tolerance and seen.sigmas > settings.sigmas:
        return "drift"
    return "planned" if age >= _us(settings.planned_every) else None


def psi(made: CutSet, sample: Sample) -> float:
    """How far the measures moved since the cuts were made: Σ (a − b)·ln(a / b) over ten bins.

    Half a grant is added to each bin, so that an empty one says much and not everything.
    """
    counts = np.bincount(np.searchsorted(made.deciles, sample.measure, side="right"), minlength=10)
    now = (counts + 0.5) / (sample.n + 5)
    then = (np.array(made.tenths) * made.n + 0.5) / (made.n + 5)
    return float(np.sum((now - then) * np.log(now / then)))


def psi_limit(n: int, m: int) -> float:
    """What the index must exceed to say anything: 0.10, or what chance alone reaches one time in a hundred.

    Where nothing changed, the index of samples of n and m is (1/n + 1/m)·χ² with 9 degrees of freedom.
    """
    return max(FOLK_PSI, (1 / max(n, 1) + 1 / max(m, 1)) * CHI2_99_9)


def scope_of(cut: Cut) -> Scope:
    """The scope of a cut."""
    return Scope(**{field: getattr(cut, field) for field in Scope.__struct_fields__})


def rungs_of(made: CutSet, tiers: Tiers) -> Sequence[Rung]:
    """The cuts of a set in measures, narrowest first."""
    return [
        Rung(cut.share, sign_of(cut.basis, tiers) * cut.cut, cut.ties)
        for cut in sorted(made.cuts, key=lambda cut: cut.share)
    ]


class _Look:
    """The grants of one scope and of its parent."""

    def __init__(
        self,
        columns: Grants,
        members: Sequence[int],
        parent: Sequence[int] | None,
        settings: TierSettings,
        now_us: int,
    ) -> None:
        self._columns = columns
        self._members = members
        self._parent = parent
        self._settings = settings
        self._now_us = now_us

    def last(self, span: timedelta) -> Sample:
        return self._columns.of(self._members, self._now_us - _us(span), self._now_us)

    def fit(self, reason: Reason) -> tuple[Sample, Sample | None]:
        """What cuts are made of: after a drift the younger half of the window, for the older is of before."""
        span = self._settings.window / 2 if reason == "drift" else self._settings.window
        since = self._now_us - _us(span)
        wider = None if self._parent is None else self._columns.of(self._parent, since, self._now_us)
        return self.last(span), wider


def _cut_set(
    scope: Scope,
    basis: Basis,
    own: Sample,
    wider: Sample | None,
    tiers: Tiers,
    settings: TierSettings,
    reason: Reason,
    now_us: int,
) -> CutSet:
    blends = wider is not None and own.n < settings.at_least
    weight = own.n / (own.n + settings.parent_weight) if blends else 1.0
    rungs = rungs_over(
        own,
        wider if blends else None,
        settings.shares,
        own_weight=weight,
        whole_ties=settings.whole_ties,
    )
    deciles = np.quantile(own.measure, np.arange(1, 10) / 10)
    counts = np.bincount(np.searchsorted(deciles, own.measure, side="right"), minlength=10)
    _, atoms = np.unique(own.measure, return_counts=True)
    return CutSet(
        cuts=_cuts(scope, basis, rungs, tiers),
        reason=reason,
        made_us=now_us,
        n=own.n,
        parent_n=wider.n if blends and wider is not None else 0,
        deciles=tuple(map(float, deciles)),
        tenths=tuple(map(float, counts / own.n)),
        largest_atom=float(atoms.max() / own.n),
    )


def _cuts(scope: Scope, basis: Basis, rungs: Sequence[Rung], tiers: Tiers) -> tuple[Cut, ...]:
    sign = sign_of(basis, tiers)
    facts: dict[str, Any] = msgspec.structs.asdict(scope)
    return tuple(
        Cut(share=rung.share, cut=sign * rung.edge, ties=rung.ties, basis=basis, **facts) for rung in rungs
    )


def _mapped(
    columns: Grants,
    basis: Basis,
    kept: dict[tuple[Basis, Scope], CutSet],
    tiers: Tiers,
    settings: TierSettings,
    now_us: int,
) -> list[Change]:
    """Cuts for a coming score model, by rank: on the day of the switch no tier is larger or smaller.

    Scores of two models say nothing of each other; the ranks of grants that both have scored do.
    """
    if columns.next_version is None:
        return []
    changes = []
    for scope, members, _ in levels(columns.scopes, settings.scope):
        old = kept.get((basis, scope))
        coming = msgspec.structs.replace(scope, score_version=columns.next_version)
        if old is None or (basis, coming) in kept or scope.score_version == columns.next_version:
            continue
        both = columns.of(members, now_us - _us(settings.window), now_us)
        known = np.isfinite(both.later) if both.later is not None else np.zeros(0, dtype=bool)
        if both.later is None or int(known.sum()) < DUAL_SCORED:
            continue
        then = Sample(both.measure[known], both.seed[known])
        now = Sample(both.later[known], both.seed[known])
        rungs = mapped(rungs_of(old, tiers), then, now)
        deciles = np.quantile(now.measure, np.arange(1, 10) / 10)
        counts = np.bincount(np.searchsorted(deciles, now.measure, side="right"), minlength=10)
        fresh = CutSet(
            cuts=_cuts(coming, basis, rungs, tiers),
            reason="mapped",
            made_us=now_us,
            n=now.n,
            deciles=tuple(map(float, deciles)),
            tenths=tuple(map(float, counts / now.n)),
        )
        kept[basis, coming] = fresh
        changes.append(_change(coming, basis, fresh, (), tiers))
    return changes


def mapped(rungs: Sequence[Rung], then: Sample, now: Sample) -> list[Rung]:
    """The cuts in another model's scores that take in as many of the same grants as these do."""
    ranked = -np.sort(-now.measure)
    reached = np.arange(1, now.n + 1) / now.n
    return [Rung(rung.share, *_edge(ranked, reached, inside(then, rung))) for rung in rungs]


def _change(scope: Scope, basis: Basis, fresh: CutSet, before: Sequence[Rung], tiers: Tiers) -> Change:
    sign = sign_of(basis, tiers)
    return Change(
        scope=scope,
        basis=basis,
        reason=fresh.reason,
        n=fresh.n,
        parent_n=fresh.parent_n,
        before={rung.share: sign * rung.edge for rung in before},
        after={cut.share: cut.cut for cut in fresh.cuts},
        largest_atom=fresh.largest_atom,
    )


def _table(sets: Any, now_us: int) -> CutTable:
    ordered = tuple(
        sorted(sets, key=lambda one: (one.cuts[0].basis, scope_of(one.cuts[0]).label(), one.made_us))
    )
    for one in ordered:
        assert all(sooner.share < later.share for sooner, later in pairwise(one.cuts)), "narrowest first"
    version = blake2b(msgspec.msgpack.encode((now_us, ordered)), digest_size=6).hexdigest()
    return CutTable(version=version, made_us=now_us, sets=ordered)


def _limited(scope: Scope, fields: Sequence[str]) -> Scope:
    facts = {field: getattr(scope, field) for field in fields}
    return Scope(**facts, score_version=scope.score_version)


def _us(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
