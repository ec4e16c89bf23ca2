"""What a lender's back end tells a cluster of real nodes, door by door, and what it was answered."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

from tests.cluster.poisoned import POISON
from tests.running import borrowing, call

HOT = 0
"""The user of whom a third of all events is."""

HOT_SHARE, LOGIN_SHARE = 0.3, 0.3
POISONED = 8
"""Every eighth thing that a user does cannot be decided, where it is a loan."""
NEW_USERS = 0.2
MOST_AT_ONCE = 12


class Teller(threading.Thread):
    """Tells one door batch after batch, each until it is answered that it is durable.

    Its users are its own: two requests of one user that are under way at the same time have no order. A batch
    that was not answered is told again, as a back end does that does not know.
    """

    def __init__(self, address: str, number: int, tellers: int, seed: int, a_second: float) -> None:
        super().__init__(name=f"teller-{number}", daemon=True)
        self.address = address
        self._number, self._tellers = number, tellers
        self._chance = Random(f"{seed} {number}")
        self._pause = MOST_AT_ONCE / 2 / a_second
        self._stopping, self._given_up = threading.Event(), threading.Event()
        self._known: list[int] = []
        self._loans: Counter[int] = Counter()
        self.told: dict[str, list[str]] = {}
        """By user the ids of what was answered, in that order."""
        self.answered: list[str] = []
        self.answered_at: dict[str, datetime] = {}
        self.answers: Counter[int] = Counter()
        """Statuses by how often; 0: no answer."""
        self.slowest = 0.0

    def run(self) -> None:
        """Until told to stop."""
        while not self._stopping.wait(self._pause):
            batch = list(self._batch())
            if not self._tell(json.dumps(batch).encode()):
                return
            for event in batch:
                self.told.setdefault(event["user_id"], []).append(event["event_id"])
                self.answered.append(event["event_id"])
                self.answered_at[event["event_id"]] = datetime.now(UTC)

    def stop(self) -> None:
        """What was begun is told to its end."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def give_up(self) -> None:
        """Also in the middle of a batch."""
        self._given_up.set()
        self.stop()

    def _tell(self, body: bytes) -> bool:
        """Whether it was answered; not where we gave up."""
        while not self._given_up.is_set():
            began = time.monotonic()
            try:
                status, _, answer = call(self.address, "POST", "/v1/events", body, timeout=8)
            except (OSError, http.client.HTTPException):
                status = 0
            self.answers[status] += 1
            if status == 202:
                assert json.loads(answer)["refused"] == 0, answer
                self.slowest = max(self.slowest, time.monotonic() - began)
                return True
            assert status in (0, 429, 503), answer
            self._given_up.wait(0.05)
        return False

    def _batch(self) -> Iterator[dict[str, Any]]:
        if not self._number and not self._known:
            yield from self._new(HOT)
        for _ in range(self._chance.randrange(1, MOST_AT_ONCE)):
            # The hot user's events come through the first door.
            share = HOT_SHARE * self._tellers
            if not self._number and self._chance.random() < share:
                yield self._next(HOT)
            elif not self._known or self._chance.random() < NEW_USERS:
                yield from self._new(len(self._known) * self._tellers + self._number)
            else:
                yield self._next(self._chance.choice(self._known))

    def _new(self, user: int) -> Iterator[dict[str, Any]]:
        self._known.append(user)
        yield from borrowing(user)

    def _next(self, user: int) -> dict[str, Any]:
        self._loans[user] += 1
        number = self._loans[user]
        common = {"brand": "acme", "user_id": f"u{user}", "occurred_at": datetime.now(UTC).isoformat()}
        if self._chance.random() < LOGIN_SHARE:
            ids = {"appsflyer_id": f"{1_700_000_000_000 + user}-{1_000_000 + user}", "os_version": "13"}
            login = {"type": "logged_in", "event_id": f"l{number}-u{user}", "app": "acme-ng", "device": ids}
            return {**common, **login}
        poison = POISON if number % POISONED == 0 else ""
        return {
            **common,
            "type": "disbursed",
            "event_id": f"d{number}-u{user}",
            "loan_id": f"{poison}L{number}-u{user}",
            "amount": str(9_000 + number),
            "currency": "NGN",
        }
