"""A request made ready for the wire: its secret joined, its host declared, nothing of that kept."""

import hmac
import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from lendsignal.deliver import MissingSecret, Wire, kept, problem_with_secrets, wire, without_secrets
from lendsignal.destination.spec import (
    Auth,
    Bearer,
    HeaderAuth,
    MetaAuth,
    QueryAuth,
    Request,
    Response,
    WebhookAuth,
)
from lendsignal.errors import TransportError

VECTOR = json.loads((Path(__file__).parents[1] / "sandbox" / "vendor_examples.json").read_text())["webhook"]
"""The published vector of the Standard Webhooks reference libraries."""

SECRET = "sesame-7f3a"
APP_SECRET = "app-sesame-91c2"
URL = "https://api.acme.example/v1/events"
BEARER = Bearer("token")
ITEM = {"id": "c0ffee01", "name": "ev_fl", "amount": "38.75"}


def made(
    auth: Auth = BEARER,
    *,
    url: str = URL,
    hosts: tuple[str, ...] = ("api.acme.example",),
    sandbox: str | None = None,
    secrets: dict[str, str | None] | None = None,
    now_us: int = 1_614_265_330_999_999,
    **request: Any,
) -> Wire:
    """The wire of a POST of `ITEM` with the secret `SECRET` in every field."""
    parts = {"json": ITEM, **request} if "form" not in request else request
    given = {"token": SECRET, "app_secret": None} if secrets is None else secrets
    asked = Request(method="POST", url=url, **parts)
    return wire(asked, auth, given, hosts=hosts, sandbox=sandbox, now_us=now_us)


def header(sent: Wire, name: str) -> str | None:
    return {key.lower(): value for key, value in sent.headers}.get(name)


def test_the_body_is_json_and_says_so() -> None:
    sent = made()

    assert json.loads(sent.body) == ITEM
    assert header(sent, "content-type") == "application/json"
    assert (sent.method, sent.url) == ("POST", URL)


def test_a_form_is_urlencoded_and_says_so() -> None:
    sent = made(form={"id": "c0ffee01", "note": "a b&c"})

    assert sent.body == b"id=c0ffee01&note=a+b%26c"
    assert header(sent, "content-type") == "application/x-www-form-urlencoded"


def test_the_requests_own_headers_go_out_with_it() -> None:
    assert header(made(headers={"X-Trial": "yes"}), "x-trial") == "yes"


# the secret


def test_a_bearer_token_joins_as_the_authorization_header() -> None:
    assert header(made(Bearer("token")), "authorization") == f"Bearer {SECRET}"


def test_a_header_of_the_platforms_own_carries_the_bare_secret() -> None:
    sent = made(HeaderAuth("authentication", "token"))

    assert header(sent, "authentication") == SECRET
    assert header(sent, "authorization") is None


def test_a_query_secret_is_quoted_and_joins_what_the_address_has_already() -> None:
    sent = made(QueryAuth("api_secret", "token"), url=f"{URL}?app=1:2", secrets={"token": "a&b=c d"})

    assert sent.url == f"{URL}?app=1:2&api_secret=a%26b%3Dc%20d"


def test_meta_gets_the_token_alone_where_no_app_secret_is_set() -> None:
    query = parse_qs(urlsplit(made(MetaAuth("token", "app_secret")).url).query)

    assert query == {"access_token": [SECRET]}


def test_meta_gets_the_proof_where_an_app_secret_is_set() -> None:
    # Meta, "securing requests": hex HMAC-SHA256 of the access token, keyed with the app secret.
    proof = hmac.new(APP_SECRET.encode(), SECRET.encode(), sha256).hexdigest()

    sent = made(MetaAuth("token", "app_secret"), secrets={"token": SECRET, "app_secret": APP_SECRET})

    assert parse_qs(urlsplit(sent.url).query) == {"access_token": [SECRET], "appsecret_proof": [proof]}
    assert APP_SECRET not in sent.url


def test_a_webhook_is_signed_as_in_the_published_vector() -> None:
    sent = made(
        WebhookAuth("token"),
        json=msgspec.Raw(VECTOR["body"].encode()),
        key=VECTOR["id"],
        secrets={"token": VECTOR["secret"]},
    )

    assert sent.body == VECTOR["body"].encode()
    assert header(sent, "webhook-id") == VECTOR["id"]
    assert header(sent, "webhook-timestamp") == "1614265330"
    assert header(sent, "webhook-signature") == VECTOR["signature"]


AUTHS = [
    Bearer("token"),
    HeaderAuth("authentication", "token"),
    QueryAuth("api_secret", "token"),
    MetaAuth("token", "app_secret"),
    WebhookAuth("token"),
]


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: type(auth).__name__)
def test_without_its_secret_nothing_is_made(auth: Auth, value: str | None) -> None:
    with pytest.raises(MissingSecret, match="token"):
        made(auth, secrets={"token": value})


def test_a_signing_secret_that_is_no_base64_is_as_good_as_none() -> None:
    with pytest.raises(MissingSecret) as found:
        made(WebhookAuth("token"), secrets={"token": f"whsec_{SECRET}!"})

    assert SECRET not in str(found.value)


@pytest.mark.parametrize(
    ("auth", "value", "why"),
    [
        (WebhookAuth("token"), "whsec_not*base64", "no base64 after whsec_"),
        (WebhookAuth("token"), "whsec_", "no base64 after whsec_"),
        (Bearer("token"), "two\nlines", "characters that no header or address can hold"),
        (Bearer("token"), "schlüssel", "characters that no header or address can hold"),
    ],
)
def test_a_secret_that_cannot_be_one_is_found_before_anything_is_sent(
    auth: Auth, value: str, why: str
) -> None:
    assert problem_with_secrets(auth, {"token": value}) == ("token", why)


def test_secrets_that_can_be_right_are_no_problem() -> None:
    assert problem_with_secrets(WebhookAuth("token"), {"token": VECTOR["secret"]}) is None
    assert (
        problem_with_secrets(MetaAuth("token", "app_secret"), {"token": "EAA|b", "app_secret": None}) is None
    )


# where it goes


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1/events",
        "https://api.acme.example@evil.example/v1/events",
        "https://api.acme.example.evil.example/v1/events",
        "https:///v1/events",
    ],
)
@pytest.mark.parametrize("sandbox", [None, "http://127.0.0.1:8900"])
def test_a_request_to_a_host_that_is_not_declared_is_not_made(url: str, sandbox: str | None) -> None:
    with pytest.raises(TransportError, match="are not declared"):
        made(url=url, sandbox=sandbox)


def test_the_host_is_compared_without_case() -> None:
    assert made(url="https://API.acme.example/v1").url == "https://API.acme.example/v1"


def test_the_sandbox_stands_in_for_the_host_and_keeps_path_and_query() -> None:
    sent = made(
        QueryAuth("api_secret", "token"),
        url="https://api.acme.example:8443/v1/apps/com.acme.loans?a=1:2:b",
        sandbox="http://127.0.0.1:8900/",
    )

    assert sent.url == (
        "http://127.0.0.1:8900/api.acme.example:8443/v1/apps/com.acme.loans?a=1:2:b&api_secret=sesame-7f3a"
    )


# what is kept


@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: type(auth).__name__)
def test_nothing_secret_is_in_what_is_kept(auth: Auth) -> None:
    asked = Request(method="POST", url=URL, json=ITEM, headers={"X-Trial": "yes"}, key="c0ffee01")
    secrets: dict[str, str | None] = {"token": VECTOR["secret"], "app_secret": APP_SECRET}
    wire(asked, auth, secrets, hosts=("api.acme.example",), sandbox=None, now_us=0)

    found = kept(asked)

    assert VECTOR["secret"].encode() not in found
    assert APP_SECRET.encode() not in found
    assert json.loads(found) == {
        "method": "POST",
        "url": URL,
        "headers": {"X-Trial": "yes"},
        "body": ITEM,
    }


def test_an_answer_that_repeats_the_secret_is_kept_without_it() -> None:
    body = b'{"error":"Malformed access token a/b=c; asked ?access_token=a%2Fb%3Dc"}'

    found = without_secrets(Response(status=400, body=body), {"token": "a/b=c", "app_secret": None})

    assert found.body == b'{"error":"Malformed access token [secret]; asked ?access_token=[secret]"}'
    assert found.status == 400


def test_an_answer_without_a_secret_is_kept_as_it_is() -> None:
    answer = Response(status=200, body=b"OK")

    assert without_secrets(answer, {"token": SECRET, "app_secret": ""}) is answer
