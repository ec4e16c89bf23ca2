"""Who came and from where, in counts made by hand."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acme import DAY, HOUR, loan, login, us
from tests.unit.report.kept import Kept

from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded
from lendsignal.report import AttributionReport, attribution, bindings, funnel, load
from lendsignal.report.attribution import Level
from lendsignal.report.slices import Rule, Slice

META = Ad(channel="meta", media_source="Facebook Ads", campaign="spring", campaign_id="2384", ad_set="look")
TIKTOK = Ad(channel="tiktok", media_source="bytedanceglobal_int", campaign="video", campaign_id="171")
ORGANIC = Ad(channel="organic", media_source="organic")


def came(id_: str, ad: Ad, minutes: float = 0, kind: str = "install", **facts: Any) -> Attribution:
    given = {"feed": "mmp", "mmp": "appsflyer", "app": "acme-ng", **facts}
    return Attribution(id=id_, ad=ad, at_us=us(minutes), told_us=us(0), kind=AttributionKind(kind), **given)


def noted(id_: str, name: str, minutes: float, **facts: Any) -> Recorded:
    given: dict[str, Any] = {"feed": "mmp", "mmp": "appsflyer", "app": "acme-ng", "ad": META, **facts}
    return Recorded(id=id_, name=name, at_us=us(minutes), **given)


def reported(kept: Kept, by: Level = "campaign") -> AttributionReport:
    with load(kept.folder) as tables:
        return attribution(tables, level=by)


def lender(path: Path) -> Kept:
    return (
        Kept(path)
        .tell(login(5, "one"), login(6, "three", user_id="u3"))
        .feed(
            came("af-one", META),
            came("af-two", META, 10),
            came("af-two", META, 12 * HOUR, "re_engagement"),
            came("af-three", ORGANIC, 20),
            came("af-four", TIKTOK, 30, "re_attribution"),
            came("af-five", TIKTOK, 40, "reinstall"),
        )
    )


def counts(report: AttributionReport, column: str) -> dict[Any, tuple[Any, ...]]:
    """installs, reinstalls, re-engagements, re-attributions, and how many of these logged in."""
    names = ("installs", "reinstalls", "re_engagements", "re_attributions", "logged_in")
    return {one[column]: tuple(one[name] for name in names) for one in report.sources.records()}


def test_who_came_is_counted_by_channel_and_by_what_brought_them(tmp_path: Path) -> None:
    assert counts(reported(lender(tmp_path), "channel"), "channel") == {
        "meta": (2, 0, 1, 0, 1),
        "organic": (1, 0, 0, 0, 1),
        "tiktok": (0, 1, 0, 1, 0),
    }


def test_the_rows_go_down_as_far_as_asked(tmp_path: Path) -> None:
    kept = lender(tmp_path)

    assert [one.name for one in reported(kept, "media_source").sources.columns][:3] == [
        "mmp",
        "channel",
        "media_source",
    ]
    assert set(counts(reported(kept, "campaign"), "campaign_id")) == {"2384", "171", ""}
    assert set(counts(reported(kept, "ad_set"), "ad_set")) == {"look", ""}
    assert len(reported(kept, "ad").sources.rows) == 3


def test_days_are_the_apps_own(tmp_path: Path) -> None:
    # T0 is 9:00 UTC; 13.5 hours later it is 23:30 in Lagos, and an hour later the next day.
    kept = Kept(tmp_path).feed(came("a", META, 13.5 * HOUR), came("b", META, 14.5 * HOUR))
    days = [(one["day"], one["installs"]) for one in reported(kept).days.records()]

    assert days == [("2026-03-10", 1), ("2026-03-11", 1)]


def test_a_coming_without_a_time_has_no_day(tmp_path: Path) -> None:
    kept = Kept(tmp_path).attribute(("acme-ng", "af-1", "organic", ""))

    assert [one["day"] for one in reported(kept).days.records()] == ["(no day)"]


def test_what_was_recorded_is_counted_with_ours_and_with_its_copies(tmp_path: Path) -> None:
    kept = Kept(tmp_path).feed(
        noted(
            "af-one",
            "ev_ln",
            1,
            conversion="c1",
            detail="c1",
            amount=Decimal("10.25"),
            currency="NGN",
            copies=3,
        ),
        noted("af-one", "ev_ln", 2 * DAY, amount=Decimal("20.5"), currency="NGN", primary=False, ad=ORGANIC),
        noted("af-one", "ev_r", 3),
    )
    found = {one["event"]: one for one in reported(kept).recorded.records()}

    assert found["ev_ln"] == {
        "mmp": "appsflyer",
        "event": "ev_ln",
        "currency": "NGN",
        "events": 2,
        "ours": 1,
        "again": 2,
        "not_primary": 1,
        "from_ads": 1,
        "amount": Decimal("30.75"),
        "first_day": "2026-03-10",
        "last_day": "2026-03-12",
    }
    assert (found["ev_r"]["events"], found["ev_r"]["amount"], found["ev_r"]["currency"]) == (
        1,
        None,
        "(none)",
    )


def test_the_report_says_whose_words_it_uses(tmp_path: Path) -> None:
    kept = Kept(tmp_path).feed(came("a", META), came("b", META, mmp="adjust", feed="adjust"))
    notes = " ".join(reported(kept).notes)

    assert "AppsFlyer: a re-attribution is a reinstall" in notes
    assert "Adjust: a re-attribution is any return" in notes
    assert "not to be added up" in notes


def test_a_report_without_feeds_is_empty(tmp_path: Path) -> None:
    report = reported(Kept(tmp_path))

    assert (report.sources.rows, report.days.rows, report.recorded.rows, report.notes) == ((), (), (), ())


# what follows for the other reports


def channels(kept: Kept, rule: Rule = "last_login") -> dict[Any, Any]:
    """Disbursed loans by channel."""
    with kept.tables() as tables:
        steps = funnel(tables, Slice(by=("channel",), binding=rule)).steps.records()
    return {
        one["channel"]: one["events"]
        for one in steps
        if one["loans"] == "all" and one["step"] == "disbursed" and one["events"]
    }


def test_a_loan_counts_for_the_channel_that_the_installation_came_from_by_then(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(5, "one"), loan(10, "L1"), loan(3 * DAY, "L2"))
    kept.feed(came("af-one", META), came("af-one", TIKTOK, 2 * DAY, "re_attribution", mmp="adjust"))

    assert channels(kept) == {"meta": 1, "tiktok": 1}


def test_a_loan_before_the_mmp_noticed_the_install_counts_for_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(5, "one"), loan(10, "L1")).feed(came("af-one", META, 30))

    assert channels(kept) == {"meta": 1}


def test_a_re_engagement_leaves_the_installation_with_its_install(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(5, "one"), loan(3 * DAY, "L1"))
    kept.feed(came("af-one", META), came("af-one", TIKTOK, DAY, "re_engagement"))

    assert channels(kept) == {"meta": 1}


def test_both_bindings_have_their_own_channel(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(5, "one"), login(DAY, "two"), loan(2 * DAY, "L1"))
    kept.feed(came("af-one", META), came("af-two", TIKTOK, DAY))

    assert channels(kept, "first_install") == {"meta": 1}
    assert channels(kept, "last_login") == {"tiktok": 1}
    with kept.tables() as tables:
        sources = bindings(tables).sources.records()
    assert {(one["media_source"], one["first_install"], one["last_login"]) for one in sources} == {
        ("Facebook Ads", 1, 0),
        ("bytedanceglobal_int", 0, 1),
    }


def test_a_later_claim_moves_the_installs_loans_with_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(5, "one"), loan(10, "L1")).feed(came("af-one", ORGANIC))
    kept.feed(
        Attribution(
            feed="mmp", mmp="appsflyer", app="acme-ng", id="af-one", ad=META, at_us=us(0), told_us=us(HOUR)
        )
    )

    assert channels(kept) == {"meta": 1}
