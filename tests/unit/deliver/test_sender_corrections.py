"""Corrections: sent once the platform has what they correct, never before, never twice, never to nobody."""

import json
import threading
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, consent_of, event, loan
from tests.desk import TOKEN, AcmeSettings, Desk, acme, borrower, classify, encode, verdicts
from tests.scripted import Act, Platform, closes, hangs, platform, says, waits_for

from lendsignal.deliver import Outlet, Unknown
from lendsignal.deliver.book import PARK_US
from lendsignal.destination.spec import Corrections, Item
from lendsignal.log import Stage
from lendsignal.model import Delivery, Event, Skip

ACCEPTS = verdicts("accepted")
WITHIN = timedelta(days=5)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


def encode_all(delivery: Delivery, settings: AcmeSettings) -> Item | Skip:
    """Acme's event object; a correction of one says what it does."""
    item = encode(delivery, settings)
    if isinstance(item, Skip) or delivery.corrected_at is None:
        return item
    does = "retract" if delivery.value is None else f"restate {delivery.value.amount}"
    return {**item, "does": does, "at": delivery.corrected_at.isoformat()}


def correcting(
    name: str = "acme-ng", *, retracts: bool = True, on_proof: bool = False, **common: Any
) -> Outlet:
    """A destination at Acme that lets conversions be corrected."""
    corrections = Corrections(within=WITHIN, retracts=retracts, on_proof=on_proof)
    facts = {"corrections": corrections, "batch_by": "does"}
    return acme(name, facts=facts, parts={"encode": encode_all}, **common)


def desk_of(path: Path, played: Platform, outlet: Outlet | None = None, **more: Any) -> Desk:
    value = {"disbursement": "fee"}
    return Desk(path, outlet or correcting(), sandbox=played.url, value=value, **more)


def reversal(minutes: float, name: str = "u1") -> Event:
    return event("disbursement_reversed", minutes, user_id=name, event_id=f"back-{name}", loan_id=f"L-{name}")


def revised(minutes: float, fee: int, revision: int = 1, name: str = "u1") -> Event:
    """The borrower's loan as it is told again, with another fee."""
    return loan(
        0, f"L-{name}", arrives=minutes, user_id=name, event_id=f"out-{name}-{revision}",
        revision=revision, fee=Decimal(fee),
    )  # fmt: skip


def said(played: Platform) -> list[list[str]]:
    """What each request tells, row by row."""
    return [[one.get("does", "convert") for one in json.loads(came.body)["events"]] for came in played.came]


def ids(played: Platform) -> set[str]:
    return {one["id"] for came in played.came for one in json.loads(came.body)["events"]}


def fates(desk: Desk) -> dict[str, dict[str, int]]:
    """What became of deliveries, by what they are counted as."""
    found: dict[str, dict[str, int]] = {}
    store = desk.stored()
    for (_, conversion, what, reason), n in store.tally().items():
        found.setdefault(conversion, {})[f"{what} {reason}".strip()] = n
    store.close()
    return found


def test_a_reversed_loan_that_was_told_is_taken_back_under_its_id(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        desk.tell(reversal(0)).quiet()

        assert said(played) == [["convert"], ["retract"]]
        assert len(ids(played)) == 1
        assert desk.balanced()
        assert fates(desk) == {
            "disbursement": {"planned": 1, "accepted confirmed": 1},
            "disbursement_retraction": {"planned": 1, "accepted confirmed": 1},
        }


def test_a_loan_that_is_reversed_before_it_was_told_is_neither_told_nor_taken_back(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played, settle=timedelta(minutes=1)) as desk:
        desk.tell(*borrower(), reversal(0)).quiet()
        desk.clock.ahead(5)
        desk.quiet()

        assert played.came == []
        assert desk.balanced()
        assert fates(desk)["disbursement_retraction"] == {"planned": 1, "cancelled nothing_told": 1}
        assert fates(desk)["disbursement"] == {"planned": 1, "cancelled disbursement_reversed": 1}


def test_a_correction_waits_while_what_it_corrects_is_on_its_way(tmp_path: Path) -> None:
    let_go = threading.Event()
    with (
        platform(waits_for(let_go, ACCEPTS), ACCEPTS) as played,
        desk_of(tmp_path, played) as desk,
    ):
        desk.tell(*borrower()).until(lambda: played.came)
        desk.tell(reversal(0)).until(lambda: len(desk.open()) == 2)
        (first, waiting) = desk.open()
        assert (first.stage, waiting.stage) == (Stage.CLAIMED, Stage.WAITING)
        assert said(played) == [["convert"]]

        let_go.set()
        desk.until(lambda: len(desk.open()) == 1).clock.ahead(1)
        desk.quiet()

        assert said(played) == [["convert"], ["retract"]]
        assert desk.open() == []


def test_what_a_platform_refused_is_not_corrected(tmp_path: Path) -> None:
    with platform(verdicts("rejected:bad_device")) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        desk.tell(
            reversal(0),
        ).quiet()

        assert said(played) == [["convert"]]
        assert fates(desk)["disbursement_retraction"]["cancelled nothing_told"] == 1


def test_what_left_and_was_never_answered_is_taken_back_too_for_it_may_have_arrived(tmp_path: Path) -> None:
    let_go = threading.Event()
    with platform(waits_for(let_go, closes), ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).until(lambda: played.came)
        desk.tell(reversal(0)).until(lambda: len(desk.open()) == 2)
        let_go.set()
        desk.until(lambda: len(desk.open()) == 1).clock.ahead(1)
        desk.quiet()

        assert said(played) == [["convert"], ["retract"]]
        assert fates(desk)["disbursement"] == {"planned": 1, "cancelled disbursement_reversed": 1}
        assert desk.balanced()


@pytest.mark.parametrize(
    ("answer", "restated"), [("accepted", True), ("unconfirmed", False)], ids=["proven", "unproven"]
)
def test_where_a_correction_of_nothing_counts_as_new_only_what_is_proven_is_corrected(
    tmp_path: Path, answer: str, restated: bool
) -> None:
    outlet = correcting(retracts=False, on_proof=True)
    with platform(verdicts(answer)) as played, desk_of(tmp_path, played, outlet) as desk:
        desk.tell(*borrower()).quiet()
        desk.tell(reversal(0)).quiet()

        assert said(played) == [["convert"], ["restate 0"]] if restated else [["convert"]]
        assert desk.balanced()


def test_a_correction_follows_the_verdict_on_what_it_corrects(tmp_path: Path) -> None:
    def ask(handle: str, settings: AcmeSettings) -> Any:
        return outlet.module.request([{"asks": handle}], settings)

    corrections = Corrections(within=WITHIN, retracts=True, on_proof=True)
    outlet = acme(
        facts={"corrections": corrections, "batch_by": "does", "verdict_after": timedelta(minutes=2)},
        parts={"encode": encode_all, "ask": ask, "verdict": classify},
    )
    with (
        platform(verdicts("pending:job-1"), ACCEPTS) as played,
        desk_of(tmp_path, played, outlet) as desk,
    ):
        desk.tell(*borrower()).until(lambda: [one.stage for one in desk.open()] == [Stage.PENDING])
        desk.tell(reversal(0)).until(lambda: len(desk.open()) == 2)
        assert len(played.came) == 1

        desk.clock.ahead(2.5)
        desk.until(lambda: len(desk.open()) == 1).clock.ahead(1)
        desk.until(lambda: not desk.open())

        assert said(played) == [["convert"], ["convert"], ["retract"]]  # the second asks for the verdict


def test_corrections_of_one_conversion_go_one_after_the_other(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        desk.tell(revised(1, 900), revised(1, 800, 2), reversal(1)).quiet()
        for _ in range(2):
            desk.clock.ahead(0.1)
            desk.quiet()

        assert said(played) == [["convert"], ["restate 900"], ["restate 800"], ["retract"]]
        moments = [json.loads(came.body)["events"][0].get("at", "") for came in played.came]
        assert moments == sorted(set(moments))
        assert desk.balanced()


def test_a_request_never_holds_conversions_and_corrections(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower("u1"), *borrower("u2")).quiet()
        desk.tell(reversal(1, "u1"), reversal(1, "u2"), *borrower("u3"), *borrower("u4")).quiet()

        assert sorted(map(sorted, said(played))) == [["convert"] * 2, ["convert"] * 2, ["retract"] * 2]


def test_rows_of_corrections_are_judged_one_by_one(tmp_path: Path) -> None:
    script: list[Act] = [ACCEPTS, verdicts("accepted", "rejected:conversion_expired")]
    with platform(*script) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower("u1"), *borrower("u2")).quiet()
        desk.tell(reversal(1, "u1"), reversal(1, "u2")).quiet()

        assert fates(desk)["disbursement_retraction"] == {
            "planned": 2,
            "accepted confirmed": 1,
            "dead conversion_expired": 1,
        }
        assert desk.balanced()


def test_a_sender_that_is_killed_between_two_corrections_loses_and_adds_none(tmp_path: Path) -> None:
    with platform(ACCEPTS, hangs, ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        desk.tell(reversal(0)).until(lambda: len(played.came) == 2)

        desk.restart().quiet()

        # The request that hung may have arrived: it goes again under the same id, which the platform knows.
        assert said(played) == [["convert"], ["retract"], ["retract"]]
        assert len(ids(played)) == 1
        assert fates(desk)["disbursement_retraction"] == {"planned": 1, "accepted confirmed": 1}
        assert desk.balanced()


def test_a_sender_that_is_killed_before_it_corrects_knows_afterwards_what_was_told(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        desk.restart()
        desk.tell(reversal(0))
        desk.restart().quiet()

        assert said(played) == [["convert"], ["retract"]]


def test_a_conversion_that_was_killed_on_its_way_and_reversed_is_taken_back(tmp_path: Path) -> None:
    with platform(hangs, ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).until(lambda: played.came)
        desk.tell(reversal(0)).until(lambda: len(desk.open()) == 2)

        desk.restart().quiet()
        desk.clock.ahead(1)
        desk.quiet()

        assert said(played) == [["convert"], ["retract"]]
        assert desk.balanced()


def test_a_correction_that_comes_too_late_for_the_platform_is_skipped(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        desk.clock.ahead(WITHIN / timedelta(minutes=1))
        desk.tell(reversal(5 * DAY)).quiet()

        assert said(played) == [["convert"]]
        assert fates(desk)["disbursement_retraction"]["skipped too_old"] == 1
        assert desk.balanced()


def test_a_correction_may_go_when_its_conversion_itself_would_be_too_old(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        desk.clock.ahead(4 * DAY)
        desk.tell(reversal(4 * DAY)).quiet()

        assert said(played) == [["convert"], ["retract"]]


def test_an_ended_consent_takes_nothing_back(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        desk.tell(consent_of(1, False)).quiet()

        assert said(played) == [["convert"]]


def test_a_correction_that_waits_long_leaves_memory(tmp_path: Path) -> None:
    outlet = correcting(on_unknown=Unknown(hold=timedelta(days=1)))
    with platform(closes, ACCEPTS) as played, desk_of(tmp_path, played, outlet) as desk:
        desk.tell(*borrower()).until(lambda: [one.stage for one in desk.open()] == [Stage.HELD])
        # A correction of what is held for a person waits for him, a look every five minutes.
        desk.tell(revised(1, 900)).until(lambda: Stage.PARKED in {one.stage for one in desk.open()})

        assert desk.sender.book.lines["acme-ng"].items == {}
        assert desk.open()[1].due_us > desk.clock.us + PARK_US


def test_what_was_told_long_ago_is_forgotten(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        (receipt,) = desk.all_receipts()
        assert desk.store.is_told("acme-ng", receipt.id)

        desk.clock.ahead(61 * DAY)
        desk.tell(*borrower("u2", 61 * DAY)).quiet()

        assert not desk.store.is_told("acme-ng", receipt.id)


def test_where_nothing_can_be_corrected_nothing_is_remembered_and_nothing_planned(tmp_path: Path) -> None:
    with platform(says(200)) as played, desk_of(tmp_path, played, acme()) as desk:
        desk.tell(*borrower()).quiet()
        desk.tell(
            reversal(1),
        ).quiet()

        (receipt,) = desk.all_receipts()
        assert not desk.store.is_told("acme-ng", receipt.id)
        assert desk.tally() == {"planned": 1, "accepted": 1, "accepted confirmed": 1}


def test_a_destination_that_was_renamed_meanwhile_still_takes_back_what_it_told(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_of(tmp_path, played) as desk:
        desk.tell(*borrower()).quiet()
        renamed = correcting(name="acme-west", formerly=("acme-ng",))
        desk.restart(renamed)
        desk.tell(reversal(1)).quiet()

        assert said(played) == [["convert"], ["retract"]]
        assert desk.open("acme-west") == []
