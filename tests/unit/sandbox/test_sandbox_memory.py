"""What the sandbox remembers, with and without a folder. Expected numbers are counted by hand."""

from pathlib import Path

import msgspec
import pytest

from lendsignal.errors import LogError
from lendsignal.sandbox import Answer, Memory, Refused, Taken


def taken(number: int, conversion_id: str | None, *, account: str = "app-1", recorded: bool = True) -> Taken:
    return Taken(
        platform="appsflyer",
        account=account,
        conversion_id=conversion_id,
        name="ev_ln",
        occurred_us=number,
        stamped_us=number + (number == 3),
        received_us=1000 + number,
        recorded=recorded,
        warnings=("w",) if number == 2 else (),
    )


def refused(rows: int) -> Refused:
    return Refused(
        platform="meta", account="44", reason="event_time: older", received_us=9, status=400, rows=rows
    )


def fill(memory: Memory) -> None:
    memory.keep(Answer(status=200, taken=(taken(1, "a"), taken(2, "b"))))
    memory.keep(Answer(status=400, refused=(refused(3),)))
    memory.keep(Answer(status=200, taken=(taken(3, "a"), taken(4, None), taken(5, "a", recorded=False))))
    memory.keep(Answer(status=200, taken=(taken(6, "c", account="app-2"),)))


def test_counts_are_per_platform_and_account() -> None:
    memory = Memory()
    fill(memory)
    first, second, third = memory.summary()

    assert first == {
        "platform": "appsflyer",
        "account": "app-1",
        "received": 5,
        "distinct_ids": 2,
        "repeated_ids": 1,
        "repeats": 2,
        "without_id": 1,
        "unrecorded": 1,
        "redated": 1,
        "refused": 0,
        "names": {"ev_ln": 5},
        "reasons": {},
        "warnings": {"w": 1},
    }
    assert (second["account"], second["received"]) == ("app-2", 1)
    assert (third["platform"], third["received"], third["reasons"]) == ("meta", 0, {"event_time: older": 3})
    assert memory.ids("appsflyer") == {"a": 3, "b": 1, "c": 1}
    assert memory.ids(account="app-2") == {"c": 1}
    assert memory.ids("ga4") == {}
    memory.close()


def test_pages_follow_each_other_without_gap_or_overlap() -> None:
    memory = Memory()
    fill(memory)
    seen, after = [], 0
    while True:
        page = memory.page("taken", platform="appsflyer", after=after, limit=2)
        seen += [msgspec.json.decode(line)["occurred_us"] for line in page.lines]
        if page.next is None:
            break
        after = page.next

    assert seen == [1, 2, 3, 4, 5, 6]
    assert len(memory.page("refused").lines) == 1
    assert len(memory.page("taken", conversion_id="a").lines) == 3
    assert memory.page("taken", account="app-9").lines == []
    memory.close()


def test_a_folder_is_remembered_over_restarts(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "new")
    fill(memory)
    before, kept = memory.summary(), list(memory.taken())
    memory.close()

    again = Memory(tmp_path / "new")
    assert again.summary() == before
    assert list(again.taken()) == kept
    fill(again)
    assert again.ids("appsflyer") == {"a": 6, "b": 2, "c": 2}
    again.close()


def test_half_a_line_at_the_end_is_dropped_and_written_over(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    fill(memory)
    memory.close()
    path = tmp_path / "received.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])

    again = Memory(tmp_path)
    assert again.summary()[0]["received"] == 5
    assert path.read_bytes() == whole
    again.close()


def test_a_line_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "received.jsonl").write_bytes(b"{}\n")

    with pytest.raises(LogError, match="line 1"):
        Memory(tmp_path)


def test_reset_forgets_everything() -> None:
    memory = Memory()
    fill(memory)
    memory.reset()

    assert (memory.summary(), memory.ids(), memory.page("taken").lines) == ([], {}, [])
    memory.close()
