"""`kill -9` at random instants, real processes throughout: nothing acknowledged is lost, doubles are counted.

A first proof: more kills, named points and torn disks are for the suites that run by their own command.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.running import (
    ACCOUNTS,
    ENVIRONMENT,
    PATIENCE,
    BackEnd,
    Ledger,
    Service,
    borrowing,
    drawn_seed,
    free_port,
    service,
    until,
)

from lendsignal.log import open_deliveries

ROLES = ["core", "send", "send", "core", "send", "send", "core"]
"""Who is killed, in an order that chance changes."""

APART = ["core", "send", "send", "door", "send", "core", "door"]
"""Where the door is a process of its own."""

BACK_ENDS = 3


def receipts_of(data: Path) -> Counter[tuple[str, str]]:
    """How many tries came to what, for what reason."""
    deliveries = open_deliveries(data / "deliveries.sqlite", read_only=True)
    try:
        return Counter((one.what, one.reason) for _, pack in deliveries.all_receipts() for one in pack)
    finally:
        deliveries.close()


@pytest.mark.parametrize(
    ("policy", "repeats", "front", "roles"),
    [
        ("on_unknown = { retry = 100 }", True, "", ROLES),
        ('on_unknown = { hold = "7d" }', False, "apart = true", APART),
    ],
    ids=["retry", "hold, the door apart"],
)
def test_killing_core_and_sender_under_traffic_loses_nothing(
    tmp_path: Path, policy: str, repeats: bool, front: str, roles: Sequence[str]
) -> None:
    chance = random.Random(drawn_seed())
    over = threading.Event()
    with service(tmp_path, latency_ms=30, outlet=policy, front=front) as (one, stand):
        back_ends = [BackEnd(one) for _ in range(BACK_ENDS)]
        senders = [
            threading.Thread(target=traffic, args=(back_end, f"v{number}-", over))
            for number, back_end in enumerate(back_ends)
        ]
        for sender in senders:
            sender.start()
        for role in chance.sample(roles, len(roles)):
            seen = len(one.said)
            until(partial(one.pid, role), f"{role} lives")
            over.wait(chance.uniform(0.05, 0.6))
            one.kill(role)
            until(partial(died, one, seen), "it is noticed")
        one.ready()
        over.wait(chance.uniform(0.05, 0.6))
        over.set()
        for sender in senders:
            sender.join(PATIENCE)
            assert not sender.is_alive()
        one.idle()
        received = {name: stand.ids(name) for name in ACCOUNTS}
        assert stand.look("refused")["items"] == []
        assert one.stop() == 0

    books = Ledger(one.data)
    came = receipts_of(one.data)
    acknowledged = {event for back_end in back_ends for event in back_end.acknowledged}
    assert acknowledged == set(books.events)
    assert books.decided
    assert books.verdicts["taken"] == len(acknowledged)
    assert books.verdicts.get("duplicate", 0) == len(books.events) - len(acknowledged)
    users = len(acknowledged) // 2
    assert {name: len(ids) for name, ids in books.planned.items()} == {
        "appsflyer-ng": users,
        "warehouse": 2 * users,
    }
    in_flight = came["retry", "stopped"] + came["held", "unknown: stopped"]
    repeated = sum(back_end.repeated for back_end in back_ends)
    print(f"kills={len(roles)} users={users} in_flight={in_flight} repeated_requests={repeated}")
    assert in_flight, "the sender was killed at work"
    assert repeated, "the door was killed at work"
    for name in ACCOUNTS:
        planned = books.planned[name]
        assert len(planned) == len(set(planned)), "each conversion is planned once"
        assert books.balances(name)
        assert books.accepted[name] <= set(received[name])
        assert set(received[name]) <= set(planned)
    lost = sum(len(set(books.planned[name]) - set(received[name])) for name in ACCOUNTS)
    doubled = sum(times - 1 for ids in received.values() for times in ids.values())
    held = sum(books.held(name) for name in ACCOUNTS)
    if repeats:
        assert lost == 0
        assert doubled <= in_flight
        assert held == 0
    else:
        assert doubled == 0
        assert lost <= held == in_flight


def died(one: Service, seen: int) -> bool:
    """Whether the supervisor said so behind what it had said before."""
    return "ended with code -9" in one.said[seen:]


def traffic(back_end: BackEnd, prefix: str, over: threading.Event) -> None:
    """Users of its own borrow, a few at a time, until it is over."""
    number = 0
    while not over.wait(0.04):
        back_end.send([event for n in range(number, number + 6) for event in borrowing(n, prefix=prefix)])
        number += 6


# import


MAP = """\
[constant]
brand    = "acme"
currency = "NGN"

[file.loans]
match = "loans.csv"

[column.at]
kind     = "time"
timezone = "UTC"

[column.amount]
kind = "number"

[[event]]
type = "disbursed"
[event.columns]
user_id     = "user"
loan_id     = "loan"
occurred_at = "at"
amount      = "amount"
"""
ROWS = 16_000


def test_an_import_that_is_killed_midway_and_begun_again_adds_each_event_once(tmp_path: Path) -> None:
    chance = random.Random(drawn_seed())
    file = tmp_path / "loans.csv"
    rows = [f"u{n % 5_000},L{n},2025-0{1 + n % 9}-11T08:00:00Z,{100 + n}" for n in range(ROWS)]
    chance.shuffle(rows)
    file.write_text("\n".join(["user,loan,at,amount", *rows]))
    straight, broken = (Service(tmp_path / name, f"http://127.0.0.1:{free_port()}") for name in ("a", "b"))
    (tmp_path / "map.toml").write_text(MAP)

    assert importing(straight).wait(PATIENCE) == 0
    wanted = Ledger(straight.data)
    killed = []
    for _ in range(3):
        before = events_in(broken)
        process = importing(broken)
        until(partial(goes_on, broken, before, process), "the import goes on")
        process.send_signal(signal.SIGKILL)
        if process.wait(PATIENCE) == -signal.SIGKILL:
            killed.append(events_in(broken))
    print(f"killed with so many of {ROWS} events durable: {killed}")
    assert importing(broken).wait(PATIENCE) == 0
    found = Ledger(broken.data)

    assert killed, "it was killed at work"
    assert len(wanted.events) == ROWS
    assert found.events == wanted.events
    assert found.verdicts == wanted.verdicts == {"taken": ROWS}
    assert found.decided
    assert importing(broken).wait(PATIENCE) == 0
    assert Ledger(broken.data).events == wanted.events


def importing(one: Service) -> "subprocess.Popen[bytes]":
    words = ["import", "../loans.csv", "--map", "../map.toml", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "lendsignal", *words],
        cwd=one.folder,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def goes_on(one: Service, before: int, process: "subprocess.Popen[bytes]") -> bool:
    return events_in(one) > before or process.poll() is not None


def events_in(one: Service) -> int:
    """How many events are durable; none before there is a log."""
    try:
        with closing(sqlite3.connect(f"file:{one.data / 'log.sqlite'}?mode=ro", uri=True)) as db:
            return int(db.execute("select count(*) from event").fetchone()[0])
    except sqlite3.Error:
        return 0
