"""What the stand-ins of Google's APIs have in common: bearer tokens, error envelopes, and the token endpoint.

Source: RFC 6749 and RFC 7523 for the token endpoint (developers.google.com/identity/protocols/oauth2), and
google.rpc.Status for errors (cloud.google.com/apis/design/errors); read 2026-11-22.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, decoded, media_type

HOST = "oauth2.googleapis.com"
LIFETIME_SECONDS = 3599
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status → the word of google.rpc.Code beside it."""


Last = Callable[[str, str, str], tuple[str | None, int | None]]
"""The value and the time that were told last of an id, by platform and account."""


def nothing(platform: str, account: str, conversion_id: str) -> tuple[str | None, int | None]:
    """Nothing was told of anything."""
    return None, None


CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def snake(name: str) -> str:
    """A field's name as the proto spells it, which is how Google's errors name it."""
    return CAPITAL.sub("_", name).lower()


def bearer(asked: Asked) -> str:
    """The token of the Authorization header; empty where there is none."""
    scheme, _, token = asked.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def envelope(status: int, message: str, details: Sequence[Mapping[str, Any]] = ()) -> bytes:
    """The body of every failure of a Google API."""
    error: dict[str, Any] = {"code": status, "message": message, "status": STATUS.get(status, "UNKNOWN")}
    if details:
        error["details"] = list(details)
    return msgspec.json.encode({"error": error})


def broken(status: int) -> Answer:
    """What a host says when it fails by itself."""
    return Answer(status=status, body=envelope(status, "failed on purpose"), headers=JSON)


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """The token endpoint: an access token for a service account or an authorized user it knows.

    The signature of a service account's assertion is not checked: the stand-in has no key of it.
    """
    if asked.path != "/token" or asked.method != "POST":
        return denied(404, "path: must be POST /token", now_us)
    if media_type(asked.headers) != "application/x-www-form-urlencoded":
        return denied(400, "content-type: must be a form", now_us)
    form = {key: values[0] for key, values in parse_qs(asked.body.decode("latin-1")).items()}
    match form.get("grant_type"):
        case "refresh_token":
            if not form.get("refresh_token") or not form.get("client_secret"):
                return denied(400, "form: client_secret and refresh_token are required", now_us)
            who: Any = form.get("client_id")
        case grant if grant == JWT_BEARER:
            claims = claims_of(form.get("assertion", ""))
            why = claims_problem(claims, now_us // 1_000_000)
            if why is not None:
                return denied(400, f"assertion: {why}", now_us, error="invalid_grant")
            who = claims["iss"]
        case _:
            return denied(400, "grant_type: unknown", now_us, error="unsupported_grant_type")
    token = settings.google_tokens.get(who) if isinstance(who, str) else None
    if token is None:
        return denied(401, "client: unknown", now_us, error="invalid_client")
    body = {"access_token": token, "expires_in": LIFETIME_SECONDS, "token_type": "Bearer"}
    return Answer(status=200, body=msgspec.json.encode(body), headers=JSON)


def claims_of(assertion: str) -> dict[str, Any]:
    """The claims of a signed JWT; empty where it is none."""
    parts = assertion.split(".")
    if len(parts) != 3 or not all(parts):
        return {}
    try:
        claims = decoded(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def claims_problem(claims: dict[str, Any], now: int) -> str | None:
    """The first rule that an assertion breaks; `now` in Unix seconds."""
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(claims.get("iss"), str):
        return "no issuer"
    if not isinstance(claims.get("scope"), str) or not claims["scope"]:
        return "no scope"
    if claims.get("aud") != f"https://{HOST}/token":
        return "another audience"
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        return "no times"
    if not now - 300 <= issued <= now + 300 or not now < expires <= issued + 3600:
        return "times outside of an hour from now"
    return None


def denied(status: int, why: str, now_us: int, *, error: str = "invalid_request") -> Answer:
    """A refusal of the token endpoint, in the words of RFC 6749."""
    refused = Refused(platform="google_token", account="", reason=why, received_us=now_us, status=status)
    body = msgspec.json.encode({"error": error, "error_description": why})
    return Answer(status=status, body=body, headers=JSON, refused=(refused,))
