"""What a lender may set about how events come in."""

import re
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lendsignal.model import Secret

Scope = Literal["events", "segment", "attribution", "relay", "read", "admin"]
"""What a key may be good for: sending events, Segment's calls, an MMP's feed, tokens for apps, reading; and
having users erased, which only a key may that is given `admin` by name."""

EVERY_SCOPE: tuple[Scope, ...] = ("events", "segment", "attribution", "relay", "read")

MAPPED_FIELDS = frozenset(
    "actor application_id grant_id loan_id payment_id loan_number product amount currency fee principal "
    "limit term_days schedule due_date outstanding closes_loan dpd score score_version amount_estimated "
    "person_id purpose revision test time_precision consent email phone".split()
)
"""Fields of an event that a property of a Segment call may fill."""


class SegmentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the calls of a Segment or RudderStack SDK become events."""

    brand: Annotated[
        str | None, Meta(description="the brand of its users; needed where neither app nor brand is clear")
    ] = None
    app: Annotated[
        str | None, Meta(description="the app of every call; by default the one that context.app names")
    ] = None
    events: Annotated[
        dict[str, str],
        Meta(description='name of a track call = our event type, or "skip"; beside the names we know'),
    ] = {}
    fields: Annotated[
        dict[str, str],
        Meta(description="property = our field that it fills, beside the names we know"),
    ] = {}
    unmapped: Annotated[
        Literal["analytics", "refuse", "skip"],
        Meta(description="track calls of other names: kept for analytics, refused, or passed over"),
    ] = "analytics"
    identify: Annotated[
        Literal["logged_in", "registered", "app_opened", "analytics", "skip"],
        Meta(description="what an identify call is"),
    ] = "logged_in"
    views: Annotated[
        Literal["app_opened", "analytics", "skip"], Meta(description="what a page or screen call is")
    ] = "app_opened"
    anonymous: Annotated[
        Literal["skip", "keep"],
        Meta(description="calls without a userId: passed over, or kept for analytics under the anonymousId"),
    ] = "skip"
    purpose: Annotated[
        Literal["optimisation", "analytics"],
        Meta(description="analytics: what its calls say changes state and reports and is never routed"),
    ] = "optimisation"

    def __post_init__(self) -> None:
        for kind in self.events.values():
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", kind):
                raise ValueError("events must name event types in snake_case, or skip")
        for field in self.fields.values():
            if field not in MAPPED_FIELDS:
                raise ValueError(f"fields must name one of {', '.join(sorted(MAPPED_FIELDS))}")


class KeySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several API keys of a source."""

    key: Annotated[Secret | None, Meta(description="where the API key is kept")] = None
    key_sha256: Annotated[str | None, Meta(description="SHA-256 of the API key")] = None
    expires: Annotated[datetime | None, Meta(description="when it ends; by default never")] = None
    scopes: Annotated[
        tuple[Scope, ...] | None, Meta(description="what it is good for, of the source's scopes; all of them")
    ] = None


class SourceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sender of events, what its API keys are good for, and how much may come in with each.

    A key stands here by reference or by its SHA-256, or was made by `lendsignal keys new`.
    """

    key: Annotated[Secret | None, Meta(description="where an API key is kept")] = None
    key_sha256: Annotated[
        str | None, Meta(description="SHA-256 of an API key, as `lendsignal keys new --print` gives it")
    ] = None
    expires: Annotated[datetime | None, Meta(description="when that key ends; by default never")] = None
    keys: Annotated[tuple[KeySettings, ...], Meta(description="further keys, such as during a change")] = ()
    scopes: Annotated[tuple[Scope, ...], Meta(description="what its keys are good for")] = EVERY_SCOPE
    brands: Annotated[
        tuple[str, ...], Meta(description="the only brands that its keys may tell and ask of; empty: all")
    ] = ()
    apps: Annotated[
        tuple[str, ...],
        Meta(description="the only apps, and with them their brands, that its keys may tell and ask of"),
    ] = ()
    per_second: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="events a second that each key may send in the long run"),
    ] = None
    burst: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="events that each key may send at once; by default one second's"),
    ] = None
    max_bytes: Annotated[
        Annotated[int, Meta(ge=1_024)] | None,
        Meta(description="bytes in one request, unpacked, where fewer than the door's"),
    ] = None
    segment: Annotated[SegmentSettings, Meta(description="how the calls of a Segment SDK become events")] = (
        SegmentSettings()
    )


class DoorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP door."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 picks a free one")] = 8321
    apart: Annotated[
        bool,
        Meta(
            description="whether the door is a process of its own: more events a second where there are"
            " processors for it, and some 30 MiB more"
        ),
    ] = False
    max_events: Annotated[int, Meta(ge=1, le=10_000, description="events in one request")] = 1_000
    max_bytes: Annotated[int, Meta(ge=1_024, description="bytes in one request, unpacked")] = 5_000_000
    max_held_bytes: Annotated[
        int,
        Meta(ge=1_024, description="bytes of all requests in memory at once, before the door answers 429"),
    ] = 64_000_000
    max_connections: Annotated[
        int, Meta(ge=1, description="connections at once; who comes on top is answered 503")
    ] = 2_000
    queue: Annotated[
        int, Meta(ge=1, description="events that may wait to be written before the door answers 429")
    ] = 50_000
    quarantine_days: Annotated[
        int, Meta(ge=1, le=3_650, description="days that refused events are kept for a person to mend")
    ] = 30
    quarantine_alert: Annotated[
        float,
        Meta(
            gt=0,
            description="refused events of the last day that a person should look at:"
            " a number from 1 on, below 1 a share of all that came in",
        ),
    ] = 0.01
