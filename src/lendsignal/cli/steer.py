"""Verbs that steer sending: pause, resume, cancel, dead, replay. Each leaves an order for the sender."""

import base64
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from lendsignal import config as configuration
from lendsignal.cli import giving
from lendsignal.cli.giving import Moment
from lendsignal.cli.words import F, as_json, configured, print_json, progress_bar
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.deliver import Choice, Chooser, Chosen, LeftOut, Outlet, Stopped
from lendsignal.deliver.giving import Came, told
from lendsignal.deliver.steering import Looked
from lendsignal.errors import InputError, LendsignalError
from lendsignal.log import EVERY, Dead, Halt, LetGo, Order
from lendsignal.settings import duration_text

LONGEST_REASON = 80
EVER_US = 1 << 62
"""Later than any time there is."""

WHY_LEFT_OUT = {
    LeftOut.TOO_OLD: "too old for the destination now",
    LeftOut.NOT_CONFIGURED: "of a destination that is not configured",
    LeftOut.NOT_IN_LOG: "no longer in the log",
    LeftOut.NO_CONSENT: "of a user who has forbidden it meanwhile",
}


# stop and let go


def _destinations(command: F) -> F:
    """`DESTINATION... | --all`."""
    every = click.option("--all", "every", is_flag=True, help="Every destination, those added later too.")
    return every(click.argument("destinations", nargs=-1)(command))


@click.command()
@_destinations
@click.option("--reason", default="by_hand", show_default=True, help="Why, for whoever looks at it later.")
@configured
@as_json
def pause(destinations: tuple[str, ...], every: bool, reason: str, config_path: Path, json_: bool) -> None:
    """Stop sending to these destinations, or to all, until `resume`. Nothing is lost: deliveries wait.

    Events are still taken and decided, and what is on its way is still answered.
    Windows do not wait: what gets too old meanwhile is skipped, or dead where it was tried.

    Example: lendsignal pause meta-ng --reason "new token on Monday"
    """
    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise click.BadParameter(f"one line of at most {LONGEST_REASON} characters", param_hint="--reason")
    config = configuration.load(config_path)
    names = _named(config, destinations, every=every)
    came = giving.give(config, [Halt(names, reason)])
    if json_:
        print_json({"destinations": names, "reason": reason, **_fields(came)})
    else:
        click.echo(told(came, f"paused: {_listed(names)}"))
    _end(came, expected=len(names))


@click.command()
@_destinations
@configured
@as_json
def resume(destinations: tuple[str, ...], every: bool, config_path: Path, json_: bool) -> None:
    """Send again, whoever stopped it: a person, a brake, or the platform's answer.

    Says what had stopped it, and since when. A brake that is let go counts as looked at: the first run is
    over, and volume holds nothing for a day.

    Example: lendsignal resume meta-ng
    """
    config = configuration.load(config_path)
    names = _named(config, destinations, every=every)
    were = giving.steering(config).stopped()
    came = giving.give(config, [LetGo(names)])
    shown = were if every else {name: one for name, one in were.items() if name in names}
    if json_:
        was = [{"destination": name, **_plain(one)} for name, one in shown.items()]
        print_json({"destinations": names, "was": was, **_fields(came)})
    else:
        for name in were if every else names:
            click.echo(f"{name}: {_was(shown.get(name))}")
        if every and not were:
            click.echo("nothing was paused")
        click.echo(told(came, f"let go: {_listed(names)}"))
        if not every and EVERY in were:
            click.echo("everything is paused as well: `lendsignal resume --all` lets that go")
    _end(came, expected=len(names))


def _named(config: Config, destinations: tuple[str, ...], *, every: bool) -> tuple[str, ...]:
    """What the words stand for: `*` for all."""
    if every == bool(destinations):
        raise click.UsageError("name DESTINATIONS, or say --all")
    if every:
        return (EVERY,)
    giving.known("destination", destinations, config.outlets)
    return tuple(dict.fromkeys(destinations))


def _listed(names: tuple[str, ...]) -> str:
    return "everything" if names == (EVERY,) else ", ".join(names)


def told_stop(one: Stopped) -> str:
    """Who stopped it and why, in words."""
    by = {"platform": "the platform's answer", "brake": "a brake"}.get(one.by, one.who or "a person")
    return f"by {by}: {one.reason}, since {from_us(one.since_us):%Y-%m-%d %H:%M:%S} UTC"


def _was(one: Stopped | None) -> str:
    return "was not paused" if one is None else f"was paused {told_stop(one)}"


# filters


def _filtered(command: F) -> F:
    """`--destination --conversion --from --to`, and how a choice is confirmed."""
    for option in reversed(
        [
            click.option(
                "--destination", "destinations", multiple=True, help="Only of this one; may be repeated."
            ),
            click.option(
                "--conversion", "conversions", multiple=True, help="Only of this one; may be repeated."
            ),
            click.option(
                "--from",
                "since",
                type=Moment(),
                help="Ended or held from then on (waiting: planned): 2026-11-22T00:00:00Z, or 24h ago.",
            ),
            click.option("--to", "until", type=Moment(), help="And before then; written like --from."),
        ]
    ):
        command = option(command)
    return command


def _confirmed(command: F) -> F:
    dry = click.option("--dry-run", is_flag=True, help="Only count.")
    yes = click.option("--yes", is_flag=True, help="Do not ask.")
    return dry(yes(command))


def _where(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> frozenset[str]:
    """The reasons that `--where reason=WORD` names."""
    found = []
    for one in given:
        key, _, word = one.partition("=")
        if key.strip() != "reason" or not word.strip():
            raise click.BadParameter(f"{one!r}: write it like reason=http_400", param_hint="--where")
        found.append(word.strip())
    return frozenset(found)


# cancel and send again


@click.command()
@_filtered
@click.option("--waiting", is_flag=True, help="Only those that wait for their turn.")
@click.option("--held", is_flag=True, help="Only those that are held.")
@_confirmed
@configured
@as_json
def cancel(
    destinations: tuple[str, ...],
    conversions: tuple[str, ...],
    since: int | None,
    until: int | None,
    waiting: bool,
    held: bool,
    dry_run: bool,
    yes: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Withdraw deliveries that wait or are held: they are never sent. Counts first, then asks.

    What left already cannot be called back; what is on its way is not repeated. At least one filter.

    Example: lendsignal cancel --destination old-webhook --waiting
    """
    if not (destinations or conversions or since or until or waiting or held):
        raise click.UsageError("say which: --destination, --conversion, --from, --to, --waiting or --held")
    _may_ask(json_=json_, dry_run=dry_run, yes=yes)
    config = configuration.load(config_path)
    now_us = giving.clock_of(config).now_us()
    wanted = {name for name, said in (("waiting", waiting), ("held", held)) if said}
    with giving.steering(config).looked() as stores, progress_bar(quiet=json_, unit="deliveries") as bar:
        choice = _choice(config, stores, wanted or {"waiting", "held"}, destinations, conversions)
        choice = replace(choice, **_span(since, until, now_us))
        chooser = Chooser(stores.log, stores.deliveries, config.outlets, now_us)
        chosen = chooser.to_cancel(choice, _moves(bar))
    _carry_out(
        config,
        chosen,
        chosen.cancel,
        ask=f"Cancel {len(chosen):,} deliveries?",
        what="{done} deliveries are cancelled",
        dry_run=dry_run,
        yes=yes,
        json_=json_,
    )


@click.command()
@_filtered
@click.option(
    "--where",
    "reasons",
    multiple=True,
    callback=_where,
    metavar="reason=WORD",
    help="Only those that ended for this reason; may be repeated.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["accepted", "dead", "held"]),
    default=("dead",),
    help="What became of them: dead ones by default; may be repeated.",
)
@_confirmed
@configured
@as_json
def replay(
    destinations: tuple[str, ...],
    conversions: tuple[str, ...],
    since: int | None,
    until: int | None,
    reasons: frozenset[str],
    states: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Send deliveries that ended through again, under the same ids. Counts first, then asks.

    Dead ones, unless --state says otherwise. Those too old for their destination by now are left out. They
    go beside live traffic at a rate of their own (deliver.again_share).

    Example: lendsignal replay --destination meta-ng --from 24h --where reason=http_400 --dry-run
    """
    _may_ask(json_=json_, dry_run=dry_run, yes=yes)
    config = configuration.load(config_path)
    now_us = giving.clock_of(config).now_us()
    with giving.steering(config).looked() as stores, progress_bar(quiet=json_, unit="deliveries") as bar:
        choice = _choice(config, stores, states, destinations, conversions)
        choice = replace(choice, reasons=reasons, **_span(since, until, now_us))
        chooser = Chooser(stores.log, stores.deliveries, config.outlets, now_us)
        chosen = chooser.to_send_again(choice, _moves(bar))
    _carry_out(
        config,
        chosen,
        chosen.again,
        ask=f"Send {len(chosen):,} deliveries again?",
        what="{done} deliveries wait again",
        dry_run=dry_run,
        yes=yes,
        json_=json_,
    )


def _choice(
    config: Config,
    stores: Looked,
    states: Iterable[str],
    destinations: tuple[str, ...],
    conversions: tuple[str, ...],
) -> Choice:
    """What the words mean; wrong words where a destination or a conversion is not known."""
    names = {*config.outlets, *stores.deliveries.destinations()}
    kinds = giving.conversions_of(config, stores.deliveries)
    return Choice(
        states=frozenset(states),
        destinations=giving.known("destination", destinations, names),
        conversions=giving.known("conversion", conversions, kinds),
    )


def _span(since: int | None, until: int | None, now_us: int) -> dict[str, int]:
    """What `--from` and `--to` mean now."""
    return {"since_us": giving.at(since, now_us, 0), "until_us": giving.at(until, now_us, EVER_US)}


def _may_ask(*, json_: bool, dry_run: bool, yes: bool) -> None:
    if json_ and not dry_run and not yes:
        raise click.UsageError("--json cannot ask: add --yes, or --dry-run")


def _moves(bar: Any) -> Callable[[int, int], None]:
    task = bar.add_task("looking", total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def _carry_out(
    config: Config,
    chosen: Chosen,
    orders: Callable[[], list[Any]],
    *,
    ask: str,
    what: str,
    dry_run: bool,
    yes: bool,
    json_: bool,
) -> None:
    """Shows the count, asks, gives the orders, and tells what came of them."""
    counts = {
        "dry_run": dry_run,
        "chosen": len(chosen),
        "left_out": chosen.left_out(),
        "counts": chosen.counts(),
    }
    if not json_:
        click.echo(_table(chosen, config))
    if dry_run:
        if json_:
            print_json(counts)
        return
    if not len(chosen):
        if json_:
            print_json(counts)
        raise LendsignalError("nothing is chosen: no delivery is as the filter says")
    if not yes and not click.confirm(ask, err=True):
        click.echo("nothing was changed", err=True)
        sys.exit(1)
    given: list[Order] = list(orders())
    came = giving.give(config, given)
    if json_:
        print_json({**counts, **_fields(came)})
    else:
        click.echo(told(came, what))
    _end(came)


def _table(chosen: Chosen, config: Config) -> str:
    """The count for people: a line for each destination, state, conversion and reason."""
    lines = [f"{'deliveries':>12}  {'destination':<24} {'state':<9} {'conversion':<20} reason"]
    for one in chosen.counts():
        rest = ", ".join(f"{n:,} {WHY_LEFT_OUT[LeftOut(why)]}" for why, n in one.left_out.items())
        line = f"{one.n:>12,}  {one.destination:<24} {one.state:<9} {one.conversion:<20} {one.reason}"
        lines.append(f"{line.rstrip()}{f'   left out: {rest}' if rest else ''}")
    lines.append(f"{len(chosen):>12,}  in all")
    for why, n in chosen.left_out().items():
        lines.append(f"{n:>12,}  left out: {WHY_LEFT_OUT[LeftOut(why)]}")
    for name in chosen.destinations():
        doubtful = chosen.states(name) & {"accepted", "held"}
        if doubtful and name in config.outlets:
            lines.append(_twice(config.outlets[name], sorted(doubtful)))
    return "\n".join(lines)


def _twice(outlet: Outlet, states: list[str]) -> str:
    """What sending again may mean where the platform has it already."""
    which, within = " and ".join(states), outlet.spec.dedupe
    if within is None:
        return f"{outlet.name}: {which} ones may be counted twice; the platform does not tell them apart"
    return f"{outlet.name}: {which} ones are told apart by their ids within {duration_text(within)}"


# dead


@click.group()
def dead() -> None:
    """Deliveries that nobody tries again by himself: list, show, release."""


@dead.command("list")
@_filtered
@click.option("--where", "reasons", multiple=True, callback=_where, metavar="reason=WORD", help="Only these.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many to show."
)
@configured
@as_json
def list_dead(
    destinations: tuple[str, ...],
    conversions: tuple[str, ...],
    since: int | None,
    until: int | None,
    reasons: frozenset[str],
    limit: int,
    config_path: Path,
    json_: bool,
) -> None:
    """Count them by destination, conversion and reason, and show the first.

    Example: lendsignal dead list --destination meta-ng --from 24h
    """
    config = configuration.load(config_path)
    now_us = giving.clock_of(config).now_us()
    shown: list[Dead] = []
    counts: dict[tuple[str, str, str], int] = {}
    with giving.steering(config).looked() as stores:
        store, after = stores.deliveries, 0
        choice = _choice(config, stores, {"dead"}, destinations, conversions)
        choice = replace(choice, reasons=reasons, **_span(since, until, now_us))
        while found := store.all_dead(after):
            after = found[-1].id
            for one in found:
                if choice.means(one.destination, one.conversion, one.reason, one.at_us):
                    key = (one.destination, one.conversion, one.reason)
                    counts[key] = counts.get(key, 0) + 1
                    if len(shown) < limit:
                        shown.append(one)
    if json_:
        rows = [
            {"destination": name, "conversion": conversion, "reason": reason, "n": n}
            for (name, conversion, reason), n in sorted(counts.items())
        ]
        print_json({"counts": rows, "deliveries": [_row(one) for one in shown]})
        return
    for (name, conversion, reason), n in sorted(counts.items(), key=lambda pair: -pair[1]):
        click.echo(f"{n:>8,}  {name:<24} {conversion:<20} {reason}")
    for one in shown:
        died = f"{from_us(one.at_us):%Y-%m-%d %H:%M:%S} UTC"
        click.echo(f"{one.id:<16} {died}  {one.destination:<24} {one.conversion:<20} {one.reason}")
    total = sum(counts.values())
    if total > len(shown):
        click.echo(f"and {total - len(shown):,} more: --limit shows more of them")
    if not total:
        click.echo("none is dead")


@dead.command("show")
@click.argument("delivery", type=click.IntRange(1))
@configured
@as_json
def show_dead(delivery: int, config_path: Path, json_: bool) -> None:
    """One of them whole: the request without its secret, the answer, and every try.

    Example: lendsignal dead show 16448
    """
    with giving.steering(configuration.load(config_path)).looked() as stores:
        found, tries = stores.deliveries.dead(delivery), stores.deliveries.receipts(delivery)
    if found is None:
        last = tries[-1].what if tries else None
        raise InputError("delivery", f"{delivery} is not dead{f': it is {last}' if last else ''}")
    shown = {
        **_row(found),
        "request": _text(found.request),
        "answer": _text(found.answer),
        "tries": [
            {
                "at": from_us(one.answered_us),
                "what": one.what,
                "reason": one.reason,
                "status": one.status or None,
                "left": one.sent_us > 0,
            }
            for one in tries
        ],
    }
    if json_:
        print_json(shown)
        return
    died = f"{from_us(found.at_us):%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"{found.id}  {found.destination}  {found.conversion}  dead since {died}: {found.reason}")
    for one in tries:
        said = f" HTTP {one.status}" if one.status else ""
        click.echo(f"  {from_us(one.answered_us):%Y-%m-%d %H:%M:%S} UTC  {one.what} {one.reason}{said}")
    click.echo(f"request (without its secret):\n{_text(found.request) or '(none was made)'}")
    click.echo(f"answer:\n{_text(found.answer) or '(none)'}")


@dead.command("release")
@click.argument("deliveries", nargs=-1, required=True, type=click.IntRange(1))
@click.option("--dry-run", is_flag=True, help="Only count.")
@configured
@as_json
def release_dead(deliveries: tuple[int, ...], dry_run: bool, config_path: Path, json_: bool) -> None:
    """Send these through again, by their numbers, under the same ids. For many, see `replay`.

    Example: lendsignal dead release 16448 16512
    """
    config = configuration.load(config_path)
    now_us = giving.clock_of(config).now_us()
    with giving.steering(config).looked() as stores:
        chosen, others = Chooser(stores.log, stores.deliveries, config.outlets, now_us).dead(deliveries)
    if others:
        raise InputError("delivery", f"not dead: {', '.join(map(str, others))}; nothing was changed")
    _carry_out(
        config,
        chosen,
        chosen.again,
        ask="",
        what="{done} deliveries wait again",
        dry_run=dry_run,
        yes=True,
        json_=json_,
    )


def _row(one: Dead) -> dict[str, Any]:
    return {
        "id": one.id,
        "at": from_us(one.at_us),
        "destination": one.destination,
        "conversion": one.conversion,
        "reason": one.reason,
    }


def _text(body: bytes) -> str:
    """Bytes for people; what is no text in base 64."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()


def _fields(came: Came) -> dict[str, Any]:
    return msgspec.structs.asdict(came)


def _plain(one: Stopped) -> dict[str, Any]:
    found = msgspec.structs.asdict(one)
    return {**found, "since": from_us(found.pop("since_us"))}


def _end(came: Came, *, expected: int = 0) -> None:
    """The exit code: 1 where a sender runs and did not do what it was told."""
    if came.is_stuck:
        sys.exit(1)
    if not came.open and came.done < expected:
        raise LendsignalError(
            "the running sender does not know all of them: restart the service, then say it again"
        )
