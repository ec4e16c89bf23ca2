"""A cluster of real nodes, `lendsignal run --role …`, under traffic; and the reckoning.

What must be decided is worked out by the slow way: what is in the store, decided in one data folder in one
go. What must be in the store is what doors answered 202, each user's in that order.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from statistics import median
from typing import Any

from click.testing import CliRunner
from msgspec import Struct
from tests.cluster.arrivals import Sent, arrivals, reckoned, total
from tests.cluster.hooks import BURST, HOSTS, PER_SECOND, SECRET
from tests.cluster.poisoned import poisoned
from tests.cluster.storm import ALL_SENT, told
from tests.cluster.traffic import Teller
from tests.clustered import lives
from tests.lender_file import ACME
from tests.running import KEY, WEBHOOK_SECRET, Stand, call, free_port
from tests.servers.network import Machine

from lendsignal.cli.main import main
from lendsignal.clock import SystemClock
from lendsignal.config import load
from lendsignal.decide import Decider
from lendsignal.errors import LogError
from lendsignal.log import Stage, open_log
from lendsignal.log.numbers import number_of_event
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.connection import Limits
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.rows import read_event, unpacked_records

HERE = Path(__file__).parents[2]

SLOTS = 16
LATENCY_MS = 100

PATIENCE = 180.0
"""Seconds in which a cluster that is going to recover has recovered: Patroni alone may take forty."""

CONFIG = (
    ACME
    + """
[source.backend]
key = {{ env = "ACME_KEY" }}

[resolve]
settle = "0s"

[door]
host = "{host}"
port = {port}

[deliver]
sandbox     = "{sandbox}"
first_retry = "50ms"

[store]
url               = {{ env = "ACME_STORE" }}
schema            = "{schema}"
slots             = {slots}
statement_timeout = "5s"
lock_timeout      = "4s"
connect_timeout   = "2s"
silence           = "3s"

{hooks}
[[route]]
to   = "hold"
send = {{ disbursement = "ev_ln", registration = "ev_r" }}

[[route]]
to   = "retry"
send = {{ disbursement = "ev_ln", registration = "ev_r" }}
"""
)

HOOK = """\
[destination.{name}]
kind       = "webhook"
app        = "acme-ng"
url        = "https://{host}/in"
secret     = {{ env = "{secret}" }}
per_second = {per_second}
burst      = {burst}
ordered_by = "user"
timeout    = "20s"
on_unknown = {rule}

"""

RULES = {"hold": '{ hold = "1d" }', "retry": "{ retry = 1000 }"}

BRISK = Limits(
    connect=timedelta(seconds=2),
    statement=timedelta(seconds=8),
    lock=timedelta(seconds=2),
    silence=timedelta(seconds=2),
)
"""Whoever only looks does not wait for long."""


class Proof(Struct, frozen=True, kw_only=True):
    """What a run came to. Recovery is from the blow until what each door answered after it is decided.

    `doubled` under `retry` are only those beyond what was unknown. `refused`: answers of doors other than
    202, which one gives that is just ending; `unanswered`: requests to doors that were dead or cut off.
    """

    events: int
    kills: int
    lost: int
    doubled: int
    disordered: int
    limit_exceeded: int
    recovery_p50_s: float
    recovery_max_s: float
    poisoned: int
    refused: int
    unanswered: int
    slowest_answer_s: float
    blows: dict[str, list[float]]
    sent: dict[str, Sent]
    seed: int

    @property
    def is_broken(self) -> bool:
        """Whether a promise was not kept."""
        return bool(self.lost or self.doubled or self.disordered or self.limit_exceeded)


class Member:
    """One node with one role, on a machine of its own where there are machines."""

    def __init__(
        self,
        role: str,
        folder: Path,
        machine: Machine | None,
        environment: Mapping[str, str],
        *,
        supervised: bool = True,
    ) -> None:
        self.role = role
        self._supervised = supervised
        self.folder = folder
        self.machine = machine
        self.host = "127.0.0.1" if machine is None else machine.address
        self.port = free_port()
        self.config = folder / "lendsignal.toml"
        self.environment = {**os.environ, **environment, "OMP_NUM_THREADS": "1"}
        folder.mkdir(parents=True)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it takes events."""
        return f"{self.host}:{self.port}"

    def start(self, source: Path | None = None) -> "Member":
        """Starts it; `source`: by the code that stands there, and not by ours."""
        alone = "tests.cluster.poisoned" if self.role == "work" else "lendsignal.role"
        words = ["-m", alone, self.role, "--config", str(self.config)]
        if self._supervised and self.role != "work":
            words = ["-m", "lendsignal", "run", "--role", self.role]
        on = [] if self.machine is None else self.machine.words
        paths = [str(one) for one in (source, HERE) if one is not None]
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [*on, sys.executable, *words],
                cwd=self.folder,
                env={**self.environment, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.PIPE,  # with it a role ends when we do
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        return self

    def is_ready(self) -> bool:
        """Whether the door takes events."""
        try:
            return call(self.address, "GET", "/readyz", timeout=2)[0] == 200
        except (OSError, ValueError):
            return False

    def signal(self, number: int) -> None:
        """To the node: its supervisor and its roles."""
        assert self.process is not None, "it runs"
        for pid in (self.process.pid, *_children(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """As where its machine loses power."""
        self.signal(SIGKILL)
        self._gone()

    def end(self) -> None:
        """In good order: it drains, and leaves what it had to others."""
        assert self.process is not None, "it runs"
        self.signal(SIGCONT)
        self.process.send_signal(SIGTERM)
        self._gone()

    def _gone(self) -> None:
        assert self.process is not None, "it runs"
        self.process.wait(PATIENCE)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process = None

    @property
    def said(self) -> str:
        """Its last words."""
        return (self.folder / "said").read_text(errors="replace")[-3000:]


class Fleet:
    """Doors, workers and senders over a store, with tellers that never stop. `seed` decides what is told."""

    def __init__(
        self,
        url: str,
        folder: Path,
        seed: int,
        *,
        host: str = "127.0.0.1",
        machine: Callable[[], Machine | None] = lambda: None,
        a_second: float = 30.0,
        doors: int = 2,
        workers: int = 2,
        senders: int = 2,
        source: Path | None = None,
        supervised: bool = True,
    ) -> None:
        self.url = url
        self._supervised = supervised
        self.folder = folder
        self.seed = seed
        self.chance = Random(seed)
        self.schema = f"fleet_{seed}"
        self.source = source
        self._machine = machine
        self._numbers = count(1)
        accounts = dict.fromkeys(HOSTS.values(), WEBHOOK_SECRET)
        self._stand = Stand(folder / "sandbox", latency_ms=LATENCY_MS, more={"webhooks": accounts}, host=host)
        self.database = Database(url, self.schema, BRISK)
        self.recoveries: dict[str, list[float]] = {}
        self._away: list[Member] = []
        self.doors = [self.member("ingest") for _ in range(doors)]
        self.workers = [self.member("work") for _ in range(workers)]
        self.senders = [self.member("send") for _ in range(senders)]
        self.tellers = [
            Teller(door.address, number, doors, seed, a_second / doors)
            for number, door in enumerate(self.doors)
        ]

    @property
    def members(self) -> list[Member]:
        """All nodes."""
        return [*self.doors, *self.workers, *self.senders]

    def member(self, role: str) -> Member:
        """One more node, not started."""
        environment = {"ACME_KEY": KEY, SECRET: WEBHOOK_SECRET, "ACME_STORE": self.url}
        place = self.folder / f"{role}-{next(self._numbers)}"
        one = Member(role, place, self._machine(), environment, supervised=self._supervised)
        hooks = "".join(
            HOOK.format(
                name=name, host=host, secret=SECRET, per_second=PER_SECOND, burst=BURST, rule=RULES[name]
            )
            for name, host in HOSTS.items()
        )
        one.config.write_text(
            CONFIG.format(
                host=one.host,
                port=one.port,
                sandbox=self._stand.address,
                schema=self.schema,
                slots=SLOTS,
                hooks=hooks,
            )
        )
        return one

    def verb(self, *words: str, source: Path | None = None) -> str:
        """What a command over a node's configuration prints; `source` as in `Member.start`."""
        one = self.doors[0]
        if source is None:
            done = CliRunner().invoke(main, [*words, "--config", str(one.config)], env=one.environment)
            assert done.exit_code == 0, (words, done.output)
            return done.output
        ran = subprocess.run(
            [sys.executable, "-m", "lendsignal", *words, "--config", str(one.config)],
            cwd=one.folder,
            env={**one.environment, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
        return ran.stdout

    def start(self) -> None:
        """Prepares the store, starts every node, and begins to tell."""
        self.verb("store", "prepare", source=self.source)
        self.verb("store", "policy", source=self.source)
        for one in self.members:
            one.start(self.source)
        for door in self.doors:
            until(door.is_ready, "the doors take events")
        for teller in self.tellers:
            teller.start()
        self.recover()

    # what befalls it

    def blow(
        self, name: str, blow: Callable[[], object], after: Callable[[], object] = lambda: None
    ) -> float:
        """Strikes, waits until the cluster has recovered, and tidies up (`after`). The seconds it took."""
        began = time.monotonic()
        blow()
        self.recover()
        self.recoveries.setdefault(name, []).append(round(time.monotonic() - began, 2))
        after()
        return self.recoveries[name][-1]

    def recover(self) -> None:
        """Waits until something is decided that each living door answered from now on, and is sent on."""
        marks = [(one, len(one.answered)) for one in self.tellers if not self._is_away(one)]
        until(lambda: all(len(one.answered) > mark for one, mark in marks), "doors answer")
        names = sorted({number_of_event(one.answered[-1]) for one, _ in marks})
        words = ",".join(map(str, names))
        self.until(
            f"select count(distinct event.name) = {len(names)} from event join cursor using (slot)"
            f" where event.name = any('{{{words}}}'::bigint[])"
            " and (event.xid, event.id) <= (cursor.xid, cursor.id)"
        )
        self.until(
            "select not exists (select 1 from sending left join node on node.name = sending.owner"
            " and node.until > clock_timestamp() where node.name is null)"
        )

    def _is_away(self, teller: Teller) -> bool:
        """Whether its door is dead, frozen or cut off by us just now."""
        return any(one.address == teller.address and one in self._away for one in self.doors)

    def bystander(self) -> tuple[str, Callable[[], None]]:
        """Freezes, kills or cuts off some node; what was done, and what takes it back."""
        one = self.chance.choice(self.chance.choice([self.doors, self.workers, self.senders]))
        ways = ["killed", "frozen", *(["cut off"] if one.machine is not None else [])]
        way = self.chance.choice(ways)
        self._away = [one]
        if way == "killed":
            one.kill()
        elif way == "frozen":
            one.signal(SIGSTOP)
        else:
            assert one.machine is not None
            one.machine.cut_off()

        def back() -> None:
            if way == "killed":
                one.start()
            elif way == "frozen":
                one.signal(SIGCONT)
            else:
                assert one.machine is not None
                one.machine.join()
            self._away = []

        return f"{one.role} {way}", back

    def replace(self, one: Member, source: Path | None = None) -> None:
        """Ends it in good order and starts it again, as an upgrade does; its folder stays."""
        one.end()
        one.start(source)
        if one.role == "ingest":
            until(one.is_ready, "the door takes events")

    def wait_for_shares(self) -> None:
        """Until every worker and every sender has slots."""
        for table, members in (("cursor", self.workers), ("sending", self.senders)):
            self.until(f"select count(distinct owner) = {len(members)} from {table}")

    # asking

    def until(self, question: str) -> None:
        """Waits until a question to the store is answered with yes."""

        def yes() -> bool:
            for one in self.members:
                gone = one not in self._away and one.process is not None and one.process.poll() is not None
                assert not gone, f"{one.folder.name} ended by itself:\n{one.said}"
            try:
                return self.database.row(question) == (True,)
            except LogError:
                return False

        until(yes, question)

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """All rows, once the store answers."""
        end, breath = time.monotonic() + PATIENCE, threading.Event()
        while True:
            try:
                return self.database.rows(question)
            except LogError:
                assert time.monotonic() < end, question
                breath.wait(0.2)

    # the reckoning

    def reckoning(self) -> Proof:
        """Waits until all that was answered is decided and sent, and counts what is not as it must be."""
        for one in self.tellers:
            one.stop()
        answered = [event for one in self.tellers for event in one.answered]
        self._wait_for_all(answered)
        self.until(
            "select not exists (select 1 from event join cursor using (slot)"
            " where (event.xid, event.id) > (cursor.xid, cursor.id))"
        )
        self.until(ALL_SENT)
        stored = [read_event(body) for (body,) in self.rows("select body from event order by xid, id")]
        records = unpacked_records(self.rows("select seq, body from record order by slot, seq"))
        lost, disordered = self._of_the_doors(stored)
        expected, found = self._expected(stored), lives(records)
        doubled = 0
        for user in expected.keys() | found.keys():
            must, came = told(expected.get(user, [])), told(found.get(user, []))
            lost += (Counter(must) - Counter(came)).total()
            doubled += (Counter(came) - Counter(must)).total()
            disordered += Counter(must) == Counter(came) and must != came
        store = SlotDeliveries(self.database, SLOTS, range(SLOTS))
        sent = {name: reckoned(name, arrivals(self._stand, name), records, store) for name in HOSTS}
        lost += total(sent, "lost")
        doubled += sent["hold"].doubled + max(0, sent["retry"].doubled - sent["retry"].unknown)
        disordered += total(sent, "disordered")
        statuses = sum((one.answers for one in self.tellers), Counter[int]())
        times = [one for found in self.recoveries.values() for one in found]
        return Proof(
            events=len(answered),
            kills=len(times),
            lost=lost,
            doubled=doubled,
            disordered=disordered,
            limit_exceeded=total(sent, "limit_exceeded"),
            recovery_p50_s=round(median(times), 2),
            recovery_max_s=round(max(times), 2),
            poisoned=self.rows("select count(*) from verdict where verdict = 'failed'")[0][0],
            refused=sum(n for status, n in statuses.items() if status not in (0, 202)),
            unanswered=statuses[0],
            slowest_answer_s=round(max(one.slowest for one in self.tellers), 2),
            blows=self.recoveries,
            sent=sent,
            seed=self.seed,
        )

    def _wait_for_all(self, answered: Sequence[str]) -> None:
        """Returns when all of these are in the store, or when what is missing will not come any more."""
        names = {number_of_event(event) for event in answered}

        def missing() -> set[int]:
            return names - {name for (name,) in self.rows("select distinct name from event")}

        end, breath = time.monotonic() + PATIENCE, threading.Event()
        while missing() and time.monotonic() < end:
            breath.wait(0.5)
        gone = missing()
        for one in self.tellers:
            for event, at in one.answered_at.items():
                if number_of_event(event) in gone:
                    print(f"LOST: {event}, which {one.address} answered at {at:%H:%M:%S.%f}", flush=True)

    def _of_the_doors(self, stored: Sequence[Any]) -> tuple[int, int]:
        """What was answered and is not in the store, and users whose events stand there in another order."""
        there: dict[str, dict[str, None]] = {}
        for event in stored:
            there.setdefault(event.user_id, {})[event.event_id] = None
        lost = disordered = 0
        for one in self.tellers:
            for user, ids in one.told.items():
                stands = list(there.get(user, {}))
                lost += len(set(ids) - set(stands))
                disordered += [event for event in stands if event in set(ids)] != ids
        return lost, disordered

    def _expected(self, stored: Sequence[Any]) -> dict[str, list[Any]]:
        with _environment(self.doors[0].environment):
            config = load(self.doors[0].config)
        with closing(open_log(self.folder / "log.sqlite")) as log, poisoned():
            one = Decider(log, config.policy, SystemClock(), lambda: None)
            log.append([event for event in stored if event.brand == "acme"])
            while one.turn():
                pass
            return lives(log.records(0, 10_000_000))

    def held(self) -> int:
        """Deliveries that wait for a person."""
        return int(self.rows(f"select count(*) from open where stage = {int(Stage.HELD)}")[0][0])

    def close(self) -> None:
        """Ends everything."""
        for teller in self.tellers:
            teller.give_up()
        for one in self.members:
            if one.process is not None:
                one.kill()
        self._stand.close()
        with suppress(LogError):
            self.database.rows(f"drop schema {self.schema} cascade")
        self.database.close()


@contextmanager
def _environment(words: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(words)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def until(true: Callable[[], Any], what: str) -> Any:
    """What `true` gives once that is something."""
    end, breath = time.monotonic() + PATIENCE, threading.Event()
    while not (found := true()):
        assert time.monotonic() < end, f"not after {PATIENCE:.0f} s: {what}"
        breath.wait(0.05)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def as_json(proof: Proof) -> str:
    """The last line of a run."""
    import msgspec

    return json.dumps(msgspec.to_builtins(proof))
