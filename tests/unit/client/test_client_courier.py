"""How the Python client sends: what each answer means, and what is done about it."""

import gzip
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest

from lendsignal.client import Client, Refused
from lendsignal.client.courier import Courier, Halve, Later, Lease, Person, Settled, judged
from lendsignal.client.events import Made
from lendsignal.client.spool import Spool

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
Given = tuple[int, Mapping[str, str], bytes]


def results(*refused: int, count: int) -> bytes:
    """The door's answer to a list, with these places refused."""
    told = [
        {"field": "dpd", "rule": "must be less", "status": "refused"}
        if place in refused
        else {"event_id": f"e{place}", "status": "accepted"}
        for place in range(count)
    ]
    return json.dumps({"accepted": count - len(refused), "refused": len(refused), "results": told}).encode()


@pytest.mark.parametrize(
    ("status", "body", "count", "meant"),
    [
        (202, results(count=2), 2, Settled({})),
        (202, results(1, count=2), 2, Settled({1: ("dpd", "must be less")})),
        (422, results(0, count=1), 1, Settled({0: ("dpd", "must be less")})),
        (202, b"<html>welcome</html>", 2, Later("an answer that is not the service's")),
        (202, results(count=1), 2, Later("an answer that is not the service's")),
        (400, b'{"detail":"is no JSON"}', 2, Halve()),
        (
            400,
            b'{"detail":"the array is not whole JSON"}',
            1,
            Settled({0: ("event", "the array is not whole JSON")}),
        ),
        (413, b"", 3, Halve()),
        (413, b"too large", 1, Settled({0: ("event", "status 413")})),
        (429, b"", 2, Later("status 429", 3.0)),
        (503, b"", 2, Later("status 503", 3.0)),
        (500, b"", 1, Later("status 500", 3.0)),
        (408, b"", 1, Later("status 408", 3.0)),
        (401, b"", 2, Person("status 401: the API key is not accepted")),
        (403, b"", 2, Person("status 403: the API key is not accepted")),
        (404, b"", 1, Person("status 404: is this the service's address?")),
        (302, b"", 1, Person("status 302: is this the service's address?")),
    ],
)
def test_an_answer_means(status: int, body: bytes, count: int, meant: object) -> None:
    assert judged(status, {"retry-after": "3"}, body, count) == meant


def test_a_retry_after_that_is_a_date_is_left_to_our_own_wait() -> None:
    assert judged(503, {"retry-after": "Sun, 22 Nov 2026 10:00:00 GMT"}, b"", 1) == Later("status 503", None)


class Door:
    """Answers as it was told, and remembers the events of each request."""

    def __init__(self, *answers: Callable[[list[Any]], Given] | OSError) -> None:
        self._answers = list(answers)
        self.asked: list[list[str]] = []
        self.packed: list[bool] = []

    def post(self, body: bytes, *, packed: bool) -> Given:
        events = json.loads(gzip.decompress(body) if packed else body)
        self.asked.append([one["event_id"] for one in events])
        self.packed.append(packed)
        answer = self._answers.pop(0) if self._answers else taken
        if isinstance(answer, OSError):
            raise answer
        return answer(events)

    def close(self) -> None:
        pass


def taken(events: Sequence[Any]) -> Given:
    return 202, {}, results(count=len(events))


def answered(status: int, **headers: str) -> Callable[[list[Any]], Given]:
    return lambda events: (status, headers, b"{}")


def refuses(*names: str) -> Callable[[list[Any]], Given]:
    def answer(events: list[Any]) -> Given:
        bad = [place for place, one in enumerate(events) if one["event_id"] in names]
        return 202, {}, results(*bad, count=len(events))

    return answer


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    one = Spool(tmp_path / "spool.sqlite", 10_000)
    yield one
    one.close()


def fill(spool: Spool, *names: str, weight: int = 0) -> None:
    for name in names:
        body = json.dumps({"event_id": name, "properties": {"text": "x" * weight}}).encode()
        spool.put(Made(name, body, True))


def test_what_was_taken_leaves_the_spool_and_the_rest_stays(spool: Spool) -> None:
    door = Door(taken, OSError())
    courier = Courier(spool, door)
    fill(spool, "a", "b")

    assert courier.turn() == 0
    assert spool.count() == 0
    fill(spool, "c")
    assert courier.turn() > 0
    assert (spool.count(), door.asked) == (1, [["a", "b"], ["c"]])
    assert courier.trouble == "no answer: "


def test_a_batch_that_is_refused_whole_is_halved_until_the_bad_one_stands_alone(spool: Spool) -> None:
    def strict(events: list[Any]) -> Given:
        return answered(400)(events) if any(one["event_id"] == "c" for one in events) else taken(events)

    door = Door(*[strict] * 20)
    courier = Courier(spool, door)
    fill(spool, *"abcdef")
    while spool.count():
        courier.turn()

    assert [one.event_id for one in spool.refused()] == ["c"]
    arrived = [names for names in door.asked if "c" not in names]
    assert sorted(name for names in arrived for name in names) == list("abdef")


def test_one_bad_event_of_a_batch_costs_itself_and_is_told(spool: Spool) -> None:
    told: list[Refused] = []
    courier = Courier(spool, Door(refuses("b")), told.append)
    fill(spool, *"abc")
    courier.turn()

    assert [(one.event_id, one.field, one.rule) for one in told] == [("b", "dpd", "must be less")]
    assert spool.refused() == told
    assert spool.count() == 0


def test_what_the_service_left_out_is_said_once(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    def leaves_out(events: list[Any]) -> Given:
        warned = [{"field": "device.gaid", "rule": "must be a UUID"}]
        told = [{"event_id": "e", "status": "accepted", "warnings": warned} for _ in events]
        return 202, {}, json.dumps({"results": told}).encode()

    courier = Courier(spool, Door(leaves_out, leaves_out))
    for names in ("ab", "cd"):
        fill(spool, *names)
        courier.turn()

    assert caplog.text.count("leaves device.gaid out of events: must be a UUID") == 1
    assert (spool.count(), spool.refused()) == (0, [])


def test_a_callback_that_fails_costs_nobody_an_event(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    def angry(one: Refused) -> None:
        raise ValueError(one.event["event_id"])

    courier = Courier(spool, Door(refuses("a")), angry)
    fill(spool, "a", "b")

    assert courier.turn() == 0
    assert spool.count() == 0
    assert "on_refused raised ValueError" in caplog.text


def test_retry_after_is_honoured_and_other_waits_grow_to_a_minute(spool: Spool) -> None:
    door = Door(answered(429, **{"retry-after": "7"}), *[OSError() for _ in range(12)])
    courier = Courier(spool, door)
    fill(spool, "a")

    waits = [courier.turn() for _ in range(13)]

    assert 7 <= waits[0] <= 7.1
    for n, wait in enumerate(waits[1:], 1):  # 0.5 s doubled each time, at least half of it, at most 60 s
        assert min(60, 0.5 * 2**n) / 2 <= wait <= min(60, 0.5 * 2**n)


def test_trouble_is_over_when_events_are_taken_again(spool: Spool) -> None:
    courier = Courier(spool, Door(answered(401), taken))
    fill(spool, "a")

    assert courier.turn() == 60
    assert courier.trouble == "status 401: the API key is not accepted"
    assert courier.turn() == 0
    assert courier.trouble is None


def test_large_requests_are_gzipped_unless_somebody_between_does_not_take_it(spool: Spool) -> None:
    door = Door(taken, taken, answered(415))
    courier = Courier(spool, door)
    for weight in (10, 2_000, 2_000, 2_000):
        fill(spool, f"w{weight}-{len(door.asked)}", weight=weight)
        while spool.count():
            courier.turn()

    assert door.packed == [False, True, True, False, False]


def test_one_at_a_time_sends_from_a_spool(spool: Spool) -> None:
    first, second = Courier(spool, Door()), Courier(spool, Door())
    fill(spool, "a")
    held = Lease(spool.path.with_name("spool.sqlite.sending"))
    assert held.take()

    assert first.turn() == 0.2
    assert spool.count() == 1
    held.give_up()
    assert first.turn() == 0
    fill(spool, "b")
    assert second.turn() == 0.2
    assert first.turn() == 0
    assert first.turn() == 5.0, "nothing waits: another may have it"
    fill(spool, "c")
    assert second.turn() == 0


def client(tmp_path: Path, door: Door, **settings: Any) -> Client:
    return Client(spool=tmp_path / "spool.sqlite", brand="acme", transport=door, **settings)


def test_a_call_arrives_without_being_asked_for_and_flush_tells(tmp_path: Path) -> None:
    door = Door()
    with client(tmp_path, door) as one:
        ids = [one.logged_in(user_id=f"u{n}", occurred_at=AT) for n in range(30)]

        assert one.flush(20)

    assert [name for names in door.asked for name in names] == ids


def test_flush_says_so_where_the_service_does_not_take_events(tmp_path: Path) -> None:
    door = Door(*[OSError() for _ in range(50)])
    with client(tmp_path, door, exit_seconds=0) as one:
        one.logged_in(user_id="u1", occurred_at=AT)

        assert not one.flush(0.1)
        assert one.waiting() == 1

    left = Spool(tmp_path / "spool.sqlite", 10)
    assert left.count() == 1
    left.close()


def test_what_an_earlier_process_left_goes_first(tmp_path: Path) -> None:
    with client(tmp_path, Door(*[OSError() for _ in range(50)]), exit_seconds=0) as one:
        first = one.logged_in(user_id="u1", occurred_at=AT)
    door = Door()
    with client(tmp_path, door) as one:
        second = one.logged_in(user_id="u1", occurred_at=AT)
        assert one.flush(20)

    assert [name for names in door.asked for name in names] == [first, second]


def test_events_that_need_not_be_durable_are_written_and_sent_when_the_client_closes(tmp_path: Path) -> None:
    door = Door()
    with client(tmp_path, door, durable=False) as one:
        ids = [one.logged_in(user_id=f"u{n}", occurred_at=AT) for n in range(200)]

    assert [name for names in door.asked for name in names] == ids


def test_a_refused_event_is_mended_under_its_id_or_dropped(tmp_path: Path) -> None:
    told = Signal()
    door = Door()
    first = Door(refuses("x", "y"))
    with client(tmp_path, first, on_refused=lambda one: told.set()) as one:
        for name in "xyz":
            one.overdue(user_id="u1", occurred_at=AT, loan_id="L", dpd=9, event_id=name, durable=False)
        assert one.flush(20)
        assert told.wait(20)
        assert [bad.event_id for bad in one.refused()] == ["y", "x"]
    with client(tmp_path, door) as one:
        y, x = one.refused()
        assert one.mend(x, dpd=3, loan_id=None)
        assert not one.mend(x, dpd=4)
        assert one.drop(y)
        assert one.flush(20)
        assert one.refused() == []

    assert door.asked == [["x"]]


def test_the_key_is_in_no_text_of_the_client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Nobody listens on port 9 (discard) of the loopback.
    one = Client("http://127.0.0.1:9", key="lk_made-up", spool=tmp_path / "s", brand="acme", exit_seconds=0)
    one.logged_in(user_id="u1", occurred_at=AT)
    one.flush(0.3)
    one.close()

    courier: Any = one._courier
    said = [repr(one), str(one), repr(one._transport), str(vars(courier)), str(one.trouble), caplog.text]
    assert "lk_made-up" not in " ".join(said)
    assert one.trouble == "no answer: ConnectionRefusedError"


def test_a_client_needs_a_key_and_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LENDSIGNAL_KEY", raising=False)
    with pytest.raises(ValueError, match="LENDSIGNAL_KEY"):
        Client(spool=tmp_path / "s")
    with pytest.raises(ValueError, match="https://"):
        Client("events.acme.example", key="k", spool=tmp_path / "s")


def work_in_a_pool(one: Client) -> None:
    for n in range(50):
        one.logged_in(user_id=f"u{n}", occurred_at=AT)


def test_a_worker_of_multiprocessing_writes_what_it_has_in_memory_when_it_ends(tmp_path: Path) -> None:
    nobody = Door(*[OSError() for _ in range(100)])
    one = client(tmp_path, nobody, durable=False, exit_seconds=0)
    worker = multiprocessing.get_context("fork").Process(target=work_in_a_pool, args=(one,))
    worker.start()
    worker.join(30)

    assert worker.exitcode == 0
    assert one.waiting() == 50
    one.close()


def test_a_child_of_a_fork_has_a_spool_of_its_own_connection_and_both_go_on(tmp_path: Path) -> None:
    door = Door()
    with client(tmp_path, door, exit_seconds=20) as one:
        before = one.logged_in(user_id="parent", occurred_at=AT)
        assert one.flush(20)
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            try:
                one.logged_in(user_id="child", occurred_at=AT, event_id="of-the-child")
                os._exit(0)
            finally:
                os._exit(1)
        # The child may send what lies in the spool, and what it sent is not seen here: it ends first.
        assert os.waitpid(child, 0)[1] == 0
        after = one.logged_in(user_id="parent", occurred_at=AT)
        assert one.flush(20)

        # What the child did not send itself, its parent did: nothing is left, nothing is lost.
        assert one.waiting() == 0
    arrived = [name for names in door.asked for name in names]
    assert [name for name in arrived if name != "of-the-child"] == [before, after]
