"""A sender that has nothing to do at this moment rests, whatever it waits for."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.desk import TOKEN, acme, borrower, borrowers, verdicts
from tests.laned import laned, later, user_with_loans
from tests.ordered import EVERY, Halt, OrderedDesk
from tests.scripted import Act, closes, hangs, platform, says

from lendsignal.deliver import Outlet, Unknown
from lendsignal.log import Stage

ACCEPTS = verdicts("accepted")
SECOND = 1 / 60

WATCHED_SECONDS = 0.4
MOST_TURNS = 40
"""In that time: a turn that waits takes a quarter of a second, one with something to commit 20 ms."""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


def turns_at_rest(desk: OrderedDesk) -> int:
    """Turns within the time that is watched, once everything that could be done was done."""
    for _ in range(30):
        desk.sender.turn(0.005)
    until, turns = time.monotonic() + WATCHED_SECONDS, 0
    while time.monotonic() < until:
        desk.sender.turn(0.25)
        turns += 1
    return turns


def tells(desk: OrderedDesk) -> None:
    desk.tell(*borrowers(3))


def tells_a_lane(desk: OrderedDesk) -> None:
    desk.tell(*user_with_loans("u1", -3, -2, -1))


def passes_heads(desk: OrderedDesk) -> None:
    tells_a_lane(desk)
    for n in (1, 2, 3):
        desk.until(lambda n=n: sum(one.attempts for one in desk.open()) == n)  # type: ignore[misc]
        desk.clock.ahead(2 * SECOND)


def halts(*names: str) -> Callable[[OrderedDesk], None]:
    def doing(desk: OrderedDesk) -> None:
        desk.order(Halt(names))
        desk.tell(*borrowers(3))

    return doing


def waits_for_a_verdict(desk: OrderedDesk) -> None:
    desk.tell(*borrowers(3)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})


def asks(desk: OrderedDesk) -> None:
    waits_for_a_verdict(desk)
    desk.clock.ahead(1)
    desk.sender.turn(0.0)


def is_paused_while_a_verdict_is_due(desk: OrderedDesk) -> None:
    waits_for_a_verdict(desk)
    desk.clock.ahead(1)
    desk.until(lambda: desk.store.paused())
    desk.clock.ahead(0.9)


def replays(desk: OrderedDesk) -> None:
    desk.tell(*borrowers(3)).clock.ahead(1)
    desk.quiet()
    desk.order(desk.again("accepted", "confirmed", *desk.ended("accepted")))


def replays_while_live_ones_linger(desk: OrderedDesk) -> None:
    replays(desk)
    desk.until(lambda: not desk.open()).tell(*borrower("u9", 1))
    desk.order(desk.again("accepted", "confirmed", *desk.ended("accepted")))


def fills_the_disk(desk: OrderedDesk) -> None:
    db = desk.store._db
    db.pragma("max_page_count", db.pragma("page_count"))
    desk.tell(*borrowers(400))


def is_past_its_window_while_the_clock_is_doubted(desk: OrderedDesk) -> None:
    desk.tell(*borrowers(3)).until(lambda: any(one.attempts for one in desk.open()))
    desk.sender.book.doubt_until_us = desk.clock.us + 5 * 24 * 3_600_000_000
    desk.sender.book.doubted_us = 4 * 24 * 3_600_000_000
    desk.clock.ahead(3 * 24 * 60)


PENDING = verdicts("pending:job-17")
TEN = timedelta(minutes=10)

WAITS: dict[str, tuple[Outlet, list[Act], Callable[[OrderedDesk], None]]] = {
    "nothing": (acme(), [ACCEPTS], lambda desk: None),
    "a retry": (acme(), [says(503, Retry_After="20")], tells),
    "a parked retry": (acme(), [says(503, Retry_After="900")], tells),
    "company": (acme(linger=timedelta(minutes=1)), [ACCEPTS], tells),
    "a schedule": (acme(schedule="every 2h"), [ACCEPTS], tells),
    "a lane's head": (laned(), [says(503, Retry_After="900")], tells_a_lane),
    "passed heads": (laned(lane_wait=timedelta(seconds=1)), [says(503, Retry_After="900")], passes_heads),
    "a token": (acme(facts={"batch": 1}, per_second=0.001), [ACCEPTS], tells),
    "a slow-down": (acme(), [says(429, Retry_After="60")], tells),
    "a probe": (acme(), [says(401)], tells),
    "a person": (acme(), [ACCEPTS], halts("acme-ng")),
    "a person about everything": (acme(), [ACCEPTS], halts(EVERY)),
    "a brake": (acme(first_run=1), [ACCEPTS], tells),
    "a release": (acme(on_unknown=Unknown(hold=TEN)), [closes], tells),
    "an answer": (acme(concurrency=1), [hangs], tells),
    "a verdict": (later(), [PENDING], waits_for_a_verdict),
    "a verdict's answer": (later(), [PENDING, hangs], asks),
    "a probe for a verdict": (later(), [PENDING, says(401)], is_paused_while_a_verdict_is_due),
    "the replay's pace": (acme(facts={"batch": 1}, per_second=0.1, burst=9), [ACCEPTS], replays),
    "company beside a replay": (
        acme(linger=timedelta(minutes=1)),
        [ACCEPTS],
        replays_while_live_ones_linger,
    ),
    "the disk": (acme(), [ACCEPTS], fills_the_disk),
    "the clock": (acme(), [says(503, Retry_After="20")], is_past_its_window_while_the_clock_is_doubted),
}


@pytest.mark.parametrize("what", list(WAITS))
def test_a_sender_rests_while_it_waits_for(tmp_path: Path, what: str) -> None:
    outlet, script, doing = WAITS[what]
    with platform(*script) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        doing(desk)

        assert turns_at_rest(desk) < MOST_TURNS
