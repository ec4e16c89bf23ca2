"""The stand-ins for erasures: AppsFlyer's OpenDSR requests, and Adjust's call that forgets a device.

Sources: AppsFlyer, "OpenDSR API" of the developer hub (its OpenAPI, read 2026-11-22); Adjust, "data erasure
API" (GitHub adjust/dev-docs, commit d038d686, read 2026-11-22). Where they are silent the line says
MOCK-CHOICE.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from lendsignal.clock import from_us
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import UPPER_UUID, UUID, Shape, matching
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

ADJUST_HOST = "gdpr.adjust.com"
PATH = "/api/gdpr/v1/opendsr_requests"
PER_MINUTE = 10
MINUTE_US = 60_000_000

ADJUST_IDS: Mapping[str, tuple[str, Shape]] = {
    "idfa": ("idfa", UPPER_UUID),
    "idfv": ("idfv", UPPER_UUID),
    "gps_adid": ("gaid", UUID),
    "fire_adid": ("fire_adid", UUID),
    "win_adid": ("win_adid", matching(r"[0-9a-f]{32}", "32 hex digits")),
    "adid": ("adjust_adid", matching(r"[0-9a-f]{32}", "32 hex digits")),
}

IDENTITIES: Mapping[str, tuple[str, Shape, frozenset[str]]] = {
    "appsflyer_id": (
        "appsflyer_id",
        matching(r"\d{13}-\d{7,19}", "13 digits, a hyphen and 7 to 19 digits"),
        frozenset(("android", "ios")),
    ),
    "android_advertising_id": ("gaid", UUID, frozenset(("android",))),
    "ios_advertising_id": ("idfa", UPPER_UUID, frozenset(("ios",))),
    "idfv": ("idfv", UPPER_UUID, frozenset(("ios",))),
    "customer_user_id": ("user_id", matching(r".+", "text"), frozenset(("android", "ios"))),
}

REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Forgotten:
    """What was asked while the sandbox runs: OpenDSR requests, and Adjust's calls of the last minute."""

    def __init__(self) -> None:
        self.requests: dict[str, tuple[str, str, int]] = {}
        self.devices: set[tuple[str, str]] = set()
        self.calls: list[int] = []

    def forget(self) -> None:
        """Nothing was ever asked."""
        self.requests.clear()
        self.devices.clear()
        self.calls.clear()


def beside(
    forgotten: Forgotten, otherwise: Callable[[Asked, SandboxSettings, int], Answer]
) -> Callable[[Asked, SandboxSettings, int], Answer]:
    """AppsFlyer's host with OpenDSR beside what else it does."""

    def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
        if asked.path.startswith("/api/gdpr/"):
            return appsflyer(forgotten, asked, settings, now_us)
        return otherwise(asked, settings, now_us)

    return judge


def appsflyer(forgotten: Forgotten, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What OpenDSR would answer at `now_us`."""
    given = asked.headers.get("authorization", "")
    apps = settings.appsflyer_api_tokens.get(given.removeprefix("Bearer "))
    if apps is None or not given.startswith("Bearer "):
        # MOCK-CHOICE: the page names no status for a wrong token.
        return _refused(401, "e412", "authorization: an unknown token", "", now_us)
    if asked.method == "GET" and asked.path.startswith(f"{PATH}/"):
        return _status(forgotten, asked.path.removeprefix(f"{PATH}/"), settings, now_us)
    if asked.method != "POST" or asked.path != PATH:
        return _refused(404, "e214", f"path: must be POST {PATH}", "", now_us)
    if media_type(asked.headers) != "application/json":
        return _refused(400, "e311", "content-type: must be application/json", "", now_us)
    item = decoded(asked.body)
    if not isinstance(item, dict):
        return _refused(400, "e326", "body: must be one JSON object", "", now_us)
    app = item.get("property_id")
    account = app if isinstance(app, str) else ""
    problem = _problem(item, apps)
    if problem is not None:
        return _refused(400, *problem, account, now_us, item)
    request, (identity,) = item["subject_request_id"], item["subject_identities"]
    subject = f"{account}\x1f{identity['identity_value']}"
    if request in forgotten.requests:
        return _refused(400, "e213", "subject_request_id: exists", account, now_us, item)
    waits = settings.appsflyer_erasure_seconds * 1_000_000
    if any(known == subject and now_us < at + waits for _, known, at in forgotten.requests.values()):
        return _refused(400, "e215", "subject_identities: in an open request", account, now_us, item)
    forgotten.requests[request] = (account, subject, now_us)
    kind, value = identity["identity_type"], identity["identity_value"]
    taken = Taken(
        platform="appsflyer_erasure",
        account=account,
        conversion_id=None,
        name="erasure",
        occurred_us=None,
        stamped_us=now_us,
        received_us=now_us,
        ids={IDENTITIES[kind][0]: value},
        item=item,
    )
    body = {
        "subject_request_id": request,
        "expected_completion_time": _text(now_us + timedelta(days=15) // timedelta(microseconds=1)),
        "received_time": _text(now_us),
    }
    return Answer(status=201, body=msgspec.json.encode(body), headers=JSON, taken=(taken,))


def _problem(item: Mapping[str, Any], apps: frozenset[str]) -> tuple[str, str] | None:
    """AppsFlyer's code and the rule that is broken."""
    request, at, version = (item.get(key) for key in ("subject_request_id", "submitted_time", "api_version"))
    if not isinstance(request, str) or REQUEST_ID.fullmatch(request) is None:
        return "e313", "subject_request_id: must be a UUID of version 4"
    if item.get("subject_request_type") != "erasure":
        return "e322", "subject_request_type: must be erasure"
    if not isinstance(at, str) or MOMENT.fullmatch(at) is None:
        return "e314", "submitted_time: must be RFC 3339 in UTC"
    if version != "0.1":
        return "e312", "api_version: must be 0.1"
    if item.get("property_id") not in apps:
        return "e411", "property_id: no app of this account"
    found = item.get("subject_identities")
    if not isinstance(found, list) or len(found) != 1:  # MOCK-CHOICE: the page names no length
        return "e324", "subject_identities: must hold one"
    (identity,) = found
    if not isinstance(identity, dict) or identity.get("identity_format") != "raw":
        return "e323", "subject_identities: must be type, value and format raw"
    kind = IDENTITIES.get(str(identity.get("identity_type")))
    if kind is None:
        return "e318", "identity_type: not one of those listed"
    if item.get("platform") not in kind[2]:
        return "e319", "platform: does not fit the identity"
    if not kind[1].fits(identity.get("identity_value")):
        return "e325", f"identity_value: must be {kind[1].says}"
    return None


def _status(forgotten: Forgotten, request: str, settings: SandboxSettings, now_us: int) -> Answer:
    known = forgotten.requests.get(request)
    if known is None:
        return _refused(400, "e214", "subject_request_id: unknown", "", now_us)
    waited = now_us - known[2]
    share = waited / max(1.0, settings.appsflyer_erasure_seconds * 1e6)
    said = "completed" if share >= 1 else "in-progress" if share >= 0.5 else "pending"
    body = {"subject_request_id": request, "controller_id": "acme", "request_status": said}
    return Answer(status=200, body=msgspec.json.encode(body), headers=JSON)


def adjust(forgotten: Forgotten, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Adjust's erasure call would answer at `now_us`."""
    forgotten.calls[:] = [at for at in forgotten.calls if now_us - at < MINUTE_US]
    if len(forgotten.calls) >= PER_MINUTE:
        return _no(429, "rate: at most 10 requests a minute", "", now_us)
    forgotten.calls.append(now_us)
    if asked.method != "POST" or asked.path != "/gdpr_forget_device":
        return _no(404, "path: must be POST /gdpr_forget_device", "", now_us)
    given = dict(parse_qsl(asked.query, keep_blank_values=True))
    app = given.get("app_token", "")
    if app not in settings.adjust:
        return _no(400, "app_token: unknown", app, now_us)
    wanted = settings.adjust[app]
    if wanted and asked.headers.get("authorization", "") != f"Bearer {wanted}":
        return _no(401, "authorization: missing or unknown", app, now_us)
    if given.get("s2s") != "1":
        return _no(400, "s2s: must be 1", app, now_us)
    ids = {name: value for name, value in given.items() if name in ADJUST_IDS}
    if len(ids) != 1 or given.keys() - ids.keys() != {"s2s", "app_token"}:
        return _no(400, "query: must be s2s, app_token and one id", app, now_us)
    ((name, value),) = ids.items()
    ours, shape = ADJUST_IDS[name]
    if not shape.fits(value):
        return _no(400, f"{name}: must be {shape.says}", app, now_us)
    if value in settings.adjust_opted_out or (app, value) in forgotten.devices:
        return _no(451, "device: forgotten before", app, now_us)
    forgotten.devices.add((app, value))
    taken = Taken(
        platform="adjust_erasure",
        account=app,
        conversion_id=None,
        name="erasure",
        occurred_us=None,
        stamped_us=now_us,
        received_us=now_us,
        ids={ours: value},
        item=given,
    )
    return Answer(status=200, body=b'{"status":"OK"}', headers=JSON, taken=(taken,))


def broken(status: int) -> Answer:
    """What either host says when it fails by itself."""
    return Answer(status=status, body=b'{"error":"not now"}', headers=JSON)


def _no(status: int, reason: str, account: str, now_us: int) -> Answer:
    refused = Refused(
        platform="adjust_erasure", account=account, reason=reason, received_us=now_us, status=status
    )
    return Answer(status=status, body=b'{"error":"not taken"}', headers=JSON, refused=(refused,))


def _refused(status: int, code: str, reason: str, account: str, now_us: int, item: Any = None) -> Answer:
    refused = Refused(
        platform="appsflyer_erasure",
        account=account,
        reason=reason,
        received_us=now_us,
        status=status,
        item=item,
    )
    body = {"error": {"code": status, "message": reason, "af_gdpr_code": code}}
    return Answer(status=status, body=msgspec.json.encode(body), headers=JSON, refused=(refused,))


def _text(moment_us: int) -> str:
    return f"{from_us(moment_us):%Y-%m-%dT%H:%M:%SZ}"
