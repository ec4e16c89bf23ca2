"""`proxy fit`, `proxy show`, `report proxy`: from a log's history to a conversion that fires by itself."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from tests.acme import DAY, event, login, us
from tests.running import CONFIG, ENVIRONMENT
from tests.unit.report.test_report_proxy import APPLICATIONS, applications

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_log
from lendsignal.plan import Planned
from lendsignal.value import LikelyModel

LAST = 10 * APPLICATIONS + 8 * DAY
"""The minute of the last event of the history."""

FIT = ("proxy", "fit", "--precision", "0.8", "--after", "30m")


class Hand:
    """A clock that the test moves."""

    replay = True

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes

    def now_us(self) -> int:
        return us(self.minutes)


def written(here: Path, more: str = "", send: str = "") -> None:
    text = CONFIG.format(door=8321, web=8322, sandbox="http://127.0.0.1:8900", outlet="", deliver="")
    line = 'send = { disbursement = "ev_ln" }\n'
    assert line in text
    (here / "lendsignal.toml").write_text(text.replace(line, send or line) + more)


def decider_of(log: Any, here: Path, clock: Hand) -> Decider:
    return Decider(log, configuration.load(here / "lendsignal.toml").policy, clock, lambda: None)


def decided(decider: Decider) -> None:
    while decider.turn():
        pass


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and an empty log."""
    monkeypatch.delenv("LENDSIGNAL_CONFIG", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    with closing(open_log(DataFolder(tmp_path / "data").log)):
        return tmp_path


@pytest.fixture
def lender(here: Path) -> Path:
    """The same with eleven days of applications in the log."""
    with closing(open_log(DataFolder(here / "data").log)) as log:
        log.append([*applications(), event("app_opened", LAST, user_id="last")])
        decided(decider_of(log, here, Hand(LAST)))
    return here


def call(*words: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == code, found.output
    return found


def test_a_fitted_table_is_written_shown_and_makes_conversions_by_itself(lender: Path) -> None:
    assert "set proxy.model to it" in call(*FIT).stderr
    model = msgspec.json.decode((lender / "likely.json").read_bytes(), type=LikelyModel)
    (product,) = [one for one in model.words if one.name == "product"]
    assert product.weights["again"] > 1 > -1 > product.weights["first"]

    written(lender, '\n[proxy]\nmodel = "likely.json"\n', 'send = { likely_credit = "ev_p1" }\n')
    call("check")
    assert "product again" in call("proxy", "show").stdout
    assert json.loads(call("proxy", "show", "--json").stdout)["model"]["threshold"] == model.threshold

    clock = Hand(LAST + 10)
    with closing(open_log(DataFolder(lender / "data").log)) as log:
        decider = decider_of(log, lender, clock)
        again = event("applied", LAST + 5, product="again", application_id="N1")
        log.append([login(LAST + 1, "a"), again])
        decided(decider)
        decider = decider_of(log, lender, clock)  # as after a restart: the wait is on disk
        before = log.last_record()
        clock.minutes = LAST + 34.9
        decided(decider)
        assert log.last_record() == before
        clock.minutes = LAST + 35
        decided(decider)
        ((_, record),) = log.records(before, 10)
        ((fact, verdict),) = [(one, word) for one, word in log.decided(log.end() - 1, log.end())]

        assert isinstance(record, Planned)
        assert (record.conversion.name, record.conversion.predicted) == ("likely_credit", True)
        assert [(entry.destination, entry.name) for entry in record.entries] == [("appsflyer-ng", "ev_p1")]
        assert (fact.event.type, verdict) == ("lendsignal.decision_due", "taken")
        assert log.next_timer() is None


def test_the_report_says_the_same_and_writes_nothing(lender: Path) -> None:
    words = ("--precision", "0.8", "--after", "30m")
    found = json.loads(call("report", "proxy", *words, "--json").stdout)

    assert found["usable"]
    assert found["tables"] == json.loads(call(*FIT, "--json").stdout)["tables"]
    (lender / "likely.json").unlink()
    call("report", "proxy", *words)
    assert not (lender / "likely.json").exists()


@pytest.mark.parametrize("words", [FIT, ("proxy", "fit", "--precision", "0.99")])
def test_where_nothing_is_precise_enough_nothing_is_written(here: Path, words: tuple[str, ...]) -> None:
    done = call(*words, code=1)

    assert "Nothing is fitted: 0 applications" in done.stdout
    assert "nothing is written" in done.stderr
    assert not (here / "likely.json").exists()


def test_without_a_model_a_route_cannot_name_it_and_show_says_what_to_do(here: Path) -> None:
    assert "`lendsignal proxy fit` makes one" in call("proxy", "show").stdout
    written(here, send='send = { likely_credit = "ev_p1" }\n')

    assert "route[0].send.likely_credit" in call("check", code=2).stderr


@pytest.mark.parametrize("content", [None, "{}", "no JSON"])
def test_a_model_that_cannot_be_read_is_a_mistake_of_the_file(here: Path, content: str | None) -> None:
    if content is not None:
        (here / "likely.json").write_text(content)
    written(here, '\n[proxy]\nmodel = "likely.json"\n')

    assert "proxy.model" in call("check", code=2).stderr


def test_a_conversion_of_the_lenders_own_may_not_have_its_name(here: Path) -> None:
    written(here, "\n[conversion.likely_credit]\nwhen = \"event.type == 'applied'\"\n")

    assert "conversion.likely_credit" in call("check", code=2).stderr
