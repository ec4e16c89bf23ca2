"""The command itself: every verb in one table, and one way to say what went wrong."""

import os
import sys

import click

from lendsignal import __version__, journal
from lendsignal.cli import (
    keep,
    keys,
    measure,
    moving,
    operate,
    pulling,
    rehearse,
    steer,
    tiers,
    try_out,
    understand,
)
from lendsignal.cli.advise import advise
from lendsignal.cli.alerts import alerts
from lendsignal.cli.audience import audience
from lendsignal.cli.audit import audit
from lendsignal.cli.bench_value import bench_value
from lendsignal.cli.comparing import compare_
from lendsignal.cli.doctor import doctor
from lendsignal.cli.erasing import erase
from lendsignal.cli.joining import migrate_store
from lendsignal.cli.people import people
from lendsignal.cli.proxy import proxy
from lendsignal.cli.quarantine import quarantine
from lendsignal.cli.science import science
from lendsignal.cli.send import send
from lendsignal.cli.simulate_market import simulate
from lendsignal.cli.store import store
from lendsignal.cli.value import value
from lendsignal.errors import ConfigError, LendsignalError


class Verbs(click.Group):
    """Verbs in the order a person meets them, not the alphabet's."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except ConfigError as error:
            for problem in error.problems:
                journal.stopped(str(problem))
            sys.exit(2)
        except LendsignalError as error:
            journal.stopped(str(error))
            sys.exit(1)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lendsignal")
@click.option("-v", "--verbose", is_flag=True, help="Say more: one line per delivery.")
@click.option(
    "--log-format",
    type=click.Choice(journal.FORMATS),
    default="text",
    envvar=journal.VARIABLE,
    show_default=True,
    show_envvar=True,
    help="Lines for people, or one JSON object a line.",
)
def main(verbose: bool, log_format: str) -> None:
    """Loan events, on the device of the last login, to the platforms that sold the user."""
    os.environ[journal.VARIABLE] = log_format  # the roles that `run` starts say it in the same way
    journal.begin("", verbose=verbose)


for verb in (
    try_out.demo,
    operate.run,
    operate.check,
    rehearse.plan,
    operate.status,
    doctor,
    moving.backup,
    moving.restore,
    moving.migrate,
    migrate_store,
    store,
    steer.pause,
    steer.resume,
    steer.cancel,
    operate.import_,
    pulling.pull,
    pulling.outbox,
    try_out.generate,
    send,
    understand.explain,
    quarantine,
    steer.dead,
    steer.replay,
    understand.report,
    compare_,
    tiers.tiers,
    proxy,
    value,
    advise,
    audience,
    simulate,
    keep.archive,
    operate.destinations,
    try_out.sandbox,
    measure.bench,
    alerts,
    keys.keys,
    people,
    audit,
    erase,
    operate.schema,
):
    main.add_command(verb)

measure.bench.add_command(science)
measure.bench.add_command(bench_value)
