"""A lender whose every day is like the one before, event by event, and what is to come of each."""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from lendsignal.bench.made_up import scattered
from lendsignal.model.conversion import conversion_id

CYCLE = 8
"""Events after which it begins anew: one user more, two loans, and everything around them."""

AGAIN_AFTER = 20
"""Cycles after which a loan is told once more, to the byte, as a back end does that is not sure."""

NEW_PHONE_EVERY = 16
"""Of so many logins one is on a phone that the user did not have before."""


class Due(Struct, frozen=True):
    """A conversion that an event makes: its id, and the names of the destinations that are to get it."""

    id: str
    to: tuple[str, ...]


class Traffic:
    """The lender's events by number, in order. The same number makes the same event but for its time."""

    def __init__(self, routes: Mapping[str, tuple[str, ...]]) -> None:
        self._routes = routes
        self._loans: deque[dict[str, Any]] = deque(maxlen=AGAIN_AFTER)

    def event(self, number: int, at: datetime) -> dict[str, Any]:
        """The event of this number, happening at this moment. To be asked for in order."""
        cycle, step = divmod(number, CYCLE)
        if step == 7 and len(self._loans) == AGAIN_AFTER:
            return self._loans[0]
        kind, user, about = _told(cycle, step)
        event: dict[str, Any] = {
            "type": kind,
            "brand": "acme",
            "user_id": f"u{user}",
            "event_id": f"e{number}",
            "occurred_at": at.isoformat(),
            **about,
        }
        if step == 4:
            self._loans.append(event)
        return event

    def due(self, number: int) -> Due | None:
        """What the event of this number is to become; `None` where it makes nothing that is sent."""
        cycle, step = divmod(number, CYCLE)
        kind, user, about = _told(cycle, step)
        name, key = CONVERSIONS.get(kind, ("", ""))
        if not name or step == 7:
            return None
        what = f"u{user}" if key == "user_id" else str(about[key])
        return Due(conversion_id("acme", f"acme:u{user}", what, name), self._routes[name])


CONVERSIONS = {
    "registered": ("registration", "user_id"),
    "applied": ("application", "application_id"),
    "credit_granted": ("credit", "grant_id"),
    "disbursed": ("disbursement", "loan_id"),
}
"""For each type of event the conversion that is sent of it, and the field that it is about."""


def _told(cycle: int, step: int) -> tuple[str, int, dict[str, Any]]:
    """Type, user and own fields of an event."""
    borrower, other = scattered(cycle, cycle + 1), scattered(7 * cycle + 3, cycle + 1)
    match step:
        case 0:
            return "registered", cycle, _on_a_phone(cycle, 0)
        case 2:
            asked = {"application_id": f"A{cycle}", "amount": "30000", "currency": "NGN"}
            return "applied", borrower, asked
        case 3:
            granted = {"application_id": f"A{cycle}", "grant_id": f"G{cycle}", "limit": "40000"}
            return "credit_granted", borrower, {**granted, "currency": "NGN", "score": 640 + cycle % 97}
        case 4:
            return "disbursed", borrower, _loan(f"L{cycle}")
        case 5 if cycle >= AGAIN_AFTER:
            loan = cycle - AGAIN_AFTER
            paid = {"payment_id": f"P{loan}", "loan_id": f"L{loan}", "amount": "27000", "currency": "NGN"}
            return "repaid", scattered(loan, loan + 1), {**paid, "closes_loan": True}
        case 6:
            return "disbursed", other, _loan(f"M{cycle}")
        case _:
            return "logged_in", other, _on_a_phone(other, int(cycle % NEW_PHONE_EVERY == 0))


def _loan(loan_id: str) -> dict[str, Any]:
    return {"loan_id": loan_id, "amount": "25000", "fee": "1500", "currency": "NGN", "term_days": 30}


def _on_a_phone(user: int, phone: int) -> dict[str, Any]:
    number = 2 * user + phone + 1  # an id of zeros names nobody
    return {
        "app": "acme-ng",
        "device": {
            "os_version": "13",
            "ip": "102.89.23.41",
            "user_agent": "Dalvik/2.1.0 (Linux; U; Android 13; SM-A145F Build/TP1A.220624.014)",
            "appsflyer_id": f"{1_700_000_000_000 + number}-{1_000_000 + number}",
            "firebase_app_instance_id": f"{number:032x}",
            "gaid": f"{number:08x}-0000-4000-8000-{number:012x}",
        },
    }


def every_due(traffic: Traffic, events: int) -> Iterator[tuple[int, Due]]:
    """What the first so many events are to become, each with the number of its event."""
    for number in range(events):
        due = traffic.due(number)
        if due is not None:
            yield number, due
