"""What an early, predicted conversion would be worth: P(grant) of applications that wait, out of the log.

It is fitted on the older part of the lender's own history and held against the newer part; nothing is sent by
it, and what comes of the model is for the caller.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from statistics import median

from msgspec import Struct, field

from lendsignal.clock import MICROSECOND, from_us, to_us
from lendsignal.log import Log
from lendsignal.model import Event, person_key
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import Rate
from lendsignal.value import LikelyModel, facts_of
from lendsignal.value.fitting import Applied, Fitted, Unfit, fit

AT_ONCE = 5_000
TENTHS = 10


class ProxyReport(Report, frozen=True, kw_only=True):
    """`usable`: some probability reaches the wanted precision. `figures` are those of the newest fifth."""

    usable: bool
    figures: Table
    reliability: Table


class Proxy(Struct, frozen=True):
    """What is to be read of a model, and the model; `None` where nothing could be fitted."""

    report: ProxyReport
    model: LikelyModel | None


class _Known(Struct):
    """What is known of a user while the log is read."""

    loans: set[str | None] = field(default_factory=set)
    test: bool = False


class _Waiting(Struct):
    """An application, what was known when it came in, and its end as far as there is one."""

    at_us: int
    facts: dict[str, str | float]
    decided_us: int | None = None
    granted: bool = False


def proxy(log: Log, *, after: timedelta, within: timedelta, precision: float) -> Proxy:
    """How well P(grant) can be told of applications still undecided `after` they came in.

    An application counts as granted if it was `within` that time; younger ones are not judged yet. Test users
    and what is only told for analytics are left out.
    """
    waiting, as_of_us = _applications(log)
    as_of = from_us(as_of_us) if waiting else None
    after_us, within_us = after // MICROSECOND, within // MICROSECOND
    ended = [one for one in waiting if one.at_us + within_us <= as_of_us]
    slow = [one for one in ended if one.decided_us is None or one.decided_us > one.at_us + after_us]
    rows = [
        Applied(one.at_us, one.granted and (one.decided_us or 0) <= one.at_us + within_us, one.facts)
        for one in slow
    ]
    gains = {id(row): one.decided_us for row, one in zip(rows, slow, strict=True)}
    notes = (
        f"{len(waiting):,} applications, {len(ended):,} of them old enough, {len(slow):,} of these still"
        f" undecided after {after.total_seconds() / 60:g} minutes.",
        "Predicted, and never to be valued beside credit.",
    )
    try:
        fitted = fit(rows, precision)
    except Unfit as error:
        empty = columns("figure value")
        nothing = ProxyReport(
            title="Early proxy",
            as_of=as_of,
            usable=False,
            figures=table("Figures", empty, []),
            reliability=table("Reliability", empty, []),
            notes=(*notes, f"Nothing is fitted: {error}."),
        )
        return Proxy(nothing, None)
    earlier = [
        (decided - one.at_us - after_us) / 1e6
        for one, _ in _chosen(fitted)
        if one.granted and (decided := gains[id(one)]) is not None
    ]
    found = ProxyReport(
        title="Early proxy",
        as_of=as_of,
        usable=fitted.model.threshold is not None,
        figures=_figures(fitted, precision, len(slow) / len(ended), earlier),
        reliability=_reliability(fitted),
        notes=notes,
    )
    return Proxy(found, fitted.model)


def _chosen(fitted: Fitted) -> list[tuple[Applied, float]]:
    threshold = fitted.model.threshold
    return [] if threshold is None else [pair for pair in fitted.judged if pair[1] >= threshold]


def _figures(fitted: Fitted, precision: float, undecided: float, earlier: list[float]) -> Table:
    judged, chosen = fitted.judged, _chosen(fitted)
    granted = sum(one.granted for one, _ in judged)
    hits = sum(one.granted for one, _ in chosen)
    base = granted / len(judged)
    brier = sum((p - one.granted) ** 2 for one, p in judged) / len(judged)
    right = Rate(hits, len(chosen))
    rows: list[tuple[str, float | None]] = [
        ("applications judged", len(judged)),
        ("granted, of all judged", base),
        ("Brier score", brier),
        ("Brier score of the plain rate", base * (1 - base)),
        ("precision wanted", precision),
        ("threshold", fitted.model.threshold),
        ("precision", right.value),
        ("precision, low", right.low),
        ("precision, high", right.high),
        ("recall", hits / granted if granted else None),
        ("fires for, of those undecided", len(chosen) / len(judged)),
        ("fires for, of all applications", len(chosen) / len(judged) * undecided),
        ("seconds earlier than the grant, median", median(earlier) if earlier else None),
    ]
    return table(
        "On the newest fifth, which nothing was chosen by",
        columns("figure value"),
        [(name, value if value is None else round(value, 4)) for name, value in rows],
        "Brier score: mean of (p − outcome)²; the smaller, the better. Shares are from 0 to 1.",
    )


def _reliability(fitted: Fitted) -> Table:
    """Tenths of the judged applications by what was said of them, and what came of each."""
    ranked = sorted(fitted.judged, key=lambda pair: pair[1])
    rows: list[tuple[Cell, ...]] = []
    for tenth in range(TENTHS):
        part = ranked[len(ranked) * tenth // TENTHS : len(ranked) * (tenth + 1) // TENTHS]
        if part:
            rate = Rate(sum(one.granted for one, _ in part), len(part))
            said = sum(p for _, p in part) / len(part)
            rows.append((tenth + 1, len(part), said, rate.value, rate.low, rate.high, rate.remark))
    shares = dict.fromkeys(("said", "came", "low", "high"), SHARE)
    return table(
        "Reliability",
        columns("tenth applications said came low high remark", **shares),
        rows,
        "said: mean P(grant); came: the part that was granted, with its 95 % interval.",
    )


def _applications(log: Log) -> tuple[list[_Waiting], int]:
    """Every application with its end, and when the youngest event happened."""
    users: dict[str, _Known] = {}
    waiting: dict[str, dict[str, _Waiting]] = {}
    youngest = 0
    for event in _taken(log):
        at_us = to_us(event.occurred_at)
        youngest = max(youngest, at_us)
        user = person_key(event)
        known = users.setdefault(user, _Known())
        known.test = known.test or event.test
        match event.type:
            case "applied":
                mine = waiting.setdefault(user, {})
                mine.setdefault(
                    event.application_id or "", _Waiting(at_us, facts_of(event, len(known.loans)))
                )
            case "credit_granted" | "credit_denied":
                granted = event.type == "credit_granted"
                for one in _meant(event, waiting.get(user, {})):
                    one.decided_us, one.granted = at_us, granted
            case "disbursed":
                known.loans.add(event.loan_id)
            case "disbursement_reversed" | "loan_cancelled":
                known.loans.discard(event.loan_id)
            case _:
                pass
    found = [one for user, mine in waiting.items() if not users[user].test for one in mine.values()]
    return found, youngest


def _meant(event: Event, mine: Mapping[str, _Waiting]) -> list[_Waiting]:
    """The user's application that a decision is about: the one it names, else the latest before it."""
    at_us = to_us(event.occurred_at)
    found = [one for one in mine.values() if one.decided_us is None and one.at_us <= at_us]
    if event.application_id is not None:
        found = [one for one in found if one is mine.get(event.application_id)]
    return [max(found, key=lambda one: one.at_us)] if found else []


def _taken(log: Log) -> Iterator[Event]:
    """What decisions took, in the order in which it came in."""
    after, position = 0, log.position()
    while after < position:
        upto = min(after + AT_ONCE, position)
        for fact, verdict in log.decided(after, upto):
            if verdict == "taken" and fact.event.purpose == "optimisation":
                yield fact.event
        after = upto
