"""What reads events where they come in, and keeps out who was erased."""

from contextlib import ExitStack, closing

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.log import DataFolder, WhoIsKeptOut, open_log
from lendsignal.source import Reader, reader_of


def reader_over(config: Config, folder: DataFolder, clock: Clock, open_things: ExitStack) -> Reader:
    """The reader of a data folder's install, for as long as `open_things` are open."""
    erased = open_things.enter_context(closing(open_log(folder.log, read_only=True)))
    return reader_of(
        config.apps,
        config.policy.resolve.clock_ahead,
        sets_received_at=clock.replay,
        kept_out=WhoIsKeptOut(erased.erasing),
    )
