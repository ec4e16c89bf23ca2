"""Who works with the console, and what each may do there."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct


class May(StrEnum):
    """What a page or an act asks of its visitor."""

    LOOK = "look"
    """See reports and lives."""
    DECIDE = "decide"
    """Accept or decline advice, keep audiences and holdouts."""
    OPERATE = "operate"
    """Pause, resume, replay, mend, test, silence."""
    GOVERN = "govern"
    """People, keys, configuration, cuts and models."""


class MemberRole(StrEnum):
    """The four roles of the design."""

    VIEWER = "viewer"
    BUYER = "buyer"
    OPERATOR = "operator"
    ADMIN = "admin"


ALLOWED: Mapping[MemberRole, frozenset[May]] = {
    MemberRole.VIEWER: frozenset({May.LOOK}),
    MemberRole.BUYER: frozenset({May.LOOK, May.DECIDE}),
    MemberRole.OPERATOR: frozenset({May.LOOK, May.OPERATE}),
    MemberRole.ADMIN: frozenset(May),
}
"""What each role may do."""


class Member(Struct, frozen=True, kw_only=True):
    """One who signs in. `campaigns`, `channels` and `apps`: all that a buyer or an agency sees, where several
    are given what lies in all of them; empty: everything.

    `language` is a language tag, or empty where the browser's counts.
    """

    login: str
    role: MemberRole
    campaigns: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    language: str = ""
    disabled: bool = False
    made_us: int = 0

    def may(self, what: May) -> bool:
        """Whether the member's role allows it."""
        return not self.disabled and what in ALLOWED[self.role]

    @property
    def limits(self) -> Mapping[str, tuple[str, ...]]:
        """What the member sees, by the key that reports are sliced by; empty: everything."""
        told = {"campaign": self.campaigns, "channel": self.channels, "app": self.apps}
        return {key: values for key, values in told.items() if values}

    @property
    def is_limited(self) -> bool:
        """Whether the member sees some of it only."""
        return bool(self.limits)
