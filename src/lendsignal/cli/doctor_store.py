"""The doctor's look at a cluster: the store, its server, who works in it, and how far everything is."""

from collections.abc import Iterator
from contextlib import closing

from lendsignal.cli import giving, machine
from lendsignal.cli.doctor_copies import copied
from lendsignal.cli.doctor_moving import moving, spool
from lendsignal.cli.doctor_topic import topic
from lendsignal.cli.findings import Check, Finding, act, look, ok, span
from lendsignal.clock import SystemClock, to_us
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import DataFolder
from lendsignal.log.copied import copy_standing
from lendsignal.log.postgres import Database, database_of, examining, slots_of
from lendsignal.log.postgres.singles import DESK
from lendsignal.log.postgres.standing import oldest_waiting, standing, waiting_by_slot
from lendsignal.plan import version_of
from lendsignal.role.cluster import store_of

LEAST_VERSION = 130_000
"""PostgreSQL 13 brought transaction numbers of 64 bits (release notes, postgresql.org, 2026-11-23)."""

TRIED_VERSION = 150_000
"""What our tests run on."""

LONG_WRITING_SECONDS = 5.0
"""A transaction of ours takes milliseconds: one that is open so long holds the reading back."""

LAG_SECONDS = 60.0
OLD_SECONDS = 60.0
DAYS_AHEAD = 2
ROOM = 0.8
"""Of the connections that the server allows, what may be taken."""

DEAD_ROWS = 20_000
MANY_OF_THEM = 5
"""Rows that are gone, for one that lives: more, and the server does not come round to vacuum."""

PAGE = "docs/how-to/run-on-a-cluster.md"


def reached(config: Config) -> Iterator[Finding]:
    """Whether the store answers, is of a version that will do, and is the one that takes writes."""
    with _store(config) as database:
        try:
            found = examining.server(database)
        except LogError as error:
            yield act("store", str(error), "see that PostgreSQL runs, store.url, its pg_hba.conf and the way")
            return
        version = f"PostgreSQL {found.version // 10_000}.{found.version % 10_000}"
        if found.version < LEAST_VERSION:
            yield act("store", f"{version} is too old", "PostgreSQL 15, or 13 at least")
        elif found.version < TRIED_VERSION:
            yield look("store", f"{version} answers; what is tested is 15", "PostgreSQL 15 or younger")
        else:
            yield ok("store", f"{version} answers")
        if found.is_standby:
            do = "name all servers in store.url and add target_session_attrs=read-write"
            yield act("store", "what answers is a standby, which takes no events", do)
        if found.is_remote and not found.is_encrypted:
            yield act("store", "what goes to it is not encrypted", "sslmode=verify-full in store.url")
        taken = found.connections / max(1, found.allowed)
        said = f"{found.connections} of {found.allowed} connections are taken"
        do = "a node takes about fifteen: raise max_connections before nodes are turned away"
        yield look("store", said, do) if taken > ROOM else ok("store", said)
        yield ok("store", f"its database has {found.bytes / 1e9:,.2f} GB")


def form(config: Config) -> Iterator[Finding]:
    """Whether the tables are there, and of this version's form."""
    with _store(config) as database:
        try:
            yield ok("store", f"the tables are of this version's form, with {slots_of(database)} slots")
        except LogError as error:
            yield act("store", str(error), "lendsignal store prepare")


def policy(config: Config) -> Iterator[Finding]:
    """Whether this configuration's policy is the one in force."""
    with _store(config) as database:
        found = database.row("select version from wanted where kind = 'policy'")
    wanted = version_of(config.policy)
    if found is None:
        yield act("policy", "none is in force: nothing is decided", "lendsignal store policy")
    elif found[0] != wanted:
        said = f"{found[0]} is in force, and this configuration's is {wanted}"
        yield look("policy", said, "`lendsignal store policy` where this one is meant to be")
    else:
        yield ok("policy", f"{wanted} is in force")


def durability(config: Config) -> Iterator[Finding]:
    """What an answer is worth: that a commit is on disk, and on how many servers."""
    with _store(config) as database:
        found = examining.server(database)
    for name in ("fsync", "full_page_writes"):
        if found.settings[name] != "on":
            yield act("durability", f"{name} is off: a power cut loses what was answered", f"{name} = on")
    if found.ours["synchronous_commit"] in ("off", "local") and found.settings["synchronous_standby_names"]:
        yield act("durability", "commits do not wait for the standby", "synchronous_commit = on")
    elif found.ours["synchronous_commit"] == "off":
        yield act("durability", "commits do not wait for the disk", "synchronous_commit = on")
    if not found.settings["synchronous_standby_names"]:
        said = "no synchronous standby: with this server's disk goes what was answered"
        yield look("durability", said, f"a standby, and synchronous_standby_names: {PAGE}")
    else:
        yield ok("durability", f"commits wait for {found.settings['synchronous_standby_names']}")


def limits(config: Config) -> Iterator[Finding]:
    """Whether the limits of our sessions arrive: a pooler in between may drop them."""
    store = store_of(config)
    with _store(config) as database:
        found = examining.server(database)
    asked = {
        "idle_in_transaction_session_timeout": store.idle_timeout,
        "statement_timeout": store.statement_timeout,
        "lock_timeout": store.lock_timeout,
    }
    lost = [name for name in asked if found.ours[name] in ("0", "")]
    if lost:
        said = f"{', '.join(lost)}: not in force, though our sessions ask for them"
        yield act("limits", said, "take out what drops them (a pooler needs session mode), or set them there")
    else:
        yield ok("limits", "a node that freezes is ended: our sessions' limits are in force")
    if found.settings["autovacuum"] != "on":
        yield act("limits", "autovacuum is off: the small busy tables grow without end", "autovacuum = on")


def held_back(config: Config) -> Iterator[Finding]:
    """Whether a transaction that writes is open for long: nothing behind it can be read."""
    with _store(config) as database:
        found = examining.oldest_writing(database)
    if found is None or found.seconds < LONG_WRITING_SECONDS:
        yield ok("reading", "no transaction holds it back")
        return
    said = f"{found.name} of {found.user} has been writing for {span(found.seconds)}: reading waits for it"
    yield act("reading", said, "end it (pg_terminate_backend, ROLLBACK PREPARED), and give us our own server")


def slots(config: Config) -> Iterator[Finding]:
    """Whether every slot is decided and sent by somebody, and how far each is behind."""
    now_us = giving.clock_of(config).now_us()
    with _store(config) as database:
        found = standing(database, slots_of(database), now_us)
        behind, oldest = waiting_by_slot(database), oldest_waiting(database)
    for kind, doing in (("work", "decided"), ("send", "sent")):
        alive, unheld = found.nodes.get(kind, 0), found.unheld[kind]
        if unheld:
            said = f"{unheld} of {found.slots} slots are {doing} by nobody; {alive} nodes do that"
            yield act("slots", said, f"lendsignal run --role {kind}")
        else:
            yield ok("slots", f"all {found.slots} are {doing} by {alive} nodes")
    waits = now_us / 1e6 - to_us(oldest.received_at) / 1e6 if oldest else 0.0
    worst = sorted(behind.items(), key=lambda one: -one[1])[:3]
    named = ", ".join(f"{n:,} in slot {slot}" for slot, n in worst) or "none"
    said = f"events that wait to be decided: {sum(behind.values()):,} ({named})"
    if waits > LAG_SECONDS:
        do = "more workers, where their processors are busy; else look what holds the reading back"
        yield act("lag", f"{said}, the first for {span(waits)}", do)
    else:
        yield ok("lag", said)
    if found.read_by_sender:
        yield ok("lag", "the senders have read every record")
    else:
        yield look(
            "lag", "the senders have not read every record yet", "again in a moment; then more senders"
        )
    for name, reason in found.paused.items():
        yield act("paused", f"{name} is paused: {reason}", f"lendsignal resume {name}, once it is mended")
    for name, stages in found.waiting.items():
        yield ok("waiting", f"{name}: {', '.join(f'{n:,} {stage}' for stage, n in stages.items())}")


def desks(config: Config) -> Iterator[Finding]:
    """Whether a desk does what the configuration has for one: pulls, lists, alerts, cuts of its own."""
    needed = [
        words
        for words, there in (
            ("pulls", any(plan.common.enabled for plan in config.pulls.values())),
            ("lists", bool(config.lists)),
            ("alerts", bool(config.alerts)),
            ("cuts of the tiers", bool(config.policy.derive.tiers.rolling)),
        )
        if there
    ]
    with _store(config) as database:
        leads = database.row("select 1 from single where name = %s and until > clock_timestamp()", DESK)
    if leads is not None:
        yield ok("desk", "one works for all")
    elif needed:
        said = f"no desk lives, and the configuration has {', '.join(needed)}: nobody does those"
        yield look("desk", said, "lendsignal run --role desk,web")


def copy(config: Config) -> Iterator[Finding]:
    """Whether this node's copy of the store is as young as it should be, where it has one."""
    found = copy_standing(DataFolder(config.data)) if config.data.is_dir() else None
    if found is None:
        return
    old = (SystemClock().now_us() - found.whole_us) / 1_000_000
    if found.wrong:
        yield act("copy", f"it does not go on: {found.wrong}", "docs/how-to/keep-a-desk.md")
    elif not found.whole_us:
        yield look("copy", "it is being made: pages and reports do not show everything yet", "wait for it")
    elif old > OLD_SECONDS:
        said = f"it is {span(old)} old, and {found.behind:,} events behind"
        yield act("copy", said, "lendsignal run --role desk,web on this node; see its WARNING lines")
    else:
        yield ok("copy", "this node's copy of the store is young")


def tables(config: Config) -> Iterator[Finding]:
    """Whether the days to come have their tables, and whether the busy tables are vacuumed."""
    with _store(config) as database:
        made, dead = examining.days(database), examining.dead_rows(database)
        refused = examining.open_refusals(database)
    said = f"{made.tables} days of events, made until {made.ahead} days ahead"
    if made.ahead < DAYS_AHEAD:
        yield act("tables", said, "a worker makes them every hour: see that one runs, and its WARNING lines")
    else:
        yield ok("tables", said)
    for one in dead:
        if one.dead > DEAD_ROWS and one.dead > MANY_OF_THEM * one.live:
            said = f"{one.table}: {one.dead:,} rows are gone and {one.live:,} live"
            do = f"see who holds the horizon back (reading, above); then VACUUM {one.table}"
            yield look("tables", said, do)
    if not any(one.dead > DEAD_ROWS and one.dead > MANY_OF_THEM * one.live for one in dead):
        yield ok("tables", "the busy tables are vacuumed in time")
    if refused:
        yield look("quarantine", f"{refused:,} refused events wait", "lendsignal quarantine list")


def checks_of(config: Config) -> tuple[Check, ...]:
    """What can be looked at: of a store that does not answer only that."""
    with _store(config) as database:
        try:
            database.row("select 1")
        except LogError:
            return tuple(one for one in CHECKS if one not in _OF_THE_STORE)
    return CHECKS


def _store(config: Config) -> "closing[Database]":
    return closing(database_of(store_of(config)))


CHECKS: tuple[Check, ...] = (
    reached,
    form,
    policy,
    durability,
    limits,
    held_back,
    topic,
    slots,
    desks,
    copied,
    copy,
    tables,
    moving,
    spool,
    machine.open_files,
)

_OF_THE_STORE: tuple[Check, ...] = (
    form,
    policy,
    durability,
    limits,
    held_back,
    topic,
    slots,
    desks,
    copied,
    tables,
    moving,
)
"""Checks that can say nothing without it."""
