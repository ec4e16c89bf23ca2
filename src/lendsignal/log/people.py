"""Who may use the console: members, invitations, sessions, failed sign-ins, and what was done by whom.

A file of its own. Of passwords only the argon2id hash is kept, of links and session cookies only the SHA-256.
What was done (`audit`) can be added to and read; the file itself refuses to have it changed, and a chain of
hashes shows where somebody did so past it.
"""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
from msgspec import Struct, structs

from lendsignal.clock import MICROSECOND
from lendsignal.errors import InputError, LogError
from lendsignal.log.chain import START, Mark, Verdict, linked, verdict
from lendsignal.log.sqlite import TellingGuard, connect, row, rows, transaction
from lendsignal.model.member import Member, MemberRole

if TYPE_CHECKING:  # loaded by the first sign-in
    from argon2 import PasswordHasher

SCHEMA = """
create table if not exists member (
    login text primary key,
    password text not null,
    role text not null,
    campaigns text not null,            -- what is seen, one a line, as `Sight.lines` writes it; empty: all
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
create table if not exists audit_link (  -- see `log.chain`; rows of before it are linked when it is opened
    id integer primary key,             -- the row of `audit`
    sha256 text not null
);
create trigger if not exists link_stays before update on audit_link
begin select raise(abort, 'what was done stays written'); end;
create trigger if not exists link_remains before delete on audit_link
begin select raise(abort, 'what was done stays written'); end;
create table if not exists identity (   -- who a member is to the company's own sign-in
    issuer text not null,
    subject text not null,
    login text not null,
    primary key (issuer, subject)
) without rowid;
create table if not exists expected (login text primary key) without rowid; -- may come in by that sign-in
create table if not exists handshake (  -- a sign-in that is under way at the provider
    state text primary key,             -- SHA-256
    browser text not null,              -- SHA-256 of the cookie of whoever began it
    nonce text not null,
    verifier text not null,
    leads_to text not null,
    ends_us integer not null
) without rowid;
"""

INVITED_FOR = timedelta(hours=24)
IDLE_FOR = timedelta(hours=12)
SIGNED_IN_FOR = timedelta(days=7)
LOCKED_FOR = timedelta(minutes=15)
TRIES_BY_LOGIN = 5
TRIES_BY_ADDRESS = 30
"""Failed sign-ins within `LOCKED_FOR` after which no further one is looked at."""

HANDSHAKE_FOR = timedelta(minutes=10)
"""How long somebody may take to sign in at the provider."""

MOST_HANDSHAKES = 10_000
"""Sign-ins under way: nobody fills the disk by beginning more."""

BY_PROVIDER = ""
"""Stands where a password's hash would: no password fits it."""

SEEN_BY = ("campaign", "channel", "app")
"""What a member may be limited to, as it is kept."""

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


class Handshake(Struct, frozen=True, kw_only=True):
    """A sign-in under way at the provider: what its answer must carry, and where it leads then."""

    nonce: str
    verifier: str
    leads_to: str


class Locked(InputError):
    """Too many failed sign-ins: no further one is looked at for a while."""


class People:
    """The file of members. Every call raises `LogError` where the disk does not take it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = TellingGuard(connection)
        self._link_what_was_before()

    def members(self) -> list[Member]:
        """Everybody, by login."""
        with self._lock:
            return [_member(each) for each in rows(self._db, f"{MEMBER} order by login")]

    def invite(
        self,
        role: MemberRole,
        now_us: int,
        *,
        by: str,
        login: str | None = None,
        campaigns: Sequence[str] = (),
        channels: Sequence[str] = (),
        apps: Sequence[str] = (),
    ) -> str:
        """A code, good once within a day, by which a member is made, or gets a new password where `login`
        is one's."""
        code = secrets.token_urlsafe(24)
        with self._lock, transaction(self._db):
            if login is not None and self._find(login) is None:
                raise InputError("login", f"nobody signs in as {login!r}")
            self._db.execute("delete from invitation where ends_us < ?", (now_us,))
            self._db.execute(
                "insert into invitation values (?, ?, ?, ?, ?)",
                (
                    _hash(code),
                    login,
                    role,
                    _seen_as_kept(campaigns, channels, apps),
                    now_us + INVITED_FOR // MICROSECOND,
                ),
            )
            self._note(
                now_us, by, "invited" if login is None else "let renew the password", login or role, ""
            )
        return code

    def invited(self, code: str, now_us: int) -> tuple[str | None, MemberRole] | None:
        """Whose password an invitation renews, and the role it gives; `None`: it is not good any more."""
        with self._lock:
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
        with self._lock, transaction(self._db):
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
                self._make(login, kept, role, campaigns, now_us)
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
        with self._lock, transaction(self._db):
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
        good = _is_password(found[0] if found and found[0] != BY_PROVIDER else _nobodys(), password)
        if found is None or not good or found[1]:
            raise InputError("login", "name and password do not fit")
        with self._lock, transaction(self._db):
            self._db.executemany("delete from failure where who = ?", [(who,) for who, _ in guesses])
            if _hasher().check_needs_rehash(found[0]):
                self._db.execute(
                    "update member set password = ? where login = ?", (_hasher().hash(password), login)
                )
            return self._open(login, now_us, "signed in")

    def session(self, token: str, now_us: int) -> Session | None:
        """Who is signed in with this cookie; `None`: nobody, or not any more."""
        with self._lock:
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
        with self._lock:
            self._db.execute("delete from session where sha256 = ?", (_hash(token),))

    def change(
        self,
        login: str,
        now_us: int,
        *,
        by: str,
        role: MemberRole | None = None,
        campaigns: Sequence[str] | None = None,
        channels: Sequence[str] | None = None,
        apps: Sequence[str] | None = None,
        disabled: bool | None = None,
        language: str | None = None,
    ) -> Member:
        """Changes what is given of a member. Raises `InputError`; also where no admin would be left."""
        with self._lock, transaction(self._db):
            old = self._find(login)
            if old is None:
                raise InputError("login", f"nobody signs in as {login!r}")
            new = Member(
                login=login,
                role=old.role if role is None else role,
                campaigns=old.campaigns if campaigns is None else tuple(campaigns),
                channels=old.channels if channels is None else tuple(channels),
                apps=old.apps if apps is None else tuple(apps),
                language=old.language if language is None else language,
                disabled=old.disabled if disabled is None else disabled,
                made_us=old.made_us,
            )
            self._change(old, new, now_us, by)
        return new

    def note(self, now_us: int, login: str, what: str, about: str = "", note: str = "") -> None:
        """Writes down what somebody did."""
        with self._lock, transaction(self._db):
            self._note(now_us, login, what, about, note)

    def done(self, *, before: int | None = None, count: int = 100) -> list[Done]:
        """What was done, the latest first."""
        query = "select id, at_us, login, what, about, note from audit where id < ? order by id desc limit ?"
        with self._lock:
            found = rows(self._db, query, (2**62 if before is None else before, count))
        return [
            Done(id=number, at_us=at, login=login, what=what, about=about, note=note)
            for number, at, login, what, about, note in found
        ]

    def verified(self, noted: Mark | None = None) -> Verdict:
        """Whether what was done stands as it was written. `noted`: a head that was seen before."""
        with self._lock:
            done = rows(self._db, f"{AUDIT} order by id")
            links = rows(self._db, "select id, sha256 from audit_link order by id")
        return verdict(done, links, noted)

    # sign-in by the company's own provider

    def expect(
        self,
        login: str,
        role: MemberRole,
        now_us: int,
        *,
        by: str,
        campaigns: Sequence[str] = (),
        channels: Sequence[str] = (),
        apps: Sequence[str] = (),
    ) -> None:
        """Lets somebody in by the provider's sign-in under that name; who is a member stays what he is."""
        if not login or len(login) > LONGEST_LOGIN or not login.isprintable():
            raise InputError("login", f"1 to {LONGEST_LOGIN} letters")
        with self._lock, transaction(self._db):
            if self._find(login) is None:
                seen = _seen_as_kept(campaigns, channels, apps)
                self._make(login, BY_PROVIDER, role, seen, now_us)
            self._db.execute("insert or ignore into expected values (?)", (login,))
            self._note(now_us, by, "expects by the provider", login, role)

    def begin(self, state: str, browser: str, handshake: Handshake, now_us: int) -> None:
        """Remembers a sign-in that goes on at the provider. Raises `InputError` where too many do."""
        with self._lock, transaction(self._db):
            self._db.execute("delete from handshake where ends_us < ?", (now_us,))
            (under_way,) = row(self._db, "select count(*) from handshake") or (0,)
            if under_way >= MOST_HANDSHAKES:
                raise InputError("login", "too many sign-ins have been begun: try again in some minutes")
            self._db.execute(
                "insert into handshake values (?, ?, ?, ?, ?, ?)",
                (
                    _hash(state),
                    _hash(browser),
                    handshake.nonce,
                    handshake.verifier,
                    handshake.leads_to,
                    now_us + HANDSHAKE_FOR // MICROSECOND,
                ),
            )

    def take(self, state: str, browser: str, now_us: int) -> Handshake | None:
        """The sign-in that this browser began with that state, once; `None`: there is none (any more)."""
        with self._lock, transaction(self._db):
            found = row(
                self._db,
                "delete from handshake where state = ? and browser = ? and ends_us >= ?"
                " returning nonce, verifier, leads_to",
                (_hash(state), _hash(browser), now_us),
            )
        return None if found is None else Handshake(nonce=found[0], verifier=found[1], leads_to=found[2])

    def come_in(
        self,
        issuer: str,
        subject: str,
        login: str,
        now_us: int,
        *,
        role: MemberRole | None,
        seen: Member | None = None,
        anybody: bool = False,
    ) -> str:
        """A session's token for whom the provider knows as `subject`. Raises `InputError` with the reason.

        `role` is what the provider's groups give, and `seen` holds its limits; without a role the member
        keeps what an admin gave. `anybody`: whoever has a role becomes a member at the first sign-in.
        """
        with self._lock, transaction(self._db):
            known = row(
                self._db, "select login from identity where issuer = ? and subject = ?", (issuer, subject)
            )
            if known is not None:
                (login,) = known
            elif not login or len(login) > LONGEST_LOGIN or not login.isprintable():
                raise InputError("login", f"the provider's name for you is not 1 to {LONGEST_LOGIN} letters")
            member = self._find(login)
            if known is None:
                member = self._meet(issuer, subject, login, member, role, now_us, anybody)
            if member is None or member.disabled:
                raise InputError("login", f"{login} was put out: ask an admin")
            if role is not None:
                limits = seen or Member(login=login, role=role)
                new = structs.replace(
                    member,
                    role=role,
                    campaigns=limits.campaigns,
                    channels=limits.channels,
                    apps=limits.apps,
                )
                self._change(member, new, now_us, "the provider")
            return self._open(login, now_us, "signed in by the provider")

    def turn_away(self, issuer: str, subject: str, now_us: int, why: str) -> None:
        """Ends every session of whom the provider gives no role any more, and writes it down."""
        with self._lock, transaction(self._db):
            known = row(
                self._db, "select login from identity where issuer = ? and subject = ?", (issuer, subject)
            )
            if known is not None:
                self._db.execute("delete from session where login = ?", known)
                self._note(now_us, known[0], "was turned away", "", why)

    def end_local_sessions(self, but: str, now_us: int) -> int:
        """Ends the sessions of all whom the provider does not know, but of one; how many that were."""
        query = "login not in (select login from identity) and login <> ?"
        with self._lock, transaction(self._db):
            ended = rows(self._db, f"delete from session where {query} returning login", (but,))
            if ended:
                self._note(now_us, "the configuration", "ended local sessions", "", str(len(ended)))
        return len(ended)

    def _meet(
        self,
        issuer: str,
        subject: str,
        login: str,
        member: Member | None,
        role: MemberRole | None,
        now_us: int,
        anybody: bool,
    ) -> Member:
        """The member whom the provider shows for the first time."""
        expected = row(self._db, "delete from expected where login = ? returning login", (login,)) is not None
        if member is not None and not expected:
            raise InputError("login", f"{login} is somebody's name here: an admin must expect you by it")
        if member is None and not anybody:
            raise InputError("login", f"nobody expects {login} here: ask an admin")
        if member is None and role is None:
            raise InputError("login", f"{login} has no role here: ask an admin")
        if member is None and role is not None:
            self._make(login, BY_PROVIDER, role, "", now_us)
            member = self._find(login)
        if member is None:  # pragma: no cover - written a line above
            raise LogError(f"{self.path}: a member is gone")
        self._db.execute("insert into identity values (?, ?, ?)", (issuer, subject, login))
        self._note(now_us, login, "joined by the provider", login, issuer)
        return member

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

    def _make(self, login: str, password: str, role: str, seen: str, now_us: int) -> None:
        self._db.execute(
            "insert into member values (?, ?, ?, ?, '', 0, ?)", (login, password, role, seen, now_us)
        )

    def _change(self, old: Member, new: Member, now_us: int, by: str) -> None:
        """Writes a member anew, and down what changed. Raises `InputError` where no admin would be left."""
        seen = _seen_as_kept(new.campaigns, new.channels, new.apps)
        self._db.execute(
            "update member set role = ?, campaigns = ?, language = ?, disabled = ? where login = ?",
            (new.role, seen, new.language, new.disabled, new.login),
        )
        if old.role is MemberRole.ADMIN and not self._has_admin():
            raise InputError("role", "somebody must stay admin: make another one first")
        if new.disabled:
            self._db.execute("delete from session where login = ?", (new.login,))
        changed = [
            f"{field} {getattr(new, field)}"
            for field in ("role", "campaigns", "channels", "apps", "disabled")
            if getattr(new, field) != getattr(old, field)
        ]
        if changed:
            self._note(now_us, by, "changed a member", new.login, ", ".join(changed))

    def _open(self, login: str, now_us: int, what: str) -> str:
        """A new session's token."""
        token = secrets.token_urlsafe(32)
        self._db.execute(
            "insert into session values (?, ?, ?, ?, ?)",
            (_hash(token), login, secrets.token_urlsafe(24), now_us, now_us),
        )
        self._note(now_us, login, what, "", "")
        return token

    def _note(self, now_us: int, login: str, what: str, about: str, note: str) -> None:
        ((number,),) = rows(
            self._db,
            "insert into audit (id, at_us, login, what, about, note)"
            " select 1 + coalesce(max(id), 0), ?, ?, ?, ?, ? from audit returning id",
            (now_us, login, what, about, note),
        )
        (before,) = row(self._db, "select sha256 from audit_link order by id desc limit 1") or (START,)
        made = linked(before, (number, now_us, login, what, about, note))
        self._db.execute("insert into audit_link values (?, ?)", (number, made))

    def _link_what_was_before(self) -> None:
        """Rows that were written before there was a chain; of later ones a missing link is a finding."""
        with self._lock, transaction(self._db):
            if row(self._db, "select 1 from audit_link limit 1") is not None:
                return
            before = START
            for done in rows(self._db, f"{AUDIT} order by id"):
                before = linked(before, done)
                self._db.execute("insert into audit_link values (?, ?)", (done[0], before))


AUDIT = "select id, at_us, login, what, about, note from audit"
MEMBER = "select login, role, campaigns, language, disabled, made_us from member"


def open_people(path: Path) -> People:
    """The members kept in a file, which is made where it is missing. Raises `LogError` where it cannot be."""
    return People(connect(path, SCHEMA))


def _member(kept: tuple[str, str, str, str, int, int]) -> Member:
    login, role, seen, language, disabled, made_us = kept
    limits: dict[str, list[str]] = {}
    for line in seen.split("\n") if seen else ():
        key, equals, value = line.partition("=")
        # A line without a key is a campaign: so they were kept when there was nothing else.
        kind, name = (key, value) if equals and key in SEEN_BY else ("campaign", line)
        limits.setdefault(kind, []).append(name)
    return Member(
        login=login,
        role=MemberRole(role),
        campaigns=tuple(limits.get("campaign", ())),
        channels=tuple(limits.get("channel", ())),
        apps=tuple(limits.get("app", ())),
        language=language,
        disabled=bool(disabled),
        made_us=made_us,
    )


def _seen_as_kept(campaigns: Sequence[str], channels: Sequence[str], apps: Sequence[str]) -> str:
    """What a member sees, one a line. A version that knows campaigns only takes a channel for the name of a
    campaign that nothing has, and shows the member nothing."""
    named = [f"campaign={name}" if name.partition("=")[0] in SEEN_BY else name for name in campaigns]
    return "\n".join((*named, *(f"channel={name}" for name in channels), *(f"app={name}" for name in apps)))


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
