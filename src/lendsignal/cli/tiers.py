"""Verbs of the quality tiers: how their cuts do, how they came about, and new ones."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lendsignal import config as configuration
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import clock_at, from_us
from lendsignal.config import Config
from lendsignal.derive import CutSet, Tiers
from lendsignal.errors import LendsignalError
from lendsignal.log import DataFolder, open_log
from lendsignal.role.leading import rules_of


@click.group()
def tiers() -> None:
    """Quality tiers: show how the cuts do, their history, and make new ones."""


@tiers.command()
@configured
@as_json
def show(config_path: Path, json_: bool) -> None:
    """The cuts in force, and how they do by the grants of the last seven days.

    A tier is off where its part of the grants is not its share. PSI is how far the scores have moved; below
    its limit it may be chance.
    """
    from lendsignal.decide.cuts import look  # here: the statistics and their library are for this alone

    config = configuration.load(config_path)
    if not _own(config):
        _show_given(config.policy.derive.tiers, json_=json_)
        return
    log = open_log(DataFolder(config.data).log, read_only=True)
    try:
        cuts = look(log, config.policy, config.tiers, clock_at(config.replay_clock).now_us())
        in_force = log.cuts()
    finally:
        log.close()
    if json_:
        print_json({"in_force": in_force, "table": cuts.before, "watched": cuts.found.watched})
        return
    if cuts.before is None:
        click.echo("no cuts yet: nobody is in a tier; `lendsignal tiers recut` makes the first")
    else:
        state = "in force" if in_force == cuts.before.version else "waits to be decided"
        click.echo(
            f"cuts {cuts.before.version} of {from_us(cuts.before.made_us):%Y-%m-%d %H:%M} UTC, {state}"
        )
    sets = {_key(one): one for one in (cuts.before.sets if cuts.before else ())}
    table = Table("scope", "tier", "cut", "of the last 7 days", "grants", "PSI", "limit", box=None)
    for seen in cuts.found.watched:
        for cut in sets[seen.basis, seen.scope.label()].cuts:
            part = f"{seen.realised[cut.share]:.1%}" if seen.n else "–"
            psi = ("–", "–") if seen.psi is None else (f"{seen.psi:.3f}", f"{seen.psi_limit:.3f}")
            tier = f"{_word(seen.basis)} {cut.share} %"
            table.add_row(seen.scope.label(), tier, f"{cut.cut:g}", part, str(seen.n), *psi)
    if cuts.found.watched:
        Console().print(table)
    for scope, basis, n in cuts.found.waiting:
        click.echo(f"{scope.label()} ({_word(basis)}): {n} grants, too few for cuts of its own")


@tiers.command()
@configured
@as_json
def history(config_path: Path, json_: bool) -> None:
    """Every table of cuts there ever was, oldest first, and why each scope was cut."""
    config = configuration.load(config_path)
    log = open_log(DataFolder(config.data).log, read_only=True)
    try:
        tables = log.cut_tables()
        in_force = log.cuts()
    finally:
        log.close()
    if json_:
        print_json({"in_force": in_force, "tables": tables})
        return
    for one in tables:
        mark = "  in force" if one.version == in_force else ""
        click.echo(f"{from_us(one.made_us):%Y-%m-%d %H:%M} UTC  {one.version}{mark}")
        for made in one.sets:
            if made.made_us == one.made_us:
                basis, label = _key(made)
                cuts = ", ".join(f"{cut.share} % from {cut.cut:g}" for cut in made.cuts)
                click.echo(f"  {label} ({_word(basis)}), {made.reason}, {made.n} grants: {cuts}")
    if not tables:
        click.echo("no cuts were ever made")


@tiers.command()
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--all", "all_", is_flag=True, help="Cut every scope anew, also those that do well.")
@configured
@as_json
def recut(dry_run: bool, all_: bool, config_path: Path, json_: bool) -> None:
    """Make new cuts where they are due; they apply from now on and never to what was decided before.

    Example: lendsignal tiers recut --dry-run
    """
    from lendsignal.decide.cuts import look
    from lendsignal.decide.cutting import put_in_force
    from lendsignal.derive.recut import LARGE_ATOM

    config = configuration.load(config_path)
    if not _own(config):
        raise LendsignalError('no own cuts: set tiers.basis = ["score"] instead of tiers.cut_table')
    log = open_log(DataFolder(config.data).log, read_only=dry_run or config.store is not None)
    try:
        now_us = clock_at(config.replay_clock).now_us()
        found = look(log, config.policy, config.tiers, now_us, asked=all_).found
    finally:
        log.close()
    if found.table is not None and not dry_run:
        with rules_of(config) as rules:
            put_in_force(rules, found.table)
    if json_:
        version = None if found.table is None else found.table.version
        print_json({"version": version, "dry_run": dry_run, "changes": found.changes})
        return
    for change in found.changes:
        click.echo(f"{change.scope.label()} ({_word(change.basis)}): {change.reason}, {change.n} grants")
        for share, cut in change.after.items():
            before = change.before.get(share)
            click.echo(f"  best {share} %: {'none' if before is None else f'{before:g}'} → {cut:g}")
        if change.largest_atom > LARGE_ATOM:
            click.echo(f"  {change.largest_atom:.0%} of them have one and the same score")
    for scope, basis, n in found.waiting:
        click.echo(f"{scope.label()} ({_word(basis)}): {n} grants, too few for cuts of its own")
    if found.table is None:
        click.echo("nothing is due")
    else:
        click.echo(f"{'would be' if dry_run else 'is'} version {found.table.version}")


def _own(config: Config) -> bool:
    return bool(config.policy.derive.tiers.rolling)


def _show_given(given: Tiers, *, json_: bool) -> None:
    """The lender's own table of cuts, which nobody here watches."""
    if json_:
        print_json({"in_force": given.version or None, "table": given.cuts, "watched": []})
        return
    for cut in given.cuts:
        where = " / ".join(part for part in (cut.brand, cut.app, cut.country, cut.product) if part)
        click.echo(f"{where or 'portfolio'}: {_word(cut.basis)} {cut.share} % from {cut.cut:g}")
    named = f"the cut table, version {given.version}"
    click.echo(named if given.cuts else "no tiers: see docs/how-to/set-up-tiers.md")


def _key(made: CutSet) -> tuple[str, str]:
    from lendsignal.derive.recut import scope_of

    return made.cuts[0].basis, scope_of(made.cuts[0]).label()


def _word(basis: str) -> str:
    return "best by score" if basis == "score" else "best by value"
