"""Everything that can be set about a made-up lender: one tree, one file.

The sentence beside each field is its documentation: `as_toml` writes it above the value, and the
shipped `parameters.toml` and docs/reference/generator.md are that text.
Waiting times are log-normal; shares lie between 0 and 1; money is in major units of the lender's currency.
Defaults follow what is known of a Nigerian lender's public loan book (terms, gaps between loans, delays,
lateness) and, where nothing is known, are plain guesses that a reader may change.
"""

import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta, Struct

from lendsignal.errors import ConfigError, Problem
from lendsignal.settings import read, toml_positions, toml_text, with_lines

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Hour = Annotated[int, Meta(ge=0, le=24)]
Text = Annotated[str, Meta(min_length=1)]

DEFAULT_FILE = Path(__file__).with_name("parameters.toml")


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the parameter file."""


class Delay(Section, frozen=True, kw_only=True):
    """A log-normal waiting time: half of all waits are shorter than the median."""

    median_seconds: Annotated[Positive, "the median wait, seconds"]
    spread: Annotated[NotNegative, "standard deviation of the wait's logarithm"] = 1.0


class Campaign(Section, frozen=True, kw_only=True):
    """One campaign of a channel."""

    name: Annotated[str, "as the ad platform calls it; empty for organic"]
    weight: Annotated[Positive, "its part in the channel's installs"] = 1.0
    quality: Annotated[float, "added to the channel's quality"] = 0.0
    retargeting: Annotated[bool, "true where it brings back people who had the app"] = False


class Channel(Section, frozen=True, kw_only=True):
    """One media source."""

    media_source: Annotated[Text, "as the MMP names it"]
    weight: Annotated[Positive, "its part in all installs"]
    quality: Annotated[float, "mean latent quality of its users, in standard deviations"]
    cost_per_install: Annotated[NotNegative, "mean cost of one install, lender's currency; 0 is unpaid"]
    campaigns: Annotated[tuple[Campaign, ...], "its campaigns"]


class Lender(Section, frozen=True, kw_only=True):
    """Who lends."""

    brand: Annotated[Text, "name of the brand; its apps are <brand>-android and <brand>-ios"] = "acme"
    country: Annotated[Text, "ISO 3166 code"] = "NG"
    currency: Annotated[Text, "ISO 4217 code; amounts are whole units of it"] = "NGN"
    timezone: Annotated[Text, "IANA name: local days, nights and office hours"] = "Africa/Lagos"
    locale: Annotated[Text, "language of the phones"] = "en-NG"
    carriers: Annotated[tuple[str, ...], "mobile networks of the country"] = (
        "MTN",
        "Airtel",
        "Glo",
        "9mobile",
    )
    android_bundle: Annotated[Text, "package name"] = "com.acme.loans"
    ios_bundle: Annotated[Text, "id and App Store number"] = "id1234567890"
    product: Annotated[Text, "name of the loan product"] = "cash"


class Period(Section, frozen=True, kw_only=True):
    """When, and how many people."""

    start: Annotated[date, "first local day on which the app can be installed"] = date(2026, 1, 1)
    days: Annotated[Count, "length; nothing that happens later is told"] = 180
    users: Annotated[Count, "people who register"] = 25_000
    monthly_growth: Annotated[float, Meta(gt=-1), "growth of daily installs in 30 days"] = 0.1


class People(Section, frozen=True, kw_only=True):
    """Who the users are. Quality and need are standard normal before the channel's part is added."""

    need_on_quality: Annotated[float, "how need falls with quality"] = -0.25
    never_register: Annotated[
        Annotated[float, Meta(ge=0, lt=1)], "share of installs without a registration"
    ] = 0.35
    registration: Annotated[Delay, "from install to registration"] = Delay(median_seconds=240, spread=1.0)
    test_user: Annotated[Share, "share of users who are staff; marked on each of their events"] = 0.003
    consent_given: Annotated[Share, "share who allow the use of their data for ads, at registration"] = 0.95
    consent_withdrawn: Annotated[Share, "share of those who take it back later"] = 0.01


class Applications(Section, frozen=True, kw_only=True):
    """When people ask for money. Logits: share = 1 / (1 + e^-x)."""

    apply_logit: Annotated[float, "of ever applying"] = 1.2
    apply_need: Annotated[float, "added to that per unit of need"] = 0.4
    soon_share: Annotated[Share, "share of first applications made right after registration"] = 0.5
    soon: Annotated[Delay, "from registration to those"] = Delay(median_seconds=1_200, spread=0.8)
    later: Annotated[Delay, "from registration to the others"] = Delay(median_seconds=259_200, spread=1.8)
    after_denial: Annotated[Share, "share of the denied who apply again"] = 0.25
    denial_cooling_days: Annotated[NotNegative, "shortest wait after a denial, days"] = 14
    after_refusal: Annotated[Share, "share of those granted who took nothing and apply again later"] = 0.4
    reborrow_logit: Annotated[float, "of borrowing again after a repaid loan"] = 0.9
    reborrow_need: Annotated[float, "added to that per unit of need"] = 0.8
    reborrow: Annotated[Delay, "from closing a loan to the next application"] = Delay(
        median_seconds=103_680, spread=2.4
    )
    overlap: Annotated[Share, "share of repeat applications made in the hour before the loan is closed"] = 0.0


class Decisions(Section, frozen=True, kw_only=True):
    """How applications are decided, and how long that takes."""

    manual_first: Annotated[Share, "share of first-loan applications that a person reviews"] = 0.4
    manual_repeat: Annotated[Share, "the same for repeat loans that need a new grant"] = 0.1
    automatic: Annotated[Delay, "from application to automatic decision"] = Delay(
        median_seconds=8, spread=2.08
    )
    opens_hour: Annotated[Hour, "local hour at which reviewers start"] = 8
    closes_hour: Annotated[Hour, "local hour at which they stop"] = 20
    weekends: Annotated[bool, "true where they work on Saturday and Sunday"] = False
    queue: Annotated[Delay, "from application, or opening, to the start of a review"] = Delay(
        median_seconds=1_800, spread=1.0
    )
    review: Annotated[Delay, "length of a review"] = Delay(median_seconds=480, spread=0.8)
    phone_check: Annotated[Share, "share of reviews followed by a call"] = 0.35
    phone_wait: Annotated[Delay, "from review to call"] = Delay(median_seconds=3_600, spread=1.2)
    phone_call: Annotated[Delay, "length of the call"] = Delay(median_seconds=240, spread=0.5)
    agent_login: Annotated[Share, "share of calls in which the agent opens the account on an own phone"] = 0.3
    agents: Annotated[Count, "people who make those calls"] = 5
    repeat_needs_grant: Annotated[Share, "share of repeat loans that need a new grant"] = 0.3


class Scoring(Section, frozen=True, kw_only=True):
    """The lender's score: centre + points × (quality·q + noise·ε + need·d + history·loans repaid)."""

    version: Annotated[Text, "name of the model"] = "s1"
    centre: Annotated[float, "score of the average applicant"] = 600.0
    points: Annotated[Positive, "points per standard deviation"] = 60.0
    quality: Annotated[float, "weight of latent quality"] = 0.75
    noise: Annotated[NotNegative, "weight of what the score gets wrong, once per user"] = 0.65
    need: Annotated[float, "weight of need"] = -0.1
    history: Annotated[float, "weight of each repaid loan, up to five"] = 0.1
    cut_off: Annotated[float, "granted from this score"] = 560.0
    second_version: Annotated[Text, "name of the model that replaces the first"] = "s2"
    second_version_from_day: Annotated[int, Meta(ge=0), "day of the replacement; 0 is never"] = 0
    second_version_shift: Annotated[float, "points added by it; the cut-off moves along"] = 40.0


class Loans(Section, frozen=True, kw_only=True):
    """Amounts, terms and fees."""

    smallest: Annotated[Positive, "smallest amount, lender's currency"] = 5_000
    largest: Annotated[Positive, "largest amount"] = 60_000
    step: Annotated[Count, "amounts are multiples of this"] = 500
    first_limit: Annotated[Positive, "limit of an average first grant"] = 11_000
    limit_per_score: Annotated[float, "growth of the limit's logarithm per standard deviation of score"] = (
        0.25
    )
    growth: Annotated[Positive, "factor on the limit with each repaid loan"] = 1.15
    term_days: Annotated[
        tuple[Count, ...], "terms, days; those over 30 are paid in instalments of 30 days"
    ] = (
        14,
        30,
        60,
        90,
    )
    first_weights: Annotated[tuple[NotNegative, ...], "weight of each term at the first loan"] = (
        45,
        50,
        4,
        1,
    )
    later_weights: Annotated[tuple[NotNegative, ...], "weight of each term from the sixth loan on"] = (
        12,
        65,
        18,
        5,
    )
    fee_shares: Annotated[tuple[Share, ...], "fee of each term, part of the amount"] = (
        0.15,
        0.24,
        0.27,
        0.30,
    )
    fee_step: Annotated[NotNegative, "fall of the fee with each repaid loan"] = 0.01
    smallest_fee: Annotated[Share, "where that fall ends"] = 0.1
    take_up_logit: Annotated[float, "of taking the money once it is granted"] = 1.5
    take_up_need: Annotated[float, "added to that per unit of need"] = 0.5
    payout: Annotated[Delay, "from decision to disbursement"] = Delay(median_seconds=120, spread=1.2)
    reversed: Annotated[Share, "share of disbursements that the bank returns within hours"] = 0.004
    cancelled: Annotated[Share, "share of loans that the user gives back within a day"] = 0.004


class Repayments(Section, frozen=True, kw_only=True):
    """How loans are repaid, or not. Logit of default = logit + quality·q + loan·min(k, 4) (+ long)."""

    default_logit: Annotated[float, "of default"] = -1.7
    default_quality: Annotated[float, "per unit of quality"] = -0.9
    default_loan: Annotated[float, "per loan number, up to four"] = -0.25
    default_long: Annotated[float, "for terms of 30 days and more"] = 0.15
    default_after_days: Annotated[
        Annotated[int, Meta(ge=10)], "days past due at which the lender writes off"
    ] = 45
    overdue_days: Annotated[tuple[Count, ...], "days past due that are told"] = (1, 3, 7, 15, 30)
    late: Annotated[Share, "share of instalments paid late by users of average quality"] = 0.17
    late_quality: Annotated[float, "added to the logit of that per unit of quality"] = -0.3
    late_days: Annotated[Positive, "mean lateness of those, days"] = 7.0
    same_day: Annotated[Share, "share of the punctual who pay on the due date, not before"] = 0.22
    early_days: Annotated[Positive, "mean days before the due date, of those who pay early"] = 6.0
    all_at_once: Annotated[Share, "share of instalment loans paid off with the first instalment"] = 0.35
    in_two_parts: Annotated[Share, "share of instalments paid in two payments"] = 0.05
    extended: Annotated[Share, "share of single-payment loans that are extended once"] = 0.04
    extension_days: Annotated[Count, "length of an extension"] = 14
    extension_fee: Annotated[Share, "its price, part of the amount"] = 0.05
    bounced: Annotated[Share, "share of closing payments that are reversed, and paid again"] = 0.004
    recovered: Annotated[Share, "share of defaulted loans from which something comes back"] = 0.15
    recovery_days: Annotated[Positive, "mean days until it does"] = 30.0
    day_precision: Annotated[Share, "share of payments known by the local day only"] = 0.03


class Phones(Section, frozen=True, kw_only=True):
    """Phones and installations. Hazards are per user and 30 days."""

    ios: Annotated[Share, "share of users who start with an iPhone"] = 0.08
    new_phone: Annotated[NotNegative, "hazard of a new phone"] = 0.03
    reinstall: Annotated[NotNegative, "hazard of installing again on the same phone"] = 0.10
    other_platform: Annotated[NotNegative, "hazard of a new phone of the other platform"] = 0.003
    before_loan: Annotated[Share, "share of those installs made because a loan is wanted now"] = 0.4
    retargeted: Annotated[Share, "share of reinstalls credited to a retargeting campaign"] = 0.35
    returns: Annotated[Share, "share of new phones after which the old one is used for some days more"] = 0.05
    shared: Annotated[Share, "share of users who register on the phone of another user"] = 0.02
    ring_users: Annotated[Share, "share of users who register on one of a few phones"] = 0.003
    ring_size: Annotated[Count, "users per such phone"] = 8
    ring_quality: Annotated[float, "added to the quality of such users"] = -1.5
    att_authorised: Annotated[Share, "share of iPhones whose owner allows tracking"] = 0.35
    att_denied: Annotated[Share, "share whose owner refuses; the rest were never asked"] = 0.5
    limit_ad_tracking: Annotated[Share, "share of Android phones with ad tracking switched off"] = 0.05


class Logins(Section, frozen=True, kw_only=True):
    """When people are seen in the app."""

    after_install: Annotated[Share, "share of later installations with a login within minutes"] = 0.85
    before_application: Annotated[Share, "share of applications with a login 20 s to 10 min before"] = 0.95
    before_repayment: Annotated[Share, "share of payments with a login 30 s to 15 min before"] = 0.6
    per_day: Annotated[
        NotNegative, "other visits per user and day, from registration to two weeks after the last loan"
    ] = 0.2
    opened_only: Annotated[Share, "share of those visits without a login (app_opened)"] = 0.5


class Arrivals(Section, frozen=True, kw_only=True):
    """How events travel, and what goes wrong."""

    travel: Annotated[Delay, "from happening to arrival"] = Delay(median_seconds=0.6, spread=0.8)
    late: Annotated[Share, "share of events that arrive a minute to a day late"] = 0.001
    late_touch: Annotated[Share, "share of touches that arrive a minute to an hour late"] = 0.01
    late_new_install: Annotated[Share, "the same for the first touch of an installation"] = 0.05
    disordered: Annotated[
        Share, "share of events held back 5 s to 5 min, so that later ones overtake them"
    ] = 0.01
    duplicated: Annotated[
        Share, "share of events that arrive once more, word for word, up to an hour later"
    ] = 0.005
    conflicting: Annotated[Share, "share of disbursements and payments told again with another amount"] = (
        0.0005
    )
    clock_ahead: Annotated[Share, "share of logins stamped by a phone whose clock is 1 to 12 h ahead"] = 0.002
    no_appsflyer_id: Annotated[Share, "share of logins that lack the AppsFlyer id"] = 0.01
    no_install_id: Annotated[Share, "share of logins that show no installation at all"] = 0.002


class Answers(Section, frozen=True, kw_only=True):
    """The hidden truth."""

    settle_seconds: Annotated[NotNegative, "how long a binding may wait for a login that races it"] = 2.0


CHANNELS = (
    Channel(
        media_source="googleadwords_int",
        weight=3.0,
        quality=0.3,
        cost_per_install=540,
        campaigns=(
            Campaign(name="google_ua_loans_search", weight=2, quality=0.25),
            Campaign(name="google_ua_app_installs", weight=3, quality=-0.05),
            Campaign(name="google_ua_value", weight=1, quality=0.4),
            Campaign(name="google_rt_dormant", retargeting=True),
        ),
    ),
    Channel(
        media_source="Facebook Ads",
        weight=3.0,
        quality=0.05,
        cost_per_install=440,
        campaigns=(
            Campaign(name="facebook_ua_broad", weight=3, quality=-0.15),
            Campaign(name="facebook_ua_lookalike", weight=2, quality=0.3),
            Campaign(name="facebook_ua_video", weight=1, quality=0.0),
            Campaign(name="facebook_rt_reborrow", retargeting=True),
        ),
    ),
    Channel(
        media_source="bytedanceglobal_int",
        weight=2.0,
        quality=-0.35,
        cost_per_install=320,
        campaigns=(
            Campaign(name="tiktok_ua_spark", weight=2, quality=0.1),
            Campaign(name="tiktok_ua_broad", weight=2, quality=-0.2),
            Campaign(name="tiktok_rt_dormant", retargeting=True),
        ),
    ),
    Channel(
        media_source="snapchat_int",
        weight=1.0,
        quality=-0.2,
        cost_per_install=380,
        campaigns=(
            Campaign(name="snap_ua_stories", weight=1, quality=0.0),
            Campaign(name="snap_rt_dormant", retargeting=True),
        ),
    ),
    Channel(
        media_source="kwai_int",
        weight=1.0,
        quality=-0.65,
        cost_per_install=215,
        campaigns=(
            Campaign(name="kwai_ua_feed", weight=2, quality=-0.05),
            Campaign(name="kwai_ua_reward", weight=1, quality=-0.3),
            Campaign(name="kwai_rt_dormant", retargeting=True),
        ),
    ),
    Channel(
        media_source="organic",
        weight=3.0,
        quality=0.5,
        cost_per_install=0,
        campaigns=(Campaign(name=""),),
    ),
)
"""Six sources whose order by quality is organic, Google, Facebook, Snap, TikTok, Kwai."""


class Parameters(Section, frozen=True, kw_only=True):
    """All parameters of one made-up lender."""

    lender: Lender = Lender()
    period: Period = Period()
    people: People = People()
    applications: Applications = Applications()
    decisions: Decisions = Decisions()
    scoring: Scoring = Scoring()
    loans: Loans = Loans()
    repayments: Repayments = Repayments()
    phones: Phones = Phones()
    logins: Logins = Logins()
    arrivals: Arrivals = Arrivals()
    answers: Answers = Answers()
    channels: tuple[Channel, ...] = CHANNELS


def demo() -> Parameters:
    """A small lender for a first look: 1,500 users in 60 days who change their installation often."""
    return Parameters(
        period=Period(start=date(2026, 9, 1), days=60, users=1_500),
        phones=Phones(new_phone=0.06, reinstall=0.15, other_platform=0.01),
        repayments=Repayments(default_after_days=20, overdue_days=(1, 3, 7, 15)),
    )


def load(path: Path) -> Parameters:
    """The parameters a TOML file sets, over the defaults.

    Raises ConfigError with every mistake found: unknown keys (with the nearest known one), wrong types,
    numbers out of range, tables that contradict each other.
    """
    origin = str(path)
    try:
        text = path.read_text()
        table = tomllib.loads(text)
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise ConfigError([Problem("--parameters", reason, "a readable TOML file", origin)]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("--parameters", str(error), "a TOML file", origin)]) from error
    parameters, problems = read(Parameters, table, path="", origin=origin)
    if parameters is None:
        raise ConfigError(with_lines(problems, toml_positions(text)))
    return checked(parameters, origin)


def checked(parameters: Parameters, origin: str = "") -> Parameters:
    """The same parameters, or ConfigError with every contradiction between them."""
    problems = list(_contradictions(parameters, origin))
    if problems:
        raise ConfigError(problems)
    return parameters


def as_toml(parameters: Parameters) -> str:
    """The whole tree as a parameter file, each value under the sentence that explains it."""
    lines = ["# A made-up lender. Seconds, days and shares of 1; money in major units of the currency."]
    for name, kind in _fields(Parameters).items():
        if name == "channels":
            continue
        lines += ["", f"# {_first_line(_bare(kind))}", f"[{name}]"]
        section = getattr(parameters, name)
        for field, annotation in _fields(type(section)).items():
            lines += [f"# {_sentence(annotation)}", f"{field} = {toml_text(getattr(section, field))}"]
    notes = {**_fields(Campaign), **_fields(Channel)}
    lines += ["", "# Where users come from. A channel's own keys, then its campaigns':"]
    lines += [f"# {key}: {_sentence(notes[key])}" for key in _fields(Channel)]
    lines += [f"# campaigns.{key}: {_sentence(note)}" for key, note in _fields(Campaign).items()]
    for channel in parameters.channels:
        lines += ["[[channels]]"]
        for field in _fields(Channel):
            if field != "campaigns":
                lines.append(f"{field} = {toml_text(getattr(channel, field))}")
        lines.append("campaigns = [")
        lines += [f"    {toml_text(campaign)}," for campaign in channel.campaigns]
        lines += ["]", ""]
    return "\n".join(lines)


def _fields(section: type[Section]) -> dict[str, Any]:
    """A section's field names with their annotations, the sentences included."""
    hints = get_type_hints(section, include_extras=True)
    return {name: hints[name] for name in section.__struct_fields__}


def _bare(annotation: Any) -> Any:
    return (
        getattr(annotation, "__origin__", annotation) if hasattr(annotation, "__metadata__") else annotation
    )


def _sentence(annotation: Any) -> str:
    return next(note for note in annotation.__metadata__ if isinstance(note, str))


def _first_line(section: type[Section]) -> str:
    return (section.__doc__ or "").splitlines()[0]


def _contradictions(parameters: Parameters, origin: str) -> Iterator[Problem]:
    loans, decisions = parameters.loans, parameters.decisions
    terms = len(loans.term_days)
    if not terms:
        yield Problem("loans.term_days", "no term", "at least one term", origin)
    for key in ("first_weights", "later_weights", "fee_shares"):
        values = len(getattr(loans, key))
        if values != terms:
            yield Problem(
                f"loans.{key}", f"{values} values", f"{terms}, one for each of loans.term_days", origin
            )
        elif key != "fee_shares" and terms and not sum(getattr(loans, key)):
            yield Problem(f"loans.{key}", "zeros only", "at least one weight above 0", origin)
    for term in loans.term_days:
        if term > 30 and term % 30:
            yield Problem("loans.term_days", str(term), "up to 30 days, or a multiple of 30", origin)
    if list(loans.term_days) != sorted(set(loans.term_days)):
        yield Problem("loans.term_days", str(loans.term_days), "each term once, shortest first", origin)
    if not loans.smallest <= loans.first_limit <= loans.largest:
        allowed = f"between loans.smallest ({loans.smallest}) and loans.largest ({loans.largest})"
        yield Problem("loans.first_limit", str(loans.first_limit), allowed, origin)
    if loans.step > loans.smallest:
        yield Problem("loans.step", str(loans.step), f"at most loans.smallest ({loans.smallest})", origin)
    if decisions.opens_hour >= decisions.closes_hour:
        found = f"{decisions.opens_hour} to {decisions.closes_hour}"
        yield Problem("decisions.opens_hour", found, "an hour before decisions.closes_hour", origin)
    if parameters.phones.att_authorised + parameters.phones.att_denied > 1:
        yield Problem("phones.att_denied", "more than 1 with att_authorised", "at most 1 together", origin)
    if parameters.phones.shared + parameters.phones.ring_users > 1:
        yield Problem("phones.ring_users", "more than 1 with shared", "at most 1 together", origin)
    if not any(not c.retargeting for channel in parameters.channels for c in channel.campaigns):
        yield Problem("channels", "no campaign for new users", "at least one without retargeting", origin)
    names = [channel.media_source for channel in parameters.channels]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem("channels.media_source", f"{name!r} twice", "each source once", origin)
    try:
        ZoneInfo(parameters.lender.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        yield Problem("lender.timezone", repr(parameters.lender.timezone), "an IANA time zone", origin)
