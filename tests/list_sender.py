"""A process that tells lists to their platforms once, as the service's does: for tests that kill it.

Words: the configuration, and the lists as JSON.
"""

import sys
from pathlib import Path

import msgspec

from lendsignal.audience.membership import Membership, Planned
from lendsignal.clock import SystemClock
from lendsignal.config import load
from lendsignal.deliver.audiences import sync
from lendsignal.log import DataFolder


def main() -> None:
    config = load(Path(sys.argv[1]))
    plan = msgspec.json.decode(sys.argv[2], type=list[Planned])
    membership = Membership(DataFolder(config.data), plan, SystemClock())
    found = sync(membership, config.audience_accounts, SystemClock(), sandbox=config.deliver.sandbox)
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
