"""`value train|evaluate|promote|score|history`: from loans in the log to a value that is sent."""

import csv
import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.acme import DAY, again, event, loan, login, moment, us
from tests.running import CONFIG, ENVIRONMENT

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.decide import Decider
from lendsignal.errors import ConfigError
from lendsignal.log import DataFolder, open_log
from lendsignal.model import Event
from lendsignal.plan import Planned

USERS, DAYS = 2_700, 150
"""So many users come evenly over so many days; the higher the score, the likelier they pay back."""

EMPLOYERS: tuple[dict[str, str], ...] = ({}, {"employer": "public"}, {"employer": "private"})
"""What the grants of every third user say."""

VALUE = '\n[value]\nhorizon = "30d"\ngrace = "5d"\nloan_cost = { NGN = 3.0 }\n'


class Hand:
    """A clock that the test sets."""

    replay = True

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes

    def now_us(self) -> int:
        return us(self.minutes)


def user(number: int, score: float, pays: bool, minutes: float) -> Iterator[Event]:
    name = f"u{number}"
    about: dict[str, Any] = {"user_id": name, "loan_number": 1, "currency": "NGN"}
    yield again(login(minutes - 1, f"p{number}"), user_id=name, event_id=f"in-{name}")
    yield event(
        "credit_granted",
        minutes,
        event_id=f"grant-{name}",
        grant_id=f"G-{name}",
        limit=Decimal(1_000),
        score=score,
        score_version="v1",
        properties=EMPLOYERS[number % 3],
        **about,
    )
    yield loan(
        minutes + 5,
        f"L-{name}",
        amount=Decimal(1_000),
        fee=Decimal(500),
        term_days=14,
        due_date=moment(minutes + 14 * DAY).date(),
        **about,
    )
    if pays:
        yield event(
            "repaid",
            minutes + 13 * DAY,
            event_id=f"paid-{name}",
            user_id=name,
            loan_id=f"L-{name}",
            payment_id=f"P-{name}",
            amount=Decimal(1_500),
            currency="NGN",
            outstanding=Decimal(0),
        )


def history() -> list[Event]:
    chance = np.random.default_rng(4)
    events: list[Event] = []
    for number in range(USERS):
        score = float(chance.normal(620, 60))
        pays = bool(chance.random() < 1 / (1 + np.exp(-(score - 490) / 60)))
        events += user(number, score, pays, number * DAYS * DAY / USERS)
    return sorted(events, key=lambda one: one.received_at)


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a configuration and five months of a lender."""
    here = tmp_path_factory.mktemp("lender")
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("LENDSIGNAL_CONFIG", raising=False)
        for name, value in ENVIRONMENT.items():
            patched.setenv(name, value)
        patched.chdir(here)
        text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
        line = 'send = { disbursement = "ev_ln" }\n'
        assert line in text
        routed = (
            'send = { disbursement = "ev_ln", first_loan = "ev_fl" }\nvalue = { first_loan = "predicted" }\n'
        )
        (here / "lendsignal.toml").write_text(text.replace(line, routed) + VALUE)
        tell(here, *history())
        yield here


def tell(here: Path, *events: Event) -> None:
    """Appends and decides as the service does."""
    with closing(open_log(DataFolder(here / "data").log)) as log:
        log.append(events)
        policy = configuration.load(here / "lendsignal.toml").policy
        decider = Decider(log, policy, Hand(DAYS * DAY), lambda: None)
        while decider.turn():
            pass


def call(*words: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == code, found.output
    return found


@pytest.fixture(scope="module")
def trained(lender: Path) -> dict[str, Any]:
    """What training says."""
    assert "was ever trained" in call("value", "history").output
    assert "there is no value model yet" in call("value", "promote", code=1).output
    return dict(json.loads(call("value", "train", "--json").stdout))


def test_a_model_is_trained_and_kept_with_its_users_and_its_evidence(
    lender: Path, trained: dict[str, Any]
) -> None:
    version = trained["version"]
    assert trained["passed"] == [["credit_granted", "NGN"], ["disbursed", "NGN"]]
    (one, _) = trained["evidence"]
    assert (one["users"], one["learned"]) == (USERS, "loans")
    # A loan that is paid back leaves 500 − 3, one that is not −1003.
    assert 0 < one["value"] < 497
    files = {path.name for path in (lender / "data" / "models" / "value" / version).iterdir()}
    assert {"model.json", "users-credit_granted-NGN.parquet", "loans-disbursed-NGN.parquet"} < files

    assert "credit_granted in NGN: " in call("value", "evaluate", "--chart", "c.svg").stdout
    assert "mean value, NGN" in (lender / "c.svg").read_text()


def test_a_promoted_model_values_the_users_who_come_from_then_on(
    lender: Path, trained: dict[str, Any]
) -> None:
    assert "would be in force" in call("value", "promote", "--dry-run").stdout
    assert json.loads(call("value", "history", "--json").stdout)["promoted"] == []
    call("value", "promote", trained["version"][:6])
    now = DAYS * DAY + 30
    tell(lender, *user(9_001, 740, False, now), *user(9_002, 380, False, now + 10))
    history_ = json.loads(call("value", "history", "--json").stdout)
    assert [each["version"] for each in history_["promoted"]] == [history_["in_force"]]

    with closing(open_log(DataFolder(lender / "data").log)) as log:
        told = {
            record.conversion.user_id: record.entries
            for _, record in log.records(0, 1_000_000)
            if isinstance(record, Planned) and record.conversion.name == "first_loan"
        }
    (good,), (bad,), (before,) = told["u9001"], told["u9002"], told["u7"]
    assert good.value is not None
    assert 100 < good.value.amount < 900
    assert (bad.value, bad.unvalued) == (None, True)
    assert (before.value, before.unvalued) == (None, True)


def test_every_user_is_scored_and_who_is_known_by_now_stands_beside_it(
    lender: Path, trained: dict[str, Any]
) -> None:
    scored = json.loads(
        call("value", "score", "--version", trained["version"], "--out", "v.csv", "--json").stdout
    )

    with (lender / "v.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert scored["users"] == len(rows) >= 2 * USERS
    assert {row["realised_value"] for row in rows} == {"497.0", "-1003.0", ""}


def test_groups_of_users_are_held_against_each_other_by_a_fact_that_no_model_looks_at(
    lender: Path, trained: dict[str, Any]
) -> None:
    asked = ("--version", trained["version"])
    found = json.loads(call("value", "parity", "employer", *asked, "--json").stdout)
    granted = {
        one["group"]["name"]: one["group"] for one in found["groups"] if one["moment"] == "credit_granted"
    }

    # Two grants in three name an employer, and neither is worth more than the other.
    assert granted.keys() == {"private", "public", "(not told)"}
    assert all(one["said"] == pytest.approx(one["came"], abs=4 * one["se"]) for one in granted.values())
    assert (
        "employer"
        not in (lender / "data" / "models" / "value" / trained["version"] / "model.json").read_text()
    )
    assert "credit_granted in NGN, by employer" in call("value", "parity", "employer", *asked).stdout
    assert "has 'shoe size'" in call("value", "parity", "shoe size", *asked, code=1).output


def test_a_model_whose_files_were_touched_is_refused(lender: Path, trained: dict[str, Any]) -> None:
    version = trained["version"]
    path = lender / "data" / "models" / "value" / version / "model.json"
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"lookup", b"LOOKUP", 1))

    assert "model.json of the value model" in call("value", "evaluate", version, code=1).output
    path.write_bytes(kept)
    assert "no value models begin with 'ffff'" in call("value", "evaluate", "ffff", code=1).output


def test_what_was_not_tried_is_promoted_only_where_a_person_says_so(lender: Path) -> None:
    early = ("--as-of", moment(30 * DAY).isoformat())
    assert "500 are needed, or a prior value" in call("value", "train", *early, code=1).output
    path = lender / "with-prior.toml"
    path.write_text((lender / "lendsignal.toml").read_text() + "prior = { NGN = 120.0 }\n")
    by_prior = ("--config", str(path), "--json")

    trained = json.loads(call("value", "train", *early, *by_prior).stdout)

    assert {one["learned"] for one in trained["evidence"]} == {"prior"}
    assert trained["passed"] == []
    asked = ("value", "promote", trained["version"], "--dry-run", *by_prior)
    assert "of the model passed" in call(*asked, code=1).output
    assert json.loads(call(*asked, "--unproven").stdout)["told"].keys() == {"credit_granted", "disbursed"}


def test_a_protected_property_is_refused_until_somebody_answers_for_it(lender: Path) -> None:
    path = lender / "other.toml"
    path.write_text((lender / "lendsignal.toml").read_text() + 'properties = ["employer", "Gender"]\n')

    with pytest.raises(ConfigError, match=r"value\.properties.*found gender"):
        configuration.load(path)
    path.write_text(path.read_text() + "protected = true\n")
    assert configuration.load(path).value.properties == ("employer", "Gender")
