"""What was done by whom, and whether anybody has changed it since: `audit verify`."""

from contextlib import closing
from pathlib import Path

import click

from lendsignal import config as configuration
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.log import DataFolder
from lendsignal.log.chain import Mark
from lendsignal.log.people import open_people


class Noted(click.ParamType[Mark]):
    """The number of a row and its hash, as an earlier look printed them."""

    name = "ROW:HASH"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> Mark:
        number, _, digest = str(value).partition(":")
        if not number.isdigit() or len(digest) != 64:
            self.fail(f"{value!r}: write what `lendsignal audit verify` printed", param, context)
        return Mark(int(number), digest.lower())


@click.group()
def audit() -> None:
    """What was done by whom; `lendsignal people audit` prints it."""


@audit.command()
@click.option("--noted", type=Noted(), help="A head that was noted before: the chain must still hold it.")
@configured
@as_json
def verify(noted: Mark | None, config_path: Path, json_: bool) -> None:
    """Follow the chain of hashes through what was done; exit code 1 where a row was changed or is gone.

    Note the head outside of this machine, and give it back with --noted: whoever may write the file can
    write a whole chain anew, and that alone shows it.
    """
    config = configuration.load(config_path)
    with closing(open_people(DataFolder(config.data).people)) as people:
        found = people.verified(noted)
    head = None if found.head is None else f"{found.head.id}:{found.head.sha256}"
    if json_:
        print_json({"rows": found.rows, "head": head, "wrong": found.wrong})
    else:
        click.echo(f"{found.rows:,} rows; head {head or 'none'}")
        for one in found.wrong:
            click.echo(f"WRONG    {one}", err=True)
    if found.wrong:
        raise SystemExit(1)
