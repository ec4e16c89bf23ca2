"""What a lender's process loads for the client: little, and quickly."""

import subprocess
import sys

import pytest

import lendsignal
from lendsignal import client

LOADED = "import lendsignal.client, sys; print('\\n'.join(sys.modules))"
HEAVY = {
    "apsw",
    "asyncio",
    "click",
    "duckdb",
    "http.client",
    "numpy",
    "pycurl",
    "ssl",
    "starlette",
    "uvicorn",
}


def test_the_client_loads_nothing_that_it_does_not_need_yet() -> None:
    said = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=60
    ).stdout

    loaded = set(said.split())
    assert not loaded & HEAVY
    ours = {name.split(".")[1] for name in loaded if name.startswith("lendsignal.")}
    assert ours == {"client", "errors", "model"}


def test_the_package_gives_the_clients_by_their_names() -> None:
    assert lendsignal.Client is client.Client
    assert lendsignal.AsyncClient is client.AsyncClient
    with pytest.raises(AttributeError):
        _ = lendsignal.Clientt
