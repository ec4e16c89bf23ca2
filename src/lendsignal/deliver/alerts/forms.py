"""Each service's form of a message, and how it answers; pure functions.

Where the forms stand, all read 2026-11-22:
slack       https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
feishu      https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
dingtalk    https://open.dingtalk.com/document/orgapp/custom-robots-send-group-messages
wecom       https://developer.work.weixin.qq.com/document/path/91770
pagerduty   https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
webhook     https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from lendsignal.clock import from_us
from lendsignal.destination.spec import Response

State = Literal["open", "again", "well", "test"]

SUMMARY_LIMIT = 1_024
"""Characters of a PagerDuty summary."""

WECOM_LIMIT = 2_048
"""Bytes of a WeCom text."""

TEXT_LIMIT = 15_000
"""Bytes of any other text: DingTalk and Feishu take 20 kB of JSON, in which a line break takes two."""

HEADS: Mapping[State, str] = {
    "open": "ALARM",
    "again": "STILL OPEN",
    "well": "ALL WELL AGAIN",
    "test": "TEST",
}


class Message(Struct, frozen=True, kw_only=True):
    """One thing that is told: that an alarm is open, open still, or has ended. `key` is the alarm's own.

    Times are microseconds since 1970. Nothing in it is a person's or a secret.
    """

    key: str
    state: State
    kind: str
    severity: str
    said: str
    do: str
    since_us: int
    at_us: int


class Post(Struct, frozen=True, kw_only=True):
    """One request: its body, what joins its address, and the id by which a webhook's receiver knows it."""

    body: Mapping[str, Any]
    query: Mapping[str, str] = {}
    id: str = ""


def posts(
    kind: str, messages: Sequence[Message], *, portfolio: str, timezone: str, secret: str | None, now_us: int
) -> list[Post]:
    """The requests by which a service is told. Chats get one text for all; the others one request each."""
    match kind:
        case "pagerduty":
            return [Post(body=pagerduty(one, portfolio, secret or "")) for one in messages]
        case "webhook":
            return [Post(body=webhook(one, portfolio), id=message_id(one, portfolio)) for one in messages]
        case "slack":
            return [Post(body=slack(text(messages, portfolio, timezone)))]
        case "feishu":
            told = text(messages, portfolio, timezone)
            return [Post(body=feishu(told, secret, now_us // 1_000_000))]
        case "dingtalk":
            told = text(messages, portfolio, timezone)
            return [Post(body=dingtalk(told), query=dingtalk_signature(secret, now_us // 1_000))]
        case "wecom":
            return [Post(body=wecom(text(messages, portfolio, timezone)))]
        case _:
            raise ValueError(f"nothing is posted to {kind}")


def text(messages: Sequence[Message], portfolio: str, timezone: str) -> str:
    """All of it for people, one paragraph each; times in that zone."""
    return "\n\n".join(_paragraph(one, portfolio, timezone) for one in messages)


def subject(messages: Sequence[Message], portfolio: str) -> str:
    """What stands above a letter: the first of what it says, and how much more there is."""
    first = messages[0]
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    return f"[lendsignal {portfolio}] {HEADS[first.state]}: {_shortened(first.said, 120)}{more}"


def slack(told: str) -> dict[str, Any]:
    """`text`, in which &, < and > are Slack's own signs and have to be written as entities."""
    escaped = told.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": _fitted(escaped, TEXT_LIMIT)}


def feishu(told: str, secret: str | None, seconds: int) -> dict[str, Any]:
    """A text; with a secret the time in seconds and a signature of it.

    The signature is an HMAC-SHA256 of nothing at all, under the key "time, line feed, secret".
    """
    body = {"msg_type": "text", "content": {"text": _fitted(told, TEXT_LIMIT)}}
    if secret is None:
        return body
    signed = hmac.new(f"{seconds}\n{secret}".encode(), b"", sha256).digest()
    return {"timestamp": str(seconds), "sign": b64encode(signed).decode(), **body}


def dingtalk(told: str) -> dict[str, Any]:
    """A text."""
    return {"msgtype": "text", "text": {"content": _fitted(told, TEXT_LIMIT)}}


def dingtalk_signature(secret: str | None, milliseconds: int) -> dict[str, str]:
    """What joins a DingTalk address: the time, and an HMAC-SHA256 of "time, line feed, secret" under the
    secret. Nothing where the bot is not secured by a signature."""
    if secret is None:
        return {}
    signed = hmac.new(secret.encode(), f"{milliseconds}\n{secret}".encode(), sha256).digest()
    return {"timestamp": str(milliseconds), "sign": b64encode(signed).decode()}


def wecom(told: str) -> dict[str, Any]:
    """A text."""
    return {"msgtype": "text", "text": {"content": _fitted(told, WECOM_LIMIT)}}


def pagerduty(one: Message, portfolio: str, routing_key: str) -> dict[str, Any]:
    """A trigger, or a resolve under the same `dedup_key`; a repeated trigger joins the open incident."""
    key = f"lendsignal/{portfolio}/{one.key}"[:255]
    if one.state == "well":
        return {"routing_key": routing_key, "event_action": "resolve", "dedup_key": key}
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": key,
        "payload": {
            "summary": _shortened(one.said, SUMMARY_LIMIT),
            "source": f"lendsignal {portfolio}",
            "severity": "info" if one.state == "test" else one.severity,
            "timestamp": _stamp(one.since_us),
            "class": one.kind,
            "custom_details": {"key": one.key, "do": one.do},
        },
        "client": "lendsignal",
    }


def webhook(one: Message, portfolio: str) -> dict[str, Any]:
    """Standard Webhooks' form of an event: what it is, when it was, and its facts."""
    return {
        "type": f"alert.{one.state}",
        "timestamp": _stamp(one.at_us),
        "data": {
            "key": one.key,
            "kind": one.kind,
            "severity": one.severity,
            "said": one.said,
            "do": one.do,
            "since": _stamp(one.since_us),
            "portfolio": portfolio,
        },
    }


def message_id(one: Message, portfolio: str) -> str:
    """The same for the same message, so that a receiver can drop one that came twice."""
    words = f"{portfolio}\n{one.key}\n{one.state}\n{one.since_us}\n{one.at_us if one.state != 'open' else 0}"
    return f"alert_{sha256(words.encode()).hexdigest()[:24]}"


def problem(kind: str, response: Response) -> str | None:
    """Why a service did not take it, in a word or two; `None` where it did.

    Feishu, DingTalk and WeCom answer 200 and say in the body what is wrong; only a code is repeated.
    """
    if not 200 <= response.status < 300:
        return f"http_{response.status}"
    field = {"feishu": "code", "dingtalk": "errcode", "wecom": "errcode"}.get(kind)
    if field is None:
        return None
    try:
        answer = msgspec.json.decode(response.body)
    except msgspec.DecodeError:
        return "unreadable_answer"
    code = answer.get(field, answer.get("StatusCode")) if isinstance(answer, dict) else None
    if code == 0:
        return None
    return f"{field}_{code}" if isinstance(code, int) else "unreadable_answer"


def with_query(url: str, query: Mapping[str, str]) -> str:
    """The address with these joined to it."""
    added = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return url if not added else f"{url}{'&' if '?' in url else '?'}{added}"


def _paragraph(one: Message, portfolio: str, timezone: str) -> str:
    head = f"{HEADS[one.state]} · lendsignal {portfolio}"
    if one.state == "well":
        return f"{head}\n{one.said}: no more, since {_local(one.at_us, timezone)}"
    lines = [head if one.state == "test" else f"{head} · {one.severity}", one.said]
    if one.state != "test":
        lines.append(f"since {_local(one.since_us, timezone)}")
    return "\n".join([*lines, *([f"→ {one.do}"] if one.do else [])])


def _local(us: int, timezone: str) -> str:
    return f"{from_us(us).astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M} {timezone}"


def _stamp(us: int) -> str:
    return from_us(us).isoformat(timespec="milliseconds")[:23] + "Z"


def _shortened(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


def _fitted(told: str, most: int) -> str:
    """So many bytes of it at most, cut between letters."""
    data = told.encode()
    return told if len(data) <= most else data[: most - 3].decode(errors="ignore") + "…"
