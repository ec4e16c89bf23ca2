"""Traps of the platforms' interfaces that concern several of them, or that no platform's own file names.

`docs/reference/traps.md` lists every trap with its test.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.contract import destination_exam as exam

from lendsignal.destination import appsflyer, branch, ga4, meta, registry
from lendsignal.destination.spec import Response
from lendsignal.model import Accepted, Delivery, Device, IdKind, Money, Paused, Rejected, Skip, SkipReason

NAMES = {"adjust": "f0ob4r", "branch": "PURCHASE:ev_fl", "kwai": "EVENT_PURCHASE", "snap": "CUSTOM_EVENT_1"}
PHONE_DIGITS, PHONE_E164, EMAIL, EMAIL_GOOGLE = "c3" * 32, "d4" * 32, "a1" * 32, "b2" * 32
IPV6 = "2a00:1450:4001:81b::200e"


def sent(kind: str, device: dict[str, Any] | None = None, **changes: Any) -> Any:
    """What a destination makes of a delivery with every fact, or why it skips it."""
    module = registry()[kind]
    changes = {"name": NAMES.get(kind, "ev_fl"), **changes}
    delivery: Delivery = exam.delivery_for(module, **changes)
    if device is not None:
        delivery = msgspec.structs.replace(
            delivery, device=msgspec.structs.replace(delivery.device, **device)
        )
    return module.encode(delivery, exam.example_settings(module))


def text(kind: str, device: dict[str, Any] | None = None, **changes: Any) -> str:
    """The request as text, its address included."""
    module = registry()[kind]
    item = sent(kind, device, **changes)
    assert not isinstance(item, Skip), item.reason
    return msgspec.json.encode(module.request([item], exam.example_settings(module))).decode()


# device ids


def test_a_missing_gaid_that_appsflyer_would_fill_from_the_install_is_always_told_when_known() -> None:
    body = sent("appsflyer")["body"]

    assert body["advertising_id"] == exam.SAMPLE_IDS[IdKind.GAID]
    assert appsflyer.SHED_ORDER[-2:] == ("advertising_id", "idfa"), "the last that a small body loses"


@pytest.mark.parametrize("kind", ["appsflyer", "adjust", "singular"])
def test_an_ipv6_address_stays_at_home_where_the_platform_does_not_cover_it(kind: str) -> None:
    assert IPV6 not in text(kind, {"ip": IPV6})
    assert "203.0.113.7" in text(kind, {"ip": "203.0.113.7"})


@pytest.mark.parametrize("kind", ["meta", "snap", "tiktok", "kochava", "branch", "google_app", "webhook"])
def test_an_ipv6_address_is_told_where_the_platform_takes_it(kind: str) -> None:
    assert IPV6 in text(kind, {"ip": IPV6})


@pytest.mark.parametrize("kind", sorted(set(registry()) - {"relay", "google_ads", "google_data_manager"}))
def test_no_platform_gets_the_address_of_a_private_network(kind: str) -> None:
    for address in ("10.0.0.7", "192.168.1.20", "127.0.0.1", "fe80::1"):
        item = sent(kind, {"ip": address})
        if isinstance(item, Skip):
            assert kind == "google_app", "Google's app conversions need an address"
        else:
            assert address not in text(kind, {"ip": address})


# contacts


@pytest.mark.parametrize(
    ("kind", "phone", "other"),
    [
        ("meta", PHONE_DIGITS, PHONE_E164),
        ("snap", PHONE_DIGITS, PHONE_E164),
        ("tiktok", PHONE_E164, PHONE_DIGITS),
        ("google_ads", PHONE_E164, PHONE_DIGITS),
        ("google_data_manager", PHONE_E164, PHONE_DIGITS),
    ],
)
def test_phone_formats_differ_by_platform(kind: str, phone: str, other: str) -> None:
    """Meta and Snap hash digits, Google and TikTok a number with its plus."""
    assert phone in text(kind)
    assert other not in text(kind)


def test_appsflyer_gets_each_phone_format_in_its_own_field() -> None:
    body = sent("appsflyer", {"user_agent": None})["body"]

    assert body["phone_number_hashed"] == PHONE_DIGITS
    assert body["phone_number_e164_hashed"] == PHONE_E164


@pytest.mark.parametrize("kind", ["google_ads", "google_data_manager"])
def test_gmails_dots_and_suffixes_are_gone_for_google(kind: str) -> None:
    assert EMAIL_GOOGLE in text(kind)
    assert EMAIL not in text(kind)


@pytest.mark.parametrize("kind", ["meta", "snap", "tiktok", "appsflyer"])
def test_gmails_dots_and_suffixes_stay_for_everybody_else(kind: str) -> None:
    assert EMAIL in text(kind, {"user_agent": None})
    assert EMAIL_GOOGLE not in text(kind)


# money


@pytest.mark.parametrize("kind", sorted(registry()))
def test_a_negative_value_is_told_where_it_is_allowed_and_the_event_goes_without_it_elsewhere(
    kind: str,
) -> None:
    loss = text(kind, value=Money(Decimal("-41.25"), "USD"))

    assert ("-41.25" in loss) == registry()[kind].SPEC.negative_value
    assert "0f1e2d3c4b5a69788796a5b4c3d2e1f0" in loss


@pytest.mark.parametrize("value", [None, Money(Decimal("-41.25"), "USD")])
def test_a_purchase_without_a_value_would_cost_metas_whole_batch_so_it_is_worth_nothing(
    value: Money | None,
) -> None:
    custom = sent("meta", name="Purchase", value=value)["custom_data"]

    assert (custom["value"], custom["currency"]) == (0.0, "NGN")
    assert "value" not in sent("meta", name="ev_fl", value=None)["custom_data"]


@pytest.mark.parametrize(("name", "told"), [("PURCHASE:ev_fl", True), ("ev_fl", False)])
def test_branch_passes_revenue_on_only_from_standard_events(name: str, told: bool) -> None:
    assert ("revenue" in sent("branch", name=name)["body"].get("event_data", {})) is told
    assert branch.problem_with_name("PURCHASE:ev_fl") is None


# AppsFlyer


def test_one_kilobyte_of_appsflyer_is_shed_in_the_stated_order() -> None:
    """One field after the other goes as the others grow; what must stay stays."""
    full = set(sent("appsflyer", {"user_agent": "u"})["body"])
    gone: list[str] = []
    for length in range(1, 900, 3):
        names = {"name": "e" * min(100, length), "user_id": "u" * length}
        body = sent("appsflyer", {"user_agent": "u"}, **names)["body"]
        gone += [field for field in appsflyer.SHED_ORDER if field in full - body.keys() - {*gone}]
        assert len(msgspec.json.encode(body)) <= 1024
        assert {"appsflyer_id", "eventName", "eventTime", "eventCurrency", "consent_data"} <= body.keys()
        assert "0f1e2d3c4b5a69788796a5b4c3d2e1f0" in body["eventValue"]

    assert gone == [field for field in appsflyer.SHED_ORDER if field in {*gone}]
    assert {"ua", "phone_number_e164_hashed", "customer_user_id"} <= {*gone}


# GA4


def days_after_login(days: float, **settings: Any) -> Any:
    module = registry()["ga4"]
    occurred = datetime(2026, 11, 22, 9, tzinfo=UTC)
    seen_us = int((occurred - timedelta(days=days)).timestamp() * 1_000_000)
    delivery = exam.delivery_for(module, occurred_at=occurred, seen_us=seen_us)
    return module.encode(delivery, msgspec.structs.replace(exam.example_settings(module), **settings))


def test_ga4_tells_ads_nothing_of_an_installation_63_days_after_it_was_last_online() -> None:
    assert not isinstance(days_after_login(63), Skip)
    assert days_after_login(63.001) == Skip(SkipReason.TOO_OLD)


def test_ga4_counts_an_installation_in_audiences_for_42_days_which_a_setting_keeps_to() -> None:
    within = {"online_within": timedelta(days=42)}

    assert not isinstance(days_after_login(42, **within), Skip)
    assert days_after_login(42.001, **within) == Skip(SkipReason.TOO_OLD)


def test_an_installation_of_which_no_login_time_is_known_is_told_to_ga4() -> None:
    delivery = exam.delivery_for(registry()["ga4"], seen_us=None)

    assert not isinstance(ga4.encode(delivery, exam.example_settings(registry()["ga4"])), Skip)


def test_a_silence_of_less_than_a_day_is_refused_in_the_configuration() -> None:
    with pytest.raises(msgspec.ValidationError, match="online_within"):
        msgspec.convert(
            {
                "api_secret": {"env": "X"},
                "firebase_app_id": "1:1:android:0a",
                "online_within": timedelta(hours=2),
            },
            ga4.Settings,
        )


# Meta


def test_one_old_row_of_metas_refuses_the_batch_so_it_is_kept_out_and_a_refused_batch_is_halved() -> None:
    """Age is checked at sending; where one slips through, halving finds it and the others are taken."""
    occurred = datetime(2026, 11, 15, 9, tzinfo=UTC)
    too_old = b'{"error":{"code":100,"error_subcode":2804003}}'

    assert meta.SPEC.late == "skip"
    assert meta.SPEC.closes_at(occurred) == occurred + timedelta(days=7)
    halves = meta.classify(Response(status=400, body=too_old), 2)
    assert {type(outcome).__name__ for outcome in halves} == {"Split"}
    assert meta.classify(Response(status=400, body=too_old), 1) == [Rejected("too_old")]


# answers whose status lies


@pytest.mark.parametrize(
    ("kind", "status", "body", "accepted"),
    [
        ("adjust", 202, b'{"error":"Event request failed (Wrong authentication token)"}', False),
        ("singular", 200, b'{"status":"error","reason":"missing argument: n"}', False),
        ("tiktok", 200, b'{"code":40002,"message":"Batch.0.event_time: wrong"}', False),
        ("snap", 200, b'{"status":"INVALID","event":0}', False),
        ("google_app", 200, b'{"ad_events":[],"errors":["link_id_invalid"],"attributed":false}', False),
        ("google_app", 200, b'{"ad_events":[],"errors":[],"attributed":false}', True),
        ("google_ads", 200, b'{"partialFailureError":{"code":3,"details":[]},"results":[{}]}', False),
        ("kwai", 200, b'{"result":-1,"error_msg":"x"}', False),
    ],
)  # fmt: skip
def test_an_answer_whose_status_lies_is_read_by_its_body(
    kind: str, status: int, body: bytes, accepted: bool
) -> None:
    (outcome,) = registry()[kind].classify(Response(status=status, body=body), 1)

    assert isinstance(outcome, Accepted) is accepted


@pytest.mark.parametrize(("kind", "status", "body"), [("appsflyer", 200, b"OK"), ("ga4", 204, b"")])
def test_a_yes_that_proves_receipt_only_is_never_called_confirmed(
    kind: str, status: int, body: bytes
) -> None:
    (outcome,) = registry()[kind].classify(Response(status=status, body=body), 1)

    assert isinstance(outcome, Accepted)
    assert not outcome.confirmed


def test_an_allowlist_that_shut_pauses_google_ads_and_loses_nothing() -> None:
    body = (
        b'{"error":{"code":403,"details":[{"errors":[{"errorCode":'
        b'{"notAllowlistedError":"CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE"}}]}]}}'
    )

    (outcome,) = registry()["google_ads"].classify(Response(status=403, body=body), 1)

    assert isinstance(outcome, Paused)


def test_a_login_that_showed_one_id_tells_that_one_and_none_from_elsewhere() -> None:
    """AppsFlyer fills in the install's then, which is the best there is: it is not ours to make up."""
    alone = Device(os_version="14", appsflyer_id=exam.SAMPLE_IDS[IdKind.APPSFLYER_ID])

    body = sent("appsflyer", msgspec.structs.asdict(alone))["body"]

    assert body["appsflyer_id"] == alone.appsflyer_id
    assert not {"advertising_id", "idfa", "idfv", "oaid"} & body.keys()
