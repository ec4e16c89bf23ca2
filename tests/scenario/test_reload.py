"""SIGHUP: a good configuration is taken up role by role and nobody notices; a bad one changes nothing."""

import json
import os
import signal
import threading
from pathlib import Path

from tests.running import BackEnd, Ledger, Service, borrowing, service, until

ROLES = ("core", "send", "web")
ROUTE = 'send = { disbursement = "ev_ln", registration = "ev_r" }'
FEWER = 'send = { disbursement = "ev_ln" }'


def change(one: Service, old: str, new: str) -> None:
    """Edits the configuration and asks the service to read it again."""
    path = one.folder / "lendsignal.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert one.process is not None
    os.kill(one.process.pid, signal.SIGHUP)


def pids(one: Service) -> dict[str, int]:
    """The process of every role, once each has one."""
    until(lambda: all(one.pid(role) for role in ROLES), "every role lives")
    return {role: one.pid(role) or 0 for role in ROLES}


def test_a_bad_configuration_is_named_and_the_old_one_goes_on_even_through_a_kill(tmp_path: Path) -> None:
    with service(tmp_path, start=False) as (one, _):
        one.start("--log-format", "json")
        before = pids(one)
        change(one, ROUTE, 'sned = { disbursement = "ev_ln" }')
        until(lambda: "configuration not reloaded" in one.said, "the mistake is named")

        assert "Did you mean 'send'?" in one.said
        assert pids(one) == before
        change(one, "[resolve]", '[service]\ndata = "elsewhere"\n[resolve]')
        change(one, "sned", "send")
        until(lambda: "service.data" in one.said, "what cannot change is named")
        assert "until a restart" in one.said
        assert pids(one) == before
        one.kill("core")
        until(lambda: one.pid("core") not in (None, before["core"]), "another core")
        one.ready()
        BackEnd(one).send(borrowing(1))
        one.idle()
        lines = [
            line for line in one.said.splitlines() if not line.startswith(("data ", "events ", "pages "))
        ]

        said = [json.loads(line) for line in lines]
        assert {line["role"] for line in said if "configuration not reloaded" in line["said"]} == {"run"}
        assert {line["consequence"] for line in said if line["level"] == "ERROR"} == {"a person must act"}


def test_a_good_configuration_is_taken_up_without_losing_an_event_or_refusing_a_caller(
    tmp_path: Path,
) -> None:
    """Events come all the time, over connections of their own; none is refused, each is delivered once."""
    with service(tmp_path) as (one, stand):
        before = pids(one)
        ended, users = threading.Event(), 0
        back_end = BackEnd(one)

        def borrow() -> None:
            nonlocal users
            while not ended.is_set() or users < 20:
                users += 1
                back_end.send(borrowing(users))

        sending = threading.Thread(target=borrow)
        sending.start()
        try:
            until(lambda: users > 5, "events come")
            change(one, ROUTE, FEWER)
            until(lambda: "renewed web, send, core" in one.said, "every role is renewed")
        finally:
            ended.set()
            sending.join()
        one.idle()
        after = pids(one)
        back_end.send(borrowing(users + 1))
        one.idle()
        address = (one.data / "core.address").read_text()
        one.stop()

        assert not {*before.values()} & {*after.values()}
        assert back_end.repeated == 0
        assert address == f"http://{one.address}"
        ledger = Ledger(one.data)
        assert len(ledger.events) == 2 * (users + 1)
        assert sorted(stand.ids("warehouse").values()) == [1] * ledger.count("warehouse", "planned")
        assert ledger.count("appsflyer-ng", "accepted") == users + 1
        # By the new configuration registrations are not routed any more.
        assert users + 1 < ledger.count("warehouse", "planned") < 2 * (users + 1)
        assert ledger.balances("warehouse")
