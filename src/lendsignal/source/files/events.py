"""Rows → events. `events_of_row` is pure: a map and a row give event objects, and what was odd on the way."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from lendsignal.errors import ConfigError, InputError, Problem
from lendsignal.model import Event
from lendsignal.settings import key_path
from lendsignal.source.files.cells import Cells, Table
from lendsignal.source.files.map import (
    EventRule,
    ImportMap,
    Lookup,
    ReportRule,
    file_rule_of,
    layout_of,
    needs,
    rows_of,
    several,
    tested,
)
from lendsignal.source.files.oddity import Kind, Oddity, Place
from lendsignal.source.files.rows import BadRow, Cell, Layout, Row, columns_of, rows
from lendsignal.source.files.values import (
    TEXT,
    Column,
    Moment,
    Unreadable,
    number_of,
    taken,
    text_of,
    value_of,
)
from lendsignal.source.reading import Reader, read_event

SOURCE = "import"
"""What stands in the log as the source of an imported event."""

Progress = Callable[[int, int], None]
"""Called now and then with (done, total)."""


class Input(Struct, frozen=True):
    """One file to import: the hash of its content, its entry in the map and how it is written."""

    path: Path
    hash: str
    entry: str
    layout: Layout

    @property
    def name(self) -> str:
        return self.path.name


class Made(Struct, frozen=True):
    """One event object as the HTTP door takes it, not yet judged. `once` is the value of `once_per`."""

    rule: int
    event: dict[str, Any]
    once: str | None = None


class EntryRules(Struct, frozen=True):
    """What the map says of the rows of one entry. `constants` are those of each event rule."""

    rules: ImportMap
    columns: Mapping[str, Column]
    empty: tuple[str, ...]
    events: tuple[tuple[int, EventRule], ...]
    constants: Mapping[int, tuple[tuple[str, object], ...]]
    reports: tuple[ReportRule, ...]


def entry_rules(rules: ImportMap, entry: str) -> EntryRules:
    """The map as the rows of that entry see it. Raises `ConfigError` for a constant its field cannot take."""
    file = rules.file[entry]
    events = tuple((number, rule) for number, rule in enumerate(rules.event) if entry in rows_of(rule, rules))
    return EntryRules(
        rules,
        {**rules.column, **file.column},
        file.empty,
        events,
        {number: _constants(number, rule, rules) for number, rule in events},
        tuple(report for report in rules.report if entry in rows_of(report, rules)),
    )


def _constants(number: int, rule: EventRule, rules: ImportMap) -> tuple[tuple[str, object], ...]:
    given = {**rules.constant, **rule.constants}
    if rule.type is not None:
        given["type"] = rule.type
    found = []
    for name, constant in given.items():
        try:
            value = constant if isinstance(constant, (str, bool)) else number_of(Decimal(str(constant)), name)
            found.append((name, taken(value, name, name)))
        except Unreadable as error:
            key = key_path(f"event[{number}].constants", name)
            raise ConfigError([Problem(key, "a value the field cannot take", error.rule)]) from None
    return tuple(found)


def events_of_row(
    row: Row, entry: EntryRules, tables: Mapping[str, Table] | None = None
) -> tuple[list[Made], list[Oddity]]:
    """The events that a row makes, in the order of their rules, and what is odd about it.

    A cell that cannot be read costs the events that need it, and no other. `tables` answers lookups.
    """
    cells = Cells(entry.rules, entry.columns, entry.empty, row.cells, tables or {})
    made: list[Made] = []
    lost: dict[tuple[str, str], list[str]] = {}
    for number, rule in entry.events:
        try:
            if cells.all_hold(rule.when):
                made.append(_made(number, row, entry, rule, cells))
        except Unreadable as error:
            lost.setdefault((error.column, error.rule), []).append(rule.type or "event")
    named: list[tuple[str, str]] = []
    for report in entry.reports:
        try:
            if cells.all_hold(report.when):
                named.append((report.name, cells.text(report.about) or "" if report.about else ""))
        except Unreadable as error:
            lost.setdefault((error.column, error.rule), [])
    odd = [
        Oddity(kind="unreadable_cell", rule=rule, field=column, event=", ".join(types))
        for (column, rule), types in lost.items()
    ]
    odd += [Oddity(kind="reported", rule=name, about=about) for name, about in named]
    odd += [Oddity(kind=doubt.kind, rule=doubt.rule, field=doubt.column) for doubt in cells.doubts]
    if not made and not lost:
        odd.append(Oddity(kind="row_without_event", rule="no event rule applies"))
    return made, [structs.replace(one, row=row.number, line=row.line) for one in odd]


def _made(number: int, row: Row, entry: EntryRules, rule: EventRule, cells: Cells) -> Made:
    event: dict[str, Any] = {}
    for name, constant in entry.constants[number]:
        _put(event, name, constant)
    if rule.as_is:
        if row.whole is None:
            raise Unreadable("row", "is no JSON object: as_is is for JSON Lines")
        event.update(row.whole)
    for name, column in rule.columns.items():
        value = cells.value(column)
        if value is None:
            continue
        _put(event, name, taken(value, name, column))
        if name == "occurred_at" and isinstance(value, Moment) and value.day:
            event.setdefault("time_precision", "day")
    return Made(number, event, cells.text(rule.once_per) if rule.once_per is not None else None)


def _put(event: dict[str, Any], name: str, value: object) -> None:
    """Sets a field; `device.gaid` is one of the object `device`."""
    above, _, below = name.partition(".")
    if below:
        inner = event.get(above)
        event[above] = {**inner, below: value} if isinstance(inner, dict) else {below: value}
    else:
        event[name] = value


class Inputs(Struct, frozen=True):
    """The files of one import: those with events in the order of their names, and those for lookups.

    `repeated` names files that have the content of another one, and that one.
    """

    rules: ImportMap
    events: tuple[Input, ...]
    lookups: tuple[Input, ...]
    repeated: tuple[tuple[str, str], ...] = ()

    @property
    def bytes(self) -> int:
        return sum(one.path.stat().st_size for one in (*self.events, *self.lookups))


def inputs_of_files(files: Iterable[Path], rules: ImportMap) -> Inputs:
    """The files with their entries in the map, in an order that does not depend on how they were given.

    A content given twice counts once. Raises `InputError` for a file that cannot be read, or that no entry
    (or more than one) matches; `ConfigError` where the map names columns that the files do not have, or a
    lookup lacks its file.
    """
    found: dict[str, Input] = {}
    repeated: list[tuple[str, str]] = []
    for path in sorted(files, key=lambda one: (one.name, str(one))):
        entry = file_rule_of(path.name, rules)
        content = hash_of(path)
        if content in found:
            repeated.append((path.name, found[content].name))
            continue
        found[content] = Input(path, content, entry, layout_of(path.name, rules.file[entry]))
    ordered = sorted(found.values(), key=lambda one: (one.name, one.hash))
    inputs = Inputs(
        rules,
        tuple(one for one in ordered if rules.file[one.entry].lookup is None),
        tuple(one for one in ordered if rules.file[one.entry].lookup is not None),
        tuple(repeated),
    )
    problems = list(_missing(inputs))
    if problems:
        raise ConfigError(problems)
    return inputs


def hash_of(path: Path) -> str:
    """SHA-256 of the file's bytes. Raises `InputError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(path.name, f"cannot be read: {error.strerror}") from None


def _missing(inputs: Inputs) -> Iterator[Problem]:
    """What the map names and no file has."""
    rules = inputs.rules
    columns: dict[str, set[str] | None] = {}
    for one in (*inputs.events, *inputs.lookups):
        names = columns_of(one.path, one.layout)
        before = columns.get(one.entry, set())
        columns[one.entry] = None if names is None or before is None else before | set(names)
    for number, rule in enumerate(rules.event):
        wanted = [*rule.columns.values(), *tested(rule.when), *([rule.once_per] if rule.once_per else [])]
        yield from _absent(f"event[{number}]", wanted, rows_of(rule, rules), rules, columns)
    for number, report in enumerate(rules.report):
        wanted = [*tested(report.when), *([report.about] if report.about else [])]
        yield from _absent(f"report[{number}]", wanted, rows_of(report, rules), rules, columns)
    for name, operation in rules.computed.items():
        if isinstance(operation, Lookup):
            key = key_path("computed", name)
            if operation.file not in columns:
                patterns = ", ".join(several(rules.file[operation.file].match))
                yield Problem(f"{key}.file", "no such file among those given", f"a file like {patterns}")
            else:
                wanted = [operation.column, rules.file[operation.file].lookup or ""]
                yield from _absent(key, wanted, (operation.file,), rules, columns)


def _absent(
    key: str,
    wanted: Iterable[str],
    entries: Iterable[str],
    rules: ImportMap,
    columns: Mapping[str, set[str] | None],
) -> Iterator[Problem]:
    """The columns that none of the given files of those entries has; JSON Lines may have any."""
    known: set[str] = set()
    for entry in entries:
        names = columns.get(entry, set())
        if names is None:
            return
        known |= names
    if not known:
        return
    for name in sorted({column for one in wanted for column in needs(one, rules)} - known):
        close = get_close_matches(name, sorted(known | set(rules.computed)), n=1)
        allowed = f"the columns {', '.join(sorted(known))}, or a computed value"
        yield Problem(key, f"the column {name!r}", allowed, nearest=close[0] if close else None)


Item = tuple[Place, Event] | Oddity


def judged(
    inputs: Inputs,
    reader: Reader,
    now: datetime,
    *,
    send_since: datetime | None = None,
    progress: Progress = lambda done, total: None,
) -> Iterator[Item]:
    """Every event of the files as it would stand in the log, and every oddity of file, row, cell and event.

    Files come in the order of their names, rows as they stand. An event that the door would refuse is an
    oddity. `now` is taken for the arrival. Events before `send_since` are history; without it all are.
    Raises `InputError` for a file that is cut off or damaged in the middle.
    """
    for name, of in inputs.repeated:
        yield Oddity(kind="repeated_file", rule=f"has the content of {of}", file=name)
    total = inputs.bytes
    before = 0
    tables: dict[str, dict[str, dict[str, Cell]]] = {}

    def moved(done: int) -> None:
        progress(before + done, total)

    for one in inputs.lookups:
        yield from _table(one, inputs.rules, tables.setdefault(one.entry, {}), moved)
        before += one.path.stat().st_size
    seen: set[bytes] = set()
    for number, one in enumerate(inputs.events):
        entry = entry_rules(inputs.rules, one.entry)
        for row in rows(one.path, one.layout, moved):
            if isinstance(row, BadRow):
                yield Oddity(
                    kind="unreadable_row", rule=row.rule, file=one.name, row=row.number, line=row.line
                )
                continue
            made, odd = events_of_row(row, entry, tables)
            for oddity in odd:
                yield structs.replace(oddity, file=one.name)
            for each in made:
                if each.once is not None:
                    key = blake2b(f"{each.rule}\x1f{each.once}".encode(), digest_size=12).digest()
                    if key in seen:
                        continue
                    seen.add(key)
                yield from _judge(
                    each, Place(number, row.number, each.rule), row, one, reader, now, send_since
                )
        before += one.path.stat().st_size


def _judge(
    made: Made,
    place: Place,
    row: Row,
    input_: Input,
    reader: Reader,
    now: datetime,
    send_since: datetime | None,
) -> Iterator[Item]:
    kind = made.event.get("type")

    def odd(of: Kind, field: str, rule: str) -> Oddity:
        name = kind if isinstance(kind, str) else "event"
        return Oddity(
            kind=of, rule=rule, file=input_.name, row=row.number, line=row.line, field=field, event=name
        )

    try:
        event = read_event(made.event, now, reader, source=SOURCE, ordinal=str(row.number))
    except InputError as error:
        hint = f" Did you mean {error.nearest!r}?" if error.nearest else ""
        late = error.field == "occurred_at" and error.rule.endswith("after its arrival")
        yield odd("future_time" if late else "refused_event", error.field, error.rule + hint)
        return
    if event.time_precision == "day":
        yield odd("date_only", "occurred_at", "is known by its day only")
    if send_since is None or event.occurred_at < send_since:
        event = structs.replace(event, history=True)
    yield place, event


def _table(
    input_: Input, rules: ImportMap, table: dict[str, dict[str, Cell]], moved: Callable[[int], None]
) -> Iterator[Oddity]:
    """Fills the table of a lookup file with the columns that are looked up."""
    wanted = {
        one.column for one in rules.computed.values() if isinstance(one, Lookup) and one.file == input_.entry
    }
    key_column = rules.file[input_.entry].lookup or ""
    for row in rows(input_.path, input_.layout, moved):
        rule, key = "", None
        if isinstance(row, Row):
            try:
                value = value_of(row.cells.get(key_column), TEXT, key_column, lambda *_: None)
                key = None if value is None else text_of(value, key_column)
            except Unreadable as error:
                rule = error.rule
        else:
            rule = row.rule
        if isinstance(row, Row) and key is not None and key not in table:
            table[key] = {name: row.cells.get(name) for name in wanted}
        else:
            again = key is not None and key in table
            yield Oddity(
                kind="repeated_lookup_key" if again else "unreadable_row",
                rule="has the key of a row before it" if again else rule or "has no key",
                file=input_.name,
                row=row.number,
                line=row.line,
            )
