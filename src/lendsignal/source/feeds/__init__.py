"""What MMPs and ad accounts tell: where users came from, what was recorded, what it cost.

Their door is `feeds.door`: no role loads it that has no door.
"""

from typing import TYPE_CHECKING

from lendsignal.later import later

if TYPE_CHECKING:
    from lendsignal.source.feeds.facts import fact_of
    from lendsignal.source.feeds.feed import Fact, Feed
    from lendsignal.source.feeds.files import (
        Brought,
        Refused,
        import_attribution,
        import_spend,
        read_attribution,
        told,
    )
    from lendsignal.source.feeds.meters import FeedMeters
    from lendsignal.source.feeds.rates import rates_of, read_rates
    from lendsignal.source.feeds.settings import FeedSettings, FxSettings, RateSettings, SpendSettings
    from lendsignal.source.feeds.spend import SpendFeed
    from lendsignal.source.feeds.writer import FeedWriter

__all__ = [
    "Brought",
    "Fact",
    "Feed",
    "FeedMeters",
    "FeedSettings",
    "FeedWriter",
    "FxSettings",
    "RateSettings",
    "Refused",
    "SpendFeed",
    "SpendSettings",
    "fact_of",
    "import_attribution",
    "import_spend",
    "rates_of",
    "read_attribution",
    "read_rates",
    "told",
]

__getattr__ = later(
    __name__,
    {
        "facts": "fact_of",
        "feed": "Fact Feed",
        "files": "Brought Refused import_attribution import_spend read_attribution told",
        "meters": "FeedMeters",
        "rates": "rates_of read_rates",
        "settings": "FeedSettings FxSettings RateSettings SpendSettings",
        "spend": "SpendFeed",
        "writer": "FeedWriter",
    },
)
