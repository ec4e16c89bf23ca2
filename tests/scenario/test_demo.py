"""`lendsignal demo`: what a newcomer runs first, begun, begun again, and interrupted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.running import PATIENCE, until

FIELDS = {
    "events", "conversions", "planned", "accepted", "dead", "waiting", "skipped", "cancelled", "received",
    "balanced",
}  # fmt: skip


def demo(folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "lendsignal", "demo", "--folder", str(folder), "--headless", *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=folder.parent,
        start_new_session=True,
    )


def result(folder: Path, *words: str) -> dict[str, Any]:
    """What a demo that ends by itself says at its end."""
    with demo(folder, "--json", *words) as process:
        said, complained = process.communicate(timeout=4 * PATIENCE)
    assert process.returncode == 0, complained[-3000:]
    assert "Traceback" not in complained
    (line,) = said.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "kept"


@pytest.fixture(scope="module")
def first(folder: Path) -> dict[str, Any]:
    return result(folder, "--for", "25s")


def balances(found: dict[str, Any]) -> bool:
    ends = ("accepted", "dead", "waiting", "skipped", "cancelled")
    return bool(found["planned"] == sum(found[end] for end in ends))


def test_it_ends_by_itself_and_its_books_balance(first: dict[str, Any]) -> None:
    assert set(first) == FIELDS
    assert first["balanced"] is True
    assert balances(first)
    assert first["events"] > first["conversions"] > 0
    assert first["planned"] > 1_000


def test_the_sandboxes_received_what_was_accepted(first: dict[str, Any]) -> None:
    assert first["received"] == first["accepted"]
    assert first["accepted"] > 0.8 * first["planned"]


def test_no_process_is_left_behind(folder: Path, first: dict[str, Any]) -> None:
    assert processes_of(folder) == []


def test_a_second_start_goes_on_where_the_first_one_stopped(folder: Path, first: dict[str, Any]) -> None:
    for seconds in (6, 30, 120):  # a machine that is busy may not come to new events in a few
        second = result(folder, "--for", f"{seconds}s")
        if second["events"] > first["events"]:
            break

    assert second["events"] > first["events"]
    assert second["accepted"] >= first["accepted"]
    assert second["received"] == second["accepted"]
    assert second["balanced"]
    assert balances(second)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "closed terminal"])
def test_being_stopped_it_ends_in_good_order(folder: Path, first: dict[str, Any], number: int) -> None:
    with demo(folder) as process:
        assert process.stdout is not None
        heard = process.stdout.readline()
        process.send_signal(number)
        said, complained = process.communicate(timeout=PATIENCE)

    assert heard.startswith("events   http://127.0.0.1:")
    assert process.returncode == 0, complained[-3000:]
    assert "a second start goes on from here" in said
    assert "Traceback" not in complained
    until(lambda: processes_of(folder) == [], "no process is left")


def test_being_killed_it_leaves_no_process_behind(folder: Path, first: dict[str, Any]) -> None:
    with demo(folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("events   http://127.0.0.1:")
        process.kill()
        process.communicate(timeout=PATIENCE)

    until(lambda: processes_of(folder) == [], "no process is left")


def processes_of(folder: Path) -> list[str]:
    """Commands that run over a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found
