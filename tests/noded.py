"""Nodes of a cluster as real processes over one PostgreSQL: each `lendsignal run --role …` with a folder of
its own."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from tests.running import CONFIG, ENVIRONMENT, PATIENCE, call, free_port, until

from lendsignal.cli.main import main

SLOTS = 8

STORE = """
[store]
url    = {{ env = "ACME_STORE" }}
schema = "{schema}"
slots  = {slots}
"""

TOPIC = """
[store.kafka]
servers = ["{brokers}"]
topic   = "{topic}"
group   = "{topic}.work"
tls     = false
replicas = 1
in_sync  = 1
session  = "3s"
"""

BROKERS = os.environ.get("LENDSIGNAL_TEST_KAFKA", "")
"""Where a broker is, if the log of every cluster is to be a topic: `python -m tests.cluster.over_kafka`."""


class Node:
    """One node. What it says is in `said`; `roles` are those that it has."""

    def __init__(
        self, folder: Path, store: str, sandbox: str, roles: Sequence[str], schema: str = "lendsignal"
    ) -> None:
        self.folder = folder
        self.roles = tuple(roles)
        self.schema = schema
        folder.mkdir(parents=True)
        self.port, self.web_port = free_port(), free_port()
        text = CONFIG.format(
            door=self.port, front="", web=self.web_port, sandbox=sandbox, outlet="", deliver=""
        )
        self.config = folder / "lendsignal.toml"
        text += STORE.format(schema=schema, slots=SLOTS)
        if BROKERS:
            text += topic_words(BROKERS, topic_of(store, schema))
        self.config.write_text(text)
        self.address, self.pages = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.web_port}"
        self.environment = {**os.environ, **ENVIRONMENT, "ACME_STORE": store, "OMP_NUM_THREADS": "1"}
        self.process: subprocess.Popen[bytes] | None = None

    def verb(self, *words: str, code: int = 0) -> str:
        """What a command over this node's configuration prints."""
        done = CliRunner().invoke(main, [*words, "--config", str(self.config)], env=self.environment)
        assert done.exit_code == code, (words, done.output)
        return done.output

    def start(self) -> "Node":
        """Starts it; it may take a moment until it is ready."""
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lendsignal", "run", "--role", ",".join(self.roles)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        return self

    def ready(self) -> "Node":
        """Returns when the probes of its roles say so."""
        if "ingest" in self.roles:
            until(lambda: self.answers(self.address, "/readyz"), "the door is ready")
        if "web" in self.roles:
            until(lambda: self.answers(self.pages, "/readyz"), "every role is ready")
        return self

    def answers(self, address: str, path: str) -> bool:
        """Whether that address says 200 now."""
        assert self.process is not None
        assert self.process.poll() is None, self.said
        try:
            return call(address, "GET", path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    @property
    def said(self) -> str:
        """Everything on standard output and standard error."""
        return (self.folder / "said").read_text()

    def status(self) -> dict[str, Any]:
        """How far the cluster is, as this node says."""
        asked = self.pages if "web" in self.roles else self.address
        found: dict[str, Any] = json.loads(call(asked, "GET", "/v1/status")[2])
        return found

    def idle(self) -> dict[str, Any]:
        """Returns when the cluster has nothing left to do."""

        def state() -> dict[str, Any] | None:
            try:
                found = self.status()
            except (OSError, http.client.HTTPException, ValueError):
                return None
            opened = [stages for stages in found.get("waiting", {}).values() if any(stages.values())]
            return found if found.get("idle") and not opened else None

        found: dict[str, Any] = until(state, "the cluster is idle")
        return found

    def kill(self) -> None:
        """The whole node, as where its machine loses power: supervisor and roles at once."""
        assert self.process is not None
        for pid in (self.process.pid, *_children(self.process.pid)):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process = None

    def close(self) -> None:
        """Ends it in good order, where it lives."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
        self.process = None


def topic_words(brokers: str, topic: str) -> str:
    """What a configuration says of the topic that is its log."""
    return TOPIC.format(brokers=brokers, topic=topic)


def topic_of(store: str, schema: str) -> str:
    """The topic of the cluster in that schema: each server of a test has topics of its own."""
    return f"{schema}-{store.rpartition(':')[2].partition('/')[0]}"


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found
