"""The stand-in for Meta's custom audiences: made, told, told anew, looked at.

Source: developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience (users,
usersreplace) and its guide "customer file custom audiences", read 2026-11-22.
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.sandbox.audiences.lists import Lists, OneList, json_body, taken
from lendsignal.sandbox.meta import HOST, VERSIONS, envelope
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import SHA256, UUID, is_number, is_whole
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, decoded

__all__ = ["HOST", "beside"]

PLATFORM = "meta_audience"
PATH = re.compile(r"/v(\d{1,2})\.0/(act_\d+/customaudiences|\d+(?:/users|/usersreplace)?)")
MAX_ROWS = 10_000
HASHED = frozenset("EMAIL PHONE GEN DOBY DOBM DOBD LN FN FI CT ST ZIP COUNTRY".split())
KEYS = HASHED | {"MADID", "EXTERN_ID", "LOOKALIKE_VALUE"}
BAD_WORDS = re.compile(r"credit|score|income|default|overdue|debt|reject|risk|arrears", re.IGNORECASE)

Judge = Callable[[Asked, SandboxSettings, int], Answer]


def beside(lists: Lists, conversions: Judge, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What concerns lists is judged here, everything else by the stand-in for conversions."""
    found = PATH.fullmatch(asked.path)
    if found is None:
        return conversions(asked, settings, now_us)
    if int(found[1]) not in VERSIONS:
        return refuse(asked, "", now_us, 2635, "path: a version nobody serves")
    query = {key: values[0] for key, values in parse_qs(asked.query).items()}
    token = query.get("access_token", "")
    if token not in settings.audiences.meta.values():
        return refuse(asked, "", now_us, 190, "access_token: missing or invalid")
    place, _, edge = found[2].partition("/")
    if place.startswith("act_"):
        account = place.removeprefix("act_")
        if settings.audiences.meta.get(account) != token:
            return refuse(asked, account, now_us, 100, "ad account: not found", subcode=33)
        if asked.method == "GET":
            return listed(lists, account, query)
        return made(lists, account, asked, settings, now_us)
    one = lists.get(PLATFORM, place)
    if one is None or settings.audiences.meta.get(one.account) != token:
        return refuse(asked, place, now_us, 100, "list: not found", subcode=33)
    flagged = one.name in settings.audiences.meta_flagged
    if asked.method == "GET" and not edge:
        return looked_at(one, flagged=flagged)
    if asked.method == "DELETE" and not edge:
        done = taken(PLATFORM, one.id, "drop", now_us)
        return Answer(status=200, body=b'{"success":true}', headers=JSON, taken=(done,))
    if flagged:
        return refuse(asked, one.id, now_us, 100, "list: flagged", subcode=1713230)
    return told(lists, one, edge, asked, settings, now_us)


def listed(lists: Lists, account: str, query: dict[str, str]) -> Answer:
    """The lists of an account, of a name where one is asked for."""
    wanted = decoded(query.get("filtering", "null").encode())
    names = [one.get("value") for one in wanted or () if one.get("field") == "name"]
    data = [
        {"id": one.id, "name": one.name}
        for one in lists.of(PLATFORM, account)
        if not names or one.name in names
    ]
    return Answer(status=200, body=msgspec.json.encode({"data": data}), headers=JSON)


def looked_at(one: OneList, *, flagged: bool) -> Answer:
    """Size between two bounds; MOCK-CHOICE: everybody is found."""
    count = one.size
    body = {
        "id": one.id,
        "approximate_count_lower_bound": count,
        "approximate_count_upper_bound": count,
        "operation_status": {"code": 471 if flagged else 200, "description": "as it is"},
        "delivery_status": {"code": 200 if count >= 100 else 300, "description": "as it is"},
    }
    return Answer(status=200, body=msgspec.json.encode(body), headers=JSON)


def made(lists: Lists, account: str, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """A new list, or a look-alike of one."""
    body = json_body(asked)
    why = creation_problem(lists, account, body)
    if why is not None:
        return refuse(asked, account, now_us, 100, why)
    list_id = lists.next_id(PLATFORM)
    done = taken(
        PLATFORM, list_id, "create", now_us, account=account, name=body["name"],
        valued=body.get("is_value_based", False), kind=body["subtype"],
    )  # fmt: skip
    return Answer(status=200, body=msgspec.json.encode({"id": list_id}), headers=JSON, taken=(done,))


def creation_problem(lists: Lists, account: str, body: Any) -> str | None:
    """The first rule that a new list breaks."""
    if not isinstance(body, dict) or not isinstance(body.get("name"), str) or not body["name"]:
        return "name: required"
    if BAD_WORDS.search(body["name"]):
        return "name: tells a financial status"
    if body.get("subtype") == "CUSTOM":
        sources = ("USER_PROVIDED_ONLY", "PARTNER_PROVIDED_ONLY", "BOTH_USER_AND_PARTNER_PROVIDED")
        return None if body.get("customer_file_source") in sources else "customer_file_source: required"
    if body.get("subtype") != "LOOKALIKE":
        return "subtype: must be CUSTOM or LOOKALIKE"
    seed = lists.get(PLATFORM, str(body.get("origin_audience_id")))
    if seed is None or seed.account != account:
        return "origin_audience_id: not found"
    if seed.size < 100:
        return "origin_audience_id: fewer than 100 members"
    spec = body.get("lookalike_spec")
    spec = decoded(spec.encode()) if isinstance(spec, str) else spec
    ratio = spec.get("ratio") if isinstance(spec, dict) else None
    country = spec.get("country") if isinstance(spec, dict) else None
    if not is_number(ratio) or not 0.01 <= float(ratio or 0) <= 0.2 or not country:
        return "lookalike_spec: needs a ratio from 0.01 to 0.20 and a country"
    return None


def told(
    lists: Lists, one: OneList, edge: str, asked: Asked, settings: SandboxSettings, now_us: int
) -> Answer:
    """Members added, removed, or told anew within a session."""
    body = json_body(asked)
    payload = body.get("payload") if isinstance(body, dict) else None
    action = {("POST", "users"): "add", ("DELETE", "users"): "remove", ("POST", "usersreplace"): "part"}.get(
        (asked.method, edge)
    )
    if action is None or not isinstance(payload, dict):
        return refuse(asked, one.id, now_us, 100, "payload: required")
    why = payload_problem(payload, one, action)
    if why is not None:
        return refuse(asked, one.id, now_us, 100, why, rows=rows_of(payload))
    if action == "remove" and one.size < settings.audiences.meta_small:
        # MOCK-CHOICE: the code of a list that cannot be updated.
        return refuse(asked, one.id, now_us, 2650, "list: too small to remove from", rows=rows_of(payload))
    members, invalid = read_rows(payload, settings)
    item: dict[str, Any] = {"members": members}
    session_id = 0
    if action == "part":
        session = body.get("session")
        why = session_problem(lists, one, session)
        if why is not None:
            return refuse(asked, one.id, now_us, 100, why, rows=rows_of(payload))
        session_id = session["session_id"]
        item |= {"session": session_id, "number": session["batch_seq"], "last": session["last_batch_flag"]}
    answer = {
        "audience_id": one.id,
        "session_id": str(session_id),
        "num_received": len(payload["data"]),
        "num_invalid_entries": invalid,
        "invalid_entry_samples": {},
    }
    done = taken(PLATFORM, one.id, action, now_us, **item)
    return Answer(status=200, body=msgspec.json.encode(answer), headers=JSON, taken=(done,))


def payload_problem(payload: dict[str, Any], one: OneList, action: str) -> str | None:
    """The first rule that the payload as a whole breaks."""
    schema, data = payload.get("schema"), payload.get("data")
    if not isinstance(schema, list) or not schema or not set(map(str, schema)) <= KEYS:
        return "payload.schema: unknown keys"
    if not isinstance(data, list) or not data:
        return "payload.data: required"
    if len(data) > MAX_ROWS:
        return f"payload.data: at most {MAX_ROWS} rows"
    if any(not isinstance(cells, list) or len(cells) != len(schema) for cells in data):
        return "payload.data: every row as wide as the schema"
    if "LOOKALIKE_VALUE" in schema and (not one.valued or action == "remove"):
        return "payload.schema: LOOKALIKE_VALUE only in lists that take values"
    return None


def session_problem(lists: Lists, one: OneList, session: Any) -> str | None:
    """Parts come one after the other; MOCK-CHOICE: the last that came may come again."""
    if not isinstance(session, dict) or not is_whole(session.get("session_id")):
        return "session.session_id: required"
    number, last = session.get("batch_seq"), session.get("last_batch_flag")
    if not is_whole(number) or not isinstance(last, bool) or not is_whole(session.get("estimated_num_total")):
        return "session: batch_seq, last_batch_flag and estimated_num_total are required"
    known = lists.session(one.id, session["session_id"])
    came = max(known.parts, default=0)
    if known.ended and number != came:
        return "session: ended"
    return None if number in (came, came + 1) and number else f"session.batch_seq: {came + 1} is next"


def read_rows(payload: dict[str, Any], settings: SandboxSettings) -> tuple[dict[str, float | None], int]:
    """Members that could be read, by all of their cells, and how many rows could not."""
    schema: list[str] = payload["schema"]
    bad = settings.audiences.bad_ids
    members: dict[str, float | None] = {}
    invalid = 0
    for cells in payload["data"]:
        ids = {key: cell for key, cell in zip(schema, cells, strict=True) if key != "LOOKALIKE_VALUE"}
        value = dict(zip(schema, cells, strict=True)).get("LOOKALIKE_VALUE")
        fits = all(cell == "" or fits_key(key, cell) for key, cell in ids.items())
        known = any(ids.values()) and not bad.intersection(map(str, ids.values()))
        ranked = "LOOKALIKE_VALUE" not in schema or (is_number(value) and float(value or 0) >= 0)
        if not (fits and known and ranked):
            invalid += 1
        else:
            members["|".join(map(str, ids.values()))] = None if value is None else float(value)
    return members, invalid


def fits_key(key: str, cell: Any) -> bool:
    """Whether a cell is what its key asks for."""
    if key in HASHED:
        return SHA256.fits(cell)
    if key == "MADID":
        return UUID.fits(cell) and cell == cell.lower()
    return isinstance(cell, str)


def rows_of(payload: dict[str, Any]) -> int:
    data = payload.get("data")
    return len(data) if isinstance(data, list) else 1


def refuse(
    asked: Asked, account: str, now_us: int, code: int, why: str, *, subcode: int | None = None, rows: int = 1
) -> Answer:
    """Graph's error envelope."""
    refused = Refused(
        platform=PLATFORM, account=account, reason=why, received_us=now_us, status=400, rows=rows
    )
    body = envelope(code, why, asked.body, subcode=subcode)
    return Answer(status=400, body=body, headers=JSON, refused=(refused,))
