"""Six days of a lender through the real service, faster than they go by, while platforms fail by the hour."""

import contextlib
import http.client
import json
import os
import secrets
import signal
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from tests.running import PATIENCE, S2S_TOKEN, Ledger, call, free_port
from tests.soak.figures import Run, Sample, hours_of
from tests.soak.traffic import Traffic, every_due

from lendsignal.bench.machine import cpu_seconds, machine
from lendsignal.clock import ReplayClock, SystemClock, from_us, to_us
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.replay import Stage
from lendsignal.role.standing import Status, status
from lendsignal.sandbox import MetaDataset, SandboxSettings

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
START = datetime(2026, 11, 1, tzinfo=UTC)
TICK_SECONDS = 0.002
"""How often the lender's clock is set: the grain of every delay that is measured."""

WATCHED = ("core", "send", "web")
"""Roles that run all the time; the archive's job comes and goes."""

GA4_APP, DATASET = "1:1234567890:android:0a1b2c3d4e5f6a7b", "1234567890123456"
ACCOUNTS = {
    "appsflyer-ng": ("appsflyer", "com.acme.loans"),
    "firebase-ng": ("ga4", GA4_APP),
    "meta-ng": ("meta", DATASET),
    "branch-ng": ("branch", "acme-ng"),
}
HOLDS = frozenset(ACCOUNTS) - {"meta-ng"}
"""Destinations that hold what had no answer; Meta drops repeats itself, and is tried again."""

ROUTES = {
    "registration": ("firebase-ng", "meta-ng"),
    "application": ("appsflyer-ng", "branch-ng", "meta-ng"),
    "credit": ("appsflyer-ng", "branch-ng", "meta-ng"),
    "disbursement": ("appsflyer-ng", "firebase-ng", "meta-ng"),
}
"""Where each conversion goes: nearly two deliveries an event, as in the bench."""

NAMES = {"registration": "ev_r", "application": "ev_a", "credit": "ev_c", "disbursement": "ev_ln"}

HEAD = """\
[portfolio]
name = "acme"

[service]
data         = "data"
replay_clock = "clock"

[brand.acme]

[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[source.backend]
key = {{ env = "ACME_KEY" }}

[resolve]
settle = "0s"

[deliver]
first_retry   = "{first_retry}s"
longest_retry = "{longest_retry}s"
probe_after   = "{first_retry}s"

[deliver.brakes]
volume_from = 1000000000
"""

OWN_KEYS = {
    "appsflyer-ng": 'kind = "appsflyer"\ntoken = { env = "ACME_S2S" }',
    "firebase-ng": f'kind = "ga4"\napi_secret = {{ env = "ACME_S2S" }}\nfirebase_app_id = "{GA4_APP}"',
    "meta-ng": f'kind = "meta"\ndataset_id = "{DATASET}"\ntoken = {{ env = "ACME_S2S" }}\nlinger = "200ms"',
    "branch-ng": 'kind = "branch"\nbranch_key = { env = "ACME_S2S" }',
}

HOSTS = {
    "appsflyer-ng": "api3.appsflyer.com",
    "firebase-ng": "www.google-analytics.com",
    "meta-ng": "graph.facebook.com",
    "branch-ng": "api2.branch.io",
}

AFTER_AN_UNKNOWN_END = {True: '{ hold = "30d" }', False: "{ retry = 1000 }"}


class Weather(Struct, frozen=True, kw_only=True):
    """What fails in some hours of each day, for one platform: a rule of the sandbox's script."""

    name: str
    hours: tuple[int, ...]
    to: str
    rule: Mapping[str, object]


DAY = (
    Weather(
        name="503", hours=(2,), to="appsflyer-ng", rule={"kind": "status", "status": 503, "probability": 0.5}
    ),
    Weather(
        name="429",
        hours=(5,),
        to="firebase-ng",
        rule={"kind": "throttle", "every": 50, "headers": {"Retry-After": "1"}},
    ),
    Weather(name="hangs", hours=(8,), to="meta-ng", rule={"kind": "hang", "every": 20}),
    Weather(
        name="no answer", hours=(11,), to="appsflyer-ng", rule={"kind": "close_after_accept", "every": 50}
    ),
    Weather(name="errors in a 200", hours=(14,), to="meta-ng", rule={"kind": "error_in_200", "every": 3}),
    Weather(name="down", hours=(17,), to="branch-ng", rule={"kind": "status", "status": 503}),
    Weather(name="lies", hours=(20,), to="appsflyer-ng", rule={"kind": "lie", "every": 25}),
)
"""The same every day, so that days can be compared. A lie is a yes to what was thrown away: it cannot be
noticed, so it is counted, and just as many may be missing."""

NOW_AND_THEN = tuple(one for one in DAY if len(one.rule) > 2 or "every" in one.rule)
"""What leaves a request or two alone."""

AFTERMATH = 1
"""Hours behind one with weather that are not quiet yet: what waited is sent in them."""


class Course(Struct, frozen=True, kw_only=True):
    """What is asked of a run. `days` of the lender pass in `seconds` of the machine; `per_second`: events,
    `None` for half of the most that the stage takes; `kills`: shares of the way at which a role is killed;
    `all_at_once`: whatever fails now and then does so all the time, whatever the hour."""

    days: float
    seconds: float
    per_second: float | None
    kills: tuple[tuple[float, str], ...]
    memory: tuple[float, float] = (0.5, 0.95)
    all_at_once: bool = False
    timeout_seconds: int = 10
    find_most_seconds: float = 20.0

    @property
    def hour_us(self) -> int:
        """How long the weather lasts: an hour of the lender's clock, or less where less than a day passes."""
        return min(HOUR_US, round(self.days * HOUR_US))

    @property
    def faster(self) -> float:
        """How many times faster the lender's clock goes than the machine's."""
        return self.days * 86_400 / self.seconds


KILLS = tuple((0.06 + 0.07 * n, "send" if n % 2 else "core") for n in range(6))
"""In the first half, so that the second shows what the same processes hold; and twice near the end."""


def whole(hours: float, per_second: float | None = None, days: float = 6) -> Course:
    """So many days in so many hours of the machine."""
    return Course(
        days=days, seconds=hours * 3600, per_second=per_second, kills=(*KILLS, (0.96, "core"), (0.98, "send"))
    )


def short(seconds: float = 12, per_second: float = 120) -> Course:
    """An hour and a bit in some seconds, with every weather at once and a kill of each: what is lost or
    doubled shows; what grows does not. Slow enough for a busy machine: six hours, after which Branch is told
    nothing, are a minute."""
    kills = ((0.3, "core"), (0.55, "send"))
    return Course(
        days=0.05, seconds=seconds, per_second=per_second, kills=kills, all_at_once=True, timeout_seconds=1
    )


def soak(folder: Path, course: Course, tell: Callable[[str], None]) -> Run:
    """Runs it in an empty folder and counts when everything is at rest."""
    before = machine()
    with _stage(folder, course) as (stage, config, key):
        house = _House(stage, config, course, key)
        return house.run(tell, before)


@contextlib.contextmanager
def _stage(folder: Path, course: Course) -> Iterator[tuple[Stage, Config, str]]:
    key = secrets.token_urlsafe(24)
    known = {"ACME_KEY": key, "ACME_S2S": S2S_TOKEN}
    kept = {name: os.environ.get(name) for name in known}
    os.environ.update(known)
    text = HEAD.format(
        # A quarter of a second, and three seconds, of the machine.
        first_retry=max(1, round(course.faster / 4)),
        longest_retry=max(2, round(course.faster * 3)),
    )
    for name, own in OWN_KEYS.items():
        sent = ", ".join(f'{what} = "{NAMES[what]}"' for what, to in ROUTES.items() if name in to)
        text += f'\n[destination.{name}]\n{own}\napp = "acme-ng"\nper_second = 5000\n'
        text += f'timeout = "{course.timeout_seconds}s"\n'
        text += f"on_unknown = {AFTER_AN_UNKNOWN_END[name in HOLDS]}\n"
        text += f'\n[[route]]\nto = "{name}"\nsend = {{ {sent} }}\n'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lendsignal.toml").write_text(text)
    accounts = SandboxSettings(
        appsflyer={"com.acme.loans": S2S_TOKEN},
        ga4={GA4_APP: S2S_TOKEN},
        meta={DATASET: MetaDataset(token=S2S_TOKEN)},
        branch={"acme-ng": S2S_TOKEN},
    )
    ports = {"door.port": free_port(), "web.port": free_port(), "web.open": True}
    stage = Stage(folder, accounts, roles=("core", "send", "web", "archive"), overrides=ports)
    stage.clock.set_us(to_us(START))
    try:
        yield stage, stage.start(), key
    finally:
        stage.stop()
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


class _House:
    """The stage with its traffic, its clock and its watcher."""

    def __init__(self, stage: Stage, config: Config, course: Course, key: str) -> None:
        self._stage, self._config, self._course = stage, config, course
        self._traffic = Traffic(ROUTES)
        self._back_end = _BackEnd(config, key, self._traffic, stage.clock)
        self._start_us = to_us(START)
        self._cpu = _Cpu()
        self._samples: list[Sample] = []
        self._fired: Counter[str] = Counter()
        self._lied = 0
        self._killed: Counter[str] = Counter()

    def run(self, tell: Callable[[str], None], before: object) -> Run:
        course, over = self._course, threading.Event()
        most = None
        per_second = course.per_second
        with _Ticking(self._stage.clock, course.faster, over) as ticking:
            if per_second is None:
                most = self._most()
                per_second = most / 2
                tell(f"{most:,.0f} events a second is the most; half of it from now on")
            ticking.begin(self._start_us)
            self._back_end.begin(per_second)
            self._go(tell)
            self._back_end.stop()
            self._weather(())
            self._idle()
            tell("everything is at rest")
        ids = {name: self._ids(name) for name in ACCOUNTS}
        load_after = os.getloadavg()[0]
        self._stage.stop()
        return self._counted(ids, most, per_second, before, load_after)

    def _most(self) -> float:
        """Events a second from the first request until all is sent, with nothing failing."""
        started, first = time.monotonic(), self._back_end.sent
        while time.monotonic() < started + self._course.find_most_seconds:
            self._back_end.send(200)
            self._stage.tend()
        self._idle()
        return (self._back_end.sent - first) / (time.monotonic() - started)

    def _go(self, tell: Callable[[str], None]) -> None:
        course, breath = self._course, threading.Event()
        begun = time.monotonic()
        every = min(10.0, course.seconds / 40)
        kills, next_sample, told_day = list(course.kills), begun, -1
        while (gone := time.monotonic() - begun) < course.seconds:
            self._stage.tend()
            hour = self._now_us() // course.hour_us % 24
            self._weather(NOW_AND_THEN if course.all_at_once else _weather_at(hour))
            if kills and gone >= kills[0][0] * course.seconds:
                self._kill(kills.pop(0)[1])
            if time.monotonic() >= next_sample:
                next_sample += every
                self._look()
            if (day := self._now_us() // DAY_US) != told_day and self._samples:
                told_day = day
                held = sum(self._samples[-1].pss_mib.values())
                tell(f"day {day}: {self._back_end.sent:,} events, {held:,.0f} MiB")
            self._back_end.check()
            breath.wait(0.05)
        self._look()

    def _now_us(self) -> int:
        return self._stage.clock.now_us() - self._start_us

    def _kill(self, role: str) -> None:
        number = self._stage.pid(role)
        if number is not None:
            self._cpu.look(role, number)
            os.kill(number, signal.SIGKILL)
            self._killed[role] += 1

    def _look(self) -> None:
        held, used = {}, {}
        for role in WATCHED:
            number = self._stage.pid(role)
            if number is None:
                return
            try:
                held[role] = pss_mib(number)
                used[role] = self._cpu.look(role, number)
            except OSError:  # it was killed, and the next look finds its heir
                return
        data = self._config.data
        files = {name: size_mib(data, name) for name in ("log.sqlite", "deliveries.sqlite", "archive")}
        self._samples.append(
            Sample(
                day=self._now_us() / DAY_US,
                events=self._back_end.sent,
                pss_mib=held,
                cpu_s=used,
                files_mib=files,
            )
        )

    def _weather(self, wanted: tuple[Weather, ...]) -> None:
        """Brings the sandbox's script in step with the hour."""
        if wanted == getattr(self, "_blowing", ()):
            return
        sandbox = self._stage.sandbox
        for each in json.loads(call(sandbox, "GET", "/_sandbox/faults")[2]):
            self._fired[each["rule"]["kind"]] += each["fired"]
        rules = [{**one.rule, "host": HOSTS[one.to]} for one in wanted]
        assert call(sandbox, "POST", "/_sandbox/faults", json.dumps(rules).encode())[0] == 200
        self._blowing = wanted

    def _idle(self) -> None:
        """Returns when nothing waits but what is held; gives up where nothing goes on for ten minutes."""
        least, end, breath = float("inf"), time.monotonic() + 10 * PATIENCE, threading.Event()
        while time.monotonic() < end:
            self._stage.tend()
            now = self._status()
            left = float("inf") if now is None else self._left(now)
            if now is not None and now.idle and not left:
                return
            if left < least:
                least, end = left, time.monotonic() + 10 * PATIENCE
            breath.wait(0.1)
        raise AssertionError(f"the service stands still, and is not at rest: {self._status()}")

    def _left(self, now: Status) -> int:
        """Events that are not decided and deliveries that are open, without those that a person has."""
        open_ = (n for stages in now.waiting.values() for stage, n in stages.items() if stage != "held")
        return max(0, self._back_end.sent - now.decided) + sum(open_)

    def _status(self) -> Status | None:
        try:
            return status(self._config.data, self._stage.clock)
        except LogError:
            return None

    def _ids(self, destination: str) -> dict[str, int]:
        platform, account = ACCOUNTS[destination]
        path = f"/_sandbox/ids?platform={platform}&account={account}"
        found: dict[str, int] = json.loads(call(self._stage.sandbox, "GET", path, timeout=600)[2])
        return found

    def _counted(
        self,
        ids: Mapping[str, Mapping[str, int]],
        most: float | None,
        per_second: float,
        before: object,
        load_after: float,
    ) -> Run:
        course, data = self._course, self._config.data
        events = self._back_end.sent
        wanted: dict[str, set[str]] = {name: set() for name in ACCOUNTS}
        number_of: dict[str, int] = {}
        for number, due in every_due(self._traffic, events):
            number_of[due.id] = number
            for name in due.to:
                wanted[name].add(due.id)
        ledger = Ledger(data)
        # A login on a new phone that comes behind its loan binds what is not yet claimed anew: planned twice.
        planned = {name: set(ledger.planned.get(name, ())) for name in ACCOUNTS}
        unlike = [name for name in ACCOUNTS if planned[name] != wanted[name] or not ledger.balances(name)]
        missing = 0
        for name, got in ids.items():
            # What is accepted must have arrived, and everything must have come to an end.
            missing += len(ledger.accepted[name] - got.keys())
            ended = len(ledger.accepted[name]) + ledger.held(name)
            ended += ledger.count(name, "skipped") + ledger.count(name, "dead")
            missing += max(0, len(wanted[name]) - ended)
        lied = self._fired["lie"]
        return Run(
            days=course.days,
            hours_of_the_machine=round(course.seconds / 3600, 3),
            faster=round(course.faster, 1),
            events=events,
            deliveries=sum(sum(got.values()) for got in ids.values()),
            events_per_s=round(per_second, 1),
            most_events_per_s=None if most is None else round(most, 1),
            planned=sum(map(len, planned.values())),
            arrived=sum(map(len, ids.values())),
            held=sum(ledger.held(name) for name in ACCOUNTS),
            dead=sum(ledger.count(name, "dead") for name in ACCOUNTS),
            skipped=sum(ledger.count(name, "skipped") for name in ACCOUNTS),
            lied=lied,
            lost=max(0, missing - lied),
            doubled=sum(n - 1 for name in HOLDS for n in ids[name].values()),
            repeated=sum(n - 1 for name in ids.keys() - HOLDS for n in ids[name].values()),
            unlike=unlike,
            kills=dict(self._killed),
            faults=dict(self._fired),
            samples=self._samples,
            memory_days=(course.memory[0] * course.days, course.memory[1] * course.days),
            hours=hours_of(
                self._arrivals(number_of), course.faster, (self._start_us, course.hour_us), weather_name
            ),
            machine=before,  # type: ignore[arg-type]
            load_after=round(load_after, 2),
            day=from_us(SystemClock().now_us()).date().isoformat(),
        )

    def _arrivals(self, number_of: Mapping[str, int]) -> list[tuple[int, int]]:
        """Of every delivery: when its event was acknowledged, and when it arrived first."""
        seen: set[tuple[str, str]] = set()
        found = []
        with (self._stage.folder / "received" / "received.jsonl").open("rb") as lines:
            for line in lines:
                one = msgspec.json.decode(line, type=_Arrived)
                what = (one.platform, one.conversion_id or "")
                number = number_of.get(what[1])
                if one.kind == "taken" and number is not None and what not in seen:
                    seen.add(what)
                    told_us = self._back_end.acknowledged_us(number)
                    if told_us >= self._start_us:
                        found.append((told_us, one.received_us))
        return found


class _Arrived(Struct):
    kind: str
    platform: str
    received_us: int
    conversion_id: str | None = None


class _BackEnd:
    """Tells the events at a steady pace, in order, each batch until it is acknowledged."""

    def __init__(self, config: Config, key: str, traffic: Traffic, clock: ReplayClock) -> None:
        self._address = (config.data / "core.address").read_text().removeprefix("http://")
        self._connection = http.client.HTTPConnection(self._address, timeout=10)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._traffic, self._clock = traffic, clock
        self._acknowledged = array("q")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: BaseException | None = None

    @property
    def sent(self) -> int:
        """Events that are acknowledged."""
        return len(self._acknowledged)

    def acknowledged_us(self, number: int) -> int:
        """When that event was, by the lender's clock."""
        return self._acknowledged[number]

    def begin(self, per_second: float) -> None:
        """Sends in a thread of its own from now on."""
        self._thread = threading.Thread(target=self._paced, args=(per_second,))
        self._thread.start()

    def stop(self) -> None:
        """Sends no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()
        self.check()

    def check(self) -> None:
        """Raises what ended the sending."""
        if self._failed is not None:
            raise self._failed

    def send(self, n: int) -> None:
        """The next so many events; returns when they are acknowledged, whoever dies meanwhile."""
        first, at = self.sent, from_us(self._clock.now_us())
        body = msgspec.json.encode([self._traffic.event(first + one, at) for one in range(n)])
        end, breath = time.monotonic() + PATIENCE, threading.Event()
        while True:
            try:
                self._connection.request("POST", "/v1/events", body, self._headers)
                response = self._connection.getresponse()
                answer = response.read()
                if response.status == 202:
                    assert json.loads(answer)["refused"] == 0, answer
                    self._acknowledged.extend([self._clock.now_us()] * n)
                    return
                assert response.status in (429, 503), answer
            except (OSError, http.client.HTTPException):
                self._connection.close()
            assert time.monotonic() < end, "the service does not come back"
            breath.wait(0.02)

    def _paced(self, per_second: float) -> None:
        try:
            begun, first = time.monotonic(), self.sent
            while not self._stopping.wait(0.01):
                wanted = first + int((time.monotonic() - begun) * per_second)
                while self.sent < wanted and not self._stopping.is_set():
                    self.send(min(200, wanted - self.sent))
        except BaseException as error:  # the thread that waits raises it
            self._failed = error


class _Ticking:
    """Sets the lender's clock on, all the time."""

    def __init__(self, clock: ReplayClock, faster: float, over: threading.Event) -> None:
        self._clock, self._faster, self._over = clock, faster, over
        self._from = (clock.now_us() - DAY_US, time.monotonic())
        self._clock.set_us(self._from[0])
        self._thread = threading.Thread(target=self._tick)

    def begin(self, at_us: int) -> None:
        """The lender's day begins now, whatever went before."""
        now = self._clock.now_us()
        assert now <= at_us, "what went before took more than a day of the lender"
        self._from = (at_us, time.monotonic())

    def __enter__(self) -> "_Ticking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            since_us, began = self._from
            self._clock.set_us(since_us + round((time.monotonic() - began) * self._faster * 1e6))


class _Cpu:
    """Processor time of roles over all the processes that had them."""

    def __init__(self) -> None:
        self._now: dict[str, tuple[int, float]] = {}
        self._ended: Counter[str] = Counter()

    def look(self, role: str, pid: int) -> float:
        """Seconds of a role so far, `pid` having it now."""
        used = cpu_seconds(pid)
        before, last = self._now.get(role, (pid, 0.0))
        if before != pid:
            self._ended[role] += last  # type: ignore[assignment]
        self._now[role] = (pid, used)
        return round(self._ended[role] + used, 2)


def _weather_at(hour: int) -> tuple[Weather, ...]:
    return tuple(one for one in DAY if hour in one.hours)


def weather_name(hour: int) -> str:
    """What failed on purpose in an hour counted from the beginning, or just before it."""
    for back in range(AFTERMATH + 1):
        for one in _weather_at((hour - back) % 24):
            return f"{one.name}, {one.to}" if not back else f"after {one.name}, {one.to}"
    return ""


def pss_mib(pid: int) -> float:
    """What a process holds, pages that others hold too in equal parts, in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) / 1024, 2)
    raise ProcessLookupError(pid)


def size_mib(data: Path, name: str) -> float:
    """A file with its write-ahead log, or a folder with everything in it, in MiB."""
    found = [*data.glob(f"{name}*"), *(data / name).rglob("*")]
    size = 0
    for path in found:
        with contextlib.suppress(OSError):  # the archive's job puts files in place of others
            size += path.stat().st_size
    return round(size / 1024**2, 2)
