"""Pages and calls of a cluster's node: how the whole cluster stands, and how this node does.

The same on every node. What the pages of a data folder show besides is not on a cluster yet, and says so.
"""

import asyncio
import html
import time
from collections.abc import Collection, Iterator

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lendsignal.clock import Clock, SystemClock, clock_at
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, keys_of, seconds_since_beat
from lendsignal.log.postgres import Database, database_of, slots_of
from lendsignal.metrics import FolderMeters, RoleMetrics, Ticking
from lendsignal.role import own_roles
from lendsignal.role.cluster import ClusterStatus, LateDoor, cluster_status, store_of
from lendsignal.role.serving import may_be_told, metrics_route, serve, turned_away
from lendsignal.role.standing import STILL_SECONDS
from lendsignal.source import Access, Keyring
from lendsignal.source.answers import Problem, Refusal

NOT_HERE = (
    "This is not there on a cluster yet: the archive, the reports and what they feed are read out of a data"
    " folder. What is here: how the cluster stands, /v1/status, /v1/events/{id}, /metrics; and the command"
    " line's verbs for the store."
)

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}"
    ".wrong{color:#a00;font-weight:600}@media(prefers-color-scheme:dark){body{background:#111;color:#eee}"
    ".wrong{color:#f88}a{color:#9cf}}"
)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def node_pages(config: Config) -> None:
    """Serves them until told to stop. It starts also where the store is away, and says so."""
    folder, clock = DataFolder(config.data), clock_at(config.replay_clock)
    with folder.lock("web"):
        store, looked_at = database_of(store_of(config)), LateDoor(config)
        metrics = RoleMetrics("web", folder.path, [FolderMeters(folder.path)])
        keys = Keyring(
            config.keys,
            SystemClock(),
            time.monotonic,
            sources=config.sources,
            store=keys_of(folder, store_of(config)),
            patient=True,
        )
        pages = Pages(config, store, looked_at, keys, clock)
        app = Starlette(
            routes=[*pages.routes(), metrics_route(metrics, config)],
            exception_handlers={404: pages.not_here, 405: pages.not_here},
        )
        try:
            with keys, Ticking(metrics):
                serve(app, config.web.host, config.web.port, folder.path / "web.address")
        finally:
            store.close()
            looked_at.close()


class Pages:
    """What a browser or a program may ask a node. `open` pages ask nobody who they are."""

    def __init__(self, config: Config, store: Database, log: LateDoor, keys: Keyring, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._log = log
        self._keys = keys
        self._clock = clock
        self._folder = DataFolder(config.data)

    def routes(self) -> list[Route]:
        """Every address there is."""
        return [
            Route("/", self.overview),
            Route("/healthz", self.alive),
            Route("/readyz", self.ready),
            Route("/v1/status", self.status),
            Route("/v1/events/{event:path}", self.event),
        ]

    async def alive(self, request: Request) -> Response:
        """This process serves."""
        return _json({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Whether every role of this node turns and the store answers: what a probe asks."""
        why = await asyncio.to_thread(self._missing)
        return _json({"status": "not ready" if why else "ready", "why": why}, 503 if why else 200)

    async def status(self, request: Request) -> Response:
        """How far the cluster is."""
        if not may_be_told(request, self._config):
            return turned_away(self._config)
        try:
            return _json(await asyncio.to_thread(self._standing))
        except LogError as error:
            return _json({"status": "the store does not answer", "why": str(error)}, 503)

    async def event(self, request: Request) -> Response:
        """Every event of an id with its verdict, whichever door took it."""
        access = self._admitted(request)
        if isinstance(access, Response):
            return access
        try:
            found = await asyncio.to_thread(self._log.find, request.path_params["event"])
        except LogError as error:
            return _problem(503, "the store does not answer", str(error))
        found = [
            (fact, verdict)
            for fact, verdict in found
            if access is None or access.beyond(fact.event.brand, fact.event.app, self._config.apps) is None
        ]
        if not found:
            return _problem(404, "unknown event", "no event of that id is in the log")
        shown = [
            {
                "event_id": fact.event.event_id,
                "type": fact.event.type,
                "occurred_at": fact.event.occurred_at,
                "received_at": fact.event.received_at,
                "source": fact.event.source,
                "flags": fact.event.flags,
                "verdict": "pending" if verdict is None else verdict.value,
            }
            for fact, verdict in found
        ]
        return _json({"events": shown})

    async def overview(self, request: Request) -> Response:
        """The page for people."""
        access = self._admitted(request)
        if isinstance(access, Response):
            return access
        try:
            found = await asyncio.to_thread(self._standing)
        except LogError as error:
            return _page("The store does not answer", f'<p class="wrong">{html.escape(str(error))}</p>', 503)
        return _page(f"The cluster of {self._config.portfolio}", "".join(told(found)))

    async def not_here(self, request: Request, error: Exception) -> Response:
        """What a node of a cluster does not have; in words."""
        if isinstance(error, HTTPException) and error.status_code == 405:
            return _problem(405, "method not allowed", "a node's pages are only read")
        if request.url.path.startswith("/v1/"):
            return _problem(501, "not on a cluster yet", NOT_HERE)
        body = f'<p>{NOT_HERE}</p><p><a href="/">How the cluster stands</a></p>'
        return _page("Not on a cluster yet", body, 501)

    def _admitted(self, request: Request) -> Access | Response | None:
        """What who asks may see; `None` at an open node, which asks nobody; else the answer that refuses.

        The key must be one that may read, as Bearer or as Basic's name.
        """
        if self._config.web.open:
            return None
        try:
            return self._keys.admit(request.headers.get("authorization", "").encode("latin-1"), "read")
        except Refusal as refusal:
            answer = _problem(refusal.status, refusal.title, refusal.detail)
            if refusal.status == 401:
                answer.headers["WWW-Authenticate"] = 'Basic realm="an API key that may read, for a name"'
            return answer

    def _standing(self) -> ClusterStatus:
        return cluster_status(self._store, self._config, self._clock)

    def _missing(self) -> str:
        wrong = list(silent_roles(self._folder, own_roles()))
        try:
            slots_of(self._store)
        except LogError as error:
            wrong.append(str(error))
        return "; ".join(wrong)


def silent_roles(folder: DataFolder, roles: Collection[str]) -> Iterator[str]:
    """What is wrong with a node's roles, in words: who is not there, and whose loop does not turn."""
    for role in roles:
        if not folder.is_running(role):
            yield f"{role} does not run"
        elif role in ("work", "send"):
            beat = seconds_since_beat(folder.pulse(role))
            if beat is None or beat > STILL_SECONDS:
                yield f"{role} does not turn"


def told(now: ClusterStatus) -> Iterator[str]:
    """How a cluster stands, as HTML."""
    waits = now.events - now.decided
    nodes = ", ".join(f"{n} {kind}" for kind, n in sorted(now.nodes.items())) or "none"
    yield f"<p>{'Nothing is left to do.' if now.idle else 'It works.'}</p>"
    yield "<table><caption>Log</caption>"
    yield _row("events decided", f"{now.decided:,}")
    yield _row("events that wait", f"{waits:,}")
    yield _row("read by the senders", "all" if now.read_by_sender else "not all yet")
    yield _row("nodes alive", nodes)
    for kind, n in now.unheld.items():
        if n:
            doing = "decides" if kind == "work" else "sends"
            yield _row("slots without a holder", f"nobody {doing} {n} of {now.slots}", wrong=True)
    yield "</table><table><caption>Destinations</caption>"
    for name in sorted({*now.waiting, *now.paused}):
        counts = ", ".join(f"{n:,} {stage}" for stage, n in now.waiting.get(name, {}).items()) or "nothing"
        paused = f"; PAUSED: {now.paused[name]}" if name in now.paused else ""
        yield _row(name, counts + paused, wrong=name in now.paused)
    yield "</table>"


def _row(name: str, value: str, *, wrong: bool = False) -> str:
    mark = ' class="wrong"' if wrong else ""
    return f"<tr><th scope=row>{html.escape(name)}</th><td{mark}>{html.escape(value)}</td></tr>"


def _page(title: str, body: str, status: int = 200) -> Response:
    head = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)} · lendsignal</title>"
    )
    view = '<meta name=viewport content="width=device-width">'
    text = f"{head}{view}<style>{STYLE}</style><h1>{html.escape(title)}</h1>{body}</html>"
    return HTMLResponse(text, status, headers=HEADERS)


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _problem(status: int, title: str, detail: str) -> Response:
    kind = f"urn:lendsignal:problem:{title.replace(' ', '-')}"
    body = msgspec.json.encode(Problem(type=kind, title=title, status=status, detail=detail))
    return Response(body, status, media_type="application/problem+json")
