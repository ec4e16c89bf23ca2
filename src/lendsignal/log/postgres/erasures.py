"""The book of a cluster's erasures: what was asked, how far it is in the store and at each desk, and whom
platforms are to forget. Kept as `log.erasures` keeps it for a data folder.

While an erasure goes on it knows whom it is about; when it has ended it knows salted hashes and counts.
"""

import os
from collections.abc import Sequence
from datetime import timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from lendsignal.log.erasing import KeptOut
from lendsignal.log.erasures import ASKED, OPEN, About, Asking, Job, Stepped, subjects_of
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.erasing import kept_out_now

SCHEMA = """
create table if not exists erasure_step (   -- how far an erasure is: in the store (no desk), and at each desk
    receipt text not null,
    desk text not null,
    name text not null,
    state text not null,                -- done, waits, asked, not_there
    n bigint not null,
    note text not null,
    at_us bigint not null,
    primary key (receipt, desk, name)
);
create table if not exists erasure_asking (     -- a platform that is asked to forget an installation
    receipt text not null,
    number integer not null,
    destination text not null,
    platform text not null,
    request text not null,
    subject bytea,                      -- msgpack of whom; null when it has ended
    state text not null,                -- open, asked, confirmed, not_possible
    handle text not null,
    tries integer not null,
    due_us bigint not null,
    note text not null,
    at_us bigint not null,
    primary key (receipt, number)
) with (fillfactor = 50);
create table if not exists erasure_desk (       -- who has a copy: an erasure reaches each of them
    name text primary key,
    seen timestamptz not null
) with (fillfactor = 50);
"""

UPGRADE = (
    "alter table if exists erasure add column if not exists salt bytea",
    "alter table if exists erasure add column if not exists subjects text",
    "alter table if exists erasure add column if not exists about bytea",
)
"""For tables that were made when an erasure knew counts alone."""

GONE = timedelta(days=30)
"""A desk that was not seen for so long is no longer waited for: where it comes back, it begins anew."""

THROUGH = "through"
"""The step of a desk's name by which it says that all of its own is done."""

_out = msgspec.msgpack.Encoder().encode
_about = msgspec.msgpack.Decoder(About).decode
_JOB = "select receipt, asked_us, asked_by, salt, subjects, about, ended_us from erasure"
_NAMES = Asking.__struct_fields__


class Everywhere(Struct, frozen=True, kw_only=True):
    """How far an erasure is: `steps` by desk, whose name is empty for the store."""

    job: Job
    steps: dict[str, dict[str, Stepped]]
    askings: list[Asking]


class ErasureRows:
    """The erasures of a cluster. Everything raises `LogError` where the store does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, about: About, by: str, at_us: int) -> Job:
        """Makes an erasure durable; the same one where it is asked for again while it goes on."""
        with self._database.transaction() as session:
            session.rows("lock table erasure in share row exclusive mode")
            for job in self._jobs(session, "where ended_us is null"):
                if job.about is not None and _is_same(job.about, about):
                    return job
            salt, receipt = os.urandom(16), f"er-{os.urandom(8).hex()}"
            subjects = subjects_of(about, salt)
            session.rows(
                "insert into erasure (receipt, asked_us, asked_by, ended_us, salt, subjects, about)"
                " values (%s, %s, %s, null, %b, %s, %b)",
                receipt,
                at_us,
                by,
                salt,
                msgspec.json.encode(subjects).decode(),
                _out(about),
            )
        return Job(
            receipt=receipt, asked_us=at_us, by=by, salt=salt, subjects=subjects, about=about, ended_us=None
        )

    def know(self, receipt: str, about: About, askings: Sequence[Asking]) -> None:
        """Keeps what was found: whom exactly it is about, and which platforms are to be asked."""
        with self._database.transaction() as session:
            found = session.row("select salt from erasure where receipt = %s for update", receipt)
            assert found is not None, "what goes on is there"
            said = msgspec.json.encode(subjects_of(about, bytes(found[0]))).decode()
            session.rows(
                "update erasure set about = %b, subjects = %s where receipt = %s", _out(about), said, receipt
            )
            known = session.rows("select request from erasure_asking where receipt = %s", receipt)
            for number, one in enumerate(askings, len(known)):
                if (one.request,) not in known:
                    _keep(session, receipt, msgspec.structs.replace(one, number=number))

    def note(self, receipt: str, step: Stepped, desk: str = "") -> None:
        """Keeps how far a step of the store's is; what went by it before is added up."""
        self._database.rows(
            "insert into erasure_step as had values (%s, %s, %s, %s, %s, %s, %s)"
            " on conflict (receipt, desk, name) do update set state = excluded.state,"
            " n = had.n + excluded.n, note = excluded.note, at_us = excluded.at_us",
            receipt,
            desk,
            *(getattr(step, name) for name in Stepped.__struct_fields__),
        )

    def mirror(self, receipt: str, desk: str, steps: Sequence[Stepped]) -> None:
        """Keeps how far a desk says that it is, in place of what it said before."""
        with self._database.transaction() as session:
            session.rows("delete from erasure_step where receipt = %s and desk = %s", receipt, desk)
            for step in steps:
                session.rows(
                    "insert into erasure_step values (%s, %s, %s, %s, %s, %s, %s)",
                    receipt,
                    desk,
                    *(getattr(step, name) for name in Stepped.__struct_fields__),
                )

    def keep(self, receipt: str, asking: Asking) -> None:
        """Keeps how far an asking is."""
        with self._database.transaction() as session:
            _keep(session, receipt, asking)

    def end(self, receipt: str, at_us: int) -> None:
        """Nothing is left to do: whom it was about is forgotten."""
        with self._database.transaction() as session:
            session.rows(
                "update erasure set about = null, ended_us = coalesce(ended_us, %s) where receipt = %s",
                at_us,
                receipt,
            )
            session.rows("update erasure_asking set subject = null where receipt = %s", receipt)

    def open(self) -> list[Job]:
        """The erasures that go on, oldest first."""
        with self._database.transaction() as session:
            return self._jobs(
                session, "where ended_us is null and about is not null order by asked_us, receipt"
            )

    def everywhere(self, receipt: str | None = None, limit: int = 100) -> list[Everywhere]:
        """How far erasures are, the youngest first; of a receipt that one, or none."""
        which = "where %s::text is null or receipt = %s order by asked_us desc, receipt limit %s"
        with self._database.transaction() as session:
            jobs = self._jobs(session, which, receipt, receipt, limit)
            return [
                Everywhere(
                    job=job, steps=_steps(session, job.receipt), askings=_askings(session, job.receipt)
                )
                for job in jobs
            ]

    def to_ask(self) -> list[tuple[str, Asking]]:
        """What platforms are still to be asked, or asked about, with the receipts."""
        with self._database.transaction() as session:
            query = "select distinct receipt from erasure_asking where state = any(%s::text[]) order by 1"
            receipts = [receipt for (receipt,) in session.rows(query, [OPEN, ASKED])]
            return [
                (receipt, one)
                for receipt in receipts
                for one in _askings(session, receipt)
                if one.state in (OPEN, ASKED)
            ]

    # desks

    def seen(self, desk: str) -> None:
        """A desk is there: from now on it is waited for."""
        self._database.rows(
            "insert into erasure_desk as had values (%s, clock_timestamp()) on conflict (name) do update set"
            " seen = excluded.seen where had.seen < clock_timestamp() - interval '1 hour'",
            desk,
        )

    def desks(self) -> list[str]:
        """The desks that are waited for, by name."""
        query = "select name from erasure_desk where seen > clock_timestamp() - %s order by name"
        return [name for (name,) in self._database.rows(query, GONE)]

    def receipts(self) -> list[str]:
        """Every erasure there was, oldest first."""
        found = self._database.rows("select receipt from erasure order by asked_us, receipt")
        return [receipt for (receipt,) in found]

    def left_at(self, desk: str) -> list[str]:
        """The erasures that a desk is not through with, oldest first."""
        found = self._database.rows(
            "select receipt from erasure where not exists (select 1 from erasure_step step"
            " where step.receipt = erasure.receipt and step.desk = %s and step.name = %s)"
            " order by asked_us, receipt",
            desk,
            THROUGH,
        )
        return [receipt for (receipt,) in found]

    def whom(self, receipt: str) -> KeptOut:
        """Whom an erasure keeps out, by salted hash: a desk finds in its own files who that is."""
        with self._database.transaction() as session:
            known = kept_out_now(session)
            found = session.rows("select who from kept_out where receipt = %s", receipt)
        return KeptOut(known.salt, {bytes(who): None for (who,) in found})

    def _jobs(self, session: Session, which: str, *values: object) -> list[Job]:
        return [
            Job(
                receipt=receipt,
                asked_us=asked_us,
                by=by,
                salt=b"" if salt is None else bytes(salt),
                subjects=() if said is None else msgspec.json.decode(said, type=tuple[str, ...]),
                about=None if about is None else _about(about),
                ended_us=ended_us,
            )
            for receipt, asked_us, by, salt, said, about, ended_us in session.rows(f"{_JOB} {which}", *values)
        ]


def _is_same(one: About, other: About) -> bool:
    if one.person is not None or other.person is not None:
        return one.person == other.person
    return set(one.users) == set(other.users)


def _steps(session: Session, receipt: str) -> dict[str, dict[str, Stepped]]:
    found: dict[str, dict[str, Stepped]] = {}
    query = "select desk, name, state, n, note, at_us from erasure_step where receipt = %s order by desk"
    for desk, name, state, n, note, at_us in session.rows(query, receipt):
        found.setdefault(desk, {})[name] = Stepped(name=name, state=state, n=n, note=note, at_us=at_us)
    return found


def _askings(session: Session, receipt: str) -> list[Asking]:
    query = f"select {', '.join(_NAMES)} from erasure_asking where receipt = %s order by number"
    return [Asking(**dict(zip(_NAMES, one, strict=True))) for one in session.rows(query, receipt)]


def _keep(session: Session, receipt: str, one: Asking) -> None:
    session.rows("delete from erasure_asking where receipt = %s and number = %s", receipt, one.number)
    session.rows(
        f"insert into erasure_asking (receipt, {', '.join(_NAMES)})"
        " values (%s, %s, %s, %s, %s, %b, %s, %s, %s, %s, %s, %s)",
        receipt,
        *astuple(one),
    )
