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

import msgspec
from tests.cluster.storm import Storm
from tests.cluster.topic_storm import TopicStorm
from tests.servers.kafka import brokers
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
    given = words.parse_args()
    seed = SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}: {given.seconds:.0f} s")
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="lendsignal-cluster-"))
    events = int(given.seconds * EVENTS_PER_SECOND)
    with ExitStack() as running:
        server = running.enter_context(postgresql())
        storm = (
            Storm(server, folder, seed, events)
            if given.log == "postgresql"
            else TopicStorm(server, running.enter_context(brokers(BROKERS)), folder, seed, events)
        )
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
