"""The stand-in for Snap's customer lists and for its token endpoint.

Source: developers.snap.com/api/marketing-api/Ads-API/customer-lists, read 2026-11-22.
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.sandbox.audiences.lists import Lists, OneList, json_body, taken
from lendsignal.sandbox.google import bearer
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import SHA256
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused

HOST, TOKEN_HOST = "adsapi.snapchat.com", "accounts.snapchat.com"
PLATFORM = "snap_audience"
ACCOUNT = re.compile(r"/v1/adaccounts/([\w-]+)/segments")
SEGMENT = re.compile(r"/v1/segments/(\d+)(/users|/all_users)?")
SCHEMA = frozenset("EMAIL_SHA256 PHONE_SHA256 MOBILE_AD_ID_SHA256".split())
MAX_ROWS = 100_000
LIFETIME_SECONDS = 1800


def token(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """An access token for an OAuth app that it knows."""
    form = {key: values[0] for key, values in parse_qs(asked.body.decode("latin-1")).items()}
    given = settings.audiences.snap_clients.get(form.get("client_id", ""))
    whole = (
        form.get("grant_type") == "refresh_token" and form.get("refresh_token") and form.get("client_secret")
    )
    if asked.path != "/login/oauth2/access_token" or given is None or not whole:
        return refuse(401, "", "client: unknown", now_us)
    body = {"access_token": given, "expires_in": LIFETIME_SECONDS, "token_type": "Bearer"}
    return Answer(status=200, body=msgspec.json.encode(body), headers=JSON)


def judge(lists: Lists, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Snap would answer: a request is taken whole, or nothing of it is."""
    if bearer(asked) not in settings.audiences.snap.values():
        return refuse(401, "", "authorization: unknown token", now_us)
    account = ACCOUNT.fullmatch(asked.path)
    if account is not None:
        if settings.audiences.snap.get(account[1]) != bearer(asked):
            return refuse(403, account[1], "ad account: not this token's", now_us)
        if asked.method == "GET":
            return say(segments=[shown(one) for one in lists.of(PLATFORM, account[1])])
        return made(lists, account[1], asked, now_us)
    segment = SEGMENT.fullmatch(asked.path)
    one = None if segment is None else lists.get(PLATFORM, segment[1])
    if segment is None or one is None or settings.audiences.snap.get(one.account) != bearer(asked):
        return refuse(404, "", "segment: not found", now_us)
    match (asked.method, segment[2]):
        case "GET", None:
            return say(segments=[shown(one)])
        case "DELETE", "/all_users":
            return msgspec.structs.replace(say(), taken=(taken(PLATFORM, one.id, "replace", now_us),))
        case (("POST" | "DELETE"), "/users"):
            return told(one, asked, settings, now_us)
        case _:
            return refuse(405, one.id, "method: not allowed", now_us)


def made(lists: Lists, account: str, asked: Asked, now_us: int) -> Answer:
    """A new segment."""
    body = json_body(asked)
    listed = body.get("segments") if isinstance(body, dict) else None
    first = listed[0] if isinstance(listed, list) and len(listed) == 1 else None
    if (
        not isinstance(first, dict)
        or not first.get("name")
        or first.get("source_type") != "FIRST_PARTY"
        or not isinstance(first.get("retention_in_days"), int)
        or first.get("ad_account_id") != account
    ):
        return refuse(400, account, "segments: name, source_type, retention_in_days, ad_account_id", now_us)
    list_id = lists.next_id(PLATFORM)
    done = taken(PLATFORM, list_id, "create", now_us, account=account, name=first["name"])
    new = OneList(platform=PLATFORM, account=account, id=list_id, name=first["name"])
    return msgspec.structs.replace(say(segments=[shown(new)]), taken=(done,))


def told(one: OneList, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """Users added or removed."""
    body = json_body(asked)
    users = body.get("users") if isinstance(body, dict) else None
    first = users[0] if isinstance(users, list) and len(users) == 1 else None
    schema = first.get("schema") if isinstance(first, dict) else None
    rows = first.get("data") if isinstance(first, dict) else None
    if not isinstance(schema, list) or len(schema) != 1 or str(schema[0]) not in SCHEMA:
        return refuse(400, one.id, "schema: one of Snap's kinds", now_us)
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ROWS:
        return refuse(400, one.id, "data: 1 to 100,000 rows", now_us)
    ids = [row[0] if isinstance(row, list) and len(row) == 1 else None for row in rows]
    if not all(SHA256.fits(each) for each in ids) or settings.audiences.bad_ids.intersection(map(str, ids)):
        return refuse(400, one.id, "data: not hashed", now_us, len(rows))
    name = "add" if asked.method == "POST" else "remove"
    done = taken(PLATFORM, one.id, name, now_us, members={str(each): None for each in ids})
    user = {"user": {"number_uploaded_users": len(rows)}, "sub_request_status": "SUCCESS"}
    return msgspec.structs.replace(say(users=[user]), taken=(done,))


def shown(one: OneList) -> dict[str, Any]:
    return {
        "sub_request_status": "success",
        "segment": {"id": one.id, "name": one.name, "approximate_number_users": one.size},
    }


def say(**body: Any) -> Answer:
    whole = {"request_status": "success", "request_id": "5f2d", **body}
    return Answer(status=200, body=msgspec.json.encode(whole), headers=JSON)


def broken(status: int) -> Answer:
    """What the host says when it fails by itself."""
    body = {"request_status": "ERROR", "debug_message": "failed on purpose"}
    return Answer(status=status, body=msgspec.json.encode(body), headers=JSON)


def refuse(status: int, account: str, why: str, now_us: int, rows: int = 1) -> Answer:
    """A request of which nothing was taken."""
    refused = Refused(
        platform=PLATFORM, account=account, reason=why, received_us=now_us, status=status, rows=rows
    )
    body = {"request_status": "ERROR", "debug_message": why, "error_code": f"E{status}"}
    return Answer(status=status, body=msgspec.json.encode(body), headers=JSON, refused=(refused,))
