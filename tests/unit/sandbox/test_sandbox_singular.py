"""The Singular stand-in. Oracle: Singular's EVENT reference and the reasons of its response codes page."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import msgspec
import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.order import Latest
from lendsignal.sandbox.singular import judge

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
APP = "com.acme.loans"
SETTINGS = SandboxSettings(singular={APP: "key-1"})
V2 = {
    "a": "key-1",
    "p": "Android",
    "i": APP,
    "n": "ev_fl",
    "sdid": "40009df0-d618-4d81-9da1-cbb3337b8dec",
    "ip": "198.51.100.23",
    "ve": "14",
    "amt": "-41.25",
    "cur": "USD",
    "umilisec": str(int(NOW.timestamp()) * 1000 - 600_000),
    "custom_user_id": "u-41902",
    "e": '{"conversion_id":"c0ffee01"}',
}
V1_ANDROID = {
    **{name: value for name, value in V2.items() if name != "sdid"},
    "aifa": "660e1d86-6796-463a-be86-897993136018",
}
V1_IOS = {
    **{name: value for name, value in V2.items() if name != "sdid"},
    "p": "iOS",
    "idfv": "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
    "att_authorization_status": "3",
}


def send(
    form: dict[str, str],
    *,
    version: int = 2,
    latest: Latest | None = None,
    settings: SandboxSettings = SETTINGS,
    method: str = "POST",
) -> Answer:
    text = urlencode(form)
    asked = Asked(
        host="s2s.singular.net",
        method=method,
        path=f"/api/v{version}/evt",
        query="" if method == "POST" else text,
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=text.encode() if method == "POST" else b"",
    )
    return judge(latest or Latest(), asked, settings, to_us(NOW))


def reason(answer: Answer) -> str:
    body = msgspec.json.decode(answer.body)
    assert (answer.status, body["status"]) == (200, "error")
    return str(body["reason"])


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_an_event_is_taken_with_a_bare_ok_and_the_key_is_not_kept(method: str) -> None:
    answer = send(V2, method=method)

    (taken,) = answer.taken
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert (taken.platform, taken.account, taken.name) == ("singular", APP, "ev_fl")
    assert (taken.conversion_id, taken.user_id) == ("c0ffee01", "u-41902")
    assert (taken.value, taken.currency) == ("-41.25", "USD")
    assert taken.occurred_us == taken.stamped_us == to_us(NOW - timedelta(minutes=10))
    assert taken.ids == {"singular_sdid": "40009df0-d618-4d81-9da1-cbb3337b8dec"}
    assert taken.warnings == ()
    assert taken.recorded
    assert "key-1" not in repr(answer)


def test_v1_knows_a_phone_by_its_own_ids() -> None:
    (android,), (ios,) = send(V1_ANDROID, version=1).taken, send(V1_IOS, version=1).taken

    assert android.ids == {"gaid": "660e1d86-6796-463a-be86-897993136018"}
    assert ios.ids == {"idfv": "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929"}


@pytest.mark.parametrize("name", ["a", "p", "i", "n", "ve", "ip"])
def test_a_missing_argument_is_named(name: str) -> None:
    answer = send({key: value for key, value in V2.items() if key != name})

    assert reason(answer) == f"missing argument: {name}"
    assert answer.taken == ()


def test_an_empty_call_is_answered_as_in_the_live_probe() -> None:
    # A live call of 2026-08-12 without arguments named `n`; the first of ours is `a`.
    answer = send({"a": "key-1", "p": "Android", "i": APP})

    assert answer.body == b'{"status":"error","reason":"missing argument: n"}'


@pytest.mark.parametrize("instead", [{"country": "NG"}, {"use_ip": "true"}])
def test_a_country_or_use_ip_stands_in_for_the_address(instead: dict[str, str]) -> None:
    assert send({**{key: value for key, value in V2.items() if key != "ip"}, **instead}).taken


@pytest.mark.parametrize(
    ("changes", "version", "words"),
    [
        ({"p": "android"}, 2, "invalid platform: android"),
        ({"sdid": ""}, 2, "no device ID supplied"),
        ({}, 1, "no device ID supplied"),
        ({"p": "PC", "sdid": ""}, 1, "platform: PC should have an sdid param"),
        ({"a": "key-2"}, 2, "invalid api key"),
        ({"i": "com.acme.other"}, 2, "invalid api key"),
        ({"n": "x" * 33}, 2, "invalid argument: n"),
        ({"n": "授信"}, 2, "invalid argument: n"),
        ({"ip": "2a00:1450::1"}, 2, "invalid argument: ip"),
        ({"amt": "41,25"}, 2, "invalid argument: amt"),
        ({"cur": "usd"}, 2, "invalid argument: cur"),
        ({"umilisec": "1795338847"}, 2, "invalid argument: umilisec"),
        ({"e": "[]"}, 2, "invalid argument: e"),
        ({"e": '{"a":"' + "x" * 501 + '"}'}, 2, "invalid argument: e"),
        ({"att_authorization_status": "4"}, 2, "invalid argument: att_authorization_status"),
        ({"data_sharing_options": "true"}, 2, "invalid argument: data_sharing_options"),
        ({"sdid": "00000000-0000-0000-0000-000000000000"}, 2, "invalid argument: sdid"),
    ],
)
def test_a_broken_argument_is_refused_within_a_200(changes: dict[str, str], version: int, words: str) -> None:
    answer = send(
        {**V2, **changes} if version == 2 or changes else {**V1_ANDROID, "aifa": ""}, version=version
    )

    assert reason(answer) == words
    assert answer.taken == ()
    assert len(answer.refused) == 1


def test_an_amount_needs_its_currency() -> None:
    assert reason(send({key: value for key, value in V2.items() if key != "cur"})) == "missing argument: cur"


def test_an_event_out_of_order_is_taken_with_a_warning_for_singular_does_not_refuse_it() -> None:
    latest = Latest()
    earlier = {**V2, "n": "ev_ap", "umilisec": str(int(V2["umilisec"]) - 1)}

    assert send(V2, latest=latest).taken[0].warnings == ()
    assert send(V2, latest=latest).taken[0].warnings == ()
    (taken,) = send(earlier, latest=latest).taken
    assert taken.warnings == ("out of order: an earlier event after a later one of the device",)


def test_an_event_of_a_device_without_a_session_is_answered_ok_and_not_recorded() -> None:
    settings = msgspec.structs.replace(SETTINGS, singular_devices=frozenset({"another"}))

    answer = send(V2, settings=settings)

    assert answer.body == b'{"status":"ok"}'
    assert answer.taken[0].recorded is False


def test_other_ids_under_v2_are_taken_with_a_warning() -> None:
    (taken,) = send({**V2, "aifa": V1_ANDROID["aifa"]}).taken

    assert taken.warnings == ("V2 knows a device by its sdid alone",)


def test_another_address_is_not_there() -> None:
    assert send(V2, version=3).status == 404
