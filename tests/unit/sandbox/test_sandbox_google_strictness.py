"""How strict Google's stand-ins are: their documented examples, each broken in one place.

Every value is replaced by one of each other JSON type, and every key is spelled in another letter case: of
all that, nothing may be taken.
"""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, GoogleAccount, SandboxSettings, google_ads, google_data_manager

NOW = to_us(datetime(2026, 11, 22, 10, tzinfo=UTC))
SETTINGS = SandboxSettings(
    google_ads={"4445556666": GoogleAccount(token="t", developer_token="d", actions=frozenset({"987654321"}))}
)
HEADERS = {"content-type": "application/json", "authorization": "Bearer t", "developer-token": "d"}
ACTION = "customers/4445556666/conversionActions/987654321"
DIGEST = "542d240129883c019e106e3b1b2d3f3cb3537c43c425364de8e951d5a3083345"
OTHER_TYPES: tuple[Any, ...] = (None, "seven", 7.5, True, [7], {"seven": 7})

CLICKS = {
    "partialFailure": True,
    "conversions": [
        {
            "conversionAction": ACTION,
            "gclid": "EXAMPLE_GCLID",
            "conversionDateTime": "2026-11-20 11:15:07+08:00",
            "conversionValue": 125.5,
            "currencyCode": "PHP",
            "orderId": "t1-L20261120000042-ev_disb1",
            "userIdentifiers": [{"hashedEmail": DIGEST, "userIdentifierSource": "FIRST_PARTY"}],
            "consent": {"adUserData": "GRANTED", "adPersonalization": "GRANTED"},
        }
    ],
}
CHANGES = {
    "partialFailure": True,
    "conversionAdjustments": [
        {
            "conversionAction": ACTION,
            "adjustmentType": "RESTATEMENT",
            "orderId": "t1-L20261120000042-ev_disb1",
            "adjustmentDateTime": "2026-12-20 09:00:00+08:00",
            "restatementValue": {"adjustedValue": 80.0, "currencyCode": "PHP"},
        }
    ],
}
EVENTS = {
    "destinations": [
        {
            "reference": "disb",
            "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "4445556666"},
            "productDestinationId": "987654321",
        }
    ],
    "encoding": "HEX",
    "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
    "events": [
        {
            "destinationReferences": ["disb"],
            "transactionId": "t1-L20261120000042-ev_disb1",
            "eventTimestamp": "2026-11-20T03:15:07Z",
            "eventSource": "APP",
            "adIdentifiers": {"gclid": "EXAMPLE_GCLID"},
            "userData": {"userIdentifiers": [{"emailAddress": DIGEST}]},
            "currency": "PHP",
            "conversionValue": 125.5,
        }
    ],
}


def uploaded(body: Any, method: str, *, has: bool) -> Answer:
    """What becomes of an upload; `has`: whether the conversion was taken before."""
    asked = Asked(
        host=google_ads.HOST,
        method="POST",
        path=f"/v25/customers/4445556666:{method}",
        headers=HEADERS,
        body=json.dumps(body).encode(),
    )
    return google_ads.judge(lambda platform, *_: has and platform == "google_ads", asked, SETTINGS, NOW)


def clicks(body: Any) -> Answer:
    return uploaded(body, "uploadClickConversions", has=False)


def changes(body: Any) -> Answer:
    return uploaded(body, "uploadConversionAdjustments", has=True)


def events(body: Any) -> Answer:
    asked = Asked(
        host=google_data_manager.HOST,
        method="POST",
        path="/v1/events:ingest",
        headers=HEADERS,
        body=json.dumps(body).encode(),
    )
    return google_data_manager.judge(lambda *_: False, asked, SETTINGS, NOW)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON value, containers included."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def held(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def broken(example: Any) -> Iterator[tuple[str, Any]]:
    """The example with one value of another type, or one key in another letter case; each with its label."""
    for path in places(example):
        was, label = held(example, path), ".".join(map(str, path))
        for value in OTHER_TYPES:
            if type(value) is not type(was):
                copy = deepcopy(example)
                held(copy, path[:-1])[path[-1]] = value
                yield f"{label} = {json.dumps(value)}", copy
        if isinstance(path[-1], str):
            copy = deepcopy(example)
            around = held(copy, path[:-1])
            around[path[-1].swapcase()] = around.pop(path[-1])
            yield f"{label} in another case", copy


@pytest.mark.parametrize(
    ("example", "send", "least"),
    [(CLICKS, clicks, 90), (CHANGES, changes, 50), (EVENTS, events, 130)],
    ids=["clicks", "adjustments", "events"],
)
def test_an_example_broken_in_one_place_is_not_taken(
    example: Any, send: Callable[[Any], Answer], least: int
) -> None:
    mutants = list(broken(example))

    assert len(send(example).taken) == 1
    assert len(mutants) >= least
    assert [label for label, mutant in mutants if send(mutant).taken] == []
