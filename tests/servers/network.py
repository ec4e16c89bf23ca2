"""Machines of one network, as far as processes can tell: each a network namespace, all on one bridge.

What is cut off says nothing and hears nothing: its packets vanish, nothing is refused and nothing is reset.
All of it stands in a namespace of our own (`within_own_network`) and is gone with the last process in it;
the machine's own network is left alone.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import NoReturn

from tests.servers.daemon import PATIENCE

BRIDGE = "lab"
HERE = "10.77.0.1"
"""The address of whoever runs the machines, as they see it."""

_INSIDE = "LENDSIGNAL_TEST_NETWORK"
_OWN = ("unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child", "--")
"""A network and process numbers of our own: whatever is started within ends with the first process."""

CANNOT = (
    "NO NETWORK OF OUR OWN CAN BE MADE HERE (that takes Linux, root, `ip`, `unshare`, `nsenter`, `setpriv`):"
    " nothing is cut off, and what would be is frozen with SIGSTOP instead"
)


def has_networks() -> bool:
    """Whether this machine lets us make networks of our own."""
    if os.getuid() != 0 or not all(map(shutil.which, ("ip", "unshare", "nsenter", "setpriv"))):
        return False
    tried = ["ip", "link", "add", BRIDGE, "type", "bridge"]
    return subprocess.run([*_OWN, *tried], capture_output=True, timeout=PATIENCE, check=False).returncode == 0


def is_within_own_network() -> bool:
    """Whether this process has a network of its own already."""
    return os.environ.get(_INSIDE) == str(_network("self"))


def within_own_network(module: str) -> NoReturn:
    """Starts `python -m module` with the same words once more, in a network of its own, in our place."""
    # The shell is the first process there, and takes leave of those whose parents are gone.
    begin = f'ip link set lo up; {_INSIDE}=$(stat -Lc %i /proc/self/ns/net) "$@"; exit $?'
    words = [*_OWN, "sh", "-c", begin, "sh", sys.executable, "-m", module, *sys.argv[1:]]
    sys.stdout.flush()
    os.execvp(words[0], words)


def _network(process: int | str) -> int:
    return os.stat(f"/proc/{process}/ns/net").st_ino


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, (words, done.stderr)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Machine:
    """One machine of a network: its address, and whether the others can reach it."""

    def __init__(self, number: int) -> None:
        self.address = f"10.77.0.{number}"
        self._port = f"port{number}"
        # Somebody has to be in a network, or it would be gone.
        self._keeper = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--", "cat"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._wait_for_network()
        keeper = str(self._keeper.pid)
        _ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", keeper)
        _ip("link", "set", self._port, "up", "master", BRIDGE)
        for words in (
            ["link", "set", "lo", "up"],
            ["addr", "add", f"{self.address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            subprocess.run([*self.words, "ip", *words], check=True, timeout=PATIENCE)

    @property
    def words(self) -> list[str]:
        """What a command begins with that is to run on this machine; its process keeps its number."""
        return ["nsenter", f"--net=/proc/{self._keeper.pid}/ns/net", "--"]

    def processes(self) -> list[int]:
        """Everything that runs on this machine."""
        own, found = _network(self._keeper.pid), []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if _network(place.name) == own:
                    found.append(int(place.name))
        return [one for one in found if one != self._keeper.pid]

    def signal(self, number: int) -> None:
        """To everything that runs there, again until nobody was born meanwhile."""
        told: set[int] = set()
        while born := set(self.processes()) - told:
            for one in born:
                with suppress(ProcessLookupError):
                    os.kill(one, number)
            told |= born

    def is_empty(self) -> bool:
        """Whether nothing runs there; what has ended and is not buried yet does not count."""
        return not any(_lives(one) for one in self.processes())

    def cut_off(self) -> None:
        """From now on nothing comes through, either way."""
        _ip("link", "set", self._port, "nomaster")

    def join(self) -> None:
        """It is reached again."""
        _ip("link", "set", self._port, "master", BRIDGE)

    def close(self) -> None:
        """The machine is gone once its processes are."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(PATIENCE)

    def _wait_for_network(self) -> None:
        """The keeper has moved out of our network."""
        end = time.monotonic() + PATIENCE
        while _network(self._keeper.pid) == _network("self"):
            assert time.monotonic() < end, "no network"
            Event().wait(0.01)


class Network:
    """Machines that reach each other, and us at `HERE`. Only for a process within a network of its own."""

    def __init__(self) -> None:
        assert is_within_own_network(), "only in a network of our own"
        self._machines: list[Machine] = []
        # Else the bridge would take the address of its ports by turns.
        _ip("link", "add", BRIDGE, "address", "02:00:00:00:00:01", "type", "bridge")
        _ip("addr", "add", f"{HERE}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")

    def machine(self) -> Machine:
        """One more."""
        self._machines.append(Machine(len(self._machines) + 2))
        return self._machines[-1]

    def close(self) -> None:
        """All of them are gone."""
        for one in self._machines:
            one.close()
        _ip("link", "delete", BRIDGE)
