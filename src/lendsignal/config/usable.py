"""What the service works with: a configuration without mistakes."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from lendsignal.advise.preflight import Terms
from lendsignal.archive import ArchiveSettings
from lendsignal.audience import AudienceSettings, AudiencesSettings
from lendsignal.config.service import MetricsSettings, TraceSettings
from lendsignal.config.web import WebSettings
from lendsignal.deliver import DeliverSettings, Outlet
from lendsignal.deliver.alerts import AlertSettings, HealthSettings
from lendsignal.deliver.allowed import SecuritySettings
from lendsignal.deliver.audiences import AccountPlan
from lendsignal.derive import ProxySettings, TierSettings
from lendsignal.log.keeping import LogSettings
from lendsignal.log.store import StoreSettings
from lendsignal.model import App, Secret
from lendsignal.model.rates import Rates
from lendsignal.plan import Holdout, PolicySource
from lendsignal.source import Access, DoorSettings, PullPlan, SourceSettings
from lendsignal.source.feeds import Feed, SpendFeed
from lendsignal.value.settings import WorthSettings


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
