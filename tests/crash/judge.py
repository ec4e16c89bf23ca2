"""What must hold once the kills are over: compares what was acknowledged with what platforms received."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

EXAMPLES = 5
"""How many cases of one kind are told by name."""


class Moment(Struct, frozen=True, order=True):
    """Where an event stands among those of its user: the smaller number occurred first."""

    user: str
    number: int


class Outlet(Struct, frozen=True, kw_only=True):
    """One destination's part of the history, by conversion id.

    `planned`: from each event to what it is to send here. `received`: in the order of arrival, repeats
    included. `in_flight`: how many deliveries each kill found claimed. `ordered`: whether the events of one
    user are to arrive in the order they occurred.
    """

    policy: Literal["hold", "retry"]
    planned: Mapping[str, Sequence[str]]
    received: Sequence[str]
    held: frozenset[str] = frozenset()
    in_flight: Sequence[int] = ()
    ordered: bool = False


class History(Struct, frozen=True, kw_only=True):
    """Everything that counts: events that were answered 2xx, events in the log, and every destination.

    `moments` holds each event that was tried, acknowledged or not.
    """

    acknowledged: frozenset[str]
    logged: frozenset[str]
    moments: Mapping[str, Moment]
    outlets: Mapping[str, Outlet]


class Judgement(Struct, frozen=True, kw_only=True):
    """Counts, and a sentence for each promise that was broken.

    `lost`: acknowledged and neither received nor held, events or deliveries. `doubled`: receipts beyond the
    first, by policy. `disordered`: first receipts that came behind a later one of the same user;
    `None` where no destination keeps an order.
    """

    lost: int
    doubled: Mapping[str, int]
    held: int
    in_flight: Mapping[str, int]
    in_flight_max: int
    disordered: int | None
    broken: Sequence[str]


def judged(history: History) -> Judgement:
    """Whether the promise of docs/explanation/delivery-guarantee.md was kept."""
    broken: list[str] = []
    gone = history.acknowledged - history.logged
    lost = len(gone)
    _tell(broken, "acknowledged and not in the log", gone)
    doubled = Counter({"hold": 0, "retry": 0})
    in_flight = Counter({"hold": 0, "retry": 0})
    held = 0
    disordered: int | None = None
    for name, outlet in history.outlets.items():
        missing = lost_at(outlet, history.acknowledged & history.logged)
        lost += len(missing)
        _tell(broken, f"{name}: neither received nor held", missing)
        repeats = sum(Counter(outlet.received).values()) - len(set(outlet.received))
        doubled[outlet.policy] += repeats
        allowed = sum(outlet.in_flight)
        in_flight[outlet.policy] += allowed
        held += len(outlet.held)
        if repeats > (0 if outlet.policy == "hold" else allowed):
            broken.append(f"{name}: {repeats} doubled under {outlet.policy}, {allowed} were in flight")
        if len(outlet.held) > (allowed if outlet.policy == "hold" else 0):
            broken.append(f"{name}: {len(outlet.held)} held under {outlet.policy}, {allowed} were in flight")
        strange = set(outlet.received) - {one for ids in outlet.planned.values() for one in ids}
        _tell(broken, f"{name}: received and never planned", strange)
        if outlet.ordered:
            late = disordered_at(outlet, history.moments)
            disordered = (disordered or 0) + len(late)
            _tell(broken, f"{name}: behind a later one of the same user", late)
    return Judgement(
        lost=lost,
        doubled=doubled,
        held=held,
        in_flight=in_flight,
        in_flight_max=max((n for outlet in history.outlets.values() for n in outlet.in_flight), default=0),
        disordered=disordered,
        broken=broken,
    )


def lost_at(outlet: Outlet, events: Iterable[str]) -> set[str]:
    """What these events should have sent and nobody has: conversion ids, or events that planned nothing."""
    there = {*outlet.received, *outlet.held}
    missing: set[str] = set()
    for event in events:
        planned = outlet.planned.get(event, ())
        missing.update(one for one in planned if one not in there)
        if not planned:
            missing.add(event)
    return missing


def disordered_at(outlet: Outlet, moments: Mapping[str, Moment]) -> list[str]:
    """First receipts behind a later one of the same user; held ones are set aside, a person orders them."""
    moment_of = {one: moments[event] for event, ids in outlet.planned.items() for one in ids}
    latest: dict[str, int] = {}
    late: list[str] = []
    for one in dict.fromkeys(outlet.received):
        moment = moment_of.get(one)
        if moment is None or one in outlet.held:
            continue
        if moment.number < latest.get(moment.user, moment.number):
            late.append(one)
        latest[moment.user] = max(moment.number, latest.get(moment.user, 0))
    return late


def _tell(broken: list[str], what: str, which: Iterable[str]) -> None:
    names = sorted(which)
    if names:
        more = ", …" if len(names) > EXAMPLES else ""
        broken.append(f"{len(names)} {what}: {', '.join(names[:EXAMPLES])}{more}")
