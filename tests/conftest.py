"""What every test runs under: no law fails because the machine was busy, no module leaves files open."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

OPEN_FILES = Path("/proc/self/fd")
LEFT_OPEN = 200


@pytest.fixture(scope="module", autouse=True)
def closes_its_files() -> Iterator[None]:
    """A module may keep a few things for all its tests; one that leaks a file a case starves the rest."""
    before = _open_files()
    yield
    gc.collect()
    assert _open_files() - before < LEFT_OPEN, "this module leaves its files open"


def _open_files() -> int:
    return len(list(OPEN_FILES.iterdir())) if OPEN_FILES.exists() else 0
