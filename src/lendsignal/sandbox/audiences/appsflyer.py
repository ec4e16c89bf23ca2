"""The stand-in for AppsFlyer's Audience Import API v2.

Source: dev.appsflyer.com/hc/reference/import-audience (its openapi), read 2026-11-22.
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from typing import Any

import msgspec

from lendsignal.sandbox.audiences.lists import json_body, taken
from lendsignal.sandbox.google import bearer
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import UUID
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused

HOST = "hq1.appsflyer.com"
PLATFORM = "appsflyer_audience"
PATH = re.compile(r"/api/audiences-import-api/v2/(add|remove|overwrite)")
MAX_DEVICES = 5_000
"""MOCK-CHOICE: the page names the error and not the number."""
ADVERTISING = frozenset(("gaid", "idfa"))
IDS = frozenset("gaid oaid idfa idfv imei cuid braze_id amplitude_id".split())


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What AppsFlyer would answer: every device is taken, or none is."""
    found = PATH.fullmatch(asked.path)
    if found is None or asked.method != "POST":
        return refuse(404, "", "Not found", now_us)
    body = json_body(asked)
    key = body.get("import_key") if isinstance(body, dict) else None
    audience = settings.audiences.appsflyer.get(str(key))
    if not any(bearer(asked) == one.token for one in settings.audiences.appsflyer.values()):
        return refuse(403, "", "Forbidden", now_us)
    if audience is None or audience.token != bearer(asked):
        return refuse(400, "", "Invalid import key", now_us)
    if body.get("platform") != audience.platform:
        return refuse(400, str(key), "Invalid audience platform", now_us)
    devices = body.get("devices")
    if not isinstance(devices, list) or not devices:
        return refuse(400, str(key), "Device list cannot be empty", now_us)
    if len(devices) > MAX_DEVICES:
        why = f"Cannot process more than {MAX_DEVICES} devices per request"
        return refuse(400, str(key), why, now_us, len(devices))
    members: dict[str, float | None] = {}
    for device in devices:
        device = device if isinstance(device, dict) else {}
        ids = {name: value for name, value in device.items() if name in IDS}
        if device.get("app_id") != audience.app_id:
            return refuse(400, str(key), "rows do not contain an app id", now_us, len(devices))
        unfit = [name for name in ids if name in ADVERTISING and not UUID.fits(ids[name])]
        if not ids or unfit or settings.audiences.bad_ids.intersection(map(str, ids.values())):
            return refuse(400, str(key), "rows without a valid unique identifier", now_us, len(devices))
        if len(ids) > 1 and found[1] == "remove":
            return refuse(400, str(key), "devices with more than one identifier", now_us, len(devices))
        members["|".join(map(str, ids.values()))] = None
    name = {"add": "add", "remove": "remove", "overwrite": "replace"}[found[1]]
    done = taken(PLATFORM, str(key), name, now_us, account=audience.app_id, members=members)
    return Answer(status=200, body=b'{"message":"The request was successful"}', headers=JSON, taken=(done,))


def broken(status: int) -> Answer:
    """What the host says when it fails by itself."""
    return Answer(status=status, body=msgspec.json.encode({"message": "failed on purpose"}), headers=JSON)


def refuse(status: int, account: str, why: str, now_us: int, rows: int = 1) -> Answer:
    """A request of which nothing was taken."""
    refused = Refused(
        platform=PLATFORM, account=account, reason=why, received_us=now_us, status=status, rows=rows
    )
    body: dict[str, Any] = {"message": why}
    return Answer(status=status, body=msgspec.json.encode(body), headers=JSON, refused=(refused,))
