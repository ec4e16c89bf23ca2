"""Roles and processes: what `lendsignal run` supervises over one data folder.

core  door and decide: the only process that decides
send  the sending loop
web   pages and reports, so that none of them ever delays a delivery
pull  reads what we fetch ourselves; only where the configuration has a [pull.NAME]
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Container, Mapping, MutableMapping, Sequence
from contextlib import suppress
from functools import partial
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

from lendsignal.clock import Clock, SystemClock, clock_at
from lendsignal.config import Config
from lendsignal.decide import DecideMeters, Decider
from lendsignal.deliver import DeliverMeters, secrets_of
from lendsignal.deliver.sender import Sender
from lendsignal.errors import DataError, FolderInUse, LogError, NotYet
from lendsignal.log import (
    EVERY,
    DataFolder,
    Pulse,
    Shelf,
    open_deliveries,
    open_feeds,
    open_keys,
    open_log,
    open_orders,
    open_pulls,
    open_shelf,
    refuse_damage,
    seconds_since_beat,
)
from lendsignal.metrics import CONTENT_TYPE, FolderMeters, RoleMetrics, Ticking
from lendsignal.model import Event, reveal
from lendsignal.source import (
    INNER_KEY,
    INNER_PATH,
    SEGMENT_PATHS,
    Door,
    Held,
    InnerDoor,
    Intake,
    Keyring,
    Kit,
    Mender,
    OverTheDoor,
    Puller,
    PullMeters,
    QuarantineMeters,
    Relay,
    RelayDoor,
    SegmentDoor,
    SourceMeters,
    openapi,
    pull_all,
    reader_of,
)
from lendsignal.source.feeds import PATH as FEEDS_PATH
from lendsignal.source.feeds import FeedDoor, FeedMeters, FeedWriter

logger = logging.getLogger(__name__)

ROLES = ("core", "send", "web", "pull")

SILENT = ("send", "pull")
"""Roles that listen nowhere."""

KEEP_ALIVE_SECONDS = 75
"""Longer than the pools of the usual clients keep a connection, so that it is they who close it."""

RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
DAMAGED_CODE = 3
"""What a role ends with whose files are damaged."""

DAMAGED_SECONDS = 60.0
"""How soon such a role is started again: a person must act, and until then it would end again."""

PORT_SECONDS = 8.0
"""How long a port may still be taken by a service that is about to end."""

STILL_SECONDS = 30.0
"""What has not moved for so long is stuck."""

PULSE_SECONDS = 5.0
"""A sender whose pulse is younger lives."""

BEHIND = 50_000
"""Events that may wait to be decided in a rush."""

STEADY_SECONDS = 30.0
"""A child that lived so long is no longer counted as failing."""


class Status(Struct, frozen=True, kw_only=True):
    """How far the service is: `idle` means that nothing is left to do until time passes or events come."""

    idle: bool
    events: int
    decided: int
    read_by_sender: bool
    waiting: Mapping[str, Mapping[str, int]]
    due: Sequence[str]
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
    busy = any(name not in paused and EVERY not in paused for name in sent_to)
    claimed = any(stages.get("claimed") for stages in waiting.values())
    return Status(
        idle=decided >= events and position >= last and not busy and not claimed,
        events=events,
        decided=decided,
        read_by_sender=position >= last,
        waiting=waiting,
        due=sorted(due),
        paused=paused,
        now_us=now,
    )


def _sending(
    folder: DataFolder, now_us: int
) -> tuple[int, Mapping[str, Mapping[str, int]], Collection[str], Mapping[str, str]]:
    """The sender's place in the records, what is open, due and paused; nothing before it has started."""
    try:
        deliveries = open_deliveries(folder.deliveries, read_only=True)
    except NotYet:
        return 0, {}, (), {}
    try:
        paused = {name: pause.reason for name, pause in deliveries.paused().items()}
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
        # A reader of its own: nobody who writes waits for those who look.
        looked_at = open_log(folder.log, read_only=True)
        came_in, decided, told = SourceMeters(), DecideMeters(looked_at, clock), FeedMeters()
        apart = QuarantineMeters(looked_at, clock, config.door.quarantine_alert)
        meters = [came_in, decided, told, apart, FolderMeters(folder.path)]
        metrics = RoleMetrics("core", folder.path, meters)
        decider = Decider(log, config.policy, clock, ringer.ring, decided)
        reader = reader_of(config.apps, config.policy.resolve.clock_ahead, sets_received_at=clock.replay)
        mender = Mender(log, reader, clock, config.door.quarantine_days, told=apart.mended)

        def turn(first: int, events: Sequence[Event]) -> bool:
            mended = mender.turn()
            return decider.turn(first, events) or mended > 0

        intake = Intake(log, turn, limit=config.door.queue, meters=came_in)
        # The machine's own clock: a key ends when it ends, also while history is replayed.
        keys = Keyring(
            config.keys,
            SystemClock(),
            time.monotonic,
            sources=config.sources,
            store=open_keys(folder.keys),
        )
        came_in.keys_left = keys.left
        held = Held(config.door.max_held_bytes)
        door = Door(config.door, reader, intake, log, clock, keys, came_in, held)
        segment = SegmentDoor(config.door, config.sources, reader, intake, clock, keys, came_in, held)
        feeds = _feed_door(config, folder, intake, clock, told)
        inner = InnerDoor(os.environ.get(INNER_KEY) or secrets.token_urlsafe(32), reader, intake, clock)
        intake.start()
        shelf = _shelf(config, folder)
        relay = [] if shelf is None else _relay_door(config, shelf, clock, keys, ringer.ring).routes()
        rest = Starlette(
            routes=[*_core_routes(config, clock, intake), *relay, _metrics_route(metrics, roles_of(config))]
        )

        async def app(
            scope: MutableMapping[str, Any],
            receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
            send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        ) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/v1/events"):
                await door(scope, receive, send)
            elif scope["type"] == "http" and scope["path"] in SEGMENT_PATHS:
                await segment(scope, receive, send)
            elif feeds is not None and scope["type"] == "http" and scope["path"].startswith(FEEDS_PATH):
                await feeds(scope, receive, send)
            elif scope["type"] == "http" and scope["path"] == INNER_PATH:
                await inner(scope, receive, send)
            else:
                await rest(scope, receive, send)

        try:
            with keys, Ticking(metrics):
                serve(app, config.door.host, config.door.port, folder.path / "core.address")
        finally:
            if feeds is not None:
                feeds.close()
            intake.stop()
            if shelf is not None:
                shelf.close()
            looked_at.close()
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
        orders = open_orders(folder.orders)
        shelf = _shelf(config, folder)
        bell = folder.bell("send")
        pulse = Pulse(folder.pulse("send"))
        pulse.beat()
        meters = DeliverMeters()
        sender = Sender(
            log,
            deliveries,
            config.outlets,
            config.apps,
            config.deliver,
            clock_at(config.replay_clock),
            orders=orders,
            shelf=shelf,
            bells=[(bell, bell.quiet)],
            meters=meters,
        )
        metrics = RoleMetrics("send", folder.path, [meters])
        try:
            while not stopping.is_set():
                sender.turn()
                pulse.beat()
                metrics.tick()
            sender.drain()
        finally:
            metrics.close()
            sender.close()
            pulse.close()
            if shelf is not None:
                shelf.close()
            orders.close()
            deliveries.close()
            log.close()


def pull(config: Config) -> None:
    """Reads what we fetch ourselves until told to stop; what the door has not taken is read again."""
    folder = DataFolder(config.data)
    with folder.lock("pull"):
        stopping = _stop_on_signal()
        pulls = open_pulls(folder.pulls)
        clock = clock_at(config.replay_clock)
        meters = PullMeters()
        doors = {name: OverTheDoor(folder.path / "core.address") for name in config.pulls}
        pullers = [
            Puller(
                name,
                plan.common,
                partial(plan.open, Kit(name=name, folder=config.path.parent, pulls=pulls, clock=clock)),
                doors[name],
                pulls,
                clock,
                meters=meters,
                stopping=stopping,
            )
            for name, plan in config.pulls.items()
            if plan.common.enabled
        ]
        try:
            with Ticking(RoleMetrics("pull", folder.path, [meters])):
                pull_all(pullers, stopping)
        finally:
            pulls.close()


def _shelf(config: Config, folder: DataFolder) -> Shelf | None:
    """Where deliveries wait for apps, if any destination is a relay."""
    relayed = any(outlet.shelved for outlet in config.outlets.values())
    return open_shelf(folder.relay) if relayed else None


def _feed_door(
    config: Config, folder: DataFolder, intake: Intake, clock: Clock, meters: FeedMeters
) -> FeedDoor | None:
    """The calls of MMPs, if any feed has a secret."""
    found = {name: reveal(secret) for name, secret in config.feed_secrets.items()}
    secrets = {name: secret for name, secret in found.items() if secret is not None}
    if not secrets:
        return None
    writer = FeedWriter(open_feeds(folder.feeds))
    writer.start()
    return FeedDoor(config.feeds, secrets, writer, intake, clock, meters=meters)


def _relay_door(
    config: Config, shelf: Shelf, clock: Clock, keys: Keyring, woken: Callable[[], None]
) -> RelayDoor:
    """The calls of the client relay; a relay answers to its former names too."""
    relays: dict[str, Relay] = {}
    secrets: dict[str, str] = {}
    for outlet in config.outlets.values():
        own = outlet.own
        if outlet.shelved and (secret := secrets_of(own)["secret"]):
            relay = Relay(
                name=outlet.name, brand=outlet.app.brand, kind=own.installation, good_for=own.good_for
            )
            for name in (outlet.name, *outlet.common.formerly):
                relays[name], secrets[name] = relay, secret
    return RelayDoor(relays, secrets, shelf, clock, keys=keys, woken=woken, steady=time.monotonic)


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
        self._environment = {**os.environ, INNER_KEY: secrets.token_urlsafe(32)}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        needed = tuple(role for role in roles if role in roles_of(config))
        self._failures = dict.fromkeys(needed, 0)
        self._due = dict.fromkeys(needed, 0.0)
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
            if code == DAMAGED_CODE:
                wait = DAMAGED_SECONDS
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
            env=self._environment,
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
    roles = tuple(role for role in roles if role in roles_of(config))
    silent = {role: folder.path / f"{role}.address" for role in roles if role not in SILENT}
    supervisor = Supervisor(config, roles, arguments)
    try:
        refuse_damage(folder, sends="send" in roles)
        for left in (*silent.values(), folder.pulse("send")):
            left.unlink(missing_ok=True)
        _wait_for_ports(config, roles, stopping)
        supervisor.start()
        while not stopping.wait(0.2):
            supervisor.tend()
            for role in [role for role, address in silent.items() if address.exists()]:
                announce(role, silent.pop(role).read_text())
    finally:
        supervisor.stop()


def roles_of(config: Config) -> tuple[str, ...]:
    """The roles that the configuration gives something to do."""
    reads = any(plan.common.enabled for plan in config.pulls.values())
    return tuple(role for role in ROLES if role != "pull" or reads)


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
                if time.monotonic() > until or not is_running(folder, role):
                    raise
                stopping.wait(0.1)


def is_running(folder: DataFolder, role: str) -> bool:
    """Whether a process has that role over the folder."""
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
        except NotYet:
            continue
    return None


class Readiness:
    """Whether the service does what it is for: events are taken, decided and sent."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        intake: Intake,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._clock = clock
        self._intake = intake
        self._steady = steady
        self._stood: tuple[int, float] | None = None

    def missing(self) -> list[str]:
        """What is not as it should be, in words; nothing where all is well."""
        try:
            now = status(self._config.data, self._clock, self._config.outlets)
        except LogError as error:
            return [str(error)]
        found = (self._taking(), self._deciding(now), sending(DataFolder(self._config.data)))
        return [one for one in found if one is not None]

    def _taking(self) -> str | None:
        """A refusal of long ago says nothing: where nobody sends, nothing could disprove it."""
        if self._intake.damage is not None:
            return self._intake.damage
        refused = self._intake.seconds_since_refusal()
        return None if refused is None or refused > STILL_SECONDS else "the log does not take events"

    def _deciding(self, now: Status) -> str | None:
        behind = now.events - now.decided
        if behind > BEHIND:
            return f"{behind} events wait to be decided"
        if behind <= 0:
            return None
        if self._stood is None or self._stood[0] != now.decided:
            self._stood = (now.decided, self._steady())
        if self._steady() - self._stood[1] > STILL_SECONDS:
            return f"no event was decided for {STILL_SECONDS:.0f} s, and {behind} wait"
        return None


def sending(folder: DataFolder) -> str | None:
    """Why nothing is sent, whatever the destinations do; `None` where the sender turns."""
    beat = seconds_since_beat(folder.pulse("send"))
    if beat is None or not sender_runs(folder):
        return _why_it_ended(folder) or "the sender does not run"
    return None if beat <= STILL_SECONDS else f"the sender has not turned for {beat:.0f} s"


def _why_it_ended(folder: DataFolder) -> str | None:
    try:
        return f"the sender ended: {folder.trouble('send').read_text()}"
    except OSError:
        return None


def sender_runs(folder: DataFolder) -> bool:
    """Whether a sender has the folder. Its lock is tried only where its pulse does not tell: a sender that
    starts at that very moment would find it taken."""
    beat = seconds_since_beat(folder.pulse("send"))
    return (beat is not None and beat < PULSE_SECONDS) or is_running(folder, "send")


def _core_routes(config: Config, clock: Clock, intake: Intake) -> list[Route]:
    encode = msgspec.json.encode
    readiness = Readiness(config, clock, intake)

    def answer(body: object, code: int = 200) -> Response:
        return Response(encode(body), code, media_type="application/json")

    async def alive(request: Request) -> Response:
        return answer({"status": "alive"})

    async def ready(request: Request) -> Response:
        why = "; ".join(readiness.missing())
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


def _metrics_route(metrics: RoleMetrics, roles: Sequence[str]) -> Route:
    """What every role measures, for Prometheus."""

    async def measured(request: Request) -> Response:
        page = await asyncio.to_thread(metrics.page, roles)
        return Response(page, headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", measured)


def role(name: str, config: Config) -> None:
    """Does one role in this process until told to stop."""
    # Our values are trees without cycles: the collector would only walk the states again and again.
    gc.set_threshold(100_000, 50, 100)
    trouble = DataFolder(config.data).trouble(name)
    try:
        trouble.unlink(missing_ok=True)
        match name:
            case "core":
                core(config)
            case "send":
                send(config)
            case "web":
                web(config)
            case "pull":
                pull(config)
            case _:
                raise ValueError(f"no role {name!r}")
    except (LogError, DataError) as error:
        with suppress(OSError):
            trouble.write_text(str(error))
        raise


def web(config: Config) -> None:
    """Serves the pages until told to stop."""
    # Imported here: core and send live without the pages, the reports and their database.
    from lendsignal.console import pages
    from lendsignal.decide.cutting import Cutter

    folder = DataFolder(config.data)
    metrics = RoleMetrics("web", folder.path)
    app = pages(config)
    app.router.routes.append(_metrics_route(metrics, roles_of(config)))
    cutter = Cutter(lambda: open_log(folder.log), config.policy, config.tiers, clock_at(config.replay_clock))
    with folder.lock("web"), Ticking(metrics), cutter:
        serve(app, config.web.host, config.web.port, folder.path / "web.address")
