"""Verbs of alerts: what is open, who is told, a test message, and silence."""

import sys
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import click
from msgspec.structs import asdict

from lendsignal import config as configuration
from lendsignal.cli.giving import clock_of, known, who
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.errors import NotYet
from lendsignal.log import (
    Alerts,
    DataFolder,
    Raised,
    Silence,
    open_alerts,
    open_deliveries,
    open_log,
)
from lendsignal.settings import duration


class Span(click.ParamType[timedelta]):
    """A span of time."""

    name = "SPAN"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> timedelta:
        try:
            return duration(str(value))
        except ValueError:
            self.fail(f"{value!r}: write 30m, 2h or 3d", param, context)


@click.group()
def alerts() -> None:
    """Alerts: what is open, who is told, a test message, silence, and the health report."""


@alerts.command("list")
@configured
@as_json
def list_(config_path: Path, json_: bool) -> None:
    """The open alarms, what is silenced, and the targets. Ends with 1 where a critical alarm is open.

    Example: lendsignal alerts list --json
    """
    config = configuration.load(config_path)
    now_us = clock_of(config).now_us()
    raised, silences = open_alarms(config), _silences(config, now_us)
    if json_:
        print_json(
            {
                "alarms": [asdict(one) for one in raised],
                "silences": [asdict(one) for one in silences.values()],
                "targets": {
                    name: {"kind": one.kind, "enabled": one.enabled} for name, one in config.alerts.items()
                },
            }
        )
    else:
        if not raised:
            click.echo("no alarm is open")
        for one in raised:
            click.echo(f"{one.severity:<8} {one.said}, since {from_us(one.since_us):%Y-%m-%d %H:%M} UTC")
            click.echo(f"{'':<8} {one.do}")
            until = silences.get(one.key)
            hushed = "" if until is None else f", silenced until {from_us(until.until_us):%Y-%m-%d %H:%M} UTC"
            click.echo(f"{'':<8} key: {one.key}{hushed}")
        for name, target in config.alerts.items():
            click.echo(f"target   {name} ({target.kind}{'' if target.enabled else ', not enabled'})")
        if not config.alerts:
            click.echo("nobody is told: no [alert.NAME], see docs/how-to/get-alerted.md")
    sys.exit(int(any(one.severity == "critical" for one in raised)))


@alerts.command("test")
@click.argument("name")
@configured
@as_json
def test(name: str, config_path: Path, json_: bool) -> None:
    """Send a test message to one target, as [alert.NAME] names it.

    Example: lendsignal alerts test ops
    """
    from lendsignal.deliver.alerts.forms import Message
    from lendsignal.deliver.alerts.telling import Teller  # here: its mail client is for this alone

    config = configuration.load(config_path)
    known("alert target", [name], config.alerts)
    now_us = clock_of(config).now_us()
    message = Message(
        key="test",
        state="test",
        kind="test",
        severity="warning",
        said="this is a test; nothing is wrong",
        do="",
        since_us=now_us,
        at_us=now_us,
    )
    Teller(name, config.alerts[name], config.portfolio).tell([message], now_us)
    if json_:
        print_json({"target": name, "told": True})
    else:
        click.echo(f"{name} ({config.alerts[name].kind}) took the test message")


@alerts.command("silence")
@click.argument("key")
@click.option("--for", "span", type=Span(), required=True, help="How long, such as 2h; 0s ends a silence.")
@configured
@as_json
def silence(key: str, span: timedelta, config_path: Path, json_: bool) -> None:
    """Tell nobody of an alarm for a while; `alerts list` shows its key. It stays open and is listed.

    Example: lendsignal alerts silence "paused appsflyer-ng" --for 2h
    """
    config = configuration.load(config_path)
    known("alarm", [key], [one.key for one in open_alarms(config)])
    until_us = clock_of(config).now_us() + span // timedelta(microseconds=1)
    with closing(open_alerts(DataFolder(config.data).alerts)) as store:
        store.silence(Silence(key=key, until_us=until_us, who=who()))
    if json_:
        print_json({"key": key, "until": from_us(until_us)})
    elif span:
        click.echo(f"nobody is told of {key!r} until {from_us(until_us):%Y-%m-%d %H:%M} UTC")
    else:
        click.echo(f"{key!r} is told again")


@alerts.command("health")
@click.option("--csv", "csv_", is_flag=True, help="Print each table as CSV.")
@configured
@as_json
def health_(csv_: bool, config_path: Path, json_: bool) -> None:
    """Every count beside its band, the delays of the last day, and what is alarming now.

    Example: lendsignal alerts health --json
    """
    from lendsignal.report.health import health  # here: the reports' libraries are for this alone
    from lendsignal.role.watcher import facts_of

    config = configuration.load(config_path)
    folder = DataFolder(config.data)
    with ExitStack() as opened:
        store = opened.enter_context(closing(open_alerts(folder.alerts, read_only=True)))
        log = opened.enter_context(closing(open_log(folder.log, read_only=True)))
        try:
            sent = opened.enter_context(closing(open_deliveries(folder.deliveries, read_only=True)))
        except NotYet:
            sent = None
        facts = facts_of(config, store, log, sent, clock_of(config).now_us())
    found = health(facts, config.health.delay)
    if json_:
        click.echo(found.to_json())
    elif csv_:
        click.echo("\n".join(found.to_csv().values()), nl=False)
    else:
        click.echo(found.to_text())


def open_alarms(config: Config) -> list[Raised]:
    """The alarms that are open, the oldest first; none where nobody has looked yet."""
    store = _store(config)
    if store is None:
        return []
    with closing(store):
        return store.raised()


def _silences(config: Config, now_us: int) -> dict[str, Silence]:
    store = _store(config)
    if store is None:
        return {}
    with closing(store):
        return store.silences(now_us)


def _store(config: Config) -> Alerts | None:
    try:
        return open_alerts(DataFolder(config.data).alerts, read_only=True)
    except NotYet:
        return None
