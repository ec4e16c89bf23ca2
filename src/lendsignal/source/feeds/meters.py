"""What the feeds' door counts."""

from lendsignal.metrics import Meters


class FeedMeters(Meters):
    """Messages of feeds, by what they were."""

    def __init__(self) -> None:
        super().__init__()
        self._messages = self.counter(
            "lendsignal_feed_messages_total",
            "Messages of attribution feeds: taken (durable), passed_over (a click or the like), refused (kept"
            " in quarantine).",
            "feed",
            "what",
        )
        self._turned_away = self.counter(
            "lendsignal_feed_requests_turned_away_total",
            "Requests to attribution feeds that were not taken, by why: unknown, malformed, size, queue,"
            " not_durable.",
            "why",
        )

    def took(self, feed: str, what: str, n: int) -> None:
        """So many messages of a feed were that."""
        if n:
            self._messages.add(feed, what, n=n)

    def turned_away(self, why: str) -> None:
        """One request was told no, or to come again."""
        self._turned_away.add(why)
