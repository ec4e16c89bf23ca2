"""Files of a folder: each once, also when it is rewritten, still being written, or broken."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.desk import Hand
from tests.pulling import Gone, House, drained

from lendsignal.errors import InputError, PullError
from lendsignal.settings import read
from lendsignal.source import objects
from lendsignal.source.files.events import hash_of

RULES: dict[str, Any] = {
    "folder": "drop",
    "match": ["loans*.csv", "loans*.csv.gz", "*.jsonl", "*.json"],
    "settle": "10s",
    "constant": {"brand": "acme", "currency": "NGN"},
    "column": {"paid_at": {"kind": "time", "timezone": "Africa/Lagos"}},
    "event": [
        {
            "type": "disbursed",
            "columns": {
                "user_id": "customer",
                "loan_id": "loan_id",
                "occurred_at": "paid_at",
                "amount": "amount",
            },
        }
    ],
}

HEAD = "loan_id,customer,paid_at,amount\n"


def line(n: int, amount: int = 500) -> str:
    return f"L{n},c{n},2026-03-09 10:{n % 60:02}:00,{amount + n}\n"


def lines(*numbers: int) -> str:
    return HEAD + "".join(line(n) for n in numbers)


class Drop:
    """The folder that is watched, with a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.clock = Hand(0)
        self.house = House(folder, self.clock)
        self.folder = folder / "drop"
        self.folder.mkdir()

    def put(self, name: str, text: str | bytes) -> Path:
        """Writes a file as it is by now."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self._dated(path)
        return path

    def _dated(self, path: Path) -> None:
        os.utime(path, ns=(self.clock.us * 1_000, self.clock.us * 1_000))

    def later(self, seconds: float = 11) -> None:
        self.clock.ahead(seconds / 60)

    def read(self, **more: Any) -> None:
        self.house.read_all("files", RULES | more)

    def loans(self) -> list[str | None]:
        return [one.loan_id for one in self.house.events()]


@pytest.fixture
def drop(tmp_path: Path) -> Iterator[Drop]:
    found = Drop(tmp_path)
    yield found
    found.house.close()


def test_each_file_is_read_once(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1, 2))
    drop.put("loans-2.csv", lines(3))
    drop.later()
    for _ in range(3):
        drop.read()

    assert drop.loans() == ["L1", "L2", "L3"]


def test_a_file_that_is_still_being_written_waits_until_it_rests(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1) + "L2,c2,20")
    drop.read()
    drop.later(5)
    drop.read()
    early = drop.loans()
    drop.put("loans-1.csv", lines(1, 2))
    drop.later(9)
    drop.read()
    also_early = drop.loans()
    drop.later(2)
    drop.read()

    assert early == also_early == []
    assert drop.loans() == ["L1", "L2"]
    assert drop.house.quarantine() == []


def test_with_a_marker_a_file_is_read_when_the_marker_stands_beside_it(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1))
    drop.later(3600)
    drop.read(marker=".done")
    before = drop.loans()
    drop.put("loans-1.csv.done", "")
    drop.read(marker=".done")

    assert before == []
    assert drop.loans() == ["L1"]


def test_a_file_that_grows_makes_events_of_its_new_rows_only(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1, 2))
    drop.later()
    drop.read()
    drop.put("loans-1.csv", lines(1, 2, 3))
    drop.later()
    drop.read()

    assert drop.loans() == ["L1", "L2", "L3"]


def test_the_same_rows_under_another_name_and_in_another_order_are_the_same_events(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1, 2))
    drop.later()
    drop.read()
    drop.put("loans-again.csv", lines(2, 1))
    drop.later()
    drop.read()

    assert drop.loans() == ["L1", "L2"]


def test_a_file_that_was_only_touched_is_not_read_row_by_row_again(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1))
    drop.later()
    drop.read()
    drop.put("loans-1.csv", lines(1))
    drop.later()
    puller = drop.house.puller("files", RULES)
    drained(puller)
    puller.close()

    assert puller.state.rows == 1


def test_two_equal_rows_of_a_file_stay_two(drop: Drop) -> None:
    opened = {"type": "app_opened", "brand": "acme", "user_id": "u1", "occurred_at": "2026-03-09T10:00:00Z"}
    drop.put("events.jsonl", "".join(json.dumps(opened) + "\n" for _ in range(2)))
    drop.later()
    drop.read(event=[])

    assert len(set(drop.house.ids())) == 2


def test_a_changed_row_of_a_rewritten_file_is_an_event_with_a_revision(drop: Drop) -> None:
    head = "version,loan_id,customer,paid_at,amount\n"
    drop.put("loans-1.csv", head + "1," + line(1, 500))
    drop.later()
    drop.read(revision="version")
    drop.put("loans-1.csv", head + "2," + line(1, 600))
    drop.later()
    drop.read(revision="version")

    assert [(str(one.amount), one.revision) for one in drop.house.events()] == [("501", 1), ("601", 2)]
    assert drop.house.verdicts() == {"taken": 2}


def test_a_bad_row_goes_to_quarantine_with_its_file_and_row(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1) + "L2,c2\n" + "L3,c3,yesterday,5\n" + line(4))
    drop.later()
    drop.read()
    found = [(one.field, one.rule, json.loads(one.body)["where"]) for one in drop.house.quarantine()]

    assert drop.loans() == ["L1", "L4"]
    assert found == [
        ("row", "has 2 cells where the header has 4", "loans-1.csv row 2"),
        (
            "paid_at",
            "must be written ISO 8601, such as 2026-03-01 14:05:00, needed for disbursed",
            "loans-1.csv row 3",
        ),
    ]


def test_a_broken_file_is_told_once_and_stops_no_other(drop: Drop) -> None:
    whole = gzip.compress(lines(*range(1, 2_000)).encode())
    drop.put("loans-1.csv.gz", whole[: len(whole) // 2])
    drop.put("loans-2.csv", lines(5_000))
    drop.later()
    drop.read()
    drop.read()

    assert drop.loans()[-1] == "L5000"
    assert [one.field for one in drop.house.quarantine()] == ["file"]


def test_a_broken_file_is_read_again_when_it_is_mended(drop: Drop) -> None:
    whole = gzip.compress(lines(1, 2).encode())
    drop.put("loans-1.csv.gz", whole[:-9])
    drop.later()
    drop.read()
    drop.put("loans-1.csv.gz", whole)
    drop.later()
    drop.read()

    assert sorted(map(str, drop.loans())) == ["L1", "L2"]


def test_a_json_array_and_json_lines_are_read(drop: Drop) -> None:
    rows = [
        {"loan_id": f"L{n}", "customer": "c", "paid_at": "2026-03-09 10:00:00", "amount": n} for n in (1, 2)
    ]
    drop.put("a.json", json.dumps(rows))
    drop.put("b.jsonl", json.dumps(rows[0] | {"loan_id": "L3"}))
    drop.later()
    drop.read()

    assert drop.loans() == ["L1", "L2", "L3"]


def test_killed_within_a_file_it_goes_on_behind_the_last_durable_row(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(*range(10)))
    drop.later()
    first = drop.house.puller("files", RULES | {"batch": 4})
    first.turn()
    dying = drop.house.puller("files", RULES | {"batch": 4}, hand=drop.house.dies_after_durable())
    with pytest.raises(Gone):
        dying.turn()
    drop.house.close()
    drop.house.open()
    drop.read(batch=4)

    assert len(drop.loans()) == 14
    assert len(set(drop.house.ids())) == 10
    assert drop.house.verdicts() == {"taken": 10, "duplicate": 4}


def test_killed_between_two_equal_rows_the_second_stays_another_one(drop: Drop) -> None:
    opened = {"type": "app_opened", "brand": "acme", "user_id": "u1", "occurred_at": "2026-03-09T10:00:00Z"}
    drop.put("events.jsonl", "".join(json.dumps(opened) + "\n" for _ in range(3)))
    drop.later()
    drop.house.puller("files", RULES | {"batch": 2, "event": []}).turn()
    drop.house.close()
    drop.house.open()
    drop.read(batch=2, event=[])

    assert len(set(drop.house.ids())) == len(drop.house.ids()) == 3


def test_a_file_that_changes_while_it_is_read_is_read_again(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(*range(10)))
    drop.later()
    puller = drop.house.puller("files", RULES | {"batch": 4})
    puller.turn()
    drop.put("loans-1.csv", lines(*range(12)))
    drained(puller)
    drop.later()
    drained(puller)
    puller.close()

    assert set(drop.loans()) == {f"L{n}" for n in range(12)}
    assert len(set(drop.house.ids())) == len(drop.house.ids())


def test_nothing_in_the_folder_is_changed(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1))
    drop.put("sub/loans-2.csv", lines(2))
    drop.later()
    drop.read()

    assert drop.loans() == ["L1", "L2"]
    assert sorted(one.name for one in drop.folder.rglob("*.csv")) == ["loans-1.csv", "loans-2.csv"]


def test_files_that_were_read_go_to_the_archive_where_one_is_named(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1))
    drop.later()
    drop.read(archive="read")
    drop.put("loans-1.csv", lines(2))
    drop.later()
    drop.read(archive="read")

    assert drop.loans() == ["L1", "L2"]
    assert sorted(one.name for one in (drop.folder / "read").iterdir()) == ["loans-1.csv", "loans-1.csv.1"]
    assert not (drop.folder / "loans-1.csv").exists()


def test_a_file_that_was_read_before_a_crash_is_moved_after_it(drop: Drop) -> None:
    drop.put("loans-1.csv", lines(1))
    drop.later()
    drop.read()  # durable and noted, but not moved
    drop.read(archive="read")

    assert drop.loans() == ["L1"]
    assert (drop.folder / "read" / "loans-1.csv").exists()


def test_other_files_and_hidden_ones_are_left_alone(drop: Drop) -> None:
    drop.put("readme.txt", "hello")
    drop.put(".loans-1.csv.part", lines(1))
    drop.later()
    drop.read()

    assert drop.house.events() == []
    assert drop.house.quarantine() == []


def test_a_missing_folder_is_trouble_and_not_an_empty_one(drop: Drop) -> None:
    puller = drop.house.puller("files", RULES | {"folder": "elsewhere"})
    with pytest.raises(PullError, match="not_found"):
        puller.turn()


def test_a_file_that_cannot_be_opened_is_trouble_after_all_others_were_read(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop.put("loans-1.csv", lines(1))
    drop.put("loans-2.csv", lines(2))
    drop.later()

    def guarded(path: Path) -> str:
        if path.name == "loans-1.csv":
            raise InputError(path.name, "cannot be read: Permission denied")
        return hash_of(path)

    monkeypatch.setattr(objects, "hash_of", guarded)
    puller = drop.house.puller("files", RULES)
    with pytest.raises(PullError, match="unreadable: 1 files"):
        drained(puller)
    puller.close()
    monkeypatch.undo()
    drained(puller)
    puller.close()

    assert drop.loans() == ["L2", "L1"]


def test_half_of_a_key_is_refused() -> None:
    table = RULES | {"folder": "s3://b/p", "access_key": {"env": "A"}}
    own, wrong = read(objects.Settings, table, path="", origin="")

    assert own is not None
    assert not wrong
    assert [one.key for one in objects.problems(own)] == ["secret_key"]
