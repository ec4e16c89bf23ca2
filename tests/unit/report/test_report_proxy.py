"""The early proxy's calibration, out of a lender's own log."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acme import DAY, HOUR, event, moment
from tests.unit.report.kept import Kept

from lendsignal.errors import InputError
from lendsignal.model import Event
from lendsignal.report.proxy import ProxyReport, proxy
from lendsignal.report.slices import Slice

AFTER, WITHIN = timedelta(minutes=30), timedelta(days=7)
APPLICATIONS = 1_600


def applications(number: int = APPLICATIONS) -> list[Event]:
    """One every ten minutes. A third is decided at once; of the rest the returning are granted after three
    hours nine times of ten, the new ones one time of ten."""
    chance, events = np.random.default_rng(3), []
    for n in range(number):
        user, at, returning = f"u{n}", 10.0 * n, n % 2 == 0
        known: dict[str, Any] = {"user_id": user, "application_id": f"A{n}"}
        product = "again" if returning else "first"
        events.append(event("applied", at, event_id=f"a{n}", product=product, **known))
        granted = bool(chance.random() < (0.9 if returning else 0.1))
        waits = 1 if n % 3 == 0 else 3 * HOUR
        kind, key = ("credit_granted", {"grant_id": f"G{n}"}) if granted else ("credit_denied", {})
        events.append(event(kind, at + waits, event_id=f"d{n}", **{**known, **key}))
    return sorted(events, key=lambda one: one.occurred_at)


def figures(found: ProxyReport) -> dict[str, Any]:
    return {str(name): value for name, value in found.figures.rows}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    made = Kept(tmp_path_factory.mktemp("proxy"))
    return made.tell(*applications(), event("app_opened", 10 * APPLICATIONS + 8 * DAY, user_id="last"))


def test_what_the_tables_tell_is_what_the_log_tells(kept: Kept) -> None:
    told = proxy(kept.log, after=AFTER, within=WITHIN, precision=0.8)
    with kept.tables() as tables:
        read = proxy(kept.log, after=AFTER, within=WITHIN, precision=0.8, tables=tables)

    assert read == told


def test_who_returns_is_told_from_who_is_new_and_the_gain_in_time_is_said(kept: Kept) -> None:
    found = proxy(kept.log, after=AFTER, within=WITHIN, precision=0.8).report
    said = figures(found)

    assert found.usable
    assert said["applications judged"] == 214  # a fifth of the 1,066 that are undecided after half an hour
    assert 0.8 < said["precision"] < 1
    assert said["recall"] == pytest.approx(0.9, abs=0.06)
    assert said["fires for, of those undecided"] == pytest.approx(0.5, abs=0.05)
    assert said["fires for, of all applications"] == pytest.approx(1 / 3, abs=0.05)
    assert said["seconds earlier than the grant, median"] == 2.5 * 3_600
    assert said["Brier score"] == pytest.approx(0.09, abs=0.03)  # 0.9 · 0.1
    assert said["Brier score of the plain rate"] == pytest.approx(0.25, abs=0.01)


def test_what_is_said_comes_as_often_in_each_tenth(kept: Kept) -> None:
    rows = proxy(kept.log, after=AFTER, within=WITHIN, precision=0.8).report.reliability.records()

    assert sum(int(str(row["applications"])) for row in rows) == 214
    assert rows[0]["said"] == pytest.approx(0.1, abs=0.06)
    assert rows[-1]["said"] == pytest.approx(0.9, abs=0.06)


def test_what_is_too_young_to_have_ended_is_not_judged(tmp_path: Path) -> None:
    young = Kept(tmp_path).tell(*applications(30))

    found = proxy(young.log, after=AFTER, within=WITHIN, precision=0.8).report

    assert not found.usable
    assert found.notes[0].startswith("30 applications, 0 of them old enough")
    assert "Nothing is fitted: 0 applications with a known end" in found.notes[-1]


def test_a_change_of_policy_today_makes_no_application_old(tmp_path: Path) -> None:
    made = Kept(tmp_path, now=100 * DAY).tell(event("applied", 0, application_id="A1"))

    found = proxy(made.log, after=AFTER, within=WITHIN, precision=0.8).report
    made.log.close()

    assert found.as_of == moment(0)
    assert found.notes[0].startswith("1 applications, 0 of them old enough")


def test_a_grant_that_names_no_application_is_about_the_users_latest_and_test_users_are_left_out(
    tmp_path: Path,
) -> None:
    known: dict[str, Any] = {"user_id": "u1"}
    made = Kept(tmp_path).tell(
        event("applied", 0, application_id="A1", **known),
        event("applied", 10, application_id="A2", **known),
        event("credit_granted", 20, grant_id="G", **known),
        event("applied", 0, application_id="T", user_id="tester", test=True),
        event("app_opened", 8 * DAY, user_id="last"),
    )

    found = proxy(made.log, after=AFTER, within=WITHIN, precision=0.8).report

    # The grant decides A2 within the half hour; A1 stays undecided.
    assert found.notes[0] == (
        "2 applications, 2 of them old enough, 1 of these still undecided after 30 minutes."
    )


def test_each_part_of_the_slice_says_how_often_it_is_right(kept: Kept) -> None:
    with kept.tables() as tables:
        found = proxy(
            kept.log,
            after=AFTER,
            within=WITHIN,
            precision=0.8,
            tables=tables,
            one=Slice(by=("product",)),
        ).report
    parts = {row["product"]: row for row in found.parts.records()}
    said = figures(found)

    # Those who return are granted nine times of ten and told of; of the new ones nobody is.
    assert set(parts) == {"again", "first"}
    assert sum(int(str(row["applications"])) for row in parts.values()) == said["applications judged"] == 214
    assert parts["again"]["told_of"] == parts["again"]["applications"]
    assert parts["again"]["precision"] == pytest.approx(said["precision"], abs=1e-4)
    assert parts["first"]["told_of"] == 0
    assert (parts["first"]["precision"], parts["first"]["remark"]) == (None, "empty")
    assert [chart.title for chart in found.charts()][1] == found.parts.title


def test_a_slice_judges_by_its_applications_alone_and_fits_to_all(kept: Kept) -> None:
    def judged(one: Slice) -> ProxyReport:
        with kept.tables() as tables:
            return proxy(kept.log, after=AFTER, within=WITHIN, precision=0.8, tables=tables, one=one).report

    whole = judged(Slice())
    again = judged(Slice(where=(("product", "again"),)))
    days = judged(Slice(every="day"))
    last = judged(Slice(since=date(2026, 3, 20)))

    assert figures(again)["threshold"] == figures(whole)["threshold"]
    assert figures(again)["applications judged"] < 214
    assert figures(again)["recall"] == 1
    assert sum(int(str(row["applications"])) for row in days.parts.records()) == 214
    by_day = {str(row["day"]): int(str(row["applications"])) for row in days.parts.records()}
    since = sum(n for day, n in by_day.items() if day >= "2026-03-20")
    assert figures(last)["applications judged"] == since > 0
    assert figures(judged(Slice(until=date(2026, 3, 10)))) == {}
    assert "fitted to all of history" in again.notes[-1]


def test_what_nothing_has_is_named_with_the_nearest(kept: Kept) -> None:
    with kept.tables() as tables, pytest.raises(InputError) as refused:
        proxy(
            kept.log,
            after=AFTER,
            within=WITHIN,
            precision=0.8,
            tables=tables,
            one=Slice(where=(("product", "agian"),)),
        )

    assert refused.value.nearest == "again"
