"""`advise bids`: how to move bids and budgets, and what a person decides of each proposal."""

import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec.structs import replace

from lendsignal import config as configuration
from lendsignal.cli.giving import clock_of, who
from lendsignal.cli.showing import as_tables, show
from lendsignal.cli.slicing import dated
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.errors import LendsignalError
from lendsignal.log import DataFolder
from lendsignal.log.proposals import Campaign, Kept, Proposals, State, open_proposals

if TYPE_CHECKING:
    from lendsignal.advise.bids.advice import Advice, Asked
    from lendsignal.report.tables import Tables

T = TypeVar("T")

DAY_US = 86_400_000_000
_share = click.FloatRange(0, 1)
_money = click.FloatRange(0)

PREDICTED = "predicted"


def _later(context: click.Context, option: click.Parameter, given: str) -> float | None:
    """An amount; `None`: a model is to say it."""
    try:
        amount = None if given == PREDICTED else float(given)
    except ValueError:
        raise click.BadParameter(f"{given!r}: write an amount, or {PREDICTED}", context, option) from None
    if amount is not None and not amount >= 0:
        raise click.BadParameter(f"{given!r}: write an amount that is not below 0", context, option)
    return amount


@click.group(invoke_without_command=True)
@click.option("--currency", help="Of the advice; by default that of [fx], or of the apps where they agree.")
@click.option(
    "--binding",
    type=click.Choice(["last_login", "first_install"]),
    default="last_login",
    show_default=True,
    help="Which installation's origin counts, for loans as for cost.",
)
@click.option(
    "--target",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Return on spend to reach; 1: money back.",
)
@click.option(
    "--margin", type=_money, default=0.0, show_default=True, help="Profit that target CPA leaves, as a part."
)
@click.option(
    "--cost",
    type=_share,
    default=0.0,
    show_default=True,
    help="Of money and collection, of what is paid out.",
)
@click.option(
    "--later",
    callback=_later,
    default="0",
    metavar="AMOUNT",
    help="What a new borrower's later loans bring, on average; `predicted`: by the value model.",
)
@click.option(
    "--plan",
    "plan",
    type=_money,
    help="What all campaigns are to spend a day; by default their last 28 days' mean.",
)
@click.option(
    "--retargeting", type=_share, default=0.1, show_default=True, help="Its largest share of spend."
)
@click.option(
    "--incremental",
    type=float,
    help="Retargeting's profit per spend by intention to treat, lower end; may raise its share.",
)
@click.option("--dry-run", is_flag=True, help="Keep no proposals; so it is with --as-of.")
@dated
@configured
@as_json
@as_tables
@click.pass_context
def bids(
    context: click.Context,
    /,
    dry_run: bool,
    as_of: datetime | None,
    config_path: Path,
    json_: bool,
    csv_: bool,
    **given: Any,
) -> None:
    """A step for each campaign's budget and bid, by what becomes of the loans it brings.

    Every step is a proposal: nothing is done before a person accepts it, and Google's and Meta's editors
    take it from a file. Proposals that nobody decided are replaced.

    Example: lendsignal advise bids --target 1.2 --html bids.html
    """
    if context.invoked_subcommand is not None:
        return
    config = configuration.load(config_path)
    found = _advice(config, as_of, given)
    keeps = bool(found.proposals) and not dry_run and as_of is None
    if keeps:
        with closing(open_proposals(DataFolder(config.data).proposals)) as store:
            store.propose(
                clock_of(config).now_us(),
                [((one.channel, one.campaign_id, one.campaign), one) for one in found.proposals],
            )
    show(found, json_=json_, csv_=csv_)
    if keeps and not json_ and not csv_:
        click.echo(f"{len(found.proposals)} proposals are open: `lendsignal advise bids list`", err=True)


def _advice(config: Config, as_of: datetime | None, given: dict[str, Any]) -> "Advice":
    import numpy as np  # here: it and the reports' library are for this alone

    from lendsignal.advise.bids.advice import SEED, advise
    from lendsignal.report.bid_rows import loan_book
    from lendsignal.report.tables import load

    folder = DataFolder(config.data)
    currency = _currency(config, given["currency"])
    with load(folder, as_of=as_of) as tables:
        book = loan_book(tables, currency=currency, rates=config.rates, binding=given["binding"])
        known = tables.as_of
        asked = _asked(given)
        if given["later"] is None:
            asked = _foretold(asked, tables, config, currency)
    return advise(book, asked, np.random.default_rng(SEED), stepped=_stepped(config, folder), as_of=known)


def _foretold(asked: "Asked", tables: "Tables", config: Config, currency: str) -> "Asked":
    """With what the value model in force, else the youngest, says of later loans in that currency."""
    from lendsignal.cli.value import latest
    from lendsignal.report.training import training
    from lendsignal.report.value_models import kept
    from lendsignal.value.later import LEAST, later_loans
    from lendsignal.value.training import values_of

    folder = DataFolder(config.data)
    model = kept(folder.value_models, latest(folder)).model
    scope = model.scopes.get("disbursed", {}).get(currency)
    users = training(tables, config.value).users.get("disbursed", {}).get(currency)
    if scope is None or users is None:
        raise LendsignalError(f"the value model {model.version} knows no first loans in {currency}")
    found = later_loans(values_of(scope, users), users, model.horizon_days)
    if found is None:
        raise LendsignalError(
            f"fewer than {LEAST} first loans in {currency} are settled: say --later yourself"
        )
    by = f"by the value model {model.version}, ± {1.96 * found.se:,.2f}, of {found.users:,} users"
    return replace(asked, later=found.mean, later_by=by)


def _asked(given: dict[str, Any]) -> "Asked":
    from lendsignal.advise.bids.advice import Asked
    from lendsignal.advise.bids.steps import Guards

    return Asked(
        guards=Guards(target=given["target"], retargeting=given["retargeting"]),
        cost=given["cost"],
        later=given["later"] or 0.0,
        margin=given["margin"],
        plan=given["plan"],
        incremental=given["incremental"],
    )


def _currency(config: Config, given: str | None) -> str:
    found = given or config.one_currency
    if found is None:
        told = ", ".join(sorted({app.currency for app in config.apps.values()}))
        raise click.UsageError(f"--currency is needed: the apps have {told or 'none'}")
    return found.upper()


def _stepped(config: Config, folder: DataFolder) -> dict[Campaign, int]:
    """Days since the last accepted step of each campaign."""
    if not folder.proposals.exists():
        return {}
    with closing(open_proposals(folder.proposals, read_only=True)) as store:
        return store.rested_days(clock_of(config).now_us())


@bids.command("list")
@click.option(
    "--state",
    type=click.Choice(["open", "accepted", "declined", "replaced"]),
    default="open",
    show_default=True,
    help="Only those.",
)
@configured
@as_json
def list_(state: State, config_path: Path, json_: bool) -> None:
    """The proposals, youngest first."""
    found = _ask(config_path, lambda store: store.all(state)) or []
    if json_:
        print_json(found)
        return
    for one in found:
        click.echo(_line(one))
    if not found:
        click.echo(f"no proposal is {state}")


@bids.command()
@click.argument("proposal", type=int)
@configured
@as_json
def audit(proposal: int, config_path: Path, json_: bool) -> None:
    """All that one proposal rests on, as it was made: cohorts, interval, guard-rail, and what to expect."""
    found = _ask(config_path, lambda store: store.of(proposal))
    if found is None:
        click.echo(f"there is no proposal {proposal}", err=True)
        sys.exit(1)
    if json_:
        print_json(found)
        return
    click.echo(_line(found))
    for name, value in found.body.items():
        if name != "cohorts":
            click.echo(f"  {name:<24} {_said(value)}")
    for one in found.body["cohorts"]:
        click.echo(
            f"  {one['weeks_ago']:>2} weeks ago: {one['loans']:,} loans, {one['lost']:,} lost so far,"
            f" {one['known']:.0%} of their ends known"
        )


def _decision(name: str, state: State, does: str) -> Callable[..., None]:
    @bids.command(name, help=f"{does} Exit code 1 where it is not open any more.")
    @click.argument("proposal", type=int)
    @click.option("--note", default="", help="Why, for whoever looks at it later.")
    @configured
    @as_json
    def decide(proposal: int, note: str, config_path: Path, json_: bool) -> None:
        config = configuration.load(config_path)
        with closing(_store(config_path)) as store:
            found = store.decide(proposal, state, at_us=clock_of(config).now_us(), who=who(), note=note)
        if found is None:
            click.echo(f"there is no open proposal {proposal}", err=True)
            sys.exit(1)
        if json_:
            print_json(found)
        else:
            click.echo(_line(found))

    return decide


accept = _decision(
    "accept", "accepted", "Accept a proposal: `upload` writes it, and its campaign rests a week."
)
decline = _decision("decline", "declined", "Decline a proposal.")


@bids.command()
@click.argument("editor", type=click.Choice(["google", "meta"]))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to be written."
)
@click.option("--since", type=click.IntRange(1), default=1, show_default=True, help="Days back.")
@click.option(
    "--targets", is_flag=True, help="Target CPA and target ROAS too, for campaigns that bid by them."
)
@configured
def upload(editor: str, out: Path, since: int, targets: bool, config_path: Path) -> None:
    """Write what was accepted lately as the file that Google Ads Editor or Meta's Ads Manager takes.

    Look at the changes in the editor before you post them.

    Example: lendsignal advise bids upload google --out google.csv
    """
    from lendsignal.advise.bids.editors import editor_csv

    config = configuration.load(config_path)
    after_us = clock_of(config).now_us() - since * DAY_US
    with closing(_store(config_path)) as store:
        mine = [one.body for one in store.accepted_since(after_us) if one.channel == editor]
    out.write_text(editor_csv(editor, mine, targets=targets), encoding="utf-8")  # type: ignore[arg-type]
    click.echo(f"wrote {len(mine)} campaigns to {out}", err=True)


def _ask(config_path: Path, question: Callable[[Proposals], T]) -> T | None:
    """What the proposals say; `None` where there never were any, and nothing is made for it."""
    folder = DataFolder(configuration.load(config_path).data)
    if not folder.proposals.exists():
        return None
    with closing(open_proposals(folder.proposals, read_only=True)) as store:
        return question(store)


def _store(config_path: Path) -> Proposals:
    return open_proposals(DataFolder(configuration.load(config_path).data).proposals)


def _line(one: Kept) -> str:
    body = one.body
    what = (
        "pause"
        if body["pause"]
        else f"{body['budget']:,.2f} → {body['proposed']:,.2f} {body['currency']} a day"
    )
    decided = "" if one.decided_us is None else f", {from_us(one.decided_us):%Y-%m-%d %H:%M} UTC by {one.who}"
    note = f" ({one.note})" if one.note else ""
    return (
        f"{one.id:>4}  {one.channel} · {one.campaign or one.campaign_id}: {what};"
        f" ROI {body['roi'][0]:.2f}, P {body['sure']:.0%}; {one.state}{decided}{note}"
    )


def _said(value: Any) -> str:
    match value:
        case float():
            return f"{value:,.3f}"
        case list() | tuple():
            return " … ".join(_said(one) for one in value)
        case _:
            return str(value)
