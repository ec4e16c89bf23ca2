"""`compare`: a destination against whoever sends to it today."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import click

from lendsignal import config as configuration
from lendsignal.cli import giving
from lendsignal.cli.beginning import tell_beginning
from lendsignal.cli.giving import Moment
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.config import Config
from lendsignal.deliver import rendered
from lendsignal.errors import NotYet
from lendsignal.log import DataFolder, open_deliveries, open_feeds, open_log
from lendsignal.plan import RouteSettings, known_conversions
from lendsignal.report.compare import Difference, Sent, compare, ours_of
from lendsignal.settings import duration
from lendsignal.source.files.others import FIELDS, sent_of
from lendsignal.source.files.rows import BadRow

DIFFERS = 3
"""What the command ends with where the two differ; 0: they agree."""


def _pairs(context: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in given:
        left, equals, right = word.partition("=")
        if not equals:
            raise click.BadParameter(f"{word!r}: write it like left=right", context, option)
        found[left] = right
    return found


def _span_us(context: click.Context, option: click.Parameter, given: str) -> int:
    try:
        return int(duration(given).total_seconds() * 1_000_000)
    except ValueError:
        raise click.BadParameter(f"{given!r}: write it like 1m or 30s", context, option) from None


@click.command("compare")
@click.option("--destination", required=True, metavar="NAME", help="Where both send, or would.")
@click.option(
    "--with",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The other sender's own record: CSV, JSON Lines or Parquet, a row an event.",
)
@click.option("--recorded", metavar="FEED", help="Instead: what the platform says it recorded, by that feed.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="FIELD=COLUMN",
    callback=_pairs,
    help=f"Which column has what: {', '.join(FIELDS)}.",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="THEIRS=CONVERSION",
    callback=_pairs,
    help="What an event of theirs is; by default the route's names are theirs too.",
)
@click.option("--timezone", help="Zone of its times, where they have no offset: Africa/Lagos.")
@click.option("--from", "since", type=Moment(), help="Events from then on: 2026-11-22T00:00:00Z, or 24h ago.")
@click.option("--to", "until", type=Moment(), help="And before then; written like --from.")
@click.option(
    "--tolerance",
    "tolerance_us",
    default="1m",
    show_default=True,
    callback=_span_us,
    help="How far apart the times of one event may lie.",
)
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    type=click.Choice([one.value for one in Difference]),
    help="A difference that is expected; it is shown and does not count.",
)
@configured
@as_json
def compare_(
    destination: str,
    file: Path | None,
    recorded: str | None,
    columns: Mapping[str, str],
    names: Mapping[str, str],
    timezone: str | None,
    since: int | None,
    until: int | None,
    tolerance_us: int,
    accepted: tuple[str, ...],
    config_path: Path,
    json_: bool,
) -> None:
    """Hold what another sender sent against what we would have sent, or did.

    For the days of a cut-over: while a route is in shadow it shows what would change, afterwards what was
    sent by both and what by nobody. Ends with 0 where the two agree, and with 3 where they differ.

    Example: lendsignal compare --destination appsflyer-ng --with sent.csv --map loan_id=contract --from 24h
    """
    config = configuration.load(config_path)
    if destination not in config.outlets:
        raise click.BadParameter(
            f"there is {', '.join(config.outlets) or 'none'}", param_hint="--destination"
        )
    unknown = columns.keys() - FIELDS.keys()
    if unknown:
        raise click.BadParameter(
            f"no field {min(unknown)!r}; there is {', '.join(FIELDS)}", param_hint="--map"
        )
    if (file is None) == (recorded is None):
        raise click.UsageError("say what to compare with: --with FILE, or --recorded FEED")
    meant = names_of(config, destination, names)
    bad: list[BadRow] = []
    theirs = (
        list(sent_of(file, columns, timezone=timezone, refused=bad.append))
        if file is not None
        else list(_recorded(config, destination, recorded or ""))
    )
    for one in bad[:5]:
        where = f"row {one.number}" if one.line is None else f"line {one.line}"
        click.echo(f"left out: {where} {one.rule}", err=True)
    folder, outlet = DataFolder(config.data), config.outlets[destination]
    now_us = giving.clock_of(config).now_us()
    with closing(open_log(folder.log, read_only=True)) as log:
        tell_beginning(log, "of what was planned before nothing is found here")
        try:
            store = open_deliveries(folder.deliveries, read_only=True)
        except NotYet:  # no sender has ever run here
            store = None
        try:
            ledger = ours_of(log, store, destination, rendered(outlet, config.apps))
        finally:
            if store is not None:
                store.close()
    found = compare(
        destination,
        ledger,
        theirs,
        meant,
        since_us=None if since is None else giving.at(since, now_us, 0),
        until_us=None if until is None else giving.at(until, now_us, 0),
        tolerance_us=tolerance_us,
        accepted=[Difference(one) for one in accepted],
        unreadable=len(bad),
        ours_among_theirs=recorded is not None,
    )
    print_json(found.to_data()) if json_ else click.echo(found.to_text())
    sys.exit(0 if found.agreed else DIFFERS)


def names_of(config: Config, destination: str, said: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The conversions that an event's name stands for: as was said, else the route's name, else its own."""
    known = known_conversions(config.policy.derive)
    for theirs, conversion in said.items():
        if conversion not in known:
            raise click.BadParameter(
                f"{theirs}={conversion}: there is {', '.join(known)}", param_hint="--name"
            )
    found: dict[str, tuple[str, ...]] = {}
    for conversion, name in _routed(config.policy.routes, destination):
        for word in {name, conversion}:
            found[word] = (*found.get(word, ()), conversion)
    return found | {theirs: (conversion,) for theirs, conversion in said.items()}


def _routed(routes: Sequence[RouteSettings], destination: str) -> list[tuple[str, str]]:
    pairs = [pair for route in routes if route.to == destination for pair in route.send.items()]
    return list(dict.fromkeys(pairs))


def _recorded(config: Config, destination: str, feed: str) -> Iterator[Sent]:
    """What the platform recorded of the destination's app; what it counted a second time is left out."""
    if feed not in config.feeds:
        raise click.BadParameter(
            f"there is {', '.join(config.feeds) or 'no [feed]'}", param_hint="--recorded"
        )
    app = config.outlets[destination].app.name
    with closing(open_feeds(DataFolder(config.data).feeds, read_only=True)) as feeds:
        for number, one in enumerate(feeds.recorded(), 1):
            if one.feed == feed and one.app == app and one.primary:
                sent = Sent(
                    at_us=one.at_us,
                    event=one.name,
                    conversion_id=one.conversion,
                    install=one.id,
                    user_id=one.user_id,
                    amount=one.amount,
                    currency=one.currency,
                    row=number,
                )
                # What stands in one file more than once was recorded more than once.
                yield from [sent] * one.copies
