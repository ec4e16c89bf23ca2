"""The roles: what each process of a running service does, one file each, so that it loads what it needs.

core     door and decide: the only process that decides
door     the door alone, for a core that only decides then; only where the configuration has it apart
send     the sending loop
web      pages and reports, so that none of them ever delays a delivery
pull     reads what we fetch ourselves; only where the configuration has a [pull.NAME]
archive  writes what is new as Parquet, and ends: a job, started again when there is something new
audience builds lists, brings the platforms' in step, and ends: a job, started again every few minutes
erase    carries erasures on, and ends: a job, started when one was asked for or a platform is to be asked

Where the configuration has a `[store]`, the nodes of a cluster share these, on as many machines as one likes:

ingest   the door: what it answers is durable in the store
work     decides what comes in the slots that it leases, and does what one node does for all
send     the sending loop, over the slots that it leases
web      pages and calls about the whole cluster, and how this node stands
desk     brings the store into this node's data folder, for reports, archive and lists; where it is asked for
watch    beside a desk: health and alarms, the tiers' cuts, what MMPs told, who was erased
"""

import os
from collections.abc import Collection

from lendsignal.config import Config
from lendsignal.errors import ConfigError, Problem

ROLES = ("core", "door", "send", "web", "pull", "archive", "audience", "erase")

NODE_ROLES = ("ingest", "work", "send", "web", "desk")
"""The roles of a node of a cluster."""

DESK = "desk"
"""The role of a node that keeps a reading copy of the store; a node has it only where it is said."""

DESK_JOBS = ("watch", "pull", "archive", "audience", "erase")
"""What a node has beside its desk: they read its copy, and write to the store where they write for all."""

EVERY_ROLE = tuple(dict.fromkeys((*ROLES, *NODE_ROLES, *DESK_JOBS)))

SILENT = ("send", "pull", "archive", "audience", "erase", "watch", "work", "desk")
"""Roles that listen nowhere."""

JOBS = ("archive", "audience", "erase")
"""Roles that end by themselves when their work is done."""

ERASE_SECONDS = 1.0
"""How soon after its end the job of erasures may start again; its file says when there is something to do."""

THIS_NODE = "LENDSIGNAL_ROLES"
"""The variable by which a role knows what others its node is to have."""

DAMAGED_CODE = 3
"""What a role ends with whose files are damaged."""


def pause_of(role: str, config: Config) -> float:
    """How many seconds lie between the end of a job and its next start; 0 for roles that are no jobs."""
    match role:
        case "archive":
            return config.archive.every.total_seconds()
        case "audience":
            return config.audiences.every.total_seconds()
        case "erase":
            return ERASE_SECONDS
        case _:
            return 0.0


def roles_of(config: Config) -> tuple[str, ...]:
    """The roles that the configuration gives something to do."""
    idle = set() if config.door.apart else {"door"}
    if not any(plan.common.enabled for plan in config.pulls.values()):
        idle.add("pull")
    if not config.archive.keep:
        idle.add("archive")
    if not config.lists and not config.audience_accounts:  # without lists there may be some to be emptied
        idle.add("audience")
    known = ROLES if config.store is None else (*NODE_ROLES, *DESK_JOBS)
    return tuple(role for role in known if role not in idle)


def with_jobs(config: Config, roles: Collection[str]) -> tuple[str, ...]:
    """The roles that are to run where these are asked for: a desk has its jobs beside it."""
    jobs = DESK_JOBS if config.store is not None and DESK in roles else ()
    return tuple(dict.fromkeys((*roles, *jobs)))


def door_of(config: Config) -> str:
    """The role that takes events."""
    if config.store is not None:
        return "ingest"
    return "door" if config.door.apart else "core"


def listens(role: str, config: Config) -> bool:
    """Whether a role has an address."""
    return role not in SILENT and not (role == "core" and door_of(config) != "core")


def own_roles(alone: str = "web") -> tuple[str, ...]:
    """The roles that this node of a cluster is to have, as its supervisor says; `alone` where none does."""
    said = os.environ.get(THIS_NODE, alone)
    return tuple(role for role in NODE_ROLES if role in said.split(","))


def refuse_other_roles(config: Config, roles: Collection[str]) -> None:
    """Raises `ConfigError` where a role belongs to the other kind of install."""
    known = ROLES if config.store is None else NODE_ROLES
    strange = [role for role in roles if role not in known]
    if strange:
        why = (
            "a data folder is decided by `core`; `ingest` and `work` are of a cluster, which [store] makes"
            if config.store is None
            else "[store] makes this a node of a cluster, whose doors and workers are `ingest` and `work`"
        )
        found = f"{', '.join(strange)}: {why}"
        raise ConfigError([Problem("--role", found, ", ".join(known), config.path.name)])
