"""The door to the network before anything goes through it: bells are heard, and libcurl is not there."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.scripted import PATIENCE, platform, says

from lendsignal.deliver import Done, NoAnswer, Wire
from lendsignal.deliver.late import LateTransport
from lendsignal.destination.spec import Response


@pytest.fixture
def bell() -> Iterator[tuple[int, int]]:
    """The two ends of a bell: who reads it waits, who writes rings."""
    heard, rung = os.pipe()
    yield heard, rung
    os.close(heard)
    os.close(rung)


def test_a_bell_ends_the_wait_before_any_request(bell: tuple[int, int]) -> None:
    heard, rung = bell
    read: list[bytes] = []
    with closing(LateTransport([(heard, lambda: read.append(os.read(heard, 16)))])) as network:
        os.write(rung, b"now")

        assert network.wait(PATIENCE) == []
        assert (read, len(network)) == ([b"now"], 0)


def test_a_request_leaves_and_is_answered_and_the_bell_is_heard_afterwards(bell: tuple[int, int]) -> None:
    heard, rung = bell
    read: list[bytes] = []
    with (
        platform(says(200, b"yes")) as one,
        closing(LateTransport([(heard, lambda: read.append(os.read(heard, 16)))])) as network,
    ):
        network.start(Wire("POST", one.url, (), b"{}"), "it", PATIENCE)
        assert len(network) == 1
        done: list[Done] = []
        while not done:
            done = network.wait(PATIENCE)
        os.write(rung, b"now")
        while not read:
            network.wait(PATIENCE)

    assert [(one.token, isinstance(one.result, Response)) for one in done] == [("it", True)]
    assert read == [b"now"]


def test_a_request_that_may_not_leave_does_not() -> None:
    with platform(says(200, b"yes")) as one, closing(LateTransport(may_leave=lambda: False)) as network:
        network.start(Wire("POST", one.url, (), b"{}"), "it", PATIENCE)
        done: list[Done] = []
        while not done:
            done = network.wait(PATIENCE)

    assert [one.result for one in done] == [NoAnswer("not_ours", left=False)]
