"""Options that several verbs share, and how they print."""

import tomllib
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from lendsignal.config import overrides
from lendsignal.errors import ConfigError, LendsignalError, Problem
from lendsignal.log import DataFolder

F = TypeVar("F", bound=Callable[..., Any])


def configured(command: F) -> F:
    """`--config`: the file, by default `lendsignal.toml` here or what $LENDSIGNAL_CONFIG names."""
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("lendsignal.toml"),
        envvar="LENDSIGNAL_CONFIG",
        show_default=True,
        show_envvar=True,
        callback=_of_a_folder,
        help="The configuration.",
    )(command)


OF_A_DESK = frozenset(
    "advise alerts archive audience audit backup compare explain migrate people plan proxy report tiers"
    " value".split()
)
"""Verbs that read a data folder: on a cluster they work where a desk keeps its copy of the store."""


def _of_a_folder(context: click.Context, option: click.Parameter, path: Path) -> Path:
    """The path, where the verb finds what it works over. Raises `ConfigError`."""
    verb = context.command_path.split()[1:2]
    if verb and verb[0] in OF_A_DESK:
        data = _folder_beside_store(path)
        if data is not None and not (data.is_dir() and DataFolder(data).log.exists()):
            found = f"[store], and `lendsignal {verb[0]}` reads a desk's copy of it, and here is none"
            allowed = f"on a node with the role desk{_desks(path)}"
            raise ConfigError([Problem("store", found, allowed, path.name)])
    return path


def _folder_beside_store(path: Path) -> Path | None:
    """The data folder of a node of a cluster; `None` where the configuration has no store."""
    try:
        text = path.read_text()
        found = tomllib.loads(text) if "store" in text else {}
    except (OSError, ValueError):
        return None  # whoever reads it says what is wrong
    if "store" not in found:
        return None
    service = found.get("service", {})
    data = service.get("data", "data") if isinstance(service, dict) else "data"
    return path.parent / str(data)


def _desks(path: Path) -> str:
    """Where desks are, as far as the store tells."""
    from lendsignal import config as configuration
    from lendsignal.log.postgres import database_of  # with the store's client
    from lendsignal.log.postgres.desks import Desks

    try:
        store = configuration.load(path).store
        assert store is not None, "the file has one"
        with closing(database_of(store)) as database:
            found = [one.address for one in Desks(database).alive()]
    except LendsignalError:
        return ""
    return f": {', '.join(found)}" if found else ", and none runs: lendsignal run --role desk,web"


def with_overrides(command: F) -> F:
    """`--set KEY=VALUE`: a key of the configuration, such as door.port=9000, for this run only."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        callback=lambda context, option, given: overrides(given),
        help="Set a key for this run, such as door.port=9000.",
    )(command)


def moment_of(context: click.Context, option: click.Parameter, given: str | None) -> datetime | None:
    """What an option means by a moment, in UTC; without an offset it is told in UTC."""
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        raise click.BadParameter(f"{given!r}: write it like 2026-03-10T18:00:00Z", context, option) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)


def as_json(command: F) -> F:
    """`--json`: one JSON document for programs."""
    return click.option("--json", "json_", is_flag=True, help="Print JSON for programs.")(command)


def print_json(value: object) -> None:
    """One JSON document on one line."""
    click.echo(msgspec.json.encode(value).decode())


def progress_bar(*, quiet: bool = False, unit: str = "events") -> Progress:
    """A bar on standard error; silent where nobody looks."""
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
