"""A webhook of the lender's own, signed by Standard Webhooks 1.0.0.

One JSON object a request. Times are RFC 3339 in UTC; money is a decimal string, losses included.
The endpoint treats `id` (and the `webhook-id` header, which is the same) as its idempotency key.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    Item,
    Request,
    Response,
    Spec,
    WebhookAuth,
    by_status,
    present,
    public_ip,
)
from lendsignal.model import Accepted, Delivery, IdKind, Outcome, Paused, Skip, id_of, plain
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for a webhook. ValueError: an address we do not send to.

    `url`: where to POST; its host is the one host this destination may reach. `secret`: 24 to 64 random
    bytes in base64 after `whsec_`. `allow_http`: take an address without TLS. `allow_private`: let the
    sender reach loopback and private addresses.
    """

    url: Annotated[str, Meta(description="where to POST", examples=["https://hooks.acme.example/lendsignal"])]
    secret: Annotated[Secret, Meta(description="the signing secret, `whsec_…`")]
    allow_http: Annotated[bool, Meta(description="take an address without TLS")] = False
    allow_private: Annotated[bool, Meta(description="reach loopback and private addresses")] = False

    def __post_init__(self) -> None:
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
)

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
    """One conversion as the JSON object that docs/how-to/connect-a-webhook.md describes field by field."""
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


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One POST; the sender adds the three `webhook-` headers, signed over the very bytes it sends."""
    item = items[0]
    return Request(method="POST", url=settings.url, json=item, key=item["id"])


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By status. A moved, missing or gone endpoint waits for a person; 409 says that the id is known."""
    if response.status == 409:
        return [Accepted(reason="already_known")] * count
    return [_SET_UP.get(response.status) or by_status(response)] * count


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
