"""What deciding measures: the log's own counts, how far behind it is, and who waits for a first login."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acme import DAY, event, loan, login, source, us
from tests.measured import Told, measured

from lendsignal.decide import DecideMeters, Decider
from lendsignal.log import Log, open_log
from lendsignal.model import Event


class Clock:
    """A clock that the test sets, in minutes after T0."""

    replay = False
    minutes = 0.0

    def now_us(self) -> int:
        return us(self.minutes)


class House:
    """A decider that is measured, over a log that is read through a connection of its own."""

    def __init__(self, folder: Path) -> None:
        self.log: Log = open_log(folder / "log.sqlite")
        self.read: Log = open_log(folder / "log.sqlite", read_only=True)
        self.clock = Clock()
        self.start()

    def start(self) -> None:
        self.meters = DecideMeters(self.read, self.clock)
        self.decider = Decider(self.log, source(), self.clock, lambda: None, self.meters)
        self.decide()

    def decide(self) -> None:
        while self.decider.turn():
            pass

    def tell(self, *events: Event) -> None:
        self.log.append(events)
        self.decide()

    def told(self) -> Told:
        return measured(self.meters)

    def pen(self) -> float:
        return self.told().value("pen_conversions")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.read.close()
    found.log.close()


def test_counts_are_the_logs_own_and_survive_a_restart(house: House) -> None:
    house.tell(login(0, "one"), loan(1), loan(1), event("quiz_won", 2), event("quiz_lost", 3))
    house.start()
    found, kept = house.told(), house.log.tally()

    assert found.value("events_decided_total", type="disbursed") == kept["event", "disbursed"] == 2
    assert found.value("events_decided_total", type="custom") == 2
    assert found.value("verdicts_total", verdict="duplicate") == 1
    for name in ("disbursement", "first_loan"):
        assert found.value("conversions_total", conversion=name) == kept["conversion", name] == 1
    assert found.value("decide_commit_seconds_count") == 0


def test_what_waits_to_be_decided_is_counted_and_its_age_told(house: House) -> None:
    house.log.append([loan(0, "L1"), loan(1, "L2")])
    house.clock.minutes = 5
    behind = house.told()
    house.decide()
    done = house.told()

    assert behind.value("decide_waiting_events") == 2
    assert behind.value("decide_oldest_seconds") == 5 * 60
    assert (done.value("decide_waiting_events"), done.value("decide_oldest_seconds")) == (0, 0)


def test_who_waits_for_a_first_login_is_in_the_pen_until_it_comes(house: House) -> None:
    house.tell(loan(1, "L1", user_id="u1"), loan(1, "L2", user_id="u2"))
    waiting = house.pen()
    house.tell(login(2, "one", user_id="u1"))
    released = house.pen()
    house.start()

    assert waiting > released > 0
    assert waiting == 2 * released
    assert house.pen() == released


def test_the_pen_is_empty_when_its_time_is_over(house: House) -> None:
    house.tell(loan(1))
    house.clock.minutes = 60 * DAY
    due = house.told().value("timers_due")
    house.decide()

    assert due > 0
    assert house.told().value("timers_due") == 0
    assert house.pen() == 0
