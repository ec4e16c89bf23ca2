"""The stand-ins of lists refuse what the platforms' pages refuse, and remember who is a member.

The rules are those of specs/ads.md §9 to §11 and §16, and of the pages that each stand-in names.
"""

import json
from hashlib import md5, sha256
from typing import Any

import pytest

from lendsignal.sandbox import GoogleAccount, SandboxSettings
from lendsignal.sandbox.audience_settings import AudienceSettings, ImportedAudience
from lendsignal.sandbox.audiences import Lists, appsflyer, google, meta, snap, tiktok
from lendsignal.sandbox.audiences.lists import taken
from lendsignal.sandbox.verdict import Answer, Asked

NOW_US = 1_795_000_000_000_000
HASH, OTHER = sha256(b"one").hexdigest(), sha256(b"two").hexdigest()
PHONE = "38400000-8cf0-11bd-b23e-10b96e40000d"
SETTINGS = SandboxSettings(
    google_ads={"4445556666": GoogleAccount(token="g", actions=frozenset())},
    google_verdict_seconds=60,
    audiences=AudienceSettings(
        meta={"111": "m"},
        meta_small=2,
        meta_flagged=frozenset(("ls-flag",)),
        tiktok={"700": "t"},
        snap={"8adc": "s"},
        snap_clients={"app": "s"},
        appsflyer={"KEY": ImportedAudience(token="a", platform="android", app_id="com.acme.loans")},
    ),
)


class Platform:
    """All stand-ins over one memory of lists."""

    def __init__(self) -> None:
        self.lists = Lists()

    def ask(
        self, method: str, url: str, body: Any = None, *, raw: bytes = b"", token: str = "", **headers: str
    ) -> Answer:
        host, _, rest = url.partition("/")
        path, _, query = rest.partition("?")
        if token:
            headers["access-token"] = token  # TikTok's header
        if raw:
            headers["content-type"] = "multipart/form-data; boundary=b"
        if body is not None:
            headers["content-type"] = "application/json"
        sent = raw or (b"" if body is None else json.dumps(body).encode())
        asked = Asked(host=host, method=method, path=f"/{path}", query=query, headers=headers, body=sent)
        judges = {
            meta.HOST: lambda: meta.beside(self.lists, _elsewhere, asked, SETTINGS, NOW_US),
            google.HOST: lambda: google.beside(self.lists, _elsewhere, asked, SETTINGS, NOW_US),
            tiktok.HOST: lambda: tiktok.beside(self.lists, _elsewhere, asked, SETTINGS, NOW_US),
            snap.HOST: lambda: snap.judge(self.lists, asked, SETTINGS, NOW_US),
            snap.TOKEN_HOST: lambda: snap.token(asked, SETTINGS, NOW_US),
            appsflyer.HOST: lambda: appsflyer.judge(asked, SETTINGS, NOW_US),
        }
        answer = judges[host]()
        self.lists.keep(answer)
        return answer

    def members(self, list_id: str) -> dict[str, float | None]:
        found: dict[str, float | None] = next(
            one["members"] for one in self.lists.shown() if one["id"] == list_id
        )
        return found


def _elsewhere(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    return Answer(status=418)


@pytest.fixture
def platform() -> Platform:
    return Platform()


def said(answer: Answer) -> Any:
    return json.loads(answer.body)


GRAPH = f"{meta.HOST}/v26.0"
NEW = {"name": "ls-1", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"}


def meta_list(platform: Platform, **more: Any) -> str:
    made = platform.ask("POST", f"{GRAPH}/act_111/customaudiences?access_token=m", {**NEW, **more})
    return str(said(made)["id"])


def payload(schema: list[str], *rows: list[Any]) -> dict[str, Any]:
    return {"payload": {"schema": schema, "data": list(rows)}}


def session(number: int, *, last: bool) -> dict[str, Any]:
    return {"session_id": 5, "batch_seq": number, "last_batch_flag": last, "estimated_num_total": 2}


def test_meta_remembers_members_and_their_values(platform: Platform) -> None:
    one = meta_list(platform, is_value_based=True)
    body = payload(["MADID", "EMAIL", "LOOKALIKE_VALUE"], [PHONE, HASH, 12.5], ["", OTHER, 0])
    answer = platform.ask("POST", f"{GRAPH}/{one}/users?access_token=m", body)

    assert said(answer)["num_received"] == 2
    assert platform.members(one) == {PHONE: 12.5, HASH: 12.5, OTHER: 0.0}


def test_an_id_that_is_removed_is_gone_whoever_was_told_with_it() -> None:
    lists = Lists()
    lists.apply(taken("meta_audience", "7", "create", 1, account="111", name="ls-1"))
    for name, members in (("add", [f"{PHONE}|{HASH}", f"{OTHER}|{HASH}"]), ("remove", [f"{PHONE}|{HASH}"])):
        lists.apply(taken("meta_audience", "7", name, 2, members=dict.fromkeys(members)))
    one = lists.get("meta_audience", "7")

    assert one is not None
    assert (set(one.members), one.size) == ({OTHER}, 1)


def test_a_list_that_is_taken_away_is_there_no_more_and_its_id_stays_its_own(platform: Platform) -> None:
    one = meta_list(platform)
    gone = platform.ask("DELETE", f"{GRAPH}/{one}?access_token=m", None)
    again = platform.ask("DELETE", f"{GRAPH}/{one}?access_token=m", None)

    assert said(gone) == {"success": True}
    assert again.status == 400
    assert meta_list(platform) != one


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (payload(["MADID", "EMAIL"], [PHONE]), "payload.data: every row as wide as the schema"),
        (payload(["SHOE_SIZE"], ["44"]), "payload.schema: unknown keys"),
        (payload(["EMAIL"]), "payload.data: required"),
        (payload(["EMAIL"], *[[HASH]] * 10_001), "payload.data: at most 10000 rows"),
        (
            payload(["EMAIL", "LOOKALIKE_VALUE"], [HASH, 1]),
            "payload.schema: LOOKALIKE_VALUE only in lists that take values",
        ),
    ],
)
def test_meta_refuses(platform: Platform, body: dict[str, Any], reason: str) -> None:
    one = meta_list(platform)
    answer = platform.ask("POST", f"{GRAPH}/{one}/users?access_token=m", body)

    assert (answer.status, answer.refused[0].reason) == (400, reason)
    assert platform.members(one) == {}


@pytest.mark.parametrize("row", [["not-hashed"], [HASH.upper()], [""]])
def test_meta_counts_rows_that_it_cannot_read_and_names_none(platform: Platform, row: list[str]) -> None:
    one = meta_list(platform)
    answer = said(
        platform.ask("POST", f"{GRAPH}/{one}/users?access_token=m", payload(["EMAIL"], row, [HASH]))
    )

    assert (answer["num_received"], answer["num_invalid_entries"]) == (2, 1)
    assert platform.members(one) == {HASH: None}


def test_meta_lets_nobody_be_removed_from_a_small_list(platform: Platform) -> None:
    one = meta_list(platform)
    platform.ask("POST", f"{GRAPH}/{one}/users?access_token=m", payload(["EMAIL"], [HASH]))
    answer = platform.ask("DELETE", f"{GRAPH}/{one}/users?access_token=m", payload(["EMAIL"], [HASH]))

    assert said(answer)["error"]["code"] == 2650


def test_a_replace_counts_once_its_last_part_has_come_and_parts_come_in_order(platform: Platform) -> None:
    one = meta_list(platform)
    url = f"{GRAPH}/{one}/usersreplace?access_token=m"
    platform.ask(
        "POST", f"{GRAPH}/{one}/users?access_token=m", payload(["EMAIL"], [sha256(b"x").hexdigest()])
    )
    first = {**payload(["EMAIL"], [HASH]), "session": session(1, last=False)}
    skipped = {**payload(["EMAIL"], [OTHER]), "session": session(3, last=True)}
    second = {**payload(["EMAIL"], [OTHER]), "session": session(2, last=True)}

    assert platform.ask("POST", url, first).status == 200
    assert list(platform.members(one)) == [sha256(b"x").hexdigest()]
    assert platform.ask("POST", url, skipped).refused[0].reason == "session.batch_seq: 2 is next"
    assert platform.ask("POST", url, second).status == 200
    assert set(platform.members(one)) == {HASH, OTHER}
    assert platform.ask("POST", url, first).refused[0].reason == "session: ended"


def test_meta_flags_a_name_and_blocks_the_list(platform: Platform) -> None:
    one = meta_list(platform, name="ls-flag")
    answer = platform.ask("POST", f"{GRAPH}/{one}/users?access_token=m", payload(["EMAIL"], [HASH]))
    looked = platform.ask("GET", f"{GRAPH}/{one}?access_token=m")

    assert said(answer)["error"]["error_subcode"] == 1713230
    assert said(looked)["operation_status"]["code"] == 471


def test_conversions_are_still_judged_by_their_own_stand_in(platform: Platform) -> None:
    assert platform.ask("POST", f"{GRAPH}/440011223344/events").status == 418
    assert platform.ask("POST", f"{google.HOST}/v1/events:ingest").status == 418
    assert platform.ask("POST", f"{tiktok.HOST}/open_api/v1.3/event/track/").status == 418


def google_list(platform: Platform, kind: str = "CONTACT_ID") -> str:
    info: dict[str, Any] = {"uploadKeyTypes": [kind]}
    if kind == "MOBILE_ID":
        info["mobileIdInfo"] = {"keySpace": "ANDROID", "appId": "com.acme.loans"}
    body = {"displayName": "ls-1", "membershipDuration": "86400s", "ingestedUserListInfo": info}
    url = f"{google.HOST}/v1/accountTypes/GOOGLE_ADS/accounts/4445556666/userLists"
    return str(said(platform.ask("POST", url, body, authorization="Bearer g"))["id"])


def members_request(list_id: str, *members: dict[str, Any], **more: Any) -> dict[str, Any]:
    account = {"accountType": "GOOGLE_ADS", "accountId": "4445556666"}
    return {
        "destinations": [{"operatingAccount": account, "productDestinationId": list_id}],
        "encoding": "HEX",
        "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
        "audienceMembers": list(members),
        **more,
    }


def contact(digest: str) -> dict[str, Any]:
    return {"userData": {"userIdentifiers": [{"emailAddress": digest}]}}


MOBILE = {"mobileData": {"mobileIds": [PHONE]}}


@pytest.mark.parametrize(
    ("members", "more", "reason"),
    [
        ([contact(HASH), MOBILE], {}, "MULTIPLE_DATA_TYPES_NOT_ALLOWED"),
        ([contact(HASH)], {"termsOfService": {}}, "TERMS_AND_CONDITIONS_NOT_SIGNED"),
        ([contact(HASH), contact("nothing hashed")], {}, "INVALID_HEX_ENCODING"),
        ([contact(HASH)] * 10_001, {}, "TOO_MANY_AUDIENCE_MEMBERS"),
        ([MOBILE], {}, "INVALID_USER_LIST_TYPE"),
    ],
)
def test_google_refuses_the_whole_request(
    platform: Platform, members: list[dict[str, Any]], more: dict[str, Any], reason: str
) -> None:
    one = google_list(platform)
    url = f"{google.HOST}/v1/audienceMembers:ingest"
    answer = platform.ask("POST", url, members_request(one, *members, **more), authorization="Bearer g")

    assert said(answer)["error"]["details"][0]["reason"] == reason
    assert platform.members(one) == {}


def test_google_drops_who_was_told_before_a_moment(platform: Platform) -> None:
    one = google_list(platform)
    url = f"{google.HOST}/v1/audienceMembers"
    platform.ask("POST", f"{url}:ingest", members_request(one, contact(HASH)), authorization="Bearer g")
    before, after = (
        {**members_request(one), "removeAsOfTime": moment}
        for moment in ("2026-11-18T11:06:39Z", "2026-11-18T11:06:41Z")
    )  # one was told at 1,795,000,000 s, which is 2026-11-18T11:06:40Z

    platform.ask("POST", f"{url}:removeAll", before, authorization="Bearer g")
    assert list(platform.members(one)) == [HASH]
    platform.ask("POST", f"{url}:removeAll", after, authorization="Bearer g")
    assert platform.members(one) == {}


BUSINESS = f"{tiktok.HOST}/open_api/v1.3"


def tiktok_list(platform: Platform) -> str:
    body = {"advertiser_id": "700", "custom_audience_name": "ls-1", "action": "create"}
    answer = platform.ask("POST", f"{BUSINESS}/segment/audience/", body, token="t")
    return str(said(answer)["data"]["audience_id"])


@pytest.mark.parametrize(
    ("schema", "cell", "code"),
    [
        (["EMAIL_SHA256"], {"id": "bare@example.com"}, 40002),
        (["EMAIL_SHA256", "PHONE_SHA256"], {"id": HASH}, 40002),
        (["EMAIL"], {"id": HASH}, 40002),
        (["EMAIL_SHA256"], {"id": HASH, "audience_ids": ["9"]}, 40007),
    ],
)
def test_tiktok_refuses_under_a_200(
    platform: Platform, schema: list[str], cell: dict[str, Any], code: int
) -> None:
    one = tiktok_list(platform)
    row = [{"audience_ids": [one], **cell}]
    body = {"advertiser_ids": ["700"], "action": "add", "id_schema": schema, "batch_data": [row]}
    answer = platform.ask("POST", f"{BUSINESS}/segment/mapping/", body, token="t")

    assert (answer.status, said(answer)["code"]) == (200, code)
    assert platform.members(one) == {}


def upload(content: bytes, signature: str) -> bytes:
    fields = {"advertiser_id": "700", "calculate_type": "GAID_SHA256", "file_signature": signature}
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.csv"\r\n\r\n' + content
    return "".join(parts).encode() + file + b"\r\n--b--\r\n"


@pytest.mark.parametrize(("right", "code"), [(True, 0), (False, 40002)])
def test_tiktok_compares_a_file_with_its_md5(platform: Platform, right: bool, code: int) -> None:
    content = f"{HASH}\n".encode()
    signature = md5(content, usedforsecurity=False).hexdigest() if right else "0" * 32
    url = f"{BUSINESS}/dmp/custom_audience/file/upload/"
    answer = platform.ask("POST", url, raw=upload(content, signature), token="t")

    assert said(answer)["code"] == code


def test_a_file_of_another_kind_joins_no_list(platform: Platform) -> None:
    content = f"{HASH}\n".encode()
    raw = upload(content, md5(content, usedforsecurity=False).hexdigest())
    uploaded = platform.ask("POST", f"{BUSINESS}/dmp/custom_audience/file/upload/", raw=raw, token="t")
    path = said(uploaded)["data"]["file_path"]
    body = {
        "advertiser_id": "700",
        "custom_audience_name": "ls-1",
        "calculate_type": "EMAIL_SHA256",
        "file_paths": [path],
    }
    answer = platform.ask("POST", f"{BUSINESS}/dmp/custom_audience/create/", body, token="t")

    assert said(answer)["code"] == 40002


@pytest.mark.parametrize(
    ("device", "action", "status"),
    [
        ({"gaid": PHONE}, "add", 400),
        ({"app_id": "com.acme.loans"}, "add", 400),
        ({"app_id": "com.acme.loans", "gaid": PHONE, "oaid": "o"}, "remove", 400),
        ({"app_id": "com.acme.loans", "gaid": PHONE, "oaid": "o"}, "add", 200),
    ],
)
def test_appsflyer_wants_an_app_and_one_id_to_remove_by(
    platform: Platform, device: dict[str, str], action: str, status: int
) -> None:
    body = {"import_key": "KEY", "platform": "android", "devices": [device]}
    url = f"{appsflyer.HOST}/api/audiences-import-api/v2/{action}"

    assert platform.ask("POST", url, body, authorization="Bearer a").status == status


def test_snap_keeps_one_kind_of_id_and_only_digests(platform: Platform) -> None:
    new = {"name": "ls-1", "source_type": "FIRST_PARTY", "retention_in_days": 9999, "ad_account_id": "8adc"}
    made = platform.ask(
        "POST", f"{snap.HOST}/v1/adaccounts/8adc/segments", {"segments": [new]}, authorization="Bearer s"
    )
    one = said(made)["segments"][0]["segment"]["id"]
    url = f"{snap.HOST}/v1/segments/{one}/users"

    def told(schema: list[str], row: list[str]) -> int:
        body = {"users": [{"schema": schema, "data": [row]}]}
        return platform.ask("POST", url, body, authorization="Bearer s").status

    assert told(["EMAIL_SHA256", "PHONE_SHA256"], [HASH, OTHER]) == 400
    assert told(["EMAIL_SHA256"], ["bare@example.com"]) == 400
    assert told(["EMAIL_SHA256"], [HASH]) == 200
    assert platform.members(one) == {HASH: None}


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("POST", f"{GRAPH}/act_111/customaudiences?access_token=other", 400),
        ("GET", f"{google.HOST}/v1/accountTypes/GOOGLE_ADS/accounts/4445556666/userLists", 401),
        ("GET", f"{snap.HOST}/v1/adaccounts/8adc/segments", 401),
        ("POST", f"{appsflyer.HOST}/api/audiences-import-api/v2/add", 403),
        ("POST", f"{snap.TOKEN_HOST}/login/oauth2/access_token", 401),
    ],
)
def test_another_token_opens_nothing(platform: Platform, method: str, url: str, status: int) -> None:
    assert platform.ask(method, url, {}).status == status
