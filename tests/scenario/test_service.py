"""`lendsignal run` as a lender starts it: events in, deliveries out, and what happens when processes die."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.running import (
    ACCOUNTS,
    ENVIRONMENT,
    PATIENCE,
    BackEnd,
    Ledger,
    Service,
    Stand,
    borrowing,
    call,
    free_port,
    service,
    until,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Stand]]:
    """One service for all that does not end it."""
    with service(tmp_path_factory.mktemp("running")) as both:
        yield both


def test_events_come_in_by_http_and_the_platforms_receive_just_what_was_accepted(tmp_path: Path) -> None:
    with service(tmp_path) as (one, stand):
        back_end = BackEnd(one)
        for number in range(60):
            back_end.send(borrowing(number))
        one.idle()
        received = {name: stand.ids(name) for name in ACCOUNTS}
        refused = stand.look("refused")["items"]
        assert one.stop() == 0

    books = Ledger(tmp_path / "service" / "data")
    assert refused == []
    assert books.count("appsflyer-ng", "accepted") == 60
    assert books.count("warehouse", "accepted") == 120
    for name in ACCOUNTS:
        assert set(received[name]) == books.accepted[name] == set(books.planned[name])
        assert set(received[name].values()) == {1}
        assert books.balances(name)


@pytest.mark.parametrize("role", ["core", "send", "web"])
def test_a_child_that_is_killed_is_started_again_and_nothing_is_lost(
    running: tuple[Service, Stand], role: str
) -> None:
    one, stand = running
    back_end, before = BackEnd(one), len(stand.ids("warehouse"))
    back_end.send(borrowing(1, prefix=f"before-{role}"))
    killed = one.kill(role)
    back_end.send(borrowing(2, prefix=f"after-{role}"))
    until(lambda: one.pid(role) not in (None, killed), f"{role} is started again")
    one.ready()
    one.idle()

    assert len(stand.ids("warehouse")) == before + 4
    assert f"{role} ended with code -9; starting it again" in one.said
    until(lambda: shows_pages(one), "the pages are there")


def shows_pages(one: Service) -> bool:
    try:
        return call(one.pages, "GET", "/")[0] == 200
    except ConnectionRefusedError:  # the role has not come up again yet
        return False


def test_the_service_says_how_it_is(running: tuple[Service, Stand]) -> None:
    one, _ = running

    assert call(one.address, "GET", "/healthz")[0] == 200
    status, headers, body = call(one.address, "GET", "/readyz")
    assert (status, json.loads(body)["status"]) == (200, "ready")
    assert headers["content-type"].startswith("application/json")
    found = one.status()
    assert found["decided"] == found["events"]
    assert found["paused"] == {}


def test_the_calls_of_the_door_are_described_for_machines(running: tuple[Service, Stand]) -> None:
    one, _ = running
    status, _, body = call(one.address, "GET", "/openapi.json")
    described = json.loads(body)

    assert status == 200
    assert described["openapi"].startswith("3.")
    assert {"/v1/events", "/v1/events/{id}"} <= set(described["paths"])


def test_the_operator_sees_the_same_on_the_command_line(running: tuple[Service, Stand]) -> None:
    one, _ = running
    one.idle()
    found = lendsignal(one.folder, "status", "--json")

    assert found.returncode == 0
    shown = json.loads(found.stdout)
    assert shown["idle"]
    assert shown["events"] == one.status()["events"]


def test_a_second_service_over_the_same_folder_is_refused_and_the_first_goes_on(
    running: tuple[Service, Stand],
) -> None:
    one, _ = running
    second = lendsignal(
        one.folder, "run", "--set", f"door.port={free_port()}", "--set", f"web.port={free_port()}"
    )

    assert second.returncode == 1
    assert "another lendsignal process already does 'run'" in second.stderr
    assert "Traceback" not in second.stderr
    assert call(one.address, "GET", "/healthz")[0] == 200


def test_a_service_whose_port_is_taken_does_not_start_by_half(
    tmp_path: Path, running: tuple[Service, Stand]
) -> None:
    first, stand = running
    other = Service(tmp_path / "other", stand.address)
    refused = lendsignal(other.folder, "run", "--set", f"door.port={first.port}")

    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1:{first.port}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (other.data / "send.lock").exists()


def test_sigterm_waits_for_the_answers_to_what_is_on_its_way(tmp_path: Path) -> None:
    with service(tmp_path) as (one, stand):
        stand.faults({"kind": "slow", "delay_ms": 1500})
        BackEnd(one).send(borrowing(1))
        until(
            lambda: sum(rule["fired"] for rule in stand.look("faults")) == 3,
            "three requests are on their way",
        )
        assert one.stop(signal.SIGTERM) == 0

    books = Ledger(tmp_path / "service" / "data")
    assert sum(books.count(name, "accepted") for name in ACCOUNTS) == 3
    assert all(books.balances(name) for name in ACCOUNTS)
    assert "ended with code" not in one.said


def test_ctrl_c_ends_it_without_a_word_of_complaint(tmp_path: Path) -> None:
    with service(tmp_path) as (one, _):
        assert one.stop(signal.SIGINT) == 0
        assert "Traceback" not in one.said
        assert "Aborted" not in one.said
        assert one.pid("core") is None


def test_when_the_supervisor_is_killed_its_children_end_and_a_new_one_starts(tmp_path: Path) -> None:
    with service(tmp_path) as (one, stand):
        BackEnd(one).send(borrowing(1))
        one.idle()
        assert one.stop(signal.SIGKILL) == -9
        one.start()
        BackEnd(one).send(borrowing(2))
        one.idle()

        assert len(stand.ids("warehouse")) == 4
        assert set(stand.ids("warehouse").values()) == {1}


def test_a_wrong_configuration_starts_nothing_and_names_every_mistake(tmp_path: Path) -> None:
    one = Service(tmp_path / "service", "http://127.0.0.1:9")
    path = one.folder / "lendsignal.toml"
    text = path.read_text().replace('platform = "android"', 'platform = "andriod"')
    text = text.replace('disbursement = "ev_ln" }', 'disbursment = "ev_ln" }').replace(
        "[web]", "[web]\nprot = 1"
    )
    path.write_text(text.replace("ACME_S2S", "NOT_SET_ANYWHERE"))
    found = lendsignal(one.folder, "run")

    assert found.returncode == 2
    assert "app.acme-ng.platform" in found.stderr
    assert "Did you mean 'android'?" in found.stderr
    assert "route[0].send.disbursment" in found.stderr
    assert "Did you mean 'disbursement'?" in found.stderr
    assert "web.prot" in found.stderr
    assert "the environment variable NOT_SET_ANYWHERE is not set" in found.stderr
    assert "Traceback" not in found.stderr
    assert not one.data.exists()


def test_a_destination_whose_secret_cannot_be_one_starts_nothing(tmp_path: Path) -> None:
    one = Service(tmp_path / "service", "http://127.0.0.1:9")
    found = lendsignal(one.folder, "run", ACME_HOOK="whsec_that is no base64!")

    assert found.returncode == 2
    assert "destination.warehouse.secret" in found.stderr
    assert "that is no base64!" not in found.stderr


def test_what_the_service_says_holds_no_secret(running: tuple[Service, Stand]) -> None:
    one, _ = running

    assert one.said
    assert [value for value in ENVIRONMENT.values() if value in one.said] == []


def lendsignal(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself, in the service's own folder."""
    return subprocess.run(
        [sys.executable, "-m", "lendsignal", *words],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
