"""`lendsignal keys`: what is made is good, what is changed over overlaps, what is revoked has ended."""

import json
import re
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.running import CONFIG, ENVIRONMENT, KEY

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.clock import SystemClock
from lendsignal.log import KeyUse, open_keys
from lendsignal.source import Keyring
from lendsignal.source.answers import Refusal

DIGEST = sha256(KEY.encode()).hexdigest()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration whose one source has a key in the environment."""
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    (tmp_path / "lendsignal.toml").write_text(text + "\n[source.gateway]\nscopes = ['events', 'read']\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["keys", *words])


def as_json(*words: str) -> Any:
    found = call(*words, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def lets_in(key: str, scope: Any = "events") -> bool:
    """Whether the door would let that key in now."""
    config = configuration.load(Path("lendsignal.toml"))
    with closing(open_keys(Path("data/keys.sqlite"))) as store:
        ring = Keyring(config.keys, SystemClock(), lambda: 0.0, sources=config.sources, store=store)
        try:
            ring.admit(f"Bearer {key}".encode(), scope)
        except Refusal:
            return False
    return True


def test_a_new_key_is_good_without_a_word_in_the_configuration(here: Path) -> None:
    made = as_json("new", "gateway")

    assert re.fullmatch(r"ls_[\w-]{43}", made["key"])
    assert made["id"] == sha256(made["key"].encode()).hexdigest()[:12]
    assert lets_in(made["key"])
    assert not lets_in(made["key"], "relay")
    for file in (here / "data").iterdir():
        assert made["key"].encode() not in file.read_bytes()


def test_a_key_may_be_narrower_than_its_source_and_end(here: Path) -> None:
    made = as_json("new", "gateway", "--scope", "read", "--expires", "2020-01-01T00:00:00Z")
    later = as_json("new", "gateway", "--scope", "read", "--scope", "relay", "--expires", "90d")

    assert not lets_in(made["key"], "read")
    assert lets_in(later["key"], "read")
    assert not lets_in(later["key"], "events")
    assert not lets_in(later["key"], "relay")


def test_a_source_that_is_not_configured_gets_no_key() -> None:
    found = call("new", "gatewy")

    assert found.exit_code == 2
    assert "Did you mean 'gateway'?" in found.output


def test_the_list_tells_the_last_use_of_each_key_wherever_it_is_kept(here: Path) -> None:
    made = as_json("new", "gateway")
    with closing(open_keys(here / "data" / "keys.sqlite")) as store:
        store.note({DIGEST: KeyUse(1_796_079_600_000_000, 7)})
    backend, gateway = as_json("list")

    assert (backend["source"], backend["kept"], backend["id"]) == ("backend", "configuration", DIGEST[:12])
    assert (backend["last_used"], backend["requests"]) == ("2026-11-30T23:00:00Z", 7)
    assert (gateway["id"], gateway["last_used"], gateway["good"]) == (made["id"], None, True)
    assert gateway["scopes"] == ["events", "read"]
    shown = call("list").stdout
    assert "last used 2026-11-30 23:00Z, 7 requests" in shown
    assert "never used" in shown
    assert made["key"] not in shown


def test_rotating_makes_a_key_and_gives_the_others_an_end() -> None:
    before = as_json("new", "backend")
    other = as_json("new", "gateway")
    after = as_json("rotate", "backend", "--overlap", "2h")

    assert {one["id"] for one in after["old"]} == {before["id"], DIGEST[:12]}
    assert all(lets_in(key) for key in (KEY, before["key"], after["key"]))
    again = as_json("rotate", "backend", "--overlap", "0s")
    assert {one["id"] for one in again["old"]} == {before["id"], DIGEST[:12], after["id"]}
    assert [lets_in(key) for key in (KEY, before["key"], after["key"], again["key"])] == [False] * 3 + [True]
    assert lets_in(other["key"])


def test_a_revoked_key_has_ended_at_once_also_one_in_the_configuration() -> None:
    made = as_json("new", "gateway")
    assert as_json("revoke", made["id"][:6]) == [{"id": made["id"], "source": "gateway"}]
    found = call("revoke", DIGEST)

    assert "take it out" in found.stdout
    assert not lets_in(made["key"])
    assert not lets_in(KEY)
    assert [one["good"] for one in as_json("list")] == [False, False]
    assert "ENDED" in call("list").stdout


@pytest.mark.parametrize("word", ["0000000", DIGEST[:3], ""])
def test_an_id_that_names_no_key_ends_nothing(word: str) -> None:
    found = call("revoke", word)

    assert found.exit_code == 1
    assert "lendsignal keys list" in found.output
    assert lets_in(KEY)


@pytest.mark.parametrize("word", ["soon", "2026-11-22T00:00:00"])
def test_an_end_that_is_no_time_is_a_mistake_of_the_command_line(word: str) -> None:
    assert call("new", "gateway", "--expires", word).exit_code == 2
