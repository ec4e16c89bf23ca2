"""What a role counts and measures, and how it is told: Prometheus text, a file a role, one page of all.

Rooms count in plain dictionaries, with no lock: each metric is written by one thread and read by any.
Units are in the names: seconds, bytes, or the noun that is counted.
"""

import logging
import os
import re
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from threading import Event, Lock, Thread

from msgspec import Struct

from lendsignal import __version__
from lendsignal.model import EventType

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats, 2026-11-22)."""

EVERY_SECONDS = 1.0
"""How often a role writes its file."""

SHARE = 0.02
"""Of a role's time, what measuring may take: where it takes long, it is done less often."""

SELDOM_SECONDS = 5.0
"""How often it is done at least."""

FRESH_SECONDS = 10.0
"""A role whose file is older does not turn."""

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of what takes milliseconds, in seconds."""

SLOW = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 10800.0, 21600.0, 86400.0, 259200.0)
"""Bounds of what takes seconds to days: an hour, three and six, a day and three are among them."""

OTHER = "other"
CUSTOM = "custom"

_TYPES = {kind.value for kind in EventType}

Labels = tuple[str, ...]


class Family(Struct, frozen=True):
    """What a metric is called, what it means, and by what it is told apart."""

    name: str
    meaning: str
    labels: Labels = ()


class Counter:
    """Something that only rises until its role starts again."""

    kind = "counter"

    def __init__(self, family: Family) -> None:
        self.family = family
        self.values: dict[Labels, float] = {} if family.labels else {(): 0}

    def add(self, *labels: str, n: float = 1) -> None:
        """So many more."""
        self.values[labels] = self.values.get(labels, 0) + n

    def samples(self) -> Iterator[str]:
        """A line for each set of labels."""
        for labels, value in self.values.copy().items():
            yield _line(self.family.name, zip(self.family.labels, labels, strict=True), value)


class Gauge:
    """How something stands now."""

    kind = "gauge"

    def __init__(self, family: Family) -> None:
        self.family = family
        self.values: Mapping[Labels, float] = {}

    def set(self, value: float) -> None:
        """Of a gauge without labels."""
        self.values = {(): value}

    def stand(self, values: Mapping[Labels, float]) -> None:
        """All there is of it: what was there before and is not among these is gone."""
        self.values = values

    def samples(self) -> Iterator[str]:
        """A line for each set of labels."""
        for labels, value in self.values.items():
            yield _line(self.family.name, zip(self.family.labels, labels, strict=True), value)


class Spans:
    """How often something took how long, for one set of labels."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def took(self, seconds: float) -> None:
        """Once more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Histogram:
    """How long something takes."""

    kind = "histogram"

    def __init__(self, family: Family, bounds: Sequence[float]) -> None:
        self.family = family
        self.bounds = bounds
        self.spans: dict[Labels, Spans] = {} if family.labels else {(): Spans(bounds)}

    def of(self, *labels: str) -> Spans:
        """What these labels stand for."""
        found = self.spans.get(labels)
        if found is None:
            found = self.spans[labels] = Spans(self.bounds)
        return found

    def samples(self) -> Iterator[str]:
        """For each set of labels its buckets, each of which counts all that took no longer, count and sum."""
        name = self.family.name
        ends = [*(str(bound) for bound in self.bounds), "+Inf"]
        for labels, spans in self.spans.copy().items():
            pairs = list(zip(self.family.labels, labels, strict=True))
            counts = list(accumulate(spans.counts))
            for end, count in zip(ends, counts, strict=True):
                yield _line(f"{name}_bucket", [*pairs, ("le", end)], count)
            yield _line(f"{name}_count", pairs, counts[-1])
            yield _line(f"{name}_sum", pairs, spans.total)


class Meters:
    """The metrics of one room. A subclass names them, and looks up in `sample` what need not be counted."""

    def __init__(self) -> None:
        self.all: list[Counter | Gauge | Histogram] = []

    def counter(self, name: str, meaning: str, *labels: str) -> Counter:
        """A counter; its name ends in `_total`."""
        made = Counter(Family(name, meaning, labels))
        self.all.append(made)
        return made

    def gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        """A gauge."""
        made = Gauge(Family(name, meaning, labels))
        self.all.append(made)
        return made

    def histogram(self, name: str, meaning: str, bounds: Sequence[float], *labels: str) -> Histogram:
        """A histogram of seconds; `bounds` are the upper ends of its buckets."""
        made = Histogram(Family(name, meaning, labels), bounds)
        self.all.append(made)
        return made

    def sample(self) -> None:
        """Brings up to date what is not counted as it happens."""

    def text(self) -> str:
        """Everything as it stands now, in Prometheus' text format."""
        self.sample()
        return "".join(line for one in self.all for line in _told(one))


def _told(one: Counter | Gauge | Histogram) -> Iterator[str]:
    family = one.family
    yield f"# HELP {family.name} {_escaped(family.meaning)}\n"
    yield f"# TYPE {family.name} {one.kind}\n"
    yield from one.samples()


def _line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    said = ",".join([f'{label}="{_escaped(word, quotes=True)}"' for label, word in sorted(labels)])
    number = repr(float(value)).replace("inf", "+Inf").replace("-+", "-")
    return f"{name}{{{said}}} {number}\n" if said else f"{name} {number}\n"


def _escaped(text: str, *, quotes: bool = False) -> str:
    """Text as the format has it: a backslash before itself, for a line feed, and before quotes in a label."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


class Words:
    """Keeps a label bounded whatever comes: so many different words pass, every further one is `other`."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._known: dict[str, str] = {}

    def bounded(self, word: str) -> str:
        """The word, or `other`."""
        known = self._known.get(word)
        if known is not None:
            return known
        if len(self._known) >= self._most or len(word) > 64:
            return OTHER
        self._known[word] = word
        return word


def event_word(kind: str) -> str:
    """An event's type; of the lender's own, of which there may be any number, `custom`."""
    return kind if kind in _TYPES else CUSTOM


class ProcessMeters(Meters):
    """What a role's process takes of the machine."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role
        self._cpu = self.counter(
            "lendsignal_process_cpu_seconds_total", "Processor time that the role's process has used.", "role"
        )
        self._resident = self.gauge(
            "lendsignal_process_resident_bytes", "Memory that the role's process holds.", "role"
        )
        built = self.gauge(
            "lendsignal_build_info", "Always 1: which version the role runs.", "role", "version", "python"
        )
        built.stand({(role, __version__, ".".join(map(str, sys.version_info[:3]))): 1})

    def sample(self) -> None:
        self._cpu.values[self._role,] = time.process_time()
        resident = _resident_bytes()
        if resident is not None:
            self._resident.stand({(self._role,): resident})


class FolderMeters(Meters):
    """What room the data folder has."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._free = self.gauge("lendsignal_disk_free_bytes", "Free room on the disk of the data folder.")

    def sample(self) -> None:
        disk = os.statvfs(self._folder)
        self._free.set(disk.f_bavail * disk.f_frsize)


def _resident_bytes() -> int | None:
    """`None` where the system has no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


class RoleMetrics:
    """What one role measures: its own registry, and the file by which the other roles tell it.

    `steady` is the machine's steady clock, which every process of it shares.
    """

    def __init__(
        self,
        role: str,
        folder: Path,
        meters: Iterable[Meters] = (),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.role = role
        self.folder = folder
        self._steady = steady
        self._meters = [*meters, ProcessMeters(role)]
        _refuse_doubles(self._meters)
        self._lock = Lock()
        self._due = 0.0
        self._silent = False

    def text(self) -> str:
        """Everything as it stands now."""
        with self._lock:
            return "".join(one.text() for one in self._meters)

    def tick(self) -> None:
        """Writes the file where it is time: for a loop that turns anyway."""
        now = self._steady()
        if now >= self._due:
            self.write()
            self._due = now + min(max(EVERY_SECONDS, (self._steady() - now) / SHARE), SELDOM_SECONDS)

    def write(self) -> None:
        """Writes the file whole or not at all. What goes wrong with it is said once and stops nobody."""
        file = file_of(self.folder, self.role)
        fresh = file.with_suffix(".metrics.new")
        try:
            fresh.write_text(f"{_HEAD} {self._steady()}\n{self.text()}")
            fresh.replace(file)
            self._silent = False
        except Exception as error:  # what is measured must go on, however its measuring fails
            if not self._silent:
                logger.warning("metrics cannot be written: %s", type(error).__name__)
            self._silent = True

    def close(self) -> None:
        """The role ended in good order: there is nothing to tell."""
        file_of(self.folder, self.role).unlink(missing_ok=True)

    def page(self, roles: Iterable[str]) -> str:
        """This role's metrics, those of the other roles that turn, and which of them do."""
        texts, up = [self.text()], {self.role: True}
        for role in roles:
            if role != self.role:
                text = told_by(self.folder, role, self._steady())
                up[role] = text is not None
                texts.append(text or "")
        return merged([_standing(up), *texts])


class Ticking:
    """Writes a role's file from a thread of its own, while the block runs: for a role without a loop."""

    def __init__(self, metrics: RoleMetrics) -> None:
        self._metrics = metrics
        self._ended = Event()
        self._thread = Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> "Ticking":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._metrics.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._metrics.tick()
            self._ended.wait(EVERY_SECONDS / 4)


def _refuse_doubles(meters: Iterable[Meters]) -> None:
    """Raises `ValueError` where two metrics of a role have one name."""
    names = [one.family.name for part in meters for one in part.all]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise ValueError(f"more than one metric is called {', '.join(sorted(doubled))}")


_HEAD = "# lendsignal at"
"""Of a role's file, before the steady second at which it was written: a comment in Prometheus text."""


def file_of(folder: Path, role: str) -> Path:
    """Where a role writes its metrics."""
    return folder / f"{role}.metrics"


def told_by(folder: Path, role: str, now: float) -> str | None:
    """What a role wrote lately; `None`: it does not turn. `now` is in steady seconds."""
    try:
        head, _, text = file_of(folder, role).read_text().partition("\n")
        since = now - float(head.removeprefix(_HEAD))
    except (OSError, ValueError):
        return None
    # Steady seconds begin anew with the machine: what seems to come from the future was before that.
    return text if 0 <= since <= FRESH_SECONDS else None


def merged(texts: Iterable[str]) -> str:
    """Several texts as one: a metric that several tell has one heading, and all its lines stand under it."""
    heads: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    for text in texts:
        for part in re.split(r"^# HELP ", text, flags=re.MULTILINE)[1:]:
            name = part.split(" ", 1)[0]
            meaning, kind, samples = (*part.split("\n", 2), "")[:3]
            heads.setdefault(name, f"# HELP {meaning}\n{kind}\n")
            lines.setdefault(name, []).append(samples)
    return "".join(heads[name] + "".join(lines[name]) for name in heads)


def _standing(up: Mapping[str, bool]) -> str:
    meters = UpMeters()
    meters.up.stand({(role,): float(lives) for role, lives in up.items()})
    return meters.text()


class UpMeters(Meters):
    """Which roles turn, as the role sees it that answers."""

    def __init__(self) -> None:
        super().__init__()
        self.up = self.gauge(
            "lendsignal_role_up",
            "1: the role turns; 0: it was not heard of for 10 seconds, or ended.",
            "role",
        )
