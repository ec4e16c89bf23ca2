"""The trade's rules of thumb about which event to optimise for, each tried in made-up markets.

A rule is taken apart into claims, each a figure that must lie above 0 in the mean over worlds. The rules are
hearsay of the trade and were written down before anything was run; no parameter was moved to bring one out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from lendsignal.advise.strategies import Event
from lendsignal.simulate.chance import Floats
from lendsignal.simulate.market.comparing import Worlds, returns, total
from lendsignal.simulate.market.parameters import Strategy

Changes: TypeAlias = Mapping[str, Any]

NEW: Changes = {"people": {"intent_quality": 0.3}}
MATURE: Changes = {"people": {"intent_quality": -0.35}}
BURNT: Changes = {"people": {"intent_quality": -0.75}}
SAME_DAY: Changes = {"journey": {"manual": 0.0, "payout_next_day": 0.0}}
SLOW: Changes = {"journey": {"manual": 0.8, "payout_next_day": 0.8}}
INSTANT: Changes = {"journey": {"manual": 0.0}}
OVERNIGHT: Changes = {"journey": {"manual": 0.8, "desk_opens": 9.0, "desk_closes": 11.0}}
SHORT: Changes = {"channel": {"meta": {"window_days": 1.0}}}
DEAR: Changes = {"lender": {"fee": 0.35, "recovered": 0.6}}
CHEAP: Changes = {"lender": {"fee": 0.12, "recovered": 0.1}}
MANY_RETURN: Changes = {"people": {"returning": 0.4}}
FEW_RETURN: Changes = {"people": {"returning": 0.02}}
THIN: Changes = {"channel": {name: {"budget": 15.0} for name in ("meta", "google", "tiktok")}}
BEGINNING: Changes = {"ads": {"days": 14}}


class Claim(Struct, frozen=True, kw_only=True):
    """A figure that must lie above 0: `figure` of what each of the cases bought, as a part of 1.

    `beside`: it is shown beside the rule, which does not claim it.
    """

    words: str
    cases: tuple[Strategy, ...]
    figure: Callable[..., Floats]
    beside: bool = False


class Rule(Struct, frozen=True, kw_only=True):
    """A rule of thumb, why it may be so, and what it claims."""

    rule: str
    why: str
    claims: tuple[Claim, ...]


def case(event: Event, *changes: Changes, **parts: Any) -> Strategy:
    """An event in a market with these changes; its name says all of it."""
    market: dict[str, Any] = {}
    for one in changes:
        market = joined(market, one)
    return Strategy(name=f"{event} {parts} {market}", event=event, market=market, **parts)


def joined(keys: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Both, table by table; the second one's word counts."""
    found = dict(keys)
    for key, value in more.items():
        inner = found.get(key)
        found[key] = joined(inner, value) if isinstance(inner, dict) else value
    return found


def _more(one: Worlds, other: Worlds) -> Floats:
    """By how much the first leaves more of a unit spent."""
    return returns(one) - returns(other)


def _better(one: Event, other: Event, where: str, *changes: Changes, beside: bool = False) -> Claim:
    return Claim(
        words=f"{where}: {one} leaves more than {other}",
        cases=(case(one, *changes), case(other, *changes)),
        figure=_more,
        beside=beside,
    )


def _on(channel: str) -> Callable[[Worlds, Worlds], Floats]:
    """By how much the first leaves more of a unit spent at one platform."""
    return lambda one, other: returns(one, channel) - returns(other, channel)


def _gap(a: Worlds, b: Worlds, c: Worlds, d: Worlds) -> Floats:
    """The first difference less the second."""
    return _more(a, b) - _more(c, d)


def _meta_loses_more(instant: Worlds, overnight: Worlds) -> Floats:
    return _on("meta")(instant, overnight) - _on("google")(instant, overnight)


def _nothing_gained(channel: str) -> Callable[[Worlds, Worlds], Floats]:
    """Less than one point more than without, at one platform."""
    return lambda told, nothing: 0.01 - (returns(told, channel) - returns(nothing, channel))


def _fewer(early: Worlds, tier: Worlds) -> Floats:
    return 1 - total(tier, "loans") / total(early, "loans")


REBOUND: Sequence[tuple[Event, str, Changes]] = (
    ("disbursement", "40 % return", MANY_RETURN),
    ("first_loan", "40 % return", MANY_RETURN),
    ("disbursement", "2 % return", FEW_RETURN),
)

RULES: Sequence[Rule] = (
    Rule(
        rule="In a new market optimise for early events",
        why="Early events are many, and where the keen are also good they already point the right way.",
        claims=(
            _better("application", "credit_top20", "new, little spend", NEW, THIN),
            _better("application", "first_credit", "new, little spend", NEW, THIN),
            _better("application", "first_credit", "new, its first two weeks", NEW, THIN, BEGINNING),
            _better("application", "credit_top20", "new, ordinary spend", NEW),
            _better("application", "first_credit", "new, ordinary spend", NEW),
        ),
    ),
    Rule(
        rule="In a mature market optimise for the grant and for tiers",
        why="Once the keenest are those whom nobody else lends to, an application says little good.",
        claims=(
            _better("first_credit", "application", "mature", MATURE),
            _better("credit_top50", "application", "mature", MATURE),
            _better("credit_top50", "first_credit", "mature", MATURE, beside=True),
            _better("credit_top50", "first_credit", "burnt", BURNT, beside=True),
        ),
    ),
    Rule(
        rule="Where loans are paid out the same day optimise for the disbursement",
        why="A disbursement knows all that a grant knows and who took it, if it is not too late for that.",
        claims=(
            _better("first_loan", "application", "same day", SAME_DAY),
            _better("first_loan", "first_credit", "same day", SAME_DAY),
            Claim(
                words="same day against slow: first_loan gains more on first_credit",
                cases=(
                    case("first_loan", SAME_DAY),
                    case("first_credit", SAME_DAY),
                    case("first_loan", SLOW),
                    case("first_credit", SLOW),
                ),
                figure=_gap,
                beside=True,
            ),
        ),
    ),
    Rule(
        rule="Overnight review hurts, and on Meta more than on Google",
        why="What is told a day later teaches a day later, and what is told after the window never does.",
        claims=(
            Claim(
                words="Meta, 7 days: first_credit leaves more where it is decided at once",
                cases=(case("first_credit", INSTANT), case("first_credit", OVERNIGHT)),
                figure=_on("meta"),
            ),
            Claim(
                words="Meta, 1 day: first_credit leaves more where it is decided at once",
                cases=(case("first_credit", INSTANT, SHORT), case("first_credit", OVERNIGHT, SHORT)),
                figure=_on("meta"),
            ),
            Claim(
                words="Google, 30 days: first_credit leaves more where it is decided at once",
                cases=(case("first_credit", INSTANT), case("first_credit", OVERNIGHT)),
                figure=_on("google"),
            ),
            Claim(
                words="Meta with 7 days loses more than Google",
                cases=(case("first_credit", INSTANT), case("first_credit", OVERNIGHT)),
                figure=_meta_loses_more,
            ),
            Claim(
                words="Meta with 1 day loses more than Google",
                cases=(case("first_credit", INSTANT, SHORT), case("first_credit", OVERNIGHT, SHORT)),
                figure=_meta_loses_more,
            ),
            Claim(
                words="Meta, 1 day, overnight: likely_credit leaves more than first_credit",
                cases=(case("likely_credit", OVERNIGHT, SHORT), case("first_credit", OVERNIGHT, SHORT)),
                figure=_on("meta"),
                beside=True,
            ),
            Claim(
                words="Meta, 1 day, overnight: application leaves more than first_credit",
                cases=(case("application", OVERNIGHT, SHORT), case("first_credit", OVERNIGHT, SHORT)),
                figure=_on("meta"),
                beside=True,
            ),
        ),
    ),
    Rule(
        rule="Repayment is useless as a goal",
        why="It comes when every window is closed, or nearly so.",
        claims=(
            _better("first_credit", "repayment", "any"),
            *(
                Claim(
                    words=f"{channel}: repayment leaves less than a point more than telling nothing",
                    cases=(case("repayment"), case("none")),
                    figure=_nothing_gained(name),
                )
                for name, channel in (("meta", "Meta, 7 days"), ("google", "Google, 30 days"))
            ),
        ),
    ),
    Rule(
        rule="High interest with strong collection favours early events",
        why="Where nearly everybody is worth having, it is numbers that count.",
        claims=(
            _better("application", "credit_top50", "high interest, strong collection", DEAR),
            Claim(
                words="high against low interest: application gains on credit_top50",
                cases=(
                    case("application", DEAR),
                    case("credit_top50", DEAR),
                    case("application", CHEAP),
                    case("credit_top50", CHEAP),
                ),
                figure=_gap,
            ),
        ),
    ),
    Rule(
        rule="Moving from high to low interest favours tiers, at a cost in volume",
        why="At low interest one lost loan eats many good ones, so that fewer and better borrowers pay.",
        claims=(
            _better("credit_top50", "application", "low interest", CHEAP),
            _better("credit_top50", "first_credit", "low interest", CHEAP, beside=True),
            Claim(
                words="low interest: credit_top50 brings fewer borrowers than application, in per cent",
                cases=(case("application", CHEAP), case("credit_top50", CHEAP)),
                figure=_fewer,
            ),
        ),
    ),
    Rule(
        rule="Binding to the last login beats the first install where reinstalls are common",
        why="Who returns has an old installation; by the first install a new one looks dead that is not.",
        claims=tuple(
            Claim(
                words=f"{where}: {event} leaves more by the last login",
                cases=(
                    case(event, changes, binding="last_login"),
                    case(event, changes, binding="first_install"),
                ),
                figure=_more,
                beside=changes is FEW_RETURN,
            )
            for event, where, changes in REBOUND
        ),
    ),
)
