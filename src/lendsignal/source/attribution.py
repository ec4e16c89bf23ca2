"""Where installations came from, by a CSV: appsflyer_id (or firebase_app_instance_id, or id), app,
install_time, media_source, and optionally campaign and is_retargeting.
"""

import csv
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from lendsignal.clock import to_us
from lendsignal.errors import InputError
from lendsignal.log import Attribution


def read_attribution(path: Path) -> Iterator[Attribution]:
    """The installations of a file. Raises `InputError` with the row where one cannot be read."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=1):
            yield _attribution(row, f"row {number}")


def _attribution(row: Mapping[str, str], where: str) -> Attribution:
    identifier = row.get("appsflyer_id") or row.get("firebase_app_instance_id") or row.get("id")
    if not identifier:
        raise InputError(where, "needs appsflyer_id, firebase_app_instance_id or id")
    try:
        installed = datetime.fromisoformat(row["install_time"])
        app, source = row["app"], row["media_source"]
    except (KeyError, ValueError, TypeError):
        raise InputError(
            where, "needs app, media_source and an install_time like 2026-11-22T08:00:00Z"
        ) from None
    if installed.tzinfo is None:
        raise InputError(where, "install_time needs an offset: write Z behind it")
    return Attribution(
        app=app,
        id=identifier,
        install_us=to_us(installed),
        media_source=source,
        campaign=row.get("campaign") or "",
        retargeting=(row.get("is_retargeting") or "").lower() in ("1", "true"),
    )
