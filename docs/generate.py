"""Writes the reference pages that follow from the code: `python docs/generate.py`.

`docs/reference/cli.md` comes from the command's own verbs and options, `docs/reference/configuration.md`
from the settings types, `docs/reference/metrics.md` from what the roles measure,
`docs/reference/destinations.md` from the facts in the destinations' files, `docs/reference/archive.md` from
the archive's layout.
`tests/docs/test_documentation.py` says when a committed page is behind.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import click
from msgspec import inspect

from lendsignal.archive import TABLES
from lendsignal.cli import main as command
from lendsignal.cli.operate import platform_facts
from lendsignal.clock import SystemClock
from lendsignal.config import Settings
from lendsignal.decide import DecideMeters
from lendsignal.deliver import DeliverMeters, DestinationSettings
from lendsignal.deliver.audiences import AccountSettings
from lendsignal.deliver.audiences.meters import ListMeters
from lendsignal.destination import registry
from lendsignal.destination.audiences import audience_platforms
from lendsignal.log import Log
from lendsignal.log.postgres import Database
from lendsignal.log.spool import Spool
from lendsignal.metrics import FolderMeters, Meters, ProcessMeters, UpMeters
from lendsignal.role.desk import DeskMeters
from lendsignal.role.forgetting import StoreMeters
from lendsignal.role.keeping import KeepMeters
from lendsignal.role.spooling import SpoolMeters
from lendsignal.settings import Field, Template, describe
from lendsignal.source import PullMeters, PullSettings, QuarantineMeters, SourceMeters, feed_kinds
from lendsignal.source.feeds import FeedMeters

REFERENCE = Path(__file__).parent / "reference"

MARK = "<!-- From here on the page is written by `python docs/generate.py`. -->"
"""What stands above it in a page is written by hand and stays."""

SECTIONS = {
    "portfolio": "The lender.",
    "brand": "A product with its own accounts; `user_id` is unique within it.",
    "app": "One store listing of a brand. What no device tells belongs to the brand's first app.",
    "source": "Who may send events, what its keys are good for, and how much may come in with each.",
    "service": "The service as a whole.",
    "store": "The PostgreSQL that makes this a node of a cluster: [how](../how-to/run-on-a-cluster.md).",
    "door": "The HTTP door for events.",
    "web": "The pages, and how people sign in to them, by the company's own provider too: "
    "[how](../how-to/sign-in-with-your-provider.md).",
    "metrics": "Who is told what is measured: [watch the service](../how-to/watch-the-service.md).",
    "traces": "OpenTelemetry traces: [how](../how-to/trace-events.md).",
    "resolve": "Which device an event belongs to, and how long to wait for a login.",
    "derive": "Which conversions follow from events.",
    "tiers": "Quality tiers of granted users (`credit_top20`, `value_top20` and so on).",
    "conversion": "Conversions of the lender's own; expressions are in CEL.",
    "people": "Who is no customer.",
    "proxy": "The early, predicted conversion `likely_credit`.",
    "value": "What new users are worth: what value models learn from.",
    "holdout": "Users who are kept out on purpose, so that what ads bring can be measured.",
    "audience": "Lists of people for ad platforms: seeds of look-alikes, retargeting, exclusion.",
    "audiences": "How lists are built and kept in step while the service runs.",
    "audience_account": "Where lists go: ad accounts and files. These keys are the same for every kind; its "
    "own follow below. Secrets are given by reference.",
    "consent": "What counts where a user was never asked.",
    "deliver": "Sending as a whole.",
    "security": "What this installation may reach: [retention and residency](retention.md).",
    "pull": "What the service reads by itself: a database, files, a topic. These keys are the same for every "
    "kind; its own follow below. Secrets are given by reference.",
    "feed": "Who tells where users came from: an MMP's messages, its files, or both.",
    "spend": "Whose cost by campaign and day is read from files.",
    "fx": "Exchange rates by date.",
    "health": "When volume, silence or delay is worth an alert.",
    "alert": "Who is told when something is wrong, each by a way of its own.",
    "log": "How long events stay in the log: [bound the log](../how-to/bound-the-log.md).",
    "archive": "Parquet files of everything, for reports and other engines.",
    "destination": "Where deliveries go. These keys are the same for every platform; its own follow below.",
    "route": "Which conversion goes where: each names its destinations and the conversions they get.",
}
"""What stands above each table; a new table of the file needs a line here."""

KINDS = ("destination", "pull", "audience_account")
"""Tables whose keys depend on their `kind`."""

CREDENTIALS = {
    "Bearer": "bearer token",
    "HeaderAuth": "a header of its own",
    "QueryAuth": "in the query",
    "BodyAuth": "in the body",
    "GoogleAuth": "Google's OAuth",
    "MetaAuth": "in the query, with a proof",
    "WebhookAuth": "signs the message",
    "InstallAuth": "signs an installation's token",
    "BrokerAuth": "opens the connection to the brokers",
}
"""How a secret joins its request, by what its file calls it."""


def facts_of_platforms() -> Iterator[str]:
    """A table of every platform's facts, and one of the fields that may leave for it."""
    heads = (
        "kind|platform|events a request|window, and later ones|order|value|repeats dropped|an id of"
        "|requests/s|credential|source, read"
    ).split("|")
    yield f"| {' | '.join(heads)} |"
    yield "| --- " * len(heads) + "|"
    for fact in platform_facts():
        alike = f", alike in `{fact['batch_by']}`" if fact["batch_by"] else ""
        ids = ", ".join(f"`{one}`" for one in fact["ids"]) or "any the platform knows"
        yield (
            f"| `{fact['kind']}` | {fact['label']} | {fact['batch']}{alike}"
            f" | {fact['window']}, {fact['late']} | {fact['order'] or 'none'} | {fact['value']}"
            f" | {fact['dedupe'] or 'never'} | {ids}"
            f" | {fact['per_second']:g} | {CREDENTIALS.get(fact['auth'], fact['auth'])}"
            f" | [page]({fact['source']}), {fact['date']} |"
        )
    yield "\n## What may leave\n"
    yield "| kind | fields of a request |"
    yield "| --- | --- |"
    for fact in platform_facts():
        yield f"| `{fact['kind']}` | {' '.join(f'`{field}`' for field in fact['fields'])} |"


def pages() -> dict[Path, str]:
    """The text of every generated page, by its file."""
    made = {"cli.md": verbs(command, "lendsignal", 2), "configuration.md": tables(), "metrics.md": metrics()}
    made["destinations.md"] = facts_of_platforms()
    made["archive.md"] = archive()
    found: dict[Path, str] = {}
    for name, parts in made.items():
        path = REFERENCE / name
        head = path.read_text().partition(MARK)[0]
        found[path] = f"{head}{MARK}\n\n" + "\n".join(parts)
    return found


# the command line


def verbs(group: click.Group, path: str, level: int) -> Iterator[str]:
    """The group's own options, then each verb with its own, hidden ones last."""
    context = click.Context(group, info_name=path)
    if level == 2:
        yield "## `lendsignal`\n"
        yield from parameters(group, context)
    found = [group.get_command(context, name) for name in group.list_commands(context)]
    for verb in sorted((verb for verb in found if verb is not None), key=lambda verb: verb.hidden):
        yield from one_verb(verb, f"{path} {verb.name}", level)


def one_verb(verb: click.Command, path: str, level: int) -> Iterator[str]:
    context = click.Context(verb, info_name=path)
    pieces = " ".join(verb.collect_usage_pieces(context))
    yield f"{'#' * level} `{path}`\n"
    yield f"```text\n{path} {pieces}\n```\n"
    for part in (verb.help or "").split("\n\n"):
        yield " ".join(part.split()).replace(". ", ".\n") + "\n"
    if verb.hidden:
        yield "Hidden: `lendsignal run` starts its child processes by it.\n"
    yield from parameters(verb, context)
    if isinstance(verb, click.Group):
        yield from verbs(verb, path, level + 1)


def parameters(verb: click.Command, context: click.Context) -> Iterator[str]:
    rows = [row_of(one, context) for one in verb.params if not getattr(one, "hidden", False)]
    if rows:
        yield table("argument or option", "meaning", "default", rows=rows)


def row_of(one: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    if isinstance(one, click.Argument):
        return f"`{one.make_metavar(context)}`", choices(one), "needed" if one.required else ""
    assert isinstance(one, click.Option)
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    value = "" if one.is_flag else f" `{one.make_metavar(context)}`"
    return f"{names}{value}", one.help or choices(one), default_of(one)


def choices(one: click.Parameter) -> str:
    allowed = getattr(one.type, "choices", None)
    return f"one of {', '.join(f'`{choice}`' for choice in allowed)}" if allowed else ""


def default_of(one: click.Option) -> str:
    if one.required:
        return "needed"
    default = one.default
    shown = one.show_default and isinstance(default, str | int | float | Path)
    if not shown or isinstance(default, bool):
        return ""
    by_env = f", or `${one.envvar}`" if isinstance(one.envvar, str) else ""
    return f"`{default}`{by_env}"


# the configuration


def tables() -> Iterator[str]:
    """One section a table of the file, in the file's order; destinations with each platform's own keys."""
    rows = [field for field in describe(Settings) if field.key.split(".")[0] not in KINDS]
    by_section: dict[str, list[Field]] = {}
    for field in rows:
        by_section.setdefault(re.split(r"[.\[]", field.key)[0], []).append(field)
    for section in inspect.type_info(Settings).fields:  # type: ignore[attr-defined]
        name = section.encode_name
        yield f"## `{header(name)}`\n"
        yield f"{SECTIONS[name]}\n"
        if name == "destination":
            yield keys(describe(DestinationSettings, "destination.<name>"))
            yield "Of several apps, in place of `app`:\n"
            yield keys(describe(Template, "destination.<name>"))
            yield from platforms()
        elif name == "pull":
            yield keys(describe(PullSettings, "pull.<name>"))
            yield from pulls()
        elif name == "audience_account":
            yield keys(describe(AccountSettings, "audience_account.<name>"))
            yield from accounts()
        else:
            # The table itself is the heading.
            yield keys([field for field in by_section[name] if field.key != name])


def platforms() -> Iterator[str]:
    for kind, module in registry().items():
        yield f'### `kind = "{kind}"`: {module.SPEC.label}\n'
        yield keys(describe(module.Settings, "destination.<name>"))


def accounts() -> Iterator[str]:
    for kind, module in audience_platforms().items():
        yield f'### `[audience_account]` `kind = "{kind}"`: {module.SPEC.label}\n'
        yield keys(describe(module.Settings, "audience_account.<name>"))


def pulls() -> Iterator[str]:
    for kind, module in feed_kinds().items():
        yield f'### `kind = "{kind}"`\n'
        yield keys([one for one in describe(module.Settings, "pull.<name>") if not of_a_map(one)])
        yield (
            "`event`, `constant`, `column` and `computed` are as in [the import map](import-map.md), "
            "without what is about files.\n"
        )


def of_a_map(field: Field) -> bool:
    """Whether a key stands within the rules that the import map's page tells of."""
    return re.search(r"\.(event|column|computed|constant)[.\[]", field.key) is not None


def header(name: str) -> str:
    match name:
        case (
            "alert"
            | "pull"
            | "feed"
            | "spend"
            | "holdout"
            | "audience"
            | "audience_account"
            | "conversion"
            | "brand"
            | "app"
            | "source"
            | "destination"
        ):
            return f"[{name}.<name>]"
        case "route":
            return "[[route]]"
        case _:
            return f"[{name}]"


def keys(fields: list[Field]) -> str:
    rows = [(f"`{one.key}`", one.description, allowed(one), default(one)) for one in fields]
    return table("key", "meaning", "allowed", "default", rows=rows)


def allowed(field: Field) -> str:
    """What the key takes; notations that Markdown would read are set as code."""
    text = re.sub(r"matching (\S+\$)", r"matching `\1`", field.allowed)
    return re.sub(r"(\{ \w+ = \"\w+\" \})", r"`\1`", text)


def default(field: Field) -> str:
    if field.required:
        return "needed"
    return "" if field.default is None else f"`{field.default}`"


# the metrics


def meters() -> dict[str, tuple[Meters, ...]]:
    """What there is to measure, by what it is about; nothing is measured here."""
    nowhere = cast(Log, None)
    return {
        "The door": (SourceMeters(), QuarantineMeters(nowhere, SystemClock(), 1.0)),
        "A cluster's door": (SpoolMeters(cast(Spool, None), SystemClock()),),
        "A cluster's desk": (DeskMeters(),),
        "A cluster's store": (StoreMeters(cast(Database, None), int),),
        "What we fetch ourselves": (PullMeters(),),
        "Attribution feeds": (FeedMeters(),),
        "Deciding": (DecideMeters(nowhere, SystemClock()),),
        "The log": (KeepMeters(nowhere, SystemClock()),),
        "Sending": (DeliverMeters(),),
        "Lists": (ListMeters(Path("nowhere"), SystemClock()),),
        "The roles and the machine": (UpMeters(), ProcessMeters("core"), FolderMeters(Path())),
    }


def metrics() -> Iterator[str]:
    """One section a stage; what several stages tell stands where it comes first."""
    known: set[str] = set()
    for heading, group in meters().items():
        yield f"## {heading}\n"
        rows: list[tuple[str, ...]] = []
        for one in (one for part in group for one in part.all if one.family.name not in known):
            known.add(one.family.name)
            labels = ", ".join(f"`{label}`" for label in one.family.labels)
            rows.append((f"`{one.family.name}`", one.kind, labels, one.family.meaning))
        yield table("metric", "kind", "labels", "meaning", rows=rows)


# the archive


def archive() -> Iterator[str]:
    """One section a table: what its rows are, and each column."""
    for one in TABLES:
        yield f"## `{one.name}`\n"
        alone = ", ".join(f"`{name}`" for name in one.key)
        yield f"{one.meaning}\nRows are told apart by {alone}, and lie on the UTC day of `{one.moment}`.\n"
        rows = [(f"`{column.name}`", f"`{column.kind.value}`", column.meaning) for column in one.columns]
        yield table("column", "type", "meaning", rows=rows)


def table(*columns: str, rows: Sequence[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
        print(path.relative_to(REFERENCE.parent))
