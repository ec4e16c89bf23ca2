"""The door for MMPs: who may come in, what is durable before the answer, and what never shows."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from tests.unit.source.feeds.feeding import ARRIVED, PUSHED, came, feed

from lendsignal.errors import LogError
from lendsignal.log import Feeds, open_feeds, open_log
from lendsignal.source import DoorSettings, Intake
from lendsignal.source.feeds import Fact, FeedMeters, FeedWriter
from lendsignal.source.feeds.door import FeedDoor
from lendsignal.source.openapi import openapi

SECRET = "made-up-secret-of-the-mmp"
ADJUST = {
    "activity_kind": "install",
    "app_id": "com.acme.loans",
    "created_at": "1763626530",
    "adid": "18546f6171f67e29d1cb983322ad1329",
    "network_name": "Google Ads ACI",
}


class Answer(NamedTuple):
    """What the door answered."""

    status: int
    body: Any
    headers: dict[str, str]


class House:
    """The door over a real store and a real log, at a moment that stands still."""

    replay = True

    def __init__(self, folder: Path) -> None:
        self.feeds: Feeds = open_feeds(folder / "feeds.sqlite")
        self.log = open_log(folder / "log.sqlite")
        self.intake = Intake(self.log, lambda first, events: False)
        self.intake.start()
        self.writer = FeedWriter(self.feeds)
        self.writer.start()
        self.meters = FeedMeters()
        self.door = FeedDoor(
            {"mmp": feed(), "adjust-ng": feed("adjust", "adjust-ng"), "files-only": feed()},
            {"mmp": SECRET, "adjust-ng": SECRET + "-2"},
            self.writer,
            self.intake,
            self,
            meters=self.meters,
        )

    def now_us(self) -> int:
        return ARRIVED

    def call(
        self,
        path: str = f"/v1/attribution/appsflyer/mmp/{SECRET}",
        body: object = PUSHED,
        *,
        method: str = "POST",
        query: str = "",
        **headers: str,
    ) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()],
        }
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.door(scope, receive, send))
        start, end = sent
        named = {name.decode(): text.decode() for name, text in start["headers"]}
        return Answer(start["status"], json.loads(end["body"]), named)

    def close(self) -> None:
        self.door.close()
        self.intake.stop()
        self.log.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.close()


def test_a_message_is_durable_when_the_answer_is_200(house: House) -> None:
    answer = house.call()

    assert (answer.status, answer.body) == (200, {"taken": 1})
    assert [one.id for one in house.feeds.attributions()] == [PUSHED["appsflyer_id"]]


def test_the_secret_may_stand_in_a_header_of_its_own(house: House) -> None:
    for header in (SECRET, f"Bearer {SECRET}", f"bearer  {SECRET}"):
        assert house.call("/v1/attribution/appsflyer/mmp", authorization=header).status == 200
    assert house.call("/v1/attribution/appsflyer/mmp").status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/attribution/appsflyer/mmp/wrong",
        "/v1/attribution/appsflyer/nobody/" + SECRET,
        "/v1/attribution/adjust/mmp/" + SECRET,
        "/v1/attribution/adjust/adjust-ng/" + SECRET,
        "/v1/attribution/appsflyer/files-only/" + SECRET,
        "/v1/attribution/appsflyer/files-only/",
        "/v1/attribution/appsflyer",
        "/v1/attribution/",
    ],
)
def test_who_does_not_know_the_secret_is_told_the_same_whatever_is_wrong(house: House, path: str) -> None:
    answer = house.call(path)

    assert answer.status == 401
    assert answer.body["detail"] == "no feed of that name, or not its secret"
    assert house.feeds.counts().attributions == 0


def test_adjusts_callbacks_come_as_queries_and_as_forms(house: House) -> None:
    path = f"/v1/attribution/adjust/adjust-ng/{SECRET}-2"
    query = house.call(path, b"", method="GET", query=urlencode(ADJUST))
    form = {"content_type": "application/x-www-form-urlencoded"}
    posted = house.call(path, urlencode({**ADJUST, "adid": "another"}).encode(), **form)

    assert (query.body, posted.body) == ({"taken": 1}, {"taken": 1})
    assert {one.id for one in house.feeds.attributions()} == {ADJUST["adid"], "another"}


def test_a_click_is_passed_over(house: House) -> None:
    path = f"/v1/attribution/adjust/adjust-ng/{SECRET}-2"
    answer = house.call(path, b"", method="GET", query=urlencode({**ADJUST, "activity_kind": "click"}))

    assert (answer.status, answer.body) == (200, {"taken": 0, "passed_over": 1})


def test_an_array_of_messages_is_taken_and_the_bad_one_kept_in_quarantine(house: House) -> None:
    broken = {**PUSHED, "appsflyer_id": None, "customer_user_id": "0803 123 4567"}
    answer = house.call(body=[PUSHED, broken])

    assert answer.body == {"taken": 1, "refused": 1, "why": ["appsflyer_id: is needed"]}
    (kept,) = house.log.quarantined(10)
    assert (kept.source, kept.field, kept.rule) == ("feed.mmp", "appsflyer_id", "is needed")
    assert b"0803" not in kept.body


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[1]", 400), (b"7", 400), (b"\xff\xfe", 400), (b"", 200), (b"[]", 200)],
)
def test_a_body_that_is_no_message_is_refused(house: House, body: bytes, status: int) -> None:
    assert house.call(body=body).status == status


def test_other_methods_are_refused(house: House) -> None:
    assert house.call(method="DELETE").status == 405


def test_a_body_that_is_too_large_is_refused(house: House) -> None:
    assert house.call(body={"x": "y" * 1_000_001}).status == 413


def test_a_message_of_too_many_fields_is_refused_in_query_and_in_form(house: House) -> None:
    many = urlencode({f"field{n}": n for n in range(401)})

    assert house.call(body=b"", method="GET", query=many).status == 413
    form = house.call(body=many.encode(), content_type="application/x-www-form-urlencoded")
    assert (form.status, form.body["title"]) == (413, "too many fields")


def test_the_secret_never_shows(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = house.call(f"/v1/attribution/adjust/mmp/{SECRET}")
    refused = house.call(body={**PUSHED, "appsflyer_id": None})
    texts = [str(wrong), str(refused), caplog.text, repr(house.door), *map(str, house.log.quarantined(10))]

    assert all(SECRET not in text for text in texts)


class Slow(Feeds):
    """A store that waits to be let on, and then refuses or takes."""

    def __init__(self, feeds: Feeds) -> None:
        super().__init__(feeds._db)
        self.may, self.fails = threading.Event(), False
        self.batches: list[int] = []

    def take(self, facts: Any) -> None:
        self.may.wait(20)
        self.batches.append(len(facts))
        if self.fails:
            raise LogError("the disk is full")
        super().take(facts)


def submitted(writer: FeedWriter, facts: Sequence[Fact]) -> list[Exception | None]:
    """Where the answer to a submission will stand."""
    answer: list[Exception | None] = []
    writer.submit(facts, answer.append)
    return answer


def fact() -> Fact:
    return came(feed(), PUSHED)


def test_what_comes_in_during_a_commit_is_written_by_the_next_one_together(tmp_path: Path) -> None:
    store = Slow(open_feeds(tmp_path / "feeds.sqlite"))
    writer = FeedWriter(store, limit=100)
    writer.start()
    answers = [submitted(writer, [fact()]) for _ in range(10)]
    store.may.set()
    writer.stop()

    assert answers == [[None]] * 10
    assert sum(store.batches) == 10
    assert len(store.batches) <= 2


def test_too_many_who_wait_are_told_to_come_again(tmp_path: Path, house: House) -> None:
    store = Slow(open_feeds(tmp_path / "slow.sqlite"))
    writer = FeedWriter(store, limit=1)
    writer.submit([fact()], lambda error: None)
    house.door._writer = writer
    answer = house.call()
    house.door._writer = house.writer
    store.may.set()
    writer.start()
    writer.stop()

    assert (answer.status, answer.headers["retry-after"]) == (429, "1")


def test_a_disk_that_takes_nothing_is_answered_with_503(tmp_path: Path, house: House) -> None:
    store = Slow(open_feeds(tmp_path / "broken.sqlite"))
    store.fails = True
    store.may.set()
    writer = FeedWriter(store)
    writer.start()
    house.door._writer = writer
    answer = house.call()
    writer.stop()
    house.door._writer = house.writer

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_messages_are_counted_by_what_they_were(house: House) -> None:
    house.call(body=[PUSHED, {**PUSHED, "appsflyer_id": None}])
    house.call("/v1/attribution/appsflyer/mmp/wrong")

    counted = {family.family.name: dict(family.values) for family in house.meters.all}  # type: ignore[union-attr]
    assert counted["lendsignal_feed_messages_total"] == {("mmp", "taken"): 1, ("mmp", "refused"): 1}
    assert counted["lendsignal_feed_requests_turned_away_total"] == {("unknown",): 1}


def test_the_call_is_described() -> None:
    call = openapi(DoorSettings())["paths"]["/v1/attribution/{mmp}/{feed}/{secret}"]

    assert {"get", "post"} == set(call)
    assert {"200", "400", "401", "408", "413", "429", "503"} == set(call["post"]["responses"])
