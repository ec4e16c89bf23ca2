"""Where the log begins, for verbs that look at all that it has."""

import click

from lendsignal.log import Log


def tell_beginning(log: Log, what_of_it: str) -> None:
    """Says on standard error since when the log goes, and what of it, where something has gone."""
    since = log.cutting.since()
    if log.cutting.first() > 1 and since is not None:
        click.echo(f"the log begins on {since:%Y-%m-%d %H:%M} UTC (`log.keep_for`): {what_of_it}", err=True)
