"""TikTok, audiences of the lender's own list: by mapping (ids one call at a time) or by files.

Advertising ids leave as SHA-256 of their lower case, contacts as SHA-256. Nearly every answer is HTTP 200:
the code in the body says what it means. A change is felt within 48 hours.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import md5
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from lendsignal.destination.audiences.shape import (
    AudienceSpec,
    Batch,
    LookAlike,
    Row,
    Seen,
    Upload,
    mobile_id,
)
from lendsignal.destination.spec import HeaderAuth, Request, Response, body_json
from lendsignal.destination.tiktok import classify as classify_events
from lendsignal.errors import InputError
from lendsignal.model import Accepted, Outcome, Paused, Retry
from lendsignal.model.audience import Action, AudienceMember, Sync
from lendsignal.model.contact import digest
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for lists of a TikTok advertiser.

    `by`: `mapping` tells ids in one call and suits changes every few minutes; `file` uploads files of one
    kind of id and can replace a list whole. `ids`: by what members may be known there; of files the first.
    """

    advertiser_id: Annotated[
        str,
        Meta(pattern=r"^[0-9]+$", description="the advertiser", examples=["7000000000000000001"]),
    ]
    token: Annotated[Secret, Meta(description="the access token of the Marketing API")]
    by: Annotated[Literal["mapping", "file"], Meta(description="how members are told")] = "mapping"
    ids: Annotated[
        tuple[Literal["gaid", "idfa", "phone", "email"], ...],
        Meta(min_length=1, description="by what members may be known there"),
    ] = ("gaid", "idfa", "phone", "email")
    locations: Annotated[
        dict[str, str],
        Meta(description="country = TikTok's location id, for look-alikes where ours is not the right one"),
    ] = {}

    def __post_init__(self) -> None:
        if self.by == "file" and len(self.ids) != 1:
            raise ValueError('by = "file" needs one kind of id in ids: all files of a list are of one kind')


SPEC = AudienceSpec(
    name="tiktok",
    label="TikTok",
    docs="https://business-api.tiktok.com/portal/docs?id=1739940506015746",
    docs_read="2026-11-22",
    hosts=("business-api.tiktok.com",),
    auth=HeaderAuth("Access-Token", "token"),
    # Rows a mapping call are not documented; connectors send up to 10,000.
    chunk=10_000,
    # 10 a second and 600 a minute on the Basic tier.
    per_second=10,
    # "At least 1,000 matched users" before an ad group takes it (ads.tiktok.com help).
    floor=1_000,
    seed_floor=100,
    slow=timedelta(hours=48),
)

FIELDS = frozenset(
    "advertiser_ids[] action id_schema[] batch_data[][].id batch_data[][].audience_ids[] "
    "custom_audience_name advertiser_id custom_audience_id calculate_type file_paths[] "
    "form:advertiser_id form:calculate_type form:file_signature form:file "
    "lookalike_spec.source_audience_id lookalike_spec.include_source lookalike_spec.mobile_os "
    "lookalike_spec.placements[] lookalike_spec.location_ids[] lookalike_spec.audience_size "
    "?advertiser_id ?custom_audience_ids ?page_size ?page".split()
)
"""All that may leave for this platform; `form:` are the fields of an upload, the secret joins last."""

BASE = "https://business-api.tiktok.com/open_api/v1.3"
SCHEMA = {"gaid": "AAID_SHA256", "idfa": "IDFA_SHA256", "phone": "PHONE_SHA256", "email": "EMAIL_SHA256"}
OF_FILES = {**SCHEMA, "gaid": "GAID_SHA256"}
"""How files name the kinds of ids. The enumeration's page could not be read: told by connectors."""

LOCATIONS: Mapping[str, str] = {
    "AE": "290557", "AR": "3865483", "AU": "2077456", "BD": "1210997", "BR": "3469034", "CA": "6251999",
    "CI": "2287781", "CL": "3895114", "CM": "2233387", "CO": "3686110", "DE": "2921044", "EC": "3658394",
    "EG": "357994", "ES": "2510769", "FR": "3017382", "GB": "2635167", "GH": "2300660", "GT": "3595528",
    "ID": "1643084", "IN": "1269750", "IT": "3175395", "JP": "1861060", "KE": "192950", "KZ": "1522867",
    "LK": "1227603", "MA": "2542007", "MX": "3996063", "MY": "1733045", "NG": "2328926", "PE": "3932488",
    "PH": "1694008", "PK": "1168579", "PL": "798544", "RO": "798549", "SA": "102358", "SG": "1880251",
    "SN": "2245662", "TH": "1605651", "TR": "298795", "TZ": "149590", "UA": "690791", "UG": "226074",
    "US": "6252001", "VN": "1562822", "ZA": "953987",
}  # fmt: skip
"""Countries as TikTok numbers places: their GeoNames numbers (download.geonames.org countryInfo, 2026-11-22).
`locations` of the account says others."""

MOST_FILES = 49
"""Files that one call may name: fewer than 50."""


def row(member: AudienceMember, sync: Sync, settings: Settings) -> Row | None:
    """One member's digests in the order of `ids`, "" where one is not known; `None` where none is."""
    contact, mobile = member.contact, mobile_id(member)
    hashed = None if mobile is None else digest(mobile)
    is_ios = member.os == "ios" or (member.os is None and member.gaid is None)
    known = {
        "gaid": None if is_ios else hashed,
        "idfa": hashed if is_ios else None,
        "phone": None if contact is None else contact.phone_e164,
        "email": None if contact is None else contact.email,
    }
    cells = [known[name] or "" for name in settings.ids]
    return cells if any(cells) else None


def find(sync: Sync, settings: Settings) -> Request | None:
    """Asks for the advertiser's lists: one may have been made just before a crash."""
    query = f"advertiser_id={settings.advertiser_id}&page=1&page_size=100"
    return Request(method="GET", url=f"{BASE}/dmp/custom_audience/list/?{query}")


def found(response: Response, sync: Sync) -> str | Outcome | None:
    """The id of the list of that very name; `None`: there is none among the hundred latest."""
    body = body_json(response)
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(body, dict) or body.get("code") != 0 or not isinstance(data, dict):
        return _no(response)
    for one in data.get("list") or ():
        if isinstance(one, dict) and one.get("name") == sync.code and one.get("audience_id"):
            return str(one["audience_id"])
    return None


def create(sync: Sync, settings: Settings) -> Request | None:
    """An empty list under its neutral code. By files none is empty: the first file makes it."""
    if settings.by == "file":
        return None
    body = {
        "custom_audience_name": sync.code,
        "advertiser_id": settings.advertiser_id,
        "action": "create",
    }
    return Request(method="POST", url=f"{BASE}/segment/audience/", json=body)


def created(response: Response) -> str | Outcome:
    """The id of the new list."""
    body = body_json(response)
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(body, dict) and body.get("code") == 0 and isinstance(data, dict):
        given = data.get("audience_id") or data.get("custom_audience_id")
        if given:
            return str(given)
    return _no(response)


def request(action: Action, rows: Sequence[Row], sync: Sync, settings: Settings) -> Request | Upload:
    """Rows added or removed: by one mapping call, or by a file that `then` puts to use."""
    if settings.by == "file":
        return _file(rows, settings)
    body = {
        "advertiser_ids": [settings.advertiser_id],
        "action": "add" if action == "add" else "delete",
        "id_schema": [SCHEMA[name] for name in settings.ids],
        "batch_data": [
            [{"id": cell, "audience_ids": [sync.remote]} if cell else {} for cell in cells] for cells in rows
        ],
    }
    return Request(method="POST", url=f"{BASE}/segment/mapping/", json=body)


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By the code in the body, as for events: rows are named where TikTok names them."""
    return [
        Paused("list_not_found") if outcome == Paused("app_not_found") else outcome
        for outcome in classify_events(response, count)
    ]


def then(response: Response, action: Action, sync: Sync, settings: Settings) -> Request | None:
    """What an uploaded file is followed by: the list is made of it, or takes or drops its members."""
    if settings.by != "file":
        return None
    path = place(response)
    if sync.remote is None:
        body: dict[str, Any] = {
            "advertiser_id": settings.advertiser_id,
            "custom_audience_name": sync.code,
            "calculate_type": OF_FILES[settings.ids[0]],
            "file_paths": [path],
        }
        return Request(method="POST", url=f"{BASE}/dmp/custom_audience/create/", json=body)
    return _update("APPEND" if action == "add" else "REMOVE", [path], sync, settings)


def replace(rows: Sequence[Row], batch: Batch, sync: Sync, settings: Settings) -> Request | Upload:
    """A part of the list as a file. A mapping can only add: who stands there besides us stays."""
    return request("add", rows, sync, settings)


def place(response: Response) -> str:
    """The path of an uploaded file; empty where there is none."""
    body = body_json(response)
    data = body.get("data") if isinstance(body, dict) else None
    path = data.get("file_path") if isinstance(data, dict) else None
    return path if isinstance(path, str) else ""


def finish(places: Sequence[str], batch: Batch, sync: Sync, settings: Settings) -> Sequence[Request]:
    """Makes the files the list: the first 49 replace it, the others join."""
    if settings.by != "file":
        return ()
    parts = [places[start : start + MOST_FILES] for start in range(0, len(places), MOST_FILES)]
    actions = ["REPLACE", *["APPEND"] * (len(parts) - 1)]
    return [_update(action, part, sync, settings) for action, part in zip(actions, parts, strict=True)]


def look(sync: Sync, settings: Settings) -> Request:
    """Asks how many users TikTok found."""
    query = f'advertiser_id={settings.advertiser_id}&custom_audience_ids=["{sync.remote}"]'
    return Request(method="GET", url=f"{BASE}/dmp/custom_audience/get/?{query}")


def seen(response: Response, sync: Sync) -> Seen | None:
    """Users that TikTok covers."""
    body = body_json(response)
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        return None
    for one in data.get("list") or ():
        details = one.get("audience_details") if isinstance(one, dict) else None
        size = details.get("cover_num") if isinstance(details, dict) else None
        if type(size) is int:
            return Seen(size=size, rate=min(1.0, size / sync.intended) if sync.intended else None)
    return None


def look_alike(made: LookAlike, sync: Sync, settings: Settings) -> Request:
    """An audience like the seed: NARROW up to 2 % of the country, BALANCED up to 10 %, else BROAD (ours).

    Raises `InputError` for a country of which TikTok's number is not known.
    """
    location = settings.locations.get(made.country) or LOCATIONS.get(made.country)
    if location is None:
        raise InputError("country", f"no TikTok location id is known: locations = {{ {made.country} = … }}")
    size = "NARROW" if made.share <= 0.02 else "BALANCED" if made.share <= 0.1 else "BROAD"
    body = {
        "advertiser_id": settings.advertiser_id,
        "custom_audience_name": made.code,
        "lookalike_spec": {
            "source_audience_id": sync.remote,
            "include_source": False,
            "mobile_os": "ALL",
            "placements": ["PLACEMENT_TIKTOK"],
            "location_ids": [location],
            "audience_size": size,
        },
    }
    return Request(method="POST", url=f"{BASE}/dmp/custom_audience/lookalike/create/", json=body)


def _file(rows: Sequence[Row], settings: Settings) -> Upload:
    content = "".join(f"{cells[0]}\n" for cells in rows).encode()
    # TikTok compares the file with its MD5: no secret hangs on it.
    signature = md5(content, usedforsecurity=False).hexdigest()
    return Upload(
        url=f"{BASE}/dmp/custom_audience/file/upload/",
        fields={
            "advertiser_id": settings.advertiser_id,
            "calculate_type": OF_FILES[settings.ids[0]],
            "file_signature": signature,
        },
        name=f"{signature}.csv",
        content=content,
    )


def _update(action: str, paths: Sequence[str], sync: Sync, settings: Settings) -> Request:
    body = {
        "advertiser_id": settings.advertiser_id,
        "custom_audience_id": sync.remote,
        "action": action,
        "file_paths": list(paths),
    }
    return Request(method="POST", url=f"{BASE}/dmp/custom_audience/update/", json=body)


def _no(response: Response) -> Outcome:
    outcome = classify(response, 1)[0]
    return Retry("unreadable_answer") if isinstance(outcome, Accepted) else outcome
