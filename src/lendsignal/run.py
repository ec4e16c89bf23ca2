"""Supervises the roles: what `lendsignal run` keeps alive over one data folder."""

import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import (
    DataFolder,
    refuse_damage,
)
from lendsignal.role import DAMAGED_CODE, JOBS, ROLES, SILENT, pause_of, roles_of
from lendsignal.role.serving import listening
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


UNKNOWN = -1
"""In place of when files were last written: a job that failed has its work still to do."""


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
        self._folder = DataFolder(config.data)
        self._written: dict[str, int] = {}
        self._lock = self._folder.lock("run")

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
        for role in self._failures:
            if role not in self._children and now >= self._due[role] and self._has_work(role):
                self._children[role] = self._child(role)
                self._started[role] = now

    def _has_work(self, role: str) -> bool:
        """Whether a role has something to do; the archive only where files changed since it was started last.

        Lists change as time goes by, and platforms answer later: that job looks for itself.
        """
        if role != "archive":
            return True
        written, self._written[role] = self._written.get(role, 0), self._folder.last_written()
        return written != self._written[role]

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
    stopping = stop_on_signal()
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
                listening(host, port).close()
                break
            except LogError:
                if time.monotonic() > until or not folder.is_running(role):
                    raise
                stopping.wait(0.1)
