"""The dry run: what an import would bring, and everything odd in it. Nothing is written."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.clock import to_us
from lendsignal.errors import InputError
from lendsignal.model import Event
from lendsignal.source.files.events import Inputs, Progress, inputs_of_files, judged
from lendsignal.source.files.map import ImportMap
from lendsignal.source.files.oddity import Kind, Oddity, Place, odd_of_user
from lendsignal.source.files.sorting import Key, Sorted
from lendsignal.source.reading import Reader

SAMPLES = 2
"""Events shown of each type."""

NAMED = 1_000
"""Oddities of one kind that are named at most; all are counted."""

_encode = msgspec.msgpack.Encoder().encode
_event = msgspec.msgpack.Decoder(Event).decode


class Survey(Struct, frozen=True, kw_only=True):
    """What the files hold. Times are UTC.

    `files`: (name, entry of the map). `events`: count by type, before repeats are told apart. `samples`: the
    first events of each type with the fields that are set. `odd`: count by kind; `oddities` names up to
    `NAMED` of each; `reported`: count by the name of the map's report rules.
    """

    files: tuple[tuple[str, str], ...]
    users: int
    events: dict[str, int]
    first: datetime | None
    last: datetime | None
    samples: dict[str, tuple[dict[str, Any], ...]]
    odd: dict[Kind, int]
    reported: dict[str, int]
    oddities: tuple[Oddity, ...]

    def of_kind(self, kind: Kind) -> tuple[Oddity, ...]:
        """The named oddities of one kind, in the order they were met."""
        return tuple(one for one in self.oddities if one.kind == kind)


def survey(
    files: Iterable[Path],
    rules: ImportMap,
    reader: Reader,
    *,
    now: datetime,
    progress: Progress = lambda done, total: None,
) -> Survey:
    """Reads the files as an import would and says what is in them. `progress` counts bytes of the files.

    Raises `ConfigError` and `InputError` where the files cannot be told by the map (see `inputs_of_files`);
    a file that is damaged in the middle is an oddity here.
    """
    inputs = inputs_of_files(files, rules)
    names = [one.name for one in inputs.events]
    counts: Counter[str] = Counter()
    notes = _Notes()
    span: list[datetime] = []
    samples: dict[str, list[dict[str, Any]]] = {}
    users = 0
    with Sorted() as events:
        for item in _until_damage(inputs, reader, now, progress):
            if isinstance(item, Oddity):
                notes.add(item)
                continue
            place, event = item
            counts[event.type] += 1
            span = [min([event.occurred_at, *span[:1]]), max([event.occurred_at, *span[1:]])]
            shown = samples.setdefault(event.type, [])
            if len(shown) < SAMPLES:
                shown.append(_shown(event))
            key = (event.brand, event.user_id, to_us(event.occurred_at), *_tuple(place))
            events.put(key, _encode((place, event)))
        for _, group in groupby(events, key=lambda pair: pair[0][:2]):
            users += 1
            for oddity in odd_of_user(list(map(_placed, group)), names):
                notes.add(oddity)
    return Survey(
        files=tuple((one.name, one.entry) for one in (*inputs.events, *inputs.lookups)),
        users=users,
        events=dict(sorted(counts.items())),
        first=span[0] if span else None,
        last=span[1] if span else None,
        samples={kind: tuple(shown) for kind, shown in sorted(samples.items())},
        odd=dict(notes.counts),
        reported=dict(notes.reported),
        oddities=tuple(notes.named),
    )


class _Notes:
    """Oddities counted, and the first of each kind (or report rule) named."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.reported: Counter[str] = Counter()
        self.named: list[Oddity] = []

    def add(self, oddity: Oddity) -> None:
        self.counts[oddity.kind] += 1
        n = self.counts[oddity.kind]
        if oddity.kind == "reported":
            self.reported[oddity.rule] += 1
            n = self.reported[oddity.rule]
        if n <= NAMED:
            self.named.append(oddity)


def _until_damage(
    inputs: Inputs, reader: Reader, now: datetime, progress: Progress
) -> Iterator[tuple[Place, Event] | Oddity]:
    try:
        yield from judged(inputs, reader, now, progress=progress)
    except InputError as error:
        yield Oddity(kind="unreadable_file", rule=error.rule, file=error.field)


_pair = msgspec.msgpack.Decoder(tuple[Place, Event]).decode


def _placed(pair: tuple[Key, bytes]) -> tuple[Place, Event]:
    return _pair(pair[1])


def _tuple(place: Place) -> tuple[int, int, int]:
    return place.file, place.row, place.rule


def _shown(event: Event) -> dict[str, Any]:
    """The fields that are set, as JSON would have them, without what we add and without hashed contacts."""
    found: dict[str, Any] = msgspec.to_builtins(event)
    found["occurred_at"] = event.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds")
    return {
        name: value
        for name, value in found.items()
        if name not in ("received_at", "source", "contact", "event_id")
    }
