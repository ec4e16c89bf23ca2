"""The measurements, each on a fresh data folder."""

import asyncio
import http.client
import multiprocessing
import os
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from lendsignal import config as configuration
from lendsignal.bench.wire import Load, serve_sink
from lendsignal.clock import SystemClock
from lendsignal.errors import LendsignalError
from lendsignal.run import Supervisor, status

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
[resolve]
settle = "0s"
[deliver]
sandbox = "SINK"
[destination.appsflyer]
kind = "appsflyer"
app = "bench"
token = { env = "LENDSIGNAL_BENCH_KEY" }
per_second = 1000000.0
concurrency = 256
[destination.firebase]
kind = "ga4"
app = "bench"
api_secret = { env = "LENDSIGNAL_BENCH_KEY" }
firebase_app_id = "1:1234567890:android:0a1b2c3d4e5f6a7b"
per_second = 1000000.0
concurrency = 256
[[route]]
to = "appsflyer"
send = { disbursement = "ev_ln" }
value = { disbursement = "principal" }
[[route]]
to = "firebase"
send = { disbursement = "ev_ln" }
value = { disbursement = "fee" }
"""
"""Two deliveries an event, a request each, to a sink in place of the platforms; settle 0; fsync on."""

PATIENCE_SECONDS = 300.0


class Figures(Struct, frozen=True, kw_only=True):
    """What one run found. Rates are events a second; `peers` are other programs in the same run."""

    accepted_single_per_s: float
    accepted_batch_per_s: float
    decided_per_s: float
    end_to_end_per_s: float
    end_to_end_single_per_s: float
    deliveries_per_event: float
    accept_to_sent_ms: Mapping[str, float]
    durable_answer_ms: Mapping[str, float]
    cpu_us_per_event: float
    bytes_per_event: float
    peak_rss_mib: float
    idle_rss_mib: float
    peers: Mapping[str, float]
    machine: Mapping[str, str]


def measure(*, quick: bool, tell: Callable[[str], None], scale: float = 1.0) -> Figures:
    """Runs every measurement. `tell` is called with what is being done; `scale` multiplies the sizes."""
    scale *= 0.75 if quick else 5
    tell("events in, decided, nothing sent: batches of 100")
    batch = _accepted(round(40_000 * scale), 100)
    tell("events in, decided, nothing sent: one a request")
    single = _accepted(round(15_000 * scale), 1)
    tell("end to end: batches of 100 in, two requests an event out")
    whole = _end_to_end(round(20_000 * scale), 100)
    tell("end to end: one event a request in, two requests an event out")
    singles = _end_to_end(round(10_000 * scale), 1)
    rate = 2_000
    tell(f"delay at {rate} events a second")
    delays = _delays(rate, max(1, round(6 * scale)))
    tell("the load tool against the bare sink")
    bare = _bare(round(20_000 * scale))
    return Figures(
        accepted_single_per_s=single["accepted"],
        accepted_batch_per_s=batch["accepted"],
        decided_per_s=batch["decided"],
        end_to_end_per_s=whole["per_s"],
        end_to_end_single_per_s=singles["per_s"],
        deliveries_per_event=whole["deliveries"],
        accept_to_sent_ms=delays["sent"],
        durable_answer_ms=delays["answer"],
        cpu_us_per_event=whole["cpu_us"],
        bytes_per_event=whole["bytes"],
        peak_rss_mib=max(whole["rss"], singles["rss"]),
        idle_rss_mib=batch["idle_rss"],
        peers={"load_tool_to_bare_sink_requests_per_s": bare},
        machine={
            "cores": str(os.cpu_count()),
            "load_before": f"{os.getloadavg()[0]:.2f}",
            "fsync_ms": f"{_fsync_ms():.3f}",
        },
    )


class Service:
    """The service under measure, in a folder of its own."""

    def __init__(self, folder: Path, sink: str, roles: tuple[str, ...]) -> None:
        path = folder / "lendsignal.toml"
        path.write_text(CONFIG.replace("SINK", sink))
        self.config = configuration.load(path)
        self._supervisor = Supervisor(self.config, roles)
        self._roles = roles
        self._supervisor.start()
        address = self.config.data / "core.address"
        _until(address.exists, "the service to listen")
        self.url = address.read_text()
        if "send" in roles:
            _until((self.config.data / "deliveries.sqlite").exists, "the sender to start")

    def decided(self, events: int) -> bool:
        """Whether so many of the load's events are decided (the policy's own event apart)."""
        return status(self.config.data, SystemClock()).decided >= events + 1

    def cpu_seconds(self) -> float:
        """User and system time of every role so far."""
        tick = os.sysconf("SC_CLK_TCK")
        total = 0.0
        for role in self._roles:
            fields = Path(f"/proc/{self._supervisor.pid(role)}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / tick
        return total

    def rss_mib(self, *, peak: bool = True) -> float:
        """Resident memory of every role together, now or at its highest."""
        total = 0
        for role in self._roles:
            for line in Path(f"/proc/{self._supervisor.pid(role)}/status").read_text().splitlines():
                if line.startswith("VmHWM:" if peak else "VmRSS:"):
                    total += int(line.split()[1])
        return total / 1024

    def bytes(self) -> int:
        """What the data folder takes on disk."""
        return sum(path.stat().st_size for path in self.config.data.iterdir() if path.is_file())

    def stop(self) -> None:
        self._supervisor.stop()


@contextmanager
def _service(roles: tuple[str, ...], *, keep: bool = False) -> Iterator[tuple[Service, str]]:
    """A sink and a service in front of it."""
    key = secrets.token_urlsafe(24)
    os.environ["LENDSIGNAL_BENCH_KEY"] = key
    folder = Path(tempfile.mkdtemp(prefix="lendsignal-bench-"))
    sink = _sink(folder, keep=keep)
    try:
        service = Service(folder, (folder / "sink.address").read_text(), roles)
        try:
            yield service, key
        finally:
            service.stop()
    finally:
        sink.terminate()
        sink.join()
        shutil.rmtree(folder, ignore_errors=True)


def _sink(folder: Path, *, keep: bool) -> BaseProcess:
    address = folder / "sink.address"
    process = multiprocessing.get_context("spawn").Process(
        target=serve_sink, args=(address,), kwargs={"keep": keep}, daemon=True
    )
    process.start()
    _until(address.exists, "the sink to listen")
    return process


def _accepted(events: int, batch: int) -> dict[str, float]:
    with _service(("core",)) as (service, key):
        idle = service.rss_mib()
        users = _users(service, key, events)
        bodies = _bodies(_loans(events), batch)
        started = time.perf_counter()
        took = _load(service.url, key, bodies, 64 if batch == 1 else 8)
        _until(lambda: service.decided(users + events), "everything to be decided")
        whole = time.perf_counter() - started
        return {"accepted": events / took, "decided": events / whole, "idle_rss": idle}


def _end_to_end(events: int, batch: int) -> dict[str, float]:
    with _service(("core", "send")) as (service, key):
        sink = service.config.deliver.sandbox or ""
        _users(service, key, events)
        bodies = _bodies(_loans(events), batch)
        cpu, size = service.cpu_seconds(), service.bytes()
        started = time.perf_counter()
        _load(service.url, key, bodies, 64 if batch == 1 else 8)
        _until(lambda: int(_get(sink, "/count")) >= 2 * events, "everything to be sent")
        took = time.perf_counter() - started
        received = int(_get(sink, "/count"))
        _until(lambda: status(service.config.data, SystemClock()).idle, "everything to be recorded")
        return {
            "per_s": events / took,
            "deliveries": received / events,
            "cpu_us": (service.cpu_seconds() - cpu) / events * 1e6,
            "bytes": (service.bytes() - size) / events,
            "rss": service.rss_mib(),
        }


def _delays(rate: int, seconds: int) -> dict[str, dict[str, float]]:
    events = rate * seconds
    with _service(("core", "send"), keep=True) as (service, key):
        sink = service.config.deliver.sandbox or ""
        _users(service, key, events)
        load, _ = _run(service.url, key, _bodies(_loans(events), 1), 64, per_second=rate)
        _until(lambda: int(_get(sink, "/count")) >= 2 * events, "everything to be sent")
        arrivals: dict[str, float] = msgspec.json.decode(_get(sink, "/arrivals"))
        answered = {f"bench-{number}": at for number, at in enumerate(load.answers)}
        sent = [max(0.0, arrivals[user] - at) * 1000 for user, at in answered.items()]
        answers = [(end - start) * 1000 for start, end in zip(load.sent, load.answers, strict=True)]
        return {"sent": {**_quantiles(sent), "at_events_per_s": float(rate)}, "answer": _quantiles(answers)}


def _bare(requests: int) -> float:
    folder = Path(tempfile.mkdtemp(prefix="lendsignal-bench-"))
    sink = _sink(folder, keep=False)
    try:
        took = _load(
            (folder / "sink.address").read_text(), "x", _bodies(_loans(requests), 1), 64, expect=False
        )
        return requests / took
    finally:
        sink.terminate()
        sink.join()
        shutil.rmtree(folder, ignore_errors=True)


def _users(service: Service, key: str, users: int) -> int:
    """Every user's login, before the clock starts."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    touches = [
        {
            "type": "logged_in",
            "brand": "bench",
            "user_id": f"bench-{number}",
            "occurred_at": now,
            "device": {
                "os": "android",
                "os_version": "14",
                "model": "Infinix X6525",
                "app_version": "3.1.0",
                "gaid": f"{number:08x}-0000-4000-a000-000000000001",
                "appsflyer_id": f"1763712345678-{number:019d}",
                "firebase_app_instance_id": f"{number:032x}",
            },
        }
        for number in range(users)
    ]
    _load(service.url, key, _bodies(touches, 500), 4)
    _until(lambda: service.decided(users), "the users' logins to be decided")
    return users


def _loans(events: int) -> list[dict[str, object]]:
    now = datetime.now(UTC) - timedelta(seconds=30)
    return [
        {
            "type": "disbursed",
            "brand": "bench",
            "user_id": f"bench-{number}",
            "loan_id": f"L{number}",
            "loan_number": 2,
            "occurred_at": now,
            "amount": 15000,
            "fee": 2250,
            "currency": "NGN",
            "term_days": 30,
        }
        for number in range(events)
    ]


def _bodies(events: Sequence[dict[str, object]], batch: int) -> list[bytes]:
    encode = msgspec.json.encode
    if batch == 1:
        return [encode(event) for event in events]
    return [encode(events[start : start + batch]) for start in range(0, len(events), batch)]


def _load(url: str, key: str, bodies: Sequence[bytes], connections: int, *, expect: bool = True) -> float:
    load, took = _run(url, key, bodies, connections)
    if expect and load.refused:
        raise LendsignalError(f"{load.refused} of {len(bodies)} requests of the bench were refused")
    return took


def _run(
    url: str, key: str, bodies: Sequence[bytes], connections: int, *, per_second: float | None = None
) -> tuple[Load, float]:
    async def main() -> tuple[Load, float]:
        load = Load(url, key, bodies, per_second=per_second)
        return load, await load.run(connections)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _get(url: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise LendsignalError(f"the bench waited {PATIENCE_SECONDS:.0f} s for {what}")
        time.sleep(0.02)


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p90": round(cuts[89], 2), "p99": round(cuts[98], 2)}


def _fsync_ms() -> float:
    """How long a small durable write takes here: what a commit cannot be faster than."""
    with tempfile.NamedTemporaryFile() as file:
        times = []
        for _ in range(50):
            file.write(b"x" * 4096)
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000
