"""What survives a loss of power: a file's content and a folder's names."""

import os
from pathlib import Path


def synced(path: Path) -> None:
    """Returns when the disk has a file's content; of a folder, the names in it. Raises `OSError`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
