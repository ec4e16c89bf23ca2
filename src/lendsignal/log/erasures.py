"""The book of erasures: what was asked, how far it is, and the receipts, in a file of its own.

While an erasure goes on it knows whom it is about; when it has ended it knows a salted hash and counts.
"""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import msgspec
from msgspec import Struct

from lendsignal.log.sqlite import Guard, connect, row, rows, transaction

SCHEMA = """
create table if not exists job (
    receipt text primary key,
    asked_us integer not null,
    by text not null,                   -- who asked: a system's user, or the source of an API key
    salt blob not null,
    subjects text not null,             -- JSON: salted hashes of whom it is about
    about blob,                         -- msgpack of About; null when it has ended
    ended_us integer                    -- null while something is left to do
) without rowid;
create table if not exists step (
    receipt text not null,
    name text not null,
    state text not null,                -- done, waits, asked, not_there
    n integer not null,
    note text not null,
    at_us integer not null,
    primary key (receipt, name)
) without rowid;
create table if not exists asking (     -- a platform that is asked to forget an installation
    receipt text not null,
    number integer not null,
    destination text not null,
    platform text not null,
    request text not null,              -- our id of the request, made once
    subject blob,                       -- msgpack of whom the platform is to forget; null when it has ended
    state text not null,                -- open, asked, confirmed, not_possible
    handle text not null,               -- by what its verdict is asked
    tries integer not null,
    due_us integer not null,
    note text not null,
    at_us integer not null,
    primary key (receipt, number)
) without rowid;
create table if not exists cursor (name text primary key, position integer not null) without rowid;
"""

DONE, WAITS, ASKED, NOT_THERE = "done", "waits", "asked", "not_there"
"""Of a step: through · something else must happen first · somebody was asked · there is nothing of that."""

OPEN, CONFIRMED, NOT_POSSIBLE = "open", "confirmed", "not_possible"
"""Of an asking, beside `asked`: to be sent · the platform says it is done · only a person can."""


class About(Struct, frozen=True, kw_only=True):
    """Whom an erasure is about: users as (brand, user id), a person where all of its users are meant.

    `installations` are (app, the MMP's id). `spools` are files of the Python client on this machine.
    """

    users: tuple[tuple[str, str], ...]
    person: str | None = None
    installations: tuple[tuple[str, str], ...] = ()
    spools: tuple[str, ...] = ()


class Job(Struct, frozen=True, kw_only=True):
    """One erasure. `about` is `None` when it has ended."""

    receipt: str
    asked_us: int
    by: str
    salt: bytes
    subjects: tuple[str, ...]
    about: About | None
    ended_us: int | None


class Stepped(Struct, frozen=True, kw_only=True):
    """How far one step is: `n` rows went by it."""

    name: str
    state: str
    n: int = 0
    note: str = ""
    at_us: int = 0


class Asking(Struct, frozen=True, kw_only=True):
    """One platform and one installation. `subject` is `None` when it has ended."""

    number: int
    destination: str
    platform: str
    request: str
    subject: bytes | None
    state: str = OPEN
    handle: str = ""
    tries: int = 0
    due_us: int = 0
    note: str = ""
    at_us: int = 0


class Told(Struct, frozen=True, kw_only=True):
    """One erasure with how far it is, as one book tells it to another."""

    job: Job
    steps: tuple[Stepped, ...]
    askings: tuple[Asking, ...]


_out = msgspec.msgpack.Encoder().encode
_about = msgspec.msgpack.Decoder(About).decode
_JOB = "select receipt, asked_us, by, salt, subjects, about, ended_us from job"
_ASKING = (
    "select number, destination, platform, request, subject, state, handle, tries, due_us, note, at_us"
    " from asking"
)


class Erasures:
    """The file of erasures."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)

    def ask(self, about: About, by: str, at_us: int) -> Job:
        """Makes an erasure durable; the same one where it is asked for again while it goes on."""
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            with transaction(self._db):
                for job in self.open():
                    if job.about is not None and _is_same(job.about, about):
                        return job
                salt = os.urandom(16)
                job = Job(
                    receipt=os.urandom(8).hex(),
                    asked_us=at_us,
                    by=by,
                    salt=salt,
                    subjects=subjects_of(about, salt),
                    about=about,
                    ended_us=None,
                )
                said = msgspec.json.encode(job.subjects).decode()
                values = (job.receipt, at_us, by, salt, said, _out(about))
                self._db.execute("insert into job values (?, ?, ?, ?, ?, ?, null)", values)
        return job

    def know(self, receipt: str, about: About, askings: Sequence[Asking]) -> None:
        """Keeps what was found: whom exactly it is about, and which platforms are to be asked."""
        with self._lock, transaction(self._db):
            (salt,) = row(self._db, "select salt from job where receipt = ?", (receipt,)) or (b"",)
            said = msgspec.json.encode(subjects_of(about, bytes(salt))).decode()
            self._db.execute(
                "update job set about = ?, subjects = ? where receipt = ?", (_out(about), said, receipt)
            )
            known = {one.request for one in self.askings(receipt)}
            for one in askings:
                if one.request not in known:
                    self._write(receipt, one)

    def note(self, receipt: str, step: Stepped) -> None:
        """Keeps how far a step is; what went by it before is added up."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert into step values (?, ?, ?, ?, ?, ?) on conflict do update set state = excluded.state,"
                " n = n + excluded.n, note = excluded.note, at_us = excluded.at_us",
                (receipt, step.name, step.state, step.n, step.note, step.at_us),
            )

    def keep(self, receipt: str, asking: Asking) -> None:
        """Keeps how far an asking is."""
        with self._lock, transaction(self._db):
            self._write(receipt, asking)

    def end(self, receipt: str, at_us: int) -> None:
        """Nothing is left to do: whom it was about is forgotten."""
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            with transaction(self._db):
                self._db.execute(
                    "update job set about = null, ended_us = ? where receipt = ?", (at_us, receipt)
                )
                self._db.execute("update asking set subject = null where receipt = ?", (receipt,))

    def open(self) -> list[Job]:
        """The erasures that go on, oldest first."""
        with self._lock:
            found = rows(self._db, f"{_JOB} where ended_us is null order by asked_us, receipt")
        return [_job(one) for one in found]

    def job(self, receipt: str) -> Job | None:
        """The erasure of that receipt."""
        with self._lock:
            found = row(self._db, f"{_JOB} where receipt = ?", (receipt,))
        return None if found is None else _job(found)

    def jobs(self, limit: int = 100) -> list[Job]:
        """The youngest erasures first."""
        with self._lock:
            found = rows(self._db, f"{_JOB} order by asked_us desc, receipt limit ?", (limit,))
        return [_job(one) for one in found]

    def steps(self, receipt: str) -> dict[str, Stepped]:
        """How far the steps are, by name."""
        query = "select name, state, n, note, at_us from step where receipt = ?"
        with self._lock:
            found = rows(self._db, query, (receipt,))
        return {
            name: Stepped(name=name, state=state, n=n, note=note, at_us=at_us)
            for name, state, n, note, at_us in found
        }

    def askings(self, receipt: str) -> list[Asking]:
        """What platforms are asked, in order."""
        with self._lock:
            found = rows(self._db, f"{_ASKING} where receipt = ? order by number", (receipt,))
        names = Asking.__struct_fields__
        return [Asking(**dict(zip(names, one, strict=True))) for one in found]

    def to_ask(self) -> list[tuple[str, Asking]]:
        """What platforms are still to be asked, or asked about, with the receipts, the oldest first."""
        query = "select distinct receipt from asking where state in ('open', 'asked') order by receipt"
        with self._lock:
            receipts = [receipt for (receipt,) in rows(self._db, query)]
        return [
            (receipt, one)
            for receipt in receipts
            for one in self.askings(receipt)
            if one.state in (OPEN, ASKED)
        ]

    def told(self) -> tuple[Told, ...]:
        """Every erasure with its receipt, for a book that is put in place of this one."""
        with self._lock:
            found = [_job(one) for one in rows(self._db, f"{_JOB} order by asked_us, receipt")]
        return tuple(
            Told(
                job=one,
                steps=tuple(self.steps(one.receipt).values()),
                askings=tuple(self.askings(one.receipt)),
            )
            for one in found
        )

    def take(self, told: Sequence[Told]) -> int:
        """Keeps the receipts of another book that are not here, and how many those were. What went on there
        goes on here from its beginning: nothing of it was done to these files."""
        taken = 0
        with self._lock, transaction(self._db):
            for one in told:
                job = one.job
                if row(self._db, "select 1 from job where receipt = ?", (job.receipt,)) is not None:
                    continue
                said = msgspec.json.encode(job.subjects).decode()
                about = None if job.about is None else _out(job.about)
                values = (job.receipt, job.asked_us, job.by, job.salt, said, about, job.ended_us)
                self._db.execute("insert into job values (?, ?, ?, ?, ?, ?, ?)", values)
                taken += 1
                for step in one.steps if job.about is None else ():
                    self._db.execute(
                        "insert into step values (?, ?, ?, ?, ?, ?)",
                        (job.receipt, step.name, step.state, step.n, step.note, step.at_us),
                    )
                for asking in one.askings if job.about is None else ():
                    self._write(job.receipt, asking)
        return taken

    def checkpoint(self) -> bool:
        """Empties the file's write-ahead log; false where somebody reads and it stays for now."""
        with self._lock:
            return emptied(self._db)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _write(self, receipt: str, one: Asking) -> None:
        values = tuple(getattr(one, name) for name in Asking.__struct_fields__)
        self._db.execute("pragma secure_delete = on")
        marks = ", ".join("?" * (1 + len(values)))
        self._db.execute(f"insert or replace into asking values ({marks})", (receipt, *values))


def subjects_of(about: About, salt: bytes) -> tuple[str, ...]:
    """What a receipt says of whom it is about: SHA-256 of the salt, the brand, a unit separator (0x1f) and
    the user id; of a person without brand."""
    names = sorted(about.users) + ([("", about.person)] if about.person is not None else [])
    return tuple(sha256(salt + f"{brand}\x1f{name}".encode()).hexdigest() for brand, name in names)


def emptied(db: apsw.Connection) -> bool:
    """Folds a file's write-ahead log into it and cuts it off: old pages stand there until then.

    Nobody is made to wait for long: false where a reader or a writer is at it.
    """
    db.set_busy_timeout(200)
    try:
        found: Any = db.execute("pragma wal_checkpoint(truncate)").fetchone()
    except apsw.BusyError:
        return False
    return found is None or not found[0]


def empty_log_of(path: Path) -> bool:
    """The same of a file that nobody here has open; true where there is none."""
    if not path.exists():
        return True
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return emptied(db)
    finally:
        db.close()


def open_erasures(path: Path, *, read_only: bool = False) -> Erasures:
    """The erasures kept at `path`; made where they are missing, unless they are only to be read."""
    return Erasures(connect(path, SCHEMA, read_only=read_only))


def _is_same(one: About, other: About) -> bool:
    if one.person is not None or other.person is not None:
        return one.person == other.person
    return set(one.users) == set(other.users)


def _job(found: Sequence[Any]) -> Job:
    receipt, asked_us, by, salt, subjects, about, ended_us = found
    return Job(
        receipt=receipt,
        asked_us=asked_us,
        by=by,
        salt=bytes(salt),
        subjects=msgspec.json.decode(subjects, type=tuple[str, ...]),
        about=None if about is None else _about(about),
        ended_us=ended_us,
    )
