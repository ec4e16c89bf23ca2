"""The real service and the real sandboxes as processes, and a back end that sends them events."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tests.lender_file import ACME

from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.plan import Corrected, Planned, Rebound, record_of
from lendsignal.replay import accepted_ids

PATIENCE = 60.0
"""Seconds after which a scenario that waits for something has failed."""

KEY = "ls_made-up-key-of-the-back-end"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
S2S_TOKEN = "made-up-s2s-token"
ACCOUNTS = {
    "appsflyer-ng": ("appsflyer", "com.acme.loans"),
    "warehouse": ("webhook", "hooks.acme.example"),
}
"""The platform and account that the sandbox knows each destination by."""

CONFIG = (
    ACME
    + """
[source.backend]
key = {{ env = "ACME_KEY" }}

[resolve]
settle = "0s"

[door]
port = {door}

[web]
port = {web}
open = true

[deliver]
sandbox       = "{sandbox}"
first_retry   = "50ms"
longest_retry = "500ms"
probe_after   = "200ms"
{deliver}

[destination.appsflyer-ng]
kind  = "appsflyer"
app   = "acme-ng"
token = {{ env = "ACME_S2S" }}
{outlet}

[destination.warehouse]
kind       = "webhook"
app        = "acme-ng"
url        = "https://hooks.acme.example/in"
secret     = {{ env = "ACME_HOOK" }}
per_second = 5000
{outlet}

[[route]]
to   = "appsflyer-ng"
send = {{ disbursement = "ev_ln" }}

[[route]]
to   = "warehouse"
send = {{ disbursement = "ev_ln", registration = "ev_r" }}
"""
)

ENVIRONMENT = {"ACME_KEY": KEY, "ACME_S2S": S2S_TOKEN, "ACME_HOOK": WEBHOOK_SECRET}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def until(true: Callable[[], Any], what: str = "") -> Any:
    """What `true` gives once that is something; fails after a time that no honest machine needs."""
    breath = threading.Event()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        breath.wait(0.02)
    raise AssertionError(f"never so: {what or true}")


def call(
    address: str,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    timeout: float = 20,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection of its own: status, headers in lower case, body."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=timeout)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Authorization": f"Bearer {KEY}", **named})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read()
    finally:
        connection.close()


class Stand:
    """The sandboxes, as a process."""

    def __init__(
        self,
        folder: Path,
        *,
        latency_ms: int = 0,
        more: Mapping[str, Any] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        settings = {
            "latency_ms": latency_ms,
            "appsflyer": {"com.acme.loans": S2S_TOKEN},
            "webhooks": {"hooks.acme.example": WEBHOOK_SECRET},
            **(more or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "accounts.json").write_text(json.dumps(settings))
        words = ["--settings", "accounts.json", "--host", host, "--port", "0", "--folder", "received"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lendsignal.sandbox", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[-1]

    def look(self, path: str) -> Any:
        """A page of the sandbox's own."""
        return json.loads(call(self.address, "GET", f"/_sandbox/{path}")[2])

    def faults(self, *script: Mapping[str, Any]) -> None:
        """What goes wrong from now on."""
        status, _, body = call(self.address, "POST", "/_sandbox/faults", json.dumps(script).encode())
        assert status == 200, body

    def ids(self, destination: str) -> dict[str, int]:
        """Each conversion id that a destination's account took, with how often."""
        platform, account = ACCOUNTS[destination]
        found: dict[str, int] = self.look(f"ids?platform={platform}&account={account}")
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Service:
    """`lendsignal run` over a folder; what it says is in `said`."""

    def __init__(
        self, folder: Path, sandbox: str, *, outlet: str = "", deliver: str = "", front: str = ""
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.web_port = free_port(), free_port()
        text = CONFIG.format(
            door=self.port, web=self.web_port, sandbox=sandbox, outlet=outlet, deliver=deliver
        ).replace("[door]\n", f"[door]\n{front}\n")
        (folder / "lendsignal.toml").write_text(text)
        self.address, self.pages = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.web_port}"
        self.data = folder / "data"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str, wait: bool = True) -> "Service":
        """Starts it, and waits until it takes events."""
        command = [sys.executable, "-m", "lendsignal", *words, "run", "--config", "lendsignal.toml"]
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        if wait:
            self.ready()
        return self

    def ready(self) -> None:
        """Returns when `/readyz` says so."""
        until(self._is_ready, "the service is ready")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said
        try:
            return call(self.address, "GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def said(self) -> str:
        """Everything on standard output and standard error."""
        return (self.folder / "said").read_text()

    def pid(self, role: str) -> int | None:
        """The process that has a role, while it lives."""
        try:
            number = int((self.data / f"{role}.lock").read_text() or 0)
            if number and not _is_gone(number):
                return number
        except (OSError, ValueError):
            pass
        return None

    def kill(self, role: str) -> int:
        """`kill -9` for the process with a role."""
        number: int = until(lambda: self.pid(role), f"{role} lives")
        os.kill(number, signal.SIGKILL)
        return number

    def status(self) -> dict[str, Any]:
        """How far it is."""
        found: dict[str, Any] = json.loads(call(self.address, "GET", "/v1/status")[2])
        return found

    def idle(self) -> dict[str, Any]:
        """Returns when nothing is left to do."""

        def state() -> dict[str, Any] | None:
            try:
                found = self.status()
            except (OSError, http.client.HTTPException, ValueError):
                return None
            return found if found.get("idle") and not any(_open(found).values()) else None

        found: dict[str, Any] = until(state, "the service is idle")
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal; the exit code."""
        assert self.process is not None
        pids = [pid for role in ("core", "door", "send", "web") if (pid := self.pid(role))]
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        until(lambda: all(_is_gone(pid) for pid in pids), "the children are gone")
        self.process = None
        return code

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()


def _open(status: Mapping[str, Any]) -> dict[str, int]:
    """Deliveries that wait or are on their way, by destination; held ones wait for a person."""
    waiting: dict[str, dict[str, int]] = status["waiting"]
    return {name: stages.get("waiting", 0) + stages.get("claimed", 0) for name, stages in waiting.items()}


def _is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@contextmanager
def service(
    folder: Path, *, start: bool = True, latency_ms: int = 0, **settings: str
) -> Iterator[tuple[Service, Stand]]:
    """The service and the sandboxes, while the block runs."""
    stand = Stand(folder / "sandbox", latency_ms=latency_ms)
    one = Service(folder / "service", stand.address, **settings)
    try:
        if start:
            one.start()
        yield one, stand
    finally:
        one.close()
        stand.close()


class Addressed(Protocol):
    """Whatever has a door."""

    address: str


class BackEnd:
    """Sends batches of events and repeats what was not acknowledged, as a lender's outbox does."""

    def __init__(self, service: Addressed) -> None:
        self._service = service
        self.acknowledged: list[str] = []
        self.repeated = 0

    def send(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Returns when the events are acknowledged, however often the service dies meanwhile."""
        body = json.dumps(events).encode()
        end = time.monotonic() + PATIENCE
        breath = threading.Event()
        while True:
            try:
                status, _, answer = call(self._service.address, "POST", "/v1/events", body, timeout=10)
                if status == 202:
                    found = json.loads(answer)
                    assert found["refused"] == 0, answer
                    self.acknowledged += [one["event_id"] for one in found["results"]]
                    return
                assert status in (429, 503), answer
            except (OSError, http.client.HTTPException):
                pass
            assert time.monotonic() < end, "the service does not come back"
            self.repeated += 1
            breath.wait(0.05)


def borrowing(number: int, *, prefix: str = "u") -> list[dict[str, Any]]:
    """A user registers on a phone of his own and gets a loan: two events, three deliveries."""
    user, now = f"{prefix}{number}", datetime.now(UTC).isoformat()
    ids = {"appsflyer_id": f"{1_700_000_000_000 + number}-{1_000_000 + number}", "os_version": "13"}
    common = {"brand": "acme", "user_id": user, "occurred_at": now}
    return [
        {**common, "event_id": f"r-{user}", "type": "registered", "app": "acme-ng", "device": ids},
        {
            **common,
            "event_id": f"d-{user}",
            "type": "disbursed",
            "loan_id": f"L-{user}",
            "amount": "25000",
            "fee": "1500",
            "currency": "NGN",
        },
    ]


class Ledger:
    """What stands on disk once the service has ended, by conversion id and destination."""

    def __init__(self, data: Path) -> None:
        folder = DataFolder(data)
        log = open_log(folder.log, read_only=True)
        # Made here where no sender ever ran, as after an import.
        deliveries = open_deliveries(folder.deliveries)
        try:
            self.events = [
                fact.event.event_id for fact in log.scan() if not fact.event.type.startswith("lend")
            ]
            self.decided = log.position() >= log.end()
            self.verdicts = {name: n for (what, name), n in log.tally().items() if what == "verdict"}
            self.planned: dict[str, list[str]] = {}
            conversions: dict[int, str] = {}
            for number, record in _records(log):
                if isinstance(record, (Planned, Rebound)):
                    conversions[number] = record.conversion.id
                    for entry in record.entries:
                        if entry.skip is None:
                            self.planned.setdefault(entry.destination, []).append(record.conversion.id)
                elif isinstance(record, Corrected):
                    conversions[number] = f"{record.conversion.id} corrected"
            # A destination of which nothing was accepted (yet, or any more) has an empty set.
            self.accepted = defaultdict(
                set, accepted_ids(deliveries, lambda one: conversions[record_of(one)[0]])
            )
            self.tally = deliveries.tally()
            self.waiting = deliveries.waiting()
        finally:
            deliveries.close()
            log.close()

    def count(self, destination: str, what: str) -> int:
        """How many deliveries came to that."""
        return sum(n for (name, _, kind, _), n in self.tally.items() if (name, kind) == (destination, what))

    def held(self, destination: str) -> int:
        """How many are held for a person."""
        return self.waiting.get(destination, {}).get("held", 0)

    def balances(self, destination: str) -> bool:
        """Whether what was planned is accounted for."""
        ends = sum(self.count(destination, what) for what in ("accepted", "dead", "skipped", "cancelled"))
        return self.count(destination, "planned") == ends + sum(self.waiting.get(destination, {}).values())


def _records(log: Any) -> Iterator[tuple[int, Any]]:
    after = 0
    while found := log.records(after, 5_000):
        yield from found
        after = found[-1][0]


def drawn_seed() -> int:
    """A seed of this run, printed so that a failure can be had again with $LENDSIGNAL_SEED."""
    seed = int(os.environ.get("LENDSIGNAL_SEED", random.SystemRandom().randrange(2**31)))
    print(f"LENDSIGNAL_SEED={seed}")
    return seed
