"""Loans by when they were paid out. Expected sums are counted by hand, or loan by loan in plain Python."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.acme import DAY, HOUR, T0, event, loan, login
from tests.unit.report.kept import Kept
from tests.unit.report.world import ZONE, filled, told, world

from lendsignal.model import Event, Instalment
from lendsignal.report import load
from lendsignal.report.slices import Slice
from lendsignal.report.vintages import MEASURES, Vintages, vintages

WEEKS = 7 * DAY
DUE = date(2026, 3, 24)


def lent(minutes: float, name: str = "L1", **fields: Any) -> Event:
    """25,000 and a fee of 1,500, due in one sum 14 days after T0."""
    schedule = (Instalment(due_date=DUE, amount=Decimal(26_500)),)
    return loan(minutes, name, **{"schedule": schedule, "term_days": 14, **fields})


def back(minutes: float, amount: int, name: str = "L1", **fields: Any) -> Event:
    known = {"payment_id": f"P{minutes}", "loan_id": name, "amount": Decimal(amount), "currency": "NGN"}
    return event(fields.pop("kind", "repaid"), minutes, **{**known, **fields})


def late(minutes: float, dpd: int, name: str = "L1", **fields: Any) -> Event:
    return event("overdue", minutes, loan_id=name, dpd=dpd, **fields)


def reported(kept: Kept, **options: Any) -> Vintages:
    with load(kept.folder) as tables:
        return vintages(tables, Slice(by=("campaign",), **options))


def only(rows: list[dict[str, Any]], **where: Any) -> dict[str, Any]:
    (row,) = [one for one in rows if all(one[name] == value for name, value in where.items())]
    return row


def test_a_loan_belongs_to_the_week_it_was_paid_out_in_by_the_apps_own_clock(tmp_path: Path) -> None:
    # T0 is Tuesday 10:00 in Lagos; the week ends 5 days and 14 hours later.
    end = 5 * DAY + 14 * HOUR
    kept = Kept(tmp_path).tell(lent(0), lent(end - 1, "L2"), lent(end, "L3"))
    weeks = [(one["vintage"], one["loans"]) for one in reported(kept).vintages.records()]
    months = [(one["vintage"], one["loans"]) for one in reported(kept, every="month").vintages.records()]

    assert weeks == [("2026-03-09", 2), ("2026-03-16", 1)]
    assert months == [("2026-03-01", 3)]


def test_a_week_with_a_missing_hour_is_a_week_all_the_same(tmp_path: Path) -> None:
    zone = ZoneInfo("Europe/Berlin")
    minutes = (datetime(2026, 3, 29, 23, 30, tzinfo=zone).astimezone(UTC) - T0).total_seconds() / 60
    kept = Kept(tmp_path).tell(lent(minutes), lent(minutes + 30, "L2"))
    with load(kept.folder) as tables:
        tables.zones = {"acme-ng": zone}
        found = [one["vintage"] for one in vintages(tables).vintages.records()]

    # The clock was put forward that Sunday; half an hour to midnight is still half an hour.
    assert found == ["2026-03-23", "2026-03-30"]


def test_money_is_exact_and_recoveries_are_part_of_what_came_back(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        lent(0),
        back(3 * DAY, 6_500),
        event("defaulted", 60 * DAY, loan_id="L1", outstanding=Decimal(20_000)),
        back(70 * DAY, 5_000, kind="recovered"),
        lent(0, "L2", user_id="u2"),
        back(5 * DAY, 26_500, "L2", user_id="u2", closes_loan=True),
        lent(0, "undone", user_id="u3"),
        event("loan_cancelled", 1, loan_id="undone", user_id="u3"),
    )
    (row,) = reported(kept).vintages.records()

    assert (row["loans"], row["amount"], row["owed"]) == (2, Decimal("50000.00"), Decimal("53000.00"))
    assert row["repaid"] == Decimal("38000.00")
    assert (row["lost"], row["balance_lost"], row["recovered"]) == (
        1,
        Decimal("20000.00"),
        Decimal("5000.00"),
    )
    assert row["recovery_rate"] == 0.25


def test_a_payment_that_bounced_is_not_repaid(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        lent(0), back(DAY, 1_000), event("repayment_reversed", 2 * DAY, payment_id=f"P{DAY}", loan_id="L1")
    )

    assert only(reported(kept).vintages.records())["repaid"] == 0


def test_lateness_is_by_count_and_by_the_balance_then_outstanding(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        lent(0),
        back(DAY, 6_500),
        late(15 * DAY, 1, outstanding=Decimal(20_000)),
        late(21 * DAY, 7, outstanding=Decimal(18_000)),
        lent(0, "L2", user_id="u2"),
        back(DAY, 500, "L2", user_id="u2"),
        late(15 * DAY, 1, "L2", user_id="u2"),
    )
    rows = reported(kept).delinquency.records()

    # The second lender's system tells no balance: 26,500 less the 500 that came before.
    one = only(rows, measure="1dpd")
    assert (one["reached"], one["rate_by_count"]) == (2, 1.0)
    assert one["balance"] == Decimal(20_000 + 26_000)
    assert one["rate_by_balance"] == pytest.approx(46_000 / 53_000)
    assert only(rows, measure="7dpd")["balance"] == Decimal(18_000)
    assert only(rows, measure="30dpd")["reached"] == 0


def test_a_loan_is_lost_at_the_days_past_due_of_the_policy_or_when_the_lender_says(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        lent(0), late(74 * DAY, 60), lent(0, "L2", user_id="u2"), late(73 * DAY, 59, "L2", user_id="u2")
    )

    assert only(reported(kept).delinquency.records(), measure="default")["reached"] == 1


def test_the_repayment_curve_is_of_the_loans_that_are_that_old(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        lent(0),
        back(7 * DAY, 5_300),  # on the seventh day
        lent(3 * DAY, "L2", user_id="u2"),
        back(9 * DAY, 2_650, "L2", user_id="u2"),  # on the sixth
        event("applied", 9.5 * DAY, application_id="A1", user_id="u3"),
    )
    (row,) = reported(kept).repayment.records()

    # As of nine and a half days: the second loan is six days old.
    assert (row["age"], row["loans"], row["owed"], row["repaid"]) == (
        7,
        1,
        Decimal("26500.00"),
        Decimal("5300.00"),
    )
    assert row["remark"] == "maturing"


def test_few_bad_loans_say_nothing_of_what_is_to_come(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(lent(0), late(15 * DAY, 1))
    row = only(reported(kept).delinquency.records(), measure="1dpd")

    assert (row["developed"], row["maturity"]) == (None, None)


def test_loans_without_a_due_day_and_lenders_without_lateness_are_told(tmp_path: Path) -> None:
    report = reported(Kept(tmp_path).tell(loan(0), lent(1, "L2")))

    assert report.notes == (
        "1 loans have no due day: not developed.",
        "No `overdue` or `defaulted` event was told: nothing is known to be late or lost.",
    )


def test_an_empty_folder_has_empty_tables(tmp_path: Path) -> None:
    assert all(not found.rows for found in reported(Kept(tmp_path)).tables().values())


def test_an_extension_puts_the_due_day_off(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        lent(0), event("extended", 10 * DAY, loan_id="L1", due_date=date(2026, 4, 7), fee=Decimal(5))
    )
    with load(kept.folder) as tables:
        vintages(tables)
        ((due,),) = tables.rows("select due from lent")

    assert due == date(2026, 4, 7)


def test_loans_are_counted_under_the_campaign_of_the_last_login(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(-9, "one"), login(-5, "two"), lent(0))
    kept.attribute(("acme-ng", "af-one", "Meta", "spring"), ("acme-ng", "af-two", "TikTok", "video"))

    assert {one["campaign"] for one in reported(kept).campaigns.records()} == {"TikTok / video"}
    assert {one["campaign"] for one in reported(kept, binding="first_install").campaigns.records()} == {
        "Meta / spring"
    }


class Slow:
    """A lender's loans, one object each, as a patient person would tell them."""

    def __init__(self, events: list[Event]) -> None:
        last: dict[tuple[str, str | None], Event] = {}
        for one in events:  # a conflict or a copy came later than the fact it repeats
            last.setdefault((one.type, one.payment_id or one.loan_id), one)
        gone = {one.loan_id for kind, one in self.of(last, "disbursement_reversed", "loan_cancelled")}
        bounced = {one.payment_id: one for _, one in self.of(last, "repayment_reversed")}
        self.loans = {
            str(one.loan_id): one
            for _, one in self.of(last, "disbursed")
            if one.loan_id not in gone and not one.test
        }
        self.paid: dict[str, list[Event]] = defaultdict(list)
        for _, one in self.of(last, "repaid", "recovered"):
            if one.payment_id not in bounced:
                self.paid[str(one.loan_id)].append(one)
        self.late: dict[str, list[Event]] = defaultdict(list)
        for one in events:
            if one.type in ("overdue", "defaulted") and one.loan_id in self.loans:
                self.late[str(one.loan_id)].append(one)

    @staticmethod
    def of(last: dict[tuple[str, str | None], Event], *kinds: str) -> list[tuple[str, Event]]:
        return [(key[0], one) for key, one in last.items() if key[0] in kinds]

    def vintage(self, name: str) -> str:
        day = self.day(self.loans[name].occurred_at)
        return str(day - timedelta(days=day.weekday()))

    @staticmethod
    def day(moment: datetime) -> date:
        return moment.astimezone(ZoneInfo(ZONE)).date()

    def reached(self, name: str, measure: str) -> Event | None:
        days = 60 if measure == "default" else int(measure.removesuffix("dpd"))
        found = [one for one in self.late[name] if one.type == "defaulted" or (one.dpd or 0) >= days]
        return min(found, key=lambda one: one.occurred_at, default=None)


def test_a_made_up_lenders_vintages_are_those_of_a_loan_by_loan_count(tmp_path: Path) -> None:
    made = world(users=600, days=120)
    slow = Slow(list(told(made)))
    report = reported(filled(tmp_path, made))
    today = max(slow.day(one.received_at) for one in told(made))

    found = {str(one["vintage"]): one for one in report.vintages.records()}
    curve = {(str(one["vintage"]), one["age"]): one for one in report.repayment.records()}
    lateness = {(str(one["vintage"]), one["measure"]): one for one in report.delinquency.records()}
    assert set(found) == {slow.vintage(name) for name in slow.loans}
    for week, row in found.items():
        names = [name for name in slow.loans if slow.vintage(name) == week]
        owed = {name: (slow.loans[name].amount or 0) + (slow.loans[name].fee or 0) for name in names}
        assert row["loans"] == len(names)
        assert row["amount"] == sum(slow.loans[name].amount or 0 for name in names)
        assert row["owed"] == sum(owed.values())
        assert row["repaid"] == sum(one.amount or 0 for name in names for one in slow.paid[name])
        for age in (7, 30, 60):
            old = [n for n in names if (today - slow.day(slow.loans[n].occurred_at)).days >= age]
            if old:
                assert curve[week, age]["loans"] == len(old)
                assert curve[week, age]["repaid"] == sum(
                    one.amount or 0
                    for n in old
                    for one in slow.paid[n]
                    if (slow.day(one.occurred_at) - slow.day(slow.loans[n].occurred_at)).days <= age
                )
        for measure in MEASURES:
            bad = [one for n in names if (one := slow.reached(n, measure))]
            assert lateness[week, measure]["reached"] == len(bad)
            assert lateness[week, measure]["balance"] == sum(one.outstanding or 0 for one in bad)
    assert len(slow.loans) > 300


def test_a_young_book_is_developed_to_what_the_generator_knows(tmp_path: Path) -> None:
    made = world(users=3_000, days=150, seed=11)
    report = reported(filled(tmp_path, made), every="month")
    rows = [one for one in report.delinquency.records() if one["measure"] == "default"]

    # The generator follows every loan to its end, also beyond what was told.
    loans = made.book.loans
    months = defaultdict(list)
    test = made.people.test[loans.user]
    for at, lost, staff in zip(
        loans.at.tolist(), (loans.repaying.defaulted_at < 2**61).tolist(), test, strict=True
    ):
        if at < made.end and not staff:
            months[datetime.fromtimestamp(at / 1000, ZoneInfo(ZONE)).strftime("%Y-%m-01")].append(lost)
    inside = 0
    for row in rows:
        truth = sum(months[str(row["vintage"])]) / len(months[str(row["vintage"])])
        inside += (
            float(str(row["developed_low"])) - 0.002 <= truth <= float(str(row["developed_high"])) + 0.002
        )
    young = rows[-1]

    assert len(rows) == 5
    assert inside >= 4
    assert young["reached"] == 0
    assert 0.05 < float(str(young["developed"])) < 0.25


def test_the_first_repayment_is_set_against_its_own_due_day_or_the_loans_first(tmp_path: Path) -> None:
    """Due on 24 March: paid on the 20th, the 24th and 1 April; one tells its own due day."""
    first = T0.date()
    after = {name: (day - first).days * DAY for name, day in DAYS.items()}
    kept = Kept(tmp_path).tell(
        *(lent(n, name) for n, name in enumerate(DAYS)),
        *(back(minutes, 100, name) for name, minutes in after.items() if name != "own"),
        back(after["own"], 100, "own", due_date=DAYS["own"]),
        back(after["early"] + 20 * DAY, 100, "early"),
        lent(9, "unpaid"),
    )
    found = {
        str(one["first_repayment"]): (one["loans"], one["of"]) for one in reported(kept).punctuality.records()
    }

    assert found == {
        "early": (1, 4),
        "on the day": (2, 4),
        "late": (1, 4),
        "more than 3 days late": (1, 4),
        "more than 7 days late": (1, 4),
        "more than 15 days late": (0, 4),
        "more than 30 days late": (0, 4),
        "more than 60 days late": (0, 4),
    }


DAYS = {
    "early": date(2026, 3, 20),
    "on the day": date(2026, 3, 24),
    "late": date(2026, 4, 1),
    "own": date(2026, 4, 2),
}
