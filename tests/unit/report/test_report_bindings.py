"""First install against last login: against arithmetic, and against a slow and obvious computation."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.acme import DAY, event, loan, login
from tests.unit.report.kept import Kept

from lendsignal.model import Device, Event
from lendsignal.report import Bindings, bindings
from lendsignal.resolve import Snapshot, Touches, device_at, first_install, with_touch

SOURCES = (
    ("acme-ng", "af-one", "organic", ""),
    ("acme-ng", "af-two", "Facebook Ads", "fb_1"),
    ("acme-ng", "af-three", "kwai_int", "kw_2"),
)


def reported(kept: Kept) -> Bindings:
    with kept.tables() as tables:
        return bindings(tables)


def row(report: Bindings, name: str) -> dict[str, object]:
    (found,) = [one for one in report.moved.records() if one["event"] == name]
    return dict(found)


def lender(path: Path) -> Kept:
    """Three users: `a` stays, `b` changes phones before the second loan, `c` is never seen."""
    return (
        Kept(path)
        .tell(
            login(0, "one", user_id="a"),
            loan(10, "A1", user_id="a", loan_number=1, amount=Decimal("100.25")),
            loan(20, "A2", user_id="a", loan_number=2, amount=Decimal("200.50")),
            login(5, "two", user_id="b"),
            loan(30, "B1", user_id="b", loan_number=1, amount=Decimal("400.125")),
            login(35, "three", user_id="b"),
            loan(40, "B2", user_id="b", loan_number=2, amount=Decimal("800"), currency="PHP"),
            loan(50, "C1", user_id="c", loan_number=1, amount=Decimal("1600")),
        )
        .attribute(*SOURCES)
    )


def test_a_loan_on_another_installation_than_the_first_is_moved(tmp_path: Path) -> None:
    found = row(reported(lender(tmp_path)), "disbursed")

    # Five disbursements; one without any login; of the other four only B2 is on a later installation.
    assert (found["events"], found["without_touch"], found["moved"]) == (5, 1, 1)
    assert found["moved_share"] == 1 / 4
    assert found["remark"] == "thin"


def test_disbursements_stand_side_by_side_under_both_rules(tmp_path: Path) -> None:
    report = reported(lender(tmp_path))
    found = {
        one["media_source"]: (one["first_install"], one["last_login"], one["shift"], one["first_loans_shift"])
        for one in report.sources.records()
    }

    assert found == {
        "organic": (2, 2, 0, 0),
        "Facebook Ads": (2, 1, -1, 0),
        "kwai_int": (0, 1, 1, 0),
        "(no touch)": (1, 1, 0, 0),
    }


def test_money_is_exact_and_each_currency_has_its_own_row(tmp_path: Path) -> None:
    found = {
        (one["media_source"], one["currency"]): (one["first_install"], one["last_login"], one["shift"])
        for one in reported(lender(tmp_path)).money.records()
    }

    assert found == {
        ("organic", "NGN"): (Decimal("300.75"), Decimal("300.75"), Decimal(0)),
        ("Facebook Ads", "NGN"): (Decimal("400.125"), Decimal("400.125"), Decimal(0)),
        ("(no touch)", "NGN"): (Decimal(1600), Decimal(1600), Decimal(0)),
        ("Facebook Ads", "PHP"): (Decimal(800), Decimal(0), Decimal(-800)),
        ("kwai_int", "PHP"): (Decimal(0), Decimal(800), Decimal(800)),
    }


def test_a_first_loan_moves_with_its_disbursement(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(0, "one"), login(1, "two"), loan(2, loan_number=1)).attribute(*SOURCES)
    found = {
        one["media_source"]: (one["first_loans_first_install"], one["first_loans_last_login"])
        for one in reported(kept).sources.records()
    }

    assert found == {"organic": (1, 0), "Facebook Ads": (0, 1)}


def test_a_label_splits_an_event_type_by_its_key(tmp_path: Path) -> None:
    paid: dict[str, Any] = {"loan_id": "L1", "amount": Decimal(7), "currency": "NGN"}
    kept = Kept(tmp_path).tell(
        login(0, "one"),
        event("repaid", 1, payment_id="L1-first", **paid),
        login(2, "two"),
        event("repaid", 3, payment_id="L1-full", **paid),
    )
    with kept.tables() as tables:
        report = bindings(tables, label=lambda kind, key: f"{kind}_{key.rpartition('-')[2]}")

    assert (row(report, "repaid_first")["moved"], row(report, "repaid_full")["moved"]) == (0, 1)


def test_reinstalls_new_phones_and_returns_are_told_apart(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(0, Device(appsflyer_id="a1", gaid="g1")),
        login(10, Device(appsflyer_id="a2", gaid="g1")),
        loan(15),
        login(20, Device(appsflyer_id="a3", gaid="g3")),
        loan(25, "L2"),
        login(30, Device(appsflyer_id="a1", gaid="g1")),
        login(40, Device(appsflyer_id="a4", idfv="i4"), app="acme-ios"),
        login(50, Device(appsflyer_id="a5"), app="acme-ios"),
    )
    found = {
        one["change"]: (one["users"], one["changes"], one["moved_disbursements"])
        for one in reported(kept).changes.records()
    }

    assert found == {
        "reinstall": (1, 1, 1),
        "other phone": (1, 1, 1),
        "other phone, other app": (1, 1, 0),
        "other app on the same phone": (0, 0, 0),
        "phone not known": (1, 1, 0),
        "back to an earlier one": (1, 1, 0),
    }


def test_a_login_that_lacks_its_install_id_is_not_another_installation(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(0, Device(appsflyer_id="a1", firebase_app_instance_id="f1")),
        login(1, Device(firebase_app_instance_id="f1")),
        loan(2),
    )

    assert row(reported(kept), "disbursed")["moved"] == 0


def test_a_phone_seen_before_its_installation_was_shown_is_not_another_installation(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(0, Device(gaid="g1")), login(1, Device(gaid="g1", appsflyer_id="a1")), loan(2)
    )

    assert row(reported(kept), "disbursed")["moved"] == 0


def test_a_login_that_arrives_after_the_loan_has_settled_is_counted_as_late(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(0, "one"),
        loan(10, "L1"),  # its latest login comes too late, and pointed elsewhere before
        login(9, "two", arrives=11),
        loan(20, "L2"),
        login(19, "two", arrives=21),  # too late, but no other installation
        loan(30, "L3"),
        login(40, "two"),
    )
    found = row(reported(kept), "disbursed")

    assert (found["late_touch"], found["misled"]) == (2, 1)


def test_imported_history_is_not_judged_by_when_it_arrived(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        loan(10, arrives=DAY, history=True), login(5, "one", arrives=DAY + 1, history=True)
    )

    assert row(reported(kept), "disbursed")["late_touch"] == 0


def test_a_first_login_soon_after_the_event_answers_for_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(loan(10), login(11, "two")).attribute(*SOURCES)
    report = reported(kept)
    found = row(report, "disbursed")

    assert (found["without_touch"], found["held"], found["moved"]) == (1, 1, 0)
    assert [one["media_source"] for one in report.sources.records()] == ["Facebook Ads"]


def test_a_first_login_days_after_the_event_does_not_answer_for_it(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(loan(10), login(3 * DAY, "two")).attribute(*SOURCES)
    report = reported(kept)

    assert row(report, "disbursed")["held"] == 0
    assert [one["media_source"] for one in report.sources.records()] == ["(no touch)"]


INSTALLATIONS = [
    Device(appsflyer_id=f"a{n}", firebase_app_instance_id=f"f{n}", gaid=f"g{n % 2}") for n in range(3)
]
SHOWN = [
    *INSTALLATIONS,
    *(Device(firebase_app_instance_id=one.firebase_app_instance_id) for one in INSTALLATIONS),
    Device(gaid="g0"),
    Device(gaid="g9"),
    Device(model="no ids"),
]


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Logins and loans of two users in a few minutes, so that many fall into one instant."""
    found = []
    for number in range(draw(st.integers(1, 14))):
        user = draw(st.sampled_from(["a", "b"]))
        minute = draw(st.integers(0, 8))
        if draw(st.booleans()):
            device = draw(st.sampled_from(SHOWN))
            app = "acme-ng" if draw(st.booleans()) else "acme-ios"
            name = f"t{draw(st.integers(0, 99)):02d}-{number}"
            found.append(login(minute, device, app=app, user_id=user, event_id=name, arrives=20 + number))
        else:
            found.append(loan(minute, f"L{number}", user_id=user, arrives=20 + number))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_the_join_gives_what_resolve_gives_from_all_touches(
    tmp_path_factory: pytest.TempPathFactory, history: list[Event]
) -> None:
    kept = Kept(tmp_path_factory.mktemp("kept")).tell(*history)
    with kept.tables() as tables:
        joined = {
            key: (last, first)
            for key, last, first in tables.rows(
                "select c.key, l.id, f.id from counted c join bound b using (seq)"
                " left join installation l on l.number = b.last_login"
                " left join installation f on f.number = b.first_install where c.type = 'disbursed'"
            )
        }
    slow = {}
    for one in history:
        if one.type == "disbursed":
            touches = Touches()
            for touch in history:
                if touch.device is not None and touch.user_id == one.user_id:
                    at, got = us_of(touch), us_of(touch)
                    snapshot = Snapshot(touch.app or "", touch.device)
                    touches = with_touch(touches, at, touch.event_id, got, snapshot)
            last, first = device_at(touches, us_of(one)), first_install(touches, us_of(one))
            slow[one.loan_id] = (
                None if last is None else named(last.snapshot.device),
                None if first is None or last is None else named(first.snapshot.device),
            )

    assert joined == slow


def us_of(one: Event) -> int:
    return round(one.occurred_at.timestamp()) * 1_000_000


def named(device: Device) -> str:
    """As reports call it: the Firebase id of every installation here is shown by each of its snapshots."""
    return device.firebase_app_instance_id or (f"gaid:{device.gaid}" if device.gaid else "")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_the_join_gives_the_latest_login_by_then(
    tmp_path_factory: pytest.TempPathFactory, history: list[Event]
) -> None:
    """Slow and obvious: go through all logins of the user, keep the best. Only logins with install ids."""
    history = [one for one in history if one.device is None or one.device.firebase_app_instance_id]
    kept = Kept(tmp_path_factory.mktemp("kept")).tell(*history)
    with kept.tables() as tables:
        joined = dict(
            tables.rows(
                "select c.key, l.id from counted c join bound b using (seq)"
                " left join installation l on l.number = b.last_login where c.type = 'disbursed'"
            )
        )
    slow: dict[str | None, str | None] = {}
    for one in history:
        if one.type != "disbursed":
            continue
        best: Event | None = None
        for touch in history:
            if touch.device is None or touch.user_id != one.user_id or touch.occurred_at > one.occurred_at:
                continue
            if best is None or (touch.occurred_at, touch.event_id) > (best.occurred_at, best.event_id):
                best = touch
        slow[one.loan_id] = best.device.firebase_app_instance_id if best and best.device else None

    assert joined == slow
