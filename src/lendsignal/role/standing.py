"""How a service stands, as its data folder tells: how far it is, and whether it does what it is for."""

import time
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.deliver.giving import sender_runs
from lendsignal.errors import LogError, NotYet
from lendsignal.log import (
    EVERY,
    DataFolder,
    open_deliveries,
    open_log,
    seconds_since_beat,
)
from lendsignal.source import Inlet

STILL_SECONDS = 30.0
"""What has not moved for so long is stuck."""

BEHIND = 50_000
"""Events that may wait to be decided in a rush."""


class Status(Struct, frozen=True, kw_only=True):
    """How far the service is: `idle` means that nothing is left to do until time passes or events come."""

    idle: bool
    events: int
    decided: int
    read_by_sender: bool
    waiting: Mapping[str, Mapping[str, int]]
    due: Sequence[str]
    paused: Mapping[str, str]
    now_us: int


def status(data: Path, clock: Clock, destinations: Container[str] | None = None) -> Status:
    """The state of a data folder as it stands on disk. Raises `LogError` where there is none.

    What waits for a destination that is not among `destinations` keeps nobody busy; `None` means any.
    """
    folder = DataFolder(data)
    log = open_log(folder.log, read_only=True)
    try:
        events, decided, last = log.end(), log.position(), log.last_record()
    finally:
        log.close()
    now = clock.now_us()
    position, waiting, due, paused = _sending(folder, now)
    sent_to = [name for name in due if destinations is None or name in destinations]
    busy = any(name not in paused and EVERY not in paused for name in sent_to)
    claimed = any(stages.get("claimed") for stages in waiting.values())
    return Status(
        idle=decided >= events and position >= last and not busy and not claimed,
        events=events,
        decided=decided,
        read_by_sender=position >= last,
        waiting=waiting,
        due=sorted(due),
        paused=paused,
        now_us=now,
    )


def _sending(
    folder: DataFolder, now_us: int
) -> tuple[int, Mapping[str, Mapping[str, int]], Collection[str], Mapping[str, str]]:
    """The sender's place in the records, what is open, due and paused; nothing before it has started."""
    try:
        deliveries = open_deliveries(folder.deliveries, read_only=True)
    except NotYet:
        return 0, {}, (), {}
    try:
        # In the order in which things happen: what is due at one look is claimed at the next.
        position, due = deliveries.position(), deliveries.due(now_us)
        paused = {name: pause.reason for name, pause in deliveries.paused().items()}
        return position, deliveries.waiting(), due, paused
    finally:
        deliveries.close()


class Readiness:
    """Whether the service does what it is for: events are taken, decided and sent."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        intake: Inlet,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._clock = clock
        self._intake = intake
        self._steady = steady
        self._stood: tuple[int, float] | None = None

    def missing(self) -> list[str]:
        """What is not as it should be, in words; nothing where all is well."""
        try:
            now = status(self._config.data, self._clock, self._config.outlets)
        except LogError as error:
            return [str(error)]
        found = (self._taking(), self._deciding(now), sending(DataFolder(self._config.data)))
        return [one for one in found if one is not None]

    def _taking(self) -> str | None:
        """A refusal of long ago says nothing: where nobody sends, nothing could disprove it."""
        if self._intake.damage is not None:
            return self._intake.damage
        if self._config.door.apart and not DataFolder(self._config.data).is_running("core"):
            return "the process that decides does not run"
        refused = self._intake.seconds_since_refusal()
        return None if refused is None or refused > STILL_SECONDS else "the log does not take events"

    def _deciding(self, now: Status) -> str | None:
        behind = now.events - now.decided
        if behind > BEHIND:
            return f"{behind} events wait to be decided"
        if behind <= 0:
            return None
        if self._stood is None or self._stood[0] != now.decided:
            self._stood = (now.decided, self._steady())
        if self._steady() - self._stood[1] > STILL_SECONDS:
            return f"no event was decided for {STILL_SECONDS:.0f} s, and {behind} wait"
        return None


def sending(folder: DataFolder) -> str | None:
    """Why nothing is sent, whatever the destinations do; `None` where the sender turns."""
    beat = seconds_since_beat(folder.pulse("send"))
    if beat is None or not sender_runs(folder):
        return _why_it_ended(folder) or "the sender does not run"
    return None if beat <= STILL_SECONDS else f"the sender has not turned for {beat:.0f} s"


def _why_it_ended(folder: DataFolder) -> str | None:
    try:
        return f"the sender ended: {folder.trouble('send').read_text()}"
    except OSError:
        return None
