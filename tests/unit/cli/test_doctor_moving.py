"""What the doctor says of events that wait for a cluster's store."""

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.acme import loan, us
from tests.unit.log import test_told_spool as told
from tests.unit.log.test_spool import Store

from lendsignal.cli import doctor_moving, giving
from lendsignal.log.spool import Spool
from lendsignal.log.store import StoreSettings
from lendsignal.log.told_spool import ToldSpool
from lendsignal.model import Secret


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A node two minutes after `T0`."""
    clock = SimpleNamespace(now_us=lambda: us(2))
    monkeypatch.setattr(giving, "clock_of", lambda config: clock)
    return SimpleNamespace(
        data=tmp_path, store=StoreSettings(url=Secret(env="ACME_STORE"), spool_megabytes=1)
    )


def kept(folder: Path, n: int, minutes: float) -> None:
    """So many events wait since then."""
    store = Store()
    store.is_away = True
    now_us = us(minutes)
    with closing(
        Spool(store, store, store, folder / "spool.sqlite", lambda: now_us, limit=10_000_000)
    ) as one:
        one.append([loan(1, f"L{number}") for number in range(n)])


def test_an_empty_spool_is_well(config: Any) -> None:
    (found,) = doctor_moving.spool(config)

    assert (found.level, found.found) == ("ok", "nothing waits for the store")


def test_what_waits_for_a_moment_is_worth_knowing(config: Any) -> None:
    kept(config.data, 3, 1.9)

    (found,) = doctor_moving.spool(config)
    assert found.level == "look"
    assert found.found.startswith("3 events wait for the store")


def test_what_mmps_told_is_told_of_beside_events(config: Any) -> None:
    kept(config.data, 3, 1.9)
    store = told.Store()
    store.is_away = True
    with closing(
        ToldSpool(store, store, config.data / "told-spool.sqlite", lambda: us(0), limit=9_999)
    ) as one:
        one.take([told.came("a"), told.recorded("b")])

    events, messages = doctor_moving.spool(config)
    assert (events.level, messages.level) == ("look", "act")
    assert messages.found.startswith("2 messages of MMPs wait for the store")


def test_what_waits_for_long_or_fills_the_spool_is_for_a_person(config: Any) -> None:
    kept(config.data, 3, 0)
    (long,) = doctor_moving.spool(config)
    kept(config.data, 12_000, 2)
    (full,) = doctor_moving.spool(config)

    assert (long.level, full.level) == ("act", "act")
    assert "soon takes no more" in full.found
