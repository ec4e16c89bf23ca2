"""Who may come in: API keys, what each is good for, until when, and how much may come with it.

A key is known by its SHA-256 alone, from the configuration or from the file that `lendsignal keys` writes.
"""

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from hashlib import sha256
from math import ceil, inf
from threading import Event as Signal
from threading import Lock, Thread

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import Clock
from lendsignal.errors import InputError, LogError
from lendsignal.log import KeyStore, KeyUse
from lendsignal.model import App, Event
from lendsignal.source.answers import Refusal
from lendsignal.source.settings import Scope, SourceSettings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How soon a key is good, or ended, that was made or ended at the command line."""

NOTE_SECONDS = 5.0
"""How often the use of keys is written down."""

AT_HAND = 10_000
"""Headers remembered with their key: of more, all are looked up again."""


class Access(Struct, frozen=True, kw_only=True):
    """What one key is good for.

    `until_us`: microseconds since 1970 at which it ends, `None`: never. `per_second`: events in the long
    run, and `burst` of them at once; `None`: as many as come. `max_bytes`: of one request.
    """

    source: str
    sha256: str
    scopes: frozenset[str]
    until_us: int | None = None
    per_second: float | None = None
    burst: float = 1.0
    max_bytes: int | None = None
    brands: frozenset[str] = frozenset()
    """All that it may tell and ask of; empty: every brand, or those of `apps`."""
    apps: frozenset[str] = frozenset()

    @property
    def is_limited(self) -> bool:
        """Whether it is for some brands or apps alone."""
        return bool(self.brands or self.apps)

    def reaches(self, apps: Mapping[str, App]) -> tuple[str, ...]:
        """The names of those of the lender's apps that it may tell and ask of."""
        return tuple(sorted(name for name, app in apps.items() if self.beyond(app.brand, name, apps) is None))

    def beyond(self, brand: str, app: str | None, apps: Mapping[str, App]) -> tuple[str, str] | None:
        """Field and rule of what it may not tell or ask of; `None` where it may.

        What names no app, as loans mostly do, is of its brand; `apps` are all that the lender has.
        """
        if self.brands and brand not in self.brands:
            return "brand", f"this API key is for the brand {' or '.join(sorted(self.brands))} alone"
        if not self.apps or app in self.apps:
            return None
        if app:
            return "app", f"this API key is for the app {' or '.join(sorted(self.apps))} alone"
        if brand in {apps[name].brand for name in self.apps if name in apps}:
            return None
        return "brand", f"this API key is for the brand of {' or '.join(sorted(self.apps))} alone"

    def ending(self, at_us: int | None) -> "Access":
        """The same with an end that was set later, where that comes earlier."""
        if at_us is None or (self.until_us is not None and self.until_us <= at_us):
            return self
        return replace(self, until_us=at_us)


def access_of(
    source: str,
    settings: SourceSettings,
    digest: str,
    *,
    until_us: int | None = None,
    scopes: tuple[str, ...] | None = None,
) -> Access:
    """A source's key; it is never good for more than the source's keys are."""
    allowed = frozenset(settings.scopes)
    rate = settings.per_second
    return Access(
        source=source,
        sha256=digest,
        scopes=allowed if scopes is None else allowed.intersection(scopes),
        until_us=until_us,
        per_second=rate,
        burst=float(settings.burst or max(1.0, rate or 1.0)),
        max_bytes=settings.max_bytes,
        brands=frozenset(settings.brands),
        apps=frozenset(settings.apps),
    )


class BeyondKey(InputError):
    """The event is of a brand or an app that the key is not for: nothing of it is kept."""


def within(event: Event, access: Access, apps: Mapping[str, App]) -> Event:
    """The event itself, where the key may tell it. Raises `BeyondKey`."""
    beyond = access.beyond(event.brand, event.app, apps) if access.is_limited else None
    if beyond is not None:
        raise BeyondKey(*beyond)
    return event


class Bucket:
    """Events that a key may still send at this moment.

    A request is let in while one event is allowed, and then all of it: what was too much is waited for
    afterwards. So a batch need not be smaller than the burst.
    """

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = now

    def seconds_to_wait(self, now: float) -> float:
        """0 where a request is let in now; else for how long none is."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        # A hair below one event counts as one: sums of many small spans do not come out even.
        return 0.0 if self._left >= 1.0 - 1e-9 else (1.0 - self._left) / self._per_second

    def take(self, events: int) -> None:
        """So many came in."""
        self._left -= events


class Keyring:
    """Every key that is good now. Asked by the doors in one thread; looks after the file in another.

    `configured` are the keys in the configuration by their SHA-256; those in the file count for the sources
    that the configuration has. `clock` is the machine's own: a key ends when it ends, also in a replay.
    `patient`: where the store is away at the start, the configuration's keys do until it is back.
    """

    def __init__(
        self,
        configured: Mapping[str, Access],
        clock: Clock,
        steady: Callable[[], float],
        *,
        sources: Mapping[str, SourceSettings] | None = None,
        store: KeyStore | None = None,
        patient: bool = False,
    ) -> None:
        self._configured = configured
        self._clock = clock
        self._steady = steady
        self._sources = sources or {}
        self._store = store
        self._good = dict(configured)
        self._known: dict[bytes, Access] = {}
        self._buckets: dict[str, Bucket] = {}
        self._used: dict[str, KeyUse] = {}
        self._lock = Lock()
        self._version: int | None = None
        self._ended = Signal()
        self._thread = Thread(target=self._tend, name="keys", daemon=True)
        try:
            self.look()
        except LogError as error:
            if not patient:
                raise
            logger.warning("the keys cannot be looked up yet; those of the configuration are good: %s", error)

    def admit(self, authorization: bytes, scope: Scope) -> Access:
        """The key in an `Authorization` header, where it is good for that now. Raises `Refusal`.

        `Bearer <key>`, or Basic with the key for a name, as Segment's SDKs send it.
        """
        access = self._known.get(authorization) or self._found(authorization)
        now_us = self._clock.now_us()
        if access is None:
            raise Refusal(
                401, "unauthorised", "an API key is needed: Authorization: Bearer <key>", why="unknown_key"
            )
        if access.until_us is not None and now_us >= access.until_us:
            detail = "this API key has ended: a new one is needed"
            raise Refusal(401, "unauthorised", detail, why="ended_key", source=access.source)
        if scope not in access.scopes:
            detail = f"this API key lacks the scope {scope!r}"
            raise Refusal(403, "forbidden", detail, why="scope", source=access.source)
        self._note(access.sha256, now_us)
        return access

    def wait(self, access: Access) -> None:
        """Raises `Refusal` while the key has sent more than it may."""
        if access.per_second is None:
            return
        seconds = self._bucket(access, access.per_second).seconds_to_wait(self._steady())
        if seconds:
            detail = f"this API key may send {access.per_second:g} events a second"
            raise Refusal(
                429,
                "too many requests",
                detail,
                why="rate",
                source=access.source,
                retry_after=ceil(seconds),
            )

    def take(self, access: Access, events: int) -> None:
        """Counts events against what the key may send. Raises `Refusal` where others came in between."""
        if access.per_second is not None:
            self.wait(access)
            self._bucket(access, access.per_second).take(events)

    def look(self) -> None:
        """Reads the file again where it has changed."""
        if self._store is None:
            return
        version = self._store.version()
        if version == self._version:
            return
        good = dict(self._configured)
        for key in self._store.all():
            settings = self._sources.get(key.source)
            if settings is not None:
                good[key.sha256] = access_of(
                    key.source, settings, key.sha256, until_us=key.expires_us, scopes=key.scopes
                )
        for digest, at in self._store.ends().items():
            if (found := good.get(digest)) is not None:
                good[digest] = found.ending(at)
        # Swapped whole: the doors' thread reads them without a lock.
        self._good, self._known, self._version = good, {}, version

    def left(self) -> dict[str, float]:
        """Seconds until the last key of a source ends, 0 where it has; not of sources with a key for ever."""
        now_us, ends = self._clock.now_us(), dict[str, float]()
        for access in self._good.values():
            until_us = inf if access.until_us is None else access.until_us
            ends[access.source] = max(ends.get(access.source, 0.0), (until_us - now_us) / 1e6)
        return {source: seconds for source, seconds in ends.items() if seconds < inf}

    def note(self) -> None:
        """Writes down which keys were used since the last time."""
        with self._lock:
            used, self._used = self._used, {}
        if used and self._store is not None:
            self._store.note(used)

    def __enter__(self) -> "Keyring":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._store is not None:
            self._store.close()

    def _tend(self) -> None:
        written = self._steady()
        while not self._ended.wait(LOOK_SECONDS):
            written = self._looked_after(written)
        self._looked_after(written - NOTE_SECONDS)

    def _looked_after(self, written: float) -> float:
        try:
            self.look()
            if self._steady() - written >= NOTE_SECONDS:
                self.note()
                return self._steady()
        except LogError as error:
            logger.warning("the keys cannot be looked up now; those known before stay good: %s", error)
        return written

    def _found(self, authorization: bytes) -> Access | None:
        # In this order: `look` swaps the keys before it forgets the headers.
        known, good = self._known, self._good
        key = key_in(authorization)
        access = None if key is None else good.get(sha256(key).hexdigest())
        if access is not None:
            if len(known) >= AT_HAND:
                known.clear()
            known[authorization] = access
        return access

    def _note(self, digest: str, now_us: int) -> None:
        with self._lock:
            before = self._used.get(digest)
            self._used[digest] = KeyUse(now_us, 1 if before is None else before.requests + 1)

    def _bucket(self, access: Access, per_second: float) -> Bucket:
        found = self._buckets.get(access.sha256)
        if found is None:
            found = self._buckets[access.sha256] = Bucket(per_second, access.burst, self._steady())
        return found


def key_in(authorization: bytes) -> bytes | None:
    """The key in an `Authorization` header, `None` where there is none."""
    word, _, held = authorization.partition(b" ")
    match word.lower():
        case b"bearer":
            return held.strip() or None
        case b"basic":
            try:
                return base64.b64decode(held.strip(), validate=True).partition(b":")[0] or None
            except binascii.Error:
                return None
        case _:
            return None
