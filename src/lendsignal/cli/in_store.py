"""How a cluster stands, for who asks it at the command line."""

from contextlib import closing

from lendsignal.cli.giving import standing
from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.deliver import Standing
from lendsignal.log.postgres import database_of
from lendsignal.role.cluster import ClusterStatus, cluster_status, store_of


def standing_now(config: Config, clock: Clock) -> tuple[ClusterStatus, list[Standing]]:
    """How far the cluster is, and how each destination stands. Raises `LogError`."""
    with closing(database_of(store_of(config))) as database:
        return cluster_status(database, config, clock), standing(config)
