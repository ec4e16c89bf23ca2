"""AppsFlyer Audiences, import API v2: lists that AppsFlyer passes on to the networks connected there.

An audience is made in AppsFlyer's pages, for one platform; its import key names it here. A device is told by
one id, and with the app's id. A request is taken whole or refused whole.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from lendsignal.destination.audiences.shape import AudienceSpec, Batch, Row, mobile_id
from lendsignal.destination.spec import Bearer, Request, Response, body_json, by_status
from lendsignal.model import Accepted, Outcome, Paused, Rejected, Retry, Split
from lendsignal.model.audience import Action, AudienceMember, Sync
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for audiences of one app in AppsFlyer.

    The import key of each list stands in `lists`: AppsFlyer's pages show it.
    """

    app_id: Annotated[
        str, Meta(min_length=1, description="the app, as AppsFlyer has it", examples=["com.acme.loans"])
    ]
    platform: Annotated[Literal["android", "ios"], Meta(description="the platform of its audiences")]
    token: Annotated[Secret, Meta(description="an API V2 token, made after 10 March 2026")]


SPEC = AudienceSpec(
    name="appsflyer",
    label="AppsFlyer Audiences",
    docs="https://dev.appsflyer.com/hc/reference/import-audience",
    docs_read="2026-11-22",
    hosts=("hq1.appsflyer.com",),
    auth=Bearer("token"),
    # The limit is only told by the error that names it; halving finds it where ours is too large.
    chunk=5_000,
    per_second=1,
    slow=timedelta(hours=24),
)

FIELDS = frozenset(
    "import_key platform devices[].app_id devices[].gaid devices[].oaid devices[].idfa".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

BASE = "https://hq1.appsflyer.com/api/audiences-import-api/v2"


def row(member: AudienceMember, sync: Sync, settings: Settings) -> Row | None:
    """The phone by its advertising id, else by its OAID; `None` for a phone of the other platform."""
    if member.os not in (None, settings.platform):
        return None
    mobile = mobile_id(member)
    if settings.platform == "ios":
        return None if mobile is None else {"app_id": settings.app_id, "idfa": mobile.upper()}
    if mobile is not None:
        return {"app_id": settings.app_id, "gaid": mobile}
    return {"app_id": settings.app_id, "oaid": member.oaid} if member.oaid else None


def find(sync: Sync, settings: Settings) -> Request | None:
    """There is no such call: `lists` names the import key."""
    return None


def found(response: Response, sync: Sync) -> str | Outcome | None:
    """Never asked."""
    return None


def create(sync: Sync, settings: Settings) -> Request | None:
    """There is no such call here: the audience is made in AppsFlyer's pages."""
    return None


def created(response: Response) -> str | Outcome:
    """Never asked."""
    return Paused("list_not_found")


def request(action: Action, rows: Sequence[Row], sync: Sync, settings: Settings) -> Request:
    """Devices added or removed."""
    return _import("add" if action == "add" else "remove", rows, sync, settings)


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By status; a bad device refuses its whole request, and a missing audience is a set-up."""
    outcome = by_status(response)
    body = body_json(response)
    said = str(body.get("message") or body.get("messege") or "") if isinstance(body, dict) else ""
    if isinstance(outcome, Accepted):
        return [Accepted() if said else Retry("unreadable_answer")] * count
    if response.status == 400:
        text = said.lower()
        if "audience platform" in text or "import key" in text or "import_key" in text:
            return [Paused("list_not_found")] * count
        return [Rejected("invalid_entry")] if count == 1 else [Split("invalid_entry")] * count
    return [outcome] * count


def replace(rows: Sequence[Row], batch: Batch, sync: Sync, settings: Settings) -> Request:
    """The first part overwrites the audience, the others join."""
    return _import("overwrite" if batch.number == 1 else "add", rows, sync, settings)


def _import(action: str, rows: Sequence[Row], sync: Sync, settings: Settings) -> Request:
    body: dict[str, Any] = {
        "import_key": sync.remote,
        "platform": settings.platform,
        "devices": list(rows),
    }
    return Request(method="POST", url=f"{BASE}/{action}", json=body)
