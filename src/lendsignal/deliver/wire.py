"""A destination's request made ready for the wire: body bytes, the secret, and where it really goes; and how
it ended."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from lendsignal.destination.spec import (
    SHELF,
    TOPIC_SCHEME,
    Auth,
    Bearer,
    BodyAuth,
    BrokerAuth,
    GoogleAuth,
    HeaderAuth,
    InstallAuth,
    MetaAuth,
    QueryAuth,
    Request,
    Response,
    WebhookAuth,
)
from lendsignal.errors import TransportError
from lendsignal.model import Secret, reveal

FETCHED_TOKEN = "fetched token"
"""Where a bearer token that had to be fetched stands among the secrets."""

SIGNING_LENGTH = 32
"""Characters of a secret that signs tokens: as many as SHA-256 has bytes (RFC 7518, 3.2)."""

_json = msgspec.json.Encoder().encode


class Wire(Struct, frozen=True):
    """What is put on the wire. Never kept: it holds the secret."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class NoAnswer(Struct, frozen=True):
    """The request ended without an answer. `left`: it may have reached the platform."""

    reason: str
    left: bool


class Done(Struct, frozen=True):
    """A request that ended: what it was for, and how."""

    token: Any
    result: Response | NoAnswer


class MissingSecret(TransportError):
    """A secret that the configuration names is not set, or is of no use."""


def secrets_of(settings: Struct) -> dict[str, str | None]:
    """The present values of every secret in a destination's settings, by field."""
    fields = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return {name: reveal(value) for name, value in fields.items() if isinstance(value, Secret)}


def problem_with_secrets(auth: Auth, secrets: Mapping[str, str | None]) -> tuple[str, str] | None:
    """The field of a secret that cannot be what the platform gave out, and why; `None` where all could be."""
    for field, value in secrets.items():
        if value is None:
            continue
        if isinstance(auth, GoogleAuth) and field == auth.field:
            continue  # a file of several lines, which no header holds
        if isinstance(auth, BrokerAuth):
            continue  # a certificate has lines too, and a password may hold anything
        if not value.isascii() or not value.isprintable():
            return field, "characters that no header or address can hold"
        if isinstance(auth, WebhookAuth) and field == auth.field and _signing_key(value) is None:
            return field, "no base64 after whsec_"
        if isinstance(auth, InstallAuth) and field == auth.field and len(value) < SIGNING_LENGTH:
            return field, f"{len(value)} characters, where a signing secret needs {SIGNING_LENGTH}"
    return None


def without_secrets(response: Response, secrets: Mapping[str, str | None]) -> Response:
    """The answer as it may be kept: some platforms repeat the token, or the address with it, in an error."""
    body = response.body
    for value in secrets.values():
        if value:
            for said in _as_said(value):
                body = body.replace(said, b"[secret]")
    return response if body is response.body else msgspec.structs.replace(response, body=body)


def wire(
    request: Request,
    auth: Auth,
    secrets: Mapping[str, str | None],
    *,
    hosts: tuple[str, ...],
    sandbox: str | None,
    now_us: int,
) -> Wire:
    """The request with its secret, for a declared host only; `sandbox` stands in for every host.

    Raises `TransportError` for another host, `MissingSecret` where the secret is not set.
    """
    if isinstance(auth, BodyAuth):
        request = _with_field(request, auth.name, _needed(secrets, auth.field))
    body, kind = _body(request)
    headers = dict(request.headers)
    if kind:
        headers["Content-Type"] = kind
    url = request.url
    match auth:
        case Bearer(field, optional):
            if secrets.get(field) or not optional:
                headers["Authorization"] = f"Bearer {_needed(secrets, field)}"
        case HeaderAuth(name, field):
            headers[name] = _needed(secrets, field)
        case QueryAuth(name, field):
            url = _with_query(url, {name: _needed(secrets, field)})
        case MetaAuth(token_field, app_secret_field):
            token = _needed(secrets, token_field)
            query = {"access_token": token}
            app_secret = secrets.get(app_secret_field)
            if app_secret:
                # Meta, "securing requests": hex HMAC-SHA256 of the token keyed with the app secret.
                query["appsecret_proof"] = hmac.new(app_secret.encode(), token.encode(), sha256).hexdigest()
            url = _with_query(url, query)
        case BodyAuth():
            pass  # it is in the body already
        case InstallAuth():
            pass  # it signs tokens, and joins no request
        case BrokerAuth():
            pass  # it opens the connection, and joins no message
        case GoogleAuth(_, _, further):
            headers["Authorization"] = f"Bearer {_needed(secrets, FETCHED_TOKEN)}"
            headers.update({name: _needed(secrets, field) for name, field in further.items()})
        case WebhookAuth(field):
            headers.update(_standard_webhook(request.key, body, _needed(secrets, field), now_us))
    return Wire(request.method, _destined(url, hosts, sandbox), tuple(headers.items()), body)


@lru_cache(maxsize=1024)
def _destined(url: str, hosts: tuple[str, ...], sandbox: str | None) -> str:
    """Where the request really goes. Most requests of a destination go to one address."""
    if url == SHELF and not hosts:
        return url
    parts = urlsplit(url)
    if parts.hostname not in hosts:
        raise TransportError(f"requests to {parts.hostname} are not declared; declared: {', '.join(hosts)}")
    if sandbox is None or parts.scheme == TOPIC_SCHEME:  # a sandbox speaks HTTP, and stands in for no broker
        return url
    return f"{sandbox.rstrip('/')}/{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")


@lru_cache(maxsize=256)
def _as_said(secret: str) -> tuple[bytes, ...]:
    """A secret as a platform may repeat it: bare, or quoted as in an address."""
    return tuple({secret.encode(), quote(secret, safe="").encode()})


def kept(request: Request) -> bytes:
    """The request as it is kept for audit: everything but the secret, which it never had."""
    return _json(
        {
            "method": request.method,
            "url": request.url,
            "headers": request.headers,
            "body": request.json or request.form,
        }
    )


def _body(request: Request) -> tuple[bytes, str | None]:
    if request.json is not None:
        return _json(request.json), "application/json"
    if request.form is not None:
        return urlencode(request.form).encode(), "application/x-www-form-urlencoded"
    return b"", None


def _with_field(request: Request, name: str, value: str) -> Request:
    if request.form is not None:
        return msgspec.structs.replace(request, form={**request.form, name: value})
    if request.json is not None:
        return msgspec.structs.replace(request, json={**request.json, name: value})
    return request  # a request without a body has no place for it


@lru_cache(maxsize=256)
def _quoted(value: str) -> str:
    return quote(value, safe="")


def _needed(secrets: Mapping[str, str | None], field: str) -> str:
    value = secrets.get(field)
    if not value:
        raise MissingSecret(f"the secret {field!r} is not set")
    return value


def _with_query(url: str, query: Mapping[str, str]) -> str:
    added = "&".join(f"{name}={_quoted(value)}" for name, value in query.items())
    return f"{url}{'&' if '?' in url else '?'}{added}"


def _standard_webhook(key: str, body: bytes, secret: str, now_us: int) -> dict[str, str]:
    """The three headers of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, base64, version 1."""
    seconds = str(now_us // 1_000_000)
    raw = _signing_key(secret)
    if raw is None:
        raise MissingSecret("the signing secret is no base64 after whsec_")
    signed = hmac.new(raw, f"{key}.{seconds}.".encode() + body, sha256).digest()
    return {
        "webhook-id": key,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{b64encode(signed).decode()}",
    }


def _signing_key(secret: str) -> bytes | None:
    try:
        return b64decode(secret.removeprefix("whsec_"), validate=True) or None
    except ValueError:
        return None
