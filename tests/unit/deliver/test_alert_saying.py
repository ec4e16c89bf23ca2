"""Who is told when. Times are hours after noon UTC of an ordinary day."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from lendsignal.clock import to_us
from lendsignal.deliver.alerts import AlertSettings
from lendsignal.deliver.alerts.saying import due
from lendsignal.log import Raised, Told
from lendsignal.model import Secret

NOON = to_us(datetime(2026, 5, 13, 12, tzinfo=UTC))
HOUR = 3_600_000_000


def target(**settings: Any) -> AlertSettings:
    return AlertSettings(kind="slack", url=Secret(env="MADE_UP"), **settings)


def alarm(key: str = "paused meta", severity: str = "critical", kind: str = "paused") -> Raised:
    return Raised(
        key=key, kind=kind, severity=severity, said=f"{key}!", do="act", since_us=NOON, seen_us=NOON
    )


def told(hours: float, one: Raised | None = None) -> Told:
    found = one or alarm()
    return Told(
        target="ops",
        key=found.key,
        kind=found.kind,
        severity=found.severity,
        said=found.said,
        do=found.do,
        since_us=found.since_us,
        at_us=NOON + int(hours * HOUR),
    )


def says(
    hours: float,
    raised: Collection[Raised],
    before: Collection[Told] = (),
    *,
    silenced: Collection[str] = (),
    **settings: Any,
) -> list[tuple[str, str]]:
    found = due(raised, before, target(**settings), silenced, NOON + int(hours * HOUR))
    return [(one.key, one.state) for one in found]


def test_an_alarm_is_told_once_and_again_after_a_while_and_at_its_end() -> None:
    assert says(0, [alarm()]) == [("paused meta", "open")]
    assert says(3.9, [alarm()], [told(0)]) == []
    assert says(4, [alarm()], [told(0)]) == [("paused meta", "again")]
    assert says(5, [], [told(4)]) == [("paused meta", "well")]
    assert says(5, [], []) == []


def test_an_alarm_need_not_be_told_again() -> None:
    assert says(400, [alarm()], [told(0)], repeat=timedelta(0)) == []


def test_an_alarm_that_grew_worse_is_told_at_once() -> None:
    warned = told(0, alarm(severity="warning"))

    assert says(0.1, [alarm()], [warned]) == [("paused meta", "again")]
    assert says(0.1, [alarm(severity="warning")], [told(0)]) == []


def test_a_target_hears_what_it_asked_for() -> None:
    warning = alarm("disk", "warning", "disk")

    assert says(0, [alarm(), warning], severity="critical") == [("paused meta", "open")]
    assert says(0, [alarm(), warning], only=("disk",)) == [("disk", "open")]
    assert says(0, [alarm()], enabled=False) == []


def test_in_quiet_hours_only_what_is_urgent_is_told_and_the_rest_afterwards() -> None:
    night: dict[str, Any] = {"quiet": "22:00-07:00", "timezone": "Africa/Lagos"}  # an hour ahead of UTC
    warning = alarm("disk", "warning", "disk")

    assert says(8.9, [warning], **night) == [("disk", "open")]
    assert says(9, [warning, alarm()], **night) == [("paused meta", "open")]
    assert says(17.9, [warning], **night) == []
    assert says(18, [warning], **night) == [("disk", "open")]
    assert says(10, [], [told(9), told(8, warning)], **night) == [("paused meta", "well")]


def test_quiet_hours_may_lie_within_a_day() -> None:
    warning = alarm("disk", "warning", "disk")

    assert says(0.5, [warning], quiet="12:00-13:00") == []
    assert says(1, [warning], quiet="12:00-13:00") == [("disk", "open")]


def test_a_silenced_alarm_is_not_told_but_its_end_is() -> None:
    assert says(0, [alarm()], silenced={"paused meta"}) == []
    assert says(9, [alarm()], [told(0)], silenced={"paused meta"}) == []
    assert says(9, [], [told(0)], silenced={"paused meta"}) == [("paused meta", "well")]


def test_the_end_says_what_was_told() -> None:
    before = msgspec.structs.replace(told(0), said="meta was paused")
    (end,) = due([], [before], target(), (), NOON + HOUR)

    assert (end.said, end.since_us, end.at_us) == ("meta was paused", NOON, NOON + HOUR)
