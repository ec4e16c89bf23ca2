"""Where the peer cannot be had, the bench says so in words and goes on."""

import subprocess
from pathlib import Path

import pytest

from lendsignal.bench import peer


def test_without_redis_the_peer_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert peer.measure_peer(10, tmp_path) == peer.NO_REDIS
    assert "apt-get install redis-server" in peer.NO_REDIS


def test_without_its_parts_the_peer_says_which_could_not_be_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_network(words: list[str]) -> None:
        raise subprocess.CalledProcessError(1, words)

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(peer, "_quietly", no_network)

    found = peer.measure_peer(10, tmp_path / "cache")

    assert isinstance(found, str)
    assert found.startswith("not measured: celery, redis and requests could not be installed")


def test_an_environment_is_made_once_and_again_when_other_parts_are_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[list[str]] = []

    def install(words: list[str]) -> None:
        calls.append(words)
        (tmp_path / "peer").mkdir(exist_ok=True)

    monkeypatch.setattr(peer, "_quietly", install)

    peer.environment(tmp_path / "peer")
    made = len(calls)
    peer.environment(tmp_path / "peer")
    monkeypatch.setattr(peer, "PARTS", ("celery==6.*",))
    peer.environment(tmp_path / "peer")

    assert (made, len(calls)) == (2, 4)


def test_the_peers_programs_are_python() -> None:
    compile(peer.TASKS, "tasks.py", "exec")
    compile(peer.ENQUEUE, "enqueue.py", "exec")
