"""The store of a cluster in the configuration: its address is a secret, and who goes in the open is told."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.lender_file import ACME

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.errors import ConfigError
from lendsignal.log.postgres import Limits
from lendsignal.log.store import StoreSettings, is_in_the_open, may_meet_a_standby

BASE = (
    ACME
    + """
[source.backend]
key = { env = "ACME_KEY" }
"""
)
STORE = '[store]\nurl = { env = "ACME_STORE" }\n'


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "ls_key-of-the-back-end")
    monkeypatch.setenv("ACME_STORE", "postgresql://lender:very-secret@db.acme.example/signals")


def loaded(folder: Path, store: str = STORE) -> Config:
    path = folder / "lendsignal.toml"
    path.write_text(BASE + store)
    return configuration.load(path)


def store_of(config: Config) -> StoreSettings:
    assert config.store is not None
    return config.store


def test_without_the_table_an_install_works_over_its_data_folder(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").store is None


def test_a_store_needs_its_address_and_nothing_else(tmp_path: Path) -> None:
    store = store_of(loaded(tmp_path))

    assert (store.schema, store.slots) == ("lendsignal", 256)
    assert store.lease == timedelta(seconds=2)


def test_the_address_is_a_secret_that_is_named_where_it_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loaded(tmp_path).secrets["store.url"]
    assert "very-secret" not in repr(loaded(tmp_path))

    monkeypatch.delenv("ACME_STORE")
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path)

    (problem,) = caught.value.problems
    assert problem.key == "store.url"
    assert "ACME_STORE" in problem.found


def test_an_address_in_a_file_counts_from_the_configurations_folder(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("postgresql://db.acme.example/signals?sslmode=verify-full\n")

    config = loaded(tmp_path, '[store]\nurl = { file = "store" }\n')

    assert store_of(config).url.file == str(tmp_path / "store")
    assert not [one for one in config.warnings if "store.url" in one]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('schema = "Not A Name"', "store.schema"),
        ("slots = 0", "store.slots"),
        ('lease = "1ms"', "store"),
        ('silence = "1s"', "store"),
        ("retention = 3", "store.retention"),
    ],
)
def test_what_no_store_can_be_is_named_by_its_key(tmp_path: Path, line: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"{STORE}{line}\n")

    assert [one.key for one in caught.value.problems] == [key]


def test_who_goes_over_a_network_without_knowing_who_answers_is_told(tmp_path: Path) -> None:
    (warning,) = [one for one in loaded(tmp_path).warnings if "store.url" in one]

    assert "verify-full" in warning
    assert "very-secret" not in warning


@pytest.mark.parametrize(
    ("url", "open_"),
    [
        ("postgresql://lender@db.acme.example/x", True),
        ("postgresql://lender@db.acme.example/x?sslmode=require", True),
        ("postgresql://lender@db.acme.example/x?sslmode=verify-full", False),
        ("postgresql://lender@127.0.0.1:5432/x", False),
        ("postgresql://lender@[::1]:5432/x", False),
        ("postgresql://lender@localhost/x", False),
        ("postgresql://lender@localhost:5432,db.acme.example:5433/x", True),
        ("postgresql:///x?host=/run/postgresql", False),
        ("postgresql:///x?host=db.acme.example", True),
        ("host=db.acme.example dbname=x", False),  # libpq's other way to say it is not judged
    ],
)
def test_only_a_verified_peer_or_this_machine_is_no_open_way(url: str, open_: bool) -> None:
    assert is_in_the_open(url) == open_


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("postgresql://lender@db-0.acme.example,db-1.acme.example/x", True),
        ("postgresql://lender@db-0:5432,db-1:5433/x?target_session_attrs=any", True),
        ("postgresql:///x?host=db-0,db-1&sslmode=verify-full", True),
        ("postgresql://lender@db-0,db-1/x?target_session_attrs=read-write", False),
        ("postgresql://lender@db-0,db-1/x?target_session_attrs=primary", False),
        ("postgresql://lender@db-0/x", False),
        ("host=db-0,db-1 dbname=x", False),
    ],
)
def test_of_several_servers_the_one_that_writes_must_be_asked_for(url: str, may: bool) -> None:
    assert may_meet_a_standby(url) == may


def test_who_names_several_servers_and_not_the_one_that_writes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_STORE", "postgresql://lender:very-secret@db-0,db-1/x?sslmode=verify-full")

    (warning,) = [one for one in loaded(tmp_path).warnings if "store.url" in one]
    assert "target_session_attrs=read-write" in warning
    assert "very-secret" not in warning


def test_a_server_has_as_long_for_an_answer_as_a_statement_and_then_silence() -> None:
    assert Limits(statement=timedelta(seconds=11), silence=timedelta(seconds=9)).answer == 20


def test_limits_are_told_to_the_database_and_to_the_connection_in_their_own_words() -> None:
    limits = Limits(
        connect=timedelta(seconds=7),
        statement=timedelta(seconds=11),
        lock=timedelta(milliseconds=1_500),
        idle=timedelta(milliseconds=2_500),
        silence=timedelta(seconds=9),
    )

    assert limits.session() == {
        "idle_in_transaction_session_timeout": "2500ms",
        "statement_timeout": "11000ms",
        "lock_timeout": "1500ms",
        "tcp_keepalives_idle": "7s",
        "tcp_keepalives_interval": "1s",
        "tcp_keepalives_count": "2",
        "tcp_user_timeout": "9000ms",
    }
    # 7 s of quiet, then two questions a second apart: given up after 9 s.
    assert limits.link() == {
        "connect_timeout": 7,
        "keepalives": 1,
        "keepalives_idle": 7,
        "keepalives_interval": 1,
        "keepalives_count": 2,
        "tcp_user_timeout": 9_000,
    }
