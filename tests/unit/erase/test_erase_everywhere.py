"""A user leaves every place that knows of people, nobody else does, and stays outside from then on."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.forgotten import ENVIRONMENT, OTHER, PERSON, SHARES, USER, Lender, device_of
from tests.scripted import Came, platform, says

from lendsignal.clock import to_us
from lendsignal.erase.asking import allow_again, ask, counted, subject_of
from lendsignal.erase.job import carried_on
from lendsignal.erase.receipt import Receipt, receipt_of
from lendsignal.errors import InputError
from lendsignal.log import open_deliveries, open_feeds, open_log
from lendsignal.model.attribution import Ad, Attribution
from lendsignal.report import load
from lendsignal.report.explain import explain
from lendsignal.source import read_event, reader_of
from lendsignal.source.reading import ErasedUser


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lender]:
    """Three users, two of them on one phone; every delivery was refused, so that requests are kept."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    asked = threading.local()

    def echoes(connection: socket.socket, ending: threading.Event) -> bool:
        return says(400, b'{"error":"not taken: ' + asked.body.replace(b'"', b"'") + b'"}')(
            connection, ending
        )

    def look(came: Came) -> None:
        asked.body = came.body

    with platform(echoes, look=look) as played:
        made = Lender(tmp_path, played.url)
        made.tell(*made.events(USER, person=PERSON), *made.events(OTHER), *made.events(SHARES, phone=OTHER))
        made.refused(USER).refused(OTHER).attributed(USER).attributed(OTHER)
        yield made.sent().archived().listed()


def erased(lender: Lender, user: str | None = f"acme:{USER}", **words: Any) -> Receipt:
    """Erases, as far as that goes without a service."""
    job = ask(lender.config, subject_of(lender.config, user, **words), "tester", lender.clock)
    carried_on(lender.config, lender.clock, receipt=job.receipt)
    return receipt_of(lender.config, job.receipt)


def followed(lender: Lender, receipt: Receipt) -> Receipt:
    """The lists are built anew by their own job, twice: of each two builds are kept."""
    for _ in range(2):
        lender.listed()
        carried_on(lender.config, lender.clock)
    return receipt_of(lender.config, receipt.receipt)


def test_nothing_of_the_user_is_left_in_any_file_and_everything_of_the_others_is(lender: Lender) -> None:
    everywhere = {name.partition(":")[0] for name in lender.left(USER)}
    assert {"log.sqlite", "deliveries.sqlite", "deliveries.sqlite receipts", "feeds.sqlite"} <= everywhere
    assert any("parquet" in name for name in everywhere)
    others = {user: len(lender.left(user)) for user in (OTHER, SHARES)}

    receipt = erased(lender)
    found = followed(lender, receipt)

    steps = {one.step: (one.state, one.n, one.note) for one in found.places}
    assert lender.left(USER) == []
    assert {state for state, _, _ in steps.values()} <= {"done", "not_there"}, steps
    assert steps["log"][1] == 4
    for user, files in others.items():
        assert len(lender.left(user)) > 0.5 * files, "the others stay"


def test_what_the_others_see_is_what_they_saw_before(lender: Lender) -> None:
    def seen() -> tuple[Any, ...]:
        with load(lender.folder) as tables:
            rows = tables.rows(f"select * exclude seq from event where user_id in ('{OTHER}', '{SHARES}')")
        stories = [explain(lender.folder, f"acme:{user}") for user in (OTHER, SHARES)]
        with closing(open_log(lender.folder.log)) as log:
            states = [log.state(f"acme:{user}") for user in (OTHER, SHARES)]
        return sorted(map(str, rows)), stories, states

    before = seen()
    erased(lender)

    assert seen() == before


def test_reports_and_explanations_know_the_user_no_more(lender: Lender) -> None:
    erased(lender)

    assert explain(lender.folder, f"acme:{USER}").kind == "nothing"
    assert explain(lender.folder, f"disbursed-{USER}").kind == "nothing"
    with load(lender.folder) as tables:
        assert tables.rows(f"select 1 from event where user_id = '{USER}'") == []
        assert tables.number("select count(*) from conversion") == 10, "five of each other user"


def test_deliveries_that_wait_are_taken_back_and_the_books_still_balance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = Lender(tmp_path)  # nothing answers there: everything waits
    made.tell(*made.events(USER), *made.events(OTHER)).sent()
    receipt = erased(made)
    assert next(one.state for one in receipt.places if one.step == "deliveries") == "waits"

    made.sent()
    carried_on(made.config, made.clock)

    assert {name.partition(":")[0] for name in made.left(USER)} == {"erasures.sqlite"}, (
        "platforms are still to be asked, for nothing answers there"
    )
    with closing(open_deliveries(made.folder.deliveries, read_only=True)) as store:
        tally = store.tally()
        waiting = sum(sum(stages.values()) for stages in store.waiting().values())
    skipped = sum(
        n for (_, _, what, reason), n in tally.items() if (what, reason) == ("skipped", "suppressed")
    )
    assert (skipped, waiting) == (4, 4)


def test_a_user_who_was_erased_is_refused_at_the_door_and_nothing_of_the_event_is_kept(
    lender: Lender,
) -> None:
    erased(lender)
    with closing(open_log(lender.folder.log)) as log:
        config = lender.config
        reader = reader_of(config.apps, timedelta(0), kept_out=log.erasing.kept_out)
        for event in lender.events(USER):
            sent = msgspec.json.decode(msgspec.json.encode(event))
            sent.pop("received_at")
            sent.pop("contact", None)
            with pytest.raises(ErasedUser, match="erased"):
                read_event(sent, event.received_at, reader)
        nameless = {"type": "applied", "user_id": USER, "application_id": "x"}
        with pytest.raises(ErasedUser):
            read_event(nameless, lender.start, reader)


def test_what_reaches_the_log_all_the_same_leaves_a_husk_and_no_gap(lender: Lender) -> None:
    followed(lender, erased(lender))
    with closing(open_log(lender.folder.log)) as log:
        before = log.end()

    lender.tell(*lender.events(USER), *lender.events(OTHER))

    with closing(open_log(lender.folder.log)) as log:
        assert log.end() >= before + 8
        assert log.state(f"acme:{USER}") is None
    assert lender.left(USER) == []


def test_an_mmp_that_tells_of_the_installation_again_is_not_heard(lender: Lender) -> None:
    erased(lender)
    lender.attributed(USER)
    told: dict[str, Any] = {"feed": "mmp", "mmp": "appsflyer", "app": "acme-ng", "told_us": 1}

    with closing(open_feeds(lender.folder.feeds)) as feeds:
        assert feeds.counts().attributions == 1
        feeds.take([Attribution(**told, id="17-new", user_id=USER, ad=Ad())])
        assert feeds.counts().attributions == 1
        feeds.take([Attribution(**told, id="18-new", user_id=OTHER, ad=Ad())])
        assert feeds.counts().attributions == 2


def test_who_is_allowed_again_is_a_new_user_and_the_past_stays_outside(lender: Lender) -> None:
    erased(lender)
    about = subject_of(lender.config, f"acme:{USER}")
    assert allow_again(lender.config, about, lender.clock) == 1
    assert allow_again(lender.config, about, lender.clock) == 0

    old, now = lender.events(USER), lender.clock.now_us()
    lender.start += timedelta(hours=2)
    lender.tell(*old, *lender.events(USER))

    with closing(open_log(lender.folder.log)) as log:
        state = log.state(f"acme:{USER}")
        assert state is not None
        assert len(state.ledger.loans) == 1
        assert all(mark.at_us >= now for mark in state.touches.marks)


def test_a_person_is_every_user_of_that_person_and_no_new_one_comes_in(lender: Lender) -> None:
    receipt = erased(lender, None, person=PERSON)
    assert len(receipt.subjects) == 2, "the user and the person"

    events = lender.events(OTHER, person=PERSON)
    with closing(open_log(lender.folder.log)) as log:
        known = log.erasing.kept_out()
        assert known.holds("acme", USER, None, 0)
        assert known.holds("acme", "somebody else", PERSON, to_us(events[0].occurred_at))
        assert not known.holds("acme", OTHER, None, to_us(events[0].occurred_at))


def test_a_person_keeps_the_firsts_of_the_users_who_stay(lender: Lender) -> None:
    lender.tell(*lender.events(SHARES, phone=OTHER, person=PERSON))
    erased(lender)
    with closing(open_log(lender.folder.log)) as log:
        person = log.state(f":{PERSON}")
        assert person is None or not any(USER in mark for mark in person.ledger.fired)


def test_the_receipt_tells_nothing_but_hashes_and_the_book_forgets_whom_it_was_about(lender: Lender) -> None:
    receipt = erased(lender)
    found = followed(lender, receipt)
    assert found.ended is not None

    salted = sha256(bytes.fromhex(found.salt) + f"acme\x1f{USER}".encode()).hexdigest()
    assert found.subjects == (salted,)
    said = msgspec.json.encode(found) + found.told().encode()
    assert USER.encode() not in said
    assert str(device_of(USER).appsflyer_id).encode() not in said


def test_a_dry_run_counts_and_changes_nothing(lender: Lender) -> None:
    before = lender.left(USER)
    found = counted(lender.config, subject_of(lender.config, f"acme:{USER}"))

    assert (found.users, found.events, found.installations, found.refused) == (1, 4, 1, 1)
    assert lender.left(USER) == before


def test_words_that_mean_nobody_are_refused(lender: Lender) -> None:
    with pytest.raises(InputError, match="is not one of yours"):
        subject_of(lender.config, "u1", brand="elsewhere")
    with pytest.raises(InputError, match="is needed"):
        subject_of(lender.config, "")
    with pytest.raises(InputError, match="alone"):
        subject_of(lender.config, "u1", person="P")
