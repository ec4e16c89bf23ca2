"""A webhook of the lender's own, signed by Standard Webhooks 1.0.0.

One JSON object a request: ours, or the lender's own by a template. Times are RFC 3339 in UTC; money is a
decimal string, losses included. The endpoint treats the `webhook-id` header (our `id`) as its idempotency
key.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    Item,
    Request,
    Response,
    Spec,
    Trial,
    WebhookAuth,
    by_status,
    present,
    public_ip,
)
from lendsignal.model import (
    DEVICE_SCOPED,
    INSTALL_SCOPED,
    Accepted,
    Delivery,
    IdKind,
    Outcome,
    Paused,
    Skip,
    id_of,
    plain,
)
from lendsignal.model.secret import Secret


class Fact(Struct, frozen=True):
    """A place in a template that a fact of the delivery takes, by its path: `("ids", "gaid")`."""

    path: tuple[str, ...]


class Text(Struct, frozen=True):
    """A text of a template with facts inside: it is left out where one of them is missing."""

    parts: tuple[str | Fact, ...]


@lru_cache(maxsize=64)
def template_of(text: str) -> dict[str, Any]:
    """The template as JSON with a `Fact` or `Text` for every string that holds placeholders.

    JSON comes first and placeholders after it, so that no fact can break out of its string. `{{` and `}}`
    stand for the braces themselves. ValueError names the mistake and its place.
    """
    try:
        template = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"template is not JSON: {error}") from error
    if not isinstance(template, dict) or not template:
        raise ValueError("template must be a JSON object with at least one key")
    return {key: _compiled(value, key) for key, value in template.items()}


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for a webhook.

    ValueError: an address we do not send to, or a template with a mistake.

    `url`: where to POST; its host is the one host this destination may reach. `secret`: 24 to 64 random
    bytes in base64 after `whsec_`. `allow_http`: take an address without TLS. `allow_private`: let the
    sender reach loopback and private addresses. `ordered_by`: send what concerns one user, or one device,
    one after the other in the order it occurred; what waits holds back its own user or device only.
    `template`: the body as the receiver wants it, a JSON object with placeholders such as `{value}`.
    """

    url: Annotated[str, Meta(description="where to POST", examples=["https://hooks.acme.example/lendsignal"])]
    secret: Annotated[Secret, Meta(description="the signing secret, `whsec_…`")]
    allow_http: Annotated[bool, Meta(description="take an address without TLS")] = False
    allow_private: Annotated[bool, Meta(description="reach loopback and private addresses")] = False
    ordered_by: Annotated[
        Literal["user", "device"] | None, Meta(description="keep the order of each user, or of each device")
    ] = None
    template: Annotated[
        str | None,
        Meta(description='the body as JSON with placeholders, such as `{"who": "{user_id}"}`'),
    ] = None

    def __post_init__(self) -> None:
        if self.template is not None:
            template_of(self.template)
        parts = urlsplit(self.url)
        if not parts.hostname:
            raise ValueError("url has no host")
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_http):
            raise ValueError("url must start with https:// (or with http:// where allow_http = true)")
        if parts.username is not None or parts.password is not None:
            raise ValueError("url must not hold a user name or password: use secret")
        if parts.fragment:
            raise ValueError("url must not hold a # part: it is never sent")


SPEC = Spec(
    name="webhook",
    label="Webhook",
    docs="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
    docs_read="2026-11-22",
    hosts=(),
    auth=WebhookAuth("secret"),
    any_of_ids=(),
    max_age=timedelta(days=7),
    per_second=50,
    # The endpoint's part of the contract: it drops an id it has already seen.
    dedupe=timedelta(days=7),
    negative_value=True,
    neutral_names=False,
    # The endpoint reads `occurred_at`: what comes after a later one is told as it is.
    out_of_order="send",
)

FIELDS = frozenset(
    "app app_version brand bundle consent.ad_personalization consent.ad_user_data "
    "consent.gdpr_applies country currency id ids.adjust_adid ids.android_id ids.appsflyer_id "
    "ids.branch_identity ids.firebase_app_instance_id ids.gaid ids.idfa ids.idfv "
    "ids.kochava_device_id ids.meta_anon_id ids.oaid ids.singular_sdid ip model occurred_at "
    "os_version platform type user_id value".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

FACTS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(
        "type id occurred_at occurred_at_seconds occurred_at_ms user_id brand app platform bundle country "
        "value value_number currency os_version model app_version ip".split(),
        (),
    ),
    "ids": [kind.value for kind in IdKind],
    "consent": ["ad_user_data", "ad_personalization", "gdpr_applies"],
}
"""What a placeholder may name: a fact, or one inside it after a dot, such as `ids.gaid`."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_MISSING: Any = object()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_IDS = tuple((kind, kind.value) for kind in IdKind)

_SET_UP: Mapping[int, Outcome] = {
    # A redirect is not followed, as the standard advises: the address in the settings is to be corrected.
    **{status: Paused("redirected") for status in (301, 302, 303, 307, 308)},
    404: Paused("no_such_endpoint"),
    405: Paused("no_such_endpoint"),
    410: Paused("endpoint_gone"),
}


def problem_with_name(name: str) -> str | None:
    """Why this cannot be an event's `type`, or `None`: anything but blank will do."""
    return None if name.strip() else "is empty"


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as the JSON object that docs/how-to/connect-a-webhook.md describes field by field.

    With a template: `{"id", "body"}`, where the body is what leaves the house.
    """
    facts = document(delivery)
    if settings.template is None:
        return facts
    milliseconds = (delivery.occurred_at - _EPOCH) // timedelta(milliseconds=1)
    facts["occurred_at_ms"], facts["occurred_at_seconds"] = milliseconds, milliseconds // 1000
    if delivery.value is not None:
        facts["value_number"] = float(delivery.value.amount)
    body = _filled(template_of(settings.template), facts)
    return {"id": delivery.id, "body": {} if body is _MISSING else body}


def lane(delivery: Delivery, settings: Settings) -> str | None:
    """What is kept in order, as `ordered_by` has it; `None` where nothing asks for it.

    A device goes by the id that outlives a reinstall, else by its installation's; one without any id
    needs no order.
    """
    match settings.ordered_by:
        case "user":
            return f"{delivery.app.brand}:{delivery.user_id}"
        case "device":
            found = ((kind, id_of(delivery.device, kind)) for kind in (*DEVICE_SCOPED, *INSTALL_SCOPED))
            return next((f"{kind}:{value}" for kind, value in found if value is not None), None)
        case None:
            return None


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One POST; the sender adds the three `webhook-` headers, signed over the very bytes it sends."""
    item = items[0]
    body = item if settings.template is None else item["body"]
    return Request(method="POST", url=settings.url, json=body, key=item["id"])


def trial(settings: Settings) -> Trial:
    """A test event carries the header `lendsignal-test: true`, whatever its body looks like."""
    return Trial(
        way="marked",
        look=f"the log of {urlsplit(settings.url).hostname}",
        sees="one POST with the header lendsignal-test: true, its body as every other, and a signature that "
        "your receiver finds right",
        may_count=True,
    )


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The same with a header that tells it apart; the signature covers the body as ever."""
    made = request(items, settings)
    return msgspec.structs.replace(made, headers={**made.headers, "lendsignal-test": "true"})


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By status. A moved, missing or gone endpoint waits for a person; 409 says that the id is known."""
    if response.status == 409:
        return [Accepted(reason="already_known")] * count
    return [_SET_UP.get(response.status) or by_status(response)] * count


def document(delivery: Delivery) -> dict[str, Any]:
    """The body without a template, and what placeholders stand for; a Kafka message has the same."""
    device, app, value, consent = delivery.device, delivery.app, delivery.value, delivery.consent
    ids = {}
    for kind, field in _IDS:
        if getattr(device, field) and (identifier := id_of(device, kind)) is not None:
            ids[field] = identifier
    return present(
        type=delivery.name,
        id=delivery.id,
        occurred_at=delivery.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z",
        user_id=delivery.user_id,
        brand=app.brand,
        app=app.name,
        platform=app.platform,
        bundle=app.identifier,
        country=app.country,
        value=None if value is None else plain(value.amount),
        currency=None if value is None else value.currency,
        ids=ids or None,
        os_version=device.os_version,
        model=device.model,
        app_version=device.app_version,
        ip=public_ip(device.ip),
        consent=None if consent is None else _consent(delivery),
    )


def _compiled(value: Any, at: str) -> Any:
    """A part of a template, with its strings read; `at` says where it stands."""
    match value:
        case dict():
            return {key: _compiled(inner, f"{at}.{key}") for key, inner in value.items()}
        case list():
            return [_compiled(inner, f"{at}[{place}]") for place, inner in enumerate(value)]
        case str():
            return _read(value, at)
        case _:
            return value


def _read(text: str, at: str) -> str | Fact | Text:
    """A string of a template: itself, one fact that keeps its own type, or text with facts inside."""
    parts: list[str | Fact] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        match found[0]:
            case "{{" | "}}":
                parts.append(found[0][0])
            case "{" | "}":
                raise ValueError(f"template, {at}: a lone {found[0]}; write it twice for the brace itself")
            case _:
                parts.append(_named(found[1], at))
    parts.append(text[end:])
    parts = [part for part in parts if part != ""]
    if not any(isinstance(part, Fact) for part in parts):
        return "".join(str(part) for part in parts)
    if len(parts) == 1:
        return parts[0]
    for part in parts:
        if isinstance(part, Fact) and len(part.path) == 1 and FACTS[part.path[0]]:
            raise ValueError(f"template, {at}: {{{part.path[0]}}} is an object and must stand alone")
    return Text(tuple(parts))


def _named(name: str, at: str) -> Fact:
    """The fact of that name; ValueError with the nearest one where there is none."""
    first, _, inner = name.partition(".")
    if name in FACTS or (inner and inner in FACTS.get(first, ())):
        return Fact(tuple(name.split(".")))
    known = [*FACTS, *(f"{outer}.{each}" for outer, inside in FACTS.items() for each in inside)]
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {{{near[0]}}}?" if near else f"; there are {', '.join(known)}"
    raise ValueError(f"template, {at}: {{{name}}} names no fact{hint}")


def _filled(value: Any, facts: Mapping[str, Any]) -> Any:
    """A part of a template with its facts; `_MISSING` where one is missing, or nothing is left of an object
    or a list that had something in it."""
    if isinstance(value, Fact):
        found: Any = facts
        for step in value.path:
            if (found := found.get(step, _MISSING)) is _MISSING:
                break
        return found
    if isinstance(value, Text):
        said = [_filled(part, facts) if isinstance(part, Fact) else part for part in value.parts]
        return _MISSING if _MISSING in said else "".join(map(_as_text, said))
    if isinstance(value, dict):
        kept = {key: made for key in value if (made := _filled(value[key], facts)) is not _MISSING}
        return kept if kept or not value else _MISSING
    if isinstance(value, list):
        left = [made for inner in value if (made := _filled(inner, facts)) is not _MISSING]
        return left if left or not value else _MISSING
    return value


def _as_text(fact: Any) -> str:
    """A fact inside a longer text, as JSON would write it."""
    return str(fact).lower() if isinstance(fact, bool) else str(fact)


def _consent(delivery: Delivery) -> dict[str, bool] | None:
    consent = delivery.consent
    if consent is None:
        return None
    said = present(
        ad_user_data=consent.ad_user_data,
        ad_personalization=consent.ad_personalization,
        gdpr_applies=consent.gdpr_applies,
    )
    return said or None
