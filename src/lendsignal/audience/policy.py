"""What platforms and fair lending allow a lender's lists: said before anything is sent. Pure.

Platforms change their rules without notice: what is found here is a warning to look, and never the last word.
The pages were read on 2026-11-22.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b

from msgspec import Struct

from lendsignal.audience.definitions import Definition
from lendsignal.audience.rule import rule_sql
from lendsignal.audience.settings import AudienceSettings
from lendsignal.destination.audiences import audience_platforms
from lendsignal.destination.spec import sensitive_word
from lendsignal.errors import InputError
from lendsignal.model.audience import Use

US_AND_CANADA = frozenset(("US", "CA"))
EUROPE = frozenset(
    "AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split()
)

MATCHES_AT_BEST = 0.6
"""Platforms rarely find more of a list than this part: a list just at a floor will not be enough."""


class Special(Struct, frozen=True, kw_only=True):
    """Where a platform treats ads for credit as a special category, and what it forbids there."""

    countries: frozenset[str]
    forbids: frozenset[Use]
    says: str
    source: str


SPECIAL: Mapping[str, Special] = {
    "meta": Special(
        countries=US_AND_CANADA | EUROPE,
        forbids=frozenset(("seed", "exclusion")),
        says="campaigns of the special category for financial products have no look-alikes and no exclusions",
        source="https://www.facebook.com/business/help/2220749868045706",
    ),
    "tiktok": Special(
        countries=US_AND_CANADA,
        forbids=frozenset(("seed",)),
        says="ads for credit have no look-alikes",
        source="https://ads.tiktok.com/help/",
    ),
    "google": Special(
        countries=US_AND_CANADA,
        forbids=frozenset(("seed", "exclusion")),
        says="consumer finance may not be targeted by lists of your own in personalised advertising",
        source="https://support.google.com/adspolicy/answer/143465",
    ),
}

_SELECT = re.compile(r"\s*(select|with|from)\b", re.IGNORECASE)

UNCONFIRMED = (
    "made of people who did not pay or were turned down, or of whom only you know: fair lending law and the"
    " platforms have their say; `lendsignal audience confirm` records who answers for it, and why"
)


def code_of(portfolio: str, name: str) -> str:
    """A list's name on the platforms, which tells nothing: the same for the same list always."""
    return f"ls-{blake2b(f'{portfolio}/{name}'.encode(), digest_size=4).hexdigest()}"


def hidden(
    definition: Definition, kind: str, countries: Collection[str], special: Collection[str] = ()
) -> str | None:
    """Why a list may not be used with that kind of account; `None`: it may.

    `countries` are those of its users; `special` replaces the countries that we hold for special.
    """
    rule = SPECIAL.get(kind)
    if rule is None or definition.use not in rule.forbids:
        return None
    found = sorted(set(countries) & (frozenset(special) or rule.countries))
    return f"{rule.says} ({', '.join(found)}; {rule.source})" if found else None


def below_floor(use: Use, kind: str, by_country: Mapping[str, int]) -> str | None:
    """What a list is too small for, by members a country; `None`: it is large enough, or nobody knows."""
    platform = audience_platforms().get(kind)
    if platform is None:
        return None
    spec = platform.SPEC
    members = max(by_country.values(), default=0) if use == "seed" else sum(by_country.values())
    wanted = spec.seed_floor if use == "seed" else spec.floor
    where = " of one country" if use == "seed" else ""
    if members < wanted:
        return f"{members:,} members{where}: {kind} wants {wanted:,} ({spec.docs})"
    if members * MATCHES_AT_BEST < wanted:
        return (
            f"{members:,} members{where}: {kind} wants {wanted:,} that it finds, and rarely finds more than"
            f" {MATCHES_AT_BEST:.0%} ({spec.docs})"
        )
    return None


def problems(name: str, one: AudienceSettings) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a list's settings: key, what was found, what is allowed."""
    kinds = [key for key in ("kind", "sql", "rule") if getattr(one, key) is not None]
    if len(kinds) != 1:
        yield "", " and ".join(kinds) or "no kind, sql or rule", "one of the three"
    if one.rule is not None:
        try:
            rule_sql(one.rule)
        except InputError as error:
            yield "rule", f"{error.field}: {error.rule}", "CEL over user and snapshot"
    if one.sql is not None and (wrong := _problem_with_sql(one.sql)) is not None:
        yield "sql", wrong, 'one statement: select "user" from … (docs/reference/audiences.md)'
    if one.code is not None and (word := sensitive_word(one.code)) is not None:
        yield "code", f"{one.code!r}, which says {word!r}", "a neutral code, or none: one is made"
    if one.top is not None and one.value is None and one.kind != "good_repayers" and one.sql is None:
        yield "top", "no value to rank by", 'value = "realised" or "predicted" beside it'
    if one.kind != "top_tier":
        for key in ("share", "basis"):
            if getattr(one, key) is not None:
                yield key, f"{key} of {one.kind or 'an own list'}", 'only with kind = "top_tier"'
    for key in ("within", "cooling"):
        span = getattr(one, key)
        if span is not None and span.total_seconds() <= 0:
            yield key, "no time at all", "a span such as 30d"


def _problem_with_sql(text: str) -> str | None:
    """What can be seen without the tables; the rest is told when it is asked."""
    if not _SELECT.match(text):
        return "something that is no select"
    return "several statements" if ";" in text.rstrip().removesuffix(";") else None
