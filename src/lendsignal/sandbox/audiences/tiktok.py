"""The stand-in for TikTok's audiences: the mapping family and the file family.

Source: GitHub api-evangelist/tiktok-ads (openapi and errors, transcribed from business-api.tiktok.com) and
segmentio/action-destinations tiktok-audiences, read 2026-11-22.
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from collections.abc import Callable
from email.parser import BytesParser
from hashlib import md5
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.sandbox.audiences.lists import Lists, OneList, json_body, taken
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import SHA256
from lendsignal.sandbox.tiktok import HOST, envelope
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, decoded

__all__ = ["HOST", "beside"]

PLATFORM = "tiktok_audience"
PATH = re.compile(r"/open_api/v1\.3/(segment/(?:audience|mapping)|dmp/custom_audience/[a-z/]+)/")
SCHEMA = frozenset("EMAIL_SHA256 PHONE_SHA256 IDFA_SHA256 AAID_SHA256 IDFA_MD5 AAID_MD5".split())
FILES = frozenset("EMAIL_SHA256 PHONE_SHA256 IDFA_SHA256 GAID_SHA256 IDFA_MD5 GAID_MD5".split())
LOCATION = re.compile(r"[1-9]\d{3,9}")
MAX_ROWS = 10_000
"""MOCK-CHOICE: connectors send as many; TikTok names no limit."""
MOST_FILES = 49
BAD_TOKEN, INVALID, NOT_FOUND = 40105, 40002, 40007

Judge = Callable[[Asked, SandboxSettings, int], Answer]


def beside(lists: Lists, conversions: Judge, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What concerns audiences is judged here, everything else by the stand-in for conversions."""
    found = PATH.fullmatch(asked.path)
    if found is None:
        return conversions(asked, settings, now_us)
    token = asked.headers.get("access-token", "")
    if token not in settings.audiences.tiktok.values():
        return refuse(asked, "", BAD_TOKEN, "Access token is incorrect", now_us)
    query = {key: values[0] for key, values in parse_qs(asked.query).items()}
    form = multipart(asked)
    body = json_body(asked) if not form else None
    given = form or (body if isinstance(body, dict) else query)
    advertisers = given.get("advertiser_ids") or [given.get("advertiser_id")]
    if not isinstance(advertisers, list):
        return refuse(asked, "", INVALID, "advertiser_ids: a list of advertisers", now_us)
    if any(settings.audiences.tiktok.get(str(one)) != token for one in advertisers):
        return refuse(asked, str(advertisers[0]), 40001, "No permission for the advertiser", now_us)
    account = str(advertisers[0])
    match (asked.method, found[1]):
        case "POST", "segment/audience":
            return made(lists, account, given, asked, now_us)
        case "POST", "segment/mapping":
            return mapped(lists, account, given, asked, settings, now_us)
        case "POST", "dmp/custom_audience/file/upload":
            return uploaded(account, given, asked, settings, now_us)
        case "POST", "dmp/custom_audience/create":
            return made_of_files(lists, account, given, asked, now_us)
        case "POST", "dmp/custom_audience/update":
            return updated(lists, account, given, asked, now_us)
        case "POST", "dmp/custom_audience/lookalike/create":
            return look_alike(lists, account, given, asked, now_us)
        case "GET", "dmp/custom_audience/list":
            listed = [{"audience_id": one.id, "name": one.name} for one in lists.of(PLATFORM, account)]
            return say({"list": listed[::-1][:100]})
        case "GET", "dmp/custom_audience/get":
            wanted = decoded(query.get("custom_audience_ids", "[]").encode()) or []
            found_lists = [one for one in lists.of(PLATFORM, account) if one.id in wanted]
            details = [{"audience_details": {"cover_num": one.size}} for one in found_lists]
            return say({"list": details})
        case _:
            return refuse(asked, account, 40006, "Unknown path", now_us)


def made(lists: Lists, account: str, body: dict[str, Any], asked: Asked, now_us: int) -> Answer:
    """An empty audience."""
    name = body.get("custom_audience_name")
    if body.get("action") != "create" or not isinstance(name, str) or not 0 < len(name) <= 128:
        return refuse(asked, account, INVALID, "custom_audience_name: required", now_us)
    if any(one.name == name for one in lists.of(PLATFORM, account)):
        return refuse(asked, account, INVALID, "custom_audience_name: taken", now_us)
    list_id = lists.next_id(PLATFORM)
    done = taken(PLATFORM, list_id, "create", now_us, account=account, name=name, kind="mapping")
    return msgspec.structs.replace(say({"audience_id": list_id}), taken=(done,))


def mapped(
    lists: Lists, account: str, body: dict[str, Any], asked: Asked, settings: SandboxSettings, now_us: int
) -> Answer:
    """Ids that join audiences, or leave them."""
    schema, rows = body.get("id_schema"), body.get("batch_data")
    if body.get("action") not in ("add", "delete"):
        return refuse(asked, account, INVALID, "action: must be add or delete", now_us)
    if not isinstance(schema, list) or not schema or not set(map(str, schema)) <= SCHEMA:
        return refuse(asked, account, INVALID, "id_schema: unknown", now_us)
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ROWS:
        return refuse(asked, account, INVALID, "batch_data: required", now_us)
    by_list: dict[str, dict[str, float | None]] = {}
    for cells in rows:
        if not isinstance(cells, list) or len(cells) != len(schema):
            return refuse(asked, account, INVALID, "batch_data: as wide as id_schema", now_us, len(rows))
        if not all(isinstance(cell, dict) and is_cell(cell) for cell in cells):
            return refuse(asked, account, INVALID, "batch_data: cells with id and audience_ids", now_us)
        given = [cell for cell in cells if cell]
        ids = [str(cell.get("id")) for cell in given]
        if not ids or not all(SHA256.fits(each) for each in ids) or settings.audiences.bad_ids & set(ids):
            return refuse(asked, account, INVALID, "batch_data: not hashed", now_us, len(rows))
        for list_id in {each for cell in given for each in cell.get("audience_ids", ())}:
            one = lists.get(PLATFORM, list_id)
            if one is None or one.account != account:
                return refuse(asked, account, NOT_FOUND, "audience_ids: unknown", now_us, len(rows))
            member = "|".join(str(cell.get("id", "")) for cell in cells)
            by_list.setdefault(list_id, {})[member] = None
    name = "add" if body["action"] == "add" else "remove"
    done = tuple(
        taken(PLATFORM, list_id, name, now_us, members=members) for list_id, members in by_list.items()
    )
    return msgspec.structs.replace(say({}), taken=done)


def is_cell(cell: dict[str, Any]) -> bool:
    """An id with its audiences, or nothing."""
    lists = cell.get("audience_ids")
    return not cell or (isinstance(lists, list) and all(isinstance(each, str) for each in lists))


def uploaded(
    account: str, form: dict[str, Any], asked: Asked, settings: SandboxSettings, now_us: int
) -> Answer:
    """A file of ids of one kind; its MD5 must be right."""
    content: bytes = form.get("file") or b""
    signature = md5(content, usedforsecurity=False).hexdigest()
    if form.get("calculate_type") not in FILES:
        return refuse(asked, account, INVALID, "calculate_type: unknown", now_us)
    if form.get("file_signature") != signature or not content:
        return refuse(asked, account, INVALID, "file_signature: not the file's MD5", now_us)
    ids = [line.strip() for line in content.decode("latin-1").splitlines() if line.strip()]
    if not all(SHA256.fits(each) for each in ids) or settings.audiences.bad_ids & set(ids):
        return refuse(asked, account, INVALID, "file: not hashed", now_us, len(ids))
    path = f"{form['calculate_type']}/{signature}"
    done = taken(PLATFORM, account, "file", now_us, path=path, ids=ids)
    return msgspec.structs.replace(say({"file_path": path}), taken=(done,))


def made_of_files(lists: Lists, account: str, body: dict[str, Any], asked: Asked, now_us: int) -> Answer:
    """An audience of uploaded files."""
    name, kind = body.get("custom_audience_name"), body.get("calculate_type")
    found = ids_of(lists, body, str(kind))
    if not isinstance(name, str) or not 0 < len(name) <= 128 or found is None:
        return refuse(asked, account, INVALID, "file_paths or custom_audience_name: wrong", now_us)
    list_id = lists.next_id(PLATFORM)
    done = (
        taken(PLATFORM, list_id, "create", now_us, account=account, name=name, kind=str(kind)),
        taken(PLATFORM, list_id, "add", now_us, members=found),
    )
    return msgspec.structs.replace(say({"custom_audience_id": list_id}), taken=done)


def updated(lists: Lists, account: str, body: dict[str, Any], asked: Asked, now_us: int) -> Answer:
    """Files that join an audience, leave it, or become it."""
    one = lists.get(PLATFORM, str(body.get("custom_audience_id")))
    name = {"APPEND": "add", "REMOVE": "remove", "REPLACE": "replace"}.get(str(body.get("action")))
    if one is None or one.account != account:
        return refuse(asked, account, NOT_FOUND, "custom_audience_id: unknown", now_us)
    found = ids_of(lists, body, one.kind)
    if name is None or found is None:
        return refuse(asked, account, INVALID, "action or file_paths: wrong", now_us)
    done = taken(PLATFORM, one.id, name, now_us, members=found)
    return msgspec.structs.replace(say({}), taken=(done,))


def look_alike(lists: Lists, account: str, body: dict[str, Any], asked: Asked, now_us: int) -> Answer:
    """An audience like a seed of at least 100 members that is itself none."""
    spec = body.get("lookalike_spec")
    seed: OneList | None = (
        lists.get(PLATFORM, str(spec.get("source_audience_id"))) if isinstance(spec, dict) else None
    )
    if seed is None or seed.kind == "lookalike" or seed.size < 100:
        return refuse(asked, account, INVALID, "source_audience_id: no seed of 100 members", now_us)
    places = spec.get("location_ids") if isinstance(spec, dict) else None
    if not isinstance(places, list) or not places or not all(LOCATION.fullmatch(str(one)) for one in places):
        return refuse(asked, account, INVALID, "location_ids: ids of places", now_us)
    list_id = lists.next_id(PLATFORM)
    name = str(body.get("custom_audience_name"))
    done = taken(PLATFORM, list_id, "create", now_us, account=account, name=name, kind="lookalike")
    return msgspec.structs.replace(say({"custom_audience_id": list_id}), taken=(done,))


def ids_of(lists: Lists, body: dict[str, Any], kind: str) -> dict[str, float | None] | None:
    """The ids in the named files; `None` where one is unknown, of another kind, or there are too many."""
    paths = body.get("file_paths")
    if not isinstance(paths, list) or not 0 < len(paths) <= MOST_FILES:
        return None
    found: dict[str, float | None] = {}
    for path in paths:
        ids = lists.file(str(path))
        if ids is None or not str(path).startswith(f"{kind}/"):
            return None
        found.update(dict.fromkeys(ids))
    return found


def multipart(asked: Asked) -> dict[str, Any]:
    """The fields of a form with a file; empty where the body is none."""
    kind = asked.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return {}
    message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + asked.body)
    fields: dict[str, Any] = {}
    for part in message.walk():
        if part.is_multipart():
            continue
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        fields[str(name)] = content if name == "file" else content.decode()
    return fields


def say(data: dict[str, Any]) -> Answer:
    body = {"code": 0, "message": "OK", "request_id": "202611220000", "data": data}
    return Answer(status=200, body=msgspec.json.encode(body), headers=JSON)


def refuse(asked: Asked, account: str, code: int, why: str, now_us: int, rows: int = 1) -> Answer:
    """TikTok's envelope: HTTP 200 with a code that is not 0."""
    refused = Refused(
        platform=PLATFORM, account=account, reason=why, received_us=now_us, status=200, rows=rows
    )
    body = envelope(code, why, asked.body)
    return Answer(status=200, body=body, headers=JSON, refused=(refused,))
