"""The roles: what each process of a running service does, one file each, so that it loads what it needs.

core     door and decide: the only process that decides
send     the sending loop
web      pages and reports, so that none of them ever delays a delivery
pull     reads what we fetch ourselves; only where the configuration has a [pull.NAME]
archive  writes what is new as Parquet, and ends: a job, started again when there is something new
"""

from lendsignal.config import Config

ROLES = ("core", "send", "web", "pull", "archive")

SILENT = ("send", "pull", "archive")
"""Roles that listen nowhere."""

JOBS = ("archive",)
"""Roles that end by themselves when their work is done."""

DAMAGED_CODE = 3
"""What a role ends with whose files are damaged."""


def roles_of(config: Config) -> tuple[str, ...]:
    """The roles that the configuration gives something to do."""
    idle = set()
    if not any(plan.common.enabled for plan in config.pulls.values()):
        idle.add("pull")
    if not config.archive.keep:
        idle.add("archive")
    return tuple(role for role in ROLES if role not in idle)
