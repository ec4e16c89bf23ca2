"""A made-up lender for tests: the brand acme with an Android and an iOS app, and short words for its events.

Times are minutes after `T0`. Every field that is filled in has a value of its own, so that a swap shows.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from lendsignal.derive import DerivePolicy, Tiers
from lendsignal.model import App, Consent, Device, Event
from lendsignal.plan import (
    Decision,
    Planned,
    Policy,
    PolicySource,
    Rebound,
    Record,
    RouteSettings,
    Target,
    Timer,
    UserState,
    Verdict,
    Withdrawn,
    compile_policy,
    decide,
    reopened,
)
from lendsignal.resolve import ResolveSettings

T0 = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
HOUR, DAY = 60, 24 * 60

ANDROID = App(
    name="acme-ng",
    brand="acme",
    platform="android",
    bundle="com.acme.loans",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)
IOS = App(
    name="acme-ios",
    brand="acme",
    platform="ios",
    bundle="id123456789",
    bundle_id="com.acme.ios",
    country="PH",
    currency="PHP",
    timezone="Asia/Manila",
)
APPS = {app.name: app for app in (ANDROID, IOS)}


def moment(minutes: float) -> datetime:
    """So many minutes after `T0`."""
    return T0 + timedelta(minutes=minutes)


def us(minutes: float) -> int:
    """The same as microseconds since 1970."""
    return round(moment(minutes).timestamp()) * 1_000_000


def event(kind: str, minutes: float, *, arrives: float | None = None, **fields: Any) -> Event:
    """An event of the user `u1` that arrives when it happens, unless `arrives` says otherwise."""
    known = {
        "type": kind,
        "brand": "acme",
        "user_id": "u1",
        "event_id": f"{kind}@{minutes}",
        "occurred_at": moment(minutes),
        "received_at": moment(minutes if arrives is None else arrives),
    }
    return Event(**{**known, **fields})


def phone(name: str, **fields: Any) -> Device:
    """The installation of that name on the phone of that name: every id is its own."""
    ids = {"appsflyer_id": f"af-{name}", "firebase_app_instance_id": f"fb-{name}", "gaid": f"gaid-{name}"}
    return Device(**{**ids, **fields})


def login(minutes: float, device: Device | str, *, app: str = "acme-ng", **fields: Any) -> Event:
    """The user logs in on a phone."""
    shown = phone(device) if isinstance(device, str) else device
    return event("logged_in", minutes, app=app, device=shown, **fields)


def loan(minutes: float, name: str = "L1", **fields: Any) -> Event:
    """Money is paid out."""
    known = {"loan_id": name, "amount": Decimal("25000"), "fee": Decimal("1500"), "currency": "NGN"}
    return event("disbursed", minutes, **{"event_id": f"disbursed-{name}", **known, **fields})


def consent_of(minutes: float, allowed: bool | None, **fields: Any) -> Event:
    """The user allows, or forbids, that data goes to ad platforms; `None`: says nothing of it."""
    return event("consent_changed", minutes, consent=Consent(ad_user_data=allowed), **fields)


def target(name: str, app: str, **fields: Any) -> Target:
    """A destination as planning sees it; its kind is the first part of its name."""
    return Target(**{"name": name, "kind": name.partition("-")[0], "app": app, "account": name, **fields})


SEND = {
    name: f"ev_{name}"
    for name in (
        "registration application first_application credit first_credit disbursement first_loan repeat_loan "
        "repayment loan_closed repaid_on_time default credit_top20 credit_top30 credit_top50 credit_top70"
    ).split()
}
TARGETS = {one.name: one for one in (target("appsflyer-ng", "acme-ng"), target("appsflyer-ios", "acme-ios"))}


def source(
    *,
    tiers: Tiers | None = None,
    resolve: ResolveSettings | None = None,
    send: Mapping[str, str] = SEND,
    value: Mapping[str, Any] | None = None,
    targets: Mapping[str, Target] = TARGETS,
    consent_default: Mapping[str, bool] | None = None,
    default_dpd: int = 60,
) -> PolicySource:
    """A policy with a route of every conversion to each of the targets."""
    return PolicySource(
        derive=DerivePolicy(
            portfolio="acme-group",
            apps=APPS,
            default_app={"acme": "acme-ng"},
            tiers=tiers or Tiers(),
            default_dpd=default_dpd,
        ),
        resolve=resolve or ResolveSettings(),
        routes=tuple(RouteSettings(to=name, send=dict(send), value=dict(value or {})) for name in targets),
        targets=targets,
        consent_default=consent_default or {},
    )


POLICY = compile_policy(source())


class Told:
    """A user's state after some events, and everything that was decided on the way."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.state = UserState("acme:u1")
        self.sequence = 0
        self.verdicts: list[Verdict] = []
        self.records: dict[int, Record] = {}
        self.timers: list[Timer] = []

    def tell(self, *events: Event) -> "Told":
        """Decides more events, one by one."""
        for one in events:
            self.sequence += 1
            decision = self._decision(one)
            self.state = decision.state
            self.verdicts.append(decision.verdict)
            self.records |= dict(decision.records)
            self.timers += decision.timers
        return self

    def _decision(self, one: Event) -> Decision:
        wanted = reopened(self.state, one)
        opened = {n: found for n in wanted if isinstance(found := self.records[n], Planned)}
        return decide(self.state, self.sequence, one, self.policy, opened)

    def planned(self, name: str | None = None) -> list[Planned]:
        """The conversions that were planned, or those of one name."""
        found = (record for record in self.records.values() if isinstance(record, Planned))
        return [record for record in found if name in (None, record.conversion.name)]

    def names(self) -> list[str]:
        """Their names, in the order they were planned."""
        return [record.conversion.name for record in self.planned()]

    def rebound(self) -> list[Rebound]:
        """The conversions that moved to another device."""
        return [record for record in self.records.values() if isinstance(record, Rebound)]

    def withdrawn(self) -> list[Withdrawn]:
        """What was taken back."""
        return [record for record in self.records.values() if isinstance(record, Withdrawn)]

    def device(self, name: str) -> str | None:
        """The AppsFlyer id that the one conversion of that name is bound to, late touches included."""
        (record,) = self.planned(name)
        moved = [one for one in self.rebound() if one.conversion.id == record.conversion.id]
        binding = moved[-1].binding if moved else record.binding
        return None if binding is None else binding.snapshot.device.appsflyer_id


def told(*events: Event, policy: Policy = POLICY) -> Told:
    """What comes of these events, in the order they arrive."""
    return Told(policy).tell(*events)


def expired(penned: Iterable[Timer], person: str = "acme:u1") -> list[Event]:
    """The events that these timers put into the log when their moment comes."""
    brand, _, user_id = person.partition(":")
    base = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        Event(
            type="lendsignal.pen_expired",
            brand=brand,
            user_id=user_id,
            event_id=f"pen-{timer.conversion}",
            occurred_at=base + timedelta(microseconds=timer.due_us),
            received_at=base + timedelta(microseconds=timer.due_us),
            actor="system",
        )
        for timer in penned
    ]


def again(one: Event, **changes: Any) -> Event:
    """The same event with some fields changed."""
    return msgspec.structs.replace(one, **changes)
