"""Door and decide: the only process that decides. With `[door] apart` the door is a process of its own."""

from collections.abc import Sequence
from contextlib import ExitStack, closing

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.decide import DecideMeters, Decider
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, open_log
from lendsignal.metrics import FolderMeters, RoleMetrics, Ticking
from lendsignal.model import Event
from lendsignal.role.keeping import KeepMeters, LogKeeper
from lendsignal.role.reader import reader_over
from lendsignal.source import Hatch, Intake, Mender, QuarantineMeters, SourceMeters


def core(config: Config) -> None:
    """Takes and decides events until told to stop."""
    folder = DataFolder(config.data)
    with ExitStack() as open_things:
        open_things.enter_context(folder.lock("core"))
        clock = clock_at(config.replay_clock)
        log = open_things.enter_context(closing(open_log(folder.log)))
        # A reader of its own: nobody who writes waits for those who look.
        looked_at = open_things.enter_context(closing(open_log(folder.log, read_only=True)))
        came_in, decided = SourceMeters(), DecideMeters(looked_at, clock)
        apart = QuarantineMeters(looked_at, clock, config.door.quarantine_alert)
        kept = KeepMeters(looked_at, clock)
        meters = [decided, apart, kept, FolderMeters(folder.path)]
        decider = Decider(log, config.policy, clock, folder.ringer("send").ring, decided)
        reader = reader_over(config, folder, clock, open_things)
        mender = Mender(log, reader, clock, config.door.quarantine_days, told=apart.mended)
        keeper = LogKeeper(config, folder, log, clock, kept)

        def turn(first: int, events: Sequence[Event]) -> bool:
            mended = mender.turn()
            more = decider.turn(first, events) or mended > 0
            if not more:
                keeper.turn()
            return more

        intake = Intake(log, turn, append=decider.append, limit=config.door.queue, meters=came_in)
        intake.start()
        open_things.callback(intake.stop)
        if config.door.apart:
            stopping = stop_on_signal()
            with Hatch(folder.hatch, intake), Ticking(RoleMetrics("core", folder.path, meters)):
                stopping.wait()
            return
        from lendsignal.role.front import serve_front  # it brings what serves HTTP

        serve_front("core", config, folder, clock, intake, reader, looked_at, came_in, meters)
