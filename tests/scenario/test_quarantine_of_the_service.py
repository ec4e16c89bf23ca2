"""Refused events of the running service: mended through it while it goes on, and counted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.running import ENVIRONMENT, Service, borrowing, call, service, until


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("house")) as (one, _):
        yield one


def quarantine(house: Service, *words: str) -> Any:
    """`lendsignal quarantine … --json`, as another process."""
    done = subprocess.run(
        [sys.executable, "-m", "lendsignal", "quarantine", *words, "--json"],
        cwd=house.folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def post(house: Service, *events: dict[str, Any]) -> Any:
    return json.loads(call(house.address, "POST", "/v1/events", json.dumps(list(events)).encode())[2])


def metric(house: Service, start: str) -> float:
    """The value of the line that begins so; 0 where there is none."""
    page = call(house.address, "GET", "/metrics")[2].decode()
    found = [line for line in page.splitlines() if line.startswith(start)]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_an_event_is_mended_through_the_service_and_sent_on_like_any_other(house: Service) -> None:
    registered, paid_out = borrowing(1, prefix="m")
    found = post(house, registered, {**paid_out, "brand": "acmee"})
    assert (found["accepted"], found["refused"]) == (1, 1)
    (one,) = quarantine(house, "list")["events"]

    came = quarantine(house, "mend", str(one["id"]), "--set", "brand=acme", "--yes")

    assert (came["taken"], came["still_to_do"]) == (1, 0)
    (shown,) = json.loads(call(house.address, "GET", f"/v1/events/{paid_out['event_id']}")[2])["events"]
    assert shown["flags"] == ["mended"]
    assert shown["received_at"][:19] == one["received_at"][:19]
    until(lambda: house.idle()["idle"], "it is decided and sent")
    (shown,) = json.loads(call(house.address, "GET", f"/v1/events/{paid_out['event_id']}")[2])["events"]
    assert shown["verdict"] == "taken"
    assert metric(house, 'lendsignal_quarantine_mended_total{outcome="taken"}') == 1


def test_a_thousand_of_a_kind_are_mended_while_others_come_in(house: Service) -> None:
    many = [paid_out for n in range(1_000) for paid_out in borrowing(n, prefix="t")[1:]]
    wrong = [
        {("loanId" if name == "loan_id" else name): value for name, value in one.items()} for one in many
    ]
    assert post(house, *wrong)["refused"] == 1_000

    came = quarantine(house, "mend", "--field", "loan_id", "--rename", "loanId=loan_id", "--yes")
    post(house, *borrowing(2, prefix="o"))

    assert (came["chosen"], came["taken"], came["refused_again"]) == (1_000, 1_000, 0)
    events = [json.loads(call(house.address, "GET", f"/v1/events/d-t{n}")[2])["events"] for n in (0, 999)]
    assert [len(found) for found in events] == [1, 1]


def test_a_bad_id_costs_the_id_and_is_told_to_the_sender_and_to_the_operator(house: Service) -> None:
    registered, _ = borrowing(3, prefix="w")
    found = post(house, {**registered, "device": {"appsflyer_id": "af-3", "gaid": "null", "os": "android"}})

    (answer,) = found["results"]
    assert answer["status"] == "accepted"
    assert answer["flags"] == ["unusable_appsflyer_id", "unusable_gaid"]
    assert [one["field"] for one in answer["warnings"]] == ["device.appsflyer_id", "device.gaid"]
    line = 'lendsignal_ids_unusable_total{id="appsflyer_id",source="backend"}'
    assert metric(house, line) == 1
