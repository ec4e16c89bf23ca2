"""What health is judged by and what was said of it, in a file of its own: the watcher writes it.

Counts by the quarter of an hour, delays by the hour, the alarms that are open, whom each was told, and what
a person silenced. Nothing of a person stands here: types, destinations, apps and counts.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import apsw
from msgspec import Struct

from lendsignal.log.sqlite import Guard, connect, row, rows, transaction

SCHEMA = """
create table if not exists series (
    id integer primary key,
    what text not null,                 -- event, accepted, dead
    scope text not null,                -- an app, or a destination
    name text not null,                 -- a type of event, or a conversion
    unique (what, scope, name)
);
create table if not exists counted (
    series integer not null,
    slot integer not null,              -- quarters of an hour since 1970
    n integer not null,
    primary key (series, slot)
) without rowid;
create table if not exists delay (
    stage text not null,                -- arrival, queue
    name text not null,                 -- an app, or a destination
    hour integer not null,              -- since 1970
    bin integer not null,
    n integer not null,
    primary key (stage, name, hour, bin)
) without rowid;
create table if not exists seen (       -- a destination's own counts, as they stood at the last look
    destination text not null,
    conversion text not null,
    what text not null,
    n integer not null,
    primary key (destination, conversion, what)
) without rowid;
create table if not exists alarm (
    key text primary key,
    kind text not null,
    severity text not null,
    said text not null,
    do text not null,
    since_us integer not null,          -- when it was found
    seen_us integer not null            -- when it was last found
) without rowid;
create table if not exists told (       -- outlives its alarm until the target knows that it ended
    target text not null,
    key text not null,
    kind text not null,
    severity text not null,
    said text not null,
    do text not null,
    since_us integer not null,
    at_us integer not null,
    primary key (target, key)
) without rowid;
create table if not exists silence (
    key text primary key,
    until_us integer not null,
    who text not null
) without rowid;
create table if not exists noted (      -- what a verb found and the watcher is to say
    kind text primary key,
    said text not null,
    at_us integer not null
) without rowid;
create table if not exists cursor (name text primary key, position integer not null) without rowid;
"""

Counts = Mapping[tuple[str, str, str, int], int]
"""(what, scope, name, slot) → how many more."""

Delays = Mapping[tuple[str, str, int, int], int]
"""(stage, name, hour, bin) → how many more."""


class Raised(Struct, frozen=True, kw_only=True):
    """An open alarm: found since `since_us`, last found at `seen_us` (microseconds since 1970)."""

    key: str
    kind: str
    severity: str
    said: str
    do: str
    since_us: int
    seen_us: int


class Told(Struct, frozen=True, kw_only=True):
    """What a target was last told of an alarm, and when."""

    target: str
    key: str
    kind: str
    severity: str
    said: str
    do: str
    since_us: int
    at_us: int


class Silence(Struct, frozen=True, kw_only=True):
    """An alarm that nobody is told of until then, and who asked for that."""

    key: str
    until_us: int
    who: str


class Alerts:
    """The file of alerts. Whatever writes raises `apsw.Error` where the disk does not take it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)

    def position(self, name: str) -> int:
        """How far something was read: `events`, `packs`, or when was last looked (`looked_us`); 0: never."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = ?", (name,))
        return 0 if found is None else int(found[0])

    def add(
        self,
        counts: Counts,
        delays: Delays,
        positions: Mapping[str, int],
        seen: Mapping[tuple[str, str, str], int] | None = None,
    ) -> None:
        """Adds what was read and moves on, all or nothing. `seen` takes the place of what was seen before."""
        with self._lock, transaction(self._db):
            for (what, scope, name, slot), n in counts.items():
                self._db.execute(
                    "insert into counted values (?, ?, ?) on conflict do update set n = n + excluded.n",
                    (self._series(what, scope, name), slot, n),
                )
            self._db.executemany(
                "insert into delay values (?, ?, ?, ?, ?) on conflict do update set n = n + excluded.n",
                [(*key, n) for key, n in delays.items()],
            )
            self._db.executemany("insert or replace into cursor values (?, ?)", positions.items())
            if seen is not None:
                self._db.execute("delete from seen")
                self._db.executemany(
                    "insert into seen values (?, ?, ?, ?)", [(*k, n) for k, n in seen.items()]
                )

    def seen(self) -> dict[tuple[str, str, str], int]:
        """Each destination's own counts as of the last look, by (destination, conversion, what)."""
        with self._lock:
            found = rows(self._db, "select destination, conversion, what, n from seen")
        return {(destination, conversion, what): n for destination, conversion, what, n in found}

    def counted(self, since_slot: int) -> dict[tuple[str, str, str], dict[int, int]]:
        """Counts from a quarter of an hour on, by (what, scope, name)."""
        found: dict[tuple[str, str, str], dict[int, int]] = {}
        with self._lock:
            for what, scope, name, slot, n in self._db.execute(
                "select what, scope, name, slot, n from series left join counted on series = id and slot >= ?"
                " order by id",
                (since_slot,),
            ):
                slots = found.setdefault((what, scope, name), {})
                if slot is not None:
                    slots[slot] = n
        return found

    def delays(self, since_hour: int) -> dict[tuple[str, str], dict[int, int]]:
        """Delays from an hour on: (stage, name) → bin → count."""
        found: dict[tuple[str, str], dict[int, int]] = {}
        with self._lock:
            for stage, name, place, n in self._db.execute(
                "select stage, name, bin, sum(n) from delay where hour >= ? group by 1, 2, 3", (since_hour,)
            ):
                found.setdefault((stage, name), {})[place] = n
        return found

    def forget(self, before_slot: int, before_hour: int) -> None:
        """Forgets counts and delays of before, and series that have none left."""
        with self._lock, transaction(self._db):
            self._db.execute("delete from counted where slot < ?", (before_slot,))
            self._db.execute("delete from delay where hour < ?", (before_hour,))
            self._db.execute("delete from series where id not in (select series from counted)")

    def raised(self) -> list[Raised]:
        """Every open alarm, the oldest first."""
        with self._lock:
            found = rows(
                self._db,
                "select key, kind, severity, said, do, since_us, seen_us from alarm order by since_us, key",
            )
        return [Raised(**dict(zip(Raised.__struct_fields__, one, strict=True))) for one in found]

    def stand(self, raised: Iterable[Raised]) -> None:
        """These alarms are open, and no others."""
        with self._lock, transaction(self._db):
            self._db.execute("delete from alarm")
            self._db.executemany(
                "insert into alarm values (?, ?, ?, ?, ?, ?, ?)",
                [tuple(getattr(one, name) for name in Raised.__struct_fields__) for one in raised],
            )

    def told(self) -> list[Told]:
        """What every target knows."""
        with self._lock:
            found = rows(
                self._db,
                "select target, key, kind, severity, said, do, since_us, at_us from told order by 1, 7, 2",
            )
        return [Told(**dict(zip(Told.__struct_fields__, one, strict=True))) for one in found]

    def tell(self, told: Iterable[Told]) -> None:
        """The targets know these now."""
        with self._lock, transaction(self._db):
            self._db.executemany(
                "insert or replace into told values (?, ?, ?, ?, ?, ?, ?, ?)",
                [tuple(getattr(one, name) for name in Told.__struct_fields__) for one in told],
            )

    def untell(self, target: str, keys: Iterable[str]) -> None:
        """The target knows that these ended."""
        with self._lock, transaction(self._db):
            self._db.executemany(
                "delete from told where target = ? and key = ?", [(target, key) for key in keys]
            )

    def silence(self, one: Silence) -> None:
        """Keeps a silence, in place of an earlier one of that alarm."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert or replace into silence values (?, ?, ?)", (one.key, one.until_us, one.who)
            )

    def silences(self, now_us: int) -> dict[str, Silence]:
        """The silences that still hold, by the key of their alarm."""
        with self._lock:
            found = rows(self._db, "select key, until_us, who from silence where until_us > ?", (now_us,))
        return {key: Silence(key=key, until_us=until_us, who=who) for key, until_us, who in found}

    def note(self, kind: str, said: str | None, at_us: int) -> None:
        """Keeps what a verb found, in place of what it found before; `None`: it found nothing wrong."""
        with self._lock, transaction(self._db):
            self._db.execute("delete from noted where kind = ?", (kind,))
            if said is not None:
                self._db.execute("insert into noted values (?, ?, ?)", (kind, said, at_us))

    def noted(self, kind: str) -> tuple[str, int] | None:
        """What a verb of that kind found last, and when; `None`: nothing wrong."""
        with self._lock:
            if row(self._db, "select 1 from sqlite_master where name = 'noted'") is None:
                return None  # a file of before, that is only to be read
            found = row(self._db, "select said, at_us from noted where kind = ?", (kind,))
        return None if found is None else (str(found[0]), int(found[1]))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _series(self, what: str, scope: str, name: str) -> int:
        words = (what, scope, name)
        query = "select id from series where what = ? and scope = ? and name = ?"
        found = row(self._db, query, words)
        if found is None:
            self._db.execute("insert into series (what, scope, name) values (?, ?, ?)", words)
            return int(self._db.last_insert_rowid())
        return int(found[0])


def open_alerts(path: Path, *, read_only: bool = False) -> Alerts:
    """The alerts kept at `path`; made where they are missing.

    Raises `NotYet` where they are only to be read.
    """
    return Alerts(connect(path, SCHEMA, read_only=read_only))
