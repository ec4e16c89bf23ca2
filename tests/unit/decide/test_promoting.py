"""A value model in the log: in force from its place on, told with the first grant and the first loan."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.acme import SEND, again, event, loan, login, source, target, us

from lendsignal.decide import Decider
from lendsignal.decide.promoting import put_in_force
from lendsignal.decide.rehearsal import Rehearsal
from lendsignal.derive import Cut, Tiers
from lendsignal.errors import DataError
from lendsignal.log import DataFolder, Log, open_log
from lendsignal.model import Event
from lendsignal.plan import Corrected, Planned, Policy, PolicySource, ValueSettings, compile_policy
from lendsignal.report import explain
from lendsignal.report.grants import grants_of
from lendsignal.value import Promotion, Valuer
from lendsignal.value.worth import (
    SEPARATOR,
    Band,
    Cell,
    Lookup,
    ScopeModel,
    Shipped,
    Shipping,
    ValueModel,
)

VALUE = {"first_loan": "predicted", "repeat_loan": "predicted"}
SOURCE = source(value=VALUE)
SHIPPING = Shipping(edges=(0.0, 100.0), means=(55.5, 250.25), parts=(0.5, 0.4), scale=0.9, frozen_us=1)


def promotion(name: str, best: float = 300.0, made: float = 0) -> Promotion:
    """Users with a score of 600 and more are worth `best`, others −60; with the first loan 40 more."""
    scopes: dict[Any, Any] = {}
    for kind, more in (("credit_granted", 0.0), ("disbursed", 40.0)):
        cells = {"": Cell(-60.0, 1.0, 50), SEPARATOR + "score v1:1": Cell(best, 1.0, 50)}
        table = Lookup(levels=("score",), edges={"score v1": (600.0,)}, cells=cells)
        scopes[kind] = {"NGN": ScopeModel(kind="lookup", learned="buckets", lookup=table, shift=more)}
    model = ValueModel(version=f"m-{name}", made_us=1, horizon_days=90.0, properties=(), scopes=scopes)
    told: dict[Any, Any] = {kind: {"NGN": Shipped(shipping=SHIPPING)} for kind in scopes}
    return Promotion(version=name, made_us=us(made), model=model, shipped=told)


class Clock:
    """A clock that stands at T0."""

    replay = False

    def now_us(self) -> int:
        return us(0)


class Service:
    """A decider over a log in a folder."""

    def __init__(self, folder: Path, wanted: PolicySource = SOURCE) -> None:
        self.log: Log = open_log(folder / "log.sqlite")
        self.decider = Decider(self.log, wanted, Clock(), lambda: None)

    def tell(self, *events: Event) -> "Service":
        self.log.append(events)
        while self.decider.turn():
            pass
        return self

    def planned(self) -> dict[str, Planned]:
        """What was planned, by the event's id and the conversion."""
        records = (record for _, record in self.log.records(0, 10_000))
        return {
            f"{one.conversion.event_id} {one.conversion.name}": one
            for one in records
            if isinstance(one, Planned)
        }

    def sent(self, name: str) -> list[str | None]:
        """The values that were planned for a conversion."""
        values = [entry.value for entry in self.planned()[name].entries]
        return [None if one is None else str(one) for one in values]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path)
    yield one
    one.log.close()


def grant(user: str, score: float | None, minutes: float = 0.0, **fields: Any) -> list[Event]:
    known = {"event_id": f"grant-{user}-{minutes}", "grant_id": f"G-{user}-{minutes}", "currency": "NGN"}
    about = {"score": score, "score_version": "v1", "limit": Decimal(5_000)}
    return [
        again(login(minutes - 1, "a"), user_id=user, event_id=f"in-{user}-{minutes}"),
        event("registered", minutes - 2, user_id=user, event_id=f"reg-{user}-{minutes}"),
        event("credit_granted", minutes, user_id=user, **{**known, **about, **fields}),
    ]


def borrows(user: str, minutes: float, name: str, **fields: Any) -> Event:
    return again(loan(minutes, f"{name}-{user}"), user_id=user, event_id=f"{name}-{user}", **fields)


def test_a_first_loan_is_told_as_what_was_known_at_its_grant(service: Service) -> None:
    """A disbursement knows no score."""
    put_in_force(service.log, promotion("p1"))
    service.tell(*grant("u1", 700), borrows("u1", 5, "first"))

    assert service.sent("first-u1 first_loan") == ["250.25 NGN"]
    granted = service.planned()["grant-u1-0.0 first_credit"].conversion.origin.valued
    lent = service.planned()["first-u1 first_loan"].conversion.origin.valued
    assert granted is not None
    assert lent is not None
    assert (granted.model, granted.estimate, granted.place) == ("p1", 300.0, 1)
    assert (lent.estimate, lent.facts, lent.scale) == (340.0, granted.facts, 0.9)


def test_an_explanation_tells_what_a_user_was_valued_by(tmp_path: Path, service: Service) -> None:
    put_in_force(service.log, promotion("p1"))
    service.tell(*grant("u1", 700), borrows("u1", 5, "first"))

    text = explain(DataFolder(tmp_path), "first-u1").to_text()

    told = service.planned()["first-u1 first_loan"].conversion.origin.valued
    assert told is not None
    assert f"worth 340.00 NGN by model p1, facts {told.facts}; told as 250.25 NGN, bin 2, scale 0.900" in text
    assert "700" not in text


def test_a_route_that_asks_for_the_cautious_side_is_told_what_seven_in_ten_bring_at_least(
    tmp_path: Path,
) -> None:
    """The first loan of the better user is worth 340: of such users three in ten bring less than 120.5."""
    plain = promotion("p1")
    by_bands = {
        "disbursed": {
            "NGN": replace(
                plain.model.scopes["disbursed"]["NGN"],
                bands=(Band(-60.0, -90.0, 40.0), Band(300.0, 120.5, 50.0)),
            )
        }
    }
    cautious: Any = replace(plain, model=replace(plain.model, scopes={**plain.model.scopes, **by_bands}))
    one = Service(tmp_path, source(value={"first_loan": "predicted_low"}))
    try:
        put_in_force(one.log, cautious)
        one.tell(*grant("u1", 700), borrows("u1", 5, "first"), *grant("u2", 400), borrows("u2", 5, "first"))

        assert one.sent("first-u1 first_loan") == ["120.5 NGN"]
        assert one.sent("first-u2 first_loan") == [None]
        assert one.planned()["first-u2 first_loan"].entries[0].unvalued
        assert "bin 2, cautiously 120.50, scale" in explain(DataFolder(tmp_path), "first-u1").to_text()
    finally:
        one.log.close()


def test_who_is_worth_nothing_is_told_of_without_a_value(service: Service) -> None:
    put_in_force(service.log, promotion("p1"))
    service.tell(*grant("u1", 400), borrows("u1", 5, "first"))

    lent = service.planned()["first-u1 first_loan"]
    assert service.sent("first-u1 first_loan") == [None]
    assert [(entry.name, entry.unvalued, entry.skip) for entry in lent.entries] == [
        ("ev_first_loan", True, None)
    ]
    valued = lent.conversion.origin.valued
    assert valued is not None
    assert (valued.estimate, valued.place) == (-20.0, -1)


def test_a_user_is_valued_once_and_never_with_a_later_loan(service: Service) -> None:
    put_in_force(service.log, promotion("p1"))
    service.tell(
        *grant("u1", 700), borrows("u1", 5, "first"), *grant("u1", 800, 50), borrows("u1", 55, "second")
    )

    assert service.sent("second-u1 repeat_loan") == [None]
    assert service.planned()["grant-u1-50 credit"].conversion.origin.valued is None
    assert service.planned()["second-u1 disbursement"].conversion.origin.predicted is None


def test_a_model_applies_from_its_place_and_never_before_it(service: Service) -> None:
    service.log.append(grant("u1", 700))
    put_in_force(service.log, promotion("p1"))
    service.log.append(grant("u2", 700))
    put_in_force(service.log, promotion("p2", 90.0))
    service.tell(*grant("u3", 700))

    valued = {
        name: one.conversion.origin.valued
        for name, one in service.planned().items()
        if "first_credit" in name
    }
    found = {name.partition("-0")[0]: one and (one.model, one.told) for name, one in valued.items()}
    assert found == {"grant-u1": None, "grant-u2": ("p1", 250.25), "grant-u3": ("p2", 55.5)}


def test_a_model_stays_in_force_over_a_restart_and_another_policy(tmp_path: Path, service: Service) -> None:
    put_in_force(service.log, promotion("p1"))
    service.tell(*grant("u1", 700))
    assert service.log.value() == "p1"

    other = Service(tmp_path, source(value=VALUE, default_dpd=30))
    other.tell(borrows("u1", 5, "first"), *grant("u2", 700, 9))

    assert other.sent("first-u1 first_loan") == ["250.25 NGN"]
    assert other.planned()["grant-u2-9 first_credit"].conversion.origin.valued is not None
    other.log.close()


def test_a_replay_and_a_rehearsal_of_the_log_value_the_same(tmp_path: Path, service: Service) -> None:
    for number, best in enumerate((300.0, 90.0)):
        service.tell(*grant(f"u{number}", 700, number), borrows(f"u{number}", number + 0.5, "first"))
        put_in_force(service.log, promotion(f"p{number}", best, made=number))
    service.tell(*grant("u9", 700, 9), borrows("u9", 10, "first"))
    (folder := tmp_path / "again").mkdir()
    log = open_log(folder / "log.sqlite")
    for one in service.log.promotions():
        log.keep_promotion(one, [])
    for fact in service.log.scan():
        if fact.event.type == "lendsignal.policy_changed":
            log.keep_policy(str(fact.event.properties["version"]), SOURCE)
        log.append([fact.event])
    log.close()

    replayed = Service(folder).tell()

    assert replayed.planned() == service.planned()
    replayed.log.close()

    def valued_by(version: str) -> Policy:
        kept = service.log.promotion(version)
        return compile_policy(SOURCE, None if kept is None else Valuer(kept))

    rehearsal = Rehearsal(compile_policy(SOURCE), with_value=valued_by)
    records = [record for fact in service.log.scan() for _, record in rehearsal.tell(fact)]
    rehearsed = {
        f"{one.conversion.event_id} {one.conversion.name}": one for one in records if isinstance(one, Planned)
    }
    assert rehearsed == service.planned()


def test_a_users_tier_by_value_goes_by_the_estimate_and_cuts_are_made_of_it(tmp_path: Path) -> None:
    tiers = Tiers(cuts=(Cut(share=20, cut=250.0, basis="predicted_value"),), version="given")
    wanted = source(tiers=tiers, send={**SEND, "value_top20": "ev_v2"})
    one = Service(tmp_path, wanted)
    put_in_force(one.log, promotion("p1"))
    one.tell(*grant("u1", 700), *grant("u2", 400))

    assert [name for name in one.planned() if name.endswith("value_top20")] == ["grant-u1-0.0 value_top20"]
    rolling = source(tiers=Tiers(rolling=("predicted_value",), shares=(20,))).derive
    found = grants_of(one.log, rolling, frozenset(), us(-60))["predicted_value"]
    assert sorted(found.measure.tolist()) == [-60.0, 300.0]
    one.log.close()


def test_a_lenders_own_value_stands_where_the_model_knows_nothing_of_the_currency(service: Service) -> None:
    put_in_force(service.log, promotion("p1"))
    own: dict[str, Any] = {"currency": "KES", "properties": {"predicted_value": 12.5}}
    service.tell(*grant("u1", 700, **own), borrows("u1", 5, "first", **own))

    assert service.sent("first-u1 first_loan") == ["12.5 KES"]


def test_a_revised_loan_does_not_restate_what_a_model_said_of_the_user(tmp_path: Path) -> None:
    """Not even where the route has a value for users of whom nothing is known."""
    rule = ValueSettings(of="predicted", otherwise=77.0)
    one_target = target("google_ads-ng", "acme-ng", corrects="everything")
    wanted = source(send=SEND, value={"first_loan": rule}, targets={one_target.name: one_target})
    one = Service(tmp_path, wanted)
    put_in_force(one.log, promotion("p1"))
    one.tell(*grant("u1", 700), borrows("u1", 5, "first"))
    one.tell(again(borrows("u1", 5, "first"), event_id="told-again", revision=1, amount=Decimal(9_000)))

    records = [record for _, record in one.log.records(0, 1_000)]
    assert one.sent("first-u1 first_loan") == ["250.25 NGN"]
    assert not [record for record in records if isinstance(record, Corrected)]
    one.log.close()


def test_a_version_that_is_not_kept_stops_the_deciding(service: Service) -> None:
    with pytest.raises(DataError, match="the value model lost that the log was decided by"):
        service.tell(event("lendsignal.value_promoted", 0, properties={"version": "lost"}))
