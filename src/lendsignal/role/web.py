"""Pages and reports, so that none of them ever delays a delivery."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from threading import Event

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lendsignal.clock import SystemClock, clock_at
from lendsignal.config import Config
from lendsignal.console.gate import WithHeaders, is_behind_tls
from lendsignal.decide.cutting import Cutter
from lendsignal.deliver.audiences.meters import ListMeters
from lendsignal.log import DataFolder, keys_of, open_log
from lendsignal.log.people import People, open_people
from lendsignal.metrics import RoleMetrics, Ticking
from lendsignal.model.member import MemberRole
from lendsignal.role import DESK, own_roles
from lendsignal.role.serving import metrics_route, serve
from lendsignal.role.tracing import Tracing
from lendsignal.role.watcher import Watcher
from lendsignal.source import Keyring

logger = logging.getLogger(__name__)


class Pages:
    """The pages as an ASGI application that is made when one of them is asked for.

    What makes pages and reports takes as much memory as all the rest of this role: where nobody looks, it
    is not there. What is measured is told from the start.
    """

    def __init__(self, config: Config, metrics: Route, make: Callable[[], ASGIApp]) -> None:
        self._measured = metrics
        self._at_once = WithHeaders(metrics, behind_tls=is_behind_tls(config))
        self._make = make
        self._made: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == self._measured.path:
            await self._at_once(scope, receive, send)
            return
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
        await self._made(scope, receive, send)


def web(config: Config) -> None:
    """Serves the pages until told to stop: the console, where there is a data folder to read.

    On a cluster that is at a desk, whose folder is a copy of the store; another node has a page of its own.
    """
    if config.store is not None and DESK not in own_roles():
        from lendsignal.role.nodepages import node_pages

        node_pages(config)
        return
    folder = DataFolder(config.data)
    clock = clock_at(config.replay_clock)
    metrics = RoleMetrics("web", folder.path, [ListMeters(folder.audiences, clock)])
    with ExitStack() as open_things:
        open_things.enter_context(folder.lock("web"))
        people = None
        if not config.web.open:
            people = open_things.enter_context(closing(open_people(folder.people)))
            _invite_the_first(people, config, clock.now_us())
            _note_the_head(people)
            open_things.callback(_note_the_head, people)
            if not config.web.local_accounts:
                people.end_local_sessions(config.web.emergency or "", clock.now_us())
        # The machine's own clock: a key ends when it ends, also while history is replayed.
        keys = Keyring(
            config.keys,
            SystemClock(),
            time.monotonic,
            sources=config.sources,
            store=keys_of(folder, config.store),
            patient=config.store is not None,
        )
        open_things.enter_context(keys)
        open_things.enter_context(Ticking(metrics))
        calls: list[Route] = []
        if config.store is not None:
            from lendsignal.role.deskcalls import desk_calls

            calls = open_things.enter_context(desk_calls(config, keys, clock))
        else:
            open_things.enter_context(
                Cutter(lambda: open_log(folder.log), config.policy, config.tiers, clock)
            )
            open_things.enter_context(Watcher(config, clock))
            open_things.enter_context(Tracing(config))
        pages = Pages(config, metrics_route(metrics, config), lambda: _made(config, people, keys, calls))
        serve(pages, config.web.host, config.web.port, folder.path / "web.address")


def _made(config: Config, people: People | None, keys: Keyring, calls: Sequence[Route]) -> ASGIApp:
    """The console, with reports for programs beside it, and what a desk answers."""
    from lendsignal.console import console
    from lendsignal.role.market import compared_in_market
    from lendsignal.role.reports import MAKERS, report_routes

    app = console(config, people, MAKERS, in_step, market=compared_in_market)
    app.router.routes[:0] = [*calls, *report_routes(config, keys)]
    return app


def in_step(config: Config, names: Sequence[str]) -> str:
    """Tells the platforms what changed in these lists, by default in all; a line of what came of each."""
    from lendsignal.role.audience import brought_in_step

    found = brought_in_step(config, clock_at(config.replay_clock), Event(), names)
    return "\n".join(
        f"{one.audience} → {one.account}: {one.outcome}{f' ({one.reason})' if one.reason else ''},"
        f" +{one.added:,} −{one.removed:,}, {one.refused:,} refused"
        for one in found
    )


def _note_the_head(people: People) -> None:
    """Says where the audit's chain stands: log lines that are kept elsewhere hold what it must still say."""
    head = people.verified().head
    if head is not None:
        logger.info("audit: row %d is %s", head.id, head.sha256)


def _invite_the_first(people: People, config: Config, now_us: int) -> None:
    """While nobody can sign in, whoever reads this terminal is asked in as admin."""
    if not people.members():
        code = people.invite(MemberRole.ADMIN, now_us, by="the terminal")
        where = (
            f"http://{config.web.host}:{config.web.port}" if config.web.port else "the address of the pages"
        )
        print(
            f"first admin  {where}/welcome?code={code}  (good once, within a day)",
            file=sys.stderr,
            flush=True,
        )
