"""Which accounts with lists the sandbox plays, with the made-up secrets it expects."""

from msgspec import Struct


class ImportedAudience(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """An audience made in AppsFlyer's pages: the token that may import to it, and its platform."""

    token: str
    platform: str
    app_id: str

    def __repr__(self) -> str:
        return "ImportedAudience(…)"


class AudienceSettings(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The accounts, by platform.

    `meta`: ad account → token. `meta_small`: members below which Meta lets none be removed. `meta_flagged`:
    names of lists that Meta flagged. `tiktok`: advertiser → token. `snap`: ad account → access token.
    `snap_clients`: client id of an OAuth app → the access token it gets. `appsflyer`: import key → audience.
    Google's accounts are those of `google_ads`. `bad_ids`: ids that a platform finds unusable, so that the
    rows or requests with them are refused.
    """

    meta: dict[str, str] = {}
    meta_small: int = 100
    meta_flagged: frozenset[str] = frozenset()
    tiktok: dict[str, str] = {}
    snap: dict[str, str] = {}
    snap_clients: dict[str, str] = {}
    appsflyer: dict[str, ImportedAudience] = {}
    bad_ids: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return "AudienceSettings(…)"
