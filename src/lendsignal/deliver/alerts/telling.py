"""Sends messages to a target: over the door to the network that deliveries take, or by SMTP.

A target's address is its declared host: nothing goes anywhere else, redirects are not followed, and private
addresses are refused unless they are allowed.
"""

import logging
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import urlsplit

from msgspec import Struct

from lendsignal.clock import from_us
from lendsignal.deliver.alerts.forms import (
    Message,
    Post,
    posts,
    problem,
    subject,
    text,
    with_query,
)
from lendsignal.deliver.alerts.settings import PAGERDUTY, AlertSettings, problem_with_address
from lendsignal.deliver.wire import NoAnswer, Wire, wire
from lendsignal.destination.spec import Auth, Bearer, Request, Response, WebhookAuth, public_ip
from lendsignal.errors import LendsignalError, TransportError
from lendsignal.model import reveal

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
PORTS: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}

UNSIGNED = Bearer("", optional=True)
"""The address itself is the secret, or it stands in the body already."""


class Unheard(LendsignalError):
    """A target was not told. `reason` is a word or two, without an address or a secret."""

    def __init__(self, target: str, reason: str) -> None:
        self.target = target
        self.reason = reason
        super().__init__(f"alert target {target} was not told: {reason}")


class Teller:
    """Tells one target."""

    def __init__(self, name: str, settings: AlertSettings, portfolio: str) -> None:
        self.name = name
        self.settings = settings
        self._portfolio = portfolio

    def tell(self, messages: Sequence[Message], now_us: int) -> None:
        """Returns when the target has all of it. Raises `Unheard`."""
        if self.settings.kind == "email":
            self._mail(messages, now_us)
            return
        secret = None if self.settings.secret is None else reveal(self.settings.secret)
        made = posts(
            self.settings.kind,
            messages,
            portfolio=self._portfolio,
            timezone=self.settings.timezone,
            secret=secret,
            now_us=now_us,
        )
        for one in made:
            self._post(one, secret, now_us)

    def _url(self) -> str | None:
        if self.settings.url is None:
            return PAGERDUTY if self.settings.kind == "pagerduty" else None
        return reveal(self.settings.url)

    def _post(self, one: Post, secret: str | None, now_us: int) -> None:
        url = self._url()
        if url is None:
            raise Unheard(self.name, "address_not_set")
        if problem_with_address(self.settings, url) is not None:
            raise Unheard(self.name, "address_not_allowed")
        host = urlsplit(url).hostname or ""
        request = Request(method="POST", url=with_query(url, one.query), json=dict(one.body), key=one.id)
        signed = self.settings.kind == "webhook"
        auth: Auth = WebhookAuth("secret") if signed else UNSIGNED
        try:
            made = wire(request, auth, {"secret": secret}, hosts=(host,), sandbox=None, now_us=now_us)
        except TransportError as error:
            raise Unheard(self.name, str(error)) from None
        answer = self._answer(made)
        if isinstance(answer, NoAnswer):
            raise Unheard(self.name, answer.reason)
        found = problem(self.settings.kind, answer)
        if found is not None:
            raise Unheard(self.name, found)

    def _answer(self, made: Wire) -> Response | NoAnswer:
        from lendsignal.deliver.transport import Transport  # here: only who has something to tell needs it

        transport = Transport()
        try:
            seconds = self.settings.timeout.total_seconds()
            transport.start(made, None, seconds, private=self.settings.allow_private)
            while len(transport):
                for done in transport.wait(LOOK_SECONDS):
                    return done.result
        finally:
            transport.close()
        return NoAnswer("connection_failed", left=False)

    def _mail(self, messages: Sequence[Message], now_us: int) -> None:
        settings = self.settings
        letter = EmailMessage()
        letter["Subject"] = subject(messages, self._portfolio)
        letter["From"] = f"lendsignal <{settings.sender}>"
        letter["To"] = ", ".join(settings.to)
        letter["Date"] = format_datetime(from_us(now_us))
        letter["Message-ID"] = make_msgid(domain=(settings.sender or "").partition("@")[2] or None)
        letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        letter.set_content(text(messages, self._portfolio, settings.timezone) + "\n")
        try:
            with self._mail_server() as server:
                if settings.security == "starttls":
                    server.starttls(context=self._trusted())
                if settings.user is not None and settings.password is not None:
                    server.login(settings.user, reveal(settings.password) or "")
                refused = server.send_message(letter, settings.sender, settings.to)
                if refused:
                    logger.warning(
                        "alert target %s: the mail server refused %d of %d recipients",
                        self.name,
                        len(refused),
                        len(settings.to),
                    )
        except smtplib.SMTPException as error:
            raise Unheard(self.name, _smtp_word(error)) from None
        except PrivateAddress:
            raise Unheard(self.name, "private_address") from None
        except TimeoutError:
            raise Unheard(self.name, "timeout") from None
        except ssl.SSLError:
            raise Unheard(self.name, "tls_failed") from None
        except OSError:
            raise Unheard(self.name, "connect_failed") from None

    def _mail_server(self) -> smtplib.SMTP:
        settings = self.settings
        reach = Reach(settings.host or "", settings.port or PORTS[settings.security], settings.allow_private)
        seconds = settings.timeout.total_seconds()
        if settings.security == "tls":
            return _TlsMail(reach, seconds, self._trusted())
        return _Mail(reach, seconds)

    def _trusted(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.settings.ca_file is not None:
            context.load_verify_locations(self.settings.ca_file)
        return context


class PrivateAddress(OSError):
    """A name stands for an address that is not to be reached."""


class Reach(Struct, frozen=True):
    """A mail server: where it is, and whether it may stand on a private address."""

    host: str
    port: int
    private: bool

    def open(self, seconds: float) -> socket.socket:
        """A connection to the first of its addresses that answers. Raises `OSError`, `PrivateAddress` where
        no address may be reached."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        places = [str(place[0]) for *_, place in found]
        allowed = [place for place in places if self.private or public_ip(place) is not None]
        if not allowed:
            raise PrivateAddress(self.host)
        for place in allowed[:-1]:
            with suppress(OSError):
                return socket.create_connection((place, self.port), seconds)
        return socket.create_connection((allowed[-1], self.port), seconds)


class _Mail(smtplib.SMTP):
    """SMTP over a connection to an address that was judged."""

    def __init__(self, reach: Reach, seconds: float) -> None:
        self._reach = reach
        super().__init__(reach.host, reach.port, timeout=seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._reach.open(timeout)


class _TlsMail(smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""

    def __init__(self, reach: Reach, seconds: float, trusted: ssl.SSLContext) -> None:
        self._reach = reach
        super().__init__(reach.host, reach.port, timeout=seconds, context=trusted)

    def _get_socket(self, host: str, port: int, timeout: float) -> ssl.SSLSocket:
        return self.context.wrap_socket(self._reach.open(timeout), server_hostname=self._reach.host)


def _smtp_word(error: smtplib.SMTPException) -> str:
    """What went wrong, without what the server said: that may repeat an address or an account."""
    match error:
        case smtplib.SMTPAuthenticationError():
            return "login_refused"
        case smtplib.SMTPResponseException():
            return f"smtp_{error.smtp_code}"
        case smtplib.SMTPRecipientsRefused():
            return "recipients_refused"
        case smtplib.SMTPNotSupportedError():
            return "starttls_or_login_missing"
        case _:
            return "no_answer"
