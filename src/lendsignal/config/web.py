"""`[web]`: the pages, and how people sign in."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from lendsignal.config.notes import Notes, is_there
from lendsignal.deliver.allowed import SecuritySettings
from lendsignal.log.sign_in import OidcSettings, may_be_told_secrets
from lendsignal.model import App


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


def is_this_host(host: str) -> bool:
    """Whether that name of a host means this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_open(web: WebSettings, notes: Notes) -> None:
    """Pages without sign-in are for whoever works on this machine."""
    if web.open and not is_this_host(web.host):
        allowed = "sign-in, or a host that only this machine can reach, such as 127.0.0.1"
        notes.wrong("web.open", f"true at {web.host}", allowed)


def web_of(
    web: WebSettings, security: SecuritySettings, apps: Mapping[str, App], notes: Notes
) -> WebSettings:
    """How people sign in: by names and passwords of ours, by the company's own provider, or by both."""
    oidc = web.oidc
    if not web.local_accounts and (oidc is None or web.emergency is None):
        allowed = "true, or [web.oidc] and web.emergency beside it: somebody must be able to come in"
        notes.wrong("web.local_accounts", "false", allowed)
    if oidc is None:
        return web
    if web.address is None or not may_be_told_secrets(web.address):
        seen = "no address" if web.address is None else repr(web.address)
        notes.wrong("web.address", seen, "the https address that the provider sends people back to")
    if web.open:
        notes.wrong("web.open", "true beside [web.oidc]", "one of the two")
    host = urlsplit(oidc.issuer).hostname or ""
    if not security.allows(host):
        notes.wrong("web.oidc.issuer", host, "a host of security.hosts, or the host added there")
    for number, one in enumerate(oidc.roles, 1):
        for app in one.apps:
            if app not in apps:
                notes.no_table(f"web.oidc.roles[{number}].apps", app, "app", apps)
    if not is_there("authlib.oidc.core"):
        allowed = "what the extra brings: pip install 'lendsignal[oidc]'"
        notes.wrong("web.oidc", "sign-in without its library", allowed)
    own: OidcSettings = notes.all_placed(oidc)
    if own.client_secret is not None:
        notes.secret("web.oidc.client_secret", own.client_secret)
    return msgspec.structs.replace(web, oidc=own)
