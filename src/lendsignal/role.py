"""One child process of `run`: `python -m lendsignal.role NAME --config FILE [--set KEY=VALUE]…`.

Apart from the command line so that a role loads what it needs and no more: it lives for months.
"""

import argparse
import logging
import sys
from pathlib import Path

from lendsignal import config as configuration
from lendsignal import run
from lendsignal.errors import ConfigError, Damaged, DataError, LendsignalError
from lendsignal.lifeline import end_with_parent


def main() -> int:
    """Does the role until told to stop; 0 then, 1 where it cannot be done, 2 for a wrong configuration, 3
    where a file is damaged."""
    words = argparse.ArgumentParser(prog="python -m lendsignal.role", description=__doc__)
    words.add_argument("name", choices=run.ROLES)
    words.add_argument("--config", type=Path, required=True)
    words.add_argument("-v", "--verbose", action="store_true")
    words.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = words.parse_args()
    logging.basicConfig(
        level=logging.DEBUG if given.verbose else logging.INFO,
        format=f"%(asctime)s %(levelname)-7s {given.name}: %(message)s",
        stream=sys.stderr,
    )
    end_with_parent()
    try:
        run.role(given.name, configuration.load(given.config, overrides=configuration.overrides(given.set)))
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    except LendsignalError as error:
        print(f"error: {error}", file=sys.stderr)
        return run.DAMAGED_CODE if isinstance(error, (Damaged, DataError)) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
