"""`value`: what users are worth, from the model's training to its coming into force."""

import csv
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from lendsignal import config as configuration
from lendsignal.cli.words import as_json, configured, moment_of, print_json
from lendsignal.clock import clock_at, from_us
from lendsignal.config import Config
from lendsignal.decide.promoting import promoted
from lendsignal.errors import LendsignalError, NotYet
from lendsignal.log import DataFolder, Log, open_log
from lendsignal.role.leading import rules_of
from lendsignal.value import Promotion
from lendsignal.value.worth import APPLICATION, Band, ValueModel

if TYPE_CHECKING:
    from lendsignal.report.training import Training
    from lendsignal.value.gates import Trial
    from lendsignal.value.low import Held
    from lendsignal.value.making import Evidence, Forward
    from lendsignal.value.parity import Group


SCORED = "brand user_id moment at currency predicted_value low_value sd realised_value".split()
"""The columns of what `score` writes."""


@click.group()
def value() -> None:
    """What new users are worth: train a model, see its evidence, put it into force, score users."""


@value.command()
@click.option(
    "--as-of", callback=moment_of, metavar="MOMENT", help="Learn from what was known then; by default now."
)
@click.option(
    "--at",
    type=click.Choice(["grant", "apply"]),
    default="grant",
    show_default=True,
    help="From when on users are valued; apply: at the application too, by how likely a grant is.",
)
@click.option("--isotonic", is_flag=True, help="Calibrate along rising steps as well, with enough users.")
@configured
@as_json
def train(as_of: datetime | None, at: str, isotonic: bool, config_path: Path, json_: bool) -> None:
    """Train a model on the users so far and try it on later ones; it is kept, and not in force yet.

    Ends with 1 where no scope has enough users to learn from.

    Example: lendsignal value train --at apply
    """
    from lendsignal.report.value_models import keep  # here: these libraries are for this verb alone
    from lendsignal.value.making import made

    config = configuration.load(config_path)
    folder = DataFolder(config.data)
    found = _training(config, as_of, applicants=at == "apply")
    before = _in_force(folder)
    model = made(
        found.users,
        config.value,
        found.as_of_us,
        champion=None if before is None else before.model,
        isotonic=isotonic,
    )
    if not model.evidence:
        reason = "; ".join(model.too_few) or "there are no new users yet"
        raise LendsignalError(f"nothing is trained: {reason}; value.prior says what finance expects instead")
    keep(folder.value_models, model, found.users, found.as_of_us)
    if json_:
        print_json(
            {
                "version": model.model.version,
                "as_of": from_us(found.as_of_us),
                "evidence": model.evidence,
                "passed": [[one.moment, one.currency] for one in model.evidence if one.passed],
                "too_few": model.too_few,
            }
        )
        return
    click.echo(f"version {model.model.version}, as of {from_us(found.as_of_us):%Y-%m-%d %H:%M} UTC")
    for one in model.evidence:
        _show_evidence(one)
    for why in model.too_few:
        click.echo(f"no model of {why}")


@value.command()
@click.argument("version", default="")
@click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw what was said and what came, as SVG.",
)
@configured
@as_json
def evaluate(version: str, chart: Path | None, config_path: Path, json_: bool) -> None:
    """What a model showed on later users when it was trained, and on those who came after it since.

    VERSION is by default the one in force, else the youngest.

    Example: lendsignal value evaluate --chart calibration.svg
    """
    from lendsignal.report.value_models import kept
    from lendsignal.value.making import forward

    config = configuration.load(config_path)
    folder = DataFolder(config.data)
    one = kept(folder.value_models, version or latest(folder))
    since = forward(one.model, _training(config, None, applicants=_values_applicants(one.model)).users)
    if chart is not None:
        chart.write_text(_chart(one.evidence))
    if json_:
        print_json({"version": one.manifest.version, "evidence": one.evidence, "since": since})
        return
    click.echo(f"version {one.manifest.version}, as of {from_us(one.manifest.as_of_us):%Y-%m-%d %H:%M} UTC")
    for evidence in one.evidence:
        _show_evidence(evidence)
    _show_since(since)


@value.command()
@click.argument("version", default="")
@click.option("--dry-run", is_flag=True, help="Show what would be told, and change nothing.")
@click.option(
    "--unproven",
    is_flag=True,
    help="Also scopes that could not be tried yet; what failed its trial stays out.",
)
@configured
@as_json
def promote(version: str, dry_run: bool, unproven: bool, config_path: Path, json_: bool) -> None:
    """Put a model into force: from now on new users are valued by it, and never those decided before.

    VERSION is by default the youngest. Ends with 1 where no scope of it passed. Said of the version that is
    in force, it takes in how values were met since.

    Example: lendsignal value promote --dry-run
    """
    from lendsignal.report.value_models import kept, versions
    from lendsignal.value.making import why_not

    config = configuration.load(config_path)
    folder = DataFolder(config.data)
    youngest = versions(folder.value_models)[-1:]
    if not version and not youngest:
        raise LendsignalError("there is no value model yet: lendsignal value train")
    one = kept(folder.value_models, version or youngest[0])
    training = _training(config, None, applicants=_values_applicants(one.model))
    with rules_of(config, read_only=dry_run) as rules:
        now_us = clock_at(config.replay_clock).now_us()
        made = promoted(rules, one, training, now_us, unproven=unproven, dry_run=dry_run)
    if json_:
        print_json(
            {"version": made.version, "model": one.manifest.version, "dry_run": dry_run, "told": made.shipped}
        )
        return
    for moment, by_currency in made.shipped.items():
        for currency, shipped in by_currency.items():
            _show_shipped(f"{moment} in {currency}", shipped.shipping, shipped.factor)
            _show_low(one.model.scopes[moment][currency].bands)
    for evidence in one.evidence:
        if evidence.currency not in made.shipped.get(evidence.moment, {}):
            click.echo(f"{evidence.moment} in {evidence.currency} is not told of: {why_not(evidence)}")
    click.echo(f"{'would be' if dry_run else 'is'} in force as version {made.version}")


@value.command()
@click.option("--version", default="", help="The model; by default the one in force, else the youngest.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("values.csv"),
    show_default=True,
    help="A line for each user; it holds user ids.",
)
@configured
@as_json
def score(version: str, out: Path, config_path: Path, json_: bool) -> None:
    """What every new user so far is worth by a model, as CSV: for your own analysis.

    low_value: what three in ten of such users bring less than; sd: how far apart such users are.

    Example: lendsignal value score --out values.csv
    """
    import numpy as np

    from lendsignal.report.value_models import kept
    from lendsignal.value.low import lows_of, spreads_of
    from lendsignal.value.training import values_of

    config = configuration.load(config_path)
    folder = DataFolder(config.data)
    one = kept(folder.value_models, version or latest(folder))
    training = _training(config, None, applicants=_values_applicants(one.model))
    lines = 0
    with out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(SCORED)
        for moment, scopes in one.model.scopes.items():
            for currency, scope in scopes.items():
                users = training.users.get(moment, {}).get(currency)
                if users is None:
                    continue
                said = values_of(scope, users)
                figures = np.column_stack(
                    [
                        said,
                        lows_of(scope.bands, said),
                        spreads_of(scope.bands, said),
                        users.value(one.model.horizon_days),
                    ]
                )
                for (brand, user), at_us, numbers in zip(
                    training.names[moment][currency], users.at_us.tolist(), figures.tolist(), strict=True
                ):
                    known = ("" if number != number else round(number, 2) for number in numbers)
                    writer.writerow([brand, user, moment, from_us(at_us).isoformat(), currency, *known])
                    lines += 1
    if json_:
        print_json({"version": one.manifest.version, "out": str(out), "users": lines})
    else:
        click.echo(f"{out}: {lines:,} lines by version {one.manifest.version}")


@value.command()
@click.argument("fact")
@click.option("--version", default="", help="The model; by default the one in force, else the youngest.")
@configured
@as_json
def parity(fact: str, version: str, config_path: Path, json_: bool) -> None:
    """Whether groups of users are told of alike: what was said of each, what came, who is told of at all.

    FACT is a property of your grants and loans, such as gender, that the model need not know; or country,
    os, app, product, channel or campaign.

    Example: lendsignal value parity gender
    """
    from lendsignal.report.value_models import kept
    from lendsignal.value.parity import groups_of
    from lendsignal.value.parity import parity as alike
    from lendsignal.value.training import values_of

    config = configuration.load(config_path)
    one = kept(DataFolder(config.data).value_models, version or latest(DataFolder(config.data)))
    training = _training(config, None, also=fact, applicants=_values_applicants(one.model))
    found = []
    for moment, scopes in one.model.scopes.items():
        for currency, scope in scopes.items():
            users = training.users.get(moment, {}).get(currency)
            groups = None if users is None else groups_of(users, fact)
            if users is not None and groups is not None:
                came = users.value(one.model.horizon_days)
                found.append((moment, currency, alike(values_of(scope, users), came, groups)))
    if not found:
        raise LendsignalError(f"no grant or loan of the model's currencies has {fact!r}")
    if json_:
        print_json(
            {
                "version": one.manifest.version,
                "fact": fact,
                "groups": [
                    {"moment": moment, "currency": currency, "group": group, "remark": group.remark}
                    for moment, currency, parts in found
                    for group in parts
                ],
            }
        )
        return
    for moment, currency, parts in found:
        _show_parity(f"{moment} in {currency}, by {fact}", parts)


@value.command()
@configured
@as_json
def history(config_path: Path, json_: bool) -> None:
    """Every model that was trained, and when which was put into force."""
    from lendsignal.report.value_models import kept, versions

    folder = DataFolder(configuration.load(config_path).data)
    trained = [kept(folder.value_models, one) for one in versions(folder.value_models)]
    promotions, in_force = _promotions(folder)
    if json_:
        print_json(
            {
                "in_force": in_force,
                "trained": [
                    {
                        "version": one.manifest.version,
                        "as_of": from_us(one.manifest.as_of_us),
                        "passed": [[each.moment, each.currency] for each in one.evidence if each.passed],
                    }
                    for one in trained
                ],
                "promoted": [
                    {"version": one.version, "model": one.model.version, "made_at": from_us(one.made_us)}
                    for one in promotions
                ],
            }
        )
        return
    for one in trained:
        passed = sum(each.passed for each in one.evidence)
        click.echo(
            f"{from_us(one.manifest.as_of_us):%Y-%m-%d %H:%M} UTC  trained {one.manifest.version},"
            f" {passed} of {len(one.evidence)} scopes passed"
        )
    for promotion in promotions:
        mark = "  in force" if promotion.version == in_force else ""
        click.echo(
            f"{from_us(promotion.made_us):%Y-%m-%d %H:%M} UTC  promoted {promotion.model.version}"
            f" as {promotion.version}{mark}"
        )
    if not trained and not promotions:
        click.echo("no value model was ever trained: lendsignal value train")


def _values_applicants(model: ValueModel) -> bool:
    return APPLICATION in model.scopes


def _training(
    config: Config, as_of: datetime | None, *, also: str = "", applicants: bool = False
) -> "Training":
    """The users to learn from; `also`: a further property of theirs, for looking at and not for learning.
    `applicants`: whether those who applied are among them."""
    from lendsignal.report import load
    from lendsignal.report.training import training

    settings = config.value
    if also and also not in settings.properties:
        settings = replace(settings, properties=(*settings.properties, also))
    with load(DataFolder(config.data), as_of=as_of) as tables:
        return training(tables, settings, applicants=applicants)


def _log(folder: DataFolder, *, read_only: bool) -> Log:
    return open_log(folder.log, read_only=read_only)


def _promotions(folder: DataFolder) -> tuple[Sequence[Promotion], str | None]:
    """Every promotion, and the version that decisions go by now."""
    try:
        with closing(_log(folder, read_only=True)) as log:
            return log.promotions(), log.value()
    except NotYet:
        return [], None


def _in_force(folder: DataFolder) -> Promotion | None:
    """The promotion that is in force, or on its way there."""
    promotions, _ = _promotions(folder)
    return promotions[-1] if promotions else None


def latest(folder: DataFolder) -> str:
    """The model in force, else the youngest."""
    from lendsignal.report.value_models import versions

    known = versions(folder.value_models)
    promotion = _in_force(folder)
    if promotion is not None and promotion.model.version in known:
        return promotion.model.version
    if not known:
        raise LendsignalError("there is no value model yet: lendsignal value train")
    return known[-1]


def _show_evidence(one: "Evidence") -> None:
    mean = "" if one.value is None else f", worth {one.value:,.2f} on average"
    click.echo(
        f"\n{one.moment} in {one.currency}: {one.kind}, learned from {one.learned},"
        f" {one.users:,} users ({one.mature:,} with their value known{mean})"
    )
    if one.note:
        click.echo(f"  {one.note}")
    if one.trials:
        Console().print(_trials(one.trials))
    if one.trial is not None:
        table = Table("gate", "holds", "found", "limit", "what", box=None)
        for gate in one.trial.gates:
            numbers = ("–" if number is None else f"{number:.3f}" for number in (gate.found, gate.limit))
            table.add_row(gate.name, "yes" if gate.holds else "NO", *numbers, gate.meaning)
        Console().print(table)
        if one.trial.low is not None:
            click.echo(f"  {_of_low(one.trial.low)}")


def _of_low(low: "Held") -> str:
    """How the cautious side was met, in words."""
    told = "is told where it is asked for" if low.holds else "is NOT told"
    return f"the cautious side {told}: {_met(low)}"


def _met(low: "Held") -> str:
    return (
        f"{low.below:.0%} of {low.users:,} brought less, {low.at_or_below:.0%} no more"
        f" (three in ten is to be between them, within {low.margin:.0%})"
    )


def _trials(trials: "Sequence[Trial]") -> Table:
    table = Table(
        "on later users", "users", "Gini", "Spearman", "bias", "tenths off", "best half", "best fifth"
    )
    table.box = None
    for one in trials:
        table.add_row(one.kind, *_figures(one.judgement.users, _figures_of(one.judgement)))
    if trials[0].score is not None:
        table.add_row("lender's score", "", f"{trials[0].score:.3f}", "", "", "", "", "")
    return table


def _figures_of(judgement: Any) -> Sequence[float]:
    """The figures of a judgement in the order of the table's columns."""
    return (
        judgement.gini,
        judgement.spearman,
        judgement.bias,
        judgement.decile_error,
        judgement.top50,
        judgement.top20,
    )


def _figures(users: int, figures: Sequence[float]) -> list[str]:
    gini, spearman, bias, error, half, fifth = figures
    return [
        f"{users:,}",
        f"{gini:.3f}",
        f"{spearman:.3f}",
        f"{bias:+.1%}",
        f"{error:.1%}",
        f"×{half:.2f}",
        f"×{fifth:.2f}",
    ]


def _show_since(since: "Sequence[Forward]") -> None:
    for one in since:
        if one.judgement is None:
            click.echo(f"\n{one.moment} in {one.currency}: too few users since whose value is known")
            continue
        click.echo(
            f"\n{one.moment} in {one.currency}: {one.judgement.users:,} users since,"
            f" Gini {one.judgement.gini:.3f}, bias {one.judgement.bias:+.1%};"
            f" coming values × {one.factor:.2f} at the next promotion"
        )
        if one.low is not None:
            click.echo(f"  the cautious side since: {_met(one.low)}")


def _show_parity(title: str, groups: "Sequence[Group]") -> None:
    if not groups:
        click.echo(f"{title}: fewer than two groups of 100 users whose value is known by now")
        return
    table = Table(
        "group", "users", "said", "came", "±", "told of", "to the highest", "Gini", "remark",
        title=title, title_justify="left", box=None,
    )  # fmt: skip
    for one in groups:
        table.add_row(
            one.name,
            f"{one.users:,}",
            f"{one.said:,.2f}",
            f"{one.came:,.2f}",
            f"{one.se:,.2f}",
            f"{one.told:.0%}",
            f"{one.ratio:.2f}",
            f"{one.gini:.3f}",
            one.remark,
        )
    Console().print(table)


def _show_shipped(scope: str, shipping: Any, factor: float) -> None:
    table = Table("value from", "told as", "users", title=scope, title_justify="left", box=None)
    nothing = 1 - sum(shipping.parts)
    table.add_row("0 or less", "no value", f"{nothing:.1%}")
    for edge, mean, part in zip(shipping.edges, shipping.means, shipping.parts, strict=True):
        table.add_row(f"{edge:,.2f}", f"{mean:,.2f}", f"{part:.1%}")
    Console().print(table)
    click.echo(
        f"scale {shipping.scale:.3f} since {from_us(shipping.frozen_us):%Y-%m-%d}, values × {factor:.2f}"
    )


def _show_low(bands: Sequence[Band]) -> None:
    """What the cautious side is told as, where a route asks for it."""
    known: dict[float, float] = {}
    for band in bands:
        known.setdefault(max(band.low, 0.0), band.said)
    steps = ", ".join(f"{low:,.2f} from {said:,.2f} on" for low, said in known.items() if low > 0)
    if bands:
        click.echo(f"cautiously: {steps or 'nothing of anybody'}")


def _chart(evidence: "Sequence[Evidence]") -> str:
    """What was said and what came, tenth by tenth, of the first scope that was tried."""
    from lendsignal.report.chart import svg
    from lendsignal.report.value_models import calibration

    for one in evidence:
        if (chart := calibration(one)) is not None:
            return svg(chart)
    raise LendsignalError("no scope of the model was tried: there is nothing to draw")
