"""The generic webhook: the body is ours, the answers are read as Standard Webhooks 1.0.0 advises."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from lendsignal.destination.spec import Item, Response
from lendsignal.destination.webhook import (
    SPEC,
    Settings,
    classify,
    encode,
    lane,
    problem_with_name,
    request,
)
from lendsignal.model import (
    ZERO_ID,
    Accepted,
    App,
    Consent,
    Contact,
    Delivery,
    Device,
    Money,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Secret,
    Skip,
)

SECRET = Secret(env="HOOK_SECRET")
SETTINGS = Settings(url="https://hooks.acme.example/lendsignal", secret=SECRET)
APP = App(
    name="acme-mx",
    brand="acme",
    platform="ios",
    bundle="id123456789",
    bundle_id="com.acme.prestamos",
    country="MX",
    currency="MXN",
    timezone="America/Mexico_City",
)


def delivery(**changes: Any) -> Delivery:
    made = Delivery(
        id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        name="first_loan",
        occurred_at=datetime(2026, 11, 22, 9, 14, 7, 512_345, tzinfo=UTC),
        user_id="u-88231",
        app=APP,
        device=Device(
            os_version="17.4.1",
            model="iPhone14,5",
            app_version="3.8.1",
            ip="203.0.113.7",
            idfv="E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
            idfa=ZERO_ID,
            appsflyer_id="1763712345678-1234567",
        ),
        value=Money(Decimal("41.250"), "USD"),
        consent=Consent(ad_user_data=True, ad_personalization=False),
        contact=Contact(email="a1" * 32, phone_e164="d4" * 32),
    )
    return msgspec.structs.replace(made, **changes)


def item_of(made: Delivery) -> Item:
    item = encode(made, SETTINGS)
    assert not isinstance(item, Skip)
    return item


def test_the_body_is_the_documented_object() -> None:
    assert request([item_of(delivery())], SETTINGS).json == {
        "type": "first_loan",
        "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "occurred_at": "2026-11-22T09:14:07.512Z",
        "user_id": "u-88231",
        "brand": "acme",
        "app": "acme-mx",
        "platform": "ios",
        "bundle": "com.acme.prestamos",
        "country": "MX",
        "value": "41.25",
        "currency": "USD",
        "ids": {
            "appsflyer_id": "1763712345678-1234567",
            "idfv": "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
        },
        "os_version": "17.4.1",
        "model": "iPhone14,5",
        "app_version": "3.8.1",
        "ip": "203.0.113.7",
        "consent": {"ad_user_data": True, "ad_personalization": False},
    }


def test_contacts_stay_at_home_even_as_hashes() -> None:
    assert "a1" * 32 not in repr(item_of(delivery()))


def test_a_loss_keeps_its_sign() -> None:
    assert item_of(delivery(value=Money(Decimal("-1E+3"), "MXN")))["value"] == "-1000"
    assert SPEC.negative_value


def test_a_delivery_without_device_value_or_consent_is_sent_all_the_same() -> None:
    item = item_of(delivery(device=Device(), value=None, consent=None))

    assert not {"ids", "value", "currency", "consent", "ip"} & set(item)


def test_the_time_is_utc_whatever_the_offset() -> None:
    local = datetime(2026, 11, 22, 3, 14, 7, tzinfo=timezone(timedelta(hours=-6)))

    assert item_of(delivery(occurred_at=local))["occurred_at"] == "2026-11-22T09:14:07.000Z"


def test_the_message_is_signed_under_the_conversion_id() -> None:
    assert request([item_of(delivery())], SETTINGS).key == "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://hooks.acme.example/x", "https"),
        ("ftp://hooks.acme.example/x", "https"),
        ("https:///x", "host"),
        ("hooks.acme.example", "host"),
        ("https://me:pass@hooks.acme.example/x", "user name"),
        ("https://hooks.acme.example/x#part", "#"),
    ],
)
def test_an_address_we_would_not_send_to_is_refused_with_its_rule(url: str, rule: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rule):
        msgspec.convert({"url": url, "secret": {"env": "S"}}, Settings)


def test_http_is_taken_where_the_lender_says_so() -> None:
    assert Settings(url="http://127.0.0.1:9000/x", secret=SECRET, allow_http=True).allow_http


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Accepted()),
        (204, Accepted()),
        (409, Accepted(reason="already_known")),
        (301, Paused("redirected")),
        (308, Paused("redirected")),
        (404, Paused("no_such_endpoint")),
        (410, Paused("endpoint_gone")),
        (401, Paused("http_401")),
        (400, Rejected("http_400")),
        (422, Rejected("http_422")),
        (429, Retry("throttled", counts=False)),
        (500, Retry("http_500")),
        (502, Retry("http_502")),
    ],
)
def test_each_status_has_its_outcome(status: int, outcome: Outcome) -> None:
    assert classify(Response(status=status), 1) == [outcome]


def test_retry_after_is_heard() -> None:
    answer = Response(status=503, headers={"retry-after": "120"})

    assert classify(answer, 1) == [Retry("http_503", after=timedelta(minutes=2))]


def test_any_name_but_a_blank_one_will_do() -> None:
    assert problem_with_name("loan.default") is None
    assert problem_with_name("  ")


# order


@pytest.mark.parametrize(
    ("ordered_by", "device", "key"),
    [
        (None, Device(gaid="g-1"), None),
        ("user", Device(gaid="g-1"), "acme:u-88231"),
        ("user", Device(), "acme:u-88231"),
        ("device", Device(gaid="g-1", appsflyer_id="af-1"), "gaid:g-1"),
        ("device", Device(gaid=ZERO_ID, idfv="v-1", appsflyer_id="af-1"), "idfv:v-1"),
        ("device", Device(appsflyer_id="af-1"), "appsflyer_id:af-1"),
        ("device", Device(gaid=ZERO_ID), None),
    ],
)
def test_order_is_kept_within_the_user_or_the_device_that_the_settings_name(
    ordered_by: Any, device: Device, key: str | None
) -> None:
    chosen = msgspec.structs.replace(SETTINGS, ordered_by=ordered_by)

    assert lane(delivery(device=device), chosen) == key


def test_what_comes_after_a_later_one_is_sent_as_it_is() -> None:
    assert SPEC.out_of_order == "send"


# templates


def told(template: str, **changes: Any) -> Any:
    """The body that a template makes of a delivery."""
    chosen = msgspec.structs.replace(SETTINGS, template=template)
    item = encode(delivery(**changes), chosen)
    assert not isinstance(item, Skip)
    return request([item], chosen).json


def test_a_template_gives_the_receiver_the_body_it_wants() -> None:
    template = """{
        "event": "{type}", "at": "{occurred_at_seconds}", "amount": "{value_number}", "text": "{value}",
        "user": {"key": "acme/{user_id}", "device": "{ids.idfv}", "consent": "{consent.ad_user_data}"},
        "note": "{value} {currency} in {country}", "fixed": [1, true, null], "braces": "{{ }}"
    }"""

    # 2026-11-22T09:14:07Z is 20,779 days and 33,247 s after 1970: 20779 × 86400 + 33247 = 1795338847.
    assert told(template) == {
        "event": "first_loan",
        "at": 1795338847,
        "amount": 41.25,
        "text": "41.25",
        "user": {
            "key": "acme/u-88231",
            "device": "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
            "consent": True,
        },
        "note": "41.25 USD in MX",
        "fixed": [1, True, None],
        "braces": "{ }",
    }


def test_milliseconds_and_whole_objects_can_be_asked_for() -> None:
    made = told('{"at": "{occurred_at_ms}", "ids": "{ids}"}')

    assert made["at"] == 1795338847512
    assert set(made["ids"]) == {"appsflyer_id", "idfv"}


def test_a_missing_fact_leaves_its_key_out_and_what_is_empty_then_goes_too() -> None:
    template = (
        '{"id": "{id}", "worth": "{value} {currency}", "device": {"gaid": "{ids.gaid}"}, '
        '"list": ["{ids.gaid}", "{app}"], "none": ["{ids.oaid}"], "kept": {}}'
    )

    assert told(template, value=None) == {
        "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "list": ["acme-mx"],
        "kept": {},
    }
    assert told('{"only": "{value}"}', value=None) == {}


def test_no_fact_can_break_out_of_its_string_or_be_read_as_a_placeholder() -> None:
    wicked = 'u", "admin": true, "x": "{id}'

    assert told('{"user": "{user_id}", "text": "<{user_id}>"}', user_id=wicked) == {
        "user": wicked,
        "text": f"<{wicked}>",
    }


def test_a_templated_message_is_still_signed_under_the_conversion_id() -> None:
    chosen = msgspec.structs.replace(SETTINGS, template='{"n": "{type}"}')
    item = encode(delivery(), chosen)

    assert not isinstance(item, Skip)
    assert request([item], chosen).key == "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ('{"a": }', "not JSON"),
        ('["{id}"]', "must be a JSON object"),
        ("{}", "at least one key"),
        ('{"a": {"b": ["{vale}"]}}', r"a\.b\[0\]: \{vale\} names no fact; did you mean \{value\}"),
        ('{"a": "{ids.gaidd}"}', r"did you mean \{ids\.gaid\}"),
        ('{"a": "{value.amount}"}', "names no fact"),
        ('{"a": "{}"}', "names no fact"),
        ('{"a": "one { only"}', "lone {"),
        ('{"a": "of {ids}"}', "must stand alone"),
    ],
)
def test_a_mistake_in_a_template_is_named_with_its_place(template: str, said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(
            {"url": "https://hooks.acme.example/x", "secret": {"env": "S"}, "template": template}, Settings
        )
