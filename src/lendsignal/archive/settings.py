"""What a lender may set about the archive."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct


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
