"""Targets that are told for real: over HTTP to a sink on loopback, by SMTP to a mail server on loopback."""

import base64
import hashlib
import hmac
import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from tests.running import free_port
from tests.scripted import Platform, hangs, platform, says

from lendsignal.deliver.alerts import AlertSettings
from lendsignal.deliver.alerts.forms import Message
from lendsignal.deliver.alerts.telling import Teller, Unheard
from lendsignal.model import Secret

NOW = 1_747_137_600_000_000
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OPEN = Message(
    key="paused meta",
    state="open",
    kind="paused",
    severity="critical",
    said="meta is paused by platform: http_401",
    do="lendsignal resume meta",
    since_us=NOW,
    at_us=NOW,
)


class Box:
    """Takes letters, and keeps them with who they are for."""

    def __init__(self) -> None:
        self.came: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.came.append((envelope.rcpt_tos, letter))
        return "250 taken"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost with its key, in one file; nobody signed it."""
    made = tmp_path_factory.mktemp("tls")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(made / "key.pem"), "-out", str(made / "cert.pem")]
    subprocess.run([*words, *names, *files], check=True, capture_output=True, timeout=60)
    (made / "both.pem").write_text((made / "key.pem").read_text() + (made / "cert.pem").read_text())
    return made / "both.pem"


def entered(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
    right = isinstance(given, LoginPassword) and given.password == b"made-up password"
    return AuthResult(success=right, handled=False)


@contextmanager
def mail(
    certificate: Path | None = None, *, tls: bool = False, login: bool = False
) -> Iterator[tuple[Box, int]]:
    """A mail server on loopback while the block runs: its box and its port."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    box = Box()
    words: dict[str, Any] = {"ssl_context": context} if tls else {"tls_context": context}
    if context is not None and not tls:
        words["require_starttls"] = True
    if login:
        words |= {"authenticator": entered, "auth_required": True}
    server = Controller(box, hostname="127.0.0.1", port=free_port(), **words)
    server.start()
    try:
        yield box, server.port
    finally:
        server.stop()


def tells(
    monkeypatch: pytest.MonkeyPatch, sink: Platform, kind: str, path: str = "/hook", **more: Any
) -> Teller:
    """A target of that kind whose address is the sink's."""
    monkeypatch.setenv("MADE_UP_URL", sink.url + path)
    monkeypatch.setenv("MADE_UP_SECRET", SIGNING)
    settings: dict[str, Any] = {
        "url": Secret(env="MADE_UP_URL"),
        "secret": Secret(env="MADE_UP_SECRET"),
        "allow_http": True,
        "allow_private": True,
        **more,
    }
    return Teller("ops", AlertSettings(kind=kind, **settings), "acme")  # type: ignore[arg-type]


def letters(port: int, **more: Any) -> Teller:
    settings: dict[str, Any] = {
        "host": "localhost",
        "port": port,
        "sender": "lendsignal@acme.example",
        "to": ("ops@acme.example", "growth@acme.example"),
        "allow_private": True,
        **more,
    }
    return Teller("mail", AlertSettings(kind="email", **settings), "acme")


def unheard(teller: Teller) -> str:
    with pytest.raises(Unheard) as caught:
        teller.tell([OPEN], NOW)
    return caught.value.reason


def test_a_webhook_is_signed_over_the_bytes_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    with platform(says(204)) as sink:
        tells(monkeypatch, sink, "webhook").tell([OPEN], NOW)
    (came,) = sink.came
    headers = came.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + came.body
    key = base64.b64decode(SIGNING.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()

    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-timestamp"] == "1747137600"
    assert json.loads(came.body)["data"]["said"] == OPEN.said
    assert came.target == "/hook"


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("slack", b"ok"),
        ("feishu", b'{"code":0}'),
        ("dingtalk", b'{"errcode":0}'),
        ("wecom", b'{"errcode":0}'),
        ("pagerduty", b'{"status":"success"}'),
    ],
)
def test_every_service_takes_it_in_one_request(
    monkeypatch: pytest.MonkeyPatch, kind: str, answer: bytes
) -> None:
    with platform(says(200, answer)) as sink:
        tells(monkeypatch, sink, kind, "/robot?access_token=made-up").tell([OPEN], NOW)
    (came,) = sink.came

    assert "http_401" in json.dumps(json.loads(came.body))
    assert came.target.startswith("/robot?access_token=made-up")
    assert ("&sign=" in came.target) == (kind == "dingtalk")
    assert came.headers["content-type"] == "application/json"


def test_who_does_not_take_it_is_said_without_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with platform(says(200, b'{"errcode":310000,"errmsg":"keywords not in content"}')) as sink:
        assert unheard(tells(monkeypatch, sink, "dingtalk")) == "errcode_310000"
    with platform(says(302, b"", Location="https://elsewhere.example/")) as sink:
        teller = tells(monkeypatch, sink, "slack", "/services/made-up")
        assert unheard(teller) == "http_302"
        assert len(sink.came) == 1
    with pytest.raises(Unheard) as caught:
        teller.tell([OPEN], NOW)
    assert caught.value.reason == "connect_failed"
    assert "made-up" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_who_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with platform(hangs) as sink:
        assert unheard(tells(monkeypatch, sink, "slack", timeout=timedelta(milliseconds=200))) == "timeout"


def test_private_addresses_and_other_hosts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with platform() as sink:
        assert unheard(tells(monkeypatch, sink, "slack", allow_private=False)) == "private_address"
        assert unheard(tells(monkeypatch, sink, "feishu", allow_private=False)) == "address_not_allowed"
        assert unheard(tells(monkeypatch, sink, "slack", allow_http=False)) == "address_not_allowed"
    assert sink.came == []
    assert unheard(letters(25, allow_private=False)) == "private_address"


def test_a_letter_goes_encrypted_to_everybody(certificate: Path) -> None:
    with mail(certificate, login=True) as (box, port):
        teller = letters(port, ca_file=str(certificate), user="lendsignal", password=_password(certificate))
        teller.tell([OPEN], NOW)
    ((who, letter),) = box.came

    assert who == ["ops@acme.example", "growth@acme.example"]
    assert letter["Subject"] == "[lendsignal acme] ALARM: meta is paused by platform: http_401"
    assert letter["From"] == "lendsignal <lendsignal@acme.example>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert "→ lendsignal resume meta" in letter.get_content()


def test_a_letter_may_be_encrypted_from_the_first_byte_or_not_at_all(certificate: Path) -> None:
    with mail(certificate, tls=True) as (box, port):
        letters(port, security="tls", ca_file=str(certificate)).tell([OPEN], NOW)
    with mail() as (plain, port):
        letters(port, security="none").tell([OPEN], NOW)

    assert len(box.came) == len(plain.came) == 1


def test_a_certificate_that_nobody_vouches_for_gets_no_letter(certificate: Path) -> None:
    with mail(certificate) as (box, port):
        assert unheard(letters(port)) == "tls_failed"
    with mail() as (plain, port):
        assert unheard(letters(port)) == "starttls_or_login_missing"
    assert box.came == plain.came == []


def test_a_wrong_password_is_said_in_a_word(certificate: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("another password")
    with mail(certificate, login=True) as (_, port):
        wrong = Secret(file=str(tmp_path / "password"))
        found = unheard(letters(port, ca_file=str(certificate), user="lendsignal", password=wrong))
    assert found == "login_refused"


def _password(beside: Path) -> Secret:
    file = beside.with_name("password")
    file.write_text("made-up password\n")
    return Secret(file=str(file))
