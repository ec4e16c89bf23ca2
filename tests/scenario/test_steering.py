"""An operator steers a running service from the command line; the sandboxes say what really happened."""

import getpass
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.running import ENVIRONMENT, BackEnd, Service, Stand, borrowing, call, service, until

from lendsignal.cli import main
from lendsignal.log import DataFolder, open_orders

HOOK = "hooks.acme.example"
REFUSED = {"kind": "status", "status": 422, "host": HOOK}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Stand]]:
    with service(tmp_path_factory.mktemp("steering")) as both:
        yield both


def lendsignal(one: Service, *words: str, code: int = 0, answer: str = "") -> str:
    """What a verb says on standard output; with what it says on standard error where it does not end well."""
    settings = ["--config", str(one.folder / "lendsignal.toml")]
    done = CliRunner(env=ENVIRONMENT).invoke(main, [*words, *settings], input=answer)
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.stdout if code == 0 else done.output


def as_json(one: Service, *words: str, code: int = 0) -> Any:
    return json.loads(lendsignal(one, *words, "--json", code=code))


def standing(one: Service, name: str = "warehouse") -> dict[str, Any]:
    """What `status` says of a destination."""
    found: dict[str, Any] = next(
        each for each in as_json(one, "status")["destinations"] if each["destination"] == name
    )
    return found


def test_a_paused_destination_gets_nothing_and_loses_nothing(running: tuple[Service, Stand]) -> None:
    one, stand = running
    before = len(stand.ids("warehouse"))

    paused = as_json(one, "pause", "warehouse", "--reason", "they move house")
    BackEnd(one).send(borrowing(1, prefix="paused"))
    until(lambda: len(stand.ids("appsflyer-ng")) == 1, "the other destination goes on")
    stopped = standing(one)
    told = lendsignal(one, "status")
    resumed = lendsignal(one, "resume", "warehouse")
    one.idle()

    assert (paused["done"], paused["open"], paused["sender_runs"]) == (1, 0, True)
    assert stopped["waiting"] == 2
    (stop,) = stopped["stopped"]
    assert (stop["by"], stop["reason"], stop["who"]) == ("person", "they move house", whoami())
    assert f"PAUSED by {whoami()}: they move house, since 20" in told
    assert "> lendsignal resume warehouse" in told
    assert f"warehouse: was paused by {whoami()}: they move house, since 20" in resumed
    assert len(stand.ids("warehouse")) == before + 2
    assert standing(one)["stopped"] == []


def whoami() -> str:
    return getpass.getuser()


def test_everything_can_be_paused_and_let_go_at_once(running: tuple[Service, Stand]) -> None:
    one, stand = running
    before = {name: len(stand.ids(name)) for name in ("warehouse", "appsflyer-ng")}

    lendsignal(one, "pause", "--all")
    BackEnd(one).send(borrowing(2, prefix="all"))
    until(lambda: standing(one)["waiting"] == 2, "the deliveries are planned")
    during = {name: len(stand.ids(name)) for name in before}
    hint = lendsignal(one, "resume", "warehouse")
    let_go = as_json(one, "resume", "--all")
    one.idle()

    assert during == before
    assert "everything is paused as well" in hint
    assert [(was["destination"], was["by"]) for was in let_go["was"]] == [("*", "person")]
    assert len(stand.ids("warehouse")) == before["warehouse"] + 2
    assert len(stand.ids("appsflyer-ng")) == before["appsflyer-ng"] + 1


def test_what_is_cancelled_while_it_waits_is_never_sent(running: tuple[Service, Stand]) -> None:
    one, stand = running
    before = len(stand.ids("warehouse"))
    words = ("cancel", "--destination", "warehouse", "--conversion", "registration", "--waiting")

    lendsignal(one, "pause", "warehouse")
    BackEnd(one).send(borrowing(3, prefix="cancelled"))
    until(lambda: standing(one)["waiting"] == 2, "the deliveries are planned")
    counted = as_json(one, *words, "--dry-run")
    refused = lendsignal(one, *words, code=1, answer="n\n")
    done = as_json(one, *words, "--yes")
    lendsignal(one, "resume", "warehouse")
    one.idle()

    assert (counted["dry_run"], counted["chosen"], "orders" in counted) == (True, 1, False)
    assert "Cancel 1 deliveries?" in refused
    assert "nothing was changed" in refused
    assert (done["chosen"], done["done"], done["passed_over"]) == (1, 1, 0)
    assert len(stand.ids("warehouse")) == before + 1


def test_the_dead_are_listed_shown_and_sent_again_once_the_platform_is_well(
    running: tuple[Service, Stand],
) -> None:
    one, stand = running
    before = stand.ids("warehouse")
    stand.faults(REFUSED)
    BackEnd(one).send(borrowing(4, prefix="dead") + borrowing(5, prefix="dead"))
    until(lambda: standing(one)["dead"] == 4, "the platform refused all of them")
    stand.faults()

    listed = as_json(one, "dead", "list", "--destination", "warehouse", "--where", "reason=http_422")
    number = str(listed["deliveries"][0]["id"])
    shown = as_json(one, "dead", "show", number)
    words = ("replay", "--destination", "warehouse", "--from", "1h", "--where", "reason=http_422")
    counted = lendsignal(one, *words, "--dry-run")
    released = as_json(one, "dead", "release", number)
    until(lambda: standing(one)["dead"] == 3, "one is released")
    again = as_json(one, *words, "--yes")
    one.idle()
    after = stand.ids("warehouse")

    assert {(row["conversion"], row["reason"]): row["n"] for row in listed["counts"]} == {
        ("disbursement", "http_422"): 2,
        ("registration", "http_422"): 2,
    }
    assert HOOK in shown["request"]
    assert shown["tries"][-1]["status"] == 422
    assert "4  in all" in counted
    assert released["done"] == 1
    assert (again["chosen"], again["done"]) == (3, 3)
    assert len(after) == len(before) + 4
    assert set(after.values()) == {1}, "under the same ids, each once"
    assert standing(one)["dead"] == 0
    assert "nothing is chosen" in lendsignal(one, *words, "--yes", code=1)


def test_an_operator_is_told_that_all_is_well_or_what_to_do(running: tuple[Service, Stand]) -> None:
    one, _ = running
    well = as_json(one, "doctor")
    lendsignal(one, "pause", "warehouse")
    paused = as_json(one, "doctor")
    lendsignal(one, "resume", "warehouse")

    assert well["ok"]
    assert {finding["check"] for finding in well["findings"]} >= {
        "files",
        "disk",
        "clock",
        "processes",
        "lag",
    }
    found = next(finding for finding in paused["findings"] if finding["check"] == "paused")
    assert (found["level"], found["do"]) == ("look", "lendsignal resume warehouse")


def test_an_order_given_while_nothing_runs_is_carried_out_at_the_start(tmp_path: Path) -> None:
    with service(tmp_path) as (one, stand):
        BackEnd(one).send(borrowing(1))
        one.idle()
        assert one.stop() == 0
        said = lendsignal(one, "pause", "warehouse")
        sick = as_json(one, "doctor", code=1)
        one.start()
        BackEnd(one).send(borrowing(2))
        until(lambda: standing(one)["waiting"] == 2, "the deliveries wait")
        with closing(open_orders(DataFolder(one.data).orders, read_only=True)) as orders:
            who = [given.who for given in orders.youngest(1)]

        assert "it is carried out when one starts" in said
        assert who == [whoami()]
        assert {"core does not run: nobody takes events", "the sender does not run"} <= {
            finding["found"] for finding in sick["findings"] if finding["level"] == "act"
        }
        assert len(stand.ids("warehouse")) == 2


def test_a_first_run_stops_at_its_cap_until_a_person_has_looked(tmp_path: Path) -> None:
    with service(tmp_path, outlet="first_run = 3") as (one, stand):
        BackEnd(one).send([event for number in range(4) for event in borrowing(number)])
        until(lambda: standing(one)["stopped"], "the brake holds")
        until(lambda: len(stand.ids("warehouse")) == 3, "what left is there")
        stopped = standing(one)
        sick = as_json(one, "doctor", code=1)
        resumed = lendsignal(one, "resume", "--all")
        one.idle()

        assert [(stop["by"], stop["reason"]) for stop in stopped["stopped"]] == [("brake", "first_run")]
        assert stopped["waiting"] == 5
        assert ("paused", "act") in {(one["check"], one["level"]) for one in sick["findings"]}
        assert "warehouse: was paused by a brake: first_run" in resumed
        assert len(stand.ids("warehouse")) == 8
        assert len(stand.ids("appsflyer-ng")) == 4


def test_a_service_whose_sender_is_gone_is_alive_and_not_ready(tmp_path: Path) -> None:
    with service(tmp_path) as (one, _):
        # As before its first turn: a kill would only have it started again.
        (one.data / "send.pulse").unlink()
        status, _, body = call(one.address, "GET", "/readyz")

        assert status == 503
        assert json.loads(body) == {"status": "not ready", "why": "the sender does not run"}
        assert call(one.address, "GET", "/healthz")[0] == 200
