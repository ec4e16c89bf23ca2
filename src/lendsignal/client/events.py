"""A typed method for each type of event, and what makes of its arguments the JSON that the door takes."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

import msgspec

from lendsignal.errors import InputError
from lendsignal.model import Consent, Device, Instalment

R = TypeVar("R")

Property = str | int | float | bool | None

AMOUNTS = ("amount", "fee", "principal", "limit", "outstanding")

_json = msgspec.json.Encoder(decimal_format="string").encode


class Common(TypedDict, total=False):
    """What every event may carry beside its own arguments.

    `event_id`: yours, the same whenever you send the event again; made at the call where absent.
    `brand`, `app`: in place of the client's own. `email` and `phone` (international, with a leading +)
    are hashed by the service; until then they stand in the spool as given.
    `durable`: false returns before the event is on disk.
    """

    event_id: str
    brand: str
    app: str
    person_id: str
    actor: Literal["user", "agent", "system"]
    purpose: Literal["optimisation", "analytics"]
    time_precision: Literal["instant", "day"]
    revision: int
    test: bool
    product: str
    email: str
    phone: str
    consent: Consent | Mapping[str, bool]
    device: Device | Mapping[str, Any]
    sent_at: datetime
    properties: Mapping[str, Property]
    durable: bool


class Made(msgspec.Struct, frozen=True, gc=False):
    """One event as it goes into the spool."""

    event_id: str
    body: bytes
    durable: bool


class Calls(ABC, Generic[R]):
    """The methods of both clients; `R` is what a call gives: an event id, or one to be awaited.

    Times are aware `datetime`s, amounts `Decimal` or whole numbers in major units beside an ISO 4217
    currency. Every call raises `InputError` where an argument could never be taken, `SpoolFull` where
    too many events wait, and `NotKept` where the disk does not take it.
    """

    @abstractmethod
    def _take(self, kind: str, user_id: str, occurred_at: datetime, more: Common, **fields: Any) -> R:
        """Keeps one event."""

    # the user's own phone

    def registered(self, *, user_id: str, occurred_at: datetime, **more: Unpack[Common]) -> R:
        """The user made an account, on the phone that `device` shows."""
        return self._take("registered", user_id, occurred_at, more)

    def logged_in(self, *, user_id: str, occurred_at: datetime, **more: Unpack[Common]) -> R:
        """The user logged in on the phone that `device` shows: later events belong to it."""
        return self._take("logged_in", user_id, occurred_at, more)

    def app_opened(self, *, user_id: str, occurred_at: datetime, **more: Unpack[Common]) -> R:
        """The user opened the app, logged in, on the phone that `device` shows."""
        return self._take("app_opened", user_id, occurred_at, more)

    # the application

    def applied(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        application_id: str,
        amount: Decimal | int | None = None,
        currency: str | None = None,
        term_days: int | None = None,
        **more: Unpack[Common],
    ) -> R:
        """An application for a loan or a limit."""
        return self._take(
            "applied",
            user_id,
            occurred_at,
            more,
            application_id=application_id,
            amount=amount,
            currency=currency,
            term_days=term_days,
        )

    def review_started(
        self, *, user_id: str, occurred_at: datetime, application_id: str, **more: Unpack[Common]
    ) -> R:
        """A person began to look at the application."""
        return self._take("review_started", user_id, occurred_at, more, application_id=application_id)

    def review_ended(
        self, *, user_id: str, occurred_at: datetime, application_id: str, **more: Unpack[Common]
    ) -> R:
        """That person is done with it."""
        return self._take("review_ended", user_id, occurred_at, more, application_id=application_id)

    def phone_check_started(
        self, *, user_id: str, occurred_at: datetime, application_id: str, **more: Unpack[Common]
    ) -> R:
        """Somebody calls the user about the application."""
        return self._take("phone_check_started", user_id, occurred_at, more, application_id=application_id)

    def phone_check_ended(
        self, *, user_id: str, occurred_at: datetime, application_id: str, **more: Unpack[Common]
    ) -> R:
        """The calls are over."""
        return self._take("phone_check_ended", user_id, occurred_at, more, application_id=application_id)

    def credit_granted(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        grant_id: str,
        application_id: str | None = None,
        score: float | None = None,
        score_version: str | None = None,
        limit: Decimal | int | None = None,
        currency: str | None = None,
        **more: Unpack[Common],
    ) -> R:
        """Approved, with the score at that moment and the limit."""
        return self._take(
            "credit_granted",
            user_id,
            occurred_at,
            more,
            grant_id=grant_id,
            application_id=application_id,
            score=score,
            score_version=score_version,
            limit=limit,
            currency=currency,
        )

    def credit_denied(
        self, *, user_id: str, occurred_at: datetime, application_id: str, **more: Unpack[Common]
    ) -> R:
        """Not approved."""
        return self._take("credit_denied", user_id, occurred_at, more, application_id=application_id)

    # the loan

    def disbursed(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        loan_id: str,
        amount: Decimal | int,
        currency: str,
        fee: Decimal | int | None = None,
        loan_number: int | None = None,
        term_days: int | None = None,
        due_date: date | None = None,
        schedule: Sequence[Instalment] = (),
        grant_id: str | None = None,
        application_id: str | None = None,
        **more: Unpack[Common],
    ) -> R:
        """Money was paid out. `loan_number` is 1 for the user's first loan; `fee` is what you earn on it."""
        return self._take(
            "disbursed",
            user_id,
            occurred_at,
            more,
            loan_id=loan_id,
            amount=amount,
            currency=currency,
            fee=fee,
            loan_number=loan_number,
            term_days=term_days,
            due_date=due_date,
            schedule=tuple(schedule) or None,
            grant_id=grant_id,
            application_id=application_id,
        )

    def disbursement_reversed(
        self, *, user_id: str, occurred_at: datetime, loan_id: str, **more: Unpack[Common]
    ) -> R:
        """The payout came back."""
        return self._take("disbursement_reversed", user_id, occurred_at, more, loan_id=loan_id)

    def loan_cancelled(
        self, *, user_id: str, occurred_at: datetime, loan_id: str, **more: Unpack[Common]
    ) -> R:
        """The loan was undone."""
        return self._take("loan_cancelled", user_id, occurred_at, more, loan_id=loan_id)

    def extended(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        loan_id: str,
        due_date: date | None = None,
        fee: Decimal | int | None = None,
        currency: str | None = None,
        **more: Unpack[Common],
    ) -> R:
        """A later due date was bought or granted: no repayment."""
        return self._take(
            "extended",
            user_id,
            occurred_at,
            more,
            loan_id=loan_id,
            due_date=due_date,
            fee=fee,
            currency=currency,
        )

    def overdue(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        loan_id: str,
        dpd: int,
        outstanding: Decimal | int | None = None,
        currency: str | None = None,
        **more: Unpack[Common],
    ) -> R:
        """So many days past due (`dpd`, 0 on the due date), told each day or at steps."""
        return self._take(
            "overdue",
            user_id,
            occurred_at,
            more,
            loan_id=loan_id,
            dpd=dpd,
            outstanding=outstanding,
            currency=currency,
        )

    def defaulted(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        loan_id: str,
        dpd: int | None = None,
        outstanding: Decimal | int | None = None,
        currency: str | None = None,
        **more: Unpack[Common],
    ) -> R:
        """You call the loan lost."""
        return self._take(
            "defaulted",
            user_id,
            occurred_at,
            more,
            loan_id=loan_id,
            dpd=dpd,
            outstanding=outstanding,
            currency=currency,
        )

    # payments

    def repaid(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        payment_id: str,
        amount: Decimal | int,
        currency: str,
        loan_id: str | None = None,
        principal: Decimal | int | None = None,
        fee: Decimal | int | None = None,
        outstanding: Decimal | int | None = None,
        due_date: date | None = None,
        closes_loan: bool | None = None,
        **more: Unpack[Common],
    ) -> R:
        """A payment came in; `due_date` is the one it meets, `outstanding` what is left to pay."""
        return self._take(
            "repaid",
            user_id,
            occurred_at,
            more,
            payment_id=payment_id,
            amount=amount,
            currency=currency,
            loan_id=loan_id,
            principal=principal,
            fee=fee,
            outstanding=outstanding,
            due_date=due_date,
            closes_loan=closes_loan,
        )

    def repayment_reversed(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        payment_id: str,
        loan_id: str | None = None,
        **more: Unpack[Common],
    ) -> R:
        """That payment came to nothing."""
        return self._take(
            "repayment_reversed", user_id, occurred_at, more, payment_id=payment_id, loan_id=loan_id
        )

    def recovered(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        payment_id: str,
        amount: Decimal | int,
        currency: str,
        loan_id: str | None = None,
        **more: Unpack[Common],
    ) -> R:
        """Money came in after the loan was called lost."""
        return self._take(
            "recovered",
            user_id,
            occurred_at,
            more,
            payment_id=payment_id,
            amount=amount,
            currency=currency,
            loan_id=loan_id,
        )

    # the rest

    def consent_changed(
        self,
        *,
        user_id: str,
        occurred_at: datetime,
        ad_user_data: bool | None = None,
        ad_personalization: bool | None = None,
        gdpr_applies: bool | None = None,
        **more: Unpack[Common],
    ) -> R:
        """The user allowed or withdrew. `None` means not asked."""
        given = {
            "ad_user_data": ad_user_data,
            "ad_personalization": ad_personalization,
            "gdpr_applies": gdpr_applies,
        }
        consent = {name: said for name, said in given.items() if said is not None}
        return self._take("consent_changed", user_id, occurred_at, more, consent=consent or None)

    def event(
        self,
        type: str,  # noqa: A002 - the field's name at the door
        *,
        user_id: str,
        occurred_at: datetime,
        fields: Mapping[str, Any] | None = None,
        **more: Unpack[Common],
    ) -> R:
        """An event of your own, or one of ours with `fields` that no method names.

        `type` is snake_case and does not begin with `lendsignal.`.
        """
        return self._take(type, user_id, occurred_at, more, **(fields or {}))


def made(
    kind: str,
    user_id: str,
    occurred_at: datetime,
    given: Mapping[str, Any],
    fields: Mapping[str, Any],
    *,
    durable: bool,
) -> Made:
    """The event of a call. Raises `InputError`, without a value, where it could never be taken.

    Only what is surely wrong is refused here; the door knows the apps and the rest of the rules.
    """
    found = {"type": kind, "user_id": user_id, "occurred_at": occurred_at, **given, **fields}
    durable = bool(found.pop("durable", durable))
    for field in ("type", "user_id", "brand"):
        if not isinstance(found.get(field), str) or not found[field]:
            raise InputError(field, "is needed and must be text")
    for field in ("occurred_at", "sent_at"):
        moment = found.get(field)
        if field == "occurred_at" or moment is not None:
            _refuse_what_is_no_moment(field, moment)
    for field in AMOUNTS:
        amount = found.get(field)
        if amount is not None and (isinstance(amount, bool) or not isinstance(amount, (Decimal, int))):
            raise InputError(field, "must be a Decimal or a whole number: a float is not exact")
    event_id = found.setdefault("event_id", new_id())
    try:
        body = _json({field: value for field, value in found.items() if value is not None})
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("event", f"cannot be written as JSON: {type(error).__name__}") from None
    return Made(event_id, body, durable)


def _refuse_what_is_no_moment(field: str, moment: object) -> None:
    if not isinstance(moment, datetime):
        raise InputError(field, "must be a datetime")
    if moment.utcoffset() is None:
        raise InputError(field, "has no time zone: use an aware datetime")


def new_id() -> str:
    """A UUID of version 7 (RFC 9562, 5.7 and method 3 of 6.2): ids made later sort later.

    48 bits of milliseconds, 12 bits of the millisecond's fraction, 62 bits of chance.
    """
    ns = time.time_ns()
    milliseconds, rest = divmod(ns, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    chance = int.from_bytes(os.urandom(8), "big") >> 2
    number = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | chance
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
