"""What a role's process loads: no role carries the libraries of another."""

import subprocess
import sys

import pytest

OF_DOORS = {"asyncio", "starlette", "uvicorn", "ssl", "http.client"}
OF_REPORTS = {"duckdb", "numpy", "scipy", "sklearn", "lightgbm", "matplotlib"}


def loaded_by(role: str) -> set[str]:
    """The modules that are there once a role's own module is."""
    words = f"import lendsignal.role.__main__, lendsignal.role.{role}, sys; print('\\n'.join(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, timeout=60
    )
    return set(said.stdout.split())


def test_who_only_sends_loads_nothing_of_a_door() -> None:
    assert not loaded_by("send") & (OF_DOORS | OF_REPORTS)


def test_who_only_decides_loads_nothing_of_a_door() -> None:
    """What serves comes later, and only where the door is not apart."""
    assert not loaded_by("core") & {"starlette", "uvicorn"}


@pytest.mark.parametrize("role", ["core", "front", "door", "web"])
def test_who_only_serves_loads_nothing_that_sends_or_reports(role: str) -> None:
    assert not loaded_by(role) & (OF_REPORTS | {"pycurl"})
