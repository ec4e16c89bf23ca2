"""What a cell of a file, or a value of a message, stands for: text, a moment, a number, a yes or no.

Exports pass through spreadsheets: `null`, `N/A` and a lone dash are nothing, an id shown as 1.00E+11 is
lost, and times come as `1/21/2021 23:30` too. Messages of one service have numbers as text, of another text
as lists of one.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from lendsignal.clock import to_us
from lendsignal.errors import InputError
from lendsignal.source.reading import LARGEST

Row: TypeAlias = Mapping[str, str]
"""One row or message: texts by column, absent where there is nothing."""

NOTHING = frozenset(("", "null", "none", "nan", "n/a", "-", "--", "undefined"))

PLACEHOLDER = re.compile(r"\{\w+\}")
ROUNDED = re.compile(r"\d(\.\d+)?[Ee]\+?\d+")

LONGEST_NAME = 128
"""Characters of a heading that are looked at: what anybody sends as a field's name is not kept whole."""

EARLIEST_YEAR, LATEST_YEAR = 2005, 2100

CLICK_IDS = {
    "gclid": "gclid",
    "gbraid": "gbraid",
    "wbraid": "wbraid",
    "fbclid": "fbclid",
    "ttclid": "ttclid",
    "sccid": "sc_click_id",
    "sc_click_id": "sc_click_id",
    "click_id": "click_id",
    "clickid": "click_id",
}
"""A click's id as addresses and messages call it, and as we do."""

MOMENT = re.compile(
    r"(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})"
    r"(?:[T ](?P<hour>\d{1,2})(?::?(?P<minute>\d{2}))?(?::?(?P<second>\d{2}))?(?P<fraction>[.,]\d{1,9})?)?"
    r" ?(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?"
)
SPREADSHEET = re.compile(
    r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})"
    r"(?: (?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?(?P<fraction>[.,]\d{1,9})?)?"
    r"(?: ?(?P<half>[AaPp][Mm]))?(?P<zone>Z)?"
)
"""Month before day, as the exports of AppsFlyer pass through American spreadsheets."""


@lru_cache(maxsize=4_096)  # every row has the same headings, every message the same fields
def name_of(header: str) -> str:
    """A column's name whatever its dress: `Media Source`, `media_source`, `{media-source}` are one."""
    return re.sub(r"[\W_]+", "_", header.strip().lstrip("\ufeff").lower()).strip("_")


def row_of(found: Mapping[str, object], columns: Mapping[str, str]) -> dict[str, str]:
    """A message or row with our names for columns and texts for values; what says nothing is left out.

    `columns` are the lender's own names, by `name_of` theirs. A placeholder that was never filled says
    nothing.
    """
    row: dict[str, str] = {}
    for key, value in found.items():
        said = text(value)
        if said:
            name = name_of(str(key)[:LONGEST_NAME])
            row.setdefault(columns.get(name, name), said)
    return row


def text(value: object) -> str:
    """A value as text; empty where it says nothing."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return text(value[0]) if len(value) == 1 else ""
        case dict():
            return ""
        case _:
            said = str(value).strip()
            return "" if said.lower() in NOTHING or PLACEHOLDER.fullmatch(said) else said


def first(row: Row, *names: str) -> str:
    """The first of these columns that says something."""
    return next((row[name] for name in names if name in row), "")


def identifier(said: str) -> str:
    """An id; nothing where a spreadsheet has rounded it away (1.00E+11)."""
    return "" if ROUNDED.fullmatch(said) else said


def is_yes(said: str) -> bool:
    """Whether a word means yes."""
    return said.lower() in ("1", "true", "yes", "t", "y")


def moment_us(said: str, zone: ZoneInfo, field: str) -> int:
    """The moment in microseconds since 1970, UTC; `zone` is that of times that name none.

    Seconds, milliseconds and microseconds since 1970 are told apart by their length. Raises `InputError`.
    """
    if re.fullmatch(r"\d{9,17}(\.\d+)?", said):
        whole = said.partition(".")[0]
        scale = 1_000_000 if len(whole) <= 11 else 1_000 if len(whole) <= 14 else 1
        at_us = int(Decimal(said) * scale)
        if EARLIEST_YEAR <= 1970 + at_us // 31_556_952_000_000 <= LATEST_YEAR:
            return at_us
    found = MOMENT.fullmatch(said) or SPREADSHEET.fullmatch(said)
    try:
        if found is not None:
            return to_us(_moment(found.groupdict(), zone))
    except ValueError:
        pass
    raise InputError(field, "is no time: write 2026-11-22 08:00:00, or seconds since 1970")


def day_of(said: str, zone: ZoneInfo, hours_in: ZoneInfo, field: str) -> date:
    """The day of the account (`zone`) that a day or an hour lies in; hours are told in `hours_in`."""
    found = MOMENT.fullmatch(said) or SPREADSHEET.fullmatch(said)
    try:
        if found is not None:
            parts = found.groupdict()
            if parts["hour"] is None:
                return date(int(parts["year"]), int(parts["month"]), int(parts["day"]))
            return _moment(parts, hours_in).astimezone(zone).date()
        if re.fullmatch(r"20\d{6}", said):
            return datetime.strptime(said, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        pass
    raise InputError(field, "is no day: write 2026-11-22")


def _moment(parts: Mapping[str, str | None], zone: ZoneInfo) -> datetime:
    """Raises `ValueError` where there is no such moment."""
    hour = int(parts["hour"] or 0)
    half = (parts.get("half") or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if half == "pm" else 0)
    fraction = (parts["fraction"] or ".0")[1:7].ljust(6, "0")
    year = int(parts["year"] or 0)
    if not EARLIEST_YEAR <= year <= LATEST_YEAR:
        raise ValueError
    return datetime(
        year,
        int(parts["month"] or 0),
        int(parts["day"] or 0),
        hour,
        int(parts["minute"] or 0),
        int(parts["second"] or 0),
        int(fraction),
        tzinfo=_zone(parts["zone"]) or zone,
    )


def _zone(said: str | None) -> timezone | None:
    if not said:
        return None
    if said in ("Z", "UTC"):
        return UTC
    sign = -1 if said[0] == "-" else 1
    digits = said[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def decimal(said: str, field: str) -> Decimal:
    """An exact number; separators of thousands and a currency's sign before it are passed over.

    Raises `InputError` where it is none, and where a comma could be either.
    """
    plain = re.sub(r"^[^\d\s.,+-]{1,3}\s?", "", said).replace("\u00a0", "").replace(" ", "")
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", plain):
        plain = plain.replace(",", "")
    try:
        if re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([Ee][+-]?\d{1,2})?", plain):
            number = Decimal(plain)
            if abs(number) >= LARGEST:
                raise InputError(field, f"must be below {LARGEST:,}")
            return number
    except InvalidOperation:
        pass
    raise InputError(field, "must be a number such as 1234.50")


def amount_or_none(said: str, field: str) -> Decimal | None:
    """An exact number, or `None` where nothing is said."""
    return decimal(said, field) if said else None


def currency_or_none(said: str, field: str) -> str:
    """A currency's code in upper case; empty where nothing is said. Raises `InputError`."""
    code = said.upper()
    if code and not re.fullmatch("[A-Z]{3}", code):
        raise InputError(field, "must be an ISO 4217 currency such as NGN")
    return code


def click_ids(row: Row, addresses: Iterable[str]) -> dict[str, str]:
    """The ids of the click, from columns of their names and from the queries of addresses."""
    found: dict[str, str] = {}
    for name, ours in CLICK_IDS.items():
        if name in row:
            found.setdefault(ours, row[name][:256])
    for column in addresses:
        said = row.get(column, "")
        query = said.partition("?")[2].partition("#")[0] if "://" in said else said
        for key, value in parse_qsl(query):
            if (ours := CLICK_IDS.get(key.lower(), "")) and value:
                found.setdefault(ours, value[:256])
    return found
