"""Meta, custom audiences made of the lender's own list.

Up to 10,000 members a request. An advertising id leaves as it is, in lower case; contacts leave as SHA-256.
Keys of one row are matched together. Meta counts the rows that it could not read and names none of them. A
change is felt within 24 hours.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.audiences.shape import (
    AudienceSpec,
    Batch,
    IdName,
    LookAlike,
    Row,
    Seen,
    mobile_id,
)
from lendsignal.destination.meta import classify as classify_conversions
from lendsignal.destination.meta import used_percent
from lendsignal.destination.spec import MetaAuth, Request, Response, body_json
from lendsignal.model import Accepted, Outcome, Paused, Rejected, Retry, Split
from lendsignal.model.audience import Action, AudienceMember, Sync
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for lists in a Meta ad account.

    `ad_account`: digits, without `act_`. `ids`: by what members may be known there. `sac_certified`: the
    lender certified the terms for special ad categories, without which such campaigns may use no list.
    """

    ad_account: Annotated[
        str, Meta(pattern=r"^[0-9]+$", description="the ad account, digits only", examples=["1234567890"])
    ]
    token: Annotated[Secret, Meta(description="a system user's access token with ads_management")]
    app_secret: Annotated[
        Secret | None, Meta(description="the app's secret, where calls need `appsecret_proof`")
    ] = None
    version: Annotated[str, Meta(pattern=r"^v[0-9]+\.[0-9]+$", description="Graph API version")] = "v26.0"
    ids: Annotated[
        tuple[IdName, ...], Meta(min_length=1, description="by what members may be known there")
    ] = ("mobile", "phone", "email")
    sac_certified: Annotated[
        bool, Meta(description="whether the terms for lists in special ad category campaigns are certified")
    ] = False


SPEC = AudienceSpec(
    name="meta",
    label="Meta",
    docs="https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience/users",
    docs_read="2026-11-22",
    hosts=("graph.facebook.com",),
    auth=MetaAuth("token", "app_secret"),
    chunk=10_000,
    # Standard access: 5,000 calls an hour and 40 for each active audience ("rate limiting", Custom Audience).
    per_second=1.38,
    burst=5,
    # "If fewer than 100 are matched, Meta discards the data" (told by a partner's page of the same call).
    floor=100,
    seed_floor=100,
    removes_from=100,
    # A session that stays open is given up and begun anew: Meta states no life of one, an hour is ours.
    session_within=timedelta(hours=1),
    used_percent=used_percent,
)

FIELDS = frozenset(
    "payload.data[][] payload.schema[] session.batch_seq session.estimated_num_total session.last_batch_flag "
    "session.session_id name subtype customer_file_source is_value_based is_sac_cfca_terms_certified "
    "lookalike_spec.type lookalike_spec.ratio lookalike_spec.country origin_audience_id ?fields ?limit "
    "?filtering".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

KEYS: dict[str, str] = {"mobile": "MADID", "phone": "PHONE", "email": "EMAIL", "user": "EXTERN_ID"}


def row(member: AudienceMember, sync: Sync, settings: Settings) -> Row | None:
    """One member's cells in the order of `ids`, "" where one is not known; `None` where none is."""
    contact = member.contact
    known = {
        "mobile": mobile_id(member),
        "phone": None if contact is None else contact.phone_digits,
        "email": None if contact is None else contact.email,
        "user": member.user,
    }
    cells: list[str | float] = [known[name] or "" for name in settings.ids]
    if not any(cells):
        return None
    if sync.with_value:
        # A number of 0 or more; a loss ranks as nothing.
        cells.append(max(0.0, round(member.value or 0.0, 2)))
    return cells


def find(sync: Sync, settings: Settings) -> Request | None:
    """Asks for lists of that name: one may have been made just before a crash."""
    name = msgspec.json.encode([{"field": "name", "operator": "EQUAL", "value": sync.code}]).decode()
    query = urlencode({"fields": "id,name", "limit": "100", "filtering": name})
    return Request(method="GET", url=f"{_account(settings)}?{query}")


def found(response: Response, sync: Sync) -> str | Outcome | None:
    """The id of the list of that very name; `None`: there is none."""
    body = body_json(response)
    listed = body.get("data") if isinstance(body, dict) else None
    if response.status != 200 or not isinstance(listed, list):
        return classify(response, 1)[0]
    for one in listed:
        if isinstance(one, dict) and one.get("name") == sync.code and one.get("id"):
            return str(one["id"])
    return None


def create(sync: Sync, settings: Settings) -> Request | None:
    """A list under its neutral code; one with values where the seed is ranked."""
    body: dict[str, Any] = {
        "name": sync.code,
        "subtype": "CUSTOM",
        "customer_file_source": "USER_PROVIDED_ONLY",
    }
    if sync.with_value:
        body["is_value_based"] = True
    if settings.sac_certified:
        body["is_sac_cfca_terms_certified"] = True
    return Request(method="POST", url=_account(settings), json=body)


def created(response: Response) -> str | Outcome:
    """The id of the new list."""
    body = body_json(response)
    if 200 <= response.status < 300 and isinstance(body, dict) and body.get("id"):
        return str(body["id"])
    return classify(response, 1)[0]


def request(action: Action, rows: Sequence[Row], sync: Sync, settings: Settings) -> Request:
    """Up to 10,000 rows added, or removed by the same keys; a removal tells no value."""
    method = "POST" if action == "add" else "DELETE"
    valued = sync.with_value and action == "add"
    told = rows if valued or not sync.with_value else [cells[:-1] for cells in rows]
    return Request(
        method=method,
        url=f"{_list(sync, settings)}/users",
        json={"payload": {"schema": _schema(settings, valued=valued), "data": list(told)}},
    )


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By Meta's own counts and codes. Rows that it could not read are found by halving: it names none."""
    body = body_json(response)
    if 200 <= response.status < 300 and isinstance(body, dict) and "num_received" in body:
        received, invalid = body.get("num_received"), body.get("num_invalid_entries") or 0
        if type(received) is not int or type(invalid) is not int:
            return [Retry("unreadable_answer")] * count
        if invalid > 0:
            return [Rejected("invalid_entry")] if count == 1 else [Split("invalid_entry")] * count
        if received < count:
            return [Retry("not_received")] * count
        return [Accepted()] * count
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict):
        outcome = _by_error(error)
        if outcome is not None:
            return [outcome] * count
    elif 200 <= response.status < 300:
        return [Retry("unreadable_answer")] * count
    return classify_conversions(response, count)


def replace(rows: Sequence[Row], batch: Batch, sync: Sync, settings: Settings) -> Request:
    """One part of a session that puts just these members on the list, once its last part has come."""
    return Request(
        method="POST",
        url=f"{_list(sync, settings)}/usersreplace",
        json={
            "session": {
                "session_id": batch.session,
                "batch_seq": batch.number,
                "last_batch_flag": batch.last,
                "estimated_num_total": batch.total,
            },
            "payload": {"schema": _schema(settings, valued=sync.with_value), "data": list(rows)},
        },
    )


def drop(sync: Sync, settings: Settings) -> Request:
    """Takes the list away as a whole: the only way to empty one of which nobody can be removed."""
    return Request(method="DELETE", url=_list(sync, settings))


def dropped(response: Response) -> Sequence[Outcome]:
    """A list that is not there any more counts as dropped."""
    outcome = classify(response, 1)[0]
    body = body_json(response)
    done = 200 <= response.status < 300 and isinstance(body, dict) and body.get("success") is True
    return [Accepted() if done or outcome == Paused("list_not_found") else outcome]


def look(sync: Sync, settings: Settings) -> Request:
    """Asks how many people Meta found, and whether it lets the list be used."""
    fields = "approximate_count_lower_bound,approximate_count_upper_bound,operation_status,delivery_status"
    return Request(method="GET", url=f"{_list(sync, settings)}?{urlencode({'fields': fields})}")


def seen(response: Response, sync: Sync) -> Seen | None:
    """The middle of Meta's two bounds; -1 says that it does not tell. Status 471 is a flagged list."""
    body = body_json(response)
    if response.status != 200 or not isinstance(body, dict):
        return None
    low, high = body.get("approximate_count_lower_bound"), body.get("approximate_count_upper_bound")
    size = (low + high) // 2 if type(low) is int and type(high) is int and low >= 0 <= high else None
    status = body.get("operation_status")
    code = status.get("code") if isinstance(status, dict) else None
    rate = min(1.0, size / sync.intended) if size is not None and sync.intended else None
    return Seen(size=size, rate=rate, problem="list_flagged" if code == 471 else None)


def look_alike(made: LookAlike, sync: Sync, settings: Settings) -> Request:
    """An audience like the seed in one country. Campaigns of a special ad category may not use one."""
    spec = {"type": "similarity", "ratio": made.share, "country": made.country}
    return Request(
        method="POST",
        url=_account(settings),
        json={
            "name": made.code,
            "subtype": "LOOKALIKE",
            "origin_audience_id": sync.remote,
            "lookalike_spec": msgspec.json.encode(spec).decode(),
        },
    )


def _by_error(error: dict[str, Any]) -> Outcome | None:
    """What the numbers mean for lists; the rest is as for conversions."""
    code, subcode = error.get("code"), error.get("error_subcode")
    if subcode == 1713230:
        return Paused("list_flagged")
    if subcode in (1487366, 1487301):
        return Paused("list_not_found")
    if code == 100 and subcode == 33:
        return Paused("list_not_found")
    if code == 2655:
        return Paused("terms_not_signed")
    if code == 2650:
        return Paused("update_refused")
    if code in (105, 294):
        return Paused("permission_missing" if code == 294 else "invalid_request")
    return None


def _schema(settings: Settings, *, valued: bool) -> list[str]:
    return [KEYS[name] for name in settings.ids] + (["LOOKALIKE_VALUE"] if valued else [])


def _account(settings: Settings) -> str:
    return f"https://graph.facebook.com/{settings.version}/act_{settings.ad_account}/customaudiences"


def _list(sync: Sync, settings: Settings) -> str:
    return f"https://graph.facebook.com/{settings.version}/{sync.remote}"
