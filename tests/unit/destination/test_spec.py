"""The facts and small functions that all destinations share."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lendsignal.destination import appsflyer, ga4, webhook
from lendsignal.destination.spec import (
    Response,
    before_att,
    by_status,
    hosts_of,
    present,
    public_ip,
    sensitive_word,
)
from lendsignal.model import Accepted, Paused, Rejected, Retry, Secret

T0 = datetime(2026, 11, 22, 9, 14, 7, tzinfo=UTC)

NOT_PUBLIC = [
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",
    )
]


@given(st.ip_addresses(v=4) | st.sampled_from(NOT_PUBLIC).map(lambda network: network[-1]))
@example(ipaddress.IPv4Address("172.15.255.255"))
@example(ipaddress.IPv4Address("172.32.0.0"))
@example(ipaddress.IPv4Address("100.63.255.255"))
@example(ipaddress.IPv4Address("100.128.0.0"))
@example(ipaddress.IPv4Address("223.255.255.255"))
def test_an_ipv4_address_is_public_outside_the_reserved_networks(address: ipaddress.IPv4Address) -> None:
    expected = not any(address in network for network in NOT_PUBLIC)

    assert (public_ip(str(address)) is not None) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1.2.3.4.", "1..2.3", "::zz"]
)
def test_what_is_no_address_is_left_out(text: str) -> None:
    assert public_ip(text) is None


def test_an_ipv6_address_is_kept_unless_it_is_local_and_a_wrapped_ipv4_is_unwrapped() -> None:
    assert public_ip("2A00:1450:4001:081b::200e") == "2a00:1450:4001:81b::200e"
    assert public_ip("::ffff:203.0.113.7") == "203.0.113.7"
    assert [
        public_ip(text) for text in ("::1", "fe80::1", "fd00::1", "::", "ff02::1", "::ffff:10.0.0.1")
    ] == [None] * 6


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("credit_top30", "credit"),
        ("CreditGranted", "credit"),
        ("top_score_user", "score"),
        ("high_income", "income"),
        ("loan_default", "default"),
        ("overdue_30", "overdue"),
        ("bad_user", "bad"),
        ("userBad", "bad"),
        ("baddebt", "debt"),
        ("rejected", "reject"),
        ("low_risk", "risk"),
        ("ev_c3", None),
        ("badge_won", None),
        ("purchase", None),
        ("loan_disbursed", None),
    ],
)
def test_a_name_that_tells_a_borrowers_standing_is_noticed(name: str, word: str | None) -> None:
    assert sensitive_word(name) == word


@pytest.mark.parametrize(
    ("version", "before"),
    [("13.7", True), ("14.4.2", True), ("14.5", False), ("14.5.1", False), ("17.4.1", False), ("", False)],
)
def test_att_begins_with_ios_14_5(version: str, before: bool) -> None:
    assert before_att(version) is before


def test_the_window_is_an_age_unless_the_platform_names_an_hour() -> None:
    assert ga4.SPEC.closes_at(T0) == T0 + timedelta(hours=72)
    assert appsflyer.SPEC.closes_at(T0) == datetime(2026, 11, 23, 2, tzinfo=UTC)


def test_a_webhooks_host_is_the_one_of_its_address_and_a_platforms_its_own() -> None:
    hook = webhook.Settings(url="https://Hooks.acme.example:8443/in?x=1", secret=Secret(env="S"))

    assert hosts_of(webhook.SPEC, hook) == ("hooks.acme.example",)
    assert hosts_of(appsflyer.SPEC, appsflyer.Settings(token=Secret(env="S"))) == (
        "api3.appsflyer.com",
        "api2.appsflyer.com",
    )


def test_a_missing_fact_is_missing_and_a_false_one_is_told() -> None:
    assert present(a=None, b=False, c=0, d="") == {"b": False, "c": 0, "d": ""}


def test_the_outcome_by_status_alone() -> None:
    slow = Response(status=429, headers={"retry-after": "30"})

    assert by_status(Response(status=204)) == Accepted()
    assert by_status(Response(status=403)) == Paused("http_403")
    assert by_status(slow) == Retry("throttled", after=timedelta(seconds=30), counts=False)
    assert by_status(Response(status=408)) == Retry("http_408")
    assert by_status(Response(status=503)) == Retry("http_503")
    assert by_status(Response(status=501)) == Rejected("http_501")
    assert by_status(Response(status=404)) == Rejected("http_404")
