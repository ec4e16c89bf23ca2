"""What an early, predicted conversion would be worth: P(grant) of applications that wait, out of the past.

It is fitted on the older part of the lender's own history and held against the newer part; nothing is sent by
it, and what comes of the model is for the caller.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from statistics import median

from msgspec import Struct, field

from lendsignal.clock import MICROSECOND, from_us, to_us
from lendsignal.log import Log
from lendsignal.model import Event, person_key
from lendsignal.report.chart import Chart
from lendsignal.report.charts import reliability_of, shares_of
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import Rate
from lendsignal.report.slices import EVERYTHING, Slice, facts
from lendsignal.report.tables import Tables
from lendsignal.value import LikelyModel, facts_of
from lendsignal.value.fitting import Applied, Unfit, fit

AT_ONCE = 5_000
TENTHS = 10

WORDS = "type brand user_id event_id app application_id loan_id product currency score_version test".split()

TAKEN = f"""
select seq, {", ".join(WORDS)}, epoch_us(occurred_at), amount, term_days, score from raw_events
where verdict = 'taken' and purpose = 'optimisation' and type not like 'lendsignal.%'
    and (type in ('applied', 'credit_granted', 'credit_denied', 'disbursed', 'disbursement_reversed',
            'loan_cancelled')
        or test or occurred_at = (select max(occurred_at) from raw_events
            where verdict = 'taken' and purpose = 'optimisation' and type not like 'lendsignal.%'))
order by seq
"""
"""What decisions took, in the order in which it came in: what applications go by, test marks, the last."""


class ProxyReport(Report, frozen=True, kw_only=True):
    """`usable`: some probability reaches the wanted precision. `figures` are those of the newest fifth, as
    far as it is in the slice; `parts` has them by what the report is sliced by."""

    usable: bool
    figures: Table
    parts: Table
    reliability: Table

    def charts(self) -> tuple[Chart, ...]:
        """Whether P(grant) is to be believed; where there are parts, how often it is right in each."""
        believed = reliability_of(self.reliability, "share granted, with 95 % interval")
        is_sliced = self.parts.columns[0].name != "applications"
        return (believed, *((shares_of(self.parts, "precision"),) if is_sliced else ()))


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

    seq: int
    at_us: int
    facts: dict[str, str | float]
    decided_us: int | None = None
    granted: bool = False


class _Judged(Struct, frozen=True):
    """An application that nothing was chosen by, P(grant) of it, and when it was decided, where it was.

    It lies in some `parts` of the slice: in several where it made several of its conversions."""

    parts: Sequence[tuple[str, ...]]
    at_us: int
    granted: bool
    p: float
    decided_us: int | None


def proxy(
    log: Log,
    *,
    after: timedelta,
    within: timedelta,
    precision: float,
    tables: Tables | None = None,
    one: Slice = EVERYTHING,
) -> Proxy:
    """How well P(grant) can be told of applications still undecided `after` they came in.

    An application counts as granted if it was `within` that time; younger ones are not judged yet. Test users
    and what is only told for analytics are left out. The model is fitted to all of history: that of `tables`,
    which the archive reaches back with, else that of the log. The slice, which needs `tables`, says of which
    applications it is judged. Raises `InputError` where the slice names what there is not.
    """
    waiting, as_of_us = _applications(_taken(log) if tables is None else _told(tables))
    as_of = from_us(as_of_us) if waiting else None
    after_us, within_us = after // MICROSECOND, within // MICROSECOND
    ended = [each for each in waiting if each.at_us + within_us <= as_of_us]
    slow = [each for each in ended if each.decided_us is None or each.decided_us > each.at_us + after_us]
    rows = [
        Applied(each.at_us, each.granted and (each.decided_us or 0) <= each.at_us + within_us, each.facts)
        for each in slow
    ]
    origins = {id(row): each for row, each in zip(rows, slow, strict=True)}
    parts = _parts(tables, one)
    title = ", ".join(filter(None, ("Early proxy", one.words)))
    notes = (
        f"{len(waiting):,} applications, {len(ended):,} of them old enough, {len(slow):,} of these still"
        f" undecided after {after.total_seconds() / 60:g} minutes.",
        "Predicted, and never to be valued beside credit.",
    )
    try:
        fitted = fit(rows, precision)
    except Unfit as error:
        nothing = ProxyReport(
            title=title,
            as_of=as_of,
            usable=False,
            figures=_figures([], None, precision, None, after_us),
            parts=_by_part(one, [], None),
            reliability=_reliability([]),
            notes=(*notes, f"Nothing is fitted: {error}."),
        )
        return Proxy(nothing, None)
    judged = [
        _Judged(found_in, row.at_us, row.granted, p, origins[id(row)].decided_us)
        for row, p in fitted.judged
        if (found_in := parts.of(origins[id(row)].seq))
    ]
    threshold = fitted.model.threshold
    found = ProxyReport(
        title=title,
        as_of=as_of,
        usable=threshold is not None,
        figures=_figures(
            judged, threshold, precision, len(slow) / len(ended) if parts.whole else None, after_us
        ),
        parts=_by_part(one, judged, threshold),
        reliability=_reliability(judged),
        notes=notes if parts.whole else (*notes, "The model is fitted to all of history, not to the slice."),
    )
    return Proxy(found, fitted.model)


class _Parts(Struct, frozen=True):
    """In which parts of the slice an application lies, by the number of its event."""

    whole: bool
    known: Mapping[int, Sequence[tuple[str, ...]]]

    def of(self, seq: int) -> Sequence[tuple[str, ...]]:
        """Those of one application; none where it is not in the slice."""
        return ((),) if self.whole else self.known.get(seq, ())


def _parts(tables: Tables | None, one: Slice) -> _Parts:
    if tables is None or one == Slice(binding=one.binding):
        return _Parts(True, {})
    facts(tables, one, into="applied_fact", only="c.type = 'applied'")
    known: dict[int, list[tuple[str, ...]]] = {}
    for seq, part in tables.rows("select distinct seq, part from applied_fact order by all"):
        known.setdefault(seq, []).append(tuple(part))
    return _Parts(False, known)


def _chosen(judged: Iterable[_Judged], threshold: float | None) -> list[_Judged]:
    return [] if threshold is None else [each for each in judged if each.p >= threshold]


def _figures(
    judged: Sequence[_Judged],
    threshold: float | None,
    precision: float,
    undecided: float | None,
    after_us: int,
) -> Table:
    chosen = _chosen(judged, threshold)
    n, granted = len(judged), sum(each.granted for each in judged)
    hits = sum(each.granted for each in chosen)
    right = Rate(hits, len(chosen))
    base = granted / n if n else None
    earlier = [
        (each.decided_us - each.at_us - after_us) / 1e6
        for each in chosen
        if each.granted and each.decided_us is not None
    ]
    fires = len(chosen) / n if n else None
    rows: list[tuple[str, float | None]] = [
        ("applications judged", n),
        ("granted, of all judged", base),
        ("Brier score", sum((each.p - each.granted) ** 2 for each in judged) / n if n else None),
        ("Brier score of the plain rate", None if base is None else base * (1 - base)),
        ("precision wanted", precision),
        ("threshold", threshold),
        ("precision", right.value),
        ("precision, low", right.low),
        ("precision, high", right.high),
        ("recall", hits / granted if granted else None),
        ("fires for, of those undecided", fires),
        ("fires for, of all applications", None if fires is None or undecided is None else fires * undecided),
        ("seconds earlier than the grant, median", median(earlier) if earlier else None),
    ]
    return table(
        "On the newest fifth, which nothing was chosen by",
        columns("figure value"),
        [(name, value if value is None else round(value, 4)) for name, value in rows] if n else [],
        "Brier score: mean of (p − outcome)²; the smaller, the better. Shares are from 0 to 1.",
    )


def _by_part(one: Slice, judged: Sequence[_Judged], threshold: float | None) -> Table:
    """What it comes to in each part of the slice."""
    groups: dict[tuple[str, ...], list[_Judged]] = {}
    for each in judged:
        for part in each.parts:
            groups.setdefault(part, []).append(each)
    rows: list[tuple[Cell, ...]] = []
    for part, mine in sorted(groups.items()):
        chosen, granted = _chosen(mine, threshold), sum(each.granted for each in mine)
        right = Rate(sum(each.granted for each in chosen), len(chosen))
        recall = right.hits / granted if granted else None
        spread = (right.value, right.low, right.high)
        base = granted / len(mine)
        rows.append((*part, len(mine), base, len(chosen), *spread, recall, right.remark))
    return table(
        "Whom it tells of, and how often that is right",
        columns(
            f"{' '.join(one.names)} applications granted_share told_of precision low high recall remark",
            **dict.fromkeys(("granted_share", "precision", "low", "high", "recall"), SHARE),
        ),
        rows,
        "told_of: P(grant) reached the threshold. precision: of these, the part that was granted."
        "\nrecall: of those granted, the part that was told of.",
    )


def _reliability(judged: Iterable[_Judged]) -> Table:
    """Tenths of the judged applications by what was said of them, and what came of each."""
    ranked = sorted(judged, key=lambda each: each.p)
    rows: list[tuple[Cell, ...]] = []
    for tenth in range(TENTHS):
        part = ranked[len(ranked) * tenth // TENTHS : len(ranked) * (tenth + 1) // TENTHS]
        if part:
            rate = Rate(sum(each.granted for each in part), len(part))
            said = sum(each.p for each in part) / len(part)
            rows.append((tenth + 1, len(part), said, rate.value, rate.low, rate.high, rate.remark))
    shares = dict.fromkeys(("said", "came", "low", "high"), SHARE)
    return table(
        "Reliability",
        columns("tenth applications said came low high remark", **shares),
        rows,
        "said: mean P(grant); came: the part that was granted, with its 95 % interval.",
    )


def _applications(taken: Iterable[tuple[int, Event]]) -> tuple[list[_Waiting], int]:
    """Every application with its end, and when the youngest event happened."""
    users: dict[str, _Known] = {}
    waiting: dict[str, dict[str, _Waiting]] = {}
    youngest = 0
    for seq, event in taken:
        at_us = to_us(event.occurred_at)
        youngest = max(youngest, at_us)
        user = person_key(event)
        known = users.setdefault(user, _Known())
        known.test = known.test or event.test
        match event.type:
            case "applied":
                mine = waiting.setdefault(user, {})
                mine.setdefault(
                    event.application_id or "", _Waiting(seq, at_us, facts_of(event, len(known.loans)))
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


def _taken(log: Log) -> Iterator[tuple[int, Event]]:
    """What decisions took with its number, in the order in which it came in; without what is our own."""
    after, position = 0, log.position()
    while after < position:
        upto = min(after + AT_ONCE, position)
        for fact, verdict in log.decided(after, upto):
            event = fact.event
            # A change of policy is of today, also where history of last year was imported.
            if event.type.startswith("lendsignal."):
                continue
            if verdict == "taken" and event.purpose == "optimisation":
                yield fact.seq, event
        after = upto


def _told(tables: Tables) -> Iterator[tuple[int, Event]]:
    """The same from the tables of reports: of every event, as far as applications and their ends go by it."""
    cursor = tables.db.execute(TAKEN)
    while found := cursor.fetchmany(AT_ONCE):
        for seq, *told, occurred_us, amount, term_days, score in found:
            words = dict(zip(WORDS, told, strict=True))
            at = from_us(occurred_us)
            yield (
                int(seq),
                Event(
                    occurred_at=at,
                    received_at=at,
                    amount=amount,
                    term_days=term_days,
                    score=score,
                    **words,
                ),
            )
