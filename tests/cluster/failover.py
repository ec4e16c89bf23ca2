"""`python -m tests.cluster.failover`: real nodes over a PostgreSQL that fails over by itself.

Three servers under Patroni, one of them the primary and one the synchronous standby; doors, workers and
senders know all of them and look for the one that writes. The primary crashes, loses its machine, freezes or
is cut off by turns, while some node of ours does too. The last line of the output is the proof as JSON; ends
with 1 where an event or a delivery was lost, doubled or out of order, where a door answered anything but
202, or where more left in a second than the endpoints take.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom
from signal import SIGCONT, SIGSTOP

from tests.cluster.fleet import Fleet, as_json
from tests.servers.network import HERE, Network, is_within_own_network, within_own_network
from tests.servers.patroni import Server, Servers, missing_for_failover, servers


class Trouble:
    """What befalls the servers of a fleet, one thing after the other; each is over before the next."""

    def __init__(self, fleet: Fleet, servers_: Servers, tell: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._servers = servers_
        self._tell = tell
        self.kinds: list[Callable[[], None]] = [
            self._kill_primary,
            self._freeze_primary,
            self._cut_off_primary,
            self._crash_primary,
            self._kill_standby,
            self._cut_off_standby,
        ]

    def _crash_primary(self) -> None:
        """PostgreSQL alone is killed: its Patroni lives, and says so."""
        one = self._servers.primary()
        self._strike("primary crashed", one, one.kill_postgres, lambda: None)

    def _kill_primary(self) -> None:
        """PostgreSQL, Patroni and etcd of the primary's machine are killed, and come again."""
        one = self._servers.primary()
        self._strike("primary killed", one, one.kill, one.start)

    def _freeze_primary(self) -> None:
        """By the time it wakes another one is the primary, and it does not know yet."""
        one = self._servers.primary()
        self._strike(
            "primary frozen", one, lambda: one.machine.signal(SIGSTOP), lambda: one.machine.signal(SIGCONT)
        )

    def _cut_off_primary(self) -> None:
        """It lives and hears nobody; what was on its way to it is never answered."""
        one = self._servers.primary()
        self._strike("primary cut off", one, one.machine.cut_off, one.machine.join)

    def _kill_standby(self) -> None:
        """Nothing is durable until the other standby has taken its place."""
        one = self._servers.standby()
        self._strike("standby killed", one, one.kill, one.start)

    def _cut_off_standby(self) -> None:
        one = self._servers.standby()
        self._strike("standby cut off", one, one.machine.cut_off, one.machine.join)

    def _strike(self, name: str, one: Server, blow: Callable[[], object], back: Callable[[], object]) -> None:
        """While it is away, some node of ours is too; both are back before the next blow."""
        self._servers.wait_until_whole()
        beside, undo = self._fleet.bystander()

        def after() -> None:
            back()
            undo()
            self._servers.wait_until_whole()

        seconds = self._fleet.blow(name, blow, after)
        writes = self._servers.primary().name
        self._tell(f"{name} ({one.name}), {beside}: {seconds:.1f} s; {writes} writes now")


def main() -> int:
    """0 where every promise was kept."""
    words = argparse.ArgumentParser(prog="python -m tests.cluster.failover", description=__doc__)
    words.add_argument("--seconds", type=float, default=600.0)
    words.add_argument("--short", action="store_true", help="killed, frozen and cut off once each; one etcd")
    words.add_argument("--seed", type=int, help="of everything that chance decides")
    given = words.parse_args()
    if missing := missing_for_failover():
        print(missing, file=sys.stderr)
        return 2
    if not is_within_own_network():
        within_own_network("tests.cluster.failover")
    seed = SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}")
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="lendsignal-failover-"))
    tell(f"what servers and nodes say is in {folder}, and stays there where a promise is broken")
    with ExitStack() as running:
        network = Network()
        database = running.enter_context(servers(network, folder, witness=given.short))
        tell(f"{database.primary().name} writes, {database.standby().name} has everything")
        fleet = Fleet(database.plain_url, folder, seed, host=HERE, machine=network.machine)
        running.callback(fleet.close)
        fleet.start()
        tell("events come in, and are sent")
        trouble, n = Trouble(fleet, database, tell), 0
        kinds = trouble.kinds[:3] if given.short else trouble.kinds
        while n < len(kinds) or (not given.short and time.monotonic() - began < given.seconds):
            blow = kinds[n] if n < len(kinds) else fleet.chance.choice(kinds)
            blow()
            n += 1
        proof = fleet.reckoning()
    broken = proof.is_broken or bool(proof.refused)
    if broken:
        print(f"BROKEN: see {folder}")
    else:
        shutil.rmtree(folder)
    print(as_json(proof))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
