"""What `quarantine` does: shows what the door refused, and lets a person mend, release, drop or forget it."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from lendsignal import config as configuration
from lendsignal.cli import giving
from lendsignal.cli.giving import Moment
from lendsignal.cli.words import F, as_json, configured, print_json
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.errors import FolderInUse, InputError, LendsignalError
from lendsignal.log import STATES, DataFolder, Quarantined, Wanted
from lendsignal.log.refusals import Refusing, refusing
from lendsignal.model import Event
from lendsignal.settings import duration
from lendsignal.source import Mender, Patch, Reader, patched, reader_of, shown_of, through_again

MOST = 100_000
"""Refused events that one verb changes at most."""

SHOWN_KINDS = 20
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 0.05

TEXT_FIELDS = frozenset(
    "type brand user_id event_id occurred_at app person_id actor purpose time_precision application_id "
    "grant_id loan_id payment_id product currency due_date score_version email phone sent_at".split()
)
"""Fields whose value is text, whatever it looks like."""


def _limited(command: F) -> F:
    """`--limit`."""
    shown = click.IntRange(1, 10_000)
    return click.option("--limit", type=shown, default=20, show_default=True, help="How many to show.")(
        command
    )


@click.group(invoke_without_command=True)
@_limited
@configured
@as_json
@click.pass_context
def quarantine(context: click.Context, limit: int, config_path: Path, json_: bool) -> None:
    """What the door refused, and why: list, show, mend, release, drop, expire. Alone it lists what is open.

    Contacts are masked. What is mended is sent through the door's own rules again, keeps its id and the
    moment it first came in, and is flagged `mended`.
    """
    if context.invoked_subcommand is None:
        _list(config_path, Wanted(), limit, json_=json_)


class Filter(Struct, frozen=True, kw_only=True):
    """Which of the refused a verb is for, as it was typed: moments in microseconds, a span ago below zero."""

    ids: tuple[int, ...]
    source: str | None
    field: str | None
    rule: str | None
    since: int | None
    until: int | None

    def wanted(self, config: Config, states: tuple[str, ...] = ("open",)) -> Wanted:
        """Those in these states, moments as the service's clock has them."""
        now_us = giving.clock_of(config).now_us()
        return Wanted(
            ids=self.ids,
            source=self.source,
            field=self.field,
            rule=self.rule,
            since_us=None if self.since is None else giving.at(self.since, now_us, 0),
            until_us=None if self.until is None else giving.at(self.until, now_us, 0),
            states=states,
        )

    def narrowed(self, config: Config) -> Wanted:
        """Those that are open; nobody changes all of them by leaving the filter out."""
        wanted = self.wanted(config)
        if not any((wanted.ids, wanted.source, wanted.field, wanted.rule, wanted.since_us, wanted.until_us)):
            raise click.UsageError("say which: IDs, --source, --field, --rule, --since or --until")
        return wanted


def _filtered(command: F) -> F:
    """`ID... --source --field --rule --since --until`, given to the command as `chosen`."""

    @wraps(command)
    def asked(
        ids: tuple[int, ...],
        source: str | None,
        field: str | None,
        rule: str | None,
        since: int | None,
        until: int | None,
        **others: Any,
    ) -> Any:
        chosen = Filter(ids=ids, source=source, field=field, rule=rule, since=since, until=until)
        return command(chosen=chosen, **others)

    for option in (
        click.option("--until", type=Moment(), help="And before then; written like --since."),
        click.option(
            "--since", type=Moment(), help="Came in from then on: 2026-11-22T00:00:00Z, or 24h ago."
        ),
        click.option("--rule", help="Only where the rule has these words."),
        click.option("--field", help="Only where this field was wrong."),
        click.option("--source", help="Only of this source, import or pull."),
        click.argument("ids", nargs=-1, type=click.IntRange(min=1), metavar="[ID]..."),
    ):
        asked = option(asked)
    return asked  # type: ignore[return-value]


def _confirmed(command: F) -> F:
    dry = click.option("--dry-run", is_flag=True, help="Only say what would happen.")
    yes = click.option("--yes", is_flag=True, help="Do not ask.")
    return dry(yes(command))


# looking


@quarantine.command("list")
@_filtered
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    default=("open",),
    help="open (default), asked, taken or dropped; may be repeated.",
)
@_limited
@configured
@as_json
def list_(
    chosen: Filter,
    states: tuple[str, ...],
    limit: int,
    config_path: Path,
    json_: bool,
) -> None:
    """Count them by source, field and rule, and show the youngest.

    Example: lendsignal quarantine list --source backend --since 24h
    """
    config = configuration.load(config_path)
    _list(config_path, chosen.wanted(config, states), limit, json_=json_)


def _list(config_path: Path, wanted: Wanted, limit: int, *, json_: bool) -> None:
    with _opened(configuration.load(config_path), read_only=True) as log:
        found, kinds = log.quarantine.find(wanted, limit), log.quarantine.kinds(wanted)
    if json_:
        totals = [
            {
                "source": one.source,
                "field": one.field,
                "rule": one.rule,
                "n": one.n,
                "last_at": from_us(one.last_us),
            }
            for one in kinds
        ]
        print_json({"counts": totals, "events": [_told(one) for one in found]})
        return
    for kind in kinds[:SHOWN_KINDS]:
        click.echo(f"{kind.n:>8,}  {kind.source or 'nobody known'}  {kind.field}: {kind.rule}")
    if len(kinds) > SHOWN_KINDS:
        click.echo(f"{'':>8}  and {len(kinds) - SHOWN_KINDS:,} more kinds")
    for one in found:
        click.echo(
            f"\n{_heading(one)}\n  {one.field}: {one.rule}\n  {one.body.decode('utf-8', 'replace')[:400]}"
        )
    if not found:
        click.echo("nothing is in quarantine")


@quarantine.command()
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@configured
@as_json
def show(id_: int, config_path: Path, json_: bool) -> None:
    """Show one: what was sent, which field broke which rule, and what became of it. Contacts stay hidden.

    Example: lendsignal quarantine show 17
    """
    config = configuration.load(config_path)
    with _opened(config, read_only=True) as log:
        one = log.quarantine.one(id_)
    if one is None:
        raise LendsignalError(f"nothing with the number {id_} is in quarantine; it may have expired")
    if json_:
        print_json({**_told(one), "can_be_sent": None if one.kept is None else shown_of(one.kept)})
        return
    click.echo(f"{_heading(one)}\n{one.field}: {one.rule}\n\nas it was sent, personal values hidden:")
    click.echo(one.body.decode("utf-8", "replace"))
    if one.kept is not None:
        click.echo("\nas it would be sent through again:")
        click.echo(json.dumps(shown_of(one.kept), indent=2, default=str, ensure_ascii=False))
        click.echo(f"\nlendsignal quarantine mend {id_} --set {one.field}=… --dry-run")
    elif one.state == "open":
        click.echo("\nit is no whole event, so it cannot be sent through again: have its sender send it anew")


def _heading(one: Quarantined) -> str:
    said = f"{one.id}  {from_us(one.received_us):%Y-%m-%d %H:%M:%S} UTC from {one.source or 'nobody known'}"
    if one.state == "open":
        return said
    became = f" as {one.event_id}" if one.event_id else ""
    return f"{said}, {one.state}{became} by {one.who or 'nobody known'}"


def _told(one: Quarantined) -> dict[str, Any]:
    return {
        "id": one.id,
        "received_at": from_us(one.received_us),
        "source": one.source,
        "field": one.field,
        "rule": one.rule,
        "state": one.state,
        "event_id": one.event_id,
        "who": one.who,
        "changed_at": None if one.at_us is None else from_us(one.at_us),
        "body": one.body.decode("utf-8", "replace"),
    }


# mending


def _pairs(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{one!r}: write it like NAME=VALUE", param=option)
        found[name.strip()] = value
    return found


@quarantine.command()
@_filtered
@click.option("--set", "sets", multiple=True, callback=_pairs, metavar="FIELD=VALUE", help="Set a field.")
@click.option("--unset", multiple=True, metavar="FIELD", help="Take a field out.")
@click.option(
    "--rename", multiple=True, callback=_pairs, metavar="OLD=NEW", help="A field under its right name."
)
@click.option(
    "--patch",
    "patch_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A JSON object of fields to set; null takes one out.",
)
@_confirmed
@configured
@as_json
def mend(
    chosen: Filter,
    sets: dict[str, str],
    unset: tuple[str, ...],
    rename: dict[str, str],
    patch_path: Path | None,
    dry_run: bool,
    yes: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Change fields of refused events, and send them through the door's rules again.

    All that the filter means are changed alike. `device.gaid` reaches inside a field. What is still wrong
    is refused again and waits. --dry-run tells how many would pass, by what they would become.

    Example: lendsignal quarantine mend --field loanId --rename loanId=loan_id --dry-run
    """
    patch = _patch(sets, unset, rename, patch_path)
    if not (patch.set or patch.unset or patch.rename):
        raise click.UsageError("say what to change: --set, --unset, --rename or --patch; or use `release`")
    config = configuration.load(config_path)
    _send_through(config, chosen.narrowed(config), patch, dry_run=dry_run, yes=yes, json_=json_)


@quarantine.command()
@_filtered
@_confirmed
@configured
@as_json
def release(
    chosen: Filter,
    dry_run: bool,
    yes: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Send refused events through the door's rules again as they are: after the configuration was corrected.

    Reload or restart the service first, so that it knows the new configuration.

    Example: lendsignal quarantine release --field brand --yes
    """
    config = configuration.load(config_path)
    _send_through(config, chosen.narrowed(config), Patch(), dry_run=dry_run, yes=yes, json_=json_)


@quarantine.command()
@_filtered
@_confirmed
@configured
@as_json
def drop(
    chosen: Filter,
    dry_run: bool,
    yes: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Say that nobody wants these: they count no more, and what could be sent of them is forgotten at once.

    Example: lendsignal quarantine drop --source staging --yes
    """
    config = configuration.load(config_path)
    wanted = chosen.narrowed(config)
    _may_ask(json_=json_, dry_run=dry_run, yes=yes)
    with _opened(config) as log:
        n = log.quarantine.count(wanted)
        if dry_run or not n:
            return _say({"chosen": n, "dropped": 0}, f"{n:,} would be dropped", json_=json_)
        if not yes and not click.confirm(f"Drop {n:,} refused events?", err=True):
            _nothing_changed()
        these = [one.id for one in log.quarantine.find(wanted, MOST) if one.id is not None]
        dropped = log.quarantine.drop(these, giving.who(), giving.clock_of(config).now_us())
    return _say({"chosen": n, "dropped": dropped}, f"{dropped:,} are dropped", json_=json_)


@quarantine.command()
@click.option("--older-than", help="So long ago, such as 30d; by default door.quarantine_days.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@configured
@as_json
def expire(older_than: str | None, yes: bool, config_path: Path, json_: bool) -> None:
    """Forget what came in long ago, whatever became of it. The running service does so by itself.

    Example: lendsignal quarantine expire --older-than 7d --yes
    """
    config = configuration.load(config_path)
    try:
        span = duration(older_than or f"{config.door.quarantine_days}d")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from None
    before_us = giving.clock_of(config).now_us() - int(span.total_seconds()) * 1_000_000
    _may_ask(json_=json_, dry_run=False, yes=yes)
    with _opened(config) as log:
        n = log.quarantine.count(Wanted(until_us=before_us, states=STATES))
        if n and not yes and not click.confirm(f"Forget {n:,} refused events?", err=True):
            _nothing_changed()
        gone = log.quarantine.expire(before_us)
    _say({"forgotten": gone}, f"{gone:,} are forgotten", json_=json_)


def _patch(
    sets: Mapping[str, str], unset: tuple[str, ...], rename: Mapping[str, str], path: Path | None
) -> Patch:
    given: dict[str, Any] = {}
    if path is not None:
        try:
            given = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{path} is no JSON object: {error}", param_hint="--patch") from None
    given.update((name, _read(name, text)) for name, text in sets.items())
    gone = [name for name, value in given.items() if value is None]
    kept = {name: value for name, value in given.items() if value is not None}
    return Patch(set=kept, unset=(*unset, *gone), rename=rename)


def _read(name: str, text: str) -> object:
    """The value that was meant: text for fields of text and inside others, else JSON where it is some."""
    if name in TEXT_FIELDS or name.startswith("device."):
        return text
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text


def _send_through(
    config: Config, wanted: Wanted, patch: Patch, *, dry_run: bool, yes: bool, json_: bool
) -> None:
    _may_ask(json_=json_, dry_run=dry_run, yes=yes)
    with _opened(config) as log:
        wishes, left_out, would = _wishes(config, log.quarantine.find(wanted, MOST), patch)
        counts: dict[str, Any] = {
            "dry_run": dry_run,
            "chosen": len(wishes) + sum(left_out.values()),
            "left_out": dict(left_out),
            "would_pass": would["passes"],
            "would_be_refused": {why: n for why, n in would.items() if why != "passes"},
        }
        if not json_:
            _show_counts(counts)
        if dry_run or not wishes:
            if json_:
                print_json(counts)
            if not wishes:
                raise LendsignalError("nothing can be sent through: none is as the filter says")
            return
        if not yes and not click.confirm(f"Send {len(wishes):,} through again?", err=True):
            _nothing_changed()
        log.quarantine.ask(wishes, giving.who(), giving.clock_of(config).now_us())
        came = _carried_out(config, log, list(wishes))
    if json_:
        print_json({**counts, **came})
    else:
        click.echo(_told_outcome(came))
    if came["refused_again"] or came["still_to_do"]:
        sys.exit(1)


def _wishes(
    config: Config, found: Iterable[Quarantined], patch: Patch
) -> tuple[dict[int, bytes], Counter[str], Counter[str]]:
    """What is to be sent, what cannot be, and what would come of it by the configuration as it stands."""
    reader = _reader(config)
    wishes: dict[int, bytes] = {}
    left_out: Counter[str] = Counter()
    would: Counter[str] = Counter()
    for one in found:
        if one.id is None or one.kept is None:
            left_out["no whole event was kept of it"] += 1
            continue
        try:
            kept = patched(one.kept, patch)
        except InputError as error:
            raise click.UsageError(str(error)) from None
        wishes[one.id] = kept
        would[_would(kept, one, reader)] += 1
    return wishes, left_out, would


def _would(kept: bytes, one: Quarantined, reader: Reader) -> str:
    try:
        event: Event = through_again(kept, one.received_us, one.source, reader)
    except InputError as error:
        return f"{error.field}: {error.rule}"
    return "passes" if event.event_id else "no id"


def _show_counts(counts: Mapping[str, Any]) -> None:
    click.echo(f"{counts['would_pass']:>8,}  would pass")
    for why, n in counts["would_be_refused"].items():
        click.echo(f"{n:>8,}  would be refused again: {why}")
    for why, n in counts["left_out"].items():
        click.echo(f"{n:>8,}  left out: {why}")


def _carried_out(config: Config, log: Refusing, ids: Sequence[int]) -> dict[str, int]:
    """Has the running service do it, or does it here where none runs, and counts what came of it.

    On a cluster whoever asks does it, on any node.
    """
    if config.store is not None:
        _mender(config, log).finish()
    else:
        _by_the_service(config, log)
    states: Counter[str] = Counter()
    for start in range(0, len(ids), 500):
        these = tuple(ids[start : start + 500])
        states.update(one.state for one in log.quarantine.find(Wanted(ids=these, states=STATES), len(these)))
    return {
        "taken": states["taken"],
        "refused_again": states["open"],
        "still_to_do": states["asked"],
    }


def _by_the_service(config: Config, log: Refusing) -> None:
    try:
        lock = DataFolder(config.data).lock("core")
    except FolderInUse:
        _wait(lambda: not log.quarantine.count(Wanted(states=("asked",))))
    else:
        with lock:
            _mender(config, log).finish()


def _mender(config: Config, log: Refusing) -> Mender:
    return Mender(log, _reader(config), giving.clock_of(config), config.door.quarantine_days)


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not done() and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)


def _told_outcome(came: Mapping[str, int]) -> str:
    said = [f"{came['taken']:,} are taken"]
    if came["refused_again"]:
        said.append(f"{came['refused_again']:,} are refused again: see `lendsignal quarantine list`")
    if came["still_to_do"]:
        said.append(f"{came['still_to_do']:,} are still to be looked at; the service goes on")
    return "\n".join(said)


def _reader(config: Config) -> Reader:
    clock = giving.clock_of(config)
    return reader_of(config.apps, config.policy.resolve.clock_ahead, sets_received_at=clock.replay)


def _may_ask(*, json_: bool, dry_run: bool, yes: bool) -> None:
    if json_ and not dry_run and not yes:
        raise click.UsageError("--json cannot ask: add --yes, or --dry-run")


def _say(fields: Mapping[str, Any], text: str, *, json_: bool) -> None:
    if json_:
        print_json(fields)
    else:
        click.echo(text)


def _nothing_changed() -> None:
    click.echo("nothing was changed", err=True)
    sys.exit(1)


def _opened(config: Config, *, read_only: bool = False) -> AbstractContextManager[Refusing]:
    """What the doors refused: of the configuration's folder, or of its store."""
    folder = DataFolder(config.data) if config.store is not None else giving.folder_of(config)
    return refusing(folder, config.store, read_only=read_only)
