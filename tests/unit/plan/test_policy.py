"""Policies: what is refused as counted twice, and what makes two policies the same."""

from typing import Any

import pytest
from tests.acme import TARGETS, source, target

from lendsignal.derive import BUILT_IN, Cut, Tiers
from lendsignal.plan import (
    RouteSettings,
    Target,
    compile_policy,
    delivery_id,
    double_counting,
    known_conversions,
    record_id,
    record_of,
    version_of,
)

APPSFLYER = target("appsflyer-ng", "acme-ng", forwards=("meta", "google"))
PLAIN = target("appsflyer-ng", "acme-ng")
META = target("meta-ng", "acme-ng")


def route(to: str, *send: str, **fields: Any) -> RouteSettings:
    return RouteSettings(to=to, send={name: f"ev_{n}" for n, name in enumerate(send)}, **fields)


def refused(routes: list[RouteSettings], *targets: Target) -> list[str]:
    """The keys that `check` would complain of."""
    return [key for key, _ in double_counting(routes, {one.name: one for one in targets})]


def test_one_conversion_goes_one_way_to_a_platform() -> None:
    both = [route("appsflyer-ng", "first_loan"), route("meta-ng", "first_loan", "credit")]

    assert refused(both, APPSFLYER, META) == ["route[1].send.first_loan"]
    assert refused(both, PLAIN, META) == []


def test_the_same_route_twice_counts_twice() -> None:
    assert refused([route("meta-ng", "credit")] * 2, META) == ["route[1].send.credit"]


def test_two_accounts_of_a_platform_are_counted_apart_and_one_account_is_not() -> None:
    both = [route("meta-ng", "credit"), route("meta-two", "credit")]

    assert refused(both, META, target("meta-two", "acme-ng")) == []
    assert refused(both, META, target("meta-two", "acme-ng", account="meta-ng")) == ["route[1].send.credit"]


def test_two_apps_are_counted_apart() -> None:
    both = [route("appsflyer-ng", "credit"), route("meta-ios", "credit")]

    assert refused(both, APPSFLYER, target("meta-ios", "acme-ios")) == []


def test_what_the_apps_sdk_sends_already_is_refused() -> None:
    assert refused([route("meta-ng", "credit", also_sent_by=("sdk",))], META) == ["route[0].also_sent_by"]


@pytest.mark.parametrize(
    ("one", "other", "twice"),
    [
        ("first_loan", "disbursement", True),
        ("first_loan", "repeat_loan", False),
        ("credit_top20", "repeat_loan", False),
        ("disbursement", "repeat_loan", True),
        ("repayment", "repeat_loan", True),
        ("registration", "first_loan", True),
        ("credit", "disbursement", True),
        ("credit_top20", "credit_top50", True),
    ],
)
def test_one_loan_is_valued_once_in_an_account(one: str, other: str, twice: bool) -> None:
    for first, second in ((one, other), (other, one)):
        valued = [route("meta-ng", first, second, value={first: "fee", second: 5.0})]

        assert refused(valued, META) == ([f"route[0].value.{second}"] if twice else [])


def test_a_value_that_an_mmp_passes_on_counts_in_the_account_it_comes_to() -> None:
    both = [
        route("appsflyer-ng", "first_loan", value={"first_loan": "fee"}),
        route("meta-ng", "disbursement", value={"disbursement": "fee"}),
    ]

    assert refused(both, APPSFLYER, META) == ["route[1].value.disbursement"]
    assert refused(both, PLAIN, META) == []


def test_a_route_to_nowhere_is_somebody_elses_complaint() -> None:
    assert refused([route("nowhere", "credit")]) == []


def test_a_policys_version_follows_from_its_content() -> None:
    assert version_of(source()) == version_of(source())
    assert version_of(source()) != version_of(source(default_dpd=61))
    assert version_of(source()) != version_of(source(send={"credit": "ev_c"}))
    assert compile_policy(source()).version == version_of(source())


def test_a_route_may_name_every_built_in_conversion_and_every_tier_of_the_table() -> None:
    tiers = Tiers(cuts=(Cut(share=50, cut=1), Cut(share=20, cut=2), Cut(share=20, cut=3, country="NG")))

    assert known_conversions(source(tiers=tiers).derive) == [*BUILT_IN, "credit_top20", "credit_top50"]


def test_a_policy_knows_which_conversions_of_a_brand_are_routed() -> None:
    policy = compile_policy(source(send={"credit": "ev_c"}, targets=TARGETS))

    assert policy.routed == {("acme", "credit")}
    assert set(policy.steps) == {("acme-ng", "credit"), ("acme-ios", "credit")}


def test_a_delivery_id_tells_its_record_and_its_entry() -> None:
    assert record_of(delivery_id(record_id(77, 3), 5)) == (record_id(77, 3), 5)
    assert record_id(78, 0) - record_id(77, 0) == 256
