"""The storms over a PostgreSQL that fails over.

Its primary is killed, frozen and cut off, and stays away until another one has its place.
"""

from signal import SIGCONT, SIGSTOP
from typing import Any

from tests.cluster.storm import Storm
from tests.cluster.topic_storm import TopicStorm
from tests.servers.patroni import Servers


class _Promoting(Storm):
    """What befalls a database is over once another server is the primary; then it is whole again."""

    patience = 240.0

    def __init__(self, servers: Servers, *rest: Any, **where: Any) -> None:
        self._servers = servers
        super().__init__(servers, *rest, **where)

    def _cut_power(self) -> None:
        one = self._servers.primary()
        one.kill()
        self._recover()
        one.start()
        self._servers.wait_until_whole()

    def _freeze_database(self) -> None:
        """When it wakes it still believes that it is the primary."""
        one = self._servers.primary()
        one.machine.signal(SIGSTOP)
        self._recover()
        one.machine.signal(SIGCONT)
        self._servers.wait_until_whole()

    def _cut_off_database(self) -> None:
        one = self._servers.primary()
        one.machine.cut_off()
        self._recover()
        one.machine.join()
        self._servers.wait_until_whole()


class StandbyStorm(_Promoting):
    """PostgreSQL is the log."""


class StandbyTopicStorm(_Promoting, TopicStorm):
    """A topic is the log."""
