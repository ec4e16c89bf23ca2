"""The service under measure: real processes in a folder of their own, with a bare sink for the platforms."""

import asyncio
import http.client
import multiprocessing
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import apsw
import msgspec
import uvloop
from msgspec import Struct

from lendsignal import config as configuration
from lendsignal.bench.machine import cpu_seconds, rss_mib, together_mib
from lendsignal.bench.made_up import logins, requests
from lendsignal.bench.wire import Load, Received, serve_sink
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.errors import LendsignalError
from lendsignal.log import DataFolder
from lendsignal.role import door_of, listens
from lendsignal.role.standing import status
from lendsignal.run import Supervisor

EVERY_ROLE = ("core", "send", "web")

CONFIG = """
[portfolio]
name = "bench"
[brand.bench]
[app.bench]
brand = "bench"
platform = "android"
bundle = "com.bench.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
[source.load]
key = { env = "LENDSIGNAL_BENCH_KEY" }
[door]
port = 0
[web]
open = true
port = 0
[resolve]
settle = "0s"
[deliver]
sandbox = "SINK"
[deliver.brakes]
volume_from = 1000000000
"""
"""Settle 0, fsync on, a free port; no brake holds what a bench sends."""

DESTINATIONS = (
    """
[destination.NAME]
kind = "appsflyer"
app = "bench"
token = { env = "LENDSIGNAL_BENCH_KEY" }
per_second = 1000000.0
concurrency = 256
[[route]]
to = "NAME"
send = { disbursement = "ev_ln" }
value = { disbursement = "principal" }
""",
    """
[destination.NAME]
kind = "ga4"
app = "bench"
api_secret = { env = "LENDSIGNAL_BENCH_KEY" }
firebase_app_id = "1:1234567890:android:0a1b2c3d4e5f6a7b"
per_second = 1000000.0
concurrency = 256
timeout = "3s"
[[route]]
to = "NAME"
send = { disbursement = "ev_ln" }
value = { disbursement = "fee" }
""",
)
"""AppsFlyer and Firebase by turns: one request a delivery, as fast as the sink answers."""

HOSTS = ("appsflyer.com", "google-analytics.com")
"""What the hosts of the two have in their names."""

PATIENCE_SECONDS = 600.0


class Cost(Struct, frozen=True):
    """Processor time of the roles so far, in seconds, by role."""

    seconds: Mapping[str, float]

    @property
    def whole(self) -> float:
        """Of all of them together."""
        return sum(self.seconds.values())


def settings(sink: str, deliveries: int, *, apart: bool = False) -> str:
    """A configuration that makes so many deliveries of every loan; `apart`: with a door of its own."""
    parts = [
        DESTINATIONS[number % len(DESTINATIONS)].replace("NAME", name)
        for number, name in enumerate(names(deliveries))
    ]
    text = CONFIG.replace("[door]\n", "[door]\napart = true\n") if apart else CONFIG
    return "".join((text.replace("SINK", sink), *parts))


def names(deliveries: int) -> list[str]:
    """The destinations of that configuration."""
    return [f"{'firebase' if number % 2 else 'appsflyer'}_{number}" for number in range(deliveries)]


class Service:
    """The service under measure. It is started with its roles when it is made."""

    def __init__(self, config: Config, roles: Sequence[str], key: str) -> None:
        self.config = config
        self.key = key
        self.url = ""
        self._roles = tuple(roles)
        self._supervisor = Supervisor(config, self._roles)
        self._supervisor.start()
        for role in self._roles:
            if listens(role, config):
                until((config.data / f"{role}.address").exists, f"{role} to listen")
        if door_of(config) in self._roles:
            self.url = (config.data / f"{door_of(config)}.address").read_text()
        if "send" in self._roles:
            until((config.data / "deliveries.sqlite").exists, "the sender to start")

    def decided(self, events: int) -> bool:
        """Whether so many of the load's events are decided (the policy's own event apart)."""
        return status(self.config.data, SystemClock()).decided >= events + 1

    def idle(self) -> bool:
        """Whether nothing is left to decide, to send or to record."""
        return status(self.config.data, SystemClock()).idle

    def cost(self) -> Cost:
        """What every role has used so far."""
        return Cost({role: cpu_seconds(self.pid(role)) for role in self._roles})

    def rss_mib(self, *, peak: bool = True) -> dict[str, float]:
        """Resident memory by role, now or at its highest. Pages that roles share count for each."""
        return {role: round(rss_mib(self.pid(role), peak=peak), 1) for role in self._roles}

    def together_mib(self) -> float:
        """Resident memory of all roles now; pages that they share count once."""
        return round(together_mib(self.pid(role) for role in self._roles), 1)

    def bytes(self) -> int:
        """What the log and the deliveries take on disk once their write-ahead logs are folded in."""
        return on_disk(self.config)

    def tend(self) -> None:
        """Starts jobs that ended anew, when they are due."""
        self._supervisor.tend()

    def pid(self, role: str) -> int:
        """The process of a role. Raises `LendsignalError` where it died under the load."""
        found = self._supervisor.pid(role)
        if found is None or not Path(f"/proc/{found}").exists():
            raise LendsignalError(f"{role} died under the bench: see what it said above")
        return found

    def log_in(self, users: int) -> None:
        """Every user's login, decided before the clock starts."""
        send_all(self.url, self.key, requests(logins(range(users)), 500), 4)
        until(lambda: self.decided(users), "the users' logins to be decided")

    def stop(self) -> None:
        """Ends every role in good order."""
        self._supervisor.stop()


def on_disk(config: Config) -> int:
    """Bytes of log and deliveries, their write-ahead logs folded in."""
    folder = DataFolder(config.data)
    return sum(_folded(path) for path in (folder.log, folder.deliveries) if path.exists())


def _folded(path: Path) -> int:
    """A database's size. What its write-ahead log holds is folded in first: that is no growth."""
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(30_000)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        connection.close()
    return sum(file.stat().st_size for file in (path, path.with_name(path.name + "-wal")) if file.exists())


@contextmanager
def workplace(
    *, deliveries: int = 2, keeps: str | None = None, hangs: str = "", apart: bool = False
) -> Iterator[tuple[Config, str, "Sink"]]:
    """A folder of its own with a configuration, the key to its door, and a sink; all gone afterwards."""
    key = secrets.token_urlsafe(24)
    before = os.environ.get("LENDSIGNAL_BENCH_KEY")
    os.environ["LENDSIGNAL_BENCH_KEY"] = key
    folder = Path(tempfile.mkdtemp(prefix="lendsignal-bench-"))
    try:
        with sink_in(folder, keeps=keeps, hangs=hangs) as sink:
            path = folder / "lendsignal.toml"
            path.write_text(settings(sink.url, deliveries, apart=apart))
            yield configuration.load(path), key, sink
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["LENDSIGNAL_BENCH_KEY"]
        else:
            os.environ["LENDSIGNAL_BENCH_KEY"] = before


@contextmanager
def serving(
    roles: Sequence[str], *, deliveries: int = 2, keeps: str | None = None, hangs: str = ""
) -> Iterator[tuple[Service, "Sink"]]:
    """A sink and a service in front of it."""
    apart = "door" in roles
    with workplace(deliveries=deliveries, keeps=keeps, hangs=hangs, apart=apart) as (config, key, sink):
        service = Service(config, roles, key)
        try:
            yield service, sink
        finally:
            service.stop()


class Sink:
    """A sink in a process of its own, as the bench sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def received(self) -> Received:
        """What it has got so far."""
        return msgspec.json.decode(_get(self.url, "/received"), type=Received)

    def arrivals(self) -> dict[str, list[float]]:
        """When each user's requests came, in seconds since 1970; only of those it keeps."""
        return msgspec.json.decode(_get(self.url, "/arrivals"), type=dict[str, list[float]])

    def has(self, requests: int) -> bool:
        """Whether so many requests came and were answered."""
        return self.received().count >= requests


@contextmanager
def sink_in(folder: Path, *, keeps: str | None = None, hangs: str = "") -> Iterator[Sink]:
    """A fresh sink in a process of its own. `keeps`, `hangs`: whose arrivals it remembers, and whom it never
    answers, as in `wire.Sink`."""
    address = folder / "sink.address"
    address.unlink(missing_ok=True)
    process: BaseProcess = multiprocessing.get_context("spawn").Process(
        target=serve_sink, args=(address,), kwargs={"keeps": keeps, "hangs": hangs}, daemon=True
    )
    process.start()
    try:
        until(address.exists, "the sink to listen")
        yield Sink(address.read_text())
    finally:
        process.terminate()
        process.join()


def send_all(url: str, key: str, bodies: Sequence[bytes], connections: int, *, expect: bool = True) -> float:
    """Sends everything as fast as it is answered; the seconds it took. Raises where something is refused."""
    load, took = send_at(url, key, bodies, connections)
    if expect and load.refused:
        raise LendsignalError(f"{load.refused} of {len(bodies)} requests of the bench were refused")
    return took


def send_at(
    url: str, key: str, bodies: Sequence[bytes], connections: int, *, per_second: float | None = None
) -> tuple[Load, float]:
    """Sends everything, at a steady rate where one is given; what the load tool saw, and the seconds."""

    async def main() -> tuple[Load, float]:
        load = Load(url, key, bodies, per_second=per_second)
        return load, await load.run(connections)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> float:
    """Waits for something; the seconds it took. Raises `LendsignalError` with what did not come."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise LendsignalError(f"the bench waited {seconds:.0f} s for {what}")
        time.sleep(0.02)
    return time.monotonic() - started


def _get(url: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
