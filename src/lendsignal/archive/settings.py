"""What a lender may set about the archive."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct

SHORTEST = timedelta(days=30)
"""The least that an archive is kept: longer than any destination takes an event, and than the log is read."""


class ArchiveSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parquet files of everything, for reports and for other engines."""

    keep: Annotated[bool, Meta(description="whether it is written while the service runs")] = True
    to: Annotated[
        str,
        Meta(
            min_length=1, description="folder, from the data folder, or an address such as s3://bucket/lender"
        ),
    ] = "archive"
    every: Annotated[timedelta, Meta(description="how often what is new is written")] = timedelta(seconds=30)
    keep_for: Annotated[
        timedelta | None,
        Meta(description="how long a day's files are kept after its end, such as 730d; empty: for ever"),
    ] = None

    def __post_init__(self) -> None:
        if self.keep_for is not None and self.keep_for < SHORTEST:
            raise ValueError(f"keep_for must be at least {SHORTEST.days}d: longer than events are sent for")
