"""The service as bare processes, the sandboxes it sends to, and back ends that never give up."""

import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

from tests.crash.judge import Moment
from tests.crash.unsynced import Disk
from tests.lender_file import ACME
from tests.running import KEY, WEBHOOK_SECRET, call, free_port, until

from lendsignal.destination import webhook
from lendsignal.log import DataFolder, Stage, open_deliveries

ROOT = Path(__file__).parents[2]
POLICIES: Mapping[str, Literal["hold", "retry"]] = {"holds": "hold", "retries": "retry"}
"""Each destination with what it does after a request that was never answered."""

SYNCING = "syncing"
"""The point where everything is written and nothing of it is safe; there is one only over a `Disk`."""

HAS_LANES = "ordered_by" in webhook.Settings.__struct_fields__
"""Whether a webhook can be told to keep the order of each user."""

CONFIG = (
    ACME
    + """
[source.backend]
key = {{ env = "ACME_KEY" }}

[resolve]
settle = "0s"

[door]
port = {port}

[deliver]
sandbox       = "{sandbox}"
first_retry   = "50ms"
longest_retry = "500ms"
probe_after   = "200ms"

[destination.holds]
kind       = "webhook"
app        = "acme-ng"
url        = "https://holds.acme.example/in"
secret     = {{ env = "ACME_HOOK" }}
per_second = 5000
on_unknown = {{ hold = "7d" }}
{ordered}

[destination.retries]
kind       = "webhook"
app        = "acme-ng"
url        = "https://retries.acme.example/in"
secret     = {{ env = "ACME_HOOK" }}
per_second = 5000
on_unknown = {{ retry = 1000 }}
{ordered}

[[route]]
to   = "holds"
send = {{ registration = "ev_r", disbursement = "ev_ln" }}

[[route]]
to   = "retries"
send = {{ registration = "ev_r", disbursement = "ev_ln" }}
"""
)


class Sandboxes:
    """The stand-ins as a process that nobody kills; they count what truly arrived."""

    def __init__(self, folder: Path, *, latency_ms: int) -> None:
        folder.mkdir(parents=True)
        hosts = {f"{name}.acme.example": WEBHOOK_SECRET for name in POLICIES}
        (folder / "accounts.json").write_text(json.dumps({"latency_ms": latency_ms, "webhooks": hosts}))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lendsignal.sandbox", "--settings", "accounts.json", "--port", "0"],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[-1]

    def received(self, destination: str) -> list[str]:
        """The conversion ids that a destination's account took, in the order of arrival."""
        found: list[str] = []
        after: int | None = 0
        while after is not None:
            page = self._look(f"received?account={destination}.acme.example&limit=10000&after={after}")
            found += [one["conversion_id"] for one in page["items"]]
            after = page["next"]
        return found

    def refused(self) -> list[dict[str, Any]]:
        """What was sent wrongly."""
        items: list[dict[str, Any]] = self._look("refused")["items"]
        return items

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _look(self, path: str) -> Any:
        status, _, body = call(self.address, "GET", f"/_sandbox/{path}", timeout=60)
        assert status == 200, body
        return json.loads(body)


class House:
    """The roles `core` and `send` over one data folder, each a process that may die at any moment.

    No supervisor stands between: its pauses between restarts would be most of the time. With a `disk` the
    processes run over the shim that knows what was synced.
    """

    def __init__(self, folder: Path, sandbox: str, *, ordered: bool, fold_at: int = 0) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.disk: Disk | None = None
        self._fold_at = fold_at
        lane = 'ordered_by = "user"' if ordered else ""
        text = CONFIG.format(port=self.port, sandbox=sandbox, ordered=lane)
        (folder / "lendsignal.toml").write_text(text)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, role: str, die_at: str | None = None) -> None:
        """Starts a role that is not there, with a point to die at where one is given.

        `syncing:N` is a point of the disk's, as its N-th sync begins; the others are of `role_that_dies`.
        """
        at_disk = die_at is not None and die_at.startswith(f"{SYNCING}:")
        words = [] if die_at is None or at_disk else ["--die-at", die_at]
        if self._fold_at:
            words += ["--fold-at", str(self._fold_at)]
        with (self.folder / "said").open("ab") as said:
            self._children[role] = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.crash.role_that_dies", *words,
                    role, "--config", "lendsignal.toml",
                ],
                cwd=self.folder,
                env={
                    **os.environ,
                    **({} if self.disk is None else self.disk.environment),
                    **({"UNSYNCED_DIE_AT": die_at.partition(":")[2]} if die_at and at_disk else {}),
                    "ACME_KEY": KEY,
                    "ACME_HOOK": WEBHOOK_SECRET,
                    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
                },
                stdin=subprocess.PIPE,  # a role ends when whoever started it is gone
                stdout=said,
                stderr=said,
                start_new_session=True,
            )  # fmt: skip

    def is_dead(self, role: str) -> bool:
        """Whether a role was killed; AssertionError where it ended in any other way."""
        child = self._children[role]
        code = child.poll()
        if code is None:
            return False
        self._let_go(role)
        assert code == -signal.SIGKILL, f"{role} ended with {code}: {self.said()}"
        return True

    def kill(self, *roles: str) -> None:
        """`kill -9`, at once for all of them; returns when they are gone."""
        for role in roles:
            self._children[role].kill()
        for role in roles:
            self._let_go(role)

    def stop(self, *roles: str) -> None:
        """Ends roles in good order."""
        for role in roles:
            self._children[role].terminate()
        for role in roles:
            self._let_go(role)

    def claimed(self) -> dict[str, set[tuple[int, int]]]:
        """By destination what the sender had in flight when it died: (delivery, earlier unknown ends).

        A delivery that no later start has settled is found again as the same pair.
        """
        if not DataFolder(self.data).deliveries.exists():
            return {}
        deliveries = open_deliveries(DataFolder(self.data).deliveries)
        try:
            return {
                name: {(one.id, one.unknown) for one in deliveries.open(name, 0, 100_000, Stage.CLAIMED)}
                for name in deliveries.destinations()
            }
        finally:
            deliveries.close()

    def idle(self, patience: float) -> None:
        """Returns when nothing is left to do; held deliveries wait for a person."""
        end = time.monotonic() + patience
        breath = threading.Event()
        while time.monotonic() < end:
            for role in self._children:
                assert not self.is_dead(role), self.said()
            try:
                found = json.loads(call(self.address, "GET", "/v1/status")[2])
                waiting = [
                    n for stages in found["waiting"].values() for at, n in stages.items() if at != "held"
                ]
                if found["idle"] and not sum(waiting):
                    return
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                pass
            breath.wait(0.1)
        raise AssertionError(f"not idle after {patience:.0f} s: {self.said()}")

    def ready(self) -> None:
        """Returns when the door answers."""
        until(self._answers, "the door answers")

    def said(self) -> str:
        """The last of what the roles wrote."""
        return (self.folder / "said").read_text()[-2_000:]

    def close(self) -> None:
        """Leaves no process behind."""
        self.kill(*self._children)

    def _answers(self) -> bool:
        try:
            return call(self.address, "GET", "/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _let_go(self, role: str) -> None:
        child = self._children[role]
        child.wait(60)
        if child.stdin is not None:
            child.stdin.close()


class BackEnd(threading.Thread):
    """A lender's outbox: posts events in the order they occurred, each again until it is answered 202.

    It has a few users at a time; each registers and then borrows, again and again.
    """

    USERS = 40
    LOANS = 12
    AT_ONCE = 8

    def __init__(self, name: str, house: House, per_second: float) -> None:
        super().__init__(name=name, daemon=True)
        self._house = house
        self._pause = self.AT_ONCE / per_second
        self._over = threading.Event()
        self._abandoned = threading.Event()
        self._serial = itertools.count()
        self._users = [self._user() for _ in range(self.USERS)]
        self._connection = http.client.HTTPConnection(house.address, timeout=10)
        self.acknowledged: set[str] = set()
        self.moments: dict[str, Moment] = {}
        self.repeated = 0
        self.problem: str | None = None

    def run(self) -> None:
        due = time.monotonic()
        for turn in itertools.count():
            first = turn * self.AT_ONCE % self.USERS
            events = [self._next(place) for place in range(first, first + self.AT_ONCE)]
            if not self._post(events):
                break
            due = max(due + self._pause, time.monotonic())
            if self._over.wait(max(0.0, due - time.monotonic())):
                break
        self._connection.close()

    def finish(self) -> None:
        """Returns when what was begun is acknowledged and no more is sent."""
        self._over.set()
        self.join(60)
        assert not self.is_alive()
        assert self.problem is None, self.problem

    def abandon(self) -> None:
        """Stops where it stands."""
        self._over.set()
        self._abandoned.set()

    def _user(self) -> tuple[str, int]:
        return f"{self.name}-{next(self._serial)}", 0

    def _next(self, place: int) -> dict[str, Any]:
        user, number = self._users[place]
        self._users[place] = (user, number + 1) if number < self.LOANS else self._user()
        name = f"{user}-e{number}"
        self.moments[name] = Moment(user, number)
        event = {
            "event_id": name,
            "brand": "acme",
            "user_id": user,
            "occurred_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        if number == 0:
            number = crc32(user.encode())
            device = {"appsflyer_id": f"1700000000000-{number:010d}", "os_version": "13"}
            return {**event, "type": "registered", "app": "acme-ng", "device": device}
        loan = {"loan_id": f"L-{user}-{number}", "amount": "25000", "fee": "1500", "currency": "NGN"}
        return {**event, "type": "disbursed", "loan_number": number, **loan}

    def _post(self, events: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the events were acknowledged, however often the service died meanwhile."""
        body = json.dumps(events).encode()
        end = time.monotonic() + 60
        headers = {"Authorization": f"Bearer {KEY}"}
        while time.monotonic() < end and not self._abandoned.is_set():
            try:
                self._connection.request("POST", "/v1/events", body, headers)
                response = self._connection.getresponse()
                answer = response.read()
                if response.status == 202 and json.loads(answer)["refused"] == 0:
                    self.acknowledged.update(event["event_id"] for event in events)
                    return True
                if response.status not in (429, 503):
                    self.problem = f"{response.status}: {answer[:300]!r}"
                    return False
            except (OSError, http.client.HTTPException):
                self._connection.close()
            self.repeated += 1
            self._abandoned.wait(0.02)
        self.problem = "the service does not come back"
        return False
