"""The AppsFlyer stand-in. Oracle: the api3 pages named in vendor_examples.json and their error messages."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.appsflyer import judge, stamped

EXAMPLES = json.loads(Path(__file__).with_name("vendor_examples.json").read_text())["appsflyer"]
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
ANDROID, IOS = "com.acme.loans", "id123456789"
SETTINGS = SandboxSettings(
    appsflyer={ANDROID: "key-a", IOS: "key-i", "com.acme.zero": "key-z"},
    appsflyer_dev_keys=frozenset({"dev-a"}),
    appsflyer_zero_package=frozenset({"com.acme.zero"}),
)


def send(
    item: Any,
    *,
    app: str = ANDROID,
    key: str | None = "key-a",
    settings: SandboxSettings = SETTINGS,
    method: str = "POST",
    content_type: str = "application/json; charset=utf-8",
    path: str | None = None,
) -> Answer:
    headers = {"content-type": content_type} | ({} if key is None else {"authentication": key})
    body = item if isinstance(item, bytes) else json.dumps(item).encode()
    asked = Asked(
        host="api3.appsflyer.com",
        method=method,
        path=path or f"/inappevent/{app}",
        headers=headers,
        body=body,
    )
    return judge(asked, settings, to_us(NOW))


def test_the_vendors_examples_are_taken_with_ok() -> None:
    minimal, android = send(EXAMPLES["minimal"]), send(EXAMPLES["android"])
    ios = send(EXAMPLES["ios"], app=IOS, key="key-i")

    for answer in (minimal, android, ios):
        assert (answer.status, answer.body, len(answer.taken), answer.refused) == (200, b"OK", 1, ())
        assert answer.taken[0].warnings == ()


def test_what_was_taken_is_read_from_the_vendors_fields() -> None:
    taken = send(EXAMPLES["android"]).taken[0]

    assert (taken.platform, taken.account, taken.name) == ("appsflyer", ANDROID, "ev_fl")
    assert (taken.conversion_id, taken.value, taken.currency) == ("c0ffee01", "38.75", "PHP")
    assert taken.occurred_us == to_us(datetime(2026, 11, 22, 9, 41, 12, 250_000, tzinfo=UTC))
    assert taken.stamped_us == taken.occurred_us
    assert taken.received_us == to_us(NOW)
    assert taken.user_id == "u-41902"
    assert taken.ids == {
        "appsflyer_id": "1763712345678-4312502203727572307",
        "gaid": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d",
    }
    assert taken.item == EXAMPLES["android"]


def test_a_negative_revenue_is_taken_as_written() -> None:
    taken = send(EXAMPLES["ios"], app=IOS, key="key-i").taken[0]

    assert (taken.value, taken.currency) == ("-12.5", "NGN")
    assert set(taken.ids) == {"appsflyer_id", "idfa", "idfv"}


@pytest.mark.parametrize(
    ("key", "app", "status", "message"),
    [
        (None, ANDROID, 400, "Failed to Authenticate"),
        ("", ANDROID, 400, "Failed to Authenticate"),
        ("Bearer key-a", ANDROID, 400, "Failed to Authenticate"),
        ("KEY-A", ANDROID, 400, "Failed to Authenticate"),
        ("dev-a", ANDROID, 401, "Unauthorized"),
        ("key-i", ANDROID, 401, "Unauthorized"),
        ("key-a", "com.acme.unknown", 400, "app_id"),
        ("key-a", "com.Acme.loans", 400, "app_id"),
        ("key-z", "com.acme.zero", 403, "Forbidden"),
    ],
)
def test_keys_are_refused_in_the_vendors_words(key: str | None, app: str, status: int, message: str) -> None:
    answer = send(EXAMPLES["minimal"], key=key, app=app)

    assert (answer.status, answer.body.decode(), answer.taken) == (status, message, ())
    assert len(answer.refused) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Payload is missing or failed to parse"),
        (b"{", "Payload is missing or failed to parse"),
        (b"\xff\xfe", "Payload is missing or failed to parse"),
        ([EXAMPLES["minimal"]], "Payload is missing or failed to parse"),
        ({"eventName": "ev_ap", "eventValue": ""}, "appsflyer_id is a mandatory field"),
        ({**EXAMPLES["minimal"], "appsflyer_id": ""}, "appsflyer_id is a mandatory field"),
        ({**EXAMPLES["minimal"], "appsflyer_id": "1234567890123"}, "Bad request"),
        ({**EXAMPLES["minimal"], "eventValue": {"af_revenue": 1}}, "Bad request"),
        ({**EXAMPLES["minimal"], "eventTime": "2026-11-22T09:41:12.250Z"}, "Bad request"),
        ({**EXAMPLES["minimal"], "eventCurrency": "usd"}, "Bad request"),
    ],
)
def test_bodies_are_refused_in_the_vendors_words(body: Any, message: str) -> None:
    answer = send(body)

    assert (answer.status, answer.body.decode(), answer.taken) == (400, message, ())


def test_a_body_of_1024_bytes_is_taken_and_one_more_is_refused() -> None:
    item = {**EXAMPLES["minimal"], "customer_user_id": ""}
    room = 1024 - len(json.dumps(item))

    assert send({**item, "customer_user_id": "u" * room}).status == 200
    assert send({**item, "customer_user_id": "u" * (room + 1)}).status == 400


def test_an_ios_id_without_its_prefix_is_answered_ok_and_not_recorded() -> None:
    answer = send(EXAMPLES["ios"], app="123456789", key="key-i")

    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.taken[0].recorded is False


def test_an_unknown_installation_is_answered_ok_and_not_recorded_when_the_installs_are_given() -> None:
    known = EXAMPLES["minimal"]["appsflyer_id"]
    settings = SandboxSettings(appsflyer={ANDROID: "key-a"}, appsflyer_installs=frozenset({known}))

    assert send(EXAMPLES["minimal"], settings=settings).taken[0].recorded is True
    assert send(EXAMPLES["android"], settings=settings).taken[0].recorded is False


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("occurred", "arrived", "filed"),
    [
        # The vendor's table: Monday 21:00 arriving Tuesday 01:00 keeps its time, Wednesday 09:00 does not.
        (at(16, 21), at(17, 1), at(16, 21)),
        (at(16, 21), at(18, 9), at(18, 9)),
        (at(16, 21), at(17, 1, 59), at(16, 21)),
        (at(16, 21), at(17, 2), at(17, 2)),
        # In the future: the arrival's own UTC day is kept, a later one is not.
        (at(16, 23), at(16, 22), at(16, 23)),
        (at(17, 1), at(16, 23), at(16, 23)),
        (None, at(16, 23), at(16, 23)),
    ],
)
def test_an_event_keeps_its_time_until_the_close_of_its_day(
    occurred: datetime | None, arrived: datetime, filed: datetime
) -> None:
    assert stamped(occurred, arrived) == filed


def test_unknown_keys_are_taken_with_a_warning() -> None:
    taken = send({**EXAMPLES["minimal"], "af_events_api": "true", "idfa": "x"}).taken[0]

    assert taken.warnings == ("unknown key 'af_events_api'", "unknown key 'idfa'")


def test_revenue_without_a_currency_is_read_as_dollars_with_a_warning() -> None:
    taken = send({**EXAMPLES["minimal"], "eventValue": '{"af_revenue":7}'}).taken[0]

    assert (taken.value, taken.currency) == ("7", "USD")
    assert taken.warnings == ("af_revenue without eventCurrency: read as USD",)


def test_another_path_method_or_content_type_is_refused() -> None:
    assert send(EXAMPLES["minimal"], path="/inappevents/com.acme.loans").status == 404
    assert send(EXAMPLES["minimal"], method="PUT").status == 404
    assert send(EXAMPLES["minimal"], content_type="text/plain").status == 400


def send_to_api2(item: Any, key: str, app: str = ANDROID) -> Answer:
    asked = Asked(
        host="api2.appsflyer.com",
        method="POST",
        path=f"/inappevent/{app}",
        headers={"content-type": "application/json", "authentication": key},
        body=json.dumps(item).encode(),
    )
    return judge(asked, SETTINGS, to_us(NOW))


def test_api2_takes_the_dev_key_with_the_flag_of_its_samples_and_refuses_an_s2s_key() -> None:
    taken = send_to_api2({**EXAMPLES["android"], "af_events_api": "true"}, "dev-a")
    wrong_kind = send_to_api2(EXAMPLES["android"], "key-a")

    assert (taken.status, taken.body) == (200, b"OK")
    assert taken.taken[0].warnings == ()
    assert (wrong_kind.status, wrong_kind.body, wrong_kind.taken) == (401, b"Unauthorized", ())
    assert send_to_api2(EXAMPLES["android"], "unknown").body == b"Failed to Authenticate"
    assert send_to_api2(EXAMPLES["android"], "dev-a", "com.acme.unknown").body == b"app_id"
