"""A user is erased over HTTP while the service works and the job is killed: lost is nobody else's, left is
nothing of the user's."""

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tests.running import (
    ENVIRONMENT,
    BackEnd,
    Service,
    borrowing,
    call,
    drawn_seed,
    service,
    until,
)

from lendsignal.erase.places import scrubbed
from lendsignal.log import DataFolder, open_deliveries

OFFICE = """
[source.office]
scopes = ["admin"]
"""

WHATS = ("planned", "accepted", "dead", "skipped", "cancelled")
MARKS = (b"gone-4", b"1700000000004-1000004")


def key_of(one: Service, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lendsignal", "keys", "new", *words, "--config", "lendsignal.toml", "--json"],
        cwd=one.folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: str = json.loads(done.stdout)["key"]
    return found


def test_a_user_is_erased_while_the_service_works_and_the_job_is_killed(tmp_path: Path) -> None:
    chance = random.Random(drawn_seed())
    with service(tmp_path, start=False) as (one, stand):
        with (one.folder / "lendsignal.toml").open("a") as config:
            config.write(OFFICE)
        one.start()
        key = key_of(one, "office", "--scope", "admin")
        back_end = BackEnd(one)
        for n in range(8):
            back_end.send(borrowing(n, prefix="gone-" if n == 4 else "stays-"))
        one.idle()

        def asked(key: str) -> tuple[int, dict[str, Any]]:
            bearer = f"Bearer {key}"
            path = "/v1/users/gone-4?brand=acme"
            status, _, body = call(one.address, "DELETE", path, Authorization=bearer)
            return status, json.loads(body)

        until(lambda: asked(key)[0] == 202, "the new key is good")
        backend = call(one.address, "DELETE", "/v1/users/stays-1?brand=acme")
        assert backend[0] == 403, "the back end's own key may not"
        assert asked(key)[1]["receipt"], "asked for twice it is one erasure"
        receipt = asked(key)[1]["receipt"]

        def shown() -> dict[str, Any]:
            path = f"/v1/erasures/{receipt}"
            answer = call(one.address, "GET", path, Authorization=f"Bearer {key}")[2]
            found: dict[str, Any] = json.loads(answer)
            return found

        for _ in range(3):
            job = until(lambda: one.pid("erase") or shown()["ended"], "the job is at it")
            if isinstance(job, int):
                until(lambda: chance.random() < 0.2, "a moment passes")
                with suppress(ProcessLookupError):
                    os.kill(job, signal.SIGKILL)
        until(lambda: shown()["ended"], "the erasure has ended")

        again = json.dumps(borrowing(4, prefix="gone-")[1]).encode()
        until(lambda: call(one.address, "POST", "/v1/events", again)[0] == 422, "the door knows")
        refused = json.loads(call(one.address, "POST", "/v1/events", again)[2])
        assert refused["field"] == "user_id"
        assert refused["detail"].startswith("erased")
        back_end.send(borrowing(9, prefix="stays-"))
        one.idle()
        assert "gone-4" not in one.said
        assert sum(stand.ids("warehouse").values()) == 9 * 2, "what was told before stays told"
        one.stop()

        scrubbed(DataFolder(one.data))
        left = [
            f"{path.name}: {mark!r}"
            for path in one.data.rglob("*")
            if path.is_file()
            for mark in MARKS
            if mark in path.read_bytes()
        ]
        with closing(open_deliveries(one.data / "deliveries.sqlite", read_only=True)) as store:
            tally = store.tally()
    assert left == []
    for name in ("appsflyer-ng", "warehouse"):
        ended = {
            what: sum(n for one, n in tally.items() if one[0] == name and one[2] == what) for what in WHATS
        }
        assert ended["planned"] == sum(ended[what] for what in WHATS[1:]) > 0
