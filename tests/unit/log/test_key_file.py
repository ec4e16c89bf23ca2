"""The file of keys: what is made stays, ends only come nearer, use adds up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lendsignal.log import ApiKey, Keys, KeyUse, open_keys


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    one = open_keys(tmp_path / "keys.sqlite")
    yield one
    one.close()


def key(digit: str, **fields: object) -> ApiKey:
    return ApiKey(**{"sha256": digit * 64, "source": "crm", "made_us": int(digit), **fields})  # type: ignore[arg-type]


def test_keys_are_read_back_as_they_were_made_oldest_first(keys: Keys, tmp_path: Path) -> None:
    young, old = key("2", scopes=("events", "read")), key("1", source="gateway", expires_us=77)
    keys.add(young)
    keys.add(old)
    other = open_keys(tmp_path / "keys.sqlite")

    assert keys.all() == other.all() == [old, young]
    other.close()


def test_an_end_only_comes_nearer(keys: Keys) -> None:
    keys.end("1" * 64, 500)
    keys.end("1" * 64, 900)
    keys.end("2" * 64, 900)
    keys.end("2" * 64, 500)

    assert keys.ends() == {"1" * 64: 500, "2" * 64: 500}


def test_use_adds_up_and_the_last_moment_is_the_latest(keys: Keys) -> None:
    keys.note({"1" * 64: KeyUse(50, 3)})
    keys.note({"1" * 64: KeyUse(40, 4), "2" * 64: KeyUse(9, 1)})

    assert keys.uses() == {"1" * 64: KeyUse(50, 7), "2" * 64: KeyUse(9, 1)}


def test_the_version_tells_that_another_process_has_written(keys: Keys, tmp_path: Path) -> None:
    before = keys.version()
    keys.add(key("1"))
    own = keys.version()
    other = open_keys(tmp_path / "keys.sqlite")
    other.add(key("2"))
    other.close()

    assert own == before
    assert keys.version() != before
