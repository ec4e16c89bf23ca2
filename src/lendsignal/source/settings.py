"""What a lender may set about how events come in."""

from typing import Annotated

from msgspec import Meta, Struct

from lendsignal.model import Secret


class SourceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sender of events and its API key: by reference, or by the key's SHA-256 (`lendsignal keys new`)."""

    key: Annotated[Secret | None, Meta(description="where the API key is kept")] = None
    key_sha256: Annotated[
        str | None, Meta(description="SHA-256 of the API key, as `lendsignal keys new` prints it")
    ] = None


class DoorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP door."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 picks a free one")] = 8321
    max_events: Annotated[int, Meta(ge=1, le=10_000, description="events in one request")] = 1_000
    max_bytes: Annotated[int, Meta(ge=1_024, description="bytes in one request, unpacked")] = 5_000_000
    queue: Annotated[
        int, Meta(ge=1, description="events that may wait to be written before the door answers 429")
    ] = 50_000
