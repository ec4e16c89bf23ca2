"""Lists as the running service keeps them: the job that tells them is killed again and again, loans go on,
and the platform ends with just who is to be there."""

import json
import os
import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tests.acme import DAY
from tests.lender_file import ACME
from tests.running import BackEnd, Service, Stand, call, drawn_seed, until
from tests.telling import build, data_folder, gaid
from tests.unit.report.kept import Still

from lendsignal.config import load
from lendsignal.role.audience import brought_in_step

LENDER = (
    ACME
    + """
[deliver]
sandbox = "{sandbox}"
"""
)

LISTS = """
[audiences]
every = "500ms"

[audience.owing]
kind = "open_loan"
to = ["meta-ng"]
code = "ls-owing1"

[audience_account.meta-ng]
kind = "meta"
ad_account = "111222333"
token = { file = "token" }
ids = ["mobile"]
chunk = 20
per_second = 200
first_retry = "20ms"
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Service, Stand]]:
    accounts = {"audiences": {"meta": {"111222333": "made-up-token"}}}
    stand = Stand(tmp_path / "sandbox", more=accounts)
    one = Service(tmp_path / "service", stand.address)
    (one.folder / "token").write_text("made-up-token")
    path = one.folder / "lendsignal.toml"
    path.write_text(path.read_text() + LISTS)
    try:
        yield one.start(), stand
    finally:
        one.close()
        stand.close()


def borrowing(number: int) -> list[dict[str, Any]]:
    """A user registers on a phone of his own and gets a loan."""
    now = datetime.now(UTC).isoformat()
    common = {"brand": "acme", "user_id": f"u{number}", "occurred_at": now}
    ids = {"appsflyer_id": f"{1_700_000_000_000 + number}-{1_000_000 + number}", "gaid": gaid(number)}
    loan = {"loan_id": f"L{number}", "amount": "25000", "currency": "NGN"}
    return [
        {**common, "event_id": f"r{number}", "type": "registered", "app": "acme-ng", "device": ids},
        {**common, "event_id": f"d{number}", "type": "disbursed", **loan},
    ]


def repaid(number: int) -> dict[str, Any]:
    return {
        "brand": "acme",
        "user_id": f"u{number}",
        "occurred_at": datetime.now(UTC).isoformat(),
        "event_id": f"p{number}",
        "type": "repaid",
        "loan_id": f"L{number}",
        "payment_id": f"P{number}",
        "amount": "26500",
        "currency": "NGN",
        "outstanding": "0",
    }


def there(stand: Stand) -> set[str]:
    lists = [one for one in stand.look("audiences") if one["name"] == "ls-owing1"]
    assert len(lists) <= 1, "one list, however often it was begun"
    return set(lists[0]["members"]) if lists else set()


def killed_at_some_moment(service: Service, chance: random.Random) -> None:
    """`kill -9` for the job that tells lists, a while after it began."""
    number: int = until(lambda: service.pid("audience"), "the job runs")
    until(lambda: chance.random() < 0.05 or service.pid("audience") != number, "a moment")
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return  # it had ended by itself


def test_loans_reach_the_exclusion_list_however_often_its_job_is_killed(
    world: tuple[Service, Stand],
) -> None:
    service, stand = world
    chance = random.Random(drawn_seed())
    back_end = BackEnd(service)
    back_end.send([event for number in range(1, 151) for event in borrowing(number)])
    for _ in range(3):
        killed_at_some_moment(service, chance)
    until(lambda: there(stand) == {gaid(number) for number in range(1, 151)}, "everybody who owes is there")

    back_end.send([repaid(number) for number in range(1, 31)])
    back_end.send([event for number in range(151, 161) for event in borrowing(number)])
    for _ in range(3):
        killed_at_some_moment(service, chance)
    expected = {gaid(number) for number in range(31, 161)}
    until(lambda: there(stand) == expected, "who paid back left, and who borrowed came")

    def measured() -> bool:
        said = call(service.address, "GET", "/metrics")[2].decode()
        return (
            'lendsignal_list_confirmed_members{account="meta-ng",list="owing"} 130.0' in said
            and 'lendsignal_list_behind_seconds{account="meta-ng",list="owing"} 0.0' in said
        )

    until(measured, "it is told as it is")


def test_a_member_that_vanished_at_the_platform_comes_back_with_the_weekly_whole(tmp_path: Path) -> None:
    stand = Stand(tmp_path / "sandbox", more={"audiences": {"meta": {"111222333": "made-up-token"}}})
    (tmp_path / "token").write_text("made-up-token")
    path = tmp_path / "lendsignal.toml"
    path.write_text(LENDER.format(sandbox=stand.address) + LISTS)
    config = load(path)
    build(data_folder(config.data), "owing", dict.fromkeys(range(1, 121), 1.0))
    everybody = {gaid(number) for number in range(1, 121)}

    def told(days: float) -> set[str]:
        """Who is there after a round so many days later."""
        (found,) = brought_in_step(config, Still(days * DAY), Event())
        assert found.outcome == "in_step"
        return there(stand)

    try:
        assert told(0) == everybody
        # Somebody takes members off by hand, and puts a stranger on: our ledger does not know.
        (list_id,) = [each["id"] for each in stand.look("audiences")]
        for method, numbers in (("DELETE", range(1, 11)), ("POST", [888])):
            rows = [[gaid(number)] for number in numbers]
            body = json.dumps({"payload": {"schema": ["MADID"], "data": rows}}).encode()
            asked = f"/graph.facebook.com/v26.0/{list_id}/users?access_token=made-up-token"
            kind = "application/json"
            status, _, said = call(stand.address, method, asked, body, Content_Type=kind)
            assert status == 200, said
        tampered = everybody - {gaid(number) for number in range(1, 11)} | {gaid(888)}

        assert told(6.9) == tampered
        assert told(7) == everybody
    finally:
        stand.close()
