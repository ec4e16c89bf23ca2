"""What the pages say is true of the code: verbs, keys, words, examples and links."""

import ast
import json
import re
import subprocess
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import apsw
import click
import msgspec
import pytest
from docs.generate import MARK, of_a_map, pages

import lendsignal
from lendsignal import config as configuration
from lendsignal.cli import main as command
from lendsignal.config import Settings
from lendsignal.deliver import DestinationSettings
from lendsignal.destination import registry
from lendsignal.log import (
    open_alerts,
    open_audiences,
    open_deliveries,
    open_feeds,
    open_keys,
    open_log,
    open_orders,
    open_pulls,
    open_shelf,
)
from lendsignal.log.people import open_people
from lendsignal.log.proposals import open_proposals
from lendsignal.model import App, Consent, Device, EventType, IdKind, Instalment, SkipReason
from lendsignal.plan import Verdict
from lendsignal.settings import describe
from lendsignal.source import Reader, event_schema, feed_kinds, read_event, read_json

ROOT = Path(__file__).parents[2]
CODE = Path(lendsignal.__file__).parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
"""Every page a reader may open."""

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
"""When the examples arrive: they are written on that day."""

NOT_OURS = {"connect-a-webhook.md"}
"""Pages whose JSON is what a destination gets, not an event."""


class Block(NamedTuple):
    """One fenced example: where it begins, its language and its text without the page's indent."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found[2], textwrap.dedent(found[3]))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def in_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def page(name: str) -> str:
    return (DOCS / name).read_text()


# generated pages


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_generated_page_says_what_the_code_says(path: Path) -> None:
    assert path.read_text() == pages()[path], "run: python docs/generate.py"


def test_what_is_written_by_hand_above_the_mark_is_kept() -> None:
    assert all(len(text.partition(MARK)[0]) > 300 for text in pages().values())


# the command line


def verbs(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, verb in group.commands.items():
        path = (*words, name)
        yield " ".join(path), verb
        if isinstance(verb, click.Group):
            yield from verbs(verb, path)


VERBS = dict(verbs(command))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_documented_with_every_option(name: str) -> None:
    text = page("reference/cli.md")
    section = re.split(r"^#+ ", text.partition(f" `lendsignal {name}`\n")[2], maxsplit=1, flags=re.MULTILINE)[
        0
    ]

    missing = [word for one in VERBS[name].params for word in one.opts if isinstance(one, click.Option)]

    assert section, f"`lendsignal {name}` has no section"
    assert [word for word in missing if f"`{word}`" not in section] == []


def commands_of(block: Block) -> Iterator[list[str]]:
    """Each call of lendsignal or make in an example, as words."""
    whole = re.sub(r"\\\n\s*", " ", block.text)
    for line in whole.splitlines():
        for part in re.split(r"\||&&|;|>", line):
            words = part.split()
            if words and (words[0] == "make" or Path(words[0]).name == "lendsignal"):
                yield [Path(words[0]).name, *words[1:]]


def takes_a_value(verb: click.Command, option: str) -> bool:
    """Whether the word behind this one is the option's, and no verb."""
    found = [one for one in verb.params if isinstance(one, click.Option) and option in one.opts]
    return bool(found) and not found[0].is_flag


CALLS = [(block, call) for block in in_language("sh", "bash") for call in commands_of(block)]


@pytest.mark.parametrize(("block", "call"), CALLS, ids=[f"{block} {' '.join(call)}" for block, call in CALLS])
def test_every_call_in_an_example_exists(block: Block, call: list[str]) -> None:
    if call[0] == "make":
        makefile = (ROOT / "Makefile").read_text()
        targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
        settable = set(re.findall(r"(?:^|ifdef |\$\()([A-Z]+)(?: \?=|\b)", makefile, re.MULTILINE))
        assert {word for word in call[1:] if "=" not in word} <= targets
        assert {word.partition("=")[0] for word in call[1:] if "=" in word} <= settable
        return
    verb: click.Command = command
    allowed = {word for one in verb.params for word in one.opts} | {"-h", "--help"}
    for before, word in pairwise(call):
        if word.startswith("-"):
            assert word.partition("=")[0] in allowed, f"{call[0]} takes no {word}"
        elif takes_a_value(verb, before):
            continue
        elif isinstance(verb, click.Group):
            default = getattr(verb, "default", "")
            assert {word, default} & verb.commands.keys(), f"no verb {word!r}"
            verb = verb.commands.get(word) or verb.commands[default]
            allowed |= {option for one in verb.params for option in one.opts}
    assert not isinstance(verb, click.Group) or len(call) > 1


def test_the_readme_names_both_commands_and_they_are_targets() -> None:
    lines = [line for block in BLOCKS if block.page.name == "README.md" for line in block.text.splitlines()]

    assert "make run" in lines
    assert "make test" in lines


def test_the_help_of_reports_lists_all_of_them_with_an_example_each() -> None:
    group = command.commands["report"]
    assert isinstance(group, click.Group)
    shown = group.get_help(click.Context(group, info_name="lendsignal report"))

    listed, _, examples = shown.partition("Examples:\n")

    assert [name for name in group.commands if f"\n  {name} " not in listed] == []
    assert [name for name in group.commands if f"\n  lendsignal report {name} " not in f"\n{examples}"] == []


# the configuration


def test_every_key_of_the_configuration_is_documented() -> None:
    text = page("reference/configuration.md")
    fields = [*describe(Settings), *describe(DestinationSettings, "destination.<name>")]
    for module in registry().values():
        fields += describe(module.Settings, "destination.<name>")
    for kind in feed_kinds().values():
        described = describe(kind.Settings, "pull.<name>")
        fields += [field for field in described if not of_a_map(field)]

    tables = {"portfolio", *msgspec.structs.asdict(EMPTY)}  # a table's own line is its heading
    missing = [field.key for field in fields if field.key not in tables and f"| `{field.key}` |" not in text]

    assert missing == []


def test_every_platform_has_its_own_table_of_keys() -> None:
    text = page("reference/configuration.md")

    assert [kind for kind in registry() if f'### `kind = "{kind}"`' not in text] == []


EMPTY = Settings(portfolio=configuration.PortfolioSettings(name="acme"), brand={}, app={})


WHOLE = [block for block in in_language("toml") if "portfolio" in tomllib.loads(block.text)]


@pytest.mark.parametrize("block", WHOLE, ids=str)
def test_a_whole_configuration_in_an_example_loads(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = [app.replace("-", "_").upper() for app in tomllib.loads(block.text)["app"]]
    named = re.findall(r'\benv\s*=\s*"([^"]+)"', block.text)
    for name in {name.replace("{APP}", app) for name in named for app in apps}:
        monkeypatch.setenv(name, "whsec_bWFkZS11cC1zZWNyZXQtb2YtMjQtYnl0ZXM=")
    for name in re.findall(r'\bfile\s*=\s*"([^"]+)"', block.text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made-up")
    for name in re.findall(r'\bcut_table\s*=\s*"([^"]+)"', block.text):
        (tmp_path / name).write_text("share,cut\n20,700\n30,650\n50,600\n70,550\n")
    (tmp_path / "lendsignal.toml").write_text(block.text)

    assert configuration.load(tmp_path / "lendsignal.toml").apps


def test_there_are_whole_configurations_among_the_examples() -> None:
    assert {block.page.name for block in WHOLE} >= {"README.md", "first-lender.md"}


@pytest.mark.parametrize("block", in_language("toml"), ids=str)
def test_every_toml_example_is_toml(block: Block) -> None:
    tomllib.loads(block.text)


# events


def events_in(block: Block) -> Iterator[bytes]:
    """Every event in an example: of a JSON block, or of the body that a command sends."""
    if block.language == "json":
        texts = [block.text]
    else:
        texts = re.findall(r"<<EOF\n(.*?)^EOF$", block.text, re.DOTALL | re.MULTILINE)
        texts += re.findall(r"-d '(\{\"type\".*?\})'", block.text, re.DOTALL)
    for text in texts:
        sent = re.sub(r"\$\(date[^)]*\)", NOW.strftime("%Y-%m-%dT%H:%M:%SZ"), text)
        found = json.loads(sent)
        for one in found if isinstance(found, list) else [found]:
            if "type" in one and "brand" in one:
                yield json.dumps(one).encode()


EVENTS = [
    (block, event)
    for block in in_language("json", "sh")
    if block.page.name not in NOT_OURS
    for event in events_in(block)
]

REFUSED_ON_PURPOSE = b'"1970-01-01T00:00:00Z"'


@pytest.mark.parametrize(("block", "event"), EVENTS, ids=[str(block) for block, _ in EVENTS])
def test_every_event_in_an_example_is_taken(block: Block, event: bytes) -> None:
    app = App(
        name="acme-ng",
        brand="acme",
        platform="android",
        bundle="com.acme.loans",
        country="NG",
        currency="NGN",
        timezone="Africa/Lagos",
    )
    other = msgspec.structs.replace(app, name="acme-ios", platform="ios", bundle="id1234567890")
    several = block.page.name != "first-lender.md"  # the tutorial's brand has one app
    apps = {one.name: one for one in ([app, other] if several else [app])}
    reader = Reader(apps=apps, brands={"acme": tuple(apps)}, clock_ahead=EMPTY.resolve.clock_ahead)
    if REFUSED_ON_PURPOSE in event:
        with pytest.raises(lendsignal.errors.InputError):
            read_event(read_json(event), NOW, reader)
        return

    taken = read_event(read_json(event), NOW, reader)

    assert taken.flags in ((), ("clock_corrected",))


def test_there_are_events_on_the_pages_that_teach_them() -> None:
    assert {block.page.name for block, _ in EVENTS} >= {
        "README.md",
        "first-lender.md",
        "send-events.md",
        "events.md",
    }


def test_every_type_and_field_of_an_event_is_documented() -> None:
    text = page("reference/events.md")
    names = [kind.value for kind in EventType]
    names += event_schema()["properties"]
    for nested in (Device, Consent, Instalment):
        names += nested.__struct_fields__

    assert [name for name in names if f"`{name}`" not in text] == []


# reasons


OUTCOMES = {"Accepted", "Retry", "Rejected", "Paused", "Split", "Pending"}
SENDERS_OWN = {"die", "finish", "again", "hold", "receipt", "stop", "withdraw", "unanswered", "NoAnswer"}
"""The sender's functions that take a reason, beside the outcomes."""


def reasons_in(file: Path) -> Iterator[str]:
    """Every word that the code in a file gives as a reason; `http_` stands for a word made with a status."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and called(node) in OUTCOMES | SENDERS_OWN:
            yield from words_in([*node.args, *(one.value for one in node.keywords)])
        elif isinstance(node, ast.FunctionDef) and node.name == "no_answer":
            tables = [part.values for part in ast.walk(node) if isinstance(part, ast.Dict)]
            others = [
                part.args for part in ast.walk(node) if isinstance(part, ast.Call) and called(part) == "get"
            ]
            for nodes in tables + others:
                yield from words_in(nodes)


def called(node: ast.Call) -> str:
    """The name of what is called."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def words_in(nodes: Sequence[ast.expr]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Constant(value=str(word)) if re.fullmatch(r"[a-z][a-z0-9_]*", word):
                yield word
            case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]):
                yield start.split()[0].rstrip(":")
            case ast.IfExp(body=body, orelse=orelse):
                yield from words_in([body, orelse])
            case ast.BoolOp(values=values):
                yield from words_in(values)
            case _:
                continue


REASON_FILES = sorted([*(CODE / "destination").glob("*.py"), *(CODE / "deliver").glob("*.py")])


@pytest.mark.parametrize("file", REASON_FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_reason_in_the_code_is_documented(file: Path) -> None:
    text = page("reference/reasons.md")

    assert [word for word in set(reasons_in(file)) if f"`{word}" not in text] == []


def test_the_search_for_reasons_finds_them() -> None:
    assert set(reasons_in(CODE / "destination" / "appsflyer.py")) >= {"bad_token", "http_500", "http_400"}
    assert set(reasons_in(CODE / "deliver" / "sender.py")) >= {"window_closed", "no_secret", "unknown"}
    assert set(reasons_in(CODE / "deliver" / "transport.py")) >= {"timeout", "connection_failed"}


def test_every_skip_reason_and_verdict_is_documented() -> None:
    text = page("reference/reasons.md")
    words = [reason.value for reason in SkipReason] + [verdict.value for verdict in Verdict]

    assert [word for word in words if f"| `{word}` |" not in text] == []


# other words


def test_every_id_a_platform_may_want_is_in_the_event_reference() -> None:
    text = page("reference/events.md")

    assert [kind.value for kind in IdKind if f"`{kind.value}`" not in text] == []


def test_every_table_of_the_data_folder_is_documented(tmp_path: Path) -> None:
    text = page("reference/data-folder.md")
    open_log(tmp_path / "log.sqlite").close()
    open_deliveries(tmp_path / "deliveries.sqlite").close()
    open_orders(tmp_path / "orders.sqlite").close()
    open_shelf(tmp_path / "relay.sqlite").close()
    open_pulls(tmp_path / "pulls.sqlite").close()
    open_keys(tmp_path / "keys.sqlite").close()
    open_feeds(tmp_path / "feeds.sqlite").close()
    open_alerts(tmp_path / "alerts.sqlite").close()
    open_proposals(tmp_path / "proposals.sqlite").close()
    open_people(tmp_path / "people.sqlite").close()
    open_audiences(tmp_path / "audiences.sqlite").close()
    names = "log deliveries orders relay pulls keys feeds alerts proposals people audiences".split()
    for name in (f"{word}.sqlite" for word in names):
        found = apsw.Connection(str(tmp_path / name)).execute(
            "select name from sqlite_master where type = 'table'"
        )
        section = text.partition(f"## `{name}`")[2].partition("\n## ")[0]

        assert [table for (table,) in found.fetchall() if f"| `{table}` |" not in section] == []


def test_every_dependency_is_named_with_its_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted += [one for extra in project["project"]["optional-dependencies"].values() for one in extra]
    names = {re.split(r"[\s<>=;\[]", one)[0].lower() for one in wanted}
    names |= {
        name.lower() for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.M)
    }
    rows = re.findall(r"^\| `?([\w.-]+)`? \| ([^|]+) \|", page("decisions/dependencies.md"), re.MULTILINE)

    licences = {name.lower(): licence.strip() for name, licence in rows}

    assert sorted(names - set(licences)) == []
    assert all(licences[name] for name in names)


COPYLEFT = {"LGPL-3.0-only", "MPL-2.0"}
"""What asks for more than its notice to be kept; the page tells where each of these comes in."""


def test_nothing_is_installed_under_a_stronger_licence_than_the_page_says() -> None:
    text = page("decisions/dependencies.md")
    licences = re.findall(r"^\| `[\w.-]+` \| ([^|]+) \|", text, re.MULTILINE)
    alone = {one for one in licences if "GPL" in one or "MPL" in one if " or " not in one}

    assert alone == COPYLEFT
    assert "MPL" not in text.partition("## What only developers need")[0].partition("## What the service")[2]


def test_the_floors_on_the_page_are_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    floors = [re.sub(r"[()]", "", layer) for layer in layers]
    drawn = next(block for block in BLOCKS if block.page.name == "0016-import-contracts.md")

    assert drawn.text.splitlines() == floors


# examples and links


@pytest.mark.parametrize("block", in_language("python"), ids=str)
def test_every_python_example_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", in_language("json"), ids=str)
def test_every_json_example_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", in_language("sh", "bash"), ids=str)
def test_every_shell_example_parses(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "here-document" not in done.stderr


def slugs(path: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown renderers make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        if not found.exists() or (anchor and anchor not in slugs(found)):
            broken.append(target)

    assert broken == []


def test_every_page_is_in_the_contents_and_the_contents_in_order() -> None:
    named = re.findall(r":\s+(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    decisions = sorted(name for name in there if re.match(r"decisions/\d", name))

    assert set(named) == there
    assert [int(name.split("/")[1][:4]) for name in decisions] == list(range(1, len(decisions) + 1))
    assert [name for name in there - {"index.md"} if f"({name})" not in page("index.md")] == []


def test_the_contents_and_the_navigation_have_the_same_groups() -> None:
    sections = page("index.md").split("\n## ")[1:]
    in_contents = {
        section.partition("\n")[0]: re.findall(r"\]\(([^)]+\.md)\)", section) for section in sections
    }
    groups = re.findall(r"^  - (.+):\n((?:      .*\n)+)", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    in_navigation = {heading: re.findall(r": (\S+\.md)$", text, re.MULTILINE) for heading, text in groups}

    assert in_contents == in_navigation
    named = [name for names in in_contents.values() for name in names]
    assert len(named) == len(set(named))
