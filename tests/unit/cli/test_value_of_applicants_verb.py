"""`value train --at apply`: applicants are among those who are valued where it is asked for."""

import csv
import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.acme import DAY, again, event, loan, login, us
from tests.running import CONFIG, ENVIRONMENT

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_log
from lendsignal.model import Event

APPLICANTS = 120


class Late:
    """A clock that stands at day 90."""

    replay = True

    def now_us(self) -> int:
        return us(90 * DAY)


def applicant(number: int) -> list[Event]:
    """Every second one is granted, and borrows."""
    name, at = f"u{number}", number * 8 * 60
    about: dict[str, Any] = {"user_id": name, "currency": "NGN"}
    told = [
        event("registered", at - 2, user_id=name, event_id=f"reg-{name}"),
        again(login(at - 1, f"p{number}"), user_id=name, event_id=f"in-{name}"),
        event("applied", at, event_id=f"asks-{name}", application_id=f"A-{name}", term_days=14, **about),
    ]
    if number % 2:
        told += [
            event("credit_granted", at + 5, event_id=f"grant-{name}", grant_id=f"G-{name}", **about),
            loan(at + 9, f"L-{name}", amount=Decimal(1_000), fee=Decimal(100), term_days=14, **about),
        ]
    return told


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    text = CONFIG.format(door=8331, web=8332, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    text += '\n[value]\nhorizon = "30d"\ngrace = "5d"\nprior = { NGN = 80.0 }\n'
    (tmp_path / "lendsignal.toml").write_text(text)
    with closing(open_log(DataFolder(tmp_path / "data").log)) as log:
        events = [one for number in range(APPLICANTS) for one in applicant(number)]
        log.append(sorted(events, key=lambda one: one.received_at))
        policy = configuration.load(tmp_path / "lendsignal.toml").policy
        decider = Decider(log, policy, Late(), lambda: None)
        while decider.turn():
            pass
    return tmp_path


def call(*words: str) -> str:
    found = CliRunner().invoke(main, ["value", *words])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_applicants_are_valued_where_it_is_asked_for_and_only_there(lender: Path) -> None:
    plain = json.loads(call("train", "--json"))
    whole = json.loads(call("train", "--at", "apply", "--json"))

    assert {one["moment"]: one["users"] for one in plain["evidence"]} == {
        "credit_granted": APPLICANTS // 2,
        "disbursed": APPLICANTS // 2,
    }
    assert {one["moment"]: one["users"] for one in whole["evidence"]} == {
        "applied": APPLICANTS,
        "credit_granted": APPLICANTS // 2,
        "disbursed": APPLICANTS // 2,
    }
    call("score", "--version", whole["version"], "--out", "values.csv")
    with (lender / "values.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["moment"] == "applied"]
    assert len(rows) == APPLICANTS
    # Nobody paid back; finance expects 80 of who is granted, and half of them are.
    granted = [float(row["predicted_value"]) for row in rows]
    assert max(granted) < 40
