"""The facts of a platform's interface, and the shapes every destination file is made of.

A destination file holds, in this order: `Settings`, `SPEC`, `FIELDS`, `problem_with_name`, `encode`,
`request`, `classify`; and, only where the platform needs it, `lane` (what must arrive in order), `ask` with
`verdict` (an answer that comes later), `trial` with `trial_request` (a test event), and `validation_request`
with `problems_found` (a dry run). Shared code checks ids and age against `SPEC`, keeps lanes, batches, paces,
signs, sends, asks and records.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct

from lendsignal.model import (
    Accepted,
    App,
    Delivery,
    Device,
    IdKind,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Skip,
    id_of,
)

Item: TypeAlias = Mapping[str, Any]
"""One event object as the platform wants it."""


class Bearer(Struct, frozen=True):
    """`Authorization: Bearer <secret>`; `field` names the secret in the destination's settings. `optional`:
    where the lender set none, the request goes without the header."""

    field: str
    optional: bool = False


class HeaderAuth(Struct, frozen=True):
    """A header of the platform's own that carries the bare secret."""

    name: str
    field: str


class QueryAuth(Struct, frozen=True):
    """The secret as a query parameter, joined to the address at the last moment."""

    name: str
    field: str


class BodyAuth(Struct, frozen=True):
    """The secret as a top-level key of the JSON or form body, joined to it at the last moment."""

    name: str
    field: str


class GoogleAuth(Struct, frozen=True):
    """A bearer token of Google's, fetched with the credentials file in the secret `field` (a service account
    or an authorized user), for one `scope`. `headers` are further secrets: header name → settings field."""

    field: str
    scope: str
    headers: Mapping[str, str] = {}


class MetaAuth(Struct, frozen=True):
    """Meta: `access_token` in the query and, where an app secret is set, `appsecret_proof`."""

    token_field: str
    app_secret_field: str


class WebhookAuth(Struct, frozen=True):
    """Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature` (HMAC-SHA256)."""

    field: str


class InstallAuth(Struct, frozen=True):
    """The secret joins no request: it signs the tokens by which installations fetch what is theirs."""

    field: str


class BrokerAuth(Struct, frozen=True):
    """The secrets in `fields` join no request: they open the connection to the brokers."""

    fields: tuple[str, ...]


Auth = (
    Bearer
    | HeaderAuth
    | QueryAuth
    | BodyAuth
    | GoogleAuth
    | MetaAuth
    | WebhookAuth
    | InstallAuth
    | BrokerAuth
)

SHELF = "relay:shelf"
"""The address of a request that stays in the house: the app fetches what it holds."""

TOPIC_SCHEME = "kafka"
"""What the address of a message for a topic begins with: `kafka://broker:9092/topic`."""


class Retries(Struct, frozen=True):
    """`on_unknown`: send again, at most `times`, after a request that left and was never answered."""

    times: int


class Hold(Struct, frozen=True):
    """`on_unknown`: after a request that left and was never answered, wait for a person."""


class Corrections(Struct, frozen=True, kw_only=True):
    """What a platform lets be changed about a conversion that it has.

    `within`: how long after the conversion. `retracts`: it can be taken back; else only its value changes.
    `on_proof`: only of a conversion that the platform said for certain to have, because it would count what
    it has not as a new one.
    """

    within: timedelta
    retracts: bool
    on_proof: bool = False


class Spec(Struct, frozen=True, kw_only=True):
    """What is true of a platform for every lender; `docs_read` is the date its page was read.

    `hosts`: the only hosts a request may go to; empty where the settings' own `url` declares it
    (`hosts_of`). `any_of_ids`: a delivery without one of them is skipped; empty where none is needed.
    `max_age`: the platform's window at sending. `window_closes`: when the window of an event that
    occurred at that moment closes, where this is an hour of the day and not an age (`closes_at`).
    `per_second`: requests a second an account takes.
    `batch`: events a request; `batch_by`: the item key that must be equal within one request.
    `dedupe`: how long the platform promises to drop a repeated id, `None` for never.
    `late`: what to do past the window: `skip`, or `send` where the platform only re-dates it.
    `tries_on`: retry reasons that end a delivery as rejected after so many tries, where the platform
    names such a limit; every other reason is tried until the window closes.
    `used_percent`: how much of the account's allowance is used, read from an answer's headers.
    `burst`: requests that may go at once; a second's worth where the platform says nothing.
    `linger`: how long a delivery may wait for company in its batch.
    `out_of_order`: for a delivery that comes after a later one of its lane was sent: `restamp` it to
    `rises` after that one, `skip` it, or `send` it as it is.
    `verdict_after`, `verdict_within`: when a pending verdict is first asked for, and when asking ends.
    `transport`: `shelf` where requests go to no host but wait at `SHELF` until the app fetches them, `topic`
    where they are messages for the brokers in the settings.
    `corrections`: what can be changed about a conversion later; `None` for nothing. `encode` then makes the
    item of a correction too (`Delivery.corrected_at`), and `batch_by` keeps it apart where its request is
    another.
    """

    name: str
    label: str
    docs: str
    docs_read: str
    hosts: tuple[str, ...]
    auth: Auth
    any_of_ids: tuple[IdKind, ...]
    max_age: timedelta
    per_second: float
    batch: int = 1
    batch_by: str | None = None
    max_bytes: int | None = None
    dedupe: timedelta | None = None
    late: Literal["send", "skip"] = "skip"
    on_unknown: Retries | Hold = Retries(3)
    negative_value: bool = False
    neutral_names: bool = True
    window_closes: Callable[[datetime], datetime] | None = None
    tries_on: Mapping[str, int] = {}
    used_percent: "Callable[[Response], float | None] | None" = None
    burst: float | None = None
    linger: timedelta = timedelta(0)
    out_of_order: Literal["send", "restamp", "skip"] = "send"
    rises: timedelta = timedelta(0)
    verdict_after: timedelta = timedelta(seconds=30)
    verdict_within: timedelta = timedelta(hours=24)
    transport: Literal["http", "shelf", "topic"] = "http"
    corrections: Corrections | None = None

    def closes_at(self, occurred_at: datetime) -> datetime:
        """From when on an event that occurred then is late (aware, UTC): `late` says what follows."""
        return occurred_at + self.max_age if self.window_closes is None else self.window_closes(occurred_at)


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request without its secret: safe to keep for retry and audit.

    `json` or `form` becomes the body; `key` is what signing schemes name the message by.
    """

    method: str
    url: str
    json: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = {}
    key: str = ""


def fields_of(request: Request) -> frozenset[str]:
    """Everything that a request tells, by name: `user_data.madid`, `extinfo[]`, `?rdid`, `header:User-Agent`.

    Lists are told by their items, and text that holds a JSON object by what is in it; the address's own
    steps, which name the account, are not among them.
    """
    query = (f"?{name}" for name, _ in parse_qsl(urlsplit(request.url).query))
    headers = (f"header:{name}" for name in request.headers)
    body = request.json if request.form is None else request.form
    return frozenset((*query, *headers, *_told(body, "")))


def _told(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("{"):
        with suppress(msgspec.DecodeError):  # text may only look like it
            value = msgspec.json.decode(value)
    match value:
        case dict():
            for name, inner in value.items():
                yield from _told(inner, f"{path}.{name}" if path else name)
        case list() | tuple():
            for inner in value:
                yield from _told(inner, f"{path}[]")
        case None:
            pass
        case _:
            yield path


class Response(Struct, frozen=True, kw_only=True):
    """The platform's answer: header names in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Trial(Struct, frozen=True, kw_only=True):
    """What a test event is at a platform, and what a person should then see of it.

    `way`: `marked`, the platform shows test events apart from real ones; `dry_run`, it checks the event and
    keeps nothing; `none`, it has no such mode, and `instead` says what to do. `look` is the place in the
    platform's own console, `sees` what should stand there. `may_count`: the platform does not promise to keep
    it out of its figures. `code`: what the platform's code for tests is called and where it is found; `None`
    where it asks for none.
    """

    way: Literal["marked", "dry_run", "none"]
    look: str = ""
    sees: str = ""
    may_count: bool = False
    code: str | None = None
    instead: str = ""


class Erasing(Struct, frozen=True, kw_only=True):
    """How a platform is asked to forget an installation; `docs_read` is the date its page was read.

    `hosts`: where such requests go. `per_minute`: how many of them the platform takes. `verdict_after`: when
    it is first asked whether it is done; `None` where its answer says so at once. `verdict_within`: how long
    it may take by its own word.
    """

    docs: str
    docs_read: str
    hosts: tuple[str, ...]
    auth: Auth
    per_minute: int
    verdict_after: timedelta | None = None
    verdict_within: timedelta = timedelta(days=30)


class Subject(Struct, frozen=True, kw_only=True):
    """What a platform is to forget: an installation by one of the platform's own kinds of id.

    `request` names the request for ever (a UUID), so that asking again asks nothing new.
    """

    app: App
    kind: str
    value: str
    request: str
    asked_at: datetime


class Destination(Protocol):
    """What a destination file is, seen as a type.

    `FIELDS` is the firewall, by the names of `fields_of`: the exam proves over any delivery there can be that
    no request tells anything else, so that nothing has to be looked at while sending. What only some
    platforms need is looked for by name:

    `lane(delivery, settings) -> str | None`: deliveries of one lane are sent one after the other, in the
    order they occurred; `None` where this one needs no order.
    `ask(handle, settings) -> Request`: asks for the verdict on a request that ended as `Pending`.
    `verdict(response, count) -> Sequence[Outcome]`: the answer to that, one outcome for each delivery of
    the request; `Pending` again where the platform still works on it.
    `trial(settings) -> Trial`: what a test event is here.
    `trial_request(items, settings, code) -> Request`: the request of a test event, unless there is no such
    mode; `code` is the platform's code for tests where `Trial.code` asks for one, else empty.
    `validation_request(items, settings) -> Request`: asks the platform to check and keep nothing.
    `problems_found(response) -> tuple[str, ...] | None`: the answer to that, a line a problem; `None` where
    it tells nothing.
    `ERASING: Erasing`: the platform has a call by which it forgets somebody. With it
    `erasure_id(app, device) -> tuple[str, str] | None`: the id (kind, value) that it would know the
    installation by, `no_erasure(settings) -> str | None`: why it cannot be asked, `erasure(subject, settings)
    -> Request`, `erased(response) -> Outcome`: `Accepted` where it is done, `Pending` where that is asked
    later by `erasure_ask(handle, settings) -> Request` and `erasure_verdict(response) -> Outcome`.
    """

    Settings: type[Any]
    SPEC: Spec
    FIELDS: frozenset[str]
    problem_with_name: Callable[[str], str | None]
    encode: Callable[[Delivery, Any], Item | Skip]
    request: Callable[[Sequence[Item], Any], Request]
    classify: Callable[[Response, int], Sequence[Outcome]]


def hosts_of(spec: Spec, settings: Any) -> tuple[str, ...]:
    """The hosts a request may go to: the platform's, or the one of the `url` in the settings.

    None where requests stay in the house; those of its `brokers` where they are messages.
    """
    if spec.transport == "shelf":
        return ()
    if spec.transport == "topic":
        return tuple(urlsplit(f"//{broker}").hostname or "" for broker in settings.brokers)
    return spec.hosts or (urlsplit(settings.url).hostname or "",)


def present(**fields: Any) -> dict[str, Any]:
    """The fields that have a value: `None` is left out, so a missing fact is missing on the wire."""
    return {name: value for name, value in fields.items() if value is not None}


def by_status(response: Response) -> Outcome:
    """The outcome by HTTP status alone; destinations refine it by the body.

    2xx accepted · 401/403 paused · 429 retry uncounted, honouring Retry-After · 408/425 retry ·
    501/505 rejected · other 5xx retry · the rest rejected.
    """
    status = response.status
    if 200 <= status < 300:
        return Accepted()
    if status in (401, 403):
        return Paused(f"http_{status}")
    if status == 429:
        return Retry("throttled", after=retry_after(response), counts=False)
    if status in (408, 425) or (status >= 500 and status not in (501, 505)):
        return Retry(f"http_{status}", after=retry_after(response))
    return Rejected(f"http_{status}")


def retry_after(response: Response) -> timedelta | None:
    """`Retry-After` in seconds, at most a day; a date form or garbage gives `None`."""
    text = response.headers.get("retry-after", "").strip()
    return timedelta(seconds=min(int(text), 86_400)) if text.isdecimal() else None


def body_json(response: Response) -> Any:
    """The body as JSON; `None` where it is not (an edge's HTML page, a half answer)."""
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


SENSITIVE_WORDS = (
    "credit score income default overdue debt reject risk delinq arrears bankrupt fraud salary denied"
).split()
"""Words that tell a borrower's standing. Meta flags names that hold them (since 2 September 2025, "custom
audiences" guide, read 2026-11-22); neutral codes such as `ev_c3` tell the platform nothing."""


def sensitive_word(name: str) -> str | None:
    """The first word in `name` that tells a borrower's standing, or `None`.

    Found inside longer words too (`creditGranted`); `bad` only as a word of its own, for `badge` is harmless.
    """
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    for word in SENSITIVE_WORDS:
        if word in text:
            return word
    return "bad" if re.search(r"(?<![a-z])bad(?![a-z])", text) else None


_PUBLIC_IPV4 = re.compile(
    r"(?!0\.|10\.|127\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\."
    r"|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|22[4-9]\.|2[345]\d\.)"
    r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}",
    re.ASCII,
)


def public_ip(text: str | None) -> str | None:
    """The address if a phone may have it on the open internet: a private one locates nobody.

    IPv4 in dotted form; an IPv6 address that only wraps an IPv4 one is given as IPv4.
    """
    if not text:
        return None
    if ":" in text:
        return _public_ipv6(text)
    return text if _PUBLIC_IPV4.fullmatch(text) else None


def public_ipv4(text: str | None) -> str | None:
    """`public_ip` for platforms that read IPv4 alone: an IPv6 address gives `None`."""
    address = public_ip(text)
    return None if address is None or ":" in address else address


@lru_cache(maxsize=4096)
def _public_ipv6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    if address.ipv4_mapped is not None:
        return public_ip(str(address.ipv4_mapped))
    unusable = (
        address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address in ipaddress.IPv6Network("fc00::/7")
    )
    return None if unusable else str(address)


_ADVERTISING_ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def advertising_id(app: App, device: Device) -> str | None:
    """The advertising id of the app's platform (`gaid`, `idfa`) in lower case.

    `None` where it is missing, all zeros or no UUID: a bad id costs the field, not the event.
    """
    found = id_of(device, IdKind.GAID if app.platform == "android" else IdKind.IDFA)
    return found.lower() if found is not None and _ADVERTISING_ID.fullmatch(found) else None


@lru_cache(maxsize=1024)
def before_att(os_version: str | None) -> bool:
    """True on an iOS before 14.5, where limit-ad-tracking tells what the user allows and ATT does not."""
    parts = [int(part) for part in (os_version or "").split(".")[:2] if part.isdecimal()]
    return bool(parts) and parts < [14, 5]


def limits_tracking(device: Device, platform: Literal["android", "ios"]) -> bool | None:
    """Whether the user limits ad tracking: what ATT says on iOS from 14.5 on, else the phone's own switch.

    ATT "not determined" counts as limited, for the user has not agreed. `None`: the login did not say.
    """
    if platform == "ios" and not before_att(device.os_version):
        return None if device.att_status not in (0, 1, 2, 3) else device.att_status != 3
    return device.limit_ad_tracking


def apple_id(device: Device, kind: Literal[IdKind.IDFA, IdKind.IDFV]) -> str | None:
    """The IDFA or IDFV in upper case, as Apple writes it; one that is no UUID counts as missing."""
    found = id_of(device, kind)
    return found.upper() if found is not None and _ADVERTISING_ID.fullmatch(found) else None
