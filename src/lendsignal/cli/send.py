"""One test event, or one dry run: `lendsignal send`."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from lendsignal import config as configuration
from lendsignal.cli import giving
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.deliver import Outlet
from lendsignal.deliver.body import body_of, delivery_of
from lendsignal.deliver.trial import NoSuchMode, Tried, made_up, trial_id, tried
from lendsignal.errors import InputError
from lendsignal.model import Delivery, Event, IdKind, Skip, is_touch, person_key
from lendsignal.plan import Entry, Planned, UserState, compile_policy, decide, people_of
from lendsignal.source import read_event, read_json, reader_of

CLICK_IDS = ("gclid", "gbraid", "fbc", "ttclid", "sc_click_id", "kwai_click_id")
IDS = (*(kind.value for kind in IdKind), *CLICK_IDS)
"""What `--id` takes: a phone's ids, and those of the click that brought it."""


class PhoneId(click.ParamType[Any]):
    """`KIND=VALUE`, such as gaid=…: one id of a phone."""

    name = "KIND=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, str]:
        kind, equals, text = str(value).partition("=")
        if not equals or not text or kind not in IDS:
            self.fail(f"write KIND=VALUE with one of {', '.join(IDS)}", param, context)
        return kind, text


@click.command()
@click.option("--to", "to", metavar="NAME", required=True, help="The destination.")
@click.option("--test", "mode", flag_value="test", help="Send one marked test event.")
@click.option("--validate", "mode", flag_value="validate", help="Only have the platform check it.")
@click.option(
    "--event",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Events as the door takes them, a JSON object or array; by default one is made up.",
)
@click.option("--conversion", metavar="NAME", help="Which of the route's conversions; by default its first.")
@click.option(
    "--id", "ids", type=PhoneId(), multiple=True, help="An id of your own phone, for the made-up event."
)
@click.option("--code", metavar="CODE", help="The platform's code for test events, where it asks for one.")
@click.option("--sandbox", metavar="URL", help="Send to a sandbox; by default where deliver.sandbox says.")
@configured
@as_json
def send(
    to: str,
    mode: str | None,
    file: Path | None,
    conversion: str | None,
    ids: tuple[tuple[str, str], ...],
    code: str | None,
    sandbox: str | None,
    config_path: Path,
    json_: bool,
) -> None:
    """Send one test event, or have one checked, and say where to look for it in the platform's console.

    It goes beside the queue: nothing is planned, kept or counted here. Ends with 0 where the platform took
    it or found nothing wrong, with 1 where it did not or has no such mode, with 2 where the call or the
    configuration is wrong.

    Example: lendsignal send --to meta-ph --test --code TEST12345
    """
    if mode is None:
        raise click.UsageError("say what to do: --test or --validate")
    config = configuration.load(config_path)
    giving.known("destination", [to], config.outlets)
    outlet = config.outlets[to]
    clock = giving.clock_of(config)
    now_us = clock.now_us()
    if file is None:
        name, valued = _name(config, to, conversion)
        delivery = made_up(outlet, name, now_us, dict(ids), valued=valued)
    else:
        if ids:
            raise click.UsageError("--id is for the made-up event: put the phone's ids into the file")
        delivery = _planned(config, outlet, file, conversion, now_us)
    try:
        found = tried(
            outlet,
            delivery,
            "test" if mode == "test" else "validate",
            clock,
            code=code,
            sandbox=sandbox or config.deliver.sandbox,
        )
    except NoSuchMode as error:
        if not json_:
            raise
        print_json({"destination": to, "mode": mode, "outcome": "no_such_mode", "reason": str(error)})
        sys.exit(1)
    print_json(found) if json_ else _tell(found, outlet.spec.label)
    sys.exit(0 if found.is_well else 1)


def _name(config: Config, to: str, conversion: str | None) -> tuple[str, bool]:
    """The name of a conversion at a destination, and whether its route gives it a value."""
    names: dict[str, tuple[str, bool]] = {}
    for route in config.policy.routes:
        if route.to == to:
            for one, name in route.send.items():
                names.setdefault(one, (name, one in route.value))
    if not names:
        raise click.UsageError(f"no [[route]] names {to}: there is no name to send")
    if conversion is None:
        return next(iter(names.values()))
    giving.known("conversion", [conversion], names)
    return names[conversion]


def _planned(config: Config, outlet: Outlet, file: Path, conversion: str | None, now_us: int) -> Delivery:
    """What the events of a file come to at a destination, by the rules in force; the last of them counts.

    An event that brings a phone and is no login is preceded by one on that phone.
    """
    states: dict[str, UserState] = {}
    entries: list[tuple[Planned, Entry]] = []
    policy = compile_policy(config.policy)
    for sequence, event in enumerate(_events(config, file, now_us), 1):
        person = person_key(event)
        state = states.get(person) or UserState(person)
        people = {key: states[key] for key in people_of(state, event) if key in states}
        decision = decide(state, sequence, event, policy, {}, people)
        states |= {after.key: after for after in (decision.state, *decision.people)}
        for _, record in decision.records:
            if isinstance(record, Planned) and conversion in (None, record.conversion.name):
                entries += [(record, one) for one in record.entries if one.destination == outlet.name]
    if not entries:
        what = "nothing" if conversion is None else f"no {conversion}"
        raise InputError(
            str(file), f"{what} follows from it for {outlet.name}: `lendsignal explain` tells why"
        )
    record, entry = entries[-1]
    if entry.skip is not None:
        raise InputError(str(file), f"it would be skipped for {outlet.name}: {entry.skip.value}")
    delivery = delivery_of(outlet, config.apps, body_of(record, entry))
    if isinstance(delivery, Skip):
        raise InputError(str(file), f"it would be skipped for {outlet.name}: {delivery.reason.value}")
    return msgspec.structs.replace(delivery, id=trial_id(delivery.name, now_us))


def _events(config: Config, file: Path, now_us: int) -> Sequence[Event]:
    """The events of a file, read as the door reads them. Raises `InputError` with field and rule."""
    raw = file.read_bytes()
    if raw.lstrip()[:1] == b"[":
        try:
            texts: list[bytes] = [bytes(one) for one in msgspec.json.decode(raw, type=list[msgspec.Raw])]
        except msgspec.DecodeError:
            raise InputError(str(file), "must be JSON: an object or an array of objects") from None
    else:
        texts = [raw]
    reader = reader_of(config.apps, config.policy.resolve.clock_ahead)
    found: list[Event] = []
    for text in texts:
        event = read_event(read_json(text), from_us(now_us), reader, source="send")
        if event.device is not None and not is_touch(event):
            found.append(_login_before(event))
        found.append(event)
    return found


def _login_before(event: Event) -> Event:
    """A login on the phone that an event brings, a second before it."""
    return Event(
        type="logged_in",
        brand=event.brand,
        user_id=event.user_id,
        event_id=f"login-{event.event_id}",
        occurred_at=event.occurred_at - timedelta(seconds=1),
        received_at=event.received_at,
        app=event.app,
        test=event.test,
        device=event.device,
    )


def _tell(found: Tried, label: str) -> None:
    """That for people."""
    status = f"HTTP {found.status}" if found.status else "no answer"
    said = f"{status} after {found.seconds:.1f} s"
    click.echo(f"sent     {found.name} to {found.destination} ({label}), {said}")
    click.echo(f"id       {found.id}")
    click.echo(f"request  {msgspec.json.encode(found.request).decode()}")
    if found.answer:
        shown = "".join(sign if sign.isprintable() else " " for sign in found.answer)
        click.echo(f"answer   {shown[:2_000]}")
    click.echo(f"outcome  {found.outcome}{f': {found.reason}' if found.reason else ''}")
    for problem in found.problems:
        click.echo(f"problem  {problem}")
    if found.look:
        click.echo(f"look     {found.look}")
        click.echo(f"see      {found.sees}")
    if found.sandbox is not None:
        click.echo(f"note     the sandbox at {found.sandbox} stood in for the platform, which saw nothing")
    elif found.may_count:
        click.echo("note     the platform does not promise to keep test events out of its figures")
