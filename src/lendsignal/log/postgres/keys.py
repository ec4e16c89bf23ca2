"""API keys of a cluster, in the store that all doors share: a key is good or ended on every node alike.

Of a key only its SHA-256 is kept.
"""

from collections.abc import Mapping

from lendsignal.log.keys import ApiKey, KeyUse, key_of
from lendsignal.log.postgres.connection import Database, Session


class KeyRows:
    """The same as `log.Keys`, for any number of doors. Every call raises `LogError` where it cannot be."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: ApiKey) -> None:
        """Makes a key good."""
        scopes = None if key.scopes is None else " ".join(key.scopes)
        with self._database.transaction() as session:
            session.rows(
                "insert into api_key values (%s, %s, %s, %s, %s)",
                key.sha256,
                key.source,
                key.made_us,
                key.expires_us,
                scopes,
            )
            _changed(session)

    def end(self, sha256: str, at_us: int) -> None:
        """Has a key end at that moment, or earlier where an earlier end is set."""
        with self._database.transaction() as session:
            session.rows(
                "insert into key_end values (%s, %s) on conflict (sha256)"
                " do update set at_us = least(key_end.at_us, excluded.at_us)",
                sha256,
                at_us,
            )
            _changed(session)

    def all(self) -> list[ApiKey]:
        """Every key that was made, oldest first, ended ones included."""
        found = self._database.rows(
            "select sha256, source, made_us, expires_us, scopes from api_key order by made_us, sha256"
        )
        return [key_of(*one) for one in found]

    def ends(self) -> dict[str, int]:
        """The ends that were set later, by the key's SHA-256."""
        return dict(self._database.rows("select sha256, at_us from key_end"))

    def note(self, used: Mapping[str, KeyUse]) -> None:
        """Adds what came in since, at this door."""
        uses = sorted(used.items())  # two doors never wait for each other in a circle
        self._database.rows(
            "insert into key_use select sha256, last_us, requests"
            " from unnest(%b::text[], %b::bigint[], %b::bigint[])"
            " with ordinality as one(sha256, last_us, requests, place) order by place"
            " on conflict (sha256) do update set last_us = greatest(key_use.last_us, excluded.last_us),"
            " requests = key_use.requests + excluded.requests",
            [digest for digest, _ in uses],
            [use.last_us for _, use in uses],
            [use.requests for _, use in uses],
        )

    def uses(self) -> dict[str, KeyUse]:
        """How each key was used, by its SHA-256, at all doors together."""
        found = self._database.rows("select sha256, last_us, requests from key_use")
        return {digest: KeyUse(last, n) for digest, last, n in found}

    def version(self) -> int:
        """A number that changes when keys do."""
        found = self._database.row("select n from changed where what = 'keys'")
        return 0 if found is None else int(found[0])

    def close(self) -> None:
        """Lets its connection go."""
        self._database.close()


def _changed(session: Session) -> None:
    session.rows("insert into changed values ('keys', 1) on conflict (what) do update set n = changed.n + 1")
