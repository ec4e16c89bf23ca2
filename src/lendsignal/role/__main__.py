"""One child process of `run`: `python -m lendsignal.role NAME --config FILE [--set KEY=VALUE]…`.

Apart from the command line so that a role loads what it needs and no more: it lives for months.
"""

import argparse
import errno
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

import apsw

from lendsignal import config as configuration
from lendsignal import journal
from lendsignal.config import Config
from lendsignal.errors import ConfigError, Damaged, DataError, LendsignalError, LogError
from lendsignal.lifeline import end_with_parent
from lendsignal.log import DataFolder
from lendsignal.role import DAMAGED_CODE, DESK_JOBS, EVERY_ROLE, refuse_other_roles

NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main() -> int:
    """Does the role until told to stop; 0 then, 1 where it cannot be done, 2 for a wrong configuration, 3
    where a file is damaged."""
    words = argparse.ArgumentParser(prog="python -m lendsignal.role", description=__doc__)
    words.add_argument("name", choices=EVERY_ROLE)
    words.add_argument("--config", type=Path, required=True)
    words.add_argument("--accepted", type=Path, help="what is read in place of the text of --config")
    words.add_argument("-v", "--verbose", action="store_true")
    words.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = words.parse_args()
    journal.begin(given.name, verbose=given.verbose)
    end_with_parent()
    try:
        text = None if given.accepted is None else given.accepted.read_text()
        overrides = configuration.overrides(given.set)
        config = configuration.load(given.config, overrides=overrides, text=text)
        refuse_other_roles(config, [given.name] if given.name not in DESK_JOBS else [])
        done(given.name, config)
    except ConfigError as error:
        for problem in error.problems:
            journal.stopped(str(problem))
        return 2
    except LendsignalError as error:
        journal.stopped(str(error))
        return DAMAGED_CODE if isinstance(error, (Damaged, DataError)) else 1
    return 0


def done(name: str, config: Config) -> None:
    """Does one role in this process until told to stop."""
    # Our values are trees without cycles: the collector would only walk the states again and again.
    gc.set_threshold(100_000, 50, 100)
    trouble = DataFolder(config.data).trouble(name)
    try:
        trouble.unlink(missing_ok=True)
        # Only this role's module: no process loads what it does not use.
        with _disk():
            getattr(import_module(f"lendsignal.role.{name}"), name)(config)
    except (LogError, DataError) as error:
        with suppress(OSError):
            trouble.write_text(str(error))
        raise


@contextmanager
def _disk() -> Iterator[None]:
    """What a full or read-only disk makes anything raise, in words: it needs a person and no traceback."""
    try:
        yield
    except (apsw.FullError, apsw.ReadOnlyError) as error:
        raise LogError(f"the data folder cannot be written: {error}") from error
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        raise LogError(f"the disk cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
