"""One typed TOML file, composed from each room's own settings; every mistake in it is named at once."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from lendsignal.advise.preflight import NAMES, Terms
from lendsignal.archive import ArchiveSettings
from lendsignal.audience import AudienceSettings, AudiencesSettings
from lendsignal.audience.definitions import definition_of
from lendsignal.audience.policy import hidden, problems
from lendsignal.deliver import (
    DeliverSettings,
    DestinationSettings,
    Outlet,
    problem_with_google,
    problem_with_secrets,
    secrets_of,
)
from lendsignal.deliver.alerts import AlertSettings, HealthSettings
from lendsignal.deliver.alerts.settings import problem_with_address
from lendsignal.deliver.allowed import SecuritySettings, kept_to, not_allowed
from lendsignal.deliver.audiences import AccountPlan, AccountSettings, problem_with_account
from lendsignal.derive import (
    BUILT_IN,
    LIKELY_CREDIT,
    CustomSettings,
    DerivePolicy,
    DeriveSettings,
    LikelyPolicy,
    ProxySettings,
    Tiers,
    TierSettings,
    compiled,
    custom_rule,
    cuts_of,
    is_tier,
)
from lendsignal.destination import registry
from lendsignal.destination.audiences import audience_platforms
from lendsignal.destination.spec import Corrections, Destination, WebhookAuth, hosts_of, sensitive_word
from lendsignal.errors import ConfigError, InputError, Problem
from lendsignal.log.keeping import LogSettings
from lendsignal.log.sign_in import OidcSettings, may_be_told_secrets
from lendsignal.log.store import StoreSettings, is_in_the_open, may_meet_a_standby
from lendsignal.model import App, Secret, reveal, to_us
from lendsignal.model.rates import Rates
from lendsignal.plan import (
    Corrects,
    Holdout,
    HoldoutSettings,
    People,
    PolicySource,
    RouteSettings,
    Target,
    ValueSettings,
    double_counting,
    gaps_in_sending,
    holdout_of,
    known_conversions,
    wrong_holdouts,
    wrong_moments,
)
from lendsignal.resolve import ResolveSettings, contradictions
from lendsignal.settings import Template, key_path, read, schema, toml_positions, unfolded, with_lines
from lendsignal.source import (
    Access,
    DoorSettings,
    KeySettings,
    PullPlan,
    PullSettings,
    SourceSettings,
    access_of,
    feed_kinds,
)
from lendsignal.source.feeds import Feed, FeedSettings, FxSettings, SpendFeed, SpendSettings, rates_of
from lendsignal.value import LikelyModel
from lendsignal.value.facts import PROTECTED
from lendsignal.value.settings import WorthSettings

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


_Kind = TypeVar("_Kind")
_Ours = TypeVar("_Ours", bound=Struct)


class PortfolioSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One lender."""

    name: Annotated[Name, Meta(description="the lender's name; part of every conversion id")]


class BrandSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One product with its own accounts; `user_id` is unique within it."""

    label: Annotated[str | None, Meta(description="how reports name it")] = None


class AppSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One store listing of a brand."""

    brand: Annotated[str, Meta(description="the brand it belongs to")]
    platform: Annotated[Literal["android", "ios"], Meta(description="android or ios")]
    bundle: Annotated[
        str, Meta(min_length=1, description="package name, or id + App Store number such as id123456789")
    ]
    bundle_id: Annotated[str | None, Meta(description="iOS bundle identifier, such as com.acme.loans")] = None
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", description="ISO 3166 country")]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217 currency")]
    timezone: Annotated[str, Meta(description="IANA time zone, such as Africa/Lagos")]
    shortest_term_days: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="days in which its shortest loan must be repaid in full, for the policy pre-flight"),
    ] = None
    apr_percent: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="its highest yearly rate in per cent, costs and fees included, for the same"),
    ] = None


class WebSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pages."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 picks a free one")] = 8322
    open: Annotated[
        bool, Meta(description="without sign-in, for whoever works on this machine; not on another host")
    ] = False
    address: Annotated[
        Annotated[str, Meta(pattern=r"^https?://[^/?#]+$")] | None,
        Meta(description="where browsers find the pages, such as https://loans.acme.example, behind a proxy"),
    ] = None
    oidc: Annotated[OidcSettings | None, Meta(description="sign-in by the company's own provider")] = None
    local_accounts: Annotated[
        bool, Meta(description="whether names and passwords of this installation's own count")
    ] = True
    emergency: Annotated[
        str | None,
        Meta(description="the one admin whose password counts where local accounts do not, for a bad day"),
    ] = None


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask for `/metrics` and `/v1/status`, which tell volumes and the names of destinations."""

    open_to: Annotated[
        Literal["all", "machine", "token"],
        Meta(description="whoever reaches the port, this machine alone, or this machine and the token"),
    ] = "all"
    token: Annotated[
        Secret | None, Meta(description="where the bearer token is kept that others must show")
    ] = None


class TraceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenTelemetry traces; where they go is said by the OTEL_… variables of the environment."""

    export: Annotated[bool, Meta(description="whether spans are told; needs the extra otel")] = False
    share: Annotated[
        float, Meta(gt=0, le=1, description="of all events, the share whose traces are told")
    ] = 1.0


class ConsentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts where a user was never asked."""

    default: Annotated[
        dict[str, bool],
        Meta(description="country = whether an unasked user's data may go out; true by default"),
    ] = {}


class PeopleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is no customer: staff, testers, emulators, rings of devices. They are never valued or tiered."""

    test: Annotated[
        tuple[Annotated[str, Meta(pattern="^[^:]+:.+$")], ...],
        Meta(description='users that are no customers, as "brand:user_id"'),
    ] = ()
    test_file: Annotated[
        str | None, Meta(description="a file with more of them, one a line, from this file's folder")
    ] = None
    test_rule: Annotated[
        str | None,
        Meta(description="CEL over event, user and snapshot: whoever fulfils it once is a test user"),
    ] = None


class ServiceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The service as a whole."""

    data: Annotated[str, Meta(description="the data folder, from this file's own folder")] = "data"
    replay_clock: Annotated[
        str | None, Meta(description="file of a clock that somebody else sets, to replay history")
    ] = None


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `destination` also takes the platform's own keys."""

    portfolio: PortfolioSettings
    brand: dict[str, BrandSettings]
    app: dict[str, AppSettings]
    source: dict[str, SourceSettings] = {}
    service: ServiceSettings = ServiceSettings()
    store: StoreSettings | None = None
    door: DoorSettings = DoorSettings()
    web: WebSettings = WebSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TraceSettings = TraceSettings()
    resolve: ResolveSettings = ResolveSettings()
    derive: DeriveSettings = DeriveSettings()
    tiers: TierSettings = TierSettings()
    proxy: ProxySettings = ProxySettings()
    value: WorthSettings = WorthSettings()
    conversion: dict[str, CustomSettings] = {}
    people: PeopleSettings = PeopleSettings()
    consent: ConsentSettings = ConsentSettings()
    holdout: dict[str, HoldoutSettings] = {}
    deliver: DeliverSettings = DeliverSettings()
    security: SecuritySettings = SecuritySettings()
    pull: dict[str, dict[str, Any]] = {}
    feed: dict[str, FeedSettings] = {}
    spend: dict[str, SpendSettings] = {}
    fx: FxSettings = FxSettings()
    log: LogSettings = LogSettings()
    archive: ArchiveSettings = ArchiveSettings()
    audience: dict[str, AudienceSettings] = {}
    audience_account: dict[str, dict[str, Any]] = {}
    audiences: AudiencesSettings = AudiencesSettings()
    health: HealthSettings = HealthSettings()
    alert: dict[str, AlertSettings] = {}
    destination: dict[str, dict[str, Any]] = {}
    route: list[RouteSettings] = []


class Config(Struct, frozen=True, kw_only=True):
    """A configuration that can be used. `secrets` says which are set, never what they are.

    `templates`: a destination of several apps → the destinations it stands for. `terms`: what each app's
    loans are like, as far as it is said.
    """

    path: Path
    data: Path
    replay_clock: Path | None
    portfolio: str
    apps: Mapping[str, App]
    policy: PolicySource
    outlets: Mapping[str, Outlet]
    keys: Mapping[str, Access]
    sources: Mapping[str, SourceSettings]
    pulls: Mapping[str, PullPlan] = {}
    feeds: Mapping[str, Feed] = {}
    feed_secrets: Mapping[str, Secret] = {}
    spend: Mapping[str, SpendFeed] = {}
    rates: Rates = Rates()
    currency: str | None = None
    door: DoorSettings
    web: WebSettings
    deliver: DeliverSettings
    archive: ArchiveSettings
    secrets: Mapping[str, bool]
    warnings: tuple[str, ...] = ()
    tiers: TierSettings = TierSettings()
    proxy: ProxySettings = ProxySettings()
    value: WorthSettings = WorthSettings()
    templates: Mapping[str, tuple[str, ...]] = {}
    terms: Mapping[str, Terms] = {}
    health: HealthSettings = HealthSettings()
    alerts: Mapping[str, AlertSettings] = {}
    lists: Mapping[str, AudienceSettings] = {}
    audiences: AudiencesSettings = AudiencesSettings()
    list_holdouts: Mapping[str, tuple[Holdout, ...]] = {}
    list_accounts: Mapping[str, str] = {}
    audience_accounts: Mapping[str, AccountPlan] = {}
    traces: TraceSettings = TraceSettings()
    metrics: MetricsSettings = MetricsSettings()
    security: SecuritySettings = SecuritySettings()
    store: StoreSettings | None = None
    log: LogSettings = LogSettings()

    @property
    def one_currency(self) -> str | None:
        """What money is told in: the currency of [fx], else that of the apps where they agree."""
        told = {app.currency for app in self.apps.values()}
        return self.currency or (next(iter(told)) if len(told) == 1 else None)

    @property
    def reached(self) -> frozenset[tuple[str, str]]:
        """Each app with every kind of destination, and every word of `forwards`, that it is sent to."""
        every = [outlet.common for outlet in self.outlets.values()]
        return frozenset((one.app, kind) for one in every if one.app for kind in (one.kind, *one.forwards))


def is_this_host(host: str) -> bool:
    """Whether that name of a host means this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(path: Path, *, overrides: Mapping[str, Any] | None = None, text: str | None = None) -> Config:
    """The configuration in a file; `overrides` are keys such as `door.port` set from the command line.

    `text` is read in place of what stands in the file: other files that it names are seen from there all the
    same. Raises `ConfigError` with every mistake.
    """
    try:
        text = path.read_text() if text is None else text
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise ConfigError([Problem(str(path), reason or "unreadable", "a TOML file")]) from None
    return parsed(text, path, overrides=overrides)


def parsed(text: str, path: Path, *, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration that a text would be as the file at `path`, which is not read.

    Raises `ConfigError` with every mistake.
    """
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ConfigError([Problem(str(path), "lists nested too deep", "a TOML file")]) from None
    except ValueError as error:  # no TOML, or a number of thousands of digits
        raise ConfigError([Problem(str(path), f"not TOML: {error}", "a TOML file")]) from None
    found: list[Problem] = []
    for key, value in (overrides or {}).items():
        _override(table, key, value, found)
    whole = unfolded(table, path.name)
    found += whole.problems
    config = _composed(whole.table, path, found)
    if found or config is None:
        raise ConfigError(with_lines(whole.as_written(found), toml_positions(text)))
    return msgspec.structs.replace(config, warnings=tuple(whole.told(config.warnings)), templates=whole.made)


def _override(table: dict[str, Any], key: str, value: object, found: list[Problem]) -> None:
    """Sets one dotted key in the file's table."""
    *tables, name = key.split(".")
    for step in tables:
        below = table.setdefault(step, {})
        if not isinstance(below, dict):
            found.append(Problem(key, f"{step}, which is no table", "a key of a table", "--set"))
            return
        table = below
    table[name] = value


def overrides(words: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` words, such as `door.port=9000`, as `load` takes them. Raises `ConfigError`."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or "." not in key:
            raise ConfigError([Problem("--set", repr(word), "KEY=VALUE, such as door.port=9000")])
        number = int(value) if value.lstrip("-").isdigit() else value
        found[key] = {"true": True, "false": False}.get(value.lower(), number)
    return found


def config_schema() -> dict[str, Any]:
    """The JSON Schema of the file, each platform's own keys included."""
    whole = schema(Settings)
    kinds = [one for kind, module in registry().items() for one in _merged_schemas(kind, module)]
    definitions = whole.setdefault("$defs", {})
    body = definitions.get("Settings", whole)
    body["properties"]["destination"] = {"type": "object", "additionalProperties": {"oneOf": kinds}}
    to = definitions["RouteSettings"]["properties"]["to"]
    definitions["RouteSettings"]["properties"]["to"] = {
        "description": to.pop("description", ""),
        "oneOf": [to, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    }
    pulls = [_pull_schema(kind, module) for kind, module in feed_kinds().items()]
    body["properties"]["pull"] = {"type": "object", "additionalProperties": {"oneOf": pulls}}
    accounts = [
        _both_schemas(kind, AccountSettings, module.Settings) for kind, module in audience_platforms().items()
    ]
    body["properties"]["audience_account"] = {"type": "object", "additionalProperties": {"oneOf": accounts}}
    for kind in (*kinds, *pulls, *accounts):
        definitions.update(kind.pop("$defs", {}))
    return whole


def _merged_schemas(kind: str, module: Destination) -> tuple[dict[str, Any], dict[str, Any]]:
    """A destination of one app, and one of several: of that every key may stand in `per_app`."""
    one = _both_schemas(kind, DestinationSettings, module.Settings)
    apps = schema(Template)["$defs"]["Template"]["properties"]
    keys = {name: key for name, key in one["properties"].items() if name != "app"}
    required = ["apps", "kind"]
    return one, {**one, "title": f"{kind}, apps", "properties": {**keys, **apps}, "required": required}


def _pull_schema(kind: str, module: Any) -> dict[str, Any]:
    return _both_schemas(kind, PullSettings, module.Settings)


def _both_schemas(kind: str, ours: type[Struct], theirs: type[Struct]) -> dict[str, Any]:
    common, own = schema(ours), schema(theirs)
    definitions = {**common.get("$defs", {}), **own.get("$defs", {})}
    common_body = definitions.pop(ours.__name__)
    own_body = definitions.pop(theirs.__name__)
    properties = {**common_body["properties"], **own_body["properties"], "kind": {"const": kind}}
    required = sorted({*common_body.get("required", []), *own_body.get("required", [])})
    return {
        "title": kind,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _composed(table: dict[str, Any], path: Path, found: list[Problem]) -> Config | None:
    origin = path.name
    raw = {**table, "destination": {}, "pull": {}, "audience_account": {}}
    given = table.get("destination", {})
    settings, problems = read(Settings, raw, path="", origin=origin)
    found += problems
    outlets_raw = _destinations(given, origin, found)
    if settings is None:
        settings = _readable(raw)
    folder = path.parent
    apps = _apps(settings, origin, found)
    tiers = _tiers(settings.tiers, folder, origin, found)
    derive = DerivePolicy(
        portfolio=settings.portfolio.name,
        apps=apps,
        default_app=_default_apps(apps),
        tiers=tiers,
        default_dpd=settings.derive.default_dpd,
        first=settings.derive.first,
        history=settings.derive.history,
        custom=_custom(settings.conversion, tiers, origin, found),
        likely=_likely(settings.proxy, folder, origin, found),
    )
    if settings.web.open and not is_this_host(settings.web.host):
        allowed = "sign-in, or a host that only this machine can reach, such as 127.0.0.1"
        found.append(Problem("web.open", f"true at {settings.web.host}", allowed, origin))
    people = _people(settings.people, folder, origin, found)
    secrets: dict[str, bool] = {}
    web = _web(settings, apps, folder, origin, found, secrets)
    metrics = _metrics(settings.metrics, folder, origin, found, secrets)
    outlets = _outlets(outlets_raw, apps, dict(_items(table.get("app"))), folder, origin, found, secrets)
    targets = {
        name: Target(
            name=name,
            kind=outlet.common.kind,
            app=outlet.common.app,
            account=outlet.common.account or name,
            forwards=outlet.common.forwards,
            send_test=outlet.common.send_test,
            corrects=_corrects(outlet.spec.corrections),
        )
        for name, outlet in outlets.items()
    }
    warnings: list[str] = []
    _check_routes(settings.route, outlets_raw, derive, origin, found, warnings)
    for key, why in double_counting(settings.route, targets):
        found.append(Problem(key, why, "one way to each platform, one value for each loan", origin))
    found += [Problem(key, seen, allowed, origin) for key, seen, allowed in wrong_moments(settings.route)]
    found += [Problem(key, seen, allowed, origin) for key, seen, allowed in contradictions(settings.resolve)]
    protected = sorted(PROTECTED.intersection(one.lower() for one in settings.value.properties))
    if protected and not settings.value.protected:
        allowed = "what a lender may go by; value.protected = true where the law lets you"
        found.append(Problem("value.properties", ", ".join(protected), allowed, origin))
    holdouts = _holdouts(settings.holdout, settings.audience, derive, outlets_raw, origin, found, warnings)
    accounts = dict(_items(table.get("audience_account")))
    _check_lists(settings, apps, accounts, origin, found, warnings)
    for app, conversion, platform, when in gaps_in_sending(settings.route, targets):
        warnings.append(f"{conversion} of {app} is {when} at {platform}: somebody else must send it then")
    keys = _keys(settings.source, folder, origin, found, secrets)
    _check_segment(settings.source, settings.brand, settings.app, origin, found)
    pulls = _pulls(table.get("pull", {}), folder, origin, found, secrets)
    for name in pulls.keys() & settings.source.keys():
        allowed = "a name that no [source.NAME] has: events say whom they came from"
        found.append(Problem(key_path("pull", name), f"the name {name!r}", allowed, origin))
    feeds = _feeds(settings.feed, apps, folder, origin, found, secrets)
    costs = _spend(settings.spend, origin, found)
    rates = _rates(settings.fx, folder, origin, found)
    alerts = _alerts(settings.alert, folder, origin, found, secrets)
    told = _audience_accounts(table.get("audience_account", {}), folder, origin, found, secrets)
    for names, hosts in not_allowed(settings.security, outlets, alerts, told):
        allowed = "a host of security.hosts, or the host added there"
        found.append(Problem(key_path(*names), hosts, allowed, origin))
    outlets = kept_to(settings.security, outlets)
    store = _store(settings.store, folder, origin, found, secrets, warnings)
    if store is not None:
        warnings += _not_on_a_cluster(outlets)
    if not settings.source and not pulls:
        warnings.append("no [source.NAME]: nobody can send events over HTTP")
    for name in outlets.keys() - {route.to for route in settings.route}:
        warnings.append(f"destination {name} gets nothing: no [[route]] names it")
    if derive.across_brands and derive.history != "whole":
        warnings.append(
            'derive.first = "portfolio" sends no first before derive.history = "whole": an old borrower of '
            "another brand would count as new"
        )
    if settings.deliver.sandbox is not None:
        for name in [name for name, outlet in outlets.items() if outlet.is_topic]:
            warnings.append(f"destination {name} is sent to: deliver.sandbox stands in for no Kafka broker")
    if found:
        return None
    if settings.traces.export and not _has_exporter():
        found.append(
            Problem("traces.export", "true", "true with the extra: pip install 'lendsignal[otel]'", origin)
        )
    clock = settings.service.replay_clock
    return Config(
        path=path,
        data=folder / settings.service.data,
        replay_clock=None if clock is None else folder / clock,
        portfolio=settings.portfolio.name,
        apps=apps,
        policy=PolicySource(
            derive=derive,
            resolve=settings.resolve,
            routes=tuple(settings.route),
            targets=targets,
            consent_default=settings.consent.default,
            people=people,
            # Without a route that converts, a new rate changes nothing and is no new policy.
            rates=rates.listed() if _converts(settings.route) else (),
            rates_good_for=rates.good_for,
            holdouts=holdouts,
        ),
        traces=settings.traces,
        store=store,
        tiers=settings.tiers,
        proxy=settings.proxy,
        value=settings.value,
        outlets=outlets,
        keys=keys,
        sources=settings.source,
        pulls=pulls,
        feeds=feeds,
        feed_secrets={
            name: _with_folder(one.secret, folder)
            for name, one in settings.feed.items()
            if one.secret is not None
        },
        spend=costs,
        rates=rates,
        currency=settings.fx.currency,
        door=settings.door,
        web=web,
        metrics=metrics,
        security=settings.security,
        deliver=settings.deliver,
        archive=settings.archive,
        log=settings.log,
        secrets=secrets,
        health=settings.health,
        alerts=alerts,
        lists=settings.audience,
        audiences=settings.audiences,
        audience_accounts=told,
        list_accounts={name: str(one.get("kind")) for name, one in accounts.items() if isinstance(one, dict)},
        list_holdouts={
            name: tuple(
                holdout_of(word, one) for word, one in settings.holdout.items() if name in one.audiences
            )
            for name in settings.audience
        },
        warnings=tuple(warnings),
        terms={
            name: Terms(shortest_term_days=app.shortest_term_days, apr_percent=app.apr_percent)
            for name, app in settings.app.items()
        },
    )


def _web(
    settings: Settings,
    apps: Mapping[str, App],
    folder: Path,
    origin: str,
    found: list[Problem],
    secrets: dict[str, bool],
) -> WebSettings:
    """How people sign in."""
    web, oidc = settings.web, settings.web.oidc
    if not web.local_accounts and (oidc is None or web.emergency is None):
        allowed = "true, or [web.oidc] and web.emergency beside it: somebody must be able to come in"
        found.append(Problem("web.local_accounts", "false", allowed, origin))
    if oidc is None:
        return web
    if web.address is None or not may_be_told_secrets(web.address):
        seen = "no address" if web.address is None else repr(web.address)
        allowed = "the https address that the provider sends people back to"
        found.append(Problem("web.address", seen, allowed, origin))
    if web.open:
        found.append(Problem("web.open", "true beside [web.oidc]", "one of the two", origin))
    host = urlsplit(oidc.issuer).hostname or ""
    if not settings.security.allows(host):
        allowed = "a host of security.hosts, or the host added there"
        found.append(Problem("web.oidc.issuer", host, allowed, origin))
    for number, one in enumerate(oidc.roles, 1):
        for app in one.apps:
            if app not in apps:
                allowed = f"an [app.NAME]: {', '.join(apps) or 'none is there'}"
                key = f"web.oidc.roles[{number}].apps"
                found.append(Problem(key, repr(app), allowed, origin, _near(app, apps)))
    if not _is_there("authlib.oidc.core"):
        allowed = "what the extra brings: pip install 'lendsignal[oidc]'"
        found.append(Problem("web.oidc", "sign-in without its library", allowed, origin))
    own: OidcSettings = _with_secret_files(oidc, folder)
    if own.client_secret is not None:
        key = "web.oidc.client_secret"
        secrets[key] = _is_set(own.client_secret, key, origin, found)
    return msgspec.structs.replace(web, oidc=own)


def _metrics(
    given: MetricsSettings, folder: Path, origin: str, found: list[Problem], secrets: dict[str, bool]
) -> MetricsSettings:
    """Who may ask for what is measured."""
    own: MetricsSettings = _with_secret_files(given, folder)
    if (own.open_to == "token") != (own.token is not None):
        found.append(Problem("metrics.token", "a token", 'one with open_to = "token", and only then', origin))
    elif own.token is not None:
        secrets["metrics.token"] = _is_set(own.token, "metrics.token", origin, found)
    return own


def _store(
    given: StoreSettings | None,
    folder: Path,
    origin: str,
    found: list[Problem],
    secrets: dict[str, bool],
    warnings: list[str],
) -> StoreSettings | None:
    """The store of a cluster, with its address by reference."""
    if given is None:
        return None
    store: StoreSettings = _with_secret_files(given, folder)
    secrets["store.url"] = _is_set(store.url, "store.url", origin, found)
    if store.kafka is not None:
        kafka = _with_secret_files(store.kafka, folder)
        store = msgspec.structs.replace(store, kafka=kafka)
        for field, secret in _secrets(kafka):
            key = f"store.kafka.{field}"
            secrets[key] = _is_set(secret, key, origin, found)
    if find_spec("psycopg") is None:
        allowed = "what the extra brings: pip install 'lendsignal[cluster]'"
        found.append(Problem("store", "PostgreSQL without its client", allowed, origin))
    url = reveal(store.url)
    if url is not None and is_in_the_open(url):
        warnings.append(
            "store.url goes over a network without sslmode=verify-full: whoever is in between could read it"
        )
    if url is not None and may_meet_a_standby(url):
        warnings.append(
            "store.url names several servers without target_session_attrs=read-write:"
            " after a failover nodes may go on to a standby, which takes nothing"
        )
    return store


def _not_on_a_cluster(outlets: Mapping[str, Outlet]) -> Iterator[str]:
    """What stands in the file and no node of a cluster does yet."""
    relays = [name for name, outlet in outlets.items() if outlet.shelved]
    if relays:
        listed = ", ".join(f"[{key_path('destination', name)}]" for name in relays)
        yield f"{listed}: no node of a cluster does this yet; see docs/explanation/cluster.md"


def _has_exporter() -> bool:
    """Whether the libraries that tell traces are installed."""
    return _is_there("opentelemetry.exporter.otlp.proto.grpc")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _readable(table: Mapping[str, Any]) -> Settings:
    """What can be read of a file with mistakes, so that the rest of it is checked in the same breath."""

    def entries(section: str, kind: type[Struct]) -> dict[str, Any]:
        found = table.get(section)
        read_ones = {name: read(kind, one, path="", origin="")[0] for name, one in _items(found)}
        return {name: one for name, one in read_ones.items() if one is not None}

    def section(name: str, kind: type[Any]) -> Any:
        one = read(kind, table.get(name, {}), path="", origin="")[0]
        return kind() if one is None else one

    routes = table.get("route")
    unreadable = RouteSettings(to="", send={})
    return Settings(
        portfolio=PortfolioSettings(name="unnamed"),
        brand={name: BrandSettings() for name, _ in _items(table.get("brand"))},
        app={
            name: app
            for name, one in _items(table.get("app"))
            if (app := _mended(one, [brand for brand, _ in _items(table.get("brand"))])) is not None
        },
        source=entries("source", SourceSettings),
        feed=entries("feed", FeedSettings),
        spend=entries("spend", SpendSettings),
        alert=entries("alert", AlertSettings),
        fx=section("fx", FxSettings),
        resolve=section("resolve", ResolveSettings),
        derive=section("derive", DeriveSettings),
        tiers=section("tiers", TierSettings),
        proxy=section("proxy", ProxySettings),
        value=section("value", WorthSettings),
        conversion=entries("conversion", CustomSettings),
        people=section("people", PeopleSettings),
        holdout=entries("holdout", HoldoutSettings),
        audience=entries("audience", AudienceSettings),
        audiences=section("audiences", AudiencesSettings),
        route=[
            read(RouteSettings, one, path="", origin="")[0] or unreadable
            for one in (routes if isinstance(routes, list) else [])
        ],
    )


def _mended(app: object, brands: Sequence[str]) -> AppSettings | None:
    """An app with something passable in place of each mistake, so that its other keys are looked at too."""
    if not isinstance(app, dict) or not brands:
        return None
    passable = {
        "brand": brands[0],
        "platform": "android",
        "bundle": "id1",
        "country": "ZZ",
        "currency": "XXX",  # ISO 4217: no currency
        "timezone": "UTC",
    }
    good = {
        key: value
        for key, value in app.items()
        if read(AppSettings, {**passable, key: value}, path="", origin="")[0] is not None
    }
    return read(AppSettings, {**passable, **good}, path="", origin="")[0]


def _items(table: object) -> list[tuple[str, Any]]:
    return list(table.items()) if isinstance(table, dict) else []


def _apps(settings: Settings, origin: str, found: list[Problem]) -> dict[str, App]:
    apps: dict[str, App] = {}
    for table in ("brand", "app"):
        for name in getattr(settings, table):
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
                allowed = "lower-case letters, digits, - and _"
                found.append(Problem(key_path(table, name), f"the name {name!r}", allowed, origin))
    for name, app in settings.app.items():
        if app.brand not in settings.brand:
            allowed = f"a [brand.NAME]: {', '.join(settings.brand) or 'none is there'}"
            found.append(Problem(key_path("app", name, "brand"), repr(app.brand), allowed, origin))
        if not _is_zone(app.timezone):
            allowed = "an IANA time zone such as Africa/Lagos"
            found.append(Problem(key_path("app", name, "timezone"), repr(app.timezone), allowed, origin))
        if app.platform == "ios" and not re.fullmatch(r"id[0-9]+", app.bundle):
            # AppsFlyer answers 200 for a bare number and records nothing.
            allowed = "id + App Store number such as id123456789; the bundle identifier goes to bundle_id"
            found.append(Problem(key_path("app", name, "bundle"), repr(app.bundle), allowed, origin))
        facts = {field: getattr(app, field) for field in App.__struct_fields__ if field != "name"}
        apps[name] = App(name=name, **facts)
    return apps


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _default_apps(apps: Mapping[str, App]) -> dict[str, str]:
    """Each brand's first app: where conversions belong that no device tells."""
    default: dict[str, str] = {}
    for app in apps.values():
        default.setdefault(app.brand, app.name)
    return default


def _tiers(settings: TierSettings, folder: Path, origin: str, found: list[Problem]) -> Tiers:
    if settings.cut_table is None:
        return Tiers(
            higher_is_better=settings.higher_is_better,
            per_grant=settings.per == "grant",
            rolling=tuple(sorted(set(settings.basis))),
            shares=tuple(sorted(set(settings.shares))) if settings.basis else (),
        )
    if settings.basis:
        both = "a cut_table and own cuts"
        found.append(Problem("tiers.basis", both, "one of the two: tiers.cut_table or tiers.basis", origin))
    try:
        text = (folder / settings.cut_table).read_text()
        cuts = tuple(cut for cut in cuts_of(text) if cut.share in settings.shares)
    except InputError as error:
        found.append(Problem("tiers.cut_table", f"{error.field}: {error.rule}", "a table of cuts", origin))
        return Tiers()
    except (OSError, UnicodeDecodeError):
        found.append(Problem("tiers.cut_table", "no file that can be read", "a CSV file of cuts", origin))
        return Tiers()
    return Tiers(
        cuts=cuts,
        version=sha256(text.encode()).hexdigest()[:12],
        higher_is_better=settings.higher_is_better,
        per_grant=settings.per == "grant",
    )


EXPRESSION = "CEL over event, user and snapshot: docs/reference/expressions.md"
"""What an expression may be."""


def _likely(settings: ProxySettings, folder: Path, origin: str, found: list[Problem]) -> LikelyPolicy | None:
    """The early proxy; `None` without a table of weights, or where no threshold reached its precision."""
    if settings.model is None:
        return None
    try:
        model = msgspec.json.decode((folder / settings.model).read_bytes(), type=LikelyModel)
    except (OSError, msgspec.DecodeError):
        allowed = "a file that `lendsignal proxy fit` wrote"
        found.append(Problem("proxy.model", "no file that can be read", allowed, origin))
        return None
    return LikelyPolicy(settings.after, model)


def _custom(
    settings: Mapping[str, CustomSettings], tiers: Tiers, origin: str, found: list[Problem]
) -> dict[str, CustomSettings]:
    """The lender's own conversions, those with mistakes included so that routes may name them."""
    for name, one in settings.items():
        key = key_path("conversion", name)
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name) or is_tier(name):
            allowed = "lower-case letters, digits and _, not the beginning of a tier's name"
            found.append(Problem(key, f"the name {name!r}", allowed, origin))
        elif name in (*BUILT_IN, LIKELY_CREDIT, *tiers.names()):
            found.append(Problem(key, f"{name}, which is derived anyway", "another name", origin))
        try:
            custom_rule(name, one)
        except InputError as error:
            part, _, place = error.field.partition(": ")
            found.append(Problem(f"{key}.{part}", f"{place}: {error.rule}", EXPRESSION, origin))
    return dict(settings)


def _people(settings: PeopleSettings, folder: Path, origin: str, found: list[Problem]) -> People:
    listed = set(settings.test)
    if settings.test_file is not None:
        try:
            lines = (folder / settings.test_file).read_text().split("\n")
        except (OSError, UnicodeDecodeError):
            allowed = "a text file with one brand:user_id a line"
            found.append(Problem("people.test_file", "no file that can be read", allowed, origin))
            lines = []
        words = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
        for number, word in words.items():
            if not re.fullmatch(r"[^:]+:.+", word):
                where = f"line {number}, which is no brand:user_id"
                found.append(Problem("people.test_file", where, "one brand:user_id a line", origin))
        listed |= set(words.values())
    if settings.test_rule is not None:
        try:
            compiled(settings.test_rule, "bool")
        except InputError as error:
            found.append(Problem("people.test_rule", f"{error.field}: {error.rule}", EXPRESSION, origin))
            return People(test=frozenset(listed))
    return People(test=frozenset(listed), test_rule=settings.test_rule)


def _converts(routes: Sequence[RouteSettings]) -> bool:
    rules = [rule for route in routes for rule in route.value.values()]
    return any(isinstance(rule, ValueSettings) and rule.currency is not None for rule in rules)


_UNREADABLE = App(name="", brand="", platform="android", bundle="", country="", currency="", timezone="UTC")
"""Stands in for an app with mistakes, so that what refers to it is checked all the same."""


class _Given(Struct, frozen=True):
    """One destination as it was written; `common` and `own` are `None` where they hold mistakes."""

    module: Destination
    table: Mapping[str, Any]
    common: DestinationSettings | None
    own: Any

    def secrets(self) -> Iterator[tuple[str, Secret]]:
        """The references to secrets that can be read, also beside other mistakes."""
        for field in self.module.Settings.__struct_fields__:
            given = self.table.get(field)
            if isinstance(given, dict) and given.keys() <= {"env", "file"}:
                secret, problems = read(Secret, given, path="", origin="")
                if secret is not None and not problems:
                    yield field, secret


def _destinations(given: object, origin: str, found: list[Problem]) -> dict[str, _Given | None]:
    """Every destination's table, read twice: our keys, and the platform's own."""
    if not isinstance(given, dict):
        found.append(Problem("destination", "no table", "[destination.NAME] tables", origin))
        return {}
    outlets: dict[str, _Given | None] = {}
    for name, table in given.items():
        outlets[name] = None
        path = key_path("destination", name)
        if not isinstance(table, dict):
            found.append(Problem(path, "no table", "[destination.NAME]", origin))
            continue
        module = registry().get(str(table.get("kind")))
        also = set(module.Settings.__struct_fields__) if module else set(table)
        common, problems = read(DestinationSettings, table, path=path, origin=origin, also=also)
        found += problems
        if module is None:
            if common is not None:
                kinds = list(registry())
                near = _near(common.kind, kinds)
                found.append(
                    Problem(f"{path}.kind", repr(common.kind), f"one of {', '.join(kinds)}", origin, near)
                )
            continue
        ours = set(DestinationSettings.__struct_fields__)
        own, problems = read(module.Settings, table, path=path, origin=origin, also=ours)
        found += problems
        outlets[name] = _Given(module, table, common, own)
    return outlets


def _outlets(
    given: Mapping[str, _Given | None],
    apps: Mapping[str, App],
    named: Mapping[str, Any],
    folder: Path,
    origin: str,
    found: list[Problem],
    secrets: dict[str, bool],
) -> dict[str, Outlet]:
    outlets: dict[str, Outlet] = {}
    for name, one in given.items():
        if one is None:
            continue
        for field, secret in one.secrets():
            key = key_path("destination", name, field)
            secrets[key] = _is_set(_with_folder(secret, folder), key, origin, found)
        if one.common is None or one.own is None:
            continue
        app = apps.get(one.common.app)
        if app is None and one.common.app not in named:
            key, allowed = key_path("destination", name, "app"), f"one of {', '.join(named)}"
            found.append(Problem(key, repr(one.common.app), allowed, origin, _near(one.common.app, named)))
        if app is None:
            app = _UNREADABLE
        own = _with_secret_files(one.own, folder)
        wrong = problem_with_secrets(one.module.SPEC.auth, secrets_of(own)) or problem_with_google(
            one.module.SPEC.auth, secrets_of(own)
        )
        if wrong is not None:
            key = key_path("destination", name, wrong[0])
            found.append(Problem(key, wrong[1], "the secret as the platform shows it", origin))
        hosts = hosts_of(one.module.SPEC, own)
        outlets[name] = Outlet(name=name, module=one.module, common=one.common, own=own, app=app, hosts=hosts)
    return outlets


def _corrects(corrections: Corrections | None) -> Corrects:
    """What a platform lets be changed later, in the words of the plan."""
    if corrections is None:
        return "nothing"
    return "everything" if corrections.retracts else "value"


def _check_routes(
    routes: Sequence[RouteSettings],
    outlets: Mapping[str, _Given | None],
    derive: DerivePolicy,
    origin: str,
    found: list[Problem],
    warnings: list[str],
) -> None:
    known = known_conversions(derive)
    for number, route in enumerate(routes):
        path = f"route[{number}]"
        outlet = outlets.get(route.to)
        if route.to not in outlets and route.send:
            allowed = f"a [destination.NAME]: {', '.join(outlets) or 'none is there'}"
            found.append(Problem(f"{path}.to", repr(route.to), allowed, origin, _near(route.to, outlets)))
        for conversion, name in route.send.items():
            if conversion not in known:
                allowed = f"one of {', '.join(known)}"
                key = key_path(f"{path}.send", conversion)
                found.append(
                    Problem(key, "no conversion of that name", allowed, origin, _near(conversion, known))
                )
            wrong = _problem_with_name(outlet, name) if outlet else None
            if wrong is not None:
                key = f"{path}.send.{conversion}"
                found.append(Problem(key, f"{name!r}, which {wrong[0]}", wrong[1], origin))
            elif outlet is not None and outlet.module.SPEC.neutral_names and (word := sensitive_word(name)):
                warnings.append(
                    f"{path}.send.{conversion}: {name!r} says {word!r}; neutral codes are safer "
                    f"({NAMES.source}, read {NAMES.read})"
                )
        for conversion, rule in route.value.items():
            if conversion not in route.send:
                allowed = f"one that the route sends: {', '.join(route.send)}"
                found.append(
                    Problem(f"{path}.value.{conversion}", "a conversion it does not send", allowed, origin)
                )
            if rule == "predicted":
                warnings.append(
                    f"{path}.value.{conversion}: sent without a value where the event has no property"
                    " predicted_value"
                )
            if rule == "predicted_low":
                warnings.append(
                    f"{path}.value.{conversion}: sent without a value until a value model is in force"
                )


def _check_lists(
    settings: Settings,
    apps: Mapping[str, App],
    accounts: Mapping[str, Any],
    origin: str,
    found: list[Problem],
    warnings: list[str],
) -> None:
    """What is wrong with the lists, and which of them a platform does not let a lender use."""
    for name, one in settings.audience.items():
        path = key_path("audience", name)
        _check_name(path, name, origin, found)
        before = len(found)
        for key, seen, allowed in problems(name, one):
            found.append(Problem(f"{path}.{key}" if key else path, seen, allowed, origin))
        for key, words, known in (("apps", one.apps, apps), ("to", one.to, accounts)):
            table = "app" if key == "apps" else "audience_account"
            for word in words:
                if word not in known:
                    allowed = f"a [{table}.NAME]: {', '.join(known) or 'none is there'}"
                    found.append(Problem(f"{path}.{key}", repr(word), allowed, origin, _near(word, known)))
        if len(found) > before:
            continue
        definition = definition_of(name, one)
        countries = {app.country for app in apps.values() if not one.apps or app.name in one.apps}
        for account in one.to:
            given = accounts[account]
            kind = str(given.get("kind")) if isinstance(given, dict) else ""
            special = settings.audiences.special_category
            why = hidden(definition, kind, set(one.countries) or countries, special)
            if why is not None:
                warnings.append(f"{path}: not sent to {account}: {why}")


def _holdouts(
    settings: Mapping[str, HoldoutSettings],
    lists: Mapping[str, AudienceSettings],
    derive: DerivePolicy,
    outlets: Mapping[str, object],
    origin: str,
    found: list[Problem],
    warnings: list[str],
) -> tuple[Holdout, ...]:
    for name, one in settings.items():
        _check_name(key_path("holdout", name), name, origin, found)
        others = [word for word in one.audiences if word not in lists]
        if others:
            warnings.append(
                f"holdout.{name}.audiences: {', '.join(others)}: no [audience.NAME], so not sent from here;"
                f" `lendsignal advise holdout users {name}` writes who must be left out"
            )
    known = known_conversions(derive)
    for key, seen, allowed, near in wrong_holdouts(settings, known, outlets):
        found.append(Problem(f"holdout.{key}", seen, allowed, origin, near))
    return tuple(holdout_of(name, one) for name, one in settings.items())


def _problem_with_name(given: _Given, name: str) -> tuple[str, str] | None:
    """What is wrong with an event's name at a destination, and what would be right."""
    wrong = given.module.problem_with_name(name)
    if wrong is not None:
        label = given.module.SPEC.label
        return wrong, f"a name that {label} takes; neutral codes such as ev_a1 are best"
    unmapped = getattr(given.module, "unmapped", None)
    missing = unmapped(name, given.own) if unmapped is not None and given.own is not None else None
    return None if missing is None else (missing, "a name that the destination's own settings map")


def _keys(
    sources: Mapping[str, SourceSettings],
    folder: Path,
    origin: str,
    found: list[Problem],
    secrets: dict[str, bool],
) -> dict[str, Access]:
    """What each key in the file is good for, by its SHA-256; a source may have none here."""
    keys: dict[str, Access] = {}
    for name, source in sources.items():
        path = key_path("source", name)
        own = KeySettings(key=source.key, key_sha256=source.key_sha256, expires=source.expires)
        given = [(f"{path}.keys[{number}]", one) for number, one in enumerate(source.keys)]
        if source.key is not None or source.key_sha256 is not None:
            given.insert(0, (path, own))
        for where, key in given:
            digest = _key_digest(key, where, folder, origin, found, secrets)
            if digest is None:
                continue
            if digest in keys:
                found.append(Problem(where, "a key that stands here twice", "each key once", origin))
            until_us = None if key.expires is None else to_us(key.expires)
            keys[digest] = access_of(name, source, digest, until_us=until_us, scopes=key.scopes)
    return keys


def _check_segment(
    sources: Mapping[str, SourceSettings],
    brands: Mapping[str, object],
    apps: Mapping[str, object],
    origin: str,
    found: list[Problem],
) -> None:
    """The brands and apps that a source's keys and Segment calls are for must be there."""
    for name, source in sources.items():
        named = (("brand", source.segment.brand, brands), ("app", source.segment.app, apps))
        for table, word, known in named:
            if word is not None and word not in known:
                key, allowed = key_path("source", name, "segment", table), f"one of {', '.join(known)}"
                found.append(Problem(key, repr(word), allowed, origin, _near(word, known)))
        for table, words, known in (("brands", source.brands, brands), ("apps", source.apps, apps)):
            for word in words:
                if word not in known:
                    key, allowed = key_path("source", name, table), f"one of {', '.join(known)}"
                    found.append(Problem(key, repr(word), allowed, origin, _near(word, known)))


def _key_digest(
    key: KeySettings,
    path: str,
    folder: Path,
    origin: str,
    found: list[Problem],
    secrets: dict[str, bool],
) -> str | None:
    """The SHA-256 of a key, given as that or by reference."""
    if (key.key is None) == (key.key_sha256 is None):
        found.append(Problem(path, "both or neither", "either key or key_sha256", origin))
        return None
    if key.key_sha256 is not None:
        if not re.fullmatch(r"[0-9a-f]{64}", key.key_sha256):
            allowed = "64 lower-case hex digits, as `lendsignal keys new --print` gives them"
            found.append(Problem(f"{path}.key_sha256", "something else", allowed, origin))
        return key.key_sha256
    secret = _with_folder(key.key, folder) if key.key is not None else Secret()
    secrets[f"{path}.key"] = _is_set(secret, f"{path}.key", origin, found)
    value = reveal(secret)
    return None if value is None else sha256(value.encode()).hexdigest()


def _pulls(
    given: object, folder: Path, origin: str, found: list[Problem], secrets: dict[str, bool]
) -> dict[str, PullPlan]:
    """Every pull's table, read twice: our keys, and those of its kind."""
    if not isinstance(given, dict):
        found.append(Problem("pull", "no table", "[pull.NAME] tables", origin))
        return {}
    pulls: dict[str, PullPlan] = {}
    kinds = feed_kinds()
    for name, table in given.items():
        path = key_path("pull", name)
        if not isinstance(table, dict) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
            allowed = "a table [pull.NAME] with a name of lower-case letters, digits, - and _"
            found.append(Problem(path, "something else", allowed, origin))
            continue
        of_kind = _read_twice(table, kinds, PullSettings, path, origin, found)
        if of_kind is None:
            continue
        module, common, own = of_kind
        found += [
            Problem(f"{path}.{one.key}", one.found, one.allowed, origin, one.nearest)
            for one in module.problems(own)
        ]
        own = _with_secret_files(own, folder)
        for field, secret in _secrets(own):
            key = key_path("pull", name, field)
            secrets[key] = _is_set(secret, key, origin, found)
        pulls[name] = PullPlan(name=name, common=common, own=own, kind=module)
    return pulls


SHORTEST_FEED_SECRET = 16
"""Characters of a secret that stands in an address: fewer could be guessed."""


def _feeds(
    given: Mapping[str, FeedSettings],
    apps: Mapping[str, App],
    folder: Path,
    origin: str,
    found: list[Problem],
    secrets: dict[str, bool],
) -> dict[str, Feed]:
    """The feeds whose settings can be used."""
    feeds: dict[str, Feed] = {}
    for name, one in given.items():
        path = key_path("feed", name)
        before = len(found)
        _check_name(path, name, origin, found)
        named = {key_path(path, "apps", key): app for key, app in one.apps.items()}
        for key, app in (named | ({f"{path}.app": one.app} if one.app is not None else {})).items():
            if app not in apps:
                allowed = f"an [app.NAME]: {', '.join(apps) or 'none is there'}"
                found.append(Problem(key, repr(app), allowed, origin, _near(app, apps)))
        _check_zone(f"{path}.timezone", one.timezone, origin, found)
        if one.secret is not None:
            secret = _with_folder(one.secret, folder)
            secrets[f"{path}.secret"] = _is_set(secret, f"{path}.secret", origin, found)
            value = reveal(secret)
            if value is not None and not re.fullmatch(rf"[A-Za-z0-9_-]{{{SHORTEST_FEED_SECRET},}}", value):
                allowed = f"{SHORTEST_FEED_SECRET} letters, digits, - and _ or more: it stands in an address"
                found.append(
                    Problem(f"{path}.secret", "a secret that is short or has signs", allowed, origin)
                )
        if len(found) == before:
            feeds[name] = Feed(name, one, apps)
    return feeds


def _spend(given: Mapping[str, SpendSettings], origin: str, found: list[Problem]) -> dict[str, SpendFeed]:
    """The accounts of cost whose settings can be used."""
    costs: dict[str, SpendFeed] = {}
    for name, one in given.items():
        path = key_path("spend", name)
        before = len(found)
        _check_name(path, name, origin, found)
        _check_zone(f"{path}.timezone", one.timezone, origin, found)
        if one.hours_in is not None:
            _check_zone(f"{path}.hours_in", one.hours_in, origin, found)
        if len(found) == before:
            costs[name] = SpendFeed(name, one)
    return costs


def _rates(settings: FxSettings, folder: Path, origin: str, found: list[Problem]) -> Rates:
    try:
        return rates_of(settings, folder)
    except InputError as error:
        found.append(Problem("fx", f"{error.field}: {error.rule}", "a table of rates", origin))
    except OSError:
        found.append(Problem("fx.file", "no file that can be read", "a CSV file of rates", origin))
    return Rates()


def _alerts(
    given: Mapping[str, AlertSettings],
    folder: Path,
    origin: str,
    found: list[Problem],
    secrets: dict[str, bool],
) -> dict[str, AlertSettings]:
    """The targets of alerts, with paths that count from the configuration's folder."""
    alerts: dict[str, AlertSettings] = {}
    for name, one in given.items():
        path = key_path("alert", name)
        _check_name(path, name, origin, found)
        made = _with_secret_files(one, folder)
        if made.ca_file is not None:
            file = folder / Path(made.ca_file).expanduser()
            made = msgspec.structs.replace(made, ca_file=str(file))
            if not file.is_file():
                found.append(Problem(f"{path}.ca_file", "no file", "a PEM file of certificates", origin))
        for field, secret in _secrets(made):
            secrets[f"{path}.{field}"] = _is_set(secret, f"{path}.{field}", origin, found)
        url = _revealed(made.url)
        wrong = None if url is None else problem_with_address(made, url)
        if wrong is not None:
            found.append(Problem(f"{path}.url", *wrong, origin))
        if made.kind == "webhook":
            unfit = problem_with_secrets(WebhookAuth("secret"), {"secret": _revealed(made.secret)})
            if unfit is not None:
                found.append(
                    Problem(f"{path}.secret", unfit[1], "24 to 64 bytes in base64 after whsec_", origin)
                )
        alerts[name] = made
    return alerts


def _audience_accounts(
    given: object, folder: Path, origin: str, found: list[Problem], secrets: dict[str, bool]
) -> dict[str, AccountPlan]:
    """Every account that lists are told to: its table is read twice, our keys and the platform's own."""
    if not isinstance(given, dict):
        found.append(Problem("audience_account", "no table", "[audience_account.NAME] tables", origin))
        return {}
    accounts: dict[str, AccountPlan] = {}
    kinds = audience_platforms()
    for name, table in given.items():
        path = key_path("audience_account", name)
        _check_name(path, name, origin, found)
        if not isinstance(table, dict):
            found.append(Problem(path, "no table", "[audience_account.NAME]", origin))
            continue
        of_kind = _read_twice(table, kinds, AccountSettings, path, origin, found)
        if of_kind is None:
            continue
        module, common, own = of_kind
        own = _with_secret_files(own, folder)
        for field, secret in _secrets(own):
            key = f"{path}.{field}"
            secrets[key] = _is_set(secret, key, origin, found)
        plan = AccountPlan(name=name, module=module, common=common, own=own, folder=folder)
        wrong = problem_with_account(plan)
        if wrong is not None:
            found.append(
                Problem(f"{path}.{wrong[0]}", wrong[1], "the secret as the platform shows it", origin)
            )
        accounts[name] = plan
    return accounts


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else reveal(secret)


def _check_name(path: str, name: str, origin: str, found: list[Problem]) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        found.append(Problem(path, f"the name {name!r}", "lower-case letters, digits, - and _", origin))


def _check_zone(key: str, zone: str, origin: str, found: list[Problem]) -> None:
    if not _is_zone(zone):
        found.append(Problem(key, repr(zone), "an IANA time zone such as Africa/Lagos", origin))


def _is_set(secret: Secret, key: str, origin: str, found: list[Problem]) -> bool:
    if reveal(secret) is not None:
        return True
    where = f"the environment variable {secret.env}" if secret.env else f"the file {secret.file}"
    found.append(Problem(key, f"{where} is not set or empty", "a secret that is there at start", origin))
    return False


def _secrets(settings: Struct) -> Iterator[tuple[str, Secret]]:
    for field in settings.__struct_fields__:
        value = getattr(settings, field)
        if isinstance(value, Secret):
            yield field, value


def _with_secret_files(settings: Any, folder: Path) -> Any:
    changed = {field: _with_folder(secret, folder) for field, secret in _secrets(settings)}
    return msgspec.structs.replace(settings, **changed)


def _with_folder(secret: Secret, folder: Path) -> Secret:
    """A secret file's path counts from the configuration's folder."""
    return secret if secret.file is None else Secret(file=str(folder / Path(secret.file).expanduser()))


def _read_twice(
    table: Mapping[str, object],
    kinds: Mapping[str, _Kind],
    ours: type[_Ours],
    path: str,
    origin: str,
    found: list[Problem],
) -> tuple[_Kind, _Ours, Any] | None:
    """A table with our keys and those of its kind, each read by its own; `None` where either cannot be."""
    module: Any = kinds.get(str(table.get("kind")))
    also = set(module.Settings.__struct_fields__) if module else set(table)
    common, problems = read(ours, table, path=path, origin=origin, also=also)
    found += problems
    if module is None:
        if common is not None:
            kind: Any = getattr(common, "kind", "")
            near, allowed = _near(kind, kinds), f"one of {', '.join(kinds)}"
            found.append(Problem(f"{path}.kind", repr(kind), allowed, origin, near))
        return None
    own, problems = read(module.Settings, table, path=path, origin=origin, also=set(ours.__struct_fields__))
    found += problems
    return None if own is None or common is None else (module, common, own)


def _near(word: str, known: Any) -> str | None:
    close = difflib.get_close_matches(word, list(known), n=1)
    return close[0] if close else None
