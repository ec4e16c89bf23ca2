"""Doors, workers and senders on one genuine PostgreSQL, as processes that are killed, frozen and cut off."""

import secrets
from pathlib import Path

from tests.cluster.storm import Storm
from tests.servers.postgresql import postgresql


def test_kills_zombies_and_power_cuts_lose_double_and_disorder_nothing(tmp_path: Path) -> None:
    """Each kind of blow once at least; `make cluster-test` goes on for minutes."""
    seed = secrets.randbelow(2**31)
    print("seed", seed)
    with postgresql() as server:
        storm = Storm(server, tmp_path, seed, events=3_000)
        try:
            storm.rage(1, print)
            proof = storm.reckoning()
        finally:
            storm.close()

    assert (proof.lost, proof.doubled, proof.disordered) == (0, 0, 0)
    assert proof.limit_exceeded == 0
    assert proof.events >= 3_000
    assert proof.kills >= 10
    for sent in proof.sent.values():
        assert sent.planned >= 500
