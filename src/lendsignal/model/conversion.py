"""Conversions: what an event means for optimisation; and deliveries: one conversion for one destination."""

from datetime import datetime
from hashlib import blake2b

from msgspec import Struct

from lendsignal.model.app import App
from lendsignal.model.contact import Contact
from lendsignal.model.device import Device
from lendsignal.model.event import Consent
from lendsignal.model.money import Money


class Conversion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something worth telling a platform, derived from one event.

    `id` is a hash of what it is, so a retry, a replay or a second server makes the same id.
    `certain` is false where the history does not tell whether a first really is the first.
    `amount` is the principal or the payment, `fee` what the lender earns on it.
    """

    id: str
    name: str
    brand: str
    user_id: str
    event_id: str
    event_type: str
    occurred_at: datetime
    received_at: datetime
    binds_at: datetime
    app: str | None = None
    day_precision: bool = False
    loan_id: str | None = None
    payment_id: str | None = None
    loan_number: int | None = None
    amount: Money | None = None
    fee: Money | None = None
    predicted: bool = False
    certain: bool = True
    test: bool = False
    history: bool = False
    tier_version: str | None = None


class Delivery(Struct, frozen=True, kw_only=True):
    """One conversion on its way to one destination: all that a destination's `encode` may look at.

    `id` is the conversion's id; `name` and `value` are those of the route, frozen when it was planned;
    `device` is one login snapshot, frozen at the first claim. Only what the firewall allows is here.
    """

    id: str
    name: str
    occurred_at: datetime
    user_id: str
    app: App
    device: Device
    value: Money | None = None
    contact: Contact | None = None
    consent: Consent | None = None


def conversion_id(portfolio: str, person: str, about: str, name: str) -> str:
    """32 hex digits that any server derives alike from what the conversion is about."""
    text = "\x1f".join((portfolio, person, about, name))
    return blake2b(text.encode(), digest_size=16).hexdigest()
