"""Which ids the active users are known by."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acme import DAY, loan, login

from lendsignal.log import Log, open_log
from lendsignal.model import ZERO_ID, Device
from lendsignal.report import coverage


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    one = open_log(tmp_path / "log.sqlite")
    yield one
    one.close()


def test_an_empty_log_has_no_users(log: Log) -> None:
    found = coverage(log)

    assert (found.users, found.as_of, found.ids.rows, found.versions.rows) == (0, None, (), ())


def test_each_user_counts_once_by_the_latest_login_within_the_days(log: Log) -> None:
    old, new = Device(gaid="g1", app_version="1"), Device(appsflyer_id="a1", gaid=ZERO_ID, app_version="2")
    log.append(
        [
            login(0, Device(gaid="g9", app_version="1"), user_id="long-gone"),
            login(40 * DAY, old, user_id="u1"),
            login(50 * DAY, new, user_id="u1"),
            login(45 * DAY, Device(gaid="g2", app_version="2"), user_id="u2"),
            login(46 * DAY, Device(os="ios"), user_id="u3", app="acme-ios", flags=("unusable_idfv",)),
            login(51 * DAY, Device(gaid="g3"), user_id="u1", actor="agent"),
            loan(52 * DAY),
        ]
    )

    found = coverage(log, days=30)

    assert found.users == 3
    rows = {(row["app"], row["id"]): row for row in found.ids.records()}
    assert set(rows) == {("acme-ng", "appsflyer_id"), ("acme-ng", "gaid"), ("acme-ios", "idfv")}
    gaid, idfv = rows["acme-ng", "gaid"], rows["acme-ios", "idfv"]
    assert [gaid[name] for name in ("users", "with_id", "share", "zeros", "unusable")] == [2, 1, 0.5, 1, 0]
    assert [idfv[name] for name in ("users", "with_id", "share", "zeros", "unusable")] == [1, 0, 0.0, 0, 1]
    versions = {(row["app"], row["version"]): row for row in found.versions.records()}
    assert versions["acme-ng", "2"]["users"] == 2
    assert versions["acme-ng", "2"]["appsflyer_id"] == 0.5
    assert versions["acme-ios", "not told"]["idfv"] == 0.0
    assert ("acme-ng", "1") not in versions


def test_fewer_days_leave_out_who_was_away(log: Log) -> None:
    log.append([login(0, Device(gaid="g1"), user_id="u1"), login(10 * DAY, Device(gaid="g2"), user_id="u2")])

    assert (coverage(log, days=5).users, coverage(log, days=11).users) == (1, 2)
