"""What an expression may ask of an event, its user and the device: a table, and nothing beside it.

The tables are part of what a rule means. Names are only ever added to them; where one had to change its
meaning, `VERSION` would rise and the old meaning stay for rules that were written before.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from lendsignal.derive.ledger import Ledger, Loan
from lendsignal.model import Event
from lendsignal.resolve import Snapshot

VERSION = 1
"""Of the tables below."""

Kind: TypeAlias = Literal["bool", "int", "double", "string", "list", "map", "any"]
"""What a value is, in the words of CEL; `any` is only known when it is looked at."""


class Fact(Struct, frozen=True):
    """One thing that can be asked: what kind it is, what it means, and how it is found out.

    `of` gives `None` where it is not there.
    """

    kind: Kind
    meaning: str
    of: Callable[[Any], Any]


class Facts:
    """What is known when an event is decided. The device is looked up where a rule asks for it."""

    __slots__ = ("_snapshot", "_snapshot_of", "event", "user")

    def __init__(self, event: Event, user: Ledger, snapshot_of: Callable[[], Snapshot | None]) -> None:
        self.event = event
        self.user = user
        self._snapshot_of = snapshot_of
        self._snapshot: tuple[Snapshot | None] | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        """The installation of the last login by the event; `None` where there was no login."""
        if self._snapshot is None:
            self._snapshot = (self._snapshot_of(),)
        return self._snapshot[0]


def _count(counts: Callable[[Loan], bool]) -> Callable[[Ledger], int]:
    return lambda ledger: sum(1 for loan in ledger.loans.values() if counts(loan))


def _stands(loan: Loan) -> bool:
    return not loan.reversed


def _reversed(loan: Loan) -> bool:
    return loan.reversed


def _open(loan: Loan) -> bool:
    return not loan.reversed and not loan.closed


def _closed(loan: Loan) -> bool:
    return loan.closed and not loan.reversed


def _late(loan: Loan) -> bool:
    return loan.late and not loan.reversed


def _defaulted(ledger: Ledger) -> bool:
    return any(mark.startswith("default:") for mark in ledger.fired)


def _money(field: str) -> Callable[[Event], float | None]:
    get = attrgetter(field)

    def found(event: Event) -> float | None:
        amount = get(event)
        return None if amount is None else float(amount)

    return found


def _plain(kind: Kind, meaning: str, field: str) -> Fact:
    return Fact(kind, meaning, attrgetter(field))


EVENT: Mapping[str, Fact] = {
    "type": _plain("string", "the event's type, such as `repaid`", "type"),
    "brand": _plain("string", "the brand", "brand"),
    "user_id": _plain("string", "the lender's id of the user within the brand", "user_id"),
    "app": _plain("string", "the app, where the event names one", "app"),
    "actor": _plain("string", "`user`, `agent` or `system`", "actor"),
    "source": _plain("string", "the source that sent the event", "source"),
    "purpose": _plain("string", "`optimisation` or `analytics`", "purpose"),
    "test": _plain("bool", "whether the event is marked as a test", "test"),
    "history": _plain("bool", "whether it is imported past", "history"),
    "revision": _plain("int", "a higher one corrects a lower one of the same key", "revision"),
    "product": _plain("string", "the lender's product", "product"),
    "loan_number": _plain("int", "1 for the user's first loan", "loan_number"),
    "amount": Fact("double", "the money paid out or paid, in major units of `currency`", _money("amount")),
    "currency": _plain("string", "ISO 4217 code of the amounts", "currency"),
    "fee": Fact("double", "what the lender earns, in major units", _money("fee")),
    "principal": Fact("double", "the part of a payment that is principal", _money("principal")),
    "limit": Fact("double", "the limit that was granted", _money("limit")),
    "outstanding": Fact("double", "what is left to pay", _money("outstanding")),
    "term_days": _plain("int", "the loan's term in days", "term_days"),
    "closes_loan": _plain("bool", "whether the payment closes the loan", "closes_loan"),
    "dpd": _plain("int", "days past due, 0 on the due date", "dpd"),
    "score": _plain("double", "the lender's score", "score"),
    "score_version": _plain("string", "the model that gave it", "score_version"),
    "properties": _plain("map", "the lender's own fields: `event.properties.NAME`", "properties"),
}
"""What can be asked of the event itself: `event.NAME`."""

USER: Mapping[str, Fact] = {
    "known_from_start": _plain("bool", "whether the user was seen from registration on", "whole"),
    "loans": Fact("int", "loans heard of and not reversed", _count(_stands)),
    "open_loans": Fact("int", "of these, those not yet closed", _count(_open)),
    "closed_loans": Fact("int", "loans paid back whole", _count(_closed)),
    "late_loans": Fact("int", "loans that were ever past due", _count(_late)),
    "reversed_loans": Fact("int", "loans cancelled or taken back", _count(_reversed)),
    "defaulted": Fact("bool", "whether any loan ever defaulted", _defaulted),
}
"""What can be asked of the user, the event itself included: `user.NAME`."""

SNAPSHOT: Mapping[str, Fact] = {
    "app": _plain("string", "the app of the login", "app"),
    "os": _plain("string", "the operating system", "device.os"),
    "os_version": _plain("string", "its version", "device.os_version"),
    "model": _plain("string", "the phone's model", "device.model"),
    "locale": _plain("string", "its language and region", "device.locale"),
    "timezone": _plain("string", "its time zone", "device.timezone"),
    "carrier": _plain("string", "the mobile network", "device.carrier"),
    "app_version": _plain("string", "the app's version", "device.app_version"),
    "screen_width": _plain("int", "in pixels", "device.screen_width"),
    "screen_height": _plain("int", "in pixels", "device.screen_height"),
    "cpu_cores": _plain("int", "processor cores", "device.cpu_cores"),
    "storage_gb": _plain("int", "storage in GB", "device.storage_gb"),
    "att_status": _plain("int", "iOS: 0 not asked, 1 restricted, 2 denied, 3 allowed", "device.att_status"),
    "limit_ad_tracking": _plain("bool", "whether ad tracking is switched off", "device.limit_ad_tracking"),
    "emulator": _plain("bool", "whether the app says that it runs in an emulator", "device.emulator"),
}
"""What can be asked of the phone of the last login by the event: `snapshot.NAME`."""

TABLES: Mapping[str, Mapping[str, Fact]] = {"event": EVENT, "user": USER, "snapshot": SNAPSHOT}
