"""Client relay: the app fetches its own conversions and logs them with the SDK it has.

Times are RFC 3339 in UTC; money is a decimal string, losses left out. What is here stays in the house until
the one installation it is bound to asks for it; the app drops an `id` that it has logged before.
"""

import re
from collections.abc import Sequence
from datetime import UTC, timedelta
from hashlib import blake2b
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    SHELF,
    InstallAuth,
    Item,
    Request,
    Response,
    Retries,
    Spec,
    Trial,
    by_status,
    present,
    sensitive_word,
)
from lendsignal.model import (
    INSTALL_SCOPED,
    Accepted,
    Delivery,
    IdKind,
    Outcome,
    Pending,
    Skip,
    SkipReason,
    id_of,
    plain,
)
from lendsignal.model.secret import Secret

LONGEST_TOKEN = timedelta(days=90)


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for the client relay.

    ValueError: a token's time that is none.

    `secret`: signs the tokens of installations; 32 characters or more. `installation`: the id by which the
    app and your back end name an installation, best that of the SDK the app logs with. `good_for`: how
    long a token is good.
    """

    secret: Annotated[Secret, Meta(description="signs the tokens; 32 characters or more")]
    installation: Annotated[
        Literal[
            "appsflyer_id",
            "firebase_app_instance_id",
            "adjust_adid",
            "branch_identity",
            "singular_sdid",
            "kochava_device_id",
            "meta_anon_id",
        ],
        Meta(description="the id by which an installation is named"),
    ] = "appsflyer_id"
    good_for: Annotated[timedelta, Meta(description="how long a token is good, at most 90d")] = timedelta(
        days=7
    )

    def __post_init__(self) -> None:
        if not timedelta(minutes=1) <= self.good_for <= LONGEST_TOKEN:
            raise ValueError("good_for must be from 1m to 90d")


SPEC = Spec(
    name="relay",
    label="Client relay",
    # The call is our own; of the SDKs that apps log with, Firebase has the strictest rules for names.
    docs="https://support.google.com/analytics/answer/13316687",
    docs_read="2026-11-22",
    hosts=(),
    transport="shelf",
    auth=InstallAuth("secret"),
    any_of_ids=INSTALL_SCOPED,
    # Our own choice: an app that was not opened for a week logs an event that no bid learns from.
    max_age=timedelta(days=7),
    per_second=1_000,
    batch=500,
    # The app's part of the contract: its ring of ids drops a repeat.
    dedupe=timedelta(days=7),
    # Placing an offer again changes nothing, so there is no doubt that a person would have to settle.
    on_unknown=Retries(1_000_000),
)

FIELDS = frozenset(
    "offers[].address offers[].event.currency offers[].event.id offers[].event.name "
    "offers[].event.occurred_at offers[].event.value".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_RESERVED = ("firebase_", "google_", "ga_")


def problem_with_name(name: str) -> str | None:
    """Why an app should not log an event of this name, or `None`: SDKs pass it on to ad platforms."""
    if not _NAME.fullmatch(name):
        return "must start with a letter and hold at most 40 letters, digits and underscores"
    for prefix in _RESERVED:
        if name.startswith(prefix):
            return f"starts with {prefix}, which Firebase keeps for itself"
    word = sensitive_word(name)
    return None if word is None else f"holds {word!r}: an app's names reach ad platforms and must be neutral"


def address_of(brand: str, user_id: str, kind: str, installation: str) -> str:
    """Where one user's conversions of one installation wait: a hash that names neither.

    `kind` is the kind of the installation's id, such as `appsflyer_id`.
    """
    text = "\x1f".join((brand, user_id, kind, installation))
    return blake2b(text.encode(), digest_size=16, person=b"relay").hexdigest()


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """`{"address", "event"}`: the event is what the app gets, and nothing in it tells who it is about.

    Skipped where the login did not show the id by which installations are named here.
    """
    installation = id_of(delivery.device, IdKind(settings.installation))
    if installation is None:
        return Skip(SkipReason.NO_DEVICE_ID)
    # Value and currency stand together; a loss is not told, the event is.
    value = delivery.value if delivery.value is not None and delivery.value.amount >= 0 else None
    return {
        "address": address_of(delivery.app.brand, delivery.user_id, settings.installation, installation),
        "event": present(
            id=delivery.id,
            name=delivery.name,
            occurred_at=delivery.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z",
            value=None if value is None else plain(value.amount),
            currency=None if value is None else value.currency,
        ),
    }


def request(items: Sequence[Item], settings: Settings) -> Request:
    """Up to `SPEC.batch` offers, placed on the shelf in one go."""
    return Request(method="PUT", url=SHELF, json={"offers": list(items)})


def trial(settings: Settings) -> Trial:
    """Nothing leaves the house: the app is what has to be tried."""
    return Trial(
        way="none",
        instead="the app fetches these itself: log in on a phone of your own as a user marked test, with "
        "send_test = true in the destination, let an event of that user happen, and look into DebugView",
    )


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """What is on the shelf waits for its app: the verdict is the app's acknowledgement."""
    outcome = by_status(response)
    return [Pending("relay") if isinstance(outcome, Accepted) else outcome] * count
