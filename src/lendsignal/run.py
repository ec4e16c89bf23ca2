"""Supervises the roles: what `lendsignal run` keeps alive over one data folder."""

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.errors import ConfigError, LogError, Problem
from lendsignal.lifeline import reload_on_signal, stop_on_signal
from lendsignal.log import (
    DataFolder,
    refuse_damage,
)
from lendsignal.role import (
    DAMAGED_CODE,
    DESK,
    JOBS,
    NODE_ROLES,
    ROLES,
    THIS_NODE,
    door_of,
    listens,
    pause_of,
    refuse_other_roles,
    roles_of,
    with_jobs,
)
from lendsignal.role.leading import leads
from lendsignal.role.serving import LISTENS_ON, listening
from lendsignal.source import (
    INNER_KEY,
)

logger = logging.getLogger(__name__)


RESTART_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)

DAMAGED_SECONDS = 60.0
"""How soon such a role is started again: a person must act, and until then it would end again."""

PORT_SECONDS = 8.0
"""How long a port may still be taken by a service that is about to end."""

STEADY_SECONDS = 30.0
"""A child that lived so long is no longer counted as failing."""

UP_SECONDS = 60.0
"""How long a renewed role may take until it works; then the configuration of before is taken up again."""

RENEWED_IN_TURN = ("web", "send", "core", "door", "work", "ingest", "pull", "watch", "desk")
"""Who reads what others write is renewed before them, so that nobody meets a word that he does not know."""

UNKNOWN = -1
"""In place of when files were last written: a job that failed has its work still to do."""


class Supervisor:
    """Keeps one child process a role alive; ends them all, orderly, when it is told to stop.

    Children work by the configuration that was accepted last, whatever stands in the file meanwhile.
    """

    def __init__(self, config: Config, roles: tuple[str, ...], arguments: tuple[str, ...] = ()) -> None:
        self._config, self._text = config, ""
        self._roles = roles
        self._arguments = arguments
        self._environment = {
            **os.environ,
            INNER_KEY: secrets.token_urlsafe(32),
            THIS_NODE: ",".join(roles),
        }
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        needed = tuple(role for role in roles if role in roles_of(config))
        self._failures = dict.fromkeys(needed, 0)
        self._due = dict.fromkeys(needed, 0.0)
        self._folder = DataFolder(config.data)
        self._written: dict[str, int] = {}
        self._doors: dict[str, socket.socket] = {}
        self._renewing = _Renewing()
        self._lock = self._folder.lock("run")
        self._reads: tuple[str, ...] = ()
        with suppress(OSError):  # with a full disk children read the file itself, and nothing is reloaded
            self._accept(config, _text_of(config))

    def start(self, doors: dict[str, socket.socket] | None = None) -> None:
        """Starts every role. `doors`: sockets that listen for a role already; the supervisor closes them."""
        self._doors |= doors or {}
        self.tend()

    def tend(self) -> None:
        """Starts what is due, notices who died, and goes on with renewing the roles."""
        now = time.monotonic()
        for role, child in list(self._children.items()):
            code = child.poll()
            if code is None:
                if now - self._started[role] > STEADY_SECONDS:
                    self._failures[role] = 0
                continue
            del self._children[role]
            _let_go(child)
            if self._renewing.ending == role:
                self._due[role] = now
                continue
            if role in self._doors:  # callers must know at once that nobody answers
                self._doors.pop(role).close()
            every = pause_of(role, self._config)
            if role in JOBS and code == 0:
                self._due[role], self._failures[role] = now + every, 0
                continue
            if role in JOBS:
                self._written[role] = UNKNOWN
            wait = max(every, RESTART_SECONDS[min(self._failures[role], len(RESTART_SECONDS) - 1)])
            if code == DAMAGED_CODE:
                wait = max(every, DAMAGED_SECONDS)
            self._failures[role] += 1
            self._due[role] = now + wait
            logger.warning("%s ended with code %s; starting it again in %.1f s", role, code, wait)
            if self._renewing.starting == role:
                self._fall_back(f"{role} ended with code {code}")
        self._renew(now)
        for role in self._failures:
            if role not in self._children and now >= self._due[role] and self._has_work(role):
                self._children[role] = self._child(role)
                self._started[role] = now

    def _has_work(self, role: str) -> bool:
        """Whether a role has something to do; the archive only where files changed since it was started last.

        Lists change as time goes by, and platforms answer later: that job looks for itself.
        """
        if role == "erase":
            return _is_due(self._folder)
        if role == "audience":
            return leads(self._config)
        if role != "archive":
            return True
        written, self._written[role] = self._written.get(role, 0), self._folder.last_written()
        return written != self._written[role]

    def pid(self, role: str) -> int | None:
        """The process that has that role now."""
        child = self._children.get(role)
        return None if child is None else child.pid

    # another configuration

    def reload(self) -> bool:
        """Reads the configuration again and begins to renew the roles by it; whether it is taken.

        What cannot be used changes nothing: every mistake is said, and the one that was accepted goes on.
        """
        try:
            text = _text_of(self._config)
            overrides = configuration.overrides([word.removeprefix("--set=") for word in self._arguments])
            fresh = configuration.load(self._config.path, overrides=overrides, text=text)
            _refuse_what_stays(self._config, fresh)
            doors = self._doors_for(fresh)
        except ConfigError as error:
            for problem in error.problems:
                logger.error("configuration not reloaded, the one of before goes on: %s", problem)
            return False
        except LogError as error:
            logger.error("configuration not reloaded, the one of before goes on: %s", error)
            return False
        for warning in fresh.warnings:
            logger.warning("%s", warning)
        if self._renewing.before is None:
            self._renewing.before = (self._config, self._text, self._doors.copy())
        try:
            self._take_up(fresh, text, doors)
        except OSError as error:
            logger.error("configuration not reloaded: the data folder cannot be written: %s", error.strerror)
            self._renewing = _Renewing()
            return False
        logger.info("configuration reloaded: renewing %s", ", ".join(self._renewing.queue) or "nothing")
        return True

    @property
    def is_renewing(self) -> bool:
        """Whether a configuration is being taken up."""
        return self._renewing.before is not None

    def _take_up(self, config: Config, text: str, doors: dict[str, socket.socket]) -> None:
        """Every long-running role is renewed by this configuration; jobs go by it when they start next."""
        self._accept(config, text)
        self._doors = doors
        needed = [role for role in self._roles if role in roles_of(config)]
        for role in needed:
            self._failures.setdefault(role, 0)
            self._due.setdefault(role, 0.0)
        for role in [role for role in self._failures if role not in needed and role not in self._children]:
            self._forget(role)
        self._renewing.starting = None
        self._renewing.queue = [role for role in RENEWED_IN_TURN if role in self._children]

    def _renew(self, now: float) -> None:
        """One step of renewing: asks the next role to end, and waits until the one before works again."""
        turn = self._renewing
        if turn.ending is not None:
            child = self._children.get(turn.ending)
            if child is None:
                self._has_ended(turn.ending)
            elif now > turn.until:
                logger.error("%s did not stop in time and is killed", turn.ending)
                child.kill()
            return
        if turn.starting is not None:
            if self._is_up(turn.starting):
                turn.renewed.append(turn.starting)
                turn.starting = None
            elif now > turn.until:
                self._fall_back(f"{turn.starting} does not work after {UP_SECONDS:.0f} s")
            else:
                return
        if turn.queue:
            role = turn.queue.pop(0)
            if (child := self._children.get(role)) is not None:
                turn.ending = role
                turn.until = now + self._config.deliver.drain.total_seconds() + 10
                turn.address = self._address_of(role)
                child.send_signal(signal.SIGTERM)
        elif turn.before is not None:
            _close_those_not_in(turn.before[2], self._doors)
            if turn.renewed:
                logger.info("renewed %s", ", ".join(turn.renewed))
            self._renewing = _Renewing()

    def _has_ended(self, role: str) -> None:
        """The role that was asked to end is gone: it is started again, where the configuration has it."""
        turn = self._renewing
        turn.ending = None
        if role in roles_of(self._config):
            turn.starting, turn.until = role, time.monotonic() + UP_SECONDS
        else:
            self._forget(role)

    def _fall_back(self, why: str) -> None:
        """Takes up the configuration of before again; where that is what fails, it is only said."""
        turn, self._renewing = self._renewing, _Renewing()
        if turn.before is None:
            return
        config, text, doors = turn.before
        logger.error("the new configuration does not work (%s): the one of before is taken up again", why)
        _close_those_not_in(self._doors, doors)
        with suppress(OSError):
            self._take_up(config, text, doors)
        done = {*turn.renewed, turn.starting, turn.ending}
        self._renewing.queue = [role for role in self._renewing.queue if role in done]

    def _forget(self, role: str) -> None:
        self._failures.pop(role, None)
        self._due.pop(role, None)
        if role in self._doors:
            self._doors.pop(role).close()

    def _is_up(self, role: str) -> bool:
        """Whether the child has its role, and listens where it is one that listens."""
        child = self._children.get(role)
        if child is None or self._folder.holder(role) != child.pid:
            return False
        return not listens(role, self._config) or self._address_of(role) not in (None, self._renewing.address)

    def _address_of(self, role: str) -> int | None:
        """When a role last said where it listens."""
        try:
            return (self._folder.path / f"{role}.address").stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _accept(self, config: Config, text: str) -> None:
        """From here on every child that is started works by this configuration. Raises `OSError`."""
        fresh = self._folder.accepted.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self._folder.accepted)
        self._config, self._text = config, text
        self._reads = ("--accepted", str(self._folder.accepted))

    # doors

    def _doors_for(self, fresh: Config) -> dict[str, socket.socket]:
        """The sockets for another configuration: those that stay, and new ones. Raises `LogError`."""
        doors = {}
        before = _addresses(self._config)
        for role, address in _addresses(fresh).items():
            if role not in self._roles:
                continue
            if before[role] != address:
                doors[role] = listening(*address)
            elif role in self._doors:
                doors[role] = self._doors[role]
        return doors

    def _door(self, role: str) -> socket.socket | None:
        """The socket on which a role listens, opened again where it was let go; `None`: the role tries."""
        if not listens(role, self._config):
            return None
        if role not in self._doors:
            try:
                self._doors[role] = listening(*_addresses(self._config)[role])
            except LogError:
                return None
        return self._doors[role]

    # processes

    def stop(self) -> None:
        """Ends every child: asked first, killed when it outlasts the drain limit by ten seconds."""
        for door in self._doors.values():
            door.close()
        if self._renewing.before is not None:
            _close_those_not_in(self._renewing.before[2], self._doors)
        self._doors.clear()
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
        words = [role, "--config", str(self._config.path), *self._reads, *self._arguments]
        door = self._door(role)
        handed = {} if door is None else {LISTENS_ON: str(door.fileno())}
        # The child reads its end of this pipe: when we die in whatever way, it ends too. Its session is
        # its own, for Ctrl-C is meant for us: we end the roles in good order.
        return subprocess.Popen(
            [sys.executable, "-m", "lendsignal.role", *verbose, *words],
            stdin=subprocess.PIPE,
            start_new_session=True,
            env={**self._environment, **handed},
            pass_fds=() if door is None else (door.fileno(),),
        )


class _Renewing(Struct):
    """How far the roles are renewed: who is asked to end, who must come up, who comes next, who is done."""

    before: tuple[Config, str, dict[str, socket.socket]] | None = None
    ending: str | None = None
    starting: str | None = None
    until: float = 0.0
    address: int | None = None
    queue: list[str] = []
    renewed: list[str] = []


def _text_of(config: Config) -> str:
    """The configuration as it stands in its file. Raises `ConfigError` where it cannot be read."""
    try:
        return config.path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise ConfigError([Problem(str(config.path), reason or "unreadable", "a TOML file")]) from None


def _refuse_what_stays(now: Config, fresh: Config) -> None:
    """Raises `ConfigError` for keys that a running service cannot change."""
    kept = {
        "service.data": (now.data, fresh.data),
        "store": (_place_of(now), _place_of(fresh)),
        "service.replay_clock": (now.replay_clock, fresh.replay_clock),
        "door.apart": (now.door.apart, fresh.door.apart),
    }
    found = [
        Problem(key, f"{after}, and {before} while the service runs", "what it was, until a restart")
        for key, (before, after) in kept.items()
        if before != after
    ]
    if found:
        raise ConfigError(found)


def _place_of(config: Config) -> str:
    """Where an install keeps what came in."""
    if config.store is None:
        return "the data folder"
    place, kafka = f"the schema {config.store.schema} of the store", config.store.kafka
    return place if kafka is None else f"{place} with the topic {kafka.topic} as its log"


def _addresses(config: Config) -> dict[str, tuple[str, int]]:
    return {door_of(config): (config.door.host, config.door.port), "web": (config.web.host, config.web.port)}


def _close_those_not_in(doors: dict[str, socket.socket], others: dict[str, socket.socket]) -> None:
    kept = list(others.values())
    for door in doors.values():
        if door not in kept:
            door.close()


def _is_due(folder: DataFolder) -> bool:
    """Whether an erasure has something to do by now; the machine's own clock says."""
    try:
        return SystemClock().now_us() >= int(folder.erasing.read_text()) * 1_000_000
    except (OSError, ValueError):
        return False


def _let_go(child: subprocess.Popen[bytes]) -> None:
    """Closes our end of the pipe by which a child knows that we live."""
    if child.stdin is not None:
        child.stdin.close()


def run(
    config: Config,
    roles: tuple[str, ...] | None = None,
    arguments: tuple[str, ...] = (),
    announce: Callable[[str, str], None] = lambda role, address: None,
) -> None:
    """Supervises the roles until SIGTERM or Ctrl-C; `None`: all that an install of this kind has. `announce`
    is told where each role listens.

    SIGHUP reads the configuration again: see `Supervisor.reload`. Raises `LogError` before anything is
    started where the data folder is damaged.
    """
    if roles is None:
        roles = ROLES if config.store is None else tuple(role for role in NODE_ROLES if role != DESK)
    refuse_other_roles(config, roles)
    roles = with_jobs(config, roles)
    folder = DataFolder(config.data)
    stopping, asked = stop_on_signal(), reload_on_signal()
    supervisor = Supervisor(config, roles, arguments)
    roles = tuple(role for role in roles if role in roles_of(config))
    silent = {role: folder.path / f"{role}.address" for role in roles if listens(role, config)}
    try:
        if config.store is None:
            refuse_damage(folder, sends="send" in roles)
        for left in (*silent.values(), folder.pulse("send")):
            left.unlink(missing_ok=True)
        supervisor.start(_doors(config, roles, stopping))
        while not stopping.wait(0.2):
            if asked.is_set():
                asked.clear()
                supervisor.reload()
            supervisor.tend()
            for role in [role for role, address in silent.items() if address.exists()]:
                announce(role, silent.pop(role).read_text())
    finally:
        supervisor.stop()


def _doors(config: Config, roles: tuple[str, ...], stopping: threading.Event) -> dict[str, socket.socket]:
    """Nothing starts where the door or the pages could not listen; raises `LogError` with which port.

    A moment is granted to the children of a run that was killed: they are about to end.
    """
    folder = DataFolder(config.data)
    doors: dict[str, socket.socket] = {}
    until = time.monotonic() + PORT_SECONDS
    for role, address in _addresses(config).items():
        while role in roles and not stopping.is_set():
            try:
                doors[role] = listening(*address)
                break
            except LogError:
                if time.monotonic() > until or not folder.is_running(role):
                    for door in doors.values():
                        door.close()
                    raise
                stopping.wait(0.1)
    return doors
