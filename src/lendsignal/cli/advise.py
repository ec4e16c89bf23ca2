"""What a buyer should do next, each advice with its evidence: a file per kind of advice."""

import click

from lendsignal.cli.advise_bids import bids
from lendsignal.cli.advise_events import events
from lendsignal.cli.advise_holdout import holdout


@click.group()
def advise() -> None:
    """Advice with its evidence: which event to optimise for, how to move bids, what holdouts say."""


advise.add_command(events)
advise.add_command(holdout)
advise.add_command(bids)
