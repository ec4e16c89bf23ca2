"""A door in a process of its own: what goes through the hatch is durable before it is answered, in order."""

import asyncio
import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event as Signal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.acme import loan

from lendsignal.errors import LogError
from lendsignal.log import Log, Quarantined, open_log
from lendsignal.model import Event
from lendsignal.source import Full, Hatch, Intake, Passing
from lendsignal.source.hatch import Frames, frame

REFUSED = Quarantined(received_us=1, source="crm", field="brand", rule="is needed", body=b"{}")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    found = open_log(tmp_path / "log.sqlite")
    yield found
    found.close()


def nothing_to_decide(first: int, events: Sequence[Event]) -> bool:
    return False


@pytest.fixture
def intake(log: Log) -> Iterator[Intake]:
    found = Intake(log, nothing_to_decide, limit=10)
    found.start()
    yield found
    found.stop()


async def alone(hatch: Path, events: Sequence[Event]) -> Exception | None:
    """What a door with one request is told."""
    with closing(Passing(hatch)) as passing:
        return await answered(passing, events)


async def answered(
    passing: Passing, events: Sequence[Event], refused: Sequence[Quarantined] = ()
) -> Exception | None:
    """What the door is told of one request."""
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    passing.submit(events, refused, told.set_result)
    return await asyncio.wait_for(told, 30)


def test_what_is_answered_is_in_the_log_in_the_order_in_which_it_came(
    tmp_path: Path, log: Log, intake: Intake
) -> None:
    async def several() -> list[Exception | None]:
        with closing(Passing(tmp_path / "hatch")) as passing:
            return await asyncio.gather(
                *[answered(passing, [loan(n, f"L{n}a"), loan(n, f"L{n}b")], [REFUSED]) for n in range(4)]
            )

    with Hatch(tmp_path / "hatch", intake):
        assert asyncio.run(several()) == [None] * 4
    assert [fact.event.loan_id for fact in log.read(0, 10)] == [
        f"L{n}{part}" for n in range(4) for part in "ab"
    ]
    assert [(one.source, one.field, one.rule) for one in log.quarantined()] == [
        (REFUSED.source, REFUSED.field, REFUSED.rule)
    ] * 4


def test_an_event_comes_out_as_it_went_in(tmp_path: Path, log: Log, intake: Intake) -> None:
    sent = loan(7, "L7")
    with Hatch(tmp_path / "hatch", intake):
        assert asyncio.run(alone(tmp_path / "hatch", [sent])) is None
    assert [fact.event for fact in log.read(0, 10)] == [sent]


def test_a_log_with_too_much_to_write_is_full_for_the_door_too(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, begun, append = Signal(), Signal(), log.append

    def slowly(events: Sequence[Event], imported: object = None) -> int:
        begun.set()
        assert opened.wait(30)
        return append(events)

    monkeypatch.setattr(log, "append", slowly)
    intake = Intake(log, nothing_to_decide, limit=2)
    intake.start()

    async def one_too_many() -> list[Exception | None]:
        with closing(Passing(tmp_path / "hatch")) as passing:
            first = asyncio.ensure_future(answered(passing, [loan(1, "L1")]))
            await asyncio.to_thread(begun.wait, 30)  # the first is being written, and waits no more
            second = asyncio.ensure_future(answered(passing, [loan(2, "L2"), loan(2, "L2b")]))
            while not intake.is_full:
                await asyncio.sleep(0.01)
            third = await answered(passing, [loan(3, "L3")])
            opened.set()
            return [await first, await second, third]

    with Hatch(tmp_path / "hatch", intake):
        first, second, third = asyncio.run(one_too_many())
    assert (first, second) == (None, None)
    assert isinstance(third, Full)
    intake.stop()
    assert [fact.event.loan_id for fact in log.read(0, 10)] == ["L1", "L2", "L2b"]


def test_a_door_whose_own_requests_wait_in_numbers_is_full(tmp_path: Path) -> None:
    async def full() -> None:
        passing = Passing(tmp_path / "hatch", limit=2, patience=0.0)
        told: list[Exception | None] = []
        passing.submit([loan(1, "L1"), loan(1, "L1b")], [], told.append)
        assert passing.is_full
        with pytest.raises(Full):
            passing.submit([loan(2, "L2")], [], told.append)
        assert told == []

    asyncio.run(full())


def test_while_nobody_decides_a_request_waits_and_is_taken_when_somebody_does(
    tmp_path: Path, log: Log, intake: Intake
) -> None:
    async def early() -> Exception | None:
        with closing(Passing(tmp_path / "hatch", patience=30)) as passing:
            waiting = asyncio.ensure_future(answered(passing, [loan(1, "L1")]))
            await asyncio.sleep(0)
            with Hatch(tmp_path / "hatch", intake):
                return await waiting

    assert asyncio.run(early()) is None
    assert log.end() == 1


def test_where_nobody_comes_a_request_is_refused_and_the_door_says_that_it_was(tmp_path: Path) -> None:
    passing = Passing(tmp_path / "hatch", patience=0.0)
    assert passing.seconds_since_refusal() is None
    error = asyncio.run(answered(passing, [loan(1, "L1")]))
    assert isinstance(error, LogError)
    since = passing.seconds_since_refusal()
    assert since is not None
    assert not passing.is_full


def test_what_was_on_its_way_when_the_other_process_went_is_refused_and_the_next_is_taken(
    tmp_path: Path, log: Log, intake: Intake
) -> None:
    async def through_a_restart() -> tuple[Exception | None, Exception | None]:
        with closing(Passing(tmp_path / "hatch", patience=30)) as passing:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dying:
                dying.bind(str(tmp_path / "hatch"))
                dying.listen()
                lost = asyncio.ensure_future(answered(passing, [loan(1, "L1")]))
                connection, _ = await asyncio.to_thread(dying.accept)
                with connection:
                    await asyncio.to_thread(connection.recv, 1)
            error = await lost
            with Hatch(tmp_path / "hatch", intake):
                return error, await answered(passing, [loan(2, "L2")])

    lost, taken = asyncio.run(through_a_restart())
    assert isinstance(lost, LogError)
    assert taken is None
    assert [fact.event.loan_id for fact in log.read(0, 10)] == ["L2"]


def test_a_log_that_refuses_refuses_through_the_hatch(
    tmp_path: Path, log: Log, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(events: Sequence[Event], imported: object = None) -> int:
        raise LogError("the disk is full")

    monkeypatch.setattr(log, "append", no)
    with Hatch(tmp_path / "hatch", intake):
        error = asyncio.run(alone(tmp_path / "hatch", [loan(1, "L1")]))
    assert str(error) == "the disk is full"


def test_what_cannot_be_read_ends_that_door_and_nothing_else(
    tmp_path: Path, log: Log, intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    with Hatch(tmp_path / "hatch", intake):
        with (
            caplog.at_level(logging.ERROR),
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as strange,
        ):
            strange.settimeout(30)
            strange.connect(str(tmp_path / "hatch"))
            strange.sendall(frame(1, b"no message of ours"))
            assert strange.recv(1) == b""
        assert asyncio.run(alone(tmp_path / "hatch", [loan(1, "L1")])) is None
    assert "cannot be read" in caplog.text
    assert log.end() == 1


@given(st.lists(st.tuples(st.integers(0, 2**63), st.binary(max_size=40)), max_size=6), st.data())
def test_frames_are_cut_alike_wherever_the_stream_is_torn(
    sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(frame(number, body) for number, body in sent)
    frames, found = Frames(), []
    while stream:
        piece = data.draw(st.integers(1, len(stream)))
        found += frames.cut(stream[:piece])
        stream = stream[piece:]
    assert found == sent
