"""What a destination's own code costs for each delivery: `encode`, and `classify` of a platform's yes."""

import statistics
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from lendsignal.destination import registry
from lendsignal.destination.spec import Destination, Response
from lendsignal.errors import LendsignalError
from lendsignal.model import (
    Accepted,
    App,
    Consent,
    Contact,
    Delivery,
    Device,
    IdKind,
    Money,
    Pending,
    Secret,
    Skip,
)

YES: Mapping[str, bytes] = {
    "kwai": b'{"result":1}',
    "meta": b'{"events_received":1,"messages":[],"fbtrace_id":"A1b2C3"}',
    "singular": b'{"status":"ok"}',
    "snap": b'{"status":"VALID"}',
    "tiktok": b'{"code":0,"message":"OK","request_id":"20261122"}',
}
"""Answers of platforms that say yes in the body; every other one says it by `200` and an empty object."""

CALLS = 2_000
ROUNDS = 7

ANDROID = App(
    name="bench",
    brand="bench",
    platform="android",
    bundle="com.bench.loans",
    country="NG",
    currency="NGN",
    timezone="Africa/Lagos",
)
IOS = msgspec.structs.replace(ANDROID, platform="ios", bundle="id123456789", bundle_id="com.bench.loans")

IDS: Mapping[IdKind, str] = {
    IdKind.APPSFLYER_ID: "1763712345678-4312502203727572307",
    IdKind.ADJUST_ADID: "18546f6171f67e29d1cb983322ad1329",
    IdKind.FIREBASE_APP_INSTANCE_ID: "4f2c1a9be07d4c6f8a315d2e9b7c6012",
    IdKind.BRANCH_IDENTITY: "1130415023876554921",
    IdKind.SINGULAR_SDID: "5f0c1d7e-40a3-4c8e-9b1d-7a2f63c9e811",
    IdKind.KOCHAVA_DEVICE_ID: "KA3501763712345t0c2f9e6d71b84a05",
    IdKind.GAID: "7c1f2f0e-3b52-4d0a-9a63-0f5a3c9d2b11",
    IdKind.IDFA: "9C2D0B1E-61F4-4A7B-8E35-2D90C4A6F713",
    IdKind.IDFV: "E4A1B7C3-92D8-4F60-A5EB-18C7D3F60929",
}


def encode_and_classify_us() -> dict[str, float]:
    """Microseconds of processor time a delivery for every destination there is, the median of some rounds.

    Every delivery is another one (id and moment differ), with every fact that a login can show; a batch
    has one row, so nothing is shared. Raises `LendsignalError` for a destination that cannot be measured.
    """
    return {kind: round(_cost_us(kind, module), 2) for kind, module in registry().items()}


def _cost_us(kind: str, module: Destination) -> float:
    settings = example_settings(module)
    ready = [_delivery(module, number) for number in range(CALLS)]
    answer = Response(status=200, body=YES.get(kind, b"{}"), headers={"content-type": "application/json"})
    _check(kind, module, settings, ready[0], answer)
    encode, classify = module.encode, module.classify
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for delivery in ready:
            encode(delivery, settings)
            classify(answer, 1)
        rounds.append(time.process_time() - started)
    return statistics.median(rounds) / CALLS * 1e6


def _check(kind: str, module: Destination, settings: Any, delivery: Delivery, answer: Response) -> None:
    """What is measured is the usual way: a delivery that is sent, and an answer that says yes."""
    item = module.encode(delivery, settings)
    outcome = module.classify(answer, 1)[0]
    if isinstance(item, Skip):
        raise LendsignalError(f"{kind} skips the bench's delivery: {item.reason.value}")
    if not isinstance(outcome, Accepted | Pending):
        raise LendsignalError(f"{kind} does not take the bench's answer for a yes: {outcome}")


def example_settings(module: Destination) -> Any:
    """Settings of a destination by its fields' own first examples, with secrets that are not set."""
    values: dict[str, Any] = {}
    found = msgspec.inspect.type_info(module.Settings)
    assert isinstance(found, msgspec.inspect.StructType)
    for field in found.fields:
        schema = getattr(field.type, "extra_json_schema", None) or {}
        if _is_secret(field.type):
            values[field.name] = Secret(env="LENDSIGNAL_BENCH_KEY")
        elif field.required:
            values[field.name] = schema["examples"][0]
    return msgspec.convert(values, module.Settings)


def _is_secret(kind: Any) -> bool:
    inner = getattr(kind, "type", kind)
    if isinstance(inner, msgspec.inspect.UnionType):
        return any(_is_secret(one) for one in inner.types)
    return getattr(inner, "cls", inner) is Secret


def _delivery(module: Destination, number: int) -> Delivery:
    wanted = module.SPEC.any_of_ids
    ios = bool(wanted) and wanted[0] in (IdKind.IDFA, IdKind.IDFV)
    device = Device(
        os="ios" if ios else "android",
        os_version="17.4.1" if ios else "14",
        model="Infinix X6525",
        locale="en_NG",
        timezone="Africa/Lagos",
        carrier="MTN",
        screen_width=720,
        screen_height=1612,
        app_version="3.1.0",
        ip="203.0.113.7",
        user_agent="Mozilla/5.0 (Linux; Android 14; Infinix X6525)",
        att_status=3 if ios else None,
        limit_ad_tracking=False,
        ttclid="E.C.P.CrkBfNQG3mL5",
        sc_click_id="8f2d91c4-0b7e-4a65",
        kwai_click_id="Lw2HvYVkoj1MyzQwwNX4dg",
        **{kind.value: value for kind, value in IDS.items()},  # type: ignore[arg-type]
    )
    return Delivery(
        id=f"{number:032x}",
        name="CUSTOM_EVENT_1" if module.problem_with_name("ev_ln") else "ev_ln",
        occurred_at=datetime.fromtimestamp(1_795_337_647 + number, UTC),
        user_id=f"bench-{number}",
        app=IOS if ios else ANDROID,
        device=device,
        value=Money(Decimal("41.25"), "USD"),
        contact=Contact(email="a1" * 32, email_google="b2" * 32, phone_digits="c3" * 32),
        consent=Consent(ad_user_data=True, ad_personalization=True, gdpr_applies=False),
    )
