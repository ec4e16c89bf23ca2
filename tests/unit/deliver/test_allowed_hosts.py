"""Which hosts may be reached: what is listed, what a name or a number really stands for, and no redirect."""

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.forgotten import CONFIG, ENVIRONMENT
from tests.scripted import PATIENCE, platform, says

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.deliver.allowed import SecuritySettings
from lendsignal.deliver.transport import Transport
from lendsignal.deliver.wire import NoAnswer, Wire, wire
from lendsignal.destination.spec import Bearer, Request, Response, public_ip
from lendsignal.errors import ConfigError, TransportError

EVERY = ("api3.appsflyer.com", "hq1.appsflyer.com", "s2s.adjust.com", "gdpr.adjust.com", "*.acme.example")


def config_with(tmp_path: Path, *hosts: str, more: str = "") -> Config:
    listed = ", ".join(f'"{one}"' for one in hosts)
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG.format(sandbox="http://127.0.0.1:9") + f"\n[security]\nhosts = [{listed}]\n{more}")
    return configuration.load(path)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def test_a_list_that_has_every_host_changes_nothing_but_keeps_requests_to_it(tmp_path: Path) -> None:
    config = config_with(tmp_path, *EVERY)

    assert config.outlets["appsflyer-ng"].hosts == ("api3.appsflyer.com",)
    assert config.outlets["warehouse"].hosts == ("hooks.acme.example",)
    legacy = Request(method="POST", url="https://api2.appsflyer.com/inappevent/x", json={})
    hosts = config.outlets["appsflyer-ng"].hosts
    with pytest.raises(TransportError, match="not declared"):
        wire(legacy, Bearer("t", optional=True), {}, hosts=hosts, sandbox=None, now_us=0)


@pytest.mark.parametrize(
    ("without", "who"),
    [
        ("api3.appsflyer.com", "destination.appsflyer-ng"),
        ("hq1.appsflyer.com", "destination.appsflyer-ng"),
        ("gdpr.adjust.com", "destination.adjust-ng"),
        ("*.acme.example", "destination.warehouse"),
    ],
)
def test_check_names_whoever_needs_a_host_that_is_not_listed(tmp_path: Path, without: str, who: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_with(tmp_path, *(one for one in EVERY if one != without))

    assert [problem.key for problem in caught.value.problems] == [who]


def test_alerts_and_lists_are_held_to_it_too_and_no_address_is_repeated(tmp_path: Path) -> None:
    more = (
        '[alert.ops]\nkind = "webhook"\nurl = { env = "ALERT_URL" }\nsecret = { env = "ACME_HOOK" }\n'
        '[audience_account.meta-ng]\nkind = "meta"\nad_account = "1234567890"\n'
        'token = { env = "ACME_TOKEN" }\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALERT_URL", "https://alerts.elsewhere.example/secret-path")
        with pytest.raises(ConfigError) as caught:
            config_with(tmp_path, *EVERY, more=more)

    assert {one.key for one in caught.value.problems} == {"alert.ops", "audience_account.meta-ng"}
    assert "elsewhere" not in str(caught.value)


def test_a_star_is_every_name_below_and_nothing_else() -> None:
    security = SecuritySettings(hosts=("*.acme.example", "one.example"))

    assert security.allows("hooks.acme.example")
    assert security.allows("A.B.acme.example.")
    assert security.allows("one.example")
    assert not security.allows("acme.example")
    assert not security.allows("evil-acme.example")
    assert not security.allows("acme.example.evil.example")
    assert not security.allows("two.one.example")
    with pytest.raises(ValueError, match="lower case"):
        SecuritySettings(hosts=("https://x.example",))


def sent_to(url: str, *, private: bool = False) -> Response | NoAnswer:
    """What comes of a request straight to an address."""
    transport = Transport()
    try:
        transport.start(Wire("POST", url, (), b"{}"), None, PATIENCE, private=private)
        while True:
            for done in transport.wait(0.05):
                return done.result
    finally:
        transport.close()


WAYS_TO_THIS_MACHINE = (
    "127.0.0.1",
    "127.1",  # as inet_aton reads it
    "2130706433",  # 127·2²⁴ + 1
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::]",
)


@pytest.mark.parametrize("host", WAYS_TO_THIS_MACHINE)
def test_no_way_of_writing_this_machine_is_reached_where_private_addresses_are_refused(host: str) -> None:
    came: list[Any] = []
    with platform(says(200, b"OK"), look=came.append) as played:
        port = played.url.rpartition(":")[2]
        ended = sent_to(f"http://{host}:{port}/")

    assert isinstance(ended, NoAnswer)
    assert not ended.left
    assert came == []


def test_a_name_is_judged_by_what_it_stands_for_when_the_connection_is_opened() -> None:
    """libcurl resolves by itself: the address it is about to open is what is looked at, not the name."""
    addresses = {one[4][0] for one in socket.getaddrinfo("localhost", 80)}
    assert all(public_ip(str(address)) is None for address in addresses)
    with platform(says(200, b"OK")) as played:
        port = played.url.rpartition(":")[2]
        assert isinstance(sent_to(f"http://localhost:{port}/"), NoAnswer)
        assert isinstance(sent_to(f"http://localhost:{port}/", private=True), Response)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    came: list[Any] = []
    with ExitStack() as both:
        inside = both.enter_context(platform(says(200, b"OK"), look=came.append))
        outside = both.enter_context(platform(says(307, b"", location=f"{inside.url}/metadata")))
        ended = sent_to(f"{outside.url}/", private=True)

    assert isinstance(ended, Response)
    assert ended.status == 307
    assert came == []


@pytest.mark.parametrize(
    "address",
    "10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 127.0.0.2 0.0.0.1 224.0.0.1 255.255.255.255 "
    "::1 fe80::1 fc00::1 fd00:ec2::254 ::ffff:169.254.169.254 ::ffff:10.0.0.1".split(),
)
def test_no_private_shared_or_link_local_address_counts_as_public(address: str) -> None:
    assert public_ip(address) is None


def test_schemes_other_than_http_are_refused() -> None:
    for url in ("file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/x", "dict://127.0.0.1/"):
        ended = sent_to(url, private=True)
        assert isinstance(ended, NoAnswer), url
