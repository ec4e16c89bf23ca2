"""`audience`: lists for look-alikes, retargeting and exclusion, from their definition to the platforms."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec import Struct

from lendsignal import config as configuration
from lendsignal.audience.definitions import READY, Definition, definition_of
from lendsignal.audience.policy import code_of
from lendsignal.audience.settings import AudienceSettings
from lendsignal.cli.giving import who
from lendsignal.cli.showing import as_tables, show
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import clock_at, from_us
from lendsignal.config import Config
from lendsignal.errors import LendsignalError
from lendsignal.log import Allowed, Audiences, Build, DataFolder, open_audiences
from lendsignal.settings import duration

if TYPE_CHECKING:  # the reports' library is for who asks the ledger
    from lendsignal.audience.build import Builder
    from lendsignal.audience.membership import Planned
    from lendsignal.audience.planning import Left
    from lendsignal.deliver.audiences import Synced
    from lendsignal.report.holdout_rows import Eligible


def _span(context: click.Context, option: click.Parameter, given: str) -> timedelta:
    try:
        return duration(given)
    except ValueError:
        raise click.BadParameter(f"{given!r}: write it like 28d", context, option) from None


@click.group()
def audience() -> None:
    """Lists for ad platforms: seeds of look-alikes, retargeting, exclusion.

    A list is written as [audience.NAME] in the configuration; while the service runs it is built and kept in
    step by itself.
    """


@audience.command(name="list")
@configured
@as_json
def list_(config_path: Path, json_: bool) -> None:
    """The lists of the configuration, where each goes, and why it does not.

    Example: lendsignal audience list
    """
    from lendsignal.role.lists import definitions, plan_of

    config = configuration.load(config_path)
    with _book(config) as book:
        plan = plan_of(config, book)
        builds = {name: book.build(name) for name in config.lists}
    found = [
        _Listed(
            list=name,
            use=one.use,
            made_of=_made_of(config.lists[name]),
            code=config.lists[name].code or code_of(config.portfolio, name),
            sensitive=one.sensitive,
            follows_loans=one.follows,
            members=None if (build := builds[name]) is None else build.members,
            to=tuple(each.account for each in plan.lists if each.audience == name),
            not_sent={account: why for (other, account), why in plan.hidden.items() if other == name},
        )
        for name, one in definitions(config).items()
    ]
    if json_:
        print_json({"lists": found, "ready": {kind: ready.says for kind, ready in READY.items()}})
        return
    for row in found:
        size = "not built yet" if row.members is None else f"{row.members:,} members"
        goes_to = ", ".join(row.to) or "nowhere"
        click.echo(f"{row.list}  {row.use}, {row.made_of}, {size}, as {row.code} to {goes_to}")
        for account, why in row.not_sent.items():
            click.echo(f"  not to {account}: {why}")
    if not found:
        click.echo("the configuration has no [audience.NAME]; ready ones are, as kind = …:")
        for kind, ready in READY.items():
            click.echo(f"  {kind}  ({ready.use}) {ready.says}")


@audience.command()
@click.argument("name")
@as_tables
@configured
@as_json
def preview(name: str, config_path: Path, csv_: bool, json_: bool) -> None:
    """What a list would be now: size, whom it leaves out, overlap, a sample, and what hangs on its rule.

    Nothing is kept and nothing goes out. The sample names users by their ids.

    Example: lendsignal audience preview good
    """
    from lendsignal.audience.preview import preview as previewed
    from lendsignal.report.tables import load
    from lendsignal.role.lists import definitions

    config = configuration.load(config_path)
    _known(config, name)
    folder = DataFolder(config.data)
    kinds = {account: config.list_accounts.get(account, "") for account in config.lists[name].to}
    with _alone(config) as builder, load(folder) as tables:
        builder.ready(tables)
        found = previewed(builder, tables, name, config.lists[name], definitions(config), kinds)
    show(found, json_=json_, csv_=csv_)


@audience.command()
@click.argument("names", nargs=-1)
@configured
@as_json
def build(names: tuple[str, ...], config_path: Path, json_: bool) -> None:
    """Build lists now, by default all of them: for the next round of the service, which tells the platforms.

    Example: lendsignal audience build good
    """
    config = configuration.load(config_path)
    for name in names:
        _known(config, name)
    with _alone(config) as builder:
        built = builder.whole(names or None)
    if json_:
        print_json([_told(one) for one in built])
        return
    for one in built:
        left_out = msgspec.json.decode(one.left_out, type=dict[str, int])
        words = "".join(f", {n:,} {reason}" for reason, n in left_out.items())
        click.echo(
            f"{one.audience}: {one.members:,} members, {one.joined:,} joined, {one.gone:,} left{words}"
        )
    if not built:
        click.echo("the configuration has no [audience.NAME]")


@audience.command()
@click.argument("names", nargs=-1)
@click.option("--anew", is_flag=True, help="Send the whole list, so that nobody else stands on it.")
@click.option(
    "--take-over",
    is_flag=True,
    help="On a cluster: tell platforms by this desk's own ledger, which begins anew.",
)
@configured
@as_json
def sync(names: tuple[str, ...], anew: bool, take_over: bool, config_path: Path, json_: bool) -> None:
    """Tell the platforms what changed, now, by default in every list; the service does it by itself.

    Example: lendsignal audience sync good
    """
    from threading import Event

    from lendsignal.role.audience import brought_in_step

    config = configuration.load(config_path)
    for name in names:
        _known(config, name)
    with DataFolder(config.data).lock("audience"):
        clock = clock_at(config.replay_clock)
        found = brought_in_step(config, clock, Event(), names, anew=anew, take_over=take_over)
    _say_synced(found, json_=json_)
    if not found and not json_:
        click.echo("no list goes anywhere: lendsignal audience list says why")


@audience.command()
@click.argument("name")
@configured
@as_json
def retire(name: str, config_path: Path, json_: bool) -> None:
    """Empty a list on the platforms that it is not sent to any more, now instead of after its grace.

    A list that is still sent is taken out of the configuration first. One that is hidden, or that nobody
    answers for any more, is emptied by this alone.

    Example: lendsignal audience retire summer
    """
    from threading import Event

    from lendsignal.role.audience import brought_in_step
    from lendsignal.role.lists import LEFT_SINCE, left_behind, plan_of

    config = configuration.load(config_path)
    clock = clock_at(config.replay_clock)
    with DataFolder(config.data).lock("audience"):
        with _book(config) as book:
            plan = plan_of(config, book)
            known = left_behind(config, book, plan, clock.now_us())
            left = [one for one in known if one.audience == name]
            if not left:
                raise click.BadParameter(_not_left(name, plan.lists, known), param_hint="NAME")
            lost = [one.account for one in left if not one.reachable]
            for one in left:
                book.note(name, one.account, LEFT_SINCE, b"0")
        found = brought_in_step(config, clock, Event(), (name,))
    _say_synced([one for one in found if one.account in {each.account for each in left}], json_=json_)
    if lost:
        accounts = ", ".join(lost)
        raise LendsignalError(
            f"the members stay in {accounts}: no [audience_account.NAME] of that name; put it back, or empty"
            " the list in the platform's own pages"
        )


@audience.command(name="look-alike")
@click.argument("name")
@click.option("--account", required=True, help="The [audience_account.NAME] where the seed is.")
@click.option("--country", required=True, metavar="CC", help="ISO 3166: where to look for people like them.")
@click.option(
    "--share",
    type=click.FloatRange(0.01, 0.2),
    default=0.01,
    show_default=True,
    help="How wide: 0.01 is the one in a hundred that is most alike.",
)
@configured
@as_json
def look_alike(name: str, account: str, country: str, share: float, config_path: Path, json_: bool) -> None:
    """Have a platform make a look-alike of a seed that it has.

    Example: lendsignal audience look-alike good --account meta-ng --country NG --share 0.01
    """
    from lendsignal.audience.membership import Membership
    from lendsignal.deliver.audiences import make_look_alike
    from lendsignal.destination.audiences.shape import LookAlike
    from lendsignal.role.lists import plan_of

    config = configuration.load(config_path)
    one = _known(config, name)
    if one.use != "seed":
        raise click.BadParameter(f"is for {one.use}: only a seed has look-alikes", param_hint="NAME")
    clock = clock_at(config.replay_clock)
    with _book(config) as book:
        plan = plan_of(config, book)
    if (name, account) in plan.hidden:
        raise LendsignalError(f"no look-alike of {name} in {account}: {plan.hidden[name, account]}")
    chosen = [each for each in plan.lists if (each.audience, each.account) == (name, account)]
    if not chosen:
        raise click.BadParameter(f"{name} does not go there", param_hint="--account")
    with closing(Membership(DataFolder(config.data), chosen, clock)) as membership:
        seed = membership.syncs()[0]
    made = LookAlike(
        code=f"{chosen[0].code}-{country.lower()}{round(share * 100)}", country=country, share=share
    )
    told = config.audience_accounts[account]
    remote = make_look_alike(seed, made, told, clock, sandbox=config.deliver.sandbox)
    if json_:
        print_json({"list": name, "account": account, "code": made.code, "id": remote})
    else:
        click.echo(
            f"{made.code}: {remote}, of the {seed.intended:,} members of {name}; populated within hours"
        )


@audience.command()
@as_tables
@configured
@as_json
def status(config_path: Path, csv_: bool, json_: bool) -> None:
    """How every list stands: size, drift, overlap, and what the platforms have and find of it.

    Example: lendsignal audience status
    """
    from lendsignal.audience.files import Files
    from lendsignal.audience.membership import Membership
    from lendsignal.audience.standing import standing
    from lendsignal.role.lists import left_behind, plan_of

    config = configuration.load(config_path)
    folder, clock = DataFolder(config.data), clock_at(config.replay_clock)
    with _book(config) as book:
        plan = plan_of(config, book)
        with closing(Membership(folder, plan.lists, clock)) as membership, closing(Files(folder)) as files:
            left = left_behind(config, book, plan, clock.now_us())
            found = standing(book, membership, files, plan.hidden, clock.now_us(), left)
    show(found, json_=json_, csv_=csv_)


@audience.command()
@click.option(
    "--horizon",
    callback=_span,
    default="28d",
    show_default=True,
    metavar="SPAN",
    help="How long after entering a holdout an outcome counts.",
)
@click.option(
    "--eligible",
    type=click.Choice(("borrowers", "registered")),
    default="borrowers",
    show_default=True,
    help="Who is in a holdout: who has borrowed before, or whoever has registered.",
)
@as_tables
@configured
@as_json
def earned(horizon: timedelta, eligible: "Eligible", config_path: Path, csv_: bool, json_: bool) -> None:
    """What lists brought: users by the look-alikes of each seed, and by holdout what would not have come
    anyway.

    Lists name their campaigns: campaigns = ["…"]. A list's holdouts name it: audiences = ["…"]; lendsignal
    advise holdout read says more of one.

    Example: lendsignal audience earned
    """
    from lendsignal.console.pages.audiences import brought_of
    from lendsignal.report.tables import load

    config = configuration.load(config_path)
    with load(DataFolder(config.data)) as tables:
        found = brought_of(config, tables, horizon, eligible)
    show(found, json_=json_, csv_=csv_)


@audience.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why the lender may use this list; it is kept.")
@click.option("--withdraw", is_flag=True, help="Nobody answers for it any more: it is not sent.")
@configured
@as_json
def confirm(name: str, reason: str, withdraw: bool, config_path: Path, json_: bool) -> None:
    """Answer for a list that is made of people who did not pay or were turned down.

    Such a list goes nowhere until somebody does, and again when its definition changes.

    Example: lendsignal audience confirm arrears --reason "counsel agreed on 3 March: no ads while in arrears"
    """
    config = configuration.load(config_path)
    one = _known(config, name)
    if len(reason.strip()) < SHORTEST_REASON:
        raise click.BadParameter("say in a sentence why", param_hint="--reason")
    now_us = clock_at(config.replay_clock).now_us()
    definition = "" if withdraw else one.checksum()
    with _book(config) as book:
        book.allow(Allowed(audience=name, definition=definition, reason=reason, by=who(), at_us=now_us))
    told = {
        "list": name,
        "confirmed": not withdraw,
        "by": who(),
        "reason": reason,
        "sensitive": one.sensitive,
    }
    if json_:
        print_json(told)
    elif withdraw:
        click.echo(
            f"{name}: withdrawn; it is sent no more, and what was sent stays until you say:"
            f" lendsignal audience retire {name}"
        )
    else:
        click.echo(f"{name}: confirmed by {who()}" + ("" if one.sensitive else "; it would be sent without"))


def _say_synced(found: "Sequence[Synced]", *, json_: bool) -> None:
    if json_:
        print_json(found)
        return
    for one in found:
        why = f" ({one.reason})" if one.reason else ""
        moved = f"{one.added:,} added, {one.removed:,} removed, {one.refused:,} refused"
        click.echo(f"{one.audience} in {one.account}: {one.outcome}{why}, {moved}")


def _not_left(name: str, sent: "Sequence[Planned]", left: "Sequence[Left]") -> str:
    """Why nothing is to be emptied of a list, and what could be."""
    where = ", ".join(one.account for one in sent if one.audience == name)
    if where:
        return f"it is sent to {where}: take it out of the configuration first"
    others = ", ".join(sorted({one.audience for one in left}))
    return f"no such list stands on a platform; there is {others}" if others else "nothing was left behind"


SHORTEST_REASON = 10
"""Characters: less is no reason."""


class _Listed(Struct, frozen=True, kw_only=True):
    """One list as `audience list` shows it."""

    list: str
    use: str
    made_of: str
    code: str
    sensitive: bool
    follows_loans: bool
    members: int | None
    to: tuple[str, ...]
    not_sent: dict[str, str]


def _made_of(settings: AudienceSettings) -> str:
    return settings.kind or ("sql" if settings.sql is not None else "rule")


def _known(config: Config, name: str) -> Definition:
    if name not in config.lists:
        allowed = f"there is {', '.join(config.lists)}" if config.lists else "there is no [audience.NAME]"
        raise click.BadParameter(allowed, param_hint="NAME")
    return definition_of(name, config.lists[name])


@contextmanager
def _book(config: Config) -> Iterator[Audiences]:
    with closing(open_audiences(DataFolder(config.data).audiences)) as found:
        yield found


@contextmanager
def _alone(config: Config) -> "Iterator[Builder]":
    """The builder, while no other process builds."""
    from lendsignal.role.lists import builder

    folder = DataFolder(config.data)
    if not folder.log.exists():
        raise LendsignalError("no events yet: there is nobody to list")
    with folder.lock("audience"), closing(builder(config, clock_at(config.replay_clock))) as found:
        yield found


def _told(one: Build) -> dict[str, object]:
    return {
        "list": one.audience,
        "built_at": from_us(one.at_us),
        "members": one.members,
        "joined": one.joined,
        "left": one.gone,
        "left_out": msgspec.json.decode(one.left_out),
        "currency": one.currency,
    }
