"""`python -m tests.cluster`: a cluster under kills; the last line of the output is the proof as JSON.

Ends with 1 where an event or a delivery was lost, doubled or out of its user's order, or where more left in
a second than the endpoints take.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom
from typing import Any

import msgspec
from tests.cluster.standby_storm import StandbyStorm, StandbyTopicStorm
from tests.cluster.storm import Storm
from tests.cluster.topic_storm import TopicStorm
from tests.servers.kafka import brokers
from tests.servers.network import CANNOT, Network, has_networks, is_within_own_network, within_own_network
from tests.servers.patroni import missing_for_failover, servers
from tests.servers.postgresql import postgresql

EVENTS_PER_SECOND = 250

BROKERS = 3
"""Where a topic is the log: each event is on all of them, and durable on two."""


def main() -> int:
    """0 where every promise was kept."""
    words = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    words.add_argument("--seconds", type=float, default=180.0)
    words.add_argument("--seed", type=int, help="of everything that chance decides")
    words.add_argument("--log", choices=("postgresql", "kafka"), default="postgresql")
    words.add_argument("--standby", action="store_true", help="PostgreSQL fails over, under Patroni")
    given = words.parse_args()
    if given.standby and (missing := missing_for_failover()):
        print(missing, file=sys.stderr)
        return 2
    if not is_within_own_network():
        if has_networks():
            within_own_network("tests.cluster")
        print(f"\n{CANNOT}\n", file=sys.stderr)
    seed = SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}: {given.seconds:.0f} s")
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="lendsignal-cluster-"))
    events = int(given.seconds * EVENTS_PER_SECOND)
    with ExitStack() as running:
        network = Network() if is_within_own_network() else None
        machine = None if network is None else network.machine()
        place: dict[str, Any] = {"network": network, "machine": machine}
        if given.standby:
            assert network is not None, "asked before"
            server: Any = running.enter_context(servers(network, folder))
        else:
            server = running.enter_context(postgresql(machine))
        if given.log == "postgresql":
            kind = StandbyStorm if given.standby else Storm
            storm = kind(server, folder, seed, events, **place)
        else:
            three = running.enter_context(brokers(BROKERS, network.machine if network else lambda: None))
            topical = StandbyTopicStorm if given.standby else TopicStorm
            storm = topical(server, three, folder, seed, events, **place)
        try:
            storm.rage(given.seconds, tell)
            proof = storm.reckoning()
        finally:
            storm.close()
    broken = proof.lost or proof.doubled or proof.disordered or proof.limit_exceeded
    if broken:
        print(f"BROKEN: what the nodes said is kept in {folder}")
    else:
        shutil.rmtree(folder)
    print(json.dumps(msgspec.to_builtins(proof)))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
