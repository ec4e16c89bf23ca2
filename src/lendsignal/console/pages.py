"""The pages as an ASGI application: one overview of the three reports, one life of an event or a user."""

import re
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from lendsignal import __version__
from lendsignal.config import Config
from lendsignal.console.charts import dashboard, tables_of
from lendsignal.deliver import rendered
from lendsignal.errors import LendsignalError
from lendsignal.log import DataFolder

if TYPE_CHECKING:
    from lendsignal.report import Explanation, Reports

HERE = Path(__file__).parent
FRESH_SECONDS = 2.0
"""How long one reading of the reports serves every page that asks."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def pages(config: Config) -> Starlette:
    """The pages of one data folder. They read it and change nothing."""
    folder = DataFolder(config.data)
    words = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words.filters["cell"] = _cell
    words.filters["slug"] = lambda text: re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-")
    words.globals.update(lender=config.portfolio, version=__version__)
    latest = _Latest(folder)
    renders = {name: rendered(outlet, config.apps) for name, outlet in config.outlets.items()}

    def overview_of(template: str) -> HTMLResponse:
        try:
            reports = latest.reports()
        except LendsignalError as error:
            return HTMLResponse(words.get_template("trouble.html").render(why=str(error)), 503)
        page = words.get_template(template).render(
            reports=reports, board=dashboard(reports), tables=tables_of(reports)
        )
        return HTMLResponse(page)

    async def overview(request: Request) -> Response:
        return await run_in_threadpool(overview_of, "overview.html")

    async def board(request: Request) -> Response:
        return await run_in_threadpool(overview_of, "board.html")

    def explained(asked: str) -> "Explanation":
        # Imported when somebody looks: the reports' database is a third of this process.
        from lendsignal.report import explain

        return explain(folder, asked, renders)

    async def life(request: Request) -> Response:
        asked = request.query_params.get("q", "").strip()[:256]
        found = await run_in_threadpool(explained, asked) if asked else None
        text = found.to_text() if found is not None else ""
        status = 404 if found is not None and found.kind == "nothing" else 200
        return HTMLResponse(words.get_template("life.html").render(asked=asked, text=text), status)

    return Starlette(
        routes=[
            Route("/", overview),
            Route("/board", board),
            Route("/explain", life),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_guarded)],
    )


class _Latest:
    """One reading of the reports for all who ask within a moment."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._lock = Lock()
        self._reports: Reports | None = None
        self._at = 0.0

    def reports(self) -> "Reports":
        from lendsignal.report import all_reports

        with self._lock:
            if self._reports is None or time.monotonic() - self._at > FRESH_SECONDS:
                self._reports = all_reports(self._folder)
                self._at = time.monotonic()
            return self._reports


async def _guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    response.headers.update(HEADERS)
    return response


def _cell(value: object) -> str:
    """A number as people read it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() | Decimal():
            return f"{value:,}"
        case float():
            return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        case _:
            return str(value)
