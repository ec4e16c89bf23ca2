"""Verbs that show what happened: explain, quarantine, report."""

import click


@click.command()
def explain() -> None:
    """The life of one event, or of one user."""


@click.command()
def quarantine() -> None:
    """What the door refused."""


@click.group()
def report() -> None:
    """Funnel, bindings, delivery."""
