"""Pages and reports, so that none of them ever delays a delivery."""

import sys
import time
from contextlib import ExitStack, closing

from lendsignal.clock import SystemClock, clock_at
from lendsignal.config import Config
from lendsignal.log import DataFolder, open_keys, open_log
from lendsignal.log.people import People, open_people
from lendsignal.metrics import RoleMetrics, Ticking
from lendsignal.model.member import MemberRole
from lendsignal.role.serving import metrics_route, serve


def web(config: Config) -> None:
    """Serves the pages until told to stop."""
    # Imported here: core and send live without the pages, the reports and their database.
    from lendsignal.console import console
    from lendsignal.decide.cutting import Cutter
    from lendsignal.role.reports import MAKERS, report_routes
    from lendsignal.role.watcher import Watcher
    from lendsignal.source import Keyring

    folder = DataFolder(config.data)
    metrics = RoleMetrics("web", folder.path)
    clock = clock_at(config.replay_clock)
    with ExitStack() as open_things:
        open_things.enter_context(folder.lock("web"))
        people = None
        if not config.web.open:
            people = open_things.enter_context(closing(open_people(folder.people)))
            _invite_the_first(people, config, clock.now_us())
        app = console(config, people, MAKERS)
        # The machine's own clock: a key ends when it ends, also while history is replayed.
        keys = Keyring(
            config.keys,
            SystemClock(),
            time.monotonic,
            sources=config.sources,
            store=open_keys(folder.keys),
        )
        open_things.enter_context(keys)
        app.router.routes[:0] = [metrics_route(metrics, config), *report_routes(config, keys)]
        open_things.enter_context(Ticking(metrics))
        open_things.enter_context(Cutter(lambda: open_log(folder.log), config.policy, config.tiers, clock))
        open_things.enter_context(Watcher(config, clock))
        serve(app, config.web.host, config.web.port, folder.path / "web.address")


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
