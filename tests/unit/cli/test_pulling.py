"""The verbs of what we fetch ourselves, and its tables in the configuration."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.running import CONFIG, ENVIRONMENT

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.errors import ConfigError
from lendsignal.log import DataFolder, open_log

LOGINS = """
[pull.logins]
kind   = "files"
folder = "drop"
match  = "*.jsonl"
settle = "0s"

[pull.later]
kind    = "sql"
url     = "postgresql+psycopg://reader@127.0.0.1:1/loans"
outbox  = "outbox"
enabled = false
"""

EVENTS = (
    '{"type":"registered","brand":"acme","user_id":"u1","occurred_at":"2026-03-01T10:00:00Z",'
    '"email":"ada@example.com"}\n'
    '{"type":"registered","brand":"acne","user_id":"u2","occurred_at":"2026-03-01T10:00:00Z"}\n'
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and two events, where the commands are called."""
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    configured(tmp_path, LOGINS)
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.jsonl").write_text(EVENTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configured(folder: Path, more: str) -> Path:
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    path = folder / "lendsignal.toml"
    path.write_text(text + more)
    return path


def call(*words: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == code, found.output
    return found


def test_a_dry_run_shows_the_events_and_keeps_nothing(here: Path) -> None:
    told = call("pull", "logins", "--dry-run").stdout
    found = json.loads(call("pull", "logins", "--dry-run", "--json").stdout)

    assert "a.jsonl row 1" in told
    assert "REFUSED            brand: is not one of yours" in told
    assert "ada@example.com" not in told + json.dumps(found)
    assert [one["event"]["user_id"] for one in found["events"]] == ["u1", "u2"]
    assert ["refused" in one for one in found["events"]] == [False, True]
    assert not (here / "data" / "pulls.sqlite").exists()
    assert not (here / "data" / "log.sqlite").exists()


def test_once_reads_to_the_end_decides_and_ends(here: Path) -> None:
    state = json.loads(call("pull", "logins", "--once", "--json").stdout)
    again = json.loads(call("pull", "logins", "--once", "--json").stdout)
    log = open_log(here / "data" / "log.sqlite", read_only=True)
    events = [fact.event for fact in log.scan() if fact.event.source]
    decided = log.position() >= log.end()
    log.close()

    assert (state["rows"], state["events"], state["refused"]) == (2, 1, 1)
    assert (again["rows"], again["events"], again["refused"]) == (2, 1, 1)
    assert [(one.source, one.user_id, one.history) for one in events] == [("logins", "u1", True)]
    assert decided


def test_a_pull_that_the_service_reads_is_not_read_beside_it(here: Path) -> None:
    with DataFolder(here / "data").lock("pull"):
        found = call("pull", "logins", "--once", code=1)

    assert "another lendsignal process already does 'pull'" in found.stderr


def test_what_cannot_be_read_is_said_in_a_sentence(here: Path) -> None:
    found = call("pull", "later", "--dry-run", code=1)

    assert "unreachable: the database does not answer" in found.stderr


def test_a_name_that_is_not_there_and_a_call_that_says_nothing_are_usage_errors(here: Path) -> None:
    assert "there is logins, later" in call("pull", "login", "--once", code=2).stderr
    assert "--dry-run to look" in call("pull", "logins", code=2).stderr


def test_status_and_doctor_say_how_pulls_stand(here: Path) -> None:
    call("pull", "logins", "--once")
    status = json.loads(call("status", "--json").stdout)
    findings = json.loads(call("doctor", "--json", code=1).stdout)["findings"]
    told = [one for one in findings if one["check"] == "pulls"]

    assert [(one["name"], one["rows"]) for one in status["pulls"]] == [("logins", 2)]
    assert "2 rows, 1 events, 1 in quarantine" in call("status").stdout
    assert [(one["level"], one["found"]) for one in told] == [
        ("act", "nobody reads logins"),
        ("ok", "logins: 2 rows, 1 events, 1 in quarantine"),
    ]


def test_the_sql_of_an_outbox_is_printed_for_each_database() -> None:
    assert "pg_current_xact_id()" in call("outbox", "--dialect", "postgresql").stdout
    assert "create table my_events (" in call("outbox", "--dialect", "mariadb", "--table", "my_events").stdout


# the configuration


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[pull.loans]\nkind = "sq"\n', "pull.loans.kind"),
        ('[pull.loans]\nkind = "files"\nfolder = "x"\nfolders = "y"\n', "pull.loans.folders"),
        ('[pull.backend]\nkind = "files"\nfolder = "x"\n', "pull.backend"),
        ('[pull."Loans 1"]\nkind = "files"\nfolder = "x"\n', 'pull."Loans 1"'),
        (
            '[pull.loans]\nkind = "sql"\nurl = "postgresql://a@b/c"\noutbox = "x"\n'
            'password = { env = "NOT_SET_ANYWHERE" }\n',
            "pull.loans.password",
        ),
        (
            '[pull.loans]\nkind = "sql"\nurl = "postgresql://a@b/c"\nquery = "select 1"\ncursor = "n"\n'
            '[[pull.loans.event]]\ntype = "disbursed"\n',
            "pull.loans.event[0].columns",
        ),
    ],
)
def test_a_mistake_in_a_pull_is_named_by_its_key(here: Path, more: str, key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configuration.load(configured(here, more))

    assert key in [one.key for one in raised.value.problems]


def test_a_lender_who_only_pulls_is_not_told_that_nobody_can_send(here: Path) -> None:
    path = configured(here, LOGINS)
    text = path.read_text()
    start, end = text.index("[source.backend]"), text.index("[resolve]")
    path.write_text(text[:start] + text[end:])

    assert [one for one in configuration.load(path).warnings if "nobody can send" in one] == []


# a table of users and devices


def test_a_table_of_devices_is_imported_by_its_headings(here: Path) -> None:
    (here / "devices.csv").write_text(
        "Customer User ID,AppsFlyer ID,Advertising ID,Last Login\n"
        "u1,1700000000001-1000001,38400000-8cf0-11bd-b23e-10b96e40000d,2026-05-01 10:00:00\n"
    )
    words = ("import", "touches", "devices.csv", "--brand", "acme", "--timezone", "Africa/Lagos")
    looked = call(*words, "--dry-run").stdout
    found = json.loads(call(*words, "--json").stdout)

    assert "AppsFlyer ID                 device.appsflyer_id" in looked
    assert found["appended"] == {"logged_in": 1}


def test_a_table_for_a_brand_that_is_not_there_is_refused(here: Path) -> None:
    (here / "devices.csv").write_text("user_id,gaid,seen_at\n")

    assert "there is acme" in call("import", "touches", "devices.csv", "--brand", "acne", code=2).stderr
