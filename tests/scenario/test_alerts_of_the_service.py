"""The running service tells a real sink that something stopped, once, also across a restart, and its end."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.running import ENVIRONMENT, BackEnd, Service, Stand, borrowing, service, until
from tests.scripted import Platform, platform, says

from lendsignal.log import DataFolder, open_log
from lendsignal.model import Event, EventType

TARGET = """
[health]
every = "1s"
calm  = "2s"

[alert.ops]
kind          = "webhook"
url           = { file = "alerts.url" }
secret        = { env = "ACME_HOOK" }
only          = ["silent", "paused"]
allow_http    = true
allow_private = true
"""


@pytest.fixture
def sink() -> Iterator[Platform]:
    with platform(says(204)) as one:
        yield one


def typed(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in the service's folder."""
    return subprocess.run(
        [sys.executable, "-m", "lendsignal", *words],
        cwd=service.folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(sink: Platform) -> list[tuple[str, str]]:
    found = [json.loads(came.body) for came in sink.came]
    return [(one["type"], one["data"]["key"]) for one in found]


def a_month_of_applications(data: Path, until_: datetime) -> None:
    """An application every three minutes, until that moment."""
    with closing(open_log(DataFolder(data).log)) as log:
        for day in range(30, 0, -1):
            begin = until_ - timedelta(days=day)
            log.append(
                [
                    Event(
                        type=EventType.APPLIED,
                        brand="acme",
                        user_id=f"u{day}-{n}",
                        application_id=f"a{day}-{n}",
                        event_id=f"e{day}-{n}",
                        occurred_at=begin + timedelta(minutes=3 * n),
                        received_at=begin + timedelta(minutes=3 * n, seconds=1),
                    )
                    for n in range(480)
                ]
            )


def test_a_platform_that_refuses_and_a_back_end_that_stopped_are_told_and_their_end(
    tmp_path: Path, sink: Platform
) -> None:
    stand = Stand(tmp_path / "stand")
    one = Service(tmp_path / "service", stand.address)
    try:
        file = one.folder / "lendsignal.toml"
        file.write_text(file.read_text() + TARGET)
        (one.folder / "alerts.url").write_text(f"{sink.url}/alerts")
        a_month_of_applications(one.data, datetime.now(UTC) - timedelta(hours=2))
        one.start()
        until(lambda: ("alert.open", "silent event acme-ng applied") in told(sink), "silence is told")

        paused = typed(one, "pause", "warehouse")
        assert paused.returncode == 0, paused.stderr
        until(lambda: ("alert.open", "paused warehouse") in told(sink), "the pause is told")
        one.stop()
        one.start()
        listed = json.loads(typed(one, "alerts", "list", "--json").stdout)
        assert {"paused warehouse", "silent event acme-ng applied"} <= {
            alarm["key"] for alarm in listed["alarms"]
        }
        assert typed(one, "resume", "warehouse").returncode == 0
        until(lambda: ("alert.well", "paused warehouse") in told(sink), "the end is told")
        assert one.stop() == 0
    finally:
        one.close()
        stand.close()

    opened = [key for kind, key in told(sink) if kind == "alert.open"]
    assert sorted(opened) == sorted(set(opened))
    assert not [kind for kind, _ in told(sink) if kind == "alert.again"]


def test_what_was_taken_and_how_long_it_waited_is_in_the_health_report(tmp_path: Path) -> None:
    with service(tmp_path, start=False) as (one, _):
        file = one.folder / "lendsignal.toml"
        file.write_text(file.read_text() + '[health]\nevery = "1s"\n')
        one.start()
        until((one.data / "alerts.sqlite").exists, "somebody looks")
        until(lambda: _tables(one), "the first look is over")
        back_end = BackEnd(one)
        for number in range(20):
            back_end.send(borrowing(number))
        one.idle()

        def counted() -> dict[tuple[str, str], int]:
            rows = _tables(one).get("delays", {}).get("rows", [])
            return {(row["stage"], row["name"]): row["n"] for row in rows}

        until(lambda: counted().get(("queue", "warehouse"), 0) == 40, "all is counted")
        delays = counted()
        assert one.stop() == 0

    # Each of the twenty registers and borrows: both go to the warehouse, the loan to AppsFlyer, too.
    assert delays["queue", "appsflyer-ng"] == 20
    assert delays["arrival", "acme-ng"] == 20 * len(borrowing(0))


def _tables(one: Service) -> dict[str, Any]:
    found = typed(one, "alerts", "health", "--json")
    tables: dict[str, Any] = json.loads(found.stdout)["tables"] if found.returncode == 0 else {}
    return tables
