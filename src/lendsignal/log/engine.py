"""What the door, the decider and the sender need of a log: every engine gives it, and passes one exam.

`log.Log` is the engine of one data folder. `log.postgres` is the one of a cluster: there a worker works on
the slots that it leases, and what is one call here goes over all of them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from lendsignal.derive import CutTable
from lendsignal.log.log import Decided, Fact
from lendsignal.log.quarantine import Quarantined
from lendsignal.log.stream import Recorded
from lendsignal.model import Event
from lendsignal.plan import Planned, PolicySource, UserState, Verdict
from lendsignal.value import Promotion


class Rulebook(Protocol):
    """Every set of rules there ever was, by its version; `None`: not kept here."""

    def policy_source(self, version: str) -> PolicySource | None: ...

    def cut_table(self, version: str) -> CutTable | None: ...

    def promotion(self, version: str) -> Promotion | None: ...


class Remembering(Rulebook, Protocol):
    """What deciding asks a log for: people's states, what was planned for them, and who showed a phone."""

    def states(self, keys: Iterable[str]) -> dict[str, UserState]: ...

    def planned(self, numbers: Iterable[int]) -> dict[int, Planned]: ...

    def phones(self, keys: Collection[int], at_most: int) -> dict[int, tuple[int, ...]]: ...


class Taking(Protocol):
    """What the door and imports ask a log for. What `append` returned from is durable.

    It returns the number of the first event, or 0 where events are numbered when they are decided.
    """

    def append(
        self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None
    ) -> int: ...

    def imported(self, file: str) -> tuple[int, bool]: ...

    def refuse(self, refused: Sequence[Quarantined]) -> None: ...

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]: ...

    def quarantined(self, limit: int = 100) -> list[Quarantined]: ...

    def refusals(self) -> dict[tuple[str, str], int]: ...


class OneLog(Taking, Remembering, Recorded, Protocol):
    """A log in one piece, with one who decides: its events have one order, from 1 on without a hole.

    `commit` raises `LogError` where another process has decided these events already. `append_decided` may
    leave the events for later, without asking what they come to.
    """

    def end(self) -> int: ...

    def last_record(self) -> int: ...

    def position(self) -> int: ...

    def read(self, after: int, limit: int) -> list[Fact]: ...

    def scan(self, containing: bytes | None = None) -> Iterator[Fact]: ...

    def append_decided(self, events: Sequence[Event], decide: Callable[[int], Decided | None]) -> int: ...

    def commit(self, decided: Decided) -> None: ...

    def state(self, key: str) -> UserState | None: ...

    def due(self, now_us: int, limit: int = 1000) -> list[tuple[int, str, str]]: ...

    def timers_due(self, now_us: int) -> int: ...

    def fire(self, timers: Sequence[tuple[int, str, str]], events: Sequence[Event]) -> int: ...

    def next_timer(self) -> int | None: ...

    def tally(self) -> Mapping[tuple[str, str], int]: ...

    def policy(self) -> str | None: ...

    def keep_policy(self, version: str, source: PolicySource) -> None: ...

    def cuts(self) -> str | None: ...

    def value(self) -> str | None: ...

    def close(self) -> None: ...
