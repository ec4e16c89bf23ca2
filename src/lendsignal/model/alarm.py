"""What an alarm may be about: one list for who finds it and for who is told."""

from typing import Literal

AlarmKind = Literal[
    "silent",
    "volume_low",
    "volume_high",
    "delay",
    "dead",
    "paused",
    "token_ends",
    "quarantine",
    "pull_silent",
    "feed_silent",
    "sender",
    "disk",
    "reconcile",
]
"""What an alarm may be about."""
