"""The options by which every report is sliced, the same words everywhere."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from lendsignal.cli.words import moment_of
from lendsignal.errors import InputError
from lendsignal.report.slices import EVERY, KEYS, RULES, slice_of

F = TypeVar("F", bound=Callable[..., Any])


def sliced(command: F) -> F:
    """`--by`, `--where`, `--from`, `--to`, `--every` and `--binding`, given to the command as `one`."""

    @wraps(command)
    def asked(
        by: tuple[str, ...],
        where: tuple[str, ...],
        since: str | None,
        until: str | None,
        every: str | None,
        binding: str,
        **others: Any,
    ) -> Any:
        try:
            one = slice_of(by=by, where=where, since=since, until=until, every=every, binding=binding)
            return command(one=one, **others)
        except InputError as error:
            if error.field not in ("by", "where", "from", "to", "every", "binding"):
                raise
            raise click.UsageError(f"--{error}") from None

    for option in (
        click.option(
            "--binding",
            default=RULES[0],
            show_default=True,
            metavar="|".join(RULES),
            help="Which installation's origin counts.",
        ),
        click.option(
            "--every",
            metavar="|".join(EVERY),
            help="One row for each, in the app's time zone; weeks begin on Monday.",
        ),
        click.option("--to", "until", metavar="DAY", help="To this local day, included."),
        click.option("--from", "since", metavar="DAY", help="From this local day on: 2026-03-01."),
        click.option(
            "--where",
            multiple=True,
            metavar="KEY=VALUE",
            help="Only this, such as channel=meta; of one key several count, several keys must all hold.",
        ),
        click.option(
            "--by", multiple=True, metavar="KEY", help=f"Slice by this, once or more: {', '.join(KEYS)}."
        ),
    ):
        asked = option(asked)
    return asked  # type: ignore[return-value]


def dated(command: F) -> F:
    """`--as-of`: the report as it was known at a moment, given to the command as `as_of`."""
    return click.option(
        "--as-of",
        "as_of",
        callback=moment_of,
        metavar="MOMENT",
        help="What was known then: 2026-03-10T18:00:00Z; UTC where no offset is told.",
    )(command)
