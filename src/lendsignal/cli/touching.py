"""`import touches`: a lender's table of users and devices, so that the first day binds right."""

from pathlib import Path

import click

from lendsignal import config as configuration
from lendsignal.cli import bring
from lendsignal.cli.words import as_json, configured, print_json, progress_bar
from lendsignal.config import Config
from lendsignal.errors import InputError
from lendsignal.source.files import ImportMap
from lendsignal.source.files.rows import Layout, columns_of, format_of
from lendsignal.source.files.touches import touch_map


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--brand", required=True, help="Whose users they are.")
@click.option("--app", help="Whose installations they are, where no column `app` tells.")
@click.option("--as-of", metavar="TIME", help="When the table was true, where no column tells.")
@click.option("--timezone", help="Zone of its times, where they have no offset: Africa/Lagos.")
@click.option("--dry-run", is_flag=True, help="Say which column is what, count and sample; change nothing.")
@configured
@as_json
def touches(
    file: Path,
    brand: str,
    app: str | None,
    as_of: str | None,
    timezone: str | None,
    dry_run: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Bring in a table of users and the devices they use: each row is a login of the past.

    Columns are known by their names, such as user_id, appsflyer_id, gaid, last_login. Nothing is sent.

    Example: lendsignal import touches devices.csv --brand acme --app acme-ng --timezone Africa/Lagos
    """
    config = configuration.load(config_path)
    rules = _rules(config, file, brand, app, as_of, timezone)
    if not json_:
        for field, column in rules.event[0].columns.items():
            click.echo(f"{column:<28} {field}")
    with progress_bar(quiet=json_, unit="bytes") as bar:
        if dry_run:
            found = bring.dry_run(config, [file], rules, bar)
            print_json(found) if json_ else click.echo(bring.told(found))
        else:
            imported = bring.files(config, [file], rules, None, bar)
            print_json(imported) if json_ else click.echo(bring.summed_up(imported))


def _rules(
    config: Config, file: Path, brand: str, app: str | None, as_of: str | None, timezone: str | None
) -> ImportMap:
    apps = {one.name for one in config.apps.values() if one.brand == brand}
    if not apps:
        brands = sorted({one.brand for one in config.apps.values()})
        raise click.BadParameter(f"no brand {brand!r}; there is {', '.join(brands)}", param_hint="--brand")
    if app is not None and app not in apps:
        raise click.BadParameter(f"no app {app!r} of {brand}; there is {', '.join(apps)}", param_hint="--app")
    form = format_of(file.name)
    if form is None:
        raise InputError(file.name, "has a name that tells no format: .csv, .tsv or .parquet")
    columns = columns_of(file, Layout(form, "\t" if ".tsv" in file.name.lower() else ","))
    if columns is None:
        raise InputError(file.name, "is JSON, whose rows have no header: import it by a map")
    rules = touch_map(
        columns,
        brand=brand,
        app=app,
        as_of=None if as_of is None else bring.moment(as_of, "--as-of"),
        timezone=timezone,
        form=form,
    )
    if app is None and "app" not in rules.event[0].columns and len(apps) > 1:
        raise click.UsageError(f"{brand} has several apps: say --app, one of {', '.join(sorted(apps))}")
    return rules
