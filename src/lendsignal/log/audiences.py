"""How far every list is on every platform, in a file of its own.

Members stand in Parquet files, sorted by their key (`audience.files`); here stands which file is intended,
which one is confirmed, and up to which key the way from the one to the other has been gone. So a list of
millions takes a few rows, and what was claimed and not confirmed is known after any end of the process.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import apsw
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.errors import LogError
from lendsignal.log.sqlite import Guard, connect, row, rows, transaction
from lendsignal.model.audience import Action

SCHEMA = """
create table if not exists sync (
    audience text not null,
    account text not null,
    remote text,                        -- the platform's id of the list
    state text not null,                -- ready, paused
    reason text not null,
    since_us integer not null,          -- since when it is in that state
    base text not null,                 -- file of the members that were confirmed before; empty: nobody
    target text not null,               -- file of the members that are intended; empty: nobody
    frozen integer not null,            -- whether a replace is made of the target
    adds_after integer not null,        -- additions up to this key are ended
    removes_after integer not null,     -- removals up to this key are ended
    confirmed integer not null,         -- members that the platform has
    replace_asked integer not null,
    size integer,                       -- members as the platform counts them
    match_rate real,                    -- from 0 to 1, as the platform tells it
    matched_us integer,
    synced_us integer,                  -- when intended and confirmed were last the same
    primary key (audience, account)
) without rowid;
create table if not exists chunk (      -- claimed, and not yet behind `adds_after` or `removes_after`
    audience text not null,
    account text not null,
    number integer not null,
    action text not null,
    first integer not null,             -- key of its first member
    last integer not null,
    members integer not null,
    fresh integer not null,             -- of these, those that the platform did not have
    handle text,
    done integer not null,
    primary key (audience, account, number)
) without rowid;
create table if not exists refused (    -- members that the platform did not take, or did not let go
    audience text not null,
    account text not null,
    action text not null,
    key integer not null,
    reason text not null,
    at_us integer not null,
    primary key (audience, account, action, key)
) without rowid;
create table if not exists build (
    audience text not null,
    number integer not null,            -- rising over all audiences
    file text not null,
    at_us integer not null,
    position integer not null,          -- of the log: what came later is not in it
    whole integer not null,             -- whether everybody was looked at
    definition text not null,           -- a checksum of what it was built by
    members integer not null,
    joined integer not null,            -- since the build before
    gone integer not null,
    left_out text not null,             -- JSON: reason = users
    currency text,                      -- of the values
    primary key (audience, number)
) without rowid;
create table if not exists file (       -- those that count; others of the folder are left-overs
    name text primary key,
    kind text not null,                 -- ids, told, members, confirmed
    rows integer not null
) without rowid;
create table if not exists cursor (name text primary key, position integer not null) without rowid;
create table if not exists note (
    audience text not null,
    account text not null,
    name text not null,
    body blob not null,
    primary key (audience, account, name)
) without rowid;
create table if not exists way (        -- of a chunk whose verdict outlives the build it was told for
    audience text not null,
    account text not null,
    number integer not null,
    keys blob not null,                 -- of its members, which no two files tell any more
    worth blob not null,
    fresh blob not null,
    primary key (audience, account, number)
) without rowid;
create table if not exists mistaken (   -- what was presumed of members before a verdict, and was not so
    audience text not null,
    account text not null,
    action text not null,               -- add: they are not there after all; remove: they still are;
                                        -- wait: they are to be removed once others have come
    key integer not null,
    primary key (audience, account, action, key)
) without rowid;
create table if not exists allowed (    -- sensitive lists that somebody answers for
    audience text primary key,
    definition text not null,           -- what was allowed; another definition is not
    reason text not null,
    by text not null,
    at_us integer not null
) without rowid;
"""

BEFORE_ALL = -1
"""Before the first key: keys are from 0 to below 2⁶³ − 1."""

BEHIND = "behind"
"""The note of a list some of whose changes were held back until a verdict that has come by now."""

AFTER_ALL = 2**63 - 1
"""Behind the last key: all of it is ended."""


class Build(Struct, frozen=True, kw_only=True):
    """One build of a list: its file, what it was built by, and who joined and left since the build before."""

    audience: str
    number: int
    file: str
    at_us: int
    position: int
    whole: bool
    definition: str
    members: int
    joined: int
    gone: int
    left_out: str = "{}"
    currency: str | None = None


class SyncRow(Struct, frozen=True, kw_only=True):
    """One list in one account, as it is kept."""

    audience: str
    account: str
    remote: str | None = None
    state: str = "ready"
    reason: str = ""
    since_us: int = 0
    base: str = ""
    target: str = ""
    frozen: bool = False
    adds_after: int = BEFORE_ALL
    removes_after: int = BEFORE_ALL
    confirmed: int = 0
    replace_asked: bool = False
    size: int | None = None
    match_rate: float | None = None
    matched_us: int | None = None
    synced_us: int | None = None

    def after(self, action: Action) -> int:
        """The key up to which that action is ended."""
        return self.adds_after if action == "add" else self.removes_after


class ChunkRow(Struct, frozen=True, kw_only=True):
    """A claimed chunk: the span of its members' keys, and how many they are."""

    @property
    def waits(self) -> bool:
        """Whether it was told, and its verdict comes later."""
        return bool(self.handle) and not self.done

    audience: str
    account: str
    number: int
    action: Action
    first: int
    last: int
    members: int
    fresh: int
    handle: str | None = None
    done: bool = False


class Way(Struct, frozen=True):
    """The members of a chunk that outlives its base: numpy's bytes of keys, values, and whether each is new.

    Keys are int64, values float64, the last is bool.
    """

    keys: bytes
    worth: bytes
    fresh: bytes


class Allowed(Struct, frozen=True, kw_only=True):
    """Who answers for a sensitive list, and why."""

    audience: str
    definition: str
    reason: str
    by: str
    at_us: int


class Audiences:
    """The file of lists. Whatever writes raises `LogError` where the disk does not take it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)

    # builds and their files

    def next_build(self) -> int:
        """A number for a build that no other has."""
        with self._lock, transaction(self._db):
            number = self.position("build") + 1
            self.move("build", number)
        return number

    def keep_build(self, build: Build) -> None:
        """Makes a build the one that is intended."""
        with self._lock, transaction(self._db):
            names = ", ".join(Build.__struct_fields__)
            marks = ", ".join("?" * len(Build.__struct_fields__))
            self._db.execute(f"insert or replace into build ({names}) values ({marks})", _values(build))
            self._keep_file(build.file, "members", build.members)

    def build(self, audience: str) -> Build | None:
        """The latest build of a list."""
        found = self.builds(audience, 1)
        return found[0] if found else None

    def builds(self, audience: str, count: int = 100) -> list[Build]:
        """The latest builds of a list, the youngest first."""
        with self._lock:
            names = ", ".join(Build.__struct_fields__)
            query = f"select {names} from build where audience = ? order by number desc limit ?"
            found = rows(self._db, query, (audience, count))
        return [_made(Build, one) for one in found]

    def built(self) -> list[str]:
        """The lists that were ever built."""
        with self._lock:
            return [name for (name,) in rows(self._db, "select distinct audience from build order by 1")]

    def keep_file(self, name: str, kind: str, n: int, *, instead_of: Iterable[str] = ()) -> None:
        """Makes a file count, with so many rows, in place of others."""
        with self._lock, transaction(self._db):
            self._keep_file(name, kind, n)
            self._db.executemany("delete from file where name = ?", [(one,) for one in instead_of])

    def keep_told(self, name: str, n: int, position: int) -> None:
        """Makes a file count that holds what the log told up to a position; without rows there is none."""
        with self._lock, transaction(self._db):
            if n:
                self._keep_file(name, "told", n)
            self.move("told", position)

    def files(self, kind: str | None = None) -> list[str]:
        """The files that count, in the order of their names."""
        with self._lock:
            found = rows(
                self._db,
                "select name from file where kind = coalesce(?, kind) order by name",
                (kind,),
            )
        return [name for (name,) in found]

    def forget_unused(self, keep_builds: int) -> None:
        """Lets go of member files that no list is built or confirmed by, and of the oldest builds."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "delete from build where (audience, number) in (select audience, number from ("
                " select audience, number, row_number() over (partition by audience order by number desc)"
                " as n from build) where n > ?)",
                (keep_builds,),
            )
            self._db.execute(
                "delete from file where kind in ('members', 'confirmed') and name not in ("
                " select file from (select file, row_number() over (partition by audience"
                " order by number desc) as n from build) where n <= 2"
                " union select base from sync union select target from sync)"
            )

    def position(self, name: str) -> int:
        """How far something has been read; 0: not at all."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = ?", (name,))
        return 0 if found is None else int(found[0])

    def move(self, name: str, position: int) -> None:
        """Notes how far something has been read."""
        with self._lock, transaction(self._db):
            self._db.execute("insert or replace into cursor values (?, ?)", (name, position))

    # who answers for it

    def allow(self, allowed: Allowed) -> None:
        """Notes that somebody answers for a sensitive list."""
        with self._lock, transaction(self._db):
            self._db.execute("insert or replace into allowed values (?, ?, ?, ?, ?)", _values(allowed))

    def allowed(self, audience: str) -> Allowed | None:
        """Who answers for it; `None`: nobody."""
        with self._lock:
            found = row(self._db, "select * from allowed where audience = ?", (audience,))
        return None if found is None else _made(Allowed, found)

    # lists on platforms

    def sync(self, audience: str, account: str) -> SyncRow:
        """How a list stands in an account: nobody is on it before the first time."""
        with self._lock:
            found = row(self._db, f"{_SELECT_SYNC} where audience = ? and account = ?", (audience, account))
        return SyncRow(audience=audience, account=account) if found is None else _sync(found)

    def syncs(self) -> list[SyncRow]:
        """Every list in every account that was ever begun."""
        with self._lock:
            return [_sync(found) for found in rows(self._db, f"{_SELECT_SYNC} order by audience, account")]

    def keep_sync(self, sync: SyncRow) -> None:
        """Keeps how a list stands."""
        with self._lock, transaction(self._db):
            names = ", ".join(SyncRow.__struct_fields__)
            marks = ", ".join("?" * len(SyncRow.__struct_fields__))
            self._db.execute(f"insert or replace into sync ({names}) values ({marks})", _values(sync))

    def rebase(
        self,
        sync: SyncRow,
        *,
        file: tuple[str, int] | None = None,
        refused: Mapping[int, str] | None = None,
        now_us: int = 0,
        forget: bool = False,
        waiting: Mapping[int, Way | None] | None = None,
    ) -> None:
        """Keeps a list's new base and target; `file` is a base that was written for it, with its rows.

        Chunks are over, but those that are `waiting` for a verdict: each keeps its members; whose were kept
        before need not be given again (`None`). `refused` are additions that were refused meanwhile.
        `forget`: what was refused before is over too, so that it is tried again.
        """
        name = (sync.audience, sync.account)
        with self._lock, transaction(self._db):
            if file is not None:
                self._keep_file(file[0], "confirmed", file[1])
            kept = dict(waiting or {})
            for chunk in self.chunks(*name):
                if chunk.number not in kept:
                    self._db.execute(
                        "delete from chunk where audience = ? and account = ? and number = ?",
                        (*name, chunk.number),
                    )
                    self.note(*name, f"chunk:{chunk.number}", None)
            for number in self.ways(*name) - kept.keys():
                self._db.execute(
                    "delete from way where audience = ? and account = ? and number = ?", (*name, number)
                )
            self._db.execute("delete from mistaken where audience = ? and account = ?", name)
            self._db.executemany(
                "insert into way values (?, ?, ?, ?, ?, ?)",
                [(*name, number, *_values(way)) for number, way in kept.items() if way is not None],
            )
            # A removal that was refused is asked for again; an addition only where that is wanted.
            action = "" if forget else " and action = 'remove'"
            self._db.execute(f"delete from refused where audience = ? and account = ?{action}", name)
            self._refuse(*name, "add", refused or {}, now_us)
            self.note(*name, BEHIND, None)
            self.keep_sync(sync)

    def claim(self, chunk: ChunkRow) -> int:
        """Keeps a chunk before it is sent; its number."""
        with self._lock, transaction(self._db):
            self._touch(chunk.audience, chunk.account)
            number = self.position("chunk") + 1
            self.move("chunk", number)
            names = ", ".join(ChunkRow.__struct_fields__)
            marks = ", ".join("?" * len(ChunkRow.__struct_fields__))
            self._db.execute(
                f"insert into chunk ({names}) values ({marks})", _values(replace(chunk, number=number))
            )
        return number

    def chunks(self, audience: str, account: str) -> list[ChunkRow]:
        """The chunks that are claimed and not yet passed over, in order."""
        names = ", ".join(ChunkRow.__struct_fields__)
        with self._lock:
            found = rows(
                self._db,
                f"select {names} from chunk where audience = ? and account = ? order by number",
                (audience, account),
            )
        return [_chunk(one) for one in found]

    def ways(self, audience: str, account: str) -> set[int]:
        """The chunks that were told for an earlier base: they wait for their verdict, or had it since this
        base was made."""
        with self._lock:
            query = "select number from way where audience = ? and account = ?"
            return {number for (number,) in rows(self._db, query, (audience, account))}

    def way(self, audience: str, account: str, number: int) -> Way:
        """The members of such a chunk."""
        with self._lock:
            query = "select keys, worth, fresh from way where audience = ? and account = ? and number = ?"
            found = row(self._db, query, (audience, account, number))
        if found is None:
            raise LogError(f"chunk {number} of list {audience} is of no earlier base")
        return Way(*found)

    def put_off(self, audience: str, account: str, keys: Iterable[int]) -> None:
        """Notes members that are not removed on the way to this target, but on the next."""
        with self._lock, transaction(self._db):
            self._db.executemany(
                "insert or replace into mistaken values (?, ?, 'wait', ?)",
                [(audience, account, key) for key in keys],
            )

    def mistaken(self, audience: str, account: str, action: Action | Literal["wait"]) -> list[int]:
        """The keys that the base presumes wrongly: added, and not there, or removed, and there still; and
        those that wait (`put_off`)."""
        with self._lock:
            found = rows(
                self._db,
                "select key from mistaken where audience = ? and account = ? and action = ? order by key",
                (audience, account, action),
            )
        return [key for (key,) in found]

    def awaits(self) -> bool:
        """Whether there is any such chunk: the ids of its members stand in no list's file any more."""
        with self._lock:
            return row(self._db, "select 1 from way limit 1") is not None

    def pend(self, audience: str, account: str, number: int, handle: str) -> None:
        """Notes by what a chunk's verdict is asked later."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "update chunk set handle = ? where audience = ? and account = ? and number = ?",
                (handle, audience, account, number),
            )

    def end(
        self, audience: str, account: str, number: int, refused: Mapping[int, tuple[str, bool]], now_us: int
    ) -> None:
        """Ends a chunk: all of its members are confirmed but the refused ones (key = reason, whether fresh).

        Ending what is ended changes nothing.
        """
        name = (audience, account)
        with self._lock, transaction(self._db):
            chunk = next((one for one in self.chunks(*name) if one.number == number), None)
            if chunk is None or chunk.done:
                return
            reasons = {key: reason for key, (reason, _) in refused.items()}
            self._refuse(*name, chunk.action, reasons, now_us)
            taken = chunk.fresh - sum(fresh for _, fresh in refused.values())
            moved = taken if chunk.action == "add" else -(chunk.members - len(refused))
            self._db.execute(
                "update sync set confirmed = confirmed + ? where audience = ? and account = ?", (moved, *name)
            )
            self._db.execute(
                "update chunk set done = 1 where audience = ? and account = ? and number = ?", (*name, number)
            )
            if number in self.ways(*name):
                self._end_late(chunk, [key for key, (_, fresh) in refused.items() if _is_wrong(chunk, fresh)])
                return
            self._pass_over(audience, account, chunk.action)

    def _end_late(self, chunk: ChunkRow, wrong: Sequence[int]) -> None:
        """Ends a chunk that the base presumed to be taken; `wrong` are the members it was not so of.

        It is kept until there is another base: its members were held back on the way to this target.
        """
        name = (chunk.audience, chunk.account)
        self._db.executemany(
            "insert or replace into mistaken values (?, ?, ?, ?)",
            [(*name, chunk.action, key) for key in wrong],
        )
        # What was held back for its sake is looked at anew.
        self.note(*name, BEHIND, b"1")

    def refused(self, audience: str, account: str, action: Action) -> list[int]:
        """The keys that were refused, in order."""
        with self._lock:
            found = rows(
                self._db,
                "select key from refused where audience = ? and account = ? and action = ? order by key",
                (audience, account, action),
            )
        return [key for (key,) in found]

    def refusals(self, audience: str, account: str) -> dict[str, int]:
        """How many members were refused, by reason."""
        with self._lock:
            query = "select reason, count(*) from refused where audience = ? and account = ? group by reason"
            return dict(rows(self._db, query, (audience, account)))

    def note(self, audience: str, account: str, name: str, body: bytes | None) -> None:
        """Keeps something small about a list, or lets it go."""
        with self._lock, transaction(self._db):
            if body is None:
                self._db.execute(
                    "delete from note where audience = ? and account = ? and name = ?",
                    (audience, account, name),
                )
            else:
                self._db.execute(
                    "insert or replace into note values (?, ?, ?, ?)", (audience, account, name, body)
                )

    def noted(self, audience: str, account: str, name: str) -> bytes | None:
        """What was kept under that name."""
        with self._lock:
            found = row(
                self._db,
                "select body from note where audience = ? and account = ? and name = ?",
                (audience, account, name),
            )
        return None if found is None else found[0]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _keep_file(self, name: str, kind: str, n: int) -> None:
        self._db.execute("insert or replace into file values (?, ?, ?)", (name, kind, n))

    def _refuse(
        self, audience: str, account: str, action: Action, refused: Mapping[int, str], now_us: int
    ) -> None:
        self._db.executemany(
            "insert or replace into refused values (?, ?, ?, ?, ?, ?)",
            [(audience, account, action, key, reason, now_us) for key, reason in refused.items()],
        )

    def _touch(self, audience: str, account: str) -> None:
        if (
            row(self._db, "select 1 from sync where audience = ? and account = ?", (audience, account))
            is None
        ):
            self.keep_sync(SyncRow(audience=audience, account=account))

    def _pass_over(self, audience: str, account: str, action: Action) -> None:
        """Moves `after` over the chunks that are done, up to the first that is not."""
        column = "adds_after" if action == "add" else "removes_after"
        earlier = self.ways(audience, account)
        for chunk in self.chunks(audience, account):
            if chunk.action != action or chunk.number in earlier:
                continue
            if not chunk.done:
                return
            self._db.execute(
                f"update sync set {column} = ? where audience = ? and account = ?",
                (chunk.last, audience, account),
            )
            self._db.execute(
                "delete from chunk where audience = ? and account = ? and number = ?",
                (audience, account, chunk.number),
            )


def _is_wrong(chunk: ChunkRow, fresh: bool) -> bool:
    """Whether a refused member makes the base wrong: a new one is not there, a removed one still is."""
    return fresh or chunk.action == "remove"


_SELECT_SYNC = f"select {', '.join(SyncRow.__struct_fields__)} from sync"


def open_audiences(path: Path, *, read_only: bool = False) -> Audiences:
    """The lists kept at `path`; made where they are missing, unless they are only to be read."""
    return Audiences(connect(path, SCHEMA, read_only=read_only))


def _values(one: Struct) -> tuple[Any, ...]:
    found = (getattr(one, name) for name in one.__struct_fields__)
    return tuple([int(value) if isinstance(value, bool) else value for value in found])


def _made(kind: type[Any], found: Sequence[Any]) -> Any:
    given = dict(zip(kind.__struct_fields__, found, strict=True))
    return kind(**({**given, "whole": bool(given["whole"])} if "whole" in given else given))


def _sync(found: Sequence[Any]) -> SyncRow:
    one: SyncRow = _made(SyncRow, found)
    return replace(one, frozen=bool(one.frozen), replace_asked=bool(one.replace_asked))


def _chunk(found: Sequence[Any]) -> ChunkRow:
    one: ChunkRow = _made(ChunkRow, found)
    return replace(one, done=bool(one.done))
