"""Rules of thumb tried in made-up markets: every claim in every world, with every kind of platform."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.simulate.market.comparing import Interval, Worlds, interval, play
from lendsignal.simulate.market.parameters import Markets, Strategy, load_market
from lendsignal.simulate.market.rules import RULES, Changes, Rule, joined

LEARNERS = ("ridge", "bandit")
"""Platforms that the rules are tried with: what only one of them bears out is no rule."""

MARK = "<!-- From here on the page is written by `lendsignal simulate --rules --write`. -->"
"""What stands above it in the page is written by hand and stays."""

Holds: TypeAlias = Literal["holds", "the contrary holds", "open"]
Verdict: TypeAlias = Literal["comes out", "comes out in part", "contradicted", "not told apart"]


class Finding(Struct, frozen=True, kw_only=True):
    """What a claim came to, by the kind of platform. `beside`: the rule does not claim it."""

    words: str
    beside: bool
    found: Mapping[str, Interval]

    @property
    def holds(self) -> Holds:
        """Whether it is sure with every kind of platform, or its contrary is."""
        if all(one.is_positive for one in self.found.values()):
            return "holds"
        if all(one.is_negative for one in self.found.values()):
            return "the contrary holds"
        return "open"


class Tried(Struct, frozen=True, kw_only=True):
    """A rule with all its findings, and what they amount to."""

    rule: str
    why: str
    verdict: Verdict
    findings: tuple[Finding, ...]


def tried(
    *,
    worlds: int,
    seed: int,
    market: Path | None = None,
    changes: Changes | None = None,
    rules: Sequence[Rule] = RULES,
    learners: Sequence[str] = LEARNERS,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> list[Tried]:
    """Every rule with what it came to; `changes` are made to the market before those of the rules."""
    cases = {one.name: one for rule in rules for claim in rule.claims for one in claim.cases}
    by_all = [
        replace(one, name=f"{learner} {name}", market=joined(one.market, {"ads": {"learner": learner}}))
        for learner in learners
        for name, one in cases.items()
    ]
    played = play(
        by_all,
        partial(_market_of, market, changes or {}),
        worlds=worlds,
        seed=seed,
        tell=lambda done: tell(done, worlds),
    )
    return [_tried(rule, played, learners) for rule in rules]


def _market_of(market: Path | None, changes: Changes, one: Strategy) -> Markets:
    return load_market(market, joined(changes, one.market))


def _tried(rule: Rule, played: Mapping[str, Worlds], learners: Sequence[str]) -> Tried:
    findings = tuple(
        Finding(
            words=claim.words,
            beside=claim.beside,
            found={
                learner: interval(claim.figure(*(played[f"{learner} {one.name}"] for one in claim.cases)))
                for learner in learners
            },
        )
        for claim in rule.claims
    )
    return Tried(rule=rule.rule, why=rule.why, verdict=verdict_of(findings), findings=findings)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Of what the rule claims: all of it holds, some of it, none but a contrary, or neither."""
    told = [one.holds for one in findings if not one.beside]
    if all(one == "holds" for one in told):
        return "comes out"
    if "holds" in told:
        return "comes out in part"
    return "contradicted" if "the contrary holds" in told else "not told apart"


def written(found: Sequence[Tried], worlds: int) -> str:
    """The findings as Markdown: a table of verdicts, then each rule with its figures."""
    learners = list(found[0].findings[0].found)
    lines = [
        f"Each claim was tried in {worlds} made-up worlds, with each of these kinds of platform:"
        f" {', '.join(learners)}.",
        "Figures are points of profit for each 100 spent, where the claim says no other, with their 95 %"
        " interval over worlds.",
        "",
        "| rule | verdict | claims that hold | contrary | open |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for one in found:
        told = [each.holds for each in one.findings if not each.beside]
        counts = (told.count(word) for word in ("holds", "the contrary holds", "open"))
        lines.append(f"| {one.rule} | **{one.verdict}** | {' | '.join(map(str, counts))} |")
    heads = "".join(f" {learner} | 95 % |" for learner in learners)
    for one in found:
        lines += [
            "",
            f"## {one.rule}",
            "",
            f"The reason given: {one.why[0].lower()}{one.why[1:]}",
            f"Verdict: **{one.verdict}**.",
            "",
            f"| claim |{heads} |",
            f"| --- |{' ---: | ---: |' * len(learners)} --- |",
        ]
        lines += [
            f"| {'*beside:* ' if each.beside else ''}{each.words} |"
            + "".join(f" {_points(each.found[learner])} |" for learner in learners)
            + f" {each.holds} |"
            for each in one.findings
        ]
    return "\n".join(lines) + "\n"


def _points(one: Interval) -> str:
    return f"{100 * one.mean:+.1f} | {100 * one.low:+.1f} to {100 * one.high:+.1f}"


def with_findings(page: str, findings: str) -> str:
    """The page with these findings below its mark; what stands above stays."""
    head = page.partition(MARK)[0].rstrip()
    return f"{head}\n\n{MARK}\n\n{findings}" if head else f"{MARK}\n\n{findings}"
