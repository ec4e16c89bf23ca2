"""`python -m tests.cluster.costs …`: `lendsignal bench cluster …` over servers of its own."""

import os
import sys

from tests.servers.kafka import kafka
from tests.servers.postgresql import postgresql

from lendsignal.cli import main

ADDRESS = "LENDSIGNAL_BENCH_STORE"


if __name__ == "__main__":
    with kafka() as broker, postgresql(shared_buffers="256MB") as server:
        os.environ[ADDRESS] = server.plain_url
        pids = ["--database-pid", str(server.pid), "--broker-pid", str(broker.pid)]
        where = ["--store", ADDRESS, "--kafka", broker.address, *pids]
        sys.argv = ["lendsignal", "bench", "cluster", *where, *sys.argv[1:]]
        main()
