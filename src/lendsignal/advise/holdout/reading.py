"""A holdout's reading in tables and words: what can be said, and what must not be."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.advise.holdout.arms import MatchParity, SampleRatio, sample_ratio
from lendsignal.advise.holdout.effect import (
    Effect,
    Flags,
    Floats,
    effect_of,
    foretold,
    incremental_cost,
    per_reached,
)
from lendsignal.advise.holdout.power import (
    FEWEST,
    Design,
    Sight,
    rate_design,
    smallest_effect,
    users_for,
)
from lendsignal.errors import LendsignalError
from lendsignal.model import from_us, to_us
from lendsignal.plan import ALWAYS, Holdout, is_held_out
from lendsignal.report.holdout_rows import OUTCOMES, Entered
from lendsignal.report.layout import SHARE, Cell, Reckoned, Report, Table, columns, table
from lendsignal.report.rates import THIN

LOOKS = 28
"""So many looks back are told at most."""

FOLDS = 2

SHARES = (0.05, 0.1, 0.2, 0.5)
"""Shares that a plan compares."""

POOLED = (0, 4, 12)
"""Weeks of further entries that a plan compares."""

AHEAD = (0, 2, 4, 8)
"""Weeks ahead for which it is told what could be seen then."""

WEEK_US = 7 * 86_400 * 1_000_000


class Asked(Struct, frozen=True, kw_only=True):
    """What a reading is asked with, beside the ledger.

    `share` was held out. `reach` is the part of the treated whom ads reached, `reach_control` that of the
    held out; `spend` what the treated arm cost, in the ledger's currency. `is_over`: the end that was set
    before has passed, and this is the one look.
    """

    name: str
    share: float
    horizon: timedelta
    reach: float | None = None
    reach_control: float = 0.0
    spend: float | None = None
    matched: MatchParity | None = None
    is_over: bool = False


class HoldoutReading(Report, frozen=True, kw_only=True):
    """`verdict` in words; `effects` by outcome, `arms` as they were drawn, `reached` for those whom ads
    reached, `looks` at the first outcome over time, `outlook` on what could be seen when.

    `sound`: whether the arms are what was drawn, so that the rest may be read.
    """

    verdict: str
    sound: bool
    effects: Table
    arms: Table
    reached: Table
    looks: Table
    outlook: Table


def reading_of(rows: Entered, one: Holdout, asked: Asked) -> HoldoutReading:
    """What that holdout says by now: drawn as its settings draw it, over when its end and the horizon are."""
    end = one.live.until_us
    over = end != ALWAYS.until_us and rows.as_of is not None and from_us(end) + asked.horizon <= rows.as_of
    return read_holdout(rows, partial(is_held_out, one.salt, one.share), replace(asked, is_over=over))


def read_holdout(rows: Entered, held: Callable[[str], bool], asked: Asked) -> HoldoutReading:
    """What the holdout says by now. `held` tells who is held out; users whose horizon runs are left out."""
    control = np.array([held(user) for user in rows.users], dtype=np.bool_)
    mature = rows.is_mature
    ratio = sample_ratio(int((~control).sum()), int(control.sum()), asked.share)
    treated = ~control[mature]
    known_us = rows.known_us[mature]
    planned = len(rows.users)
    effects: dict[str, Effect] = {}
    thin: set[str] = set()
    if min(int(treated.sum()), int((~treated).sum())) >= FEWEST:
        # Entries come in their order and tell nothing of what follows: every second one is a fold.
        fold = np.arange(len(treated)) % FOLDS
        for name in OUTCOMES:
            outcome = rows.outcomes[name][mature]
            happened = outcome != 0
            if min(int(happened[treated].sum()), int(happened[~treated].sum())) < THIN:
                thin.add(name)
            before = foretold(rows.facts[mature], outcome, fold)
            effects[name] = effect_of(outcome, treated, covariate=before, planned=planned)
    sound = ratio.is_sound and (asked.matched is None or asked.matched.is_sound)
    verdict = _verdict(effects, ratio, asked, sound=sound)
    return HoldoutReading(
        title=f"Holdout {asked.name}",
        as_of=rows.as_of,
        verdict=verdict,
        sound=sound,
        effects=_effects(effects, thin, asked, rows),
        arms=_arms(ratio, asked, int(mature.sum())),
        reached=_reached(effects, asked, rows.currency),
        looks=_looks(rows.outcomes["reloan"][mature], treated, known_us, planned, rows.as_of),
        outlook=_outlook(effects, rows, asked),
        notes=(verdict, *_notes(effects, rows, asked)),
    )


def _verdict(effects: dict[str, Effect], ratio: SampleRatio, asked: Asked, *, sound: bool) -> str:
    """The one sentence that counts."""
    if not ratio.is_sound:
        found = f"{ratio.found:.2%}" if ratio.found is not None else "nobody"
        return (
            f"Do not read it: {found} of the users are held out in place of {asked.share:.2%}"
            f" (chance {ratio.p:.1g}). Somebody is missing from one arm."
        )
    if not sound:
        return "Do not read it: the platform recognises the two arms unlike."
    if "reloan" not in effects:
        return f"Too few: fewer than {FEWEST} users of an arm have their horizon behind them."
    effect = effects["reloan"]
    least = _least(effect, 1.0)
    once = asked.is_over
    low, high = (effect.low, effect.high) if once else (effect.ever_low, effect.ever_high)
    if effect.seen(once=once):
        word = "more" if effect.difference > 0 else "fewer"
        return (
            f"It brings {word} loans: {effect.difference:+.2%} of the users borrow"
            f" ({low:+.2%} to {high:+.2%}{'' if once else ', at every look'})."
        )
    refusal = (
        "" if least is None else f" An effect below {least:.2%} of the users is not promised to be seen."
    )
    return f"No effect is told from chance ({low:+.2%} to {high:+.2%}); that is not none.{refusal}"


def _least(effect: Effect, reach: float) -> float | None:
    """The smallest effect that arms of this size see: its sd is what the standard error came from."""
    sd = effect.se / np.sqrt(1 / effect.treated + 1 / effect.control)
    return smallest_effect(float(sd), effect.treated, effect.control, reach=reach)


def _effects(effects: dict[str, Effect], thin: Collection[str], asked: Asked, rows: Entered) -> Table:
    body: list[tuple[Cell, ...]] = []
    for name, one in effects.items():
        base = one.control_mean
        low, high = (one.low, one.high) if asked.is_over else (one.ever_low, one.ever_high)
        least = _least(one, 1.0)

        def relative(value: float | None, base: float = base) -> float | None:
            return value / base if value is not None and base > 0 else None

        body.append(
            (
                name,
                relative(one.difference),
                relative(low),
                relative(high),
                one.control_mean,
                one.treated_mean,
                one.difference,
                one.low,
                one.high,
                one.ever_low,
                one.ever_high,
                relative(least),
                one.explained,
                "thin"
                if name in thin
                else "seen"
                if one.seen(once=asked.is_over)
                else "not told from chance",
            )
        )
    units = "; ".join(f"{name}: {words}" for name, words in OUTCOMES.items())
    money = f" Money in {rows.currency}." if rows.currency else ""
    return table(
        "What it brought, by intention to treat",
        columns(
            "outcome lift low high held_out treated difference once_low once_high ever_low ever_high"
            " smallest_lift explained remark",
            lift=SHARE,
            low=SHARE,
            high=SHARE,
            smallest_lift=SHARE,
            explained=SHARE,
        ),
        body,
        f"{units}.{money}\nWithin {asked.horizon.days} days of entering, of every user of the arm, reached or"
        " not. lift: the difference against the held out, freed of what was known before (explained: its part"
        "\nof the variance). low and high: 95 %,"
        + (" of the one look at the end." if asked.is_over else " at this and every other look.")
        + " once and ever: both, in the outcome's unit."
        f"\nthin: fewer than {THIN} users of an arm have any of it; do not read it."
        "\nsmallest_lift: a smaller one is not promised to be seen (80 % of the time).",
    )


def _remark(one: Effect, asked: Asked) -> str:
    return "seen" if one.seen(once=asked.is_over) else "not told from chance"


def _arms(ratio: SampleRatio, asked: Asked, mature: int) -> Table:
    n = ratio.treated + ratio.control
    rows: list[tuple[Cell, ...]] = [
        ("treated", ratio.treated, ratio.treated / n if n else None, 1 - asked.share, ratio.p, None),
        ("held out", ratio.control, ratio.found, asked.share, ratio.p, None),
    ]
    if asked.matched is not None:
        parity = asked.matched
        rows += [
            ("treated, matched", None, None, None, parity.p, parity.treated),
            ("held out, matched", None, None, None, parity.p, parity.control),
        ]
    return table(
        "The arms",
        columns("arm users part drawn p matched", part=SHARE, drawn=SHARE, matched=SHARE),
        rows,
        f"{mature:,} of them have their horizon behind them. p: how often chance alone strays that far;"
        "\nbelow 0.001 the arms are not what was drawn. matched: the part that the platform recognised.",
    )


def _reached(effects: dict[str, Effect], asked: Asked, currency: str | None) -> Table:
    body: list[tuple[Cell, ...]] = []
    reach = asked.reach
    for name in ("reloan", "loans", "margin") if reach is not None and reach > asked.reach_control else ():
        if name not in effects or reach is None:
            continue
        one = effects[name]
        each = per_reached(one, reach, asked.reach_control)
        cost = None if asked.spend is None or name == "reloan" else incremental_cost(asked.spend, one)
        body.append(
            (
                name,
                each.effect,
                each.low,
                each.high,
                None if cost is None else cost.extra,
                None if cost is None else cost.each,
                None if cost is None else cost.low,
                None if cost is None else cost.high,
            )
        )
    return table(
        "For those whom it reached",
        columns("outcome effect low high extra cost_each cost_low cost_high"),
        body,
        "effect: of being reached, the difference by the reach. extra: what would not have come anyway."
        "\ncost_each: the spend for each of it; without an upper end where the effect may be nothing."
        f"\nWants --reach, and --spend{f' in {currency}' if currency else ''} for the cost.",
    )


def _looks(
    outcome: Floats, treated: Flags, known_us: np.ndarray, planned: int, as_of: datetime | None
) -> Table:
    """The first outcome as it stood at the end of each of the last days on which somebody's horizon ended."""
    body: list[tuple[Cell, ...]] = []
    order = np.argsort(known_us, kind="stable")
    day = known_us[order] // (WEEK_US // 7)
    ends = np.flatnonzero(np.append(np.diff(day) > 0, True)) if len(day) else np.zeros(0, dtype=np.int64)
    for end in ends[-LOOKS:]:
        mine = order[: end + 1]
        if min(int(treated[mine].sum()), int((~treated[mine]).sum())) < FEWEST:
            continue
        one = effect_of(outcome[mine], treated[mine], planned=planned)
        body.append(
            (
                f"{from_us(int(known_us[order[end]])):%Y-%m-%d}",
                len(mine),
                one.difference,
                one.ever_low,
                one.ever_high,
                one.low,
                one.high,
            )
        )
    return table(
        "Looks at the users who borrowed",
        columns(
            "day users difference low high once_low once_high",
            difference=SHARE,
            low=SHARE,
            high=SHARE,
            once_low=SHARE,
            once_high=SHARE,
        ),
        body,
        "low and high may be looked at every day; once_low and once_high hold at one look alone."
        " Not freed of what was known before.",
    )


def _outlook(effects: dict[str, Effect], rows: Entered, asked: Asked) -> Table:
    """What could be seen now and in some weeks, if nobody else entered."""
    body: list[tuple[Cell, ...]] = []
    effect = effects.get("reloan")
    if effect is not None and rows.as_of is not None:
        sd = effect.se / np.sqrt(1 / effect.treated + 1 / effect.control)
        reach = asked.reach or 1.0
        now_us = to_us(rows.as_of)
        for weeks in AHEAD:
            users = int((rows.known_us <= now_us + weeks * WEEK_US).sum())
            held = round(users * asked.share)
            least = smallest_effect(float(sd), users - held, held, reach=reach)
            base = effect.control_mean
            body.append(
                (
                    weeks,
                    users,
                    held,
                    least,
                    least / base if least is not None and base else None,
                )
            )
    return table(
        "What can be seen, and when",
        columns("weeks users held_out smallest smallest_lift", smallest=SHARE, smallest_lift=SHARE),
        body,
        "Of those who have entered by now, once their horizon is over. smallest: the effect on a user"
        f"\n{'reached' if asked.reach else 'of the treated arm'} that is seen 80 % of the time.",
    )


def _notes(effects: dict[str, Effect], rows: Entered, asked: Asked) -> tuple[str, ...]:
    notes = []
    waiting = len(rows.users) - int(rows.is_mature.sum())
    if waiting:
        notes.append(f"{waiting:,} users are younger than the horizon and are left out.")
    if effects and not asked.is_over:
        notes.append(
            "The holdout has no end, or has not reached it: intervals hold at every look, and are wider."
        )
    if "loss" in effects and not rows.outcomes["loss"].any():
        notes.append("Nothing was lost within the horizon: margin is before losses that come later.")
    return tuple(notes)


def promise(design: Design, asked: float, found: Sequence[Sight]) -> str:
    """Whether the effect hoped for is seen by every design, and what it would take where it is not."""
    blind = [one for one in found if not one.promised]
    if not blind:
        return f"Promised: an effect of {asked:.2%} on a reached user is seen by each of these."
    users, share = min(
        (users_for(asked, design.sd, one.share, reach=design.reach, explained=design.explained), one.share)
        for one in found
    )
    return (
        f"Not promised by {len(blind)} of {len(found)} designs: an effect of {asked:.2%} on a reached user is"
        f" smaller than what they see. With {share:.0%} held out it takes {users:,} users; pool weeks,"
        " hold out more, or reach more of the treated."
    )


def own_design(rows: Entered, reach: float) -> Design:
    """The design of a holdout on the lender's own users: how many there are, and how many borrow again.

    Out of users who entered and whose horizon is over; raises `LendsignalError` where they are too few.
    """
    mature = rows.is_mature
    outcome, facts = rows.outcomes["reloan"][mature], rows.facts[mature]
    if len(outcome) < FEWEST:
        raise LendsignalError(
            f"{len(outcome):,} users with a horizon behind them tell too little: say --rate and --eligible"
        )
    rate = float(outcome.mean())
    if not 0 < rate < 1:
        raise LendsignalError(f"{rate:.0%} of the users borrowed again: say --rate and --eligible")
    before = foretold(facts, outcome, np.arange(len(outcome)) % FOLDS)
    explained = float(np.corrcoef(before, outcome)[0, 1] ** 2) if before.std() > 0 else 0.0
    latest = int(rows.known_us.max())
    weekly = float((rows.known_us > latest - 4 * WEEK_US).sum()) / 4
    return rate_design(rate, len(rows.users), weekly=weekly, reach=reach, explained=explained)


class HoldoutPlan(Reckoned, frozen=True, kw_only=True):
    """`sights` has what each way of holding out would see; `promise` says in words what is not promised."""

    promise: str
    sights: Table


def plan_of(design: Design, found: Sequence[Sight], promise: str) -> HoldoutPlan:
    """What each way of holding out would see, for people."""
    rows: list[tuple[Cell, ...]] = [
        (
            f"{one.share:.0%} held out, {one.weeks} weeks" if one.weeks else f"{one.share:.0%} held out, now",
            one.relative,
            one.smallest,
            one.users,
            one.held,
            one.promised,
            one.forgone,
        )
        for one in found
    ]
    return HoldoutPlan(
        title="What a holdout would see",
        promise=promise,
        sights=table(
            "The smallest effect that is seen",
            columns(
                "design smallest_lift smallest users held_out promised forgone",
                smallest=SHARE,
                smallest_lift=SHARE,
            ),
            rows,
            f"Of {design.mean:.2%} who borrow anyway, with {design.reach:.0%} of the treated reached and"
            f" {design.explained:.1%} of the variance known before.\nsmallest: the effect on a reached user"
            " that is seen 80 % of the time; smallest_lift: its part of the rate.\nweeks: of further entries,"
            " for pooling. forgone: loans of the held out, if what is hoped for is real.",
        ),
        notes=(promise,) if promise else (),
    )
