"""How strict the stand-ins of lists are: the request that adds members, broken in one place at a time."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from tests.strictness.message import Message, asked, taken_apart
from tests.strictness.mutants import MUTATIONS, NOW, Mutator, Sheet
from tests.telling import digits, e164, email, email_google, gaid

from lendsignal.clock import to_us
from lendsignal.deliver.wire import FETCHED_TOKEN, wire
from lendsignal.destination.audiences import audience_platforms
from lendsignal.destination.audiences import google as to_google
from lendsignal.destination.audiences import meta as to_meta
from lendsignal.destination.audiences import snap as to_snap
from lendsignal.destination.audiences import tiktok as to_tiktok
from lendsignal.destination.audiences.appsflyer import Settings as AppsFlyer
from lendsignal.destination.audiences.shape import RefreshAuth
from lendsignal.destination.spec import Bearer
from lendsignal.model import Secret
from lendsignal.model.audience import AudienceMember, Sync
from lendsignal.model.contact import Contact
from lendsignal.sandbox import Answer, Asked, GoogleAccount, SandboxSettings
from lendsignal.sandbox.audience_settings import AudienceSettings, ImportedAudience
from lendsignal.sandbox.audiences import Lists, appsflyer, google, meta, snap, tiktok
from lendsignal.sandbox.audiences.lists import taken

SECRET = "made-up-secret-of-lists"
NOW_US = to_us(NOW)
SETTINGS = SandboxSettings(
    google_ads={"4445556666": GoogleAccount(token=SECRET, actions=frozenset())},
    audiences=AudienceSettings(
        meta={"1234567890": SECRET},
        tiktok={"7000000000000000001": SECRET},
        snap={"8adc3db7": SECRET},
        appsflyer={"IMPORTKEY1": ImportedAudience(token=SECRET, platform="android", app_id="com.acme.loans")},
    ),
)


class Case(Struct, frozen=True):
    """A platform: what a lender writes, the list that is there, and what its pages demand of an addition."""

    kind: str
    settings: Any
    account: str
    sheet: Sheet
    made_as: str = ""


def _secret() -> Secret:
    return Secret(env="MADE_UP")


EMPTY_CELL = "what is not known of a member is an empty cell"
CONTACT = "audienceMembers.0.userData.userIdentifiers"
CASES: Mapping[str, Case] = {
    "meta": Case(
        "meta",
        to_meta.Settings(ad_account="1234567890", token=_secret()),
        "1234567890",
        Sheet(
            rows="payload.data",
            required=("payload", "payload.schema", "payload.data"),
            uuids=("payload.data.0.0",),
            digests=("payload.data.0.1", "payload.data.0.2"),
            enums=("payload.schema.0", "payload.schema.1"),
            negative=False,
            numbers=("payload.data.0.3",),
            most_rows=10_000,
            credentials=("query.access_token",),
            lets_pass={f"payload.data.0.{cell} = ''": EMPTY_CELL for cell in range(3)},
        ),
    ),
    "google-contact": Case(
        "google",
        to_google.Settings(account_id="4445556666", credentials=_secret()),
        "4445556666",
        Sheet(
            rows="audienceMembers",
            required=(
                "destinations", "destinations.0.operatingAccount", "destinations.0.productDestinationId",
                "destinations.0.operatingAccount.accountId", "destinations.0.operatingAccount.accountType",
                "audienceMembers", "encoding", "termsOfService",
                "termsOfService.customerMatchTermsOfServiceStatus",
            ),
            digests=(f"{CONTACT}.0.emailAddress", f"{CONTACT}.1.phoneNumber"),
            enums=(
                "encoding", "destinations.0.operatingAccount.accountType", "consent.adUserData",
                "consent.adPersonalization", "termsOfService.customerMatchTermsOfServiceStatus",
            ),
            most_rows=10_000,
            credentials=("headers.authorization",),
        ),
        made_as="CONTACT_ID",
    ),
    "google-mobile": Case(
        "google",
        to_google.Settings(
            account_id="4445556666", credentials=_secret(), data="mobile", key_space="ANDROID", app_id="a"
        ),
        "4445556666",
        Sheet(
            rows="audienceMembers",
            required=(
                "destinations", "destinations.0.productDestinationId", "audienceMembers",
                "audienceMembers.0.mobileData", "audienceMembers.0.mobileData.mobileIds",
            ),
            uuids=("audienceMembers.0.mobileData.mobileIds.0",),
            enums=("destinations.0.operatingAccount.accountType", "consent.adUserData"),
            most_rows=10_000,
            credentials=("headers.authorization",),
        ),
        made_as="MOBILE_ID",
    ),
    "tiktok": Case(
        "tiktok",
        to_tiktok.Settings(advertiser_id="7000000000000000001", token=_secret(), ids=("gaid", "phone")),
        "7000000000000000001",
        Sheet(
            rows="batch_data",
            required=("advertiser_ids", "action", "id_schema", "batch_data", "batch_data.0.0.id"),
            digests=("batch_data.0.0.id", "batch_data.0.1.id"),
            enums=("action", "id_schema.0", "id_schema.1", "batch_data.0.0.audience_ids.0"),
            most_rows=10_000,
            credentials=("headers.access-token",),
        ),
        made_as="mapping",
    ),
    "snap": Case(
        "snap",
        to_snap.Settings(
            ad_account="8adc3db7", client_id=_secret(), client_secret=_secret(), refresh_token=_secret()
        ),
        "8adc3db7",
        Sheet(
            rows="users.0.data",
            required=("users", "users.0.schema", "users.0.data"),
            digests=("users.0.data.0.0",),
            enums=("users.0.schema.0",),
            most_rows=100_000,
            credentials=("headers.authorization",),
        ),
    ),
    "appsflyer": Case(
        "appsflyer",
        AppsFlyer(app_id="com.acme.loans", platform="android", token=_secret()),
        "com.acme.loans",
        Sheet(
            rows="devices",
            required=("import_key", "platform", "devices", "devices.0.app_id", "devices.0.gaid"),
            enums=("import_key", "platform", "devices.0.app_id"),
            uuids=("devices.0.gaid",),
            most_rows=5_000,
            credentials=("headers.authorization",),
        ),
    ),
}  # fmt: skip

MEMBER = AudienceMember(
    key=1,
    user="0" * 64,
    os="android",
    gaid=gaid(1),
    contact=Contact(email=email(1), email_google=email_google(1), phone_digits=digits(1), phone_e164=e164(1)),
    value=7.0,
)


class Row(Struct, frozen=True):
    """How many mutants there were by kind, how many were refused, and the labels of those that were taken."""

    made: Mapping[str, int]
    refused: Mapping[str, int]
    taken: tuple[str, ...]

    @property
    def share(self) -> float:
        return sum(self.refused.values()) / sum(self.made.values())


def lists_of(case: Case) -> Lists:
    """A memory in which the list is there, and nothing else."""
    lists = Lists()
    if case.kind != "appsflyer":
        platform = f"{case.kind}_audience"
        made = {"account": case.account, "name": "ls-1", "valued": True, "kind": case.made_as}
        lists.apply(taken(platform, "7", "create", NOW_US, **made))
    return lists


def valid(case: Case) -> Message:
    """The request that adds a member, with its secret."""
    module = audience_platforms()[case.kind]
    remote = "IMPORTKEY1" if case.kind == "appsflyer" else "7"
    sync = Sync(audience="a", account="b", code="ls-1", use="seed", with_value=True, remote=remote)
    row = module.row(MEMBER, sync, case.settings)
    request: Any = module.request("add", [row], sync, case.settings)
    auth: Any = module.SPEC.auth
    secrets: dict[str, str | None] = dict.fromkeys(module.Settings.__struct_fields__, SECRET)
    secrets |= {"app_secret": None, FETCHED_TOKEN: SECRET}
    if isinstance(auth, RefreshAuth):
        auth = Bearer(FETCHED_TOKEN)
    return taken_apart(wire(request, auth, secrets, hosts=module.SPEC.hosts, sandbox=None, now_us=NOW_US))


def row_of(name: str) -> Row:
    """Every mutant of a platform's addition, asked of a stand-in that has seen nothing else."""
    case = CASES[name]
    message = valid(case)
    assert is_taken(case, message), f"{name}: its own request is refused"
    made: dict[str, int] = {}
    refused: dict[str, int] = {}
    passed: list[str] = []
    for mutation, mutants in MUTATIONS.items():
        for label, mutant in mutants(Mutator(message, case.sheet)):
            made[mutation] = made.get(mutation, 0) + 1
            if is_taken(case, mutant):
                passed.append(label)
            else:
                refused[mutation] = refused.get(mutation, 0) + 1
    return Row(made, refused, tuple(passed))


def is_taken(case: Case, message: Message) -> bool:
    """Whether anybody is a member by it: a row that only counts as unusable is refused."""
    lists = lists_of(case)
    answer = judge_of(message.host)(lists, asked(message))
    lists.keep(answer)
    return any(one["members"] for one in lists.shown())


def judge_of(host: str) -> Callable[[Lists, Asked], Answer]:
    judges: dict[str, Callable[[Lists, Asked], Answer]] = {
        meta.HOST: lambda lists, one: meta.beside(lists, _elsewhere, one, SETTINGS, NOW_US),
        google.HOST: lambda lists, one: google.beside(lists, _elsewhere, one, SETTINGS, NOW_US),
        tiktok.HOST: lambda lists, one: tiktok.beside(lists, _elsewhere, one, SETTINGS, NOW_US),
        snap.HOST: lambda lists, one: snap.judge(lists, one, SETTINGS, NOW_US),
        appsflyer.HOST: lambda _, one: appsflyer.judge(one, SETTINGS, NOW_US),
    }
    return judges[host]


def _elsewhere(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    return Answer(status=404, body=msgspec.json.encode({}))
