"""What becomes of a delivery; docs/reference/reasons.md tables the words and what follows from each."""

from datetime import timedelta
from enum import StrEnum

from msgspec import Struct


class SkipReason(StrEnum):
    """Why a delivery was never sent."""

    NO_LOGIN = "no_login"
    NO_DEVICE_ID = "no_device_id"
    TOO_OLD = "too_old"
    NO_CONSENT = "no_consent"
    SUPPRESSED = "suppressed"
    HOLDOUT = "holdout"
    SHADOW = "shadow"
    TEST_USER = "test_user"
    SHARED_DEVICE = "shared_device"
    DUPLICATE = "duplicate"
    FIRST_UNKNOWN = "first_unknown"
    OUT_OF_ORDER = "out_of_order"


class Skip(Struct, frozen=True):
    """Never sent, and why."""

    reason: SkipReason


class Accepted(Struct, frozen=True):
    """The platform has it. `confirmed=False` where its yes proves receipt only."""

    confirmed: bool = True
    reason: str = ""


class Retry(Struct, frozen=True):
    """Not now. `counts=False` for "slow down": the whole destination waits and no try is used up."""

    reason: str
    after: timedelta | None = None
    counts: bool = True


class Rejected(Struct, frozen=True):
    """This one will never be taken: dead, kept with request and answer."""

    reason: str


class Paused(Struct, frozen=True):
    """Token, permission or set-up: the destination waits, nothing is used up, a person is told."""

    reason: str


class Split(Struct, frozen=True):
    """A batch refused whole: bisect it until the bad rows stand alone. `reason` is theirs once alone."""

    reason: str


class Pending(Struct, frozen=True):
    """The verdict comes later; `handle` asks for it."""

    handle: str


Outcome = Accepted | Retry | Rejected | Paused | Split | Pending
