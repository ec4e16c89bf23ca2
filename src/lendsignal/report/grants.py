"""The grants that tiers are cut out of, read from the log: the very users whom tiers are for."""

from collections.abc import Iterable, Iterator, Mapping
from math import nan

import numpy as np
from msgspec import Struct

from lendsignal.clock import to_us
from lendsignal.derive import Basis, DerivePolicy, measure_of, seed_of, sign_of
from lendsignal.derive.recut import Grants, Scope
from lendsignal.log import Fact, Log
from lendsignal.model import Event, person_key
from lendsignal.plan import Planned, record_id

AT_ONCE = 5_000

NEXT_SCORE, NEXT_SCORE_VERSION = "next_score", "next_score_version"
"""Properties of a grant in which a coming score model says what it thinks of the same user."""


class _Row(Struct, frozen=True):
    at_us: int
    measure: float
    seed: float
    scope: Scope
    later: float
    later_version: str | None


def grants_of(log: Log, policy: DerivePolicy, test: frozenset[str], since_us: int) -> Mapping[Basis, Grants]:
    """Every grant from that moment on that could put its user into a tier, by basis, oldest first.

    These are the grants that fired `first_credit` (per grant: `credit`), surely the user's first and neither
    of a test user nor taken as a repeat: who only applies, borrows again or is staff moves no cut.
    """
    first = _first_since(log, since_us)
    counted = _conversions(log, first, "credit" if policy.tiers.per_grant else "first_credit")
    found: dict[Basis, list[_Row]] = {basis: [] for basis in policy.tiers.rolling}
    for events in _chunks(log, first):
        granted = [
            one
            for one in events
            if one.type == "credit_granted" and one.event_id in counted and to_us(one.occurred_at) >= since_us
        ]
        known = log.states({person_key(one) for one in granted})
        for one in granted:
            state = known.get(person_key(one))
            if one.test or person_key(one) in test or (state is not None and state.test):
                continue
            estimate = counted.pop(one.event_id, None)  # a revision tells of the same grant again
            for basis, rows in found.items():
                row = _row(one, basis, policy, estimate)
                if row is not None:
                    rows.append(row)
    return {basis: _columns(rows) for basis, rows in found.items()}


def _row(event: Event, basis: Basis, policy: DerivePolicy, estimate: float | None) -> _Row | None:
    """`estimate` is what the value model in force said of the grant, where there was one."""
    measure = measure_of(event, basis)
    if basis == "predicted_value" and estimate is not None:
        measure = estimate
    if measure is None:
        return None
    sign = sign_of(basis, policy.tiers)
    app = policy.apps.get(event.app or policy.default_app.get(event.brand, ""))
    later = event.properties.get(NEXT_SCORE) if basis == "score" else None
    version = event.properties.get(NEXT_SCORE_VERSION)
    return _Row(
        at_us=to_us(event.occurred_at),
        measure=sign * measure,
        seed=seed_of(policy.portfolio, event),
        scope=Scope(
            brand=event.brand,
            app=None if app is None else app.name,
            country=None if app is None else app.country,
            product=event.product,
            score_version=event.score_version if basis == "score" else None,
        ),
        later=sign * float(later) if isinstance(later, int | float) else nan,
        later_version=version if isinstance(version, str) else None,
    )


def _columns(rows: list[_Row]) -> Grants:
    rows.sort(key=lambda row: row.at_us)
    places: dict[Scope, int] = {}
    scope = [places.setdefault(row.scope, len(places)) for row in rows]
    # The version named last is the one that is coming.
    coming = next((row.later_version for row in reversed(rows) if row.later_version is not None), None)
    later = [row.later if row.later_version == coming else nan for row in rows]
    return Grants(
        at_us=np.array([row.at_us for row in rows], dtype=np.int64),
        measure=np.array([row.measure for row in rows], dtype=np.float64),
        seed=np.array([row.seed for row in rows], dtype=np.float64),
        scope=np.array(scope, dtype=np.int64),
        scopes=tuple(places),
        next_measure=None if coming is None else np.array(later, dtype=np.float64),
        next_version=coming,
    )


def _conversions(log: Log, first: int, name: str) -> dict[str, float | None]:
    """The events behind that place which were surely this conversion, and the estimate made of each."""
    found: dict[str, float | None] = {}
    after = record_id(first, 0) - 1
    while records := log.records(after, AT_ONCE):
        for _, record in records:
            if isinstance(record, Planned) and record.conversion.name == name and record.conversion.certain:
                valued = record.conversion.origin.valued
                found[record.conversion.event_id] = None if valued is None else valued.estimate
        after = records[-1][0]
    return found


def _chunks(log: Log, first: int) -> Iterator[Iterable[Event]]:
    """Every decided event from that place on."""
    after, position = first - 1, log.position()
    while after < position and (facts := log.read(after, AT_ONCE)):
        yield [fact.event for fact in facts if fact.seq <= position]
        after = facts[-1].seq


def _first_since(log: Log, since_us: int) -> int:
    """The place of the first event that came in at that moment or later: places are in the order of arrival.

    What an import brought in arrived late and happened long ago, so that nothing of the window is missed.
    """
    low, high = 1, log.end() + 1
    while low < high:
        middle = (low + high) // 2
        facts: list[Fact] = log.read(middle - 1, 1)
        if facts and to_us(facts[0].event.received_at) < since_us:
            low = facts[0].seq + 1
        else:
            high = middle
    return low
