"""How every report is shown: text, JSON, CSV, a picture, or a page of its own."""

from pathlib import Path
from typing import Any, TypeVar

import click

from lendsignal.errors import LendsignalError
from lendsignal.report import Report

F = TypeVar("F", bound=Any)

CHART, PAGE = "lendsignal.chart", "lendsignal.page"
"""Where the options of a call are kept until `show` asks for them."""


def as_tables(command: F) -> F:
    """`--csv`, `--chart` and `--html`, which every report has beside `--json`; `show` obeys the last two."""
    for option in (
        _kept("--html", PAGE, "Write one page with tables and pictures to this file."),
        _kept("--chart", CHART, "Write the picture to this file: .svg, or .png with the extra charts."),
        click.option("--csv", "csv_", is_flag=True, help="Print each table as CSV."),
    ):
        command = option(command)
    return command


def _kept(name: str, key: str, words: str) -> Any:
    def keep(context: click.Context, option: click.Parameter, given: Path | None) -> None:
        context.meta[key] = given
        if key == CHART and given is not None and given.suffix not in (".svg", ".png"):
            raise click.BadParameter("must end in .svg or .png", context, option)

    return click.option(
        name,
        type=click.Path(path_type=Path, dir_okay=False),
        callback=keep,
        expose_value=False,
        help=words,
    )


def show(found: Report, *, json_: bool, csv_: bool) -> None:
    """Prints the report as it was asked for; files that were asked for are written first."""
    meta = click.get_current_context().meta
    chart, page = meta.get(CHART), meta.get(PAGE)
    if chart is not None:
        _write(chart, _picture(found, chart))
    if page is not None:
        from lendsignal.report.page import page as page_of

        _write(page, page_of(found).encode())
    if json_:
        click.echo(found.to_json())
    elif csv_:
        for name, text in found.to_csv().items():
            click.echo(f"# {name}\n{text}")
    elif chart is None and page is None:
        click.echo(found.to_text())


def _picture(found: Report, path: Path) -> bytes:
    from lendsignal.report.chart import png, svg
    from lendsignal.report.charts import charts_of

    charts = charts_of(found)
    if not charts:
        raise LendsignalError(f"{found.title} has no picture; --html shows its tables")
    return png(charts[0]) if path.suffix == ".png" else svg(charts[0]).encode()


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise LendsignalError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}", err=True)
