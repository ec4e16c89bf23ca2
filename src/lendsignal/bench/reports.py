"""How long reports take over a large archive, and how much memory: each in a process of its own.

The archive is made up by DuckDB, set by set, for a loop over ten million rows would take longer than all
reports. Every user registers, borrows, comes back and borrows again; one in five does so on another phone.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from lendsignal.archive import TABLES, VERSION, Book, Part, Table
from lendsignal.archive.prepared import prepared_beside
from lendsignal.bench.machine import rss_mib
from lendsignal.bench.targets import Target, Wanted
from lendsignal.decide import Decider
from lendsignal.derive import DerivePolicy
from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.model import App
from lendsignal.plan import PolicySource
from lendsignal.report import Tables, load
from lendsignal.report.preparing import prepare
from lendsignal.resolve import ResolveSettings

if TYPE_CHECKING:
    import duckdb

JOINED = """
select sum(t.at_us) from (select user_key, epoch_us(occurred_at) as at_us from raw_events) e
asof left join (select user_key, epoch_us(occurred_at) as at_us from raw_touches) t
on t.user_key = e.user_key and e.at_us >= t.at_us
"""

EVENTS = 10_000_000
QUICK_EVENTS = 500_000
EVENTS_A_USER = 10
DAYS = 90

REACH_SECONDS, GO_FOR_SECONDS = 4.0, 2.0
REACH_MIB, GO_FOR_MIB = 4096.0, 2048.0

REPORTS = (
    "funnel",
    "funnel by campaign",
    "bindings",
    "installations",
    "devices",
    "delivery",
    "delay",
    "vintages",
    "attribution",
    "spend",
    "reconcile",
)
"""What is timed; `as-of join` beside them is the join of all events onto all touches, and nothing else."""

JOIN = "as-of join"


class ReportFigure(Struct, frozen=True, kw_only=True):
    """One report: seconds from a new process's first look at the folder, the processor time of all its
    threads meanwhile, and the highest memory it had in MiB."""

    report: str
    seconds: float
    cpu_seconds: float
    peak_mib: float


class ReportFigures(Struct, frozen=True, kw_only=True):
    """Of an archive of so many rows, how large it is, what preparing for reports took, and each report."""

    events: int
    touches: int
    deliveries: int
    archive_mib: float
    prepared_mib: float
    preparing_cpu_seconds: float
    reports: list[ReportFigure]
    targets: list[Target]


def time_reports(
    events: int = EVENTS, tell: Callable[[str], None] = lambda doing: None, only: Sequence[str] = ()
) -> ReportFigures:
    """Makes an archive of so many events and times every report over it, or those of `only`."""
    with tempfile.TemporaryDirectory(prefix="lendsignal-bench-") as scratch:
        folder = Path(scratch)
        tell(f"making an archive of {events:,} events")
        rows = made(folder, events)
        tell("preparing")
        busy = time.process_time()
        prepare(DataFolder(folder), START_US, from_events=1, anew=True)
        busy = time.process_time() - busy
        found = []
        for name in only or (JOIN, *REPORTS):
            tell(name)
            found.append(timed(folder, name))
        size = sum(path.stat().st_size for path in (folder / "archive").rglob("*.parquet"))
        return ReportFigures(
            events=rows["events"],
            touches=rows["touches"],
            deliveries=rows["deliveries"],
            archive_mib=size / 2**20,
            prepared_mib=prepared_beside(folder / "archive.sqlite").stat().st_size / 2**20,
            preparing_cpu_seconds=busy,
            reports=found,
            targets=[target for one in found for target in _targets(one, events)],
        )


def timed(folder: Path, name: str) -> ReportFigure:
    """One report over a folder, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "lendsignal.bench.reports", str(folder), name],
        check=True,
        capture_output=True,
    )
    return msgspec.json.decode(done.stdout, type=ReportFigure)


def _targets(one: ReportFigure, events: int) -> list[Target]:
    time = Wanted(f"{one.report}: time", f"{one.report}.seconds", "s", REACH_SECONDS, GO_FOR_SECONDS, True)
    memory = Wanted(f"{one.report}: memory", f"{one.report}.peak_mib", "MiB", REACH_MIB, GO_FOR_MIB, True)
    whole = events >= EVENTS
    return [time.beside(one.seconds if whole else None), memory.beside(one.peak_mib if whole else None)]


# the made-up archive

USER = "'u-' || lpad(u::varchar, 8, '0')"
AGAIN = "(p >= 4 and u % 5 = 0)"
"""Whether an event is of the time after a user's change of phone."""

MADE = """
create table made as
select row_number() over (order by at_us) + 1 as seq, * from (
    select i // {each} as u, (i % {each})::utinyint as p,
        ({start_us} + ((i // {each}) * 7919 % {users})::hugeint * {span_us} // {users}
            + (i % {each}) * 86400000000 + hash(i) % 43200000000)::bigint as at_us
    from range({events}) r(i)
)
"""

TYPES = (
    "registered applied credit_granted disbursed logged_in repaid applied disbursed logged_in repaid"
).split()
TYPE = "case p " + " ".join(f"when {p} then '{kind}'" for p, kind in enumerate(TYPES)) + " end"
LOAN = "case when p in (3, 5) then 'L' || u || '-1' when p in (7, 9) then 'L' || u || '-2' end"
IS_TOUCH = "p in (0, 4, 8)"
RECEIVED = "make_timestamptz(at_us + 500000)"
INSTALLED = f"(u * 2 + if({AGAIN}, 1, 0))"

COMMON = {
    "seq": "seq",
    "event_id": "md5(seq::varchar)",
    "type": TYPE,
    "brand": "'bench'",
    "user_id": USER,
    "received_at": RECEIVED,
    "user_key": "(hash(u) >> 1)::bigint",
}

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "events": {
        **COMMON,
        "app": "'bench-ng'",
        "source": "'bench'",
        "occurred_at": "make_timestamptz(at_us)",
        "time_precision": "'instant'",
        "verdict": "'taken'",
        "revision": "0",
        "actor": "'user'",
        "purpose": "'optimisation'",
        "test": "false",
        "history": "false",
        "flags": "''",
        "application_id": "case when p in (1, 2) then 'A' || u || '-1' when p = 6 then 'A' || u || '-2' end",
        "grant_id": "case when p = 2 then 'G' || u end",
        "loan_id": LOAN,
        "payment_id": "case when p in (5, 9) then 'P' || u || '-' || p end",
        "loan_number": "case when p = 3 then 1 when p = 7 then 2 end",
        "product": "case when p in (3, 7) then 'payday' end",
        "amount": "case when p in (3, 5, 7, 9) then 5000 + u % 20000 end",
        "currency": "case when p in (2, 3, 5, 7, 9) then 'NGN' end",
        "fee": "case when p in (3, 7) then 750 + u % 1000 end",
        "credit_limit": "case when p = 2 then 30000 end",
        "term_days": "case when p in (3, 7) then 30 end",
        "due_date": "case when p in (3, 7) then make_timestamptz(at_us + 2592000000000)::date end",
        "closes_loan": "case when p in (5, 9) then true end",
        "fact_key": "case when p not in (4, 8) then (hash(seq) >> 1)::bigint end",
        "loan_key": f"if({LOAN} is null, null, hash({LOAN}) >> 1)::bigint",
    },
    "touches": {
        **COMMON,
        "app": "'bench-ng'",
        "occurred_at": "make_timestamptz(at_us)",
        "test": "false",
        "os": "'android'",
        "os_version": "'14'",
        "model": "'SM-A145F'",
        "app_version": "'4.2.' || (u % 10)",
        "appsflyer_id": f"'1700000000000-' || {INSTALLED}",
        "firebase_app_instance_id": f"md5('f' || {INSTALLED})",
        "gaid": f"md5('g' || {INSTALLED})",
        "shown": f"(hash('look', {INSTALLED}) >> 1)::bigint",
    },
    "conversions": {
        **COMMON,
        "record": "seq * 256 + part",
        "conversion_id": "md5(seq || '-' || part)",
        "name": "name",
        "loan_id": LOAN,
        "occurred_at": "make_timestamptz(at_us)",
        "planned_at": "make_timestamptz(at_us + 600000)",
        "loan_number": "case when p = 3 then 1 when p = 7 then 2 end",
        "certain": "true",
        "predicted": "false",
        "test": "false",
        "history": "false",
        "app": "'bench-ng'",
        "first_app": "'bench-ng'",
        "touched_at": "make_timestamptz(at_us - 86400000000)",
        "event_type": TYPE,
        "shown": f"(hash('look', {INSTALLED}) >> 1)::bigint",
        "first_shown": "(hash('look', u * 2) >> 1)::bigint",
        "appsflyer_id": f"'1700000000000-' || {INSTALLED}",
        "gaid": f"md5('g' || {INSTALLED})",
        "first_appsflyer_id": "'1700000000000-' || (u * 2)",
        "event_app": "'bench-ng'",
        "entries": "1",
    },
    "deliveries": {
        "delivery": "(seq * 256 + part) * 64",
        "record": "seq * 256 + part",
        "conversion_id": "md5(seq || '-' || part)",
        "conversion": "name",
        "destination": "'appsflyer-ng'",
        "kind": "'appsflyer'",
        "name": "'ev_' || name",
        "unvalued": "false",
        "planned_at": "make_timestamptz(at_us + 600000)",
        "settle_us": "2000000",
    },
    "outcomes": {
        "pack": "seq",
        "place": "part",
        "delivery": "(seq * 256 + part) * 64",
        "destination": "'appsflyer-ng'",
        "what": "if(u % 97 = 0, 'dead', 'accepted')",
        "reason": "if(u % 97 = 0, 'http_400', 'confirmed')",
        "attempt": "1",
        "sent_at": "make_timestamptz(at_us + 2700000)",
        "at": "make_timestamptz((at_us + 2700000 + hash(seq) % 900000)::bigint)",
        "status": "200",
    },
    "attributions": {
        "key": f"md5('a' || {INSTALLED})",
        "feed": "'bench'",
        "mmp": "'appsflyer'",
        "app": "'bench-ng'",
        "mmp_id": f"'1700000000000-' || {INSTALLED}",
        "kind": "if(p = 0, 'install', 'reinstall')",
        "came_at": "make_timestamptz(at_us - 3600000000)",
        "told_at": "make_timestamptz(at_us)",
        "channel": "['meta', 'google', 'tiktok', 'organic'][u % 4 + 1]",
        "media_source": "'source-' || (u % 4)",
        "campaign": "'campaign-' || (u % 40)",
        "campaign_id": "'c' || (u % 40)",
        **dict.fromkeys(("ad_set", "ad_set_id", "ad", "ad_id", "touch", "user_id"), "''"),
        "click_ids": "'{}'",
    },
    "spend": {
        "feed": "'bench'",
        "account": "'a-' || (u % 3)",
        "spent_on": "make_timestamptz(at_us)::date",
        "channel": "['meta', 'google', 'tiktok', 'tiktok'][u % 4 + 1]",
        "media_source": "'source-' || (u % 4)",
        "campaign": "'campaign-' || (u % 40)",
        "campaign_id": "'c' || (u % 40)",
        **dict.fromkeys(("ad_set", "ad_set_id", "ad", "ad_id"), "''"),
        "country": "'NG'",
        "currency": "'USD'",
        "amount": "(100 + u % 50)",
        "impressions": "100000",
        "clicks": "900",
    },
}
"""SQL of the columns that have something in them, from a row of `made`; the others are empty."""

OF = {
    "touches": f"made where {IS_TOUCH}",
    "conversions": "derived",
    "deliveries": "derived",
    "outcomes": "derived",
    "attributions": f"made where p = 0 or (p = 4 and {AGAIN})",
    "spend": "(select * from made where p = 0"
    " qualify row_number() over (partition by u % 40, at_us // 86400000000) = 1)",
}

DERIVED = """
create view derived as
select m.*, d.part, d.name from made m join (values
    (0, 0, 'registration'), (1, 0, 'application'), (2, 0, 'credit'), (3, 0, 'disbursement'),
    (3, 1, 'first_loan'), (5, 0, 'repayment'), (6, 0, 'application'), (7, 0, 'disbursement'),
    (7, 1, 'repeat_loan'), (9, 0, 'repayment')
) d(p, part, name) on d.p = m.p
"""

START_US = 1_767_225_600_000_000
"""2026-01-01 UTC."""


def made(
    folder: Path, events: int, *, each: int = EVENTS_A_USER, only: Sequence[str] = tuple(COLUMNS)
) -> dict[str, int]:
    """A data folder whose archive has so many events, `each` of a user; the rows of each table of `only`."""
    import duckdb

    kept = DataFolder(folder)
    _policy_in_force(kept)
    open_deliveries(kept.deliveries).close()
    rows = {table.name: 0 for table in TABLES}
    parts: list[Part] = []
    with duckdb.connect(":memory:", config={"temp_directory": str(folder / "spill")}) as db:
        db.execute("set TimeZone = 'UTC'")
        users = events // each
        span_us = (DAYS - each) * 86_400_000_000
        db.execute(MADE.format(each=each, start_us=START_US, users=users, span_us=span_us, events=events))
        db.execute(DERIVED)
        for table in TABLES:
            if table.name in only:
                for part in _files_of(db, table, folder / "archive"):
                    parts.append(part)
                    rows[table.name] += part.rows
    book = Book(kept.archive)
    book.end("log", events + 1, parts)
    book.end("outcomes", events + 1, ())
    book.note(VERSION, "archive")
    book.close()
    return rows


def _files_of(db: "duckdb.DuckDBPyConnection", table: Table, root: Path) -> list[Part]:
    given = COLUMNS[table.name]
    columns = ", ".join(
        f'({given.get(one.name, "null")})::{one.kind.value} as "{one.name}"' for one in table.columns
    )
    source = OF.get(table.name, "made")
    day_us = 86_400_000_000
    found = []
    for day in range(START_US // day_us, START_US // day_us + DAYS + 2):
        name = f"{table.name}/day={_day(day)}/{1:015d}-{day:015d}.parquet"
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        within = f"at_us >= {day * day_us} and at_us < {(day + 1) * day_us}"
        joined = f"select * from {source}"
        ((n,),) = db.execute(
            f"copy (select {columns} from ({joined}) where {within}) to '{path}'"
            " (format parquet, compression zstd, row_group_size 122880)"
        ).fetchall()
        if n:
            found.append(Part(name, table.name, day, 1, day, n))
        else:
            path.unlink()
    return found


def _day(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


class _Still:
    replay = True

    def now_us(self) -> int:
        return START_US


def _policy_in_force(kept: DataFolder) -> None:
    app = App(
        name="bench-ng",
        brand="bench",
        platform="android",
        bundle="com.example.bench",
        country="NG",
        currency="NGN",
        timezone="Africa/Lagos",
    )
    derive = DerivePolicy(portfolio="bench", apps={app.name: app}, default_app={"bench": app.name})
    log = open_log(kept.log)
    source = PolicySource(derive=derive, resolve=ResolveSettings(), routes=(), targets={})
    decider = Decider(log, source, _Still(), lambda: None)
    while decider.turn():
        pass
    log.close()


# one report, in this process


def report_by_name(name: str) -> Callable[[Tables], object]:
    """What computes a report of `REPORTS`, or the bare join, from tables."""
    from lendsignal import report
    from lendsignal.report.slices import Slice
    from lendsignal.report.vintages import vintages

    computed: Mapping[str, Callable[[Tables], object]] = {
        JOIN: lambda tables: tables.rows(JOINED),
        "funnel": report.funnel,
        "funnel by campaign": lambda tables: report.funnel(tables, Slice(by=("campaign",))),
        "bindings": report.bindings,
        "installations": report.installations,
        "devices": report.devices,
        "delivery": report.delivery,
        "delay": report.delay,
        "vintages": vintages,
        "attribution": report.attribution,
        "spend": report.spend,
        "reconcile": lambda tables: report.reconcile(tables, zone=UTC),
    }
    return computed[name]


def _main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    compute = report_by_name(name)
    started, busy = time.perf_counter(), time.process_time()
    with load(DataFolder(folder)) as tables:
        compute(tables)
    took, busy = time.perf_counter() - started, time.process_time() - busy
    # Its own: `getrusage` counts what the process that started it once held as well.
    peak_mib = rss_mib(os.getpid(), peak=True)
    figure = ReportFigure(report=name, seconds=took, cpu_seconds=busy, peak_mib=peak_mib)
    sys.stdout.buffer.write(msgspec.json.encode(figure))


if __name__ == "__main__":
    _main()
