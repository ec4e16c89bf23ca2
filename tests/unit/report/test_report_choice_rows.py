"""Everybody who came, with what became of it: what advice on events is reckoned from."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from math import inf, isnan
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.acme import DAY, HOUR, event, loan, login, source, us
from tests.unit.report.kept import Fate, Kept

from lendsignal.model import Event
from lendsignal.model.attribution import Ad, Attribution, AttributionKind
from lendsignal.plan import Entry, Planned
from lendsignal.report import Tables
from lendsignal.report.choice_rows import comings, grants_and_loans
from lendsignal.report.comings import Comings, EventRows

MONTH = timedelta(days=30)


def of(user: str, *events: Event) -> list[Event]:
    return [replace(one, user_id=user, event_id=f"{user} {one.event_id}") for one in events]


def came(install: str, minutes: float, kind: str = "install", campaign: str = "spring") -> Attribution:
    ad = Ad(channel="meta", media_source="Facebook Ads", campaign=campaign, ad_set="women", ad="blue")
    return Attribution(
        feed="mmp",
        mmp="appsflyer",
        app="acme-ng",
        id=f"af-{install}",
        kind=AttributionKind(kind),
        at_us=us(minutes),
        told_us=us(minutes + 1),
        ad=ad,
    )


def granted(minutes: float, name: str) -> Event:
    return event("credit_granted", minutes, grant_id=name, application_id=f"A{name}", score=700.0)


EVENTS = [
    # A new user: applies an hour after the install, granted at 5 h, borrows at 6 h, repays with a fee.
    *of("a", event("registered", 10), login(10, "a"), event("applied", 60, application_id="AG1")),
    *of("a", granted(5 * HOUR, "G1"), loan(6 * HOUR, "a1")),
    *of("a", event("repaid", 20 * DAY, loan_id="a1", payment_id="p1", amount=Decimal(26_500))),
    # Comes back through an ad on day 25 and borrows again; that loan is still out.
    *of("a", login(25 * DAY, "a"), loan(25 * DAY + 90, "a2")),
    # Loses the lender everything on day 18.
    *of("b", event("registered", 2 * HOUR), login(2 * HOUR, "b"), loan(3 * HOUR, "b1")),
    *of("b", event("defaulted", 18 * DAY, loan_id="b1")),
    # No MMP spoke of this one; young, so that nobody knows what becomes of it.
    *of("c", event("registered", 26 * DAY), login(26 * DAY, "c")),
    # Staff.
    *of("t", event("registered", 30, test=True), login(30, "t", test=True), loan(40, "t1", test=True)),
    *of("z", login(40 * DAY, "z")),
]


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    kept = Kept(tmp_path, source(value={"first_loan": "fee"}))
    kept.tell(*EVENTS)
    kept.feed(
        came("a", 0),
        came("b", HOUR),
        came("stranger", 2 * HOUR, campaign="summer"),
        came("t", 20),
        came("a", 25 * DAY - 5, kind="re_engagement"),
    )

    def fate(name: int, planned: Planned, entry: Entry) -> Fate | None:
        return Fate(
            "accepted", "confirmed", planned.conversion.occurred_at.timestamp() / 60 - us(0) / 6e7 + 30
        )

    kept.send(fate)
    with kept.tables() as found:
        yield found
    kept.log.close()


def acme(tables: Tables, objective: str = "acquisition") -> Comings:
    (found,) = comings(tables, objective, MONTH)  # type: ignore[arg-type]
    return found


def named(found: Comings, name: str) -> EventRows:
    return next(one for one in found.events if one.name == name)


def test_installs_count_whether_or_not_anybody_registered_and_staff_does_not(tables: Tables) -> None:
    found = acme(tables)

    # a, b, the stranger, c and z (whom no MMP spoke of), in the order of their coming.
    assert found.campaign == ("spring", "spring", "summer", "", "")
    assert found.channel == ("meta", "meta", "meta", "", "")
    assert found.ad_set[:3] == ("women", "women", "women")
    assert found.currency == "NGN"
    assert found.age_days.tolist() == pytest.approx([40, 40 - 1 / 24, 40 - 2 / 24, 14, 0])


def test_strangers_of_one_moment_stand_in_the_order_of_their_campaigns(tmp_path: Path) -> None:
    """Rows whose order is left to chance would give other draws, and so other intervals, every time."""
    kept = Kept(tmp_path).tell(login(40 * DAY, "z"))
    campaigns = [f"campaign {place:02}" for place in range(30)]
    kept.feed(*(came(f"s{place}", 0, campaign=name) for place, name in enumerate(reversed(campaigns))))

    with kept.tables() as tables:
        found = acme(tables)
    kept.log.close()
    assert [name for name in found.campaign if name] == campaigns


def test_events_are_dated_from_the_install_and_told_when_the_platform_said_yes(tables: Tables) -> None:
    found = acme(tables)

    assert named(found, "registration").hours.tolist()[:3] == pytest.approx([10 / 60, 1, inf])
    assert named(found, "first_application").hours.tolist()[:2] == pytest.approx([1, inf])
    assert named(found, "first_credit").hours[0] == pytest.approx(5)
    assert named(found, "first_credit").told_hours[0] == pytest.approx(5.5)
    assert named(found, "first_credit").asked_hours[0] == pytest.approx(1)
    assert named(found, "first_loan").hours.tolist()[:3] == pytest.approx([6, 2, inf])
    assert named(found, "first_loan").sent.tolist() == [1, 1, 0, 0, 0]


def test_a_value_is_what_was_sent_with_the_first_loan(tables: Tables) -> None:
    value = named(acme(tables), "value")

    assert value.sent.tolist()[:3] == [1_500, 1_500, 0]  # the fee, by the route
    assert value.told_hours[0] == pytest.approx(6.5)


def test_margin_is_what_came_back_less_what_went_out_of_loans_that_ended(tables: Tables) -> None:
    margin = acme(tables).margin.tolist()

    # a: 26,500 − 25,000, and a second loan that is still out; b: nothing of 25,000; the stranger: nothing.
    assert margin[:3] == [1_500, -25_000, 0]
    assert all(isnan(one) for one in margin[3:])


def test_who_came_back_through_an_ad_is_a_coming_of_its_own(tables: Tables) -> None:
    found = acme(tables, "re-engagement")

    assert [one.name for one in found.events][:2] == ["disbursement", "repeat_loan"]
    assert named(found, "disbursement").hours.tolist() == pytest.approx([95 / 60])
    assert named(found, "repeat_loan").hours.tolist() == pytest.approx([95 / 60])


def test_nobody_is_told_of_a_folder_without_events(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.log.close()
    with kept.tables() as nothing:
        assert comings(nothing, "acquisition", MONTH) == []


def test_grants_are_counted_beside_loans(tables: Tables) -> None:
    found = grants_and_loans(tables)

    assert (found.grants, found.first, found.loans) == (1, 1, 3)
