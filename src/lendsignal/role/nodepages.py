"""Pages and calls of a cluster's node: how the whole cluster stands, and how this node does.

The same on every node. The console is at a desk (`role.web`), and of everything it has these say where.
"""

import asyncio
import time
from collections.abc import Collection, Iterator

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import Clock, SystemClock, clock_at
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, keys_of, seconds_since_beat
from lendsignal.log.postgres import Database, database_of, slots_of
from lendsignal.log.postgres.desks import Desk, Desks
from lendsignal.metrics import FolderMeters, RoleMetrics, Ticking
from lendsignal.role import own_roles
from lendsignal.role.cluster import ClusterStatus, LateDoor, cluster_status, store_of
from lendsignal.role.nodeshown import (
    ENGLISH,
    NOT_HERE,
    how_it_stands,
    named,
    shown,
    spoken_to,
    what_is_here,
    where_desks_are,
    wrong,
)
from lendsignal.role.serving import may_be_told, metrics_route, serve, turned_away
from lendsignal.role.standing import STILL_SECONDS
from lendsignal.source import Access, Keyring
from lendsignal.source.answers import Problem, Refusal, with_verdicts


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
        return [Route("/", self.overview), *self.calls()]

    def calls(self) -> list[Route]:
        """What programs ask, which a desk answers too."""
        return [
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
        return _json({"events": with_verdicts(found)})

    async def overview(self, request: Request) -> Response:
        """The page for people."""
        access = self._admitted(request)
        if isinstance(access, Response):
            return access
        spoken = spoken_to(request.headers.get("accept-language", ""))
        try:
            found = await asyncio.to_thread(self._standing)
            desks = await asyncio.to_thread(self._desks)
        except LogError as error:
            return shown(spoken, spoken("The store does not answer"), [wrong(str(error))], 503)
        title = spoken("The cluster of {lender}", lender=self._config.portfolio)
        return shown(spoken, title, [*how_it_stands(spoken, found), *where_desks_are(spoken, desks)])

    async def not_here(self, request: Request, error: Exception) -> Response:
        """What a node of a cluster does not have; in words."""
        if isinstance(error, HTTPException) and error.status_code == 405:
            return _problem(405, "method not allowed", "a node's pages are only read")
        try:
            desks = await asyncio.to_thread(self._desks)
        except LogError:
            desks = []
        if request.url.path.startswith("/v1/"):
            told = (*map(ENGLISH, NOT_HERE), named(ENGLISH, desks))
            return _problem(501, "not on this node", " ".join(told))
        spoken = spoken_to(request.headers.get("accept-language", ""))
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return shown(spoken, spoken("Not on this node"), what_is_here(spoken, desks, path), 501)

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

    def _desks(self) -> list[Desk]:
        return Desks(self._store).alive()

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
        elif role in ("work", "send", "desk"):
            beat = seconds_since_beat(folder.pulse(role))
            if beat is None or beat > STILL_SECONDS:
                yield f"{role} does not turn"


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _problem(status: int, title: str, detail: str) -> Response:
    kind = f"urn:lendsignal:problem:{title.replace(' ', '-')}"
    body = msgspec.json.encode(Problem(type=kind, title=title, status=status, detail=detail))
    return Response(body, status, media_type="application/problem+json")
