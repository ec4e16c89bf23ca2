"""The edges of the truth: ties, equal moments, days, and touches that do not count."""

import numpy as np
import pytest

from lendsignal.model import EventType
from lendsignal.simulate import Parameters, make
from lendsignal.simulate.answers import Answers, answers_of
from lendsignal.simulate.arrivals import CODE, Events, Fault
from lendsignal.simulate.parameters import Period
from lendsignal.simulate.touches import Touches

PARAMETERS = Parameters(period=Period(users=1, days=1))
WORLD = make(PARAMETERS, 1)
NOON = WORLD.start + 12 * 3_600_000
SECOND = 1_000

Row = tuple[EventType, int, int, int, Fault]
"""Kind, happened, received (milliseconds after noon), id, faults; the n-th touch is on installation n."""

NONE = Fault(0)
LOGIN, APPLIED, REPAID = EventType.LOGGED_IN, EventType.APPLIED, EventType.REPAID


def answers(*rows: Row) -> Answers:
    kind = np.array([CODE[row[0]] for row in rows])
    touch = kind == CODE[LOGIN]
    at = NOON + np.array([row[1] for row in rows])
    events = Events(
        kind=kind,
        user=np.zeros(len(rows), dtype=np.int64),
        about=np.where(touch, np.cumsum(touch) - 1, 0),
        part=np.zeros(len(rows), dtype=np.int64),
        at=at,
        occurred_at=at,
        received_at=NOON + np.array([row[2] for row in rows]),
        id_high=np.zeros(len(rows), dtype=np.uint64),
        id_low=np.array([row[3] for row in rows], dtype=np.uint64),
        faults=np.array([int(row[4]) for row in rows]),
    )
    count = int(touch.sum())
    touches = Touches(
        user=np.zeros(count, dtype=np.int64),
        at=at[touch],
        kind=np.ones(count, dtype=np.int64),
        install=np.arange(count),
        agent=np.zeros(count, dtype=np.bool_),
        first=np.zeros(count, dtype=np.bool_),
    )
    return answers_of(PARAMETERS, events, touches, WORLD.epochs, WORLD.local)


def test_a_login_in_the_same_millisecond_as_the_event_counts() -> None:
    found = answers((LOGIN, 0, 10, 1, NONE), (LOGIN, 500, 510, 2, NONE), (APPLIED, 500, 520, 3, NONE))

    assert found.last_login.tolist() == [1]
    assert found.first_install.tolist() == [0]
    assert found.touch_at.tolist() == [NOON + 500]
    assert found.touch_received_at.tolist() == [NOON + 510]


@pytest.mark.parametrize(("first", "second", "winner"), [(7, 8, 1), (8, 7, 0)])
def test_two_logins_in_one_instant_are_settled_by_the_larger_id(first: int, second: int, winner: int) -> None:
    found = answers((LOGIN, 0, 10, first, NONE), (LOGIN, 0, 11, second, NONE), (APPLIED, 9, 20, 1, NONE))

    assert found.last_login.tolist() == [winner]
    assert found.first_install.tolist() == [1 - winner]


def test_an_event_before_every_login_belongs_to_no_installation() -> None:
    found = answers((APPLIED, 0, 5, 1, NONE), (LOGIN, 1, 6, 2, NONE))

    assert found.last_login.tolist() == found.first_install.tolist() == found.touch_at.tolist() == [-1]


def test_a_login_that_arrives_within_the_settle_time_is_known_and_a_later_one_is_not() -> None:
    before = (LOGIN, 0, 10, 1, NONE)
    in_time = answers(before, (LOGIN, 100, 500 + 2 * SECOND, 2, NONE), (APPLIED, 500, 600, 3, NONE))
    too_late = answers(before, (LOGIN, 100, 501 + 2 * SECOND, 2, NONE), (APPLIED, 500, 600, 3, NONE))

    assert (in_time.last_login.tolist(), in_time.last_login_as_arrived.tolist()) == ([1], [1])
    assert (too_late.last_login.tolist(), too_late.last_login_as_arrived.tolist()) == ([1], [0])


def test_a_phone_with_a_clock_ahead_is_seen_when_its_login_arrives() -> None:
    found = answers(
        (LOGIN, 0, 10, 1, NONE),
        (LOGIN, 9_000, 400, 2, Fault.CLOCK_AHEAD),
        (APPLIED, 399, 420, 3, NONE),
        (APPLIED, 400, 430, 4, NONE),
    )

    assert found.last_login.tolist() == [0, 1]


@pytest.mark.parametrize("fault", [Fault.AGENT, Fault.NO_INSTALL_ID])
def test_a_login_by_an_agent_or_without_an_installation_does_not_count(fault: Fault) -> None:
    found = answers((LOGIN, 0, 10, 1, NONE), (LOGIN, 100, 110, 2, fault), (APPLIED, 500, 520, 3, NONE))

    assert found.last_login.tolist() == [0]


def test_a_login_without_its_appsflyer_id_still_counts() -> None:
    found = answers(
        (LOGIN, 0, 10, 1, NONE), (LOGIN, 100, 110, 2, Fault.NO_APPSFLYER_ID), (APPLIED, 500, 520, 3, NONE)
    )

    assert found.last_login.tolist() == [1]


def test_an_event_known_by_its_day_binds_at_the_end_of_that_day_but_not_after_it_was_received() -> None:
    evening, night = 8 * 3_600_000, 12 * 3_600_000  # eight in the evening, and midnight
    logins = ((LOGIN, evening, evening + 10, 1, NONE), (LOGIN, night, night + 10, 2, NONE))
    next_morning = answers(*logins, (REPAID, 0, night + 6 * 3_600_000, 3, Fault.DAY_PRECISION))
    same_day = answers(*logins, (REPAID, 0, 60_000, 3, Fault.DAY_PRECISION))

    assert next_morning.last_login.tolist() == [0]
    assert next_morning.binds_at.tolist() == [NOON + night - 1]
    assert same_day.last_login.tolist() == [-1]
    assert same_day.binds_at.tolist() == [NOON + 60_000]


def test_copies_and_conflicting_repeats_have_no_answer() -> None:
    found = answers(
        (LOGIN, 0, 10, 1, NONE),
        (REPAID, 500, 520, 2, NONE),
        (REPAID, 500, 530, 2, Fault.DUPLICATE),
        (REPAID, 500, 540, 3, Fault.CONFLICT),
    )

    assert found.event.tolist() == [1]
