"""The hosts that may be reached at all: what a lender lists beside what each platform's file declares.

Every request is for a declared host already. The list says which of the declared ones this installation may
speak to, so that nobody adds another country's platform, or a webhook of his own, without it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.structs import replace

from lendsignal.deliver.alerts import AlertSettings
from lendsignal.deliver.alerts.settings import PAGERDUTY
from lendsignal.deliver.audiences import AccountPlan
from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.tokens import HOST as TOKEN_HOST
from lendsignal.destination.spec import Erasing, GoogleAuth
from lendsignal.model import reveal

PATTERN = re.compile(r"(?:\*\.)?(?:[a-z0-9-]+\.)*[a-z0-9-]+|[0-9a-f:.]+")


class SecuritySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this installation may reach."""

    hosts: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="the only hosts that requests may go to, such as api3.appsflyer.com or"
            " *.acme.example; by default every host that a destination, list or alert declares"
        ),
    ] = None

    def __post_init__(self) -> None:
        for one in self.hosts or ():
            if PATTERN.fullmatch(one) is None:
                raise ValueError(
                    "hosts must be names in lower case such as api.acme.example or *.acme.example"
                )

    def allows(self, host: str) -> bool:
        """Whether requests may go there. `*.acme.example` is every name below it, and not itself."""
        if self.hosts is None:
            return True
        name = host.lower().rstrip(".")
        return any(
            name.endswith(one[1:]) and len(name) > len(one) - 1 if one.startswith("*.") else name == one
            for one in self.hosts
        )


def kept_to(security: SecuritySettings, outlets: Mapping[str, Outlet]) -> dict[str, Outlet]:
    """The destinations with those of their hosts that are allowed: a request to another is refused."""
    if security.hosts is None:
        return dict(outlets)
    return {
        name: replace(outlet, hosts=tuple(host for host in outlet.hosts if security.allows(host)))
        for name, outlet in outlets.items()
    }


def not_allowed(
    security: SecuritySettings,
    outlets: Mapping[str, Outlet],
    alerts: Mapping[str, AlertSettings],
    accounts: Mapping[str, AccountPlan],
) -> Iterator[tuple[tuple[str, str], str]]:
    """Who needs a host that is not allowed: (table, name), and the hosts of which none is."""
    if security.hosts is None:
        return
    for name, outlet in outlets.items():
        for needed in _needed(outlet):
            if needed and not any(map(security.allows, needed)):
                yield ("destination", name), " or ".join(needed)
    for name, alert in alerts.items():
        host = _host_of(alert)
        if host is not None and not security.allows(host):
            yield ("alert", name), "its host"  # the address itself is a secret
    for name, account in accounts.items():
        spec = account.module.SPEC
        needed = (*spec.hosts, *([TOKEN_HOST] if isinstance(spec.auth, GoogleAuth) else []))
        if any(not security.allows(host) for host in needed):
            yield ("audience_account", name), " and ".join(needed)


def _needed(outlet: Outlet) -> Iterable[tuple[str, ...]]:
    """Groups of hosts, of each of which one must be allowed."""
    yield outlet.hosts
    if isinstance(outlet.spec.auth, GoogleAuth):
        yield (TOKEN_HOST,)
    erasing: Erasing | None = getattr(outlet.module, "ERASING", None)
    if erasing is not None and outlet.module.no_erasure(outlet.own) is None:  # type: ignore[attr-defined]
        yield erasing.hosts


def _host_of(alert: AlertSettings) -> str | None:
    if alert.kind == "email":
        return alert.host
    if alert.url is None:
        return urlsplit(PAGERDUTY).hostname if alert.kind == "pagerduty" else None
    try:
        return urlsplit(reveal(alert.url) or "").hostname
    except ValueError:
        return None
