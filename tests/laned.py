"""Acme as a platform that needs order within a lane, or that tells its verdict later."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tests.acme import T0, loan, login
from tests.desk import AcmeSettings, Desk, acme, classify, encode
from tests.scripted import Came, Platform

from lendsignal.deliver import Outlet
from lendsignal.destination.spec import Item, Request
from lendsignal.log import Open
from lendsignal.model import Delivery, Event, IdKind, Skip, id_of

ASKED = "/v1/verdicts"
"""Where a verdict is asked for."""


def lane(delivery: Delivery, settings: AcmeSettings) -> str | None:
    """Deliveries of one installation go one after the other; an installation named `free` needs no order."""
    name = id_of(delivery.device, IdKind.APPSFLYER_ID)
    return None if name == "af-free" else name


def dated(delivery: Delivery, settings: AcmeSettings) -> Item | Skip:
    """Acme's event object with its moment: seconds after `T0`."""
    item = encode(delivery, settings)
    return item if isinstance(item, Skip) else {**item, "at": (delivery.occurred_at - T0).total_seconds()}


def ask(handle: str, settings: AcmeSettings) -> Request:
    """The question for a verdict."""
    return Request(method="POST", url=f"https://api.acme.example{ASKED}", json={"handle": handle})


def laned(name: str = "acme-ng", *, facts: Mapping[str, Any] | None = None, **common: Any) -> Outlet:
    """Acme with lanes: one event a request, unless `facts` say otherwise."""
    return acme(name, facts={"batch": 1, **(facts or {})}, parts={"lane": lane, "encode": dated}, **common)


def later(name: str = "acme-ng", *, facts: Mapping[str, Any] | None = None, **common: Any) -> Outlet:
    """Acme that is asked for its verdict half a minute after a `pending` answer, for a day."""
    known = {"verdict_after": timedelta(seconds=30), "verdict_within": timedelta(hours=24), **(facts or {})}
    return acme(name, facts=known, parts={"ask": ask, "verdict": classify}, **common)


def user_with_loans(name: str, *minutes: float, arrives: float | None = None) -> list[Event]:
    """A user logs in on a phone named like him and gets a loan at each of these minutes."""
    return [
        login(-60, name, user_id=name, event_id=f"in-{name}"),
        *(a_loan(name, minute, arrives=arrives) for minute in minutes),
    ]


def a_loan(name: str, minute: float, *, arrives: float | None = None) -> Event:
    """One more loan of a user."""
    return loan(minute, f"L-{name}-{minute}", user_id=name, event_id=f"out-{name}-{minute}", arrives=arrives)


def rows_in(came: Came) -> Sequence[Mapping[str, Any]]:
    """The events of one request, none where it asks for a verdict."""
    return () if came.target.endswith(ASKED) else json.loads(came.body)["events"]


def sent(played: Platform) -> list[tuple[str, float]]:
    """(user, minute) of all events that came, in the order in which they came."""
    return [(row["user"], row["at"] / 60) for came in played.came for row in rows_in(came)]


def minutes_of(played: Platform, user: str) -> list[float]:
    """The minutes of one user's events, in the order in which they came."""
    return [minute for one, minute in sent(played) if one == user]


def users_in(came: Came) -> list[str]:
    """The users in one request."""
    return [row["user"] for row in rows_in(came)]


def all_users(played: Platform) -> list[str]:
    """The users of all events that came."""
    return [user for came in played.came for user in users_in(came)]


def ids_in(came: Came) -> list[str]:
    """The conversion ids in one request."""
    return [row["id"] for row in rows_in(came)]


def handles(played: Platform) -> list[str]:
    """What verdicts were asked for, in order."""
    return [json.loads(came.body)["handle"] for came in played.came if came.target.endswith(ASKED)]


def the(desk: Desk, destination: str = "acme-ng") -> Open:
    """The one delivery that is open."""
    (one,) = desk.open(destination)
    return one
