"""Google, Customer Match lists by the Data Manager API: `audienceMembers:ingest`, `:remove`, `:removeAll`.

Up to 10,000 members a request. A list holds one kind of data: advertising ids as they are, or contacts as
SHA-256. A yes only says that Google looks at it later; the verdict counts, and names nobody. One bad member
refuses its whole request.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from lendsignal.destination.audiences.shape import AudienceSpec, Batch, Row, Seen, mobile_id
from lendsignal.destination.google_data_manager import SET_UP, ask
from lendsignal.destination.google_data_manager import classify as classify_events
from lendsignal.destination.google_data_manager import verdict as verdict_on_events
from lendsignal.destination.spec import GoogleAuth, Request, Response, body_json, present
from lendsignal.model import Accepted, Outcome, Paused, Rejected, Retry, Split, from_us
from lendsignal.model.audience import Action, AudienceMember, Sync
from lendsignal.model.secret import Secret

__all__ = ["FIELDS", "SPEC", "Settings", "ask", "classify", "request", "row", "verdict"]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for lists in a Google Ads account.

    `data`: what the lists of this account hold, for Google mixes nothing: `mobile` are advertising ids of
    one app (`key_space`, `app_id`), `contact` hashed e-mail and phone. For both there are two accounts here.
    """

    account_id: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{10}$", description="the Google Ads account, ten digits", examples=["4445556666"]
        ),
    ]
    credentials: Annotated[Secret, Meta(description="a service account or authorized user, as JSON")]
    data: Annotated[Literal["mobile", "contact"], Meta(description="what its lists hold")] = "contact"
    key_space: Annotated[
        Literal["ANDROID", "IOS"] | None, Meta(description="of lists of advertising ids: whose ids they are")
    ] = None
    app_id: Annotated[
        str | None, Meta(description="of lists of advertising ids: the app they were collected by")
    ] = None
    login_account_id: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9]{10}$")] | None,
        Meta(description="the manager account, where access comes through one"),
    ] = None
    membership_days: Annotated[
        int, Meta(ge=1, le=540, description="days after which Google drops who was not told again")
    ] = 540

    def __post_init__(self) -> None:
        if self.data == "mobile" and not (self.key_space and self.app_id):
            raise ValueError('data = "mobile" needs key_space and app_id: Google makes no list without them')


SPEC = AudienceSpec(
    name="google",
    label="Google",
    docs="https://developers.google.com/data-manager/api/reference/rest/v1/audienceMembers/ingest",
    docs_read="2026-11-22",
    hosts=("datamanager.googleapis.com",),
    auth=GoogleAuth(field="credentials", scope="https://www.googleapis.com/auth/datamanager"),
    chunk=10_000,
    # 100,000 requests a day for a Cloud project, 300 a minute ("limits and quotas").
    per_second=1.15,
    burst=5,
    # 100 active users since December 2024, 1,000 before.
    floor=100,
    seed_floor=100,
    slow=timedelta(hours=48),
)

FIELDS = frozenset(
    "destinations[].operatingAccount.accountType destinations[].operatingAccount.accountId "
    "destinations[].loginAccount.accountType destinations[].loginAccount.accountId "
    "destinations[].productDestinationId encoding consent.adUserData consent.adPersonalization "
    "termsOfService.customerMatchTermsOfServiceStatus audienceMembers[].mobileData.mobileIds[] "
    "audienceMembers[].userData.userIdentifiers[].emailAddress "
    "audienceMembers[].userData.userIdentifiers[].phoneNumber removeAsOfTime displayName "
    "membershipDuration ingestedUserListInfo.uploadKeyTypes[] "
    "ingestedUserListInfo.mobileIdInfo.keySpace ingestedUserListInfo.mobileIdInfo.appId "
    "ingestedUserListInfo.mobileIdInfo.dataSourceType ingestedUserListInfo.contactIdInfo.dataSourceType "
    "header:login-account ?filter ?pageSize".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

BASE = "https://datamanager.googleapis.com/v1"
waits_for_verdicts = True
"""What is no member any more may only be dropped when all that is one was looked at."""

_MEMBER = re.compile(r"\baudience_?[mM]embers\[(\d{1,5})\]", re.ASCII)
_RATE = re.compile(r"MATCH_RATE_RANGE_(?:(LESS_THAN)_)?(\d+)(?:_TO_(\d+))?")


def row(member: AudienceMember, sync: Sync, settings: Settings) -> Row | None:
    """One member as Google's object; `None` where nothing of the account's kind of data is known."""
    if settings.data == "mobile":
        mine = "ios" if settings.key_space == "IOS" else "android"
        mobile = mobile_id(member) if member.os in (None, mine) else None
        return None if mobile is None else {"mobileData": {"mobileIds": [mobile]}}
    contact = member.contact
    if contact is None:
        return None
    given = (("emailAddress", contact.email_google), ("phoneNumber", contact.phone_e164))
    known = [{field: digest} for field, digest in given if digest is not None]
    return {"userData": {"userIdentifiers": known}} if known else None


def find(sync: Sync, settings: Settings) -> Request | None:
    """Asks for the list of that name: one may have been made just before a crash."""
    wanted = quote(f'display_name = "{sync.code}"')
    return _lists(settings, "GET", query=f"?filter={wanted}&pageSize=100")


def found(response: Response, sync: Sync) -> str | Outcome | None:
    """The id of the list of that very name; `None`: there is none."""
    body = body_json(response)
    if response.status != 200 or not isinstance(body, dict):
        return _by_answer(response)
    for one in body.get("userLists") or ():
        if isinstance(one, dict) and one.get("displayName") == sync.code and one.get("id"):
            return str(one["id"])
    return None


def create(sync: Sync, settings: Settings) -> Request | None:
    """A list of the account's kind of data under its neutral code."""
    if settings.data == "mobile":
        info: dict[str, Any] = {
            "uploadKeyTypes": ["MOBILE_ID"],
            "mobileIdInfo": {
                "keySpace": settings.key_space,
                "appId": settings.app_id,
                "dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY",
            },
        }
    else:
        info = {
            "uploadKeyTypes": ["CONTACT_ID"],
            "contactIdInfo": {"dataSourceType": "DATA_SOURCE_TYPE_FIRST_PARTY"},
        }
    body = {
        "displayName": sync.code,
        "membershipDuration": f"{settings.membership_days * 86_400}s",
        "ingestedUserListInfo": info,
    }
    return _lists(settings, "POST", json=body)


def created(response: Response) -> str | Outcome:
    """The id of the new list."""
    body = body_json(response)
    if 200 <= response.status < 300 and isinstance(body, dict) and body.get("id"):
        return str(body["id"])
    return _by_answer(response)


def request(action: Action, rows: Sequence[Row], sync: Sync, settings: Settings) -> Request:
    """Up to 10,000 members in one POST. Only who consented is ever a member, which an addition says."""
    body: dict[str, Any] = {
        "destinations": [_destination(sync, settings)],
        "encoding": "HEX",
        "audienceMembers": list(rows),
    }
    if action == "add":
        body["consent"] = {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}
        body["termsOfService"] = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
    verb = "ingest" if action == "add" else "remove"
    return Request(method="POST", url=f"{BASE}/audienceMembers:{verb}", json=body)


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """200 is `Pending`, with Google's `requestId` as the handle. Of a request refused for some members these
    are rejected, and the others go again."""
    if response.status == 400:
        text = response.body.decode("utf-8", "replace")
        named = {int(number) for number in _MEMBER.findall(text) if int(number) < count}
        if named:
            bad, rest = Rejected("invalid_user_identifier"), Split("refused_with_others")
            return [bad if index in named else rest for index in range(count)]
        for reason, ours in SET_UP.items():
            if f'"{reason}"' in text or f"_REASON_{reason}" in text:
                return [Paused(ours)] * count
    return classify_events(response, count)


def verdict(response: Response, count: int) -> Sequence[Outcome]:
    """What became of a request of `count` members; `Pending` again where Google still looks at it."""
    return verdict_on_events(response, count)


def match_rate(response: Response) -> float | None:
    """The middle of the range that Google gives with its verdict on an addition of contacts."""
    found = _RATE.search(response.body.decode("utf-8", "replace"))
    if found is None:
        return None
    low, high = (0, int(found[2])) if found[1] else (int(found[2]), int(found[3] or found[2]))
    return (low + high) / 200


def replace(rows: Sequence[Row], batch: Batch, sync: Sync, settings: Settings) -> Request:
    """Everybody is told anew; `finish` then drops who was not ("remove all members", read 2026-11-22)."""
    return request("add", rows, sync, settings)


def finish(places: Sequence[str], batch: Batch, sync: Sync, settings: Settings) -> Sequence[Request]:
    """Drops every member who was told before the session began."""
    began: datetime = from_us(batch.began_us)
    body = {
        "destinations": [_destination(sync, settings)],
        "removeAsOfTime": began.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    return [Request(method="POST", url=f"{BASE}/audienceMembers:removeAll", json=body)]


def look(sync: Sync, settings: Settings) -> Request:
    """Asks how many members Google counts."""
    return _lists(settings, "GET", query=f"/{sync.remote}")


def seen(response: Response, sync: Sync) -> Seen | None:
    """The larger of the counts by network; the match rate comes with the verdicts."""
    body = body_json(response)
    if response.status != 200 or not isinstance(body, dict):
        return None
    info = body.get("sizeInfo")
    sizes = [int(str(size)) for size in (info or {}).values() if str(size).isdecimal()]
    return Seen(size=max(sizes, default=None))


def _by_answer(response: Response) -> Outcome:
    outcome = classify_events(response, 1)[0]
    return Retry("unreadable_answer") if isinstance(outcome, Accepted) else outcome


def _destination(sync: Sync, settings: Settings) -> dict[str, Any]:
    login = settings.login_account_id
    return present(
        operatingAccount={"accountType": "GOOGLE_ADS", "accountId": settings.account_id},
        loginAccount=None if login is None else {"accountType": "GOOGLE_ADS", "accountId": login},
        productDestinationId=sync.remote,
    )


def _lists(settings: Settings, method: str, *, query: str = "", json: Any = None) -> Request:
    login = settings.login_account_id
    return Request(
        method=method,
        url=f"{BASE}/accountTypes/GOOGLE_ADS/accounts/{settings.account_id}/userLists{query}",
        json=json,
        headers={} if login is None else {"login-account": f"accountTypes/GOOGLE_ADS/accounts/{login}"},
    )
