"""Plays a real lender's loans through the whole service and lets an independent judge check every binding.

    run.py --data DIR --world-tool FILE [--customers N] [--seed N] [--folder DIR] [--store URL] [--json]

The judge (`--world-tool`) makes logins, devices and channels for the customers and finds the right device
of every loan event by brute force. The service, on a replay clock, gets what arrives when it arrives and
sends to strict sandboxes. Then books are compared: counts, devices, deliveries, the binding report.
Exit code 0 where all of it agrees, 1 where anything does not.

With `--store` the same is played twice: through one data folder, and through a node of a cluster over that
PostgreSQL, whose desk brings a copy of it into a folder. Then conversions, deliveries and reports of the two
must be equal row by row as well.

What is going on, and how long each part took, is said on standard error. The last line is JSON.
"""

import argparse
import base64
import contextlib
import csv
import gzip
import heapq
import http.client
import json
import logging
import os
import random
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.log import DataFolder, open_deliveries, open_feeds, open_log
from lendsignal.log.copied import copy_standing
from lendsignal.log.postgres import database_of
from lendsignal.log.postgres.told import ToldRows, follow
from lendsignal.model import Event
from lendsignal.plan import Planned, Rebound, record_of
from lendsignal.replay import Player, Stage, accepted_ids, chunks, received, received_us
from lendsignal.replay.comparing import differences
from lendsignal.report import all_reports, bindings, delivery
from lendsignal.report import load as load_tables
from lendsignal.sandbox import MetaDataset, SandboxSettings
from lendsignal.source import reader_of
from lendsignal.source.feeds import import_attribution, read_attribution
from lendsignal.source.files import Kind, Survey, inputs_of_files, judged, read_map, survey

HERE = Path(__file__).parent
FILES = ("trainprevloans.csv.gz", "trainperf.csv.gz", "scores.csv.gz")
SETTLE = timedelta(seconds=2)
STEP_US = 6 * 3_600_000_000
"""The clock moves in steps of six hours, within every platform's window."""

COPY_SECONDS = 300.0
"""How long a desk may need for the rest of its copy."""

LOOK_SECONDS = 0.03
"""How soon a cluster is asked whether all is done: its workers look for events about as often."""

LINE_SECONDS = 20.0
"""How often a line says how far it is where nobody looks at a bar."""

STORE = """
[store]
url    = {{ env = "SUPERLENDER_STORE" }}
schema = "{schema}"
slots  = 4
"""

NAMES = {
    "applied": "application",
    "credit_granted": "credit",
    "disbursed": "disbursement",
    "repaid_first": "repayment",
    "repaid_full": "repayment",
}
"""The judge's events and the conversions they are."""

ACCOUNTS = {
    "appsflyer-android": ("appsflyer", "com.acme.loans"),
    "appsflyer-ios": ("appsflyer", "id1234567890"),
    "firebase-android": ("ga4", "1:1234567890:android:0a1b2c3d4e5f6a7b"),
    "firebase-ios": ("ga4", "1:1234567890:ios:7b6a5f4e3d2c1b0a"),
    "meta-android": ("meta", "1234567890123456"),
    "meta-ios": ("meta", "6543210987654321"),
    "ledger-android": ("webhook", "android.hooks.acme.example"),
    "ledger-ios": ("webhook", "ios.hooks.acme.example"),
}


def main() -> int:
    """Runs everything; 0 where every comparison holds."""
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--data", type=Path, required=True, help="folder of the loans")
    words.add_argument("--world-tool", type=Path, required=True, help="the judge")
    words.add_argument("--customers", type=int, help="only so many, the earliest registered")
    words.add_argument("--seed", type=int, help="of the judge's world; drawn and printed by default")
    words.add_argument("--folder", type=Path, help="where to keep everything; a temporary one by default")
    words.add_argument("--store", help="a PostgreSQL for the second time; a schema of its own is made there")
    words.add_argument("--json", action="store_true", help="print one JSON document")
    given = words.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}", file=sys.stderr)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="superlender-"))
    try:
        with part("the judge makes a world"):
            make_world(given.world_tool, given.data, folder / "world", given.customers, seed)
        found = run(folder, folder / "world", given.data, seed, quiet=given.json)
        if given.store is not None:
            again = folder / "cluster"
            second = run(again, folder / "world", given.data, seed, store=given.store, quiet=True)
            with part("both are compared row by row") as seconds:
                compared_rows = beside(folder / "data", again / "data")
            found["cluster"] = {**second, **compared_rows, "comparing": seconds}
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found))
    both = [found, *([found["cluster"]] if "cluster" in found else [])]
    return 0 if all(map(agrees, both)) else 1


def agrees(found: Mapping[str, Any]) -> bool:
    """Whether every comparison holds."""
    flags = ("balanced", "received_equals_accepted", "bindings_report_equals_truth")
    whole = all(share == 1.0 for share in found["agreement"].values())
    same = found.get("same_as_one_folder", True)
    return same and whole and all(found[flag] for flag in flags) and found["accepted_share"] >= 0.95


@contextlib.contextmanager
def part(name: str) -> Iterator[dict[str, float]]:
    """Says what begins, and how long it took; fills in seconds, and those of processor that children which
    ended and this process spent."""
    print(name, file=sys.stderr, flush=True)
    took: dict[str, float] = {}
    begun, spent = time.monotonic(), processor()
    yield took
    took["seconds"] = round(time.monotonic() - begun, 1)
    took["processor_seconds"] = round(processor() - spent, 1)
    print(f"{name}: {took['seconds']} s", file=sys.stderr, flush=True)


def processor() -> float:
    """Seconds of processor of this process, and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(
    folder: Path, world: Path, data: Path, seed: int, *, store: str | None = None, quiet: bool
) -> dict[str, Any]:
    """The whole main job, and how long it took. `store`: over a cluster."""
    where = "one data folder" if store is None else "a cluster with a desk"
    with part(f"the loans through {where}") as took:
        found = job(folder, world, data, seed, store=store, quiet=quiet)
    return {**found, **took}


def job(
    folder: Path, world: Path, data: Path, seed: int, *, store: str | None, quiet: bool
) -> dict[str, Any]:
    """The whole main job; what came of it as the keys documented in README.md."""
    stage = prepared(folder, store)
    config = stage.start()
    try:
        files = [data / name for name in FILES]
        rules = read_map(HERE / "map.toml")
        reader = reader_of(config.apps, config.policy.resolve.clock_ahead)
        inputs = inputs_of_files(files, rules)
        now = datetime.now(UTC)
        chosen = customers_of(world)
        loan_events = [
            item[1]
            for item in judged(inputs, reader, now)
            if isinstance(item, tuple) and item[1].user_id in chosen
        ]
        loan_events.sort(key=lambda event: (event.occurred_at, event.event_id))
        attribute(config, world)
        play(stage, world, loan_events, look_seconds=0.001 if store is None else LOOK_SECONDS)
        copied(stage, config)
        surveyed = survey(files, rules, reader, now=now)
        found = {
            "seed": seed,
            "counts": counts(loan_events, surveyed, data, chosen, config.data),
            "odd": odd(surveyed, loan_events),
            **compared(stage, config.data, world),
            **reported(config.data, world),
        }
        if not quiet:
            reports = all_reports(DataFolder(config.data))
            for report in (reports.funnel, reports.bindings, reports.delivery):
                print(report.to_text())
        return found
    finally:
        stage.stop()


def make_world(tool: Path, data: Path, out: Path, customers: int | None, seed: int) -> None:
    """Has the judge make logins, devices, channels and the right answers."""
    command = [sys.executable, str(tool), "--data", str(data), "--out", str(out), "--seed", str(seed)]
    command += ["--settle", str(SETTLE.total_seconds())]
    if customers is not None:
        command += ["--customers", str(customers)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def prepared(folder: Path, store: str | None) -> Stage:
    """The stage: our configuration with fresh made-up secrets, and sandbox accounts to match."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (HERE / "lendsignal.toml").read_text()
    if store is not None:
        os.environ["SUPERLENDER_STORE"] = store
        text += STORE.format(schema=f"superlender_{secrets.token_hex(4)}")
    (folder / "lendsignal.toml").write_text(text)
    webhook = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    made = {name: secrets.token_urlsafe(24) for name in ("KEY", "APPSFLYER", "FIREBASE", "META")}
    os.environ.update({f"SUPERLENDER_{name}": value for name, value in made.items()})
    os.environ["SUPERLENDER_WEBHOOK"] = webhook
    accounts = SandboxSettings(
        appsflyer={account: made["APPSFLYER"] for kind, account in ACCOUNTS.values() if kind == "appsflyer"},
        ga4={account: made["FIREBASE"] for kind, account in ACCOUNTS.values() if kind == "ga4"},
        meta={
            account: MetaDataset(token=made["META"]) for kind, account in ACCOUNTS.values() if kind == "meta"
        },
        webhooks={account: webhook for kind, account in ACCOUNTS.values() if kind == "webhook"},
    )
    if store is None:
        return Stage(folder, accounts, roles=("core", "send"))
    for verb in ("prepare", "policy"):
        command = [sys.executable, "-m", "lendsignal", "store", verb, "--json"]
        command += ["--config", str(folder / "lendsignal.toml")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Stage(folder, accounts, roles=("ingest", "work", "send", "desk"))


def play(stage: Stage, world: Path, loan_events: Sequence[Event], *, look_seconds: float) -> None:
    """Sends touches and loan events in the order of their arrival."""
    loans = (as_sent(event) for event in loan_events)
    stream = list(heapq.merge(touches_of(world), loans, key=received_us))
    stage.clock.set_us(received_us(stream[0]))
    key = os.environ["SUPERLENDER_KEY"]
    player = Player(stage.service, key, stage.clock, stage.tend, look_seconds=look_seconds)
    with contextlib.closing(player), progress(len(stream)) as tell:
        for end, batch in chunks(stream, STEP_US, received_us):
            player.play(batch, end)
            tell(len(batch), batch[-1]["received_at"][:10])
        # Settle and holding pen run on the same clock: let the last of them end.
        player.play([], end + round((timedelta(days=2)) / timedelta(microseconds=1)))
    if player.refused:
        raise SystemExit(f"{player.refused} events were refused at the door")


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int, str], None]]:
    """Hears how many more events are in, and of which day: a bar on standard error where somebody looks, else
    a line now and then."""
    if not sys.stderr.isatty():
        yield Lines(total).tell
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} events"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task("playing", total=total)
        yield lambda more, day: bar.update(task, advance=more, description=f"playing {day}")


class Lines:
    """Says how far it is, each `LINE_SECONDS`."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._begun = self._said_at = time.monotonic()

    def tell(self, more: int, day: str) -> None:
        """So many more events are in."""
        self._done += more
        now = time.monotonic()
        if now - self._said_at >= LINE_SECONDS or self._done == self._total:
            self._said_at = now
            done = f"{self._done:,} of {self._total:,} events after {now - self._begun:.0f} s"
            print(f"playing {day}: {done}", file=sys.stderr, flush=True)


def copied(stage: Stage, config: Config) -> None:
    """Waits until a desk's folder has all that was decided and sent by now; another's has it anyway."""
    if config.store is None:
        return
    folder, since_us = DataFolder(config.data), SystemClock().now_us()
    until = time.monotonic() + COPY_SECONDS
    while (standing := copy_standing(folder)) is None or standing.whole_us <= since_us:
        stage.tend()
        if time.monotonic() > until:
            raise SystemExit(f"the desk's copy is not whole after {COPY_SECONDS:.0f} s: {standing}")
        time.sleep(0.1)  # the status is asked of another process, which calls nobody back
    with (
        contextlib.closing(database_of(config.store)) as database,
        contextlib.closing(open_feeds(folder.feeds)) as feeds,
    ):
        follow(ToldRows(database, SystemClock().now_us), feeds)


def beside(one: Path, other: Path) -> dict[str, Any]:
    """The two folders row by row: whether all is the same, rows by table and report, and what differs."""
    found = differences(DataFolder(one), DataFolder(other))
    return {
        "same_as_one_folder": all(each.is_none for each in found.values()),
        "rows_compared": {name: each.rows for name, each in found.items()},
        "different": {name: msgspec.to_builtins(each) for name, each in found.items() if not each.is_none},
    }


def touches_of(world: Path) -> Iterator[dict[str, Any]]:
    """The judge's touches in the order of arrival."""
    with gzip.open(world / "touches.jsonl.gz", "rt") as lines:
        for line in lines:
            yield json.loads(line)


def as_sent(event: Event) -> dict[str, Any]:
    """A loan event as the back end sends it, arriving the moment it happens."""
    body: dict[str, Any] = msgspec.to_builtins(event)
    for field in ("source", "flags", "history"):
        body.pop(field, None)
    body["received_at"] = body["occurred_at"]
    return body


def customers_of(world: Path) -> set[str]:
    """Whom the judge has chosen."""
    return {row["user_id"] for row in answers_of(world)}


def answers_of(world: Path) -> Iterator[dict[str, str]]:
    """The judge's answers, one loan event each."""
    with gzip.open(world / "answers.csv.gz", "rt", newline="") as lines:
        yield from csv.DictReader(lines)


def attribute(config: Config, world: Path) -> None:
    """Tells where the installations came from, as `lendsignal import attribution --feed mmp` does."""
    if config.store is not None:
        told = ToldRows(database_of(config.store), SystemClock().now_us)
        with contextlib.closing(told):
            told.take_many(read_attribution(world / "attribution.csv", config.feeds["mmp"], 0))
        return
    with contextlib.closing(open_feeds(DataFolder(config.data).feeds)) as feeds:
        import_attribution(feeds, world / "attribution.csv", config.feeds["mmp"], 0)


def counts(
    events: Sequence[Event], surveyed: Survey, data: Path, chosen: set[str], folder: Path
) -> dict[str, Any]:
    """The keys of expected.json: firsts and repeats as the service derived them, the rest as imported."""
    log = open_log(DataFolder(folder).log, read_only=True)
    with contextlib.closing(log):
        derived = {name: n for (what, name), n in log.tally().items() if what == "conversion"}
    kinds = Counter(judged_name(event) for event in events)
    loans = [event for event in events if event.type == "disbursed"]
    applied = [event.occurred_at for event in events if event.type == "applied"]
    registered = [event for event in events if event.type == "registered"]
    flags = Counter(row["good_bad_flag"] for row in rows(data / "trainperf.csv.gz", chosen))
    prev = list(rows(data / "trainprevloans.csv.gz", chosen))
    users = {row["customerid"] for row in prev}
    late = Counter(days for row in prev for days in (0, 3, 7, 15, 30, 60) if days_late(row) > days)
    names = {event.loan_id for event in loans}
    return {
        "customers": len({event.user_id for event in events}),
        "loans": len(names),
        "registered": kinds["registered"],
        "applied": kinds["applied"],
        "granted": kinds["credit_granted"],
        "first_loans": derived.get("first_loan", 0),
        "repeat_loans": derived.get("repeat_loan", 0),
        "repaid_first": kinds["repaid_first"],
        "repaid_full": kinds["repaid_full"],
        "bad": flags["Bad"],
        "good": flags["Good"],
        "overdue_first_repayment": {str(days): late[days] for days in (0, 3, 7, 15, 30, 60)},
        "principal_total": float(total(loans, "amount")),
        "fee_total": float(total(loans, "fee")),
        "prev_repaid_total": float(total([event for event in events if event.type == "repaid"], "amount")),
        "overlapping_loans": [
            int(one.about) for one in surveyed.of_kind("overlapping_loan") if one.about in names
        ],
        "missing_loan_numbers": sum(one.about in names for one in surveyed.of_kind("missing_loan_number")),
        "customers_without_history": len({event.user_id for event in events} - users),
        "referred_customers": sum("referred_by" in event.properties for event in registered),
        "first_created_utc": f"{min(applied):%Y-%m-%d %H:%M:%S}",
        "last_created_utc": f"{max(applied):%Y-%m-%d %H:%M:%S}",
        "peak_applied_day": dict(Counter(f"{at:%Y-%m-%d}" for at in applied).most_common(1)),
        "min_registered_utc": f"{min(event.occurred_at for event in registered):%Y-%m-%d %H:%M:%S.%f}",
    }


def odd(surveyed: Survey, events: Sequence[Event]) -> dict[str, list[str]]:
    """The overlapping loans and the missing loan numbers by name: the loan, and what is odd about it."""
    names = {event.loan_id for event in events}
    kinds: tuple[Kind, ...] = ("overlapping_loan", "missing_loan_number")
    return {
        kind: [f"{one.about}: {one.rule}" for one in surveyed.of_kind(kind) if one.about in names]
        for kind in kinds
    }


def rows(path: Path, chosen: set[str]) -> Iterator[dict[str, str]]:
    """The rows of a data file that belong to the chosen customers."""
    with gzip.open(path, "rt", newline="") as lines:
        yield from (row for row in csv.DictReader(lines) if row["customerid"] in chosen)


def days_late(row: Mapping[str, str]) -> int:
    """Local days from the first due date to the first repayment."""
    due, repaid = (datetime.fromisoformat(row[name][:10]) for name in ("firstduedate", "firstrepaiddate"))
    return (repaid - due).days


def total(events: Sequence[Event], field: str) -> Decimal:
    """The exact sum of an amount."""
    return sum((getattr(event, field) or Decimal(0) for event in events), Decimal(0))


def judged_name(event: Event) -> str:
    """The event as the judge calls it."""
    return judged_label(event.type, event.payment_id or "")


def judged_label(kind: str, key: str) -> str:
    """The judge tells first and closing repayments apart."""
    return f"repaid_{key.rsplit('-', 1)[-1]}" if kind == "repaid" else kind


def compared(stage: Stage, data: Path, world: Path) -> dict[str, Any]:
    """The judge's answers against what the sandboxes received, and the books of the sender."""
    folder = DataFolder(data)
    log = open_log(folder.log, read_only=True)
    deliveries = open_deliveries(folder.deliveries, read_only=True)
    with contextlib.closing(log), contextlib.closing(deliveries):
        conversions = conversions_of(log)

        def conversion_of(number: int) -> str:
            record = log.record(record_of(number)[0])
            return record.conversion.id if isinstance(record, (Planned, Rebound)) else ""

        books = received(stage.sandbox, accepted_ids(deliveries, conversion_of), ACCOUNTS)
    with load_tables(folder) as tables:
        balanced = delivery(tables).balanced
    sums: Counter[str] = Counter()
    for (_, _, what, _), n in open_tally(folder).items():
        sums[what] += n
    return {
        **judgement(conversions, sent_devices(stage.sandbox), world),
        "planned": sums["planned"],
        "accepted": sums["accepted"],
        "accepted_share": round(sums["accepted"] / sums["planned"], 5),
        "balanced": balanced,
        "received": books.received,
        "received_equals_accepted": books.equal,
    }


def open_tally(folder: DataFolder) -> Mapping[tuple[str, str, str, str], int]:
    """The sender's counts."""
    deliveries = open_deliveries(folder.deliveries, read_only=True)
    with contextlib.closing(deliveries):
        return deliveries.tally()


def conversions_of(log: Any) -> dict[tuple[str, str], Planned]:
    """Every planned conversion by the judge's event and loan."""
    payment = {fact.event.event_id: fact.event.payment_id or "" for fact in log.scan(b"payment_id")}
    found: dict[tuple[str, str], Planned] = {}
    after = 0
    while batch := log.records(after, 5_000):
        for _, record in batch:
            if isinstance(record, Planned) and record.conversion.name in NAMES.values():
                conversion = record.conversion
                label = judged_label(conversion.event_type, payment.get(conversion.event_id, ""))
                found[label, conversion.loan_id or ""] = record
        after = batch[-1][0]
    return found


def sent_devices(sandbox: str) -> dict[str, str]:
    """The installation that each conversion was sent with, as the ledgers' sandboxes received it."""
    found: dict[str, str] = {}
    for platform, account in (ACCOUNTS["ledger-android"], ACCOUNTS["ledger-ios"]):
        after: int | None = 0
        while after is not None:
            connection = http.client.HTTPConnection(sandbox.removeprefix("http://"), timeout=60)
            query = f"platform={platform}&account={account}&after={after}&limit=10000"
            connection.request("GET", f"/_sandbox/received?{query}")
            page = json.loads(connection.getresponse().read())
            connection.close()
            for item in page["items"]:
                found[item["conversion_id"]] = item["ids"].get("firebase_app_instance_id", "")
            after = page["next"]
    return found


def judgement(
    conversions: Mapping[tuple[str, str], Planned], sent: Mapping[str, str], world: Path
) -> dict[str, Any]:
    """Agreement with the judge under both rules.

    Where the right touch arrived more than `settle` after the event, the device is judged by what had
    arrived by then; where nothing had, the conversion waited for it and is judged by the right touch.
    """
    first_touches = arrivals_of(world)
    right: Counter[str] = Counter()
    judged_answers = late = 0
    wrong: list[str] = []
    for answer in answers_of(world):
        record = conversions.get((answer["event"], answer["loan_id"]))
        judged_answers += 1
        occurred = datetime.fromisoformat(answer["occurred_at"])
        is_late = datetime.fromisoformat(answer["touch_received_at"]) > occurred + SETTLE
        late += is_late
        expected = answer["last_login_as_arrived"] if is_late else answer["last_login"]
        if record is None:
            wrong.append(f"{answer['event']} of loan {answer['loan_id']}: no conversion")
            continue
        device = sent.get(record.conversion.id, "")
        if device == (expected or answer["last_login"]):
            right["last_login"] += 1
        else:
            wrong.append(f"{answer['event']} of loan {answer['loan_id']}: last login")
        first = record.first_install
        known = first_known(first_touches[answer["user_id"]], occurred + SETTLE) or answer["first_install"]
        if first is not None and first.snapshot.device.firebase_app_instance_id == known:
            right["first_install"] += 1
        else:
            wrong.append(f"{answer['event']} of loan {answer['loan_id']}: first install")
    for line in wrong[:20]:
        print(line, file=sys.stderr)
    return {
        "agreement": {rule: right[rule] / judged_answers for rule in ("last_login", "first_install")},
        "judged": judged_answers,
        "late_touch": late,
    }


def arrivals_of(world: Path) -> dict[str, list[tuple[datetime, datetime, str]]]:
    """Each user's touches as (occurred, received, installation), in the order they occurred."""
    found: dict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
    for touch in touches_of(world):
        found[touch["user_id"]].append(
            (
                datetime.fromisoformat(touch["occurred_at"]),
                datetime.fromisoformat(touch["received_at"]),
                touch["device"]["firebase_app_instance_id"],
            )
        )
    for touches in found.values():
        touches.sort()
    return found


def first_known(touches: Sequence[tuple[datetime, datetime, str]], by: datetime) -> str | None:
    """The installation of the earliest touch that had arrived by then; `None` where none had."""
    return next((installation for _, got, installation in touches if got <= by), None)


def reported(data: Path, world: Path) -> dict[str, Any]:
    """The binding report against the judge's own truth."""
    truth = json.loads((world / "truth.json").read_text())
    with load_tables(DataFolder(data)) as tables:
        report = bindings(tables, label=judged_label)
    moved = {
        str(row["event"]): round(float(str(row["moved_share"])), 5)
        for row in report.moved.records()
        if row["event"] in truth["moved_to_another_install"]
    }
    sources: dict[str, dict[str, int]] = {"last_login": {}, "first_install": {}}
    for row in report.sources.records():
        for rule in sources:
            if row[rule]:
                sources[rule][str(row["media_source"])] = int(str(row[rule]))
    return {
        "bindings_report_equals_truth": moved == truth["moved_to_another_install"]
        and sources == truth["disbursed_by_media_source"],
        "moved": moved,
    }


if __name__ == "__main__":
    sys.exit(main())
