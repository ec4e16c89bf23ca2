"""What we fetch ourselves: databases, files, topics."""

from functools import partial

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import (
    DataFolder,
    open_pulls,
)
from lendsignal.metrics import RoleMetrics, Ticking
from lendsignal.role import door_of
from lendsignal.source import (
    Kit,
    OverTheDoor,
    Puller,
    PullMeters,
    pull_all,
)


def pull(config: Config) -> None:
    """Reads what we fetch ourselves until told to stop; what the door has not taken is read again."""
    if config.store is not None:
        from lendsignal.role.fetching import fetch  # with the store's client

        fetch(config)
        return
    folder = DataFolder(config.data)
    with folder.lock("pull"):
        stopping = stop_on_signal()
        pulls = open_pulls(folder.pulls)
        clock = clock_at(config.replay_clock)
        meters = PullMeters()
        doors = {name: OverTheDoor(folder.path / f"{door_of(config)}.address") for name in config.pulls}
        pullers = [
            Puller(
                name,
                plan.common,
                partial(plan.open, Kit(name=name, folder=config.path.parent, pulls=pulls, clock=clock)),
                doors[name],
                pulls,
                clock,
                meters=meters,
                stopping=stopping,
            )
            for name, plan in config.pulls.items()
            if plan.common.enabled
        ]
        try:
            with Ticking(RoleMetrics("pull", folder.path, [meters])):
                pull_all(pullers, stopping)
        finally:
            pulls.close()
