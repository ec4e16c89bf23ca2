"""What value models learn from: the facts that decisions had, and what loans left over by a pencil."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acme import DAY, HOUR, again, event, loan, login, moment, phone, source, us
from tests.unit.report.kept import Kept

from lendsignal.decide.promoting import put_in_force
from lendsignal.model import Event
from lendsignal.plan import Planned
from lendsignal.report import load
from lendsignal.report.training import Training, training
from lendsignal.value import Promotion
from lendsignal.value.settings import WorthSettings
from lendsignal.value.users import Users
from lendsignal.value.worth import Cell, Lookup, ScopeModel, Shipped, Shipping, ValueModel, hash_of

SETTINGS = WorthSettings(
    horizon=timedelta(days=60),
    grace=timedelta(days=10),
    funding_rate=0.365,
    loan_cost={"NGN": 7.0},
    payment_cost={"NGN": 2.0},
    properties=("employer", "salary"),
)
SEEN = 200 * DAY


def told(user: str, *events: Event) -> list[Event]:
    return [again(one, user_id=user, event_id=f"{user}-{one.event_id}") for one in events]


def granted(minutes: float, **fields: Any) -> Event:
    known = {
        "grant_id": "G1",
        "currency": "NGN",
        "limit": Decimal(5_000),
        "score": 640.5,
        "score_version": "v1",
    }
    return event("credit_granted", minutes, loan_number=1, **{**known, **fields})


def lent(minutes: float, name: str = "L1", **fields: Any) -> Event:
    known = {"amount": Decimal(1_000), "fee": Decimal(150), "term_days": 14, "loan_number": 1}
    return loan(minutes, name, **{**known, "due_date": moment(minutes + 14 * DAY).date(), **fields})


def repaid(minutes: float, name: str, amount: int, **fields: Any) -> Event:
    known = {"loan_id": name, "payment_id": f"P-{minutes}", "amount": Decimal(amount), "currency": "NGN"}
    return event("repaid", minutes, **{**known, **fields})


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def learned(kept: Kept, **changes: Any) -> Training:
    """The rows with a last sign of life long after everything."""
    kept.tell(event("app_opened", changes.pop("seen", SEEN), user_id="last"))
    with kept.tables() as tables:
        return training(tables, SETTINGS)


def only(found: Training, kind: str = "credit_granted", currency: str = "NGN") -> Users:
    return found.users[kind][currency]  # type: ignore[index]


def test_what_a_loan_leaves_over_is_cash_less_principal_funding_and_costs(kept: Kept) -> None:
    kept.tell(
        *told(
            "u1",
            login(-1, "a"),
            granted(0),
            lent(HOUR),
            repaid(5 * DAY, "L1", 500),
            repaid(20 * DAY, "L1", 650, outstanding=Decimal(0)),
            lent(30 * DAY, "L2", loan_number=2, amount=Decimal(2_000), fee=Decimal(300)),
            repaid(40 * DAY, "L2", 400),
            repaid(60 * DAY, "L2", 1_900),  # 16 days late: not in the grace of 10
            lent(55 * DAY, "L3", loan_number=3),  # falls due after 60 days
        )
    )

    users = only(learned(kept))

    loans = users.loans
    # Funding is 0.1 % a day of 14 days; two payments in time for the first, one for the second.
    assert loans.result.tolist() == pytest.approx(
        [1_150 - 1_000 - 14 - 7 - 4, 400 - 2_000 - 28 - 7 - 2, -1_000 - 14 - 7]
    )
    assert loans.lost.tolist() == [0.0, 1_600.0, 1_000.0]
    assert loans.due.tolist() == [14.0, 44.0, 69.0]
    assert loans.number.tolist() == [0, 1, 2]
    assert np.round(loans.ended, 3).tolist() == [20.0, 60.0, np.inf]
    assert users.value(60.0).tolist() == pytest.approx([125 - 1_637])


def test_a_loan_is_not_known_before_its_grace_is_over(kept: Kept) -> None:
    kept.tell(*told("u1", login(-1, "a"), granted(0), lent(HOUR), repaid(3 * DAY, "L1", 1_150)))

    young = only(learned(kept, seen=23 * DAY))
    assert np.isnan(young.loans.result).all()
    old = only(learned(kept, seen=25 * DAY))
    assert not np.isnan(old.loans.result).any()
    assert np.isnan(old.value(60.0)).all()


def test_a_reversed_loan_a_payment_taken_back_and_a_test_user_count_for_nothing(kept: Kept) -> None:
    kept.tell(
        *told(
            "u1",
            login(-1, "a"),
            granted(0),
            lent(HOUR),
            event("disbursement_reversed", 2 * HOUR, loan_id="L1"),
            lent(DAY, "L2"),
            repaid(2 * DAY, "L2", 1_150),
            event("repayment_reversed", 3 * DAY, payment_id=f"P-{2 * DAY}", loan_id="L2"),
        ),
        *told("u2", login(-1, "b"), granted(0, test=True), lent(HOUR, "L9", test=True)),
    )

    users = only(learned(kept))

    assert len(users) == 1
    assert users.loans.lost.tolist() == [1_000.0]


def test_moments_and_currencies_stand_apart_and_a_first_must_be_certain(kept: Kept) -> None:
    kept.tell(
        *told("u1", login(-1, "a"), granted(0), lent(HOUR)),
        *told("u2", login(-1, "b"), granted(0, currency="KES")),
        *told(
            "u3", login(-1, "c"), again(granted(0), loan_number=None)
        ),  # its history may lack its beginning
    )

    found = learned(kept)

    assert {
        (kind, currency): len(users) for kind, by in found.users.items() for currency, users in by.items()
    } == {
        ("credit_granted", "NGN"): 1,
        ("credit_granted", "KES"): 1,
        ("disbursed", "NGN"): 1,
    }
    assert found.names["credit_granted"]["KES"] == (("acme", "u2"),)


def promotion() -> Promotion:
    """Everybody is worth the same: it is there for the facts that it is asked with."""
    scope = ScopeModel(
        kind="lookup", learned="buckets", lookup=Lookup(levels=(), edges={}, cells={"": Cell(9.0, 1.0, 9)})
    )
    kinds: Any = {"credit_granted": {"NGN": scope}, "disbursed": {"NGN": scope}}
    model = ValueModel(version="m", made_us=1, horizon_days=60, properties=SETTINGS.properties, scopes=kinds)
    shipping = Shipping(edges=(0.0,), means=(9.0,), parts=(1.0,), scale=1.0, frozen_us=1)
    shipped: Any = {kind: {"NGN": Shipped(shipping=shipping)} for kind in kinds}
    return Promotion(version="p", made_us=us(-9), model=model, shipped=shipped)


def test_what_is_learned_from_is_what_decisions_had(kept: Kept) -> None:
    """Every user's facts have the hash that was kept with the value that was told."""
    put_in_force(kept.log, promotion())
    kept.tell(
        *told("plain", login(-1, "a"), granted(0), lent(HOUR)),
        *told("versions", login(-1, "b"), granted(0, score=3.25, score_version="v2", product="payday")),
        *told("nothing", granted(7 * HOUR, score=None, limit=None), login(8 * HOUR, "late")),
        *told("day", login(-1, "c"), granted(0, time_precision="day", term_days=30)),
        *told("iphone", login(-1, phone("d", os="iOS"), app="acme-ios"), granted(0, app="acme-ios")),
        *told(
            "properties",
            login(-1, phone("e", os="Android")),
            granted(0, properties={"channel": "meta", "employer": "State", "salary": 1200, "age": 31}),
        ),
        *told("revised", login(-1, "f"), granted(0), again(granted(0, score=777.0), revision=1)),
        *told("no_grant", login(-1, "g"), lent(HOUR, "L5", score=500.0, score_version="v1")),
        *told("fee", login(-1, "h"), granted(0, fee=Decimal("612.5"))),
    )

    found = learned(kept)

    had = {}
    for _, record in kept.log.records(0, 10_000):
        if isinstance(record, Planned) and record.conversion.name in ("first_credit", "first_loan"):
            origin = record.conversion.origin
            assert origin.valued is not None
            had[origin.user_id, origin.event_type] = origin.valued.facts
    learned_from = {
        (name, kind): hash_of(users.facts(place))
        for kind, by_currency in found.users.items()
        for currency, users in by_currency.items()
        for place, (_, name) in enumerate(found.names[kind][currency])
    }
    assert learned_from == had
    assert len(set(had.values())) == 8  # `plain` and `revised` were told alike


def test_no_fact_is_younger_than_the_moment_and_a_later_login_changes_none(kept: Kept) -> None:
    kept.tell(*told("u1", login(-1, phone("a", os="Android 9")), granted(0), lent(HOUR)))
    before = only(learned(kept)).facts(0)
    kept.tell(
        *told(
            "u1",
            login(2 * HOUR, phone("b", os="Android 14")),
            login(-0.5, phone("c", os="Other"), arrives=DAY),
        )
    )

    users = only(learned(kept, seen=SEEN + 1))

    assert users.facts(0) == before
    assert users.words["os"].known_us.max() <= users.at_us.max()


def test_rows_as_of_a_moment_are_those_of_a_folder_that_ends_there(tmp_path: Path) -> None:
    story = [
        *told("u1", login(-1, "a"), granted(0), lent(HOUR), repaid(5 * DAY, "L1", 1_150)),
        *told("u2", login(-1, "b"), granted(15 * DAY)),
        *told("u1", lent(30 * DAY, "L2", loan_number=2)),
        event("app_opened", 35 * DAY, user_id="last"),
        *told("u3", login(-1, "c"), granted(36 * DAY)),
        *told("u2", lent(37 * DAY, "L7"), repaid(38 * DAY, "L7", 1_150)),
    ]
    story.sort(key=lambda one: one.received_at)
    by_then = moment(35 * DAY)
    whole = Kept(tmp_path / "whole", source()).tell(*story)
    ended = Kept(tmp_path / "ended", source()).tell(*(one for one in story if one.received_at <= by_then))

    with load(whole.folder, as_of=by_then) as tables:
        as_of = training(tables, SETTINGS)
    with ended.tables() as tables:
        then = training(tables, SETTINGS)

    assert as_of.as_of_us == then.as_of_us == us(35 * DAY)
    one, other = only(as_of), only(then)
    assert len(one) == 2
    assert one.at_us.tolist() == other.at_us.tolist()
    for field in one.loans.__struct_fields__:
        assert np.array_equal(getattr(one.loans, field), getattr(other.loans, field), equal_nan=True)
    assert one.followed.tolist() == [35.0 - 10, 20.0 - 10]
