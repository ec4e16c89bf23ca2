"""Segment's SDK for Node, for scenario tests: its packages, pinned, in a cache outside the checkout.

`python -m tests.servers.segment_node` fetches them where they are missing.
"""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

PINNED = Path(__file__).parents[1] / "scenario" / "segment"
PATIENCE_SECONDS = 120


def node_modules() -> Path:
    """The folder of the packages. Skips the test where they are not there."""
    found = _cache() / "node_modules"
    if shutil.which("node") is None or not found.is_dir():
        pytest.skip("Segment's SDK for Node is not installed: bash tests/servers/install.sh")
    return found


def _cache() -> Path:
    lock = sha256((PINNED / "package-lock.json").read_bytes()).hexdigest()[:12]
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "lendsignal-tests" / f"segment-node-{lock}"


def install() -> None:
    """Fetches what the lock file names, each with its checksum, all or nothing."""
    cache = _cache()
    if cache.is_dir():
        return
    fresh = cache.with_name(f"{cache.name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PINNED / name, fresh / name)
        words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(words, cwd=fresh, check=True, timeout=PATIENCE_SECONDS)
        fresh.rename(cache)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


if __name__ == "__main__":
    if shutil.which("npm") is None:
        sys.exit("npm is not installed: the tests of Segment's SDK for Node skip")
    install()
