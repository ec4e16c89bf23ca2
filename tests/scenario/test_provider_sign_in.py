"""Sign-in by the company's own provider, against a real one in a process of its own."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace
from tests.browsing import Browser, Shown
from tests.servers.openid import CLIENT, CLIENT_SECRET, Provider, openid_provider

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.errors import ConfigError
from lendsignal.log import DataFolder
from lendsignal.log.people import HANDSHAKE_FOR, Handshake, People, open_people
from lendsignal.model.member import MemberRole

BACK = "http://localhost/sign-in/provider/back"
PASSWORD = "correct horse battery"

CONFIG = """
[portfolio]
name = "acme"

[brand.acme]

[app.acme-android]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[web]
address = "http://localhost"

[web.oidc]
issuer        = "{issuer}"
client_id     = "{client}"
client_secret = {{ env = "ACME_OIDC" }}
label         = "Acme"
members       = "anybody"
roles = [
  {{ group = "lending-admins", role = "admin" }},
  {{ group = "agency-north", role = "buyer", campaigns = ["ng_spring"], channels = ["Meta"] }},
]
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with openid_provider(BACK) as one:
        yield one


@pytest.fixture
def provider(running: Provider) -> Provider:
    """The provider, as good as it was at the beginning."""
    running.tell(claims={"groups": ["lending-admins"]})
    return running


@pytest.fixture
def config(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("ACME_OIDC", CLIENT_SECRET)
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG.format(issuer=provider.address, client=CLIENT))
    return configuration.load(path)


@pytest.fixture
def people(config: Config) -> Iterator[People]:
    found = open_people(DataFolder(config.data).people)
    yield found
    found.close()


@pytest.fixture
def app(config: Config, people: People) -> Iterator[Any]:
    made = console(config, people)
    yield made
    made.state.room.close()


def another(config: Config, people: People, **changed: Any) -> Any:
    """A console with other words in `[web.oidc]`, or in `[web]` where they begin with `web_`."""
    web = {name.removeprefix("web_"): value for name, value in changed.items() if name.startswith("web_")}
    own = {name: value for name, value in changed.items() if not name.startswith("web_")}
    oidc = None if config.web.oidc is None else replace(config.web.oidc, **own)
    return console(replace(config, web=replace(config.web, oidc=oidc, **web)), people)


def back_from(provider: Provider, browser: Browser, to: str = "/") -> str:
    """Where the provider sends a browser that asked to sign in, without the host."""
    sent = browser.get(f"/sign-in/provider?to={to}")
    assert sent.status == 303, sent.text
    returned = urlsplit(provider.signed_in(sent.headers["location"]))
    return f"{returned.path}?{returned.query}"


def signed_in(provider: Provider, browser: Browser, to: str = "/") -> Shown:
    """The whole way there and back."""
    return browser.get(back_from(provider, browser, to))


def test_who_has_a_group_with_a_role_comes_in_and_is_where_they_wanted(
    provider: Provider, app: Any, people: People
) -> None:
    browser = Browser(app)

    came = signed_in(provider, browser, to="/people")

    assert (came.status, came.headers["location"]) == (303, "/people")
    assert browser.get("/people").status == 200
    (member,) = people.members()
    assert (member.login, member.role) == ("ada@acme.example", MemberRole.ADMIN)
    assert [one.what for one in people.done()] == ["signed in by the provider", "joined by the provider"]


def test_the_sign_in_page_leads_there_and_what_is_asked_is_what_the_standard_asks(
    provider: Provider, app: Any
) -> None:
    browser = Browser(app)

    shown = browser.get("/sign-in?to=/live").text
    asked = parse_qs(urlsplit(browser.get("/sign-in/provider?to=/live").headers["location"]).query)

    assert "Sign in with Acme" in shown
    assert 'href="/sign-in/provider?to=/live"' in shown
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [BACK]
    assert all(len(asked[name][0]) == 43 for name in ("state", "nonce", "code_challenge"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": {"nonce": "another-nonce-of-another-sign-in"}},
        {"claims": {"nonce": None}},
        {"claims": {"aud": "another-client"}},
        {"claims": {"aud": [CLIENT, "another-client"]}},
        {"claims": {"azp": "another-client"}},
        {"claims": {"iss": "https://elsewhere.example"}},
        {"claims": {"exp": timedelta(hours=-1)}},
        {"claims": {"exp": None}},
        {"claims": {"iat": timedelta(hours=1), "exp": timedelta(hours=2)}},
        {"claims": {"iat": timedelta(hours=-2)}},
        {"claims": {"iat": None}},
        {"claims": {"sub": None}},
        {"claims": {"sub": 7}},
        {"claims": {"at_hash": "bm90IHRoaXMgdG9rZW4"}},
        {"bend": "alg none"},
        {"bend": "alg HS256"},
        {"bend": "another's key"},
        {"bend": "changed"},
    ],
    ids=str,
)
def test_a_token_that_does_not_hold_lets_nobody_in(
    provider: Provider, app: Any, people: People, wrong: dict[str, Any]
) -> None:
    claims = {"groups": ["lending-admins"], **wrong.get("claims", {})}
    claims = {
        name: int(time.time() + value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in claims.items()
    }
    provider.tell(**{**wrong, "claims": claims})
    browser = Browser(app)

    came = signed_in(provider, browser)

    assert (came.status, "does not hold" in came.text) == (403, True)
    assert browser.get("/").status == 303
    assert people.members() == []


def test_a_key_that_was_rotated_is_looked_for_and_the_old_one_is_good_no_more(
    provider: Provider, app: Any
) -> None:
    assert signed_in(provider, Browser(app)).status == 303

    provider.tell(rotate=True, claims={"groups": ["lending-admins"]})

    assert signed_in(provider, Browser(app)).status == 303


def test_an_answer_is_good_once_in_the_browser_that_began_and_for_a_while(
    provider: Provider, app: Any, people: People
) -> None:
    mine, theirs = Browser(app), Browser(app)
    back = back_from(provider, mine)

    assert theirs.get(back).status == 403
    theirs.get("/sign-in/provider")
    assert theirs.get(back).status == 403
    assert mine.get(back).status == 303
    assert mine.get(back).status == 403
    handshake = Handshake(nonce="n", verifier="v", leads_to="/")
    now = SystemClock().now_us()
    people.begin("late", "me", handshake, now)
    assert people.take("late", "me", now + int(HANDSHAKE_FOR.total_seconds() * 1e6) + 1) is None


def test_a_code_that_was_used_before_is_refused_by_the_provider(provider: Provider, app: Any) -> None:
    first, second = Browser(app), Browser(app)
    used = parse_qs(urlsplit(back_from(provider, first)).query)["code"][0]
    fresh = parse_qs(urlsplit(back_from(provider, second)).query)
    back = f"/sign-in/provider/back?state={fresh['state'][0]}&iss={fresh['iss'][0]}&code={used}"

    came = second.get(back)

    assert (came.status, "refused what was asked" in came.text) == (403, True)


def test_an_answer_of_another_issuer_or_a_denial_is_said_in_words(provider: Provider, app: Any) -> None:
    provider.tell(**{"from": "https://elsewhere.example"})
    assert "came from another provider" in signed_in(provider, Browser(app)).text
    provider.tell(denies="access_denied")
    assert "did not let you in" in signed_in(provider, Browser(app)).text


def test_whom_no_group_gives_a_role_stays_outside_and_is_put_out_where_they_were_in(
    provider: Provider, app: Any, people: People
) -> None:
    browser = Browser(app)
    assert signed_in(provider, browser).status == 303
    provider.tell(claims={"groups": ["canteen"]})

    came = signed_in(provider, Browser(app))

    assert "none of your groups has a role here" in came.text
    assert browser.get("/").status == 303
    assert people.done()[0].what == "was turned away"


def test_the_first_group_that_fits_gives_role_and_limits_at_every_sign_in(
    provider: Provider, config: Config, people: People
) -> None:
    app = another(config, people)
    people.invite(MemberRole.ADMIN, SystemClock().now_us(), by="a test")
    provider.tell(claims={"sub": "person-0", "email": "boss@acme.example", "groups": ["lending-admins"]})
    signed_in(provider, Browser(app))
    provider.tell(claims={"groups": ["agency-north", "canteen"]})
    browser = Browser(app)

    assert signed_in(provider, browser).status == 303
    member = next(one for one in people.members() if one.login == "ada@acme.example")
    assert (member.role, member.campaigns, member.channels) == ("buyer", ("ng_spring",), ("Meta",))
    assert browser.get("/people").status == 403
    provider.tell(claims={"groups": ["agency-north", "lending-admins"]})
    signed_in(provider, browser)
    member = next(one for one in people.members() if one.login == "ada@acme.example")
    assert (member.role, member.campaigns) == (MemberRole.ADMIN, ())
    app.state.room.close()


def test_groups_and_names_that_the_token_lacks_are_asked_of_the_provider(
    provider: Provider, app: Any, people: People
) -> None:
    provider.tell(claims={"groups": None}, userinfo={"groups": ["lending-admins"]})
    assert signed_in(provider, Browser(app)).status == 303

    provider.tell(claims={"groups": None}, userinfo={"sub": "person-9", "groups": ["lending-admins"]})

    assert "does not hold" in signed_in(provider, Browser(app)).text


def test_groups_may_lie_inside_another_claim(provider: Provider, config: Config, people: People) -> None:
    provider.tell(claims={"groups": None, "realm_access": {"roles": ["lending-admins"]}})
    app = another(config, people, groups="realm_access.roles")

    assert signed_in(provider, Browser(app)).status == 303
    app.state.room.close()


def test_an_address_counts_where_it_is_verified_and_of_a_domain_that_comes_in(
    provider: Provider, config: Config, people: People
) -> None:
    groups = ["lending-admins"]
    app = another(config, people, domains=("acme.example",))

    provider.tell(claims={"groups": groups, "email_verified": False})
    assert "not verified" in signed_in(provider, Browser(app)).text
    provider.tell(claims={"groups": groups, "email": "ada@elsewhere.example"})
    assert "does not come in here" in signed_in(provider, Browser(app)).text
    provider.tell(claims={"groups": groups, "email": "ada@acme.example.elsewhere.example"})
    assert "does not come in here" in signed_in(provider, Browser(app)).text
    provider.tell(claims={"groups": groups, "email": "Ada@ACME.example"})
    assert signed_in(provider, Browser(app)).status == 303
    assert people.members()[0].login == "ada@acme.example"
    app.state.room.close()


def test_where_an_admin_decides_only_who_is_expected_comes_in_with_what_the_admin_gave(
    provider: Provider, config: Config, people: People
) -> None:
    app = another(config, people, members="expected", roles=())
    now = SystemClock().now_us()

    assert "nobody expects" in signed_in(provider, Browser(app)).text
    people.expect("ada@acme.example", MemberRole.BUYER, now, by="a test", apps=("acme-android",))
    assert signed_in(provider, Browser(app)).status == 303
    assert [(one.role, one.apps) for one in people.members()] == [(MemberRole.BUYER, ("acme-android",))]
    people.change("ada@acme.example", now, by="a test", disabled=True)
    assert "was put out" in signed_in(provider, Browser(app)).text
    app.state.room.close()


def test_a_provider_does_not_become_a_member_of_the_same_name_unless_an_admin_says_so(
    provider: Provider, app: Any, people: People
) -> None:
    now = SystemClock().now_us()
    people.welcome(people.invite(MemberRole.ADMIN, now, by="a test"), "ada@acme.example", PASSWORD, now)

    assert "is somebody" in signed_in(provider, Browser(app)).text
    people.expect("ada@acme.example", MemberRole.VIEWER, now, by="a test")
    assert signed_in(provider, Browser(app)).status == 303
    provider.tell(claims={"sub": "person-2", "groups": ["lending-admins"]})
    assert "is somebody" in signed_in(provider, Browser(app)).text


def test_where_passwords_do_not_count_only_the_emergency_account_has_one(
    provider: Provider, config: Config, people: People
) -> None:
    app = another(config, people, web_local_accounts=False, web_emergency="break-glass")
    now = SystemClock().now_us()
    for login in ("break-glass", "bob"):
        people.welcome(people.invite(MemberRole.ADMIN, now, by="a test"), login, PASSWORD, now)
    theirs = Browser(app)
    theirs.cookies["lendsignal"] = people.sign_in("bob", PASSWORD, "", now)

    refused = Browser(app).post("/sign-in", {"login": "bob", "password": PASSWORD})
    assert (refused.status, "do not count here" in refused.text) == (403, True)
    code = people.invite(MemberRole.VIEWER, now, by="a test")
    fields = {"login": "eve", "password": PASSWORD, "again": PASSWORD}
    assert Browser(app).post(f"/welcome?code={code}", fields).status == 403
    people.end_local_sessions("break-glass", now)
    assert theirs.get("/").status == 303
    assert Browser(app).post("/sign-in", {"login": "break-glass", "password": PASSWORD}).status == 303
    assert signed_in(provider, Browser(app)).status == 303
    app.state.room.close()


def test_who_signs_out_is_out_here_and_may_sign_out_there(provider: Provider, app: Any) -> None:
    browser = Browser(app)
    signed_in(provider, browser)

    answer = browser.post("/sign-out", {"form": browser.get("/").form})
    shown = browser.get(answer.headers["location"]).text

    assert browser.get("/live").status == 303
    assert f"{provider.address}/end?client_id={CLIENT}" in shown


def test_a_provider_that_is_silent_or_somebody_else_is_said_in_words(
    provider: Provider, config: Config, people: People
) -> None:
    silent = another(config, people, issuer="http://127.0.0.1:1")
    provider.tell(issuer="https://elsewhere.example")
    other = another(config, people)

    assert "does not answer" in Browser(silent).get("/sign-in/provider").text
    assert "says that it is another" in Browser(other).get("/sign-in/provider").text
    silent.state.room.close()
    other.state.room.close()


def test_nothing_of_a_token_or_secret_is_kept_or_logged(
    provider: Provider, app: Any, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    browser = Browser(app)
    back = back_from(provider, browser)
    code = parse_qs(urlsplit(back).query)["code"][0]
    browser.get(back)
    provider.tell(bend="alg none")
    signed_in(provider, Browser(app))

    kept = b"".join(path.read_bytes() for path in config.data.glob("people*"))

    for secret in (code, CLIENT_SECRET, "eyJ"):
        assert secret.encode() not in kept
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("was", "instead", "key"),
    [
        ('issuer        = "http://127', 'issuer        = "http://10.1', "web.oidc"),
        ('address = "http://localhost"', "", "web.address"),
        ('address = "http://localhost"', 'address = "http://loans.acme.example"', "web.address"),
        ('address = "http://localhost"', 'address = "http://localhost"\nopen = true', "web.open"),
        ('address = "http://localhost"', 'address = "http://localhost"\nlocal_accounts = false', "local"),
        ('role = "buyer"', 'role = "buyer", apps = ["acme-ios"]', "web.oidc.roles"),
        ("[portfolio]", '[security]\nhosts = ["acme.example"]\n[portfolio]', "web.oidc.issuer"),
    ],
)
def test_what_would_not_be_safe_is_refused_before_anything_starts(
    config: Config, provider: Provider, was: str, instead: str, key: str
) -> None:
    text = CONFIG.format(issuer=provider.address, client=CLIENT)
    assert was in text

    with pytest.raises(ConfigError, match=key):
        configuration.parsed(text.replace(was, instead, 1), config.path)
