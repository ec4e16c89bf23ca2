"""When tokens end: the day counts from its beginning in UTC, and the warning comes in time."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace
from tests.acme import T0
from tests.desk import Desk, acme
from tests.measured import measured

from lendsignal.deliver import Outlet, token_ends
from lendsignal.deliver.expiry import ends_at

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TWO_WEEKS = timedelta(days=14)


def outlet(name: str, expires: date | None) -> Outlet:
    found = acme(token_expires=expires)
    return replace(found, name=name)


def state(expires: date, now: datetime = NOW) -> str:
    (one,) = token_ends({"acme": outlet("acme", expires)}, TWO_WEEKS, now)
    return one.state


def test_a_token_has_ended_from_the_first_moment_of_its_day_in_utc() -> None:
    midnight = datetime(2026, 12, 1, tzinfo=UTC)

    assert ends_at(date(2026, 12, 1)) == midnight
    assert state(date(2026, 12, 1), midnight - timedelta(microseconds=1)) == "soon"
    assert state(date(2026, 12, 1), midnight) == "ended"


def test_the_warning_comes_two_weeks_before_and_not_earlier() -> None:
    midnight = datetime(2026, 12, 15, tzinfo=UTC)

    assert state(date(2026, 12, 15), midnight - TWO_WEEKS - timedelta(microseconds=1)) == "fine"
    assert state(date(2026, 12, 15), midnight - TWO_WEEKS) == "soon"


def test_the_first_to_end_comes_first_and_those_of_which_nothing_is_said_are_left_out() -> None:
    outlets = {
        "late": outlet("late", date(2027, 6, 1)),
        "silent": outlet("silent", None),
        "soon": outlet("soon", date(2026, 11, 25)),
        "gone": outlet("gone", date(2026, 11, 1)),
    }
    found = token_ends(outlets, TWO_WEEKS, NOW)

    assert [(one.destination, one.state) for one in found] == [
        ("gone", "ended"),
        ("soon", "soon"),
        ("late", "fine"),
    ]
    assert [one.told() for one in found] == [
        "the token of gone ended on 2026-11-01",
        "the token of soon ends on 2026-11-25, in 2 days",
        # from noon of 22 November: 8 + 31 + 31 + 28 + 31 + 30 + 31 days, and half a day
        "the token of late ends on 2027-06-01, in 190 days",
    ]


def test_the_last_day_is_said_in_words() -> None:
    (one,) = token_ends({"acme": outlet("acme", date(2026, 11, 23))}, TWO_WEEKS, NOW)

    assert one.told() == "the token of acme ends on 2026-11-23, in less than a day"


def test_the_metric_counts_down_and_goes_below_zero_and_says_nothing_of_what_is_not_known(
    tmp_path: Path,
) -> None:
    # The desk's clock stands at 9 in the morning.
    tomorrow, today = T0.date() + timedelta(days=1), T0.date()
    outlets = acme("acme-a", token_expires=tomorrow), acme("acme-b", token_expires=today), acme("acme-c")
    with Desk(tmp_path, *outlets) as desk:
        found = measured(desk.sender.book.meters)

        assert found.value("token_expires_seconds", destination="acme-a") == 15 * 3600
        assert found.value("token_expires_seconds", destination="acme-b") == -9 * 3600
        assert found.total("token_expires_seconds", destination="acme-c") == 0
