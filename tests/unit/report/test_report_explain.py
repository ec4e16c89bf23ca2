"""One event's life and one user's timeline. Nothing of a score, a phone number or an e-mail is in them."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from tests.acme import DAY, event, loan, login, moment, phone, source
from tests.unit.report.kept import Fate, Kept

from lendsignal.destination.spec import Request
from lendsignal.log import DataFolder
from lendsignal.model import Contact, Device, Skip, SkipReason
from lendsignal.plan import Entry, Placed, Planned
from lendsignal.report import Explanation, explain
from lendsignal.resolve import Binding

SEND = {"disbursement": "ev_d", "first_loan": "ev_f"}


def life_of(found: Explanation, name: str = "disbursement"):  # type: ignore[no-untyped-def]
    (life,) = found.lives
    (one,) = [conversion for conversion in life.conversions if conversion.name == name]
    return life, one


def accepted(name: int, planned: Planned, entry: Entry) -> Fate | None:
    return Fate("accepted", "confirmed", answered=11, tries=2, answer=b'{"ok":true}')


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """A phone, then a new one whose second login lacks an id, then a loan; agents and late logins beside."""
    new = phone("new")
    kept = Kept(tmp_path, source(send=SEND, value={"first_loan": "fee"}))
    return kept.tell(
        login(0, "old"),
        login(2, new),
        login(3, "agents", actor="agent"),
        login(4, msgspec.structs.replace(new, appsflyer_id=None)),
        login(5, Device(model="no ids")),
        loan(10, loan_number=1, source="core-banking", arrives=10.05, flags=("clock_corrected",)),
        login(12, "later"),
    )


def test_an_event_is_followed_from_its_arrival_to_the_answer(kept: Kept) -> None:
    kept.send(accepted)
    life, first = life_of(explain(kept.folder, "disbursed-L1"), "first_loan")
    (delivery,) = first.deliveries

    assert (life.arrival.type, life.arrival.source) == ("disbursed", "core-banking")
    assert life.arrival.flags == ("clock_corrected",)
    assert life.arrival.facts["amount"] == "25000"
    assert life.verdict == "taken"
    assert (delivery.destination, delivery.name, delivery.value) == ("appsflyer-ng", "ev_f", "1500 NGN")
    assert (delivery.what, delivery.reason) == ("accepted", "confirmed")
    assert [(one.what, one.status) for one in delivery.attempts] == [("retry", 503), ("accepted", 200)]
    assert delivery.attempts[1].answer == '{"ok":true}'
    assert delivery.attempts[1].answered_at == moment(11)


def test_the_device_is_explained_by_the_login_and_those_it_was_chosen_over(kept: Kept) -> None:
    _, one = life_of(explain(kept.folder, "disbursed-L1"))
    why = {candidate.event_id: candidate.why for candidate in one.candidates}

    assert one.bound is not None
    assert (one.bound.touch, one.bound.installation) == ("logged_in@4", "fb-new")
    assert one.bound.before_seconds == 360
    assert [candidate.event_id for candidate in one.candidates if candidate.chosen] == ["logged_in@4"]
    assert why == {
        "logged_in@12": "2 min after the event",
        "logged_in@5": "shows no installation, so it does not rebind",
        "logged_in@4": "the latest login by then, 6 min before the event",
        "logged_in@3": "by the agent, so it is not the user's own phone",
        "logged_in@2": "2 min older, the same installation",
        "logged_in@0": "4 min older, another installation",
    }


def test_a_completed_id_is_told_with_the_login_that_showed_it(kept: Kept) -> None:
    _, one = life_of(explain(kept.folder, "disbursed-L1"))

    assert one.bound is not None
    assert one.bound.ids["appsflyer_id"] == "af-new"
    assert one.bound.completed == {"appsflyer_id": "logged_in@2"}


def test_the_first_install_is_told_beside(kept: Kept) -> None:
    found = explain(kept.folder, "disbursed-L1")
    _, one = life_of(found)

    assert one.first_install is not None
    assert (one.first_install.installation, one.first_install.seen_at) == ("fb-old", moment(0))
    assert "first install: fb-old of acme-ng, seen 2026-03-10 09:00:00" in found.to_text()


def test_a_login_that_came_late_is_told_with_what_it_moved(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(login(0, "old"), loan(10), login(9, "new", arrives=11))
    found = explain(kept.folder, "disbursed-L1")
    _, one = life_of(found)
    (rebinding,) = one.rebound

    assert one.bound is not None
    assert (one.bound.installation, rebinding.bound.installation) == ("fb-old", "fb-new")
    assert rebinding.at == moment(11)
    assert {c.event_id: c.why for c in one.candidates}[
        "logged_in@9"
    ] == "arrived after the device was decided"
    assert "a login that came late moved it" in found.to_text()


def test_a_conversion_in_the_holding_pen_says_until_when_it_waits(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send={"disbursement": "ev_d"})).tell(loan(10))
    (life,) = explain(kept.folder, "disbursed-L1").lives

    assert life.waiting == {"disbursement": moment(10 + DAY)}


def test_a_conversion_released_by_a_first_login_belongs_to_its_event(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(loan(10), login(11, "new"))
    life, one = life_of(explain(kept.folder, "disbursed-L1"))

    assert life.waiting == {}
    assert one.bound is not None
    assert one.bound.before_seconds == -60
    assert [c.why for c in one.candidates] == [
        "the first login, 1 min after the event, and soon enough to answer for it"
    ]


def test_a_repeat_is_told_apart_from_the_event_that_counted(kept: Kept) -> None:
    kept.tell(loan(10, loan_number=2, arrives=20))
    counted, repeat = explain(kept.folder, "disbursed-L1").lives

    assert (counted.verdict, repeat.verdict) == ("taken", "conflict")
    assert repeat.conversions == ()
    assert "another content" in repeat.why


def test_an_event_that_is_not_decided_yet_says_so(kept: Kept) -> None:
    kept.log.append([loan(30, "L9")])
    (life,) = explain(kept.folder, "disbursed-L9").lives

    assert life.verdict is None
    assert life.why == "not decided yet"


def test_a_skip_and_a_withdrawal_have_their_reasons(tmp_path: Path) -> None:
    kept = Kept(tmp_path, source(send=SEND)).tell(
        login(0, "old"),
        loan(1),
        event("loan_cancelled", 2, loan_id="L1"),
        loan(3, "L2", user_id="u2", test=True),
        login(2, "two", user_id="u2"),
    )
    _, cancelled = life_of(explain(kept.folder, "disbursed-L1"))
    _, skipped = life_of(explain(kept.folder, "disbursed-L2"))

    assert cancelled.withdrawn == "loan_cancelled"
    assert [(one.what, one.reason) for one in skipped.deliveries] == [("skipped", "test_user")]


def test_a_dead_delivery_shows_what_was_kept_of_it(kept: Kept) -> None:
    kept.send(lambda *_: Fate("dead", "http_400", 11, status=400, request=b'{"url":"u"}', answer=b"no"))
    _, one = life_of(explain(kept.folder, "disbursed-L1"))
    (delivery,) = one.deliveries

    assert (delivery.what, delivery.reason) == ("dead", "http_400")
    assert (delivery.dead_request, delivery.dead_answer) == ('{"url":"u"}', "no")


def test_an_answer_cannot_move_the_cursor_of_a_terminal(kept: Kept) -> None:
    kept.send(lambda *_: Fate("accepted", "confirmed", 11, answer=b"\x1b[2Jok\r\n\xff"))
    _, one = life_of(explain(kept.folder, "disbursed-L1"))

    assert one.deliveries[0].attempts[-1].answer == " [2Jok  \ufffd"


def render(
    delivery: int, record: Placed, entry: Entry, binding: Binding | None, stamp_us: int
) -> Request | Skip:
    """A destination that sends the hashed e-mail and the device."""
    if entry.name == "ev_f":
        return Skip(SkipReason.NO_DEVICE_ID)
    assert binding is not None
    hashed = record.contact.email if record.contact else None
    body = {"n": entry.name, "em": hashed, "id": binding.snapshot.device.appsflyer_id}
    return Request(method="POST", url="https://s2s.example/e", json=body)


def test_the_request_is_made_again_for_the_device_that_is_bound_and_without_the_contact(
    tmp_path: Path,
) -> None:
    contact = Contact(email="e" * 64, phone_e164="f" * 64)
    kept = Kept(tmp_path, source(send=SEND)).tell(login(0, "old", contact=contact), loan(10, loan_number=1))
    found = explain(kept.folder, "disbursed-L1", {"appsflyer-ng": render})
    _, one = life_of(found)
    _, first = life_of(found, "first_loan")

    assert one.deliveries[0].request == {
        "method": "POST",
        "url": "https://s2s.example/e",
        "headers": {},
        "body": {"n": "ev_d", "em": "(contact)", "id": "af-old"},
    }
    assert first.deliveries[0].request == {"skip": "no_device_id"}


@pytest.mark.parametrize("asked", ["graded", "u1", "acme:u1"])
def test_scores_and_contacts_are_never_told(tmp_path: Path, asked: str) -> None:
    contact = Contact(email="e" * 64, email_google="d" * 64, phone_digits="c" * 64, phone_e164="b" * 64)
    kept = Kept(tmp_path).tell(
        login(0, "old"),
        event(
            "credit_granted",
            1,
            event_id="graded",
            grant_id="G1",
            score=0.7654,
            score_version="v7",
            contact=contact,
            limit=Decimal("900"),
            currency="NGN",
            properties={"phone": "+2348012345678"},
        ),
    )
    answer = b"hello " + b"e" * 64
    kept.send(lambda *_: Fate("dead", "http_400", 2, request=b"b" * 64, answer=answer))
    found = explain(kept.folder, asked, {"appsflyer-ng": render})

    for text in (found.to_text(), found.to_json()):
        assert "limit" in text
        for secret in ("0.7654", "+2348012345678", "e" * 64, "d" * 64, "c" * 64, "b" * 64):
            assert secret not in text


@pytest.mark.parametrize("asked", ["u1", "acme:u1"])
def test_a_user_is_told_as_a_timeline(kept: Kept, asked: str) -> None:
    kept.send(accepted)
    found = explain(kept.folder, asked)
    text = found.to_text()

    assert found.kind == "user"
    assert [one.event_id for one in found.timeline] == [
        *(f"logged_in@{minute}" for minute in (0, 2, 3, 4, 5)),
        "disbursed-L1",
        "logged_in@12",
    ]
    assert found.timeline[5].became == (
        "disbursement → appsflyer-ng: accepted (confirmed)",
        "first_loan → appsflyer-ng: accepted (confirmed)",
    )
    assert found.timeline[1].installation == "fb-new"
    assert found.user is not None
    assert (found.user.loans, found.user.seen_from_registration) == (1, False)
    assert "2026-03-10 09:10:00  disbursed disbursed-L1" in text


def test_a_user_id_of_two_brands_asks_which_one_is_meant(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(0, "one"), login(1, "two", brand="other"))
    found = explain(kept.folder, "u1")

    assert found.kind == "nothing"
    assert found.notes == ("Several users are called so: acme:u1, other:u1.",)
    assert explain(kept.folder, "other:u1").kind == "user"


def test_what_nobody_knows_is_said_to_be_unknown(kept: Kept, tmp_path: Path) -> None:
    assert explain(kept.folder, "nobody").kind == "nothing"
    assert explain(DataFolder(tmp_path / "empty"), "u1").notes == ("The log is empty.",)


def test_text_names_the_rooms_in_their_order(kept: Kept) -> None:
    kept.send(accepted)
    heads = [
        line.split()[0]
        for line in explain(kept.folder, "disbursed-L1").to_text().splitlines()
        if line[4:5].strip()
    ]
    rooms = [head for head in heads if head in ("source", "log", "derive", "resolve", "plan", "deliver")]

    assert rooms == ["source", "log", *["derive", "resolve", "plan", "deliver"] * 2]


def test_an_explanation_is_json_too(kept: Kept) -> None:
    told: Mapping[str, object] = msgspec.json.decode(explain(kept.folder, "disbursed-L1").to_json())

    assert told["kind"] == "event"


def test_a_users_life_names_the_person_and_the_persons_other_users(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(0, "a", user_id="a", person_id="P1"),
        loan(1, "L1", user_id="a", loan_number=1),
        login(2, "b", user_id="b", person_id="P1", event_id="in-b"),
    )

    text = explain(kept.folder, "acme:b").to_text()

    assert "person P1, who is acme:a too" in text
