"""Four senders as processes that all take what they can get of one account's pace."""

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from tests.cluster.draw import BURST, RATE, SENDERS, TAKES
from tests.clustered import Cluster
from tests.servers.postgresql import postgresql

PATIENCE = 60.0


def test_four_senders_together_never_pass_rate_and_burst_within_a_second() -> None:
    with (
        postgresql(autovacuum="off", fsync="off") as server,
        closing(Cluster(server.plain_url, 1)) as cluster,
        ExitStack() as running,
    ):
        drawers = [running.enter_context(drawer(server.plain_url, cluster.schema)) for _ in range(SENDERS)]
        for one in drawers:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in drawers:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        taken = [[float(word) for word in said(one).split()] for one in drawers]

    moments = sorted(moment for mine in taken for moment in mine)
    assert len(moments) == SENDERS * TAKES
    assert busiest_second(moments) <= RATE + BURST


@contextmanager
def drawer(url: str, schema: str) -> Iterator["subprocess.Popen[str]"]:
    """One process, while the block runs."""
    words = [sys.executable, "-m", "tests.cluster.draw", url, schema]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        try:
            yield one
        finally:
            one.kill()


def said(one: "subprocess.Popen[str]") -> str:
    """What a process says until it ends."""
    assert one.stdout is not None
    found = one.stdout.readline()
    one.wait(PATIENCE)
    return found


def busiest_second(moments: list[float]) -> int:
    """The most moments that lie within a second."""
    window: deque[float] = deque()
    most = 0
    for moment in moments:
        while window and window[0] <= moment - 1:
            window.popleft()
        window.append(moment)
        most = max(most, len(window))
    return most
