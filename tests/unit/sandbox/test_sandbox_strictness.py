"""How strict the stand-ins are: the vendors' valid examples, each broken in one place.

Broken are: required fields (dropped, set to null, in another letter case), every field's JSON type, the
formats and limits of the documents, keys and addresses. Leaving an optional field out, or adding an unknown
one, breaks no rule and is not among them. Of all that, 95 of 100 must be refused; what is taken all the same
is listed here with its reason, and nothing else may be.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lendsignal.clock import to_us
from lendsignal.sandbox import Answer, Asked, MetaDataset, SandboxSettings, appsflyer, ga4, meta, webhook

EXAMPLES = json.loads(Path(__file__).with_name("vendor_examples.json").read_text())
NOW_US = to_us(datetime(2026, 11, 22, 10, tzinfo=UTC))
ANDROID, IOS = "com.acme.loans", "id123456789"
GA4_APP = "1:1234567890:android:0a1b2c3d4e5f6a7b"
HOOK = EXAMPLES["webhook"]
SETTINGS = SandboxSettings(
    appsflyer={ANDROID: "key-a", IOS: "key-i"},
    ga4={GA4_APP: "sec-1"},
    meta={"4401": MetaDataset(token="tok-1", app_secret="hush")},
    webhooks={"hooks.example.com": HOOK["secret"]},
)
PROOF = hmac.new(b"hush", b"tok-1", hashlib.sha256).hexdigest()
OTHER_TYPES: tuple[Any, ...] = (None, "seven", 7.5, True, [7], {"seven": 7})

Mutation = tuple[str, Any]


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


def dotted(path: tuple[Any, ...]) -> str:
    return ".".join(str(key) for key in path)


def replaced(example: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = deepcopy(example)
    held(copy, path[:-1])[path[-1]] = value
    return copy


def without(example: Any, path: tuple[Any, ...]) -> Any:
    copy = deepcopy(example)
    del held(copy, path[:-1])[path[-1]]
    return copy


def wrong_types(example: Any) -> Iterator[Mutation]:
    """Each value replaced by one of every other JSON type."""
    for path in places(example):
        was = held(example, path)
        for value in OTHER_TYPES:
            number = isinstance(was, int | float) and not isinstance(was, bool)
            same = (number and isinstance(value, float)) or type(value) is type(was)
            if not same:
                yield f"{dotted(path)} = {json.dumps(value)}", replaced(example, path, value)
        if isinstance(was, int | float) and not isinstance(was, bool):
            yield f"{dotted(path)} as text", replaced(example, path, str(was))


def missing(example: Any, *required: str) -> Iterator[Mutation]:
    """Each required field dropped, and spelled in another letter case."""
    for name in required:
        path = tuple(int(key) if key.isdecimal() else key for key in name.split("."))
        yield f"{name} dropped", without(example, path)
        if isinstance(path[-1], str):
            copy = without(example, path)
            held(copy, path[:-1])[path[-1].swapcase()] = held(example, path)
            yield f"{name} in another case", copy


def values(example: Any, wrong: Mapping[str, tuple[Any, ...]]) -> Iterator[Mutation]:
    """Values of the right type and the wrong form."""
    for name, each in wrong.items():
        path = tuple(int(key) if key.isdecimal() else key for key in name.split("."))
        for value in each:
            yield f"{name} = {json.dumps(value)[:60]}", replaced(example, path, value)


def outcome(mutations: Iterator[tuple[str, Answer]]) -> tuple[int, set[str]]:
    """How many there were, and the labels of those of which anything was taken."""
    count, accepted = 0, set()
    for label, answer in mutations:
        count += 1
        if answer.taken:
            accepted.add(label)
    return count, accepted


def judged_appsflyer(item: Any, app: str = ANDROID, **headers: str) -> Answer:
    key = "key-i" if app == IOS else "key-a"
    given = {"content-type": "application/json", "authentication": key, **headers}
    asked = Asked(
        host=appsflyer.HOST,
        method="POST",
        path=f"/inappevent/{app}",
        headers=given,
        body=json.dumps(item).encode(),
    )
    return appsflyer.judge(asked, SETTINGS, NOW_US)


def in_value(**changes: Any) -> str:
    return json.dumps({"af_revenue": "38.75", "af_order_id": "c0ffee01", **changes})


def test_appsflyer_refuses_what_is_broken() -> None:
    android, ios = EXAMPLES["appsflyer"]["android"], EXAMPLES["appsflyer"]["ios"]
    required = ("appsflyer_id", "eventName", "eventValue")
    gaid: str = android["advertising_id"]
    broken_android: dict[str, tuple[Any, ...]] = {
        "appsflyer_id": ("", "1763712345678", "176371234567-4312502203727572307", "1763712345678-431250"),
        "eventName": ("", " ", "n" * 101),
        "eventValue": (
            "text",
            "[]",
            "7",
            "{",
            '{"af_revenue":}',
            *(
                in_value(af_revenue=each)
                for each in (
                    "1,000.00",
                    "$9",
                    "9.123456",
                    "",
                    " 9",
                    "1e3",
                    9.123456,
                    None,
                    True,
                    [9],
                    {"v": 9},
                )
            ),
            in_value(af_currency="php"),
            in_value(af_currency=608),
            in_value(af_order_id=""),
            in_value(af_order_id=7),
        ),
        "eventCurrency": ("php", "PH", "P", "", "PESO", "XYZ"),
        "eventTime": (
            "2026-11-22T09:41:12.250",
            "2026-11-22 09:41:12.250Z",
            "2026-11-22 09:41:12",
            "1795340472",
            "2026-13-22 09:41:12.250",
            "2026-11-22 25:41:12.250",
            "22-11-2026 09:41:12.250",
            "",
        ),
        "advertising_id": (gaid[:-1], gaid.replace("-", ""), gaid.replace("9", "g"), ""),
        "ip": ("198.51.100", "198.51.100.256", "2001:db8::1", "198.51.100.61:80", ""),
        "app_set_id": ({"scope": 3, "id": gaid}, {"scope": 1}, {"id": gaid}, {"scope": "1", "id": gaid}),
        "sharing_filter": ("some", "", [], [7]),
        "custom_data": ("text", "{"),
        "consent_data": (
            {},
            {"other": {}},
            {"manual": {}},
            {"tcf": {}},
            {"manual": {"gdpr_applies": True}, "tcf": {"gdpr_applies": 1}},
        ),
        "consent_data.manual.gdpr_applies": ("true", 1),
    }
    broken_ios: dict[str, tuple[Any, ...]] = {
        "idfa": (ios["idfa"].lower(), ios["idfa"][1:], ""),
        "idfv": (ios["idfv"].lower(), ""),
        "att": (4, -1, "3"),
        "email_hashed": (ios["email_hashed"].upper(), "person@example.com", ios["email_hashed"][:32]),
        "fb_login_id": ("me", ""),
        "consent_data.tcf.gdpr_applies": (2, "1"),
    }

    def mutations() -> Iterator[tuple[str, Answer]]:
        for label, item in (
            *wrong_types(android),
            *missing(android, *required),
            *values(android, broken_android),
        ):
            yield label, judged_appsflyer(item)
        for label, item in (*wrong_types(ios), *missing(ios, *required), *values(ios, broken_ios)):
            yield f"ios: {label}", judged_appsflyer(item, IOS)
        for key in ("", "KEY-A", "Bearer key-a", "key-i", "key-a "):
            yield f"key {key!r}", judged_appsflyer(android, authentication=key)
        for app in ("com.acme.Loans", "com.acme", "", "ID123456789", f"{ANDROID}/x"):
            yield f"app {app!r}", judged_appsflyer(android, app)
        for content_type in ("", "text/plain", "application/x-www-form-urlencoded"):
            yield (
                f"content-type {content_type!r}",
                judged_appsflyer(android, **{"content-type": content_type}),
            )
        yield "two events", judged_appsflyer([android, android])
        yield "over 1 KB", judged_appsflyer({**android, "ua": "u" * 700})

    count, accepted = outcome(mutations())
    assert count > 200
    assert accepted == set()


def judged_ga4(body: Any, query: str = f"firebase_app_id={GA4_APP}&api_secret=sec-1") -> Answer:
    asked = Asked(
        host=ga4.HOSTS[0],
        method="POST",
        path=ga4.COLLECT,
        query=query,
        headers={"content-type": "application/json"},
        body=json.dumps(body).encode(),
    )
    return ga4.judge(asked, SETTINGS, NOW_US)


def test_ga4_keeps_nothing_of_what_is_broken() -> None:
    example = deepcopy(EXAMPLES["ga4"]["typical"])
    del example["events"][1]  # one event, so that "anything taken" is about the broken one
    instance: str = example["app_instance_id"]
    wrong: dict[str, tuple[Any, ...]] = {
        "app_instance_id": (
            instance[:-1],
            instance + "0",
            instance.replace("0", "g"),
            "",
            instance[:31] + "-",
        ),
        "user_id": ("",),
        "timestamp_micros": (1795340000, 1795340000000, -1),
        "consent.ad_user_data": ("granted", "YES", ""),
        "user_properties": (
            {"n" * 25: {"value": 1}},
            {"ga_x": {"value": 1}},
            {"user_id": {"value": 1}},
            {f"p{n}": {"value": n} for n in range(26)},
            {"9x": {"value": 1}},
        ),
        "user_properties.plan.value": ("v" * 37,),
        "events": ([], [example["events"][0]] * 26),
        "events.0.name": (
            "",
            "n" * 41,
            "9x",
            "_x",
            "ev-x",
            "ev x",
            "ev.x",
            "evé",
            "first_open",
            "app_install",
            "session_start",
            "firebase_x",
            "ga_x",
            "google_x",
        ),
        "events.0.timestamp_micros": (1795340400, 1795340400250, 1795340400250000000, NOW_US + 10**9),
        "events.0.params": (
            {f"p{n}": n for n in range(26)},
            {"k" * 41: 1},
            {"_p": 1},
            {"ga_p": 1},
            {"firebase_p": 1},
            {"google_p": 1},
            {"gtag.p": 1},
            {"firebase_conversion": 1},
            {"p-q": 1},
            {"value": 27.5},
            {"currency": "KES"},
            {"items": [7]},
            {"debug_mode": 0},
        ),
        "events.0.params.currency": ("kes", "KE", "SHILLING", "XYZ", ""),
        "events.0.params.transaction_id": ("", "t" * 101),
        "events.0.params.tier": ("v" * 101,),
    }
    required = (
        "app_instance_id",
        "events",
        "events.0.name",
        "events.0.params.value",
        "events.0.params.currency",
    )

    def mutations() -> Iterator[tuple[str, Answer]]:
        for label, body in (*wrong_types(example), *missing(example, *required), *values(example, wrong)):
            yield label, judged_ga4(body)
        for query in (
            "",
            f"firebase_app_id={GA4_APP}",
            "api_secret=sec-1",
            f"firebase_app_id={GA4_APP}&api_secret=",
            f"firebase_app_id={GA4_APP}&api_secret=SEC-1",
            f"firebase_app_id={GA4_APP.upper()}&api_secret=sec-1",
            f"measurement_id={GA4_APP}&api_secret=sec-1",
        ):
            yield f"query {query}", judged_ga4(example, query)
        yield "a list of bodies", judged_ga4([example])

    count, accepted = outcome(mutations())
    assert count > 120
    assert len(accepted) <= 0.05 * count
    assert accepted == {
        # A custom parameter or user property may be a string or a number, whichever it was before.
        "events.0.params.tier = 7.5",
        'events.0.params.engagement_time_msec = "seven"',
        "events.0.params.engagement_time_msec as text",
        "user_properties.plan.value = 7.5",
    }


def judged_meta(
    row: Any, query: str = f"access_token=tok-1&appsecret_proof={PROOF}", path: str = "/v26.0/4401/events"
) -> Answer:
    asked = Asked(
        host=meta.HOST,
        method="POST",
        path=path,
        query=query,
        headers={"content-type": "application/json"},
        body=json.dumps({"data": [row]}).encode(),
    )
    return meta.judge(asked, SETTINGS, NOW_US)


def test_meta_refuses_what_is_broken() -> None:
    example = EXAMPLES["meta"]["android"]
    now = NOW_US // 1_000_000
    required = (
        "event_name",
        "event_time",
        "action_source",
        "user_data",
        "app_data",
        "custom_data",
        "custom_data.value",
        "custom_data.currency",
        "app_data.advertiser_tracking_enabled",
        "app_data.extinfo",
        "app_data.extinfo.8",
    )
    digest: str = example["user_data"]["em"][0]
    wrong: dict[str, tuple[Any, ...]] = {
        "event_name": ("", " "),
        "event_id": ("",),
        "event_time": (now * 1000, now // 10, 0, -now, now - 7 * 86_400 - 1, now + 3600),
        "action_source": ("App", "APP", "mobile", ""),
        "user_data": ({}, {"email": digest}, {"country": digest}, {"client_user_agent": "x"}),
        "user_data.em": ([],),
        "user_data.em.0": ("person@example.com", digest.upper(), digest[:32], digest + "0", ""),
        "user_data.external_id": ("",),
        "user_data.madid": (digest, example["user_data"]["madid"].replace("-", ""), ""),
        "user_data.client_ip_address": ("203.0.113", "203.0.113.256", digest, ""),
        "app_data": ({},),
        "app_data.advertiser_tracking_enabled": (2, -1, "1"),
        "app_data.application_tracking_enabled": (2, "0"),
        "app_data.extinfo": ([], [*example["app_data"]["extinfo"], ""], ["a2"] * 15),
        "app_data.extinfo.0": ("", "A2", "a1", "android"),
        "app_data.extinfo.4": ("",),
        "custom_data.currency": ("", "KE", "SHILLING", "XYZ"),
        "custom_data.order_id": ("",),
    }

    def mutations() -> Iterator[tuple[str, Answer]]:
        for label, row in (*wrong_types(example), *missing(example, *required), *values(example, wrong)):
            yield label, judged_meta(row)
        for query in (
            "",
            "access_token=",
            "access_token=TOK-1",
            f"token=tok-1&appsecret_proof={PROOF}",
            "access_token=tok-1",
            "access_token=tok-1&appsecret_proof=",
            f"access_token=tok-1&appsecret_proof={PROOF.upper()}",
        ):
            yield f"query {query}", judged_meta(example, query)
        for path in (
            "/4401/events",
            "/v26.0/4402/events",
            "/v26.0/4401/activities",
            "/v1.0/4401/events",
            "/v26/4401/events",
            "/V26.0/4401/events",
        ):
            yield f"path {path}", judged_meta(example, path=path)
        yield "a list of rows in a row", judged_meta([example])

    count, accepted = outcome(mutations())
    assert count > 200
    assert len(accepted) <= 0.05 * count
    assert accepted == set()


def test_a_webhook_receiver_refuses_what_is_broken() -> None:
    key = base64.b64decode(HOOK["secret"].removeprefix("whsec_"))
    good = {
        "content-type": "application/json",
        "webhook-id": HOOK["id"],
        "webhook-timestamp": str(HOOK["timestamp"]),
        "webhook-signature": HOOK["signature"],
    }

    def digest(content: str, secret: bytes = key, name: str = "sha256") -> bytes:
        return hmac.new(secret, content.encode(), name).digest()

    def signed(body: str, message_id: str = HOOK["id"], stamp: Any = HOOK["timestamp"]) -> dict[str, str]:
        made = base64.b64encode(digest(f"{message_id}.{stamp}.{body}")).decode()
        return {
            **good,
            "webhook-id": message_id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": f"v1,{made}",
        }

    def judged(headers: dict[str, str], body: str = HOOK["body"], method: str = "POST") -> Answer:
        asked = Asked(host="hooks.example.com", method=method, path="/", headers=headers, body=body.encode())
        return webhook.judge(asked, SETTINGS, HOOK["timestamp"] * 1_000_000)

    content = f"{HOOK['id']}.{HOOK['timestamp']}.{HOOK['body']}"
    right = digest(content)
    signatures = {
        "hex": f"v1,{right.hex()}",
        "no version": base64.b64encode(right).decode(),
        "another version": f"v2,{base64.b64encode(right).decode()}",
        "equals for comma": f"v1={base64.b64encode(right).decode()}",
        "no padding": HOOK["signature"].rstrip("="),
        "url-safe": HOOK["signature"].replace("+", "-").replace("/", "_"),
        "upper case": HOOK["signature"].upper(),
        "secret as text": f"v1,{base64.b64encode(digest(content, HOOK['secret'].encode())).decode()}",
        "another secret": f"v1,{base64.b64encode(digest(content, b'other')).decode()}",
        "sha1": f"v1,{base64.b64encode(digest(content, key, 'sha1')).decode()}",
        "body alone": f"v1,{base64.b64encode(digest(HOOK['body'])).decode()}",
        "empty": "",
    }
    t = HOOK["timestamp"]

    def mutations() -> Iterator[tuple[str, Answer]]:
        for name in good:
            yield f"{name} dropped", judged({each: value for each, value in good.items() if each != name})
            yield f"{name} empty", judged({**good, name: ""})
        for label, signature in signatures.items():
            yield f"signature: {label}", judged({**good, "webhook-signature": signature})
        for stamp in (t - 301, t + 301, t * 1000, f"{t}.0", "2021-02-25T15:02:10Z", f"-{t}", "now"):
            yield f"timestamp {stamp}", judged(signed(HOOK["body"], stamp=stamp))
        for body in ("", "[]", "{}", "null", "7", "{", '"text"', f"[{HOOK['body']}]"):
            yield f"body {body}", judged(signed(body), body)
        yield "an id with a dot", judged(signed(HOOK["body"], message_id="msg.1"))
        yield "another body", judged(good, HOOK["body"].replace("24", "25", 1))
        yield "blanks in the body", judged(good, HOOK["body"] + " ")
        yield "GET", judged(good, method="GET")
        yield "text", judged({**good, "content-type": "text/plain"})

    assert judged(good).taken
    assert judged(signed(HOOK["body"])).taken
    count, accepted = outcome(mutations())
    assert count > 35
    assert accepted == set()


def test_leaving_optional_fields_out_and_adding_unknown_ones_is_taken() -> None:
    """The mutations that break no rule: what the vendors do not require, and what they do not know."""
    android, row = EXAMPLES["appsflyer"]["android"], EXAMPLES["meta"]["android"]
    for key in android.keys() - {"appsflyer_id", "eventName", "eventValue"}:
        assert judged_appsflyer(without(android, (key,))).taken
    for key in ("user_id", "timestamp_micros", "consent", "user_properties"):
        assert judged_ga4(without(EXAMPLES["ga4"]["typical"], (key,))).taken
    for path in (("event_id",), ("user_data", "em"), ("user_data", "madid"), ("custom_data", "order_id")):
        assert judged_meta(without(row, path)).taken

    assert judged_appsflyer({**android, "colour": "red"}).taken[0].warnings
    assert judged_ga4({**EXAMPLES["ga4"]["typical"], "colour": "red"}).taken[0].warnings
    assert judged_meta({**row, "colour": "red"}).taken[0].warnings
