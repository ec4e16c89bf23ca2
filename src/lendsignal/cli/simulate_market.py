"""`simulate`: strategies compared in made-up markets, and the rules of thumb tried there."""

from collections.abc import Sequence
from pathlib import Path

import click

from lendsignal.cli.showing import as_tables, show
from lendsignal.cli.words import as_json, print_json, progress_bar
from lendsignal.errors import LendsignalError

_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--strategy",
    "first",
    type=_file,
    multiple=True,
    metavar="FILE",
    help="A strategy; more may follow.",
)
@click.argument("more", nargs=-1, type=_file, metavar="[FILE]...")
@click.option("--market", type=_file, help="What differs from the default market; see --defaults.")
@click.option("--worlds", type=click.IntRange(2, 10_000), default=24, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the first world.")
@click.option("--defaults", is_flag=True, help="Print the default market and stop.")
@click.option("--rules", is_flag=True, help="Try the rules of thumb in place of strategies.")
@click.option("--write", "page", type=_file, help="With --rules: write what is found into this page.")
@as_tables
@as_json
def simulate(
    first: Sequence[Path],
    more: Sequence[Path],
    market: Path | None,
    worlds: int,
    seed: int,
    defaults: bool,
    rules: bool,
    page: Path | None,
    csv_: bool,
    json_: bool,
) -> None:
    """Compare strategies by profit in made-up markets, or try the trade's rules of thumb there.

    Every strategy meets the same people in the same worlds; a minute is enough for a handful.

    Example: lendsignal simulate --strategy early.toml tiers.toml --worlds 12
    """
    from lendsignal.simulate import market as made_up  # here: numpy is for those who play

    if defaults:
        click.echo(made_up.DEFAULT.read_text(), nl=False)
        return
    if rules:
        _rules(worlds, seed, market, page, json_=json_)
        return
    if page is not None:
        raise click.UsageError("--write goes with --rules")
    files = [*first, *more]
    if not files:
        raise click.UsageError("say what to compare: --strategy a.toml b.toml")
    strategies = [made_up.load_strategy(path) for path in files]
    names = [one.name for one in strategies]
    if len(set(names)) < len(names):
        raise LendsignalError(f"two strategies have one name: {', '.join(names)}")
    with progress_bar(quiet=json_, unit="worlds") as bar:
        task = bar.add_task("worlds", total=worlds)
        played = made_up.play(
            strategies,
            lambda one: made_up.load_market(market, one.market),
            worlds=worlds,
            seed=seed,
            tell=lambda done: bar.update(task, completed=done),
        )
    show(made_up.compared(played, strategies), json_=json_, csv_=csv_)


def _rules(worlds: int, seed: int, market: Path | None, page: Path | None, *, json_: bool) -> None:
    from lendsignal.simulate.market.trying import tried, with_findings, written

    with progress_bar(quiet=json_, unit="worlds") as bar:
        task = bar.add_task("worlds")
        found = tried(
            worlds=worlds,
            seed=seed,
            market=market,
            tell=lambda done, of: bar.update(task, completed=done, total=of),
        )
    if page is not None:
        try:
            text = page.read_text() if page.exists() else ""
            page.write_text(with_findings(text, written(found, worlds)))
        except OSError as error:
            raise LendsignalError(f"{page} cannot be written: {error.strerror}") from error
    if json_:
        print_json({"worlds": worlds, "rules": found})
    elif page is None:
        click.echo(written(found, worlds))
    else:
        click.echo(f"wrote {page}", err=True)
