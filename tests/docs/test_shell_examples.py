"""Every shell example of the pages runs: before a made-up lender, or beside a running service.

What is not listed in `NOT_RUN`, with its reason, is run and must end with 0, or with what `ENDS_WITH` says.
"""

import http.client
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.commands import Shell, commands_in, tools
from tests.docs.shell_lender import SECRETS, prepared
from tests.running import PATIENCE, call, free_port, until

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])

ELSEWHERE = {
    "docs/tutorials/which-campaign.md": "tests/docs/test_which_campaign.py runs it and compares what it says",
}
"""Pages whose commands another test runs."""

NOT_RUN = {
    r"^systemctl |^useradd |^install -": "changes the machine itself",
    r"^docker ": "needs Docker; tests/unit/test_deploy_files.py reads the file",
    r"^kubectl ": "needs a cluster; tests/unit/test_deploy_files.py checks the manifests",
    r"^kafka-(topics|acls|console-consumer) ": "needs the brokers' own tools and a TLS broker",
    r"^litestream ": "needs litestream and a bucket",
    r"^(/opt/\S*/)?pip install|^/opt/|^python3 -m venv /opt": "installs from a registry",
    r"^sqlite3 |apsw data/log.sqlite": "needs sqlite3's shell, on a damaged file",
    r"^\. \.venv/bin/activate|^mkdir -p \.\./|^cd \.\./": "the test's folder is ready",
    r"^\.venv/bin/(pytest|ruff|mypy|python docs)|^\.venv/bin/mypy|^pytest ": "is CI itself",
    r"^\.venv/bin/lendsignal --version": "that of this checkout, which `lendsignal --version` is here",
    r"^make ": "a suite of minutes; test_documentation.py knows that there is such a target",
    r"^lendsignal bench|lendsignal\.bench\.publish": "minutes of a machine; tests/scenario/test_bench.py",
    r"^lendsignal simulate --strategy": "minutes; tests/unit/cli runs a small market",
    r"^lendsignal demo": "tests/scenario/test_demo.py",
    r"^\.venv/bin/python play\.py": "a replay of months; `make whole`",
    r"^lendsignal import (spend|attribution) ": "needs the platform's export; tests/unit/source reads such",
    r"^lendsignal store ": "needs a PostgreSQL; tests/scenario/test_nodes_of_a_cluster.py",
    r"^lendsignal migrate-store": "needs a PostgreSQL; tests/contract/test_moving_to_a_cluster.py",
    r"^python examples/superlender/value": "needs that data; tests/scenario/test_superlender_value.py",
    r"^lendsignal pull ": "needs a database, bucket or broker; tests/scenario/test_pulls_of_the_service.py",
    r"^lendsignal value (train|evaluate|parity)": "takes long; tests/scenario/test_superlender_value.py",
    r"^lendsignal audience look-alike": "asks the platform; tests/scenario/test_audience_platforms.py",
    r"^lendsignal send .*--(test|validate)": "asks the platform; tests/scenario/test_send.py, the sandbox",
    r"^lendsignal alerts test": "tells a person; tests/scenario/test_alerts_of_the_service.py",
    r"^find /mnt": "deletes copies of two weeks ago",
    r"^lendsignal (--log-format json )?(run|sandbox)\b|-m lendsignal\.sandbox": (
        "runs until it is stopped: it does so beside the pages that need a service"
    ),
    r"^chmod 600 google.json": "needs a file of Google's",
}
"""Commands that are not run here, by how they begin, each with its reason."""

ENDS_WITH: Mapping[str, tuple[int, ...]] = {
    r"^lendsignal keys revoke ": (1,),  # the page's key is none of this lender's
    r"^lendsignal restore .*--erasures": (2,),  # nobody was erased, so there is no such file
    r"^lendsignal alerts health": (0, 1),  # no page ever looked
    r"^lendsignal restore [^ ]+$": (1,),  # the data folder is there, and the page says what to do then
    r"^lendsignal advise events .*--chart": (1,),  # so small a lender has no picture
    r"^lendsignal advise events --values": (2,),  # no model has written values.csv
    r"^lendsignal advise holdout plan": (1,),  # nobody of so small a lender borrowed again
    r"^lendsignal value |^lendsignal proxy ": (0, 1),  # so small a lender has no model
    r"^lendsignal advise bids (audit|accept|decline) ": (
        1,
    ),  # the page's proposals are none of this lender's
    r"^lendsignal alerts silence|^lendsignal audience retire": (2,),  # no such alarm, no such list
    r"^lendsignal dead (show|release) ": (1,),  # nothing is dead here
    r"^lendsignal replay |^lendsignal quarantine (mend|release)": (0, 1),  # nothing is as the filter says
    r"^lendsignal erase --receipt ": (1,),  # the page's number is none of this lender's
    r"^lendsignal cancel ": (0, 1),  # nothing waits, or nobody to ask
    r"^lendsignal compare .*--recorded": (2,),  # no feed of AppsFlyer's is set up here
    r"^lendsignal (compare|plan|report reconcile) ": (0, 1, 3),  # what differs is told by the code
    r"^lendsignal doctor$": (0, 1),  # the platforms cannot be reached from here
    r"^kill -9 ": (0, 1),  # who types so fast meets a role that is just being renewed
}
"""Commands that end with another code than 0, by how they begin; the first that fits holds."""


class Example(NamedTuple):
    """One command of a block."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.splitlines()[0][:90]}"


def examples_of(page: Path) -> Iterator[Example]:
    text, name = page.read_text(), str(page.relative_to(ROOT))
    for found in re.finditer(r"^( *)```(?:sh|bash)\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, found.start()) + 1
        for one in commands_in(textwrap.dedent(found[2])):
            yield Example(name, line, one)


EXAMPLES = [one for page in PAGES for one in examples_of(page)]


def reason(one: Example) -> str | None:
    """Why it is not run here."""
    found = [why for begins, why in NOT_RUN.items() if re.search(begins, one.text)]
    return ELSEWHERE.get(one.page) or (found[0] if found else None)


def test_there_are_examples_and_every_mark_is_used() -> None:
    unused = [begins for begins in NOT_RUN if not any(re.search(begins, one.text) for one in EXAMPLES)]
    unused += [begins for begins in ENDS_WITH if not any(re.search(begins, one.text) for one in EXAMPLES)]

    assert unused == []
    assert len([one for one in EXAMPLES if reason(one) is None]) > 200


class Reading:
    """Somebody who types what the pages say; `changed`: the pages' words, and what they are here."""

    def __init__(self, shell: Shell, changed: Mapping[str, str]) -> None:
        self._shell, self._changed = shell, changed
        self._ran: set[str] = set()

    def failed(self, examples: Sequence[Example]) -> list[str]:
        """What ended otherwise than it should, with what it said. What stands on several pages runs once."""
        found = []
        for one in examples:
            text = one.text
            for word, instead in self._changed.items():
                text = text.replace(word, instead)
            shape = shape_of(text)
            if shape in self._ran:
                continue
            self._ran.add(shape)
            code, said = self._shell.run(text)
            fits = (codes for begins, codes in ENDS_WITH.items() if re.search(begins, one.text, re.DOTALL))
            if code not in next(fits, (0,)) or "Traceback" in said:
                found.append(f"{one}\n  ended with {code}: {said[-600:]}")
        return found


def shape_of(text: str) -> str:
    """What makes a command another one than those that ran already. Of reports and advice each runs once:
    their options are known to test_documentation.py, and tried where they are made."""
    words = text.split()
    return " ".join(words[:3]) if words[1:2] in (["report"], ["advise"]) else text


SERVICE_PAGES = (
    "docs/tutorials/first-lender.md",
    "README.md",
    "docs/how-to/send-events.md",
    "docs/how-to/keys-for-sources.md",
    "docs/how-to/run-the-service.md",
    "docs/how-to/watch-the-service.md",
    "docs/how-to/connect-the-client-relay.md",
    "docs/how-to/capture-ids-at-login.md",
    "docs/how-to/explain-an-event.md",
    "docs/how-to/join-a-persons-users.md",
    "docs/how-to/go-live-safely.md",
    "docs/how-to/pause-and-resume.md",
    "docs/how-to/mend-the-quarantine.md",
    "docs/how-to/read-the-dead.md",
    "docs/how-to/replay-a-day.md",
    "docs/how-to/fetch-reports.md",
    "docs/how-to/use-a-segment-sdk.md",
    "docs/how-to/erase-a-person.md",
    "docs/how-to/use-the-sandbox.md",
    "docs/tutorials/on-duty.md",
)
"""Pages whose commands need a running service, in this order; the others run before a lender at rest."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where `lendsignal` is, for a shell."""
    with tools(tmp_path_factory.mktemp("tools") / "bin") as found:
        yield found


@pytest.fixture(scope="module")
def at_rest(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    """Who reads at the lender's that no service runs for."""
    folder = tmp_path_factory.mktemp("lender")
    changed = {
        "/mnt/copies": str(folder / "copies"),
        "--config /etc/lendsignal/lendsignal.toml": "--config lendsignal.toml",
        "generate --out lender --seed 1": "generate --out another --seed 1 --parameters small.toml",
        "--parameters small.toml --parameters mine.toml": "--parameters mine.toml",
    }
    return Reading(prepared(Shell(folder, path, SECRETS)), changed)


@pytest.fixture(scope="module")
def beside_a_service(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """Who reads where the tutorial's service runs."""
    known = {"LENDSIGNAL_BACKEND_KEY": KEY, "ACME_KEY": KEY, "KEY": OFFICE, "SALT": "00"}
    shell = Shell(tmp_path_factory.mktemp("service"), path, known)
    with running_tutorial(shell) as changed:
        yield Reading(shell, changed)


RUN = [one for one in EXAMPLES if reason(one) is None]
AT_REST = sorted({one.page for one in RUN} - set(SERVICE_PAGES))


@pytest.mark.parametrize("page", AT_REST)
def test_every_example_for_a_lender_at_rest_runs(page: str, at_rest: Reading) -> None:
    found = at_rest.failed([one for one in RUN if one.page == page])

    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", SERVICE_PAGES)
def test_every_example_beside_a_running_service_runs(page: str, beside_a_service: Reading) -> None:
    found = beside_a_service.failed([one for one in RUN if one.page == page])

    assert not found, "\n".join(found)


KEY = "tutorial-backend-key"

MORE = """
[door]
port = DOOR

[web]
port = WEB
open = true

[source.app]

[source.reporting]
scopes = ["read"]

[source.office]
key    = { env = "LENDSIGNAL_OFFICE_KEY" }
scopes = ["admin"]

[destination.warehouse]
kind   = "webhook"
app    = "acme-ng"
url    = "https://hooks.acme.example/in"
secret = { env = "ACME_HOOK" }

[destination.relay-ng]
kind   = "relay"
app    = "acme-ng"
secret = { env = "ACME_RELAY_SECRET" }

[[route]]
to   = "relay-ng"
send = { disbursement = "ev_ln" }
"""
"""What the other pages name beside the tutorial's lender."""


@contextmanager
def running_tutorial(shell: Shell) -> Iterator[Mapping[str, str]]:
    """The tutorial's lender, its stand-ins and its service; what its words are here."""
    door, web, sandbox = free_port(), free_port(), free_port()
    page = (ROOT / SERVICE_PAGES[0]).read_text()
    changed = {
        "8321": str(door),
        "8322": str(web),
        "8900": str(sandbox),
        "quarantine show 415": "quarantine show 1",
    }
    shell.export(ACME_HOOK="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", LENDSIGNAL_OFFICE_KEY=OFFICE)
    shell.export(ACME_RELAY_SECRET="made-up-signing-secret-of-32-characters")
    for name, text in re.findall(r"Save this as `([\w.]+\.toml)`.*?```toml\n(.*?)^```$", page, re.S | re.M):
        text += MORE.replace("DOOR", str(door)).replace("WEB", str(web)) if name == "lendsignal.toml" else ""
        (shell.folder / name).write_text(text.replace("8900", str(sandbox)))
    secrets = next(
        one.text for one in EXAMPLES if one.page == SERVICE_PAGES[0] and "mkdir -p secrets" in one.text
    )
    assert shell.run(secrets)[0] == 0
    for one in EXAMPLES:
        if one.page == SERVICE_PAGES[0] and "> secrets/" in one.text:
            assert shell.run(one.text)[0] == 0
    words = [sys.executable, "-m", "lendsignal"]
    sandbox_words = [*words, "sandbox", "--settings", "sandbox.toml", "--port", str(sandbox)]
    with beside(shell, sandbox_words), beside(shell, [*words, "run"]):
        until(lambda: is_ready(f"127.0.0.1:{door}"), f"the service of {shell.folder} is ready")
        until(lambda: is_ready(f"127.0.0.1:{sandbox}", "/_sandbox/summary"), "the stand-ins listen")
        for event in PRIMED:
            assert call(f"127.0.0.1:{door}", "POST", "/v1/events", event, Authorization=f"Bearer {KEY}")[
                0
            ] in (202, 422)
        yield changed


OFFICE = "made-up-key-of-the-office"

PRIMED = (
    b'{"type":"credit_granted","brand":"acme","user_id":"u-88231","grant_id":"G1","event_id":"evt-7f3a",'
    b'"occurred_at":"2026-11-22T09:00:00Z"}',
    b'{"type":"applied","brand":"acme","user_id":"u1","application_id":"A1","occurred_at":"2026-11-22T09:00:00Z"}',
    b'{"type":"disbursed","brand":"acme","user_id":"u-9","loanId":"L9","occurred_at":"2026-11-22T09:00:00Z"}',
)
"""What pages ask about: an event, a user, and one that the door refuses."""


@contextmanager
def beside(shell: Shell, words: Sequence[str]) -> Iterator[None]:
    """A process that runs until the block ends."""
    with (shell.folder / f"said-{words[3]}").open("wb") as said:
        process = subprocess.Popen(
            words, cwd=shell.folder, env=shell.env, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


def is_ready(address: str, page: str = "/readyz") -> bool:
    """Whether it answers."""
    try:
        return call(address, "GET", page)[0] == 200
    except (OSError, http.client.HTTPException):
        return False
