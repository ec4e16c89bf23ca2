"""What a lender may set about sending, for every destination alike."""

from datetime import date, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from lendsignal.settings.notation import duration


class Unknown(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After a request that left and was never answered: try again so many times, or hold for a person."""

    retry: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="send again at most so many times")
    ] = None
    hold: Annotated[timedelta | None, Meta(description="wait for a person this long, then dead(unknown)")] = (
        None
    )


class DestinationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every destination can be told; the platform's own keys stand beside these."""

    kind: Annotated[str, Meta(description="the platform: `lendsignal destinations` lists them")]
    app: Annotated[str, Meta(description="the app whose users it counts")]
    forwards: Annotated[
        tuple[str, ...], Meta(description="platforms it passes conversions on to, such as meta, google")
    ] = ()
    account: Annotated[
        str | None,
        Meta(description="what is counted together on the platform; the destination's name by default"),
    ] = None
    max_age: Annotated[
        timedelta | None, Meta(description="older conversions are late, beside the platform's own window")
    ] = None
    late: Annotated[
        Literal["send", "skip"] | None,
        Meta(description="what to do with late ones; the platform's rule by default"),
    ] = None
    on_unknown: Annotated[
        Unknown | None, Meta(description="after a request that left and was never answered")
    ] = None
    per_second: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="requests a second; the platform's limit by default"),
    ] = None
    concurrency: Annotated[int, Meta(ge=1, le=512, description="requests in flight at once")] = 32
    timeout: Annotated[timedelta, Meta(description="how long to wait for an answer")] = timedelta(seconds=30)
    share_contact: Annotated[
        bool, Meta(description="whether hashed e-mail and phone may go to this platform")
    ] = False
    send_test: Annotated[bool, Meta(description="whether marked test users are sent too")] = False
    formerly: Annotated[
        tuple[str, ...],
        Meta(description="names it had before: what waits under them is its own"),
    ] = ()
    schedule: Annotated[
        str,
        Meta(description='"realtime", or "every 2h": gathered and sent at full periods since midnight UTC'),
    ] = "realtime"
    burst: Annotated[
        Annotated[float, Meta(ge=1)] | None,
        Meta(description="requests that may go at once; the platform's, else a second's worth"),
    ] = None
    linger: Annotated[
        timedelta | None,
        Meta(description="how long a delivery may wait for company in its batch; the platform's by default"),
    ] = None
    out_of_order: Annotated[
        Literal["send", "restamp", "skip"] | None,
        Meta(description="for one that comes after a later one of its lane; the platform's by default"),
    ] = None
    lane_wait: Annotated[
        timedelta, Meta(description="how long a lane waits for its head before the next one passes it")
    ] = timedelta(minutes=10)
    first_run: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="hold after so many first deliveries until a person resumes it"),
    ] = None
    token_expires: Annotated[
        date | None,
        Meta(description="the day in UTC from which its token is of no use, such as 2027-01-31"),
    ] = None

    def __post_init__(self) -> None:
        _positive(timeout=self.timeout, max_age=self.max_age, lane_wait=self.lane_wait)
        period(self.schedule)
        if self.linger is not None and self.linger > timedelta(minutes=5):
            raise ValueError("linger must not be longer than 5m: `schedule` gathers for longer")


class Brakes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a destination stops by itself and asks a person: `lendsignal resume` lets it go on."""

    volume: Annotated[
        Annotated[float, Meta(gt=1)] | None,
        Meta(description="hold an hour with so many times the busiest hour of the last seven days"),
    ] = 3.0
    volume_from: Annotated[int, Meta(ge=1, description="an hour with fewer deliveries is never held")] = 1_000
    rejected: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="hold where such a share of the last answers were refusals"),
    ] = 0.8
    rejected_of: Annotated[int, Meta(ge=10, description="the number of answers looked at")] = 100


class DeliverSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sending as a whole."""

    sandbox: Annotated[
        str | None, Meta(description="address of a sandbox that stands in for every platform")
    ] = None
    probe_after: Annotated[
        timedelta, Meta(description="how soon a paused destination is tried again with one request")
    ] = timedelta(minutes=1)
    first_retry: Annotated[timedelta, Meta(description="the longest wait before the first retry")] = (
        timedelta(seconds=2)
    )
    longest_retry: Annotated[timedelta, Meta(description="the longest wait between two tries")] = timedelta(
        minutes=15
    )
    retry_for: Annotated[
        timedelta, Meta(description="how long to try where the platform's window never closes")
    ] = timedelta(hours=72)
    again_share: Annotated[
        float, Meta(gt=0, le=1, description="of a destination's rate, what replayed deliveries may use")
    ] = 0.2
    brakes: Annotated[Brakes, Meta(description="when a destination stops by itself")] = Brakes()
    window: Annotated[int, Meta(ge=100, description="deliveries of one destination kept in memory")] = 20_000
    dead_for: Annotated[
        timedelta | None,
        Meta(description="how long requests and answers of dead deliveries are kept; empty: for ever"),
    ] = None
    drain: Annotated[
        timedelta, Meta(description="how long stopping waits for answers to requests in flight")
    ] = timedelta(seconds=10)

    token_warning: Annotated[timedelta, Meta(description="how long before a token ends it is warned of")] = (
        timedelta(days=14)
    )

    def __post_init__(self) -> None:
        _positive(
            token_warning=self.token_warning,
            probe_after=self.probe_after,
            first_retry=self.first_retry,
            longest_retry=self.longest_retry,
            retry_for=self.retry_for,
            dead_for=self.dead_for,
        )
        if self.longest_retry < self.first_retry:
            raise ValueError("longest_retry must not be shorter than first_retry")
        if self.sandbox is not None:
            try:
                address = urlsplit(self.sandbox)
                usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
            except ValueError:
                usable = False
            if not usable:
                raise ValueError("sandbox must be an address such as http://127.0.0.1:8900")


def period(schedule: str) -> timedelta | None:
    """How far apart the sendings of a schedule are; `None`: at once. ValueError: it is no schedule."""
    if schedule == "realtime":
        return None
    every, _, span = schedule.partition(" ")
    try:
        found = duration(span) if every == "every" else None
    except ValueError:
        found = None
    if found is None or not timedelta(minutes=1) <= found <= timedelta(hours=24):
        raise ValueError('schedule must be "realtime" or "every SPAN" with a span from 1m to 24h')
    return found


def _positive(**spans: timedelta | None) -> None:
    """Refuses a span of nothing: no wait at all would be a loop, and no timeout is one without an end."""
    wrong = [name for name, span in spans.items() if span is not None and span <= timedelta(0)]
    if wrong:
        raise ValueError(f"{' and '.join(wrong)} must be longer than 0s")
