"""The whole file as a lender writes it, and what can be read of one with mistakes."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lendsignal.archive import ArchiveSettings
from lendsignal.audience import AudienceSettings, AudiencesSettings
from lendsignal.config.apps import AppSettings, BrandSettings, PortfolioSettings, mended
from lendsignal.config.notes import entries
from lendsignal.config.people import ConsentSettings, PeopleSettings
from lendsignal.config.service import MetricsSettings, ServiceSettings, TraceSettings
from lendsignal.config.web import WebSettings
from lendsignal.deliver import DeliverSettings
from lendsignal.deliver.alerts import AlertSettings, HealthSettings
from lendsignal.deliver.allowed import SecuritySettings
from lendsignal.derive import CustomSettings, DeriveSettings, ProxySettings, TierSettings
from lendsignal.log.keeping import LogSettings
from lendsignal.log.store import StoreSettings
from lendsignal.plan import HoldoutSettings, RouteSettings
from lendsignal.resolve import ResolveSettings
from lendsignal.settings import read
from lendsignal.source import DoorSettings, SourceSettings
from lendsignal.source.feeds import FeedSettings, FxSettings, SpendSettings
from lendsignal.value.settings import WorthSettings


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


def readable(table: Mapping[str, Any]) -> Settings:
    """What can be read of a file with mistakes, so that the rest of it is checked in the same breath."""

    def tables(section: str, kind: type[Struct]) -> dict[str, Any]:
        found = table.get(section)
        read_ones = {name: read(kind, one, path="", origin="")[0] for name, one in entries(found)}
        return {name: one for name, one in read_ones.items() if one is not None}

    def section(name: str, kind: type[Any]) -> Any:
        one = read(kind, table.get(name, {}), path="", origin="")[0]
        return kind() if one is None else one

    routes = table.get("route")
    unreadable = RouteSettings(to="", send={})
    return Settings(
        portfolio=PortfolioSettings(name="unnamed"),
        brand={name: BrandSettings() for name, _ in entries(table.get("brand"))},
        app={
            name: app
            for name, one in entries(table.get("app"))
            if (app := mended(one, [brand for brand, _ in entries(table.get("brand"))])) is not None
        },
        source=tables("source", SourceSettings),
        feed=tables("feed", FeedSettings),
        spend=tables("spend", SpendSettings),
        alert=tables("alert", AlertSettings),
        fx=section("fx", FxSettings),
        resolve=section("resolve", ResolveSettings),
        derive=section("derive", DeriveSettings),
        tiers=section("tiers", TierSettings),
        proxy=section("proxy", ProxySettings),
        value=section("value", WorthSettings),
        conversion=tables("conversion", CustomSettings),
        people=section("people", PeopleSettings),
        holdout=tables("holdout", HoldoutSettings),
        audience=tables("audience", AudienceSettings),
        audiences=section("audiences", AudiencesSettings),
        route=[
            read(RouteSettings, one, path="", origin="")[0] or unreadable
            for one in (routes if isinstance(routes, list) else [])
        ],
    )
