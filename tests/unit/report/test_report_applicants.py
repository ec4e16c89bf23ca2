"""Applicants out of a data folder: what models of their value learn from, and what decisions told of them."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, HOUR, again, event, login, source, us
from tests.unit.report.kept import Kept
from tests.unit.report.test_report_training import SETTINGS, granted, lent, repaid, told

from lendsignal.decide.promoting import put_in_force
from lendsignal.model import Event
from lendsignal.model.attribution import Ad, Attribution
from lendsignal.plan import Planned
from lendsignal.report.choice_rows import comings
from lendsignal.report.training import Training, training
from lendsignal.value import Promotion
from lendsignal.value.worth import (
    Cell,
    GrantChance,
    Lookup,
    ScopeModel,
    Shipped,
    Shipping,
    ValueModel,
    hash_of,
)

MONTH = timedelta(days=30)


def applied(minutes: float, name: str = "A1", **fields: Any) -> Event:
    known = {"application_id": name, "currency": "NGN", "amount": Decimal(2_500), "term_days": 14}
    return event("applied", minutes, **{**known, **fields})


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    one = Kept(tmp_path, source(value={"first_application": "predicted"}))
    yield one
    one.log.close()


def learned(kept: Kept, *, applicants: bool = True) -> Training:
    kept.tell(event("app_opened", 200 * DAY, user_id="last"))
    with kept.tables() as tables:
        return training(tables, SETTINGS, applicants=applicants)


def promotion() -> Promotion:
    """One in four applicants is granted and worth 40; who is granted is worth 30 from then on."""

    def everybody(mean: float) -> Lookup:
        return Lookup(levels=(), edges={}, cells={"": Cell(mean, 1.0, 9)})

    scopes: Any = {
        "applied": {
            "NGN": ScopeModel(
                kind="lookup",
                learned="buckets",
                lookup=everybody(40.0),
                grant=GrantChance(lookup=everybody(0.25)),
            )
        },
        "credit_granted": {
            "NGN": ScopeModel(kind="lookup", learned="buckets", lookup=everybody(30.0)),
        },
    }
    model = ValueModel(version="m", made_us=1, horizon_days=60, properties=SETTINGS.properties, scopes=scopes)
    shipped: Any = {
        kind: {
            "NGN": Shipped(
                shipping=Shipping(edges=(0.0,), means=(mean,), parts=(1.0,), scale=1.0, frozen_us=1)
            )
        }
        for kind, mean in (("applied", 11.0), ("credit_granted", 33.0))
    }
    return Promotion(version="p", made_us=us(-9), model=model, shipped=shipped)


def planned(kept: Kept) -> dict[str, Planned]:
    """What was planned of users' conversions, by user and conversion."""
    records = (record for _, record in kept.log.records(0, 10_000))
    return {
        f"{one.conversion.user_id} {one.conversion.name} {one.conversion.event_id}": one
        for one in records
        if isinstance(one, Planned)
    }


def test_an_applicant_is_followed_from_the_application_granted_or_not(kept: Kept) -> None:
    kept.tell(
        *told("first", event("registered", -2), login(-1, "a"), applied(0)),
        *told("first", granted(DAY), lent(DAY + HOUR), repaid(10 * DAY, "L1", 1_150)),
        *told("denied", event("registered", -2), login(-1, "b"), applied(0)),
        *told("denied", event("credit_denied", HOUR, application_id="A1")),
        # Applies again, and the first application is what counts.
        *told("again", event("registered", -2), login(-1, "c"), applied(0)),
        *told("again", applied(30 * DAY, "A2"), granted(33 * DAY, grant_id="G2")),
    )

    found = learned(kept)

    users = found.users["applied"]["NGN"]
    names = [name for _, name in found.names["applied"]["NGN"]]
    assert users.granted is not None
    assert dict(zip(names, users.granted.tolist(), strict=True)) == {
        "again": pytest.approx(33.0),
        "denied": float("inf"),
        "first": pytest.approx(1.0),
    }
    # Due 14 days after the loan of day 1, with 10 of grace: 1,150 − 1,000 − 14 − 7 − 2.
    place = names.index("first")
    assert users.value(60.0)[place] == pytest.approx(127.0)
    assert users.value(60.0)[names.index("denied")] == 0.0
    assert not any(name.startswith("score") for name in users.numbers)
    assert "applied" not in learned(kept, applicants=False).users


def test_the_first_application_is_told_with_its_value_and_no_later_one(kept: Kept) -> None:
    put_in_force(kept.log, promotion())
    kept.tell(*told("u1", event("registered", -2), login(-1, "a"), applied(0)))
    kept.tell(*told("u1", applied(DAY, "A2"), granted(2 * DAY)))

    found = planned(kept)

    first = found[f"u1 first_application u1-{applied(0).event_id}"]
    assert [str(entry.value) for entry in first.entries] == ["11.0 NGN"]
    valued = first.conversion.origin.valued
    assert valued is not None
    assert (valued.model, valued.estimate, valued.place) == ("p", 10.0, 0)
    again_ = found[f"u1 application u1-{applied(DAY, 'A2').event_id}"]
    assert again_.conversion.origin.valued is None
    grant = found[f"u1 first_credit u1-{granted(2 * DAY).event_id}"].conversion.origin.valued
    assert grant is not None
    assert (grant.estimate, grant.told) == (30.0, 33.0)


def test_what_is_learned_from_is_what_the_decision_on_the_application_had(kept: Kept) -> None:
    put_in_force(kept.log, promotion())
    kept.tell(
        *told("plain", event("registered", -2), login(-1, "a"), applied(0)),
        *told("day", event("registered", -2), login(-1, "b"), applied(0, time_precision="day")),
        *told("facts", event("registered", -2), login(-1, "c")),
        *told("facts", applied(0, product="payday", properties={"channel": "meta", "salary": 900})),
        *told("later", event("registered", -2), applied(0), login(HOUR, "late")),
    )

    users = learned(kept)

    had = {}
    for one in planned(kept).values():
        if one.conversion.name == "first_application":
            valued = one.conversion.origin.valued
            assert valued is not None
            had[one.conversion.user_id] = valued.facts
    rows = users.users["applied"]["NGN"]
    names = [name for _, name in users.names["applied"]["NGN"]]
    assert {name: hash_of(rows.facts(place)) for place, name in enumerate(names)} == had
    assert len(set(had.values())) >= 3


def test_a_lenders_own_prediction_stays_where_the_model_says_nothing_of_applicants(kept: Kept) -> None:
    kept.tell(
        *told("u1", event("registered", -2), login(-1, "a"), applied(0, properties={"predicted_value": 77.0}))
    )

    (entry,) = planned(kept)[f"u1 first_application u1-{applied(0).event_id}"].entries

    assert str(entry.value) == "77.0 NGN"


def came(kept: Kept, install: str) -> None:
    kept.feed(
        Attribution(
            feed="mmp",
            mmp="appsflyer",
            app="acme-ng",
            id=f"af-{install}",
            at_us=us(-3),
            told_us=us(0),
            ad=Ad(channel="meta", media_source="Facebook Ads", campaign="spring"),
        )
    )


def test_value_at_apply_is_an_event_to_choose_once_it_is_told(kept: Kept) -> None:
    put_in_force(kept.log, promotion())
    kept.tell(*told("u1", event("registered", -2), login(-1, "a"), applied(HOUR)))
    kept.tell(
        *told("u2", event("registered", -2), login(-1, "b")), event("app_opened", 40 * DAY, user_id="z")
    )
    came(kept, "a")
    with kept.tables() as tables:
        (found,) = comings(tables, "acquisition", MONTH)

    (one,) = [event for event in found.events if event.name == "value_at_apply"]
    assert sorted(one.sent.tolist())[-2:] == [0.0, 11.0]
    # The install was three minutes before the first minute, the application an hour after it.
    assert one.hours[one.sent > 0].tolist() == pytest.approx([63 / 60])


def test_a_models_word_on_applicants_stands_in_until_a_route_tells_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source())
    kept.tell(*told("u1", event("registered", -2), login(-1, "a"), applied(HOUR)))
    kept.tell(*told("u2", event("registered", -2), login(-1, "b"), again(applied(2 * HOUR), revision=0)))
    kept.tell(event("app_opened", 40 * DAY, user_id="z"))
    with kept.tables() as tables:
        (found,) = comings(tables, "acquisition", MONTH, None, {"acme:u1": 12.5, "acme:u2": -3.0})
    kept.log.close()

    by_name = {one.name: one for one in found.events}
    said, applications = by_name["value_at_apply"], by_name["first_application"]
    assert sorted(said.sent.tolist())[-2:] == [0.0, 12.5]
    place = said.sent.argmax()
    assert said.told_hours[place] == applications.told_hours[place]
    assert (said.hours < float("inf")).sum() == 1
