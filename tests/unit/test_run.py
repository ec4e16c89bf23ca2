"""What the supervisor refuses before it starts anything."""

from pathlib import Path

import pytest

from lendsignal import config as configuration
from lendsignal import run as running
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import Changes, DataFolder, open_deliveries


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text('[portfolio]\nname = "acme"\n[brand.acme]\n[app]\n[door]\nport = 0\n[web]\nport = 0\n')
    return configuration.load(path)


def started(config: Config) -> list[str]:
    return [path.name for path in config.data.glob("*.address")]


def test_a_damaged_log_starts_nothing_and_names_the_page_that_helps(config: Config) -> None:
    DataFolder(config.data).log.write_bytes(b"this is no database" * 1_000)

    with pytest.raises(LogError, match="recover-a-data-folder"):
        running.run(config)
    assert started(config) == []


def test_a_log_older_than_its_deliveries_starts_nothing(config: Config) -> None:
    """Its new conversions would get ids that the sender has passed already: they would never be sent."""
    deliveries = open_deliveries(DataFolder(config.data).deliveries)
    changes = Changes()
    changes.position = 512
    deliveries.commit(changes)
    deliveries.close()

    with pytest.raises(LogError, match=r"ahead of log\.sqlite"):
        running.run(config)
    assert started(config) == []


def test_the_folder_is_free_again_after_a_refusal(config: Config) -> None:
    DataFolder(config.data).log.write_bytes(b"this is no database" * 1_000)
    for _ in range(2):
        with pytest.raises(LogError, match="recover-a-data-folder"):
            running.run(config)
