"""What the supervisor refuses before it starts anything."""

import errno
from pathlib import Path

import apsw
import pytest

from lendsignal import config as configuration
from lendsignal import run as running
from lendsignal.config import Config
from lendsignal.errors import FolderInUse, LogError
from lendsignal.log import Changes, DataFolder, open_deliveries, open_log
from lendsignal.role.__main__ import done


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
    open_log(DataFolder(config.data).log).close()
    sent_up_to(config, record=512)

    with pytest.raises(LogError, match=r"ahead of log\.sqlite"):
        running.run(config)
    assert started(config) == []


def test_deliveries_without_their_log_start_nothing_and_no_log_is_made(config: Config) -> None:
    sent_up_to(config, record=512)

    with pytest.raises(LogError, match=r"log\.sqlite is missing or empty"):
        running.run(config)
    assert not DataFolder(config.data).log.exists()


def test_orders_older_than_what_was_obeyed_start_nothing(config: Config) -> None:
    """The next orders would get numbers that the sender has passed already: they would never be obeyed."""
    open_log(DataFolder(config.data).log).close()
    sent_up_to(config, order=3)

    with pytest.raises(LogError, match=r"ahead of orders\.sqlite"):
        running.run(config)
    assert started(config) == []


def sent_up_to(config: Config, *, record: int | None = None, order: int | None = None) -> None:
    """A sender has read and obeyed so far."""
    deliveries = open_deliveries(DataFolder(config.data).deliveries)
    changes = Changes()
    changes.position, changes.order = record, order
    deliveries.commit(changes)
    deliveries.close()


def test_a_job_that_failed_is_done_again_though_nothing_new_was_written(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started with the first event, fails, and is started again when it is due; then all is done."""
    codes, begun, now = [1, 0], list[str](), [0.0]

    class Child:
        stdin = None

        def __init__(self, words: list[str], **how: object) -> None:
            begun.append(words[3])

        def poll(self) -> int:
            return codes.pop(0)

    monkeypatch.setattr("lendsignal.run.subprocess.Popen", Child)
    monkeypatch.setattr("lendsignal.run.time.monotonic", lambda: now[0])
    DataFolder(config.data).log.write_bytes(b"an event")
    supervisor = running.Supervisor(config, ("archive",))
    every = config.archive.every.total_seconds()

    for now[0], jobs in ((0.0, 1), (0.2, 1), (0.2 + every, 2), (0.4 + every, 2), (9 * every, 2)):
        supervisor.tend()
        assert len(begun) == jobs
    supervisor.stop()


@pytest.mark.parametrize("full", [apsw.FullError("disk is full"), OSError(errno.ENOSPC, "No space left")])
def test_a_role_that_cannot_start_on_a_full_disk_says_so_in_words(
    config: Config, monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    def fails(config: Config) -> None:
        raise full

    monkeypatch.setattr("lendsignal.role.archive.archive", fails)

    with pytest.raises(LogError, match="cannot be written"):
        done("archive", config)
    assert "cannot be written" in DataFolder(config.data).trouble("archive").read_text()


def test_a_role_is_had_though_the_disk_does_not_take_who_has_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, said: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lendsignal.log.folder.os.write", full)
    folder = DataFolder(config.data)

    with folder.lock("core"), pytest.raises(FolderInUse):
        folder.lock("core")
    folder.lock("core").release()


def test_the_folder_is_free_again_after_a_refusal(config: Config) -> None:
    DataFolder(config.data).log.write_bytes(b"this is no database" * 1_000)
    for _ in range(2):
        with pytest.raises(LogError, match="recover-a-data-folder"):
            running.run(config)
