"""The Adjust stand-in. Oracle: Adjust's developer pages on server-to-server events, and their messages."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import msgspec
import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, SandboxSettings
from lendsignal.sandbox.adjust import judge
from lendsignal.sandbox.order import Latest

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
APP, SECURED = "4w565xzmb54d", "5w565xzmb54e"
SETTINGS = SandboxSettings(adjust={APP: "", SECURED: "tok-1"})
EVENT = {
    "s2s": "1",
    "app_token": APP,
    "event_token": "f0ob4r",
    "os_name": "android",
    "gps_adid": "660e1d86-6796-463a-be86-897993136018",
    "adid": "18546f6171f67e29d1cb983322ad1329",
    "created_at_unix": str(int(NOW.timestamp()) - 600),
    "revenue": "41.25",
    "currency": "USD",
    "environment": "production",
    "ip_address": "192.0.0.1",
    "callback_params": '{"conversion_id":"c0ffee01","user_id":"u-41902"}',
    "partner_params": '{"f0o":"bar"}',
}
"""The parameters of the vendor's tables with the values of its examples."""


def send(
    form: dict[str, str],
    *,
    latest: Latest | None = None,
    token: str | None = None,
    settings: SandboxSettings = SETTINGS,
    method: str = "POST",
    content_type: str = "application/x-www-form-urlencoded",
    path: str = "/event",
    query: str = "",
) -> Answer:
    headers = {"content-type": content_type}
    if token is not None:
        headers["authorization"] = token
    asked = Asked(
        host="s2s.adjust.com", method=method, path=path, query=query,
        headers=headers, body=urlencode(form).encode(),
    )  # fmt: skip
    return judge(latest or Latest(), asked, settings, to_us(NOW))


def message(answer: Answer) -> str:
    text: str = msgspec.json.decode(answer.body)["error"]
    assert text.startswith("Event request failed (")
    return text.partition("(")[2].removesuffix(")")


def test_an_event_with_every_documented_parameter_is_taken() -> None:
    answer = send(EVENT)

    (taken,) = answer.taken
    assert (answer.status, answer.body, answer.refused) == (200, b'{"status":"OK"}', ())
    assert (taken.platform, taken.account, taken.name) == ("adjust", APP, "f0ob4r")
    assert (taken.conversion_id, taken.user_id) == ("c0ffee01", "u-41902")
    assert (taken.value, taken.currency) == ("41.25", "USD")
    assert taken.occurred_us == taken.stamped_us == to_us(NOW - timedelta(minutes=10))
    assert taken.ids == {
        "adjust_adid": "18546f6171f67e29d1cb983322ad1329",
        "gaid": "660e1d86-6796-463a-be86-897993136018",
    }
    assert taken.warnings == ()
    assert taken.item == EVENT


def test_a_get_and_a_post_with_the_parameters_in_the_address_are_taken_too() -> None:
    query = urlencode(EVENT)

    assert send({}, method="GET", query=query).taken
    assert send({}, query=query).taken


def test_a_json_body_is_not_read() -> None:
    answer = send(EVENT, content_type="application/json")

    assert (answer.status, message(answer)) == (400, "Invalid app token")


def test_without_a_time_the_event_is_filed_under_its_arrival() -> None:
    (taken,) = send({name: value for name, value in EVENT.items() if name != "created_at_unix"}).taken

    assert (taken.occurred_us, taken.stamped_us) == (None, to_us(NOW))


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"app_token": "short"}, 400, "Invalid app token"),
        ({"app_token": "9w565xzmb54d"}, 404, "App token not found"),
        ({"event_token": "ev_fl"}, 400, "Invalid event token"),
        ({"s2s": "0"}, 400, "Bad event state"),
        ({"gps_adid": "x"}, 400, "Bad event state"),
        ({"gps_adid": "00000000-0000-0000-0000-000000000000"}, 400, "Bad event state"),
        ({"adid": "18546F6171F67E29D1CB983322AD1329"}, 400, "Bad event state"),
        ({"idfa": "d2cadb5f-410f-4963-ac0c-2a78534bdf1e"}, 400, "Bad event state"),
        ({"created_at_unix": "1795338847512"}, 400, "Bad event state"),
        ({"created_at_unix": "soon"}, 400, "Bad event state"),
        ({"revenue": "0.0001"}, 400, "Invalid revenue"),
        ({"revenue": "-1"}, 400, "Invalid revenue"),
        ({"revenue": "100000000001"}, 400, "Invalid revenue"),
        ({"revenue": "1,000"}, 400, "Invalid revenue"),
        ({"currency": "usd"}, 400, "Invalid revenue"),
        ({"callback_params": "{"}, 400, "Invalid callback parameters"),
        ({"callback_params": '{"a":{"b":"c"}}'}, 400, "Invalid callback parameters"),
        ({"partner_params": '{"a":7}'}, 400, "Invalid callback parameters"),
        ({"environment": "test"}, 400, "Bad event state"),
        ({"ip_address": "2a00:1450::1"}, 400, "Bad event state"),
        ({"att_status": "4"}, 400, "Bad event state"),
        ({"att_status": "3", "tracking_enabled": "1"}, 400, "Bad event state"),
        ({"eea": "true"}, 400, "Bad event state"),
    ],
)
def test_a_broken_parameter_is_refused_in_the_vendors_words(
    changes: dict[str, str], status: int, words: str
) -> None:
    answer = send({**EVENT, **changes})

    assert (answer.status, message(answer), answer.taken) == (status, words, ())
    assert len(answer.refused) == 1


@pytest.mark.parametrize("name", ["s2s", "app_token", "event_token"])
def test_parameters_are_required_and_case_sensitive(name: str) -> None:
    upper = {key.upper() if key == name else key: value for key, value in EVENT.items()}

    assert send(upper).status == 400


def test_without_any_device_id_the_device_is_not_found() -> None:
    answer = send({name: value for name, value in EVENT.items() if name not in ("gps_adid", "adid")})

    assert (answer.status, message(answer)) == (404, "Device not found")


def test_an_event_is_taken_for_58_days() -> None:
    edge = NOW - timedelta(days=58)

    assert send({**EVENT, "created_at_unix": str(int(edge.timestamp()))}).taken
    assert send({**EVENT, "created_at_unix": str(int(edge.timestamp()) - 1)}).refused


def test_the_vendors_other_form_of_time_is_read_as_the_same_moment() -> None:
    form = {name: value for name, value in EVENT.items() if name != "created_at_unix"}

    (taken,) = send({**form, "created_at": "2026-11-22T11:50:00.000+0200"}).taken

    assert taken.stamped_us == to_us(NOW - timedelta(minutes=10))


def test_the_security_token_is_asked_for_only_where_it_is_switched_on() -> None:
    secured = {**EVENT, "app_token": SECURED}

    assert send(EVENT).taken
    assert send(secured, token="Bearer tok-1").taken
    for token in (None, "tok-1", "Bearer tok-2"):
        answer = send(secured, token=token)
        assert (answer.status, message(answer)) == (401, "Failed to authorize request")


def test_a_wrong_token_may_be_answered_with_202_which_is_a_refusal() -> None:
    settings = msgspec.structs.replace(SETTINGS, adjust_answers_202=True)
    secured = {**EVENT, "app_token": SECURED}

    missing, wrong = send(secured, settings=settings), send(secured, settings=settings, token="Bearer x")

    assert (missing.status, message(missing), missing.taken) == (202, "Missing authentication token", ())
    assert (wrong.status, message(wrong), wrong.taken) == (202, "Wrong authentication token", ())


def test_times_rise_for_a_device_and_event_token_by_whichever_id_the_device_is_known() -> None:
    latest = Latest()
    only_adid = {name: value for name, value in EVENT.items() if name != "gps_adid"}

    def at(seconds: int, form: dict[str, str] = EVENT) -> int:
        return send({**form, "created_at_unix": str(1_795_338_000 + seconds)}, latest=latest).status

    assert at(7) == 200
    assert at(7) == 400
    assert at(6, only_adid) == 400
    assert at(6, {**EVENT, "event_token": "abc123"}) == 200
    assert at(8, only_adid) == 200
    latest.forget()
    assert at(1) == 200


def test_a_refused_event_moves_nothing_forward() -> None:
    latest = Latest()

    assert send({**EVENT, "revenue": "-1"}, latest=latest).status == 400
    assert send(EVENT, latest=latest).status == 200


def test_a_unique_event_counts_once_for_a_device() -> None:
    latest = Latest()
    settings = msgspec.structs.replace(SETTINGS, adjust_unique_events=frozenset({"f0ob4r"}))
    later = {**EVENT, "created_at_unix": str(int(NOW.timestamp()))}

    assert send(EVENT, latest=latest, settings=settings).status == 200
    again = send(later, latest=latest, settings=settings)
    assert (again.status, message(again)) == (400, "Ignoring event, earlier unique event tracked")


def test_known_devices_tokens_and_opted_out_users_can_be_given() -> None:
    known = frozenset({EVENT["adid"]})
    strangers = msgspec.structs.replace(SETTINGS, adjust_devices=frozenset({"another"}))
    opted_out = msgspec.structs.replace(SETTINGS, adjust_devices=known, adjust_opted_out=known)
    tokens = msgspec.structs.replace(SETTINGS, adjust_events=frozenset({"abc123"}))

    assert send(EVENT, settings=msgspec.structs.replace(SETTINGS, adjust_devices=known)).taken
    assert message(send(EVENT, settings=strangers)) == "Device not found"
    assert (send(EVENT, settings=opted_out).status, message(send(EVENT, settings=opted_out))) == (
        451,
        "Device is opted out",
    )
    assert message(send(EVENT, settings=tokens)) == "Invalid event token"


def test_an_unknown_key_is_taken_with_a_warning() -> None:
    (taken,) = send({**EVENT, "campaign": "x"}).taken

    assert taken.warnings == ("unknown key 'campaign'",)


def test_more_than_a_megabyte_is_too_large() -> None:
    answer = send({**EVENT, "user_agent": "x" * 1_000_000})

    assert (answer.status, message(answer)) == (413, "Request size too large")


@pytest.mark.parametrize(("path", "method"), [("/events", "POST"), ("/event", "PUT")])
def test_another_address_is_not_there(path: str, method: str) -> None:
    assert send(EVENT, path=path, method=method).status == 404
