"""What the door and the intake count."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from lendsignal.log import Quarantined
from lendsignal.metrics import OTHER, QUICK, Meters, event_word
from lendsignal.model import Event

RULES = (
    ("not_json", r"must be (JSON|UTF-8|a JSON object)|must not be nested|the array is not whole JSON"),
    ("unknown_field", r"is no field of ours"),
    ("set_by_us", r"is set by us|names beginning with"),
    ("missing", r"is needed"),
    ("not_yours", r"is not one of yours|belongs to another brand"),
    ("not_allowed", r"is not one of the allowed words"),
    ("impossible_time", r"lies |is no time|has no offset|must be RFC 3339"),
    ("repeated_key", r"stands twice"),
    ("wrong_form", r"must |may have|expected |invalid "),
)
"""The rule of a refusal as one word, by how its sentence begins; fields and limits stand in quarantine."""


def rule_word(rule: str) -> str:
    """The word for a rule that refused an event; `other` where there is none."""
    return next((word for word, start in RULES if re.match(start, rule, re.IGNORECASE)), OTHER)


class SourceMeters(Meters):
    """What came in, what was refused, and how long it took to be durable. `role`: of the door's process."""

    def __init__(self, role: str = "core") -> None:
        super().__init__()
        self._role = role
        self._requests = self.counter(
            "lendsignal_door_requests_total", "Requests at the door, by the class of the answer.", "status"
        )
        self._durable = self.histogram(
            "lendsignal_door_durable_seconds",
            "From the beginning of a request to the answer that its events are durable.",
            QUICK,
        )
        self._taken = self.counter(
            "lendsignal_events_taken_total",
            "Events that the door made durable; of the lender's own types together as custom.",
            "source",
            "type",
        )
        self._refused = self.counter(
            "lendsignal_events_refused_total",
            "Events that the door refused and kept in quarantine.",
            "source",
            "rule",
        )
        self._unusable = self.counter(
            "lendsignal_ids_unusable_total",
            "Ids of devices, and contacts, that name nobody and were left out of events that were taken.",
            "source",
            "id",
        )
        self._turned_away = self.counter(
            "lendsignal_door_turned_away_total",
            "Requests turned away before any event was looked at; `source` is empty without a good key.",
            "source",
            "why",
        )
        self._passed = self.counter(
            "lendsignal_segment_passed_over_total",
            "Segment calls that are no event, by the configuration or for want of a user.",
            "source",
            "why",
        )
        self._keys_left = self.gauge(
            "lendsignal_source_keys_left_seconds",
            "Until the last API key of a source ends; absent where one never does.",
            "source",
        )
        self._waiting = self.gauge(
            "lendsignal_intake_waiting_events", "Events that wait to be written into the log."
        )
        self._commits = self.histogram(
            "lendsignal_append_commit_seconds",
            "How long it took to write events durably; where they are few, to decide them as well.",
            QUICK,
        )
        self._trouble = self.gauge(
            "lendsignal_disk_trouble", "1: the role could not write when it last tried.", "role"
        )
        self.keys_left: Callable[[], Mapping[str, float]] = dict
        """Seconds until the last key of each source ends."""
        self.waiting = 0
        self.trouble = False

    def answered(self, status: int, seconds: float) -> None:
        """One request at the door."""
        self._requests.add(f"{status // 100}xx")
        if status == 202:
            self._durable.of().took(seconds)

    def turned_away(self, source: str, why: str) -> None:
        """One request that a key, a limit or its form stopped."""
        self._turned_away.add(source, why)

    def passed_over(self, source: str, why: str) -> None:
        """One Segment call that was understood and is no event."""
        self._passed.add(source, why)

    def written(self, events: Sequence[Event], refused: Sequence[Quarantined], seconds: float) -> None:
        """What one commit of the intake made durable."""
        for (source, kind), n in Counter((one.source, one.type) for one in events).items():
            self._taken.add(source, event_word(kind), n=n)
        for event in events:
            for flag in event.flags:
                if flag.startswith("unusable_"):
                    self._unusable.add(event.source, flag.removeprefix("unusable_"))
        for one in refused:
            self._refused.add(one.source, rule_word(one.rule))
        self._commits.of().took(seconds)

    def sample(self) -> None:
        self._keys_left.stand({(source,): seconds for source, seconds in self.keys_left().items()})
        self._waiting.set(self.waiting)
        self._trouble.stand({(self._role,): float(self.trouble)})
