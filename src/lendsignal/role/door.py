"""The door as a process of its own: it reads and answers, and hands on to the one that decides."""

from contextlib import ExitStack, closing

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.errors import NotYet
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, Log, open_log
from lendsignal.role.front import serve_front
from lendsignal.role.reader import reader_over
from lendsignal.source import Passing, SourceMeters

AGAIN_SECONDS = 0.05
"""How often it looks for a log that the process that decides is about to make."""


def door(config: Config) -> None:
    """Takes events until told to stop."""
    folder, clock = DataFolder(config.data), clock_at(config.replay_clock)
    with ExitStack() as open_things:
        open_things.enter_context(folder.lock("door"))
        looked_at = _log_when_there(folder)
        if looked_at is None:
            return
        open_things.enter_context(closing(looked_at))
        came_in = SourceMeters("door")
        inlet = Passing(folder.hatch, limit=config.door.queue, meters=came_in)
        reader = reader_over(config, folder, clock, open_things)
        serve_front("door", config, folder, clock, inlet, reader, looked_at, came_in, [])


def _log_when_there(folder: DataFolder) -> Log | None:
    """The log, once it was made; `None`: told to stop before."""
    stopping = stop_on_signal()
    while not stopping.is_set():
        try:
            return open_log(folder.log, read_only=True)
        except NotYet:
            stopping.wait(AGAIN_SECONDS)
    return None
