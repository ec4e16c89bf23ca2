"""Where credit goes under both rules, counted by hand and on a made-up lender."""

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, event, loan, login, us
from tests.unit.report.kept import Kept
from tests.unit.report.test_report_earnings import came, rows
from tests.unit.report.world import filled, world

from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded
from lendsignal.report import Bindings, bindings
from lendsignal.report.slices import Slice

META = Ad(channel="meta", media_source="Facebook Ads", campaign="fb_1")
ORGANIC = Ad(channel="organic", media_source="organic")


def returned(name: str, minutes: float, ad: Ad) -> Attribution:
    return Attribution(
        feed="mmp",
        mmp="appsflyer",
        app="acme-ng",
        id=name,
        kind=AttributionKind.RE_ATTRIBUTION,
        at_us=us(minutes),
        told_us=us(minutes),
        ad=ad,
    )


def recorded(number: int, day: float, ad: Ad, **fields: Any) -> Recorded:
    known = {"feed": "mmp", "mmp": "appsflyer", "app": "acme-ng", "name": "ev", "conversion": f"c{number}"}
    return Recorded(**{**known, "id": f"i{number}", "at_us": us(day * DAY), "ad": ad, **fields})


def reported(kept: Kept, one: Slice | None = None, **options: Any) -> Bindings:
    with kept.tables() as tables:
        return bindings(tables, one or Slice(), **options)


def lender(path: Path) -> Kept:
    """Installed organically, lent; ten days later back on a new phone by an ad of Meta, and lent again."""
    return (
        Kept(path)
        .tell(
            login(5, "a"),
            loan(10, "L1", loan_number=1),
            login(10 * DAY, "b"),
            loan(10 * DAY + 60, "L2", loan_number=2),
            event("app_opened", 40 * DAY),
        )
        .feed(came("af-a", 0, ORGANIC), returned("af-b", 10 * DAY - 5, META))
    )


def test_the_matrix_says_from_whom_to_whom_credit_goes(tmp_path: Path) -> None:
    found = rows(
        reported(lender(tmp_path)).matrix, "first_install", "last_login", "disbursements", "first_loans"
    )

    assert sorted(found) == [("organic", "Facebook Ads", 1, 0), ("organic", "organic", 1, 1)]


def test_an_install_by_which_a_user_came_back_is_an_orphan_to_the_first_install_alone(tmp_path: Path) -> None:
    kept = lender(tmp_path).feed(came("af-never", 1))
    found = rows(
        reported(kept).orphans,
        "channel",
        "kind",
        "installs",
        "orphans_first_install",
        "orphans_last_login",
        "hidden_share",
        days=7,
    )

    assert found == [
        ("kwai", "install", 1, 1, 1, 0.0),
        ("meta", "re_attribution", 1, 1, 0, 1.0),
        ("organic", "install", 1, 0, 0, 0.0),
    ]


def test_an_install_too_young_to_be_followed_is_not_judged(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(5, "a"), event("app_opened", 7 * DAY - 1)).feed(came("af-a", 0))

    assert rows(reported(kept).orphans, "days") == []


def test_an_event_too_old_for_the_first_window_is_recovered_by_the_last_logins(tmp_path: Path) -> None:
    found = rows(reported(lender(tmp_path)).expired, "channel", "days", "events", "recovered", channel="meta")

    # The second loan is 10 days after the first install and an hour after the return.
    assert found == [("meta", 1, 1, 1), ("meta", 7, 1, 1), ("meta", 30, 1, 0)]


def test_organic_and_returns_are_told_under_both_rules_with_first_loans_beside(tmp_path: Path) -> None:
    names = ("event", "binding", "events", "organic", "returned")

    assert rows(reported(lender(tmp_path)).shares, *names) == [
        ("disbursed", "first_install", 2, 2, 0),
        ("disbursed", "last_login", 2, 1, 1),
        ("first_loan", "first_install", 1, 1, 0),
        ("first_loan", "last_login", 1, 1, 0),
    ]


def test_ids_of_moved_loans_are_the_same_or_another(tmp_path: Path) -> None:
    found = rows(reported(lender(tmp_path)).ids, "id", "disbursements", "same", "other")

    assert ("appsflyer_id", 1, 0, 1) in found
    assert ("gaid", 1, 0, 1) in found


@pytest.mark.parametrize(("organic_after", "warned"), [(30, False), (5, True)])
def test_organic_that_falls_after_a_switch_is_warned_of(
    tmp_path: Path, organic_after: int, warned: bool
) -> None:
    """Of 100 before 20 are organic; of 100 since 30, or only 5: z is then -3.2."""
    before = [recorded(n, 1, ORGANIC if n < 20 else META) for n in range(100)]
    since = [recorded(100 + n, 11, ORGANIC if n < organic_after else META) for n in range(100)]
    kept = Kept(tmp_path).tell(login(0, "a"), loan(1)).feed(*before, *since)
    report = reported(kept, switched=date(2026, 3, 20))

    assert rows(report.recorded, "when", "events", "organic") == [
        ("before", 100, 20),
        ("since 2026-03-20", 100, organic_after),
    ]
    assert any("organic fell" in note for note in report.notes) == warned


def test_what_is_not_ours_or_counted_a_second_time_says_nothing_of_what_was_sent(tmp_path: Path) -> None:
    facts = [recorded(1, 1, META), recorded(2, 1, META, conversion=""), recorded(3, 1, META, primary=False)]
    kept = Kept(tmp_path).tell(login(0, "a"), loan(1)).feed(*facts)

    assert rows(reported(kept).recorded, "events") == [(1,)]


def test_on_a_made_up_lender_credit_moves_and_none_is_made(tmp_path: Path) -> None:
    """The sums of the matrix are the truth's own: each disbursement's two installations, one by one."""
    one = world(users=300, days=60)
    installs, campaigns, answers = one.installs, one.campaigns, one.answers
    kept = filled(tmp_path, one)
    kept.feed(
        *(
            came(
                name,
                0,
                Ad(channel=source.lower(), media_source=source),
                "acme-ios" if ios else "acme-android",
            )
            for name, ios, campaign in zip(
                installs.appsflyer_id, installs.ios.tolist(), installs.campaign.tolist(), strict=True
            )
            for source in [campaigns.media_source[campaign]]
        )
    )
    report = reported(kept)
    truth: Counter[tuple[str, str]] = Counter()
    told = {name for (name,) in _disbursed(kept)}
    for event_id, first, last in _answers(one):
        if event_id in told:
            truth[
                campaigns.media_source[installs.campaign[first]],
                campaigns.media_source[installs.campaign[last]],
            ] += 1
    found: Counter[tuple[str, str]] = Counter()
    for first, last, n in rows(report.matrix, "first_install", "last_login", "disbursements"):
        found[first, last] += n

    assert found == truth
    assert len(answers.event) > 500
    for row in report.sources.records():
        name = row["media_source"]
        assert row["first_install"] == sum(n for (first, _), n in found.items() if first == name)
        assert row["last_login"] == sum(n for (_, last), n in found.items() if last == name)


def _disbursed(kept: Kept) -> list[tuple[str]]:
    with kept.tables() as tables:
        return tables.rows(
            "select event_id from counted where type = 'disbursed' and not test and not superseded"
            " and not reversed"
        )


def _answers(one: Any) -> Any:
    from lendsignal.simulate.lender import event_ids

    ids = event_ids(one.events)
    answers = one.answers
    return (
        (ids[row], first, last)
        for row, first, last in zip(
            answers.event.tolist(), answers.first_install.tolist(), answers.last_login.tolist(), strict=True
        )
    )
