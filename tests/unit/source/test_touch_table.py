"""A table of users and devices, known by its headings, so that the first day binds right."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.acme import APPS, T0, loan, source
from tests.pulling import House

from lendsignal.errors import InputError
from lendsignal.plan import Planned
from lendsignal.source import reader_of
from lendsignal.source.files import import_files
from lendsignal.source.files.touches import touch_map


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path / "data")
    yield found
    found.close()


@pytest.mark.parametrize(
    ("headings", "columns"),
    [
        (
            ["Customer User ID", "AppsFlyer ID", "Advertising ID", "IDFA", "Install Time"],
            {
                "user_id": "Customer User ID",
                "device.appsflyer_id": "AppsFlyer ID",
                "device.gaid": "Advertising ID",
                "device.idfa": "IDFA",
                "occurred_at": "Install Time",
            },
        ),
        (
            ["uid", "adid", "gps_adid", "last_login", "created_at", "app"],
            {
                "user_id": "uid",
                "device.adjust_adid": "adid",
                "device.gaid": "gps_adid",
                "occurred_at": "last_login",
                "app": "app",
            },
        ),
        (
            ["user_id", "user_pseudo_id", "platform", "seen_at", "colour"],
            {
                "user_id": "user_id",
                "device.firebase_app_instance_id": "user_pseudo_id",
                "device.os": "platform",
                "occurred_at": "seen_at",
            },
        ),
    ],
)
def test_columns_are_known_by_what_they_are_called(headings: list[str], columns: dict[str, str]) -> None:
    (rule,) = touch_map(headings, brand="acme").event

    assert rule.columns == columns
    assert rule.type == "logged_in"


@pytest.mark.parametrize(
    ("headings", "wanted"),
    [
        (["appsflyer_id", "seen_at"], "the user"),
        (["user_id", "seen_at"], "an installation or a device"),
        (["user_id", "gaid"], "the time"),
    ],
)
def test_a_table_without_what_it_needs_says_what_that_is(headings: list[str], wanted: str) -> None:
    with pytest.raises(InputError, match=f"has no column for {wanted}"):
        touch_map(headings, brand="acme")


def test_the_day_of_the_table_stands_in_for_a_time_that_no_column_tells() -> None:
    (rule,) = touch_map(["user_id", "gaid"], brand="acme", as_of=datetime(2026, 3, 1, tzinfo=UTC)).event

    assert rule.constants["occurred_at"] == "2026-03-01T00:00:00+00:00"
    assert "occurred_at" not in rule.columns


def test_the_first_loan_after_go_live_belongs_to_the_device_of_the_table(
    house: House, tmp_path: Path
) -> None:
    table = tmp_path / "devices.csv"
    table.write_text(
        "user_id,appsflyer_id,last_login\n"
        "u1,1700000000001-1000001,2026-02-01 10:00:00\n"
        "u1,1700000000002-1000002,2026-03-01 10:00:00\n"
        "u2,1700000000003-1000003,2026-03-01 10:00:00\n"
    )
    rules = touch_map(
        ["user_id", "appsflyer_id", "last_login"], brand="acme", app="acme-ng", timezone="Africa/Lagos"
    )
    reader = reader_of(APPS, source().resolve.clock_ahead)
    import_files(house.log, [table], rules, reader, now=T0 - timedelta(days=1))
    house.log.append([loan(0, "L1")])
    house.verdicts()
    planned = [record for _, record in house.log.records(0, 100) if isinstance(record, Planned)]
    bound = {
        one.known.binding.snapshot.device.appsflyer_id
        for one in planned
        if one.conversion.name == "disbursement" and one.known.binding is not None
    }

    assert bound == {"1700000000002-1000002"}
