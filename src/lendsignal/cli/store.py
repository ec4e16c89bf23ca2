"""Verbs for the store that the nodes of a cluster share: its tables, and the policy in force there."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lendsignal import config as configuration
from lendsignal.cli.giving import clock_of
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.config import Config
from lendsignal.errors import ConfigError, Problem

if TYPE_CHECKING:
    from lendsignal.log.kafka.making import PreparedTopic
    from lendsignal.log.postgres import Database
    from lendsignal.log.store import StoreSettings


@click.group()
def store() -> None:
    """The store that the nodes of a cluster share: make its tables, put a policy in force."""


@store.command("prepare")
@click.option("--dry-run", is_flag=True, help="Say what would be made; change nothing.")
@configured
@as_json
def prepare_(dry_run: bool, config_path: Path, json_: bool) -> None:
    """Make the tables of a cluster, or bring them to this version's form. Doing it again changes nothing.

    Services may go on meanwhile. Tables of a younger version are refused.
    """
    config = configuration.load(config_path)
    with _store(config) as database:
        from lendsignal.log.postgres import prepare

        assert config.store is not None, "there is a store"
        found = prepare(database, config.store.slots, dry_run=dry_run)
        topic = _prepared_topic(config.store, database, dry_run)
        policy = None if dry_run else _in_force(database)
    if json_:
        print_json(
            {
                "dry_run": dry_run,
                "before": found.before,
                "version": found.version,
                "slots": found.slots,
                "made": found.made,
                **({} if topic is None else {"topic_made": topic.made, "topic_problems": topic.problems}),
            }
        )
        return
    would = "would be " if dry_run else ""
    if found.before is None:
        click.echo(f"form {found.version} {would}made, for {found.slots} slots: {len(found.made)} tables")
    elif found.before < found.version:
        click.echo(f"form {found.before} {would}brought to {found.version}: {len(found.made)} new tables")
    else:
        click.echo(
            f"form {found.version} is there, {found.slots} slots: {len(found.made)} tables {would}made"
        )
    if topic is not None and config.store.kafka is not None:
        name = config.store.kafka.topic
        click.echo(f"topic {name} {would}made" if topic.made else f"topic {name} is there")
        for problem in topic.problems:
            click.echo(f"  wrong: {problem}")
    if not dry_run and policy is None:
        click.echo("next: lendsignal store policy   # puts this configuration's policy in force")


@store.command("policy")
@click.option("--dry-run", is_flag=True, help="Say what is in force and what would be; change nothing.")
@configured
@as_json
def policy(dry_run: bool, config_path: Path, json_: bool) -> None:
    """Put this configuration's policy in force, in every slot behind all that is there, for all nodes.

    A worker that starts with another configuration goes on with the policy that is in force.
    """
    config = configuration.load(config_path)
    with _store(config) as database:
        from lendsignal.decide.policies import put_policy

        assert config.store is not None, "there is a store"
        now_us = clock_of(config).now_us()
        put = put_policy(config.store, database, config.policy, now_us, dry_run=dry_run)
    if json_:
        print_json({"dry_run": dry_run, "before": put.before, "policy": put.policy, "changed": put.changed})
    elif not put.changed:
        click.echo(f"policy {put.policy} is in force already")
    else:
        after = f" in place of {put.before}" if put.before is not None else ""
        click.echo(f"policy {put.policy} {'would be' if dry_run else 'is'} in force{after}, from here on")


def _prepared_topic(settings: "StoreSettings", database: "Database", dry_run: bool) -> "PreparedTopic | None":
    """The topic that is the log, where there is one."""
    if settings.kafka is None:
        return None
    from lendsignal.log.kafka import prepare_topic

    return prepare_topic(database, settings.kafka, settings.slots, dry_run=dry_run)


def _in_force(database: "Database") -> str | None:
    from lendsignal.log.postgres import RuleRows

    return RuleRows(database).wanted("policy")


@contextmanager
def _store(config: Config) -> "Iterator[Database]":
    """The store, while the block runs. Raises `ConfigError` where the configuration has none."""
    if config.store is None:
        allowed = '[store] with url = { env = "…" }: docs/how-to/run-on-a-cluster.md'
        raise ConfigError([Problem("store", "nothing", allowed, config.path.name)])
    # Loaded here: no other verb needs its client.
    from lendsignal.log.postgres import database_of

    with closing(database_of(config.store)) as database:
        yield database
