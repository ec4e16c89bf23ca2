"""Kills by the hundred, power cuts by the dozen, and what they came to."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from tests.crash.house import HAS_LANES, POLICIES, SYNCING, BackEnd, House, Sandboxes
from tests.crash.judge import History, Judgement, Outlet, judged
from tests.crash.role_that_dies import CORE_POINTS, SEND_POINTS
from tests.crash.unsynced import Disk

from lendsignal.errors import LogError
from lendsignal.log import DataFolder, Log, Stage, open_deliveries, open_log
from lendsignal.plan import Planned, Rebound, record_of
from lendsignal.plan.records import RECORDS_PER_EVENT

ROLES: Mapping[str, tuple[str, ...]] = {"core": CORE_POINTS, "send": SEND_POINTS}
BACK_ENDS = 3
LATENCY_MS = 20
"""How long a platform takes to answer, so that there is something in flight at every kill."""

LONGEST_LIFE_SECONDS = 4.0
"""A process that has not come to its point by then is killed where it stands."""

SYNC_US = 3_000
"""What a sync takes on a disk that is none of the fastest: time for a power cut to fall into."""

PASSAGES = (25, 80)
"""How often a point is passed at most before its process dies there; a sync, which comes more often."""

DRAIN_SECONDS = 300.0
FOLD_AT = 100
"""Pages in a write-ahead log before it is folded into its database: cuts are to fall into that, too."""

Tell = Callable[[str], None]


class Cuts(Struct, frozen=True, kw_only=True):
    """Power cuts, what they took, and the acknowledged events that were not found again after one.

    `damage`: why a database could not be opened any more, or `None`.
    """

    number: int
    undone: int
    brought_back: int
    lost: int
    damage: str | None = None

    @property
    def is_harmless(self) -> bool:
        """Whether everything acknowledged was found again."""
        return not self.lost and self.damage is None


class Proof(Struct, frozen=True, kw_only=True):
    """What a run came to. `points` says how often each end was met.

    There is no `judgement` where a power cut did harm: the run ended there.
    """

    kills: int
    points: Mapping[str, int]
    events: int
    repeated: int
    judgement: Judgement | None = None
    cuts: Cuts | None = None


class Killings:
    """One run over one data folder: load, ends of all kinds, restarts, and the reckoning."""

    def __init__(
        self, folder: Path, seed: int, *, per_second: float, ordered: bool = HAS_LANES, fold_at: int = 0
    ) -> None:
        self._chance = random.Random(seed)
        self._folder = folder
        self._ordered = ordered
        self._stand = Sandboxes(folder / "sandbox", latency_ms=LATENCY_MS)
        self.house = House(folder / "service", self._stand.address, ordered=ordered, fold_at=fold_at)
        self._back_ends = [
            BackEnd(f"b{number}", self.house, per_second / BACK_ENDS) for number in range(BACK_ENDS)
        ]
        self._claimed: dict[str, set[tuple[int, int]]] = {name: set() for name in POLICIES}
        self._in_flight: dict[str, list[int]] = {name: [] for name in POLICIES}
        self._points: Counter[str] = Counter()
        self._ends: dict[str, tuple[str, float]] = {}

    def kill(self, kills: int, tell: Tell) -> None:
        """So many processes end by `kill -9`, one after the other or both at once."""
        self._begin()
        done = 0
        while done < kills:
            time.sleep(0.005)
            for role in ROLES:
                how = self._ended(role)
                if how is None:
                    continue
                dead = ROLES if how == "both" else (role,)
                if how == "both":
                    self.house.kill(*ROLES)
                flying = self._count_in_flight() if "send" in dead else 0
                done += len(dead)
                self._points[how] += len(dead)
                tell(f"kill {done}/{kills}: {role} {how}, {flying} in flight")
                for one in dead:
                    self._start(one)
                break

    def cut(self, cuts: int, library: Path, tell: Tell, *, lies: bool = False) -> Cuts:
        """So many power cuts: every process dies and the disk keeps what was synced, and some of the rest."""
        notes = self._folder / "notes"
        self.house.disk = disk = Disk(library, self.house.data, notes, lies=lies, sync_us=SYNC_US)
        self._begin()
        taken = Cuts(number=0, undone=0, brought_back=0, lost=0)
        while taken.number < cuts and taken.is_harmless:
            while not (how := next(filter(None, map(self._ended, ROLES)), None)):
                time.sleep(0.001)
            self.house.kill(*ROLES)
            self._points[how] += 1
            taken = self._after(disk, taken)
            tell(f"power cut {taken.number}/{cuts}: {how}, {taken.undone} calls undone so far")
            for role in ROLES:
                self._start(role)
        return taken

    def _after(self, disk: Disk, before: Cuts) -> Cuts:
        """The power is gone: what the disk kept, and what is missing there."""
        acknowledged = self.acknowledged
        # Every other cut is clean: nothing unsynced reaches the disk. The others are torn.
        cut = disk.cut(self._chance if before.number % 2 else None)
        lost, damage = 0, None
        try:
            self._count_in_flight()
            lost = len(acknowledged - events_in(self.house.data))
        except LogError as error:
            damage = str(error)
        return Cuts(
            number=before.number + 1,
            undone=before.undone + cut.undone,
            brought_back=before.brought_back + cut.brought_back,
            lost=lost,
            damage=damage,
        )

    @property
    def acknowledged(self) -> frozenset[str]:
        """The events that were answered 202 so far."""
        return frozenset(event for one in self._back_ends for event in tuple(one.acknowledged))

    def reckoning(self, cuts: Cuts | None = None) -> Proof:
        """Ends the load, lets the service finish, and compares."""
        if cuts is not None and not cuts.is_harmless:
            return self._proof(cuts, None)
        for role in ROLES:
            self.house.kill(role)
        self._count_in_flight()
        self.house.disk = None
        for role in ROLES:
            self.house.start(role)
        for one in self._back_ends:
            one.finish()
        self.house.idle(DRAIN_SECONDS)
        self.house.stop(*ROLES)
        received = {name: self._stand.received(name) for name in POLICIES}
        (self._folder / "received.json").write_text(json.dumps(received))
        refused = self._stand.refused()
        assert not refused, refused[:3]
        moments = {name: moment for one in self._back_ends for name, moment in one.moments.items()}
        held = held_in(self.house.data)
        planned = planned_in(self.house.data)
        history = History(
            acknowledged=self.acknowledged,
            logged=frozenset(events_in(self.house.data)),
            moments=moments,
            outlets={
                name: Outlet(
                    policy=policy,
                    planned=planned.get(name, {}),
                    received=received[name],
                    held=held.get(name, frozenset()),
                    in_flight=self._in_flight[name],
                    ordered=self._ordered,
                )
                for name, policy in POLICIES.items()
            },
        )
        return self._proof(cuts, judged(history))

    def _proof(self, cuts: Cuts | None, judgement: Judgement | None) -> Proof:
        return Proof(
            kills=sum(self._points.values()),
            points=dict(sorted(self._points.items())),
            events=len(self.acknowledged),
            repeated=sum(one.repeated for one in self._back_ends),
            judgement=judgement,
            cuts=cuts,
        )

    def close(self) -> None:
        """Leaves no process behind."""
        for one in self._back_ends:
            one.abandon()
        self.house.close()
        for one in self._back_ends:
            if one.ident is not None:
                one.join()
        self._stand.close()

    def _begin(self) -> None:
        """The first lives end at random, so that there is something to lose."""
        for role in ROLES:
            self.house.start(role)
        self.house.ready()
        for one in self._back_ends:
            one.start()
        for role in ROLES:
            self._ends[role] = "random", time.monotonic() + self._chance.uniform(0.4, 2.0)

    def _start(self, role: str) -> None:
        """A new life of a role, and how it is to end: at a point, or after a time."""
        seconds = LONGEST_LIFE_SECONDS
        # Only between a write and its sync is there anything that a power cut can take.
        points = ROLES[role] * 2 if self.house.disk is None else (*ROLES[role], *[SYNCING] * 12)
        how = self._chance.choice((*points, "random", "random", "both"))
        if how in points:
            self.house.start(role, f"{how}:{self._chance.randint(1, PASSAGES[how == SYNCING])}")
        else:
            self.house.start(role)
            seconds = self._chance.uniform(0.4, 2.0)
        self._ends[role] = how, time.monotonic() + seconds

    def _ended(self, role: str) -> str | None:
        """How a role's life ended, if it has: by itself at its point, or by us as its time is over."""
        how, end = self._ends[role]
        if self.house.is_dead(role):
            return how
        if time.monotonic() < end:
            return None
        self.house.kill(role)
        return how if how == "both" else "random"

    def _count_in_flight(self) -> int:
        """What this kill found claimed, and was not found by an earlier one."""
        total = 0
        for name, found in self.house.claimed().items():
            fresh = found - self._claimed[name]
            self._claimed[name] |= fresh
            self._in_flight[name].append(len(fresh))
            total += len(fresh)
        return total


def events_in(data: Path) -> set[str]:
    """The ids of every event in the log."""
    log = open_log(DataFolder(data).log)
    try:
        return {fact.event.event_id for fact in log.scan()}
    finally:
        log.close()


def planned_in(data: Path) -> dict[str, dict[str, list[str]]]:
    """By destination and event the conversion ids that are to be sent."""
    log = open_log(DataFolder(data).log)
    try:
        events = {fact.seq: fact.event.event_id for fact in log.scan()}
        found: dict[str, dict[str, list[str]]] = {}
        for number, record in records_in(log):
            event = events[number // RECORDS_PER_EVENT]
            for entry in record.entries:
                if entry.skip is None:
                    ids = found.setdefault(entry.destination, {}).setdefault(event, [])
                    ids.append(record.conversion.id)
        return found
    finally:
        log.close()


def held_in(data: Path) -> dict[str, frozenset[str]]:
    """By destination the conversion ids that wait for a person."""
    log, deliveries = open_log(DataFolder(data).log), open_deliveries(DataFolder(data).deliveries)
    try:
        conversions = {number: record.conversion.id for number, record in records_in(log)}
        return {
            name: frozenset(
                conversions[record_of(one.id)[0]] for one in deliveries.open(name, 0, 1_000_000, Stage.HELD)
            )
            for name in deliveries.destinations()
        }
    finally:
        deliveries.close()
        log.close()


def records_in(log: Log) -> Sequence[tuple[int, Planned | Rebound]]:
    """Every record that plans deliveries."""
    found: list[tuple[int, Planned | Rebound]] = []
    after = 0
    while page := log.records(after, 5_000):
        found += [(number, one) for number, one in page if isinstance(one, (Planned, Rebound))]
        after = page[-1][0]
    return found
