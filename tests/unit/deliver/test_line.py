"""One destination's queue, by given times: how fast, how long to wait, when to give up."""

import random
from datetime import timedelta
from typing import Any

import pytest
from tests.acme import DAY, HOUR, moment, us
from tests.desk import acme

from lendsignal.deliver import DeliverSettings, Line, Pace, Unknown
from lendsignal.destination.spec import Retries
from lendsignal.log import Open, Pause, Stage, Stop

SECOND = 1_000_000
MINUTE = 60 * SECOND


def line(settings: DeliverSettings | None = None, **changes: Any) -> Line:
    """Acme's queue, made at second 0 of the steady clock."""
    return Line(acme(**changes), settings or DeliverSettings(), pace(), pace(), random.Random(7))


def pace(most: float = 10_000, burst: float | None = None, now: float = 0.0) -> Pace:
    return Pace(most, burst, now)


def paused(reason: str = "bad_token", kind: Stop = Stop.PLATFORM) -> Pause:
    return Pause(us(0), kind, reason)


def waiting(number: int, due_us: int = 0, **fields: Any) -> Open:
    return Open("acme-ng", number, Stage.WAITING, due_us, **fields)


# waiting for another try


@pytest.mark.parametrize(
    ("attempts", "longest"),
    [(0, 2), (1, 4), (2, 8), (8, 512), (9, 900), (40, 900), (10_000, 900)],
)
def test_the_wait_is_anywhere_up_to_a_bound_that_doubles_to_a_quarter_of_an_hour(
    attempts: int, longest: int
) -> None:
    queue = line()

    waits = [queue.retry_at(waiting(1, attempts=attempts), None, us(0)) - us(0) for _ in range(400)]

    assert 0 <= min(waits) < longest * SECOND * 0.05
    assert longest * SECOND * 0.95 < max(waits) <= longest * SECOND


def test_the_wait_is_never_shorter_than_the_platform_asks() -> None:
    queue = line()

    waits = {queue.retry_at(waiting(1), timedelta(hours=3), us(0)) for _ in range(50)}

    assert waits == {us(3 * HOUR)}


# holding still


def test_a_line_waits_while_its_account_is_told_to_slow_down() -> None:
    queue = line()
    queue.pace.slow_down(timedelta(seconds=90), 0.0, us(0))

    assert not queue.may_start(us(0) + 90 * SECOND - 1)
    assert queue.may_start(us(0) + 90 * SECOND)


def test_a_paused_line_sends_one_probe_at_a_time_and_ever_more_rarely() -> None:
    queue, now, waits = line(), us(0), []
    for _ in range(7):
        queue.stop(paused(), now)
        queue.stop(paused(), now)  # another row of the same answer
        waits.append((queue.probe_us - now) // MINUTE)
        assert not queue.may_start(queue.probe_us - 1)
        assert queue.may_start(queue.probe_us)
        queue.requests = 1
        assert not queue.may_start(queue.probe_us)
        queue.requests = 0
        now = queue.probe_us

    assert waits == [1, 2, 4, 8, 16, 16, 16]
    queue.resume()
    assert queue.may_start(now)
    queue.stop(paused(), now)
    assert queue.probe_us == now + MINUTE


@pytest.mark.parametrize("kind", [Stop.PERSON, Stop.BRAKE])
def test_what_a_person_or_a_brake_stopped_is_never_probed(kind: Stop) -> None:
    queue = line()
    queue.stop(paused("by_hand", kind), us(0))
    queue.stop(paused("bad_token"), us(0))

    assert queue.stopped == paused("by_hand", kind)
    assert not queue.may_start(us(7 * DAY))


def test_a_line_has_no_more_requests_than_its_concurrency() -> None:
    queue = line(concurrency=3)
    queue.requests = 2
    assert queue.may_start(us(0))

    queue.requests = 3
    assert not queue.may_start(us(0))


# the queue


def test_deliveries_leave_the_queue_by_when_they_are_due_and_then_in_order() -> None:
    queue = line()
    for number, due_us in ((5, 20), (1, 30), (3, 10), (2, 10)):
        queue.put(waiting(number, due_us))

    assert [one.id for one in queue.due(5, 10, 0.0)] == []
    assert [one.id for one in queue.due(10, 1, 0.0)] == [2]
    assert [one.id for one in queue.due(25, 10, 0.0)] == [3, 5]
    assert queue.next_due_us(0.0, 25) == 30


def test_one_that_is_put_off_is_due_at_its_new_time_only() -> None:
    queue = line()
    queue.put(waiting(1, 10))
    queue.put(waiting(1, 50))

    assert queue.due(20, 10, 0.0) == []
    assert [one.due_us for one in queue.due(50, 10, 0.0)] == [50]


def test_one_that_is_on_its_way_or_gone_is_not_due() -> None:
    queue = line()
    queue.put(waiting(1, 10))
    queue.put(waiting(2, 10))
    queue.flying.add(1)
    queue.drop(queue.items[2])

    assert queue.due(10, 10, 0.0) == []


def test_memory_takes_no_more_than_its_window_and_remembers_that_there_is_more() -> None:
    queue = line(DeliverSettings(window=100))

    taken = [queue.offer(waiting(number)) for number in range(101)]

    assert taken == [True] * 100 + [False]
    assert queue.more_in_store
    queue.drop(queue.items[0])
    assert not queue.offer(waiting(101)), "what waits on disk goes first"


# giving up


def test_a_platforms_window_ends_trying_where_late_ones_are_skipped() -> None:
    found = line(facts={"max_age": timedelta(days=2)}).gives_up_us(waiting(1), moment(0))

    assert found == us(2 * DAY)


def test_where_late_ones_are_sent_trying_ends_three_days_after_the_first_try() -> None:
    queue = line(facts={"late": "send"})

    assert queue.gives_up_us(waiting(1), moment(0)) is None
    assert queue.gives_up_us(waiting(1, first_us=us(5)), moment(0)) == us(5 + 72 * HOUR)


def test_the_nearer_of_our_age_and_the_platforms_window_counts() -> None:
    near, far = timedelta(hours=1), timedelta(days=30)

    assert line(max_age=near).gives_up_us(waiting(1), moment(0)) == us(HOUR)
    assert line(max_age=far).gives_up_us(waiting(1), moment(0)) == us(2 * DAY)
    assert line(max_age=far, late="send").gives_up_us(waiting(1), moment(0)) == us(30 * DAY)


def test_ours_goes_before_the_platforms_rule_for_the_ambiguous_end() -> None:
    assert acme().on_unknown == Retries(3)
    assert acme(on_unknown=Unknown(retry=1)).on_unknown == Unknown(retry=1)


# settings that cannot be meant


@pytest.mark.parametrize("span", ["probe_after", "first_retry", "longest_retry", "retry_for"])
def test_a_wait_of_nothing_would_be_a_loop(span: str) -> None:
    nothing: dict[str, Any] = {span: timedelta(0)}

    with pytest.raises(ValueError, match=f"{span} must be longer than 0s"):
        DeliverSettings(**nothing)


@pytest.mark.parametrize("span", ["timeout", "max_age"])
def test_a_destination_without_any_time_is_refused(span: str) -> None:
    nothing: dict[str, Any] = {span: timedelta(0)}

    with pytest.raises(ValueError, match=f"{span} must be longer than 0s"):
        acme(**nothing)


def test_the_longest_wait_is_not_shorter_than_the_first() -> None:
    with pytest.raises(ValueError, match="longest_retry"):
        DeliverSettings(first_retry=timedelta(minutes=5), longest_retry=timedelta(minutes=1))


@pytest.mark.parametrize("address", ["127.0.0.1:8900", "ftp://127.0.0.1", "http://", "http://[::1", "x"])
def test_a_sandbox_is_an_http_address(address: str) -> None:
    with pytest.raises(ValueError, match="sandbox must be an address"):
        DeliverSettings(sandbox=address)


def test_usual_sandboxes_are_taken() -> None:
    for address in ("http://127.0.0.1:8900", "http://[::1]:8900/", "https://sandbox.acme.example/x"):
        assert DeliverSettings(sandbox=address).sandbox == address
