"""The processes of a replay: the sandboxes in place of the platforms, and the service in front of them."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lendsignal import config as configuration
from lendsignal.clock import ReplayClock
from lendsignal.config import Config
from lendsignal.errors import LendsignalError
from lendsignal.role import door_of
from lendsignal.run import Supervisor
from lendsignal.sandbox import SandboxSettings

START_SECONDS = 60.0


class Stage:
    """A running service whose every request goes to sandboxes, all on one replay clock.

    `folder` holds the configuration (`lendsignal.toml`, which must name the replay clock), the data and
    what the sandboxes received; starting again over the same folder goes on where it stopped.
    """

    def __init__(
        self,
        folder: Path,
        accounts: SandboxSettings,
        *,
        roles: tuple[str, ...],
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self._roles = roles
        self._accounts = folder / "sandbox.json"
        self._accounts.write_bytes(msgspec.json.encode(accounts))
        self._overrides = dict(overrides or {})
        self._sandbox: subprocess.Popen[str] | None = None
        self._supervisor: Supervisor | None = None
        self.clock = ReplayClock(folder / "clock")
        self.sandbox = ""
        self.service = ""
        self.pages = ""

    def start(self) -> Config:
        """Starts everything and returns when events can be sent."""
        self._start_sandbox()
        path = self.folder / "lendsignal.toml"
        config = configuration.load(path, overrides={**self._overrides, "deliver.sandbox": self.sandbox})
        taken_at = f"{door_of(config)}.address"
        for name in (taken_at, "web.address"):
            (config.data / name).unlink(missing_ok=True)
        arguments = [f"--set={key}={value}" for key, value in self._overrides.items()]
        self._supervisor = Supervisor(
            config, self._roles, (*arguments, f"--set=deliver.sandbox={self.sandbox}")
        )
        self._supervisor.start()
        self.service = self._address(config.data / taken_at)
        if "web" in self._roles:
            self.pages = self._address(config.data / "web.address")
        return config

    def tend(self) -> None:
        """Starts again what died."""
        if self._supervisor is not None:
            self._supervisor.tend()

    def pid(self, role: str) -> int | None:
        """The process of a role."""
        return None if self._supervisor is None else self._supervisor.pid(role)

    def stop(self) -> None:
        """Ends the service first, then the sandboxes, so that no answer is missed."""
        if self._supervisor is not None:
            self._supervisor.stop()
            self._supervisor = None
        if self._sandbox is not None:
            self._sandbox.send_signal(signal.SIGTERM)
            try:
                self._sandbox.wait(10)
            except subprocess.TimeoutExpired:
                self._sandbox.kill()
                self._sandbox.wait()
            for pipe in (self._sandbox.stdin, self._sandbox.stdout):
                if pipe is not None:
                    pipe.close()
            self._sandbox = None

    def _start_sandbox(self) -> None:
        command = [
            sys.executable,
            "-m",
            "lendsignal.sandbox",
            "--settings",
            str(self._accounts),
            "--port",
            "0",
        ]
        command += [
            "--folder",
            str(self.folder / "received"),
            "--clock",
            str(self.folder / "clock"),
            "--with-parent",
        ]
        # A session of its own: Ctrl-C must reach the service first.
        self._sandbox = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._sandbox.stdout is not None
        line = self._sandbox.stdout.readline()
        if "http://" not in line:
            raise LendsignalError("the sandbox did not start")
        self.sandbox = line.split()[-1]

    def _address(self, path: Path) -> str:
        end = time.monotonic() + START_SECONDS
        while not path.exists():
            self.tend()
            if time.monotonic() > end:
                raise LendsignalError(f"the service did not start within {START_SECONDS:.0f} s")
            time.sleep(0.02)
        return path.read_text()
