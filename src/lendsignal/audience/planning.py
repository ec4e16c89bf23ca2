"""Lists as the configuration means them: what they are built by, which of them go to which account, and
what stands on platforms though the configuration sends it no more.
"""

from collections.abc import Mapping, Sequence
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
from lendsignal.log import Audiences, DataFolder, SyncRow
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


GONE = "no longer in the configuration"
"""Why a list is not sent that nobody hides."""

LEFT_SINCE = "left_since_us"
"""The note since when a list is not sent any more, in microseconds since 1970; 0: it is to be emptied now."""


class Left(Struct, frozen=True, kw_only=True):
    """A list that stands on a platform and is not sent there any more.

    `why` is `GONE`, or what hides it. `empty_at_us`: when it is emptied, in microseconds since 1970; `None`:
    only when a person asks for it. `reachable`: whether its account is still in the configuration.
    """

    audience: str
    account: str
    code: str
    members: int
    why: str
    empty_at_us: int | None
    reachable: bool

    def is_due(self, now_us: int) -> bool:
        """Whether it is to be emptied now."""
        return self.reachable and self.empty_at_us is not None and self.empty_at_us <= now_us

    def planned(self) -> Planned:
        """The same as a list that nobody is to be on."""
        return Planned(
            audience=self.audience, account=self.account, code=self.code, use="retargeting", retired=True
        )


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


def left_behind(config: Configured, book: Audiences, plan: Plan, now_us: int) -> list[Left]:
    """What stands on platforms and is not sent there any more.

    What is no longer in the configuration is emptied after `audiences.retire_after`, counted from `now_us`
    where nobody saw it before; what is hidden stays until a person asks for it.
    """
    sent = {(one.audience, one.account) for one in plan.lists}
    found: list[Left] = []
    for row in book.syncs():
        name = (row.audience, row.account)
        if name in sent or not _is_there(book, row):
            continue
        noted = book.noted(*name, LEFT_SINCE)
        since_us = now_us if noted is None else int(noted)
        why = plan.hidden.get(name)
        grace_us = round(config.audiences.retire_after.total_seconds() * 1e6)
        empty_at_us = since_us + grace_us if since_us else 0
        found.append(
            Left(
                audience=row.audience,
                account=row.account,
                code=code_of(config.portfolio, row.audience),
                members=row.confirmed,
                why=why or GONE,
                empty_at_us=empty_at_us if why is None or since_us == 0 else None,
                reachable=row.account in config.list_accounts,
            )
        )
    return found


def note_left(book: Audiences, plan: Plan, left: Sequence[Left], now_us: int) -> list[Left]:
    """Keeps since when lists are not sent any more, and forgets it of those that are; the newly left."""
    fresh = [one for one in left if book.noted(one.audience, one.account, LEFT_SINCE) is None]
    for one in fresh:
        book.note(one.audience, one.account, LEFT_SINCE, str(now_us).encode())
    for each in plan.lists:
        if book.noted(each.audience, each.account, LEFT_SINCE) is not None:
            book.note(each.audience, each.account, LEFT_SINCE, None)
    return fresh


def _is_there(book: Audiences, row: SyncRow) -> bool:
    """Whether anybody stands on the platform's list because of us, or may."""
    return bool(row.base or row.confirmed or book.chunks(row.audience, row.account))


def is_confirmed(one: Definition, book: Audiences) -> bool:
    """Whether somebody answers for a sensitive list as it is defined now."""
    allowed = book.allowed(one.name)
    return allowed is not None and allowed.definition == one.checksum()
