"""Tokens that have to be fetched, against a scripted token endpoint."""

import json
from base64 import urlsafe_b64decode
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.acme import us
from tests.desk import Desk, acme, borrower, borrowers, verdicts
from tests.scripted import Act, Came, hangs, platform, says

from lendsignal.deliver.tokens import JWT_BEARER, URL, is_refresh_token, problem_with_credentials
from lendsignal.destination.spec import Bearer, GoogleAuth
from lendsignal.log import Pause, Stop

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
SERVICE_ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "client_email": "sender@acme-growth.iam.example",
        "private_key_id": "k1",
        "private_key": PEM,
        "token_uri": URL,
    },
    indent=2,
)
PERSON = json.dumps(
    {
        "type": "authorized_user",
        "client_id": "client-7",
        "client_secret": "client-secret-5d0e",
        "refresh_token": "refresh-9a41",
    }
)
SCOPE = "https://www.googleapis.com/auth/adwords"
AUTH = GoogleAuth("token", SCOPE, {"developer-token": "token"})


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", SERVICE_ACCOUNT)


def google(**common: Any) -> Any:
    """Acme's interface behind Google's sign-in."""
    return acme(facts={"auth": GoogleAuth("token", SCOPE)}, **common)


def token(name: str = "ya29.one", seconds: int = 3599) -> Act:
    return says(200, json.dumps({"access_token": name, "expires_in": seconds}).encode())


def form(came: Came) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(came.body.decode()).items()}


def part(text: str) -> Any:
    return json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_a_token_is_fetched_once_and_every_request_carries_it(tmp_path: Path) -> None:
    with (
        platform(token(), verdicts("accepted")) as played,
        Desk(tmp_path, google(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(9)).until(lambda: desk.tally().get("accepted") == 9)

        first, *rest = played.came
        assert first.target == "/oauth2.googleapis.com/token"
        assert "authorization" not in first.headers
        assert {came.headers["authorization"] for came in rest} == {"Bearer ya29.one"}


def test_a_service_account_signs_what_google_asks_for(tmp_path: Path) -> None:
    with (
        platform(token(), verdicts("accepted")) as played,
        Desk(tmp_path, google(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.tally().get("accepted") == 1)
        asked = form(played.came[0])
        head, claims, signature = asked["assertion"].split(".")

        # RFC 7523 and "Using OAuth 2.0 for Server to Server Applications": RS256, at most an hour.
        assert asked["grant_type"] == JWT_BEARER == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        assert part(head)["alg"] == "RS256"
        assert part(claims) == {
            "iss": "sender@acme-growth.iam.example",
            "scope": SCOPE,
            "aud": "https://oauth2.googleapis.com/token",
            "iat": us(0) // 1_000_000,
            "exp": us(0) // 1_000_000 + 3600,
        }
        KEY.public_key().verify(
            urlsafe_b64decode(signature + "=="),
            f"{head}.{claims}".encode(),
            padding.PKCS1v15(),
            hashes.SHA256(),
        )


def test_an_authorized_user_sends_the_refresh_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", PERSON)
    with (
        platform(token(), verdicts("accepted")) as played,
        Desk(tmp_path, google(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.tally().get("accepted") == 1)

        assert form(played.came[0]) == {
            "grant_type": "refresh_token",
            "client_id": "client-7",
            "client_secret": "client-secret-5d0e",
            "refresh_token": "refresh-9a41",
        }


def test_a_token_is_fetched_anew_before_it_ends(tmp_path: Path) -> None:
    with (
        platform(
            token("ya29.one", 600), verdicts("accepted"), token("ya29.two"), verdicts("accepted")
        ) as played,
        Desk(tmp_path, google(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower("u1")).until(lambda: desk.tally().get("accepted") == 1)
        desk.clock.ahead(9)
        desk.tell(*borrower("u2", 9)).until(lambda: desk.tally().get("accepted") == 2)

        tokens = [came.headers.get("authorization") for came in played.came]
        assert tokens == [None, "Bearer ya29.one", None, "Bearer ya29.two"]


def test_credentials_that_google_refuses_pause_the_destination_and_nothing_left(tmp_path: Path) -> None:
    refused = says(400, json.dumps({"error": "invalid_grant"}).encode())
    with platform(refused) as played, Desk(tmp_path, google(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.store.paused())

        assert desk.store.paused() == {"acme-ng": Pause(us(0), Stop.PLATFORM, "bad_credentials")}
        assert [came.target for came in played.came] == ["/oauth2.googleapis.com/token"]
        assert [one.first_us for one in desk.open()] == [0]


def test_a_refresh_token_that_ended_is_told_apart_from_wrong_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_TOKEN", PERSON)
    # RFC 6749, 5.2: the refresh token is invalid, expired or revoked; the client is another matter.
    answers = {"invalid_grant": "refresh_token_ended", "invalid_client": "bad_credentials"}
    for number, (error, reason) in enumerate(answers.items()):
        refused = says(400, json.dumps({"error": error}).encode())
        folder = tmp_path / str(number)
        folder.mkdir()
        with platform(refused) as played, Desk(folder, google(), sandbox=played.url) as desk:
            desk.tell(*borrower()).until(desk.store.paused)

            assert desk.store.paused()["acme-ng"].reason == reason


@pytest.mark.parametrize(
    ("auth", "text", "is_one"),
    [
        (AUTH, PERSON, True),
        (AUTH, SERVICE_ACCOUNT, False),
        (AUTH, "not JSON", False),
        (AUTH, "[]", False),
        (AUTH, None, False),
        (Bearer("token"), PERSON, False),
    ],
)
def test_a_refresh_token_is_known_by_its_type(auth: Any, text: str | None, is_one: bool) -> None:
    assert is_refresh_token(auth, {"token": text}) is is_one


def test_a_token_endpoint_that_hangs_holds_up_nobody_else(tmp_path: Path) -> None:
    other = acme("other-ng", account="other", token="OTHER_TOKEN")
    with (
        pytest.MonkeyPatch.context() as patches,
        platform(hangs) as slow,
        platform(verdicts("accepted")) as played,
    ):
        patches.setenv("OTHER_TOKEN", "other-token")
        outlets = (google(timeout=timedelta(seconds=30)), other)
        with Desk(tmp_path, *outlets, sandbox=slow.url) as desk:
            desk.tell(*borrower()).until(lambda: len(slow.came) == 2)
            assert sorted(came.target.split("/")[1] for came in slow.came) == [
                "api.acme.example",
                "oauth2.googleapis.com",
            ]
        assert played.came == []


def test_a_platform_that_takes_the_token_no_more_is_sent_the_next_one(tmp_path: Path) -> None:
    with (
        platform(
            token("ya29.one"), verdicts("paused:http_401"), token("ya29.two"), verdicts("accepted")
        ) as played,
        Desk(tmp_path, google(), sandbox=played.url, probe_after=timedelta(minutes=1)) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.store.paused())
        desk.clock.ahead(2)
        desk.until(lambda: desk.tally().get("accepted") == 1)

        assert [came.headers.get("authorization") for came in played.came][1::2] == [
            "Bearer ya29.one",
            "Bearer ya29.two",
        ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON file as Google hands it out"),
        ("{}", "no JSON file as Google hands it out"),
        ('{"type": "external_account"}', "another type than service_account"),
        (SERVICE_ACCOUNT.replace("BEGIN PRIVATE", "BEGIN NO"), "no JSON file as Google hands it out"),
    ],
)
def test_credentials_of_no_use_are_told_apart_without_a_word_of_what_is_in_them(text: str, why: str) -> None:
    said = problem_with_credentials(text) or ""

    assert why in said
    assert "PRIVATE" not in said


def test_good_credentials_are_no_problem() -> None:
    assert problem_with_credentials(SERVICE_ACCOUNT) is None
    assert problem_with_credentials(PERSON) is None
