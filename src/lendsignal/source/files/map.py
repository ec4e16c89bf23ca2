"""The map: how the rows of a lender's files become events. A TOML file, read into these types.

Nothing in it is run. A text where a value is wanted names a column or a computed value; a number is itself.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from lendsignal.errors import ConfigError, InputError, Problem
from lendsignal.model import KEY_FIELD
from lendsignal.settings import key_path, read, toml_positions, with_lines
from lendsignal.source.files.rows import Format, Layout, format_of
from lendsignal.source.files.values import FIELDS, Column

Constant = str | int | float | bool
Operand = str | int | float
Names = Annotated[tuple[str, ...], Meta(min_length=1)]
Operands = Annotated[tuple[Operand, ...], Meta(min_length=1)]


class Condition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold of one column or computed value. An empty one is never above, below or equal."""

    column: Annotated[str, Meta(description="a column or a computed value")]
    present: Annotated[bool | None, Meta(description="true: not empty; false: empty")] = None
    equals: Annotated[Constant | None, Meta(description="this very text, number or flag")] = None
    not_equals: Annotated[Constant | None, Meta(description="anything else, or empty")] = None
    same_as: Annotated[str | None, Meta(description="a column with the same text")] = None
    above: Annotated[Operand | None, Meta(description="greater than, or later than")] = None
    at_least: Annotated[Operand | None, Meta(description="not below, or not earlier")] = None
    below: Annotated[Operand | None, Meta(description="less than, or earlier than")] = None
    at_most: Annotated[Operand | None, Meta(description="not above, or not later")] = None

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__[1:] if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(self.__struct_fields__[1:])}")


Conditions = Annotated[tuple[Condition, ...], Meta(description="all must hold")]


class Operation(Struct, frozen=True, kw_only=True, tag_field="op", forbid_unknown_fields=True):
    """A computed value. Where an input is empty the result is empty, unless said otherwise."""


def template_names(text: str) -> list[str]:
    """The names in braces. Raises `ValueError` for a brace without its partner."""
    names = []
    for number, part in enumerate(text.split("{")):
        name, closing, rest = part.partition("}")
        if (number == 0 and closing) or (number and (not closing or not name)) or "}" in rest:
            raise ValueError("each { needs a name and its }")
        if number:
            names.append(name)
    return names


class Template(Operation, frozen=True, kw_only=True, tag="template"):
    """Text with columns in braces: `"{loan_id}-first"`."""

    text: str

    def __post_init__(self) -> None:
        template_names(self.text)


class Slice(Operation, frozen=True, kw_only=True, tag="slice"):
    """Some characters of a text, counted from 0: `start` up to, but without, `end`."""

    text: str
    start: Annotated[int, Meta(ge=0)]
    end: Annotated[int, Meta(ge=1)]

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError("end must be greater than start")


class Hex(Operation, frozen=True, kw_only=True, tag="hex"):
    """The whole number that hexadecimal digits write."""

    text: str


class Epoch(Operation, frozen=True, kw_only=True, tag="epoch"):
    """The moment so many milliseconds, seconds or microseconds after 1970, UTC."""

    number: str
    unit: Literal["ms", "s", "us"] = "ms"


class HashNumber(Operation, frozen=True, kw_only=True, tag="hash_number"):
    """A whole number from `least` to `below` - 1, always the same for a text and evenly spread.

    least + floor((below - least) x u), where u = the first 32 bits of SHA-256(text + salt) / 2^32.
    """

    text: str
    salt: str = ""
    least: int = 0
    below: int

    def __post_init__(self) -> None:
        if self.below <= self.least:
            raise ValueError("below must be greater than least")


class Shift(Operation, frozen=True, kw_only=True, tag="shift"):
    """A time moved by seconds and days of 24 hours; earlier where they are negative."""

    time: str
    seconds: Operand = 0
    days: Operand = 0


class AtHour(Operation, frozen=True, kw_only=True, tag="at_hour"):
    """The full hour `hour` of a time's local day, `days` later: 24 is the end of the day."""

    time: str
    hour: Annotated[int, Meta(ge=0, le=24)]
    days: Annotated[int, Meta(ge=-36_500, le=36_500)] = 0


class SecondsBetween(Operation, frozen=True, kw_only=True, tag="seconds_between"):
    """Seconds from one time to another; negative where the second is earlier."""

    start: str
    end: str


class DaysBetween(Operation, frozen=True, kw_only=True, tag="days_between"):
    """Local calendar days from one time to another, each counted in its own zone."""

    start: str
    end: str


class Add(Operation, frozen=True, kw_only=True, tag="add"):
    """The sum."""

    of: Operands


class Subtract(Operation, frozen=True, kw_only=True, tag="subtract"):
    """The first less all the others."""

    of: Operands


class Multiply(Operation, frozen=True, kw_only=True, tag="multiply"):
    """The product; `places` rounds half up."""

    of: Operands
    places: Annotated[int, Meta(ge=0, le=12)] | None = None


class Divide(Operation, frozen=True, kw_only=True, tag="divide"):
    """The first divided by all the others, rounded half up to `places`. By zero: reported, no value."""

    of: Operands
    places: Annotated[int, Meta(ge=0, le=12)] = 6


class Least(Operation, frozen=True, kw_only=True, tag="least"):
    """The least number."""

    of: Operands


class Greatest(Operation, frozen=True, kw_only=True, tag="greatest"):
    """The greatest number."""

    of: Operands


class FirstOf(Operation, frozen=True, kw_only=True, tag="first_of"):
    """The first that is not empty, else the constant `otherwise`."""

    of: Names
    otherwise: Constant | None = None


class OnlyIf(Operation, frozen=True, kw_only=True, tag="only_if"):
    """The value where all conditions hold, else empty."""

    value: str
    when: Conditions


class Holds(Operation, frozen=True, kw_only=True, tag="holds"):
    """Yes where all conditions hold, else no."""

    when: Conditions


class Lookup(Operation, frozen=True, kw_only=True, tag="lookup"):
    """A column of another file's row, found by its key. `missing`: report a key that is not there, or not."""

    file: str
    key: str
    column: str
    missing: Literal["report", "ignore"] = "report"


AnyOperation = (
    Template
    | Slice
    | Hex
    | Epoch
    | HashNumber
    | Shift
    | AtHour
    | SecondsBetween
    | DaysBetween
    | Add
    | Subtract
    | Multiply
    | Divide
    | Least
    | Greatest
    | FirstOf
    | OnlyIf
    | Holds
    | Lookup
)


class FileRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which files these are, and how they are written."""

    match: Annotated[
        str | tuple[str, ...],
        Meta(description="pattern of the file's name, or several: `loans-*.csv.gz`; * and ? stand for any"),
    ]
    format: Annotated[
        Format | None, Meta(description="how the file is written; by default as its name says")
    ] = None
    delimiter: Annotated[
        str, Meta(min_length=1, max_length=1, description="what stands between CSV cells")
    ] = ","
    empty: Annotated[tuple[str, ...], Meta(description="texts that mean nothing is there")] = ("", "NULL")
    lookup: Annotated[str | None, Meta(description="the key column of a file that only answers lookups")] = (
        None
    )
    column: Annotated[dict[str, Column], Meta(description="columns that differ in these files")] = {}


class EventRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most one event from each row."""

    type: Annotated[str | None, Meta(description="the event's type; else given by `columns` or the row")] = (
        None
    )
    file: Annotated[
        str | tuple[str, ...], Meta(description="which files; by default all that are no lookups")
    ] = ()
    columns: Annotated[
        dict[str, str], Meta(description="event field = column or computed value; empty ones are left out")
    ] = {}
    constants: Annotated[dict[str, Constant], Meta(description="event field = the same for every row")] = {}
    when: Conditions = ()
    once_per: Annotated[
        str | None, Meta(description="only for the first row with each value, over all files")
    ] = None
    as_is: Annotated[bool, Meta(description="the JSON object of the row is the event already")] = False


class ReportRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows worth knowing of: counted and named by the dry run. They change no event."""

    name: str
    file: Annotated[
        str | tuple[str, ...], Meta(description="which files; by default all that are no lookups")
    ] = ()
    when: Conditions
    about: Annotated[str | None, Meta(description="the column that names the row, such as the loan")] = None


class ImportMap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole map."""

    file: Annotated[dict[str, FileRule], Meta(min_length=1)]
    event: Annotated[tuple[EventRule, ...], Meta(min_length=1)]
    constant: Annotated[dict[str, Constant], Meta(description="event fields every event has")] = {}
    column: Annotated[dict[str, Column], Meta(description="what the cells of a column are")] = {}
    computed: Annotated[dict[str, AnyOperation], Meta(description="values worked out from a row")] = {}
    report: tuple[ReportRule, ...] = ()


def read_map(path: Path) -> ImportMap:
    """The map in that TOML file. Raises `ConfigError` with every mistake and its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            [Problem("map", f"{path.name}: {type(error).__name__}", "a readable file")]
        ) from None
    return map_of(text, path.name)


def map_of(text: str, origin: str) -> ImportMap:
    """The map that a TOML text is; `origin` names it in problems. Raises `ConfigError`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem("map", str(error), "valid TOML", origin)]) from None
    found, problems = read(ImportMap, table, path="", origin=origin)
    if found is not None:
        problems = list(_contradictions(found, origin))
    if found is None or problems:
        raise ConfigError(with_lines(problems, toml_positions(text)))
    return found


def problems_of_map(rules: ImportMap) -> Iterator[Problem]:
    """What types cannot tell is wrong with a map, wherever it was written."""
    return _contradictions(rules, "")


def map_hash(rules: ImportMap) -> str:
    """SHA-256 of what the map says, however its text is laid out."""
    return sha256(msgspec.json.encode(rules, order="sorted")).hexdigest()


def file_rule_of(name: str, rules: ImportMap) -> str:
    """The entry of the map that a file of that name belongs to. Raises `InputError` where not exactly one."""
    found = [
        entry
        for entry, rule in rules.file.items()
        if any(fnmatchcase(name, pattern) for pattern in several(rule.match))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(name, f"is matched by several entries of the map: {', '.join(found)}")
    patterns = [pattern for rule in rules.file.values() for pattern in several(rule.match)]
    raise InputError(name, f"is matched by no entry of the map; it has {', '.join(patterns)}")


def layout_of(name: str, rule: FileRule) -> Layout:
    """How the file is to be read. Raises `InputError` where neither map nor name tell."""
    form = rule.format or format_of(name)
    if form is None:
        raise InputError(
            name, 'has a name that tells no format: set format = "csv", "jsonl", "json" or "parquet"'
        )
    delimiter = "\t" if ".tsv" in name.lower() and rule.delimiter == "," else rule.delimiter
    return Layout(form, delimiter)


def several(one: str | tuple[str, ...]) -> tuple[str, ...]:
    """One name or several, as several."""
    return (one,) if isinstance(one, str) else one


def rows_of(rule: EventRule | ReportRule, rules: ImportMap) -> tuple[str, ...]:
    """The entries whose rows the rule looks at."""
    return several(rule.file) or tuple(name for name, file in rules.file.items() if file.lookup is None)


def inputs_of(operation: AnyOperation) -> Iterator[str]:
    """The columns and computed values that an operation looks at in its own row."""
    match operation:
        case Template():
            yield from template_names(operation.text)
        case Slice() | Hex() | HashNumber():
            yield operation.text
        case Epoch():
            yield operation.number
        case Shift():
            yield operation.time
            yield from _names((operation.seconds, operation.days))
        case AtHour():
            yield operation.time
        case SecondsBetween() | DaysBetween():
            yield from (operation.start, operation.end)
        case Add() | Subtract() | Multiply() | Divide() | Least() | Greatest():
            yield from _names(operation.of)
        case FirstOf():
            yield from operation.of
        case OnlyIf():
            yield operation.value
            yield from tested(operation.when)
        case Holds():
            yield from tested(operation.when)
        case Lookup():
            yield operation.key


def tested(when: Iterable[Condition]) -> Iterator[str]:
    """The columns and computed values that conditions look at."""
    for one in when:
        yield one.column
        yield from _names((one.same_as, one.above, one.at_least, one.below, one.at_most))


def needs(name: str, rules: ImportMap) -> set[str]:
    """The columns of a row that a column or computed value comes from at the end."""
    found, open_ = set(), [name]
    seen: set[str] = set()
    while open_:
        one = open_.pop()
        if one in seen:
            continue
        seen.add(one)
        operation = rules.computed.get(one)
        if operation is None:
            found.add(one)
        else:
            open_ += inputs_of(operation)
    return found


def _names(operands: Iterable[Operand | None]) -> Iterator[str]:
    return (one for one in operands if isinstance(one, str))


def _contradictions(rules: ImportMap, origin: str) -> Iterator[Problem]:
    """What types cannot tell: names that stand for nothing, circles, events without what they need."""
    for name, operation in rules.computed.items():
        key = key_path("computed", name)
        if isinstance(operation, Lookup):
            answering = [entry for entry, file in rules.file.items() if file.lookup is not None]
            if operation.file not in answering:
                allowed = f"a file entry with `lookup`: {', '.join(answering) or 'there is none'}"
                yield _unknown(key_path(key, "file"), operation.file, allowed, answering, origin)
    for name in rules.computed:
        if _circular(name, rules.computed):
            yield Problem(key_path("computed", name), "a value that needs itself", "no circles", origin)
    for name in rules.constant:
        yield from _known_field(key_path("constant", name), name, origin)
    for number, rule in enumerate(rules.event):
        yield from _event_problems(f"event[{number}]", rule, rules, origin)
    for number, report in enumerate(rules.report):
        yield from _known_entries(f"report[{number}].file", several(report.file), rules, origin)


def _event_problems(key: str, rule: EventRule, rules: ImportMap, origin: str) -> Iterator[Problem]:
    yield from _known_entries(f"{key}.file", several(rule.file), rules, origin)
    for name in rule.columns:
        yield from _known_field(key_path(f"{key}.columns", name), name, origin)
    for name in rule.constants:
        yield from _known_field(key_path(f"{key}.constants", name), name, origin)
    if rule.as_is:
        return
    given = {*rule.columns, *rule.constants, *rules.constant} | ({"type"} if rule.type else set())
    kind = rule.type or rule.constants.get("type")
    wanted = ["type", "brand", "user_id", "occurred_at"]
    if isinstance(kind, str) and kind in KEY_FIELD:
        wanted.append(KEY_FIELD[kind])
    for name in wanted:
        if name not in given:
            about = f" ({kind})" if kind else ""
            yield Problem(f"{key}.columns", f"no {name}{about}", f"a column or constant for {name}", origin)


def _known_entries(key: str, names: Iterable[str], rules: ImportMap, origin: str) -> Iterator[Problem]:
    for name in names:
        if name not in rules.file:
            yield _unknown(
                key, name, f"an entry under file: {', '.join(rules.file)}", list(rules.file), origin
            )
        elif rules.file[name].lookup is not None:
            yield Problem(key, f"{name!r}, which only answers lookups", "a file entry without lookup", origin)


def _known_field(key: str, name: str, origin: str) -> Iterator[Problem]:
    if name not in FIELDS and not (name.startswith("properties.") and len(name) > len("properties.")):
        yield _unknown(key, name, "an event field; put your own under properties.", list(FIELDS), origin)


def _unknown(key: str, name: str, allowed: str, known: list[str], origin: str) -> Problem:
    close = get_close_matches(name, known, n=1)
    return Problem(key, f"the name {name!r}", allowed, origin, close[0] if close else None)


def _circular(name: str, computed: Mapping[str, AnyOperation]) -> bool:
    open_, seen = [name], set()
    while open_:
        for one in inputs_of(computed[open_.pop()]):
            if one == name:
                return True
            if one in computed and one not in seen:
                seen.add(one)
                open_.append(one)
    return False
