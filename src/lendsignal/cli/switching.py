"""What `check` says of routes in shadow and of the minutes at which they become live."""

from collections.abc import Iterator
from contextlib import closing

from msgspec import Struct

from lendsignal.cli import giving
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, open_log
from lendsignal.plan import ALWAYS, NEVER, Live, PolicySource, live_of


class Switch(Struct, frozen=True):
    """A conversion that a destination does not always get: `live` says when, UTC; `missed` what is past."""

    destination: str
    conversion: str
    live: str
    missed: str = ""


def switches(config: Config) -> list[Switch]:
    """Every line of a route that is in shadow, or goes live or ends at a stated minute.

    A minute that passed before this configuration was in force cannot be kept any more: what happened since
    is decided by the rules of before.
    """
    before, now_us = _in_force(config), giving.clock_of(config).now_us()
    found: list[Switch] = []
    for route in config.policy.routes:
        for conversion in route.send:
            live = live_of(route, conversion)
            if live != ALWAYS:
                was = _live_before(before, route.to, conversion)
                missed = "" if was is None else _missed(live, was, now_us)
                found.append(Switch(route.to, conversion, live.told, missed))
    return found


def switch_lines(config: Config) -> Iterator[str]:
    """The same for people."""
    for one in switches(config):
        state = "in shadow" if one.live == NEVER.told else f"live {one.live}"
        yield f"route    {one.destination}: {one.conversion} is {state}"
    yield from missed_lines(config)


def missed_lines(config: Config) -> Iterator[str]:
    """What was missed. Once the service runs by these rules nobody can tell any more."""
    for one in switches(config):
        if one.missed:
            yield f"warning: {one.destination}: {one.conversion}: {one.missed}"


def _missed(live: Live, was: Live, now_us: int) -> str:
    """What a minute that lies in the past leaves behind."""
    if live != NEVER and live.from_us < now_us and not was.holds(live.from_us) and live.holds(live.from_us):
        end = min(now_us, was.from_us) if was.from_us > live.from_us else now_us
        return (
            f"live_from has passed: what happened from {_moment(live.from_us)} until {_moment(end)} was only"
            " watched and stays unsent here; the other sender must have it, or state a minute ahead"
        )
    if live.until_us < now_us and was.holds(live.until_us):
        return (
            f"live_until has passed: what happened from {_moment(live.until_us)} on was sent from here until"
            " now; the other sender must leave it out, or state a minute ahead"
        )
    return ""


def _in_force(config: Config) -> PolicySource | None:
    """The rules that the log is decided by; `None` where nothing was ever decided."""
    if not config.data.exists():
        return None
    try:
        log = open_log(DataFolder(config.data).log, read_only=True)
    except LogError:  # not there yet; or in trouble, which whoever starts something over it says
        return None
    with closing(log):
        version = log.policy()
        return None if version is None else log.policy_source(version)


def _live_before(source: PolicySource | None, destination: str, conversion: str) -> Live | None:
    """When the conversion was live by these rules: never, where no route had it."""
    if source is None:
        return None
    found = [
        live_of(one, conversion) for one in source.routes if one.to == destination and conversion in one.send
    ]
    return max(found, key=lambda live: live.until_us - live.from_us, default=NEVER)


def _moment(at_us: int) -> str:
    return f"{from_us(at_us):%Y-%m-%dT%H:%M:%SZ}"
