"""Where users came from, what it cost, and what a platform says it recorded: the nouns of feeds and spend."""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct


class AttributionKind(StrEnum):
    """What an MMP attributed. The last two differ in meaning from MMP to MMP: docs/reference/feeds.md."""

    INSTALL = "install"
    REINSTALL = "reinstall"
    RE_ENGAGEMENT = "re_engagement"
    RE_ATTRIBUTION = "re_attribution"


RETARGETING = (AttributionKind.RE_ENGAGEMENT, AttributionKind.RE_ATTRIBUTION)
"""The kinds that an ad for people who had the app before brought about."""


class Ad(Struct, frozen=True, kw_only=True, gc=False):
    """Where an ad stands, from the widest to the narrowest; empty where it is not told.

    `media_source` is the MMP's word and `channel` ours, the same for every MMP and for cost: `meta`,
    `google`, `tiktok`, `snap`, `kwai`, `apple`, `organic`; any other media source is its own channel, in
    lower case.
    """

    channel: str = ""
    media_source: str = ""
    campaign: str = ""
    campaign_id: str = ""
    ad_set: str = ""
    ad_set_id: str = ""
    ad: str = ""
    ad_id: str = ""

    @property
    def organic(self) -> bool:
        """Whether no ad brought the user, as the MMP says."""
        return self.channel == "organic"


class Attribution(Struct, frozen=True, kw_only=True):
    """One thing an MMP says of an installation: `id` is any install-scoped id of it in `app`.

    `at_us` is when the user came (the first launch of an installation, or the return), 0 where not told.
    `told_us` is when the MMP came to say so, by its own clock where `dated`, else when it reached us: of two
    sayings about the same coming the later one holds. Microseconds since 1970, UTC.
    """

    feed: str
    mmp: str
    app: str
    id: str
    kind: AttributionKind = AttributionKind.INSTALL
    at_us: int = 0
    told_us: int = 0
    dated: bool = False
    ad: Ad = Ad()
    touch: str = ""
    touch_us: int | None = None
    user_id: str = ""
    click_ids: dict[str, str] = {}


class Recorded(Struct, frozen=True, kw_only=True):
    """One in-app event that an MMP says it recorded, and how it attributes it.

    `conversion` is the id that we sent with it; empty for events of the app's own or of others. `primary` is
    false where the MMP counts the event a second time, under an older attribution. `copies` is how often one
    file has it. `detail` tells apart what else is equal: events of one name, installation and second.
    """

    feed: str
    mmp: str
    app: str
    id: str
    name: str
    at_us: int
    conversion: str = ""
    amount: Decimal | None = None
    currency: str = ""
    sent_by: str = ""
    kind: AttributionKind = AttributionKind.INSTALL
    primary: bool = True
    ad: Ad = Ad()
    user_id: str = ""
    detail: str = ""
    copies: int = 1


class Spend(Struct, frozen=True, kw_only=True):
    """What one ad (or campaign) cost on one day of the account's own time zone, in major units."""

    feed: str
    account: str
    day: date
    ad: Ad
    amount: Decimal
    currency: str
    country: str = ""
    impressions: int = 0
    clicks: int = 0
