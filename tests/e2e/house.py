"""What the browser looks at: the made-up lender after four weeks, or a service begun from nothing."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from tests.running import Service, call, until

from lendsignal.demo import Show, lender_of

PAUSED = "webhook-android"
"""The destination of the demo that refuses some events and is then paused."""

SPOILT = 150
"""How many of history's last events come while the demo's webhook refuses what it is sent."""

MADE_UP_SEED = 1


class Lender:
    """The demo after four weeks of history: its pages answer, its clock stands still."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        world = lender_of(folder, MADE_UP_SEED, datetime.now(UTC).date())
        self._show = Show(folder, world, headless=True, port=0, web_port=0)
        self._spoilt = False

    def start(self) -> "Lender":
        """Plays history, at whose end a destination refuses what it is sent, and pauses that destination."""
        self._show.start()
        self._show.play_history(self._spoil)
        self._show.result()
        self.faults()
        self.asked("pause", PAUSED, "--reason", "their_maintenance")
        return self

    def _spoil(self, played: int) -> None:
        if not self._spoilt and played >= self._show.history - SPOILT:
            self._spoilt = True
            self.faults({"kind": "status", "status": 422, "host": "android.hooks.acme.example"})

    @property
    def pages(self) -> str:
        """Where the console is."""
        return self._show.stage.pages.rstrip("/")

    def faults(self, *script: Mapping[str, Any]) -> None:
        """What goes wrong at the platforms from now on."""
        whole = Request(f"{self._show.stage.sandbox}/_sandbox/faults", json.dumps(script).encode())
        build_opener(ProxyHandler({})).open(whole, timeout=20).close()

    def asked(self, *words: str) -> str:
        """What a verb prints over the demo's folder."""
        command = [sys.executable, "-m", "lendsignal", *words, "--config", "lendsignal.toml"]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def report(self, *words: str) -> Any:
        """A report's data, as a program is given it."""
        return json.loads(self.asked("report", *words, "--json"))

    def settle(self) -> None:
        """Returns when nothing is left to do."""
        self._show.result()

    def close(self) -> None:
        """Ends every process."""
        self._show.stop()


def rows(report: Any, table: str) -> Sequence[Mapping[str, Any]]:
    """A table's rows of a report's data."""
    found: Sequence[Mapping[str, Any]] = report["tables"][table]["rows"]
    return found


BEGUN = """\
[portfolio]
name = "acme"

[web]
port = {web}

[door]
port = {door}

[brand.acme]

[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""

SOURCE = """
[source.backend]
key = {{ env = "ACME_KEY" }}
"""

DESTINATION = """
[deliver]
sandbox = "{sandbox}"

[destination.warehouse]
kind   = "webhook"
app    = "acme-ng"
url    = "https://hooks.acme.example/in"
secret = {{ env = "ACME_HOOK" }}

[[route]]
to   = "warehouse"
send = {{ registration = "ev_r", disbursement = "ev_ln" }}
"""


class Beginning(Service):
    """`lendsignal run` over a folder whose configuration grows."""

    def __init__(self, folder: Path, sandbox: str) -> None:
        super().__init__(folder, sandbox)
        self._sandbox = sandbox
        self.write()

    def write(self, *parts: str) -> None:
        """The configuration: what every service has, and these parts."""
        text = "".join((BEGUN, *parts)).format(door=self.port, web=self.web_port, sandbox=self._sandbox)
        (self.folder / "lendsignal.toml").write_text(text)

    def again(self, *parts: str) -> None:
        """Ends it and starts it with a longer configuration."""
        self.close()
        self.write(*parts)
        self.start()

    def link(self) -> str:
        """The link in the terminal that makes the first visitor an admin."""
        found = until(lambda: re.findall(r"http://\S+/welcome\?code=\S+", self.said), "the link is printed")
        return str(found[-1])

    def ready(self) -> None:
        """Returns when events can be sent and the pages answer."""
        super().ready()
        until(self._has_pages, "the pages answer")

    def _has_pages(self) -> bool:
        try:
            return call(self.pages, "GET", "/sign-in")[0] == 200
        except (OSError, HTTPException):
            return False
