"""Kwai (Kuaishou international), events by click id. EXPERIMENTAL: no official page in English is public.

Built from public implementations of the Events API and from Kwai's page for measurement partners. One
event a request, without an id or a time of its own: Kwai counts it when it arrives, and cannot tell a
repeat. Money is a decimal string.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    BodyAuth,
    Hold,
    Item,
    Request,
    Response,
    Spec,
    Trial,
    body_json,
    by_status,
    present,
)
from lendsignal.model import Accepted, Delivery, Outcome, Paused, Rejected, Retry, Skip, SkipReason, plain
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for Kwai.

    `way`: `events` posts to the Events API of a pixel; `postback` calls the address that measurement
    partners call, for which Kwai must have allowed it. `testing`: marks events as a trial (`events` only).
    """

    pixel_id: Annotated[
        str,
        Meta(pattern=r"^[0-9]+$", description="the pixel of Events Manager", examples=["270123456789012"]),
    ]
    token: Annotated[Secret, Meta(description="the pixel's Events API token")]
    way: Annotated[
        Literal["events", "postback"], Meta(description="the Events API, or the partners' postback")
    ] = "events"
    testing: Annotated[bool, Meta(description="marks events as a trial")] = False


SPEC = Spec(
    name="kwai",
    label="Kwai (experimental)",
    docs="https://docs.qingque.cn/",
    docs_read="2026-11-22",
    hosts=("www.adsnebula.com",),
    auth=BodyAuth("access_token", "token"),
    # Kwai knows nobody but by the click: `encode` looks for its id.
    any_of_ids=(),
    # No limit is published. An event counts as it arrives, and a week late it would teach the wrong lesson.
    max_age=timedelta(days=7),
    # No figure is published: a cautious one.
    per_second=20,
    # A repeat would be a second conversion: what may have arrived waits for a person.
    on_unknown=Hold(),
)

FIELDS = frozenset(
    "?clickid ?currency ?event_name ?is_attributed ?revenue ?revenue_usd clickid currency event_name "
    "header:Accept is_attributed mmpcode pixelId pixelSdkVersion properties.content_id "
    "properties.content_type properties.currency properties.value testFlag trackFlag value".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

_NAME = re.compile(r"EVENT_[A-Z0-9_]+")
_json = msgspec.json.Encoder(order="deterministic").encode


def problem_with_name(name: str) -> str | None:
    """Why Kwai would not take this event name, or `None`."""
    if not name.strip():
        return "is empty"
    if _NAME.fullmatch(name):
        return None
    return "is no event of Kwai's: they read EVENT_… in capitals, such as EVENT_PURCHASE"


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as Kwai's object, or as the query of the postback.

    Skipped without a click id, and for a user who does not let ad platforms have data or be profiled:
    Kwai has no field that says either.
    """
    consent, click = delivery.consent, delivery.device.kwai_click_id
    if consent is not None and (consent.ad_user_data is False or consent.ad_personalization is False):
        return Skip(SkipReason.NO_CONSENT)
    if not click:
        return Skip(SkipReason.NO_DEVICE_ID)
    value = delivery.value
    # Value and currency stand together; a loss is not told, the event is.
    amount = plain(value.amount) if value is not None and value.amount >= 0 else None
    currency = value.currency if value is not None and amount is not None else None
    if settings.way == "postback":
        return present(
            clickid=click,
            is_attributed="1",
            event_name=delivery.name,
            revenue_usd=amount if currency == "USD" else None,
            revenue=amount,
            currency=currency,
        )
    # Kwai has no place for an event's id; the content's is where a person would look for it.
    properties = present(content_id=delivery.id, content_type="product", value=amount, currency=currency)
    return present(
        clickid=click,
        event_name=delivery.name,
        pixelId=settings.pixel_id,
        is_attributed=1,
        mmpcode="PL",
        pixelSdkVersion="9.9.9",
        properties=_json(properties).decode(),
        value=amount,
        currency=currency,
        testFlag=False,
        # While testing it is this flag that shows the event in Kwai's trial page.
        trackFlag=settings.testing,
    )


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One POST to which the sender adds `access_token`; or one GET, which needs none."""
    item = items[0]
    if settings.way == "postback":
        return Request(method="GET", url=f"https://www.adsnebula.com/log/ad?{urlencode(item)}")
    headers = {"Accept": "application/json;charset=utf-8"}
    url = "https://www.adsnebula.com/log/common/api"
    return Request(method="POST", url=url, json=item, headers=headers)


_RESULTS: Mapping[Any, Outcome] = {
    1: Accepted(),
    # Some public implementations count it as a yes, others do not.
    0: Accepted(confirmed=False, reason="unexpected_answer"),
}


def trial(settings: Settings) -> Trial:
    """The Events API marks trials by a flag; the postback has none."""
    if settings.way == "postback":
        return Trial(
            way="none",
            instead="Kwai's postback has no mark for tests: ask your contact at Kwai to watch the first one, "
            'or set way = "events"',
        )
    return Trial(
        way="marked",
        look="Events Manager → the pixel → Test events",
        sees="the event under its name, for a click id that Kwai has given out",
        may_count=True,
    )


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The same with the flag that shows it in the trial page."""
    return request([{**items[0], "trackFlag": True}], settings)


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By `result` in the body where it came with a 2xx; a refusal that speaks of the token pauses."""
    if not 200 <= response.status < 300:
        return [by_status(response)] * count
    body = body_json(response)
    result = body.get("result") if isinstance(body, dict) else None
    if type(result) is not int:
        return [Retry("unreadable_answer")] * count
    outcome: Outcome | None = _RESULTS.get(result)
    if outcome is None:
        refused_token = "token" in str(body.get("error_msg")).lower()
        outcome = Paused("bad_token") if refused_token else Rejected("invalid_event")
    return [outcome] * count
