"""The Python client against the real service: killed callers, a service that is down, forks, bad events."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest
from tests.running import KEY, Service, call, drawn_seed, free_port, service, until

from lendsignal.client import AsyncClient, Client, Refused
from lendsignal.log import DataFolder, open_log

CALLER = """
import os, sys
from datetime import UTC, datetime
from lendsignal.client import Client

address, spool, prefix, told, durable = sys.argv[1:]
client = Client(address, spool=spool, brand="acme", durable=durable == "durable")
told = os.open(told, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
for n in range(int(os.environ.get("MOST", 10**9))):
    event_id = client.disbursed(user_id=f"{prefix}-{n % 50}", occurred_at=datetime.now(UTC),
                                loan_id=f"{prefix}-{n}", amount=15000, currency="NGN")
    os.write(told, event_id.encode() + b"\\n")
"""
"""Tells each event that a call acknowledged, once it did, to a file that outlives it."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("house")) as (one, _):
        yield one


def caller(
    house: Service, folder: Path, prefix: str, *, most: int | None = None, durable: bool = True
) -> subprocess.Popen[bytes]:
    """A process that makes events without end, or `most` of them."""
    words = [f"http://{house.address}", str(folder / "spool.sqlite"), prefix, str(folder / "told")]
    return subprocess.Popen(
        [sys.executable, "-c", CALLER, *words, "durable" if durable else "soon"],
        env={**os.environ, "LENDSIGNAL_KEY": KEY, **({} if most is None else {"MOST": str(most)})},
        stdin=subprocess.DEVNULL,
    )


def told(folder: Path) -> list[str]:
    """The events whose calls returned: whole lines only."""
    path = folder / "told"
    return path.read_text().rpartition("\n")[0].split() if path.exists() else []


def has_told(folder: Path, n: int) -> bool:
    return len(told(folder)) >= n


def client(house: Service, folder: Path, **settings: Any) -> Client:
    return Client(f"http://{house.address}", key=KEY, spool=folder / "spool.sqlite", brand="acme", **settings)


def verdicts(house: Service, ids: Sequence[str]) -> list[list[str]]:
    """What the service decided about each event, every time that it came in."""
    until(lambda: house.status()["decided"] >= house.status()["events"], "all is decided")
    log = open_log(DataFolder(house.data).log, read_only=True)
    try:
        return [[verdict.value for _, verdict in log.find(one) if verdict is not None] for one in ids]
    finally:
        log.close()


def assert_each_counts_once(house: Service, ids: Sequence[str]) -> None:
    """Every event came in and was taken once; what came again is a duplicate."""
    assert len(set(ids)) == len(ids) > 0
    for found in verdicts(house, ids):
        assert found[:1] == ["taken"], found
        assert set(found[1:]) <= {"duplicate"}, found


def paid_out(one: Client, number: int, **more: Any) -> str:
    return one.disbursed(
        user_id=f"u{number}",
        occurred_at=datetime.now(UTC),
        loan_id=f"{one._spool.path.parent.name}-{number}",
        amount=Decimal("15000"),
        currency="NGN",
        **more,
    )


def test_whatever_a_call_acknowledged_counts_once_though_callers_are_killed(
    house: Service, tmp_path: Path
) -> None:
    chance = random.Random(drawn_seed())
    breath = Signal()
    for round_ in range(6):
        pair = [caller(house, tmp_path, f"k{round_}{side}") for side in "ab"]  # they share the spool
        more = len(told(tmp_path)) + 10
        until(partial(has_told, tmp_path, more), "the callers call")
        breath.wait(chance.uniform(0, 0.3))
        for one in pair:
            one.send_signal(signal.SIGKILL)
            one.wait()

    with client(house, tmp_path) as rest:
        assert rest.flush(60)
    ids = told(tmp_path)
    assert len(ids) > 50
    assert_each_counts_once(house, ids)


def test_a_caller_that_ends_in_good_order_leaves_nothing_behind(house: Service, tmp_path: Path) -> None:
    assert caller(house, tmp_path, "exit", most=700, durable=False).wait(60) == 0

    ids = told(tmp_path)
    assert len(ids) == 700
    assert_each_counts_once(house, ids)


def test_workers_of_a_fork_send_what_they_made_and_so_does_their_parent(
    house: Service, tmp_path: Path
) -> None:
    written = tmp_path / "told"
    one = client(house, tmp_path, durable=False)
    with written.open("a") as file:
        print(paid_out(one, 0), file=file)
    children = []
    for number in range(1, 4):
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            ids = [paid_out(one, number * 1_000 + n) for n in range(100)]
            one.close(30)
            with written.open("a") as file:
                file.write("".join(f"{event_id}\n" for event_id in ids))
            os._exit(0)
        children.append(child)
    for number in range(4_000, 4_050):
        with written.open("a") as file:
            print(paid_out(one, number), file=file)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert one.close(60)

    assert len(told(tmp_path)) == 351
    assert_each_counts_once(house, told(tmp_path))


def test_a_bad_event_costs_itself_and_can_be_mended(house: Service, tmp_path: Path) -> None:
    refused: list[Refused] = []
    with client(house, tmp_path, durable=False, on_refused=refused.append) as one:
        good = [paid_out(one, n) for n in range(5)]
        bad = paid_out(one, 5, brand="acmee")
        good += [paid_out(one, n, properties={"note": "x" * 500}) for n in range(6, 10)]
        assert one.flush(60)
        until(lambda: refused, "the callback is called")

        assert [(found.event_id, found.field) for found in refused] == [(bad, "brand")]
        assert_each_counts_once(house, good)
        assert verdicts(house, [bad]) == [[]]
        assert one.mend(refused[0], brand="acme")
        assert one.flush(60)
        assert one.refused() == []
        assert_each_counts_once(house, [*good, bad])


def test_calls_that_are_awaited_together_arrive(house: Service, tmp_path: Path) -> None:
    async def work() -> list[str]:
        spool = tmp_path / "spool.sqlite"
        async with AsyncClient(f"http://{house.address}", key=KEY, spool=spool, brand="acme") as one:
            calls = [
                one.applied(
                    user_id=f"a{n}", occurred_at=datetime.now(UTC), application_id=f"{tmp_path.name}-{n}"
                )
                for n in range(100)
            ]
            ids = list(await asyncio.gather(*calls))
            assert await one.flush(60)
            assert await one.waiting() == 0
        return ids

    assert_each_counts_once(house, asyncio.run(work()))


def test_nothing_is_lost_while_the_service_is_down_and_it_goes_on_by_itself(
    house: Service, tmp_path: Path
) -> None:
    with client(house, tmp_path) as one:
        ids = [paid_out(one, n) for n in range(20)]
        assert one.flush(60)
        house.stop()
        ids += [paid_out(one, n) for n in range(20, 60)]
        until(lambda: one.trouble, "the client notices")
        assert one.waiting() == 40
        house.start()
        until(lambda: one.waiting() == 0, "what waited leaves by itself")
        assert one.trouble is None

    assert_each_counts_once(house, ids)


def test_a_door_that_cannot_keep_up_is_asked_again_until_it_has_everything(
    house: Service, tmp_path: Path
) -> None:
    house.stop()
    config = house.folder / "lendsignal.toml"
    usual = config.read_text()
    config.write_text(usual.replace("[door]", "[door]\nqueue = 1"))
    house.start()
    clients = [client(house, tmp_path / f"{n}", durable=False) for n in range(6)]
    ids: list[str] = []

    def was_refused() -> bool:
        ids.extend(paid_out(one, len(ids) + n) for one in clients for n in range(50))
        page = call(house.address, "GET", "/metrics")[2].decode()
        return 'lendsignal_door_requests_total{status="4xx"}' in page

    until(was_refused, "the door tells somebody to come again")
    assert all(one.close(60) for one in clients)
    house.stop()
    config.write_text(usual)
    house.start()

    assert_each_counts_once(house, ids)


def test_a_wrong_key_waits_for_a_person_and_loses_nothing(house: Service, tmp_path: Path) -> None:
    address, spool = f"http://{house.address}", tmp_path / "spool.sqlite"
    with Client(address, key="ls_wrong", spool=spool, brand="acme", exit_seconds=0) as one:
        ids = [paid_out(one, 1)]
        until(lambda: one.trouble, "the client notices")
        assert one.trouble == "status 401: the API key is not accepted"

    with client(house, tmp_path) as one:
        assert one.flush(60)
    assert_each_counts_once(house, ids)


def test_an_address_where_nobody_listens_costs_the_caller_no_time(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with Client(nobody, key=KEY, spool=tmp_path / "s", brand="acme", exit_seconds=0) as one:
        for n in range(50):
            paid_out(one, n)
        assert one.waiting() == 50
