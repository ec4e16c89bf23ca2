"""What ad platforms say of their own learning: windows, and how many conversions they want to see.

One row a platform, with its source and the day it was read. Numbers change without notice; a lender whose ad
account is set otherwise says so when asking for advice.
"""

from collections.abc import Mapping

from msgspec import Struct

READ = "2026-11-22"


class Learning(Struct, frozen=True, kw_only=True):
    """`window_days`: until so long after the click a conversion counts for what the platform learns, as ad
    accounts are commonly set. `wanted` conversions in `wanted_days` are what the platform says it needs for
    one ad set or campaign; `value_wanted` the same for bidding by value (0: it does not say).

    `says` is our summary of the pages under `source`.
    """

    label: str
    window_days: float
    wanted: int
    wanted_days: int
    value_wanted: int = 0
    value_wanted_days: int = 7
    says: str
    source: str
    read: str = READ


LEARNING: Mapping[str, Learning] = {
    "meta": Learning(
        label="Meta",
        window_days=7,
        wanted=50,
        wanted_days=7,
        value_wanted=50,
        says="about 50 optimisation events after a start or a large edit; within 7 days of the click",
        source="https://www.facebook.com/business/help/112167992830700",
    ),
    "google": Learning(
        label="Google",
        window_days=30,
        wanted=70,
        wanted_days=7,
        says="an in-app action that at least 10 users a day perform, else a proxy for it",
        source="https://support.google.com/google-ads/answer/7619907",
    ),
    "tiktok": Learning(
        label="TikTok",
        window_days=7,
        wanted=50,
        wanted_days=7,
        value_wanted=30,
        says="50 conversions; by value more than 30 purchases with a value in 7 days, Android only",
        source="https://ads.tiktok.com/help/article/learning-phase",
    ),
    "snap": Learning(
        label="Snap",
        window_days=7,
        wanted=50,
        wanted_days=7,
        says="not researched: taken to be like Meta's",
        source="",
    ),
    "kwai": Learning(
        label="Kwai",
        window_days=7,
        wanted=50,
        wanted_days=7,
        says="not researched: taken to be like Meta's",
        source="",
    ),
}
"""By our word for the channel."""

OTHER = Learning(
    label="others",
    window_days=7,
    wanted=50,
    wanted_days=7,
    says="a platform that we know nothing of: taken to be like Meta's",
    source="",
)


def learning_of(channel: str) -> Learning:
    """What is known of a channel's platform."""
    return LEARNING.get(channel, OTHER)
