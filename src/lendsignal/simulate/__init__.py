"""Made-up lenders: a seeded generator that knows the truth.

    people → loans → installs → touches → arrivals → answers → files

`make` tells the whole story in columns, `events` and `stream` give it event by event, `write` puts it on
disk, `generate` does both. All parameters are in one file (`parameters.toml` is the default).
"""

from lendsignal.simulate.files import Quality, Summary, generate, summary_of, write
from lendsignal.simulate.lender import Progress, World, events, make, stream
from lendsignal.simulate.parameters import DEFAULT_FILE, Parameters, as_toml, demo, load

__all__ = [
    "DEFAULT_FILE",
    "Parameters",
    "Progress",
    "Quality",
    "Summary",
    "World",
    "as_toml",
    "demo",
    "events",
    "generate",
    "load",
    "make",
    "stream",
    "summary_of",
    "write",
]
