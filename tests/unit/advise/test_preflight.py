"""The policy pre-flight: each limit by its day and per cent, each rule with its page and date."""

import re
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.acme import ANDROID, IOS

from lendsignal.advise.preflight import (
    LABELS,
    PLATFORM_OF,
    RULES,
    Finding,
    Rule,
    Terms,
    platforms_of,
    preflight,
)
from lendsignal.destination import registry
from lendsignal.model import App

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "policy-preflight.md"
EVERYWHERE = tuple(LABELS)


def of(country: str, app: App = ANDROID) -> App:
    return replace(app, country=country)


def findings(app: App, terms: Terms, *platforms: str) -> list[Finding]:
    return list(preflight(app, terms, platforms or EVERYWHERE))


def broken(days: int, apr: float = 20.0, *, country: str = "PH", platform: str) -> list[str]:
    """The rules of a platform that such a loan breaks."""
    terms = Terms(shortest_term_days=days, apr_percent=apr)
    return [one.rule for one in findings(of(country), terms, platform) if one.verdict == "breaks"]


@pytest.mark.parametrize(
    ("platform", "last_refused_day", "rule"),
    [
        # specs: "any loan repayable in full within 90 days or less", worldwide
        ("meta", 90, "meta_short_loans"),
        # "no full repayment within 60 days"
        ("google", 60, "google_short_loans"),
        ("google_play", 60, "play_short_loans"),
        # guideline 3.2.2 (ix): "may not require repayment in full in 60 days or less"
        ("app_store", 60, "app_store_short_loans"),
        ("tiktok", 90, "tiktok_short_loans"),
    ],
)
def test_a_term_breaks_the_rule_up_to_its_last_day_and_not_a_day_longer(
    platform: str, last_refused_day: int, rule: str
) -> None:
    assert broken(last_refused_day, platform=platform) == [rule]
    assert broken(last_refused_day + 1, platform=platform) == []
    assert broken(1, platform=platform) == [rule]


def test_google_refuses_36_per_cent_in_the_us_and_has_no_limit_elsewhere() -> None:
    assert broken(365, 35.9, country="US", platform="google") == []
    assert broken(365, 36.0, country="US", platform="google") == ["google_apr"]
    assert broken(365, 300.0, country="PH", platform="google") == []


def test_the_app_store_allows_36_per_cent_and_nothing_above_in_every_country() -> None:
    assert broken(365, 36.0, country="MX", platform="app_store") == []
    assert broken(365, 36.1, country="MX", platform="app_store") == ["app_store_apr"]


def test_what_is_not_said_is_not_judged_and_names_its_setting() -> None:
    unknown = [one for one in findings(of("US"), Terms()) if one.verdict == "unknown"]
    missing = {(one.platform, one.missing) for one in unknown}

    assert missing == {
        ("meta", "shortest_term_days"),
        ("google", "shortest_term_days"),
        ("google", "apr_percent"),
        ("google_play", "shortest_term_days"),
        ("app_store", "shortest_term_days"),
        ("app_store", "apr_percent"),
        ("tiktok", "shortest_term_days"),
    }
    assert not [one for one in findings(of("US"), Terms()) if one.verdict == "breaks"]


def test_a_finding_says_what_breaks_the_rule_with_its_page_and_the_day_it_was_read() -> None:
    (one,) = [
        one for one in findings(of("NG"), Terms(shortest_term_days=30), "meta") if one.verdict == "breaks"
    ]

    assert (one.app, one.rule) == ("acme-ng", "meta_short_loans")
    assert one.because == "the shortest term is 30 days"
    assert (one.source, one.read) == (RULES[0].source, "2026-11-22")


@pytest.mark.parametrize(
    ("country", "duties"),
    [
        ("US", {"meta_special_category", "google_personalised", "tiktok_special_category"}),
        ("CA", {"meta_special_category", "google_personalised", "tiktok_special_category"}),
        ("PL", {"meta_special_category_europe"}),
        ("NG", {"play_licence"}),
        ("IN", {"play_licence"}),
        ("BR", set()),
    ],
)
def test_duties_of_one_country_are_told_there_and_nowhere_else(country: str, duties: set[str]) -> None:
    local = {rule.name for rule in RULES if rule.countries is not None and rule.is_duty}
    found = {one.rule for one in findings(of(country), Terms()) if one.verdict == "duty"}

    assert found & local == duties


def test_duties_that_hold_everywhere_are_told_everywhere() -> None:
    everywhere = {rule.name for rule in RULES if rule.countries is None and rule.is_duty}
    found = {one.rule for one in findings(of("BR"), Terms()) if one.verdict == "duty"}

    assert found == everywhere
    assert {"meta_loans", "snap_loans", "kwai_loans", "google_disclosure", "play_disclosure"} <= everywhere


def test_rules_count_for_the_store_and_for_where_conversions_end_up() -> None:
    assert platforms_of(ANDROID, ["appsflyer", "tiktok", "meta"]) == ("meta", "google_play", "tiktok")
    assert platforms_of(IOS, ["ga4", "webhook"]) == ("google", "app_store")
    assert platforms_of(ANDROID, []) == ("google_play",)


def test_only_rules_of_the_given_platforms_are_told() -> None:
    found = findings(of("US"), Terms(shortest_term_days=7, apr_percent=400.0), "tiktok")

    assert {one.platform for one in found} == {"tiktok"}


@given(st.integers(1, 400), st.integers(0, 400), st.floats(0, 400), st.floats(0, 400))
def test_a_longer_and_cheaper_loan_breaks_no_rule_that_a_shorter_and_dearer_one_keeps(
    days: int, more: int, apr: float, less: float
) -> None:
    better = Terms(shortest_term_days=days + more, apr_percent=max(0.0, apr - less))
    worse = Terms(shortest_term_days=days, apr_percent=apr)

    def breaks(terms: Terms) -> set[str]:
        return {one.rule for one in findings(of("US"), terms) if one.verdict == "breaks"}

    assert breaks(better) <= breaks(worse)


# the table


def test_every_ad_platform_among_the_destinations_has_rules() -> None:
    bought = {PLATFORM_OF[kind] for kind in registry() if kind in PLATFORM_OF}

    assert bought == {"meta", "google", "tiktok", "snap", "kwai"}
    assert bought | {"google_play", "app_store"} == {rule.platform for rule in RULES} == set(LABELS)


def test_rules_have_names_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_has_a_page_and_a_date(rule: Rule) -> None:
    assert urlsplit(rule.source).scheme == "https"
    assert date.fromisoformat(rule.read) >= date(2026, 1, 1)
    assert rule.says
    assert rule.says[0].islower()


def row(rule: Rule) -> str:
    """What the reference page says of a rule."""
    where = "everywhere" if rule.countries is None else ", ".join(sorted(rule.countries))
    limits = []
    if rule.longer_than_days is not None:
        limits.append(f"longer than {rule.longer_than_days} days")
    if rule.apr_below is not None:
        limits.append(f"APR below {rule.apr_below:g} %")
    if rule.apr_at_most is not None:
        limits.append(f"APR at most {rule.apr_at_most:g} %")
    judged = ", ".join(limits) or ("by the names of routes" if rule.names else "a duty")
    return (
        f"| `{rule.name}` | {LABELS[rule.platform]} | {rule.says} | {where} | {judged} | "
        f"[page]({rule.source}), {rule.read} |"
    )


def test_the_reference_page_has_every_rule_and_no_other() -> None:
    rows = re.findall(r"^\| `\w+` \| .*\[page\].*$", PAGE.read_text(), re.MULTILINE)

    assert rows == [row(rule) for rule in RULES]
