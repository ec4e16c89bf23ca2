"""Sign-in by the company's own OpenID provider: where to send somebody, and who it was that came back.

OpenID Connect Core 1.0 (3.1, authorization code), Discovery 1.0, PKCE (RFC 7636) and the issuer in the answer
(RFC 9207), read 2026-11-23. Signatures, claims and challenges are the work of Authlib and joserfc, which are
loaded by the first sign-in. Nothing of a token is kept or logged.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from lendsignal.clock import SystemClock
from lendsignal.deliver.allowed import SecuritySettings
from lendsignal.deliver.audiences.calls import Network
from lendsignal.deliver.transport import Transport
from lendsignal.deliver.wire import NoAnswer, Wire
from lendsignal.destination.spec import Response
from lendsignal.errors import InputError
from lendsignal.log.people import Handshake
from lendsignal.log.sign_in import OidcSettings, may_be_told_secrets
from lendsignal.model import reveal

logger = logging.getLogger(__name__)

CALLBACK = "/sign-in/provider/back"
TIMEOUT_SECONDS = 15.0
DISCOVERED_FOR = 3600.0
"""Seconds that the provider's own description and keys are good for."""

KEYS_AGAIN = 10.0
"""Seconds between two looks for keys that a token names and nobody knows."""

LEEWAY_SECONDS = 60
"""How far the provider's clock may be from ours."""

OLDEST_SECONDS = 600
"""How long ago a token may have been made: it is fetched the moment after."""

SIGNED_BY = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key that only the provider has. Neither `none` nor one by a secret that both know."""

_T = TypeVar("_T")


class Described(Struct, frozen=True, kw_only=True):
    """What a provider says of itself (Discovery 1.0, section 3), as far as it is needed."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    authorization_response_iss_parameter_supported: bool = False


class Answered(Struct, frozen=True, kw_only=True):
    """What a token endpoint gives."""

    id_token: str
    access_token: str = ""


class Begun(Struct, frozen=True, kw_only=True):
    """Where somebody is sent to, and what must come back."""

    url: str
    state: str
    handshake: Handshake


class Who(Struct, frozen=True, kw_only=True):
    """Who came back, as the provider says."""

    subject: str
    login: str
    groups: frozenset[str]


class Provider:
    """One provider. Every call may wait for the network; all raise `InputError`, whose rule is for people."""

    def __init__(
        self,
        settings: OidcSettings,
        address: str,
        security: SecuritySettings | None = None,
        network: Callable[[], Network] = Transport,
        steady: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = lambda: SystemClock().now_us() // 1_000_000,
    ) -> None:
        self.settings = settings
        self._back = address.rstrip("/") + CALLBACK
        self._home = address.rstrip("/") + "/sign-in"
        self._security = security or SecuritySettings()
        self._network = network
        self._steady = steady
        self._now = now
        self._lock = Lock()
        self._described: Described | None = None
        self._described_at = 0.0
        self._keys: Mapping[str, Any] | None = None
        self._keys_at = 0.0
        self._asked_again: float | None = None

    def begin(self, leads_to: str) -> Begun:
        """A fresh sign-in: state, nonce and PKCE's verifier are chance of 256 bits each."""
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._back,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        to = self._description().authorization_endpoint
        return Begun(
            url=f"{to}{'&' if urlsplit(to).query else '?'}{urlencode(asked)}",
            state=state,
            handshake=Handshake(nonce=nonce, verifier=verifier, leads_to=leads_to),
        )

    def came_back(self, query: Mapping[str, str], handshake: Handshake) -> Who:
        """Who it is, out of the provider's answer to a sign-in that was begun here."""
        described = self._description()
        named = query.get("iss")
        if named != self.settings.issuer and (
            named is not None or described.authorization_response_iss_parameter_supported
        ):
            raise _refused("the answer came from another provider", "iss")
        if "error" in query or not query.get("code"):
            raise _refused("the provider did not let you in", _short(query.get("error", "no code")))
        answered = self._token(described, query["code"], handshake)
        claims = self._claims(described, answered, handshake)
        return self._who(described, answered, claims)

    def ends_at(self) -> str | None:
        """Where somebody signs out of the provider as well; `None`: it does not say, or does not answer."""
        try:
            to = self._description().end_session_endpoint
        except InputError:
            return None
        if to is None:
            return None
        asked = {"client_id": self.settings.client_id, "post_logout_redirect_uri": self._home}
        return f"{to}{'&' if urlsplit(to).query else '?'}{urlencode(asked)}"

    def _token(self, described: Described, code: str, handshake: Handshake) -> Answered:
        from authlib.oauth2.auth import ClientAuth

        body = urlencode(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._back,
                "code_verifier": handshake.verifier,
            }
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        secret = self.settings.client_secret
        value = None if secret is None else reveal(secret)
        if secret is not None and value is None:
            raise _refused("the client's secret is not set here: an admin must act", "secret")
        ways = described.token_endpoint_auth_methods_supported
        posted = "client_secret_post" if "client_secret_post" in ways else "client_secret_basic"
        auth = ClientAuth(self.settings.client_id, value, "none" if value is None else posted)
        url, headers, body = auth.prepare("POST", described.token_endpoint, headers, body)
        return self._ask("POST", url, Answered, headers, body.encode())

    def _claims(self, described: Described, answered: Answered, handshake: Handshake) -> Mapping[str, Any]:
        """What the ID token says, once it holds (OpenID Connect Core 1.0, 3.1.3.7)."""
        from authlib.oidc.core import CodeIDToken
        from joserfc.errors import JoseError

        try:
            token = self._opened(answered.id_token, described)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self.settings.issuer},
                    "aud": {"essential": True, "value": self.settings.client_id},
                    "sub": {"essential": True},
                    "exp": {"essential": True},
                    "iat": {"essential": True},
                },
                {
                    "nonce": handshake.nonce,
                    "client_id": self.settings.client_id,
                    "access_token": answered.access_token,
                },
            )
            claims.validate(now=self._now(), leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _refused("the provider's token does not hold", _why(error)) from None
        if self._now() - claims["iat"] > OLDEST_SECONDS + LEEWAY_SECONDS:
            raise _refused("the provider's token does not hold", "iat")
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise _refused("the provider's token does not hold", "sub")
        return dict(claims)

    def _opened(self, text: str, described: Described) -> Any:
        """The token, signed by a key of the provider's; of a key that nobody knows is asked once more."""
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError
        from joserfc.jwk import KeySet

        offered = described.id_token_signing_alg_values_supported
        allowed = [one for one in SIGNED_BY if one in offered]

        def opened(keys: Mapping[str, Any]) -> Any:
            return jwt.decode(text, KeySet.import_key_set(keys), algorithms=allowed)  # type: ignore[arg-type]

        try:
            return opened(self._known_keys(described))
        except InvalidKeyIdError:
            return opened(self._known_keys(described, again=True))

    def _who(self, described: Described, answered: Answered, claims: Mapping[str, Any]) -> Who:
        """Login and groups; what the token lacks is asked of the provider's `userinfo`."""
        told = dict(claims)
        wanted = [self.settings.login, *([self.settings.groups] if self.settings.roles else [])]
        missing = any(_claim(told, name) is None for name in wanted)
        if missing and described.userinfo_endpoint is not None and answered.access_token:
            headers = {"Authorization": f"Bearer {answered.access_token}", "Accept": "application/json"}
            more = self._ask("GET", described.userinfo_endpoint, dict[str, Any], headers)
            if more.get("sub") != claims["sub"]:
                raise _refused("the provider's token does not hold", "sub of userinfo")
            told = {**more, **told}
        login = _claim(told, self.settings.login)
        if not isinstance(login, str) or not login.strip():
            raise _refused("the provider does not tell your name", self.settings.login)
        login = login.strip().lower()
        self._refuse_unproven(login, told)
        return Who(subject=claims["sub"], login=login, groups=_groups(_claim(told, self.settings.groups)))

    def _refuse_unproven(self, login: str, told: Mapping[str, Any]) -> None:
        """An address that somebody may have typed in is no proof of who it is."""
        if (
            self.settings.login == "email"
            and self.settings.verified_email
            and told.get("email_verified") not in (True, "true")
        ):
            raise _refused("the provider has not verified your e-mail address", "email_verified")
        domain = login.rpartition("@")[2]
        if self.settings.domains and domain not in {one.lower() for one in self.settings.domains}:
            raise _refused("your e-mail address is of a domain that does not come in here", "domain")

    # what the provider says of itself

    def _description(self) -> Described:
        with self._lock:
            young = self._steady() - self._described_at < DISCOVERED_FOR
            if self._described is not None and young:
                return self._described
            found = self._ask(
                "GET", self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration", Described
            )
            if found.issuer != self.settings.issuer:
                raise _refused("the provider says that it is another: an admin must act", "issuer")
            self._described, self._described_at = found, self._steady()
            return found

    def _known_keys(self, described: Described, *, again: bool = False) -> Mapping[str, Any]:
        with self._lock:
            now = self._steady()
            old = self._keys is None or now - self._keys_at >= DISCOVERED_FOR
            if again and (self._asked_again is None or now - self._asked_again >= KEYS_AGAIN):
                old, self._asked_again = True, now
            if self._keys is None or old:
                self._keys, self._keys_at = self._ask("GET", described.jwks_uri, dict[str, Any]), now
            return self._keys

    def _ask(
        self,
        method: str,
        url: str,
        kind: type[_T],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> _T:
        """One exchange with the provider; its answer as `kind`. No redirect is followed."""
        if not may_be_told_secrets(url):
            raise _refused("the provider names an address that is not safe: an admin must act", "https")
        if not self._security.allows(urlsplit(url).hostname or ""):
            raise _refused("the provider's host is not in security.hosts: an admin must act", "hosts")
        network = self._network()
        try:
            sent = tuple((headers or {"Accept": "application/json"}).items())
            network.start(Wire(method, url, sent, body), None, TIMEOUT_SECONDS)
            ended = None
            while ended is None:
                ended = next(iter(network.wait(1.0)), None)
        finally:
            network.close()
        answer: Response | NoAnswer = ended.result
        if isinstance(answer, NoAnswer):
            raise _refused("the provider does not answer: try again in a while", answer.reason)
        if answer.status != 200:
            raise _refused("the provider refused what was asked", f"{answer.status} {_error_in(answer)}")
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except msgspec.DecodeError:
            raise _refused("the provider's answer cannot be read", urlsplit(url).path) from None


def _refused(rule: str, why: str) -> InputError:
    """What the person is told; the reason goes to whoever reads the log, without anybody's data."""
    logger.warning("sign-in by the provider: %s (%s)", rule, why)
    return InputError("provider", rule)


def _why(error: Exception) -> str:
    """The word of a library's error, which may name a claim and holds nobody's data."""
    claim = getattr(error, "claim", "")
    return f"{type(error).__name__}{f' {claim}' if claim else ''}"


def _short(text: str) -> str:
    return "".join(one for one in text[:40] if one.isascii() and (one.isalnum() or one in "_- "))


def _error_in(answer: Response) -> str:
    """The code of an OAuth error (RFC 6749, 5.2), where there is one."""
    try:
        told = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return ""
    return _short(str(told.get("error", ""))) if isinstance(told, dict) else ""


def _claim(told: Mapping[str, Any], name: str) -> Any:
    """A claim by its name; where there is none of it, dots lead from claim to claim."""
    if name in told:
        return told[name]
    found: Any = told
    for step in name.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def _groups(claim: Any) -> frozenset[str]:
    """Groups as a list, or as one word."""
    if isinstance(claim, str):
        return frozenset({claim})
    return frozenset(one for one in claim if isinstance(one, str)) if isinstance(claim, list) else frozenset()
