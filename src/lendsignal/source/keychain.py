"""Keys as people keep them: made, listed, rotated, ended. The door reads what stands here within a second."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from msgspec import Struct

from lendsignal.clock import from_us
from lendsignal.errors import InputError
from lendsignal.log import ID_LENGTH, ApiKey, KeyStore, KeyUse
from lendsignal.source.keys import Access, access_of
from lendsignal.source.settings import SourceSettings

SHORTEST_ID = 4
"""Digits of an id by which a key may be named, where they are one key's alone."""


class Shown(Struct, frozen=True, kw_only=True):
    """One key as it is listed: what it is good for, and when it was used. The key itself is nowhere."""

    id: str
    source: str
    kept: str
    good: bool
    scopes: tuple[str, ...]
    made: datetime | None
    ends: datetime | None
    last_used: datetime | None
    requests: int


class Keychain:
    """The keys of the configuration, by their SHA-256, and those of the file."""

    def __init__(
        self, configured: Mapping[str, Access], sources: Mapping[str, SourceSettings], store: KeyStore
    ) -> None:
        self._configured = configured
        self._sources = sources
        self._store = store

    def every(self) -> list[Access]:
        """Every key there is, with the end that counts."""
        found = [*self._configured.values()]
        for key in self._store.all():
            if key.sha256 in self._configured:
                continue
            settings = self._sources.get(key.source)
            if settings is None:
                access = Access(
                    source=key.source, sha256=key.sha256, scopes=frozenset(), until_us=key.expires_us
                )
            else:
                access = access_of(
                    key.source, settings, key.sha256, until_us=key.expires_us, scopes=key.scopes
                )
            found.append(access)
        ends = self._store.ends()
        return [one.ending(ends.get(one.sha256)) for one in found]

    def listed(self, now_us: int) -> list[Shown]:
        """Every key of the configuration and of the file, by source."""
        uses, made = self._store.uses(), {key.sha256: key for key in self._store.all()}
        found = []
        for one in self.every():
            use = uses.get(one.sha256, KeyUse(0, 0))
            key = made.get(one.sha256)
            found.append(
                Shown(
                    id=one.sha256[:ID_LENGTH],
                    source=one.source,
                    kept="configuration" if key is None else "data folder",
                    good=_is_good(one, now_us) and one.source in self._sources,
                    scopes=tuple(sorted(one.scopes)),
                    made=None if key is None else from_us(key.made_us),
                    ends=None if one.until_us is None else from_us(one.until_us),
                    last_used=from_us(use.last_us) if use.requests else None,
                    requests=use.requests,
                )
            )
        return sorted(found, key=lambda one: (one.source, one.made or datetime.min.replace(tzinfo=UTC)))

    def add(
        self, source: str, now_us: int, expires_us: int | None, scopes: tuple[str, ...]
    ) -> tuple[str, ApiKey]:
        """A new key, good at once, and what is kept of it. Without scopes it has all of its source's."""
        key, made = fresh(source, now_us, expires_us, scopes)
        self._store.add(made)
        return key, made

    def rotate(
        self, source: str, now_us: int, until_us: int, expires_us: int | None
    ) -> tuple[str, ApiKey, list[Access]]:
        """A new key, what is kept of it, and the source's others with the end that they have now."""
        old = [one for one in self.every() if one.source == source and _is_good(one, now_us)]
        key, made = self.add(source, now_us, expires_us, ())
        for one in old:
            self._store.end(one.sha256, until_us)
        ended = {one.sha256 for one in old}
        return key, made, [one for one in self.every() if one.sha256 in ended]

    def revoke(self, ids: Sequence[str], now_us: int) -> list[Access]:
        """Ends keys at once, also keys in the configuration. Raises `InputError` where an id is no key's."""
        chosen = [self._named(word) for word in ids]
        for one in chosen:
            self._store.end(one.sha256, now_us)
        return chosen

    def _named(self, word: str) -> Access:
        """The key whose id begins so. Raises `InputError` where none does, or several do."""
        found = [
            one for one in self.every() if len(word) >= SHORTEST_ID and one.sha256.startswith(word.lower())
        ]
        if len(found) != 1:
            why = "several keys begin so" if found else f"no key begins so with {SHORTEST_ID} digits or more"
            raise InputError(word, f"is no key's id: {why}; lendsignal keys list shows them")
        return found[0]


def fresh(source: str, now_us: int, expires_us: int | None, scopes: tuple[str, ...]) -> tuple[str, ApiKey]:
    """A key that nobody can guess, and what is kept of it."""
    key = f"ls_{secrets.token_urlsafe(32)}"
    digest = sha256(key.encode()).hexdigest()
    kept = ApiKey(sha256=digest, source=source, made_us=now_us, expires_us=expires_us, scopes=scopes or None)
    return key, kept


def _is_good(access: Access, now_us: int) -> bool:
    return access.until_us is None or now_us < access.until_us
