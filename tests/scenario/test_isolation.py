"""Platforms that fail in their own ways, beside others that do not: real processes, real connections."""

from contextlib import closing
from pathlib import Path
from statistics import quantiles

import pytest
from tests.running import ACCOUNTS, BackEnd, Ledger, Service, Stand, borrowing, service, until

from lendsignal.clock import SystemClock
from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.plan import Planned, record_of

APPSFLYER, WEBHOOK = "api3.appsflyer.com", "hooks.acme.example"


def test_a_platform_that_hangs_does_not_hold_up_another(tmp_path: Path) -> None:
    outlet = 'timeout = "2s"\nconcurrency = 8\non_unknown = { retry = 1000 }'
    with service(tmp_path, outlet=outlet) as (one, stand):
        stand.faults({"kind": "hang", "host": APPSFLYER})
        back_end = BackEnd(one)
        for number in range(150):
            back_end.send(borrowing(number))
        until(lambda: len(stand.ids("warehouse")) == 300, "the other platform has everything")
        assert stand.ids("appsflyer-ng") == {}
        assert 0 < one.status()["waiting"]["appsflyer-ng"]["claimed"] <= 8
        stand.faults()
        one.idle()
        received = {name: stand.ids(name) for name in ACCOUNTS}
        assert one.stop() == 0

    books = Ledger(one.data)
    assert (len(received["appsflyer-ng"]), len(received["warehouse"])) == (150, 300)
    for name in ACCOUNTS:
        assert set(received[name]) == set(books.planned[name]) == books.accepted[name]
        assert set(received[name].values()) == {1}
        assert books.balances(name)


ROUNDS, USERS = 3, 80
FLOOR_SECONDS = 0.02
"""What the sender gathers outcomes for before it writes them: shorter delays are not told apart."""


def test_beside_a_hanging_platform_deliveries_are_as_quick_as_beside_a_healthy_one(tmp_path: Path) -> None:
    """In turns within one run, so that both sides have the same machine."""
    healthy, hanging = [], []
    with service(tmp_path, outlet='timeout = "3s"\nconcurrency = 8\non_unknown = { retry = 1000 }') as (
        one,
        stand,
    ):
        burst(one, stand, "warm")
        one.idle()
        for number in range(ROUNDS):
            healthy.append(burst(one, stand, f"a{number}-"))
            one.idle()
            stand.faults({"kind": "hang", "host": APPSFLYER})
            hanging.append(burst(one, stand, f"b{number}-"))
            waits = one.status()["waiting"]["appsflyer-ng"]
            assert waits["claimed"] == 8, "every request that it may have is hanging"
            assert sum(waits.values()) == USERS
            stand.faults()
            one.idle()
        assert one.stop() == 0

    beside_healthy, beside_hanging = delays(one.data, healthy), delays(one.data, hanging)
    assert len(beside_healthy) == len(beside_hanging) == ROUNDS * 2 * USERS
    medians = [max(FLOOR_SECONDS, quantiles(found, n=100)[49]) for found in (beside_healthy, beside_hanging)]
    slowest = [max(FLOOR_SECONDS, quantiles(found, n=100)[98]) for found in (beside_healthy, beside_hanging)]
    print(f"medians {medians}, 99th percentiles {slowest}")
    # The neighbour hangs for seconds: whoever waited for it would be many times as slow.
    assert medians[1] < 4 * medians[0]
    assert slowest[1] < 5 * slowest[0]


def burst(one: Service, stand: Stand, prefix: str) -> tuple[int, int]:
    """Users who borrow as fast as they are taken, until the webhook has all; from when to when it lasted."""
    before, began_us = len(stand.ids("warehouse")), SystemClock().now_us()
    back_end = BackEnd(one)
    for number in range(USERS):
        back_end.send(borrowing(number, prefix=prefix))
    until(lambda: len(stand.ids("warehouse")) == before + 2 * USERS, "the webhook has everything")
    return began_us, SystemClock().now_us()


def delays(data: Path, spans: list[tuple[int, int]]) -> list[float]:
    """Seconds from planning to the webhook's yes, of what was planned within these spans."""
    folder, found = DataFolder(data), []
    with (
        closing(open_log(folder.log, read_only=True)) as log,
        closing(open_deliveries(folder.deliveries, read_only=True)) as deliveries,
    ):
        for _, receipts in deliveries.all_receipts():
            for one in receipts:
                if (one.destination, one.what) != ("warehouse", "accepted"):
                    continue
                record = log.record(record_of(one.id)[0])
                assert isinstance(record, Planned)
                if any(begin <= record.at_us <= end for begin, end in spans):
                    found.append((one.answered_us - record.at_us) / 1e6)
    return found


@pytest.mark.parametrize("holds", [True, False], ids=["hold", "retry"])
def test_a_kept_connection_that_closes_after_the_platform_took_it_doubles_nothing_unknown(
    tmp_path: Path, holds: bool
) -> None:
    # One request at a time over one kept connection: left to itself, libcurl would send each of the broken
    # ones again, on a fresh connection, without a word to us.
    rule = "{ retry = 0 }" if holds else "{ retry = 100 }"
    with service(tmp_path, outlet=f"concurrency = 1\non_unknown = {rule}") as (one, stand):
        stand.faults({"kind": "close_after_accept", "host": WEBHOOK, "every": 4, "times": 15})
        back_end = BackEnd(one)
        for number in range(50):
            back_end.send(borrowing(number))
        one.idle()
        (fault,) = stand.look("faults")
        received = {name: stand.ids(name) for name in ACCOUNTS}
        assert one.stop() == 0

    books = Ledger(one.data)
    times = list(received["warehouse"].values())
    assert fault["fired"] == 15
    assert len(times) == books.count("warehouse", "planned") == 100
    assert books.balances("warehouse")
    if holds:
        assert set(times) == {1}
        assert books.held("warehouse") == 15
        assert books.count("warehouse", "accepted") == 85
    else:
        assert sum(times) - 100 == 15
        assert books.held("warehouse") == 0
        assert books.count("warehouse", "accepted") == 100
    assert set(received["appsflyer-ng"].values()) == {1}
    assert len(received["appsflyer-ng"]) == 50


def test_platforms_that_fail_in_every_way_receive_everything_in_the_end(tmp_path: Path) -> None:
    outlet = 'timeout = "1s"\non_unknown = { retry = 1000 }'
    storm = [
        {"kind": "status", "status": 503, "probability": 0.15, "seed": 1},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "probability": 0.01, "seed": 2},
        {"kind": "status", "status": 401, "probability": 0.01, "seed": 3},
        {"kind": "close_before", "probability": 0.05, "seed": 4},
        {"kind": "close_after_accept", "probability": 0.05, "seed": 5},
        {"kind": "truncate", "host": WEBHOOK, "probability": 0.05, "seed": 6},
        {"kind": "hang", "probability": 0.01, "seed": 7},
        {"kind": "garbage", "status": 502, "probability": 0.05, "seed": 8},
        {"kind": "slow", "delay_ms": 50, "probability": 0.1, "seed": 9},
    ]
    with service(tmp_path, outlet=outlet) as (one, stand):
        stand.faults(*storm)
        back_end = BackEnd(one)
        for number in range(120):
            back_end.send(borrowing(number))
        until(lambda: sum(rule["fired"] for rule in stand.look("faults")) > 100, "the storm is felt")
        stand.faults()
        one.idle()
        received = {name: stand.ids(name) for name in ACCOUNTS}
        assert one.stop() == 0

    books = Ledger(one.data)
    assert (len(received["appsflyer-ng"]), len(received["warehouse"])) == (120, 240)
    for name in ACCOUNTS:
        assert set(received[name]) == set(books.planned[name]) == books.accepted[name]
        assert books.balances(name)
