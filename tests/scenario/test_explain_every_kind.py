"""`lendsignal explain` over a delivery to every platform: the request as it went, and the answer that came.

The real sender speaks to the real sandbox process; what the sandbox received is what the request is held to.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.testing import CliRunner
from tests import every_kind
from tests.contract.destination_exam import SAMPLE_IDS
from tests.every_kind import CANARY, CREDENTIALS, HOOK_SECRET, KINDS, SIGNING, Played, name_of

from lendsignal.cli import main
from lendsignal.clock import SystemClock
from lendsignal.config import load
from lendsignal.decide import Decider
from lendsignal.deliver.sender import Sender
from lendsignal.destination import registry
from lendsignal.log import DataFolder, open_deliveries, open_log, open_shelf
from lendsignal.model import Device, Event, contact_of

NOW = datetime.now(UTC).replace(microsecond=0)
CONTACT, _ = contact_of("ana@example.com", "+639171234567")
PHONE = Device(
    os="android",
    os_version="14",
    model="SM-A145F",
    locale="en_NG",
    timezone="Africa/Lagos",
    app_version="5.2.0",
    ip="203.0.113.7",
    user_agent="Mozilla/5.0 (Linux; Android 14; SM-A145F)",
    limit_ad_tracking=False,
    kwai_click_id="Lw2HvYVkoj1MyzQwwNX4dg",
    **{kind.value: each for kind, each in SAMPLE_IDS.items() if kind.value not in ("idfa", "idfv")},  # type: ignore[arg-type]
)


def event(kind: str, minutes: int, **fields: Any) -> Event:
    at = NOW - timedelta(minutes=minutes)
    known = {"brand": "acme", "user_id": "u-88231", "occurred_at": at, "received_at": at, "event_id": kind}
    return Event(**{**known, "type": kind, **fields})


def loan(number: int, minutes: int) -> Event:
    return event(
        "disbursed",
        minutes,
        event_id=f"loan-{number}",
        loan_id=f"L{number}",
        loan_number=number,
        amount=Decimal(25000),
        fee=Decimal(1500),
        currency="NGN",
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], Played]]:
    """What is explained of one first loan that went everywhere: each delivery, by its destination."""
    folder = tmp_path_factory.mktemp("explained")
    with pytest.MonkeyPatch.context() as patch, every_kind.sandbox(folder / "sandbox") as played:
        for name, value in every_kind.ENVIRONMENT.items():
            patch.setenv(name, value)
        (folder / "lendsignal.toml").write_text(every_kind.configuration(played.address))
        send_everything(folder, loan(1, 20))
        words = ["explain", "loan-1", "--config", str(folder / "lendsignal.toml")]
        found = CliRunner().invoke(main, [*words, "--json"])
        assert found.exit_code == 0, found.output
        text = CliRunner().invoke(main, words).output
        for secret in (CANARY, HOOK_SECRET, SIGNING, CREDENTIALS):
            assert secret not in found.output + text
        (life,) = json.loads(found.output)["lives"]
        (conversion,) = [one for one in life["conversions"] if one["name"] == "first_loan"]
        deliveries = {
            one["destination"]: {**one, "conversion": conversion} for one in conversion["deliveries"]
        }
        yield deliveries, played


def send_everything(folder: Path, *events: Event) -> None:
    """Decides a login and what follows it, and sends until nothing is left to do."""
    config, clock = load(folder / "lendsignal.toml"), SystemClock()
    data = DataFolder(config.data)
    with (
        closing(open_log(data.log)) as log,
        closing(open_deliveries(data.deliveries)) as store,
        closing(open_shelf(data.relay)) as shelf,
    ):
        log.append([event("registered", 30, app="acme-ng", device=PHONE, contact=CONTACT), *events])
        decider = Decider(log, config.policy, clock, lambda: None)
        while decider.turn():
            pass
        sender = Sender(log, store, config.outlets, config.apps, config.deliver, clock, shelf=shelf)
        with closing(sender):
            # Most answers end a delivery; after some the destination waits for a person, or a while.
            while sender.turn(0.05) or sender.in_flight > 0:
                pass
            sender.drain()


def test_every_kind_of_destination_got_its_delivery(told: tuple[dict[str, Any], Played]) -> None:
    deliveries, _ = told

    assert set(deliveries) == set(KINDS)
    assert {name: one["what"] for name, one in deliveries.items()} == {
        **dict.fromkeys(KINDS, "accepted"),
        # Both say later what became of it: Google when it is asked, the relay when the app fetched it.
        "google_data_manager": "pending",
        "relay": "pending",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_request_is_shown_as_it_went(kind: str, told: tuple[dict[str, Any], Played]) -> None:
    deliveries, _ = told
    one = deliveries[kind]
    request = one["request"]
    module = registry()[kind]
    text = json.dumps(request)

    assert request["method"] in ("POST", "PUT")
    if kind == "relay":
        assert request["url"] == "relay:shelf"
    else:
        known = module.SPEC.hosts or ("hooks.acme.example",)
        assert urlsplit(request["url"]).hostname in known
    assert one["conversion"]["id"] in text
    assert name_of(kind) in text or "987654321" in text
    assert masked(text) == text


SECRET_OF = {
    "branch": "branch_key",
    "google_app": "dev_token",
    "kochava": "kochava_app_id",
    "kwai": "access_token",
    "singular": "a",
}
"""The key under which the secret joins a request, where the sandbox keeps it with the event."""


def leaves(value: Any) -> set[str]:
    """Every text and number in a value, wherever it stands; a form's numbers are text."""
    match value:
        case dict():
            return set().union(*(leaves(inner) for inner in value.values()))
        case list():
            return set().union(*(leaves(inner) for inner in value))
        case None:
            return set()
        case _:
            return {str(value)}


def masked(text: str) -> str:
    """As `explain` hides the hashes of a contact."""
    assert CONTACT is not None
    for field in CONTACT.__struct_fields__:
        text = text.replace(getattr(CONTACT, field), "(contact)")
    return text


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"relay", "google_data_manager"}))
def test_everything_the_platform_received_is_shown(kind: str, told: tuple[dict[str, Any], Played]) -> None:
    deliveries, played = told
    (taken,) = played.taken(kind)
    request = deliveries[kind]["request"]
    received = {
        name: value for name, value in taken["item"].items() if name not in ("api_secret", "dev_token")
    }
    received.pop(SECRET_OF.get(kind, ""), None)
    shown = leaves(request["body"]) | leaves(dict(parse_qsl(urlsplit(request["url"]).query)))

    assert taken["conversion_id"] == deliveries[kind]["conversion"]["id"]
    assert leaves(json.loads(masked(json.dumps(received)))) - shown - leaves(request["headers"]) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_shown_with_its_status_and_what_was_read_in_it(
    kind: str, told: tuple[dict[str, Any], Played]
) -> None:
    deliveries, _ = told
    one = deliveries[kind]
    (attempt,) = one["attempts"]

    assert attempt["status"] == (204 if kind == "ga4" else 200)
    assert attempt["what"] == one["what"]
    assert attempt["sent_at"] <= attempt["answered_at"]
    # GA4 answers with nothing, and the shelf is ours.
    assert bool(attempt["answer"]) == (kind not in ("ga4", "relay"))


def test_a_refusal_is_shown_with_the_request_and_the_answer_and_no_secret_in_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every platform says no, and repeats the token while it does."""
    for name, value in every_kind.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    kinds = tuple(kind for kind in KINDS if kind != "relay")
    with every_kind.sandbox(tmp_path / "sandbox") as played:
        no = {"kind": "status", "status": 400}
        played.faults(
            # Tokens are given out as ever.
            {"kind": "accept", "host": "oauth2.googleapis.com"},
            {**no, "host": "hooks.acme.example", "body": json.dumps({"error": HOOK_SECRET})},
            {**no, "body": json.dumps({"error": CANARY})},
        )
        (tmp_path / "lendsignal.toml").write_text(every_kind.configuration(played.address, kinds=kinds))
        send_everything(tmp_path, loan(1, 20))
    words = ["explain", "loan-1", "--config", str(tmp_path / "lendsignal.toml"), "--json"]
    output = CliRunner().invoke(main, words).output
    (life,) = json.loads(output)["lives"]
    (conversion,) = [one for one in life["conversions"] if one["name"] == "first_loan"]

    assert {one["destination"] for one in conversion["deliveries"]} == set(kinds)
    for one in conversion["deliveries"]:
        attempt = one["attempts"][0]
        assert attempt["status"] == 400
        assert "[secret]" in attempt["answer"]
        assert one["reason"]
        assert conversion["id"] in json.dumps(one["request"])
        if one["what"] == "dead":
            assert conversion["id"] in one["dead_request"]
            assert "[secret]" in one["dead_answer"]
    assert {one["what"] for one in conversion["deliveries"]} == {"dead", "waiting"}
    for secret in (CANARY, HOOK_SECRET, CREDENTIALS):
        assert secret not in output


def test_what_was_sent_at_another_moment_is_shown_at_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adjust wants rising seconds: of two loans in one second the later goes as a second later."""
    for name, value in every_kind.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with every_kind.sandbox(tmp_path / "sandbox") as played:
        text = every_kind.configuration(played.address, kinds=("adjust",))
        (tmp_path / "lendsignal.toml").write_text(text.replace("first_loan", "disbursement"))
        send_everything(tmp_path, loan(1, 20), loan(2, 20))
        received = {one["conversion_id"]: one["item"]["created_at_unix"] for one in played.taken("adjust")}
    shown: dict[str, str] = {}
    for number in (1, 2):
        words = ["explain", f"loan-{number}", "--config", str(tmp_path / "lendsignal.toml"), "--json"]
        (life,) = json.loads(CliRunner().invoke(main, words).output)["lives"]
        for one in life["conversions"]:
            for delivery in one["deliveries"]:
                shown[one["id"]] = delivery["request"]["body"]["created_at_unix"]

    assert shown == received
    assert sorted(int(second) for second in received.values()) == [
        int((NOW - timedelta(minutes=20)).timestamp()),
        int((NOW - timedelta(minutes=20)).timestamp()) + 1,
    ]
