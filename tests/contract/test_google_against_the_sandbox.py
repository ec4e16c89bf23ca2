"""What Google's destinations encode, their strict stand-ins take; and their answers mean what they should."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract import destination_exam as exam

from lendsignal.clock import to_us
from lendsignal.deliver.wire import FETCHED_TOKEN, wire
from lendsignal.destination import ga4, google_ads, google_app, google_data_manager, registry
from lendsignal.destination.spec import Request, Response
from lendsignal.model import (
    Accepted,
    Contact,
    Delivery,
    Device,
    IdKind,
    Money,
    Pending,
    Rejected,
    Retry,
    Skip,
)
from lendsignal.sandbox import Answer, Asked, GoogleAccount, Memory, SandboxSettings
from lendsignal.sandbox import ga4 as ga4_stand_in
from lendsignal.sandbox import google_ads as ads_stand_in
from lendsignal.sandbox import google_app as app_stand_in
from lendsignal.sandbox import google_data_manager as manager_stand_in

NOW_US = to_us(datetime(2026, 11, 22, 10, tzinfo=UTC))
OCCURRED = datetime(2026, 11, 22, 9, 14, 7, 512_000, tzinfo=UTC)
SECRET = "made-up-secret"
STAND_INS = SandboxSettings(
    ga4={"1:1234567890:android:0a1b2c3d4e5f6a7b": SECRET},
    google_ads={
        "4445556666": GoogleAccount(token=SECRET, developer_token=SECRET, actions=frozenset({"987654321"}))
    },
    google_app={"0123456789ABCDEF0123456789ABCDEF": SECRET},
)
KINDS = ("google_ads", "google_app", "google_data_manager")


def answer_to(kind: str, request: Request, memory: Memory, now_us: int = NOW_US) -> Answer:
    """What the stand-in says to a request with its secrets joined."""
    module = registry()[kind]
    secrets = dict.fromkeys((FETCHED_TOKEN, "developer_token", "dev_token", "api_secret"), SECRET)
    sent = wire(
        request, module.SPEC.auth, secrets, hosts=module.SPEC.hosts, sandbox=None, now_us=NOW_US
    )  # fmt: skip
    url = urlsplit(sent.url)
    asked = Asked(
        host=url.hostname or "",
        method=sent.method,
        path=url.path,
        query=url.query,
        headers={name.lower(): value for name, value in sent.headers},
        body=sent.body,
    )
    match kind:
        case "google_ads":
            return ads_stand_in.judge(memory.has, asked, STAND_INS, now_us, last=memory.last)
        case "google_app":
            return app_stand_in.judge(asked, STAND_INS, NOW_US)
        case "ga4":
            return ga4_stand_in.judge(asked, STAND_INS, NOW_US)
        case _:
            return manager_stand_in.judge(memory.has, asked, STAND_INS, now_us, last=memory.last)


def sent(
    kind: str, items: Sequence[Any], memory: Memory, now_us: int = NOW_US
) -> tuple[Answer, Sequence[Any]]:
    """The answer to some items, and what the destination makes of it."""
    module = registry()[kind]
    answer = answer_to(kind, module.request(items, exam.example_settings(module)), memory, now_us)
    memory.keep(answer)
    return answer, module.classify(Response(status=answer.status, body=answer.body), len(items))


def item_of(kind: str, **changes: Any) -> Any:
    module = registry()[kind]
    made = exam.delivery_for(module, id="0a" * 16, occurred_at=OCCURRED, **changes)
    return module.encode(made, exam.example_settings(module))


def items_of(kind: str, count: int) -> list[Any]:
    module = registry()[kind]
    chosen = exam.example_settings(module)
    made = [module.encode(exam.delivery_for(module, id=f"{number:032x}"), chosen) for number in range(count)]
    assert not any(isinstance(item, Skip) for item in made)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_encoded_is_taken_without_a_word(kind: str) -> None:
    module = registry()[kind]

    @given(
        exam.deliveries(),
        st.sampled_from((None, "EXAMPLE_GCLID")),
        st.sampled_from((None, "EXAMPLE_GBRAID")),
        st.none() | st.just(Contact(email_google="b2" * 32, phone_e164="d4" * 32)),
    )
    @settings(max_examples=80, deadline=None, database=None)
    def holds(delivery: Delivery, gclid: str | None, gbraid: str | None, contact: Contact | None) -> None:
        device: Device = msgspec.structs.replace(
            delivery.device,
            gclid=gclid,
            gbraid=gbraid,
            ip="203.0.113.7",
            gaid=exam.SAMPLE_IDS[IdKind.GAID],
            idfa=exam.SAMPLE_IDS[IdKind.IDFA],
        )
        made = msgspec.structs.replace(
            delivery, name="ev_fl", occurred_at=OCCURRED, device=device, contact=contact
        )
        item = module.encode(made, exam.example_settings(module))
        if isinstance(item, Skip):
            return
        memory = Memory()
        answer, _ = sent(kind, [item], memory)
        memory.close()

        assert answer.refused == ()
        assert [taken.conversion_id for taken in answer.taken] == [made.id]
        assert [taken.occurred_us // 1_000_000 for taken in answer.taken if taken.occurred_us] == [
            to_us(OCCURRED) // 1_000_000
        ]

    holds()


def test_a_repeat_is_known_to_google_ads_and_counts_once() -> None:
    memory = Memory()
    items = items_of("google_ads", 3)
    _, first = sent("google_ads", items[:2], memory)
    _, again = sent("google_ads", items, memory)

    assert first == [Accepted(), Accepted()]
    assert again == [Accepted(reason="already_known"), Accepted(reason="already_known"), Accepted()]
    assert set(memory.ids("google_ads").values()) == {1}
    memory.close()


def test_google_ads_takes_a_retraction_once_and_of_what_it_has() -> None:
    memory = Memory()
    back = item_of("google_ads", value=None, corrected_at=OCCURRED + timedelta(minutes=3))
    _, before = sent("google_ads", [back], memory)
    sent("google_ads", [item_of("google_ads")], memory)
    _, first = sent("google_ads", [back], memory)
    _, again = sent("google_ads", [back], memory)

    assert before == [Retry("conversion_not_found", after=timedelta(hours=6))]
    assert (first, again) == ([Accepted()], [Accepted(reason="already_known")])
    (taken,) = memory.taken("google_ads_adjustment")
    assert (taken.conversion_id, taken.name, taken.value) == ("0a" * 16, "RETRACTION", None)
    memory.close()


def test_google_ads_takes_restatements_that_come_after_each_other_and_each_of_them_once() -> None:
    memory = Memory()

    def restated(value: str, seconds: int) -> Any:
        money = Money(Decimal(value), "NGN")
        at = OCCURRED + timedelta(seconds=seconds)
        return sent("google_ads", [item_of("google_ads", value=money, corrected_at=at)], memory)[1]

    sent("google_ads", [item_of("google_ads")], memory)

    assert restated("900", 60) == [Accepted()]
    assert restated("900", 60) == [Accepted(reason="already_known")]
    assert restated("800", 61) == [Accepted()]
    assert restated("700", 60) == [Accepted(reason="already_known")]
    assert restated("700", -60) == [Rejected("adjustment_precedes_conversion")]
    assert [taken.value for taken in memory.taken("google_ads_adjustment")] == ["900.0", "800.0"]
    memory.close()


def test_google_ads_takes_no_correction_after_54_days() -> None:
    memory = Memory()
    sent("google_ads", [item_of("google_ads")], memory)
    day_us = 86_400_000_000
    back = item_of("google_ads", value=None, corrected_at=OCCURRED + timedelta(days=1))

    assert sent("google_ads", [back], memory, NOW_US + 54 * day_us)[1] == [Rejected("conversion_expired")]
    assert sent("google_ads", [back], memory, NOW_US + 53 * day_us)[1] == [Accepted()]
    memory.close()


def test_the_data_manager_restates_what_it_has_and_counts_as_new_what_it_has_not() -> None:
    memory = Memory()
    first = item_of("google_data_manager", value=Money(Decimal(1500), "NGN"))
    zero = item_of("google_data_manager", value=Money(Decimal(0), "NGN"), corrected_at=OCCURRED)
    sent("google_data_manager", [first], memory)
    sent("google_data_manager", [zero], memory)
    sent("google_data_manager", [zero], memory)

    assert memory.ids("google_data_manager") == {"0a" * 16: 1}
    (restated,) = memory.taken("google_data_manager_restatement")
    assert (restated.conversion_id, restated.value) == ("0a" * 16, "0.0")
    memory.close()

    alone = Memory()
    sent("google_data_manager", [zero], alone)
    assert alone.ids("google_data_manager") == {"0a" * 16: 1}
    alone.close()


def test_a_data_manager_request_is_pending_until_its_verdict() -> None:
    memory = Memory()
    settings = exam.example_settings(registry()["google_data_manager"])
    items = items_of("google_data_manager", 2)

    def verdict_on(outcomes: Sequence[Any]) -> Sequence[Any]:
        assert isinstance(outcomes[0], Pending)
        asked = google_data_manager.ask(outcomes[0].handle, settings)
        answer = answer_to("google_data_manager", asked, memory)
        return google_data_manager.verdict(Response(status=answer.status, body=answer.body), len(outcomes))

    _, first = sent("google_data_manager", items, memory)
    _, again = sent("google_data_manager", items, memory)

    assert verdict_on(first) == [Accepted(), Accepted()]
    assert verdict_on(again) == [Accepted(reason="already_known")] * 2
    assert set(memory.ids("google_data_manager").values()) == {1}
    memory.close()


def test_a_bad_event_among_good_ones_falls_alone() -> None:
    memory = Memory()
    items = items_of("google_data_manager", 4)
    items[2]["event"]["currency"] = "PESO"
    _, outcomes = sent("google_data_manager", items, memory)

    assert [type(outcome).__name__ for outcome in outcomes] == ["Split", "Split", "Rejected", "Split"]
    assert memory.ids() == {}
    memory.close()


@pytest.mark.parametrize("kind", ["ga4", "google_ads", "google_data_manager"])
def test_a_dry_run_finds_nothing_wrong_and_leaves_nothing(kind: str) -> None:
    modules: dict[str, Any] = {
        "ga4": ga4, "google_ads": google_ads, "google_data_manager": google_data_manager
    }  # fmt: skip
    module = modules[kind]
    settings = exam.example_settings(module)
    memory = Memory()
    answer = answer_to(kind, module.validation_request(items_of(kind, 2), settings), memory)

    assert module.problems_found(Response(status=answer.status, body=answer.body)) == ()
    assert answer.taken == ()
    memory.close()


def test_an_event_that_google_would_re_date_is_named_by_the_validator() -> None:
    settings = exam.example_settings(registry()["ga4"])
    old = exam.delivery_for(registry()["ga4"], occurred_at=datetime(2026, 11, 10, tzinfo=UTC))
    memory = Memory()
    item = ga4.encode(old, settings)
    assert not isinstance(item, Skip)
    answer = answer_to("ga4", ga4.validation_request([item], settings), memory)
    memory.close()

    (line,) = ga4.problems_found(Response(status=answer.status, body=answer.body)) or ()
    assert "timestamp_micros VALUE_OUT_OF_BOUNDS" in line


def test_app_conversions_come_without_a_promise_about_repeats() -> None:
    memory = Memory()
    (item,) = items_of("google_app", 1)
    for _ in range(2):
        _, outcomes = sent("google_app", [item], memory)
        assert isinstance(outcomes[0], Accepted)

    assert memory.ids("google_app") == {f"{0:032x}": 2}
    assert google_app.SPEC.dedupe is None
    memory.close()
