"""What the measurement partners' destinations encode, their strict stand-ins take."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract import destination_exam as exam

from lendsignal.clock import to_us
from lendsignal.deliver.wire import wire
from lendsignal.destination import registry
from lendsignal.destination.spec import Response
from lendsignal.model import Accepted, Delivery, Device, IdKind, Money, Rejected, Skip
from lendsignal.sandbox import Answer, Asked, SandboxSettings, adjust, appsflyer, branch, kochava, singular
from lendsignal.sandbox.order import Latest

SECRET = "made-up-secret"
ADJUST_APP = "4w565xzmb54d"
APPS = {app.identifier for app in (exam.ANDROID, exam.IOS)}
STAND_INS = SandboxSettings(
    adjust={ADJUST_APP: SECRET},
    appsflyer_dev_keys=frozenset({SECRET}),
    appsflyer=dict.fromkeys((exam.ANDROID.bundle, exam.IOS.bundle), "made-up-s2s-key"),
    branch={"acme": SECRET},
    kochava={"acme": SECRET},
    singular=dict.fromkeys(APPS, SECRET),
)
NOW_US = to_us(datetime(2026, 11, 22, 10, tzinfo=UTC))
OCCURRED = datetime(2026, 11, 22, 9, 14, 7, 512_000, tzinfo=UTC)

Judge = Callable[[Asked, SandboxSettings, int], Answer]


def judge_of(kind: str) -> Judge:
    """A stand-in that has seen nothing yet."""
    judges: dict[str, Judge] = {
        "adjust": partial(adjust.judge, Latest()),
        "appsflyer": appsflyer.judge,
        "branch": branch.judge,
        "kochava": kochava.judge,
        "singular": partial(singular.judge, Latest()),
    }
    return judges[kind]


CASES: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("adjust", {}, ("f0ob4r",)),
    ("appsflyer", {"endpoint": "api2"}, ("ev_fl",)),
    ("branch", {}, ("ev_fl", "PURCHASE", "PURCHASE:ev_fl")),
    ("kochava", {}, ("ev_fl",)),
    ("singular", {"api": "v1"}, ("ev_fl",)),
    ("singular", {"api": "v2"}, ("ev_fl",)),
)
"""Each destination with settings beside its secrets, and the names its routes may give."""

FACTS_A_LOGIN_MAY_LACK = {
    "kochava": ("origination_ip", "device_ua"),
    "singular": ("missing argument: ve",),
}
"""Rules that an event of a login without OS version, address or user agent breaks: required, and not ours
to make up."""


def asked(kind: str, changes: dict[str, Any], delivery: Delivery) -> Asked | Skip:
    """The request as it would leave, secret joined."""
    module = registry()[kind]
    chosen = msgspec.structs.replace(exam.example_settings(module), **changes)
    item = module.encode(delivery, chosen)
    if isinstance(item, Skip):
        return item
    again = msgspec.json.decode(msgspec.json.encode(item))
    secrets = dict.fromkeys(("token", "branch_key", "app_guid", "sdk_key"), SECRET)
    sent = wire(
        module.request([again], chosen), module.SPEC.auth, secrets,
        hosts=module.SPEC.hosts, sandbox=None, now_us=NOW_US,
    )  # fmt: skip
    url = urlsplit(sent.url)
    return Asked(
        host=url.hostname or "",
        method=sent.method,
        path=url.path,
        query=url.query,
        headers={name.lower(): value for name, value in sent.headers},
        body=sent.body,
    )


@pytest.mark.parametrize(("kind", "changes", "names"), CASES)
def test_a_delivery_with_every_fact_is_taken_without_a_warning(
    kind: str, changes: dict[str, Any], names: tuple[str, ...]
) -> None:
    for name in names:
        sent = asked(kind, changes, exam.delivery_for(registry()[kind], name=name))
        assert isinstance(sent, Asked)
        answer = judge_of(kind)(sent, STAND_INS, NOW_US)
        (outcome,) = registry()[kind].classify(Response(status=answer.status, body=answer.body), 1)

        (taken,) = answer.taken
        assert taken.warnings == ()
        assert taken.conversion_id == "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
        assert taken.recorded
        assert isinstance(outcome, Accepted)
        # Branch has no revenue on custom events.
        told = (None, None) if (kind, name) == ("branch", "ev_fl") else ("41.25", "USD")
        assert (taken.value, taken.currency) == told


@pytest.mark.parametrize(("kind", "changes", "names"), CASES)
def test_whatever_a_login_shows_the_stand_in_takes_it_or_misses_a_fact_that_nobody_has(
    kind: str, changes: dict[str, Any], names: tuple[str, ...]
) -> None:
    @given(exam.deliveries(), st.sampled_from(names))
    @settings(max_examples=60, deadline=None, database=None)
    def holds(delivery: Delivery, name: str) -> None:
        sent = asked(kind, changes, msgspec.structs.replace(delivery, name=name, occurred_at=OCCURRED))
        if isinstance(sent, Skip):
            return
        answer = judge_of(kind)(sent, STAND_INS, NOW_US)
        lacking = FACTS_A_LOGIN_MAY_LACK.get(kind, ())
        for refused in answer.refused:
            assert refused.reason.startswith(lacking), refused.reason
        for taken in answer.taken:
            assert taken.conversion_id == delivery.id
            told = set(taken.ids.values()) - {delivery.device.kochava_device_id}
            shown = {str(each).lower() for each in msgspec.structs.astuple(delivery.device)}
            assert {each.lower() for each in told} <= shown

    holds()


@pytest.mark.parametrize("kind", ["adjust", "branch"])
def test_a_loss_is_sent_without_a_value_where_the_platform_takes_none(kind: str) -> None:
    name = "f0ob4r" if kind == "adjust" else "PURCHASE"
    loss = exam.delivery_for(registry()[kind], name=name, value=Money(Decimal("-41.25"), "USD"))
    sent = asked(kind, {}, loss)
    assert isinstance(sent, Asked)

    (taken,) = judge_of(kind)(sent, STAND_INS, NOW_US).taken

    assert taken.value is None
    assert taken.conversion_id == loss.id


@pytest.mark.parametrize("kind", ["kochava", "singular"])
def test_a_loss_is_sent_as_one_where_the_platform_takes_it(kind: str) -> None:
    sent = asked(kind, {}, exam.delivery_for(registry()[kind], value=Money(Decimal("-41.25"), "USD")))
    assert isinstance(sent, Asked)

    (taken,) = judge_of(kind)(sent, STAND_INS, NOW_US).taken

    assert (taken.value, taken.currency) == ("-41.25", "USD")


@pytest.mark.parametrize(("kind", "changes", "names"), CASES)
def test_a_wrong_secret_pauses_and_loses_nothing(
    kind: str, changes: dict[str, Any], names: tuple[str, ...]
) -> None:
    sent = asked(kind, changes, exam.delivery_for(registry()[kind], name=names[0]))
    assert isinstance(sent, Asked)
    others = SandboxSettings(
        adjust={ADJUST_APP: "another"}, singular=dict.fromkeys(APPS, "another"), adjust_answers_202=True
    )
    answer = judge_of(kind)(sent, others, NOW_US)

    (outcome,) = registry()[kind].classify(Response(status=answer.status, body=answer.body), 1)

    assert answer.taken == ()
    # Kochava publishes no answer at all: its stand-in's refusal names no reason.
    assert type(outcome).__name__ == ("Rejected" if kind == "kochava" else "Paused")


def test_adjust_refuses_a_time_that_does_not_rise_for_the_device_and_event_token_and_no_other() -> None:
    judge, module = judge_of("adjust"), registry()["adjust"]

    def outcome(name: str, second: int, device: Device) -> object:
        at = OCCURRED.replace(second=second)
        delivery = exam.delivery_for(module, name=name, device=device, occurred_at=at)
        sent = asked("adjust", {}, delivery)
        assert isinstance(sent, Asked)
        answer = judge(sent, STAND_INS, NOW_US)
        return module.classify(Response(status=answer.status, body=answer.body), 1)[0]

    one, other = Device(gaid=exam.SAMPLE_IDS[IdKind.GAID]), Device(android_id="b1946ac92492d234")

    assert outcome("f0ob4r", 7, one) == Accepted()
    assert outcome("f0ob4r", 6, one) == Rejected("bad_event_state")
    assert outcome("abc123", 6, one) == Accepted()
    assert outcome("f0ob4r", 6, other) == Accepted()
    assert outcome("f0ob4r", 8, one) == Accepted()
