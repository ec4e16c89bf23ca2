"""How the rows of a pull become events: the rules of the import map, under the pull's own table."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Annotated

from msgspec import Meta, Struct

from lendsignal.clock import to_us
from lendsignal.errors import ConfigError, Problem
from lendsignal.source.files.events import EntryRules, entry_rules, events_of_row
from lendsignal.source.files.map import (
    AnyOperation,
    Constant,
    EventRule,
    FileRule,
    ImportMap,
    Lookup,
    problems_of_map,
)
from lendsignal.source.files.rows import Row
from lendsignal.source.files.values import TEXT, Column, Moment, Unreadable, number_of, value_of
from lendsignal.source.pull import Pulled, Unread, content_of, digest_of, event_id_of

ENTRY = "rows"
"""The one entry of the map that a pull's table is."""


class RowMap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a pull's table that says what its rows mean, as `docs/reference/import-map.md` tells.

    Without any `event` a row must be a JSON object that is an event already.
    """

    event: Annotated[tuple[EventRule, ...], Meta(description="the events that a row makes")] = ()
    constant: Annotated[dict[str, Constant], Meta(description="event fields every event has")] = {}
    column: Annotated[dict[str, Column], Meta(description="what the cells of a column are")] = {}
    computed: Annotated[dict[str, AnyOperation], Meta(description="values worked out from a row")] = {}
    revision: Annotated[
        str | None,
        Meta(description="a column that rises with each change of a row: a number or a time"),
    ] = None
    empty: Annotated[tuple[str, ...], Meta(description="texts that mean nothing is there")] = ("", "NULL")


def map_of_rows(settings: RowMap) -> ImportMap:
    """The map that the rules of a pull are."""
    return ImportMap(
        file={ENTRY: FileRule(match="*", empty=settings.empty)},
        event=settings.event or (EventRule(as_is=True),),
        constant=settings.constant,
        column=settings.column,
        computed=settings.computed,
    )


def problems_of_rows(settings: RowMap) -> Iterator[Problem]:
    """What is wrong with the rules, with keys as they stand below the pull's table."""
    for number, rule in enumerate(settings.event):
        for name in ("file", "once_per"):
            if getattr(rule, name):
                allowed = "nothing: a pull has one kind of row, and knows each by its key"
                yield Problem(f"event[{number}].{name}", "a rule for the files of an import", allowed)
    for name, operation in settings.computed.items():
        if isinstance(operation, Lookup):
            yield Problem(f"computed.{name}", "a lookup in another file", "a join in the query, or no lookup")
    rules = map_of_rows(settings)
    yield from problems_of_map(rules)
    try:
        entry_rules(rules, ENTRY)
    except ConfigError as error:
        yield from error.problems


class Rows:
    """Turns the rows of one pull into events. An event without an id of its own gets one from `key`."""

    def __init__(self, pull: str, settings: RowMap) -> None:
        self._pull = pull
        self._settings = settings
        self._entry: EntryRules = entry_rules(map_of_rows(settings), ENTRY)

    def pulled(
        self, row: Row, where: str, key: Sequence[str] | None, repeats: Counter[bytes] | None = None
    ) -> tuple[list[Pulled], list[Unread]]:
        """The events of a row, and what in it could not be read.

        `key` is what makes the row the same row whatever it says. `None`: it is what its events say, and
        `repeats` counts those that say the same, so that the second stays another one.
        """
        made, odd = events_of_row(row, self._entry)
        revision, unread = self._revision(row, where)
        found: list[Pulled] = []
        for one in made:
            try:
                said = content_of(one.event)
            except (OverflowError, TypeError, UnicodeEncodeError):
                unread.append(Unread(where=where, field="row", rule="holds what JSON cannot: a huge number"))
                continue
            about = digest_of(str(one.rule), *(key if key is not None else [said]))
            if repeats is not None:
                n = repeats[about]
                repeats[about] += 1
                about = digest_of(about, str(n)) if n else about
            event = one.event if revision is None else {"revision": revision, **one.event}
            if not event.get("event_id"):
                event["event_id"] = event_id_of(self._pull, about, said)
            found.append(Pulled(event=event, where=where, key=about, content=said))
        unread += [
            Unread(where=where, field=one.field or "row", rule=f"{one.rule}, needed for {one.event}")
            for one in odd
            if one.kind == "unreadable_cell" and one.event
        ]
        return found, unread

    def _revision(self, row: Row, where: str) -> tuple[int | None, list[Unread]]:
        """How often the row was changed: a number as it is, a time as its microseconds since 1970."""
        name = self._settings.revision
        if name is None:
            return None, []
        try:
            column = self._entry.columns.get(name, TEXT)
            value = value_of(row.cells.get(name), column, name, lambda *_: None)
            if value is None:
                return None, []
            if isinstance(value, Moment):
                return to_us(value.at.astimezone(UTC)), []
            return int(number_of(value, name)), []
        except Unreadable as error:
            return None, [Unread(where=where, field=error.column, rule=error.rule)]
