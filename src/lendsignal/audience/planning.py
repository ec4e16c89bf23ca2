"""Lists as the configuration means them: what they are built by, and which of them go to which account."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from lendsignal.audience.build import Builder, Rules
from lendsignal.audience.customers import Asked
from lendsignal.audience.definitions import Definition, definition_of
from lendsignal.audience.membership import Planned
from lendsignal.audience.policy import UNCONFIRMED, code_of, hidden
from lendsignal.audience.settings import AudienceSettings, AudiencesSettings
from lendsignal.audience.worth import by_model
from lendsignal.clock import Clock
from lendsignal.log import Audiences, DataFolder
from lendsignal.model import App
from lendsignal.plan import Holdout, PolicySource
from lendsignal.value.settings import WorthSettings


class Configured(Protocol):
    """What lists take from the configuration, which knows this room and not the other way round."""

    @property
    def data(self) -> Path: ...
    @property
    def portfolio(self) -> str: ...
    @property
    def apps(self) -> Mapping[str, App]: ...
    @property
    def policy(self) -> PolicySource: ...
    @property
    def value(self) -> WorthSettings: ...
    @property
    def lists(self) -> Mapping[str, AudienceSettings]: ...
    @property
    def audiences(self) -> AudiencesSettings: ...
    @property
    def list_holdouts(self) -> Mapping[str, tuple[Holdout, ...]]: ...
    @property
    def list_accounts(self) -> Mapping[str, str]: ...


class Plan(Struct, frozen=True):
    """The lists that go to accounts, and why others of the configuration do not, by list and account."""

    lists: tuple[Planned, ...]
    hidden: Mapping[tuple[str, str], str]


def definitions(config: Configured) -> dict[str, Definition]:
    """Every list of the configuration."""
    return {name: definition_of(name, one) for name, one in config.lists.items()}


def builder(config: Configured, clock: Clock) -> Builder:
    """What builds them."""
    folder, policy = DataFolder(config.data), config.policy
    unasked = {app.name: policy.consent_default.get(app.country, True) for app in config.apps.values()}
    return Builder(
        folder,
        Rules(
            lists=definitions(config),
            asked=Asked(unasked=unasked, default_app=policy.derive.default_app, test=policy.people.test),
            holdouts=config.list_holdouts,
            predict=by_model(folder, config.value),
        ),
        clock,
    )


def plan_of(config: Configured, book: Audiences) -> Plan:
    """Which list goes where: all that platforms and fair lending allow."""
    found: list[Planned] = []
    kept: dict[tuple[str, str], str] = {}
    for name, settings in config.lists.items():
        one = definition_of(name, settings)
        apps = [app for app in config.apps.values() if not one.apps or app.name in one.apps]
        countries = set(one.countries) or {app.country for app in apps}
        for account in settings.to:
            kind = config.list_accounts.get(account, "")
            why = hidden(one, kind, countries, config.audiences.special_category)
            if why is None and one.sensitive and not is_confirmed(one, book):
                why = UNCONFIRMED
            if why is not None:
                kept[name, account] = why
                continue
            found.append(
                Planned(
                    audience=name,
                    account=account,
                    code=settings.code or code_of(config.portfolio, name),
                    use=one.use,
                    with_value=one.value is not None and one.use == "seed",
                )
            )
    return Plan(tuple(found), kept)


def is_confirmed(one: Definition, book: Audiences) -> bool:
    """Whether somebody answers for a sensitive list as it is defined now."""
    allowed = book.allowed(one.name)
    return allowed is not None and allowed.definition == one.checksum()
