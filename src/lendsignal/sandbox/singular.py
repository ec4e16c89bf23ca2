"""The stand-in for Singular server-to-server events, EVENT endpoint V1 and V2.

Source: Singular's EVENT endpoint reference and response codes (support.singular.net 31496864868635 and
31542603988379, read 2026-11-22). Where the vendor is silent the line says MOCK-CHOICE, and
docs/reference/sandbox.md tables it.
"""

import re
from collections.abc import Mapping
from typing import Any

from lendsignal.sandbox.form import parameters
from lendsignal.sandbox.order import Latest
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import CURRENCY, IPV4, UUID, ZERO_UUID, Shape, matching, one_of
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded

HOST = "s2s.singular.net"
PATHS = {"/api/v1/evt": 1, "/api/v2/evt": 2}
PLATFORMS = frozenset("Android iOS Web PC Xbox Playstation Nintendo MetaQuest CTV".split())
MAX_NAME = 32
MAX_ATTRIBUTE = 500

SECONDS, MILLISECONDS = re.compile(r"\d{10}"), re.compile(r"\d{13}")
IDS = {
    "sdid": "singular_sdid",
    "aifa": "gaid",
    "idfa": "idfa",
    "idfv": "idfv",
    "oaid": "oaid",
    "andi": "android_id",
    "asid": "app_set_id",
    "amid": "amazon_id",
}
V1_IDS = {"Android": ("aifa", "asid", "amid", "oaid", "andi"), "iOS": ("idfv",)}
SHAPES: Mapping[str, Shape] = {
    "ip": IPV4,
    **dict.fromkeys(("aifa", "idfa", "idfv", "asid"), UUID),
    "sdid": matching(r"[0-9A-Za-z-]{8,64}", "a Singular device id"),
    "att_authorization_status": one_of("0", "1", "2", "3"),
    "amt": matching(r"-?\d+(?:\.\d+)?", "a number"),
    "cur": CURRENCY,
    "is_revenue_event": one_of("true", "false"),
    "use_ip": one_of("true", "false"),
    "country": matching(r"[A-Z]{2}", "an ISO 3166 code"),
    "utime": matching(SECONDS.pattern, "Unix seconds"),
    "umilisec": matching(MILLISECONDS.pattern, "Unix milliseconds"),
}
KNOWN = frozenset(
    "a p i n ve e ua custom_user_id data_sharing_options global_properties lc ma mo bd c".split()
)


def judge(latest: Latest, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Singular would answer at `now_us`, and what it would keep: the status is 200 either way."""
    version = PATHS.get(asked.path)
    if version is None or asked.method not in ("GET", "POST"):
        return refuse("not found", "path: must be /api/v1/evt or /api/v2/evt", "", now_us, status=404)
    given = parameters(asked)
    app = given.get("i", "")
    problem = first_problem(given, settings, version)
    if problem is not None:
        return refuse(problem, problem, app, now_us, item=without_key(given))
    moment = occurred_us(given)
    stamp = now_us if moment is None else moment
    keys = [(app, given[name]) for name in IDS if name in given]
    before = latest.of(keys)
    latest.note(keys, stamp)
    known = settings.singular_devices is None or bool(settings.singular_devices & set(given.values()))
    in_order = before is None or stamp >= before
    taken = take(given, moment, now_us, recorded=known, in_order=in_order, version=version)
    return Answer(status=200, body=b'{"status":"ok"}', headers=JSON, taken=(taken,))


def first_problem(given: Mapping[str, str], settings: SandboxSettings, version: int) -> str | None:
    """The reason Singular would give, which is the first rule the event breaks; `None` for none."""
    for name in ("a", "p", "i", "n"):
        if not given.get(name):
            return f"missing argument: {name}"
    if settings.singular.get(given["i"]) != given["a"]:  # MOCK-CHOICE of words: they are not published
        return "invalid api key"
    platform = given["p"]
    if platform not in PLATFORMS:
        return f"invalid platform: {platform[:20]}"
    if not given["n"].isascii() or len(given["n"]) > MAX_NAME:  # MOCK-CHOICE of words, as below
        return "invalid argument: n"
    if not given.get("ve"):
        return "missing argument: ve"
    if not (given.get("ip") or given.get("country") or given.get("use_ip") == "true"):
        return "missing argument: ip"
    return device_problem(given, platform, version) or form_problem(given)


def device_problem(given: Mapping[str, str], platform: str, version: int) -> str | None:
    """What is missing of the device: V2 knows the `sdid` alone."""
    if version == 2 or platform not in V1_IDS:
        if given.get("sdid"):
            return None
        return "no device ID supplied" if version == 2 else f"platform: {platform} should have an sdid param"
    return None if any(given.get(name) for name in V1_IDS[platform]) else "no device ID supplied"


def form_problem(given: Mapping[str, str]) -> str | None:
    """The first value of the wrong form."""
    for name, shape in SHAPES.items():
        if name in given and (not shape.fits(given[name]) or given[name] == ZERO_UUID):
            return f"invalid argument: {name}"
    if "amt" in given and "cur" not in given:
        return "missing argument: cur"
    if "e" in given and not fit_attributes(decoded(given["e"].encode())):
        return "invalid argument: e"
    for name in ("data_sharing_options", "global_properties"):
        if name in given and not isinstance(decoded(given[name].encode()), dict):
            return f"invalid argument: {name}"
    shared = decoded(given.get("data_sharing_options", "{}").encode())
    if not isinstance(shared.get("limit_data_sharing", False), bool):
        return "invalid argument: data_sharing_options"
    return None


def fit_attributes(value: Any) -> bool:
    """A JSON object; each key and each value at most 500 characters of ASCII."""
    return isinstance(value, dict) and all(
        str(each).isascii() and len(str(each)) <= MAX_ATTRIBUTE for pair in value.items() for each in pair
    )


def occurred_us(given: Mapping[str, str]) -> int | None:
    """The time sent, in microseconds; `None` where there is none."""
    if "umilisec" in given:
        return int(given["umilisec"]) * 1000
    return int(given["utime"]) * 1_000_000 if "utime" in given else None


def without_key(given: Mapping[str, str]) -> dict[str, str]:
    """The parameters without the SDK key: secrets are never kept."""
    return {name: value for name, value in given.items() if name != "a"}


def take(
    given: Mapping[str, str], moment: int | None, now_us: int, *, recorded: bool, in_order: bool, version: int
) -> Taken:
    """A valid event as Singular keeps it; without a time, at its arrival."""
    attributes = decoded(given.get("e", "{}").encode())
    known = {*KNOWN, *IDS, *SHAPES}
    warnings = [f"unknown key {key[:40]!r}" for key in given if key not in known]
    if not in_order:
        warnings.append("out of order: an earlier event after a later one of the device")
    if not recorded:
        warnings.append("answered ok and not recorded: no session of the device is known")
    if version == 2 and any(name in given for name in IDS if name != "sdid"):
        warnings.append("V2 knows a device by its sdid alone")
    return Taken(
        platform="singular",
        account=given["i"],
        conversion_id=attributes.get("conversion_id"),
        name=given["n"],
        occurred_us=moment,
        stamped_us=now_us if moment is None else moment,
        received_us=now_us,
        recorded=recorded,
        value=given.get("amt"),
        currency=given.get("cur"),
        ids={ours: given[theirs] for theirs, ours in IDS.items() if theirs in given},
        user_id=given.get("custom_user_id"),
        warnings=tuple(warnings),
        item=without_key(given),
    )


def refuse(words: str, reason: str, app: str, now_us: int, *, status: int = 200, item: Any = None) -> Answer:
    """Singular's refusal: an HTTP 200 with `status` and `reason`."""
    refused = Refused(
        platform="singular", account=app[:80], reason=reason, received_us=now_us, status=status, item=item
    )
    return Answer(status=status, body=error(words), headers=JSON, refused=(refused,))


def error(words: str) -> bytes:
    text = words.replace("\\", "").replace('"', "")
    return f'{{"status":"error","reason":"{text}"}}'.encode()


def broken(status: int) -> Answer:
    """What the host says when it fails by itself."""
    return Answer(status=status, body=b"service unavailable")
