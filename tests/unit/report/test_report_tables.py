"""What reports read from the log and the deliveries."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acme import HOUR, event, loan, login, source, target, us
from tests.unit.report.kept import Fate, Kept

from lendsignal.deliver import DeliverSettings
from lendsignal.deliver.sender import Sender
from lendsignal.log import DataFolder, open_deliveries
from lendsignal.model import Device
from lendsignal.plan import Planned
from lendsignal.report import all_reports, load
from lendsignal.resolve import ResolveSettings


def test_a_folder_without_anything_gives_empty_reports(tmp_path: Path) -> None:
    reports = all_reports(DataFolder(tmp_path))

    assert reports.funnel.as_of is None
    assert reports.bindings.moved.rows == ()
    assert reports.delivery.balanced
    assert "no events yet" in reports.funnel.to_text()


def test_only_what_was_taken_counts(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        loan(1, loan_number=1),
        loan(1, loan_number=1, event_id="again"),
        loan(1, loan_number=2, event_id="other"),
    )
    with kept.tables() as tables:
        found = tables.rows("select verdict, count(*) from event group by 1 order by 1")
        counted = tables.number("select count(*) from counted")

    assert found == [("conflict", 1), ("duplicate", 1), ("taken", 1)]
    assert counted == 1


def test_what_is_not_decided_yet_does_not_count(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.log.append([login(0, "old"), loan(1)])
    with kept.tables() as tables:
        found = tables.rows("select distinct verdict from event")
        counted = tables.number("select count(*) from counted")

    assert found == [("undecided",)]
    assert counted == 0


def test_one_event_marked_as_test_marks_its_user_from_the_first_event_on(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(0, "old"),
        loan(1),
        event("applied", 2, application_id="A1", test=True),
        loan(3, user_id="u2"),
    )
    with kept.tables() as tables:
        users = tables.rows("select distinct user from counted where not test")
        touches = tables.number("select count(*) from touch where not test")

    assert users == [("acme:u2",)]
    assert touches == 0


def test_a_higher_revision_stands_for_the_fact_and_the_earlier_one_does_not(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        loan(1, amount=Decimal("100.10")), loan(1, event_id="better", amount=Decimal("90.05"), revision=1)
    )
    with kept.tables() as tables:
        found = tables.rows("select event_id, amount from counted where not superseded")

    assert found == [("better", Decimal("90.05"))]


def test_a_reversal_takes_back_what_came_before_it(tmp_path: Path) -> None:
    paid: dict[str, Any] = {"loan_id": "L1", "amount": Decimal(5), "currency": "NGN"}
    kept = Kept(tmp_path).tell(
        loan(1),
        loan(2, "L2"),
        event("repaid", 3, payment_id="P1", **paid),
        event("disbursement_reversed", 4, loan_id="L1"),
        event("repayment_reversed", 5, payment_id="P1"),
    )
    with kept.tables() as tables:
        found = tables.rows("select type, key, reversed from counted where seq <= 4 order by seq")

    assert found == [("disbursed", "L1", True), ("disbursed", "L2", False), ("repaid", "P1", True)]


def test_an_event_known_by_the_day_binds_at_the_end_of_that_day_where_the_app_lives(tmp_path: Path) -> None:
    # 10:01 in Lagos; the day there ends at 23:00 UTC, which is 14 hours after T0.
    late = loan(1, arrives=30 * HOUR, time_precision="day")
    kept = Kept(tmp_path).tell(late)
    with kept.tables() as tables:
        found = tables.rows("select at_us, binds_us from counted")

    assert found == [(us(1), us(14 * HOUR) - 1)]


def test_attribution_reaches_the_installation_by_any_of_its_ids(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(0, Device(firebase_app_instance_id="fb-1")),
        login(1, Device(firebase_app_instance_id="fb-1", appsflyer_id="af-1"), user_id="u2"),
    )
    kept.attribute(("acme-ng", "af-1", "Facebook Ads", "fb_1"), ("acme-ng", "af-9", "organic", ""))
    with kept.tables() as tables:
        found = tables.rows(
            "select i.id, media_source, campaign from installation i join origin on installation = number"
        )

    assert found == [("fb-1", "Facebook Ads", "fb_1")]


def test_every_delivery_ends_as_the_sender_says(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(0, "old"), loan(1, loan_number=1), loan(2, "L2", loan_number=2))

    def fate(name: int, planned: Planned, entry: object) -> Fate | None:
        fates = {
            ("disbursement", "L1"): Fate("accepted", "confirmed", 3),
            ("disbursement", "L2"): Fate("dead", "http_400", 4, status=400),
            ("first_loan", "L1"): Fate("held", "unknown"),
        }
        return fates.get((planned.conversion.name, planned.conversion.loan_id or ""))

    kept.send(fate)
    with kept.tables() as tables:
        found = tables.rows("select conversion, what, reason from delivery order by id")

    assert found == [
        ("disbursement", "accepted", "confirmed"),
        ("first_loan", "held", "unknown"),
        ("disbursement", "dead", "http_400"),
        ("repeat_loan", "waiting", ""),
    ]


def test_deliveries_counted_row_by_row_are_those_the_sender_counted(tmp_path: Path) -> None:
    """A late login moves conversions from one app's destination to those of another app."""
    targets = {
        one.name: one
        for one in (
            target("appsflyer-ng", "acme-ng"),
            target("appsflyer-ios", "acme-ios"),
            target("meta-ios", "acme-ios"),
        )
    }
    kept = Kept(tmp_path, source(targets=targets, resolve=ResolveSettings(settle=timedelta(minutes=10))))
    kept.tell(
        login(0, "old"),
        loan(5, loan_number=1),
        loan(6, "L2", loan_number=2),
        login(4, "new", app="acme-ios", arrives=7),
        event("loan_cancelled", 8, loan_id="L2"),
        event("applied", 9, application_id="A3", test=True),
        loan(10, "L3", loan_number=3, user_id="nobody"),
        # moved to the other app after its user turned out to be staff: opened there, and skipped at once
        login(0, "third", user_id="u3"),
        loan(5, "L4", user_id="u3", arrives=11),
        event("applied", 12, application_id="A4", user_id="u3", test=True),
        login(4, "fourth", app="acme-ios", user_id="u3", arrives=13),
    )
    store = open_deliveries(kept.folder.deliveries)
    sender = Sender(kept.log, store, {}, {}, DeliverSettings(), kept.clock)
    while sender.turn(0):
        pass
    sender.drain()
    tally: dict[tuple[str, str, str], int] = {}
    for (destination, conversion, what, _), n in store.tally().items():
        if what in ("planned", "accepted", "dead", "skipped", "cancelled"):
            tally[destination, conversion, what] = tally.get((destination, conversion, what), 0) + n
    sender.close()
    store.close()
    with load(kept.folder) as tables:
        rows = tables.rows(
            "select destination, conversion, 'planned', count(*) from delivery group by all"
            " union all select destination, conversion, what, count(*) from delivery"
            " where what <> 'waiting' group by all"
        )
        waiting = tables.number("select count(*) from delivery where what = 'waiting'")

    assert {tuple(row[:3]): row[3] for row in rows} == tally
    assert waiting == sum(n if what == "planned" else -n for (_, _, what), n in tally.items())
    assert ("meta-ios", "disbursement", "planned") in tally
    assert ("appsflyer-ng", "disbursement", "cancelled") in tally
    assert ("meta-ios", "disbursement", "skipped") in tally
