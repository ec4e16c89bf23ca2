"""Roles and processes: what `lendsignal run` supervises over one data folder.

core  door and decide: the only process that decides
send  the sending loop
web   pages and reports, so that none of them ever delays a delivery
"""

import gc
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Container, Mapping, MutableMapping
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import Clock, clock_at
from lendsignal.config import Config
from lendsignal.decide import Decider
from lendsignal.deliver import Sender
from lendsignal.errors import FolderInUse, LogError
from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.source import Door, Intake, openapi, reader_of

logger = logging.getLogger(__name__)

ROLES = ("core", "send", "web")
KEEP_ALIVE_SECONDS = 75
"""Longer than the pools of the usual clients keep a connection, so that it is they who close it."""

RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
PORT_SECONDS = 8.0
"""How long a port may still be taken by a service that is about to end."""

STEADY_SECONDS = 30.0
"""A child that lived so long is no longer counted as failing."""


class Status(Struct, frozen=True, kw_only=True):
    """How far the service is: `idle` means that nothing is left to do until time passes or events come."""

    idle: bool
    events: int
    decided: int
    read_by_sender: bool
    waiting: Mapping[str, Mapping[str, int]]
    due: Mapping[str, int]
    paused: Mapping[str, str]
    now_us: int


def status(data: Path, clock: Clock, destinations: Container[str] | None = None) -> Status:
    """The state of a data folder as it stands on disk. Raises `LogError` where there is none.

    What waits for a destination that is not among `destinations` keeps nobody busy; `None` means any.
    """
    folder = DataFolder(data)
    log = open_log(folder.log, read_only=True)
    try:
        events, decided, last = log.end(), log.position(), log.last_record()
    finally:
        log.close()
    now = clock.now_us()
    position, waiting, due, paused = _sending(folder, now)
    sent_to = [name for name in due if destinations is None or name in destinations]
    busy = any(due[name] for name in sent_to if name not in paused)
    claimed = any(stages.get("claimed") for stages in waiting.values())
    return Status(
        idle=decided >= events and position >= last and not busy and not claimed,
        events=events,
        decided=decided,
        read_by_sender=position >= last,
        waiting=waiting,
        due=due,
        paused=paused,
        now_us=now,
    )


def _sending(
    folder: DataFolder, now_us: int
) -> tuple[int, Mapping[str, Mapping[str, int]], Mapping[str, int], Mapping[str, str]]:
    """The sender's place in the records, what is open, due and paused; nothing before it has started."""
    try:
        deliveries = open_deliveries(folder.deliveries, read_only=True)
    except LogError:
        return 0, {}, {}, {}
    try:
        paused = {name: reason for name, (_, reason) in deliveries.paused().items()}
        return deliveries.position(), deliveries.waiting(), deliveries.due(now_us), paused
    finally:
        deliveries.close()


def core(config: Config) -> None:
    """Takes and decides events until told to stop."""
    folder = DataFolder(config.data)
    with folder.lock("core"):
        clock = clock_at(config.replay_clock)
        log = open_log(folder.log)
        ringer = folder.ringer("send")
        decider = Decider(log, config.policy, clock, ringer.ring)
        intake = Intake(log, decider.turn, limit=config.door.queue)
        reader = reader_of(config.apps, config.policy.resolve.clock_ahead, sets_received_at=clock.replay)
        door = Door(config.door, reader, intake, log, clock, config.keys)
        intake.start()
        rest = Starlette(routes=_core_routes(config, clock))

        async def app(
            scope: MutableMapping[str, Any],
            receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
            send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        ) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/v1/events"):
                await door(scope, receive, send)
            else:
                await rest(scope, receive, send)

        try:
            serve(app, config.door.host, config.door.port, folder.path / "core.address")
        finally:
            intake.stop()
            log.close()


def send(config: Config) -> None:
    """Sends deliveries until told to stop; then waits for the answers to what is in flight."""
    folder = DataFolder(config.data)
    with folder.lock("send"):
        stopping = _stop_on_signal()
        log = _log_when_there(folder, stopping)
        if log is None:
            return
        deliveries = open_deliveries(folder.deliveries)
        bell = folder.bell("send")
        sender = Sender(
            log,
            deliveries,
            config.outlets,
            config.apps,
            config.deliver,
            clock_at(config.replay_clock),
            bells=[(bell, bell.quiet)],
        )
        try:
            while not stopping.is_set():
                sender.turn()
            sender.drain()
        finally:
            sender.close()
            deliveries.close()
            log.close()


def serve(app: Any, host: str, port: int, address: Path) -> None:
    """Serves an ASGI app until told to stop, and writes where it listens into a file."""
    # Uvicorn ends in good order on SIGTERM and then raises it once more: that is a plain exit here.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    listening = _listening(host, port)
    settings = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        backlog=2048,
    )
    fresh = address.with_suffix(".new")
    fresh.write_text(f"http://{host}:{listening.getsockname()[1]}")
    fresh.replace(address)
    uvicorn.Server(settings).run(sockets=[listening])


class Supervisor:
    """Keeps one child process a role alive; ends them all, orderly, when it is told to stop."""

    def __init__(self, config: Config, roles: tuple[str, ...], arguments: tuple[str, ...] = ()) -> None:
        self._config = config
        self._arguments = arguments
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._failures = dict.fromkeys(roles, 0)
        self._due = dict.fromkeys(roles, 0.0)
        self._lock = DataFolder(config.data).lock("run")

    def start(self) -> None:
        """Starts every role."""
        self.tend()

    def tend(self) -> None:
        """Starts what is due and notices who died."""
        now = time.monotonic()
        for role, child in list(self._children.items()):
            code = child.poll()
            if code is None:
                if now - self._started[role] > STEADY_SECONDS:
                    self._failures[role] = 0
                continue
            del self._children[role]
            _let_go(child)
            wait = RESTART_SECONDS[min(self._failures[role], len(RESTART_SECONDS) - 1)]
            self._failures[role] += 1
            self._due[role] = now + wait
            logger.warning("%s ended with code %s; starting it again in %.1f s", role, code, wait)
        for role in self._failures:
            if role not in self._children and now >= self._due[role]:
                self._children[role] = self._child(role)
                self._started[role] = now

    def pid(self, role: str) -> int | None:
        """The process that has that role now."""
        child = self._children.get(role)
        return None if child is None else child.pid

    def stop(self) -> None:
        """Ends every child: asked first, killed when it outlasts the drain limit by ten seconds."""
        for child in self._children.values():
            child.send_signal(signal.SIGTERM)
        until = time.monotonic() + self._config.deliver.drain.total_seconds() + 10
        for role, child in self._children.items():
            try:
                child.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.error("%s did not stop in time and is killed", role)
                child.kill()
                child.wait()
            _let_go(child)
        self._children.clear()
        self._lock.release()

    def _child(self, role: str) -> subprocess.Popen[bytes]:
        verbose = ["-v"] if logging.getLogger().isEnabledFor(logging.DEBUG) else []
        words = [role, "--config", str(self._config.path), *self._arguments]
        # The child reads its end of this pipe: when we die in whatever way, it ends too. Its session is
        # its own, for Ctrl-C is meant for us: we end the roles in good order.
        return subprocess.Popen(
            [sys.executable, "-m", "lendsignal.role", *verbose, *words],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )


def _let_go(child: subprocess.Popen[bytes]) -> None:
    """Closes our end of the pipe by which a child knows that we live."""
    if child.stdin is not None:
        child.stdin.close()


def run(
    config: Config,
    roles: tuple[str, ...] = ROLES,
    arguments: tuple[str, ...] = (),
    announce: Callable[[str, str], None] = lambda role, address: None,
) -> None:
    """Supervises the roles until SIGTERM or Ctrl-C. `announce` is told where each role listens.

    Raises `LogError` before anything is started where the data folder is damaged.
    """
    folder = DataFolder(config.data)
    stopping = _stop_on_signal()
    silent = {role: folder.path / f"{role}.address" for role in roles if role != "send"}
    supervisor = Supervisor(config, roles, arguments)
    try:
        _refuse_damage(folder)
        for address in silent.values():
            address.unlink(missing_ok=True)
        _wait_for_ports(config, roles, stopping)
        supervisor.start()
        while not stopping.wait(0.2):
            supervisor.tend()
            for role in [role for role, address in silent.items() if address.exists()]:
                announce(role, silent.pop(role).read_text())
    finally:
        supervisor.stop()


def _refuse_damage(folder: DataFolder) -> None:
    """Raises `LogError` where a file cannot be used, or the two do not belong to one moment."""
    log, deliveries = open_log(folder.log), open_deliveries(folder.deliveries)
    try:
        if deliveries.position() > log.last_record():
            raise LogError(
                f"{folder.deliveries.name} is ahead of {folder.log.name}: the log is an older copy, and"
                " what it decides now would not be sent; see docs/how-to/recover-a-data-folder.md"
            )
    finally:
        log.close()
        deliveries.close()


def _wait_for_ports(config: Config, roles: tuple[str, ...], stopping: threading.Event) -> None:
    """Nothing starts where the door or the pages could not listen; raises `LogError` with which port.

    A moment is granted to the children of a run that was killed: they are about to end.
    """
    folder = DataFolder(config.data)
    wanted = {"core": (config.door.host, config.door.port), "web": (config.web.host, config.web.port)}
    until = time.monotonic() + PORT_SECONDS
    for role, (host, port) in wanted.items():
        while role in roles and not stopping.is_set():
            try:
                _listening(host, port).close()
                break
            except LogError:
                if time.monotonic() > until or not _is_taken(folder, role):
                    raise
                stopping.wait(0.1)


def _is_taken(folder: DataFolder, role: str) -> bool:
    try:
        folder.lock(role).release()
    except FolderInUse:
        return True
    return False


def _listening(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # Two sockets may be bound to one port where neither listens yet.
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise LogError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    return listening


def _stop_on_signal() -> threading.Event:
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping


def _log_when_there(folder: DataFolder, stopping: threading.Event) -> Any:
    """The log, once the core has made it."""
    while not stopping.wait(0.05):
        try:
            return open_log(folder.log, read_only=True)
        except LogError:
            continue
    return None


def _core_routes(config: Config, clock: Clock) -> list[Route]:
    encode = msgspec.json.encode

    def answer(body: object, code: int = 200) -> Response:
        return Response(encode(body), code, media_type="application/json")

    async def alive(request: Request) -> Response:
        return answer({"status": "alive"})

    async def ready(request: Request) -> Response:
        try:
            now = status(config.data, clock, config.outlets)
        except LogError as error:
            return answer({"status": "not ready", "why": str(error)}, 503)
        behind = now.events - now.decided
        why = f"{behind} events wait to be decided" if behind > 50_000 else ""
        return answer({"status": "not ready" if why else "ready", "why": why}, 503 if why else 200)

    async def how(request: Request) -> Response:
        return answer(status(config.data, clock, config.outlets))

    async def described(request: Request) -> Response:
        return answer(openapi(config.door))

    return [
        Route("/healthz", alive),
        Route("/readyz", ready),
        Route("/v1/status", how),
        Route("/openapi.json", described),
    ]


def role(name: str, config: Config) -> None:
    """Does one role in this process until told to stop."""
    # Our values are trees without cycles: the collector would only walk the states again and again.
    gc.set_threshold(100_000, 50, 100)
    match name:
        case "core":
            core(config)
        case "send":
            send(config)
        case "web":
            web(config)
        case _:
            raise ValueError(f"no role {name!r}")


def web(config: Config) -> None:
    """Serves the pages until told to stop."""
    # Imported here: core and send live without the pages, the reports and their database.
    from lendsignal.console import pages

    folder = DataFolder(config.data)
    with folder.lock("web"):
        serve(pages(config), config.web.host, config.web.port, folder.path / "web.address")
