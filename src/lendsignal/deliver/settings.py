"""What a lender may set about sending, for every destination alike."""

from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct


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

    def __post_init__(self) -> None:
        _positive(timeout=self.timeout, max_age=self.max_age)


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
    window: Annotated[int, Meta(ge=100, description="deliveries of one destination kept in memory")] = 20_000
    drain: Annotated[
        timedelta, Meta(description="how long stopping waits for answers to requests in flight")
    ] = timedelta(seconds=10)

    def __post_init__(self) -> None:
        _positive(
            probe_after=self.probe_after,
            first_retry=self.first_retry,
            longest_retry=self.longest_retry,
            retry_for=self.retry_for,
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


def _positive(**spans: timedelta | None) -> None:
    """Refuses a span of nothing: no wait at all would be a loop, and no timeout is one without an end."""
    wrong = [name for name, span in spans.items() if span is not None and span <= timedelta(0)]
    if wrong:
        raise ValueError(f"{' and '.join(wrong)} must be longer than 0s")
