"""Looks at everything an operator would look at, and says of each finding what to do."""

import difflib
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import click

from lendsignal import config as configuration
from lendsignal.advise.preflight import LABELS
from lendsignal.cli import ahead, giving, machine
from lendsignal.cli.alerts import open_alarms
from lendsignal.cli.findings import Check, Finding, act, look, ok, span
from lendsignal.cli.pulling import pull_states, told_pull
from lendsignal.cli.steer import told_stop
from lendsignal.cli.words import as_json, configured, print_json, progress_bar
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.deliver import Standing
from lendsignal.deliver.giving import Stores, orders_of
from lendsignal.errors import ConfigError, LogError, NotYet
from lendsignal.log import DataFolder, Stage, damage, open_feeds
from lendsignal.log.people import open_people
from lendsignal.plan import Placed, record_of
from lendsignal.role.keeping import held_by, kept_since
from lendsignal.role.standing import sending
from lendsignal.source import quarantine_standing

GIGABYTE = 1_000_000_000
DISK_FULL_BELOW = GIGABYTE
DISK_LOW_BELOW = 5 * GIGABYTE

AHEAD_SECONDS = 60.0
"""What lies further in the future was written under another clock."""

LAG_SECONDS = 60.0
"""A person must look where an event is not decided, or a delivery not taken up, after so long."""

LONG_WAIT_SECONDS = 3_600.0
PACKS_LOOKED_AT = 2_000
HOUR_US = 3_600_000_000

SILENT_US = 24 * HOUR_US
"""A feed that was told nothing for so long has stopped: a lender with ads has installs every day."""


@click.command()
@click.option("--skip-files", is_flag=True, help="Do not read the databases through, which takes a while.")
@click.option(
    "--reach", is_flag=True, help="Ask every host that is sent to whether it answers, and its time."
)
@configured
@as_json
def doctor(skip_files: bool, reach: bool, config_path: Path, json_: bool) -> None:
    """Look at everything an operator would: files, disk, clock, processes, lags, pauses, what is held.

    Versions, permissions, ports, durable writes and the age of the last copy are looked at too.

    Says of each finding what to do. Ends with 1 where a person must act, with 2 where the configuration
    cannot be used.

    Example: lendsignal doctor --json
    """
    findings: list[Finding] = []
    code = 0
    try:
        config = configuration.load(config_path)
    except ConfigError as error:
        findings = [
            Finding(check="configuration", level="act", found=str(one), do="correct it: `lendsignal check`")
            for one in error.problems
        ]
        code = 2
    else:
        checks = CHECKS
        if config.store is not None:
            from lendsignal.cli import doctor_store  # with the store's client

            checks = (settings, tokens, policies, *doctor_store.checks_of(config))
        else:
            giving.folder_of(config)
        if reach:
            checks = (*checks, machine.reach)
        with progress_bar(quiet=json_, unit="checks") as bar:
            task = bar.add_task("looking", total=len(checks))
            for check in checks:
                if not (skip_files and check is files):
                    findings += _found(check, config)
                bar.advance(task)
        code = int(any(one.level == "act" for one in findings))
    if json_:
        print_json({"ok": code == 0, "findings": findings})
    else:
        for one in findings:
            click.echo(f"{one.level:<4} {one.check:<14} {one.found}")
            if one.do:
                click.echo(f"{'':<20}{one.do}")
    sys.exit(code)


def _found(check: Check, config: Config) -> list[Finding]:
    """What a check found; a file that cannot be read hides nothing of the other checks."""
    found: list[Finding] = []
    try:
        found.extend(check(config))
    except (LogError, apsw.Error) as error:
        do = f"docs/how-to/{'recover-a-data-folder' if config.store is None else 'run-on-a-cluster'}.md"
        found.append(act(check.__name__, f"cannot be looked at: {error}", do))
    return found


def settings(config: Config) -> Iterator[Finding]:
    """What loads but is worth knowing; secrets that are missing do not load."""
    yield ok("configuration", f"{config.path} can be used; {len(config.secrets)} secrets are set")
    for warning in config.warnings:
        yield look("configuration", warning)
    if config.deliver.sandbox is not None:
        yield look(
            "configuration",
            "deliver.sandbox is set: deliveries go to a sandbox, not to the platforms",
            "take it out to go live: docs/how-to/go-live-safely.md",
        )


def tokens(config: Config) -> Iterator[Finding]:
    """Tokens that end soon, before their platforms refuse everything."""
    ends = ahead.tokens(config)
    for one in ends:
        if one.state == "fine":
            yield ok("tokens", one.told())
        else:
            yield act("tokens", one.told(), "renew it: docs/how-to/watch-tokens.md")
    known = {one.destination for one in ends}
    silent = [name for name, outlet in config.outlets.items() if name not in known and outlet.spec.hosts]
    for name in ahead.refresh_tokens(config):
        yield look("tokens", f"{name} {ahead.REFRESH_TOKEN}", "docs/how-to/watch-tokens.md")
    if silent:
        yield ok("tokens", f"no end of a token is said for {', '.join(sorted(silent))}")


def audit(config: Config) -> Iterator[Finding]:
    """Whether what was done by whom stands as it was written."""
    path = DataFolder(config.data).people
    if not path.exists():
        return
    with closing(open_people(path)) as people:
        found = people.verified()
    for wrong in found.wrong:
        yield act(
            "audit",
            wrong,
            "somebody wrote people.sqlite past the product: see docs/explanation/threat-model.md",
        )
    if not found.wrong:
        yield ok("audit", f"{found.rows:,} rows, each linked to the one before")


def policies(config: Config) -> Iterator[Finding]:
    """Rules of the platforms that the lender's own terms break."""
    for one in ahead.policy(config):
        if one.verdict == "breaks":
            found = f"{one.app}, {LABELS[one.platform]}: {one.says}; {one.because}"
            yield look("policy", found, f"{one.source}, read {one.read}")


def files(config: Config) -> Iterator[Finding]:
    """Each database, read through, and whether they are of one moment."""
    folder = giving.folder_of(config)
    always = (folder.log, folder.deliveries, folder.orders)
    for path in (*always, *(path for path in folder.databases() if path not in always)):
        if not path.exists():
            yield look("files", f"{path.name} is not there yet", "`lendsignal run` makes it")
            continue
        wrong = damage(path)
        if wrong is None:
            yield ok("files", f"{path.name} is whole, {path.stat().st_size / 1e6:,.1f} MB")
        else:
            yield act("files", f"{path.name}: {wrong}", "docs/how-to/recover-a-data-folder.md")
    try:
        with Stores(folder) as stores:
            position = stores.deliveries.position()
            if position > stores.log.last_record():
                found = f"{folder.deliveries.name} is ahead of {folder.log.name}: the log is an older copy"
                yield act("files", found, "docs/how-to/recover-a-data-folder.md")
    except NotYet:
        return


def disk(config: Config) -> Iterator[Finding]:
    """Room for what is still to come."""
    free = shutil.disk_usage(giving.folder_of(config).path).free
    found = f"{free / GIGABYTE:,.1f} GB are free where the data folder is"
    if free < DISK_FULL_BELOW:
        yield act("disk", found, "make room: with a full disk the door answers 503 and nothing is sent")
    elif free < DISK_LOW_BELOW:
        yield look("disk", found, "make room soon: docs/reference/data-folder.md tells what grows")
    else:
        yield ok("disk", found)


def clock(config: Config) -> Iterator[Finding]:
    """The machine's clock against the files, and against what came in last."""
    folder = giving.folder_of(config)
    if config.replay_clock is not None:
        yield look("clock", "a replay clock tells the time (service.replay_clock)")
        return
    now_us = SystemClock().now_us()
    times = [path.stat().st_mtime for path in folder.path.glob("*.sqlite*")]
    ahead = max(times, default=0.0) - now_us / 1e6
    try:
        with Stores(folder) as stores:
            last = stores.log.read(stores.log.end() - 1, 1)
    except NotYet:
        last = []
    if last:
        ahead = max(ahead, last[0].event.received_at.timestamp() - now_us / 1e6)
    if ahead > AHEAD_SECONDS:
        yield act(
            "clock",
            f"the clock is {ahead:,.0f} s behind what was written last",
            "see that the machine's time is kept by NTP: windows and retries go by it",
        )
    else:
        yield ok("clock", "nothing lies in the future")


def processes(config: Config) -> Iterator[Finding]:
    """Who runs."""
    folder = giving.folder_of(config)
    if folder.is_running("core"):
        yield ok("processes", "core runs: events are taken")
    else:
        yield act("processes", "core does not run: nobody takes events", "lendsignal run")
    if config.door.apart and not folder.is_running("door"):
        yield act("processes", "door does not run: nobody takes events", "lendsignal run")
    wrong = sending(folder)
    if wrong is None:
        yield ok("processes", "send runs, and turns")
    else:
        yield act("processes", wrong, "lendsignal run; where it runs already, look at its ERROR lines")


def pulls(config: Config) -> Iterator[Finding]:
    """Whether what we fetch ourselves is read."""
    states = {one.name: one for one in pull_states(config)}
    wanted = [name for name, plan in config.pulls.items() if plan.common.enabled]
    if wanted and not giving.folder_of(config).is_running("pull"):
        yield act("pulls", f"nobody reads {', '.join(wanted)}", "lendsignal run")
    for name in wanted:
        state = states.get(name)
        if state is None:
            yield look("pulls", f"{name} was never started", "lendsignal run")
        elif state.state == "trouble":
            yield act(
                "pulls", f"{name}: {told_pull(state)}", f"lendsignal pull {name} --dry-run shows it at once"
            )
        elif (state.behind_us or 0) / 1e6 > LONG_WAIT_SECONDS:
            yield look("pulls", f"{name}: {told_pull(state)}", "see what holds its source up")
        else:
            yield ok("pulls", f"{name}: {told_pull(state)}")


def feeds(config: Config) -> Iterator[Finding]:
    """Whether MMPs that send messages still do: they do not come again with what was missed."""
    folder = giving.folder_of(config)
    latest: dict[str, int] = {}
    if folder.feeds.exists():
        with closing(open_feeds(folder.feeds, read_only=True)) as store:
            latest = store.latest()
    now_us = giving.clock_of(config).now_us()
    for name in config.feed_secrets:
        kind = config.feeds[name].settings.kind
        page = (
            "docs/reference/feeds.md" if kind == "generic" else f"docs/how-to/read-attribution-from-{kind}.md"
        )
        if name not in latest:
            yield look("feeds", f"{name} has told nothing yet", page)
        elif now_us - latest[name] > SILENT_US:
            silent = span((now_us - latest[name]) / 1_000_000)
            yield look("feeds", f"{name} has told nothing for {silent}", page)
        else:
            yield ok("feeds", f"{name} tells where users come from")


def lags(config: Config) -> Iterator[Finding]:
    """How far deciding and sending are behind, in number and in time."""
    now_us = giving.clock_of(config).now_us()
    try:
        stores = Stores(giving.folder_of(config))
    except NotYet as error:
        yield look("lag", str(error), "`lendsignal run` makes what is missing")
        return
    with stores:
        log, store = stores.log, stores.deliveries
        position, end = log.position(), log.end()
        oldest = log.read(position, 1)
        waits = now_us / 1e6 - oldest[0].event.received_at.timestamp() if oldest else 0.0
        yield _lag("decide", f"{end - position:,} of {end:,} events are not decided", waits)
        following = log.records(store.position(), 1)
        record = following[0][1] if following else None
        at_us = now_us if record is None else record.at_us
        what = "nothing planned is" if record is None else "records are"
        yield _lag("send", f"{what} still to be read by the sender", (now_us - at_us) / 1e6)
        orders = orders_of(giving.folder_of(config))
        if orders is not None:
            open_orders = orders.last() - store.order()
            orders.close()
            if open_orders > 0:
                yield look("orders", f"{open_orders} orders are not carried out yet")


def _lag(what: str, found: str, seconds: float) -> Finding:
    if seconds > LAG_SECONDS:
        return act(
            "lag",
            f"{what} is {span(seconds)} behind: {found}",
            "see that the process runs, that the disk is quick enough, and its ERROR lines",
        )
    return ok("lag", f"{what}: {found}")


def destinations(config: Config) -> Iterator[Finding]:
    """What waits, is held, is stopped or belongs to nobody, destination by destination."""
    if not giving.folder_of(config).deliveries.exists():
        yield look("destinations", "no sender has run here yet", "lendsignal run")
        return
    lately = _held_lately(config)
    for one in giving.standing(config):
        name = one.destination
        if not one.configured:
            yield from _orphan(config, one)
            continue
        for stop in one.stopped:
            found = f"{name} is paused {told_stop(stop)}"
            if stop.by == "person":
                yield look("paused", found, one.next_words[0])
            else:
                yield act(
                    "paused", found, f"see {stop.reason} in docs/reference/reasons.md; {one.next_words[0]}"
                )
        if one.held:
            growing = lately.get(name, 0)
            found = f"{name} holds {one.held:,} that may have arrived, {growing:,} of them since an hour ago"
            do = f"ask the platform, then: lendsignal replay --state held --destination {name} --dry-run"
            yield act("held", found, do) if growing else look("held", found, do)
        yield from _waiting(config, one)
        if one.dead:
            yield look("dead", f"{name} has {one.dead:,} dead", f"lendsignal dead list --destination {name}")


def _orphan(config: Config, one: Standing) -> Iterator[Finding]:
    """Deliveries of a destination that was taken out, or got another name."""
    name, n = one.destination, one.waiting + one.held + one.pending
    if not n:
        return
    heir = next(iter(difflib.get_close_matches(name, config.outlets, 1, 0.5)), "NEW-NAME")
    yield act(
        "destinations",
        f"{n:,} deliveries wait for {name}, which is not configured",
        f'renamed: [destination.{heir}] formerly = ["{name}"]; else: lendsignal cancel --destination {name}',
    )


def _waiting(config: Config, one: Standing) -> Iterator[Finding]:
    """The one that was planned first of those that wait."""
    now_us = giving.clock_of(config).now_us()
    with Stores(giving.folder_of(config)) as stores:
        firsts = [
            first[0].id
            for stage in (Stage.WAITING, Stage.PARKED)
            if (first := stores.deliveries.open(one.destination, 0, 1, stage))
        ]
        record = stores.log.record(record_of(min(firsts))[0]) if firsts else None
    if not isinstance(record, Placed):
        yield ok("waiting", f"{one.destination}: nothing waits")
        return
    seconds = (now_us - record.at_us) / 1e6
    found = f"{one.destination}: {one.waiting:,} wait, the oldest for {span(seconds)}"
    if seconds > LONG_WAIT_SECONDS and config.outlets[one.destination].period is None:
        yield look("waiting", found, "lendsignal report delivery   # tells what they wait for")
    else:
        yield ok("waiting", found)


def _held_lately(config: Config) -> dict[str, int]:
    """Deliveries that came to be held within the last hour, as far as the last receipts tell."""
    since_us = giving.clock_of(config).now_us() - HOUR_US
    found: dict[str, int] = {}
    with Stores(giving.folder_of(config)) as stores:
        store = stores.deliveries
        for _, receipts in store.all_receipts(max(0, store.last_pack() - PACKS_LOOKED_AT)):
            for one in receipts:
                if one.what == "held" and one.answered_us > since_us:
                    found[one.destination] = found.get(one.destination, 0) + 1
    return found


def quarantine(config: Config) -> Iterator[Finding]:
    """Refused events that wait for a person."""
    try:
        with Stores(giving.folder_of(config)) as stores:
            now_us = giving.clock_of(config).now_us()
            found = quarantine_standing(stores.log, now_us, config.door.quarantine_alert)
    except NotYet:
        return
    said = f"{found.open:,} refused events wait, {found.lately:,} of them since yesterday"
    if found.is_alarming:
        yield act("quarantine", said, "lendsignal quarantine list; then mend, release or drop them")
    elif found.open:
        yield look("quarantine", said, "lendsignal quarantine list")
    else:
        yield ok("quarantine", "nothing waits")


def retention(config: Config) -> Iterator[Finding]:
    """How far back the log goes, what it takes, and who holds back what could go."""
    folder = giving.folder_of(config)
    now_us = giving.clock_of(config).now_us()
    try:
        with Stores(folder) as stores:
            since = stores.log.cutting.since()
            kept, whose, cut = kept_since(config, folder, stores.log, now_us)
    except NotYet:
        return
    size = sum(path.stat().st_size for path in folder.path.glob("*.sqlite*"))
    begins = "" if since is None else f", events since {since:%Y-%m-%d}"
    said = f"{size / 1e6:,.1f} MB{begins}; events are kept for {span(kept.total_seconds())} ({whose})"
    holder = cut.held_by
    if holder is None:
        yield ok("retention", said)
    else:
        found = f"{said}; from event {holder.position + 1:,} on older ones stay, for {holder.name}"
        yield look("retention", found, held_by(holder))


def alarms(config: Config) -> Iterator[Finding]:
    """What the watcher of the running service found, and whether anybody is told of it."""
    raised = open_alarms(config)
    for one in raised:
        finding = act if one.severity == "critical" else look
        yield finding("alarms", one.said, one.do)
    if not raised:
        yield ok("alarms", "no alarm is open")
    if not any(one.enabled for one in config.alerts.values()):
        yield look("alarms", "nobody is told of alarms: no [alert.NAME]", "docs/how-to/get-alerted.md")


CHECKS: tuple[Check, ...] = (
    machine.version,
    settings,
    machine.taken_up,
    tokens,
    audit,
    policies,
    files,
    machine.backups,
    machine.permissions,
    disk,
    machine.durability,
    machine.open_files,
    clock,
    machine.ports,
    processes,
    pulls,
    feeds,
    lags,
    destinations,
    quarantine,
    retention,
    alarms,
)
