"""What we fetch ourselves: a feed reads, the door makes durable, and only then the mark moves.

Each pull has a thread and a feed of its own, so that a broken one stops no other. A feed reads on behind
its mark. What it read is handed to the door, and when the door has every event in the log or in quarantine,
the mark is committed. Killed anywhere between, it reads the same rows again and makes the same events with
the same ids: at least once to the door, exactly once in what is decided.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from threading import Event as Signal
from threading import Thread
from time import monotonic
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from lendsignal.clock import Clock, from_us
from lendsignal.errors import InputError, PullError
from lendsignal.log import Marks, PullState
from lendsignal.metrics import Meters
from lendsignal.source.reading import occurred_at_of

logger = logging.getLogger(__name__)

BACK_OFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""How long a feed in trouble waits before its next try."""

STOP_SECONDS = 10.0
"""How long a reading may go on that began before the order to stop. Nothing of it is marked."""

TIDY_SECONDS = 600.0
"""How often a pull forgets what is old."""

MET = 50_000
"""Events that were passed over before they are remembered anew, so that they do not fill memory."""

_sorted = msgspec.json.Encoder(order="sorted").encode


class PullSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every pull has, whatever it reads from."""

    kind: Annotated[str, Meta(description="what it reads from")]
    enabled: Annotated[bool, Meta(description="false: it is checked, but not read")] = True
    every: Annotated[timedelta, Meta(description="how long it waits once everything was read")] = timedelta(
        seconds=5
    )
    batch: Annotated[int, Meta(ge=1, le=5_000, description="rows read and made durable at a time")] = 500
    send_since: Annotated[
        datetime | None,
        Meta(
            description="conversions of events since then are sent, older ones are history; by default since "
            "the pull was first started"
        ),
    ] = None
    remember: Annotated[
        timedelta, Meta(description="how long a row that comes again unchanged is passed over")
    ] = timedelta(days=30)


class Pulled(Struct, frozen=True, kw_only=True):
    """One event object as the door takes it, and where it was read, for people: a file's row, an offset.

    `key` says which event it is, `content` what it says, both hashed: one that is remembered with the same
    content is passed over. Without a key it always goes to the door.
    """

    event: dict[str, Any]
    where: str
    key: bytes | None = None
    content: bytes = b""


class Unread(Struct, frozen=True, kw_only=True):
    """A row or message that cannot be an event: it goes to quarantine and stops nobody."""

    where: str
    field: str
    rule: str
    body: bytes = b""


class Batch(Struct, frozen=True, kw_only=True):
    """What one reading found. `mark` is where the feed stands once all of it is kept.

    `None`: the mark need not move, as where a broker keeps it. `more`: read again at once. `notes` are kept
    with the mark, for `Marks.note`. `behind` says how far the feed is behind its source; `None`: not known.
    """

    events: Sequence[Pulled] = ()
    unread: Sequence[Unread] = ()
    mark: bytes | None = None
    notes: Mapping[str, bytes] = {}
    rows: int = 0
    more: bool = False
    behind: timedelta | None = None


class Feed(Protocol):
    """Something to read from. One thread calls it, one call at a time.

    Every call may raise `PullError`; anything else it raises counts as our own mistake. Either way the feed
    is closed, and a new one is opened after a while.
    """

    waits_itself: bool
    """Whether `read` waits for rows, so that it is called again at once."""

    def read(self, mark: bytes | None, limit: int) -> Batch:
        """About so many rows behind the mark. It may wait for rows, but no longer than a second."""

    def kept(self, batch: Batch) -> None:
        """All of that batch is durable and its mark committed: now the source may forget it.

        It is not called again after a crash: what it does must also follow from reading again.
        """

    def close(self) -> None:
        """Lets go of the source. Called once; raises nothing."""


class Handed(Struct, frozen=True):
    """What became of a batch: how many events are in the log, and how many in quarantine."""

    accepted: int = 0
    refused: int = 0


class NotTaken(Exception):
    """The door does not take events now: the same batch must come again, after so many seconds."""

    def __init__(self, why: str, seconds: float = 1.0) -> None:
        self.why = why
        self.seconds = seconds
        super().__init__(why)


Hand = Callable[[str, Batch], Handed]
"""Makes the events of a pull's batch durable, or raises `NotTaken`."""


def event_id_of(pull: str, *parts: str | bytes) -> str:
    """The id of an event that has none of its own: the same for the same pull and parts."""
    return f"{pull}-{digest_of(pull, *parts).hex()}"


def digest_of(*parts: str | bytes) -> bytes:
    """Sixteen bytes that stand for these parts, each kept apart from the next."""
    found = blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        found.update(len(raw).to_bytes(8, "big") + raw)
    return found.digest()


def content_of(event: Mapping[str, Any]) -> bytes:
    """What an event object says, hashed; without its id and revision, which say the same thing anew."""
    said = {name: value for name, value in event.items() if name not in ("event_id", "revision")}
    return digest_of(_sorted(said))


class PullMeters(Meters):
    """What the pulls read, how far behind they are, and what went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = self.counter(
            "lendsignal_pull_rows_total", "Rows, messages or lines that a pull read.", "pull"
        )
        self._events = self.counter(
            "lendsignal_pull_events_total",
            "Events of a pull, by what became of them at the door.",
            "pull",
            "end",
        )
        self._errors = self.counter(
            "lendsignal_pull_errors_total", "How often a pull could not read or hand over.", "pull", "reason"
        )
        self._behind = self.gauge(
            "lendsignal_pull_behind_seconds",
            "How far a pull is behind its source, where that is known.",
            "pull",
        )
        self._up = self.gauge(
            "lendsignal_pull_up", "1: the pull's last reading worked; 0: it is in trouble.", "pull"
        )
        self.behind: dict[tuple[str, ...], float] = {}
        self.up: dict[tuple[str, ...], float] = {}

    def read(self, pull: str, rows: int, handed: Handed, passed_over: int) -> None:
        """One batch that was made durable."""
        self._rows.add(pull, n=rows)
        for end, n in (("taken", handed.accepted), ("refused", handed.refused), ("known", passed_over)):
            if n:
                self._events.add(pull, end, n=n)

    def failed(self, pull: str, reason: str) -> None:
        """Once more, for that reason."""
        self._errors.add(pull, reason)

    def sample(self) -> None:
        self._behind.stand(dict(self.behind))
        self._up.stand(dict(self.up))


class Puller:
    """One pull: reads its feed, has it made durable, moves the mark. `run` is its thread."""

    def __init__(
        self,
        name: str,
        settings: PullSettings,
        open_feed: Callable[[], Feed],
        hand: Hand,
        pulls: Marks,
        clock: Clock,
        *,
        meters: PullMeters | None = None,
        stopping: Signal | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._open = open_feed
        self._hand = hand
        self._pulls = pulls
        self._clock = clock
        self._meters = meters or PullMeters()
        self._stopping = stopping or Signal()
        self._feed: Feed | None = None
        self._failures = 0
        self._met: set[bytes] = set()
        self._tidied = monotonic()
        began_us = pulls.began(name, clock.now_us())
        found = next((one for one in pulls.standing() if one.name == name), None)
        self.state = found or PullState(name=name, began_us=began_us)
        since = settings.send_since
        self._send_since = from_us(began_us) if since is None else since

    def run(self) -> None:
        """Reads until told to stop; whatever goes wrong is kept, waited out, and tried again."""
        while not self._stopping.is_set():
            wait = self._settings.every.total_seconds()
            try:
                if self.turn():
                    continue
                if self._feed is not None and self._feed.waits_itself:
                    wait = 0.0
            except Exception as error:  # one of the loops that record and go on
                wait = self._troubled(error)
            self._stopping.wait(wait)
        self.close()

    def turn(self) -> bool:
        """Reads once and keeps what was read; whether more waits. Raises what stopped it.

        Nothing is kept where it is told to stop before the door took the batch.
        """
        if self._feed is None:
            self._feed = self._open()
        mark = self._pulls.mark(self.name)
        batch = self._feed.read(mark, self._settings.batch)
        fresh, passed_over = self._fresh(batch)
        handed = self._handed(fresh)
        if handed is None:
            return False
        remembered = {one.key: one.content for one in fresh.events if one.key is not None}
        if batch.mark != mark or remembered or batch.notes:
            self._pulls.commit(
                self.name, batch.mark, self._clock.now_us(), remembered=remembered, notes=batch.notes
            )
        self._feed.kept(batch)
        self._kept(batch, handed, passed_over)
        return batch.more

    def preview(self) -> Batch:
        """What a turn would hand over now; nothing is kept."""
        if self._feed is None:
            self._feed = self._open()
        mark = self._pulls.mark(self.name)
        batch = self._feed.read(mark, self._settings.batch)
        while self._feed.waits_itself and batch.more and not batch.rows:
            batch = self._feed.read(mark, self._settings.batch)  # it has not come to its first rows yet
        return self._marked(batch)

    def close(self) -> None:
        """Lets go of the source."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _fresh(self, batch: Batch) -> tuple[Batch, int]:
        """The batch without what is remembered, or stands twice in it; and how much that was."""
        keys = [one.key for one in batch.events if one.key is not None]
        known = self._pulls.contents(self.name, keys) if keys else {}
        fresh: list[Pulled] = []
        for one in batch.events:
            if one.key is not None:
                if known.get(one.key) == one.content:
                    self._met.add(one.key)
                    continue
                known[one.key] = one.content
            fresh.append(one)
        return self._marked(replace(batch, events=fresh)), len(batch.events) - len(fresh)

    def _marked(self, batch: Batch) -> Batch:
        """The batch with its older events marked as history."""
        events = [
            replace(one, event={**one.event, "history": True}) if self._is_history(one.event) else one
            for one in batch.events
        ]
        return replace(batch, events=events)

    def _is_history(self, event: Mapping[str, Any]) -> bool:
        try:
            return "history" not in event and occurred_at_of(event) < self._send_since
        except InputError:
            return False  # the door refuses it

    def _handed(self, batch: Batch) -> Handed | None:
        """What became of the batch; `None` where we are to stop before the door takes it."""
        if not batch.events and not batch.unread:
            return Handed()
        while True:
            try:
                return self._hand(self.name, batch)
            except NotTaken as busy:
                self._meters.failed(self.name, "not_taken")
                logger.info("pull %s waits: %s", self.name, busy.why)
                if self._stopping.wait(busy.seconds):
                    return None

    def _kept(self, batch: Batch, handed: Handed, passed_over: int) -> None:
        self._failures = 0
        self._meters.read(self.name, batch.rows, handed, passed_over)
        self._meters.up[self.name,] = 1.0
        if batch.behind is not None:
            self._meters.behind[self.name,] = batch.behind.total_seconds()
        now_us, before = self._clock.now_us(), self.state
        state = "reading" if batch.more else "waiting"
        self.state = PullState(
            name=self.name,
            began_us=before.began_us,
            state=state,
            since_us=before.since_us if state == before.state else now_us,
            read_us=now_us,
            rows=before.rows + batch.rows,
            events=before.events + handed.accepted,
            refused=before.refused + handed.refused,
            behind_us=None if batch.behind is None else batch.behind // timedelta(microseconds=1),
        )
        self._pulls.stand(self.state)
        if before.state == "trouble":
            logger.info("pull %s reads again", self.name)
        if len(self._met) >= MET or monotonic() - self._tidied > TIDY_SECONDS:
            self._tidy(now_us)

    def _tidy(self, now_us: int) -> None:
        """Forgets what has not come for long; what still comes is remembered anew."""
        self._tidied = monotonic()
        met, self._met = self._met, set()
        self._pulls.met_again(self.name, met, now_us)
        self._pulls.forget(self.name, now_us - self._settings.remember // timedelta(microseconds=1))

    def _troubled(self, error: Exception) -> float:
        """Keeps what went wrong, lets go of the feed, and says how long to wait."""
        reason, detail = (
            (error.reason, error.detail) if isinstance(error, PullError) else ("broken", type(error).__name__)
        )
        wait = BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)]
        self._failures += 1
        self._meters.failed(self.name, reason)
        self._meters.up[self.name,] = 0.0
        if self.state.state != "trouble" or self.state.reason != reason:
            logger.warning("pull %s does not read: %s: %s", self.name, reason, detail)
        now_us = self._clock.now_us()
        self.state = replace(
            self.state,
            state="trouble",
            reason=reason,
            detail=detail,
            since_us=self.state.since_us if self.state.state == "trouble" else now_us,
        )
        try:
            self.close()
            self._pulls.stand(self.state)
        except Exception as failure:  # the disk may be the trouble
            logger.warning("pull %s: its state cannot be kept: %s", self.name, type(failure).__name__)
        return wait


def pull_all(pullers: Sequence[Puller], stopping: Signal) -> None:
    """Runs every pull in a thread of its own until told to stop; what reads then still is left behind."""
    threads = [Thread(target=one.run, name=f"pull {one.name}", daemon=True) for one in pullers]
    for thread in threads:
        thread.start()
    stopping.wait()
    end = monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
