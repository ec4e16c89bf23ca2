"""A test event on its way, over a network that is played: what leaves, for where, and how it ends."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.desk import Hand, real
from tests.unit.deliver.test_tokens import PERSON

from lendsignal.deliver import Done, NoAnswer, Outlet, Wire
from lendsignal.deliver.trial import Tried, made_up, tried
from lendsignal.destination.spec import Response
from lendsignal.errors import TransportError
from lendsignal.model import Secret

SECRET = "sesame-5b1d"


class Played:
    """A network that answers by a script and remembers what left."""

    def __init__(self, *script: Response | NoAnswer) -> None:
        self.script = list(script)
        self.left: list[tuple[Wire, bool]] = []
        self.closed = False
        self._done: list[Done] = []

    def start(self, wire: Wire, token: object, timeout_seconds: float, *, private: bool = True) -> None:
        self.left.append((wire, private))
        self._done.append(Done(token, self.script.pop(0)))

    def wait(self, seconds: float) -> list[Done]:
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        self.closed = True

    def __len__(self) -> int:
        return len(self._done)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESAME", SECRET)
    monkeypatch.setenv("GOOGLE", PERSON)


def said(body: Any, status: int = 200) -> Response:
    return Response(status=status, body=json.dumps(body).encode())


def meta() -> Outlet:
    return real("meta-ng", "meta", dataset_id="1234567890123456", token=Secret(env="SESAME"))


def google(**common: Any) -> Outlet:
    return real(
        "google-ng",
        "google_data_manager",
        common={"share_contact": True, **common},
        account_id="4445556666",
        credentials=Secret(env="GOOGLE"),
        conversion_actions={"ev_fl": "987654321"},
    )


def send(outlet: Outlet, network: Played, mode: Any = "test", **more: Any) -> Tried:
    clock = Hand(0)
    delivery = made_up(outlet, "ev_fl", clock.now_us(), {}, valued=True)
    return tried(outlet, delivery, mode, clock, network=network, **more)


def headers(wire: Wire) -> dict[str, str]:
    return dict(wire.headers)


def test_without_a_sandbox_it_goes_to_the_platform_itself_with_the_secret() -> None:
    network = Played(said({"events_received": 1}))
    found = send(meta(), network, code="TEST12345")
    ((wire, _),) = network.left

    assert wire.url.startswith("https://graph.facebook.com/v26.0/1234567890123456/events?")
    assert parse_qs(wire.url.partition("?")[2])["access_token"] == [SECRET]
    assert json.loads(wire.body)["test_event_code"] == "TEST12345"
    assert (found.outcome, found.sandbox, found.may_count) == ("accepted", None, True)
    assert SECRET not in repr(found)


def test_a_token_that_has_to_be_fetched_is_fetched_first() -> None:
    network = Played(said({"access_token": "ya29.fetched", "expires_in": 3599}), said({}))
    found = send(google(), network, "validate")
    asked, checked = (wire for wire, _ in network.left)

    assert asked.url == "https://oauth2.googleapis.com/token"
    assert checked.url == "https://datamanager.googleapis.com/v1/events:ingest"
    assert headers(checked)["Authorization"] == "Bearer ya29.fetched"
    assert (found.outcome, found.problems) == ("clean", ())
    assert "ya29.fetched" not in repr(found)


@pytest.mark.parametrize(
    ("answers", "outcome", "reason", "status"),
    [
        ((said({"error": "invalid_grant"}, 400),), "refused", "refresh_token_ended", 400),
        ((said({}, 503),), "refused", "no_token", 503),
        ((NoAnswer("timeout", left=True),), "no_answer", "no_token", 0),
        ((said({"access_token": "ya29.x"}), NoAnswer("timeout", left=True)), "no_answer", "timeout", 0),
        # A check that tells nothing of its findings found nothing out.
        ((said({"access_token": "ya29.x"}), Response(status=502, body=b"<html>")), "retry", "http_502", 502),
    ],
)
def test_an_end_without_a_verdict_says_where_it_ended(
    answers: Sequence[Any], outcome: str, reason: str, status: int
) -> None:
    found = send(google(), Played(*answers), "validate")

    assert (found.outcome, found.reason, found.status) == (outcome, reason, status)
    assert not found.is_well


def test_a_webhook_is_kept_from_private_addresses_as_ever() -> None:
    network = Played(said({}), said({}))
    known: dict[str, Any] = {"url": "https://hooks.acme.example/in", "secret": Secret(env="SESAME_HOOK")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SESAME_HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        send(real("hook", "webhook", **known), network)
        send(real("hook", "webhook", **known), network, sandbox="http://127.0.0.1:8900")

    assert [private for _, private in network.left] == [False, True]
    assert network.left[1][0].url == "http://127.0.0.1:8900/hooks.acme.example/in"


def test_what_a_firewall_keeps_at_home_is_not_sent_as_a_test_either() -> None:
    """Without `share_contact` no hashed contact leaves, and Google knows nobody by anything else here."""
    with pytest.raises(TransportError, match="no_device_id"):
        send(google(share_contact=False), Played(), "validate")


def test_a_secret_that_is_not_set_is_named_and_nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SESAME")
    network = Played()

    with pytest.raises(TransportError, match="'token' is not set"):
        send(meta(), network, code="TEST12345")
    assert network.left == []


def test_a_network_that_was_lent_is_not_closed() -> None:
    network = Played(said({"events_received": 1}))
    send(meta(), network, code="TEST12345")

    assert not network.closed
