"""Verbs that steer sending, and the doctor: what they refuse, say and leave behind, without a service."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.running import CONFIG, ENVIRONMENT

from lendsignal.cli import giving, main
from lendsignal.clock import to_us
from lendsignal.config import load
from lendsignal.decide import Decider
from lendsignal.deliver import giving as order_giving
from lendsignal.log import (
    EVERY,
    Cancel,
    Changes,
    DataFolder,
    Dead,
    Given,
    Halt,
    LetGo,
    Open,
    Pause,
    Receipt,
    Stage,
    Stop,
    open_deliveries,
    open_log,
    open_orders,
)
from lendsignal.model import Device, Event
from lendsignal.plan import Planned, delivery_id

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW_US = to_us(NOW)


class Still:
    """A clock that stands."""

    replay = False

    def now_us(self) -> int:
        return NOW_US


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, where the commands are called."""
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    (tmp_path / "lendsignal.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(giving, "clock_at", lambda path: Still())
    return tmp_path


@pytest.fixture
def lender(here: Path) -> Path:
    """One loan whose two deliveries at the warehouse are dead and held, and whose third one waits."""
    folder = DataFolder(here / "data")
    with closing(open_log(folder.log)) as log, closing(open_deliveries(folder.deliveries)) as store:
        common: dict[str, Any] = {"brand": "acme", "user_id": "u1", "occurred_at": NOW, "received_at": NOW}
        device = Device(appsflyer_id="1700000000000-1000000", os_version="13")
        log.append(
            [
                Event(type="registered", event_id="r", app="acme-ng", device=device, **common),
                Event(type="disbursed", event_id="d", loan_id="L1", currency="NGN", **common),
            ]
        )
        decider = Decider(log, load(here / "lendsignal.toml").policy, Still(), lambda: None)
        while decider.turn():
            pass
        changes = Changes()
        for number, record in log.records(0, 100):
            assert isinstance(record, Planned)
            for place, entry in enumerate(record.entries):
                settle(changes, delivery_id(number, place), entry.destination, record.conversion.name)
        changes.position = log.last_record()
        store.commit(changes)
    return here


def settle(changes: Changes, number: int, destination: str, conversion: str) -> None:
    changes.add(destination, conversion, "planned")
    match (destination, conversion):
        case ("warehouse", "registration"):
            changes.add(destination, conversion, "dead", "http_422")
            changes.receipts.append(
                Receipt(number, destination, "dead", "http_422", 1, NOW_US, NOW_US, 422, b"no")
            )
            changes.dead.append(
                Dead(number, destination, conversion, NOW_US, "http_422", b"POST /in", b"\xff\x00")
            )
        case ("warehouse", _):
            changes.keep(Open(destination, number, Stage.HELD, NOW_US, first_us=NOW_US, reason="unknown"))
            changes.receipts.append(
                Receipt(number, destination, "held", "unknown: timeout", 1, NOW_US, NOW_US)
            )
        case _:
            changes.keep(Open(destination, number, Stage.WAITING, NOW_US))


def call(*words: str, code: int = 0, answer: str = "") -> Result:
    found = CliRunner().invoke(main, list(words), input=answer)
    assert found.exit_code == code, found.output
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def test_status_says_why_the_oldest_waits(lender: Path) -> None:
    changes = Changes()
    with closing(open_deliveries(DataFolder(lender / "data").deliveries)) as store:
        name, number = next(iter(store.first_open().items()))
        changes.keep(Open(name, number, Stage.PARKED, due_us=0, attempts=3, reason="platform_error"))
        store.commit(changes)
    told = call("status").output

    assert "the oldest was tried 3 times: platform_error; again now" in told


def as_json(*words: str, code: int = 0) -> Any:
    return json.loads(call(*words, "--json", code=code).stdout)


def given(here: Path) -> list[Given]:
    """The orders that stand, oldest first."""
    if not DataFolder(here / "data").orders.exists():
        return []
    with closing(open_orders(here / "data" / "orders.sqlite", read_only=True)) as orders:
        return sorted(orders.youngest(100), key=lambda one: one.number)


# words


@pytest.mark.parametrize(
    "words",
    [
        ("pause",),
        ("pause", "warehouse", "--all"),
        ("pause", "warehouse", "--reason", "x" * 81),
        ("pause", "warehouse", "--reason", "two\nlines"),
        ("resume",),
        ("cancel",),
        ("cancel", "--held", "--json"),
        ("cancel", "--from", "yesterday"),
        ("replay", "--json"),
        ("replay", "--state", "waiting"),
        ("replay", "--where", "colour=red"),
        ("replay", "--where", "reason="),
        ("replay", "--to", "2026-11-22T00:00:00"),
        ("dead", "release"),
        ("dead", "show", "0"),
    ],
    ids=" ".join,
)
def test_words_that_make_no_sense_end_with_2_and_order_nothing(lender: Path, words: tuple[str, ...]) -> None:
    found = call(*words, code=2)

    assert found.stdout == ""
    assert "rror: " in found.stderr
    assert given(lender) == []


@pytest.mark.parametrize(
    "words",
    [("pause", "warehose"), ("resume", "warehose"), ("replay", "--destination", "warehose", "--dry-run")],
    ids=" ".join,
)
def test_an_unknown_destination_is_answered_with_the_nearest(lender: Path, words: tuple[str, ...]) -> None:
    said = call(*words, code=2).stderr

    assert "there is no destination 'warehose'; known: appsflyer-ng, warehouse." in said
    assert "Did you mean 'warehouse'?" in said


def test_an_unknown_conversion_is_answered_with_the_nearest(lender: Path) -> None:
    said = call("dead", "list", "--conversion", "registraton", code=2).stderr

    assert "there is no conversion 'registraton'" in said
    assert "Did you mean 'registration'?" in said


@pytest.mark.parametrize(
    "words",
    [
        ("pause", "warehouse"),
        ("resume", "--all"),
        ("cancel", "--held", "--dry-run"),
        ("replay", "--dry-run"),
        ("dead", "list"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_without_a_data_folder_nothing_is_made(here: Path, words: tuple[str, ...]) -> None:
    found = call(*words, code=1)

    assert "there is no data folder at data: `lendsignal run` makes it" in found.stderr
    assert not (here / "data").exists()


# orders


def test_a_pause_stands_on_disk_with_who_and_when(lender: Path) -> None:
    said = call("pause", "warehouse", "appsflyer-ng", "warehouse", "--reason", "audit").stdout

    (order,) = given(lender)
    assert (order.order, order.at_us) == (Halt(("warehouse", "appsflyer-ng"), "audit"), NOW_US)
    assert order.who == giving.who()
    assert said == "the order stands; no sender runs now: it is carried out when one starts\n"


def test_a_pause_may_stand_before_the_first_start(here: Path) -> None:
    (here / "data").mkdir()
    found = as_json("pause", "--all")

    assert [one.order for one in given(here)] == [Halt((EVERY,), "by_hand")]
    assert (found["open"], found["sender_runs"]) == (1, False)


def test_a_user_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54321)

    assert giving.who() == "uid 54321"


def test_a_resume_says_what_stopped_it_and_since_when(lender: Path) -> None:
    with closing(open_deliveries(lender / "data" / "deliveries.sqlite")) as store:
        changes = Changes()
        changes.paused = {
            "warehouse": Pause(NOW_US, Stop.PLATFORM, "http_401"),
            "appsflyer-ng": Pause(NOW_US, Stop.BRAKE, "first_run"),
        }
        store.commit(changes)
    one, every = call("resume", "warehouse").stdout, as_json("resume", "--all")

    assert "warehouse: was paused by the platform's answer: http_401, since 2026-11-22 12:00:00 UTC" in one
    assert "appsflyer-ng" not in one
    assert {was["destination"]: was["by"] for was in every["was"]} == {
        "warehouse": "platform",
        "appsflyer-ng": "brake",
    }
    assert [order.order for order in given(lender)] == [LetGo(("warehouse",)), LetGo((EVERY,))]


def test_a_sender_that_does_not_obey_is_told_and_the_code_is_1(
    lender: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_giving, "PATIENCE_SECONDS", 0.0)
    with DataFolder(lender / "data").lock("send"):
        said = call("pause", "warehouse", code=1).stdout

    assert "the sender has not carried it out" in said
    assert len(given(lender)) == 1


def test_a_cancel_reaches_what_waits_and_what_is_held(lender: Path) -> None:
    counted = as_json("cancel", "--from", "1h", "--dry-run")
    before = given(lender)
    call("cancel", "--destination", "warehouse", "--yes")

    assert {(one["destination"], one["state"]): one["n"] for one in counted["counts"]} == {
        ("appsflyer-ng", "waiting"): 1,
        ("warehouse", "held"): 1,
    }
    assert before == []
    (order,) = given(lender)
    assert isinstance(order.order, Cancel)
    assert (order.order.destination, len(order.order.deliveries)) == ("warehouse", 1)


def test_a_replay_counts_asks_and_changes_nothing_on_a_no(lender: Path) -> None:
    found = call("replay", "--state", "dead", "--state", "held", code=1, answer="n\n")

    assert "           1  warehouse                dead      registration         http_422" in found.stdout
    assert "           2  in all" in found.stdout
    assert "warehouse: held ones are told apart by their ids" in found.stdout or (
        "warehouse: held ones may be counted twice" in found.stdout
    )
    assert "Send 2 deliveries again?" in found.stderr
    assert given(lender) == []


def test_what_is_older_than_the_window_is_counted_apart(
    lender: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lender / "lendsignal.toml"
    config.write_text(config.read_text().replace("per_second = 5000", 'max_age = "1h"'))
    monkeypatch.setattr(Still, "now_us", lambda self: NOW_US + 3_600_000_000)
    found = as_json("replay", "--dry-run")
    said = call("replay", "--yes", code=1)

    assert (found["chosen"], found["left_out"]) == (0, {"too_old": 1})
    assert "1  left out: too old for the destination now" in said.stdout
    assert "nothing is chosen" in said.stderr


def test_nothing_that_matches_is_an_error_but_for_a_count(lender: Path) -> None:
    words = ("replay", "--to", "2026-01-01T00:00:00Z")

    assert as_json(*words, "--dry-run")["chosen"] == 0
    assert "nothing is chosen" in call(*words, "--yes", code=1).stderr


# dead


def test_the_dead_are_counted_and_shown_whole(lender: Path) -> None:
    found = as_json("dead", "list")
    (one,) = found["deliveries"]
    shown = as_json("dead", "show", str(one["id"]))
    text = call("dead", "show", str(one["id"])).stdout

    assert found["counts"] == [
        {"destination": "warehouse", "conversion": "registration", "reason": "http_422", "n": 1}
    ]
    assert (shown["request"], shown["answer"]) == ("POST /in", "/wA=")
    assert [(attempt["what"], attempt["status"]) for attempt in shown["tries"]] == [("dead", 422)]
    assert "dead since 2026-11-22 12:00:00 UTC: http_422" in text
    assert call("dead", "list", "--where", "reason=other").stdout == "none is dead\n"


def test_only_the_dead_can_be_shown_and_released(lender: Path) -> None:
    held = next(one["id"] for one in [*open_held(lender)])

    assert f"{held} is not dead: it is held" in call("dead", "show", str(held), code=1).stderr
    assert f"not dead: {held}; nothing was changed" in call("dead", "release", str(held), code=1).stderr
    assert given(lender) == []


def open_held(here: Path) -> Iterator[dict[str, int]]:
    with closing(open_deliveries(here / "data" / "deliveries.sqlite", read_only=True)) as store:
        yield from ({"id": one.id} for one in store.open("warehouse", 0, 10, Stage.HELD))


# doctor


def findings(code: int = 1) -> dict[tuple[str, str], str]:
    """What the doctor found, by check and level."""
    found = as_json("doctor", code=code)["findings"]
    return {(one["check"], one["level"]): one["found"] for one in found}


def test_the_doctor_says_who_does_not_run(lender: Path) -> None:
    found = findings()

    assert ("processes", "act") in found
    assert found["files", "ok"].startswith("deliveries.sqlite is whole")
    assert found["held", "act"].startswith("warehouse holds 1 that may have arrived, 1 of them")
    assert found["dead", "look"] == "warehouse has 1 dead"


def test_a_damaged_file_is_found_and_hides_nothing_else(lender: Path) -> None:
    path = lender / "data" / "deliveries.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    said = [one["found"] for one in as_json("doctor", code=1)["findings"] if one["check"] == "files"]
    found = findings()

    assert any(one.startswith("deliveries.sqlite: ") for one in said)
    assert any(one.startswith("log.sqlite is whole") for one in said)
    assert ("disk", "ok") in found or ("disk", "look") in found
    assert ("processes", "act") in found


@pytest.mark.parametrize(("free", "level"), [(900_000_000, "act"), (4_000_000_000, "look"), (9e12, "ok")])
def test_the_room_on_the_disk_is_judged(
    lender: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": free}))

    assert ("disk", level) in findings()


def test_a_clock_that_went_back_is_found(lender: Path) -> None:
    ahead = os.path.getmtime(lender / "data" / "log.sqlite") + 7_200
    os.utime(lender / "data" / "log.sqlite", (ahead, ahead))

    assert findings()["clock", "act"].endswith("s behind what was written last")


def test_a_destination_with_another_name_is_recognised(lender: Path) -> None:
    config = lender / "lendsignal.toml"
    config.write_text(config.read_text().replace("warehouse", "warehouse-2"))
    found = next(one for one in as_json("doctor", code=1)["findings"] if one["check"] == "destinations")

    assert found["found"] == "1 deliveries wait for warehouse, which is not configured"
    assert '[destination.warehouse-2] formerly = ["warehouse"]' in found["do"]


def test_what_the_platform_stopped_wants_a_person(lender: Path) -> None:
    with closing(open_deliveries(lender / "data" / "deliveries.sqlite")) as store:
        changes = Changes()
        changes.paused = {"warehouse": Pause(NOW_US, Stop.PLATFORM, "http_401")}
        store.commit(changes)

    assert "warehouse is paused by the platform's answer: http_401" in findings()["paused", "act"]


def test_a_lag_is_said_in_time(lender: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_log(lender / "data" / "log.sqlite")) as log:
        log.append(
            [
                Event(
                    type="registered",
                    event_id="late",
                    brand="acme",
                    user_id="u2",
                    occurred_at=NOW,
                    received_at=NOW,
                )
            ]
        )
    monkeypatch.setattr(Still, "now_us", lambda self: NOW_US + 600_000_000)

    assert (
        findings()["lag", "act"] == "decide is 10m behind: 1 of 4 events are not decided"
    )  # one is the policy


def test_a_folder_in_which_no_sender_has_run_is_no_riddle(here: Path) -> None:
    open_log(DataFolder(here / "data").log).close()

    assert findings()["destinations", "look"] == "no sender has run here yet"


def test_a_configuration_that_cannot_be_used_is_a_finding_and_code_2(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACME_S2S")
    found = findings(code=2)

    assert "ACME_S2S is not set" in found["configuration", "act"]


def test_people_are_told_what_to_do(lender: Path) -> None:
    said = call("doctor", "--skip-files", code=1).stdout

    assert "act  processes      core does not run: nobody takes events" in said
    assert "lendsignal run" in said
    assert "is whole" not in said
