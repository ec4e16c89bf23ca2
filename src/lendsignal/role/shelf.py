"""Where deliveries wait for apps to fetch them, and the calls by which apps do."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.deliver import secrets_of
from lendsignal.log import DataFolder, Giving, Shelf, open_shelf

if TYPE_CHECKING:
    from lendsignal.source import Keyring, RelayDoor


def is_relayed(config: Config) -> bool:
    """Whether any destination is a relay."""
    return any(outlet.shelved for outlet in config.outlets.values())


def shelf_of(config: Config, folder: DataFolder) -> Shelf | None:
    """Where a data folder's deliveries wait for apps, if any destination is a relay."""
    return open_shelf(folder.relay) if is_relayed(config) else None


def relay_door(
    config: Config, shelf: Giving, clock: Clock, keys: "Keyring", woken: Callable[[], None]
) -> "RelayDoor":
    """The calls of the client relay; a relay answers to its former names too."""
    from lendsignal.source import Relay, RelayDoor  # here: who sends loads nothing that serves HTTP

    relays: dict[str, Relay] = {}
    secrets: dict[str, str] = {}
    for outlet in config.outlets.values():
        own = outlet.own
        if outlet.shelved and (secret := secrets_of(own)["secret"]):
            relay = Relay(
                name=outlet.name,
                brand=outlet.app.brand,
                kind=own.installation,
                good_for=own.good_for,
                app=outlet.app.name,
            )
            for name in (outlet.name, *outlet.common.formerly):
                relays[name], secrets[name] = relay, secret
    return RelayDoor(relays, secrets, shelf, clock, keys=keys, woken=woken, steady=time.monotonic)
