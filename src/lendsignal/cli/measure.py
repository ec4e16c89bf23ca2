"""The bench's verbs, and how their figures are shown to people."""

import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from lendsignal.bench import (
    Target,
    cut_tiers,
    encode_and_classify_us,
    fan_out,
    grow,
    isolate,
    measure,
    pile_up,
)
from lendsignal.cli.words import as_json, print_json


def _tell(doing: str) -> None:
    click.echo(f"… {doing}", err=True)


@click.group(invoke_without_command=True)
@click.option("--quick", is_flag=True, help="Smaller numbers, within a minute or so.")
@click.option("--no-peer", is_flag=True, help="Without the Celery worker, which is installed for it.")
@as_json
@click.pass_context
def bench(context: click.Context, quick: bool, no_peer: bool, json_: bool) -> None:
    """Throughput, delay and memory of the whole service on this machine, with fsync on.

    Every figure is of this run on this machine: compare ratios, not machines.
    """
    logging.getLogger().setLevel(logging.WARNING)
    # A stop is an orderly end: the roles are stopped and gigabytes of data folder go.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    if context.invoked_subcommand is None:
        _show(measure(quick=quick, tell=_tell, peer=not no_peer), json_=json_)


@bench.command()
@click.option(
    "--events", type=click.IntRange(1_000), default=10_000_000, show_default=True, help="In the end."
)
@click.option("--users", type=click.IntRange(1), help="In the end; a tenth of the events by default.")
@click.option(
    "--sample", type=click.IntRange(100), default=25_000, show_default=True, help="Events between samples."
)
@as_json
def growth(events: int, users: int | None, sample: int, json_: bool) -> None:
    """What an event costs as the store grows, sampled while one data folder is filled.

    Ten million events take the better part of an hour and ten to fifteen gigabytes of disk.
    """
    _show(grow(events, users or events // 10, _tell, chunk=sample), json_=json_)


@bench.command()
@click.option("--events", type=click.IntRange(1_000), default=40_000, show_default=True, help="In each run.")
@click.option("--most", type=click.IntRange(1, 8), default=8, show_default=True, help="Deliveries an event.")
@as_json
def fan(events: int, most: int, json_: bool) -> None:
    """Throughput against the number of deliveries an event makes, one request each."""
    _show(fan_out(events, most, _tell), json_=json_)


@bench.command("reports")
@click.option(
    "--events", type=click.IntRange(1_000), default=10_000_000, show_default=True, help="In the archive."
)
@click.option("--quick", is_flag=True, help="Half a million events.")
@as_json
def reports_(events: int, quick: bool, json_: bool) -> None:
    """Time and memory of each report over a made-up archive, each in a process of its own.

    Ten million events take some minutes to make and three gigabytes of disk.
    """
    from lendsignal.bench.reports import QUICK_EVENTS, time_reports  # it brings the reports

    _show(time_reports(QUICK_EVENTS if quick else events, _tell), json_=json_)


@bench.command()
@click.option("--seconds", type=click.IntRange(1), default=20, show_default=True, help="Of each run.")
@click.option("--rate", type=float, default=1_000.0, show_default=True, help="Events a second.")
@click.option("--rounds", type=click.IntRange(1), default=2, show_default=True, help="Each without and with.")
@as_json
def archiving(seconds: int, rate: float, rounds: int, json_: bool) -> None:
    """Delays of deliveries while the archive is written, and while it is not, by turns in one run."""
    from lendsignal.bench.archiving import archive_beside  # it brings the archive

    _show(archive_beside(seconds, rate, _tell, rounds=rounds), json_=json_)


@bench.command("audiences")
@click.option(
    "--users", type=click.IntRange(1_000), default=5_000_000, show_default=True, help="Of the lender."
)
@click.option("--quick", is_flag=True, help="A hundred thousand, within a minute.")
@as_json
def audiences_(users: int, quick: bool, json_: bool) -> None:
    """Twenty lists of a made-up lender: built, built a day later, and one of them told in chunks.

    Five million users take some minutes to make and three gigabytes of disk.
    """
    from lendsignal.bench.audiences import QUICK_USERS, time_audiences  # it brings the reports

    _show(time_audiences(QUICK_USERS if quick else users, _tell), json_=json_)


@bench.command()
@click.argument("deliveries", type=click.IntRange(1_000), default=5_000_000)
@as_json
def backlog(deliveries: int, json_: bool) -> None:
    """Memory, start-up and going on with so many deliveries behind a stopped destination (5 million)."""
    _show(pile_up(deliveries, _tell), json_=json_)


@bench.command()
@click.option("--seconds", type=click.IntRange(1), default=30, show_default=True, help="Of each run.")
@click.option("--rate", type=float, help="Events a second; 80 % of the most that was reached by default.")
@as_json
def isolation(seconds: int, rate: float | None, json_: bool) -> None:
    """Delays of one destination with and without another that never answers, in one run."""
    _show(isolate(seconds, _tell, per_second=rate), json_=json_)


@bench.command("cluster")
@click.option("--store", "store_env", required=True, help="Variable with the PostgreSQL's address.")
@click.option("--kafka", help="Brokers in the open (host:port, …), where a topic is measured too.")
@click.option("--database-pid", type=int, help="The PostgreSQL's first process, where it is on this machine.")
@click.option("--broker-pid", type=int, help="The broker's process, where it is on this machine.")
@click.option("--events", type=click.IntRange(1_000), default=40_000, show_default=True, help="In each run.")
@click.option("--most", type=click.IntRange(1, 16), default=2, show_default=True, help="Workers, from 1 on.")
@as_json
def cluster_(
    store_env: str,
    kafka: str | None,
    database_pid: int | None,
    broker_pid: int | None,
    events: int,
    most: int,
    json_: bool,
) -> None:
    """What an event costs in a data folder, over PostgreSQL's log, and over a Kafka topic, in one run.

    Makes schemas and topics of its own on those servers, and takes them away.
    """
    # Loaded here: it brings the clients of both.
    from lendsignal.bench.cluster import compare_logs
    from lendsignal.log.store import KafkaSettings, StoreSettings
    from lendsignal.model import Secret

    topic = None
    if kafka is not None:
        servers = tuple(kafka.split(","))
        copies = len(servers)
        topic = KafkaSettings(servers=servers, tls=False, replicas=copies, in_sync=(copies + 1) // 2)
    pids = {"database": database_pid, "broker": broker_pid}
    found = compare_logs(
        StoreSettings(url=Secret(env=store_env), kafka=topic),
        events,
        range(1, most + 1),
        _tell,
        {name: pid for name, pid in pids.items() if pid is not None},
    )
    if json_:
        print_json(found)
        return
    names = ("log", "workers", "door", "its servers", "worker", "database", "broker", "events/s")
    table = Table(*names, box=None)
    for one in found.logs:
        costs = (one.door_us, one.door_servers_us, one.worker_us, one.database_us, one.broker_us)
        told = ["unknown" if cost is None else f"{cost:.1f} µs" for cost in costs]
        table.add_row(one.log, str(one.workers), *told, f"{one.per_s:,.0f}")
    Console().print(table)
    click.echo(f"the last log with one worker over the spike's 55 µs: {found.spike_ratio}")


@bench.command()
@click.option(
    "--worlds",
    type=click.IntRange(1, 1_000),
    default=20,
    show_default=True,
    help="Made-up half years a cell.",
)
@as_json
def tiers(worlds: int, json_: bool) -> None:
    """How well own cuts of the tiers keep their shares over half a year, and how seldom they change.

    Fifty to two thousand first grants a day, without a drift of the scores, with a slow one, with a shock.
    """
    figures = cut_tiers(worlds, _tell)
    if json_:
        print_json(figures)
        return
    screen = Console()
    table = Table(
        "grants a day", "drift", "error of the best 20 %", "had it stood", "worst tier", "changes", box=None
    )
    for one in figures.cells:
        errors = (one.share_rmse_points, one.fixed_rmse_points, one.worst_tier_rmse_points)
        points = [f"{error:.1f} points" for error in errors]
        table.add_row(f"{one.grants_per_day:,}", one.drift, *points, f"{one.changes:.1f}")
    screen.print(table)
    screen.print(_table_of(figures.targets))


@bench.command()
@as_json
def encode(json_: bool) -> None:
    """What each destination's own code costs for a delivery: encode it, and read the platform's yes.

    Microseconds of processor time, the median of some rounds over deliveries with every fact.
    """
    found = encode_and_classify_us()
    if json_:
        print_json(found)
        return
    table = Table("destination", "µs a delivery", box=None)
    for kind, cost in sorted(found.items(), key=lambda pair: pair[1]):
        table.add_row(kind, f"{cost:,.1f}")
    Console().print(table)


def _show(figures: Struct, *, json_: bool) -> None:
    if json_:
        print_json(figures)
        return
    screen = Console()
    targets: Sequence[Target] = getattr(figures, "targets", ())
    table = Table("figure", "value", box=None)
    for name, value in rows_of(msgspec.to_builtins(figures)):
        table.add_row(name, value)
    screen.print(table)
    if targets:
        screen.print(_table_of(targets))


def rows_of(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Each figure with its name; those inside another have its name before theirs."""
    match value:
        case dict():
            for inner, one in value.items():
                if inner not in ("targets", "samples"):
                    yield from rows_of(one, f"{name}.{inner}" if name else inner)
        case list():
            for number, one in enumerate(value, 1):
                yield from rows_of(one, f"{name}[{number}]")
        case float():
            yield name, f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
        case int():
            yield name, f"{value:,}"
        case _:
            yield name, str(value)


def _table_of(targets: Sequence[Target]) -> Table:
    table = Table("target", "found", "reach", "reached", "then", "reached", box=None)
    yes: Mapping[bool | None, str] = {True: "yes", False: "no", None: "not measured"}
    for one in targets:
        limit = "≤" if one.less_is_better else "≥"
        table.add_row(
            one.what,
            "–" if one.found is None else f"{one.found:,.1f} {one.unit}",
            f"{limit} {one.reach:,.0f}",
            yes[one.reached],
            f"{limit} {one.go_for:,.0f}",
            yes[one.went],
        )
    return table
