"""Options that several verbs share, and how they print."""

import tomllib
from collections.abc import Callable
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
from lendsignal.errors import ConfigError, Problem

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


OF_A_FOLDER = frozenset(
    "advise alerts archive audience audit backup cancel compare dead explain import migrate outbox people"
    " plan proxy pull quarantine replay report tiers value".split()
)
"""Verbs that work over a data folder and nothing else: a node of a cluster has none."""


def _of_a_folder(context: click.Context, option: click.Parameter, path: Path) -> Path:
    """The path, where its configuration is of the kind that the verb works over. Raises `ConfigError`."""
    verb = context.command_path.split()[1:2]
    if verb and verb[0] in OF_A_FOLDER and _has_store(path):
        found = (
            f"[store], and `lendsignal {verb[0]}` works over a data folder: on a cluster it is not there yet"
        )
        raise ConfigError([Problem("store", found, "see docs/explanation/cluster.md", path.name)])
    return path


def _has_store(path: Path) -> bool:
    try:
        text = path.read_text()
        return "store" in text and "store" in tomllib.loads(text)
    except (OSError, ValueError):
        return False  # whoever reads it says what is wrong


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
