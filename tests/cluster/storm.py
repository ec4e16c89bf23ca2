"""Doors, workers and senders under kill -9, SIGSTOP and power cuts of the database; then the reckoning.

What must be decided is worked out by the slow way: the same events in one data folder, decided in one go.
What must be sent follows from what was decided; the endpoints tell what came.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from tests.acme import source
from tests.cluster.arrivals import Sent, arrivals, reckoned
from tests.cluster.hooks import ENVIRONMENT, HOSTS, targets
from tests.cluster.node import DOORS, batches
from tests.clustered import Clock, Cluster, lives
from tests.running import WEBHOOK_SECRET, Stand
from tests.servers.network import HERE, Machine, Network

from lendsignal.decide import Decider
from lendsignal.errors import LogError
from lendsignal.log import Stage, open_log
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.resolve import ResolveSettings

PATIENCE = 60.0
"""Seconds in which a cluster that is going to recover has recovered."""

WORKERS = 3
SENDERS = 2
SLOTS = 32

POLICY = source(default_dpd=30, targets=targets(), resolve=ResolveSettings(settle=timedelta(0)))


FROZEN_SECONDS = 2.5
CUT_OFF_SECONDS = 8.0
"""Longer than a silent connection is believed in, at either end."""
LATENCY_MS = 150

ALL_SENT = f"""
select not exists (select 1 from open where stage <> {int(Stage.HELD)}) and not exists (
    select 1 from sending join (select slot, max(seq) as last from record group by slot) decided using (slot)
    where sending.position / 256 < last
)
"""


class Proof(Struct, frozen=True, kw_only=True):
    """What a storm came to, decided and sent. Times are seconds from the blow until all is decided that was
    durable then; after one to a sender until others have its slots and have read what was decided then.

    `doubled`: decided twice, sent twice where what is unknown is held, and where it is sent again more often
    than something was unknown.
    """

    events: int
    kills: int
    lost: int
    doubled: int
    disordered: int
    limit_exceeded: int
    recovery_p50_s: float
    recovery_max_s: float
    blows: dict[str, int]
    sent: dict[str, Sent]
    seed: int


class Serving(Protocol):
    """What a storm needs of a database."""

    @property
    def plain_url(self) -> str:
        """As PostgreSQL's own programs have it."""

    def kill(self) -> None:
        """As a power failure would."""

    def start(self) -> None:
        """Returns when it answers."""

    def signal_all(self, number: int) -> None:
        """To all of its processes."""


class Node:
    """One process of the cluster, its last words, and for a door the batches that are durable."""

    def __init__(
        self, words: Sequence[str], said: Path, name: str = "", machine: Machine | None = None
    ) -> None:
        self.name = name
        self._machine = machine
        on = [] if machine is None else machine.words
        with said.open("ab") as errors:
            self._process = subprocess.Popen(
                [*on, sys.executable, "-m", "tests.cluster.node", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"},
            )
        self.durable = 0
        self.done = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == b"done\n":
                self.done.set()
            elif line.endswith(b"\n"):
                self.durable = int(line)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def cut_off(self) -> None:
        """It hears nothing any more, and nobody hears it; where there are no machines it stands still."""
        if self._machine is None:
            self.send(signal.SIGSTOP)
        else:
            self._machine.cut_off()

    def join(self) -> None:
        """It is reached again, and goes on."""
        if self._machine is None:
            self.send(signal.SIGCONT)
        else:
            self._machine.join()

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ends it, and waits until it is gone and all that it said is heard."""
        self._process.send_signal(number)
        self._process.wait(PATIENCE)
        self._listener.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None


class Storm:
    """A cluster on one server, and what befalls it. `seed` decides both, as far as time lets it.

    With a `network` each node is on a machine of its own, and can be cut off; the server is on `machine`.
    """

    workers, senders = WORKERS, SENDERS
    patience = PATIENCE

    def __init__(
        self,
        server: Serving,
        folder: Path,
        seed: int,
        events: int,
        network: Network | None = None,
        machine: Machine | None = None,
    ) -> None:
        self._server = server
        self._network = network
        self._machine = machine
        self._idle: list[Machine] = []
        self._folder = folder
        self._seed = seed
        self._events = events
        self._chance = Random(seed)
        self._cluster = self._made()
        self._place = [server.plain_url, self._cluster.schema, *self._way_in()]
        self._stand = self._endpoints()
        self._numbers = count(1)
        self._workers = [self._worker() for _ in range(self.workers)]
        self._senders = [self._sender() for _ in range(self.senders)]
        self._doors = [self._door(number, 0) for number in range(DOORS)]
        self._recoveries: list[float] = []
        self._blows: Counter[str] = Counter()

    def _made(self) -> Cluster:
        return Cluster(self._server.plain_url, SLOTS, POLICY)

    def _endpoints(self) -> Stand | None:
        """What the senders send to, slow enough that there is always something on its way; `None` where
        nobody sends."""
        accounts = dict.fromkeys(HOSTS.values(), WEBHOOK_SECRET)
        host = "127.0.0.1" if self._network is None else HERE
        return Stand(self._folder / "sandbox", latency_ms=LATENCY_MS, more={"webhooks": accounts}, host=host)

    def _way_in(self) -> list[str]:
        """What nodes are told of the log, beside the database."""
        return []

    def _worker(self) -> Node:
        name = f"worker-{next(self._numbers)}"
        return self._node(["worker", *self._place, "--name", name], "workers.said", name)

    def _sender(self) -> Node:
        name = f"sender-{next(self._numbers)}"
        assert self._stand is not None, "somebody sends"
        words = ["sender", *self._place, "--name", name, "--sandbox", self._stand.address]
        return self._node(words, "senders.said", name)

    def _door(self, number: int, start: int) -> Node:
        plan = ["--seed", str(self._seed), "--events", str(self._events), "--door", str(number)]
        return self._node(["door", *self._place, *plan, "--start", str(start)], "doors.said")

    def _node(self, words: Sequence[str], said: str, name: str = "") -> Node:
        """On a machine where nothing runs any more, or on a new one."""
        machine = None
        if self._network is not None:
            self._idle = [one for one in self._idle if one.is_empty()] or [self._network.machine()]
            machine = self._idle.pop()
        return Node(words, self._folder / said, name, machine)

    # what befalls it

    def rage(self, seconds: float, tell: Callable[[str], None]) -> None:
        """Each kind of blow once, then more for so long or until the doors have told everything."""
        blows = self._kinds()
        end, n, breath = time.monotonic() + seconds, 0, threading.Event()
        while n < len(blows) or (time.monotonic() < end and not self._all_told()):
            breath.wait(self._chance.uniform(0.1, 0.5))
            # Each kind once, then by chance; the ones that say most come most often.
            blow = blows[n] if n < len(blows) else self._chance.choice([*blows, *blows[:4], *blows[:4]])
            n += 1
            name = blow.__name__.strip("_")
            began = time.monotonic()
            blow()
            self._blows[name] += 1
            assert all(one.lives for one in (*self._workers, *self._senders)), f"one ended by itself: {name}"
            tell(f"{name}: {self._recoveries[-1]:.2f} s, all over after {time.monotonic() - began:.2f} s")

    def _kinds(self) -> list[Callable[[], None]]:
        """The first ones say most."""
        return [
            self._kill_worker,
            self._freeze_worker,
            self._kill_sender,
            self._freeze_sender,
            self._kill_door,
            self._freeze_door,
            self._cut_power,
            self._replace_worker,
            self._replace_sender,
            self._freeze_database,
            *([] if self._network is None else self._cuts()),
        ]

    def _cuts(self) -> list[Callable[[], None]]:
        return [self._cut_off_worker, self._cut_off_sender, self._cut_off_door, self._cut_off_database]

    def _all_told(self) -> bool:
        return all(door.done.is_set() for door in self._doors)

    def _wait_for_shares(self) -> None:
        """A worker that just started has nothing that could be taken from it."""
        self._until(f"select count(distinct owner) = {self.workers} from cursor")

    def _wait_for_senders(self) -> None:
        self._until(f"select count(distinct owner) = {SENDERS} from sending")

    def _kill_worker(self) -> None:
        self._wait_for_shares()
        place = self._chance.randrange(self.workers)
        gone = self._workers[place]
        gone.end(signal.SIGKILL)
        self._recover(without=gone)
        self._workers[place] = self._worker()

    def _replace_worker(self) -> None:
        """It ends in good order, as in an upgrade, and another one joins."""
        place = self._chance.randrange(self.workers)
        self._workers[place].end()
        self._recover(without=self._workers[place])
        self._workers[place] = self._worker()

    def _freeze_worker(self) -> None:
        """Somebody else takes its slots while it stands; then it goes on as if nothing had been."""
        self._wait_for_shares()
        one = self._chance.choice(self._workers)
        one.send(signal.SIGSTOP)
        self._recover(without=one)
        one.send(signal.SIGCONT)

    def _kill_sender(self) -> None:
        self._wait_for_senders()
        place = self._chance.randrange(SENDERS)
        gone = self._senders[place]
        gone.end(signal.SIGKILL)
        self._others_send(gone)
        self._senders[place] = self._sender()

    def _replace_sender(self) -> None:
        place = self._chance.randrange(SENDERS)
        self._senders[place].end()
        self._others_send(self._senders[place])
        self._senders[place] = self._sender()

    def _freeze_sender(self) -> None:
        """Another one has its slots by the time it wakes, with requests in its hands."""
        self._wait_for_senders()
        one = self._chance.choice(self._senders)
        one.send(signal.SIGSTOP)
        self._others_send(one)
        one.send(signal.SIGCONT)

    def _freeze_database(self) -> None:
        """All of it stands still for longer than a lease, and goes on."""
        self._server.signal_all(signal.SIGSTOP)
        threading.Event().wait(FROZEN_SECONDS)
        self._server.signal_all(signal.SIGCONT)
        self._recover()

    def _kill_door(self) -> None:
        place = self._chance.randrange(DOORS)
        before = self._doors[place]
        before.end(signal.SIGKILL)
        self._doors[place] = self._door(place, before.durable)
        if before.done.is_set():
            self._doors[place].done.set()
        self._recover()

    def _freeze_door(self) -> None:
        one = self._chance.choice(self._doors)
        one.send(signal.SIGSTOP)
        self._recover()
        one.send(signal.SIGCONT)

    def _cut_off_worker(self) -> None:
        """It works on, and what it would commit reaches nobody; when it is back others have its slots."""
        self._wait_for_shares()
        one = self._chance.choice(self._workers)
        one.cut_off()
        self._recover(without=one)
        one.join()

    def _cut_off_sender(self) -> None:
        """Neither the database nor the endpoints hear it, with requests on their way."""
        self._wait_for_senders()
        one = self._chance.choice(self._senders)
        one.cut_off()
        self._others_send(one)
        one.join()

    def _cut_off_door(self) -> None:
        one = self._chance.choice(self._doors)
        one.cut_off()
        self._recover()
        one.join()

    def _cut_off_database(self) -> None:
        """For longer than a lease nobody reaches it; what it answered meanwhile nobody has heard."""
        assert self._machine is not None
        self._machine.cut_off()
        threading.Event().wait(CUT_OFF_SECONDS)
        self._machine.join()
        self._recover()

    def _cut_power(self) -> None:
        self._server.kill()
        self._server.start()
        self._recover()

    def _recover(self, without: Node | None = None) -> None:
        """Waits until all is decided that is durable now; `without` a worker: once others have its slots."""
        began = time.monotonic()
        if without is not None:
            self._until(f"select not exists (select 1 from cursor where owner = '{without.name}')")
        self._until_decided()
        self._recoveries.append(time.monotonic() - began)

    def _until_decided(self) -> None:
        (last,) = self._ask("select coalesce(max(id), 0) from event")
        self._until(
            "select not exists (select 1 from cursor where exists (select 1 from event"
            " where event.slot = cursor.slot and (event.xid, event.id) > (cursor.xid, cursor.id)"
            f" and event.id <= {last}))"
        )

    def _others_send(self, gone: Node) -> None:
        """Waits until others have a sender's slots, and have read all that is decided now."""
        began = time.monotonic()
        (decided,) = self._ask(
            "select array_agg(last) from (select max(seq) as last from record group by slot) x"
        )
        self._until(f"select not exists (select 1 from sending where owner = '{gone.name}' or owner is null)")
        self._until(
            f"select not exists (select 1 from unnest(array{decided or []}::bigint[]) as last"
            f" join sending on sending.slot = last % {SLOTS} where sending.position / 256 < last)"
        )
        self._recoveries.append(time.monotonic() - began)

    def _until(self, question: str) -> None:
        end, breath = time.monotonic() + self.patience, threading.Event()
        while self._ask(question) != (True,):
            assert time.monotonic() < end, f"not after {self.patience:.0f} s: {question}"
            breath.wait(0.02)

    def _ask(self, question: str) -> tuple[Any, ...]:
        """One row; a database that is just coming up is asked again."""
        end, breath = time.monotonic() + self.patience, threading.Event()
        while True:
            try:
                found = self._cluster.database.row(question)
                assert found is not None, question
                return found
            except LogError:
                assert time.monotonic() < end, question
                breath.wait(0.05)

    # the reckoning

    def reckoning(self) -> Proof:
        """Waits until every event is durable and decided, and counts what is not as it must be."""
        for door in self._doors:
            assert door.done.wait(PATIENCE * 5), "a door does not come to its end"
        self._recover()
        expected, found = self._expected(), lives(self._cluster.records())
        lost = doubled = disordered = 0
        for user in expected.keys() | found.keys():
            must, came = told(expected.get(user, [])), told(found.get(user, []))
            lost += (Counter(must) - Counter(came)).total()
            doubled += (Counter(came) - Counter(must)).total()
            disordered += Counter(must) == Counter(came) and must != came
        sent = self._sent()
        lost += sum(one.lost for one in sent.values())
        for name, one in sent.items():
            doubled += one.doubled if name == "hold" else max(0, one.doubled - one.unknown)
        disordered += sum(one.disordered for one in sent.values())
        return Proof(
            events=sum(map(len, self._plan())),
            kills=self._blows.total(),
            lost=lost,
            doubled=doubled,
            disordered=disordered,
            limit_exceeded=sum(one.limit_exceeded for one in sent.values()),
            recovery_p50_s=round(median(self._recoveries), 3),
            recovery_max_s=round(max(self._recoveries), 3),
            blows=dict(self._blows),
            sent=sent,
            seed=self._seed,
        )

    def _sent(self) -> dict[str, Sent]:
        """Waits until all is sent but what is held, and compares what came with what was planned."""
        end = time.monotonic() + PATIENCE * 5
        while self._ask(ALL_SENT) != (True,):
            assert time.monotonic() < end, self._ask("select json_agg(row(destination, stage)) from open")
            threading.Event().wait(0.1)
        assert self._stand is not None, "somebody sends"
        store = SlotDeliveries(self._cluster.connect(), SLOTS, range(SLOTS))
        records = self._cluster.records()
        return {name: reckoned(name, arrivals(self._stand, name), records, store) for name in HOSTS}

    def _plan(self) -> list[list[Any]]:
        return [
            [event for batch in batches(self._seed, self._events, door) for event in batch]
            for door in range(DOORS)
        ]

    def _expected(self) -> dict[str, list[Any]]:
        log = open_log(self._folder / "log.sqlite")
        one = Decider(log, POLICY, Clock(), lambda: None)
        for events in self._plan():
            log.append(events)
        while one.turn():
            pass
        found = lives(log.records(0, 10_000_000))
        log.close()
        return found

    def close(self) -> None:
        for node in (*self._workers, *self._senders, *self._doors):
            node.join()
            node.send(signal.SIGCONT)  # who stands still hears nothing else
            node.end()
        if self._stand is not None:
            self._stand.close()
        self._cluster.close()


def told(life: Sequence[Any]) -> list[bytes]:
    """What was decided of a user, one after the other, so that it can be compared and counted."""
    return [msgspec.msgpack.encode(one) for one in life]
