"""What the pages of a desk answer beside the console: the calls of a cluster's node. And where they are: the
store knows it as long as they are served, so that every other node can say where to look.
"""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from starlette.routing import Route

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import DataFolder
from lendsignal.log.postgres import database_of
from lendsignal.log.postgres.desks import Desk, Desks
from lendsignal.role.cluster import LateDoor, node_name, store_of
from lendsignal.role.nodepages import Pages
from lendsignal.source import Keyring

logger = logging.getLogger(__name__)

TELL_SECONDS = 5.0
LIVES_SECONDS = 4 * TELL_SECONDS
"""So long a desk that fell silent is still named."""

LOOK_SECONDS = 0.2


@contextmanager
def desk_calls(config: Config, keys: Keyring, clock: Clock) -> Iterator[list[Route]]:
    """The calls, while the block runs; meanwhile the store knows where these pages are."""
    with (
        closing(database_of(store_of(config))) as store,
        closing(LateDoor(config)) as looked_at,
        Telling(config),
    ):
        yield Pages(config, store, looked_at, keys, clock).calls()


class Telling:
    """Tells the store where the pages of this desk are, in a thread of its own while the block runs."""

    def __init__(self, config: Config, tell_seconds: float = TELL_SECONDS) -> None:
        self._config = config
        self._name = node_name("desk")
        self._written = DataFolder(config.data).path / "web.address"
        self._not_this = _written_at(self._written)
        self._every = tell_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)

    def __enter__(self) -> "Telling":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(database_of(store_of(self._config))) as database:
            desks, said = Desks(database), ""
            while not self._stopping.is_set():
                address = self._address()
                if address is None:
                    self._stopping.wait(LOOK_SECONDS)
                    continue
                try:
                    desks.tell(Desk(self._name, address), LIVES_SECONDS)
                    said = ""
                except LogError as error:
                    if str(error) != said:
                        logger.warning("nobody is told where these pages are: %s", error)
                    said = str(error)
                self._stopping.wait(self._every)
            with suppress(LogError):  # a store that is away forgets by itself
                desks.end(self._name)

    def _address(self) -> str | None:
        """Where browsers find the pages; `None`: they do not listen yet."""
        if self._config.web.address is not None:
            return self._config.web.address
        if _written_at(self._written) in (None, self._not_this):
            return None
        return reached_at(self._written.read_text())


def reached_at(listens: str) -> str:
    """The address that others may try for who listens there: this machine's name where it is everywhere."""
    found = urlsplit(listens)
    try:
        is_everywhere = ip_address(found.hostname or "::").is_unspecified
    except ValueError:  # a name
        return listens
    return f"{found.scheme}://{socket.gethostname()}:{found.port}" if is_everywhere else listens


def _written_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
