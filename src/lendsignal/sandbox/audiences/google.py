"""The stand-in for the Data Manager API's lists: `userLists`, `audienceMembers` told, removed, dropped.

Source: developers.google.com/data-manager/api (audiences, limits, errors), protos of v1, read 2026-11-22.
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.clock import to_us
from lendsignal.sandbox.audiences.lists import Lists, OneList, json_body, taken
from lendsignal.sandbox.google import bearer, envelope
from lendsignal.sandbox.google_data_manager import HOST, STATUS
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import SHA256, UUID, one_of
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused

__all__ = ["HOST", "beside"]

PLATFORM = "google_audience"
MEMBERS = re.compile(r"/v1/audienceMembers:(ingest|remove|removeAll)")
USER_LISTS = re.compile(r"/v1/accountTypes/GOOGLE_ADS/accounts/(\d{10})/userLists(?:/(\d+))?")
MAX_MEMBERS, MAX_IDS = 10_000, 10
ENCODINGS = one_of("HEX", "BASE64")
GRANTS = one_of("CONSENT_GRANTED", "CONSENT_DENIED", "CONSENT_STATUS_UNSPECIFIED")
TERMS = one_of("ACCEPTED", "REJECTED", "TERMS_OF_SERVICE_STATUS_UNSPECIFIED")
KINDS = {"mobileData": "MOBILE_ID", "userData": "CONTACT_ID"}
NAME = re.compile(r'display_name\s*=\s*"([^"]*)"')

Judge = Callable[[Asked, SandboxSettings, int], Answer]


def beside(lists: Lists, conversions: Judge, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What concerns lists is judged here, everything else by the stand-in for conversions."""
    members, user_lists = MEMBERS.fullmatch(asked.path), USER_LISTS.fullmatch(asked.path)
    handle = parse_qs(asked.query).get("requestId", [""])[0]
    if asked.path == STATUS and handle.startswith("list~"):
        return verdict(handle, asked, settings, now_us)
    if members is None and user_lists is None:
        return conversions(asked, settings, now_us)
    token = bearer(asked)
    if not any(token == account.token for account in settings.google_ads.values()):
        return refuse(401, "", "authorization: unknown token", now_us)
    if user_lists is not None:
        return listed_or_made(lists, user_lists[1], user_lists[2], asked, settings, now_us)
    assert members is not None
    return told(lists, members[1], asked, settings, now_us)


def listed_or_made(
    lists: Lists, account: str, list_id: str | None, asked: Asked, settings: SandboxSettings, now_us: int
) -> Answer:
    """The lists of an account, one of them, or a new one."""
    known = settings.google_ads.get(account)
    if known is None or known.token != bearer(asked):
        return refuse(403, account, "account: not this token's", now_us)
    if list_id is not None:
        one = lists.get(PLATFORM, list_id)
        if one is None or asked.method != "GET":
            return refuse(404, account, "list: not found", now_us)
        return say({"id": one.id, "displayName": one.name, "sizeInfo": sizes(one)})
    if asked.method == "GET":
        wanted = NAME.search(parse_qs(asked.query).get("filter", [""])[0])
        found = [
            {"id": one.id, "displayName": one.name}
            for one in lists.of(PLATFORM, account)
            if wanted is None or one.name == wanted[1]
        ]
        return say({"userLists": found})
    body = json_body(asked)
    why = creation_problem(body)
    if why is not None:
        return refuse(400, account, why, now_us, field=why.partition(":")[0], reason="INVALID_ARGUMENT")
    new_id = lists.next_id(PLATFORM)
    done = taken(
        PLATFORM, new_id, "create", now_us, account=account, name=body["displayName"],
        kind=body["ingestedUserListInfo"]["uploadKeyTypes"][0],
    )  # fmt: skip
    return msgspec.structs.replace(say({"id": new_id, "displayName": body["displayName"]}), taken=(done,))


def creation_problem(body: Any) -> str | None:
    """The first rule that a new list breaks."""
    if not isinstance(body, dict) or not isinstance(body.get("displayName"), str) or not body["displayName"]:
        return "displayName: required"
    span = re.fullmatch(r"(\d+)s", str(body.get("membershipDuration", "")))
    if span is None or int(span[1]) % 86_400 or not 0 < int(span[1]) <= 540 * 86_400:
        return "membershipDuration: whole days, at most 540"
    info = body.get("ingestedUserListInfo")
    info = info if isinstance(info, dict) else {}
    kinds = info.get("uploadKeyTypes")
    if kinds not in (["MOBILE_ID"], ["CONTACT_ID"]):
        return "ingestedUserListInfo.uploadKeyTypes: one kind"
    mobile = info.get("mobileIdInfo") or {}
    if kinds == ["MOBILE_ID"] and (
        mobile.get("keySpace") not in ("IOS", "ANDROID") or not mobile.get("appId")
    ):
        return "ingestedUserListInfo.mobileIdInfo: needs keySpace and appId"
    return None


def told(lists: Lists, verb: str, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """Members told, removed, or dropped; whether they are well is said later."""
    body = json_body(asked)
    if asked.method != "POST":
        return refuse(404, "", "method: must be POST", now_us)
    if not isinstance(body, dict):
        return refuse(400, "", "body: must be a JSON object", now_us)
    destinations = body.get("destinations")
    first = destinations[0] if isinstance(destinations, list) and len(destinations) == 1 else None
    operating = first.get("operatingAccount") if isinstance(first, dict) else None
    operating = operating if isinstance(operating, dict) else {}
    account = operating.get("accountId") if operating.get("accountType") == "GOOGLE_ADS" else None
    known = settings.google_ads.get(str(account))
    if known is None or known.token != bearer(asked) or not isinstance(first, dict):
        return refuse(403, str(account), "destinations: not this token's", now_us)
    if (first.get("loginAccount") or {}).get("accountId") != known.login_customer_id:
        return refuse(403, str(account), "destinations: another login account", now_us)
    one = lists.get(PLATFORM, str(first.get("productDestinationId")))
    if one is None or one.account != account:
        return refuse(
            400, str(account), "list: not found", now_us,
            field="destinations[0].product_destination_id", reason="INVALID_USER_LIST_ID",
        )  # fmt: skip
    members = body.get("audienceMembers")
    count = len(members) if isinstance(members, list) else 0
    handle = f"list~{now_us}~{one.id}~{count}~{verb}~{one.kind}"
    if verb == "removeAll":
        moment = body.get("removeAsOfTime")
        before_us = now_us if moment is None else to_us(datetime.fromisoformat(moment).astimezone(UTC))
        done = taken(PLATFORM, one.id, "clear", now_us, before_us=before_us)
        return msgspec.structs.replace(say({"requestId": handle}), taken=(done,))
    wrong = request_problem(body, verb) or member_problem(body, one, settings)
    if wrong is not None:
        field, reason = wrong
        return refuse(400, one.id, f"{field}: {reason}", now_us, field=field, reason=reason, rows=count)
    told_of = {"|".join(identifiers(member)): None for member in body["audienceMembers"]}
    done = taken(PLATFORM, one.id, "add" if verb == "ingest" else "remove", now_us, members=told_of)
    return msgspec.structs.replace(say({"requestId": handle}), taken=(done,))


def request_problem(body: dict[str, Any], verb: str) -> tuple[str, str] | None:
    """Field and Google's reason of what is wrong with the request as a whole."""
    allowed = {"destinations", "audienceMembers", "encoding", "validateOnly", "encryptionInfo"}
    allowed |= {"consent", "termsOfService"} if verb == "ingest" else set()
    for key in body.keys() - allowed:
        return key[:40], "INVALID_ARGUMENT"
    members = body.get("audienceMembers")
    if not isinstance(members, list) or not members:
        return "audience_members", "REQUIRED_FIELD_MISSING"
    if len(members) > MAX_MEMBERS:
        return "audience_members", "TOO_MANY_AUDIENCE_MEMBERS"
    kinds = {key for member in members if isinstance(member, dict) for key in member if key in KINDS}
    if len(kinds) > 1:
        return "audience_members", "MULTIPLE_DATA_TYPES_NOT_ALLOWED"
    if not ENCODINGS.fits(body.get("encoding", "HEX")):
        return "encoding", "INVALID_ARGUMENT"
    consent, terms = body.get("consent", {}), body.get("termsOfService", {})
    if not isinstance(consent, dict) or not all(map(GRANTS.fits, consent.values())):
        return "consent", "INVALID_ARGUMENT"
    if not isinstance(terms, dict) or not all(map(TERMS.fits, terms.values())):
        return "terms_of_service", "INVALID_ARGUMENT"
    signed = terms.get("customerMatchTermsOfServiceStatus") == "ACCEPTED"
    if verb == "ingest" and "userData" in kinds and not signed:
        return "terms_of_service", "TERMS_AND_CONDITIONS_NOT_SIGNED"
    return None


def member_problem(body: dict[str, Any], one: OneList, settings: SandboxSettings) -> tuple[str, str] | None:
    """Field and reason of the first bad member: one refuses them all."""
    for index, member in enumerate(body["audienceMembers"]):
        where = f"audience_members[{index}]"
        kinds = [key for key in member if key in KINDS] if isinstance(member, dict) else []
        if len(kinds) != 1 or KINDS[kinds[0]] != one.kind:
            return where, "INVALID_USER_LIST_TYPE" if kinds else "NO_IDENTIFIERS_PROVIDED"
        ids = identifiers(member)
        if not 0 < len(ids) <= MAX_IDS:
            return where, "NO_IDENTIFIERS_PROVIDED"
        if kinds == ["mobileData"] and not all(UUID.fits(each) for each in ids):
            return f"{where}.mobile_data", "INVALID_MOBILE_ID_FORMAT"
        if kinds == ["userData"] and (
            body.get("encoding") != "HEX" or not all(SHA256.fits(each) for each in ids)
        ):
            return f"{where}.user_data", "INVALID_HEX_ENCODING"
        if settings.audiences.bad_ids.intersection(ids):
            return f"{where}.user_data", "INVALID_SHA256_FORMAT"
    return None


def identifiers(member: dict[str, Any]) -> list[str]:
    """By what a member is known: advertising ids, or the digests of contacts; by nothing if unreadable."""
    key, inner = ("mobileData", "mobileIds") if "mobileData" in member else ("userData", "userIdentifiers")
    data = member.get(key)
    found = data.get(inner) if isinstance(data, dict) else None
    if not isinstance(found, list):
        return []
    if key == "mobileData":
        return [each if isinstance(each, str) else "" for each in found]
    given = [each if isinstance(each, dict) else {} for each in found]
    return [str(each.get("emailAddress") or each.get("phoneNumber") or "") for each in given]


def verdict(handle: str, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """PROCESSING at first, then SUCCESS with counts; for contacts added also a match rate."""
    if not any(bearer(asked) == account.token for account in settings.google_ads.values()):
        return refuse(401, "", "authorization: unknown token", now_us)
    _, when, list_id, count, verb, kind = handle.split("~")
    status: dict[str, Any] = {"destination": {"productDestinationId": list_id}}
    if now_us < int(when) + settings.google_verdict_seconds * 1_000_000:
        status["requestStatus"] = "PROCESSING"
        return say({"requestStatusPerDestination": [status]})
    status["requestStatus"] = "SUCCESS"
    if verb == "ingest":
        data = {"recordCount": count}
        if kind == "CONTACT_ID":
            data["uploadMatchRateRange"] = "MATCH_RATE_RANGE_61_TO_70"
        name = "mobileDataIngestionStatus" if kind == "MOBILE_ID" else "userDataIngestionStatus"
        status["audienceMembersIngestionStatus"] = {name: data}
    return say({"requestStatusPerDestination": [status]})


def sizes(one: OneList) -> dict[str, str]:
    return {"displayNetworkMembersCount": str(one.size)}


def say(body: dict[str, Any]) -> Answer:
    return Answer(status=200, body=msgspec.json.encode(body), headers=JSON)


def refuse(
    status: int, account: str, why: str, now_us: int, *, field: str = "", reason: str = "", rows: int = 1
) -> Answer:
    """A request of which nothing was taken, in google.rpc.Status."""
    refused = Refused(
        platform=PLATFORM, account=account, received_us=now_us, status=status, rows=rows,
        reason=re.sub(r"\[\d+\]", "[]", why),
    )  # fmt: skip
    details: list[dict[str, Any]] = []
    if field:
        violation = {"field": field, "description": "Refused by the sandbox", "reason": reason}
        details = [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": HOST},
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]},
        ]
    return Answer(status=status, body=envelope(status, why, details), headers=JSON, refused=(refused,))
