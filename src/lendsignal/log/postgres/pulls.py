"""How far every pull of a cluster has read, in the store: any desk goes on where another stopped."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.singles import Single
from lendsignal.log.pulls import PullState

SCHEMA = """
create table if not exists pull (       -- as in pulls.sqlite of a data folder, under the same names
    name text primary key,
    began_us bigint not null,
    state text not null,
    reason text not null,
    detail bytea not null,              -- UTF-8: it may quote what a source said
    since_us bigint not null,
    read_us bigint not null,
    rows bigint not null,
    events bigint not null,
    refused bigint not null,
    behind_us bigint
) with (fillfactor = 50);
create table if not exists pull_mark (
    name text primary key,
    mark bytea not null,
    at_us bigint not null
) with (fillfactor = 50);
create table if not exists pull_remembered (
    pull text not null,
    key bytea not null,
    content bytea not null,
    at_us bigint not null,
    primary key (pull, key)
) with (fillfactor = 70);
create index if not exists pull_remembered_by_age on pull_remembered (pull, at_us);
create table if not exists pull_note (
    pull text not null,
    name bytea not null,                -- UTF-8: such as a file
    body bytea not null,
    at_us bigint not null,
    primary key (pull, name)
);
"""

_FIELDS = "name, began_us, state, reason, detail, since_us, read_us, rows, events, refused, behind_us"


class PullRows:
    """The marks of a cluster's pulls, as `log.Pulls` keeps those of a data folder.

    What is written is written under the right to pull, where `single` is one: a desk that froze while another
    took its place raises `Overtaken` and moves no mark back. Everything raises `LogError` where the store
    does not answer.
    """

    def __init__(self, database: Database, single: Single | None = None) -> None:
        self._database = database
        self._single = single

    def began(self, name: str, now_us: int) -> int:
        """When that pull was first started: now, if it never was."""
        with self._writing() as session:
            session.rows(
                f"insert into pull ({_FIELDS}) values (%s, %s, 'waiting', '', '', %s, 0, 0, 0, 0, null)"
                " on conflict do nothing",
                name,
                now_us,
                now_us,
            )
            found = session.row("select began_us from pull where name = %s", name)
        assert found is not None, "it was put there"
        return int(found[0])

    def mark(self, name: str) -> bytes | None:
        """How far that pull has read; `None` where it has read nothing."""
        found = self._database.row("select mark from pull_mark where name = %s", name)
        return None if found is None else bytes(found[0])

    def contents(self, name: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What each of these keys said when it was last made durable; without those never heard of."""
        query = "select key, content from pull_remembered where pull = %s and key = any(%b::bytea[])"
        return {bytes(key): bytes(content) for key, content in self._database.rows(query, name, list(keys))}

    def note(self, name: str, of: str) -> bytes | None:
        """What the pull noted of something, such as a file."""
        query = "select body from pull_note where pull = %s and name = %b"
        found = self._database.row(query, name, of.encode())
        return None if found is None else bytes(found[0])

    def commit(
        self,
        name: str,
        mark: bytes | None,
        now_us: int,
        *,
        remembered: Mapping[bytes, bytes],
        notes: Mapping[str, bytes],
    ) -> None:
        """Moves the mark and remembers, all or nothing. Without a mark the old one stays."""
        with self._writing() as session:
            if mark is not None:
                session.rows(
                    "insert into pull_mark values (%s, %b, %s) on conflict (name) do update set"
                    " mark = excluded.mark, at_us = excluded.at_us",
                    name,
                    mark,
                    now_us,
                )
            session.rows(
                "insert into pull_remembered select %s, key, content, %s"
                " from unnest(%b::bytea[], %b::bytea[]) as one(key, content)"
                " on conflict (pull, key) do update set content = excluded.content, at_us = excluded.at_us",
                name,
                now_us,
                list(remembered),
                list(remembered.values()),
            )
            session.rows(
                "insert into pull_note select %s, name, body, %s"
                " from unnest(%b::bytea[], %b::bytea[]) as one(name, body)"
                " on conflict (pull, name) do update set body = excluded.body, at_us = excluded.at_us",
                name,
                now_us,
                [of.encode() for of in notes],
                list(notes.values()),
            )

    def met_again(self, name: str, keys: Collection[bytes], now_us: int) -> None:
        """Remembers these from now on anew: their rows still come."""
        with self._writing() as session:
            session.rows(
                "update pull_remembered set at_us = %s where pull = %s and key = any(%b::bytea[])",
                now_us,
                name,
                list(keys),
            )

    def forget(self, name: str, before_us: int) -> None:
        """Forgets what was last made durable, or met again, before that moment. Notes stay."""
        with self._writing() as session:
            session.rows("delete from pull_remembered where pull = %s and at_us < %s", name, before_us)

    def stand(self, state: PullState) -> None:
        """Keeps how a pull stands."""
        with self._writing() as session:
            session.rows(
                f"insert into pull ({_FIELDS}) values (%s, %s, %s, %s, %b, %s, %s, %s, %s, %s, %s)"
                " on conflict (name) do update set began_us = excluded.began_us, state = excluded.state,"
                " reason = excluded.reason, detail = excluded.detail, since_us = excluded.since_us,"
                " read_us = excluded.read_us, rows = excluded.rows, events = excluded.events,"
                " refused = excluded.refused, behind_us = excluded.behind_us",
                state.name,
                state.began_us,
                state.state,
                state.reason,
                state.detail.encode("utf-8", "replace"),
                state.since_us,
                state.read_us,
                state.rows,
                state.events,
                state.refused,
                state.behind_us,
            )

    def standing(self) -> list[PullState]:
        """How every pull stands that was ever started, by name."""
        names = PullState.__struct_fields__
        found = self._database.rows(f"select {', '.join(names)} from pull order by name")
        return [
            PullState(
                **{
                    name: value.decode() if name == "detail" else value
                    for name, value in zip(names, one, strict=True)
                }
            )
            for one in found
        ]

    def close(self) -> None:
        """Lets its connection go."""
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._database.transaction() if self._single is None else self._single.transaction() as session:
            yield session
