"""The command line: words in, text or JSON out, and an exit code that tells a program what happened."""

import csv
import io
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from tests.running import CONFIG, ENVIRONMENT, KEY, S2S_TOKEN, WEBHOOK_SECRET

from lendsignal import __version__
from lendsignal.cli import main
from lendsignal.destination import registry
from lendsignal.log import Quarantined, open_log

MAP = """\
[constant]
brand    = "acme"
currency = "NGN"

[file.loans]
match = "loans*.csv"

[column.at]
kind     = "time"
timezone = "Africa/Lagos"

[column.amount]
kind = "number"

[[event]]
type = "disbursed"
[event.columns]
user_id     = "user"
loan_id     = "loan"
occurred_at = "at"
amount      = "amount"
"""
LOANS = """\
user,loan,at,amount
u1,L1,2026-02-01 10:15:00,25000
u2,L2,2026-02-03 11:30:00,31000
u1,L3,2026-03-05 09:45:00,40000
u3,L4,yesterday,12000
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, where the commands are called."""
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    (tmp_path / "lendsignal.toml").write_text(text)
    (tmp_path / "map.toml").write_text(MAP)
    (tmp_path / "loans.csv").write_text(LOANS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str, code: int = 0) -> Result:
    """A command that ends with that code; only text for people holds a traceback."""
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == code, found.output
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def as_json(*words: str, code: int = 0) -> Any:
    """What a program reads on standard output."""
    return json.loads(call(*words, "--json", code=code).stdout)


# every verb


def verbs(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, verb in group.commands.items():
        yield (*words, name)
        if isinstance(verb, click.Group):
            yield from verbs(verb, (*words, name))


@pytest.mark.parametrize("words", list(verbs(main)), ids=" ".join)
def test_every_verb_explains_itself(words: tuple[str, ...]) -> None:
    found = call(*words, "--help")

    assert found.stdout.startswith(f"Usage: main {' '.join(words)}")
    first = found.stdout.split("\n\n")[1].strip()
    assert re.match(r"[A-Z].{15,}", first), "a sentence says what it does"
    assert found.stderr == ""


def test_the_verbs_of_this_part_are_there() -> None:
    wanted = "demo run check status import generate explain quarantine report destinations sandbox bench"

    assert {*wanted.split(), "keys", "schema"} <= set(main.commands)
    assert set(main.commands["report"].commands) >= {"funnel", "bindings", "delivery"}  # type: ignore[attr-defined]


def test_a_lender_is_made_up_with_as_many_users_as_are_wanted(tmp_path: Path) -> None:
    made = call("generate", "--out", str(tmp_path / "lender"), "--users", "30", "--json")

    assert json.loads(made.stdout)["users"] == 30


def test_the_version_is_told() -> None:
    assert call("--version").stdout == f"lendsignal, version {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("nope",),
        ("check", "--nope"),
        ("run", "--roles", "core,postman"),
        ("run", "--roles", ","),
        ("run", "--set", "port"),
        ("import",),
        ("import", "loans.csv"),
        ("import", "missing.csv", "--map", "map.toml"),
        ("import", "loans.csv", "--map", "map.toml", "--send-since", "yesterday"),
        ("import", "loans.csv", "--map", "map.toml", "--send-since", "2026-01-01T00:00:00"),
        ("schema", "nothing"),
        ("report", "funnel", "--by", "colour"),
        ("demo", "--for", "a while"),
        ("quarantine", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_words_that_make_no_sense_end_with_2_and_say_why(here: Path, words: tuple[str, ...]) -> None:
    found = call(*words, code=2)

    assert found.stdout == ""
    assert "rror: " in found.stderr
    assert not (here / "data").exists(), "nothing was begun"


# check


def test_a_configuration_that_can_be_used_is_said_to_be(here: Path) -> None:
    found = call("check")

    assert "ok: 1 apps, 2 destinations, 3 routed conversions" in found.stdout
    assert "secret   destination.appsflyer-ng.token is set" in found.stdout
    for value in (KEY, S2S_TOKEN, WEBHOOK_SECRET):
        assert value not in found.output
    assert not (here / "data").exists()


def test_a_program_learns_which_secrets_are_set(here: Path) -> None:
    found = as_json("check")

    assert {key: found[key] for key in ("ok", "problems", "warnings", "secrets")} == {
        "ok": True,
        "problems": [],
        "warnings": [],
        "secrets": {
            "destination.appsflyer-ng.token": True,
            "destination.warehouse.secret": True,
            "source.backend.key": True,
        },
    }


def spoilt(here: Path) -> None:
    path = here / "lendsignal.toml"
    text = path.read_text()
    for old, new in (
        ('platform = "android"', 'platform = "andriod"'),
        ("[web]", "[web]\nprot = 1"),
        ('kind  = "appsflyer"', 'kind  = "appsflier"'),
        ('disbursement = "ev_ln", registration', 'disbursment = "ev_ln", registration'),
        ('{ env = "ACME_HOOK" }', '{ env = "NOT_SET_ANYWHERE" }'),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_every_mistake_is_named_at_once_with_its_line_and_the_nearest_word(here: Path) -> None:
    spoilt(here)
    found = as_json("check", code=2)

    problems = {one["key"]: one for one in found["problems"]}
    assert found["ok"] is False
    assert {key: one["nearest"] for key, one in problems.items()} == {
        "app.acme-ng.platform": "android",
        "web.prot": "port",
        "destination.appsflyer-ng.kind": "appsflyer",
        "route[1].send.disbursment": "disbursement",
        "destination.warehouse.secret": None,
    }
    lines = (here / "lendsignal.toml").read_text().splitlines()
    for key, word in (
        ("app.acme-ng.platform", "andriod"),
        ("web.prot", "prot"),
        ("route[1].send.disbursment", "disbursment"),
    ):
        number = int(re.search(r"line (\d+)", problems[key]["origin"])[1])  # type: ignore[index]
        assert word in lines[number - 1]


def test_people_read_the_same_mistakes_one_a_line(here: Path) -> None:
    spoilt(here)
    found = call("check", code=2)

    lines = found.stderr.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("error: ") and "; allowed: " in line for line in lines)
    assert found.stdout == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "No such file or directory"), ("= no TOML", "not TOML"), (b"\xff\xfe", "no UTF-8 text")],
)
def test_a_file_that_cannot_be_read_is_a_mistake_like_any_other(
    here: Path, text: str | bytes | None, said: str
) -> None:
    path = here / "lendsignal.toml"
    path.unlink()
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    assert said in call("check", code=2).stderr
    assert said in as_json("check", code=2)["problems"][0]["found"]


def test_the_configuration_may_be_named_by_the_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "lendsignal.toml").rename(here / "other.toml")
    monkeypatch.setenv("LENDSIGNAL_CONFIG", "other.toml")

    assert as_json("check")["ok"]


# keys, destinations, schema


def test_a_new_key_is_shown_once_with_what_the_configuration_keeps_of_it() -> None:
    found, other = (as_json("keys", "new", "backend", "--print") for _ in range(2))

    assert found["source"] == "backend"
    assert re.fullmatch(r"ls_[\w-]{43}", found["key"])
    assert found["key_sha256"] == sha256(found["key"].encode()).hexdigest()
    assert found["key"] != other["key"]


def test_what_is_printed_for_people_is_a_configuration_that_works(here: Path) -> None:
    shown = call("keys", "new", "backend", "--print").stdout
    table = shown.partition("configuration:")[2]
    path = here / "lendsignal.toml"
    path.write_text(path.read_text().replace('[source.backend]\nkey = { env = "ACME_KEY" }', table))

    assert as_json("check")["ok"]


def test_every_platform_is_listed_with_the_facts_a_program_may_need() -> None:
    found = as_json("destinations")

    assert [one["kind"] for one in found] == list(registry())
    for one in found:
        assert set(one) == {
            "kind", "label", "batch", "batch_by", "window", "late", "order", "value", "dedupe", "corrections",
            "ids", "auth", "per_second", "fields", "source", "date",
        }  # fmt: skip
        assert one["source"].startswith("https://")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", one["date"])
        assert one["late"] in ("send", "skip")
    kinds = {one["kind"]: one for one in found}
    assert kinds["meta"]["batch"] == 1_000
    assert kinds["ga4"]["batch"] == 25
    assert kinds["ga4"]["batch_by"] is not None
    assert kinds["appsflyer"]["ids"] == ["appsflyer_id"]
    assert kinds["ga4"]["window"] == "3d"
    assert (kinds["adjust"]["order"], kinds["webhook"]["order"]) == ("restamp", "send")
    assert kinds["meta"]["order"] is None


def test_people_see_one_line_a_platform() -> None:
    lines = call("destinations").stdout.splitlines()

    assert [line.split()[0] for line in lines] == list(registry())


SCHEMA_TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}


@pytest.mark.parametrize("what", ["config", "events"])
def test_a_schema_is_a_whole_json_schema_document(what: str) -> None:
    schema = json.loads(call("schema", what).stdout)

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    seen = list(parts(schema))
    assert len(seen) > 50
    for part in seen:
        if "$ref" in part:
            assert part["$ref"].removeprefix("#/$defs/") in schema["$defs"]
        kinds = part.get("type", [])
        assert set([kinds] if isinstance(kinds, str) else kinds) <= SCHEMA_TYPES
        assert set(part.get("required", [])) <= set(part.get("properties", {}))
        if "pattern" in part:
            re.compile(part["pattern"])
        for choice in ("anyOf", "oneOf"):
            assert part.get(choice, [{}])


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema: names of properties are no keywords."""
    if isinstance(schema, bool):
        return
    yield schema
    for name in ("properties", "$defs", "patternProperties"):
        for below in schema.get(name, {}).values():
            yield from parts(below)
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for below in schema.get(name, []):
            yield from parts(below)
    for name in ("items", "additionalProperties", "propertyNames", "not"):
        if name in schema:
            yield from parts(schema[name])


def test_the_schema_of_the_configuration_knows_each_platforms_own_keys() -> None:
    schema = json.loads(call("schema", "config").stdout)

    kinds = schema["$defs"]["Settings"]["properties"]["destination"]["additionalProperties"]["oneOf"]
    assert {kind["properties"]["kind"]["const"] for kind in kinds} == set(registry())
    (appsflyer,) = (kind for kind in kinds if kind["title"] == "appsflyer")
    assert {"token", "app", "timeout", "on_unknown"} <= set(appsflyer["properties"])
    assert {"token", "app", "kind"} <= set(appsflyer["required"])


# import


def test_a_dry_run_counts_and_names_what_is_odd_and_changes_nothing(here: Path) -> None:
    found = as_json("import", "loans.csv", "--map", "map.toml", "--dry-run")

    assert found["events"] == {"disbursed": 3}
    assert found["users"] == 2
    shown = call("import", "loans.csv", "--map", "map.toml", "--dry-run").stdout
    assert "3  disbursed" in shown
    assert "loans.csv row 4 (line 5): disbursed: at must be written" in shown
    assert "yesterday" not in shown
    assert not (here / "data").exists()


def test_an_import_fills_the_log_once_and_sends_nothing(here: Path) -> None:
    first = as_json("import", "loans.csv", "--map", "map.toml")
    again = as_json("import", "loans.csv", "--map", "map.toml")

    assert first["appended"] == {"disbursed": 3}
    assert first["refused"] == 1
    assert again["appended"] == {}
    now = as_json("status")
    assert (now["decided"], now["waiting"]) == (now["events"], {})


def test_people_are_told_what_an_import_came_to(here: Path) -> None:
    assert "3  events imported" in call("import", "loans.csv", "--map", "map.toml").stdout
    assert "nothing is added" in call("import", "loans.csv", "--map", "map.toml").stdout


# looking


@pytest.fixture
def lender(here: Path) -> Path:
    """A folder with three imported loans and one refusal."""
    call("import", "loans.csv", "--map", "map.toml")
    return here


def test_status_is_told_to_people(lender: Path) -> None:
    said = call("status").stdout

    assert re.search(r"^events +\d+ in the log, \d+ decided$", said, re.MULTILINE)
    assert said.splitlines()[-1] in ("idle", "busy")


@pytest.mark.parametrize("words", [("status",), ("quarantine",)], ids=" ".join)
def test_where_there_is_no_data_that_is_said_and_the_code_is_1(here: Path, words: tuple[str, ...]) -> None:
    found = call(*words, code=1)

    assert found.stdout == ""
    assert found.stderr.startswith("error: ")


@pytest.mark.parametrize("name", ["funnel", "bindings", "delivery"])
def test_every_report_is_text_json_or_csv(lender: Path, name: str) -> None:
    found = as_json("report", name)
    text = call("report", name).stdout
    tables = call("report", name, "--csv").stdout

    assert found
    assert len(text.splitlines()) > 3
    assert tables.startswith("# ")
    for table in re.split(r"^# .*\n", tables, flags=re.MULTILINE)[1:]:
        rows = [row for row in csv.reader(io.StringIO(table.strip())) if row]
        assert len({len(row) for row in rows}) == 1, "every row has the same number of cells"


def test_the_funnel_counts_the_loans(lender: Path) -> None:
    assert "disbursed" in call("report", "funnel").stdout
    assert '"disbursed"' in json.dumps(as_json("report", "funnel"))


def test_one_user_and_one_event_are_explained(lender: Path) -> None:
    user = as_json("explain", "acme:u1")
    log = open_log(lender / "data" / "log.sqlite", read_only=True)
    try:
        (event,) = (fact.event for fact in log.scan() if fact.event.loan_id == "L2")
    finally:
        log.close()

    assert user["kind"] == "user"
    assert as_json("explain", event.event_id)["kind"] == "event"
    said = call("explain", event.event_id).stdout
    assert "L2" in said
    assert "disbursement" in said


def test_nobody_of_that_name_is_code_1(lender: Path) -> None:
    found = as_json("explain", "nobody", code=1)

    assert found["kind"] == "nothing"


def test_what_was_refused_is_shown_youngest_first(lender: Path) -> None:
    log = open_log(lender / "data" / "log.sqlite")
    try:
        refused = Quarantined(
            received_us=1_795_000_000_000_000,
            source="backend",
            field="amount",
            rule="must be more",
            body=b"{}",
        )
        log.refuse([refused])
    finally:
        log.close()
    found = as_json("quarantine")

    assert found["events"][0]["field"] == "amount"
    assert {(one["field"], one["rule"]): one["n"] for one in found["counts"]}["amount", "must be more"] == 1
    assert len(found["events"]) == 2
    assert len(as_json("quarantine", "--limit", "1")["events"]) == 1
    assert "amount: must be more" in call("quarantine").stdout


# settings for one run


def test_a_key_may_be_set_for_one_run_at_any_depth(here: Path) -> None:
    wrong = [
        "--set",
        "door.port=99999",
        "--set",
        "destination.warehouse.url=ftp://x",
        "--set",
        "web.nope.deep=1",
    ]
    found = call("run", *wrong, code=2)

    assert "door.port" in found.stderr
    assert "destination.warehouse" in found.stderr
    assert "web.nope" in found.stderr


def test_a_key_below_one_that_is_no_table_is_a_mistake_not_a_crash(here: Path) -> None:
    found = call("run", "--set", "portfolio.name.first=acme", code=2)

    assert "portfolio.name.first" in found.stderr
