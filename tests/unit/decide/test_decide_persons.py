"""A person's users over a log: what they share is kept, replayed and rehearsed."""

from pathlib import Path

import pytest
from tests.acme import DAY, event, loan, login, source
from tests.unit.report.kept import Kept

from lendsignal.decide.rehearsal import Rehearsal
from lendsignal.log import open_log
from lendsignal.model import Event
from lendsignal.plan import Planned, Record, compile_policy, person_state_key

TWO = [
    *(event("registered", 0, user_id=name, event_id=f"r-{name}") for name in ("a", "b")),
    login(1, "a", user_id="a", person_id="P", event_id="in-a"),
    login(1, "b", user_id="b", person_id="P", event_id="in-b"),
    loan(2, "L1", user_id="a"),
    loan(3, "L2", user_id="b"),
]


def firsts(records: list[Record]) -> list[tuple[str, str]]:
    return [
        (one.conversion.name, one.conversion.user_id)
        for one in records
        if isinstance(one, Planned) and one.conversion.name in ("first_loan", "repeat_loan")
    ]


@pytest.mark.parametrize("size", [1, 2, len(TWO)])
def test_what_a_persons_users_share_outlives_batches_and_restarts(tmp_path: Path, size: int) -> None:
    for start in range(0, len(TWO), size):
        Kept(tmp_path).tell(*TWO[start : start + size]).log.close()

    log = open_log(tmp_path / "log.sqlite")
    assert firsts([record for _, record in log.records(0, 1_000)]) == [
        ("first_loan", "a"),
        ("repeat_loan", "b"),
    ]
    shared = log.state(person_state_key("P"))
    assert shared is not None
    assert shared.ledger.fired == {"acme:a\tfirst_loan", "acme:b\tfirst_loan"}
    log.close()


def test_a_rehearsal_gives_what_the_log_gives(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(*TWO)
    rehearsal = Rehearsal(compile_policy(source()))

    rehearsed = [record for fact in kept.log.read(0, 100) for _, record in rehearsal.tell(fact)]

    assert rehearsed == [record for _, record in kept.log.records(0, 1_000)]


def test_a_timer_of_a_linked_user_finds_its_user(tmp_path: Path) -> None:
    """The event that ends the waiting names no person."""
    waits: list[Event] = [
        event("registered", 0, user_id="a", person_id="P"),
        loan(1, "L1", user_id="a"),
    ]
    kept = Kept(tmp_path).tell(*waits)
    kept.clock.minutes = 3 * DAY

    kept.tell()

    assert firsts([record for _, record in kept.log.records(0, 100)]) == [("first_loan", "a")]
