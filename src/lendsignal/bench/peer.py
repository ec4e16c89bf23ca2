"""A worker as most teams would write it, Celery with Redis and requests, against the same sink.

None of its parts is a dependency of lendsignal: they are put into an environment of their own, in the
user's cache folder, the first time; Redis must be on the machine. What is missing is said in words.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from lendsignal.bench.machine import cpu_seconds, descendants
from lendsignal.bench.service import Sink, sink_in, until
from lendsignal.errors import LendsignalError

PARTS = ("celery[redis]==5.*", "packaging", "requests==2.*")
"""`packaging`: Celery's Redis transport imports it and does not ask for it."""

NO_REDIS = "not measured: no redis-server on PATH (Debian and Ubuntu: apt-get install redis-server)"
NO_PARTS = "not measured: celery, redis and requests could not be installed from the package index ({})"
FAILED = "not measured: the peer did not get to its end ({})"

TASKS = '''
"""One delivery a task: sent, retried with growing waits, acknowledged when it is done."""

import os

import requests
from celery import Celery

app = Celery("tasks", broker=os.environ["PEER_BROKER"])
app.conf.update(task_acks_late=True, task_ignore_result=True, broker_connection_retry_on_startup=True)
kept = requests.Session()


@app.task(
    autoretry_for=(requests.RequestException,),
    retry_backoff=True,
    retry_jitter=True,
    max_retries=10,
    acks_late=True,
)
def deliver(url, payload):
    answer = requests.post(url, json=payload, timeout=30)
    answer.raise_for_status()


@app.task(
    autoretry_for=(requests.RequestException,),
    retry_backoff=True,
    retry_jitter=True,
    max_retries=10,
    acks_late=True,
)
def deliver_kept(url, payload):
    answer = kept.post(url, json=payload, timeout=30)
    answer.raise_for_status()
'''
"""The peer's program. `deliver` is the usual one; `deliver_kept` keeps its connection, as few do."""

ENQUEUE = '''
"""Hands over every delivery; prints the seconds it took."""

import sys
import time

import tasks

name, url, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
task = getattr(tasks, name)
payload = {
    "customer_user_id": "bench-1",
    "eventName": "ev_ln",
    "eventTime": "2026-11-22 09:14:07.512",
    "eventCurrency": "NGN",
    "eventValue": '{"af_revenue": "15000"}',
    "advertising_id": "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
    "appsflyer_id": "1763712345678-4312502203727572307",
}
started = time.perf_counter()
for number in range(n):
    task.delay(url, payload | {"customer_user_id": f"bench-{number}"})
print(time.perf_counter() - started)
'''

WORKERS = 2
"""Prefork children: one a core of the machine that the targets speak of."""


class Peer(Struct, frozen=True, kw_only=True):
    """What the peer did. Rates are a second; `enqueue_per_s` ran before, so that sending had both cores.

    `cpu_us_per_delivery` is that of the worker and its children, broker and enqueueing apart.
    """

    deliveries_per_s: float
    deliveries_kept_connection_per_s: float
    enqueue_per_s: float
    cpu_us_per_delivery: float


def measure_peer(deliveries: int, cache: Path | None = None) -> Peer | str:
    """The peer's figures, or in words why there are none."""
    redis = shutil.which("redis-server")
    if redis is None:
        return NO_REDIS
    try:
        python = environment(cache or cache_folder())
    except (OSError, subprocess.SubprocessError) as error:
        return NO_PARTS.format(type(error).__name__)
    folder = Path(tempfile.mkdtemp(prefix="lendsignal-bench-peer-"))
    try:
        (folder / "tasks.py").write_text(TASKS)
        (folder / "enqueue.py").write_text(ENQUEUE)
        with _redis(redis, folder) as broker:
            surroundings = {**os.environ, "PEER_BROKER": broker}
            enqueued, usual, cpu = _run(python, folder, surroundings, "deliver", deliveries)
            _, kept, _ = _run(python, folder, surroundings, "deliver_kept", deliveries)
    except (OSError, subprocess.SubprocessError, LendsignalError) as error:
        return FAILED.format(type(error).__name__)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Peer(
        deliveries_per_s=usual,
        deliveries_kept_connection_per_s=kept,
        enqueue_per_s=deliveries / enqueued,
        cpu_us_per_delivery=cpu / deliveries * 1e6,
    )


def cache_folder() -> Path:
    """Where the peer's environment is kept between runs: remove it at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lendsignal" / "bench-peer"


def environment(folder: Path) -> Path:
    """The Python of an environment with the peer's parts; made where it is missing."""
    python = folder / "bin" / "python"
    done = folder / "installed"
    wanted = "\n".join(PARTS)
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _quietly([sys.executable, "-m", "venv", str(folder)])
        _quietly([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PARTS])
        done.write_text(wanted)
    return python


def _quietly(words: list[str]) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)


@contextmanager
def _redis(program: str, folder: Path) -> Iterator[str]:
    """A Redis as it comes, on a free port of this machine; its address as a broker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.Popen(
        [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: _answers(port), "Redis to listen", 20.0)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        child.terminate()
        child.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
    except OSError:
        return False


def _run(
    python: Path, folder: Path, surroundings: Mapping[str, str], task: str, deliveries: int
) -> tuple[float, float, float]:
    """Seconds to enqueue, deliveries a second from the first at the sink to the last, worker CPU seconds."""
    with sink_in(folder) as sink:
        said = subprocess.run(
            [python, "enqueue.py", task, f"{sink.url}/inappevent", str(deliveries)],
            cwd=folder, env=surroundings, check=True, stdout=subprocess.PIPE, text=True, timeout=600,
        ).stdout  # fmt: skip
        worker = subprocess.Popen(
            [
                python, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork",
                "--concurrency", str(WORKERS), "--loglevel", "ERROR", "--without-gossip", "--without-mingle",
            ],
            cwd=folder, env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: _done(sink, worker, deliveries), "the peer to deliver", 600.0)
            cpu = sum(cpu_seconds(pid) for pid in (worker.pid, *descendants(worker.pid)))
            found = sink.received()
        finally:
            worker.terminate()
            _end(worker)
        return float(said), (found.count - 1) / max(found.last - found.first, 1e-9), cpu


def _done(sink: Sink, worker: subprocess.Popen[bytes], deliveries: int) -> bool:
    if worker.poll() is not None:
        raise LendsignalError(f"the peer's worker ended with code {worker.returncode}")
    return sink.has(deliveries)


def _end(worker: subprocess.Popen[bytes]) -> None:
    try:
        worker.wait(20)
    except subprocess.TimeoutExpired:
        for pid in (*descendants(worker.pid), worker.pid):
            os.kill(pid, 9)
        worker.wait()
