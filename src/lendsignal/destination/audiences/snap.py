"""Snap, customer lists of the Marketing API: segments of one kind of id.

Every id leaves as SHA-256: the advertising id of its lower case, a phone number of its digits. Snap keeps one
kind of id in a segment. A member stays until removed, for Snap's "lifetime" of 9,999 days.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from lendsignal.destination.audiences.shape import (
    AudienceSpec,
    Batch,
    RefreshAuth,
    Row,
    Seen,
    mobile_id,
)
from lendsignal.destination.spec import Request, Response, body_json, by_status
from lendsignal.model import Accepted, Outcome, Paused, Rejected, Retry, Split
from lendsignal.model.audience import Action, AudienceMember, Sync
from lendsignal.model.contact import digest
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for segments of a Snap ad account.

    The three secrets are those of an OAuth app; the token of the Conversions API does not open this one.
    `data`: the kind of id of its segments. For several there are several accounts here.
    """

    ad_account: Annotated[
        str,
        Meta(description="the ad account's id", examples=["8adc3db7-8148-4fbf-999c-8d2266369d74"]),
    ]
    client_id: Annotated[Secret, Meta(description="the OAuth app's id")]
    client_secret: Annotated[Secret, Meta(description="the OAuth app's secret")]
    refresh_token: Annotated[Secret, Meta(description="a refresh token with snapchat-marketing-api")]
    data: Annotated[Literal["mobile", "email", "phone"], Meta(description="the kind of id")] = "mobile"


SPEC = AudienceSpec(
    name="snap",
    label="Snap",
    docs="https://developers.snap.com/api/marketing-api/Ads-API/customer-lists",
    docs_read="2026-11-22",
    hosts=("adsapi.snapchat.com",),
    auth=RefreshAuth(
        url="https://accounts.snapchat.com/login/oauth2/access_token",
        client_id="client_id",
        client_secret="client_secret",
        refresh_token="refresh_token",
    ),
    # The page allows more; larger requests are only slower to repeat.
    chunk=10_000,
    # 20 requests a second for an app ("rate limits" of the Marketing API); half of it is left to others.
    per_second=10,
    floor=1_000,
    seed_floor=1_000,
    slow=timedelta(hours=24),
)

FIELDS = frozenset(
    "users[].schema[] users[].data[][] segments[].name segments[].source_type segments[].retention_in_days "
    "segments[].ad_account_id ?limit".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

BASE = "https://adsapi.snapchat.com/v1"
SCHEMA = {"mobile": "MOBILE_AD_ID_SHA256", "email": "EMAIL_SHA256", "phone": "PHONE_SHA256"}
LIFETIME_DAYS = 9999


def row(member: AudienceMember, sync: Sync, settings: Settings) -> Row | None:
    """The digest of the account's kind of id; `None` where it is not known."""
    contact, mobile = member.contact, mobile_id(member)
    if settings.data == "mobile":
        return None if mobile is None else [digest(mobile)]
    known = None if contact is None else contact.email if settings.data == "email" else contact.phone_digits
    return None if known is None else [known]


def find(sync: Sync, settings: Settings) -> Request | None:
    """Asks for the account's segments: one may have been made just before a crash."""
    return Request(method="GET", url=f"{BASE}/adaccounts/{settings.ad_account}/segments?limit=1000")


def found(response: Response, sync: Sync) -> str | Outcome | None:
    """The id of the segment of that very name; `None`: there is none."""
    body = body_json(response)
    if response.status != 200 or not isinstance(body, dict):
        return _no(response)
    for one in body.get("segments") or ():
        segment = one.get("segment") if isinstance(one, dict) else None
        if isinstance(segment, dict) and segment.get("name") == sync.code and segment.get("id"):
            return str(segment["id"])
    return None


def create(sync: Sync, settings: Settings) -> Request | None:
    """A segment under its neutral code."""
    body = {
        "segments": [
            {
                "name": sync.code,
                "source_type": "FIRST_PARTY",
                "retention_in_days": LIFETIME_DAYS,
                "ad_account_id": settings.ad_account,
            }
        ]
    }
    return Request(method="POST", url=f"{BASE}/adaccounts/{settings.ad_account}/segments", json=body)


def created(response: Response) -> str | Outcome:
    """The id of the new segment."""
    body = body_json(response)
    listed = body.get("segments") if isinstance(body, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    segment = first.get("segment") if isinstance(first, dict) else None
    if 200 <= response.status < 300 and isinstance(segment, dict) and segment.get("id"):
        return str(segment["id"])
    return _no(response)


def request(action: Action, rows: Sequence[Row], sync: Sync, settings: Settings) -> Request:
    """Rows added or removed."""
    body = {"users": [{"schema": [SCHEMA[settings.data]], "data": list(rows)}]}
    method = "POST" if action == "add" else "DELETE"
    return Request(method=method, url=f"{BASE}/segments/{sync.remote}/users", json=body)


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By status and by `request_status`; a request is taken whole or refused whole."""
    status = response.status
    if status == 404:
        return [Paused("list_not_found")] * count
    body = body_json(response)
    said = body.get("request_status") if isinstance(body, dict) else None
    if 200 <= status < 300:
        if isinstance(said, str) and said.lower() == "success":
            users = body.get("users") if isinstance(body, dict) else None
            return _counted(users, count)
        return [Retry("unreadable_answer")] * count
    outcome = by_status(response)
    if isinstance(outcome, Rejected) and count > 1:
        return [Split(outcome.reason)] * count
    return [outcome] * count


def replace(rows: Sequence[Row], batch: Batch, sync: Sync, settings: Settings) -> Request:
    """The first part follows on `begin`, which emptied the segment."""
    return request("add", rows, sync, settings)


def begin(sync: Sync, settings: Settings) -> Request:
    """Empties the segment: Snap has no other way to put just these members on it."""
    return Request(method="DELETE", url=f"{BASE}/segments/{sync.remote}/all_users")


def look(sync: Sync, settings: Settings) -> Request:
    """Asks how many users Snap found."""
    return Request(method="GET", url=f"{BASE}/segments/{sync.remote}")


def seen(response: Response, sync: Sync) -> Seen | None:
    """Users that Snap counts, and whether they are too few to be shown ads."""
    body = body_json(response)
    listed = body.get("segments") if isinstance(body, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    segment: Any = first.get("segment") if isinstance(first, dict) else None
    if not isinstance(segment, dict):
        return None
    size = segment.get("approximate_number_users")
    if type(size) is not int:
        return Seen()
    return Seen(size=size, rate=min(1.0, size / sync.intended) if sync.intended else None)


def _counted(users: Any, count: int) -> Sequence[Outcome]:
    """Where Snap says how many it took, that must be all of them."""
    first = users[0] if isinstance(users, list) and users else None
    user = first.get("user") if isinstance(first, dict) else None
    taken = user.get("number_uploaded_users") if isinstance(user, dict) else None
    if type(taken) is int and taken < count:
        return [Rejected("invalid_entry")] if count == 1 else [Split("invalid_entry")] * count
    return [Accepted()] * count


def _no(response: Response) -> Outcome:
    outcome = by_status(response)
    return Retry("unreadable_answer") if isinstance(outcome, Accepted) else outcome
