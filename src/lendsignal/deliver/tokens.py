"""Bearer tokens that have to be fetched: Google's, for a service account or an authorized user.

A token is fetched through the sender's own network like everything else, so that a slow token endpoint
delays its own destination and no other. Source: developers.google.com/identity/protocols/oauth2 (service
accounts: RFC 7523 assertion, signed RS256; authorized users: refresh token), read 2026-11-22.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.wire import FETCHED_TOKEN, MissingSecret
from lendsignal.destination.spec import (
    Auth,
    GoogleAuth,
    Request,
    Response,
    body_json,
    by_status,
)
from lendsignal.model import Outcome, Paused, Rejected, Retry

HOST = "oauth2.googleapis.com"
URL = f"https://{HOST}/token"
LIFETIME = timedelta(hours=1)
"""The longest that Google lets an assertion live."""

SPARE_SECONDS = 120.0
"""A token is fetched anew so long before it ends, so that no request leaves with one that ends on the way."""

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class _Token(Struct):
    until: float = 0.0
    asked: bool = False
    not_before: float = 0.0


class Tokens:
    """The fetched tokens of all destinations that need one; they stand among the secrets, in memory only."""

    def __init__(
        self,
        outlets: Mapping[str, Outlet],
        secrets: Mapping[str, dict[str, str | None]],
        steady: Callable[[], float],
    ) -> None:
        self._secrets = secrets
        self._steady = steady
        self._auths = {
            name: outlet.spec.auth
            for name, outlet in outlets.items()
            if isinstance(outlet.spec.auth, GoogleAuth)
        }
        self._tokens = {name: _Token() for name in self._auths}

    def missing(self, name: str) -> bool:
        """Whether that destination can send nothing until a token was fetched."""
        token = self._tokens.get(name)
        return token is not None and self._steady() >= token.until

    def may_ask(self, name: str) -> bool:
        """Whether a token may be asked for now: one question at a time, and not at once after a failure."""
        token = self._tokens[name]
        return not token.asked and self._steady() >= token.not_before

    def request(self, name: str, now_us: int) -> Request:
        """The question for a token. Raises `MissingSecret` where the credentials are of no use."""
        auth = self._auths[name]
        given = self._secrets[name].get(auth.field)
        form = _grant(given or "", auth.scope, now_us // 1_000_000)
        self._tokens[name].asked = True
        return Request(method="POST", url=URL, form=form)

    def took(self, name: str, response: Response | None) -> Outcome | None:
        """Reads the answer (`None`: there was none). What is returned keeps the destination from sending."""
        token = self._tokens[name]
        token.asked = False
        token.not_before = self._steady() + 5.0
        if response is None:
            return Retry("no_token")
        said = body_json(response)
        if response.status == 200 and isinstance(said, dict) and isinstance(said.get("access_token"), str):
            lifetime = float(said.get("expires_in") or LIFETIME.total_seconds())
            token.until = self._steady() + max(1.0, lifetime - SPARE_SECONDS)
            self._secrets[name][FETCHED_TOKEN] = said["access_token"]
            return None
        outcome = by_status(response)
        if not isinstance(outcome, (Rejected, Paused)):
            return Retry("no_token")
        ended = isinstance(said, dict) and said.get("error") == "invalid_grant"
        if ended and is_refresh_token(self._auths[name], self._secrets[name]):
            # RFC 6749, 5.2: ended or revoked. Nothing but a new one from a person helps.
            return Paused("refresh_token_ended")
        return Paused("bad_credentials")

    def forget(self, name: str) -> None:
        """The platform does not take the token any more: the next request fetches another."""
        token = self._tokens.get(name)
        if token is not None:
            token.until = 0.0
            self._secrets[name].pop(FETCHED_TOKEN, None)


def is_refresh_token(auth: Auth, secrets: Mapping[str, str | None]) -> bool:
    """Whether a destination sends with a person's refresh token, which Google may let end.

    A consent screen in testing gives out refresh tokens that end after seven days ("refresh token
    expiration", developers.google.com/identity/protocols/oauth2, read 2026-11-22); a key of a service account
    has no end of its own.
    """
    given = secrets.get(auth.field) if isinstance(auth, GoogleAuth) else None
    try:
        said: Any = msgspec.json.decode(given or "null")
    except msgspec.DecodeError:
        return False
    return isinstance(said, dict) and said.get("type") == "authorized_user"


def problem_with_google(auth: Auth, secrets: Mapping[str, str | None]) -> tuple[str, str] | None:
    """The field of Google's credentials that are of no use, and why; `None` where there is nothing wrong."""
    given = secrets.get(auth.field) if isinstance(auth, GoogleAuth) else None
    why = problem_with_credentials(given) if given is not None else None
    return (auth.field, why) if isinstance(auth, GoogleAuth) and why is not None else None


def problem_with_credentials(text: str) -> str | None:
    """Why a credentials file is of no use, without a word of what is in it; `None` where it is."""
    try:
        _grant(text, "scope", 0)
    except MissingSecret as error:
        return str(error)
    return None


def token_request(credentials: str, scope: str, now_us: int) -> Request:
    """The question for a token, for whoever keeps tokens by itself; it holds a secret and is never kept.

    Raises `MissingSecret` where the credentials are of no use.
    """
    return Request(method="POST", url=URL, form=_grant(credentials, scope, now_us // 1_000_000))


def _grant(text: str, scope: str, now_seconds: int) -> dict[str, str]:
    """The form that asks for a token."""
    try:
        given: Any = msgspec.json.decode(text)
        kind = given["type"]
        if kind == "authorized_user":
            return {
                "grant_type": "refresh_token",
                "client_id": str(given["client_id"]),
                "client_secret": str(given["client_secret"]),
                "refresh_token": str(given["refresh_token"]),
            }
        if kind != "service_account":
            raise MissingSecret("the credentials are of another type than service_account or authorized_user")
        # Imported here: only who sends to Google needs it, and it is large.
        from google.auth import crypt, jwt

        signer = crypt.RSASigner.from_service_account_info(given)  # type: ignore[no-untyped-call]
        claims = {
            "iss": str(given["client_email"]),
            "scope": scope,
            "aud": URL,
            "iat": now_seconds,
            "exp": now_seconds + int(LIFETIME.total_seconds()),
        }
        assertion: bytes = jwt.encode(signer, claims)  # type: ignore[no-untyped-call]
    except MissingSecret:
        raise
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        # What the parser says may quote the key.
        raise MissingSecret("the credentials are no JSON file as Google hands it out") from None
    return {"grant_type": JWT_BEARER, "assertion": assertion.decode()}
