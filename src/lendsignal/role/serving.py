"""How a role serves HTTP and tells its metrics."""

import asyncio
import os
import signal
import socket
import sys
from hmac import compare_digest
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.config import Config, is_this_host
from lendsignal.errors import LogError
from lendsignal.metrics import CONTENT_TYPE, RoleMetrics
from lendsignal.model import reveal
from lendsignal.role import JOBS, own_roles, roles_of, with_jobs
from lendsignal.role.connections import PAGES_CONNECTIONS, allow_files, limited

LISTENS_ON = "LENDSIGNAL_LISTENS_ON"
"""The variable that names the number of a socket that is handed over to a role."""

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers by which a proxy says for whom it asks."""

KEEP_ALIVE_SECONDS = 75
"""Longer than the pools of the usual clients keep a connection, so that it is they who close it."""


def serve(app: Any, host: str, port: int, address: Path, connections: int = PAGES_CONNECTIONS) -> None:
    """Serves an ASGI app until told to stop, and writes where it listens into a file.

    So many `connections` at once; who comes on top is answered 503.
    """
    allow_files(connections)
    # Uvicorn ends in good order on SIGTERM and then raises it once more: that is a plain exit here.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    opened = _handed_over() or listening(host, port)
    settings = uvicorn.Config(
        app,
        http=limited(connections),
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
        log_config=None,  # what it says goes the way of everything that is said
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        backlog=2048,
    )
    fresh = address.with_suffix(".new")
    fresh.write_text(f"http://{host}:{opened.getsockname()[1]}")
    fresh.replace(address)
    uvicorn.Server(settings).run(sockets=[opened])


def _handed_over() -> socket.socket | None:
    """The socket on which the supervisor listens for this role, so that callers wait while it is renewed."""
    number = os.environ.get(LISTENS_ON)
    return None if number is None else socket.socket(fileno=int(number))


def listening(host: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        # Two sockets may be bound to one port where neither listens yet.
        opened.listen(2048)
    except OSError as error:
        opened.close()
        raise LogError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    return opened


def may_be_told(request: Request, config: Config) -> bool:
    """Whether whoever asks may know what is measured, and how the service is, as `[metrics]` says it.

    This machine is whoever comes over its own loopback; a proxy before the door comes over it as well, and
    says by a header for whom: then it is not this machine that asks.
    """
    if config.metrics.open_to == "all":
        return True
    forwarded = any(name in request.headers for name in FORWARDED)
    if request.client is not None and is_this_host(request.client.host) and not forwarded:
        return True
    token = None if config.metrics.token is None else reveal(config.metrics.token)
    given = request.headers.get("authorization", "").encode("latin-1")
    return token is not None and compare_digest(given, f"Bearer {token}".encode())


def turned_away(config: Config) -> Response:
    """The answer to whoever may not be told."""
    if config.metrics.token is None:
        return Response("this is told on this machine alone\n", 403, media_type="text/plain")
    needed = {"www-authenticate": "Bearer"}
    return Response("the token of [metrics] is needed\n", 401, headers=needed, media_type="text/plain")


def metrics_route(metrics: RoleMetrics, config: Config) -> Route:
    """What every role measures, for Prometheus; jobs come and go, and tell nothing."""
    own = roles_of(config) if config.store is None else with_jobs(config, own_roles(metrics.role))
    needed = roles_of(config)
    roles = [role for role in own if role in needed and role not in JOBS]

    async def measured(request: Request) -> Response:
        if not may_be_told(request, config):
            return turned_away(config)
        page = await asyncio.to_thread(metrics.page, roles)
        return Response(page, headers={"content-type": CONTENT_TYPE})

    return Route("/metrics", measured)
