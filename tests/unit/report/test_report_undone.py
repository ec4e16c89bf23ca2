"""What was sent before it was reversed, in the delivery report, in `explain` and in the archive's rows."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import APPS, event
from tests.desk import TOKEN, AcmeSettings, Desk, acme, borrower, encode, verdicts
from tests.scripted import platform

from lendsignal.archive.rows import delivery_rows
from lendsignal.deliver import Outlet, rendered
from lendsignal.destination.spec import Corrections, Item
from lendsignal.model import Delivery, Event, Skip
from lendsignal.plan import Corrected
from lendsignal.report import delivery, explain, load


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


def encode_all(one: Delivery, settings: AcmeSettings) -> Item | Skip:
    item = encode(one, settings)
    taken_back = one.corrected_at is not None and one.value is None
    return {**item, "back": True} if taken_back and not isinstance(item, Skip) else item


CORRECTS = acme(
    "corrects", facts={"corrections": Corrections(within=timedelta(days=5), retracts=True)},
    parts={"encode": encode_all},
)  # fmt: skip
STANDS = acme("stands")


def reversal(minutes: float, name: str = "u1") -> Event:
    return event("loan_cancelled", minutes, user_id=name, event_id=f"back-{name}", loan_id=f"L-{name}")


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    """Two borrowers at two destinations, all told; the loan of the first is cancelled afterwards."""
    with (
        platform(verdicts("accepted")) as played,
        Desk(tmp_path, CORRECTS, STANDS, sandbox=played.url) as desk,
    ):
        desk.tell(*borrower("u1"), *borrower("u2")).quiet()
        desk.tell(reversal(1)).quiet()
        yield desk


def test_the_delivery_report_says_what_was_taken_back_and_what_cannot_be(desk: Desk) -> None:
    with load(desk.folder) as tables:
        report = delivery(tables)

    names = ("destination", "sent", "taken_back", "on_the_way", "cannot_be_taken_back")
    assert [tuple(row[name] for name in names) for row in report.undone.records()] == [
        ("corrects", 1, 1, 0, 0),
        ("stands", 1, 0, 0, 1),
    ]
    assert report.balanced
    assert {(row["destination"], row["conversion"]) for row in report.conversions.records()} == {
        ("corrects", "disbursement"),
        ("corrects", "disbursement_retraction"),
        ("stands", "disbursement"),
    }


def test_a_retraction_is_no_posting_of_a_conversion_and_has_no_delay(desk: Desk) -> None:
    with load(desk.folder) as tables:
        assert {row["conversion"] for row in delivery(tables).delays.records()} == {"disbursement"}


def test_explain_shows_the_retraction_with_its_request_and_what_stands(desk: Desk) -> None:
    renders = {name: rendered(outlet, APPS) for name, outlet in desk.outlets.items()}
    found = explain(desk.folder, "out-u1", renders)

    (one,) = [each for life in found.lives for each in life.conversions if each.name == "disbursement"]
    told = {(each.destination, each.corrects): each for each in one.deliveries}
    back = told["corrects", "takes it back, after loan_cancelled"]
    assert (back.what, back.reason) == ("accepted", "confirmed")
    assert back.request is not None
    assert back.request["body"]["events"][0]["back"] is True
    assert [each.stands for each in one.deliveries] == [False, True, False]
    text = found.to_text()
    assert "as ev_disbursement, takes it back, after loan_cancelled" in text
    assert text.count("it was sent before that was known, and cannot be taken back there") == 1


def test_the_archive_has_a_delivery_for_a_correction_and_no_second_conversion(desk: Desk) -> None:
    ((number, record),) = [
        (number, one) for number, one in desk.log.records(0, 100) if isinstance(one, Corrected)
    ]
    (row,) = delivery_rows(number, record)

    assert row[:2] == (number * 64, number)
    assert row[3:7] == (record.conversion.id, "disbursement_retraction", "corrects", "acme")


def test_what_waits_to_be_taken_back_is_on_the_way(tmp_path: Path) -> None:
    outlet: Outlet = CORRECTS
    with (
        platform(verdicts("accepted"), verdicts("retry:busy")) as played,
        Desk(tmp_path, outlet, sandbox=played.url) as desk,
    ):
        desk.tell(*borrower("u1")).quiet()
        desk.tell(reversal(1)).until(lambda: len(played.came) == 2).quiet()
        with load(desk.folder) as tables:
            (row,) = delivery(tables).undone.records()

    assert (row["taken_back"], row["on_the_way"], row["cannot_be_taken_back"]) == (0, 1, 0)
