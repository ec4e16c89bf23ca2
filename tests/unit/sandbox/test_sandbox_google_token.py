"""The stand-in for Google's token endpoint. Oracle: RFC 6749 and RFC 7523."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.google import HOST, JWT_BEARER, judge

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
SETTINGS = SandboxSettings(google_tokens={"robot@acme.example": "tok-1", "client-7": "tok-2"})
CLAIMS = {
    "iss": "robot@acme.example",
    "scope": "https://www.googleapis.com/auth/datamanager",
    "aud": "https://oauth2.googleapis.com/token",
    "iat": SECONDS,
    "exp": SECONDS + 3600,
}


def assertion(**changes: Any) -> str:
    parts = [{"alg": "RS256"}, {**CLAIMS, **changes}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def send(**form: str) -> Answer:
    asked = Asked(
        host=HOST,
        method="POST",
        path="/token",
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
    )
    return judge(asked, SETTINGS, to_us(NOW))


def test_a_service_account_gets_its_token_for_an_assertion() -> None:
    answer = send(grant_type=JWT_BEARER, assertion=assertion())

    assert json.loads(answer.body) == {"access_token": "tok-1", "expires_in": 3599, "token_type": "Bearer"}


def test_an_authorized_user_gets_its_token_for_a_refresh_token() -> None:
    answer = send(grant_type="refresh_token", client_id="client-7", client_secret="s", refresh_token="r")

    assert json.loads(answer.body)["access_token"] == "tok-2"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": None}, "no issuer"),
        ({"scope": ""}, "no scope"),
        ({"aud": "https://elsewhere.example"}, "another audience"),
        ({"exp": None}, "no times"),
        ({"iat": SECONDS - 4000}, "times outside of an hour from now"),
        ({"exp": SECONDS + 7200}, "times outside of an hour from now"),
    ],
)
def test_an_assertion_that_breaks_a_rule_is_no_grant(changes: dict[str, Any], why: str) -> None:
    answer = send(grant_type=JWT_BEARER, assertion=assertion(**changes))

    assert answer.status == 400
    assert json.loads(answer.body) == {"error": "invalid_grant", "error_description": f"assertion: {why}"}


def test_strangers_and_other_grants_get_nothing() -> None:
    assert send(grant_type=JWT_BEARER, assertion=assertion(iss="other@acme.example")).status == 401
    assert json.loads(send(grant_type="password").body)["error"] == "unsupported_grant_type"
    assert send(grant_type="refresh_token", client_id="client-7").status == 400
    assert send(grant_type=JWT_BEARER, assertion="x").status == 400
