"""Who comes in: sessions, forms that are ours, and the headers of every answer.

Two ways: with sign-in, or `open`, without one, for a demo that only this machine can reach. A form counts
where it carries its session's secret and no other site's page sent it.
"""

import secrets
from collections.abc import Mapping
from hmac import compare_digest

from msgspec import Struct
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lendsignal.config import Config, is_this_host
from lendsignal.log.people import People, Session
from lendsignal.model.member import Member, MemberRole

COOKIE = "lendsignal"
HANDSHAKE_COOKIE = "lendsignal-sign-in"
"""Ties a sign-in at the provider to the browser that began it."""

FORM_FIELD = "form"
FORM_HEADER = "x-form"

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}

TLS_HEADERS: Mapping[str, str] = {"Strict-Transport-Security": "max-age=31536000"}
"""For a year browsers come to this name by TLS alone. Names below it are not ours to speak for."""

OURS = frozenset({"same-origin", "none"})
"""What a browser says of a request that our own page, or the address bar, made (Fetch metadata)."""


class Gate(Struct, frozen=True):
    """`people` is `None` where the console is open. `form` is what an open console's forms carry."""

    people: People | None
    form: str

    def visitor(self, request: Request, now_us: int) -> Session | None:
        """Who asks; `None`: somebody who has to sign in first."""
        if self.people is None:
            return Session(member=VISITOR, form=self.form) if is_this_machine(request) else None
        token = request.cookies.get(COOKIE)
        return self.people.session(token, now_us) if token else None


VISITOR = Member(login="demo", role=MemberRole.ADMIN)
"""Whoever looks at an open console."""


def gate(people: People | None) -> Gate:
    """The gate of a console; without people an open one."""
    return Gate(people, secrets.token_urlsafe(24))


def is_our_form(request: Request, fields: Mapping[str, str], session: Session) -> bool:
    """Whether one of our own pages sent it, in this session."""
    given = request.headers.get(FORM_HEADER) or fields.get(FORM_FIELD, "")
    same_site = request.headers.get("sec-fetch-site", "same-origin") in OURS
    return same_site and compare_digest(given.encode(), session.form.encode())


def is_this_machine(request: Request) -> bool:
    """Whether it was asked of a name of this machine: a page of the web that made another name point here
    is not heard."""
    return is_this_host(request.url.hostname or "")


def is_behind_tls(config: Config) -> bool:
    """Whether browsers find the pages at an https address."""
    return (config.web.address or "").startswith("https:")


class WithHeaders:
    """Every answer carries `HEADERS`, by TLS one more; one may set its own Cache-Control."""

    def __init__(self, app: ASGIApp, *, behind_tls: bool) -> None:
        self._app = app
        self._behind_tls = behind_tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        carried = dict(HEADERS)
        if self._behind_tls or scope.get("scheme") == "https":
            carried |= TLS_HEADERS

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in carried.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)
