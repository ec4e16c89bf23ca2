"""Which processes a node of a cluster has, and what of a desk's work only the leading one does."""

from pathlib import Path

import pytest

from lendsignal.config import Config
from lendsignal.config import load as configured
from lendsignal.log import DataFolder
from lendsignal.log.copied import Lead, desk_name, tell_lead
from lendsignal.role import DESK_JOBS, roles_of, with_jobs
from lendsignal.role.leading import leading, leads

APP = """
[portfolio]
name = "acme-group"

[brand.acme]

[app.acme-ng]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"

[source.backend]
key = { env = "ACME_KEY" }
"""

STORE = """
[store]
url = { env = "ACME_STORE" }
"""

PULL = """
[pull.logins]
kind   = "files"
folder = "drop"
match  = "*.jsonl"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACME_KEY", "made-up-key")
    monkeypatch.setenv("ACME_STORE", "postgresql://lender@127.0.0.1:9/none")
    return tmp_path


def config_of(folder: Path, *tables: str) -> Config:
    (folder / "lendsignal.toml").write_text("".join(tables))
    return configured(folder / "lendsignal.toml")


def test_a_desk_has_its_jobs_beside_it_and_no_other_node_has_them(folder: Path) -> None:
    config = config_of(folder, APP, STORE)

    assert with_jobs(config, ("desk", "web")) == ("desk", "web", *DESK_JOBS)
    assert with_jobs(config, ("ingest", "work")) == ("ingest", "work")


def test_a_folder_of_its_own_has_no_desk(folder: Path) -> None:
    config = config_of(folder, APP)

    assert with_jobs(config, ("core", "send")) == ("core", "send")
    assert leads(config)


@pytest.mark.parametrize(("table", "pulls"), [("", False), (PULL, True)])
def test_a_desk_pulls_only_where_something_is_to_be_pulled(folder: Path, table: str, pulls: bool) -> None:
    config = config_of(folder, APP, STORE, table)

    assert ("pull" in roles_of(config)) is pulls
    assert {"watch", "archive", "erase"} <= set(roles_of(config))


def test_a_desk_leads_as_long_as_its_lease_lasts(folder: Path) -> None:
    config = config_of(folder, APP, STORE)
    data = DataFolder(config.data)
    assert not leads(config)
    tell_lead(data, Lead(holder="desk-1", epoch=3, until_us=2**62))
    assert leading(config) == Lead(holder="desk-1", epoch=3, until_us=2**62)
    tell_lead(data, Lead(holder="desk-1", epoch=3, until_us=1))

    assert leading(config) is None


def test_a_desk_keeps_its_name_and_no_two_have_one(tmp_path: Path) -> None:
    one, other = DataFolder(tmp_path / "one"), DataFolder(tmp_path / "other")

    assert desk_name(one) == desk_name(one) != desk_name(other)
    assert [path.name for path in one.path.iterdir()] == ["desk.name"]
