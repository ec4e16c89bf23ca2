"""The client relay as a lender runs it: the real service, a back end that asks for tokens, and apps that
fetch, log and acknowledge while processes are killed."""

import http.client
import json
import random
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.running import KEY, BackEnd, Ledger, Service, borrowing, call, drawn_seed, service, until

RELAY = """
[destination.relay-ng]
kind   = "relay"
app    = "acme-ng"
secret = { env = "ACME_RELAY" }

[[route]]
to   = "relay-ng"
send = { disbursement = "ev_ln" }
"""

RING = 200
"""Ids that the app remembers."""


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_RELAY", "made-up-signing-secret-of-32-chars")


@contextmanager
def relaying(folder: Path) -> Iterator[Service]:
    """The service with a relay beside its other destinations."""
    with service(folder, start=False) as (one, _):
        with (one.folder / "lendsignal.toml").open("a") as config:
            config.write(RELAY)
        yield one.start()


class App:
    """An app on a phone: it asks its back end for a token, fetches, logs what it has not logged before,
    and acknowledges."""

    def __init__(self, service: Service, user: str, installation: str) -> None:
        self._service = service
        self._user = user
        self._installation = installation
        self._ring: deque[str] = deque(maxlen=RING)
        self.logged: list[str] = []
        self.words_lost = False

    def token(self) -> str:
        """From the lender's back end, which has the key."""
        body = json.dumps({"user_id": self._user, "installation": self._installation}).encode()
        status, _, answer = call(self._service.address, "POST", "/v1/relay/token", body)
        assert status == 200, answer
        found: str = json.loads(answer)["token"]
        return found

    def fetch(self) -> list[dict[str, Any]]:
        """What waits for this installation."""
        status, _, answer = self._call("GET", "events")
        assert status == 200, answer
        found: list[dict[str, Any]] = json.loads(answer)["events"]
        return found

    def log(self, events: list[dict[str, Any]]) -> None:
        """Logs with the SDK what the ring does not hold."""
        for one in events:
            if one["id"] not in self._ring:
                self._ring.append(one["id"])
                self.logged.append(one["id"])

    def acknowledge(self, events: list[dict[str, Any]]) -> int:
        """Says that they were logged."""
        body = json.dumps({"ids": [one["id"] for one in events]}).encode()
        status, _, answer = self._call("POST", "acknowledged", body)
        assert status == 200, answer
        return int(json.loads(answer)["acknowledged"])

    def opens(self) -> None:
        """The app comes to the front; where the service is away it tries again the next time."""
        try:
            events = self.fetch()
            self.log(events)
            if events:
                self.words_lost = True
                self.acknowledge(events)
            self.words_lost = False
        except (OSError, http.client.HTTPException):
            return

    def _call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        bearer = f"Bearer {self.token()}"
        answer = call(self._service.address, method, f"/v1/relay/{path}", body, Authorization=bearer)
        if answer[0] == 429:
            raise TimeoutError("this app asks too often: later")
        return answer


def app_of(one: Service, number: int, *, prefix: str = "u") -> App:
    """The app of a user of `borrowing`."""
    return App(one, f"{prefix}{number}", f"{1_700_000_000_000 + number}-{1_000_000 + number}")


def pending(one: Service) -> int:
    """Deliveries that wait for an app."""
    return int(one.status()["waiting"].get("relay-ng", {}).get("pending", 0))


def test_the_app_fetches_logs_and_acknowledges_its_own_conversion(tmp_path: Path) -> None:
    with relaying(tmp_path) as one:
        BackEnd(one).send([*borrowing(1), *borrowing(2)])
        until(lambda: pending(one) == 2)
        ada = app_of(one, 1)
        (event,) = ada.fetch()
        assert ada.acknowledge([event]) == 1
        until(lambda: pending(one) == 1)
        assert ada.fetch() == []
        assert call(one.address, "GET", "/v1/relay/events", Authorization="Bearer forged.1.2.3")[0] == 401
        described = json.loads(call(one.address, "GET", "/openapi.json")[2])["paths"]
        assert one.stop() == 0

    books = Ledger(tmp_path / "service" / "data")
    assert (event["name"], len(event["id"])) == ("ev_ln", 32)
    assert books.accepted["relay-ng"] == {event["id"]}
    assert books.count("relay-ng", "accepted") == 1
    assert books.balances("relay-ng")
    assert {"/v1/relay/token", "/v1/relay/events", "/v1/relay/acknowledged"} <= set(described)
    assert KEY not in one.said


def test_a_new_installation_does_not_get_the_old_ones_conversions(tmp_path: Path) -> None:
    with relaying(tmp_path) as one:
        back_end = BackEnd(one)
        back_end.send(borrowing(1))
        until(lambda: pending(one) == 1)
        anew = {**borrowing(1)[0], "event_id": "anew", "type": "logged_in"}
        back_end.send([{**anew, "device": {"appsflyer_id": "1800000000000-7000007"}}])
        one.idle()

        assert App(one, "u1", "1800000000000-7000007").fetch() == []
        assert App(one, "u2", app_of(one, 1)._installation).fetch() == []
        assert len(app_of(one, 1).fetch()) == 1


def test_whoever_is_killed_every_app_logs_its_conversion_once_and_it_is_accepted(tmp_path: Path) -> None:
    chance, users = random.Random(drawn_seed()), 40
    with relaying(tmp_path) as one:
        apps = [app_of(one, number) for number in range(users)]
        back_end = BackEnd(one)

        def lend() -> None:
            for number in range(users):
                back_end.send(borrowing(number))

        sending = threading.Thread(target=lend)
        sending.start()
        for _ in range(6):
            one.kill(chance.choice(["core", "send"]))
            for app in chance.sample(apps, users):
                app.opens()
        sending.join()
        one.ready()

        def through() -> bool:
            for app in apps:
                if not app.logged or app.words_lost:
                    app.opens()
            return all(app.logged for app in apps) and pending(one) == 0

        until(through, "every app got its conversion and every word is heard")
        assert one.stop() == 0

    books = Ledger(tmp_path / "service" / "data")
    logged = [identifier for app in apps for identifier in app.logged]
    assert len(logged) == len(set(logged)) == users
    assert books.accepted["relay-ng"] == set(logged) == set(books.planned["relay-ng"])
    assert books.count("relay-ng", "accepted") == users
    assert books.balances("relay-ng")
