"""A strict OpenID provider of our own, as a process: real RSA keys, real tokens, real redirects.

Written from OpenID Connect Core 1.0, Discovery 1.0, RFC 6749, RFC 7636 and RFC 9207 (read 2026-11-23), with
nothing of what the product signs in by. It refuses what a provider refuses, and can be told to be wrong.
"""

import argparse
import json
import secrets
import sys
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

CLIENT = "lendsignal-console"
CLIENT_SECRET = "made-up: secret of the client & more"
PATIENCE = 60.0
CODE_SECONDS = 60


class Provider:
    """A running provider; `tell` says who signs in next, and in which way it is to be wrong."""

    def __init__(self, address: str) -> None:
        self.address = address

    def tell(self, **said: Any) -> None:
        """Changes what it does from now on; what is not named is as it was at the beginning."""
        self.ask("POST", "/control", json.dumps(said).encode())

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request as a browser makes it; redirects are told and not followed."""
        parts = urlsplit(self.address)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def signed_in(self, url: str) -> str:
        """What a browser is sent back to that was sent here: somebody is signed in already."""
        parts = urlsplit(url)
        status, headers, body = self.ask("GET", f"{parts.path}?{parts.query}")
        assert status == 302, body
        return headers["Location"]


@contextmanager
def openid_provider(back: str) -> Iterator[Provider]:
    """A provider that sends people back to `back`, while the block runs."""
    words = [sys.executable, str(Path(__file__)), "--back", back]
    process = Popen(words, stdout=PIPE, stdin=PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http"), "the provider did not start"
        yield Provider(address)
    finally:
        if process.stdin is not None:
            process.stdin.close()  # it ends with us, however we end
        process.wait(PATIENCE)
        if process.stdout is not None:
            process.stdout.close()


# the provider itself


class Code:
    """One authorization code, good once."""

    def __init__(self, asked: Mapping[str, str]) -> None:
        self.nonce, self.challenge = asked["nonce"], asked["code_challenge"]
        self.redirect = asked["redirect_uri"]
        self.until = time.time() + CODE_SECONDS


class State:
    """What the provider holds."""

    def __init__(self, back: str) -> None:
        self.back = back
        self.issuer = ""
        self.codes: dict[str, Code] = {}
        self.tokens: set[str] = set()
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.said: dict[str, Any] = {}
        self.lock = threading.Lock()
        self.rotate()

    def rotate(self) -> None:
        """A new key; the old one is neither used nor shown any more."""
        self.keys = {f"key-{secrets.token_hex(4)}": rsa.generate_private_key(65537, 2048)}

    def claims(self, nonce: str) -> dict[str, Any]:
        """What the next ID token says."""
        now = int(time.time())
        made = {
            "iss": self.issuer,
            "sub": "person-1",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "email": "ada@acme.example",
            "email_verified": True,
            "groups": [],
            **self.said.get("claims", {}),
        }
        return {name: value for name, value in made.items() if value is not None}

    def id_token(self, nonce: str) -> str:
        """The next ID token, signed as it was told."""
        ((kid, key),) = self.keys.items()
        bend = self.said.get("bend", "")
        header = {"typ": "JWT", "alg": "RS256", "kid": kid}
        if bend == "alg none":
            header = {"typ": "JWT", "alg": "none"}
        if bend == "alg HS256":
            header["alg"] = "HS256"
        text = f"{_packed(json.dumps(header))}.{_packed(json.dumps(self.claims(nonce)))}"
        if bend == "alg none":
            return f"{text}."
        signer = rsa.generate_private_key(65537, 2048) if bend == "another's key" else key
        made = signer.sign(text.encode(), padding.PKCS1v15(), SHA256())
        if bend == "changed":
            claims = {**self.claims(nonce), "sub": "person-2"}
            text = f"{_packed(json.dumps(header))}.{_packed(json.dumps(claims))}"
        return f"{text}.{_packed(made)}"


def _packed(said: str | bytes) -> str:
    return urlsafe_b64encode(said.encode() if isinstance(said, str) else said).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _packed(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Handler(BaseHTTPRequestHandler):
    """The provider's endpoints."""

    state: State

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        match parts.path:
            case "/.well-known/openid-configuration":
                self._described()
            case "/keys":
                self._keys()
            case "/authorize":
                self._authorize({name: one[-1] for name, one in parse_qs(parts.query).items()})
            case "/userinfo":
                self._userinfo()
            case _:
                self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/control":
            said = json.loads(body)
            if said.pop("rotate", False):
                self.state.rotate()
            self.state.said = said
            self._answer(200, {})
        elif self.path == "/token":
            self._token({name: one[-1] for name, one in parse_qs(body.decode()).items()})
        else:
            self._answer(404, {})

    def _described(self) -> None:
        here = self.state.issuer
        self._answer(
            200,
            {
                "issuer": self.state.said.get("issuer", here),
                "authorization_endpoint": f"{here}/authorize",
                "token_endpoint": f"{here}/token",
                "jwks_uri": f"{here}/keys",
                "userinfo_endpoint": f"{here}/userinfo",
                "end_session_endpoint": f"{here}/end",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                "authorization_response_iss_parameter_supported": True,
            },
        )

    def _keys(self) -> None:
        shown = []
        for kid, key in self.state.keys.items():
            public = key.public_key().public_numbers()
            shown.append(
                {"kty": "RSA", "use": "sig", "kid": kid, "n": _number(public.n), "e": _number(public.e)}
            )
        self._answer(200, {"keys": shown})

    def _authorize(self, asked: Mapping[str, str]) -> None:
        wrong = [
            name
            for name, good in {
                "client_id": asked.get("client_id") == CLIENT,
                "redirect_uri": asked.get("redirect_uri") == self.state.back,
                "response_type": asked.get("response_type") == "code",
                "scope": "openid" in asked.get("scope", "").split(),
                "state": len(asked.get("state", "")) >= 20,
                "nonce": len(asked.get("nonce", "")) >= 20,
                "code_challenge": len(asked.get("code_challenge", "")) == 43,
                "code_challenge_method": asked.get("code_challenge_method") == "S256",
            }.items()
            if not good
        ]
        if wrong:
            return self._answer(400, {"error": "invalid_request", "error_description": ", ".join(wrong)})
        back = {"state": asked["state"], "iss": self.state.said.get("from", self.state.issuer)}
        if "denies" in self.state.said:
            back["error"] = self.state.said["denies"]
        else:
            back["code"] = secrets.token_urlsafe(24)
            with self.state.lock:
                self.state.codes[back["code"]] = Code(asked)
        self.send_response(302)
        self.send_header("Location", f"{self.state.back}?{urlencode(back)}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _token(self, asked: Mapping[str, str]) -> None:
        name, secret = asked.get("client_id", ""), asked.get("client_secret", "")
        if self.headers.get("Authorization", "").startswith("Basic "):
            pair = b64decode(self.headers["Authorization"][6:]).decode().partition(":")
            name, secret = unquote(pair[0]), unquote(pair[2])
        if (name, secret) != (CLIENT, CLIENT_SECRET):
            return self._answer(401, {"error": "invalid_client"})
        with self.state.lock:
            code = self.state.codes.pop(asked.get("code", ""), None)
        challenge = _packed(sha256(asked.get("code_verifier", "").encode()).digest())
        if (
            asked.get("grant_type") != "authorization_code"
            or code is None
            or code.until < time.time()
            or code.redirect != asked.get("redirect_uri")
            or code.challenge != challenge
        ):
            return self._answer(400, {"error": "invalid_grant"})
        token = secrets.token_urlsafe(24)
        self.state.tokens.add(token)
        told = {
            "id_token": self.state.id_token(code.nonce),
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 300,
        }
        return self._answer(200, told)

    def _userinfo(self) -> None:
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.state.tokens:
            return self._answer(401, {"error": "invalid_token"})
        return self._answer(200, {"sub": "person-1", **self.state.said.get("userinfo", {})})

    def _answer(self, status: int, told: Mapping[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: object) -> None:
        """Nothing: codes stand in the addresses."""


def main() -> None:
    """Serves until whoever started it is gone."""
    words = argparse.ArgumentParser()
    words.add_argument("--back", required=True)
    Handler.state = State(words.parse_args().back)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.state.issuer = f"http://127.0.0.1:{server.server_port}"
    print(Handler.state.issuer, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
