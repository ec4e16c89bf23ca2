"""What a role's process loads: no role carries the libraries of another."""

import subprocess
import sys
from functools import cache

import pytest

OF_DOORS = {"asyncio", "starlette", "uvicorn", "ssl", "http.client"}
OF_REPORTS = {"duckdb", "numpy", "scipy", "sklearn", "lightgbm", "matplotlib"}


@cache
def loaded_by(role: str) -> frozenset[str]:
    """The modules that are there once a role's own module is."""
    words = f"import lendsignal.role.__main__, lendsignal.role.{role}, sys; print('\\n'.join(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, timeout=60
    )
    return frozenset(said.stdout.split())


def test_who_only_sends_loads_nothing_of_a_door() -> None:
    assert not loaded_by("send") & (OF_DOORS | OF_REPORTS)


def test_libcurl_comes_with_the_first_request_that_is_sent() -> None:
    assert "pycurl" not in loaded_by("send")


def test_what_makes_pages_comes_with_the_first_page_that_is_asked_for() -> None:
    assert not loaded_by("web") & {"jinja2", "babel", "lendsignal.console.app", "lendsignal.role.reports"}


def test_who_only_decides_loads_nothing_of_a_door() -> None:
    """What serves comes later, and only where the door is not apart."""
    assert not loaded_by("core") & {"starlette", "uvicorn"}


@pytest.mark.parametrize("role", ["core", "front", "door", "web"])
def test_who_only_serves_loads_nothing_that_sends_or_reports(role: str) -> None:
    assert not loaded_by(role) & (OF_REPORTS | {"pycurl"})
