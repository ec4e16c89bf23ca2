"""What became of deliveries. Expected numbers are counted by hand from the fates of each test."""

from pathlib import Path
from typing import Any

from tests.acme import event, loan, login, source, us
from tests.unit.report.kept import Fate, Kept

from lendsignal.log import Changes, Open, Pause, Stage, Stop, open_deliveries
from lendsignal.plan import Entry, Planned
from lendsignal.report import DeliveryReport, delivery

SEND = {"disbursement": "ev_d", "application": "ev_a"}
FATES = ("accepted", "confirmed", "unconfirmed", "dead", "waiting", "held", "skipped", "cancelled")


def reported(kept: Kept) -> DeliveryReport:
    with kept.tables() as tables:
        return delivery(tables)


def lender(path: Path) -> Kept:
    """Ten disbursements a minute apart; each ends as its number says."""
    kept = Kept(path, source(send=SEND)).tell(login(-1, "one"))
    kept.tell(*(loan(n, f"L{n}", arrives=n + 1) for n in range(10)))
    return kept.tell(event("applied", 20, application_id="A1", user_id="unseen"))


def fate(name: int, planned: Planned, entry: Entry) -> Fate | None:
    """0–3 confirmed after 2, 3, 4 and 5 minutes, 4 unconfirmed, 5 dead, 6 held, 7 cancelled, 8 and 9 wait."""
    number = int((planned.conversion.loan_id or "L8").removeprefix("L"))
    match number:
        case 0 | 1 | 2 | 3:
            return Fate("accepted", "confirmed", answered=2 * number + 2, tries=number + 1)
        case 4:
            return Fate("accepted", "unexpected_answer", answered=4 + 6)
        case 5:
            return Fate("dead", "http_400", 11, status=400)
        case 6:
            return Fate("held", "unknown")
        case 7:
            return Fate("cancelled", "loan_cancelled", 12, tries=0)
        case _:
            return None


def test_everything_planned_is_accounted_for(tmp_path: Path) -> None:
    report = reported(lender(tmp_path).send(fate))
    (row,) = report.conversions.records()

    assert report.balanced
    assert row["planned"] == 10
    assert tuple(row[name] for name in FATES) == (5, 4, 1, 1, 2, 1, 0, 1)
    # 1 + 2 + 3 tries of numbers 1, 2 and 3 ended in another try
    assert (row["retries"], row["retried"]) == (6, 3)


def test_the_accepted_share_is_of_all_planned(tmp_path: Path) -> None:
    (row,) = reported(lender(tmp_path).send(fate)).destinations.records()

    assert row["accepted_share"] == 5 / 10


def test_every_end_has_its_reason(tmp_path: Path) -> None:
    found = {
        (one["what"], one["reason"]): one["deliveries"]
        for one in reported(lender(tmp_path).send(fate)).reasons.records()
    }

    assert found == {
        ("accepted", "confirmed"): 4,
        ("accepted", "unexpected_answer"): 1,
        ("dead", "http_400"): 1,
        ("held", "unknown"): 1,
        ("cancelled", "loan_cancelled"): 1,
        ("waiting", ""): 2,
    }


def test_a_delivery_that_was_lost_makes_the_report_unbalanced(tmp_path: Path) -> None:
    kept = lender(tmp_path).send(fate)
    store = open_deliveries(kept.folder.deliveries)
    (lost, *_) = store.open("appsflyer-ng", 0, 1)
    changes = Changes()
    changes.finish(lost)
    store.commit(changes)
    store.close()
    report = reported(kept)

    assert not report.balanced
    assert [one["balanced"] for one in report.conversions.records()] == [False]


def test_delay_is_from_the_event_and_its_queue_part_from_the_arrival(tmp_path: Path) -> None:
    (row,) = reported(lender(tmp_path).send(fate)).delays.records()

    # Answered 2, 3, 4, 5 and 6 minutes after the event; each event came in a minute after it happened.
    # The 90th percentile lies at 0.9 · 4 = 3.6 steps behind the first: 5 min 36 s; the 99th at 3.96.
    assert row["accepted"] == 5
    assert (row["posting_p50"], row["posting_p90"]) == (240, 336)
    assert abs(float(str(row["posting_p99"])) - 357.6) < 1e-6
    assert (row["queue_p50"], row["queue_p90"]) == (180, 276)
    assert row["remark"] == "thin"


def test_what_was_skipped_at_planning_is_counted_with_its_reason(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(login(0, "one"), loan(1, test=True)).send(fate)
    report = reported(kept)
    (row,) = report.conversions.records()

    assert (row["planned"], row["skipped"], row["balanced"]) == (1, 1, True)
    assert [(one["what"], one["reason"]) for one in report.reasons.records()] == [("skipped", "test_user")]


def test_a_paused_destination_is_named_with_its_reason(tmp_path: Path) -> None:
    kept = lender(tmp_path).send(fate)
    store = open_deliveries(kept.folder.deliveries)
    changes = Changes()
    changes.paused["appsflyer-ng"] = Pause(us(5), Stop.PLATFORM, "http_401")
    store.commit(changes)
    store.close()

    assert reported(kept).paused.records() == [
        {"destination": "appsflyer-ng", "since": "2026-03-10 09:05:00", "reason": "http_401"}
    ]


def test_conversions_that_the_sender_has_not_read_or_no_route_takes_are_told(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(login(0, "one"), loan(1, loan_number=1))
    report = reported(kept)

    assert report.balanced
    assert report.notes == (
        "1 conversions are decided and not yet read by the sender.",
        "1 conversions are taken by no route.",  # first_loan
    )


def test_a_waiting_row_without_its_record_is_still_counted(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    store = open_deliveries(kept.folder.deliveries)
    changes = Changes()
    changes.keep(Open("appsflyer-ng", 64 * 256 * 7, Stage.WAITING, us(0)))
    store.commit(changes)
    store.close()
    report = reported(kept)
    rows: list[dict[str, Any]] = report.conversions.records()

    assert [(one["conversion"], one["waiting"]) for one in rows] == [("(not in the log)", 1)]
    assert not report.balanced
