"""Both delays. Expected spans are the minutes between the moments of each test."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import Struct
from tests.acme import DAY, HOUR, T0, event, loan, login, source, us
from tests.unit.report.kept import Fate, Kept
from tests.unit.report.world import ZONE, filled, told, world

from lendsignal.clock import from_us
from lendsignal.destination import appsflyer
from lendsignal.model import Event
from lendsignal.model.attribution import Ad, Attribution, AttributionKind
from lendsignal.plan import Entry, Planned
from lendsignal.report import Delay, delay

SEND = {"credit": "ev_c", "disbursement": "ev_d", "application": "ev_a"}


class Days(Struct, frozen=True):
    """A platform's window of so many days."""

    days: float
    window_closes: None = None

    @property
    def max_age(self) -> timedelta:
        return timedelta(days=self.days)

    def closes_at(self, occurred_at: datetime) -> datetime:
        return occurred_at + self.max_age


def about(kind: str, minutes: float, application: str = "A1", **fields: Any) -> Event:
    return event(kind, minutes, application_id=application, **fields)


def granted(minutes: float, application: str | None = "A1", grant: str = "G1", **fields: Any) -> Event:
    return event("credit_granted", minutes, grant_id=grant, application_id=application, **fields)


def reported(kept: Kept, window: Any = None) -> Delay:
    with kept.tables() as tables:
        return delay(tables, {} if window is None else {"appsflyer-ng": window})


def decided(path: Path, *events: Event) -> dict[str, tuple[int, float | None]]:
    """For each stage how many `credit` conversions went through it, and the median in minutes."""
    rows = reported(Kept(path, source(send=SEND)).tell(login(-1, "one"), *events)).decision.records()
    return {
        str(one["stage"]): (
            int(str(one["conversions"])),
            None if one["p50"] is None else float(str(one["p50"])) / 60,
        )
        for one in rows
        if one["conversion"] == "credit"
    }


def test_the_decision_is_split_into_review_phone_check_and_the_rest(tmp_path: Path) -> None:
    found = decided(
        tmp_path,
        about("applied", 0),
        about("review_started", 10),
        about("review_ended", 40),
        about("phone_check_started", 60),
        about("phone_check_ended", 65),
        granted(100),
    )

    # 10 before the review, 30 in it, 20 between, 5 on the phone, 35 until the grant
    assert found == {
        "waiting": (1, 10),
        "review": (1, 30),
        "phone_check": (1, 5),
        "other": (1, 55),
        "whole": (1, 100),
    }


def test_a_phone_check_inside_a_review_is_counted_once(tmp_path: Path) -> None:
    found = decided(
        tmp_path,
        about("applied", 0),
        about("review_started", 10),
        about("phone_check_started", 20),
        about("phone_check_ended", 26),
        about("review_ended", 50),
        granted(51),
    )

    assert (found["review"], found["phone_check"]) == ((1, 34), (1, 6))
    assert (found["waiting"], found["other"], found["whole"]) == ((1, 10), (1, 1), (1, 51))


def test_a_review_that_nobody_began_or_ended_runs_from_the_application_or_to_the_event(
    tmp_path: Path,
) -> None:
    only_end = decided(tmp_path / "a", about("applied", 0), about("review_ended", 30), granted(40))
    only_start = decided(tmp_path / "b", about("applied", 0), about("review_started", 30), granted(40))

    assert only_end["review"] == (1, 30)
    assert only_start["review"] == (1, 10)


def test_two_reviews_of_one_application_add_up(tmp_path: Path) -> None:
    found = decided(
        tmp_path,
        about("applied", 0),
        about("review_started", 10),
        about("review_ended", 20),
        about("review_started", 30, event_id="again"),
        about("review_ended", 37, event_id="again ended"),
        granted(40),
    )

    assert found["review"] == (1, 17)


def test_an_automatic_decision_has_no_review(tmp_path: Path) -> None:
    assert decided(tmp_path, about("applied", 0), granted(2)) == {
        "waiting": (0, None),
        "review": (0, None),
        "phone_check": (0, None),
        "other": (1, 2),
        "whole": (1, 2),
    }


def test_another_applications_review_is_not_this_ones(tmp_path: Path) -> None:
    found = decided(
        tmp_path,
        about("applied", 0),
        about("applied", 5, "A2"),
        about("review_started", 6, "A2"),
        granted(20),
    )

    assert found["review"] == (0, None)


def test_a_grant_without_an_application_answers_the_latest_one_and_only_once(tmp_path: Path) -> None:
    events = (about("applied", 0), about("applied", 10, "A2"), granted(13, None), granted(19, None, "G2"))

    assert decided(tmp_path, *events)["whole"] == (1, 3)


def test_a_disbursement_finds_its_application_through_the_grant(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(
        login(-1, "one"), about("applied", 0), about("applied", 3, "A2"), granted(4), loan(10, grant_id="G1")
    )
    rows = reported(kept).decision.records()

    assert [one["p50"] for one in rows if (one["conversion"], one["stage"]) == ("disbursement", "whole")] == [
        600
    ]


def test_what_cannot_have_a_decision_delay_is_told(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(
        loan(0), about("applied", 1, user_id="u2"), granted(2, user_id="u2", time_precision="day")
    )

    assert reported(kept).notes[:2] == (
        "1 applications, grants and disbursements are known by their day alone: no decision delay.",
        "1 grants and disbursements answer no application that we know of: no decision delay.",
    )


def posted(path: Path) -> Kept:
    """A loan that arrives 3 minutes late, waits 7 in the pen, and is accepted after half an hour in all."""
    kept = Kept(path, source(send={"disbursement": "ev_d"}))
    kept.tell(loan(0, arrives=3), login(5, "one", arrives=10))
    return kept.send(lambda name, planned, entry: Fate("accepted", "confirmed", 30))


def stages(report: Delay) -> dict[str, float]:
    return {str(one["stage"]): float(str(one["p50"])) for one in report.posting.records()}


def test_the_posting_delay_is_split_by_cause(tmp_path: Path) -> None:
    # The one try is sent a second before its answer, 30 minutes after the event.
    found = stages(reported(posted(tmp_path)))

    assert found == {
        "arrival": 180,
        "pen": 420,
        "settle": 2,
        "queue": 30 * 60 - 600 - 2 - 1,
        "platform": 1,
        "whole": 1800,
    }
    assert sum(found.values()) == 2 * found["whole"]


def test_time_between_tries_is_the_platforms(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send={"disbursement": "ev_d"})).tell(login(-9, "one"), loan(-5))
    # Each of the first two tries was sent at T0.
    kept.send(lambda name, planned, entry: Fate("accepted", "confirmed", 30, tries=3))

    found = stages(reported(kept))

    assert (found["queue"], found["platform"]) == (5 * 60 - 2, 30 * 60)


def test_what_is_not_accepted_has_no_posting_delay(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send={"disbursement": "ev_d"})).tell(login(-9, "one"), loan(0))
    kept.send(lambda name, planned, entry: Fate("dead", "http_400", 3))

    assert reported(kept).posting.rows == ()


def accepted_after(path: Path, minutes: float, starts: float = 0) -> Kept:
    kept = Kept(path, source(send={"disbursement": "ev_d"}))
    kept.tell(login(starts - 9, "one"), about("applied", starts - 5), loan(starts, application_id="A1"))
    return kept.send(lambda name, planned, entry: Fate("accepted", "confirmed", starts + minutes))


def test_the_same_day_is_the_apps_own(tmp_path: Path) -> None:
    # T0 is 10:00 in Lagos: 23:59 there is 13 h 59 min later, while UTC's day has an hour more.
    before = reported(accepted_after(tmp_path / "a", 14 * HOUR - 1)).days.records()
    after = reported(accepted_after(tmp_path / "b", 14 * HOUR)).days.records()

    assert [one["same_day"] for one in (*before, *after)] == [1, 0]


def test_days_keep_their_length_of_23_and_25_hours(tmp_path: Path) -> None:
    zone = ZoneInfo("Europe/Berlin")
    found: dict[str, list[Any]] = {}
    for name, at in {"spring": (2026, 3, 29), "autumn": (2026, 10, 25)}.items():
        start = (datetime(*at, 0, 30, tzinfo=zone).astimezone(UTC) - T0).total_seconds() / 60
        for hours in (22.0, 23.0, 24.0, 25.0):
            kept = accepted_after(tmp_path / f"{name}{hours}", hours * HOUR, start)
            with kept.tables() as tables:
                tables.zones = {"acme-ng": zone}
                (row,) = delay(tables).days.records()
            found.setdefault(name, []).append(row["same_day"])

    # From 0:30 on: 22 h later it is 23:30 in spring and 21:30 in autumn.
    assert found == {"spring": [1, 0, 0, 0], "autumn": [1, 1, 1, 0]}


def test_the_window_counts_what_came_too_late_and_what_was_never_taken(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send={"disbursement": "ev_d"})).tell(login(-9, "one"))
    kept.tell(*(loan(n, f"L{n}") for n in range(4)))

    def fate(name: int, planned: Planned, entry: Entry) -> Fate:
        match planned.conversion.loan_id:
            case "L0":
                return Fate("accepted", "confirmed", DAY - 1)
            case "L1":
                return Fate("accepted", "confirmed", DAY + 1)  # exactly a day after the event
            case "L2":
                return Fate("dead", "window_closed", 2 * DAY)
            case _:
                return Fate("dead", "http_400", 3)

    (row,) = reported(kept.send(fate), Days(1)).days.records()

    assert (row["accepted"], row["in_window"], row["too_late"]) == (2, 1, 2)


def test_a_window_of_the_platforms_own_shape_is_asked(tmp_path: Path) -> None:
    # AppsFlyer's day closes at 2:00 UTC of the next: T0 is 9:00 UTC, so 17 hours later.
    found = [
        reported(accepted_after(tmp_path / str(minutes), minutes), appsflyer.SPEC).days.records()[0]
        for minutes in (17 * HOUR - 1, 17 * HOUR)
    ]

    assert [one["in_window"] for one in found] == [1, 0]


def test_a_proxy_gains_what_was_decided_on_a_later_day(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(login(-1, "one"), about("applied", 0), granted(13 * HOUR))
    kept.tell(about("applied", 5, "A2"), granted(14 * HOUR, "A2", "G2"))
    (row,) = [one for one in reported(kept).proxy.records() if one["conversion"] == "credit"]

    assert (row["conversions"], row["later"], row["later_share"]) == (2, 1, 0.5)
    assert row["earlier_p50"] == (14 * HOUR - 5) * 60


def came(minutes: float, channel: str, kind: AttributionKind = AttributionKind.INSTALL) -> Attribution:
    ad = Ad(channel=channel, media_source=channel)
    return Attribution(
        feed="mmp", mmp="appsflyer", app="acme-ng", id="af-one", kind=kind, at_us=us(minutes), ad=ad
    )


def test_days_after_the_ad_are_counted_from_the_latest_coming_by_then(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(login(-1, "one"))
    kept.tell(
        about("applied", 0),
        granted(2 * DAY),
        about("applied", 8 * DAY, "A2"),
        granted(8 * DAY + 1, "A2", "G2"),
    )
    kept.feed(came(-1, "meta"), came(8 * DAY - 5, "tiktok", AttributionKind.RE_ENGAGEMENT))
    rows = [one for one in reported(kept).windows.records() if one["conversion"] == "credit"]
    found = {(one["channel"], one["days"]): (one["inside"], one["gained_share"]) for one in rows}

    # Granted two days and a minute after the install, applied for within a minute of it; the second grant
    # follows a return by six minutes.
    assert found == {
        ("meta", 1): (0, 1.0),
        ("meta", 7): (1, 0.0),
        ("meta", 30): (1, 0.0),
        ("tiktok", 1): (1, 0.0),
        ("tiktok", 7): (1, 0.0),
        ("tiktok", 30): (1, 0.0),
    }


def test_empty_folders_have_empty_tables(tmp_path: Path) -> None:
    report = reported(Kept(tmp_path))

    assert all(not found.rows for found in report.tables().values())


def quantile(values: list[float], share: float) -> float:
    """Between the two values beside the place, in proportion."""
    place = share * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    ordered = sorted(values)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def test_a_made_up_lenders_delays_are_those_of_a_second_by_second_count(tmp_path: Path) -> None:
    one = world()
    kept = filled(tmp_path, one)
    with kept.tables() as tables:
        report = delay(tables)
        credit = dict(
            tables.rows("select event_id, at_us from conversion where name = 'credit' and not test")
        )
        sent = tables.rows("select at_us, answered_us, app from posted where conversion = 'disbursement'")

    applied: dict[str | None, datetime] = {}
    spans: dict[str, dict[str, list[Event]]] = {}
    whole: list[float] = []
    later = 0
    for found in told(one):
        if found.type == "applied":
            applied.setdefault(found.application_id, found.occurred_at)
        if found.type.startswith(("review", "phone")):
            spans.setdefault(str(found.application_id), {})[str(found.type)] = [found]
    stages: dict[str, list[float]] = {"waiting": [], "review": [], "phone_check": [], "other": []}
    for found in told(one):
        if credit.pop(found.event_id, None) is None:
            continue
        start, end = applied[found.application_id], found.occurred_at
        seen = spans.get(str(found.application_id), {})
        begins = [start] * 2
        count = dict.fromkeys(stages, 0.0)
        count["other"] = (end - start).total_seconds()
        for name in ("review", "phone_check"):
            if f"{name}_started" in seen:
                begins = [start, seen[f"{name}_started"][0].occurred_at] if name == "review" else begins
                length = seen[f"{name}_ended"][0].occurred_at - seen[f"{name}_started"][0].occurred_at
                count[name] = length.total_seconds()
        count["waiting"] = (begins[1] - begins[0]).total_seconds()
        count["other"] -= count["review"] + count["phone_check"] + count["waiting"]
        for name, seconds in count.items():
            stages[name] += [seconds] if seconds else []
        whole.append((end - start).total_seconds())
        later += start.astimezone(ZoneInfo(ZONE)).date() < end.astimezone(ZoneInfo(ZONE)).date()
    rows = {str(one["stage"]): one for one in report.decision.records() if one["conversion"] == "credit"}
    (proxy,) = [one for one in report.proxy.records() if one["conversion"] == "credit"]

    assert len(whole) > 150
    for name, spent in {**stages, "whole": whole}.items():
        assert rows[name]["conversions"] == len(spent)
        for share, column in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99")):
            assert float(str(rows[name][column])) == pytest.approx(quantile(spent, share))
    assert proxy["later"] == later

    same = 0
    for at_us, answered_us, _ in sent:
        day = from_us(at_us).astimezone(ZoneInfo(ZONE)).date()
        same += day == from_us(answered_us).astimezone(ZoneInfo(ZONE)).date()
    found_same = [one["same_day"] for one in report.days.records() if one["conversion"] == "disbursement"]
    assert sum(int(str(n)) for n in found_same) == same
