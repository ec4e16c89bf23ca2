"""Policy pre-flight: what the platforms' rules for lenders say of an app's loans, before anything is bought.

Pure. A rule is a row of `RULES` with its source and the day it was read; rules change without notice, so
what is found here is a warning to look, and never the last word.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.model import App

READ = "2026-11-22"

EUROPE = frozenset(
    "AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split()
)
US_AND_CANADA = frozenset(("US", "CA"))

LABELS: Mapping[str, str] = {
    "meta": "Meta",
    "google": "Google Ads",
    "google_play": "Google Play",
    "app_store": "App Store",
    "tiktok": "TikTok",
    "snap": "Snap",
    "kwai": "Kwai",
}
"""The platforms that rules are about: where ads are bought, and the stores that carry the app."""

PLATFORM_OF: Mapping[str, str] = {
    "meta": "meta",
    "google": "google",
    "google_ads": "google",
    "google_app": "google",
    "google_data_manager": "google",
    "ga4": "google",
    "firebase": "google",
    "tiktok": "tiktok",
    "snap": "snap",
    "kwai": "kwai",
}
"""Whose rules count, by a destination's kind or a word of `forwards`."""


class Rule(Struct, frozen=True, kw_only=True):
    """One rule of a platform. `says` is our summary of it, `source` its page, `read` the day it was read.

    `countries`: where it holds; `None`: everywhere. `longer_than_days`: a loan may not have to be repaid in
    full within so many days. `apr_below`, `apr_at_most`: limits of the yearly rate in per cent, costs and
    fees included. A rule with none of these is a duty, which nothing here can judge. `names`: judged at
    each route, by the words of its names.
    """

    name: str
    platform: str
    says: str
    source: str
    read: str = READ
    countries: frozenset[str] | None = None
    longer_than_days: int | None = None
    apr_below: float | None = None
    apr_at_most: float | None = None
    names: bool = False

    @property
    def is_duty(self) -> bool:
        """Whether it asks for something that no setting tells."""
        limits = (self.longer_than_days, self.apr_below, self.apr_at_most)
        return not self.names and all(limit is None for limit in limits)


META_LOANS = (
    "https://transparency.fb.com/policies/ad-standards/deceptive-content/"
    "prohibited-financial-products-and-services"
)
META_FINANCE = (
    "https://transparency.meta.com/policies/ad-standards/restricted-goods-services/financial-services"
)
META_CATEGORY = "https://www.facebook.com/business/help/2220749868045706"
META_AUDIENCES = "https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences"
GOOGLE_LOANS = "https://support.google.com/adspolicy/answer/15188216"
GOOGLE_PERSONAL = "https://support.google.com/adspolicy/answer/143465"
PLAY_FINANCE = "https://support.google.com/googleplay/android-developer/answer/9876821"
APP_STORE = "https://developer.apple.com/app-store/review/guidelines/#unacceptable"
TIKTOK_HELP = "https://ads.tiktok.com/help/"
TIKTOK_FINANCE = "https://ads.tiktok.com/help/article/tiktok-ads-policy-financial-services"
SNAP_FINANCE = "https://values.snap.com/policy/ads-category-requirements/financial-products-services"

NAMES = Rule(
    name="neutral_names",
    platform="meta",
    says="names of custom conversions and audiences that tell a financial status are flagged",
    source=META_AUDIENCES,
    names=True,
)

RULES: tuple[Rule, ...] = (
    Rule(
        name="meta_short_loans",
        platform="meta",
        says="no ads for loans that must be repaid in full within 90 days, payday loans and paycheck "
        "advances among them",
        source=META_LOANS,
        longer_than_days=90,
    ),
    Rule(
        name="meta_loans",
        platform="meta",
        says="ads for loans go to adults only, show the regulator's authorisation where there is one, and "
        "ask for no personal or financial data",
        source=META_FINANCE,
    ),
    Rule(
        name="meta_special_category",
        platform="meta",
        says="campaigns must be declared FINANCIAL_PRODUCTS_SERVICES: no lookalikes, no exclusions, no "
        "choice of age, gender or postcode",
        source=META_CATEGORY,
        countries=US_AND_CANADA,
    ),
    Rule(
        name="meta_special_category_europe",
        platform="meta",
        says="the special category for credit holds in parts of Europe too: see whether this country is one",
        source=META_CATEGORY,
        countries=EUROPE,
    ),
    NAMES,
    Rule(
        name="google_short_loans",
        platform="google",
        says="no ads for personal loans that must be repaid in full within 60 days",
        source=GOOGLE_LOANS,
        longer_than_days=60,
    ),
    Rule(
        name="google_apr",
        platform="google",
        says="no ads for personal loans with an APR of 36 % or more",
        source=GOOGLE_LOANS,
        countries=frozenset(("US",)),
        apr_below=36,
    ),
    Rule(
        name="google_disclosure",
        platform="google",
        says="the page or app behind the ad shows shortest and longest term, highest APR and an example",
        source=GOOGLE_LOANS,
    ),
    Rule(
        name="google_personalised",
        platform="google",
        says="consumer finance is not targeted by gender, age, parental or marital status, or postcode",
        source=GOOGLE_PERSONAL,
        countries=US_AND_CANADA,
    ),
    Rule(
        name="play_short_loans",
        platform="google_play",
        says="no apps for personal loans that must be repaid in full within 60 days; lines of credit count "
        "since May 2025",
        source=PLAY_FINANCE,
        longer_than_days=60,
    ),
    Rule(
        name="play_disclosure",
        platform="google_play",
        says="the listing is in Finance, shows terms, highest APR and an example, and the app reads neither "
        "contacts nor photos nor the precise location",
        source=PLAY_FINANCE,
    ),
    Rule(
        name="play_licence",
        platform="google_play",
        says="a personal loan app proves its licence to Google in this country",
        source=PLAY_FINANCE,
        countries=frozenset("ID IN KE NG PH PK TH".split()),
    ),
    Rule(
        name="app_store_short_loans",
        platform="app_store",
        says="no loan apps that ask for full repayment in 60 days or less (guideline 3.2.2 ix)",
        source=APP_STORE,
        longer_than_days=60,
    ),
    Rule(
        name="app_store_apr",
        platform="app_store",
        says="no loan apps with an APR above 36 %, costs and fees included (guideline 3.2.2 ix)",
        source=APP_STORE,
        apr_at_most=36,
    ),
    Rule(
        name="tiktok_short_loans",
        platform="tiktok",
        says="no ads for short-term loans: 90 days or less by the English text, which names an APR of 50 % "
        "beside it; payday loans and debt consolidation neither",
        source=TIKTOK_FINANCE,
        longer_than_days=90,
    ),
    Rule(
        name="tiktok_licence",
        platform="tiktok",
        says="loans are advertised to adults only, and by country with the licence TikTok asks for there",
        source=TIKTOK_FINANCE,
    ),
    Rule(
        name="tiktok_special_category",
        platform="tiktok",
        says="credit is not targeted by gender, postcode or interest words, and has no lookalikes",
        source=TIKTOK_HELP,
        countries=US_AND_CANADA,
    ),
    Rule(
        name="snap_loans",
        platform="snap",
        says="ads show APR, repayment period, costs, penalties and the lender's address; no payday loans; "
        "Snap gives no figure for a term",
        source=SNAP_FINANCE,
    ),
    Rule(
        name="kwai_loans",
        platform="kwai",
        says="no public page was found: ask your contact at Kwai which loans it takes in this country",
        source="https://docs.qingque.cn/",
    ),
)
"""Every rule we know, in the order they are told."""


class Terms(Struct, frozen=True, kw_only=True):
    """What an app's loans are like, as far as the lender said. `shortest_term_days`: in which the shortest
    loan must be repaid in full. `apr_percent`: the highest yearly rate, costs and fees included."""

    shortest_term_days: int | None = None
    apr_percent: float | None = None


Verdict = Literal["breaks", "unknown", "duty"]


class Finding(Struct, frozen=True, kw_only=True):
    """What one rule says of one app: `breaks` it, `unknown` (a setting is missing), or a `duty` to mind.

    `because`: what was said that breaks it. `missing`: the setting of the app that would tell.
    """

    app: str
    platform: str
    rule: str
    verdict: Verdict
    says: str
    source: str
    read: str
    because: str = ""
    missing: str = ""


def platforms_of(app: App, kinds: Collection[str]) -> tuple[str, ...]:
    """Whose rules count for an app: its store's, and those of the platforms its conversions reach.

    `kinds` are kinds of destinations and words of `forwards`; what is no ad platform counts for nothing.
    """
    reached = {PLATFORM_OF[kind] for kind in kinds if kind in PLATFORM_OF}
    store = "google_play" if app.platform == "android" else "app_store"
    return tuple(platform for platform in LABELS if platform in {*reached, store})


def preflight(app: App, terms: Terms, platforms: Collection[str]) -> Iterator[Finding]:
    """What the platforms' rules say of an app's loans, in the order of `RULES`; nothing where all is well."""
    for rule in RULES:
        if rule.platform not in platforms or rule.names:
            continue
        if rule.countries is not None and app.country not in rule.countries:
            continue
        for verdict, because, missing in _judged(rule, terms):
            yield Finding(
                app=app.name,
                platform=rule.platform,
                rule=rule.name,
                verdict=verdict,
                says=rule.says,
                source=rule.source,
                read=rule.read,
                because=because,
                missing=missing,
            )


def findings(
    apps: Iterable[App], terms: Mapping[str, Terms], reached: Collection[tuple[str, str]]
) -> list[Finding]:
    """What the rules say of each app that anything is sent for.

    `terms` are known by the app's name; `reached` has an app with each kind of destination, and each word of
    `forwards`, that its conversions go to.
    """
    found: list[Finding] = []
    for app in apps:
        kinds = {kind for name, kind in reached if name == app.name}
        if kinds:
            found += preflight(app, terms.get(app.name) or Terms(), platforms_of(app, kinds))
    return found


def alike(found: Iterable[Finding], verdict: Verdict) -> Iterator[tuple[Finding, list[str]]]:
    """Findings of a verdict that differ in nothing but their apps, with the names of these."""
    apps: dict[Finding, list[str]] = {}
    for one in found:
        if one.verdict == verdict:
            apps.setdefault(replace(one, app=""), []).append(one.app)
    yield from apps.items()


def _judged(rule: Rule, terms: Terms) -> Iterator[tuple[Verdict, str, str]]:
    """The verdict of a rule, with what breaks it and what is missing."""
    if rule.is_duty:
        yield "duty", "", ""
    if rule.longer_than_days is not None:
        days = terms.shortest_term_days
        if days is None:
            yield "unknown", "", "shortest_term_days"
        elif days <= rule.longer_than_days:
            yield "breaks", f"the shortest term is {days} days", ""
    if rule.apr_below is not None or rule.apr_at_most is not None:
        apr = terms.apr_percent
        if apr is None:
            yield "unknown", "", "apr_percent"
        elif (rule.apr_below is not None and apr >= rule.apr_below) or (
            rule.apr_at_most is not None and apr > rule.apr_at_most
        ):
            yield "breaks", f"the highest APR is {apr:g} %", ""
