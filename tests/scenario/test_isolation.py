"""Platforms that fail in their own ways, beside others that do not: real processes, real connections."""

from pathlib import Path

import pytest
from tests.running import ACCOUNTS, BackEnd, Ledger, borrowing, service, until

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
