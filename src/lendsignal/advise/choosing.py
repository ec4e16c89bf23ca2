"""The advice on events as a report: one row an ad set, the figures of each event beside, and a picture.

Pure: takes installs as arrays with their ad sets' names, and gives tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.advise.alignment import Floats, Ints
from lendsignal.advise.choice import (
    FEW,
    FEW_FOR_FEATURES,
    Choice,
    Figures,
    Installs,
    Learned,
    Rules,
    Signal,
    choose,
    counted_of,
    learned,
)
from lendsignal.advise.half import HalfLearned, half_learned
from lendsignal.advise.platforms import learning_of
from lendsignal.report.chart import Bars, Chart, Series
from lendsignal.report.comings import Comings, Grants, Objective
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table

By: TypeAlias = Literal["app", "channel", "campaign", "ad_set"]

SEED = 20_261_122
"""Of the draws behind intervals and P(best): the same data give the same advice."""

FREQUENT = 50
"""A word that fewer installs have stands under the others of its fact."""

ALL = "(all)"

VERDICTS: Mapping[str, str] = {
    "switch": "switch",
    "best": "recommended",
    "keep": "keep",
    "no_clear_winner": "no clear winner, keep",
    "too_thin": "too thin to say",
}


class Market(Struct, frozen=True, kw_only=True):
    """Installs of one app, with the names by which ad sets are told apart; `currency` is that of profit."""

    app: str
    currency: str
    installs: Installs
    channel: tuple[str, ...]
    campaign: tuple[str, ...]
    ad_set: tuple[str, ...]


class EventAdvice(Report, frozen=True, kw_only=True):
    """`advice` has a row for each ad set, `events` one for each event in it, `changes` what would change it,
    `reasons` the advice in words."""

    objective: str
    form: str
    advice: Table
    events: Table
    changes: Table
    reasons: Table

    def charts(self) -> tuple[Chart, ...]:
        """What each event would earn in the largest ad set; its bare score where no lift in money is told."""
        rows = self.events.records()
        place = ("app", "channel", "ad_set")
        mine = [one for one in rows if all(one[key] == rows[0][key] for key in place)]
        if not mine or mine[0]["score"] is None:
            return ()
        where = " · ".join(str(mine[0][key]) for key in place if mine[0][key])
        name = "score" if mine[0]["lift"] is None else "lift"
        money = f"{mine[0]['currency']} per install above buying at random, with 80 % interval"
        value, low, high = (
            tuple(_number(one.get(f"{name}{end}")) for one in mine) for end in ("", "_low", "_high")
        )
        has_interval = name == "lift"
        return (
            Bars(
                title=f"What an event would earn: {where}",
                labels=tuple(str(one["event"]) for one in mine),
                series=(
                    Series(
                        name=name,
                        values=value,
                        low=low if has_interval else (),
                        high=high if has_interval else (),
                    ),
                ),
                axis=money if has_interval else "score: rho × learned",
            ),
        )


class Wished(Struct, frozen=True, kw_only=True):
    """What advice on events is asked with. `current` has the present event by ad set, or under "" for all;
    `window` is the ad accounts' own, else each platform's usual one; ad sets of fewer than `least` installs
    are left out."""

    objective: Objective = "acquisition"
    by: By = "campaign"
    rules: Rules = Rules()
    current: Mapping[str, str] = {}
    window: timedelta | None = None
    horizon: timedelta = timedelta(days=60)
    least: int = 200


def advice_on(
    found: Sequence[Comings],
    counts: Grants,
    wished: Wished,
    rng: np.random.Generator,
    *,
    as_of: datetime | None,
) -> EventAdvice:
    """The advice on those who came, who were gathered for the objective and the horizon that are wished."""
    has_value = any(event.name == "value" for one in found for event in one.events)
    return event_advice(
        [_market(one) for one in found],
        objective=wished.objective,
        by=wished.by,
        rules=wished.rules,
        as_of=as_of,
        rng=rng,
        current=wished.current,
        window_days=None if wished.window is None else wished.window / timedelta(days=1),
        notes=_counted(counts, has_value=has_value),
        least=wished.least,
    )


def _market(one: Comings) -> Market:
    signals = tuple(
        Signal(
            name=event.name,
            hours=event.hours,
            told_hours=event.told_hours,
            asked_hours=event.asked_hours,
            sent=event.sent,
        )
        for event in one.events
    )
    campaigns = sorted(set(one.campaign) - {""})
    number = {name: place for place, name in enumerate(campaigns)}
    return Market(
        app=one.app or "(no app)",
        currency=one.currency,
        channel=one.channel,
        campaign=one.campaign,
        ad_set=one.ad_set,
        installs=Installs(
            age_days=one.age_days,
            features=features_of(one.facts),
            profit=one.margin,
            signals=signals,
            groups=np.array([number.get(name, -1) for name in one.campaign], dtype=np.int64),
        ),
    )


def _counted(counts: Grants, *, has_value: bool) -> list[str]:
    """What the counts of grants and loans say, whatever the ad set."""
    notes = []
    if counts.grants:
        share = counts.first / counts.grants
        notes.append(f"{counts.first:,} of {counts.grants:,} grants are a user's first ({share:.0%}).")
    if 0 < counts.grants < counts.loans:
        notes.append(
            f"Grants fall behind loans ({counts.grants:,} against {counts.loans:,}): repeat loans need no new"
            " grant. Count first_credit and first_loan for new users, repeat_loan for those who come back."
        )
    if not has_value:
        notes.append("No conversion was sent with a value: bidding by value is not judged.")
    return notes


def features_of(facts: Mapping[str, Sequence[str]]) -> Floats:
    """Stand-ins as numbers: a column for each word that is frequent, of unit spread, and the hour's circle.

    `hour` is taken as a number from 0 to 23, UTC. At least one column comes back.
    """
    found: list[Floats] = []
    for name, words in facts.items():
        if name == "hour":
            turn = 2 * np.pi * np.array([float(word or 0) for word in words]) / 24
            found += [np.sqrt(2) * np.sin(turn), np.sqrt(2) * np.cos(turn)]
            continue
        _, place, times = np.unique(np.array(words, dtype=str), return_inverse=True, return_counts=True)
        # The most frequent word is what the others are held against.
        kept = [one for one in np.argsort(-times, kind="stable").tolist()[1:] if times[one] >= FREQUENT]
        for one in kept:
            has = np.asarray(place == one, dtype=np.float64)
            found.append(has / has.std())
    return np.column_stack(found) if found else np.zeros((len(next(iter(facts.values()), ())), 1))


def event_advice(
    markets: Sequence[Market],
    *,
    objective: str,
    by: By,
    rules: Rules,
    as_of: datetime | None,
    rng: np.random.Generator,
    current: Mapping[str, str] | None = None,
    window_days: float | None = None,
    notes: Sequence[str] = (),
    least: int = 1,
) -> EventAdvice:
    """The whole advice. `current` has the present event by ad set, or under "" for all; `window_days` is the
    ad accounts' own; ad sets of fewer than `least` installs are left out and counted."""
    present = current or {}
    advice: list[tuple[Cell, ...]] = []
    events: list[tuple[Cell, ...]] = []
    changes: list[tuple[Cell, ...]] = []
    reasons: list[tuple[Cell, ...]] = []
    said = list(notes)
    left_out = 0
    for market in markets:
        knows: dict[float, Learned | None] = {}
        ad_sets = []
        for channel, label, mine in _ad_sets(market, by):
            if len(mine) < least:
                left_out += 1
                continue
            learning = learning_of(channel)
            window = learning.window_days if window_days is None else window_days
            if window not in knows:
                knows[window] = learned(market.installs, window, rules, rng)
            now = present.get(label, present.get(""))
            ad_sets.append(AdSet(channel=channel, label=label, mine=mine, window=window, now=now))
        halves = _halves(market, ad_sets, knows, rules)
        said += [
            f"{channel}: K {half.k:.0f} ({half.low:.0f} to {half.high:.0f}),"
            f" by what its {half.ad_sets} ad sets earned."
            for channel, half in halves.items()
        ]
        for each in ad_sets:
            channel, label, mine, window = each.channel, each.label, each.mine, each.window
            known, own = knows[window], rules
            if known is not None and channel in halves:
                own = replace(rules, half_learned=halves[channel].k)
                known = replace(
                    known, half_learned=known.half_learned * (own.half_learned / rules.half_learned)
                )
            found = choose(
                market.installs,
                mine,
                known,
                learning_of(channel),
                own,
                rng,
                current=each.now,
                window_days=window,
            )
            where = (market.app, channel, label)
            advice.append((*where, len(mine), window, *_summary(found)))
            events += [(*where, market.currency, *_event(one)) for one in found.figures]
            changes += [(*where, one.change, one.best, one.gain) for one in found.what_if]
            reasons += [(*where, reason) for reason in found.reasons]
        said += _thinness(market, rules, knows)
    if left_out:
        said.append(f"{left_out} ad sets have fewer than {least} installs and are left out.")
    return EventAdvice(
        title=f"Which event to optimise for: {objective}",
        as_of=as_of,
        objective=objective,
        form=rules.form,
        advice=_advice(advice),
        events=_events(events),
        changes=table(
            "What would change it",
            columns("app channel ad_set change best gain", gain=SHARE),
            changes,
            "gain: of the best event then over the best one today.",
        ),
        reasons=table("Why", columns("app channel ad_set reason"), reasons),
        notes=tuple(said),
    )


class AdSet(Struct, frozen=True, kw_only=True):
    """One ad set: its installs' rows, the window it is judged under, and the event it optimises for now."""

    channel: str
    label: str
    mine: Ints
    window: float
    now: str | None


def _halves(
    market: Market, ad_sets: Sequence[AdSet], knows: Mapping[float, Learned | None], rules: Rules
) -> dict[str, HalfLearned]:
    """K of each channel whose ad sets tell it: what each earned by its own event."""
    installs, found = market.installs, {}
    names = [one.name for one in installs.signals]
    for channel in sorted({one.channel for one in ad_sets}):
        rows: list[tuple[float, float, float, float]] = []
        for one in ad_sets:
            known = knows[one.window]
            if one.channel != channel or one.now not in names or known is None:
                continue
            place, age = names.index(one.now), installs.age_days[one.mine]
            earned = installs.profit[one.mine]
            earned = earned[np.isfinite(earned)]
            if len(earned) < 2:
                continue
            counted = counted_of(installs.signals[place], one.mine, age, one.window, rules)
            error = float(earned.std(ddof=1) / np.sqrt(len(earned)))
            rows.append((counted, float(known.rho[place]), float(earned.mean()), error))
        half = half_learned(*np.array(rows, dtype=np.float64).T) if rows else None
        if half is not None:
            found[channel] = half
    return found


def _ad_sets(market: Market, by: By) -> Iterator[tuple[str, str, Ints]]:
    """Channel, name and rows of each ad set, the largest first; organic installs were not bought."""
    if by == "app":
        yield "", ALL, np.arange(len(market.channel))
        return
    names = {"channel": market.channel, "campaign": market.campaign, "ad_set": market.ad_set}[by]
    bought = [channel not in ("", "organic") for channel in market.channel]
    keys = list(zip(market.channel, names, strict=True))
    places: dict[tuple[str, str], list[int]] = {}
    for place, key in enumerate(keys):
        if bought[place]:
            places.setdefault(key, []).append(place)
    for (channel, name), mine in sorted(places.items(), key=lambda one: (-len(one[1]), one[0])):
        yield channel, ALL if by == "channel" else name or "(not told)", np.array(mine)


def _thinness(market: Market, rules: Rules, knows: Mapping[float, Learned | None]) -> Iterator[str]:
    known = int(np.isfinite(market.installs.profit).sum())
    if not knows:
        return
    some = next(iter(knows.values()))
    if some is None:
        yield f"{market.app}: {known:,} installs whose profit is known: too few, nothing is recommended."
    elif some.alignment.installs < FEW:
        if rules.form == "features" and some.alignment.installs < FEW_FOR_FEATURES:
            yield f"{market.app}: the simple form is taken, for features too few installs tell of profit."
        yield (
            f"{market.app}: thin, {some.alignment.installs:,} installs whose profit is known of {FEW:,}"
            " that it takes to tell events apart well."
        )
    if some is not None and (some.alignment.spread_draws > 0).mean() < 0.5:
        yield f"{market.app}: campaigns do not differ in profit beyond chance; no lift in money is told."


def _summary(found: Choice) -> tuple[Cell, ...]:
    best = next((one for one in found.figures if one.name == found.best), None)
    if best is None:
        return found.current, None, VERDICTS[found.verdict], None, None, None, None, None, None
    return (
        found.current,
        best.name,
        VERDICTS[found.verdict],
        best.best,
        found.gain,
        found.better,
        best.lift,
        best.lift_low,
        best.lift_high,
    )


def _event(one: Figures) -> tuple[Cell, ...]:
    known = one.accuracy > 0 or one.rho != 0
    return (
        one.name,
        one.installs,
        one.events,
        one.share,
        one.inside,
        one.late,
        one.p50_hours,
        one.p90_hours,
        one.per_week,
        one.counted,
        one.rho if known else None,
        one.rho_low if known else None,
        one.rho_high if known else None,
        one.explained if known else None,
        one.accuracy if known else None,
        one.score if known else None,
        one.lift,
        one.lift_low,
        one.lift_high,
        one.profit_error,
        one.best if known else None,
    )


def _advice(rows: Sequence[tuple[Cell, ...]]) -> Table:
    return table(
        "Advice",
        columns(
            "app channel ad_set installs window_days now best verdict p_best gain p_better"
            " lift lift_low lift_high",
            p_best=SHARE,
            gain=SHARE,
            p_better=SHARE,
        ),
        rows,
        "best: the event that is likeliest to earn most, in p_best of all draws. gain: over the present one;"
        "\np_better: the draws in which it is a tenth better at least."
        "\nlift: money per install above buying at random, with its 80 % interval, as far as stand-ins see.",
    )


def _events(rows: Sequence[tuple[Cell, ...]]) -> Table:
    return table(
        "Events",
        columns(
            "app channel ad_set currency event installs events in_time_share inside_window after_a_day"
            " p50_hours p90_hours per_week counted rho rho_low rho_high explained learned score"
            " lift lift_low lift_high profit_error p_best",
            in_time_share=SHARE,
            inside_window=SHARE,
            after_a_day=SHARE,
            explained=SHARE,
            learned=SHARE,
            p_best=SHARE,
        ),
        rows,
        "installs, events: of installs older than the window. in_time_share: of these, with the event told"
        "\nin time. inside_window, after_a_day: of the events. hours: from the install until it is told."
        "\ncounted: conversions that still count, each half as much every 14 days. rho: how well the event"
        "\npoints at profit, −1 to 1, with its 80 % interval. learned: of what a platform could learn."
        "\nscore: rho × learned, by which events are ranked. profit_error: what profit per install is missed"
        "\nby that is read off a week's count of the event; it settles a tie.",
    )


def _number(cell: Cell) -> float | None:
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else None
