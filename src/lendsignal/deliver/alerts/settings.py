"""What a lender may set about alerts: who is told, how, and when."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from lendsignal.model import Secret
from lendsignal.model.alarm import AlarmKind

Kind = Literal["webhook", "slack", "feishu", "dingtalk", "wecom", "email", "pagerduty"]
Severity = Literal["critical", "warning"]

ADDRESSED = ("webhook", "slack", "feishu", "dingtalk", "wecom")
"""Kinds whose address must be given; for all but a webhook whoever knows it may write there."""

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
"""PagerDuty's own; its European accounts and compatible services have others."""

VENDOR_HOSTS: Mapping[str, tuple[str, ...]] = {
    "feishu": ("open.feishu.cn", "open.larksuite.com"),
    "dingtalk": ("oapi.dingtalk.com",),
    "wecom": ("qyapi.weixin.qq.com",),
}
"""Where these services have their bots. Slack's and PagerDuty's forms are spoken by others too."""

MAILBOX = r"^[^@\s<>]+@[^@\s<>]+$"


class HealthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the service is watched."""

    every: Annotated[timedelta, Meta(description="how often is looked")] = timedelta(minutes=1)
    delay: Annotated[
        timedelta, Meta(description="alarm where a tenth of a day's events or deliveries took longer")
    ] = timedelta(hours=3)
    calm: Annotated[
        timedelta, Meta(description="how long an alarm must stay away before it counts as ended")
    ] = timedelta(minutes=15)

    def __post_init__(self) -> None:
        if self.every < timedelta(seconds=1) or self.delay <= timedelta(0) or self.calm < timedelta(0):
            raise ValueError("every must be 1s or more, delay more than 0s, calm not below 0s")


class AlertSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place where people are told. ValueError: a key is missing or does not belong to the kind."""

    kind: Annotated[
        Kind, Meta(description="webhook, slack, feishu (Lark too), dingtalk, wecom, email or pagerduty")
    ]
    enabled: Annotated[bool, Meta(description="false: nobody is told here")] = True
    url: Annotated[
        Secret | None,
        Meta(description="where to POST, by reference: in most of these addresses stands the right to write"),
    ] = None
    secret: Annotated[
        Secret | None,
        Meta(
            description="webhook: `whsec_…`; feishu, dingtalk: the bot's signing secret; pagerduty: the "
            "routing key"
        ),
    ] = None
    host: Annotated[str | None, Meta(description="email: the mail server")] = None
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)] | None,
        Meta(description="email: its port; 587, with `tls` 465, without any encryption 25"),
    ] = None
    security: Annotated[
        Literal["starttls", "tls", "none"], Meta(description="email: how the connection is encrypted")
    ] = "starttls"
    ca_file: Annotated[
        str | None, Meta(description="email: certificates to trust beside the machine's, as a PEM file")
    ] = None
    user: Annotated[str | None, Meta(description="email: the account, where the server wants one")] = None
    password: Annotated[Secret | None, Meta(description="email: its password")] = None
    sender: Annotated[
        Annotated[str, Meta(pattern=MAILBOX)] | None, Meta(description="email: the sender's address")
    ] = None
    to: Annotated[
        tuple[Annotated[str, Meta(pattern=MAILBOX)], ...], Meta(description="email: who gets it")
    ] = ()
    severity: Annotated[
        Severity, Meta(description="`critical`: only what is urgent; `warning`: everything")
    ] = "warning"
    only: Annotated[
        tuple[AlarmKind, ...],
        Meta(description="kinds of alarms to tell here, such as silent, paused; all by default"),
    ] = ()
    repeat: Annotated[
        timedelta | None, Meta(description='how soon an open alarm is told again; `"0s"`: never')
    ] = timedelta(hours=4)
    quiet: Annotated[
        Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$")] | None,
        Meta(description='hours in which only critical alarms are told, such as "22:00-07:00"'),
    ] = None
    timezone: Annotated[str, Meta(description="IANA time zone of `quiet`, and of times in texts")] = "UTC"
    timeout: Annotated[timedelta, Meta(description="how long to wait for an answer")] = timedelta(seconds=10)
    allow_http: Annotated[bool, Meta(description="take an address without TLS")] = False
    allow_private: Annotated[
        bool, Meta(description="reach loopback and private addresses, and any host in a vendor's place")
    ] = False

    def __post_init__(self) -> None:
        missing = [name for name in self._needed() if not getattr(self, name)]
        if missing:
            raise ValueError(f"{self.kind} needs {' and '.join(missing)}")
        if self.kind == "email" and self.security == "none" and self.password is not None:
            raise ValueError('a password is not sent without encryption: set security = "starttls" or "tls"')
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password stand together")
        if self.timeout <= timedelta(0):
            raise ValueError("timeout must be longer than 0s")
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            raise ValueError("timezone must be an IANA time zone such as Africa/Lagos") from None

    def _needed(self) -> tuple[str, ...]:
        if self.kind == "email":
            return ("host", "sender", "to")
        if self.kind == "pagerduty":
            return ("secret",)
        return ("url", "secret") if self.kind == "webhook" else ("url",)

    def quiet_minutes(self) -> tuple[int, int] | None:
        """The quiet hours as minutes since midnight: from, and until."""
        if self.quiet is None:
            return None
        found = re.findall(r"([0-9]{2}):([0-9]{2})", self.quiet)
        begin, end = (int(hour) * 60 + int(minute) for hour, minute in found)
        return begin, end


def problem_with_address(settings: AlertSettings, url: str) -> tuple[str, str] | None:
    """What is wrong with an address, and what would be right. It is not repeated: it is a secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "no address", "an address such as https://hooks.acme.example/alerts"
    if not host or not url.isascii() or not url.isprintable():
        return "no address", "an address such as https://hooks.acme.example/alerts"
    if parts.scheme != "https" and not (parts.scheme == "http" and settings.allow_http):
        return "no https://", "an address with https:// (or http:// where allow_http = true)"
    hosts = VENDOR_HOSTS.get(settings.kind)
    if hosts is not None and host not in hosts and not settings.allow_private:
        return "another host", f"{' or '.join(hosts)}, or any where allow_private = true"
    return None
