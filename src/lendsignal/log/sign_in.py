"""What a lender sets about sign-in by the company's own OpenID provider."""

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from lendsignal.model import Secret
from lendsignal.model.member import Member, MemberRole

RoleName = Literal["viewer", "buyer", "operator", "admin"]


class GroupSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What members of one of the provider's groups may do and see here."""

    group: Annotated[str, Meta(min_length=1, description="the group's name or id, as the provider tells it")]
    role: Annotated[RoleName, Meta(description="what its people may do here")]
    campaigns: Annotated[tuple[str, ...], Meta(description="all campaigns that they see; empty: all")] = ()
    channels: Annotated[tuple[str, ...], Meta(description="all channels that they see; empty: all")] = ()
    apps: Annotated[tuple[str, ...], Meta(description="all apps that they see; empty: all")] = ()

    def seen(self, login: str) -> Member:
        """A member with this role and these limits."""
        return Member(
            login=login,
            role=MemberRole(self.role),
            campaigns=self.campaigns,
            channels=self.channels,
            apps=self.apps,
        )


class OidcSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign-in by an OpenID provider: authorization code with PKCE."""

    issuer: Annotated[
        str, Meta(description="the provider's issuer, to the letter, such as https://accounts.google.com")
    ]
    client_id: Annotated[str, Meta(min_length=1, description="what the provider calls this installation")]
    client_secret: Annotated[
        Secret | None, Meta(description="where the client's secret is kept; without it a public client")
    ] = None
    label: Annotated[str, Meta(min_length=1, max_length=40, description="how the button names it")] = (
        "your company"
    )
    scopes: Annotated[tuple[str, ...], Meta(description="what is asked of the provider")] = (
        "openid",
        "email",
        "profile",
    )
    login: Annotated[str, Meta(min_length=1, description="the claim that names a member here")] = "email"
    groups: Annotated[
        str,
        Meta(min_length=1, description="the claim with a person's groups; dots lead into claims in claims"),
    ] = "groups"
    roles: Annotated[
        tuple[GroupSettings, ...],
        Meta(description="groups and their roles: of several that fit the first counts, at every sign-in"),
    ] = ()
    default_role: Annotated[
        RoleName | None, Meta(description="the role of whom no group fits; by default they stay outside")
    ] = None
    domains: Annotated[
        tuple[str, ...],
        Meta(description="the only domains of e-mail addresses that come in; empty: all"),
    ] = ()
    verified_email: Annotated[
        bool, Meta(description="whether the provider must say that it has verified the address")
    ] = True
    members: Annotated[
        Literal["expected", "anybody"],
        Meta(description="who comes in for the first time: whom an admin expects, or whoever has a role"),
    ] = "expected"

    def __post_init__(self) -> None:
        if not may_be_told_secrets(self.issuer) or urlsplit(self.issuer).query:
            raise ValueError("issuer must be an https address without ? and #")
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold openid")
        if self.domains and self.login == "sub":
            raise ValueError("domains need a login that is an e-mail address, such as email")

    @property
    def gives_roles(self) -> bool:
        """Whether the provider decides who may do what; else an admin here does."""
        return bool(self.roles or self.default_role)

    def member_of(self, login: str, groups: frozenset[str]) -> Member | None:
        """Role and limits of whoever is in these groups; `None`: no group of theirs has a role here."""
        for one in self.roles:
            if one.group in groups:
                return one.seen(login)
        return None if self.default_role is None else Member(login=login, role=MemberRole(self.default_role))


def may_be_told_secrets(address: str) -> bool:
    """Whether nobody in between can read what is said there: https, or this machine itself."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.fragment or parts.username or parts.password:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
