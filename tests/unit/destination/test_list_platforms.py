"""What each platform is told of a member, by its own page's normalisation, and what its answers mean.

Digests and ids are the vectors of specs/ads.md §15 (made with the vendors' own helpers); bodies are the
examples of §9 to §11.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from google.ads import datamanager_v1 as datamanager

from lendsignal.destination.audiences import (
    appsflyer,
    audience_platforms,
    file,
    google,
    meta,
    snap,
    tiktok,
)
from lendsignal.destination.audiences.shape import Batch, LookAlike, Upload, mobile_id, problem_with_code
from lendsignal.destination.spec import Request, Response, fields_of
from lendsignal.errors import InputError
from lendsignal.model import Accepted, Outcome, Paused, Pending, Rejected, Retry, Secret, Split
from lendsignal.model.audience import AudienceMember, Sync
from lendsignal.model.contact import contact_of

GAID = "38400000-8cf0-11bd-b23e-10b96e40000d"
GAID_SHA256 = "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d"
EMAIL = "37f4906181d65f321515f92d28c1b418751e55b99713c45fd9fa2f4787abc095"
EMAIL_GOOGLE = "86ca2ad27318696b41cfc650acfad97bb32194c43e119e465a16359ea74c7105"
DIGITS = "7b0f3460b105dfa9af1dc747e68f8ca571b88b5aaf88ceee486bd1e90adeb3ee"
E164 = "5f399b427fda5c2e9aa29471760b402cfd73b783b9c70ef7e587e35344c6556a"

CONTACT, _ = contact_of("A.B+x@Gmail.com", "+63 917-123-4567")
WHOLE = AudienceMember(
    key=1, user="ab" * 32, country="PH", os="android", gaid=GAID.upper(), contact=CONTACT, value=125.5
)
BARE = AudienceMember(key=2, user="cd" * 32, os="android")
SEED = Sync(audience="good", account="there", code="ls-0a1b", use="seed", with_value=True, remote="190000001")
PLAIN = msgspec.structs.replace(SEED, use="retargeting", with_value=False)
SECRET = Secret(env="LENDSIGNAL_NOT_SET")

META = meta.Settings(ad_account="1234567890", token=SECRET, ids=("mobile", "phone"))
CONTACTS = google.Settings(account_id="4445556666", credentials=SECRET)
PHONES = google.Settings(
    account_id="4445556666", credentials=SECRET, data="mobile", key_space="ANDROID", app_id="com.acme.loans"
)
MAPPING = tiktok.Settings(advertiser_id="7000000000000000001", token=SECRET, ids=("gaid", "phone"))
FILES = tiktok.Settings(advertiser_id="7000000000000000001", token=SECRET, by="file", ids=("gaid",))
SNAP = snap.Settings(ad_account="8adc", client_id=SECRET, client_secret=SECRET, refresh_token=SECRET)
IMPORT = appsflyer.Settings(app_id="com.acme.loans", platform="android", token=SECRET)
FILE = file.Settings(to="lists", columns=("mobile_id", "email_sha256", "phone_e164_sha256", "value"))

BATCH = Batch(session=9778993, number=1, last=True, total=2, began_us=1_795_000_000_000_000)


def answer(body: Any, status: int = 200) -> Response:
    return Response(status=status, body=json.dumps(body).encode())


def row_of(module: Any, settings: Any, member: AudienceMember = WHOLE, sync: Sync = PLAIN) -> Any:
    return module.row(member, sync, settings)


def test_meta_is_told_the_bare_advertising_id_the_hashed_phone_and_the_value() -> None:
    assert row_of(meta, META, sync=SEED) == [GAID, DIGITS, 125.5]
    assert row_of(meta, META, BARE) is None


def test_metas_replace_is_the_session_of_its_own_page() -> None:
    other = ["ea7583cd-a667-48bc-b806-42ecb2b48606", "", 80]
    request = meta.replace([row_of(meta, META, sync=SEED), other], BATCH, SEED, META)

    assert request.url == "https://graph.facebook.com/v26.0/190000001/usersreplace"
    assert request.json == {
        "session": {
            "session_id": 9778993,
            "batch_seq": 1,
            "last_batch_flag": True,
            "estimated_num_total": 2,
        },
        "payload": {
            "schema": ["MADID", "PHONE", "LOOKALIKE_VALUE"],
            "data": [[GAID, DIGITS, 125.5], other],
        },
    }


def test_meta_is_told_no_value_of_whom_it_removes() -> None:
    request = meta.request("remove", [[GAID, DIGITS, 125.5]], SEED, META)

    assert request.method == "DELETE"
    assert request.json["payload"] == {"schema": ["MADID", "PHONE"], "data": [[GAID, DIGITS]]}


def test_google_is_told_contacts_by_its_own_normalisation() -> None:
    assert row_of(google, CONTACTS) == {
        "userData": {"userIdentifiers": [{"emailAddress": EMAIL_GOOGLE}, {"phoneNumber": E164}]}
    }
    assert row_of(google, PHONES) == {"mobileData": {"mobileIds": [GAID]}}


def test_a_phone_of_the_other_platform_is_on_no_list_of_this_ones_ids() -> None:
    apple = AudienceMember(key=3, user="e" * 64, os="ios", idfa="AEBE52E7-03EE-455A-B3C4-E57283966239")

    assert row_of(google, PHONES, apple) is None
    assert row_of(appsflyer, IMPORT, apple) is None


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (google.request("add", [row_of(google, CONTACTS)], PLAIN, CONTACTS), "IngestAudienceMembersRequest"),
        (google.request("remove", [row_of(google, PHONES)], PLAIN, PHONES), "RemoveAudienceMembersRequest"),
        (google.finish([], BATCH, PLAIN, PHONES)[0], "RemoveAllAudienceMembersRequest"),
        (google.create(PLAIN, PHONES), "UserList"),
        (google.create(PLAIN, CONTACTS), "UserList"),
    ],
)
def test_googles_own_messages_have_every_field_that_it_is_sent(request_: Request, kind: str) -> None:
    made = getattr(datamanager, kind)

    assert made.from_json(json.dumps(request_.json), ignore_unknown_fields=False) != made()


def test_tiktoks_mapping_is_the_one_of_its_connectors() -> None:
    request = tiktok.request("add", [row_of(tiktok, MAPPING)], PLAIN, MAPPING)

    assert isinstance(request, Request)
    assert request.json == {
        "advertiser_ids": ["7000000000000000001"],
        "action": "add",
        "id_schema": ["AAID_SHA256", "PHONE_SHA256"],
        "batch_data": [
            [
                {"id": GAID_SHA256, "audience_ids": ["190000001"]},
                {"id": E164, "audience_ids": ["190000001"]},
            ]
        ],
    }


def test_tiktoks_file_is_signed_by_its_md5_and_used_by_its_path() -> None:
    upload = tiktok.request("add", [row_of(tiktok, FILES)], PLAIN, FILES)
    said = answer({"code": 0, "message": "OK", "data": {"file_path": "a/b"}})
    following = tiktok.then(said, "remove", PLAIN, FILES)

    assert isinstance(upload, Upload)
    assert upload.content == f"{GAID_SHA256}\n".encode()
    assert upload.fields["file_signature"] == "88340cd99a03f41d6cab25b937c692a6"  # md5sum of that line
    assert following is not None
    assert (following.json["action"], following.json["file_paths"]) == ("REMOVE", ["a/b"])


def test_more_files_than_tiktok_takes_at_once_replace_first_and_join_then() -> None:
    requests = tiktok.finish([str(number) for number in range(60)], BATCH, PLAIN, FILES)

    assert [(one.json["action"], len(one.json["file_paths"])) for one in requests] == [
        ("REPLACE", 49),
        ("APPEND", 11),
    ]


def test_snap_is_told_one_kind_of_id_as_a_digest() -> None:
    assert row_of(snap, SNAP) == [GAID_SHA256]
    assert row_of(snap, msgspec.structs.replace(SNAP, data="phone")) == [DIGITS]
    assert row_of(snap, msgspec.structs.replace(SNAP, data="email")) == [EMAIL]


def test_appsflyer_is_told_a_device_by_one_id_and_its_app() -> None:
    oaid = AudienceMember(key=4, user="f" * 64, os="android", oaid="oaid-1")

    assert row_of(appsflyer, IMPORT) == {"app_id": "com.acme.loans", "gaid": GAID}
    assert row_of(appsflyer, IMPORT, oaid) == {"app_id": "com.acme.loans", "oaid": "oaid-1"}


def test_a_file_has_the_columns_that_were_chosen() -> None:
    assert row_of(file, FILE) == [GAID, EMAIL, E164, "125.50"]
    assert row_of(file, FILE, BARE) is None


@pytest.mark.parametrize(
    "given", ["00000000-0000-0000-0000-000000000000", "", "not-an-id", GAID.replace("-", "")]
)
def test_what_is_no_advertising_id_is_told_to_nobody(given: str) -> None:
    assert mobile_id(AudienceMember(key=5, user="a" * 64, os="android", gaid=given)) is None


@pytest.mark.parametrize("code", ["bad_debt", "ls-credit", "lowScore", "overdue30", "", "two words"])
def test_a_name_that_tells_of_its_members_is_no_lists_name(code: str) -> None:
    assert problem_with_code(code) is not None


def test_a_generated_code_is_a_lists_name() -> None:
    assert problem_with_code("ls-0a1b2c3d") is None


def requests_of(kind: str) -> Sequence[Request | Upload]:
    """Every request that a platform may be sent, for the seed and for a plain list."""
    module: Any = audience_platforms()[kind]
    every_id = msgspec.structs.replace(META, ids=("mobile", "phone", "email", "user"))
    all_settings: dict[str, list[Any]] = {
        "meta": [META, every_id],
        "google": [CONTACTS, PHONES, msgspec.structs.replace(PHONES, login_account_id="1112223333")],
        "tiktok": [MAPPING, FILES],
        "snap": [SNAP],
        "appsflyer": [IMPORT],
    }
    said = answer({"code": 0, "data": {"file_path": "a/b"}})
    found: list[Request | Upload | None] = []
    for settings in all_settings[kind]:
        for sync in (SEED, PLAIN):
            row = module.row(WHOLE, sync, settings)
            found += [module.find(sync, settings), module.create(sync, settings)]
            found += [module.request(action, [row], sync, settings) for action in ("add", "remove")]
            found.append(module.replace([row], BATCH, sync, settings))
            if hasattr(module, "then"):
                found.append(module.then(said, "add", sync, settings))
                found.append(module.then(said, "add", msgspec.structs.replace(sync, remote=None), settings))
            for name in ("begin", "look"):
                if hasattr(module, name):
                    found.append(getattr(module, name)(sync, settings))
            if hasattr(module, "finish"):
                found += module.finish(["a/b"], BATCH, sync, settings)
            if hasattr(module, "drop"):
                found.append(module.drop(sync, settings))
            if hasattr(module, "look_alike"):
                found.append(module.look_alike(LookAlike(code="ls-1", country="PH"), sync, settings))
    return [one for one in found if one is not None]


def test_tiktok_names_a_country_by_its_number() -> None:
    own = tiktok.Settings(advertiser_id="7", token=SECRET, locations={"PH": "42", "NP": "43"})
    plain = tiktok.Settings(advertiser_id="7", token=SECRET)

    def places(settings: tiktok.Settings, country: str) -> Any:
        request = tiktok.look_alike(LookAlike(code="ls-1", country=country), PLAIN, settings)
        return request.json["lookalike_spec"]["location_ids"]

    # 6252001 is what TikTok's own examples of an ad group in the US have.
    assert (places(plain, "US"), places(plain, "NG")) == (["6252001"], ["2328926"])
    assert (places(own, "PH"), places(own, "NP")) == (["42"], ["43"])
    with pytest.raises(InputError, match=r"locations = . NP"):
        places(plain, "NP")


def test_numbers_of_countries_are_numbers_and_each_stands_for_one() -> None:
    assert all(number.isdecimal() for number in tiktok.LOCATIONS.values())
    assert len(set(tiktok.LOCATIONS.values())) == len(tiktok.LOCATIONS)


@pytest.mark.parametrize("kind", sorted(audience_platforms().keys() - {"file"}))
def test_only_the_listed_fields_leave_for_a_declared_host(kind: str) -> None:
    module = audience_platforms()[kind]

    for one in requests_of(kind):
        host = one.url.split("/")[2]
        told = (
            {f"form:{name}" for name in (*one.fields, "file")} if isinstance(one, Upload) else fields_of(one)
        )

        assert host in module.SPEC.hosts
        assert one.url.startswith("https://")
        assert told <= module.FIELDS


@pytest.mark.parametrize("kind", sorted(audience_platforms().keys() - {"file"}))
def test_no_lists_name_of_ours_and_no_value_but_the_seeds_leaves(kind: str) -> None:
    for one in requests_of(kind):
        text = msgspec.json.encode(one.json).decode() if isinstance(one, Request) else str(one.content)

        assert "good" not in text
        assert "A.B" not in text
        assert "917-123" not in text


@pytest.mark.parametrize(
    ("module", "response", "expected"),
    [
        (meta, answer({"audience_id": "1", "num_received": 2, "num_invalid_entries": 0}), Accepted()),
        (meta, answer({"num_received": 2, "num_invalid_entries": 1}), Split("invalid_entry")),
        (meta, answer({"num_received": 1, "num_invalid_entries": 0}), Retry("not_received")),
        (meta, answer({"error": {"code": 100, "error_subcode": 1713230}}, 400), Paused("list_flagged")),
        (meta, answer({"error": {"code": 80003}}, 400), Retry("throttled", counts=False)),
        (meta, answer({"error": {"code": 190}}, 400), Paused("bad_token")),
        (meta, answer({"error": {"code": 2650}}, 400), Paused("update_refused")),
        (meta, answer("half an answer"), Retry("unreadable_answer")),
        (google, answer({"requestId": "r-1"}), Pending("r-1")),
        (google, answer({"error": {"code": 503}}, 503), Retry("http_503")),
        (tiktok, answer({"code": 0, "message": "OK"}), Accepted()),
        (tiktok, answer({"code": 40105, "message": "no"}), Paused("bad_token")),
        (tiktok, answer({"code": 40002, "message": "wrong"}), Split("invalid_parameter")),
        (tiktok, answer({"code": 40007, "message": "none"}), Paused("list_not_found")),
        (snap, answer({"request_status": "SUCCESS"}), Accepted()),
        (snap, answer({"request_status": "ERROR"}, 400), Split("http_400")),
        (snap, answer({"request_status": "ERROR"}, 404), Paused("list_not_found")),
        (snap, answer({}, 429), Retry("throttled", counts=False)),
        (appsflyer, answer({"message": "The request was successful"}), Accepted()),
        (appsflyer, answer({"message": "Device list cannot be empty"}, 400), Split("invalid_entry")),
        (appsflyer, answer({"message": "Invalid audience platform"}, 400), Paused("list_not_found")),
        (appsflyer, answer({"message": "Forbidden"}, 403), Paused("http_403")),
    ],
)
def test_an_answer_to_two_members_means(module: Any, response: Response, expected: Outcome) -> None:
    assert list(module.classify(response, 2)) == [expected, expected]


def test_google_rejects_the_member_it_names_and_takes_the_others_again() -> None:
    body = {
        "error": {
            "code": 400,
            "details": [
                {"fieldViolations": [{"field": "audience_members[1].user_data", "reason": "INVALID_FORMAT"}]}
            ],
        }
    }

    first, second, third = google.classify(answer(body, 400), 3)

    assert (first, third) == (Split("refused_with_others"), Split("refused_with_others"))
    assert second == Rejected("invalid_user_identifier")


def test_googles_match_rate_is_the_middle_of_its_range() -> None:
    assert google.match_rate(answer({"uploadMatchRateRange": "MATCH_RATE_RANGE_61_TO_70"})) == 0.655
    assert google.match_rate(answer({"uploadMatchRateRange": "MATCH_RATE_RANGE_LESS_THAN_20"})) == 0.1
    assert google.match_rate(answer({})) is None


@pytest.mark.parametrize("kind", sorted(audience_platforms()))
def test_a_platforms_facts_are_linked_and_dated(kind: str) -> None:
    spec = audience_platforms()[kind].SPEC

    assert spec.name == kind
    assert spec.docs.startswith("https://")
    assert spec.docs_read == "2026-11-22"
    assert spec.verdict_within > spec.verdict_after > timedelta(0)
