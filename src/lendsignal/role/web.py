"""Pages and reports, so that none of them ever delays a delivery."""

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.log import (
    DataFolder,
    open_log,
)
from lendsignal.metrics import RoleMetrics, Ticking
from lendsignal.role.serving import metrics_route, serve


def web(config: Config) -> None:
    """Serves the pages until told to stop."""
    # Imported here: core and send live without the pages, the reports and their database.
    from lendsignal.console import pages
    from lendsignal.decide.cutting import Cutter
    from lendsignal.role.watcher import Watcher

    folder = DataFolder(config.data)
    metrics = RoleMetrics("web", folder.path)
    app = pages(config)
    app.router.routes.append(metrics_route(metrics, config))
    clock = clock_at(config.replay_clock)
    cutter = Cutter(lambda: open_log(folder.log), config.policy, config.tiers, clock)
    with folder.lock("web"), Ticking(metrics), cutter, Watcher(config, clock):
        serve(app, config.web.host, config.web.port, folder.path / "web.address")
