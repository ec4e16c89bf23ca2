"""What a message or a row of a feed says, whatever platform it comes from."""

from collections.abc import Mapping

from lendsignal.source.feeds import adjust, appsflyer, generic
from lendsignal.source.feeds.cells import row_of
from lendsignal.source.feeds.feed import Fact, Feed

READERS = {"appsflyer": appsflyer.read, "adjust": adjust.read, "generic": generic.read}
"""By the kind of feed. Each takes the feed, a row, and when it reached us."""


def fact_of(feed: Feed, found: Mapping[str, object], received_us: int) -> Fact | None:
    """What a message or row says, in our words; `None` where no report needs it, such as a click.

    Raises `InputError` with the field and the rule, without the value.
    """
    return READERS[feed.settings.kind](feed, row_of(found, feed.columns), received_us)
