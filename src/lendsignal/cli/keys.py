"""Verbs for API keys: new, list, rotate, revoke. What they do counts within a second, without a restart."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from msgspec.structs import asdict

from lendsignal import config as configuration
from lendsignal.cli.giving import known
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import SystemClock, from_us, to_us
from lendsignal.config import Config
from lendsignal.log import ID_LENGTH, ApiKey, DataFolder, keys_of
from lendsignal.settings import duration
from lendsignal.source import EVERY_SCOPE, Access
from lendsignal.source.keychain import Keychain, fresh


class Until(click.ParamType[timedelta | datetime]):
    """A span from now on, or a moment with an offset."""

    name = "TIME"

    def convert(
        self, value: object, param: click.Parameter | None, context: click.Context | None
    ) -> timedelta | datetime:
        text = str(value)
        try:
            return duration(text)
        except ValueError:
            pass
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r}: write 90d for so long from now, or 2027-03-01T00:00:00Z", param, context)
        if found.tzinfo is None:
            self.fail(f"{text!r}: add an offset, such as Z or +01:00", param, context)
        return found.astimezone(UTC)


@click.group()
def keys() -> None:
    """API keys of sources: who may send and ask, for what, and until when."""


@keys.command("new")
@click.argument("source")
@click.option(
    "--expires", type=Until(), help="When it ends, such as 90d or 2027-03-01T00:00:00Z; else never."
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([*EVERY_SCOPE, "admin"]),
    help="What it is good for; may be repeated. By default all of the source's scopes.",
)
@click.option(
    "--print", "print_", is_flag=True, help="Keep nothing: print what to write into the configuration."
)
@configured
@as_json
def new(
    source: str,
    expires: timedelta | datetime | None,
    scopes: tuple[str, ...],
    print_: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Make an API key for a source. It is shown once, and only its SHA-256 is kept."""
    if print_:
        _printed(source, json_)
        return
    config = configuration.load(config_path)
    known("source", [source], config.sources)
    now_us = SystemClock().now_us()
    ends_us = None if expires is None else _moment(expires, now_us)
    with _keys(config) as chain:
        key, made = chain.add(source, now_us, ends_us, scopes)
    _told(key, made, (), json_)


@keys.command("list")
@configured
@as_json
def list_(config_path: Path, json_: bool) -> None:
    """Every key with its source, scopes, end and last use; the keys themselves are kept nowhere."""
    config = configuration.load(config_path)
    with _keys(config) as chain:
        found = chain.listed(SystemClock().now_us())
    if json_:
        print_json([asdict(one) for one in found])
        return
    if not found:
        click.echo("no keys: lendsignal keys new SOURCE makes one")
    for one in found:
        state = "good" if one.good else "ENDED"
        used = f"last used {_told_moment(one.last_used)}" if one.last_used else "never used"
        ends = f"ends {_told_moment(one.ends)}" if one.ends else "no end"
        click.echo(
            f"{one.id}  {one.source:<16} {state:<6} {ends:<22} {used}, {one.requests:,} requests; "
            f"{', '.join(one.scopes) or 'nothing'}; in the {one.kept}"
        )


@keys.command("rotate")
@click.argument("source")
@click.option(
    "--overlap", type=Until(), default="24h", show_default=True, help="How long old keys stay good."
)
@click.option("--expires", type=Until(), help="When the new key ends; else never.")
@configured
@as_json
def rotate(
    source: str,
    overlap: timedelta | datetime,
    expires: timedelta | datetime | None,
    config_path: Path,
    json_: bool,
) -> None:
    """Make a new key for a source and have the others end once the sender has had time to change over."""
    config = configuration.load(config_path)
    known("source", [source], config.sources)
    now_us = SystemClock().now_us()
    ends_us = None if expires is None else _moment(expires, now_us)
    with _keys(config) as chain:
        key, made, ended = chain.rotate(source, now_us, _moment(overlap, now_us), ends_us)
    _told(key, made, ended, json_)


@keys.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@configured
@as_json
def revoke(ids: tuple[str, ...], config_path: Path, json_: bool) -> None:
    """End keys at once, by the ids that `lendsignal keys list` shows; also keys in the configuration."""
    config = configuration.load(config_path)
    now_us = SystemClock().now_us()
    with _keys(config) as chain:
        chosen = chain.revoke(ids, now_us)
    if json_:
        print_json([{"id": one.sha256[:ID_LENGTH], "source": one.source} for one in chosen])
        return
    for one in chosen:
        click.echo(f"{one.sha256[:ID_LENGTH]} of {one.source} has ended")
        if one.sha256 in config.keys:
            click.echo("  it still stands in the configuration: take it out, it is good for nothing")


def _moment(until: timedelta | datetime, now_us: int) -> int:
    return to_us(until) if isinstance(until, datetime) else now_us + until // timedelta(microseconds=1)


@contextmanager
def _keys(config: Config) -> Iterator[Keychain]:
    with closing(keys_of(DataFolder(config.data), config.store)) as store:
        yield Keychain(config.keys, config.sources, store)


def _told_moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%MZ")


def _printed(source: str, json_: bool) -> None:
    key, made = fresh(source, 0, None, ())
    if json_:
        print_json({"source": source, "key": key, "key_sha256": made.sha256})
        return
    click.echo(f"key (give it to {source}; it is shown only now):\n  {key}")
    click.echo(f'configuration:\n  [source.{source}]\n  key_sha256 = "{made.sha256}"')


def _told(key: str, made: ApiKey, old: Sequence[Access], json_: bool) -> None:
    ends = None if made.expires_us is None else from_us(made.expires_us)
    if json_:
        others = [{"id": one.sha256[:ID_LENGTH], "ends": from_us(one.until_us or 0)} for one in old]
        found = {"source": made.source, "key": key, "id": made.sha256[:ID_LENGTH], "ends": ends}
        print_json({**found, "old": others} if others else found)
        return
    click.echo(f"key (give it to {made.source}; it is shown only now):\n  {key}")
    click.echo(
        f"id       {made.sha256[:ID_LENGTH]}, good now{f' until {_told_moment(ends)}' if ends else ''}"
    )
    for one in old:
        click.echo(f"before   {one.sha256[:ID_LENGTH]} ends {_told_moment(from_us(one.until_us or 0))}")
