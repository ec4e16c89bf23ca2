"""The pages of what we fetch ourselves: every table on them loads, and the printed SQL is the program's."""

import re
from pathlib import Path

import pytest
from tests.running import CONFIG, ENVIRONMENT

from lendsignal import config as configuration
from lendsignal.source.sql import outbox_sql

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"

TABLES = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in sorted(HOW_TO.glob("*.md"))
    for number, text in enumerate(
        re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    )
    if "[pull." in text and "[portfolio]" not in text
]


@pytest.mark.parametrize("table", TABLES)
def test_every_pull_on_a_page_can_be_configured(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in re.findall(r'\benv\s*=\s*"(\w+)"', table):
        monkeypatch.setenv(name, "made-up")
    secret = tmp_path / "secret"
    secret.write_text("made-up")
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    path = tmp_path / "lendsignal.toml"
    path.write_text(text + re.sub(r'\bfile\s*=\s*"[^"]+"', f'file = "{secret}"', table))

    assert configuration.load(path).pulls


def test_there_are_pulls_on_the_pages_that_teach_them() -> None:
    names = {str(one.id).rpartition("-")[0] for one in TABLES}

    assert names >= {"read-from-a-database", "use-the-outbox", "read-files"}


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb"])
def test_the_outbox_on_the_page_is_the_one_that_is_printed(dialect: str) -> None:
    printed = outbox_sql(dialect, "lendsignal_outbox")
    table = re.sub(r" +--.*", "", printed[printed.index("create table") : printed.index(";") + 1])

    assert table in (HOW_TO / "use-the-outbox.md").read_text()
