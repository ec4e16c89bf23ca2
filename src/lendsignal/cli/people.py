"""Verbs for the console's members: list, invite, change. Whoever runs them on this machine is an admin."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from lendsignal import config as configuration
from lendsignal.cli.giving import known, who
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import SystemClock, from_us
from lendsignal.config import Config
from lendsignal.log import DataFolder
from lendsignal.log.people import People, open_people
from lendsignal.model.member import Member, MemberRole

ROLES = click.Choice([role.value for role in MemberRole])


@click.group()
def people() -> None:
    """Who may use the console: list, invite, change, and what was done by whom."""


@people.command("list")
@configured
@as_json
def list_(config_path: Path, json_: bool) -> None:
    """Every member, the role, and the campaigns that the member sees."""
    with _opened(configuration.load(config_path)) as found:
        members = found.members()
    if json_:
        print_json([_told(one) for one in members])
        return
    for one in members:
        sees = "; ".join(f"{key} {', '.join(names)}" for key, names in one.limits.items()) or "all campaigns"
        click.echo(f"{one.login:<24} {one.role:<10} {'out' if one.disabled else sees}")
    if not members:
        click.echo("nobody yet: lendsignal people invite --role admin")


@people.command()
@click.option("--role", type=ROLES, default="viewer", show_default=True, help="What the new member may do.")
@click.option("--campaign", "campaigns", multiple=True, help="All that the member sees; may be repeated.")
@click.option("--channel", "channels", multiple=True, help="Only these channels; may be repeated.")
@click.option("--app", "apps", multiple=True, help="Only these apps; may be repeated.")
@click.option("--login", help="Instead of a new member: let this one set a new password.")
@configured
@as_json
def invite(
    role: str,
    campaigns: tuple[str, ...],
    channels: tuple[str, ...],
    apps: tuple[str, ...],
    login: str | None,
    config_path: Path,
    json_: bool,
) -> None:
    """Print a link by which somebody joins, or sets a new password: good once, within a day."""
    config = configuration.load(config_path)
    known("app", apps, config.apps)
    with _opened(config) as found:
        code = found.invite(
            MemberRole(role),
            SystemClock().now_us(),
            by=who(),
            login=login,
            campaigns=campaigns,
            channels=channels,
            apps=apps,
        )
    link = f"{_address(config)}/welcome?code={quote(code)}"
    print_json({"link": link}) if json_ else click.echo(link)


@people.command()
@click.argument("login")
@click.option("--role", type=ROLES, default="viewer", show_default=True, help="What a new member may do.")
@click.option("--campaign", "campaigns", multiple=True, help="All that the member sees; may be repeated.")
@click.option("--channel", "channels", multiple=True, help="Only these channels; may be repeated.")
@click.option("--app", "apps", multiple=True, help="Only these apps; may be repeated.")
@configured
def expect(
    login: str,
    role: str,
    campaigns: tuple[str, ...],
    channels: tuple[str, ...],
    apps: tuple[str, ...],
    config_path: Path,
) -> None:
    """Let somebody in by the company's own sign-in, by the name that the provider gives them.

    Who is a member already keeps role and limits, and may come in by the provider from now on.
    """
    config = configuration.load(config_path)
    known("app", apps, config.apps)
    with _opened(config) as found:
        found.expect(
            login.strip().lower(),
            MemberRole(role),
            SystemClock().now_us(),
            by=who(),
            campaigns=campaigns,
            channels=channels,
            apps=apps,
        )
    click.echo(f"{login} may come in by the provider")


@people.command()
@click.argument("login")
@click.option("--role", type=ROLES, help="Another role.")
@click.option("--campaign", "campaigns", multiple=True, help="Other campaigns; may be repeated.")
@click.option("--channel", "channels", multiple=True, help="Other channels; may be repeated.")
@click.option("--app", "apps", multiple=True, help="Other apps; may be repeated.")
@click.option("--all-campaigns", is_flag=True, help="Let the member see every campaign, channel and app.")
@click.option(
    "--out/--in", "out", default=None, help="Put the member out at once, or let the member in again."
)
@configured
@as_json
def change(
    login: str,
    role: str | None,
    campaigns: tuple[str, ...],
    channels: tuple[str, ...],
    apps: tuple[str, ...],
    all_campaigns: bool,
    out: bool | None,
    config_path: Path,
    json_: bool,
) -> None:
    """Change a member: role, campaigns, out or in."""
    config = configuration.load(config_path)
    known("app", apps, config.apps)
    with _opened(config) as found:
        new = found.change(
            login,
            SystemClock().now_us(),
            by=who(),
            role=None if role is None else MemberRole(role),
            campaigns=() if all_campaigns else campaigns or None,
            channels=() if all_campaigns else channels or None,
            apps=() if all_campaigns else apps or None,
            disabled=out,
        )
    print_json(_told(new)) if json_ else click.echo(f"{login}: {new.role}{', out' if new.disabled else ''}")


@people.command()
@click.option("--limit", default=50, show_default=True, help="How many, the latest first.")
@configured
@as_json
def audit(limit: int, config_path: Path, json_: bool) -> None:
    """What was done in the console and with these verbs, and by whom."""
    with _opened(configuration.load(config_path)) as found:
        done = found.done(count=limit)
    if json_:
        names = ("login", "what", "about", "note")
        print_json(
            [{"at": from_us(one.at_us), **{name: getattr(one, name) for name in names}} for one in done]
        )
        return
    for one in done:
        click.echo(
            f"{from_us(one.at_us):%Y-%m-%d %H:%M:%S}  {one.login:<16} {one.what} {one.about} {one.note}"
        )


@contextmanager
def _opened(config: Config) -> Iterator[People]:
    with closing(open_people(DataFolder(config.data).people)) as found:
        yield found


def _address(config: Config) -> str:
    """Where the pages listen; by the configuration where they do not run."""
    written = config.data / "web.address"
    return written.read_text() if written.exists() else f"http://{config.web.host}:{config.web.port}"


def _told(one: Member) -> dict[str, Any]:
    return {
        "login": one.login,
        "role": one.role.value,
        "campaigns": list(one.campaigns),
        "channels": list(one.channels),
        "apps": list(one.apps),
        "out": one.disabled,
        "joined": from_us(one.made_us),
    }
