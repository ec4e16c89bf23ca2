"""The roles: what each process of a running service does, one file each, so that it loads what it needs.

core     door and decide: the only process that decides
send     the sending loop
web      pages and reports, so that none of them ever delays a delivery
pull     reads what we fetch ourselves; only where the configuration has a [pull.NAME]
archive  writes what is new as Parquet, and ends: a job, started again when there is something new
audience builds lists, brings the platforms' in step, and ends: a job, started again every few minutes
erase    carries erasures on, and ends: a job, started when one was asked for or a platform is to be asked
"""

from lendsignal.config import Config

ROLES = ("core", "send", "web", "pull", "archive", "audience", "erase")

SILENT = ("send", "pull", "archive", "audience", "erase")
"""Roles that listen nowhere."""

JOBS = ("archive", "audience", "erase")
"""Roles that end by themselves when their work is done."""

ERASE_SECONDS = 1.0
"""How soon after its end the job of erasures may start again; its file says when there is something to do."""

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
    idle = set()
    if not any(plan.common.enabled for plan in config.pulls.values()):
        idle.add("pull")
    if not config.archive.keep:
        idle.add("archive")
    if not config.lists and not config.audience_accounts:  # without lists there may be some to be emptied
        idle.add("audience")
    return tuple(role for role in ROLES if role not in idle)
