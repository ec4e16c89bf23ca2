"""The import: the files' events in the order of time, made durable chunk by chunk, once.

What an import has done is kept in the log beside its events, in the same transaction, so that one that was
killed goes on behind its last durable chunk. For that the order must not change: it depends on the files'
contents, the map, the apps and the moment at which the import was first started, which is kept as well.

Of a finished import nothing is added again. A file that was imported without refusals under this map stays
out of later imports with other files beside it. Everything else that comes again (the same rows in another
file, or under a changed map) is told apart by `decide`, which takes each business fact once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from lendsignal.clock import from_us, to_us
from lendsignal.log import Quarantined, Taking
from lendsignal.model import Event
from lendsignal.source.files.events import SOURCE, Inputs, Progress, inputs_of_files, judged
from lendsignal.source.files.map import ImportMap, map_hash
from lendsignal.source.files.oddity import REFUSED, Kind, Oddity
from lendsignal.source.files.sorting import Sorted
from lendsignal.source.reading import Reader

AT_ONCE = 2_000
"""Events appended in one transaction."""

REFUSED_AT_ONCE = 2_000
"""Refusals kept in one transaction."""

FORMAT = "1"
"""Part of every key: raised when the same files and map would make other events or another order."""

_encode = msgspec.msgpack.Encoder().encode
_event = msgspec.msgpack.Decoder(Event).decode
_json = msgspec.json.Encoder(order="sorted").encode


class Imported(Struct, frozen=True, kw_only=True):
    """What an import came to.

    `files` were looked at; `known` of them had been imported before and added nothing. `appended`: events
    this call made durable, by type; `before`: how many an interrupted call had made durable already.
    `refused`: rows, cells and events in quarantine. `odd`: oddities of rows and events, by kind.
    """

    files: tuple[str, ...]
    known: tuple[str, ...]
    appended: dict[str, int]
    before: int
    refused: int
    odd: dict[Kind, int]

    @property
    def total(self) -> int:
        """Events this call made durable."""
        return sum(self.appended.values())


def import_files(
    log: Taking,
    files: Iterable[Path],
    rules: ImportMap,
    reader: Reader,
    *,
    now: datetime,
    send_since: datetime | None = None,
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Appends the files' events to the log in the order of time and keeps refusals in quarantine.

    Events before `send_since` are history, which is never sent; without it all are. `now` is the events'
    arrival, unless an interrupted import began earlier: then it is that moment. `progress` counts bytes of
    the files twice: while they are read and while they are written. One import at a time over a data folder.

    Nothing is appended before every file has been read to its end. Sorting holds 200,000 events in memory and
    the rest in temporary files; memory grows by about 100 bytes for each value of a `once_per` and by the
    lookup files' rows. Raises `ConfigError` and `InputError` as `inputs_of_files` and `judged` do.
    """
    inputs = inputs_of_files(files, rules)
    names = tuple(one.name for one in inputs.events)
    whole = _key("whole", inputs, reader=reader)
    if log.imported(whole)[1]:
        return Imported(files=names, known=names, appended={}, before=0, refused=0, odd={})
    known = {one.hash for one in inputs.events if log.imported(_key("file", inputs, only=one.hash))[1]}
    stream = _key("stream", inputs, reader=reader, without=known)
    began = _began(log, stream, now)
    before, finished = log.imported(stream)
    appended: Counter[str] = Counter()
    odd: Counter[Kind] = Counter()
    refused = _Refusals(log, stream, began)
    size = inputs.bytes
    skipped = tuple(one.name for one in inputs.events if one.hash in known)
    with Sorted() as events:
        for item in judged(
            inputs,
            reader,
            began,
            send_since=send_since,
            progress=lambda done, _: progress(done, 2 * size),
        ):
            if isinstance(item, Oddity):
                if item.file not in skipped:
                    odd[item.kind] += 1
                    refused.add(item)
                continue
            place, event = item
            if inputs.events[place.file].hash not in known:
                key = (to_us(event.occurred_at), place.file, place.row, place.rule)
                events.put(key, _encode(event))
        refused.finish()
        if not finished:
            _append(log, events, stream, _title(names), before, appended, progress, size)
    _mark(log, inputs, whole, known, refused.files)
    progress(2 * size, 2 * size)
    return Imported(
        files=names,
        known=skipped,
        appended=dict(sorted(appended.items())),
        before=before,
        refused=refused.count,
        odd=dict(odd),
    )


def _append(
    log: Taking,
    events: Sorted,
    stream: str,
    title: str,
    before: int,
    appended: Counter[str],
    progress: Progress,
    size: int,
) -> None:
    """Appends what is not durable yet, and says with the last chunk that all of it is."""
    chunk: list[Event] = []
    done = 0
    for _, body in events:
        done += 1
        if done <= before:
            continue
        chunk.append(_event(body))
        if len(chunk) == AT_ONCE:
            log.append(chunk, imported=(stream, title, done, False))
            appended.update(event.type for event in chunk)
            chunk = []
            progress(size + size * done // max(events.count, 1), 2 * size)
    log.append(chunk, imported=(stream, title, done, True))
    appended.update(event.type for event in chunk)


class _Refusals:
    """Refusals on their way into quarantine, each kept once however often the import is begun again.

    A chunk and the note that it is kept are two transactions. Where the note is missing, a look into the
    quarantine tells whether the chunk is there: its source names this import and chunk.
    """

    def __init__(self, log: Taking, stream: str, began: datetime) -> None:
        self._log = log
        self._stream = stream
        self._began_us = to_us(began)
        self._kept = log.imported(f"{stream} refused")[0]
        self._doubtful = True
        self._chunk: list[Quarantined] = []
        self._chunks = 0
        self.count = 0
        self.files: set[str] = set()

    def add(self, oddity: Oddity) -> None:
        """Takes an oddity; those that keep no event out of the log are left alone."""
        if oddity.kind not in REFUSED or (oddity.kind == "unreadable_cell" and not oddity.event):
            return
        self.count += 1
        self.files.add(oddity.file)
        place = {"file": oddity.file, "row": oddity.row, "line": oddity.line, "event": oddity.event}
        self._chunk.append(
            Quarantined(
                received_us=self._began_us,
                source=f"{SOURCE} {self._stream[:16]} {self._chunks}",
                field=oddity.field or "row",
                rule=oddity.rule,
                body=_json({name: value for name, value in place.items() if value}),
            )
        )
        if len(self._chunk) == REFUSED_AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Keeps what is still in hand."""
        if not self._chunk:
            return
        if self._chunks >= self._kept:
            if not (self._doubtful and self._is_there(self._chunk[0].source)):
                self._log.refuse(self._chunk)
            self._doubtful = False
            self._log.append([], imported=(f"{self._stream} refused", "refusals", self._chunks + 1, False))
        self._chunks += 1
        self._chunk = []

    def _is_there(self, source: str) -> bool:
        n = sum(self._log.refusals().values())
        return any(one.source == source for one in self._log.quarantined(n)) if n else False


def _began(log: Taking, stream: str, now: datetime) -> datetime:
    """When this import was first started, to the microsecond; noted now if it was not."""
    before_us, noted = log.imported(f"{stream} began")
    if not noted:
        log.append([], imported=(f"{stream} began", "began, in microseconds since 1970", to_us(now), True))
        return now
    return from_us(before_us)


def _mark(log: Taking, inputs: Inputs, whole: str, known: set[str], refused: set[str]) -> None:
    """Notes that the import is finished, and which files brought in all they hold."""
    lost_lookup = any(one.name in refused for one in inputs.lookups)
    log.append([], imported=(whole, _title([one.name for one in inputs.events]), 0, True))
    for one in inputs.events:
        if one.hash not in known and one.name not in refused and not lost_lookup:
            log.append([], imported=(_key("file", inputs, only=one.hash), one.name, 0, True))


def _key(
    what: str,
    inputs: Inputs,
    *,
    reader: Reader | None = None,
    only: str | None = None,
    without: Iterable[str] = (),
) -> str:
    """A name for what an import does: the same files, map and apps give the same name."""
    apps = None if reader is None else [reader.apps, reader.clock_ahead, reader.sets_received_at]
    events = [one.hash for one in inputs.events] if only is None else [only]
    lookups = [one.hash for one in inputs.lookups]
    names = [one.name for one in inputs.events] if only is None else []
    parts = [FORMAT, what, map_hash(inputs.rules), events, names, lookups, apps, sorted(without)]
    return sha256(_json(parts)).hexdigest()


def _title(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more" if names else "no file"
