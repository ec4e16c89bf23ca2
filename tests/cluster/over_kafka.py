"""`python -m tests.cluster.over_kafka [file …]`: scenarios of a cluster where a Kafka topic is the log.

They are the very same tests that run over PostgreSQL's log otherwise.
"""

import os
import subprocess
import sys

from tests.servers.kafka import kafka

SCENARIOS = (
    "tests/scenario/test_nodes_of_a_cluster.py",
    "tests/scenario/test_desk_of_a_cluster.py",
    "tests/scenario/test_jobs_of_a_desk.py",
    "tests/scenario/test_store_away.py",
    "tests/cluster/test_nodes_that_are_told_something_else.py",
)
"""What is said of the log in them holds for a topic too."""


def main() -> int:
    """0 where all of them pass."""
    with kafka() as broker:
        environment = {**os.environ, "LENDSIGNAL_TEST_KAFKA": broker.address}
        words = sys.argv[1:] or SCENARIOS
        return subprocess.run(
            [sys.executable, "-m", "pytest", *words], env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
