"""Conversions: what an event means for optimisation; and deliveries: one conversion for one destination."""

from datetime import datetime
from hashlib import blake2b

from msgspec import Struct

from lendsignal.model.app import App
from lendsignal.model.contact import Contact
from lendsignal.model.device import Device
from lendsignal.model.event import Consent
from lendsignal.model.moment import from_us
from lendsignal.model.money import Money


class Valued(Struct, frozen=True, array_like=True, gc=False):
    """What a model in force says of a user, and what is told of it, in major units of `currency`.

    `model` is the promotion's version, `facts` a hash of what was known. `estimate` is the value itself,
    `place` its bin (-1: nothing is told), `told` that bin's mean, which was multiplied by `scale`. `low` is
    the cautious value beside it, 0 where there is none to tell; `None`: the model has none.
    """

    model: str
    facts: str
    currency: str
    estimate: float
    place: int
    told: float
    scale: float
    low: float | None = None


class Origin(Struct, frozen=True, array_like=True, gc=False):
    """What an event gives to every conversion that is derived from it. Times are microseconds since 1970.

    `occurred_us` is what platforms are told, `binds_us` the moment whose device counts: they are apart
    where only the day is known. `amount` is the principal or the payment, `fee` what the lender earns on it,
    `predicted` what the model in force, else the lender's own, says of the user; `valued` how it came to be.
    """

    brand: str
    user_id: str
    event_id: str
    event_type: str
    occurred_us: int
    received_us: int
    binds_us: int
    app: str | None = None
    day_precision: bool = False
    loan_id: str | None = None
    payment_id: str | None = None
    loan_number: int | None = None
    amount: Money | None = None
    fee: Money | None = None
    test: bool = False
    predicted: Money | None = None
    valued: Valued | None = None


class Conversion(Struct, frozen=True, array_like=True, gc=False):
    """Something worth telling a platform, derived from one event.

    `id` is a hash of what it is, so a retry, a replay or a second server makes the same id.
    `certain` is false where the history does not tell whether a first really is the first.
    `origin` is shared by the conversions of one event; its facts can be asked of each of them.
    `value` is what a conversion of the lender's own is worth by its own rule.
    """

    id: str
    name: str
    origin: Origin
    certain: bool = True
    history: bool = False
    predicted: bool = False
    tier_version: str | None = None
    value: Money | None = None

    @property
    def brand(self) -> str:
        return self.origin.brand

    @property
    def user_id(self) -> str:
        return self.origin.user_id

    @property
    def event_id(self) -> str:
        return self.origin.event_id

    @property
    def event_type(self) -> str:
        return self.origin.event_type

    @property
    def occurred_at(self) -> datetime:
        return from_us(self.origin.occurred_us)

    @property
    def received_at(self) -> datetime:
        return from_us(self.origin.received_us)

    @property
    def binds_at(self) -> datetime:
        return from_us(self.origin.binds_us)

    @property
    def app(self) -> str | None:
        return self.origin.app

    @property
    def day_precision(self) -> bool:
        return self.origin.day_precision

    @property
    def loan_id(self) -> str | None:
        return self.origin.loan_id

    @property
    def payment_id(self) -> str | None:
        return self.origin.payment_id

    @property
    def loan_number(self) -> int | None:
        return self.origin.loan_number

    @property
    def amount(self) -> Money | None:
        return self.origin.amount

    @property
    def fee(self) -> Money | None:
        return self.origin.fee

    @property
    def test(self) -> bool:
        return self.origin.test


class Delivery(Struct, frozen=True, kw_only=True):
    """One conversion on its way to one destination: all that a destination's `encode` may look at.

    `id` is the conversion's id; `name` and `value` are those of the route, frozen when it was planned;
    `device` is one login snapshot, frozen at the first claim, `seen_us` when that login was (microseconds
    since 1970; `None`: not known). Only what the firewall allows is here.

    `corrected_at` is set where this corrects what the platform was told before under the same id: when that
    was found out. `value` is then the new one, and without one the conversion is taken back.
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
    seen_us: int | None = None
    corrected_at: datetime | None = None


def conversion_id(portfolio: str, person: str, about: str, name: str) -> str:
    """32 hex digits that any server derives alike from what the conversion is about."""
    text = "\x1f".join((portfolio, person, about, name))
    return blake2b(text.encode(), digest_size=16).hexdigest()
