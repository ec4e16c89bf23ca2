"""Verbs for API keys: new, list, rotate, revoke. What they do counts within a second, without a restart."""

import secrets
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import click
from msgspec import Struct
from msgspec.structs import asdict

from lendsignal import config as configuration
from lendsignal.cli.giving import known
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import SystemClock, from_us, to_us
from lendsignal.config import Config
from lendsignal.errors import InputError
from lendsignal.log import ID_LENGTH, ApiKey, DataFolder, Keys, KeyUse, open_keys
from lendsignal.settings import duration
from lendsignal.source import EVERY_SCOPE, Access, access_of

SHORTEST_ID = 4
"""Digits of an id by which a key may be named, where they are one key's alone."""


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


class Shown(Struct, frozen=True, kw_only=True):
    """One key as it is listed: what it is good for, and when it was used. The key itself is nowhere."""

    id: str
    source: str
    kept: str
    good: bool
    scopes: tuple[str, ...]
    made: datetime | None
    ends: datetime | None
    last_used: datetime | None
    requests: int


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
    type=click.Choice(EVERY_SCOPE),
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
    key, made = _made(source, now_us, None if expires is None else _moment(expires, now_us), scopes)
    with closing(_keys(config)) as store:
        store.add(made)
    _told(key, made, (), json_)


@keys.command("list")
@configured
@as_json
def list_(config_path: Path, json_: bool) -> None:
    """Every key with its source, scopes, end and last use; the keys themselves are kept nowhere."""
    config = configuration.load(config_path)
    with closing(_keys(config)) as store:
        found = listed(config, store, SystemClock().now_us())
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
    key, made = _made(source, now_us, None if expires is None else _moment(expires, now_us), ())
    until_us = _moment(overlap, now_us)
    with closing(_keys(config)) as store:
        old = [one for one in _every(config, store) if one.source == source and _is_good(one, now_us)]
        store.add(made)
        for one in old:
            store.end(one.sha256, until_us)
        ended = [one for one in _every(config, store) if one.sha256 in {other.sha256 for other in old}]
    _told(key, made, ended, json_)


@keys.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@configured
@as_json
def revoke(ids: tuple[str, ...], config_path: Path, json_: bool) -> None:
    """End keys at once, by the ids that `lendsignal keys list` shows; also keys in the configuration."""
    config = configuration.load(config_path)
    now_us = SystemClock().now_us()
    with closing(_keys(config)) as store:
        chosen = [_named(word, _every(config, store)) for word in ids]
        for one in chosen:
            store.end(one.sha256, now_us)
    if json_:
        print_json([{"id": one.sha256[:ID_LENGTH], "source": one.source} for one in chosen])
        return
    for one in chosen:
        click.echo(f"{one.sha256[:ID_LENGTH]} of {one.source} has ended")
        if one.sha256 in config.keys:
            click.echo("  it still stands in the configuration: take it out, it is good for nothing")


def listed(config: Config, store: Keys, now_us: int) -> list[Shown]:
    """Every key of the configuration and of the file, by source."""
    uses, made = store.uses(), {key.sha256: key for key in store.all()}
    found = []
    for one in _every(config, store):
        use = uses.get(one.sha256, KeyUse(0, 0))
        key = made.get(one.sha256)
        found.append(
            Shown(
                id=one.sha256[:ID_LENGTH],
                source=one.source,
                kept="configuration" if key is None else "data folder",
                good=_is_good(one, now_us) and one.source in config.sources,
                scopes=tuple(sorted(one.scopes)),
                made=None if key is None else from_us(key.made_us),
                ends=None if one.until_us is None else from_us(one.until_us),
                last_used=from_us(use.last_us) if use.requests else None,
                requests=use.requests,
            )
        )
    return sorted(found, key=lambda one: (one.source, one.made or datetime.min.replace(tzinfo=UTC)))


def _every(config: Config, store: Keys) -> list[Access]:
    """Every key there is, with the end that counts."""
    found = [*config.keys.values()]
    for key in store.all():
        if key.sha256 in config.keys:
            continue
        settings = config.sources.get(key.source)
        if settings is None:
            access = Access(source=key.source, sha256=key.sha256, scopes=frozenset(), until_us=key.expires_us)
        else:
            access = access_of(key.source, settings, key.sha256, until_us=key.expires_us, scopes=key.scopes)
        found.append(access)
    ends = store.ends()
    return [one.ending(ends.get(one.sha256)) for one in found]


def _is_good(access: Access, now_us: int) -> bool:
    return access.until_us is None or now_us < access.until_us


def _named(word: str, many: Sequence[Access]) -> Access:
    """The key whose id begins so. Raises `InputError` where none does, or several do."""
    found = [one for one in many if len(word) >= SHORTEST_ID and one.sha256.startswith(word.lower())]
    if len(found) != 1:
        why = "several keys begin so" if found else f"no key begins so with {SHORTEST_ID} digits or more"
        raise InputError(word, f"is no key's id: {why}; lendsignal keys list shows them")
    return found[0]


def _made(source: str, now_us: int, expires_us: int | None, scopes: tuple[str, ...]) -> tuple[str, ApiKey]:
    """A key that nobody can guess, and what is kept of it."""
    key = f"ls_{secrets.token_urlsafe(32)}"
    digest = sha256(key.encode()).hexdigest()
    kept = ApiKey(sha256=digest, source=source, made_us=now_us, expires_us=expires_us, scopes=scopes or None)
    return key, kept


def _moment(until: timedelta | datetime, now_us: int) -> int:
    return to_us(until) if isinstance(until, datetime) else now_us + until // timedelta(microseconds=1)


def _keys(config: Config) -> Keys:
    return open_keys(DataFolder(config.data).keys)


def _told_moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%MZ")


def _printed(source: str, json_: bool) -> None:
    key, made = _made(source, 0, None, ())
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
