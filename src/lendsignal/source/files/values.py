"""What a cell says: text, an exact number, a moment, yes or no; and how an event field takes it."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, inspect

from lendsignal.model import Consent, Device, Event, plain
from lendsignal.source.files.rows import Cell


class Moment(Struct, frozen=True):
    """An aware time in the zone it was written in. `day`: only the day is known, and `at` is its noon."""

    at: datetime
    day: bool = False


Value = str | Decimal | Moment | bool | list[Any]


class Unreadable(Exception):
    """A cell or a computed value that cannot be what it must be. `rule` never holds the value."""

    def __init__(self, column: str, rule: str) -> None:
        self.column = column
        self.rule = rule
        super().__init__(f"{column}: {rule}")


def _known_zone(name: str | None) -> None:
    if name is not None:
        try:
            zone(name)
        except (KeyError, ValueError, OSError):
            raise ValueError("timezone must be an IANA name such as Africa/Lagos") from None


Zone = Annotated[str | None, Meta(description="IANA name of the zone the texts are written in")]


class TextColumn(Struct, frozen=True, kw_only=True, tag_field="kind", tag="text", forbid_unknown_fields=True):
    """Text, without the white space around it. What a column is that nothing is said of."""


class NumberColumn(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="number", forbid_unknown_fields=True
):
    """An exact number with a point: `1250.50`."""


class TimeColumn(Struct, frozen=True, kw_only=True, tag_field="kind", tag="time", forbid_unknown_fields=True):
    """A date and time. Without an offset in the text, `timezone` says whose clock it is."""

    timezone: Zone = None
    format: Annotated[
        str, Meta(description='"iso", or the codes of Python\'s strptime: "%d/%m/%Y %H:%M"')
    ] = "iso"
    midnight: Annotated[
        Literal["time", "date"],
        Meta(description='"date": exactly 00:00:00 means that only the day is known'),
    ] = "time"

    def __post_init__(self) -> None:
        _known_zone(self.timezone)


class DateColumn(Struct, frozen=True, kw_only=True, tag_field="kind", tag="date", forbid_unknown_fields=True):
    """A day of the calendar in `timezone`; as a time it is that day's noon, known by the day only."""

    timezone: Annotated[str, Meta(description="IANA name of the zone whose calendar it is")]
    format: Annotated[str, Meta(description='"iso", or the codes of Python\'s strptime: "%d/%m/%Y"')] = "iso"

    def __post_init__(self) -> None:
        _known_zone(self.timezone)


class EpochMsColumn(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="epoch_ms", forbid_unknown_fields=True
):
    """Milliseconds since 1970, UTC. `timezone` only tells whose calendar days they fall on."""

    timezone: Zone = None

    def __post_init__(self) -> None:
        _known_zone(self.timezone)


class EpochSColumn(
    Struct, frozen=True, kw_only=True, tag_field="kind", tag="epoch_s", forbid_unknown_fields=True
):
    """Seconds since 1970, UTC, whole or with a fraction. `timezone` as for `epoch_ms`."""

    timezone: Zone = None

    def __post_init__(self) -> None:
        _known_zone(self.timezone)


class FlagColumn(Struct, frozen=True, kw_only=True, tag_field="kind", tag="flag", forbid_unknown_fields=True):
    """Yes or no, by the words that mean them; case does not matter."""

    yes: tuple[str, ...] = ("true", "1", "yes", "y", "t")
    no: tuple[str, ...] = ("false", "0", "no", "n", "f")


Column = TextColumn | NumberColumn | TimeColumn | DateColumn | EpochMsColumn | EpochSColumn | FlagColumn

TEXT = TextColumn()


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name."""
    return ZoneInfo(name)


def value_of(cell: Cell, column: Column, name: str, doubt: Callable[[str, str], None]) -> Value | None:
    """What the cell of the column `name` says; `None` where it is empty.

    `doubt(name, rule)` is called for a time that the clocks showed twice or not at all. Raises `Unreadable`.
    """
    if isinstance(cell, str):
        cell = cell.strip()
    if cell is None or cell == "":
        return None
    match column:
        case TextColumn():
            return _plainly(cell, name)
        case NumberColumn():
            return number_of(_plainly(cell, name), name)
        case TimeColumn():
            return _time(cell, column, name, doubt)
        case DateColumn():
            return _date(cell, column, name)
        case EpochMsColumn():
            return epoch(number_of(_plainly(cell, name), name), 1_000, column.timezone, name)
        case EpochSColumn():
            return epoch(number_of(_plainly(cell, name), name), 1_000_000, column.timezone, name)
        case FlagColumn():
            return flag_of(_plainly(cell, name), name, column)


def _plainly(cell: Cell, name: str) -> Value:
    """The cell as it stands, with numbers made exact."""
    match cell:
        case str() | bool() | list():
            return cell
        case int():
            return Decimal(cell)
        case float():
            if cell - cell != 0:
                raise Unreadable(name, "must be a finite number")
            return number_of(repr(cell), name)
        case Decimal():
            if not cell.is_finite():
                raise Unreadable(name, "must be a finite number")
            return cell
        case datetime() if cell.tzinfo is not None:
            return Moment(cell)
        case datetime() | date():
            raise Unreadable(name, 'is a time without a zone: declare the column as kind "time" or "date"')
        case _:
            raise Unreadable(name, "is of a kind that no event field can take")


def number_of(value: Value, name: str) -> Decimal:
    """The exact number a value is or writes. Raises `Unreadable` for anything else, 40 digits or more too."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str) and len(value) < 40:
        match = re.fullmatch(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE]([+-]?[0-9]{1,2}))?", value)
        if match and abs(int(match[1] or 0)) <= 30:
            return Decimal(value)
    raise Unreadable(name, "must be a number such as 1250.50")


def flag_of(value: Value, name: str, words: FlagColumn = FlagColumn()) -> bool:  # noqa: B008 - frozen
    """Yes or no. Raises `Unreadable` for other words."""
    if isinstance(value, bool):
        return value
    word = (plain(value) if isinstance(value, Decimal) else str(value)).lower()
    if word in (one.lower() for one in words.yes):
        return True
    if word in (one.lower() for one in words.no):
        return False
    raise Unreadable(name, f"must be one of {', '.join((*words.yes, *words.no))}")


def text_of(value: Value, name: str) -> str:
    """The value as text: numbers without trailing zeros, times in RFC 3339, UTC."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case Decimal():
            return plain(value)
        case Moment():
            return value.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case list():
            raise Unreadable(name, "is a list where text is needed")


def moment_of(value: Value, name: str) -> Moment:
    """The time a value is; text with an offset is one. Raises `Unreadable` for anything else."""
    if isinstance(value, Moment):
        return value
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is not None and found.tzinfo is not None:
            return Moment(found)
    raise Unreadable(name, "is no time: declare the column with its kind and time zone")


def epoch(number: Decimal, unit_us: int, timezone: str | None, name: str) -> Moment:
    """The moment so many units of `unit_us` microseconds after 1970, UTC."""
    seconds, us = divmod(int(number * unit_us), 1_000_000)
    try:
        at = datetime.fromtimestamp(seconds, zone(timezone) if timezone else UTC).replace(microsecond=us)
    except (OverflowError, ValueError, OSError):
        raise Unreadable(name, "is no time between the years 1 and 9999") from None
    return Moment(at)


def _time(cell: Cell, column: TimeColumn, name: str, doubt: Callable[[str, str], None]) -> Moment:
    match cell:
        case datetime():
            found = cell
        case date():
            found = datetime.combine(cell, time())
        case str():
            found = _parsed(cell, column.format, name)
        case _:
            raise Unreadable(name, "must be a date and time")
    if found.tzinfo is None:
        if column.timezone is None:
            raise Unreadable(name, "has no offset, and the column no timezone")
        found = _in_zone(found, zone(column.timezone), name, doubt)
    elif column.timezone is not None:
        try:
            found = found.astimezone(zone(column.timezone))
        except OverflowError:
            raise Unreadable(name, "is no time between the years 1 and 9999") from None
    if column.midnight == "date" and found.time() == time():
        return Moment(datetime.combine(found.date(), time(12), found.tzinfo), day=True)
    return Moment(found)


def _date(cell: Cell, column: DateColumn, name: str) -> Moment:
    match cell:
        case datetime() if cell.tzinfo is not None:
            day = cell.astimezone(zone(column.timezone)).date()
        case datetime():
            day = cell.date()
        case date():
            day = cell
        case str():
            parsed = _parsed(cell, column.format, name)
            if parsed.time() != time():
                raise Unreadable(name, "has a time of day where a date is wanted")
            day = parsed.date()
        case _:
            raise Unreadable(name, "must be a date")
    return Moment(datetime.combine(day, time(12), zone(column.timezone)), day=True)


def _parsed(text: str, form: str, name: str) -> datetime:
    """The text as a datetime, aware where it has an offset."""
    try:
        if form == "iso" or _is_plain(text, form):
            return datetime.fromisoformat(text)
        return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added by who asked
    except ValueError:
        wanted = "ISO 8601, such as 2026-03-01 14:05:00" if form == "iso" else f"as {form}"
        raise Unreadable(name, f"must be written {wanted}") from None


def _is_plain(text: str, form: str) -> bool:
    """Whether the ISO reader, which is ten times as fast, reads this text as the format would."""
    match form:
        case "%Y-%m-%d %H:%M:%S":
            return len(text) == 19 and text[10] == " "
        case "%Y-%m-%d %H:%M:%S.%f":
            return len(text) == 26 and text[10] == " " and text[19] == "." and text[20:].isdecimal()
        case _:
            return False


def _in_zone(naive: datetime, place: ZoneInfo, name: str, doubt: Callable[[str, str], None]) -> datetime:
    """The moment that clocks of the zone showed this; the earlier one where they showed it twice.

    A time that was skipped when the clocks went forward is read as if they had not: 02:30 becomes 03:30.
    """
    found = naive.replace(tzinfo=place)
    before, after = found.utcoffset(), found.replace(fold=1).utcoffset()
    if before != after and before is not None and after is not None:
        if after < before:
            doubt(name, "was shown twice when the clocks went back: taken as the earlier")
        else:
            doubt(name, "was skipped when the clocks went forward: taken as an hour later")
            found = found.astimezone(UTC).astimezone(place)
    return found


Taking = Literal["text", "whole", "number", "amount", "flag", "date", "time", "raw"]
"""How an event field takes a value."""


def _takings(kind: type[Struct], above: str = "") -> dict[str, Taking]:
    found: dict[str, Taking] = {}
    table = inspect.type_info(kind)
    assert isinstance(table, inspect.StructType)
    for field in table.fields:
        inner = field.type
        while isinstance(inner, (inspect.Metadata, inspect.UnionType)):
            inner = (
                inner.type
                if isinstance(inner, inspect.Metadata)
                else next(one for one in inner.types if not isinstance(one, inspect.NoneType))
            )
        found[above + field.encode_name] = _TAKING.get(type(inner), "raw")
    return found


_TAKING: Mapping[type, Taking] = {
    inspect.StrType: "text",
    inspect.LiteralType: "text",
    inspect.IntType: "whole",
    inspect.FloatType: "number",
    inspect.DecimalType: "amount",
    inspect.BoolType: "flag",
    inspect.DateType: "date",
    inspect.DateTimeType: "time",
}

_SET_BY_US = frozenset(("source", "flags", "contact", "history", "device", "consent", "properties"))

FIELDS: Mapping[str, Taking] = {
    **{name: taking for name, taking in _takings(Event).items() if name not in _SET_BY_US},
    **_takings(Device, "device."),
    **_takings(Consent, "consent."),
    "sent_at": "time",
    "email": "text",
    "phone": "text",
}
"""Every event field that a map may fill, with how it takes values; `properties.<name>` comes beside them."""


def taken(value: Value, field: str, column: str) -> object:
    """The value as the event field takes it. Raises `Unreadable` with the column where it cannot."""
    taking = FIELDS.get(field, "raw")
    match taking:
        case "text":
            return text_of(value, column)
        case "whole":
            number = number_of(value, column)
            if number != number.to_integral_value():
                raise Unreadable(column, "must be a whole number")
            return int(number)
        case "number":
            return float(number_of(value, column))
        case "amount":
            return Decimal(plain(number_of(value, column)))
        case "flag":
            return flag_of(value, column)
        case "time":
            try:
                return moment_of(value, column).at.astimezone(UTC)
            except OverflowError:
                raise Unreadable(column, "is no time between the years 1 and 9999") from None
        case "date":
            if isinstance(value, Moment):
                return value.at.date()
            try:
                return date.fromisoformat(text_of(value, column))
            except ValueError:
                raise Unreadable(column, 'must be a date: declare the column as kind "date"') from None
        case "raw":
            return _property(value, column) if field.startswith("properties.") else value


def _property(value: Value, column: str) -> object:
    """A property: text, a number or a flag."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Moment() | list():
            return text_of(value, column)
        case _:
            return value
