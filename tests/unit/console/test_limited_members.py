"""Members who see some campaigns, channels or apps only: no page, part, file or answer tells of others."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from tests.acme import event, loan, login, us
from tests.browsing import Browser
from tests.unit.report.kept import Kept

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.console.app import every_page
from lendsignal.console.reporting import SLICED
from lendsignal.log import DataFolder, open_feeds, open_keys
from lendsignal.log.people import People, open_people
from lendsignal.model import Event
from lendsignal.model.attribution import Ad, Attribution, Spend
from lendsignal.model.member import MemberRole
from lendsignal.report.catalog import REPORTS
from lendsignal.role.reports import BY_APP, MAKERS, report_routes
from lendsignal.source import Keyring
from lendsignal.source.keychain import Keychain

PASSWORD = "correct horse battery"
MARK = "zzyzx"
"""Stands in every name of what others have, and in none of ours."""

CONFIG = """
[portfolio]
name = "acme"

[brand.acme]
[brand.zzyzxbrand]

[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[app.acme-zzyzx]
brand     = "acme"
platform  = "ios"
bundle    = "id123456789"
bundle_id = "com.acme.ios"
country   = "PH"
currency  = "PHP"
timezone  = "Asia/Manila"

[source.agency]
key_sha256 = "{digest}"
scopes     = ["read"]
apps       = ["acme-ng"]
"""

MINE = Ad(
    channel="meta", media_source="Facebook Ads", campaign="ng_spring", campaign_id="c1", ad_set="lookalike"
)
THEIRS = Ad(
    channel="zzyzx_network",
    media_source="zzyzx_network_int",
    campaign="zzyzx_summer",
    campaign_id="zzyzx2",
    ad_set="zzyzx_broad",
)


def install(app: str, name: str, ad: Ad) -> Attribution:
    return Attribution(feed="mmp", mmp="appsflyer", app=app, id=f"af-{name}", told_us=us(0), ad=ad)


def spend(ad: Ad, amount: str, currency: str) -> Spend:
    return Spend(
        feed="ads",
        account="a1",
        day=date(2026, 3, 10),
        ad=ad,
        amount=Decimal(amount),
        currency=currency,
        impressions=1_000,
        clicks=100,
    )


def lent(user: str, phone: str, app: str, minute: int, amount: str, product: str) -> list[Event]:
    """A user who comes, borrows and repays; the events of each user have their own minutes."""
    currency = "NGN" if app == "acme-ng" else "PHP"
    who: dict[str, Any] = {"user_id": user}
    said = {"amount": Decimal(amount), "currency": currency, "product": product}
    fee = Decimal(amount) / 10
    return [
        event("registered", minute, app=app, event_id=f"r-{user}", **who),
        login(minute + 1, phone, app=app, event_id=f"l-{user}-{phone}", **who),
        event("applied", minute + 2, application_id=f"A-{user}", event_id=f"a-{user}", **who),
        loan(minute + 3, f"L-{user}", event_id=f"d-{user}", **{**said, "fee": fee}, **who),
        event("repaid", minute + 4, loan_id=f"L-{user}", payment_id=f"P-{user}", event_id=f"p-{user}",
              amount=Decimal(amount), currency=currency, **who),
    ]  # fmt: skip


OURS = [
    *lent("ada", "m1", "acme-ng", 0, "15000", "starter"),
    *lent("bob", "m2", "acme-ng", 10, "21000", "starter"),
]
OTHERS = [
    *lent("zzyzx-carl", "t1", "acme-zzyzx", -40, "7777", "zzyzx_gold"),
    *lent("zzyzx-dora", "t2", "acme-zzyzx", -30, "8888", "zzyzx_gold"),
]
CROSSING = [
    login(40, "t3", app="acme-zzyzx", user_id="eve", event_id="l-eve-1"),
    *lent("eve", "m3", "acme-ng", 50, "17000", "starter"),
    login(60, "m4", app="acme-ng", user_id="finn", event_id="l-finn-1"),
    *lent("finn", "t4", "acme-zzyzx", 70, "9999", "starter"),
]
"""Who came by an ad of others first and by one of ours last, and the other way round: by the rule of the
first install that one's loans are ours, whichever ad they came by later."""

ADS = [
    *(install("acme-ng", name, MINE) for name in ("m1", "m2", "m3", "m4")),
    *(install("acme-zzyzx", name, THEIRS) for name in ("t1", "t2", "t3", "t4")),
]


def lender(path: Path, events: list[Event], ads: list[Attribution], costs: list[Spend]) -> Config:
    """A data folder with these events, and its configuration."""
    path.mkdir()
    file = path / "lendsignal.toml"
    file.write_text(CONFIG.format(digest="0" * 64))
    config = configuration.load(file)
    config.data.mkdir()
    kept = Kept(config.data, config.policy, now=200)
    kept.feed(*ads).tell(*sorted(events, key=lambda one: one.received_at))
    kept.log.close()
    with closing(open_feeds(DataFolder(config.data).feeds)) as feeds:
        feeds.replace_days(costs)
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Ours, the others', and those who crossed over."""
    costs = [spend(MINE, "3000", "NGN"), spend(THEIRS, "4444", "PHP")]
    return lender(tmp_path_factory.mktemp("whole") / "l", OURS + OTHERS + CROSSING, ADS, costs)


def signed_in(app: Starlette, people: People, **limits: Any) -> Browser:
    now = SystemClock().now_us()
    code = people.invite(MemberRole.BUYER, now, by="a test", **limits)
    login = f"agency-{'-'.join(limits)}"
    people.welcome(code, login, PASSWORD, now)
    browser = Browser(app)
    assert browser.post("/sign-in", {"login": login, "password": PASSWORD}).status == 303
    return browser


LIMITS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "campaign": {"campaigns": ("Facebook Ads / ng_spring", "Facebook Ads / not_yet_begun")},
    "channel and app": {"channels": ("meta",), "apps": ("acme-ng",)},
}


class House:
    """A console with one member who has limits."""

    def __init__(self, config: Config, limits: Mapping[str, tuple[str, ...]]) -> None:
        self.limits = limits
        self.people = open_people(DataFolder(config.data).people)
        self.app = console(config, self.people, MAKERS)
        self.member = signed_in(self.app, self.people, **limits)

    def close(self) -> None:
        self.app.state.room.close()
        self.people.close()


@pytest.fixture(scope="module", params=list(LIMITS))
def house(request: pytest.FixtureRequest, whole: Config) -> Iterator[House]:
    made = House(whole, LIMITS[request.param])
    yield made
    made.close()


@pytest.fixture(scope="module")
def agency(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A member who sees one campaign, in a house with others' beside it."""
    costs = [spend(MINE, "3000", "NGN"), spend(THEIRS, "4444", "PHP")]
    made = House(
        lender(tmp_path_factory.mktemp("agency") / "l", OURS + OTHERS, ADS, costs), LIMITS["campaign"]
    )
    yield made
    made.close()


def addresses() -> Iterator[str]:
    """Every page, part and file of the console, ready for a query."""
    for page in every_page():
        under = page.path.rstrip("/")
        yield f"{page.path}?"
        for name in page.panels:
            yield f"{under}/panel/{name}?"
        for name in page.files:
            yield f"{under}/file/{name}?"


QUERIES = [
    "by=channel&by=media_source&by=campaign&by=ad_set&every=day&level=ad_set",
    "by=app&by=country&by=os&by=product&binding=first_install&cohort=registration",
]
assert {*SLICED} - {"loans"} == {*re.findall(r"by=(\w+)", " ".join(QUERIES))}

TABLES = {"/campaigns": "worth", "/attribution": "kinds", "/vintages": "vintages"}


def test_no_page_part_or_file_tells_of_others(house: House) -> None:
    opened = 0
    query = QUERIES[bool(house.limits.get("apps"))]  # one of the two is enough for each
    form = house.member.get("/account").form  # chance: it may hold any letters
    for address in addresses():
        first = house.member.get(address)
        opened += first.status == 200
        # A page that is not open says no more to another question.
        for answer in [first] if first.status == 403 else [first, house.member.get(address + query)]:
            told = answer.text.replace(form, "")
            assert MARK not in told.lower(), address
            assert not re.search(r"7,?777|8,?888|4,?444", told), address
    assert opened > 8
    for path, table in TABLES.items():
        answer = house.member.get(f"{path}/file/table?table={table}&by=campaign")
        assert MARK not in answer.text.lower(), (path, table)
    ours = plain(house.member.get("/campaigns/panel/report?by=campaign").text)
    assert "Facebook Ads / ng_spring" in ours


def test_no_act_and_no_search_answers_a_member_with_limits(agency: House) -> None:
    form = agency.member.get("/account").form
    for page in every_page():
        for name in page.acts:
            if page.path == "/account":
                continue
            refused = agency.member.post(f"{page.path.rstrip('/')}/act/{name}", {"form": form})
            assert refused.status == 403, (page.path, name)
    for query in ("q=zzyzx-carl", "q=d-zzyzx-carl", "q=L-zzyzx-carl", "q=ada"):
        assert agency.member.get(f"/life?{query}").status == 403
        assert agency.member.get(f"/life/panel/life?{query}").status == 403


def test_asking_for_what_others_have_is_as_asking_for_what_nobody_has(agency: House) -> None:
    pairs = [("campaign", "zzyzx_network_int+/+zzyzx_summer"), ("app", "acme-zzyzx")]
    for path in TABLES:
        for key, value in pairs:
            nobodys = re.sub("[a-z]", "q", value)
            real = agency.member.get(f"{path}/panel/report?{key}={value}&by=campaign")
            none = agency.member.get(f"{path}/panel/report?{key}={nobodys}&by=campaign")
            said = real.text
            for word in re.split(r"\+/\+", value):
                said = said.replace(word, re.sub("[a-z]", "q", word))
            assert (real.status, words_of(said)) == (none.status, words_of(none.text))


@pytest.mark.parametrize("limit", ["campaign"])
def test_what_a_member_sees_is_the_same_whether_the_others_are_there_or_not(
    tmp_path: Path, limit: str
) -> None:
    ours_ads = [one for one in ADS if one.ad is MINE]
    alone = House(lender(tmp_path / "alone", OURS, ours_ads[:2], [spend(MINE, "3000", "NGN")]), LIMITS[limit])
    beside = House(
        lender(
            tmp_path / "beside",
            OURS + OTHERS,
            ours_ads[:2] + [one for one in ADS if one.id in ("af-t1", "af-t2")],
            [spend(MINE, "3000", "NGN"), spend(THEIRS, "4444", "PHP")],
        ),
        LIMITS[limit],
    )
    try:
        for query in ("", QUERIES[0]):
            for page in [one for one in every_page() if one.by_campaign]:
                for name in page.panels:
                    address = f"{page.path}/panel/{name}?{query}"
                    first, second = (plain(one.member.get(address).text) for one in (alone, beside))
                    assert first == second, address
    finally:
        alone.close()
        beside.close()


def words_of(text: str) -> str:
    """What is shown, without the addresses in it, which hold what was asked."""
    return re.sub(r"<[^>]*>", " ", text)


def plain(text: str) -> str:
    """Without what differs from one session, and from one moment, to the next."""
    return re.sub(r"(value|X-Form&#34;: &#34;|X-Form\": \")=?\"?[\w-]{32}|as of [^<]*", "", text)


def test_a_limited_key_is_told_of_its_apps_alone(whole: Config) -> None:
    with closing(open_keys(DataFolder(whole.data).keys)) as store:
        chain = Keychain(whole.keys, whole.sources, store)
        key, _ = chain.add("agency", SystemClock().now_us(), None, ())
    keys = Keyring(
        whole.keys,
        SystemClock(),
        time.monotonic,
        sources=whole.sources,
        store=open_keys(DataFolder(whole.data).keys),
    )
    with keys:
        browser = Browser(Starlette(routes=report_routes(whole, keys)))
        for name in REPORTS:
            for query in ("by=campaign", "where=app%3Dacme-zzyzx"):
                shown = browser.get(f"/v1/reports/{name}?{query}", authorization=f"Bearer {key}")
                if name not in BY_APP:
                    assert (shown.status, "for some apps alone" in shown.text) == (403, True)
                    continue
                told = shown.text.replace("app acme-zzyzx", "")
                assert MARK not in told.lower(), (name, query)
                assert "PHP" not in told
        whole_funnel = json.loads(browser.get("/v1/reports/funnel", authorization=f"Bearer {key}").text)
    assert whole_funnel["tables"]["steps"]["rows"]
