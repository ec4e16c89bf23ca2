"""What `import` does: files into the log, decided here where no service runs, and told to people."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.progress import Progress

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.decide import Decider
from lendsignal.errors import FolderInUse
from lendsignal.log import DataFolder, Log, WhoIsKeptOut, open_log
from lendsignal.source import Reader, reader_of
from lendsignal.source.files import MEANING, Imported, ImportMap, Survey, import_files, survey

NAMED = 12
"""Oddities of one kind that are printed for people."""


def moment(text: str, option: str = "--send-since") -> datetime:
    """A time with an offset, from the command line."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("write it like 2026-11-22T00:00:00Z", param_hint=option) from None
    if found.tzinfo is None:
        raise click.BadParameter("add an offset, such as Z or +01:00", param_hint=option)
    return found.astimezone(UTC)


def dry_run(config: Config, files: Sequence[Path], rules: ImportMap, bar: Progress) -> Survey:
    """What an import would find."""
    task = bar.add_task("reading", total=None)
    return survey(
        files,
        rules,
        reader_of_config(config),
        now=now_of(config),
        progress=lambda done, total: bar.update(task, completed=done, total=total),
    )


def files(
    config: Config, paths: Sequence[Path], rules: ImportMap, since: datetime | None, bar: Progress
) -> Imported:
    """Imports, and has everything decided: by the running service, or here where none runs."""
    folder = DataFolder(config.data)
    task = bar.add_task("importing", total=None)
    if config.store is not None:
        from lendsignal.role.fetching import importing_alone  # with the store's client

        with importing_alone(config) as (door, reader):
            return import_files(
                door,
                paths,
                rules,
                reader,
                now=now_of(config),
                send_since=since,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    with folder.lock("import"):
        log = open_log(folder.log)
        try:
            found = import_files(
                log,
                paths,
                rules,
                reader_of_config(config, log),
                now=now_of(config),
                send_since=since,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
            _decided(config, folder, log, bar)
        finally:
            log.close()
    return found


def decided(
    config: Config,
    folder: DataFolder,
    log: Log,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Has what was appended decided here, unless a running service does it."""
    try:
        lock = folder.lock("core")
    except FolderInUse:
        return
    with lock:
        decider = Decider(log, config.policy, clock_at(config.replay_clock), lambda: None)
        end = log.end()
        while decider.turn() or decider.position < end:
            progress(decider.position, end)
        progress(end, end)


def _decided(config: Config, folder: DataFolder, log: Log, bar: Progress) -> None:
    task = bar.add_task("deciding", total=None)
    decided(config, folder, log, lambda done, total: bar.update(task, completed=done, total=total))


def reader_of_config(config: Config, log: Log | None = None) -> Reader:
    """What judges the events of a file or a pull; by the log it knows who was erased."""
    ahead = config.policy.resolve.clock_ahead
    if log is None:
        return reader_of(config.apps, ahead, sets_received_at=True)
    kept_out = WhoIsKeptOut(log.erasing)
    return reader_of(config.apps, ahead, sets_received_at=True, kept_out=kept_out)


def now_of(config: Config) -> datetime:
    """The moment it is, by the configuration's clock."""
    now_us = clock_at(config.replay_clock).now_us()
    return datetime.fromtimestamp(now_us / 1_000_000, UTC)


def told(found: Survey) -> str:
    """A dry run for people."""
    lines = [f"{name:<32} {entry}" for name, entry in found.files]
    lines.append(f"\n{found.users:,} users, from {found.first} to {found.last}\n")
    lines += [f"{n:>10,}  {kind}" for kind, n in found.events.items()]
    for kind, samples in found.samples.items():
        facts = ", ".join(f"{name}={value}" for name, value in samples[0].items()) if samples else ""
        lines.append(f"\n{kind}: {facts}")
    if found.odd:
        lines.append("\nodd:")
    for odd, n in found.odd.items():
        lines.append(f"{n:>10,}  {MEANING[odd]}")
        named = found.of_kind(odd)
        lines += [f"{'':12}{one}" for one in named[:NAMED]]
        if n > NAMED:
            lines.append(f"{'':12}and {n - NAMED:,} more (--json names up to 1,000)")
    lines += [f"{n:>10,}  {name}" for name, n in found.reported.items()]
    return "\n".join(lines)


def summed_up(found: Imported) -> str:
    """An import for people."""
    if not found.total and not found.before and found.known:
        return "these files were imported before: nothing is added"
    lines = [f"{n:>10,}  {kind}" for kind, n in found.appended.items()]
    lines.append(f"{found.total:>10,}  events imported")
    if found.before:
        lines.append(f"{found.before:>10,}  were there already from an interrupted import")
    if found.refused:
        lines.append(f"{found.refused:>10,}  refused and kept: see `lendsignal quarantine`")
    lines += [f"{n:>10,}  {MEANING[kind]}" for kind, n in found.odd.items()]
    return "\n".join(lines)
