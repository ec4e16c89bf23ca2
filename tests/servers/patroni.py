"""PostgreSQL that fails over: servers under Patroni, each on its own machine, and the etcd they agree in.

Debian's packages bring both: `bash tests/servers/install_failover.sh`. Only within a network of our own.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from threading import Event
from typing import Any

from tests.servers.daemon import PATIENCE, as_server, program, server_user
from tests.servers.network import CANNOT, Machine, Network, has_networks, is_within_own_network
from tests.servers.postgresql import BINARIES

TTL_SECONDS = 20
"""How long a primary that is not heard of keeps its right: the shortest that Patroni takes."""

PORT, ETCD_PORT, PEER_PORT, REST_PORT = 5432, 2379, 2380, 8008

INSTALL = "bash tests/servers/install_failover.sh"

CONFIG = {
    "scope": "signals",
    "watchdog": {"mode": "off"},
    "bootstrap": {
        "dcs": {
            "ttl": TTL_SECONDS,
            "loop_wait": 2,
            # Shorter than an election of etcd takes, and a primary gives up because others vote.
            "retry_timeout": 8,
            # What an answer promised is on two disks, also while the two look for each other.
            "synchronous_mode": True,
            "synchronous_mode_strict": True,
            # A server that ended is not waited for: the standby has everything.
            "primary_start_timeout": 0,
            "postgresql": {"use_pg_rewind": True, "use_slots": True},
        },
        "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"],
    },
    "postgresql": {
        "pg_hba": ["local all all trust", "host all all all trust", "host replication all all trust"],
        "authentication": {"superuser": {"username": "lender"}, "replication": {"username": "follower"}},
        "parameters": {
            "shared_buffers": "16MB",
            "wal_keep_size": "256MB",
            "hot_standby_feedback": "on",
            "timezone": "Asia/Manila",
        },
    },
}


def missing_for_failover() -> str:
    """Why no server can fail over here; nothing where it can."""
    if not is_within_own_network() and not has_networks():
        return CANNOT
    missing = [name for name in ("patroni", "etcd") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed: {INSTALL}" if missing else ""


class Server:
    """One machine: its PostgreSQL, its Patroni, and its part of etcd where it has one."""

    def __init__(self, name: str, machine: Machine, folder: Path, etcd: dict[str, str]) -> None:
        self.name = name
        self.machine = machine
        self._folder = folder / name
        self._folder.mkdir()
        self._etcd = etcd
        own = _merged(
            CONFIG,
            {
                "name": name,
                "restapi": {"listen": f"{machine.address}:{REST_PORT}"},
                # Its newer interface is read through a cache, which in Patroni 3.0 may stay behind for
                # ever: then the standby that is named there is not the one that has everything.
                "etcd": {"hosts": [f"{address}:{ETCD_PORT}" for address in etcd.values()]},
                "postgresql": {
                    "listen": f"{machine.address}:{PORT}",
                    "connect_address": f"{machine.address}:{PORT}",
                    "data_dir": str(self._folder / "data"),
                    "bin_dir": str(Path(program("postgres", BINARIES)).parent),
                    "pgpass": str(self._folder / "pgpass"),
                    "parameters": {"unix_socket_directories": str(self._folder)},
                },
            },
        )
        (self._folder / "patroni.yml").write_text(json.dumps(own))  # which is YAML too
        if os.getuid() == 0:
            for place in (self._folder, *self._folder.iterdir()):
                shutil.chown(place, str(server_user()))
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Its etcd first; nobody is waited for."""
        if self.name in self._etcd:
            self._run(etcd_words(self.name, self._etcd, self._folder / "etcd"), "etcd.said")
        self._run([program("patroni"), str(self._folder / "patroni.yml")], "patroni.said")

    def start_etcd_alone(self) -> None:
        """For one that is a witness and no database."""
        self._run(etcd_words(self.name, self._etcd, self._folder / "etcd"), "etcd.said")

    def _run(self, words: Sequence[str], said: str) -> None:
        with (self._folder / said).open("ab") as log:
            self._started.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *self.machine.words, *as_server(words)],
                    cwd=self._folder,
                    env={"PATH": os.environ["PATH"], "HOME": str(self._folder), "LANG": "C.UTF-8"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def kill(self) -> None:
        """As where the machine loses its power."""
        self.machine.signal(SIGKILL)
        _until(self.machine.is_empty, f"{self.name} is dead")
        for one in self._started:
            one.wait(PATIENCE)
        self._started.clear()

    def kill_postgres(self) -> None:
        """`kill -9` for PostgreSQL alone, all of it: Patroni sees it at once."""
        for process in self.machine.processes():
            with suppress(OSError):
                if Path(f"/proc/{process}/comm").read_text().strip() == "postgres":
                    os.kill(process, SIGKILL)

    def role(self) -> str:
        """`master`, `sync_standby`, `replica` and so on by its Patroni's word; empty: it does not run."""
        try:
            where = f"http://{self.machine.address}:{REST_PORT}/patroni"
            try:
                with urllib.request.urlopen(where, timeout=1) as answer:
                    found: dict[str, Any] = json.load(answer)
            except urllib.error.HTTPError as refused:
                with refused:
                    found = json.load(refused)
        except (OSError, ValueError):
            return ""
        if found.get("state") != "running":
            return ""
        return "sync_standby" if found.get("sync_standby") else str(found.get("role", ""))

    @property
    def said(self) -> str:
        """Its last words."""
        return "\n".join(one.read_text(errors="replace")[-2000:] for one in self._folder.glob("*.said"))


class Servers:
    """The servers of one database, one of them the primary. `witnesses` keep etcd alone."""

    def __init__(self, all_: Sequence[Server], witnesses: Sequence[Server]) -> None:
        self.all = tuple(all_)
        self.witnesses = tuple(witnesses)

    @property
    def plain_url(self) -> str:
        """All of them; whoever connects looks for the one that writes."""
        hosts = ",".join(f"{one.machine.address}:{PORT}" for one in self.all)
        return f"postgresql://lender@{hosts}/postgres?target_session_attrs=read-write"

    def start(self) -> None:
        """Returns when there is a primary with a synchronous standby."""
        for one in self.witnesses:
            one.start_etcd_alone()
        for one in self.all:
            one.start()
        self.wait_until_whole()

    def kill(self) -> None:
        """All of them, as where a whole house loses its power."""
        for one in self.all:
            one.kill()

    def signal_all(self, number: int) -> None:
        """To everything that runs on their machines."""
        for one in self.all:
            one.machine.signal(number)

    def primary(self, *but: Server) -> Server:
        """The one that writes, once there is one; `but` those that only believe so."""

        def found() -> Server | None:
            return next((one for one in self.all if one not in but and one.role() == "master"), None)

        one: Server = _until(found, "somebody writes", self)
        return one

    def standby(self) -> Server:
        """The one that has everything that was answered, once there is one."""
        one: Server = _until(
            lambda: next((one for one in self.all if one.role() == "sync_standby"), None),
            "somebody has everything",
            self,
        )
        return one

    def wait_until_whole(self) -> None:
        """One writes, one has everything, and the others follow."""
        expected = ["master", *["replica"] * (len(self.all) - 2), "sync_standby"]
        _until(lambda: sorted(one.role() for one in self.all) == expected, "all are there", self)

    def close(self) -> None:
        for one in (*self.all, *self.witnesses):
            one.kill()


@contextmanager
def servers(network: Network, folder: Path, count: int = 3, *, witness: bool = False) -> Iterator[Servers]:
    """So many servers while the block runs, with an etcd on each, or on a `witness` alone.

    What they have stays in the folder.
    """
    program("patroni")
    folder.chmod(0o711)  # they run as somebody else, and go to folders of their own in it
    names = [f"db{number}" for number in range(1, count + 1)]
    machines = {name: network.machine() for name in ([*names, "witness"] if witness else names)}
    voters = ["witness"] if witness else names
    etcd = {name: machines[name].address for name in voters}
    made = {name: Server(name, machine, folder, etcd) for name, machine in machines.items()}
    one = Servers([made[name] for name in names], [made["witness"]] if witness else [])
    try:
        one.start()
        yield one
    finally:
        one.close()


def etcd_words(name: str, voters: dict[str, str], folder: Path) -> list[str]:
    """One voter of an etcd, which comes again with what it had."""
    address = voters[name]
    return [
        program("etcd"),
        *("--name", name, "--data-dir", str(folder), "--logger", "zap", "--log-level", "warn"),
        *("--listen-client-urls", f"http://{address}:{ETCD_PORT}"),
        *("--advertise-client-urls", f"http://{address}:{ETCD_PORT}"),
        *("--listen-peer-urls", f"http://{address}:{PEER_PORT}"),
        *("--initial-advertise-peer-urls", f"http://{address}:{PEER_PORT}"),
        *(
            "--initial-cluster",
            ",".join(f"{one}=http://{where}:{PEER_PORT}" for one, where in voters.items()),
        ),
        *("--heartbeat-interval", "250", "--election-timeout", "2500"),
        "--enable-v2",
        "--pre-vote",  # who was cut off and comes back asks before it makes the others vote anew
    ]


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for name, value in other.items():
        known = found.get(name)
        found[name] = _merged(known, value) if isinstance(known, dict) else value
    return found


def _until(true: Any, what: str, among: Servers | None = None) -> Any:
    end, breath = time.monotonic() + 2 * PATIENCE, Event()
    while not (found := true()):
        said = "" if among is None else "\n\n".join(f"{one.name}\n{one.said}" for one in among.all)
        assert time.monotonic() < end, f"never so: {what}\n{said}"
        breath.wait(0.1)
    return found
