"""A browser without a screen: asks an ASGI app, keeps its cookies, follows no redirects by itself."""

import asyncio
import gzip
import re
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct


class Shown(Struct, frozen=True):
    """One answer: its status, its headers by small name, its text, and the bytes of its body."""

    status: int
    headers: Mapping[str, str]
    text: str
    size: int = 0

    @property
    def form(self) -> str:
        """The secret that the page's forms carry."""
        found = re.search(r'"X-Form": "([^"]+)"', self.text)
        assert found is not None
        return found[1]


class Browser:
    """One visitor of an ASGI app."""

    def __init__(self, app: Any, *, host: str = "localhost", language: str = "en") -> None:
        self.app = app
        self._host = host
        self._language = language
        self.cookies: dict[str, str] = {}

    def get(self, target: str, **headers: str) -> Shown:
        """What an address shows."""
        return self._ask("GET", target, b"", headers)

    def post(self, target: str, fields: Mapping[str, str], **headers: str) -> Shown:
        """What comes of a form."""
        kind = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
        return self._ask("POST", target, urlencode(fields).encode(), {**kind, **headers})

    def send(self, target: str, body: bytes, **headers: str) -> Shown:
        """What comes of a body that is no form."""
        return self._ask("POST", target, body, headers)

    def _ask(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Shown:
        path, _, query = target.partition("?")
        given = {
            "host": self._host,
            "accept-language": self._language,
            "content-length": str(len(body)),
            "cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "server": (self._host, 80),
            "client": ("127.0.0.1", 1),
        }
        sent: list[dict[str, Any]] = []

        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:  # nothing more comes, and nobody hangs up
                await asyncio.Event().wait()
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        asyncio.run(self.app(scope, receive, send))
        pairs = [(name.decode().lower(), value.decode()) for name, value in sent[0]["headers"]]
        for name, value in pairs:
            if name == "set-cookie":
                for key, morsel in SimpleCookie(value).items():
                    self.cookies[key] = morsel.value
        body = b"".join(part.get("body", b"") for part in sent[1:])
        packed = dict(pairs).get("content-encoding") == "gzip"
        text = (gzip.decompress(body) if packed else body).decode()
        return Shown(sent[0]["status"], dict(pairs), text, len(body))
