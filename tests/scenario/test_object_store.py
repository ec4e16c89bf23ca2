"""Files in an S3-compatible object store, over HTTP: each once, whatever happens to it."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pulling import Gone, House
from tests.servers.objects import ObjectStore, object_store

from lendsignal.errors import PullError


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as one:
        yield one


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setenv("STORE_KEY", "made-up")
    monkeypatch.setenv("STORE_SECRET", "made-up")
    found = House(tmp_path / "data")
    yield found
    found.close()


def rules(server: ObjectStore, prefix: str, **more: Any) -> dict[str, Any]:
    return {
        "folder": f"s3://loans/{prefix}",
        "endpoint": server.address,
        "region": "us-east-1",
        "access_key": {"env": "STORE_KEY"},
        "secret_key": {"env": "STORE_SECRET"},
        "match": ["*.csv", "*.csv.gz"],
        "settle": "0s",
        "constant": {"brand": "acme"},
        "event": [
            {"type": "disbursed", "columns": {"user_id": "customer", "loan_id": "loan", "occurred_at": "at"}}
        ],
        **more,
    }


def rows(*numbers: int) -> bytes:
    lines = [f"L{n},c{n},2026-05-02T09:{n:02}:00Z\n" for n in numbers]
    return ("loan,customer,at\n" + "".join(lines)).encode()


def loans(house: House) -> list[str | None]:
    return [one.loan_id for one in house.events()]


def test_objects_are_read_once_and_a_rewritten_one_gives_its_new_rows(
    server: ObjectStore, house: House
) -> None:
    server.put("daily/a.csv", rows(1, 2))
    server.put("daily/deeper/b.csv.gz", gzip.compress(rows(3)))
    server.put("other/c.csv", rows(9))
    for _ in range(2):
        house.read_all("files", rules(server, "daily"))
    server.put("daily/a.csv", rows(1, 2, 4))
    house.read_all("files", rules(server, "daily"))

    assert loans(house) == ["L1", "L2", "L3", "L4"]
    assert sorted(server.objects()) == ["daily/a.csv", "daily/deeper/b.csv.gz", "other/c.csv"]


def test_killed_in_the_middle_of_an_object_no_row_counts_twice(server: ObjectStore, house: House) -> None:
    server.put("crash/a.csv", rows(*range(10)))
    dying = house.puller("files", rules(server, "crash", batch=4), hand=house.dies_after_durable())
    with pytest.raises(Gone):
        dying.turn()
    house.read_all("files", rules(server, "crash", batch=4))

    assert house.verdicts() == {"taken": 10, "duplicate": 4}


def test_objects_that_were_read_are_moved_where_an_archive_is_named(
    server: ObjectStore, house: House
) -> None:
    server.put("in/a.csv", rows(1))
    house.read_all("files", rules(server, "in", archive="loans/read"))

    assert loans(house) == ["L1"]
    assert "in/a.csv" not in server.objects()
    assert "read/a.csv" in server.objects()


def test_a_bucket_that_is_not_there_is_trouble_without_a_key_in_its_words(
    server: ObjectStore, house: House
) -> None:
    puller = house.puller("files", rules(server, "x", folder="s3://nowhere/x"))
    with pytest.raises(PullError) as raised:
        puller.turn()

    assert raised.value.reason == "not_found"
    assert "made-up" not in str(raised.value)


def test_a_store_that_does_not_answer_is_trouble(server: ObjectStore, house: House) -> None:
    puller = house.puller("files", rules(server, "x", endpoint="http://127.0.0.1:1"))
    with pytest.raises(PullError) as raised:
        puller.turn()

    assert raised.value.reason == "unreachable"
