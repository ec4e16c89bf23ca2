"""Events: what the lender's back end, or a phone, says happened."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lendsignal.model.contact import Contact
from lendsignal.model.device import Device


class EventType(StrEnum):
    """The types we know; any other snake_case name is a custom event."""

    REGISTERED = "registered"
    LOGGED_IN = "logged_in"
    APP_OPENED = "app_opened"
    APPLIED = "applied"
    REVIEW_STARTED = "review_started"
    REVIEW_ENDED = "review_ended"
    PHONE_CHECK_STARTED = "phone_check_started"
    PHONE_CHECK_ENDED = "phone_check_ended"
    CREDIT_GRANTED = "credit_granted"
    CREDIT_DENIED = "credit_denied"
    DISBURSED = "disbursed"
    DISBURSEMENT_REVERSED = "disbursement_reversed"
    LOAN_CANCELLED = "loan_cancelled"
    REPAID = "repaid"
    REPAYMENT_REVERSED = "repayment_reversed"
    EXTENDED = "extended"
    OVERDUE = "overdue"
    DEFAULTED = "defaulted"
    RECOVERED = "recovered"
    CONSENT_CHANGED = "consent_changed"
    POLICY_CHANGED = "lendsignal.policy_changed"
    PEN_EXPIRED = "lendsignal.pen_expired"
    TIERS_CUT = "lendsignal.tiers_cut"
    DECISION_DUE = "lendsignal.decision_due"
    VALUE_PROMOTED = "lendsignal.value_promoted"
    ERASED = "lendsignal.erased"


KEY_FIELD: Mapping[str, str] = {
    "applied": "application_id",
    "review_started": "application_id",
    "review_ended": "application_id",
    "phone_check_started": "application_id",
    "phone_check_ended": "application_id",
    "credit_granted": "grant_id",
    "credit_denied": "application_id",
    "disbursed": "loan_id",
    "disbursement_reversed": "loan_id",
    "loan_cancelled": "loan_id",
    "repaid": "payment_id",
    "repayment_reversed": "payment_id",
    "extended": "loan_id",
    "overdue": "loan_id",
    "defaulted": "loan_id",
    "recovered": "payment_id",
}
"""The field each type cannot do without: what the event is about."""

ONCE_PER_KEY = frozenset(
    "registered applied credit_granted credit_denied disbursed disbursement_reversed loan_cancelled "
    "repaid repayment_reversed defaulted recovered".split()
)
"""Types that happen once for their key: a second one is a duplicate, a conflict or a revision."""

TOUCH_TYPES = frozenset(("registered", "logged_in", "app_opened"))
"""The types that may show the user's own phone."""


Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.]{0,63}$")]
"""A snake_case name."""

Key = Annotated[str, Meta(min_length=1, max_length=128)]
"""An id of the lender's."""

Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number of 64 bits: what the log can keep."""

Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
"""An ISO 4217 code."""


class Instalment(Struct, frozen=True, kw_only=True, gc=False):
    """One payment of the schedule: the local day it is due and its amount in the loan's currency."""

    due_date: date
    amount: Decimal


class Consent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the user allows. `None` means not asked; the app's country default then applies."""

    ad_user_data: bool | None = None
    ad_personalization: bool | None = None
    gdpr_applies: bool | None = None


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One event as it stands in the log. Times are aware, in UTC.

    `occurred_at`: when it happened, by the sender's clock, corrected at the door.
    `received_at`: when it reached the door. `revision`: a higher one of the same key supersedes.
    `history`: imported past, which fills state and reports and sends nothing.
    `flags`: what the door noticed (`clock_ahead`, `unusable_phone`, …).
    Amounts are in major units of `currency`; `dpd` is days past due, 0 on the due date.
    """

    type: Word
    brand: Key
    user_id: Key
    event_id: Key
    occurred_at: datetime
    received_at: datetime
    source: str = ""
    app: str | None = None
    person_id: Key | None = None
    actor: Literal["user", "agent", "system"] = "user"
    purpose: Literal["optimisation", "analytics"] = "optimisation"
    time_precision: Literal["instant", "day"] = "instant"
    revision: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    test: bool = False
    history: bool = False
    flags: tuple[str, ...] = ()
    application_id: Key | None = None
    grant_id: Key | None = None
    loan_id: Key | None = None
    payment_id: Key | None = None
    loan_number: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    product: Key | None = None
    amount: Decimal | None = None
    currency: Currency | None = None
    fee: Decimal | None = None
    principal: Decimal | None = None
    limit: Decimal | None = None
    term_days: Annotated[int, Meta(ge=0, le=36_500)] | None = None
    schedule: Annotated[tuple[Instalment, ...], Meta(max_length=400)] = ()
    due_date: date | None = None
    outstanding: Decimal | None = None
    closes_loan: bool | None = None
    dpd: Annotated[int, Meta(ge=-36_500, le=36_500)] | None = None
    score: float | None = None
    score_version: Key | None = None
    amount_estimated: bool = False
    consent: Consent | None = None
    contact: Contact | None = None
    device: Device | None = None
    properties: Annotated[
        dict[Key, Annotated[str, Meta(max_length=1024)] | Whole | float | bool | None], Meta(max_length=100)
    ] = {}


def key_of(event: Event) -> str | None:
    """The business key the event is about, or `None` for types without one."""
    if event.type == "registered":
        return event.user_id
    field = KEY_FIELD.get(event.type)
    return None if field is None else getattr(event, field)


def is_touch(event: Event) -> bool:
    """True where the event shows the user's own phone: an agent's or a system's login never does."""
    return event.type in TOUCH_TYPES and event.actor == "user" and event.device is not None


def person_key(event: Event) -> str:
    """Whose state the event belongs to: `brand:user_id`."""
    return f"{event.brand}:{event.user_id}"
