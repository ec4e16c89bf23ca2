"""The relay's three calls: who gets a token, who gets events for it, and whose word counts."""

import asyncio
import json
from collections.abc import Iterator, MutableMapping
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import Event as Signal
from typing import Any, NamedTuple

import pytest
from starlette.applications import Starlette
from tests.acme import DAY, us

from lendsignal.destination.relay import address_of
from lendsignal.errors import LogError
from lendsignal.log import Offer, Shelf, open_shelf
from lendsignal.source import Keyring, Relay, RelayDoor, SourceSettings, access_of, relay
from lendsignal.source.relay import BURST, Holder, holder_of, token_of

KEY = "lk_test_relay"
DIGEST = sha256(KEY.encode()).hexdigest()
SECRET = "made-up-signing-secret-of-32-chars"
OTHER = "another-signing-secret-of-32-chars"
HOLDER = Holder("relay-ng", "ad" * 16)
SECRETS = {"relay-ng": SECRET, "relay-mx": OTHER}


class Answer(NamedTuple):
    """What the door answered."""

    status: int
    body: Any
    headers: dict[str, str]


class House:
    """The relay's calls over a shelf, at a moment that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.shelf: Shelf = open_shelf(folder / "relay.sqlite")
        self.now_us_is = us(0)
        self.seconds = 0.0
        self.woken = 0
        relay = Relay(name="relay-ng", brand="acme", kind="appsflyer_id", good_for=timedelta(days=7))
        self.relays = {"relay-ng": relay, "relay-old": relay}
        door = RelayDoor(
            self.relays,
            {"relay-ng": SECRET, "relay-old": SECRET},
            self.shelf,
            self,
            keys=Keyring({DIGEST: access_of("crm", SourceSettings(), DIGEST)}, self, lambda: self.seconds),
            woken=self.wake,
            steady=lambda: self.seconds,
        )
        self.app = Starlette(routes=door.routes())

    replay = False

    def now_us(self) -> int:
        return self.now_us_is

    def wake(self) -> None:
        self.woken += 1

    def ask(self, method: str, path: str, body: object = None, *, bearer: str = KEY) -> Answer:
        """One request, answered."""
        return asyncio.run(self.asked(method, path, body, bearer=bearer))

    async def asked(self, method: str, path: str, body: object = None, *, bearer: str = KEY) -> Answer:
        """One of several requests, answered."""
        sent: list[MutableMapping[str, Any]] = []
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": f"/v1/relay/{path}",
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {bearer}".encode("latin-1"))] if bearer else [],
        }
        await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], json.loads(sent[1]["body"]), headers)

    def token(self, installation: str = "af-ada", user: str = "u1") -> str:
        """A token as the back end gets it."""
        answer = self.ask("POST", "token", {"user_id": user, "installation": installation})
        assert answer.status == 200, answer.body
        found: str = answer.body["token"]
        return found

    def place(
        self, conversion: str, installation: str = "af-ada", user: str = "u1", delivery: int = 1
    ) -> None:
        """The sender has placed an offer."""
        address = address_of("acme", user, "appsflyer_id", installation)
        item = json.dumps({"id": conversion, "name": "ev_fl"}).encode()
        self.shelf.place(
            [
                Offer(
                    destination="relay-ng",
                    delivery=delivery,
                    address=address,
                    conversion=conversion,
                    item=item,
                    expires_us=us(7 * DAY),
                )
            ],
            us(0),
        )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.shelf.close()


# tokens


def test_a_token_names_its_holder_until_it_ends() -> None:
    token = token_of(SECRET, HOLDER, 1_000)

    assert holder_of(token, SECRETS, 999_999_999) == HOLDER
    assert holder_of(token, SECRETS, 1_000_000_000) == "token expired"


def test_a_destination_of_any_name_has_tokens_that_fit_a_header() -> None:
    holder = Holder("relais.été 1", "ad" * 16)
    token = token_of(SECRET, holder, 1_000)

    assert token.isascii()
    assert " " not in token
    assert holder_of(token, {holder.destination: SECRET}, 0) == holder


@pytest.mark.parametrize("place", range(4))
def test_a_token_with_any_part_changed_is_unknown(place: int) -> None:
    other = token_of(OTHER, Holder("relay-mx", "be" * 16), 2_000).split(".")
    parts = token_of(SECRET, HOLDER, 1_000).split(".")
    parts[place] = other[place]

    assert holder_of(".".join(parts), SECRETS, 0) == "unknown token"


@pytest.mark.parametrize(
    "token", ["", ".", "...", "relay-ng", "relay-ng.ad.1000", "relay-ng.ad.x.y", "relay-nö.ad.1.x", "é" * 50]
)
def test_what_is_no_token_is_unknown(token: str) -> None:
    assert holder_of(token, SECRETS, 0) == "unknown token"


def test_a_token_signed_with_another_secret_is_unknown() -> None:
    assert holder_of(token_of(OTHER, HOLDER, 1_000), SECRETS, 0) == "unknown token"


def test_a_token_holds_nothing_personal(house: House) -> None:
    token = house.token("af-ada", "u-88231")

    assert "u-88231" not in token
    assert "af-ada" not in token


# the back end


def test_only_a_back_end_with_a_key_gets_a_token(house: House) -> None:
    for bearer in ("", "lk_other", house.token()):
        answer = house.ask("POST", "token", {"user_id": "u1", "installation": "x"}, bearer=bearer)

        assert (answer.status, answer.body["title"]) == (401, "unauthorised")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_back_end_is_told_how_long_the_token_is_good(house: House) -> None:
    answer = house.ask("POST", "token", {"user_id": "u1", "installation": "af-ada", "relay": "relay-ng"})

    ends = datetime.fromisoformat(answer.body["expires_at"])
    assert int(ends.timestamp()) * 1_000_000 == us(7 * DAY)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"user_id": "u1"}, 422, "installation"),
        ({"user_id": "u1", "installation": ""}, 422, "installation"),
        ({"user_id": 17, "installation": "x"}, 422, "user_id"),
        ({"user_id": "u1", "installation": "x", "email": "ada@example.com"}, 422, "email"),
        ({"user_id": "u1", "installation": "x", "relay": "relay-xx"}, 422, "relay"),
        ([], 422, None),
        (b"{", 400, None),
        (b"\xff", 400, None),
        (b" " * 70_000, 413, None),
    ],
)
def test_a_request_that_is_none_is_refused_with_field_and_rule(
    house: House, body: Any, status: int, field: str | None
) -> None:
    answer = house.ask("POST", "token", body)

    assert answer.status == status
    assert answer.body.get("field") == field
    assert "ada@example.com" not in json.dumps(answer.body)


def test_another_method_is_told_what_there_is(house: House) -> None:
    answer = house.ask("GET", "token")

    assert (answer.status, answer.body["detail"]) == (405, "POST /v1/relay/token")


def test_where_there_are_several_relays_the_back_end_says_which(house: House) -> None:
    house.relays["relay-mx"] = Relay(
        name="relay-mx", brand="acme", kind="appsflyer_id", good_for=timedelta(days=1)
    )

    answer = house.ask("POST", "token", {"user_id": "u1", "installation": "x"})
    assert (answer.status, answer.body["detail"]) == (422, "relay must be one of relay-mx, relay-ng")


# the app


def test_the_app_gets_what_waits_for_its_user_on_its_installation(house: House) -> None:
    house.place("c1")
    house.place("c2", user="u2", delivery=2)
    house.place("c3", installation="af-anew", delivery=3)

    answer = house.ask("GET", "events", bearer=house.token())
    assert answer.status == 200
    assert answer.body == {"events": [{"id": "c1", "name": "ev_fl"}], "more": False}
    assert answer.headers["cache-control"] == "no-store"


def test_an_acknowledgement_ends_it_and_wakes_the_sender(house: House) -> None:
    house.place("c1")
    token = house.token()
    house.ask("GET", "events", bearer=token)

    assert house.ask("POST", "acknowledged", {"ids": ["c1", "c1", "c9"]}, bearer=token).body == {
        "acknowledged": 1
    }
    assert house.woken == 1
    assert house.ask("GET", "events", bearer=token).body["events"] == []
    assert house.ask("POST", "acknowledged", {"ids": ["c1"]}, bearer=token).body == {"acknowledged": 0}
    assert house.woken == 1


def test_another_installations_token_neither_gets_nor_ends_it(house: House) -> None:
    house.place("c1")
    house.ask("GET", "events", bearer=house.token())
    other = house.token("af-anew")

    assert house.ask("GET", "events", bearer=other).body["events"] == []
    assert house.ask("POST", "acknowledged", {"ids": ["c1"]}, bearer=other).body == {"acknowledged": 0}


@pytest.mark.parametrize(("method", "path"), [("GET", "events"), ("POST", "acknowledged")])
def test_without_a_good_token_nothing_is_given_and_nothing_taken(
    house: House, method: str, path: str
) -> None:
    expired = house.token()
    house.now_us_is = us(7 * DAY)

    for bearer, title in [
        ("", "unauthorised"),
        (KEY, "unknown token"),
        (expired[:-1], "unknown token"),
        (expired, "token expired"),
    ]:
        answer = house.ask(method, path, {"ids": ["c1"]}, bearer=bearer)
        assert (answer.status, answer.body["title"]) == (401, title)


def test_a_token_of_a_relays_former_name_is_still_good(house: House) -> None:
    house.place("c1")
    address = address_of("acme", "u1", "appsflyer_id", "af-ada")
    token = token_of(SECRET, Holder("relay-old", address), us(DAY) // 1_000_000)

    assert [one["id"] for one in house.ask("GET", "events", bearer=token).body["events"]] == ["c1"]


def test_more_says_that_there_is_more(house: House) -> None:
    for number in range(101):
        house.place(f"c{number}", delivery=number)
    token = house.token()
    first = house.ask("GET", "events", bearer=token).body
    house.ask("POST", "acknowledged", {"ids": [one["id"] for one in first["events"]]}, bearer=token)
    second = house.ask("GET", "events", bearer=token).body

    assert (len(first["events"]), first["more"]) == (100, True)
    assert (len(second["events"]), second["more"]) == (1, False)


def test_an_app_that_runs_wild_is_slowed_and_others_are_not(house: House) -> None:
    wild, calm = house.token(), house.token("af-bola", "u2")
    answers = [house.ask("GET", "events", bearer=wild) for _ in range(int(BURST) + 1)]

    assert {one.status for one in answers[:-1]} == {200}
    assert (answers[-1].status, answers[-1].headers["retry-after"]) == (429, "3")
    assert house.ask("GET", "events", bearer=calm).status == 200
    house.seconds += 3
    assert house.ask("GET", "events", bearer=wild).status == 200


def test_an_app_that_fetches_too_often_can_still_acknowledge(house: House) -> None:
    house.place("c1")
    token = house.token()
    while house.ask("GET", "events", bearer=token).status == 200:
        pass

    assert house.ask("POST", "acknowledged", {"ids": ["c1"]}, bearer=token).body == {"acknowledged": 1}


def test_a_new_token_is_no_new_allowance(house: House) -> None:
    for _ in range(int(BURST)):
        house.ask("GET", "events", bearer=house.token())
    house.now_us_is += 60_000_000

    assert house.ask("GET", "events", bearer=house.token()).status == 429


def test_a_shelf_that_cannot_be_written_asks_to_come_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> int:
        raise LogError("disk full")

    token = house.token()
    monkeypatch.setattr(Shelf, "acknowledge", full)
    answer = house.ask("POST", "acknowledged", {"ids": ["c1"]}, bearer=token)

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Signal, Signal]]:
    """A shelf that says nothing: set when somebody asks it, and what thaws it."""
    asked, thaw = Signal(), Signal()
    fetch = Shelf.fetch

    def slow(*arguments: Any) -> list[bytes]:
        asked.set()
        thaw.wait(60)
        return fetch(*arguments)

    monkeypatch.setattr(Shelf, "fetch", slow)
    yield asked, thaw
    thaw.set()


def test_an_app_waits_no_longer_than_patience_lasts_for_a_shelf_that_says_nothing(
    house: House, frozen: tuple[Signal, Signal], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = house.token()
    house.place("c1")

    async def both() -> tuple[Answer, Answer]:
        monkeypatch.setattr(relay, "PATIENCE_SECONDS", 0.05)
        before = await house.asked("GET", "events", bearer=token)
        frozen[1].set()
        monkeypatch.setattr(relay, "PATIENCE_SECONDS", 60.0)
        return before, await house.asked("GET", "events", bearer=token)

    before, after = asyncio.run(both())
    assert (before.status, before.headers["retry-after"]) == (503, "5")
    assert [one["id"] for one in after.body["events"]] == ["c1"], "what was given out too late is given again"


def test_where_too_many_apps_wait_for_the_shelf_the_next_is_told_to_come_again_at_once(
    house: House, frozen: tuple[Signal, Signal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "AT_THE_SHELF", 1)
    monkeypatch.setattr(relay, "PATIENCE_SECONDS", 60.0)
    token = house.token()

    async def both() -> tuple[Answer, Answer, Answer]:
        first = asyncio.create_task(house.asked("GET", "events", bearer=token))
        assert await asyncio.to_thread(frozen[0].wait, 60)
        second = await house.asked("GET", "events", bearer=token)
        other = await house.asked("POST", "token", {"user_id": "u1", "installation": "af-ada"})
        frozen[1].set()
        return await first, second, other

    first, second, other = asyncio.run(both())
    assert (first.status, second.status, other.status) == (200, 503, 200)
