"""What each service is sent. Forms and limits are those of the services' own pages, named in `forms`."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from lendsignal.deliver.alerts.forms import (
    TEXT_LIMIT,
    WECOM_LIMIT,
    Message,
    State,
    posts,
    problem,
    subject,
    text,
    with_query,
)
from lendsignal.destination.spec import Response

NOW = 1_747_137_600_000_000
"""2025-05-13 12:00 UTC."""


def message(
    state: State = "open", *, key: str = "paused meta", said: str = "meta is paused", at: int = NOW
) -> Message:
    return Message(
        key=key,
        state=state,
        kind="paused",
        severity="critical",
        said=said,
        do="lendsignal resume meta",
        since_us=NOW - 3_600_000_000,
        at_us=at,
    )


def body(kind: str, *messages: Message, secret: str | None = None) -> Any:
    (one,) = posts(
        kind,
        messages or [message()],
        portfolio="acme",
        timezone="Africa/Lagos",
        secret=secret,
        now_us=NOW,
    )
    return one.body


def test_a_text_says_what_since_when_and_what_to_do() -> None:
    said = text([message(), message("well", key="disk", said="1.0 GB are free")], "acme", "Africa/Lagos")

    assert said == (
        "ALARM · lendsignal acme · critical\nmeta is paused\nsince 2025-05-13 12:00 Africa/Lagos\n"
        "→ lendsignal resume meta\n\n"
        "ALL WELL AGAIN · lendsignal acme\n1.0 GB are free: no more, since 2025-05-13 13:00 Africa/Lagos"
    )


def test_slack_gets_a_text_with_its_own_signs_escaped() -> None:
    assert body("slack", message(said="<a> & <b>"))["text"].splitlines()[1] == "&lt;a&gt; &amp; &lt;b&gt;"
    assert set(body("slack")) == {"text"}


def test_feishu_is_signed_by_an_empty_message_under_time_and_secret() -> None:
    found = body("feishu", secret="made-up-secret")
    key = b"1747137600\nmade-up-secret"
    expected = base64.b64encode(hmac.digest(key, b"", hashlib.sha256)).decode()

    assert found["timestamp"] == "1747137600"
    assert found["sign"] == expected
    assert found["msg_type"] == "text"
    assert found["content"]["text"].startswith("ALARM")
    assert set(body("feishu")) == {"msg_type", "content"}


def test_dingtalk_is_signed_in_its_address_in_milliseconds() -> None:
    (one,) = posts("dingtalk", [message()], portfolio="acme", timezone="UTC", secret="SECmade-up", now_us=NOW)
    signed = hmac.digest(b"SECmade-up", b"1747137600000\nSECmade-up", hashlib.sha256)

    assert one.query == {"timestamp": "1747137600000", "sign": base64.b64encode(signed).decode()}
    assert one.body["msgtype"] == "text"
    assert one.body["text"]["content"].startswith("ALARM")
    address = with_query("https://oapi.dingtalk.com/robot/send?access_token=x", {"sign": "a+b/c="})
    assert address == "https://oapi.dingtalk.com/robot/send?access_token=x&sign=a%2Bb%2Fc%3D"


def test_texts_are_cut_to_what_a_service_takes() -> None:
    long = message(said="审" * 10_000)

    assert len(body("wecom", long)["text"]["content"].encode()) <= WECOM_LIMIT
    assert len(body("dingtalk", long)["text"]["content"].encode()) <= TEXT_LIMIT
    assert body("wecom", long)["text"]["content"].endswith("审…")
    assert body("wecom")["msgtype"] == "text"


def test_chats_get_one_text_for_all() -> None:
    said = body("wecom", message(), message(said="snap is paused"))["text"]["content"]

    assert "meta is paused" in said
    assert "snap is paused" in said


def test_pagerduty_is_triggered_and_resolved_under_one_key() -> None:
    opened = body("pagerduty", message(), secret="made-up-routing-key")
    ended = body("pagerduty", message("well"), secret="made-up-routing-key")

    assert opened == {
        "routing_key": "made-up-routing-key",
        "event_action": "trigger",
        "dedup_key": "lendsignal/acme/paused meta",
        "payload": {
            "summary": "meta is paused",
            "source": "lendsignal acme",
            "severity": "critical",
            "timestamp": "2025-05-13T11:00:00.000Z",
            "class": "paused",
            "custom_details": {"key": "paused meta", "do": "lendsignal resume meta"},
        },
        "client": "lendsignal",
    }
    assert ended == {
        "routing_key": "made-up-routing-key",
        "event_action": "resolve",
        "dedup_key": "lendsignal/acme/paused meta",
    }


def test_a_webhook_gets_each_alarm_by_itself_under_an_id_of_its_own() -> None:
    made = posts(
        "webhook",
        [message(), message("again"), message("again", at=NOW + 1), message("well")],
        portfolio="acme",
        timezone="UTC",
        secret=None,
        now_us=NOW,
    )
    later = posts(
        "webhook", [message(at=NOW + 60_000_000)], portfolio="acme", timezone="UTC", secret=None, now_us=NOW
    )

    assert [one.body["type"] for one in made] == ["alert.open", "alert.again", "alert.again", "alert.well"]
    assert len({one.id for one in made}) == 4
    assert later[0].id == made[0].id
    assert made[0].body["data"] == {
        "key": "paused meta",
        "kind": "paused",
        "severity": "critical",
        "said": "meta is paused",
        "do": "lendsignal resume meta",
        "since": "2025-05-13T11:00:00.000Z",
        "portfolio": "acme",
    }


def test_a_letter_says_the_first_and_how_many_more() -> None:
    assert subject([message()], "acme") == "[lendsignal acme] ALARM: meta is paused"
    assert subject([message("well"), message()], "acme") == (
        "[lendsignal acme] ALL WELL AGAIN: meta is paused (and 1 more)"
    )


@pytest.mark.parametrize(
    ("kind", "status", "answer", "wrong"),
    [
        ("slack", 200, b"ok", None),
        ("slack", 404, b"no_service", "http_404"),
        ("feishu", 200, b'{"code": 0, "msg": "success"}', None),
        ("feishu", 200, b'{"StatusCode": 0, "StatusMessage": "success"}', None),
        ("feishu", 200, b'{"code": 19021, "msg": "sign match fail"}', "code_19021"),
        ("dingtalk", 200, b'{"errcode": 0, "errmsg": "ok"}', None),
        ("dingtalk", 200, b'{"errcode": 310000, "errmsg": "sign not match"}', "errcode_310000"),
        ("wecom", 200, b'{"errcode": 93000, "errmsg": "invalid webhook url"}', "errcode_93000"),
        ("wecom", 200, b"<html>", "unreadable_answer"),
        ("wecom", 200, b"[]", "unreadable_answer"),
        ("pagerduty", 202, b'{"status": "success"}', None),
        ("pagerduty", 429, b"", "http_429"),
        ("webhook", 204, b"", None),
        ("webhook", 302, b"", "http_302"),
    ],
)
def test_a_yes_is_what_the_service_calls_one(
    kind: str, status: int, answer: bytes, wrong: str | None
) -> None:
    assert problem(kind, Response(status=status, body=answer, headers={})) == wrong


def test_every_body_is_json() -> None:
    for kind in ("slack", "feishu", "dingtalk", "wecom", "pagerduty", "webhook"):
        assert json.loads(json.dumps(body(kind)))
