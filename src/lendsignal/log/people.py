"""Who may use the console: members, invitations, sessions, failed sign-ins, and what was done by whom.

A file of its own. Of passwords only the argon2id hash is kept, of links and session cookies only the SHA-256.
What was done (`audit`) can be added to and read; the file itself refuses to have it changed.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
from msgspec import Struct

from lendsignal.clock import MICROSECOND
from lendsignal.errors import InputError, LogError
from lendsignal.log.sqlite import Guard, connect, row, rows, transaction
from lendsignal.model.member import Member, MemberRole

if TYPE_CHECKING:  # loaded by the first sign-in
    from argon2 import PasswordHasher

SCHEMA = """
create table if not exists member (
    login text primary key,
    password text not null,
    role text not null,
    campaigns text not null,            -- one a line; empty: all
    language text not null,
    disabled integer not null,
    made_us integer not null
) without rowid;
create table if not exists invitation (
    sha256 text primary key,
    login text,                         -- whose password it renews; null: a new member
    role text not null,
    campaigns text not null,
    ends_us integer not null
) without rowid;
create table if not exists session (
    sha256 text primary key,
    login text not null,
    form text not null,                 -- what every form of this session carries
    made_us integer not null,
    seen_us integer not null
) without rowid;
create table if not exists failure (
    who text not null,                  -- SHA-256 of a login or of an address
    at_us integer not null
);
create index if not exists failure_who on failure (who, at_us);
create table if not exists audit (
    id integer primary key,
    at_us integer not null,
    login text not null,
    what text not null,
    about text not null,
    note text not null
);
create trigger if not exists audit_stays before update on audit
begin select raise(abort, 'what was done stays written'); end;
create trigger if not exists audit_remains before delete on audit
begin select raise(abort, 'what was done stays written'); end;
"""

INVITED_FOR = timedelta(hours=24)
IDLE_FOR = timedelta(hours=12)
SIGNED_IN_FOR = timedelta(days=7)
LOCKED_FOR = timedelta(minutes=15)
TRIES_BY_LOGIN = 5
TRIES_BY_ADDRESS = 30
"""Failed sign-ins within `LOCKED_FOR` after which no further one is looked at."""

SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 256
LONGEST_LOGIN = 64


class Session(Struct, frozen=True, kw_only=True):
    """Who is signed in, and what each of the session's forms must carry."""

    member: Member
    form: str


class Done(Struct, frozen=True, kw_only=True):
    """One thing that somebody did, at a moment in microseconds since 1970."""

    id: int
    at_us: int
    login: str
    what: str
    about: str
    note: str


class Locked(InputError):
    """Too many failed sign-ins: no further one is looked at for a while."""


class People:
    """The file of members. Every call raises `LogError` where the disk does not take it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)

    def members(self) -> list[Member]:
        """Everybody, by login."""
        with self._using():
            return [_member(each) for each in rows(self._db, f"{MEMBER} order by login")]

    def invite(
        self,
        role: MemberRole,
        now_us: int,
        *,
        by: str,
        login: str | None = None,
        campaigns: Sequence[str] = (),
    ) -> str:
        """A code, good once within a day, by which a member is made, or gets a new password where `login`
        is one's."""
        code = secrets.token_urlsafe(24)
        with self._using(), transaction(self._db):
            if login is not None and self._find(login) is None:
                raise InputError("login", f"nobody signs in as {login!r}")
            self._db.execute("delete from invitation where ends_us < ?", (now_us,))
            self._db.execute(
                "insert into invitation values (?, ?, ?, ?, ?)",
                (_hash(code), login, role, "\n".join(campaigns), now_us + INVITED_FOR // MICROSECOND),
            )
            self._note(
                now_us, by, "invited" if login is None else "let renew the password", login or role, ""
            )
        return code

    def invited(self, code: str, now_us: int) -> tuple[str | None, MemberRole] | None:
        """Whose password an invitation renews, and the role it gives; `None`: it is not good any more."""
        with self._using():
            found = row(
                self._db,
                "select login, role from invitation where sha256 = ? and ends_us >= ?",
                (_hash(code), now_us),
            )
        return None if found is None else (found[0], MemberRole(found[1]))

    def welcome(self, code: str, login: str, password: str, now_us: int) -> Member:
        """Makes a member, or renews a password, and uses the invitation up. Raises `InputError`."""
        login = login.strip()
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise InputError("password", f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD} letters")
        kept = _hasher().hash(password)
        with self._using(), transaction(self._db):
            found = row(
                self._db,
                "select login, role, campaigns from invitation where sha256 = ? and ends_us >= ?",
                (_hash(code), now_us),
            )
            if found is None:
                raise InputError("code", "this invitation was used, or has ended: ask for another")
            renews, role, campaigns = found
            if renews is not None:
                self._db.execute("update member set password = ? where login = ?", (kept, renews))
                self._db.execute("delete from session where login = ?", (renews,))
                login = renews
            elif not login or len(login) > LONGEST_LOGIN or not login.isprintable():
                raise InputError("login", f"1 to {LONGEST_LOGIN} letters")
            elif self._find(login) is not None:
                raise InputError("login", "this name is taken: choose another")
            else:
                self._db.execute(
                    "insert into member values (?, ?, ?, ?, '', 0, ?)", (login, kept, role, campaigns, now_us)
                )
            self._db.execute("delete from invitation where sha256 = ?", (_hash(code),))
            self._note(now_us, login, "renewed the password" if renews else "joined", login, "")
            made = self._find(login)
        if made is None:  # pragma: no cover - written a line above
            raise LogError(f"{self.path}: a member is gone")
        return made

    def sign_in(self, login: str, password: str, address: str, now_us: int) -> str:
        """A session's token, for the cookie. Raises `InputError`, and `Locked` after too many failures.

        Whoever is not known takes as long to refuse as who is.
        """
        guesses = ((_hash(f"login {login}"), TRIES_BY_LOGIN), (_hash(f"from {address}"), TRIES_BY_ADDRESS))
        with self._using(), transaction(self._db):
            self._db.execute("delete from failure where at_us < ?", (now_us - LOCKED_FOR // MICROSECOND,))
            for who, most in guesses:
                (tries,) = row(self._db, "select count(*) from failure where who = ?", (who,)) or (0,)
                if tries >= most:
                    minutes = LOCKED_FOR // timedelta(minutes=1)
                    raise Locked(
                        "login", f"too many failed tries: wait {minutes} minutes, or ask an admin for a link"
                    )
            # Before the password is looked at, so that many tries at one time count as many.
            self._db.executemany("insert into failure values (?, ?)", [(who, now_us) for who, _ in guesses])
            found = row(self._db, "select password, disabled from member where login = ?", (login,))
        good = _is_password(found[0] if found else _nobodys(), password)
        if found is None or not good or found[1]:
            raise InputError("login", "name and password do not fit")
        token = secrets.token_urlsafe(32)
        with self._using(), transaction(self._db):
            self._db.executemany("delete from failure where who = ?", [(who,) for who, _ in guesses])
            if _hasher().check_needs_rehash(found[0]):
                self._db.execute(
                    "update member set password = ? where login = ?", (_hasher().hash(password), login)
                )
            self._db.execute(
                "insert into session values (?, ?, ?, ?, ?)",
                (_hash(token), login, secrets.token_urlsafe(24), now_us, now_us),
            )
            self._note(now_us, login, "signed in", "", "")
        return token

    def session(self, token: str, now_us: int) -> Session | None:
        """Who is signed in with this cookie; `None`: nobody, or not any more."""
        with self._using():
            found = row(
                self._db,
                "select login, form, made_us, seen_us from session where sha256 = ?",
                (_hash(token),),
            )
            if found is None:
                return None
            login, form, made_us, seen_us = found
            ended = now_us - made_us > SIGNED_IN_FOR // MICROSECOND
            member = self._find(login)
            if ended or now_us - seen_us > IDLE_FOR // MICROSECOND or member is None or member.disabled:
                self._db.execute("delete from session where sha256 = ?", (_hash(token),))
                return None
            if now_us - seen_us > timedelta(minutes=1) // MICROSECOND:
                self._db.execute("update session set seen_us = ? where sha256 = ?", (now_us, _hash(token)))
        return Session(member=member, form=form)

    def sign_out(self, token: str) -> None:
        """Ends the session of this cookie."""
        with self._using():
            self._db.execute("delete from session where sha256 = ?", (_hash(token),))

    def change(
        self,
        login: str,
        now_us: int,
        *,
        by: str,
        role: MemberRole | None = None,
        campaigns: Sequence[str] | None = None,
        disabled: bool | None = None,
        language: str | None = None,
    ) -> Member:
        """Changes what is given of a member. Raises `InputError`; also where no admin would be left."""
        with self._using(), transaction(self._db):
            old = self._find(login)
            if old is None:
                raise InputError("login", f"nobody signs in as {login!r}")
            new = Member(
                login=login,
                role=old.role if role is None else role,
                campaigns=old.campaigns if campaigns is None else tuple(campaigns),
                language=old.language if language is None else language,
                disabled=old.disabled if disabled is None else disabled,
                made_us=old.made_us,
            )
            self._db.execute(
                "update member set role = ?, campaigns = ?, language = ?, disabled = ? where login = ?",
                (new.role, "\n".join(new.campaigns), new.language, new.disabled, login),
            )
            if old.role is MemberRole.ADMIN and not self._has_admin():
                raise InputError("role", "somebody must stay admin: make another one first")
            if new.disabled:
                self._db.execute("delete from session where login = ?", (login,))
            changed = [
                f"{field} {getattr(new, field)}"
                for field in ("role", "campaigns", "disabled")
                if getattr(new, field) != getattr(old, field)
            ]
            if changed:
                self._note(now_us, by, "changed a member", login, ", ".join(changed))
        return new

    def note(self, now_us: int, login: str, what: str, about: str = "", note: str = "") -> None:
        """Writes down what somebody did."""
        with self._using(), transaction(self._db):
            self._note(now_us, login, what, about, note)

    def done(self, *, before: int | None = None, count: int = 100) -> list[Done]:
        """What was done, the latest first."""
        query = "select id, at_us, login, what, about, note from audit where id < ? order by id desc limit ?"
        with self._using():
            found = rows(self._db, query, (2**62 if before is None else before, count))
        return [
            Done(id=number, at_us=at, login=login, what=what, about=about, note=note)
            for number, at, login, what, about, note in found
        ]

    @property
    def path(self) -> str:
        """Where it is kept."""
        return self._db.filename

    def close(self) -> None:
        self._db.close()

    def _find(self, login: str) -> Member | None:
        found = row(self._db, f"{MEMBER} where login = ?", (login,))
        return None if found is None else _member(found)

    def _has_admin(self) -> bool:
        query = "select count(*) from member where role = ? and disabled = 0"
        (admins,) = row(self._db, query, (MemberRole.ADMIN,)) or (0,)
        return bool(admins)

    def _note(self, now_us: int, login: str, what: str, about: str, note: str) -> None:
        self._db.execute(
            "insert into audit (at_us, login, what, about, note) values (?, ?, ?, ?, ?)",
            (now_us, login, what, about, note),
        )

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except apsw.Error as error:
            raise LogError(f"{Path(self._db.filename).name}: {error}") from error


MEMBER = "select login, role, campaigns, language, disabled, made_us from member"


def open_people(path: Path) -> People:
    """The members kept in a file, which is made where it is missing. Raises `LogError` where it cannot be."""
    return People(connect(path, SCHEMA))


def _member(kept: tuple[str, str, str, str, int, int]) -> Member:
    login, role, campaigns, language, disabled, made_us = kept
    return Member(
        login=login,
        role=MemberRole(role),
        campaigns=tuple(campaigns.split("\n")) if campaigns else (),
        language=language,
        disabled=bool(disabled),
        made_us=made_us,
    )


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


@cache
def _hasher() -> "PasswordHasher":
    """Argon2id with 19 MiB, two passes and one lane: the least that OWASP's password storage sheet asks for
    (read 2026-11-22), so that a small machine bears some sign-ins at one time."""
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


@cache
def _nobodys() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))


def _is_password(kept: str, password: str) -> bool:
    from argon2.exceptions import VerificationError

    if len(password) > LONGEST_PASSWORD:
        return False
    try:
        return _hasher().verify(kept, password)
    except VerificationError:
        return False
