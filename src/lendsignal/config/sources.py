"""`[source.NAME]` and `[pull.NAME]`: who may send events, and from where they are fetched."""

import re
from collections.abc import Mapping
from hashlib import sha256

from lendsignal.config.notes import NAME, Notes
from lendsignal.config.twice import read_twice
from lendsignal.model import Secret, reveal, to_us
from lendsignal.settings import key_path
from lendsignal.source import (
    Access,
    KeySettings,
    PullPlan,
    PullSettings,
    SourceSettings,
    access_of,
    feed_kinds,
)


def keys_of(sources: Mapping[str, SourceSettings], notes: Notes) -> dict[str, Access]:
    """What each key in the file is good for, by its SHA-256; a source may have none here."""
    keys: dict[str, Access] = {}
    for name, source in sources.items():
        path = key_path("source", name)
        own = KeySettings(key=source.key, key_sha256=source.key_sha256, expires=source.expires)
        given = [(f"{path}.keys[{number}]", one) for number, one in enumerate(source.keys)]
        if source.key is not None or source.key_sha256 is not None:
            given.insert(0, (path, own))
        for where, key in given:
            digest = _digest_of(key, where, notes)
            if digest is None:
                continue
            if digest in keys:
                notes.wrong(where, "a key that stands here twice", "each key once")
            until_us = None if key.expires is None else to_us(key.expires)
            keys[digest] = access_of(name, source, digest, until_us=until_us, scopes=key.scopes)
    return keys


def _digest_of(key: KeySettings, path: str, notes: Notes) -> str | None:
    """The SHA-256 of a key, given as that or by reference."""
    if (key.key is None) == (key.key_sha256 is None):
        notes.wrong(path, "both or neither", "either key or key_sha256")
        return None
    if key.key_sha256 is not None:
        if not re.fullmatch(r"[0-9a-f]{64}", key.key_sha256):
            allowed = "64 lower-case hex digits, as `lendsignal keys new --print` gives them"
            notes.wrong(f"{path}.key_sha256", "something else", allowed)
        return key.key_sha256
    secret = notes.placed(key.key or Secret())
    notes.secret(f"{path}.key", secret)
    value = reveal(secret)
    return None if value is None else sha256(value.encode()).hexdigest()


def check_whom_for(
    sources: Mapping[str, SourceSettings],
    brands: Mapping[str, object],
    apps: Mapping[str, object],
    notes: Notes,
) -> None:
    """The brands and apps that a source's keys and Segment calls are for must be there."""
    for name, source in sources.items():
        named = (("brand", source.segment.brand, brands), ("app", source.segment.app, apps))
        for table, word, known in named:
            if word is not None and word not in known:
                notes.one_of(key_path("source", name, "segment", table), word, known)
        for table, words, known in (("brands", source.brands, brands), ("apps", source.apps, apps)):
            for word in words:
                if word not in known:
                    notes.one_of(key_path("source", name, table), word, known)


def pulls_of(given: object, sources: Mapping[str, object], notes: Notes) -> dict[str, PullPlan]:
    """Every pull's table, read twice: our keys, and those of its kind."""
    if not isinstance(given, dict):
        notes.wrong("pull", "no table", "[pull.NAME] tables")
        return {}
    pulls: dict[str, PullPlan] = {}
    kinds = feed_kinds()
    for name, table in given.items():
        path = key_path("pull", name)
        if not isinstance(table, dict) or not re.fullmatch(NAME, name):
            allowed = "a table [pull.NAME] with a name of lower-case letters, digits, - and _"
            notes.wrong(path, "something else", allowed)
            continue
        of_kind = read_twice(table, kinds, PullSettings, path, notes)
        if of_kind is None:
            continue
        module, common, own = of_kind
        if common is None or own is None:
            continue
        for one in module.problems(own):
            notes.wrong(f"{path}.{one.key}", one.found, one.allowed, one.nearest)
        own = notes.all_placed(own)
        notes.secrets_of(path, own)
        pulls[name] = PullPlan(name=name, common=common, own=own, kind=module)
    for name in pulls.keys() & sources.keys():
        allowed = "a name that no [source.NAME] has: events say whom they came from"
        notes.wrong(key_path("pull", name), f"the name {name!r}", allowed)
    return pulls
