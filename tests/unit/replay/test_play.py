"""Steps of the replay clock."""

from typing import Any

from lendsignal.replay import chunks, received_us


def event(second: int) -> dict[str, Any]:
    return {"received_at": f"2026-11-22T10:00:{second:02d}.500Z", "n": second}


def test_events_go_into_the_step_they_arrive_in_and_empty_steps_are_left_out() -> None:
    ten_seconds = 10_000_000
    found = list(chunks([event(1), event(2), event(11), event(45)], ten_seconds, received_us))

    assert [[one["n"] for one in batch] for _, batch in found] == [[1, 2], [11], [45]]
    for end, batch in found:
        assert all(end - ten_seconds <= received_us(one) <= end for one in batch)
        assert end % ten_seconds == 0


def test_every_event_is_played_once_in_order() -> None:
    events = [event(second) for second in range(60)]
    found = [one for _, batch in chunks(events, 7_000_000, received_us) for one in batch]

    assert found == events
