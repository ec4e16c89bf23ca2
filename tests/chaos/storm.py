"""A made-up lender's events through the real service to six platforms that fail in every way at once."""

import json
import random
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct
from tests.lender_file import ACME
from tests.running import (
    PATIENCE,
    S2S_TOKEN,
    WEBHOOK_SECRET,
    BackEnd,
    Ledger,
    Service,
    call,
)

from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.plan import Placed, record_of

TIMEOUT_SECONDS = 1
LATE_MS = 2_000
LOANS = 3
USERS_AT_ONCE = 4
WAIT_SECONDS = 0.15
GA4_APP = "1:1234567890:android:0a1b2c3d4e5f6a7b"

HOLDS, RETRIES = '{ hold = "7d" }', "{ retry = 1000 }"


class Platform(Struct, frozen=True, kw_only=True):
    """A destination of this house: how the sandbox knows it, its own keys, what it is sent and after an
    ambiguous end does. `each`: deliveries that one user makes."""

    kind: str
    host: str
    account: str
    keys: str
    send: str
    on_unknown: str = RETRIES
    each: int = LOANS

    @property
    def holds(self) -> bool:
        return self.on_unknown == HOLDS


PLATFORMS: Mapping[str, Platform] = {
    "appsflyer-ng": Platform(
        kind="appsflyer",
        host="api3.appsflyer.com",
        account="com.acme.loans",
        keys='token = { env = "ACME_S2S" }',
        send='{ disbursement = "ev_ln" }',
        on_unknown=HOLDS,
    ),
    "firebase-ng": Platform(
        kind="ga4",
        host="www.google-analytics.com",
        account=GA4_APP,
        keys=f'api_secret = {{ env = "ACME_S2S" }}\nfirebase_app_id = "{GA4_APP}"',
        send='{ disbursement = "ev_ln", registration = "ev_r" }',
        on_unknown=HOLDS,
        each=LOANS + 1,
    ),
    "adjust-ng": Platform(
        kind="adjust",
        host="s2s.adjust.com",
        account="4w565xzmb54d",
        keys='app_id = "4w565xzmb54d"\ntoken = { env = "ACME_S2S" }',
        send='{ disbursement = "abc123" }',
        on_unknown=HOLDS,
    ),
    "meta-ng": Platform(
        kind="meta",
        host="graph.facebook.com",
        account="1234567890123456",
        keys='dataset_id = "1234567890123456"\ntoken = { env = "ACME_S2S" }\nlinger = "200ms"',
        send='{ disbursement = "ev_ln", registration = "ev_r" }',
        each=LOANS + 1,
    ),
    "tiktok-ng": Platform(
        kind="tiktok",
        host="business-api.tiktok.com",
        account="7300000000000000001",
        keys='app_id = "7300000000000000001"\ntoken = { env = "ACME_S2S" }\nlinger = "200ms"',
        send='{ disbursement = "ev_ln" }',
    ),
    "warehouse": Platform(
        kind="webhook",
        host="hooks.acme.example",
        account="hooks.acme.example",
        keys='url = "https://hooks.acme.example/in"\nsecret = { env = "ACME_HOOK" }',
        send='{ disbursement = "ev_ln", registration = "ev_r" }',
        each=LOANS + 1,
    ),
}

HEAD = (
    ACME
    + """
[source.backend]
key = {{ env = "ACME_KEY" }}

[resolve]
settle = "0s"

[door]
port = {door}

[web]
port = {web}

[deliver]
sandbox       = "{sandbox}"
first_retry   = "50ms"
longest_retry = "500ms"
probe_after   = "200ms"

[deliver.brakes]
volume_from = 1000000
"""
)

DESTINATION = """
[destination.{name}]
kind       = "{kind}"
app        = "acme-ng"
{keys}
timeout    = "{timeout}s"
per_second = 2000
on_unknown = {on_unknown}

[[route]]
to   = "{name}"
send = {send}
"""

ACCOUNTS = {
    "appsflyer": {"com.acme.loans": S2S_TOKEN},
    "ga4": {GA4_APP: S2S_TOKEN},
    "adjust": {"4w565xzmb54d": S2S_TOKEN},
    "meta": {"1234567890123456": {"token": S2S_TOKEN}},
    "tiktok": {"7300000000000000001": S2S_TOKEN},
    "webhooks": {"hooks.acme.example": WEBHOOK_SECRET},
}


class Sandboxes:
    """The stand-ins, as a process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "accounts.json").write_text(json.dumps(ACCOUNTS))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lendsignal.sandbox", "--settings", "accounts.json", "--port", "0"],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[-1]

    def look(self, path: str) -> Any:
        """A page of the sandbox's own."""
        return json.loads(call(self.address, "GET", f"/_sandbox/{path}")[2])

    def tell(self, path: str, body: bytes = b"") -> None:
        """Sets what goes wrong from now on."""
        status, _, answer = call(self.address, "POST", f"/_sandbox/{path}", body)
        assert status == 200, answer

    def received(self, platform: Platform) -> list[dict[str, Any]]:
        """Every conversion that the account took, in the order of arrival."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            query = f"platform={platform.kind}&account={platform.account}&limit=10000&after={after}"
            page = self.look(f"received?{query}")
            found += page["items"]
            after = page["next"]
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Books(Struct, frozen=True, kw_only=True):
    """What one platform was to get and got. `ambiguous`: how often a conversion left and was never
    answered; `held`: those that wait for a person because of that."""

    planned: Sequence[str]
    accepted: frozenset[str]
    held: frozenset[str]
    skipped: int
    dead: int
    balances: bool
    ambiguous: Mapping[str, int]
    received: Sequence[Mapping[str, Any]]

    @property
    def times(self) -> Counter[str]:
        """How often each conversion arrived."""
        return Counter(one["conversion_id"] for one in self.received)

    @property
    def doubled(self) -> int:
        """Arrivals beyond the first."""
        return sum(times - 1 for times in self.times.values())


class Aftermath(Struct, frozen=True, kw_only=True):
    """What is there when a storm is over and everything is at rest."""

    users: int
    events: int
    acknowledged: int
    books: Mapping[str, Books]
    fired: Mapping[str, int]
    refused: Sequence[Mapping[str, Any]]

    def broken(self) -> list[str]:
        """A sentence for each promise that was not kept."""
        found = []
        if self.refused:
            found.append(f"{len(self.refused)} requests were wrong: {self.refused[0]['reason']}")
        if self.events != self.acknowledged:
            found.append(f"{self.acknowledged} events were acknowledged and {self.events} are in the log")
        for name, books in self.books.items():
            found += (f"{name}: {sentence}" for sentence in _broken(PLATFORMS[name], books, self.users))
        return found

    def summary(self) -> dict[str, Any]:
        """The figures, for people and programs."""
        every = self.books.values()
        return {
            "users": self.users,
            "events": self.events,
            "planned": sum(len(books.planned) for books in every),
            "accepted": sum(len(books.accepted) for books in every),
            "held": sum(len(books.held) for books in every),
            "dead": sum(books.dead for books in every),
            "doubled": sum(books.doubled for books in every),
            "ambiguous": sum(sum(books.ambiguous.values()) for books in every),
            "faults": sum(self.fired.values()),
            "fired": dict(sorted(self.fired.items())),
            "broken": self.broken(),
        }


def _broken(platform: Platform, books: Books, users: int) -> Iterator[str]:
    planned, times = set(books.planned), books.times
    if len(books.planned) != len(planned) or len(planned) != users * platform.each:
        yield f"{len(books.planned)} were planned for {users * platform.each} loans and registrations"
    if not books.balances:
        yield "planned is not accepted + dead + waiting + skipped + cancelled"
    if books.skipped or books.dead:
        yield f"{books.skipped} were skipped and {books.dead} are dead, without a reason in this storm"
    if strangers := times.keys() - planned:
        yield f"{len(strangers)} arrived that were never planned"
    if lost := planned - times.keys() - books.held:
        yield f"{len(lost)} were lost"
    if untrue := books.accepted - times.keys():
        yield f"{len(untrue)} are said to be accepted and never arrived"
    if open_ := planned - books.accepted - books.held:
        yield f"{len(open_)} are neither accepted nor held"
    if unexplained := [one for one in books.held if not books.ambiguous.get(one)]:
        yield f"{len(unexplained)} are held, and none of their tries ended unknown"
    if not platform.holds and books.held:
        yield f"{len(books.held)} are held though it is to be tried again"
    # Under `hold` nothing is tried again after an ambiguous end, so that none may come twice.
    explained: Mapping[str, int] = {} if platform.holds else books.ambiguous
    if beyond := [one for one, n in times.items() if n - 1 > explained.get(one, 0)]:
        yield f"{len(beyond)} came more often than their ambiguous ends explain"
    if platform.kind == "adjust" and (disordered := _disordered(books.received)):
        yield f"{disordered} came after a later one of their device"


def _disordered(received: Sequence[Mapping[str, Any]]) -> int:
    """Events of a device whose time does not rise."""
    last: dict[str, int] = {}
    found = 0
    for one in received:
        device = one["ids"]["adjust_adid"]
        found += one["stamped_us"] <= last.get(device, 0)
        last[device] = max(last.get(device, 0), one["stamped_us"])
    return found


def life(number: int) -> list[dict[str, Any]]:
    """A user registers on a phone of his own and gets loans, ten seconds apart and not long ago."""
    user, now = f"u{number}", datetime.now(UTC)
    device = {
        "os_version": "13",
        "ip": "102.89.23.41",
        "user_agent": "Dalvik/2.1.0 (Linux; U; Android 13; SM-A145F Build/TP1A.220624.014)",
        "appsflyer_id": f"{1_700_000_000_000 + number}-{1_000_000 + number}",
        "firebase_app_instance_id": f"{number + 1:032x}",  # one of zeros names nobody
        "adjust_adid": f"{number + 1:032x}",
        "gaid": f"{number:08x}-0000-4000-8000-{number:012x}",
    }
    common = {"brand": "acme", "user_id": user}
    at = [now - timedelta(seconds=10 * (LOANS - n)) for n in range(LOANS + 1)]
    registered = {
        **common,
        "event_id": f"r-{user}",
        "type": "registered",
        "occurred_at": at[0].isoformat(),
        "app": "acme-ng",
        "device": device,
    }
    loans = [
        {
            **common,
            "event_id": f"d-{user}-{n}",
            "type": "disbursed",
            "occurred_at": at[n].isoformat(),
            "loan_id": f"L-{user}-{n}",
            "amount": str(20_000 + n),
            "fee": "1500",
            "currency": "NGN",
        }
        for n in range(1, LOANS + 1)
    ]
    return [registered, *loans]


@contextmanager
def house(folder: Path) -> Iterator[tuple[Service, Sandboxes]]:
    """The service with all its destinations, and the sandboxes, while the block runs."""
    stand = Sandboxes(folder / "sandbox")
    one = Service(folder / "service", stand.address)
    text = HEAD.format(door=one.port, web=one.web_port, sandbox=stand.address)
    for name, platform in PLATFORMS.items():
        text += DESTINATION.format(
            name=name,
            kind=platform.kind,
            keys=platform.keys,
            timeout=TIMEOUT_SECONDS,
            on_unknown=platform.on_unknown,
            send=platform.send,
        )
    (one.folder / "lendsignal.toml").write_text(text)
    try:
        yield one.start(), stand
    finally:
        one.close()
        stand.close()


def storm(folder: Path, seed: int, seconds: float) -> Aftermath:
    """Users borrow for so many seconds while every platform fails by the seed; then the storm ends, and
    what came of it is counted once everything is at rest."""
    over = threading.Event()
    with house(folder) as (one, stand):
        stand.tell(f"chaos?seed={seed}&late_ms={LATE_MS}")
        script = [each["rule"] for each in stand.look("faults")]
        rules = [_outlived(rule) for rule in script if not _takes_minutes(rule)]
        stand.tell("faults", json.dumps(rules).encode())
        back_end = BackEnd(one)
        timer = threading.Timer(seconds, over.set)
        timer.start()
        chance, users = random.Random(seed), 0
        while not over.wait(chance.uniform(0, 2 * WAIT_SECONDS)):
            for number in range(users, users + USERS_AT_ONCE):
                back_end.send(life(number))
            users += USERS_AT_ONCE
        fired: Counter[str] = Counter()
        for rule in stand.look("faults"):
            fired[rule["rule"]["kind"]] += rule["fired"]
        stand.tell("faults", b"[]")
        one.idle()
        received = {name: stand.received(platform) for name, platform in PLATFORMS.items()}
        refused = stand.look("refused")["items"]
        assert one.stop() == 0
    ledger = Ledger(one.data)
    ambiguous, held = _unknown(one.data)
    return Aftermath(
        users=users,
        events=len(ledger.events),
        acknowledged=len(set(back_end.acknowledged)),
        books={
            name: Books(
                planned=ledger.planned.get(name, []),
                accepted=frozenset(ledger.accepted.get(name, ())),
                held=frozenset(held[name]),
                skipped=ledger.count(name, "skipped"),
                dead=ledger.count(name, "dead"),
                balances=ledger.balances(name) and ledger.held(name) == len(held[name]),
                ambiguous=ambiguous[name],
                received=received[name],
            )
            for name in PLATFORMS
        },
        fired=fired,
        refused=refused,
    )


def _takes_minutes(rule: Mapping[str, Any]) -> bool:
    """TikTok asks for five minutes of rest after a 5xx, which is given, and which no storm is to wait for."""
    server_error = rule["kind"] == "garbage" or (rule["kind"] == "status" and rule.get("status", 503) >= 500)
    return bool(server_error and rule["host"] == PLATFORMS["tiktok-ng"].host)


def _outlived(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """AppsFlyer means the event itself by a third 500 in a row, which ends it, and no storm is to be that:
    it says 503 instead."""
    ends = rule["kind"] == "status" and rule.get("status") == 500
    return {**rule, "status": 503} if ends and rule["host"] == PLATFORMS["appsflyer-ng"].host else rule


AMBIGUOUS = frozenset({"timeout", "no_answer", "connection_reset", "half_answer", "connection_failed"})
"""Ends of a try after which nobody knows whether it arrived (docs/reference/reasons.md)."""


def _unknown(data: Path) -> tuple[dict[str, Counter[str]], dict[str, set[str]]]:
    """By destination: how often each conversion's tries ended unknown, and which are held for that."""
    folder = DataFolder(data)
    log, deliveries = open_log(folder.log, read_only=True), open_deliveries(folder.deliveries, read_only=True)
    ambiguous: dict[str, Counter[str]] = defaultdict(Counter)
    held: dict[str, set[str]] = defaultdict(set)
    try:
        for _, pack in deliveries.all_receipts():
            for one in pack:
                unknown = one.what == "held" or (one.what == "retry" and one.reason in AMBIGUOUS)
                if not unknown:
                    continue
                record = log.record(record_of(one.id)[0])
                assert isinstance(record, Placed)
                ambiguous[one.destination][record.conversion.id] += 1
                if one.what == "held":
                    held[one.destination].add(record.conversion.id)
    finally:
        deliveries.close()
        log.close()
    return ambiguous, held
