"""A small made-up lender in a data folder, told and decided as in the service, for reports to be checked."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec
from tests.acme import source, target
from tests.unit.report.kept import SECOND, Fate, Kept

from lendsignal.model import App, Event
from lendsignal.plan import Entry, Planned, PolicySource
from lendsignal.simulate import Parameters, World, events, make
from lendsignal.simulate.parameters import Period

ZONE = "Africa/Lagos"
PLATFORMS: tuple[tuple[str, Literal["android", "ios"]], ...] = (
    ("acme-android", "android"),
    ("acme-ios", "ios"),
)
APPS = {
    name: App(
        name=name,
        brand="acme",
        platform=platform,
        bundle=name,
        country="NG",
        currency="NGN",
        timezone=ZONE,
    )
    for name, platform in PLATFORMS
}
SEND = {"credit": "ev_c", "disbursement": "ev_d", "first_loan": "ev_fl", "repeat_loan": "ev_rl"}


def world(users: int = 400, days: int = 60, seed: int = 7) -> World:
    """The lender of this seed."""
    return make(Parameters(period=Period(start=date(2026, 3, 2), days=days, users=users)), seed)


def policy() -> PolicySource:
    """Each app's conversions go to its AppsFlyer account, disbursements with their fee as value."""
    targets = {one.name: one for one in (target(f"appsflyer-{app}", app) for app in APPS)}
    made = source(send=SEND, value={"disbursement": "fee"}, targets=targets)
    derive = msgspec.structs.replace(made.derive, apps=APPS, default_app={"acme": "acme-android"})
    return msgspec.structs.replace(made, derive=derive)


def told(one: World) -> Iterator[Event]:
    """Every event as it arrives."""
    for fields in events(one):
        yield msgspec.convert(fields, Event, strict=False)


def filled(
    path: Path, one: World, after_us: Callable[[int], int] = lambda name: name % 977 * 60 * SECOND
) -> Kept:
    """The lender's folder: everything decided, and every delivery accepted `after_us` after it was due."""
    kept = Kept(path, policy())
    kept.tell(*told(one))

    def fate(name: int, planned: Planned, entry: Entry) -> Fate:
        end = Fate("accepted", "confirmed")
        end.answered_us = planned.at_us + entry.settle_us + after_us(name)
        return end

    return kept.send(fate)
