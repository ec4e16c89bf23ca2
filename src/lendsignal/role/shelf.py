"""Where deliveries wait for apps to fetch them."""

from lendsignal.config import Config
from lendsignal.log import (
    DataFolder,
    Shelf,
    open_shelf,
)


def shelf_of(config: Config, folder: DataFolder) -> Shelf | None:
    """Where deliveries wait for apps, if any destination is a relay."""
    relayed = any(outlet.shelved for outlet in config.outlets.values())
    return open_shelf(folder.relay) if relayed else None
