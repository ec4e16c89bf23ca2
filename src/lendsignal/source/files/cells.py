"""One row's columns and computed values, worked out when they are asked for."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from functools import reduce
from hashlib import sha256
from typing import Literal

from msgspec import Struct

from lendsignal.source.files.map import (
    Add,
    AnyOperation,
    AtHour,
    Condition,
    DaysBetween,
    Divide,
    Epoch,
    FirstOf,
    Greatest,
    HashNumber,
    Hex,
    Holds,
    ImportMap,
    Least,
    Lookup,
    Multiply,
    OnlyIf,
    Operand,
    SecondsBetween,
    Shift,
    Slice,
    Subtract,
    Template,
)
from lendsignal.source.files.rows import Cell
from lendsignal.source.files.values import (
    TEXT,
    Column,
    Moment,
    Unreadable,
    Value,
    epoch,
    flag_of,
    moment_of,
    number_of,
    text_of,
    value_of,
)

EXACT = Context(prec=60, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Sums and products of the numbers we read stay exact."""

UNIT_US = {"us": 1, "ms": 1_000, "s": 1_000_000}

Table = Mapping[str, Mapping[str, Cell]]
"""A lookup file: key → the cells that are looked up."""


class Doubt(Struct, frozen=True):
    """Something odd about a value that could be read all the same. `kind` as in `Oddity`."""

    kind: Literal["doubtful_time", "missing_lookup"]
    column: str
    rule: str


class Cells:
    """The values of one row. `doubts` gathers what was odd about those that were asked for."""

    def __init__(
        self,
        rules: ImportMap,
        columns: Mapping[str, Column],
        empty: tuple[str, ...],
        row: Mapping[str, Cell],
        tables: Mapping[str, Table],
    ) -> None:
        self._rules = rules
        self._columns = columns
        self._empty = empty
        self._row = row
        self._tables = tables
        self._known: dict[str, Value | None] = {}
        self.doubts: list[Doubt] = []

    def value(self, name: str) -> Value | None:
        """The value of a column or computed value; `None` where it is empty. Raises `Unreadable`."""
        if name in self._known:
            return self._known[name]
        operation = self._rules.computed.get(name)
        found = self._cell(name) if operation is None else self._computed(name, operation)
        self._known[name] = found
        return found

    def all_hold(self, when: Iterable[Condition]) -> bool:
        """Whether every condition holds. Raises `Unreadable` where one cannot be judged."""
        return all(self._holds(one) for one in when)

    def _cell(self, name: str) -> Value | None:
        cell = self._row.get(name)
        if isinstance(cell, str) and cell.strip() in self._empty:
            return None
        return value_of(cell, self._columns.get(name, TEXT), name, self._doubt_time)

    def _doubt_time(self, column: str, rule: str) -> None:
        self.doubts.append(Doubt("doubtful_time", column, rule))

    def _number(self, operand: Operand) -> Decimal | None:
        if not isinstance(operand, str):
            return Decimal(str(operand))
        value = self.value(operand)
        return None if value is None else number_of(value, operand)

    def _moment(self, name: str) -> Moment | None:
        value = self.value(name)
        return None if value is None else moment_of(value, name)

    def text(self, name: str) -> str | None:
        """The value as text; `None` where it is empty. Raises `Unreadable`."""
        value = self.value(name)
        return None if value is None else text_of(value, name)

    def _numbers(self, operands: Iterable[Operand]) -> list[Decimal] | None:
        found = [self._number(operand) for operand in operands]
        present = [number for number in found if number is not None]
        return present if len(present) == len(found) else None

    def _computed(self, name: str, operation: AnyOperation) -> Value | None:
        match operation:
            case Template():
                return self._template(operation)
            case Slice():
                text = self.text(operation.text)
                return (text[operation.start : operation.end] or None) if text is not None else None
            case Hex():
                text = self.text(operation.text)
                return None if text is None else _hex(text, name)
            case Epoch():
                number = self._number(operation.number)
                return None if number is None else epoch(number, UNIT_US[operation.unit], None, name)
            case HashNumber():
                text = self.text(operation.text)
                return None if text is None else _hash_number(text, operation)
            case Shift():
                return self._shifted(name, operation)
            case AtHour():
                moment = self._moment(operation.time)
                return None if moment is None else _at_hour(moment, operation, name)
            case SecondsBetween():
                start, end = self._moment(operation.start), self._moment(operation.end)
                if start is None or end is None:
                    return None
                return EXACT.divide(
                    Decimal((end.at - start.at) // timedelta(microseconds=1)), Decimal(1_000_000)
                )
            case DaysBetween():
                start, end = self._moment(operation.start), self._moment(operation.end)
                if start is None or end is None:
                    return None
                return Decimal((end.at.date() - start.at.date()).days)
            case Add() | Subtract() | Multiply() | Divide() | Least() | Greatest():
                numbers = self._numbers(operation.of)
                return None if numbers is None else _arithmetic(operation, numbers, name)
            case FirstOf():
                for one in operation.of:
                    if (value := self.value(one)) is not None:
                        return value
                return _constant(operation.otherwise)
            case OnlyIf():
                return self.value(operation.value) if self.all_hold(operation.when) else None
            case Holds():
                return self.all_hold(operation.when)
            case Lookup():
                return self._looked_up(operation)

    def _template(self, operation: Template) -> str | None:
        written, *others = operation.text.split("{")
        for other in others:
            name, _, rest = other.partition("}")
            part = self.text(name)
            if part is None:
                return None
            written += part + rest
        return written

    def _shifted(self, name: str, operation: Shift) -> Moment | None:
        moment = self._moment(operation.time)
        seconds, days = self._number(operation.seconds), self._number(operation.days)
        if moment is None or seconds is None or days is None:
            return None
        try:
            by = timedelta(microseconds=int((seconds + days * 86_400) * 1_000_000))
            return Moment((moment.at.astimezone(UTC) + by).astimezone(moment.at.tzinfo), moment.day)
        except OverflowError:
            raise Unreadable(name, "is no time between the years 1 and 9999") from None

    def _looked_up(self, operation: Lookup) -> Value | None:
        key = self.text(operation.key)
        if key is None:
            return None
        found = self._tables.get(operation.file, {}).get(key)
        if found is None:
            if operation.missing == "report":
                self.doubts.append(Doubt("missing_lookup", operation.key, f"has no row in {operation.file}"))
            return None
        cell = found.get(operation.column)
        file = self._rules.file[operation.file]
        if isinstance(cell, str) and cell.strip() in file.empty:
            return None
        column = {**self._rules.column, **file.column}.get(operation.column, TEXT)
        return value_of(cell, column, f"{operation.file}.{operation.column}", self._doubt_time)

    def _holds(self, one: Condition) -> bool:
        value = self.value(one.column)
        if one.present is not None:
            return (value is not None) is one.present
        if value is None:
            return one.not_equals is not None
        if one.equals is not None:
            return _equal(value, one.equals, one.column)
        if one.not_equals is not None:
            return not _equal(value, one.not_equals, one.column)
        if one.same_as is not None:
            return text_of(value, one.column) == self.text(one.same_as)
        bound = next(
            bound for bound in (one.above, one.at_least, one.below, one.at_most) if bound is not None
        )
        order = self._order(value, bound, one.column)
        if order is None:
            return False
        if one.above is not None:
            return order > 0
        if one.at_least is not None:
            return order >= 0
        return order < 0 if one.below is not None else order <= 0

    def _order(self, value: Value, bound: Operand, column: str) -> int | None:
        """Below 0, 0 or above 0 as the value is less than the bound, the same or more; times with times."""
        if isinstance(value, Moment):
            other = self._moment(bound) if isinstance(bound, str) else None
            if other is None and not isinstance(bound, str):
                raise Unreadable(column, "is a time and cannot be compared with a number")
            return None if other is None else (value.at > other.at) - (value.at < other.at)
        number, limit = number_of(value, column), self._number(bound)
        return None if limit is None else (number > limit) - (number < limit)


def _hex(text: str, name: str) -> Decimal:
    try:
        if len(text) > 32 or not text.isalnum():
            raise ValueError
        return Decimal(int(text, 16))
    except ValueError:
        raise Unreadable(name, "must be up to 32 hexadecimal digits") from None


def _hash_number(text: str, operation: HashNumber) -> Decimal:
    first = int(sha256((text + operation.salt).encode()).hexdigest()[:8], 16)
    return Decimal(operation.least + ((operation.below - operation.least) * first >> 32))


def _at_hour(moment: Moment, operation: AtHour, name: str) -> Moment:
    try:
        more, hour = divmod(operation.hour, 24)
        day = moment.at.date() + timedelta(days=operation.days + more)
        at = datetime.combine(day, time(hour), moment.at.tzinfo)
        return Moment(at.astimezone(UTC).astimezone(moment.at.tzinfo))
    except OverflowError:
        raise Unreadable(name, "is no time between the years 1 and 9999") from None


def _arithmetic(
    operation: Add | Subtract | Multiply | Divide | Least | Greatest, numbers: list[Decimal], name: str
) -> Decimal:
    try:
        match operation:
            case Add():
                return reduce(EXACT.add, numbers)
            case Subtract():
                return reduce(EXACT.subtract, numbers)
            case Multiply():
                return _rounded(reduce(EXACT.multiply, numbers), operation.places)
            case Divide():
                return _rounded(reduce(EXACT.divide, numbers), operation.places)
            case Least():
                return min(numbers)
            case Greatest():
                return max(numbers)
    except ZeroDivisionError:
        raise Unreadable(name, "divides by zero") from None
    except ArithmeticError:
        raise Unreadable(name, "cannot be worked out: its numbers are too large") from None


def _rounded(number: Decimal, places: int | None) -> Decimal:
    return number if places is None else number.quantize(Decimal(1).scaleb(-places), context=EXACT)


def _constant(constant: str | int | float | bool | None) -> Value | None:
    if constant is None or isinstance(constant, (str, bool)):
        return constant
    return Decimal(str(constant))


def _equal(value: Value, wanted: str | int | float | bool, column: str) -> bool:
    if isinstance(wanted, bool):
        return flag_of(value, column) is wanted
    if isinstance(wanted, str):
        return text_of(value, column) == wanted
    return number_of(value, column) == Decimal(str(wanted))
